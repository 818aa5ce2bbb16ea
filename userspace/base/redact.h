/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys in strings that somebody else chose (a client, a provider, the author of a policy): what
 * looks like one is not recorded, logged or repeated in an error.
 */
#ifndef EGRET_BASE_REDACT_H
#define EGRET_BASE_REDACT_H

#include "base/base.h"

#define EG_REDACTED    "[redacted]"
#define EG_REDACT_MAX  512u /* the longest string that is recorded */
#define EG_REDACT_ROOM (EG_REDACT_MAX + sizeof(EG_REDACTED))

/*
 * `s` itself, or, when something in its first `cap` bytes (at most EG_REDACT_MAX) begins like the
 * keys of a provider, cloud or forge and goes on as long, those bytes in `out` with each such thing
 * replaced by EG_REDACTED. One that begins before the cap is seen whole.
 */
struct eg_str eg_redact(struct eg_str s, size_t cap, char out[EG_REDACT_ROOM]);

/*
 * The same in place, on a NUL-terminated text. `unmarked`: also what has no such beginning but
 * looks random (24 letters and digits in a row, 32 with base 64's others of either alphabet). For
 * errors about an operator's files, where a key pasted into the wrong field is likely and ids are
 * not.
 */
void eg_redact_text(char *text, bool unmarked);

/* Would it take something out of `s`. */
bool eg_redact_found(struct eg_str s, bool unmarked);

#endif
