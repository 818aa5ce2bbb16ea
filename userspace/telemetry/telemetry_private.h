/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of a slot, shared by the files of this room only. */
#ifndef EGRET_TELEMETRY_TELEMETRY_PRIVATE_H
#define EGRET_TELEMETRY_TELEMETRY_PRIVATE_H

#include "base/redact.h"
#include "telemetry/series.h"
#include "telemetry/telemetry.h"

#define EG_LINES_WRITE (64u * 1024u) /* more than any line has */

struct eg_telemetry {
	char gateway[64];
	struct eg_lines *log; /* borrowed; NULL: none */
	struct eg_buf lines;  /* owner only: records not handed over yet */
	atomic_uint_fast64_t count[EG_COUNTS];
	atomic_int_fast64_t gauge[EG_GAUGES];
	atomic_uint_fast64_t rises[EG_GAUGES];
	atomic_int_fast64_t *mirror[EG_GAUGES]; /* borrowed; NULL: none */
	atomic_uint_fast64_t records_lost;
	atomic_uint_fast64_t connections_by_reason[EG_REASON_MAX];
	struct eg_series_table series;
	struct eg_denials *denials; /* NULL: nobody wants them */
	struct eg_tracer *tracer;   /* borrowed; NULL: nobody can watch */
};

/* See eg_record.base. Written once, but for the series. */
struct eg_record_base {
	char *text; /* owned; the three follow each other in it */
	struct eg_str pod, target, attempt;
	bool target_named; /* there is a provider */
	/* The series counted in last, of requests and of attempts, and what chose them beside what
	 * this is made of. NULL: none yet. */
	struct eg_series *requests, *attempts;
	const char *model, *operation;
	enum eg_reason reason, attempt_reason;
	unsigned int status, attempt_status;
};

/* Did the attempt go where the answer came from? By the pointers: no is said where it did, too. */
static inline bool eg_record_same_target(const struct eg_record *r, const struct eg_attempt *a)
{
	return a->provider == r->provider && a->region == r->region;
}

/* Appends one JSON line. 0 or -errno with nothing appended. */
int eg_record_write(struct eg_buf *out, const char *gateway, const struct eg_record *r,
		    bool connection) EG_MUST;

#endif
