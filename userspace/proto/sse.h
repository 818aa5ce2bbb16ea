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
	bool skip_lf;	    /* the last byte was CR: an LF now belongs to it */
	bool started;	    /* past the first line, which may have a BOM */
	bool overflow;	    /* an event was too large; stays */
	bool skip_line;	    /* the rest of this line is dropped */
	bool skip_event;    /* so is this event, up to its empty line */
	void (*on_event)(void *ctx, struct eg_str event, struct eg_str data);
	void *ctx;
};

/*
 * An event whose data, or one of whose lines, is larger than max_event_bytes is skipped and
 * remembered in `overflow`; comments may have any length. `event` and `data` are borrowed during
 * the call, which must not touch the parser. A type over 63 bytes is cut. `id` and `retry` are
 * ignored. What follows the last empty line is no event.
 */
void eg_sse_init(struct eg_sse *s, size_t max_event_bytes,
		 void (*on_event)(void *ctx, struct eg_str event, struct eg_str data), void *ctx);
void eg_sse_fini(struct eg_sse *s);
/* 0 or -ENOMEM (the event was skipped; the parser goes on). Linear time. */
int eg_sse_feed(struct eg_sse *s, struct eg_str bytes);

#endif
