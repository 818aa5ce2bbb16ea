/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON's own rules (RFC 8259), judged before jansson builds anything: jansson knows no path, says
 * nothing of what it expected, and repeats bytes of the file. What passes here it takes. Also
 * refused: a key that is there twice in one object after unescaping, a NUL, numbers that 64 bits do
 * not hold, more levels than EG_POLICY_MAX_DEPTH.
 */
#include "policy/source.h"

#include "proto/json_keys.h"
#include "proto/json_text.h"
#include "proto/utf8.h"

#define NUMBER_MAX 18u /* digits that an int64_t holds */

struct syntax {
	struct eg_str t;
	size_t i;
	struct eg_arena keys_text;
	struct eg_json_keys keys;
	bool broken; /* said, and where it stops */
};

static bool parse_value(struct syntax *s, const struct place *at, unsigned int depth);

static char peek(const struct syntax *s)
{
	return s->i < s->t.n ? s->t.p[s->i] : '\0';
}

static void skip_space(struct syntax *s)
{
	while (s->i < s->t.n && (s->t.p[s->i] == ' ' || s->t.p[s->i] == '\t' ||
				 s->t.p[s->i] == '\r' || s->t.p[s->i] == '\n'))
		s->i++;
}

/* "not valid JSON: <found>; expected <what>" at byte i. Never a byte of the text. */
static bool wrong(struct syntax *s, const struct place *at, const char *found, const char *expected)
{
	s->broken = true;
	source_error_at(at, s->i, "not valid JSON: %s; expected %s", found, expected);
	return false;
}

/* What stands where something else should: for a sentence. */
static const char *found_here(const struct syntax *s)
{
	unsigned char c = (unsigned char)peek(s);

	if (s->i >= s->t.n)
		return "the file ends here";
	switch (c) {
	case ',':
		return "a comma is here";
	case ':':
		return "a colon is here";
	case '}':
	case ']':
		return "a closing bracket is here";
	case '{':
	case '[':
		return "an opening bracket is here";
	case '"':
		return "a string is here";
	case '\'':
		return "a single quote is here";
	case '/':
	case '#':
		return "a comment is here";
	}
	return "something else is here";
}

/* ---- strings ---- */
static bool parse_escape(struct syntax *s, const struct place *at)
{
	uint32_t c;
	size_t n = eg_json_escape((const unsigned char *)s->t.p + s->i, s->t.n - s->i, &c);

	if (!n)
		return wrong(s, at, "a backslash that begins no escape, or half a surrogate pair",
			     "one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t or \\uXXXX");
	if (!c)
		return wrong(s, at, "\\u0000 is here", "text without NUL");
	s->i += n;
	return true;
}

/* The string at the position; its bytes without quotes in *raw. */
static bool parse_string(struct syntax *s, const struct place *at, struct eg_str *raw)
{
	size_t from = ++s->i;

	while (s->i < s->t.n && s->t.p[s->i] != '"') {
		const unsigned char *p = (const unsigned char *)s->t.p + s->i;
		size_t n = eg_utf8_length(p, s->t.n - s->i);

		if (*p < 0x20)
			return wrong(s, at, "a control character is in a string",
				     "it as an escape such as \\n or \\u001b");
		if (!n)
			return wrong(s, at, "a string is not UTF-8", "UTF-8");
		if (*p != '\\')
			s->i += n;
		else if (!parse_escape(s, at))
			return false;
	}
	if (s->i >= s->t.n)
		return wrong(s, at, "the file ends inside a string", "a closing quote");
	*raw = (struct eg_str){s->t.p + from, s->i - from};
	s->i++;
	return true;
}

/* ---- numbers and words ---- */
static size_t digits(struct syntax *s)
{
	size_t from = s->i;

	while (peek(s) >= '0' && peek(s) <= '9')
		s->i++;
	return s->i - from;
}

static bool parse_number(struct syntax *s, const struct place *at)
{
	size_t whole, fraction = 0, exponent = 0;
	bool zero;

	if (peek(s) == '-')
		s->i++;
	zero = peek(s) == '0';
	whole = digits(s);
	if (!whole || (zero && whole > 1))
		return wrong(s, at, "a number is not written as JSON writes it",
			     "digits without a leading zero or '+'");
	if (peek(s) == '.') {
		s->i++;
		fraction = digits(s);
		if (!fraction)
			return wrong(s, at, found_here(s), "digits after the decimal point");
	}
	if (peek(s) == 'e' || peek(s) == 'E') {
		s->i++;
		if (peek(s) == '+' || peek(s) == '-')
			s->i++;
		exponent = digits(s);
		if (!exponent)
			return wrong(s, at, found_here(s), "digits of the exponent");
	}
	if (whole > NUMBER_MAX || fraction > NUMBER_MAX || exponent > 2)
		return wrong(s, at, "a number is too large or too exact",
			     "at most 18 digits, and an exponent of at most 2");
	return true;
}

static bool parse_word(struct syntax *s, const struct place *at)
{
	static const struct eg_str words[] = {EG_STR("true"), EG_STR("false"), EG_STR("null")};
	static const char expected[] =
		"an object, an array, a string, a number, true, false or null";
	struct eg_str rest = {s->t.p + s->i, s->t.n - s->i};

	for (size_t i = 0; i < EG_ARRAY_SIZE(words); i++)
		if (eg_str_starts(rest, words[i])) {
			s->i += words[i].n;
			return true;
		}
	if (eg_str_starts(rest, EG_STR("NaN")) || eg_str_starts(rest, EG_STR("Infinity")))
		return wrong(s, at, "NaN and Infinity are no JSON", expected);
	return wrong(s, at, found_here(s), expected);
}

/* ---- what holds others ---- */
/* 0; -EEXIST when the object whose keys begin at `base` has it; -ENOMEM. */
static int remember_key(struct syntax *s, uint32_t base, struct eg_str raw, const char **text)
{
	char *out = eg_arena_alloc(&s->keys_text, raw.n + 1);
	ssize_t n = out ? eg_json_unescape(out, raw) : -ENOMEM;

	if (n < 0)
		return -ENOMEM;
	out[n] = '\0';
	*text = out;
	return eg_json_keys_add(&s->keys, base, (struct eg_str){out, (size_t)n});
}

static bool parse_member(struct syntax *s, const struct place *at, uint32_t base,
			 unsigned int depth)
{
	size_t key_at = s->i;
	const char *key = "";
	struct eg_str raw;
	struct place member;
	int r;

	if (peek(s) != '"')
		return wrong(s, at, found_here(s), "a key in double quotes");
	if (!parse_string(s, at, &raw))
		return false;
	r = remember_key(s, base, raw, &key);
	member = place_key(at, key);
	if (r == -EEXIST) {
		source_error_at(&member, key_at,
				"this key is in the object twice; expected each key once");
	} else if (r == -E2BIG) {
		return wrong(s, at, "more keys than anybody writes", "fewer in one object");
	} else if (r) {
		at->l->out_of_memory = s->broken = true;
		return false;
	}
	skip_space(s);
	if (peek(s) != ':')
		return wrong(s, &member, found_here(s), "a colon after the key");
	s->i++;
	skip_space(s);
	return parse_value(s, &member, depth);
}

/* After an element: a comma, and another follows. */
static bool another(struct syntax *s)
{
	skip_space(s);
	if (peek(s) != ',')
		return false;
	s->i++;
	skip_space(s);
	return true;
}

static bool parse_object(struct syntax *s, const struct place *at, unsigned int depth)
{
	uint32_t base = s->keys.count;

	set_busy(at->l->set);
	s->i++;
	skip_space(s);
	if (peek(s) == '}') {
		s->i++;
		return true;
	}
	do {
		if (!parse_member(s, at, base, depth))
			return false;
	} while (another(s));
	if (peek(s) != '}')
		return wrong(s, at, found_here(s), "a comma or '}'");
	s->i++;
	eg_json_keys_drop(&s->keys, base);
	return true;
}

static bool parse_array(struct syntax *s, const struct place *at, unsigned int depth)
{
	size_t n = 0;

	s->i++;
	skip_space(s);
	if (peek(s) == ']') {
		s->i++;
		return true;
	}
	do {
		struct place element = place_index(at, n++);

		if (!parse_value(s, &element, depth))
			return false;
	} while (another(s));
	if (peek(s) != ']')
		return wrong(s, at, found_here(s), "a comma or ']'");
	s->i++;
	return true;
}

static bool parse_value(struct syntax *s, const struct place *at, unsigned int depth)
{
	struct eg_str raw;
	char c = peek(s);

	if ((c == '{' || c == '[') && depth >= EG_POLICY_MAX_DEPTH) {
		s->broken = true;
		source_error_at(at, s->i, "nested too deeply; expected at most %u levels",
				EG_POLICY_MAX_DEPTH);
		return false;
	}
	if (c == '{')
		return parse_object(s, at, depth + 1);
	if (c == '[')
		return parse_array(s, at, depth + 1);
	if (c == '"')
		return parse_string(s, at, &raw);
	if (c == '-' || (c >= '0' && c <= '9'))
		return parse_number(s, at);
	return parse_word(s, at);
}

bool syntax_check(struct loading *l, const struct document *d)
{
	struct place root = {.l = l, .document = d};
	struct syntax s = {.t = d->text};

	eg_arena_init(&s.keys_text, 0);
	eg_json_keys_init(&s.keys);
	skip_space(&s);
	if (eg_str_starts(d->text, EG_STR("\xef\xbb\xbf")))
		wrong(&s, &root, "a byte order mark is here", "an object");
	else if (s.i >= s.t.n)
		wrong(&s, &root, "the file is empty", "an object");
	else if (parse_value(&s, &root, 0)) {
		skip_space(&s);
		if (s.i < s.t.n)
			wrong(&s, &root, found_here(&s), "nothing after the object");
	}
	eg_json_keys_fini(&s.keys);
	eg_arena_fini(&s.keys_text);
	return !s.broken;
}
