// SPDX-License-Identifier: Apache-2.0
// How the official openai SDK fails, asks again and is left: only OPENAI_API_KEY and NODE_EXTRA_CA_CERTS from the environment. openai.test.mjs
// has what succeeds.
import OpenAI, { toFile } from 'openai';
import { done, see, streamed } from './seen.mjs';

const model = 'gpt-4o';
const messages = [{ role: 'user', content: 'hello over there' }];
const openai = new OpenAI();
const once = new OpenAI({ maxRetries: 0 });
const chat = (client, body, options) => client.chat.completions.create({ model, messages, ...body }, options);
const answer = (a) => ({ text: a.choices[0].message.content, finish: a.choices[0].finish_reason, tokens: a.usage.total_tokens });
const how = { finish: (c) => c.choices[0]?.finish_reason, usage: (c) => c.usage?.total_tokens };
const stream = (body, options, more, client = once) => streamed(chat(client, { ...body, stream: true }, options), (c) => c.choices[0]?.delta?.content, { ...how, ...more });
const responses = (body, options, more) => streamed(once.responses.create({ model, input: 'hello over there', stream: true, ...body }, options),
	(e) => (e.type === 'response.output_text.delta' ? e.delta : ''), { finish: (e) => (e.type === 'response.completed' ? 'completed' : undefined), ...more });

const text = 'Hello from api.openai.com. You said: hello over there';
const good = { text, finish: 'stop', tokens: 18 };
const told = { 400: ['BadRequestError', 'invalid_request_error'], 401: ['AuthenticationError', 'invalid_request_error', 'invalid_api_key'],
	403: ['PermissionDeniedError', 'permission_error'], 404: ['NotFoundError', 'invalid_request_error', 'model_not_found'], 409: ['ConflictError', 'server_error'],
	413: ['APIError', 'invalid_request_error'], 422: ['UnprocessableEntityError', 'server_error'], 429: ['RateLimitError', 'requests', 'rate_limit_exceeded'],
	500: ['InternalServerError', 'server_error'], 503: ['InternalServerError', 'server_error'] };
const error = (status) => ({ error: told[status][0], name: 'Error', status,
	body: { message: `The mock api.openai.com was told to answer ${status}.`, type: told[status][1], param: null, code: told[status][2] ?? null } });
const half = { text: 'Hello from api.openai.com. You', pieces: 5, finish: null };
const terminated = { error: 'TypeError', message: 'terminated' };
const event = { error: 'APIError', name: 'Error', body: { message: 'The server had an error processing your request.', type: 'server_error', param: null, code: null } };

for (const status of Object.keys(told).map(Number)) await see(`openai: ${status}`, () => chat(once, { model: `mock-${status}` }), error(status));
await see('openai: 400 of a stream', () => stream({ model: 'mock-400' }), { text: '', pieces: 0, finish: null, ended: error(400) });
await see('openai: 429, then an answer to the retry', async () => answer(await chat(openai, { model: 'mock-first-429-retry-after-0' })), good);
await see('openai: 503, then a stream to the retry', () => stream({ model: 'mock-first-503-retry-after-0' }, {}, {}, openai), { text, pieces: 10, finish: 'stop' });
await see('openai: 503, three times', () => chat(openai, { model: 'mock-503-retry-after-0' }), error(503));
await see('openai: spent quota', () => chat(once, { model: 'mock-429-quota' }),
	{ error: 'RateLimitError', name: 'Error', status: 429, body: { message: 'You exceeded your current quota.', type: 'insufficient_quota', param: null, code: 'insufficient_quota' } });
await see('openai: a page of HTML with 502', () => chat(once, { model: 'mock-502-html' }), { error: 'InternalServerError', name: 'Error', status: 502 });
await see('openai: a form, 503', async () => once.audio.transcriptions.create({ file: await toFile(Buffer.alloc(70000), 'a.wav'), model: 'mock-503' }), error(503));
await see('openai: an error inside a stream', () => stream({ model: 'mock-error-mid-stream' }), { ...half, ended: event });
await see('openai: an error instead of a stream', () => stream({ model: 'mock-error-first-event' }), { text: '', pieces: 0, finish: null, ended: event });
await see('openai: a stream cut off', () => stream({ model: 'mock-cut-stream' }), { ...half, ended: terminated });
await see('openai: a stream that ends before its end', () => stream({ model: 'mock-clean-cut-stream' }), half);
await see('openai, responses: an error inside a stream', () => responses({ model: 'mock-error-mid-stream' }), { ...half, pieces: 8 });
await see('openai, responses: a stream cut off', () => responses({ model: 'mock-cut-stream' }), { ...half, pieces: 7, ended: terminated });
await see('openai, responses: aborted inside a stream', () => {
	const controller = new AbortController();
	return responses({ model: 'mock-slow-stream-200' }, { signal: controller.signal }, { leave: 5, abort: () => controller.abort() });
}, { left: true });
await see('openai: a body cut off', () => chat(once, { model: 'mock-cut-body' }), terminated);
await see('openai: a chunked body cut off', () => chat(once, { model: 'mock-cut-chunked' }), terminated);
await see('openai: a body that is reset', () => chat(once, { model: 'mock-reset-body' }), terminated);
await see('openai: a connection that ends without an answer', () => chat(once, { model: 'mock-close' }), { error: 'APIConnectionError', name: 'Error', message: 'Connection error.' });
await see('openai: hints before an answer', async () => answer(await chat(once, { model: 'mock-early-hints' })), good);
await see('openai: trailers after an answer', async () => answer(await chat(once, { model: 'mock-trailers' })), good);
await see('openai: a slow first byte is waited for', async () => answer(await chat(once, { model: 'mock-slow-first-byte-1000' })), good);
await see('openai: given up by its timeout', () => chat(once, { model: 'mock-hang' }, { timeout: 700 }), { error: 'APIConnectionTimeoutError', name: 'Error', message: 'Request timed out.' });
await see('openai: given up by its timeout, three times', () => chat(openai, { model: 'mock-hang' }, { timeout: 300 }), { error: 'APIConnectionTimeoutError', name: 'Error', message: 'Request timed out.' });
await see('openai: aborted before an answer', () => chat(once, { model: 'mock-hang' }, { signal: AbortSignal.timeout(700) }), { error: 'APIUserAbortError', name: 'Error', message: 'Request was aborted.' });
await see('openai: aborted inside an answer', () => chat(once, { model: 'mock-hang-body' }, { signal: AbortSignal.timeout(700) }),
	{ error: 'DOMException', name: 'AbortError', message: 'This operation was aborted' });
await see('openai: aborted inside a stream', () => {
	const controller = new AbortController();
	return stream({ model: 'mock-slow-stream-200' }, { signal: controller.signal }, { leave: 3, abort: () => controller.abort() });
}, { left: true });
await see('openai: left inside a stream', async () => {
	for await (const piece of await chat(once, { model: 'mock-slow-stream-200', stream: true })) if (piece.choices[0]?.delta?.content) break;
	return 'left';
}, 'left');
// fetch says so by Content-Length. The mock knows no such page, and reads JSON of each POST.
await see('openai: a POST without a byte', () => once.batches.cancel('b'),
	{ ...error(400), body: { ...error(400).body, message: 'We could not parse the JSON body of your request.' } });
await see('openai: a header of an answer', async () => {
	const { response, request_id } = await chat(once, {}).withResponse();
	return [response.status, response.headers.get('content-type'), !!request_id];
}, [200, 'application/json', true]);
await see('openai: an answer after all that', async () => answer(await chat(openai)), good);
done();
