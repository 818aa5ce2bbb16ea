#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// A gRPC server by @grpc/grpc-js, with TLS on port 443 and without on port 80. Metadata of a call says how it misbehaves:
// `do: fail`, `hang`, `reset`. Usage: server.mjs PEM LOG; a line of JSON in LOG for each call, and for each that was cancelled.
import fs from 'node:fs';
import http2 from 'node:http2';
import grpc from '@grpc/grpc-js';
import { echo } from './service.mjs';

const [pem, logFile] = process.argv.slice(2).map((file, i) => (i ? fs.openSync(file, 'a') : fs.readFileSync(file)));
const log = (entry) => fs.writeSync(logFile, `${JSON.stringify(entry)}\n`);
let written = 0; // messages that the last Many has written

// Writes the call down, and says what it is to do. The status of each good call has x-count and a binary x-sum-bin.
function begin(call) {
	const wanted = call.metadata.get('do')[0] ?? 'answer';
	log({ event: 'call', path: call.getPath(), host: call.getHost(), deadline: Number.isFinite(+call.getDeadline()),
		metadata: call.metadata.getMap() });
	call.on('cancelled', () => log({ event: 'cancelled', path: call.getPath(), do: wanted }));
	return wanted;
}
function trailers(count) {
	const metadata = new grpc.Metadata();
	metadata.set('x-count', String(count));
	metadata.set('x-sum-bin', Buffer.from([0, 1, 254, 255]));
	return metadata;
}
const failure = () => ({ code: grpc.status.NOT_FOUND, details: 'no such thing: 100% gr\u00fcn', metadata: trailers(0) });
const reset = (call) => call.call.stream.close(http2.constants.NGHTTP2_CANCEL);

async function many(call) {
	const wanted = begin(call);
	const [count, size] = call.request.toString().split(' ').map(Number);
	written = 0;
	for (let i = 0; i < count && !call.cancelled; i++) {
		const more = call.write(Buffer.alloc(size, i));
		written = i + 1;
		if (wanted === 'reset' && i === 1) return void setTimeout(() => reset(call), 100);
		if (!more) await new Promise((ok) => { call.once('drain', ok); call.once('cancelled', ok); });
	}
	if (wanted === 'hang') return undefined;
	if (wanted === 'fail') return void call.emit('error', failure());
	return void call.end(trailers(count));
}

const server = new grpc.Server({ 'grpc.max_receive_message_length': -1, 'grpc.max_send_message_length': -1 });
server.addService(echo, {
	Unary(call, done) {
		const wanted = begin(call);
		if (wanted === 'fail') done(failure());
		else if (wanted === 'reset') reset(call);
		else if (wanted !== 'hang') done(null, call.request, trailers(1));
	},
	Collect(call, done) {
		const wanted = begin(call);
		let count = 0;
		let size = 0;
		if (wanted === 'early') call.sendMetadata(new grpc.Metadata());
		if (wanted === 'fail') return void done(failure()); // while the client still writes
		call.on('data', (message) => { count++; size += message.length; });
		call.on('error', () => {});
		return void call.on('end', () => done(null, Buffer.from(`${count} ${size}`), trailers(count)));
	},
	Many: many,
	Chat(call) {
		begin(call);
		let count = 0;
		call.on('data', (message) => { count++; call.write(message); });
		call.on('error', () => {});
		call.on('end', () => call.end(trailers(count)));
	},
	Progress(call, done) { done(null, Buffer.from(String(written))); },
});
const tls = grpc.ServerCredentials.createSsl(null, [{ private_key: pem, cert_chain: pem }]);
for (const [address, credentials] of [['[::]:443', tls], ['[::]:80', grpc.ServerCredentials.createInsecure()]]) {
	await new Promise((ok, fail) => server.bindAsync(address, credentials, (error) => (error ? fail(error) : ok())));
}
log({ event: 'ready' });
