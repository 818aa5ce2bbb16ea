/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenAI's API and what is compatible with it. Paths: OpenAI's OpenAPI description; base paths of
 * compatible providers: their SDKs. What is not here is refused as an unknown operation.
 */
#include "provider/vendor.h"

#include "base/log.h"

#define OPENAI(i, n, c, ...)                                                        \
	{                                                                           \
		.id = (i), .name = (n), .class = (c), .dialect = EG_DIALECT_OPENAI, \
		.gen_ai_operation = "", __VA_ARGS__                                 \
	}
#define JSON_MODEL .json_body = true, .model_in_body = true

static const struct eg_operation chat = {.id = EG_OP_CHAT,
					 .name = "chat.completions",
					 .gen_ai_operation = "chat",
					 .dialect = EG_DIALECT_OPENAI,
					 .class = EG_CLASS_INFERENCE,
					 .streams = true,
					 .may_hold_state = true,
					 JSON_MODEL};
static const struct eg_operation completions = {.id = EG_OP_COMPLETIONS,
						.name = "completions",
						.gen_ai_operation = "text_completion",
						.dialect = EG_DIALECT_OPENAI,
						.class = EG_CLASS_INFERENCE,
						.streams = true,
						JSON_MODEL};
static const struct eg_operation fim = {.id = EG_OP_FIM,
					.name = "fim.completions",
					.gen_ai_operation = "text_completion",
					.dialect = EG_DIALECT_OPENAI,
					.class = EG_CLASS_INFERENCE,
					.streams = true,
					JSON_MODEL};
static const struct eg_operation responses = {.id = EG_OP_RESPONSES,
					      .name = "responses",
					      .gen_ai_operation = "chat",
					      .dialect = EG_DIALECT_OPENAI,
					      .class = EG_CLASS_INFERENCE,
					      .streams = true,
					      .may_hold_state = true,
					      JSON_MODEL};
static const struct eg_operation responses_compact =
	OPENAI(EG_OP_RESPONSES_COMPACT, "responses.compact", EG_CLASS_INFERENCE,
	       .may_hold_state = true, JSON_MODEL);
static const struct eg_operation responses_input_tokens =
	OPENAI(EG_OP_RESPONSES_INPUT_TOKENS, "responses.input_tokens", EG_CLASS_METADATA,
	       .may_hold_state = true, JSON_MODEL);
static const struct eg_operation embeddings = {.id = EG_OP_EMBEDDINGS,
					       .name = "embeddings",
					       .gen_ai_operation = "embeddings",
					       .dialect = EG_DIALECT_OPENAI,
					       .class = EG_CLASS_INFERENCE,
					       JSON_MODEL};
static const struct eg_operation moderations =
	OPENAI(EG_OP_MODERATIONS, "moderations", EG_CLASS_INFERENCE, JSON_MODEL);
static const struct eg_operation images_generations =
	OPENAI(EG_OP_IMAGES_GENERATIONS, "images.generations", EG_CLASS_INFERENCE, .streams = true,
	       .may_hold_state = true, JSON_MODEL);
/* A form or JSON, as Content-Type says (eg_operation_for_content). */
#define FORM_OR_JSON(name_, op_name, ...)                                              \
	static const struct eg_operation name_##_json = {.id = __VA_ARGS__,            \
							 .name = (op_name),            \
							 .gen_ai_operation = "",       \
							 .dialect = EG_DIALECT_OPENAI, \
							 .class = EG_CLASS_INFERENCE,  \
							 .may_hold_state = true,       \
							 JSON_MODEL};                  \
	static const struct eg_operation name_ = {.id = __VA_ARGS__,                   \
						  .name = (op_name),                   \
						  .gen_ai_operation = "",              \
						  .dialect = EG_DIALECT_OPENAI,        \
						  .class = EG_CLASS_INFERENCE,         \
						  .form_body = true,                   \
						  .model_in_body = true,               \
						  .may_hold_state = true,              \
						  .as_json = &name_##_json}
FORM_OR_JSON(images_edits, "images.edits", EG_OP_IMAGES_EDITS, .streams = true);
FORM_OR_JSON(images_variations, "images.variations", EG_OP_IMAGES_VARIATIONS);
FORM_OR_JSON(audio_transcriptions, "audio.transcriptions", EG_OP_AUDIO_TRANSCRIPTIONS,
	     .streams = true);
FORM_OR_JSON(audio_translations, "audio.translations", EG_OP_AUDIO_TRANSLATIONS);
static const struct eg_operation audio_speech = OPENAI(
	EG_OP_AUDIO_SPEECH, "audio.speech", EG_CLASS_INFERENCE, .may_hold_state = true, JSON_MODEL);

static const struct eg_operation models =
	OPENAI(EG_OP_MODELS, "models", EG_CLASS_METADATA, .json_body = false);
static const struct eg_operation models_one =
	OPENAI(EG_OP_MODELS, "models", EG_CLASS_METADATA, .model_in_path = true);

#define STATEFUL(id, name) OPENAI(id, name, EG_CLASS_STATEFUL, .json_body = false)
static const struct eg_operation chat_stored =
	STATEFUL(EG_OP_CHAT_STORED, "chat.completions.stored");
static const struct eg_operation responses_stored =
	STATEFUL(EG_OP_RESPONSES_STORED, "responses.stored");
static const struct eg_operation conversations = STATEFUL(EG_OP_CONVERSATIONS, "conversations");
static const struct eg_operation videos = STATEFUL(EG_OP_VIDEOS, "videos");
static const struct eg_operation files = STATEFUL(EG_OP_FILES, "files");
static const struct eg_operation uploads = STATEFUL(EG_OP_UPLOADS, "uploads");
static const struct eg_operation batches = STATEFUL(EG_OP_BATCHES, "batches");
static const struct eg_operation assistants = STATEFUL(EG_OP_ASSISTANTS, "assistants");
static const struct eg_operation threads = STATEFUL(EG_OP_THREADS, "threads");
static const struct eg_operation vector_stores = STATEFUL(EG_OP_VECTOR_STORES, "vector_stores");
static const struct eg_operation fine_tuning = STATEFUL(EG_OP_FINE_TUNING, "fine_tuning");
static const struct eg_operation evals = STATEFUL(EG_OP_EVALS, "evals");
static const struct eg_operation containers = STATEFUL(EG_OP_CONTAINERS, "containers");
static const struct eg_operation skills = STATEFUL(EG_OP_SKILLS, "skills");
static const struct eg_operation chatkit_threads =
	STATEFUL(EG_OP_CHATKIT_THREADS, "chatkit.threads");

/* Its messages are relayed unread, so a route has to ask for it. "intent=transcription" opens one
 * without a model; "call_id" would join somebody's call, and is no key that passes. */
static const struct eg_operation realtime =
	OPENAI(EG_OP_REALTIME, "realtime", EG_CLASS_METADATA, .json_body = false,
	       .model_in_query = true, .websocket = true);
static const struct eg_operation realtime_credentials =
	OPENAI(EG_OP_REALTIME_CREDENTIALS, "realtime.client_secrets", EG_CLASS_CREDENTIAL,
	       .json_body = false);
static const struct eg_operation chatkit_sessions =
	OPENAI(EG_OP_CHATKIT_SESSIONS, "chatkit.sessions", EG_CLASS_CREDENTIAL, .json_body = false);
static const struct eg_operation api_keys =
	OPENAI(EG_OP_API_KEYS, "api_keys", EG_CLASS_CREDENTIAL, .json_body = false);
static const struct eg_operation organization =
	OPENAI(EG_OP_ORGANIZATION, "organization", EG_CLASS_ADMIN, .json_body = false);

#define GET    EG_METHOD_GET
#define POST   EG_METHOD_POST
#define DELETE EG_METHOD_DELETE
#define ANY    (GET | POST | DELETE | EG_METHOD_ANY)

static const struct eg_operation_row rows[] = {
	{POST, "/chat/completions", &chat},
	{POST, "/responses", &responses},
	{POST, "/embeddings", &embeddings},
	{POST, "/completions", &completions},
	{POST, "/fim/completions", &fim},
	{POST, "/responses/compact", &responses_compact},
	{POST, "/responses/input_tokens", &responses_input_tokens},
	{POST, "/moderations", &moderations},
	{POST, "/images/generations", &images_generations},
	{POST, "/images/edits", &images_edits},
	{POST, "/images/variations", &images_variations},
	{POST, "/audio/speech", &audio_speech},
	{POST, "/audio/transcriptions", &audio_transcriptions},
	{POST, "/audio/translations", &audio_translations},
	{GET, "/models", &models},
	{GET, "/models/{}", &models_one},
	{DELETE, "/models/{}", &fine_tuning},
	{GET, "/chat/completions", &chat_stored},
	{GET | POST | DELETE, "/chat/completions/{}", &chat_stored},
	{GET, "/chat/completions/{}/messages", &chat_stored},
	{GET | DELETE, "/responses/{}", &responses_stored},
	{POST, "/responses/{}/cancel", &responses_stored},
	{GET, "/responses/{}/input_items", &responses_stored},
	{POST, "/conversations", &conversations},
	{GET | POST | DELETE, "/conversations/{}", &conversations},
	{GET | POST, "/conversations/{}/items", &conversations},
	{GET | DELETE, "/conversations/{}/items/{}", &conversations},
	{GET | POST, "/videos", &videos},
	{GET | DELETE, "/videos/{}", &videos},
	{GET, "/videos/{}/content", &videos},
	{POST, "/videos/{}/remix", &videos},
	{GET | POST, "/files", &files},
	{GET | DELETE, "/files/{}", &files},
	{GET, "/files/{}/content", &files},
	{POST, "/uploads", &uploads},
	{POST, "/uploads/{}/parts", &uploads},
	{POST, "/uploads/{}/complete", &uploads},
	{POST, "/uploads/{}/cancel", &uploads},
	{GET | POST, "/batches", &batches},
	{GET, "/batches/{}", &batches},
	{POST, "/batches/{}/cancel", &batches},
	{GET | POST, "/assistants", &assistants},
	{GET | POST | DELETE, "/assistants/{}", &assistants},
	{POST, "/threads", &threads},
	{POST, "/threads/runs", &threads},
	{GET | POST | DELETE, "/threads/{}", &threads},
	{GET | POST, "/threads/{}/messages", &threads},
	{GET | POST | DELETE, "/threads/{}/messages/{}", &threads},
	{GET | POST, "/threads/{}/runs", &threads},
	{GET | POST, "/threads/{}/runs/{}", &threads},
	{POST, "/threads/{}/runs/{}/cancel", &threads},
	{POST, "/threads/{}/runs/{}/submit_tool_outputs", &threads},
	{GET, "/threads/{}/runs/{}/steps", &threads},
	{GET, "/threads/{}/runs/{}/steps/{}", &threads},
	{GET | POST, "/vector_stores", &vector_stores},
	{GET | POST | DELETE, "/vector_stores/{}", &vector_stores},
	{POST, "/vector_stores/{}/search", &vector_stores},
	{GET | POST, "/vector_stores/{}/files", &vector_stores},
	{GET | POST | DELETE, "/vector_stores/{}/files/{}", &vector_stores},
	{GET, "/vector_stores/{}/files/{}/content", &vector_stores},
	{POST, "/vector_stores/{}/file_batches", &vector_stores},
	{GET, "/vector_stores/{}/file_batches/{}", &vector_stores},
	{POST, "/vector_stores/{}/file_batches/{}/cancel", &vector_stores},
	{GET, "/vector_stores/{}/file_batches/{}/files", &vector_stores},
	/* Permissions of a checkpoint are given with an admin key. */
	{ANY, "/fine_tuning/checkpoints/**", &organization},
	{GET | POST | DELETE, "/fine_tuning/**", &fine_tuning},
	{GET | POST | DELETE, "/evals/**", &evals},
	{GET | POST | DELETE, "/containers/**", &containers},
	{GET | POST | DELETE, "/skills/**", &skills},
	{GET | DELETE, "/chatkit/threads/**", &chatkit_threads},
	{ANY, "/chatkit/sessions/**", &chatkit_sessions},
	{GET, "/realtime", &realtime},
	{ANY, "/realtime/client_secrets/**", &realtime_credentials},
	{ANY, "/realtime/sessions/**", &realtime_credentials},
	{ANY, "/realtime/transcription_sessions/**", &realtime_credentials},
	{ANY, "/realtime/translations/client_secrets/**", &realtime_credentials},
	/* OpenRouter's provisioning of keys. */
	{ANY, "/key/**", &api_keys},
	{ANY, "/keys/**", &api_keys},
	{ANY, "/auth/**", &api_keys},
	{ANY, "/credits/**", &organization},
	/* What makes keys, wherever the administration has it. */
	{ANY, "/organization/admin_api_keys/**", &api_keys},
	{ANY, "/organization/projects/{}/api_keys/**", &api_keys},
	{ANY, "/organization/projects/{}/service_accounts/**", &api_keys},
	{ANY, "/organization/**", &organization},
	{ANY, "/organizations/**", &organization},
	{ANY, "/projects/**", &organization},
	{ANY, "/dashboard/**", &organization},
};

/* SDKs and documentation of OpenAI, Groq, OpenRouter, Fireworks, Z.ai, Gemini's compatible
 * endpoint; the empty one is DeepSeek's and Perplexity's. */
static const struct eg_str base_paths[] = {
	EG_STR("/v1"),
	EG_STR("/openai/v1"),
	EG_STR("/api/v1"),
	EG_STR("/inference/v1"),
	EG_STR("/api/paas/v4"),
	EG_STR("/v1beta/openai"),
	EG_STR(""),
};

static const struct eg_str request_headers[] = {
	EG_STR("openai-beta"),
	EG_STR("x-client-request-id"),
};

/* OpenAI's OpenAPI description; then those of compatible providers: Azure's api-version, Mistral's
 * pages, OpenRouter's list of models. */
static const struct eg_str query_keys[] = {
	EG_STR("after"),
	EG_STR("before"),
	EG_STR("limit"),
	EG_STR("order"),
	EG_STR("order_by"),
	EG_STR("include"),
	EG_STR("stream"),
	EG_STR("include_obfuscation"),
	EG_STR("filter"),
	EG_STR("starting_after"),
	EG_STR("metadata"),
	EG_STR("name"),
	EG_STR("purpose"),
	EG_STR("run_id"),
	EG_STR("status"),
	EG_STR("user"),
	EG_STR("variant"),
	EG_STR("api-version"),
	EG_STR("page"),
	EG_STR("page_size"),
	EG_STR("sample_type"),
	EG_STR("search"),
	EG_STR("source"),
	EG_STR("category"),
	EG_STR("supported_parameters"),
};

static const char *error_type(enum eg_reason reason)
{
	unsigned int status = eg_reason_status(reason);

	if (status == 401)
		return "authentication_error";
	if (status == 403)
		return "permission_error";
	if (status == 429)
		return "rate_limit_error";
	return status >= 500 ? "server_error" : "invalid_request_error";
}

/* {"error": {message, type, param, code}}: OpenAI's OpenAPI, schema ErrorResponse. */
static int error_body(struct eg_buf *out, enum eg_reason reason, struct eg_str text,
		      struct eg_str request_id)
{
	int r = eg_buf_append_str(out, EG_STR("{\"error\":{\"message\":"));

	if (!r)
		r = eg_json_quote(out, text, 1024);
	if (!r)
		r = eg_buf_printf(out, ",\"type\":\"%s\",\"param\":null,\"code\":\"egret_%s\"",
				  error_type(reason), eg_reason_label(reason));
	if (!r && request_id.n)
		r = eg_buf_append_str(out, EG_STR(",\"request_id\":"));
	if (!r && request_id.n)
		r = eg_json_quote(out, request_id, 128);
	return r ? r : eg_buf_append_str(out, EG_STR("}}"));
}

const struct eg_vendor eg_vendor_openai = {
	.dialect = EG_DIALECT_OPENAI,
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
