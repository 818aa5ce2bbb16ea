/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node's pods, as the CNI cache has them (name, uid, link, addresses), with what the Kubernetes
 * API says of the same uid (labels, service account) and of their namespaces (labels). Joined by
 * uid alone: a name is given again, and status.podIP comes after a pod's first packet. Pure.
 */
#ifndef EGRET_AGENT_JOIN_H
#define EGRET_AGENT_JOIN_H

#include "datapath/pod_list.h"
#include "kube/kube.h"

/* What the API says now; in a test, something else. What is returned is borrowed during the join.
 */
struct eg_join_api {
	const struct eg_kube_pod *(*pod)(void *context, const char *uid);
	bool (*namespace_labels)(void *context, const char *name, const struct eg_label **labels,
				 size_t *count);
	void *context;
};

/*
 * Fills in what the API says of each pod of the list, into the list's memory. What it does not name
 * is not known, also when it did before: a pod that was deleted by force and runs on, or whose
 * object can't be understood any more, must not keep what it was. (While the API is away the client
 * goes on saying what it said last.) 0 or -ENOMEM.
 */
int eg_join_pods(struct eg_pod_list *list, const struct eg_join_api *api) EG_MUST;

#endif
