/* SPDX-License-Identifier: Apache-2.0 */
/* Who a pod is, as far as the feeders know. All strings are owned by whoever made the struct. */
#ifndef EGRET_POLICY_IDENTITY_H
#define EGRET_POLICY_IDENTITY_H

#include "base/base.h"

struct eg_arena;

struct eg_label {
	const char *key;   /* NUL-terminated */
	const char *value; /* NUL-terminated */
};

struct eg_identity {
	const char *namespace_name;  /* "shop"; never NULL */
	const char *name;	     /* pod name; never NULL */
	const char *uid;	     /* never NULL */
	const char *service_account; /* "" when unknown */
	const struct eg_label *labels;
	size_t label_count;
	const struct eg_label *namespace_labels;
	size_t namespace_label_count;
	/* What no feeder has told yet, whatever stands above: it may be anything. */
	bool labels_unknown, service_account_unknown, namespace_labels_unknown;
};

/* Labels and their strings into the arena. NULL: out of memory. */
const struct eg_label *eg_labels_copy(struct eg_arena *a, const struct eg_label *from,
				      size_t count) EG_MUST;

#endif
