/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "provider/provider.h"
#include "shared.h"

static const struct eg_operation *find(const char *path)
{
	struct eg_str rest;
	enum eg_dialect d = eg_dialect_from_path(eg_str_from(path));

	return eg_operation_find(d, EG_STR("POST"), eg_str_from(path), &rest);
}

#define CHAT	  "/v1/chat/completions"
#define RESPONSES "/v1/responses"
#define MESSAGES  "/v1/messages"

static void assert_same_str(struct eg_str a, struct eg_str b)
{
	assert_int_equal(a.p != NULL, b.p != NULL);
	assert_true(eg_str_eq(a, b));
}

static void assert_same_facts(const struct eg_body_facts *a, const struct eg_body_facts *b)
{
	assert_same_str(a->model, b->model);
	assert_ptr_equal(a->model_raw.p, b->model_raw.p);
	assert_same_str(a->inference_geo, b->inference_geo);
	assert_int_equal(a->model_not_string, b->model_not_string);
	assert_int_equal(a->stream, b->stream);
	assert_int_equal(a->include_usage, b->include_usage);
	assert_int_equal(a->store_or_state, b->store_or_state);
	assert_int_equal(a->other_models, b->other_models);
	assert_int_equal(a->other_providers, b->other_providers);
	assert_int_equal(a->tool_models, b->tool_models);
	assert_int_equal(a->has_inference_geo, b->has_inference_geo);
}

/* However small the pieces are, a body says what it says at once. */
static void assert_in_pieces(const struct eg_operation *op, struct eg_str body, int r,
			     const struct eg_body_facts *f, const struct eg_error *e)
{
	for (size_t piece = 1; piece < 4000; piece = piece * 11 + 3) {
		struct eg_error other_e = {0};
		struct eg_body_facts other;
		struct eg_body_reading *reading;
		struct eg_arena a;
		int code = -EAGAIN;

		eg_arena_init(&a, 0);
		reading = eg_body_begin(&a, op, body);
		assert_non_null(reading);
		for (size_t i = 0; i <= 3 * body.n + 3 && code == -EAGAIN; i++) {
			size_t budget = piece;

			code = eg_body_go_on(reading, &budget, &other, &other_e);
		}
		eg_body_end(reading);
		assert_int_equal(code, r);
		assert_string_equal(other_e.text, e->text);
		if (!r)
			assert_same_facts(&other, f);
		eg_arena_fini(&a);
	}
}

static int read_body(struct eg_arena *a, const char *path, const char *body,
		     struct eg_body_facts *f)
{
	struct eg_error e = {0};
	int r = eg_body_read(a, find(path), eg_str_from(body), f, &e);

	assert_in_pieces(find(path), eg_str_from(body), r, f, &e);
	return r;
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
	/* To Go's reader these are models, fallbacks and file_id. */
	assert_int_equal(read_body(&a, CHAT, "{\"model\":\"a\",\"model\xc5\xbf\":[\"b\"]}", &f), 0);
	assert_true(f.other_models);
	assert_int_equal(read_body(&a, CHAT, "{\"model\":\"a\",\"model\\u017f\":[\"b\"]}", &f), 0);
	assert_true(f.other_models);
	assert_int_equal(
		read_body(&a, CHAT, "{\"model\":\"a\",\"fallbac\xe2\x84\xaas\":[\"b\"]}", &f), 0);
	assert_true(f.other_models);
	assert_int_equal(read_body(&a, CHAT, "{\"model\":\"a\",\"model\xc5\":[\"b\"]}", &f),
			 -EINVAL);
	assert_int_equal(read_body(&a, CHAT, "{\"model\":\"a\",\"models\xc5\xbf\":[\"b\"]}", &f),
			 0);
	assert_false(f.other_models);
	/* Anthropic's alone. */
	assert_int_equal(
		read_body(&a, MESSAGES, "{\"inference_geo\":\"eu\",\"Inference_Geo\":\"us\"}", &f),
		-EINVAL);
	assert_int_equal(read_body(&a, CHAT, "{\"inference_geo\":\"us\"}", &f), 0);
	assert_false(f.has_inference_geo);
	assert_int_equal(read_body(&a, RESPONSES,
				   "{\"input\":[{\"content\":[{\"type\":\"input_text\"}]},"
				   "{\"tools\":[{\"parameters\":{}},{\"model\":\"m\"}]}]}",
				   &f),
			 0);
	assert_true(f.tool_models);
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
		/* A reader that minds no case, as Go's encoding/json, takes the last of them. */
		"{\"model\":\"a\",\"Model\":\"b\"}",
		"{\"Model\":\"b\",\"model\":\"a\"}",
		"{\"MODEL\":\"b\"}",
		"{\"model\":\"a\",\"mod\\u0045l\":\"b\"}",
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
		{RESPONSES, "{\"Previous_Response_Id\":\"r\"}", true},
		{RESPONSES, "{\"Background\":true}", true},
		{RESPONSES, "{\"Input\":[{\"Type\":\"Item_Reference\",\"ID\":\"r\"}]}", true},
		{CHAT,
		 "{\"messages\":[{\"content\":[{\"type\":\"file\",\"file\":{\"FILE_ID\":\"f\"}}]}]"
		 "}",
		 true},
		{CHAT, "{\"messages\":[{\"Audio\":{\"Id\":\"a\"}}]}", true},
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
		{RESPONSES,
		 "{\"tools\":[{\"type\":\"shell\",\"environment\":{\"type\":\"container_auto\","
		 "\"skills\":"
		 "[{\"type\":\"skill_reference\",\"skill_id\":\"s\"}]}}]}",
		 true},
		{RESPONSES, "{\"tools\":[{\"skills\":[{\"type\":\"skill_reference\"}]}]}", true},
		{RESPONSES, "{\"tools\":[{\"type\":\"mcp\",\"tunnel_id\":\"t\"}]}", true},
		{RESPONSES, "{\"input\":[{\"role\":\"user\",\"content\":\"skill_reference\"}]}",
		 false},
		{MESSAGES, "{\"diagnostics\":{\"previous_message_id\":\"m\"}}", true},
		{CHAT, "{\"audio\":{\"format\":\"wav\",\"voice\":{\"id\":\"voice_1\"}}}", true},
		{"/v1/audio/speech", "{\"voice\":{\"id\":\"voice_1\"}}", true},
		{"/v1/audio/speech", "{\"voice\":\"alloy\"}", false},
		{"/v1/images/generations", "{\"prompt\":\"x\",\"image\":{\"file_id\":\"f\"}}",
		 true},
		{CHAT, "{\"messages\":[{\"audio\":[{\"id\":\"x\"}],\"voice\":{\"a\":{\"id\":1}}}]}",
		 false},
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

/* Items of the Responses API by their id: `{"input":[ITEM]}`. */
static void items_by_id(void **state)
{
	static const struct {
		const char *item;
		bool state;
	} cases[] = {
		/* What openai-node's types allow to be a reference, and what its server resolves.
		 */
		{"{\"id\":\"msg_1\"}", true},
		{"{\"id\":\"msg_1\",\"type\":null}", true},
		{"{\"type\":null,\"id\":\"msg_1\",\"role\":\"user\",\"content\":\"x\"}", true},
		{"{\"i\\u0064\":\"msg_1\"}", true},
		{"{\"id\":1}", true},
		{"{\"id\":\"ig_1\",\"type\":\"image_generation_call\"}", true},
		{"{\"id\":\"ig_1\",\"type\":\"image_generation_call\",\"result\":null}", true},
		{"{\"id\":\"ig_1\",\"type\":\"image_generation_call\",\"result\":\"\"}", true},
		{"{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[]}", true},
		{"{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[],\"encrypted_content\":"
		 "null}",
		 true},
		{"{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[],\"encrypted_content\":"
		 "\"\"}",
		 true},
		{"{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[{\"type\":\"summary_text\","
		 "\"text\":\"t\"}],\"content\":[ ]}",
		 true},
		{"{\"type\":\"message\",\"id\":\"msg_1\",\"role\":\"assistant\"}", true},
		{"{\"type\":\"message\",\"id\":\"msg_1\",\"role\":\"assistant\",\"content\":[]}",
		 true},
		{"{\"id\":\"msg_1\",\"role\":\"assistant\"}", true},
		{"{\"id\":\"msg_1\",\"content\":\"no role, no message\"}", true},
		{"{\"type\":\"function_call\",\"id\":\"fc_1\",\"call_id\":\"c\",\"name\":\"f\"}",
		 true},
		{"{\"type\":\"web_search_call\",\"id\":\"ws_1\",\"status\":\"completed\"}", true},
		{"{\"type\":\"new_kind_call\",\"id\":\"nk_1\",\"content\":\"x\"}", true},
		{"{\"type\":\"it\\u0065m_reference\",\"id\":\"msg_1\"}", true},
		{"{\"type\":\"message\",\"role\":\"user\",\"content\":\"x\"}, {\"id\":\"msg_1\"}",
		 true},
		{"\"x\", [1], {\"id\":\"msg_1\"}", true},
		/* What a client sends that keeps the conversation itself. */
		{"", false},
		/* However many members stand in front of the content. */
		{"{\"type\":\"message\",\"id\":\"m\",\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":"
		 "1,"
		 "\"g\":1,\"h\":1,\"i\":1,\"j\":1,\"k\":1,\"l\":1,\"m\":1,\"n\":1,\"o\":1,\"p\":1,"
		 "\"content\":\"x\"}",
		 false},
		{"{\"role\":\"user\",\"content\":\"x\"}", false},
		{"{\"id\":null,\"role\":\"user\",\"content\":\"x\"}", false},
		{"{\"id\":\"msg_1\",\"role\":\"assistant\",\"content\":\"x\"}", false},
		{"{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"status\":"
		 "\"completed\","
		 "\"content\":[{\"type\":\"output_text\",\"text\":\"item_reference\","
		 "\"annotations\":[]}]}",
		 false},
		{"{\"type\":\"function_call\",\"id\":\"fc_1\",\"call_id\":\"c\",\"name\":\"f\","
		 "\"arguments\":\"{}\",\"status\":\"completed\"},"
		 "{\"type\":\"function_call_output\",\"id\":\"fco_1\",\"call_id\":\"c\",\"output\":"
		 "\"\"}",
		 false},
		{"{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[],\"encrypted_content\":"
		 "\"gAAA\"}",
		 false},
		{"{\"type\":\"reasoning\",\"id\":\"rs_1\",\"summary\":[],\"content\":[{\"type\":"
		 "\"reasoning_text\",\"text\":\"t\"}]}",
		 false},
		{"{\"type\":\"reasoning\",\"summary\":[],\"encrypted_content\":\"gAAA\"}", false},
		{"{\"type\":\"image_generation_call\",\"id\":\"ig_1\",\"status\":\"completed\","
		 "\"result\":"
		 "\"iVBO\"}",
		 false},
		{"{\"type\":\"custom_tool_call\",\"id\":\"ctc_1\",\"call_id\":\"c\",\"name\":\"f\","
		 "\"input\":\"\"}",
		 false},
		{"{\"type\":\"compaction\",\"id\":\"cmp_1\",\"encrypted_content\":\"gAAA\"}",
		 false},
		{"{\"type\":\"web_search_call\",\"id\":\"ws_1\",\"status\":\"completed\","
		 "\"action\":"
		 "{\"type\":\"search\",\"query\":\"q\"}}",
		 false},
		{"{\"type\":\"mcp_approval_response\",\"id\":\"mr_1\",\"approval_request_id\":"
		 "\"a\","
		 "\"approve\":false}",
		 false},
		{"{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"x\",\"id\":"
		 "\"p\"}]}",
		 false},
	};
	static const char *const paths[] = {RESPONSES, "/v1/responses/compact",
					    "/v1/responses/input_tokens"};
	struct eg_arena a;

	eg_arena_init(&a, 0);
	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++)
		for (size_t p = 0; p < EG_ARRAY_SIZE(paths); p++) {
			struct eg_body_facts f;
			char body[1024];

			snprintf(body, sizeof(body), "{\"model\":\"m\",\"input\":[ %s ]}",
				 cases[i].item);
			assert_int_equal(read_body(&a, paths[p], body, &f), 0);
			if (f.store_or_state != cases[i].state)
				fail_msg("%s: state %d", body, f.store_or_state);
		}
	eg_arena_fini(&a);
}

static const struct eg_operation *find_as(const char *path, const char *type)
{
	return eg_operation_for_content(find(path), eg_str_from(type));
}

/* An operation that takes a form or JSON is read when it is JSON, and nothing else is taken. */
static void forms_or_json(void **state)
{
	static const char *const paths[] = {"/v1/images/edits", "/v1/images/variations",
					    "/v1/audio/transcriptions", "/v1/audio/translations"};
	static const char *const json[] = {"application/json", "Application/JSON ; charset=utf-8",
					   ""};
	static const char *const form[] = {"multipart/form-data; boundary=x",
					   "Multipart/Form-Data ;boundary=x"};
	static const char *const neither[] = {
		"text/plain", "application/json, multipart/form-data", "application/jsonp",
		"multipart/form-dataX", "two",
		/* Express decodes UTF-7 when told so, where "+ACI-" is
		   a quote: another text with other members. */
		"application/json; charset=utf-7", "application/json;charset=UTF-16",
		"application/json; charset=utf-8; charset=utf-7",
		"application/json; x=\"a; charset=utf-7", "application/json; charset*=utf-8''utf-7",
		"application/x-www-form-urlencoded"};
	struct eg_body_facts f;
	struct eg_arena a;
	struct eg_error e = {0};

	eg_arena_init(&a, 0);
	for (size_t p = 0; p < EG_ARRAY_SIZE(paths); p++) {
		for (size_t i = 0; i < EG_ARRAY_SIZE(json); i++) {
			const struct eg_operation *op = find_as(paths[p], json[i]);

			assert_non_null(op);
			assert_true(op->json_body && op->model_in_body && op->may_hold_state);
			assert_int_equal(op->id, find(paths[p])->id);
			assert_string_equal(op->name, find(paths[p])->name);
			assert_int_equal(
				eg_body_read(&a, op,
					     EG_STR("{\"model\":\"m\",\"images\":[{\"file_id\":"
						    "\"file-1\"}]}"),
					     &f, &e),
				0);
			assert_true(f.store_or_state && eg_str_eq(f.model, EG_STR("m")));
			assert_string_equal(eg_operation_for_state(op)->name, "files");
			assert_ptr_equal(eg_operation_for_content(op, eg_str_from(json[i])), op);
		}
		for (size_t i = 0; i < EG_ARRAY_SIZE(form); i++)
			assert_ptr_equal(find_as(paths[p], form[i]), find(paths[p]));
		for (size_t i = 0; i < EG_ARRAY_SIZE(neither); i++)
			assert_null(find_as(paths[p], neither[i]));
	}
	/* JSON only, and what has no body that matters. */
	assert_null(find_as(CHAT, "application/json; charset=utf-7"));
	assert_null(find_as(CHAT, "application/json; charset=utf-16"));
	assert_ptr_equal(find_as(CHAT, "application/json; charset=\"UTF-8\""), find(CHAT));
	assert_ptr_equal(find_as(CHAT, "application/json;charset=us-ascii; v=2 ;"), find(CHAT));
	assert_ptr_equal(find_as(CHAT, ""), find(CHAT));
	assert_null(find_as(CHAT, "multipart/form-data; boundary=x"));
	assert_ptr_equal(find_as("/v1/files", "multipart/form-data; boundary=x"),
			 find("/v1/files"));
	eg_arena_fini(&a);
}

/* The model has to come in the first MiB: 1048576 bytes before it are too many. */
static void late_model(void **state)
{
	static const char before[] = "{\"input\":\"", after[] = "\",\"model\":\"m\"}";
	size_t fixed = strlen(before) + strlen("\",\"model\":");
	struct eg_error e = {0};
	struct eg_body_facts f;
	struct eg_arena a;

	eg_arena_init(&a, 0);
	for (size_t late = 0; late < 2; late++) {
		size_t pad = (1u << 20) - 1 - fixed + late;
		size_t n = strlen(before) + pad + strlen(after);
		char *body = malloc(n + 1);

		assert_non_null(body);
		memset(body, 'x', n);
		memcpy(body, before, strlen(before));
		memcpy(body + strlen(before) + pad, after, sizeof(after));
		assert_int_equal(eg_body_read(&a, find(CHAT), (struct eg_str){body, n}, &f, &e),
				 late ? -EINVAL : 0);
		free(body);
	}
	assert_non_null(strstr(e.text, "first MiB"));
	eg_arena_fini(&a);
}

static char *repeat(char *at, size_t times, const char *text)
{
	size_t n = strlen(text);

	while (times--) {
		memcpy(at, text, n);
		at += n;
	}
	return at;
}

/* However many names with escapes a body has, reading it takes no memory of the request's for them:
 * keys, types of items, and what they hold. */
static void escapes_without_end(void **state)
{
	static const char item[] =
		"{\"\\u0069d\":\"m\",\"typ\\u0065\":\"messag\\u0065\",\"x\":{\"\\"
		"u0074ype\":\"\\u0061\"},\"\\u0063ontent\":\"c\"},";
	const size_t times = 20000;
	char *body = malloc(times * sizeof(item) + 100), *at = body;
	struct eg_error e = {0};
	struct eg_body_facts f;
	struct eg_arena a;

	assert_non_null(body);
	eg_arena_init(&a, 4096);
	at = repeat(body, 1, "{\"model\":\"m\",\"input\":[");
	at = repeat(at, times, item);
	at = repeat(at, 1, "{}]}");
	assert_int_equal(eg_body_read(&a, find(RESPONSES),
				      (struct eg_str){body, (size_t)(at - body)}, &f, &e),
			 0);
	assert_false(f.store_or_state);
	at = repeat(at - 4, 1, "{\"i\\u0064\":\"m\",\"typ\\u0065\":\"m\\u0065ssage\"}]}");
	assert_int_equal(eg_body_read(&a, find(RESPONSES),
				      (struct eg_str){body, (size_t)(at - body)}, &f, &e),
			 0);
	assert_true(f.store_or_state);
	free(body);
	eg_arena_fini(&a);
	(void)state;
}

/* A model's name has 1 KiB at most, as in a form: nobody's fault but the sender's. */
static void long_model(void **state)
{
	static const size_t lengths[] = {1024, 1025, 700000};
	static const char *const letters[] = {"x", "\\u0078"};
	char *body = malloc(8u << 20);
	struct eg_body_facts f;
	struct eg_arena a;

	assert_non_null(body);
	for (size_t i = 0; i < EG_ARRAY_SIZE(lengths); i++) {
		for (size_t j = 0; j < EG_ARRAY_SIZE(letters); j++) {
			for (size_t geo = 0; geo < 2; geo++) {
				struct eg_error e = {0};
				char *at = repeat(body, 1,
						  geo ? "{\"inference_geo\":\"" : "{\"model\":\"");

				at = repeat(at, lengths[i], letters[j]);
				at = repeat(at, 1, "\"}");
				eg_arena_init(&a, 512 << 10);
				assert_int_equal(
					eg_body_read(&a, find(MESSAGES),
						     (struct eg_str){body, (size_t)(at - body)}, &f,
						     &e),
					i ? -EINVAL : 0);
				assert_true(!i || strstr(e.text, "longer than 1024 bytes"));
				eg_arena_fini(&a);
			}
		}
	}
	free(body);
	(void)state;
}

/* Requests that real clients sent to Responses endpoints: none refers to what a provider keeps. */
static void recorded_responses(void **state)
{
	json_t *index = shared_json("recorded/index.json"), *list, *entry;
	size_t i, seen = 0;
	struct eg_arena a;

	if (!index)
		skip();
	list = json_is_array(index) ? index : json_object_get(index, "fixtures");
	assert_true(json_is_array(list));
	eg_arena_init(&a, 0);
	json_array_foreach(list, i, entry)
	{
		char name[256];
		struct eg_body_facts f;
		const char *body, *url;
		json_t *fixture, *request;

		snprintf(name, sizeof(name), "recorded/%s", text_of(entry, "file"));
		fixture = shared_json(name);
		assert_non_null(fixture);
		request = json_object_get(fixture, "request");
		body = text_of(request, "body");
		url = text_of(request, "url");
		if (strlen(url) > 10 && !strcmp(url + strlen(url) - 10, "/responses") && *body) {
			seen++;
			assert_int_equal(read_body(&a, RESPONSES, body, &f), 0);
			if (f.store_or_state)
				fail_msg("%s: %.400s", name, body);
		}
		json_decref(fixture);
	}
	assert_true(seen >= 10);
	eg_arena_fini(&a);
	json_decref(index);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(facts),
		cmocka_unit_test(refused),
		cmocka_unit_test(references_to_state),
		cmocka_unit_test(items_by_id),
		cmocka_unit_test(forms_or_json),
		cmocka_unit_test(late_model),
		cmocka_unit_test(escapes_without_end),
		cmocka_unit_test(long_model),
		cmocka_unit_test(recorded_responses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
