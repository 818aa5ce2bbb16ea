/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The opening handshake of a WebSocket (RFC 6455 section 4), read for a relay: who asks for one and
 * who grants it. Frames are not read here. Pure.
 */
#ifndef EGRET_PROTO_WEBSOCKET_H
#define EGRET_PROTO_WEBSOCKET_H

#include "proto/h1.h"

/* Does the head ask for a WebSocket, well-formed or not? Other upgrades (h2c) are offers that a
 * server may ignore (RFC 9110 section 7.8), and are not this. */
bool eg_websocket_wanted(const struct eg_h1_head *head);
/* NULL: an opening handshake as section 4.2.1 has it; else what is wrong with it, one sentence. */
const char *eg_websocket_wrong(const struct eg_h1_head *head);
/* Is this 101 an answer to the handshake that had `key` (section 4.2.2)? What only looks like one
 * could be a server that never heard of WebSocket and would read frames as requests. */
bool eg_websocket_granted(const struct eg_h1_head *head, struct eg_str key);
/* Does the 101 say that the frames are in the form of an extension (section 9.1)? */
bool eg_websocket_extended(const struct eg_h1_head *head);

#endif
