// SPDX-License-Identifier: Apache-2.0
// Content codings of the mock: what a request's body says, and answers in what the client accepts.
import zlib from 'node:zlib';

const decoders = { gzip: zlib.gunzipSync, 'x-gzip': zlib.gunzipSync, deflate: zlib.inflateSync, br: zlib.brotliDecompressSync };

// The body as it is meant; as it came when it can't be decoded.
export function decoded(body, coding) {
	try {
		return decoders[coding]?.(body) ?? body;
	} catch {
		return body;
	}
}

// Each write is flushed, as by a server whose events are to be read at once.
const encoders = {
	gzip: () => zlib.createGzip({ flush: zlib.constants.Z_SYNC_FLUSH }),
	br: () => zlib.createBrotliCompress({ flush: zlib.constants.BROTLI_OPERATION_FLUSH }),
};

// The answer of this call goes out in the coding that its Accept-Encoding likes best; without one as it is.
export function code({ req, res }) {
	const weight = (element) => Number(/;\s*q=([\d.]+)/.exec(element)?.[1] ?? 1);
	const [coding] = (req.headers['accept-encoding'] ?? '').split(',').filter((e) => weight(e) > 0)
		.sort((a, b) => weight(b) - weight(a)).map((e) => e.split(';')[0].trim()).filter((e) => encoders[e]);
	if (!coding) return;
	const encoder = encoders[coding]();
	const [writeHead, write, end] = [res.writeHead, res.write, res.end].map((f) => f.bind(res));
	encoder.on('data', (piece) => write(piece)).on('end', () => end());
	res.writeHead = (status, headers) => {
		const { 'content-length': _, ...rest } = headers;
		return writeHead(status, { ...rest, 'content-encoding': coding, vary: 'accept-encoding' });
	};
	res.write = (piece) => encoder.write(piece) || true;
	res.end = (piece) => void encoder.end(piece);
}
