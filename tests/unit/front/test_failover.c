/* SPDX-License-Identifier: Apache-2.0 */
/* Targets, failover, replay, cooldown: what leads to the next target, and what the client sees. */
#include <time.h>

#include "targets.h"

static const char three[] = THREE TARGETS("");
static const char stateful[] =
	THREE_OF(", \"operations\": [\"batches\", \"files\", \"responses.stored\"]",
		 ", \"namespace\": \"shop\"") TARGETS("");
static const char never[] = THREE TARGETS(", \"replay\": \"never\"");
static const char hasty[] = THREE TARGETS(
	", \"timeouts\": {\"connect_ms\": 25, \"first_byte_ms\": 30, \"total_ms\": 30}");

static const char patient[] =
	THREE TARGETS(", \"timeouts\": {\"first_byte_ms\": 1000, \"total_ms\": 600000}");
static const char short_total[] = THREE TARGETS(
	", \"timeouts\": {\"connect_ms\": 100, \"first_byte_ms\": 60000, \"total_ms\": 400}");

#define ERROR_BODY(status, text, more)                                         \
	"HTTP/1.1 " #status " Oops\r\nContent-Type: application/json\r\n" more \
	"Content-Length: 21\r\n\r\n" text

/* What a first target can do, and whether the second is asked. */
static void test_table(void **state)
{
	static const struct {
		const char *answer; /* NULL: closes without a word */
		bool next;
	} cases[] = {
		{ERROR_BODY(500, "{\"error\":{\"a\":\"500\"}}", ""), true},
		{ERROR_BODY(502, "{\"error\":{\"a\":\"502\"}}", ""), true},
		{ERROR_BODY(503, "{\"error\":{\"a\":\"503\"}}", ""), true},
		{ERROR_BODY(504, "{\"error\":{\"a\":\"504\"}}", ""), true},
		{ERROR_BODY(529, "{\"error\":{\"a\":\"529\"}}", ""), true},
		{ERROR_BODY(408, "{\"error\":{\"a\":\"408\"}}", ""), true},
		{ERROR_BODY(429, "{\"error\":{\"a\":\"429\"}}", ""), true},
		{"HTTP/1.1 503 Oops\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbad\r\n0\r\n\r\n",
		 true},
		{"HTTP/1.1 503 Oops\r\nContent-Length: 0\r\n\r\n", true},
		{"garbage\r\n\r\n", true},
		{NULL, true},
		{ERROR_BODY(400, "{\"error\":{\"a\":\"400\"}}", ""), false},
		{ERROR_BODY(404, "{\"error\":{\"a\":\"404\"}}", ""), false},
		{ERROR_BODY(413, "{\"error\":{\"a\":\"413\"}}", ""), false},
		{ERROR_BODY(422, "{\"error\":{\"a\":\"422\"}}", ""), false},
		{ERROR_BODY(401, "{\"error\":{\"a\":\"401\"}}", ""), false},
		{OK(2, "{}"), false},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct world *w = begin(three);

		pod_send(&w->pod, ASK);
		called(w, 0, BODY, cases[i].answer);
		if (!cases[i].answer)
			hang_up(w, 0, true);
		if (cases[i].next) {
			called(w, 1, BODY, OK(8, "{\"n\":1}\n"));
			inbox_await(&w->plane, &w->pod.in, "{\"n\":1}");
			assert_true(inbox_has(&w->pod.in, "HTTP/1.1 200 OK"));
			assert_false(inbox_has(&w->pod.in, "error"));
			assert_true(plane_recorded(&w->plane, "\"replayed\":true"));
		} else {
			inbox_await(&w->plane, &w->pod.in, "\r\n\r\n");
			if (!plane_nobody(&w->plane, w->plane.provider[1]))
				fail_msg("case %zu went on to the next target", i);
		}
		assert_int_equal(plane_record_count(&w->plane), 1);
		finish(w);
	}
	(void)state;
}

static void test_connect_failure(void **state)
{
	struct world *w = begin(three);

	close(w->plane.provider[0]);
	w->plane.provider[0] = dup(0);
	pod_send(&w->pod, ASK);
	called(w, 1, BODY, OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "{}");
	assert_true(plane_recorded(&w->plane, "\"reason\":\"upstream_connect\""));
	/* Refused before a byte was sent: nothing can have been billed. */
	assert_false(plane_recorded(&w->plane, "billed"));
	assert_false(plane_recorded(&w->plane, "replayed"));
	finish(w);
	(void)state;
}

/* Every target gets the very same bytes, but for the model that its provider calls otherwise. */
static void test_replay_bytes_and_model(void **state)
{
	static const char body[] = "{ \"messages\" : [{\"role\":\"user\",\"content\":\"\\u00e9 "
				   "\xc3\xa9 \\\"model\\\"\"}],\r\n"
				   "\t\"model\"  :\"gpt\\u002d4o\" , \"x\":1.50e+1}";
	static const char mapped[] = "{ \"messages\" : [{\"role\":\"user\",\"content\":\"\\u00e9 "
				     "\xc3\xa9 \\\"model\\\"\"}],\r\n"
				     "\t\"model\"  :\"other/4o\" , \"x\":1.50e+1}";
	struct world *w = begin(three);
	char head[512], length[64];

	snprintf(head, sizeof(head),
		 "POST /v1/chat/completions HTTP/1.1\r\n" HEADERS JSON
		 "Content-Length: %zu\r\n\r\n",
		 sizeof(body) - 1);
	pod_send(&w->pod, head);
	pod_send(&w->pod, body);
	called(w, 0, body, ERROR_BODY(503, "{\"error\":{\"a\":\"503\"}}", ""));
	called(w, 1, body, ERROR_BODY(503, "{\"error\":{\"a\":\"503\"}}", ""));
	called(w, 2, mapped, OK(2, "{}"));
	snprintf(length, sizeof(length), "content-length: %zu\r\n", sizeof(mapped) - 1);
	assert_true(inbox_has(&w->up[2], length));
	inbox_await(&w->plane, &w->pod.in, "{}");
	finish(w);
	(void)state;
}

/* Also where the path names the model; a name is one segment of it. */
static void test_model_of_path(void **state)
{
	struct world *w = begin(
		THREE_WITH(", \"operations\": [\"models\"], \"models\": [\"gpt-4o\"]") TARGETS(""));

	pod_send(&w->pod, "GET /v1/models/gpt-4o HTTP/1.1\r\n" HEADERS "\r\n");
	called(w, 0, "GET /v1/models/gpt-4o HTTP/1.1\r\n",
	       ERROR_BODY(503, "{\"error\":{\"a\":\"503\"}}", ""));
	called(w, 1, "GET /v1/models/gpt-4o HTTP/1.1\r\n",
	       ERROR_BODY(503, "{\"error\":{\"a\":\"503\"}}", ""));
	called(w, 2, "GET /v1/models/other%2F4o HTTP/1.1\r\n", OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "{}");
	pod_send(&w->pod, "GET /v1/models/gpt-5 HTTP/1.1\r\n" HEADERS "\r\n");
	inbox_await(&w->plane, &w->pod.in, "model_denied");
	finish(w);
	(void)state;
}

/* The last error goes to the client as the provider sent it. */
static void test_all_fail(void **state)
{
	struct world *w = begin(three);

	pod_send(&w->pod, ASK);
	called(w, 0, BODY, ERROR_BODY(500, "{\"error\":{\"a\":\"500\"}}", ""));
	called(w, 1, BODY, ERROR_BODY(502, "{\"error\":{\"a\":\"502\"}}", ""));
	called(w, 2, "\"messages\":[]}",
	       ERROR_BODY(529, "{\"error\":{\"a\":\"529\"}}", "x-own: 1\r\n"));
	inbox_await(&w->plane, &w->pod.in, "{\"error\":{\"a\":\"529\"}}");
	assert_true(inbox_has(&w->pod.in, "HTTP/1.1 529 "));
	assert_true(inbox_has(&w->pod.in, "x-own: 1\r\n"));
	assert_true(inbox_has(&w->pod.in, "x-egret-reason: upstream_status\r\n"));
	assert_true(inbox_has(&w->pod.in, "x-should-retry: false\r\n"));
	assert_true(plane_recorded(&w->plane, "\"reason\":\"upstream_status\""));
	finish(w);
	(void)state;
}

/* A target that failed rests; when all rest, the one that may first is asked. */
static void test_cooldown(void **state)
{
	struct world *w = begin(three);

	pod_send(&w->pod, ASK);
	called(w, 0, BODY, ERROR_BODY(429, "{\"error\":{\"a\":\"429\"}}", "Retry-After: 30\r\n"));
	called(w, 1, BODY, OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "{}");
	for (int i = 0; i < 3; i++) {
		inbox_forget(&w->pod.in);
		inbox_forget(&w->up[0]);
		inbox_forget(&w->up[1]);
		pod_send(&w->pod, ASK);
		called(w, 1, BODY, OK(2, "{}"));
		inbox_await(&w->plane, &w->pod.in, "{}");
	}
	inbox_poll(&w->up[0]);
	assert_int_equal(w->up[0].n, 0);
	/* 1 and 2 fail too, for a shorter time: then one of them, and only one, is asked. */
	inbox_forget(&w->pod.in);
	inbox_forget(&w->up[1]);
	pod_send(&w->pod, ASK);
	called(w, 1, BODY, ERROR_BODY(503, "{\"error\":{\"a\":\"503\"}}", ""));
	called(w, 2, "\"messages\":[]}",
	       ERROR_BODY(503, "{\"error\":{\"a\":\"503\"}}", "Retry-After: 9\r\n"));
	inbox_await(&w->plane, &w->pod.in, "503\"}}");
	inbox_forget(&w->pod.in);
	inbox_forget(&w->up[1]);
	pod_send(&w->pod, ASK);
	called(w, 1, BODY, OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 200 OK");
	finish(w);
	(void)state;
}

/* A date says the same: until then it is left in peace, and no longer. */
static void test_cooldown_by_date(void **state)
{
	static const int later[] = {1800, -1800};

	for (size_t i = 0; i < EG_ARRAY_SIZE(later); i++) {
		struct world *w = begin(three);
		time_t when = time(NULL) + later[i];
		char date[64], answer[256];
		struct tm tm;
		bool stated;
		uint64_t until, now;
		const struct eg_provider *providers;
		size_t count;

		strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&when, &tm));
		snprintf(answer, sizeof(answer),
			 "HTTP/1.1 429 Slow\r\nRetry-After: %s\r\nContent-Length: 2\r\n\r\n{}",
			 date);
		pod_send(&w->pod, ASK);
		called(w, 0, BODY, answer);
		called(w, 1, BODY, OK(2, "{}"));
		inbox_await(&w->plane, &w->pod.in, "{}");
		now = eg_loop_now_ms(w->plane.loop);
		providers = eg_providers(eg_snapshot_policies(w->plane.engine.snapshot), &count);
		while (count && strcmp(providers[count - 1].name, "p0") != 0)
			count--;
		assert_true(count > 0);
		until = eg_cooldown_until(&w->plane.engine, w->plane.engine.snapshot,
					  &providers[count - 1], &stated);
		assert_int_equal(stated, later[i] > 0);
		if (later[i] > 0)
			assert_in_range(until - now, 1790000, 1801000);
		else
			assert_in_range(until - now, 1, EG_COOLDOWN_DEFAULT_MS);
		finish(w);
	}
	(void)state;
}

/* A target that rests by our own guess is asked before the request fails; one that said when to
 * come back is left in peace. */
static void test_resting_target_is_asked_last(void **state)
{
	for (int stated = 0; stated < 2; stated++) {
		struct world *w = begin(three);

		pod_send(&w->pod, ASK);
		called(w, 0, BODY,
		       stated ? ERROR_BODY(503, "{\"error\":{\"a\":\"503\"}}",
					   "Retry-After: 60\r\n")
			      : ERROR_BODY(503, "{\"error\":{\"a\":\"503\"}}", ""));
		called(w, 1, BODY, OK(2, "{}"));
		inbox_await(&w->plane, &w->pod.in, "{}");
		for (int i = 0; i < 2; i++)
			inbox_forget(&w->up[i]);
		inbox_forget(&w->pod.in);
		pod_send(&w->pod, ASK);
		called(w, 1, BODY, ERROR_BODY(500, "{\"error\":{\"a\":\"500\"}}", ""));
		called(w, 2, "\"messages\":[]}",
		       ERROR_BODY(502, "{\"error\":{\"a\":\"502\"}}", ""));
		if (!stated)
			called(w, 0, BODY, OK(8, "{\"n\":3}\n"));
		inbox_await(&w->plane, &w->pod.in,
			    stated ? "{\"error\":{\"a\":\"502\"}}" : "{\"n\":3}");
		inbox_poll(&w->up[0]);
		assert_int_equal(w->up[0].n > 0, !stated);
		finish(w);
	}
	(void)state;
}

static void test_first_byte_timeout(void **state)
{
	struct world *w = begin(hasty);

	pod_send(&w->pod, ASK);
	called(w, 0, BODY, NULL);
	called(w, 1, BODY, OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "{}");
	assert_true(plane_recorded(&w->plane, "\"reason\":\"upstream_timeout\""));
	assert_true(plane_recorded(&w->plane, "\"possibly_billed_twice\":true"));
	finish(w);
	(void)state;
}

/* A request that no socket's buffers hold, so that the provider sets the pace. */
static void ask_at_length(struct world *w, const char *begins)
{
	enum { LENGTH = 16 << 20 };
	char *body = malloc(LENGTH), head[256];

	memset(body, ' ', LENGTH);
	memcpy(body, begins, strlen(begins));
	snprintf(head, sizeof(head),
		 "POST /v1/chat/completions HTTP/1.1\r\n" HEADERS JSON "Content-Length: %d\r\n\r\n",
		 LENGTH);
	pod_send(&w->pod, head);
	plane_send_n(&w->plane, w->pod.in.fd, body, LENGTH);
	free(body);
}

static uint64_t now_ms(const struct world *w)
{
	return eg_loop_now_ms(w->plane.loop);
}

/* first_byte_ms is the provider's time to answer, and no time of the request on its way. */
static void test_first_byte_after_request(void **state)
{
	static char bytes[8192];
	struct world *w = begin(patient);
	uint64_t until;

	ask_at_length(w, "{\"model\":\"gpt-4o\",\"stream\":true,\"messages\":[]}");
	called(w, 0, "\r\n\r\n", NULL);
	for (until = now_ms(w) + 1200; now_ms(w) < until;) {
		(void)!read(w->up[0].fd, bytes, sizeof(bytes));
		plane_turn(&w->plane);
	}
	assert_true(plane_nobody(&w->plane, w->plane.provider[1]));
	plane_send(&w->plane, w->up[0].fd, OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "\r\n\r\n{}");
	assert_true(inbox_has(&w->pod.in, "HTTP/1.1 200 "));
	finish(w);
	(void)state;
}

/* total_ms begins with the attempt, and does not begin again when the request has been sent. */
static void test_total_of_attempt(void **state)
{
	struct world *w = begin(short_total);
	uint64_t began;
	int fd;

	ask_at_length(w, "{\"model\":\"gpt-4o\",\"messages\":[]}");
	inbox_init(&w->up[0], plane_accept(&w->plane, w->plane.provider[0]));
	began = now_ms(w);
	while (now_ms(w) < began + 300)
		plane_turn(&w->plane);
	while (now_ms(w) < began + 600) {
		inbox_poll(&w->up[0]);
		plane_turn(&w->plane);
	}
	plane_turns(&w->plane, 20);
	fd = accept4(w->plane.provider[1], NULL, NULL, SOCK_NONBLOCK);
	assert_true(fd >= 0);
	close(fd);
	finish(w);
	(void)state;
}

static void test_timeout_of_all(void **state)
{
	struct world *w = begin(hasty);

	pod_send(&w->pod, ASK);
	for (int i = 0; i < 3; i++)
		called(w, i, "\"messages\":[]}", NULL);
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 504 ");
	assert_true(inbox_has(&w->pod.in, "upstream_timeout"));
	finish(w);
	(void)state;
}

/* "never": what may have been processed is not sent again; what was refused may be. */
static void test_replay_never(void **state)
{
	struct world *w = begin(never);

	pod_send(&w->pod, ASK);
	called(w, 0, BODY, NULL);
	hang_up(w, 0, true);
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 502 ");
	assert_true(plane_nobody(&w->plane, w->plane.provider[1]));
	finish(w);
	w = begin(never);
	pod_send(&w->pod, ASK);
	called(w, 0, BODY, ERROR_BODY(500, "{\"error\":{\"a\":\"500\"}}", ""));
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 500 ");
	assert_true(plane_nobody(&w->plane, w->plane.provider[1]));
	finish(w);
	w = begin(never);
	pod_send(&w->pod, ASK);
	called(w, 0, BODY, ERROR_BODY(429, "{\"error\":{\"a\":\"429\"}}", ""));
	called(w, 1, BODY, OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 200 ");
	finish(w);
	(void)state;
}

/* By the first target, whose connection is kept. */
static void answered_once(struct world *w)
{
	pod_send(&w->pod, ASK);
	called(w, 0, BODY, OK(2, "{}"));
	inbox_await(&w->plane, &w->pod.in, "{}");
	inbox_forget(&w->pod.in);
	inbox_forget(&w->up[0]);
}

/* A pooled connection that the provider had closed meanwhile: once more, to the same target. */
static void test_stale_pooled_connection(void **state)
{
	struct world *w = begin(three);

	answered_once(w);
	pod_send(&w->pod, ASK);
	called(w, 0, BODY, NULL);
	hang_up(w, 0, true);
	inbox_fini(&w->up[0]);
	w->up[0].text = NULL;
	called(w, 0, BODY, OK(8, "{\"n\":2}\n"));
	inbox_await(&w->plane, &w->pod.in, "{\"n\":2}");
	assert_true(plane_nobody(&w->plane, w->plane.provider[1]));
	finish(w);
	(void)state;
}

/* The same where a request may be made once only: nobody knows what the provider did with it. */
static void test_stale_connection_without_replay(void **state)
{
	struct world *w = begin(never);

	answered_once(w);
	pod_send(&w->pod, ASK);
	called(w, 0, BODY, NULL);
	hang_up(w, 0, true);
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 502 ");
	assert_true(plane_nobody(&w->plane, w->plane.provider[0]));
	assert_true(plane_nobody(&w->plane, w->plane.provider[1]));
	finish(w);
	(void)state;
}

/* The same of what a provider keeps: done twice, there are two of it, whatever the route says. What
 * only looks at it is asked again. */
static void test_stale_connection_with_state(void **state)
{
	static const char *const asks[] = {
		"POST /v1/responses HTTP/1.1\r\nHost: api.openai.com\r\n"
		"Content-Type: application/json\r\nContent-Length: 49\r\n\r\n"
		"{\"model\":\"gpt-4o\",\"input\":\"hi\",\"background\":true}",
		"POST /v1/batches/b/cancel HTTP/1.1\r\nHost: api.openai.com\r\n"
		"Content-Length: 0\r\n\r\n",
		"DELETE /v1/files/f HTTP/1.1\r\nHost: api.openai.com\r\n\r\n",
		"GET /v1/files/f HTTP/1.1\r\nHost: api.openai.com\r\n\r\n",
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(asks); i++) {
		struct world *w = begin(stateful);

		answered_once(w);
		pod_send(&w->pod, asks[i]);
		called(w, 0, i ? "\r\n\r\n" : "true}", NULL);
		hang_up(w, 0, true);
		if (strncmp(asks[i], "GET ", 4) != 0) {
			inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 502 ");
		} else {
			inbox_fini(&w->up[0]);
			w->up[0].text = NULL;
			called(w, 0, "GET /v1/files/f HTTP/1.1", OK(2, "{}"));
			inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 200 ");
		}
		assert_true(plane_nobody(&w->plane, w->plane.provider[0]));
		assert_true(plane_nobody(&w->plane, w->plane.provider[1]));
		finish(w);
	}
	(void)state;
}

/* After the first byte there is no other target. */
static void test_no_failover_after_first_byte(void **state)
{
	struct world *w = begin(three);

	pod_send(&w->pod, ASK);
	called(w, 0, BODY, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{");
	inbox_await(&w->plane, &w->pod.in, "\r\n\r\n{");
	hang_up(w, 0, true);
	inbox_await_end(&w->plane, &w->pod.in);
	assert_true(w->pod.in.reset);
	assert_true(plane_nobody(&w->plane, w->plane.provider[1]));
	finish(w);
	(void)state;
}

/* A large error: judged by its beginning, then passed on whole. */
static void test_large_error_body(void **state)
{
	struct world *w = begin(three);
	size_t total = 200000;
	char *body = malloc(total), head[128];

	memset(body, 'e', total);
	pod_send(&w->pod, ASK);
	called(w, 0, BODY, NULL);
	snprintf(head, sizeof(head), "HTTP/1.1 400 Bad\r\nContent-Length: %zu\r\n\r\n", total);
	plane_send(&w->plane, w->up[0].fd, head);
	plane_send_n(&w->plane, w->up[0].fd, body, total);
	inbox_await_bytes(&w->plane, &w->pod.in, total + 100);
	free(body);
	finish(w);
	(void)state;
}

/* One that stands still is judged by what has come of it. */
static void test_slow_error_body(void **state)
{
	struct world *w = begin(three);

	pod_send(&w->pod, ASK);
	called(w, 0, BODY, "HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\n{");
	called(w, 1, BODY, OK(7, "{\"n\":2}"));
	inbox_await(&w->plane, &w->pod.in, "{\"n\":2}");
	finish(w);
	(void)state;
}

/* An answer before the request was sent whole, and no more reading: passed on. */
static void test_client_gone_while_waiting(void **state)
{
	struct world *w = begin(three);

	pod_send(&w->pod, ASK);
	called(w, 0, BODY, NULL);
	close(w->pod.in.fd);
	w->pod.in.fd = dup(0);
	inbox_await_end(&w->plane, &w->up[0]);
	assert_true(plane_nobody(&w->plane, w->plane.provider[1]));
	assert_true(plane_recorded(&w->plane, "\"reason\":\"client_closed\""));
	finish(w);
	(void)state;
}

/* Where a request may be made once only, a connection that rested for more than a second is not
 * trusted with it: it may be closed already. A fresher one is. */
static void test_fresh_without_replay(void **state)
{
	for (int rests = 0; rests < 2; rests++) {
		struct world *w = begin(never);

		answered_once(w);
		for (uint64_t since = eg_now_ms(); rests && eg_now_ms() - since < 1100;)
			plane_turn(&w->plane);
		pod_send(&w->pod, ASK);
		if (rests) {
			inbox_fini(&w->up[0]);
			w->up[0].text = NULL;
		}
		called(w, 0, BODY, OK(7, "{\"n\":2}"));
		inbox_await(&w->plane, &w->pod.in, "{\"n\":2}");
		assert_true(plane_nobody(&w->plane, w->plane.provider[0]));
		finish(w);
	}
	(void)state;
}

/* Eight interim answers and no more: then it is none of HTTP's, and another target is asked. */
static void test_interim_answers(void **state)
{
	static const char interim[] = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";

	for (int count = 8; count <= 9; count++) {
		struct world *w = begin(three);

		pod_send(&w->pod, ASK);
		called(w, 0, BODY, NULL);
		for (int i = 0; i < count; i++)
			plane_send(&w->plane, w->up[0].fd, interim);
		if (count > 8)
			called(w, 1, BODY, OK(2, "{}"));
		else
			plane_send(&w->plane, w->up[0].fd, OK(2, "{}"));
		inbox_await(&w->plane, &w->pod.in, "{}");
		assert_true(inbox_has(&w->pod.in, "HTTP/1.1 200 OK"));
		assert_false(inbox_has(&w->pod.in, "HTTP/1.1 103"));
		assert_int_equal(plane_recorded(&w->plane, "\"reason\":\"upstream_protocol\""),
				 count > 8);
		finish(w);
	}
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table),
		cmocka_unit_test(test_connect_failure),
		cmocka_unit_test(test_replay_bytes_and_model),
		cmocka_unit_test(test_model_of_path),
		cmocka_unit_test(test_all_fail),
		cmocka_unit_test(test_cooldown),
		cmocka_unit_test(test_cooldown_by_date),
		cmocka_unit_test(test_resting_target_is_asked_last),
		cmocka_unit_test(test_first_byte_timeout),
		cmocka_unit_test(test_first_byte_after_request),
		cmocka_unit_test(test_total_of_attempt),
		cmocka_unit_test(test_timeout_of_all),
		cmocka_unit_test(test_replay_never),
		cmocka_unit_test(test_stale_pooled_connection),
		cmocka_unit_test(test_stale_connection_without_replay),
		cmocka_unit_test(test_stale_connection_with_state),
		cmocka_unit_test(test_fresh_without_replay),
		cmocka_unit_test(test_interim_answers),
		cmocka_unit_test(test_no_failover_after_first_byte),
		cmocka_unit_test(test_large_error_body),
		cmocka_unit_test(test_slow_error_body),
		cmocka_unit_test(test_client_gone_while_waiting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
