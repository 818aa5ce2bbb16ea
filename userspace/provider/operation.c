/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/vendor.h"

#include "proto/form_params.h"

static const struct eg_operation unknown = {
	.id = EG_OP_UNKNOWN, .name = "unknown", .gen_ai_operation = "", .class = EG_CLASS_UNKNOWN};

const struct eg_vendor *eg_vendor_of(enum eg_dialect d)
{
	switch (d) {
	case EG_DIALECT_OPENAI:
		return &eg_vendor_openai;
	case EG_DIALECT_ANTHROPIC:
		return &eg_vendor_anthropic;
	case EG_DIALECT_NONE:
		break;
	}
	return NULL;
}

static unsigned int method_bit(struct eg_str method)
{
	if (eg_str_eq(method, EG_STR("POST")))
		return EG_METHOD_POST;
	if (eg_str_eq(method, EG_STR("GET")))
		return EG_METHOD_GET;
	if (eg_str_eq(method, EG_STR("DELETE")))
		return EG_METHOD_DELETE;
	return EG_METHOD_ANY;
}

/* What an id is made of: unreserved characters and those of model names and ARNs; no '/' and no
 * '%', so that nobody reads another path from it. */
static bool id_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("-._~:@+", c));
}

/* Length of the id at the beginning of s; 0 when there is none. */
static size_t id_length(struct eg_str s)
{
	size_t n = 0;

	while (n < s.n && id_char(s.p[n]))
		n++;
	if ((n == 1 && s.p[0] == '.') || (n == 2 && s.p[0] == '.' && s.p[1] == '.') || n > 256)
		return 0;
	return n;
}

static bool tail_matches(struct eg_str s)
{
	while (s.n) {
		size_t n;

		if (s.p[0] != '/')
			return false;
		n = id_length((struct eg_str){s.p + 1, s.n - 1});
		if (!n)
			return false;
		s.p += 1 + n;
		s.n -= 1 + n;
	}
	return true;
}

static bool path_matches(const char *pattern, struct eg_str s)
{
	for (;;) {
		if (pattern[0] == '/' && pattern[1] == '*') /* the rest, whatever it is */
			return tail_matches(s);
		if (pattern[0] == '{') {
			size_t n = id_length(s);

			if (!n)
				return false;
			s.p += n;
			s.n -= n;
			pattern += 2;
			continue;
		}
		if (!*pattern || !s.n)
			return !*pattern && !s.n;
		if (*pattern != s.p[0])
			return false;
		pattern++;
		s.p++;
		s.n--;
	}
}

static const struct eg_operation *find_row(const struct eg_vendor *v, unsigned int method,
					   struct eg_str rest)
{
	for (size_t i = 0; i < v->row_count; i++)
		if ((v->rows[i].methods & method) && path_matches(v->rows[i].pattern, rest))
			return v->rows[i].operation;
	return NULL;
}

const struct eg_operation *eg_operation_find(enum eg_dialect d, struct eg_str method,
					     struct eg_str path, struct eg_str *rest)
{
	const struct eg_vendor *v = eg_vendor_of(d);
	unsigned int bit = method_bit(method);

	*rest = path;
	for (size_t i = 0; v && i < v->base_path_count; i++) {
		struct eg_str base = v->base_paths[i];
		const struct eg_operation *op;
		struct eg_str after;

		if (!eg_str_starts(path, base))
			continue;
		after = (struct eg_str){path.p + base.n, path.n - base.n};
		op = after.n ? find_row(v, bit, after) : NULL;
		if (op) {
			*rest = after;
			return op;
		}
	}
	return &unknown;
}

/* Nothing, or parameters, after the media type (RFC 9110 section 8.3.1). */
static bool media_type_is(struct eg_str value, struct eg_str type)
{
	if (!eg_str_istarts(value, type))
		return false;
	value = eg_str_trim((struct eg_str){value.p + type.n, value.n - type.n});
	return !value.n || value.p[0] == ';';
}

/* JSON is UTF-8 here. A server that decodes what `charset` names (Express accepts all that
 * begin with utf-) would read another text than policy did, so no other is taken, nor parameters
 * that two readers may end at different places. An empty one at the end is common and says nothing.
 */
static bool is_json_type(struct eg_str value)
{
	static const struct eg_str type = EG_STR("application/json");
	struct eg_form_param p;
	bool charset = false;
	int r;

	if (!media_type_is(value, type))
		return false;
	value = eg_str_trim((struct eg_str){value.p + type.n, value.n - type.n});
	if (value.n && value.p[value.n - 1] == ';')
		value.n--;
	while ((r = eg_form_param_next(&value, &p)) > 0) {
		if (!eg_str_istarts(p.name, EG_STR("charset")))
			continue;
		if (charset || p.name.n != 7 ||
		    (!eg_str_ieq(p.value, EG_STR("utf-8")) &&
		     !eg_str_ieq(p.value, EG_STR("us-ascii"))))
			return false;
		charset = true;
	}
	return !r;
}

const struct eg_operation *eg_operation_for_content(const struct eg_operation *op,
						    struct eg_str content_type)
{
	bool json = !content_type.n || is_json_type(content_type);

	if (op->json_body)
		return json ? op : NULL;
	if (!op->form_body)
		return op;
	if (json)
		return op->as_json;
	return media_type_is(content_type, EG_STR("multipart/form-data")) ? op : NULL;
}

static const struct eg_operation *by_name(const struct eg_vendor *v, struct eg_str name)
{
	for (size_t i = 0; i < v->row_count; i++)
		if (eg_str_eq(eg_str_from(v->rows[i].operation->name), name))
			return v->rows[i].operation;
	return NULL;
}

const struct eg_operation *eg_operation_by_name(struct eg_str name)
{
	const struct eg_operation *op = by_name(&eg_vendor_openai, name);

	return op ? op : by_name(&eg_vendor_anthropic, name);
}

const struct eg_operation *eg_operation_for_state(const struct eg_operation *op)
{
	bool responses = op->id == EG_OP_RESPONSES || op->id == EG_OP_RESPONSES_COMPACT ||
			 op->id == EG_OP_RESPONSES_INPUT_TOKENS;

	if (op->class == EG_CLASS_STATEFUL)
		return op;
	return eg_operation_by_name(responses ? EG_STR("responses.stored") : EG_STR("files"));
}

enum eg_dialect eg_dialect_of_request(struct eg_str host, struct eg_str path)
{
	enum eg_dialect d = eg_dialect_from_host(host);

	return d == EG_DIALECT_NONE ? eg_dialect_from_path(path) : d;
}

/* A path in no table is given to the dialect whose base path it has, for the form of its error. */
enum eg_dialect eg_dialect_from_path(struct eg_str path)
{
	struct eg_str rest;
	static const char *const methods[] = {"POST", "GET", "DELETE"};

	for (size_t i = 0; i < EG_ARRAY_SIZE(methods); i++) {
		struct eg_str m = eg_str_from(methods[i]);

		if (eg_operation_find(EG_DIALECT_OPENAI, m, path, &rest)->class != EG_CLASS_UNKNOWN)
			return EG_DIALECT_OPENAI;
		if (eg_operation_find(EG_DIALECT_ANTHROPIC, m, path, &rest)->class !=
		    EG_CLASS_UNKNOWN)
			return EG_DIALECT_ANTHROPIC;
	}
	if (eg_str_starts(path, EG_STR("/v1/messages")) ||
	    eg_str_starts(path, EG_STR("/anthropic/")))
		return EG_DIALECT_ANTHROPIC;
	if (eg_str_starts(path, EG_STR("/v1/")) || eg_str_starts(path, EG_STR("/openai/v1/")))
		return EG_DIALECT_OPENAI;
	return EG_DIALECT_NONE;
}
