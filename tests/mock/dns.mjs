#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// A tiny authoritative DNS server for the tests, UDP and TCP: A, AAAA and CNAME of the world file, NXDOMAIN for the
// rest. Answers can be replaced on command (poisoned), truncated, delayed or failed. Usage:
//   dns.mjs --world FILE --log FILE --admin SOCKET
// Admin (HTTP on the unix socket): GET /ready, POST /set {name, record}, POST /clear.
import dgram from 'node:dgram';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { parseArgs } from 'node:util';

const { values: opt } = parseArgs({ options: { world: { type: 'string' }, log: { type: 'string' }, admin: { type: 'string' } } });
if (!opt.world || !opt.log || !opt.admin) {
	console.error('usage: dns.mjs --world FILE --log FILE --admin SOCKET');
	process.exit(2);
}
const TYPE = { A: 1, CNAME: 5, AAAA: 28, OPT: 41 };
const RCODE = { OK: 0, FORMERR: 1, NXDOMAIN: 3, NOTIMP: 4 };

const world = JSON.parse(fs.readFileSync(opt.world, 'utf8'));
const base = new Map();
for (const [name, host] of Object.entries(world.hosts)) {
	base.set(name, host.cname ? { cname: host.cname } : {
		a: host.addresses.filter((x) => net.isIPv4(x)), aaaa: host.addresses.filter((x) => net.isIPv6(x)) });
}
const override = new Map();
const logFd = fs.openSync(opt.log, 'a');
const log = (o) => fs.writeSync(logFd, JSON.stringify({ at: new Date().toISOString(), ...o }) + '\n');
const lookup = (name) => override.get(name) ?? base.get(name);

function encodeName(name) {
	const parts = name.split('.').filter(Boolean).map((l) => Buffer.concat([Buffer.from([l.length]), Buffer.from(l, 'latin1')]));
	return Buffer.concat([...parts, Buffer.from([0])]);
}

function encodeAddress(text) {
	if (net.isIPv4(text)) return Buffer.from(text.split('.').map(Number));
	// The URL parser canonicalises IPv6 and has no zone: expand what it gives.
	const [head, tail] = new URL(`http://[${text}]/`).hostname.slice(1, -1).split('::');
	const left = head ? head.split(':') : [];
	const right = tail ? tail.split(':') : [];
	const words = tail === undefined ? left : [...left, ...Array(8 - left.length - right.length).fill('0'), ...right];
	const out = Buffer.alloc(16);
	words.forEach((w, i) => out.writeUInt16BE(parseInt(w, 16), i * 2));
	return out;
}

// RFC 1035 section 4.1.2; queries carry no compression.
function parseQuestion(msg) {
	if (msg.length < 17 || msg.readUInt16BE(4) !== 1) return null;
	const labels = [];
	let at = 12;
	for (;;) {
		if (at >= msg.length) return null;
		const len = msg[at++];
		if (len === 0) break;
		if (len > 63 || at + len > msg.length) return null;
		labels.push(msg.toString('latin1', at, at + len));
		at += len;
	}
	if (at + 4 > msg.length) return null;
	return { name: labels.join('.').toLowerCase(), type: msg.readUInt16BE(at), raw: msg.subarray(12, at + 4) };
}

function record(name, type, ttl, rdata) {
	const fixed = Buffer.alloc(10);
	fixed.writeUInt16BE(type, 0);
	fixed.writeUInt16BE(1, 2);
	fixed.writeUInt32BE(ttl, 4);
	fixed.writeUInt16BE(rdata.length, 8);
	return Buffer.concat([encodeName(name), fixed, rdata]);
}

// The answers to a question, CNAME chain followed within what this server knows.
function resolve(question) {
	const answers = [];
	let name = question.name;
	let entry = lookup(name);
	if (!entry) return { rcode: RCODE.NXDOMAIN, answers, entry: {} };
	const first = entry;
	for (let hop = 0; entry?.cname && hop < 8; hop++) {
		answers.push(record(name, TYPE.CNAME, entry.ttl ?? 60, encodeName(entry.cname)));
		name = entry.cname.toLowerCase();
		entry = lookup(name);
	}
	const list = question.type === TYPE.A ? entry?.a : question.type === TYPE.AAAA ? entry?.aaaa : [];
	for (const address of list ?? []) answers.push(record(name, question.type, entry.ttl ?? 60, encodeAddress(address)));
	return { rcode: first.rcode ?? RCODE.OK, answers: first.rcode ? [] : answers, entry: first };
}

// Answers one message; `reply` gets the bytes, unless the answer is held back on purpose.
function answer(msg, from, transport, reply) {
	if (msg.length < 12 || msg[2] & 0x80) return;
	const question = parseQuestion(msg);
	const out = Buffer.alloc(12);
	msg.copy(out, 0, 0, 2);
	if (!question) {
		out.writeUInt16BE(0x8400 | RCODE.FORMERR, 2);
		return reply(out);
	}
	const { rcode, answers, entry } = resolve(question);
	const cut = transport === 'udp' && entry.truncate;
	log({ event: 'query', name: question.name, type: question.type, from, transport, rcode, answers: cut ? 0 : answers.length });
	out.writeUInt16BE(0x8400 | (msg[2] & 1) << 8 | (cut ? 0x0200 : 0) | rcode, 2);
	out.writeUInt16BE(1, 4);
	out.writeUInt16BE(cut ? 0 : answers.length, 6);
	const bytes = Buffer.concat([out, question.raw, ...(cut ? [] : answers)]);
	if (entry.drop) return;
	setTimeout(() => reply(bytes), entry.delay_ms ?? 0);
}

function serveTcp(socket) {
	let have = Buffer.alloc(0);
	socket.on('error', () => {});
	socket.on('data', (chunk) => {
		have = Buffer.concat([have, chunk]);
		while (have.length >= 2 && have.length >= 2 + have.readUInt16BE(0)) {
			const msg = have.subarray(2, 2 + have.readUInt16BE(0));
			have = have.subarray(2 + msg.length);
			answer(msg, socket.remoteAddress, 'tcp', (bytes) => {
				const len = Buffer.alloc(2);
				len.writeUInt16BE(bytes.length);
				socket.write(Buffer.concat([len, bytes]));
			});
		}
	});
}

function admin(req, res) {
	let body = '';
	req.on('data', (d) => { body += d; });
	req.on('end', () => {
		try {
			if (req.url === '/set') {
				const { name, record: r } = JSON.parse(body);
				override.set(name.toLowerCase(), r);
			} else if (req.url === '/clear') override.clear();
			else if (req.url !== '/ready') throw new Error(`no such command: ${req.url}; expected /ready, /set or /clear`);
			res.end('{}\n');
		} catch (e) {
			res.writeHead(400).end(`${e.message}\n`);
		}
	});
}

const listening = [];
for (const address of world.dns.addresses) {
	const udp = dgram.createSocket(net.isIPv6(address) ? 'udp6' : 'udp4');
	udp.on('message', (msg, peer) => answer(msg, peer.address, 'udp', (bytes) => udp.send(bytes, peer.port, peer.address)));
	listening.push(new Promise((ok) => udp.bind(53, address, ok)));
	listening.push(new Promise((ok) => net.createServer(serveTcp).listen(53, address, ok)));
}
await Promise.all(listening);
http.createServer(admin).listen(opt.admin);
