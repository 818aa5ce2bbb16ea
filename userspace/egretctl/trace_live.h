/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's end of egretctl trace. */
#ifndef EGRET_EGRETCTL_TRACE_LIVE_H
#define EGRET_EGRETCTL_TRACE_LIVE_H

#include <jansson.h>

#include "base/base.h"

struct trace_live {
	const char *run_dir;
	const char *pod, *host; /* "": all */
	uint64_t end_ms;	/* eg_now_ms(); 0: no end */
	/* A record of JSON, borrowed. False: enough. */
	bool (*record)(void *context, json_t *record);
	void *context;
};

enum trace_end {
	TRACE_ENOUGH,	 /* as record() said */
	TRACE_NO_READER, /* nobody reads stdout any more */
	TRACE_TIME,	 /* end_ms */
	TRACE_FAILED,	 /* no agent, or it refuses: that was said */
};

/* Also over another gateway or another agent. What is not shown is said on stderr. */
enum trace_end trace_live(const struct trace_live *l);

#endif
