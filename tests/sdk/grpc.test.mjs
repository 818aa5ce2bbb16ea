// SPDX-License-Identifier: Apache-2.0
// @grpc/grpc-js, unchanged, as a client in a pod. GRPC_TARGET: host:port; GRPC_PLAIN=1: without TLS; GRPC_REFUSED: the status that
// every call is refused with, and GRPC_REASON Egret's reason.
import crypto from 'node:crypto';
import grpc from '@grpc/grpc-js';
import { assert, done, step } from './lib.mjs';
import { echo } from './grpc/service.mjs';

const { GRPC_TARGET: target, GRPC_PLAIN: plain, GRPC_REFUSED: refused, GRPC_REASON: reason } = process.env;
const Client = grpc.makeGenericClientConstructor(echo, 'Echo');
const client = new Client(target, plain ? grpc.credentials.createInsecure() : grpc.credentials.createSsl(), {
	'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1, 'grpc.enable_retries': 0 });

const asked = (entries) => Object.entries({ authorization: 'Bearer placeholder', ...entries })
	.reduce((metadata, [name, value]) => { metadata.set(name, value); return metadata; }, new grpc.Metadata());
const within = (ms = 60000) => ({ deadline: Date.now() + ms });
const status = (call) => new Promise((ok) => call.on('status', ok).on('error', () => {}));
const event = (call, name) => new Promise((ok) => call.once(name, ok));

// {error, value, status} of a call with one answer.
function single(begin) {
	return new Promise((ok) => {
		const result = {};
		const end = () => { if ('error' in result && result.status) ok(result); };
		const call = begin((error, value) => { Object.assign(result, { error, value }); end(); });
		call.on('status', (s) => { result.status = s; end(); });
	});
}
const unary = (message, metadata = {}, options = within()) => single((cb) => client.unary(message, asked(metadata), options, cb));
function counted({ metadata }, count) {
	assert.equal(metadata.get('x-count')[0], String(count));
	assert.deepEqual(metadata.get('x-sum-bin')[0], Buffer.from([0, 1, 254, 255]));
}
const sum = (buffer) => crypto.createHash('sha256').update(buffer).digest('hex');

const kinds = {
	unary: () => unary(Buffer.from('hello')).then((r) => r.status),
	'client streaming': () => single((cb) => {
		const call = client.collect(asked({}), within(), cb);
		call.on('error', () => {});
		call.write(Buffer.from('one'));
		return call;
	}).then((r) => r.status),
	'server streaming': () => { const call = client.many(Buffer.from('1 1'), asked({}), within()); call.resume(); return status(call); },
	'bidi streaming': () => {
		const call = client.chat(asked({}), within());
		call.resume();
		call.write(Buffer.from('one'));
		return status(call);
	},
};

if (refused) {
	for (const [kind, begin] of Object.entries(kinds)) {
		await step(`${kind} is refused with a status`, async () => {
			const s = await begin();
			assert.equal(grpc.status[s.code], refused);
			assert.equal(s.metadata.get('x-egret-reason')[0], reason);
			assert.match(s.metadata.get('x-egret-request-id')[0], /^[0-9a-f]{32}$/);
			assert.ok(s.details.length > 10, s.details);
			console.log(`       ${s.code} ${s.details}`);
		});
	}
	done();
}

await step('unary', async () => {
	const { error, value, status: s } = await unary(Buffer.from('hello'));
	assert.ifError(error);
	assert.equal(value.toString(), 'hello');
	assert.equal(s.code, grpc.status.OK);
	counted(s, 1);
});
await step('an empty message', async () => {
	const { error, value } = await unary(Buffer.alloc(0));
	assert.ifError(error);
	assert.equal(value.length, 0);
});
await step('server streaming', async () => {
	const call = client.many(Buffer.from('50 1000'), asked({}), within());
	const ended = status(call);
	let n = 0;
	for await (const message of call) {
		assert.deepEqual(message, Buffer.alloc(1000, n));
		n++;
	}
	assert.equal(n, 50);
	counted(await ended, 50);
});
for (const how of ['answer', 'early']) {
	await step(`client streaming, headers ${how === 'early' ? 'before' : 'after'} the messages`, async () => {
		const { error, value, status: s } = await single((cb) => {
			const call = client.collect(asked({ do: how }), within(), cb);
			let i = 0;
			const next = () => { if (i++ < 20) call.write(Buffer.alloc(100 * i), () => setTimeout(next, 5)); else call.end(); };
			next();
			return call;
		});
		assert.ifError(error);
		assert.equal(value.toString(), '20 21000');
		counted(s, 20);
	});
}
await step('bidi streaming, each message answered before the next', async () => {
	const call = client.chat(asked({}), within());
	const ended = status(call);
	for (let i = 0; i < 30; i++) {
		call.write(Buffer.from(`message ${i}`));
		assert.equal((await event(call, 'data')).toString(), `message ${i}`);
	}
	call.end();
	call.resume();
	const s = await ended;
	assert.equal(s.code, grpc.status.OK);
	counted(s, 30);
});
await step('a status that is an error, with its message and metadata', async () => {
	const { error, status: s } = await unary(Buffer.from('x'), { do: 'fail' });
	assert.equal(error.code, grpc.status.NOT_FOUND);
	assert.equal(error.details, 'no such thing: 100% gr\u00fcn');
	counted(s, 0);
});
await step('the same after messages', async () => {
	const call = client.many(Buffer.from('3 10'), asked({ do: 'fail' }), within());
	let n = 0;
	call.on('data', () => n++);
	const s = await status(call);
	assert.equal(s.code, grpc.status.NOT_FOUND);
	assert.equal(n, 3);
	counted(s, 0);
});
await step('a status while the client still writes', async () => {
	const { error, status: s } = await single((cb) => {
		const call = client.collect(asked({ do: 'fail' }), within(), cb);
		call.on('error', () => {});
		call.write(Buffer.alloc(1000));
		return call;
	});
	assert.equal(error.code, grpc.status.NOT_FOUND);
	counted(s, 0);
});
await step('a message of 16 MiB there and back', async () => {
	const big = crypto.randomBytes(16 << 20);
	const { error, value } = await unary(big);
	assert.ifError(error);
	assert.equal(sum(value), sum(big));
});
await step('20 calls at once on one connection', async () => {
	const all = await Promise.all(Array.from({ length: 20 }, (_, i) => unary(Buffer.alloc(10000 * i, i))));
	all.forEach(({ error, value }, i) => {
		assert.ifError(error);
		assert.deepEqual(value, Buffer.alloc(10000 * i, i));
	});
});
await step('a client that does not read holds the server up', async () => {
	const call = client.many(Buffer.from('256 262144'), asked({}), within()); // 64 MiB
	const ended = status(call);
	const progress = () => single((cb) => client.progress(Buffer.alloc(0), asked({}), within(), cb)).then((r) => Number(r.value));
	await event(call, 'data');
	call.pause();
	let before = -1;
	let now = await progress();
	for (; now !== before; now = await progress()) {
		before = now;
		await new Promise((ok) => setTimeout(ok, 500));
	}
	assert.ok(now < 128, `${now} of 256 messages were written to a client that reads none`);
	let n = 1;
	for await (const message of call) assert.equal(message.length, 262144, `message ${n++}`);
	counted(await ended, 256);
});
await step('a deadline', async () => {
	const { error } = await unary(Buffer.from('x'), { do: 'hang' }, within(300));
	assert.equal(error.code, grpc.status.DEADLINE_EXCEEDED);
});
await step('a call that its client cancels', async () => {
	const call = client.many(Buffer.from('2 10'), asked({ do: 'hang' }), within());
	const ended = status(call);
	await event(call, 'data');
	call.resume();
	call.cancel();
	assert.equal((await ended).code, grpc.status.CANCELLED);
});
await step('one that the server resets, inside its answer', async () => {
	const call = client.many(Buffer.from('5 10'), asked({ do: 'reset' }), within());
	let n = 0;
	call.on('data', () => n++);
	const s = await status(call);
	assert.ok([grpc.status.CANCELLED, grpc.status.INTERNAL].includes(s.code), `${s.code} ${s.details}`);
	assert.equal(n, 2);
});
await step('and before it', async () => {
	const { error } = await unary(Buffer.from('x'), { do: 'reset' });
	assert.ok([grpc.status.CANCELLED, grpc.status.UNAVAILABLE].includes(error.code), `${error.code} ${error.details}`);
});
await step('the connection is still good', async () => {
	const { error, value } = await unary(Buffer.from('again'));
	assert.ifError(error);
	assert.equal(value.toString(), 'again');
});
done();
