/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `shadow: full`: what an enforced policy would refuse goes on as it was sent, and the record says
 * what would have been; so does what no policy judges. What can't be passed on is refused.
 */
#include "original.h"

#include "encode.h"
#include "targets.h"

#define POLICY(mode)                                                                            \
	"{\"version\": \"egret/v1\", \"providers\": {" PLANE_PROVIDER(                          \
		"p0") "},"                                                                      \
		      "\"credentials\": {\"key\": {\"type\": \"bearer\", \"file\": \"key\"}},"  \
		      "\"policies\": [{\"name\": \"shop\", " mode                               \
		      ", \"pods\": {\"namespaces\": [\"shop\"]}, \"routes\": [{\"name\": "      \
		      "\"chat\", \"match\": {\"hosts\": [\"api.openai.com\"]}, \"targets\": "   \
		      "[{\"provider\": \"p0\"}]}], \"otherwise\": \"pass\"},"                   \
		      "{\"name\": \"far\", \"pods\": {\"namespaces\": [\"far\"]}, \"routes\": " \
		      "[{\"name\": \"chat\", \"match\": {\"hosts\": [\"api.mistral.ai\"]}, "    \
		      "\"targets\": [{\"provider\": \"p0\"}]}], \"otherwise\": \"deny\"}]}"

static const char shadow[] = POLICY("\"mode\": \"shadow\", \"shadow\": \"full\"");
static const char enforce[] = POLICY("\"mode\": \"enforce\"");

/* A pod's plain connection to where fake provider 1 listens. */
static struct world *begin_plain(const char *policy)
{
	struct world *w = calloc(1, sizeof(*w));

	plane_up(&w->plane, policy);
	pod_open(&w->pod, &w->plane, NULL);
	w->pod.peer.destination =
		(struct eg_endpoint){plane_address("198.51.100.10"), w->plane.port[1]};
	return w;
}

#define HEAD(line, headers) line " HTTP/1.1\r\n" headers "Authorization: Bearer own\r\n\r\n"
#define NAME		    "Host: api.openai.com\r\n"

static void passes(const char *policy, const char *request, const char *sent, const char *reason)
{
	struct world *w = begin_plain(policy);
	char text[128];

	pod_send(&w->pod, request);
	called(w, 1, sent, NULL);
	inbox_await(&w->plane, &w->up[1], "\r\n\r\n");
	if (strstr(request, "Authorization"))
		assert_true(inbox_has(&w->up[1], "Authorization: Bearer own\r\n"));
	assert_false(inbox_has(&w->up[1], "sk-real"));
	assert_false(inbox_has(&w->up[1], "pgrade"));
	plane_send(&w->plane, w->up[1].fd, OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "{}");
	assert_true(inbox_has(&w->pod.in, "HTTP/1.1 200 OK"));
	snprintf(text, sizeof(text), "\"reason\":\"%s\"", reason);
	if (!plane_recorded(&w->plane, text))
		fail_msg("%s: no %s in %s", request, text, plane_records(&w->plane));
	assert_int_equal(plane_recorded(&w->plane, "\"shadow\":true"), policy == shadow);
	assert_int_equal(plane_record_count(&w->plane), 1);
	finish(w);
}

static void test_passed_on(void **state)
{
	static const struct {
		const char *request, *sent, *reason;
	} cases[] = {
		{HEAD("GET /v1//chat/completions?a=b", NAME), "GET /v1//chat/completions?a=b HTTP",
		 "path_unsafe"},
		{HEAD("GET /v1/../a%2fb", NAME), "GET /v1/../a%2fb HTTP", "path_unsafe"},
		{HEAD("GET /v1/%zz", NAME), "GET /v1/%zz HTTP", "bad_request"},
		{HEAD("GET /v1/models", "Host: 10.1.2.3\r\n"), "host: 10.1.2.3\r\n",
		 "host_mismatch"},
		{HEAD("GET /v1/models", "Host: API.openai.com:99\r\n"),
		 "host: API.openai.com:99\r\n", "host_mismatch"},
		{HEAD("GET /v1//models", "Host: 10.1.2.3\r\n"), "GET /v1//models HTTP",
		 "host_mismatch"},
		{HEAD("GET /v1/models", NAME "Expect: tea\r\n"), "Expect: tea\r\n", "expectation"},
		{HEAD("GET /v1/realtime", NAME "Connection: upgrade\r\nUpgrade: websocket\r\n"),
		 "GET /v1/realtime HTTP", "bad_request"},
		{"GET /v1/models HTTP/1.0\r\nAuthorization: Bearer own\r\n\r\n",
		 "host: 198.51.100.10:", "bad_request"},
		{HEAD("POST /v1/chat/completions",
		      NAME JSON "Content-Encoding: gzip\r\nContent-Length: 2\r\n") "{}",
		 "Content-Encoding: gzip\r\n", "bad_body"},
		{HEAD("POST /v1/chat/completions",
		      NAME "Content-Type: text/plain\r\nContent-Length: 2\r\n") "{}",
		 "text/plain\r\n", "bad_body"},
		{HEAD("GET /v1/nothing", NAME), "GET /v1/nothing HTTP", "unknown_operation"},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++)
		passes(shadow, cases[i].request, cases[i].sent, cases[i].reason);
	(void)state;
}

/* What would have been stands on record however it ended: a client that leaves, a provider that
 * breaks off. */
static void test_ended_badly(void **state)
{
	static const char half[] = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf";
	static const struct {
		bool answered, client;
		const char *status;
	} cases[] = {{false, true, "\"status\":499"},
		     {true, true, "\"status\":200"},
		     {true, false, "\"status\":200"}};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct world *w = begin_plain(shadow);

		pod_send(&w->pod, HEAD("GET /v1/nothing", NAME));
		called(w, 1, "\r\n\r\n", cases[i].answered ? half : NULL);
		if (cases[i].answered)
			inbox_await(&w->plane, &w->pod.in, "half");
		if (cases[i].client) {
			close_reset(w->pod.in.fd);
			w->pod.in.fd = dup(0);
		} else {
			hang_up(w, 1, false);
		}
		plane_turns(&w->plane, 5);
		assert_int_equal(plane_record_count(&w->plane), 1);
		assert_true(plane_recorded(&w->plane, "\"reason\":\"unknown_operation\""));
		assert_true(plane_recorded(&w->plane, "\"shadow\":true"));
		assert_true(plane_recorded(&w->plane, cases[i].status));
		finish(w);
	}
	(void)state;
}

/* Under a policy that enforces: names that are none of its business. */
static void test_unjudged_names(void **state)
{
	passes(enforce, HEAD("GET /a//b", "Host: www.example.org\r\n"), "GET /a//b HTTP", "ok");
	passes(enforce, HEAD("GET /a", "Host: www.example.org\r\nExpect: tea\r\n"),
	       "Expect: tea\r\n", "ok");
	passes(enforce, HEAD("GET /a//b", "Host: api.mistral.ai\r\n"), "GET /a//b HTTP", "ok");
	(void)state;
}

/* A reload that leaves an open connection to nobody: a new one would pass untouched, so this one's
 * next request does, with what the pod sent, and is its last. */
static void test_released(void **state)
{
	static const char none[] = "{\"version\": \"egret/v1\"}";
	static const char *const requests[] = {
		HEAD("GET /v1/models", NAME),
		HEAD("GET /v1//models", NAME "Cookie: a=b\r\n"),
		HEAD("GET /v1/models", NAME "Expect: tea\r\n"),
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(requests); i++) {
		struct world *w = begin_plain(enforce);

		pod_send(&w->pod, HEAD("GET /a//b", NAME));
		inbox_await(&w->plane, &w->pod.in, "path_unsafe");
		inbox_forget(&w->pod.in);
		plane_publish(&w->plane, none, true);
		pod_send(&w->pod, requests[i]);
		called(w, 1, "\r\n\r\n", OK(2, "{}"));
		assert_true(inbox_has(&w->up[1], "Authorization: Bearer own\r\n"));
		inbox_await_end(&w->plane, &w->pod.in);
		assert_true(inbox_has(&w->pod.in, "HTTP/1.1 200 OK"));
		assert_true(inbox_has(&w->pod.in, "connection: close\r\n"));
		assert_false(inbox_has(&w->pod.in, "x-egret"));
		assert_false(w->pod.in.reset);
		assert_true(plane_recorded(&w->plane, "\"detail\":\"nothing governs this"));
		finish(w);
	}
	(void)state;
}

/* It is not known any more whose the pod is: that is not nobody's. */
static void test_held(void **state)
{
	static const char by_label[] = "{\"version\": \"egret/v1\", \"policies\": [{\"name\": "
				       "\"a\", \"pods\": {\"labels\": "
				       "{\"app\": \"x\"}}, \"routes\": []}]}";
	struct world *w = begin_plain(enforce);

	pod_send(&w->pod, HEAD("GET /a//b", NAME));
	inbox_await(&w->plane, &w->pod.in, "path_unsafe");
	inbox_forget(&w->pod.in);
	w->plane.labels_unknown = true;
	plane_publish(&w->plane, by_label, true);
	pod_send(&w->pod, HEAD("GET /v1/models", NAME));
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 403 ");
	inbox_await(&w->plane, &w->pod.in, "unknown_pod");
	assert_true(plane_nobody(&w->plane, w->plane.provider[1]));
	assert_true(plane_recorded(&w->plane, "\"reason\":\"unknown_pod\""));
	inbox_forget(&w->pod.in);
	w->plane.labels_unknown = false; /* and it has none: now it is */
	plane_publish(&w->plane, by_label, true);
	pod_send(&w->pod, HEAD("GET /v1/models", NAME));
	called(w, 1, "\r\n\r\n", OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 200 OK");
	finish(w);
	(void)state;
}

/* A name behind which a provider can be asked for is refused on a new connection, so on this too.
 */
static void test_released_front(void **state)
{
	static const char fronted[] =
		"{\"version\": \"egret/v1\", \"providers\": {\"p0\": {\"kind\": \"openai\", "
		"\"endpoint\": \"http://provider.internal:%u/v1\", \"region\": \"cluster\", "
		"\"fronts\": [\"cdn.front.example\"]}}, \"policies\": [{\"name\": \"shop\", "
		"\"pods\": "
		"{\"namespaces\": [\"shop\"]}, \"routes\": [{\"name\": \"chat\", \"match\": "
		"{\"hosts\": [\"api.openai.com\"]}, \"targets\": [{\"provider\": \"p0\"}]}]}]}";
	struct world *w = calloc(1, sizeof(*w));

	plane_up(&w->plane, fronted);
	pod_open(&w->pod, &w->plane, "cdn.front.example");
	pod_send(&w->pod, HEAD("GET /v1/models", "Host: cdn.front.example\r\n"));
	inbox_await(&w->plane, &w->pod.in, "no_route");
	finish(w);
	(void)state;
}

/* It can't be reached any more: said, and the connection is over all the same. */
static void test_released_in_vain(void **state)
{
	struct world *w = begin_plain(enforce);

	close(w->plane.provider[1]);
	plane_publish(&w->plane, "{\"version\": \"egret/v1\"}", true);
	pod_send(&w->pod, HEAD("GET /v1/models", NAME));
	inbox_await_end(&w->plane, &w->pod.in);
	assert_true(inbox_has(&w->pod.in, "upstream_connect"));
	assert_true(inbox_has(&w->pod.in, "connection: close\r\n"));
	w->plane.provider[1] = dup(0);
	finish(w);
	(void)state;
}

/* The gateway's address is nobody's but Egret's: there is nothing to pass on to. */
static void test_released_gateway(void **state)
{
	struct world *w = begin_plain(enforce);

	w->pod.peer.gateway = true;
	plane_publish(&w->plane, "{\"version\": \"egret/v1\"}", true);
	pod_send(&w->pod, HEAD("GET /v1/models", "Host: 198.51.100.10\r\n"));
	inbox_await(&w->plane, &w->pod.in, "no_policy");
	finish(w);
	(void)state;
}

static void refused(const char *policy, const char *request, const char *status, const char *reason)
{
	struct world *w = begin_plain(policy);
	char text[128];

	pod_send(&w->pod, request);
	snprintf(text, sizeof(text), "HTTP/1.1 %s ", status);
	inbox_await(&w->plane, &w->pod.in, text);
	inbox_await(&w->plane, &w->pod.in, reason);
	assert_true(plane_nobody(&w->plane, w->plane.provider[1]));
	assert_int_equal(plane_recorded(&w->plane, "\"shadow\":true"), policy == shadow);
	snprintf(text, sizeof(text), "\"reason\":\"%s\"", reason);
	assert_true(plane_recorded(&w->plane, text));
	finish(w);
}

/* What can't be passed on, for it has no one meaning or no place to go. */
static void test_refused(void **state)
{
	static char many[16384];
	size_t n = (size_t)snprintf(many, sizeof(many), "GET / HTTP/1.1\r\n" NAME);

	for (int i = 0; i < 130; i++)
		n += (size_t)snprintf(many + n, sizeof(many) - n, "X-%d: y\r\n", i);
	snprintf(many + n, sizeof(many) - n, "\r\n");
	refused(shadow, many, "431", "header_too_large");
	refused(shadow, "GET / HTTP/1.1\r\n\r\n", "400", "bad_request");
	refused(shadow,
		"POST / HTTP/1.1\r\n" NAME
		"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
		"400", "request_smuggling");
	refused(shadow, HEAD("GET http://evil.example/", NAME), "400", "bad_request");
	refused(shadow, HEAD("GET /v1/models", NAME "x-egret-via: test-tag\r\n"), "508", "loop");
	/* What is judged, is judged as ever. */
	refused(enforce, HEAD("GET /v1//models", NAME), "400", "path_unsafe");
	refused(enforce, HEAD("GET /v1/models", "Host: 10.1.2.3\r\n"), "421", "host_mismatch");
	refused(enforce, HEAD("GET /v1/models", NAME "Expect: tea\r\n"), "417", "expectation");
	(void)state;
}

/* By model, so that bodies are read. */
static const char reading[] = "{\"version\": \"egret/v1\", \"providers\": {" PLANE_PROVIDER(
	"p0") "},"
	      "\"credentials\": {\"key\": {\"type\": \"bearer\", \"file\": \"key\"}},"
	      "\"policies\": [{\"name\": \"shop\", \"mode\": \"shadow\", \"shadow\": \"full\", "
	      "\"pods\": {\"namespaces\": [\"shop\"]}, \"routes\": [{\"name\": \"chat\", "
	      "\"match\": {\"hosts\": [\"api.openai.com\"], \"models\": [\"gpt-*\"]}, "
	      "\"max_body_bytes\": 100, "
	      "\"targets\": [{\"provider\": \"p0\"}]}], \"otherwise\": \"deny\"}]}";

/* A body in this coding passes as it is, with what its client accepts, and so does the answer. */
static void passes_coded(const char *coding, struct eg_str body, size_t piece, const char *reason)
{
	static const struct eg_str answer = EG_STR("not gzip at all");
	struct world *w = begin_plain(reading);
	char text[512];

	w->plane.engine.limits.request_body_bytes = 1 << 20;
	snprintf(text, sizeof(text),
		 "POST /v1/chat/completions HTTP/1.1\r\n" NAME JSON
		 "Accept-Encoding: compress, gzip;q=0.1\r\nContent-Encoding: %s\r\n"
		 "Content-Length: %zu\r\n\r\n",
		 coding, body.n);
	pod_send(&w->pod, text);
	for (size_t at = 0; at < body.n; at += piece) {
		plane_send_n(&w->plane, w->pod.in.fd, body.p + at, EG_MIN(piece, body.n - at));
		plane_turns(&w->plane, 2);
	}
	called(w, 1, "\r\n\r\n", NULL);
	for (int i = 0; i < PLANE_TURNS && !memmem(w->up[1].text, w->up[1].n, body.p, body.n);
	     i++) {
		inbox_poll(&w->up[1]);
		plane_turn(&w->plane);
	}
	assert_non_null(memmem(w->up[1].text, w->up[1].n, body.p, body.n));
	snprintf(text, sizeof(text), "Content-Encoding: %s\r\n", coding);
	assert_true(inbox_has(&w->up[1], text));
	assert_true(inbox_has(&w->up[1], "Accept-Encoding: compress, gzip;q=0.1\r\n"));
	plane_send(&w->plane, w->up[1].fd,
		   "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
		   "Content-Encoding: gzip\r\nContent-Length: 15\r\n\r\n");
	plane_send(&w->plane, w->up[1].fd, answer.p);
	inbox_await(&w->plane, &w->pod.in, answer.p);
	plane_turns(&w->plane, 3);
	snprintf(text, sizeof(text), "\"reason\":\"%s\"", reason);
	if (!plane_recorded(&w->plane, text))
		fail_msg("%s: no %s in %s", coding, text, plane_records(&w->plane));
	assert_false(plane_recorded(&w->plane, "response_unread"));
	assert_int_equal(w->plane.engine.held_bytes, 0);
	finish(w);
}

static void test_coded(void **state)
{
	static const enum eg_coding all[] = {EG_CODING_GZIP, EG_CODING_BR, EG_CODING_ZSTD};
	static char over[101];

	memset(over, ' ', sizeof(over));
	memcpy(over, BODY, strlen(BODY));
	for (size_t i = 0; i < EG_ARRAY_SIZE(all); i++) {
		const char *name = coding_name(all[i]);
		struct coded good = encode(all[i], EG_STR(BODY)),
			     other = encode(all[i], EG_STR("{\"model\":\"o3\"}")),
			     bomb = encode_zeros(all[i], 32 << 20);

		for (size_t piece = 1; piece < 1000; piece += 900) {
			passes_coded(name, coded_str(&good), piece, "ok");
			passes_coded(name, coded_str(&other), piece, "model_denied");
			passes_coded(name, EG_STR(BODY), piece, "bad_body");
			passes_coded(name, (struct eg_str){good.p, good.n - 1}, piece, "bad_body");
		}
		passes_coded(name, coded_str(&bomb), 1000, "body_too_large");
		free(good.p);
		good = encode(all[i], (struct eg_str){over, 100});
		passes_coded(name, coded_str(&good), SIZE_MAX, "ok");
		free(good.p);
		/* Of its route, which only the body tells. */
		good = encode(all[i], (struct eg_str){over, 101});
		passes_coded(name, coded_str(&good), SIZE_MAX, "body_too_large");
		free(good.p);
		free(other.p);
		free(bomb.p);
	}
	passes_coded("gzip, br", EG_STR(BODY), 10, "content_encoding");
	/* What is wrong is seen when all of it came, in a later turn. */
	for (size_t i = 0; i < EG_ARRAY_SIZE(all); i++) {
		struct coded late = encode_zeros(all[i], 1 << 20);

		passes_coded(coding_name(all[i]), coded_str(&late), SIZE_MAX, "bad_body");
		passes_coded(coding_name(all[i]), (struct eg_str){late.p, late.n - 1}, SIZE_MAX,
			     "bad_body");
		free(late.p);
	}
	(void)state;
}

/* A route with limits of its own, which its policy only watches. */
static const char limited[] =
	"{\"version\": \"egret/v1\", \"providers\": {\"p0\": {\"kind\": \"openai\", \"endpoint\": "
	"\"http://provider.internal:%u/v1\", \"region\": \"cluster\", \"credential\": \"key\", "
	"\"models\": {\"whisper-1\": \"x\"}}},"
	"\"credentials\": {\"key\": {\"type\": \"bearer\", \"file\": \"key\", \"namespace\": "
	"\"shop\"}},"
	"\"policies\": [{\"name\": \"shop\", \"mode\": \"shadow\", \"shadow\": \"full\", "
	"\"pods\": {\"namespaces\": [\"shop\"]}, \"routes\": [{\"name\": \"all\", "
	"\"match\": {\"hosts\": [\"api.openai.com\"], \"operations\": [\"uploads\", \"models\"]}, "
	"\"max_body_bytes\": 400, \"timeouts\": {\"connect_ms\": 20, \"first_byte_ms\": 20, "
	"\"idle_ms\": 20, \"total_ms\": 20}, \"targets\": [{\"provider\": \"p0\"}]}]}]}";

static void watched(const char *head, const char *body, bool chunked, const char *reason)
{
	struct world *w = begin_plain(limited);
	size_t n = strlen(body);
	char text[256];

	pod_send(&w->pod, head);
	if (chunked)
		snprintf(text, sizeof(text), "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", n);
	else
		snprintf(text, sizeof(text), "Content-Length: %zu\r\n\r\n", n);
	pod_send(&w->pod, text);
	pod_send(&w->pod, body);
	if (chunked)
		pod_send(&w->pod, "\r\n0\r\n\r\n");
	called(w, 1, body, NULL);
	plane_send(&w->plane, w->up[1].fd, OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "\r\n\r\n{}");
	plane_turns(&w->plane, 3);
	snprintf(text, sizeof(text), "\"reason\":\"%s\"", reason);
	if (!plane_recorded(&w->plane, text))
		fail_msg("%s%zu: no %s in %s", head, n, reason, plane_records(&w->plane));
	finish(w);
}

/* A body over the limit of what is held takes of the pod's budget what was held, and not twice
 * that: it would be refused there, and so would all else of its pod. */
static void test_over_the_limit_within_budget(void **state)
{
	enum { LIMIT = 1 << 20, BODY_BYTES = LIMIT + (1 << 19) };
	struct world *w = begin_plain(shadow);
	static char body[BODY_BYTES];
	char head[256];
	size_t sent = 0;

	w->plane.engine.limits.request_body_bytes = LIMIT;
	w->plane.engine.limits.pod_bytes = LIMIT + LIMIT / 2;
	memset(body, ' ', sizeof(body));
	snprintf(head, sizeof(head),
		 "POST /v1/chat/completions HTTP/1.1\r\n" NAME JSON "Content-Length: %u\r\n\r\n",
		 (unsigned int)sizeof(body));
	pod_send(&w->pod, head);
	while (sent <= LIMIT) {
		ssize_t n = send(w->pod.in.fd, body + sent, sizeof(body) - sent, MSG_NOSIGNAL);

		sent += n > 0 ? (size_t)n : 0;
		plane_turns(&w->plane, 1);
	}
	called(w, 1, "\r\n\r\n", NULL);
	assert_in_range(w->plane.engine.held_bytes, LIMIT, LIMIT + LIMIT / 4);
	plane_send_n(&w->plane, w->pod.in.fd, body + sent, sizeof(body) - sent);
	inbox_await_bytes(&w->plane, &w->up[1], sizeof(body));
	plane_send(&w->plane, w->up[1].fd, OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 200 OK");
	assert_true(plane_recorded(&w->plane, "\"reason\":\"body_too_large\""));
	finish(w);
	(void)state;
}

/* As an enforced policy would have it, whatever kind of body it is. */
static void test_limit_of_route(void **state)
{
	static const char *const heads[] = {
		"POST /v1/chat/completions HTTP/1.1\r\n" NAME JSON,
		"POST /v1/uploads/u/parts HTTP/1.1\r\n" NAME
		"Content-Type: multipart/form-data; boundary=x\r\n",
		"GET /v1/models HTTP/1.1\r\n" NAME,
	};
	char body[402];

	for (size_t i = 0; i < EG_ARRAY_SIZE(heads); i++)
		for (size_t n = 400; n <= 401; n++)
			for (int chunked = 0; chunked < 2; chunked++) {
				memset(body, ' ', n);
				body[n] = '\0';
				memcpy(body, BODY, strlen(BODY));
				watched(heads[i], body, chunked,
					n == 400 ? "ok" : "body_too_large");
			}
	(void)state;
}

/* A form in which the provider's name for the model can't stand. */
static void test_form_unmapped(void **state)
{
	watched("POST /v1/audio/transcriptions HTTP/1.1\r\n" NAME
		"Content-Type: multipart/form-data; boundary=x\r\n",
		"--x\r\nContent-Disposition: form-data; name=\"model\"\r\nContent-Length: 9\r\n"
		"\r\nwhisper-1\r\n--x--\r\n",
		false, "bad_body");
	(void)state;
}

/* A provider that is slower than the route allows is as slow without Egret. */
static void test_timeouts_of_route(void **state)
{
	struct world *w = begin_plain(limited);

	pod_send(&w->pod, "POST /v1/chat/completions HTTP/1.1\r\n" NAME JSON
			  "Content-Length: 32\r\n\r\n" BODY);
	called(w, 1, BODY, NULL);
	for (int i = 0; i < 60; i++)
		plane_turn(&w->plane);
	plane_send(&w->plane, w->up[1].fd, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
	inbox_await(&w->plane, &w->pod.in, "\r\n\r\nab");
	for (int i = 0; i < 60; i++)
		plane_turn(&w->plane);
	plane_send(&w->plane, w->up[1].fd, "cd");
	inbox_await(&w->plane, &w->pod.in, "\r\n\r\nabcd");
	plane_turns(&w->plane, 3);
	assert_true(plane_recorded(&w->plane, "\"reason\":\"ok\""));
	finish(w);
	(void)state;
}

/* Nobody's timeouts hold for what no route judged: the gateway's own do, before the answer and in
 * it. */
static void test_silence_of_what_is_passed_on(void **state)
{
	struct world *w = begin_plain(shadow);

	assert_int_equal(w->plane.engine.limits.passed_idle_ms,
			 10 * 60 * 1000); /* docs/limits.md */
	w->plane.engine.limits.passed_idle_ms = 100;
	pod_send(&w->pod, HEAD("GET /v1/nothing", NAME));
	called(w, 1, "GET /v1/nothing", NULL);
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 504 ");
	plane_turns(&w->plane, 3);
	assert_true(plane_recorded(&w->plane, "\"reason\":\"upstream_timeout\""));
	finish(w);
	w = begin_plain(shadow);
	w->plane.engine.limits.passed_idle_ms = 100;
	pod_send(&w->pod, HEAD("GET /v1/nothing", NAME));
	called(w, 1, "GET /v1/nothing", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
	inbox_await(&w->plane, &w->pod.in, "\r\n\r\nab");
	inbox_await_end(&w->plane, &w->pod.in);
	assert_true(w->pod.in.reset);
	finish(w);
	(void)state;
}

/* A request on a connection that was kept, which the destination closes instead of answering. */
static void lost(const char *policy, const char *request, const char *sent, bool again)
{
	struct world *w = begin_plain(policy);

	pod_send(&w->pod, HEAD("GET /v1/models", NAME));
	called(w, 1, "GET /v1/models", OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "\r\n\r\n{}");
	inbox_forget(&w->up[1]);
	pod_send(&w->pod, request);
	inbox_await(&w->plane, &w->up[1], sent);
	hang_up(w, 1, false);
	if (again) {
		inbox_fini(&w->up[1]);
		w->up[1].text = NULL;
		called(w, 1, sent, OK(4, "[42]"));
		inbox_await(&w->plane, &w->pod.in, "\r\n\r\n[42]");
	} else {
		inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 502 ");
		assert_true(plane_nobody(&w->plane, w->plane.provider[1]));
		assert_false(plane_recorded(&w->plane, "replayed"));
	}
	finish(w);
}

/* It was sent once: only what may be done twice is sent again (RFC 9110 section 9.2.2). */
static void test_not_sent_twice(void **state)
{
	lost(limited, HEAD("GET /v1/models/a", NAME), "GET /v1/models/a", true);
	lost(limited, HEAD("DELETE /v1/models/a", NAME), "DELETE /v1/models/a", true);
	lost(limited,
	     "POST /v1/chat/completions HTTP/1.1\r\n" NAME JSON "Content-Length: 32\r\n\r\n" BODY,
	     BODY, false);
	lost(limited, HEAD("POST /v1/batches/b/cancel", NAME "Content-Length: 0\r\n"),
	     "POST /v1/batches/b/cancel", false);
	(void)state;
}

/* A connection that is kept is the pod's whose it was: what its provider knows of it (who asked
 * there before, and with which key) is no other pod's. */
static void test_own_connection(void **state)
{
	static const char ask[] = HEAD("GET /v1/models", NAME);
	struct world *w = begin_plain(shadow);
	struct pod again, other;
	struct inbox its;

	pod_send(&w->pod, ask);
	called(w, 1, "Bearer own", OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "{}");
	inbox_forget(&w->up[1]);
	pod_open(&again, &w->plane, NULL);
	again.peer.destination = w->pod.peer.destination;
	pod_send(&again, ask);
	called(w, 1, "Bearer own", OK(2, "{}"));
	inbox_await(&w->plane, &again.in, "{}");

	pod_open(&other, &w->plane, NULL);
	other.peer.destination = w->pod.peer.destination;
	other.peer.source.address = plane_address("127.0.0.2");
	other.peer.pod_uid = "uid-b";
	pod_send(&other, ask);
	inbox_init(&its, plane_accept(&w->plane, w->plane.provider[1]));
	inbox_await(&w->plane, &its, "Bearer own");
	plane_send(&w->plane, its.fd, OK(2, "{}"));
	inbox_await(&w->plane, &other.in, "{}");
	inbox_fini(&its);
	pod_close(&again);
	pod_close(&other);
	finish(w);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_passed_on),
		cmocka_unit_test(test_unjudged_names),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_coded),
		cmocka_unit_test(test_limit_of_route),
		cmocka_unit_test(test_form_unmapped),
		cmocka_unit_test(test_timeouts_of_route),
		cmocka_unit_test(test_silence_of_what_is_passed_on),
		cmocka_unit_test(test_not_sent_twice),
		cmocka_unit_test(test_own_connection),
		cmocka_unit_test(test_released),
		cmocka_unit_test(test_released_gateway),
		cmocka_unit_test(test_released_in_vain),
		cmocka_unit_test(test_released_front),
		cmocka_unit_test(test_ended_badly),
		cmocka_unit_test(test_held),
		cmocka_unit_test(test_over_the_limit_within_budget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
