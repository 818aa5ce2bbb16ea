/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of an answer's head (RFC 9112 section 4). Pure. */
#ifndef EGRET_FRONT_H1_ANSWER_H
#define EGRET_FRONT_H1_ANSWER_H

#include "base/buf.h"
#include "exchange/exchange.h"

/* Appends it. 0 or as eg_buf_append(). */
int h1_write_answer_head(struct eg_buf *out, const struct eg_answer *a, bool chunked, bool close,
			 bool http10) EG_MUST;

/* Appends the last chunk and the trailers, but not the empty line (RFC 9112 section 7.1.2). 0 or as
 * eg_buf_append(). */
int h1_write_trailers(struct eg_buf *out, const struct eg_header *fields, size_t count) EG_MUST;

#endif
