/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request and its answer over a leased connection, whatever is spoken on it: h1_call.h and
 * h2_call.h are the two kinds. The owner embeds a union eg_any_call, gives the head (as HTTP/1.1
 * text, in a secret buffer) and pulls the answer through a table of functions; what it does not
 * take, the provider may not send.
 *
 * Re-entrancy: any function of the owner's table may call eg_call_end(); nothing else is called
 * then. Memory of the owner goes no earlier than the end of the tick.
 */
#ifndef EGRET_UPSTREAM_CALL_H
#define EGRET_UPSTREAM_CALL_H

#include <sys/uio.h>

#include "proto/h1.h"
#include "upstream/upstream.h"

#define EG_CALL_SEGMENTS    4
#define EG_CALL_HEAD_CAP    (160u * 1024u) /* what a head of ours may have: the client's and ours */
#define EG_CALL_INTERIM_MAX 8u		   /* 1xx heads before the answer */

/* What failed() was about. */
enum eg_call_loss {
	EG_CALL_LOSS_NONE,
	EG_CALL_LOSS_CONNECTION,  /* the connection under it, or what came on it */
	EG_CALL_LOSS_STREAM,	  /* this request alone, by the provider's will (RST_STREAM) */
	EG_CALL_LOSS_UNPROCESSED, /* the provider did nothing with it, provably: REFUSED_STREAM,
				     above a GOAWAY's last stream, HTTP_1_1_REQUIRED (RFC 9113
				     section 8.7), or never sent */
};

/* What becomes of trailers. */
enum eg_call_trailers {
	EG_CALL_TRAILERS_DROPPED,
	EG_CALL_TRAILERS_TAKEN,
	EG_CALL_TRAILERS_AWAITED, /* also after a body that is whole by its length (HTTP/2) */
};

struct eg_call_ops {
	/* The body's bytes that are at hand, in order, as at most EG_CALL_SEGMENTS pieces that
	 * stay where they are until body_sent or the end of the call; returns how many. *last:
	 * nothing follows them. */
	int (*body)(void *ctx, struct iovec *v, bool *last);
	/* The first n of them are with the kernel or TLS. */
	void (*body_sent)(void *ctx, size_t n);
	/* The whole request has been written. */
	void (*request_sent)(void *ctx);
	/* The final head (never 1xx but a 101 that was asked for); borrowed during the call. */
	void (*head)(void *ctx, const struct eg_h1_head *head);
	/* The next bytes of the answer's body: all are taken. May call eg_call_pause(); what the
	 * provider had been allowed to send before may still come. */
	void (*data)(void *ctx, struct eg_str data);
	/* After the body, at most once, before end: the trailers that may be there
	 * (proto/trailers.h); borrowed during the call. NULL: they are dropped. */
	void (*trailers)(void *ctx, const struct eg_header *fields, size_t count);
	/* The answer is complete. The call is over: eg_call_end() gives the connection back. */
	void (*end)(void *ctx);
	/* UPSTREAM_RESET or UPSTREAM_PROTOCOL, with a short text; call->loss says what was lost. */
	void (*failed)(void *ctx, enum eg_reason reason, const char *text);
};

struct eg_call;
struct eg_call_kind {
	const char *protocol; /* as records name it: "HTTP/1.1", "HTTP/2" */
	void (*begin)(struct eg_call *c, bool chunked);
	void (*body_ready)(struct eg_call *c);
	void (*pause)(struct eg_call *c);
	void (*resume)(struct eg_call *c);
	void (*end)(struct eg_call *c);
};

struct eg_call {
	const struct eg_call_kind *kind; /* NULL: never begun */
	const struct eg_call_ops *ops;
	void *ctx;
	struct eg_upstream_conn *conn; /* NULL: not begun, or over */
	struct eg_buf head;	       /* secret: wiped as soon as it is written */
	struct eg_h1_head *scratch;    /* borrowed: where heads are parsed */
	struct eg_str answer_head;     /* the bytes that ops->head's strings point into */
	bool paused, head_method;
	bool upgrade; /* set by the owner before begin, over HTTP/1.1 only: the head asks for a
			 WebSocket. After a 101 the answer's body is what comes until the end, and
			 the request's body what the owner has, as it is; its end ends our
			 direction. */
	enum eg_call_trailers trailers; /* set by the owner before begin */
	bool whole; /* in head(): the head is all there is, no body and no trailers follow */
	bool first_byte_seen; /* of the answer */
	bool failed;
	enum eg_call_loss loss;
	bool over_limit; /* UNPROCESSED, and more streams were open than the provider allows: it
			    waits for a place, and nothing is wrong with anybody */
};

/* For a lease of `conn`. The head buffer is empty and secret afterwards: the owner appends the
 * whole head to it. `scratch`: borrowed until the end. */
union eg_any_call;
void eg_call_init(union eg_any_call *c, const struct eg_upstream_conn *conn,
		  const struct eg_call_ops *ops, void *ctx, struct eg_h1_head *scratch);

/* Takes the lease; writes c->head, then the body (chunked, or as the head says). From inside this
 * call and eg_call_body_ready() come body, body_sent and request_sent only; from inside
 * eg_call_resume() all of them. `head_method`: the request is a HEAD. */
static inline void eg_call_begin(struct eg_call *c, struct eg_upstream_conn *conn, bool chunked,
				 bool head_method)
{
	c->conn = conn;
	c->head_method = head_method;
	c->kind->begin(c, chunked);
}

/* More of the body is at hand. */
static inline void eg_call_body_ready(struct eg_call *c)
{
	if (c->conn)
		c->kind->body_ready(c);
}

/* Stops and resumes taking the answer's body. */
static inline void eg_call_pause(struct eg_call *c)
{
	if (c->conn && !c->paused)
		c->kind->pause(c);
}

static inline void eg_call_resume(struct eg_call *c)
{
	if (c->conn && c->paused)
		c->kind->resume(c);
}

/* Ends the call at any time: gives the connection back to the pool if it can be used again, else
 * closes it. Harmless twice, and on zeroed memory. */
static inline void eg_call_end(struct eg_call *c)
{
	eg_buf_fini(&c->head);
	if (c->conn)
		c->kind->end(c);
}

#endif
