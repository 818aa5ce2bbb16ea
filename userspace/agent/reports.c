/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes Kubernetes Events. Of denials the gateway tells, which reads what pods and providers
 * send: denial_note.c says what of its word is taken, and so much a second.
 */
#include <stdio.h>

#include "agent/denial_note.h"
#include "agent/supervisor_impl.h"
#include "base/redact.h"
#include "telemetry/denials.h"

#define SECOND_MS     1000u
#define MESSAGES_MOST (2u * EG_DENIALS / EG_WIRE_DENIED) /* of each worker, in a second */

static bool on(const struct eg_supervisor *s)
{
	return s->pods && s->o->kubernetes && s->o->kube_events;
}

/* ---- denials ---- */

static bool is_too_much(struct eg_supervisor *s)
{
	uint64_t now = eg_now_ms();

	if (now - s->reports.second_ms >= SECOND_MS) {
		s->reports.second_ms = now;
		s->reports.messages = 0;
	}
	/* Two gateways, while one drains. */
	return ++s->reports.messages > 2 * MESSAGES_MOST * s->listener_count;
}

static bool report_denial(struct eg_supervisor *s, const struct eg_wire_denial *d)
{
	char note[EG_NOTE_BYTES];
	struct eg_kube_report r;

	if (!s->table || !eg_denial_note(d, s->table, s->applied.policies, note, &r))
		return false;
	eg_pod_source_report(s->pods, &r);
	return true;
}

static void lose(struct eg_supervisor *s, uint64_t count)
{
	s->reports.lost += EG_MIN(count, (uint64_t)EG_DENIAL_COUNT_MOST);
}

void eg_report_denials(struct eg_supervisor *s, const struct eg_wire_denials *d)
{
	bool too_much;

	if (!on(s))
		return;
	too_much = is_too_much(s);
	lose(s, d->lost);
	for (uint32_t i = 0; i < EG_MIN(d->count, EG_WIRE_DENIED); i++)
		if (too_much || !report_denial(s, &d->item[i]))
			lose(s, d->item[i].count);
}

void eg_report_host_denial(struct eg_supervisor *s, const struct eg_host_guarded *p, const char *to,
			   enum eg_reason reason)
{
	char note[EG_NOTE_BYTES];
	const struct eg_kube_report r = {.namespace_name = p->namespace_name,
					 .name = p->name,
					 .uid = p->uid,
					 .reason = "PolicyDenied",
					 .action = "Deny",
					 .warning = true,
					 .note = note,
					 .count = 1};

	if (!on(s))
		return;
	snprintf(note, sizeof(note), "Connections to %s are refused: %s. %s", to,
		 eg_reason_label(reason), eg_reason_text(reason));
	eg_pod_source_report(s->pods, &r);
}

/* ---- the policy set ---- */

void eg_report_policy_refused(struct eg_supervisor *s, const char *holds, const char *why)
{
	char note[EG_NOTE_BYTES];
	const struct eg_kube_report r = {.reason = "PolicyRefused",
					 .action = "LoadPolicy",
					 .warning = true,
					 .note = note,
					 .count = 1};

	if (!on(s))
		return;
	s->reports.policy_refused = true;
	snprintf(note, sizeof(note), "The policy set is refused whole; %s. %s", holds, why);
	eg_redact_text(note, false);
	eg_pod_source_report(s->pods, &r);
}

void eg_report_policy_mended(struct eg_supervisor *s)
{
	char note[EG_NOTE_BYTES];
	const struct eg_kube_report r = {
		.reason = "PolicyApplied", .action = "LoadPolicy", .note = note, .count = 1};

	if (!on(s) || !s->reports.policy_refused || !s->policy_valid ||
	    s->applied.loaded != s->loaded || !s->applied.number)
		return;
	s->reports.policy_refused = false;
	snprintf(note, sizeof(note), "The policy set is taken again: version %s is in force",
		 eg_policy_version(s->applied.policies));
	eg_pod_source_report(s->pods, &r);
}
