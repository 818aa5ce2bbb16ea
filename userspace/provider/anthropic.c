/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Anthropic's Messages API. Paths: Anthropic's API reference and SDK. What is not here is refused
 * as an unknown operation.
 */
#include "provider/vendor.h"

#include "base/log.h"

#define ANTHROPIC(i, n, c, ...)                                                        \
	{                                                                              \
		.id = (i), .name = (n), .class = (c), .dialect = EG_DIALECT_ANTHROPIC, \
		.gen_ai_operation = "", __VA_ARGS__                                    \
	}

static const struct eg_operation messages = {.id = EG_OP_MESSAGES,
					     .name = "messages",
					     .gen_ai_operation = "chat",
					     .dialect = EG_DIALECT_ANTHROPIC,
					     .class = EG_CLASS_INFERENCE,
					     .json_body = true,
					     .model_in_body = true,
					     .streams = true,
					     .may_hold_state = true};
static const struct eg_operation complete = {.id = EG_OP_COMPLETE,
					     .name = "complete",
					     .gen_ai_operation = "text_completion",
					     .dialect = EG_DIALECT_ANTHROPIC,
					     .class = EG_CLASS_INFERENCE,
					     .json_body = true,
					     .model_in_body = true,
					     .streams = true};
static const struct eg_operation count_tokens =
	ANTHROPIC(EG_OP_COUNT_TOKENS, "messages.count_tokens", EG_CLASS_METADATA, .json_body = true,
		  .model_in_body = true, .may_hold_state = true);
static const struct eg_operation models =
	ANTHROPIC(EG_OP_MODELS, "models", EG_CLASS_METADATA, .json_body = false);
static const struct eg_operation models_one =
	ANTHROPIC(EG_OP_MODELS, "models", EG_CLASS_METADATA, .model_in_path = true);
static const struct eg_operation messages_batches = ANTHROPIC(
	EG_OP_MESSAGES_BATCHES, "messages.batches", EG_CLASS_STATEFUL, .json_body = false);
/* Each of its requests may have an "inference_geo". */
static const struct eg_operation new_batch = ANTHROPIC(EG_OP_MESSAGES_BATCHES, "messages.batches",
						       EG_CLASS_STATEFUL, .places_unread = true);
static const struct eg_operation files =
	ANTHROPIC(EG_OP_FILES, "files", EG_CLASS_STATEFUL, .json_body = false);
static const struct eg_operation skills =
	ANTHROPIC(EG_OP_SKILLS, "skills", EG_CLASS_STATEFUL, .json_body = false);
static const struct eg_operation api_keys =
	ANTHROPIC(EG_OP_API_KEYS, "api_keys", EG_CLASS_CREDENTIAL, .json_body = false);
static const struct eg_operation organization =
	ANTHROPIC(EG_OP_ORGANIZATION, "organization", EG_CLASS_ADMIN, .json_body = false);

#define GET    EG_METHOD_GET
#define POST   EG_METHOD_POST
#define DELETE EG_METHOD_DELETE
#define ANY    (GET | POST | DELETE | EG_METHOD_ANY)

static const struct eg_operation_row rows[] = {
	{POST, "/messages", &messages},
	{POST, "/messages/count_tokens", &count_tokens},
	{POST, "/complete", &complete},
	{GET, "/models", &models},
	{GET, "/models/{}", &models_one},
	{GET, "/messages/batches", &messages_batches},
	{POST, "/messages/batches", &new_batch},
	{GET | DELETE, "/messages/batches/{}", &messages_batches},
	{POST, "/messages/batches/{}/cancel", &messages_batches},
	{GET, "/messages/batches/{}/results", &messages_batches},
	{GET | POST, "/files", &files},
	{GET | DELETE, "/files/{}", &files},
	{GET, "/files/{}/content", &files},
	{GET | POST | DELETE, "/skills/**", &skills},
	{ANY, "/organizations/api_keys/**", &api_keys},
	{ANY, "/api_keys/**", &api_keys},
	{ANY, "/vaults/**", &api_keys},
	{ANY, "/oauth/**", &api_keys},
	{ANY, "/organizations/**", &organization},
};

/* Anthropic's own, and what DeepSeek's and Z.ai's compatible endpoints use. */
static const struct eg_str base_paths[] = {
	EG_STR("/v1"),
	EG_STR("/anthropic/v1"),
	EG_STR("/api/anthropic/v1"),
};

static const struct eg_str request_headers[] = {
	EG_STR("anthropic-version"),
	EG_STR("anthropic-beta"),
};

/* The SDK's parameters of lists, and "beta", which it puts on every call of a beta API. */
static const struct eg_str query_keys[] = {
	EG_STR("beta"),	     EG_STR("after_id"), EG_STR("before_id"),  EG_STR("limit"),
	EG_STR("order"),     EG_STR("page"),	 EG_STR("page_token"), EG_STR("ids"),
	EG_STR("lifecycle"), EG_STR("scope_id"), EG_STR("source"),
};

static const char *error_type(enum eg_reason reason)
{
	unsigned int status = eg_reason_status(reason);

	switch (status) {
	case 401:
		return "authentication_error";
	case 403:
		return "permission_error";
	case 404:
		return "not_found_error";
	case 413:
		return "request_too_large";
	case 429:
		return "rate_limit_error";
	case 504:
		return "timeout_error";
	case 503:
		return "overloaded_error";
	default:
		return status >= 500 ? "api_error" : "invalid_request_error";
	}
}

/* {"type": "error", "error": {type, message}, "request_id"}: Anthropic's API reference, Errors. The
 * member "code" is ours: their objects have none, and the SDKs keep what they do not know. */
static int error_body(struct eg_buf *out, enum eg_reason reason, struct eg_str text,
		      struct eg_str request_id)
{
	int r = eg_buf_printf(out, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":",
			      error_type(reason));

	if (!r)
		r = eg_json_quote(out, text, 1024);
	if (!r)
		r = eg_buf_printf(out, ",\"code\":\"egret_%s\"}", eg_reason_label(reason));
	if (!r && request_id.n)
		r = eg_buf_append_str(out, EG_STR(",\"request_id\":"));
	if (!r && request_id.n)
		r = eg_json_quote(out, request_id, 128);
	return r ? r : eg_buf_append_str(out, EG_STR("}"));
}

const struct eg_vendor eg_vendor_anthropic = {
	.dialect = EG_DIALECT_ANTHROPIC,
	.rows = rows,
	.row_count = EG_ARRAY_SIZE(rows),
	.base_paths = base_paths,
	.base_path_count = EG_ARRAY_SIZE(base_paths),
	.request_headers = request_headers,
	.request_header_count = EG_ARRAY_SIZE(request_headers),
	.query_keys = query_keys,
	.query_key_count = EG_ARRAY_SIZE(query_keys),
	.error = error_body,
};
