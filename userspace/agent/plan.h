/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From policy to what the kernel is told: verdicts, flags of pods, ranges. Pure. The table of
 * verdicts for people is in docs/egretd.md.
 */
#ifndef EGRET_AGENT_PLAN_H
#define EGRET_AGENT_PLAN_H

#include "base/base.h"
#include "datapath/datapath.h"
#include "policy/policy.h"

#define EG_PLAN_RULES 5 /* of one kind */
#define EG_PLAN_KINDS 2

/* Policies of one kind have the same verdicts, and so one number in the kernel: a set of thousands
 * takes no more room there than one of two. Below EG_PLAN_KINDS. */
unsigned int eg_plan_kind(const struct eg_policy *p);
/*
 * The verdicts of one policy towards everything that is governed: TCP 80 and 443 go to the agent,
 * in shadow mode too (it splices and reports). Under enforcement QUIC, other TCP ports and other
 * protocols are dropped; in shadow mode they pass, for shadow changes nothing.
 */
size_t eg_plan_verdicts(const struct eg_policy *p, uint32_t policy_id,
			struct eg_verdict_rule out[EG_PLAN_RULES]);
/* What is to become of a pod for which policy says so: held while it is not known which it is. */
enum eg_pod_state eg_plan_state(const struct eg_selected *s);
/* enum eg_pod_flags of it; `otherwise` where the policy does not state its own fail policy. */
uint8_t eg_plan_flags(const struct eg_selected *s, enum eg_fail_policy otherwise);
/* "namespace/name"; of a longer one the middle is left out: replicas differ in their last letters.
 */
void eg_plan_pod_name(const struct eg_identity *id, char out[EG_POD_NAME]);
/* "10.0.0.0/8", "fd00::/64", or an address alone. 0 or -EINVAL. Host bits are cleared. */
int eg_plan_cidr(struct eg_str text, bool excluded, struct eg_cidr *out) EG_MUST;
/* An IPv4 address is in no IPv6 range, not even in one that holds its mapped form. */
bool eg_plan_covers(const struct eg_cidr *c, const struct eg_address *a);

#endif
