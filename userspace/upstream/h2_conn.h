/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the room: an HTTP/2 connection (RFC 9113) to a provider, shared by many calls; nghttp2
 * over the connection's stream. It reads always, also for nobody; what it has to write leaves in
 * one go at the end of the tick.
 */
#ifndef EGRET_UPSTREAM_H2_CONN_H
#define EGRET_UPSTREAM_H2_CONN_H

#include <nghttp2/nghttp2.h>

#include "upstream/h2_call.h"
#include "upstream/pool.h"

#define H2_STREAM_WINDOW (64u * 1024u - 1u) /* what a paused stream can make us hold */
#define H2_CONN_WINDOW	 (1024u * 1024u)
#define H2_STREAMS_MAX	 100u /* of ours on a connection, whatever the provider allows */
/* Less than the 16 KiB of a TLS record by a frame's head: a frame is a record. */
#define H2_FRAME_BYTES (16u * 1024u - 9u)
/* The body of a DATA frame that is copied to what else goes in this turn. */
#define H2_GATHER_BYTES (2u * 1024u)
#define H2_SILENCE_MS	15000u /* nothing heard, and a call waits: then a PING */
#define H2_PING_MS	10000u /* no answer to it: the connection is dead */
#define H2_CONTROL_MAX	500u   /* frames of a provider that nothing was owed for... */
#define H2_CONTROL_MS	10000u /* ...in so long */
/* What a provider may send for a stream that we began (window updates, PINGs, and what was on its
 * way when we reset it), and for each DATA frame. */
#define H2_EARN_STREAM 8u
#define H2_EARN_DATA   4u
#define H2_EARNED_MAX  8192u
/* DATA that a provider may send on streams that are over, beside a window for each call that was
 * given up: more than any mistake of its. */
#define H2_LATE_BYTES (2u * 1024u * 1024u)

enum h2_state {
	H2_OPEN,
	H2_DRAINING, /* GOAWAY came, or stream ids are used up: what is on it goes on */
	H2_DEAD,
};

struct eg_h2_conn {
	struct eg_upstream_conn *conn;
	nghttp2_session *session;
	enum h2_state state;
	struct eg_list calls;
	unsigned int leases;  /* calls, and leases on which none has begun yet */
	unsigned int streams; /* open ones, also those that no call waits for any more */
	struct eg_buf out;    /* secret: serialised, not taken by the stream yet */
	bool blocked;	      /* the stream has no room: WRITE follows */
	bool sending;	      /* inside nghttp2_session_mem_send() */
	bool write_failed;
	bool settled;	       /* SETTINGS came, or were waited for long enough */
	bool pinged;	       /* and nothing was heard since */
	bool violated;	       /* a GOAWAY of ours says that the provider broke the protocol */
	const char *violation; /* which rule, if we know better than nghttp2; static */
	uint64_t heard_ms, pinged_ms;
	uint64_t control_since_ms;
	unsigned int control; /* frames since then that nothing was owed for */
	unsigned int earned;  /* WINDOW_UPDATEs, PINGs, frames of streams that are over, to come */
	/* In bytes of the connection's window: opened in all; DATA that we were told of; what it
	 * began with, and what may come for nobody. */
	uint64_t opened, data, late;
	unsigned int continuations; /* of the head that is being read */
	bool only_padding;	    /* the DATA frame that is being read, as far as is known */
	/* Data of one stream that came in a row, moved together in place: one piece for its owner.
	 */
	struct eg_h2_call *run_of;
	char *run;
	size_t run_length;
	struct eg_timer silence;
	struct eg_defer flush;
	struct eg_defer bury;
};

/* Begins HTTP/2 on a connected stream. 0 or -ENOMEM. */
int h2_conn_create(struct eg_upstream_conn *c) EG_MUST;
/* Closes it: nothing may be leased. The memory of both goes at the end of the tick. */
void h2_conn_close(struct eg_h2_conn *h);
/* May another stream be begun? */
bool h2_conn_room(struct eg_h2_conn *h);
/* What it allows is not known at all: one stream, until SETTINGS come. */
bool h2_conn_untold(const struct eg_h2_conn *h);
/* Reads what has come: a GOAWAY or an end is seen before the connection is leased. */
void h2_conn_poll(struct eg_h2_conn *h);
/* A lease was given out: the silence is watched. */
void h2_conn_leased(struct eg_h2_conn *h);
/* Writes at the end of the tick. */
void h2_conn_flush_later(struct eg_h2_conn *h);
/* Forgets a call: nothing is told it any more. */
void h2_conn_detach(struct eg_h2_conn *h, struct eg_h2_call *c);

/* ---- between h2_conn.c and h2_session.c ---- */
/* nghttp2's side, with its settings. NULL: out of memory. */
nghttp2_session *h2_conn_session_create(struct eg_h2_conn *h) EG_MUST;
/* More DATA came on streams that are over than can have been on its way. */
bool h2_session_flooded_with_data(const struct eg_h2_conn *h);
/* Gives the run to its owner. */
void h2_session_end_run(struct eg_h2_conn *h);
/* Gives `out`, then the pieces, to the stream, and keeps what it does not take. False: failed. */
bool h2_conn_write(struct eg_h2_conn *h, struct iovec *v, int count) EG_MUST;
/* As its SETTINGS have it now. */
uint32_t h2_conn_stream_limit(const struct eg_h2_conn *h);
/* SETTINGS came, or come no more. */
void h2_conn_settle(struct eg_h2_conn *h);
/* Nothing new is begun on it. */
void h2_conn_drain(struct eg_h2_conn *h);

#endif
