/* SPDX-License-Identifier: Apache-2.0 */
/* A burst at a provider that allows few streams on a connection: who is sent before it has said how
 * many, who waits, who dials. The plane needs exchange, so it is here and not under upstream. */
#include "h2_provider.h"
#include "upstream/any_call.h"
#include "upstream/h2_conn.h"

#define ALL   60
#define CONNS 32

struct asked {
	struct eg_upstream_wait wait;
	union eg_any_call call;
	struct eg_h1_head scratch;
	int done, ends, fails, refused_over_limit;
	bool fresh;
};

struct bed {
	struct plane p;
	struct eg_origin_spec o;
	struct asked a[ALL];
	struct h2p s[CONNS];
	int conns;
	uint32_t limit; /* of a connection that is accepted now */
};

static struct bed b;

static int on_body(void *ctx, struct iovec *v, bool *last)
{
	(void)ctx;
	(void)v;
	*last = true;
	return 0;
}

static void on_sent(void *ctx, size_t n)
{
	(void)ctx;
	(void)n;
}

static void on_request_sent(void *ctx)
{
	(void)ctx;
}

static void on_head(void *ctx, const struct eg_h1_head *head)
{
	(void)ctx;
	assert_int_equal(head->status, 200);
}

static void on_data(void *ctx, struct eg_str data)
{
	(void)ctx;
	(void)data;
}

static void on_end(void *ctx)
{
	struct asked *a = ctx;

	a->ends++;
	eg_call_end(&a->call.base);
}

static void on_failed(void *ctx, enum eg_reason reason, const char *text)
{
	struct asked *a = ctx;

	(void)reason;
	(void)text;
	assert_int_equal(a->call.base.loss, EG_CALL_LOSS_UNPROCESSED);
	a->fails++;
	a->refused_over_limit += a->call.base.over_limit;
	eg_call_end(&a->call.base);
}

static const struct eg_call_ops ops = {on_body, on_sent, on_request_sent, on_head,
				       on_data, NULL,	 on_end,	  on_failed};

static void go(struct asked *a, struct eg_upstream_conn *conn)
{
	static const char head[] = "GET / HTTP/1.1\r\nhost: provider.internal\r\n\r\n";

	a->done++;
	eg_call_init(&a->call, conn, &ops, a, &a->scratch);
	assert_int_equal(eg_buf_append(&a->call.base.head, head, sizeof(head) - 1), 0);
	eg_call_begin(&a->call.base, conn, false, false);
}

static void on_done(struct eg_upstream_wait *w, struct eg_upstream_conn *conn,
		    enum eg_reason reason, const char *text)
{
	if (!conn)
		fail_msg("no connection: %d (%s)", (int)reason, text);
	go(eg_container_of(w, struct asked, wait), conn);
}

static int setup(void **state)
{
	(void)state;
	memset(&b, 0, sizeof(b));
	plane_up(&b.p, NULL);
	b.o = (struct eg_origin_spec){.host = "provider.internal",
				      .port = b.p.port[0],
				      .binding = "key",
				      .http2 = true,
				      .prior_knowledge = true,
				      .allow_private = true};
	b.limit = 9;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (int i = 0; i < ALL; i++) {
		eg_upstream_cancel(&b.a[i].wait);
		if (b.a[i].done)
			eg_call_end(&b.a[i].call.base);
	}
	for (int i = 0; i < b.conns; i++)
		h2p_fini(&b.s[i]);
	plane_turns(&b.p, 5);
	plane_down(&b.p);
	return 0;
}

static void ask(int from, int to)
{
	for (int i = from; i < to; i++) {
		struct asked *a = &b.a[i];
		struct eg_upstream_conn *c;

		a->wait.done = on_done;
		c = eg_upstream_acquire(b.p.upstream, &b.o, 50000, 10000, &a->wait);
		if (c)
			go(a, c);
	}
}

static int sum(int what)
{
	int n = 0;

	for (int i = 0; i < ALL; i++)
		n += what == 'd' ? b.a[i].done : what == 'e' ? b.a[i].ends : b.a[i].fails;
	return n;
}

/* Takes who calls; says nothing. */
static void take(void)
{
	for (int fd; (fd = accept4(b.p.provider[0], NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
		nghttp2_settings_entry e = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, b.limit};

		assert_true(b.conns < CONNS);
		h2p_init_with(&b.s[b.conns++], fd, true, &e, 1);
	}
}

/* Until `n` have a connection, whose provider has said nothing yet. */
static void await_given(int n)
{
	for (int i = 0; i < PLANE_TURNS && sum('d') < n; i++) {
		take();
		plane_turn(&b.p);
	}
}

static void turns(int n)
{
	while (n--) {
		take();
		for (int i = 0; i < b.conns; i++)
			h2p_poll(&b.s[i]);
		plane_turns(&b.p, 1);
	}
}

/* Turns until so many requests have ended; each is answered as it comes. */
static void serve(int n)
{
	static const nghttp2_nv ok[] = {H2P_FIELD(":status", "200"),
					H2P_FIELD("content-length", "0")};

	for (int t = 0; t < PLANE_TURNS && sum('e') < n; t++) {
		turns(1);
		plane_turn(&b.p);
		for (int i = 0; i < b.conns; i++)
			for (int j = 0; j < b.s[i].count; j++)
				if (b.s[i].stream[j].ended && !b.s[i].stream[j].answer_ends &&
				    !b.s[i].stream[j].closed)
					h2p_answer_n(&b.s[i], j, ok, 2, NULL, 0, true);
	}
	assert_int_equal(sum('e'), n);
}

/* One request goes, the others wait until the provider has said how many may; then so many go on
 * each connection, and nothing is refused. */
static void test_waits_for_settings(void **state)
{
	(void)state;
	ask(0, 20);
	for (int i = 0; i < PLANE_TURNS && !b.conns; i++) {
		take();
		plane_turn(&b.p);
	}
	plane_turns(&b.p, 20);
	take();
	assert_int_equal(b.conns, 1);
	assert_int_equal(sum('d'), 1);
	ask(20, 25); /* who comes meanwhile waits, too */
	plane_turns(&b.p, 20);
	take();
	assert_int_equal(b.conns, 1);
	assert_int_equal(sum('d'), 1);
	for (int i = 0; i < PLANE_TURNS && sum('d') < 25; i++)
		turns(1);
	turns(5);
	assert_int_equal(sum('d'), 25);
	assert_int_equal(sum('f'), 0);
	assert_int_equal(b.conns, 3);
	for (int i = 0; i < b.conns; i++)
		assert_in_range(b.s[i].count, 1, 9);
	serve(25);
}

static size_t dials(void)
{
	struct eg_upstream_origin *g = upstream_origin_acquire(b.p.upstream, &b.o);
	size_t n = g->turns.running_count;

	upstream_origin_release(b.p.upstream, g);
	return n;
}

/* Known from before: as many at once as may be, on as many connections as that needs. It is known
 * also when all connections are gone, and forgotten in favour of another. */
static void test_is_remembered(void **state)
{
	(void)state;
	ask(0, 1);
	serve(1);
	eg_upstream_close_idle(b.p.upstream);
	plane_turns(&b.p, 5);
	ask(1, 28);
	assert_int_equal(dials(), 3); /* at once, not one after the other */
	await_given(28);
	assert_int_equal(sum('d'), 28);
	take();
	assert_int_equal(b.conns, 1 + 3);
	serve(28);
	assert_int_equal(sum('f'), 0);
}

/* More than there are turns to dial: who waits takes a stream that becomes free. */
static void test_free_streams(void **state)
{
	(void)state;
	b.limit = 2;
	ask(0, 1);
	serve(1);
	ask(1, ALL);
	serve(ALL);
	assert_int_equal(sum('f'), 0);
	for (int i = 0; i < b.conns; i++)
		assert_false(b.s[i].end);
}

/* A provider that says nothing for a second is sent what others would be sent. */
static void test_no_settings(void **state)
{
	(void)state;
	ask(0, 5);
	await_given(5);
	assert_int_equal(sum('d'), 5);
	assert_int_equal(b.conns, 1);
	serve(5);
}

/* The connection goes before it said anything: that is the request's on it alone. */
static void test_lost_before_settings(void **state)
{
	(void)state;
	ask(0, 5);
	await_given(1);
	take();
	assert_int_equal(b.conns, 1);
	/* Its owner gives up; the connection is kept, and closed by the pool. */
	eg_call_end(&b.a[0].call.base);
	plane_turns(&b.p, 3);
	assert_int_equal(sum('d'), 1);
	eg_upstream_close_idle(b.p.upstream);
	for (int i = 0; i < PLANE_TURNS && sum('d') < 5; i++)
		turns(1);
	turns(5);
	assert_int_equal(sum('d'), 5);
	assert_int_equal(b.conns, 2);
	assert_int_equal(b.s[1].count, 4);
	assert_true(b.s[0].end);
}

/* The same, and then all that waited are given up: nothing of it is left that would outlive the
 * pool. */
static void test_lost_and_given_up(void **state)
{
	(void)state;
	ask(0, 5);
	await_given(1);
	take();
	eg_call_end(&b.a[0].call.base);
	eg_upstream_close_idle(b.p.upstream);
	for (int i = 1; i < 5; i++)
		eg_upstream_cancel(&b.a[i].wait);
	for (size_t i = 0; i < UPSTREAM_BUCKETS; i++)
		assert_true(eg_list_empty(&b.p.upstream->buckets[i]));
	turns(3);
	assert_int_equal(sum('d'), 1);
}

/* Nobody waits: it may go, with the whole pool. */
static void test_closed_before_settings(void **state)
{
	(void)state;
	ask(0, 1);
	await_given(1);
	eg_call_end(&b.a[0].call.base);
}

/* It allows less than it did: what it refuses for that reason says so. A refusal within the limit
 * is another thing. */
static void test_refused_over_limit(void **state)
{
	int over = 0;

	(void)state;
	ask(0, 1);
	serve(1);
	eg_upstream_close_idle(b.p.upstream);
	plane_turns(&b.p, 5);
	b.limit = 2;
	ask(1, 9);
	for (int i = 0; i < PLANE_TURNS && sum('f') < 6; i++)
		turns(1);
	turns(5);
	assert_int_equal(sum('f'), 6);
	for (int i = 0; i < ALL; i++)
		over += b.a[i].refused_over_limit;
	assert_int_equal(over, 6);
	h2p_reset(&b.s[1], 0, NGHTTP2_REFUSED_STREAM);
	for (int i = 0; i < PLANE_TURNS && sum('f') < 7; i++)
		turns(1);
	assert_int_equal(sum('f'), 7);
	for (int i = 0; i < ALL; i++)
		over -= b.a[i].refused_over_limit;
	assert_int_equal(over, 0);
}

static void test_memory(void **state)
{
	static struct stream_limits l;

	(void)state;
	assert_int_equal(stream_limit_get(&l, 7), STREAM_LIMIT_UNKNOWN);
	assert_int_equal(stream_limit_get(&l, 0), STREAM_LIMIT_UNKNOWN);
	stream_limit_set(&l, 7, 9);
	stream_limit_set(&l, 8, 0);
	assert_int_equal(stream_limit_get(&l, 7), 9);
	assert_int_equal(stream_limit_get(&l, 8), 1);
	stream_limit_set(&l, 7 + STREAM_LIMITS, 100);
	assert_int_equal(stream_limit_get(&l, 7 + STREAM_LIMITS), 100);
	assert_int_equal(stream_limit_get(&l, 7), STREAM_LIMIT_UNKNOWN);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_waits_for_settings),	 TEST(test_is_remembered),
		TEST(test_free_streams),	 TEST(test_no_settings),
		TEST(test_lost_before_settings), TEST(test_closed_before_settings),
		TEST(test_lost_and_given_up),	 TEST(test_refused_over_limit),
		cmocka_unit_test(test_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
