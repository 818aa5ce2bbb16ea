/* SPDX-License-Identifier: Apache-2.0 */
/* What a request body says that policy needs. References to state: state.c. */
#include "provider/vendor.h"

#include "proto/json_scan.h"
#include "proto/json_text.h"

/* Where the model has to stand (DESIGN section 5): whoever holds a body holds this much at most
 * before it knows which route it is for. */
#define MODEL_WITHIN_BYTES (1u << 20)

struct reader {
	struct eg_arena *arena;
	const struct eg_operation *op;
	const char *begin;
	struct eg_body_facts *out;
	struct eg_error *error;
};

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

/*
 * Many readers of JSON mind no case (Go's encoding/json, .NET's web defaults) and take the last of
 * `model` and `Model`: to them the request names another model than the one that was decided on.
 */
static int misspelt(struct reader *r, const char *name)
{
	return eg_error_set(r->error, -EINVAL,
			    "\"%s\" is written in another case, which two readers may take "
			    "differently; expected the name \"%s\"",
			    name, name);
}

static bool is_model(struct eg_str token)
{
	struct eg_str key = {token.p + 1, token.n - 2};
	char text[6 * 5]; /* "model" with every letter escaped */
	ssize_t n;

	if (!memchr(key.p, '\\', key.n))
		return eg_str_ieq(key, EG_STR("model"));
	n = key.n > sizeof(text) ? -1 : eg_json_unescape(text, key);
	return n > 0 && eg_str_ieq((struct eg_str){text, (size_t)n}, EG_STR("model"));
}

/*
 * Does a tool ask a model of its own: Anthropic's advisor, OpenAI's image generation? One pass over
 * the array: a string with a colon after it, two levels down, is a member of a tool.
 */
static bool tool_names_model(struct eg_str tools)
{
	size_t depth = 0;

	for (size_t i = 0; i < tools.n; i++) {
		struct eg_str rest = {tools.p + i, tools.n - i}, token;

		if (tools.p[i] == '{' || tools.p[i] == '[')
			depth++;
		else if (tools.p[i] == '}' || tools.p[i] == ']')
			depth--;
		if (tools.p[i] != '"')
			continue;
		token = (struct eg_str){rest.p, eg_json_token_length(rest)};
		i += token.n - 1;
		rest = eg_json_skip_space((struct eg_str){rest.p + token.n, rest.n - token.n});
		if (depth != 2 || !rest.n || rest.p[0] != ':' || !is_model(token))
			continue;
		rest = eg_json_skip_space((struct eg_str){rest.p + 1, rest.n - 1});
		if (!eg_str_starts(rest, EG_STR("null")))
			return true;
	}
	return false;
}

/* Who else may answer: OpenRouter reads "models" and "provider" in both dialects; "fallbacks" is
 * Anthropic's (type BetaFallbacksParam of its SDK 1.12.0), and OpenRouter's too. */
static void read_choices(struct eg_body_facts *out, const struct eg_json_member *m)
{
	if (m->type == EG_JSON_NULL)
		return;
	out->other_models |=
		eg_str_ieq(m->key, EG_STR("models")) || eg_str_ieq(m->key, EG_STR("fallbacks"));
	out->other_providers |= eg_str_ieq(m->key, EG_STR("provider"));
	if (m->type == EG_JSON_ARRAY && eg_str_ieq(m->key, EG_STR("tools")))
		out->tool_models |= tool_names_model(m->raw);
}

static int member(void *ctx, const struct eg_json_member *m)
{
	struct reader *r = ctx;
	struct eg_body_facts *out = r->out;

	if (r->op->model_in_body && eg_str_eq(m->key, EG_STR("model"))) {
		if (m->raw.p - r->begin >= MODEL_WITHIN_BYTES)
			return eg_error_set(r->error, -EINVAL,
					    "\"model\" comes after the first MiB of the body; "
					    "expected before");
		out->model_not_string = m->type != EG_JSON_STRING;
		out->model_raw = m->raw;
		return out->model_not_string ? 0 : read_string(r, m, &out->model);
	}
	if (r->op->model_in_body && eg_str_ieq(m->key, EG_STR("model")))
		return misspelt(r, "model");
	if (eg_str_eq(m->key, EG_STR("stream")))
		out->stream = r->op->streams && m->type == EG_JSON_TRUE;
	if (eg_str_eq(m->key, EG_STR("stream_options")))
		return include_usage(m->raw, &out->include_usage);
	read_choices(out, m);
	if (r->op->dialect == EG_DIALECT_ANTHROPIC && eg_str_eq(m->key, EG_STR("inference_geo"))) {
		out->has_inference_geo = m->type != EG_JSON_NULL;
		return m->type == EG_JSON_STRING ? read_string(r, m, &out->inference_geo) : 0;
	}
	if (r->op->dialect == EG_DIALECT_ANTHROPIC && eg_str_ieq(m->key, EG_STR("inference_geo")))
		return misspelt(r, "inference_geo");
	return r->op->may_hold_state ? eg_state_in_member(r->arena, r->op, m, &out->store_or_state)
				     : 0;
}

int eg_body_read(struct eg_arena *a, const struct eg_operation *op, struct eg_str body,
		 struct eg_body_facts *out, struct eg_error *e)
{
	struct eg_body_facts facts = {0};
	struct reader r = {.arena = a, .op = op, .begin = body.p, .out = &facts, .error = e};
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
