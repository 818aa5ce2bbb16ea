/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sentence for a person, carried up beside an -errno to where it is handled and logged once:
 * it names the thing, the place and what was expected. Never holds a secret.
 */
#ifndef EGRET_BASE_ERROR_H
#define EGRET_BASE_ERROR_H

#include "base/base.h"

struct eg_error {
	char text[512]; /* NUL-terminated; cut, never overrun */
};

/* Writes the sentence (e may be NULL) and returns code. */
int eg_error_set(struct eg_error *e, int code, const char *format, ...) EG_PRINTF(3, 4);
/* Puts "prefix: " before what is there; returns code. */
int eg_error_prefix(struct eg_error *e, int code, const char *format, ...) EG_PRINTF(3, 4);

#endif
