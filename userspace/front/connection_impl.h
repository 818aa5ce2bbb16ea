/* SPDX-License-Identifier: Apache-2.0 */
/* A connection from inside: connection.c (beginning, HTTP, TLS, end), connection_hello.c (what a
 * ClientHello makes of it), connection_relay.c (passed on), handshakes.c (whose TLS begins next).
 */
#ifndef EGRET_FRONT_CONNECTION_IMPL_H
#define EGRET_FRONT_CONNECTION_IMPL_H

#include "front/connection.h"

#define CONNECTION_PEEK_MAX (EG_CLIENT_HELLO_MAX + 1)

/* ---- connection.c ---- */
void connection_set_state(struct connection *c, enum connection_state to);
void connection_count_up(struct connection *c, enum eg_count what, uint64_t n);
void connection_close(struct connection *c, bool reset, enum eg_reason reason);
void connection_record(struct connection *c, enum eg_reason reason, const char *detail);
/* A connection that no request came of: said once, then a reset. */
void connection_deny(struct connection *c, enum eg_reason reason, const char *detail);
/* Charged before they are made, so that a pod runs into its own limit and not into everybody's. */
enum eg_reason connection_more_descriptors(struct connection *c, size_t n);
/* TLS with the pod, under a leaf for its server name. */
void connection_terminate(struct connection *c);
/* Now: it has its leaf. */
void connection_handshake(struct connection *c);

/* ---- handshakes.c ---- */
void handshakes_init(struct eg_worker *w);
/* False: it may begin now. True: connection_handshake() comes when it is its turn. */
bool handshake_waits(struct connection *c);

/* ---- connection_hello.c ---- */
/* There is something to read in state PEEK. */
void connection_peek(struct connection *c);

/* ---- connection_relay.c ---- */
/* To where the pod wanted to go, never to where a name it sent leads. */
void connection_pass_through(struct connection *c, enum eg_reason reason);

#endif
