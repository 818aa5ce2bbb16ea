/* SPDX-License-Identifier: Apache-2.0 */
/* A table for people, of JSON objects. */
#ifndef EGRET_EGRETCTL_ROWS_H
#define EGRET_EGRETCTL_ROWS_H

#include "datapath/read.h"
#include "egretctl/command.h"

#define ROWS_COLUMNS 16 /* at most */

/* A line of headings, then one for each object of `rows`: its members `columns` (ends with NULL),
 * strings or integers; "-" for what is empty or missing. Columns are as wide as what is in them. */
void rows_print(const json_t *rows, const char *const *columns);
/* For eg_pins_names(): adds "number of the name" -> its text to the object `names`. */
bool rows_add_name(void *names, const struct eg_name *n);

#endif
