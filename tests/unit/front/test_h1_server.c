/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 from a pod to a provider and back: framing, order, limits, denials. */
#include "pod.h"

#define BEARER "\"type\": \"bearer\""
#define POLICY(models, credential)                                                            \
	"{\"version\": \"egret/v1\", \"providers\": {" PLANE_PROVIDER(                        \
		"p0") "},"                                                                    \
		      "\"credentials\": {\"key\": {" credential ", \"file\": \"key\"}},"      \
		      "\"policies\": [{\"name\": \"shop\", \"mode\": \"enforce\", \"pods\": " \
		      "{\"namespaces\": [\"shop\"]},"                                         \
		      "\"routes\": [{\"name\": \"chat\", \"match\": {\"hosts\": "             \
		      "[\"api.openai.com\"], \"models\": [\"" models "\"]},"                  \
		      "\"targets\": [{\"provider\": \"p0\"}]}], \"otherwise\": \"deny\"}]}"
static const char policy[] = POLICY("gpt-4o*", BEARER), other_models[] = POLICY("o3*", BEARER);

struct world {
	struct plane plane;
	struct pod pod;
	struct inbox up;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	plane_up(&w->plane, policy);
	pod_open(&w->pod, &w->plane, "api.openai.com");
	w->up.fd = -1;
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	pod_close(&w->pod);
	if (w->up.text)
		inbox_fini(&w->up);
	plane_down(&w->plane);
	free(w);
	return 0;
}

static void accept_upstream(struct world *w)
{
	inbox_init(&w->up, plane_accept(&w->plane, w->plane.provider[0]));
}

static void answer(struct world *w, const char *text)
{
	plane_send(&w->plane, w->up.fd, text);
}

static void test_request_and_answer(void **state)
{
	struct world *w = *state;

	pod_send(&w->pod, ASK);
	accept_upstream(w);
	inbox_await(&w->plane, &w->up, BODY);
	assert_true(inbox_has(&w->up, "POST /v1/chat/completions HTTP/1.1\r\n"));
	assert_true(inbox_has(&w->up, "Authorization: Bearer " PLANE_KEY "\r\n"));
	assert_true(inbox_has(&w->up, "accept-encoding: identity\r\n"));
	assert_true(inbox_has(&w->up, "x-egret-via: test-tag\r\n"));
	assert_true(inbox_has(&w->up, "content-length: 32\r\n"));
	assert_false(inbox_has(&w->up, "placeholder"));
	answer(w, OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "{}");
	assert_true(inbox_has(&w->pod.in, "HTTP/1.1 200 OK\r\n"));
	assert_true(inbox_has(&w->pod.in, "content-length: 2\r\n"));
	assert_true(inbox_has(&w->pod.in, "x-egret-request-id: "));
	plane_turns(&w->plane, 3);
	assert_int_equal(plane_record_count(&w->plane), 1);
	assert_true(plane_recorded(&w->plane, "\"reason\":\"ok\""));
}

/* A header that a client may send, and that policy names for the credential: there is one, ours. */
static void test_credential_under_a_common_name(void **state)
{
#define UNDER(name)                                                                               \
	{                                                                                         \
		name, POLICY("gpt-4o*", "\"type\": \"header\", \"header\": \"" name "\""),        \
			POST(32, name ": of-the-pod\r\nX" name ": y\r\n" name ": of-the-pod\r\n") \
				BODY                                                              \
	}
	static const struct {
		const char *name, *policy, *request;
	} cases[] = {UNDER("x-client-request-id"), UNDER("accept-language"),
		     UNDER("x-stainless-key")};
	struct world *w = *state;

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		char ours[128];

		plane_publish(&w->plane, cases[i].policy, true);
		pod_send(&w->pod, cases[i].request);
		if (!i)
			accept_upstream(w);
		inbox_await(&w->plane, &w->up, BODY);
		snprintf(ours, sizeof(ours), "%s: " PLANE_KEY "\r\n", cases[i].name);
		assert_true(inbox_has(&w->up, ours));
		assert_false(inbox_has(&w->up, "of-the-pod"));
		inbox_forget(&w->up);
		answer(w, OK(2, "{}"));
		inbox_await(&w->plane, &w->pod.in, "{}");
		inbox_forget(&w->pod.in);
	}
}

/* Both sides, one byte at a time: the same bytes come out. */
static void test_byte_at_a_time(void **state)
{
	struct world *w = *state;

	plane_trickle(&w->plane, w->pod.in.fd, ASK);
	accept_upstream(w);
	inbox_await(&w->plane, &w->up, BODY);
	plane_trickle(&w->plane, w->up.fd,
		      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: "
		      "application/json\r\n\r\n"
		      "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nX-Trailer: 1\r\n\r\n");
	inbox_await(&w->plane, &w->pod.in, "0\r\n\r\n");
	assert_true(inbox_has(&w->pod.in, "transfer-encoding: chunked\r\n"));
	assert_false(inbox_has(&w->pod.in, "X-Trailer"));
	assert_false(inbox_has(&w->pod.in, "x=y"));
}

static void test_keep_alive_reuses_both_connections(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 5; i++) {
		pod_send(&w->pod, ASK);
		if (!i)
			accept_upstream(w);
		inbox_await(&w->plane, &w->up, BODY);
		inbox_forget(&w->up);
		answer(w, OK(2, "{}"));
		inbox_await(&w->plane, &w->pod.in, "{}");
		inbox_forget(&w->pod.in);
	}
	assert_true(plane_nobody(&w->plane, w->plane.provider[0]));
	assert_int_equal(eg_upstream_idle(w->plane.upstream), 1);
	assert_int_equal(plane_record_count(&w->plane), 5);
	assert_true(plane_recorded(&w->plane, "\"upstream_reused\":true"));
}

/* Three requests in one packet: answered in order, the next is sent on only after the former. */
static void test_pipelining(void **state)
{
	struct world *w = *state;

	pod_send(&w->pod, ASK ASK ASK);
	accept_upstream(w);
	for (int i = 0; i < 3; i++) {
		char body[16];

		inbox_await(&w->plane, &w->up, BODY);
		plane_turns(&w->plane, 5);
		inbox_poll(&w->up);
		assert_int_equal(w->up.n, strstr(w->up.text, BODY) + 32 - w->up.text);
		inbox_forget(&w->up);
		snprintf(body, sizeof(body), "{\"n\":%d}", i);
		answer(w, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n");
		answer(w, body);
		inbox_await(&w->plane, &w->pod.in, body);
	}
	assert_true(strstr(w->pod.in.text, "{\"n\":0}") < strstr(w->pod.in.text, "{\"n\":1}"));
	assert_true(strstr(w->pod.in.text, "{\"n\":1}") < strstr(w->pod.in.text, "{\"n\":2}"));
}

/* Hundreds of small ones that need nobody else are no work of one turn: others have theirs. */
static void test_pipelining_takes_turns(void **state)
{
#define SMALL "GET /x HTTP/1.1\r\n" HEADERS "\r\n"
	static const char ten[] = SMALL SMALL SMALL SMALL SMALL SMALL SMALL SMALL SMALL SMALL;
	struct world *w = *state;
	size_t most = 0;

	for (int i = 0; i < 10; i++)
		pod_send(&w->pod, ten);
	for (int i = 0; i < PLANE_TURNS && plane_record_count(&w->plane) < 100; i++) {
		size_t before = plane_record_count(&w->plane);

		plane_turns(&w->plane, 1);
		most = EG_MAX(most, plane_record_count(&w->plane) - before);
	}
	assert_int_equal(plane_record_count(&w->plane), 100);
	assert_in_range(most, 1, 2);
	inbox_await_bytes(&w->plane, &w->pod.in, 100 * strlen("HTTP/1.1 404 "));
}

static void test_expect_continue(void **state)
{
	struct world *w = *state;

	pod_send(&w->pod, POST(32, "Expect: 100-continue\r\n"));
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 100 Continue\r\n\r\n");
	assert_true(plane_nobody(&w->plane, w->plane.provider[0]));
	pod_send(&w->pod, BODY);
	accept_upstream(w);
	inbox_await(&w->plane, &w->up, BODY);
	assert_false(inbox_has(&w->up, "xpect"));
	answer(w, OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "{}");
}

/* Decided on the head: no 100, and the connection ends, since the body may or may not come. */
static void test_expect_continue_denied(void **state)
{
	struct world *w = *state;

	pod_send(&w->pod, "POST /v1/files HTTP/1.1\r\n" HEADERS
			  "Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n");
	inbox_await_end(&w->plane, &w->pod.in);
	assert_false(inbox_has(&w->pod.in, "100 Continue"));
	assert_true(inbox_has(&w->pod.in, "HTTP/1.1 403 "));
	assert_true(inbox_has(&w->pod.in, "connection: close\r\n"));
	assert_false(w->pod.in.reset);
}

static void test_chunked_request(void **state)
{
	struct world *w = *state;

	plane_trickle(&w->plane, w->pod.in.fd,
		      "POST /v1/chat/completions HTTP/1.1\r\n" HEADERS JSON
		      "Transfer-Encoding: chunked\r\n\r\n"
		      "10\r\n{\"model\":\"gpt-4o\r\n10\r\n\",\"messages\":[]}\r\n0\r\n\r\n");
	accept_upstream(w);
	inbox_await(&w->plane, &w->up, BODY);
	assert_true(inbox_has(&w->up, "content-length: 32\r\n"));
	assert_false(inbox_has(&w->up, "chunked"));
	answer(w, OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "{}");
}

/* Half of what the tags of agents may be, and a little. */
#define TEN "0123456789"
#define TAGS                                                                                    \
	TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN \
		TEN TEN TEN TEN

/* What each denial looks like, and whether the connection can go on. */
static void test_denials(void **state)
{
	static const struct {
		const char *request, *status, *reason;
		bool closes;
	} cases[] = {
		{"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", "421", "host_mismatch", false},
		{"GET https://evil.example/ HTTP/1.1\r\n" HEADERS "\r\n", "400", "bad_request",
		 true},
		{"GET http://api.openai.com/ HTTP/1.1\r\n" HEADERS "\r\n", "400", "bad_request",
		 true},
		{"GET /v1/../admin HTTP/1.1\r\n" HEADERS "\r\n", "400", "path_unsafe", false},
		{"GET /nothing HTTP/1.1\r\n" HEADERS "\r\n", "403", "unknown_operation", false},
		{"GET /v1/files HTTP/1.1\r\n" HEADERS "\r\n", "403", "stateful_denied", false},
		{"POST /v1/realtime/client_secrets HTTP/1.1\r\n" HEADERS JSON
		 "Content-Length: 2\r\n\r\n{}",
		 "403", "credential_minting", false},
		{"POST /v1/chat/completions HTTP/1.1\r\n" HEADERS JSON "Content-Length: 15\r\n\r\n"
		 "{\"model\":\"o99\"}",
		 "403", "model_denied", false},
		{"POST /v1/chat/completions HTTP/1.1\r\n" HEADERS JSON
		 "Content-Length: 2\r\n\r\n{}",
		 "400", "no_model", false},
		{"POST /v1/chat/completions HTTP/1.1\r\n" HEADERS JSON
		 "Content-Length: 5\r\n\r\n{\"a\":",
		 "400", "bad_body", false},
		{"POST /v1/chat/completions HTTP/1.1\r\n" HEADERS JSON "Content-Length: 30\r\n\r\n"
		 "{\"model\":\"a\",\"mod\\u0065l\":\"b\"}",
		 "400", "bad_body", false},
		{"POST /v1/chat/completions HTTP/1.1\r\n" HEADERS "Content-Type: text/plain\r\n"
		 "Content-Length: 2\r\n\r\n{}",
		 "400", "bad_body", false},
		{"POST /v1/chat/completions HTTP/1.1\r\n" HEADERS JSON "Content-Encoding: gzip\r\n"
		 "Content-Length: 2\r\n\r\n{}",
		 "400", "bad_body", false},
		{"GET /v1/models HTTP/1.1\r\n" HEADERS "x-egret-via: a, test-tag\r\n\r\n", "508",
		 "loop", false},
		{"GET /v1/models HTTP/1.1\r\n" HEADERS "x-egret-via: test-tag\r\n"
		 "Connection: x-egret-via\r\n\r\n",
		 "508", "loop", false},
		{"GET /v1/models HTTP/1.1\r\n" HEADERS "x-egret-via: " TAGS "\r\nx-egret-via: " TAGS
		 "\r\n\r\n",
		 "508", "loop", false},
		{"GET /v1/models HTTP/1.1\r\n" HEADERS "Expect: tea\r\n\r\n", "417", "expectation",
		 false},
		{"GET /v1/models HTTP/1.1\r\n" HEADERS
		 "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n",
		 "400", "bad_request", true},
		/* smuggling */
		{"POST / HTTP/1.1\r\n" HEADERS
		 "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
		 "400", "request_smuggling", true},
		{"POST / HTTP/1.1\r\n" HEADERS "Content-Length: 5\r\nContent-Length: 5\r\n\r\n",
		 "400", "request_smuggling", true},
		{"POST / HTTP/1.1\r\n" HEADERS "Transfer-Encoding: gzip, chunked\r\n\r\n", "400",
		 "request_smuggling", true},
		{"GET / HTTP/1.1\r\nHost: api.openai.com\r\nHost: evil\r\n\r\n", "400", NULL, true},
		{"GET / HTTP/1.1\r\n\r\n", "400", NULL, true},
		{"GET / HTTP/1.1\nHost: api.openai.com\n\n", "400", NULL, true},
		{"GET / HTTP/1.1\r\n" HEADERS "X : y\r\n\r\n", "400", NULL, true},
		{"PRI * HTTP/2.0\r\n\r\n", "505", "http_version", true},
		{"\x16\x03\x01", NULL, NULL, true},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct plane plane;
		struct pod pod;
		char expected[128];

		if (!cases[i].status)
			continue;
		plane_up(&plane, policy);
		pod_open(&pod, &plane, "api.openai.com");
		print_message("case %zu\n", i);
		pod_send(&pod, cases[i].request);
		inbox_await(&plane, &pod.in, "\r\n\r\n");
		snprintf(expected, sizeof(expected), "HTTP/1.1 %s ", cases[i].status);
		if (!inbox_has(&pod.in, expected))
			fail_msg("case %zu: expected %s, got %s", i, expected, pod.in.text);
		if (cases[i].reason) {
			snprintf(expected, sizeof(expected), "x-egret-reason: %s\r\n",
				 cases[i].reason);
			if (!inbox_has(&pod.in, expected))
				fail_msg("case %zu: expected %s, got %s", i, expected, pod.in.text);
		}
		if (!inbox_has(&pod.in, "x-should-retry: false\r\n") ||
		    !inbox_has(&pod.in, "x-egret-request-id: "))
			fail_msg("case %zu: headers are missing in %s", i, pod.in.text);
		inbox_await(&plane, &pod.in, "\"error\"");
		if (cases[i].closes) {
			inbox_await_end(&plane, &pod.in);
			assert_false(pod.in.reset);
		} else {
			inbox_forget(&pod.in);
			pod_send(&pod, "GET /nothing HTTP/1.1\r\n" HEADERS "\r\n");
			inbox_await(&plane, &pod.in, "unknown_operation");
		}
		assert_int_equal(plane_record_count(&plane), cases[i].closes ? 1 : 2);
		if (!strcmp(cases[i].status, "400") && cases[i].closes &&
		    !plane_recorded(&plane, "\"detail\":\""))
			fail_msg("case %zu: the record does not say what is wrong", i);
		pod_close(&pod);
		plane_down(&plane);
	}
	(void)state;
}

/* Nothing that carries a credential or an override gets to the provider. */
static void test_header_stripping(void **state)
{
	static const char *const secret[] = {"leak1",	"leak2",  "leak3",  "leak4",	  "leak5",
					     "leak6",	"leak7",  "leak8",  "leak9",	  "org-x",
					     "1.2.3.4", "DELETE", "x-goog", "openai-org", "sig="};
	struct world *w = *state;

	pod_send(&w->pod,
		 "POST "
		 "/v1/chat/"
		 "completions?key=leak1&limit=1&%61pi_key=leak2&ACCESS_TOKEN=leak3&order=asc"
		 "&x-goog-user-project=leak10&openai-organization=leak11&sig=leak12 "
		 "HTTP/1.1\r\n"
		 "Host: api.openai.com\r\n"
		 "Authorization: Bearer leak4\r\nAUTHORIZATION: Bearer leak5\r\n"
		 "Cookie: a=leak6\r\nX-Api-Key: leak7\r\nApi-Key: leak8\r\n"
		 "Proxy-Authorization: Basic leak9\r\nOpenAI-Organization: org-x\r\n"
		 "X-Forwarded-For: 1.2.3.4\r\nX-HTTP-Method-Override: DELETE\r\n"
		 "Connection: authorization, x-named, keep-alive\r\nX-Named: gone\r\n"
		 "TE: gzip, trailers\r\n"
		 "User-Agent: test\r\n" JSON "Content-Length: 32\r\n\r\n" BODY);
	accept_upstream(w);
	inbox_await(&w->plane, &w->up, BODY);
	for (size_t i = 0; i < EG_ARRAY_SIZE(secret); i++)
		if (inbox_has(&w->up, secret[i]))
			fail_msg("%s came through: %s", secret[i], w->up.text);
	assert_true(inbox_has(&w->up, "POST /v1/chat/completions?limit=1&order=asc HTTP/1.1\r\n"));
	/* Connection: authorization took the client's away, never ours. */
	assert_true(inbox_has(&w->up, "Authorization: Bearer " PLANE_KEY "\r\n"));
	assert_false(inbox_has(&w->up, "gone"));
	assert_true(inbox_has(&w->up, "te: trailers\r\nconnection: te\r\n"));
	assert_false(inbox_has(&w->up, "TE: "));
	assert_false(inbox_has(&w->up, "te: gzip"));
	assert_true(inbox_has(&w->up, "User-Agent: test\r\n"));
}

/* A key that nobody defined is neither passed on nor dropped without a word. */
static void test_unknown_query(void **state)
{
	struct world *w = *state;

	pod_send(&w->pod, "POST /v1/chat/completions?limit=1&x=1 HTTP/1.1\r\n" HEADERS JSON
			  "Content-Length: 32\r\n\r\n" BODY);
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 400 ");
	inbox_await(&w->plane, &w->pod.in, "egret_unknown_query");
	assert_true(inbox_has(&w->pod.in, "x-should-retry: false\r\n"));
	assert_true(plane_nobody(&w->plane, w->plane.provider[0]));
}

static void test_response_headers(void **state)
{
	struct world *w = *state;

	pod_send(&w->pod, ASK);
	accept_upstream(w);
	inbox_await(&w->plane, &w->up, BODY);
	answer(w,
	       "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
	       "HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nAlt-Svc: h3\r\nOpenAI-Organization: org\r\n"
	       "X-Egret-Reason: forged\r\nKeep-Alive: 5\r\nConnection: keep-alive, x-hop\r\nX-Hop: "
	       "1\r\n"
	       "x-request-id: r1\r\nContent-Length: 2\r\n\r\n{}");
	inbox_await(&w->plane, &w->pod.in, "{}");
	assert_true(inbox_has(&w->pod.in, "x-request-id: r1\r\n"));
	assert_false(inbox_has(&w->pod.in, "Cookie"));
	assert_false(inbox_has(&w->pod.in, "Alt-Svc"));
	assert_false(inbox_has(&w->pod.in, "org\r"));
	assert_false(inbox_has(&w->pod.in, "forged"));
	assert_false(inbox_has(&w->pod.in, "X-Hop"));
	assert_false(inbox_has(&w->pod.in, "HTTP/1.1 103"));
}

/* The connection to a provider is the request's: over the pod's limit it is refused in dialect, and
 * charged only as long as it is needed. */
static void test_descriptors_are_charged_by_request(void **state)
{
	struct world *w = *state;

	w->plane.engine.limits.pod_descriptors = 0;
	pod_send(&w->pod, ASK);
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 503 ");
	inbox_await(&w->plane, &w->pod.in, "x-egret-reason: pod_budget\r\n");
	inbox_await(&w->plane, &w->pod.in, "\"error\"");
	inbox_forget(&w->pod.in);
	w->plane.engine.limits.pod_descriptors = 1;
	pod_send(&w->pod, ASK);
	accept_upstream(w);
	inbox_await(&w->plane, &w->up, BODY);
	assert_int_equal(w->plane.budgets.node.descriptors, 1);
	answer(w, OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "{}");
	assert_int_equal(w->plane.budgets.node.descriptors, 0);
	assert_true(plane_recorded(&w->plane, "\"protocol\":\"HTTP/1.1\""));
}

static void test_http10_client(void **state)
{
	struct world *w = *state;

	pod_send(&w->pod, "POST /v1/chat/completions HTTP/1.0\r\n" HEADERS JSON
			  "Content-Length: 32\r\n\r\n" BODY);
	accept_upstream(w);
	inbox_await(&w->plane, &w->up, BODY);
	answer(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
	inbox_await_end(&w->plane, &w->pod.in);
	assert_false(w->pod.in.reset);
	assert_false(inbox_has(&w->pod.in, "chunked"));
	assert_true(inbox_has(&w->pod.in, "\r\n\r\nhello"));
	assert_false(inbox_has(&w->pod.in, "\r\n5\r\n"));
}

static void test_close_delimited_answer(void **state)
{
	struct world *w = *state;

	pod_send(&w->pod, ASK);
	accept_upstream(w);
	inbox_await(&w->plane, &w->up, BODY);
	answer(w, "HTTP/1.1 200 OK\r\n\r\nall of it");
	shutdown(w->up.fd, SHUT_WR);
	inbox_await(&w->plane, &w->pod.in, "0\r\n\r\n");
	assert_true(inbox_has(&w->pod.in, "all of it"));
	assert_int_equal(eg_upstream_idle(w->plane.upstream), 0);
}

/* Cut mid-body: a reset, never an end in order; the record says why. */
static void test_provider_cuts_body(void **state)
{
	struct world *w = *state;

	pod_send(&w->pod, ASK);
	accept_upstream(w);
	inbox_await(&w->plane, &w->up, BODY);
	answer(w, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npartly");
	inbox_await(&w->plane, &w->pod.in, "partly");
	close(w->up.fd);
	w->up.fd = dup(0);
	inbox_await_end(&w->plane, &w->pod.in);
	assert_true(w->pod.in.reset);
	assert_true(plane_recorded(&w->plane, "\"reason\":\"upstream_reset\""));
}

/* A stream that breaks between events: the dialect's error event, then a reset. */
static void test_provider_cuts_stream(void **state)
{
	struct world *w = *state;

	pod_send(&w->pod, ASK);
	accept_upstream(w);
	inbox_await(&w->plane, &w->up, BODY);
	answer(w, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: "
		  "chunked\r\n\r\n"
		  "b\r\ndata: {}\n\n\n\r\n");
	inbox_await(&w->plane, &w->pod.in, "data: {}");
	close_reset(w->up.fd);
	w->up.fd = dup(0);
	inbox_await_end(&w->plane, &w->pod.in);
	assert_true(w->pod.in.reset);
	assert_true(inbox_has(&w->pod.in, "event: error"));
	assert_false(inbox_has(&w->pod.in, "\r\n0\r\n\r\n"));
}

/* What was given before a cut arrives, however slowly the client reads: a reset that went at once
 * would take away what its kernel has not got yet. */
static void test_cut_waits_for_what_was_given(void **state)
{
	enum { BYTES = 200000 };
	struct world *w = *state;
	char *block = malloc(BYTES), size[32];

	memset(block, 'd', BYTES);
	pod_send(&w->pod, ASK);
	accept_upstream(w);
	inbox_await(&w->plane, &w->up, BODY);
	answer(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	snprintf(size, sizeof(size), "%x\r\n", BYTES + 1);
	answer(w, size);
	plane_send_n(&w->plane, w->up.fd, block, BYTES);
	close(w->up.fd); /* in order, inside a chunk */
	w->up.fd = dup(0);
	plane_turns(&w->plane, 50);
	inbox_await_end(&w->plane, &w->pod.in);
	assert_true(w->pod.in.reset);
	if (w->pod.in.n <= BYTES)
		fail_msg("%zu of %d bytes came", w->pod.in.n, BYTES);
	free(block);
}

static void test_provider_cuts_head(void **state)
{
	struct world *w = *state;

	pod_send(&w->pod, ASK);
	accept_upstream(w);
	inbox_await(&w->plane, &w->up, BODY);
	answer(w, "HTTP/1.1 200 O");
	close(w->up.fd);
	w->up.fd = dup(0);
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 502 ");
	assert_true(inbox_has(&w->pod.in, "x-egret-reason: upstream_reset\r\n"));
}

static void test_bad_answers(void **state)
{
	static const char *const bad[] = {
		"garbage\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
		"HTTP/2 200\r\n\r\n",
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++) {
		struct plane plane;
		struct pod pod;
		struct inbox up;

		plane_up(&plane, policy);
		pod_open(&pod, &plane, "api.openai.com");
		pod_send(&pod, ASK);
		inbox_init(&up, plane_accept(&plane, plane.provider[0]));
		inbox_await(&plane, &up, BODY);
		plane_send(&plane, up.fd, bad[i]);
		inbox_await(&plane, &pod.in, "HTTP/1.1 502 ");
		assert_true(inbox_has(&pod.in, "x-egret-reason: upstream_protocol\r\n"));
		assert_int_equal(eg_upstream_idle(plane.upstream), 0);
		inbox_fini(&up);
		pod_close(&pod);
		plane_down(&plane);
	}
	(void)state;
}

/* Bytes after an answer are another's: the connection is not used again. */
static void test_bytes_after_answer(void **state)
{
	struct world *w = *state;

	pod_send(&w->pod, ASK);
	accept_upstream(w);
	inbox_await(&w->plane, &w->up, BODY);
	answer(w, OK(2, "{}") "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen");
	inbox_await(&w->plane, &w->pod.in, "{}");
	plane_turns(&w->plane, 5);
	assert_int_equal(eg_upstream_idle(w->plane.upstream), 0);
	inbox_poll(&w->pod.in);
	assert_false(inbox_has(&w->pod.in, "stolen"));
}

static void test_client_aborts(void **state)
{
	struct world *w = *state;
	struct eg_buf metrics;
	const char *line;

	pod_send(&w->pod, ASK);
	accept_upstream(w);
	inbox_await(&w->plane, &w->up, BODY);
	answer(w, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npartly");
	inbox_await(&w->plane, &w->pod.in, "partly");
	close_reset(w->pod.in.fd);
	w->pod.in.fd = dup(0);
	inbox_await_end(&w->plane, &w->up); /* the provider is not left talking to nobody */
	assert_true(plane_recorded(&w->plane, "\"reason\":\"client_closed\""));
	/* The provider did its work: the attempt is on record, and counted. */
	assert_true(plane_recorded(&w->plane,
				   "\"attempts\":[{\"provider\":\"p0\",\"region\":\"cluster\","
				   "\"reason\":\"client_closed\",\"status\":200,"));
	eg_buf_init(&metrics, 1 << 20);
	assert_int_equal(eg_telemetry_render(&w->plane.telemetry, 1, &metrics), 0);
	assert_int_equal(eg_buf_append(&metrics, "", 1), 0);
	line = strstr(eg_buf_data(&metrics), "\negret_upstream_attempts_total{");
	assert_non_null(line);
	assert_non_null(strstr(line, "reason=\"client_closed\",code=\"200\"} 1\n"));
	eg_buf_fini(&metrics);
	assert_int_equal(plane_record_count(&w->plane), 1);
	assert_int_equal(w->plane.engine.active, 0);
}

/* A client that does not read: no more than the buffers is read from the provider. */
static void test_slow_reader(void **state)
{
	struct world *w = *state;
	static char block[65536];
	size_t sent = 0, stalls = 0;

	memset(block, 'x', sizeof(block));
	pod_send(&w->pod, ASK);
	accept_upstream(w);
	inbox_await(&w->plane, &w->up, BODY);
	answer(w, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
	while (stalls < 200) {
		ssize_t n = send(w->up.fd, block, sizeof(block), MSG_NOSIGNAL);

		if (n > 0) {
			sent += (size_t)n;
			stalls = 0;
		} else {
			stalls++;
		}
		plane_turns(&w->plane, 1);
	}
	/* Ours: at most the pool's buffer, the stream's and h1_server's; the rest is the kernel's.
	 */
	assert_true(w->pod.server.out.size <= 4 * EG_UPSTREAM_READ_BYTES);
	assert_true(sent < 64u << 20);
	/* It goes on where it stopped. */
	inbox_await_bytes(&w->plane, &w->pod.in, 64u << 10);
}

static void test_large_answer_intact(void **state)
{
	struct world *w = *state;
	size_t total = 3u << 20, at;
	char *body = malloc(total + 1), head[128];
	ssize_t n = 0;

	for (size_t i = 0; i < total; i++)
		body[i] = (char)('a' + i * 7 % 26);
	pod_send(&w->pod, ASK);
	accept_upstream(w);
	inbox_await(&w->plane, &w->up, BODY);
	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", total);
	answer(w, head);
	for (at = 0; at < total;) {
		n = send(w->up.fd, body + at, EG_MIN(total - at, (size_t)50000), MSG_NOSIGNAL);
		if (n > 0)
			at += (size_t)n;
		plane_turns(&w->plane, 1);
		inbox_poll(&w->pod.in);
	}
	inbox_await(&w->plane, &w->pod.in, "\r\n\r\n");
	at = (size_t)(strstr(w->pod.in.text, "\r\n\r\n") + 4 - w->pod.in.text);
	inbox_await_bytes(&w->plane, &w->pod.in, at + total);
	assert_memory_equal(w->pod.in.text + at, body, total);
	assert_int_equal(w->pod.in.n, at + total);
	free(body);
}

/* A body that is refused for its size: the answer arrives, the connection ends in order. */
static void test_body_too_large(void **state)
{
	struct world *w = *state;
	char head[512];

	w->plane.engine.limits.request_body_bytes = 1000;
	snprintf(head, sizeof(head),
		 "POST /v1/chat/completions HTTP/1.1\r\n" HEADERS JSON "Content-Length: %d\r\n\r\n",
		 10 << 20);
	pod_send(&w->pod, head);
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 413 ");
	assert_true(inbox_has(&w->pod.in, "body_too_large"));
	inbox_await_end(&w->plane, &w->pod.in);
	assert_false(w->pod.in.reset);
}

static void test_chunked_body_too_large(void **state)
{
	struct world *w = *state;

	w->plane.engine.limits.request_body_bytes = 16;
	pod_send(&w->pod, "POST /v1/chat/completions HTTP/1.1\r\n" HEADERS JSON
			  "Transfer-Encoding: chunked\r\n\r\n20\r\n" BODY "\r\n0\r\n\r\n");
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 413 ");
	inbox_await_end(&w->plane, &w->pod.in);
}

static void test_huge_head(void **state)
{
	struct world *w = *state;
	static char fill[8192];

	memset(fill, 'a', sizeof(fill) - 1);
	pod_send(&w->pod, "GET / HTTP/1.1\r\n" HEADERS "X-Fill: ");
	for (int i = 0; i < 20 && !w->pod.over; i++) {
		(void)!send(w->pod.in.fd, fill, sizeof(fill) - 1, MSG_NOSIGNAL);
		plane_turns(&w->plane, 2);
	}
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 431 ");
	assert_true(w->pod.server.in.size <= 256 * 1024);
}

static void test_head_request(void **state)
{
	struct world *w = *state;

	pod_send(&w->pod, "HEAD /nothing HTTP/1.1\r\n" HEADERS "\r\n");
	inbox_await(&w->plane, &w->pod.in, "\r\n\r\n");
	plane_turns(&w->plane, 3);
	inbox_poll(&w->pod.in);
	assert_true(inbox_has(&w->pod.in, "content-length: "));
	assert_string_equal(strstr(w->pod.in.text, "\r\n\r\n"), "\r\n\r\n");
}

static void test_malformed_chunk_mid_body(void **state)
{
	struct world *w = *state;

	pod_send(&w->pod, "POST /v1/chat/completions HTTP/1.1\r\n" HEADERS JSON
			  "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\nzz\r\n");
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 400 ");
	assert_true(inbox_has(&w->pod.in, "request_smuggling"));
	inbox_await_end(&w->plane, &w->pod.in);
}

/* The pod's policy is looked up for each request, by the socket's address. */
static void test_policy_change_on_connection(void **state)
{
	struct world *w = *state;

	pod_send(&w->pod, ASK);
	accept_upstream(w);
	inbox_await(&w->plane, &w->up, BODY);
	plane_publish(&w->plane, other_models, true); /* in flight: goes on by what it began with */
	answer(w, OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "{}");
	inbox_forget(&w->pod.in);
	pod_send(&w->pod, ASK);
	inbox_await(&w->plane, &w->pod.in, "model_denied");
}

static void test_pod_replaced_on_connection(void **state)
{
	struct world *w = *state;

	w->pod.peer.pod_uid = "uid-of-another";
	pod_send(&w->pod, ASK);
	inbox_await_end(&w->plane, &w->pod.in);
	assert_true(inbox_has(&w->pod.in, "policy_changed"));
	assert_true(inbox_has(&w->pod.in, "connection: close\r\n"));
}

static void test_missing_credential(void **state)
{
	struct world *w = *state;

	plane_publish(&w->plane, policy, false);
	pod_send(&w->pod, ASK);
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 503 ");
	assert_true(inbox_has(&w->pod.in, "no_credential"));
	assert_true(plane_nobody(&w->plane, w->plane.provider[0]));
}

static void test_not_ready(void **state)
{
	struct plane plane;
	struct pod pod;

	plane_up(&plane, NULL);
	pod_open(&pod, &plane, "api.openai.com");
	pod_send(&pod, ASK);
	inbox_await(&plane, &pod.in, "HTTP/1.1 503 ");
	assert_true(inbox_has(&pod.in, "not_ready"));
	assert_false(inbox_has(&pod.in, "x-should-retry"));
	pod_close(&pod);
	plane_down(&plane);
	(void)state;
}

/* The provider's 401 is about Egret's key: its words stay here. */
static void test_provider_refuses_key(void **state)
{
	struct world *w = *state;

	pod_send(&w->pod, ASK);
	accept_upstream(w);
	inbox_await(&w->plane, &w->up, BODY);
	answer(w, "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: "
		  "44\r\n\r\n"
		  "{\"error\":{\"message\":\"Incorrect key "
		  "sk-real\"}}");
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 502 ");
	inbox_await(&w->plane, &w->pod.in, "upstream_auth");
	assert_false(inbox_has(&w->pod.in, "sk-real"));
}

static void test_secret_nowhere_else(void **state)
{
	struct world *w = *state;
	char *records;

	pod_send(&w->pod, ASK);
	accept_upstream(w);
	inbox_await(&w->plane, &w->up, BODY);
	answer(w, OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "{}");
	records = plane_records(&w->plane);
	assert_null(strstr(records, PLANE_KEY));
	assert_null(strstr(w->pod.in.text, PLANE_KEY));
	free(records);
}

static void test_draining(void **state)
{
	struct world *w = *state;

	pod_send(&w->pod, ASK);
	accept_upstream(w);
	inbox_await(&w->plane, &w->up, BODY);
	w->plane.engine.draining = true;
	answer(w, OK(2, "{}"));
	inbox_await_end(&w->plane, &w->pod.in);
	assert_false(w->pod.in.reset);
	assert_true(inbox_has(&w->pod.in, "connection: close\r\n"));
	assert_true(inbox_has(&w->pod.in, "{}"));
}

/* A request that was read before the drain began is answered, also behind another. */
static void test_draining_pipelined(void **state)
{
	struct world *w = *state;

	pod_send(&w->pod, ASK ASK);
	accept_upstream(w);
	inbox_await(&w->plane, &w->up, BODY);
	inbox_forget(&w->up);
	w->plane.engine.draining = true;
	answer(w, OK(7, "{\"a\":1}"));
	inbox_await(&w->plane, &w->pod.in, "{\"a\":1}");
	assert_false(inbox_has(&w->pod.in, "connection: close\r\n"));
	inbox_await(&w->plane, &w->up, BODY);
	answer(w, OK(7, "{\"b\":2}"));
	inbox_await_end(&w->plane, &w->pod.in);
	assert_false(w->pod.in.reset);
	assert_true(inbox_has(&w->pod.in, "connection: close\r\n"));
	assert_true(inbox_has(&w->pod.in, "{\"b\":2}"));
}

/* Two are held behind an answer whose head went before the drain began. */
static void test_draining_pipelined_behind_a_head(void **state)
{
	struct world *w = *state;

	pod_send(&w->pod, ASK ASK ASK);
	accept_upstream(w);
	inbox_await(&w->plane, &w->up, BODY);
	inbox_forget(&w->up);
	answer(w, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
		  "Content-Length: 7\r\n\r\n{\"a\":");
	inbox_await(&w->plane, &w->pod.in, "{\"a\":");
	w->plane.engine.draining = true;
	answer(w, "1}");
	inbox_await(&w->plane, &w->up, BODY);
	inbox_forget(&w->up);
	answer(w, OK(7, "{\"b\":2}"));
	inbox_await(&w->plane, &w->pod.in, "{\"b\":2}");
	assert_false(inbox_has(&w->pod.in, "connection: close\r\n"));
	inbox_await(&w->plane, &w->up, BODY);
	answer(w, OK(7, "{\"c\":3}"));
	inbox_await_end(&w->plane, &w->pod.in);
	assert_false(w->pod.in.reset);
	assert_true(inbox_has(&w->pod.in, "connection: close\r\n"));
	assert_true(inbox_has(&w->pod.in, "{\"c\":3}"));
}

/* Its head went before the drain began and promised to go on, so the client may be sending its next
 * request. A drain beside another process answers that one, and says that it was the last. */
static void test_draining_gently(void **state)
{
	struct world *w = *state;

	pod_send(&w->pod, ASK);
	accept_upstream(w);
	inbox_await(&w->plane, &w->up, BODY);
	inbox_forget(&w->up);
	answer(w, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
		  "Content-Length: 15\r\n\r\n{\"a\":1,");
	inbox_await(&w->plane, &w->pod.in, "{\"a\":1,");
	assert_false(inbox_has(&w->pod.in, "connection: close\r\n"));
	w->plane.engine.draining = true;
	w->plane.engine.drains_gently = true;
	answer(w, "\"b\":222}");
	inbox_await(&w->plane, &w->pod.in, "\"b\":222}");
	plane_turns(&w->plane, 3);
	inbox_forget(&w->pod.in);
	pod_send(&w->pod, ASK);
	inbox_await(&w->plane, &w->up, BODY);
	answer(w, OK(2, "{}"));
	inbox_await_end(&w->plane, &w->pod.in);
	assert_false(w->pod.in.reset);
	assert_true(inbox_has(&w->pod.in, "connection: close\r\n"));
	assert_true(inbox_has(&w->pod.in, "{}"));
}

/* ---- time: limits of milliseconds, awaited, never measured ---- */

static void test_head_timeout(void **state)
{
	struct plane plane;
	struct pod pod;

	plane_up(&plane, policy);
	plane.engine.limits.head_ms = 20;
	pod_open(&pod, &plane, "api.openai.com");
	pod_send(&pod, "GET / HT");
	inbox_await(&plane, &pod.in, "HTTP/1.1 408 ");
	assert_true(inbox_has(&pod.in, "request_timeout"));
	inbox_await_end(&plane, &pod.in);
	assert_true(plane_recorded(&plane, "\"duration_ms\":"));
	assert_false(plane_recorded(&plane, "\"duration_ms\":0")); /* since its first byte */
	pod_close(&pod);
	plane_down(&plane);
	(void)state;
}

static void test_body_timeout(void **state)
{
	struct world *w = *state;

	w->plane.engine.limits.body_idle_ms = 20;
	pod_send(&w->pod, POST(32, "") "{");
	/* A timer that is armed already looks again when it fires: a request more makes it soon. */
	w->pod.server.timer.due_ms = 0;
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 408 ");
	inbox_await_end(&w->plane, &w->pod.in);
}

static void test_idle_timeout(void **state)
{
	struct plane plane;
	struct pod pod;

	plane_up(&plane, policy);
	plane.engine.limits.head_ms = 20;
	pod_open(&pod, &plane, "api.openai.com");
	inbox_await_end(&plane, &pod.in);
	assert_true(pod.in.end);
	assert_int_equal(pod.in.n, 0);
	pod_close(&pod);
	plane_down(&plane);
	(void)state;
}

/* Between two requests there is another limit, and silence of a second gives the buffers back. */
static void test_idle_between_requests(void **state)
{
	struct world *w = *state;
	struct h1_server *server = &w->pod.server;
	uint64_t began;

	pod_send(&w->pod, "GET /nothing HTTP/1.1\r\nHost: api.openai.com\r\n\r\n");
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 403 ");
	assert_non_null(server->in.p);
	for (int i = 0; i < PLANE_TURNS && (server->in.p || server->out.p); i++)
		plane_turn(&w->plane);
	assert_null(server->in.p);
	assert_null(server->out.p);
	inbox_forget(&w->pod.in);
	w->plane.engine.limits.head_ms = 1;
	w->plane.engine.limits.idle_ms = 60;
	began = eg_now_ms();
	pod_send(&w->pod, "GET /nothing HTTP/1.1\r\nHost: api.openai.com\r\n\r\n");
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 403 ");
	server->timer.due_ms = 0; /* as in test_body_timeout() */
	inbox_await_end(&w->plane, &w->pod.in);
	assert_true(eg_now_ms() - began >= 60);
	assert_false(inbox_has(&w->pod.in, "408"));
	assert_false(w->pod.in.reset);
}

/* What is left of a refused body is read, so that the answer is not lost behind a reset: some of
 * it, for a while. */
static void test_rest_of_a_refused_body(void **state)
{
	static char block[65536];

	for (int sends = 0; sends < 2; sends++) {
		struct world *w = NULL;
		size_t sent = 0;

		assert_int_equal(setup((void **)&w), 0);
		pod_send(&w->pod, "POST /nothing HTTP/1.1\r\nHost: api.openai.com\r\n"
				  "Content-Length: 1000000000\r\n\r\n");
		inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 403 ");
		assert_true(inbox_has(&w->pod.in, "connection: close\r\n"));
		for (int i = 0; i < PLANE_TURNS && !w->pod.over; i++) {
			ssize_t n = sends ? send(w->pod.in.fd, block, sizeof(block),
						 MSG_NOSIGNAL | MSG_DONTWAIT)
					  : 0;

			sent += n > 0 ? (size_t)n : 0;
			plane_turn(&w->plane);
		}
		assert_true(w->pod.over);
		if (sends)
			assert_in_range(sent, 512 * 1024, 3 * 1024 * 1024);
		assert_int_equal(teardown((void **)&w), 0);
	}
	(void)state;
}

/* A client that reads nothing is given up, and the provider let go. */
static void test_client_that_never_reads(void **state)
{
	struct world *w = *state;
	static char block[65536];

	w->plane.engine.limits.write_idle_ms = 20;
	pod_send(&w->pod, ASK);
	accept_upstream(w);
	inbox_await(&w->plane, &w->up, BODY);
	answer(w, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
	for (int i = 0; i < PLANE_TURNS && !w->pod.over; i++) {
		if (send(w->up.fd, block, sizeof(block), MSG_NOSIGNAL) < 0)
			plane_turn(&w->plane);
		else
			plane_turns(&w->plane, 1);
	}
	assert_true(w->pod.over);
	assert_true(w->pod.reset);
	assert_true(plane_recorded(&w->plane, "\"reason\":\"client_slow\""));
}

/* Of the answer's body, what has come. */
static size_t body_bytes(const struct inbox *b)
{
	const char *end = b->n ? memmem(b->text, b->n, "\r\n\r\n", 4) : NULL;

	return end ? b->n - (size_t)(end + 4 - b->text) : 0;
}

static size_t paused(struct world *w, size_t bytes, bool first)
{
	static char block[65536];
	char head[80];
	size_t sent = 0;

	pod_send(&w->pod, ASK);
	if (first)
		accept_upstream(w);
	inbox_await(&w->plane, &w->up, BODY);
	inbox_forget(&w->up);
	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", bytes);
	answer(w, head);
	for (int i = 0; i < PLANE_TURNS && body_bytes(&w->pod.in) < bytes; i++) {
		size_t next = EG_MIN(sizeof(block), bytes - sent);
		ssize_t n = send(w->up.fd, block, next, MSG_NOSIGNAL | MSG_DONTWAIT);

		sent += n > 0 ? (size_t)n : 0;
		plane_turns(&w->plane, 1);
		if (i > 20)
			inbox_poll(&w->pod.in);
	}
	return body_bytes(&w->pod.in);
}

/* It reads nothing, then all: whatever was under way where it paused, the rest comes; and the
 * provider's connection is kept, though epoll tells of it once more in the turn in which it went
 * back. */
static void test_client_that_pauses(void **state)
{
	enum { BYTES = 400000 };
	struct world *w = *state;
	bool first = true;

	for (int room = 4096; room <= 65536; room *= 2) {
		size_t n;

		if (!first)
			pod_open(&w->pod, &w->plane, "api.openai.com");
		assert_int_equal(setsockopt(eg_stream_fd(w->pod.stream), SOL_SOCKET, SO_SNDBUF,
					    &room, sizeof(room)),
				 0);
		n = paused(w, BYTES, first);
		if (n < BYTES)
			fail_msg("room for %d: %zu of %d bytes came", room, n, BYTES);
		first = false;
		pod_close(&w->pod);
	}
	pod_open(&w->pod, &w->plane, "api.openai.com");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_request_and_answer),
		T(test_credential_under_a_common_name),
		T(test_byte_at_a_time),
		T(test_keep_alive_reuses_both_connections),
		T(test_pipelining),
		T(test_pipelining_takes_turns),
		T(test_expect_continue),
		T(test_expect_continue_denied),
		T(test_chunked_request),
		cmocka_unit_test(test_denials),
		T(test_header_stripping),
		T(test_unknown_query),
		T(test_response_headers),
		T(test_descriptors_are_charged_by_request),
		T(test_http10_client),
		T(test_close_delimited_answer),
		T(test_provider_cuts_body),
		T(test_provider_cuts_stream),
		T(test_cut_waits_for_what_was_given),
		T(test_provider_cuts_head),
		cmocka_unit_test(test_bad_answers),
		T(test_bytes_after_answer),
		T(test_client_aborts),
		T(test_slow_reader),
		T(test_large_answer_intact),
		T(test_body_too_large),
		T(test_chunked_body_too_large),
		T(test_huge_head),
		T(test_head_request),
		T(test_malformed_chunk_mid_body),
		T(test_policy_change_on_connection),
		T(test_pod_replaced_on_connection),
		T(test_missing_credential),
		cmocka_unit_test(test_not_ready),
		T(test_provider_refuses_key),
		T(test_secret_nowhere_else),
		T(test_draining),
		T(test_draining_gently),
		T(test_draining_pipelined),
		T(test_draining_pipelined_behind_a_head),
		cmocka_unit_test(test_head_timeout),
		T(test_body_timeout),
		T(test_client_that_never_reads),
		T(test_client_that_pauses),
		cmocka_unit_test(test_idle_timeout),
		T(test_idle_between_requests),
		cmocka_unit_test(test_rest_of_a_refused_body),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
