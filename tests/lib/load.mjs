// SPDX-License-Identifier: Apache-2.0
// A bounded load of chat completions over keep-alive connections, as an application makes it.
//
//   node load.mjs --url URL --requests N --connections C [--retries R] [--rate PER_SECOND] [--seconds S]
//                 [--model M] [--stream] [--until FILE]
//
// Prints one JSON object: {"ok", "failed", "retried", "statuses": {...}, "errors": {...}, "connections", "bad_bodies"}.
// `failed` counts requests that had no good answer after all retries; `errors` every attempt that failed, by kind.
// --retries behaves like the SDKs: connection errors, 408, 409, 429 and 5xx are tried again after 0.5 s, 1 s, ...
// --until FILE: stops starting requests when the file exists (and N is only the most).
import https from 'node:https';
import http from 'node:http';
import fs from 'node:fs';
import { parseArgs } from 'node:util';

const { values: o } = parseArgs({ options: {
  url: { type: 'string' }, requests: { type: 'string', default: '100' }, connections: { type: 'string', default: '8' },
  retries: { type: 'string', default: '0' }, rate: { type: 'string', default: '0' }, seconds: { type: 'string', default: '300' },
  model: { type: 'string', default: 'gpt-4o' }, stream: { type: 'boolean', default: false }, until: { type: 'string' } } });
const url = new URL(o.url);
const lib = url.protocol === 'https:' ? https : http;
const connections = Number(o.connections);
const agent = new lib.Agent({ keepAlive: true, maxSockets: connections, maxFreeSockets: connections });
const deadline = Date.now() + Number(o.seconds) * 1000;
const result = { ok: 0, failed: 0, retried: 0, statuses: {}, errors: {}, connections: 0, bad_bodies: 0, first_failure: null };
const sockets = new WeakSet();
const count = (table, key) => { table[key] = (table[key] ?? 0) + 1; };

function attempt(n) {
  const text = `request ${n}`;
  const body = JSON.stringify({ model: o.model, stream: o.stream, messages: [{ role: 'user', content: text }] });
  return new Promise((resolve) => {
    const request = lib.request(url, { method: 'POST', agent, timeout: 60000, headers: {
      authorization: 'Bearer placeholder', 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) } });
    request.on('socket', (s) => { if (!sockets.has(s)) { sockets.add(s); result.connections++; } });
    request.on('timeout', () => request.destroy(Object.assign(new Error('timeout'), { code: 'TIMEOUT' })));
    request.on('error', (e) => resolve({ error: e.code ?? e.message }));
    request.on('response', (response) => {
      const chunks = [];
      response.on('data', (c) => chunks.push(c));
      response.on('error', (e) => resolve({ error: e.code ?? e.message }));
      response.on('aborted', () => resolve({ error: 'CUT' }));
      response.on('end', () => {
        const answer = Buffer.concat(chunks).toString();
        const good = o.stream ? answer.includes('data: [DONE]') : answer.includes(text);
        resolve({ status: response.statusCode, good, answer, reason: response.headers['x-egret-reason'] });
      });
    });
    request.end(body);
  });
}

async function one(n) {
  for (let i = 0; ; i++) {
    const a = await attempt(n);
    if (a.error) count(result.errors, a.error);
    else count(result.statuses, a.status);
    if (a.status === 200 && a.good) { result.ok++; return; }
    if (a.status === 200) result.bad_bodies++;
    const again = a.error || [408, 409, 429].includes(a.status) || a.status >= 500;
    if (!again || i >= Number(o.retries)) {
      result.failed++;
      result.first_failure ??= { n, ...a, answer: a.answer?.slice(0, 400) };
      return;
    }
    result.retried++;
    await new Promise((r) => setTimeout(r, Math.min(8000, 500 * 2 ** i)));
  }
}

let next = 0;
const begun = Date.now();
async function worker() {
  for (;;) {
    if (next >= Number(o.requests) || Date.now() > deadline || (o.until && fs.existsSync(o.until))) return;
    const n = next++;
    if (Number(o.rate)) {
      const wait = begun + n * 1000 / Number(o.rate) - Date.now();
      if (wait > 0) await new Promise((r) => setTimeout(r, wait));
    }
    await one(n);
  }
}
await Promise.all(Array.from({ length: connections }, worker));
agent.destroy();
result.started = next;
console.log(JSON.stringify(result));
