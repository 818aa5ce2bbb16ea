/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC: refused with a status of its own where it is judged, else passed on as HTTP/2 has it. */
#include "original.h"

#include "h2_provider.h"
#include "pod.h"
#include "pod2.h"

static const char policy[] = "{\"version\": \"egret/v1\", \"providers\": {" PLANE_PROVIDER(
	"p0") "},"
	      "\"credentials\": {\"key\": {\"type\": \"bearer\", \"file\": \"key\"}},"
	      "\"policies\": [{\"name\": \"shop\", \"mode\": \"enforce\", \"pods\": "
	      "{\"namespaces\": [\"shop\"]},"
	      "\"routes\": [{\"name\": \"chat\", \"match\": {\"hosts\": "
	      "[\"api.openai.com\"]}, \"targets\": [{\"provider\": \"p0\"}]}], "
	      "\"otherwise\": \"deny\"}],"
	      "\"destinations\": [{\"cidr\": \"203.0.113.0/24\", \"hosts\": "
	      "[\"api.deepseek.com\"]}]}";

#define METHOD	"/google.ai.generativelanguage.v1beta.GenerativeService/GenerateContent"
#define MESSAGE "\1\1\1\1\5hello"
#define GRPC	"application/grpc"

struct world {
	struct plane plane;
	struct pod2 pod;
	struct h2p server; /* what a call is passed on to */
};

static void up(struct world *w, const char *text, const char *server_name)
{
	memset(w, 0, sizeof(*w));
	plane_http2 = true;
	plane_up(&w->plane, text);
	pod2_open(&w->pod, &w->plane, server_name);
	pod2_client(&w->pod, 1 << 20, true);
	pod2_begin(&w->pod);
}

static void down(struct world *w)
{
	pod2_close(&w->pod);
	if (w->server.session)
		h2p_fini(&w->server);
	plane_down(&w->plane);
}

/* A status in a head that ends the stream, whatever comes of the request. */
static void test_refused(void **state)
{
	static const struct {
		const char *server_name, *authority, *path, *type, *body, *status, *reason;
		bool pause;
	} cases[] = {
		{"api.openai.com", "api.openai.com", METHOD, "application/grpc", MESSAGE, "7",
		 "unknown_operation", false},
		{"api.openai.com", "api.openai.com", METHOD, "application/grpc+proto", MESSAGE, "7",
		 "unknown_operation", true},
		{"api.openai.com", "api.openai.com", "/v1/chat/completions", "application/grpc",
		 MESSAGE, "13", "bad_body", false},
		{"api.openai.com", "other.example", METHOD, "application/grpc", NULL, "2",
		 "host_mismatch", false},
		{NULL, "api.openai.com", METHOD, "application/grpc;x", MESSAGE, "7",
		 "unknown_operation", false},
		{"api.deepseek.com", "api.deepseek.com", METHOD, "application/grpc", MESSAGE, "7",
		 "no_route", false},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		static struct world w;
		char expected[64];
		struct reply *r;

		print_message("case %zu\n", i);
		up(&w, policy, cases[i].server_name);
		r = pod2_grpc(&w.pod, cases[i].authority, cases[i].path, cases[i].type,
			      cases[i].body, cases[i].pause);
		POD2_AWAIT(&w.pod, r->closed);
		assert_int_equal(r->error, NGHTTP2_NO_ERROR);
		assert_int_equal(r->status, 200);
		assert_true(r->head_ended);
		assert_int_equal(r->n, 0);
		assert_non_null(strstr(r->head, "content-type: application/grpc\n"));
		snprintf(expected, sizeof(expected), "grpc-status: %s\n", cases[i].status);
		assert_non_null(strstr(r->head, expected));
		snprintf(expected, sizeof(expected), "x-egret-reason: %s\n", cases[i].reason);
		assert_non_null(strstr(r->head, expected));
		assert_non_null(strstr(r->head, "grpc-message: "));
		assert_non_null(strstr(r->head, "x-egret-request-id: "));
		assert_null(strstr(r->head, "content-length"));
		assert_null(strstr(r->head, "x-should-retry"));
		snprintf(expected, sizeof(expected), "\"reason\":\"%s\"", cases[i].reason);
		assert_true(plane_recorded(&w.plane, expected));
		assert_true(plane_recorded(&w.plane, "\"status\":200"));
		assert_int_equal(plane_record_count(&w.plane), 1);
		/* What is not gRPC gets its error object on the same connection. */
		r = pod2_grpc(&w.pod, cases[i].authority, METHOD, "application/grpc-web", NULL,
			      false);
		POD2_AWAIT(&w.pod, r->closed);
		assert_true(r->status >= 400);
		assert_non_null(strstr(r->body, "\"error\""));
		down(&w);
	}
	(void)state;
}

/* A reason that says why in words: they are percent-encoded where they must be. */
static void test_message(void **state)
{
	static struct world w;
	struct reply *r;

	up(&w, policy, "api.openai.com");
	r = pod2_grpc(&w.pod, "api.openai.com", "/v1/chat/completions", "application/grpc", MESSAGE,
		      false);
	POD2_AWAIT(&w.pod, r->closed);
	assert_non_null(strstr(r->head, "grpc-message: This operation's Content-Type must be "
					"application/json, in UTF-8.\n"));
	down(&w);
	(void)state;
}

/* gRPC is HTTP/2's: over HTTP/1.1 a Content-Type alone changes nothing. */
static void test_not_over_http1(void **state)
{
	struct plane *p = calloc(1, sizeof(*p));
	struct pod pod;

	plane_up(p, policy);
	pod_open(&pod, p, "api.openai.com");
	pod_send(&pod, "POST " METHOD " HTTP/1.1\r\n" HEADERS
		       "Content-Type: application/grpc\r\nContent-Length: 0\r\n\r\n");
	inbox_await(p, &pod.in, "HTTP/1.1 403 ");
	inbox_await(p, &pod.in, "\"error\"");
	pod_close(&pod);
	plane_down(p);
	free(p);
	(void)state;
}

/* ---- passed on: a Host that nothing governs, by prior knowledge ---- */

#define HOST "grpc.example"

static void up_plain(struct world *w)
{
	up(w, policy, NULL);
	w->pod.peer.destination.port = w->plane.port[1];
	plane_http2 = false; /* nobody offers it: it is known */
}

static struct reply *pass(struct world *w, const char *body, bool pause)
{
	return pod2_grpc(&w->pod, HOST, METHOD, GRPC, body, pause);
}

/* The server is called. */
static struct h2p *accepted(struct world *w)
{
	int fd = -1;

	for (int t = 0; t < PLANE_TURNS && fd < 0; t++) {
		fd = accept4(w->plane.provider[1], NULL, NULL, SOCK_NONBLOCK);
		if (fd < 0)
			pod2_turn(&w->pod);
	}
	assert_true(fd >= 0);
	h2p_init(&w->server, fd);
	return &w->server;
}

#define AWAIT(w, condition)                                                \
	do {                                                               \
		int turns_ = PLANE_TURNS;                                  \
		while (!(condition) && turns_--) {                         \
			h2p_poll(&(w)->server);                            \
			pod2_turn(&(w)->pod);                              \
		}                                                          \
		if (!(condition))                                          \
			fail_msg("%d: in vain: %s", __LINE__, #condition); \
	} while (0)

static void turns(struct world *w, int n)
{
	while (n--) {
		h2p_poll(&w->server);
		pod2_turn(&w->pod);
	}
}

/* More of the pod's upload. */
static void upload(struct world *w, const struct reply *r, const char *body, bool pause)
{
	w->pod.upload = body;
	w->pod.upload_n = strlen(body);
	w->pod.upload_pause = pause;
	assert_int_equal(nghttp2_session_resume_data(w->pod.client, r->id), 0);
}

static const nghttp2_nv head[] = {H2P_FIELD(":status", "200"),
				  H2P_FIELD("content-type", "application/grpc")};
static const nghttp2_nv done[] = {H2P_FIELD("grpc-status", "0"),
				  H2P_FIELD("grpc-status-details-bin", "AAAA"),
				  H2P_FIELD("x-egret-not", "ours")};
#define DONE_READ "grpc-status: 0\ngrpc-status-details-bin: AAAA\nx-egret-not: ours\n"

static void test_unary(void **state)
{
	static struct world w;
	struct reply *r;
	struct h2p *s;

	up_plain(&w);
	r = pass(&w, MESSAGE, false);
	s = accepted(&w);
	AWAIT(&w, s->stream[0].ended);
	assert_non_null(strstr(s->stream[0].head, ":scheme: http\n:authority: " HOST "\n"));
	assert_non_null(strstr(s->stream[0].head, "te: trailers\n"));
	assert_non_null(strstr(s->stream[0].head, "grpc-timeout: 5S\n"));
	assert_null(strstr(s->stream[0].head, "content-length"));
	assert_memory_equal(s->stream[0].body, MESSAGE, 10);
	h2p_trailers(s, 0, done, 3);
	h2p_answer_n(s, 0, head, 2, MESSAGE, 10, true);
	AWAIT(&w, r->closed);
	assert_int_equal(r->error, NGHTTP2_NO_ERROR);
	assert_string_equal(r->body, MESSAGE);
	assert_string_equal(r->trailers, DONE_READ);
	assert_null(strstr(r->head, "x-egret"));
	assert_true(plane_recorded(&w.plane, "\"upstream_protocol\":\"HTTP/2\""));
	assert_false(plane_recorded(&w.plane, "\"upstream_reused\":true"));
	/* The next call shares the connection. */
	r = pass(&w, MESSAGE, false);
	AWAIT(&w, s->count == 2 && s->stream[1].ended);
	h2p_answer_n(s, 1, head, 2, NULL, 0, true);
	AWAIT(&w, r->closed);
	assert_true(r->head_ended);
	assert_true(plane_recorded(&w.plane, "\"upstream_reused\":true"));
	down(&w);
	(void)state;
}

/* A reload lets go of a connection: what runs on it goes on, the next call too, as the pod sent it,
 * and there is no other after it. */
static void test_released(void **state)
{
	static struct world w;
	struct reply *r, *last;
	struct h2p *s;

	up_plain(&w);
	r = pass(&w, MESSAGE, false);
	s = accepted(&w);
	AWAIT(&w, s->stream[0].ended);
	plane_publish(&w.plane, "{\"version\": \"egret/v1\"}", true);
	last = pass(&w, MESSAGE, false);
	AWAIT(&w, s->count == 2 && s->stream[1].ended);
	assert_false(w.pod.goaway);
	h2p_answer_n(s, 1, head, 2, NULL, 0, true);
	AWAIT(&w, last->closed && w.pod.goaway);
	assert_int_equal(last->status, 200);
	assert_int_equal(w.pod.goaway_error, NGHTTP2_NO_ERROR);
	assert_false(r->closed);
	h2p_answer_n(s, 0, head, 2, MESSAGE, 10, true);
	AWAIT(&w, r->closed);
	assert_string_equal(r->body, MESSAGE);
	down(&w);
	(void)state;
}

/* Each side speaks when it likes. */
static void test_both_ways(void **state)
{
	static struct world w;
	struct reply *r;
	struct h2p *s;

	up_plain(&w);
	r = pass(&w, "one.", true);
	s = accepted(&w);
	AWAIT(&w, s->stream[0].body_n == 4);
	h2p_trailers(s, 0, done, 3);
	h2p_answer_n(s, 0, head, 2, "ONE.", 4, false);
	AWAIT(&w, r->n == 4);
	for (int i = 0; i < 10; i++) {
		upload(&w, r, "two.", true);
		AWAIT(&w, s->stream[0].body_n == 8 + 4 * (size_t)i);
		h2p_more(s, 0, "TWO.", false);
		AWAIT(&w, r->n == 8 + 4 * (size_t)i);
	}
	assert_false(s->stream[0].ended);
	upload(&w, r, "end", false);
	AWAIT(&w, s->stream[0].ended);
	assert_int_equal(s->stream[0].body_n, 47);
	assert_false(r->closed);
	h2p_more(s, 0, "END", true);
	AWAIT(&w, r->closed);
	assert_int_equal(r->error, NGHTTP2_NO_ERROR);
	assert_int_equal(r->n, 47);
	assert_string_equal(r->trailers, DONE_READ);
	assert_true(plane_recorded(&w.plane, "\"bytes_in\":47"));
	assert_true(plane_recorded(&w.plane, "\"bytes_out\":47"));
	down(&w);
	(void)state;
}

/* A status while the client still speaks: it has it, and then is told to stop, as the server is. */
static void test_status_before_the_end(void **state)
{
	for (int only_head = 0; only_head < 2; only_head++) {
		static struct world w;
		struct reply *r;
		struct h2p *s;

		up_plain(&w);
		r = pass(&w, "one.", true);
		s = accepted(&w);
		AWAIT(&w, s->stream[0].body_n == 4);
		h2p_trailers(s, 0, done, 3);
		h2p_answer_n(s, 0, head, 2, only_head ? NULL : "ONE.", 4, true);
		AWAIT(&w, r->closed && s->stream[0].closed);
		assert_int_equal(r->error, NGHTTP2_NO_ERROR);
		assert_true(r->ended);
		assert_int_equal(r->head_ended, only_head);
		assert_string_equal(r->trailers, only_head ? "" : DONE_READ);
		assert_int_equal(s->stream[0].code, NGHTTP2_NO_ERROR);
		assert_true(plane_recorded(&w.plane, "\"status\":200"));
		assert_false(plane_recorded(&w.plane, "client_closed"));
		down(&w);
	}
	(void)state;
}

static void test_cancelled(void **state)
{
	for (int begun = 0; begun < 2; begun++) {
		static struct world w;
		struct reply *r;
		struct h2p *s;

		up_plain(&w);
		r = pass(&w, "one.", true);
		s = accepted(&w);
		AWAIT(&w, s->stream[0].body_n == 4);
		if (begun) {
			h2p_answer_n(s, 0, head, 2, "ONE.", 4, false);
			AWAIT(&w, r->n == 4);
		}
		assert_int_equal(nghttp2_submit_rst_stream(w.pod.client, 0, r->id, NGHTTP2_CANCEL),
				 0);
		AWAIT(&w, s->stream[0].closed);
		assert_int_equal(s->stream[0].code, NGHTTP2_CANCEL);
		assert_true(plane_recorded(&w.plane, "\"reason\":\"client_closed\""));
		/* The connections go on. */
		r = pass(&w, MESSAGE, false);
		AWAIT(&w, s->count == 2 && s->stream[1].ended);
		h2p_answer_n(s, 1, head, 2, NULL, 0, true);
		AWAIT(&w, r->closed);
		down(&w);
	}
	(void)state;
}

/* A reset by the server: before its answer a status says so, in it a reset does. */
static void test_reset_by_the_server(void **state)
{
	for (int begun = 0; begun < 2; begun++) {
		static struct world w;
		struct reply *r;
		struct h2p *s;

		up_plain(&w);
		r = pass(&w, "one.", true);
		s = accepted(&w);
		AWAIT(&w, s->stream[0].body_n == 4);
		if (begun) {
			h2p_answer_n(s, 0, head, 2, "ONE.", 4, false);
			AWAIT(&w, r->n == 4);
		}
		h2p_reset(s, 0, NGHTTP2_CANCEL);
		AWAIT(&w, r->closed);
		assert_int_equal(r->error, begun ? NGHTTP2_INTERNAL_ERROR : NGHTTP2_NO_ERROR);
		assert_int_equal(r->ended, !begun);
		if (!begun)
			assert_non_null(strstr(r->head, "grpc-status: 14\n"));
		assert_true(plane_recorded(&w.plane, "\"reason\":\"upstream_reset\""));
		down(&w);
	}
	(void)state;
}

/* It is no HTTP/2 after all, or nobody is there. */
static void test_no_such_server(void **state)
{
	for (int nobody = 0; nobody < 2; nobody++) {
		static struct world w;
		struct reply *r;
		int fd;

		up_plain(&w);
		if (nobody)
			w.pod.peer.destination.port = 1;
		r = pass(&w, MESSAGE, false);
		if (!nobody) {
			fd = plane_accept(&w.plane, w.plane.provider[1]);
			plane_send(&w.plane, fd,
				   "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
			POD2_AWAIT(&w.pod, r->closed);
			close(fd);
		}
		POD2_AWAIT(&w.pod, r->closed);
		assert_non_null(strstr(r->head, "grpc-status: 14\n"));
		assert_non_null(strstr(r->head, nobody ? "x-egret-reason: upstream_connect\n"
						       : "x-egret-reason: upstream_protocol\n"));
		down(&w);
	}
	(void)state;
}

/* Nobody knows who should speak next: a pod that is silent in what is passed on is left alone. */
static void test_silence(void **state)
{
	static struct world w;
	struct reply *r;
	struct h2p *s;

	up_plain(&w);
	w.plane.engine.limits.body_idle_ms = 40;
	r = pass(&w, "one.", true);
	s = accepted(&w);
	AWAIT(&w, s->stream[0].body_n == 4);
	usleep(120000);
	turns(&w, 20);
	assert_false(r->closed);
	upload(&w, r, "two.", false);
	AWAIT(&w, s->stream[0].ended);
	h2p_answer_n(s, 0, head, 2, NULL, 0, true);
	AWAIT(&w, r->closed);
	assert_true(r->head_ended);
	assert_true(plane_recorded(&w.plane, "\"status\":200"));
	assert_false(plane_recorded(&w.plane, "request_timeout"));
	down(&w);
	(void)state;
}

/* Neither side takes what comes: little is held, and all arrives. */
static void test_back_pressure(void **state)
{
	static char body[600 * 1024], answer[600 * 1024];
	static struct world w;
	struct reply *r;
	struct h2p *s;
	int fd = -1;

	memset(body, 'b', sizeof(body) - 1);
	memset(answer, 'a', sizeof(answer));
	up_plain(&w);
	r = pass(&w, body, false);
	for (int t = 0; t < PLANE_TURNS && fd < 0; t++) {
		fd = accept4(w.plane.provider[1], NULL, NULL, SOCK_NONBLOCK);
		if (fd < 0)
			pod2_turn(&w.pod);
	}
	s = &w.server;
	h2p_init_with(s, fd, false, NULL, 0); /* it gives no window back by itself */
	AWAIT(&w, s->count == 1 && s->stream[0].body_n == 65535);
	h2p_trailers(s, 0, done, 3);
	h2p_answer_n(s, 0, head, 2, answer, sizeof(answer), true);
	AWAIT(&w, r->n == sizeof(answer)); /* though the upload stands still */
	turns(&w, 20);
	assert_int_equal(s->stream[0].body_n, 65535);
	assert_true(w.plane.engine.held_bytes < 512 * 1024);
	AWAIT(&w, r->closed);
	assert_string_equal(r->trailers, DONE_READ);
	down(&w);
	(void)state;
}

/* ---- a route's own upload, over HTTP/2 on both sides ---- */

static const char uploads[] = "{\"version\": \"egret/v1\", \"providers\": {" PLANE_PROVIDER(
	"p0") "},"
	      "\"credentials\": {\"key\": {\"type\": \"bearer\", \"file\": \"key\", "
	      "\"namespace\": \"shop\"}},"
	      "\"policies\": [{\"name\": \"shop\", \"pods\": {}, \"routes\": ["
	      "{\"name\": \"up\", \"match\": {\"hosts\": [\"api.openai.com\"], "
	      "\"operations\": [\"uploads\"]}, \"max_body_bytes\": 10, "
	      "\"targets\": [{\"provider\": \"p0\"}]}]}]}";

/* What is judged streams both ways as well, and its limits hold all along. */
static void test_upload_beside_its_answer(void **state)
{
	static const nghttp2_nv ok[] = {H2P_FIELD(":status", "200")};

	for (int over = 0; over < 2; over++) {
		static struct world w;
		struct reply *r;
		struct h2p *s = &w.server;

		up(&w, uploads, "api.openai.com");
		w.pod.upload_pause = true;
		r = pod2_reply(&w.pod,
			       pod2_ask(&w.pod, "POST", "/v1/uploads/u/parts", "one.", NULL));
		h2p_init(s, plane_accept(&w.plane, w.plane.provider[0]));
		AWAIT(&w, s->count == 1 && s->stream[0].body_n == 4);
		assert_non_null(strstr(s->stream[0].head, "Bearer " PLANE_KEY "\n"));
		h2p_answer_n(s, 0, ok, 1, "ONE.", 4, false);
		AWAIT(&w, r->n == 4);
		upload(&w, r, over ? "too long" : "two.", false);
		if (over) {
			AWAIT(&w, r->closed && s->stream[0].closed);
			assert_int_equal(r->error, NGHTTP2_INTERNAL_ERROR);
			assert_int_equal(s->stream[0].code, NGHTTP2_CANCEL);
			assert_int_equal(s->stream[0].body_n, 4);
			assert_true(plane_recorded(&w.plane, "\"reason\":\"body_too_large\""));
		} else {
			AWAIT(&w, s->stream[0].ended);
			assert_int_equal(s->stream[0].body_n, 8);
			h2p_more(s, 0, "TWO.", true);
			AWAIT(&w, r->closed);
			assert_int_equal(r->error, NGHTTP2_NO_ERROR);
			assert_string_equal(r->body, "ONE.TWO.");
			assert_true(plane_recorded(&w.plane, "\"reason\":\"ok\""));
		}
		down(&w);
	}
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_message),
		cmocka_unit_test(test_not_over_http1),
		cmocka_unit_test(test_unary),
		cmocka_unit_test(test_released),
		cmocka_unit_test(test_both_ways),
		cmocka_unit_test(test_status_before_the_end),
		cmocka_unit_test(test_cancelled),
		cmocka_unit_test(test_reset_by_the_server),
		cmocka_unit_test(test_no_such_server),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_back_pressure),
		cmocka_unit_test(test_upload_beside_its_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
