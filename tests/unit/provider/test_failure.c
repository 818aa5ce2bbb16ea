/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "provider/provider.h"
#include "shared.h"

#define O EG_DIALECT_OPENAI
#define A EG_DIALECT_ANTHROPIC

/* 2026-11-23 04:00:00 GMT */
#define NOW_MS 1795406400000u

static struct eg_response_signal classify(enum eg_dialect d, unsigned int status,
					  const char *headers, const char *body)
{
	struct eg_response_signal s;
	struct eg_h1_scan scan = {0};
	struct eg_h1_head head;
	enum eg_reason reason;
	char text[1024];

	snprintf(text, sizeof(text), "HTTP/1.1 %u X\r\n%s%s\r\n", status,
		 status == 204 ? "" : "Content-Length: 5\r\n", headers);
	assert_int_equal(eg_h1_parse_response(&scan, eg_str_from(text), &eg_h1_default_limits,
					      EG_STR("POST"), &head, &reason),
			 EG_IO_DONE);
	eg_response_classify(d, &head, eg_str_from(body), NOW_MS, &s);
	return s;
}

static void statuses(void **state)
{
	static const struct {
		unsigned int status;
		enum eg_response_class class;
	} cases[] = {
		{200, EG_RESPONSE_OK},		 {204, EG_RESPONSE_OK},
		{302, EG_RESPONSE_OK},		 {400, EG_RESPONSE_CLIENT_ERROR},
		{401, EG_RESPONSE_AUTH},	 {402, EG_RESPONSE_QUOTA},
		{403, EG_RESPONSE_AUTH},	 {404, EG_RESPONSE_CLIENT_ERROR},
		{408, EG_RESPONSE_FAILOVER},	 {409, EG_RESPONSE_CLIENT_ERROR},
		{413, EG_RESPONSE_CLIENT_ERROR}, {422, EG_RESPONSE_CLIENT_ERROR},
		{429, EG_RESPONSE_FAILOVER},	 {498, EG_RESPONSE_FAILOVER},
		{500, EG_RESPONSE_FAILOVER},	 {502, EG_RESPONSE_FAILOVER},
		{503, EG_RESPONSE_FAILOVER},	 {504, EG_RESPONSE_FAILOVER},
		{520, EG_RESPONSE_FAILOVER},	 {529, EG_RESPONSE_FAILOVER},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++)
		for (int d = O; d <= A; d++)
			assert_int_equal(
				classify((enum eg_dialect)d, cases[i].status, "", "").class,
				cases[i].class);
}

static void three_meanings_of_429(void **state)
{
	static const char rate[] =
		"{\"error\":{\"message\":\"Rate limit reached for gpt-4 in organization org-x on "
		"tokens per min (TPM): Limit 10000.\",\"type\":\"tokens\",\"param\":null,"
		"\"code\":\"rate_limit_exceeded\"}}";
	static const char large[] =
		"{\"error\":{\"message\":\"Request too large for gpt-4o in organization org-x on "
		"tokens per min (TPM): Limit 30000, Requested 61337.\",\"type\":\"tokens\","
		"\"param\":null,\"code\":\"rate_limit_exceeded\"}}";
	static const char quota[] =
		"{\"error\":{\"message\":\"You exceeded your current quota.\",\"type\":"
		"\"insufficient_quota\",\"param\":null,\"code\":\"insufficient_quota\"}}";
	char cut[sizeof(quota)];

	assert_int_equal(classify(O, 429, "", rate).class, EG_RESPONSE_FAILOVER);
	assert_int_equal(classify(O, 429, "", large).class, EG_RESPONSE_CLIENT_ERROR);
	assert_int_equal(classify(O, 429, "", quota).class, EG_RESPONSE_QUOTA);
	/* Only a prefix at hand: still told apart once the word is in it. */
	memcpy(cut, quota, sizeof(quota));
	cut[strlen(quota) - 30] = '\0';
	assert_int_equal(classify(O, 429, "", cut).class, EG_RESPONSE_QUOTA);
	cut[20] = '\0';
	assert_int_equal(classify(O, 429, "", cut).class, EG_RESPONSE_FAILOVER);
	/* A message that only mentions the word is no quota. */
	assert_int_equal(
		classify(O, 429, "", "{\"error\":{\"message\":\"\\\"insufficient_quota\\\"\"}}")
			.class,
		EG_RESPONSE_FAILOVER);
}

static void errors_inside_other_statuses(void **state)
{
	assert_int_equal(
		classify(O, 400, "", "{\"code\":\"x\",\"error\":\"Incorrect API key provided\"}")
			.class,
		EG_RESPONSE_AUTH);
}

/* A 200 whose body is an error object, told by its first bytes, however they are cut. */
static void errors_inside_a_200(void **state)
{
	static const struct {
		const char *body;
		enum eg_event_class class;
	} rows[] = {
		{" {\n \"error\" : {\"message\":\"x\"}}", EG_EVENT_ERROR},
		{"{\"error\":{}}", EG_EVENT_ERROR},
		{"{\"error\":null,\"id\":\"r\"}", EG_EVENT_CONTENT},
		{"{\"error\":\"x\"}", EG_EVENT_CONTENT},
		{"{\"errors\":{}}", EG_EVENT_CONTENT},
		{"{\"id\":\"x\",\"error\":{}}", EG_EVENT_CONTENT},
		{"[]", EG_EVENT_CONTENT},
		{"{}", EG_EVENT_CONTENT},
		{"", EG_EVENT_PREAMBLE},
		{" {\n \"err", EG_EVENT_PREAMBLE},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		struct eg_str body = eg_str_from(rows[i].body);
		enum eg_event_class before = EG_EVENT_PREAMBLE;

		assert_int_equal(eg_body_begins(body), rows[i].class);
		for (size_t n = 0; n <= body.n; n++) { /* once told it stays so */
			enum eg_event_class now = eg_body_begins((struct eg_str){body.p, n});

			assert_true(before == EG_EVENT_PREAMBLE || now == before);
			before = now;
		}
	}
	(void)state;
}

static void error_events(void **state)
{
	static const struct {
		const char *data;
		enum eg_response_class class;
	} rows[] = {
		{"{\"error\":{\"type\":\"overloaded_error\"}}", EG_RESPONSE_FAILOVER},
		{"{\"type\":\"error\",\"error\":{\"type\":\"api_error\"}}", EG_RESPONSE_FAILOVER},
		{"{\"error\":\"words\"}", EG_RESPONSE_FAILOVER},
		{"not json", EG_RESPONSE_FAILOVER},
		{"{\"error\":{\"type\":\"invalid_request_error\"}}", EG_RESPONSE_CLIENT_ERROR},
		{"{\"error\":{\"type\":\"x\",\"code\":\"content_filter\"}}",
		 EG_RESPONSE_CLIENT_ERROR},
		{"{\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":"
		 "\"context_length_exceeded\"}}}",
		 EG_RESPONSE_CLIENT_ERROR},
		{"{\"type\":\"error\",\"code\":\"server_error\"}", EG_RESPONSE_FAILOVER},
		{"{\"error\":{\"code\":\"insufficient_quota\"}}", EG_RESPONSE_QUOTA},
		{"{\"error\":{\"type\":\"authentication_error\"}}", EG_RESPONSE_AUTH},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++)
		if (eg_event_error_class(eg_str_from(rows[i].data)) != rows[i].class)
			fail_msg("row %zu: %s", i, rows[i].data);
	(void)state;
}

static void waiting(void **state)
{
	static const struct {
		unsigned int status;
		const char *headers;
		uint64_t ms;
	} cases[] = {
		{429, "", 0},
		{429, "Retry-After: 7\r\n", 7000},
		{503, "retry-after: 0.5\r\n", 500},
		{429, "retry-after-ms: 1234\r\n", 1234},
		{429, "retry-after-ms: 1234.5\r\n", 1234},
		/* Azure: the larger one. */
		{429, "retry-after: 1\r\nretry-after-ms: 0\r\n", 1000},
		{429, "retry-after: 1\r\nretry-after-ms: 1500\r\n", 1500},
		{429, "Retry-After: Mon, 23 Nov 2026 04:00:30 GMT\r\n", 30000},
		{429, "Retry-After: Mon, 23 Nov 2026 03:59:30 GMT\r\n", 0},
		/* The obsolete forms, which a recipient has to take too. */
		{429, "Retry-After: Monday, 23-Nov-26 04:00:30 GMT\r\n", 30000},
		{429, "Retry-After: Monday, 23-Nov-26 03:59:30 GMT\r\n", 0},
		{429, "Retry-After: Wednesday, 23-Nov-77 04:00:30 GMT\r\n", 0},
		{429, "Retry-After: Wednesday, 23-Nov-76 04:00:30 GMT\r\n", EG_RETRY_AFTER_MAX_MS},
		{429, "Retry-After: Mon Nov 23 04:00:30 2026\r\n", 30000},
		{429, "Retry-After: Mon Nov 23 03:59:30 2026\r\n", 0},
		{429, "Retry-After: Wed Dec  2 04:00:00 2026\r\n", EG_RETRY_AFTER_MAX_MS},
		{429, "Retry-After: Mon Nov 23 04:00:30 2026 GMT\r\n", 0},
		{429, "Retry-After: Mon Nov 23 04-00-30 2026\r\n", 0},
		{429, "Retry-After: Monday, 23-Nov-26 04:00:30\r\n", 0},
		{429, "Retry-After: Monday, 23-Nov-2026 04:00:30 GMT\r\n", 0},
		{429, "Retry-After: , 23-Nov-26 \r\n", 0},
		{429, "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 0},
		/* Never longer than the cap. */
		{429, "Retry-After: Mon, 23 Nov 2099 04:00:30 GMT\r\n", EG_RETRY_AFTER_MAX_MS},
		{429, "retry-after: 99999999999999999999\r\n", 0},
		{429, "retry-after: 18446744073709551615\r\n", EG_RETRY_AFTER_MAX_MS},
		{429, "retry-after: 86400\r\n", EG_RETRY_AFTER_MAX_MS},
		{402, "retry-after: 60\r\n", 60000},
		/* Nonsense is nothing. */
		{429, "retry-after: -5\r\n", 0},
		{429, "retry-after: soon\r\n", 0},
		{429, "retry-after: 5 s\r\n", 0},
		{429, "retry-after: \r\n", 0},
		{429, "Retry-After: Mon, 99 Nov 2026 04:00:30 GMT\r\n", 0},
		{429, "Retry-After: Mon, 23 Abc 2026 04:00:30 GMT\r\n", 0},
		/* 52 recorded 200s of Anthropic carry it: no failure, nothing to wait for. */
		{200, "retry-after: 30\r\n", 0},
		{400, "retry-after: 30\r\n", 0},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct eg_response_signal s =
			classify(A, cases[i].status, cases[i].headers, "{\"type\":\"error\"}");

		if (s.retry_after_ms != cases[i].ms)
			fprintf(stderr, "%s: %llu\n", cases[i].headers,
				(unsigned long long)s.retry_after_ms);
		assert_int_equal(s.retry_after_ms, cases[i].ms);
	}
	assert_int_equal(classify(A, 200, "retry-after: 30\r\n", "{\"type\":\"message\"}").class,
			 EG_RESPONSE_OK);
}

/* The table of ../shared: what it says to do is what the classes do. */
static bool spoken(const char *provider)
{
	static const char *const names[] = {"openai",	"anthropic", "groq", "openrouter",
					    "deepseek", "xai",	     "*"};

	for (size_t i = 0; i < EG_ARRAY_SIZE(names); i++)
		if (!strcmp(provider, names[i]))
			return true;
	return false;
}

static void the_shared_table_agrees(void **state)
{
	json_t *top = shared_json("failures.json"), *row;
	size_t i, checked = 0;

	if (!top)
		skip();
	json_array_foreach(json_object_get(top, "signals"), i, row)
	{
		const char *provider = text_of(row, "provider"), *cls = text_of(row, "cls");
		const char *signal = text_of(row, "signal"), *body = text_of(row, "body");
		int status = (int)json_integer_value(json_object_get(row, "status"));
		enum eg_response_class expected = EG_RESPONSE_CLIENT_ERROR, got;
		char made[512];

		/* Other dialects are none of this version's; events of streams are test_stream.c's.
		 */
		if (!spoken(provider) || status < 400 || strstr(cls, "midstream"))
			continue;
		if (!strcmp(cls, "auth"))
			expected = EG_RESPONSE_AUTH;
		else if (!strcmp(cls, "quota"))
			expected = EG_RESPONSE_QUOTA;
		else if (begins(text_of(row, "action"), "failover"))
			expected = EG_RESPONSE_FAILOVER;
		if (!strcmp(cls, "request_too_large") &&
		    status == 429) /* given as the message alone */
			snprintf(made, sizeof(made), "{\"error\":{\"message\":%.400s}}", body);
		else if (*body)
			snprintf(made, sizeof(made), "%.500s", body);
		else
			snprintf(made, sizeof(made), "{\"error\":\"%.200s\"}",
				 strstr(signal, "Incorrect API key")
					 ? "Incorrect API key provided: x"
					 : "x");
		got = classify(strcmp(provider, "anthropic") ? O : A, (unsigned int)status, "",
			       made)
			      .class;
		if (got != expected)
			fprintf(stderr, "%s %d %s: got %d, expected %d\n", provider, status, signal,
				(int)got, (int)expected);
		assert_int_equal(got, expected);
		checked++;
	}
	assert_true(checked >= 25);
	json_decref(top);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(statuses),
		cmocka_unit_test(three_meanings_of_429),
		cmocka_unit_test(errors_inside_other_statuses),
		cmocka_unit_test(errors_inside_a_200),
		cmocka_unit_test(error_events),
		cmocka_unit_test(waiting),
		cmocka_unit_test(the_shared_table_agrees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
