// SPDX-License-Identifier: Apache-2.0
// OpenAI's Realtime API over a WebSocket (RFC 6455), as far as text goes: session.update, conversation.item.create,
// response.create, and input_audio_buffer.append, whose bytes are counted and confirmed at the commit.
import crypto from 'node:crypto';

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const TEXT = 1, CLOSE = 8, PING = 9, PONG = 10;

function frame(opcode, data) {
	const n = data.length;
	const head = n < 126 ? Buffer.from([0x80 | opcode, n])
		: n < 65536 ? Buffer.from([0x80 | opcode, 126, n >> 8, n & 255])
			: Buffer.concat([Buffer.from([0x80 | opcode, 127]), (() => { const b = Buffer.alloc(8); b.writeBigUInt64BE(BigInt(n)); return b; })()]);
	return Buffer.concat([head, data]);
}

// The first frame of `buffer`: {opcode, fin, data, rest}; null: not all of it is here.
function parse(buffer) {
	if (buffer.length < 2) return null;
	let n = buffer[1] & 0x7f;
	let at = 2;
	if (n === 126) { if (buffer.length < 4) return null; n = buffer.readUInt16BE(2); at = 4; }
	if (n === 127) { if (buffer.length < 10) return null; n = Number(buffer.readBigUInt64BE(2)); at = 10; }
	if (!(buffer[1] & 0x80)) throw new Error('a client has to mask');
	if (buffer.length < at + 4 + n) return null;
	const mask = buffer.subarray(at, at + 4);
	const data = Buffer.from(buffer.subarray(at + 4, at + 4 + n));
	for (let i = 0; i < n; i++) data[i] ^= mask[i & 3];
	return { opcode: buffer[0] & 15, fin: (buffer[0] & 0x80) !== 0, data, rest: buffer.subarray(at + 4 + n) };
}

export function realtime({ req, socket, head, host, model, log }) {
	const accept = crypto.createHash('sha1').update(req.headers['sec-websocket-key'] + GUID).digest('base64');
	const offered = (req.headers['sec-websocket-protocol'] ?? '').split(',').map((p) => p.trim());
	const lines = ['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade', `Sec-WebSocket-Accept: ${accept}`,
		'x-request-id: req_mock_realtime', 'Set-Cookie: tracking=1', ...(offered.includes('realtime') ? ['Sec-WebSocket-Protocol: realtime'] : [])];
	let events = 0;
	let text = '';
	let audio = 0;
	let parts = [];
	let buffer = head;
	const send = (type, rest) => socket.write(frame(TEXT, Buffer.from(JSON.stringify({ type, event_id: `event_${++events}`, ...rest }))));
	const handlers = {
		'session.update': (m) => send('session.updated', { session: m.session }),
		'conversation.item.create': (m) => { text = m.item?.content?.map((c) => c.text ?? '').join('') ?? ''; send('conversation.item.added', { item: m.item }); },
		'input_audio_buffer.append': (m) => { audio += m.audio.length; },
		'input_audio_buffer.commit': () => send('input_audio_buffer.committed', { item_id: `item_${audio}` }),
		'response.create': () => {
			for (const word of `Hello from ${host}. You said: ${text}`.split(/(?<= )/)) send('response.output_text.delta', { delta: word });
			send('response.done', { response: { status: 'completed', usage: { input_tokens: 7, output_tokens: 11, total_tokens: 18 } } });
		},
	};
	const message = (data) => {
		const m = JSON.parse(data.toString('utf8'));
		log({ bytes: data.length, type: m.type });
		if (handlers[m.type]) handlers[m.type](m);
		else send('error', { error: { type: 'invalid_request_error', message: `Unknown message '${m.type}'.` } });
	};
	const take = () => {
		for (let f = parse(buffer); f; f = parse(buffer)) {
			buffer = f.rest;
			if (f.opcode === CLOSE) { socket.end(frame(CLOSE, f.data)); return; }
			if (f.opcode === PING) socket.write(frame(PONG, f.data));
			if (f.opcode <= 2) parts.push(f.data);
			if (f.opcode <= 2 && f.fin) { message(Buffer.concat(parts)); parts = []; }
		}
	};
	socket.write(`${lines.join('\r\n')}\r\n\r\n`);
	send('session.created', { session: { model, type: 'realtime' } });
	socket.on('data', (chunk) => { buffer = Buffer.concat([buffer, chunk]); take(); });
	socket.on('end', () => socket.end());
	take();
}
