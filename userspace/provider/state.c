/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does a request body refer to what the provider keeps for a credential: files, containers, stored
 * responses, skills, voices? The text is valid JSON without duplicate keys (body.c sees to it), so
 * these walks only step over it.
 */
#include "provider/vendor.h"

#include "proto/json_text.h"

static bool is_responses(const struct eg_operation *op)
{
	return op->id == EG_OP_RESPONSES || op->id == EG_OP_RESPONSES_COMPACT ||
	       op->id == EG_OP_RESPONSES_INPUT_TOKENS;
}

/*
 * The members whose presence means that the body refers to something that the provider keeps. In
 * any case: many servers' JSON readers (Go's, .NET's) take no notice of it. What excuses a member,
 * below, is compared exactly.
 */
static bool names_state(struct eg_str key)
{
	static const struct eg_str keys[] = {
		EG_STR("file_id"),
		EG_STR("file_ids"),
		EG_STR("vector_store_id"),
		EG_STR("vector_store_ids"),
		EG_STR("container"),
		EG_STR("container_id"),
		EG_STR("skill_id"),
		EG_STR("skill_ids"),
		EG_STR("tunnel_id"),
		EG_STR("previous_response_id"),
		EG_STR("previous_message_id"),
		EG_STR("conversation"),
		EG_STR("conversation_id"),
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(keys); i++)
		if (eg_json_key_folds(key, keys[i]))
			return true;
	return false;
}

/* What holds, as an object with an id, an assistant's earlier spoken answer or a custom voice:
 * OpenAI keeps both. */
static bool holds_sound(struct eg_str key)
{
	return eg_json_key_folds(key, EG_STR("audio")) || eg_json_key_folds(key, EG_STR("voice"));
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

/* No name we look for is long, even if every byte of it is written \uXXXX: a long string with
 * escapes is contents. */
#define ESCAPED_NAME (6u * 32u)

/* A string token without its quotes, unescaped; `text` is where that is written, if it must. */
static struct eg_str unescape(char text[ESCAPED_NAME], struct eg_str token)
{
	struct eg_str s = {token.p + 1, token.n - 2};
	ssize_t n;

	if (!memchr(token.p, '\\', token.n))
		return s;
	n = token.n <= ESCAPED_NAME ? eg_json_unescape(text, s) : 0;
	return (struct eg_str){text, n > 0 ? (size_t)n : 0};
}

static struct eg_str after_space(struct eg_str s, size_t i)
{
	return eg_json_skip_space((struct eg_str){s.p + i, s.n - i});
}

/* The string token at the beginning of `value`, .n 0 when it is something else. */
static struct eg_str string_at(char text[ESCAPED_NAME], struct eg_str value)
{
	if (!value.n || value.p[0] != '"')
		return (struct eg_str){"", 0};
	return unescape(text, (struct eg_str){value.p, eg_json_token_length(value)});
}

static bool is_reference_type(struct eg_str value)
{
	return eg_str_ieq(value, EG_STR("item_reference")) ||
	       eg_str_ieq(value, EG_STR("skill_reference"));
}

/* One member found anywhere in the body; `value` begins with its value and goes on after it.
 * `of_sound`: it is a member of what holds_sound(). */
static void judge_member(struct eg_state_walk *w, struct eg_str key, struct eg_str value,
			 bool of_sound)
{
	char text[ESCAPED_NAME];

	if (!is_nothing(value) &&
	    (names_state(key) || (of_sound && eg_json_key_folds(key, EG_STR("id")))))
		*w->found = true;
	if (eg_json_key_folds(key, EG_STR("type")) && is_reference_type(string_at(text, value)))
		*w->found = true;
}

/* The token at w->i, and what follows from it. A string is a key when a colon follows. */
static void take_string(struct eg_state_walk *w)
{
	struct eg_str s = w->text, after, key;
	char text[ESCAPED_NAME];
	struct eg_str token = {s.p + w->i,
			       eg_json_token_length((struct eg_str){s.p + w->i, s.n - w->i})};

	w->i += token.n;
	after = after_space(s, w->i);
	if (!after.n || after.p[0] != ':')
		return;
	after = after_space(after, 1);
	w->i = (size_t)(after.p - s.p);
	key = unescape(text, token);
	judge_member(w, key, after, w->depth && w->sound[w->depth - 1]);
	w->sound[w->depth] = holds_sound(key);
	if (is_opaque(key, w->op->dialect == EG_DIALECT_ANTHROPIC))
		w->i += eg_json_value_length(after);
}

/* Looks through the text for references to state, in one pass whatever is nested in what. 0 or
 * -EAGAIN. */
static int find_state(struct eg_state_walk *w, size_t budget)
{
	size_t from = w->i;

	while (w->i < w->text.n && !*w->found) {
		char c = w->text.p[w->i];

		if (w->i - from >= budget)
			return -EAGAIN;
		if (c == '"') {
			take_string(w);
			continue;
		}
		if ((c == '{' || c == '[') && w->depth + 1 < EG_STATE_DEPTH)
			w->sound[++w->depth] = false;
		else if ((c == '}' || c == ']') && w->depth)
			w->depth--;
		w->i++;
	}
	return 0;
}

/* ---- items of the Responses API ---- */

/*
 * What an item says by itself, as against what the provider knows of it by its id: openai-node
 * 6.49.0, type ResponseInputItem. An item with an id and none of this is a reference to what is
 * kept, with or without the type "item_reference"; so is one of a type that is not here.
 */
static const struct item_type {
	const char *name;
	const char *content[2]; /* any of these, and not empty */
} item_types[] = {
	{"message", {"content"}},
	{"reasoning", {"encrypted_content", "content"}},
	{"compaction", {"encrypted_content"}},
	{"function_call", {"arguments"}},
	{"function_call_output", {"output"}},
	{"custom_tool_call", {"input"}},
	{"custom_tool_call_output", {"output"}},
	{"web_search_call", {"action"}},
	{"file_search_call", {"results"}},
	{"image_generation_call", {"result"}},
	{"code_interpreter_call", {"code", "outputs"}},
	{"computer_call", {"action", "actions"}},
	{"computer_call_output", {"output"}},
	{"local_shell_call", {"action"}},
	{"local_shell_call_output", {"output"}},
	{"shell_call", {"action"}},
	{"shell_call_output", {"output"}},
	{"apply_patch_call", {"operation"}},
	{"apply_patch_call_output", {"output", "status"}},
	{"mcp_list_tools", {"tools"}},
	{"mcp_call", {"arguments"}},
	{"mcp_approval_request", {"arguments"}},
	{"mcp_approval_response", {"approve"}},
	{"tool_search_call", {"arguments"}},
	{"tool_search_output", {"tools"}},
	{"additional_tools", {"tools"}},
	{"program", {"code"}},
	{"program_output", {"result"}},
};

/* All names above that are contents, and "role". */
static const char *const item_names[] = {
	"role",	   "content", "encrypted_content", "arguments", "output",
	"input",   "action",  "actions",	   "results",	"result",
	"code",	   "outputs", "operation",	   "status",	"tools",
	"approve",
};
_Static_assert(EG_ARRAY_SIZE(item_names) <= 32, "struct eg_state_item has a bit for each");

static uint32_t name_bit(struct eg_str name)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(item_names); i++)
		if (eg_str_eq(name, eg_str_from(item_names[i])))
			return 1u << i;
	return 0;
}

static bool item_says(const struct eg_state_item *it, const char *name)
{
	return name && it->said & name_bit(eg_str_from(name));
}

static int item_type(struct eg_str name)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(item_types); i++)
		if (eg_str_eq(name, eg_str_from(item_types[i].name)))
			return (int)i;
	return -1;
}

static bool item_is_reference(const struct eg_state_item *it)
{
	/* Without a type a message is meant, which has a role; a type of null is that of a
	 * reference only. */
	int type = it->typed ? it->type : item_type(EG_STR("message"));

	if (!it->id)
		return false;
	if (type < 0 || (!it->typed && !item_says(it, "role")))
		return true;
	return !item_says(it, item_types[type].content[0]) &&
	       !item_says(it, item_types[type].content[1]);
}

static bool is_empty(struct eg_str value)
{
	return is_nothing(value) || eg_str_starts(value, EG_STR("\"\""));
}

/* Here an empty string is an answer, too: a tool that was called without arguments, or found
 * nothing.
 */
static bool may_be_empty(struct eg_str key)
{
	return eg_str_eq(key, EG_STR("arguments")) || eg_str_eq(key, EG_STR("input")) ||
	       eg_str_eq(key, EG_STR("output"));
}

static void item_member(struct eg_state_item *it, struct eg_str key, struct eg_str value)
{
	bool null = eg_str_starts(value, EG_STR("null"));
	char text[ESCAPED_NAME];

	if (eg_json_key_folds(key, EG_STR("id")) && !null)
		it->id = true;
	if (eg_str_eq(key, EG_STR("type"))) {
		it->typed = true;
		it->type = item_type(string_at(text, value));
	} else if (!null && (!is_empty(value) || may_be_empty(key))) {
		it->said |= name_bit(key);
	}
}

/* What stands behind a value of a list or an object: the next one, or its end. */
static struct eg_str after_value(struct eg_str s, size_t n)
{
	s = after_space(s, n);
	return s.n && s.p[0] == ',' ? after_space(s, 1) : s;
}

/* One member of the item at hand, an object: nothing below it is looked at; or its end. */
static void read_in_item(struct eg_state_walk *w)
{
	struct eg_str s = w->rest, token, key;
	char text[ESCAPED_NAME];

	if (s.p[0] != '"') {
		if (item_is_reference(&w->item))
			*w->found = true;
		w->in_item = false;
		w->rest = after_value(s, 1);
		return;
	}
	token = (struct eg_str){s.p, eg_json_token_length(s)};
	key = unescape(text, token);
	s = after_space(s, token.n);
	s = after_space(s, s.n ? 1 : 0); /* the colon */
	item_member(&w->item, key, s);
	w->rest = after_value(s, eg_json_value_length(s));
}

/* One element of `input`, or what it begins with. */
static void read_element(struct eg_state_walk *w)
{
	struct eg_str s = w->rest;

	if (s.p[0] == ']') {
		w->rest.n = 0;
	} else if (s.p[0] == '{') {
		w->in_item = true;
		memset(&w->item, 0, sizeof(w->item));
		w->rest = after_space(s, 1);
	} else {
		w->rest = after_value(s, eg_json_value_length(s));
	}
}

static int read_items(struct eg_state_walk *w, size_t budget)
{
	size_t from = w->rest.n;

	while (w->rest.n && !*w->found) {
		if (from - w->rest.n >= budget)
			return -EAGAIN;
		if (w->in_item)
			read_in_item(w);
		else
			read_element(w);
	}
	return 0;
}

/* ---- members of the body itself ---- */

/* What refers to, or makes, state at the top only. */
static bool top_level_state(const struct eg_operation *op, const struct eg_json_member *m)
{
	if (m->type == EG_JSON_NULL)
		return false;
	if (names_state(m->key))
		return !is_nothing(m->raw);
	/* A background response is kept until it is fetched; a prompt is stored by its id. */
	return is_responses(op) &&
	       ((eg_json_key_folds(m->key, EG_STR("background")) && m->type != EG_JSON_FALSE) ||
		eg_json_key_folds(m->key, EG_STR("prompt")));
}

static void begin_walk(struct eg_state_walk *w, const struct eg_operation *op, struct eg_str name,
		       struct eg_str text, bool *found)
{
	/* Field by field: the arrays in it are written before they are read. */
	w->op = op;
	w->found = found;
	w->text = text;
	w->i = w->depth = 0;
	w->sound[0] = holds_sound(name);
	w->items = w->in_item = false;
	w->rest = (struct eg_str){NULL, 0};
}

bool eg_state_begin(struct eg_state_walk *w, const struct eg_operation *op,
		    const struct eg_json_member *m, bool *found)
{
	if (top_level_state(op, m))
		*found = true;
	if (*found || (m->type != EG_JSON_ARRAY && m->type != EG_JSON_OBJECT) ||
	    eg_str_eq(m->key, EG_STR("metadata")))
		return false;
	begin_walk(w, op, m->key, m->raw, found);
	w->items = is_responses(op) && m->type == EG_JSON_ARRAY &&
		   eg_json_key_folds(m->key, EG_STR("input"));
	if (w->items)
		w->rest = after_space(m->raw, 1);
	return true;
}

int eg_state_go_on(struct eg_state_walk *w, size_t *budget)
{
	size_t from = w->i;
	int r = find_state(w, *budget);

	*budget -= EG_MIN(*budget, w->i - from);
	if (r || !w->items)
		return r;
	from = w->rest.n;
	r = read_items(w, *budget);
	*budget -= EG_MIN(*budget, from - w->rest.n);
	return r;
}

/* ---- names of a form's fields ---- */

/* The next of the names that a field's name is made of ("image[0][file_id]", "image.file_id"), in
 * lower case: frameworks that read forms compare without regard to it. */
static bool next_name(struct eg_str *rest, char out[32], struct eg_str *name)
{
	size_t n = 0;

	while (rest->n && strchr("[].", rest->p[0]))
		*rest = (struct eg_str){rest->p + 1, rest->n - 1};
	while (n < rest->n && !strchr("[].", rest->p[n]))
		n++;
	*name = (struct eg_str){rest->p, n};
	if (n <= 32) { /* else it is none that matters */
		for (size_t i = 0; i < n; i++)
			out[i] = rest->p[i] >= 'A' && rest->p[i] <= 'Z' ? (char)(rest->p[i] + 32)
									: rest->p[i];
		name->p = out;
	}
	*rest = (struct eg_str){rest->p + n, rest->n - n};
	return n > 0;
}

void eg_state_in_field(const struct eg_operation *op, struct eg_str field, struct eg_str value,
		       bool json, bool *found)
{
	struct eg_str rest = field, name, last = {0};
	struct eg_state_walk w;
	bool sound = false;
	char text[32];

	while (next_name(&rest, text, &name)) {
		if (is_opaque(name, op->dialect == EG_DIALECT_ANTHROPIC) ||
		    (!last.p && eg_str_eq(name, EG_STR("metadata"))))
			return;
		if (names_state(name) || (sound && eg_str_eq(name, EG_STR("id"))) ||
		    (last.p && eg_str_eq(name, EG_STR("type")) && is_reference_type(value)))
			*found = true;
		sound = holds_sound(name);
		last = name;
	}
	if (!json || *found)
		return;
	begin_walk(&w, op, last, value, found);
	(void)find_state(&w, SIZE_MAX);
}
