/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One event loop a thread: epoll (level-triggered), timers, work for the end of the tick, and a
 * way for other threads to wake it. Only eg_loop_wake() may be called from another thread.
 *
 * Re-entrancy: any callback may remove any watch or timer, its own included. An event already
 * fetched for a removed watch is not delivered. Memory that holds a watch is freed no earlier than
 * when it is off the stack: use eg_loop_defer().
 */
#ifndef EGRET_LOOP_LOOP_H
#define EGRET_LOOP_LOOP_H

#include "base/base.h"
#include "loop/lateness.h"

struct eg_loop;

struct eg_watch {
	int fd;		 /* borrowed; -1 when not added */
	uint32_t events; /* EPOLLIN | EPOLLOUT | EPOLLRDHUP, as last set */
	void (*ready)(struct eg_watch *w, uint32_t events);
};

struct eg_timer {
	uint64_t due_ms; /* CLOCK_MONOTONIC */
	size_t index;	 /* place in the heap, SIZE_MAX when not armed */
	void (*fire)(struct eg_timer *t);
};

struct eg_defer {
	struct eg_defer *next; /* NULL and !queued: free to use */
	bool queued;
	void (*run)(struct eg_defer *d);
};

/* NULL with errno. */
struct eg_loop *eg_loop_create(void) EG_MUST;
void eg_loop_destroy(struct eg_loop *l);
/* Runs until eg_loop_stop(). 0 or -errno of epoll_wait. */
int eg_loop_run(struct eg_loop *l) EG_MUST;
/* One turn, waiting at most timeout_ms (-1: no limit). For tests and odd mains. */
int eg_loop_turn(struct eg_loop *l, int timeout_ms) EG_MUST;
void eg_loop_stop(struct eg_loop *l);
/* Time at the beginning of this turn: cheap, good enough for timers and records. */
uint64_t eg_loop_now_ms(const struct eg_loop *l);

/* How late events are handled; it holds for as long as the loop lives. */
const struct eg_lateness *eg_loop_lateness(const struct eg_loop *l);

/* 0 or -errno of epoll_ctl. w->ready must be set. events 0 keeps it registered for errors only. */
int eg_watch_add(struct eg_loop *l, struct eg_watch *w, int fd, uint32_t events) EG_MUST;
/* No system call when nothing changes. */
int eg_watch_set(struct eg_loop *l, struct eg_watch *w, uint32_t events) EG_MUST;
/* Before the descriptor is closed. Harmless when not added. */
void eg_watch_remove(struct eg_loop *l, struct eg_watch *w);

void eg_timer_init(struct eg_timer *t, void (*fire)(struct eg_timer *t));
/* Arms or re-arms; a delay of 0 fires at the end of this turn, from a timer's callback in the next.
 * 0 or -ENOMEM. */
int eg_timer_set(struct eg_loop *l, struct eg_timer *t, uint64_t delay_ms) EG_MUST;
/* Harmless when not armed. */
void eg_timer_cancel(struct eg_loop *l, struct eg_timer *t);
static inline bool eg_timer_armed(const struct eg_timer *t)
{
	return t->index != SIZE_MAX;
}

/*
 * Runs d->run at the end of this turn, or behind the next few events of it when there are many; of
 * a later one, and in this order, when there is more of such work than the end of a turn has time
 * for. Never from within another callback. Once, even if queued twice.
 */
void eg_loop_defer(struct eg_loop *l, struct eg_defer *d);
/* Runs d->run when this event has been handled, and not after others: for what is large, and in the
 * processor's cache now. One that is deferred already stays so. */
void eg_loop_defer_little(struct eg_loop *l, struct eg_defer *d);
/* NULL is allowed. All of that now, and what it defers: for who closes what there is when no turn
 * comes any more, before eg_loop_destroy(). */
void eg_loop_finish(struct eg_loop *l);
/* Is some of that left from the last turn? */
bool eg_loop_behind(const struct eg_loop *l);
/*
 * Runs d->run after the events of this turn, or of the next one, which then doesn't wait. What
 * queues itself again from d->run waits for the next turn, so that others get theirs: for work
 * that epoll can't announce (bytes already read). A d is in this queue or in the other, not both.
 */
void eg_loop_soon(struct eg_loop *l, struct eg_defer *d);

/* Thread-safe: makes the loop call on_wake soon (once for many calls). */
void eg_loop_wake(struct eg_loop *l);
void eg_loop_on_wake(struct eg_loop *l, void (*on_wake)(void *ctx), void *ctx);

#endif
