/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of one kind of object: pods by uid, namespaces by name, in order. A list that is
 * read anew becomes visible as it comes, and what it did not have goes when it is whole.
 * Does no I/O.
 */
#ifndef EGRET_KUBE_STORE_H
#define EGRET_KUBE_STORE_H

#include "kube/objects.h"

/* More than any node or cluster has, so that no server can fill our memory. */
#define KUBE_STORE_MOST 65536u

struct kube_store {
	enum kube_kind kind;
	struct eg_kube_pod **items; /* in order of their keys */
	size_t count, room;
	uint64_t list; /* number of the last one that was begun */
	bool listing;  /* and it is not whole yet */
};

void kube_store_init(struct kube_store *s, enum kube_kind kind);
void kube_store_fini(struct kube_store *s);
/*
 * Adds or replaces; what is older than what is known is not taken, unless it is of a list. *changed
 * is set to true when something is other than it was. 0; -ENOMEM: all is as before; -ENOSPC.
 */
int kube_store_put(struct kube_store *s, const struct kube_event *e, bool *changed) EG_MUST;
/* Removes what has that key and, unless it is "", that uid. True: it was there. */
bool kube_store_remove(struct kube_store *s, const char *key, const char *uid);
/* A list begins (also when another one did not come to its end). */
void kube_store_begin(struct kube_store *s);
/* It is whole, and of that resourceVersion: what was neither in it nor came since it began goes.
 * True: something did. */
bool kube_store_end(struct kube_store *s, const char *version);
/* Borrowed until the next change; NULL: not known. */
const struct eg_kube_pod *kube_store_find(const struct kube_store *s, const char *key);
/* The one pod that is `mirror_of` that uid, in time linear in all; NULL unless *claims, how many
 * are, is 1. Borrowed likewise. */
const struct eg_kube_pod *kube_store_mirror(const struct kube_store *s, const char *uid,
					    size_t *claims);

#endif
