/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON reader: what it takes, what it refuses and where, duplicates, size, and its helpers. */
#include "proto_test.h"

#include "proto/json_scan.h"

struct seen {
	char text[2048];
	size_t n, members;
	int stop_at, stop_with;
};

static int note(void *ctx, const struct eg_json_member *m)
{
	struct seen *s = ctx;

	s->n += (size_t)snprintf(s->text + s->n, sizeof(s->text) - s->n, "%.*s=%d:%.*s|",
				 EG_STR_ARG(m->key), (int)m->type, EG_STR_ARG(m->raw));
	return (int)++s->members == s->stop_at ? s->stop_with : 0;
}

static int count(void *ctx, const struct eg_json_member *m)
{
	++*(size_t *)ctx;
	return 0;
}

static struct eg_error error;

/* However small the pieces are, it is read as at once. */
static void assert_in_pieces(struct eg_str text, int r, const struct seen *s)
{
	struct seen other = {.stop_at = s->stop_at, .stop_with = s->stop_with};
	struct eg_error e = {""};
	int code = -EAGAIN;

	for (size_t piece = 1; piece < 16; piece += 7) {
		struct eg_json_reading *reading;

		memset(&other, 0, offsetof(struct seen, stop_at));
		e.text[0] = '\0';
		reading = eg_json_begin(text, note, &other, &e);
		assert_non_null(reading);
		for (size_t i = 0; i <= text.n + 1; i++) {
			size_t budget = piece;

			code = eg_json_go_on(reading, &budget);
			if (code != -EAGAIN)
				break;
			assert_int_equal(budget, 0);
		}
		eg_json_end(reading);
		assert_int_equal(code, r);
		assert_string_equal(e.text, error.text);
		assert_string_equal(other.text, s->text);
	}
}

static int scan(struct eg_str text, struct seen *s)
{
	struct eg_str copy = exact_copy(text);
	int r;

	memset(s, 0, offsetof(struct seen, stop_at));
	error.text[0] = '\0';
	r = eg_json_members(copy, note, s, &error);
	assert_in_pieces(copy, r, s);
	exact_free(copy);
	return r;
}

static int note_and_wait(void *ctx, const struct eg_json_member *m)
{
	int r = note(ctx, m);

	return r ? r : -EAGAIN;
}

/* Between two members it waits for whoever wants to look at one. */
static void callback_pauses(void **state)
{
	static const struct eg_str text = EG_STR("{\"a\":1,\"b\":{\"c\":[]} , \"d\":\"x\"}");
	static const char *const seen[] = {"a=3:1|", "a=3:1|b=6:{\"c\":[]}|",
					   "a=3:1|b=6:{\"c\":[]}|d=4:\"x\"|"};
	struct seen s = {.stop_at = 0};
	struct eg_json_reading *reading = eg_json_begin(text, note_and_wait, &s, NULL);
	size_t budget = SIZE_MAX;

	assert_non_null(reading);
	for (size_t i = 0; i < EG_ARRAY_SIZE(seen); i++) {
		assert_int_equal(eg_json_go_on(reading, &budget), -EAGAIN);
		assert_string_equal(s.text, seen[i]);
	}
	assert_int_equal(eg_json_go_on(reading, &budget), 0);
	assert_int_equal(s.members, 3);
	eg_json_end(reading);
	(void)state;
}

static void members_in_order(void **state)
{
	struct seen s = {.stop_at = 0};

	assert_int_equal(
		scan(EG_STR(" \t\r\n{ \"a\" : 1 ,\n\"b\":\"x\",\"c\":[1,{\"a\":2}],\"d\":{\"a\":"
			    "null},\"e\":true,\"f\":false,\"g\":null,\"\":-0.5e+1 } \n"),
		     &s),
		0);
	assert_string_equal(s.text, "a=3:1|b=4:\"x\"|c=5:[1,{\"a\":2}]|d=6:{\"a\":null}|e=2:true|"
				    "f=1:false|g=0:null|=3:-0.5e+1|");
	assert_int_equal(scan(EG_STR("{}"), &s), 0);
	assert_int_equal(s.members, 0);
	assert_int_equal(scan(EG_STR("{\"a\":{},\"b\":[],\"c\":\"\"}"), &s), 0);
	assert_string_equal(s.text, "a=6:{}|b=5:[]|c=4:\"\"|");
}

static void keys_are_unescaped(void **state)
{
	struct seen s = {.stop_at = 0};

	assert_int_equal(scan(EG_STR("{\"mod\\u0065l\":1,\"\\\"\\\\\\/\\b\\f\\n\\r\\t\":2,"
				     "\"\\ud83d\\ude00\\u00e4\\u20ac\":3}"),
			      &s),
			 0);
	assert_string_equal(
		s.text, "model=3:1|\"\\/\b\f\n\r\t=3:2|\xf0\x9f\x98\x80\xc3\xa4\xe2\x82\xac=3:3|");
}

static void callback_stops(void **state)
{
	struct seen s = {.stop_at = 2, .stop_with = -ECANCELED};

	/* what comes after is not read */
	assert_int_equal(scan(EG_STR("{\"a\":1,\"b\":2,broken"), &s), -ECANCELED);
	assert_int_equal(s.members, 2);
	s.stop_with = 7;
	assert_int_equal(scan(EG_STR("{\"a\":1,\"b\":2}"), &s), 7);
}

struct wrong {
	const char *text;
	const char *what; /* the beginning of the sentence */
};

static void check_wrong(const struct wrong *rows, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct seen s = {.stop_at = 0};
		int r = scan(eg_str_from(rows[i].text), &s);

		if (r != -EINVAL ||
		    !eg_str_starts(eg_str_from(error.text), eg_str_from(rows[i].what)))
			print_message("%s: %d %s\n", rows[i].text, r, error.text);
		assert_int_equal(r, -EINVAL);
		assert_true(eg_str_starts(eg_str_from(error.text), eg_str_from(rows[i].what)));
	}
}

static void structure_errors(void **state)
{
	static const struct wrong rows[] = {
		{"", "JSON ends at byte 0: expected an object"},
		{"  ", "JSON ends at byte 2: expected an object"},
		{"[]", "JSON, byte 0: expected an object"},
		{"\"a\"", "JSON, byte 0: expected an object"},
		{"1", "JSON, byte 0: expected an object"},
		{"null", "JSON, byte 0: expected an object"},
		{"\xef\xbb\xbf{}", "JSON, byte 0: a byte order mark"},
		{"{", "JSON ends at byte 1: expected a key"},
		{"{\"a\"", "JSON ends at byte 4: expected ':'"},
		{"{\"a\":", "JSON ends at byte 5: expected a value"},
		{"{\"a\":1", "JSON ends at byte 6: an object is not ended"},
		{"{\"a\":1,", "JSON ends at byte 7: expected a key"},
		{"{\"a\":[", "JSON ends at byte 6: expected a value"},
		{"{\"a\":[1", "JSON ends at byte 7: an array is not ended"},
		{"{\"a\":1,}", "JSON, byte 7: expected a key"},
		{"{,}", "JSON, byte 1: expected a key"},
		{"{a:1}", "JSON, byte 1: expected a key"},
		{"{'a':1}", "JSON, byte 1: expected a key"},
		{"{1:1}", "JSON, byte 1: expected a key"},
		{"{\"a\" 1}", "JSON, byte 5: expected ':'"},
		{"{\"a\"::1}", "JSON, byte 5: expected a value"},
		{"{\"a\":1 \"b\":2}", "JSON, byte 7: expected ',' or '}'"},
		{"{\"a\":1]", "JSON, byte 6: expected ',' or '}'"},
		{"{\"a\":[1}", "JSON, byte 7: expected ',' or ']'"},
		{"{\"a\":[1,]}", "JSON, byte 8: expected a value"},
		{"{\"a\":[,1]}", "JSON, byte 6: expected a value"},
		{"{\"a\":[1 2]}", "JSON, byte 8: expected ',' or ']'"},
		{"{} {}", "JSON, byte 3: bytes after the value"},
		{"{}x", "JSON, byte 2: bytes after the value"},
		{"{}}", "JSON, byte 2: bytes after the value"},
		{"{}\f", "JSON, byte 2: bytes after the value"},
		{"{\"a\":/**/1}", "JSON, byte 5: expected a value"},
		{"{\v}", "JSON, byte 1: expected a key"},
		{"{\"a\":\xc2\xa0"
		 "1}",
		 "JSON, byte 5: expected a value"},
	};
	struct seen s = {.stop_at = 0};

	check_wrong(rows, EG_ARRAY_SIZE(rows));
	assert_int_equal(scan((struct eg_str){"{}\0", 3}, &s), -EINVAL);
	assert_int_equal(scan((struct eg_str){"\0{}", 3}, &s), -EINVAL);
	assert_int_equal(eg_json_members((struct eg_str){NULL, 0}, note, &s, NULL), -EINVAL);
}

static void scalar_errors(void **state)
{
	static const struct wrong rows[] = {
		{"{\"a\":01}", "JSON, byte 6: a number with a leading zero"},
		{"{\"a\":-01}", "JSON, byte 7: a number with a leading zero"},
		{"{\"a\":-}", "JSON, byte 6: expected a digit"},
		{"{\"a\":+1}", "JSON, byte 5: expected a value"},
		{"{\"a\":.5}", "JSON, byte 5: expected a value"},
		{"{\"a\":1.}", "JSON, byte 7: expected a digit"},
		{"{\"a\":1.e1}", "JSON, byte 7: expected a digit"},
		{"{\"a\":1e}", "JSON, byte 7: expected a digit"},
		{"{\"a\":1e+}", "JSON, byte 8: expected a digit"},
		{"{\"a\":1", "JSON ends at byte 6"},
		{"{\"a\":1e", "JSON ends at byte 7: expected a digit"},
		{"{\"a\":0x1}", "JSON, byte 6: expected ',' or '}'"},
		{"{\"a\":1_0}", "JSON, byte 6: expected ',' or '}'"},
		{"{\"a\":12345678:}", "JSON, byte 13: expected ',' or '}'"},
		{"{\"a\":1234567/}", "JSON, byte 12: expected ',' or '}'"},
		{"{\"a\":NaN}", "JSON, byte 5: expected a value"},
		{"{\"a\":Infinity}", "JSON, byte 5: expected a value"},
		{"{\"a\":tru}", "JSON, byte 5: expected a value"},
		{"{\"a\":True}", "JSON, byte 5: expected a value"},
		{"{\"a\":truex}", "JSON, byte 9: expected ',' or '}'"},
		{"{\"a\":nul", "JSON, byte 5: expected a value"},
		{"{\"a\":fals", "JSON, byte 5: expected a value"},
		{"{\"a\":undefined}", "JSON, byte 5: expected a value"},
	};
	struct seen s = {.stop_at = 0};
	static const char *const good[] = {
		"0",	"-0",  "1",	"12345678",  "123456789012345678901234567890",
		"0.0",	"1e1", "1E+10", "-1.5e-300", "0e0",
		"1e999"};

	check_wrong(rows, EG_ARRAY_SIZE(rows));
	for (size_t i = 0; i < EG_ARRAY_SIZE(good); i++) {
		char text[64];

		snprintf(text, sizeof(text), "{\"a\":%s}", good[i]);
		assert_int_equal(scan(eg_str_from(text), &s), 0);
	}
}

static void string_errors(void **state)
{
	static const struct wrong rows[] = {
		{"{\"a", "JSON ends at byte 3: a string is not ended"},
		{"{\"a\":\"b}", "JSON ends at byte 8: a string is not ended"},
		{"{\"a\":\"b\\\"}", "JSON ends at byte 10: a string is not ended"},
		{"{\"a\":\"\n\"}", "JSON, byte 6: a control character in a string"},
		{"{\"a\":\"\x1f\"}", "JSON, byte 6: a control character in a string"},
		{"{\"a\t\":1}", "JSON, byte 3: a control character in a string"},
		{"{\"a\":\"0123456789abcdef0123456789\x01\"}",
		 "JSON, byte 32: a control character"},
		{"{\"a\":\"\\x\"}", "JSON, byte 6: a bad escape"},
		{"{\"a\":\"\\'\"}", "JSON, byte 6: a bad escape"},
		{"{\"a\":\"\\u12\"}", "JSON, byte 6: a bad escape"},
		{"{\"a\":\"\\u12g4\"}", "JSON, byte 6: a bad escape"},
		{"{\"a\":\"\\U0041\"}", "JSON, byte 6: a bad escape"},
		{"{\"a\":\"\\", "JSON, byte 6: a bad escape"},
		{"{\"a\":\"\\ud800\"}", "JSON, byte 6: a bad escape, or half"},
		{"{\"a\":\"\\ud800x\"}", "JSON, byte 6: a bad escape, or half"},
		{"{\"a\":\"\\ud800\\n\"}", "JSON, byte 6: a bad escape, or half"},
		{"{\"a\":\"\\ud800\\ud800\"}", "JSON, byte 6: a bad escape, or half"},
		{"{\"a\":\"\\ud800\\u0041\"}", "JSON, byte 6: a bad escape, or half"},
		{"{\"a\":\"\\udc00\"}", "JSON, byte 6: a bad escape, or half"},
		{"{\"a\":\"\x80\"}", "JSON, byte 6: invalid UTF-8"},
		{"{\"a\":\"\xc3\"}", "JSON, byte 6: invalid UTF-8"},
		{"{\"a\":\"\xc0\xaf\"}", "JSON, byte 6: invalid UTF-8"},
		{"{\"a\":\"\xc1\xbf\"}", "JSON, byte 6: invalid UTF-8"},
		{"{\"a\":\"\xe0\x80\xaf\"}", "JSON, byte 6: invalid UTF-8"},
		{"{\"a\":\"\xed\xa0\x80\"}", "JSON, byte 6: invalid UTF-8"},
		{"{\"a\":\"\xf0\x80\x80\xaf\"}", "JSON, byte 6: invalid UTF-8"},
		{"{\"a\":\"\xf4\x90\x80\x80\"}", "JSON, byte 6: invalid UTF-8"},
		{"{\"a\":\"\xf5\x80\x80\x80\"}", "JSON, byte 6: invalid UTF-8"},
		{"{\"a\":\"\xff\"}", "JSON, byte 6: invalid UTF-8"},
		{"{\"a\":\"\xc3\xa4\xe2\x82\"}", "JSON, byte 8: invalid UTF-8"},
		{"{\"a\":\"\xe2\x82", "JSON, byte 6: invalid UTF-8"},
		{"{\"\xff\":1}", "JSON, byte 2: invalid UTF-8"},
	};
	struct seen s = {.stop_at = 0};

	check_wrong(rows, EG_ARRAY_SIZE(rows));
	assert_int_equal(scan((struct eg_str){"{\"a\":\"\0\"}", 9}, &s), -EINVAL);
	assert_int_equal(
		scan(EG_STR("{\"a\":"
			    "\"\\u0000\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80"
			    "\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"}"),
		     &s),
		0);
	/* a stop at every place of the vectors */
	for (size_t at = 0; at < 70; at++) {
		char text[100];
		int n = snprintf(text, sizeof(text), "{\"a\":\"%*s", (int)at, "");

		snprintf(text + n, sizeof(text) - (size_t)n, "\\n%s\"}", "zzzzzzzzzzzzzzz");
		assert_int_equal(scan(eg_str_from(text), &s), 0);
		text[n] = '\x02';
		assert_int_equal(scan(eg_str_from(text), &s), -EINVAL);
		text[n] = '\x85';
		assert_int_equal(scan(eg_str_from(text), &s), -EINVAL);
	}
}

static void duplicates(void **state)
{
	static const struct wrong rows[] = {
		{"{\"a\":1,\"a\":2}", "JSON, byte 8: a key that its object has already"},
		{"{\"model\":1,\"mod\\u0065l\":2}", "JSON, byte 12: a key that"},
		{"{\"\\u006d\":1,\"\\u006D\":2}", "JSON, byte 13: a key that"},
		{"{\"\":1,\"\":2}", "JSON, byte 7: a key that"},
		{"{\"x\":{\"a\":1,\"b\":2,\"a\":3}}", "JSON, byte 19: a key that"},
		{"{\"x\":[[{\"a\":1,\"a\":3}]]}", "JSON, byte 15: a key that"},
		{"{\"x\":{\"y\":{\"z\":1}},\"x\":1}", "JSON, byte 20: a key that"},
		{"{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":2}", "JSON, byte 19: a key that"},
		{"{\"\\/\":1,\"/\":2}", "JSON, byte 9: a key that"},
		{"{\"a\\u0000\":1,\"a\\u0000\":2}", "JSON, byte 14: a key that"},
		{"{\"0123456789abcdef\":1,\"0123456789abcdef\":2}", "JSON, byte 23: a key that"},
		{"{\"0123456789abcdefg\":1,\"0123456789abcde\\u0066g\":2}",
		 "JSON, byte 24: a key that"},
	};
	static const char *const good[] = {
		"{\"a\":1,\"A\":2}",
		"{\"a\":{\"a\":{\"a\":1}}}",
		"{\"a\":[{\"a\":1},{\"a\":1}]}",
		"{\"a\":1,\"a\\u0000\":2,\"\":3,\"\\u0000\":4}",
		"{\"0123456789abcdefg\":1,\"0123456789abcdefh\":2,\"0123456789abcdef\":3}",
		"{\"a\\\\n\":1,\"a\\n\":2}",
	};
	struct seen s = {.stop_at = 0};

	check_wrong(rows, EG_ARRAY_SIZE(rows));
	for (size_t i = 0; i < EG_ARRAY_SIZE(good); i++)
		assert_int_equal(scan(eg_str_from(good[i]), &s), 0);
}

/* Objects around the size where a table takes over, inside each other, with the duplicate anywhere.
 */
static void duplicates_in_large_objects(void **state)
{
	for (int keys = 1; keys < 80; keys++)
		for (int twin = -1; twin < keys; twin += 1 + keys / 7) {
			char *text = malloc(100000);
			size_t n = 0, members = 0;
			int r;

			assert_non_null(text);
			n += (size_t)sprintf(text, "{");
			for (int outer = 0; outer < keys; outer++) {
				n += (size_t)sprintf(text + n, "%s\"key%d\":{", outer ? "," : "",
						     outer);
				for (int inner = 0; inner < 20; inner++)
					n += (size_t)sprintf(text + n, "%s\"key%d\":%d",
							     inner ? "," : "", inner, inner);
				n += (size_t)sprintf(text + n, "}");
			}
			if (twin >= 0)
				n += (size_t)sprintf(text + n, ",\"k\\u0065y%d\":1", twin);
			n += (size_t)sprintf(text + n, "}");
			r = eg_json_members((struct eg_str){text, n}, count, &members, &error);
			assert_int_equal(r, twin >= 0 ? -EINVAL : 0);
			assert_int_equal(members, keys);
			free(text);
		}
}

static char *many_keys(size_t keys, size_t *n)
{
	char *text = malloc(keys * 40 + 10);

	assert_non_null(text);
	*n = (size_t)sprintf(text, "{");
	for (size_t i = 0; i < keys; i++) {
		text[(*n)++] = i ? ',' : ' ';
		*n += (size_t)sprintf(text + *n, "\"%zx\":1", i);
	}
	text[(*n)++] = '}';
	return text;
}

static void many(void **state)
{
	size_t n, members = 0;
	char *text = many_keys(262144, &n);

	assert_int_equal(eg_json_members((struct eg_str){text, n}, count, &members, &error), 0);
	assert_int_equal(members, 262144);
	free(text);
	text = many_keys(1000000, &n);
	assert_int_equal(eg_json_members((struct eg_str){text, n}, count, &members, &error),
			 -EINVAL);
	assert_non_null(strstr(error.text, "more than 262144 keys"));
	free(text);
	/* as many in objects one after another are nothing special */
	text = many_keys(300000, &n);
	for (size_t at = 0, commas = 0; at < n; at++) /* parts it into objects of 100 keys */
		if (text[at] == ',' && ++commas % 100 == 0)
			text[at] = '|';
	char *parted = malloc(n * 2 + 100);
	size_t m = 0;

	assert_non_null(parted);
	m += (size_t)sprintf(parted, "{\"a\":[");
	for (size_t at = 0; at < n; at++) {
		if (text[at] != '|') {
			parted[m++] = text[at];
			continue;
		}
		memcpy(parted + m, "},{", 3);
		m += 3;
	}
	memcpy(parted + m, "]}", 2);
	members = 0;
	assert_int_equal(eg_json_members((struct eg_str){parted, m + 2}, count, &members, &error),
			 0);
	assert_int_equal(members, 1);
	free(parted);
	free(text);
}

static void depth(void **state)
{
	char text[1000];
	struct seen s = {.stop_at = 0};

	for (int levels = 126; levels <= 130; levels++) {
		size_t n = (size_t)sprintf(text, "{\"a\":");

		for (int i = 1; i < levels; i++)
			text[n++] = '[';
		for (int i = 1; i < levels; i++)
			text[n++] = ']';
		text[n++] = '}';
		assert_int_equal(scan((struct eg_str){text, n}, &s), levels > 128 ? -EINVAL : 0);
		if (levels > 128)
			assert_non_null(strstr(error.text, "nested deeper than 128"));
	}
}

static void no_error_wanted(void **state)
{
	size_t n = 0;

	assert_int_equal(eg_json_members(EG_STR("{\"secret\":1,\"secret\":2}"), count, &n, NULL),
			 -EINVAL);
	assert_int_equal(eg_json_members(EG_STR("{\"secret\":1,\"secret\":2}"), count, &n, &error),
			 -EINVAL);
	assert_null(strstr(error.text, "secret")); /* no byte of a body in a message */
}

static void every_prefix_fails(void **state)
{
	struct eg_str text =
		EG_STR("{\"a\":[1.5e3,\"\\ud83d\\ude00\xe2\x82\xac\",{\"b\":null}],\"c\":true}");
	struct seen s = {.stop_at = 0};

	for (size_t n = 0; n < text.n; n++)
		assert_int_equal(scan((struct eg_str){text.p, n}, &s), -EINVAL);
	assert_int_equal(scan(text, &s), 0);
}

static void strings(void **state)
{
	struct eg_arena a, tiny;
	struct eg_str s;

	eg_arena_init(&a, 0);
	assert_str(eg_json_string(&a, EG_STR("\"\"")), "");
	assert_str(eg_json_string(&a, EG_STR("\"abc\"")), "abc");
	s = eg_json_string(&a, EG_STR("\"a\\u0000\\n\\ud83d\\ude00\\\"\""));
	assert_str(s, "a\0\n\xf0\x9f\x98\x80\"");
	assert_int_equal(s.p[s.n], 0);
	assert_null(eg_json_string(&a, EG_STR("abc")).p);
	assert_null(eg_json_string(&a, EG_STR("\"")).p);
	assert_null(eg_json_string(&a, EG_STR("")).p);
	assert_null(eg_json_string(&a, EG_STR("\"\\\"")).p);
	assert_null(eg_json_string(&a, EG_STR("\"\\ud800\"")).p);
	assert_null(eg_json_string(&a, EG_STR("\"\\q\"")).p);
	assert_null(eg_json_string(&a, EG_STR("123")).p);
	eg_arena_init(&tiny, 1);
	assert_null(eg_json_string(&tiny, EG_STR("\"a\"")).p);
	eg_arena_fini(&tiny);
	eg_arena_fini(&a);
}

static void paths(void **state)
{
	static const char *const usage[] = {"usage", "prompt_tokens"};
	static const char *const deep[] = {"a", "b", "c"};
	struct eg_str text =
		EG_STR("{\"x\":{\"prompt_tokens\":1},\"us\\u0061ge\":{\"prompt_tokens\": 42 ,"
		       "\"n\":null},\"a\":{\"b\":{\"c\":[1]}}}");

	assert_str(eg_json_get(text, usage, 2), "42");
	assert_str(eg_json_get(text, deep, 3), "[1]");
	assert_str(eg_json_get(text, deep, 2), "{\"c\":[1]}");
	assert_int_equal(eg_json_get(text, deep, 0).n, text.n);
	assert_null(eg_json_get(text, deep + 1, 1).p);
	assert_null(eg_json_get(EG_STR("{\"usage\":[1]}"), usage, 2).p); /* not an object */
	assert_null(eg_json_get(EG_STR("{\"usage\":\"{}\"}"), usage, 2).p);
	assert_null(eg_json_get(EG_STR("{\"usage\":{\"prompt_tokens\":1}"), usage, 2)
			    .p); /* malformed */
	assert_null(eg_json_get(EG_STR("{\"usage\":{\"prompt_tokens\":1}} x"), usage, 2).p);
	assert_null(eg_json_get(EG_STR("{\"usage\":{\"prompt_tokens\":1,\"prompt_tokens\":2}}"),
				usage, 2)
			    .p);
	assert_null(eg_json_get(EG_STR("[DONE]"), usage, 2).p);
	assert_null(eg_json_get((struct eg_str){NULL, 0}, usage, 2).p);
}

static void integers(void **state)
{
	uint64_t v = 7;

	assert_true(eg_json_u64(EG_STR("0"), &v));
	assert_int_equal(v, 0);
	assert_true(eg_json_u64(EG_STR("18446744073709551615"), &v));
	assert_true(v == UINT64_MAX);
	assert_false(eg_json_u64(EG_STR("18446744073709551616"), &v));
	assert_false(eg_json_u64(EG_STR("-1"), &v));
	assert_false(eg_json_u64(EG_STR("1.0"), &v));
	assert_false(eg_json_u64(EG_STR("1e3"), &v));
	assert_false(eg_json_u64(EG_STR("007"), &v));
	assert_false(eg_json_u64(EG_STR("\"1\""), &v));
	assert_false(eg_json_u64(EG_STR("null"), &v));
	assert_false(eg_json_u64((struct eg_str){NULL, 0}, &v));
}

/* One object or array, by the same rules. */
static void test_check(void **state)
{
	static const struct {
		const char *text;
		bool good;
	} cases[] = {
		{"{}", true},
		{"[]", true},
		{" [1,{\"a\":[]}] ", true},
		{"{\"a\":1}", true},
		{"[{\"a\":1},{\"a\":2}]", true},
		{"", false},
		{"1", false},
		{"\"a\"", false},
		{"[1,]", false},
		{"[1", false},
		{"[1]]", false},
		{"[1}", false},
		{"{\"a\"}", false},
		{"[{\"a\":1,\"a\":2}]", false},
		{"{\"a\":1,\"\\u0061\":2}", false},
		{"[] []", false},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(cases); i++) {
		struct eg_str text = exact_copy(eg_str_from(cases[i].text));
		struct eg_error e = {""};

		if (eg_json_check(text, &e) != (cases[i].good ? 0 : -EINVAL))
			fail_msg("%s: %s", cases[i].text, e.text);
		assert_int_equal(cases[i].good, !*e.text);
		exact_free(text);
	}
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_in_order),
		cmocka_unit_test(keys_are_unescaped),
		cmocka_unit_test(callback_stops),
		cmocka_unit_test(callback_pauses),
		cmocka_unit_test(structure_errors),
		cmocka_unit_test(scalar_errors),
		cmocka_unit_test(string_errors),
		cmocka_unit_test(duplicates),
		cmocka_unit_test(duplicates_in_large_objects),
		cmocka_unit_test(many),
		cmocka_unit_test(depth),
		cmocka_unit_test(no_error_wanted),
		cmocka_unit_test(every_prefix_fails),
		cmocka_unit_test(strings),
		cmocka_unit_test(paths),
		cmocka_unit_test(integers),
		cmocka_unit_test(test_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
