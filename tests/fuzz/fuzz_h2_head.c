/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 fields to an HTTP/1.1 head. Input: a byte (bit 0: a body follows), then fields, each
 * length of name, length of value, name, value. Oracles: what was taken and reads as a head reads
 * as the same method, target, host and fields, and nothing else; what could break a line was not
 * taken; no byte of the text is left over.
 */
#include "fuzz.h"

#include "front/h2_head.h"
#include "proto/h1.h"

#define FIELDS_MAX 512

struct field {
	struct eg_str name, value;
};

static size_t split(const char *p, size_t n, struct field *out)
{
	size_t count = 0;

	while (n >= 2 && count < FIELDS_MAX) {
		size_t name = (unsigned char)p[0], value = (unsigned char)p[1];

		p += 2;
		n -= 2;
		name = EG_MIN(name, n);
		value = EG_MIN(value, n - name);
		out[count++] = (struct field){{p, name}, {p + name, value}};
		p += name + value;
		n -= name + value;
	}
	return count;
}

static bool breaks_line(struct eg_str s)
{
	return memchr(s.p, '\r', s.n) || memchr(s.p, '\n', s.n) || memchr(s.p, '\0', s.n);
}

static struct eg_str pseudo(const struct field *f, size_t n, const char *name)
{
	struct eg_str found = {NULL, 0};
	size_t times = 0;

	for (size_t i = 0; i < n; i++) {
		if (!eg_str_eq(f[i].name, eg_str_from(name)))
			continue;
		found = f[i].value;
		times++;
	}
	FUZZ_CHECK(times <= 1);
	return found;
}

static void same_fields(const struct field *f, size_t n, const struct eg_h1_head *head, bool body)
{
	struct eg_str authority = pseudo(f, n, ":authority");
	size_t at = 0, crumbs = 0, crumb_bytes = 0, last_bytes = 0;
	bool length = false;

	if (authority.p) {
		FUZZ_CHECK(eg_str_ieq(head->headers[0].name, EG_STR("host")));
		FUZZ_CHECK(eg_str_eq(head->headers[at++].value, authority));
		FUZZ_CHECK(eg_str_eq(head->host, authority));
	}
	for (size_t i = 0; i < n; i++) {
		if (f[i].name.p[0] == ':' || (authority.p && eg_str_eq(f[i].name, EG_STR("host"))))
			continue;
		if (eg_str_eq(f[i].name, EG_STR("cookie"))) {
			last_bytes = f[i].value.n;
			crumb_bytes += last_bytes + (crumb_bytes ? 2 : 0);
			crumbs++;
			continue;
		}
		length |= eg_str_eq(f[i].name, EG_STR("content-length"));
		FUZZ_CHECK(at < head->header_count);
		FUZZ_CHECK(eg_str_eq(head->headers[at].name, f[i].name));
		FUZZ_CHECK(eg_str_eq(head->headers[at++].value, f[i].value));
	}
	if (crumbs && crumb_bytes) {
		FUZZ_CHECK(eg_str_eq(head->headers[at].name, EG_STR("cookie")));
		/* Behind an empty one at the end stands "; ", whose blank is no part of the value.
		 */
		FUZZ_CHECK(head->headers[at++].value.n == crumb_bytes - !last_bytes);
	}
	if (body && !length) {
		FUZZ_CHECK(eg_str_eq(head->headers[at++].name, EG_STR("transfer-encoding")));
		FUZZ_CHECK(head->body == EG_H1_BODY_CHUNKED);
	} else {
		FUZZ_CHECK(head->body == (length ? EG_H1_BODY_LENGTH : EG_H1_BODY_NONE));
	}
	FUZZ_CHECK(at == head->header_count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct eg_h1_head head;
	static struct field f[FIELDS_MAX];
	char *bytes = fuzz_copy(data, size);
	bool body = size && bytes[0] & 1;
	size_t n = size ? split(bytes + 1, size - 1, f) : 0;
	struct eg_h1_scan scan = {0};
	enum eg_reason reason;
	struct h2_head h;

	h2_head_init(&h);
	for (size_t i = 0; i < n; i++)
		h2_head_field(&h, f[i].name, f[i].value);
	if (h2_head_end(&h, body) == H2_HEAD_OK) {
		for (size_t i = 0; i < n; i++) {
			FUZZ_CHECK(f[i].name.n && !breaks_line(f[i].name));
			FUZZ_CHECK(!breaks_line(f[i].value));
		}
		if (eg_h1_parse_request(&scan, eg_buf_str(&h.text), &eg_h1_default_limits, &head,
					&reason) == EG_IO_DONE) {
			FUZZ_CHECK(head.head_bytes == h.text.length);
			FUZZ_CHECK(eg_str_eq(head.method, pseudo(f, n, ":method")));
			FUZZ_CHECK(eg_str_eq(head.target, pseudo(f, n, ":path")));
			FUZZ_CHECK(head.minor == 1 && !head.upgrade);
			same_fields(f, n, &head, body);
		}
	} else {
		FUZZ_CHECK(h.verdict == H2_HEAD_TOO_LARGE || h.wrong);
	}
	h2_head_fini(&h);
	free(bytes);
	return 0;
}
