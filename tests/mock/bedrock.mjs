// SPDX-License-Identifier: Apache-2.0
// Bedrock's runtime: Converse and InvokeModel, plain, as AWS event streams, and with streams both ways; signed requests (sigv4.mjs) or a bearer
// token; AWS's errors.
import { frame, Frames } from './eventstream.mjs';
import { eventVerifier, wrongSignature } from './sigv4.mjs';
import { sendJson, stream, words } from './sse.mjs';

const TYPE = { 400: 'ValidationException', 403: 'AccessDeniedException', 404: 'ResourceNotFoundException', 408: 'ModelTimeoutException', 424: 'ModelErrorException',
	429: 'ThrottlingException', 500: 'InternalServerException', 503: 'ServiceUnavailableException' };
const PATH = /^\/model\/([^/]+)\/(converse|converse-stream|invoke|invoke-with-response-stream|invoke-with-bidirectional-stream)$/;

// `what`: an error's own type, where it is not the status's.
function error(res, status, what, message) {
	const text = JSON.stringify({ message });
	const type = what?.endsWith('Exception') ? what : TYPE[status] ?? 'InternalServerException';
	res.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), 'x-amzn-requestid': `mock-${status}`,
		'x-amzn-errortype': `${type}:http://internal.amazon.com/coral/com.amazon.bedrock/` });
	res.end(text);
}

function wrongKey({ req, body, host }, secrets) {
	const bearer = /^Bearer (.*)$/.exec(req.headers.authorization ?? '');
	if (bearer) return secrets.includes(bearer[1]) ? null : [403, 'AccessDeniedException', 'Authentication failed: Please make sure your API Key is valid.'];
	const wrong = wrongSignature(req, body, { secrets, service: 'bedrock', region: host.split('.')[1] });
	return wrong ? [403, 'InvalidSignatureException', wrong] : null;
}

const modelOf = (url) => {
	const match = PATH.exec(url.pathname);
	return match ? decodeURIComponent(match[1]) : null;
};
const textOf = (content) => (content ?? []).map((p) => p.text ?? '').join(' ');
const headers = { 'x-amzn-requestid': 'mock-200' };

function replyOf({ json, host }) {
	const last = json.messages?.at(-1) ?? {};
	const result = last.content?.find((p) => p.toolResult)?.toolResult;
	const tool = json.toolConfig?.tools?.[0]?.toolSpec;
	if (tool && !result) return { toolUse: { toolUseId: 'tooluse_mock_1', name: tool.name, input: { city: 'Paris' } } };
	return { text: result ? `The tool said: ${textOf(result.content)}` : `Hello from ${host}. You said: ${textOf(last.content)}` };
}
function usageOf({ json }, block) {
	const inputTokens = (json.messages ?? []).reduce((sum, m) => sum + words(textOf(m.content)) + 3, 2);
	const outputTokens = block.text ? words(block.text) : 9;
	return { inputTokens, outputTokens, totalTokens: inputTokens + outputTokens };
}

function converse(call) {
	const block = replyOf(call);
	return { metrics: { latencyMs: 5 }, output: { message: { content: [block], role: 'assistant' } }, stopReason: block.text ? 'end_turn' : 'tool_use', usage: usageOf(call, block) };
}

function streamFrames(call, frames) {
	if (call.streamMode === 'corrupt') { // a bit of the fourth frame's payload, so that its CRC does not fit
		frames[3] = Buffer.from(frames[3]);
		frames[3][frames[3].length - 8] ^= 1;
	}
	return stream(call, frames, frame('exception', 'throttlingException', { message: 'Too many tokens, please wait before trying again.' }),
		{ 'content-type': 'application/vnd.amazon.eventstream', ...headers });
}
function converseStream(call) {
	const block = replyOf(call);
	const deltas = block.text ? block.text.match(/\s*\S+/g).map((text) => ({ text }))
		: ['', ...JSON.stringify(block.toolUse.input).match(/.{1,5}/g)].map((input) => ({ toolUse: { input } }));
	const event = (type, value) => frame('event', type, { ...value, p: 'abcdefghijkl' });
	const start = block.toolUse ? [event('contentBlockStart', { contentBlockIndex: 0, start: { toolUse: { toolUseId: block.toolUse.toolUseId, name: block.toolUse.name } } })] : [];
	return streamFrames(call, [event('messageStart', { role: 'assistant' }), ...start, ...deltas.map((delta) => event('contentBlockDelta', { contentBlockIndex: 0, delta })),
		event('contentBlockStop', { contentBlockIndex: 0 }), event('messageStop', { stopReason: block.text ? 'end_turn' : 'tool_use' }),
		event('metadata', { metrics: { latencyMs: 5 }, usage: usageOf(call, block) })]);
}

// A model's own JSON goes through unchanged: what was asked comes back.
function invoke(call, streamed) {
	const text = `Hello from ${call.host}. You said: ${call.json.prompt}`;
	if (!streamed) {
		return sendJson(call, 200, { completion: text }, { ...headers, 'x-amzn-bedrock-input-token-count': words(call.json.prompt), 'x-amzn-bedrock-output-token-count': words(text) });
	}
	const pieces = text.match(/\s*\S+/g).map((completion) => JSON.stringify({ completion }));
	return streamFrames(call, pieces.map((piece) => frame('event', 'chunk', { bytes: Buffer.from(piece).toString('base64') })));
}

// Streams both ways at once: each event of the request, signed by itself, is answered as it comes. `log` writes each down.
const talks = (url) => PATH.exec(url.pathname)?.[2] === 'invoke-with-bidirectional-stream';
function talk({ req, res, host, secrets, log }) {
	const wrong = wrongKey({ req, body: null, host }, secrets);
	if (wrong) return error(res, ...wrong);
	const verify = eventVerifier(req, secrets);
	const frames = new Frames();
	let count = 0;
	const fail = (message) => res.end(frame('exception', 'validationException', { message }));
	res.writeHead(200, { 'content-type': 'application/vnd.amazon.eventstream', ...headers });
	res.flushHeaders?.();
	req.on('data', (piece) => {
		try {
			for (const { headers: of, payload } of frames.feed(piece)) {
				const date = of.get(':date');
				const good = verify({ date: new Date(Number(date.value.readBigInt64BE(0))), dateHeader: date.raw, payload, signature: of.get(':chunk-signature').value.toString('hex') });
				log({ bytes: payload.length, type: good ? 'signed' : 'badly signed' });
				if (!good) return void fail('The signature of an event does not match.');
				if (!payload.length) return void res.end(); // the last one
				const [said] = new Frames().feed(payload);
				const { bytes } = JSON.parse(said.payload);
				res.write(frame('event', 'chunk', { bytes: Buffer.from(JSON.stringify({ heard: ++count, said: Buffer.from(bytes, 'base64').toString() })).toString('base64') }));
			}
		} catch (e) {
			fail(e.message);
		}
		return undefined;
	});
	return undefined;
}

function answer(call) {
	const match = PATH.exec(call.url.pathname);
	if (call.req.method !== 'POST' || !match) return error(call.res, 404, 'UnknownOperationException', '');
	if (call.json === undefined) return error(call.res, 400, 'SerializationException', 'The request body is not valid JSON.');
	if (modelOf(call.url) === 'does-not-exist') return error(call.res, 400, '', 'The provided model identifier is invalid.');
	switch (match[2]) {
	case 'converse': return sendJson(call, 200, converse(call), headers);
	case 'converse-stream': return converseStream(call);
	case 'invoke': return invoke(call, false);
	default: return invoke(call, true);
	}
}

export const bedrock = { answer, error, wrongKey, modelOf, talks, talk, sample: (call) => converse({ ...call, json: { messages: [], ...call.json } }) };
