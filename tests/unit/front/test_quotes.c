/* SPDX-License-Identifier: Apache-2.0 */
/* A provider that quotes the credential: in an error, a redirect, a header, a stream. */
#include "targets.h"

static const char three[] = THREE TARGETS("");

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

/* No piece of it that is long enough to be of use. */
static void no_key(struct world *w)
{
	inbox_poll(&w->pod.in);
	assert_false(inbox_has(&w->pod.in, "sk-real-012"));
	assert_false(inbox_has(&w->pod.in, "ijklmnop"));
	assert_false(plane_recorded(&w->plane, "sk-real-012"));
}

#define QUOTE(status, more, length, body) \
	"HTTP/1.1 " #status " Oops\r\n" more "Content-Length: " #length "\r\n\r\n" body

static void test_errors_and_redirects(void **state)
{
	static const char *const answers[] = {
		QUOTE(400, "", 43, "bad key: " PLANE_KEY),
		QUOTE(404, "X-Debug: Bearer " PLANE_KEY "\r\n", 2, "{}"),
		QUOTE(422, "Content-Type: application/json\r\n", 44, "{\"key\":\"" PLANE_KEY "\"}"),
		QUOTE(302, "Location: /?k=" PLANE_KEY "\r\n", 0, ""),
		QUOTE(302, "Location: /\r\n", 43, "bad key: " PLANE_KEY),
		QUOTE(304, "ETag: " PLANE_KEY "\r\n", 0, ""),
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(answers); i++) {
		struct world *w = begin(three);

		pod_send(&w->pod, ASK);
		called(w, 0, BODY, answers[i]);
		inbox_await(&w->plane, &w->pod.in, "are withheld.");
		assert_true(inbox_has(&w->pod.in, "HTTP/1.1 502 "));
		assert_true(inbox_has(&w->pod.in, "x-egret-reason: upstream_auth\r\n"));
		no_key(w);
		assert_true(plane_recorded(&w->plane, "\"reason\":\"upstream_auth\""));
		assert_true(plane_recorded(&w->plane, "are withheld."));
		assert_true(counted(w, "egret_credential_quoted_total{gateway=\"test\"} 1\n"));
		assert_int_equal(plane_record_count(&w->plane), 1);
		finish(w);
	}
	(void)state;
}

/* What can fail over does; only what would go out is withheld. */
static void test_failover_first(void **state)
{
	struct world *w = begin(three);

	pod_send(&w->pod, ASK);
	called(w, 0, BODY, QUOTE(500, "", 43, "bad key: " PLANE_KEY));
	called(w, 1, BODY, OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "{}");
	no_key(w);
	finish(w);
	(void)state;
}

/* An answer that is well but for a header loses the header. */
static void test_header_of_a_success(void **state)
{
	struct world *w = begin(three);

	pod_send(&w->pod, ASK);
	called(w, 0, BODY,
	       "HTTP/1.1 200 OK\r\nX-Request-Headers: authorization=Bearer " PLANE_KEY
	       "; a=b\r\nX-Other: sk-real\r\nContent-Length: 2\r\n\r\n{}");
	inbox_await(&w->plane, &w->pod.in, "{}");
	assert_true(inbox_has(&w->pod.in, "X-Other: sk-real\r\n"));
	assert_false(inbox_has(&w->pod.in, "X-Request-Headers"));
	no_key(w);
	assert_true(plane_recorded(&w->plane, "\"reason\":\"ok\""));
	assert_true(counted(w, "egret_credential_quoted_total{gateway=\"test\"} 1\n"));
	finish(w);
	(void)state;
}

/* Byte by byte, to a connection that may be given up on the way. */
static void trickle(struct world *w, const char *text)
{
	for (; *text && send(w->up[0].fd, text, 1, MSG_NOSIGNAL) == 1; text++)
		plane_turns(&w->plane, 2);
}

/* The body of a success, whole or byte by byte: a reset, before any of the key. */
static void test_body_of_a_success(void **state)
{
	static const char answer[] = OK(63, "{\"choices\":[],\"x\":\"" PLANE_KEY "\",\"y\":1}  ");

	for (int trickled = 0; trickled < 2; trickled++) {
		struct world *w = begin(three);

		pod_send(&w->pod, ASK);
		called(w, 0, BODY, trickled ? NULL : answer);
		if (trickled)
			trickle(w, answer);
		inbox_await_end(&w->plane, &w->pod.in);
		assert_true(w->pod.in.reset || !inbox_has(&w->pod.in, "HTTP/1.1 200"));
		no_key(w);
		assert_true(plane_recorded(&w->plane, "\"reason\":\"upstream_auth\""));
		finish(w);
	}
	(void)state;
}

/* An error's body past what is collected. */
static void test_large_error(void **state)
{
	enum { LARGE = 100000 };
	struct world *w = begin(three);
	char *large = malloc(LARGE);

	memset(large, 'x', LARGE);
	memcpy(large + 90000, PLANE_KEY, strlen(PLANE_KEY));
	pod_send(&w->pod, ASK);
	called(w, 0, BODY, "HTTP/1.1 400 Oops\r\nContent-Length: 100000\r\n\r\n");
	plane_send_n(&w->plane, w->up[0].fd, large, LARGE);
	inbox_await_end(&w->plane, &w->pod.in);
	assert_true(w->pod.in.reset);
	no_key(w);
	free(large);
	finish(w);
	(void)state;
}

/* One that ends with the 64 KiB that are collected, or a byte behind them: whatever the pieces. */
static void test_error_at_its_limit(void **state)
{
	enum { LARGE = 100000, LIMIT = 65536 };
	static const size_t pieces[] = {1000, 4096, 30000};
	char *large = malloc(LARGE);

	for (size_t i = 0; i < 2 * EG_ARRAY_SIZE(pieces); i++) {
		struct world *w = begin(three);
		size_t behind = i % 2, piece = pieces[i / 2];

		memset(large, 'x', LARGE);
		memcpy(large + LIMIT + behind - strlen(PLANE_KEY), PLANE_KEY, strlen(PLANE_KEY));
		pod_send(&w->pod, ASK);
		called(w, 0, BODY, "HTTP/1.1 400 Oops\r\nContent-Length: 100000\r\n\r\n");
		for (size_t at = 0; at < LARGE; at += piece) {
			if (send(w->up[0].fd, large + at, EG_MIN(piece, LARGE - at), MSG_NOSIGNAL) <
			    0)
				break;
			plane_turns(&w->plane, 4);
		}
		inbox_await(&w->plane, &w->pod.in, behind ? "HTTP/1.1 400 " : "HTTP/1.1 502 ");
		if (behind)
			inbox_await_end(&w->plane, &w->pod.in);
		no_key(w);
		assert_true(plane_recorded(&w->plane, "\"reason\":\"upstream_auth\""));
		finish(w);
	}
	free(large);
	(void)state;
}

#define CHUNK(n, text) n "\r\n" text "\r\n"
#define STREAM                                                                      \
	"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: " \
	"chunked\r\n\r\n" CHUNK("30",                                               \
				"data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n")

static void test_stream(void **state)
{
	struct world *w = begin(three);

	pod_send(&w->pod, ASK);
	called(w, 0, BODY, STREAM);
	inbox_await(&w->plane, &w->pod.in, "\"hi\"");
	plane_send(&w->plane, w->up[0].fd, "26\r\ndata: {\"choices\":[{\"delta\":\"sk-real-01\r\n");
	plane_turns(&w->plane, 20);
	plane_send(&w->plane, w->up[0].fd, "1c\r\n23456789abcdefghijklmnop\"}]}\r\n");
	inbox_await_end(&w->plane, &w->pod.in);
	assert_true(w->pod.in.reset);
	no_key(w);
	finish(w);
	(void)state;
}

/* What only begins like the key arrives, every byte of it. */
static void test_beginnings_arrive(void **state)
{
	static const char answer[] = OK(46, "{\"choices\":[],\"x\":\"sk-real-sk-real-0123\"} sk-r");

	for (int trickled = 0; trickled < 2; trickled++) {
		struct world *w = begin(three);

		pod_send(&w->pod, ASK);
		called(w, 0, BODY, trickled ? NULL : answer);
		if (trickled)
			trickle(w, answer);
		inbox_await(&w->plane, &w->pod.in,
			    trickled ? "sk-r"
				     : "{\"choices\":[],\"x\":\"sk-real-sk-real-0123\"} sk-r");
		plane_turns(&w->plane, 10);
		inbox_poll(&w->pod.in);
		assert_true(inbox_has(&w->pod.in,
				      "{\"choices\":[],\"x\":\"sk-real-sk-real-0123\"} sk-r"));
		assert_true(plane_recorded(&w->plane, "\"reason\":\"ok\""));
		assert_true(plane_recorded(&w->plane, "\"bytes_out\":46"));
		assert_true(counted(w, "egret_credential_quoted_total{gateway=\"test\"} 0\n"));
		finish(w);
	}
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_errors_and_redirects),
		cmocka_unit_test(test_failover_first),
		cmocka_unit_test(test_header_of_a_success),
		cmocka_unit_test(test_body_of_a_success),
		cmocka_unit_test(test_large_error),
		cmocka_unit_test(test_error_at_its_limit),
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_beginnings_arrive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
