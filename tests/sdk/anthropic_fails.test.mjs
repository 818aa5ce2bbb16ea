// SPDX-License-Identifier: Apache-2.0
// How the official @anthropic-ai/sdk fails, asks again and is left: only ANTHROPIC_API_KEY and NODE_EXTRA_CA_CERTS from the environment.
// anthropic.test.mjs has what succeeds.
import Anthropic from '@anthropic-ai/sdk';
import { done, see, streamed } from './seen.mjs';

const base = { model: 'claude-sonnet-4', max_tokens: 200, messages: [{ role: 'user', content: 'hello over there' }] };
const anthropic = new Anthropic();
const once = new Anthropic({ maxRetries: 0 });
const create = (client, body, options) => client.messages.create({ ...base, ...body }, options);
const answer = (a) => ({ text: a.content[0].text, stop: a.stop_reason, tokens: a.usage.output_tokens });
const stream = (body, options, more, client = once) => streamed(create(client, { ...body, stream: true }, options), (e) => e.delta?.text,
	{ finish: (e) => e.delta?.stop_reason, usage: (e) => (e.type === 'message_delta' ? e.usage.output_tokens : undefined), ...more });

const text = 'Hello from api.anthropic.com. You said: hello over there';
const good = { text, stop: 'end_turn', tokens: 8 };
const told = { 400: ['BadRequestError', 'invalid_request_error'], 401: ['AuthenticationError', 'authentication_error'], 403: ['PermissionDeniedError', 'permission_error'],
	404: ['NotFoundError', 'not_found_error'], 409: ['ConflictError', 'api_error'], 413: ['ContentTooLargeError', 'request_too_large'], 422: ['UnprocessableEntityError', 'api_error'],
	429: ['RateLimitError', 'rate_limit_error'], 500: ['InternalServerError', 'api_error'], 529: ['OverloadedError', 'overloaded_error'] };
const error = (status) => ({ error: told[status][0], status,
	body: { type: 'error', error: { type: told[status][1], message: `The mock api.anthropic.com was told to answer ${status}.` }, request_id: `req_mock_${status}` } });

const half = { text: 'Hello from api.anthropic.com. You', pieces: 6, finish: null };
const terminated = { error: 'TypeError', message: 'terminated' };
const event = { error: 'APIError', body: { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } } };

for (const status of Object.keys(told).map(Number)) await see(`anthropic: ${status}`, () => create(once, { model: `mock-${status}` }), error(status));
await see('anthropic: 400 of a stream', () => stream({ model: 'mock-400' }), { text: '', pieces: 0, finish: null, ended: error(400) });
await see('anthropic: 429, then an answer to the retry', async () => answer(await create(anthropic, { model: 'mock-first-429-retry-after-0' })), good);
await see('anthropic: 529, then a stream to the retry', () => stream({ model: 'mock-first-529-retry-after-0' }, {}, {}, anthropic),
	{ text, pieces: 13, finish: 'end_turn', usage: 8 });
await see('anthropic: 529, three times', () => create(anthropic, { model: 'mock-529-retry-after-0' }), error(529));
await see('anthropic: a page of HTML with 502', () => create(once, { model: 'mock-502-html' }), { error: 'InternalServerError', status: 502 });
await see('anthropic: an error inside a stream', () => stream({ model: 'mock-error-mid-stream' }), { ...half, ended: event });
await see('anthropic: an error instead of a stream', () => stream({ model: 'mock-error-first-event' }), { text: '', pieces: 0, finish: null, ended: event });
await see('anthropic: a stream cut off', () => stream({ model: 'mock-cut-stream' }), { ...half, ended: terminated });
await see('anthropic: a stream that ends before its end', () => stream({ model: 'mock-clean-cut-stream' }), half);
await see('anthropic: the helper, an error inside a stream', () => once.messages.stream({ ...base, model: 'mock-error-mid-stream' }).finalMessage(), event);
await see('anthropic: a body cut off', () => create(once, { model: 'mock-cut-body' }), terminated);
await see('anthropic: a body that is reset', () => create(once, { model: 'mock-reset-body' }), terminated);
await see('anthropic: a connection that ends without an answer', () => create(once, { model: 'mock-close' }), { error: 'APIConnectionError', message: 'Connection error.' });
await see('anthropic: a slow first byte is waited for', async () => answer(await create(once, { model: 'mock-slow-first-byte-1000' })), good);
await see('anthropic: given up by its timeout', () => create(once, { model: 'mock-hang' }, { timeout: 700 }), { error: 'APIConnectionTimeoutError', message: 'Request timed out.' });
await see('anthropic: aborted before an answer', () => create(once, { model: 'mock-hang' }, { signal: AbortSignal.timeout(700) }), { error: 'APIUserAbortError', message: 'Request was aborted.' });
await see('anthropic: aborted inside an answer', () => create(once, { model: 'mock-hang-body' }, { signal: AbortSignal.timeout(700) }),
	{ error: 'DOMException', name: 'AbortError', message: 'This operation was aborted' });
await see('anthropic: aborted inside a stream', () => {
	const controller = new AbortController();
	return stream({ model: 'mock-slow-stream-200' }, { signal: controller.signal }, { leave: 5, abort: () => controller.abort() });
}, { left: true });
await see('anthropic: the helper, aborted', async () => {
	const s = once.messages.stream({ ...base, model: 'mock-slow-stream-200' });
	s.on('text', () => s.abort());
	return s.finalMessage();
}, { error: 'APIUserAbortError', message: 'Request was aborted.' });
await see('anthropic: an answer after all that', async () => answer(await create(anthropic)), good);
done();
