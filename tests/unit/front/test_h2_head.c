/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of an HTTP/2 request to the text of an HTTP/1.1 head. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "front/h2_head.h"
#include "proto/h1.h"

#define M ":method\0GET\0"
#define S ":scheme\0https\0"
#define A ":authority\0api.openai.com\0"
#define P ":path\0/v1/models\0"

/* `fields`: name NUL value NUL ..., to an empty name. */
static enum h2_head_verdict compose(struct h2_head *h, const char *fields, bool body)
{
	h2_head_init(h);
	while (*fields) {
		const char *value = fields + strlen(fields) + 1;

		h2_head_field(h, eg_str_from(fields), eg_str_from(value));
		fields = value + strlen(value) + 1;
	}
	return h2_head_end(h, body);
}

static void test_text(void **state)
{
	static const struct {
		const char *fields, *text;
		bool body;
	} cases[] = {
		{M S A P, "GET /v1/models HTTP/1.1\r\nhost: api.openai.com\r\n\r\n", false},
		{M S P "host\0api.openai.com\0",
		 "GET /v1/models HTTP/1.1\r\nhost: api.openai.com\r\n\r\n", false},
		{M S A P "host\0API.openai.com\0",
		 "GET /v1/models HTTP/1.1\r\nhost: api.openai.com\r\n\r\n", false},
		{M S A P "host\0api.openai.com:443\0",
		 "GET /v1/models HTTP/1.1\r\nhost: api.openai.com\r\n\r\n", false},
		{P A S M "a\0001\0b\0\0",
		 "GET /v1/models HTTP/1.1\r\nhost: api.openai.com\r\na: 1\r\nb: \r\n\r\n", false},
		{M S A P,
		 "GET /v1/models HTTP/1.1\r\nhost: api.openai.com\r\n"
		 "transfer-encoding: chunked\r\n\r\n",
		 true},
		{M S A P "content-length\0005\0",
		 "GET /v1/models HTTP/1.1\r\nhost: api.openai.com\r\ncontent-length: 5\r\n\r\n",
		 true},
		{M S A P "cookie\0a=1\0x\0001\0cookie\0b=2\0te\0trailers\0",
		 "GET /v1/models HTTP/1.1\r\nhost: api.openai.com\r\nx: 1\r\nte: trailers\r\n"
		 "cookie: a=1; b=2\r\n\r\n",
		 false},
		{":method\0OPTIONS\0" S A ":path\0*\0",
		 "OPTIONS * HTTP/1.1\r\nhost: api.openai.com\r\n\r\n", false},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct h2_head h;

		assert_int_equal(compose(&h, cases[i].fields, cases[i].body), H2_HEAD_OK);
		assert_int_equal(h.text.length, strlen(cases[i].text));
		assert_memory_equal(eg_buf_data(&h.text), cases[i].text, h.text.length);
		h2_head_fini(&h);
	}
	(void)state;
}

static void test_malformed(void **state)
{
	static const char *const cases[] = {
		"",
		M,
		M S,
		S A P,
		M A P,
		M S A,
		M S A P M,
		M S A A P,
		M S A P "a\0001\0:path\0/x\0",
		M S A P ":protocol\0websocket\0",
		M S A P ":status\000200\0",
		M S A P ":\0x\0",
		M S A P "A\0001\0",
		M S A P "a b\0001\0",
		M S A P "a:\0001\0",
		M S A P "\x80\0001\0",
		M S A P "a\r\nb\0001\0",
		M S A P "a\0 x\0",
		M S A P "a\0x\t\0",
		M S A P "a\0x\ny\0",
		M S A P "a\0x\ry\0",
		M S A P "connection\0close\0",
		M S A P "keep-alive\0001\0",
		M S A P "proxy-connection\0x\0",
		M S A P "transfer-encoding\0chunked\0",
		M S A P "upgrade\0h2c\0",
		M S A P "te\0gzip\0",
		M S A P "te\0trailers, gzip\0",
		M S A P "host\0other.example\0",
		M S A P "host\0api.openai.com:80\0",
		M S A P "host\0api.openai.com:8443\0",
		M S A P "host\0:443\0",
		M S A P "host\0api.openai.com\0host\0api.openai.com\0",
		":method\0\0" S A P,
		":method\0G T\0" S A P,
		":method\0GET /x HTTP/1.1\r\n\0" S A P,
		":method\0CONNECT\0" A,
		":method\0CONNECT\0" S A P,
		M ":scheme\0\0" A P,
		M ":scheme\0ftp\0" A P,
		M S ":authority\0\0" P,
		M S ":authority\0user@api.openai.com\0" P,
		M S ":authority\0a b\0" P,
		M S A ":path\0\0",
		M S A ":path\0models\0",
		M S A ":path\0*\0",
		M S A ":path\0/a b\0",
		M S A ":path\0/\x7f\0",
		M S A ":path\0/\xc3\xa9\0",
		M S A ":path\0/ HTTP/1.1\r\nx: y\0",
		M S A ":path\0https://api.openai.com/v1/models\0",
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct h2_head h;

		if (compose(&h, cases[i], false) != H2_HEAD_MALFORMED)
			fail_msg("case %zu was taken", i);
		assert_non_null(h.wrong);
		h2_head_fini(&h);
	}
	(void)state;
}

/* NUL can't be written in the tables above. */
static void test_nul(void **state)
{
	static const char *const names[] = {":path", "x"};

	for (size_t i = 0; i < EG_ARRAY_SIZE(names); i++) {
		struct h2_head h;

		h2_head_init(&h);
		h2_head_field(&h, EG_STR(":method"), EG_STR("GET"));
		h2_head_field(&h, eg_str_from(names[i]), EG_STR("/a\0b"));
		assert_int_equal(h2_head_end(&h, false), H2_HEAD_MALFORMED);
		h2_head_fini(&h);
	}
	(void)state;
}

/* What is left to the HTTP/1.1 reader is refused there. */
static void test_the_reader_judges_the_rest(void **state)
{
	static const struct {
		const char *fields;
		enum eg_reason reason;
	} cases[] = {
		{M S P, EG_REASON_BAD_REQUEST}, /* no host */
		{M S A P "a\0\x01\0", EG_REASON_BAD_REQUEST},
		{M S A P "a\0\x7f\0", EG_REASON_BAD_REQUEST},
		{M S ":authority\0a/b\0" P, EG_REASON_BAD_REQUEST},
		{M S A P "content-length\0x\0", EG_REASON_SMUGGLING},
		{M S A P "content-length\0001\0content-length\0001\0", EG_REASON_SMUGGLING},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		static struct eg_h1_head head;
		struct eg_h1_scan scan = {0};
		enum eg_reason reason = EG_REASON_OK;
		struct h2_head h;

		assert_int_equal(compose(&h, cases[i].fields, false), H2_HEAD_OK);
		assert_int_equal(eg_h1_parse_request(&scan, eg_buf_str(&h.text),
						     &eg_h1_default_limits, &head, &reason),
				 EG_IO_FAIL);
		assert_int_equal(reason, cases[i].reason);
		h2_head_fini(&h);
	}
	(void)state;
}

static void test_list_limit(void **state)
{
	static char value[1000];
	struct h2_head h;
	size_t fields = 0;

	memset(value, 'x', sizeof(value));
	h2_head_init(&h);
	h2_head_field(&h, EG_STR(":method"), EG_STR("GET"));
	while (h.verdict == H2_HEAD_OK) {
		h2_head_field(&h, EG_STR(":path"), EG_STR("")); /* also what is malformed counts */
		h.verdict = h.verdict == H2_HEAD_MALFORMED ? H2_HEAD_OK : h.verdict;
		h2_head_field(&h, EG_STR("x"), (struct eg_str){value, sizeof(value)});
		h.verdict = h.verdict == H2_HEAD_MALFORMED ? H2_HEAD_OK : h.verdict;
		assert_true(++fields < 100);
	}
	assert_int_equal(h.verdict, H2_HEAD_TOO_LARGE);
	assert_int_equal(h2_head_end(&h, false), H2_HEAD_TOO_LARGE);
	h2_head_fini(&h);
	(void)state;
}

static void test_trailers(void **state)
{
	static char value[1000];
	struct h2_head h;

	h2_head_init(&h);
	assert_null(h2_trailer(&h, EG_STR("x-checksum"), EG_STR("1")));
	assert_non_null(h2_trailer(&h, EG_STR(":path"), EG_STR("/")));
	assert_non_null(h2_trailer(&h, EG_STR("X"), EG_STR("1")));
	assert_non_null(h2_trailer(&h, EG_STR(""), EG_STR("1")));
	assert_non_null(h2_trailer(&h, EG_STR("x"), EG_STR("1\r\n")));
	assert_non_null(h2_trailer(&h, EG_STR("connection"), EG_STR("close")));
	memset(value, 'x', sizeof(value));
	for (int i = 0; i < 60; i++)
		assert_null(h2_trailer(&h, EG_STR("x"), (struct eg_str){value, sizeof(value)}));
	for (int i = 0; i < 10; i++)
		(void)h2_trailer(&h, EG_STR("x"), (struct eg_str){value, sizeof(value)});
	assert_non_null(h2_trailer(&h, EG_STR("x"), EG_STR("1")));
	h2_head_fini(&h);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_the_reader_judges_the_rest),
		cmocka_unit_test(test_list_limit),
		cmocka_unit_test(test_trailers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
