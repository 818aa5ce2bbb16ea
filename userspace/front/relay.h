/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two connected sockets, bytes both ways, untouched. The first bytes of each direction are copied;
 * one that goes on (a download) moves through a pipe with splice(2), where that pays. Each side's
 * end is passed on by itself; an error on one side resets both.
 */
#ifndef EGRET_FRONT_RELAY_H
#define EGRET_FRONT_RELAY_H

#include "base/buf.h"
#include "loop/loop.h"

#define EG_RELAY_IDLE_MS      3600000u /* nothing moved in either direction */
#define EG_RELAY_HALF_IDLE_MS 300000u  /* the same, one side having ended */

struct relay_way {
	struct eg_buf buf; /* copied, not yet sent */
	int pipe[2];	   /* -1 until it pays */
	size_t in_pipe;
	bool eof, shut, no_pipe;
	bool full;	/* the pipe takes no more, or did not when nothing was there */
	uint64_t bytes; /* received */
};

struct relay_owner {
	/* Once: it ended, in order or not. relay_fini() may be called in it. */
	void (*over)(void *ctx, bool failed);
	/* May it have so many descriptors more? NULL: always. */
	bool (*may_have)(void *ctx, size_t descriptors);
	/* Its buffers have so many bytes from now on. NULL: nobody counts. */
	void (*holds)(void *ctx, size_t bytes);
	/* Is there little memory left for such as this? Then it holds pieces. NULL: never. */
	bool (*crowded)(void *ctx);
};

struct relay {
	struct eg_loop *loop;
	int fd[2]; /* 0: the pod, 1: the destination; owned */
	struct eg_watch watch[2];
	struct relay_way way[2]; /* from fd[i] to the other */
	struct eg_timer timer;
	bool hung_up[2]; /* both its directions are over */
	size_t held;	 /* as the owner was told */
	uint64_t activity_ms;
	bool ended;
	const struct relay_owner *owner;
	void *ctx;
};

/* Takes both descriptors in any case. `first` (pod to destination) is taken over and emptied. 0 or
 * -errno. `over` comes from the loop only. */
int relay_begin(struct relay *r, struct eg_loop *loop, int pod_fd, int destination_fd,
		struct eg_buf *first, const struct relay_owner *owner, void *ctx) EG_MUST;
/* `reset`: both sides see one. Harmless twice, or on zeroed memory that never began. */
void relay_fini(struct relay *r, bool reset);

#endif
