// The official openai client for Node.js as a real caller of the gateway.
//
// Runs against BASE_URL (a gateway that `with-gateway` started in front of a fake
// provider whose behaviour is chosen by model name) and ends with `N passed, N failed`.
// It must never talk to anything but BASE_URL, and never retry behind the checks' back.

import assert from 'node:assert/strict';
import OpenAI, {
  APIError,
  AuthenticationError,
  BadRequestError,
  InternalServerError,
  NotFoundError,
  PermissionDeniedError,
  RateLimitError,
} from 'openai';
import { VERSION } from 'openai/version';

const { BASE_URL: baseURL, API_KEY: apiKey, LIMITED_API_KEY: limitedKey } = process.env;
const messages = [{ role: 'user', content: 'Say hello, then a word in Japanese.' }];
const ANSWER = 'Hello there, 世界! 👋🏽 Done.';
const tools = [
  {
    type: 'function',
    function: { name: 'get_weather', parameters: { type: 'object', properties: { city: { type: 'string' } } } },
  },
];

const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 60_000 });
const chat = (model, more = {}) => client.chat.completions.create({ model, messages, ...more });

/** The error that `work` rejects with; it must be exactly of class `kind`. */
async function raises(kind, work) {
  let got;
  try {
    got = await work();
  } catch (error) {
    assert.equal(error.constructor.name, kind.name, String(error.stack));
    return error;
  }
  assert.fail(`no ${kind.name}; it returned ${JSON.stringify(got)?.slice(0, 300)}`);
}

async function all(stream) {
  const items = [];
  for await (const item of await stream) items.push(item);
  return items;
}

const textOf = (chunks) => chunks.map((c) => c.choices[0]?.delta.content ?? '').join('');

/** A cut stream must reject, and what came before must be the start of the answer. */
async function cutStreamRaises(model) {
  const seen = [];
  const error = await raises(APIError, async () => {
    for await (const chunk of await chat(model, { stream: true })) seen.push(chunk);
  });
  assert.equal(error.code, 'stream_interrupted');
  assert.ok(textOf(seen).length > 0 && ANSWER.startsWith(textOf(seen)), textOf(seen));
}

const checks = {
  async 'chat answer and request id'() {
    const answer = await chat('chat');
    assert.equal(answer.choices[0].message.content, ANSWER);
    assert.equal(answer.choices[0].finish_reason, 'stop');
    assert.ok(answer.usage.total_tokens > 0);
    assert.ok(answer._request_id, 'no x-request-id');
  },
  async 'request id of the caller is kept'() {
    const answer = await client.chat.completions.create(
      { model: 'chat', messages },
      { headers: { 'x-request-id': 'sdk-test-42' } },
    );
    assert.equal(answer._request_id, 'sdk-test-42');
  },
  async 'streamed chat is whole'() {
    const chunks = await all(chat('chat', { stream: true }));
    assert.equal(textOf(chunks), ANSWER);
    assert.equal(chunks.at(-1).choices[0].finish_reason, 'stop');
    assert.ok(chunks.every((c) => c.choices.length > 0), 'a usage chunk that nobody asked for');
  },
  async 'streamed usage comes when asked'() {
    const last = (await all(chat('chat', { stream: true, stream_options: { include_usage: true } }))).at(-1);
    assert.deepEqual(last.choices, []);
    assert.ok(last.usage.total_tokens > 0);
  },
  async 'stream helper accumulates'() {
    const runner = client.chat.completions.stream({ model: 'chat', messages });
    assert.equal(await runner.finalContent(), ANSWER);
  },
  async 'an aborted stream leaves the client usable'() {
    const stream = await chat('chat', { stream: true });
    for await (const _ of stream) break;
    assert.equal((await chat('chat')).choices[0].message.content, ANSWER);
  },
  async tools() {
    const call = (await chat('chat', { tools })).choices[0].message.tool_calls[0];
    assert.equal(call.function.name, 'get_weather');
    assert.deepEqual(JSON.parse(call.function.arguments), { city: 'Zürich' });
  },
  async 'streamed tools'() {
    const answer = await client.chat.completions.stream({ model: 'chat', messages, tools }).finalChatCompletion();
    assert.equal(answer.choices[0].finish_reason, 'tool_calls');
    assert.deepEqual(JSON.parse(answer.choices[0].message.tool_calls[0].function.arguments), { city: 'Zürich' });
  },
  async 'json mode'() {
    const answer = await chat('chat', { response_format: { type: 'json_object' } });
    assert.deepEqual(JSON.parse(answer.choices[0].message.content), { city: 'Zürich' });
  },
  async 'legacy completions'() {
    assert.equal((await client.completions.create({ model: 'chat', prompt: 'Hi' })).choices[0].text, ANSWER);
    const chunks = await all(client.completions.create({ model: 'chat', prompt: 'Hi', stream: true }));
    assert.equal(chunks.map((c) => c.choices[0]?.text ?? '').join(''), ANSWER);
  },
  async 'embeddings by default as base64'() {
    const answer = await client.embeddings.create({ model: 'embed', input: ['one', 'two'] });
    assert.deepEqual(answer.data.map((d) => d.embedding.length), [8, 8]);
    assert.ok(Math.abs(answer.data[0].embedding[1] - 0.125) < 1e-9);
  },
  async 'embeddings as floats'() {
    const answer = await client.embeddings.create({ model: 'embed', input: 'one', encoding_format: 'float' });
    assert.equal(answer.data[0].embedding[1], 0.125);
  },
  async 'responses answer'() {
    const answer = await client.responses.create({ model: 'chat', input: 'Say hello' });
    assert.equal(answer.output_text, ANSWER);
    assert.ok(answer._request_id);
  },
  async 'responses stream'() {
    const events = await all(client.responses.create({ model: 'chat', input: 'Say hello', stream: true }));
    const deltas = events.filter((e) => e.type === 'response.output_text.delta');
    assert.equal(deltas.map((e) => e.delta).join(''), ANSWER);
    assert.equal(events.at(-1).type, 'response.completed');
  },
  async 'models are listed'() {
    const ids = (await all(client.models.list())).map((m) => m.id);
    for (const id of ['chat', 'embed', 'org/family/chat-7b']) assert.ok(ids.includes(id), `${id} not in ${ids}`);
  },
  async 'a model with slashes is retrieved and used'() {
    assert.equal((await client.models.retrieve('org/family/chat-7b')).id, 'org/family/chat-7b');
    assert.equal((await chat('org/family/chat-7b')).choices[0].message.content, ANSWER);
  },
  async 'failover is invisible'() {
    const { data, response } = await chat('first-fails').withResponse();
    assert.equal(data.choices[0].message.content, ANSWER);
    assert.equal(response.headers.get('x-concierge-attempts'), '2');
    assert.equal(textOf(await all(chat('first-fails', { stream: true }))), ANSWER);
  },
  async 'wrong key'() {
    const wrong = new OpenAI({ baseURL, apiKey: 'sk-wrong-key', maxRetries: 0 });
    const error = await raises(AuthenticationError, () => wrong.models.list());
    assert.equal(error.code, 'invalid_api_key');
    assert.ok(error.requestID && !String(error).includes('sk-wrong-key'));
  },
  async 'model that this key may not use'() {
    const limited = new OpenAI({ baseURL, apiKey: limitedKey, maxRetries: 0 });
    const error = await raises(PermissionDeniedError, () => limited.chat.completions.create({ model: 'chat', messages }));
    assert.equal(error.code, 'model_not_allowed');
  },
  async 'unknown model'() {
    const error = await raises(NotFoundError, () => chat('no-such-model'));
    assert.equal(error.code, 'model_not_found');
    assert.ok(error.requestID);
  },
  async 'bad request is the provider’s own'() {
    const error = await raises(BadRequestError, () => chat('bad-request'));
    assert.deepEqual([error.code, error.param, error.type], ['unsupported_value', 'temperature', 'invalid_request_error']);
    assert.match(error.message, /does not support 7/);
  },
  async 'bad request of a stream'() {
    const error = await raises(BadRequestError, () => chat('bad-request', { stream: true }));
    assert.equal(error.code, 'unsupported_value');
  },
  async 'rate limit'() {
    const error = await raises(RateLimitError, () => chat('rate-limited'));
    assert.deepEqual([error.code, error.type], ['upstream_rate_limited', 'rate_limit_error']);
    assert.ok(Number(error.headers.get('retry-after')) >= 1);
  },
  async 'provider down is not retried by the client'() {
    let calls = 0;
    const counting = (...args) => (calls++, fetch(...args));
    const eager = new OpenAI({ baseURL, apiKey, maxRetries: 2, fetch: counting });
    const error = await raises(InternalServerError, () => eager.chat.completions.create({ model: 'broken', messages }));
    assert.deepEqual([error.status, error.code, calls], [502, 'upstream_error', 1]);
    assert.ok(error.requestID);
  },
  async 'refused provider key is never a 401'() {
    const error = await raises(InternalServerError, () => chat('key-refused'));
    assert.deepEqual([error.status, error.code], [502, 'upstream_auth_error']);
  },
  async 'nonsense with 200 is an error'() {
    for (const model of ['html-200', 'error-200', 'empty-200', 'truncated-200']) {
      for (const stream of [false, true]) {
        const error = await raises(InternalServerError, () => chat(model, { stream }));
        assert.equal(error.status, 502, `${model}, stream ${stream}`);
      }
    }
  },
  'stream cut by a reset raises': () => cutStreamRaises('cut-reset'),
  'stream that ends too early but cleanly raises': () => cutStreamRaises('cut-clean'),
  async 'responses stream cut raises'() {
    const ask = { model: 'cut-responses', input: 'Hi', stream: true };
    const error = await raises(APIError, () => all(client.responses.create(ask)));
    assert.equal(error.code, 'stream_interrupted');
  },
};

let failed = 0;
for (const [name, work] of Object.entries(checks)) {
  try {
    await work();
    console.log(`ok   node ${name}`);
  } catch (error) {
    failed++;
    console.log(`FAIL node ${name}: ${error.stack}`);
  }
}
console.log(`openai-node ${VERSION}: ${Object.keys(checks).length - failed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
