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
const did = {}, ended = {}, address = {}, upgraded = {};
const note = (table, key) => { table[key] = (table[key] ?? 0) + 1; };

const body = (bytes = 0) => JSON.stringify({ model: pick(MODELS), stream: random(2) === 0, messages: [{ role: 'user', content: 'x'.repeat(bytes) || 'hello' }] });
const head = (length) => `POST ${PATH} HTTP/1.1\r\nHost: ${HOST}\r\nAuthorization: Bearer placeholder\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n`;

// TLS over a socket of its own, which alone can be reset: a TLSSocket that dials by itself only ever ends with a FIN.
const secure = (to, options) => {
	const raw = net.connect(to), s = tls.connect({ socket: raw, ...options });
	raw.on('error', () => {});
	s.reset = () => raw.resetAndDestroy();
	return s;
};
// Over TLS, HTTP/1.1: resolves with the socket, or null.
const dial = () => new Promise((done) => {
	const s = secure({ host: HOST, port: 443 }, { servername: HOST, ALPNProtocols: ['http/1.1'] });
	s.on('secureConnect', () => done(s));
	s.on('error', () => done(null));
});
// How a server sees the end of a client that resets: ECONNRESET, or it was none. By a key that both know, without certificates.
const resetIsSeenAs = () => new Promise((done) => {
	const psk = Buffer.alloc(16, 7), options = { ciphers: 'PSK-AES128-GCM-SHA256', maxVersion: 'TLSv1.2' };
	const server = tls.createServer({ ...options, pskCallback: () => psk }, (s) => {
		s.on('error', (e) => done(e.code)); s.on('end', () => done('FIN')); s.resume(); s.write('x');
	}).listen(0, '127.0.0.1', () => {
		const s = secure({ host: '127.0.0.1', port: server.address().port },
			{ ...options, pskCallback: () => ({ psk, identity: 'x' }), checkServerIdentity: () => undefined });
		s.on('error', () => {}); s.on('data', () => s.reset());
	});
	server.on('tlsClientError', (e) => done(e.code));
	setTimeout(() => done('nothing'), 5000).unref();
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
		s.reset();
	},
	async gateway_address() { // plain, and named by nothing but its path
		const s = net.connect({ host: '169.254.77.1', port: 80 });
		let said = '';
		s.on('error', () => {});
		s.on('data', (d) => { said ||= d.toString('latin1', 0, 12); });
		const b = JSON.stringify({ model: 'gpt-4o', messages: [{ role: 'user', content: 'x'.repeat(random(300000)) }] });
		s.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: 169.254.77.1\r\nAuthorization: Bearer placeholder\r\nContent-Type: application/json\r\nContent-Length: ${b.length}\r\n\r\n${b}`);
		for (let i = 0; i < 50 && !said && !s.destroyed; i++) await pause(100);
		note(address, said.slice(9) || 'nothing');
		if (random(2)) s.resetAndDestroy(); else s.destroy();
	},
	async websocket() { // some text, and then a close frame, a FIN or a reset
		const host = 'api.openai.com', s = secure({ host, port: 443 }, { servername: host, ALPNProtocols: ['http/1.1'] });
		let said = '';
		s.on('error', () => {});
		s.on('data', (d) => { said ||= d.toString('latin1', 0, 12); });
		s.write(`GET /v1/realtime?model=gpt-4o HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer placeholder\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
			'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n');
		for (let i = 0; i < 50 && !said && !s.destroyed; i++) await pause(100);
		note(upgraded, said.slice(9) || 'nothing');
		for (let i = random(10); i > 0 && said.slice(9) === '101' && !s.destroyed; i--) {
			const text = Buffer.from(JSON.stringify({ type: 'response.create' }));
			s.write(Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), text])); // a mask of zeros
			await pause(random(300));
		}
		pick([() => s.reset(), () => s.destroy(), () => s.end(Buffer.from([0x88, 0x80, 0, 0, 0, 0]))])();
		await pause(200);
		s.destroy();
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
const reset = await resetIsSeenAs();
await Promise.all(Array.from({ length: lanes }, lane));
console.log(JSON.stringify({ did, ended, address, upgraded, reset }));
process.exit(0);
