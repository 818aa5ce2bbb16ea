// SPDX-License-Identifier: Apache-2.0
// How Node's HTTP parser (llhttp, not lenient) frames messages: the reader test_node_framing.c compares with.
//   node tests/unit/proto/node_framing.mjs FILE
// FILE: for each message a type byte (0 request, 1 answer to GET), its length (32 bits, little endian), its bytes.
// Writes a line for each: "E code offset", "I head?" (not complete), or "C end length hash keep-alive upgrade".
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const { HTTPParser } = createRequire(import.meta.url)('node:_http_common');
const file = readFileSync(process.argv[2]);
const out = [];

function frame(bytes, type) {
  const parser = new HTTPParser();
  let head = false;
  let complete = false;
  let keepAlive = false;
  let upgrade = false;
  let length = 0;
  let hash = 0x811c9dc5;
  parser.initialize(type, {}, 0, 0); // no size limit of its own, no lenient flag
  parser[HTTPParser.kOnHeadersComplete | 0] = (...args) => {
    head = true;
    upgrade = args[7];
    keepAlive = args[8];
    return 0;
  };
  parser[HTTPParser.kOnHeaders | 0] = () => {};
  parser[HTTPParser.kOnBody | 0] = (chunk) => {
    length += chunk.length;
    for (const byte of chunk) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  };
  parser[HTTPParser.kOnMessageComplete | 0] = () => { complete = true; };
  let at = 0;
  for (; at < bytes.length && !complete; at++) { // byte by byte, so that the end is known
    const result = parser.execute(bytes.subarray(at, at + 1));
    if (result instanceof Error) return `E ${result.code} ${at}`;
    if (upgrade) return `C ${at + 1} 0 ${hash} ${keepAlive ? 1 : 0} 1`;
  }
  if (!complete) return `I ${head ? 1 : 0} ${length} ${hash}`;
  return `C ${at} ${length} ${hash} ${keepAlive ? 1 : 0} ${upgrade ? 1 : 0}`;
}

for (let at = 0; at < file.length;) {
  const n = file.readUInt32LE(at + 1);
  out.push(frame(file.subarray(at + 5, at + 5 + n), file[at] ? HTTPParser.RESPONSE : HTTPParser.REQUEST));
  at += 5 + n;
}
process.stdout.write(`${out.join('\n')}\n`);
