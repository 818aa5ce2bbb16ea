/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of a slot, shared by the files of this room only. */
#ifndef EGRET_TELEMETRY_TELEMETRY_PRIVATE_H
#define EGRET_TELEMETRY_TELEMETRY_PRIVATE_H

#include "telemetry/series.h"
#include "telemetry/telemetry.h"

struct eg_telemetry {
	char gateway[64];
	int log_fd;
	bool log_failed;     /* and it was said */
	struct eg_buf lines; /* owner only: records not written yet */
	atomic_uint_fast64_t count[EG_COUNTS];
	atomic_int_fast64_t gauge[EG_GAUGES];
	atomic_int_fast64_t *mirror[EG_GAUGES]; /* borrowed; NULL: none */
	atomic_uint_fast64_t records_lost;
	atomic_uint_fast64_t connections_by_reason[EG_REASON_MAX];
	struct eg_series_table series;
};

/* Appends one JSON line. 0 or -errno with nothing appended. */
int eg_record_write(struct eg_buf *out, const char *gateway, const struct eg_record *r,
		    bool connection) EG_MUST;

#define EG_REDACTED    "[redacted]"
#define EG_REDACT_MAX  512u /* the longest string that is recorded */
#define EG_REDACT_ROOM (EG_REDACT_MAX + sizeof(EG_REDACTED))
/*
 * `s` itself, or, when something in its first `cap` bytes (at most EG_REDACT_MAX) looks like a key,
 * those bytes in `out` with each such thing replaced by EG_REDACTED. One that begins before the cap
 * is seen whole.
 */
struct eg_str eg_redact(struct eg_str s, size_t cap, char out[EG_REDACT_ROOM]);

#endif
