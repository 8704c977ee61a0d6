// Keeps the page alive. The server draws it; this fetches it anew when something happened and moves what has changed
// into place, so that focus, open parts and scrolling stay. What arrives is moved as text and attributes: it must
// never be run, and no markup is built here.
'use strict';
{
  const TOKEN = 'concierge-token';
  // Between two refreshes, in milliseconds: after news, and after mere figures.
  const SOON = 250, CALM = 2000;
  const $ = selector => document.querySelector(selector);
  const live = $('#live'), dialog = $('#confirm'), trouble = $('#trouble');

  // ---- asking, with the token of this tab if there is one

  const token = () => sessionStorage.getItem(TOKEN);
  const ask = (path, accept, more = {}) => fetch(path, {
    ...more, cache: 'no-store',
    headers: token() ? { accept, authorization: `Bearer ${token()}` } : { accept },
  });
  const refused = reply => reply.status === 401 || reply.status === 403;

  function say(words) {
    trouble.textContent = words;
    trouble.hidden = !words;
  }

  // ---- moving what has changed

  const keyOf = node => node.nodeType === 1 ? node.dataset.key ?? node.id : '';
  const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);

  function update(old, fresh) {
    if (old.nodeType !== 1) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    for (const { name } of [...old.attributes]) {
      // What the operator has opened stays open.
      if (name !== 'open' && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    updateChildren(old, fresh);
  }

  function updateChildren(old, fresh) {
    const keyed = new Map([...old.children].filter(keyOf).map(child => [keyOf(child), child]));
    let at = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      const known = at && alike(at, wanted) ? at : keyed.get(keyOf(wanted));
      if (!known || !alike(known, wanted)) {
        old.insertBefore(document.importNode(wanted, true), at);
        continue;
      }
      if (known === at) at = at.nextSibling;
      else old.insertBefore(known, at);
      update(known, wanted);
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  }

  // ---- refreshing: at most one at a time, and not more often than there is a reason to

  let last = 0, due = Infinity, timer = 0, skew = 0, busy = false;

  function refreshWithin(gap) {
    const at = Math.max(last + gap, Date.now());
    if (at >= due) return;
    due = at;
    clearTimeout(timer);
    timer = setTimeout(refresh, at - Date.now());
  }

  async function refresh() {
    // Nobody looks: the page is drawn when somebody does.
    if (document.hidden) return;
    // One after the other: an older answer must not be drawn over a newer one.
    if (busy) {
      timer = setTimeout(refresh, 20);
      return;
    }
    busy = true;
    due = Infinity;
    last = Date.now();
    const reply = await ask('/admin', 'text/html', { signal: AbortSignal.timeout(10000) }).catch(() => null);
    const html = reply?.ok ? await reply.text().catch(() => '') : '';
    busy = false;
    if (reply && refused(reply)) signOut('The token is not accepted any more.');
    else if (html) draw(html);
  }

  function draw(html) {
    const fresh = new DOMParser().parseFromString(html, 'text/html');
    document.documentElement.dataset.now = fresh.documentElement.dataset.now ?? '';
    update(live, fresh.querySelector('#live'));
    decorate();
  }

  // What the server cannot know.
  function decorate() {
    const now = Date.parse(document.documentElement.dataset.now);
    skew = now ? now - Date.now() : 0;
    const out = $('[data-sign-out]');
    if (out) out.hidden = !token();
    pulse();
    tellTimes();
  }

  function tellTimes() {
    for (const time of document.querySelectorAll('time[datetime]')) {
      const at = new Date(time.dateTime);
      const words = 'clock' in time.dataset ? at.toLocaleTimeString() : relative((at - Date.now() - skew) / 1000);
      // Its time has come, and no event tells of it: a breaker that wants its probe, a limit that is full again.
      if (time.textContent.startsWith('in ') && !words.startsWith('in ')) refreshWithin(CALM);
      if (time.textContent !== words) time.textContent = words;
      time.title = at.toLocaleString();
    }
  }

  // In the words of words.rs.
  function relative(ahead) {
    if (ahead > 0) return `in ${span(Math.floor(ahead) + 1)}`;
    return ahead > -1 ? 'just now' : `${span(Math.floor(-ahead))} ago`;
  }

  function span(seconds) {
    if (seconds < 120) return `${seconds} s`;
    if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
    return seconds < 172800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86400)} d`;
  }

  // ---- watching

  let watching = false, stop = new AbortController();

  function pulse() {
    const pulse = $('[data-pulse]');
    if (pulse) pulse.className = watching ? 'on' : '';
  }

  async function watch() {
    stop = new AbortController();
    const { signal } = stop;
    for (let pause = 500; !signal.aborted; pause = Math.min(2 * pause, 10000)) {
      const reply = await ask('/admin/events', 'text/event-stream', { signal }).catch(() => null);
      if (reply && refused(reply)) return signOut('The token is not accepted any more.');
      if (reply?.ok) {
        pause = 500;
        watching = true;
        refreshWithin(SOON);
        await each(reply.body, react).catch(() => null);
      }
      watching = false;
      pulse();
      await new Promise(go => setTimeout(go, pause));
    }
  }

  // Server-sent events, each as its name and its data.
  async function each(body, tell) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = '';;) {
      const { value, done } = await reader.read();
      if (done) return;
      const events = (text + value).split('\n\n');
      text = events.pop();
      for (const event of events) {
        const field = name => event.split('\n').find(line => line.startsWith(`${name}: `))?.slice(name.length + 2);
        if (field('data')) tell(field('event'), JSON.parse(field('data')));
      }
    }
  }

  function react(name, data) {
    if (name === 'tick') {
      for (const place of document.querySelectorAll('[data-figure]')) {
        place.textContent = data[place.dataset.figure].toLocaleString('en');
      }
    }
    refreshWithin(name === 'tick' || name === 'score' ? CALM : SOON);
  }

  // ---- the operator's hand

  function confirmed(form) {
    $('#question').textContent = form.dataset.confirm;
    dialog.querySelector('[data-do]').textContent = form.dataset.do;
    dialog.returnValue = '';
    dialog.showModal();
    return new Promise(tell => {
      dialog.onclose = () => tell(dialog.returnValue === 'yes');
    });
  }

  async function send(form) {
    if (!await confirmed(form)) return;
    const reply = await ask(form.action, 'application/json', { method: 'POST' }).catch(() => null);
    const wrong = reply?.ok ? '' : (await reply?.json().catch(() => null))?.error?.message;
    say(reply?.ok ? '' : wrong ?? 'The gateway does not answer.');
    refreshWithin(0);
  }

  async function signIn(form) {
    sessionStorage.setItem(TOKEN, form.elements.token.value.trim());
    const status = await enter();
    if (status === 200) return;
    say(status === 429 ? 'Too many wrong tokens: wait a while.' : 'This token is not accepted.');
    form.elements.token.select();
  }

  // The page in place of the form, if the token is right; the status in any case.
  async function enter() {
    const reply = await ask('/admin', 'text/html').catch(() => null);
    if (!reply?.ok) {
      sessionStorage.removeItem(TOKEN);
      return reply?.status;
    }
    say('');
    draw(await reply.text());
    watch();
    return reply.status;
  }

  function signOut(words = '') {
    sessionStorage.removeItem(TOKEN);
    stop.abort();
    if (words) sessionStorage.setItem('concierge-farewell', words);
    location.reload();
  }

  document.addEventListener('submit', event => {
    const form = event.target;
    if (form.method === 'dialog') return;
    event.preventDefault();
    if ('signIn' in form.dataset) signIn(form);
    else send(form);
  });
  document.addEventListener('click', event => {
    if (event.target.closest('[data-sign-out]')) signOut();
  });
  document.addEventListener('visibilitychange', () => {
    due = Infinity;
    refreshWithin(SOON);
  });
  setInterval(tellTimes, 1000);

  const farewell = sessionStorage.getItem('concierge-farewell');
  if (farewell) say(farewell);
  sessionStorage.removeItem('concierge-farewell');
  if (!$('[data-sign-in]')) {
    decorate();
    watch();
  } else if (token()) {
    enter();
  }
}
