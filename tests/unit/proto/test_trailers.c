/* SPDX-License-Identifier: Apache-2.0 */
/* Trailers: what is read of them, what is left out, what is no field section. */
#include "proto_test.h"

#include "proto/trailers.h"

static void good(void **state)
{
	struct eg_str lines = exact_copy(
		EG_STR("grpc-status: 0\r\nGrpc-Message:\r\nX-Sum: \t a b \r\nx-sum: \xc3\xa9\r\n"));
	struct eg_header out[4];
	size_t n = SIZE_MAX;

	assert_int_equal(eg_trailers_read(lines, out, 4, &n), 0);
	assert_int_equal(n, 4);
	assert_str(out[0].name, "grpc-status");
	assert_str(out[0].value, "0");
	assert_str(out[1].name, "Grpc-Message");
	assert_str(out[1].value, "");
	assert_str(out[2].value, "a b");
	assert_str(out[3].value, "\xc3\xa9");
	exact_free(lines);
	assert_int_equal(eg_trailers_read(EG_STR(""), out, 4, &n), 0);
	assert_int_equal(n, 0);
}

/* Each by itself, in any case, between two that may stay. */
static void left_out(void **state)
{
	static const char *const names[] = {
		"Transfer-Encoding",
		"content-length",
		"Host",
		"TE",
		"trailer",
		"connection",
		"Keep-Alive",
		"upgrade",
		"Authorization",
		"cookie",
		"Set-Cookie",
		"WWW-Authenticate",
		"cache-control",
		"Expect",
		"If-None-Match",
		"Location",
		"Retry-After",
		"Vary",
		"Content-Encoding",
		"content-type",
		"Content-Range",
		"date",
		"Proxy-Authenticate",
		"range",
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(names); i++) {
		struct eg_header out[3];
		char text[128];
		size_t n;

		snprintf(text, sizeof(text), "a: 1\r\n%s: chunked\r\nb: 2\r\n", names[i]);
		assert_int_equal(eg_trailers_read(eg_str_from(text), out, 3, &n), 0);
		if (n != 2)
			fail_msg("%s was kept", names[i]);
		assert_str(out[0].name, "a");
		assert_str(out[1].name, "b");
		/* They count all the same. */
		assert_int_equal(eg_trailers_read(eg_str_from(text), out, 2, &n), -ENOBUFS);
	}
}

static void bad(void **state)
{
	static const struct eg_str rows[] = {
#define ROW(s) {s, sizeof(s) - 1}
		ROW("a: 1"),	       ROW("a: 1\n"),	       ROW("a: 1\r\n\r\n"),
		ROW("\r\n"),	       ROW(": 1\r\n"),	       ROW(":status: 200\r\n"),
		ROW("a : 1\r\n"),      ROW("a\r\n"),	       ROW(" a: 1\r\n"),
		ROW("a: 1\r\n b\r\n"), ROW("a: \0\r\n"),       ROW("a: 1\r2\r\n"),
		ROW("a: \x7f\r\n"),    ROW("\xc3\xa9: 1\r\n"), ROW("\n"),
#undef ROW
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		struct eg_str lines = exact_copy(rows[i]);
		struct eg_header out[4];
		size_t n = SIZE_MAX;

		if (eg_trailers_read(lines, out, 4, &n) != -EINVAL)
			fail_msg("row %zu was read", i);
		assert_true(n <= 4);
		exact_free(lines);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good),
		cmocka_unit_test(left_out),
		cmocka_unit_test(bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
