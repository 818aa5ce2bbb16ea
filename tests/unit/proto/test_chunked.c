/* SPDX-License-Identifier: Apache-2.0 */
/* The chunked coding: bodies, tricks, and every way of cutting them. */
#include "proto_test.h"

#include "proto/chunked.h"

struct result {
	enum eg_io io;
	size_t used, n;
	char data[4096];
	size_t trailers;
	char lines[8192];
};

/* Feeds pieces of `step` bytes (after a first one of `first`). */
static struct result decode(struct eg_str text, size_t first, size_t step)
{
	static struct result r;
	struct eg_chunked c;
	struct eg_buf lines;
	size_t at = 0;

	eg_chunked_init(&c);
	eg_buf_init(&lines, sizeof(r.lines));
	c.trailers = &lines;
	r = (struct result){.io = EG_IO_AGAIN};
	while (r.io == EG_IO_AGAIN && at < text.n) {
		size_t n = EG_MIN(at ? step : first, text.n - at);
		struct eg_str piece = exact_copy((struct eg_str){text.p + at, n});
		struct eg_str rest = piece;

		do {
			struct eg_str data;
			size_t used = SIZE_MAX;

			r.io = eg_chunked_decode(&c, rest, &used, &data);
			assert_true(used <= rest.n);
			assert_true(r.io == EG_IO_AGAIN || !data.n);
			assert_true(used || r.io != EG_IO_AGAIN);
			if (data.n)
				assert_true(data.p >= rest.p && data.p + data.n <= rest.p + used);
			assert_true(r.n + data.n <= sizeof(r.data));
			if (data.n)
				memcpy(r.data + r.n, data.p, data.n);
			r.n += data.n;
			r.used += used;
			rest.p += used;
			rest.n -= used;
		} while (r.io == EG_IO_AGAIN && rest.n);
		at += n;
		exact_free(piece);
	}
	assert_false(c.no_memory);
	r.trailers = lines.length;
	if (lines.length)
		memcpy(r.lines, eg_buf_data(&lines), lines.length);
	eg_buf_fini(&lines);
	if (r.io != EG_IO_AGAIN) { /* stays */
		struct eg_str data;
		size_t used;

		assert_int_equal(eg_chunked_decode(&c, EG_STR("0\r\n\r\n"), &used, &data), r.io);
		assert_int_equal(used, 0);
		assert_int_equal(data.n, 0);
	}
	return r;
}

static struct result cut_everywhere(struct eg_str text)
{
	static struct result whole, part;

	whole = decode(text, text.n, 1);
	for (size_t first = 1; first < text.n; first++)
		for (int byte_by_byte = 0; byte_by_byte < 2; byte_by_byte++) {
			part = decode(text, first, byte_by_byte ? 1 : text.n);
			assert_int_equal(part.io, whole.io);
			assert_int_equal(part.used, whole.used);
			assert_int_equal(part.n, whole.n);
			assert_memory_equal(part.data, whole.data, whole.n);
			if (whole.io == EG_IO_FAIL)
				continue; /* what came before it is of no use */
			assert_int_equal(part.trailers, whole.trailers);
			assert_memory_equal(part.lines, whole.lines, whole.trailers);
		}
	return whole;
}

static void bodies(void **state)
{
	static const struct {
		const char *text, *data;
		size_t rest; /* bytes after the end */
	} rows[] = {
		{"0\r\n\r\n", "", 0},
		{"5\r\nhello\r\n0\r\n\r\n", "hello", 0},
		{"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET /", "hello world", 5},
		{"A\r\n0123456789\r\n0\r\n\r\n", "0123456789", 0},
		{"a\r\n0123456789\r\n0\r\n\r\n", "0123456789", 0},
		{"0000000000000005\r\nhello\r\n00\r\n\r\n", "hello", 0},
		{"5;a\r\nhello\r\n0\r\n\r\n", "hello", 0},
		{"5;a=b;c=\"d\\\"e\t f\"\r\nhello\r\n0;x\r\n\r\n", "hello", 0},
		{"5 ; a = b\r\nhello\r\n0\r\n\r\n", "hello", 0},
		{"5\t;a\r\nhello\r\n0\r\n\r\n", "hello", 0},
		{"5\r\n\r\n\r\n\r\r\n0\r\n\r\n", "\r\n\r\n\r", 0},
		{"1\r\na\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\nrest", "a", 4},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		struct eg_str text = eg_str_from(rows[i].text);
		struct result r = cut_everywhere(text);

		if (r.io != EG_IO_DONE)
			print_message("row %zu\n", i);
		assert_int_equal(r.io, EG_IO_DONE);
		assert_int_equal(r.used, text.n - rows[i].rest);
		assert_int_equal(r.n, strlen(rows[i].data));
		assert_memory_equal(r.data, rows[i].data, r.n);
	}
}

static void tricks(void **state)
{
	static const struct eg_str bad[] = {
#define ROW(s) {s, sizeof(s) - 1}
		ROW("0x5\r\nhello\r\n0\r\n\r\n"),
		ROW("+5\r\nhello\r\n0\r\n\r\n"),
		ROW("-5\r\nhello\r\n0\r\n\r\n"),
		ROW(" 5\r\nhello\r\n0\r\n\r\n"),
		ROW("\t5\r\nhello\r\n0\r\n\r\n"),
		ROW("5 \r\nhello\r\n0\r\n\r\n"), /* white space and no extension */
		ROW("5_0\r\n"),
		ROW("5,\r\nhello"),
		ROW("g\r\n"),
		ROW("\r\nhello"),
		ROW(";a\r\n"),
		ROW("5\nhello\r\n0\r\n\r\n"), /* bare LF */
		ROW("5\rhello"),
		ROW("5\r\rhello"),
		ROW("5;a\nhello"), /* TERM.EXT: LF ends the line for some */
		ROW("5;a\rX\r\nhello"),
		ROW("5;\r\nhello\r\n"), /* an extension without a name */
		ROW("5;=a\r\nhello\r\n"),
		ROW("5;a=\r\nhello\r\n"),
		ROW("5;a b\r\nhello\r\n"),
		ROW("5;a=\"\n\"\r\nhello\r\n"),
		ROW("5;a=\"b\"c\r\nhello\r\n"),
		ROW("5;a\0\r\nhello\r\n"),
		ROW("5\0\r\nhello\r\n"),
		ROW("5\r\nhello0\r\n\r\n"), /* longer than its size */
		ROW("5\r\nhello\n0\r\n\r\n"),
		ROW("5\r\nhello\r0\r\n\r\n"),
		ROW("4\r\nhello\r\n0\r\n\r\n"),
		ROW("6\r\nhello\r\n0\r\n\r\n"),
		ROW("00000000000000005\r\nhello\r\n0\r\n\r\n"), /* 17 digits */
		ROW("10000000000000000\r\n"),			/* 2^64 */
		ROW("8000000000000000\r\n"),			/* 2^63 */
		ROW("ffffffffffffffff\r\n"),
		ROW("0\r\n\n"),
		ROW("0\r\n\r\r"),
		ROW("0\r\nX : a\r\n\r\n"), /* trailers have the form of fields */
		ROW("0\r\n X: a\r\n\r\n"),
		ROW("0\r\nX: a\r\n b\r\n\r\n"),
		ROW("0\r\nX\r\n\r\n"),
		ROW("0\r\nX: a\n\r\n"),
		ROW("0\r\nX: \0\r\n\r\n"),
		ROW("0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
#undef ROW
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(bad); i++) {
		struct result r = cut_everywhere(bad[i]);

		if (r.io != EG_IO_FAIL)
			print_message("row %zu\n", i);
		assert_int_equal(r.io, EG_IO_FAIL);
	}
}

static void unfinished(void **state)
{
	assert_int_equal(cut_everywhere(EG_STR("5\r\nhel")).io, EG_IO_AGAIN);
	assert_int_equal(cut_everywhere(EG_STR("5")).io, EG_IO_AGAIN);
	assert_int_equal(cut_everywhere(EG_STR("0\r\n")).io, EG_IO_AGAIN);
	assert_int_equal(cut_everywhere(EG_STR("0\r\nX: y\r\n")).io, EG_IO_AGAIN);
	assert_int_equal(decode(EG_STR(""), 0, 1).io, EG_IO_AGAIN);
	/* the largest size: far more than will ever come */
	assert_int_equal(cut_everywhere(EG_STR("7fffffffffffffff\r\nx")).n, 1);
}

static void overhead_is_bounded(void **state)
{
	static char text[20000];
	struct eg_str s = {text, 0};

	s.n = (size_t)snprintf(text, sizeof(text), "5;a=%0250d\r\n", 1); /* 256 bytes */
	assert_int_equal(s.n, 256);
	assert_int_equal(decode(s, s.n, 1).io, EG_IO_AGAIN);
	s.n = (size_t)snprintf(text, sizeof(text), "5;a=%0251d\r\n", 1);
	assert_int_equal(decode(s, s.n, 1).io, EG_IO_FAIL);
	/* each size line is counted alone */
	s.n = 0;
	for (int i = 0; i < 40; i++)
		s.n += (size_t)snprintf(text + s.n, sizeof(text) - s.n, "1;a=%0200d\r\nx\r\n", 1);
	assert_int_equal(decode(s, s.n, 1).n, 40);
	/* the trailers together */
	s.n = (size_t)snprintf(text, sizeof(text), "0\r\nX: %08180d\r\n\r\n", 1);
	assert_int_equal(decode(s, s.n, 1).io, EG_IO_DONE);
	s.n = (size_t)snprintf(text, sizeof(text), "0\r\nX: %04090d\r\nY: %04091d\r\n\r\n", 1, 1);
	assert_int_equal(decode(s, s.n, 1).io, EG_IO_FAIL);
}

/* Their lines, without the empty one at the end; none where there are none. */
static void trailers_are_kept(void **state)
{
	static const struct {
		const char *text, *lines;
	} rows[] = {
		{"0\r\n\r\n", ""},
		{"1\r\na\r\n0;x=y\r\n\r\nGET /", ""},
		{"0\r\nX: 1\r\n\r\n", "X: 1\r\n"},
		{"1\r\na\r\n0\r\nX-Sum:1\r\nY:\r\n\r\nrest", "X-Sum:1\r\nY:\r\n"},
		{"0\r\nX: 1\r\n", "X: 1\r\n"}, /* not at its end */
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		struct result r = cut_everywhere(eg_str_from(rows[i].text));

		assert_int_equal(r.trailers, strlen(rows[i].lines));
		assert_memory_equal(r.lines, rows[i].lines, r.trailers);
	}
}

static void heads_are_written(void **state)
{
	static const struct {
		uint64_t n;
		const char *text;
	} rows[] = {
		{1, "1\r\n"},
		{10, "a\r\n"},
		{16, "10\r\n"},
		{0xabcdef, "abcdef\r\n"},
		{UINT64_MAX, "ffffffffffffffff\r\n"},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		char out[EG_CHUNK_HEAD_MAX];

		assert_int_equal(eg_chunked_head(out, rows[i].n), strlen(rows[i].text));
		assert_memory_equal(out, rows[i].text, strlen(rows[i].text));
	}
	assert_string_equal(EG_CHUNKED_END, "0\r\n\r\n");
}

static void written_is_read(void **state)
{
	uint64_t seed = 42;

	for (int round = 0; round < 300; round++) {
		char text[4096], plain[2048];
		size_t n = 0, m = 0;
		struct result r;

		while (next_random(&seed) % 8) {
			size_t piece = 1 + next_random(&seed) % 200;

			n += eg_chunked_head(text + n, piece);
			for (size_t i = 0; i < piece; i++)
				text[n++] = plain[m++] = (char)next_random(&seed);
			text[n++] = '\r';
			text[n++] = '\n';
			if (m > sizeof(plain) - 200)
				break;
		}
		memcpy(text + n, EG_CHUNKED_END, 5);
		r = decode((struct eg_str){text, n + 5}, 1 + next_random(&seed) % 50,
			   1 + next_random(&seed) % 50);
		assert_int_equal(r.io, EG_IO_DONE);
		assert_int_equal(r.used, n + 5);
		assert_int_equal(r.n, m);
		assert_memory_equal(r.data, plain, m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bodies),
		cmocka_unit_test(tricks),
		cmocka_unit_test(unfinished),
		cmocka_unit_test(overhead_is_bounded),
		cmocka_unit_test(trailers_are_kept),
		cmocka_unit_test(heads_are_written),
		cmocka_unit_test(written_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
