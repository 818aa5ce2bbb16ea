/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policy: a directory of JSON files, all one set, parsed strictly and compiled to an immutable
 * snapshot (DESIGN section 4; policies/schema.json). Pure: bytes in, structures out. A compiled
 * set is read-only and may be shared between threads; eg_policy_set_ref/unref count atomically.
 */
#ifndef EGRET_POLICY_POLICY_H
#define EGRET_POLICY_POLICY_H

#include "base/arena.h"
#include "base/base.h"
#include "base/buf.h"
#include "base/error.h"
#include "policy/identity.h"
#include "provider/credential_spec.h"
#include "provider/provider.h"

/* ---- source ---- */
struct eg_policy_file {
	struct eg_str name; /* "10-eu.json": for messages */
	struct eg_str text;
};

/* What a set may have of files; who reads them stops there, too. */
#define EG_POLICY_MAX_FILES	  256u
#define EG_POLICY_MAX_FILE_BYTES  (8u << 20)
#define EG_POLICY_MAX_TOTAL_BYTES (16u << 20)

struct eg_policy_error {
	char file[256];	  /* "*.json": the set as a whole */
	char path[512];	  /* JSON path: "$.policies[0].routes[1].targets" */
	char text[320];	  /* what is wrong, and of an error what was expected */
	int line, column; /* 0: not known */
	bool warning;	  /* the set is usable (ties, unused providers, names outside the CA) */
};
struct eg_policy_errors {
	struct eg_policy_error *item; /* heap; freed by eg_policy_errors_fini */
	size_t count;
};
void eg_policy_errors_fini(struct eg_policy_errors *e);
/* Where $.<map>.<name>.<key> stands in the files of a set that loaded: file, path, line and column
 * of *out. For what is found wrong with it outside this room. False, and *out untouched: nowhere.
 */
bool eg_policy_locate(const struct eg_policy_file *files, size_t count, const char *map,
		      const char *name, const char *key, struct eg_policy_error *out);

/* ---- compiled ---- */
struct eg_model_map {
	const char *from, *to;
};

struct eg_provider {
	const char *name;
	enum eg_dialect dialect;
	const char *kind; /* as written */
	bool tls;	  /* https */
	const char *host; /* of the endpoint; SNI and Host */
	uint16_t port;
	const char *base_path;			     /* "/v1"; "" for none; no trailing slash */
	const struct eg_credential_spec *credential; /* NULL: none */
	struct eg_region region; /* stated, or by the host's table; code "" unknown */
	bool region_stated;
	const struct eg_model_map *models;
	size_t model_count;
	const char *ca_file; /* relative to --credentials-dir, or NULL: system roots */
	bool allow_private; /* policy names an in-cluster endpoint: private addresses may be dialled
			     */
	bool http2;	    /* may be spoken to it, if its TLS chooses it */
	const char *const *fronts; /* hosts, exact or "*.suffix": see eg_policy_fronts() */
	size_t front_count;
	size_t index;
};

struct eg_target_spec {
	const struct eg_provider *provider;
};

struct eg_timeouts {
	uint64_t connect_ms, first_byte_ms, total_ms, idle_ms; /* 0 never occurs: defaults filled */
};

struct eg_route {
	const char *name;
	const char *const
		*hosts; /* lower case; exact or "*.suffix"; none: only by gateway address */
	size_t host_count;
	const char *const *models; /* globs; none: any, also no model */
	size_t model_count;
	const struct eg_operation *const *operations; /* beyond inference */
	size_t operation_count;
	const struct eg_target_spec *targets;
	size_t target_count;
	struct eg_timeouts timeouts;
	bool replay_once; /* "replay": "never": no second attempt once bytes may have been processed
			   */
	uint64_t max_body_bytes;
	size_t index;
};

enum eg_policy_mode { EG_MODE_ENFORCE, EG_MODE_SHADOW_SNI, EG_MODE_SHADOW_FULL };

struct eg_policy {
	const char *name;
	uint32_t id; /* 1.. within the set: eg_pod.policy_id */
	enum eg_policy_mode mode;
	bool otherwise_pass;
	bool fail_open;
	bool fail_stated; /* "fail" or "defaults" says so; else egretd's --fail holds */
	bool capture_all_tls, strict;
	const struct eg_region *regions; /* none: any region */
	size_t region_count;
	const struct eg_route *routes;
	size_t route_count;
	/* What the most generous of its routes allows: before the body says which one it is. */
	uint64_t largest_body_bytes;
};

struct eg_watched_name {
	const char *text; /* "api.openai.com" or "*.openai.azure.com" */
	uint32_t id;	  /* 1.. : name_id in the maps */
};

struct eg_policy_set;

/* 0 and *out; -EINVAL with at least one error that is no warning; -ENOMEM. Warnings may come with
 * 0. */
int eg_policy_load(const struct eg_policy_file *files, size_t count, struct eg_policy_set **out,
		   struct eg_policy_errors *errors) EG_MUST;
/* Reading megabytes takes its time: for who has other duties meanwhile. Called often, for each
 * policy, kilobyte and error at least; between two calls lies what it takes to free one file. */
struct eg_policy_busy {
	void (*call)(void *context);
	void *context;
};
/* The same; `busy` may be NULL. */
int eg_policy_load_busy(const struct eg_policy_file *files, size_t count,
			const struct eg_policy_busy *busy, struct eg_policy_set **out,
			struct eg_policy_errors *errors) EG_MUST;
struct eg_policy_set *eg_policy_set_ref(struct eg_policy_set *s);
void eg_policy_set_unref(struct eg_policy_set *s);

/* First 16 hex digits of the SHA-256 over the files, in order of name: shown everywhere. */
const char *eg_policy_version(const struct eg_policy_set *s);
const struct eg_policy *eg_policies(const struct eg_policy_set *s, size_t *count);
const struct eg_provider *eg_providers(const struct eg_policy_set *s, size_t *count);
const struct eg_credential_spec *eg_credentials(const struct eg_policy_set *s, size_t *count);
/* Names to watch: hosts of every route. */
const struct eg_watched_name *eg_watched_names(const struct eg_policy_set *s, size_t *count);
/* CIDRs that policy governs ("destinations": [...] in a policy file), as text "10.0.0.0/8". */
const char *const *eg_policy_cidrs(const struct eg_policy_set *s, size_t *count);

/* Which policy governs a pod (most specific first, ties by name). */
enum eg_selection {
	EG_SELECTION_NONE,    /* none, whatever is not known of it: untouched */
	EG_SELECTION_POLICY,  /* this one, whatever is not known of it */
	EG_SELECTION_PERHAPS, /* it depends on what is not known of it */
};
struct eg_selected {
	enum eg_selection what;
	/* POLICY: that one. PERHAPS: the first that may be. NONE: NULL. */
	const struct eg_policy *policy;
	/* Whether one of those that may be is enforced. If none is, holding the pod until it is
	 * known would close what policy only wants to watch. */
	bool may_enforce;
};
struct eg_selected eg_policy_select(const struct eg_policy_set *s, const struct eg_identity *pod);

/* ---- decisions ---- */
/* Is a request that lands there within `regions.allow`? Without such a rule: always. */
bool eg_policy_allows_region(const struct eg_policy *p, const struct eg_region *where);
/* Is this server name governed for the policy: does a route name it, or is it watched at all? */
enum eg_name_verdict {
	EG_NAME_UNGOVERNED, /* nothing watches it: pass through (if the policy lets it) */
	EG_NAME_ROUTED,	    /* a route of this policy names it: terminate */
	EG_NAME_OTHERWISE,  /* watched, but no route of this policy: deny in dialect, or splice when
			       otherwise is pass */
};
enum eg_name_verdict eg_policy_name(const struct eg_policy_set *s, const struct eg_policy *p,
				    struct eg_str host);
/* The same, and what a decision goes on from (eg_request_facts.rules): good for this set and policy
 * as long as they are. */
#define EG_NAME_RULES 4u
struct eg_name_rules {
	enum eg_name_verdict verdict;
	size_t count; /* more than EG_NAME_RULES: they are not here, and looked up when needed */
	const void *bucket[EG_NAME_RULES];
};
void eg_policy_rules_of(const struct eg_policy_set *s, const struct eg_policy *p,
			struct eg_str host, struct eg_name_rules *out);
/* Does a provider list this server name (any case) as a front: a name that nothing governs, behind
 * which the provider's own servers can be asked for by another Host? */
bool eg_policy_fronts(const struct eg_policy_set *s, struct eg_str host);

struct eg_request_facts {
	struct eg_str host; /* lower case, no port; empty for the gateway address */
	bool gateway_address;
	const struct eg_name_rules *rules; /* of the host; NULL: it is looked up */
	struct eg_str method;
	struct eg_target target;
	const struct eg_operation *operation;
	enum eg_dialect dialect; /* of the client */
	bool body_read;		 /* false: only the head is known; also: `body` says what the query
				    does (operation->model_in_query) */
	struct eg_body_facts body;
	const char *pod_namespace; /* for credentials that belong to one namespace */
};

struct eg_chosen_target {
	const struct eg_provider *provider;
	const char *model; /* mapped name to splice into the body; NULL: as the client sent it */
	struct eg_region region; /* where this request lands there, as it was judged */
};

#define EG_MAX_TARGETS 8

struct eg_decision {
	enum eg_reason reason; /* EG_REASON_OK: go on with `targets`; else the denial */
	bool need_body;	       /* the head alone does not decide: read the body and ask again */
	bool pass;     /* otherwise: pass — not Egret's; only with gateway_address false */
	bool shadow;   /* `reason` is what would have been: record it, change nothing */
	bool stateful; /* about what a provider keeps: one target, and never done twice */
	const struct eg_route *route; /* NULL when none matched */
	struct eg_chosen_target targets[EG_MAX_TARGETS];
	size_t target_count;
};

/* Does each target's name for the model fit into the form that was read (eg_form_takes_model())? Of
 * other bodies: always. */
bool eg_decision_fits_form(const struct eg_decision *d, const struct eg_body_facts *body);

/* Each step of the chain, for `egretctl explain` and the record; may be NULL. */
struct eg_trace {
	void (*step)(void *ctx, const char *what, enum eg_reason reason, const char *format, ...)
		EG_PRINTF(4, 5);
	void *ctx;
};

/* Never fails: a denial is a decision. No I/O, no allocation. */
void eg_policy_decide(const struct eg_policy_set *s, const struct eg_policy *p,
		      const struct eg_request_facts *facts, const struct eg_trace *trace,
		      struct eg_decision *out);

#endif
