#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Compares what SDK programs saw of the provider itself with what they saw through Egret: each line of the one is a line of the other, equal but
// for what is meant to differ. Prints ok and FAIL lines; the last line is `N passed, N failed`. Usage:
//   same.mjs DIRECT.out EGRET.out [DIFFERS.json] [FROM=TO...]
// DIFFERS.json: [{"names": REGEXP, "why": TEXT, "seen": {PATH: VALUE}}], VALUE "any" for anything that is there, "same" for what the provider
// itself gives. FROM=TO: hosts that stand for another one in what was seen through Egret.
import assert from 'node:assert/strict';
import fs from 'node:fs';

const [directFile, egretFile, ...rest] = process.argv.slice(2);
const differs = rest[0]?.endsWith('.json') ? JSON.parse(fs.readFileSync(rest.shift(), 'utf8')) : [];
const renamed = (text) => rest.reduce((t, pair) => t.replaceAll(...pair.split('=')), text);

function sawOf(text) {
	const out = new Map();
	for (const line of text.split('\n')) {
		const match = /^saw - (.*?) = (.*)$/.exec(line);
		if (!match) continue;
		assert.ok(!out.has(match[1]), `two lines for ${match[1]}`);
		out.set(match[1], JSON.parse(match[2]));
	}
	return out;
}
const at = (value, path) => path.split('.').reduce((v, key) => v?.[key], value);

function compare(name, direct, egret) {
	assert.notEqual(egret, undefined, 'it has no such line');
	const rule = differs.find((r) => new RegExp(r.names).test(name));
	if (!rule) return assert.deepEqual(egret, direct);
	rule.used = true;
	for (const [path, want] of Object.entries(rule.seen)) {
		const got = at(egret, path);
		if (want === 'any') assert.ok(got !== undefined && got !== null, `nothing at ${path}: ${JSON.stringify(egret)}`);
		else assert.deepEqual(got, want === 'same' ? at(direct, path) : want, `${path} of ${JSON.stringify(egret)}`);
	}
	return undefined;
}

let passed = 0;
let failed = 0;
function check(name, body) {
	try {
		body();
		passed++;
		console.log(`ok   - ${name}`);
	} catch (e) {
		failed++;
		console.log(`FAIL - ${name}`);
		console.log(e.message.slice(0, 3000).replace(/^/gm, '       '));
	}
}
const direct = sawOf(fs.readFileSync(directFile, 'utf8'));
const egret = sawOf(renamed(fs.readFileSync(egretFile, 'utf8')));
for (const [name, seen] of direct) check(`${name}: through Egret`, () => compare(name, seen, egret.get(name)));
check('nothing else was seen', () => assert.deepEqual([...egret.keys()].filter((name) => !direct.has(name)), []));
for (const rule of differs) check(`something differs as meant: ${rule.why}`, () => assert.ok(rule.used));
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed || !passed ? 1 : 0);
