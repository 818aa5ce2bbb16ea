/* SPDX-License-Identifier: Apache-2.0 */
/* A request in memory that another one had: nothing of that is in its record or its answer, and no
 * key of a client's stays there. */
#include "targets.h"

#include "exchange/exchange_impl.h"
#include "freed.h"

#define OWN_KEY "sk-proj-0123456789abcdefghijklmnopqrstuvwxyz"

/* The last record, without what differs from one run to the next. */
static char *last_record(struct plane *p)
{
	static const char *const differ[] = {"\"time\":\"",
					     "\"request_id\":\"",
					     "\"first_byte_ms\":",
					     "\"duration_ms\":",
					     "\"upstream_connect_ms\":",
					     "\"policy_version\":\""}; /* with the ports */
	char *last = plane_last_record(p), *at;

	for (size_t i = 0; i < EG_ARRAY_SIZE(differ); i++)
		for (at = last; (at = strstr(at, differ[i]));) {
			at += strlen(differ[i]);
			while (*at && *at != ',' && *at != '}' && *at != '"')
				memmove(at, at + 1, strlen(at));
		}
	/* Left out below a millisecond. */
	at = strstr(last, ",\"upstream_connect_ms\":");
	if (at)
		memmove(at, at + strlen(",\"upstream_connect_ms\":"),
			strlen(at + strlen(",\"upstream_connect_ms\":")) + 1);
	return last;
}

/* A request that leaves something in each member: two targets fail, the third streams and counts,
 * with a key of the client's own, query, user agent, detail. */
static void leave_much(struct world *w)
{
	pod_send(&w->pod,
		 "POST /v1/chat/completions?limit=1 HTTP/1.1\r\nHost: api.openai.com\r\n"
		 "Authorization: Bearer " OWN_KEY "\r\nUser-Agent: first/1\r\n"
		 "Origin: http://first\r\nX-Egret-Via: first\r\n"
		 "Accept-Encoding: gzip\r\nTE: trailers\r\n" JSON "Content-Length: 45\r\n\r\n"
		 "{\"model\":\"gpt-4o\",\"stream\":true,\"messages\":1}");
	called(w, 0, "\"messages\":1}", NULL);
	hang_up(w, 0, true);
	called(w, 1, "\"messages\":1}",
	       "HTTP/1.1 503 Oops\r\nX-Groq-Region: eu\r\nContent-Length: 2\r\n\r\nno");
	called(w, 2, "\"messages\":1}",
	       "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Groq-Region: us\r\n"
	       "Transfer-Encoding: chunked\r\n\r\n7f\r\n"
	       "data: {\"model\":\"first\",\"choices\":[{\"delta\":{\"content\":\"x\"}}],"
	       "\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n"
	       "data: [DONE]\n\n\r\n0\r\n\r\n");
	inbox_await(&w->plane, &w->pod.in, "data: [DONE]");
	plane_turns(&w->plane, 3);
	assert_int_equal(plane_record_count(&w->plane), 1);
	pod_close(&w->pod);
	plane_turns(&w->plane, 3);
	pod_open(&w->pod, &w->plane, "api.openai.com");
}

/* What the request is answered and recorded, in memory that is new or that had the one above. */
static void run(const char *request, const char *awaited, const char *upstream, bool after,
		char **record, char **answer)
{
	/* Nobody is in cooldown for what failed before. */
	struct world *w = begin(THREE TARGETS(""));
	char *id;

	if (after) {
		leave_much(w);
		memset(&w->plane.cooldowns, 0, sizeof(w->plane.cooldowns));
	}
	pod_send(&w->pod, request);
	if (upstream) {
		if (after) {
			inbox_fini(&w->up[0]);
			w->up[0].text = NULL;
		}
		called(w, 0, BODY, upstream);
	}
	inbox_await(&w->plane, &w->pod.in, awaited);
	plane_turns(&w->plane, 3);
	*record = last_record(&w->plane);
	*answer = strdup(w->pod.in.text);
	id = strstr(*answer, "x-egret-request-id: ");
	if (id)
		memset(id, 'i', 52);
	id = strstr(*answer, "\"request_id\":\"");
	if (id)
		memset(id, 'i', 46);
	finish(w);
}

static void test_nothing_is_left(void **state)
{
	static const struct {
		const char *request, *awaited, *upstream;
	} cases[] = {
		{ASK, "{\"a\":1}", OK(7, "{\"a\":1}")},
		{"GET /v1/models/gpt-5 HTTP/1.1\r\n" HEADERS "\r\n", "HTTP/1.1 403 ", NULL},
		{"GET /nothing HTTP/1.1\r\n" HEADERS "\r\n", "HTTP/1.1 403 ", NULL},
		{"GET /v1/../x HTTP/1.1\r\n" HEADERS "\r\n", "HTTP/1.1 400 ", NULL},
		{"GARBAGE\r\n\r\n", "HTTP/1.1 400 ", NULL},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		char *record[2], *answer[2];

		for (int after = 0; after < 2; after++)
			run(cases[i].request, cases[i].awaited, cases[i].upstream, after,
			    &record[after], &answer[after]);
		if (strcmp(record[0], record[1]))
			fail_msg("%s, but after another: %s", record[0], record[1]);
		assert_string_equal(answer[0], answer[1]);
		for (int after = 0; after < 2; after++) {
			free(record[after]);
			free(answer[after]);
		}
	}
	(void)state;
}

/* Neither in the memory that is kept (under ASan there is none) nor in what was given back. */
static void test_no_key_is_left(void **state)
{
	struct world *w = begin(THREE TARGETS(""));
	struct eg_exchange *x;

	freed_watch(OWN_KEY);
	leave_much(w);
	x = w->plane.engine.spare;
#if !defined(__SANITIZE_ADDRESS__)
	assert_non_null(x);
	assert_int_equal(w->plane.engine.spare_count, 1);
#endif
	for (; x; x = x->spare)
		if (x->arena.blocks)
			assert_null(memmem(x->arena.at, (size_t)(x->arena.end - x->arena.at),
					   OWN_KEY, strlen(OWN_KEY)));
	finish(w);
	assert_int_equal(freed_count, 0);
	freed_watch(NULL);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_is_left),
		cmocka_unit_test(test_no_key_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
