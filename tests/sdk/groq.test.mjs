// SPDX-License-Identifier: Apache-2.0
// The official groq-sdk, unchanged: only GROQ_API_KEY and NODE_EXTRA_CA_CERTS from the environment.
import Groq from 'groq-sdk';
import { done, see, streamed } from './seen.mjs';

const model = 'llama-3.3-70b-versatile';
const messages = [{ role: 'user', content: 'hello over there' }];
const tools = [{ type: 'function', function: { name: 'get_weather', description: 'The weather of a city',
	parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] } } }];
const groq = new Groq();
const once = new Groq({ maxRetries: 0 });
const chat = (client, body, options) => client.chat.completions.create({ model, messages, ...body }, options);
const answer = (a) => ({ text: a.choices[0].message.content, finish: a.choices[0].finish_reason, tokens: a.usage.total_tokens });
const how = { finish: (c) => c.choices[0]?.finish_reason, usage: (c) => c.x_groq?.usage?.total_tokens };
const stream = (body, options, more) => streamed(chat(once, { ...body, stream: true }, options), (c) => c.choices[0]?.delta?.content, { ...how, ...more });

const text = 'Hello from api.groq.com. You said: hello over there';
const told = (status) => `The mock api.groq.com was told to answer ${status}.`;
const body = (status, type, code) => ({ error: { message: told(status), type, ...(code ? { code } : {}) } });

await see('groq: completion', async () => answer(await chat(groq)), { text, finish: 'stop', tokens: 18 });
await see('groq: ten at once', async () => {
	const all = await Promise.all(Array.from({ length: 10 }, (_, i) => chat(groq, { messages: [{ role: 'user', content: `number ${i}` }] })));
	return all.map((a) => answer(a).text.slice(-8)).join();
}, Array.from({ length: 10 }, (_, i) => `number ${i}`).join());
await see('groq: streaming', () => stream(), { text, pieces: 10, finish: 'stop', usage: 18 });
await see('groq: streaming with usage', () => stream({ stream_options: { include_usage: true } }), { text, pieces: 11, finish: 'stop', usage: 18 });
await see('groq: tool call, and its result', async () => {
	const first = await chat(groq, { tools });
	const [call] = first.choices[0].message.tool_calls;
	const second = await chat(groq, { tools, messages: [...messages, first.choices[0].message, { role: 'tool', tool_call_id: call.id, content: 'sunny' }] });
	return { call, finish: first.choices[0].finish_reason, answer: second.choices[0].message.content };
}, { call: { id: 'mockt00l1', type: 'function', function: { name: 'get_weather', arguments: '{"city":"Paris"}' } }, finish: 'tool_calls', answer: 'The tool said: sunny' });
await see('groq: streamed tool call', () => streamed(chat(groq, { tools, stream: true }),
	(c) => c.choices[0]?.delta?.tool_calls?.[0]?.function?.arguments, how), { text: '{"city":"Paris"}', pieces: 7, finish: 'tool_calls', usage: 11 });
await see('groq: embeddings', async () => {
	const e = await groq.embeddings.create({ model: 'nomic-embed-text-v1_5', input: ['one', 'two three'] });
	return [e.data.length, e.data[0].embedding.length, e.usage.total_tokens];
}, [2, 8, 3]);

await see('groq: 400', () => chat(once, { model: 'mock-400' }), { error: 'BadRequestError', name: 'Error', status: 400, body: body(400, 'invalid_request_error') });
await see('groq: 400 of messages that are none', () => chat(once, { messages: undefined }), { error: 'BadRequestError', name: 'Error', status: 400,
	body: { error: { message: "Missing required parameter: 'messages'.", type: 'invalid_request_error' } } });
await see('groq: 401', () => chat(once, { model: 'mock-401' }), { error: 'AuthenticationError', name: 'Error', status: 401,
	body: body(401, 'invalid_request_error', 'invalid_api_key') });
await see('groq: 403', () => chat(once, { model: 'mock-403' }), { error: 'PermissionDeniedError', name: 'Error', status: 403, body: body(403, 'invalid_request_error') });
await see('groq: 404', () => chat(once, { model: 'mock-404' }), { error: 'NotFoundError', name: 'Error', status: 404,
	body: body(404, 'invalid_request_error', 'model_not_found') });
await see('groq: 409', () => chat(once, { model: 'mock-409' }), { error: 'ConflictError', name: 'Error', status: 409, body: body(409, 'invalid_request_error') });
await see('groq: 413', () => chat(once, { model: 'mock-413' }), { error: 'APIError', name: 'Error', status: 413, body: body(413, 'invalid_request_error') });
await see('groq: 422', () => chat(once, { model: 'mock-422' }), { error: 'UnprocessableEntityError', name: 'Error', status: 422, body: body(422, 'invalid_request_error') });
await see('groq: 429, then an answer to the retry', async () => answer(await chat(groq, { model: 'mock-first-429-retry-after-0' })), { text, finish: 'stop', tokens: 18 });
await see('groq: 503, then a stream to the retry', () => streamed(chat(groq, { model: 'mock-first-503-retry-after-0', stream: true }), (c) => c.choices[0]?.delta?.content, how),
	{ text, pieces: 10, finish: 'stop', usage: 18 });
await see('groq: 429 and no retry', () => chat(once, { model: 'mock-429-retry-after-0' }), { error: 'RateLimitError', name: 'Error', status: 429,
	body: body(429, 'requests', 'rate_limit_exceeded') });
await see('groq: 503, three times', () => chat(groq, { model: 'mock-503-retry-after-0' }), { error: 'InternalServerError', name: 'Error', status: 503,
	body: body(503, 'internal_server_error') });
await see('groq: a page of HTML with 502', () => chat(once, { model: 'mock-502-html' }), { error: 'InternalServerError', name: 'Error', status: 502 });
await see('groq: an error inside a stream', () => stream({ model: 'mock-error-mid-stream' }), { text: 'Hello from api.groq.com. You', pieces: 5, finish: null,
	ended: { error: 'APIError', name: 'Error', body: { message: 'The server had an error processing your request.', type: 'server_error', param: null, code: null } } });
const half = { text: 'Hello from api.groq.com. You', pieces: 5, finish: null };
await see('groq: a stream cut off', () => stream({ model: 'mock-cut-stream' }), { ...half, ended: { error: 'TypeError', message: 'terminated' } });
await see('groq: a stream that ends before its end', () => stream({ model: 'mock-clean-cut-stream' }), half);
await see('groq: a connection that ends without an answer', () => chat(once, { model: 'mock-close' }),
	{ error: 'APIConnectionError', name: 'Error', message: 'Connection error.' });
await see('groq: a slow first byte is waited for', async () => answer(await chat(once, { model: 'mock-slow-first-byte-1000' })), { text, finish: 'stop', tokens: 18 });
await see('groq: given up by its timeout', () => chat(once, { model: 'mock-hang' }, { timeout: 700 }),
	{ error: 'APIConnectionTimeoutError', name: 'Error', message: 'Request timed out.' });
await see('groq: aborted before an answer', () => chat(once, { model: 'mock-hang' }, { signal: AbortSignal.timeout(700) }),
	{ error: 'APIUserAbortError', name: 'Error', message: 'Request was aborted.' });
await see('groq: aborted inside an answer', () => chat(once, { model: 'mock-hang-body' }, { signal: AbortSignal.timeout(700) }),
	{ error: 'DOMException', name: 'AbortError', message: 'This operation was aborted' });
await see('groq: aborted inside a stream', () => {
	const controller = new AbortController();
	return stream({ model: 'mock-slow-stream-200' }, { signal: controller.signal }, { leave: 3, abort: () => controller.abort() });
}, { left: true });
await see('groq: an answer after all that', async () => answer(await chat(groq)), { text, finish: 'stop', tokens: 18 });
done();
