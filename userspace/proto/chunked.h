/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chunked transfer coding (RFC 9112 section 7.1), strict and incremental: the output does not
 * depend on how the input was cut. A size has at most 16 digits and is below 2^63. Extensions
 * (a size line has at most 256 bytes) are parsed for form and dropped, and so are trailers (8 KiB)
 * that nobody wants.
 */
#ifndef EGRET_PROTO_CHUNKED_H
#define EGRET_PROTO_CHUNKED_H

#include "base/base.h"
#include "base/buf.h"

struct eg_chunked {
	unsigned int state;
	uint64_t left;	     /* bytes of the chunk not yet seen */
	unsigned int digits; /* of the size line */
	size_t overhead;     /* of this size line or the trailers: bounded */
	bool any;	     /* a byte of data was seen */
	bool no_memory;	     /* FAIL: for the trailers */
	/* Borrowed; set after init: where the trailers' lines go (proto/trailers.h). NULL: nowhere.
	 */
	struct eg_buf *trailers;
};

void eg_chunked_init(struct eg_chunked *c);
/*
 * Consumes some of `in`. *used: bytes consumed. *data: a run of body bytes inside `in` (may be
 * empty; always is with DONE and FAIL). EG_IO_DONE: the body and its trailers ended within *used.
 * EG_IO_AGAIN: go on with the rest of `in`, or more input when *used == in.n. EG_IO_FAIL: not
 * chunked; the connection is lost. DONE and FAIL stay.
 */
enum eg_io eg_chunked_decode(struct eg_chunked *c, struct eg_str in, size_t *used,
			     struct eg_str *data);

#define EG_CHUNK_HEAD_MAX 20
/* Writes "<hex>\r\n" of a chunk of n > 0 bytes; returns the length. The data and "\r\n" follow. */
size_t eg_chunked_head(char out[EG_CHUNK_HEAD_MAX], uint64_t n);
#define EG_CHUNKED_END "0\r\n\r\n"

#endif
