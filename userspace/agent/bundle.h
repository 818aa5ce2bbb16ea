/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policy files and pods as the supervisor hands them to the gateway: one flat run of bytes in
 * sealed memory. The writer has validated what it writes; the reader believes no length all the
 * same.
 */
#ifndef EGRET_AGENT_BUNDLE_H
#define EGRET_AGENT_BUNDLE_H

#include "base/arena.h"
#include "base/base.h"
#include "base/buf.h"
#include "egret/abi/maps.h"
#include "policy/identity.h"
#include "policy/policy.h"

#define EG_BUNDLE_BYTES ((size_t)32 << 20)

struct eg_bundle_pod {
	struct eg_identity identity;
	uint32_t pod_id;
	struct eg_address address[EG_POD_ADDRESSES];
	uint32_t address_count;
};

/* Appends; 0 or as eg_buf_append(). */
int eg_bundle_put_policy(struct eg_buf *out, const struct eg_policy_file *files,
			 size_t count) EG_MUST;
int eg_bundle_put_pods(struct eg_buf *out, const struct eg_bundle_pod *pods, size_t count) EG_MUST;

/* The arrays lie in the arena, the strings in `bytes`, which must live as long. -EPROTO: not what a
 * writer makes; -ENOMEM. */
int eg_bundle_get_policy(struct eg_arena *a, struct eg_str bytes, struct eg_policy_file **files,
			 size_t *count) EG_MUST;
int eg_bundle_get_pods(struct eg_arena *a, struct eg_str bytes, struct eg_bundle_pod **pods,
		       size_t *count) EG_MUST;

#endif
