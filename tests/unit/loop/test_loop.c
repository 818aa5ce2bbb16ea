/* SPDX-License-Identifier: Apache-2.0 */
/* The event loop. Time is only ever waited for as "not before"; nothing here asserts how long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/loop.h"

static struct eg_loop *loop;

static int setup(void **state)
{
	loop = eg_loop_create();
	return loop ? 0 : -1;
}

static int teardown(void **state)
{
	eg_loop_destroy(loop);
	return 0;
}

static void turn(int timeout_ms)
{
	assert_int_equal(eg_loop_turn(loop, timeout_ms), 0);
}

/* ---- watches ---- */

struct pair {
	struct eg_watch w;
	int other;
	unsigned int calls;
	uint32_t events;
	void (*also)(struct pair *p);
	struct pair *partner;
};

static void ready(struct eg_watch *w, uint32_t events)
{
	struct pair *p = eg_container_of(w, struct pair, w);

	p->calls++;
	p->events = events;
	if (p->also)
		p->also(p);
}

static void open_pair(struct pair *p, uint32_t events)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds),
			 0);
	*p = (struct pair){.w = {.fd = -1, .ready = ready}, .other = fds[1]};
	assert_int_equal(eg_watch_add(loop, &p->w, fds[0], events), 0);
}

static void close_pair(struct pair *p)
{
	int fd = p->w.fd;

	eg_watch_remove(loop, &p->w);
	if (fd >= 0)
		close(fd);
	close(p->other);
}

static void readable(void **state)
{
	struct pair p;

	open_pair(&p, EPOLLIN);
	turn(0);
	assert_int_equal(p.calls, 0);
	assert_int_equal(write(p.other, "x", 1), 1);
	turn(-1);
	assert_int_equal(p.calls, 1);
	assert_int_equal(p.events, EPOLLIN);
	turn(-1); /* level-triggered */
	assert_int_equal(p.calls, 2);
	close_pair(&p);
}

static void changing_interest(void **state)
{
	struct pair p;

	open_pair(&p, 0);
	assert_int_equal(write(p.other, "x", 1), 1);
	turn(0);
	assert_int_equal(p.calls, 0);
	assert_int_equal(eg_watch_set(loop, &p.w, EPOLLOUT), 0);
	assert_int_equal(eg_watch_set(loop, &p.w, EPOLLOUT), 0);
	turn(-1);
	assert_int_equal(p.events, EPOLLOUT);
	assert_int_equal(eg_watch_set(loop, &p.w, EPOLLIN | EPOLLOUT), 0);
	turn(-1);
	assert_int_equal(p.events, EPOLLIN | EPOLLOUT);
	/* with no interest a hang-up is still told */
	assert_int_equal(eg_watch_set(loop, &p.w, 0), 0);
	p.calls = 0;
	shutdown(p.other, SHUT_RDWR);
	shutdown(p.w.fd, SHUT_RDWR);
	turn(-1);
	assert_int_equal(p.calls, 1);
	assert_true(p.events & EPOLLHUP);
	close_pair(&p);
}

static void removing(void **state)
{
	struct pair p;
	int fd;

	open_pair(&p, EPOLLIN);
	fd = p.w.fd;
	assert_int_equal(write(p.other, "x", 1), 1);
	errno = 55;
	eg_watch_remove(loop, &p.w);
	eg_watch_remove(loop, &p.w); /* harmless */
	assert_int_equal(errno, 55);
	assert_int_equal(p.w.fd, -1);
	turn(0);
	assert_int_equal(p.calls, 0);
	assert_int_equal(eg_watch_add(loop, &p.w, fd, EPOLLIN), 0);
	turn(-1);
	assert_int_equal(p.calls, 1);
	close_pair(&p);
}

static void add_fails(void **state)
{
	struct eg_watch w = {.fd = -1, .ready = ready};

	assert_int_equal(eg_watch_add(loop, &w, 1000000, EPOLLIN), -EBADF);
	assert_int_equal(w.fd, -1);
	assert_int_equal(eg_watch_set(loop, &w, EPOLLIN), -EBADF);
	eg_watch_remove(loop, &w);
}

static void remove_partner(struct pair *p)
{
	eg_watch_remove(loop, &p->partner->w);
	eg_watch_remove(loop, &p->w);
}

/* Both are ready in one batch; whichever is called first removes both. */
static void removed_in_the_same_batch(void **state)
{
	struct pair a, b;
	int fds[2];

	open_pair(&a, EPOLLIN);
	open_pair(&b, EPOLLIN);
	fds[0] = a.w.fd;
	fds[1] = b.w.fd;
	a.partner = &b;
	b.partner = &a;
	a.also = b.also = remove_partner;
	assert_int_equal(write(a.other, "x", 1), 1);
	assert_int_equal(write(b.other, "x", 1), 1);
	turn(-1);
	assert_int_equal(a.calls + b.calls, 1);
	turn(0);
	assert_int_equal(a.calls + b.calls, 1);
	close(fds[0]);
	close(fds[1]);
	close_pair(&a);
	close_pair(&b);
}

/* ---- timers ---- */

struct tick {
	struct eg_timer t;
	unsigned int fired;
	void (*also)(struct tick *k);
	struct tick *partner;
};

static struct tick *order[1000];
static size_t fired;

static void fire(struct eg_timer *t)
{
	struct tick *k = eg_container_of(t, struct tick, t);

	assert_false(eg_timer_armed(t));
	assert_true(eg_loop_now_ms(loop) >= t->due_ms);
	k->fired++;
	if (fired < EG_ARRAY_SIZE(order))
		order[fired++] = k;
	if (k->also)
		k->also(k);
}

static void timers_in_order(void **state)
{
	static struct tick k[1000];
	size_t armed = 0;

	fired = 0;
	for (size_t i = 0; i < EG_ARRAY_SIZE(k); i++) {
		k[i] = (struct tick){.fired = 0};
		eg_timer_init(&k[i].t, fire);
		assert_false(eg_timer_armed(&k[i].t));
		assert_int_equal(eg_timer_set(loop, &k[i].t, i * 7919 % 50), 0);
		assert_true(eg_timer_armed(&k[i].t));
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(k); i += 3) /* from everywhere in the heap */
		eg_timer_cancel(loop, &k[i].t);
	for (size_t i = 1; i < EG_ARRAY_SIZE(k); i += 9)
		assert_int_equal(eg_timer_set(loop, &k[i].t, (i * 31) % 60), 0);
	for (size_t i = 0; i < EG_ARRAY_SIZE(k); i++)
		armed += eg_timer_armed(&k[i].t);
	assert_int_equal(armed, 666);
	while (fired < armed)
		turn(-1);
	for (size_t i = 0; i < EG_ARRAY_SIZE(k); i++)
		assert_int_equal(k[i].fired, i % 3 ? 1 : 0);
	for (size_t i = 1; i < fired; i++)
		assert_true(order[i - 1]->t.due_ms <= order[i]->t.due_ms);
}

static void cancelling(void **state)
{
	struct tick k = {.fired = 0};

	eg_timer_init(&k.t, fire);
	eg_timer_cancel(loop, &k.t); /* harmless */
	assert_int_equal(eg_timer_set(loop, &k.t, 0), 0);
	eg_timer_cancel(loop, &k.t);
	eg_timer_cancel(loop, &k.t);
	turn(0);
	assert_int_equal(k.fired, 0);
	assert_int_equal(eg_timer_set(loop, &k.t, UINT64_MAX), 0); /* never, not at once */
	turn(0);
	assert_int_equal(k.fired, 0);
	assert_int_equal(eg_timer_set(loop, &k.t, 0), 0); /* re-armed to an earlier time */
	turn(0);
	assert_int_equal(k.fired, 1);
}

static void again(struct tick *k)
{
	assert_int_equal(eg_timer_set(loop, &k->t, 0), 0);
}

/* A timer that always re-arms itself with 0 must leave room for events. */
static void rearming_does_not_starve(void **state)
{
	struct tick k = {.also = again};
	struct pair p;

	eg_timer_init(&k.t, fire);
	assert_int_equal(eg_timer_set(loop, &k.t, 0), 0);
	open_pair(&p, EPOLLIN);
	assert_int_equal(write(p.other, "x", 1), 1);
	for (int i = 0; i < 5; i++)
		turn(-1);
	assert_in_range(k.fired, 1, 5);
	assert_int_equal(p.calls, 5);
	eg_timer_cancel(loop, &k.t);
	close_pair(&p);
}

static void cancel_partner(struct tick *k)
{
	eg_timer_cancel(loop, &k->partner->t);
}

static void timer_cancels_a_due_one(void **state)
{
	struct tick a = {.also = cancel_partner}, b = {.also = cancel_partner};

	a.partner = &b;
	b.partner = &a;
	eg_timer_init(&a.t, fire);
	eg_timer_init(&b.t, fire);
	assert_int_equal(eg_timer_set(loop, &a.t, 0), 0);
	assert_int_equal(eg_timer_set(loop, &b.t, 0), 0);
	turn(0);
	turn(0);
	assert_int_equal(a.fired + b.fired, 1);
}

/* ---- the end of the turn ---- */

struct later {
	struct eg_defer d;
	unsigned int runs;
	struct later *next;
};

static void run_later(struct eg_defer *d)
{
	struct later *l = eg_container_of(d, struct later, d);

	l->runs++;
	assert_false(d->queued);
	if (l->next)
		eg_loop_defer(loop, &l->next->d);
}

static struct later in_event;

static void defer_it(struct pair *p)
{
	eg_loop_defer(loop, &in_event.d);
	eg_loop_defer(loop, &in_event.d); /* once */
	assert_int_equal(in_event.runs, 0);
}

static struct pair crowd[40];
static unsigned int told, told_at_first;

static void first_ran(struct eg_defer *d)
{
	told_at_first = told;
}

static void defer_once(struct pair *p)
{
	told++;
	eg_loop_defer(loop, &in_event.d);
}

static void count_it(struct pair *p)
{
	told++;
}

/* Of many that are ready at once, the first are done with before the last are told. */
static void deferred_in_a_crowd(void **state)
{
	in_event = (struct later){.d.run = first_ran};
	for (size_t i = 0; i < EG_ARRAY_SIZE(crowd); i++) {
		open_pair(&crowd[i], EPOLLIN);
		crowd[i].also = i ? count_it : defer_once;
		assert_int_equal(write(crowd[i].other, "x", 1), 1);
	}
	turn(-1);
	assert_int_equal(told, EG_ARRAY_SIZE(crowd));
	assert_in_range(told_at_first, 1, EG_ARRAY_SIZE(crowd) - 1);
	for (size_t i = 0; i < EG_ARRAY_SIZE(crowd); i++)
		close_pair(&crowd[i]);
}

static void deferred(void **state)
{
	struct later a = {.d.run = run_later}, b = {.d.run = run_later};
	struct pair p;

	in_event = (struct later){.d.run = run_later};
	open_pair(&p, EPOLLIN);
	p.also = defer_it;
	assert_int_equal(write(p.other, "x", 1), 1);
	turn(-1);
	assert_int_equal(in_event.runs, 1);
	close_pair(&p);
	/* from outside a turn, and one that queues another */
	a.next = &b;
	eg_loop_defer(loop, &a.d);
	eg_loop_defer(loop, &a.d);
	turn(0);
	assert_int_equal(a.runs, 1);
	assert_int_equal(b.runs, 1);
	turn(0);
	assert_int_equal(a.runs, 1);
	/* and where no turn comes any more */
	eg_loop_defer(loop, &a.d);
	eg_loop_finish(loop);
	assert_int_equal(a.runs, 2);
	assert_int_equal(b.runs, 2);
	eg_loop_finish(loop);
	assert_int_equal(a.runs, 2);
	eg_loop_finish(NULL);
}

/* ---- waking and stopping ---- */

static unsigned int wakes;

static void woken(void *ctx)
{
	wakes++;
	*(bool *)ctx = true;
	eg_loop_stop(loop);
}

static void *wake_from_thread(void *ctx)
{
	for (int i = 0; i < 1000; i++)
		eg_loop_wake(loop);
	return NULL;
}

static void waking(void **state)
{
	pthread_t thread;
	bool seen = false;

	wakes = 0;
	eg_loop_on_wake(loop, woken, &seen);
	for (int i = 0; i < 10; i++)
		eg_loop_wake(loop);
	turn(0);
	assert_int_equal(wakes, 1); /* once for many */
	eg_loop_stop(loop);
	assert_int_equal(eg_loop_run(loop), 0); /* the stop from before */
	assert_int_equal(pthread_create(&thread, NULL, wake_from_thread, NULL), 0);
	assert_int_equal(eg_loop_run(loop), 0);
	pthread_join(thread, NULL);
	assert_true(seen && wakes >= 2);
	eg_loop_on_wake(loop, NULL, NULL);
	eg_loop_wake(loop);
	turn(0);
}

static void take_time(struct pair *p)
{
	(void)p;
	usleep(20000);
}

/* Handlers that take their time don't make one turn of all that is ready: whoever watches the loop
 * sees it turn, and what was left is not forgotten. */
static void a_turn_ends(void **state)
{
	static struct pair p[48];
	unsigned int called = 0;

	for (size_t i = 0; i < EG_ARRAY_SIZE(p); i++) {
		open_pair(&p[i], EPOLLIN);
		p[i].also = take_time;
		assert_int_equal(write(p[i].other, "x", 1), 1);
	}
	turn(0);
	for (size_t i = 0; i < EG_ARRAY_SIZE(p); i++)
		called += p[i].calls;
	assert_in_range(called, 1, 12); /* of 20 ms each */
	for (int i = 0; i < 10; i++)
		turn(0);
	for (size_t i = 0; i < EG_ARRAY_SIZE(p); i++) {
		assert_true(p[i].calls > 0);
		close_pair(&p[i]);
	}
	(void)state;
}

struct slow {
	struct eg_timer timer;
	struct eg_defer soon;
	unsigned int calls;
};

static struct slow slow[48];

static unsigned int slow_calls(void)
{
	unsigned int n = 0;

	for (size_t i = 0; i < EG_ARRAY_SIZE(slow); i++)
		n += slow[i].calls;
	return n;
}

static void slow_fire(struct eg_timer *t)
{
	usleep(20000);
	eg_container_of(t, struct slow, timer)->calls++;
}

static void slow_run(struct eg_defer *d)
{
	usleep(20000);
	eg_container_of(d, struct slow, soon)->calls++;
}

/* Nor do timers that are due, and what was put off. */
static void a_turn_ends_for_timers(void **state)
{
	memset(slow, 0, sizeof(slow));
	for (size_t i = 0; i < EG_ARRAY_SIZE(slow); i++) {
		eg_timer_init(&slow[i].timer, slow_fire);
		assert_int_equal(eg_timer_set(loop, &slow[i].timer, 0), 0);
	}
	turn(0);
	assert_in_range(slow_calls(), 1, EG_ARRAY_SIZE(slow) - 1);
	for (int i = 0; i < 10; i++)
		turn(0);
	assert_int_equal(slow_calls(), EG_ARRAY_SIZE(slow));
	(void)state;
}

static void a_turn_ends_for_what_was_put_off(void **state)
{
	memset(slow, 0, sizeof(slow));
	for (size_t i = 0; i < EG_ARRAY_SIZE(slow); i++) {
		slow[i].soon.run = slow_run;
		eg_loop_soon(loop, &slow[i].soon);
	}
	turn(0);
	assert_in_range(slow_calls(), 1, EG_ARRAY_SIZE(slow) - 1);
	eg_loop_soon(loop, &slow[0].soon); /* behind those that are left */
	for (int i = 0; i < 10; i++)
		turn(0);
	assert_int_equal(slow_calls(), EG_ARRAY_SIZE(slow) + 1);
	assert_int_equal(slow[0].calls, 2);
	(void)state;
}

static unsigned int ended;

static void slow_end(struct eg_defer *d)
{
	struct slow *s = eg_container_of(d, struct slow, soon);

	usleep(20000);
	assert_int_equal(s - slow, ended++);
	s->calls++;
}

/* What is for the end of a turn has its own time, and what is left of it comes first in the next
 * one, in its order, without a wait. */
static void a_turn_ends_for_its_end(void **state)
{
	unsigned int before = 0;
	int turns = 0;

	memset(slow, 0, sizeof(slow));
	ended = 0;
	for (size_t i = 0; i < EG_ARRAY_SIZE(slow); i++) {
		slow[i].soon.run = slow_end;
		eg_loop_defer(loop, &slow[i].soon);
	}
	for (; slow_calls() < EG_ARRAY_SIZE(slow); turns++) {
		assert_int_equal(eg_loop_turn(loop, 60000), 0);
		assert_true(slow_calls() > before);
		before = slow_calls();
		assert_int_equal(eg_loop_behind(loop), before < EG_ARRAY_SIZE(slow));
	}
	assert_in_range(turns, 2, 40);
	(void)state;
}

static void no_descriptors_left(void **state)
{
	struct rlimit old, none;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	for (rlim_t n = 3; n < 12; n++) {
		struct eg_loop *l;
		int fd;

		none = (struct rlimit){n, old.rlim_max};
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
		errno = 0;
		l = eg_loop_create();
		if (!l)
			assert_int_equal(errno, EMFILE);
		eg_loop_destroy(l);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
		fd = dup(0); /* nothing leaked, descriptor 0 still open */
		assert_true(fd >= 0);
		close(fd);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(readable),
		cmocka_unit_test(changing_interest),
		cmocka_unit_test(removing),
		cmocka_unit_test(add_fails),
		cmocka_unit_test(removed_in_the_same_batch),
		cmocka_unit_test(timers_in_order),
		cmocka_unit_test(cancelling),
		cmocka_unit_test(rearming_does_not_starve),
		cmocka_unit_test(timer_cancels_a_due_one),
		cmocka_unit_test(deferred),
		cmocka_unit_test(deferred_in_a_crowd),
		cmocka_unit_test(waking),
		cmocka_unit_test(a_turn_ends),
		cmocka_unit_test(a_turn_ends_for_timers),
		cmocka_unit_test(a_turn_ends_for_what_was_put_off),
		cmocka_unit_test(a_turn_ends_for_its_end),
		cmocka_unit_test(no_descriptors_left),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
