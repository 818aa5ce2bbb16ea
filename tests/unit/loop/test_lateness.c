/* SPDX-License-Identifier: Apache-2.0 */
/* When a loop counts as overloaded: by an artificial clock, and by a loop that is kept busy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/loop.h"

/* One sample each `late` milliseconds, as of turns that take so long. */
static uint64_t turns(struct eg_lateness *l, uint64_t now, uint64_t late, unsigned int n)
{
	while (n--) {
		now += late;
		eg_lateness_note(l, now, late);
	}
	return now;
}

static void one_spike_is_none(void **state)
{
	struct eg_lateness l = {0};

	(void)state;
	eg_lateness_note(&l, 10000, 5000);
	assert_false(l.overloaded);
	eg_lateness_note(&l, 10010, 10);
	for (uint64_t now = 11000; now < 20000; now += 1000) { /* and again each second */
		eg_lateness_note(&l, now, 4 * EG_LATENESS_TARGET_MS);
		eg_lateness_note(&l, now + 20, 20);
	}
	assert_false(l.overloaded);
	assert_int_equal(l.entered, 0);
}

static void at_the_target_is_none(void **state)
{
	struct eg_lateness l = {0};

	(void)state;
	turns(&l, 1000, EG_LATENESS_TARGET_MS, 1000);
	assert_false(l.overloaded);
	assert_in_range(eg_lateness_ms(&l), EG_LATENESS_TARGET_MS - 1, EG_LATENESS_TARGET_MS);
}

/* Five of these are an interval; three of those are enough to leave. */
#define LATE (EG_LATENESS_TARGET_MS * 5 / 4)
#define GOOD (EG_LATENESS_LEAVE_MS / 2)

static void a_whole_interval(void **state)
{
	struct eg_lateness l = {0};
	uint64_t now = turns(&l, 1000, LATE, 4);

	(void)state;
	assert_false(l.overloaded);
	now = turns(&l, now, LATE, 1);
	assert_true(l.overloaded);
	assert_int_equal(l.entered, 1);
	/* Good moments do not end it, a good time does. */
	now = turns(&l, now, GOOD, 2);
	now = turns(&l, now, LATE, 1);
	assert_true(l.overloaded);
	now = turns(&l, now, GOOD, 3);
	assert_false(l.overloaded);
	/* The next time is soon: less is needed to believe it. */
	now = turns(&l, now, LATE, 1);
	assert_false(l.overloaded);
	now = turns(&l, now, LATE, 1);
	assert_true(l.overloaded);
	assert_int_equal(l.entered, 2);
	/* Nothing to do for a moment: over, and forgotten a while later. */
	eg_lateness_idle(&l, now, now + EG_LATENESS_LEAVE_MS);
	assert_false(l.overloaded);
	assert_int_equal(eg_lateness_ms(&l), 0);
	now += EG_LATENESS_LEAVE_MS + EG_LATENESS_SOON_MS;
	turns(&l, now, LATE, 4);
	assert_false(l.overloaded);
}

/* ---- a loop ---- */

static struct eg_loop *loop;
static int busy_left;

static void busy(struct eg_defer *d)
{
	usleep((EG_LATENESS_TARGET_MS + 20) * 1000);
	if (--busy_left)
		eg_loop_soon(loop, d);
}

static void a_busy_loop(void **state)
{
	struct eg_defer d = {.run = busy};

	(void)state;
	loop = eg_loop_create();
	assert_non_null(loop);
	busy_left = 20;
	eg_loop_soon(loop, &d);
	while (busy_left && !eg_loop_lateness(loop)->overloaded)
		assert_int_equal(eg_loop_turn(loop, -1), 0);
	assert_true(busy_left > 0);
	assert_true(eg_lateness_ms(eg_loop_lateness(loop)) > 0);
	busy_left = 1;
	/* It wakes by itself to see that it is over: nothing else would end these waits. */
	for (int i = 0; i < 100 && eg_loop_lateness(loop)->overloaded; i++)
		assert_int_equal(eg_loop_turn(loop, -1), 0);
	assert_false(eg_loop_lateness(loop)->overloaded);
	eg_loop_destroy(loop);
}

static void fired(struct eg_timer *t)
{
	(void)t;
}

/* Waiting is no lateness, however long it takes. */
static void a_waiting_loop(void **state)
{
	struct eg_timer t;
	int calm = 0;

	(void)state;
	loop = eg_loop_create();
	assert_non_null(loop);
	eg_timer_init(&t, fired);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(eg_timer_set(loop, &t, 3 * EG_LATENESS_TARGET_MS / 2), 0);
		while (eg_timer_armed(&t))
			assert_int_equal(eg_loop_turn(loop, -1), 0);
		calm += !eg_lateness_ms(eg_loop_lateness(loop)); /* but for a late machine */
	}
	assert_true(calm > 0);
	assert_int_equal(eg_loop_lateness(loop)->entered, 0);
	eg_loop_destroy(loop);
}

/* What is due by the end of a long turn is not waited for once more. */
static void a_timer_of_a_long_turn(void **state)
{
	struct eg_timer t;
	uint64_t best = UINT64_MAX;

	(void)state;
	for (int i = 0; i < 5 && best >= 300; i++) { /* the machine may be late itself */
		uint64_t began;

		loop = eg_loop_create();
		assert_non_null(loop);
		eg_timer_init(&t, fired);
		assert_int_equal(eg_timer_set(loop, &t, 300), 0);
		usleep(301 * 1000); /* the turn's work */
		began = eg_now_ms();
		assert_int_equal(eg_loop_turn(loop, -1), 0);
		assert_false(eg_timer_armed(&t));
		best = EG_MIN(best, eg_now_ms() - began);
		eg_loop_destroy(loop);
	}
	assert_true(best < 300);
}

/* Turns are short, but more is always ready than one turn takes: what waits is seen. */
#define MANY 1000

static void slow(struct eg_watch *w, uint32_t events)
{
	(void)w;
	(void)events;
	usleep(500);
}

static void more_than_a_batch(void **state)
{
	static struct eg_watch w[MANY];
	int fd[2], turns_left = 200;

	(void)state;
	loop = eg_loop_create();
	assert_non_null(loop);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	for (int i = 0; i < MANY; i++) {
		w[i] = (struct eg_watch){.fd = -1, .ready = slow};
		assert_int_equal(eg_watch_add(loop, &w[i], dup(fd[0]), EPOLLOUT), 0);
	}
	/* 128 of them take 64 ms, below the target; all of them take 500 ms. */
	while (turns_left-- && !eg_loop_lateness(loop)->overloaded)
		assert_int_equal(eg_loop_turn(loop, -1), 0);
	assert_true(eg_loop_lateness(loop)->overloaded);
	for (int i = 0; i < MANY; i++) {
		int copy = w[i].fd;

		eg_watch_remove(loop, &w[i]);
		close(copy);
	}
	close(fd[0]);
	close(fd[1]);
	eg_loop_destroy(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_spike_is_none), cmocka_unit_test(at_the_target_is_none),
		cmocka_unit_test(a_whole_interval),  cmocka_unit_test(a_busy_loop),
		cmocka_unit_test(a_waiting_loop),    cmocka_unit_test(a_timer_of_a_long_turn),
		cmocka_unit_test(more_than_a_batch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
