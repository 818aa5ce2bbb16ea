/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A validating reader of JSON bodies (RFC 8259) that builds nothing: hot path, bodies up to
 * 32 MiB. Keys are compared after unescaping, and a key that occurs twice in one object (at any
 * depth) is an error, so that no body is read differently here and by the provider. Also refused:
 * a byte order mark, bytes after the value, invalid UTF-8, lone surrogates, control characters in
 * strings, depth over 128, numbers that are not JSON's, more than 262,144 keys in the objects that
 * are open at one place. Linear expected time for any text; at most 9 MiB while it runs, nothing
 * with up to 64 such keys and no escapes in keys. No error text repeats a byte of the body.
 */
#ifndef EGRET_PROTO_JSON_SCAN_H
#define EGRET_PROTO_JSON_SCAN_H

#include "base/arena.h"
#include "base/base.h"
#include "base/error.h"

enum eg_json_type {
	EG_JSON_NULL,
	EG_JSON_FALSE,
	EG_JSON_TRUE,
	EG_JSON_NUMBER,
	EG_JSON_STRING,
	EG_JSON_ARRAY,
	EG_JSON_OBJECT,
};

struct eg_json_member {
	struct eg_str key; /* unescaped; valid during the call */
	struct eg_str raw; /* the value's bytes inside the text, quotes and brackets included */
	enum eg_json_type type;
};

/* A text that is read a piece at a time; see below. */
struct eg_json_reading;

/*
 * Validates the whole text, which must be one object, and calls `member` for each member of the
 * top-level object in order, as it goes: what it saw counts only when 0 comes back. A non-zero
 * return stops, the rest unread, and is returned. 0, -EINVAL with *e (may be NULL) saying what and
 * at which byte, -ENOMEM. The raw bytes of a nested object can be given to it as a text.
 */
int eg_json_members(struct eg_str text, int (*member)(void *ctx, const struct eg_json_member *m),
		    void *ctx, struct eg_error *e) EG_MUST;
/*
 * The same a piece at a time, so that nobody waits while a large text is read, whatever is in it:
 * some 4 KiB to be given back by eg_json_end(), at any time; NULL: out of memory. The text stays
 * where it is.
 */
struct eg_json_reading *eg_json_begin(struct eg_str text,
				      int (*member)(void *ctx, const struct eg_json_member *m),
				      void *ctx, struct eg_error *e) EG_MUST;
/*
 * Reads on: at most *budget bytes, from which what was read is taken, and one token more. As
 * eg_json_members(), or -EAGAIN: there is more of it. A `member` that returns that is not told of
 * the next one before it is called again.
 */
int eg_json_go_on(struct eg_json_reading *s, size_t *budget) EG_MUST;
void eg_json_end(struct eg_json_reading *s);
/* Validates likewise a text that is one object or one array; hands nothing out. */
int eg_json_check(struct eg_str text, struct eg_error *e) EG_MUST;

/*
 * Unescapes a string value (raw, with its quotes, validated), NUL-terminated; it may hold NUL
 * ("\\u0000"). .p NULL when out of memory, or when raw is not a string.
 */
struct eg_str eg_json_string(struct eg_arena *a, struct eg_str raw);
/*
 * Convenience: the raw value at a path of keys of nested objects ("usage", "prompt_tokens"), or
 * .p NULL. The text need not have been validated: malformed text finds nothing. Reads the text
 * once for each key of the path.
 */
struct eg_str eg_json_get(struct eg_str text, const char *const *path, size_t depth);
/* A non-negative integer value; false when it is not one. */
bool eg_json_u64(struct eg_str raw, uint64_t *out);

#endif
