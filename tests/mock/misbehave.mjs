// SPDX-License-Identifier: Apache-2.0
// How the mock misbehaves. A mode is a word, from the admin interface or from a model named mock-WORD.
import crypto from 'node:crypto';
import tls from 'node:tls';
import { code } from './coding.mjs';

// Modes that act on a connection before any TLS; only by admin command.
export const connectionModes = new Map(Object.entries({
	'connect-reset': (socket) => socket.resetAndDestroy(),
	'connect-close': (socket) => socket.destroy(),
	'connect-hang': (socket) => socket.resume(),
	'connect-garbage': (socket) => socket.end(crypto.randomBytes(512)),
	'connect-h2-flood': (socket, context) => flood(socket, context()),
	'connect-cut-hello': (socket) => socket.once('data', () => socket.end(Buffer.from([0x16, 3, 3, 0, 0x7a, 2, 0]))),
}));

// TLS and ALPN in order, then PINGs and SETTINGS that nobody asked for, without end.
function flood(socket, secureContext) {
	const secure = new tls.TLSSocket(socket, { isServer: true, secureContext, ALPNProtocols: ['h2'] });
	const frames = Buffer.from('000000040000000000' + '000008060000000000' + '6162636465666768', 'hex');
	const more = () => { while (!secure.destroyed && secure.write(Buffer.concat(Array(100).fill(frames))));	};
	secure.on('error', () => {}).on('drain', more).on('secure', () => secure.resume() && more());
}

// What only HTTP/2 has. Over HTTP/1.1 the dialect answers.
const onStream = (act) => (call) => {
	if (call.req.httpVersionMajor !== 2) return 'answer';
	act(call.req.stream, call);
	return undefined;
};

// Writes raw bytes where HTTP/1.1 is spoken; HTTP/2 gets the same failure in its own terms.
function raw(call, text, then) {
	const { req, socket } = call;
	if (req.httpVersionMajor === 2) {
		if (then === 'reset') return void req.stream.close(2);
		return void req.stream.session.destroy();
	}
	const reset = () => (socket._parent ?? socket).resetAndDestroy?.() ?? socket.destroy();
	if (!text) return then === 'reset' ? reset() : socket.destroy();
	socket.write(text, () => {
		if (then === 'close') socket.destroy();
		else if (then === 'reset') setTimeout(reset, 250);
	});
	return undefined;
}

const okHead = (extra) => `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n${extra}\r\n`;
const wait = (ms) => new Promise((ok) => setTimeout(ok, ms));

// Each takes the call and, for modes with a number, the number. Returning 'answer' lets the dialect answer after all.
const requestModes = {
	'reset': (call) => raw(call, '', 'reset'),
	'close': (call) => raw(call, '', 'close'),
	'hang': () => {},
	'garbage': (call) => raw(call, crypto.randomBytes(300), 'close'),
	'cut-head': (call) => raw(call, 'HTTP/1.1 200 OK\r\ncontent-type: applic', 'close'),
	'cut-body': (call) => raw(call, okHead('content-length: 1000\r\n') + '{"id": "cut', 'close'),
	'cut-chunked': (call) => raw(call, okHead('transfer-encoding: chunked\r\n') + '40\r\n{"id": "cut', 'close'),
	'reset-body': (call) => raw(call, okHead('content-length: 1000\r\n') + '{"id": "cut', 'reset'),
	'hang-body': (call) => raw(call, okHead('content-length: 1000\r\n') + '{"id": "hung'),
	'two-lengths': (call) => raw(call, okHead('content-length: 2\r\ncontent-length: 3\r\n') + '{}\n', 'close'),
	'length-and-chunked': (call) => raw(call, okHead('content-length: 2\r\ntransfer-encoding: chunked\r\n') + '2\r\n{}\r\n0\r\n\r\n', 'close'),
	'bad-chunk': (call) => raw(call, okHead('transfer-encoding: chunked\r\n') + 'zz\r\n{}\r\n0\r\n\r\n', 'close'),
	'huge-head': (call) => raw(call, `HTTP/1.1 200 OK\r\n${'x-fill: '.padEnd(8000, 'a')}\r\n`.repeat(1) + `x-more: ${'b'.repeat(2 << 20)}\r\n\r\n`, 'close'),
	'close-delimited': (call) => raw(call, 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{"delimited":"by close"}', 'close'),
	'response-splitting': (call) => raw(call, okHead('content-length: 2\r\n') + '{}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstolen'),
	'h2-refused': onStream((stream) => stream.close(7)),
	'h2-http1': onStream((stream) => stream.close(13)),
	// This stream and all after it were not begun; what came before it goes on.
	// Node.js has no GOAWAY below the first stream.
	'h2-goaway': (call) => call.req.httpVersionMajor === 2 && call.req.stream.id > 1
		? void call.req.stream.session.goaway(0, call.req.stream.id - 2) : 'answer',
	'h2-rst-body': onStream((stream, { res }) => {
		res.writeHead(200, { 'content-type': 'application/json' });
		res.write('{"id": "cut', () => setTimeout(() => stream.close(2), 50));
	}),
	'early-hints': ({ res }) => { res.writeEarlyHints?.({ link: '</x>; rel=preload' }); return 'answer'; },
	'odd-chunks': (call) => oddChunks(call),
	'big-body': (call, megabytes) => bigBody(call, megabytes || 100),
	'slow-first-byte': async (call, ms) => { await wait(ms || 3000); return 'answer'; },
	'leaky-headers': ({ res }) => {
		res.setHeader('set-cookie', 'session=leak');
		res.setHeader('alt-svc', 'h3=":443"; ma=86400');
		return 'answer';
	},
	'coded': (call, pace) => { call.pace = pace; code(call); return 'answer'; },
	'coded-unasked': (call) => { call.req.headers['accept-encoding'] = 'br'; code(call); return 'answer'; },
	'trailers': (call) => { call.trailers = true; return 'answer'; },
	'close-after': ({ req, res }) => { if (req.httpVersionMajor === 1) res.setHeader('connection', 'close'); return 'answer'; },
	// Streams that fail after their head; the dialects act on call.stream (see openai.mjs, anthropic.mjs).
	'error-first-event': (call) => { call.streamMode = 'error-first'; return 'answer'; },
	'error-mid-stream': (call) => { call.streamMode = 'error-mid'; return 'answer'; },
	'cut-stream': (call) => { call.streamMode = 'cut'; return 'answer'; },
	'clean-cut-stream': (call) => { call.streamMode = 'clean-cut'; return 'answer'; },
	'corrupt-stream': (call) => { call.streamMode = 'corrupt'; return 'answer'; }, // Bedrock's: a CRC that does not fit
	'slow-stream': (call, ms) => { call.pace = ms || 200; return 'answer'; },
	'long-stream': (call, events) => { call.events = events || 2000; return 'answer'; },
	'burst-stream': (call) => { call.pace = 0; return 'answer'; },
};

// Odd sizes, a chunk extension and a cut inside a JSON token: the text itself is an ordinary answer.
function oddChunks(call) {
	const text = JSON.stringify(call.dialect.sample(call));
	if (call.req.httpVersionMajor === 2) {
		call.res.setHeader('content-type', 'application/json');
		call.res.end(text);
		return;
	}
	// Node.js does not know of this answer, so the connection can't be used again.
	let out = okHead('transfer-encoding: chunked\r\nconnection: close\r\n');
	for (let at = 0, size = 1; at < text.length; at += size, size = size * 3 % 29 + 1) {
		const piece = text.slice(at, at + size);
		out += `${piece.length.toString(16).padStart(size % 4 + 1, '0')};ext=${size}\r\n${piece}\r\n`;
	}
	call.socket.end(`${out}0\r\n\r\n`);
}

async function bigBody({ res }, megabytes) {
	const block = Buffer.alloc(1 << 20, 'x');
	res.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': megabytes << 20 });
	for (let i = 0; i < megabytes && !res.destroyed; i++) if (!res.write(block)) await new Promise((ok) => res.once('drain', ok).once('close', ok));
	res.end();
}

const STATUS = /^(early-|first-)?([1-5]\d\d)(?:-retry-after-(\d+))?(?:-(quota|toolarge|html))?$/;

// first-STATUS: a program's first request for a model of this name at a path; the ones after it are answered. So that a client's retry is seen.
const firsts = new Set();
export const forgetFirsts = () => firsts.clear();
function isFirst({ host, url, req, json }) {
	const key = [host, url.pathname, req.headers['user-agent']?.replace(/\/.*/, ''), json?.model].join(' '); // or the path has the model
	return !firsts.has(key) && Boolean(firsts.add(key));
}

// Returns {run} or throws a sentence that names what is known.
export function parseMode(mode) {
	const status = STATUS.exec(mode);
	if (status?.[1] === 'first-') return { run: (call) => (isFirst(call) ? answerStatus(call, Number(status[2]), status[3], status[4]) : 'answer') };
	if (status) return { run: (call) => answerStatus(call, Number(status[2]), status[3], status[4]) };
	if (requestModes[mode]) return { run: (call) => requestModes[mode](call) };
	const numbered = /^(.*)-(\d+)$/.exec(mode);
	if (numbered && requestModes[numbered[1]]) return { run: (call) => requestModes[numbered[1]](call, Number(numbered[2])) };
	throw new Error(`unknown mode '${mode}'; expected a status (503, 429-retry-after-2, early-413), ` +
		`${Object.keys(requestModes).join(', ')}, or for connections ${[...connectionModes.keys()].join(', ')}`);
}

function answerStatus({ res, dialect, host }, status, retryAfter, what) {
	if (retryAfter !== undefined) res.setHeader('retry-after', retryAfter);
	if (what === 'html') {
		res.writeHead(status, { 'content-type': 'text/html' }).end('<html><h1>Bad gateway</h1></html>\n');
		return;
	}
	dialect.error(res, status, what, `The mock ${host} was told to answer ${status}.`);
}

// True when the mode took the answer over (or will); false when the dialect should answer.
export function misbehave(call) {
	let parsed;
	try {
		parsed = parseMode(call.mode);
	} catch {
		return false; // a model merely named mock-something
	}
	const done = parsed.run(call);
	if (done === 'answer') return false;
	done?.then?.((later) => { if (later === 'answer') call.dialect.answer(call); });
	return true;
}
