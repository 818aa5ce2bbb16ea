// SPDX-License-Identifier: Apache-2.0
// Is a request signed with AWS Signature Version 4 by this secret? As the documentation of AWS has it ("Create a signed AWS API request"), with
// node:crypto. Every signed header has to be there as it was signed, the body too: whoever changes one of them on the way is found out.
import crypto from 'node:crypto';

const hmac = (key, text) => crypto.createHmac('sha256', key).update(text).digest();
const hex = (text) => crypto.createHash('sha256').update(text).digest('hex');
const encode = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
const CLOCK_SKEW_MS = 5 * 60 * 1000;
const STREAMING = 'STREAMING-AWS4-HMAC-SHA256-EVENTS'; // in the place of the body's hash: each of its events is signed by itself
const FORM = /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/;
const signingKey = (secret, ...scope) => scope.reduce((k, part) => hmac(k, part), `AWS4${secret}`);

// Of a service but S3 each segment of the path as it is on the wire is encoded once more.
function canonicalRequest(req, signed, bodyHash) {
	const [path, query = ''] = req.url.split('?');
	const pairs = query.split('&').filter(Boolean).map((p) => (p.includes('=') ? p : `${p}=`)).sort();
	const headers = signed.map((name) => `${name}:${String(req.headers[name] ?? '').trim().replace(/ +/g, ' ')}\n`).join('');
	return [req.method, path.split('/').map(encode).join('/'), pairs.join('&'), headers, signed.join(';'), bodyHash].join('\n');
}

// null when it is; else what is wrong. `secrets`: those that the account has; `body`: null where its events are signed.
export function wrongSignature(req, body, { secrets, service, region }) {
	const match = FORM.exec(req.headers.authorization ?? '');
	if (!match) return 'Missing Authentication Token';
	const [, , day, saidRegion, saidService, names, signature] = match;
	const date = req.headers['x-amz-date'] ?? '';
	const at = Date.parse(date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'));
	if (!(Math.abs(Date.now() - at) < CLOCK_SKEW_MS) || !date.startsWith(day)) return `Signature expired: ${date}`;
	if (saidService !== service || saidRegion !== region) return `Credential should be scoped to ${region}/${service}`;
	const signed = names.split(';');
	const missing = signed.find((name) => req.headers[name] === undefined);
	if (missing) return `'${missing}' must be a 'Header' in the request`;
	const bodyHash = body === null ? STREAMING : hex(body);
	if ((req.headers['x-amz-content-sha256'] ?? bodyHash) !== bodyHash) return 'The provided x-amz-content-sha256 header does not match what was computed';
	const toSign = ['AWS4-HMAC-SHA256', date, `${day}/${region}/${service}/aws4_request`, hex(canonicalRequest(req, signed, bodyHash))].join('\n');
	const good = secrets.some((secret) => hmac(signingKey(secret, day, region, service, 'aws4_request'), toSign).toString('hex') === signature);
	return good ? null : 'The request signature we calculated does not match the signature you provided.';
}

// Of a request whose events are signed: a function that says of each, in order, whether it is. Each signature is over the one before it.
export function eventVerifier(req, secrets) {
	const [, , day, region, service, , seed] = FORM.exec(req.headers.authorization);
	let prior = seed;
	return ({ date, dateHeader, payload, signature }) => {
		const at = date.toISOString().replace(/[-:]|\.\d+/g, '');
		const toSign = ['AWS4-HMAC-SHA256-PAYLOAD', at, `${day}/${region}/${service}/aws4_request`, prior, hex(dateHeader), hex(payload)].join('\n');
		prior = signature;
		return secrets.some((secret) => hmac(signingKey(secret, day, region, service, 'aws4_request'), toSign).toString('hex') === signature);
	};
}
