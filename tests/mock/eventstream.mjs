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
