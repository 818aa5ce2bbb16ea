/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One byte stream over a connected, non-blocking TCP socket, plain or under TLS. HTTP code above
 * only ever sees plaintext. Belongs to one loop and its thread.
 *
 * Callbacks come from the loop, never from inside a call. Interest is edge-free: while interest in
 * reading is on and plaintext is at hand (also inside TLS), `event` is called with EG_STREAM_READ.
 * destroy() may be called from any callback; memory goes at the end of the tick.
 */
#ifndef EGRET_NET_STREAM_H
#define EGRET_NET_STREAM_H

#include <sys/uio.h>

#include "base/base.h"
#include "base/buf.h"
#include "base/error.h"
#include "egret/abi/maps.h"
#include "loop/loop.h"

struct eg_stream;
struct eg_tls_server;
struct eg_tls_client;
struct eg_leaf;

enum eg_stream_event {
	EG_STREAM_CONNECTED = 1, /* connect() and, if asked for, the TLS handshake are done */
	EG_STREAM_READ = 2,	 /* bytes, end of stream or an error can be read */
	EG_STREAM_WRITE = 4,	 /* room for writing again */
	EG_STREAM_FAILED = 8,	 /* connect or handshake failed: see eg_stream_failure() */
};

struct eg_stream_handler {
	void (*event)(struct eg_stream *s, unsigned int events, void *ctx);
};

enum eg_stream_stage { EG_STAGE_CONNECT, EG_STAGE_HANDSHAKE, EG_STAGE_OPEN };

struct eg_stream_failure {
	enum eg_stream_stage stage;
	int error;	       /* errno, 0 for TLS failures */
	bool peer_rejected_ca; /* server side: alert unknown_ca, bad_certificate,
				  certificate_unknown */
	bool certificate;      /* client side: the peer's certificate was not accepted */
	const char *text;      /* "certificate has expired", for records; no secret. The stream's */
};

struct eg_endpoint {
	struct eg_address address;
	uint16_t port; /* host order */
};

/* Takes the accepted descriptor (closed by destroy). NULL with errno; the descriptor is then still
 * the caller's. When its listener has SO_LINGER {1, 0}, so that the kernel resets what is open when
 * this process dies, an orderly end takes that back first: shutdown, and destroy. Whoever closes a
 * detached descriptor must do it himself. */
struct eg_stream *eg_stream_accept(struct eg_loop *l, int fd, const struct eg_stream_handler *h,
				   void *ctx) EG_MUST;
/* Begins a connection; CONNECTED or FAILED follows. NULL with errno. */
struct eg_stream *eg_stream_connect(struct eg_loop *l, const struct eg_endpoint *to,
				    const struct eg_stream_handler *h, void *ctx) EG_MUST;
/* Changes who is called (a pooled connection finds a new owner). */
void eg_stream_set_handler(struct eg_stream *s, const struct eg_stream_handler *h, void *ctx);
/* `held` is told how much memory waits for a peer that does not read, when that changes. A write
 * may be on its stack: it must not end the stream. Nothing is told at the end. */
void eg_stream_on_held(struct eg_stream *s, void (*held)(void *ctx, size_t bytes), void *ctx);

/* Raw bytes read ahead of TLS: reads what is there into an internal buffer (up to `cap` in all) and
 * shows it without consuming. DONE: something is there; AGAIN, EOF, FAIL. For the ClientHello and
 * for telling TLS from HTTP. What was peeked is what TLS, read() or splicing then begins with. */
enum eg_io eg_stream_peek(struct eg_stream *s, size_t cap, struct eg_str *bytes);

/* Server side of TLS with this leaf (borrowed until CONNECTED or FAILED). 0 or -errno. */
int eg_stream_tls_accept(struct eg_stream *s, struct eg_tls_server *tls, struct eg_leaf *leaf,
			 const char *peeked_sni) EG_MUST;
/* Before eg_stream_tls_connect(): h2 is offered by ALPN, and http/1.1 after it; else that alone. */
void eg_stream_offer_http2(struct eg_stream *s);
/* TLS is up and ALPN gave h2. */
bool eg_stream_http2(const struct eg_stream *s);
/* Client side: SNI and verification of `host`; a cached session of (client, host, port) is resumed.
 */
int eg_stream_tls_connect(struct eg_stream *s, struct eg_tls_client *tls, const char *host,
			  uint16_t port) EG_MUST;

/* Appends up to `want` plaintext bytes (at most what `into`'s cap leaves). DONE: some came; AGAIN:
 * none now, or no room; EOF: in order (TLS: close_notify); FAIL: reset, or TLS cut without
 * close_notify (eg_stream_truncated() tells). */
enum eg_io eg_stream_read(struct eg_stream *s, struct eg_buf *into, size_t want);
bool eg_stream_truncated(const struct eg_stream *s);
/* DONE: all was taken; AGAIN: *written bytes were, WRITE follows when there is room; FAIL. Takes
 * bytes into its own bounded output buffer where TLS needs it; they are on the wire after
 * eg_stream_flush() or at the end of the tick by itself. */
enum eg_io eg_stream_write(struct eg_stream *s, const struct iovec *v, int count, size_t *written);
/* Everything accepted by write is in the kernel: DONE; AGAIN: WRITE follows. */
enum eg_io eg_stream_flush(struct eg_stream *s);
/* Interest. Both off: only failures are noticed. */
void eg_stream_want(struct eg_stream *s, bool read, bool write);

/* Sends close_notify (TLS) and FIN after what was written; reading goes on. */
void eg_stream_shutdown(struct eg_stream *s);
/* Closes: in order if nothing is unsent, else as the kernel does. Safe in callbacks. */
void eg_stream_destroy(struct eg_stream *s);
/* Closes with a reset, so that the peer cannot take a cut answer for a whole one. */
void eg_stream_reset(struct eg_stream *s);
/* Hands the descriptor and the bytes peeked but not consumed to the caller (plain streams only: for
 * splicing); the stream is destroyed. -1 with errno EINVAL under TLS. */
int eg_stream_detach(struct eg_stream *s, struct eg_buf *peeked);
/* Gives idle buffers back, TLS's too. */
void eg_stream_idle(struct eg_stream *s);

int eg_stream_fd(const struct eg_stream *s);
bool eg_stream_is_tls(const struct eg_stream *s);
bool eg_stream_resumed(const struct eg_stream *s);
/* What ALPN agreed on, borrowed from the stream; empty: nothing, or no TLS. */
struct eg_str eg_stream_alpn(const struct eg_stream *s);
const struct eg_stream_failure *eg_stream_failure(const struct eg_stream *s);
/* Peer and own address as the socket sees them (accepted ones: pod, original destination). */
int eg_stream_peer(const struct eg_stream *s, struct eg_endpoint *out) EG_MUST;
int eg_stream_local(const struct eg_stream *s, struct eg_endpoint *out) EG_MUST;
/* The next read asks the socket, also where epoll has told of nothing yet. */
void eg_stream_look(struct eg_stream *s);
/* False: the peer has closed, or sent something unasked. Asks the socket. */
bool eg_stream_reusable(struct eg_stream *s);
/* The same as far as it is known already: the socket is asked only when the last read left that
 * open. For who then waits for READ, which tells the rest. */
bool eg_stream_rests(struct eg_stream *s);

/* Text of an address ("10.1.2.3", "2001:db8::1"); returns out. */
#define EG_ADDRESS_TEXT 46
char *eg_address_text(const struct eg_address *a, char out[EG_ADDRESS_TEXT]);
/* -EINVAL when it is neither an IPv4 nor an IPv6 address. */
int eg_address_parse(struct eg_str text, struct eg_address *out) EG_MUST;
bool eg_address_is_v4(const struct eg_address *a);
/* Loopback, link-local, unspecified, multicast, broadcast, the v4-in-v6 forms of those. */
bool eg_address_never_dialled(const struct eg_address *a);

#endif
