// SPDX-License-Identifier: Apache-2.0
// A pod by Node.js's http2 that does what a client may do. Prints one JSON object. Usage: client.mjs ORIGIN
import fs from 'node:fs';
import http2 from 'node:http2';

const origin = process.argv[2];
const ca = fs.readFileSync(process.env.NODE_EXTRA_CA_CERTS);
const out = { errors: [] };
const open = (options) => new Promise((ok) => {
	const session = http2.connect(origin, { ca, ...options });
	session.on('error', (e) => out.errors.push(`session ${e.code}`));
	session.once('remoteSettings', () => ok(session));
});

function ask(session, model, { headers = {}, body, trailers, during } = {}) {
	return new Promise((ok) => {
		const stream = session.request({ ':method': 'POST', ':path': '/v1/chat/completions', 'content-type': 'application/json',
			authorization: 'Bearer placeholder', ...headers }, { waitForTrailers: Boolean(trailers) });
		const r = { status: 0, bytes: 0, code: 0, hints: [] };
		let text = '';
		stream.setEncoding('utf8');
		stream.on('wantTrailers', () => stream.sendTrailers(trailers));
		stream.on('response', (h) => { r.status = h[':status']; });
		stream.on('headers', (h) => r.hints.push(h[':status']));
		stream.on('trailers', (t) => { r.trailers = { ...t }; });
		stream.on('data', (d) => { text += d; r.bytes += d.length; });
		stream.on('error', (e) => { r.error = e.code; });
		stream.on('close', () => {
			r.code = stream.rstCode;
			try { r.push_allowed = JSON.parse(text).push_allowed; } catch { /* half of one */ }
			ok(r);
		});
		stream.end(body ?? JSON.stringify({ model, messages: [] }));
		if (during) during(stream, session);
	});
}
const brief = (r) => `${r.status} ${r.code}`;

const s = await open();
out.alpn = s.alpnProtocol;
out.plain = brief(await ask(s, 'gpt-4o'));
out.trailers = (await ask(s, 'trailers', { headers: { te: 'trailers' } })).trailers?.['x-sum'];
out.hints = brief(await ask(s, 'hints'));
out.own_trailers = brief(await ask(s, 'gpt-4o', { trailers: { 'x-mine': '1' } }));
out.refused = brief(await ask(s, 'refuse'));
out.goodbye = brief(await ask(s, 'goodbye'));
out.reset = brief(await ask(s, 'reset'));
out.cut = brief(await ask(s, 'cut'));
out.push = (await ask(s, 'push')).push_allowed;
out.upload = brief(await ask(s, '', { body: JSON.stringify({ model: 'gpt-4o', messages: ['y'.repeat(3 << 20)] }) }));
out.cancelled = (await ask(s, 'hang', { during: (stream) => setTimeout(() => stream.close(http2.constants.NGHTTP2_CANCEL), 300) })).code;
out.ping = await new Promise((ok) => s.ping(Buffer.from('12345678'), (e, _, payload) => ok(e ? e.code : payload.toString())));
// A window of 1 KiB for what is open and what comes, and the table of HPACK away and back.
out.settings = await new Promise((ok) => s.settings({ initialWindowSize: 1024, headerTableSize: 0 }, (e) => ok(e ? e.code : 'acknowledged')));
out.small_window = await ask(s, 'gpt-4o').then(brief);
await new Promise((ok) => s.settings({ initialWindowSize: 65535, headerTableSize: 4096 }, ok));
out.big = await ask(s, 'big').then((r) => `${brief(r)} ${r.bytes > 5 << 20}`);
out.fewer = brief(await ask(s, 'fewer'));
const burst = await Promise.all(Array.from({ length: 30 }, () => ask(s, 'slow')));
out.burst = burst.filter((r) => r.status === 200 && !r.code).length;
out.last = brief(await ask(s, 'last'));
out.after_last = brief(await ask(s, 'gpt-4o'));
// GOAWAY from the client is about streams of the server's.
out.own_goodbye = brief(await ask(s, 'slow', { during: (_, session) => setTimeout(() => session.goaway(0), 30) }));
s.close();
console.log(JSON.stringify(out));
