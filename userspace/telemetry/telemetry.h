/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One access record a request (or a connection that carried none), and counters. A slot a worker;
 * counters are summed when read. Strings from outside are capped and byte-escaped, and
 * what looks like a key in them is not recorded; a model name that no rule knows is "other" in
 * metrics. Never a key, a prompt or a header value.
 */
#ifndef EGRET_TELEMETRY_TELEMETRY_H
#define EGRET_TELEMETRY_TELEMETRY_H

#include <stdatomic.h>

#include "base/base.h"
#include "base/buf.h"
#include "telemetry/lines.h"

/* One attempt at a target. */
struct eg_attempt {
	const char *provider; /* name in policy */
	const char *region;
	enum eg_reason reason; /* OK, or why it failed */
	unsigned int status;   /* of the provider; 0: none came */
	uint32_t duration_ms;
};

#define EG_ATTEMPTS 8

struct eg_record_base;

/* Everything that is known when a request ends. NULL or 0: not known. Borrowed during the call. */
struct eg_record {
	char request_id[33];
	uint64_t wall_ms; /* when it began */
	const char *pod_namespace, *pod_name, *service_account, *pod_uid;
	const char *source;	 /* address:port of the pod */
	const char *destination; /* original address:port */
	const char *policy, *route, *provider, *provider_kind, *region, *policy_version;
	struct eg_str server_name, method, path, model, response_model, user_agent;
	const char *protocol; /* of the pod's side */
	const char *operation, *dialect;
	const char *model_label; /* for metrics: the rule's pattern or mapped name; NULL: "other" */
	unsigned int status;	 /* sent to the client */
	unsigned int upstream_status;
	const char *upstream_protocol;	 /* "HTTP/1.1", "HTTP/2"; NULL: no connection was had */
	struct eg_str response_encoding; /* the answer's Content-Encoding */
	const char *response_unread; /* why no tokens were read of it; NULL: they were looked for */
	enum eg_reason reason;
	const char *detail;	       /* one sentence more, or NULL; no secret */
	struct eg_str region_evidence; /* where the answer says it came from; .n 0: it does not */
	bool region_violation;	       /* and policy does not allow that */
	bool shadow, streamed, replayed, possibly_billed_twice, connection_reused, upstream_reused;
	bool client_credential_real; /* the client sent something that looks like a real key */
	const struct eg_attempt *attempts;
	size_t attempt_count;
	uint64_t bytes_in, bytes_out; /* bodies, client side */
	uint32_t queue_ms, upstream_connect_ms, first_byte_ms, duration_ms;
	bool first_byte_seen; /* else first_byte_ms means nothing */
	bool usage_known;
	uint64_t input_tokens, output_tokens, cache_read_tokens, cache_write_tokens,
		reasoning_tokens;
	/* What many records have in common, as it is written, or NULL: made of one whose pod,
	 * policy, policy_version, route, provider, provider_kind and region said the same. */
	struct eg_record_base *base;
};

/*
 * Redacted and quoted once, and then copied. Of `r` nothing is kept but text; what is remembered
 * besides are series of the slot that the records go to, which is one, and lives longer, and the
 * pointers operation and model_label: what they point to stays what it is for as long as this is
 * used. NULL: out of memory.
 */
struct eg_record_base *eg_record_base_create(const struct eg_record *r) EG_MUST;
void eg_record_base_destroy(struct eg_record_base *b);

/* Gauges of a worker. */
enum eg_gauge {
	EG_GAUGE_CLIENT_CONNECTIONS,
	EG_GAUGE_UPSTREAM_CONNECTIONS,
	EG_GAUGE_REQUESTS_ACTIVE,
	EG_GAUGE_HELD_BYTES,
	EG_GAUGE_LOOP_LATE_MS, /* this worker's: rendered for each */
	EG_GAUGES
};

/* Plain counters of a worker, without labels. */
enum eg_count {
	EG_COUNT_CONNECTIONS, /* accepted from pods */
	EG_COUNT_HANDSHAKES,  /* TLS with pods completed */
	EG_COUNT_HANDSHAKES_RESUMED,
	EG_COUNT_HANDSHAKES_FAILED,
	EG_COUNT_CA_REJECTED,  /* the client does not trust the CA */
	EG_COUNT_PASS_THROUGH, /* connections spliced */
	EG_COUNT_PASS_THROUGH_BYTES,
	EG_COUNT_UPSTREAM_CONNECTS,
	EG_COUNT_UPSTREAM_HANDSHAKES_RESUMED,
	EG_COUNT_UPSTREAM_REUSES,
	EG_COUNT_LEAVES_MINTED,
	EG_COUNT_REAL_CLIENT_CREDENTIALS,
	EG_COUNT_UPSTREAM_HTTP2_CONNECTS,
	EG_COUNT_UPSTREAM_STREAMS_REFUSED, /* HTTP/2: the provider did nothing with them */
	EG_COUNT_REGION_VIOLATIONS, /* an answer said it came from where policy does not allow */
	EG_COUNT_CREDENTIAL_QUOTED, /* an answer quoted the credential; it was withheld */
	EG_COUNT_ANSWERS_UNREAD,    /* in a coding that could not be decoded, or not to its end */
	EG_COUNT_REQUESTS_SHED,	    /* the loop was late, and the pod had more than its share */
	EG_COUNTS
};

struct eg_telemetry;

/* `log` gets the access records (borrowed; NULL: none): a batch at eg_telemetry_flush() or when
 * 64 KiB wait; what it can't take is counted as lost, never waited for. */
struct eg_telemetry *eg_telemetry_create(const char *gateway_name, struct eg_lines *log) EG_MUST;
void eg_telemetry_destroy(struct eg_telemetry *t);

/* Before the first record: what is denied is also kept, for another thread (telemetry/denials.h),
 * which gets it here. NULL: out of memory. */
struct eg_denials;
struct eg_denials *eg_telemetry_keep_denials(struct eg_telemetry *t) EG_MUST;

/* Before the first record: who watches requests (telemetry/tracer.h), borrowed for good. */
struct eg_tracer;
struct eg_traced;
void eg_telemetry_trace(struct eg_telemetry *t, struct eg_tracer *tracer);
/* NULL: nobody can. */
struct eg_tracer *eg_telemetry_tracer(const struct eg_telemetry *t);
/* The record, with what was written down of it, to who watches. Besides eg_telemetry_record() or
 * eg_telemetry_connection(). */
void eg_telemetry_traced(struct eg_telemetry *t, const struct eg_record *r, bool connection,
			 struct eg_traced *d);

/* Owner's thread only. */
void eg_telemetry_record(struct eg_telemetry *t, const struct eg_record *r);
void eg_telemetry_count(struct eg_telemetry *t, enum eg_count c, uint64_t n);
void eg_telemetry_gauge(struct eg_telemetry *t, enum eg_gauge g, int64_t change);
/* Before the first change: the gauge is also written to *where (borrowed), for who looks at it when
 * this process is gone. */
void eg_telemetry_mirror(struct eg_telemetry *t, enum eg_gauge g, atomic_int_fast64_t *where);
/* A connection that ended without a request (no SNI, handshake failure, splice...). */
void eg_telemetry_connection(struct eg_telemetry *t, const struct eg_record *r);
/* Once a turn of the loop. */
void eg_telemetry_flush(struct eg_telemetry *t);

/* Any thread: a gauge as it stands. */
int64_t eg_telemetry_gauge_now(const struct eg_telemetry *t, enum eg_gauge g);
/* Any thread: how often it has become more. */
uint64_t eg_telemetry_gauge_rises(const struct eg_telemetry *t, enum eg_gauge g);
/* Any thread: Prometheus text format 0.0.4 over all slots, appended. 0 or -errno. */
int eg_telemetry_render(struct eg_telemetry *const *slots, size_t count,
			struct eg_buf *out) EG_MUST;

#endif
