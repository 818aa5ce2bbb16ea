/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log of the program itself, for an operator: one JSON line an entry on stderr (the access log
 * is telemetry's). Strings from outside are capped and byte-escaped by eg_log itself; never pass a
 * secret, a prompt, or a header value. Thread-safe: one write(2) an entry. A reader that stalls is
 * not waited for: entries are lost then, and the next one that is written says how many.
 */
#ifndef EGRET_BASE_LOG_H
#define EGRET_BASE_LOG_H

#include "base/base.h"

enum eg_log_level { EG_LOG_DEBUG, EG_LOG_INFO, EG_LOG_WARN, EG_LOG_ERROR };

/* Role shown in each entry ("supervisor", "gateway"); lowest level shown. Call once, before
 * threads. */
void eg_log_init(const char *role, enum eg_log_level lowest);
/* At the start, where files can be opened: no write to stderr waits, if it is a pipe or a terminal.
 * It may be called before eg_log_init(), and holds for what inherits this stderr as well. */
void eg_log_unblock(void);
/* One sentence. Written as {"time":...,"level":...,"role":...,"message":...}. Keeps errno. */
void eg_log(enum eg_log_level level, const char *format, ...) EG_PRINTF(2, 3);
#define eg_debug(...) eg_log(EG_LOG_DEBUG, __VA_ARGS__)
#define eg_info(...)  eg_log(EG_LOG_INFO, __VA_ARGS__)
#define eg_warn(...)  eg_log(EG_LOG_WARN, __VA_ARGS__)
#define eg_error(...) eg_log(EG_LOG_ERROR, __VA_ARGS__)

struct eg_buf;
/*
 * Appends s as a JSON string with quotes: at most `cap` bytes of s; control characters and bytes
 * that are not valid UTF-8 are written as \u00XX. 0 or as eg_buf_append().
 */
int eg_json_quote(struct eg_buf *out, struct eg_str s, size_t cap) EG_MUST;
/* Would that be s itself between the quotes. Never said of a byte that is not ASCII. */
bool eg_json_plain(struct eg_str s);
/*
 * Appends s for a person's terminal: control and format characters and bytes that are not valid
 * UTF-8 are written as \u00XX, so that s can neither begin a line of its own, nor take one back.
 * 0 or as eg_buf_append().
 */
int eg_text_printable(struct eg_buf *out, struct eg_str s) EG_MUST;

#endif
