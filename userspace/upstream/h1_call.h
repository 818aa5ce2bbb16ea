/* SPDX-License-Identifier: Apache-2.0 */
/* A call over HTTP/1.1 (RFC 9112), client side: see call.h. It has the connection for itself. */
#ifndef EGRET_UPSTREAM_H1_CALL_H
#define EGRET_UPSTREAM_H1_CALL_H

#include "proto/chunked.h"
#include "upstream/call.h"

enum eg_h1_send {
	EG_H1_SEND_IDLE,
	EG_H1_SEND_HEAD, /* also: and body in the same write */
	EG_H1_SEND_BODY,
	EG_H1_SEND_END, /* the last chunk's end */
	EG_H1_SEND_DONE,
	EG_H1_SEND_STOPPED, /* the answer came first; the connection is not used again */
};
enum eg_h1_receive {
	EG_H1_RECEIVE_IDLE,
	EG_H1_RECEIVE_HEAD,
	EG_H1_RECEIVE_BODY,
	EG_H1_RECEIVE_DONE,
	EG_H1_RECEIVE_FAILED,
};

struct eg_h1_call {
	struct eg_call base;
	enum eg_h1_send send;
	enum eg_h1_receive receive;
	bool chunked_out, keep_alive;
	bool body_sent_any;
	bool writing;			   /* interest in room is on */
	char frame[EG_CHUNK_HEAD_MAX + 8]; /* of the chunk being written */
	size_t frame_at, frame_length;
	uint64_t frame_left; /* data of that chunk */
	bool frame_short;    /* more came since it was begun: another one follows at once */
	struct eg_h1_scan scan;
	enum eg_h1_body body;
	uint64_t left; /* of a body with a length */
	struct eg_chunked chunked;
	struct eg_buf trailers; /* their lines */
	unsigned int interim;	/* 1xx heads seen */
	struct eg_defer write_failed;
};

extern const struct eg_call_kind h1_call_kind;

#endif
