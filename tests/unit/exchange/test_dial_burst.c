/* SPDX-License-Identifier: Apache-2.0 */
/* A burst at a provider that speaks HTTP/1.1: who dials, who waits, who gets what. */
#include "plane.h"
#include "upstream/pool.h"

#define ALL 100

struct waiting {
	struct eg_upstream_wait wait;
	struct eg_upstream_conn *conn;
	enum eg_reason reason;
	int done, order;
};

struct bed {
	struct plane p;
	struct eg_origin_spec o;
	struct waiting w[ALL];
	int told;
};

static struct bed b;

static void on_done(struct eg_upstream_wait *w, struct eg_upstream_conn *conn,
		    enum eg_reason reason, const char *text)
{
	struct waiting *me = eg_container_of(w, struct waiting, wait);

	assert_true(conn || *text);
	me->conn = conn;
	me->reason = reason;
	me->done++;
	me->order = b.told++;
}

static int setup(void **state)
{
	(void)state;
	memset(&b, 0, sizeof(b));
	plane_up(&b.p, NULL);
	b.o = (struct eg_origin_spec){.host = "provider.internal",
				      .port = b.p.port[0],
				      .binding = "key",
				      .allow_private = true};
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (int i = 0; i < ALL; i++) {
		eg_upstream_cancel(&b.w[i].wait);
		if (b.w[i].conn)
			eg_upstream_release(b.w[i].conn, false);
	}
	plane_turns(&b.p, 3);
	plane_down(&b.p);
	return 0;
}

static void ask(int i, uint64_t max_idle_ms, uint64_t connect_ms)
{
	b.w[i].wait.done = on_done;
	assert_null(eg_upstream_acquire(b.p.upstream, &b.o, max_idle_ms, connect_ms, &b.w[i].wait));
	assert_non_null(b.w[i].wait.dial);
}

static void release(int i)
{
	eg_upstream_release(b.w[i].conn, true);
	b.w[i].conn = NULL;
}

static void await_told(int n)
{
	for (int i = 0; i < PLANE_TURNS && b.told < n; i++)
		plane_turn(&b.p);
	assert_int_equal(b.told, n);
}

static struct upstream_turns *turns(void)
{
	struct eg_upstream_origin *g = upstream_origin_acquire(b.p.upstream, &b.o);
	struct upstream_turns *t = &g->turns;

	upstream_origin_release(b.p.upstream, g);
	return t;
}

/* Never more than so many at once, in order, and all of them in the end. */
static void test_bounded_and_in_order(void **state)
{
	size_t most = 0;

	(void)state;
	for (int i = 0; i < ALL; i++)
		ask(i, 50000, 10000);
	assert_int_equal(turns()->running_count, UPSTREAM_TURNS);
	for (int i = 0; i < PLANE_TURNS && b.told < ALL; i++) {
		most = EG_MAX(most, turns()->running_count);
		plane_turn(&b.p);
	}
	assert_int_equal(b.told, ALL);
	assert_int_equal(most, UPSTREAM_TURNS);
	for (int i = 0; i < ALL; i++) {
		assert_int_equal(b.w[i].done, 1);
		assert_int_equal(b.w[i].reason, EG_REASON_OK);
		assert_false(b.w[i].conn->reused);
		/* Those of one batch end as the kernel likes. */
		assert_in_range(b.w[i].order + UPSTREAM_TURNS, i, i + 2 * UPSTREAM_TURNS);
	}
	assert_int_equal(turns()->running_count, 0);
	assert_false(eg_timer_armed(&turns()->timer));
}

/* What becomes idle goes to who waits longest and takes one that was used; not to a newcomer. */
static void test_idle_before_the_turn(void **state)
{
	(void)state;
	ask(0, 50000, 10000);
	await_told(1);
	for (int i = 1; i <= (int)UPSTREAM_TURNS; i++)
		ask(i, 0, 10000);
	ask(20, 0, 10000); /* a new one or none */
	ask(21, 50000, 10000);
	ask(22, 50000, 10000);
	release(0);
	ask(23, 50000, 10000);
	assert_int_equal(b.told, 1);
	await_told(1 + (int)UPSTREAM_TURNS + 4);
	assert_int_equal(b.w[21].order, 1);
	assert_true(b.w[21].conn->reused);
	assert_int_equal(b.w[21].conn->connect_ms, 0);
	assert_false(b.w[20].conn->reused);
	assert_false(b.w[22].conn->reused);
	assert_false(b.w[23].conn->reused);
}

/* What became idle before a socket was made for it saves one that has its turn the dial: also when
 * its turn came with what it was told of. */
static void test_idle_with_the_turn(void **state)
{
	(void)state;
	ask(0, 50000, 10000);
	await_told(1);
	ask(1, 50000, 10000);
	release(0);
	await_told(2);
	assert_true(b.w[1].conn->reused);
	for (int i = 2; i < 2 + (int)UPSTREAM_TURNS; i++)
		ask(i, 0, 10000);
	ask(21, 50000, 10000);
	release(1);
	eg_upstream_cancel(&b.w[2].wait);
	await_told(2 + (int)UPSTREAM_TURNS);
	assert_int_equal(b.w[21].order, 2);
	assert_true(b.w[21].conn->reused);
	assert_int_equal(turns()->running_count, 0);
}

/* Given up, whether it waits or dials: the next one goes. */
static void test_cancel(void **state)
{
	(void)state;
	for (int i = 0; i < 40; i++)
		ask(i, 50000, 10000);
	for (int i = 20; i < 40; i++)
		eg_upstream_cancel(&b.w[i].wait);
	for (int i = 0; i < 10; i++)
		eg_upstream_cancel(&b.w[i].wait);
	assert_true(eg_list_empty(&turns()->waiting));
	assert_int_equal(turns()->running_count, 10);
	await_told(10);
	for (int i = 0; i < 40; i++)
		assert_int_equal(b.w[i].done, i >= 10 && i < 20);
}

/* Dials that get no answer hold nobody up for long, and who waits has a time limit of its own. */
static void test_slow_ones(void **state)
{
	int full[300], n = 0;
	uint16_t port;
	int listener = plane_listen(&port);

	(void)state;
	/* A listener whose backlog is full answers nothing. */
	assert_int_equal(listen(listener, 0), 0);
	for (; n < 4; n++) {
		struct sockaddr_in a = {.sin_family = AF_INET,
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
					.sin_port = htons(port)};

		full[n] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)!connect(full[n], (struct sockaddr *)&a, sizeof(a));
	}
	b.o.port = port;
	for (int i = 0; i < 40; i++)
		ask(i, 50000, 60000);
	ask(40, 50000, 20);
	await_told(1);
	assert_int_equal(b.w[40].done, 1);
	assert_int_equal(b.w[40].reason, EG_REASON_UPSTREAM_CONNECT);
	/* Nobody has an answer, and all have begun. */
	for (int i = 0; i < PLANE_TURNS && !eg_list_empty(&turns()->waiting); i++)
		plane_turn(&b.p);
	assert_true(eg_list_empty(&turns()->waiting));
	assert_int_equal(b.told, 1);
	for (int i = 0; i < n; i++)
		close(full[i]);
	close(listener);
}

/* All fail: each is told once, those that waited too. */
static void test_refused(void **state)
{
	(void)state;
	close(b.p.provider[0]);
	b.p.provider[0] = -1;
	for (int i = 0; i < ALL; i++)
		ask(i, 50000, 10000);
	await_told(ALL);
	for (int i = 0; i < ALL; i++) {
		assert_int_equal(b.w[i].done, 1);
		assert_int_equal(b.w[i].reason, EG_REASON_UPSTREAM_CONNECT);
	}
}

/* One pod's hundred do not make another's one wait for all of them. */
static void test_pods_take_turns(void **state)
{
	static const char many, one;

	(void)state;
	for (int i = 0; i < ALL; i++) {
		b.w[i].wait.of = i < ALL - 1 ? &many : &one;
		ask(i, 50000, 10000);
	}
	await_told(ALL);
	assert_in_range(b.w[ALL - 1].order, 0, 3 * UPSTREAM_TURNS);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_bounded_and_in_order),
		T(test_pods_take_turns),
		T(test_idle_before_the_turn),
		T(test_idle_with_the_turn),
		T(test_cancel),
		T(test_slow_ones),
		T(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
