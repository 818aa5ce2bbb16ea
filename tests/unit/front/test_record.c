/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request, and every field that its access record and its metrics have of it: each from where
 * it ought to come, none from its neighbour. No two values are alike.
 */
#include "original.h"

#include "targets.h"

#include "telemetry/telemetry.h"

static const char policy[] =
	"{\"version\": \"egret/v1\", \"providers\": {\"p0\": {\"kind\": \"openai\", "
	"\"endpoint\": \"http://provider.internal:%u/v1\", \"region\": \"DE\", "
	"\"allow_private\": true, \"credential\": \"key\"}},"
	"\"credentials\": {\"key\": {\"type\": \"bearer\", \"file\": \"key\"}},"
	"\"policies\": [{\"name\": \"eu-chat\", \"pods\": {\"namespaces\": [\"shop\"]},"
	"\"regions\": {\"allow\": [\"EU\"]},"
	"\"routes\": [{\"name\": \"chat\", \"match\": {\"hosts\": [\"api.openai.com\"], "
	"\"models\": [\"gpt-4o*\"]}, \"targets\": [{\"provider\": \"p0\"}]}]}]}";

#define ASKED "{\"model\":\"gpt-4o-mini\",\"messages\":[]}" /* 37 bytes */
#define REQUEST                                                                             \
	"POST /v1/chat/completions?limit=1 HTTP/1.1\r\nHost: api.openai.com\r\n"            \
	"Authorization: Bearer sk-proj-0123456789abcdefghijklmnopqrstuvwxyz\r\n"            \
	"User-Agent: OpenAI/JS 5.0\r\nContent-Type: application/json\r\nContent-Length: 37" \
	"\r\n\r\n" ASKED
#define ANSWERED                                                                     \
	"{\"model\":\"gpt-4o-mini-2024\",\"usage\":{\"prompt_tokens\":31,"           \
	"\"completion_tokens\":17,\"prompt_tokens_details\":{\"cached_tokens\":11}," \
	"\"completion_tokens_details\":{\"reasoning_tokens\":7}}}" /* 176 bytes */

static void expect(struct plane *p, const char *text)
{
	char *all;

	if (plane_recorded(p, text))
		return;
	all = plane_records(p);
	fail_msg("the record does not have %s: %s", text, all);
}

static uint64_t number_of(struct plane *p, const char *key)
{
	char *all = plane_records(p), *at = strstr(all, key);
	uint64_t n;

	if (!at)
		fail_msg("the record has no %s: %s", key, all);
	n = strtoull(at + strlen(key), NULL, 10);
	free(all);
	return n;
}

static void wait_ms(struct plane *p, uint64_t ms)
{
	uint64_t end = eg_now_ms() + ms;

	while (eg_now_ms() < end)
		plane_turn(p);
}

/* Asks, is answered in two pieces with time before each, and returns when both are on record. */
static void exchange(struct plane *p, struct pod *pod, struct inbox *up)
{
	char first[256];

	inbox_forget(&pod->in);
	pod_send(pod, REQUEST);
	if (!up->text)
		inbox_init(up, plane_accept(p, p->provider[0]));
	inbox_await(p, up, ASKED);
	inbox_forget(up);
	wait_ms(p, 30);
	snprintf(first, sizeof(first),
		 "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n"
		 "%.80s",
		 strlen(ANSWERED), ANSWERED);
	plane_send(p, up->fd, first);
	inbox_await(p, &pod->in, "gpt-4o-mini-2024");
	wait_ms(p, 30);
	plane_send(p, up->fd, ANSWERED + 80);
	inbox_await(p, &pod->in, ANSWERED);
	plane_turns(p, 3);
}

static void test_fields(void **state)
{
	static const char *const texts[] = {
		"\"type\":\"request\"",
		"\"gateway\":\"test\"",
		"\"pod\":{\"namespace\":\"shop\",\"name\":\"a\",\"uid\":\"uid-a\","
		"\"service_account\":\"default\"}",
		"\"source\":\"127.0.0.1:40000\"",
		"\"destination\":\"198.51.100.10:443\"",
		"\"server_name\":\"api.openai.com\"",
		"\"protocol\":\"HTTP/1.1\"",
		"\"method\":\"POST\"",
		"\"path\":\"/v1/chat/completions\"",
		"\"user_agent\":\"OpenAI/JS 5.0\"",
		"\"policy\":\"eu-chat\"",
		"\"route\":\"chat\"",
		"\"provider\":\"p0\",\"provider_kind\":\"openai\",\"region\":\"EU:DE\"",
		"\"operation\":\"chat.completions\",\"dialect\":\"openai\"",
		"\"model\":\"gpt-4o-mini\",\"response_model\":\"gpt-4o-mini-2024\"",
		"\"reason\":\"ok\"",
		"\"attempts\":[{\"provider\":\"p0\",\"region\":\"EU:DE\",\"reason\":\"ok\","
		"\"status\":200,\"duration_ms\":",
		"\"status\":200,\"upstream_status\":200,\"upstream_protocol\":\"HTTP/1.1\"",
		"\"client_credential_real\":true",
		"\"bytes_in\":37,\"bytes_out\":176",
		"\"tokens\":{\"input\":31,\"output\":17,\"cache_read\":11,\"reasoning\":7}",
	};
	char text[96];
	struct plane p;
	struct pod pod;
	struct inbox up = {.fd = -1};

	plane_up(&p, policy);
	pod_open(&pod, &p, "api.openai.com");
	exchange(&p, &pod, &up);
	assert_int_equal(plane_record_count(&p), 1);
	for (size_t i = 0; i < EG_ARRAY_SIZE(texts); i++)
		expect(&p, texts[i]);
	snprintf(text, sizeof(text), "\"policy_version\":\"%s\"",
		 eg_policy_version(eg_snapshot_policies(p.engine.snapshot)));
	expect(&p, text);
	/* Neither is there of the first request. */
	assert_false(plane_recorded(&p, "_reused"));
	/* 30 ms before the first byte, 30 more before the last: the loop may lose one of each. */
	assert_in_range(number_of(&p, "\"first_byte_ms\":"), 28, 100000);
	assert_in_range(number_of(&p, ",\"duration_ms\":"),
			number_of(&p, "\"first_byte_ms\":") + 28, 100000);
	exchange(&p, &pod, &up);
	assert_int_equal(plane_record_count(&p), 2);
	expect(&p, "\"connection_reused\":true,\"upstream_reused\":true");
	pod_close(&pod);
	inbox_fini(&up);
	plane_down(&p);
	(void)state;
}

/* `GET /v1/models/NAME` asks for a model, too: it stands in the path. */
static void test_model_of_path(void **state)
{
	struct plane p;
	struct pod pod;

	plane_up(&p, policy);
	pod_open(&pod, &p, "api.openai.com");
	pod_send(&pod, "GET /v1/models/gpt-5 HTTP/1.1\r\n" HEADERS "\r\n");
	inbox_await(&p, &pod.in, "HTTP/1.1 403 ");
	plane_turns(&p, 3);
	expect(&p, "\"model\":\"gpt-5\",\"reason\":\"operation_denied\"");
	pod_close(&pod);
	plane_down(&p);
	(void)state;
}

/* What is refused before its target is read: the path is what an investigation begins with. */
static void test_path_of_what_is_refused_early(void **state)
{
	static const struct {
		const char *request, *status, *path;
	} cases[] = {
		{"GET /v1/../v1/files?key=secret HTTP/1.1\r\n" HEADERS "\r\n", "HTTP/1.1 400 ",
		 "\"path\":\"/v1/../v1/files\""},
		{"GET /v1/a%2fb?secret HTTP/1.1\r\n" HEADERS "\r\n", "HTTP/1.1 400 ",
		 "\"path\":\"/v1/a%2fb\""},
		{"GET /v1/files?key=secret HTTP/1.1\r\nHost: api.anthropic.com\r\n\r\n",
		 "HTTP/1.1 421 ", "\"path\":\"/v1/files\""},
		{"GET https://me:secret@api.openai.com/v1/models?secret HTTP/1.1\r\n" HEADERS
		 "\r\n",
		 "HTTP/1.1 400 ", "\"path\":\"/v1/models\""},
		{"GET me:secret HTTP/1.1\r\n" HEADERS "\r\n", "HTTP/1.1 400 ", NULL},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct plane p;
		struct pod pod;

		plane_up(&p, policy);
		pod_open(&pod, &p, "api.openai.com");
		pod_send(&pod, cases[i].request);
		inbox_await(&p, &pod.in, cases[i].status);
		plane_turns(&p, 3);
		assert_int_equal(plane_record_count(&p), 1);
		expect(&p, cases[i].path ? cases[i].path : "\"reason\":\"bad_request\"");
		assert_false(plane_recorded(&p, "secret"));
		pod_close(&pod);
		plane_down(&p);
	}
	(void)state;
}

#define LABELS                                                                               \
	"{gateway=\"test\",route=\"chat\",backend=\"p0\",namespace=\"shop\",serviceAccount=" \
	"\"default\""

static void test_labels(void **state)
{
	static const char *const lines[] = {
		"egret_requests_total" LABELS ",policy=\"eu-chat\",reason=\"ok\",code=\"200\"} 2\n",
		"egret_upstream_attempts_total" LABELS ",reason=\"ok\",code=\"200\"} 2\n",
		"egret_request_duration_seconds_count" LABELS "} 2\n",
		"egret_time_to_first_byte_seconds_count" LABELS "} 2\n",
		"egret_request_bytes_total" LABELS "} 74\n",
		"egret_response_bytes_total" LABELS "} 352\n",
		"egret_tokens_total" LABELS
		",model=\"gpt-4o*\",operation=\"chat.completions\",type=\"input\"} 62\n",
		"egret_tokens_total" LABELS
		",model=\"gpt-4o*\",operation=\"chat.completions\",type=\"output\"} 34\n",
		"egret_tokens_total" LABELS
		",model=\"gpt-4o*\",operation=\"chat.completions\",type=\"cache_read\"} 22\n",
		"egret_tokens_total" LABELS
		",model=\"gpt-4o*\",operation=\"chat.completions\",type=\"reasoning\"} 14\n",
		"egret_real_client_credentials_total{gateway=\"test\"} 2\n",
	};
	struct plane p;
	struct pod pod;
	struct inbox up = {.fd = -1};
	struct eg_buf page;

	plane_up(&p, policy);
	pod_open(&pod, &p, "api.openai.com");
	exchange(&p, &pod, &up);
	exchange(&p, &pod, &up);
	eg_buf_init(&page, 1 << 20);
	assert_int_equal(eg_telemetry_render(&p.telemetry, 1, &page), 0);
	assert_int_equal(eg_buf_append(&page, "", 1), 0);
	for (size_t i = 0; i < EG_ARRAY_SIZE(lines); i++)
		if (!strstr(eg_buf_data(&page), lines[i]))
			fail_msg("the metrics do not have %s in %s", lines[i], eg_buf_data(&page));
	eg_buf_fini(&page);
	pod_close(&pod);
	inbox_fini(&up);
	plane_down(&p);
	(void)state;
}

/* What the first target's failure was is not why the second one's answer was refused. */
static void test_detail_is_of_the_last_attempt(void **state)
{
	struct world *w = begin(THREE TARGETS(""));

	pod_send(&w->pod, ASK);
	called(w, 0, BODY, NULL);
	hang_up(w, 0, true);
	called(w, 1, BODY,
	       "HTTP/1.1 401 Oops\r\nContent-Length: 21\r\n\r\n{\"error\":{\"a\":\"401\"}}");
	inbox_await(&w->plane, &w->pod.in, "egret_upstream_auth");
	assert_int_equal(plane_record_count(&w->plane), 1);
	expect(&w->plane, "\"reason\":\"upstream_auth\",\"attempts\":[");
	expect(&w->plane, "\"reason\":\"upstream_reset\"");
	finish(w);
	(void)state;
}

/* Of one connection, all that a snapshot says of it may change from one request to the next. */
#define RENAMED(mode, name, route, region)                                                        \
	"{\"version\": \"egret/v1\", \"providers\": {\"p0\": {\"kind\": \"openai\", "             \
	"\"endpoint\": \"http://provider.internal:%u/v1\", \"region\": \"" region "\", "          \
	"\"allow_private\": true, \"credential\": \"key\"}},"                                     \
	"\"credentials\": {\"key\": {\"type\": \"bearer\", \"file\": \"key\"}},"                  \
	"\"policies\": [{\"name\": \"" name "\", " mode "\"pods\": {\"namespaces\": [\"shop\"]}," \
	"\"routes\": [{\"name\": \"" route "\", \"match\": {\"hosts\": [\"api.openai.com\"], "    \
	"\"models\": [\"gpt-4o*\"]}, \"targets\": [{\"provider\": \"p0\"}]}]}]}"

/* The pod of the connection has this name from now on. */
static void publish(struct plane *p, const char *format, const char *pod_name,
		    const char *service_account)
{
	struct eg_policy_set *set = plane_policy(p, format);
	struct eg_pod_view pod = {
		.identity = {.namespace_name = "shop",
			     .name = pod_name,
			     .uid = "uid-a",
			     .service_account = service_account},
		.pod_id = 1,
		.address = {plane_address("127.0.0.1")},
		.address_count = 1,
	};
	struct eg_snapshot *s =
		eg_snapshot_create(1, set, plane_credentials(set, true), NULL, &pod, 1);

	assert_non_null(s);
	eg_engine_publish(&p->engine, s);
	eg_snapshot_unref(s);
}

static void test_what_a_snapshot_changes(void **state)
{
	static const struct {
		const char *policy, *pod, *account, *pod_text, *target_text, *tried_text;
	} steps[] = {
		{RENAMED("", "one", "chat", "DE"), "a", "first",
		 "{\"namespace\":\"shop\",\"name\":\"a\",\"uid\":\"uid-a\",\"service_account\":"
		 "\"first\"}",
		 "\"policy\":\"one\",\"policy_version\":\"%s\",\"route\":\"chat\",\"provider\":"
		 "\"p0\",\"provider_kind\":\"openai\",\"region\":\"EU:DE\",",
		 "[{\"provider\":\"p0\",\"region\":\"EU:DE\",\"reason\":\"ok\","},
		/* Another pod's name and account. */
		{RENAMED("", "one", "chat", "DE"), "b", "other",
		 "{\"namespace\":\"shop\",\"name\":\"b\",\"uid\":\"uid-a\",\"service_account\":"
		 "\"other\"}",
		 "\"policy\":\"one\",\"policy_version\":\"%s\",\"route\":\"chat\",\"provider\":"
		 "\"p0\",\"provider_kind\":\"openai\",\"region\":\"EU:DE\",",
		 "[{\"provider\":\"p0\",\"region\":\"EU:DE\",\"reason\":\"ok\","},
		{RENAMED("", "two", "talk", "FR"), "b", "other",
		 "{\"namespace\":\"shop\",\"name\":\"b\",\"uid\":\"uid-a\",\"service_account\":"
		 "\"other\"}",
		 "\"policy\":\"two\",\"policy_version\":\"%s\",\"route\":\"talk\",\"provider\":"
		 "\"p0\",\"provider_kind\":\"openai\",\"region\":\"EU:FR\",",
		 "[{\"provider\":\"p0\",\"region\":\"EU:FR\",\"reason\":\"ok\","},
	};
	struct plane p;
	struct pod pod;
	struct inbox up = {.fd = -1};

	plane_up(&p, policy);
	pod_open(&pod, &p, "api.openai.com");
	for (size_t i = 0; i < 8 * EG_ARRAY_SIZE(steps); i++) {
		char *record, text[512];
		size_t step = i / 2 % EG_ARRAY_SIZE(steps);

		/* Twice each: the second time there is something to be remembered. All are of one
		 * size, so that some lie where a former one lay. */
		if (i % 2 == 0)
			publish(&p, steps[step].policy, steps[step].pod, steps[step].account);
		exchange(&p, &pod, &up);
		assert_int_equal(plane_record_count(&p), i + 1);
		record = plane_last_record(&p);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(text, sizeof(text), steps[step].target_text,
			 eg_policy_version(eg_snapshot_policies(p.engine.snapshot)));
#pragma GCC diagnostic pop
		if (!strstr(record, steps[step].pod_text) || !strstr(record, text) ||
		    !strstr(record, steps[step].tried_text))
			fail_msg("step %zu: %s", i, record);
		free(record);
	}
	pod_close(&pod);
	inbox_fini(&up);
	plane_down(&p);
	(void)state;
}

/* What was enforced is only watched, and then enforced again: each record says which it was. */
static void test_shadow_in_between(void **state)
{
	static const char enforced[] = RENAMED("", "one", "chat", "DE");
	static const char watched[] =
		RENAMED("\"mode\": \"shadow\", \"shadow\": \"full\", ", "one", "chat", "DE");
	struct plane p;
	struct pod pod;
	struct inbox up = {.fd = -1}, own = {.fd = -1};
	char *record;

	plane_up(&p, enforced);
	pod_open(&pod, &p, NULL);
	pod.peer.destination = (struct eg_endpoint){plane_address("198.51.100.10"), p.port[1]};
	exchange(&p, &pod, &up);
	record = plane_last_record(&p);
	assert_non_null(strstr(record, "\"route\":\"chat\",\"provider\":\"p0\","));
	assert_null(strstr(record, "\"shadow\":true"));
	free(record);
	publish(&p, watched, "a", "default");
	inbox_forget(&pod.in);
	pod_send(&pod, REQUEST);
	inbox_init(&own, plane_accept(&p, p.provider[1]));
	inbox_await(&p, &own, ASKED);
	plane_send(&p, own.fd, OK(2, "{}"));
	inbox_await(&p, &pod.in, "{}");
	plane_turns(&p, 3);
	record = plane_last_record(&p);
	assert_non_null(strstr(record, "\"route\":\"chat\","));
	assert_null(strstr(record, "\"provider\""));
	assert_non_null(strstr(record, "\"shadow\":true"));
	free(record);
	publish(&p, enforced, "a", "default");
	exchange(&p, &pod, &up);
	record = plane_last_record(&p);
	assert_non_null(strstr(record, "\"route\":\"chat\",\"provider\":\"p0\","));
	assert_null(strstr(record, "\"shadow\":true"));
	free(record);
	pod_close(&pod);
	inbox_fini(&up);
	inbox_fini(&own);
	plane_down(&p);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_model_of_path),
		cmocka_unit_test(test_path_of_what_is_refused_early),
		cmocka_unit_test(test_labels),
		cmocka_unit_test(test_detail_is_of_the_last_attempt),
		cmocka_unit_test(test_what_a_snapshot_changes),
		cmocka_unit_test(test_shadow_in_between),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
