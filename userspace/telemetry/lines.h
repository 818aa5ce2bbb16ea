/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The access log's writer: a thread that has nothing else to do. Workers hand over what a turn of
 * theirs made, and never wait for a disk or a reader; nor do they wake it more often than it naps.
 * Memory is bounded: what it can't take stays with the worker, and past that worker's own cap
 * records are lost, and counted here.
 */
#ifndef EGRET_TELEMETRY_LINES_H
#define EGRET_TELEMETRY_LINES_H

#include "base/base.h"
#include "base/buf.h"

#define EG_LINES_WAIT ((size_t)4 << 20) /* handed over and not written */

struct eg_lines;

/* Takes `fd`, also when it fails (NULL: out of memory). A pipe or socket is made non-blocking. */
struct eg_lines *eg_lines_create(int fd) EG_MUST;
/* Makes the thread. 0 or -errno. */
int eg_lines_start(struct eg_lines *l) EG_MUST;
/* Any thread, but from here on one at a time: what is not written yet goes to `fd`, which is taken.
 * Does not wait for what is being written. */
void eg_lines_reopen(struct eg_lines *l, int fd);

/* Any thread: whole lines, all of them or (too much waits) none; what was taken is out of the
 * buffer. */
void eg_lines_give(struct eg_lines *l, struct eg_buf *lines);
/* Any thread: a record found no room. Said once, and how many there were when lines are written
 * again. */
void eg_lines_lost(struct eg_lines *l);

/* What the thread does, for who has none: writes what can be written now. 1: all is out; 0 or
 * -errno: not. */
int eg_lines_turn(struct eg_lines *l) EG_MUST;

/* Writes what was handed over, and ends; after `limit_ms` what is left is lost, which is said.
 * False: the thread is still inside a write, and `l` stays. NULL is nothing. */
bool eg_lines_destroy(struct eg_lines *l, uint32_t limit_ms);

#endif
