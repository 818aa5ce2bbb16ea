// SPDX-License-Identifier: Apache-2.0
// The Gemini API: generateContent, streamGenerateContent (as SSE), countTokens and embeddings; errors as google.rpc.Status in JSON.
import { sendJson, stream, words } from './sse.mjs';

const STATUS = { 400: 'INVALID_ARGUMENT', 401: 'UNAUTHENTICATED', 403: 'PERMISSION_DENIED', 404: 'NOT_FOUND', 429: 'RESOURCE_EXHAUSTED', 500: 'INTERNAL',
	503: 'UNAVAILABLE', 504: 'DEADLINE_EXCEEDED' };
const PATH = /^\/v1(?:beta|alpha)?\/models\/([^/:]+):(\w+)$/;

const bodyOf = (code, message, details) => ({ error: { code, message, status: STATUS[code] ?? 'INTERNAL', ...(details ? { details } : {}) } });
function error(res, status, what, message) {
	const details = what === 'key' ? [{ '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: 'API_KEY_INVALID', domain: 'googleapis.com' }] : undefined;
	const text = JSON.stringify(bodyOf(status, message, details), null, 2);
	res.writeHead(status, { 'content-type': 'application/json; charset=UTF-8', 'content-length': Buffer.byteLength(text) });
	res.end(text);
}

// A key that it does not know is a bad request to this API.
const wrongKey = ({ req, url }, keys) => (keys.includes(req.headers['x-goog-api-key'] ?? url.searchParams.get('key')) ? null
	: [400, 'key', 'API key not valid. Please pass a valid API key.']);
const modelOf = (url) => PATH.exec(url.pathname)?.[1] ?? null;
const textOf = (parts) => (parts ?? []).map((p) => p.text ?? '').join(' ');

function partOf({ json, host }) {
	const last = json.contents?.at(-1) ?? {};
	const result = last.parts?.find((p) => p.functionResponse)?.functionResponse;
	const declared = json.tools?.[0]?.functionDeclarations?.[0];
	if (declared && !result) return { functionCall: { name: declared.name, args: { city: 'Paris' } } };
	return { text: result ? `The tool said: ${result.response.output}` : `Hello from ${host}. You said: ${textOf(last.parts)}` };
}
function usageOf({ json }, part) {
	const promptTokenCount = (json.contents ?? []).reduce((sum, c) => sum + words(textOf(c.parts)) + 1, 0);
	const candidatesTokenCount = part.text ? words(part.text) : 5;
	return { promptTokenCount, candidatesTokenCount, totalTokenCount: promptTokenCount + candidatesTokenCount };
}
const candidates = (part, finishReason) => [{ content: { parts: [part], role: 'model' }, ...(finishReason ? { finishReason } : {}), index: 0 }];

function generated(call) {
	const part = partOf(call);
	return { candidates: candidates(part, 'STOP'), usageMetadata: usageOf(call, part), modelVersion: modelOf(call.url), responseId: 'mock' };
}
function streamGenerated(call) {
	const part = partOf(call);
	const pieces = part.text ? part.text.match(/\s*\S+/g).map((text) => ({ text })) : [part];
	const events = pieces.map((piece, i) => {
		const last = i === pieces.length - 1;
		const value = { candidates: candidates(piece, last ? 'STOP' : null), ...(last ? { usageMetadata: usageOf(call, part) } : {}), modelVersion: modelOf(call.url), responseId: 'mock' };
		return `data: ${JSON.stringify(value)}\r\n\r\n`;
	});
	return stream({ ...call, pace: call.pace ?? 20 }, events, `data: ${JSON.stringify(bodyOf(503, 'The model is overloaded. Please try again later.'))}\r\n\r\n`);
}

function answer(call) {
	const { req, res, url, json } = call;
	const verb = PATH.exec(url.pathname)?.[2];
	if (req.method !== 'POST' || !verb) return error(res, 404, '', 'Requested entity was not found.');
	if (json === undefined) return error(res, 400, '', 'Invalid JSON payload received.');
	switch (verb) {
	case 'generateContent':
		if (!json.contents?.length) return error(res, 400, '', '* GenerateContentRequest.contents: contents is not specified');
		return sendJson(call, 200, generated(call));
	case 'streamGenerateContent':
		if (url.searchParams.get('alt') !== 'sse') return sendJson(call, 200, [generated(call)]);
		return streamGenerated(call);
	case 'countTokens': return sendJson(call, 200, { totalTokens: usageOf(call, {}).promptTokenCount });
	case 'batchEmbedContents': return sendJson(call, 200, { embeddings: json.requests.map((r) => ({ values: Array.from({ length: 8 }, (_, k) => words(textOf(r.content.parts)) + k / 8) })) });
	default: return error(res, 404, '', `Method not found: ${verb}`);
	}
}

export const gemini = { answer, error, wrongKey, modelOf, sample: (call) => generated({ ...call, json: { contents: [], ...call.json } }) };
