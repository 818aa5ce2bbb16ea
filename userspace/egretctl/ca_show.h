/* SPDX-License-Identifier: Apache-2.0 */
/* What is in a directory of `egretctl ca`, for people and as JSON. */
#ifndef EGRET_EGRETCTL_CA_SHOW_H
#define EGRET_EGRETCTL_CA_SHOW_H

#include "egretctl/command.h"

#define CA_FILE_MAX (1u << 20)

/* Prints root and intermediate of `dir` on stdout. EG_EXIT_OK, EG_EXIT_NO when something is wrong
 * with them (each said on stderr, and in the JSON), EG_EXIT_USAGE when they can't be read. */
int ca_show(const char *dir, bool json);

#endif
