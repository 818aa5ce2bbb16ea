/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of a provider that speaks HTTP/2, or something like it. The first byte says how many calls
 * are on the connection and which of them pauses (the first drops trailers, the second takes them,
 * the third waits for them); the rest are the bytes the provider sends, cut anywhere. Oracles:
 * however they are cut, each call is told the same, but for how much of a body came before it was
 * seen to be wrong, and that one ends with its Content-Length, whatever comes after that; each ends
 * or fails at most once, gets no head after data and nothing after its end; what a paused one takes
 * is bounded by its window; the connection answers a flood with its end.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"
#include "upstream/any_call.h"
#include "upstream/h2_conn.h"

#define CALLS 3

struct told {
	union eg_any_call call;
	struct eg_h1_head scratch;
	bool pauses, begun;
	int heads, trailers, ends, fails;
	unsigned int status;
	size_t bytes;
	uint64_t hash, length; /* what Content-Length says; UINT64_MAX: nothing */
	enum eg_reason reason;
};

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
	FUZZ_CHECK(!"there is no body");
}

static void on_request_sent(void *ctx)
{
	(void)ctx;
}

static void on_head(void *ctx, const struct eg_h1_head *head)
{
	const struct eg_header *length;
	struct told *t = ctx;

	FUZZ_CHECK(!t->ends && !t->fails && !t->bytes && !t->heads);
	FUZZ_CHECK(head->status >= 200 && head->status <= 999);
	FUZZ_CHECK(!eg_h1_find(head, EG_STR("connection")));
	FUZZ_CHECK(!eg_h1_find(head, EG_STR("upgrade")));
	t->heads++;
	t->status = head->status;
	length = eg_h1_find(head, EG_STR("content-length"));
	if (!length || eg_str_u64(length->value, &t->length))
		t->length = UINT64_MAX;
}

static void on_data(void *ctx, struct eg_str data)
{
	struct told *t = ctx;

	FUZZ_CHECK(t->heads && !t->ends && !t->fails && data.n);
	t->bytes += data.n;
	for (size_t i = 0; i < data.n; i++)
		t->hash = (t->hash ^ (unsigned char)data.p[i]) * 0x100000001b3ull;
	if (t->pauses) {
		eg_call_pause(&t->call.base);
		FUZZ_CHECK(t->bytes <= H2_STREAM_WINDOW);
	}
}

static void on_trailers(void *ctx, const struct eg_header *fields, size_t count)
{
	struct told *t = ctx;

	FUZZ_CHECK(t->heads && !t->trailers && !t->ends && !t->fails);
	FUZZ_CHECK(count && count <= EG_H1_MAX_HEADERS);
	FUZZ_CHECK(t->call.base.trailers != EG_CALL_TRAILERS_DROPPED);
	t->trailers++;
	for (size_t i = 0; i < count; i++) {
		FUZZ_CHECK(fields[i].name.n && fields[i].name.p[0] != ':');
		FUZZ_CHECK(!eg_str_ieq(fields[i].name, EG_STR("content-length")));
		for (size_t j = 0; j < fields[i].value.n; j++)
			FUZZ_CHECK(fields[i].value.p[j] != '\r' && fields[i].value.p[j] != '\n');
		t->hash = (t->hash ^ fields[i].name.n ^ fields[i].value.n << 16) * 0x100000001b3ull;
	}
}

static void on_end(void *ctx)
{
	struct told *t = ctx;

	FUZZ_CHECK(t->heads && !t->ends && !t->fails);
	t->ends++;
	eg_call_end(&t->call.base);
}

static void on_failed(void *ctx, enum eg_reason reason, const char *text)
{
	struct told *t = ctx;

	FUZZ_CHECK(!t->ends && !t->fails && *text);
	FUZZ_CHECK(reason == EG_REASON_UPSTREAM_RESET || reason == EG_REASON_UPSTREAM_PROTOCOL);
	t->fails++;
	t->reason = reason;
	eg_call_end(&t->call.base);
}

static const struct eg_call_ops ops = {on_body, on_body_sent, on_request_sent, on_head,
				       on_data, on_trailers,  on_end,	       on_failed};

static void ignore(struct eg_stream *s, unsigned int events, void *ctx)
{
	(void)s;
	(void)events;
	(void)ctx;
}

static void turns(struct eg_loop *l, int fd, int n)
{
	char sink[65536];

	while (n--) {
		FUZZ_CHECK(!eg_loop_turn(l, 0));
		while (recv(fd, sink, sizeof(sink), MSG_DONTWAIT) > 0)
			;
	}
}

/* The provider's own preface comes first, so that an input need not find it. */
static const char settings[] = "\0\0\0\4\0\0\0\0\0";

static void run(const uint8_t *data, size_t size, uint64_t seed, struct told t[CALLS])
{
	static const char head[] = "GET / HTTP/1.1\r\nhost: h\r\nauthorization: Bearer k\r\n\r\n";
	static const struct eg_stream_handler handler = {ignore};
	struct eg_upstream_options o = {.loop = eg_loop_create()};
	struct eg_origin_spec spec = {.host = "h", .port = 1, .binding = ""};
	struct eg_upstream *u = eg_upstream_create(&o);
	struct eg_upstream_origin *origin = upstream_origin_acquire(u, &spec);
	struct eg_upstream_conn *conn;
	int fd[2], calls = 1 + data[0] % CALLS;

	FUZZ_CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd));
	conn = upstream_conn_create(u, origin, eg_stream_accept(o.loop, fd[0], &handler, NULL));
	FUZZ_CHECK(conn && !upstream_conn_share(conn));
	memset(t, 0, CALLS * sizeof(*t));
	for (int i = 0; i < calls; i++) {
		t[i].pauses = data[0] >> 4 & 1u << i;
		t[i].begun = true;
		upstream_lease(conn);
		eg_call_init(&t[i].call, conn, &ops, &t[i], &t[i].scratch);
		FUZZ_CHECK(!eg_buf_append(&t[i].call.base.head, head, sizeof(head) - 1));
		t[i].call.base.trailers = (enum eg_call_trailers)i;
		eg_call_begin(&t[i].call.base, conn, false, false);
	}
	FUZZ_CHECK(send(fd[1], settings, 9, MSG_NOSIGNAL) == 9);
	turns(o.loop, fd[1], 3);
	for (size_t at = 1; at < size;) {
		size_t n = seed ? fuzz_step(&seed, size - at) : size - at;

		if (send(fd[1], data + at, n, MSG_NOSIGNAL) != (ssize_t)n)
			break; /* it was given up */
		at += n;
		turns(o.loop, fd[1], 2);
	}
	turns(o.loop, fd[1], 3);
	close(fd[1]);
	for (int i = 0; i < 5; i++)
		FUZZ_CHECK(!eg_loop_turn(o.loop, 0));
	for (int i = 0; i < calls; i++) {
		FUZZ_CHECK(t[i].ends + t[i].fails == 1);
		FUZZ_CHECK(!t[i].call.base.conn);
	}
	eg_upstream_destroy(u);
	FUZZ_CHECK(!eg_loop_turn(o.loop, 0));
	eg_loop_destroy(o.loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct told whole[CALLS], parted[CALLS];

	if (size < 2 || size > 32768)
		return 0;
	run(data, size, 0, whole);
	run(data, size, fuzz_seed(data, size), parted);
	for (int i = 0; i < CALLS; i++) {
		if (whole[i].fails && parted[i].ends && parted[i].bytes == parted[i].length)
			continue;
		FUZZ_CHECK(whole[i].ends == parted[i].ends);
		FUZZ_CHECK(whole[i].reason == parted[i].reason);
		FUZZ_CHECK(whole[i].heads == parted[i].heads);
		FUZZ_CHECK(whole[i].trailers == parted[i].trailers);
		FUZZ_CHECK(whole[i].status == parted[i].status);
		if (whole[i].fails)
			continue;
		FUZZ_CHECK(whole[i].bytes == parted[i].bytes);
		FUZZ_CHECK(whole[i].hash == parted[i].hash);
	}
	return 0;
}
