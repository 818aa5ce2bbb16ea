#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// A Kubernetes API server of two resources, pods and namespaces (list, watch, and nothing else), that also takes Events
// (kube-events.mjs). It says what a real one says (lists in pages, initial events, bookmarks, 410) and misbehaves on demand. Usage:
//   kube-api.mjs --cert server.pem --token-file FILE [--listen 127.0.0.1:0] [--control 127.0.0.1:0] [--node n1] [--dir DIR]
//                [--history 1000] [--bookmark-ms 60000] [--ready FILE]
// README.md beside this file has the control interface; `control` below is it.
import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { parseArgs } from 'node:util';
import { Events } from './kube-events.mjs';

const { values: opt } = parseArgs({ options: {
	cert: { type: 'string' }, 'token-file': { type: 'string' }, dir: { type: 'string' }, ready: { type: 'string' },
	listen: { type: 'string', default: '127.0.0.1:0' }, control: { type: 'string', default: '127.0.0.1:0' },
	node: { type: 'string', default: 'n1' }, history: { type: 'string', default: '1000' },
	'bookmark-ms': { type: 'string', default: '60000' },
} });
if (!opt.cert || !opt['token-file']) {
	console.error('kube-api.mjs: --cert and --token-file are needed');
	process.exit(2);
}
const HISTORY = Number(opt.history);
const KIND = { pods: 'Pod', namespaces: 'Namespace' };

// ---- what there is ----
let version = 100; // of the last change
let oldest = 100; // a watch may resume from here on
const store = { pods: new Map(), namespaces: new Map() }; // key -> object
const history = []; // {version, resource, type, object}
const watches = new Set();
const events = new Events((name) => store.namespaces.has(name));
const requests = []; // the last ones, without their tokens
const faults = []; // {resource, left, ...}
const forbidden = new Set(); // resources
let streams = 'on'; // 'on', 'off' (422), 'ignored' (no end mark)
let stalled = false;

const keyOf = (resource, object) => (resource === 'pods' ? object.metadata.uid : object.metadata.name);
const orderOf = (resource, object) =>
	(resource === 'pods' ? `${object.metadata.namespace}/${object.metadata.name}/${object.metadata.uid}` : object.metadata.name);

function complete(resource, given) {
	const metadata = { name: 'unnamed', ...given.metadata };
	if (resource === 'pods') metadata.namespace ??= 'default';
	metadata.uid ??= crypto.randomUUID();
	metadata.creationTimestamp ??= new Date().toISOString();
	const object = { kind: KIND[resource], apiVersion: 'v1', ...given, metadata };
	if (resource !== 'pods') return { spec: { finalizers: ['kubernetes'] }, status: { phase: 'Active' }, ...object };
	// As the admission plugin ServiceAccount does, which leaves mirrors of static pods alone.
	const account = metadata.annotations?.['kubernetes.io/config.mirror'] === undefined ? { serviceAccountName: 'default' } : {};
	object.spec = { nodeName: opt.node, ...account, containers: [{ name: 'c', image: 'i' }], ...given.spec };
	object.status = { phase: 'Pending', ...given.status };
	return object;
}

function record(resource, type, object) {
	object.metadata.resourceVersion = String(++version);
	const entry = { version, resource, type, object: structuredClone(object) };
	history.push(entry);
	while (history.length > HISTORY) oldest = history.shift().version;
	for (const watch of watches) watch.tell(entry);
}

function put(resource, given) {
	const object = complete(resource, given);
	const key = keyOf(resource, object);
	const known = store[resource].has(key);
	store[resource].set(key, object);
	record(resource, known ? 'MODIFIED' : 'ADDED', object);
	return object;
}

function remove(resource, key) {
	const object = store[resource].get(key);
	if (!object) return false;
	store[resource].delete(key);
	record(resource, 'DELETED', object);
	return true;
}

if (opt.dir) {
	for (const resource of Object.keys(store)) {
		const dir = `${opt.dir}/${resource}`;
		if (!fs.existsSync(dir)) continue;
		for (const name of fs.readdirSync(dir).sort()) {
			if (name.endsWith('.json')) put(resource, JSON.parse(fs.readFileSync(`${dir}/${name}`, 'utf8')));
		}
	}
}

// ---- answers ----
const REASONS = { 400: 'BadRequest', 401: 'Unauthorized', 403: 'Forbidden', 404: 'NotFound', 405: 'MethodNotAllowed', 410: 'Expired', 415: 'UnsupportedMediaType',
	422: 'Invalid', 429: 'TooManyRequests', 500: 'InternalError', 503: 'ServiceUnavailable', 504: 'Timeout' };
const statusObject = (code, message, details) => ({ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message,
	reason: REASONS[code] ?? 'Unknown', details, code });

function refuse(call, code, message, headers = {}, details = undefined) {
	call.entry.status = code;
	const body = JSON.stringify(statusObject(code, message, details));
	call.res.writeHead(code, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body), ...headers }).end(body);
}

function selectorOf(query) {
	const selector = query.get('fieldSelector');
	if (!selector) return () => true;
	const match = /^spec\.nodeName=([a-z0-9.-]+)$/.exec(selector);
	return match && ((object) => object.spec?.nodeName === match[1]);
}

function listed(call) {
	const { resource, query } = call;
	const limit = Number(query.get('limit') ?? 0);
	let at = { version, after: '' };
	if (query.has('continue')) {
		try {
			at = JSON.parse(Buffer.from(query.get('continue'), 'base64url').toString());
		} catch {
			return refuse(call, 400, 'continue key is not valid');
		}
		// The real one reads the former state of etcd; this one only knows whether there is another.
		if (at.version < oldest) return refuse(call, 410, 'The provided continue parameter is too old');
	}
	const all = [...store[resource].values()].filter(call.selects)
		.map((object) => [orderOf(resource, object), object]).filter(([order]) => order > at.after)
		.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
	const page = limit ? all.slice(0, limit) : all;
	const metadata = { resourceVersion: String(at.version) };
	if (page.length < all.length) {
		metadata.continue = Buffer.from(JSON.stringify({ version: at.version, after: page.at(-1)[0] })).toString('base64url');
		metadata.remainingItemCount = all.length - page.length;
	}
	call.entry.status = 200;
	// Items of a list have neither kind nor version, as real ones have none.
	const items = page.map(([, { kind, apiVersion, ...rest }]) => rest);
	call.res.writeHead(200, { 'content-type': 'application/json' });
	call.res.end(JSON.stringify({ kind: `${KIND[resource]}List`, apiVersion: 'v1', metadata, items }));
}

class Watch {
	constructor(call) {
		this.resource = call.resource;
		this.selects = call.selects;
		this.res = call.res;
		this.bookmarks = call.query.get('allowWatchBookmarks') === 'true';
		this.held = []; // while it stalls
		this.res.writeHead(200, { 'content-type': 'application/json' });
		this.res.flushHeaders();
		watches.add(this);
		const seconds = Number(call.query.get('timeoutSeconds') ?? 1800);
		this.timers = [setTimeout(() => this.end(), seconds * 1000),
			setInterval(() => this.bookmark(), Number(opt['bookmark-ms']))];
		this.res.on('close', () => {
			watches.delete(this);
			clearTimeout(this.timers[0]);
			clearInterval(this.timers[1]);
		});
	}
	raw(text) {
		if (stalled) this.held.push(text);
		else this.res.write(text);
	}
	send(type, object) {
		this.raw(JSON.stringify({ type, object }) + '\n');
	}
	tell({ resource, type, object }) {
		if (resource === this.resource && this.selects(object)) this.send(type, object);
	}
	bookmark(at = version, annotations) {
		if (!this.bookmarks) return;
		const metadata = { resourceVersion: String(at), creationTimestamp: null };
		if (annotations) metadata.annotations = annotations;
		this.send('BOOKMARK', { kind: KIND[this.resource], apiVersion: 'v1', metadata, spec: {}, status: {} });
	}
	end() {
		this.res.end();
	}
}

function watched(call) {
	const { query, resource } = call;
	const from = query.get('resourceVersion') ?? '';
	const initial = query.get('sendInitialEvents') === 'true' && streams !== 'ignored';
	if (query.has('sendInitialEvents') && streams === 'off') {
		return refuse(call, 422, 'ListOptions.meta.k8s.io "" is invalid: sendInitialEvents: Forbidden: sendInitialEvents is '
			+ 'forbidden for watch unless the WatchList feature gate is enabled');
	}
	if (initial && (query.get('resourceVersionMatch') !== 'NotOlderThan' || query.get('allowWatchBookmarks') !== 'true')) {
		return refuse(call, 422, 'sendInitialEvents requires resourceVersionMatch=NotOlderThan and allowWatchBookmarks');
	}
	if (!/^\d*$/.test(from)) return refuse(call, 400, `invalid resource version "${from}"`);
	if (from && Number(from) > version) {
		return refuse(call, 504, `Too large resource version: ${from}, current: ${version}`);
	}
	call.entry.status = 200;
	const watch = new Watch(call);
	if (from && Number(from) < oldest && !initial) {
		watch.send('ERROR', statusObject(410, `too old resource version: ${from} (${oldest})`));
		return watch.end();
	}
	if (!from || initial) {
		const all = [...store[resource].values()].filter(call.selects);
		for (const object of all) watch.send('ADDED', object);
		if (initial) watch.bookmark(version, { 'k8s.io/initial-events-end': 'true' });
		return undefined;
	}
	for (const entry of history) if (entry.version > Number(from)) watch.tell(entry);
	return undefined;
}

function faultFor(resource) {
	const i = faults.findIndex((fault) => !fault.resource || fault.resource === resource);
	if (i < 0) return null;
	const fault = faults[i];
	if (--fault.left === 0) faults.splice(i, 1);
	return fault;
}

function authorized(req) {
	const sent = /^Bearer (\S+)$/.exec(req.headers.authorization ?? '');
	return sent !== null && sent[1] === fs.readFileSync(opt['token-file'], 'utf8').trim();
}

// Sent: an Event, or a change of one.
function take(call, req, path) {
	const chunks = [];
	req.on('data', (chunk) => chunks.push(chunk)).on('end', () => {
		const text = Buffer.concat(chunks).toString();
		const { code, message, details, object } = events.take(req.method, path, req.headers['content-type'], text);
		call.entry.body = text;
		if (!object) return refuse(call, code, message, {}, details);
		call.entry.status = code;
		const { lost } = call;
		if (lost) return req.socket.destroy(); // it was taken, and nobody hears of it
		const body = JSON.stringify(object);
		return call.res.writeHead(code, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }).end(body);
	});
}

function serve(req, res) {
	const url = new URL(req.url, 'https://kubernetes');
	const path = Events.path(url.pathname);
	const match = path ? ['', 'events'] : /^\/api\/v1\/(pods|namespaces)$/.exec(url.pathname);
	const call = { res, query: url.searchParams, resource: match?.[1],
		entry: { method: req.method, url: req.url, host: req.headers.host, sni: req.socket.servername || null, authorized: authorized(req) } };
	requests.push(call.entry);
	if (requests.length > 1000) requests.shift();
	res.on('error', () => {});
	if (!call.entry.authorized) return refuse(call, 401, 'Unauthorized');
	if (!match) return refuse(call, 404, 'the server could not find the requested resource');
	if (req.method !== 'GET' && !path) return refuse(call, 405, 'the server does not allow this method on the requested resource');
	if (path && forbidden.has('events')) {
		return refuse(call, 403, `events.events.k8s.io is forbidden: User "system:serviceaccount:egret:egret" cannot ${
			req.method === 'POST' ? 'create' : 'patch'} resource "events" in API group "events.k8s.io" in the namespace "${path.namespace}"`);
	}
	if (forbidden.has(call.resource)) {
		return refuse(call, 403, `${call.resource} is forbidden: User "system:serviceaccount:egret:egret" cannot list resource `
			+ `"${call.resource}" in API group "" at the cluster scope`);
	}
	const fault = faultFor(call.resource);
	if (fault?.hang) return undefined;
	if (fault?.garbage) return req.socket.end('this is not HTTP\r\n\r\n');
	if (fault?.lost) call.lost = true;
	if (fault && !fault.lost) {
		const headers = fault.retry_after === undefined ? {} : { 'retry-after': String(fault.retry_after) };
		if (fault.location) headers.location = fault.location;
		return refuse(call, fault.status, fault.message ?? `a fault that was asked for: ${fault.status}`, headers);
	}
	if (path) return take(call, req, path);
	call.selects = selectorOf(call.query);
	if (!call.selects) return refuse(call, 400, 'field label not supported');
	return ['1', 'true'].includes(call.query.get('watch')) ? watched(call) : listed(call);
}

// ---- control ----
const ofResource = (body) => [...watches].filter((watch) => !body.resource || watch.resource === body.resource);
function flood({ pods = 100, updates = 1000, namespace = 'flood' }) {
	for (let i = 0; i < pods; i++) {
		put('pods', { metadata: { name: `f${i}`, uid: `flood-${i}`, namespace, labels: { round: '0' } } });
	}
	for (let i = 0; i < updates; i++) {
		put('pods', { metadata: { name: `f${i % pods}`, uid: `flood-${i % pods}`, namespace, labels: { round: String(i) } } });
	}
}
const control = {
	'POST /_test/pods': (body) => [body].flat().map((object) => put('pods', object).metadata.uid),
	'POST /_test/namespaces': (body) => [body].flat().map((object) => put('namespaces', object).metadata.name),
	'POST /_test/delete': ({ resource, key }) => ({ deleted: remove(resource, key) }),
	'POST /_test/bookmark': (body) => ofResource(body).forEach((watch) => watch.bookmark(body.version)),
	'POST /_test/compact': () => { history.length = 0; oldest = version + 1; version += 1; },
	'POST /_test/expire': (body) => ofResource(body).forEach((watch) => {
		watch.send('ERROR', statusObject(410, 'too old resource version'));
		watch.end();
	}),
	'POST /_test/set-back': ({ to }) => { history.length = 0; version = to; oldest = to; },
	'POST /_test/fail': ({ count = 1, ...fault }) => { faults.push({ ...fault, left: count }); },
	'POST /_test/mend': () => { faults.length = 0; forbidden.clear(); streams = 'on'; },
	'POST /_test/forbid': ({ resource }) => { forbidden.add(resource); },
	'POST /_test/streams': (body) => { streams = body.as; },
	'POST /_test/stall': ({ on = true }) => {
		stalled = on;
		if (!on) for (const watch of watches) watch.res.write(watch.held.splice(0).join('') || '');
	},
	'POST /_test/cut': (body) => ofResource(body).forEach((watch) => {
		if (body.how === 'end') return void watch.end();
		if (body.how === 'mid-line') watch.raw('{"type":"MODIFIED","object":{"kind":"Pod","metadata":{"name":"ha');
		const { socket } = watch.res; // of TLS; a reset is the one below
		watches.delete(watch); // nothing comes behind half a line,
		clearInterval(watch.timers[1]); // no bookmark either
		setTimeout(() => (body.how === 'reset' ? (socket?._parent ?? socket)?.resetAndDestroy() : socket?.destroy()), 20);
	}),
	'POST /_test/raw': (body) => ofResource(body).forEach((watch) => watch.raw(body.text)),
	'POST /_test/flood': flood,
	'POST /_test/forget-events': () => events.forget(),
	'POST /_test/terminate': ({ namespace }) => events.terminate(namespace),
	'POST /_test/forget-requests': () => { requests.length = 0; },
	'GET /_test/requests': () => requests,
	'GET /_test/state': () => ({ version, oldest, pods: [...store.pods.values()], namespaces: [...store.namespaces.values()],
		events: events.all(), watches: [...watches].map((watch) => watch.resource) }),
};
const controller = http.createServer((req, res) => {
	const chunks = [];
	req.on('data', (chunk) => chunks.push(chunk)).on('end', () => {
		const run = control[`${req.method} ${req.url}`];
		if (!run) return res.writeHead(404).end(`one of: ${Object.keys(control).join(', ')}\n`);
		let out;
		try {
			out = run(JSON.parse(Buffer.concat(chunks).toString() || 'null') ?? {});
		} catch (error) {
			return res.writeHead(400).end(`${error.message}\n`);
		}
		return res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(out ?? { version }) + '\n');
	});
});

// ---- begin ----
const pem = fs.readFileSync(opt.cert);
const server = https.createServer({ key: pem, cert: pem, ALPNProtocols: ['http/1.1'], minVersion: 'TLSv1.2' }, serve);
server.keepAliveTimeout = 5000;
server.requestTimeout = 0;
server.headersTimeout = 0;
server.on('tlsClientError', () => {});
server.on('clientError', (error, socket) => socket.destroy());
const listen = (what, text) => new Promise((done) => {
	const [, host, port] = /^\[?([^\]]+)\]?:(\d+)$/.exec(text);
	what.listen(Number(port), host, () => done(what.address().port));
});
const ready = JSON.stringify({ port: await listen(server, opt.listen), control: await listen(controller, opt.control) }) + '\n';
if (opt.ready) {
	fs.writeFileSync(`${opt.ready}.new`, ready);
	fs.renameSync(`${opt.ready}.new`, opt.ready);
}
process.stdout.write(ready);
