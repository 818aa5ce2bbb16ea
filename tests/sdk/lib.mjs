// SPDX-License-Identifier: Apache-2.0
// The checks of the SDK tests: named steps, counted; the last line is `N passed, N failed`.
import assert from 'node:assert/strict';

let passed = 0;
let failed = 0;
const only = process.argv[2] ? new RegExp(process.argv[2]) : null;

export async function step(name, body) {
	if (only && !only.test(name)) return;
	try {
		await body();
		passed++;
		console.log(`ok   - ${name}`);
	} catch (error) {
		failed++;
		console.log(`FAIL - ${name}`);
		const causes = [];
		for (let cause = error.cause; cause; cause = cause.cause) causes.push(`caused by: ${cause.code ?? ''} ${cause.message}`);
		console.log([(error.stack ?? String(error)).slice(0, 3000), ...causes].join('\n').replace(/^/gm, '       '));
	}
}

// The error that a call ends with, of the SDK class wanted.
export async function failure(promise, type) {
	let error;
	try {
		await promise;
	} catch (e) {
		error = e;
	}
	assert.ok(error, 'the call succeeded and should not have');
	if (type && !(error instanceof type)) throw error;
	return error;
}

export function done() {
	console.log(`${passed} passed, ${failed} failed`);
	process.exit(failed || !passed ? 1 : 0);
}
export { assert };
