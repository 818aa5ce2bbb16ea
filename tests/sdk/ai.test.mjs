// SPDX-License-Identifier: Apache-2.0
// The AI SDK (`ai`) with @ai-sdk/openai, @ai-sdk/anthropic and @ai-sdk/openai-compatible, unchanged: OPENAI_API_KEY, ANTHROPIC_API_KEY,
// GROQ_API_KEY and NODE_EXTRA_CA_CERTS from the environment.
import { anthropic } from '@ai-sdk/anthropic';
import { openai } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { embedMany, generateText, jsonSchema, stepCountIs, streamText, tool } from 'ai';
import { done, errorSeen, see } from './seen.mjs';

globalThis.AI_SDK_LOG_WARNINGS = false; // of models that it does not know
const groq = createOpenAICompatible({ name: 'groq', baseURL: 'https://api.groq.com/openai/v1', apiKey: process.env.GROQ_API_KEY, includeUsage: true });
const tools = { get_weather: tool({ description: 'The weather of a city', execute: ({ city }) => `sunny in ${city}`,
	inputSchema: jsonSchema({ type: 'object', properties: { city: { type: 'string' } }, required: ['city'] }) }) };
const prompt = 'hello over there';
const generate = (model, more) => generateText({ model, prompt, ...more });
const answer = (a) => ({ text: a.text, finish: a.finishReason, tokens: a.usage.totalTokens });

async function stream(model, more, leave = Infinity) {
	const out = { text: '', pieces: 0, finish: null };
	const controller = new AbortController();
	try {
		for await (const part of streamText({ model, prompt, maxRetries: 0, abortSignal: controller.signal, onError: () => {}, ...more }).fullStream) {
			if (part.type === 'text-delta') { out.text += part.text; out.pieces++; }
			if (part.type === 'tool-call') out.call = [part.toolName, part.input];
			if (part.type === 'error') out.ended = errorSeen(part.error);
			if (part.type === 'abort') out.aborted = true;
			if (part.type === 'finish') { out.finish = part.finishReason; out.usage = part.totalUsage.totalTokens; }
			if (out.pieces === leave) controller.abort();
		}
	} catch (e) {
		out.ended = errorSeen(e);
	}
	if (leave < Infinity) return { left: out.pieces >= leave && out.finish === null, aborted: out.aborted };
	return out;
}

// Each with its own default model and host, and the errors of its dialect: its body, and what a stream's error event becomes.
const TYPE = { 400: 'invalid_request_error', 401: 'invalid_request_error', 404: 'invalid_request_error', 503: 'server_error' };
const CODE = { 401: 'invalid_api_key', 404: 'model_not_found' };
const openaiBody = (status, message) => ({ error: { message, type: TYPE[status], param: null, code: CODE[status] ?? null } });
const chatEvent = { message: 'The server had an error processing your request.', type: 'server_error', param: null, code: null };
const responsesEvent = { type: 'error', sequence_number: 14, code: 'server_error', message: 'mock failure', param: null };
const kinds = [
	{ name: 'openai responses', of: (model) => openai(model ?? 'gpt-4o'), host: 'api.openai.com', tokens: 14, body: openaiBody, half: 'You', halfPieces: 4,
		event: { type: 'error', code: 'server_error', message: 'mock failure', statusCode: 500, isRetryable: true, data: responsesEvent } },
	{ name: 'openai chat', of: (model) => openai.chat(model ?? 'gpt-4o'), host: 'api.openai.com', tokens: 18, toolTokens: 38, body: openaiBody, half: 'You said:', halfPieces: 5,
		event: chatEvent },
	{ name: 'anthropic', of: (model) => anthropic(model ?? 'claude-sonnet-4'), host: 'api.anthropic.com', tokens: 19, toolTokens: 49, half: 'You', halfPieces: 4,
		body: (status, message) => ({ type: 'error', error: { type: { 400: 'invalid_request_error', 401: 'authentication_error', 404: 'not_found_error' }[status] ?? 'api_error', message },
			request_id: `req_mock_${status}` }), event: { type: 'overloaded_error', message: 'Overloaded' } },
	{ name: 'compatible', of: (model) => groq(model ?? 'llama-3.3-70b-versatile'), host: 'api.groq.com', tokens: 18, toolTokens: 38, half: 'You said:', halfPieces: 5,
		body: (status, message) => ({ error: { message, type: status === 503 ? 'internal_server_error' : 'invalid_request_error', ...(CODE[status] ? { code: CODE[status] } : {}) } }),
		event: chatEvent },
];

for (const { name, of, host, tokens, toolTokens, body, half, halfPieces, event } of kinds) {
	const hello = `Hello from ${host}.`;
	const text = `${hello} You said: hello over there`;
	const error = (status) => ({ error: 'APICallError', name: 'AI_APICallError', status, body: body(status, `The mock ${host} was told to answer ${status}.`) });
	await see(`ai, ${name}: completion`, async () => answer(await generate(of())), { text, finish: 'stop', tokens });
	await see(`ai, ${name}: streaming`, () => stream(of()), { text, pieces: 8, finish: 'stop', usage: tokens });
	if (toolTokens) {
		await see(`ai, ${name}: a tool called, and its result sent`, async () => {
			const a = await generate(of(), { tools, stopWhen: stepCountIs(3) });
			return { steps: a.steps.map((s) => s.finishReason), text: a.text };
		}, { steps: ['tool-calls', 'stop'], text: 'The tool said: sunny in Paris' });
		await see(`ai, ${name}: streamed, a tool called, and its result sent`, () => stream(of(), { tools, stopWhen: stepCountIs(3) }),
			{ text: 'The tool said: sunny in Paris', pieces: 6, finish: 'stop', call: ['get_weather', { city: 'Paris' }], usage: toolTokens });
	}
	for (const status of [400, 401, 404]) await see(`ai, ${name}: ${status}`, () => generate(of(`mock-${status}`), { maxRetries: 0 }), error(status));
	await see(`ai, ${name}: 429, then an answer to the retry`, async () => answer(await generate(of('mock-first-429-retry-after-0'))), { text, finish: 'stop', tokens });
	await see(`ai, ${name}: 503, three times`, () => generate(of('mock-503-retry-after-0')), { error: 'RetryError', name: 'AI_RetryError',
		message: `Failed after 3 attempts. Last error: The mock ${host} was told to answer 503.`, attempts: 3, last: error(503) });
	const cut = { text: `${hello} ${half}`, pieces: halfPieces };
	await see(`ai, ${name}: an error inside a stream`, () => stream(of('mock-error-mid-stream')), { ...cut, finish: 'error', ended: { error: event } });
	await see(`ai, ${name}: a stream cut off`, () => stream(of('mock-cut-stream')),
		{ ...cut, finish: null, ended: { error: 'APICallError', name: 'AI_APICallError', status: 200 } });
	await see(`ai, ${name}: a stream that ends before its end`, () => stream(of('mock-clean-cut-stream')), name === 'compatible' ? { ...cut, finish: 'error', ended:
		{ error: 'InvalidResponseDataError', name: 'AI_InvalidResponseDataError', message: 'Response stream ended without a finish reason.' } } : { ...cut, finish: 'other' });
	await see(`ai, ${name}: aborted inside a stream`, () => stream(of('mock-slow-stream-200'), {}, 2), { left: true, aborted: true });
}
await see('ai: a connection that ends without an answer', async () => {
	const { message, ...seen } = await generate(openai.chat('mock-close'), { maxRetries: 0 }).catch(errorSeen);
	return { ...seen, message: message?.replace(/: .*/, '') }; // the system's wording follows
}, { error: 'APICallError', name: 'AI_APICallError', message: 'Cannot connect to API' });
await see('ai: aborted before an answer', () => generate(openai.chat('mock-hang'), { abortSignal: AbortSignal.timeout(700) }),
	{ error: 'DOMException', name: 'TimeoutError', message: 'The operation was aborted due to timeout' });
await see('ai: embeddings', async () => {
	const { embeddings, usage } = await embedMany({ model: openai.textEmbeddingModel('text-embedding-3-small'), values: ['one', 'two three'] });
	return [embeddings.length, embeddings[0].length, usage.tokens];
}, [2, 8, 3]);
await see('ai: an answer after all that', async () => answer(await generate(openai.chat('gpt-4o'))), { text: 'Hello from api.openai.com. You said: hello over there', finish: 'stop', tokens: 18 });
done();
