/* SPDX-License-Identifier: Apache-2.0 */
#include "h1.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool named(const char *line, const char *name)
{
	return !strncasecmp(line, name, strlen(name));
}

int bench_head_parse(const char *p, size_t n, bool response, struct bench_head *out)
{
	const char *end = memmem(p, n, "\r\n\r\n", 4), *line;

	if (!end)
		return 0;
	memset(out, 0, sizeof(*out));
	out->length = (size_t)(end - p) + 4;
	if (response) {
		if (end - p < 12 || strncmp(p, "HTTP/1.", 7))
			return -1;
		out->status = atoi(p + 9);
		out->body.kind = out->status == 204 || out->status == 304 || out->status < 200
					 ? BENCH_BODY_NONE
					 : BENCH_BODY_UNTIL_END;
	}
	for (line = p; line && line < end;) {
		const char *next = memmem(line, (size_t)(end + 2 - line), "\r\n", 2);

		if (named(line, "content-length:")) {
			out->body.left = strtoull(line + 15, NULL, 10);
			out->body.kind = out->body.left ? BENCH_BODY_LENGTH : BENCH_BODY_NONE;
		} else if (named(line, "transfer-encoding: chunked")) {
			out->body.kind = BENCH_BODY_CHUNKED;
			out->body.left = 0;
		} else if (named(line, "connection: close")) {
			out->close = true;
		} else if (named(line, "authorization:") && next) {
			out->authorization = line;
			out->authorization_length = (size_t)(next - line) + 2;
		}
		line = next ? next + 2 : NULL;
	}
	return 1;
}

enum { SIZE, SIZE_END, DATA, DATA_CR, DATA_LF, TRAILER, TRAILER_LINE, FINAL_LF };

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of the chunk coding outside of data. False: malformed. */
static bool chunk_step(struct bench_framing *f, char c, bool *done)
{
	switch (f->step) {
	case SIZE:
		if (hex(c) >= 0)
			f->left = f->left * 16 + (uint64_t)hex(c);
		else
			f->step = SIZE_END;
		return true;
	case SIZE_END:
		if (c == '\n')
			f->step = f->left ? DATA : TRAILER;
		return true;
	case DATA_CR:
		f->step = DATA_LF;
		return c == '\r';
	case DATA_LF:
		f->step = SIZE;
		return c == '\n';
	case TRAILER:
		f->step = c == '\r' ? FINAL_LF : TRAILER_LINE;
		return true;
	case TRAILER_LINE:
		if (c == '\n')
			f->step = TRAILER;
		return true;
	case FINAL_LF:
		*done = true;
		return c == '\n';
	default:
		return false;
	}
}

long bench_body_take(struct bench_framing *f, const char *p, size_t n, bool *done,
		     void (*data)(void *context, const char *p, size_t n), void *context)
{
	size_t at = 0;

	*done = f->kind == BENCH_BODY_NONE;
	while (at < n && !*done) {
		size_t run = n - at;

		if (f->kind == BENCH_BODY_CHUNKED && f->step != DATA) {
			if (!chunk_step(f, p[at++], done))
				return -1;
			continue;
		}
		if (f->kind != BENCH_BODY_UNTIL_END && run > f->left)
			run = (size_t)f->left;
		if (data)
			data(context, p + at, run);
		at += run;
		if (f->kind == BENCH_BODY_UNTIL_END)
			continue;
		f->left -= run;
		if (!f->left && f->kind == BENCH_BODY_LENGTH)
			*done = true;
		else if (!f->left)
			f->step = DATA_CR;
	}
	return (long)at;
}
