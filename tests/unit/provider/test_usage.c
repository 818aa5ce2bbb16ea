/* SPDX-License-Identifier: Apache-2.0 */
/* Token counts and events of streams; whatever way the answer is cut. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "provider/provider.h"
#include "shared.h"

#define O EG_DIALECT_OPENAI
#define A EG_DIALECT_ANTHROPIC

struct result {
	struct eg_usage usage;
	bool end, error;
};

/* Fed in pieces of `step` bytes, the first one of `first`. */
static struct result watch(enum eg_dialect d, bool sse, struct eg_str body, size_t first,
			   size_t step)
{
	struct eg_str rest;
	const struct eg_operation *op = eg_operation_find(
		d, EG_STR("POST"), d == A ? EG_STR("/v1/messages") : EG_STR("/v1/chat/completions"),
		&rest);
	struct eg_usage_watch *w = eg_usage_watch_create(d, op, sse);
	struct result r;

	assert_non_null(w);
	for (size_t at = 0; at < body.n;) {
		size_t n = EG_MIN(at ? step : first, body.n - at);

		eg_usage_watch_feed(w, (struct eg_str){body.p + at, n});
		at += n;
	}
	eg_usage_watch_end(w, &r.usage, &r.end, &r.error);
	eg_usage_watch_destroy(w);
	return r;
}

static bool same(const struct result *a, const struct result *b)
{
	return a->usage.known == b->usage.known && a->usage.input_tokens == b->usage.input_tokens &&
	       a->usage.output_tokens == b->usage.output_tokens &&
	       a->usage.cache_read_tokens == b->usage.cache_read_tokens &&
	       a->usage.cache_write_tokens == b->usage.cache_write_tokens &&
	       a->usage.reasoning_tokens == b->usage.reasoning_tokens &&
	       !strcmp(a->usage.response_model, b->usage.response_model) && a->end == b->end &&
	       a->error == b->error;
}

/* The result, which must be the same for the whole, for single bytes, and for every cut in two (of
 * the longest bodies, only some). */
static struct result watch_any(enum eg_dialect d, bool sse, struct eg_str body)
{
	struct result whole = watch(d, sse, body, body.n, body.n), cut;
	size_t stride = body.n > 20000 ? 397 : body.n > 4000 ? 37 : 1;

	cut = watch(d, sse, body, 1, 1);
	assert_true(same(&whole, &cut));
	for (size_t at = 1; at < body.n; at += stride) {
		cut = watch(d, sse, body, at, body.n);
		if (!same(&whole, &cut))
			fprintf(stderr, "differs when cut at %zu\n", at);
		assert_true(same(&whole, &cut));
	}
	return whole;
}

struct row {
	enum eg_dialect dialect;
	bool sse;
	const char *body, *model;
	uint64_t input, output, cache_read, cache_write, reasoning;
	bool known, end, error;
};

static const struct row rows[] = {
	{O, false,
	 "{\"id\":\"c\",\"choices\":[{\"message\":{\"content\":\"\\\"usage\\\":{\\\"prompt_"
	 "tokens\\\":9}\"}}],"
	 "\"model\":\"gpt-4o-2024\",\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":5,"
	 "\"prompt_tokens_details\":{\"cached_tokens\":4},\"completion_tokens_details\":"
	 "{\"reasoning_tokens\":3}}}",
	 "gpt-4o-2024", 12, 5, 4, 0, 3, true, true, false},
	/* Nested "usage" and "model" are not the answer's. */
	{O, false, "{\"a\":{\"usage\":{\"prompt_tokens\":1},\"model\":\"x\"},\"model\":\"m\"}", "m",
	 0, 0, 0, 0, 0, false, true, false},
	{O, false, "{\"model\":\"gpt\\u002d4o\\/\\\"\\u00e9\\\"\"}", "gpt-4o/\"\u00e9\"", 0, 0, 0,
	 0, 0, false, true, false},
	{O, true, "data: {\"model\":\"\\u006d\",\"choices\":[]}\n\ndata: [DONE]\n\n", "m", 0, 0, 0,
	 0, 0, false, true, false},
	{O, false, "{\"usage\":null,\"model\":\"m\",\"error\":null}", "m", 0, 0, 0, 0, 0, false,
	 true, false},
	{O, false, "{\"error\":{\"message\":\"x\"}}", "", 0, 0, 0, 0, 0, false, true, true},
	{O, false, "{\"usage\":{\"prompt_tokens\":3", "", 0, 0, 0, 0, 0, false, false, false},
	{O, false,
	 "{\"usage\":{\"prompt_tokens\":-3,\"completion_tokens\":1.5,\"total_tokens\":\"x\"}}", "",
	 0, 0, 0, 0, 0, true, true, false},
	{O, false,
	 "{\"object\":\"list\",\"data\":[{\"embedding\":[0.1,-2e3]}],\"model\":\"e\",\n \"usage\" "
	 ": "
	 "{ \"prompt_tokens\" : 8 } \n}",
	 "e", 8, 0, 0, 0, 0, true, true, false},
	{O, false,
	 "{\"model\":\"r\",\"output\":[],\"usage\":{\"input_tokens\":7,\"input_tokens_details\":"
	 "{\"cached_tokens\":2},\"output_tokens\":6,\"output_tokens_details\":{\"reasoning_"
	 "tokens\":1}}}",
	 "r", 7, 6, 2, 0, 1, true, true, false},
	{O, true,
	 "data: "
	 "{\"model\":\"m\",\"choices\":[{\"delta\":{\"role\":\"assistant\"}}],\"usage\":null}\n\n"
	 ": ping\r\n\r\ndata: {\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n"
	 "data: {\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,"
	 "\"completion_tokens\":2}}\n\ndata: [DONE]\n\n",
	 "m", 3, 2, 0, 0, 0, true, true, false},
	/* A clean end without [DONE] is no end. */
	{O, true, "data: {\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\n", "m",
	 0, 0, 0, 0, 0, false, false, false},
	{O, true, "data: {\"error\":{\"message\":\"x\",\"code\":\"insufficient_quota\"}}\n\n", "",
	 0, 0, 0, 0, 0, false, false, true},
	{O, true, "event: error\ndata: {\"message\":\"x\"}\n\n", "", 0, 0, 0, 0, 0, false, false,
	 true},
	{O, true,
	 "data: {\"choices\":[],\"model\":\"l\",\"x_groq\":{\"usage\":{\"prompt_tokens\":5,"
	 "\"completion_tokens\":1}}}\n\ndata: [DONE]\n\n",
	 "l", 5, 1, 0, 0, 0, true, true, false},
	{O, true,
	 "event: response.created\ndata: "
	 "{\"type\":\"response.created\",\"response\":{\"model\":\"r\","
	 "\"usage\":null}}\n\nevent: response.output_text.delta\ndata: {\"type\":"
	 "\"response.output_text.delta\",\"delta\":\"x\"}\n\nevent: response.completed\ndata: "
	 "{\"type\":"
	 "\"response.completed\",\"response\":{\"model\":\"r\",\"usage\":{\"input_tokens\":4,"
	 "\"output_tokens\":9}}}\n\n",
	 "r", 4, 9, 0, 0, 0, true, true, false},
	{O, true,
	 "event: response.failed\ndata: "
	 "{\"type\":\"response.failed\",\"response\":{\"error\":{}}}\n\n",
	 "", 0, 0, 0, 0, 0, false, false, true},
	{A, false,
	 "{\"type\":\"message\",\"model\":\"claude\",\"usage\":{\"input_tokens\":10,"
	 "\"cache_read_input_tokens\":5,\"cache_creation_input_tokens\":2,\"output_tokens\":4}}",
	 "claude", 17, 4, 5, 2, 0, true, true, false},
	{A, true,
	 "event: message_start\ndata: "
	 "{\"type\":\"message_start\",\"message\":{\"model\":\"claude\","
	 "\"usage\":{\"input_tokens\":10,\"cache_read_input_tokens\":3,\"output_tokens\":1}}}\n\n"
	 "event: ping\ndata: {\"type\":\"ping\"}\n\n"
	 "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":"
	 "\"text_delta\",\"text\":\"\\\"usage\\\"\"}}\n\n"
	 "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{},\"usage\":"
	 "{\"output_tokens\":5}}\n\n"
	 "event: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":8 } "
	 " }\n\n"
	 "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
	 "claude", 13, 8, 3, 0, 0, true, true, false},
	{A, true,
	 "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n",
	 "", 0, 0, 0, 0, 0, false, false, true},
	{O, false, "", "", 0, 0, 0, 0, 0, false, false, false},
	{O, true, "garbage\n\n\x01\xff", "", 0, 0, 0, 0, 0, false, false, false},
};

static void counts(void **state)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		const struct row *r = &rows[i];
		struct result got = watch_any(r->dialect, r->sse, eg_str_from(r->body)),
			      expected = {0};

		expected.usage = (struct eg_usage){.known = r->known,
						   .input_tokens = r->input,
						   .output_tokens = r->output,
						   .cache_read_tokens = r->cache_read,
						   .cache_write_tokens = r->cache_write,
						   .reasoning_tokens = r->reasoning};
		strcpy(expected.usage.response_model, r->model);
		expected.end = r->end;
		expected.error = r->error;
		if (!same(&got, &expected))
			fprintf(stderr,
				"row %zu: in %llu out %llu model %s end %d error %d known %d\n", i,
				(unsigned long long)got.usage.input_tokens,
				(unsigned long long)got.usage.output_tokens,
				got.usage.response_model, got.end, got.error, got.usage.known);
		assert_true(same(&got, &expected));
	}
}

/* Where it ran, as the answer says: in the message and in the first event of a stream. */
static void evidence_of_place(void **state)
{
	static const char plain[] = "{\"usage\":{\"input_tokens\":1,\"inference_geo\":\"global\"}}";
	static const char stream[] =
		"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":"
		"{\"inference_geo\":\"us\"}}}\n\nevent: message_delta\ndata: {\"type\":"
		"\"message_delta\",\"usage\":{\"output_tokens\":3}}\n\n";

	assert_string_equal(watch(A, false, EG_STR(plain), 1, 1).usage.inference_geo, "global");
	assert_string_equal(watch(A, true, EG_STR(stream), 1, 1).usage.inference_geo, "us");
	assert_string_equal(watch(A, false, EG_STR("{\"usage\":{\"inference_geo\":null}}"), 1, 1)
				    .usage.inference_geo,
			    "");
	assert_string_equal(watch(O, false, EG_STR(plain), 1, 1).usage.inference_geo, "");
}

/* A huge value under one of our names is not kept, and does no harm. */
static void hostile_sizes(void **state)
{
	size_t n = 3u << 20;
	char *body = malloc(n);
	struct result r;

	assert_non_null(body);
	memset(body, 'x', n);
	memcpy(body, "{\"usage\":\"", 10);
	memcpy(body + n - 30, "\",\"model\":\"m\"}", 14);
	r = watch(O, false, (struct eg_str){body, n - 16}, 1000, 65536);
	assert_true(r.end && !r.usage.known);
	assert_string_equal(r.usage.response_model, "m");
	memset(body, '[', n);
	memcpy(body, "{\"usage\":", 9);
	r = watch(O, false, (struct eg_str){body, n}, n, n);
	assert_false(r.end || r.usage.known);
	memset(body, 'x', n);
	memcpy(body, "data: {\"usage\":\"", 16);
	r = watch(O, true, (struct eg_str){body, n}, n, n);
	assert_false(r.usage.known);
	free(body);
}

static void event_classes(void **state)
{
	static const struct {
		enum eg_dialect dialect;
		const char *event, *data;
		enum eg_event_class class;
	} cases[] = {
		{O, "",
		 "{\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"refusal\":"
		 "null},"
		 "\"finish_reason\":null}]}",
		 EG_EVENT_PREAMBLE},
		{O, "", "{\"choices\":[],\"prompt_filter_results\":[]}", EG_EVENT_PREAMBLE},
		{O, "", "{\"choices\":[],\"usage\":{\"prompt_tokens\":1}}", EG_EVENT_CONTENT},
		{O, "", "{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}", EG_EVENT_CONTENT},
		{O, "", "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0}]}}]}",
		 EG_EVENT_CONTENT},
		{O, "", "{\"choices\":[{\"delta\":{\"reasoning_content\":\"a\"}}]}",
		 EG_EVENT_CONTENT},
		{O, "", "{\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}",
		 EG_EVENT_CONTENT},
		{O, "", "{\"choices\":[{\"text\":\"completions\"}]}", EG_EVENT_CONTENT},
		{O, "", "not json", EG_EVENT_CONTENT},
		{O, "", "[DONE]", EG_EVENT_END},
		{O, "", "{\"error\":{\"code\":\"x\"}}", EG_EVENT_ERROR},
		{O, "", "{\"error\":null,\"choices\":[{\"delta\":{\"content\":\"a\"}}]}",
		 EG_EVENT_CONTENT},
		{O, "error", "{}", EG_EVENT_ERROR},
		{O, "response.created", "{\"type\":\"response.created\",\"response\":{}}",
		 EG_EVENT_PREAMBLE},
		{O, "response.output_text.delta",
		 "{\"type\":\"response.output_text.delta\",\"delta\":\"a\"}", EG_EVENT_CONTENT},
		{O, "response.completed", "{\"type\":\"response.completed\"}", EG_EVENT_END},
		{O, "response.failed", "{\"type\":\"response.failed\"}", EG_EVENT_ERROR},
		{O, "", "{\"type\":\"error\",\"code\":\"insufficient_quota\"}", EG_EVENT_ERROR},
		{A, "message_start", "{\"type\":\"message_start\",\"message\":{}}",
		 EG_EVENT_PREAMBLE},
		{A, "ping", "{\"type\": \"ping\"}", EG_EVENT_PREAMBLE},
		{A, "content_block_start",
		 "{\"type\":\"content_block_start\",\"content_block\":{\"type\":\"text\",\"text\":"
		 "\"\"}}",
		 EG_EVENT_PREAMBLE},
		{A, "content_block_start",
		 "{\"type\":\"content_block_start\",\"content_block\":{\"type\":\"tool_use\"}}",
		 EG_EVENT_CONTENT},
		{A, "content_block_delta",
		 "{\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":"
		 "\"\"}}",
		 EG_EVENT_PREAMBLE},
		{A, "content_block_delta",
		 "{\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":"
		 "\"a\"}}",
		 EG_EVENT_CONTENT},
		{A, "message_delta", "{\"type\":\"message_delta\"}", EG_EVENT_CONTENT},
		{A, "message_stop", "{\"type\":\"message_stop\"}", EG_EVENT_END},
		{A, "error", "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}",
		 EG_EVENT_ERROR},
		{A, "", "{\"type\":\"error\"}", EG_EVENT_ERROR},
		{A, "later", "{\"type\":\"later\"}", EG_EVENT_CONTENT},
		{EG_DIALECT_NONE, "", "x", EG_EVENT_CONTENT},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		enum eg_event_class c = eg_event_class_of(
			cases[i].dialect, eg_str_from(cases[i].event), eg_str_from(cases[i].data));

		if (c != cases[i].class)
			fprintf(stderr, "%s: %d\n", cases[i].data, (int)c);
		assert_int_equal(c, cases[i].class);
	}
}

/* ---- ../shared/data/providers/recorded ---- */
static uint64_t expected_of(const json_t *u, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(u, key));
}

static bool check_recording(const char *path)
{
	json_t *top = json_load_file(path, 0, NULL), *response, *u;
	bool sse, count = false;
	enum eg_dialect d;
	struct result r;
	struct eg_str body;

	assert_non_null(top);
	response = json_object_get(top, "response");
	u = json_object_get(top, "usage_expected");
	body = eg_str_from(text_of(response, "body"));
	sse = !strcmp(text_of(response, "stream_framing"), "sse");
	d = strstr(path, "/anthropic") ? A : O;
	if (body.n) {
		r = watch_any(d, sse, body);
		count = json_is_object(u);
	}
	if (count && (r.usage.input_tokens != expected_of(u, "input") ||
		      r.usage.output_tokens != expected_of(u, "output") ||
		      r.usage.cache_read_tokens != expected_of(u, "cache_read") ||
		      r.usage.cache_write_tokens != expected_of(u, "cache_write") ||
		      r.usage.reasoning_tokens != expected_of(u, "reasoning"))) {
		fprintf(stderr,
			"%s: in %llu out %llu read %llu write %llu reasoning %llu, expected %s\n",
			path, (unsigned long long)r.usage.input_tokens,
			(unsigned long long)r.usage.output_tokens,
			(unsigned long long)r.usage.cache_read_tokens,
			(unsigned long long)r.usage.cache_write_tokens,
			(unsigned long long)r.usage.reasoning_tokens, json_dumps(u, JSON_COMPACT));
		fail();
	}
	if (strstr(path, "error-midstream") || strstr(path, "error-first"))
		assert_true(r.error);
	if (strstr(path, "cut-"))
		assert_false(r.end);
	json_decref(top);
	return count;
}

static size_t check_folder(const char *folder, const char *prefix)
{
	char path[512];
	struct dirent *e;
	size_t n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), SHARED "recorded/%s", folder);
	dir = opendir(path);
	if (!dir) {
		printf("SKIP %s: absent\n", path);
		return 0;
	}
	while ((e = readdir(dir))) {
		if (!eg_str_ends(eg_str_from(e->d_name), EG_STR(".json")) ||
		    !begins(e->d_name, prefix))
			continue;
		snprintf(path, sizeof(path), SHARED "recorded/%s/%s", folder, e->d_name);
		n += check_recording(path);
	}
	closedir(dir);
	return n;
}

static void recordings(void **state)
{
	static const char *const folders[] = {
		"openai",     "anthropic",  "groq",	      "mistral",  "xai",
		"deepseek",   "openrouter", "together",	      "cerebras", "huggingface",
		"perplexity", "zai",	    "bedrock-mantle",
	};
	size_t n = 0;
	json_t *index = shared_json("recorded/index.json");

	if (!index)
		skip();
	json_decref(index);
	for (size_t i = 0; i < EG_ARRAY_SIZE(folders); i++)
		n += check_folder(folders[i], "");
	check_folder("constructed", "openai");
	check_folder("constructed", "anthropic");
	printf("%zu recordings with known usage\n", n);
	assert_true(n >= 40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts),	 cmocka_unit_test(evidence_of_place),
		cmocka_unit_test(hostile_sizes), cmocka_unit_test(event_classes),
		cmocka_unit_test(recordings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
