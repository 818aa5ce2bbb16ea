/* SPDX-License-Identifier: Apache-2.0 */
/* The heads that go to a pod over HTTP/2 (RFC 9113 section 8.3.2). */
#ifndef EGRET_FRONT_H2_ANSWER_H
#define EGRET_FRONT_H2_ANSWER_H

#include <nghttp2/nghttp2.h>

#include "exchange/exchange.h"

/* 0 or nghttp2's error. `no_body`: it ends the stream. */
int h2_submit_answer(nghttp2_session *session, int32_t stream, const struct eg_answer *a,
		     bool no_body) EG_MUST;
/* Trailers, until the body before them is out. */
struct h2_trailers {
	size_t bytes; /* of memory */
	size_t count;
	nghttp2_nv nv[]; /* then their text */
};
/* A copy, which free() frees. NULL: out of memory. */
struct h2_trailers *h2_trailers_copy(const struct eg_header *fields, size_t count) EG_MUST;
/* They end the stream. 0 or nghttp2's error. */
int h2_submit_trailers(nghttp2_session *session, int32_t stream,
		       const struct h2_trailers *t) EG_MUST;
/* 100 (Continue). 0 or nghttp2's error. */
int h2_submit_continue(nghttp2_session *session, int32_t stream) EG_MUST;

/* h2_frames.c: where the body comes from. */
extern const nghttp2_data_provider h2_data_provider;

#endif
