/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/vendor.h"

#include "proto/json_scan.h"

struct eg_str eg_json_skip_space(struct eg_str s)
{
	while (s.n && (s.p[0] == ' ' || s.p[0] == '\t' || s.p[0] == '\n' || s.p[0] == '\r')) {
		s.p++;
		s.n--;
	}
	return s;
}

size_t eg_json_token_length(struct eg_str s)
{
	const char *quote;
	size_t from = 1, end, slashes;

	/* Half of what reading a large body cost, byte by byte: memchr looks at many at once. A
	 * quote is escaped when the run of backslashes before it is odd. */
	while (from < s.n && (quote = memchr(s.p + from, '"', s.n - from))) {
		end = (size_t)(quote - s.p);
		for (slashes = 0; end - slashes > 1 && s.p[end - slashes - 1] == '\\'; slashes++)
			;
		if (slashes % 2 == 0)
			return end + 1;
		from = end + 1;
	}
	return s.n;
}

/* The letter that begins at s.p, *n bytes long, as one of ASCII; -1: it is none. */
static int fold(struct eg_str s, size_t *n)
{
	unsigned char c = (unsigned char)s.p[0];

	*n = 1;
	if (c < 0x80)
		return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
	if (s.n >= 2 && !memcmp(s.p, "\xc5\xbf", 2)) { /* U+017F, a long s */
		*n = 2;
		return 's';
	}
	if (s.n >= 3 && !memcmp(s.p, "\xe2\x84\xaa", 3)) { /* U+212A, kelvin */
		*n = 3;
		return 'k';
	}
	return -1;
}

bool eg_json_key_folds(struct eg_str key, struct eg_str name)
{
	size_t i = 0, n;

	for (; key.n && i < name.n; i++) {
		if (fold(key, &n) != name.p[i])
			return false;
		key.p += n;
		key.n -= n;
	}
	return !key.n && i == name.n;
}

static bool ends_value(char c)
{
	return c == ',' || c == '}' || c == ']' || c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

size_t eg_json_value_length(struct eg_str s)
{
	size_t depth = 0, i = 0;

	while (i < s.n) {
		char c = s.p[i];

		if (c == '"') {
			i += eg_json_token_length((struct eg_str){s.p + i, s.n - i});
			if (!depth)
				return i;
			continue;
		}
		if (c == '{' || c == '[')
			depth++;
		else if ((c == '}' || c == ']') && depth && !--depth)
			return i + 1;
		else if (!depth && ends_value(c))
			return i;
		i++;
	}
	return i;
}

struct eg_str eg_json_member_of(struct eg_str object, const char *key)
{
	struct eg_str v = eg_json_get(object, &key, 1);

	return v.p && eg_str_eq(v, EG_STR("null")) ? (struct eg_str){0} : v;
}

struct eg_str eg_json_member_of2(struct eg_str object, const char *key, const char *key2)
{
	const char *const path[] = {key, key2};
	struct eg_str v = eg_json_get(object, path, 2);

	return v.p && eg_str_eq(v, EG_STR("null")) ? (struct eg_str){0} : v;
}

bool eg_json_is(struct eg_str value, const char *text)
{
	size_t n = strlen(text);

	return value.n == n + 2 && value.p[0] == '"' && !memcmp(value.p + 1, text, n);
}

bool eg_bytes_have(struct eg_str s, const char *needle)
{
	return s.n && memmem(s.p, s.n, needle, strlen(needle));
}
