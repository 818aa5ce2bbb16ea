// SPDX-License-Identifier: Apache-2.0
// A provider by Node.js's http2. The model that is asked for says what becomes of the request (below). Writes a line of JSON for
// each request, each stream that was reset and each error of a session. Usage: server.mjs ADDRESS PEM LOG
import crypto from 'node:crypto';
import fs from 'node:fs';
import http2 from 'node:http2';

const [address, pemFile, logFile] = process.argv.slice(2);
const pem = fs.readFileSync(pemFile);
const out = fs.openSync(logFile, 'a');
const log = (entry) => fs.writeSync(out, `${JSON.stringify(entry)}\n`);
const seen = {}; // requests of each model
let sessions = 0;

const answer = (model, more) => JSON.stringify({ id: 'c1', object: 'chat.completion', model, ...more,
	choices: [{ index: 0, message: { role: 'assistant', content: 'pong' }, finish_reason: 'stop' }] });
const head = { ':status': 200, 'content-type': 'application/json' };
const plain = (stream, model, more) => { stream.respond(head); stream.end(answer(model, more)); };

// What only the first request of a model gets.
const once = {
	refuse: (stream) => stream.close(http2.constants.NGHTTP2_REFUSED_STREAM),
	goodbye: (stream) => stream.session.goaway(0, stream.id - 2),
};
const modes = {
	reset: (stream) => stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR),
	cut: (stream) => { stream.respond(head); stream.write('{"half": "'); setTimeout(() => stream.destroy(new Error('cut')), 200); }, // close() would end it first
	hints: (stream, model) => { stream.additionalHeaders({ ':status': 103, link: '<x>' }); plain(stream, model); },
	trailers: (stream, model) => {
		stream.respond(head, { waitForTrailers: true });
		stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': 'abc' }));
		stream.end(answer(model));
	},
	big: (stream, model) => plain(stream, model, { filler: 'x'.repeat(5 << 20) }),
	// Two streams at once from now on; the answer comes once that was acknowledged.
	fewer: (stream, model) => stream.session.settings({ maxConcurrentStreams: 2 }, () => {
		log({ event: 'fewer', session: stream.session.number });
		plain(stream, model);
	}),
	last: (stream, model) => { plain(stream, model); stream.session.close(); },
	hang: () => {},
	slow: (stream, model) => setTimeout(() => stream.destroyed || plain(stream, model), 100),
	push: (stream, model) => plain(stream, model, { push_allowed: stream.pushAllowed }),
};

const server = http2.createSecureServer({ key: pem, cert: pem });
server.on('session', (session) => {
	session.number = ++sessions;
	session.open = 0;
	session.on('error', (e) => log({ event: 'error', code: e.code, text: e.message }));
	session.on('frameError', (type, code) => log({ event: 'error', code: `frame ${type} ${code}` }));
	session.on('goaway', (code) => log({ event: 'goaway', code }));
});
server.on('sessionError', (e) => log({ event: 'error', code: e.code, text: e.message }));
server.on('stream', (stream, headers) => {
	const parts = [];
	const session = stream.session;
	const open = ++session.open;
	stream.on('error', () => {});
	stream.on('close', () => {
		session.open--;
		if (stream.rstCode) log({ event: 'reset', code: stream.rstCode });
	});
	stream.on('data', (d) => parts.push(d));
	stream.on('end', () => {
		const body = Buffer.concat(parts);
		let model = 'none';
		try { model = JSON.parse(body).model; } catch { /* it was cut */ }
		const times = seen[model] = (seen[model] ?? 0) + 1;
		const names = Object.keys(headers);
		log({ event: 'request', model, session: session.number, open, bytes: body.length, sha256: crypto.createHash('sha256').update(body).digest('hex'),
			authority: headers[':authority'], scheme: headers[':scheme'],
			wrong: names.filter((n) => n !== n.toLowerCase() || /^(connection|host|transfer-encoding|keep-alive|upgrade|proxy-connection)$/.test(n)),
			sensitive: headers[http2.sensitiveHeaders] ?? [] });
		if (once[model] && times === 1) once[model](stream);
		else (modes[model] ?? plain)(stream, model);
	});
});
server.listen(443, address, () => log({ event: 'ready' }));
