/* SPDX-License-Identifier: Apache-2.0 */
/* Server-sent events (WHATWG HTML, 9.2), incremental: CR, LF and CRLF, BOM, comments. The events do
 * not depend on how the input was cut. Used to observe streams (token counts), never to rewrite. */
#ifndef EGRET_PROTO_SSE_H
#define EGRET_PROTO_SSE_H

#include "base/base.h"
#include "base/buf.h"

struct eg_sse {
	struct eg_buf line; /* of the line not ended yet */
	struct eg_buf data; /* of the event not ended yet */
	char event[64];	    /* its type; "" means "message" */
	bool skip_lf, started, overflow;
	void (*on_event)(void *ctx, struct eg_str event, struct eg_str data);
	void *ctx;
};

/* An event larger than max_event_bytes is skipped and remembered in `overflow`. */
void eg_sse_init(struct eg_sse *s, size_t max_event_bytes,
		 void (*on_event)(void *ctx, struct eg_str event, struct eg_str data), void *ctx);
void eg_sse_fini(struct eg_sse *s);
/* 0 or -ENOMEM (the event was skipped; the parser goes on). */
int eg_sse_feed(struct eg_sse *s, struct eg_str bytes);

#endif
