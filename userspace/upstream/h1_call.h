/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP/1.1 request and its answer over a leased connection (RFC 9112), client side. The owner
 * embeds it, gives the head and pulls the answer through a table of functions; what it does not
 * take, is not read from the provider.
 *
 * Re-entrancy: any function of the table may call eg_h1_call_end(); nothing else is called then.
 * Memory of the owner goes no earlier than the end of the tick.
 */
#ifndef EGRET_UPSTREAM_H1_CALL_H
#define EGRET_UPSTREAM_H1_CALL_H

#include <sys/uio.h>

#include "proto/chunked.h"
#include "proto/h1.h"
#include "upstream/upstream.h"

#define EG_H1_CALL_SEGMENTS 4

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

struct eg_h1_call;
struct eg_h1_call_ops {
	/* The body's bytes that are at hand, in order, as at most EG_H1_CALL_SEGMENTS pieces that
	 * stay where they are until body_sent or the end of the call; returns how many. *last:
	 * nothing follows them. */
	int (*body)(void *ctx, struct iovec *v, bool *last);
	/* The first n of them are with the kernel or TLS. */
	void (*body_sent)(void *ctx, size_t n);
	/* The whole request has been written. */
	void (*request_sent)(void *ctx);
	/* The final head (never 1xx but a 101 that was asked for); borrowed during the call. */
	void (*head)(void *ctx, const struct eg_h1_head *head);
	/* The next bytes of the answer's body: all are taken. May call eg_h1_call_pause(). */
	void (*data)(void *ctx, struct eg_str data);
	/* The answer is complete. The call is over: eg_h1_call_end() gives the connection back. */
	void (*end)(void *ctx);
	/* UPSTREAM_RESET or UPSTREAM_PROTOCOL, with a short text. */
	void (*failed)(void *ctx, enum eg_reason reason, const char *text);
};

struct eg_h1_call {
	const struct eg_h1_call_ops *ops;
	void *ctx;
	struct eg_upstream_conn *conn; /* NULL: not begun, or ended */
	enum eg_h1_send send;
	enum eg_h1_receive receive;
	struct eg_buf head; /* secret: wiped as soon as it is written */
	bool chunked_out, paused, keep_alive, head_method;
	bool upgrade; /* set by the owner before begin: the head asks for a WebSocket. After a 101
			 the answer's body is what comes until the end, and the request's body
			 what the owner has, as it is; its end ends our direction. */
	bool first_byte_seen; /* of the answer */
	bool body_sent_any;
	bool writing;			   /* interest in room is on */
	char frame[EG_CHUNK_HEAD_MAX + 8]; /* of the chunk being written */
	size_t frame_at, frame_length;
	uint64_t frame_left; /* data of that chunk */
	struct eg_h1_scan scan;
	enum eg_h1_body body;
	uint64_t left; /* of a body with a length */
	struct eg_chunked chunked;
	unsigned int interim;	    /* 1xx heads seen */
	struct eg_h1_head *scratch; /* borrowed: where heads are parsed */
	struct eg_defer write_failed;
};

/* The head buffer is empty and secret afterwards: the owner appends the whole head to it. */
void eg_h1_call_init(struct eg_h1_call *c, const struct eg_h1_call_ops *ops, void *ctx,
		     struct eg_h1_head *scratch);
/* Takes the lease; writes c->head, then the body (chunked, or as the head says). From inside this
 * call and eg_h1_call_body_ready() come body, body_sent and request_sent only; from inside
 * eg_h1_call_resume() all of them. `head_method`: the request is a HEAD. */
void eg_h1_call_begin(struct eg_h1_call *c, struct eg_upstream_conn *conn, bool chunked,
		      bool head_method);
/* More of the body is at hand. */
void eg_h1_call_body_ready(struct eg_h1_call *c);
/* Stops and resumes taking the answer's body. */
void eg_h1_call_pause(struct eg_h1_call *c);
void eg_h1_call_resume(struct eg_h1_call *c);
/* Ends the call at any time: gives the connection back to the pool if both directions ended in
 * order, else closes it. Harmless twice. */
void eg_h1_call_end(struct eg_h1_call *c);

#endif
