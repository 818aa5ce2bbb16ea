/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 towards a pod from inside: h1_server.c (requests, and the order of all), h1_output.c
 * (what goes out), h1_time.c (limits of time). */
#ifndef EGRET_FRONT_H1_IMPL_H
#define EGRET_FRONT_H1_IMPL_H

#include <sys/uio.h>

#include "front/h1_server.h"

#define H1_READ_AHEAD  (16u * 1024u) /* of the next request while one is at work */
#define H1_DISCARD_MAX (64u * 1024u) /* of a refused body: more, and the connection ends */

static inline uint64_t h1_now_ms(const struct h1_server *s)
{
	return eg_loop_now_ms(s->engine->loop);
}

/* Whatever comes is taken now; else only so much is read ahead. */
static inline bool h1_wants_all(const struct h1_server *s)
{
	return (s->receive == H1_RECEIVE_HEAD && !s->next_turn) || s->receive == H1_RECEIVE_BODY ||
	       s->receive == H1_RECEIVE_DISCARD || s->receive == H1_RECEIVE_LINGER;
}

/* ---- h1_server.c ---- */
void h1_set_receive(struct h1_server *s, enum h1_receive to);
void h1_set_answer(struct h1_server *s, enum h1_answer to);
/* The connection is over; its owner hears of it at the end of the tick. */
void h1_over(struct h1_server *s, bool reset, enum eg_reason reason);
/* A head that is not to be had: answered, and the connection ends. `wrong`: with what, or NULL. */
void h1_refuse(struct h1_server *s, enum eg_reason reason, const char *wrong);
/* As far as it goes now. From inside itself: once more, when that is through. */
void h1_advance(struct h1_server *s);

/* ---- h1_output.c ---- */
extern const struct eg_sink_ops h1_sink_ops;
/* What the stream should tell of, by the state of both buffers. */
void h1_interest(struct h1_server *s);
/* Of both buffers, beyond what every connection may have: what the pod is charged for. */
size_t h1_in_use(const struct h1_server *s);
void h1_charge(struct h1_server *s);
/* Writes what waits and these pieces; what the socket does not take waits. False: it is full. */
bool h1_write_pieces(struct h1_server *s, const struct iovec *pieces, int count);
/* Writes what waits. When the stream has all of it, and no event of it would say so any more, the
 * answer goes on. */
void h1_write_waiting(struct h1_server *s);
/* Of the end of a tick: what a head left waiting for its body; or the news that it is over. */
void h1_push(struct eg_defer *d);
/* Ends our direction; what still comes is dropped. */
void h1_linger(struct h1_server *s);
/* An answer that has ended, or was cut. False: not all of it has gone yet. */
bool h1_finish_answer(struct h1_server *s);
bool h1_finish_cut(struct h1_server *s);

/* ---- h1_time.c ---- */
/* Never later than the deadline of the state; earlier costs a look. */
void h1_arm(struct h1_server *s);
void h1_on_timer(struct eg_timer *t);

#endif
