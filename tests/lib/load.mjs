#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Many requests over a fixed number of keep-alive connections, and one JSON line of what became of them. Usage:
//   load.mjs --url URL [--requests N] [--connections N] [--retries N] [--body JSON] [--header 'name: value']...
//            [--expect TEXT] [--seconds N] [--until FILE [--at-least N]] [--rate N] [--fresh]
// --until goes on until FILE is there, and N requests have ended: how many a busy machine makes until then is not known;
// --rate begins at most so many a second; --fresh makes a new connection for each.
// `{n}` in BODY and TEXT becomes the number of the request, so that an answer to another request is noticed.
// Trust comes from NODE_EXTRA_CA_CERTS. A request fails when there is no 200 with the expected text in a whole body;
// with --retries it is sent again as the SDKs do (resets, 408, 409, 429, 5xx). Exit status 0 only when none failed.
//   {"requests":10000,"ok":10000,"failed":0,"retried":3,"connections_made":64,"errors":{},"statuses":{"200":10000},"seconds":9.1}
import { existsSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { parseArgs } from 'node:util';

const { values: opt } = parseArgs({ options: {
	url: { type: 'string' }, requests: { type: 'string', default: '1000' }, connections: { type: 'string', default: '64' },
	retries: { type: 'string', default: '0' }, body: { type: 'string' }, header: { type: 'string', multiple: true, default: [] },
	expect: { type: 'string', default: '' }, seconds: { type: 'string', default: '0' },
	until: { type: 'string' }, 'at-least': { type: 'string', default: '0' }, rate: { type: 'string', default: '0' }, fresh: { type: 'boolean', default: false } } });
if (!opt.url) {
	console.error('load.mjs: --url is missing');
	process.exit(2);
}
const url = new URL(opt.url);
const client = url.protocol === 'https:' ? https : http;
const agent = new client.Agent({ keepAlive: !opt.fresh, maxSockets: 1 * opt.connections, maxFreeSockets: 1 * opt.connections });
const headers = Object.fromEntries(opt.header.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]));
if (opt.body !== undefined) headers['content-type'] = 'application/json';
const result = { requests: 0, ok: 0, failed: 0, retried: 0, connections_made: 0, errors: {}, statuses: {}, seconds: 0 };
const count = (table, key) => { table[key] = (table[key] ?? 0) + 1; };
const sockets = new WeakSet();

function once(n) {
	const body = opt.body?.replaceAll('{n}', n), expect = opt.expect.replaceAll('{n}', n);
	if (body !== undefined) headers['content-length'] = Buffer.byteLength(body);
	return new Promise((done) => {
		const req = client.request(url, { method: body === undefined ? 'GET' : 'POST', agent, headers: { ...headers }, timeout: 30000 }, (res) => {
			const chunks = [];
			res.on('data', (chunk) => chunks.push(chunk));
			res.on('error', (e) => done({ error: e.code ?? e.message, again: true }));
			res.on('end', () => {
				count(result.statuses, res.statusCode);
				const text = Buffer.concat(chunks).toString();
				if (!res.complete) done({ error: 'body cut', again: true });
				else if (res.statusCode !== 200) done({ error: `status ${res.statusCode} ${res.headers['x-egret-reason'] ?? ''}`.trim(),
					again: [408, 409, 429].includes(res.statusCode) || res.statusCode >= 500 });
				else if (!text.includes(expect)) done({ error: 'another answer than expected' });
				else done({});
			});
		});
		req.on('socket', (socket) => {
			if (sockets.has(socket)) return;
			sockets.add(socket);
			result.connections_made++;
		});
		req.on('timeout', () => req.destroy(new Error('no answer in 30 s')));
		req.on('error', (e) => done({ error: e.code ?? e.message, again: true }));
		req.end(body);
	});
}

const start = Date.now();
const end = 1000 * opt.seconds;
const enough = () => existsSync(opt.until) && result.ok + result.failed >= 1 * opt['at-least'];
let left = 1 * opt.requests;
async function lane() {
	while (opt.until ? !enough() : end ? Date.now() - start < end : left-- > 0) {
		const n = result.requests++;
		if (1 * opt.rate) await new Promise((ok) => setTimeout(ok, Math.max(0, start + n * 1000 / opt.rate - Date.now())));
		let outcome = await once(n);
		for (let i = 0; outcome.error && outcome.again && i < 1 * opt.retries; i++) {
			result.retried++;
			count(result.errors, `${outcome.error} (retried)`);
			await new Promise((ok) => setTimeout(ok, 500 * 2 ** i * (0.75 + Math.random() / 4)));
			outcome = await once(n);
		}
		if (outcome.error) {
			result.failed++;
			count(result.errors, outcome.error);
		} else result.ok++;
	}
}
await Promise.all(Array.from({ length: 1 * opt.connections }, lane));
result.seconds = (Date.now() - start) / 1000;
console.log(JSON.stringify(result));
process.exit(result.failed ? 1 : 0);
