/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people are told of a denial that a gateway claims. The gateway reads what pods and providers
 * send, and may be taken over: its word is taken for a pod that is known, a reason of the list, a
 * host that can be one and a provider that policy has. Pure.
 */
#ifndef EGRET_AGENT_DENIAL_NOTE_H
#define EGRET_AGENT_DENIAL_NOTE_H

#include "agent/table.h"
#include "agent/wire.h"
#include "kube/kube.h"
#include "policy/policy.h"

#define EG_NOTE_BYTES	     1024u	 /* with NUL */
#define EG_DENIAL_COUNT_MOST 1000000000u /* a second has no more */

/*
 * set may be NULL. True: *out is what is to be reported, its note being `note`, its names borrowed
 * of the table. False: it can't be so.
 */
bool eg_denial_note(const struct eg_wire_denial *d, const struct eg_table *t,
		    const struct eg_policy_set *set, char note[EG_NOTE_BYTES],
		    struct eg_kube_report *out) EG_MUST;

#endif
