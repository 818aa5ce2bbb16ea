/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Forms as bodies, multipart/form-data (RFC 7578; RFC 2046 section 5.1), strict and incremental:
 * what comes out, and what is refused, does not depend on how the input was cut. Nothing is
 * allocated; only the head of the part at hand is kept. What two readers may read differently is
 * an error, so that a form means the same here and at the provider: docs/internals/proto.md has
 * the list. No error text repeats a byte of the body.
 */
#ifndef EGRET_PROTO_MULTIPART_H
#define EGRET_PROTO_MULTIPART_H

#include "base/base.h"
#include "base/error.h"

#define EG_MULTIPART_BOUNDARY_MAX 70u	/* RFC 2046 section 5.1.1 */
#define EG_MULTIPART_HEAD_MAX	  4096u /* bytes of one part's head */

/* One part. Strings are valid during the call. */
struct eg_part {
	/* Visible ASCII and UTF-8 without quotes and backslashes, as it was written: %22, %0D and
	 * %0A stay as browsers send them. */
	struct eg_str name;
	bool file;		    /* it has a filename, which is not empty */
	bool sized;		    /* it has a Content-Length, which was right */
	struct eg_str content_type; /* .p NULL: it says none */
	uint64_t from, length;	    /* of its content, in the body */
};

struct eg_multipart {
	unsigned int state;
	uint64_t at;					   /* bytes read */
	char needle[EG_MULTIPART_BOUNDARY_MAX + 5];	   /* CRLF "--" boundary */
	unsigned char back[EG_MULTIPART_BOUNDARY_MAX + 2]; /* where a broken match goes on */
	size_t needle_n;
	size_t matched; /* of "--" boundary, or of the whole needle at the beginning */
	char before[2]; /* the bytes before what is matched */
	char head[EG_MULTIPART_HEAD_MAX];
	size_t head_n;
	uint64_t head_at;   /* where the head begins */
	uint64_t announced; /* the part's Content-Length; UINT64_MAX: none */
	struct eg_part part;
	int (*on_part)(void *ctx, const struct eg_part *part);
	void *ctx;
};

/*
 * The boundary that a Content-Type of multipart/form-data names, borrowed from it: a token or a
 * quoted string of RFC 2046's bchars. 0; -EINVAL with *e: none, two, malformed, a charset that is
 * not UTF-8 or US-ASCII.
 */
int eg_multipart_boundary(struct eg_str content_type, struct eg_str *boundary,
			  struct eg_error *e) EG_MUST;
/* `boundary` as above; it is copied. `on_part` is called for each part when it has ended. */
void eg_multipart_init(struct eg_multipart *m, struct eg_str boundary,
		       int (*on_part)(void *ctx, const struct eg_part *part), void *ctx);
/* 0; -EINVAL with *e (may be NULL): stays so; or what on_part returned, the rest unread. Linear
 * time. */
int eg_multipart_feed(struct eg_multipart *m, struct eg_str bytes, struct eg_error *e) EG_MUST;
/* All has been fed. 0, or -EINVAL with *e: the form is not ended. */
int eg_multipart_end(const struct eg_multipart *m, struct eg_error *e) EG_MUST;

/* Is the part's content text in UTF-8 as far as its Content-Type says? False for another charset,
 * and for a type that is malformed. */
bool eg_part_is_utf8(const struct eg_part *part);

#endif
