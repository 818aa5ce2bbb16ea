/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 towards a pod over one stream (RFC 9112), server side: heads, bodies, order, limits,
 * timeouts. One exchange at a time; a pipelined request is not parsed before the former answer has
 * been handed to the socket. Embedded in a connection. docs/internals/front.md.
 */
#ifndef EGRET_FRONT_H1_SERVER_H
#define EGRET_FRONT_H1_SERVER_H

#include "exchange/exchange.h"
#include "net/stream.h"
#include "proto/chunked.h"

enum h1_receive {
	H1_RECEIVE_HEAD,     /* the next request's head, or idle */
	H1_RECEIVE_HOLD,     /* its body is not wanted now */
	H1_RECEIVE_BODY,     /* its body is read and given on */
	H1_RECEIVE_DISCARD,  /* it was answered already; the rest of its body is dropped */
	H1_RECEIVE_COMPLETE, /* all of it was read */
	H1_RECEIVE_LINGER,   /* we have ended; what still comes is dropped until the client ends */
	H1_RECEIVE_CLOSED,
};

enum h1_answer {
	H1_ANSWER_NONE,	 /* no exchange */
	H1_ANSWER_WAIT,	 /* an exchange is at work */
	H1_ANSWER_BODY,	 /* the head was written */
	H1_ANSWER_ENDED, /* all was written here, not all may be with the socket */
	H1_ANSWER_CUT,	 /* what was written goes out, then a reset */
};

struct h1_server {
	struct eg_engine *engine;
	struct eg_stream *stream; /* borrowed */
	struct eg_peer *peer;	  /* borrowed */
	/* The connection is over (reset: it must end so); called once, never from inside
	 * h1_server_begin(). */
	void (*over)(void *ctx, bool reset);
	void *ctx;

	enum h1_receive receive;
	enum h1_answer answer;
	struct eg_exchange *exchange;
	struct eg_buf in, out;
	struct eg_h1_scan scan;
	enum eg_h1_body body;
	uint64_t left;
	struct eg_chunked chunked;
	bool keep_alive, http10, expect_continue, chunked_out, no_body, close_after;
	bool last_chunk;  /* written, and trailers after it: only the empty line is missing */
	bool tunnel;	  /* answered with 101: bytes both ways, until either side ends */
	bool busy, again; /* re-entrancy: advance() is on the stack; it must go round once more */
	bool next_turn;	  /* the next request is here already, and waits for the loop's next turn */
	bool begun, over_called, reset_wanted, eof;
	struct eg_timer timer;
	struct eg_defer push;
	uint64_t activity_ms;	/* of the client: bytes read or taken */
	uint64_t head_began_ms; /* first byte of the head; 0: none */
	uint64_t ended_ms;	/* lingering, or cutting, since */
	size_t lingered;
	size_t charged; /* to the pod and the node, of both buffers */
	uint64_t requests;
};

void h1_server_init(struct h1_server *s, struct eg_engine *engine, struct eg_peer *peer,
		    void (*over)(void *ctx, bool reset), void *ctx);
/* The stream is open: takes its events over. */
void h1_server_begin(struct h1_server *s, struct eg_stream *stream);
/* Nothing is in flight, nor was for `quiet_ms`: it may be closed when draining. */
bool h1_server_idle(const struct h1_server *s, uint64_t quiet_ms);
/* Gives up what is in flight (the record says `reason`) and frees all; `over` is not called. */
void h1_server_fini(struct h1_server *s, enum eg_reason reason);

#endif
