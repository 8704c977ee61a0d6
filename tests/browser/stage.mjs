// What every check begins with: fake providers, a gateway in front of them, and a browser that notes what goes wrong.
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

// A gateway has started, or a page has changed, within so many milliseconds: the machine may be slow.
export const PATIENCE = 20000;

// Stops what a check has started, whether it went well or not.
const started = [];
export async function stopAll() {
  await Promise.all(started.splice(0).map(stop => stop()));
}

const pause = ms => new Promise(go => setTimeout(go, ms));

/** Asks until the answer is true. */
export async function until(what, check, limit = PATIENCE) {
  for (const end = Date.now() + limit; Date.now() < end; await pause(20)) {
    const answer = await check();
    if (answer) return answer;
  }
  throw new Error(`not within ${limit} ms: ${what}`);
}

/** A provider that answers every chat at once; `fail` makes it say something else, `die` makes it nobody. */
export async function provider() {
  const sockets = new Set();
  const fake = { failure: null, delay: 0, headers: {} };
  const server = http.createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    if (fake.delay) await pause(fake.delay);
    if (fake.failure) {
      response.writeHead(fake.failure.status, { 'content-type': 'application/json' });
      return response.end(JSON.stringify({ error: { message: fake.failure.message } }));
    }
    const message = { role: 'assistant', content: 'Hello.' };
    const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };
    const choices = [{ index: 0, message, delta: message, finish_reason: 'stop' }];
    const answer = { id: 'c', object: 'chat.completion', created: 1, model: 'm', choices, usage };
    if (!body.includes('"stream":true')) {
      response.writeHead(200, { 'content-type': 'application/json', ...fake.headers });
      return response.end(JSON.stringify(answer));
    }
    response.writeHead(200, { 'content-type': 'text/event-stream', ...fake.headers });
    response.end(`data: ${JSON.stringify({ ...answer, object: 'chat.completion.chunk' })}\n\ndata: [DONE]\n\n`);
  });
  server.on('connection', socket => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  await new Promise(ready => server.listen(0, '127.0.0.1', ready));
  fake.url = `http://127.0.0.1:${server.address().port}/v1`;
  fake.die = () => {
    server.close();
    sockets.forEach(socket => socket.destroy());
  };
  started.push(fake.die);
  return fake;
}

/** The gateway with this configuration, which is written without `[server]` and `[memory]`. */
export async function gateway(config, memory = false) {
  const home = await mkdtemp(join(tmpdir(), 'concierge-'));
  const file = join(home, 'config.toml');
  const server = `[server]\nlisten = "127.0.0.1:0"\n[memory]\nenabled = ${memory}\npath = "memory.db"\n`;
  await writeFile(file, server + config);
  const child = spawn(process.env.CONCIERGE, ['--config', file], {
    cwd: home, stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, RUST_LOG: 'off' },
  });
  started.push(async () => {
    child.kill('SIGKILL');
    await rm(home, { recursive: true, force: true });
  });
  let said = '';
  child.stdout.on('data', data => { said += data; });
  const url = await until('the gateway starts', () => said.match(/listens on (http:\S+)/)?.[1]);
  return {
    url, file,
    configure: text => writeFile(file, server + text),
    configured: () => readFile(file, 'utf8'),
    chat: (model = 'm', more = {}, headers = {}) => fetch(`${url}/v1/chat/completions`, {
      method: 'POST', headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify({ model, stream: true, messages: [{ role: 'user', content: 'Hello?' }], ...more }),
    }).then(reply => reply.text().then(() => reply.status)),
  };
}

/** The browser; every page of it notes its errors and the hosts it asked in `page.noted`. */
export async function browser() {
  const flags = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync'];
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: flags });
  return {
    close: () => browser.close(),
    open: async (url, options = {}) => {
      const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
      started.push(() => context.close());
      const page = await context.newPage();
      page.noted = { errors: [], hosts: new Set(), dialogs: 0, requests: [] };
      page.on('console', message => {
        if (['error', 'warning'].includes(message.type())) page.noted.errors.push(message.text());
      });
      page.on('pageerror', error => page.noted.errors.push(error.message));
      page.on('dialog', dialog => {
        page.noted.dialogs += 1;
        dialog.dismiss();
      });
      page.on('request', request => {
        if (!request.url().startsWith('data:')) page.noted.hosts.add(new URL(request.url()).host);
        page.noted.requests.push(request.url());
      });
      await page.goto(url);
      return page;
    },
  };
}
