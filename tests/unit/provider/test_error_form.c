/* SPDX-License-Identifier: Apache-2.0 */
/* Refusals as Bedrock and Google's APIs write them, and to whom. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <jansson.h>

#include "provider/bedrock_error.h"
#include "provider/error_form.h"

#define OWN	EG_ERROR_OF_DIALECT
#define BEDROCK EG_ERROR_BEDROCK
#define GEMINI	EG_ERROR_GEMINI

static void the_form_is_the_hosts_or_the_paths(void **state)
{
	static const struct {
		const char *host, *path;
		enum eg_error_form form;
	} cases[] = {
		{"bedrock-runtime.eu-central-1.amazonaws.com", "/model/x/converse", BEDROCK},
		{"bedrock-runtime.eu-central-1.amazonaws.com", "", BEDROCK},
		{"bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "/", BEDROCK},
		{"bedrock-runtime.eu-west-1.api.aws", "/", BEDROCK},
		{"bedrock-runtime.cn-north-1.amazonaws.com.cn", "/", BEDROCK},
		{"bedrock.us-east-1.amazonaws.com", "/foundation-models", BEDROCK},
		{"bedrock-agent-runtime.us-east-1.amazonaws.com", "/agents/x", BEDROCK},
		/* It speaks OpenAI and Anthropic. */
		{"bedrock-mantle.eu-west-1.api.aws", "/v1/chat/completions", OWN},
		{"bedrock-runtime.eu-central-1.amazonaws.com.evil.example", "/", OWN},
		{"s3.eu-central-1.amazonaws.com", "/bedrock", OWN},
		/* By the path where no host tells: a VPC endpoint, the gateway's address. */
		{"vpce-1.bedrock-runtime.eu-west-1.vpce.amazonaws.com", "/model/x/invoke", BEDROCK},
		{"", "/model/anthropic.claude-v2:1/converse-stream", BEDROCK},
		{"", "/model/arn:aws:bedrock:eu-west-1:1:inference-profile/eu.a/invoke", BEDROCK},
		{"", "/model/x/invoke-with-response-stream", BEDROCK},
		{"", "/model/x/count-tokens", BEDROCK},
		{"", "/model/x", OWN},
		{"", "/model//converse", OWN},
		{"", "/models/x/converse", OWN},
		{"", "/v1/chat/completions", OWN},
		{"", "", OWN},

		{"generativelanguage.googleapis.com", "/v1beta/models/g:generateContent", GEMINI},
		{"generativelanguage.googleapis.com", "", GEMINI},
		{"generativelanguage.googleapis.com", "/v1beta/openai/chat/completions", OWN},
		{"aiplatform.googleapis.com", "/v1/projects/p/x:predict", GEMINI},
		{"europe-west4-aiplatform.googleapis.com", "/v1/x", GEMINI},
		{"aiplatform.eu.rep.googleapis.com", "/v1/x", GEMINI},
		{"europe-west4-aiplatform.googleapis.com",
		 "/v1/projects/p/locations/europe-west4/endpoints/openapi/chat/completions", OWN},
		{"generativelanguage.googleapis.com.evil.example", "/", OWN},
		{"storage.googleapis.com", "/v1/b", OWN},
		{"", "/v1beta/models/gemini-2.5-flash:streamGenerateContent", GEMINI},
		{"gemini.shop.svc", "/v1/models/g:countTokens", GEMINI},
		{"", "/v1/models/ft:gpt-4o:org::id", OWN},
		{"", "/models/g:generateContent", OWN},

		/* A host that policy knows counts, whatever is asked of it. */
		{"api.openai.com", "/model/x/converse", OWN},
		{"api.anthropic.com", "/v1beta/models/g:generateContent", OWN},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		enum eg_error_form form =
			eg_error_form_of(eg_str_from(cases[i].host), eg_str_from(cases[i].path));

		if (form != cases[i].form)
			fail_msg("%s %s", cases[i].host, cases[i].path);
	}
	assert_int_equal(eg_error_form_of((struct eg_str){0}, (struct eg_str){0}), OWN);
}

static json_t *written(enum eg_error_form form, enum eg_reason reason, const char *detail)
{
	struct eg_buf b;
	json_error_t e;
	json_t *v;

	eg_buf_init(&b, 8192);
	assert_int_equal(eg_error_write(&b, form, EG_DIALECT_OPENAI, reason, eg_str_from(detail),
					EG_STR("req-1")),
			 0);
	v = json_loadb(eg_buf_data(&b), b.length, JSON_REJECT_DUPLICATES, &e);
	assert_non_null(v);
	eg_buf_fini(&b);
	return v;
}

static const char *text(const json_t *v, const char *key)
{
	return json_string_value(json_object_get(v, key));
}

static void bedrocks(void **state)
{
	json_t *v = written(BEDROCK, EG_REASON_REGION_DENIED, "");

	assert_string_equal(text(v, "message"), eg_reason_text(EG_REASON_REGION_DENIED));
	assert_string_equal(text(v, "code"), "egret_region_denied");
	json_decref(v);
	v = written(BEDROCK, EG_REASON_BAD_REQUEST, "a \"detail\"\n\xff");
	assert_non_null(strstr(text(v, "message"), "a \"detail\"\n"));
	json_decref(v);
}

static void googles(void **state)
{
	json_t *v = written(GEMINI, EG_REASON_REGION_DENIED, ""), *e = json_object_get(v, "error");
	json_t *info = json_array_get(json_object_get(e, "details"), 0);

	assert_int_equal(json_integer_value(json_object_get(e, "code")), 403);
	assert_string_equal(text(e, "status"), "PERMISSION_DENIED");
	assert_string_equal(text(e, "message"), eg_reason_text(EG_REASON_REGION_DENIED));
	assert_string_equal(text(info, "@type"), "type.googleapis.com/google.rpc.ErrorInfo");
	assert_string_equal(text(info, "reason"), "EGRET_REGION_DENIED");
	assert_string_equal(text(info, "domain"), "egret");
	assert_string_equal(text(json_object_get(info, "metadata"), "request_id"), "req-1");
	json_decref(v);
}

static void what_a_status_is_called(void **state)
{
	static const struct {
		enum eg_reason reason;
		const char *bedrock, *gemini;
	} cases[] = {
		{EG_REASON_NO_ROUTE, "AccessDeniedException", "PERMISSION_DENIED"},
		{EG_REASON_NO_PLACEHOLDER, "AccessDeniedException", "UNAUTHENTICATED"},
		{EG_REASON_BAD_BODY, "ValidationException", "INVALID_ARGUMENT"},
		{EG_REASON_BODY_TOO_LARGE, "ValidationException", "INVALID_ARGUMENT"},
		{EG_REASON_UPGRADE, "InternalServerException", "UNIMPLEMENTED"},
		{EG_REASON_REQUEST_TIMEOUT, "ModelTimeoutException", "DEADLINE_EXCEEDED"},
		{EG_REASON_UPSTREAM_TIMEOUT, "ModelTimeoutException", "DEADLINE_EXCEEDED"},
		{EG_REASON_UPSTREAM_RESET, "InternalServerException", "UNAVAILABLE"},
		{EG_REASON_OVERLOADED, "ServiceUnavailableException", "UNAVAILABLE"},
		{EG_REASON_INTERNAL, "InternalServerException", "INTERNAL"},
		{EG_REASON_SPOOFED_SOURCE, "AccessDeniedException", "PERMISSION_DENIED"},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		json_t *v = written(GEMINI, cases[i].reason, "");

		assert_string_equal(eg_bedrock_error_type(cases[i].reason), cases[i].bedrock);
		assert_string_equal(text(json_object_get(v, "error"), "status"), cases[i].gemini);
		json_decref(v);
	}
}

/* Each is JSON, with the status that it is sent with. */
static void every_reason(void **state)
{
	for (int r = 0; r < EG_REASON_MAX; r++) {
		json_t *v = written(GEMINI, (enum eg_reason)r, "");
		unsigned int status = eg_reason_status((enum eg_reason)r);

		assert_int_equal(
			json_integer_value(json_object_get(json_object_get(v, "error"), "code")),
			status ? status : 403);
		json_decref(v);
		json_decref(written(BEDROCK, (enum eg_reason)r, ""));
		json_decref(written(OWN, (enum eg_reason)r, ""));
	}
}

static void a_full_buffer_is_an_error(void **state)
{
	for (size_t cap = 0; cap < 80; cap++)
		for (int form = OWN; form <= GEMINI; form++) {
			struct eg_buf b;

			eg_buf_init(&b, cap);
			assert_int_equal(eg_error_write(&b, (enum eg_error_form)form,
							EG_DIALECT_OPENAI, EG_REASON_NO_ROUTE,
							EG_STR(""), EG_STR("r")),
					 -ENOBUFS);
			eg_buf_fini(&b);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_form_is_the_hosts_or_the_paths),
		cmocka_unit_test(bedrocks),
		cmocka_unit_test(googles),
		cmocka_unit_test(what_a_status_is_called),
		cmocka_unit_test(every_reason),
		cmocka_unit_test(a_full_buffer_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
