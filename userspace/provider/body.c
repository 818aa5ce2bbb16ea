/* SPDX-License-Identifier: Apache-2.0 */
/* What a request body says that policy needs. References to state: state.c. */
#include "provider/vendor.h"

#include <stdlib.h>

#include "proto/json_scan.h"
#include "proto/json_text.h"

/* Where the model has to stand (DESIGN section 5): whoever holds a body holds this much at most
 * before it knows which route it is for. */
#define MODEL_WITHIN_BYTES (1u << 20)

/* The depth at which the members stand of what is in an array of the body's. */
#define ITEM_MEMBERS 2u

/* Of "stream_options", which says a word or two. */
#define OPTIONS_MAX (4u << 10)

struct eg_body_reading {
	struct eg_arena *arena;
	const struct eg_operation *op;
	const char *begin;
	struct eg_body_facts out;
	struct eg_error *error;	      /* where it is said */
	struct eg_error kept;	      /* until the end, where it is read in pieces */
	struct eg_json_reading *json; /* then */
	size_t at_once;		      /* likewise: what of a member is looked through as it comes */
	bool walking;		      /* through the member that was read last */
	struct eg_state_walk walk;
	struct eg_str tools; /* what of that is to be looked through for models; .n 0: nothing */
	size_t tools_depth;
	size_t tool_members; /* the depth at which members of tools stand; 0: none do here */
};

/* A short one: the memory of a request is not for whatever length a name may have. */
static int read_string(struct eg_body_reading *r, const struct eg_json_member *m, const char *name,
		       struct eg_str *out)
{
	struct eg_str text = {"", EG_MODEL_BYTES_MAX + 1};

	if (m->raw.n <= 6 * EG_MODEL_BYTES_MAX + 2) {
		text = eg_json_string(r->arena, m->raw);
		if (!text.p)
			return -ENOMEM;
	}
	if (text.n > EG_MODEL_BYTES_MAX)
		return eg_error_set(r->error, -EINVAL, "\"%s\" is longer than %u bytes", name,
				    EG_MODEL_BYTES_MAX);
	*out = text;
	return 0;
}

static int include_usage(struct eg_str raw, bool *out)
{
	static const char *const path[] = {"include_usage"};
	struct eg_str v = {NULL, 0};

	if (raw.n <= OPTIONS_MAX)
		v = eg_json_get(raw, path, 1);
	*out = v.p && eg_str_eq(v, EG_STR("true"));
	return 0;
}

/*
 * Many readers of JSON mind no case (Go's encoding/json, .NET's web defaults) and take the last of
 * `model` and `Model`: to them the request names another model than the one that was decided on.
 */
static int misspelt(struct eg_body_reading *r, const char *name)
{
	return eg_error_set(r->error, -EINVAL,
			    "\"%s\" is written in another case, which two readers may take "
			    "differently; expected the name \"%s\"",
			    name, name);
}

static bool names(struct eg_str token, struct eg_str name)
{
	struct eg_str key = {token.p + 1, token.n - 2};
	char text[6 * 5]; /* one of ours with every letter escaped */
	ssize_t n;

	if (!memchr(key.p, '\\', key.n))
		return eg_json_key_folds(key, name);
	n = key.n > sizeof(text) ? -1 : eg_json_unescape(text, key);
	return n > 0 && eg_json_key_folds((struct eg_str){text, (size_t)n}, name);
}

/* A string: with a colon after it, where members of tools stand, it is one's. True: its value is a
 * model's name. */
static bool tool_member_names_model(struct eg_body_reading *r)
{
	struct eg_str token = {r->tools.p, eg_json_token_length(r->tools)}, rest = r->tools;

	rest = (struct eg_str){rest.p + token.n, rest.n - token.n};
	r->tools = rest;
	if (r->tools_depth != ITEM_MEMBERS && r->tools_depth != r->tool_members)
		return false;
	rest = eg_json_skip_space(rest);
	if (!rest.n || rest.p[0] != ':')
		return false;
	rest = eg_json_skip_space((struct eg_str){rest.p + 1, rest.n - 1});
	if (r->tools_depth == r->tool_members)
		return names(token, EG_STR("model")) && !eg_str_starts(rest, EG_STR("null"));
	if (names(token, EG_STR("tools")) && eg_str_starts(rest, EG_STR("[")))
		r->tool_members = ITEM_MEMBERS + 2;
	return false;
}

/*
 * Does a tool ask a model of its own: Anthropic's advisor, OpenAI's image generation? One pass over
 * the array of tools, or over that of the items that may bring some. 0, or -EAGAIN: there is more
 * of it.
 */
static int look_through_tools(struct eg_body_reading *r, size_t *budget)
{
	size_t from = r->tools.n;

	while (r->tools.n && !r->out.tool_models && from - r->tools.n < *budget) {
		char c = r->tools.p[0];

		if (c == '"') {
			r->out.tool_models = tool_member_names_model(r);
			continue;
		}
		if (c == '{' || c == '[')
			r->tools_depth++;
		else if ((c == '}' || c == ']') && --r->tools_depth == ITEM_MEMBERS &&
			 r->tool_members != ITEM_MEMBERS)
			r->tool_members = 0; /* the item's list of tools has ended */
		r->tools = (struct eg_str){r->tools.p + 1, r->tools.n - 1};
	}
	*budget -= EG_MIN(*budget, from - r->tools.n);
	return r->tools.n && !r->out.tool_models ? -EAGAIN : 0;
}

/* Who else may answer: OpenRouter reads "models" and "provider" in both dialects; "fallbacks" is
 * Anthropic's (type BetaFallbacksParam of its SDK 1.12.0), and OpenRouter's too. Tools are also
 * brought by items of the Responses API (openai-node 6.49.0: ResponseInputItem.AdditionalTools and
 * ResponseToolSearchOutputItemParam). */
static void read_choices(struct eg_body_reading *r, const struct eg_json_member *m)
{
	struct eg_body_facts *out = &r->out;

	if (m->type == EG_JSON_NULL)
		return;
	out->other_models |= eg_json_key_folds(m->key, EG_STR("models")) ||
			     eg_json_key_folds(m->key, EG_STR("fallbacks"));
	out->other_providers |= eg_json_key_folds(m->key, EG_STR("provider"));
	if (m->type != EG_JSON_ARRAY)
		return;
	if (eg_json_key_folds(m->key, EG_STR("tools"))) {
		r->tools = m->raw;
		r->tool_members = ITEM_MEMBERS;
	} else if (r->op->may_hold_state && eg_json_key_folds(m->key, EG_STR("input"))) {
		r->tools = m->raw;
	}
}

/* 0, or -EAGAIN. */
static int look_through(struct eg_body_reading *r, size_t *budget)
{
	int code = look_through_tools(r, budget);

	if (!code && r->walking)
		code = eg_state_go_on(&r->walk, budget);
	if (!code)
		r->walking = false;
	return code;
}

static int read_member(struct eg_body_reading *r, const struct eg_json_member *m)
{
	struct eg_body_facts *out = &r->out;

	r->walking = false;
	r->tools = (struct eg_str){NULL, 0};
	r->tools_depth = r->tool_members = 0;
	if (r->op->model_in_body && eg_str_eq(m->key, EG_STR("model"))) {
		if (m->raw.p - r->begin >= MODEL_WITHIN_BYTES)
			return eg_error_set(r->error, -EINVAL,
					    "\"model\" comes after the first MiB of the body; "
					    "expected before");
		out->model_not_string = m->type != EG_JSON_STRING;
		out->model_raw = m->raw;
		return out->model_not_string ? 0 : read_string(r, m, "model", &out->model);
	}
	if (r->op->model_in_body && eg_json_key_folds(m->key, EG_STR("model")))
		return misspelt(r, "model");
	if (eg_str_eq(m->key, EG_STR("stream")))
		out->stream = r->op->streams && m->type == EG_JSON_TRUE;
	if (eg_str_eq(m->key, EG_STR("stream_options")))
		return include_usage(m->raw, &out->include_usage);
	read_choices(r, m);
	if (r->op->dialect == EG_DIALECT_ANTHROPIC && eg_str_eq(m->key, EG_STR("inference_geo"))) {
		out->has_inference_geo = m->type != EG_JSON_NULL;
		return m->type == EG_JSON_STRING
			       ? read_string(r, m, "inference_geo", &out->inference_geo)
			       : 0;
	}
	if (r->op->dialect == EG_DIALECT_ANTHROPIC &&
	    eg_json_key_folds(m->key, EG_STR("inference_geo")))
		return misspelt(r, "inference_geo");
	r->walking =
		r->op->may_hold_state && eg_state_begin(&r->walk, r->op, m, &out->store_or_state);
	return 0;
}

/* All of it, now. */
static int take_member(void *ctx, const struct eg_json_member *m)
{
	size_t all = SIZE_MAX;
	int code = read_member(ctx, m);

	return code ? code : look_through(ctx, &all);
}

/* What is large is looked through by who reads on. */
static int take_or_leave_member(void *ctx, const struct eg_json_member *m)
{
	struct eg_body_reading *r = ctx;
	int code;

	if (m->raw.n <= r->at_once)
		return take_member(ctx, m);
	code = read_member(ctx, m);
	return code ? code : -EAGAIN;
}

int eg_body_read(struct eg_arena *a, const struct eg_operation *op, struct eg_str body,
		 struct eg_body_facts *out, struct eg_error *e)
{
	struct eg_body_reading r;
	int code = 0;

	memset(&r.out, 0, sizeof(r.out));
	r.arena = a;
	r.op = op;
	r.begin = body.p;
	r.error = e;
	if (op->json_body)
		code = eg_json_members(body, take_member, &r, e);
	if (!code)
		*out = r.out;
	return code;
}

struct eg_body_reading *eg_body_begin(struct eg_arena *a, const struct eg_operation *op,
				      struct eg_str body)
{
	struct eg_body_reading *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->arena = a;
	r->op = op;
	r->begin = body.p;
	r->error = &r->kept;
	if (!op->json_body)
		return r;
	r->json = eg_json_begin(body, take_or_leave_member, r, &r->kept);
	if (r->json)
		return r;
	free(r);
	return NULL;
}

int eg_body_go_on(struct eg_body_reading *r, size_t *budget, struct eg_body_facts *out,
		  struct eg_error *e)
{
	int code;

	r->at_once = *budget;
	do {
		code = look_through(r, budget);
		if (!code && r->json)
			code = eg_json_go_on(r->json, budget);
	} while (code == -EAGAIN && *budget);
	if (!code)
		*out = r->out;
	return code == -EINVAL ? eg_error_set(e, code, "%s", r->kept.text) : code;
}

void eg_body_end(struct eg_body_reading *r)
{
	if (!r)
		return;
	eg_json_end(r->json);
	free(r);
}
