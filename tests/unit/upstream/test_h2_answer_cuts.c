/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 answers of a provider cut at every byte, and with each byte alone. Whatever the cuts, each
 * call is told the same head, body, trailers and end, and the provider gets the same GOAWAY and
 * resets.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "h2_frames.h"
#include "upstream/any_call.h"
#include "upstream/h2_continuations.h"
#include "upstream/h2_conn.h"

#define CALLS 2
#define ALONE SIZE_MAX
#define OK200 ":status|200\ncontent-type|text/plain\n"

/* What comes of one run; all of it is compared. */
struct told {
	struct {
		int heads, ends, fails;
		unsigned int status;
		enum eg_reason reason;
		enum eg_call_loss loss;
		char fields[256], body[256], trailers[256], text[128];
		uint32_t reset; /* that the provider got for it: its code + 1 */
	} call[CALLS];
	uint32_t goaway; /* its code + 1 */
	bool end;	 /* the connection's */
};

struct asked {
	union eg_any_call call;
	struct eg_h1_head scratch;
	struct told *told;
	int i;
};

/* ---- calls ---- */

static int on_body(void *ctx, struct iovec *v, bool *last)
{
	(void)ctx;
	(void)v;
	*last = true;
	return 0;
}

static void on_body_sent(void *ctx, size_t n)
{
	(void)ctx;
	(void)n;
}

static void on_request_sent(void *ctx)
{
	(void)ctx;
}

static void note(char to[256], const struct eg_header *fields, size_t count)
{
	size_t n = strlen(to);

	for (size_t i = 0; i < count; i++) {
		n += (size_t)snprintf(to + n, 256 - n, "%.*s: %.*s\n", EG_STR_ARG(fields[i].name),
				      EG_STR_ARG(fields[i].value));
		assert_true(n < 256);
	}
}

static void on_head(void *ctx, const struct eg_h1_head *head)
{
	struct asked *a = ctx;

	a->told->call[a->i].heads++;
	a->told->call[a->i].status = head->status;
	note(a->told->call[a->i].fields, head->headers, head->header_count);
}

static void on_data(void *ctx, struct eg_str data)
{
	struct asked *a = ctx;
	char *to = a->told->call[a->i].body;
	size_t n = strlen(to);

	assert_true(n + data.n < sizeof(a->told->call[a->i].body));
	memcpy(to + n, data.p, data.n);
}

static void on_trailers(void *ctx, const struct eg_header *fields, size_t count)
{
	struct asked *a = ctx;

	note(a->told->call[a->i].trailers, fields, count);
}

static void on_end(void *ctx)
{
	struct asked *a = ctx;

	a->told->call[a->i].ends++;
	eg_call_end(&a->call.base);
}

static void on_failed(void *ctx, enum eg_reason reason, const char *text)
{
	struct asked *a = ctx;

	a->told->call[a->i].fails++;
	a->told->call[a->i].reason = reason;
	a->told->call[a->i].loss = a->call.base.loss;
	snprintf(a->told->call[a->i].text, sizeof(a->told->call[a->i].text), "%s", text);
	eg_call_end(&a->call.base);
}

static const struct eg_call_ops ops = {on_body, on_body_sent, on_request_sent, on_head,
				       on_data, on_trailers,  on_end,	       on_failed};

/* ---- scripts ---- */

/* What the provider sends. */
struct wire {
	size_t n;
	char p[4096];
};

static void add_frame(struct wire *w, const struct step *s)
{
	char block[1024];
	size_t n = s->fields ? raw_block(block, s->fields) : 0;
	char *to = w->p + w->n;

	assert_true(n + s->n <= sizeof(block));
	memcpy(block + n, s->bytes, s->n);
	n += s->n;
	assert_true(w->n + 9 + n <= sizeof(w->p));
	memcpy(to,
	       (const char[]){(char)(n >> 16), (char)(n >> 8), (char)n, (char)s->type,
			      (char)s->flags, (char)(s->id >> 24), (char)(s->id >> 16),
			      (char)(s->id >> 8), (char)s->id},
	       9);
	memcpy(to + 9, block, n);
	w->n += 9 + n;
}

#define CONT(flags, b) F(NGHTTP2_CONTINUATION, flags, 1, b)
#define SECOND	       H(0, 3, OK200), DATA(END, 3, "second")
/* Half of as many as a head may have. */
#define CONT4(flags) \
	CONT(0, "\0\3x-a\1b"), CONT(0, ""), CONT(0, "\0\3x-c\1d"), CONT(flags, "\0\3x-e\1f")

static const struct script {
	const char *name;
	struct step step[16];
	int ends;  /* calls that are answered whole; the others fail */
	bool over; /* the connection ends by a GOAWAY of ours */
} scripts[] = {
	{"heads and bodies, one beside the other",
	 {H(0, 1, OK200 "content-length|6\n"), H(0, 3, OK200), DATA(0, 1, "abc"), DATA(0, 3, "1"),
	  DATA(0, 3, "2"), DATA(END, 1, "def"), DATA(END, 3, "3")},
	 2,
	 false},
	{"a head in two frames, padded DATA, trailers",
	 {{NGHTTP2_HEADERS, 0, 1, OK200, "", 0, 0},
	  CONT(EOH, "\0\3x-a\1b"),
	  DATA(PAD, 1, "\3abc\0\0\0"),
	  DATA(PAD, 1, "\1\0"),
	  DATA(0, 1, "d"),
	  DATA(PAD, 1, "\0e"),
	  H(END, 1, "x-sum|abc\n"),
	  SECOND},
	 2,
	 false},
	{"trailers in two frames, after a 103",
	 {H(0, 1, ":status|103\nlink|a\n"),
	  H(0, 1, OK200),
	  DATA(0, 1, "ab"),
	  {NGHTTP2_HEADERS, END, 1, "x-sum|abc\n", "", 0, 0},
	  CONT(EOH, "\0\3x-a\1b"),
	  SECOND},
	 2,
	 false},
	{"frames between",
	 {H(0, 1, OK200), F(NGHTTP2_PING, 0, 0, "12345678"), DATA(0, 1, "ab"), SET("\0\3\0\0\0\7"),
	  DATA(0, 1, "c"), WIN(0, "\0\0\1\0"), F(0x2a, 0, 1, "abc"), DATA(0, 1, ""),
	  DATA(END, 1, "d"), SECOND},
	 2,
	 false},
	{"DATA of both streams in turn, each of one byte",
	 {H(0, 1, OK200), H(0, 3, OK200), DATA(0, 1, "a"), DATA(0, 1, "b"), DATA(0, 3, "1"),
	  DATA(0, 1, "c"), DATA(0, 3, "2"), DATA(0, 3, "3"), DATA(END, 3, ""), DATA(END, 1, "")},
	 2,
	 false},
	{"8 CONTINUATIONs",
	 {{NGHTTP2_HEADERS, END, 1, OK200, "", 0, 0}, CONT4(0), CONT4(EOH), SECOND},
	 2,
	 false},
	{"9 CONTINUATIONs",
	 {{NGHTTP2_HEADERS, END, 1, OK200, "", 0, 0}, CONT4(0), CONT4(0), CONT(EOH, "")},
	 0,
	 true},
	{"a head that does not go on",
	 {{NGHTTP2_HEADERS, END, 1, OK200, "", 0, 0}, F(NGHTTP2_PING, 0, 0, "12345678")},
	 0,
	 true},
	{"SETTINGS of a wrong size", {H(0, 1, OK200), SET("\0\4\0")}, 0, true},
	{"a field that may not be there", {H(0, 1, OK200 "connection|close\n"), SECOND}, 1, false},
	{"less than its length",
	 {H(0, 1, OK200 "content-length|6\n"), DATA(END, 1, "abc"), SECOND},
	 1,
	 false},
	{"more than its length",
	 {H(0, 1, OK200 "content-length|6\n"), DATA(0, 1, "abc"), DATA(END, 1, "defg"), SECOND},
	 1,
	 false},
	{"more than its length, at once",
	 {H(0, 1, OK200 "content-length|2\n"), DATA(END, 1, "abc"), SECOND},
	 1,
	 false},
	{"as much as its length, and then more",
	 {H(0, 1, OK200 "content-length|3\n"), DATA(0, 1, "abc"), DATA(END, 1, "d"), SECOND},
	 1,
	 false},
	{"a reset inside the body",
	 {H(0, 1, OK200), DATA(0, 1, "abc"), RST(1, "\0\0\0\2"), SECOND},
	 1,
	 false},
	{"a refused stream", {RST(1, "\0\0\0\7"), SECOND}, 1, false},
	{"GOAWAY above the first",
	 {F(NGHTTP2_GOAWAY, 0, 0, "\0\0\0\1\0\0\0\0"), H(0, 1, OK200), DATA(END, 1, "ab")},
	 1,
	 false},
};

/* ---- one run ---- */

static void ignore(struct eg_stream *s, unsigned int events, void *ctx)
{
	(void)s;
	(void)events;
	(void)ctx;
}

/* What the provider got. */
struct got {
	unsigned char p[8192];
	size_t n;
	bool end;
};

static void turns(struct eg_loop *l, int fd, struct got *g, int n)
{
	while (n--) {
		ssize_t r;

		assert_int_equal(eg_loop_turn(l, 0), 0);
		while (!g->end &&
		       (r = recv(fd, g->p + g->n, sizeof(g->p) - g->n, MSG_DONTWAIT)) >= 0) {
			g->n += (size_t)r;
			g->end = !r;
			assert_true(g->n < sizeof(g->p));
		}
	}
}

static void note_frames(struct told *t, const struct got *g)
{
	for (size_t at = 24, n; at + 9 <= g->n; at += 9 + n) {
		const unsigned char *f = g->p + at;
		uint32_t id = raw_u32(f + 5);

		n = raw_u32(f) >> 8;
		if (f[3] == NGHTTP2_GOAWAY)
			t->goaway = raw_u32(f + 13) + 1;
		if (f[3] == NGHTTP2_RST_STREAM && id < 2 * CALLS)
			t->call[id / 2].reset = raw_u32(f + 9) + 1;
	}
	t->end = g->end;
}

static struct told *run(const struct wire *w, size_t cut)
{
	static const char head[] = "GET / HTTP/1.1\r\nhost: h\r\n\r\n";
	static const struct eg_stream_handler handler = {ignore};
	struct eg_upstream_options o = {.loop = eg_loop_create()};
	struct eg_origin_spec spec = {.host = "h", .port = 1, .binding = ""};
	struct eg_upstream *u = eg_upstream_create(&o);
	struct eg_upstream_origin *origin = upstream_origin_acquire(u, &spec);
	struct told *t = calloc(1, sizeof(*t));
	struct asked *a = calloc(CALLS, sizeof(*a));
	struct got *g = calloc(1, sizeof(*g));
	struct eg_upstream_conn *conn;
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	conn = upstream_conn_create(u, origin, eg_stream_accept(o.loop, fd[0], &handler, NULL));
	assert_non_null(conn);
	assert_int_equal(upstream_conn_share(conn), 0);
	for (int i = 0; i < CALLS; i++) {
		a[i].told = t;
		a[i].i = i;
		upstream_lease(conn);
		eg_call_init(&a[i].call, conn, &ops, &a[i], &a[i].scratch);
		assert_int_equal(eg_buf_append(&a[i].call.base.head, head, sizeof(head) - 1), 0);
		a[i].call.base.trailers = EG_CALL_TRAILERS_AWAITED;
		eg_call_begin(&a[i].call.base, conn, false, false);
	}
	turns(o.loop, fd[1], g, 3);
	for (size_t at = 0, step; at < w->n; at += step) {
		step = cut == ALONE ? 1 : at || !cut ? w->n - at : cut;
		if (send(fd[1], w->p + at, step, MSG_NOSIGNAL) != (ssize_t)step)
			break; /* it was ended */
		turns(o.loop, fd[1], g, 3);
	}
	note_frames(t, g);
	close(fd[1]);
	for (int i = 0; i < 5; i++)
		assert_int_equal(eg_loop_turn(o.loop, 0), 0);
	for (int i = 0; i < CALLS; i++)
		assert_int_equal(t->call[i].ends + t->call[i].fails, 1);
	eg_upstream_close_idle(u);
	assert_int_equal(eg_loop_turn(o.loop, 0), 0);
	eg_upstream_destroy(u);
	assert_int_equal(eg_loop_turn(o.loop, 0), 0);
	eg_loop_destroy(o.loop);
	free(a);
	free(g);
	return t;
}

static void show(const struct told *t)
{
	print_message("GOAWAY %d, end %d\n", (int)t->goaway - 1, t->end);
	for (int i = 0; i < CALLS; i++)
		print_message("%d: %d heads (%u), %d ends, %d fails (%s, loss %d, %s), reset %d\n"
			      "%sbody \"%s\"\n%s",
			      i, t->call[i].heads, t->call[i].status, t->call[i].ends,
			      t->call[i].fails, eg_reason_label(t->call[i].reason),
			      (int)t->call[i].loss, t->call[i].text, (int)t->call[i].reset - 1,
			      t->call[i].fields, t->call[i].body, t->call[i].trailers);
}

static void same(const struct script *s, size_t cut, const struct told *whole, struct told *t)
{
	if (memcmp(whole, t, sizeof(*t)) != 0) {
		show(t);
		show(whole);
		fail_msg("%s, cut at %zd: the first, not the second", s->name, (ssize_t)cut);
	}
	free(t);
}

static void test_answers(void **state)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(scripts); i++) {
		const struct script *s = &scripts[i];
		struct wire w = {0};
		struct told *whole;
		int ends = 0;

		add_frame(&w, &(const struct step)SET(""));
		for (size_t j = 0; j < EG_ARRAY_SIZE(s->step) && s->step[j].bytes; j++)
			add_frame(&w, &s->step[j]);
		whole = run(&w, 0);
		for (int c = 0; c < CALLS; c++)
			ends += whole->call[c].ends;
		if (ends != s->ends || (whole->goaway > 1) != s->over) {
			show(whole);
			fail_msg("%s: that is not what it is about", s->name);
		}
		for (size_t cut = 1; cut < w.n; cut++)
			same(s, cut, whole, run(&w, cut));
		same(s, ALONE, whole, run(&w, ALONE));
		free(whole);
	}
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
