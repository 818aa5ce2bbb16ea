/* SPDX-License-Identifier: Apache-2.0 */
/* nghttp2's memory: frames on their way out hold credentials, so all of it is wiped when freed. */
#ifndef EGRET_UPSTREAM_H2_MEM_H
#define EGRET_UPSTREAM_H2_MEM_H

#include <nghttp2/nghttp2.h>

/* A copy for nghttp2_session_client_new3(), which keeps one of its own. */
nghttp2_mem h2_mem(void);

#endif
