/* SPDX-License-Identifier: Apache-2.0 */
/* One access record, with or without the steps of its decisions, for a person. */
#ifndef EGRET_EGRETCTL_TRACE_SHOW_H
#define EGRET_EGRETCTL_TRACE_SHOW_H

#include <jansson.h>

#include "base/base.h"

/* Is it a record of a request or of a connection (docs/access-log.md)? */
bool trace_is_record(const json_t *record);
/* As lines on stdout. A member that is missing, or not of the kind that it should be, is left out.
 */
void trace_show(const json_t *record);

#endif
