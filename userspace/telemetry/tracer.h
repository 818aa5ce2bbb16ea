/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that somebody watches (`egretctl trace`). Of each request that a filter fits, what was
 * decided is written down while it is decided, and goes with the access record to who watches.
 * While nobody does, a request costs one relaxed load. All workers of a gateway share one tracer.
 *
 * What waits to be taken is bounded; what finds no room is counted, by watcher. The same holds of
 * text here as of an access record: no key, no prompt, no header value.
 */
#ifndef EGRET_TELEMETRY_TRACER_H
#define EGRET_TELEMETRY_TRACER_H

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>

#include "base/base.h"
#include "base/buf.h"

#define EG_TRACERS    4u /* at the same time */
#define EG_TRACE_NAME 320u
#define EG_TRACE_HOST 256u
#define EG_TRACE_WAIT ((size_t)1 << 20) /* of all watchers, not taken yet */
#define EG_TRACE_STEPS \
	((size_t)16 << 10) /* of one request; what is more is cut, and that is said */
#define EG_TRACE_RECORD ((size_t)64 << 10) /* more than any has */

/* What one watcher wants. Empty strings: all of them. */
struct eg_trace_filter {
	char pod[EG_TRACE_NAME];  /* "namespace/name" */
	char host[EG_TRACE_HOST]; /* server name or Host, lower case */
};

struct eg_tracer {
	atomic_uint watched; /* a bit for each place that is taken */
	pthread_mutex_t lock;
	/* Under the lock. */
	uint32_t epoch; /* of the last change, as who changes it numbers them */
	struct eg_trace_filter filter[EG_TRACERS];
	struct eg_buf waiting;	   /* struct eg_trace_head and text, by turns */
	uint64_t lost[EG_TRACERS]; /* found no room since the last take */
	/* When something waits. Any thread. */
	void (*wake)(void *ctx);
	void *ctx;
};

struct eg_trace_head {
	uint32_t bytes;
	uint32_t places; /* whose it is: bits */
	uint32_t epoch;	 /* when the request was looked at */
};

void eg_tracer_init(struct eg_tracer *t, void (*wake)(void *ctx), void *ctx);
void eg_tracer_fini(struct eg_tracer *t);
/* `filter` NULL: the place is free again. Any thread. */
void eg_tracer_watch(struct eg_tracer *t, uint32_t place, uint32_t epoch,
		     const struct eg_trace_filter *filter);
/* The next record, its text appended to `out` without the end of a line. False: none waits. */
bool eg_tracer_take(struct eg_tracer *t, struct eg_trace_head *head, struct eg_buf *out) EG_MUST;
/* How many of a place's found no room since this was asked last. */
uint64_t eg_tracer_lost(struct eg_tracer *t, uint32_t place);

/* Does anybody watch? `t` may be NULL. */
static inline bool eg_tracer_on(const struct eg_tracer *t)
{
	return t && atomic_load_explicit(&t->watched, memory_order_relaxed);
}

/* ---- one request ---- */

struct eg_traced {
	uint32_t places, epoch;
	struct eg_buf steps; /* members of an array of JSON */
	bool cut;
};

/* NULL: nobody watches that pod (NULL: no pod is known), or out of memory. */
struct eg_traced *eg_traced_begin(struct eg_tracer *t, const char *pod_namespace,
				  const char *pod_name) EG_MUST;
void eg_traced_end(struct eg_traced *d);
/* Forgets what was written down: it is decided again. */
void eg_traced_again(struct eg_traced *d);
/* One thing that was decided, so many ms after the request began. */
void eg_traced_step(struct eg_traced *d, uint64_t ms, const char *what, enum eg_reason reason,
		    const char *format, va_list ap) EG_PRINTF(5, 0);
/* Who of them wants this host? Takes the others out. False: nobody. */
bool eg_traced_wanted(struct eg_tracer *t, struct eg_traced *d, struct eg_str host) EG_MUST;
/* Hands over `record`, an object of JSON, with the steps as its last member. */
void eg_traced_give(struct eg_tracer *t, struct eg_traced *d, struct eg_str record);

#endif
