// SPDX-License-Identifier: Apache-2.0
// HTTP/2 from a pod with Node.js's http2. Prints one JSON object.
//   node h2.mjs ORIGIN COUNT [MODEL] [STREAM] [WAIT_FILE]   COUNT chat requests at once on one connection; with WAIT_FILE
//                                                  it is made once all have been answered a head
import fs from 'node:fs';
import http2 from 'node:http2';

const [origin, count, model, stream, waitFile] = process.argv.slice(2);
const ca = process.env.NODE_EXTRA_CA_CERTS ? fs.readFileSync(process.env.NODE_EXTRA_CA_CERTS) : undefined;
const session = http2.connect(origin, { ca });
const out = { statuses: {}, errors: {}, ended: 0, done: 0, goaway: null, streams: 0 };
const count1 = (table, key) => { table[key] = (table[key] ?? 0) + 1; };
session.on('goaway', (code) => { out.goaway = code; });
session.on('error', (e) => count1(out.errors, `session ${e.code}`));
let heads = 0;

function ask() {
	return new Promise((ok) => {
		const body = JSON.stringify({ model: model || 'gpt-4o', stream: stream === 'true', messages: [{ role: 'user', content: 'ping' }] });
		const req = session.request({
			':method': 'POST', ':path': '/v1/chat/completions', authorization: 'Bearer placeholder', 'content-type': 'application/json',
		});
		let text = '';
		req.setEncoding('utf8');
		req.on('response', (h) => {
			count1(out.statuses, h[':status']);
			out.reason = h['x-egret-reason'];
			if (++heads === Number(count) && waitFile) fs.writeFileSync(waitFile, '');
		});
		req.on('data', (d) => { text += d; });
		req.on('end', () => { out.ended++; });
		req.on('error', (e) => count1(out.errors, e.code));
		req.on('close', () => {
			out.last = text.slice(-400);
			if (stream === 'true' ? text.includes('[DONE]') : text.includes('"choices"')) out.done++;
			ok();
		});
		req.end(body);
	});
}

session.once('connect', async () => {
	out.alpn = session.alpnProtocol;
	await new Promise((ok) => { session.once('remoteSettings', ok); });
	out.streams = session.remoteSettings.maxConcurrentStreams;
	await Promise.all(Array.from({ length: Number(count) }, ask));
	console.log(JSON.stringify(out));
	session.close();
	setTimeout(() => process.exit(0), 2000).unref();
});
