/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 from a pod to a provider and back: streams, windows, denials, cuts, ends. */
#include "pod2.h"

#include "encode.h"

#define CHAT "/v1/chat/completions"
#define SSE                                                                                \
	"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked" \
	"\r\n\r\n"
#define WORD "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}]}\n\n" /* 47 bytes */

struct world {
	struct plane plane;
	struct pod2 pod;
	struct inbox up[3];
	int ups;
};

static struct world *world(const char *server_name)
{
	struct world *w = calloc(1, sizeof(*w));

	plane_up(&w->plane, PLANE_POLICY);
	pod2_open(&w->pod, &w->plane, server_name);
	return w;
}

static int setup(void **state)
{
	*state = world("api.openai.com");
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	pod2_close(&w->pod);
	for (int i = 0; i < w->ups; i++)
		inbox_fini(&w->up[i]);
	plane_down(&w->plane);
	free(w);
	return 0;
}

static void start(struct world *w)
{
	pod2_client(&w->pod, 1 << 20, true);
	pod2_begin(&w->pod);
}

/* The next connection to the provider, with what was asked on it. */
static struct inbox *upstream(struct world *w, const char *body)
{
	struct inbox *up = &w->up[w->ups++];

	for (int i = 0; i < PLANE_TURNS; i++) {
		int fd = accept4(w->plane.provider[0], NULL, NULL, SOCK_NONBLOCK);

		if (fd >= 0) {
			inbox_init(up, fd);
			break;
		}
		pod2_turn(&w->pod);
	}
	assert_non_null(up->text);
	if (body)
		for (int i = 0; i < PLANE_TURNS && !inbox_has(up, body); i++) {
			pod2_turn(&w->pod);
			inbox_poll(up);
		}
	return up;
}

static struct reply *ask(struct world *w)
{
	return pod2_reply(&w->pod, pod2_ask(&w->pod, "POST", CHAT, BODY, NULL));
}

static void answer(struct world *w, struct inbox *up, const char *text)
{
	plane_send(&w->plane, up->fd, text);
}

static void test_request_and_answer(void **state)
{
	struct world *w = *state;
	struct inbox *up;
	struct reply *r;

	start(w);
	r = ask(w);
	up = upstream(w, BODY);
	assert_true(inbox_has(up, "POST /v1/chat/completions HTTP/1.1\r\n"));
	assert_true(inbox_has(up, "Authorization: Bearer " PLANE_KEY "\r\n"));
	assert_true(inbox_has(up, "content-length: 32\r\n")); /* held: its length is known */
	assert_false(inbox_has(up, "placeholder"));
	answer(w, up,
	       "HTTP/1.1 200 OK\r\nX-Request-ID: r1\r\nKeep-Alive: 5\r\nConnection: "
	       "keep-alive\r\nContent-Length: 2\r\n\r\n{}");
	POD2_AWAIT(&w->pod, r->closed);
	assert_int_equal(r->error, NGHTTP2_NO_ERROR);
	assert_int_equal(r->status, 200);
	assert_string_equal(r->body, "{}");
	assert_non_null(strstr(r->head, "x-request-id: r1\n"));
	assert_non_null(strstr(r->head, "content-length: 2\n"));
	assert_non_null(strstr(r->head, "x-egret-request-id: "));
	assert_null(strstr(r->head, "keep-alive"));
	assert_null(strstr(r->head, "connection"));
	assert_int_equal(plane_record_count(&w->plane), 1);
	assert_true(plane_recorded(&w->plane, "\"reason\":\"ok\""));
	assert_true(plane_recorded(&w->plane, "\"protocol\":\"HTTP/2\""));
	assert_false(plane_recorded(&w->plane, "connection_reused"));
	assert_int_equal(w->plane.budgets.node.descriptors, 0);
}

/* What no other answer has is not put into HPACK's table, where it would drive out what they share.
 */
static void test_ids_are_not_indexed(void **state)
{
	struct world *w = *state;
	struct inbox *up;
	struct reply *r;

	start(w);
	r = ask(w);
	up = upstream(w, BODY);
	answer(w, up,
	       "HTTP/1.1 200 OK\r\nX-Request-ID: r1\r\nopenai-processing-ms: 12\r\nCF-Ray: "
	       "9a0-FRA\r\n"
	       "id: 1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}");
	POD2_AWAIT(&w->pod, r->closed);
	assert_non_null(strstr(r->never_indexed, "x-request-id\n"));
	assert_non_null(strstr(r->never_indexed, "x-egret-request-id\n"));
	assert_non_null(strstr(r->never_indexed, "openai-processing-ms\n"));
	assert_non_null(strstr(r->never_indexed, "cf-ray\n"));
	assert_null(strstr(r->never_indexed, "content-type"));
	assert_null(strstr(r->never_indexed, "\nid\n"));
	assert_null(strstr(r->never_indexed, ":status"));
}

/* Two at once, answered in the other order; each has a descriptor of its own. */
static void test_streams_are_independent(void **state)
{
	struct world *w = *state;
	struct inbox *first, *second;
	struct reply *a, *b;

	start(w);
	a = ask(w);
	first = upstream(w, BODY);
	b = ask(w);
	second = upstream(w, BODY);
	assert_int_equal(w->plane.budgets.node.descriptors, 2);
	answer(w, second, OK(3, "two"));
	POD2_AWAIT(&w->pod, b->closed);
	assert_string_equal(b->body, "two");
	assert_false(a->closed);
	answer(w, first, OK(3, "one"));
	POD2_AWAIT(&w->pod, a->closed);
	assert_string_equal(a->body, "one");
	assert_true(plane_recorded(&w->plane, "connection_reused"));
}

static void test_descriptors_are_charged_by_request(void **state)
{
	struct world *w = *state;
	struct inbox *up;
	struct reply *a, *b;

	w->plane.engine.limits.pod_descriptors = 1;
	start(w);
	a = ask(w);
	up = upstream(w, BODY);
	b = ask(w);
	POD2_AWAIT(&w->pod, b->closed);
	assert_int_equal(b->status, 503);
	assert_non_null(strstr(b->head, "x-egret-reason: pod_budget\n"));
	answer(w, up, OK(2, "{}"));
	POD2_AWAIT(&w->pod, a->closed);
	assert_int_equal(a->status, 200);
}

static void test_denials(void **state)
{
	static const struct {
		const char *method, *path, *body, *name, *value;
		unsigned int status;
		const char *reason;
	} cases[] = {
		{"GET", "/nothing", NULL, NULL, NULL, 403, "unknown_operation"},
		{"GET", "/v1/../admin", NULL, NULL, NULL, 400, "path_unsafe"},
		{"POST", CHAT, "{\"a\":", NULL, NULL, 400, "bad_body"},
		{"GET", "/v1/models", NULL, "expect", "tea", 417, "expectation"},
		{"GET", "/v1/models", NULL, "x-egret-via", "a, test-tag", 508, "loop"},
		{"GET", "/v1/models", NULL, "x-a", "\x01", 400, "bad_request"},
		{"GET", "/v1/models", NULL, "content-length", "x", 400, "request_smuggling"},
		{"POST", CHAT, BODY, "content-encoding", "gzip", 400, "bad_body"},
	};
	struct world *w = *state;

	start(w);
	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		const char *more[] = {cases[i].name, cases[i].value, NULL};
		char expected[64];
		struct reply *r = pod2_reply(&w->pod, pod2_ask(&w->pod, cases[i].method,
							       cases[i].path, cases[i].body, more));

		POD2_AWAIT(&w->pod, r->closed);
		print_message("case %zu: %u\n", i, r->status);
		assert_int_equal(r->status, cases[i].status);
		snprintf(expected, sizeof(expected), "x-egret-reason: %s\n", cases[i].reason);
		assert_non_null(strstr(r->head, expected));
		assert_non_null(strstr(r->head, "x-should-retry: false\n"));
		assert_non_null(strstr(r->body, "\"error\""));
		assert_true(r->ended);
	}
	/* The connection is as good as before. */
	assert_false(w->pod.goaway);
	assert_int_equal(plane_record_count(&w->plane), EG_ARRAY_SIZE(cases));
}

static void test_wrong_authority(void **state)
{
	static const struct {
		const char *scheme, *authority, *reason;
	} cases[] = {
		{"https", "evil.example", "host_mismatch"},
		{"http", "api.openai.com", "bad_request"},
	};
	struct world *w = *state;

	start(w);
	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		nghttp2_nv nv[] = {pod2_nv(":method", "GET"), pod2_nv(":scheme", cases[i].scheme),
				   pod2_nv(":authority", cases[i].authority),
				   pod2_nv(":path", "/v1/models")};
		struct reply *r = &w->pod.reply[w->pod.replies++];
		char expected[64];

		r->id = nghttp2_submit_request(w->pod.client, NULL, nv, 4, NULL, NULL);
		POD2_AWAIT(&w->pod, r->closed);
		snprintf(expected, sizeof(expected), "x-egret-reason: %s\n", cases[i].reason);
		assert_non_null(strstr(r->head, expected));
	}
}

/* A body in pieces, without content-length; and one whose length is announced. */
static void test_bodies(void **state)
{
	static const char *const length[] = {"content-length", "32", NULL};
	struct world *w = *state;
	struct inbox *up;
	struct reply *r;

	start(w);
	w->pod.upload_pause = true;
	r = pod2_reply(&w->pod, pod2_ask(&w->pod, "POST", CHAT, "{\"model\":\"gpt-4o", NULL));
	pod2_turns(&w->pod, 5);
	w->pod.upload = "\",\"messages\":[]}";
	w->pod.upload_n = 16;
	w->pod.upload_pause = false;
	assert_int_equal(nghttp2_session_resume_data(w->pod.client, r->id), 0);
	up = upstream(w, BODY);
	assert_true(inbox_has(up, "content-length: 32\r\n"));
	answer(w, up, OK(2, "{}"));
	POD2_AWAIT(&w->pod, r->closed);
	inbox_forget(up);
	r = pod2_reply(&w->pod, pod2_ask(&w->pod, "POST", CHAT, BODY, length));
	for (int i = 0; i < 200 && !inbox_has(up, BODY); i++) {
		pod2_turn(&w->pod);
		inbox_poll(up);
	}
	answer(w, up, OK(2, "{}"));
	POD2_AWAIT(&w->pod, r->closed);
	assert_int_equal(r->status, 200);
}

/* A held body that is larger than every window: consumed as it is taken. */
static void test_large_body(void **state)
{
	struct world *w = *state;
	size_t n = 3u << 20;
	char *body = malloc(n + 1);
	struct inbox *up;
	struct reply *r;

	memset(body, ' ', n);
	memcpy(body, BODY, sizeof(BODY) - 1);
	body[n] = '\0';
	start(w);
	r = pod2_reply(&w->pod, pod2_ask(&w->pod, "POST", CHAT, body, NULL));
	up = upstream(w, BODY);
	for (int i = 0; i < PLANE_TURNS && up->n < n; i++) {
		pod2_turn(&w->pod);
		inbox_poll(up);
	}
	assert_true(up->n > n);
	answer(w, up, OK(2, "{}"));
	POD2_AWAIT(&w->pod, r->closed);
	assert_int_equal(r->status, 200);
	free(body);
}

/* The client gives no window: the provider is not read, and nothing grows. Then all arrives. */
static void test_back_pressure(void **state)
{
	struct world *w = *state;
	size_t n = 8u << 20, sent = 0;
	char *body = malloc(n);
	struct inbox *up;
	struct reply *r;
	char head[128];

	memset(body, 'x', n);
	pod2_client(&w->pod, 100, true);
	pod2_begin(&w->pod);
	r = ask(w);
	up = upstream(w, BODY);
	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", n);
	answer(w, up, head);
	for (int i = 0; i < 500; i++) {
		ssize_t s = send(up->fd, body + sent, n - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		sent += s > 0 ? (size_t)s : 0;
		pod2_turns(&w->pod, 1);
	}
	assert_int_equal(r->n, 100);
	assert_true(sent < n);
	assert_true(w->pod.server.bytes < 512u * 1024u);
	assert_true(w->plane.engine.held_bytes >= w->pod.server.bytes);
	for (int i = 0; i < PLANE_TURNS && !r->closed; i++) {
		ssize_t s = send(up->fd, body + sent, n - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		sent += s > 0 ? (size_t)s : 0;
		if (nghttp2_session_get_stream_local_window_size(w->pod.client, r->id) < 100000) {
			nghttp2_submit_window_update(w->pod.client, 0, r->id, 1 << 20);
			nghttp2_submit_window_update(w->pod.client, 0, 0, 1 << 20);
		}
		pod2_turn(&w->pod);
	}
	assert_true(r->closed);
	assert_int_equal(r->error, 0);
	assert_int_equal(r->n, n);
	free(body);
}

static void test_head_and_no_content(void **state)
{
	struct world *w = *state;
	struct inbox *up;
	struct reply *r;

	start(w);
	r = pod2_reply(&w->pod, pod2_ask(&w->pod, "HEAD", "/nothing", NULL, NULL));
	POD2_AWAIT(&w->pod, r->closed);
	assert_int_equal(r->status, 403);
	assert_int_equal(r->n, 0);
	assert_non_null(strstr(r->head, "content-length: "));
	/* What the parser refuses has no method, but the client knows it. */
	r = pod2_reply(&w->pod, pod2_ask(&w->pod, "HEAD", "/", NULL,
					 (const char *[]){"content-length", "x", NULL}));
	POD2_AWAIT(&w->pod, r->closed);
	assert_int_equal(r->status, 400);
	assert_int_equal(r->n, 0);
	r = ask(w);
	up = upstream(w, BODY);
	answer(w, up, "HTTP/1.1 204 No Content\r\n\r\n");
	POD2_AWAIT(&w->pod, r->closed);
	assert_int_equal(r->status, 204);
	assert_int_equal(r->error, 0);
	assert_null(strstr(r->head, "content-length"));
}

static void test_expect_continue(void **state)
{
	static const char *const expect[] = {"expect", "100-continue", NULL};
	struct world *w = *state;
	struct inbox *up;
	struct reply *r;

	start(w);
	w->pod.upload_pause = true;
	r = pod2_reply(&w->pod, pod2_ask(&w->pod, "POST", CHAT, "", expect));
	POD2_AWAIT(&w->pod, r->status == 100);
	assert_true(plane_nobody(&w->plane, w->plane.provider[0]));
	w->pod.upload = BODY;
	w->pod.upload_n = strlen(BODY);
	w->pod.upload_pause = false;
	assert_int_equal(nghttp2_session_resume_data(w->pod.client, r->id), 0);
	up = upstream(w, BODY);
	assert_false(inbox_has(up, "xpect"));
	answer(w, up, OK(2, "{}"));
	POD2_AWAIT(&w->pod, r->closed);
	assert_int_equal(r->status, 200);
	assert_int_equal(r->interim, 100);
}

/* Answered before the body is complete: the whole answer, then RST_STREAM(NO_ERROR). */
static void test_early_answer(void **state)
{
	struct world *w = *state;
	struct reply *r;

	start(w);
	w->pod.upload_pause = true;
	r = pod2_reply(&w->pod, pod2_ask(&w->pod, "POST", "/nothing", "part", NULL));
	POD2_AWAIT(&w->pod, r->closed);
	assert_int_equal(r->status, 403);
	assert_true(r->ended);
	assert_int_equal(r->error, NGHTTP2_NO_ERROR);
	assert_non_null(strstr(r->body, "\"error\""));
	assert_false(w->pod.goaway);
}

/* ---- cuts ---- */

static struct reply *cut_stream(struct world *w)
{
	struct reply *r = ask(w);
	struct inbox *up = upstream(w, BODY);

	answer(w, up, SSE "2f\r\n" WORD "\r\n");
	POD2_AWAIT(&w->pod, r->status == 200);
	pod2_turns(&w->pod, 5);
	close_reset(up->fd);
	up->fd = dup(0);
	return r;
}

static void test_cut_is_a_reset(void **state)
{
	struct world *w = *state;
	struct reply *r;

	start(w);
	r = cut_stream(w);
	POD2_AWAIT(&w->pod, r->closed);
	assert_int_equal(r->error, NGHTTP2_INTERNAL_ERROR);
	assert_false(r->ended);
	assert_non_null(strstr(r->body, "\"content\":\"x\""));
	assert_non_null(strstr(r->body, "event: error"));
	assert_false(w->pod.goaway);
	assert_true(plane_recorded(&w->plane, "\"reason\":\"upstream_reset\""));
}

/* The reset waits for the word that all before it was read: it must not take the error event away,
 * neither from nghttp2's queue nor from the client's. */
static void test_cut_waits_until_all_was_read(void **state)
{
	struct world *w = *state;
	struct reply *r;

	pod2_client(&w->pod, 1 << 20, false);
	pod2_begin(&w->pod);
	r = cut_stream(w);
	POD2_AWAIT(&w->pod, w->pod.pings == 1);
	assert_non_null(strstr(r->body, "event: error")); /* before the question */
	pod2_turns(&w->pod, 100);
	assert_false(r->closed);
	assert_int_equal(nghttp2_submit_ping(w->pod.client, NGHTTP2_FLAG_ACK, w->pod.ping), 0);
	POD2_AWAIT(&w->pod, r->closed);
	assert_int_equal(r->error, NGHTTP2_INTERNAL_ERROR);
}

/* ... but not for ever: neither for the word, nor for a window. */
static void test_cut_does_not_wait_for_ever(void **state)
{
	static const uint32_t windows[] = {1 << 20, 10};

	for (size_t i = 0; i < EG_ARRAY_SIZE(windows); i++) {
		struct world *w = world("api.openai.com");
		struct reply *r;

		pod2_client(&w->pod, windows[i], false);
		pod2_begin(&w->pod);
		r = cut_stream(w);
		POD2_AWAIT(&w->pod, r->closed);
		assert_int_equal(r->error, NGHTTP2_INTERNAL_ERROR);
		assert_false(r->ended);
		teardown((void **)&w);
	}
	(void)state;
}

/* A window that opens in time: all of it arrives before the reset. */
static void test_cut_behind_a_window(void **state)
{
	struct world *w = *state;
	struct reply *r;

	pod2_client(&w->pod, 10, true);
	pod2_begin(&w->pod);
	r = cut_stream(w);
	pod2_turns(&w->pod, 50);
	assert_int_equal(r->n, 10);
	assert_false(r->closed);
	assert_int_equal(nghttp2_submit_window_update(w->pod.client, 0, r->id, 100000), 0);
	POD2_AWAIT(&w->pod, r->closed);
	assert_non_null(strstr(r->body, "event: error"));
	assert_int_equal(r->error, NGHTTP2_INTERNAL_ERROR);
}

/* Nothing was said yet: an error in dialect instead. */
static void test_provider_gone_before_its_answer(void **state)
{
	struct world *w = *state;
	struct inbox *up;
	struct reply *r;

	start(w);
	r = ask(w);
	up = upstream(w, BODY);
	close_reset(up->fd);
	up->fd = dup(0);
	POD2_AWAIT(&w->pod, r->closed);
	assert_int_equal(r->status, 502);
	assert_true(r->ended);
}

/* ---- the client's doings ---- */

static void test_client_cancels(void **state)
{
	struct world *w = *state;
	struct inbox *up;
	struct reply *r;

	start(w);
	r = ask(w);
	up = upstream(w, BODY);
	assert_int_equal(nghttp2_submit_rst_stream(w->pod.client, 0, r->id, NGHTTP2_CANCEL), 0);
	for (int i = 0; i < PLANE_TURNS && !up->end && !up->reset; i++) {
		pod2_turn(&w->pod);
		inbox_poll(up);
	}
	assert_true(up->end || up->reset);
	assert_true(plane_recorded(&w->plane, "\"reason\":\"client_closed\""));
	r = ask(w); /* the connection goes on */
	up = upstream(w, BODY);
	answer(w, up, OK(2, "{}"));
	POD2_AWAIT(&w->pod, r->closed);
	assert_int_equal(r->status, 200);
}

static void test_client_goes(void **state)
{
	struct world *w = *state;

	start(w);
	(void)ask(w);
	(void)upstream(w, BODY);
	close_reset(w->pod.in.fd);
	w->pod.in.fd = dup(0);
	for (int i = 0; i < PLANE_TURNS && !w->pod.over; i++)
		plane_turn(&w->plane);
	assert_true(w->pod.over);
	assert_true(plane_recorded(&w->plane, "\"reason\":\"client_closed\""));
}

static void test_trailers_are_dropped(void **state)
{
	struct world *w = *state;
	struct inbox *up;
	char block[256];
	size_t n;

	pod2_begin(&w->pod);
	raw_begin(&w->pod);
	raw_headers(&w->pod, 1, RAW_HEAD, false);
	raw_frame(&w->pod, NGHTTP2_DATA, 0, 1, BODY, 32);
	n = raw_block(block, "x-checksum|1\n");
	raw_frame(&w->pod, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 1,
		  block, n);
	up = &w->up[w->ups++];
	inbox_init(up, plane_accept(&w->plane, w->plane.provider[0]));
	inbox_await(&w->plane, up, BODY);
	assert_false(inbox_has(up, "x-checksum"));
}

/* ---- malformed requests: a stream error and a record, and the connection goes on ---- */

#define MODELS ":method|GET\n:scheme|https\n:authority|api.openai.com\n:path|/v1/models\n"

static void test_malformed_heads(void **state)
{
	static const char *const heads[] = {
		MODELS "X-Upper|1\n",
		MODELS "connection|close\n",
		MODELS "keep-alive|5\n",
		MODELS "proxy-connection|x\n",
		MODELS "transfer-encoding|chunked\n",
		MODELS "upgrade|h2c\n",
		MODELS "te|gzip\n",
		MODELS "host|evil.example\n",
		MODELS ":path|/x\n",
		MODELS "x|1\n:path|/x\n",
		MODELS ":status|200\n",
		MODELS ":protocol|websocket\n",
		MODELS "x| padded\n",
		MODELS "x y|1\n",
		":method|GET\n:scheme|https\n:authority|api.openai.com\n",
		":method|GET\n:authority|api.openai.com\n:path|/v1/models\n",
		":scheme|https\n:authority|api.openai.com\n:path|/v1/models\n",
		":method|GET\n:scheme|https\n:authority|a@b\n:path|/v1/models\n",
		":method|GET\n:scheme|https\n:authority|api.openai.com\n:path|/a b\n",
		":method|GET\n:scheme|https\n:authority|api.openai.com\n:path|models\n",
		":method|GET\n:scheme|ftp\n:authority|api.openai.com\n:path|/v1/models\n",
		":method|G T\n:scheme|https\n:authority|api.openai.com\n:path|/v1/models\n",
		":method|CONNECT\n:authority|api.openai.com\n",
		MODELS "content-length|5\n", /* and no DATA */
	};
	struct world *w = *state;

	pod2_begin(&w->pod);
	raw_begin(&w->pod);
	for (size_t i = 0; i < EG_ARRAY_SIZE(heads); i++) {
		uint32_t id = (uint32_t)(2 * i + 1);

		print_message("case %zu\n", i);
		raw_headers(&w->pod, id, heads[i], true);
		assert_int_equal(raw_u32(raw_await(&w->pod, NGHTTP2_RST_STREAM, id)),
				 NGHTTP2_PROTOCOL_ERROR);
	}
	assert_null(raw_find(&w->pod, NGHTTP2_GOAWAY, 0));
	assert_int_equal(plane_record_count(&w->plane), EG_ARRAY_SIZE(heads));
	assert_true(plane_recorded(&w->plane, "a field name in upper case"));
	assert_true(plane_recorded(&w->plane, "\"name\":\"a\"")); /* the pod is known */
	raw_headers(&w->pod, 101, MODELS, true);
	(void)raw_await(&w->pod, NGHTTP2_HEADERS, 101);
}

/* A line break never gets as far as the HTTP/1.1 reader. */
static void test_line_breaks(void **state)
{
	static const struct {
		const char *name, *value;
		size_t n;
	} cases[] = {
		{"x-a", "1\r\nx-b: 2", 10},
		{"x-a", "1\nx", 3},
		{"x-a", "1\rx", 3},
		{"x-a", "1\0x", 3},
		{":path", "/ HTTP/1.1\r\nHost: evil\r\nx: ", 27},
		{":authority", "api.openai.com\r\nx: y", 20},
	};
	struct world *w = *state;

	pod2_begin(&w->pod);
	raw_begin(&w->pod);
	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		uint32_t id = (uint32_t)(2 * i + 1);
		char block[512];
		size_t n = raw_block(block, ":method|GET\n:scheme|https\n");

		if (cases[i].name[0] != ':')
			n += raw_block(block + n, ":authority|api.openai.com\n:path|/v1/models\n");
		n += raw_field(block + n, cases[i].name, cases[i].value, cases[i].n);
		raw_frame(&w->pod, NGHTTP2_HEADERS,
			  NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, id, block, n);
		assert_int_equal(raw_u32(raw_await(&w->pod, NGHTTP2_RST_STREAM, id)),
				 NGHTTP2_PROTOCOL_ERROR);
	}
}

static void test_malformed_bodies(void **state)
{
	static const char length[] = RAW_HEAD "content-length|32\n";
	struct world *w = *state;
	char block[256];
	size_t n;

	pod2_begin(&w->pod);
	raw_begin(&w->pod);
	raw_headers(&w->pod, 1, length, false); /* more */
	raw_frame(&w->pod, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 1, BODY " ", 33);
	raw_headers(&w->pod, 3, length, false); /* less */
	raw_frame(&w->pod, NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 3, BODY, 31);
	raw_headers(&w->pod, 5, length, false); /* bad trailers */
	raw_frame(&w->pod, NGHTTP2_DATA, 0, 5, BODY, 32);
	n = raw_block(block, ":path|/x\n");
	raw_frame(&w->pod, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 5,
		  block, n);
	raw_headers(&w->pod, 7, length, false); /* trailers that don't end it */
	raw_frame(&w->pod, NGHTTP2_DATA, 0, 7, BODY, 32);
	n = raw_block(block, "x|1\n");
	raw_frame(&w->pod, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 7, block, n);
	for (uint32_t id = 1; id < 8; id += 2)
		assert_int_equal(raw_u32(raw_await(&w->pod, NGHTTP2_RST_STREAM, id)),
				 NGHTTP2_PROTOCOL_ERROR);
	assert_true(plane_recorded(&w->plane, "\"reason\":\"request_smuggling\""));
	assert_int_equal(plane_record_count(&w->plane), 4);
	assert_true(plane_nobody(&w->plane, w->plane.provider[0]));
}

/* ---- ends ---- */

static void test_drain_finishes_what_is_in_flight(void **state)
{
	struct world *w = *state;
	struct inbox *up;
	struct reply *r;

	start(w);
	r = ask(w);
	up = upstream(w, BODY);
	h2_server_drain(&w->pod.server);
	POD2_AWAIT(&w->pod, w->pod.goaway);
	assert_int_equal(w->pod.goaway_error, NGHTTP2_NO_ERROR);
	pod2_turns(&w->pod, 20);
	assert_false(w->pod.over);
	answer(w, up, OK(2, "{}"));
	POD2_AWAIT(&w->pod, r->closed);
	assert_string_equal(r->body, "{}");
	POD2_AWAIT(&w->pod, w->pod.in.end);
	close(w->pod.in.fd);
	w->pod.in.fd = dup(0);
	for (int i = 0; i < PLANE_TURNS && !w->pod.over; i++)
		plane_turn(&w->plane);
	assert_true(w->pod.over);
	assert_false(w->pod.reset);
}

static void test_drain_ends_idle_ones(void **state)
{
	struct world *w = *state;

	start(w);
	pod2_turns(&w->pod, 10);
	h2_server_drain(&w->pod.server);
	POD2_AWAIT(&w->pod, w->pod.goaway && w->pod.over);
	assert_false(w->pod.reset);
	assert_int_equal(plane_record_count(&w->plane), 0);
}

static void test_drain_limit(void **state)
{
	struct world *w = *state;

	start(w);
	(void)ask(w);
	(void)upstream(w, BODY);
	h2_server_drain(&w->pod.server);
	pod2_turns(&w->pod, 10);
	h2_server_fini(&w->pod.server, EG_REASON_DRAINING);
	eg_stream_reset(w->pod.stream);
	w->pod.over = true;
	assert_true(plane_recorded(&w->plane, "\"reason\":\"draining\""));
}

/* Another pod has the address: this request is denied, and there will be no other. */
static void test_another_pod(void **state)
{
	struct world *w = *state;
	struct reply *r;

	w->pod.peer.pod_uid = "uid-before";
	start(w);
	r = ask(w);
	POD2_AWAIT(&w->pod, r->closed);
	assert_int_equal(r->status, 403);
	assert_non_null(strstr(r->head, "policy_changed"));
	POD2_AWAIT(&w->pod, w->pod.goaway);
	assert_int_equal(w->pod.goaway_error, NGHTTP2_NO_ERROR);
}

static void test_client_says_goodbye(void **state)
{
	struct world *w = *state;
	struct inbox *up;
	struct reply *r;

	start(w);
	r = ask(w);
	up = upstream(w, BODY);
	assert_int_equal(nghttp2_session_terminate_session(w->pod.client, 0), 0);
	pod2_turns(&w->pod, 10);
	answer(w, up, OK(2, "{}"));
	for (int i = 0; i < PLANE_TURNS && !w->pod.in.end && !w->pod.in.reset; i++)
		pod2_turn(&w->pod);
	assert_true(w->pod.in.end);
	(void)r;
}

static void test_no_preface(void **state)
{
	struct world *w = *state;

	pod2_begin(&w->pod);
	plane_send(&w->plane, w->pod.in.fd, "GET / HTTP/1.1\r\nHost: api.openai.com\r\n\r\n");
	assert_int_equal(raw_u32(raw_await(&w->pod, NGHTTP2_GOAWAY, 0) + 4),
			 NGHTTP2_PROTOCOL_ERROR);
	inbox_await_end(&w->plane, &w->pod.in);
	assert_false(w->pod.in.reset);
	assert_true(plane_recorded(&w->plane, "no connection preface"));
}

static void test_plain(void **state)
{
	struct world *w = world(NULL);
	struct reply *r;

	start(w);
	r = pod2_reply(&w->pod, pod2_ask(&w->pod, "GET", "/v1/models", NULL, NULL));
	POD2_AWAIT(&w->pod, r->closed);
	assert_int_equal(r->status, 421); /* an address is no name that policy knows */
	teardown((void **)&w);
	(void)state;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* A POST whose body is in a coding; all of it is sent now. */
static struct reply *ask_coded(struct world *w, const struct coded *c)
{
	static const nghttp2_data_provider data = {.read_callback = pod2_read};
	struct pod2 *pod = &w->pod;
	struct reply *r = &pod->reply[pod->replies++];
	nghttp2_nv nv[] = {
		pod2_nv(":method", "POST"),
		pod2_nv(":scheme", "https"),
		pod2_nv(":authority", "api.openai.com"),
		pod2_nv(":path", CHAT),
		pod2_nv("content-type", "application/json"),
		pod2_nv("content-encoding", "gzip"),
	};

	pod->upload = c->p;
	pod->upload_n = c->n;
	*r = (struct reply){0};
	r->id = nghttp2_submit_request(pod->client, NULL, nv, EG_ARRAY_SIZE(nv), &data, NULL);
	assert_true(r->id > 0);
	POD2_AWAIT(pod, !pod->upload_n);
	return r;
}

/* There is no telling a half-close from a close: the request is given up at the provider, too. */
static void test_client_ends_its_direction(void **state)
{
	struct world *w = *state;
	struct inbox *up;

	start(w);
	(void)ask(w);
	up = upstream(w, BODY);
	shutdown(w->pod.in.fd, SHUT_WR);
	for (int i = 0; i < PLANE_TURNS && !(w->pod.over && (up->end || up->reset)); i++) {
		plane_turn(&w->plane);
		inbox_poll(up);
	}
	assert_true(w->pod.over);
	assert_true(up->end || up->reset);
	assert_true(plane_recorded(&w->plane, "\"reason\":\"client_closed\""));
}

/* Bodies that wait for their turn to be decoded, on streams of one connection: one is reset
 * meanwhile, one can't be read, one is served; then the connection goes, with two more. */
static void test_coded_turns(void **state)
{
	struct world *w = *state;
	size_t n = (size_t)12 << 20;
	char *large = malloc(n);
	struct reply *r[3];
	struct coded c, cut;
	struct inbox *up;

	assert_non_null(large);
	memset(large, ' ', n);
	memcpy(large, BODY, strlen(BODY));
	c = encode(EG_CODING_GZIP, (struct eg_str){large, n});
	cut = (struct coded){c.p, c.n - 1};
	start(w);
	r[0] = ask_coded(w, &c);
	r[1] = ask_coded(w, &cut);
	r[2] = ask_coded(w, &c);
	assert_non_null(w->plane.engine.turns.first);
	assert_int_equal(nghttp2_submit_rst_stream(w->pod.client, 0, r[0]->id, NGHTTP2_CANCEL), 0);
	up = upstream(w, NULL);
	for (int i = 0; i < PLANE_TURNS && !inbox_has(up, "\r\n\r\n"); i++) {
		pod2_turn(&w->pod);
		inbox_poll(up);
	}
	assert_true(inbox_has(up, "content-encoding: gzip\r\n"));
	plane_send(&w->plane, up->fd, OK(2, "{}"));
	POD2_AWAIT(&w->pod, r[1]->ended && r[2]->ended);
	assert_int_equal(r[1]->status, 400);
	assert_non_null(strstr(r[1]->head, "x-egret-reason: bad_body\n"));
	assert_int_equal(r[2]->status, 200);
	assert_true(plane_recorded(&w->plane, "\"reason\":\"client_closed\""));
	assert_null(w->plane.engine.turns.first);
	for (int i = 0; i < 2; i++)
		r[i] = ask_coded(w, &c);
	assert_non_null(w->plane.engine.turns.first);
	assert_true(w->plane.engine.held_bytes > 0);
	assert_int_equal(shutdown(w->pod.in.fd, SHUT_RDWR), 0);
	for (int i = 0; i < PLANE_TURNS && !w->pod.over; i++)
		plane_turn(&w->plane);
	assert_true(w->pod.over);
	plane_turns(&w->plane, 3);
	assert_null(w->plane.engine.turns.first);
	assert_int_equal(w->plane.engine.held_bytes, 0);
	free(large);
	free(c.p);
}

/* With a streamed operation beside those that are read, and a limit for each. */
static const char limited[] = "{\"version\": \"egret/v1\", \"providers\": {" PLANE_PROVIDER(
	"p0") "},"
	      "\"credentials\": {\"key\": {\"type\": \"bearer\", \"file\": \"key\", "
	      "\"namespace\": \"shop\"}},"
	      "\"policies\": [{\"name\": \"shop\", \"pods\": {}, \"routes\": ["
	      "{\"name\": \"chat\", \"match\": {\"hosts\": [\"api.openai.com\"], "
	      "\"models\": [\"gpt-4o\"]}, \"max_body_bytes\": 100, "
	      "\"targets\": [{\"provider\": \"p0\"}]},"
	      "{\"name\": \"up\", \"match\": {\"hosts\": [\"api.openai.com\"], "
	      "\"operations\": [\"uploads\"]}, \"max_body_bytes\": 150, "
	      "\"targets\": [{\"provider\": \"p0\"}]}]}]}";

/* A route's limit holds over HTTP/2 too, where no length need be said. */
static void test_limit_of_route(void **state)
{
	static const struct {
		const char *path, *length;
		size_t n;
	} cases[] = {
		{CHAT, NULL, 101},
		{CHAT, "101", 101},
		{CHAT, "151", 151},
		{CHAT, NULL, 151},
		{"/v1/uploads/u/parts", NULL, 151},
		{"/v1/uploads/u/parts", "151", 151},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		const char *more[] = {"content-length", cases[i].length, NULL};
		struct world *w = calloc(1, sizeof(*w));
		char body[152];
		struct reply *r;

		memset(body, ' ', sizeof(body));
		memcpy(body, BODY, strlen(BODY));
		body[cases[i].n] = '\0';
		plane_up(&w->plane, limited);
		pod2_open(&w->pod, &w->plane, "api.openai.com");
		start(w);
		r = pod2_reply(&w->pod, pod2_ask(&w->pod, "POST", cases[i].path, body,
						 cases[i].length ? more : NULL));
		POD2_AWAIT(&w->pod, r->closed);
		if (r->status != 413 || !strstr(r->head, "x-egret-reason: body_too_large\n"))
			fail_msg("case %zu: %u %s", i, r->status, r->head);
		pod2_close(&w->pod);
		plane_down(&w->plane);
		free(w);
	}
	(void)state;
}

/* A client that reads its answer, and sends no more of its body meanwhile, is not ended for it. */
static void test_early_answer_takes_its_time(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct inbox *up;
	struct reply *r;

	plane_up(&w->plane, limited);
	pod2_open(&w->pod, &w->plane, "api.openai.com");
	w->plane.engine.limits.body_idle_ms = 20;
	start(w);
	w->pod.upload_pause = true;
	r = pod2_reply(&w->pod, pod2_ask(&w->pod, "POST", "/v1/uploads/u/parts", "part", NULL));
	up = upstream(w, "part");
	answer(w, up, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc");
	POD2_AWAIT(&w->pod, r->n == 3);
	for (uint64_t end = eg_now_ms() + 60; eg_now_ms() < end;)
		pod2_turn(&w->pod);
	answer(w, up, "def");
	POD2_AWAIT(&w->pod, r->closed);
	assert_string_equal(r->body, "abcdef");
	assert_int_equal(r->error, NGHTTP2_NO_ERROR);
	pod2_close(&w->pod);
	inbox_fini(up);
	plane_down(&w->plane);
	free(w);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limit_of_route),
		cmocka_unit_test(test_early_answer_takes_its_time),
		TEST(test_request_and_answer),
		TEST(test_ids_are_not_indexed),
		TEST(test_streams_are_independent),
		TEST(test_descriptors_are_charged_by_request),
		TEST(test_denials),
		TEST(test_wrong_authority),
		TEST(test_bodies),
		TEST(test_large_body),
		TEST(test_back_pressure),
		TEST(test_head_and_no_content),
		TEST(test_expect_continue),
		TEST(test_early_answer),
		TEST(test_cut_is_a_reset),
		TEST(test_cut_waits_until_all_was_read),
		cmocka_unit_test(test_cut_does_not_wait_for_ever),
		TEST(test_cut_behind_a_window),
		TEST(test_provider_gone_before_its_answer),
		TEST(test_client_cancels),
		TEST(test_client_goes),
		TEST(test_client_ends_its_direction),
		TEST(test_coded_turns),
		TEST(test_trailers_are_dropped),
		TEST(test_malformed_heads),
		TEST(test_line_breaks),
		TEST(test_malformed_bodies),
		TEST(test_drain_finishes_what_is_in_flight),
		TEST(test_drain_ends_idle_ones),
		TEST(test_drain_limit),
		TEST(test_another_pod),
		TEST(test_client_says_goodbye),
		TEST(test_no_preface),
		cmocka_unit_test(test_plain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
