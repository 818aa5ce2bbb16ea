// SPDX-License-Identifier: Apache-2.0
// The OpenAI dialect: chat completions, responses, embeddings, transcriptions, image edits and models, plain and streamed. Requests that mint
// credentials or list files answer too, so that a test can tell "refused by Egret" from "the provider has no such thing".
import { sendJson, stream, words } from './sse.mjs';

const KIND = { 400: 'invalid_request_error', 401: 'invalid_request_error', 403: 'permission_error', 404: 'invalid_request_error',
	408: 'timeout', 413: 'invalid_request_error', 429: 'requests' };
const CODE = { 401: 'invalid_api_key', 404: 'model_not_found', 429: 'rate_limit_exceeded' };

function error(res, status, what, message) {
	let body = { message, type: KIND[status] ?? 'server_error', param: null, code: CODE[status] ?? null };
	if (what === 'quota') body = { message: 'You exceeded your current quota.', type: 'insufficient_quota', param: null, code: 'insufficient_quota' };
	if (what === 'toolarge') body = { message: 'Request too large for the model.', type: 'tokens', param: null, code: 'rate_limit_exceeded' };
	const text = JSON.stringify({ error: body }, null, 2);
	res.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), 'x-request-id': `req_mock_${status}` });
	res.end(text);
}

// What compatible providers do otherwise is in compatible.mjs; this is OpenAI's own.
const OWN = { error, toolId: 'call_mock_1', answer: () => ({}), chunk: () => ({}), headers: {}, embeddings: {}, embedded: {} };

const textOf = (content) => (typeof content === 'string' ? content : (content ?? []).map((p) => p.text ?? '').join(' '));
const lastOf = (messages) => messages?.[messages.length - 1] ?? {};
const headers = (call) => ({ 'x-request-id': `req_mock_${Date.now()}`, 'openai-processing-ms': '5', 'openai-version': '2020-10-01',
	'openai-organization': 'mock-organization', 'x-mock-host': call.host, ...style(call).headers });
const style = (call) => call.style ?? OWN;

// A tool is called when the client offers one and has not yet sent a result.
function wantsTool(json) {
	return json.tools?.length && json.tool_choice !== 'none' && lastOf(json.messages).role !== 'tool';
}
function replyText(call) {
	const last = lastOf(call.json.messages);
	if (last.role === 'tool') return `The tool said: ${textOf(last.content)}`;
	return `Hello from ${call.host}. You said: ${textOf(last.content)}`;
}
function usageOf(json, text) {
	const input = (json.messages ?? []).reduce((sum, m) => sum + words(textOf(m.content)) + 4, 3);
	return { prompt_tokens: input, completion_tokens: words(text), total_tokens: input + words(text) };
}
function toolCall(call) {
	const { json } = call;
	const wanted = json.tool_choice?.function?.name ?? json.tools[0].function.name;
	return { id: style(call).toolId, type: 'function', function: { name: wanted, arguments: '{"city":"Paris"}' } };
}

function completion(call) {
	const { json, host } = call;
	const tool = wantsTool(json);
	const text = tool ? '' : replyText(call);
	const message = { role: 'assistant', content: tool ? null : text, refusal: null, ...(tool ? { tool_calls: [toolCall(call)] } : {}) };
	return { id: 'chatcmpl-mock', object: 'chat.completion', created: 1767225600, model: json.model, system_fingerprint: `fp_${host}`,
		choices: [{ index: 0, message, logprobs: null, finish_reason: tool ? 'tool_calls' : 'stop' }], usage: usageOf(json, text || 'call'), ...style(call).answer() };
}

function deltas(call) {
	const { json } = call;
	if (!wantsTool(json)) {
		const text = call.events ? Array.from({ length: call.events }, (_, i) => `w${i}`).join(' ') : replyText(call);
		return { text, list: text.match(/\s*\S+/g).map((content) => ({ content })), finish: 'stop' };
	}
	const { function: f, ...rest } = toolCall(call);
	if (style(call).wholeTools) return { text: 'call', list: [{ tool_calls: [{ index: 0, ...rest, function: f }] }], finish: 'tool_calls' };
	const parts = f.arguments.match(/.{1,5}/g).map((piece) => ({ tool_calls: [{ index: 0, function: { arguments: piece } }] }));
	return { text: 'call', list: [{ tool_calls: [{ index: 0, ...rest, function: { name: f.name, arguments: '' } }] }, ...parts], finish: 'tool_calls' };
}

function streamChat(call) {
	const { json, host } = call;
	const { text, list, finish } = deltas(call);
	const wantsUsage = json.stream_options?.include_usage === true;
	const base = { id: 'chatcmpl-mock', object: 'chat.completion.chunk', created: 1767225600, model: json.model, system_fingerprint: `fp_${host}` };
	const chunk = (choices, usage, more) => `data: ${JSON.stringify({ ...base, choices, ...(wantsUsage ? { usage: usage ?? null } : {}), ...more })}\n\n`;
	const choice = (delta, finish_reason = null) => [{ index: 0, delta, logprobs: null, finish_reason }];
	const events = [chunk(choice({ role: 'assistant', content: '', refusal: null }), null, style(call).chunk('first')), ...list.map((d) => chunk(choice(d))),
		chunk(choice({}, finish), null, style(call).chunk('last', usageOf(json, text)))];
	if (wantsUsage) events.push(chunk([], usageOf(json, text)));
	events.push('data: [DONE]\n\n');
	const failure = { error: { message: 'The server had an error processing your request.', type: 'server_error', param: null, code: null } };
	return stream(call, events, `data: ${JSON.stringify(failure)}\n\n`, headers(call));
}

function response(call, status) {
	const { json, host } = call;
	const input = textOf(typeof json.input === 'string' ? json.input : lastOf(json.input).content);
	const text = `Hello from ${host}. You said: ${input}`;
	const content = [{ type: 'output_text', text, annotations: [], logprobs: [] }];
	return { id: 'resp_mock', object: 'response', created_at: 1767225600, status, model: json.model, error: null, incomplete_details: null,
		instructions: null, metadata: {}, parallel_tool_calls: true, tool_choice: 'auto', tools: [], temperature: 1, top_p: 1,
		output: status === 'completed' ? [{ type: 'message', id: 'msg_mock', status, role: 'assistant', content }] : [],
		usage: status === 'completed' ? { input_tokens: words(input) + 3, output_tokens: words(text), total_tokens: words(input) + 3 + words(text),
			input_tokens_details: { cached_tokens: 0 }, output_tokens_details: { reasoning_tokens: 0 } } : null };
}

function streamResponse(call) {
	const done = response(call, 'completed');
	const text = done.output[0].content[0].text;
	let sequence_number = 0;
	const event = (type, fields) => `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: sequence_number++, ...fields })}\n\n`;
	const at = { item_id: 'msg_mock', output_index: 0, content_index: 0 };
	const events = [event('response.created', { response: response(call, 'in_progress') }),
		event('response.output_item.added', { output_index: 0, item: { type: 'message', id: 'msg_mock', status: 'in_progress', role: 'assistant', content: [] } }),
		event('response.content_part.added', { ...at, part: { type: 'output_text', text: '', annotations: [] } }),
		...text.match(/\s*\S+/g).map((delta) => event('response.output_text.delta', { ...at, delta, logprobs: [] })),
		event('response.output_text.done', { ...at, text, logprobs: [] }),
		event('response.output_item.done', { output_index: 0, item: done.output[0] }),
		event('response.completed', { response: done })];
	return stream(call, events, event('error', { code: 'server_error', message: 'mock failure', param: null }), headers(call));
}

function embedding(input, i) {
	const vector = Array.from({ length: 8 }, (_, k) => Math.sin(input.length + k) / 2);
	return { object: 'embedding', index: i, embedding: vector };
}
function embeddings(call) {
	const inputs = [call.json.input].flat();
	const data = inputs.map((text, i) => embedding(String(text), i));
	if (call.json.encoding_format === 'base64') {
		for (const item of data) item.embedding = Buffer.from(new Float32Array(item.embedding).buffer).toString('base64');
	}
	const tokens = inputs.reduce((sum, text) => sum + words(String(text)), 0);
	return { ...style(call).embeddings, object: 'list', data, model: call.json.model, usage: { prompt_tokens: tokens, total_tokens: tokens, ...style(call).embedded } };
}

// A form's fields as undici reads them, which is not Egret's reading: files by their size, fields by their text.
async function formOf(call) {
	try {
		const type = call.req.headers['content-type'];
		return await new Response(call.body, { headers: { 'content-type': type } }).formData();
	} catch {
		return null;
	}
}
async function transcription(call) {
	const form = await formOf(call);
	const file = form?.get('file');
	if (!(file instanceof Blob)) return error(call.res, 400, '', "Missing required parameter: 'file'.");
	const text = `Hello from ${call.host}. You sent ${file.size} bytes as ${file.name} for ${form.get('model')}`;
	if (form.get('stream') !== 'true') return sendJson(call, 200, { text, usage: { type: 'duration', seconds: 1 } }, headers(call));
	const event = (fields) => `data: ${JSON.stringify(fields)}\n\n`;
	const events = [...text.match(/\s*\S+/g).map((delta) => event({ type: 'transcript.text.delta', delta })), event({ type: 'transcript.text.done', text })];
	return stream(call, events, event({ error: { message: 'mock failure', type: 'server_error' } }), headers(call));
}
async function imageEdit(call) {
	const form = await formOf(call);
	const images = form ? [...form.getAll('image'), ...form.getAll('image[]')] : [];
	if (!images.length || !images.every((image) => image instanceof Blob)) return error(call.res, 400, '', "Missing required parameter: 'image'.");
	const seen = { model: form.get('model'), prompt: form.get('prompt'), sizes: images.map((image) => image.size), mask: form.get('mask')?.size ?? null };
	return sendJson(call, 200, { created: 1767225600, data: [{ b64_json: Buffer.from(JSON.stringify(seen)).toString('base64') }] }, headers(call));
}

const model = (id) => ({ id, object: 'model', created: 1767225600, owned_by: 'mock' });
const models = ['gpt-4o', 'gpt-4o-mini', 'text-embedding-3-small'];

const FORMS = ['/v1/files', '/v1/audio/transcriptions', '/v1/images/edits'];

function answer(call) {
	const { req, res, url, json } = call;
	const path = url.pathname.replace(/^\/openai/, '');
	const { error } = style(call);
	const key = `${req.method} ${path}`;
	if (req.method === 'POST' && json === undefined && !FORMS.includes(path)) return error(res, 400, '', 'We could not parse the JSON body of your request.');
	switch (key) {
	case 'POST /v1/chat/completions':
	case 'POST /v1/fim/completions':
		if (path === '/v1/fim/completions') call.json.messages = [{ role: 'user', content: `${json.prompt}...${json.suffix ?? ''}` }];
		if (!Array.isArray(json.messages)) return error(res, style(call).invalid ?? 400, '', "Missing required parameter: 'messages'.");
		return json.stream ? streamChat(call) : sendJson(call, 200, completion(call), headers(call));
	case 'POST /v1/responses':
		return json.stream ? streamResponse(call) : sendJson(call, 200, response(call, 'completed'), headers(call));
	case 'POST /v1/embeddings': return sendJson(call, 200, embeddings(call), headers(call));
	case 'POST /v1/audio/transcriptions': return transcription(call);
	case 'POST /v1/images/edits': return imageEdit(call);
	case 'GET /v1/models': return sendJson(call, 200, { object: 'list', data: models.map(model) }, headers(call));
	case 'GET /v1/files': return sendJson(call, 200, { object: 'list', data: [{ id: 'file-of-another-tenant', object: 'file' }] }, headers(call));
	case 'POST /v1/files': return sendJson(call, 200, { id: 'file-mock', object: 'file' }, headers(call));
	case 'POST /v1/realtime/client_secrets': return sendJson(call, 200, { value: 'ek_mock_minted_secret', expires_at: 1767229200 }, headers(call));
	default:
		if (req.method === 'GET' && path.startsWith('/v1/models/')) return sendJson(call, 200, model(path.slice(11)), headers(call));
		return error(res, 404, '', `Unknown request URL: ${key}.`);
	}
}

export const openai = { answer, error, sample: (call) => completion({ ...call, json: { messages: [], ...call.json } }) };
