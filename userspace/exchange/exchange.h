/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request and its answer: decision, body, targets, failover, answer, record. The front feeds it
 * what a client sends and gives it a sink for what the client gets; it knows nothing of sockets or
 * framing. docs/internals/exchange.md.
 *
 * Life: create, start, (body..., body_end), until sink->end or sink->cut was called or the client
 * went away; then destroy, by the front, at any time. Exactly one access record is written. Memory
 * goes at the end of the tick.
 */
#ifndef EGRET_EXCHANGE_EXCHANGE_H
#define EGRET_EXCHANGE_EXCHANGE_H

#include "base/base.h"
#include "exchange/engine.h"
#include "net/stream.h"
#include "proto/h1.h"

/* The connection a request came on; lives as long as its exchanges. */
struct eg_peer {
	struct eg_endpoint source;	/* the pod, as the socket sees it */
	struct eg_endpoint destination; /* where the pod wanted to go */
	const char *server_name;	/* of the ClientHello; NULL without TLS */
	bool gateway;			/* the destination is the gateway address */
	const char *pod_uid;		/* of the pod that opened the connection */
	struct eg_account *account;	/* of that pod; NULL: not known */
	bool reused; /* not the connection's first request; read when an exchange is created */
	bool http2;
	bool sni_resumed;
};

struct eg_answer {
	unsigned int status;
	const struct eg_header *headers; /* without framing fields */
	size_t header_count;
	bool length_known;
	uint64_t length; /* of the body; for a HEAD: what a GET would have */
	bool no_body;	 /* HEAD, 204, 304: none is sent, whatever length says */
	bool whole;	 /* the head is all there is: no body and no trailers follow */
	bool close;	 /* the connection can't be used after this answer (HTTP/1.1) */
	bool last;	 /* nor by any protocol: whose connection it is has changed */
};

struct eg_exchange;
struct eg_sink_ops {
	/* The answer's head; once. */
	void (*head)(void *ctx, const struct eg_answer *a);
	/* Bytes of the body, never none: all are taken. False: stop here until
	 * eg_exchange_resume(). */
	bool (*data)(void *ctx, struct eg_str data);
	/* After the body and before end, at most once: fields that follow it. Where they have no
	 * place (HTTP/1.1 with a length) they are left out. */
	void (*trailers)(void *ctx, const struct eg_header *fields, size_t count);
	/* The answer is complete. The last call. */
	void (*end)(void *ctx);
	/* The answer can't be completed: what was given goes out, then the client sees a reset,
	 * never an end in order. The last call. */
	void (*cut)(void *ctx);
	/* The request's body is wanted (for the first time, or again after false from
	 * eg_exchange_data). */
	void (*want)(void *ctx);
};

/*
 * `head` is what eg_h1_parse_request gave over `bytes` (copied); NULL for a request that could not
 * be read (then eg_exchange_refuse follows). NULL: out of memory.
 */
struct eg_exchange *eg_exchange_create(struct eg_engine *e, const struct eg_peer *peer,
				       const struct eg_h1_head *head, struct eg_str bytes,
				       const struct eg_sink_ops *sink, void *sink_ctx) EG_MUST;
/* Its first byte came then (eg_loop_now_ms), not now; before anything else. */
void eg_exchange_began(struct eg_exchange *x, uint64_t ms);
/* Decides on the head. May call the sink, also to the end. */
void eg_exchange_start(struct eg_exchange *x);
/* Instead of start, or while the answer has not begun: a denial. `close` as in eg_answer. */
void eg_exchange_refuse(struct eg_exchange *x, enum eg_reason reason, const char *detail,
			bool close);
/* Decoded body bytes: all are taken. False: no more until sink->want. Ignored once it is answered.
 */
bool eg_exchange_data(struct eg_exchange *x, struct eg_str data);
void eg_exchange_data_end(struct eg_exchange *x);
/* Is a client that sends nothing of its body for long to be left alone? Of what is passed on over
 * HTTP/2 nobody knows who should speak next; the exchange bounds its silence. */
bool eg_exchange_patient(const struct eg_exchange *x);
/* The sink has room again. */
void eg_exchange_resume(struct eg_exchange *x);
/* The client is gone (CLIENT_CLOSED, CLIENT_SLOW, REQUEST_TIMEOUT, DRAINING): stops everything, no
 * call follows. */
void eg_exchange_abandon(struct eg_exchange *x, enum eg_reason reason);
/* Instead of start: so malformed that the protocol answers with a reset (RFC 9113 section 8.1.1).
 * It is recorded; no call follows. */
void eg_exchange_reject(struct eg_exchange *x, enum eg_reason reason, const char *detail);
/* NULL is harmless. */
void eg_exchange_destroy(struct eg_exchange *x);

/* A record of a connection that carried no request. `server_name` may be "". */
void eg_exchange_connection_record(struct eg_engine *e, const struct eg_peer *peer,
				   const char *server_name, enum eg_reason reason,
				   const char *detail, uint64_t began_ms, uint64_t bytes_in,
				   uint64_t bytes_out, bool shadow);

#endif
