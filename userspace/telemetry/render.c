/* SPDX-License-Identifier: Apache-2.0 */
/* Prometheus text format 0.0.4. Families, their labels and help texts stand in one table each. */
#include <stdio.h>
#include <stdlib.h>

#include "telemetry/telemetry_private.h"

/* A family over the series: which labels it keeps, and the value it sums. */
enum value {
	VALUE_REQUESTS,
	VALUE_ATTEMPTS,
	VALUE_DURATION,
	VALUE_FIRST_BYTE,
	VALUE_BYTES_IN,
	VALUE_BYTES_OUT,
	VALUE_TOKENS,
};

#define WORKING_GROUP                                                               \
	(1u << EG_LABEL_ROUTE | 1u << EG_LABEL_BACKEND | 1u << EG_LABEL_NAMESPACE | \
	 1u << EG_LABEL_SERVICE_ACCOUNT)

struct family {
	const char *name, *help;
	enum value value;
	unsigned int labels; /* besides gateway */
};

static const struct family families[] = {
	{"egret_requests_total", "Requests that ended, by outcome.", VALUE_REQUESTS,
	 WORKING_GROUP | 1u << EG_LABEL_POLICY | 1u << EG_LABEL_REASON | 1u << EG_LABEL_CODE},
	{"egret_upstream_attempts_total", "Attempts at a target, by outcome.", VALUE_ATTEMPTS,
	 WORKING_GROUP | 1u << EG_LABEL_REASON | 1u << EG_LABEL_CODE},
	{"egret_request_duration_seconds", "Time from the request's first byte to its end.",
	 VALUE_DURATION, WORKING_GROUP},
	{"egret_time_to_first_byte_seconds",
	 "Time from the request's first byte to the first byte of the answer.", VALUE_FIRST_BYTE,
	 WORKING_GROUP},
	{"egret_request_bytes_total", "Bytes of request bodies from pods.", VALUE_BYTES_IN,
	 WORKING_GROUP},
	{"egret_response_bytes_total", "Bytes of response bodies to pods.", VALUE_BYTES_OUT,
	 WORKING_GROUP},
	{"egret_tokens_total", "Tokens as the providers reported them.", VALUE_TOKENS,
	 WORKING_GROUP | 1u << EG_LABEL_MODEL | 1u << EG_LABEL_OPERATION},
};

/* The names that the Kubernetes AI Gateway working group uses. */
static const char *const label_names[EG_LABELS] = {
	[EG_LABEL_ROUTE] = "route",	    [EG_LABEL_BACKEND] = "backend",
	[EG_LABEL_NAMESPACE] = "namespace", [EG_LABEL_SERVICE_ACCOUNT] = "serviceAccount",
	[EG_LABEL_POLICY] = "policy",	    [EG_LABEL_MODEL] = "model",
	[EG_LABEL_OPERATION] = "operation", [EG_LABEL_REASON] = "reason",
	[EG_LABEL_CODE] = "code",
};

static const char *const token_names[EG_TOKEN_TYPES] = {
	[EG_TOKENS_INPUT] = "input",	       [EG_TOKENS_OUTPUT] = "output",
	[EG_TOKENS_CACHE_READ] = "cache_read", [EG_TOKENS_CACHE_WRITE] = "cache_write",
	[EG_TOKENS_REASONING] = "reasoning",
};

static const struct {
	const char *name, *help;
} counts[EG_COUNTS] = {
	[EG_COUNT_CONNECTIONS] = {"egret_connections_total", "Connections accepted from pods."},
	[EG_COUNT_HANDSHAKES] = {"egret_handshakes_total", "TLS handshakes with pods."},
	[EG_COUNT_HANDSHAKES_RESUMED] = {"egret_handshakes_resumed_total",
					 "TLS handshakes with pods that resumed a session."},
	[EG_COUNT_HANDSHAKES_FAILED] = {"egret_handshakes_failed_total",
					"TLS handshakes with pods that failed."},
	[EG_COUNT_CA_REJECTED] = {"egret_ca_rejected_total",
				  "Handshakes in which the client did not trust Egret's CA."},
	[EG_COUNT_PASS_THROUGH] = {"egret_pass_through_total", "Connections passed through."},
	[EG_COUNT_PASS_THROUGH_BYTES] = {"egret_pass_through_bytes_total",
					 "Bytes passed through, both ways."},
	[EG_COUNT_UPSTREAM_CONNECTS] = {"egret_upstream_connects_total",
					"Connections made to providers."},
	[EG_COUNT_UPSTREAM_HANDSHAKES_RESUMED] = {"egret_upstream_handshakes_resumed_total",
						  "TLS sessions with providers resumed."},
	[EG_COUNT_UPSTREAM_REUSES] = {"egret_upstream_reuses_total",
				      "Requests that went out on a pooled connection."},
	[EG_COUNT_UPSTREAM_HTTP2_CONNECTS] = {"egret_upstream_http2_connects_total",
					      "Connections made to providers that speak HTTP/2."},
	[EG_COUNT_UPSTREAM_STREAMS_REFUSED] =
		{"egret_upstream_streams_refused_total",
		 "Requests that a provider refused to begin over HTTP/2; they are made again."},
	[EG_COUNT_LEAVES_MINTED] = {"egret_leaves_minted_total", "Leaf certificates minted."},
	[EG_COUNT_REAL_CLIENT_CREDENTIALS] =
		{"egret_real_client_credentials_total",
		 "Requests whose client sent what looks like a real key."},
	[EG_COUNT_REGION_VIOLATIONS] =
		{"egret_region_violations_total",
		 "Answers that say they came from where the policy does not allow."},
	[EG_COUNT_CREDENTIAL_QUOTED] =
		{"egret_credential_quoted_total",
		 "Answers that quoted the credential, withheld whole or in part."},
	[EG_COUNT_ANSWERS_UNREAD] =
		{"egret_answers_unread_total",
		 "Answers in a content encoding that could not be decoded here, "
		 "or not to their end; passed on."},
	[EG_COUNT_REQUESTS_SHED] =
		{"egret_requests_shed_total",
		 "Requests refused (503 overloaded) because a worker's loop was late."},
};

static const struct {
	const char *name, *help;
} gauges[EG_GAUGES] = {
	[EG_GAUGE_CLIENT_CONNECTIONS] = {"egret_client_connections", "Open connections of pods."},
	[EG_GAUGE_UPSTREAM_CONNECTIONS] = {"egret_upstream_connections",
					   "Open connections to providers."},
	[EG_GAUGE_REQUESTS_ACTIVE] = {"egret_requests_active", "Requests in flight."},
	[EG_GAUGE_HELD_BYTES] = {"egret_held_bytes", "Bytes of bodies held in memory."},
	[EG_GAUGE_LOOP_LATE_MS] = {"egret_loop_late_milliseconds",
				   "How long events wait for a worker's loop, smoothed."},
};

/* Sums over the series that share the labels a family keeps. */
struct sum {
	char *labels; /* heap: the text between the braces, without gateway */
	uint64_t total, extra;
	uint64_t bucket[EG_DURATION_BUCKETS + 1];
	uint64_t tokens[EG_TOKEN_TYPES];
};

static int by_labels(const void *a, const void *b)
{
	return strcmp(((const struct sum *)a)->labels, ((const struct sum *)b)->labels);
}

static int label_text(struct eg_buf *out, const char *name, const char *value)
{
	int r = eg_buf_printf(out, ",%s=\"", name);

	for (const char *c = value; !r && *c; c++) {
		if (*c == '\\' || *c == '"')
			r = eg_buf_printf(out, "\\%c", *c);
		else if ((unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7f)
			r = eg_buf_append(out, "?", 1);
		else
			r = eg_buf_append(out, c, 1);
	}
	return r ? r : eg_buf_append(out, "\"", 1);
}

static int labels_of(const struct eg_series *s, unsigned int keep, char **out)
{
	struct eg_buf b;
	int r = 0;

	eg_buf_init(&b, 8192);
	for (size_t i = 0; i < EG_LABELS && !r; i++)
		if (keep & 1u << i)
			r = label_text(&b, label_names[i], s->label[i]);
	if (!r)
		r = eg_buf_append(&b, "", 1);
	if (!r) {
		*out = strdup(eg_buf_data(&b));
		r = *out ? 0 : -ENOMEM;
	}
	eg_buf_fini(&b);
	return r;
}

static uint64_t get(const atomic_uint_fast64_t *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

static void add_series(struct sum *to, const struct eg_series *s, enum value v)
{
	switch (v) {
	case VALUE_REQUESTS:
	case VALUE_ATTEMPTS:
		to->total += get(&s->requests);
		break;
	case VALUE_DURATION:
		to->total += get(&s->duration_ms);
		for (size_t i = 0; i <= EG_DURATION_BUCKETS; i++)
			to->bucket[i] += get(&s->bucket[i]);
		break;
	case VALUE_FIRST_BYTE:
		to->total += get(&s->first_byte_ms);
		to->extra += get(&s->first_bytes);
		break;
	case VALUE_BYTES_IN:
		to->total += get(&s->bytes_in);
		break;
	case VALUE_BYTES_OUT:
		to->total += get(&s->bytes_out);
		break;
	case VALUE_TOKENS:
		for (size_t i = 0; i < EG_TOKEN_TYPES; i++)
			to->tokens[i] += get(&s->tokens[i]);
		break;
	}
}

static int emit_histogram(struct eg_buf *out, const struct family *f, const char *gateway,
			  const struct sum *s)
{
	uint64_t below = 0;
	int r = 0;

	for (size_t i = 0; i < EG_DURATION_BUCKETS && !r; i++) {
		below += s->bucket[i];
		r = eg_buf_printf(out, "%s_bucket{gateway=\"%s\"%s,le=\"%g\"} %llu\n", f->name,
				  gateway, s->labels, eg_duration_bounds[i],
				  (unsigned long long)below);
	}
	below += s->bucket[EG_DURATION_BUCKETS];
	if (!r)
		r = eg_buf_printf(
			out,
			"%s_bucket{gateway=\"%s\"%s,le=\"+Inf\"} %llu\n"
			"%s_sum{gateway=\"%s\"%s} %.3f\n%s_count{gateway=\"%s\"%s} %llu\n",
			f->name, gateway, s->labels, (unsigned long long)below, f->name, gateway,
			s->labels, (double)s->total / 1000.0, f->name, gateway, s->labels,
			(unsigned long long)below);
	return r;
}

static int emit(struct eg_buf *out, const struct family *f, const char *gateway,
		const struct sum *s)
{
	int r = 0;

	switch (f->value) {
	case VALUE_DURATION:
		return emit_histogram(out, f, gateway, s);
	case VALUE_FIRST_BYTE:
		return eg_buf_printf(
			out, "%s_sum{gateway=\"%s\"%s} %.3f\n%s_count{gateway=\"%s\"%s} %llu\n",
			f->name, gateway, s->labels, (double)s->total / 1000.0, f->name, gateway,
			s->labels, (unsigned long long)s->extra);
	case VALUE_TOKENS:
		for (size_t i = 0; i < EG_TOKEN_TYPES && !r; i++)
			if (s->tokens[i])
				r = eg_buf_printf(out, "%s{gateway=\"%s\"%s,type=\"%s\"} %llu\n",
						  f->name, gateway, s->labels, token_names[i],
						  (unsigned long long)s->tokens[i]);
		return r;
	case VALUE_REQUESTS:
	case VALUE_ATTEMPTS:
	case VALUE_BYTES_IN:
	case VALUE_BYTES_OUT:
		break;
	}
	return eg_buf_printf(out, "%s{gateway=\"%s\"%s} %llu\n", f->name, gateway, s->labels,
			     (unsigned long long)s->total);
}

static const char *type_of(enum value v)
{
	return v == VALUE_DURATION ? "histogram" : v == VALUE_FIRST_BYTE ? "summary" : "counter";
}

/* One sum for each series first; then neighbours with equal labels are merged after sorting. */
static int render_family(struct eg_buf *out, const struct family *f, const char *gateway,
			 struct eg_series *const *all, size_t n)
{
	struct sum *sums = calloc(n ? n : 1, sizeof(*sums));
	size_t used = 0, merged = 0;
	int r = sums ? 0 : -ENOMEM;

	for (size_t i = 0; i < n && !r; i++) {
		if (all[i]->attempt != (f->value == VALUE_ATTEMPTS))
			continue;
		r = labels_of(all[i], f->labels, &sums[used].labels);
		if (!r)
			add_series(&sums[used++], all[i], f->value);
	}
	if (!r && used)
		qsort(sums, used, sizeof(*sums), by_labels);
	if (!r)
		r = eg_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", f->name, f->help, f->name,
				  type_of(f->value));
	for (size_t i = 0; i < used && !r; i = merged) {
		for (merged = i + 1; merged < used && !strcmp(sums[i].labels, sums[merged].labels);
		     merged++) {
			sums[i].total += sums[merged].total;
			sums[i].extra += sums[merged].extra;
			for (size_t b = 0; b <= EG_DURATION_BUCKETS; b++)
				sums[i].bucket[b] += sums[merged].bucket[b];
			for (size_t k = 0; k < EG_TOKEN_TYPES; k++)
				sums[i].tokens[k] += sums[merged].tokens[k];
		}
		r = emit(out, f, gateway, &sums[i]);
	}
	for (size_t i = 0; i < used; i++)
		free(sums[i].labels);
	free(sums);
	return r;
}

static int collect(struct eg_telemetry *const *slots, size_t count, struct eg_series ***out,
		   size_t *n)
{
	const size_t places = EG_ARRAY_SIZE(slots[0]->series.slot);
	struct eg_series **all = calloc(count * places, sizeof(struct eg_series *));

	if (!all)
		return -ENOMEM;
	*n = 0;
	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < places; k++) {
			struct eg_series *s = atomic_load_explicit(&slots[i]->series.slot[k],
								   memory_order_acquire);

			if (s)
				all[(*n)++] = s;
		}
	}
	*out = all;
	return 0;
}

static int one(struct eg_buf *out, const char *name, const char *type, const char *help,
	       const char *gateway, int64_t value)
{
	return eg_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n%s{gateway=\"%s\"} %lld\n", name,
			     help, name, type, name, gateway, (long long)value);
}

/* One that says nothing when it is summed. */
static int by_worker(struct eg_buf *out, size_t g, const char *gateway,
		     struct eg_telemetry *const *slots, size_t count)
{
	int r = eg_buf_printf(out, "# HELP %s %s\n# TYPE %s gauge\n", gauges[g].name,
			      gauges[g].help, gauges[g].name);

	for (size_t i = 0; i < count && !r; i++)
		r = eg_buf_printf(
			out, "%s{gateway=\"%s\",worker=\"%zu\"} %lld\n", gauges[g].name, gateway, i,
			(long long)atomic_load_explicit(&slots[i]->gauge[g], memory_order_relaxed));
	return r;
}

static int plain(struct eg_buf *out, const char *gateway, struct eg_telemetry *const *slots,
		 size_t count)
{
	uint64_t lost = 0, overflowed = 0;
	int r = 0;

	for (size_t c = 0; c < EG_COUNTS && !r; c++) {
		uint64_t total = 0;

		for (size_t i = 0; i < count; i++)
			total += get(&slots[i]->count[c]);
		r = one(out, counts[c].name, "counter", counts[c].help, gateway, (int64_t)total);
	}
	for (size_t g = 0; g < EG_GAUGES && !r; g++) {
		int64_t total = 0;

		if (g == EG_GAUGE_LOOP_LATE_MS) {
			r = by_worker(out, g, gateway, slots, count);
			continue;
		}
		for (size_t i = 0; i < count; i++)
			total += atomic_load_explicit(&slots[i]->gauge[g], memory_order_relaxed);
		r = one(out, gauges[g].name, "gauge", gauges[g].help, gateway, total);
	}
	for (size_t i = 0; i < count; i++) {
		lost += get(&slots[i]->records_lost);
		overflowed += get(&slots[i]->series.overflowed);
	}
	if (!r)
		r = one(out, "egret_access_records_lost_total", "counter",
			"Access records that could not be written.", gateway, (int64_t)lost);
	if (!r)
		r = one(out, "egret_series_overflow_total", "counter",
			"Observations that went to the overflow series.", gateway,
			(int64_t)overflowed);
	return r;
}

static int connections(struct eg_buf *out, const char *gateway, struct eg_telemetry *const *slots,
		       size_t count)
{
	int r = eg_buf_printf(
		out, "# HELP egret_connections_ended_total Connections that ended without a "
		     "request, by reason.\n# TYPE egret_connections_ended_total counter\n");

	for (unsigned int k = 0; k < EG_REASON_MAX && !r; k++) {
		uint64_t total = 0;

		for (size_t i = 0; i < count; i++)
			total += get(&slots[i]->connections_by_reason[k]);
		if (total)
			r = eg_buf_printf(out,
					  "egret_connections_ended_total{gateway=\"%s\",reason=\"%"
					  "s\"} %llu\n",
					  gateway, eg_reason_label(k), (unsigned long long)total);
	}
	return r;
}

int eg_telemetry_render(struct eg_telemetry *const *slots, size_t count, struct eg_buf *out)
{
	struct eg_series **all = NULL;
	const char *gateway;
	size_t n = 0;
	int r;

	if (!count)
		return 0;
	gateway = slots[0]->gateway;
	r = collect(slots, count, &all, &n);
	for (size_t i = 0; i < EG_ARRAY_SIZE(families) && !r; i++)
		r = render_family(out, &families[i], gateway, all, n);
	free(all);
	if (!r)
		r = plain(out, gateway, slots, count);
	if (!r)
		r = connections(out, gateway, slots, count);
	return r;
}
