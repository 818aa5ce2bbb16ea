/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the room: one way to a new connection (dial.c), and those that wait for it instead of
 * going one of their own (dial_joined.c).
 */
#ifndef EGRET_UPSTREAM_DIAL_H
#define EGRET_UPSTREAM_DIAL_H

#include "upstream/pool.h"

enum dial_state {
	DIAL_JOINED,
	DIAL_QUEUED, /* for its turn */
	DIAL_RESOLVE,
	DIAL_CONNECT,
	DIAL_HANDSHAKE,
	DIAL_SETTINGS, /* its own request has the connection; those that joined wait for SETTINGS */
	DIAL_DONE
};

struct upstream_dial {
	struct eg_upstream *u;
	struct eg_upstream_origin *origin; /* a user count is held until it is given on */
	struct eg_upstream_wait *wait;	   /* NULL: cancelled */
	enum dial_state state;
	struct upstream_dial *joined_to; /* DIAL_JOINED: whose connection is waited for */
	struct eg_list link;		 /* then: in its `joined` */
	struct eg_list joined;
	unsigned int joined_count, accidents;
	struct upstream_turn turn;
	uint64_t max_idle_ms; /* of a connection that will do as well; 0: none will */
	bool certificate;     /* it is this that was refused */
	struct eg_resolve resolve;
	bool resolving;
	struct eg_addresses addresses;
	size_t at; /* next address */
	struct eg_stream *stream;
	struct eg_upstream_conn *conn; /* DIAL_SETTINGS: NULL once it is lost */
	struct eg_timer timer;
	struct eg_defer step; /* never call back from inside acquire */
	struct eg_defer bury;
	uint64_t began_ms, deadline_ms;
	enum eg_reason reason; /* of the last failure */
	char text[200];
};

/* ---- dial.c ---- */
void dial_set_state(struct upstream_dial *d, enum dial_state to);
/* Begins, joins another, or waits for its turn. */
void dial_start(struct upstream_dial *d);
/* An even share of the time that is left. */
void dial_limit(struct upstream_dial *d, size_t shares);
/* Lets go of everything but the memory, which goes at the end of the tick. */
void dial_end(struct upstream_dial *d);

/* ---- dial_joined.c ---- */
void dial_part(struct upstream_dial *d);
void dial_join(struct upstream_dial *d, struct upstream_dial *to);
/* Is the connection that is being dialled given away already? */
bool dial_is_full(const struct upstream_dial *to);
/* It has failed: its owner is told, and those that joined it what that means for them. */
void dial_fail(struct upstream_dial *d, enum eg_reason reason, const char *text);
/* It is over: its own request has `c`, if it still waits, and those that joined what room there is.
 */
void dial_finish(struct upstream_dial *d, struct eg_upstream_conn *c);
/* Its own request has `c`; those that joined wait for what the provider says first. */
void dial_await_settings(struct upstream_dial *d, struct eg_upstream_conn *c);
/* That has come, or comes no more, or the connection is lost. */
void dial_settle(struct upstream_dial *d);
/* Its owner gave it up: the first that joined it goes on with what has been reached. */
void dial_hand_on(struct upstream_dial *d);

#endif
