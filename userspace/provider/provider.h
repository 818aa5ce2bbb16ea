/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Egret knows of each provider's API: dialects, operations, headers, error bodies, failure
 * signals, usage. Pure: no I/O, no clock. Facts and their sources: docs/internals/provider.md.
 */
#ifndef EGRET_PROVIDER_PROVIDER_H
#define EGRET_PROVIDER_PROVIDER_H

#include "base/arena.h"
#include "base/base.h"
#include "base/buf.h"
#include "base/error.h"
#include "proto/h1.h"
#include "proto/uri.h"

/* The language of an API: what the client speaks, what a provider understands. */
enum eg_dialect {
	EG_DIALECT_NONE, /* not known: errors are plain JSON */
	EG_DIALECT_OPENAI,
	EG_DIALECT_ANTHROPIC,
};
const char *eg_dialect_label(enum eg_dialect d);
/* By the `kind` of a policy ("openai", "anthropic"); EG_DIALECT_NONE when not supported. */
enum eg_dialect eg_dialect_from_kind(struct eg_str kind);

enum eg_operation_class {
	EG_CLASS_UNKNOWN,    /* not an operation Egret knows: refused */
	EG_CLASS_INFERENCE,  /* allowed by default */
	EG_CLASS_METADATA,   /* lists of models, token counts, sessions whose messages are not
				read: only when the route lists it */
	EG_CLASS_STATEFUL,   /* files, batches, stored responses, threads, fine-tunes, vector
				stores... */
	EG_CLASS_CREDENTIAL, /* mints or lists credentials: refused always */
	EG_CLASS_ADMIN,	     /* organisation administration: refused always */
};

/* Operations by name: what `match.operations` of a route lists ("chat.completions", "messages",
 * "responses", "embeddings", "models", "files", ...). One row a known operation. */
struct eg_operation {
	const char *name;	      /* as policy and records write it */
	const char *gen_ai_operation; /* OpenTelemetry gen_ai.operation.name, or "" */
	enum eg_dialect dialect;
	enum eg_operation_class class;
	bool json_body;	     /* the body is one JSON object: eg_body_read() */
	bool form_body;	     /* multipart/form-data: eg_form_read(); or JSON: see
			      * eg_operation_for_content() */
	bool model_in_body;  /* the body's "model" names the model */
	bool model_in_path;  /* e.g. GET /v1/models/{id} */
	bool model_in_query; /* "?model=", as for a WebSocket, which has no body */
	bool websocket;	     /* opened by Upgrade (RFC 6455), and not to be had otherwise */
	bool streams;	     /* "stream": true makes it SSE */
	bool may_hold_state; /* its body may refer to state kept by the provider: read it */
	bool places_unread;  /* its body may say where it is processed, and is not read */
	uint16_t id;	     /* equal for rows of one name ("models" of both dialects); 0: unknown;
			      * below EG_OPERATION_IDS */
	const struct eg_operation *as_json; /* form_body: how it is read when its body is JSON */
};
#define EG_OPERATION_IDS 64

/* Is the body held and read for policy? Of others nothing is known but the head. */
static inline bool eg_operation_reads_body(const struct eg_operation *op)
{
	return op->json_body || op->form_body;
}

/* Never NULL: unknown paths give the operation "unknown" of class EG_CLASS_UNKNOWN. `path` is the
 * percent-decoded path as the client sent it, with the API's prefix ("/v1/chat/completions"; for
 * OpenAI-compatible hosts also with another base path such as "/openai/v1" of api.groq.com).
 * `*rest` is the part that goes after the base path of an endpoint ("/chat/completions"). */
const struct eg_operation *eg_operation_find(enum eg_dialect d, struct eg_str method,
					     struct eg_str path, struct eg_str *rest);
/* The model of a path of an operation with model_in_path, decoded: its last segment. */
struct eg_str eg_path_model(struct eg_str path);
/* Appends the path that goes after an endpoint's base path: `rest` as eg_operation_find() gave it,
 * encoded anew, so that every provider reads what policy read. `model` (NULL: as it was asked for):
 * the target's name, which stands in the place of one that the path names. 0 or as eg_buf_append().
 */
int eg_operation_write_path(struct eg_buf *out, const struct eg_operation *op, struct eg_str rest,
			    const char *model) EG_MUST;
/* The operation as it is read with a body of this Content-Type: an operation that takes a form or
 * JSON becomes one with json_body when it gets JSON. NULL: one that it does not take, and that
 * somebody else may read differently. "" is JSON. */
const struct eg_operation *eg_operation_for_content(const struct eg_operation *op,
						    struct eg_str content_type);
/* By name, for policy files; NULL when there is none. */
const struct eg_operation *eg_operation_by_name(struct eg_str name);
/* The operation that a route must list for a request whose body refers to state
 * (eg_body_facts.store_or_state): "responses.stored", or "files" for what can only name files. */
const struct eg_operation *eg_operation_for_state(const struct eg_operation *op);
/* The dialect of a request: its host's, else its path's. */
enum eg_dialect eg_dialect_of_request(struct eg_str host, struct eg_str path);
/* The dialect a client on this path speaks when the host does not tell (gateway address). */
enum eg_dialect eg_dialect_from_path(struct eg_str path);
/* A well-known provider host's dialect ("api.openai.com"), or EG_DIALECT_NONE. */
enum eg_dialect eg_dialect_from_host(struct eg_str host);
/* For OpenAI-compatible hosts: the base path the client's SDK uses there ("/v1", "/openai/v1",
 * "/api/v1"). */
struct eg_str eg_client_base_path(struct eg_str host);

#define EG_MODEL_NOT_STRING "\"model\" is not a string; expected one"
#define EG_MODEL_NOT_REPLACED                                                                   \
	"The form's \"model\" can't be replaced by the provider's name for it: its part has a " \
	"Content-Length, or the boundary occurs in the name."

/* What a request body says that decisions and records need. Strings point into the body or the
 * arena. */
struct eg_body_facts {
	struct eg_str model;	 /* unescaped; .p NULL when absent */
	struct eg_str model_raw; /* the value's bytes in the body, for splicing */
	bool model_not_string;
	/* Of a form: its boundary, and whether the model's part says how long it is; else .p NULL.
	 * See eg_form_takes_model(). */
	struct eg_str form_boundary;
	bool model_sized;
	bool stream;
	bool include_usage;  /* stream_options.include_usage */
	bool store_or_state; /* refers to or creates server-side state: store:true is not
			      * decided here; previous_response_id, conversation, file ids,
			      * "background": true, containers, items by their id alone */
	/* "models" (OpenRouter and its like) and "fallbacks" (Anthropic) name more models to fall
	 * back to, "provider" says who may serve, a tool may ask a model of its own. None of them
	 * is compared with policy, so none may meet a rule about it. */
	bool other_models, other_providers, tool_models;
	bool has_inference_geo;
	struct eg_str inference_geo; /* Anthropic */
};
/* 0; -EINVAL with *e (invalid JSON, duplicate key, a model after the first MiB:
 * EG_REASON_BAD_BODY); -ENOMEM. */
int eg_body_read(struct eg_arena *a, const struct eg_operation *op, struct eg_str body,
		 struct eg_body_facts *out, struct eg_error *e) EG_MUST;
/*
 * The same in pieces: a large body whose every byte is dear must not hold up who waits for the loop
 * meanwhile. The body stays where it is. Given back by eg_body_end(), at any time; NULL: out of
 * memory.
 */
struct eg_body_reading;
struct eg_body_reading *eg_body_begin(struct eg_arena *a, const struct eg_operation *op,
				      struct eg_str body) EG_MUST;
/* Reads on: at most *budget bytes, from which what was read is taken (most are read twice), and a
 * token more. As eg_body_read(), or -EAGAIN: there is more. */
int eg_body_go_on(struct eg_body_reading *r, size_t *budget, struct eg_body_facts *out,
		  struct eg_error *e) EG_MUST;
void eg_body_end(struct eg_body_reading *r);
/*
 * The same of a form, for an operation with form_body. The model may stand anywhere; its value's
 * bytes are the name itself, without quotes. What is a file (a part named file, image or mask that
 * has a filename) is not read. Returns as above; out->form_boundary is borrowed from content_type.
 */
int eg_form_read(struct eg_arena *a, const struct eg_operation *op, struct eg_str content_type,
		 struct eg_str body, struct eg_body_facts *out, struct eg_error *e) EG_MUST;
/*
 * The same while the body comes: no turn of a loop is spent on the whole of it. The form lies in
 * the arena (NULL: out of memory); `body` is all that is here so far, and may have moved; what is
 * wrong is said at the end.
 */
struct eg_form;
struct eg_form *eg_form_create(struct eg_arena *a, const struct eg_operation *op,
			       struct eg_str content_type) EG_MUST;
void eg_form_feed(struct eg_form *f, struct eg_str body);
/* That Content-Type names; .n 0: none. */
struct eg_str eg_form_boundary(const struct eg_form *f);
int eg_form_end(struct eg_form *f, struct eg_str body, struct eg_body_facts *out,
		struct eg_error *e) EG_MUST;
/* Can this name stand in the place of the form's model, without the form being read otherwise? */
bool eg_form_takes_model(const struct eg_body_facts *facts, struct eg_str name);

/* May a client's request header go on to a provider of this dialect? An allow list: everything that
 * carries a credential or an override is not on it (DESIGN section 5). */
bool eg_request_header_allowed(enum eg_dialect d, struct eg_str name);
/* May a provider's response header go on to the client? Set-Cookie, Alt-Svc, organisation and
 * hop-by-hop headers may not. */
bool eg_response_header_allowed(enum eg_dialect d, struct eg_str name);
/* Has the query a key that the dialect's operations don't define and that is no carrier of a
 * credential? Then *key is the first, as sent. Such a request is refused (unknown_query). `op`:
 * what only it defines passes too ("model" of a WebSocket); NULL: nothing more. */
bool eg_query_unknown(enum eg_dialect d, const struct eg_operation *op, struct eg_str query,
		      struct eg_str *key);
/* Query keys that carry credentials, or say whose account it is: always removed. */
extern const struct eg_str eg_credential_query_keys[];
extern const size_t eg_credential_query_key_count;
/* Does this subprotocol of a WebSocket carry a credential, or say whose account it is? A browser's
 * client has no other place for them: "openai-insecure-api-key.KEY". *secret is what follows the
 * name. Such a one is never sent on. */
bool eg_subprotocol_credential(struct eg_str token, struct eg_str *secret);
/* Does an API define this subprotocol, and it carries none? Any other could hold anything, and is
 * refused as an unknown key of the query is. */
bool eg_subprotocol_defined(struct eg_str token);
/* Fields that carry a credential (EG_FIELD_BIT): no other looks real. */
extern const uint64_t eg_credential_fields;
/* True when the header carries a client credential that looks real (not a placeholder); for the
 * report. */
bool eg_credential_looks_real(struct eg_str name, struct eg_str value);

/* An error in the caller's dialect. Appends the JSON body. The text is the reason's, or `detail`
 * when it is not empty (one sentence, no secret). 0 or as eg_buf_append(). */
int eg_dialect_error(struct eg_buf *out, enum eg_dialect d, enum eg_reason reason,
		     struct eg_str detail, struct eg_str request_id) EG_MUST;
/* An error as one SSE event of the dialect, for a stream that failed after it began. */
int eg_dialect_error_event(struct eg_buf *out, enum eg_dialect d, enum eg_reason reason,
			   struct eg_str request_id) EG_MUST;
/* Can a retry by the client help? false: the answer carries `x-should-retry: false`. */
bool eg_reason_retryable(enum eg_reason reason);

/* ---- failure signals (../shared PROVIDERS section 5, rewritten in docs/internals/provider.md)
 * ---- */
enum eg_response_class {
	EG_RESPONSE_OK,		  /* pass it on */
	EG_RESPONSE_CLIENT_ERROR, /* the request's own fault: pass it on, never fail over */
	EG_RESPONSE_FAILOVER,	  /* rate limit, overload, server error: next target, cooldown */
	EG_RESPONSE_QUOTA,	  /* next target, long cooldown, alert */
	EG_RESPONSE_AUTH,	  /* Egret's credential was refused: alert, no failover */
};
struct eg_response_signal {
	enum eg_response_class class;
	uint64_t retry_after_ms; /* 0: none said */
};
/* No provider's word makes a target rest for longer than this. */
#define EG_RETRY_AFTER_MAX_MS 3600000u
/* `body_prefix` is what is at hand of an error body (may be empty; identity encoding). `wall_ms` is
 * for HTTP dates. retry_after_ms is set only for FAILOVER and QUOTA: a 200 with Retry-After is
 * normal at Anthropic. */
void eg_response_classify(enum eg_dialect d, const struct eg_h1_head *head,
			  struct eg_str body_prefix, uint64_t wall_ms,
			  struct eg_response_signal *out);

/* What one event of a stream means for failover: until the first CONTENT nothing has to have
 * reached the client (DESIGN section 5). */
enum eg_event_class {
	EG_EVENT_PREAMBLE, /* pings, message_start, role and empty deltas: may be held */
	EG_EVENT_CONTENT,
	EG_EVENT_ERROR, /* the provider failed: an error event inside a 200 */
	EG_EVENT_END,	/* [DONE], message_stop, response.completed */
};
/* Of one event as eg_sse hands it out. `data` that is not JSON is CONTENT: never held, never lost.
 */
enum eg_event_class eg_event_class_of(enum eg_dialect d, struct eg_str event, struct eg_str data);
/* A plain JSON body by its first bytes: ERROR when its first member is an error object (OpenRouter
 * answers 200 so when the provider behind it failed), CONTENT when not, PREAMBLE: can't tell yet.
 */
enum eg_event_class eg_body_begins(struct eg_str body);
/* What an ERROR event, or such a body, means: CLIENT_ERROR, FAILOVER, QUOTA or AUTH, as a status
 * would. */
enum eg_response_class eg_event_error_class(struct eg_str data);
/* Do streams of this operation always end with a mark of their own, so that one without it was
 * cut, however its connection ended? */
bool eg_stream_has_end(const struct eg_operation *op);

/* ---- usage ---- */
struct eg_usage {
	bool known;
	uint64_t input_tokens;	/* with cached ones */
	uint64_t output_tokens; /* with reasoning ones */
	uint64_t cache_read_tokens, cache_write_tokens, reasoning_tokens;
	char response_model[96]; /* "" when none */
	/* Where Anthropic says that it ran ("us", "global", "not_available"); "" when it does not.
	 * Evidence for afterwards: the request was judged before (eg_region_of_request). */
	char inference_geo[16];
};
/* Watches a response body going by, in pieces, identity encoding; never changes it. */
struct eg_usage_watch;
struct eg_usage_watch *eg_usage_watch_create(enum eg_dialect d, const struct eg_operation *op,
					     bool sse) EG_MUST;
void eg_usage_watch_destroy(struct eg_usage_watch *w);
void eg_usage_watch_feed(struct eg_usage_watch *w, struct eg_str bytes);
/* How far a stream has come: PREAMBLE until it said something, then CONTENT (or END, when it ended
 * without a word); ERROR: an error event was the first thing it said, of this class. */
enum eg_event_class eg_usage_watch_progress(const struct eg_usage_watch *w,
					    enum eg_response_class *error);
/* At the end of the body. `saw_end`: the stream's own end marker ([DONE] or a finish_reason,
 * message_stop, response.completed) was seen; of a plain body: its JSON was complete. */
void eg_usage_watch_end(struct eg_usage_watch *w, struct eg_usage *out, bool *saw_end,
			bool *saw_error);

/* ---- who is known ---- */
#define EG_KNOWN_NAME 128 /* bytes of such a name, with its NUL */
/* Names of providers' endpoints, one after the other, each at least once: "api.openai.com",
 * "*.openai.azure.com" (everything below). False after the last. */
bool eg_known_name(size_t index, char out[EG_KNOWN_NAME]);
/* Whose a name, or a host below it, is, as a label of few values: "openai", "bedrock"...; "other"
 * of nobody known. */
const char *eg_known_provider(struct eg_str host);
/* The parts: names in the table of dialects, and in that of regions. As eg_known_name(). */
bool eg_dialect_host(size_t index, char out[EG_KNOWN_NAME]);
bool eg_region_host(size_t index, char out[EG_KNOWN_NAME]);

/* ---- regions ---- */
/*
 * A jurisdiction: "US", "EU", "EU:DE", "UK", "CH", "JP"... or EG_REGION_GLOBAL / EG_REGION_UNKNOWN.
 * `allow` of a policy holds such codes (or a provider's region names, mapped by the table).
 */
struct eg_region {
	char code[16]; /* "" unknown; "GLOBAL"; "EU"; "EU:DE"; "cluster" */
};
/* From a provider's own region name ("eu-central-1", "swedencentral", "europe-west4"), a code, or
 * "cluster". -ENOENT when it is not in the table. */
int eg_region_parse(struct eg_str text, struct eg_region *out) EG_MUST;
/* The texts that eg_region_parse() takes, one after the other, each once; false after the last. For
 * what lists them (policies/schema.json). */
bool eg_region_text(size_t index, char out[32]);
/* From the host of an endpoint, by the table; code "" where the host does not tell. */
void eg_region_of_host(struct eg_str host, struct eg_region *out);
/* Likewise with the endpoint's base path, which names the location at some hosts and has to agree
 * with the host (Vertex AI): code "" where they differ. What policy uses. */
void eg_region_of_endpoint(struct eg_str host, struct eg_str base_path, struct eg_region *out);
/*
 * Where one request is processed: the endpoint's region (stated or by the table), changed by what
 * the request itself says: a geographic model id at an AWS host ("global.anthropic..."; `model` is
 * the one sent upstream), Anthropic's inference_geo. `stated`: policy says the endpoint's region,
 * which bedrock-mantle hosts need for geographic ids. Code "" when that can't be placed, or
 * contradicts the endpoint.
 */
void eg_region_of_request(enum eg_dialect d, struct eg_str host, const struct eg_region *endpoint,
			  bool stated, struct eg_str model, const struct eg_body_facts *body,
			  struct eg_region *out);
/* From what an answer says of where it was processed: Anthropic's usage.inference_geo, headers such
 * as x-groq-region. Code "" for what is in no table; false: it says nothing ("not_available"). */
bool eg_region_of_evidence(struct eg_str text, struct eg_region *out);
/* The answer's header that is such evidence; .p NULL when there is none. Borrowed from `head`. */
struct eg_str eg_region_evidence_header(const struct eg_h1_head *head);
/* Does a request that lands in `r` satisfy `allowed`? EU holds EU:DE; EU:DE is not held by EU of
 * unknown member; GLOBAL and unknown satisfy nothing. */
bool eg_region_satisfies(const struct eg_region *r, const struct eg_region *allowed);

#endif
