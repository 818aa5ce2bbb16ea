/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "provider/provider.h"

static const struct eg_operation *find(const char *path)
{
	struct eg_str rest;
	enum eg_dialect d = eg_dialect_from_path(eg_str_from(path));

	return eg_operation_find(d, EG_STR("POST"), eg_str_from(path), &rest);
}

#define CHAT	  "/v1/chat/completions"
#define RESPONSES "/v1/responses"
#define MESSAGES  "/v1/messages"

static int read_body(struct eg_arena *a, const char *path, const char *body,
		     struct eg_body_facts *f)
{
	struct eg_error e = {0};

	return eg_body_read(a, find(path), eg_str_from(body), f, &e);
}

static void facts(void **state)
{
	struct eg_body_facts f;
	struct eg_arena a;
	const char *body = "{ \"stream\" : true, \"mod\\u0065l\":\"g\\u0070t\\/x\", "
			   "\"stream_options\":{\"include_usage\":true}}";

	eg_arena_init(&a, 0);
	assert_int_equal(read_body(&a, CHAT, body, &f), 0);
	assert_true(eg_str_eq(f.model, EG_STR("gpt/x")));
	assert_true(eg_str_eq(f.model_raw, EG_STR("\"g\\u0070t\\/x\"")));
	assert_ptr_equal(f.model_raw.p, strstr(body, "\"g\\u0070"));
	assert_true(f.stream && f.include_usage && !f.model_not_string && !f.store_or_state);
	assert_int_equal(read_body(&a, CHAT, "{\"stream\":\"true\",\"stream_options\":null}", &f),
			 0);
	assert_null(f.model.p);
	assert_false(f.stream || f.include_usage);
	assert_int_equal(read_body(&a, CHAT, "{\"model\":\"\"}", &f), 0);
	assert_non_null(f.model.p);
	assert_int_equal(f.model.n, 0);
	assert_int_equal(read_body(&a, CHAT, "{\"model\":[\"x\"]}", &f), 0);
	assert_true(f.model_not_string);
	assert_null(f.model.p);
	/* Not streaming operations don't stream, whatever the body says. */
	assert_int_equal(read_body(&a, "/v1/embeddings", "{\"stream\":true}", &f), 0);
	assert_false(f.stream);
	assert_int_equal(read_body(&a, MESSAGES, "{\"inference_geo\":\"\\u0075s\"}", &f), 0);
	assert_true(f.has_inference_geo && eg_str_eq(f.inference_geo, EG_STR("us")));
	assert_int_equal(read_body(&a, MESSAGES, "{\"inference_geo\":7}", &f), 0);
	assert_true(f.has_inference_geo && !f.inference_geo.n);
	assert_int_equal(read_body(&a, MESSAGES, "{\"inference_geo\":null}", &f), 0);
	assert_false(f.has_inference_geo);
	/* Anthropic's alone. */
	assert_int_equal(read_body(&a, CHAT, "{\"inference_geo\":\"us\"}", &f), 0);
	assert_false(f.has_inference_geo);
	/* Not a JSON operation: nothing is read. */
	assert_int_equal(read_body(&a, "/v1/audio/transcriptions", "--boundary", &f), 0);
	eg_arena_fini(&a);
}

static void refused(void **state)
{
	static const char *const bodies[] = {
		"",
		"[]",
		"\"x\"",
		"{",
		"{}{}",
		"{} x",
		"\xef\xbb\xbf{}",
		"{\"model\":\"a\",\"model\":\"b\"}",
		"{\"model\":\"a\",\"mod\\u0065l\":\"b\"}",
		"{\"messages\":[{\"a\":1,\"a\":2}]}",
		"{\"model\":\"\\ud800\"}",
		"{\"model\":\"a\x01\"}",
		"{'model':'a'}",
		"{\"n\":01}",
		"{\"n\":NaN}",
	};
	struct eg_body_facts f;
	struct eg_arena a;

	eg_arena_init(&a, 0);
	for (size_t i = 0; i < EG_ARRAY_SIZE(bodies); i++) {
		struct eg_error e = {0};

		if (eg_body_read(&a, find(CHAT), eg_str_from(bodies[i]), &f, &e) != -EINVAL)
			fail_msg("accepted: %s", bodies[i]);
		assert_true(*e.text);
	}
	eg_arena_fini(&a);
}

static void references_to_state(void **state)
{
	static const struct {
		const char *path, *body;
		bool state;
	} cases[] = {
		{RESPONSES, "{\"previous_response_id\":\"r\"}", true},
		{RESPONSES, "{\"previous_response_id\":null}", false},
		{RESPONSES, "{\"previous\\u005fresponse_id\":\"r\"}", true},
		{RESPONSES, "{\"conversation\":{\"id\":\"c\"}}", true},
		{RESPONSES, "{\"background\":true}", true},
		{RESPONSES, "{\"background\":false}", false},
		{RESPONSES, "{\"prompt\":{\"id\":\"p\"}}", true},
		{RESPONSES, "{\"store\":true}", false},
		{RESPONSES, "{\"input\":[{\"type\":\"item_reference\",\"id\":\"i\"}]}", true},
		{RESPONSES,
		 "{\"input\":[{\"content\":[{\"type\":\"input_file\",\"file_id\":\"f\"}]}]}", true},
		{RESPONSES, "{\"input\":[{\"content\":[{\"f\\u0069le_id\" : \"f\"}]}]}", true},
		{RESPONSES, "{\"input\":\"\\\"file_id\\\": 1\"}", false},
		{RESPONSES, "{\"tools\":[{\"type\":\"file_search\",\"vector_store_ids\":[\"v\"]}]}",
		 true},
		{RESPONSES, "{\"tools\":[{\"type\":\"file_search\",\"vector_store_ids\":[ ]}]}",
		 false},
		{RESPONSES, "{\"tools\":[{\"type\":\"code_interpreter\",\"container\":\"c\"}]}",
		 true},
		/* Names in an application's own schema mean nothing. */
		{RESPONSES,
		 "{\"tools\":[{\"type\":\"function\",\"name\":\"f\",\"parameters\":{\"properties\":"
		 "{\"file_id\":{\"type\":\"string\"},\"x\":[{\"container\":1}]}}}]}",
		 false},
		{RESPONSES,
		 "{\"tools\":[{\"parameters\":{\"a\":\"}\\\"{\"},\"x\":[1]},{\"container\":\"c\"}]"
		 "}",
		 true},
		{RESPONSES, "{\"text\":{\"format\":{\"schema\":{\"file_id\":1}}}}", false},
		{RESPONSES, "{\"metadata\":{\"file_id\":\"x\"}}", false},
		{CHAT,
		 "{\"messages\":[{\"content\":[{\"type\":\"file\",\"file\":{\"file_id\":\"f\"}}]}]"
		 "}",
		 true},
		{CHAT, "{\"messages\":[{\"content\":[{\"type\":\"text\",\"text\":\"file_id\"}]}]}",
		 false},
		{CHAT, "{\"messages\":[{\"content\":\"item_reference \"}]}", false},
		{CHAT, "{\"background\":true}", false},
		{CHAT, "{\"messages\":[{\"role\":\"assistant\",\"audio\":{\"id\":\"audio_1\"}}]}",
		 true},
		{CHAT, "{\"audio\":{\"voice\":\"alloy\",\"format\":\"wav\"},\"messages\":[]}",
		 false},
		{MESSAGES, "{\"container\":\"c\"}", true},
		{MESSAGES, "{\"container\":null}", false},
		{MESSAGES,
		 "{\"messages\":[{\"content\":[{\"type\":\"document\",\"source\":{\"type\":"
		 "\"file\","
		 "\"file_id\":\"f\"}}]}]}",
		 true},
		{MESSAGES,
		 "{\"messages\":[{\"content\":[{\"type\":\"tool_use\",\"input\":{\"file_id\":\"x\"}"
		 "}]}]}",
		 false},
		{MESSAGES, "{\"tools\":[{\"input_schema\":{\"properties\":{\"container\":{}}}}]}",
		 false},
		{"/v1/embeddings", "{\"input\":{\"file_id\":1}}", false},
	};
	struct eg_arena a;

	eg_arena_init(&a, 0);
	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct eg_body_facts f;

		assert_int_equal(read_body(&a, cases[i].path, cases[i].body, &f), 0);
		if (f.store_or_state != cases[i].state)
			fprintf(stderr, "%s: %d\n", cases[i].body, f.store_or_state);
		assert_int_equal(f.store_or_state, cases[i].state);
	}
	eg_arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(facts),
		cmocka_unit_test(refused),
		cmocka_unit_test(references_to_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
