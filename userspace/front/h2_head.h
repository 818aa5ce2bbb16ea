/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fields of an HTTP/2 request become the text of an HTTP/1.1 head, which eg_h1_parse_request()
 * reads: one reader decides what a head is, whatever it came in. What RFC 9113 sections 8.2 and 8.3
 * call malformed is refused here, and so is all that could mean something else in the text (a line
 * break in a value, a space in a path). Pure: no I/O, no clock.
 */
#ifndef EGRET_FRONT_H2_HEAD_H
#define EGRET_FRONT_H2_HEAD_H

#include "base/base.h"
#include "base/buf.h"

/* RFC 9113 section 6.5.2: names, values and 32 a field. */
#define H2_HEAD_LIST_MAX  (64u * 1024u)
#define H2_FIELD_OVERHEAD 32u

enum h2_head_verdict {
	H2_HEAD_OK,
	H2_HEAD_MALFORMED, /* a stream error of type PROTOCOL_ERROR */
	H2_HEAD_TOO_LARGE,
	H2_HEAD_NO_MEMORY,
};

enum h2_head_pseudo { H2_METHOD, H2_SCHEME, H2_AUTHORITY, H2_PATH, H2_PSEUDOS };

struct h2_head {
	enum h2_head_verdict verdict; /* the first thing that was wrong */
	const char *wrong;	      /* in words; NULL: nothing */
	struct eg_buf text;	      /* the head */
	struct eg_buf cookie;	      /* crumbs, joined (section 8.2.3) */
	struct eg_buf pseudo;	      /* the values below, one after the other */
	struct {
		size_t at, n;
		bool seen;
	} part[H2_PSEUDOS];
	bool fields_begun, host_seen, length_seen;
	size_t list_bytes;
};

void h2_head_init(struct h2_head *h);
void h2_head_fini(struct h2_head *h);
/* Memory it has, in bytes. */
size_t h2_head_size(const struct h2_head *h);
/* The next field, in order; nothing happens once something was wrong. */
void h2_head_field(struct h2_head *h, struct eg_str name, struct eg_str value);
/* The block is whole. `body`: the stream goes on. OK: h->text is the head, to the empty line. */
enum h2_head_verdict h2_head_end(struct h2_head *h, bool body);
/* The value of a pseudo-header; empty if it was not sent. Borrowed. */
struct eg_str h2_head_value(const struct h2_head *h, enum h2_head_pseudo which);

/* A field of trailers, which are dropped: `h` only counts them. NULL, or what is wrong with it. */
const char *h2_trailer(struct h2_head *h, struct eg_str name, struct eg_str value);

#endif
