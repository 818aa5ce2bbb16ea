// SPDX-License-Identifier: Apache-2.0
// The two readers that h1_and_node.mjs compares. Each gives the messages of an input, one behind the other, as long as the connection
// would go on: { outcome: 'done' | 'part' | 'refused', whole, start, end, method, target, minor, status, fields, trailers, body, keep,
// upgrade, why }. Texts are latin1; fields and trailers are [name, value, ...]; whole: the head was.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const { HTTPParser } = require('node:_http_common');
// By number, of which node:http leaves some out; --expose-internals.
const { allMethods } = require('internal/test/binding').internalBinding('http_parser');
const AT_ONCE_MAX = 8;
const HEAD_MAX = 1 << 20; // ours is the limit that is tested elsewhere

// What Node's own http does when a head is whole: 1, the message has no body; 2, neither, and what follows is another protocol's.
function verdict(kind, m) {
  if (!kind) return m.upgrade && m.method === 'CONNECT' ? 2 : 0; // a server that listens for no upgrade
  if (m.upgrade) return 2;
  return m.status < 200 || kind === 2 || m.status === 304 ? 1 : 0;
}

function blank(start) {
  return { outcome: 'part', whole: false, start, end: start, method: '', target: '', minor: 0, status: 0, fields: [], trailers: [], body: '', keep: false, upgrade: false, why: '' };
}

// Byte by byte, so that it is known where each message ends; or, with `whole`, in one piece (no end is known then). Node's parser is
// strict: no lenient flag is set.
export function nodesReading(kind, bytes, whole = false) {
  const parser = new HTTPParser();
  const found = [];
  let m = blank(0);
  parser.initialize(kind ? HTTPParser.RESPONSE : HTTPParser.REQUEST, {}, HEAD_MAX, HTTPParser.kLenientNone | 0);
  parser[HTTPParser.kOnHeaders | 0] = (fields, url) => {
    (m.whole ? m.trailers : m.fields).push(...fields);
    if (!m.whole) m.target += url;
  };
  parser[HTTPParser.kOnHeadersComplete | 0] = (major, minor, fields, method, url, status, reason, upgrade, keep) => {
    m.whole = true;
    m.fields.push(...(fields ?? []));
    m.target += url ?? '';
    m.method = kind ? '' : allMethods[method] ?? `${method}`;
    Object.assign(m, { version: `${major}.${minor}`, minor, status: status ?? 0, upgrade, keep });
    return verdict(kind, m);
  };
  parser[HTTPParser.kOnBody | 0] = (data) => { m.body += data.latin1Slice(); };
  parser[HTTPParser.kOnMessageComplete | 0] = () => {
    m.outcome = 'done';
    found.push(m);
    m = blank(0);
  };
  const over = () => found.length === AT_ONCE_MAX || (found.length && (!found.at(-1).keep || found.at(-1).upgrade));
  const step = whole ? bytes.length : 1;
  for (let at = 0, known = 0; at < bytes.length && !over(); at += step) {
    const result = parser.execute(bytes.subarray(at, at + step));
    if (found.length > known) {
      known = found.length;
      found.at(-1).end = m.start = at + 1;
    }
    if (result === step || over()) continue;
    // Of a request for an upgrade its binding tells no error, but stops.
    Object.assign(m, { outcome: 'refused', why: result instanceof Error ? result.code : 'untold', end: at });
    found.push(m);
    break;
  }
  if (!over() && found.at(-1)?.outcome !== 'refused' && (m.whole || bytes.length > m.start || !found.length)) {
    const last = m;
    parser.finish(); // the input's end is the connection's: a body that goes on till then is whole
    last.end = bytes.length;
    if (last.outcome === 'part') found.push(last);
  }
  parser.close();
  return found;
}

function ourMessage(row, text, start) {
  const [outcome, whole, end, keep, upgrade, minor, status, method, target, path, fields, body, trailers, reason, wrong] = row;
  const cut = (list) => Array.from({ length: list.length / 2 }, (_, i) => text.slice(list[2 * i], list[2 * i] + list[2 * i + 1]));
  return {
    outcome, whole: !!whole, start, end, keep: !!keep, upgrade: !!upgrade, minor, status, path, reason, wrong,
    method: cut(method).join(''), target: cut(target).join(''), fields: cut(fields), body: cut(body).join(''),
    trailers: Buffer.from(trailers, 'hex').latin1Slice().split('\r\n').slice(0, -1).flatMap((l) => {
      const colon = l.indexOf(':');
      return [l.slice(0, colon), l.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, '')];
    }),
  };
}

// All inputs, by one run of the program tests/net/h1_and_node.c is.
export async function ourReadings(program, inputs) {
  const child = spawn(program, [], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => { child.on('close', (code, signal) => resolve(signal ?? code)); });
  const out = [];
  child.stdin.on('error', () => {}); // it ended: its status says so
  child.stdout.on('data', (data) => out.push(data));
  child.stdin.end(Buffer.concat(inputs.flatMap(({ kind, bytes }) => {
    const header = Buffer.alloc(5);
    header[0] = kind;
    header.writeUInt32LE(bytes.length, 1);
    return [header, bytes];
  })));
  const status = await ended;
  const lines = Buffer.concat(out).toString().split('\n').slice(0, -1);
  if (status !== 0 || lines.length !== inputs.length) throw new Error(`${program} ended with ${status} after ${lines.length} of ${inputs.length} inputs`);
  return lines.map((l, i) => {
    const text = inputs[i].bytes.latin1Slice();
    let start = 0;
    return JSON.parse(l).map((row) => {
      const m = ourMessage(row, text, start);
      start = m.end;
      return m;
    });
  });
}
