/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node's pods, as the CNI cache has them (name, uid, link, addresses), with what the Kubernetes
 * API says of the same uid (labels, service account) and of their namespaces (labels). Joined by
 * uid alone: a name is given again, and status.podIP comes after a pod's first packet. Pure.
 *
 * A static pod's uid is known to the kubelet alone; its mirror in the API has another, and that one
 * in an annotation. Anyone who may create pods can write it, so it is believed only of a pod that
 * no object has the uid of, of one object alone, and only when namespace and name are the pod's
 * too: by these the kubelet itself joins the two, and deletes a mirror that is none.
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
	/* The one pod object that says it is the mirror of the static pod `uid`; NULL unless
	 * *claims, how many say so, is 1. NULL: none ever does. */
	const struct eg_kube_pod *(*mirror)(void *context, const char *uid, size_t *claims);
	/* A claim that is not believed, and why: a static part of a sentence. NULL is allowed. */
	void (*doubted)(void *context, const struct eg_identity *pod, const char *why);
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
