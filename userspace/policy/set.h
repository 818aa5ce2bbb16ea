/* SPDX-License-Identifier: Apache-2.0 */
/* The compiled set from inside the room. Everything lies in one arena and never changes once
 * eg_policy_load() has returned it. */
#ifndef EGRET_POLICY_SET_H
#define EGRET_POLICY_SET_H

#include <stdatomic.h>

#include "policy/policy.h"

/* Name ids of the gateway address: one for each dialect, above all watched names. */
#define GATEWAY_NAME(dialect) (0x80000000u + (uint32_t)(dialect))

/* Operations of a rule: an operation's id, or one of these. */
#define OP_INFERENCE EG_OPERATION_IDS
#define OP_ALL	     (EG_OPERATION_IDS + 1u) /* the route, whatever the operation */

#define MODEL_MAX 256u /* a longer model name matches no route with models */
#define NO_ROUTE  UINT32_MAX

enum rule_kind {
	RULE_OP,	/* some route of (policy, name) allows the operation */
	RULE_ANY_MODEL, /* a route without models */
	RULE_EXACT,	/* text is the model */
	RULE_PREFIX,	/* text and then anything: "gpt-4o*" */
	RULE_GLOB,	/* text and then the rest of a glob: "gpt-*-mini" */
};

struct rule {
	uint64_t hash;
	uint32_t policy, name, operation;
	enum rule_kind kind;
	struct eg_str text;
	uint32_t route;	    /* the first route of the policy with this key */
	struct rule *next;  /* GLOB: further ones with this key, by route */
	struct rule *last;  /* in the first of them, while the index is built */
	uint32_t count;	    /* likewise: how many there are */
	struct eg_str glob; /* GLOB */
};

/* What (policy, name) has at all. */
struct bucket {
	uint32_t policy, name;
	bool used;
	uint64_t lengths[MODEL_MAX / 64 + 1]; /* of the texts of PREFIX and GLOB rules */
};

struct index {
	struct rule **rules; /* open addressing, power of two */
	size_t rule_mask;
	struct bucket *buckets;
	size_t bucket_mask;
	uint32_t *names; /* hash of a watched name -> its id, 0 empty */
	size_t name_mask;
};

/* Which pods a policy selects. */
struct selector {
	const char *const *namespaces;
	size_t namespace_count;
	const struct eg_label *namespace_labels;
	size_t namespace_label_count;
	const struct eg_label *labels;
	size_t label_count;
	const char *const *service_accounts;
	size_t service_account_count;
};

struct eg_policy_set {
	atomic_uint refs;
	struct eg_arena memory;
	char version[17];
	struct eg_policy *policies;
	struct selector *selectors; /* [policy] */
	uint32_t *order;	    /* policies, most specific first, ties by name */
	size_t policy_count;
	struct eg_provider *providers;
	size_t provider_count;
	struct eg_credential_spec *credentials;
	size_t credential_count;
	struct eg_watched_name *names;
	size_t name_count;
	const char **cidrs;
	size_t cidr_count;
	const char **fronts; /* of all providers, sorted for bsearch() */
	size_t front_count;
	size_t route_count;
	struct index index;
	const struct eg_policy_busy *busy; /* of who loads it; NULL: nobody, or it is loaded */
};

static inline void set_busy(const struct eg_policy_set *s)
{
	if (s->busy)
		s->busy->call(s->busy->context);
}

/* ---- fronts.c ---- */
/* Fills set->fronts from the providers. 0, -ENOMEM, -E2BIG (more than EG_POLICY_MAX_NAMES). */
int eg_fronts_build(struct eg_policy_set *set) EG_MUST;

/* ---- index.c ---- */
/* Fills set->index from policies and names. 0, -ENOMEM, -E2BIG (more rules than the limit), -EMLINK
 * (more than EG_POLICY_MAX_GLOBS globs that only differ after their first wildcard). */
int eg_index_build(struct eg_policy_set *set) EG_MUST;
/* Lower case, without the dot that a fully qualified name may end with; empty: too long. */
struct eg_str eg_normal_host(struct eg_str host, char out[256]);
/* Id of a watched name by its text ("api.openai.com", "*.example.com"); 0: none. */
uint32_t eg_index_name(const struct eg_policy_set *s, struct eg_str text);
/* Ids of all watched names that cover a host (lower case, no dot at its end), longest first. */
#define COVER_MAX 128
size_t eg_index_cover(const struct eg_policy_set *s, struct eg_str host, uint32_t ids[COVER_MAX]);
const struct bucket *eg_index_bucket(const struct eg_policy_set *s, uint32_t policy, uint32_t name);
/* Does some route of the bucket allow the operation (an id, OP_INFERENCE)? */
bool eg_index_operation(const struct eg_policy_set *s, const struct bucket *b, uint32_t operation);
/* First route of the bucket that takes operation and model (.p NULL: none), or NO_ROUTE. */
uint32_t eg_index_route(const struct eg_policy_set *s, const struct bucket *b, uint32_t operation,
			struct eg_str model);
/* Splits a model glob: how it is looked up, and the literal text before its first wildcard. */
enum rule_kind eg_index_model_kind(struct eg_str glob, struct eg_str *text);

/* ---- select.c ---- */
unsigned int eg_selector_rank(const struct selector *s);
/* Can one pod be selected by both? */
bool eg_selectors_overlap(const struct selector *a, const struct selector *b);
/* Fills set->order. */
int eg_select_build(struct eg_policy_set *set) EG_MUST;

#endif
