// SPDX-License-Identifier: Apache-2.0
// The Anthropic dialect: messages (plain, streamed, tool use), count_tokens and models.
import { sendJson, stream, words } from './sse.mjs';

const KIND = { 400: 'invalid_request_error', 401: 'authentication_error', 403: 'permission_error', 404: 'not_found_error',
	413: 'request_too_large', 429: 'rate_limit_error', 529: 'overloaded_error' };

function error(res, status, what, message) {
	const text = JSON.stringify({ type: 'error', error: { type: KIND[status] ?? 'api_error', message }, request_id: `req_mock_${status}` });
	res.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), 'request-id': `req_mock_${status}` });
	res.end(text);
}

const textOf = (content) => (typeof content === 'string' ? content : (content ?? []).map((p) => p.text ?? textOf(p.content ?? '')).join(' '));
const lastOf = (messages) => messages?.[messages.length - 1] ?? {};
const hasResult = (message) => Array.isArray(message.content) && message.content.some((p) => p.type === 'tool_result');
const headers = (call) => ({ 'request-id': `req_mock_${Date.now()}`, 'anthropic-organization-id': 'mock-organization', 'x-mock-host': call.host });

function contentOf(call) {
	const { json, host } = call;
	const last = lastOf(json.messages);
	if (json.tools?.length && json.tool_choice?.type !== 'none' && !hasResult(last)) {
		return [{ type: 'tool_use', id: 'toolu_mock_1', name: json.tool_choice?.name ?? json.tools[0].name, input: { city: 'Paris' } }];
	}
	const said = textOf(last.content);
	if (call.events) return [{ type: 'text', text: Array.from({ length: call.events }, (_, i) => `w${i}`).join(' ') }];
	return [{ type: 'text', text: hasResult(last) ? `The tool said: ${said}` : `Hello from ${host}. You said: ${said}` }];
}
function inputTokens(json) {
	return (json.messages ?? []).reduce((sum, m) => sum + words(textOf(m.content)) + 3, 5);
}
function message(call, content, stop_reason) {
	const output = content.reduce((sum, block) => sum + (block.text ? words(block.text) : 12), 0);
	return { id: 'msg_mock', type: 'message', role: 'assistant', model: call.json.model, content, stop_reason, stop_sequence: null,
		usage: { input_tokens: inputTokens(call.json), cache_creation_input_tokens: 0, cache_read_input_tokens: 0, output_tokens: output, service_tier: 'standard' } };
}

function streamMessage(call) {
	const [block] = contentOf(call);
	const tool = block.type === 'tool_use';
	const event = (type, fields) => `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`;
	const pieces = tool
		? ['', ...JSON.stringify(block.input).match(/.{1,5}/g)].map((partial_json) => ({ type: 'input_json_delta', partial_json }))
		: block.text.match(/\s*\S+/g).map((text) => ({ type: 'text_delta', text }));
	const opening = message(call, [], null);
	opening.usage.output_tokens = 1;
	const whole = message(call, [block], tool ? 'tool_use' : 'end_turn');
	const events = [event('message_start', { message: opening }),
		event('content_block_start', { index: 0, content_block: tool ? { ...block, input: {} } : { type: 'text', text: '' } }),
		event('ping', {}),
		...pieces.map((delta) => event('content_block_delta', { index: 0, delta })),
		event('content_block_stop', { index: 0 }),
		event('message_delta', { delta: { stop_reason: whole.stop_reason, stop_sequence: null }, usage: { output_tokens: whole.usage.output_tokens } }),
		event('message_stop', {})];
	return stream(call, events, event('error', { error: { type: 'overloaded_error', message: 'Overloaded' } }), headers(call));
}

function answer(call) {
	const { req, res, url, json } = call;
	const key = `${req.method} ${url.pathname}`;
	if (req.method === 'POST' && json === undefined) return error(res, 400, '', 'The request body is not valid JSON.');
	switch (key) {
	case 'POST /v1/messages': {
		if (json.max_tokens === undefined) return error(res, 400, '', 'max_tokens: Field required');
		if (!req.headers['anthropic-version']) return error(res, 400, '', 'anthropic-version: header is required');
		if (json.stream) return streamMessage(call);
		const content = contentOf(call);
		return sendJson(call, 200, message(call, content, content[0].type === 'tool_use' ? 'tool_use' : 'end_turn'), headers(call));
	}
	case 'POST /v1/messages/count_tokens': return sendJson(call, 200, { input_tokens: inputTokens(json) }, headers(call));
	case 'GET /v1/models': return sendJson(call, 200, { data: [{ type: 'model', id: 'claude-sonnet-4', display_name: 'Mock', created_at: '2026-01-01T00:00:00Z' }],
		has_more: false, first_id: 'claude-sonnet-4', last_id: 'claude-sonnet-4' }, headers(call));
	case 'GET /v1/files': return sendJson(call, 200, { data: [{ id: 'file-of-another-tenant', type: 'file' }], has_more: false }, headers(call));
	default: return error(res, 404, '', `Not found: ${key}`);
	}
}

export const anthropic = { answer, error, sample: (call) => message(call, contentOf({ ...call, json: { messages: [], ...call.json } }), 'end_turn') };
