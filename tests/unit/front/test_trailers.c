/* SPDX-License-Identifier: Apache-2.0 */
/* Trailers and te, from either kind of provider to either kind of pod. */
#include "h2_provider.h"
#include "pod.h"
#include "pod2.h"

static const char policy[] =
	"{\"version\": \"egret/v1\", \"providers\": {" PLANE_PROVIDER("p0") "," PLANE_PROVIDER(
		"p1") "},"
		      "\"credentials\": {\"key\": {\"type\": \"bearer\", \"file\": \"key\"}},"
		      "\"policies\": [{\"name\": \"shop\", \"mode\": \"enforce\", \"pods\": "
		      "{\"namespaces\": [\"shop\"]},"
		      "\"routes\": [{\"name\": \"chat\", \"match\": {\"hosts\": "
		      "[\"api.openai.com\"]}, \"targets\": [{\"provider\": \"p0\"}, "
		      "{\"provider\": \"p1\"}]}], \"otherwise\": \"deny\"}]}";

#define CHAT "/v1/chat/completions"
static const char *const te[] = {"te", "trailers", NULL};

static const nghttp2_nv sums[] = {H2P_FIELD("grpc-status", "0"), H2P_FIELD("x-sum", "abc"),
				  /* and what must not go on */
				  H2P_FIELD("set-cookie", "a=b"), H2P_FIELD("alt-svc", "x"),
				  H2P_FIELD("x-egret-reason", "ok"),
				  H2P_FIELD("openai-organization", "org"),
				  H2P_FIELD("content-type", "text/plain")};
#define SUMS	  EG_ARRAY_SIZE(sums)
#define SUMS_READ "grpc-status: 0\nx-sum: abc\n"

/* ---- a pod and a provider that speak HTTP/2 ---- */

struct both {
	struct plane plane;
	struct pod2 pod;
	struct h2p up[2];
};

static void up(struct both *b, uint32_t window)
{
	memset(b, 0, sizeof(*b));
	plane_http2 = true;
	plane_up(&b->plane, policy);
	pod2_open(&b->pod, &b->plane, "api.openai.com");
	pod2_client(&b->pod, window, true);
	pod2_begin(&b->pod);
	b->up[0].fd = b->up[1].fd = -1;
}

static void down(struct both *b)
{
	pod2_close(&b->pod);
	for (int i = 0; i < 2; i++)
		if (b->up[i].session)
			h2p_fini(&b->up[i]);
	plane_down(&b->plane);
}

static struct reply *ask(struct both *b, const char *const *more)
{
	return pod2_reply(&b->pod, pod2_ask(&b->pod, "POST", CHAT, BODY, more));
}

/* Provider i is called, and gets the body. */
static struct h2p *called(struct both *b, int i)
{
	struct h2p *s = &b->up[i];
	int fd = -1;

	for (int t = 0; t < PLANE_TURNS && fd < 0; t++) {
		fd = accept4(b->plane.provider[i], NULL, NULL, SOCK_NONBLOCK);
		if (fd < 0)
			pod2_turn(&b->pod);
	}
	assert_true(fd >= 0);
	h2p_init(s, fd);
	for (int t = 0; t < PLANE_TURNS && !s->stream[0].ended; t++) {
		pod2_turn(&b->pod);
		h2p_poll(s);
	}
	assert_true(s->stream[0].ended);
	return s;
}

#define AWAIT(b, s, condition)                                             \
	do {                                                               \
		int turns_ = PLANE_TURNS;                                  \
		while (!(condition) && turns_--) {                         \
			h2p_poll(s);                                       \
			pod2_turn(&(b)->pod);                              \
		}                                                          \
		if (!(condition))                                          \
			fail_msg("%d: in vain: %s", __LINE__, #condition); \
	} while (0)

static void test_after_a_body(void **state)
{
	for (int i = 0; i < 4; i++) {
		static struct both b;
		const char *body = i & 1 ? "{\"a\": 1}" : "";
		bool wait = i & 2;
		struct reply *r;
		struct h2p *s;

		up(&b, 1 << 20);
		r = ask(&b, wait ? te : NULL);
		s = called(&b, 0);
		assert_int_equal(strstr(s->stream[0].head, "te: trailers\n") != NULL, wait);
		h2p_trailers(s, 0, sums, SUMS);
		h2p_answer(s, 0, body, true);
		AWAIT(&b, s, r->closed);
		assert_int_equal(r->error, NGHTTP2_NO_ERROR);
		assert_int_equal(r->status, 200);
		assert_string_equal(r->body ? r->body : "", body);
		assert_string_equal(r->trailers, SUMS_READ);
		assert_null(strstr(r->head, "x-sum"));
		assert_true(plane_recorded(&b.plane, "\"reason\":\"ok\""));
		assert_int_equal(plane_record_count(&b.plane), 1);
		down(&b);
	}
	(void)state;
}

/* gRPC's "trailers-only": one HEADERS frame there, one here. */
static void test_only_a_head(void **state)
{
	static const nghttp2_nv head[] = {
		H2P_FIELD(":status", "200"), H2P_FIELD("content-type", "application/grpc"),
		H2P_FIELD("grpc-status", "5"), H2P_FIELD("grpc-message", "no such thing")};

	for (int i = 0; i < 2; i++) {
		static struct both b;
		struct reply *r;
		struct h2p *s;

		up(&b, 1 << 20);
		r = ask(&b, i ? te : NULL);
		s = called(&b, 0);
		h2p_answer_n(s, 0, head, 4, NULL, 0, true);
		AWAIT(&b, s, r->closed);
		assert_int_equal(r->error, NGHTTP2_NO_ERROR);
		assert_true(r->head_ended);
		assert_non_null(strstr(r->head, "grpc-status: 5\ngrpc-message: no such thing\n"));
		assert_string_equal(r->trailers, "");
		down(&b);
	}
	(void)state;
}

/* The status of an error goes on as its head and body do. */
static void test_after_an_error(void **state)
{
	static const nghttp2_nv head[] = {H2P_FIELD(":status", "404")};
	static struct both b;
	struct reply *r;
	struct h2p *s;

	up(&b, 1 << 20);
	r = ask(&b, NULL);
	s = called(&b, 0);
	h2p_trailers(s, 0, sums, SUMS);
	h2p_answer_n(s, 0, head, 1, "nope", 4, true);
	AWAIT(&b, s, r->closed);
	assert_int_equal(r->status, 404);
	assert_string_equal(r->body, "nope");
	assert_string_equal(r->trailers, SUMS_READ);
	down(&b);
	(void)state;
}

/* What the target that failed said ends nobody else's answer. */
static void test_not_of_another_target(void **state)
{
	static const nghttp2_nv busy[] = {H2P_FIELD(":status", "503")};
	static struct both b;
	struct reply *r;
	struct h2p *s;

	up(&b, 1 << 20);
	r = ask(&b, te);
	s = called(&b, 0);
	h2p_trailers(s, 0, sums, SUMS);
	h2p_answer_n(s, 0, busy, 1, "busy", 4, true);
	s = called(&b, 1);
	h2p_answer(s, 0, "{}", true);
	AWAIT(&b, s, r->closed);
	assert_int_equal(r->status, 200);
	assert_string_equal(r->body, "{}");
	assert_string_equal(r->trailers, "");
	down(&b);
	(void)state;
}

/* The key in one: of a success that field is dropped, an error is withheld whole. */
static void test_quoted_key(void **state)
{
	static const nghttp2_nv quoting[] = {H2P_FIELD("grpc-status", "0"),
					     H2P_FIELD("grpc-message", "bad key " PLANE_KEY)};
	static const nghttp2_nv bad[] = {H2P_FIELD(":status", "400")};

	for (int error = 0; error < 2; error++) {
		static struct both b;
		struct reply *r;
		struct h2p *s;

		up(&b, 1 << 20);
		r = ask(&b, NULL);
		s = called(&b, 0);
		h2p_trailers(s, 0, quoting, 2);
		if (error)
			h2p_answer_n(s, 0, bad, 1, "bad", 3, true);
		else
			h2p_answer(s, 0, "{}", true);
		AWAIT(&b, s, r->closed);
		assert_int_equal(r->status, error ? 502 : 200);
		assert_string_equal(r->trailers, error ? "" : "grpc-status: 0\n");
		assert_null(strstr(r->head, "sk-real"));
		assert_null(strstr(r->body, "sk-real"));
		assert_true(plane_recorded(&b.plane, error ? "\"reason\":\"upstream_auth\""
							   : "\"reason\":\"ok\""));
		down(&b);
	}
	(void)state;
}

/* A reset where trailers were due is a reset, whatever came before. */
static void test_reset_before_them(void **state)
{
	for (int i = 0; i < 2; i++) {
		static struct both b;
		struct reply *r;
		struct h2p *s;

		up(&b, 1 << 20);
		r = ask(&b, te);
		s = called(&b, 0);
		h2p_answer(s, 0, "{\"a\": 1}", false);
		AWAIT(&b, s, r->n == 8);
		h2p_reset(s, 0, i ? NGHTTP2_NO_ERROR : NGHTTP2_INTERNAL_ERROR);
		AWAIT(&b, s, r->closed);
		assert_int_equal(r->error, NGHTTP2_INTERNAL_ERROR);
		assert_false(r->ended);
		assert_true(plane_recorded(&b.plane, "\"reason\":\"upstream_reset\""));
		down(&b);
	}
	(void)state;
}

/* A pod that reads little: they come after all of the body, and wait as it does. */
static void test_slow_pod(void **state)
{
	static char body[300 * 1024];
	static const nghttp2_nv ok[] = {H2P_FIELD(":status", "200")};
	static struct both b;
	struct reply *r;
	struct h2p *s;

	memset(body, 'b', sizeof(body));
	up(&b, 1000);
	r = ask(&b, te);
	s = called(&b, 0);
	h2p_trailers(s, 0, sums, SUMS);
	h2p_answer_n(s, 0, ok, 1, body, sizeof(body), true);
	AWAIT(&b, s, r->n == 1000);
	for (int i = 0; i < 20; i++) {
		h2p_poll(s);
		pod2_turn(&b.pod);
	}
	assert_int_equal(r->n, 1000);
	assert_string_equal(r->trailers, "");
	for (size_t given = 1000; given < sizeof(body); given += 50000) {
		assert_int_equal(
			nghttp2_session_consume(b.pod.client, r->id, EG_MIN(r->n, (size_t)1)), 0);
		assert_int_equal(nghttp2_submit_window_update(b.pod.client, 0, r->id, 50000), 0);
		assert_int_equal(nghttp2_submit_window_update(b.pod.client, 0, 0, 50000), 0);
		AWAIT(&b, s, r->n >= EG_MIN(given + 50000, sizeof(body)) - 1);
	}
	AWAIT(&b, s, r->closed);
	assert_int_equal(r->n, sizeof(body));
	assert_int_equal(r->error, NGHTTP2_NO_ERROR);
	assert_string_equal(r->trailers, SUMS_READ);
	down(&b);
	(void)state;
}

/* ---- one of them speaks HTTP/1.1 ---- */

#define CHUNKED                                                                     \
	"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked" \
	"\r\n\r\n5\r\nhello\r\n0\r\nGrpc-Status: 0\r\nSet-Cookie: a=b\r\nX-Sum: abc\r\n\r\n"

/* However it is cut. */
static void test_chunked_to_http2(void **state)
{
	static const char answer[] = CHUNKED;

	for (size_t cut = 0; cut < sizeof(answer) - 1; cut += cut ? 1 : 80) {
		static struct both b;
		struct inbox in;
		struct reply *r;

		up(&b, 1 << 20);
		plane_http2 = false;
		r = ask(&b, te);
		inbox_init(&in, plane_accept(&b.plane, b.plane.provider[0]));
		inbox_await(&b.plane, &in, BODY);
		assert_true(inbox_has(&in, "te: trailers\r\nconnection: te\r\n"));
		plane_send_n(&b.plane, in.fd, answer, cut);
		plane_turns(&b.plane, 3);
		plane_send_n(&b.plane, in.fd, answer + cut, sizeof(answer) - 1 - cut);
		POD2_AWAIT(&b.pod, r->closed);
		assert_int_equal(r->error, NGHTTP2_NO_ERROR);
		assert_string_equal(r->body, "hello");
		assert_string_equal(r->trailers, SUMS_READ);
		assert_int_equal(eg_upstream_idle(b.plane.upstream), 1);
		inbox_fini(&in);
		down(&b);
	}
	(void)state;
}

static void test_too_many_chunked(void **state)
{
	static struct both b;
	struct inbox in;
	struct reply *r;

	up(&b, 1 << 20);
	plane_http2 = false;
	r = ask(&b, NULL);
	inbox_init(&in, plane_accept(&b.plane, b.plane.provider[0]));
	inbox_await(&b.plane, &in, BODY);
	plane_send(&b.plane, in.fd,
		   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n");
	for (int i = 0; i < 129; i++)
		plane_send(&b.plane, in.fd, "a: 1\r\n");
	plane_send(&b.plane, in.fd, "\r\n");
	POD2_AWAIT(&b.pod, r->closed);
	assert_int_equal(r->error, NGHTTP2_INTERNAL_ERROR);
	assert_false(r->ended);
	assert_true(plane_recorded(&b.plane, "\"reason\":\"upstream_protocol\""));
	inbox_fini(&in);
	down(&b);
	(void)state;
}

/* A pod over HTTP/1.1 gets them if it said that it reads them. */
static void test_http1_pod(void **state)
{
	static const struct {
		const char *te; /* what it says */
		bool wants, http2, length;
	} cases[] = {
		{"TE: trailers\r\nConnection: TE\r\n", true, true, false},
		{"TE: gzip, Trailers\r\nConnection: TE\r\n", true, true, false},
		{"TE: trailers\r\n", true, false, false},
		{"TE: trailers\r\n", true, true, true},
		{"", false, true, false},
		{"TE: gzip\r\nConnection: TE\r\n", false, true, false},
		{"TE: trailers;q=0\r\n", false, true, false},
		{"", false, false, false},
	};
	static const nghttp2_nv ok[] = {H2P_FIELD(":status", "200"),
					H2P_FIELD("content-length", "5")};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct plane *p = calloc(1, sizeof(*p));
		struct pod pod;
		struct inbox in = {.fd = -1};
		struct h2p *s = calloc(1, sizeof(*s));
		char request[512];
		const char *end = cases[i].wants && !cases[i].length
					  ? "\r\nhello\r\n0\r\ngrpc-status: 0\r\nx-sum: abc\r\n\r\n"
				  : cases[i].length ? "\r\n\r\nhello"
						    : "\r\nhello\r\n0\r\n\r\n";

		print_message("case %zu\n", i);
		plane_http2 = cases[i].http2;
		plane_up(p, policy);
		pod_open(&pod, p, "api.openai.com");
		snprintf(request, sizeof(request),
			 "POST /v1/chat/completions HTTP/1.1\r\n" HEADERS JSON
			 "%sContent-Length: 32\r\n\r\n" BODY,
			 cases[i].te);
		pod_send(&pod, request);
		if (cases[i].http2) {
			h2p_init(s, plane_accept(p, p->provider[0]));
			h2p_await(p, s, 1);
			assert_int_equal(strstr(s->stream[0].head, "te: trailers\n") != NULL,
					 cases[i].wants);
			h2p_trailers(s, 0, sums, SUMS);
			h2p_answer_n(s, 0, ok, cases[i].length ? 2 : 1, "hello", 5, true);
			for (int t = 0; t < PLANE_TURNS && !inbox_has(&pod.in, end); t++) {
				h2p_turns(p, s, 1);
				inbox_poll(&pod.in);
			}
		} else {
			inbox_init(&in, plane_accept(p, p->provider[0]));
			inbox_await(p, &in, BODY);
			assert_int_equal(inbox_has(&in, "te: trailers\r\nconnection: te\r\n"),
					 cases[i].wants);
			plane_send(p, in.fd,
				   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello"
				   "\r\n0\r\ngrpc-status: 0\r\nHost: x\r\nx-sum: abc\r\n\r\n");
		}
		inbox_await(p, &pod.in, end);
		assert_int_equal(pod.in.n, memmem(pod.in.text, pod.in.n, end, strlen(end)) -
						   (void *)pod.in.text + (ssize_t)strlen(end));
		/* And the connection goes on. */
		inbox_forget(&pod.in);
		pod_send(&pod, "GET /nothing HTTP/1.1\r\n" HEADERS "\r\n");
		inbox_await(p, &pod.in, "unknown_operation");
		pod_close(&pod);
		if (s->session)
			h2p_fini(s);
		if (in.fd >= 0)
			inbox_fini(&in);
		plane_down(p);
		free(s);
		free(p);
	}
	(void)state;
}

/* HTTP/1.0 has no chunks, and so no place for them. */
static void test_http10_pod(void **state)
{
	struct plane *p = calloc(1, sizeof(*p));
	struct pod pod;
	struct inbox in;

	plane_http2 = false;
	plane_up(p, policy);
	pod_open(&pod, p, "api.openai.com");
	pod_send(&pod, "POST /v1/chat/completions HTTP/1.0\r\n" HEADERS JSON
		       "TE: trailers\r\nContent-Length: 32\r\n\r\n" BODY);
	inbox_init(&in, plane_accept(p, p->provider[0]));
	inbox_await(p, &in, BODY);
	assert_false(inbox_has(&in, "te: "));
	plane_send(p, in.fd, CHUNKED);
	inbox_await_end(p, &pod.in);
	assert_true(inbox_has(&pod.in, "\r\n\r\nhello"));
	assert_false(inbox_has(&pod.in, "x-sum")); /* "abc" may stand in a request's id */
	pod_close(&pod);
	inbox_fini(&in);
	plane_down(p);
	free(p);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_after_a_body),
		cmocka_unit_test(test_only_a_head),
		cmocka_unit_test(test_after_an_error),
		cmocka_unit_test(test_not_of_another_target),
		cmocka_unit_test(test_quoted_key),
		cmocka_unit_test(test_reset_before_them),
		cmocka_unit_test(test_slow_pod),
		cmocka_unit_test(test_chunked_to_http2),
		cmocka_unit_test(test_too_many_chunked),
		cmocka_unit_test(test_http1_pod),
		cmocka_unit_test(test_http10_pod),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
