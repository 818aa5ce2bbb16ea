/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every decision of a moment is made from: policy, credentials, trust, pods. Immutable,
 * swapped whole by message; each exchange holds a reference of the one it began with.
 */
#ifndef EGRET_EXCHANGE_SNAPSHOT_H
#define EGRET_EXCHANGE_SNAPSHOT_H

#include "base/base.h"
#include "credential/credential.h"
#include "egret/abi/maps.h"
#include "net/tls.h"
#include "policy/policy.h"

#define EG_POD_VIEW_ADDRESSES EG_POD_ADDRESSES

/* One pod as the gateway knows it. Strings live as long as the snapshot. */
struct eg_pod_view {
	struct eg_identity identity;
	uint32_t pod_id; /* eg_pod.pod_id; stable for a uid; index of budgets */
	struct eg_address address[EG_POD_VIEW_ADDRESSES];
	size_t address_count;
	const struct eg_policy *policy; /* NULL: no policy selects it, or it is not known which */
	bool held; /* what selects it is not known yet: an unknown pod, with a name */
};

struct eg_snapshot;

/*
 * Takes over one reference each of `policies`, `credentials`; copies the pods (policy is filled by
 * eg_policy_select). trust[i] belongs to provider i (NULL: the default trust); references are
 * taken. NULL: out of memory (the references stay the caller's).
 */
struct eg_snapshot *eg_snapshot_create(uint32_t generation, struct eg_policy_set *policies,
				       struct eg_credential_set *credentials,
				       struct eg_trust *const *trust,
				       const struct eg_pod_view *pods, size_t pod_count) EG_MUST;
/* Atomic counts. */
struct eg_snapshot *eg_snapshot_ref(struct eg_snapshot *s);
void eg_snapshot_unref(struct eg_snapshot *s);

uint32_t eg_snapshot_generation(const struct eg_snapshot *s);
/* Of no other snapshot that this process ever had, and never 0: for who remembers something of one
 * without holding it. */
uint64_t eg_snapshot_serial(const struct eg_snapshot *s);
struct eg_policy_set *eg_snapshot_policies(const struct eg_snapshot *s);
struct eg_credential_set *eg_snapshot_credentials(const struct eg_snapshot *s);
struct eg_trust *eg_snapshot_trust(const struct eg_snapshot *s, const struct eg_provider *p);
/* By source address, hashed; NULL: unknown pod. One that is held is to be taken for one, too. */
const struct eg_pod_view *eg_snapshot_pod(const struct eg_snapshot *s, const struct eg_address *a);

#endif
