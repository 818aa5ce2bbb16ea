/* SPDX-License-Identifier: Apache-2.0 */
/* Answers in a content coding: asked for as the client can take them, read, passed on as they are.
 */
#include "targets.h"

#include "dear_brotli.h"
#include "encode.h"

static const char three[] = THREE TARGETS("");
static const enum eg_coding all[] = {EG_CODING_GZIP, EG_CODING_BR, EG_CODING_ZSTD};
#define USAGE                                                                                \
	"{\"choices\":[],\"model\":\"gpt-4o\",\"usage\":{\"prompt_tokens\":11,\"completion_" \
	"tokens\":7}}"
#define TOKENS "\"tokens\":{\"input\":11,\"output\":7}"

static void ask(struct world *w, const char *accept)
{
	char request[512];

	snprintf(request, sizeof(request), POST(32, "%s") BODY, accept);
	pod_send(&w->pod, request);
	called(w, 0, BODY, NULL);
}

static void answer_head(struct world *w, int i, const char *status, const char *type,
			const char *coding, size_t length)
{
	char head[512];

	snprintf(head, sizeof(head),
		 "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Encoding: %s\r\n"
		 "Content-Length: %zu\r\n\r\n",
		 status, type, coding, length);
	plane_send(&w->plane, w->up[i].fd, head);
}

static void answer(struct world *w, int i, const char *status, const char *coding,
		   struct eg_str body)
{
	answer_head(w, i, status, "application/json", coding, body.n);
	plane_send_n(&w->plane, w->up[i].fd, body.p, body.n);
}

/* The pod got these bytes as they are, to the end of its answer. */
static void passed(struct world *w, const char *coding, struct eg_str body)
{
	char text[64];

	snprintf(text, sizeof(text), "Content-Encoding: %s\r\n", coding);
	inbox_await(&w->plane, &w->pod.in, text);
	for (int i = 0; i < PLANE_TURNS && !memmem(w->pod.in.text, w->pod.in.n, body.p, body.n);
	     i++) {
		inbox_poll(&w->pod.in);
		plane_turn(&w->plane);
	}
	assert_non_null(memmem(w->pod.in.text, w->pod.in.n, body.p, body.n));
	plane_turns(&w->plane, 3);
}

static bool counted(struct world *w, const char *line)
{
	struct eg_buf out;
	bool found;

	eg_buf_init(&out, 1 << 20);
	assert_int_equal(eg_telemetry_render(&w->plane.telemetry, 1, &out), 0);
	found = memmem(eg_buf_data(&out), out.length, line, strlen(line)) != NULL;
	eg_buf_fini(&out);
	return found;
}

static void test_asked(void **state)
{
	static const char *const rows[][2] = {
		{"", "identity"},
		{"Accept-Encoding: gzip, deflate, br, zstd\r\n", "gzip, br, zstd"},
		{"Accept-Encoding: gzip;q=0.5\r\nAccept-Encoding: br\r\n", "gzip;q=0.500, br"},
		{"Accept-Encoding: compress\r\n", "identity"},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		struct world *w = begin(three);
		char want[64];

		ask(w, rows[i][0]);
		snprintf(want, sizeof(want), "accept-encoding: %s\r\n", rows[i][1]);
		assert_true(inbox_has(&w->up[0], want));
		assert_false(inbox_has(&w->up[0], "Accept-Encoding"));
		finish(w);
	}
	(void)state;
}

/* The tokens of an answer, whole and byte by byte. */
static void test_usage(void **state)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(all); i++)
		for (int trickled = 0; trickled < 2; trickled++) {
			struct coded c = encode(all[i], EG_STR(USAGE));
			const char *name = coding_name(all[i]);
			struct world *w = begin(three);

			ask(w, "Accept-Encoding: gzip, br, zstd\r\n");
			answer_head(w, 0, "200 OK", "application/json", name, c.n);
			for (size_t at = 0; at < c.n; at += trickled ? 1 : c.n) {
				plane_send_n(&w->plane, w->up[0].fd, c.p + at, trickled ? 1 : c.n);
				plane_turns(&w->plane, 2);
			}
			passed(w, name, coded_str(&c));
			assert_true(plane_recorded(&w->plane, TOKENS));
			assert_true(plane_recorded(&w->plane, "\"reason\":\"ok\""));
			assert_false(plane_recorded(&w->plane, "response_unread"));
			assert_int_equal(w->plane.engine.held_bytes, 0);
			finish(w);
			free(c.p);
		}
	(void)state;
}

/* ---- streams ---- */

struct events {
	z_stream z;
	ZSTD_CCtx *zstd;
	BrotliEncoderState *br;
	enum eg_coding coding;
	char out[4096];
};

static void events_begin(struct events *e, enum eg_coding coding)
{
	*e = (struct events){.coding = coding};
	if (coding == EG_CODING_GZIP)
		assert_int_equal(deflateInit2(&e->z, 6, Z_DEFLATED, 31, 8, 0), Z_OK);
	else if (coding == EG_CODING_ZSTD)
		e->zstd = ZSTD_createCCtx();
	else
		e->br = BrotliEncoderCreateInstance(NULL, NULL, NULL);
}

/* An event, flushed as a server does that wants it read at once. */
static struct eg_str event(struct events *e, const char *text, bool last)
{
	size_t in = strlen(text), room = sizeof(e->out);
	const uint8_t *from = (const uint8_t *)text;
	uint8_t *to = (uint8_t *)e->out;

	if (e->coding == EG_CODING_GZIP) {
		e->z.next_in = (unsigned char *)(uintptr_t)text;
		e->z.avail_in = (unsigned int)in;
		e->z.next_out = to;
		e->z.avail_out = (unsigned int)room;
		assert_int_equal(deflate(&e->z, last ? Z_FINISH : Z_SYNC_FLUSH),
				 last ? Z_STREAM_END : Z_OK);
		room = e->z.avail_out;
	} else if (e->coding == EG_CODING_ZSTD) {
		ZSTD_inBuffer zi = {text, in, 0};
		ZSTD_outBuffer zo = {e->out, room, 0};

		assert_int_equal(
			ZSTD_compressStream2(e->zstd, &zo, &zi, last ? ZSTD_e_end : ZSTD_e_flush),
			0);
		room -= zo.pos;
	} else {
		do
			assert_true(BrotliEncoderCompressStream(
				e->br, last ? BROTLI_OPERATION_FINISH : BROTLI_OPERATION_FLUSH, &in,
				&from, &room, &to, NULL));
		while (in || BrotliEncoderHasMoreOutput(e->br));
	}
	return (struct eg_str){e->out, sizeof(e->out) - room};
}

static void events_end(struct events *e)
{
	if (e->coding == EG_CODING_GZIP)
		deflateEnd(&e->z);
	ZSTD_freeCCtx(e->zstd);
	if (e->br)
		BrotliEncoderDestroyInstance(e->br);
}

static void chunk(struct world *w, int i, struct eg_str s)
{
	char head[32];

	snprintf(head, sizeof(head), "%zx\r\n", s.n);
	plane_send(&w->plane, w->up[i].fd, head);
	plane_send_n(&w->plane, w->up[i].fd, s.p, s.n);
	plane_send(&w->plane, w->up[i].fd, "\r\n");
}

static void stream_head(struct world *w, int i, const char *name)
{
	char head[256];

	snprintf(head, sizeof(head),
		 "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
		 "Content-Encoding: %s\r\nTransfer-Encoding: chunked\r\n\r\n",
		 name);
	plane_send(&w->plane, w->up[i].fd, head);
}

#define ROLE	  "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
#define WORD	  "data: {\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}\n\n"
#define LAST_WORD "data: " USAGE "\n\n"
#define BUSY	  "data: {\"error\":{\"message\":\"busy\",\"type\":\"server_error\"}}\n\n"

/* Each event is read when it comes: what says nothing is held, the first word lets it go. */
static void test_stream(void **state)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(all); i++) {
		const char *name = coding_name(all[i]);
		struct world *w = begin(three);
		struct events e;
		struct eg_str s;

		events_begin(&e, all[i]);
		ask(w, "Accept-Encoding: gzip, br, zstd\r\n");
		stream_head(w, 0, name);
		chunk(w, 0, event(&e, ROLE, false));
		plane_turns(&w->plane, 20);
		inbox_poll(&w->pod.in);
		assert_int_equal(w->pod.in.n, 0);
		s = event(&e, WORD, false);
		chunk(w, 0, s);
		passed(w, name, s);
		s = event(&e, LAST_WORD, false);
		chunk(w, 0, s);
		passed(w, name, s);
		s = event(&e, "data: [DONE]\n\n", true);
		chunk(w, 0, s);
		passed(w, name, s);
		plane_send(&w->plane, w->up[0].fd, "0\r\n\r\n");
		inbox_await(&w->plane, &w->pod.in, "\r\n0\r\n\r\n");
		plane_turns(&w->plane, 3);
		assert_true(plane_recorded(&w->plane, TOKENS));
		events_end(&e);
		finish(w);
	}
	(void)state;
}

/* An error before the first word goes to the next target; a stream without its end is cut, and
 * nothing that is not of its coding is written into it. */
static void test_stream_fails(void **state)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(all); i++) {
		const char *name = coding_name(all[i]);
		struct world *w = begin(three);
		struct events e;
		struct eg_str s;

		ask(w, "Accept-Encoding: gzip, br, zstd\r\n");
		events_begin(&e, all[i]);
		stream_head(w, 0, name);
		chunk(w, 0, event(&e, ROLE, false));
		chunk(w, 0, event(&e, BUSY, false));
		events_end(&e);
		called(w, 1, BODY, NULL);
		events_begin(&e, all[i]);
		stream_head(w, 1, name);
		s = event(&e, WORD, false);
		chunk(w, 1, s);
		passed(w, name, s);
		chunk(w, 1, event(&e, "", true));
		plane_send(&w->plane, w->up[1].fd, "0\r\n\r\n");
		inbox_await_end(&w->plane, &w->pod.in);
		assert_true(w->pod.in.reset);
		assert_false(inbox_has(&w->pod.in, "error"));
		assert_true(plane_recorded(&w->plane, "\"reason\":\"upstream_reset\""));
		events_end(&e);
		finish(w);
	}
	(void)state;
}

/* ---- errors ---- */

/* What an error says is read too: a 400 about the key is not passed on, an error object inside a
 * 200 goes to the next target. */
static void test_errors(void **state)
{
	static const struct eg_str spent = EG_STR(
		"{\"error\":{\"type\":\"insufficient_quota\",\"code\":\"insufficient_quota\"}}");
	static const struct eg_str json_error =
		EG_STR("{\"error\":{\"message\":\"busy\",\"type\":\"server_error\"}}");

	for (size_t i = 0; i < EG_ARRAY_SIZE(all); i++) {
		struct coded c = encode(all[i], spent), d = encode(all[i], json_error),
			     f = encode(all[i], EG_STR("{\"error\":{\"type\":\"not_found\"}}"));
		const char *name = coding_name(all[i]);
		struct world *w = begin(three);

		ask(w, "Accept-Encoding: gzip, br, zstd\r\n");
		answer(w, 0, "429 Too Many", name, coded_str(&c));
		called(w, 1, BODY, NULL);
		answer(w, 1, "200 OK", name, coded_str(&d));
		called(w, 2, "\"other/4o\"", NULL);
		answer(w, 2, "404 Not Found", name, coded_str(&f));
		passed(w, name, coded_str(&f));
		finish(w);
		free(c.p);
		free(d.p);
		free(f.p);
	}
	(void)state;
}

/* ---- what can't be read ---- */

static void unread(const char *coding, struct eg_str body, const char *why)
{
	struct world *w = begin(three);
	char text[64];

	ask(w, "Accept-Encoding: gzip\r\n");
	answer(w, 0, "200 OK", coding, body);
	passed(w, coding, body);
	for (int i = 0; i < PLANE_TURNS && !plane_record_count(&w->plane); i++)
		plane_turn(&w->plane);
	snprintf(text, sizeof(text), "\"response_encoding\":\"%s\"", coding);
	assert_true(plane_recorded(&w->plane, text));
	snprintf(text, sizeof(text), "\"response_unread\":\"%s\"", why);
	assert_true(plane_recorded(&w->plane, text));
	assert_true(plane_recorded(&w->plane, "\"reason\":\"ok\""));
	assert_false(plane_recorded(&w->plane, "\"tokens\""));
	assert_true(counted(w, "egret_answers_unread_total{gateway=\"test\"} 1\n"));
	assert_int_equal(w->plane.engine.held_bytes, 0);
	finish(w);
}

static void test_unread(void **state)
{
	struct coded c = encode(EG_CODING_GZIP, EG_STR(USAGE));

	unread("compress", EG_STR(USAGE), "encoding");
	unread("gzip, br", EG_STR(USAGE), "encoding");
	unread("gzip", EG_STR(USAGE), "corrupt");
	c.p[c.n - 6] ^= 1; /* its checksum */
	unread("gzip", coded_str(&c), "corrupt");
	free(c.p);
	(void)state;
}

/* The client asked for it, so it gets it; we stop reading. */
static void test_bomb(void **state)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(all); i++) {
		struct coded c = encode_zeros(all[i], (size_t)256 << 20);

		unread(coding_name(all[i]), coded_str(&c), "limit");
		free(c.p);
	}
	(void)state;
}

/* It says little, and each byte of it is work: no more of that than ordinary bytes would be. */
static void test_dear_codec(void **state)
{
	struct eg_str body = dear_brotli(600);

	unread("br", body, "limit");
	free((char *)(uintptr_t)body.p);
	(void)state;
}

/* No memory to decode it is no reason to fail it. */
static void test_budget(void **state)
{
	struct coded c = encode(EG_CODING_GZIP, EG_STR(USAGE));
	struct world *w = begin(three);

	ask(w, "Accept-Encoding: gzip\r\n");
	w->plane.engine.limits.pod_bytes = 1;
	answer(w, 0, "200 OK", "gzip", coded_str(&c));
	passed(w, "gzip", coded_str(&c));
	assert_true(plane_recorded(&w->plane, "\"response_unread\":\"memory\""));
	finish(w);
	free(c.p);
	(void)state;
}

/* ---- the credential ---- */

/* Inside a coded body it is found as well, wherever it was cut. */
static void test_quotes(void **state)
{
	static const struct eg_str body = EG_STR("{\"choices\":[],\"x\":\"" PLANE_KEY "\"}");

	for (size_t i = 0; i < EG_ARRAY_SIZE(all); i++) {
		struct coded c = encode(all[i], body);
		const char *name = coding_name(all[i]);

		for (size_t piece = 1; piece < 200; piece += 198) {
			struct world *w = begin(three);

			ask(w, "Accept-Encoding: gzip, br, zstd\r\n");
			answer_head(w, 0, "200 OK", "application/json", name, c.n);
			for (size_t at = 0; at < c.n; at += piece) {
				/* The connection may be given up on the way. */
				(void)!send(w->up[0].fd, c.p + at, EG_MIN(piece, c.n - at),
					    MSG_NOSIGNAL);
				plane_turns(&w->plane, 2);
			}
			for (int k = 0; k < PLANE_TURNS && !w->pod.in.reset &&
					!inbox_has(&w->pod.in, "are withheld.");
			     k++) {
				inbox_poll(&w->pod.in);
				plane_turn(&w->plane);
			}
			assert_true(w->pod.in.reset || !inbox_has(&w->pod.in, " 200 OK"));
			assert_true(w->pod.in.reset || inbox_has(&w->pod.in, "are withheld."));
			assert_null(memmem(w->pod.in.text, w->pod.in.n, c.p, c.n));
			assert_true(plane_recorded(&w->plane, "\"reason\":\"upstream_auth\""));
			assert_true(
				counted(w, "egret_credential_quoted_total{gateway=\"test\"} 1\n"));
			finish(w);
		}
		free(c.p);
	}
	(void)state;
}

/* In an error, and in an event of a stream; what only begins like it waits, and goes on. */
static void test_quotes_elsewhere(void **state)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(all); i++) {
		struct coded c = encode(all[i], EG_STR("{\"error\":\"" PLANE_KEY "\"}"));
		const char *name = coding_name(all[i]);
		struct world *w = begin(three);
		struct events e;
		struct eg_str s;
		size_t before;

		ask(w, "Accept-Encoding: gzip, br, zstd\r\n");
		answer(w, 0, "400 Bad", name, coded_str(&c));
		inbox_await(&w->plane, &w->pod.in, "are withheld.");
		finish(w);
		w = begin(three);
		ask(w, "Accept-Encoding: gzip, br, zstd\r\n");
		events_begin(&e, all[i]);
		stream_head(w, 0, name);
		s = event(&e, WORD, false);
		chunk(w, 0, s);
		passed(w, name, s);
		before = w->pod.in.n;
		chunk(w, 0, event(&e, "data: sk-re", false));
		plane_turns(&w->plane, 20);
		inbox_poll(&w->pod.in);
		assert_int_equal(w->pod.in.n, before);
		s = event(&e, "d\n\n", false);
		chunk(w, 0, s);
		passed(w, name, s);
		s = event(&e, "data: " PLANE_KEY "\n\n", false);
		chunk(w, 0, s);
		inbox_await_end(&w->plane, &w->pod.in);
		assert_true(w->pod.in.reset);
		assert_null(memmem(w->pod.in.text, w->pod.in.n, s.p, s.n));
		events_end(&e);
		finish(w);
		free(c.p);
	}
	(void)state;
}

/* A block of zstd says nothing before its end, and its literals may lie there as they are: no part
 * of it goes out before. */
static void test_quotes_in_block(void **state)
{
	static const char head[] = "{\"choices\":[],\"x\":\"" PLANE_KEY;
	size_t n = 100000, cut;
	char *text = malloc(n), *key;
	struct world *w = begin(three);
	struct coded c;
	uint32_t r = 1;

	assert_non_null(text);
	for (size_t i = 0; i < n; i++) { /* half of it random, the rest a repetition of that */
		r = r * 1664525u + 1013904223u;
		text[i] = i < n / 2 ? (char)(r >> 24) : text[i - n / 2];
	}
	memcpy(text, head, sizeof(head) - 1);
	c = encode(EG_CODING_ZSTD, (struct eg_str){text, n});
	key = memmem(c.p, c.n, PLANE_KEY, strlen(PLANE_KEY));
	assert_non_null(key);
	cut = (size_t)(key - c.p) + 4;
	ask(w, "Accept-Encoding: zstd\r\n");
	answer_head(w, 0, "200 OK", "text/plain", "zstd", c.n);
	plane_send_n(&w->plane, w->up[0].fd, c.p, cut);
	plane_turns(&w->plane, 5);
	for (size_t sent = cut, piece; sent < c.n; sent += piece) {
		piece = EG_MIN((size_t)10000, c.n - sent);
		(void)!send(w->up[0].fd, c.p + sent, piece, MSG_NOSIGNAL);
		plane_turns(&w->plane, 5);
		inbox_poll(&w->pod.in);
	}
	inbox_await_end(&w->plane, &w->pod.in);
	assert_null(memmem(w->pod.in.text, w->pod.in.n, PLANE_KEY, strlen(PLANE_KEY)));
	assert_true(w->pod.in.reset);
	assert_true(plane_recorded(&w->plane, "\"reason\":\"upstream_auth\""));
	finish(w);

	/* Nor when it has no end. */
	w = begin(three);
	ask(w, "Accept-Encoding: zstd\r\n");
	answer_head(w, 0, "200 OK", "text/plain", "zstd", cut + 4);
	plane_send_n(&w->plane, w->up[0].fd, c.p, cut);
	plane_turns(&w->plane, 5);
	plane_send_n(&w->plane, w->up[0].fd, c.p + cut, 4);
	inbox_await_end(&w->plane, &w->pod.in);
	assert_true(w->pod.in.reset);
	assert_null(memmem(w->pod.in.text, w->pod.in.n, "sk-r", 4));
	assert_true(plane_recorded(&w->plane, "\"reason\":\"upstream_reset\""));
	finish(w);
	free(text);
	free(c.p);
	(void)state;
}

/* Each piece ends like the key's beginning, and each turns out to be something else: what was in
 * doubt before goes on, however long that lasts. */
static void test_doubt_again_and_again(void **state)
{
	size_t n = (size_t)1 << 20, sent = 0;
	char *text = malloc(n);
	struct world *w = begin(three);
	unsigned char *out = malloc(n + 65536);
	z_stream z = {0};

	assert_true(text && out);
	memset(text, 's', n);
	memcpy(text, "{\"x\":\"", 6);
	memcpy(text + n - 2, "\"}", 2);
	assert_int_equal(deflateInit2(&z, 0, Z_DEFLATED, 16 + 15, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = (unsigned char *)text;
	z.avail_in = (unsigned int)n;
	z.next_out = out;
	z.avail_out = (unsigned int)n + 65536;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	ask(w, "Accept-Encoding: gzip\r\n");
	answer_head(w, 0, "200 OK", "application/json", "gzip", z.total_out);
	while (sent < z.total_out) {
		size_t piece = EG_MIN(z.total_out - sent, (size_t)60000);

		plane_send_n(&w->plane, w->up[0].fd, (char *)out + sent, piece);
		sent += piece;
		plane_turns(&w->plane, 5);
		inbox_poll(&w->pod.in);
	}
	inbox_await_bytes(&w->plane, &w->pod.in, z.total_out);
	assert_false(w->pod.in.reset);
	plane_turns(&w->plane, 3);
	assert_true(plane_recorded(&w->plane, "\"reason\":\"ok\""));
	finish(w);
	deflateEnd(&z);
	free(text);
	free(out);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_asked),
		cmocka_unit_test(test_usage),
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_stream_fails),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_unread),
		cmocka_unit_test(test_bomb),
		cmocka_unit_test(test_dear_codec),
		cmocka_unit_test(test_budget),
		cmocka_unit_test(test_quotes),
		cmocka_unit_test(test_quotes_elsewhere),
		cmocka_unit_test(test_quotes_in_block),
		cmocka_unit_test(test_doubt_again_and_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
