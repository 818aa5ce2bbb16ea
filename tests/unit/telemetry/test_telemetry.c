/* SPDX-License-Identifier: Apache-2.0 */
/* Access records are one valid JSON line each whatever they hold; metrics sum over slots. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "telemetry/telemetry.h"

static struct eg_record sample(void)
{
	static const struct eg_attempt attempts[] = {
		{"openai", "US", EG_REASON_UPSTREAM_STATUS, 503, 12},
		{"openai-eu", "EU", EG_REASON_OK, 200, 80},
	};

	return (struct eg_record){
		.request_id = "0123456789abcdef0123456789abcdef",
		.wall_ms = 1700000000123u,
		.pod_namespace = "shop",
		.pod_name = "assistant-1",
		.service_account = "assistant",
		.policy = "eu-chat",
		.route = "chat",
		.provider = "openai-eu",
		.server_name = EG_STR("api.openai.com"),
		.protocol = "HTTP/2",
		.method = EG_STR("POST"),
		.path = EG_STR("/v1/chat/completions?key=sk-planted"),
		.model = EG_STR("gpt-4o"),
		.operation = "chat.completions",
		.status = 200,
		.reason = EG_REASON_OK,
		.attempts = attempts,
		.attempt_count = 2,
		.bytes_in = 62,
		.bytes_out = 300,
		.first_byte_ms = 90,
		.first_byte_seen = true,
		.duration_ms = 95,
		.usage_known = true,
		.input_tokens = 11,
		.output_tokens = 7,
	};
}

struct log_file {
	char path[64];
	int fd;
	struct eg_lines *log; /* without a thread: written at its end */
};

static struct log_file log_open(void)
{
	struct log_file f = {.path = "/tmp/egret-test-telemetry-XXXXXX"};

	f.fd = mkstemp(f.path);
	assert_true(f.fd >= 0);
	f.log = eg_lines_create(dup(f.fd));
	assert_non_null(f.log);
	return f;
}

static char *log_read(struct log_file *f)
{
	char *text;
	off_t n;

	assert_true(eg_lines_destroy(f->log, 0));
	n = lseek(f->fd, 0, SEEK_END);
	text = calloc(1, (size_t)n + 1);
	assert_non_null(text);
	assert_int_equal(pread(f->fd, text, (size_t)n, 0), n);
	close(f->fd);
	unlink(f->path);
	return text;
}

/* A first byte within the millisecond is 0, and counts; none is no value. */
static void first_byte_at_once(void **state)
{
	for (int seen = 0; seen < 2; seen++) {
		struct log_file f = log_open();
		struct eg_telemetry *t = eg_telemetry_create("egret", f.log);
		struct eg_record r = sample();
		char *text;

		r.first_byte_ms = 0;
		r.first_byte_seen = seen;
		eg_telemetry_record(t, &r);
		eg_telemetry_destroy(t);
		text = log_read(&f);
		assert_int_equal(strstr(text, "\"first_byte_ms\":0") != NULL, seen);
		free(text);
	}
	(void)state;
}

static void record_is_one_json_line(void **state)
{
	struct log_file f = log_open();
	struct eg_telemetry *t = eg_telemetry_create("egret", f.log);
	struct eg_record r = sample();
	json_t *j;
	char *text;

	(void)state;
	eg_telemetry_record(t, &r);
	eg_telemetry_destroy(t);
	text = log_read(&f);
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
	j = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(j);
	assert_string_equal(json_string_value(json_object_get(j, "time")),
			    "2023-11-14T22:13:20.123Z");
	assert_string_equal(json_string_value(json_object_get(j, "reason")), "ok");
	assert_string_equal(json_string_value(json_object_get(j, "protocol")), "HTTP/2");
	assert_string_equal(json_string_value(json_object_get(j, "path")), "/v1/chat/completions");
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(j, "pod"), "namespace")), "shop");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(j, "tokens"), "input")),
			 11);
	assert_int_equal(json_array_size(json_object_get(j, "attempts")), 2);
	assert_int_equal(json_integer_value(json_object_get(
				 json_array_get(json_object_get(j, "attempts"), 0), "status")),
			 503);
	assert_null(strstr(text, "sk-planted")); /* the query is never recorded */
	assert_int_equal(json_integer_value(json_object_get(j, "first_byte_ms")), 90);
	json_decref(j);
	free(text);
}

/* The time of a record is what gmtime_r() says, on every day of 400 years and at their seams. */
static void times_of_the_calendar(void **state)
{
	struct log_file f = log_open();
	struct eg_telemetry *t = eg_telemetry_create("egret", f.log);
	struct eg_record r = {0};
	char *text, *at, *end, want[40];

	(void)state;
	for (uint64_t day = 0; day < 146097; day++) {
		r.wall_ms = day * 86400000 + day * 7919 % 86400000;
		eg_telemetry_record(t, &r);
		if (!(day % 64)) {
			eg_telemetry_flush(t);
			assert_int_equal(eg_lines_turn(f.log), 1);
		}
	}
	eg_telemetry_destroy(t);
	at = text = log_read(&f);
	end = text + strlen(text);
	for (uint64_t day = 0; day < 146097; day++) {
		uint64_t ms = day * 86400000 + day * 7919 % 86400000;
		time_t seconds = (time_t)(ms / 1000);
		struct tm tm;
		size_t n;

		gmtime_r(&seconds, &tm);
		n = strftime(want, sizeof(want), "{\"time\":\"%Y-%m-%dT%H:%M:%S", &tm);
		snprintf(want + n, sizeof(want) - n, ".%03uZ\"", (unsigned int)(ms % 1000));
		assert_true(end - at > (ssize_t)strlen(want));
		assert_memory_equal(at, want, strlen(want));
		at = memchr(at, '\n', (size_t)(end - at)); /* strchr() may look at all of it */
		assert_non_null(at);
		at++;
	}
	assert_ptr_equal(at, end);
	free(text);
}

/* A line that is longer than most, and one for which there is no room, are whole or not at all. */
static void long_lines_are_whole(void **state)
{
	char path[600], agent[200];
	struct log_file f = log_open();
	struct eg_telemetry *t = eg_telemetry_create("egret", f.log);
	struct eg_record r = sample();
	char *text, *at, *end;
	json_t *j;

	(void)state;
	memset(path, 1, sizeof(path)); /* six bytes each */
	memset(agent, 1, sizeof(agent));
	r.path = (struct eg_str){path, sizeof(path)};
	r.model = r.response_model = r.server_name = (struct eg_str){path, 300};
	r.user_agent = (struct eg_str){agent, sizeof(agent)};
	for (size_t i = 0; i < 100; i++)
		eg_telemetry_record(t, &r);
	eg_telemetry_destroy(t);
	at = text = log_read(&f);
	for (size_t i = 0; i < 100; i++, at = end + 1) {
		end = strchr(at, '\n');
		assert_non_null(end);
		assert_true(end - at > 512 * 6);
		*end = '\0';
		j = json_loads(at, JSON_REJECT_DUPLICATES, NULL);
		assert_non_null(j);
		json_decref(j);
	}
	assert_int_equal(*at, 0);
	free(text);
}

/* Strings from outside: quotes, line feeds, invalid UTF-8, overlong, NUL, very long ones. */
static void hostile_strings_stay_inside_their_field(void **state)
{
	static const char hostile[] =
		"a\"b\\c\nd\x01\x80\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80 \xc3\xa9\0z";
	struct log_file f = log_open();
	struct eg_telemetry *t = eg_telemetry_create("egret", f.log);
	struct eg_record r = sample();
	char longer[5000], *text;
	json_t *j;

	(void)state;
	memset(longer, '"', sizeof(longer));
	r.model = (struct eg_str){hostile, sizeof(hostile) - 1};
	r.user_agent = (struct eg_str){longer, sizeof(longer)};
	eg_telemetry_record(t, &r);
	eg_telemetry_destroy(t);
	text = log_read(&f);
	j = json_loads(text, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
	assert_non_null(j);
	assert_int_equal(json_string_length(json_object_get(j, "user_agent")), 128);
	assert_non_null(strstr(text, "a\\\"b\\\\c\\u000ad\\u0001\\u0080\\u00c0\\u00af"));
	assert_non_null(strstr(text, "\xc3\xa9\\u0000z"));
	json_decref(j);
	free(text);
}

/* A key that the pod (or a provider) puts where only names belong. */
static void keys_are_not_recorded(void **state)
{
#define LONG "0123456789abcdefABCDEF"
	static const struct {
		const char *text, *recorded; /* NULL: as it is */
	} cases[] = {
		{"sk-proj-" LONG, "[redacted]"},
		{"curl sk-ant-api03-" LONG "_-x", "curl [redacted]"},
		{"/v1/sk-" LONG "/chat", "/v1/[redacted]/chat"},
		{"a AIza" LONG ";hf_" LONG ",ghp_" LONG, "a [redacted];[redacted],[redacted]"},
		{"gsk_" LONG, "[redacted]"},
		{"xai-" LONG, "[redacted]"},
		{"AKIAIOSFODNN7EXAMPLE", "[redacted]"},
		{"github_pat_" LONG, "[redacted]"},
		{"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "[redacted]"},
		{"gpt-4o-mini-2024-07-18", NULL},
		{"sk-placeholder", NULL},
		{"task-0123456789abcdef0123456789", NULL},
		{"pplx-70b-online", NULL},
		{"AKIAIOSFODNN", NULL},
		{"sk-", NULL},
		{"/v1/files/file-abcdefghijklmnopqrstuv", NULL},
		{"claude-sonnet-4-5-20250929", NULL},
		{"Anthropic/Python 0.40.0 hf_hub/0.26.2; unknown/None", NULL},
	};

	(void)state;
	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		const char *wanted = cases[i].recorded ? cases[i].recorded : cases[i].text;
		static const char *const keys[] = {"method",	      "path",  "user_agent",
						   "server_name",     "model", "response_model",
						   "region_evidence", "detail"};
		struct log_file f = log_open();
		struct eg_telemetry *t = eg_telemetry_create("egret", f.log);
		struct eg_record r = sample();
		struct eg_str s = {cases[i].text, strlen(cases[i].text)};
		char *text;
		json_t *j;

		r.method = r.path = r.user_agent = r.server_name = r.model = s;
		r.response_model = r.region_evidence = s;
		r.detail = cases[i].text;
		eg_telemetry_record(t, &r);
		eg_telemetry_destroy(t);
		text = log_read(&f);
		j = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
		assert_non_null(j);
		for (size_t k = 0; k < EG_ARRAY_SIZE(keys); k++) {
			const char *got = json_string_value(json_object_get(j, keys[k]));

			assert_non_null(got);
			/* Of a method no more than its first 32 bytes is read. */
			if (strncmp(got, wanted, k ? 1000 : EG_MAX(strlen(got), (size_t)10)))
				fail_msg("%s: \"%s\", expected \"%s\"", keys[k], got, wanted);
		}
		json_decref(j);
		free(text);
	}
}

/* Where a string is cut, no half of a key is left: it is looked at before. */
static void keys_at_the_cut(void **state)
{
	char longer[600];

	(void)state;
	for (size_t at = 480; at < 520; at++) {
		struct log_file f = log_open();
		struct eg_telemetry *t = eg_telemetry_create("egret", f.log);
		struct eg_record r = sample();
		char *text;

		memset(longer, '/', sizeof(longer));
		memcpy(longer + at, "sk-proj-" LONG, strlen("sk-proj-" LONG));
		r.path = (struct eg_str){longer, sizeof(longer)};
		eg_telemetry_record(t, &r);
		eg_telemetry_destroy(t);
		text = log_read(&f);
		assert_null(strstr(text, "sk-proj"));
		assert_null(strstr(text, "/sk-"));
		free(text);
	}
#undef LONG
}

static void metrics_sum_over_slots(void **state)
{
	atomic_int_fast64_t mirror = 0;
	struct eg_telemetry *slots[2] = {eg_telemetry_create("egret", NULL),
					 eg_telemetry_create("egret", NULL)};
	struct eg_record r = sample();
	struct eg_buf out;

	(void)state;
	r.model_label = "gpt-4o*";
	eg_telemetry_record(slots[0], &r);
	eg_telemetry_record(slots[1], &r);
	r.reason = EG_REASON_REGION_DENIED;
	r.status = 403;
	r.model_label = NULL;
	r.model = EG_STR("a-model-no-rule-knows");
	r.attempt_count = 0;
	eg_telemetry_record(slots[1], &r);
	eg_telemetry_gauge(slots[0], EG_GAUGE_CLIENT_CONNECTIONS, 3);
	eg_telemetry_gauge(slots[1], EG_GAUGE_LOOP_LATE_MS, 70);
	eg_telemetry_mirror(slots[1], EG_GAUGE_CLIENT_CONNECTIONS, &mirror);
	eg_telemetry_gauge(slots[1], EG_GAUGE_CLIENT_CONNECTIONS, -1);
	assert_int_equal(atomic_load(&mirror), -1);
	assert_int_equal(eg_telemetry_gauge_now(slots[0], EG_GAUGE_CLIENT_CONNECTIONS), 3);
	eg_buf_init(&out, 1 << 20);
	assert_int_equal(eg_telemetry_render(slots, 2, &out), 0);
	assert_int_equal(eg_buf_append(&out, "", 1), 0);
#define HAS(s) assert_non_null(strstr(eg_buf_data(&out), s))
#define WG                                                                           \
	"gateway=\"egret\",route=\"chat\",backend=\"openai-eu\",namespace=\"shop\"," \
	"serviceAccount=\"assistant\""
	HAS("egret_requests_total{" WG ",policy=\"eu-chat\",reason=\"ok\",code=\"200\"} 2\n");
	HAS("egret_requests_total{" WG
	    ",policy=\"eu-chat\",reason=\"region_denied\",code=\"403\"} 1\n");
	HAS("egret_request_duration_seconds_bucket{" WG ",le=\"0.08\"} 0\n");
	HAS("egret_request_duration_seconds_bucket{" WG ",le=\"0.16\"} 3\n");
	HAS("egret_request_duration_seconds_count{" WG "} 3\n");
	HAS("egret_tokens_total{" WG
	    ",model=\"gpt-4o*\",operation=\"chat.completions\",type=\"input\"} 22\n");
	HAS("egret_client_connections{gateway=\"egret\"} 2\n");
	HAS("egret_loop_late_milliseconds{gateway=\"egret\",worker=\"0\"} 0\n");
	HAS("egret_loop_late_milliseconds{gateway=\"egret\",worker=\"1\"} 70\n");
	HAS("egret_upstream_attempts_total{gateway=\"egret\",route=\"chat\",backend=\"openai\"");
	HAS("model=\"other\"");
	assert_null(strstr(eg_buf_data(&out), "a-model-no-rule-knows"));
	eg_buf_fini(&out);
	eg_telemetry_destroy(slots[0]);
	eg_telemetry_destroy(slots[1]);
}

static char *rendered(struct eg_telemetry *t)
{
	struct eg_buf out;
	char *text;

	eg_buf_init(&out, 64 << 20);
	assert_int_equal(eg_telemetry_render(&t, 1, &out), 0);
	text = strndup(eg_buf_data(&out), out.length);
	assert_non_null(text);
	eg_buf_fini(&out);
	return text;
}

/* `r` four times, as it is and with a base of itself; with other things in it that a base has no
 * part in. */
static void same_with_a_base(struct eg_record r)
{
	struct log_file f[2] = {log_open(), log_open()};
	char *text[2], *metrics[2];

	for (size_t i = 0; i < 2; i++) {
		struct eg_telemetry *t = eg_telemetry_create("egret", f[i].log);
		struct eg_record now = r;
		struct eg_attempt tried[2];

		assert_int_equal(r.attempt_count, 2);
		memcpy(tried, r.attempts, sizeof(tried));
		if (i) {
			now.base = eg_record_base_create(&r);
			assert_non_null(now.base);
		}
		eg_telemetry_record(t, &now);
		eg_telemetry_record(t, &now);
		now.reason = EG_REASON_UPSTREAM_STATUS;
		now.status = 502;
		now.operation = "embeddings";
		now.model_label = "a*";
		tried[1].status = 502;
		tried[1].reason = EG_REASON_UPSTREAM_STATUS;
		now.attempts = tried;
		eg_telemetry_record(t, &now);
		now.attempts = tried + 1;
		now.attempt_count = 1;
		now.path = EG_STR("/v1/embeddings");
		eg_telemetry_record(t, &now);
		eg_record_base_destroy(now.base);
		metrics[i] = rendered(t);
		eg_telemetry_destroy(t);
		text[i] = log_read(&f[i]);
	}
	assert_string_equal(text[0], text[1]);
	assert_string_equal(metrics[0], metrics[1]);
	for (size_t i = 0; i < 2; i++) {
		free(text[i]);
		free(metrics[i]);
	}
}

/* What is copied is what would have been written, and is counted where that would have been. */
static void a_base_changes_nothing(void **state)
{
	static const char hostile[] = "a\"b\\c\nd\x01\x80\xc0\xaf \xc3\xa9";
	static const char key[] = "x sk-proj-0123456789abcdefABCDEF";
	struct eg_record r = sample();
	char longer[400];

	(void)state;
	memset(longer, '"', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	r.region = r.attempts[1].region;
	r.provider = r.attempts[1].provider;
	r.provider_kind = "openai";
	r.policy_version = "0123456789abcdef";
	r.pod_uid = "c2b2d2f4-0d0f-4ac5-a0c5-2a7b2a3a4d5e";
	same_with_a_base(r);
	same_with_a_base(sample()); /* its attempts went where no region is known */
	r.pod_name = r.policy = hostile;
	r.route = key;
	r.region = NULL;
	same_with_a_base(r);
	r.pod_namespace = r.provider_kind = longer;
	r.service_account = "";
	same_with_a_base(r);
	r.provider = NULL;
	r.pod_namespace = r.pod_name = NULL;
	same_with_a_base(r);
	r.policy = r.route = r.policy_version = r.provider_kind = NULL;
	same_with_a_base(r);
}

/* A pod that varies what becomes a label can't make the agent's memory grow without end. */
static void series_are_bounded(void **state)
{
	struct eg_telemetry *t = eg_telemetry_create("egret", NULL);
	struct eg_record r = sample();
	struct eg_buf out;
	char name[32];

	(void)state;
	r.attempt_count = 0;
	for (int i = 0; i < 6000; i++) {
		snprintf(name, sizeof(name), "ns-%d", i);
		r.pod_namespace = name;
		eg_telemetry_record(t, &r);
	}
	eg_buf_init(&out, 64 << 20);
	assert_int_equal(eg_telemetry_render(&t, 1, &out), 0);
	assert_int_equal(eg_buf_append(&out, "", 1), 0);
	HAS("egret_series_overflow_total{gateway=\"egret\"} 1904\n");
	HAS("namespace=\"overflow\"");
	eg_buf_fini(&out);
	/* Each is counted, also where they share a base. */
	r.base = eg_record_base_create(&r);
	assert_non_null(r.base);
	for (int i = 0; i < 100; i++)
		eg_telemetry_record(t, &r);
	eg_record_base_destroy(r.base);
	eg_buf_init(&out, 64 << 20);
	assert_int_equal(eg_telemetry_render(&t, 1, &out), 0);
	assert_int_equal(eg_buf_append(&out, "", 1), 0);
	HAS("egret_series_overflow_total{gateway=\"egret\"} 2004\n");
	eg_buf_fini(&out);
	eg_telemetry_destroy(t);
}

/* A reader that stalls costs records, never the gateway's time; the loss is counted. */
static void stalled_reader_is_not_waited_for(void **state)
{
	struct eg_record r = sample();
	struct eg_telemetry *t;
	struct eg_lines *log;
	struct eg_buf out;
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	log = eg_lines_create(fds[1]);
	assert_non_null(log);
	assert_int_equal(eg_lines_start(log), 0);
	t = eg_telemetry_create("egret", log);
	for (int i = 0; i < 20000; i++) {
		eg_telemetry_record(t, &r);
		eg_telemetry_flush(t);
	}
	eg_buf_init(&out, 1 << 20);
	assert_int_equal(eg_telemetry_render(&t, 1, &out), 0);
	assert_int_equal(eg_buf_append(&out, "", 1), 0);
	assert_null(strstr(eg_buf_data(&out),
			   "egret_access_records_lost_total{gateway=\"egret\"} 0\n"));
	HAS("egret_requests_total{" WG ",policy=\"eu-chat\",reason=\"ok\",code=\"200\"} 20000\n");
	eg_buf_fini(&out);
	eg_telemetry_destroy(t);
	assert_true(eg_lines_destroy(log, 0));
	close(fds[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(record_is_one_json_line),
		cmocka_unit_test(first_byte_at_once),
		cmocka_unit_test(times_of_the_calendar),
		cmocka_unit_test(long_lines_are_whole),
		cmocka_unit_test(hostile_strings_stay_inside_their_field),
		cmocka_unit_test(keys_are_not_recorded),
		cmocka_unit_test(keys_at_the_cut),
		cmocka_unit_test(metrics_sum_over_slots),
		cmocka_unit_test(a_base_changes_nothing),
		cmocka_unit_test(series_are_bounded),
		cmocka_unit_test(stalled_reader_is_not_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
