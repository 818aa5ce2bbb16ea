/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON reader against jansson over texts made here: generated ones that are right, and
 * mutations of them. The oracle is the fuzz target's (tests/fuzz/fuzz_json.c), which aborts where
 * the two readers disagree and it is not one of the differences it explains.
 */
#include "proto_test.h"

#include "../../fuzz/fuzz_json.c"

#define TEXTS	  3000
#define MUTATIONS 20

static char text[1 << 16];
static size_t length;
static uint64_t seed;

static size_t choose(size_t n)
{
	return next_random(&seed) % n;
}

static void put(const char *s)
{
	size_t n = strlen(s);

	memcpy(text + length, s, n);
	length += n;
}

static void space(void)
{
	static const char *const kinds[] = {
		"", "", "", " ", "\n    ", "\t", "\r\n                    "};

	put(kinds[choose(EG_ARRAY_SIZE(kinds))]);
}

static void string(void)
{
	static const char *const parts[] = {
		"a",
		"bc",
		"model",
		"0123456789abcdef0123456789abcdef",
		"\\n",
		"\\\"",
		"\\\\",
		"\\/",
		"\\u0041",
		"\\u00e4",
		"\\u20ac",
		"\\ud83d\\ude00",
		"\xc3\xa4",
		"\xe2\x82\xac",
		"\xf0\x9f\x98\x80",
		" ",
		"{",
		"]",
		",",
		"\x7f",
		"\\b\\f\\r\\t",
		"\\u0000",
	};

	put("\"");
	for (size_t n = choose(6); n; n--)
		put(parts[choose(EG_ARRAY_SIZE(parts))]);
	put("\"");
}

static void value(int depth);

static void object(int depth)
{
	size_t n = choose(depth ? 8 : 30);
	char key[40];

	put("{");
	for (size_t i = 0; i < n; i++) {
		space();
		if (choose(4)) {
			snprintf(key, sizeof(key), "\"k%zu\"", choose(8) ? i : choose(30));
			put(key);
		} else {
			string();
		}
		space();
		put(":");
		space();
		value(depth + 1);
		space();
		if (i + 1 < n)
			put(",");
	}
	put("}");
}

static void value(int depth)
{
	static const char *const scalars[] = {"null",	 "true",	 "false", "0",
					      "-0",	 "12",		 "-1.5",  "1e5",
					      "1.25E-3", "123456789012", "1e400"};

	if (length > sizeof(text) / 2 || depth > 20 || choose(3) == 0) {
		put(scalars[choose(EG_ARRAY_SIZE(scalars))]);
		return;
	}
	switch (choose(4)) {
	case 0:
		object(depth);
		break;
	case 1:
		put("[");
		for (size_t n = choose(6), i = 0; i < n; i++) {
			space();
			value(depth + 1);
			space();
			if (i + 1 < n)
				put(",");
		}
		put("]");
		break;
	default:
		string();
		break;
	}
}

/* One small change: a byte flipped, set, dropped, doubled, two swapped, a piece copied. */
static size_t mutate(char *out)
{
	static const char bytes[] = "\"\\{}[]:,0-.eu \n\x00\x1f\x80\xff";
	size_t n = length, at = choose(n), other = choose(n), piece;

	memcpy(out, text, n);
	switch (choose(6)) {
	case 0:
		out[at] = (char)(out[at] ^ 1 << choose(8));
		break;
	case 1:
		out[at] = bytes[choose(sizeof(bytes) - 1)];
		break;
	case 2:
		memmove(out + at, out + at + 1, n - at - 1);
		n--;
		break;
	case 3:
		memmove(out + at + 1, out + at, n - at);
		n++;
		break;
	case 4:
		out[at] = text[other];
		out[other] = text[at];
		break;
	default:
		piece = EG_MIN(choose(30), n - EG_MAX(at, other));
		memcpy(out + at, text + other, piece);
		break;
	}
	return n;
}

static int ignore(void *ctx, const struct eg_json_member *m)
{
	return 0;
}

static void generated_and_mutated(void **state)
{
	static char changed[sizeof(text) + 1];
	size_t right = 0, wrong = 0;

	seed = 20250101;
	for (int i = 0; i < TEXTS; i++) {
		length = 0;
		space();
		object(0);
		space();
		LLVMFuzzerTestOneInput((const uint8_t *)text, length);
		for (int k = 0; k < MUTATIONS; k++) {
			size_t n = mutate(changed);

			LLVMFuzzerTestOneInput((const uint8_t *)changed, n);
			if (eg_json_members((struct eg_str){changed, n}, ignore, NULL, NULL))
				wrong++;
			else
				right++;
		}
	}
	/* both kinds, or this has tested nothing */
	print_message("%zu mutations were still right, %zu were not\n", right, wrong);
	assert_true(right > TEXTS && wrong > TEXTS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(generated_and_mutated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
