// SPDX-License-Identifier: Apache-2.0
// Compressed bodies both ways, by Node's own fetch and zlib. No SDK: what they build on.
import zlib from 'node:zlib';
import { assert, done, step } from './lib.mjs';

const url = 'https://api.openai.com/v1/chat/completions';
const headers = { authorization: `Bearer ${process.env.OPENAI_API_KEY}`, 'content-type': 'application/json' };
const ask = (model, more = {}) => JSON.stringify({ model, messages: [{ role: 'user', content: 'hi' }], ...more });
const post = (body, more = {}) => fetch(url, { method: 'POST', body, headers: { ...headers, ...more } });
const encoders = { gzip: zlib.gzipSync, deflate: zlib.deflateSync, br: zlib.brotliCompressSync };
// Made before anything is asked: it takes seconds in which Node looks at no connection.
const bombs = Object.fromEntries(Object.entries(encoders).map(([coding, encode]) => [coding, encode(Buffer.alloc(100 << 20))]));

for (const [coding, encode] of Object.entries(encoders)) {
	await step(`a request in ${coding}`, async () => {
		const answer = await post(encode(ask('gpt-4o')), { 'content-encoding': coding });
		assert.equal(answer.status, 200, await answer.clone().text());
		assert.match((await answer.json()).choices[0].message.content, /You said: hi/);
	});
	await step(`2 MB in ${coding}`, async () => {
		const answer = await post(encode(ask('gpt-4o', { user: 'u'.repeat(2e6) })), { 'content-encoding': coding });
		assert.equal(answer.status, 200, await answer.clone().text());
		await answer.text();
	});
	await step(`a bomb in ${coding}`, async () => {
		const answer = await post(bombs[coding], { 'content-encoding': coding });
		assert.equal(answer.status, 413);
		assert.equal(answer.headers.get('x-egret-reason'), 'body_too_large');
		assert.equal((await answer.json()).error.code, 'egret_body_too_large');
	});
	await step(`cut short in ${coding}`, async () => {
		const answer = await post(encode(ask('gpt-4o')).subarray(0, -1), { 'content-encoding': coding });
		assert.equal(answer.status, 400);
		assert.equal(answer.headers.get('x-egret-reason'), 'bad_body');
		await answer.text();
	});
}

await step('two codings over one another', async () => {
	const answer = await post(zlib.brotliCompressSync(zlib.gzipSync(ask('gpt-4o'))), { 'content-encoding': 'gzip, br' });
	assert.equal(answer.status, 415);
	assert.equal(answer.headers.get('x-egret-reason'), 'content_encoding');
	assert.equal(answer.headers.get('accept-encoding'), 'gzip, br, zstd, deflate');
	assert.equal((await answer.json()).error.code, 'egret_content_encoding');
});

for (const coding of ['gzip', 'br']) {
	await step(`an answer in ${coding}`, async () => {
		const answer = await post(ask('mock-coded'), { 'accept-encoding': coding });
		assert.equal(answer.headers.get('content-encoding'), coding);
		assert.match((await answer.json()).choices[0].message.content, /You said: hi/);
	});
	await step(`a stream in ${coding}, event by event`, async () => {
		const answer = await post(ask('mock-coded-40', { stream: true, stream_options: { include_usage: true } }), { 'accept-encoding': coding });
		assert.equal(answer.headers.get('content-encoding'), coding);
		let text = '';
		let pieces = 0;
		for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) {
			text += piece;
			pieces++;
		}
		assert.ok(pieces > 2, `${pieces} pieces`);
		assert.ok(text.endsWith('data: [DONE]\n\n'), text.slice(-100));
	});
}
await step('an answer that need not be coded', async () => {
	const answer = await post(ask('mock-coded'), { 'accept-encoding': 'identity' });
	assert.equal(answer.headers.get('content-encoding'), null);
	await answer.json();
});
await step('a coding that nobody asked for', async () => {
	const answer = await post(ask('mock-coded-unasked'), { 'accept-encoding': 'gzip' });
	assert.equal(answer.headers.get('content-encoding'), 'br');
	assert.match((await answer.json()).choices[0].message.content, /You said: hi/);
});
done();
