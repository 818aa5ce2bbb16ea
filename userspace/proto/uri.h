/* SPDX-License-Identifier: Apache-2.0 */
/* Request targets (RFC 9112 section 3.2, RFC 3986), read once and the same way everywhere. */
#ifndef EGRET_PROTO_URI_H
#define EGRET_PROTO_URI_H

#include "base/arena.h"
#include "base/base.h"
#include "base/buf.h"

struct eg_target {
	bool absolute;	       /* absolute-form: scheme and authority are set */
	struct eg_str scheme;  /* "http" or "https" */
	struct eg_str host;    /* absolute-form: without port, brackets kept for IPv6 */
	uint16_t port;	       /* 0: none given */
	struct eg_str path;    /* as sent, begins with '/' ("*" is refused) */
	struct eg_str query;   /* as sent, without '?' */
	struct eg_str decoded; /* path percent-decoded once, in the arena */
};

/*
 * 0, -ENOMEM, or -EINVAL: authority- or asterisk-form, userinfo, fragment, a byte not allowed in a
 * URI, a bad percent-escape, an encoded NUL. "[" and "]" are let pass in the query. -EPERM: a path
 * that another reader may see elsewhere: dot segments (also encoded, also with ";parameters"),
 * encoded slash or backslash, encoded control characters, what is encoded twice, what does not
 * decode to UTF-8, "//" (answered with EG_REASON_PATH_UNSAFE). *out is set only with 0.
 */
int eg_target_parse(struct eg_arena *a, struct eg_str target, struct eg_target *out) EG_MUST;

/*
 * Splits "host[:port]" (Host field or authority): a host that eg_host_valid() or eg_host_is_ip()
 * takes, IPv6 in brackets and kept so, a dot at the end taken off; *port 0 when there is none.
 * -EINVAL when malformed (also an empty host, an empty port, port 0, a port with a leading zero).
 */
int eg_authority_parse(struct eg_str authority, struct eg_str *host, uint16_t *port) EG_MUST;
/*
 * True when it is an IPv4 or (bracketed) IPv6 address in any form a URL parser takes: 127.1,
 * 0x7f.1, 2130706433; also any name whose last label is a number, which URL parsers refuse.
 */
bool eg_host_is_ip(struct eg_str host);
/*
 * A DNS name of LDH labels and '_', at most 253 bytes; one dot at the end is let pass. Not an IP
 * address.
 */
bool eg_host_valid(struct eg_str host);
/*
 * Copies `query` without the keys in `drop` (keys are compared percent-decoded, any case; pairs are
 * parted by '&' and by ';'); at most query.n bytes. Returns the new string in the arena; .p NULL
 * when out of memory.
 */
struct eg_str eg_query_without(struct eg_arena *a, struct eg_str query, const struct eg_str *drop,
			       size_t drop_count);
/*
 * The value of the key `name` (compared as in eg_query_without()), percent-decoded once, in the
 * arena. 0; -ENOENT: it is not there; -EINVAL: it comes twice, or holds what two readers may decode
 * differently ('+', a bad or double escape, a control character); -ENOMEM. *value is set with 0.
 */
int eg_query_value(struct eg_arena *a, struct eg_str query, struct eg_str name,
		   struct eg_str *value) EG_MUST;
/* Appends `key` with `value` percent-encoded to `query`; the result in the arena, .p NULL when out
 * of memory. */
struct eg_str eg_query_with(struct eg_arena *a, struct eg_str query, struct eg_str key,
			    struct eg_str value);

/* Appends `text` with each byte that `plain` does not take as %XX (RFC 3986 section 2.1). 0 or as
 * eg_buf_append(). */
int eg_percent_encode(struct eg_buf *out, struct eg_str text,
		      bool (*plain)(unsigned char c)) EG_MUST;

#endif
