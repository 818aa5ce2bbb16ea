// SPDX-License-Identifier: Apache-2.0
// The official openai SDK's Realtime client over `ws`, unchanged, and a browser's way of presenting a key. The same file must pass
// straight to the provider with a real key and through Egret with a placeholder.
import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import WebSocket from 'ws';
import { assert, done, step } from './lib.mjs';

const model = 'gpt-realtime';
const key = process.env.OPENAI_API_KEY;
const url = (process.env.OPENAI_BASE_URL ?? 'https://api.openai.com/v1').replace(/^http/, 'ws');

// The next message of that type, of a socket of the SDK.
const next = (rt, type) => new Promise((ok, fail) => {
	const timer = setTimeout(() => fail(new Error(`no ${type} came`)), 10000);
	rt.once(type, (event) => { clearTimeout(timer); ok(event); });
	rt.once('error', fail);
});

await step('realtime: a conversation by the SDK', async () => {
	const rt = new OpenAIRealtimeWS({ model }, new OpenAI());
	const created = await next(rt, 'session.created');
	assert.equal(created.session.model, model);
	rt.send({ type: 'session.update', session: { type: 'realtime', output_modalities: ['text'] } });
	await next(rt, 'session.updated');
	rt.send({ type: 'conversation.item.create', item: { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'hello, 世界' }] } });
	let text = '';
	rt.on('response.output_text.delta', (event) => { text += event.delta; });
	rt.send({ type: 'response.create' });
	const answer = await next(rt, 'response.done');
	assert.match(text, /^Hello from \S+\. You said: hello, 世界$/);
	assert.equal(answer.response.usage.total_tokens, 18);
	const closed = new Promise((ok) => rt.socket.once('close', (code) => ok(code)));
	rt.close();
	assert.equal(await closed, 1000);
});

await step('realtime: 4 MB of audio upwards', async () => {
	const rt = new OpenAIRealtimeWS({ model }, new OpenAI());
	await next(rt, 'session.created');
	const audio = 'QUJD'.repeat(16384);
	for (let i = 0; i < 64; i++) rt.send({ type: 'input_audio_buffer.append', audio });
	rt.send({ type: 'input_audio_buffer.commit' });
	const committed = await next(rt, 'input_audio_buffer.committed');
	assert.equal(committed.item_id, `item_${64 * 65536}`);
	rt.close();
});

await step('realtime: twenty sockets at once', async () => {
	const all = await Promise.all(Array.from({ length: 20 }, async () => {
		const rt = new OpenAIRealtimeWS({ model }, new OpenAI());
		await next(rt, 'session.created');
		return rt;
	}));
	for (const rt of all) {
		const closed = new Promise((ok) => rt.socket.once('close', ok));
		rt.close();
		await closed;
	}
});

await step('realtime: ping and pong', async () => {
	const socket = new WebSocket(`${url}/realtime?model=${model}`, { headers: { authorization: `Bearer ${key}` } });
	await new Promise((ok, fail) => socket.once('open', ok).once('error', fail));
	const pong = new Promise((ok) => socket.once('pong', (data) => ok(data.toString())));
	socket.ping('are you there');
	assert.equal(await pong, 'are you there');
	socket.terminate();
});

// Straight to the mock only a header counts; a real provider takes the subprotocol too.
if (key === 'placeholder') await step('realtime: as a browser does it', async () => {
	const socket = new WebSocket(`${url}/realtime?model=${model}`, ['realtime', `openai-insecure-api-key.${key}`, 'openai-organization.org-of-the-pod']);
	await new Promise((ok, fail) => socket.once('open', ok).once('error', fail));
	assert.equal(socket.protocol, 'realtime');
	socket.close();
});
done();
