/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 9113 sections 4 to 8 from a pod's side, frame by frame: what a client must not send, and what
 * becomes of it. Each case is followed by a PING and a request, or by the connection's end.
 * docs/internals/h2_conformance.md says which rule has which case. */
#include "pod2.h"

struct world {
	struct plane plane;
	struct pod2 pod;
};

static struct world *up(void)
{
	struct world *w = calloc(1, sizeof(*w));

	plane_up(&w->plane, PLANE_POLICY);
	pod2_open(&w->pod, &w->plane, "api.openai.com");
	pod2_begin(&w->pod);
	return w;
}

static void down(struct world *w)
{
	pod2_close(&w->pod);
	plane_down(&w->plane);
	free(w);
}

/* ---- what came back ---- */

/* Frames of a type on a stream (0: any) that came, and the bytes in them. */
static size_t frames(struct pod2 *pod, uint8_t type, uint32_t id, size_t *bytes)
{
	const unsigned char *p;
	size_t at = 0, count = 0;

	inbox_poll(&pod->in);
	p = (const unsigned char *)pod->in.text;
	*bytes = 0;
	while (at + 9 <= pod->in.n) {
		size_t n = (size_t)p[at] << 16 | (size_t)p[at + 1] << 8 | p[at + 2];
		uint32_t of = raw_u32(p + at + 5);

		if (at + 9 + n > pod->in.n)
			break;
		if (p[at + 3] == type && (!id || of == id)) {
			count++;
			*bytes += n;
		}
		raw_check(p + at);
		at += 9 + n;
	}
	return count;
}

/* A PING's answer with this payload. */
static bool ponged(struct pod2 *pod, const char *payload)
{
	char whole[17] = {0, 0, 8, NGHTTP2_PING, NGHTTP2_FLAG_ACK};

	memcpy(whole + 9, payload, 8);
	inbox_poll(&pod->in);
	return memmem(pod->in.text, pod->in.n, whole, sizeof(whole)) != NULL;
}

static void await_pong(struct pod2 *pod, const char *payload)
{
	for (int i = 0; i < PLANE_TURNS && !ponged(pod, payload); i++)
		plane_turn(pod->plane);
	assert_true(ponged(pod, payload));
}

/* ---- the cases ---- */

#define GET(more) ":method|GET\n:scheme|https\n:authority|api.openai.com\n:path|/nothing\n" more
/* A stream that stays open, since nobody has sent its body; one that waits for the provider. */
#define OPEN  H(0, 1, RAW_HEAD)
#define ASKED OPEN, DATA(END, 1, BODY), F(TURN, 0, 0, "")
/* One that was answered, to its end, on both sides. */
#define DONE H(END, 1, GET("")), HEAD_OF(1)

enum outcome {
	LIVE,	/* nothing is said against it, and the connection goes on */
	ANSWER, /* so, and there is an answer on `id` */
	RESET,	/* RST_STREAM on `id` with `code`, and the connection goes on */
	OVER,	/* GOAWAY with `code`, and the connection ends */
};

#define LIVES	       .outcome = LIVE
#define ANSWERS(on)    .outcome = ANSWER, .id = (on)
#define RESETS(on, by) .outcome = RESET, .id = (on), .code = (by)
#define ENDS(by)       .outcome = OVER, .code = (by)

static const char kilo16[16386];

#define STEPS 6
struct rule {
	const char *section, *what;
	struct step step[STEPS];
	enum outcome outcome;
	uint32_t code, id;
	bool asked;    /* the provider gets the request that came before */
	bool answered; /* before it is reset */
	bool bare;     /* without preface and SETTINGS before it */
};

/* clang-format off */
static const struct rule rules[] = {
	{"3.4", "no preface", {F(RAW, 0, 0, "GET / HTTP/1.1\r\nhost: api.openai.com\r\n\r\n")}, ENDS(PROTOCOL), .bare = true},
	{"3.4", "no SETTINGS after the preface", {F(RAW, 0, 0, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), F(NGHTTP2_PING, 0, 0, "12345678")}, ENDS(PROTOCOL), .bare = true},

	{"4.1", "a frame of an unknown type", {F(0x2a, 0xff, 0, "abc")}, LIVES},
	{"4.1", "a frame of an unknown type on a stream", {OPEN, F(0x2a, 0, 1, "abc")}, LIVES},
	{"4.1", "flags that mean nothing", {F(NGHTTP2_PING, 0xf2, 0, "12345678")}, LIVES},
	{"4.1", "the reserved bit", {F(NGHTTP2_PING, 0, 0x80000000u, "12345678")}, LIVES},
	{"4.2", "16,384 bytes", {OPEN, {NGHTTP2_DATA, 0, 1, NULL, kilo16, 16384, 0}}, LIVES},
	{"4.2", "DATA of 16,385 bytes", {OPEN, {NGHTTP2_DATA, 0, 1, NULL, kilo16, 16385, 0}}, ENDS(SIZE)},
	{"4.2", "HEADERS of 16,385 bytes", {{NGHTTP2_HEADERS, EOH, 1, NULL, kilo16, 16385, 0}}, ENDS(SIZE)},
	{"4.2", "SETTINGS of 16,386 bytes", {{NGHTTP2_SETTINGS, 0, 0, NULL, kilo16, 16386, 0}}, ENDS(SIZE)},
	{"4.2", "HEADERS without room for its priority", {F(NGHTTP2_HEADERS, EOH | PRIO, 1, "\0\0\0")}, ENDS(SIZE)},
	{"4.3", "an index of nothing", {HB(END, 1, GET(""), "\xff\x7f")}, ENDS(COMPRESSION)},
	{"4.3", "index 0", {HB(END, 1, GET(""), "\x80")}, ENDS(COMPRESSION)},
	{"4.3", "a block that ends inside a field", {HB(END, 1, GET(""), "\0\5ab")}, ENDS(COMPRESSION)},
	{"4.3", "a Huffman code with too much padding", {HB(END, 1, GET(""), "\0\x82\xff\xff\1a")}, ENDS(COMPRESSION)},
	{"4.3", "what a refused request put into the table is there for the next", {F(NGHTTP2_HEADERS, END | EOH, 1, "\x82\x87\x84\x41\x0e" "api.openai.com" "\0\2te\4gzip"), F(NGHTTP2_HEADERS, END | EOH, 3, "\x82\x87\x84\xbe"), HEAD_OF(3)}, RESETS(1, PROTOCOL)},
	{"4.3.1", "a table larger than allowed", {F(NGHTTP2_HEADERS, END | EOH, 1, "\x3f\xe2\x1f\x82\x87\x84")}, ENDS(COMPRESSION)},
	{"4.3.1", "a table's size after a field", {HB(END, 1, GET(""), "\x20")}, ENDS(COMPRESSION)},

	{"5.1", "DATA on an idle stream", {DATA(0, 5, "a")}, ENDS(PROTOCOL)},
	{"5.1", "RST_STREAM on an idle stream", {RST(5, "\0\0\0\x8")}, ENDS(PROTOCOL)},
	{"5.1", "WINDOW_UPDATE on an idle stream", {WIN(5, "\0\0\0\1")}, ENDS(PROTOCOL)},
	{"5.1", "CONTINUATION on an idle stream", {F(NGHTTP2_CONTINUATION, EOH, 5, "\x82")}, ENDS(PROTOCOL)},
	{"5.1", "PRIORITY on an idle stream", {F(NGHTTP2_PRIORITY, 0, 5, "\0\0\0\0\1")}, LIVES},
	{"5.1", "DATA after END_STREAM", {ASKED, DATA(0, 1, "a")}, ENDS(CLOSED), .asked = true},
	{"5.1", "HEADERS after END_STREAM", {ASKED, H(END, 1, "x-a|b\n")}, ENDS(CLOSED), .asked = true},
	{"5.1", "CONTINUATION after END_STREAM", {ASKED, F(NGHTTP2_CONTINUATION, EOH, 1, "")}, ENDS(PROTOCOL), .asked = true},
	{"5.1", "WINDOW_UPDATE after END_STREAM", {ASKED, WIN(1, "\0\0\0\1")}, LIVES, .asked = true},
	{"5.1", "PRIORITY after END_STREAM", {ASKED, F(NGHTTP2_PRIORITY, 0, 1, "\0\0\0\0\1")}, LIVES, .asked = true},
	{"5.1", "RST_STREAM after END_STREAM", {ASKED, RST(1, "\0\0\0\x8")}, LIVES, .asked = true},
	{"5.1", "WINDOW_UPDATE on a closed stream", {DONE, WIN(1, "\0\0\0\1")}, LIVES},
	{"5.1", "RST_STREAM on a closed stream", {DONE, RST(1, "\0\0\0\x8")}, LIVES},
	{"5.1", "PRIORITY on a closed stream", {DONE, F(NGHTTP2_PRIORITY, 0, 1, "\0\0\0\0\1")}, LIVES},
	{"5.1", "HEADERS on a closed stream are read for their table, and dropped", {DONE, F(NGHTTP2_HEADERS, END | EOH, 1, "\x82\x87\x84\x41\x0e" "api.openai.com"), F(NGHTTP2_HEADERS, END | EOH, 3, "\x82\x87\x84\xbe")}, ANSWERS(3)},
	{"5.1", "DATA on a stream that we reset counts for the connection's window alone", {H(0, 1, GET("te|gzip\n")), {NGHTTP2_DATA, 0, 1, NULL, kilo16, 16384, 99}}, RESETS(1, PROTOCOL)},
	{"5.1.1", "a stream with an even number", {H(END, 2, GET(""))}, ENDS(PROTOCOL)},
	{"5.1.1", "stream 0", {H(END, 0, GET(""))}, ENDS(PROTOCOL)},
	{"5.1.1", "a number that was skipped", {H(END, 5, GET("")), H(END, 3, GET(""))}, ENDS(PROTOCOL)},
	{"5.1.1", "skipped numbers", {H(END, 77, GET(""))}, ANSWERS(77)},
	{"5.4.2", "RST_STREAM is not answered by one", {OPEN, RST(1, "\0\0\0\x8")}, LIVES},
	{"5.5", "a frame of an unknown type inside a block", {BEGUN(GET("")), F(0x2a, 0, 1, "abc")}, ENDS(PROTOCOL)},

	{"6.1", "DATA on stream 0", {DATA(0, 0, "a")}, ENDS(PROTOCOL)},
	{"6.1", "padding as long as the frame", {OPEN, DATA(PAD, 1, "\4abc")}, ENDS(PROTOCOL)},
	{"6.1", "padding", {OPEN, DATA(PAD, 1, "\3{\0\0\0")}, LIVES},
	{"6.2", "HEADERS on stream 0", {H(END, 0, GET(""))}, ENDS(PROTOCOL)},
	{"6.2", "a PING inside a block", {BEGUN(GET("")), F(NGHTTP2_PING, 0, 0, "12345678")}, ENDS(PROTOCOL)},
	{"6.2", "HEADERS inside a block", {BEGUN(GET("")), H(END, 3, GET(""))}, ENDS(PROTOCOL)},
	{"6.2", "padding as long as the frame", {F(NGHTTP2_HEADERS, END | EOH | PAD, 1, "\4\x82\x87\x84")}, ENDS(PROTOCOL)},
	{"6.3", "PRIORITY on stream 0", {F(NGHTTP2_PRIORITY, 0, 0, "\0\0\0\0\1")}, ENDS(PROTOCOL)},
	{"6.3", "PRIORITY of 4 bytes", {OPEN, F(NGHTTP2_PRIORITY, 0, 1, "\0\0\0\0")}, ENDS(SIZE)},
	{"6.4", "RST_STREAM on stream 0", {RST(0, "\0\0\0\x8")}, ENDS(PROTOCOL)},
	{"6.4", "RST_STREAM of 3 bytes", {OPEN, RST(1, "\0\0\0")}, ENDS(SIZE)},
	{"6.4", "RST_STREAM of 5 bytes", {OPEN, RST(1, "\0\0\0\x8\0")}, ENDS(SIZE)},
	{"6.4", "what was sent after RST_STREAM", {OPEN, RST(1, "\0\0\0\x8"), DATA(0, 1, "a")}, LIVES},
	{"6.5", "an acknowledgement with a payload", {F(NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, "\0\3\0\0\0\1")}, ENDS(SIZE)},
	{"6.5", "SETTINGS on a stream", {OPEN, F(NGHTTP2_SETTINGS, 0, 1, "")}, ENDS(PROTOCOL)},
	{"6.5", "SETTINGS of 5 bytes", {SET("\0\3\0\0\0")}, ENDS(SIZE)},
	{"6.5.2", "ENABLE_PUSH 2", {SET("\0\2\0\0\0\2")}, ENDS(PROTOCOL)},
	{"6.5.2", "a window above 2^31-1", {SET("\0\4\x80\0\0\0")}, ENDS(FLOW)},
	{"6.5.2", "frames below 16,384", {SET("\0\5\0\0\x3f\xff")}, ENDS(PROTOCOL)},
	{"6.5.2", "frames above 16,777,215", {SET("\0\5\1\0\0\0")}, ENDS(PROTOCOL)},
	{"6.5.2", "a setting that is unknown", {SET("\x7f\x2a\xff\xff\xff\xff")}, LIVES},
	{"6.5.2", "all that is smallest", {SET("\0\1\0\0\0\0\0\3\0\0\0\0\0\5\0\0\x40\0\0\6\0\0\0\0"), H(END, 1, GET("")), HEAD_OF(1)}, ANSWERS(1)},
	{"6.5.2", "all that is largest", {SET("\0\1\xff\xff\xff\xff\0\3\xff\xff\xff\xff\0\4\x7f\xff\xff\xff\0\5\0\xff\xff\xff\0\6\xff\xff\xff\xff"), H(END, 1, GET("")), HEAD_OF(1)}, ANSWERS(1)},
	{"6.9.2", "a window that comes and goes under an answer", {SET("\0\4\0\0\0\0"), H(END, 1, GET("")), HEAD_OF(1), {NGHTTP2_SETTINGS, 0, 0, NULL, "\0\4\0\0\0\1\0\4\0\0\0\0", 12, 99}, SET("\0\4\x7f\xff\xff\xff")}, ANSWERS(1)},
	{"6.6", "PUSH_PROMISE", {OPEN, F(NGHTTP2_PUSH_PROMISE, EOH, 1, "\0\0\0\2\x82\x87\x84")}, ENDS(PROTOCOL)},
	{"6.7", "PING on a stream", {OPEN, F(NGHTTP2_PING, 0, 1, "12345678")}, ENDS(PROTOCOL)},
	{"6.7", "PING of 7 bytes", {F(NGHTTP2_PING, 0, 0, "1234567")}, ENDS(SIZE)},
	{"6.7", "PING of 9 bytes", {F(NGHTTP2_PING, 0, 0, "123456789")}, ENDS(SIZE)},
	{"6.8", "GOAWAY on a stream", {OPEN, F(NGHTTP2_GOAWAY, 0, 1, "\0\0\0\0\0\0\0\0")}, ENDS(PROTOCOL)},
	{"6.9", "a connection's window opened by 0", {WIN(0, "\0\0\0\0")}, ENDS(PROTOCOL)},
	{"6.9", "a stream's window opened by 0", {OPEN, WIN(1, "\0\0\0\0")}, ENDS(PROTOCOL)},
	{"6.9", "the reserved bit of an increment", {WIN(0, "\x80\0\0\1")}, LIVES},
	{"6.9", "WINDOW_UPDATE of 3 bytes", {WIN(0, "\0\0\1")}, ENDS(SIZE)},
	{"6.9", "WINDOW_UPDATE of 5 bytes", {WIN(0, "\0\0\0\1\0")}, ENDS(SIZE)},
	{"6.9", "more than the stream's window lets", {H(0, 1, GET("")), HEAD_OF(1), {NGHTTP2_DATA, 0, 1, NULL, kilo16, 16384, 4}}, RESETS(1, FLOW), .answered = true},
	{"6.9.1", "a stream's window above 2^31-1", {OPEN, WIN(1, "\x7f\xff\xff\xff")}, RESETS(1, FLOW)},
	{"6.9.1", "the connection's window above 2^31-1", {WIN(0, "\x7f\xff\xff\xff")}, ENDS(FLOW)},
	{"6.9.2", "a window above 2^31-1 by SETTINGS", {OPEN, WIN(1, "\x7f\xff\0\0"), SET("\0\4\0\2\0\0")}, RESETS(1, FLOW)},
	{"6.10", "CONTINUATION on stream 0", {BEGUN(GET("")), F(NGHTTP2_CONTINUATION, EOH, 0, "")}, ENDS(PROTOCOL)},
	{"6.10", "CONTINUATION on another stream", {BEGUN(GET("")), F(NGHTTP2_CONTINUATION, EOH, 3, "")}, ENDS(PROTOCOL)},
	{"6.10", "CONTINUATION after the block's end", {OPEN, F(NGHTTP2_CONTINUATION, EOH, 1, "")}, ENDS(PROTOCOL)},
	{"6.10", "CONTINUATION after DATA", {OPEN, DATA(0, 1, "{"), F(NGHTTP2_CONTINUATION, EOH, 1, "")}, ENDS(PROTOCOL)},
	{"6.10", "a block in three frames", {BEGUN(GET("")), F(NGHTTP2_CONTINUATION, 0, 1, ""), F(NGHTTP2_CONTINUATION, EOH, 1, "\0\3x-a\1b")}, ANSWERS(1)},

	{"7", "an error code that is unknown", {OPEN, RST(1, "\x7f\xff\xff\xff")}, LIVES},

	{"8.1", "HEADERS in the middle of a body", {OPEN, DATA(0, 1, "{"), H(0, 1, "x-a|b\n")}, RESETS(1, PROTOCOL)},
	{"8.1", "a pseudo-header in trailers", {OPEN, DATA(0, 1, "{"), H(END, 1, ":path|/\n")}, RESETS(1, PROTOCOL)},
	{"8.1", "trailers", {OPEN, DATA(0, 1, BODY), H(END, 1, "x-a|b\n")}, LIVES, .asked = true},
	{"8.1.1", "more than content-length says", {H(0, 1, RAW_HEAD "content-length|2\n"), DATA(0, 1, "{}x")}, RESETS(1, PROTOCOL)},
	{"8.1.1", "less than content-length says", {H(0, 1, RAW_HEAD "content-length|3\n"), DATA(END, 1, "{}")}, RESETS(1, PROTOCOL)},
	{"8.1.1", "a content-length and no body", {H(END, 1, RAW_HEAD "content-length|3\n")}, RESETS(1, PROTOCOL)},
	{"8.1.1", "less than content-length says, before trailers", {H(0, 1, RAW_HEAD "content-length|3\n"), DATA(0, 1, "{}"), H(END, 1, "x-a|b\n")}, RESETS(1, PROTOCOL)},
	{"8.2", "a name in upper case", {H(END, 1, GET("X-a|b\n"))}, RESETS(1, PROTOCOL)},
	{"8.2.1", "a name with a space", {H(END, 1, GET("x a|b\n"))}, RESETS(1, PROTOCOL)},
	{"8.2.1", "a name with a colon", {H(END, 1, GET("x:a|b\n"))}, RESETS(1, PROTOCOL)},
	{"8.2.1", "a name with DEL", {H(END, 1, GET("x\x7f|b\n"))}, RESETS(1, PROTOCOL)},
	{"8.2.1", "a name with 0x80", {H(END, 1, GET("x\x80|b\n"))}, RESETS(1, PROTOCOL)},
	{"8.2.1", "a name with NUL", {HB(END, 1, GET(""), "\0\2x\0\1b")}, RESETS(1, PROTOCOL)},
	{"8.2.1", "a name of nothing", {HB(END, 1, GET(""), "\0\0\1b")}, RESETS(1, PROTOCOL)},
	{"8.2.1", "a value with NUL", {HB(END, 1, GET(""), "\0\2xa\3b\0c")}, RESETS(1, PROTOCOL)},
	{"8.2.1", "a value with LF", {HB(END, 1, GET(""), "\0\2xa\3b\nc")}, RESETS(1, PROTOCOL)},
	{"8.2.1", "a value with CR", {HB(END, 1, GET(""), "\0\2xa\3b\rc")}, RESETS(1, PROTOCOL)},
	{"8.2.1", "a value that begins with a space", {H(END, 1, GET("x-a| b\n"))}, RESETS(1, PROTOCOL)},
	{"8.2.1", "a value that ends with a tab", {H(END, 1, GET("x-a|b\t\n"))}, RESETS(1, PROTOCOL)},
	{"8.2.1", "a value with LF in trailers", {OPEN, HB(END, 1, "", "\0\2xa\3b\nc")}, RESETS(1, PROTOCOL)},
	{"8.2.2", "connection", {H(END, 1, GET("connection|close\n"))}, RESETS(1, PROTOCOL)},
	{"8.2.2", "proxy-connection", {H(END, 1, GET("proxy-connection|close\n"))}, RESETS(1, PROTOCOL)},
	{"8.2.2", "keep-alive", {H(END, 1, GET("keep-alive|5\n"))}, RESETS(1, PROTOCOL)},
	{"8.2.2", "transfer-encoding", {H(0, 1, RAW_HEAD "transfer-encoding|chunked\n")}, RESETS(1, PROTOCOL)},
	{"8.2.2", "upgrade", {H(END, 1, GET("upgrade|websocket\n"))}, RESETS(1, PROTOCOL)},
	{"8.2.2", "te other than trailers", {H(END, 1, GET("te|trailers, gzip\n"))}, RESETS(1, PROTOCOL)},
	{"8.2.2", "te: trailers", {H(END, 1, GET("te|trailers\n"))}, ANSWERS(1)},
	{"8.3", "an unknown pseudo-header", {H(END, 1, ":proto|x\n" GET(""))}, RESETS(1, PROTOCOL)},
	{"8.3", "an answer's pseudo-header", {H(END, 1, ":status|200\n" GET(""))}, RESETS(1, PROTOCOL)},
	{"8.3", "a pseudo-header after a field", {H(END, 1, "x-a|b\n" GET(""))}, RESETS(1, PROTOCOL)},
	{"8.3", "an :authority after a field", {H(END, 1, ":method|GET\n:scheme|https\n:path|/nothing\nx-a|b\n:authority|api.openai.com\nhost|api.openai.com\n")}, RESETS(1, PROTOCOL)},
	{"8.3", ":method twice", {H(END, 1, ":method|GET\n" GET(""))}, RESETS(1, PROTOCOL)},
	{"8.3", ":path twice", {H(END, 1, ":path|/\n" GET(""))}, RESETS(1, PROTOCOL)},
	{"8.3", ":authority twice", {H(END, 1, ":authority|api.openai.com\n" GET(""))}, RESETS(1, PROTOCOL)},
	{"8.3.1", "no :method", {H(END, 1, ":scheme|https\n:authority|api.openai.com\n:path|/\n")}, RESETS(1, PROTOCOL)},
	{"8.3.1", "no :scheme", {H(END, 1, ":method|GET\n:authority|api.openai.com\n:path|/\n")}, RESETS(1, PROTOCOL)},
	{"8.3.1", "no :path", {H(END, 1, ":method|GET\n:scheme|https\n:authority|api.openai.com\n")}, RESETS(1, PROTOCOL)},
	{"8.3.1", "an empty :path", {H(END, 1, ":method|GET\n:scheme|https\n:authority|api.openai.com\n:path|\n")}, RESETS(1, PROTOCOL)},
	{"8.3.1", "a :path without a slash", {H(END, 1, ":method|GET\n:scheme|https\n:authority|api.openai.com\n:path|v1\n")}, RESETS(1, PROTOCOL)},
	{"8.3.1", "a :path * that is no OPTIONS", {H(END, 1, ":method|GET\n:scheme|https\n:authority|api.openai.com\n:path|*\n")}, RESETS(1, PROTOCOL)},
	{"8.3.1", "user information in :authority", {H(END, 1, ":method|GET\n:scheme|https\n:authority|a@api.openai.com\n:path|/\n")}, RESETS(1, PROTOCOL)},
	{"8.3.1", "a host that is another than :authority", {H(END, 1, GET("host|evil.example\n"))}, RESETS(1, PROTOCOL)},
	{"8.3.1", "a host that is the same", {H(END, 1, GET("host|API.openai.com\n"))}, ANSWERS(1)},
	{"8.3.1", "a host with the scheme's port", {H(END, 1, GET("host|api.openai.com:443\n"))}, ANSWERS(1)},
	{"8.3.1", "an :authority with the scheme's port", {H(END, 1, ":method|GET\n:scheme|https\n:authority|api.openai.com:443\n:path|/" "nothing\nhost|api.openai.com\n")}, ANSWERS(1)},
	{"8.3.1", "a host with another scheme's port", {H(END, 1, GET("host|api.openai.com:80\n"))}, RESETS(1, PROTOCOL)},
	{"8.3.1", "a host alone", {H(END, 1, ":method|GET\n:scheme|https\n:path|/nothing\nhost|api.openai.com\n")}, ANSWERS(1)},
	{"8.5", "CONNECT", {H(0, 1, ":method|CONNECT\n:authority|api.openai.com:443\n")}, RESETS(1, PROTOCOL)},
	{"8.5", "CONNECT with a :path", {H(0, 1, ":method|CONNECT\n:scheme|https\n:authority|api.openai.com:443\n:path|/\n")}, RESETS(1, PROTOCOL)},
	{"8.5", "extended CONNECT (RFC 8441), which was not offered", {H(0, 1, ":method|CONNECT\n:protocol|websocket\n:scheme|https\n:authority|api.openai.com\n:path|/v1/realtime?model=m\nsec-websocket-version|13\n")}, RESETS(1, PROTOCOL)},
	{"8.5", "the same by a client that offers it", {SET("\0\x8\0\0\0\1"), H(0, 1, ":method|CONNECT\n:protocol|websocket\n:scheme|https\n:authority|api.openai.com\n:path|/v1/realtime?model=m\nsec-websocket-version|13\n")}, RESETS(1, PROTOCOL)},
	{"8.5", "a :protocol without CONNECT", {H(END, 1, GET(":protocol|websocket\n"))}, RESETS(1, PROTOCOL)},
};
/* clang-format on */

static void send_step(struct world *w, const struct step *s)
{
	static char block[20000];
	size_t n = s->fields ? raw_block(block, s->fields) : 0;

	if (s->type == RAW) {
		plane_send_n(&w->plane, w->pod.in.fd, s->bytes, s->n);
		return;
	}
	if (s->type == AWAIT) {
		(void)raw_await(&w->pod, NGHTTP2_HEADERS, s->id);
		plane_turns(&w->plane, 3);
		return;
	}
	if (s->type == TURN) {
		plane_turns(&w->plane, 20);
		return;
	}
	memcpy(block + n, s->bytes, s->n);
	for (int i = 0; i <= s->more; i++) {
		raw_frame(&w->pod, s->type, s->flags, s->id, block, n + s->n);
		plane_turns(&w->plane, s->more ? 2 : 0);
	}
}

/* The connection is as good as before. */
static void assert_lives(struct world *w)
{
	raw_frame(&w->pod, NGHTTP2_PING, 0, 0, "conform!", 8);
	await_pong(&w->pod, "conform!");
	raw_headers(&w->pod, 1001, GET(""), true);
	(void)raw_await(&w->pod, NGHTTP2_HEADERS, 1001);
	assert_null(raw_find(&w->pod, NGHTTP2_GOAWAY, 0));
}

static void assert_ends(struct world *w, uint32_t code)
{
	const unsigned char *p = raw_await(&w->pod, NGHTTP2_GOAWAY, 0);

	assert_int_equal(raw_u32(p + 4), code);
	inbox_await_end(&w->plane, &w->pod.in); /* section 5.4.1 */
	assert_true(plane_recorded(&w->plane, "\"type\":\"connection\""));
}

static void judge(struct world *w, const struct rule *r)
{
	size_t bytes;

	switch (r->outcome) {
	case OVER:
		assert_ends(w, r->code);
		break;
	case RESET:
		assert_int_equal(raw_u32(raw_await(&w->pod, NGHTTP2_RST_STREAM, r->id)), r->code);
		assert_lives(w);
		assert_int_equal(frames(&w->pod, NGHTTP2_RST_STREAM, 0, &bytes), 1);
		assert_int_equal(frames(&w->pod, NGHTTP2_HEADERS, r->id, &bytes), r->answered);
		break;
	case ANSWER:
		(void)raw_await(&w->pod, NGHTTP2_HEADERS, r->id);
		assert_lives(w);
		assert_null(raw_find(&w->pod, NGHTTP2_RST_STREAM, 0));
		break;
	case LIVE:
		assert_lives(w);
		assert_null(raw_find(&w->pod, NGHTTP2_RST_STREAM, 0));
		break;
	}
}

static void test_rules(void **state)
{
	(void)state;
	for (size_t i = 0; i < EG_ARRAY_SIZE(rules); i++) {
		const struct rule *r = &rules[i];
		struct world *w = up();
		bool somebody;

		print_message("%s %s\n", r->section, r->what);
		if (!r->bare)
			raw_begin(&w->pod);
		for (size_t j = 0; j < STEPS && r->step[j].bytes; j++)
			send_step(w, &r->step[j]);
		judge(w, r);
		somebody = !plane_nobody(&w->plane, w->plane.provider[0]);
		assert_int_equal(somebody, r->asked);
		down(w);
	}
}

/* ---- what takes more than a few frames ---- */

/* The provider's end of the request that came, with its body. */
static struct inbox asked(struct world *w)
{
	struct inbox provider;

	inbox_init(&provider, plane_accept(&w->plane, w->plane.provider[0]));
	inbox_await(&w->plane, &provider, BODY);
	return provider;
}

static void ask(struct world *w)
{
	raw_headers(&w->pod, 1, RAW_HEAD, false);
	raw_frame(&w->pod, NGHTTP2_DATA, END, 1, BODY, sizeof(BODY) - 1);
}

static size_t data_bytes(struct world *w)
{
	size_t bytes;

	plane_turns(&w->plane, 50);
	(void)frames(&w->pod, NGHTTP2_DATA, 1, &bytes);
	return bytes;
}

static void answer_100000(struct world *w, struct inbox *provider)
{
	static char body[100001];

	memset(body, 'x', sizeof(body) - 1);
	plane_send(&w->plane, provider->fd, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
	plane_send(&w->plane, provider->fd, body);
}

static void window(struct world *w, uint32_t id, const char *by)
{
	raw_frame(&w->pod, NGHTTP2_WINDOW_UPDATE, 0, id, by, 4);
}

/* Sections 5.2.1 and 6.9.1: neither the stream's window nor the connection's is overrun. */
static void test_both_windows(void **state)
{
	struct world *w = up();
	struct inbox provider;

	(void)state;
	raw_begin(&w->pod);
	ask(w);
	provider = asked(w);
	answer_100000(w, &provider);
	assert_int_equal(data_bytes(w), 65535);
	window(w, 1, "\0\0\x40\0"); /* the stream's alone */
	assert_int_equal(data_bytes(w), 65535);
	window(w, 0, "\0\0\x10\0");
	assert_int_equal(data_bytes(w), 65535 + 4096);
	window(w, 0, "\0\1\0\0"); /* now it is the stream's that is shut */
	assert_int_equal(data_bytes(w), 65535 + 16384);
	window(w, 1, "\0\1\0\0");
	assert_int_equal(data_bytes(w), 100000);
	inbox_fini(&provider);
	down(w);
}

/* Section 6.9.2: SETTINGS change the windows of streams that are open, below zero, too; the
 * connection's is not changed. Section 6.5.3: in the order of the values. */
static void test_initial_window(void **state)
{
	struct world *w = up();
	struct inbox provider;

	(void)state;
	plane_send(&w->plane, w->pod.in.fd, H2_PREFACE.p);
	/* 1, and then 20,000. */
	raw_frame(&w->pod, NGHTTP2_SETTINGS, 0, 0, "\0\4\0\0\0\1\0\4\0\0\x4e\x20", 12);
	ask(w);
	provider = asked(w);
	answer_100000(w, &provider);
	assert_int_equal(data_bytes(w), 20000);
	/* 10,000: the stream's window is -10,000. */
	raw_frame(&w->pod, NGHTTP2_SETTINGS, 0, 0, "\0\4\0\0\x27\x10", 6);
	window(w, 1, "\0\0\x27\x10"); /* 0 */
	assert_int_equal(data_bytes(w), 20000);
	window(w, 1, "\0\0\0\1");
	assert_int_equal(data_bytes(w), 20001);
	/* 11,000: 1,000 more; 1,000,000: the connection's 65,535 hold. */
	raw_frame(&w->pod, NGHTTP2_SETTINGS, 0, 0, "\0\4\0\0\x2a\xf8", 6);
	assert_int_equal(data_bytes(w), 21001);
	raw_frame(&w->pod, NGHTTP2_SETTINGS, 0, 0, "\0\4\0\x0f\x42\x40", 6);
	assert_int_equal(data_bytes(w), 65535);
	inbox_fini(&provider);
	down(w);
}

/* Section 4.2: no frame larger than the client takes, nor than 16,384 by default. Section 6.5:
 * SETTINGS come first, and each of the client's is acknowledged. Section 8.3.2: :status is what an
 * answer's head begins with. */
static void test_what_we_send(void **state)
{
	const unsigned char *p;
	struct world *w = up();
	struct inbox provider;
	size_t at = 0, acks = 0;

	(void)state;
	raw_begin(&w->pod);
	raw_frame(&w->pod, NGHTTP2_SETTINGS, 0, 0, "\0\4\0\x0f\x42\x40", 6);
	ask(w);
	provider = asked(w);
	answer_100000(w, &provider);
	assert_int_equal(data_bytes(w), 65535);
	p = (const unsigned char *)w->pod.in.text;
	assert_int_equal(p[3], NGHTTP2_SETTINGS);
	assert_int_equal(p[4], 0);
	while (at + 9 <= w->pod.in.n) {
		size_t n = (size_t)p[at] << 16 | (size_t)p[at + 1] << 8 | p[at + 2];

		assert_true(n <= 16384);
		acks += p[at + 3] == NGHTTP2_SETTINGS && p[at + 4] == NGHTTP2_FLAG_ACK && !n;
		at += 9 + n;
	}
	assert_int_equal(acks, 2);
	assert_int_equal(raw_await(&w->pod, NGHTTP2_HEADERS, 1)[0], 0x88); /* :status: 200 */
	inbox_fini(&provider);
	down(w);
}

/* Section 6.4: nothing more on a stream that the client has reset. Section 5.1: nor on any that is
 * closed. */
static void test_nothing_after_reset(void **state)
{
	struct world *w = up();
	struct inbox provider;
	size_t bytes;

	(void)state;
	raw_begin(&w->pod);
	ask(w);
	provider = asked(w);
	answer_100000(w, &provider);
	assert_int_equal(data_bytes(w), 65535);
	raw_frame(&w->pod, NGHTTP2_RST_STREAM, 0, 1, "\0\0\0\x8", 4);
	window(w, 0, "\0\1\0\0");
	assert_int_equal(data_bytes(w), 65535);
	assert_lives(w);
	assert_int_equal(frames(&w->pod, NGHTTP2_WINDOW_UPDATE, 1, &bytes), 0);
	assert_null(raw_find(&w->pod, NGHTTP2_RST_STREAM, 1));
	inbox_fini(&provider);
	down(w);
}

/* Section 6.5.2: what we say is what may be said. Section 4.3.1: the client's table of HPACK
 * becomes smaller, and our next block begins with that. */
static void test_settings(void **state)
{
	struct world *w = up();
	const unsigned char *p;

	(void)state;
	raw_begin(&w->pod);
	p = raw_await(&w->pod, NGHTTP2_SETTINGS, 0);
	raw_check_settings(p, p[-7], false);
	raw_frame(&w->pod, NGHTTP2_SETTINGS, 0, 0, "\0\1\0\0\0\0", 6);
	raw_headers(&w->pod, 1, GET(""), true);
	assert_int_equal(raw_await(&w->pod, NGHTTP2_HEADERS, 1)[0], 0x20);
	assert_lives(w);
	down(w);
}

/* Section 6.7: an answer to a PING is not answered; a PING is, with what it holds. */
static void test_ping(void **state)
{
	struct world *w = up();
	size_t bytes;

	(void)state;
	raw_begin(&w->pod);
	raw_frame(&w->pod, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, "unasked!", 8);
	raw_frame(&w->pod, NGHTTP2_PING, 0, 0,
		  "\0\1\2\xff\xfe"
		  "abc",
		  8);
	await_pong(&w->pod, "\0\1\2\xff\xfe"
			    "abc");
	assert_int_equal(frames(&w->pod, NGHTTP2_PING, 0, &bytes), 1);
	down(w);
}

/* Section 6.8: a client's GOAWAY is about streams of ours, of which there are none; what it asked
 * is answered. An error code that nobody knows is one like any other (section 7). */
static void test_client_says_goodbye(void **state)
{
	for (int i = 0; i < 2; i++) {
		struct world *w = up();
		struct inbox provider;

		raw_begin(&w->pod);
		ask(w);
		provider = asked(w);
		raw_frame(&w->pod, NGHTTP2_GOAWAY, 0, 0,
			  i ? "\0\0\0\0\x7f\0\0\0" : "\0\0\0\0\0\0\0\0", 8);
		plane_turns(&w->plane, 5);
		plane_send(&w->plane, provider.fd, OK(2, "{}"));
		(void)raw_await(&w->pod, NGHTTP2_HEADERS, 1);
		assert_int_equal(data_bytes(w), 2);
		inbox_fini(&provider);
		down(w);
	}
	(void)state;
}

static void ask_on_3(struct world *w)
{
	raw_headers(&w->pod, 3, RAW_HEAD, false);
	raw_frame(&w->pod, NGHTTP2_DATA, END, 3, BODY, sizeof(BODY) - 1);
}

/* Sections 6.8 and 8.7: what our GOAWAY calls unprocessed is not asked of anybody, also where both
 * were read at once and the first of them is what the connection ends with. */
static void test_goodbye_is_true(void **state)
{
	struct world *w = up();
	const unsigned char *p;

	(void)state;
	raw_begin(&w->pod);
	w->plane.engine.draining = true;
	raw_headers(&w->pod, 1, GET(""), true);
	ask_on_3(w);
	p = raw_await(&w->pod, NGHTTP2_GOAWAY, 0);
	assert_int_equal(raw_u32(p), 1);
	assert_int_equal(raw_u32(p + 4), NGHTTP2_NO_ERROR);
	(void)raw_await(&w->pod, NGHTTP2_HEADERS, 1);
	assert_true(plane_nobody(&w->plane, w->plane.provider[0]));
	assert_null(raw_find(&w->pod, NGHTTP2_HEADERS, 3));
	assert_int_equal(plane_record_count(&w->plane), 1);
	down(w);
}

/* Section 6.8: where another process serves on, the end is said in two steps, and a request that
 * was on its way when the client heard of it is served like any other. */
static void test_goodbye_in_two_steps(void **state)
{
	struct world *w = up();
	struct inbox provider;
	const unsigned char *p;
	char ping[8];

	(void)state;
	raw_begin(&w->pod);
	w->plane.engine.draining = w->plane.engine.drains_gently = true;
	ask(w);
	provider = asked(w);
	plane_send(&w->plane, provider.fd, OK(2, "{}"));
	p = raw_await(&w->pod, NGHTTP2_GOAWAY, 0);
	assert_int_equal(raw_u32(p), INT32_MAX);
	assert_int_equal(raw_u32(p + 4), NGHTTP2_NO_ERROR);
	memcpy(ping, raw_await(&w->pod, NGHTTP2_PING, 0), sizeof(ping));
	inbox_forget(&provider);
	inbox_forget(&w->pod.in);
	ask_on_3(w);
	inbox_await(&w->plane, &provider, BODY);
	raw_frame(&w->pod, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, ping, sizeof(ping));
	p = raw_await(&w->pod, NGHTTP2_GOAWAY, 0);
	assert_int_equal(raw_u32(p), 3);
	plane_send(&w->plane, provider.fd, OK(2, "{}"));
	(void)raw_await(&w->pod, NGHTTP2_DATA, 3);
	inbox_fini(&provider);
	down(w);
}

/* ... as it is to a connection on which nothing happens. */
static void test_goodbye_while_idle(void **state)
{
	struct world *w = up();
	const unsigned char *p;
	char ping[8];

	(void)state;
	raw_begin(&w->pod);
	w->plane.engine.draining = w->plane.engine.drains_gently = true;
	h2_server_end_gently(&w->pod.server);
	p = raw_await(&w->pod, NGHTTP2_GOAWAY, 0);
	assert_int_equal(raw_u32(p), INT32_MAX);
	memcpy(ping, raw_await(&w->pod, NGHTTP2_PING, 0), sizeof(ping));
	inbox_forget(&w->pod.in);
	raw_frame(&w->pod, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, ping, sizeof(ping));
	p = raw_await(&w->pod, NGHTTP2_GOAWAY, 0);
	assert_int_equal(raw_u32(p), 0);
	inbox_await_end(&w->plane, &w->pod.in);
	down(w);
}

/* A client that says nothing to that is not waited for. */
static void test_goodbye_without_an_answer(void **state)
{
	struct world *w = up();
	struct inbox provider;

	(void)state;
	raw_begin(&w->pod);
	w->plane.engine.draining = w->plane.engine.drains_gently = true;
	ask(w);
	provider = asked(w);
	plane_send(&w->plane, provider.fd, OK(2, "{}"));
	(void)raw_await(&w->pod, NGHTTP2_PING, 0);
	inbox_forget(&w->pod.in);
	for (int i = 0; i < PLANE_TURNS && !raw_find(&w->pod, NGHTTP2_GOAWAY, 0); i++)
		plane_turn(&w->plane);
	assert_int_equal(raw_u32(raw_await(&w->pod, NGHTTP2_GOAWAY, 0)), 1);
	inbox_fini(&provider);
	down(w);
}

/* What comes for it afterwards is read for HPACK's table and counts for the connection's window,
 * and what was in flight is answered: its trailers come from that table. */
static void test_after_goodbye(void **state)
{
	struct world *w = up();
	struct inbox provider;
	size_t bytes;

	(void)state;
	raw_begin(&w->pod);
	raw_headers(&w->pod, 1, RAW_HEAD, false);
	raw_frame(&w->pod, NGHTTP2_DATA, 0, 1, BODY, sizeof(BODY) - 1);
	plane_turns(&w->plane, 5);
	h2_server_drain(&w->pod.server);
	assert_int_equal(raw_u32(raw_await(&w->pod, NGHTTP2_GOAWAY, 0)), 1);
	raw_frame(&w->pod, NGHTTP2_HEADERS, EOH, 3, "\x82\x87\x84\x40\3x-a\1b", 10);
	for (int i = 0; i < 70; i++) {
		raw_frame(&w->pod, NGHTTP2_DATA, 0, 3, kilo16, 16384);
		plane_turns(&w->plane, 1);
	}
	assert_true(frames(&w->pod, NGHTTP2_WINDOW_UPDATE, 0, &bytes) > 1);
	assert_true(plane_nobody(&w->plane, w->plane.provider[0]));
	raw_frame(&w->pod, NGHTTP2_HEADERS, END | EOH, 1, "\xbe", 1);
	provider = asked(w);
	plane_send(&w->plane, provider.fd, OK(2, "{}"));
	(void)raw_await(&w->pod, NGHTTP2_HEADERS, 1);
	assert_int_equal(data_bytes(w), 2);
	assert_null(raw_find(&w->pod, NGHTTP2_HEADERS, 3));
	assert_int_equal(plane_record_count(&w->plane), 1);
	inbox_fini(&provider);
	down(w);
}

/* Section 6.8: the number in a later GOAWAY is none above. */
static void test_goodbye_twice(void **state)
{
	struct world *w = up();
	const unsigned char *p;
	struct inbox provider;

	(void)state;
	raw_begin(&w->pod);
	ask(w);
	provider = asked(w);
	h2_server_drain(&w->pod.server);
	(void)raw_await(&w->pod, NGHTTP2_GOAWAY, 0);
	raw_headers(&w->pod, 3, RAW_HEAD, true);
	inbox_forget(&w->pod.in);
	raw_frame(&w->pod, NGHTTP2_PING, 0, 1, "12345678", 8);
	p = raw_await(&w->pod, NGHTTP2_GOAWAY, 0);
	assert_int_equal(raw_u32(p), 1);
	assert_int_equal(raw_u32(p + 4), NGHTTP2_PROTOCOL_ERROR);
	inbox_fini(&provider);
	down(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_both_windows),
		cmocka_unit_test(test_initial_window),
		cmocka_unit_test(test_what_we_send),
		cmocka_unit_test(test_nothing_after_reset),
		cmocka_unit_test(test_settings),
		cmocka_unit_test(test_ping),
		cmocka_unit_test(test_client_says_goodbye),
		cmocka_unit_test(test_goodbye_is_true),
		cmocka_unit_test(test_goodbye_in_two_steps),
		cmocka_unit_test(test_goodbye_while_idle),
		cmocka_unit_test(test_goodbye_without_an_answer),
		cmocka_unit_test(test_after_goodbye),
		cmocka_unit_test(test_goodbye_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
