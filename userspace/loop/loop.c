/* SPDX-License-Identifier: Apache-2.0 */
#include "loop/loop.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define BATCH	  128
#define PIECE	  16   /* events of a batch, after which what they put off is done */
#define TURN_MS	  100u /* of handling: what is left is the next turn's; and as much of its end */
#define REST_MS	  25u  /* timers, and what was put off, have that much whatever the events took */
#define WAITED_MS 2u   /* less may be the clock's step */

struct eg_loop {
	int epoll_fd;
	int wake_fd;
	bool stopping;
	bool firing;  /* timers */
	bool probing; /* all that is ready did not fit into one batch: how long is that queue? */
	uint64_t probe_began_ms;
	struct eg_lateness lateness;
	uint64_t now_ms;
	struct eg_watch wake_watch;
	void (*on_wake)(void *ctx);
	void *on_wake_ctx;
	struct eg_timer **heap;
	size_t timers, heap_size;
	struct eg_defer *deferred, **deferred_tail;
	struct eg_defer *little, **little_tail; /* eg_loop_defer_little() */
	bool behind;				/* some of it is left from the last turn */
	struct eg_defer *soon, **soon_tail;
	struct epoll_event batch[BATCH];
	int batch_at, batch_n;
};

/* More is ready than a batch holds: goes to the end of the queue. */
static void probe(struct eg_loop *l)
{
	if (l->batch_n < BATCH || l->probing)
		return;
	l->probing = true;
	l->probe_began_ms = l->now_ms;
	eg_loop_wake(l);
}

static void wake_ready(struct eg_watch *w, uint32_t events)
{
	struct eg_loop *l = eg_container_of(w, struct eg_loop, wake_watch);
	uint64_t count;
	bool came_round;

	(void)events;
	came_round = l->probing;
	l->probing = false;
	if (came_round)
		eg_lateness_note(&l->lateness, l->now_ms, l->now_ms - l->probe_began_ms);
	if (read(l->wake_fd, &count, sizeof(count)) == sizeof(count) && l->on_wake)
		l->on_wake(l->on_wake_ctx);
	if (came_round)
		probe(l);
}

struct eg_loop *eg_loop_create(void)
{
	struct eg_loop *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->little_tail = &l->little;
	l->deferred_tail = &l->deferred;
	l->soon_tail = &l->soon;
	l->now_ms = eg_now_ms();
	l->wake_watch.ready = wake_ready;
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->epoll_fd < 0 || l->wake_fd < 0 ||
	    eg_watch_add(l, &l->wake_watch, l->wake_fd, EPOLLIN)) {
		eg_loop_destroy(l);
		return NULL;
	}
	return l;
}

void eg_loop_destroy(struct eg_loop *l)
{
	if (!l)
		return;
	eg_fd_close(&l->epoll_fd);
	eg_fd_close(&l->wake_fd);
	free(l->heap);
	free(l);
}

uint64_t eg_loop_now_ms(const struct eg_loop *l)
{
	return l->now_ms;
}

void eg_loop_stop(struct eg_loop *l)
{
	l->stopping = true;
}

void eg_loop_wake(struct eg_loop *l)
{
	uint64_t one = 1;
	int saved = errno;
	ssize_t ignored = write(l->wake_fd, &one, sizeof(one));

	(void)ignored; /* EAGAIN: the counter is full, so a wake is pending anyway */
	errno = saved;
}

void eg_loop_on_wake(struct eg_loop *l, void (*on_wake)(void *ctx), void *ctx)
{
	l->on_wake = on_wake;
	l->on_wake_ctx = ctx;
}

/* ---- watches ---- */

int eg_watch_add(struct eg_loop *l, struct eg_watch *w, int fd, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.ptr = w};

	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &e))
		return -errno;
	w->fd = fd;
	w->events = events;
	return 0;
}

int eg_watch_set(struct eg_loop *l, struct eg_watch *w, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.ptr = w};

	if (w->events == events)
		return 0;
	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, w->fd, &e))
		return -errno;
	w->events = events;
	return 0;
}

void eg_watch_remove(struct eg_loop *l, struct eg_watch *w)
{
	int saved = errno;

	if (w->fd < 0)
		return;
	(void)epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	w->fd = -1;
	w->events = 0;
	/* Events of this batch that were fetched already must not be delivered. */
	for (int i = l->batch_at; i < l->batch_n; i++)
		if (l->batch[i].data.ptr == w)
			l->batch[i].data.ptr = NULL;
	errno = saved;
}

/* ---- timers: a binary heap ---- */

static void place(struct eg_loop *l, size_t i, struct eg_timer *t)
{
	l->heap[i] = t;
	t->index = i;
}

static void sift(struct eg_loop *l, size_t i, struct eg_timer *t)
{
	while (i && l->heap[(i - 1) / 2]->due_ms > t->due_ms) {
		place(l, i, l->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	for (;;) {
		size_t child = 2 * i + 1;

		if (child + 1 < l->timers && l->heap[child + 1]->due_ms < l->heap[child]->due_ms)
			child++;
		if (child >= l->timers || l->heap[child]->due_ms >= t->due_ms)
			break;
		place(l, i, l->heap[child]);
		i = child;
	}
	place(l, i, t);
}

void eg_timer_init(struct eg_timer *t, void (*fire)(struct eg_timer *t))
{
	*t = (struct eg_timer){.index = SIZE_MAX, .fire = fire};
}

int eg_timer_set(struct eg_loop *l, struct eg_timer *t, uint64_t delay_ms)
{
	/* Zero from a timer's callback is the next turn, or the loop would never see its events. */
	if (l->firing && !delay_ms)
		delay_ms = 1;
	if (__builtin_add_overflow(l->now_ms, delay_ms, &t->due_ms))
		t->due_ms = UINT64_MAX;
	if (eg_timer_armed(t)) {
		sift(l, t->index, t);
		return 0;
	}
	if (l->timers == l->heap_size) {
		size_t size = l->heap_size ? 2 * l->heap_size : 64;
		struct eg_timer **heap = realloc(l->heap, size * sizeof(*heap));

		if (!heap)
			return -ENOMEM;
		l->heap = heap;
		l->heap_size = size;
	}
	l->timers++;
	l->heap[l->timers - 1] = t;
	sift(l, l->timers - 1, t);
	return 0;
}

void eg_timer_cancel(struct eg_loop *l, struct eg_timer *t)
{
	struct eg_timer *last;
	size_t i = t->index;

	if (!eg_timer_armed(t))
		return;
	t->index = SIZE_MAX;
	last = l->heap[--l->timers];
	if (last != t)
		sift(l, i, last);
}

/* Has the turn had its time, and this part of it, too? Looked at after each event, timer, ...: one
 * may be a hundred requests that are dear to read, and the clock is no system call. */
static bool turn_is_over(const struct eg_loop *l, uint64_t began_ms)
{
	uint64_t now = eg_now_ms();

	return now - l->now_ms >= TURN_MS && now - began_ms >= REST_MS;
}

static void fire_timers(struct eg_loop *l)
{
	uint64_t began_ms;

	if (!l->timers || l->heap[0]->due_ms > l->now_ms)
		return;
	began_ms = eg_now_ms();
	l->firing = true;
	while (l->timers && l->heap[0]->due_ms <= l->now_ms) {
		struct eg_timer *t = l->heap[0];

		eg_timer_cancel(l, t);
		t->fire(t);
		if (turn_is_over(l, began_ms))
			break;
	}
	l->firing = false;
}

/* ---- end of the tick ---- */

static void enqueue(struct eg_defer *d, struct eg_defer ***tail)
{
	if (d->queued)
		return;
	d->queued = true;
	d->next = NULL;
	**tail = d;
	*tail = &d->next;
}

/* It may queue itself again. */
static void run_first(struct eg_defer **head, struct eg_defer ***tail)
{
	struct eg_defer *d = *head;

	*head = d->next;
	if (!*head)
		*tail = head;
	d->next = NULL;
	d->queued = false;
	d->run(d);
}

void eg_loop_defer(struct eg_loop *l, struct eg_defer *d)
{
	enqueue(d, &l->deferred_tail);
}

void eg_loop_defer_little(struct eg_loop *l, struct eg_defer *d)
{
	enqueue(d, &l->little_tail);
}

static void run_little(struct eg_loop *l)
{
	while (l->little)
		run_first(&l->little, &l->little_tail);
}

/* With a time of its own, so that it gets done whatever the events take. What is left is as if more
 * events had come in between. */
static void run_deferred(struct eg_loop *l)
{
	uint64_t began_ms = l->deferred ? eg_now_ms() : 0;
	bool some = false;

	run_little(l);
	l->behind = false;
	while (l->deferred) {
		if (some && eg_now_ms() - began_ms >= TURN_MS) {
			l->behind = true;
			return;
		}
		some = true;
		run_first(&l->deferred, &l->deferred_tail);
		run_little(l);
	}
}

void eg_loop_finish(struct eg_loop *l)
{
	while (l && (l->deferred || l->little))
		run_deferred(l);
}

bool eg_loop_behind(const struct eg_loop *l)
{
	return l->behind;
}

void eg_loop_soon(struct eg_loop *l, struct eg_defer *d)
{
	enqueue(d, &l->soon_tail);
}

/* Only what is queued now: what is queued meanwhile runs in the next turn. */
static void run_soon(struct eg_loop *l)
{
	struct eg_defer *d = l->soon, *next, **tail = l->soon_tail;
	uint64_t began_ms = d ? eg_now_ms() : 0;

	l->soon = NULL;
	l->soon_tail = &l->soon;
	for (; d; d = next) {
		next = d->next;
		d->next = NULL;
		d->queued = false;
		d->run(d);
		if (next && turn_is_over(l, began_ms)) {
			*tail = l->soon;
			if (!l->soon)
				l->soon_tail = tail;
			l->soon = next;
			return;
		}
	}
}

/* ---- how late it is ---- */

const struct eg_lateness *eg_loop_lateness(const struct eg_loop *l)
{
	return &l->lateness;
}

/*
 * What became ready while the last turn worked has waited for its end, so long as that took: no
 * clock is read that is not read anyway. Where more was ready than a batch holds, events wait for
 * several turns; the wake's descriptor then goes to the end of epoll's queue, and when it comes
 * round says how long that is.
 */
static void note_work(struct eg_loop *l, uint64_t began_ms)
{
	uint64_t late = l->now_ms - (l->probing ? l->probe_began_ms : began_ms);

	if (!l->probing || late > EG_LATENESS_TARGET_MS)
		eg_lateness_note(&l->lateness, l->now_ms, late);
}

/* It waited from then until now for `due_ms` (a timer; UINT64_MAX: none) or for an event. */
static void note_wait(struct eg_loop *l, uint64_t began_ms, uint64_t due_ms)
{
	uint64_t target = EG_MAX(due_ms, began_ms);

	/* A timer was to end the wait, and is past its time: the processor was elsewhere. */
	if (target < l->now_ms && l->now_ms - target > EG_LATENESS_TARGET_MS)
		eg_lateness_note(&l->lateness, l->now_ms, l->now_ms - target);
	else if (l->batch_n < BATCH && l->now_ms - began_ms >= WAITED_MS)
		eg_lateness_idle(&l->lateness, began_ms, l->now_ms);
}

/* How long epoll may wait. */
static int wait_ms(const struct eg_loop *l, int timeout_ms)
{
	uint64_t due = l->timers ? l->heap[0]->due_ms : UINT64_MAX;
	uint64_t wait = due > l->now_ms ? due - l->now_ms : 0;

	if (l->soon || l->behind)
		return 0;
	if (l->timers && (timeout_ms < 0 || wait < (uint64_t)timeout_ms))
		timeout_ms = wait > 60000 ? 60000 : (int)wait;
	/* A loop that was late wakes once more, to see that it isn't. */
	if ((timeout_ms < 0 || timeout_ms > (int)EG_LATENESS_LEAVE_MS) &&
	    (l->lateness.overloaded || eg_lateness_ms(&l->lateness)))
		timeout_ms = EG_LATENESS_LEAVE_MS;
	return timeout_ms;
}

/* Waits for events, if none are left of the last turn. */
static int fetch(struct eg_loop *l, int timeout_ms)
{
	uint64_t began_ms;
	int n;

	if (l->batch_at < l->batch_n)
		return 0;
	timeout_ms = wait_ms(l, timeout_ms);
	began_ms = l->now_ms;
	n = epoll_wait(l->epoll_fd, l->batch, BATCH, timeout_ms);
	if (n < 0 && errno != EINTR)
		return -errno;
	l->now_ms = eg_now_ms();
	l->batch_at = 0;
	l->batch_n = EG_MAX(n, 0);
	note_wait(l, began_ms, l->timers ? l->heap[0]->due_ms : UINT64_MAX);
	probe(l);
	return 0;
}

/* What is left when the time is over is the next turn's: epoll would tell of those that were
 * handled, and are ready again, before it. */
static void handle(struct eg_loop *l)
{
	unsigned int handled = 0;

	while (l->batch_at < l->batch_n) {
		struct epoll_event *e = &l->batch[l->batch_at++];
		struct eg_watch *w = e->data.ptr;
		/* It may be of the last turn. */
		uint32_t events = w ? e->events & (w->events | EPOLLERR | EPOLLHUP) : 0;

		if (events)
			w->ready(w, events);
		if (turn_is_over(l, l->now_ms))
			break;
		run_little(l);
		/* What the first have to write does not wait for the last to be read. */
		if (++handled % PIECE == 0)
			run_deferred(l);
	}
}

int eg_loop_turn(struct eg_loop *l, int timeout_ms)
{
	uint64_t began_ms = l->now_ms;
	int r;

	if (!l->behind)
		run_deferred(l); /* queued outside a turn */
	l->now_ms = eg_now_ms();
	note_work(l, began_ms);
	r = fetch(l, timeout_ms);
	if (r)
		return r;
	handle(l);
	fire_timers(l);
	run_soon(l);
	run_deferred(l);
	return 0;
}

int eg_loop_run(struct eg_loop *l)
{
	int r = 0;

	while (!l->stopping && !r)
		r = eg_loop_turn(l, -1);
	l->stopping = false;
	return r;
}
