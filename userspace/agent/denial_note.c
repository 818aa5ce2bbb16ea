/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/denial_note.h"

#include <stdio.h>

#include "base/redact.h"
#include "proto/uri.h"
#include "telemetry/denials.h"

static bool ends(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

/* "": it is no host, or looks as if it held a key. */
static const char *host_of(const struct eg_wire_denial *d)
{
	struct eg_str host = eg_str_from(d->host);

	return eg_host_valid(host) && !eg_redact_found(host, true) ? d->host : "";
}

/* Its name as policy has it; NULL: there is no such one. */
static const char *provider_of(const struct eg_policy_set *set, const struct eg_wire_denial *d)
{
	const struct eg_provider *p;
	size_t count;

	if (!set || !*d->provider)
		return NULL;
	p = eg_providers(set, &count);
	for (size_t i = 0; i < count; i++)
		if (!strcmp(p[i].name, d->provider))
			return p[i].name;
	return NULL;
}

static void say_rejected_ca(const char *host, char note[EG_NOTE_BYTES])
{
	snprintf(note, EG_NOTE_BYTES,
		 "TLS clients of this pod do not trust Egret's certificate authority: they end the "
		 "handshake%s%s with an alert (unknown_ca, bad_certificate or the like), so that "
		 "nothing of theirs is sent. The pod needs the CA: docs/ca.md, Bring the root into "
		 "pods",
		 *host ? " for " : "", host);
}

static void say_denied(const struct eg_wire_denial *d, const char *host, const char *provider,
		       char note[EG_NOTE_BYTES])
{
	enum eg_reason reason = (enum eg_reason)d->reason;

	snprintf(note, EG_NOTE_BYTES, "%s%s%s%s%s%s are refused: %s. %s",
		 eg_reason_status(reason) ? "Requests" : "Connections", *host ? " to " : "", host,
		 provider ? " (provider " : "", provider ? provider : "", provider ? ")" : "",
		 eg_reason_label(reason), eg_reason_text(reason));
}

bool eg_denial_note(const struct eg_wire_denial *d, const struct eg_table *t,
		    const struct eg_policy_set *set, char note[EG_NOTE_BYTES],
		    struct eg_kube_report *out)
{
	const struct eg_table_pod *pod;
	bool ca = d->reason == EG_REASON_CLIENT_REJECTED_CA;

	if (!d->count || !ends(d->pod_uid, sizeof(d->pod_uid)) || !ends(d->host, sizeof(d->host)) ||
	    !ends(d->provider, sizeof(d->provider)) ||
	    !eg_denial_is_told((enum eg_reason)d->reason))
		return false;
	pod = eg_table_by_uid(t, d->pod_uid);
	if (!pod)
		return false;
	if (ca)
		say_rejected_ca(host_of(d), note);
	else
		say_denied(d, host_of(d), provider_of(set, d), note);
	*out = (struct eg_kube_report){
		.namespace_name = pod->pod.identity.namespace_name,
		.name = pod->pod.identity.name,
		.uid = pod->pod.identity.uid,
		.reason = ca ? "CARejected" : "PolicyDenied",
		.action = ca ? "Handshake" : "Deny",
		.warning = true,
		.note = note,
		.count = EG_MIN(d->count, (uint64_t)EG_DENIAL_COUNT_MOST),
	};
	return true;
}
