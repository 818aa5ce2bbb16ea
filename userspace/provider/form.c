/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a form says that policy needs, by the rules for JSON bodies (body.c, state.c): a field is a
 * member, a nested one is written image[0][file_id], and a value may be JSON itself.
 */
#include "provider/vendor.h"

#include "proto/multipart.h"
#include "proto/utf8.h"

/* Of a field that is JSON: it is read at once, and its worst bytes are slow. */
#define JSON_FIELD_MAX (1u << 20)

struct reader {
	struct eg_arena *arena;
	const struct eg_operation *op;
	struct eg_str body; /* as far as it is here */
	struct eg_body_facts *out;
	uint64_t model_from; /* where its value stands in the body, which may yet move */
	bool seen_stream;
	struct eg_error *error;
};

static int bad(struct reader *r, const struct eg_part *part, const char *what)
{
	return eg_error_set(r->error, -EINVAL, "form, part at byte %llu: %s",
			    (unsigned long long)part->from, what);
}

/* ---- names ---- */

/* The part of a name before what is nested in it. */
static struct eg_str base_of(struct eg_str name)
{
	size_t n = 0;

	while (n < name.n && !strchr("[.", name.p[n]))
		n++;
	return (struct eg_str){name.p, n};
}

/* What the APIs take files in. */
static bool holds_file(struct eg_str base)
{
	return eg_str_eq(base, EG_STR("file")) || eg_str_eq(base, EG_STR("image")) ||
	       eg_str_eq(base, EG_STR("mask"));
}

/* ---- values ---- */

/* One line of UTF-8, so that whoever trims it or takes its first line reads the same. */
static bool is_plain(struct eg_str s)
{
	if (!s.n || s.p[0] == ' ' || s.p[s.n - 1] == ' ')
		return false;
	while (s.n) {
		size_t n = eg_utf8_length((const unsigned char *)s.p, s.n);

		if (!n || (unsigned char)s.p[0] < 0x20 || s.p[0] == 0x7f)
			return false;
		s = (struct eg_str){s.p + n, s.n - n};
	}
	return true;
}

static int take_model(struct reader *r, const struct eg_part *part, struct eg_str value)
{
	const char *copy;

	if (!eg_str_eq(part->name, EG_STR("model")))
		return bad(r, part,
			   "the model's field goes on after \"model\", or is written in "
			   "another case; expected the name \"model\"");
	if (r->out->model.p)
		return bad(r, part, "a second \"model\"; expected one");
	if (part->file)
		return bad(r, part, "\"model\" is a file; expected a field without filename");
	if (!is_plain(value) || value.n > EG_MODEL_BYTES_MAX)
		return bad(r, part,
			   "\"model\" is empty, too long, or has spaces around it or "
			   "characters that are not text; expected one name");
	copy = eg_arena_dup(r->arena, value);
	if (!copy)
		return -ENOMEM;
	r->out->model = (struct eg_str){copy, value.n};
	r->model_from = part->from;
	r->out->model_sized = part->sized;
	return 0;
}

static int take_stream(struct reader *r, const struct eg_part *part, struct eg_str value)
{
	if (!eg_str_eq(part->name, EG_STR("stream")) || part->file)
		return bad(r, part,
			   "\"stream\" is a file, nested, or written in another case; "
			   "expected a field of that name");
	if (r->seen_stream)
		return bad(r, part, "a second \"stream\"; expected one");
	r->seen_stream = true;
	r->out->stream = r->op->streams &&
			 (eg_str_ieq(value, EG_STR("true")) || eg_str_eq(value, EG_STR("1")));
	return 0;
}

/*
 * Frameworks read a field that looks like JSON as JSON, so it has to be JSON that everybody reads
 * alike. Of a prompt, which is text and nothing else, this is not asked. 1: it is JSON, at *value.
 */
static int is_json(struct reader *r, const struct eg_part *part, struct eg_str *value)
{
	struct eg_str text = eg_json_skip_space(*value);
	int code;

	if (!text.n || (text.p[0] != '{' && text.p[0] != '[') ||
	    eg_str_eq(part->name, EG_STR("prompt")))
		return 0;
	if (text.n > JSON_FIELD_MAX)
		return bad(r, part, "a field of more than 1 MiB that is, or begins as, JSON");
	code = eg_json_check(text, NULL);
	if (code == -EINVAL)
		return bad(r, part, "a field begins as JSON does and is not, or has a key twice");
	*value = text;
	return code ? code : 1;
}

static int take_part(void *ctx, const struct eg_part *part)
{
	struct reader *r = ctx;
	struct eg_body_facts *out = r->out;
	struct eg_str value = {r->body.p + part->from, (size_t)part->length};
	struct eg_str base = base_of(part->name);
	bool content = part->file && holds_file(base);
	int json = 0;

	if (!content && !eg_part_is_utf8(part))
		return bad(r, part, "a field in another charset; expected UTF-8");
	if (!content && eg_str_ieq(base, EG_STR("model")))
		return take_model(r, part, value);
	if (!content && eg_str_ieq(base, EG_STR("stream")))
		return take_stream(r, part, value);
	if (!content)
		json = is_json(r, part, &value);
	if (json < 0)
		return json;
	out->other_models |= eg_str_ieq(base, EG_STR("models"));
	out->other_providers |= eg_str_ieq(base, EG_STR("provider"));
	if (r->op->may_hold_state)
		eg_state_in_field(r->op, part->name, value, json > 0, &out->store_or_state);
	return 0;
}

struct eg_form {
	struct reader reader;
	struct eg_body_facts facts;
	struct eg_multipart parts;
	uint64_t fed;
	int code; /* once it is not 0, the form is refused for `error` */
	struct eg_error error;
};

static void begin(struct eg_form *f, struct eg_arena *a, const struct eg_operation *op,
		  struct eg_str content_type)
{
	memset(&f->facts, 0, sizeof(f->facts));
	f->reader = (struct reader){.arena = a, .op = op, .out = &f->facts, .error = &f->error};
	f->fed = 0;
	f->error.text[0] = '\0';
	f->code = eg_multipart_boundary(content_type, &f->facts.form_boundary, &f->error);
	if (!f->code)
		eg_multipart_init(&f->parts, f->facts.form_boundary, take_part, &f->reader);
}

struct eg_form *eg_form_create(struct eg_arena *a, const struct eg_operation *op,
			       struct eg_str content_type)
{
	struct eg_form *f = eg_arena_alloc(a, sizeof(*f));

	if (f)
		begin(f, a, op, content_type);
	return f;
}

void eg_form_feed(struct eg_form *f, struct eg_str body)
{
	struct eg_str more = {body.p + f->fed, body.n - (size_t)f->fed};

	f->reader.body = body;
	f->fed = body.n;
	if (!f->code)
		f->code = eg_multipart_feed(&f->parts, more, &f->error);
}

struct eg_str eg_form_boundary(const struct eg_form *f)
{
	return f->facts.form_boundary;
}

int eg_form_end(struct eg_form *f, struct eg_str body, struct eg_body_facts *out,
		struct eg_error *e)
{
	if (!f->code)
		f->code = eg_multipart_end(&f->parts, &f->error);
	if (f->code)
		return eg_error_set(e, f->code, "%s", f->error.text);
	if (f->facts.model.p)
		f->facts.model_raw =
			(struct eg_str){body.p + f->reader.model_from, f->facts.model.n};
	*out = f->facts;
	return 0;
}

int eg_form_read(struct eg_arena *a, const struct eg_operation *op, struct eg_str content_type,
		 struct eg_str body, struct eg_body_facts *out, struct eg_error *e)
{
	struct eg_form f;

	begin(&f, a, op, content_type);
	if (body.n)
		eg_form_feed(&f, body);
	return eg_form_end(&f, body, out, e);
}

bool eg_form_takes_model(const struct eg_body_facts *facts, struct eg_str name)
{
	struct eg_str boundary = facts->form_boundary;

	if (!boundary.p || !facts->model_raw.p)
		return true;
	if (facts->model_sized && name.n != facts->model_raw.n)
		return false;
	for (; name.n >= boundary.n + 2; name.p++, name.n--)
		if (eg_str_starts(name, EG_STR("--")) &&
		    !memcmp(name.p + 2, boundary.p, boundary.n))
			return false;
	return true;
}
