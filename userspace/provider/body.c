/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request body says that policy needs. The whole body is validated first (eg_json_members),
 * so that the walk over nested values below only ever sees well-formed JSON.
 */
#include "provider/vendor.h"

#include "proto/json_scan.h"

struct reader {
	struct eg_arena *arena;
	const struct eg_operation *op;
	struct eg_body_facts *out;
};

/* The members whose presence means that the body refers to something that the provider keeps. */
static bool names_state(struct eg_str key)
{
	static const struct eg_str keys[] = {
		EG_STR("file_id"),
		EG_STR("file_ids"),
		EG_STR("vector_store_id"),
		EG_STR("vector_store_ids"),
		EG_STR("container"),
		EG_STR("container_id"),
		EG_STR("previous_response_id"),
		EG_STR("conversation"),
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(keys); i++)
		if (eg_str_eq(key, keys[i]))
			return true;
	return false;
}

/* An assistant's earlier spoken answer, by the id under which OpenAI keeps it. */
static bool stored_audio(struct eg_str key, struct eg_str value)
{
	return eg_str_eq(key, EG_STR("audio")) && value.n && value.p[0] == '{' &&
	       eg_json_member_of((struct eg_str){value.p, eg_json_value_length(value)}, "id").p;
}

/* Values that are the application's own data (JSON Schemas, arguments of a tool call), where any
 * name may occur and means nothing to the provider. */
static bool is_opaque(struct eg_str key, bool anthropic)
{
	return eg_str_eq(key, EG_STR("parameters")) || eg_str_eq(key, EG_STR("input_schema")) ||
	       eg_str_eq(key, EG_STR("output_schema")) || eg_str_eq(key, EG_STR("schema")) ||
	       (anthropic && eg_str_eq(key, EG_STR("input")));
}

/* "null" and empty arrays refer to nothing. */
static bool is_nothing(struct eg_str value)
{
	if (eg_str_starts(value, EG_STR("null")))
		return true;
	if (!value.n || value.p[0] != '[')
		return false;
	value = eg_json_skip_space((struct eg_str){value.p + 1, value.n - 1});
	return value.n && value.p[0] == ']';
}

/*
 * Looks through a nested value for references to state. 0 or -ENOMEM. Strings are either keys
 * (followed by a colon) or values; a value matters only as the "type" of a reference.
 */
static int find_state(struct reader *r, struct eg_str s)
{
	bool anthropic = r->op->dialect == EG_DIALECT_ANTHROPIC;

	for (size_t i = 0; i < s.n;) {
		struct eg_str text, after;
		size_t n;

		if (s.p[i] != '"') {
			i++;
			continue;
		}
		n = eg_json_token_length((struct eg_str){s.p + i, s.n - i});
		text = (struct eg_str){s.p + i, n};
		i += n;
		if (memchr(text.p, '\\', text.n)) {
			/* Long strings with escapes are contents; no name we look for is long even
			 * if every byte of it is written \uXXXX. */
			text = text.n <= 6 * 32 ? eg_json_string(r->arena, text)
						: (struct eg_str){"", 0};
			if (!text.p)
				return -ENOMEM;
		} else {
			text = (struct eg_str){text.p + 1, text.n - 2};
		}
		after = eg_json_skip_space((struct eg_str){s.p + i, s.n - i});
		if (after.n && after.p[0] == ':') {
			after = eg_json_skip_space((struct eg_str){after.p + 1, after.n - 1});
			i = (size_t)(after.p - s.p);
			if ((names_state(text) && !is_nothing(after)) || stored_audio(text, after))
				r->out->store_or_state = true;
			if (is_opaque(text, anthropic))
				i += eg_json_value_length(after);
		} else if (eg_str_eq(text, EG_STR("item_reference"))) {
			r->out->store_or_state = true;
		}
	}
	return 0;
}

static int read_string(struct reader *r, const struct eg_json_member *m, struct eg_str *out)
{
	*out = eg_json_string(r->arena, m->raw);
	return out->p ? 0 : -ENOMEM;
}

static int include_usage(struct eg_str raw, bool *out)
{
	static const char *const path[] = {"include_usage"};
	struct eg_str v = eg_json_get(raw, path, 1);

	*out = v.p && eg_str_eq(v, EG_STR("true"));
	return 0;
}

/* Members of the top level that refer to, or make, state by themselves. */
static bool top_level_state(struct reader *r, const struct eg_json_member *m)
{
	bool responses = r->op->id == EG_OP_RESPONSES || r->op->id == EG_OP_RESPONSES_COMPACT ||
			 r->op->id == EG_OP_RESPONSES_INPUT_TOKENS;

	if (m->type == EG_JSON_NULL)
		return false;
	if (names_state(m->key))
		return !is_nothing(m->raw);
	/* A background response is kept until it is fetched; a prompt is stored by its id. */
	return responses &&
	       ((eg_str_eq(m->key, EG_STR("background")) && m->type != EG_JSON_FALSE) ||
		eg_str_eq(m->key, EG_STR("prompt")));
}

static int member(void *ctx, const struct eg_json_member *m)
{
	struct reader *r = ctx;
	struct eg_body_facts *out = r->out;
	bool state = r->op->may_hold_state;

	if (r->op->model_in_body && eg_str_eq(m->key, EG_STR("model"))) {
		out->model_not_string = m->type != EG_JSON_STRING;
		out->model_raw = m->raw;
		return out->model_not_string ? 0 : read_string(r, m, &out->model);
	}
	if (eg_str_eq(m->key, EG_STR("stream")))
		out->stream = r->op->streams && m->type == EG_JSON_TRUE;
	if (eg_str_eq(m->key, EG_STR("stream_options")))
		return include_usage(m->raw, &out->include_usage);
	if (r->op->dialect == EG_DIALECT_ANTHROPIC && eg_str_eq(m->key, EG_STR("inference_geo"))) {
		out->has_inference_geo = m->type != EG_JSON_NULL;
		return m->type == EG_JSON_STRING ? read_string(r, m, &out->inference_geo) : 0;
	}
	if (state && top_level_state(r, m))
		out->store_or_state = true;
	if (state && (m->type == EG_JSON_ARRAY || m->type == EG_JSON_OBJECT) &&
	    !eg_str_eq(m->key, EG_STR("metadata")))
		return find_state(r, m->raw);
	return 0;
}

int eg_body_read(struct eg_arena *a, const struct eg_operation *op, struct eg_str body,
		 struct eg_body_facts *out, struct eg_error *e)
{
	struct eg_body_facts facts = {0};
	struct reader r = {.arena = a, .op = op, .out = &facts};
	int code;

	if (!op->json_body) {
		*out = facts;
		return 0;
	}
	code = eg_json_members(body, member, &r, e);
	if (!code)
		*out = facts;
	return code;
}
