/* SPDX-License-Identifier: Apache-2.0 */
/* What each vendor's file gives to the rest of the room; not for other rooms. */
#ifndef EGRET_PROVIDER_VENDOR_H
#define EGRET_PROVIDER_VENDOR_H

#include "proto/json_scan.h"
#include "provider/provider.h"

enum eg_method_bit {
	EG_METHOD_GET = 1,
	EG_METHOD_POST = 2,
	EG_METHOD_DELETE = 4,
	EG_METHOD_ANY = 8, /* also methods that no row knows: for what is refused anyway */
};

/* An operation and one form of its path after the API's base path: segments are literal, "{}" is
 * one id, and a last "**" is any number of ids (also none). */
struct eg_operation_row {
	unsigned int methods; /* enum eg_method_bit */
	const char *pattern;
	const struct eg_operation *operation;
};

struct eg_vendor {
	enum eg_dialect dialect;
	const struct eg_operation_row *rows;
	size_t row_count;
	/* Base paths its clients use, longest first where one begins with another. */
	const struct eg_str *base_paths;
	size_t base_path_count;
	/* Request headers that pass, beside the common ones; lower case. */
	const struct eg_str *request_headers;
	size_t request_header_count;
	/* Query keys that its operations define; as they are compared: byte by byte. */
	const struct eg_str *query_keys;
	size_t query_key_count;
	/* The error object; see eg_dialect_error(). */
	int (*error)(struct eg_buf *out, enum eg_reason reason, struct eg_str text,
		     struct eg_str request_id) EG_MUST;
};

extern const struct eg_vendor eg_vendor_openai;
extern const struct eg_vendor eg_vendor_anthropic;

/* NULL for EG_DIALECT_NONE. */
const struct eg_vendor *eg_vendor_of(enum eg_dialect d);

/* Operation ids (eg_operation.id): one for each name, over all dialects. */
enum eg_operation_id {
	EG_OP_UNKNOWN,
	EG_OP_CHAT,
	EG_OP_CHAT_STORED,
	EG_OP_COMPLETIONS,
	EG_OP_FIM,
	EG_OP_RESPONSES,
	EG_OP_RESPONSES_COMPACT,
	EG_OP_RESPONSES_INPUT_TOKENS,
	EG_OP_RESPONSES_STORED,
	EG_OP_CONVERSATIONS,
	EG_OP_EMBEDDINGS,
	EG_OP_MODERATIONS,
	EG_OP_IMAGES_GENERATIONS,
	EG_OP_IMAGES_EDITS,
	EG_OP_IMAGES_VARIATIONS,
	EG_OP_AUDIO_SPEECH,
	EG_OP_AUDIO_TRANSCRIPTIONS,
	EG_OP_AUDIO_TRANSLATIONS,
	EG_OP_VIDEOS,
	EG_OP_MODELS,
	EG_OP_FILES,
	EG_OP_UPLOADS,
	EG_OP_BATCHES,
	EG_OP_ASSISTANTS,
	EG_OP_THREADS,
	EG_OP_VECTOR_STORES,
	EG_OP_FINE_TUNING,
	EG_OP_EVALS,
	EG_OP_CONTAINERS,
	EG_OP_SKILLS,
	EG_OP_CHATKIT_THREADS,
	EG_OP_REALTIME,
	EG_OP_REALTIME_CREDENTIALS,
	EG_OP_CHATKIT_SESSIONS,
	EG_OP_API_KEYS,
	EG_OP_ORGANIZATION,
	EG_OP_MESSAGES,
	EG_OP_COMPLETE,
	EG_OP_COUNT_TOKENS,
	EG_OP_MESSAGES_BATCHES,
	EG_OP_COUNT
};
_Static_assert(EG_OP_COUNT <= EG_OPERATION_IDS, "raise EG_OPERATION_IDS");

#define EG_MODEL_BYTES_MAX 1024u /* policy knows no name that is longer */

/* ---- state.c ---- */

#define EG_STATE_DEPTH 136 /* above the JSON reader's own limit */

/* An item of the Responses API, as far as it was read. */
struct eg_state_item {
	bool id, typed;
	int type;      /* which of those that are known; negative: another one */
	uint32_t said; /* a bit for each name that matters, of members that hold something */
};

/* A look through one member of a body for what the provider keeps; a piece at a time. */
struct eg_state_walk {
	const struct eg_operation *op;
	bool *found;
	struct eg_str text; /* the member's value */
	size_t i, depth;
	bool sound[EG_STATE_DEPTH]; /* [depth]: is what opens next, or was opened last, one? */
	bool items; /* the text is a list of items, which are looked at after that */
	bool in_item;
	struct eg_str rest; /* of the list, or of the item at hand */
	struct eg_state_item item;
};

/*
 * Sets *found when a member of the body's top level, or anything in it, refers to what the provider
 * keeps. True: its value is to be looked through for that, by eg_state_go_on().
 */
bool eg_state_begin(struct eg_state_walk *w, const struct eg_operation *op,
		    const struct eg_json_member *m, bool *found);
/* At most *budget bytes, from which what was read is taken, and one token more. 0: all was looked
 * at; -EAGAIN: there is more. */
int eg_state_go_on(struct eg_state_walk *w, size_t *budget) EG_MUST;
/* Likewise, at once, by the name of a form's field, nested as SDKs write it, and its value;
 * `json`: that is one object or array which eg_json_check() took. */
void eg_state_in_field(const struct eg_operation *op, struct eg_str field, struct eg_str value,
		       bool json, bool *found);

/* ---- json.c: small steps over JSON text that may be cut or hostile ---- */
struct eg_str eg_json_skip_space(struct eg_str s);
/* Is that member `name` (of lower-case ASCII) to a reader that minds no case? Go's encoding/json
 * takes U+017F for an s and U+212A for a k, too (foldName() in fold.go). */
bool eg_json_key_folds(struct eg_str key, struct eg_str name);
/* Length of the string token at the beginning of s, quotes included; at most s.n. */
size_t eg_json_token_length(struct eg_str s);
/* Length of the value at the beginning of s (no leading space); at most s.n. */
size_t eg_json_value_length(struct eg_str s);
/* The value at a path of one key or two; .p NULL: none, or null. */
struct eg_str eg_json_member_of(struct eg_str object, const char *key);
struct eg_str eg_json_member_of2(struct eg_str object, const char *key, const char *key2);
/* True when the value is the string `text`, which needs no escapes. */
bool eg_json_is(struct eg_str value, const char *text);
bool eg_bytes_have(struct eg_str s, const char *needle);

#endif
