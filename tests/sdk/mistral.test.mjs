// SPDX-License-Identifier: Apache-2.0
// The official @mistralai/mistralai, unchanged: only MISTRAL_API_KEY and NODE_EXTRA_CA_CERTS from the environment.
import { Mistral } from '@mistralai/mistralai';
import { done, see, streamed } from './seen.mjs';

const model = 'mistral-small-latest';
const messages = [{ role: 'user', content: 'hello over there' }];
const tools = [{ type: 'function', function: { name: 'get_weather', description: 'The weather of a city',
	parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] } } }];
const mistral = new Mistral({ apiKey: process.env.MISTRAL_API_KEY });
// Its retries are off unless asked for. A Retry-After of 0 is none to it; this is the longest that it then waits.
const retries = { strategy: 'backoff', backoff: { initialInterval: 1, maxInterval: 20, exponent: 1, maxElapsedTime: 10000 }, retryConnectionErrors: false };
const chat = (body, options) => mistral.chat.complete({ model, messages, ...body }, options);
const answer = (a) => ({ text: a.choices[0].message.content, finish: a.choices[0].finishReason, tokens: a.usage.totalTokens });
const how = { finish: (c) => c.data.choices[0]?.finishReason, usage: (c) => c.data.usage?.totalTokens };
const stream = (body, options, more) => streamed(mistral.chat.stream({ model, messages, ...body }, options), (c) => c.data.choices[0]?.delta?.content, { ...how, ...more });

const text = 'Hello from api.mistral.ai. You said: hello over there';
const half = { text: 'Hello from api.mistral.ai. You', pieces: 5, finish: null };
const error = (status, type, code) => ({ error: 'SDKError', status,
	body: { object: 'error', message: `The mock api.mistral.ai was told to answer ${status}.`, type, param: null, code } });

await see('mistral: completion', async () => answer(await chat()), { text, finish: 'stop', tokens: 18 });
await see('mistral: ten at once', async () => {
	const all = await Promise.all(Array.from({ length: 10 }, (_, i) => chat({ messages: [{ role: 'user', content: `number ${i}` }] })));
	return all.map((a) => answer(a).text.slice(-8)).join();
}, Array.from({ length: 10 }, (_, i) => `number ${i}`).join());
await see('mistral: streaming', () => stream(), { text, pieces: 10, finish: 'stop', usage: 18 });
await see('mistral: tool call, and its result', async () => {
	const first = await chat({ tools });
	const { message, finishReason } = first.choices[0];
	const [call] = message.toolCalls;
	const second = await chat({ tools, messages: [...messages, message, { role: 'tool', toolCallId: call.id, name: call.function.name, content: 'sunny' }] });
	return { id: call.id, call: call.function, finish: finishReason, answer: second.choices[0].message.content };
}, { id: 'mOcKt00l1', call: { name: 'get_weather', arguments: '{"city":"Paris"}' }, finish: 'tool_calls', answer: 'The tool said: sunny' });
await see('mistral: streamed tool call', () => streamed(mistral.chat.stream({ model, messages, tools }),
	(c) => c.data.choices[0]?.delta?.toolCalls?.[0]?.function?.arguments, how), { text: '{"city":"Paris"}', pieces: 3, finish: 'tool_calls', usage: 11 });
await see('mistral: fill in the middle', async () => answer(await mistral.fim.complete({ model: 'codestral-latest', prompt: 'int main(', suffix: ')' })),
	{ text: 'Hello from api.mistral.ai. You said: int main(...)', finish: 'stop', tokens: 16 });
await see('mistral: embeddings', async () => {
	const e = await mistral.embeddings.create({ model: 'mistral-embed', inputs: ['one', 'two three'] });
	return [e.data.length, e.data[0].embedding.length, e.usage.totalTokens];
}, [2, 8, 3]);

await see('mistral: 400', () => chat({ model: 'mock-400' }), error(400, 'invalid_request_message', '3051'));
await see('mistral: 401', () => chat({ model: 'mock-401' }), { error: 'SDKError', status: 401, body: { detail: 'Unauthorized' } });
await see('mistral: 404', () => chat({ model: 'mock-404' }), error(404, 'invalid_model', '1500'));
await see('mistral: 422', () => chat({ model: 'mock-422' }), { error: 'HTTPValidationError', status: 422,
	body: { detail: [{ type: 'missing', loc: ['body', 'messages'], msg: 'Field required' }] } });
await see('mistral: 429, then an answer to the retry', async () => answer(await chat({ model: 'mock-first-429-retry-after-0' }, { retries })), { text, finish: 'stop', tokens: 18 });
await see('mistral: 503, then a stream to the retry', () => stream({ model: 'mock-first-503-retry-after-0' }, { retries }), { text, pieces: 10, finish: 'stop', usage: 18 });
await see('mistral: 429 and no retry', () => chat({ model: 'mock-429-retry-after-0' }), error(429, 'rate_limited', '1300'));
await see('mistral: 503', () => chat({ model: 'mock-503' }), error(503, 'internal_server_error', '3000'));
await see('mistral: a page of HTML with 502', () => chat({ model: 'mock-502-html' }), { error: 'SDKError', status: 502, body: '<html><h1>Bad gateway</h1></html>\n' });
await see('mistral: 400 of a stream', () => stream({ model: 'mock-400' }), { text: '', pieces: 0, finish: null, ended: error(400, 'invalid_request_message', '3051') });
// It knows of no error event: what it does not know as an event fails its schema, whose words are Zod's.
await see('mistral: an error inside a stream', async () => {
	const { ended, ...seen } = await stream({ model: 'mock-error-mid-stream' });
	return { ...seen, ended: { error: ended.error } };
}, { ...half, ended: { error: 'ZodError' } });
await see('mistral: a stream cut off', () => stream({ model: 'mock-cut-stream' }), { ...half, ended: { error: 'TypeError', message: 'terminated' } });
await see('mistral: a stream that ends before its end', () => stream({ model: 'mock-clean-cut-stream' }), half);
await see('mistral: a connection that ends without an answer', () => chat({ model: 'mock-close' }),
	{ error: 'ConnectionError', message: 'Unable to make request: TypeError: fetch failed' });
await see('mistral: a body cut off', () => chat({ model: 'mock-cut-body' }), { error: 'TypeError', message: 'terminated' });
await see('mistral: a slow first byte is waited for', async () => answer(await chat({ model: 'mock-slow-first-byte-1000' })), { text, finish: 'stop', tokens: 18 });
await see('mistral: given up by its timeout', () => chat({ model: 'mock-hang' }, { timeoutMs: 700 }),
	{ error: 'RequestTimeoutError', message: 'Request timed out: TimeoutError: The operation was aborted due to timeout' });
await see('mistral: aborted before an answer', () => {
	const controller = new AbortController();
	setTimeout(() => controller.abort(), 700);
	return chat({ model: 'mock-hang' }, { signal: controller.signal });
}, { error: 'RequestAbortedError', message: 'Request aborted by client: AbortError: This operation was aborted' });
await see('mistral: aborted inside a stream', () => {
	const controller = new AbortController();
	return stream({ model: 'mock-slow-stream-200' }, { signal: controller.signal }, { leave: 3, abort: () => controller.abort() });
}, { left: true, ended: { error: 'DOMException', name: 'AbortError', message: 'This operation was aborted' } });
await see('mistral: an answer after all that', async () => answer(await chat()), { text, finish: 'stop', tokens: 18 });
done();
