/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nghttp2's memory: frames on their way out hold credentials, HPACK's table and frames from a pod a
 * key of the client's, so all of it is wiped when freed.
 */
#ifndef EGRET_UPSTREAM_H2_MEM_H
#define EGRET_UPSTREAM_H2_MEM_H

#include <nghttp2/nghttp2.h>

/* A copy for nghttp2_session_client_new3() and _server_new3(), which keep one of its own. */
nghttp2_mem h2_mem(void);

#endif
