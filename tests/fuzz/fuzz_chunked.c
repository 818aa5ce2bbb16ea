/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chunked coding. Oracles: the output does not depend on cuts; it is that of a plain decoder
 * that sees the whole input; written again, it reads the same; its trailers are the lines before
 * the empty one at its end, and can be read.
 */
#include "fuzz.h"
#include "h1_reference.h"
#include "proto/chunked.h"
#include "proto/trailers.h"

struct body {
	enum eg_io io;
	size_t used, n;
	char *p;
	struct eg_buf lines; /* the trailers' */
};

/* `cut` 0: the whole at once. */
static struct body decode(const char *p, size_t size, uint64_t cut)
{
	struct body b = {.io = EG_IO_AGAIN, .p = fuzz_copy(NULL, 0)};
	struct eg_chunked c;

	free(b.p);
	b.p = malloc(size + 1);
	if (!b.p)
		abort();
	eg_chunked_init(&c);
	eg_buf_init(&b.lines, 8192);
	c.trailers = &b.lines;
	while (b.io == EG_IO_AGAIN && b.used < size) {
		size_t n = cut ? fuzz_step(&cut, size - b.used) : size - b.used, at = 0;
		char *piece = fuzz_copy(p + b.used, n);

		while (b.io == EG_IO_AGAIN && at < n) {
			struct eg_str data;
			size_t used;

			b.io = eg_chunked_decode(&c, (struct eg_str){piece + at, n - at}, &used,
						 &data);
			FUZZ_CHECK(used <= n - at && (used || b.io != EG_IO_AGAIN));
			FUZZ_CHECK(b.io == EG_IO_AGAIN || !data.n);
			if (data.n)
				memcpy(b.p + b.n, data.p, data.n);
			b.n += data.n;
			at += used;
		}
		b.used += at;
		free(piece);
	}
	return b;
}

static bool is_ext_text(char c)
{
	return c == '\t' || (unsigned char)c >= 32;
}

static size_t spaces(const char *p, size_t at, size_t n)
{
	while (at < n && (p[at] == ' ' || p[at] == '\t'))
		at++;
	return at;
}

static size_t token(const char *p, size_t at, size_t n)
{
	while (at < n && ref_token(p + at, 1))
		at++;
	return at;
}

/* chunk-ext of RFC 9112 section 7.1.1 over a whole line without CRLF: BWS ; BWS name [BWS = BWS
 * value] */
static bool good_extensions(const char *p, size_t n)
{
	size_t at = 0;

	while (at < n) {
		size_t from;

		at = spaces(p, at, n);
		if (at == n || p[at] != ';')
			return false;
		from = spaces(p, at + 1, n);
		at = token(p, from, n);
		if (at == from)
			return false;
		from = spaces(p, at, n);
		if (from == n || p[from] != '=')
			continue;
		from = spaces(p, from + 1, n);
		if (from < n && p[from] == '"') {
			for (at = from + 1; at < n && p[at] != '"'; at++) {
				if (p[at] == '\\')
					at++;
				if (at < n && (!is_ext_text(p[at]) || p[at] == 127))
					return false;
			}
			if (at >= n)
				return false;
			at++;
		} else {
			at = token(p, from, n);
			if (at == from)
				return false;
		}
	}
	return true;
}

/* The plain decoder: DONE and FAIL are certain, AGAIN means the input ended first or can't go on.
 */
static struct body reference(const char *p, size_t size)
{
	struct body b = {.io = EG_IO_AGAIN, .p = malloc(size + 1)};
	size_t at = 0;

	if (!b.p)
		abort();
	for (;;) {
		const char *lf = memchr(p + at, '\n', size - at);
		size_t end, digits = 0;
		unsigned long long length = 0;

		if (!lf)
			return b;
		end = (size_t)(lf - p);
		b.io = EG_IO_FAIL;
		if (end - at + 1 > 256 || end == at || p[end - 1] != '\r')
			return b;
		while (at + digits < end - 1 && strchr("0123456789abcdefABCDEF", p[at + digits]) &&
		       p[at + digits]) {
			char text[2] = {p[at + digits++], 0};

			if (digits > 16)
				return b;
			length = length * 16 + strtoull(text, NULL, 16);
		}
		if (!digits || length > INT64_MAX ||
		    !good_extensions(p + at + digits, end - 1 - at - digits))
			return b;
		at = end + 1;
		if (!length)
			break;
		b.io = EG_IO_AGAIN;
		if (length > size - at) {
			memcpy(b.p + b.n, p + at, size - at);
			b.n += size - at;
			return b;
		}
		memcpy(b.p + b.n, p + at, length);
		b.n += length;
		at += length;
		if (size - at < 2) {
			if (size - at && p[at] != '\r')
				b.io = EG_IO_FAIL;
			return b;
		}
		if (memcmp(p + at, "\r\n", 2) != 0) {
			b.io = EG_IO_FAIL;
			return b;
		}
		at += 2;
	}
	for (size_t from = at;;) { /* trailers */
		const char *lf = memchr(p + at, '\n', size - at), *colon;
		size_t end;

		b.io = EG_IO_AGAIN;
		if (!lf)
			return b;
		end = (size_t)(lf - p);
		b.io = EG_IO_FAIL;
		if (end - from + 1 > 8192 || end == at || p[end - 1] != '\r')
			return b;
		if (end - 1 == at) {
			b.io = EG_IO_DONE;
			b.used = end + 1;
			return b;
		}
		colon = memchr(p + at, ':', end - 1 - at);
		if (!colon || !ref_token(p + at, (size_t)(colon - p) - at) ||
		    !ref_text(colon + 1, (size_t)(p + end - 1 - (colon + 1))))
			return b;
		at = end + 1;
	}
}

static void write_again(const struct body *b)
{
	char *text = malloc(b->n * 2 + 100);
	struct body again;
	uint64_t seed = b->n + 1;
	size_t n = 0;

	if (!text)
		abort();
	for (size_t at = 0; at < b->n;) {
		size_t piece = EG_MAX(fuzz_step(&seed, b->n - at), EG_MIN((size_t)30, b->n - at));

		n += eg_chunked_head(text + n, piece);
		memcpy(text + n, b->p + at, piece);
		memcpy(text + n + piece, "\r\n", 2);
		n += piece + 2;
		at += piece;
	}
	memcpy(text + n, EG_CHUNKED_END, 5);
	again = decode(text, n + 5, seed);
	FUZZ_CHECK(again.io == EG_IO_DONE && again.used == n + 5 && again.n == b->n);
	FUZZ_CHECK(!memcmp(again.p, b->p, b->n));
	free(again.p);
	eg_buf_fini(&again.lines);
	free(text);
}

static void read_trailers(const struct body *whole, const struct body *parted, const char *bytes)
{
	static struct eg_header fields[EG_H1_MAX_HEADERS];
	struct eg_str lines = eg_buf_str(&whole->lines);
	size_t count = SIZE_MAX;
	int r;

	FUZZ_CHECK(lines.n == parted->lines.length && lines.n + 5 <= whole->used);
	if (lines.n) {
		FUZZ_CHECK(!memcmp(lines.p, eg_buf_data(&parted->lines), lines.n));
		FUZZ_CHECK(!memcmp(lines.p, bytes + whole->used - 2 - lines.n, lines.n));
	}
	r = eg_trailers_read(lines, fields, EG_H1_MAX_HEADERS, &count);
	FUZZ_CHECK((!r || r == -ENOBUFS) && count <= EG_H1_MAX_HEADERS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *bytes = fuzz_copy(data, size);
	struct body whole = decode(bytes, size, 0);
	struct body parted = decode(bytes, size, fuzz_seed(data, size));
	struct body ref = reference(bytes, size);

	FUZZ_CHECK(whole.io == parted.io && whole.n == parted.n && whole.used == parted.used);
	FUZZ_CHECK(!memcmp(whole.p, parted.p, whole.n));
	/* Ours may refuse earlier, at the byte; never later, never otherwise. */
	if (ref.io == EG_IO_AGAIN)
		FUZZ_CHECK(whole.io != EG_IO_DONE);
	else
		FUZZ_CHECK(whole.io == ref.io);
	if (whole.io == EG_IO_DONE) {
		FUZZ_CHECK(whole.used == ref.used);
		write_again(&whole);
		read_trailers(&whole, &parted, bytes);
	}
	if (whole.io != EG_IO_FAIL) {
		FUZZ_CHECK(whole.n == ref.n);
		FUZZ_CHECK(!memcmp(whole.p, ref.p, ref.n));
	}
	free(ref.p);
	free(parted.p);
	free(whole.p);
	eg_buf_fini(&parted.lines);
	eg_buf_fini(&whole.lines);
	free(bytes);
	return 0;
}
