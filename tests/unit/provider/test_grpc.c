/* SPDX-License-Identifier: Apache-2.0 */
/* What a gRPC client is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "provider/grpc.h"

static void test_content(void **state)
{
	static const char *const yes[] = {"application/grpc",	    "Application/GRPC",
					  "application/grpc+proto", "application/grpc+json; a=b",
					  "application/grpc;x",	    "application/grpc ; x"};
	static const char *const no[] = {"",
					 "application/grpc-web",
					 "application/grpc-web+proto",
					 "application/grpcx",
					 "application/json",
					 "application/grp"};

	for (size_t i = 0; i < EG_ARRAY_SIZE(yes); i++)
		assert_true(eg_grpc_content(eg_str_from(yes[i])));
	for (size_t i = 0; i < EG_ARRAY_SIZE(no); i++)
		assert_false(eg_grpc_content(eg_str_from(no[i])));
	(void)state;
}

/* The table of http-grpc-status-mapping.md. */
static void test_status(void **state)
{
	static const struct {
		unsigned int http;
		const char *grpc;
	} rows[] = {{400, "13"}, {401, "16"}, {403, "7"}, {404, "12"}, {429, "14"}, {502, "14"},
		    {503, "14"}, {504, "14"}, {413, "2"}, {408, "2"},  {500, "2"},  {0, "2"}};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++)
		assert_string_equal(eg_grpc_status(rows[i].http), rows[i].grpc);
	(void)state;
}

static void test_message(void **state)
{
	static const struct {
		struct eg_str text;
		const char *out;
	} rows[] = {
		{EG_STR(""), ""},
		{EG_STR("It's plain; \"~\""), "It's plain; \"~\""},
		{EG_STR("100%\r\n\x7f"), "100%25%0D%0A%7F"},
		{EG_STR("\xc3\xa9t\xc3\xa9"), "%C3%A9t%C3%A9"},
		{EG_STR("a\0b"), "a%00b"},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		struct eg_buf out;

		eg_buf_init(&out, 100);
		assert_int_equal(eg_grpc_message(&out, rows[i].text), 0);
		assert_int_equal(out.length, strlen(rows[i].out));
		if (out.length)
			assert_memory_equal(eg_buf_data(&out), rows[i].out, out.length);
		eg_buf_fini(&out);
	}
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_content),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
