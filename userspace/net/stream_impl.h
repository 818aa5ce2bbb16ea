/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of a stream, for stream.c (sockets, events) and stream_tls.c (OpenSSL) alone. */
#ifndef EGRET_NET_STREAM_IMPL_H
#define EGRET_NET_STREAM_IMPL_H

#include <openssl/ssl.h>

#include "net/stream.h"

/* Raw bytes waiting for the kernel: no more is accepted above, WRITE comes again below. */
#define STREAM_OUT_HIGH (64u * 1024)
#define STREAM_OUT_LOW	(32u * 1024)
/* What one TLS record or handshake flight may add past the high mark. */
#define STREAM_OUT_CAP (STREAM_OUT_HIGH + 64u * 1024)
#define STREAM_RECORD  (16u * 1024) /* the most plaintext in a record: RFC 8446 section 5.1 */
/* A ClientHello of EG_CLIENT_HELLO_MAX and its record headers, or a full read. */
#define STREAM_IN_CAP	(96u * 1024)
#define STREAM_READ_MIN 4096u
#define STREAM_READ_MAX (64u * 1024)
/* Of records that may hold a byte each: so many are read in a turn of the loop. */
#define STREAM_TURN_RECORDS 1024u
/* Messages of TLS itself after the handshake (tickets, KeyUpdate), which hold nothing: in a second.
 */
#define STREAM_MESSAGES	   64u
#define STREAM_MESSAGES_MS 1000u

struct eg_stream {
	struct eg_loop *loop;
	struct eg_watch watch;
	struct eg_defer end_of_tick; /* one write for all of a turn; frees a closed stream */
	struct eg_defer soon;	     /* events that epoll can't announce */
	const struct eg_stream_handler *handler;
	void *ctx;
	int fd;
	struct eg_buf in;  /* raw: peeked, or ciphertext read ahead */
	struct eg_buf out; /* raw: accepted by write, not in the kernel yet */
	size_t read_size;  /* asked of recv(); follows the traffic */
	size_t shown;	   /* bytes of `in` that peek() has shown: not news */

	SSL *ssl;		   /* NULL: plain */
	uint64_t turn_ms;	   /* of the records: */
	unsigned int turn_records; /* read in that turn */
	uint64_t messages_ms;	   /* since when there were so many: */
	unsigned int messages;
	struct tls_origin *origin; /* client side: whose session this is; owned */

	enum eg_stream_stage stage;
	enum eg_io raw_end;   /* EOF or FAIL once the socket said so; else AGAIN */
	enum eg_io plain_end; /* the same for what is read above, latched */
	int broken;	      /* errno of a failed write: an EOF after it is a reset */
	bool connecting;
	bool server;
	bool offer_http2;
	bool accepted;	/* its listener may have made a death of this process a reset */
	bool orderly;	/* and that has been taken back */
	bool failed;	/* FAILED is due or was told */
	bool drained;	/* the last recv() came short: nothing to gain before the next event */
	bool blocked;	/* the last send() came short: wait for EPOLLOUT */
	bool hung_up;	/* EPOLLHUP or EPOLLERR: epoll has no more to tell, the watch is off */
	bool reported;	/* the end was returned by read(): no more READ */
	bool told;	/* a failure without interest was announced */
	bool truncated; /* TLS ended without close_notify */
	bool unread;  /* TLS: OpenSSL holds plaintext that the last read had no room for, or time */
	bool starved; /* TLS: what OpenSSL asked for last is not here yet */
	bool want_read, want_write;
	bool muted;	 /* bytes came that nobody wants: epoll is told to be quiet */
	bool owes_write; /* write or flush said AGAIN: WRITE follows, wanted or not */
	bool flushing;	 /* flush said AGAIN: WRITE only when all is in the kernel */
	bool fin_wanted, fin_sent;
	bool closed;	      /* destroy() was called: no callback, freed at the end of the tick */
	unsigned int pending; /* CONNECTED or FAILED not delivered yet */
	void (*held)(void *ctx, size_t bytes); /* NULL: nobody asks */
	void *held_ctx;
	size_t held_bytes;   /* as it was told last */
	size_t kernel_bytes; /* not sent, when the last send() came short */
	struct eg_stream_failure failure;
	char *failure_text; /* owned; most streams have none */
};

/* Reads what the socket has into `in`. DONE: something came; AGAIN; EOF; FAIL. */
enum eg_io stream_fill(struct eg_stream *s);
/* Sends `out`. DONE: empty; AGAIN: the kernel is full; FAIL. */
enum eg_io stream_send(struct eg_stream *s);
/* A write failed: latched, `out` is forgotten. FAIL. */
enum eg_io stream_broken(struct eg_stream *s, int error);
/* Sends at the end of this turn. */
void stream_send_later(struct eg_stream *s);
/* Sets stage, errno and text of the failure, once; the first one counts. */
void stream_fail(struct eg_stream *s, int error, const char *format, ...) EG_PRINTF(3, 4);
/* CONNECTED or FAILED will be delivered from the loop. */
void stream_announce(struct eg_stream *s, unsigned int event);
void stream_settle(struct eg_stream *s);

/* ---- stream_tls.c ---- */
void stream_tls_handshake(struct eg_stream *s);
enum eg_io stream_tls_read(struct eg_stream *s, struct eg_buf *into, size_t want);
enum eg_io stream_tls_write(struct eg_stream *s, const struct iovec *v, int count, size_t *written);
/* Something was read that OpenSSL still has, if only half a record. */
bool stream_tls_left(const struct eg_stream *s);
/* Gives OpenSSL's record buffers back, if nothing is in them: it takes one before it knows whether
 * a record comes. */
void stream_tls_idle(struct eg_stream *s);
/* No plaintext is waiting and the session is whole; takes in tickets that wait. */
bool stream_tls_quiet(struct eg_stream *s);
void stream_tls_close_notify(struct eg_stream *s);
void stream_tls_fini(struct eg_stream *s);

#endif
