/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON reader against jansson: both take a text or neither does, but for the differences that
 * explained() lists; and they find the same members, types and strings at every depth. The text
 * comes whole: of one that is good no beginning is, but for white space at the end.
 */
#include <jansson.h>

#include "fuzz.h"
#include "proto/json_scan.h"

struct side {
	json_t *object;
	size_t members;
};

static void compare(struct eg_str text, json_t *object);

static void compare_value(const struct eg_json_member *m, json_t *v)
{
	struct eg_arena arena;
	uint64_t number;

	switch (m->type) {
	case EG_JSON_NULL:
		FUZZ_CHECK(json_is_null(v));
		break;
	case EG_JSON_FALSE:
		FUZZ_CHECK(json_is_false(v));
		break;
	case EG_JSON_TRUE:
		FUZZ_CHECK(json_is_true(v));
		break;
	case EG_JSON_NUMBER:
		FUZZ_CHECK(json_is_number(v));
		if (eg_json_u64(m->raw, &number))
			FUZZ_CHECK((double)number == json_number_value(v));
		break;
	case EG_JSON_STRING: {
		struct eg_str s;

		FUZZ_CHECK(json_is_string(v));
		eg_arena_init(&arena, 0);
		s = eg_json_string(&arena, m->raw);
		FUZZ_CHECK(s.p && s.n == json_string_length(v));
		FUZZ_CHECK(!memcmp(s.p, json_string_value(v), s.n));
		eg_arena_fini(&arena);
		break;
	}
	case EG_JSON_ARRAY:
		FUZZ_CHECK(json_is_array(v));
		break;
	case EG_JSON_OBJECT:
		FUZZ_CHECK(json_is_object(v));
		compare(m->raw, v);
		break;
	}
}

static int member(void *ctx, const struct eg_json_member *m)
{
	struct side *s = ctx;
	char *key = malloc(m->key.n + 1);
	json_t *v;

	if (!key)
		abort();
	memcpy(key, m->key.p, m->key.n);
	key[m->key.n] = '\0';
	v = json_object_get(s->object, key);
	FUZZ_CHECK(v);
	compare_value(m, v);
	s->members++;
	free(key);
	return 0;
}

static void compare(struct eg_str text, json_t *object)
{
	struct side s = {.object = object};
	struct eg_error e;

	FUZZ_CHECK(!eg_json_members(text, member, &s, &e));
	FUZZ_CHECK(s.members == json_object_size(object));
}

static int nothing(void *ctx, const struct eg_json_member *m)
{
	FUZZ_CHECK(m->raw.p && m->raw.n);
	return 0;
}

/* How deep brackets nest outside strings. */
static size_t depth_of(const char *p, size_t n)
{
	size_t depth = 0, deepest = 0;
	bool string = false;

	for (size_t i = 0; i < n; i++) {
		if (string && p[i] == '\\')
			i++;
		else if (p[i] == '"')
			string = !string;
		else if (!string && (p[i] == '{' || p[i] == '['))
			deepest = EG_MAX(deepest, ++depth);
		else if (!string && (p[i] == '}' || p[i] == ']'))
			depth -= depth > 0;
	}
	return deepest;
}

/* The known differences. */
static bool explained(bool ours, json_t *theirs, const json_error_t *why, const char *p, size_t n)
{
	if (ours) /* jansson computes numbers, and has no NUL in keys */
		return json_error_code(why) == json_error_numeric_overflow ||
		       json_error_code(why) == json_error_null_byte_in_key;
	/* jansson also swallows a NUL byte that follows a number. */
	return !json_is_object(theirs) || depth_of(p, n) > 128 || memchr(p, '\0', n);
}

static bool blank(const char *p, size_t n)
{
	while (n && strchr(" \t\r\n", *p) && *p) {
		p++;
		n--;
	}
	return !n;
}

static void beginnings(const char *bytes, size_t size, bool good)
{
	uint64_t seed = fuzz_seed((const uint8_t *)bytes, size);

	for (size_t n = fuzz_step(&seed, size); n < size; n += fuzz_step(&seed, size - n)) {
		char *part = fuzz_copy(bytes, n);
		struct eg_error e = {.text = ""};
		int r = eg_json_members((struct eg_str){part, n}, nothing, NULL, &e);

		FUZZ_CHECK(!r || (r == -EINVAL && e.text[0]));
		FUZZ_CHECK(r || good == blank(bytes + n, size - n));
		free(part);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const path[] = {"a", "b"};
	char *bytes = fuzz_copy(data, size);
	struct eg_str text = {bytes, size};
	struct eg_error e = {.text = ""};
	json_error_t why;
	struct eg_str got;
	json_t *theirs;
	int r;

	json_object_seed(1);
	theirs = json_loadb(bytes, size,
			    JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL |
				    JSON_DECODE_ANY,
			    &why);
	r = eg_json_members(text, nothing, NULL, &e);
	FUZZ_CHECK(!r || (r == -EINVAL && e.text[0]));
	if (!r != !!theirs)
		FUZZ_CHECK(explained(!r, theirs, &why, bytes, size));
	else if (!r)
		compare(text, theirs);
	got = eg_json_get(text, path, 2);
	FUZZ_CHECK(!got.p || !r);
	if (theirs && !r)
		FUZZ_CHECK(!!got.p == !!json_object_get(json_object_get(theirs, "a"), "b"));
	if (size < 4096)
		beginnings(bytes, size, !r);
	json_decref(theirs);
	free(bytes);
	return 0;
}
