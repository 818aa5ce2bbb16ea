/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One kind of object kept current: a list that is streamed (or, where the server does not know
 * that, read page by page), then what changes, resumed where it broke off.
 */
#ifndef EGRET_KUBE_WATCH_H
#define EGRET_KUBE_WATCH_H

#include "kube/get.h"
#include "kube/split.h"
#include "kube/store.h"

enum kube_phase {
	KUBE_INITIAL, /* the list comes in the stream */
	KUBE_PAGES,   /* the list comes page by page */
	KUBE_STREAM,  /* what changes, from `version` on */
};

struct kube_watch;
struct kube_watch_calls {
	void (*changed)(struct kube_watch *w);
	/* Something is wrong, at each try. o->text says what. */
	void (*trouble)(struct kube_watch *w, const struct kube_outcome *o);
	/* An object or a line was passed over; why, in a static part of a sentence. */
	void (*passed_over)(struct kube_watch *w, const char *why);
	/* It runs for a while now. */
	void (*well)(struct kube_watch *w);
	/* The server does not stream lists; once. */
	void (*lists)(struct kube_watch *w);
};

struct kube_watch {
	const struct kube_watch_calls *calls;
	struct kube_api *api;
	enum kube_kind kind;
	const char *node; /* borrowed; of pods */
	bool *pages;	  /* of both watches: the server streams no lists */

	enum kube_phase phase;
	struct kube_store store;
	char version[KUBE_VERSION_BYTES + 1]; /* STREAM: resumes behind it */
	char go_on[KUBE_CONTINUE_BYTES + 1];  /* PAGES: of the next one */
	unsigned int page;

	struct kube_get get;
	struct kube_split split;
	struct kube_outcome stopped; /* why data() wants no more */
	struct eg_timer wait;	     /* before the next try */
	struct eg_timer settle;	     /* running: until that is no accident; INITIAL: its limit */
	unsigned int tries;	     /* since all was well */
	unsigned int refused;	     /* of these, by what the server said of `version` */
	uint64_t random;

	bool synced;  /* the list was whole once */
	bool running; /* STREAM, and the server sends */
	uint64_t heard_ms;
	char error[160]; /* of the last try, while it isn't running */
};

/* Begins at the next turn of the loop. 0 or -ENOMEM. */
int kube_watch_open(struct kube_watch *w, struct kube_api *api, enum kube_kind kind,
		    const char *node, bool *pages, const struct kube_watch_calls *calls) EG_MUST;
/* Safe in any callback but of the store's content, which is gone. */
void kube_watch_close(struct kube_watch *w);
const char *kube_watch_what(const struct kube_watch *w);

#endif
