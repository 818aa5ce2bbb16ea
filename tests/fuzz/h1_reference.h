/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A second reading of RFC 9112, written apart from proto/h1.c and as plainly as can be: it looks at
 * a whole head, one line after the other, and says whether it may be taken and what body follows.
 * Slow, no limits but those of struct eg_h1_limits' defaults, and no reasons.
 */
#ifndef EGRET_TESTS_FUZZ_H1_REFERENCE_H
#define EGRET_TESTS_FUZZ_H1_REFERENCE_H

#include "fuzz.h"
#include "proto/h1.h"
#include "proto/uri.h"

struct reference {
	bool complete; /* the head ended, or something before its end is not allowed */
	bool good;
	size_t bytes;
	char body; /* 'n'one, 'l'ength, 'c'hunked, 'e'nd of connection */
	unsigned long long length;
	bool keep_alive;
};

static inline bool ref_token(const char *p, size_t n)
{
	static const char marks[] = "!#$%&'*+-.^_`|~";

	for (size_t i = 0; i < n; i++) {
		bool alnum = (p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'z') ||
			     (p[i] >= 'A' && p[i] <= 'Z');

		if (!alnum && (!p[i] || !strchr(marks, p[i])))
			return false;
	}
	return n > 0;
}

static inline bool ref_text(const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (((unsigned char)p[i] < 32 && p[i] != 9) || p[i] == 127)
			return false;
	return true;
}

/* Case-insensitive, over bytes that may hold NUL. */
static inline bool ref_is(const char *p, size_t n, const char *word)
{
	if (n != strlen(word))
		return false;
	for (size_t i = 0; i < n; i++) {
		char c = p[i];

		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		if (c != word[i])
			return false;
	}
	return true;
}

static inline bool ref_list_has(const char *p, size_t n, const char *word)
{
	size_t from = 0;

	for (size_t i = 0; i <= n; i++) {
		size_t a = from, b = i;

		if (i < n && p[i] != ',')
			continue;
		while (a < b && (p[a] == ' ' || p[a] == '\t'))
			a++;
		while (b > a && (p[b - 1] == ' ' || p[b - 1] == '\t'))
			b--;
		if (ref_is(p + a, b - a, word))
			return true;
		from = i + 1;
	}
	return false;
}

/* HTTP/1.0 or HTTP/1.1 at p: 0, 1, or -1. */
static inline int ref_version(const char *p, size_t n)
{
	if (n == 8 && !memcmp(p, "HTTP/1.0", 8))
		return 0;
	return n == 8 && !memcmp(p, "HTTP/1.1", 8) ? 1 : -1;
}

static inline int ref_request_line(const char *p, size_t n)
{
	const char *first = memchr(p, ' ', n), *second;

	if (!first || !ref_token(p, (size_t)(first - p)))
		return -1;
	second = memchr(first + 1, ' ', n - (size_t)(first + 1 - p));
	if (!second || second == first + 1 ||
	    (size_t)(second - first - 1) > eg_h1_default_limits.target_bytes)
		return -1;
	for (const char *c = first + 1; c < second; c++)
		if (*c <= 32 || *c >= 127) /* signed: also from 128 up */
			return -1;
	return ref_version(second + 1, n - (size_t)(second + 1 - p));
}

static inline int ref_status_line(const char *p, size_t n, unsigned int *status)
{
	if (n < 12 || p[8] != ' ' || (n > 12 && p[12] != ' ') || !ref_text(p, n))
		return -1;
	*status = 0;
	for (int i = 9; i < 12; i++) {
		if (p[i] < '0' || p[i] > '9')
			return -1;
		*status = *status * 10 + (unsigned int)(p[i] - '0');
	}
	return *status < 100 ? -1 : ref_version(p, 8);
}

/* `method` NULL: a request. */
static inline struct reference reference_parse(const char *p, size_t n, const char *method)
{
	struct reference r = {.complete = false};
	size_t at = 0, line = 0, fields = 0, listed = 0, empty = 0;
	unsigned int status = 0;
	int minor = -1, lengths = 0, codings = 0, hosts = 0;
	bool wrong = false, close = false, keep = false, connect = false, tab;

	for (;;) {
		size_t end = at, a, b;

		while (end < n && p[end] != '\n')
			end++;
		if (end >= eg_h1_default_limits.head_bytes) {
			r.complete = true;
			return r;
		}
		if (end == n)
			return r;
		if (end == at || p[end - 1] != '\r') {
			r.complete = true; /* a bare LF ends it at once */
			return r;
		}
		a = at;
		b = end - 1;
		at = end + 1;
		if (a == b && !line) {
			if (method || ++empty > 2) {
				r.complete = true;
				return r;
			}
			continue;
		}
		if (a == b)
			break;
		if (!line++) {
			connect = !method && b - a > 8 && !memcmp(p + a, "CONNECT ", 8);
			minor = method ? ref_status_line(p + a, b - a, &status)
				       : ref_request_line(p + a, b - a);
			if (minor < 0)
				wrong = true;
			continue;
		}
		const char *colon = memchr(p + a, ':', b - a);
		size_t name = colon ? (size_t)(colon - (p + a)) : 0, v = a + name + 1, w = b;

		fields++;
		if (!colon || !ref_token(p + a, name) || !ref_text(p + v, w - v)) {
			wrong = true;
			continue;
		}
		while (v < w && (p[v] == ' ' || p[v] == '\t'))
			v++;
		tab = false;
		for (; w > v && (p[w - 1] == ' ' || p[w - 1] == '\t'); w--)
			tab |= p[w - 1] == '\t';
		if (ref_is(p + a, name, "content-length")) {
			lengths++;
			r.length = 0;
			if (v == w || w - v > 19 || tab)
				wrong = true;
			for (size_t i = v; i < w && !wrong; i++) {
				if (p[i] < '0' || p[i] > '9')
					wrong = true;
				else
					r.length = r.length * 10 + (unsigned long long)(p[i] - '0');
			}
			if (r.length > INT64_MAX)
				wrong = true;
		} else if (ref_is(p + a, name, "transfer-encoding")) {
			codings++;
			if (!ref_is(p + v, w - v, "chunked") || tab)
				wrong = true;
		} else if (ref_is(p + a, name, "host") && !method) {
			struct eg_str host;
			uint16_t port;

			hosts++;
			if (eg_authority_parse((struct eg_str){p + v, w - v}, &host, &port))
				wrong = true;
		} else if (ref_is(p + a, name, "connection")) {
			close |= ref_list_has(p + v, w - v, "close");
			keep |= ref_list_has(p + v, w - v, "keep-alive");
			listed++;
			for (size_t i = v; i < w; i++)
				listed += p[i] == ',';
		}
	}
	r.complete = true;
	r.bytes = at;
	if (wrong || fields > EG_H1_MAX_HEADERS || listed > EG_H1_MAX_LISTED || lengths > 1 ||
	    codings > 1 || hosts > 1 || (codings && (lengths || minor == 0)))
		return r;
	r.keep_alive = !close && (minor == 1 || keep);
	if (!method) {
		if ((minor == 1 && hosts != 1) || (connect && (codings || r.length)))
			return r;
		r.body = codings ? 'c' : lengths ? 'l' : 'n';
	} else if (status < 200 || status == 204) {
		if (codings || r.length)
			return r;
		r.body = 'n';
	} else if (status == 304 || !strcmp(method, "HEAD") ||
		   (!strcmp(method, "CONNECT") && status < 300)) {
		r.body = 'n';
	} else {
		r.body = codings ? 'c' : lengths ? 'l' : 'e';
		if (r.body == 'e')
			r.keep_alive = false;
	}
	r.good = true;
	return r;
}

/* What the parser under test said must be what the reference says. */
static inline void reference_check(const struct reference *r, enum eg_io io,
				   const struct eg_h1_head *head)
{
	static const char bodies[] = {[EG_H1_BODY_NONE] = 'n',
				      [EG_H1_BODY_LENGTH] = 'l',
				      [EG_H1_BODY_CHUNKED] = 'c',
				      [EG_H1_BODY_CLOSE] = 'e'};

	FUZZ_CHECK((io == EG_IO_AGAIN) == !r->complete);
	FUZZ_CHECK((io == EG_IO_DONE) == r->good);
	if (io != EG_IO_DONE)
		return;
	FUZZ_CHECK(head->head_bytes == r->bytes);
	FUZZ_CHECK(bodies[head->body] == r->body);
	FUZZ_CHECK(head->keep_alive == r->keep_alive);
	FUZZ_CHECK(r->body != 'l' || head->content_length == r->length);
}

/* Two heads read from copies of the same bytes. */
static inline void heads_same(const struct eg_h1_head *a, const struct eg_h1_head *b)
{
	FUZZ_CHECK(fuzz_same(a->method, b->method) && fuzz_same(a->target, b->target));
	FUZZ_CHECK(fuzz_same(a->host, b->host));
	FUZZ_CHECK(a->status == b->status && a->minor == b->minor);
	FUZZ_CHECK(a->header_count == b->header_count);
	FUZZ_CHECK(a->body == b->body && a->content_length == b->content_length);
	FUZZ_CHECK(a->keep_alive == b->keep_alive && a->upgrade == b->upgrade);
	FUZZ_CHECK(a->expect_continue == b->expect_continue);
	for (size_t i = 0; i < a->header_count; i++) {
		FUZZ_CHECK(fuzz_same(a->headers[i].name, b->headers[i].name));
		FUZZ_CHECK(fuzz_same(a->headers[i].value, b->headers[i].value));
	}
}

#endif
