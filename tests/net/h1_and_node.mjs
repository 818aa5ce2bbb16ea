// SPDX-License-Identifier: Apache-2.0
// Frames many HTTP/1.1 messages by proto/ and by Node's own parser, and explains every difference or fails.
//   node --expose-internals tests/net/h1_and_node.mjs PROGRAM [SEED [INPUTS]]
// PROGRAM: tests/net/h1_and_node.c. The last line is `N passed, N failed`.
import { readFileSync } from 'node:fs';
import { Random, input } from './h1_and_node_messages.mjs';
import { nodesReading, ourReadings } from './h1_and_node_readers.mjs';
import { classes, differing, explain } from './h1_and_node_classes.mjs';

const [program, seed = '424242', count = '100000'] = process.argv.slice(2);
const AT_ONCE = 20000;
const SHOWN_MAX = 12;
const LIST = new URL('../../docs/internals/h1_and_node.md', import.meta.url);
let passed = 0;
let failed = 0;

function check(text, good, detail = '') {
  console.log(`${good ? 'ok' : 'FAIL'} ${text}${good || !detail ? '' : `\n     ${detail}`}`);
  if (good) passed++;
  else failed++;
}

const escaped = (text) => JSON.stringify(text).replace(/[\x7f-\uffff]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
const brief = (m) => (m ? escaped({ ...m, body: m.body.slice(0, 80) }) : 'nothing');

// The first message of an input that is read differently: { ours, node, aspects, bytes }, or null.
function difference(kind, bytes, ours, node) {
  for (let i = 0; i < Math.max(ours.length, node.length); i++) {
    const aspects = differing(kind, ours[i], node[i]);
    if (aspects.length) return { kind, ours: ours[i], node: node[i], before: node[i - 1], aspects, text: bytes.latin1Slice(ours[i]?.start ?? node[i].start) };
  }
  return null;
}

// Ours judges a head when it is whole, Node at the byte. So the head is ended, and both must agree then, or differ in an explained way.
async function judgeEarly(early, seen) {
  const again = early.map(({ kind, text }) => ({ kind, bytes: Buffer.from(`${text.replace(/\r$/, '')}\r\n\r\n`, 'latin1') }));
  const ours = await ourReadings(program, again);
  again.forEach(({ kind, bytes }, i) => {
    const d = difference(kind, bytes, ours[i], nodesReading(kind, bytes));
    seen(early[i], d && !explain(d) ? undefined : 'early');
  });
}

async function compare(inputs, seen) {
  const ours = await ourReadings(program, inputs);
  const early = [];
  inputs.forEach(({ kind, bytes }, i) => {
    const d = difference(kind, bytes, ours[i], nodesReading(kind, bytes));
    if (!d) seen(null, ours[i]);
    else if (!explain(d) && d.ours?.outcome === 'part' && !d.ours.whole && d.node?.outcome === 'refused') early.push(d);
    else seen(d, explain(d));
  });
  await judgeEarly(early, seen);
}

// The first message as it is, without where it ends and the words of a refusal. Behind that, Node itself sees some things otherwise when
// it gets all at once: after an answer that switches protocols, and after one that ends the connection.
const first = ([{ start, end, why, ...m }]) => (m.outcome === 'refused' && !m.whole ? m.outcome : JSON.stringify(m));

async function main() {
  const random = new Random(Number(seed));
  const counts = Object.fromEntries(Object.keys(classes).map((id) => [id, 0]));
  const agreed = { done: 0, part: 0, refused: 0 };
  let unexplained = 0;
  let messages = 0;
  let nodeCut = '';
  console.log(`seed ${seed}, ${count} inputs, Node ${process.versions.node}, llhttp ${process.versions.llhttp}`);

  for (const [id, { fixtures, some }] of Object.entries(classes)) {
    const found = [];
    await compare(fixtures.map(([kind, text]) => ({ kind, bytes: Buffer.from(text, 'latin1') })), (d, what) => found.push(d ? what : 'no difference'));
    const absent = some && found.every((f) => f === 'no difference' || f === 'early');
    check(`${id}: its fixtures ${absent ? 'differ so in other versions of Node' : 'differ so'}`, found.length > 0 && (absent || found.every((f) => f === id)), found.join(', '));
  }
  for (let left = Number(count); left > 0; left -= AT_ONCE) {
    const inputs = Array.from({ length: Math.min(AT_ONCE, left) }, () => input(random));
    await compare(inputs, (d, what) => {
      if (!d) {
        messages += what.length;
        for (const m of what) agreed[m.outcome]++;
      } else if (what) {
        counts[what]++;
      } else if (unexplained++ < SHOWN_MAX) {
        console.log(`not explained (${['request', 'answer to GET', 'answer to HEAD'][d.kind]}): ${d.aspects.join(', ')}\n     ${escaped(d.text)}\n     ours ${brief(d.ours)}\n     node ${brief(d.node)}`);
      }
    });
    for (const { kind, bytes } of inputs) {
      const [one, all] = [nodesReading(kind, bytes), nodesReading(kind, bytes, true)].map(first);
      if (one !== all) nodeCut ||= `${escaped(bytes.latin1Slice())}\n     bytes ${one}\n     whole ${all}`;
    }
  }
  console.log(`agreed on ${messages} messages: ${agreed.done} whole, ${agreed.part} not whole, ${agreed.refused} refused`);
  for (const [id, n] of Object.entries(counts)) console.log(`${String(n).padStart(7)} ${id}`);
  check('every difference is explained', unexplained === 0, `${unexplained} are not`);
  check('Node reads a message the same whole and byte by byte', nodeCut === '', nodeCut);
  check('both take many, and both refuse many', agreed.done > count / 3 && agreed.refused > count / 20, JSON.stringify(agreed));
  const listed = [...readFileSync(LIST, 'utf8').matchAll(/^\| `([a-z0-9-]+)` \|/gm)].map((m) => m[1]);
  check('the list names each class once, and no other', listed.sort().join() === Object.keys(classes).sort().join(),
    `only listed: ${listed.filter((id) => !(id in classes))}; not listed: ${Object.keys(classes).filter((id) => !listed.includes(id))}`);
}

await main();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
