// SPDX-License-Identifier: Apache-2.0
// The official @google/genai, unchanged: only GEMINI_API_KEY and NODE_EXTRA_CA_CERTS from the environment.
import { GoogleGenAI } from '@google/genai';
import { done, see, streamed } from './seen.mjs';

const ai = new GoogleGenAI({ apiKey: process.env.GEMINI_API_KEY });
const model = 'gemini-2.5-flash';
const contents = 'hello over there';
const config = { tools: [{ functionDeclarations: [{ name: 'get_weather', description: 'The weather of a city',
	parametersJsonSchema: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] } }] }] };
const generate = (more) => ai.models.generateContent({ model, contents, ...more });
const answer = (a) => ({ text: a.text, finish: a.candidates[0].finishReason, tokens: a.usageMetadata.totalTokenCount });
const stream = (more, how) => streamed(ai.models.generateContentStream({ model, contents, ...more }), (c) => c.text,
	{ finish: (c) => c.candidates?.[0]?.finishReason, usage: (c) => c.usageMetadata?.totalTokenCount, ...how });
const hello = 'Hello from generativelanguage.googleapis.com.';
const text = `${hello} You said: hello over there`;

const good = { text, finish: 'STOP', tokens: 12 };
const told = { 400: 'INVALID_ARGUMENT', 401: 'UNAUTHENTICATED', 403: 'PERMISSION_DENIED', 404: 'NOT_FOUND', 429: 'RESOURCE_EXHAUSTED', 500: 'INTERNAL', 503: 'UNAVAILABLE' };
const body = (code, message) => ({ error: { code, message, status: told[code] } });
const error = (code) => ({ error: 'ApiError', status: code, body: body(code, `The mock generativelanguage.googleapis.com was told to answer ${code}.`) });
const half = { text: `${hello} You`, pieces: 4, finish: null };
const abort = { error: 'DOMException', name: 'AbortError', message: 'This operation was aborted' };

await see('genai: completion', async () => answer(await generate()), good);
await see('genai: ten at once', async () => {
	const all = await Promise.all(Array.from({ length: 10 }, (_, i) => generate({ contents: `number ${i}` })));
	return all.map((a) => a.text.slice(-8)).join();
}, Array.from({ length: 10 }, (_, i) => `number ${i}`).join());
await see('genai: streaming', () => stream(), { text, pieces: 8, finish: 'STOP', usage: 12 });
await see('genai: function call, and its result', async () => {
	const first = await generate({ config });
	const [call] = first.functionCalls;
	const second = await generate({ config, contents: [{ role: 'user', parts: [{ text: contents }] }, first.candidates[0].content,
		{ role: 'user', parts: [{ functionResponse: { name: call.name, response: { output: 'sunny' } } }] }] });
	return { call, answer: second.text };
}, { call: { name: 'get_weather', args: { city: 'Paris' } }, answer: 'The tool said: sunny' });
await see('genai: count of tokens', async () => (await ai.models.countTokens({ model, contents })).totalTokens, 4);
await see('genai: embeddings', async () => (await ai.models.embedContent({ model: 'gemini-embedding-001', contents: ['one', 'two three'] })).embeddings.map((e) => e.values.length), [8, 8]);
for (const status of Object.keys(told).map(Number)) await see(`genai: ${status}`, () => generate({ model: `mock-${status}` }), error(status));
await see('genai: 429 of a stream', () => stream({ model: 'mock-429' }), { text: '', pieces: 0, finish: null, ended: error(429) });
await see('genai: a wrong key', () => new GoogleGenAI({ apiKey: 'wrong' }).models.generateContent({ model, contents }), { error: 'ApiError', status: 400,
	body: { error: { ...body(400, 'API key not valid. Please pass a valid API key.').error,
		details: [{ '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: 'API_KEY_INVALID', domain: 'googleapis.com' }] } } });
await see('genai: an error inside a stream', () => stream({ model: 'mock-error-mid-stream' }),
	{ ...half, ended: { error: 'ApiError', status: 503, body: body(503, 'The model is overloaded. Please try again later.') } });
await see('genai: a stream cut off', () => stream({ model: 'mock-cut-stream' }), { ...half, ended: { error: 'TypeError', message: 'terminated' } });
await see('genai: a stream that ends before its end', () => stream({ model: 'mock-clean-cut-stream' }), half);
await see('genai: a connection that ends without an answer', () => generate({ model: 'mock-close' }), { error: 'TypeError', message: 'fetch failed' });
await see('genai: given up by its timeout', () => generate({ model: 'mock-hang', config: { httpOptions: { timeout: 700 } } }), abort);
await see('genai: aborted before an answer', () => generate({ model: 'mock-hang', config: { abortSignal: AbortSignal.timeout(700) } }), abort);
await see('genai: aborted inside a stream', () => {
	const controller = new AbortController();
	return stream({ model: 'mock-slow-stream-200', config: { abortSignal: controller.signal } }, { leave: 3, abort: () => controller.abort() });
}, { left: true, ended: abort });
await see('genai: an answer after all that', async () => answer(await generate()), good);
done();
