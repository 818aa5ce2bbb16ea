/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A second reading of a ClientHello (RFC 8446 sections 4.1.2, 4.2 and 5.1, RFC 6066 section 3),
 * written apart from proto/client_hello.c and as plainly as can be: over a whole message, every
 * length against the end of what it lies in.
 */
#ifndef EGRET_TESTS_FUZZ_CLIENT_HELLO_REFERENCE_H
#define EGRET_TESTS_FUZZ_CLIENT_HELLO_REFERENCE_H

#include "fuzz.h"
#include "proto/client_hello.h"
#include "proto/uri.h"

static inline size_t ref_word(const unsigned char *p)
{
	return (size_t)p[0] << 8 | p[1];
}

/* Bytes of the message that records hold from the first on and end with; 0: none such, or not all
 * of it. */
static inline size_t ref_hello_gather(const unsigned char *p, size_t size, unsigned char *message)
{
	size_t n = 0, want = 4;

	for (size_t at = 0; n < want;) {
		size_t body;

		if (size - at < 5 || p[at] != 22 || p[at + 1] != 3 || p[at + 2] > 4)
			return 0;
		body = ref_word(p + at + 3);
		at += 5;
		if (!body || body > 16384 || body > size - at || at + body > EG_CLIENT_HELLO_MAX)
			return 0;
		memcpy(message + n, p + at, body);
		n += body;
		at += body;
		if (n >= 4)
			want = 4 + ((size_t)message[1] << 16 | ref_word(message + 2));
	}
	return n == want && message[0] == 1 ? n : 0;
}

static inline bool ref_hello_name(const unsigned char *p, size_t n, struct eg_client_hello *out)
{
	struct eg_str name;

	if (n < 6 || ref_word(p) != n - 2 || p[2] || ref_word(p + 3) != n - 5)
		return false;
	name = (struct eg_str){(const char *)p + 5, n - 5};
	out->has_sni = true;
	out->sni_is_ip = eg_host_is_ip(name);
	out->sni_invalid = !eg_host_valid(name);
	if ((out->sni_invalid && !out->sni_is_ip) || memchr(name.p, '%', name.n) || name.n > 255)
		return true;
	for (size_t i = 0; i < name.n - (name.p[name.n - 1] == '.'); i++)
		out->sni[i] =
			name.p[i] >= 'A' && name.p[i] <= 'Z' ? (char)(name.p[i] + 32) : name.p[i];
	return true;
}

static inline bool ref_hello_alpn(const unsigned char *p, size_t n, struct eg_client_hello *out)
{
	size_t at = 2;

	if (n < 3 || ref_word(p) != n - 2)
		return false;
	while (at < n) {
		size_t length = p[at++];

		if (!length || length > n - at)
			return false;
		out->alpn_h2 |= length == 2 && !memcmp(p + at, "h2", 2);
		out->alpn_http11 |= length == 8 && !memcmp(p + at, "http/1.1", 8);
		at += length;
	}
	return true;
}

static inline bool ref_hello_extension(size_t type, const unsigned char *p, size_t n, bool last,
				       struct eg_client_hello *out)
{
	switch (type) {
	case 0:
		return ref_hello_name(p, n, out);
	case 16:
		return ref_hello_alpn(p, n, out);
	case 35:
		out->resumption |= n > 0;
		return true;
	case 41:
		out->resumption = true;
		return last;
	case 43:
		if (n < 3 || p[0] != n - 1 || p[0] % 2)
			return false;
		for (size_t i = 1; i < n; i += 2)
			out->tls13 |= ref_word(p + i) == 0x0304;
		return true;
	case 0xfe0d:
	case 0xffce:
		out->encrypted = true;
		return true;
	default:
		return true;
	}
}

/* Where the extensions begin, behind their own length; 0: the message is wrong before. */
static inline size_t ref_hello_head(const unsigned char *p, size_t n, struct eg_client_hello *out)
{
	size_t at = 38, length;

	if (n < at + 1 || p[4] != 3)
		return 0;
	out->legacy_version = (uint16_t)ref_word(p + 4);
	length = p[at];
	out->resumption = length > 0;
	at += 1 + length;
	if (length > 32 || n < at + 2)
		return 0;
	length = ref_word(p + at);
	at += 2 + length;
	if (!length || length % 2 || n < at + 1)
		return 0;
	length = p[at];
	at += 1 + length;
	if (!length || n < at)
		return 0;
	if (n == at)
		return at; /* an old one, without any */
	return n - at >= 2 && ref_word(p + at) == n - at - 2 ? at + 2 : 0;
}

static inline bool ref_hello_read(const unsigned char *p, size_t n, struct eg_client_hello *out)
{
	size_t at, start;

	memset(out, 0, sizeof(*out));
	at = start = ref_hello_head(p, n, out);
	if (!at)
		return false;
	while (at < n) {
		size_t type, length;

		if (n - at < 4)
			return false;
		type = ref_word(p + at);
		length = ref_word(p + at + 2);
		if (length > n - at - 4)
			return false;
		for (size_t before = start; before < at; before += 4 + ref_word(p + before + 2))
			if (ref_word(p + before) == type)
				return false;
		at += 4 + length;
		if (!ref_hello_extension(type, p + at - length, length, at == n, out))
			return false;
	}
	return true;
}

#endif
