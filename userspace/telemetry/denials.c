/* SPDX-License-Identifier: Apache-2.0 */
#include "telemetry/denials.h"

#include "base/redact.h"

bool eg_denial_is_told(enum eg_reason r)
{
	static const bool told[EG_REASON_MAX] = {
		[EG_REASON_DENY] = true,
		[EG_REASON_UNKNOWN_POD] = true,
		[EG_REASON_NO_SNI] = true,
		[EG_REASON_ECH] = true,
		[EG_REASON_DOMAIN_FRONTING] = true,
		[EG_REASON_IP_LITERAL] = true,
		[EG_REASON_CA_NAME] = true,
		[EG_REASON_CLIENT_REJECTED_CA] = true,
		[EG_REASON_FORBIDDEN_DESTINATION] = true,
		[EG_REASON_HOST_MISMATCH] = true,
		[EG_REASON_NO_MODEL] = true,
		[EG_REASON_ORIGIN_REFUSED] = true,
		[EG_REASON_NO_PLACEHOLDER] = true,
		[EG_REASON_UPGRADE] = true,
		[EG_REASON_CONTENT_ENCODING] = true,
		[EG_REASON_NO_POLICY] = true,
		[EG_REASON_NO_ROUTE] = true,
		[EG_REASON_MODEL_DENIED] = true,
		[EG_REASON_OPERATION_DENIED] = true,
		[EG_REASON_CREDENTIAL_MINTING] = true,
		[EG_REASON_STATEFUL_DENIED] = true,
		[EG_REASON_REGION_DENIED] = true,
		[EG_REASON_REGION_UNKNOWN] = true,
		[EG_REASON_KIND_MISMATCH] = true,
		[EG_REASON_UNKNOWN_OPERATION] = true,
		[EG_REASON_PATH_UNSAFE] = true,
		[EG_REASON_UNKNOWN_QUERY] = true,
		[EG_REASON_POLICY_CHANGED] = true,
	};

	return (unsigned int)r < EG_REASON_MAX && told[r];
}

/* A name that a pod made up may hold a key, or anything. */
static struct eg_str sayable(struct eg_str host)
{
	if (host.n >= EG_DENIAL_NAME || memchr(host.p ? host.p : "", '\0', host.n) ||
	    eg_redact_found(host, true))
		return (struct eg_str){NULL, 0};
	return host;
}

static bool is(const char *a, struct eg_str b)
{
	return !strncmp(a, b.p ? b.p : "", b.n) && !a[b.n];
}

static struct eg_denial *find(struct eg_denial_batch *b, const struct eg_record *r,
			      struct eg_str host, struct eg_str provider, size_t *of_pod)
{
	*of_pod = 0;
	for (size_t i = 0; i < b->count; i++) {
		struct eg_denial *d = &b->item[i];

		if (strcmp(d->pod_uid, r->pod_uid) != 0)
			continue;
		if (d->reason == r->reason && is(d->host, host) && is(d->provider, provider))
			return d;
		++*of_pod;
	}
	return NULL;
}

static struct eg_denial *place(struct eg_denial_batch *b, const struct eg_record *r)
{
	struct eg_str host = sayable(r->server_name), provider = eg_str_from(r->provider);
	struct eg_denial *d;
	size_t of_pod;

	d = find(b, r, host, provider, &of_pod);
	if (!d && of_pod >= EG_DENIAL_HOSTS) {
		host.n = provider.n = 0;
		d = find(b, r, host, provider, &of_pod);
	}
	if (d || b->count == EG_DENIALS)
		return d;
	d = &b->item[b->count++];
	eg_str_copy(d->pod_uid, sizeof(d->pod_uid), eg_str_from(r->pod_uid));
	eg_str_copy(d->host, sizeof(d->host), host);
	eg_str_copy(d->provider, sizeof(d->provider), provider);
	d->reason = r->reason;
	d->count = 0;
	return d;
}

void eg_denials_add(struct eg_denials *d, const struct eg_record *r)
{
	struct eg_denial_batch *b = &d->batch[d->filling];
	struct eg_denial *one = NULL;

	/* That a client does not trust the CA is so whatever policy would have said. */
	if (!eg_denial_is_told(r->reason) || !r->pod_uid ||
	    (r->shadow && r->reason != EG_REASON_CLIENT_REJECTED_CA))
		return;
	if (strlen(r->pod_uid) < EG_DENIAL_UID &&
	    (!r->provider || strlen(r->provider) < EG_DENIAL_UID))
		one = place(b, r);
	if (one)
		one->count++;
	else
		b->lost++;
}

void eg_denials_hand_over(struct eg_denials *d)
{
	const struct eg_denial_batch *b = &d->batch[d->filling];

	if ((!b->count && !b->lost) || atomic_load_explicit(&d->full, memory_order_acquire))
		return;
	atomic_store_explicit(&d->full, d->filling + 1, memory_order_release);
	d->filling = !d->filling;
}

const struct eg_denial_batch *eg_denials_take(struct eg_denials *d)
{
	unsigned int full = atomic_load_explicit(&d->full, memory_order_acquire);

	return full ? &d->batch[full - 1] : NULL;
}

void eg_denials_taken(struct eg_denials *d)
{
	struct eg_denial_batch *b =
		&d->batch[atomic_load_explicit(&d->full, memory_order_acquire) - 1];

	b->count = 0;
	b->lost = 0;
	atomic_store_explicit(&d->full, 0, memory_order_release);
}
