/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Forms. The input is a Content-Type, a line end, and the body. Oracles: what comes out does not
 * depend on cuts; it is what a plain splitter finds, which sees the whole input and knows nothing
 * of states; and a reader of another kind, which takes any occurrence of the boundary for its own
 * and only looks for name="...", finds the same parts in what ours takes.
 */
#include "fuzz.h"
#include "proto/multipart.h"
#include "provider/provider.h"

#define PARTS_MAX 64

struct found {
	char name[256];
	bool file;
	uint64_t from, length;
};

struct form {
	int r;
	bool ended;
	size_t count;
	struct found part[PARTS_MAX];
	struct eg_error e;
};

static int note(void *ctx, const struct eg_part *part)
{
	struct form *f = ctx;

	if (f->count < PARTS_MAX) {
		struct found *p = &f->part[f->count];

		memset(p, 0, sizeof(*p));
		eg_str_copy(p->name, sizeof(p->name), part->name);
		p->file = part->file;
		p->from = part->from;
		p->length = part->length;
	}
	f->count++;
	return 0;
}

/* `cut` 0: the whole at once. */
static struct form *read_form(struct eg_str boundary, struct eg_str body, uint64_t cut)
{
	struct form *f = calloc(1, sizeof(*f));
	struct eg_multipart *m = malloc(sizeof(*m));

	if (!f || !m)
		abort();
	eg_multipart_init(m, boundary, note, f);
	for (size_t at = 0; at < body.n && !f->r;) {
		size_t n = cut ? fuzz_step(&cut, body.n - at) : body.n - at;
		char *piece = fuzz_copy(body.p + at, n);

		f->r = eg_multipart_feed(m, (struct eg_str){piece, n}, &f->e);
		at += n;
		free(piece);
	}
	if (!f->r)
		f->r = eg_multipart_end(m, &f->e);
	free(m);
	return f;
}

/* The next "--" boundary at or after `from`, by the plainest search; body.n when there is none. */
static size_t next_delimiter(struct eg_str body, size_t from, struct eg_str boundary)
{
	for (size_t i = from; i + 2 + boundary.n <= body.n; i++)
		if (body.p[i] == '-' && body.p[i + 1] == '-' &&
		    !memcmp(body.p + i + 2, boundary.p, boundary.n))
			return i;
	return body.n;
}

static bool is_at(struct eg_str body, size_t at, const char *text)
{
	return at + strlen(text) <= body.n && !memcmp(body.p + at, text, strlen(text));
}

/* The frame alone, as RFC 2046 has it for senders: is it one, and which parts (head and content)
 * are in it? Returns their number, or -1. */
static int split(struct eg_str body, struct eg_str boundary, size_t (*parts)[3])
{
	size_t at = is_at(body, 0, "\r\n") ? 2 : 0;
	int count = 0;

	if (next_delimiter(body, at, boundary) != at)
		return -1;
	for (;;) {
		size_t after = at + 2 + boundary.n, next, content;
		const char *empty;

		if (is_at(body, after, "--")) {
			after += 2;
			return after == body.n ||
					       (after + 2 == body.n && is_at(body, after, "\r\n"))
				       ? count
				       : -1;
		}
		if (!is_at(body, after, "\r\n") || count == PARTS_MAX)
			return -1;
		after += 2;
		/* The head goes to the first empty line, whatever stands in it. */
		empty = is_at(body, after, "\r\n")
				? body.p + after - 2
				: memmem(body.p + after, body.n - after, "\r\n\r\n", 4);
		if (!empty)
			return -1;
		content = (size_t)(empty - body.p) + 4;
		next = next_delimiter(body, content, boundary);
		if (next == body.n || next < content + 2 ||
		    memcmp(body.p + next - 2, "\r\n", 2) != 0)
			return -1;
		parts[count][0] = after;
		parts[count][1] = content;
		parts[count++][2] = next - 2;
		at = next;
	}
}

/* The lazy reader's name of a part: what stands after the first `name=`, up to a quote, a
 * semicolon, or the end of the line. */
static struct eg_str lazy_name(struct eg_str head)
{
	for (size_t i = 0; i + 5 <= head.n; i++) {
		struct eg_str s = {head.p + i + 5, head.n - i - 5};
		size_t n = 0;

		if (strncasecmp(head.p + i, "name=", 5) != 0)
			continue;
		if (s.n && s.p[0] == '"') {
			s.p++;
			s.n--;
		}
		while (n < s.n && !strchr("\";\r\n \t", s.p[n]))
			n++;
		return (struct eg_str){s.p, n};
	}
	return (struct eg_str){NULL, 0};
}

/* Names with spaces inside end earlier for the lazy reader. */
static bool same_name(const char *ours, struct eg_str lazy)
{
	size_t n = strcspn(ours, " \t");

	return n == lazy.n && !memcmp(ours, lazy.p, n);
}

static size_t delimiters(struct eg_str body, struct eg_str boundary)
{
	size_t count = 0;

	for (size_t i = 0; (i = next_delimiter(body, i, boundary)) < body.n; i += 2 + boundary.n)
		count++;
	return count;
}

static void compare(const struct form *f, struct eg_str body, struct eg_str boundary)
{
	size_t parts[PARTS_MAX][3];
	int count;

	/* The frame may be good and a head not: there is nothing to compare then. */
	if (f->r || f->count > PARTS_MAX)
		return;
	count = split(body, boundary, parts);
	FUZZ_CHECK(count == (int)f->count);
	FUZZ_CHECK(delimiters(body, boundary) == f->count + 1);
	for (int i = 0; i < count; i++) {
		const struct found *p = &f->part[i];
		struct eg_str head = {body.p + parts[i][0], parts[i][1] - parts[i][0]};
		char line[EG_MULTIPART_HEAD_MAX + 1];

		FUZZ_CHECK(p->from == parts[i][1]);
		FUZZ_CHECK(p->length == parts[i][2] - parts[i][1]);
		/* Only where it comes first: other fields may hold the lazy reader's words. */
		if (!eg_str_istarts(head, EG_STR("content-disposition:")))
			continue;
		eg_str_copy(line, sizeof(line), head);
		line[strcspn(line, "\r")] = '\0';
		if (strlen(p->name) >= sizeof(p->name) - 1) /* it is cut: what it says is unknown */
			continue;
		FUZZ_CHECK(same_name(p->name, lazy_name(eg_str_from(line))));
		if (!strcasestr(p->name, "filename="))
			FUZZ_CHECK(p->file == (strcasestr(line, "filename=") != NULL));
	}
}

/* The other way round: a form put together from good parts is taken, whatever the boundary. */
static void must_take(struct eg_str boundary, struct eg_str content)
{
	size_t n = 0, cap = content.n + 3 * boundary.n + 200;
	char *body = malloc(cap);
	struct form *f;

	if (!body)
		abort();
	n = (size_t)snprintf(body, cap,
			     "--%.*s\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n",
			     EG_STR_ARG(boundary));
	memcpy(body + n, content.p, content.n);
	n += content.n;
	n += (size_t)snprintf(body + n, cap - n, "\r\n--%.*s--", EG_STR_ARG(boundary));
	f = read_form(boundary, (struct eg_str){body, n}, 0);
	/* Unless the boundary is in it: then it is refused, or more parts. */
	if (next_delimiter((struct eg_str){body, n}, 2, boundary) == n - 4 - boundary.n)
		FUZZ_CHECK(!f->r && f->count == 1 && f->part[0].length == content.n);
	else
		FUZZ_CHECK(f->r == -EINVAL || f->count > 1);
	free(f);
	free(body);
}

/* What policy reads of it: a planted reference is seen, a second model refused. */
static void facts(struct eg_str type, struct eg_str boundary, const struct form *f,
		  struct eg_str body)
{
	struct eg_str rest, path = EG_STR("/v1/images/edits");
	const struct eg_operation *op =
		eg_operation_find(EG_DIALECT_OPENAI, EG_STR("POST"), path, &rest);
	struct eg_body_facts facts = {0};
	struct eg_error e = {""};
	struct eg_arena a;
	size_t models = 0;
	int r;

	eg_arena_init(&a, 1u << 20);
	r = eg_form_read(&a, op, type, body, &facts, &e);
	FUZZ_CHECK(!r || (r == -EINVAL && *e.text));
	FUZZ_CHECK(!f->r || r);
	for (size_t i = 0; i < EG_MIN(f->count, (size_t)PARTS_MAX); i++) {
		models += !strcasecmp(f->part[i].name, "model");
		if (!r && !strcmp(f->part[i].name, "file_id"))
			FUZZ_CHECK(facts.store_or_state);
	}
	if (!r) {
		FUZZ_CHECK(f->count > PARTS_MAX || (models == 1) == (facts.model.p != NULL));
		FUZZ_CHECK(eg_str_eq(facts.form_boundary, boundary));
	}
	if (!r && facts.model.p) {
		FUZZ_CHECK(facts.model_raw.p >= body.p &&
			   facts.model_raw.p + facts.model_raw.n <= body.p + body.n);
		FUZZ_CHECK(fuzz_same(facts.model, facts.model_raw));
	}
	eg_arena_fini(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *line = size ? memchr(data, '\n', size) : NULL;
	size_t type_n = line ? (size_t)(line - data) : 0;
	struct eg_str type, body, boundary = {NULL, 0};
	struct form *whole, *parted;
	struct eg_error e = {""};
	int r;

	if (!line)
		return 0;
	type = (struct eg_str){fuzz_copy(data, type_n), type_n};
	body = (struct eg_str){fuzz_copy(line + 1, size - type_n - 1), size - type_n - 1};
	r = eg_multipart_boundary(type, &boundary, &e);
	FUZZ_CHECK(!r || (r == -EINVAL && *e.text && !boundary.p));
	if (!r) {
		FUZZ_CHECK(boundary.n && boundary.n <= EG_MULTIPART_BOUNDARY_MAX);
		FUZZ_CHECK(boundary.p >= type.p && boundary.p + boundary.n <= type.p + type.n);
		whole = read_form(boundary, body, 0);
		parted = read_form(boundary, body, fuzz_seed(data, size));
		FUZZ_CHECK(!whole->r || (whole->r == -EINVAL && *whole->e.text));
		FUZZ_CHECK(!memcmp(whole, parted, sizeof(*whole)));
		compare(whole, body, boundary);
		must_take(boundary, body);
		facts(type, boundary, whole, body);
		free(whole);
		free(parted);
	}
	free((char *)(uintptr_t)type.p);
	free((char *)(uintptr_t)body.p);
	return 0;
}
