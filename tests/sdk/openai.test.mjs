// SPDX-License-Identifier: Apache-2.0
// The official openai SDK, unchanged: only OPENAI_API_KEY and NODE_EXTRA_CA_CERTS from the environment, as a user sets
// them. The same file must pass straight to the provider with a real key and through Egret with a placeholder.
import OpenAI, { toFile } from 'openai';
import { assert, done, failure, step } from './lib.mjs';

const model = 'gpt-4o';
const hi = [{ role: 'user', content: 'hello over there' }];
const tools = [{ type: 'function', function: { name: 'get_weather', description: 'The weather of a city',
	parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] } } }];
const openai = new OpenAI();
const once = new OpenAI({ maxRetries: 0 });

await step('openai: completion', async () => {
	const { data, response } = await openai.chat.completions.create({ model, messages: hi }).withResponse();
	assert.match(data.choices[0].message.content, /^Hello from \S+\. You said: hello over there$/);
	assert.equal(data.choices[0].finish_reason, 'stop');
	assert.ok(data.usage.total_tokens > 0);
	assert.equal(response.headers.get('content-type'), 'application/json');
});

await step('openai: ten completions at once', async () => {
	const all = await Promise.all(Array.from({ length: 10 }, (_, i) =>
		openai.chat.completions.create({ model, messages: [{ role: 'user', content: `number ${i}` }] })));
	all.forEach((answer, i) => assert.match(answer.choices[0].message.content, new RegExp(`number ${i}$`)));
});

await step('openai: text beyond ASCII is unchanged', async () => {
	const content = 'Grüße, 世界 🌍 \u0000 "quoted" \\ back';
	const answer = await openai.chat.completions.create({ model, messages: [{ role: 'user', content }] });
	assert.ok(answer.choices[0].message.content.endsWith(content));
});

await step('openai: a request body of 2 MB', async () => {
	const content = 'lorem '.repeat(350000).trim();
	const answer = await openai.chat.completions.create({ model, messages: [{ role: 'user', content }] });
	assert.ok(answer.choices[0].message.content.endsWith(content));
});

await step('openai: streaming', async () => {
	const stream = await openai.chat.completions.create({ model, messages: hi, stream: true });
	let text = '';
	let pieces = 0;
	let finish = null;
	for await (const chunk of stream) {
		text += chunk.choices[0]?.delta?.content ?? '';
		pieces++;
		finish = chunk.choices[0]?.finish_reason ?? finish;
		assert.ok(chunk.choices.length > 0, 'a usage chunk nobody asked for');
	}
	assert.match(text, /You said: hello over there$/);
	assert.ok(pieces > 5, `only ${pieces} pieces`);
	assert.equal(finish, 'stop');
});

await step('openai: streaming with usage', async () => {
	const stream = await openai.chat.completions.create({ model, messages: hi, stream: true, stream_options: { include_usage: true } });
	let usage = null;
	for await (const chunk of stream) usage = chunk.usage ?? usage;
	assert.ok(usage.total_tokens > 0);
});

await step('openai: a stream left in the middle, and the client goes on', async () => {
	const stream = await openai.chat.completions.create({ model: 'mock-slow-stream-20', messages: hi, stream: true });
	for await (const chunk of stream) { if (chunk.choices[0]?.delta?.content) break; }
	const answer = await openai.chat.completions.create({ model, messages: hi });
	assert.equal(answer.choices[0].finish_reason, 'stop');
});

await step('openai: a stream of 2,000 events in order', async () => {
	const stream = await openai.chat.completions.create({ model: 'mock-long-stream-2000', messages: hi, stream: true });
	let text = '';
	for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? '';
	assert.ok(text === Array.from({ length: 2000 }, (_, i) => `w${i}`).join(' '), `not the text sent: ${text.slice(0, 200)}...`);
});

await step('openai: tool call, and its result', async () => {
	const first = await openai.chat.completions.create({ model, messages: hi, tools });
	assert.equal(first.choices[0].finish_reason, 'tool_calls');
	const [call] = first.choices[0].message.tool_calls;
	assert.equal(call.function.name, 'get_weather');
	assert.deepEqual(JSON.parse(call.function.arguments), { city: 'Paris' });
	const second = await openai.chat.completions.create({ model, tools,
		messages: [...hi, first.choices[0].message, { role: 'tool', tool_call_id: call.id, content: 'sunny' }] });
	assert.equal(second.choices[0].message.content, 'The tool said: sunny');
});

await step('openai: streamed tool call', async () => {
	const stream = openai.chat.completions.stream({ model, messages: hi, tools });
	const final = await stream.finalChatCompletion();
	assert.deepEqual(JSON.parse(final.choices[0].message.tool_calls[0].function.arguments), { city: 'Paris' });
});

await step('openai: responses', async () => {
	const answer = await openai.responses.create({ model, input: 'hello over there' });
	assert.match(answer.output_text, /You said: hello over there$/);
});

await step('openai: responses, streamed', async () => {
	const stream = await openai.responses.create({ model, input: 'hello over there', stream: true });
	let text = '';
	let completed = false;
	for await (const event of stream) {
		if (event.type === 'response.output_text.delta') text += event.delta;
		if (event.type === 'response.completed') completed = true;
	}
	assert.match(text, /You said: hello over there$/);
	assert.ok(completed);
});

await step('openai: embeddings', async () => {
	const answer = await openai.embeddings.create({ model: 'text-embedding-3-small', input: ['one', 'two three'] });
	assert.equal(answer.data.length, 2);
	assert.equal(answer.data[0].embedding.length, 8);
});

// Bytes that no text has, and lines that begin as boundaries do.
const sound = (n) => Buffer.from(Array.from({ length: n }, (_, i) => (i * 2654435761) >>> 13).map((b) => b & 255));
const audio = async (n = 70000) => toFile(Buffer.concat([Buffer.from('RIFF\r\n------'), sound(n), Buffer.from('\r\n--')]), 'speech "1"; é.wav', { type: 'audio/wav' });

await step('openai: transcription of a form', async () => {
	const file = await audio();
	const answer = await openai.audio.transcriptions.create({ file, model: 'whisper-1', language: 'de', prompt: '[music] {"a": 1',
		timestamp_granularities: ['word', 'segment'], response_format: 'json' });
	assert.match(answer.text, new RegExp(`You sent ${file.size} bytes as `));
});

await step('openai: transcription of a form, streamed, the model before the file', async () => {
	const stream = await openai.audio.transcriptions.create({ model: 'gpt-4o-transcribe', stream: true, chunking_strategy: { type: 'server_vad' }, file: await audio() });
	let text = '';
	let done = null;
	for await (const event of stream) {
		if (event.type === 'transcript.text.delta') text += event.delta;
		if (event.type === 'transcript.text.done') done = event.text;
	}
	assert.match(text, /^Hello from \S+\. You sent \d+ bytes as /);
	assert.equal(done, text);
});

await step('openai: transcription of a form of 20 MB', async () => {
	const answer = await openai.audio.transcriptions.create({ file: await toFile(Buffer.alloc(20 << 20, '\r\n--'), 'long.wav'), model: 'whisper-1' });
	assert.match(answer.text, new RegExp(`You sent ${20 << 20} bytes as long.wav`));
});

await step('openai: edit of images in a form', async () => {
	const image = [await toFile(sound(5000), '1.png', { type: 'image/png' }), await toFile(sound(6000), '2.png', { type: 'image/png' })];
	const mask = await toFile(sound(700), 'mask.png', { type: 'image/png' });
	const answer = await openai.images.edit({ model: 'gpt-image-1', image, mask, prompt: 'a "cat"; in\r\ntwo lines' });
	const seen = JSON.parse(Buffer.from(answer.data[0].b64_json, 'base64').toString());
	assert.deepEqual(seen, { model: 'gpt-image-1', prompt: 'a "cat"; in\r\ntwo lines', sizes: [5000, 6000], mask: 700 });
});

await step('openai: an exhausted 503 of a form ends as a server error', async () => {
	const error = await failure(openai.audio.transcriptions.create({ file: await audio(), model: 'mock-503' }), OpenAI.APIError);
	assert.ok(error.status >= 500, `status ${error.status}`);
});

await step('openai: an answer in odd chunks', async () => {
	const answer = await openai.chat.completions.create({ model: 'mock-odd-chunks', messages: hi });
	assert.equal(answer.object, 'chat.completion');
});

await step('openai: the error of a bad request keeps its shape', async () => {
	const error = await failure(once.chat.completions.create({ model }), OpenAI.BadRequestError);
	assert.equal(error.status, 400);
	assert.equal(error.error.type, 'invalid_request_error');
});

await step('openai: the error of an unknown model keeps its shape', async () => {
	const error = await failure(once.chat.completions.create({ model: 'mock-404', messages: hi }), OpenAI.NotFoundError);
	assert.equal(error.code, 'model_not_found');
});

await step('openai: an error in the middle of a stream is an error', async () => {
	const stream = await once.chat.completions.create({ model: 'mock-error-mid-stream', messages: hi, stream: true });
	await failure((async () => { for await (const chunk of stream) void chunk; })());
});

await step('openai: a stream cut off is an error', async () => {
	const stream = await once.chat.completions.create({ model: 'mock-cut-stream', messages: hi, stream: true });
	await failure((async () => { for await (const chunk of stream) void chunk; })());
});

await step('openai: a body cut off is an error', async () => {
	await failure(once.chat.completions.create({ model: 'mock-cut-body', messages: hi }));
});

await step('openai: a slow first byte is waited for', async () => {
	const answer = await once.chat.completions.create({ model: 'mock-slow-first-byte-1500', messages: hi });
	assert.equal(answer.object, 'chat.completion');
});

await step('openai: the client gives up by its own timeout', async () => {
	await failure(once.chat.completions.create({ model: 'mock-hang', messages: hi }, { timeout: 500 }), OpenAI.APIConnectionTimeoutError);
});

await step('openai: an exhausted 503 ends as a server error', async () => {
	const error = await failure(openai.chat.completions.create({ model: 'mock-503', messages: hi }), OpenAI.APIError);
	assert.ok(error.status >= 500, `status ${error.status}`);
	assert.ok(error.error?.message, 'no error object in the dialect');
});

await step('openai: an exhausted 429 ends as a rate limit', async () => {
	const error = await failure(once.chat.completions.create({ model: 'mock-429-retry-after-1', messages: hi }), OpenAI.APIError);
	assert.equal(error.status, 429);
});

done();
