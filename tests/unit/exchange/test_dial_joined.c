/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that come while a connection is dialled which may be for all: they wait for it. The
 * provider here takes TCP connections and never speaks TLS, which is enough to see who dials. */
#include "h2_provider.h"
#include "upstream/pool.h"

#include "../net/certs.h" /* needs cmocka */

#define ALL 20

struct waiting {
	struct eg_upstream_wait wait;
	struct eg_upstream_conn *conn;
	enum eg_reason reason;
	int done;
	struct waiting *also; /* cancelled when this is told */
};

static void on_done(struct eg_upstream_wait *w, struct eg_upstream_conn *conn,
		    enum eg_reason reason, const char *text)
{
	struct waiting *me = eg_container_of(w, struct waiting, wait);

	assert_true(conn || *text);
	me->conn = conn;
	me->reason = reason;
	me->done++;
	if (me->also)
		eg_upstream_cancel(&me->also->wait);
}

struct bed {
	struct plane p;
	struct eg_trust *trust;
	struct eg_origin_spec o;
	struct waiting w[ALL];
};

static struct eg_trust *some_trust(void)
{
	struct made ca = make_cert("root", NULL, NULL, -60, 3600);
	BIO *b = BIO_new(BIO_s_mem());
	struct eg_trust *t;
	struct eg_error e;
	char *pem;
	long n;

	assert_int_equal(PEM_write_bio_X509(b, ca.cert), 1);
	n = BIO_get_mem_data(b, &pem);
	t = eg_trust_create((struct eg_str){pem, (size_t)n}, &e);
	assert_non_null(t);
	BIO_free(b);
	unmake(&ca);
	return t;
}

static void up(struct bed *b, bool http2)
{
	memset(b, 0, sizeof(*b));
	plane_up(&b->p, NULL);
	b->trust = some_trust();
	b->o = (struct eg_origin_spec){.host = "provider.internal",
				       .port = b->p.port[0],
				       .tls = true,
				       .trust = b->trust,
				       .binding = "key",
				       .http2 = http2,
				       .allow_private = true};
}

static void down(struct bed *b)
{
	for (int i = 0; i < ALL; i++)
		eg_upstream_cancel(&b->w[i].wait);
	plane_turns(&b->p, 3);
	plane_down(&b->p);
	eg_trust_unref(b->trust);
}

static void ask(struct bed *b, int i, uint64_t connect_ms)
{
	b->w[i].wait.done = on_done;
	assert_null(eg_upstream_acquire(b->p.upstream, &b->o, 50000, connect_ms, &b->w[i].wait));
	assert_non_null(b->w[i].wait.dial);
}

static int told(const struct bed *b)
{
	int n = 0;

	for (int i = 0; i < ALL; i++)
		n += b->w[i].done;
	return n;
}

static void await_told(struct bed *b, int n)
{
	for (int i = 0; i < PLANE_TURNS && told(b) < n; i++)
		plane_turn(&b->p);
	assert_int_equal(told(b), n);
}

/* Without HTTP/2 each dials its own; with it one does for all. */
static void test_who_dials(void **state)
{
	for (int http2 = 0; http2 < 2; http2++) {
		static struct bed b;
		int fd[ALL], n = http2 ? 1 : ALL;

		up(&b, http2);
		for (int i = 0; i < ALL; i++)
			ask(&b, i, 10000);
		for (int i = 0; i < n; i++)
			fd[i] = plane_accept(&b.p, b.p.provider[0]);
		assert_true(plane_nobody(&b.p, b.p.provider[0]));
		/* Another credential never waits for this one's. */
		if (http2) {
			b.o.binding = "another";
			eg_upstream_cancel(&b.w[ALL - 1].wait);
			ask(&b, ALL - 1, 10000);
			fd[n++] = plane_accept(&b.p, b.p.provider[0]);
		}
		down(&b);
		for (int i = 0; i < n; i++)
			close(fd[i]);
	}
	(void)state;
}

/* A name that is nowhere is so for all, once each. */
static void test_fails_for_all(void **state)
{
	static struct bed b;

	up(&b, true);
	b.o.host = "nowhere.internal";
	for (int i = 0; i < ALL; i++)
		ask(&b, i, 10000);
	await_told(&b, ALL);
	for (int i = 0; i < ALL; i++) {
		assert_int_equal(b.w[i].done, 1);
		assert_int_equal(b.w[i].reason, EG_REASON_UPSTREAM_DNS);
	}
	down(&b);
	(void)state;
}

/* An accident costs the one that had it: the first of the others dials for the rest. After two of
 * them each goes its own way. */
static void test_accidents(void **state)
{
	static struct bed b;
	int fd[ALL];

	up(&b, true);
	for (int i = 0; i < ALL; i++)
		ask(&b, i, 10000);
	for (int i = 1; i <= 2; i++) {
		fd[0] = plane_accept(&b.p, b.p.provider[0]);
		assert_true(plane_nobody(&b.p, b.p.provider[0]));
		close(fd[0]);
		await_told(&b, i);
		assert_int_equal(b.w[i - 1].done, 1);
		assert_int_equal(b.w[i - 1].reason, EG_REASON_UPSTREAM_TLS);
	}
	for (int i = 2; i < ALL; i++)
		fd[i] = plane_accept(&b.p, b.p.provider[0]);
	for (int i = 2; i < ALL; i++)
		close(fd[i]);
	await_told(&b, ALL);
	down(&b);
	(void)state;
}

/* Its own time is over: the others have time left. */
static void test_out_of_time(void **state)
{
	static struct bed b;
	int first, second;

	up(&b, true);
	ask(&b, 0, 20);
	for (int i = 1; i < ALL; i++)
		ask(&b, i, 10000);
	first = plane_accept(&b.p, b.p.provider[0]);
	second = plane_accept(&b.p, b.p.provider[0]);
	assert_int_equal(b.w[0].done, 1);
	assert_int_equal(told(&b), 1);
	assert_true(plane_nobody(&b.p, b.p.provider[0]));
	close(second);
	close(first);
	down(&b);
	(void)state;
}

/* One that joined has a time of its own. */
static void test_joined_time(void **state)
{
	static struct bed b;
	int fd;

	up(&b, true);
	ask(&b, 0, 10000);
	ask(&b, 1, 20);
	fd = plane_accept(&b.p, b.p.provider[0]);
	await_told(&b, 1);
	assert_int_equal(b.w[1].done, 1);
	assert_int_equal(b.w[1].reason, EG_REASON_UPSTREAM_CONNECT);
	close(fd);
	down(&b);
	(void)state;
}

/* Given up by whoever began it: it goes on for the others, from where it is. */
static void test_handed_on(void **state)
{
	static struct bed b;
	int fd;

	up(&b, true);
	for (int i = 0; i < 3; i++)
		ask(&b, i, 10000);
	fd = plane_accept(&b.p, b.p.provider[0]);
	eg_upstream_cancel(&b.w[0].wait);
	plane_turns(&b.p, 5);
	eg_upstream_cancel(&b.w[2].wait); /* one that joined */
	assert_true(plane_nobody(&b.p, b.p.provider[0]));
	close(fd);
	await_told(&b, 1);
	assert_int_equal(b.w[1].done, 1);
	assert_int_equal(b.w[1].reason, EG_REASON_UPSTREAM_TLS);
	down(&b);
	(void)state;
}

/* Being told, one gives up another that is about to be told. */
static void test_cancelled_while_told(void **state)
{
	static struct bed b;

	up(&b, true);
	b.o.host = "nowhere.internal";
	for (int i = 0; i < ALL; i++)
		ask(&b, i, 10000);
	b.w[0].also = &b.w[5];
	b.w[1].also = &b.w[2];
	b.w[3].also = &b.w[ALL - 1];
	await_told(&b, ALL - 3);
	plane_turns(&b.p, 5);
	assert_int_equal(told(&b), ALL - 3);
	down(&b);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_dials),
		cmocka_unit_test(test_fails_for_all),
		cmocka_unit_test(test_accidents),
		cmocka_unit_test(test_out_of_time),
		cmocka_unit_test(test_joined_time),
		cmocka_unit_test(test_handed_on),
		cmocka_unit_test(test_cancelled_while_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
