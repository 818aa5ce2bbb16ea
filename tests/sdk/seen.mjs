// SPDX-License-Identifier: Apache-2.0
// What an application sees of a call, one line each: a value or an error. A program says what it should see of the provider itself, which
// is counted as in lib.mjs; seen.sh compares the lines of two runs.
import assert from 'node:assert/strict';

let passed = 0;
let failed = 0;
const only = process.argv[2] ? new RegExp(process.argv[2]) : null;

// The text of an error's body as an object, where it is one.
function parsed(body) {
	try {
		return typeof body === 'string' ? JSON.parse(body) : body;
	} catch {
		return body;
	}
}

// Of each SDK's error: its class, the status, the body (Google's has it for its message, AWS's keeps the message alone). Without a status its
// words count; what broke underneath is the system's wording.
export function errorSeen(e) {
	if (!(e instanceof Error)) return { error: e };
	const status = e.status ?? e.statusCode ?? e.$metadata?.httpStatusCode;
	const body = parsed(e.error ?? e.responseBody ?? e.body ?? (e.name === 'ApiError' ? e.message.replace(/^got status: \w+\. /, '') : undefined));
	const seen = { error: e.constructor.name, ...(e.name !== e.constructor.name ? { name: e.name } : {}) };
	if (e.$metadata && status !== undefined) return { ...seen, status, message: e.message, id: e.$metadata.requestId, attempts: e.$metadata.attempts };
	if (status !== undefined) return { ...seen, status, ...(body !== undefined ? { body } : {}) };
	return { ...seen, ...(body !== undefined ? { body } : { message: e.message }), ...(e.errors ? { attempts: e.errors.length, last: errorSeen(e.errors.at(-1)) } : {}) };
}

// `expected`: what is seen of the provider itself.
export async function see(name, call, expected) {
	if (only && !only.test(name)) return;
	let seen;
	try {
		seen = await call();
	} catch (e) {
		seen = errorSeen(e);
	}
	console.log(`saw - ${name} = ${JSON.stringify(seen)}`);
	try {
		assert.deepEqual(JSON.parse(JSON.stringify(seen ?? null)), JSON.parse(JSON.stringify(expected ?? null)));
		passed++;
		console.log(`ok   - ${name}`);
	} catch (e) {
		failed++;
		console.log(`FAIL - ${name}`);
		console.log(e.message.slice(0, 3000).replace(/^/gm, '       '));
	}
}

// The pieces of a stream, and how it ended: by itself, by an error, or left after `leave` of them.
export async function streamed(stream, text, { leave = Infinity, finish = () => undefined, usage = () => undefined, abort = () => {} } = {}) {
	const out = { text: '', pieces: 0, finish: null };
	try {
		for await (const piece of await stream) {
			out.text += text(piece) ?? '';
			out.pieces++;
			out.finish = finish(piece) ?? out.finish;
			const counted = usage(piece);
			if (counted) out.usage = counted;
			if (out.pieces === leave) abort();
		}
	} catch (e) {
		out.ended = errorSeen(e);
	}
	// What was in the buffers when it was left may have been handed out, or not.
	if (leave < Infinity) return { left: out.pieces >= leave && out.finish === null, ...(out.ended ? { ended: out.ended } : {}) };
	return out;
}

export function done() {
	console.log(`${passed} passed, ${failed} failed`);
	process.exit(failed || !passed ? 1 : 0);
}
