// SPDX-License-Identifier: Apache-2.0
// The official @aws-sdk/client-bedrock-runtime, unchanged, over HTTP/2: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and
// NODE_EXTRA_CA_CERTS from the environment. Each request is signed. BEDROCK_API_KEY: a bearer token, for the steps that want one.
import { BedrockRuntimeClient, ConverseCommand, ConverseStreamCommand, InvokeModelCommand, InvokeModelWithBidirectionalStreamCommand,
	InvokeModelWithResponseStreamCommand } from '@aws-sdk/client-bedrock-runtime';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { done, see, streamed } from './seen.mjs';

const region = process.env.AWS_REGION;
const modelId = 'anthropic.claude-3-sonnet-20240229-v1:0';
const messages = [{ role: 'user', content: [{ text: 'hello over there' }] }];
const toolConfig = { tools: [{ toolSpec: { name: 'get_weather', description: 'The weather of a city',
	inputSchema: { json: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] } } } }] };
const client = new BedrockRuntimeClient({});
const once = new BedrockRuntimeClient({ maxAttempts: 1 });
const bearer = new BedrockRuntimeClient({ token: { token: process.env.BEDROCK_API_KEY ?? 'none' }, authSchemePreference: ['httpBearerAuth'] });
const converse = (body, by = once, options = {}) => by.send(new ConverseCommand({ modelId, messages, ...body }), options);
const answer = (a) => ({ text: a.output.message.content[0].text, stop: a.stopReason, tokens: a.usage.totalTokens, attempts: a.$metadata.attempts });
const stream = (body, more, options = {}, by = once) => streamed(by.send(new ConverseStreamCommand({ modelId, messages, ...body }), options).then((r) => r.stream),
	(e) => e.contentBlockDelta?.delta?.text ?? e.contentBlockDelta?.delta?.toolUse?.input,
	{ finish: (e) => e.messageStop?.stopReason, usage: (e) => e.metadata?.usage?.totalTokens, ...more });
const host = `bedrock-runtime.${region}.amazonaws.com`;
const hello = `Hello from ${host}.`;
const text = `${hello} You said: hello over there`;

const good = { text, stop: 'end_turn', tokens: 16, attempts: 1 };
const told = { 400: 'ValidationException', 403: 'AccessDeniedException', 404: 'ResourceNotFoundException', 408: 'ModelTimeoutException', 424: 'ModelErrorException',
	429: 'ThrottlingException', 500: 'InternalServerException', 503: 'ServiceUnavailableException' };
const error = (status) => ({ error: told[status], status, message: `The mock ${host} was told to answer ${status}.`, id: `mock-${status}`, attempts: 1 });
const half = { text: `${hello} You said:`, pieces: 6, finish: null };

await see('bedrock: converse', async () => answer(await converse()), good);
await see('bedrock: ten at once', async () => {
	const all = await Promise.all(Array.from({ length: 10 }, (_, i) => converse({ messages: [{ role: 'user', content: [{ text: `number ${i}` }] }] })));
	return all.map((a) => answer(a).text.slice(-8)).join();
}, Array.from({ length: 10 }, (_, i) => `number ${i}`).join());
await see('bedrock: text beyond ASCII', async () => answer(await converse({ messages: [{ role: 'user', content: [{ text: 'Grüße, 世界 🌍 "quoted"' }] }] })).text, `${hello} You said: Grüße, 世界 🌍 "quoted"`);
await see('bedrock: a request of 2 MB', async () => answer(await converse({ messages: [{ role: 'user', content: [{ text: 'lorem '.repeat(350000) }] }] })).text.length, hello.length + 2100011);
await see('bedrock: by a bearer token', async () => answer(await converse({}, bearer)), good);
await see('bedrock: over HTTP/1.1', async () => answer(await converse({ modelId: 'anthropic.claude-instant-v1' }, new BedrockRuntimeClient({ requestHandler: new NodeHttpHandler() }))), good);
await see('bedrock: a model by its ARN', async () => answer(await converse({ modelId: `arn:aws:bedrock:${region}:123456789012:inference-profile/eu.anthropic.claude-3-sonnet-20240229-v1:0` })), good);
await see('bedrock: stream', () => stream(), { text, pieces: 12, finish: 'end_turn', usage: 16 });
await see('bedrock: tool use, and its result', async () => {
	const first = await converse({ toolConfig });
	const { message } = first.output;
	const { toolUse } = message.content[0];
	const second = await converse({ toolConfig, messages: [...messages, message, { role: 'user', content: [{ toolResult: { toolUseId: toolUse.toolUseId, content: [{ text: 'sunny' }] } }] }] });
	return { toolUse, stop: first.stopReason, answer: second.output.message.content[0].text };
}, { toolUse: { toolUseId: 'tooluse_mock_1', name: 'get_weather', input: { city: 'Paris' } }, stop: 'tool_use', answer: 'The tool said: sunny' });
await see('bedrock: streamed tool use', () => stream({ toolConfig }), { text: '{"city":"Paris"}', pieces: 10, finish: 'tool_use', usage: 17 });
await see('bedrock: invoke', async () => {
	const a = await once.send(new InvokeModelCommand({ modelId, contentType: 'application/json', body: JSON.stringify({ prompt: 'hello over there' }) }));
	return JSON.parse(new TextDecoder().decode(a.body));
}, { completion: text });
await see('bedrock: invoke, streamed', () => streamed(once.send(new InvokeModelWithResponseStreamCommand({ modelId, contentType: 'application/json',
	body: JSON.stringify({ prompt: 'hello over there' }) })).then((r) => r.body), (e) => JSON.parse(new TextDecoder().decode(e.chunk.bytes)).completion),
	{ text, pieces: 8, finish: null });

// One event is sent when the one before it was answered: an answer that waited for the request's end would never come.
await see('bedrock: streams both ways', async () => {
	const heard = [];
	let answered;
	const turns = Array.from({ length: 6 }, () => new Promise((ok) => { answered = [...(answered ?? []), ok]; }));
	async function* say() {
		for (let i = 0; i < 5; i++) {
			yield { chunk: { bytes: new TextEncoder().encode(`event ${i}`) } };
			await turns[i];
		}
	}
	const { body } = await once.send(new InvokeModelWithBidirectionalStreamCommand({ modelId: 'amazon.nova-sonic-v1:0', body: say() }));
	for await (const event of body) {
		heard.push(JSON.parse(new TextDecoder().decode(event.chunk.bytes)));
		answered[heard.length - 1]();
	}
	return heard;
}, Array.from({ length: 5 }, (_, i) => ({ heard: i + 1, said: `event ${i}` })));

await see('bedrock: a model that does not exist', () => converse({ modelId: 'does-not-exist' }), { ...error(400), message: 'The provided model identifier is invalid.' });
for (const status of Object.keys(told).map(Number)) await see(`bedrock: ${status}`, () => converse({ modelId: `mock-${status}` }), error(status));
await see('bedrock: 400 of a stream', () => stream({ modelId: 'mock-400' }), { text: '', pieces: 0, finish: null, ended: error(400) });
await see('bedrock: a wrong secret', () => converse({}, new BedrockRuntimeClient({ maxAttempts: 1, credentials: { accessKeyId: 'AKIAMOCK', secretAccessKey: 'wrong' } })),
	{ error: 'BedrockRuntimeServiceException', name: 'InvalidSignatureException', status: 403, id: 'mock-403', attempts: 1,
		message: 'The request signature we calculated does not match the signature you provided.' });
await see('bedrock: 429, then an answer to the retry', async () => answer(await converse({ modelId: 'mock-first-429-retry-after-0' }, client)), { ...good, attempts: 2 });
await see('bedrock: 503, then a stream to the retry', () => stream({ modelId: 'mock-first-503-retry-after-0' }, {}, {}, client), { text, pieces: 12, finish: 'end_turn', usage: 16 });
await see('bedrock: 503, three times', () => converse({ modelId: 'mock-503' }, client), { ...error(503), attempts: 3 });
await see('bedrock: an exception inside a stream', () => stream({ modelId: 'mock-error-mid-stream' }),
	{ ...half, ended: { error: 'ThrottlingException', message: 'Too many tokens, please wait before trying again.' } });
await see('bedrock: an exception instead of a stream', () => stream({ modelId: 'mock-error-first-event' }),
	{ text: '', pieces: 0, finish: null, ended: { error: 'ThrottlingException', message: 'Too many tokens, please wait before trying again.' } });
await see('bedrock: a frame whose CRC does not fit', async () => (await stream({ modelId: 'mock-corrupt-stream' })).ended.message.replace(/\d+/g, 'N'),
	'The message checksum (N) did not match the expected value of N');
await see('bedrock: a stream cut off', () => stream({ modelId: 'mock-cut-stream' }), { ...half, ended: { error: 'Error', message: 'Stream closed with error code NGHTTP2_INTERNAL_ERROR' } });
await see('bedrock: a stream that ends before its end', () => stream({ modelId: 'mock-clean-cut-stream' }), half);
await see('bedrock: a stream reset before an answer', () => converse({ modelId: 'mock-reset' }), { error: 'Error', message: 'Stream closed with error code NGHTTP2_INTERNAL_ERROR' });
await see('bedrock: a connection that ends without an answer', () => converse({ modelId: 'mock-close' }),
	{ error: 'Error', name: 'TimeoutError', message: 'Unexpected error: http2 request did not get a response' });
await see('bedrock: aborted before an answer', () => converse({ modelId: 'mock-hang' }, once, { abortSignal: AbortSignal.timeout(700) }),
	{ error: 'Error', name: 'AbortError', message: 'Request aborted' });
await see('bedrock: left inside a stream', () => {
	const controller = new AbortController();
	return stream({ modelId: 'mock-slow-stream-200' }, { leave: 3, abort: () => controller.abort() }, { abortSignal: controller.signal });
}, { left: true });
await see('bedrock: an answer after all that', async () => answer(await converse()), good);
done();
