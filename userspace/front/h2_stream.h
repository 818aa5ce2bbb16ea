/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP/2 stream towards a pod: owns the exchange of its request and is its sink. What the
 * client sends waits in `in` while the exchange does not want it, at most the stream's window; what
 * the client gets waits in `out` until its window and the connection have room.
 */
#ifndef EGRET_FRONT_H2_STREAM_H
#define EGRET_FRONT_H2_STREAM_H

#include "front/h2_server.h"

enum h2_receive {
	H2_RECEIVE_HOLD,     /* the body is not wanted now */
	H2_RECEIVE_BODY,     /* it is given on */
	H2_RECEIVE_COMPLETE, /* all of it was */
	H2_RECEIVE_DISCARD,  /* it was answered, or given up: the rest is dropped */
};

enum h2_answer {
	H2_ANSWER_WAIT,	 /* an exchange is at work */
	H2_ANSWER_BODY,	 /* the head was given to nghttp2 */
	H2_ANSWER_ENDED, /* all was written here, not all may be sent */
	H2_ANSWER_CUT,	 /* what was written goes out and arrives, then RST_STREAM */
	H2_ANSWER_RESET, /* RST_STREAM was given to nghttp2 */
};

struct h2_stream {
	struct h2_server *server;
	int32_t id;
	struct eg_list link, todo;
	enum h2_receive receive;
	enum h2_answer answer;
	struct eg_exchange *exchange;
	struct eg_buf in, out;
	struct h2_trailers *trailers; /* that go once `out` is empty; NULL: none */
	size_t in_counted, out_counted, own_counted, trailers_counted;
	bool length_known;
	uint64_t left; /* of content-length */
	bool ended;    /* END_STREAM came */
	bool expect_continue, head_method, no_body;
	bool deferred; /* nghttp2 waits for h2 data of ours */
	bool stopped;  /* the exchange was told to stop */
	bool end_sent; /* END_STREAM went out */
	uint64_t got_ms, taken_ms;
	uint64_t ping; /* answered: all has arrived; 0: not asked yet */
};

/* The block in s->head is a whole request. */
void h2_stream_open(struct h2_server *s, int32_t id, bool ended);
void h2_stream_data(struct h2_stream *st, struct eg_str data);
void h2_stream_ended(struct h2_stream *st);
/* The request is malformed after all (RFC 9113 section 8.1.1). */
void h2_stream_malformed(struct h2_stream *st, enum eg_reason reason, const char *detail);
/* Its head could not be sent. */
void h2_stream_lost(struct h2_stream *st);
/* The connection ends: nothing more happens to it. */
void h2_stream_give_up(struct h2_stream *st, enum eg_reason reason);
/* nghttp2 knows it no more: frees it. */
void h2_stream_closed(struct h2_stream *st, enum eg_reason reason);
/* Does what can be done now; returns when it must be looked at again, or UINT64_MAX. */
uint64_t h2_stream_work(struct h2_stream *st);
/* Its time, if it was over, has had its consequence; the next one. */
uint64_t h2_stream_expire(struct h2_stream *st, uint64_t now_ms);
/* So many bytes of `out` go into a frame. */
void h2_stream_taken(struct h2_stream *st, size_t n);
/* The answer's last byte is taken: the trailers, if there are any, are given to nghttp2. True: it
 * is they that end the stream. False with *error: they could not be given. */
bool h2_stream_end_body(struct h2_stream *st, int *error);
/* END_STREAM was sent. */
void h2_stream_end_sent(struct h2_stream *st);

#endif
