/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One non-blocking TCP connection, plain or under TLS, for the programs of `make bench`: one recv a
 * wake-up into a buffer that all connections share, one send for all that was written meanwhile.
 * They are load, provider and floor, so what they cost must be small and known; they are no part of
 * Egret. Running out of memory ends the program.
 *
 * An event of epoll is handled so: bench_wake(), then bench_handshake() until it is done, then
 * bench_read() until it says BENCH_AGAIN or less. Bytes that are left unread at the end of an event
 * are lost: read all. bench_write() only collects; bench_flush() sends.
 */
#ifndef EGRET_BENCH_CONN_H
#define EGRET_BENCH_CONN_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define BENCH_CIPHERS "TLS_AES_128_GCM_SHA256"

enum { BENCH_AGAIN = 0, BENCH_EOF = -1, BENCH_FAIL = -2 };

struct bench_conn {
	int fd, epoll; /* fd -1: closed */
	SSL *ssl;      /* NULL: plain */
	char *out;
	size_t out_begin, out_end, out_room;
	bool established, received, paused, armed_write, ended;
};

/* Contexts of TLS 1.3 with one suite and X25519, so that everybody's bytes cost the same. They end
 * the program when a file can't be read. */
SSL_CTX *bench_server_context(const char *pem);
SSL_CTX *bench_client_context(const char *ca_file);

/* A listening socket of every address; ends the program when the port is taken. */
int bench_listen(uint16_t port);
/* Takes over fd. name: the server's, NULL for the side that accepts. *c must be all zero or closed.
 */
void bench_accept(struct bench_conn *c, int epoll, int fd, SSL_CTX *ctx, void *event_data);
int bench_connect(struct bench_conn *c, int epoll, const char *address, uint16_t port, SSL_CTX *ctx,
		  const char *name, SSL_SESSION *session, void *event_data);
/* 0, or BENCH_FAIL. */
int bench_wake(struct bench_conn *c, uint32_t events, void *event_data);
/* 1 done, BENCH_AGAIN, BENCH_FAIL. */
int bench_handshake(struct bench_conn *c);
ssize_t bench_read(struct bench_conn *c, char *p, size_t room);
void bench_write(struct bench_conn *c, const char *p, size_t n);
int bench_flush(struct bench_conn *c, void *event_data);
void bench_pause(struct bench_conn *c, bool paused, void *event_data);
/* Given to the kernel by all connections. */
extern uint64_t bench_sent_bytes;
size_t bench_unsent(const struct bench_conn *c);
void bench_close(struct bench_conn *c);

void *bench_alloc(size_t n);
_Noreturn void bench_die(const char *what, const char *why);
uint64_t bench_now_ns(void);
char *bench_read_word(const char *path); /* a file's content up to white space */

#endif
