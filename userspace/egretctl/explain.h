/* SPDX-License-Identifier: Apache-2.0 */
/* egretctl explain from inside: explain.c has the question and the output, explain_chain.c the
 * steps between them. */
#ifndef EGRET_EGRETCTL_EXPLAIN_H
#define EGRET_EGRETCTL_EXPLAIN_H

#include <jansson.h>

#include "base/arena.h"
#include "egretctl/command.h"
#include "policy/policy.h"

struct question {
	const char *policy_dir, *pods_dir, *pod, *namespace_name, *labels, *service_account,
		*namespace_labels;
	const char *host, *path, *method, *model, *body, *content_type;
	bool gateway, json;
	struct eg_str name; /* of host: lower case, without port */
	uint16_t port;	    /* 0: none given */
};

struct explanation {
	const struct question *q;
	struct eg_arena arena;
	json_t *steps;
	enum eg_reason reason;
	bool allowed;
	uint64_t body_bytes; /* 0: no body was given */
	char answer[512];
};

/* What becomes of x->q's request of that pod: fills steps, reason, allowed and answer. EG_EXIT_OK,
 * or another exit code when it could not be found out, which has been said. */
int explain_pod(struct explanation *x, const struct eg_policy_set *s,
		const struct eg_identity *pod) EG_MUST;

#endif
