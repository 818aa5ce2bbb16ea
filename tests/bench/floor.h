/* SPDX-License-Identifier: Apache-2.0 */
/* What both floors have in common: options, the listener, one connection to the provider with
 * verification and resumption. */
#ifndef EGRET_BENCH_FLOOR_H
#define EGRET_BENCH_FLOOR_H

#include "conn.h"

/* A side with more unsent bytes than this stops the reading of the other. */
#define FLOOR_UNSENT (256 * 1024)

extern struct floor_options {
	uint16_t port, upstream_port;
	const char *upstream, *name, *key;
} floor_opt;
extern int floor_epoll;

/* Parses the command line, makes contexts, listens. floor_main() never returns; accepted() gets
 * each new descriptor, event() what bench_accept() and bench_connect() were given, turn_end() is
 * called after each turn. */
_Noreturn void floor_main(int argc, char **argv, void (*accepted)(int fd, SSL_CTX *ctx),
			  void (*event)(void *data, uint32_t events), void (*turn_end)(void));
int floor_dial(struct bench_conn *c, void *event_data);

#endif
