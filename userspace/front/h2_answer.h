/* SPDX-License-Identifier: Apache-2.0 */
/* The heads that go to a pod over HTTP/2 (RFC 9113 section 8.3.2). */
#ifndef EGRET_FRONT_H2_ANSWER_H
#define EGRET_FRONT_H2_ANSWER_H

#include <nghttp2/nghttp2.h>

#include "exchange/exchange.h"

/* 0 or nghttp2's error. `no_body`: it ends the stream. */
int h2_submit_answer(nghttp2_session *session, int32_t stream, const struct eg_answer *a,
		     bool no_body) EG_MUST;
/* 100 (Continue). 0 or nghttp2's error. */
int h2_submit_continue(nghttp2_session *session, int32_t stream) EG_MUST;

/* h2_frames.c: where the body comes from. */
extern const nghttp2_data_provider h2_data_provider;

#endif
