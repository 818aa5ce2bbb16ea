/* SPDX-License-Identifier: Apache-2.0 */
/* Server-sent events: the standard's own examples, line ends, limits, every way of cutting. */
#include "proto_test.h"

#include "proto/sse.h"

struct seen {
	char text[4096];
	size_t n;
	bool overflow;
};

static void note(void *ctx, struct eg_str event, struct eg_str data)
{
	struct seen *s = ctx;

	s->n += (size_t)snprintf(s->text + s->n, sizeof(s->text) - s->n, "<%.*s|%.*s>",
				 EG_STR_ARG(event), EG_STR_ARG(data));
}

static struct seen *feed(struct eg_str text, size_t max, size_t first, size_t step)
{
	static struct seen s;
	struct eg_sse sse;

	s = (struct seen){.n = 0};
	eg_sse_init(&sse, max, note, &s);
	for (size_t at = 0; at < text.n;) {
		size_t n = EG_MIN(at ? step : first, text.n - at);
		struct eg_str piece = exact_copy((struct eg_str){text.p + at, n});

		assert_int_equal(eg_sse_feed(&sse, piece), 0);
		exact_free(piece);
		at += n;
	}
	assert_int_equal(eg_sse_feed(&sse, (struct eg_str){NULL, 0}), 0);
	s.overflow = sse.overflow;
	eg_sse_fini(&sse);
	return &s;
}

static void check(struct eg_str text, size_t max, const char *events, bool overflow)
{
	for (size_t first = 1; first <= text.n; first++)
		for (int byte_by_byte = 0; byte_by_byte < 2; byte_by_byte++) {
			struct seen *s = feed(text, max, first, byte_by_byte ? 1 : text.n);

			if (strcmp(s->text, events) != 0)
				print_message("cut at %zu: %s, expected %s\n", first, s->text,
					      events);
			assert_string_equal(s->text, events);
			assert_int_equal(s->overflow, overflow);
		}
}

static void events(void **state)
{
	static const struct {
		const char *text, *events;
	} rows[] = {
		/* WHATWG HTML 9.2.6, the examples */
		{"data: YHOO\ndata: +2\ndata: 10\n\n", "<|YHOO\n+2\n10>"},
		{": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  "
		 "third event\n\n",
		 "<|first event><|second event><| third event>"},
		{"data\n\ndata\ndata\n\ndata:", "<|><|\n>"},
		{"data:test\n\ndata: test\n\n", "<|test><|test>"},
		/* types */
		{"event: add\ndata: 1\n\ndata: 2\n\n", "<add|1><|2>"},
		{"event: a\nevent: b\ndata: 1\n\n", "<b|1>"},
		{"event: a\n\ndata: 1\n\n",
		 "<|1>"}, /* no data: no event, and the type is forgotten */
		{"event\ndata: 1\n\n", "<|1>"},
		/* line ends */
		{"data: 1\r\ndata: 2\r\n\r\n", "<|1\n2>"},
		{"data: 1\rdata: 2\r\r", "<|1\n2>"},
		{"data: 1\r\n\rdata: 2\n\r\n", "<|1><|2>"},
		{"data: 1\n\n\n\r\r\n\ndata: 2\n\n", "<|1><|2>"},
		/* byte order mark, once */
		{"\xef\xbb\xbf"
		 "data: 1\n\n",
		 "<|1>"},
		{"\xef\xbb\xbf\xef\xbb\xbf"
		 "data: 1\n\n",
		 ""},
		{"data: 0\n\n\xef\xbb\xbf"
		 "data: 1\n\n",
		 "<|0>"},
		{"\xef\xbb"
		 "data: 1\n\n",
		 ""},
		{"\xef\xbb\xbf: c\ndata: 1\n\n", "<|1>"},
		/* fields nobody knows, and case */
		{"Data: 1\nxdata: 2\nretry: 5\nid: 7\ndata : 3\n\n", ""},
		{": comment\n:\ndata: 1\n: data: 2\n\n", "<|1>"},
		{"data: a:b: c\n\n", "<|a:b: c>"},
		{"data:\n\n", "<|>"},
		/* not ended */
		{"data: 1\n", ""},
		{"data: 1", ""},
		{"data: 1\n\ndata: 2\n", "<|1>"},
		{"", ""},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++)
		check(eg_str_from(rows[i].text), 1000, rows[i].events, false);
}

static void limits(void **state)
{
	/* data: at the limit of 20, over it in one line, over it in the sum */
	check(EG_STR("data:123456789012345\n\ndata:x\n\n"), 20, "<|123456789012345><|x>", false);
	check(EG_STR("data:1234567890123456\n\ndata:x\n\n"), 20, "<|x>", true);
	check(EG_STR("data:1234567890\ndata:123456789\n\ndata:x\n\n"), 20,
	      "<|1234567890\n123456789><|x>", false);
	check(EG_STR("data:1234567890\ndata:1234567890\ndata:5\n\ndata:x\n\n"), 20, "<|x>", true);
	check(EG_STR("event:a\ndata:1234567890123456\ndata:y\n\nevent:b\ndata:x\n\n"), 20, "<b|x>",
	      true);
	/* a line over the limit spoils its event, whatever its field */
	check(EG_STR("data:1\nid:123456789012345678901234\n\ndata:x\n\n"), 20, "<|x>", true);
	/* but a comment may have any length, the first one after a BOM too */
	check(EG_STR("data:1\n:123456789012345678901234567890\n\ndata:x\n\n"), 20, "<|1><|x>",
	      false);
	check(EG_STR("\xef\xbb\xbf:123456789012345678901234567890\ndata:x\n\n"), 20, "<|x>", false);
	check(EG_STR("data:1\r\n:12345678901234567890123456\r\n\r\ndata:x\r\r"), 20, "<|1><|x>",
	      false);
}

static void long_type_is_cut(void **state)
{
	struct seen *s =
		feed(EG_STR("event: 0123456789012345678901234567890123456789012345678901234567890"
			    "123456789\ndata: 1\n\n"),
		     1000, 5, 5);

	assert_string_equal(s->text,
			    "<012345678901234567890123456789012345678901234567890123456789012|1>");
}

/* Lines that end in CR must not make it look for LF over and over. */
static void only_cr(void **state)
{
	size_t n = 4 << 20;
	char *text = malloc(n);
	struct eg_sse sse;
	struct seen s = {.n = 0};

	assert_non_null(text);
	memset(text, '\r', n);
	eg_sse_init(&sse, 1000, note, &s);
	assert_int_equal(eg_sse_feed(&sse, (struct eg_str){text, n}), 0);
	assert_int_equal(s.n, 0);
	eg_sse_fini(&sse);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(events),
		cmocka_unit_test(limits),
		cmocka_unit_test(long_type_is_cut),
		cmocka_unit_test(only_cr),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
