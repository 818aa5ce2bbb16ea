#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// The mock providers: every host of the world file on its own addresses, HTTP/1.1 and HTTP/2 over TLS, plain HTTP on
// port 80, and sinks that count bytes on other ports. It writes down all it sees and misbehaves on demand. Usage:
//   provider.mjs --world FILE --certs DIR --keys FILE --log FILE --admin SOCKET
// README.md beside this file lists log events and modes; `commands` below is the admin interface.
import crypto from 'node:crypto';
import dgram from 'node:dgram';
import fs from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import https from 'node:https';
import net from 'node:net';
import tls from 'node:tls';
import { parseArgs } from 'node:util';
import { anthropic } from './anthropic.mjs';
import { bedrock } from './bedrock.mjs';
import { decoded } from './coding.mjs';
import { groq, mistral } from './compatible.mjs';
import { gemini } from './gemini.mjs';
import { connectionModes, forgetFirsts, misbehave, parseMode } from './misbehave.mjs';
import { openai } from './openai.mjs';
import { realtime } from './realtime.mjs';
import { site } from './site.mjs';

const { values: opt } = parseArgs({ options: Object.fromEntries(
	['world', 'certs', 'keys', 'log', 'admin'].map((name) => [name, { type: 'string' }])) });
for (const name of ['world', 'certs', 'keys', 'log', 'admin']) {
	if (opt[name]) continue;
	console.error(`provider.mjs: --${name} is missing; usage: provider.mjs --world F --certs DIR --keys F --log F --admin SOCK`);
	process.exit(2);
}
const DIALECTS = { openai, anthropic, mistral, groq, bedrock, gemini, site };
const BODY_SHOWN = 8192; // bytes of a request body that the log holds as text

const world = JSON.parse(fs.readFileSync(opt.world, 'utf8'));
let keys = JSON.parse(fs.readFileSync(opt.keys, 'utf8'));
const hostOfAddress = new Map();
for (const [name, host] of Object.entries(world.hosts)) {
	for (const address of host.addresses) if (!hostOfAddress.has(address)) hostOfAddress.set(address, name);
}
const modes = new Map(); // host -> {mode, left}
let counter = 0;
let connections = 0;
const open = new Map(); // socket -> host

const logFd = fs.openSync(opt.log, 'a');
const log = (entry) => fs.writeSync(logFd, JSON.stringify({ at: new Date().toISOString(), ...entry }) + '\n');
const plain = (address) => (address ?? '').replace(/^::ffff:/, '');
const ends = (socket) => ({ src: plain(socket.remoteAddress), src_port: socket.remotePort,
	dst: plain(socket.localAddress), dst_port: socket.localPort });

// The mode in force for a host, counted down. `wanted` says which kind the caller can act on.
function takeMode(host, wanted) {
	const entry = modes.get(host);
	if (!entry || wanted !== connectionModes.has(entry.mode)) return null;
	if (entry.left > 0 && --entry.left === 0) modes.delete(host);
	return entry.mode;
}

// ---- TLS ----
const contexts = new Map();
function contextOf(host) {
	if (!contexts.has(host)) {
		const pem = fs.readFileSync(`${opt.certs}/${host}.pem`);
		contexts.set(host, tls.createSecureContext({ key: pem, cert: pem }));
	}
	return contexts.get(host);
}
const fallback = fs.readFileSync(`${opt.certs}/www.example.org.pem`);
const tlsOptions = (protocols) => ({
	key: fallback, cert: fallback, ALPNProtocols: protocols,
	SNICallback(name, done) { done(null, world.hosts[name] ? contextOf(name) : undefined); },
});
function secureServer(server) {
	server.on('secureConnection', (socket) => {
		socket.egretId = socket._parent?.egretId;
		log({ event: 'tls', conn: socket.egretId, sni: socket.servername || null, alpn: socket.alpnProtocol || null,
			version: socket.getProtocol(), resumed: socket.isSessionReused(), ...ends(socket) });
	});
	server.on('tlsClientError', (error, socket) => log({ event: 'tls_error', code: error.code ?? error.message, ...ends(socket) }));
	server.on('sessionError', () => {});
	server.on('upgrade', (req, socket, head) => upgrade(req, socket, head, true));
	// A gateway keeps pooled connections for long; nothing here may close them behind its back.
	server.keepAliveTimeout = 0;
	server.requestTimeout = 0;
	server.headersTimeout = 0;
	return server;
}
// Two servers, because a host's choice by ALPN can be changed while it runs (/http2).
const secure = secureServer(http2.createSecureServer({ allowHTTP1: true, ...tlsOptions(['h2', 'http/1.1']) },
	(req, res) => serve(req, res, true)));
const secure1 = secureServer(https.createServer(tlsOptions(['http/1.1']), (req, res) => serve(req, res, true)));
let http2On = true;

// ---- requests ----
const dialectOf = (host) => DIALECTS[world.hosts[host]?.dialect ?? 'site'];
function flatHeaders(raw) {
	const out = [];
	for (let i = 0; i < raw.length; i += 2) out.push([raw[i], raw[i + 1]]);
	return out;
}
function credentials(headers, url) {
	const out = {};
	for (const name of ['authorization', 'proxy-authorization', 'x-api-key', 'api-key', 'x-goog-api-key', 'cookie',
		'openai-organization', 'openai-project']) if (headers[name] !== undefined) out[name] = headers[name];
	for (const name of ['key', 'access_token', 'api_key']) if (url.searchParams.has(name)) out[`?${name}`] = url.searchParams.get(name);
	return out;
}
function jsonOf(body) {
	try {
		return JSON.parse(body.toString('utf8'));
	} catch {
		return undefined;
	}
}

// The one field of a form that the log and the modes want; openai.mjs reads the rest by other means.
function formModel(body) {
	return /\r\nContent-Disposition: form-data; name="model"\r\n\r\n([^\r\n]*)\r\n/i.exec(body.toString('latin1'))?.[1] ?? null;
}

function serve(req, res, encrypted) {
	const socket = req.stream?.session?.socket ?? req.socket;
	const authority = req.headers[':authority'] ?? req.headers.host ?? '';
	const url = new URL(req.url, 'http://mock');
	const sni = encrypted ? socket.servername || null : null;
	const name = authority.toLowerCase().replace(/:\d+$/, '');
	const host = world.hosts[name] ? name : hostOfAddress.get(plain(socket.localAddress)) ?? 'unknown';
	const hash = crypto.createHash('sha256');
	const kept = [];
	let keptBytes = 0;
	let bytes = 0;
	const entry = { event: 'request', n: ++counter, host, sni, tls: encrypted, http: req.httpVersion, conn: socket.egretId ?? null,
		method: req.method, path: req.url, authority, headers: flatHeaders(req.rawHeaders), ...ends(socket),
		credentials: credentials(req.headers, url) };
	const dialect = dialectOf(host);
	let finished = false;
	const early = modes.get(host)?.mode.startsWith('early-') ? takeMode(host, false) : null;
	if (early) {
		finished = true;
		log({ ...entry, mode: early, body_bytes: null });
		return void misbehave({ req, res, mode: early, host, dialect, json: {}, socket });
	}
	if (dialect.talks?.(url)) { // the body goes on beside the answer
		log({ ...entry, body_bytes: null, model: dialect.modelOf(url), stream: true, mode: 'ok' });
		return void dialect.talk({ req, res, host, secrets: keys[host] ?? [], log: (message) => log({ event: 'message', n: entry.n, host, conn: entry.conn, ...message }) });
	}
	req.on('data', (chunk) => {
		hash.update(chunk);
		bytes += chunk.length;
		if (keptBytes < 64 << 20) { kept.push(chunk); keptBytes += chunk.length; }
	});
	req.on('error', () => {});
	res.on('error', () => {});
	res.on('close', () => {
		if (!finished) log({ ...entry, event: 'aborted', body_bytes: bytes });
		else if (!res.writableFinished) log({ event: 'cut', n: entry.n, host });
	});
	req.on('end', () => {
		finished = true;
		const sent = Buffer.concat(kept);
		const body = decoded(sent, req.headers['content-encoding']);
		const json = jsonOf(body);
		const model = dialect.modelOf?.(url) ?? json?.model ?? (json === undefined ? formModel(body) : null);
		const mode = takeMode(host, false) ?? (typeof model === 'string' && model.startsWith('mock-') ? model.slice(5) : 'ok');
		log({ ...entry, body_bytes: bytes, body_sha256: hash.digest('hex'), trailers: flatHeaders(req.rawTrailers ?? []),
			...(bytes <= BODY_SHOWN ? { body: sent.toString('utf8') } : {}), model, stream: json?.stream === true, mode });
		respond({ req, res, url, host, json, body, mode, socket });
	});
}

// A request that wants a WebSocket. It is in the log like any other; its messages are, too.
function upgrade(req, socket, head, encrypted) {
	const url = new URL(req.url, 'http://mock');
	const authority = req.headers.host ?? '';
	const name = authority.toLowerCase().replace(/:\d+$/, '');
	const host = world.hosts[name] ? name : hostOfAddress.get(plain(socket.localAddress)) ?? 'unknown';
	const mode = takeMode(host, false) ?? 'ok';
	const entry = { n: ++counter, host, conn: socket.egretId ?? null };
	log({ event: 'request', ...entry, sni: encrypted ? socket.servername || null : null, tls: encrypted, http: req.httpVersion,
		method: req.method, path: req.url, authority, headers: flatHeaders(req.rawHeaders), ...ends(socket),
		credentials: credentials(req.headers, url), body_bytes: 0, model: url.searchParams.get('model'), stream: true, mode });
	socket.on('error', () => {});
	const accepted = keys[host];
	if (accepted && !accepted.includes(presentedKey(req.headers))) {
		return void socket.end('HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n');
	}
	if (mode === '503') return void socket.end('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n');
	if (url.pathname !== '/v1/realtime') return void socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n');
	return realtime({ req, socket, head, host, model: url.searchParams.get('model'),
		log: (message) => log({ event: 'message', ...entry, ...message }) });
}

function respond(call) {
	const { req, res, host, mode } = call;
	const dialect = dialectOf(host);
	call.dialect = dialect;
	const wrong = dialect !== site && keys[host] ? (dialect.wrongKey ?? wrongKey)(call, keys[host]) : null;
	if (wrong) return dialect.error(res, ...wrong);
	if (mode !== 'ok' && misbehave(call)) return undefined;
	return dialect.answer(call);
}
const wrongKey = ({ req, host }, accepted) => (accepted.includes(presentedKey(req.headers)) ? null
	: [401, 'authentication', `Incorrect API key provided for ${host}.`]);
function presentedKey(headers) {
	return headers['x-api-key'] ?? (headers.authorization ?? '').replace(/^Bearer /, '');
}

// ---- listeners ----
function acceptTls(socket) {
	socket.egretId = ++connections;
	const at = ends(socket);
	const host = hostOfAddress.get(at.dst) ?? 'unknown';
	const mode = takeMode(host, true);
	log({ event: 'connection', conn: socket.egretId, host, mode: mode ?? 'ok', ...at });
	open.set(socket, host);
	socket.on('error', () => {});
	socket.on('close', () => { open.delete(socket); log({ event: 'closed', conn: socket.egretId, host, bytes: socket.bytesRead }); });
	if (mode) return connectionModes.get(mode)(socket, () => contextOf(world.hosts[host] ? host : 'www.example.org'));
	(http2On ? secure : secure1).emit('connection', socket);
	return undefined;
}
const plainServer = http.createServer((req, res) => serve(req, res, false));
plainServer.on('upgrade', (req, socket, head) => upgrade(req, socket, head, false));
plainServer.on('clientError', (error, socket) => {
	log({ event: 'http_error', code: error.code, ...ends(socket) });
	socket.destroy();
});
plainServer.on('connection', (socket) => {
	socket.egretId = ++connections;
	const at = ends(socket);
	log({ event: 'connection', conn: socket.egretId, host: hostOfAddress.get(at.dst) ?? 'unknown', mode: 'ok', ...at });
	socket.on('close', () => log({ event: 'closed', conn: socket.egretId, bytes: socket.bytesRead }));
});
function sinkTcp(socket) {
	const at = ends(socket);
	log({ event: 'sink', protocol: 'tcp', bytes: 0, ...at });
	socket.on('data', (chunk) => log({ event: 'sink', protocol: 'tcp', bytes: chunk.length, ...at }));
	socket.on('error', () => {});
}

const waiting = [];
const listen = (server, port) => waiting.push(new Promise((ok, fail) => server.on('error', fail).listen(port, '::', 1024, ok)));
listen(net.createServer(acceptTls), 443);
listen(plainServer, 80);
for (const port of world.sinks.tcp) listen(net.createServer(sinkTcp), port);
// One UDP socket for each address, because a wildcard one does not say where a datagram was sent to.
for (const address of hostOfAddress.keys()) {
	for (const port of world.sinks.udp) {
		const udp = dgram.createSocket(net.isIPv6(address) ? 'udp6' : 'udp4');
		udp.on('message', (msg, peer) => log({ event: 'sink', protocol: 'udp', bytes: msg.length, src: peer.address, dst: address, dst_port: port }));
		waiting.push(new Promise((ok, fail) => udp.on('error', fail).bind(port, address, ok)));
	}
}

// ---- admin ----
const commands = {
	'/ready': () => ({}),
	'/clear': () => { modes.clear(); forgetFirsts(); },
	'/hangup': ({ host }) => { for (const [socket, of] of open) if (of === host) socket.destroy(); },
	'/http2': ({ on }) => { http2On = on; },
	'/reload-keys': () => { keys = JSON.parse(fs.readFileSync(opt.keys, 'utf8')); },
	'/mode': ({ host, mode, count }) => {
		if (!world.hosts[host]) throw new Error(`no host '${host}' in the world file`);
		if (mode === 'ok') return modes.delete(host);
		if (!connectionModes.has(mode)) parseMode(mode);
		return modes.set(host, { mode, left: count ?? 0 });
	},
};
const admin = http.createServer((req, res) => {
	let body = '';
	req.on('data', (d) => { body += d; });
	req.on('end', () => {
		try {
			const command = commands[req.url];
			if (!command) throw new Error(`no such command: ${req.url}; expected ${Object.keys(commands).join(', ')}`);
			command(body ? JSON.parse(body) : {});
			res.end('{}\n');
		} catch (e) {
			res.writeHead(400).end(`${e.message}\n`);
		}
	});
});
await Promise.all(waiting);
admin.listen(opt.admin);
