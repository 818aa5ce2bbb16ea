#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Clients that a gateway must survive, for as long as FILE is not there: answers that are not read, uploads that end in the middle,
// streams that are reset, half handshakes, providers that misbehave. Usage: soak_chaos.mjs FILE LANES SEED
// One JSON line at the end: what was done, by kind, and how it ended. Trust comes from NODE_EXTRA_CA_CERTS.
import { existsSync } from 'node:fs';
import http2 from 'node:http2';
import net from 'node:net';
import tls from 'node:tls';

const [file, lanes, seed] = [process.argv[2], 1 * process.argv[3], 1 * process.argv[4]];
let state = seed >>> 0 || 1;
const random = (n) => { // xorshift32: the same seed makes the same choices
	state ^= state << 13; state >>>= 0; state ^= state >>> 17; state ^= state << 5; state >>>= 0;
	return state % n;
};
const pick = (list) => list[random(list.length)];
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const HOST = 'api.groq.com', PATH = '/openai/v1/chat/completions';
const MODELS = ['gpt-4o', 'gpt-4o', 'gpt-4o', 'mock-503', 'mock-529', 'mock-429-retry-after-2', 'mock-502-html', 'mock-early-413', 'mock-reset',
	'mock-close', 'mock-slow-first-byte-300', 'mock-garbage', 'mock-cut-head', 'mock-huge-head', 'mock-early-hints', 'mock-cut-body',
	'mock-cut-chunked', 'mock-reset-body', 'mock-odd-chunks', 'mock-big-body-1', 'mock-close-delimited', 'mock-trailers', 'mock-close-after',
	'mock-coded', 'mock-two-lengths', 'mock-bad-chunk', 'mock-leaky-headers', 'mock-error-first-event', 'mock-error-mid-stream',
	'mock-cut-stream', 'mock-clean-cut-stream', 'mock-slow-stream-30', 'mock-long-stream-500', 'mock-burst-stream', 'mock-h2-refused',
	'mock-h2-rst-body'];
const did = {}, ended = {};
const note = (table, key) => { table[key] = (table[key] ?? 0) + 1; };

const body = (bytes = 0) => JSON.stringify({ model: pick(MODELS), stream: random(2) === 0, messages: [{ role: 'user', content: 'x'.repeat(bytes) || 'hello' }] });
const head = (length) => `POST ${PATH} HTTP/1.1\r\nHost: ${HOST}\r\nAuthorization: Bearer placeholder\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n`;

// Over TLS, HTTP/1.1: resolves with the socket, or null.
const dial = () => new Promise((done) => {
	const s = tls.connect({ host: HOST, port: 443, servername: HOST, ALPNProtocols: ['http/1.1'] }, () => done(s));
	s.on('error', () => done(null));
});
// Reads on until the end, the time, or `most` bytes.
const drain = (s, ms, most = Infinity) => new Promise((done) => {
	let n = 0;
	const over = (how) => { clearTimeout(timer); note(ended, how); done(n); };
	const timer = setTimeout(() => over('time'), ms);
	s.on('data', (d) => { n += d.length; if (n >= most) over('enough'); });
	s.on('end', () => over('end'));
	s.on('error', (e) => over(e.code ?? 'error'));
	s.on('close', () => over('close'));
	s.resume();
});

const kinds = {
	async whole() { // an answer that is read, on a connection that is kept for some more
		const s = await dial();
		if (!s) return;
		for (let i = random(4); i >= 0 && !s.destroyed; i--) {
			const b = body(random(3) ? 0 : 60000);
			s.write(head(b.length) + b);
			await drain(s, 400 + random(1500), 200000);
			s.removeAllListeners('data'); s.removeAllListeners('end'); s.removeAllListeners('close');
		}
		s.destroy();
	},
	async reset_in_answer() {
		const s = await dial();
		if (!s) return;
		const b = body();
		s.write(head(b.length) + b);
		await drain(s, random(300), 1 + random(3000));
		s.resetAndDestroy ? s._parent?.resetAndDestroy?.() ?? s.destroy() : s.destroy();
	},
	async slow_reader() {
		const s = await dial();
		if (!s) return;
		const b = JSON.stringify({ model: 'mock-big-body-1', messages: [] });
		s.write(head(b.length) + b);
		s.on('error', () => {});
		s.pause();
		await pause(500 + random(2500));
		if (random(2)) await drain(s, 3000);
		s.destroy();
	},
	async upload_cut() {
		const s = await dial();
		if (!s) return;
		s.on('error', () => {});
		s.write(head(200000));
		s.write('{"model":"gpt-4o","messages":[{"content":"' + 'x'.repeat(random(150000)));
		await pause(random(800));
		s.destroy();
	},
	async half_hello() {
		const s = net.connect({ host: HOST, port: 443 });
		s.on('error', () => {});
		s.write(Buffer.from('160301010001000100', 'hex').subarray(0, 1 + random(9)));
		await pause(random(700));
		s.destroy();
	},
	async garbage() {
		const s = net.connect({ host: HOST, port: pick([80, 443]) });
		s.on('error', () => {});
		s.write(pick(['\x00\x01\x02', 'GET / HTTP/9.9\r\n\r\n', 'x'.repeat(70000), 'POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n']));
		await drain(s, 500);
		s.destroy();
	},
	async passed_through() {
		const s = tls.connect({ host: 'www.example.org', port: 443, servername: 'www.example.org', rejectUnauthorized: false });
		s.on('error', () => {});
		s.write('GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n');
		await drain(s, random(400));
		s.destroy();
	},
	async http2_streams() {
		const c = http2.connect(`https://${HOST}`);
		c.on('error', () => {});
		const all = Array.from({ length: 1 + random(12) }, () => new Promise((done) => {
			const r = c.request({ ':method': 'POST', ':path': PATH, authorization: 'Bearer placeholder', 'content-type': 'application/json' });
			r.on('error', () => {}); r.on('close', done);
			r.on('data', () => { if (!random(20)) r.close(http2.constants.NGHTTP2_CANCEL); });
			r.write(body(random(2000)));
			if (random(4)) r.end();
			setTimeout(() => { if (!r.destroyed) r.close(pick([http2.constants.NGHTTP2_CANCEL, http2.constants.NGHTTP2_NO_ERROR])); }, 200 + random(2500));
		}));
		await Promise.race([Promise.all(all), pause(6000)]);
		c.destroy();
	},
};

async function lane() {
	while (!existsSync(file)) {
		const kind = pick(Object.keys(kinds));
		note(did, kind);
		await kinds[kind]();
	}
}
process.on('uncaughtException', (e) => note(ended, `uncaught ${e.code ?? e.message}`));
await Promise.all(Array.from({ length: lanes }, lane));
console.log(JSON.stringify({ did, ended }));
process.exit(0);
