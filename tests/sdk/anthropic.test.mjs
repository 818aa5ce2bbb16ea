// SPDX-License-Identifier: Apache-2.0
// The official @anthropic-ai/sdk, unchanged: only ANTHROPIC_API_KEY and NODE_EXTRA_CA_CERTS from the environment.
// The same file must pass straight to the provider with a real key and through Egret with a placeholder.
import Anthropic from '@anthropic-ai/sdk';
import { assert, done, failure, step } from './lib.mjs';

const base = { model: 'claude-sonnet-4', max_tokens: 200 };
const hi = [{ role: 'user', content: 'hello over there' }];
const tools = [{ name: 'get_weather', description: 'The weather of a city',
	input_schema: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] } }];
const anthropic = new Anthropic();
const once = new Anthropic({ maxRetries: 0 });

await step('anthropic: message', async () => {
	const answer = await anthropic.messages.create({ ...base, messages: hi });
	assert.match(answer.content[0].text, /^Hello from \S+\. You said: hello over there$/);
	assert.equal(answer.stop_reason, 'end_turn');
	assert.ok(answer.usage.output_tokens > 0);
});

await step('anthropic: streaming, all event types', async () => {
	const stream = await anthropic.messages.create({ ...base, messages: hi, stream: true });
	const seen = new Set();
	let text = '';
	for await (const event of stream) {
		seen.add(event.type);
		if (event.type === 'content_block_delta') text += event.delta.text;
	}
	assert.match(text, /You said: hello over there$/);
	for (const type of ['message_start', 'content_block_start', 'content_block_delta', 'content_block_stop', 'message_delta', 'message_stop']) {
		assert.ok(seen.has(type), `no ${type}`);
	}
});

await step('anthropic: the stream helper and its usage', async () => {
	const final = await anthropic.messages.stream({ ...base, messages: hi }).finalMessage();
	assert.equal(final.stop_reason, 'end_turn');
	assert.ok(final.usage.output_tokens > 1);
});

await step('anthropic: tool use, and its result', async () => {
	const first = await anthropic.messages.create({ ...base, messages: hi, tools });
	assert.equal(first.stop_reason, 'tool_use');
	const use = first.content.find((block) => block.type === 'tool_use');
	assert.deepEqual(use.input, { city: 'Paris' });
	const second = await anthropic.messages.create({ ...base, tools, messages: [...hi, { role: 'assistant', content: first.content },
		{ role: 'user', content: [{ type: 'tool_result', tool_use_id: use.id, content: 'sunny' }] }] });
	assert.equal(second.content[0].text, 'The tool said: sunny');
});

await step('anthropic: streamed tool use', async () => {
	const final = await anthropic.messages.stream({ ...base, messages: hi, tools }).finalMessage();
	assert.deepEqual(final.content[0].input, { city: 'Paris' });
});

await step('anthropic: count_tokens', async () => {
	const answer = await anthropic.messages.countTokens({ model: base.model, messages: hi });
	assert.ok(answer.input_tokens > 0);
});

await step('anthropic: the error of a bad request keeps its shape', async () => {
	const error = await failure(once.messages.create({ model: base.model, messages: hi }), Anthropic.BadRequestError);
	assert.equal(error.error.type, 'error');
	assert.equal(error.error.error.type, 'invalid_request_error');
});

await step('anthropic: an error in the middle of a stream is an error', async () => {
	const stream = await once.messages.create({ ...base, model: 'mock-error-mid-stream', messages: hi, stream: true });
	await failure((async () => { for await (const event of stream) void event; })());
});

await step('anthropic: a stream cut off is an error', async () => {
	const stream = await once.messages.create({ ...base, model: 'mock-cut-stream', messages: hi, stream: true });
	await failure((async () => { for await (const event of stream) void event; })());
});

await step('anthropic: an exhausted 529 ends as overloaded', async () => {
	const error = await failure(once.messages.create({ ...base, model: 'mock-529', messages: hi }), Anthropic.APIError);
	assert.ok(error.status >= 500, `status ${error.status}`);
	assert.equal(error.error.type, 'error');
});

done();
