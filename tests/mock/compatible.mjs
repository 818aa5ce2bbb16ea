// SPDX-License-Identifier: Apache-2.0
// What providers that are compatible with OpenAI do otherwise: Mistral and Groq, as in answers of theirs that were recorded and in
// the types of their SDKs.
import { openai } from './openai.mjs';

function send(res, status, value, headers) {
	const text = JSON.stringify(value);
	res.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), ...headers });
	res.end(text);
}
// The meanings of a 429, and the modes for them, are OpenAI's.
const own = (error) => (res, status, what, message) => (what === 'quota' || what === 'toolarge' ? openai.error : error)(res, status, what, message);

const compatible = (style) => ({ ...openai, error: style.error, answer: (call) => openai.answer({ ...call, style: { embeddings: {}, embedded: {}, ...style } }) });

// Its tool ids have nine characters, and a stream has a call in one piece; the last chunk has the usage, asked for or not; its error object is
// no member of another.
const MISTRAL_TYPE = { 400: ['invalid_request_message', '3051'], 404: ['invalid_model', '1500'], 429: ['rate_limited', '1300'] };
export const mistral = compatible({
	toolId: 'mOcKt00l1',
	invalid: 422,
	wholeTools: true,
	embeddings: { id: 'embd_mock' },
	embedded: { completion_tokens: 0 },
	answer: () => ({}),
	chunk: (which, usage) => (which === 'last' ? { usage } : {}),
	headers: { 'mistral-correlation-id': 'mock-correlation', 'x-ratelimit-limit-req-minute': '100' },
	error: own((res, status, what, message) => {
		const [type, code] = MISTRAL_TYPE[status] ?? ['internal_server_error', '3000'];
		if (status === 401) return send(res, 401, { detail: 'Unauthorized' });
		if (status === 422) return send(res, 422, { detail: [{ type: 'missing', loc: ['body', 'messages'], msg: 'Field required' }] });
		return send(res, status, { object: 'error', message, type, param: null, code });
	}),
});

// Its own member "x_groq", with the usage at a stream's end; it says where an answer comes from.
export const groq = compatible({
	toolId: 'mockt00l1',
	answer: () => ({ usage_breakdown: null, x_groq: { id: 'req_mock', seed: 7 } }),
	chunk: (which, usage) => ({ x_groq: { id: 'req_mock', ...(which === 'last' ? { usage } : {}) } }),
	headers: { 'x-groq-region': 'us-east-1', 'x-ratelimit-remaining-requests': '14399' },
	error: own((res, status, what, message) => {
		const type = status >= 500 ? 'internal_server_error' : 'invalid_request_error';
		const code = { 401: 'invalid_api_key', 404: 'model_not_found', 429: 'rate_limit_exceeded' }[status];
		send(res, status, { error: { message, type: status === 429 ? 'requests' : type, ...(code ? { code } : {}) } }, { 'x-groq-region': 'us-east-1' });
	}),
});
