/* SPDX-License-Identifier: Apache-2.0 */
/* Targets, authorities, hosts and queries. */
#include "proto_test.h"

#include "proto/uri.h"

static struct eg_arena arena;

static int parse(const char *text, struct eg_target *t)
{
	struct eg_str copy = exact_copy(eg_str_from(text));
	int r;

	memset(t, 0x5a, sizeof(*t));
	r = eg_target_parse(&arena, copy, t);
	exact_free(copy);
	if (!r) /* once more over bytes that stay */
		assert_int_equal(eg_target_parse(&arena, eg_str_from(text), t), 0);
	else
		assert_int_equal(t->port, 0x5a5a); /* untouched */
	return r;
}

static void origin_form(void **state)
{
	struct eg_target t;

	assert_int_equal(parse("/v1/chat%20a?x=%2f&include[]=b?c", &t), 0);
	assert_false(t.absolute);
	assert_str(t.scheme, "");
	assert_str(t.host, "");
	assert_str(t.path, "/v1/chat%20a");
	assert_str(t.query, "x=%2f&include[]=b?c");
	assert_str(t.decoded, "/v1/chat a");
	assert_int_equal(t.port, 0);
	assert_int_equal(parse("/", &t), 0);
	assert_str(t.path, "/");
	assert_str(t.query, "");
	assert_int_equal(parse("/a/", &t), 0);
	assert_int_equal(parse("/v1beta/models/gemini-2.5:generateContent?alt=sse", &t), 0);
	assert_str(t.decoded, "/v1beta/models/gemini-2.5:generateContent");
	assert_int_equal(parse("/%C3%A4/...%20/a..b/.c/d.", &t), 0);
	assert_str(t.decoded, "/\xc3\xa4/... /a..b/.c/d.");
}

static void absolute_form(void **state)
{
	struct eg_target t;

	assert_int_equal(parse("HTTPS://Api.Example.:8443/v1?q", &t), 0);
	assert_true(t.absolute);
	assert_str(t.scheme, "https");
	assert_str(t.host, "Api.Example");
	assert_int_equal(t.port, 8443);
	assert_str(t.path, "/v1");
	assert_str(t.query, "q");
	assert_int_equal(parse("http://a.example", &t), 0);
	assert_str(t.path, "/");
	assert_str(t.decoded, "/");
	assert_int_equal(parse("http://a.example?x=1", &t), 0);
	assert_str(t.path, "/");
	assert_str(t.query, "x=1");
	assert_int_equal(parse("http://[2001:db8::1]:80/", &t), 0);
	assert_str(t.host, "[2001:db8::1]");
	assert_int_equal(t.port, 80);
}

static void invalid_targets(void **state)
{
	static const char *const bad[] = {
		"",
		"*",
		"a.example:443",
		"a.example",
		"v1/chat",
		"?a",
		"#",
		"ftp://a.example/",
		"http:/a.example/",
		"http://",
		"http:///x",
		"https://:443/",
		"http://user@a.example/",
		"http://user:pw@a.example/",
		"http://a.example:0/",
		"http://a.example:/",
		"http://a.example:65536/",
		"http://a b/",
		"http://[::1/",
		"/a#b",
		"/a?b#c",
		"/a b",
		"/a\tb",
		"/a\x7f",
		"/a\x80",
		"/\xc3\xa4",
		"/a\"",
		"/a<",
		"/a>",
		"/a\\b",
		"/a^b",
		"/a`b",
		"/a{b}",
		"/a|b",
		"/a[b]",
		"/%",
		"/%2",
		"/%zz",
		"/%2",
		"/a%g0",
		"/a%0g",
		"/%00",
		"/a%00b",
		"/a?%",
		"/a?x=%4",
		"/a?x=%zz",
		"/a?x=%00",
		"/a?x={",
		"/a?x=\"",
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++) {
		struct eg_target t;
		int r = parse(bad[i], &t);

		if (r != -EINVAL)
			print_message("%s: %d\n", bad[i], r);
		assert_int_equal(r, -EINVAL);
	}
	{
		struct eg_target t = {.port = 0};

		assert_int_equal(eg_target_parse(&arena, (struct eg_str){"/a\0b", 4}, &t), -EINVAL);
	}
}

static void unsafe_paths(void **state)
{
	static const char *const bad[] = {
		"/.",
		"/..",
		"/./",
		"/../",
		"/a/.",
		"/a/..",
		"/a/./b",
		"/a/../b",
		"/%2e",
		"/%2E%2e/x",
		"/.%2e/x",
		"/a/%2e/b",
		"/a/.%2E",
		"/a%2fb",
		"/a%2Fb",
		"/%2f",
		"/a%5cb",
		"/a%5Cb",
		"/..%2fx",
		"/..%5cx",
		"//",
		"//a",
		"/a//b",
		"/a//",
		"//evil.example/x",
		"/a%01",
		"/a%1f",
		"/a%7f",
		"/a%0d%0ab",
		"/a%09",
		"/..;/x",
		"/..;a=b/x",
		"/.;x",
		"/a/%2e%2e;/b",
		"/..%3b/x",
		"/%252e%252e/x",
		"/a%252fb",
		"/%25%32%65",
		"/a%25%34%31",
		"/%c0%af",
		"/%e0%80%af",
		"/%c0%ae%c0%ae/",
		"/%ff",
		"/%80",
		"/%ed%a0%80",
		"/%c3",
		"http://a.example/../x",
		"http://a.example//x",
	};
	static const char *const fine[] = {
		"/a%25",
		"/100%25/x",
		"/a%25z",
		"/a;b",
		"/a;/b",
		"/a..;/b",
		"/...",
		"/a/b/",
		"/%20",
		"/a%3Fb",
		"/a%23b",
		"/%f0%9f%98%80",
		"/a?x=//..%2f..%5c%0d%0a/../b",
	};
	struct eg_target t;

	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++) {
		int r = parse(bad[i], &t);

		if (r != -EPERM)
			print_message("%s: %d\n", bad[i], r);
		assert_int_equal(r, -EPERM);
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(fine); i++) {
		int r = parse(fine[i], &t);

		if (r)
			print_message("%s: %d\n", fine[i], r);
		assert_int_equal(r, 0);
	}
}

static void target_memory(void **state)
{
	struct eg_arena tiny;
	struct eg_target t;

	eg_arena_init(&tiny, 1);
	assert_int_equal(eg_target_parse(&tiny, EG_STR("/a"), &t), -ENOMEM);
	eg_arena_fini(&tiny);
}

static void authorities(void **state)
{
	static const struct {
		const char *text, *host;
		uint16_t port;
	} good[] = {
		{"a.example", "a.example", 0},
		{"A.Example:443", "A.Example", 443},
		{"a.example.", "a.example", 0},
		{"a.example.:1", "a.example", 1},
		{"localhost:65535", "localhost", 65535},
		{"a_b.c", "a_b.c", 0},
		{"127.0.0.1:80", "127.0.0.1", 80},
		{"[::1]", "[::1]", 0},
		{"[2001:DB8::1]:8443", "[2001:DB8::1]", 8443},
		{"[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]", 0},
	};
	static const char *const bad[] = {
		"",
		":",
		":80",
		"a.example:",
		"a.example:x",
		"a.example:0",
		"a.example:65536",
		"a.example:080",
		"a.example:123456",
		"a.example:+1",
		"a.example: 1",
		"a.example:1 ",
		"a..b",
		".a",
		".",
		"-a.b",
		"a-.b",
		"a b",
		"a,b",
		"a@b",
		"a/b",
		"a%62",
		"a:1:2",
		"::1",
		"[::1",
		"[]",
		"[::1]x",
		"[::1]:",
		"[a]",
		"[1.2.3.4]",
		"[::1%25eth0]",
		"\xc3\xa4.b",
	};
	struct eg_str host;
	uint16_t port;

	for (size_t i = 0; i < EG_ARRAY_SIZE(good); i++) {
		host = (struct eg_str){NULL, 0};
		assert_int_equal(eg_authority_parse(eg_str_from(good[i].text), &host, &port), 0);
		assert_true(eg_str_eq(host, eg_str_from(good[i].host)));
		assert_int_equal(port, good[i].port);
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++) {
		struct eg_str copy = exact_copy(eg_str_from(bad[i]));
		int r = eg_authority_parse(copy, &host, &port);

		if (r != -EINVAL)
			print_message("%s: %d\n", bad[i], r);
		assert_int_equal(r, -EINVAL);
		exact_free(copy);
	}
	assert_int_equal(eg_authority_parse((struct eg_str){"a\0b", 3}, &host, &port), -EINVAL);
}

static void addresses(void **state)
{
	static const char *const ip[] = {
		"127.0.0.1",	      "127.1",	   "0x7f.1",   "0X7F000001", "2130706433",
		"017700000001",	      "0",	   "1.2.3.4.", "0x",	     "a.1",
		"256.1.1.1",	      "1.2.3.4.5", "::1",      "[::1]",	     "fe80::1%eth0",
		"[::ffff:127.0.0.1]", "::",
	};
	static const char *const no[] = {
		"",    "a.example", "a",     "1.a",	   "0xg",	"1.0xg",    "a.0x1g",
		"[a]", "[",	    "]",     "[]",	   "a:b",	"1.2.3.4a", "..",
		".",   "deadbeef",  "x.y:1", "1.2.3.4:80", "[1.2.3.4]",
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(ip); i++) {
		if (!eg_host_is_ip(eg_str_from(ip[i])))
			print_message("row %zu\n", i);
		assert_true(eg_host_is_ip(eg_str_from(ip[i])));
		assert_false(eg_host_valid(eg_str_from(ip[i])));
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(no); i++) {
		if (eg_host_is_ip(eg_str_from(no[i])))
			print_message("row %zu\n", i);
		assert_false(eg_host_is_ip(eg_str_from(no[i])));
	}
}

static void names(void **state)
{
	static const char *const good[] = {
		"a",	       "a.example",  "A-1.b_c.Example", "xn--bcher-kva.example",
		"_sip._tcp.a", "a.example.", "1a.2b",		"a.0xg"};
	static const char *const bad[] = {"",	   ".",	  "a..b", ".a",	 "-a",	"a-",
					  "a.-b",  "a b", "a*b",  "*.a", "a/b", "a:1",
					  "a\x80", "a,b", "a%62", "a..", "a\n"};
	char label[260];

	for (size_t i = 0; i < EG_ARRAY_SIZE(good); i++)
		assert_true(eg_host_valid(eg_str_from(good[i])));
	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++) {
		if (eg_host_valid(eg_str_from(bad[i])))
			print_message("row %zu\n", i);
		assert_false(eg_host_valid(eg_str_from(bad[i])));
	}
	assert_false(eg_host_valid((struct eg_str){"a\0b", 3}));
	memset(label, 'a', sizeof(label));
	assert_true(eg_host_valid((struct eg_str){label, 63}));
	assert_false(eg_host_valid((struct eg_str){label, 64}));
	for (size_t i = 50; i < sizeof(label); i += 51)
		label[i] = '.';
	assert_true(eg_host_valid((struct eg_str){label, 253}));
	assert_false(eg_host_valid((struct eg_str){label, 254}));
	label[253] = '.'; /* the dot at the end is not counted */
	assert_true(eg_host_valid((struct eg_str){label, 254}));
}

static void queries(void **state)
{
	static const struct {
		const char *query, *out;
	} rows[] = {
		{"", ""},
		{"key=1", ""},
		{"a=1", "a=1"},
		{"a=1&key=2&b=3", "a=1&b=3"},
		{"key=1&a=1", "a=1"},
		{"a=1&key", "a=1"},
		{"a=1&KEY=x&Key=y&%6beY=z&b", "a=1&b"},
		{"%6B%65%79=1", ""},
		{"a=1;key=2;b=3&access_token=x", "a=1;b=3"},
		{"a=key&keys=1&ke=2&xkey=3", "a=key&keys=1&ke=2&xkey=3"},
		{"a=1&key=b=c&d", "a=1&d"},
		{"a=&=b&key=", "a=&=b"},
		{"%256bey=1", "%256bey=1"},
		{"a=1&&b=2&", "a=1&&b=2&"},
		{"alt=sse&key=AIza", "alt=sse"},
	};
	static const struct eg_str drop[] = {{"key", 3}, {"access_token", 12}};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		struct eg_str copy = exact_copy(eg_str_from(rows[i].query));
		struct eg_str out = eg_query_without(&arena, copy, drop, 2);

		if (!eg_str_eq(out, eg_str_from(rows[i].out)))
			print_message("%s: %.*s\n", rows[i].query, EG_STR_ARG(out));
		assert_non_null(out.p);
		assert_true(eg_str_eq(out, eg_str_from(rows[i].out)));
		exact_free(copy);
	}
	struct eg_arena tiny;

	eg_arena_init(&tiny, 1);
	assert_null(eg_query_without(&tiny, EG_STR("a"), drop, 2).p);
	eg_arena_fini(&tiny);
}

static void query_values(void **state)
{
	static const struct {
		const char *query;
		int result;
		const char *value;
	} rows[] = {
		{"", -ENOENT, NULL},
		{"a=1", -ENOENT, NULL},
		{"models=x", -ENOENT, NULL},
		{"model=gpt-4o", 0, "gpt-4o"},
		{"a=1&mode%6C=g%70t;b=2", 0, "gpt"},
		{"MODEL=x", 0, "x"}, /* a reader that ignores case would take it */
		{"model=", 0, ""},
		{"model=a=b", 0, "a=b"},
		{"model=%C3%A9", 0, "\xc3\xa9"},
		{"model", -EINVAL, NULL},
		{"model=a&model=a", -EINVAL, NULL},
		{"model=a;Model=b", -EINVAL, NULL},
		{"model=a+b", -EINVAL, NULL},
		{"model=a%2", -EINVAL, NULL},
		{"model=%zz", -EINVAL, NULL},
		{"model=a%2541", -EINVAL, NULL},
		{"model=a%00", -EINVAL, NULL},
		{"model=a%0a", -EINVAL, NULL},
		{"model=%ff", -EINVAL, NULL},
		{"model=%c0%af", -EINVAL, NULL},
	};
	struct eg_arena tiny;
	struct eg_str out;

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		struct eg_str copy = exact_copy(eg_str_from(rows[i].query)), value = {NULL, 0};
		int r = eg_query_value(&arena, copy, EG_STR("model"), &value);

		if (r != rows[i].result || (!r && !eg_str_eq(value, eg_str_from(rows[i].value))))
			fail_msg("%s: %d %.*s", rows[i].query, r, EG_STR_ARG(value));
		exact_free(copy);
	}
	out = eg_query_with(&arena, EG_STR("a=1"), EG_STR("model"), EG_STR("x y&z=\xc3\xa9/1:2"));
	assert_true(eg_str_eq(out, EG_STR("a=1&model=x%20y%26z%3D%C3%A9/1:2")));
	out = eg_query_with(&arena, EG_STR(""), EG_STR("model"), EG_STR("m"));
	assert_true(eg_str_eq(out, EG_STR("model=m")));
	eg_arena_init(&tiny, 1);
	assert_int_equal(eg_query_value(&tiny, EG_STR("model=abc"), EG_STR("model"), &out),
			 -ENOMEM);
	assert_null(eg_query_with(&tiny, EG_STR("a"), EG_STR("b"), EG_STR("c")).p);
	eg_arena_fini(&tiny);
}

static int setup(void **state)
{
	eg_arena_init(&arena, 0);
	return 0;
}

static int teardown(void **state)
{
	eg_arena_fini(&arena);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(origin_form),	   cmocka_unit_test(absolute_form),
		cmocka_unit_test(invalid_targets), cmocka_unit_test(unsafe_paths),
		cmocka_unit_test(target_memory),   cmocka_unit_test(authorities),
		cmocka_unit_test(addresses),	   cmocka_unit_test(names),
		cmocka_unit_test(queries),	   cmocka_unit_test(query_values),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
