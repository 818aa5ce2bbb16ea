/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shape of a policy file as tables: which keys an object may have, of which type, which it must
 * have. The parser reads by these tables and policies/schema.json says the same to editors;
 * tests/unit/policy/test_schema.c keeps the two equal. Within the room and its tests.
 */
#ifndef EGRET_POLICY_KEYS_H
#define EGRET_POLICY_KEYS_H

#include "base/base.h"

enum eg_key_type {
	EG_KEY_STRING,
	EG_KEY_UINT,
	EG_KEY_BOOL,
	EG_KEY_OBJECT, /* of `object` */
	EG_KEY_ARRAY,  /* of strings, or of objects when `object` is set */
	EG_KEY_MAP,    /* any keys; values are strings, or objects when `object` is set */
};

struct eg_key_object;

struct eg_key {
	const char *name;
	enum eg_key_type type;
	bool required;
	const char *const *values; /* strings: the ones allowed, NULL-terminated; or NULL */
	const struct eg_key_object *object; /* of what, see the type */
	uint64_t min, max;		    /* uint: range; array and map: number of elements */
	size_t max_length;		    /* strings, and strings inside: bytes; 0: 256 */
};

struct eg_key_object {
	const char *name; /* for messages, and the name in the schema's $defs ("" : the top) */
	const struct eg_key *keys;
	size_t key_count;
	/* Keys of Egret's design that this version does not have; NULL-terminated. They are refused
	 * with that said, never ignored. */
	const char *const *later;
};

extern const struct eg_key_object eg_key_top, eg_key_provider, eg_key_credential, eg_key_policy,
	eg_key_pods, eg_key_regions, eg_key_route, eg_key_match, eg_key_target, eg_key_timeouts,
	eg_key_defaults, eg_key_destination;

/* Limits of a set, so that a hostile ConfigMap can't take the supervisor's memory; those of files
 * are in policy.h. */
#define EG_POLICY_MAX_DEPTH	16u
#define EG_POLICY_MAX_POLICIES	20000u
#define EG_POLICY_MAX_ROUTES	20000u /* of the whole set */
#define EG_POLICY_MAX_PROVIDERS 4096u
#define EG_POLICY_MAX_NAMES	4096u /* different hosts; what the kernel's map holds */
#define EG_POLICY_SUFFIX_LABELS                                           \
	15u /* after "*."; what the kernel hashes (egret/abi/name_hash.h) \
	     */
#define EG_POLICY_MAX_CIDRS  4096u
#define EG_POLICY_MAX_RULES  1000000u /* hosts x models x operations of all routes */
#define EG_POLICY_MAX_GLOBS  1024u    /* tried one after the other: same text before a wildcard */
#define EG_POLICY_MAX_ERRORS 200u     /* reported; the rest is counted */

#endif
