// SPDX-License-Identifier: Apache-2.0
// An ordinary web site: what Egret must leave alone.
function answer({ req, res, host, body }) {
	const text = `This is ${host}, an ordinary site. ${req.method} ${req.url}, ${body.length} bytes of body.\n`;
	res.writeHead(200, { 'content-type': 'text/plain', 'content-length': Buffer.byteLength(text), 'x-mock-host': host });
	res.end(text);
}
function error(res, status, what, message) {
	res.writeHead(status, { 'content-type': 'text/plain' }).end(`${message}\n`);
}
export const site = { answer, error, sample: (call) => ({ site: call.host }) };
