/* SPDX-License-Identifier: Apache-2.0 */
/* JSON string escapes (RFC 8259 section 7), for who has the raw bytes of a string. */
#ifndef EGRET_PROTO_JSON_TEXT_H
#define EGRET_PROTO_JSON_TEXT_H

#include "base/base.h"

/*
 * The escape at p[0] == '\\', a surrogate pair being one: its length, and the code point in *c
 * (which may be NULL). 0: not an escape, or half a surrogate pair.
 */
size_t eg_json_escape(const unsigned char *p, size_t n, uint32_t *c);
/*
 * Unescapes s (without quotes) into `out` of at least s.n bytes; no escape is shorter than what it
 * stands for. The length, or -EINVAL for a bad escape.
 */
ssize_t eg_json_unescape(char *out, struct eg_str s);

#endif
