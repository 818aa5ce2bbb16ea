// SPDX-License-Identifier: Apache-2.0
// AWS's event stream framing (application/vnd.amazon.eventstream): lengths, CRC-32 of the prelude, headers, payload, CRC-32 of the whole.
const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
	for (let i = 0; i < 8; i++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
	return n >>> 0;
});
function crc32(bytes) {
	let crc = 0xffffffff;
	for (const byte of bytes) crc = (crc >>> 8) ^ TABLE[(crc ^ byte) & 255];
	return (crc ^ 0xffffffff) >>> 0;
}

function header(name, value) {
	const text = Buffer.from(value);
	return Buffer.concat([Buffer.from([name.length]), Buffer.from(name), Buffer.from([7, text.length >> 8, text.length & 255]), text]); // 7: a string
}

// One message: of `kind` "event" or "exception", of a type, with a JSON payload.
export function frame(kind, type, value) {
	const headers = Buffer.concat([header(`:${kind}-type`, type), header(':content-type', 'application/json'), header(':message-type', kind)]);
	const payload = Buffer.from(JSON.stringify(value));
	const out = Buffer.alloc(12 + headers.length + payload.length + 4);
	out.writeUInt32BE(out.length, 0);
	out.writeUInt32BE(headers.length, 4);
	out.writeUInt32BE(crc32(out.subarray(0, 8)), 8);
	headers.copy(out, 12);
	payload.copy(out, 12 + headers.length);
	out.writeUInt32BE(crc32(out.subarray(0, -4)), out.length - 4);
	return out;
}

const SIZES = { 0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16 }; // of values by their type; 6 and 7 say it themselves
function headersOf(bytes) {
	const out = new Map();
	for (let at = 0; at < bytes.length;) {
		const begin = at;
		const name = bytes.toString('utf8', at + 1, at + 1 + bytes[at]);
		at += 1 + bytes[at];
		const type = bytes[at++];
		const size = SIZES[type] ?? bytes.readUInt16BE((at += 2) - 2);
		out.set(name, { type, value: bytes.subarray(at, at + size), raw: bytes.subarray(begin, at + size) });
		at += size;
	}
	return out;
}

// Messages out of bytes that come in pieces: {headers, payload}. Throws where a checksum does not fit.
export class Frames {
	rest = Buffer.alloc(0);

	feed(piece) {
		const out = [];
		this.rest = Buffer.concat([this.rest, piece]);
		while (this.rest.length >= 12 && this.rest.length >= this.rest.readUInt32BE(0)) {
			const message = this.rest.subarray(0, this.rest.readUInt32BE(0));
			this.rest = this.rest.subarray(message.length);
			if (crc32(message.subarray(0, 8)) !== message.readUInt32BE(8)) throw new Error('the checksum of a prelude does not fit');
			if (crc32(message.subarray(0, -4)) !== message.readUInt32BE(message.length - 4)) throw new Error('the checksum of a message does not fit');
			const end = 12 + message.readUInt32BE(4);
			out.push({ headers: headersOf(message.subarray(12, end)), payload: message.subarray(end, -4) });
		}
		return out;
	}
}
