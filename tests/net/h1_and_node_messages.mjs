// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 messages to be read by two parsers: put together from what senders write, what attackers write and what is just wrong,
// several to an input, then some of them mutated. The same seed makes the same inputs.

export class Random {
  constructor(seed) { this.state = seed >>> 0; }
  next() { // mulberry32
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }
  below(n) { return this.next() % n; }
  one(list) { return list[this.below(list.length)]; }
  chance(percent) { return this.below(100) < percent; }
  // Mostly the first list, else the second.
  mostly(percent, usual, strange) { return this.one(this.chance(percent) ? usual : strange); }
}

const methods = ['GET', 'POST', 'PUT', 'HEAD', 'DELETE', 'OPTIONS', 'PATCH', 'CONNECT'];
const oddMethods = ['get', 'FOO', 'M-SEARCH', 'PRI', 'QUERY', 'TRACE', 'SOURCE', 'GETX', 'GE', 'G@T', '', ' GET', 'POST\t', 'SETUP', 'a'];
const targets = ['/', '/v1/chat/completions', '/v1/models?x=1', '/v1/files/a%20b', 'http://a.example/v1'];
const oddTargets = ['*', 'a.example:443', 'a.example', '/a b', '/\xff', '?x', 'x', '//', '/..', 'https://u@a.example/', '/a#b', '', '/\x01', '/a\tb',
  '/[', '/{"a"}', '/a|b^`', '/a\\b', 'http:/a', 'http://', 'ftp://a.example/', '1://a', '/?a#b?c#d', 'http://[::1]/', '/%', 'h@a:1', 'a:99999', ':80'];
const versions = ['HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0'];
const oddVersions = ['HTTP/0.9', 'HTTP/2.0', 'HTTP/1.2', 'HTTP/1.9', 'HTTP/3.0', 'http/1.1', 'HTTP/1.1 ', 'HTTP/01.1', 'HTTP/1.10', 'HTTP/1', 'HTTP/1,1', 'ICE/1.0', 'RTSP/1.0', '',
  ' HTTP/1.1', 'HTTP /1.1', 'HTTP/1.1\t'];
const oddEnds = ['\n', '\r', '\r\r\n', '\n\r\n', '\r\n ', ' \r\n', '\t\r\n', '\r\n\t', '\0\r\n'];
const oddColons = [' : ', '\t: ', ' ', ':\x0b', ':\r\n ', ':\r\n\t', '::', ':\0', '=', ':\xa0'];
const hosts = ['a.example', 'a.example:8080', 'b.example', '127.0.0.1', '[::1]:80'];
const oddHosts = ['', 'a.example,b.example', 'a.example:', 'a example', 'a.example/b', 'u@a.example', 'a.example:0', 'a.example:99999', '[::1', 'a.example.', '-a', '\xe4.example', '"a"', 'a.example\t',
  'a..b'];
const oddLengths = ['', '+5', '-5', '0x5', '5, 5', '5,5', '5,6', '05', '005', '5 5', '5\t', '5 \t', '\t5', '5.0', '5e0', '"5"', '5;', ',5', '5,', '٥', '18446744073709551615',
  '18446744073709551616', '9223372036854775807', '9223372036854775808', '99999999999999999999999', '0000000000000000005', '00000000000000000005', '5\x0b', '\xa05', '4294967301', '5\0', '5\x7f'];
const oddCodings = ['', 'identity', 'gzip', 'gzip, chunked', 'chunked, gzip', 'chunked,', ',chunked', 'chunked, chunked', 'chunked\t', 'chunked \t', '\tchunked', '\t chunked', 'CHUNKED', 'Chunked ', 'xchunked',
  'chunkedx', 'chunked;q=1', '"chunked"', 'chunked\x0b', '\x0bchunked', 'chun ked', 'chunked chunked', 'gzip,chunked', 'gzip\t,\tchunked', 'chunked\0', 'deflate', 'chunked,identity', 'chunke', "chunked'",
  'gzip chunked', ' chunked'];
const connections = ['close', 'keep-alive', 'Close', 'Keep-Alive', 'upgrade', 'Upgrade'];
const oddConnections = ['close, x', 'x, close', 'keep-alive, close', 'close, keep-alive', 'close,', ',close', 'closed', 'keep-alives', 'close\t', '\tclose', 'close ,x', 'x\tclose', 'close x', 'x close', 'upgrade, close',
  'keep-alive, upgrade', 'upgrade, keep-alive', 'upgrade\t', 'upgraded', '', ',', 'content-length', 'transfer-encoding', 'close;x', '"close"', 'close\x0b', 'keep-alive\t', 'keep-alive x', 'c', 'te, close',
  'close\t,x', 'x,\tclose', 'x ,close', 'close,close', 'keep-alive,keep-alive', 'upgrade,upgrade'];
const upgrades = ['websocket', 'h2c', '', '\t', 'websocket, x', ' ', 'x/1'];
const names = ['X', 'Accept', 'content-type', 'X-Y_Z', 'Trailer', 'TE', 'Cookie', 'Proxy-Connection', 'Keep-Alive'];
const oddNames = ['', 'X Y', 'X(', '\xe4', 'X\0', 'X\t', 'X\x7f', '"X"', 'Content_Length', 'Content-Lengt', 'Content-Lengthx', 'Transfer-Encodin', 'Transfer-Encodingx', 'Transfer_Encoding', 'Connectio', 'Connectionx', 'Upgrad',
  'Upgradex', '@', 'X/Y', 'X,Y', 'X;Y', '!#$%&\'*+-.^`|~', 'Proxy-Connection', 'ProxyConnection'];
const values = ['y', '*/*', 'a, b', '', ' y ', '  two words  ', 'text/plain; charset="x"'];
const oddValues = ['\xff\x80', '\x01', '\0', '\x7f', 'a\tb', '\t', 'a\rb', 'a\nb', 'a\x0bb', '\x1f', 'y\t ', '"', ':', 'x\r\n y', 'x\r\n\ty', 'x\x0c'];
const statuses = ['200 OK', '200 OK', '404 Not Found', '429 Too Many Requests', '500 Internal Server Error', '204 No Content', '304 Not Modified', '100 Continue', '101 Switching Protocols', '103 Early Hints'];
const oddStatuses = ['200', '200 ', '099 X', '000 X', '20 X', '2000 X', '20x X', ' 200 X', '200  X', '200\tX', '999 X', '600 X', '-20 X', '+20 X', '200 \xff', '200 \x01', '200 a\tb', '1 X', '', '200OK', '199 X', '205 Reset', '299 ',
  '200 a\0b', '150', '200 \x7f', '304', '204 '];

// A field's line; `strange` percent of them are.
function line(r, name, value, strange) {
  const odd = r.chance(strange);
  return name + (odd && r.chance(50) ? r.one(oddColons) : r.mostly(90, [': '], [':', ':  ', ':\t', ': \t'])) + value +
    (odd && r.chance(50) ? r.one(oddEnds) : r.mostly(92, ['\r\n'], [' \r\n', '\t\r\n', ' \t \r\n']));
}

function caseOf(r, name) { return r.mostly(80, [name], [name.toLowerCase(), name.toUpperCase()]); }

function chunkSize(r, n) {
  const hex = n.toString(16);
  return r.mostly(80, [hex, hex.toUpperCase(), `${hex};a=b`], [`0${hex}`, `000${hex}`, `0000000000000000${hex}`, `00000000000000000${hex}`, `${hex};a`, `${hex};a="b c"`, `${hex} ;a=b`, `${hex};`, `${hex} `, `${hex}\t`, `+${hex}`,
    `0x${hex}`, `${hex};a=`, `${hex};=b`, `${hex}; a=b`, `${hex};a =b`, `${hex};a= b`, `${hex};a="b`, `${hex};a="\\""`, `${hex};;a`, `${hex};a=b;c=d`, `${hex};a="b"c`, `${hex};\x01`, `${hex};a="\x01"`, `${hex};a="\xff"`, `${hex},5`, `-${hex}`,
    ` ${hex}`, '', ';a=b', `${hex};a\xff`, `${hex};a="b";c`, `${hex}g`, `${hex};a=b\t`, `${hex};a=b `, 'ffffffffffffffff', '7fffffffffffffff', '8000000000000000', '10000000000000000', `${hex}\n;`, `${hex};a=(`, `${hex};a="\\\x01"`,
    `${hex};${'a'.repeat(300)}`]);
}

function chunks(r, strange) {
  let text = '';
  for (let i = r.below(4); i > 0; i--) {
    const n = 1 + r.below(r.chance(90) ? 12 : 300);
    const data = Array.from({ length: n }, () => r.one(['a', 'b', '0', '\r', '\n', ' ', '\xff', ';'])).join('');
    text += (r.chance(strange) ? chunkSize(r, n) : n.toString(16)) + (r.chance(strange / 4) ? r.one(oddEnds) : '\r\n') + data + (r.chance(strange / 4) ? r.one(['\n', '', '\r', 'x\r\n', ...oddEnds]) : '\r\n');
  }
  text += (r.chance(strange) ? r.one(['00', '0;a=b', '000', '0 ', '0;', '0x0', '', '0\t', '0000000000000000', '0;a="x"']) : '0') + (r.chance(strange / 4) ? r.one(oddEnds) : '\r\n');
  for (let i = r.chance(30) ? 1 + r.below(2) : 0; i > 0; i--)
    text += r.chance(strange) ? someField(r, 30) : 'X-Sum: abc\r\n';
  return text + (r.chance(strange / 4) ? r.one(oddEnds) : '\r\n');
}

function someField(r, strange) {
  switch (r.below(12)) {
    case 0: return line(r, caseOf(r, 'Content-Length'), r.mostly(60, ['0', '5', '3'], oddLengths), strange);
    case 1: return line(r, caseOf(r, 'Transfer-Encoding'), r.mostly(40, ['chunked'], oddCodings), strange);
    case 2: case 3: return line(r, caseOf(r, r.mostly(85, ['Connection'], ['Proxy-Connection'])), r.mostly(50, connections, oddConnections), strange);
    case 4: return line(r, caseOf(r, 'Upgrade'), r.one(upgrades), strange);
    case 5: return line(r, 'Host', r.mostly(60, hosts, oddHosts), strange);
    case 6: return line(r, 'Expect', r.one(['100-continue', 'x', '']), strange);
    case 7: return r.one(['folded\r\n', ' folded\r\n', '\tfolded\r\n', 'NoColon\r\n', ':\r\n', ': x\r\n', '\r', '\n', ' \r\n']);
    case 8: return line(r, r.one(oddNames), r.one(values), strange);
    case 9: return line(r, r.one(names), r.one(oddValues), strange);
    default: return line(r, r.one(names), r.one(values), strange);
  }
}

// One message. kind 0: a request; else an answer.
function message(r, kind, strange) {
  const odd = (percent) => r.chance(percent * strange / 100);
  let start = kind ? `${odd(8) ? r.one(oddVersions) : r.one(versions)} ${odd(25) ? r.one(oddStatuses) : r.one(statuses)}`
    : `${odd(8) ? r.one(oddMethods) : r.one(methods)} ${odd(15) ? r.one(oddTargets) : r.one(targets)} ${odd(8) ? r.one(oddVersions) : r.one(versions)}`;
  if (odd(4)) start = start.replace(' ', r.one(['  ', '\t', '', '\r\n', ' \t']));
  if (odd(5)) start = r.one(['\r\n', '\r\n\r\n', '\r\n\r\n\r\n', '\n', '\r', ' ', '\r\n\n', '\0', '\r\r\n']) + start;
  start += odd(4) ? r.one(oddEnds) : '\r\n';
  const fields = [];
  let body = '';
  if (!kind && !odd(8)) fields.push(line(r, caseOf(r, 'Host'), odd(10) ? r.one(oddHosts) : r.one(hosts), odd(10) ? 50 : 0));
  for (let i = r.below(4); i > 0; i--) fields.push(odd(40) ? someField(r, 15) : line(r, r.one(names), r.one(values), 0));
  if (r.chance(15)) fields.push(line(r, 'Connection', odd(50) ? r.one(oddConnections) : r.one(connections), 0));
  switch (r.below(4)) {
    case 0: break;
    case 1: {
      const n = r.below(r.chance(95) ? 12 : 400);
      body = Array.from({ length: n }, () => r.one(['a', '{', '}', '"', '\r', '\n', '\0', '\xff'])).join('');
      fields.push(line(r, caseOf(r, 'Content-Length'), odd(15) ? r.one(oddLengths) : odd(4) ? `${n + 1}` : `${n}`, odd(6) ? 50 : 0));
      break;
    }
    default:
      body = chunks(r, odd(60) ? 25 : 0);
      fields.push(line(r, caseOf(r, 'Transfer-Encoding'), odd(10) ? r.one(oddCodings) : 'chunked', odd(6) ? 50 : 0));
      break;
  }
  if (odd(6)) fields.push(r.one(fields) ?? '');
  fields.sort(() => r.below(3) - 1);
  if (r.below(2000) === 0) fields.push(...Array.from({ length: 120 + r.below(20) }, (_, i) => `X-${i}: y\r\n`));
  return start + fields.join('') + (odd(3) ? r.one([...oddEnds, '']) : '\r\n') + body;
}

const bytes = '\r\n\t :;,="0159afxX+-\0\x7f\x80';
const pieces = ['Content-Length: 3\r\n', 'Content-Length: 0\r\n', 'content-length: 003\r\n', 'Transfer-Encoding: chunked\r\n', 'transfer-ENCODING: ChUnKeD\r\n', 'Transfer-Encoding:\r\n chunked\r\n', 'Host: b.example\r\n', 'Connection: close\r\n',
  'Connection: keep-alive, x\r\n', ' folded\r\n', 'NoColon\r\n', '\r\n', '\n', '\r', '\r\r\n', ' ', '\t', '\0', '\x7f', '\xff', '0', '1', 'a', ':', ';', ';x="y"', ',', 'HTTP/1.1', 'HTTP/1.0', 'HTTP/2.0', 'Upgrade: x\r\n',
  'Connection: upgrade\r\n', '\r\n\r\n', '0\r\n\r\n', 'GET / HTTP/1.1\r\n'];

function mutate(r, text) {
  const at = r.below(text.length || 1);
  const start = text.lastIndexOf('\n', at - 1) + 1;
  const end = text.indexOf('\n', at) + 1 || text.length;
  switch (r.below(9)) {
    case 0: return text.slice(0, at) + String.fromCharCode(text.charCodeAt(at) ^ (1 << r.below(8)) || 0) + text.slice(at + 1);
    case 1: return text.slice(0, at) + r.one(bytes) + text.slice(at + 1);
    case 2: return text.slice(0, at) + text.slice(at + 1 + r.below(3));
    case 3: return text.slice(0, at) + r.one(bytes) + text.slice(at);
    case 4: return text.slice(0, start) + r.one(pieces) + text.slice(start);
    case 5: return text.slice(0, at) + r.one(pieces) + text.slice(at);
    case 6: return text.slice(0, end) + text.slice(start); // a line twice
    case 7: return text.slice(0, start) + text.slice(end);
    default: return r.chance(25) ? text.slice(0, at + 1) : text;
  }
}

// One input: { kind, bytes }. kind 0: requests; 1, 2: answers to GET, HEAD.
export function input(r) {
  const kind = r.chance(60) ? 0 : r.chance(85) ? 1 : 2;
  const strange = r.one([0, 20, 50, 100]);
  let text = '';
  for (let i = 1 + r.below(3); i > 0; i--) text += message(r, kind, strange);
  if (strange < 50 && r.chance(80)) for (let i = 1 + r.below(2); i > 0; i--) text = mutate(r, text);
  return { kind, bytes: Buffer.from(text, 'latin1') };
}
