/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker denied, by pod, reason and host, for who tells people of it (Kubernetes Events).
 * The worker adds, without a lock and without memory; another thread takes what was added since it
 * took last. What finds no place is counted.
 */
#ifndef EGRET_TELEMETRY_DENIALS_H
#define EGRET_TELEMETRY_DENIALS_H

#include <stdatomic.h>

#include "telemetry/telemetry.h"

#define EG_DENIALS	128u /* of all pods, between two takes */
#define EG_DENIAL_HOSTS 8u   /* of one pod; its others are counted without a host */
#define EG_DENIAL_UID	64u
#define EG_DENIAL_NAME	256u

/* All strings end with NUL. */
struct eg_denial {
	char pod_uid[EG_DENIAL_UID];
	char host[EG_DENIAL_NAME];    /* as the pod named it; "": various, or not to be said */
	char provider[EG_DENIAL_UID]; /* its name in policy; "": none was chosen */
	enum eg_reason reason;
	uint64_t count;
};

struct eg_denial_batch {
	size_t count;
	uint64_t lost; /* denials that are not in it */
	struct eg_denial item[EG_DENIALS];
};

struct eg_denials {
	struct eg_denial_batch batch[2];
	unsigned int filling; /* the worker's */
	atomic_uint full;     /* 1 + index of the one that may be taken; 0: none */
};

/* Is this reason one that people are told of: policy refused what a pod asked for, or the pod does
 * not trust the CA. Not what a provider, a network or a lack of memory did. */
bool eg_denial_is_told(enum eg_reason r);

/* ---- the worker ---- */

/* A request or connection is over. Nothing happens unless it was denied for such a reason, and not
 * by a policy that only watches. */
void eg_denials_add(struct eg_denials *d, const struct eg_record *r);
/* Once a turn: hands over what there is, if the former was taken. */
void eg_denials_hand_over(struct eg_denials *d);

/* ---- one other thread ---- */

/* What was handed over, until eg_denials_taken(); NULL: nothing was. */
const struct eg_denial_batch *eg_denials_take(struct eg_denials *d) EG_MUST;
void eg_denials_taken(struct eg_denials *d);

#endif
