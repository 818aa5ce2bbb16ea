/* SPDX-License-Identifier: Apache-2.0 */
/* egretctl flows --follow: what the pods do now. */
#ifndef EGRET_EGRETCTL_FLOWS_FOLLOW_H
#define EGRET_EGRETCTL_FLOWS_FOLLOW_H

#include <jansson.h>

#include "base/error.h"

/*
 * Each second `look` gives the flows that are remembered, as rows of `egretctl flows --json`, a new
 * reference; NULL with *e: they can't be read. A line (json: an object in one line) for each that
 * is new since the last look, or has packets or another decision since. What was there at the
 * beginning is not shown until it goes on. Ends when nobody reads stdout any more (EG_EXIT_OK) or
 * when `look` fails, which is said (EG_EXIT_NO).
 */
int flows_follow(json_t *(*look)(void *context, struct eg_error *e), void *context, bool json);

#endif
