/* SPDX-License-Identifier: Apache-2.0 */
/* Whole lines to a descriptor that may take half of one (a full disk, a stalled reader). One
 * thread. */
#ifndef EGRET_TELEMETRY_LINES_OUT_H
#define EGRET_TELEMETRY_LINES_OUT_H

#include <sys/stat.h>

#include "telemetry/telemetry_private.h"

struct eg_lines_out {
	int fd; /* owned */
	bool pipe;
	struct eg_buf lines; /* to be written, whole ones; the owner puts them here */
	/* A line of which a part is out already: nothing else goes to that file before its rest;
	 * in another file (the log was opened anew) it is written whole. */
	struct stat torn_file;
	size_t torn_length, torn_out; /* no such line: both are equal */
	char torn[EG_LINES_WRITE];
};

void eg_lines_out_init(struct eg_lines_out *o, size_t cap_bytes);
void eg_lines_out_fini(struct eg_lines_out *o);
/* What is not out goes to `fd`, which is taken, from now on. */
void eg_lines_out_open(struct eg_lines_out *o, int fd);
/* As much as goes. 1: all is out; 0: the descriptor takes nothing now; -errno, also -EAGAIN. */
int eg_lines_out_write(struct eg_lines_out *o) EG_MUST;

#endif
