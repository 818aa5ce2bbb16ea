/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/source.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/log.h"
#include "base/redact.h"

/* ---- positions: jansson keeps none, so an error's place is found again in the text ---- */
static size_t skip_space(struct eg_str t, size_t i)
{
	while (i < t.n && strchr(" \t\r\n", t.p[i]) && t.p[i])
		i++;
	return i;
}

static size_t skip_string(struct eg_str t, size_t i)
{
	for (i++; i < t.n && t.p[i] != '"'; i++)
		if (t.p[i] == '\\')
			i++;
	return i + 1;
}

static size_t skip_value(struct eg_str t, size_t i)
{
	size_t depth = 0;

	while (i < t.n) {
		char c = t.p[i];

		if (c == '"') {
			i = skip_string(t, i);
			if (!depth)
				return i;
			continue;
		}
		if (!depth && (c == ',' || c == '}' || c == ']'))
			return i;
		if (c == '{' || c == '[')
			depth++;
		else if ((c == '}' || c == ']') && !--depth)
			return i + 1;
		i++;
	}
	return i;
}

/* Compares the string token at i with a key, unescaping by jansson when it has to. */
static bool key_is(struct eg_str t, size_t i, size_t end, const char *key)
{
	struct eg_str token = {t.p + i, end - i};
	json_t *v;
	bool same;

	if (!memchr(token.p, '\\', token.n))
		return token.n == strlen(key) + 2 && !memcmp(token.p + 1, key, token.n - 2);
	v = json_loadb(token.p, token.n, JSON_DECODE_ANY, NULL);
	same = v && !strcmp(json_string_value(v), key);
	json_decref(v);
	return same;
}

/*
 * Offset of the child of the value at i, or of its key; SIZE_MAX when there is none. Of equal keys
 * the last, as jansson keeps it. `last`: where an earlier search at this depth ended, and then this
 * one; errors come in order, and a file may have hundreds.
 */
static size_t find_child(struct eg_str t, size_t i, const struct place *child, bool want_key,
			 struct found *last)
{
	size_t n = 0, found = SIZE_MAX, parent = i, began;
	bool same = last->document == child->document && last->parent == parent;

	if (i >= t.n || t.p[i] != (child->key ? '{' : '['))
		return SIZE_MAX;
	if (child->key && !want_key && same && last->key && !strcmp(last->key, child->key))
		return last->at;
	i = skip_space(t, i + 1);
	if (!child->key && same && !last->key && last->index <= child->index) {
		n = last->index;
		i = last->at;
	}
	for (began = i; i < t.n && t.p[i] != '}' && t.p[i] != ']'; n++) {
		size_t start = i;
		bool match = !child->key && n == child->index;

		if (child->key) {
			size_t end = skip_string(t, i);

			match = end <= t.n && key_is(t, i, end, child->key);
			i = skip_space(t, end);
			i = skip_space(t, i + 1);
		}
		if (match)
			found = want_key ? start : i;
		if (match && !child->key)
			break;
		i = skip_space(t, skip_value(t, i));
		if (i < t.n && t.p[i] == ',')
			i = skip_space(t, i + 1);
	}
	child->l->searched += i - began;
	if (found != SIZE_MAX && !want_key)
		*last = (struct found){child->document, parent, child->key, child->index, found};
	return found;
}

/* *depth: of `at`, below the root. */
static size_t find_place(const struct place *at, bool want_key, size_t *depth)
{
	struct eg_str t = at->document->text;
	struct found none = {.document = NULL};
	size_t up;

	*depth = 0;
	if (!at->up)
		return skip_space(t, 0);
	up = find_place(at->up, false, depth);
	++*depth;
	return up == SIZE_MAX ? up
			      : find_child(t, up, at, want_key,
					   *depth < PLACE_DEPTHS ? &at->l->found[*depth] : &none);
}

static void line_and_column(struct loading *l, const struct document *d, size_t offset, int *line,
			    int *column)
{
	struct eg_str t = d->text;
	size_t i = 0;

	*line = 1;
	*column = 1;
	if (l->lined.document == d && l->lined.at <= offset) {
		i = l->lined.at;
		*line = l->lined.line;
		*column = l->lined.column;
	}
	l->searched += offset - i;
	for (; i < offset && i < t.n; i++) {
		++*column;
		if (t.p[i] == '\n') {
			++*line;
			*column = 1;
		}
	}
	l->lined = (struct lined){d, i, *line, *column};
}

static int render_key(struct eg_buf *out, const char *key)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789_-";
	int r;

	if (*key && strspn(key, plain) == strlen(key))
		return eg_buf_printf(out, ".%s", key);
	r = eg_buf_append_str(out, EG_STR("["));
	if (!r)
		r = eg_json_quote(out, eg_str_from(key), SIZE_MAX);
	return r ? r : eg_buf_append_str(out, EG_STR("]"));
}

static int render_place(const struct place *at, struct eg_buf *out)
{
	int r = at->up ? render_place(at->up, out) : eg_buf_append_str(out, EG_STR("$"));

	if (r || !at->up)
		return r;
	return at->key ? render_key(out, at->key) : eg_buf_printf(out, "[%zu]", at->index);
}

/* One that does not fit is cut, and ends with "..." to say so. */
static void render_path(const struct place *at, char *out, size_t cap)
{
	struct eg_buf b;

	eg_buf_init(&b, SIZE_MAX / 2);
	if (render_place(at, &b))
		at->l->out_of_memory = true;
	eg_str_copy(out, cap, eg_buf_str(&b));
	if (b.length >= cap)
		memcpy(out + cap - 4, "...", 4);
	eg_buf_fini(&b);
}

/* ---- reports ---- */
static struct eg_policy_error *new_report(struct loading *l, bool warning)
{
	struct eg_policy_errors *e = l->errors;
	struct eg_policy_error *grown;

	if (!warning)
		l->errors_seen++;
	if (e->count >= EG_POLICY_MAX_ERRORS) {
		l->reports_left_out++;
		return NULL;
	}
	grown = realloc(e->item, (e->count + 1) * sizeof(*grown));
	if (!grown) {
		l->out_of_memory = true;
		return NULL;
	}
	e->item = grown;
	e->item[e->count] = (struct eg_policy_error){.warning = warning};
	return &e->item[e->count++];
}

/* A key in the wrong field is the most likely secret that a policy file ever has. Its place is
 * said. */
static void redact(struct eg_policy_error *e)
{
	eg_redact_text(e->path, true);
	eg_redact_text(e->text, true);
}

#define AT_VALUE (SIZE_MAX - 1)
#define AT_KEY	 (SIZE_MAX - 2)
/* Bytes of all searches for places. Whoever loads has other duties (a heartbeat), and a path says
 * the place as well: from there on errors have no line. */
#define SEARCH_MAX ((size_t)64 << 20)

/* `offset`: in the document, or AT_VALUE or AT_KEY, to be looked for. */
static void report(const struct place *at, bool warning, size_t offset, const char *format,
		   va_list ap) __attribute__((format(printf, 4, 0)));
static void report(const struct place *at, bool warning, size_t offset, const char *format,
		   va_list ap)
{
	struct eg_policy_error *e = new_report(at->l, warning);
	size_t depth;

	set_busy(at->l->set);

	if (!e)
		return;
	eg_str_copy(e->file, sizeof(e->file), at->document->name);
	render_path(at, e->path, sizeof(e->path));
	vsnprintf(e->text, sizeof(e->text), format, ap);
	redact(e);
	if (offset == AT_VALUE || offset == AT_KEY)
		offset = at->l->searched > SEARCH_MAX ? SIZE_MAX
						      : find_place(at, offset == AT_KEY, &depth);
	if (offset != SIZE_MAX)
		line_and_column(at->l, at->document, offset, &e->line, &e->column);
}

void source_error(const struct place *at, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	report(at, false, AT_VALUE, format, ap);
	va_end(ap);
}

void source_key_error(const struct place *at, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	report(at, false, AT_KEY, format, ap);
	va_end(ap);
}

void source_warning(const struct place *at, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	report(at, true, AT_VALUE, format, ap);
	va_end(ap);
}

void source_error_at(const struct place *at, size_t offset, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	report(at, false, offset, format, ap);
	va_end(ap);
}

void source_file_error(struct loading *l, const struct document *d, const char *format, ...)
{
	struct eg_policy_error *e = new_report(l, false);
	va_list ap;

	if (!e)
		return;
	eg_str_copy(e->file, sizeof(e->file), d ? d->name : EG_STR(SOURCE_ALL_FILES));
	snprintf(e->path, sizeof(e->path), "$");
	va_start(ap, format);
	vsnprintf(e->text, sizeof(e->text), format, ap);
	va_end(ap);
	redact(e);
}

/* ---- files ---- */
/* jansson's hash tables are seeded by us, because its own way opens /dev/urandom, which a process
 * without open() can't; once for the process. */
static void seed_json(void)
{
	size_t seed = 0;

	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != (ssize_t)sizeof(seed))
		seed ^= (size_t)&seed;
	json_object_seed(seed ? seed : 1);
}

/* jansson asks for a kilobyte at a time: 1 MiB takes it a tenth of a second of CPU, of which a
 * process may be given little. */
struct given {
	struct eg_str rest;
	const struct eg_policy_set *set;
};

static size_t give_text(void *buffer, size_t room, void *context)
{
	struct given *g = context;
	size_t n = EG_MIN(room, g->rest.n);

	set_busy(g->set);
	memcpy(buffer, g->rest.p, n);
	g->rest = (struct eg_str){g->rest.p + n, g->rest.n - n};
	return n;
}

static void parse(struct loading *l, struct document *d)
{
	struct given given = {d->text, l->set};
	json_error_t e;

	if (d->text.n > EG_POLICY_MAX_FILE_BYTES) {
		source_file_error(l, d, "the file has %zu bytes; expected at most %u", d->text.n,
				  EG_POLICY_MAX_FILE_BYTES);
		return;
	}
	if (!syntax_check(l, d))
		return;
	d->root = json_load_callback(give_text, &given, JSON_DECODE_ANY, &e);
	/* jansson says some failures of malloc with no text at all. */
	if (!d->root && (json_error_code(&e) == json_error_out_of_memory || !*e.text))
		l->out_of_memory = true;
	else if (!d->root)
		source_file_error(l, d, "not read as JSON: %s; expected what RFC 8259 says",
				  e.text);
}

static int by_name(const void *a, const void *b)
{
	const struct document *x = a, *y = b;
	size_t n = EG_MIN(x->name.n, y->name.n);
	int r = n ? memcmp(x->name.p, y->name.p, n) : 0;

	return r ? r : (x->name.n > y->name.n) - (x->name.n < y->name.n);
}

int source_open(struct loading *l, const struct eg_policy_file *files, size_t count)
{
	size_t total = 0;

	if (count > EG_POLICY_MAX_FILES) {
		source_file_error(l, NULL, "%zu files; expected at most %u", count,
				  EG_POLICY_MAX_FILES);
		return 0;
	}
	l->documents = calloc(count + 1, sizeof(*l->documents));
	if (!l->documents)
		return -ENOMEM;
	seed_json();
	for (size_t i = 0; i < count; i++) {
		l->documents[i] = (struct document){.name = files[i].name, .text = files[i].text};
		total += files[i].text.n;
	}
	l->document_count = count;
	if (count)
		qsort(l->documents, count, sizeof(*l->documents), by_name);
	if (total > EG_POLICY_MAX_TOTAL_BYTES) {
		source_file_error(l, NULL, "the files have %zu bytes together; expected at most %u",
				  total, EG_POLICY_MAX_TOTAL_BYTES);
		return 0;
	}
	for (size_t i = 0; i < count; i++) {
		struct document *d = &l->documents[i];
		struct place root = {.l = l, .document = d};

		parse(l, d);
		if (d->root && !source_check(&root, d->root, &eg_key_top)) {
			json_decref(d->root);
			d->root = NULL;
		}
	}
	return 0;
}

bool eg_policy_locate(const struct eg_policy_file *files, size_t count, const char *map,
		      const char *name, const char *key, struct eg_policy_error *out)
{
	for (size_t i = 0; i < count; i++) {
		struct loading l = {0}; /* what it remembers is of this document */
		struct document d = {.name = files[i].name, .text = files[i].text};
		struct place root = {.l = &l, .document = &d}, map_at = place_key(&root, map);
		struct place name_at = place_key(&map_at, name), at = place_key(&name_at, key);
		size_t depth, offset;

		offset = find_place(&at, false, &depth);
		if (offset == SIZE_MAX)
			continue;
		eg_str_copy(out->file, sizeof(out->file), d.name);
		render_path(&at, out->path, sizeof(out->path));
		line_and_column(&l, &d, offset, &out->line, &out->column);
		return true;
	}
	return false;
}

void source_close(struct loading *l)
{
	for (size_t i = 0; i < l->document_count; i++) {
		set_busy(l->set);
		json_decref(l->documents[i].root);
	}
	free(l->documents);
}

const char *source_dup(struct loading *l, const char *text)
{
	const char *copy = eg_arena_dup(&l->set->memory, eg_str_from(text));

	if (!copy)
		l->out_of_memory = true;
	return copy ? copy : "";
}

void *source_alloc(struct loading *l, size_t count, size_t size)
{
	void *p = eg_arena_zalloc(&l->set->memory, (count + 1) * size);

	if (!p)
		l->out_of_memory = true;
	return p;
}
