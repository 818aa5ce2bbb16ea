/* SPDX-License-Identifier: Apache-2.0 */
#include "base/redact.h"

/* What providers, clouds and forges begin their keys with, so that leaked ones can be found. */
static const struct eg_str prefixes[] = {
	EG_STR("sk-"),	 EG_STR("gsk_"),    EG_STR("xai-"),	   EG_STR("AIza"),
	EG_STR("AKIA"),	 EG_STR("ASIA"),    EG_STR("ABSK"),	   EG_STR("bedrock-api-key-"),
	EG_STR("hf_"),	 EG_STR("pplx-"),   EG_STR("nvapi-"),	   EG_STR("csk-"),
	EG_STR("r8_"),	 EG_STR("tgp_v1_"), EG_STR("ghp_"),	   EG_STR("gho_"),
	EG_STR("ghu_"),	 EG_STR("ghs_"),    EG_STR("github_pat_"), EG_STR("glpat-"),
	EG_STR("xoxb-"), EG_STR("xoxp-"),   EG_STR("eyJ"), /* a JWT */
};

/* The shortest of these keys have more; names and words that begin so have less. */
#define REST_MIN   16u
#define PREFIX_MIN 3u

static bool alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool prefix_begins(char c)
{
	switch (c) {
	case 'A':
	case 'b':
	case 'c':
	case 'e':
	case 'g':
	case 'h':
	case 'n':
	case 'p':
	case 'r':
	case 's':
	case 't':
	case 'x':
		return true;
	default:
		return false;
	}
}

/* Length of the key that `s` begins with, known by its mark; 0: none. */
static size_t marked_length(struct eg_str s)
{
	size_t n = 0;

	for (size_t i = 0; i < EG_ARRAY_SIZE(prefixes) && !n; i++)
		if (eg_str_starts(s, prefixes[i]))
			n = prefixes[i].n + REST_MIN;
	if (!n || n > s.n)
		return 0;
	for (size_t i = 0; i < s.n; i++) {
		if (alnum(s.p[i]) || s.p[i] == '-' || s.p[i] == '_' || s.p[i] == '.')
			continue;
		return i < n ? 0 : i;
	}
	return s.n;
}

/* The same of what begins at i, which is not the middle of a word. */
static size_t marked_at(struct eg_str s, size_t i)
{
	if (!prefix_begins(s.p[i]) || (i && alnum(s.p[i - 1])))
		return 0;
	return marked_length((struct eg_str){s.p + i, s.n - i});
}

/* Where the first key begins, before `cap`; its length in *n. `cap`: there is none. */
static size_t find_key(struct eg_str s, size_t from, size_t cap, size_t *n)
{
	for (size_t i = from; i < cap && s.n - i >= PREFIX_MIN + REST_MIN; i++) {
		*n = marked_at(s, i);
		if (*n)
			return i;
	}
	return cap;
}

struct eg_str eg_redact(struct eg_str s, size_t cap, char out[EG_REDACT_ROOM])
{
	static const struct eg_str mark = EG_STR(EG_REDACTED);
	size_t from = 0, at = 0, n = 0, key;

	cap = EG_MIN(EG_MIN(cap, s.n), (size_t)EG_REDACT_MAX);
	key = find_key(s, 0, cap, &n);
	if (key == cap)
		return s;
	/* The mark is shorter than any key: only one that begins near the cap goes beyond it. */
	for (;;) {
		memcpy(out + at, s.p + from, key - from);
		at += key - from;
		if (key == cap)
			break;
		memcpy(out + at, mark.p, mark.n);
		at += mark.n;
		from = EG_MIN(key + n, cap);
		key = find_key(s, from, cap, &n);
	}
	return (struct eg_str){out, at};
}

/* ---- keys without a mark ---- */
struct kinds {
	unsigned upper, lower, digit, changes;
};

static int kind(char c)
{
	return c >= 'A' && c <= 'Z' ? 1 : c >= 'a' && c <= 'z' ? 2 : c >= '0' && c <= '9' ? 3 : 0;
}

/* Length of the run at `s` of letters, digits and `more`, and what it is made of. */
static size_t run(struct eg_str s, const char *more, struct kinds *k)
{
	size_t i = 0;

	*k = (struct kinds){0};
	for (; i < s.n && (alnum(s.p[i]) || (s.p[i] && strchr(more, s.p[i]))); i++) {
		k->upper += s.p[i] >= 'A' && s.p[i] <= 'Z';
		k->lower += s.p[i] >= 'a' && s.p[i] <= 'z';
		k->digit += s.p[i] >= '0' && s.p[i] <= '9';
		k->changes +=
			i && kind(s.p[i]) && kind(s.p[i - 1]) && kind(s.p[i]) != kind(s.p[i - 1]);
	}
	return i;
}

/* Hex and base 62 have no other characters; base 64 has, as paths do, but keeps to no case. */
static size_t unmarked_length(struct eg_str s)
{
	struct kinds k;
	size_t n = run(s, "+/=", &k);

	if (n >= 32 && k.upper > 1 && k.lower > 1 && k.digit > 1)
		return n;
	/* The others of base 64 in URLs join words, too, which change case and digits less often.
	 */
	n = run(s, "-_", &k);
	if (n >= 32 && k.upper > 1 && k.lower > 1 && k.digit > 1 && k.changes * 5 >= n * 2)
		return n;
	n = run(s, "", &k);
	return n >= 24 && k.upper + k.lower > 1 && k.digit > 1 ? n : 0;
}

/* Length of the key that begins at i; 0: none. */
static size_t key_at(struct eg_str s, size_t i, bool unmarked)
{
	size_t n = marked_at(s, i);

	if (n || !unmarked || (i && alnum(s.p[i - 1])))
		return n;
	return unmarked_length((struct eg_str){s.p + i, s.n - i});
}

bool eg_redact_found(struct eg_str s, bool unmarked)
{
	for (size_t i = 0; i < s.n; i++)
		if (key_at(s, i, unmarked))
			return true;
	return false;
}

void eg_redact_text(char *text, bool unmarked)
{
	static const struct eg_str mark = EG_STR(EG_REDACTED);
	struct eg_str s = eg_str_from(text);
	size_t at = 0;

	for (size_t i = 0; i < s.n;) {
		size_t n = key_at(s, i, unmarked);

		if (n) { /* the mark is shorter than any key */
			memcpy(text + at, mark.p, mark.n);
			at += mark.n;
			i += n;
		} else {
			text[at++] = s.p[i++];
		}
	}
	text[at] = '\0';
}
