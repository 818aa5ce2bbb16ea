/* SPDX-License-Identifier: Apache-2.0 */
/* The room upstream, driven with the plane (which needs exchange): the pool and the way to a
 * connection, the HTTP/1.1 call over it. */
#include "plane.h"
#include "upstream/any_call.h"
#include "upstream/pool.h"

struct waiting {
	struct eg_upstream_wait wait;
	struct eg_upstream_conn *conn;
	enum eg_reason reason;
	char text[200];
	int done;
};

static void on_done(struct eg_upstream_wait *w, struct eg_upstream_conn *conn,
		    enum eg_reason reason, const char *text)
{
	struct waiting *me = eg_container_of(w, struct waiting, wait);

	me->conn = conn;
	me->reason = reason;
	snprintf(me->text, sizeof(me->text), "%s", text);
	me->done++;
}

static struct eg_origin_spec origin(const char *host, uint16_t port)
{
	return (struct eg_origin_spec){
		.host = host, .port = port, .binding = "key", .allow_private = true};
}

/* Dials anew and awaits the outcome. */
static void acquire(struct plane *p, struct waiting *w, const struct eg_origin_spec *o,
		    uint64_t connect_ms)
{
	*w = (struct waiting){.wait.done = on_done};
	assert_null(eg_upstream_acquire(p->upstream, o, 0, connect_ms, &w->wait));
	assert_non_null(w->wait.dial);
	assert_int_equal(w->done, 0); /* never from inside */
	for (int i = 0; i < PLANE_TURNS && !w->done; i++)
		plane_turn(p);
	assert_int_equal(w->done, 1);
	assert_null(w->wait.dial);
}

static struct eg_upstream_conn *pooled(struct plane *p, const struct eg_origin_spec *o)
{
	struct waiting w = {.wait.done = on_done};
	struct eg_upstream_conn *c = eg_upstream_acquire(p->upstream, o, 50000, 1000, &w.wait);

	if (!c)
		eg_upstream_cancel(&w.wait);
	return c;
}

static void test_reuse(void **state)
{
	struct plane p;
	struct waiting a, b;
	struct eg_origin_spec o, other;
	struct eg_upstream_conn *c;
	int fa, fb;

	plane_up(&p, NULL);
	o = origin("provider.internal", p.port[0]);
	acquire(&p, &a, &o, 1000);
	fa = plane_accept(&p, p.provider[0]);
	acquire(&p, &b, &o, 1000);
	fb = plane_accept(&p, p.provider[0]);
	assert_false(a.conn->reused);
	eg_upstream_release(a.conn, true);
	eg_upstream_release(b.conn, true);
	assert_int_equal(eg_upstream_idle(p.upstream), 2);
	/* The one used last comes first; another's credential never gets it. */
	other = o;
	other.binding = "another key";
	assert_null(pooled(&p, &other));
	other = o;
	other.allow_private = false;
	assert_null(pooled(&p, &other));
	other = origin("alias.internal", p.port[0]);
	assert_null(pooled(&p, &other));
	c = pooled(&p, &o);
	assert_ptr_equal(c, b.conn);
	assert_true(c->reused);
	eg_upstream_release(c, false); /* not clean: gone */
	assert_int_equal(eg_upstream_idle(p.upstream), 1);
	close(fa);
	close(fb);
	plane_down(&p);
	(void)state;
}

/* What happens to an idle connection ends it. */
static void test_idle_dies(void **state)
{
	struct plane p;
	struct waiting w;
	struct eg_origin_spec o;
	int fd;

	plane_up(&p, NULL);
	o = origin("provider.internal", p.port[0]);
	for (int i = 0; i < 3; i++) {
		acquire(&p, &w, &o, 1000);
		fd = plane_accept(&p, p.provider[0]);
		eg_upstream_release(w.conn, true);
		assert_int_equal(eg_upstream_idle(p.upstream), 1);
		if (i == 0)
			plane_send(&p, fd, "HTTP/1.1 408 unasked\r\n\r\n");
		else if (i == 1)
			close_reset(fd);
		else
			shutdown(fd, SHUT_WR);
		plane_turns(&p, 10);
		assert_int_equal(eg_upstream_idle(p.upstream), 0);
		assert_null(pooled(&p, &o));
		if (i != 1)
			close(fd);
	}
	plane_down(&p);
	(void)state;
}

static void test_failures(void **state)
{
	struct plane p;
	struct waiting w;
	struct eg_origin_spec o;
	uint16_t port;
	int fd;

	plane_up(&p, NULL);
	o = origin("nowhere.internal", 80);
	acquire(&p, &w, &o, 1000);
	assert_int_equal(w.reason, EG_REASON_UPSTREAM_DNS);
	assert_non_null(strstr(w.text, "NXDOMAIN"));
	close(plane_listen(&port));
	o = origin("provider.internal", port);
	acquire(&p, &w, &o, 1000);
	assert_int_equal(w.reason, EG_REASON_UPSTREAM_CONNECT);
	o.allow_private = false;
	acquire(&p, &w, &o, 1000);
	assert_int_equal(w.reason, EG_REASON_FORBIDDEN_DESTINATION);
	/* The first address refuses, the second answers. */
	o = origin("two.internal", p.port[0]);
	acquire(&p, &w, &o, 1000);
	assert_int_equal(w.reason, EG_REASON_OK);
	fd = plane_accept(&p, p.provider[0]);
	eg_upstream_release(w.conn, true);
	close(fd);
	plane_down(&p);
	(void)state;
}

static void test_cancel(void **state)
{
	struct plane p;
	struct waiting w = {.wait.done = on_done};
	struct eg_origin_spec o;

	plane_up(&p, NULL);
	o = origin("provider.internal", p.port[0]);
	for (int turns = 0; turns < 3; turns++) {
		assert_null(eg_upstream_acquire(p.upstream, &o, 0, 1000, &w.wait));
		plane_turns(&p, turns);
		if (w.done)
			eg_upstream_release(w.conn, false);
		eg_upstream_cancel(&w.wait);
		eg_upstream_cancel(&w.wait);
	}
	plane_turns(&p, 5);
	plane_down(&p);
	(void)state;
}

/* The pool never holds more idle connections of an origin than its limit. */
static void test_idle_limit(void **state)
{
	enum { COUNT = EG_UPSTREAM_IDLE_PER_ORIGIN + 10 };
	struct plane p;
	struct waiting w[COUNT];
	struct eg_origin_spec o;
	int fd[COUNT];

	plane_up(&p, NULL);
	o = origin("provider.internal", p.port[0]);
	for (int i = 0; i < COUNT; i++) {
		acquire(&p, &w[i], &o, 1000);
		fd[i] = plane_accept(&p, p.provider[0]);
	}
	for (int i = 0; i < COUNT; i++)
		eg_upstream_release(w[i].conn, true);
	assert_int_equal(eg_upstream_idle(p.upstream), EG_UPSTREAM_IDLE_PER_ORIGIN);
	for (int i = 0; i < COUNT; i++)
		close(fd[i]);
	plane_down(&p);
	(void)state;
}

/* Nor more of all origins together; who has none does not take another's place. */
static void test_idle_limit_of_all(void **state)
{
	struct plane p;
	struct waiting w[4];
	struct eg_origin_spec one, other;
	int fd[4];

	plane_up(&p, NULL);
	p.upstream->o.idle_max = 2;
	one = origin("provider.internal", p.port[0]);
	other = one;
	other.binding = "another-key";
	for (int i = 0; i < 4; i++) {
		acquire(&p, &w[i], i < 3 ? &one : &other, 1000);
		fd[i] = plane_accept(&p, p.provider[0]);
	}
	for (int i = 0; i < 4; i++)
		eg_upstream_release(w[i].conn, true);
	assert_int_equal(eg_upstream_idle(p.upstream), 2);
	/* The newest two of the first, none of the other. */
	assert_null(pooled(&p, &other));
	assert_ptr_equal(pooled(&p, &one), w[2].conn);
	assert_ptr_equal(pooled(&p, &one), w[1].conn);
	eg_upstream_release(w[1].conn, true);
	eg_upstream_release(w[2].conn, true);
	for (int i = 0; i < 4; i++)
		close(fd[i]);
	plane_down(&p);
	(void)state;
}

/* ---- a call ---- */

struct calling {
	union eg_any_call call;
	struct eg_h1_head scratch;
	const char *body; /* what is at hand */
	size_t at, have;
	bool last;
	char got[4096];
	size_t n;
	int heads, ends, fails, sent;
	unsigned int status;
	enum eg_reason reason;
};

static int on_body(void *ctx, struct iovec *v, bool *last)
{
	struct calling *c = ctx;

	*last = c->last;
	if (c->at == c->have)
		return 0;
	v[0] = (struct iovec){(void *)(uintptr_t)(c->body + c->at), c->have - c->at};
	return 1;
}

static void on_body_sent(void *ctx, size_t n)
{
	((struct calling *)ctx)->at += n;
}

static void on_request_sent(void *ctx)
{
	((struct calling *)ctx)->sent++;
}

static void on_head(void *ctx, const struct eg_h1_head *head)
{
	struct calling *c = ctx;

	c->heads++;
	c->status = head->status;
}

static void on_data(void *ctx, struct eg_str data)
{
	struct calling *c = ctx;

	assert_true(data.n > 0);
	assert_true(c->n + data.n < sizeof(c->got));
	memcpy(c->got + c->n, data.p, data.n);
	c->n += data.n;
	c->got[c->n] = '\0';
}

static void on_end(void *ctx)
{
	struct calling *c = ctx;

	c->ends++;
	eg_call_end(&c->call.base);
}

static void on_failed(void *ctx, enum eg_reason reason, const char *text)
{
	struct calling *c = ctx;

	assert_true(*text);
	c->fails++;
	c->reason = reason;
	eg_call_end(&c->call.base);
}

static const struct eg_call_ops ops = {on_body, on_body_sent, on_request_sent, on_head,
				       on_data, NULL,	      on_end,	       on_failed};

static int begin(struct plane *p, struct calling *c, const char *head, bool chunked)
{
	struct eg_origin_spec o = origin("provider.internal", p->port[0]);
	struct waiting w;
	int fd;

	acquire(p, &w, &o, 1000);
	fd = plane_accept(p, p->provider[0]);
	eg_call_init(&c->call, w.conn, &ops, c, &c->scratch);
	assert_int_equal(eg_buf_append(&c->call.base.head, head, strlen(head)), 0);
	eg_call_begin(&c->call.base, w.conn, chunked, false);
	return fd;
}

/* A streamed body in pieces: chunks that a strict reader takes, nothing twice, one end. */
static void test_chunked_request(void **state)
{
	struct plane p;
	struct calling c = {.body = "onetwothreefour"};
	struct inbox in;

	plane_up(&p, NULL);
	inbox_init(&in,
		   begin(&p, &c, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", true));
	for (size_t i = 3; i <= 15; i += 3) {
		c.have = i;
		eg_call_body_ready(&c.call.base);
		plane_turns(&p, 2);
	}
	assert_int_equal(c.sent, 0);
	c.last = true;
	eg_call_body_ready(&c.call.base);
	inbox_await(&p, &in, "0\r\n\r\n");
	assert_string_equal(
		strstr(in.text, "\r\n\r\n") + 4,
		"3\r\none\r\n3\r\ntwo\r\n3\r\nthr\r\n3\r\neef\r\n3\r\nour\r\n0\r\n\r\n");
	assert_int_equal(c.sent, 1);
	plane_send(&p, in.fd, "HTTP/1.1 204 No Content\r\n\r\n");
	for (int i = 0; i < PLANE_TURNS && !c.ends; i++)
		plane_turn(&p);
	assert_int_equal(c.status, 204);
	assert_int_equal(eg_upstream_idle(p.upstream), 1);
	inbox_fini(&in);
	plane_down(&p);
	(void)state;
}

/* However the answer is cut, the same bytes come out. */
static void test_answer_cut_everywhere(void **state)
{
	static const char answer[] =
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"
		"Transfer-Encoding: chunked\r\n\r\n"
		"4\r\nWiki\r\n7;a=b\r\npedia i\r\nB\r\nn \r\nchunks.\r\n0\r\n\r\n";

	for (size_t cut = 1; cut < sizeof(answer) - 1; cut++) {
		struct plane p;
		struct calling c = {.last = true};
		int fd;

		plane_up(&p, NULL);
		fd = begin(&p, &c, "GET / HTTP/1.1\r\n\r\n", false);
		plane_send_n(&p, fd, answer, cut);
		plane_turns(&p, 3);
		plane_send_n(&p, fd, answer + cut, sizeof(answer) - 1 - cut);
		for (int i = 0; i < PLANE_TURNS && !c.ends && !c.fails; i++)
			plane_turn(&p);
		assert_int_equal(c.ends, 1);
		assert_int_equal(c.heads, 1);
		assert_string_equal(c.got, "Wikipedia in \r\nchunks.");
		assert_int_equal(eg_upstream_idle(p.upstream), 1);
		close(fd);
		plane_down(&p);
	}
	(void)state;
}

/* An answer before the request is whole: taken, and the connection is not used again. */
static void test_early_answer(void **state)
{
	struct plane p;
	struct calling c = {.body = "half", .have = 4};
	int fd;

	plane_up(&p, NULL);
	fd = begin(&p, &c, "POST / HTTP/1.1\r\nContent-Length: 8\r\n\r\n", false);
	plane_send(&p, fd, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
	for (int i = 0; i < PLANE_TURNS && !c.ends; i++)
		plane_turn(&p);
	assert_int_equal(c.status, 413);
	assert_int_equal(eg_upstream_idle(p.upstream), 0);
	close(fd);
	plane_down(&p);
	(void)state;
}

static void test_pause(void **state)
{
	struct plane p;
	struct calling c = {.last = true};
	int fd;

	plane_up(&p, NULL);
	fd = begin(&p, &c, "GET / HTTP/1.1\r\n\r\n", false);
	plane_send(&p, fd, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc");
	for (int i = 0; i < PLANE_TURNS && c.n < 3; i++)
		plane_turn(&p);
	eg_call_pause(&c.call.base);
	plane_send(&p, fd, "def");
	plane_turns(&p, 10);
	assert_int_equal(c.n, 3);
	eg_call_resume(&c.call.base);
	for (int i = 0; i < PLANE_TURNS && !c.ends; i++)
		plane_turn(&p);
	assert_string_equal(c.got, "abcdef");
	close(fd);
	plane_down(&p);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reuse),
		cmocka_unit_test(test_idle_dies),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_idle_limit),
		cmocka_unit_test(test_idle_limit_of_all),
		cmocka_unit_test(test_chunked_request),
		cmocka_unit_test(test_answer_cut_everywhere),
		cmocka_unit_test(test_early_answer),
		cmocka_unit_test(test_pause),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
