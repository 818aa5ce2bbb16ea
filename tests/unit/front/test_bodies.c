/* SPDX-License-Identifier: Apache-2.0 */
/* Request bodies: streamed ones with back-pressure, held ones within budgets. */
#include "pod.h"

static const char policy[] =
	"{\"version\": \"egret/v1\", \"providers\": {" PLANE_PROVIDER("p0") "," PLANE_PROVIDER(
		"p1") "},"
		      "\"credentials\": {\"key\": {\"type\": \"bearer\", \"file\": \"key\", "
		      "\"namespace\": \"shop\"}},"
		      "\"policies\": [{\"name\": \"shop\", \"mode\": \"enforce\", \"pods\": "
		      "{\"namespaces\": [\"shop\"]},"
		      "\"routes\": [{\"name\": \"any\", \"match\": {\"hosts\": "
		      "[\"api.openai.com\"], \"operations\": [\"uploads\", \"models\"]},"
		      "\"targets\": [{\"provider\": \"p0\"}, {\"provider\": \"p1\"}]}], "
		      "\"otherwise\": \"deny\"}]}";

#define UPLOAD                                                 \
	"POST /v1/uploads/upload_1/parts HTTP/1.1\r\n" HEADERS \
	"Content-Type: multipart/form-data; boundary=x\r\n"

struct world {
	struct plane plane;
	struct pod pod;
	struct inbox up;
};

static struct world *begin_with(const char *text)
{
	struct world *w = calloc(1, sizeof(*w));

	plane_up(&w->plane, text);
	pod_open(&w->pod, &w->plane, "api.openai.com");
	return w;
}

static struct world *begin(void)
{
	return begin_with(policy);
}

static void finish(struct world *w)
{
	pod_close(&w->pod);
	if (w->up.text)
		inbox_fini(&w->up);
	plane_down(&w->plane);
	free(w);
}

/* Bytes go on as they come, before the body is whole. */
static void test_streamed_with_length(void **state)
{
	struct world *w = begin();

	pod_send(&w->pod, UPLOAD "Content-Length: 10\r\n\r\nfirst");
	inbox_init(&w->up, plane_accept(&w->plane, w->plane.provider[0]));
	inbox_await(&w->plane, &w->up, "\r\n\r\nfirst");
	assert_true(inbox_has(&w->up, "content-length: 10\r\n"));
	assert_true(inbox_has(&w->up, "Content-Type: multipart/form-data; boundary=x\r\n"));
	pod_send(&w->pod, "later");
	inbox_await(&w->plane, &w->up, "\r\n\r\nfirstlater");
	plane_send(&w->plane, w->up.fd, OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "{}");
	finish(w);
	(void)state;
}

static void test_streamed_chunked(void **state)
{
	struct world *w = begin();

	pod_send(&w->pod, UPLOAD "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
	inbox_await(&w->plane, &w->pod.in, "100 Continue");
	pod_send(&w->pod, "5;x=1\r\nfirst\r\n");
	inbox_init(&w->up, plane_accept(&w->plane, w->plane.provider[0]));
	inbox_await(&w->plane, &w->up, "5\r\nfirst");
	assert_true(inbox_has(&w->up, "transfer-encoding: chunked\r\n"));
	pod_send(&w->pod, "0\r\nX-Api-Key: smuggled in a trailer\r\n\r\n");
	inbox_await(&w->plane, &w->up, "\r\n0\r\n\r\n");
	assert_false(inbox_has(&w->up, "smuggled"));
	plane_send(&w->plane, w->up.fd, OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "{}");
	finish(w);
	(void)state;
}

/* A byte in each chunk: they go on as one, at the end of the turn in which they came. */
static void test_streamed_small_chunks(void **state)
{
	struct world *w = begin();
	char chunks[6 * 100 + 1];

	for (size_t i = 0; i < 100; i++)
		memcpy(chunks + 6 * i, "1\r\nx\r\n", 7);
	pod_send(&w->pod, UPLOAD "Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
	inbox_init(&w->up, plane_accept(&w->plane, w->plane.provider[0]));
	inbox_await(&w->plane, &w->up, "5\r\nfirst");
	inbox_forget(&w->up);
	pod_send(&w->pod, chunks);
	inbox_await(&w->plane, &w->up, "64\r\nxxxxxxxx");
	pod_send(&w->pod, "0\r\n\r\n");
	inbox_await(&w->plane, &w->up, "xx\r\n0\r\n\r\n");
	finish(w);
	(void)state;
}

/* A POST without content says so (RFC 9110 section 8.6), though the client did not, as over HTTP/2
 * nobody does: some servers answer 411 to one that does not. */
static void test_no_content(void **state)
{
	static const struct {
		const char *method, *path;
		bool says;
	} cases[] = {{"POST", "/v1/uploads/upload_1/cancel", true}, {"GET", "/v1/models", false}};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct world *w = begin();
		char request[256];

		snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\n" HEADERS "\r\n",
			 cases[i].method, cases[i].path);
		pod_send(&w->pod, request);
		inbox_init(&w->up, plane_accept(&w->plane, w->plane.provider[0]));
		inbox_await(&w->plane, &w->up, "\r\n\r\n");
		assert_int_equal(inbox_has(&w->up, "content-length: 0\r\n"), cases[i].says);
		assert_false(inbox_has(&w->up, "transfer-encoding"));
		plane_send(&w->plane, w->up.fd, OK(2, "{}"));
		inbox_await(&w->plane, &w->pod.in, "{}");
		finish(w);
	}
	(void)state;
}

/* What failed after bytes have left is not sent again. */
static void test_streamed_failure(void **state)
{
	struct world *w = begin();

	pod_send(&w->pod, UPLOAD "Content-Length: 10\r\n\r\nfirstlater");
	inbox_init(&w->up, plane_accept(&w->plane, w->plane.provider[0]));
	inbox_await(&w->plane, &w->up, "firstlater");
	plane_send(&w->plane, w->up.fd, "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy");
	inbox_await(&w->plane, &w->pod.in, "busy");
	assert_true(plane_nobody(&w->plane, w->plane.provider[1]));
	finish(w);
	(void)state;
}

/* A provider that does not read holds the client back. */
static void test_streamed_back_pressure(void **state)
{
	struct world *w = begin();
	static char block[65536];
	size_t sent = 0, stalls = 0;

	pod_send(&w->pod, UPLOAD "Content-Length: 33000000\r\n\r\n");
	inbox_init(&w->up, plane_accept(&w->plane, w->plane.provider[0]));
	while (stalls < 200) {
		ssize_t n = send(w->pod.in.fd, block, sizeof(block), MSG_NOSIGNAL);

		if (n > 0) {
			sent += (size_t)n;
			stalls = 0;
		} else {
			stalls++;
		}
		plane_turns(&w->plane, 1);
		assert_true(w->plane.engine.held_bytes <= 256u << 10);
	}
	assert_true(sent < 32u << 20);
	inbox_await_bytes(&w->plane, &w->up, sent);
	finish(w);
	(void)state;
}

/* One that stalls and reads again gets all of it, also what came while a chunk waited for room: the
 * client is held back then, so that nothing else would send it on. */
static void test_streamed_chunked_after_a_stall(void **state)
{
	static const char size[] = "ea60\r\n";
	struct world *w = begin();
	static char chunk[sizeof(size) - 1 + 60000 + 2];
	size_t at = 0, stalls = 0;

	memset(chunk, 'x', sizeof(chunk));
	memcpy(chunk, size, sizeof(size) - 1);
	memcpy(chunk + sizeof(chunk) - 2, "\r\n", 2);
	pod_send(&w->pod, UPLOAD "Transfer-Encoding: chunked\r\n\r\n");
	inbox_init(&w->up, plane_accept(&w->plane, w->plane.provider[0]));
	while (stalls < 200) {
		ssize_t n = send(w->pod.in.fd, chunk + at, sizeof(chunk) - at, MSG_NOSIGNAL);

		stalls = n > 0 ? 0 : stalls + 1;
		at = (at + (size_t)(n > 0 ? n : 0)) % sizeof(chunk);
		plane_turns(&w->plane, 1);
	}
	for (int i = 0; i < PLANE_TURNS && at; i++) {
		ssize_t n = send(w->pod.in.fd, chunk + at, sizeof(chunk) - at, MSG_NOSIGNAL);

		at = (at + (size_t)(n > 0 ? n : 0)) % sizeof(chunk);
		inbox_poll(&w->up);
		plane_turn(&w->plane);
	}
	assert_int_equal(at, 0);
	pod_send(&w->pod, "0\r\n\r\n");
	inbox_await(&w->plane, &w->up, "x\r\n0\r\n\r\n");
	plane_send(&w->plane, w->up.fd, OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "{}");
	finish(w);
	(void)state;
}

/* An upload that stops is ended, and so is what the provider got of it. */
static void test_streamed_client_gone(void **state)
{
	struct world *w = begin();

	pod_send(&w->pod, UPLOAD "Content-Length: 10\r\n\r\nfirst");
	inbox_init(&w->up, plane_accept(&w->plane, w->plane.provider[0]));
	inbox_await(&w->plane, &w->up, "first");
	close_reset(w->pod.in.fd);
	w->pod.in.fd = dup(0);
	inbox_await_end(&w->plane, &w->up);
	assert_true(plane_recorded(&w->plane, "client_closed"));
	finish(w);
	(void)state;
}

/* One that its client does not get on with ends with total_ms, and is no failure of the provider.
 */
static void test_streamed_too_slow(void **state)
{
	char text[sizeof(policy) + 100];
	struct world *w;

	snprintf(text, sizeof(text),
		 "%.*s, \"timeouts\": {\"connect_ms\": 100, \"total_ms\": 100}%s",
		 (int)(strstr(policy, "}], \"otherwise\"") - policy), policy,
		 strstr(policy, "}], \"otherwise\""));
	w = begin_with(text);
	pod_send(&w->pod, UPLOAD "Content-Length: 10\r\n\r\nfirst");
	inbox_init(&w->up, plane_accept(&w->plane, w->plane.provider[0]));
	inbox_await(&w->plane, &w->up, "first");
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 504 ");
	assert_true(plane_recorded(&w->plane, "\"reason\":\"upstream_timeout\""));
	assert_false(plane_rests(&w->plane));
	/* This one is the provider's: all of it was sent. */
	pod_close(&w->pod);
	pod_open(&w->pod, &w->plane, "api.openai.com");
	pod_send(&w->pod, UPLOAD "Content-Length: 5\r\n\r\nfirst");
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 504 ");
	assert_true(plane_rests(&w->plane));
	finish(w);
	(void)state;
}

/* A client that reads what it is answered, and sends no more meanwhile, is not ended for that. */
static void test_early_answer_takes_its_time(void **state)
{
	struct world *w = begin();

	w->plane.engine.limits.body_idle_ms = 20;
	pod_send(&w->pod, UPLOAD "Content-Length: 33000\r\n\r\nfirst");
	inbox_init(&w->up, plane_accept(&w->plane, w->plane.provider[0]));
	inbox_await(&w->plane, &w->up, "first");
	plane_send(&w->plane, w->up.fd, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc");
	inbox_await(&w->plane, &w->pod.in, "abc");
	for (uint64_t end = eg_now_ms() + 60; eg_now_ms() < end;)
		plane_turn(&w->plane);
	plane_send(&w->plane, w->up.fd, "def");
	inbox_await(&w->plane, &w->pod.in, "abcdef");
	/* From there on it is, as ever. */
	inbox_await_end(&w->plane, &w->pod.in);
	assert_true(plane_recorded(&w->plane, "\"reason\":\"ok\""));
	finish(w);
	(void)state;
}

/* Answered before the upload was whole: the answer arrives, in order. */
static void test_early_answer(void **state)
{
	struct world *w = begin();

	pod_send(&w->pod, UPLOAD "Content-Length: 33000000\r\n\r\nfirst");
	inbox_init(&w->up, plane_accept(&w->plane, w->plane.provider[0]));
	inbox_await(&w->plane, &w->up, "first");
	plane_send(&w->plane, w->up.fd, "HTTP/1.1 413 Large\r\nContent-Length: 5\r\n\r\nlarge");
	inbox_await_end(&w->plane, &w->pod.in);
	assert_true(inbox_has(&w->pod.in, "HTTP/1.1 413 "));
	assert_true(inbox_has(&w->pod.in, "connection: close\r\n"));
	assert_true(inbox_has(&w->pod.in, "\r\n\r\nlarge"));
	assert_false(w->pod.in.reset);
	finish(w);
	(void)state;
}

/* A hundred slow uploads of one pod fill its budget, and no other pod's. */
static void test_budget_of_one_pod(void **state)
{
	enum { COUNT = 100 };
	struct world *w = begin();
	struct pod *slow = calloc(COUNT, sizeof(*slow));
	static char part[60000];
	size_t refused = 0;

	memset(part, ' ', sizeof(part));
	w->plane.engine.limits.pod_bytes = 1 << 20;
	for (int i = 0; i < COUNT; i++) {
		pod_open(&slow[i], &w->plane, "api.openai.com");
		eg_account_release(&w->plane.engine, slow[i].peer.account);
		slow[i].peer.account = eg_account_acquire(&w->plane.engine, 2);
		pod_send(&slow[i], "POST /v1/chat/completions HTTP/1.1\r\n" HEADERS JSON
				   "Content-Length: 1000000\r\n\r\n");
		plane_send_n(&w->plane, slow[i].in.fd, part, sizeof(part));
		plane_turns(&w->plane, 3);
		assert_true(w->plane.engine.held_bytes <= (1 << 20) + 65536);
	}
	for (int i = 0; i < COUNT; i++) {
		inbox_poll(&slow[i].in);
		if (!inbox_has(&slow[i].in, "HTTP/1.1 503 "))
			continue;
		assert_true(inbox_has(&slow[i].in, "x-egret-reason: pod_budget\r\n"));
		assert_false(inbox_has(&slow[i].in, "x-should-retry"));
		assert_true(inbox_has(&slow[i].in, "retry-after: 1\r\n"));
		refused++;
	}
	assert_true(refused > COUNT / 2);
	assert_true(refused < COUNT);
	pod_send(&w->pod, ASK);
	inbox_init(&w->up, plane_accept(&w->plane, w->plane.provider[0]));
	inbox_await(&w->plane, &w->up, BODY);
	plane_send(&w->plane, w->up.fd, OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 200 OK");
	for (int i = 0; i < COUNT; i++)
		pod_close(&slow[i]);
	assert_int_equal(w->plane.engine.held_bytes, 0);
	free(slow);
	finish(w);
	(void)state;
}

/* Heads that never end are held like bodies: of one pod's, and no other pod's budget. */
static void test_budget_of_slow_heads(void **state)
{
	enum { COUNT = 60 };
	struct world *w = begin();
	struct pod *slow = calloc(COUNT, sizeof(*slow));
	static char part[60000];
	size_t refused = 0;

	memset(part, 'x', sizeof(part));
	w->plane.engine.limits.pod_bytes = 1 << 20;
	for (int i = 0; i < COUNT; i++) {
		pod_open(&slow[i], &w->plane, "api.openai.com");
		eg_account_release(&w->plane.engine, slow[i].peer.account);
		slow[i].peer.account = eg_account_acquire(&w->plane.engine, 2);
		pod_send(&slow[i], "POST /v1/chat/completions HTTP/1.1\r\n" HEADERS "x-long: ");
		plane_send_n(&w->plane, slow[i].in.fd, part, sizeof(part));
		plane_turns(&w->plane, 5);
		assert_true(w->plane.engine.held_bytes <= (1 << 20) + 200000);
	}
	for (int i = 0; i < COUNT; i++) {
		inbox_poll(&slow[i].in);
		refused += inbox_has(&slow[i].in, "x-egret-reason: pod_budget\r\n");
	}
	assert_true(refused > COUNT / 2);
	assert_true(refused < COUNT);
	pod_send(&w->pod, ASK);
	inbox_init(&w->up, plane_accept(&w->plane, w->plane.provider[0]));
	inbox_await(&w->plane, &w->up, BODY);
	plane_send(&w->plane, w->up.fd, OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 200 OK");
	for (int i = 0; i < COUNT; i++)
		pod_close(&slow[i]);
	assert_int_equal(w->plane.engine.held_bytes, 0);
	free(slow);
	finish(w);
	(void)state;
}

static void test_worker_budget(void **state)
{
	struct world *w = begin();

	w->plane.engine.limits.node_bytes = 10;
	pod_send(&w->pod, ASK);
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 503 ");
	assert_true(inbox_has(&w->pod.in, "overloaded"));
	finish(w);
	(void)state;
}

/* A refused body that is small is read to its end: the connection goes on. */
static void test_discard(void **state)
{
	struct world *w = begin();

	pod_send(&w->pod, "POST /v1/realtime/client_secrets HTTP/1.1\r\n" HEADERS JSON
			  "Content-Length: 10\r\n\r\n");
	inbox_await(&w->plane, &w->pod.in, "credential_minting");
	inbox_forget(&w->pod.in);
	pod_send(&w->pod, "0123456789GET /nothing HTTP/1.1\r\n" HEADERS "\r\n");
	inbox_await(&w->plane, &w->pod.in, "unknown_operation");
	finish(w);
	(void)state;
}

#define EDIT(types, length, body)                                                     \
	"POST /v1/images/edits HTTP/1.1\r\n" HEADERS types "Content-Length: " #length \
	"\r\n\r\n" body
#define FORM "Content-Type: multipart/form-data; boundary=x\r\n"

/* An operation that takes a form or JSON is read when it is JSON; what could be read as either, or
 * as neither, goes nowhere. */
static void test_form_or_json(void **state)
{
	static const struct {
		const char *request, *reason;
	} refused[] = {
		{EDIT(JSON, 37, "{\"images\":[{\"file_id\":\"file-12345\"}]}"), "stateful_denied"},
		{EDIT("", 37, "{\"images\":[{\"file_id\":\"file-12345\"}]}"), "stateful_denied"},
		{EDIT(JSON FORM, 2, "{}"), "bad_body"},
		{EDIT(FORM JSON, 2, "{}"), "bad_body"},
		{EDIT("Content-Type: text/plain\r\n", 2, "{}"), "bad_body"},
		{EDIT(JSON, 2, "{["), "bad_body"},
		{EDIT(JSON, 11, "{\"model\":1}"), "\\\"model\\\" is not a string; expected one"},
	};
	struct world *w = begin();

	for (size_t i = 0; i < EG_ARRAY_SIZE(refused); i++) {
		pod_send(&w->pod, refused[i].request);
		inbox_await(&w->plane, &w->pod.in, refused[i].reason);
		inbox_await(&w->plane, &w->pod.in, "\"}}");
		inbox_forget(&w->pod.in);
		assert_true(plane_nobody(&w->plane, w->plane.provider[0]));
	}
	pod_send(&w->pod, EDIT(JSON, 35, "{\"images\":[{\"image_url\":\"data:,\"}]}"));
	inbox_init(&w->up, plane_accept(&w->plane, w->plane.provider[0]));
	inbox_await(&w->plane, &w->up, "data:,\"}]}");
	plane_send(&w->plane, w->up.fd, OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "\r\n\r\n{}");
	finish(w);
	(void)state;
}

/* The model says whose limit it is; what is larger than every one is not read at all. */
static void test_limit_of_route(void **state)
{
	static const char by_model[] =
		"{\"version\": \"egret/v1\", \"providers\": {" PLANE_PROVIDER(
			"p0") "}, \"credentials\": {\"key\": {\"type\": \"bearer\", \"file\": "
			      "\"key\"}},"
			      "\"policies\": [{\"name\": \"shop\", \"mode\": \"enforce\", "
			      "\"pods\": "
			      "{\"namespaces\": [\"shop\"]}, \"routes\": ["
			      "{\"name\": \"small\", \"match\": {\"hosts\": [\"api.openai.com\"], "
			      "\"models\": [\"s\"]}, \"targets\": [{\"provider\": \"p0\"}], "
			      "\"max_body_bytes\": 100},"
			      "{\"name\": \"large\", \"match\": {\"hosts\": [\"api.openai.com\"], "
			      "\"models\": [\"l\"]}, \"targets\": [{\"provider\": \"p0\"}], "
			      "\"max_body_bytes\": 200}]}]}";
	/* bytes sent, bytes announced, model, passes */
	static const struct {
		int sent, announced;
		char model;
		bool passes;
	} rows[] = {
		{100, 100, 's', true}, {101, 101, 's', false}, {200, 200, 'l', true},
		{0, 201, 'l', false},  {101, 0, 's', false},   {100, 0, 's', true},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		struct world *w = begin_with(by_model);
		char body[256], text[1024];
		int n = rows[i].sent;

		snprintf(body, sizeof(body), "{\"model\":\"%c\"%*s", rows[i].model, n - 12, "}");
		snprintf(text, sizeof(text), "POST /v1/chat/completions HTTP/1.1\r\n" HEADERS JSON);
		pod_send(&w->pod, text);
		if (rows[i].announced)
			snprintf(text, sizeof(text), "Content-Length: %d\r\n\r\n%.*s",
				 rows[i].announced, n, body);
		else
			snprintf(text, sizeof(text),
				 "Transfer-Encoding: chunked\r\n\r\n%x\r\n%.*s\r\n0\r\n\r\n", n, n,
				 body);
		pod_send(&w->pod, text);
		if (rows[i].passes) {
			inbox_init(&w->up, plane_accept(&w->plane, w->plane.provider[0]));
			inbox_await(&w->plane, &w->up, "}");
		} else {
			inbox_await(&w->plane, &w->pod.in, "x-egret-reason: body_too_large\r\n");
			assert_true(plane_nobody(&w->plane, w->plane.provider[0]));
		}
		finish(w);
	}
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_streamed_with_length),
		cmocka_unit_test(test_streamed_chunked),
		cmocka_unit_test(test_streamed_small_chunks),
		cmocka_unit_test(test_no_content),
		cmocka_unit_test(test_streamed_failure),
		cmocka_unit_test(test_streamed_back_pressure),
		cmocka_unit_test(test_streamed_chunked_after_a_stall),
		cmocka_unit_test(test_streamed_client_gone),
		cmocka_unit_test(test_streamed_too_slow),
		cmocka_unit_test(test_early_answer_takes_its_time),
		cmocka_unit_test(test_early_answer),
		cmocka_unit_test(test_budget_of_one_pod),
		cmocka_unit_test(test_budget_of_slow_heads),
		cmocka_unit_test(test_worker_budget),
		cmocka_unit_test(test_discard),
		cmocka_unit_test(test_form_or_json),
		cmocka_unit_test(test_limit_of_route),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
