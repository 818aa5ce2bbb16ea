/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 towards a pod over one stream of bytes (RFC 9113), server side: the session of nghttp2,
 * its limits, its floods, its end. Each HTTP/2 stream owns one exchange (h2_stream.h). Embedded in
 * a connection. docs/internals/front.md.
 *
 * h2_server.c: life, reading, writing, time; h2_frames.c: what nghttp2 calls; h2_stream.c: one
 * request and its answer; h2_head.c: fields to a head; h2_bucket.c: what is too much.
 */
#ifndef EGRET_FRONT_H2_SERVER_H
#define EGRET_FRONT_H2_SERVER_H

#include <nghttp2/nghttp2.h>

#include "exchange/exchange.h"
#include "front/h2_bucket.h"
#include "front/h2_head.h"
#include "front/h2_numbers.h"
#include "net/stream.h"

/* RFC 9113 section 3.4: what a client begins with. */
#define H2_PREFACE EG_STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

#define H2_STREAMS  100u	  /* at once */
#define H2_OUT_HIGH (64u * 1024u) /* framed bytes that wait for the socket */

enum h2_state {
	H2_OPEN,
	H2_ENDING, /* GOAWAY: no new stream, those that are there finish */
	H2_LINGER, /* we have ended; what still comes is dropped until the client ends */
	H2_CLOSED,
};

struct h2_server {
	struct eg_engine *engine;
	struct eg_stream *stream; /* borrowed */
	struct eg_peer *peer;	  /* borrowed */
	/* The connection is over (reset: it must end so); called once, never from inside
	 * h2_server_begin(). */
	void (*over)(void *ctx, bool reset);
	void *ctx;

	enum h2_state state;
	nghttp2_session *session;
	struct h2_numbers numbers; /* of the client's streams */
	uint64_t notice;	   /* the PING behind the first GOAWAY of a gentle end; 0: none */
	int32_t goodbye;	   /* H2_ENDING: the last stream that GOAWAY calls processed */
	struct eg_list streams;	   /* struct h2_stream.link */
	size_t stream_count;
	struct eg_list todo; /* struct h2_stream.todo: something of it can go on */

	struct h2_head head;	    /* of the block that is being read: blocks don't interleave */
	int32_t block_of;	    /* its stream; 0: none is */
	unsigned int continuations; /* of it, so far */
	size_t block_bytes;	    /* names and values of it */
	const char *trailer_wrong;  /* of trailers, which are dropped */
	bool frame_paid;	    /* the DATA frame that is being read was refunded */

	struct eg_buf in, out;
	bool full;    /* `out` is: nghttp2 keeps the rest */
	bool waiting; /* something in `out` was not taken at once */
	bool eof, over_called, reset_wanted;
	bool running, again; /* re-entrancy: work is on the stack; there is more of it */
	bool violated;	     /* of the client's doing: nothing is read any more, GOAWAY says why */
	bool quiet_end;	     /* it was idle when we ended: no need to linger */
	struct eg_timer timer;
	struct eg_defer push;  /* at the end of the tick: work and one write */
	struct eg_timer later; /* in the next one: others get their turn */
	uint64_t began_ms, block_began_ms, idle_since_ms, written_ms, read_ms, notice_ms, ended_ms;
	size_t lingered;
	struct h2_bucket control, resets;
	uint64_t pings, pongs; /* sent; the last that was answered */
	size_t bytes, charged; /* of all buffers; of these to the pod and the node */
	size_t own_bytes;      /* of the connection's own, among `bytes` */
	uint64_t requests;
};

void h2_server_init(struct h2_server *s, struct eg_engine *engine, struct eg_peer *peer,
		    void (*over)(void *ctx, bool reset), void *ctx);
/* The stream is open: takes its events over. 0 or -ENOMEM. */
int h2_server_begin(struct h2_server *s, struct eg_stream *stream) EG_MUST;
/* GOAWAY: what is in flight finishes, then it is over; at once if nothing is. */
void h2_server_drain(struct h2_server *s);
/* Gives up what is in flight (the records say `reason`) and frees all; `over` is not called. */
void h2_server_fini(struct h2_server *s, enum eg_reason reason);

/* ---- for h2_stream.c and h2_frames.c ---- */

/* The connection ends; the owner hears of it at the end of the tick. Safe from anywhere. */
void h2_server_over(struct h2_server *s, bool reset, enum eg_reason reason);
/* nghttp2 could not take something: out of memory, or a bug of ours. True: it was so. */
bool h2_server_failed(struct h2_server *s, int nghttp2_error);
/* The client broke the protocol or asks too much: recorded, GOAWAY with this error, the end. */
void h2_server_violation(struct h2_server *s, uint32_t http2_error, const char *detail);
/* GOAWAY without an error. */
void h2_server_end(struct h2_server *s);
/* The same in two steps (RFC 9113 section 6.8): what the client sent before it heard of it is
 * served.
 */
void h2_server_end_gently(struct h2_server *s);
/* A PING was answered. */
void h2_server_ponged(struct h2_server *s);
/* There is something to do or to write. */
void h2_server_wake(struct h2_server *s);
/* A time of CLOCK_MONOTONIC that must not be missed; UINT64_MAX: none. */
void h2_server_due(struct h2_server *s, uint64_t due_ms);
/* A PING, answered by a client that has read all that was sent before it. Its number; 0: failed. */
uint64_t h2_server_ping(struct h2_server *s);
/* May so many bytes more be held? */
enum eg_reason h2_server_hold(struct h2_server *s, size_t more);
/* The size of a buffer is now `size`; *counted is what was counted of it. */
void h2_server_count(struct h2_server *s, size_t *counted, size_t size);
static inline uint64_t h2_server_now(const struct h2_server *s)
{
	return eg_loop_now_ms(s->engine->loop);
}

/* ---- h2_frames.c ---- */
/* 0 or -ENOMEM. */
int h2_session_create(struct h2_server *s) EG_MUST;

#endif
