/* SPDX-License-Identifier: Apache-2.0 */
/* Which headers pass, what looks like a real key, and errors in the caller's dialect. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <jansson.h>

#include "provider/provider.h"
#include "provider/vendor.h"

#define O EG_DIALECT_OPENAI
#define A EG_DIALECT_ANTHROPIC

/* DESIGN section 5: every carrier of a credential or an override, in any case. */
static const char *const carriers[] = {
	"Authorization",
	"Proxy-Authorization",
	"Cookie",
	"x-api-key",
	"X-API-KEY",
	"api-key",
	"apikey",
	"x-goog-api-key",
	"x-goog-user-project",
	"x-goog-iam-authority-selector",
	"x-amz-date",
	"x-amz-security-token",
	"x-amz-content-sha256",
	"Ocp-Apim-Subscription-Key",
	"OpenAI-Organization",
	"OpenAI-Project",
	"anthropic-workspace-id",
	"X-Forwarded-For",
	"X-Forwarded-Host",
	"X-Forwarded-Proto",
	"Forwarded",
	"Via",
	"X-Real-IP",
	"X-HTTP-Method-Override",
	"X-Method-Override",
	"X-Original-URL",
	"X-Rewrite-URL",
	"Host",
	"Connection",
	"Keep-Alive",
	"Proxy-Connection",
	"TE",
	"Trailer",
	"Transfer-Encoding",
	"Content-Length",
	"Content-Encoding",
	"Upgrade",
	"Expect",
	"Origin",
	"Referer",
	"x-egret-request-id",
	"helicone-auth",
	"cf-aig-authorization",
	"anthropic-dangerous-direct-browser-access",
	"",
};

static void request_headers(void **state)
{
	static const char *const passing[] = {
		"Content-Type",	    "accept",	   "User-Agent",      "x-stainless-retry-count",
		"X-Stainless-Lang", "traceparent", "Idempotency-Key", "Accept-Language",
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(carriers); i++)
		for (int d = EG_DIALECT_NONE; d <= A; d++)
			assert_false(eg_request_header_allowed((enum eg_dialect)d,
							       eg_str_from(carriers[i])));
	for (size_t i = 0; i < EG_ARRAY_SIZE(passing); i++)
		assert_true(eg_request_header_allowed(O, eg_str_from(passing[i])));
	assert_true(eg_request_header_allowed(O, EG_STR("OpenAI-Beta")));
	assert_false(eg_request_header_allowed(A, EG_STR("OpenAI-Beta")));
	assert_true(eg_request_header_allowed(A, EG_STR("Anthropic-Version")));
	assert_true(eg_request_header_allowed(A, EG_STR("anthropic-beta")));
	assert_false(eg_request_header_allowed(O, EG_STR("anthropic-version")));
}

static void response_headers(void **state)
{
	static const char *const refused[] = {
		"Set-Cookie",
		"set-cookie",
		"Alt-Svc",
		"OpenAI-Organization",
		"openai-project",
		"Connection",
		"Keep-Alive",
		"Transfer-Encoding",
		"Content-Length",
		"Trailer",
		"Upgrade",
		"Proxy-Authenticate",
		"X-Egret-Reason",
		"x-egret-request-id",
		"Clear-Site-Data",
		"Anthropic-Organization-Id",
		"Anthropic-Workspace-Id",
	};
	static const char *const passing[] = {
		"Content-Type",
		"retry-after",
		"retry-after-ms",
		"x-request-id",
		"request-id",
		"x-ratelimit-remaining-requests",
		"anthropic-ratelimit-requests-remaining",
		"x-should-retry",
		"openai-processing-ms",
		"content-encoding",
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(refused); i++)
		assert_false(eg_response_header_allowed(O, eg_str_from(refused[i])));
	for (size_t i = 0; i < EG_ARRAY_SIZE(passing); i++)
		assert_true(eg_response_header_allowed(A, eg_str_from(passing[i])));
}

/* By query, and the first key that is refused; NULL: none. */
static void query_keys(void **state)
{
	static const struct {
		enum eg_dialect dialect;
		const char *query, *unknown;
	} cases[] = {
		{O, "", NULL},
		{O, "&&;", NULL},
		{O, "after=x&before=y&limit=10&order=asc&purpose=batch", NULL},
		{O, "include[]=a&include%5B%5D=b&include%5b0%5d=c&metadata[topic]=x", NULL},
		{O, "stream=true&starting_after=4&include_obfuscation=false", NULL},
		{O, "api-version=preview", NULL},
		{O, "l%69mit=1", NULL},
		{A, "beta=true&before_id=a&after_id=b&limit=2", NULL},
		/* Of the other dialect. */
		{A, "after=x", "after"},
		{O, "beta=true", "beta"},
		{EG_DIALECT_NONE, "limit=1", "limit"},
		/* What carries a credential or says whose account it is: not unknown, but removed.
		 */
		{O, "key=1&ACCESS_TOKEN=2&%61pi_key=3&limit=1", NULL},
		{O, "x-goog-user-project=p&x-goog-iam-authority-selector=s&openai-organization=o",
		 NULL},
		{O, "openai-project=p&api_token=t&id_token=t&secret=s&password=p&sig=s&signature=s",
		 NULL},
		/* Anything else. */
		{O, "x=1", "x"},
		{O, "limit=1&x", "x"},
		{O, "limit=1;x=2", "x"},
		{O, "=1", ""},
		{O, "LIMIT=1", "LIMIT"},
		{O, "limits=1", "limits"},
		{O, "limit%00=1", "limit%00"},
		{O, "l%2569mit=1", "l%2569mit"}, /* another reader might decode twice */
		{O, "%zz=1", "%zz"},
		{O, "api+key=1", "api+key"},
		{O, "key[]=1", "key[]"},
		{O, "include[=1", "include["},
		{O, "x-amz-meta=1", "x-amz-meta"},
		{O, "X-Goog-Api-Client=1", "X-Goog-Api-Client"},
		{O,
		 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa=1",
		 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
	};
	static const char *const removed[] = {
		"key",
		"access_token",
		"api_key",
		"subscription-key",
		"x-amz-signature",
		"api_token",
		"id_token",
		"secret",
		"password",
		"sig",
		"signature",
		"openai-organization",
		"openai-project",
		"x-goog-user-project",
		"x-goog-iam-authority-selector",
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct eg_str key = {"(none)", 6};
		bool unknown =
			eg_query_unknown(cases[i].dialect, NULL, eg_str_from(cases[i].query), &key);

		if (unknown != (cases[i].unknown != NULL) ||
		    (unknown && !eg_str_eq(key, eg_str_from(cases[i].unknown))))
			fail_msg("%s: %d %.*s", cases[i].query, unknown, EG_STR_ARG(key));
	}
	for (size_t i = 0; i < 2; i++) {
		struct eg_str rest, key = {"", 0}, query = EG_STR("model=m&intent=transcription");
		const struct eg_operation *op = eg_operation_find(
			O, EG_STR("GET"), i ? EG_STR("/v1/realtime") : EG_STR("/v1/models"), &rest);

		/* Only a WebSocket has its model there. */
		assert_int_equal(eg_query_unknown(O, op, query, &key), !i);
		assert_true(eg_query_unknown(O, op, EG_STR("model[]=m"), &key));
		assert_true(eg_query_unknown(O, op, EG_STR("call_id=c"), &key));
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(removed); i++) {
		bool found = false;

		for (size_t k = 0; k < eg_credential_query_key_count; k++)
			found = found ||
				eg_str_ieq(eg_credential_query_keys[k], eg_str_from(removed[i]));
		if (!found)
			fail_msg("%s is not removed", removed[i]);
	}
	/* A key can't be both what passes and what goes. */
	for (size_t k = 0; k < eg_credential_query_key_count; k++)
		for (size_t v = 0; v < 2; v++) {
			const struct eg_vendor *vendor = eg_vendor_of(v ? O : A);

			for (size_t i = 0; i < vendor->query_key_count; i++)
				assert_false(eg_str_ieq(vendor->query_keys[i],
							eg_credential_query_keys[k]));
		}
}

static void real_and_placeholder_keys(void **state)
{
	static const struct {
		const char *name, *value;
		bool real;
	} cases[] = {
		{"Authorization", "Bearer sk-proj-Qm7Zt1xWc9Lr3VbN5yHd8KfJ2GsP6TuE4aRiXo0B", true},
		{"authorization", "bearer   gsk_9fK3mQx7Lw2ZbT8vNc5RyH1dJs6PgA4e", true},
		{"x-api-key", "sk-ant-api03-Jd8fKs92LmQpXz7RtVbNcYw3Hg5", true},
		{"X-API-Key", "placeholder", false},
		{"Authorization", "Bearer sk-egret-placeholder-0123456789abcdef", false},
		{"Authorization", "Bearer sk-your-key-here-9fK3mQx7Lw2ZbT8v", false},
		{"Authorization", "Bearer not-needed", false},
		{"Authorization", "Bearer xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", false},
		{"Authorization", "Bearer abababababababababababababababab", false},
		{"Authorization", "", false},
		{"Authorization", "Bearer ", false},
		{"x-request-id", "9fK3mQx7Lw2ZbT8vNc5RyH1dJs6PgA4e", false},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++)
		assert_int_equal(eg_credential_looks_real(eg_str_from(cases[i].name),
							  eg_str_from(cases[i].value)),
				 cases[i].real);
}

static json_t *parse_error(enum eg_dialect d, enum eg_reason reason, const char *detail)
{
	struct eg_buf b;
	json_error_t e;
	json_t *v;

	eg_buf_init(&b, 8192);
	assert_int_equal(eg_dialect_error(&b, d, reason, eg_str_from(detail), EG_STR("req-1")), 0);
	v = json_loadb(eg_buf_data(&b), b.length, JSON_REJECT_DUPLICATES, &e);
	assert_non_null(v);
	eg_buf_fini(&b);
	return v;
}

static const char *text(json_t *v, const char *key)
{
	return json_string_value(json_object_get(v, key));
}

static void errors_in_the_callers_dialect(void **state)
{
	json_t *v = parse_error(O, EG_REASON_REGION_DENIED, ""), *e = json_object_get(v, "error");

	/* OpenAI's ErrorResponse: the four members are required. */
	assert_string_equal(text(e, "message"), eg_reason_text(EG_REASON_REGION_DENIED));
	assert_string_equal(text(e, "type"), "permission_error");
	assert_string_equal(text(e, "code"), "egret_region_denied");
	assert_true(json_is_null(json_object_get(e, "param")));
	json_decref(v);
	v = parse_error(A, EG_REASON_OVERLOADED, "a \"detail\"\n\xff");
	e = json_object_get(v, "error");
	assert_string_equal(text(v, "type"), "error");
	assert_string_equal(text(v, "request_id"), "req-1");
	assert_string_equal(text(e, "type"), "overloaded_error");
	assert_non_null(strstr(text(e, "message"), "a \"detail\""));
	json_decref(v);
	v = parse_error(EG_DIALECT_NONE, EG_REASON_NO_POLICY, "");
	assert_string_equal(text(json_object_get(v, "error"), "code"), "egret_no_policy");
	json_decref(v);
}

static void every_reason_has_an_error(void **state)
{
	for (int r = 0; r < EG_REASON_MAX; r++)
		for (int d = EG_DIALECT_NONE; d <= A; d++)
			json_decref(parse_error((enum eg_dialect)d, (enum eg_reason)r, ""));
}

static void a_full_buffer_is_an_error(void **state)
{
	for (size_t cap = 0; cap < 60; cap++) {
		struct eg_buf b;

		eg_buf_init(&b, cap);
		assert_int_equal(eg_dialect_error(&b, O, EG_REASON_DENY, EG_STR(""), EG_STR("r")),
				 -ENOBUFS);
		eg_buf_fini(&b);
	}
}

static void error_events(void **state)
{
	for (int d = O; d <= A; d++) {
		struct eg_buf b;
		struct eg_str s;

		eg_buf_init(&b, 4096);
		assert_int_equal(eg_dialect_error_event(&b, (enum eg_dialect)d,
							EG_REASON_UPSTREAM_RESET, EG_STR("r")),
				 0);
		s = eg_buf_str(&b);
		assert_true(eg_str_starts(s, EG_STR("event: error\ndata: {")));
		assert_true(eg_str_ends(s, EG_STR("}\n\n")));
		/* One data line: a line feed inside would cut the event. */
		assert_ptr_equal(memchr(s.p + 13, '\n', s.n - 13), s.p + s.n - 2);
		s.p += 19;
		s.n -= 21;
		assert_int_equal(eg_event_class_of((enum eg_dialect)d, EG_STR("error"), s),
				 EG_EVENT_ERROR);
		eg_buf_fini(&b);
	}
}

static void retrying(void **state)
{
	assert_true(eg_reason_retryable(EG_REASON_OVERLOADED));
	assert_true(eg_reason_retryable(EG_REASON_DRAINING));
	assert_false(eg_reason_retryable(EG_REASON_DENY));
	assert_false(eg_reason_retryable(EG_REASON_REGION_DENIED));
	/* Every target was tried: the SDK's own retries would triple that. */
	assert_false(eg_reason_retryable(EG_REASON_UPSTREAM_STATUS));
	assert_false(eg_reason_retryable(EG_REASON_UPSTREAM_CONNECT));
	assert_false(eg_reason_retryable((enum eg_reason)EG_REASON_MAX));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_headers),
		cmocka_unit_test(response_headers),
		cmocka_unit_test(query_keys),
		cmocka_unit_test(real_and_placeholder_keys),
		cmocka_unit_test(errors_in_the_callers_dialect),
		cmocka_unit_test(every_reason_has_an_error),
		cmocka_unit_test(a_full_buffer_is_an_error),
		cmocka_unit_test(error_events),
		cmocka_unit_test(retrying),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
