// SPDX-License-Identifier: Apache-2.0
// In what proto/ and Node's parser may differ, and nothing else: docs/internals/h1_and_node.md has the reasons. A class holds for a
// difference d when its when(d, view) says so: { kind, ours, node, aspects, text }, text from the message's first byte on; and view, the
// message taken apart as plainly as can be, so that a class does not rest on what our parser says alone. Its fixtures, [kind, text],
// must differ in just that way; with `some`, in some versions of Node's parser, and not at all in the others.
import { METHODS } from 'node:http';
import { isIPv6 } from 'node:net';

const same = (a, b) => a.length === b.length && a.every((x, i) => x === b[i]);
const upgraded = (kind, m) => m.upgrade && (kind ? m.status === 101 : m.method !== 'CONNECT');

// In what two readings of one message differ.
export function differing(kind, ours, node) {
  if (!ours || !node) return ['count'];
  if (ours.outcome !== node.outcome) return [`outcome: ${ours.outcome}, ${node.outcome}`];
  if (ours.outcome === 'refused') return [];
  if (ours.whole !== node.whole) return ['whole'];
  if (!ours.whole) return [];
  const out = ['method', 'target', 'minor', 'status', 'body', 'end'].filter((k) => ours[k] !== node[k]);
  if (!same(ours.fields, node.fields)) out.push('fields');
  if (ours.outcome === 'done' && !same(ours.trailers, node.trailers)) out.push('trailers');
  if (ours.keep !== node.keep) out.push('keep');
  if (upgraded(kind, ours) !== upgraded(kind, node)) out.push('upgrade');
  return out;
}

function viewOf(text) {
  const lead = /^[\r\n]*/.exec(text)[0];
  const rest = text.slice(lead.length);
  const end = rest.indexOf('\r\n\r\n');
  const lines = (end < 0 ? rest : rest.slice(0, end)).split('\r\n');
  const fields = lines.slice(1).map((l) => {
    const colon = l.indexOf(':');
    return colon < 0 ? null : { name: l.slice(0, colon).toLowerCase(), raw: l.slice(colon + 1), value: l.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, '') };
  }).filter((f) => f);
  const of = (name) => fields.filter((f) => f.name === name);
  return { lead, start: lines[0], fields, of, lengths: of('content-length'), codings: of('transfer-encoding'), hosts: of('host'), after: end < 0 ? '' : rest.slice(end + 4) };
}

const LABEL = '[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?';
const HOST = new RegExp(`^(?:${LABEL}(?:\\.${LABEL})*\\.?|\\[([^\\]]*)\\])(?::([1-9][0-9]{0,4}))?$`, 'i');
const validHost = (h) => {
  const m = HOST.exec(h);
  return !!m && (m[1] === undefined || isIPv6(m[1])) && !(Number(m[2]) > 65535);
};
const announces = (v) => v.codings.length > 0 || v.lengths.some((l) => !/^0+$/.test(l.value));
const members = (v) => v.of('connection').flatMap((f) => f.value.split(',')).map((m) => m.trim().toLowerCase());
// We refuse, with these words; Node does not.
const stricter = (d, ...wrong) => d.ours?.outcome === 'refused' && !!d.node && d.node.outcome !== 'refused' && wrong.includes(d.ours.wrong);
// Node refuses, with one of these codes; we took the head.
const laxer = (d, ...codes) => d.node?.outcome === 'refused' && !!d.ours?.whole && d.ours.outcome !== 'refused' && codes.includes(d.node.why);
// The line in which Node refused, up to the byte that it did not take; of an empty value that may be the next line's first.
const refusedAt = (d) => {
  const at = d.node.end - d.ours.start;
  const start = d.text.lastIndexOf('\n', at - 1) + 1;
  return d.text.slice(start === at ? d.text.lastIndexOf('\n', at - 2) + 1 : start, at + 1);
};
// The size lines of a chunked body, and what is behind the last of them, as far as they can be made out.
function chunkLines(v) {
  const lines = [];
  for (let rest = v.after; ;) {
    const end = rest.indexOf('\r\n');
    lines.push(end < 0 ? rest : rest.slice(0, end));
    const size = Number.parseInt(/^[0-9a-f]*/i.exec(lines.at(-1))[0], 16);
    if (end < 0 || !size || size > rest.length) return lines;
    rest = rest.slice(end + 2 + size + 2);
  }
}
const TOKEN = "[!#$%&'*+.^_`|~0-9a-z-]+";
const onlyKeep = (d, ours, node) => d.aspects.join() === 'keep' && d.ours.keep === ours && d.node.keep === node;

const LINE_WRONG = 'the request line is not a method, a target and a version, with one space between';
const LF_ALONE = 'a line ends with LF alone; expected CRLF';
// What Node takes for a request line: more than one space, line ends before the target, no target, no version and then LF alone too; and what we do.
const LOOSE_LINE = new RegExp(`^[\\r\\n]*${TOKEN} [ \\r\\n]*[^ \\r\\n]*( +HTTP/\\d\\.\\d\\r\\n|\\r?\\n)`, 'i');
const STRICT_LINE = new RegExp(`^[\\r\\n]*${TOKEN} [^ \\r\\n]+ HTTP/\\d\\.\\d\\r\\n`, 'i');
const STATUS_WRONG = 'the status line has no version and status';
const H = 'Host: a.example\r\n';

export const classes = {
  early: { // by h1_and_node.mjs, which ends the head and compares again
    when: () => false,
    fixtures: [[0, 'GET / HTTP/1.1\r\nX Y'], [1, 'HTTP/1.1 200 OK\r\nX: \x01']],
  },

  // Node refuses what we take.
  methods: {
    when: (d) => (laxer(d, 'HPE_INVALID_METHOD', 'HPE_INVALID_VERSION', 'HPE_INVALID_CONSTANT') && !METHODS.includes(d.ours.method)) ||
      (d.ours?.method === 'PRI' && d.node?.outcome === 'part' && !d.node.whole),
    fixtures: [[0, `FOO / HTTP/1.1\r\n${H}\r\n`], [0, `get / HTTP/1.1\r\n${H}\r\n`], [0, `PRI / HTTP/1.1\r\n${H}\r\n`], [0, 'PRI / HTTP/1.0\r\n\r\n'], [0, `SETUP / HTTP/1.1\r\n${H}\r\n`]],
  },
  targets: { // eg_target_parse() refuses it when the request is judged
    when: (d) => laxer(d, 'HPE_INVALID_URL') && d.ours.path !== 0,
    fixtures: [[0, `GET ?x HTTP/1.1\r\n${H}\r\n`], [0, `GET a.example HTTP/1.1\r\n${H}\r\n`]],
  },
  'trailer-framing': {
    when: (d) => laxer(d, 'HPE_INVALID_CONTENT_LENGTH', 'HPE_INVALID_TRANSFER_ENCODING', 'HPE_UNEXPECTED_CONTENT_LENGTH') &&
      d.node.whole && /^(content-length|transfer-encoding):/i.test(refusedAt(d)),
    fixtures: [[0, `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n`], [0, `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n0\r\nTransfer-Encoding: x\r\n\r\n`]],
  },
  'extension-space': {
    when: (d) => laxer(d, 'HPE_STRICT', 'HPE_INVALID_CHUNK_SIZE') && d.node.whole && new RegExp(`^[0-9a-f]+([ \t]|;[^"]*[ \t]).?$`, 'i').test(refusedAt(d)),
    fixtures: [[0, `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n5;a =b\r\nhello\r\n0\r\n\r\n`], [0, `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n5 ;a=b\r\nhello\r\n0\r\n\r\n`]],
  },
  // Whether the connection goes on.
  'connection-tab': {
    some: true,
    when: (d, v) => d.aspects.every((a) => a === 'keep' || (a === 'upgrade' && d.ours.upgrade)) && v.of('connection').some((f) => f.raw.trimStart().includes('\t')),
    fixtures: [[0, `GET / HTTP/1.1\r\n${H}Connection: close\t\r\n\r\n`], [0, 'GET / HTTP/1.0\r\nConnection: keep-alive\t\r\n\r\n'], [0, `GET / HTTP/1.1\r\n${H}Connection: upgrade\t\r\nUpgrade: x\r\n\r\n`]],
  },
  'proxy-connection': {
    when: (d, v) => d.aspects.every((a) => a === 'keep' || a === 'upgrade') && v.of('proxy-connection').some((f) => /\b(close|keep-alive|upgrade)\b/i.test(f.value)),
    fixtures: [[0, `GET / HTTP/1.1\r\n${H}Proxy-Connection: close\r\n\r\n`], [0, 'GET / HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n'], [0, `GET / HTTP/1.1\r\n${H}Proxy-Connection: upgrade\r\nUpgrade: x\r\n\r\n`]],
  },
  'trailer-connection': {
    when: (d) => d.node?.why === 'HPE_CLOSED_CONNECTION' && !!d.before &&
      d.before.trailers.some((t, i) => i % 2 === 0 && (/^transfer-encoding$/i.test(t) || (/^(proxy-)?connection$/i.test(t) && /\bclose\b/i.test(d.before.trailers[i + 1])))),
    fixtures: [[0, `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n0\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\n${H}\r\n`],
      [1, 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTransfer-Encoding: chun ked\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n']],
  },
  'close-and-keep': {
    when: (d, v) => onlyKeep(d, false, true) && d.ours.minor === 0 && members(v).includes('close') && members(v).includes('keep-alive'),
    fixtures: [[0, 'GET / HTTP/1.0\r\nConnection: close, keep-alive\r\n\r\n']],
  },
  'head-answers': {
    when: (d, v) => onlyKeep(d, true, false) && d.kind === 2 && !v.codings.length && !v.lengths.length,
    fixtures: [[2, 'HTTP/1.1 200 OK\r\n\r\n']],
  },

  // We refuse what Node takes.
  'chunk-range': {
    when: (d, v) => stricter(d, '') && d.ours.reason === 'chunked' && chunkLines(v).some((l) => /^[0-9a-f]{17}|^0*[89a-f][0-9a-f]{15}/i.test(l)),
    fixtures: [[0, `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n8000000000000000\r\nhello`], [0, `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n00000000000000005\r\nhello\r\n0\r\n\r\n`]],
  },
  'extension-length': {
    when: (d, v) => stricter(d, '') && d.ours.reason === 'chunked' && chunkLines(v).some((l) => l.length + 2 > 256),
    fixtures: [[0, `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n5;${'a'.repeat(300)}\r\nhello\r\n0\r\n\r\n`]],
  },
  'extension-empty': {
    when: (d, v) => stricter(d, '') && d.ours.reason === 'chunked' && chunkLines(v).some((l) => /^[0-9a-f]+;(.*;)?(;|=|$|[^;="]*=(;|$))/i.test(l)),
    fixtures: [[0, `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n5;;a\r\nhello\r\n0\r\n\r\n`], [0, `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n5;a=\r\nhello\r\n0\r\n\r\n`]],
  },
  'no-content-answers': {
    when: (d, v) => stricter(d, 'it announces a body where there is none') && d.kind > 0 && /^HTTP\/1\.[01] (1\d\d|204)( |$)/.test(v.start) && announces(v),
    fixtures: [[1, 'HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n'], [1, 'HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n']],
  },
  'coding-in-1-0': {
    when: (d, v) => stricter(d, 'HTTP/1.0 has no Transfer-Encoding') && /^HTTP\/1\.0 |HTTP\/1\.0$/.test(v.start) && v.codings.length > 0,
    fixtures: [[0, 'POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'], [1, 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n']],
  },
  'connect-content': {
    when: (d, v) => stricter(d, 'a CONNECT announces content') && v.start.startsWith('CONNECT ') && announces(v),
    fixtures: [[0, `CONNECT a.example:443 HTTP/1.1\r\n${H}Content-Length: 5\r\n\r\nhello`], [0, `CONNECT a.example:443 HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`]],
  },
  codings: {
    when: (d, v) => stricter(d, 'Transfer-Encoding is not "chunked" once and alone') &&
      (v.codings.length > 1 || (v.codings.length === 1 && (v.codings[0].value.toLowerCase() !== 'chunked' || /\t *$/.test(v.codings[0].raw)))),
    fixtures: [[0, `POST / HTTP/1.1\r\n${H}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`], [1, 'HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n'], [1, 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n']],
  },
  'length-range': {
    when: (d, v) => stricter(d, 'Content-Length is not one decimal number') && v.lengths.length > 0 &&
      v.lengths.every((l) => /^\d+$/.test(l.value)) && v.lengths.some((l) => BigInt(l.value) >= 1n << 63n || l.value.length > 19),
    fixtures: [[0, `POST / HTTP/1.1\r\n${H}Content-Length: 9223372036854775808\r\n\r\n`], [0, `POST / HTTP/1.1\r\n${H}Content-Length: 00000000000000000005\r\n\r\nhello`]],
  },
  'length-tab': {
    some: true,
    when: (d, v) => stricter(d, 'Content-Length is not one decimal number') && v.lengths.length === 1 && /^\d+$/.test(v.lengths[0].value) && /\t *$/.test(v.lengths[0].raw),
    fixtures: [[0, `POST / HTTP/1.1\r\n${H}Content-Length: 5\t\r\n\r\nhello`], [1, 'HTTP/1.1 200 OK\r\nContent-Length: 5 \t \r\n\r\nhello']],
  },
  'host-missing': {
    when: (d, v) => stricter(d, 'a Host is needed') && / HTTP\/1\.1$/.test(v.start) && !v.hosts.length,
    fixtures: [[0, 'GET / HTTP/1.1\r\n\r\n']],
  },
  'host-twice': {
    when: (d, v) => stricter(d, 'Host is there twice') && v.hosts.length > 1,
    fixtures: [[0, `GET / HTTP/1.1\r\n${H}Host: b.example\r\n\r\n`]],
  },
  'host-form': {
    when: (d, v) => stricter(d, 'Host is not a host and a port') && v.hosts.some((h) => !validHost(h.value)),
    fixtures: [[0, 'GET / HTTP/1.1\r\nHost: a.example, b.example\r\n\r\n'], [0, 'GET / HTTP/1.1\r\nHost:\r\n\r\n']],
  },
  versions: {
    when: (d, v) => (stricter(d, STATUS_WRONG) || (stricter(d, '') && d.ours.reason === 'http_version')) && (d.kind ? /^HTTP\/(0\.9|2\.0) / : / HTTP\/(0\.9|2\.0)$/).test(v.start),
    fixtures: [[0, `GET / HTTP/2.0\r\n${H}\r\n`], [0, `GET / HTTP/0.9\r\n${H}\r\n`], [1, 'HTTP/2.0 200 OK\r\n\r\n']],
  },
  'other-protocols': {
    when: (d, v) => stricter(d, 'the start line has no HTTP version', LINE_WRONG, STATUS_WRONG) && (d.kind ? /^(RTSP|ICE)\/1\.[01] / : / (RTSP|ICE)\/1\.[01]$/).test(v.start),
    fixtures: [[0, `OPTIONS / RTSP/1.0\r\n${H}\r\n`], [0, `SOURCE / ICE/1.0\r\n${H}\r\n`], [1, 'ICE/1.0 200 OK\r\n\r\n']],
  },
  'request-line': {
    when: (d) => stricter(d, LINE_WRONG, LF_ALONE) && !d.kind && LOOSE_LINE.test(d.text) && !STRICT_LINE.test(d.text),
    fixtures: [[0, `GET  / HTTP/1.1\r\n${H}\r\n`], [0, `GET /  HTTP/1.1\r\n${H}\r\n`], [0, `GET /\r\n${H}\r\n`], [0, `GET /\n${H}\r\n`], [0, `CONNECT  \r\n${H}\r\n`], [0, `CONNECT \r\n\r\n/ HTTP/1.1\r\n${H}\r\n`]],
  },
  'status-below-100': {
    when: (d, v) => stricter(d, 'the status line is malformed') && d.kind > 0 && /^HTTP\/1\.[01] 0\d\d( |$)/.test(v.start),
    fixtures: [[1, 'HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n']],
  },
  'reason-phrase': {
    when: (d, v) => stricter(d, 'the status line is malformed') && d.kind > 0 && /^HTTP\/1\.[01] [1-9]\d\d( .*)?[\0-\x08\x0b-\x1f\x7f]/s.test(v.start),
    fixtures: [[1, 'HTTP/1.1 200 \x01\r\nContent-Length: 0\r\n\r\n'], [1, 'HTTP/1.1 200 a\0b\r\nContent-Length: 0\r\n\r\n']],
  },
  'reason-end': {
    some: true,
    when: (d) => d.kind > 0 && (stricter(d, LF_ALONE) || (d.ours.outcome === 'part' && !d.ours.whole && d.node?.outcome === 'done')) &&
      /^HTTP\/1\.[01] \d{3}( [^\r\n]*)?\r\r\r\n/.test(d.text),
    fixtures: [[1, 'HTTP/1.1 200 OK\r\r\r\n\n'], [1, 'HTTP/1.1 204 No Content\r\r\r\n']],
  },
  'empty-lines': {
    when: (d, v) => stricter(d, 'it begins with empty lines') && (d.kind ? /^\r\n/ : /^(\r\n){3}/).test(v.lead),
    fixtures: [[0, `\r\n\r\n\r\nGET / HTTP/1.1\r\n${H}\r\n`], [1, '\r\nHTTP/1.1 204 No Content\r\n\r\n']],
  },
  'line-ends-before': {
    when: (d, v) => stricter(d, LF_ALONE, 'the request line does not begin with a method and one space', STATUS_WRONG) &&
      v.lead.replaceAll('\r\n', '') !== '',
    fixtures: [[0, `\nGET / HTTP/1.1\r\n${H}\r\n`], [0, `\rGET / HTTP/1.1\r\n${H}\r\n`], [1, '\rHTTP/1.1 204 No Content\r\n\r\n']],
  },
  'field-count': {
    when: (d, v) => stricter(d, '') && ['header_too_large', 'upstream_protocol'].includes(d.ours.reason) && v.fields.length > 128,
    fixtures: [[0, `GET / HTTP/1.1\r\n${H}${'X: y\r\n'.repeat(128)}\r\n`]],
  },
};

// The class a difference is in, or undefined.
export function explain(d) {
  const view = viewOf(d.text);
  return Object.keys(classes).find((id) => classes[id].when(d, view));
}
