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
	int log_fd;
	bool log_failed; /* and it was said */
	bool log_pipe;
	bool log_behind;     /* owner only: not all of what it wrote is out */
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

/* Writes whole lines, as many as go, and takes them out of the buffer; several threads may write to
 * one `fd`, also when it takes half a line. 1: all are out; 0 or -errno: not. */
int eg_lines_write(int fd, bool pipe, struct eg_buf *lines) EG_MUST;

#endif
