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

/* What the API says, and what was known before; in a test, something else. What is returned is
 * borrowed during the join. */
struct eg_join_sources {
	const struct eg_kube_pod *(*pod)(void *context, const char *uid);
	bool (*namespace_labels)(void *context, const char *name, const struct eg_label **labels,
				 size_t *count);
	/* The pod of that uid as it was joined last; NULL: none was. */
	const struct eg_identity *(*former)(void *context, const char *uid);
	void *context;
};

/*
 * Fills in what is known of each pod of the list, into the list's memory. What the API does not
 * name stays as it was known before: as long as its network namespace is there a pod may send, also
 * one that was deleted by force. What neither names stays unknown. 0 or -ENOMEM.
 */
int eg_join_pods(struct eg_pod_list *list, const struct eg_join_sources *sources) EG_MUST;

#endif
