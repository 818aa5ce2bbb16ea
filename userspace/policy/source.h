/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading policy files: where a value stands (file, JSON path, line and column), what is wrong
 * there, and the checks that the tables of policy/keys.h ask for. Every error is collected, not
 * only the first. Within the room.
 */
#ifndef EGRET_POLICY_SOURCE_H
#define EGRET_POLICY_SOURCE_H

#include <jansson.h>

#include "policy/keys.h"
#include "policy/set.h"

struct document {
	struct eg_str name; /* of the file */
	struct eg_str text;
	json_t *root; /* NULL when it could not be parsed */
};

/* Where the last search for a child ended; document NULL: there was none. */
struct found {
	const struct document *document;
	size_t parent;	 /* offset of the object or array */
	const char *key; /* NULL: an element */
	size_t index, at;
};
#define PLACE_DEPTHS 8 /* deeper ones are searched for anew each time */

/* A place whose line and column were counted last. */
struct lined {
	const struct document *document;
	size_t at;
	int line, column;
};

struct loading {
	struct eg_policy_set *set;
	struct eg_policy_errors *errors;
	struct document *documents; /* by name */
	size_t document_count;
	size_t errors_seen; /* errors without warnings, also those past the limit */
	size_t reports_left_out;
	struct found found[PLACE_DEPTHS]; /* by depth */
	struct lined lined;
	size_t searched;		      /* bytes that the searches for places went over */
	const struct eg_provider **providers; /* of the set, by name; NULL: none */
	bool out_of_memory;
};

/* A value in a document: the chain up to the root lives on the stack of whoever walks. */
struct place {
	struct loading *l;
	const struct document *document;
	const struct place *up; /* NULL: the root */
	const char *key;	/* NULL: an element of an array */
	size_t index;
};

static inline struct place place_key(const struct place *up, const char *key)
{
	return (struct place){up->l, up->document, up, key, 0};
}
static inline struct place place_index(const struct place *up, size_t index)
{
	return (struct place){up->l, up->document, up, NULL, index};
}

/* The value is wrong; the set will be refused. */
void source_error(const struct place *at, const char *format, ...) EG_PRINTF(2, 3);
/* The key itself is wrong (points at the key's own position). */
void source_key_error(const struct place *at, const char *format, ...) EG_PRINTF(2, 3);
/* Wrong at that byte of the document, which need not be JSON. */
void source_error_at(const struct place *at, size_t offset, const char *format, ...)
	EG_PRINTF(3, 4);
void source_warning(const struct place *at, const char *format, ...) EG_PRINTF(2, 3);
/* Of a whole file, or of the set as a whole (NULL), which is shown as SOURCE_ALL_FILES. */
#define SOURCE_ALL_FILES "*.json"
void source_file_error(struct loading *l, const struct document *d, const char *format, ...)
	EG_PRINTF(3, 4);

/* ---- syntax.c ---- */
/* Is the document JSON, and no key in an object twice? Reports; a key that is there twice is no
 * reason not to read on. */
bool syntax_check(struct loading *l, const struct document *d);

/* Parses every file into l->documents (sorted by name). Errors are reported. -ENOMEM or 0. */
int source_open(struct loading *l, const struct eg_policy_file *files, size_t count) EG_MUST;
void source_close(struct loading *l);

/* Checks `v` against the table: types, unknown and missing keys, allowed values, ranges. Reports.
 * False when v is no object at all. Values of a wrong type are not seen by the getters below. */
bool source_check(const struct place *at, json_t *v, const struct eg_key_object *object);

/* NULL when absent or of a wrong type. */
const char *source_string(json_t *object, const char *key);
json_t *source_object(json_t *object, const char *key);
json_t *source_array(json_t *object, const char *key);
/* Every file could be read, and has an object at that top-level key if anything: what refers to a
 * name that is not there is wrong itself, and not only follows from another error. */
bool source_map_read(const struct loading *l, const char *key);
/* `fallback` when absent, of a wrong type or out of the table's range. */
uint64_t source_uint(json_t *object, const char *key, uint64_t fallback);
bool source_bool(json_t *object, const char *key, bool fallback);

/* ---- checks of single values, each with its message ---- */
/* A DNS label or name as Kubernetes has them (RFC 1123): a namespace, a service account. */
bool source_namespace(const struct place *at, const char *text);
bool source_service_account(const struct place *at, const char *text);
/* A name of ours: a letter or digit, then letters, digits, '.', '_', '-'; at most 63. */
bool source_name(const struct place *at, const char *text);
/* A DNS name, lower case, or with `wildcard` "*." and one. */
bool source_host(const struct place *at, const char *text, bool wildcard);
/* A name that a route or destination governs: two labels at least, or "*." and such a name. */
bool source_pattern(const struct place *at, const char *text);
/* Nothing in it looks like a secret (`unmarked` as base/redact.h says): it would be shown. */
bool source_no_secret(const struct place *at, const char *text, bool unmarked,
		      const char *expected);
/* A path below the credentials directory. */
bool source_path(const struct place *at, const char *text);

/* Strings of an array that `valid` (may be NULL) accepts, copied into the set's arena; one that is
 * there twice is an error. NULL: none, or out of memory. */
const char **source_strings(const struct place *at, json_t *array, size_t *count,
			    bool (*valid)(const struct place *at, const char *text));

/* In the set's arena. Out of memory sets l->out_of_memory, which refuses the set in the end: the
 * copy is then "" (so that readers need not look), the allocation NULL. */
const char *source_dup(struct loading *l, const char *text);
void *source_alloc(struct loading *l, size_t count, size_t size);

/* ---- read_*.c: each reads its part of all documents into the set ---- */
void read_credentials(struct loading *l);
void read_providers(struct loading *l);
/* After that. NULL: there is none of that name. */
const struct eg_provider *find_provider(const struct loading *l, const char *name);
void read_policies(struct loading *l);
void read_destinations(struct loading *l);

#endif
