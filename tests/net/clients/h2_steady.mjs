// SPDX-License-Identifier: Apache-2.0
// Requests over HTTP/2 one after the other on a few lanes of one connection, as a client does that sends nothing twice: after GOAWAY
// it begins a new connection, and what was begun before on the old one has to be answered. Prints one JSON object.
//   node h2_steady.mjs ORIGIN LANES RATE UNTIL_FILE
import fs from 'node:fs';
import http2 from 'node:http2';

const [origin, lanes, rate, until] = process.argv.slice(2);
const ca = fs.readFileSync(process.env.NODE_EXTRA_CA_CERTS);
const out = { ok: 0, failed: 0, errors: {}, unsent: 0, sessions: 0, goaways: 0 };
const count = (key) => { out.failed++; out.errors[key] = (out.errors[key] ?? 0) + 1; };
const body = JSON.stringify({ model: 'gpt-4o', messages: [{ role: 'user', content: 'ping' }] });
let session = null;

function current() {
	if (session) return session;
	const s = http2.connect(origin, { ca });
	out.sessions++;
	const over = () => { if (session === s) session = null; };
	s.on('goaway', (code, last) => { out.goaways++; s.promised ??= last; over(); });
	s.on('close', over);
	s.on('error', (e) => { over(); count(`session ${e.code}`); });
	session = s;
	return s;
}

function once() {
	return new Promise((done) => {
		const over = current();
		const req = over.request({ ':method': 'POST', ':path': '/v1/chat/completions', authorization: 'Bearer placeholder',
			'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
		let status = 0, text = '', error = null;
		req.setEncoding('utf8');
		req.on('response', (h) => { status = h[':status']; });
		req.on('data', (d) => { text += d; });
		req.on('error', (e) => { error = e.code; });
		req.on('close', () => {
			// Node's own: what it had not sent when GOAWAY came, although that excludes nothing.
			const unsent = req.rstCode === http2.constants.NGHTTP2_REFUSED_STREAM && req.id <= (over.promised ?? 0);
			if (unsent) {
				out.unsent++;
				once().then(done);
				return;
			}
			if (error || status !== 200 || !text.includes('"choices"')) count(error ?? `status ${status}, closed with ${req.rstCode}`);
			else out.ok++;
			done();
		});
		req.end(body);
	});
}

const start = Date.now();
let begun = 0;
async function lane() {
	while (!fs.existsSync(until)) {
		const n = begun++;
		await new Promise((ok) => setTimeout(ok, Math.max(0, start + n * 1000 / rate - Date.now())));
		await once();
	}
}
await Promise.all(Array.from({ length: Number(lanes) }, lane));
session?.close();
console.log(JSON.stringify(out));
