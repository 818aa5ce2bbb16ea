// SPDX-License-Identifier: Apache-2.0
// What the dialects share: paced server-sent events with the failures that a stream can have.
const wait = (ms) => new Promise((ok) => setTimeout(ok, ms));

// Writes `events` (strings) one by one. `errorEvent` is the dialect's own error event, for the modes that want one.
export async function stream(call, events, errorEvent, headers = {}) {
	const { req, res, streamMode, socket } = call;
	const pace = call.pace ?? 2;
	res.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache', ...headers });
	if (streamMode === 'error-first') return res.end(errorEvent);
	const half = Math.floor(events.length / 2);
	for (let i = 0; i < events.length && !res.destroyed; i++) {
		// What came before a failure has been read by then: a reset discards what has not.
		if (i === half && ['error-mid', 'clean-cut', 'cut'].includes(streamMode)) await wait(60);
		if (i === half && streamMode === 'error-mid') return res.end(errorEvent);
		if (i === half && streamMode === 'clean-cut') return res.end();
		if (i === half && streamMode === 'cut') return req.httpVersionMajor === 2 ? req.stream.close(2) : socket.destroy();
		if (!res.write(events[i])) await new Promise((ok) => res.once('drain', ok).once('close', ok));
		if (pace) await wait(pace);
	}
	return res.end();
}

export function sendJson(call, status, value, headers = {}) {
	const text = JSON.stringify(value);
	if (call.trailers && call.req.httpVersionMajor === 1) {
		call.res.writeHead(status, { 'content-type': 'application/json', trailer: 'x-mock-trailer', ...headers });
		call.res.addTrailers({ 'x-mock-trailer': 'yes' });
	} else {
		call.res.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), ...headers });
	}
	call.res.end(text);
}

export const words = (text) => text.split(/\s+/).filter(Boolean).length;
