/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/json_text.h"

#include "proto/json_scan.h"
#include "proto/utf8.h"

static int hex(unsigned char ch)
{
	if (ch >= '0' && ch <= '9')
		return ch - '0';
	ch |= 0x20;
	return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

/* The value of "\uXXXX" at p, or -1. */
static int32_t unit(const unsigned char *p, size_t n)
{
	int32_t v = 0;

	if (n < 6 || p[0] != '\\' || p[1] != 'u')
		return -1;
	for (int i = 2; i < 6; i++) {
		int d = hex(p[i]);

		if (d < 0)
			return -1;
		v = v << 4 | d;
	}
	return v;
}

static size_t unicode_escape(const unsigned char *p, size_t n, uint32_t *c)
{
	int32_t high = unit(p, n), low;

	if (high < 0 || (high >= 0xdc00 && high <= 0xdfff))
		return 0;
	*c = (uint32_t)high;
	if (high < 0xd800 || high > 0xdbff)
		return 6;
	low = unit(p + 6, n - 6);
	if (low < 0xdc00 || low > 0xdfff)
		return 0;
	*c = 0x10000u + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
	return 12;
}

size_t eg_json_escape(const unsigned char *p, size_t n, uint32_t *c)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	uint32_t ignored;
	const char *at;

	if (!c)
		c = &ignored;
	if (n < 2 || p[0] != '\\' || !p[1])
		return 0;
	if (p[1] == 'u')
		return unicode_escape(p, n, c);
	at = strchr(from, p[1]);
	if (!at)
		return 0;
	*c = (unsigned char)to[at - from];
	return 2;
}

ssize_t eg_json_unescape(char *out, struct eg_str s)
{
	const unsigned char *p = (const unsigned char *)s.p;
	size_t n = 0, i = 0;

	while (i < s.n) {
		const char *next = memchr(s.p + i, '\\', s.n - i);
		size_t plain = next ? (size_t)(next - s.p) - i : s.n - i;
		uint32_t c;
		size_t step;

		memcpy(out + n, s.p + i, plain);
		n += plain;
		i += plain;
		if (i == s.n)
			break;
		step = eg_json_escape(p + i, s.n - i, &c);
		if (!step)
			return -EINVAL;
		n += eg_utf8_put(out + n, c);
		i += step;
	}
	return (ssize_t)n;
}

struct eg_str eg_json_string(struct eg_arena *a, struct eg_str raw)
{
	struct eg_str none = {NULL, 0};
	ssize_t n;
	char *out;

	if (raw.n < 2 || raw.p[0] != '"' || raw.p[raw.n - 1] != '"')
		return none;
	raw = (struct eg_str){raw.p + 1, raw.n - 2};
	out = eg_arena_alloc(a, raw.n + 1);
	if (!out)
		return none;
	n = eg_json_unescape(out, raw);
	if (n < 0)
		return none;
	out[n] = '\0';
	return (struct eg_str){out, (size_t)n};
}

struct wanted {
	struct eg_str key, raw;
	enum eg_json_type type;
};

static int match(void *ctx, const struct eg_json_member *m)
{
	struct wanted *w = ctx;

	if (eg_str_eq(m->key, w->key)) {
		w->raw = m->raw;
		w->type = m->type;
	}
	return 0; /* goes on: what is broken further on finds nothing either */
}

struct eg_str eg_json_get(struct eg_str text, const char *const *path, size_t depth)
{
	struct wanted w = {.raw = text, .type = EG_JSON_OBJECT};

	for (size_t i = 0; i < depth; i++) {
		struct eg_str object = w.raw;

		w.raw = (struct eg_str){NULL, 0};
		w.key = eg_str_from(path[i]);
		if (w.type != EG_JSON_OBJECT || eg_json_members(object, match, &w, NULL) ||
		    !w.raw.p)
			return (struct eg_str){NULL, 0};
	}
	return w.raw;
}

bool eg_json_u64(struct eg_str raw, uint64_t *out)
{
	if (raw.n > 1 && raw.p[0] == '0') /* not JSON's */
		return false;
	return !eg_str_u64(raw, out);
}
