/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes as they come to whole JSON texts: the lines of a watch, or the items of a list, so that
 * neither a list nor a line has to be in memory at once beyond KUBE_TEXT_BYTES. What comes out does
 * not depend on how the input was cut. Does no I/O.
 */
#ifndef EGRET_KUBE_SPLIT_H
#define EGRET_KUBE_SPLIT_H

#include "base/base.h"
#include "base/buf.h"

/* What a list may have besides its items. */
#define KUBE_REST_BYTES (64u * 1024u)

struct kube_split {
	/* One line or item, not empty. cut: only the beginning of it, it is longer than
	 * KUBE_TEXT_BYTES. Another result than 0 stops, and is returned. */
	int (*piece)(void *ctx, struct eg_str text, bool cut);
	void *ctx;
	bool list;
	struct eg_buf text; /* of the piece that has begun */
	bool cut;
	/* Lists: */
	struct eg_buf rest; /* the list, with [] for its items */
	size_t depth;
	bool string, escaped;
	bool items; /* between their brackets */
	bool over;  /* the last bracket has come */
};

void kube_split_init(struct kube_split *s, bool list,
		     int (*piece)(void *ctx, struct eg_str text, bool cut), void *ctx);
void kube_split_fini(struct kube_split *s);
/* 0, what piece() returned, -ENOMEM, or -EINVAL: this is no list. */
int kube_split_feed(struct kube_split *s, struct eg_str in) EG_MUST;
/* It ended in order: a last line may have no newline; of a list -EINVAL says that it was not whole.
 */
int kube_split_end(struct kube_split *s) EG_MUST;

#endif
