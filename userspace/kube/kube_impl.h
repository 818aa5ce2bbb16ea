/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of eg_kube, for kube.c and for tests that can't wait as long as it does. */
#ifndef EGRET_KUBE_KUBE_IMPL_H
#define EGRET_KUBE_KUBE_IMPL_H

#include "kube/events.h"
#include "kube/watch.h"

#define KUBE_SENTENCES 8u /* that may come in one turn; more are not needed */

struct eg_kube {
	struct kube_api api;
	struct eg_kube_calls calls;
	char *node;
	char *keep_file;      /* NULL: none */
	struct eg_timer keep; /* armed: something has changed since it was written */
	bool kept;	      /* it was read */
	bool told_keep;	      /* that it can't be written */
	bool pages;
	struct kube_watch watches[2]; /* by enum kube_kind */
	struct kube_events events;
	uint64_t failures, passed_over;
	uint32_t told[2]; /* bits by enum kube_trouble, by whose it was */
	bool told_passed_over;

	struct eg_defer tell;
	bool changed;
	struct {
		bool bad;
		char text[sizeof(((struct kube_outcome *)0)->text)];
	} sentences[KUBE_SENTENCES];
	size_t sentence_count;

	bool closed;
	struct eg_defer bury;
};

/* eg_kube_open() with other times. */
int kube_open(struct eg_loop *l, const struct eg_kube_options *options,
	      const struct eg_kube_calls *calls, const struct kube_times *times,
	      struct eg_kube **out, struct eg_error *error) EG_MUST;

#endif
