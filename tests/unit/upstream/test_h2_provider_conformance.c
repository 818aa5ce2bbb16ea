/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 9113 sections 4 to 8 from a provider's side, frame by frame: what a server must not send, and
 * what becomes of the answers. Stream 1 is what a rule is about, stream 3 is beside it: it is
 * answered afterwards, or fails with the connection. docs/internals/h2_conformance.md says which
 * rule has which case. */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "h2_frames.h"
#include "upstream/any_call.h"
#include "upstream/h2_conn.h"

#define TURNS 5000 /* of a millisecond at most */

struct asked {
	union eg_any_call call;
	struct eg_h1_head scratch;
	const char *more; /* fields of the request */
	const char *body; /* of it */
	size_t body_at, body_n;
	int heads, ends, fails;
	unsigned int status;
	char fields[512];
	size_t n; /* of the answer's body */
	enum eg_reason reason;
	enum eg_call_loss loss;
	char text[128];
};

struct bed {
	struct eg_loop *loop;
	struct eg_upstream *u;
	struct eg_dial_rules rules;
	struct asked a[2];
	struct eg_upstream_wait wait;
	struct eg_upstream_conn *conn;
	int listener, fd;
	unsigned char in[2 << 20]; /* all that came to the provider */
	size_t in_n;
	bool end;
};

static struct bed b;

/* ---- calls ---- */

static int on_body(void *ctx, struct iovec *v, bool *last)
{
	struct asked *a = ctx;

	*last = true;
	if (a->body_at == a->body_n)
		return 0;
	*v = (struct iovec){(char *)(uintptr_t)a->body + a->body_at, a->body_n - a->body_at};
	return 1;
}

static void on_body_sent(void *ctx, size_t n)
{
	((struct asked *)ctx)->body_at += n;
}

static void on_request_sent(void *ctx)
{
	(void)ctx;
}

static void on_head(void *ctx, const struct eg_h1_head *head)
{
	struct asked *a = ctx;
	size_t n = 0;

	a->heads++;
	a->status = head->status;
	for (size_t i = 0; i < head->header_count && n < sizeof(a->fields); i++)
		n += (size_t)snprintf(a->fields + n, sizeof(a->fields) - n, "%.*s: %.*s\n",
				      EG_STR_ARG(head->headers[i].name),
				      EG_STR_ARG(head->headers[i].value));
}

static void on_data(void *ctx, struct eg_str data)
{
	((struct asked *)ctx)->n += data.n;
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

	a->fails++;
	a->reason = reason;
	a->loss = a->call.base.loss;
	snprintf(a->text, sizeof(a->text), "%s", text);
	eg_call_end(&a->call.base);
}

static const struct eg_call_ops ops = {on_body, on_body_sent, on_request_sent, on_head,
				       on_data, NULL,	      on_end,	       on_failed};

static void turn(void)
{
	assert_int_equal(eg_loop_turn(b.loop, 1), 0);
}

static void on_done(struct eg_upstream_wait *w, struct eg_upstream_conn *conn,
		    enum eg_reason reason, const char *text)
{
	(void)w;
	(void)reason;
	(void)text;
	b.conn = conn;
}

static struct eg_origin_spec origin(void)
{
	struct sockaddr_in at;
	socklen_t n = sizeof(at);

	assert_int_equal(getsockname(b.listener, (struct sockaddr *)&at, &n), 0);
	return (struct eg_origin_spec){.host = "127.0.0.1",
				       .port = ntohs(at.sin_port),
				       .binding = "key",
				       .allow_private = true,
				       .http2 = true,
				       .prior_knowledge = true};
}

static void ask(int i)
{
	struct asked *a = &b.a[i];
	struct eg_origin_spec o = origin();
	int r;

	b.wait.done = on_done;
	b.conn = eg_upstream_acquire(b.u, &o, 50000, 1000, &b.wait);
	for (int t = 0; !b.conn && t < TURNS; t++)
		turn();
	assert_non_null(b.conn);
	eg_call_init(&a->call, b.conn, &ops, a, &a->scratch);
	r = eg_buf_printf(&a->call.base.head, "%s / HTTP/1.1\r\nHost: provider.internal\r\n%s\r\n",
			  a->body_n ? "POST" : "GET", a->more ? a->more : "");
	assert_int_equal(r, 0);
	eg_call_begin(&a->call.base, b.conn, false, false);
}

/* ---- the provider ---- */

static void poll_provider(void)
{
	ssize_t n;

	while (!b.end && b.in_n < sizeof(b.in) &&
	       (n = recv(b.fd, b.in + b.in_n, sizeof(b.in) - b.in_n, MSG_DONTWAIT)) >= 0) {
		b.in_n += (size_t)n;
		b.end = !n;
	}
}

static void turns(int n)
{
	while (n--) {
		poll_provider();
		turn();
	}
	poll_provider();
}

static void send_bytes(const void *bytes, size_t n)
{
	const char *p = bytes;

	for (int i = 0; n && i < TURNS; i++) {
		ssize_t w = send(b.fd, p, n, MSG_NOSIGNAL);

		if (w < 0 && errno != EAGAIN)
			return; /* it was ended */
		p += w > 0 ? w : 0;
		n -= w > 0 ? (size_t)w : 0;
		if (n)
			turns(1);
	}
}

static void send_frame(uint8_t type, uint8_t flags, uint32_t id, const void *payload, size_t n)
{
	unsigned char head[9] = {(unsigned char)(n >> 16),
				 (unsigned char)(n >> 8),
				 (unsigned char)n,
				 type,
				 flags,
				 (unsigned char)(id >> 24),
				 (unsigned char)(id >> 16),
				 (unsigned char)(id >> 8),
				 (unsigned char)id};

	send_bytes(head, sizeof(head));
	send_bytes(payload, n);
}

static void send_step(const struct step *s)
{
	static char block[20000];
	size_t n = s->fields ? raw_block(block, s->fields) : 0;

	if (s->type == RAW) {
		send_bytes(s->bytes, s->n);
		return;
	}
	if (s->type == TURN) {
		turns(10);
		return;
	}
	memcpy(block + n, s->bytes, s->n);
	for (int i = 0; i <= s->more; i++)
		send_frame(s->type, s->flags, s->id, block, n + s->n);
}

/* The payload of the first such frame that came (id 0: of any stream), how many there are, and
 * their bytes. */
static const unsigned char *frames(uint8_t type, uint32_t id, size_t *count, size_t *bytes)
{
	const unsigned char *first = NULL;
	size_t at = 24;

	*count = *bytes = 0;
	while (at + 9 <= b.in_n) {
		const unsigned char *p = b.in + at;
		size_t n = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];

		if (at + 9 + n > b.in_n)
			break;
		raw_check(p);
		if (p[3] == type && (!id || raw_u32(p + 5) == id)) {
			first = first ? first : p + 9;
			++*count;
			*bytes += n;
		}
		at += 9 + n;
	}
	return first;
}

static const unsigned char *came(uint8_t type, uint32_t id)
{
	size_t count, bytes;

	poll_provider();
	return frames(type, id, &count, &bytes);
}

static const unsigned char *await_frame(uint8_t type, uint32_t id)
{
	for (int i = 0; i < TURNS && !came(type, id) && !b.end; i++)
		turns(1);
	if (!came(type, id))
		fail_msg("no frame of type %u came on stream %u", type, id);
	return came(type, id);
}

static size_t data_bytes(void)
{
	size_t count, bytes;

	turns(30);
	(void)frames(NGHTTP2_DATA, 1, &count, &bytes);
	return bytes;
}

/* ---- life ---- */

/* `bare`: the provider has said nothing yet, and one request is there; else two are. */
static void up(bool bare, const char *body, size_t body_n)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct eg_upstream_options o = {0};
	int on = 1;

	memset(&b, 0, sizeof(b));
	b.a[0].body = body;
	b.a[0].body_n = body_n;
	b.loop = eg_loop_create();
	assert_non_null(b.loop);
	o.loop = b.loop;
	b.u = eg_upstream_create(&o);
	assert_non_null(b.u);
	b.listener = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(b.listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(b.listener, 8), 0);
	ask(0);
	b.fd = accept4(b.listener, NULL, NULL, SOCK_NONBLOCK);
	assert_true(b.fd >= 0);
	assert_int_equal(setsockopt(b.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
	(void)await_frame(NGHTTP2_HEADERS, 1);
	assert_memory_equal(b.in, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
	assert_int_equal(b.in[24 + 3], NGHTTP2_SETTINGS); /* section 3.4 */
	if (bare)
		return;
	send_frame(NGHTTP2_SETTINGS, 0, 0, "", 0);
	send_frame(NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, "", 0);
	turns(3);
	ask(1);
	(void)await_frame(NGHTTP2_HEADERS, 3);
}

static void down(void)
{
	for (int i = 0; i < 2; i++)
		eg_call_end(&b.a[i].call.base);
	close(b.fd);
	close(b.listener);
	turns(3);
	eg_upstream_close_idle(b.u);
	turns(3);
	eg_upstream_destroy(b.u);
	turns(2);
	eg_loop_destroy(b.loop);
}

/* ---- the rules ---- */

#define OK200	  ":status|200\n"
#define PART	  H(0, 1, OK200), DATA(0, 1, "ab")
#define ANSWERED  H(0, 1, OK200), DATA(END, 1, "ab")
#define LIVES	  .outcome = LIVE
#define ENDS(by)  .outcome = OVER, .code = (by)
#define FAILS	  .outcome = FAIL, .code = NGHTTP2_PROTOCOL_ERROR
#define WHOLE(of) .outcome = ANSWER, .code = (of)

enum outcome {
	LIVE,	/* nothing is said against it; stream 1 can be answered */
	ANSWER, /* stream 1 has been answered, with so many bytes */
	FAIL,	/* stream 1 fails, RST_STREAM with `code`, and the connection goes on */
	LOST,	/* stream 1 fails, no RST_STREAM, and the connection goes on */
	OVER,	/* GOAWAY with `code`, all fail, and the connection ends */
};

static const char kilo16[16386];

#define STEPS 6
struct rule {
	const char *section, *what;
	struct step step[STEPS];
	enum outcome outcome;
	uint32_t code;
	bool bare; /* nothing was said before */
};

/* clang-format off */
static const struct rule rules[] = {
	{"3.4", "no SETTINGS first", {F(NGHTTP2_PING, 0, 0, "12345678")}, ENDS(PROTOCOL), .bare = true},
	{"3.4", "no HTTP/2", {F(RAW, 0, 0, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")}, ENDS(PROTOCOL), .bare = true},

	{"4.1", "a frame of an unknown type", {F(0x2a, 0xff, 0, "abc")}, LIVES},
	{"4.1", "a frame of an unknown type on a stream", {PART, F(0x2a, 0, 1, "abc"), DATA(END, 1, "c")}, WHOLE(3)},
	{"4.1", "flags that mean nothing", {F(NGHTTP2_PING, 0xf2, 0, "12345678")}, LIVES},
	{"4.1", "the reserved bit", {F(NGHTTP2_PING, 0, 0x80000000u, "12345678")}, LIVES},
	{"4.2", "16,384 bytes", {H(0, 1, OK200), {NGHTTP2_DATA, END, 1, NULL, kilo16, 16384, 0}}, WHOLE(16384)},
	{"4.2", "DATA of 16,385 bytes", {H(0, 1, OK200), {NGHTTP2_DATA, 0, 1, NULL, kilo16, 16385, 0}}, ENDS(SIZE)},
	{"4.2", "HEADERS of 16,385 bytes", {{NGHTTP2_HEADERS, EOH, 1, NULL, kilo16, 16385, 0}}, ENDS(SIZE)},
	{"4.2", "SETTINGS of 16,386 bytes", {{NGHTTP2_SETTINGS, 0, 0, NULL, kilo16, 16386, 0}}, ENDS(SIZE)},
	{"4.2", "HEADERS without room for its priority", {F(NGHTTP2_HEADERS, EOH | PRIO, 1, "\0\0\0")}, ENDS(SIZE)},
	{"4.3", "an index of nothing", {HB(END, 1, OK200, "\xff\x7f")}, ENDS(COMPRESSION)},
	{"4.3", "index 0", {HB(END, 1, OK200, "\x80")}, ENDS(COMPRESSION)},
	{"4.3", "a block that ends inside a field", {HB(END, 1, OK200, "\0\5ab")}, ENDS(COMPRESSION)},
	{"4.3", "a Huffman code with too much padding", {HB(END, 1, OK200, "\0\x82\xff\xff\1a")}, ENDS(COMPRESSION)},
	{"4.3", "what a malformed answer put into the table is there for the next", {F(NGHTTP2_HEADERS, EOH, 1, "\x88\x40\3x-a\1b\0\nconnection\1x"), F(TURN, 0, 0, ""), F(NGHTTP2_HEADERS, EOH, 3, "\x88\xbe")}, FAILS},
	{"4.3.1", "a table larger than allowed", {F(NGHTTP2_HEADERS, END | EOH, 1, "\x3f\xe2\x1f\x88")}, ENDS(COMPRESSION)},
	{"4.3.1", "a table's size after a field", {HB(END, 1, OK200, "\x20")}, ENDS(COMPRESSION)},

	{"5.1", "DATA on an idle stream", {DATA(0, 5, "a")}, ENDS(PROTOCOL)},
	{"5.1", "HEADERS on an idle stream of ours", {H(0, 5, OK200)}, ENDS(PROTOCOL)},
	{"5.1", "HEADERS on a stream of the provider's", {H(0, 2, OK200)}, ENDS(PROTOCOL)},
	{"5.1", "RST_STREAM on an idle stream", {RST(5, "\0\0\0\x8")}, ENDS(PROTOCOL)},
	{"5.1", "WINDOW_UPDATE on an idle stream", {WIN(5, "\0\0\0\1")}, ENDS(PROTOCOL)},
	{"5.1", "CONTINUATION on an idle stream", {F(NGHTTP2_CONTINUATION, EOH, 5, "\x88")}, ENDS(PROTOCOL)},
	{"5.1", "PRIORITY on an idle stream", {F(NGHTTP2_PRIORITY, 0, 5, "\0\0\0\0\1")}, LIVES},
	{"5.1", "WINDOW_UPDATE on a closed stream", {ANSWERED, WIN(1, "\0\0\0\1")}, WHOLE(2)},
	{"5.1", "RST_STREAM on a closed stream", {ANSWERED, RST(1, "\0\0\0\x8")}, WHOLE(2)},
	{"5.1", "DATA on a closed stream is dropped", {ANSWERED, DATA(0, 1, "c")}, WHOLE(2)},
	{"5.1", "HEADERS on a closed stream are dropped", {ANSWERED, H(END, 1, "x-a|b\n")}, WHOLE(2)},
	{"5.1.1", "DATA on stream 0", {DATA(0, 0, "a")}, ENDS(PROTOCOL)},
	{"5.4.2", "RST_STREAM is not answered by one", {RST(1, "\0\0\0\2")}, .outcome = LOST},
	{"5.5", "a frame of an unknown type inside a block", {BEGUN(OK200), F(0x2a, 0, 1, "abc")}, ENDS(PROTOCOL)},

	{"6.1", "padding as long as the frame", {H(0, 1, OK200), DATA(PAD, 1, "\4abc")}, ENDS(PROTOCOL)},
	{"6.1", "padding", {H(0, 1, OK200), DATA(PAD | END, 1, "\3ab\0\0\0")}, WHOLE(2)},
	{"6.2", "HEADERS on stream 0", {H(0, 0, OK200)}, ENDS(PROTOCOL)},
	{"6.2", "a PING inside a block", {BEGUN(OK200), F(NGHTTP2_PING, 0, 0, "12345678")}, ENDS(PROTOCOL)},
	{"6.2", "HEADERS inside a block", {BEGUN(OK200), H(END, 3, OK200)}, ENDS(PROTOCOL)},
	{"6.2", "padding as long as the frame", {F(NGHTTP2_HEADERS, END | EOH | PAD, 1, "\2\x88")}, ENDS(PROTOCOL)},
	{"6.3", "PRIORITY on stream 0", {F(NGHTTP2_PRIORITY, 0, 0, "\0\0\0\0\1")}, ENDS(PROTOCOL)},
	{"6.3", "PRIORITY of 4 bytes", {F(NGHTTP2_PRIORITY, 0, 1, "\0\0\0\0")}, ENDS(SIZE)},
	{"6.4", "RST_STREAM on stream 0", {RST(0, "\0\0\0\x8")}, ENDS(PROTOCOL)},
	{"6.4", "RST_STREAM of 3 bytes", {RST(1, "\0\0\0")}, ENDS(SIZE)},
	{"6.4", "RST_STREAM of 5 bytes", {RST(1, "\0\0\0\x8\0")}, ENDS(SIZE)},
	{"6.5", "an acknowledgement with a payload", {F(NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, "\0\3\0\0\0\1")}, ENDS(SIZE)},
	{"6.5", "SETTINGS on a stream", {F(NGHTTP2_SETTINGS, 0, 1, "")}, ENDS(PROTOCOL)},
	{"6.5", "SETTINGS of 5 bytes", {SET("\0\3\0\0\0")}, ENDS(SIZE)},
	{"6.5.2", "ENABLE_PUSH 1", {SET("\0\2\0\0\0\1")}, ENDS(PROTOCOL)},
	{"6.5.2", "ENABLE_PUSH 2", {SET("\0\2\0\0\0\2")}, ENDS(PROTOCOL)},
	{"6.5.2", "ENABLE_PUSH 0", {SET("\0\2\0\0\0\0")}, LIVES},
	{"6.5.2", "a window above 2^31-1", {SET("\0\4\x80\0\0\0")}, ENDS(FLOW)},
	{"6.5.2", "frames below 16,384", {SET("\0\5\0\0\x3f\xff")}, ENDS(PROTOCOL)},
	{"6.5.2", "frames above 16,777,215", {SET("\0\5\1\0\0\0")}, ENDS(PROTOCOL)},
	{"6.5.2", "a setting that is unknown", {SET("\x7f\x2a\xff\xff\xff\xff")}, LIVES},
	{"6.5.2", "all that is smallest but streams", {SET("\0\1\0\0\0\0\0\3\0\0\0\1\0\5\0\0\x40\0\0\6\0\0\0\0")}, LIVES},
	{"6.5.2", "all that is largest", {SET("\0\1\xff\xff\xff\xff\0\3\xff\xff\xff\xff\0\4\x7f\xff\xff\xff\0\5\0\xff\xff\xff\0\6\xff\xff\xff\xff")}, LIVES},
	{"6.5.2", "ENABLE_CONNECT_PROTOCOL, which is none of ours", {SET("\0\x8\0\0\0\1")}, LIVES},
	{"6.6", "PUSH_PROMISE", {F(NGHTTP2_PUSH_PROMISE, EOH, 1, "\0\0\0\2\x82\x87\x84")}, ENDS(PROTOCOL)},
	{"6.6", "PUSH_PROMISE on stream 0", {F(NGHTTP2_PUSH_PROMISE, EOH, 0, "\0\0\0\2\x82\x87\x84")}, ENDS(PROTOCOL)},
	{"6.7", "PING on a stream", {F(NGHTTP2_PING, 0, 1, "12345678")}, ENDS(PROTOCOL)},
	{"6.7", "PING of 7 bytes", {F(NGHTTP2_PING, 0, 0, "1234567")}, ENDS(SIZE)},
	{"6.7", "PING of 9 bytes", {F(NGHTTP2_PING, 0, 0, "123456789")}, ENDS(SIZE)},
	{"6.8", "GOAWAY on a stream", {F(NGHTTP2_GOAWAY, 0, 1, "\0\0\0\0\0\0\0\0")}, ENDS(PROTOCOL)},
	{"6.9", "the connection's window opened by 0", {WIN(0, "\0\0\0\0")}, ENDS(PROTOCOL)},
	{"6.9", "a stream's window opened by 0", {WIN(1, "\0\0\0\0")}, ENDS(PROTOCOL)},
	{"6.9", "the reserved bit of an increment", {WIN(0, "\x80\0\0\1")}, LIVES},
	{"6.9", "WINDOW_UPDATE of 3 bytes", {WIN(0, "\0\0\1")}, ENDS(SIZE)},
	{"6.9", "WINDOW_UPDATE of 5 bytes", {WIN(0, "\0\0\0\1\0")}, ENDS(SIZE)},
	{"6.9.1", "a stream's window above 2^31-1", {WIN(1, "\x7f\xff\xff\xff")}, .outcome = FAIL, .code = FLOW},
	{"6.9.1", "the connection's window above 2^31-1", {WIN(0, "\x7f\xff\xff\xff")}, ENDS(FLOW)},
	{"6.9.2", "a window above 2^31-1 by SETTINGS", {WIN(1, "\x7f\xff\0\0"), SET("\0\4\0\2\0\0")}, .outcome = FAIL, .code = FLOW},
	{"6.10", "CONTINUATION on stream 0", {BEGUN(OK200), F(NGHTTP2_CONTINUATION, EOH, 0, "")}, ENDS(PROTOCOL)},
	{"6.10", "CONTINUATION on another stream", {BEGUN(OK200), F(NGHTTP2_CONTINUATION, EOH, 3, "")}, ENDS(PROTOCOL)},
	{"6.10", "CONTINUATION after the block's end", {H(0, 1, OK200), F(NGHTTP2_CONTINUATION, EOH, 1, "")}, ENDS(PROTOCOL)},
	{"6.10", "CONTINUATION after DATA", {PART, F(NGHTTP2_CONTINUATION, EOH, 1, "")}, ENDS(PROTOCOL)},
	{"6.10", "a block in three frames", {BEGUN(OK200), F(NGHTTP2_CONTINUATION, 0, 1, ""), F(NGHTTP2_CONTINUATION, EOH, 1, "\0\3x-a\1b")}, WHOLE(0)},

	{"7", "an error code that is unknown", {RST(1, "\x7f\xff\xff\xff")}, .outcome = LOST},

	{"8.1", "a second head in the middle of a body", {PART, H(0, 1, "x-a|b\n")}, FAILS},
	{"8.1", "a 1xx that ends the stream", {H(END, 1, ":status|103\n")}, FAILS},
	{"8.1", "1xx before the answer", {H(0, 1, ":status|103\n"), H(0, 1, ":status|100\n"), ANSWERED}, WHOLE(2)},
	{"8.1", "DATA before a head", {DATA(0, 1, "ab")}, ENDS(PROTOCOL)},
	{"8.1", "DATA after a 1xx", {H(0, 1, ":status|103\n"), DATA(0, 1, "ab")}, FAILS},
	{"8.1", "a pseudo-header in trailers", {PART, H(END, 1, ":status|200\n")}, FAILS},
	{"8.1", "trailers", {PART, H(END, 1, "x-a|b\n")}, WHOLE(2)},
	{"8.1", "RST_STREAM(NO_ERROR) after the answer", {ANSWERED, RST(1, "\0\0\0\0")}, WHOLE(2)},
	{"8.1.1", "more than content-length says", {H(0, 1, OK200 "content-length|2\n"), DATA(END, 1, "abc")}, FAILS},
	{"8.1.1", "less than content-length says", {H(0, 1, OK200 "content-length|3\n"), DATA(END, 1, "ab")}, FAILS},
	{"8.1.1", "a content-length and no body", {H(END, 1, OK200 "content-length|3\n")}, FAILS},
	{"8.1.1", "less than content-length says, before trailers", {H(0, 1, OK200 "content-length|3\n"), DATA(0, 1, "ab"), H(END, 1, "x-a|b\n")}, FAILS},
	{"8.1.1", "content-length twice", {H(0, 1, OK200 "content-length|2\ncontent-length|3\n"), DATA(END, 1, "ab")}, FAILS},
	{"8.1.1", "a 304 with a content-length", {H(END, 1, ":status|304\ncontent-length|3\n")}, WHOLE(0)},
	{"8.1.1", "a 204 with a body", {H(0, 1, ":status|204\n"), DATA(END, 1, "ab")}, FAILS},
	{"8.2", "a name in upper case", {H(END, 1, OK200 "X-a|b\n")}, FAILS},
	{"8.2.1", "a name with a space", {H(END, 1, OK200 "x a|b\n")}, FAILS},
	{"8.2.1", "a name with a colon", {H(END, 1, OK200 "x:a|b\n")}, FAILS},
	{"8.2.1", "a name with DEL", {H(END, 1, OK200 "x\x7f|b\n")}, FAILS},
	{"8.2.1", "a name with 0x80", {H(END, 1, OK200 "x\x80|b\n")}, FAILS},
	{"8.2.1", "a name with NUL", {HB(END, 1, OK200, "\0\2x\0\1b")}, FAILS},
	{"8.2.1", "a name of nothing", {HB(END, 1, OK200, "\0\0\1b")}, FAILS},
	{"8.2.1", "a value with NUL", {HB(END, 1, OK200, "\0\2xa\3b\0c")}, FAILS},
	{"8.2.1", "a value with LF", {HB(END, 1, OK200, "\0\2xa\3b\nc")}, FAILS},
	{"8.2.1", "a value with CR", {HB(END, 1, OK200, "\0\2xa\3b\rc")}, FAILS},
	{"8.2.1", "a value that begins with a space", {H(END, 1, OK200 "x-a| b\n")}, FAILS},
	{"8.2.1", "a value that ends with a tab", {H(END, 1, OK200 "x-a|b\t\n")}, FAILS},
	{"8.2.1", "a value with LF in trailers", {PART, HB(END, 1, "", "\0\2xa\3b\nc")}, FAILS},
	{"8.2.2", "connection", {H(END, 1, OK200 "connection|close\n")}, FAILS},
	{"8.2.2", "proxy-connection", {H(END, 1, OK200 "proxy-connection|close\n")}, FAILS},
	{"8.2.2", "keep-alive", {H(END, 1, OK200 "keep-alive|5\n")}, FAILS},
	{"8.2.2", "transfer-encoding", {H(0, 1, OK200 "transfer-encoding|chunked\n")}, FAILS},
	{"8.2.2", "upgrade", {H(END, 1, OK200 "upgrade|websocket\n")}, FAILS},
	{"8.3", "an unknown pseudo-header", {H(END, 1, OK200 ":proto|x\n")}, FAILS},
	{"8.3", "a request's pseudo-header", {H(END, 1, OK200 ":path|/\n")}, FAILS},
	{"8.3", "a pseudo-header after a field", {H(END, 1, "x-a|b\n" OK200)}, FAILS},
	{"8.3", ":status twice", {H(END, 1, OK200 OK200)}, FAILS},
	{"8.3.2", "no :status", {H(END, 1, "x-a|b\n")}, FAILS},
	{"8.3.2", "a :status that is none", {H(END, 1, ":status|2x0\n")}, FAILS},
	{"8.3.2", "a :status of four digits", {H(END, 1, ":status|2000\n")}, FAILS},
	{"8.6", "101", {H(0, 1, ":status|101\n")}, FAILS},
};
/* clang-format on */

/* Stream 3, and 1 if it is open, are answered; a PING, too. */
static void assert_lives(bool first)
{
	const unsigned char *pong;

	send_frame(NGHTTP2_PING, 0, 0, "conform!", 8);
	pong = await_frame(NGHTTP2_PING, 0);
	for (int i = 0; i < TURNS && !memmem(b.in, b.in_n, "conform!", 8); i++)
		turns(1);
	assert_non_null(pong);
	assert_non_null(memmem(b.in, b.in_n, "conform!", 8));
	for (int i = !first; i < 2; i++) {
		struct step whole[] = {H(0, (uint32_t)(1 + 2 * i), OK200),
				       DATA(END, (uint32_t)(1 + 2 * i), "fine")};

		if (!b.a[i].heads)
			send_step(&whole[0]);
		send_step(&whole[1]);
		for (int t = 0; t < TURNS && !b.a[i].ends && !b.a[i].fails; t++)
			turns(1);
		if (!b.a[i].ends)
			fail_msg("stream %d: %s", 1 + 2 * i, b.a[i].text);
		assert_int_equal(b.a[i].n, 4);
	}
	assert_null(came(NGHTTP2_GOAWAY, 0));
	assert_int_equal(eg_upstream_idle(b.u), 1);
}

static void await_over(struct asked *a)
{
	for (int i = 0; i < TURNS && !a->ends && !a->fails; i++)
		turns(1);
	assert_int_equal(a->ends + a->fails, 1);
}

static void assert_ends(uint32_t code)
{
	int last = b.a[1].call.base.kind ? 2 : 1;

	for (int i = 0; i < last; i++) {
		await_over(&b.a[i]);
		assert_int_equal(b.a[i].fails, 1);
		assert_int_equal(b.a[i].reason, EG_REASON_UPSTREAM_PROTOCOL);
		assert_int_equal(b.a[i].loss, EG_CALL_LOSS_CONNECTION);
	}
	assert_int_equal(raw_u32(await_frame(NGHTTP2_GOAWAY, 0) + 4), code);
	for (int i = 0; i < TURNS && !b.end; i++)
		turns(1);
	assert_true(b.end); /* section 5.4.1 */
	assert_int_equal(eg_upstream_idle(b.u), 0);
}

static void judge(const struct rule *r)
{
	switch (r->outcome) {
	case OVER:
		assert_ends(r->code);
		break;
	case FAIL:
		await_over(&b.a[0]);
		assert_int_equal(b.a[0].fails, 1);
		assert_int_equal(b.a[0].loss, EG_CALL_LOSS_STREAM);
		assert_int_equal(b.a[0].reason, EG_REASON_UPSTREAM_PROTOCOL);
		assert_int_equal(raw_u32(await_frame(NGHTTP2_RST_STREAM, 1)), r->code);
		assert_lives(false);
		break;
	case LOST:
		await_over(&b.a[0]);
		assert_int_equal(b.a[0].fails, 1);
		assert_int_equal(b.a[0].loss, EG_CALL_LOSS_STREAM);
		assert_lives(false);
		assert_null(came(NGHTTP2_RST_STREAM, 1));
		break;
	case ANSWER:
		await_over(&b.a[0]);
		assert_int_equal(b.a[0].ends, 1);
		assert_int_equal(b.a[0].n, r->code);
		assert_lives(false);
		assert_null(came(NGHTTP2_RST_STREAM, 0));
		break;
	case LIVE:
		assert_lives(true);
		assert_null(came(NGHTTP2_RST_STREAM, 0));
		break;
	}
}

static void test_rules(void **state)
{
	(void)state;
	for (size_t i = 0; i < EG_ARRAY_SIZE(rules); i++) {
		const struct rule *r = &rules[i];

		print_message("%s %s\n", r->section, r->what);
		up(r->bare, NULL, 0);
		for (size_t j = 0; j < STEPS && r->step[j].bytes; j++)
			send_step(&r->step[j]);
		judge(r);
		down();
	}
}

/* ---- what takes more than a few frames ---- */

static void window(uint32_t id, const char *by)
{
	send_frame(NGHTTP2_WINDOW_UPDATE, 0, id, by, 4);
}

static const char upload[100000];

/* Sections 5.2.1 and 6.9.1: neither the stream's window nor the connection's is overrun. */
static void test_both_windows(void **state)
{
	(void)state;
	up(false, upload, sizeof(upload));
	assert_int_equal(data_bytes(), 65535);
	window(1, "\0\0\x40\0"); /* the stream's alone */
	assert_int_equal(data_bytes(), 65535);
	window(0, "\0\0\x10\0");
	assert_int_equal(data_bytes(), 65535 + 4096);
	window(0, "\0\1\0\0"); /* now it is the stream's that is shut */
	assert_int_equal(data_bytes(), 65535 + 16384);
	window(1, "\0\1\0\0");
	assert_int_equal(data_bytes(), sizeof(upload));
	assert_lives(true);
	down();
}

/* Section 6.9.2: SETTINGS change the windows of streams that are open, below zero, too; the
 * connection's is not changed. Section 6.5.3: in the order of the values. */
static void test_initial_window(void **state)
{
	(void)state;
	up(false, upload, sizeof(upload));
	assert_int_equal(data_bytes(), 65535);
	window(0, "\0\x0f\0\0");
	/* 1, then 55,535: the stream's window is -10,000. */
	send_frame(NGHTTP2_SETTINGS, 0, 0, "\0\4\0\0\0\1\0\4\0\0\xd8\xef", 12);
	window(1, "\0\0\x27\x10"); /* 0 */
	assert_int_equal(data_bytes(), 65535);
	window(1, "\0\0\0\1");
	assert_int_equal(data_bytes(), 65536);
	send_frame(NGHTTP2_SETTINGS, 0, 0, "\0\4\0\0\xdc\xd7", 6); /* 1,000 more */
	assert_int_equal(data_bytes(), 66536);
	send_frame(NGHTTP2_SETTINGS, 0, 0, "\0\4\0\x0f\0\0", 6);
	assert_int_equal(data_bytes(), sizeof(upload));
	assert_lives(true);
	down();
}

/* Section 6.5: each of the provider's SETTINGS is acknowledged. Section 6.7: a PING is answered
 * with what it holds, an answer to one is not. */
static void test_acknowledged(void **state)
{
	size_t count, bytes;

	(void)state;
	up(false, NULL, 0);
	send_frame(NGHTTP2_SETTINGS, 0, 0, "\0\3\0\0\0\x9", 6);
	send_frame(NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, "unasked!", 8);
	send_frame(NGHTTP2_PING, 0, 0,
		   "\0\1\2\xff\xfe"
		   "abc",
		   8);
	turns(20);
	(void)frames(NGHTTP2_SETTINGS, 0, &count, &bytes);
	assert_int_equal(count, 1 + 2); /* our own */
	assert_memory_equal(came(NGHTTP2_PING, 0),
			    "\0\1\2\xff\xfe"
			    "abc",
			    8);
	(void)frames(NGHTTP2_PING, 0, &count, &bytes);
	assert_int_equal(count, 1);
	assert_lives(true);
	down();
}

/* Section 6.8: nothing is begun after a GOAWAY; what it calls processed may end, what it does not
 * was not asked (8.7); an error code that nobody knows is one like any other (7). */
static void test_goodbye(void **state)
{
	for (int i = 0; i < 2; i++) {
		struct eg_origin_spec o;
		int fd;

		up(false, NULL, 0);
		send_frame(NGHTTP2_GOAWAY, 0, 0, i ? "\0\0\0\1\x7f\0\0\0" : "\0\0\0\1\0\0\0\0", 8);
		await_over(&b.a[1]);
		assert_int_equal(b.a[1].loss, EG_CALL_LOSS_UNPROCESSED);
		o = origin();
		b.conn = eg_upstream_acquire(b.u, &o, 50000, 1000, &b.wait);
		assert_null(b.conn);
		for (int t = 0; t < TURNS && !b.conn; t++)
			turns(1);
		assert_non_null(b.conn);
		fd = accept(b.listener, NULL, NULL);
		assert_true(fd >= 0); /* another connection */
		eg_upstream_release(b.conn, true);
		send_frame(NGHTTP2_HEADERS, END | EOH, 1, "\x88", 1);
		await_over(&b.a[0]);
		assert_int_equal(b.a[0].ends, 1);
		for (int t = 0; t < TURNS && !b.end; t++)
			turns(1);
		assert_true(b.end);
		close(fd);
		down();
	}
	(void)state;
}

/* Section 5.1: what comes for a stream that we reset is read for HPACK's table and counts for the
 * connection's window, which is opened again. */
static void test_cancelled(void **state)
{
	static const struct step head = {NGHTTP2_HEADERS, EOH, 1, NULL, "\x88\x40\3x-a\1b", 8, 0};
	static const struct step data = {NGHTTP2_DATA, 0, 1, NULL, kilo16, 16384, 0};
	static const struct step next = {NGHTTP2_HEADERS, EOH, 3, NULL, "\x88\xbe", 2, 0};
	size_t given = 0, count, bytes;

	(void)state;
	up(false, NULL, 0);
	eg_call_end(&b.a[0].call.base);
	assert_int_equal(raw_u32(await_frame(NGHTTP2_RST_STREAM, 1)), NGHTTP2_CANCEL);
	send_step(&head);
	for (int i = 0; i < 100; i++) {
		send_step(&data);
		turns(1);
	}
	(void)frames(NGHTTP2_WINDOW_UPDATE, 0, &count, &bytes);
	given = bytes;
	assert_true(given > 0);
	send_step(&next);
	turns(5);
	assert_non_null(strstr(b.a[1].fields, "x-a: b\n"));
	assert_lives(false);
	assert_null(came(NGHTTP2_WINDOW_UPDATE, 1)); /* 5.1: nothing but PRIORITY on it any more */
	(void)frames(NGHTTP2_RST_STREAM, 1, &count, &bytes);
	assert_int_equal(count, 1);
	down();
}

/* Section 6.4: nothing more on a stream that the provider has reset, however much of the request is
 * left. */
static void test_nothing_after_reset(void **state)
{
	(void)state;
	up(false, upload, sizeof(upload));
	assert_int_equal(data_bytes(), 65535);
	send_frame(NGHTTP2_RST_STREAM, 0, 1, "\0\0\0\5", 4);
	window(0, "\0\1\0\0");
	assert_int_equal(data_bytes(), 65535);
	assert_int_equal(b.a[0].fails, 1);
	assert_null(came(NGHTTP2_RST_STREAM, 1));
	assert_lives(false);
	down();
}

/* Sections 6.5.2, 6.6, 8.4: no push is allowed, and what we say is what may be said. Section 4.3.1:
 * the provider's table of HPACK becomes smaller, and our next block begins with that. */
static void test_settings(void **state)
{
	(void)state;
	up(true, NULL, 0);
	raw_check_settings(b.in + 24 + 9, (size_t)b.in[24 + 2], true);
	send_frame(NGHTTP2_SETTINGS, 0, 0, "\0\1\0\0\0\0", 6);
	turns(3);
	ask(1);
	assert_int_equal(await_frame(NGHTTP2_HEADERS, 3)[0], 0x20);
	assert_lives(true);
	down();
}

/* Sections 8.2, 8.2.2, 8.3 and 8.3.1: what comes of a head of HTTP/1.1. */
static void test_our_head(void **state)
{
	nghttp2_hd_inflater *inflater = NULL;
	const unsigned char *p;
	char text[1024];
	size_t n = 0, size;
	int flags = 0;

	(void)state;
	up(false, NULL, 0);
	assert_int_equal(nghttp2_hd_inflate_new(&inflater), 0);
	for (uint32_t id = 1; id <= 5; id += 2) {
		if (id == 5) {
			eg_call_end(&b.a[0].call.base);
			memset(&b.a[0], 0, sizeof(b.a[0]));
			b.a[0].more = "Connection: close, X-Mine\r\nKeep-Alive: 5\r\nTE: gzip\r\n"
				      "Proxy-Connection: close\r\nTransfer-Encoding: chunked\r\n"
				      "Upgrade: h2c\r\nHTTP2-Settings: AAA\r\nte: trailers\r\n"
				      "X-Request-ID: One\r\n";
			ask(0);
		}
		p = await_frame(NGHTTP2_HEADERS, id);
		size = (size_t)p[-8] << 8 | p[-7];
		n = 0;
		for (flags = 0; !(flags & NGHTTP2_HD_INFLATE_FINAL);) {
			nghttp2_nv nv;
			ssize_t used = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, p, size, 1);

			assert_true(used >= 0);
			p += used;
			size -= (size_t)used;
			if (flags & NGHTTP2_HD_INFLATE_EMIT)
				n += (size_t)snprintf(text + n, sizeof(text) - n, "%.*s: %.*s\n",
						      (int)nv.namelen, (const char *)nv.name,
						      (int)nv.valuelen, (const char *)nv.value);
		}
		nghttp2_hd_inflate_end_headers(inflater);
	}
	assert_string_equal(text, ":method: GET\n:scheme: http\n:authority: provider.internal\n"
				  ":path: /\nte: trailers\nx-request-id: One\n");
	nghttp2_hd_inflate_del(inflater);
	down();
}

/* Section 6.9: more than a stream's window lets is that stream's error. */
static void test_overrun(void **state)
{
	static const struct step head = H(0, 1, OK200);
	static const struct step data = {NGHTTP2_DATA, 0, 1, NULL, kilo16, 16384, 4};

	(void)state;
	up(false, NULL, 0);
	eg_call_pause(&b.a[0].call.base);
	send_step(&head);
	send_step(&data);
	await_over(&b.a[0]);
	assert_int_equal(b.a[0].fails, 1);
	assert_int_equal(raw_u32(await_frame(NGHTTP2_RST_STREAM, 1)), NGHTTP2_FLOW_CONTROL_ERROR);
	assert_lives(false);
	down();
}

/* Section 5.1.1: numbers of streams can't be used again, so the next request goes on another
 * connection before they end; what is on this one is answered. */
static void test_numbers_used_up(void **state)
{
	const int32_t last = INT32_MAX - 2 * (int32_t)H2_STREAMS_MAX; /* there is room for all */
	struct eg_upstream_conn *first;
	char byte;
	int fd;

	(void)state;
	up(true, NULL, 0);
	send_frame(NGHTTP2_SETTINGS, 0, 0, "", 0);
	turns(3);
	first = b.conn;
	assert_int_equal(nghttp2_session_set_next_stream_id(first->h2->session, last), 0);
	ask(1);
	assert_ptr_equal(b.conn, first);
	(void)await_frame(NGHTTP2_HEADERS, (uint32_t)last);
	eg_call_end(&b.a[1].call.base);
	memset(&b.a[1], 0, sizeof(b.a[1]));
	ask(1);
	assert_ptr_not_equal(b.conn, first);
	fd = accept4(b.listener, NULL, NULL, SOCK_NONBLOCK);
	assert_true(fd >= 0);
	turns(3);
	assert_int_equal(recv(fd, &byte, 1, 0), 1);
	send_step(&(const struct step)H(END, 1, OK200));
	turns(5);
	assert_int_equal(b.a[0].ends, 1);
	assert_int_equal(b.a[1].fails, 0);
	close(fd);
	down();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),		cmocka_unit_test(test_both_windows),
		cmocka_unit_test(test_initial_window),	cmocka_unit_test(test_acknowledged),
		cmocka_unit_test(test_goodbye),		cmocka_unit_test(test_cancelled),
		cmocka_unit_test(test_overrun),		cmocka_unit_test(test_nothing_after_reset),
		cmocka_unit_test(test_our_head),	cmocka_unit_test(test_settings),
		cmocka_unit_test(test_numbers_used_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
