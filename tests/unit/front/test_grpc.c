/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC: refused with a status of its own where it is judged, else passed on as HTTP/2 has it. */
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
	      "\"otherwise\": \"deny\"}]}";

#define METHOD	"/google.ai.generativelanguage.v1beta.GenerativeService/GenerateContent"
#define MESSAGE "\1\1\1\1\5hello"

struct world {
	struct plane plane;
	struct pod2 pod;
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
	plane_down(&w->plane);
}

/* As a gRPC client begins a call; `body` NULL: nothing follows. */
static struct reply *call(struct world *w, const char *authority, const char *path,
			  const char *type, const char *body, bool pause)
{
	nghttp2_data_provider data = {.read_callback = pod2_read};
	nghttp2_nv nv[] = {
		pod2_nv(":method", "POST"),
		pod2_nv(":scheme", w->pod.peer.server_name ? "https" : "http"),
		pod2_nv(":path", path),
		pod2_nv(":authority", authority),
		pod2_nv("te", "trailers"),
		pod2_nv("content-type", type),
		pod2_nv("grpc-timeout", "5S"),
	};
	struct reply *r = &w->pod.reply[w->pod.replies++];

	*r = (struct reply){0};
	w->pod.upload = body;
	w->pod.upload_n = body ? strlen(body) : 0;
	w->pod.upload_pause = pause;
	r->id = nghttp2_submit_request(w->pod.client, NULL, nv, EG_ARRAY_SIZE(nv),
				       body ? &data : NULL, NULL);
	assert_true(r->id > 0);
	pod2_client_turn(&w->pod);
	return r;
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
		r = call(&w, cases[i].authority, cases[i].path, cases[i].type, cases[i].body,
			 cases[i].pause);
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
		r = call(&w, cases[i].authority, METHOD, "application/grpc-web", NULL, false);
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
	r = call(&w, "api.openai.com", "/v1/chat/completions", "application/grpc", MESSAGE, false);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_message),
		cmocka_unit_test(test_not_over_http1),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
