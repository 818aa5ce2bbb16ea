/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells, a moment after the last of a burst of changes, that something changed in some directories:
 * files written, renamed, removed, and the `..data` symlink swap of Kubernetes' volumes. Says that,
 * never what: the owner reads all of it anew. What inotify can miss (a directory that was replaced,
 * a network file system) is the owner's to poll for. One loop, one thread.
 */
#ifndef EGRET_AGENT_WATCH_H
#define EGRET_AGENT_WATCH_H

#include "base/error.h"
#include "loop/loop.h"

struct eg_dir_watch {
	struct eg_loop *loop;
	int fd; /* -1: closed */
	struct eg_watch watch;
	struct eg_timer settle;
	void (*changed)(struct eg_dir_watch *w);
	uint64_t settle_ms;
};

int eg_dir_watch_open(struct eg_dir_watch *w, struct eg_loop *l, uint64_t settle_ms,
		      void (*changed)(struct eg_dir_watch *w), struct eg_error *e) EG_MUST;
/* Idempotent. -ENOENT and others: not watched (yet); try again after the next poll. */
int eg_dir_watch_add(struct eg_dir_watch *w, const char *path) EG_MUST;
void eg_dir_watch_close(struct eg_dir_watch *w);

#endif
