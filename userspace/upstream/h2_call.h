/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call over HTTP/2 (RFC 9113), client side: one stream of a shared connection. See call.h.
 *
 * The head is read back from its HTTP/1.1 text into pairs that point into the secret buffer; the
 * answer's HEADERS are written as such a text and read by eg_h1_parse_response(): one reader
 * decides what a head is.
 */
#ifndef EGRET_UPSTREAM_H2_CALL_H
#define EGRET_UPSTREAM_H2_CALL_H

#include "upstream/call.h"

enum eg_h2_send {
	EG_H2_SEND_IDLE,
	EG_H2_SEND_HEAD, /* with nghttp2, not serialised yet */
	EG_H2_SEND_BODY,
	EG_H2_SEND_DONE,
	EG_H2_SEND_STOPPED, /* the answer came first, or the stream is gone */
};
enum eg_h2_receive {
	EG_H2_RECEIVE_IDLE,
	EG_H2_RECEIVE_HEAD,
	EG_H2_RECEIVE_BODY,
	EG_H2_RECEIVE_DONE,
	EG_H2_RECEIVE_FAILED,
};

struct eg_h2_call {
	struct eg_call base;
	struct eg_list link; /* in the connection's calls */
	int32_t id;	     /* of the stream; 0: there is none */
	unsigned int open;   /* streams of the connection when it was begun, with it */
	enum eg_h2_send send;
	enum eg_h2_receive receive;
	bool no_body;	    /* HEADERS ended the request */
	bool peer_reset;    /* RST_STREAM came */
	bool has_length;    /* the answer's head has a content-length */
	uint64_t left;	    /* of a body with a length */
	size_t unconsumed;  /* taken while paused: the stream's window stays smaller by it */
	struct eg_buf text; /* the answer's head, as it comes; then its trailers */
	size_t fields;
	unsigned int status; /* of the block being read; 0: none yet */
	unsigned int interim;
	struct eg_defer begin_failed;
};

extern const struct eg_call_kind h2_call_kind;

/* ---- for h2_conn.c alone: what happens on the stream. Each may end the call. ---- */
void h2_call_headers_begin(struct eg_h2_call *c);
/* False: the answer can't be read any further, and the call has failed. */
bool h2_call_header(struct eg_h2_call *c, struct eg_str name, struct eg_str value);
void h2_call_headers_end(struct eg_h2_call *c, bool last);
void h2_call_data(struct eg_h2_call *c, struct eg_str data);
void h2_call_ended(struct eg_h2_call *c);
/* Would so many bytes more be longer than the answer said it is? */
bool h2_call_overruns(const struct eg_h2_call *c, uint64_t more);
/* They are: the stream is reset, the call fails. */
void h2_call_overrun(struct eg_h2_call *c);
void h2_call_failed(struct eg_h2_call *c, enum eg_call_loss loss, enum eg_reason reason,
		    const char *text);
void h2_call_head_sent(struct eg_h2_call *c);
/* The whole request is with the kernel or TLS. */
void h2_call_request_sent(struct eg_h2_call *c);

#endif
