// The admin page in a real browser: what an operator sees, how soon, and what no name or message can do to it.
import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { browser, gateway, provider, stopAll, until } from './stage.mjs';

const AXE = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const PICTURES = 'target/screenshots';
const TOKEN = 'operator-token-0123456789';
const HOSTILE = '<img src=x onerror=alert(1)>"\'&<script>alert(2)</script>';
// What the issue asks for.
const MOST_BYTES = 60 * 1024;
const MOST_MILLISECONDS = 1000;

const checks = [];
const check = (name, run) => checks.push({ name, run });
const shared = {};

const toml = text => JSON.stringify(text);
const providers = (...named) => named.map(([name, { url }]) =>
  `[[providers]]\nname = ${toml(name)}\nbase_url = ${toml(url)}\n`).join('');
/** Two providers, of which the first is asked first. */
const pair = (a, b, more = '') => `${more}${providers(['a', a], ['b', b])}
[[models]]
name = "m"
targets = ["a/m", "b/m"]
strategy = "priority"
[health]
interval = "0s"
`;

const row = (page, id) => page.locator(`tr[data-key=${JSON.stringify(id)}]`).first();
const state = (page, id) => row(page, id).locator('.state').textContent();
const clean = page => {
  assert.deepEqual(page.noted.errors, [], 'the console is quiet');
  assert.equal(page.noted.dialogs, 0, 'no script of anybody else has run');
  assert.deepEqual([...page.noted.hosts], [new URL(page.url()).host], 'no other host is asked');
};

/** Opens a page in front of two fresh providers. */
async function stage(options = {}, more = '', memory = false) {
  const [a, b] = [await provider(), await provider()];
  const gw = await gateway(pair(a, b, more), memory);
  const page = await shared.browser.open(`${gw.url}/admin`, options);
  return { a, b, gw, page };
}

check('one small request, and a page that is whole', async () => {
  const { gw, page } = await stage();
  await gw.chat();
  const head = { accept: 'text/html', 'accept-encoding': 'gzip' };
  const reply = await new Promise(async go => {
    const { get } = await import('node:http');
    get(`${gw.url}/admin`, { headers: head }, response => {
      const chunks = [];
      response.on('data', chunk => chunks.push(chunk));
      response.on('end', () => go({ bytes: Buffer.concat(chunks).length, headers: response.headers }));
    });
  });
  console.log(`   page weight: ${reply.bytes} bytes compressed, of at most ${MOST_BYTES}`);
  assert.equal(reply.headers['content-encoding'], 'gzip');
  assert.ok(reply.bytes <= MOST_BYTES);
  const asked = page.noted.requests.filter(url => !url.endsWith('/admin/events'));
  assert.deepEqual([...new Set(asked)], [`${gw.url}/admin`], 'nothing but the page itself is loaded');
  for (const title of ['Targets', 'Recent events', 'Requests in flight', 'Slots', 'Memory', 'Configuration']) {
    assert.ok(await page.getByRole('heading', { name: title }).first().isVisible(), title);
  }
  await until('it is live', () => page.locator('[data-pulse].on').count());
  clean(page);
});

/** From the death of a provider to the page showing it, in milliseconds, while three clients go on asking. */
async function shownAfter({ a, gw, page }) {
  await until('it is live', () => page.locator('[data-pulse].on').count());
  await page.evaluate(() => { window.stayed = true; });
  await gw.chat();
  let asking = true;
  const client = async () => { while (asking) await gw.chat(); };
  const traffic = Promise.all([client(), client(), client()]);
  a.die();
  const died = Date.now();
  await page.waitForFunction(() =>
    document.querySelector('tr[data-key="a/m"] .state').textContent === 'open', null, { polling: 10 });
  const took = Date.now() - died;
  asking = false;
  await traffic;
  assert.ok(await page.evaluate(() => window.stayed), 'the page was not loaded again');
  return took;
}

check('a provider dies, and the page shows it within a second, without a reload', async () => {
  // A busy machine is not a slow page: the best of three counts.
  let scene, took = Infinity;
  for (let run = 0; run < 3 && took > MOST_MILLISECONDS; run += 1) {
    scene = await stage();
    took = await shownAfter(scene);
    console.log(`   from the death to the page: ${took} ms, of at most ${MOST_MILLISECONDS}`);
  }
  assert.ok(took <= MOST_MILLISECONDS);
  const { page } = scene;
  await until('the failover is told', async () =>
    (await page.locator('.news').textContent()).includes('a/m → b/m'));
  assert.match(await page.getByRole('status').textContent(), /1 of 2 targets are in service/);
  // A page that is opened only now shows the past as well.
  const late = await page.context().newPage();
  await late.goto(page.url());
  assert.match(await late.locator('.news').textContent(), /a\/m → b\/m/);
  clean(page);
});

check('drain and resume by click, each confirmed', async () => {
  const { page } = await stage();
  await until('it is live', () => page.locator('[data-pulse].on').count());
  await page.getByRole('button', { name: 'Drain a/m' }).click();
  await page.getByRole('button', { name: 'Cancel' }).click();
  assert.equal(await state(page, 'a/m'), 'in service', 'nothing happens unconfirmed');
  await page.getByRole('button', { name: 'Drain a/m' }).click();
  assert.match(await page.locator('#question').textContent(), /a\/m gets no new requests/);
  await page.getByRole('button', { name: 'Drain', exact: true }).click();
  await until('it is drained', async () => await state(page, 'a/m') === 'drained');
  // With the keyboard alone.
  await page.getByRole('button', { name: 'Resume a/m' }).focus();
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await until('it is back', async () => await state(page, 'a/m') === 'in service');
  clean(page);
});

check('what is open stays open, and what has the focus keeps it', async () => {
  const { gw, page } = await stage();
  await until('it is live', () => page.locator('[data-pulse].on').count());
  const why = page.getByText('Who would be asked now, and why');
  await why.click();
  assert.match(await page.locator('.order').first().textContent(), /a\/m/);
  await page.evaluate(() => { window.button = document.querySelector('.hands button'); window.button.focus(); });
  for (let i = 0; i < 3; i += 1) await gw.chat();
  await until('the page is refreshed', async () => (await row(page, 'a/m').textContent()).includes('3 ok'));
  assert.ok(await page.evaluate(() => document.querySelector('details').open));
  assert.ok(await page.evaluate(() => document.activeElement === window.button));
});

check('a page at rest asks for nothing, and nothing on it jumps', async () => {
  const { gw, page } = await stage();
  await until('it is live', () => page.locator('[data-pulse].on').count());
  await page.evaluate(() => {
    window.shift = 0;
    new PerformanceObserver(list => list.getEntries().forEach(entry => { window.shift += entry.value; }))
      .observe({ type: 'layout-shift', buffered: true });
  });
  const end = Date.now() + 4000;
  while (Date.now() < end) await gw.chat();
  const shift = await page.evaluate(() => window.shift);
  console.log(`   layout shift under load: ${shift.toFixed(4)}`);
  assert.ok(shift < 0.02, `layout shift ${shift}`);
  // Everything has been told; from now on there is nothing to ask for.
  await page.waitForTimeout(5000);
  const before = page.noted.requests.length;
  await page.waitForTimeout(5000);
  assert.ok(page.noted.requests.length - before <= 1, `${page.noted.requests.length - before} requests at rest`);
});

check('what runs and what is left is told as time goes by', async () => {
  const { a, gw, page } = await stage();
  a.headers = { 'x-ratelimit-limit-requests': '6000', 'x-ratelimit-remaining-requests': '5900', 'x-ratelimit-reset-requests': '60s' };
  await until('it is live', () => page.locator('[data-pulse].on').count());
  await gw.chat();
  const limit = () => row(page, 'a/m').locator('td[data-label="Rate limit left"]').textContent();
  await until('the limit is shown', async () => (await limit()).includes('5,900 of 6,000 requests, full in'));
  const full = await limit();
  a.delay = 8000;
  const asked = gw.chat('m', {}, { 'x-request-id': 'slow-one' });
  const elapsed = () => page.locator('tr[data-key="slow-one"] td').last().textContent();
  await until('the request is shown', () => page.locator('tr[data-key="slow-one"]').count());
  const first = await elapsed();
  await until('its time goes on, though nothing else happens', async () => await elapsed() !== first);
  assert.notEqual(await limit(), full);
  await asked;
  await until('it is gone', async () => await page.locator('tr[data-key="slow-one"]').count() === 0);
  clean(page);
});

check('names, errors, users and settings are text, whatever they say', async () => {
  const [a, b] = [await provider(), await provider()];
  a.failure = { status: 401, message: HOSTILE };
  b.failure = { status: 500, message: HOSTILE };
  b.delay = 3000;
  const gw = await gateway(`[auth]\nuser_headers = ["x-user-id"]\n${providers(['a', a], ['b', b])}
[[models]]
name = ${toml(HOSTILE)}
alias = [${toml(`${HOSTILE}2`)}]
targets = [${toml(`a/${HOSTILE}`)}, ${toml(`b/${HOSTILE}`)}]
strategy = "priority"
`);
  const page = await shared.browser.open(`${gw.url}/admin`);
  await until('it is live', () => page.locator('[data-pulse].on').count());
  const asked = gw.chat(HOSTILE, {}, { 'x-user-id': HOSTILE, 'x-request-id': 'find-me' });
  await until('the request is shown', async () => (await page.locator('main').textContent()).includes('find-me'));
  await asked;
  await gw.chat(`b/${HOSTILE}`, {}, { 'x-user-id': HOSTILE });
  await gw.configure(`${(await gw.configured()).split('[memory]')[0]}[nonsense]\n`);
  await fetch(`${gw.url}/admin/reload`, { method: 'POST' });
  await until('the failover is shown', async () => (await page.locator('.news').textContent()).includes(HOSTILE));
  await until('the reload is shown', async () => (await page.locator('div.reload').textContent()).includes('refused'));
  assert.equal(await page.locator('#live img, #live script').count(), 0);
  const reloaded = await shared.browser.open(`${gw.url}/admin`);
  assert.equal(await reloaded.locator('#live img, #live script').count(), 0);
  clean(page);
  clean(reloaded);
});

check('without JavaScript it shows the same, and its buttons work', async () => {
  const { a, gw, page } = await stage({ javaScriptEnabled: false });
  await gw.chat();
  a.die();
  for (let i = 0; i < 6; i += 1) await gw.chat();
  await page.goto(`${gw.url}/admin`);
  assert.equal(await state(page, 'a/m'), 'open');
  await page.getByRole('button', { name: 'Drain b/m' }).click();
  await page.waitForURL(`${gw.url}/admin`);
  assert.equal(await state(page, 'b/m'), 'drained');
  await page.getByRole('button', { name: 'Resume b/m' }).click();
  await until('it is back', async () => await state(page, 'b/m') === 'in service');
  clean(page);
});

check('a form on another site cannot give orders', async () => {
  const { gw, page } = await stage();
  const other = gw.url.replace('127.0.0.1', 'localhost');
  await page.goto(`${other}/livez`);
  const order = action => {
    const form = document.createElement('form');
    Object.assign(form, { method: 'post', action });
    document.body.append(form);
    form.submit();
  };
  await Promise.all([
    page.waitForURL(/drain$/),
    page.evaluate(order, `${gw.url}/admin/providers/a%2Fm/drain`),
  ]);
  assert.match(await page.textContent('body'), /admin_only/);
  await page.goto(`${gw.url}/admin`);
  assert.equal(await state(page, 'a/m'), 'in service');
});

check('with a token: a form first, then everything, and nothing kept in a cookie', async () => {
  const { gw, page } = await stage({ extraHTTPHeaders: { 'x-forwarded-for': '192.0.2.1' } }, `[admin]\ntoken = "${TOKEN}"\n`);
  assert.equal(await page.locator('table, [data-figure]').count(), 0, 'nothing of the gateway is shown');
  await page.getByLabel('Admin token').fill('operator-token-012345678X');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await until('it is refused', async () => (await page.getByRole('alert').textContent()).includes('not accepted'));
  await page.getByLabel('Admin token').fill(TOKEN);
  await page.keyboard.press('Enter');
  await until('it is live', () => page.locator('[data-pulse].on').count());
  await page.getByRole('button', { name: 'Drain a/m' }).click();
  await page.getByRole('button', { name: 'Drain', exact: true }).click();
  await until('it is drained', async () => await state(page, 'a/m') === 'drained');
  assert.deepEqual(await page.context().cookies(), []);
  assert.ok(!page.url().includes(TOKEN) && page.noted.requests.every(url => !url.includes(TOKEN)));
  await page.reload();
  await until('it is still signed in', () => page.locator('[data-pulse].on').count());
  await page.getByRole('button', { name: 'Sign out' }).click();
  await until('it is signed out', () => page.getByLabel('Admin token').count());
  // A refused page is an error to the browser; nothing else may be.
  page.noted.errors = page.noted.errors.filter(text => !text.includes('401'));
  clean(page);
  assert.equal(await gw.chat(), 200);
});

check('nothing that axe finds serious, in light and dark, wide and narrow', async () => {
  await mkdir(PICTURES, { recursive: true });
  const { a, gw, page } = await stage({}, '[limits]\nrequests_per_minute = 100000\n', true);
  a.headers = { 'x-ratelimit-limit-requests': '6000', 'x-ratelimit-remaining-requests': '5900', 'x-ratelimit-reset-requests': '60s' };
  for (let i = 0; i < 10; i += 1) await gw.chat('m', {}, { 'x-user-id': 'ann' });
  await gw.chat('a/named');
  a.failure = { status: 500, message: 'The upstream is on fire.' };
  for (let i = 0; i < 6; i += 1) await gw.chat();
  await fetch(`${gw.url}/admin/providers/b%2Fm/drain`, { method: 'POST' });
  await fetch(`${gw.url}/admin/reload`, { method: 'POST' });
  for (const colorScheme of ['light', 'dark']) {
    for (const width of [1440, 390]) {
      await page.emulateMedia({ colorScheme });
      await page.setViewportSize({ width, height: 900 });
      await page.goto(`${gw.url}/admin`);
      await page.getByText('Who would be asked now, and why').first().click();
      await page.screenshot({ path: `${PICTURES}/${colorScheme}-${width}.png`, fullPage: true });
      const sideways = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(sideways <= 0, `${width} px wide, and ${sideways} px more to scroll`);
      await page.evaluate(`{ const module = undefined, define = undefined; ${AXE} }`);
      const { violations } = await page.evaluate(() => window.axe.run());
      assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes[0].html}`), [], `${colorScheme}, ${width} px`);
    }
  }
});

let failed = 0;
shared.browser = await browser();
for (const { name, run } of checks) {
  try {
    await run();
    console.log(`ok   ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name}\n${error.stack}`);
  }
  await stopAll();
}
await shared.browser.close();
console.log(`${checks.length - failed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
