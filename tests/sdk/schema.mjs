// SPDX-License-Identifier: Apache-2.0
// policies/schema.json against the parser: many small changes to policies that use every key, each judged by a JSON Schema
// validator and by the parser (tests/lib/policy_judge.c). They may differ only in what JSON Schema can't say, which docs/policy.md names.
// usage: schema.mjs POLICY_JUDGE; prints what differs and, last, one JSON line of counts.
import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import Ajv from 'ajv/dist/2020.js';

const root = new URL('../../', import.meta.url).pathname;
const judge = process.argv[2];
const schema = JSON.parse(readFileSync(`${root}policies/schema.json`, 'utf8'));
const docs = readFileSync(`${root}docs/policy.md`, 'utf8');
const validate = new Ajv.default({ strict: true, strictRequired: false, allErrors: false }).compile(schema);

// What JSON Schema can't say: the parser's words, and those of docs/policy.md. Each must occur, or it is no exception.
const INEXPRESSIBLE = [
	[/^(credential|provider) ".*" is not defined/, 'a reference to a name that is nowhere'],
	[/^(another route of this policy is named|policy ".*" is defined in)/, 'a name of a policy or route that is there twice'],
	[/^region ".*" is in the list twice/, 'two texts for one region'],
	[/^says .*, but .* is in /, 'a region that contradicts the host'],
	[/has bits set after its prefix/, "a network's own address"],
	[/is loopback, link-local or multicast|is IPv4 written as IPv6/, 'IPv6 networks that are loopback or hold IPv4'],
	[/is a destination already/, 'a network that is there twice'],
	[/^connect_ms .* is more than total_ms/, 'one timeout that is longer than another'],
	[/^uses the file of credential/, 'one file with two owners'],
	[/^has (a part of )?\d+ bytes; expected at most/, 'lengths in bytes'],
];

const full = {
	$schema: '../schema.json', version: 'egret/v1',
	providers: {
		eu: { kind: 'openai', endpoint: 'https://eu.api.openai.com/v1', region: 'EU', credential: 'k', models: { 'gpt-4o': 'gpt-4o-eu' }, ca_file: 'ca/eu.pem', allow_private: false, http2: false, fronts: ['cdn.example.net', '*.edge.example'] },
		own: { kind: 'openai', endpoint: 'http://vllm.models.svc:8000/v1', region: 'cluster' },
		lab: { kind: 'anthropic', endpoint: 'http://10.1.2.3:8000', allow_private: true, http2: true },
		claude: { kind: 'anthropic', endpoint: 'https://api.anthropic.com', credential: 'h' },
	},
	credentials: {
		k: { type: 'bearer', file: 'k', namespace: 'shop' }, h: { type: 'header', file: 'h/key', header: 'x-api-key' }, n: { type: 'none' },
		k2: { type: 'bearer', file: 'k2' },
	},
	policies: [
		{
			name: 'p', mode: 'shadow', shadow: 'full', pods: { namespaces: ['shop', 'b-2'], namespaceLabels: { team: 'b.c' }, labels: { 'app.example.org/name': 'a_b' }, serviceAccounts: ['default', 'a.b'] },
			regions: { allow: ['EU', 'cluster', 'EU:DE'] },
			routes: [
				{
					name: 'r', match: { hosts: ['api.openai.com', '*.example.org'], models: ['gpt-*', 'o?'], operations: ['files', 'models'] },
					targets: [{ provider: 'eu' }, { provider: 'own' }], timeouts: { connect_ms: 1, first_byte_ms: 2, total_ms: 3, idle_ms: 4 },
					replay: 'never', max_body_bytes: 1,
				},
				{ name: 'r2', match: {}, targets: [{ provider: 'claude' }] },
			],
			otherwise: 'pass', fail: 'open', capture: 'strict', timeouts: { connect_ms: 5, total_ms: 6 },
		},
		{ name: 'p2', pods: {}, routes: [] },
	],
	destinations: [{ cidr: '203.0.113.0/24', why: 'é', hosts: ['a.example.net'] }, { cidr: '2001:db8::/32' }],
	defaults: { timeouts: { idle_ms: 86400000 }, fail: 'closed' },
};

const x = n => 'x'.repeat(n);
const ANY = ['', 'a', 'UPPER CASE', 'a b', '..', '.', '/a', 'a/../b', '-a', 'a-', '_a', 'a.', '*', 'é', 'a\u0000', '\u001b[2K', 'a\nb', 'a\u007f', x(63), x(64), x(65), x(253),
	x(254), x(256), x(257), x(512), x(513), x(1025), 'é'.repeat(130), 'EU', 'default'];
const HOSTS = ['api.openai.com', 'API.openai.com', 'vllm', '*.com', '*.example.org', '*.*.org', 'a.*.org', '*a.example.org', 'a..b', '.a.b', 'a.b.', 'a-.b', '-a.b', '_a.b_', '10.0.0.1',
	'a.1', 'a.0x7f', 'a.0x', 'a.0xg', 'a.b1', '1.a', 'https://a.b', 'a.b:443', 'a.b/c', `${x(63)}.b`, `${x(64)}.b`, `${(x(63) + '.').repeat(3)}${x(61)}`, `${(x(63) + '.').repeat(3)}${x(62)}`,
	`*.${(x(63) + '.').repeat(3)}${x(61)}`, 'a.b\n', `${'a.'.repeat(30)}b`, `*.${'a.'.repeat(14)}b`, `*.${'a.'.repeat(15)}b`];
const ENDPOINTS = [...HOSTS.map(h => `https://${h}`), ...HOSTS.map(h => `http://${h}/v1`), 'ftp://a.b', 'HTTPS://a.b', 'https:///v1', 'https://', 'https://a.b:0', 'https://a.b:1',
	'https://a.b:65535', 'https://a.b:65536', 'https://a.b:', 'https://a.b:x', 'https://a.b:00443/', 'https://a.b/', 'https://a.b//v1', 'https://a.b/.', 'https://a.b/../v1', 'https://a.b/a.b/c~_-',
	'https://a.b/v1/', 'https://a.b/a%2fb', 'https://a.b/v1?k=1', 'https://a.b/v1#f', 'https://u@a.b', 'https://[::1]/v1', 'https://10.0.0.1', 'http://10.0.0.1', 'http://010.0.0.1',
	'http://256.0.0.1', 'http://1.2.3', 'http://1.2.3.4.5', 'http://127.0.0.1', 'http://0.0.0.0', 'http://169.254.169.254', 'https://localhost', 'https://a.localhost:1', 'https://localhost.a',
	'http://localhost:80/', 'https://us.api.openai.com/v1', `https://a.b/${x(490)}`, 'https://a b', 'https://a.b/é'];
const CIDRS = ['203.0.113.0/24', '203.0.113.1/24', '10.0.0.0', '10.0.0.0/', '10.0.0.0/7', '10.0.0.0/8', '0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '169.254.169.254/32', '169.253.0.0/16', '169.0.0.0/8', '223.0.0.0/8', '224.0.0.0/8', '240.0.0.0/8', '255.0.0.0/8',
	'23.0.0.0/8', '1.2.3.0/024', '1.2.3.0/32', '1.2.3.0/33', '01.2.3.0/24', '256.2.3.0/24', '1.2.3/24', '1.2.3.0/-1', '1.2.3.0/24 ', '1.2.3.4/32', '2001:db8::/32', '2001:DB8::/32',
	'2001:db8::1/32', '2001:db8::/15', '2001::/16', '2001:db8::/129', '2001:db8::/128', '2001:db8::/032', 'fe80::/16', 'fec0::/16', 'ff02::/16', 'FF02::/16', '::/64', '::1/128', '1::/16',
	'1::2::3/64', '1:2:3:4:5:6:7:8/128', '1:2:3:4:5:6:7:8:9/128', '1:2:3:4:5:6:7/128', '::ffff:1.2.3.0/120', '64:ff9b::1.2.3.0/120', '64:ff9b:0:0:0:0:1.2.3.0/120', 'g::/64', ':::/64', '12345::/64',
	'1:2:3:4:5:6:7::/112', '::2:3:4:5:6:7:8/128', '1:2:3:4:5:6:7:1.2.3.4/128'];
const BY_KEY = {
	endpoint: ENDPOINTS, hosts: HOSTS, cidr: CIDRS,
	region: ['EU', 'DE', 'EU:DE', 'GB', 'GLOBAL', 'global', 'cluster', 'eu-central-1', 'europe-west4', 'swedencentral', 'Europe', 'eu:de', 'EU:UK', 'moon'],
	allow: ['DE', 'EU:DE', 'GB', 'UK', 'GLOBAL', 'global', 'us', 'Europe', 'europe-west4', 'us-east-1', 'moon'],
	operations: ['models', 'chat', 'chat.completions', 'messages', 'organization', 'realtime.client_secrets', 'api_keys', 'unknown', 'Files', 'responses.stored'],
	models: ['gpt-4o', 'gpt[4]', 'a**b', '*a*a*a*a*a*a*a*a', '*a*a*a*a*a*a*a*a*', '?', '{a}', 'a"b', 'a\\b', 'ft:gpt-4o:acme::x1', '*'],
	header: ['x-api-key', 'X-Api-Key', 'Host', 'HOST', 'content-length', 'Hosts', 'x:y', 'x_y', 'Set-Cookie', 'authorization'],
	type: ['bearer', 'header', 'none', 'aws'], kind: ['openai', 'anthropic', 'azure'], mode: ['enforce', 'shadow', 'audit'], shadow: ['sni', 'full'],
	file: ['k2', 'a/b', 'a//b', 'a/', '/a', './a', '...', 'a/..', 'a/.b', `${x(255)}`, `${x(256)}`, `${x(127)}/${x(128)}`],
	namespaces: ['shop', 'b-2', '123', 'a.b', 'a_b', 'a*', 'kube-system'], namespace: ['shop', '123', 'a.b', 'A'], serviceAccounts: ['a.b', 'a..b', '1', 'A', 'a_b', '-a', 'default'],
	name: ['p2', 'r2', 'a.b', 'A-b_c', '9', '.a', '-a', 'a/b', 'p'], provider: ['eu', 'own', 'nowhere', 'a.b', 'a b'], credential: ['h', 'n', 'nowhere', 'a b'],
	namespaceLabels: ['a', 'A_b-', '_a'], labels: ['a', 'a_b', 'a-', '.a', 'a b', 'A.9'],
};
BY_KEY.ca_file = BY_KEY.file;
const KEYS = ['', 'a', 'a b', 'a.b', '-a', x(63), x(64), x(256), x(257), 'a*', 'a\u0000b', 'app/name', '/a', 'A.B/c', 'a.example.org/n', `${x(253)}/a`, `${x(254)}/a`, 'a/b/c', 'a/_b', 'zzz', 'limits', 'é'];
const VALUES = [null, true, false, 0, 1, -1, 1.5, 86400000, 86400001, 268435457, [], {}, ['a'], [1], [{}], { a: 1 }, { a: 'b' }];

const clone = structuredClone;
function* changes(doc) {
	yield ['nothing', doc];
	for (const v of [...VALUES, 'x']) yield [`$ = ${JSON.stringify(v)}`, v];
	function at(path, f) { // a copy in which the parent of `path` is changed by f(parent, key)
		const copy = clone(doc);
		let o = copy;
		for (const k of path.slice(0, -1)) o = o[k];
		f(o, path.at(-1));
		return copy;
	}
	function* walk(v, path, key) {
		const where = `$.${path.join('.')}`;
		if (path.length) {
			for (const w of VALUES) yield [`${where} = ${JSON.stringify(w)}`, at(path, (o, k) => { o[k] = w; })];
			if (!Array.isArray(v) || typeof v[0] !== 'object') for (const s of typeof v === 'string' ? [...ANY, ...(BY_KEY[key] ?? [])] : ['x'])
				yield [`${where} = ${JSON.stringify(s.slice(0, 80))}`, at(path, (o, k) => { o[k] = s; })];
			yield [`no ${where}`, at(path, (o, k) => { if (Array.isArray(o)) o.splice(k, 1); else delete o[k]; })];
		}
		if (Array.isArray(v)) {
			if (v.length) for (const n of [1, 7, 63, typeof v[0] === 'object' ? 150 : 256]) yield [`${where} with its first ${n} times more`, at(path, (o, k) => { for (let i = 0; i < n; i++) o[k].push(clone(o[k][0])); })];
			for (let i = 0; i < v.length; i++) yield* walk(v[i], [...path, i], key);
		} else if (v && typeof v === 'object') {
			const first = Object.keys(v)[0];
			for (const k of KEYS) {
				yield [`${where} with a key ${JSON.stringify(k.slice(0, 40))}`, path.length ? at(path, (o, p) => { o[p][k] = 'x'; }) : { ...clone(doc), [k]: 'x' }];
				if (first && path.length) yield [`${where}: ${first} called ${JSON.stringify(k.slice(0, 40))}`, at(path, (o, p) => { o[p][k] = o[p][first]; if (k !== first) delete o[p][first]; })];
			}
			for (const k of Object.keys(v)) yield* walk(v[k], [...path, k], ['labels', 'namespaceLabels', 'models'].includes(key) && typeof v[k] === 'string' ? key : k);
		}
	}
	yield* walk(doc, [], '');
	// Pairs that one change does not reach.
	yield ['http without allow_private', at(['providers', 'lab', 'allow_private'], (o, k) => { o[k] = false; })];
	yield ['cluster that says no', at(['providers', 'own', 'x'], o => { o.allow_private = false; })];
	yield ['http with a ca_file', at(['providers', 'own', 'x'], o => { o.ca_file = 'a'; })];
	yield ['shadow without mode', at(['policies', 1, 'x'], o => { o.shadow = 'sni'; })];
	yield ['an owned file shared', at(['credentials', 'k2', 'x'], o => { o.file = 'k'; })];
	yield ['the same network twice', at(['destinations', 'x'], o => { o.push({ cidr: '203.0.113.0/24' }); })];
	yield ['one region by two names', at(['policies', 0, 'regions', 'x'], o => { o.allow = ['EU:DE', 'DE']; })];
	yield ['connecting longer than all', at(['policies', 0, 'routes', 0, 'timeouts', 'x'], o => { o.connect_ms = 4; })];
}

// Of each document: null, it is valid; else the errors' texts. All at once: a process each would take minutes.
function parse(texts) {
	const r = spawnSync(judge, [], { input: texts.map(text => `${text}\n`).join(''), encoding: 'utf8', maxBuffer: 1 << 28 });
	if (r.status !== 0) throw new Error(`${judge}: ${r.status} ${r.signal} ${r.stderr}`);
	const answers = r.stdout.trimEnd().split('\n').map(line => JSON.parse(line));
	if (answers.length !== texts.length) throw new Error(`${judge}: ${answers.length} answers to ${texts.length} policies`);
	return answers;
}

const counts = { changes: 0, accepted: 0, refused: 0, inexpressible: 0, schema_only: 0, parser_only: 0, stale: 0, undocumented: 0 };
const seen = new Set(), occurred = new Set();
const say = line => console.log(line.length > 400 ? `${line.slice(0, 400)}...` : line);
const examples = readdirSync(`${root}policies/examples`).map(f => JSON.parse(readFileSync(`${root}policies/examples/${f}`, 'utf8')));
if (examples.some(example => !validate(example)) || parse(examples.map(example => JSON.stringify(example))).some(Boolean)) {
	counts.parser_only++;
	say('an example is not valid');
}
const all = [];
for (const [what, doc] of changes(full)) {
	const text = JSON.stringify(doc);
	if (seen.has(text)) continue;
	seen.add(text);
	all.push({ what, text, valid: validate(doc), why: validate.errors?.[0] });
}
const judged = parse(all.map(({ text }) => text));
for (const [i, { what, valid, why }] of all.entries()) {
	const errors = judged[i];
	counts.changes++;
	if (valid && !errors) counts.accepted++;
	else if (!valid && errors) counts.refused++;
	else if (!valid) { counts.schema_only++; say(`only the schema refuses: ${what}: ${why.instancePath} ${why.message}`); }
	else {
		const said = errors.map(e => INEXPRESSIBLE.findIndex(([pattern]) => pattern.test(e)));
		said.forEach(i => occurred.add(i));
		if (said.every(i => i >= 0)) counts.inexpressible++;
		else { counts.parser_only++; say(`only the parser refuses: ${what}: ${errors[said.indexOf(-1)]}`); }
	}
}
INEXPRESSIBLE.forEach(([pattern, words], i) => {
	if (!occurred.has(i)) { counts.stale++; say(`never happens: ${pattern}`); }
	if (!docs.includes(words)) { counts.undocumented++; say(`docs/policy.md does not say: ${words}`); }
});
console.log(JSON.stringify(counts));
