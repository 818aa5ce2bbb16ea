/* SPDX-License-Identifier: Apache-2.0 */
/* Calls over HTTP/2: many on one connection, against a provider by nghttp2's server side. The plane
 * needs exchange, so it is here and not under upstream. */
#include "h2_provider.h"
#include "upstream/any_call.h"
#include "upstream/h2_conn.h"

#define BIG (512u * 1024u)

struct waiting {
	struct eg_upstream_wait wait;
	struct eg_upstream_conn *conn;
	int done;
};

static void on_done(struct eg_upstream_wait *w, struct eg_upstream_conn *conn,
		    enum eg_reason reason, const char *text)
{
	struct waiting *me = eg_container_of(w, struct waiting, wait);

	(void)reason;
	(void)text;
	me->conn = conn;
	me->done++;
}

struct calling {
	union eg_any_call call;
	struct eg_h1_head scratch;
	const char *body;
	size_t at, have;
	bool last, keep_sent, pause_at_data;
	char *got;
	size_t n;
	int heads, trailer_blocks, ends, fails, sent, runs;
	enum eg_call_trailers want;
	bool end_at_trailers, whole;
	char trailers[512]; /* name: value\n */
	unsigned int status;
	enum eg_h1_body kind;
	enum eg_reason reason;
	enum eg_call_loss loss;
	char head[256];
	char text[128];
};

static int on_body(void *ctx, struct iovec *v, bool *last)
{
	struct calling *c = ctx;

	*last = c->last;
	if (c->at == c->have)
		return 0;
	/* Two pieces, as a mapped model makes of a body. */
	v[0] = (struct iovec){(void *)(uintptr_t)(c->body + c->at), (c->have - c->at) / 2};
	v[1] = (struct iovec){(char *)v[0].iov_base + v[0].iov_len, c->have - c->at - v[0].iov_len};
	return 2;
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
	const struct eg_header *h = eg_h1_find(head, EG_STR("content-type"));

	c->heads++;
	c->status = head->status;
	c->kind = head->body;
	c->whole = c->call.base.whole;
	if (h)
		snprintf(c->head, sizeof(c->head), "%.*s", EG_STR_ARG(h->value));
}

static void on_data(void *ctx, struct eg_str data)
{
	struct calling *c = ctx;

	assert_true(data.n > 0);
	c->got = realloc(c->got, c->n + data.n + 1);
	memcpy(c->got + c->n, data.p, data.n);
	c->n += data.n;
	c->got[c->n] = '\0';
	c->runs++;
	if (c->pause_at_data)
		eg_call_pause(&c->call.base);
}

static void on_trailers(void *ctx, const struct eg_header *fields, size_t count)
{
	struct calling *c = ctx;

	assert_true(c->heads && !c->ends && count);
	c->trailer_blocks++;
	for (size_t i = 0; i < count; i++) {
		size_t n = strlen(c->trailers);

		snprintf(c->trailers + n, sizeof(c->trailers) - n, "%.*s: %.*s\n",
			 EG_STR_ARG(fields[i].name), EG_STR_ARG(fields[i].value));
	}
	if (c->end_at_trailers)
		eg_call_end(&c->call.base);
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
	c->loss = c->call.base.loss;
	snprintf(c->text, sizeof(c->text), "%s", text);
	eg_call_end(&c->call.base);
}

static const struct eg_call_ops ops = {on_body, on_body_sent, on_request_sent, on_head,
				       on_data, on_trailers,  on_end,	       on_failed};

static struct eg_upstream_conn *lease(struct plane *p, uint64_t max_idle)
{
	struct eg_origin_spec o = {.host = "provider.internal",
				   .port = p->port[0],
				   .binding = "key",
				   .allow_private = true};
	struct waiting w = {.wait.done = on_done};
	struct eg_upstream_conn *c = eg_upstream_acquire(p->upstream, &o, max_idle, 1000, &w.wait);

	for (int i = 0; !c && i < PLANE_TURNS && !w.done; i++)
		plane_turn(p);
	c = c ? c : w.conn;
	assert_non_null(c);
	assert_non_null(c->h2);
	return c;
}

#define HEAD                                                                         \
	"POST /v1/chat HTTP/1.1\r\nhost: provider.internal\r\nContent-Type: a/b\r\n" \
	"connection: close\r\nauthorization: Bearer " PLANE_KEY "\r\n"

static void start_with(struct plane *p, struct calling *c, const char *head, bool chunked)
{
	struct eg_upstream_conn *conn = lease(p, 50000);

	eg_call_init(&c->call, conn, &ops, c, &c->scratch);
	assert_int_equal(eg_buf_append(&c->call.base.head, head, strlen(head)), 0);
	c->call.base.trailers = c->want;
	eg_call_begin(&c->call.base, conn, chunked, !strncmp(head, "HEAD", 4));
}

static void start(struct plane *p, struct calling *c)
{
	start_with(p, c, HEAD "\r\n", false);
}

static void await(struct plane *p, struct h2p *s, struct calling *c)
{
	for (int i = 0; i < PLANE_TURNS && !c->ends && !c->fails; i++) {
		h2p_poll(s);
		plane_turn(p);
	}
	assert_int_equal(c->ends + c->fails, 1);
}

struct bed {
	struct plane p;
	struct h2p s;
};

/* One call, begun and with the provider. */
static void bed_up(struct bed *b, struct calling *c)
{
	plane_up(&b->p, NULL);
	start(&b->p, c);
	h2p_init(&b->s, plane_accept(&b->p, b->p.provider[0]));
	if (c->last)
		h2p_await(&b->p, &b->s, 1);
}

static void bed_down(struct bed *b)
{
	h2p_fini(&b->s);
	plane_turns(&b->p, 5);
	plane_down(&b->p);
}

static void test_one(void **state)
{
	static struct bed b;
	struct calling c = {.body = "{\"hello\": 1}", .have = 12, .last = true};

	bed_up(&b, &c);
	assert_string_equal(b.s.stream[0].head,
			    ":method: POST\n:scheme: http\n:authority: provider.internal\n"
			    ":path: /v1/chat\ncontent-type: a/b\nauthorization: Bearer " PLANE_KEY
			    "\n");
	assert_memory_equal(b.s.stream[0].body, "{\"hello\": 1}", 12);
	assert_int_equal(c.sent, 1);
	assert_null(c.call.base.head.p); /* wiped and gone */
	h2p_answer(&b.s, 0, "{\"answer\": 2}", true);
	await(&b.p, &b.s, &c);
	assert_int_equal(c.ends, 1);
	assert_int_equal(c.status, 200);
	assert_int_equal(c.kind, EG_H1_BODY_CHUNKED);
	assert_string_equal(c.head, "application/json");
	assert_string_equal(c.got, "{\"answer\": 2}");
	assert_int_equal(eg_upstream_idle(b.p.upstream), 1);
	free(c.got);
	bed_down(&b);
	(void)state;
}

/* A hundred on one connection, answered last first; the next needs another connection. */
static void test_many(void **state)
{
	static struct bed b;
	static struct calling c[H2_STREAMS_MAX + 1];
	struct h2p other;

	memset(c, 0, sizeof(c));
	c[0].last = true;
	bed_up(&b, &c[0]);
	h2p_turns(&b.p, &b.s, 5); /* its SETTINGS have come */
	for (size_t i = 1; i < H2_STREAMS_MAX; i++) {
		c[i].last = true;
		start(&b.p, &c[i]);
	}
	h2p_await(&b.p, &b.s, H2_STREAMS_MAX);
	assert_true(plane_nobody(&b.p, b.p.provider[0]));
	c[H2_STREAMS_MAX].last = true;
	start(&b.p, &c[H2_STREAMS_MAX]);
	h2p_init(&other, plane_accept(&b.p, b.p.provider[0]));
	h2p_await(&b.p, &other, 1);
	for (int i = H2_STREAMS_MAX - 1; i >= 0; i--)
		h2p_answer(&b.s, i, "x", true);
	h2p_answer(&other, 0, "y", true);
	for (size_t i = 0; i <= H2_STREAMS_MAX; i++) {
		await(&b.p, i < H2_STREAMS_MAX ? &b.s : &other, &c[i]);
		assert_int_equal(c[i].ends, 1);
		free(c[i].got);
	}
	assert_int_equal(eg_upstream_idle(b.p.upstream), 2);
	h2p_fini(&other);
	bed_down(&b);
	(void)state;
}

/* What the provider allows is what is begun there. */
static void test_provider_limit(void **state)
{
	static const nghttp2_settings_entry two[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 2}};
	static struct bed b;
	struct calling c[3] = {{.last = true}, {.last = true}, {.last = true}};
	struct h2p other;

	plane_up(&b.p, NULL);
	start(&b.p, &c[0]);
	h2p_init_with(&b.s, plane_accept(&b.p, b.p.provider[0]), true, two, 1);
	h2p_await(&b.p, &b.s, 1);
	h2p_turns(&b.p, &b.s, 5);
	start(&b.p, &c[1]);
	h2p_await(&b.p, &b.s, 2);
	start(&b.p, &c[2]);
	h2p_init(&other, plane_accept(&b.p, b.p.provider[0]));
	h2p_await(&b.p, &other, 1);
	for (int i = 0; i < 3; i++)
		eg_call_end(&c[i].call.base);
	h2p_turns(&b.p, &b.s, 5);
	assert_int_equal(b.s.stream[1].code, NGHTTP2_CANCEL);
	assert_int_equal(eg_upstream_idle(b.p.upstream), 2);
	h2p_fini(&other);
	bed_down(&b);
	(void)state;
}

/* A streamed body: in pieces, waits for more, ends when told. */
static void test_upload_waits(void **state)
{
	static struct bed b;
	struct calling c = {.body = "onetwothree"};

	plane_up(&b.p, NULL);
	start_with(&b.p, &c, HEAD "transfer-encoding: chunked\r\n\r\n", true);
	h2p_init(&b.s, plane_accept(&b.p, b.p.provider[0]));
	for (size_t i = 3; i <= 9; i += 3) {
		c.have = i;
		eg_call_body_ready(&c.call.base);
		h2p_turns(&b.p, &b.s, 5);
		assert_int_equal(b.s.stream[0].body_n, i);
	}
	c.have = 11;
	c.last = true;
	eg_call_body_ready(&c.call.base);
	h2p_await(&b.p, &b.s, 1);
	assert_null(strstr(b.s.stream[0].head, "transfer-encoding"));
	assert_memory_equal(b.s.stream[0].body, "onetwothree", 11);
	assert_int_equal(c.sent, 1);
	h2p_answer(&b.s, 0, "", true);
	await(&b.p, &b.s, &c);
	assert_int_equal(c.ends, 1);
	free(c.got);
	bed_down(&b);
	(void)state;
}

/* A provider that does not open its window gets no more than that, and the rest when it does. */
static void test_upload_back_pressure(void **state)
{
	static struct bed b;
	static char big[BIG];
	struct calling c = {.body = big, .have = BIG, .last = true};

	plane_up(&b.p, NULL);
	start(&b.p, &c);
	h2p_init_with(&b.s, plane_accept(&b.p, b.p.provider[0]), false, NULL, 0);
	h2p_turns(&b.p, &b.s, 50);
	assert_int_equal(b.s.stream[0].body_n, 65535);
	assert_int_equal(c.at, 65535);
	assert_int_equal(c.sent, 0);
	for (int i = 0; i < PLANE_TURNS && !b.s.stream[0].ended; i++) {
		assert_int_equal(nghttp2_submit_window_update(b.s.session, 0, 0, 16384), 0);
		assert_int_equal(nghttp2_submit_window_update(b.s.session, 0, 1, 16384), 0);
		h2p_turns(&b.p, &b.s, 2);
	}
	assert_int_equal(b.s.stream[0].body_n, BIG);
	assert_int_equal(c.sent, 1);
	eg_call_end(&c.call.base);
	bed_down(&b);
	(void)state;
}

/* A paused answer stops at its stream's window, and takes nothing from the others. */
static void test_pause(void **state)
{
	static struct bed b;
	static char big[BIG];
	struct calling slow = {.last = true, .pause_at_data = true}, quick = {.last = true};
	static const nghttp2_nv ok[] = {H2P_FIELD(":status", "200")};

	memset(big, 'b', sizeof(big));
	bed_up(&b, &slow);
	start(&b.p, &quick);
	h2p_await(&b.p, &b.s, 2);
	h2p_answer_n(&b.s, 0, ok, 1, big, BIG, true);
	h2p_turns(&b.p, &b.s, 50);
	assert_int_equal(slow.n, H2_STREAM_WINDOW);
	/* Far more than the connection's window passes beside it. */
	h2p_answer_n(&b.s, 1, ok, 1, big, BIG, true);
	await(&b.p, &b.s, &quick);
	assert_int_equal(quick.n, BIG);
	assert_int_equal(slow.n, H2_STREAM_WINDOW);
	for (int i = 0; i < 1000 && !slow.ends; i++) {
		slow.pause_at_data = i % 3;
		eg_call_resume(&slow.call.base);
		h2p_turns(&b.p, &b.s, 2);
	}
	assert_int_equal(slow.ends, 1);
	assert_int_equal(slow.n, BIG);
	free(slow.got);
	free(quick.got);
	bed_down(&b);
	(void)state;
}

/* Whole by its length before END_STREAM comes: the client need not wait for that. The stream is not
 * reset, and counts until it ends. */
static void test_whole_by_length(void **state)
{
	static const nghttp2_nv four[] = {H2P_FIELD(":status", "200"),
					  H2P_FIELD("content-length", "4")};
	static const nghttp2_nv none[] = {H2P_FIELD(":status", "200"),
					  H2P_FIELD("content-length", "0")};
	static struct bed b;
	struct calling c[2] = {{.last = true}, {.last = true}};
	struct eg_h2_conn *h;

	bed_up(&b, &c[0]);
	h = c[0].call.base.conn->h2;
	start(&b.p, &c[1]);
	h2p_await(&b.p, &b.s, 2);
	h2p_answer_n(&b.s, 0, four, 2, "four", 4, false);
	h2p_answer_n(&b.s, 1, none, 2, "", 0, false);
	await(&b.p, &b.s, &c[0]);
	await(&b.p, &b.s, &c[1]);
	assert_string_equal(c[0].got, "four");
	assert_int_equal(c[0].ends + c[1].ends, 2);
	h2p_turns(&b.p, &b.s, 5);
	assert_false(b.s.stream[0].closed);
	assert_int_equal(h->streams, 2);
	h2p_more(&b.s, 0, "", true);
	h2p_more(&b.s, 1, "", true);
	h2p_turns(&b.p, &b.s, 5);
	assert_int_equal(h->streams, 0);
	assert_int_equal(eg_upstream_idle(b.p.upstream), 1);
	free(c[0].got);
	bed_down(&b);
	(void)state;
}

/* Frames that came together are one piece for the owner. */
static void test_burst_is_one_piece(void **state)
{
	static struct bed b;
	struct calling c = {.last = true};

	bed_up(&b, &c);
	h2p_answer(&b.s, 0, "", false);
	h2p_turns(&b.p, &b.s, 5);
	for (int i = 0; i < 5; i++)
		h2p_more(&b.s, 0, "event\n", i == 4);
	await(&b.p, &b.s, &c);
	assert_string_equal(c.got, "event\nevent\nevent\nevent\nevent\n");
	assert_int_equal(c.runs, 1);
	free(c.got);
	bed_down(&b);
	(void)state;
}

static void test_refused(void **state)
{
	static struct bed b;
	struct calling c = {.last = true}, other = {.last = true};

	bed_up(&b, &c);
	start(&b.p, &other);
	h2p_await(&b.p, &b.s, 2);
	h2p_reset(&b.s, 0, NGHTTP2_REFUSED_STREAM);
	await(&b.p, &b.s, &c);
	assert_int_equal(c.reason, EG_REASON_UPSTREAM_RESET);
	assert_int_equal(c.loss, EG_CALL_LOSS_UNPROCESSED);
	/* Only that one. */
	h2p_answer(&b.s, 1, "fine", true);
	await(&b.p, &b.s, &other);
	assert_string_equal(other.got, "fine");
	free(other.got);
	bed_down(&b);
	(void)state;
}

/* Refused after it began to answer: that is no promise any more. */
static void test_refused_late(void **state)
{
	static struct bed b;
	struct calling c = {.last = true};

	bed_up(&b, &c);
	h2p_answer(&b.s, 0, "half", false);
	h2p_turns(&b.p, &b.s, 5);
	h2p_reset(&b.s, 0, NGHTTP2_REFUSED_STREAM);
	await(&b.p, &b.s, &c);
	assert_string_equal(c.got, "half");
	assert_int_equal(c.loss, EG_CALL_LOSS_STREAM);
	free(c.got);
	bed_down(&b);
	(void)state;
}

static void test_goaway(void **state)
{
	static struct bed b;
	struct calling below = {.last = true}, above = {.last = true}, next = {.last = true};
	struct h2p other;

	bed_up(&b, &below);
	start(&b.p, &above);
	h2p_await(&b.p, &b.s, 2);
	h2p_goaway(&b.s, b.s.stream[0].id, NGHTTP2_NO_ERROR);
	await(&b.p, &b.s, &above);
	assert_int_equal(above.loss, EG_CALL_LOSS_UNPROCESSED);
	assert_int_equal(below.fails, 0);
	/* Nothing new on it; what is on it ends in order. */
	start(&b.p, &next);
	h2p_init(&other, plane_accept(&b.p, b.p.provider[0]));
	h2p_await(&b.p, &other, 1);
	h2p_answer(&b.s, 0, "late", true);
	await(&b.p, &b.s, &below);
	assert_string_equal(below.got, "late");
	h2p_turns(&b.p, &b.s, 5);
	assert_true(b.s.end); /* closed when the last was over */
	assert_int_equal(eg_upstream_idle(b.p.upstream), 0);
	eg_call_end(&next.call.base);
	free(below.got);
	h2p_fini(&other);
	bed_down(&b);
	(void)state;
}

/* The last stream of a connection goes with it, inside nghttp2's own call. */
static void test_goaway_alone(void **state)
{
	static struct bed b;
	struct calling c = {.last = true};

	bed_up(&b, &c);
	h2p_goaway(&b.s, 0, NGHTTP2_NO_ERROR);
	await(&b.p, &b.s, &c);
	assert_int_equal(c.loss, EG_CALL_LOSS_UNPROCESSED);
	h2p_turns(&b.p, &b.s, 5);
	assert_true(b.s.end);
	bed_down(&b);
	(void)state;
}

/* The origin is known to want HTTP/1.1 also after its last connection went; the drain forgets it.
 */
static void test_http_1_1_required(void **state)
{
	static struct bed b;
	struct calling c = {.last = true};
	struct eg_upstream_origin *origin;

	bed_up(&b, &c);
	origin = c.call.base.conn->origin;
	assert_int_equal(origin->http1_until_ms, 0);
	h2p_reset(&b.s, 0, NGHTTP2_HTTP_1_1_REQUIRED);
	await(&b.p, &b.s, &c);
	assert_int_equal(c.loss, EG_CALL_LOSS_UNPROCESSED);
	assert_non_null(strstr(c.text, "HTTP/1.1"));
	h2p_turns(&b.p, &b.s, 5);
	assert_true(b.s.end);
	assert_int_equal(b.p.upstream->kept_count, 1);
	assert_true(origin->http1_until_ms > eg_loop_now_ms(b.p.loop));
	eg_upstream_close_idle(b.p.upstream);
	assert_int_equal(b.p.upstream->kept_count, 0);
	bed_down(&b);
	(void)state;
}

static void test_reset(void **state)
{
	static const uint32_t codes[] = {NGHTTP2_NO_ERROR, NGHTTP2_INTERNAL_ERROR, NGHTTP2_CANCEL,
					 NGHTTP2_ENHANCE_YOUR_CALM};

	for (size_t i = 0; i < EG_ARRAY_SIZE(codes); i++) {
		static struct bed b;
		struct calling c = {.last = true};

		bed_up(&b, &c);
		h2p_reset(&b.s, 0, codes[i]);
		await(&b.p, &b.s, &c);
		assert_int_equal(c.reason, EG_REASON_UPSTREAM_RESET);
		assert_int_equal(c.loss, EG_CALL_LOSS_STREAM);
		assert_int_equal(eg_upstream_idle(b.p.upstream), 1);
		bed_down(&b);
	}
	(void)state;
}

static void test_connection_lost(void **state)
{
	for (int reset = 0; reset < 2; reset++) {
		static struct bed b;
		struct calling c[2] = {{.last = true}, {.last = true}};

		bed_up(&b, &c[0]);
		start(&b.p, &c[1]);
		h2p_await(&b.p, &b.s, 2);
		h2p_answer(&b.s, 1, "half", false);
		h2p_turns(&b.p, &b.s, 5);
		if (reset)
			close_reset(b.s.fd);
		else
			close(b.s.fd);
		b.s.fd = -1;
		for (int i = 0; i < PLANE_TURNS && !(c[0].fails && c[1].fails); i++)
			plane_turn(&b.p);
		for (int i = 0; i < 2; i++) {
			assert_int_equal(c[i].fails, 1);
			assert_int_equal(c[i].reason, EG_REASON_UPSTREAM_RESET);
			assert_int_equal(c[i].loss, EG_CALL_LOSS_CONNECTION);
		}
		assert_string_equal(c[1].got, "half");
		free(c[1].got);
		bed_down(&b);
	}
	(void)state;
}

/* The head of one waits behind the body of another, which the provider does not read: when the
 * connection is lost, it knows for sure that nothing was done with the one. */
static void test_lost_unsent(void **state)
{
	static const char windows[] = "\0\0\6\4\0\0\0\0\0\0\4\177\377\377\377"
				      "\0\0\4\10\0\0\0\0\0\177\0\0\0";
	const size_t size = 64u << 20;
	static struct bed b;
	struct calling c[2] = {{.body = calloc(1, size), .have = size}, {.last = true}};
	size_t before = SIZE_MAX;

	assert_non_null(c[0].body);
	bed_up(&b, &c[0]);
	h2p_turns(&b.p, &b.s, 5);
	plane_send_n(&b.p, b.s.fd, windows, sizeof(windows) - 1);
	while (c[0].at != before) {
		before = c[0].at;
		plane_turns(&b.p, 20);
	}
	assert_true(c[0].at > 0 && c[0].at < size);
	start(&b.p, &c[1]);
	plane_turns(&b.p, 5);
	close_reset(b.s.fd);
	b.s.fd = -1;
	for (int i = 0; i < PLANE_TURNS && !(c[0].fails && c[1].fails); i++)
		plane_turn(&b.p);
	assert_int_equal(c[0].loss, EG_CALL_LOSS_CONNECTION);
	assert_int_equal(c[1].fails, 1);
	assert_int_equal(c[1].loss, EG_CALL_LOSS_UNPROCESSED);
	free((void *)(uintptr_t)c[0].body);
	bed_down(&b);
	(void)state;
}

/* Answered before the request was whole: the stream ends, the connection goes on. */
static void test_early_answer(void **state)
{
	static struct bed b;
	static const nghttp2_nv no[] = {H2P_FIELD(":status", "413"),
					H2P_FIELD("content-length", "0")};
	struct calling c = {.body = "half", .have = 4}, next = {.last = true};

	bed_up(&b, &c);
	h2p_turns(&b.p, &b.s, 5);
	h2p_answer_n(&b.s, 0, no, 2, NULL, 0, true);
	await(&b.p, &b.s, &c);
	assert_int_equal(c.ends, 1);
	assert_int_equal(c.status, 413);
	assert_int_equal(c.sent, 0);
	h2p_turns(&b.p, &b.s, 5);
	assert_true(b.s.stream[0].closed);
	assert_int_equal(b.s.stream[0].code, NGHTTP2_NO_ERROR);
	start(&b.p, &next);
	h2p_await(&b.p, &b.s, 1);
	assert_int_equal(b.s.count, 2);
	h2p_answer(&b.s, 1, "on", true);
	await(&b.p, &b.s, &next);
	assert_string_equal(next.got, "on");
	free(next.got);
	bed_down(&b);
	(void)state;
}

/* Ended by the owner at each moment: the connection goes on. */
static void test_cancel(void **state)
{
	static struct bed b;
	struct calling c = {.last = true}, early = {.last = true}, next = {.last = true};

	bed_up(&b, &c);
	h2p_answer(&b.s, 0, "first", false);
	h2p_turns(&b.p, &b.s, 5);
	eg_call_end(&c.call.base);
	eg_call_end(&c.call.base);
	h2p_turns(&b.p, &b.s, 5);
	assert_int_equal(b.s.stream[0].code, NGHTTP2_CANCEL);
	/* Before it was serialised: it never existed. */
	start(&b.p, &early);
	eg_call_end(&early.call.base);
	h2p_turns(&b.p, &b.s, 5);
	assert_int_equal(b.s.count, 1);
	start(&b.p, &next);
	h2p_await(&b.p, &b.s, 2);
	h2p_answer(&b.s, 1, "second", true);
	await(&b.p, &b.s, &next);
	assert_string_equal(next.got, "second");
	free(c.got);
	free(next.got);
	bed_down(&b);
	(void)state;
}

static void test_bodiless(void **state)
{
	static struct bed b;
	static const nghttp2_nv none[] = {H2P_FIELD(":status", "204")};
	static const nghttp2_nv length[] = {H2P_FIELD(":status", "200"),
					    H2P_FIELD("content-length", "1234")};
	struct calling get = {.last = true}, head = {.last = true};

	plane_up(&b.p, NULL);
	start_with(&b.p, &get, "GET /v1/models?limit=1 HTTP/1.1\r\nhost: h\r\n\r\n", false);
	h2p_init(&b.s, plane_accept(&b.p, b.p.provider[0]));
	h2p_turns(&b.p, &b.s, 5);
	start_with(&b.p, &head, "HEAD / HTTP/1.1\r\nhost: h:8443\r\n\r\n", false);
	h2p_await(&b.p, &b.s, 2);
	assert_non_null(strstr(b.s.stream[0].head, ":path: /v1/models?limit=1\n"));
	assert_non_null(strstr(b.s.stream[1].head, ":authority: h:8443\n"));
	h2p_answer_n(&b.s, 0, none, 1, NULL, 0, true);
	h2p_answer_n(&b.s, 1, length, 2, NULL, 0, true);
	await(&b.p, &b.s, &get);
	await(&b.p, &b.s, &head);
	assert_int_equal(get.status, 204);
	assert_int_equal(get.kind, EG_H1_BODY_NONE);
	assert_int_equal(head.kind, EG_H1_BODY_NONE);
	assert_int_equal(head.n, 0);
	bed_down(&b);
	(void)state;
}

/* Heads that are none: the stream fails, the connection goes on. */
static void test_bad_heads(void **state)
{
#define BAD(...)                    \
	{                           \
		{                   \
			__VA_ARGS__ \
		}                   \
	}
	static const struct {
		nghttp2_nv nv[3];
	} bad[] = {
		BAD(H2P_FIELD("content-type", "a/b"), H2P_FIELD("x", "y"), H2P_FIELD("z", "y")),
		BAD(H2P_FIELD(":status", "2000"), H2P_FIELD("x", "y"), H2P_FIELD("z", "y")),
		BAD(H2P_FIELD(":status", "abc"), H2P_FIELD("x", "y"), H2P_FIELD("z", "y")),
		BAD(H2P_FIELD(":status", "200"), H2P_FIELD(":status", "200"), H2P_FIELD("z", "y")),
		BAD(H2P_FIELD(":status", "101"), H2P_FIELD("x", "y"), H2P_FIELD("z", "y")),
		BAD(H2P_FIELD(":status", "200"), H2P_FIELD("connection", "close"),
		    H2P_FIELD("z", "y")),
		BAD(H2P_FIELD(":status", "200"), H2P_FIELD("transfer-encoding", "chunked"),
		    H2P_FIELD("z", "y")),
		BAD(H2P_FIELD(":status", "200"), H2P_FIELD("x", "a\r\nb: c"), H2P_FIELD("z", "y")),
		BAD(H2P_FIELD(":status", "200"), H2P_FIELD("x", "a\0b"), H2P_FIELD("z", "y")),
		BAD(H2P_FIELD(":status", "200"), H2P_FIELD("x y", "a"), H2P_FIELD("z", "y")),
		BAD(H2P_FIELD(":status", "200"), H2P_FIELD("content-length", "1, 1"),
		    H2P_FIELD("z", "y")),
		BAD(H2P_FIELD(":status", "200"), H2P_FIELD("content-length", "1"),
		    H2P_FIELD("content-length", "1")),
		BAD(H2P_FIELD(":status", "200"), H2P_FIELD("x", "y"), H2P_FIELD(":late", "y")),
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++) {
		static struct bed b;
		struct calling c = {.last = true}, next = {.last = true};

		bed_up(&b, &c);
		h2p_answer_n(&b.s, 0, bad[i].nv, 3, "x", 1, true);
		await(&b.p, &b.s, &c);
		if (c.reason != EG_REASON_UPSTREAM_PROTOCOL || c.heads)
			fail_msg("head %zu: reason %d, heads %d", i, (int)c.reason, c.heads);
		assert_int_equal(c.loss, EG_CALL_LOSS_STREAM);
		start(&b.p, &next);
		h2p_await(&b.p, &b.s, 2);
		h2p_answer(&b.s, 1, "on", true);
		await(&b.p, &b.s, &next);
		assert_int_equal(next.ends, 1);
		free(next.got);
		bed_down(&b);
	}
	(void)state;
}

static void test_head_limits(void **state)
{
	static char value[30 * 1024];
	static char names[200][8];
	nghttp2_nv nv[200] = {H2P_FIELD(":status", "200")};
	static struct bed b;
	struct calling c[3] = {{.last = true}, {.last = true}, {.last = true}};

	memset(value, 'v', sizeof(value));
	for (int i = 1; i < 200; i++) {
		snprintf(names[i], sizeof(names[i]), "x-%d", i);
		nv[i] = (nghttp2_nv){(uint8_t *)names[i], (uint8_t *)value, strlen(names[i]), 1, 0};
	}
	bed_up(&b, &c[0]);
	start(&b.p, &c[1]);
	start(&b.p, &c[2]);
	h2p_await(&b.p, &b.s, 3);
	h2p_answer_n(&b.s, 0, nv, 200, NULL, 0, true); /* too many fields */
	nv[1].valuelen = nv[2].valuelen = nv[3].valuelen = sizeof(value);
	h2p_answer_n(&b.s, 1, nv, 4, NULL, 0, true); /* 90 KiB */
	h2p_answer_n(&b.s, 2, nv, 2, NULL, 0, true); /* 30 KiB */
	for (int i = 0; i < 3; i++)
		await(&b.p, &b.s, &c[i]);
	assert_int_equal(c[0].reason, EG_REASON_UPSTREAM_PROTOCOL);
	assert_int_equal(c[1].reason, EG_REASON_UPSTREAM_PROTOCOL);
	assert_int_equal(c[2].ends, 1);
	bed_down(&b);
	(void)state;
}

static const nghttp2_nv grpc[] = {H2P_FIELD("grpc-status", "0"), H2P_FIELD("content-type", "9"),
				  H2P_FIELD("grpc-message", ""), H2P_FIELD("set-cookie", "a=b")};

/* Those that may be there, after the body, to who wants them. */
static void test_trailers(void **state)
{
	for (int want = EG_CALL_TRAILERS_DROPPED; want <= EG_CALL_TRAILERS_AWAITED; want++) {
		for (int body = 0; body < 2; body++) {
			static struct bed b;
			struct calling c = {.last = true, .want = (enum eg_call_trailers)want};

			bed_up(&b, &c);
			h2p_trailers(&b.s, 0, grpc, 4);
			h2p_answer(&b.s, 0, body ? "body" : "", true);
			await(&b.p, &b.s, &c);
			assert_int_equal(c.ends, 1);
			assert_false(c.whole);
			assert_int_equal(c.n, body ? 4 : 0);
			assert_int_equal(c.trailer_blocks, want != EG_CALL_TRAILERS_DROPPED);
			assert_string_equal(c.trailers,
					    want == EG_CALL_TRAILERS_DROPPED
						    ? ""
						    : "grpc-status: 0\ngrpc-message: \n");
			assert_int_equal(eg_upstream_idle(b.p.upstream), 1);
			free(c.got);
			bed_down(&b);
		}
	}
	(void)state;
}

/* The owner may end the call when it is told of them. */
static void test_trailers_end_the_call(void **state)
{
	static struct bed b;
	struct calling c = {.last = true, .want = EG_CALL_TRAILERS_TAKEN, .end_at_trailers = true};

	bed_up(&b, &c);
	h2p_trailers(&b.s, 0, grpc, 4);
	h2p_answer(&b.s, 0, "body", true);
	for (int i = 0; i < PLANE_TURNS && !c.trailer_blocks; i++)
		h2p_turns(&b.p, &b.s, 1);
	h2p_turns(&b.p, &b.s, 5);
	assert_int_equal(c.ends + c.fails, 0);
	assert_null(c.call.base.conn);
	free(c.got);
	bed_down(&b);
	(void)state;
}

/* A body that is whole by its length is the end, unless trailers are waited for. */
static void test_trailers_after_a_length(void **state)
{
	static const nghttp2_nv four[] = {H2P_FIELD(":status", "200"),
					  H2P_FIELD("content-length", "4")};
	static const nghttp2_nv none[] = {H2P_FIELD(":status", "200"),
					  H2P_FIELD("content-length", "0")};

	for (int i = 0; i < 4; i++) {
		static struct bed b;
		bool empty = i & 1, wait = i & 2;
		struct calling c = {.last = true,
				    .want = wait ? EG_CALL_TRAILERS_AWAITED
						 : EG_CALL_TRAILERS_TAKEN};

		bed_up(&b, &c);
		h2p_trailers(&b.s, 0, grpc, 4);
		h2p_answer_n(&b.s, 0, empty ? none : four, 2, "body", empty ? 0 : 4, false);
		for (int t = 0; t < PLANE_TURNS && (empty ? !c.heads : c.n < 4); t++)
			h2p_turns(&b.p, &b.s, 1);
		h2p_turns(&b.p, &b.s, 5);
		assert_int_equal(c.ends, !wait);
		assert_int_equal(c.whole, empty && !wait);
		h2p_more(&b.s, 0, "", true);
		await(&b.p, &b.s, &c);
		assert_int_equal(c.ends, 1);
		assert_int_equal(c.trailer_blocks, wait);
		free(c.got);
		bed_down(&b);
	}
	(void)state;
}

/* A head that ends the stream: nothing follows. */
static void test_only_a_head(void **state)
{
	static const nghttp2_nv head[] = {H2P_FIELD(":status", "200"),
					  H2P_FIELD("grpc-status", "12")};
	static struct bed b;
	struct calling c = {.last = true, .want = EG_CALL_TRAILERS_AWAITED};

	bed_up(&b, &c);
	h2p_answer_n(&b.s, 0, head, 2, NULL, 0, true);
	await(&b.p, &b.s, &c);
	assert_int_equal(c.ends, 1);
	assert_true(c.whole);
	assert_int_equal(c.trailer_blocks, 0);
	bed_down(&b);
	(void)state;
}

/* Over a head's limits, with a pseudo-header, or without an end: the stream fails, and only it. */
static void test_bad_trailers(void **state)
{
	static char value[30 * 1024];
	static char names[200][8];
	static const nghttp2_nv pseudo[] = {H2P_FIELD(":status", "200")};
	nghttp2_nv nv[200];

	memset(value, 'v', sizeof(value));
	for (int i = 0; i < 200; i++) {
		snprintf(names[i], sizeof(names[i]), "x-%d", i);
		nv[i] = (nghttp2_nv){(uint8_t *)names[i], (uint8_t *)value, strlen(names[i]), 1, 0};
	}
	for (int i = 0; i < 5; i++) {
		static struct bed b;
		struct calling c = {.last = true, .want = EG_CALL_TRAILERS_TAKEN};

		bed_up(&b, &c);
		for (int j = 0; j < 3; j++)
			nv[j].valuelen = i == 1 ? sizeof(value) : 1;
		switch (i) {
		case 0: /* fields */
		case 1: /* bytes */
		case 2: /* as many as there may be */
			h2p_trailers(&b.s, 0, nv, i == 0 ? 129 : i == 1 ? 3 : 128);
			break;
		case 3:
			h2p_trailers(&b.s, 0, pseudo, 1);
			break;
		default:
			break;
		}
		h2p_answer(&b.s, 0, "body", i < 4);
		if (i == 4) {
			for (int t = 0; t < PLANE_TURNS && c.n < 4; t++)
				h2p_turns(&b.p, &b.s, 1);
			assert_int_equal(nghttp2_submit_headers(b.s.session, 0, b.s.stream[0].id,
								NULL, nv, 1, NULL),
					 0);
		}
		await(&b.p, &b.s, &c);
		assert_int_equal(c.ends, i == 2);
		assert_int_equal(c.trailer_blocks, i == 2);
		if (i != 2) {
			assert_int_equal(c.reason, EG_REASON_UPSTREAM_PROTOCOL);
			assert_int_equal(c.loss, EG_CALL_LOSS_STREAM);
		}
		assert_int_equal(eg_upstream_idle(b.p.upstream), 1);
		free(c.got);
		bed_down(&b);
	}
	(void)state;
}

/* 1xx are dropped, a few of them. */
static void test_interim(void **state)
{
	static const nghttp2_nv hints[] = {H2P_FIELD(":status", "103"), H2P_FIELD("link", "x")};
	static struct bed b;
	struct calling c[2] = {{.last = true}, {.last = true}};

	bed_up(&b, &c[0]);
	start(&b.p, &c[1]);
	h2p_await(&b.p, &b.s, 2);
	for (unsigned int i = 0; i < EG_CALL_INTERIM_MAX; i++)
		assert_true(!nghttp2_submit_headers(b.s.session, 0, b.s.stream[0].id, NULL, hints,
						    2, NULL));
	h2p_answer(&b.s, 0, "final", true);
	await(&b.p, &b.s, &c[0]);
	assert_int_equal(c[0].heads, 1);
	assert_int_equal(c[0].status, 200);
	for (unsigned int i = 0; i <= EG_CALL_INTERIM_MAX; i++)
		assert_true(!nghttp2_submit_headers(b.s.session, 0, b.s.stream[1].id, NULL, hints,
						    2, NULL));
	await(&b.p, &b.s, &c[1]);
	assert_int_equal(c[1].reason, EG_REASON_UPSTREAM_PROTOCOL);
	free(c[0].got);
	bed_down(&b);
	(void)state;
}

/* Bytes that are no HTTP/2 end the connection, and all that is on it. */
static void test_malformed(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		bool first;
	} bad[] = {
		{"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 38, true},
		{"\0\0\4\0\0\0\0\0\1abcd", 13, true},	    /* DATA before SETTINGS */
		{"\0\0\4\1\4\0\0\0\2abcd", 13, false},	    /* HEADERS on a stream of its own */
		{"\0\0\1\1\4\0\0\0\1\xff", 10, false},	    /* HPACK index of nothing */
		{"\0\0\5\6\0\0\0\0\0abcde", 14, false},	    /* PING of 5 bytes */
		{"\0\0\4\10\0\0\0\0\0\0\0\0\0", 13, false}, /* WINDOW_UPDATE by 0 */
		{"\0\0\11\5\4\0\0\0\1\0\0\0\2\202\0\0\0\0", 18, false}, /* PUSH_PROMISE */
		{"\1\0\0\0\0\0\0\0\1", 9, false},			/* a frame of 64 KiB */
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++) {
		static struct bed b;
		struct calling c = {.last = true};

		if (bad[i].first) {
			plane_up(&b.p, NULL);
			start(&b.p, &c);
			h2p_init(&b.s, plane_accept(&b.p, b.p.provider[0]));
		} else {
			bed_up(&b, &c);
			h2p_turns(&b.p, &b.s, 5);
		}
		plane_send_n(&b.p, b.s.fd, bad[i].bytes, bad[i].n);
		for (int t = 0; t < PLANE_TURNS && !c.fails; t++)
			plane_turn(&b.p);
		if (c.fails != 1 || c.reason != EG_REASON_UPSTREAM_PROTOCOL)
			fail_msg("case %zu: failed %d with %d (%s)", i, c.fails, (int)c.reason,
				 c.text);
		assert_int_equal(c.loss, EG_CALL_LOSS_CONNECTION);
		assert_int_equal(eg_upstream_idle(b.p.upstream), 0);
		bed_down(&b);
	}
	(void)state;
}

/* Control frames without end: the connection is given up, whatever they are. */
static void test_floods(void **state)
{
	static const struct {
		const char *frame;
		size_t n;
	} flood[] = {
		{"\0\0\10\6\0\0\0\0\0abcdefgh", 17},  /* PING */
		{"\0\0\0\4\0\0\0\0\0", 9},	      /* SETTINGS */
		{"\0\0\0\0\0\0\0\0\1", 9},	      /* DATA with nothing */
		{"\0\0\5\2\0\0\0\0\1\0\0\0\0\1", 14}, /* PRIORITY */
		{"\0\0\1\0\10\0\0\0\1\0", 10},	      /* DATA with padding alone: none, */
		{"\0\0\3\0\10\0\0\0\1\2\0\0", 12},    /* and some */
		{"\0\0\4\10\0\0\0\0\0\0\0\0\1", 13},  /* WINDOW_UPDATE of the connection */
		{"\0\0\4\10\0\0\0\0\1\0\0\0\1", 13},  /* and of the stream */
		{"\0\0\10\6\1\0\0\0\0abcdefgh", 17},  /* PING, an answer to none */
		{"\0\0\10\7\0\0\0\0\0\177\377\377\377\0\0\0\0", 17}, /* GOAWAY */
		{"\0\0\4\52\0\0\0\0\0abcd", 13},		     /* a type that nobody knows, */
		{"\0\0\0\377\0\0\0\0\1", 9},			     /* also of a stream; */
		{"\0\0\2\14\0\0\0\0\0\0\0", 11},		     /* ORIGIN */
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(flood); i++) {
		static struct bed b;
		struct calling c = {.last = true};
		struct inbox in;
		unsigned int sent = 0;

		bed_up(&b, &c);
		h2p_answer(&b.s, 0, "begun", false);
		h2p_turns(&b.p, &b.s, 5);
		inbox_init(&in, dup(b.s.fd));
		while (!c.fails && sent < 10 * H2_CONTROL_MAX) {
			(void)!send(b.s.fd, flood[i].frame, flood[i].n, MSG_NOSIGNAL);
			sent++;
			plane_turns(&b.p, 1);
			inbox_poll(&in); /* its answers are taken */
		}
		if (sent <= H2_CONTROL_MAX / 2 ||
		    sent > H2_CONTROL_MAX + H2_EARN_STREAM + H2_EARN_DATA + 10)
			fail_msg("case %zu: %u frames", i, sent);
		assert_int_equal(c.reason, EG_REASON_UPSTREAM_PROTOCOL);
		if (!strstr(c.text, "floods"))
			fail_msg("case %zu: %s", i, c.text);
		inbox_fini(&in);
		free(c.got);
		bed_down(&b);
	}
	(void)state;
}

/* The same on a stream that is over, while another waits. */
static void test_floods_of_the_past(void **state)
{
	static const struct {
		const char *frame;
		size_t n;
	} flood[] = {
		{"\0\0\1\1\4\0\0\0\1\210", 10},	     /* HEADERS */
		{"\0\0\4\3\0\0\0\0\1\0\0\0\10", 13}, /* RST_STREAM */
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(flood); i++) {
		static struct bed b;
		struct calling c = {.last = true}, waits = {.last = true};
		unsigned int sent = 0;

		bed_up(&b, &c);
		h2p_answer(&b.s, 0, "whole", true);
		await(&b.p, &b.s, &c);
		start(&b.p, &waits);
		h2p_await(&b.p, &b.s, 2);
		while (!waits.fails && sent < 10 * H2_CONTROL_MAX) {
			(void)!send(b.s.fd, flood[i].frame, flood[i].n, MSG_NOSIGNAL);
			sent++;
			plane_turns(&b.p, 1);
		}
		if (sent <= H2_CONTROL_MAX / 2 || sent > H2_CONTROL_MAX + 2 * H2_EARN_STREAM + 10)
			fail_msg("case %zu: %u frames", i, sent);
		if (!strstr(waits.text, "floods"))
			fail_msg("case %zu: %s", i, waits.text);
		free(c.got);
		bed_down(&b);
	}
	(void)state;
}

/* DATA of streams that are over: what was on its way when a call was given up, and some mistakes,
 * are no flood, but more is one. */
static void test_late_data(void **state)
{
	static const char head[9] = "\0\40\0\0\0\0\0\0\1";
	static char frame[sizeof(head) + 8192];
	size_t least = H2_LATE_BYTES, most = least + H2_CONN_WINDOW + H2_STREAM_WINDOW;

	memcpy(frame, head, sizeof(head));
	for (int given_up = 0; given_up < 2; given_up++) {
		static struct bed b;
		struct calling c = {.last = true}, waits = {.last = true};
		struct inbox in;
		size_t sent = 0;

		bed_up(&b, &c);
		h2p_answer(&b.s, 0, "begun", !given_up);
		h2p_turns(&b.p, &b.s, 5);
		start(&b.p, &waits);
		h2p_await(&b.p, &b.s, 2);
		if (given_up)
			eg_call_end(&c.call.base);
		h2p_turns(&b.p, &b.s, 5);
		inbox_init(&in, dup(b.s.fd));
		for (; !waits.fails && sent < most; sent += 8192) {
			(void)!send(b.s.fd, frame, sizeof(frame), MSG_NOSIGNAL);
			plane_turns(&b.p, 2);
			inbox_poll(&in);
			if (sent < least + (given_up ? H2_STREAM_WINDOW : 0))
				assert_int_equal(waits.fails, 0);
		}
		assert_int_equal(waits.fails, 1);
		assert_int_equal(waits.reason, EG_REASON_UPSTREAM_PROTOCOL);
		assert_non_null(strstr(waits.text, "floods"));
		inbox_fini(&in);
		free(c.got);
		bed_down(&b);
	}
	(void)state;
}

/* A server of gRPC's measures its bandwidth: a PING for each DATA frame that it gets, beside the
 * windows that it opens. However many, they are no flood: the frames paid for them. */
static void test_measured(void **state)
{
	static const char frames[] = "\0\0\10\6\0\0\0\0\0measured"  /* PING */
				     "\0\0\4\10\0\0\0\0\0\0\0\0\1"  /* WINDOW_UPDATE of */
				     "\0\0\4\10\0\0\0\0\1\0\0\0\1"; /* both */
	static char body[3 * H2_CONTROL_MAX];
	static struct bed b;
	struct calling c = {.body = memset(body, 'x', sizeof(body))};

	bed_up(&b, &c);
	while (c.have < sizeof(body)) {
		c.have++;
		eg_call_body_ready(&c.call.base);
		h2p_turns(&b.p, &b.s, 1);
		plane_send_n(&b.p, b.s.fd, frames, sizeof(frames) - 1);
		h2p_turns(&b.p, &b.s, 2);
		if (c.fails)
			fail_msg("after %zu frames: %s", c.have, c.text);
	}
	c.last = true;
	eg_call_body_ready(&c.call.base);
	h2p_await(&b.p, &b.s, 1);
	assert_int_equal(b.s.stream[0].body_n, sizeof(body));
	h2p_answer(&b.s, 0, "x", true);
	await(&b.p, &b.s, &c);
	assert_int_equal(c.ends, 1);
	free(c.got);
	bed_down(&b);
	(void)state;
}

/* ALTSVC, ORIGIN, PRIORITY_UPDATE and GREASE, as many as an honest provider may send. */
static void test_some_unknown_frames_pass(void **state)
{
	static const char types[] = {0x0a, 0x0c, 0x10, 0x2a};
	static struct bed b;
	struct calling c = {.last = true};

	bed_up(&b, &c);
	h2p_answer(&b.s, 0, "begun", false);
	h2p_turns(&b.p, &b.s, 5);
	for (size_t i = 0; i < H2_CONTROL_MAX / 2; i++) {
		char frame[13] = {0, 0, 4, types[i % sizeof(types)]};

		plane_send_n(&b.p, b.s.fd, frame, sizeof(frame));
		plane_turns(&b.p, 1);
	}
	plane_turns(&b.p, 5);
	assert_int_equal(c.fails, 0);
	free(c.got);
	bed_down(&b);
	(void)state;
}

/* An idle connection that the provider closed, or said goodbye on, is not leased. */
static void test_idle_dies(void **state)
{
	for (int how = 0; how < 2; how++) {
		static struct bed b;
		struct calling c = {.last = true}, next = {.last = true};
		struct h2p other;

		bed_up(&b, &c);
		h2p_answer(&b.s, 0, "x", true);
		await(&b.p, &b.s, &c);
		assert_int_equal(eg_upstream_idle(b.p.upstream), 1);
		/* No turn of the loop sees it before the lease. */
		if (how)
			h2p_goaway(&b.s, 0x7fffffff, NGHTTP2_NO_ERROR);
		else
			shutdown(b.s.fd, SHUT_WR);
		start(&b.p, &next);
		h2p_init(&other, plane_accept(&b.p, b.p.provider[0]));
		h2p_await(&b.p, &other, 1);
		assert_int_equal(eg_upstream_idle(b.p.upstream), 0);
		eg_call_end(&next.call.base);
		free(c.got);
		h2p_fini(&other);
		bed_down(&b);
	}
	(void)state;
}

/* Nothing heard while a call waits: a PING; nothing after it: the connection is dead. The
 * clock is not waited for: what was heard is moved into the past. */
static void test_silence(void **state)
{
	for (int answers = 0; answers < 2; answers++) {
		static struct bed b;
		struct calling c = {.last = true};
		struct eg_h2_conn *h;

		bed_up(&b, &c);
		h2p_turns(&b.p, &b.s, 5);
		h = c.call.base.conn->h2;
		assert_true(eg_timer_armed(&h->silence));
		h->heard_ms -= H2_SILENCE_MS;
		assert_int_equal(eg_timer_set(b.p.loop, &h->silence, 0), 0);
		plane_turns(&b.p, 3);
		assert_true(h->pinged);
		if (answers) {
			h2p_turns(&b.p, &b.s, 5);
			assert_int_equal(b.s.pings, 1);
			assert_false(h->pinged);
			assert_int_equal(c.fails, 0);
			eg_call_end(&c.call.base);
		} else {
			h->pinged_ms -= H2_PING_MS;
			assert_int_equal(eg_timer_set(b.p.loop, &h->silence, 0), 0);
			plane_turns(&b.p, 3);
			assert_int_equal(c.fails, 1);
			assert_int_equal(c.reason, EG_REASON_UPSTREAM_RESET);
			assert_int_equal(c.loss, EG_CALL_LOSS_CONNECTION);
			assert_non_null(strstr(c.text, "PING"));
		}
		bed_down(&b);
	}
	(void)state;
}

/* What is passed on for a pod gets no PING that the pod did not send. */
static void test_no_ping_when_passed_on(void **state)
{
	static struct bed b;
	struct calling c = {.last = true};
	struct eg_h2_conn *h;

	bed_up(&b, &c);
	h = c.call.base.conn->h2;
	eg_timer_cancel(b.p.loop, &h->silence);
	h->conn->origin->has_fixed = true;
	h2_conn_leased(h);
	assert_false(eg_timer_armed(&h->silence));
	h->conn->origin->has_fixed = false;
	h2_conn_leased(h);
	assert_true(eg_timer_armed(&h->silence));
	eg_call_end(&c.call.base);
	bed_down(&b);
	(void)state;
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
/* Is `what` anywhere in this process's writable memory, but where the test has it? */
static int occurrences(const char *what, size_t n)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512], mode[8], *copy = malloc(n);
	int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC), found = 0;
	unsigned long from, to;

	assert_non_null(maps);
	assert_true(fd >= 0);
	memcpy(copy, what, n);
	while (fgets(line, sizeof(line), maps)) {
		char *bytes;
		ssize_t got;

		if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) != 3 || mode[1] != 'w' ||
		    strstr(line, "[stack]") || to - from > 512ul << 20)
			continue;
		/* Outside the heap, so that what is read is not found again. */
		bytes = mmap(NULL, to - from, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			     -1, 0);
		assert_true(bytes != MAP_FAILED);
		got = pread(fd, bytes, to - from, (off_t)from);
		for (char *at = bytes; got > 0; found++) {
			at = memmem(at, (size_t)(bytes + got - at), what, n);
			if (!at)
				break;
			at++;
		}
		munmap(bytes, to - from);
	}
	/* Its own copy is the proof that this finds anything. */
	free(copy);
	fclose(maps);
	close(fd);
	return found;
}

#endif

/* The key as HPACK writes it, whose bytes would be in frame buffers. */
static size_t as_hpack(const char *value, uint8_t *out, size_t size)
{
	nghttp2_hd_deflater *d = NULL;
	nghttp2_nv nv = {(uint8_t *)(uintptr_t) "authorization", (uint8_t *)(uintptr_t)value, 13,
			 strlen(value), NGHTTP2_NV_FLAG_NO_INDEX};
	ssize_t n;

	assert_int_equal(nghttp2_hd_deflate_new(&d, 4096), 0);
	n = nghttp2_hd_deflate_hd(d, out, size, &nv, 1);
	nghttp2_hd_deflate_del(d);
	assert_true(n > 20);
	return (size_t)n;
}

/* After the request has left, the key is nowhere: not in the head's buffer, not in HPACK's
 * table, not in a frame buffer, not in memory that was freed. */
static void test_secret_is_gone(void **state)
{
	static struct bed b;
	static uint8_t hpack[256];
	struct calling c = {.last = true};
	char key[] = "Bearer qw-0123456789-secret-of-this-test-alone", head[512];
	struct eg_upstream_conn *conn;
	size_t n;
	int first, packed;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	/* Their own memory is too large to look through, and holds copies. */
	print_message("test_secret_is_gone: looks at memory only without a sanitizer\n");
#endif
	plane_up(&b.p, NULL);
	conn = lease(&b.p, 50000);
	eg_call_init(&c.call, conn, &ops, &c, &c.scratch);
	n = (size_t)snprintf(head, sizeof(head),
			     "GET / HTTP/1.1\r\nhost: h\r\nauthorization: %s\r\n\r\n", key);
	assert_int_equal(eg_buf_append(&c.call.base.head, head, n), 0);
	explicit_bzero(head, sizeof(head));
	n = as_hpack(key, hpack, sizeof(hpack));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	first = occurrences(key + 7, strlen(key + 7));
	assert_true(first >= 1); /* the head's buffer: this test can see it */
	packed = occurrences((char *)hpack + 4, n - 4);
#endif
	eg_call_begin(&c.call.base, conn, false, false);
	h2p_init(&b.s, plane_accept(&b.p, b.p.provider[0]));
	/* Sent, and not read by this process yet. */
	plane_turns(&b.p, 20);
	assert_null(c.call.base.head.p);
	eg_stream_idle(conn->stream); /* under TLS its buffer holds ciphertext */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	assert_int_equal(occurrences(key + 7, strlen(key + 7)), first - 1);
	assert_int_equal(occurrences((char *)hpack + 4, n - 4), packed);
#endif
	explicit_bzero(hpack, sizeof(hpack));
	h2p_await(&b.p, &b.s, 1);
	assert_non_null(strstr(b.s.stream[0].head, key));
	/* "Never indexed": also the next one to encode it must not keep it. */
	assert_int_equal(b.s.never_indexed, 2); /* :path and authorization */
	assert_true(nghttp2_session_get_hd_deflate_dynamic_table_size(conn->h2->session) < 100);
	eg_call_end(&c.call.base);
	bed_down(&b);
	(void)first;
	(void)packed;
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_provider_limit),
		cmocka_unit_test(test_upload_waits),
		cmocka_unit_test(test_upload_back_pressure),
		cmocka_unit_test(test_pause),
		cmocka_unit_test(test_whole_by_length),
		cmocka_unit_test(test_burst_is_one_piece),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_refused_late),
		cmocka_unit_test(test_goaway),
		cmocka_unit_test(test_goaway_alone),
		cmocka_unit_test(test_http_1_1_required),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_connection_lost),
		cmocka_unit_test(test_lost_unsent),
		cmocka_unit_test(test_early_answer),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_bodiless),
		cmocka_unit_test(test_bad_heads),
		cmocka_unit_test(test_head_limits),
		cmocka_unit_test(test_interim),
		cmocka_unit_test(test_trailers),
		cmocka_unit_test(test_trailers_end_the_call),
		cmocka_unit_test(test_trailers_after_a_length),
		cmocka_unit_test(test_only_a_head),
		cmocka_unit_test(test_bad_trailers),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_floods),
		cmocka_unit_test(test_floods_of_the_past),
		cmocka_unit_test(test_late_data),
		cmocka_unit_test(test_measured),

		cmocka_unit_test(test_some_unknown_frames_pass),
		cmocka_unit_test(test_idle_dies),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_no_ping_when_passed_on),
		cmocka_unit_test(test_secret_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
