/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "provider/provider.h"
#include "provider/vendor.h"

#define O EG_DIALECT_OPENAI
#define A EG_DIALECT_ANTHROPIC

struct row {
	enum eg_dialect dialect;
	const char *method, *path, *name, *rest;
	enum eg_operation_class class;
};

static const struct row rows[] = {
	{O, "POST", "/v1/chat/completions", "chat.completions", "/chat/completions",
	 EG_CLASS_INFERENCE},
	{O, "POST", "/openai/v1/chat/completions", "chat.completions", "/chat/completions",
	 EG_CLASS_INFERENCE},
	{O, "POST", "/api/v1/chat/completions", "chat.completions", "/chat/completions",
	 EG_CLASS_INFERENCE},
	{O, "POST", "/inference/v1/chat/completions", "chat.completions", "/chat/completions",
	 EG_CLASS_INFERENCE},
	{O, "POST", "/chat/completions", "chat.completions", "/chat/completions",
	 EG_CLASS_INFERENCE},
	{O, "POST", "/v1/completions", "completions", "/completions", EG_CLASS_INFERENCE},
	{O, "POST", "/v1/responses", "responses", "/responses", EG_CLASS_INFERENCE},
	{O, "POST", "/v1/embeddings", "embeddings", "/embeddings", EG_CLASS_INFERENCE},
	{O, "POST", "/v1/images/generations", "images.generations", "/images/generations",
	 EG_CLASS_INFERENCE},
	{O, "POST", "/v1/audio/speech", "audio.speech", "/audio/speech", EG_CLASS_INFERENCE},
	{O, "POST", "/v1/audio/transcriptions", "audio.transcriptions", "/audio/transcriptions",
	 EG_CLASS_INFERENCE},
	{O, "POST", "/v1/moderations", "moderations", "/moderations", EG_CLASS_INFERENCE},
	{O, "GET", "/v1/models", "models", "/models", EG_CLASS_METADATA},
	{O, "GET", "/v1/models/ft:gpt-4o:acme::x1", "models", "/models/ft:gpt-4o:acme::x1",
	 EG_CLASS_METADATA},
	{O, "DELETE", "/v1/models/ft:x", "fine_tuning", "/models/ft:x", EG_CLASS_STATEFUL},
	{O, "GET", "/v1/chat/completions", "chat.completions.stored", "/chat/completions",
	 EG_CLASS_STATEFUL},
	{O, "GET", "/v1/chat/completions/c1/messages", "chat.completions.stored",
	 "/chat/completions/c1/messages", EG_CLASS_STATEFUL},
	{O, "GET", "/v1/responses/resp_1", "responses.stored", "/responses/resp_1",
	 EG_CLASS_STATEFUL},
	{O, "POST", "/v1/responses/resp_1/cancel", "responses.stored", "/responses/resp_1/cancel",
	 EG_CLASS_STATEFUL},
	{O, "POST", "/v1/responses/input_tokens", "responses.input_tokens",
	 "/responses/input_tokens", EG_CLASS_METADATA},
	{O, "GET", "/v1/files", "files", "/files", EG_CLASS_STATEFUL},
	{O, "GET", "/v1/files/f/content", "files", "/files/f/content", EG_CLASS_STATEFUL},
	{O, "POST", "/v1/uploads/u/parts", "uploads", "/uploads/u/parts", EG_CLASS_STATEFUL},
	{O, "POST", "/v1/batches", "batches", "/batches", EG_CLASS_STATEFUL},
	{O, "POST", "/v1/threads/runs", "threads", "/threads/runs", EG_CLASS_STATEFUL},
	{O, "POST", "/v1/threads/t/runs/r/submit_tool_outputs", "threads",
	 "/threads/t/runs/r/submit_tool_outputs", EG_CLASS_STATEFUL},
	{O, "GET", "/v1/vector_stores/v/file_batches/b/files", "vector_stores",
	 "/vector_stores/v/file_batches/b/files", EG_CLASS_STATEFUL},
	{O, "POST", "/v1/fine_tuning/jobs/j/cancel", "fine_tuning", "/fine_tuning/jobs/j/cancel",
	 EG_CLASS_STATEFUL},
	{O, "GET", "/v1/evals", "evals", "/evals", EG_CLASS_STATEFUL},
	{O, "GET", "/v1/containers/c/files/f/content", "containers",
	 "/containers/c/files/f/content", EG_CLASS_STATEFUL},
	/* What mints or lists credentials, by any method. */
	{O, "GET", "/v1/realtime", "realtime", "/realtime", EG_CLASS_METADATA},
	{O, "POST", "/v1/realtime/client_secrets", "realtime.client_secrets",
	 "/realtime/client_secrets", EG_CLASS_CREDENTIAL},
	{O, "POST", "/v1/realtime/sessions", "realtime.client_secrets", "/realtime/sessions",
	 EG_CLASS_CREDENTIAL},
	{O, "PATCH", "/v1/realtime/transcription_sessions", "realtime.client_secrets",
	 "/realtime/transcription_sessions", EG_CLASS_CREDENTIAL},
	{O, "POST", "/v1/chatkit/sessions", "chatkit.sessions", "/chatkit/sessions",
	 EG_CLASS_CREDENTIAL},
	{O, "POST", "/api/v1/keys", "api_keys", "/keys", EG_CLASS_CREDENTIAL},
	{O, "POST", "/api/v1/auth/keys", "api_keys", "/auth/keys", EG_CLASS_CREDENTIAL},
	{O, "GET", "/v1/organization/admin_api_keys", "api_keys", "/organization/admin_api_keys",
	 EG_CLASS_CREDENTIAL},
	{O, "POST", "/v1/organization/projects/p/api_keys", "api_keys",
	 "/organization/projects/p/api_keys", EG_CLASS_CREDENTIAL},
	{O, "GET", "/v1/organization/projects", "organization", "/organization/projects",
	 EG_CLASS_ADMIN},
	{O, "HEAD", "/v1/organization/usage/completions", "organization",
	 "/organization/usage/completions", EG_CLASS_ADMIN},
	{O, "POST", "/v1/fine_tuning/checkpoints/c/permissions", "organization",
	 "/fine_tuning/checkpoints/c/permissions", EG_CLASS_ADMIN},
	{A, "POST", "/v1/messages", "messages", "/messages", EG_CLASS_INFERENCE},
	{A, "POST", "/anthropic/v1/messages", "messages", "/messages", EG_CLASS_INFERENCE},
	{A, "POST", "/v1/complete", "complete", "/complete", EG_CLASS_INFERENCE},
	{A, "POST", "/v1/messages/count_tokens", "messages.count_tokens", "/messages/count_tokens",
	 EG_CLASS_METADATA},
	{A, "POST", "/v1/messages/batches", "messages.batches", "/messages/batches",
	 EG_CLASS_STATEFUL},
	{A, "GET", "/v1/messages/batches/b/results", "messages.batches",
	 "/messages/batches/b/results", EG_CLASS_STATEFUL},
	{A, "GET", "/v1/models/claude-3", "models", "/models/claude-3", EG_CLASS_METADATA},
	{A, "DELETE", "/v1/files/f", "files", "/files/f", EG_CLASS_STATEFUL},
	{A, "GET", "/v1/skills/s/versions", "skills", "/skills/s/versions", EG_CLASS_STATEFUL},
	{A, "GET", "/v1/organizations/api_keys", "api_keys", "/organizations/api_keys",
	 EG_CLASS_CREDENTIAL},
	{A, "GET", "/v1/organizations/users", "organization", "/organizations/users",
	 EG_CLASS_ADMIN},
};

static void known_operations(void **state)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		const struct row *r = &rows[i];
		struct eg_str rest;
		const struct eg_operation *op = eg_operation_find(
			r->dialect, eg_str_from(r->method), eg_str_from(r->path), &rest);

		if (strcmp(op->name, r->name) || op->class != r->class)
			fprintf(stderr, "%s %s: %s\n", r->method, r->path, op->name);
		assert_string_equal(op->name, r->name);
		assert_int_equal(op->class, r->class);
		assert_int_equal(op->dialect, r->dialect);
		assert_true(eg_str_eq(rest, eg_str_from(r->rest)));
	}
}

static void everything_else_is_unknown(void **state)
{
	static const struct {
		enum eg_dialect dialect;
		const char *method, *path;
	} cases[] = {
		{O, "GET", "/v1/embeddings"},
		{O, "PUT", "/v1/chat/completions"},
		{O, "post", "/v1/chat/completions"},
		{O, "", "/v1/chat/completions"},
		{O, "POST", ""},
		{O, "POST", "/"},
		{O, "POST", "/v1"},
		{O, "POST", "/v1/"},
		{O, "POST", "/v1/chat"},
		{O, "POST", "/v1/chat/completions/"},
		{O, "POST", "/v1//chat/completions"},
		{O, "POST", "//v1/chat/completions"},
		{O, "POST", "/v1/chat//completions"},
		{O, "POST", "/V1/chat/completions"},
		{O, "POST", "/v1/Chat/Completions"},
		{O, "POST", "/v1/chat/completions "},
		{O, "POST", "/v1/chat/completions;x"},
		{O, "POST", "/v1/chat/completions%2f"},
		{O, "POST", "/v1/chat/completionsx"},
		{O, "POST", "/v1/v1/chat/completions"},
		{O, "POST", "/v2/chat/completions"},
		{O, "POST", "/openai/deployments/d/chat/completions"},
		{O, "GET", "/v1/files/"},
		{O, "GET", "/v1/files/a/b"},
		{O, "GET", "/v1/files/.."},
		{O, "GET", "/v1/files/."},
		{O, "GET", "/v1/files/a?b"},
		{O, "GET", "/v1/models/a/b"},
		{O, "POST", "/v1/realtime"},
		{O, "POST", "/v1/messages"},
		{A, "POST", "/v1/chat/completions"},
		{A, "POST", "/messages"},
		{A, "GET", "/v1/messages"},
		{EG_DIALECT_NONE, "POST", "/v1/chat/completions"},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct eg_str rest;
		const struct eg_operation *op =
			eg_operation_find(cases[i].dialect, eg_str_from(cases[i].method),
					  eg_str_from(cases[i].path), &rest);

		if (op->class != EG_CLASS_UNKNOWN)
			fprintf(stderr, "%s %s: %s\n", cases[i].method, cases[i].path, op->name);
		assert_int_equal(op->class, EG_CLASS_UNKNOWN);
		assert_string_equal(op->name, "unknown");
	}
}

/* A NUL or a byte over 0x7f never is part of an id. */
static void ids_are_plain(void **state)
{
	struct eg_str rest;

	for (int c = 0; c < 256; c++) {
		char path[] = "/v1/files/a_b";
		bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
			     (c >= 'A' && c <= 'Z') || (c && strchr("-._~:@+", c));
		const struct eg_operation *op;

		path[11] = (char)c;
		op = eg_operation_find(O, EG_STR("GET"), (struct eg_str){path, sizeof(path) - 1},
				       &rest);
		assert_int_equal(op->class == EG_CLASS_STATEFUL, plain);
	}
}

static void names(void **state)
{
	static const struct eg_vendor *const vendors[] = {&eg_vendor_openai, &eg_vendor_anthropic};

	assert_null(eg_operation_by_name(EG_STR("")));
	assert_null(eg_operation_by_name(EG_STR("unknown")));
	assert_null(eg_operation_by_name(EG_STR("Models")));
	/* One name, one id, over all dialects; every id is small enough for the index. */
	for (size_t v = 0; v < 2; v++)
		for (size_t i = 0; i < vendors[v]->row_count; i++) {
			const struct eg_operation *op = vendors[v]->rows[i].operation;
			const struct eg_operation *found =
				eg_operation_by_name(eg_str_from(op->name));

			assert_non_null(found);
			assert_int_equal(found->id, op->id);
			assert_int_equal(found->class, op->class);
			assert_true(op->id > 0 && op->id < EG_OPERATION_IDS);
			assert_int_equal(op->dialect, vendors[v]->dialect);
		}
}

static void dialects(void **state)
{
	assert_int_equal(eg_dialect_from_kind(EG_STR("openai")), O);
	assert_int_equal(eg_dialect_from_kind(EG_STR("anthropic")), A);
	assert_int_equal(eg_dialect_from_kind(EG_STR("azure")), EG_DIALECT_NONE);
	assert_int_equal(eg_dialect_from_host(EG_STR("api.openai.com")), O);
	assert_int_equal(eg_dialect_from_host(EG_STR("eu.api.openai.com")), O);
	assert_int_equal(eg_dialect_from_host(EG_STR("API.Anthropic.com")), A);
	assert_int_equal(eg_dialect_from_host(EG_STR("api.groq.com")), O);
	assert_int_equal(eg_dialect_from_host(EG_STR("api.openai.com.evil.example")),
			 EG_DIALECT_NONE);
	assert_int_equal(eg_dialect_from_host(EG_STR("")), EG_DIALECT_NONE);
	assert_int_equal(eg_dialect_from_path(EG_STR("/v1/messages")), A);
	assert_int_equal(eg_dialect_from_path(EG_STR("/v1/messages/x/y")), A);
	assert_int_equal(eg_dialect_from_path(EG_STR("/v1/chat/completions")), O);
	assert_int_equal(eg_dialect_from_path(EG_STR("/v1/nothing")), O);
	assert_int_equal(eg_dialect_from_path(EG_STR("/")), EG_DIALECT_NONE);
	assert_int_equal(eg_dialect_of_request(EG_STR("vllm.svc"), EG_STR("/v1/messages")), A);
	assert_int_equal(eg_dialect_of_request(EG_STR("api.openai.com"), EG_STR("/v1/messages")),
			 O);
	assert_true(eg_str_eq(eg_client_base_path(EG_STR("api.groq.com")), EG_STR("/openai/v1")));
	assert_true(eg_str_eq(eg_client_base_path(EG_STR("api.deepseek.com")), EG_STR("")));
	assert_true(eg_str_eq(eg_client_base_path(EG_STR("vllm.svc")), EG_STR("/v1")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_operations), cmocka_unit_test(everything_else_is_unknown),
		cmocka_unit_test(ids_are_plain),    cmocka_unit_test(names),
		cmocka_unit_test(dialects),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
