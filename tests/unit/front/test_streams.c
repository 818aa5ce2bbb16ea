/* SPDX-License-Identifier: Apache-2.0 */
/* Streams inside a 200: what is held until it says something, and what never ends as a success. */
#include <jansson.h>

#include "targets.h"

static const char three[] = THREE TARGETS("");
static const char hasty[] =
	THREE TARGETS(", \"timeouts\": {\"connect_ms\": 500, \"first_byte_ms\": 5000, "
		      "\"idle_ms\": 30, \"total_ms\": 5000}");
static const char short_total[] =
	THREE TARGETS(", \"timeouts\": {\"connect_ms\": 50, \"first_byte_ms\": 60, "
		      "\"idle_ms\": 5000, \"total_ms\": 60}");
static const char never[] = THREE TARGETS(", \"replay\": \"never\"");

/* 46 bytes */
#define STREAM_BODY "{\"model\":\"gpt-4o\",\"stream\":true,\"messages\":[]}"
#define STREAM_ASK  POST(46, "") STREAM_BODY
#define SSE_HEAD                                                 \
	"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" \
	"Transfer-Encoding: chunked\r\n\r\n"
#define LAST "0\r\n\r\n"

#define ROLE                                                                               \
	"data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":" \
	"{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n"
#define WORD                                                                                \
	"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\"" \
	": null}]}\n\n"
#define FINISH	 "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define DONE	 "data: [DONE]\n\n"
#define OVERLOAD "data: {\"error\":{\"message\":\"Overloaded\",\"type\":\"server_error\"}}\n\n"
#define INVALID                                                                              \
	"data: {\"error\":{\"message\":\"bad\",\"type\":\"invalid_request_error\",\"code\":" \
	"\"context_length_exceeded\"}}\n\n"
#define WRONG_KEY                                                              \
	"data: {\"error\":{\"message\":\"Incorrect key sk-real-01\",\"type\":" \
	"\"authentication_error\"}}\n\n"
#define PING ": keep-alive\n\n"

/* One chunk of it. */
static void event(struct world *w, int i, const char *text)
{
	char head[32];

	snprintf(head, sizeof(head), "%zx\r\n", strlen(text));
	plane_send(&w->plane, w->up[i].fd, head);
	plane_send(&w->plane, w->up[i].fd, text);
	plane_send(&w->plane, w->up[i].fd, "\r\n");
}

static void stream(struct world *w, int i, const char *first)
{
	called(w, i, "\"messages\":[]}", SSE_HEAD);
	event(w, i, first);
}

static struct world *ask(const char *policy)
{
	struct world *w = begin(policy);

	pod_send(&w->pod, STREAM_ASK);
	return w;
}

/* The pod has got a whole, ordinary stream of target i, and one record says so. */
static void assert_whole(struct world *w, const char *provider)
{
	char text[64];

	inbox_await(&w->plane, &w->pod.in, "[DONE]\n\n\r\n" LAST);
	snprintf(text, sizeof(text), "\"provider\":\"%s\"", provider);
	assert_true(plane_recorded(&w->plane, text));
	assert_true(plane_recorded(&w->plane, "\"status\":200"));
	assert_int_equal(plane_record_count(&w->plane), 1);
}

static void assert_cut(struct world *w, const char *reason)
{
	inbox_await_end(&w->plane, &w->pod.in);
	assert_true(w->pod.in.reset);
	assert_false(inbox_has(&w->pod.in, "\r\n" LAST));
	assert_true(plane_recorded(&w->plane, reason));
	assert_int_equal(plane_record_count(&w->plane), 1);
}

/* The provider's own error, and its own end: as it came, and no success on record. */
static void assert_told(struct world *w)
{
	inbox_await(&w->plane, &w->pod.in, "\r\n" LAST);
	plane_turns(&w->plane, 10);
	assert_false(w->pod.in.reset);
	assert_true(plane_recorded(&w->plane, "\"reason\":\"upstream_error\""));
	assert_int_equal(plane_record_count(&w->plane), 1);
}

/* What comes before anything is said, and then fails: the pod sees the second target only. */
static void test_first_event_table(void **state)
{
	static const struct {
		const char *events[4];
		bool reset, end;
		const char *reason;
	} cases[] = {
		{{OVERLOAD}, false, true, "upstream_error"},
		{{OVERLOAD}, false, false, "upstream_error"},
		{{PING, ROLE, OVERLOAD}, false, true, "upstream_error"},
		{{ROLE OVERLOAD}, false, true, "upstream_error"},
		{{ROLE}, true, false, "upstream_reset"},
		{{PING}, false, true, "upstream_reset"},
		{{ROLE}, false, true, "upstream_reset"},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct world *w = ask(three);
		char text[96];

		called(w, 0, "\"messages\":[]}", SSE_HEAD);
		for (size_t k = 0; k < 4 && cases[i].events[k]; k++)
			event(w, 0, cases[i].events[k]);
		if (cases[i].end)
			plane_send(&w->plane, w->up[0].fd, LAST);
		plane_turns(&w->plane, 10);
		if (cases[i].reset)
			hang_up(w, 0, true);
		stream(w, 1, ROLE);
		event(w, 1, WORD);
		event(w, 1, FINISH);
		event(w, 1, DONE);
		plane_send(&w->plane, w->up[1].fd, LAST);
		assert_whole(w, "p1");
		assert_false(inbox_has(&w->pod.in, "error"));
		snprintf(text, sizeof(text), "\"reason\":\"%s\"", cases[i].reason);
		if (!plane_recorded(&w->plane, text))
			fail_msg("case %zu is not recorded as %s", i, cases[i].reason);
		assert_true(plane_recorded(&w->plane, "\"possibly_billed_twice\":true"));
		finish(w);
	}
	(void)state;
}

/* The preamble is held; the first word lets it go, and from there on nothing waits. */
static void test_preamble_is_held(void **state)
{
	struct world *w = ask(three);

	stream(w, 0, ROLE);
	event(w, 0, PING);
	plane_turns(&w->plane, 20);
	inbox_poll(&w->pod.in);
	assert_int_equal(w->pod.in.n, 0);
	event(w, 0, WORD);
	inbox_await(&w->plane, &w->pod.in, WORD);
	assert_true(inbox_has(&w->pod.in, ROLE PING));
	event(w, 0, PING);
	inbox_await(&w->plane, &w->pod.in, PING "\r\n");
	event(w, 0, DONE);
	plane_send(&w->plane, w->up[0].fd, LAST);
	assert_whole(w, "p0");
	finish(w);
	(void)state;
}

/* A preamble without an end is let go at the limit, and nothing of it is lost. */
static void test_preamble_limit(void **state)
{
	struct world *w = ask(three);
	size_t count = 70000 / (sizeof(ROLE) - 1);

	called(w, 0, "\"messages\":[]}", SSE_HEAD);
	for (size_t i = 0; i < count; i++)
		event(w, 0, ROLE);
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 200 OK");
	event(w, 0, WORD);
	event(w, 0, DONE);
	plane_send(&w->plane, w->up[0].fd, LAST);
	assert_whole(w, "p0");
	assert_true(w->pod.in.n > count * (sizeof(ROLE) - 1));
	finish(w);
	(void)state;
}

/* After the first word an error goes to the pod, and then a reset: never a clean end. */
static void test_error_inside(void **state)
{
	struct world *w = ask(three);

	stream(w, 0, ROLE WORD);
	event(w, 0, OVERLOAD);
	plane_send(&w->plane, w->up[0].fd, LAST);
	inbox_await(&w->plane, &w->pod.in, OVERLOAD);
	assert_told(w);
	/* One error event, the provider's. */
	assert_ptr_equal(strstr(w->pod.in.text, "\"error\""),
			 strstr(w->pod.in.text, "\"error\":{\"message\":\"Overloaded"));
	assert_null(strstr(strstr(w->pod.in.text, "\"error\"") + 1, "\"error\""));
	assert_true(plane_nobody(&w->plane, w->plane.provider[1]));
	finish(w);
	(void)state;
}

/* A stream that just ends is not a success, whatever the framing says. */
static void test_clean_cut(void **state)
{
	struct world *w = ask(three);

	stream(w, 0, ROLE WORD);
	plane_send(&w->plane, w->up[0].fd, LAST);
	inbox_await(&w->plane, &w->pod.in, "\"error\"");
	assert_cut(w, "\"reason\":\"upstream_reset\"");
	finish(w);
	(void)state;
}

/* An event is over, or isn't, however its bytes came: only then an error event can follow. */
static void test_error_event_wherever_it_was_cut(void **state)
{
	static const char *const ends[] = {"\n\n", "\r\n\r\n", "\r\r", "\n\r\n", "\n", "\r\n", ""};

	for (size_t i = 0; i < EG_ARRAY_SIZE(ends); i++) {
		for (size_t cut = 0; cut <= strlen(ends[i]); cut++) {
			struct world *w = ask(three);
			char first[64], rest[8];

			snprintf(first, sizeof(first), "data: {}%.*s", (int)cut, ends[i]);
			snprintf(rest, sizeof(rest), "%s", ends[i] + cut);
			stream(w, 0, WORD);
			event(w, 0, first);
			inbox_await(&w->plane, &w->pod.in, first);
			if (*rest)
				event(w, 0, rest);
			plane_turns(&w->plane, 10);
			hang_up(w, 0, true);
			assert_cut(w, "\"reason\":\"upstream_reset\"");
			if (inbox_has(&w->pod.in, "egret_upstream_reset") != (i < 4))
				fail_msg("end %zu, cut at %zu: %s", i, cut, w->pod.in.text);
			finish(w);
		}
	}
	(void)state;
}

/* What a cut answer said of its tokens is on record, whoever cut it; of one that was not passed on
 * nothing is. */
static void test_tokens_of_a_cut_answer(void **state)
{
#define COUNTED                                                                              \
	"data: {\"model\":\"gpt-4o-2024\",\"choices\":[{\"index\":0,\"delta\":{\"content\":" \
	"\"hi\"},\"finish_reason\":null}],\"usage\":{\"prompt_tokens\":7,"                   \
	"\"completion_tokens\":1}}\n\n"
	static const char tokens[] = "\"tokens\":{\"input\":7,\"output\":1}";
	static const char counted_role[] =
		"data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"},"
		"\"finish_reason\":null}],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":1}}"
		"\n\n";
	struct world *w = ask(three);

	stream(w, 0, COUNTED);
	inbox_await(&w->plane, &w->pod.in, "gpt-4o-2024");
	hang_up(w, 0, true);
	assert_cut(w, "\"reason\":\"upstream_reset\"");
	assert_true(plane_recorded(&w->plane, tokens));
	assert_true(plane_recorded(&w->plane, "\"response_model\":\"gpt-4o-2024\""));
	finish(w);
	w = ask(three);
	stream(w, 0, COUNTED);
	inbox_await(&w->plane, &w->pod.in, "gpt-4o-2024");
	close(w->pod.in.fd);
	w->pod.in.fd = dup(0);
	inbox_await_end(&w->plane, &w->up[0]);
	assert_true(plane_recorded(&w->plane, "\"reason\":\"client_closed\""));
	assert_true(plane_recorded(&w->plane, tokens));
	finish(w);
	w = ask(never);
	stream(w, 0, counted_role);
	plane_turns(&w->plane, 10);
	hang_up(w, 0, true);
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 502 ");
	assert_true(plane_recorded(&w->plane, "\"reason\":\"upstream_reset\""));
	assert_false(plane_recorded(&w->plane, "\"tokens\""));
	finish(w);
	(void)state;
}

/* Some providers send no [DONE]: a choice that ended is an end, whatever the spacing. */
static void test_finish_reason_is_an_end(void **state)
{
	struct world *w = ask(three);

	stream(w, 0, ROLE WORD);
	event(w, 0,
	      "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\" : \"stop\"}]}\n\n");
	plane_send(&w->plane, w->up[0].fd, LAST);
	inbox_await(&w->plane, &w->pod.in, "\r\n" LAST);
	assert_true(plane_recorded(&w->plane, "\"reason\":\"ok\""));
	finish(w);
	/* In a text it is no end. */
	w = ask(three);
	stream(w, 0,
	       "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":"
	       "\"\\\"finish_reason\\\":\\\"stop\\\"\"},\"finish_reason\":null}]}\n\n");
	plane_send(&w->plane, w->up[0].fd, LAST);
	assert_cut(w, "\"reason\":\"upstream_reset\"");
	finish(w);
	(void)state;
}

/* The request's own fault is not tried elsewhere; the key's is nobody's business. */
static void test_first_event_that_is_not_the_providers_fault(void **state)
{
	struct world *w = ask(three);

	stream(w, 0, INVALID);
	plane_send(&w->plane, w->up[0].fd, LAST);
	inbox_await(&w->plane, &w->pod.in, INVALID);
	assert_told(w);
	assert_true(plane_nobody(&w->plane, w->plane.provider[1]));
	finish(w);
	w = ask(three);
	stream(w, 0, WRONG_KEY);
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 502 ");
	inbox_await(&w->plane, &w->pod.in, "upstream_auth");
	assert_false(inbox_has(&w->pod.in, "sk-real"));
	assert_true(plane_nobody(&w->plane, w->plane.provider[1]));
	finish(w);
	(void)state;
}

/* All targets fail alike: the last one's words go to the pod. */
static void test_all_say_error_first(void **state)
{
	struct world *w = ask(three);

	for (int i = 0; i < 3; i++) {
		stream(w, i, OVERLOAD);
		plane_send(&w->plane, w->up[i].fd, LAST);
	}
	inbox_await(&w->plane, &w->pod.in, OVERLOAD);
	assert_told(w);
	finish(w);
	(void)state;
}

static void test_never_replayed(void **state)
{
	struct world *w = ask(never);

	stream(w, 0, OVERLOAD);
	plane_send(&w->plane, w->up[0].fd, LAST);
	inbox_await(&w->plane, &w->pod.in, OVERLOAD);
	assert_told(w);
	assert_true(plane_nobody(&w->plane, w->plane.provider[1]));
	finish(w);
	(void)state;
}

/* Silence before the first word: the next target. After it: cut. */
static void test_silence(void **state)
{
	struct world *w = ask(hasty);

	stream(w, 0, ROLE);
	stream(w, 1, WORD);
	inbox_await(&w->plane, &w->pod.in, WORD);
	inbox_await(&w->plane, &w->pod.in, "upstream_timeout");
	assert_cut(w, "\"reason\":\"upstream_timeout\"");
	finish(w);
	(void)state;
}

/* total_ms ends a stream that drips for ever. */
static void test_total(void **state)
{
	struct world *w = ask(short_total);

	stream(w, 0, WORD);
	for (int i = 0; i < PLANE_TURNS && !w->pod.in.reset && !w->pod.in.end; i++) {
		if (!(i % 10))
			(void)!send(w->up[0].fd, "7\r\n: drip\n\r\n", 12, MSG_NOSIGNAL);
		plane_turn(&w->plane);
		inbox_poll(&w->pod.in);
	}
	assert_cut(w, "\"reason\":\"upstream_timeout\"");
	finish(w);
	(void)state;
}

/* A 200 that began before a 429 does not take the cooldown away. */
static void test_cooldown_outlives_older_requests(void **state)
{
	struct world *w = ask(three);
	struct pod late;

	stream(w, 0, ROLE); /* in flight */
	plane_turns(&w->plane, 10);
	usleep(3000); /* the clock is in milliseconds */
	plane_turns(&w->plane, 2);
	pod_open(&late, &w->plane, "api.openai.com");
	pod_send(&late, ASK);
	{
		struct inbox second;

		inbox_init(&second, plane_accept(&w->plane, w->plane.provider[0]));
		inbox_await(&w->plane, &second, BODY);
		plane_send(&w->plane, second.fd,
			   "HTTP/1.1 429 Slow\r\nRetry-After: 30\r\nContent-Length: 2\r\n\r\n{}");
		called(w, 1, BODY, OK(2, "{}"));
		inbox_await(&w->plane, &late.in, "HTTP/1.1 200 OK");
		inbox_fini(&second);
	}
	event(w, 0, WORD DONE);
	plane_send(&w->plane, w->up[0].fd, LAST);
	assert_true(w->pod.in.fd >= 0);
	inbox_await(&w->plane, &w->pod.in, "[DONE]");
	inbox_forget(&late.in);
	inbox_forget(&w->up[1]);
	pod_send(&late, ASK);
	called(w, 1, BODY, OK(8, "{\"n\":1}\n"));
	inbox_await(&w->plane, &late.in, "{\"n\":1}");
	pod_close(&late);
	finish(w);
	(void)state;
}

/* OpenRouter: a 200 that is an error object. */
static void test_error_object_in_a_200(void **state)
{
	struct world *w = begin(three);

	pod_send(&w->pod, ASK);
	called(w, 0, BODY, OK(40, "{\"error\":{\"message\":\"x\",\"code\":502}}  \n\n"));
	called(w, 1, BODY, OK(40, "{\"error\":{\"message\":\"x\",\"code\":502}}  \n\n"));
	called(w, 2, "\"messages\":[]}", OK(12, "{\"id\":\"yes\"}"));
	inbox_await(&w->plane, &w->pod.in, "{\"id\":\"yes\"}");
	assert_false(inbox_has(&w->pod.in, "error"));
	finish(w);
	w = begin(three);
	pod_send(&w->pod, ASK);
	for (int i = 0; i < 3; i++)
		called(w, i, "\"messages\":[]}",
		       OK(40, "{\"error\":{\"message\":\"x\",\"code\":502}}  \n\n"));
	inbox_await(&w->plane, &w->pod.in, "{\"error\":{\"message\":\"x\",\"code\":502}}  \n\n");
	assert_true(inbox_has(&w->pod.in, "HTTP/1.1 200 OK"));
	assert_true(plane_recorded(&w->plane, "\"reason\":\"upstream_error\""));
	finish(w);
	(void)state;
}

/* A JSON answer that comes byte by byte is the same answer. */
static void test_json_byte_by_byte(void **state)
{
	struct world *w = begin(three);

	pod_send(&w->pod, ASK);
	called(w, 0, BODY, NULL);
	plane_trickle(&w->plane, w->up[0].fd, OK(19, " { \"errata\" : {} }\n"));
	inbox_await(&w->plane, &w->pod.in, "\r\n\r\n { \"errata\" : {} }\n");
	finish(w);
	(void)state;
}

/* ---- where the answer says it came from ---- */

#define EVIDENCE_POLICY(allow)                                                              \
	"{\"version\": \"egret/v1\", \"providers\": {\"p0\": {\"kind\": \"openai\", "       \
	"\"endpoint\": "                                                                    \
	"\"http://provider.internal:%u/v1\", \"allow_private\": true, \"region\": \"SA\", " \
	"\"credential\": \"key\"}},"                                                        \
	"\"credentials\": {\"key\": {\"type\": \"bearer\", \"file\": \"key\"}},"            \
	"\"policies\": [{\"name\": \"shop\", \"pods\": {\"namespaces\": [\"shop\"]}," allow \
	"\"routes\": [{\"name\": \"chat\", \"match\": {\"hosts\": [\"api.openai.com\"]}, "  \
	"\"targets\": [{\"provider\": \"p0\"}]}]}]}"

static void evidence(const char *policy, const char *header, const char *has, const char *has_not)
{
	struct world *w = begin(policy);
	char answer[256];

	snprintf(answer, sizeof(answer), "HTTP/1.1 200 OK\r\n%sContent-Length: 2\r\n\r\n{}",
		 header);
	pod_send(&w->pod, ASK);
	called(w, 0, BODY, answer);
	inbox_await(&w->plane, &w->pod.in, "{}");
	if (has && !plane_recorded(&w->plane, has))
		fail_msg("%s: no %s in the record", header, has);
	if (has_not && plane_recorded(&w->plane, has_not))
		fail_msg("%s: %s in the record", header, has_not);
	finish(w);
}

static void test_region_evidence(void **state)
{
	static const char sa[] = EVIDENCE_POLICY("\"regions\": {\"allow\": [\"SA\"]},");
	static const char any[] = EVIDENCE_POLICY("");

	evidence(sa, "x-groq-region: me-west-1\r\n", "\"region_evidence\":\"me-west-1\"",
		 "region_violation");
	evidence(sa, "x-groq-region: me-central-1\r\n", "\"region_violation\":true", NULL);
	evidence(sa, "x-ms-region: Sweden Central\r\n", "\"region_violation\":true", NULL);
	evidence(sa, "x-groq-region: the moon\r\n", "\"region_violation\":true", NULL);
	evidence(sa, "", NULL, "region_evidence");
	evidence(any, "x-groq-region: me-central-1\r\n", "\"region_evidence\":\"me-central-1\"",
		 "region_violation");
	(void)state;
}

/* What a target said that failed is not said of the one after it. */
static void test_region_evidence_of_another(void **state)
{
	struct world *w = begin(three);

	for (int i = 1; i < 3; i++) {
		close(w->plane.provider[i]);
		w->plane.provider[i] = dup(0);
	}
	pod_send(&w->pod, STREAM_ASK);
	called(w, 0, "\"messages\":[]}",
	       "HTTP/1.1 503 Busy\r\nx-groq-region: me-central-1\r\nContent-Length: 0\r\n\r\n");
	inbox_await(&w->plane, &w->pod.in, "HTTP/1.1 502 ");
	assert_true(plane_recorded(&w->plane, "\"reason\":\"upstream_connect\""));
	assert_false(plane_recorded(&w->plane, "region_evidence"));
	finish(w);
	(void)state;
}

/* ---- ../shared/data/providers/recorded/constructed: recorded beginnings with a failure ---- */

#define CONSTRUCTED_POLICY                                                                        \
	"{\"version\": \"egret/v1\", \"providers\": {\"p0\": {\"kind\": \"%s\", \"endpoint\": "   \
	"\"http://provider.internal:%%u/v1\", \"allow_private\": true, \"credential\": \"key\"}," \
	"\"p1\": {\"kind\": \"%s\", \"endpoint\": \"http://provider.internal:%%u/v1\", "          \
	"\"allow_private\": true, \"credential\": \"key\"}},"                                     \
	"\"credentials\": {\"key\": {\"type\": \"bearer\", \"file\": \"key\"}},"                  \
	"\"policies\": [{\"name\": \"shop\", \"pods\": {\"namespaces\": [\"shop\"]},"             \
	"\"routes\": [{\"name\": \"chat\", \"match\": {\"hosts\": [\"%s\"]}, "                    \
	"\"targets\": [{\"provider\": \"p0\"}, {\"provider\": \"p1\"}]}]}]}"

static void constructed(const char *vendor, const char *failure, json_t *recorded)
{
	bool anthropic = !strcmp(vendor, "anthropic"), first = !strcmp(failure, "error-first");
	bool told = !strcmp(failure, "error-midstream");
	const char *host = anthropic ? "api.anthropic.com" : "api.openai.com";
	const char *body =
		json_string_value(json_object_get(json_object_get(recorded, "response"), "body"));
	struct world *w = calloc(1, sizeof(*w));
	char policy[2048], request[512];

	snprintf(policy, sizeof(policy), CONSTRUCTED_POLICY, vendor, vendor, host);
	plane_up(&w->plane, policy);
	pod_open(&w->pod, &w->plane, host);
	snprintf(request, sizeof(request),
		 "POST /v1/%s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
		 "Content-Length: 46\r\n\r\n" STREAM_BODY,
		 anthropic ? "messages" : "chat/completions", host);
	pod_send(&w->pod, request);
	called(w, 0, "\"messages\":[]}", SSE_HEAD);
	event(w, 0, body);
	plane_send(&w->plane, w->up[0].fd, LAST);
	if (first) {
		called(w, 1, "\"messages\":[]}", OK(2, "{}"));
		inbox_await(&w->plane, &w->pod.in, "{}");
		assert_true(plane_recorded(&w->plane, "\"provider\":\"p1\""));
	} else if (told) {
		assert_told(w);
		assert_true(plane_nobody(&w->plane, w->plane.provider[1]));
	} else {
		inbox_await_end(&w->plane, &w->pod.in);
		if (!w->pod.in.reset || inbox_has(&w->pod.in, "\r\n" LAST))
			fail_msg("%s-%s ended as a success", vendor, failure);
		assert_true(plane_nobody(&w->plane, w->plane.provider[1]));
		assert_true(plane_recorded(&w->plane, "\"reason\":\"upstream_"));
	}
	finish(w);
}

static void test_constructed(void **state)
{
	static const char *const vendors[] = {"openai", "anthropic"};
	static const char *const failures[] = {"error-first", "error-midstream", "cut-clean",
					       "cut-inside-event"};
	char path[256];

	for (size_t v = 0; v < EG_ARRAY_SIZE(vendors); v++)
		for (size_t f = 0; f < EG_ARRAY_SIZE(failures); f++) {
			json_t *recorded;

			snprintf(path, sizeof(path),
				 "../shared/data/providers/recorded/constructed/%s-%s.json",
				 vendors[v], failures[f]);
			recorded = json_load_file(path, 0, NULL);
			if (!recorded) {
				print_message("%s is not there: the tests above cover it\n", path);
				skip();
			}
			constructed(vendors[v], failures[f], recorded);
			json_decref(recorded);
		}
	(void)state;
}

/* "streamed" is said of the answer, whatever was asked for. */
static void test_streamed_on_record(void **state)
{
	static const struct {
		const char *answer;
		bool streamed;
	} cases[] = {
		{OK(2, "{}"), false},
		{"HTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\n{}", false},
		{SSE_HEAD "8c\r\n" WRONG_KEY "\r\n" LAST, false}, /* told as an error of ours */
		{"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 14\r\n"
		 "\r\n" DONE,
		 true},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct world *w = begin(three);

		pod_send(&w->pod, STREAM_ASK);
		called(w, 0, "\"messages\":[]}", cases[i].answer);
		for (int n = 0; n < PLANE_TURNS && !plane_record_count(&w->plane); n++)
			plane_turn(&w->plane);
		if (plane_recorded(&w->plane, "\"streamed\":true") != cases[i].streamed)
			fail_msg("case %zu: %s", i, plane_records(&w->plane));
		finish(w);
	}
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_event_table),
		cmocka_unit_test(test_preamble_is_held),
		cmocka_unit_test(test_preamble_limit),
		cmocka_unit_test(test_error_inside),
		cmocka_unit_test(test_error_event_wherever_it_was_cut),
		cmocka_unit_test(test_clean_cut),
		cmocka_unit_test(test_tokens_of_a_cut_answer),
		cmocka_unit_test(test_finish_reason_is_an_end),
		cmocka_unit_test(test_first_event_that_is_not_the_providers_fault),
		cmocka_unit_test(test_all_say_error_first),
		cmocka_unit_test(test_never_replayed),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_total),
		cmocka_unit_test(test_cooldown_outlives_older_requests),
		cmocka_unit_test(test_error_object_in_a_200),
		cmocka_unit_test(test_json_byte_by_byte),
		cmocka_unit_test(test_region_evidence),
		cmocka_unit_test(test_region_evidence_of_another),
		cmocka_unit_test(test_constructed),
		cmocka_unit_test(test_streamed_on_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
