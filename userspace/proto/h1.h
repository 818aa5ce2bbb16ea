/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 heads, strict (RFC 9112, RFC 9110): bytes in, structures out. Does no I/O.
 *
 * What is ambiguous is refused, never repaired: bare CR or LF, obs-fold, white space before a
 * colon, Content-Length with Transfer-Encoding, repeated or listed Content-Length (even when
 * equal), Transfer-Encoding other than exactly "chunked" (final, once), a tab after the value of
 * either, Transfer-Encoding in HTTP/1.0, CONNECT with content, a missing or repeated Host in 1.1,
 * control characters, NUL, non-token names.
 */
#ifndef EGRET_PROTO_H1_H
#define EGRET_PROTO_H1_H

#include "base/base.h"
#include "proto/fields.h"

#define EG_H1_MAX_HEADERS 128
#define EG_H1_MAX_LISTED  256u /* names in Connection, empty ones too */

struct eg_header {
	struct eg_str name;  /* as sent */
	struct eg_str value; /* without surrounding white space */
};

struct eg_h1_limits {
	size_t head_bytes;   /* request line or status line and all fields; default 64 KiB */
	size_t target_bytes; /* default 16 KiB */
	size_t header_count; /* at most EG_H1_MAX_HEADERS */
};
extern const struct eg_h1_limits eg_h1_default_limits;

enum eg_h1_body {
	EG_H1_BODY_NONE,
	EG_H1_BODY_LENGTH, /* content_length bytes */
	EG_H1_BODY_CHUNKED,
	EG_H1_BODY_CLOSE, /* responses only: until the connection ends */
};

/*
 * Every string is borrowed from the bytes given to the parser. "Content-Length: 0" is
 * EG_H1_BODY_LENGTH with 0 bytes. content_length of an answer without a body (HEAD, 304) is what
 * the field said.
 */
struct eg_h1_head {
	struct eg_str method, target; /* requests */
	unsigned int status;	      /* responses: 100..999 */
	unsigned int minor;	      /* HTTP/1.<minor>: 0 or 1 */
	struct eg_header headers[EG_H1_MAX_HEADERS];
	size_t header_count;
	size_t head_bytes; /* length of the head with the empty line */
	enum eg_h1_body body;
	uint64_t content_length;
	struct eg_str host;	 /* requests: the one Host (1.0 may have none) */
	struct eg_str host_name; /* of that, as eg_authority_parse() has it, */
	uint16_t host_port;	 /* and the port; 0: none */
	bool has_connection;	 /* a field of that name is there */
	bool keep_alive;	 /* RFC 9112 section 9.3 */
	bool expect_continue;	 /* Expect: 100-continue */
	bool expect_other;	 /* Expect: anything else; to be answered with EXPECTATION */
	bool upgrade;		 /* Connection: upgrade with an Upgrade field that is not empty */
	const char *wrong;	 /* EG_IO_FAIL: with what, a static part of a sentence; or NULL */
};

/* Where the search for the end of a head is, between calls. Zeroed before the first. */
struct eg_h1_scan {
	size_t at;
};

/*
 * Parses a head at the beginning of `bytes`. EG_IO_DONE: *head is filled. EG_IO_AGAIN: not complete
 * (call again with the same bytes and more). EG_IO_FAIL: *reason says why (EG_REASON_BAD_REQUEST,
 * SMUGGLING, HEADER_TOO_LARGE, URI_TOO_LONG, VERSION; for responses
 * UPSTREAM_PROTOCOL), head->wrong more. Requests: empty lines (CRLF) before the request line are
 * skipped, at most 2.
 */
enum eg_io eg_h1_parse_request(struct eg_h1_scan *scan, struct eg_str bytes,
			       const struct eg_h1_limits *limits, struct eg_h1_head *head,
			       enum eg_reason *reason);
/*
 * `request_method` decides the body (HEAD: none; 1xx, 204, 304: none). 1xx heads are returned like
 * any other. The same strictness as for requests; the space before an empty reason phrase may be
 * missing. A body announced on 1xx or 204 fails.
 */
enum eg_io eg_h1_parse_response(struct eg_h1_scan *scan, struct eg_str bytes,
				const struct eg_h1_limits *limits, struct eg_str request_method,
				struct eg_h1_head *head, enum eg_reason *reason);

/* True for the bytes of a token (RFC 9110 section 5.6.2). */
bool eg_h1_token_byte(unsigned char c);
/* Are these field-content (RFC 9110 section 5.5): HTAB, SP, VCHAR, obs-text? */
bool eg_h1_value_bytes(const char *p, size_t n);
/* First field of that name (any case), or NULL. */
const struct eg_header *eg_h1_find(const struct eg_h1_head *head, struct eg_str name);
/* The next member of a comma-separated list (RFC 9110 section 5.6.1), trimmed, which *list then
 * begins behind; empty members are skipped. False at the end. No quoted strings. */
bool eg_h1_list_next(struct eg_str *list, struct eg_str *member);
/* True when a comma-separated list in any field of that name holds the token (any case). */
bool eg_h1_list_has(const struct eg_h1_head *head, struct eg_str name, struct eg_str token);
/* True for hop-by-hop fields: the fixed ones of RFC 9110 section 7.6.1 and those Connection names.
 * `f` is eg_field_of(name). */
bool eg_h1_hop_by_hop(const struct eg_h1_head *head, enum eg_field f, struct eg_str name);

#endif
