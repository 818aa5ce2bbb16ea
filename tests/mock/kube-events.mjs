// SPDX-License-Identifier: Apache-2.0
// Events of the group events.k8s.io/v1 as a real API server takes them: what it checks at a create and at an update is in
// pkg/apis/core/validation/events.go of Kubernetes, with the admission that a namespace has to be there and not on its way out.
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const QUALIFIED = /^([a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const MICRO_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)$/;
const FIELDS = new Set(['apiVersion', 'kind', 'metadata', 'eventTime', 'series', 'reportingController', 'reportingInstance', 'action', 'reason',
	'regarding', 'related', 'note', 'type', 'deprecatedSource', 'deprecatedFirstTimestamp', 'deprecatedLastTimestamp', 'deprecatedCount']);
const IMMUTABLE = ['eventTime', 'reportingController', 'reportingInstance', 'action', 'reason', 'regarding', 'related', 'note', 'type',
	'deprecatedSource', 'deprecatedFirstTimestamp', 'deprecatedLastTimestamp', 'deprecatedCount'];
const LIMITS = { reportingInstance: 128, action: 128, reason: 128, note: 1024 }; // bytes

const plain = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

// What no Go structure takes: 400, before anything is validated.
function undecodable(event) {
	if (!plain(event)) return 'the object is not one';
	for (const name of ['reportingController', 'reportingInstance', 'action', 'reason', 'note', 'type']) {
		if (name in event && typeof event[name] !== 'string') return `${name}: expected string`;
	}
	if ('eventTime' in event && !MICRO_TIME.test(event.eventTime)) return `eventTime: ${event.eventTime} is no MicroTime`;
	const { series } = event;
	if (series === undefined || series === null) return null;
	if (!plain(series)) return 'series: expected object';
	if ('count' in series && !(Number.isInteger(series.count) && Math.abs(series.count) < 2 ** 31)) return 'series.count: expected int32';
	if ('lastObservedTime' in series && !MICRO_TIME.test(series.lastObservedTime)) return 'series.lastObservedTime: no MicroTime';
	return null;
}

function wrongSeries({ series }) {
	if (!series) return [];
	return [!(series.count >= 2) && 'series.count: should be at least 2', !series.lastObservedTime && 'series.lastObservedTime: Required value'];
}

function wrong(event) {
	const { metadata, regarding = {} } = event;
	const errors = wrongSeries(event);
	const say = (is, text) => { if (is) errors.push(text); };
	say(!metadata.name || metadata.name.length > 253 || !SUBDOMAIN.test(metadata.name), `metadata.name: Invalid value: "${metadata.name}"`);
	say(!event.eventTime, 'eventTime: Required value');
	say(!regarding.namespace && !['default', 'kube-system'].includes(metadata.namespace),
		'involvedObject.namespace: does not match event.namespace');
	for (const name of ['reportingController', 'reportingInstance', 'action', 'reason']) say(!event[name], `${name}: Required value`);
	say(event.reportingController && !QUALIFIED.test(event.reportingController), 'reportingController: a qualified name');
	for (const [name, most] of Object.entries(LIMITS)) {
		say(Buffer.byteLength(event[name] ?? '') > most, `${name}: can have at most ${most} characters`);
	}
	say(!['Normal', 'Warning'].includes(event.type), `type: has invalid value: ${event.type}`);
	for (const name of FIELDS) say(name.startsWith('deprecated') && event[name], `${name}: needs to be unset`);
	return errors.filter(Boolean);
}

function wrongUpdate(event, former) {
	const errors = same(event.series, former.series) ? [] : wrongSeries(event);
	for (const name of IMMUTABLE) if (!same(event[name], former[name])) errors.push(`${name}: field is immutable`);
	for (const name of ['name', 'namespace', 'uid']) {
		if (event.metadata?.[name] !== former.metadata[name]) errors.push(`metadata.${name}: field is immutable`);
	}
	return errors.filter(Boolean);
}

// RFC 7396.
function merged(target, patch) {
	if (!plain(patch)) return patch;
	const out = plain(target) ? { ...target } : {};
	for (const [name, value] of Object.entries(patch)) {
		if (value === null) delete out[name];
		else out[name] = merged(out[name], value);
	}
	return out;
}

export class Events {
	constructor(hasNamespace) {
		this.hasNamespace = (name) => ['default', 'kube-system'].includes(name) || hasNamespace(name);
		this.known = new Map(); // namespace/name -> object
		this.ending = new Set(); // namespaces
		this.versions = 0;
	}
	static path(pathname) {
		const match = /^\/apis\/events\.k8s\.io\/v1\/namespaces\/([^/]+)\/events(?:\/([^/]+))?$/.exec(pathname);
		return match && { namespace: match[1], name: match[2] };
	}
	all() {
		return [...this.known.values()];
	}
	// As their time to live does.
	forget() {
		this.known.clear();
	}
	terminate(namespace) {
		this.ending.add(namespace);
	}
	// {code, message, details} or {code, object}.
	take(method, { namespace, name }, type, text) {
		if (method !== (name ? 'PATCH' : 'POST')) return { code: 405, message: 'the server does not allow this method on the requested resource' };
		if (type !== (name ? 'application/merge-patch+json' : 'application/json')) return { code: 415, message: `the body of the request was in an unknown format: ${type}` };
		let sent;
		try {
			sent = JSON.parse(text);
		} catch (error) {
			return { code: 400, message: `the object provided is unrecognized: ${error.message}` };
		}
		const bad = undecodable(sent);
		if (bad) return { code: 400, message: `Event in version "v1" cannot be handled as a Event: ${bad}` };
		return name ? this.patch(namespace, name, sent) : this.create(namespace, sent);
	}
	create(namespace, sent) {
		if (sent.apiVersion !== 'events.k8s.io/v1' || sent.kind !== 'Event') return { code: 400, message: 'the API version in the data does not match' };
		const unknown = Object.keys(sent).find((field) => !FIELDS.has(field));
		if (unknown) return { code: 400, message: `strict decoding error: unknown field "${unknown}"` };
		if ((sent.metadata?.namespace ?? namespace) !== namespace) {
			return { code: 400, message: 'the namespace of the provided object does not match the namespace sent on the request' };
		}
		if (!this.hasNamespace(namespace)) return { code: 404, message: `namespaces "${namespace}" not found` };
		if (this.ending.has(namespace)) {
			return { code: 403, message: `events.events.k8s.io "${sent.metadata?.name}" is forbidden: unable to create new content in namespace ${
				namespace} because it is being terminated`, details: { causes: [{ reason: 'NamespaceTerminating', field: 'metadata.namespace' }] } };
		}
		const object = { ...sent, metadata: { ...sent.metadata, namespace } };
		const errors = wrong(object);
		if (errors.length) return { code: 422, message: `Event.events.k8s.io "${object.metadata.name}" is invalid: ${errors.join(', ')}` };
		const key = `${namespace}/${object.metadata.name}`;
		if (this.known.has(key)) return { code: 409, message: `events.events.k8s.io "${object.metadata.name}" already exists` };
		object.metadata.uid = `event-${this.known.size}`;
		return { code: 201, object: this.keep(key, object) };
	}
	patch(namespace, name, sent) {
		const key = `${namespace}/${name}`;
		const former = this.known.get(key);
		if (!former) return { code: 404, message: `events.events.k8s.io "${name}" not found` };
		const object = merged(former, sent);
		const errors = wrongUpdate(object, former);
		if (errors.length) return { code: 422, message: `Event.events.k8s.io "${name}" is invalid: ${errors.join(', ')}` };
		return { code: 200, object: this.keep(key, object) };
	}
	keep(key, object) {
		object.metadata.resourceVersion = String(++this.versions);
		this.known.set(key, object);
		return object;
	}
}
