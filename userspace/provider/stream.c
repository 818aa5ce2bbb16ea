/* SPDX-License-Identifier: Apache-2.0 */
/* Events of a stream, as far as failover needs to tell them apart. */
#include "provider/vendor.h"

static bool empty_string(struct eg_str value)
{
	return !value.p || eg_str_eq(value, EG_STR("\"\""));
}

/* The first element of an array of objects; .p NULL: the array is empty. */
static struct eg_str first_element(struct eg_str array)
{
	struct eg_str s;

	if (array.n < 2 || array.p[0] != '[')
		return (struct eg_str){0};
	s = eg_json_skip_space((struct eg_str){array.p + 1, array.n - 1});
	if (!s.n || s.p[0] != '{')
		return (struct eg_str){0};
	return (struct eg_str){s.p, eg_json_value_length(s)};
}

/* A chunk of chat.completions: only a role, an empty text, or no choice at all (Azure's and the
 * usage's) says nothing yet. */
static enum eg_event_class chat_chunk(struct eg_str data)
{
	static const char *const said[] = {"tool_calls", "function_call",     "refusal",
					   "audio",	 "reasoning_content", "reasoning"};
	struct eg_str choices = eg_json_member_of(data, "choices");
	struct eg_str choice = first_element(choices);
	struct eg_str delta = eg_json_member_of(choice, "delta");

	if (!choices.p || choices.p[0] != '[')
		return EG_EVENT_CONTENT;
	if (!choice.p)
		return eg_json_member_of(data, "usage").p ? EG_EVENT_CONTENT : EG_EVENT_PREAMBLE;
	if (!delta.p || eg_json_member_of(choice, "finish_reason").p ||
	    !empty_string(eg_json_member_of(delta, "content")))
		return EG_EVENT_CONTENT;
	for (size_t i = 0; i < EG_ARRAY_SIZE(said); i++)
		if (!empty_string(eg_json_member_of(delta, said[i])))
			return EG_EVENT_CONTENT;
	return EG_EVENT_PREAMBLE;
}

static bool is_type(struct eg_str event, struct eg_str type, const char *name)
{
	return type.p ? eg_json_is(type, name) : eg_str_eq(event, eg_str_from(name));
}

static enum eg_event_class openai_event(struct eg_str event, struct eg_str data)
{
	static const char *const preamble[] = {"response.created", "response.in_progress",
					       "response.queued", "response.output_item.added",
					       "response.content_part.added"};
	struct eg_str type;

	if (eg_str_eq(data, EG_STR("[DONE]")))
		return EG_EVENT_END;
	if (eg_str_eq(event, EG_STR("error")) || eg_json_member_of(data, "error").p)
		return EG_EVENT_ERROR;
	type = eg_json_member_of(data, "type");
	if (!type.p)
		return chat_chunk(data);
	if (is_type(event, type, "error") || is_type(event, type, "response.failed"))
		return EG_EVENT_ERROR;
	if (is_type(event, type, "response.completed") ||
	    is_type(event, type, "response.incomplete"))
		return EG_EVENT_END;
	for (size_t i = 0; i < EG_ARRAY_SIZE(preamble); i++)
		if (is_type(event, type, preamble[i]))
			return EG_EVENT_PREAMBLE;
	return EG_EVENT_CONTENT;
}

/* ---- errors inside a 200 ---- */
static bool is_any(struct eg_str value, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (eg_json_is(value, names[i]))
			return true;
	return false;
}

/* By the error's code and type, which the dialects share; what is not known was the provider's
 * fault: asking the next one costs one request, giving up costs the answer. */
enum eg_response_class eg_event_error_class(struct eg_str data)
{
	static const char *const auth[] = {"authentication_error", "permission_error",
					   "invalid_api_key"};
	static const char *const quota[] = {"insufficient_quota", "billing_error",
					    "billing_hard_limit_reached"};
	static const char *const own[] = {
		"invalid_request_error", "not_found_error",	     "request_too_large",
		"content_filter",	 "content_policy_violation", "context_length_exceeded",
		"invalid_prompt"};
	struct eg_str error = eg_json_member_of(data, "error"), type, code;

	if (!error.p) /* the Responses API: response.failed */
		error = eg_json_member_of2(data, "response", "error");
	if (!error.p || error.p[0] != '{')
		error = data; /* its "error" event has the members themselves */
	type = eg_json_member_of(error, "type");
	code = eg_json_member_of(error, "code");
	if (is_any(code, quota, EG_ARRAY_SIZE(quota)) || is_any(type, quota, EG_ARRAY_SIZE(quota)))
		return EG_RESPONSE_QUOTA;
	if (is_any(code, auth, EG_ARRAY_SIZE(auth)) || is_any(type, auth, EG_ARRAY_SIZE(auth)))
		return EG_RESPONSE_AUTH;
	if (is_any(code, own, EG_ARRAY_SIZE(own)) || is_any(type, own, EG_ARRAY_SIZE(own)))
		return EG_RESPONSE_CLIENT_ERROR;
	return EG_RESPONSE_FAILOVER;
}

bool eg_stream_has_end(const struct eg_operation *op)
{
	static const char *const names[] = {"chat.completions", "completions", "fim.completions",
					    "responses", "messages"};

	for (size_t i = 0; op && i < EG_ARRAY_SIZE(names); i++)
		if (!strcmp(op->name, names[i]))
			return true;
	return false;
}

static enum eg_event_class anthropic_event(struct eg_str event, struct eg_str data)
{
	struct eg_str type = eg_json_member_of(data, "type"), block, delta;

	if (is_type(event, type, "error") || eg_str_eq(event, EG_STR("error")))
		return EG_EVENT_ERROR;
	if (is_type(event, type, "message_stop"))
		return EG_EVENT_END;
	if (is_type(event, type, "ping") || is_type(event, type, "message_start"))
		return EG_EVENT_PREAMBLE;
	if (is_type(event, type, "content_block_start")) {
		block = eg_json_member_of2(data, "content_block", "type");
		return eg_json_is(block, "text") || eg_json_is(block, "thinking")
			       ? EG_EVENT_PREAMBLE
			       : EG_EVENT_CONTENT;
	}
	if (is_type(event, type, "content_block_delta")) {
		delta = eg_json_member_of(data, "delta");
		if (delta.p && empty_string(eg_json_member_of(delta, "text")) &&
		    empty_string(eg_json_member_of(delta, "thinking")) &&
		    empty_string(eg_json_member_of(delta, "partial_json")) &&
		    empty_string(eg_json_member_of(delta, "signature")) &&
		    !eg_json_member_of(delta, "citation").p)
			return EG_EVENT_PREAMBLE;
	}
	return EG_EVENT_CONTENT;
}

enum eg_event_class eg_event_class_of(enum eg_dialect d, struct eg_str event, struct eg_str data)
{
	switch (d) {
	case EG_DIALECT_OPENAI:
		return openai_event(event, data);
	case EG_DIALECT_ANTHROPIC:
		return anthropic_event(event, data);
	case EG_DIALECT_NONE:
		break;
	}
	return EG_EVENT_CONTENT;
}
