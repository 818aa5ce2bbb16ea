/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "telemetry/denials.h"
#include "telemetry/telemetry_private.h"
#include "telemetry/tracer.h"

#define LINES_MAX (2 * EG_LINES_WRITE) /* what the writer has not taken */

struct eg_telemetry *eg_telemetry_create(const char *gateway_name, struct eg_lines *log)
{
	struct eg_telemetry *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	eg_str_copy(t->gateway, sizeof(t->gateway), eg_str_from(gateway_name));
	/* It stands in label values as it is. */
	for (char *c = t->gateway; *c; c++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-",
			    *c))
			*c = '_';
	t->log = log;
	eg_buf_init(&t->lines, LINES_MAX);
	return t;
}

void eg_telemetry_destroy(struct eg_telemetry *t)
{
	if (!t)
		return;
	eg_telemetry_flush(t);
	eg_buf_fini(&t->lines);
	eg_series_table_fini(&t->series);
	free(t->denials);
	free(t);
}

struct eg_denials *eg_telemetry_keep_denials(struct eg_telemetry *t)
{
	if (!t->denials)
		t->denials = calloc(1, sizeof(*t->denials));
	return t->denials;
}

void eg_telemetry_flush(struct eg_telemetry *t)
{
	/* What is not taken waits; past the buffer's cap records are counted as lost. */
	if (t->lines.length)
		eg_lines_give(t->log, &t->lines);
	if (t->denials)
		eg_denials_hand_over(t->denials);
}

static void write_line(struct eg_telemetry *t, const struct eg_record *r, bool connection)
{
	if (!t->log)
		return;
	if (t->lines.length >= EG_LINES_WRITE)
		eg_telemetry_flush(t);
	if (!eg_record_write(&t->lines, t->gateway, r, connection))
		return;
	eg_series_add(&t->records_lost, 1);
	eg_lines_lost(t->log);
}

static const char *or_empty(const char *s)
{
	return s ? s : "";
}

static void observe(struct eg_series *s, const struct eg_record *r)
{
	double seconds = r->duration_ms / 1000.0;
	size_t b = 0;

	while (b < EG_DURATION_BUCKETS && seconds > eg_duration_bounds[b])
		b++;
	eg_series_add(&s->requests, 1);
	eg_series_add(&s->bucket[b], 1);
	eg_series_add(&s->duration_ms, r->duration_ms);
	if (r->first_byte_seen) {
		eg_series_add(&s->first_byte_ms, r->first_byte_ms);
		eg_series_add(&s->first_bytes, 1);
	}
	eg_series_add(&s->bytes_in, r->bytes_in);
	eg_series_add(&s->bytes_out, r->bytes_out);
	if (!r->usage_known)
		return;
	eg_series_add(&s->tokens[EG_TOKENS_INPUT], r->input_tokens);
	eg_series_add(&s->tokens[EG_TOKENS_OUTPUT], r->output_tokens);
	eg_series_add(&s->tokens[EG_TOKENS_CACHE_READ], r->cache_read_tokens);
	eg_series_add(&s->tokens[EG_TOKENS_CACHE_WRITE], r->cache_write_tokens);
	eg_series_add(&s->tokens[EG_TOKENS_REASONING], r->reasoning_tokens);
}

/* A series that is not the one for all that are too many: counting there counts them, too. */
static struct eg_series *lasting(struct eg_series *s)
{
	return s && strcmp(s->label[EG_LABEL_ROUTE], "overflow") ? s : NULL;
}

/* Its labels but for these are what the base was made of. */
static struct eg_series *series_of(struct eg_telemetry *t, const struct eg_record *r,
				   const char *const label[EG_LABELS])
{
	struct eg_record_base *b = r->base;
	struct eg_series *s;

	if (b && b->requests && b->model == label[EG_LABEL_MODEL] &&
	    b->operation == label[EG_LABEL_OPERATION] && b->reason == r->reason &&
	    b->status == r->status)
		return b->requests;
	s = eg_series_get(&t->series, false, label);
	if (!b)
		return s;
	b->requests = lasting(s);
	b->model = label[EG_LABEL_MODEL];
	b->operation = label[EG_LABEL_OPERATION];
	b->reason = r->reason;
	b->status = r->status;
	return s;
}

static struct eg_series *series_of_attempt(struct eg_telemetry *t, const struct eg_record *r,
					   const struct eg_attempt *a,
					   const char *const label[EG_LABELS])
{
	struct eg_record_base *b = eg_record_same_target(r, a) ? r->base : NULL;
	struct eg_series *s;

	if (b && b->attempts && b->attempt_reason == a->reason && b->attempt_status == a->status)
		return b->attempts;
	s = eg_series_get(&t->series, true, label);
	if (!b)
		return s;
	b->attempts = lasting(s);
	b->attempt_reason = a->reason;
	b->attempt_status = a->status;
	return s;
}

void eg_telemetry_record(struct eg_telemetry *t, const struct eg_record *r)
{
	const char *label[EG_LABELS];
	struct eg_series *s;
	char code[EG_DECIMAL_MAX + 1];

	code[eg_decimal(code, r->status)] = '\0';
	label[EG_LABEL_ROUTE] = or_empty(r->route);
	label[EG_LABEL_BACKEND] = or_empty(r->provider);
	label[EG_LABEL_NAMESPACE] = or_empty(r->pod_namespace);
	label[EG_LABEL_SERVICE_ACCOUNT] = or_empty(r->service_account);
	label[EG_LABEL_POLICY] = or_empty(r->policy);
	label[EG_LABEL_MODEL] = r->model_label ? r->model_label : r->model.n ? "other" : "";
	label[EG_LABEL_OPERATION] = or_empty(r->operation);
	label[EG_LABEL_REASON] = eg_reason_label(r->reason);
	label[EG_LABEL_CODE] = code;
	s = series_of(t, r, label);
	if (s)
		observe(s, r);
	for (size_t i = 0; i < r->attempt_count; i++) {
		const struct eg_attempt *a = &r->attempts[i];

		code[eg_decimal(code, a->status)] = '\0';
		label[EG_LABEL_BACKEND] = or_empty(a->provider);
		label[EG_LABEL_REASON] = eg_reason_label(a->reason);
		label[EG_LABEL_MODEL] = label[EG_LABEL_OPERATION] = "";
		s = series_of_attempt(t, r, a, label);
		if (s)
			eg_series_add(&s->requests, 1);
	}
	if (r->client_credential_real)
		eg_telemetry_count(t, EG_COUNT_REAL_CLIENT_CREDENTIALS, 1);
	if (t->denials)
		eg_denials_add(t->denials, r);
	write_line(t, r, false);
}

void eg_telemetry_connection(struct eg_telemetry *t, const struct eg_record *r)
{
	if ((unsigned int)r->reason < EG_REASON_MAX)
		eg_series_add(&t->connections_by_reason[r->reason], 1);
	if (t->denials)
		eg_denials_add(t->denials, r);
	write_line(t, r, true);
}

void eg_telemetry_trace(struct eg_telemetry *t, struct eg_tracer *tracer)
{
	t->tracer = tracer;
}

struct eg_tracer *eg_telemetry_tracer(const struct eg_telemetry *t)
{
	return t->tracer;
}

void eg_telemetry_traced(struct eg_telemetry *t, const struct eg_record *r, bool connection,
			 struct eg_traced *d)
{
	struct eg_buf line;

	if (!eg_traced_wanted(t->tracer, d, r->server_name))
		return;
	eg_buf_init(&line, EG_LINES_WRITE);
	/* Without memory for it, it counts as lost. */
	if (eg_record_write(&line, t->gateway, r, connection))
		eg_buf_clear(&line);
	eg_traced_give(t->tracer, d, eg_buf_str(&line));
	eg_buf_fini(&line);
}

void eg_telemetry_count(struct eg_telemetry *t, enum eg_count c, uint64_t n)
{
	eg_series_add(&t->count[c], n);
}

void eg_telemetry_gauge(struct eg_telemetry *t, enum eg_gauge g, int64_t change)
{
	int64_t now = atomic_load_explicit(&t->gauge[g], memory_order_relaxed);

	atomic_store_explicit(&t->gauge[g], now + change, memory_order_relaxed);
	if (change > 0) {
		uint64_t rises = atomic_load_explicit(&t->rises[g], memory_order_relaxed);

		atomic_store_explicit(&t->rises[g], rises + 1, memory_order_relaxed);
	}
	if (t->mirror[g])
		atomic_store_explicit(t->mirror[g], now + change, memory_order_relaxed);
}

void eg_telemetry_mirror(struct eg_telemetry *t, enum eg_gauge g, atomic_int_fast64_t *where)
{
	t->mirror[g] = where;
}

uint64_t eg_telemetry_gauge_rises(const struct eg_telemetry *t, enum eg_gauge g)
{
	return atomic_load_explicit(&t->rises[g], memory_order_relaxed);
}

int64_t eg_telemetry_gauge_now(const struct eg_telemetry *t, enum eg_gauge g)
{
	return atomic_load_explicit(&t->gauge[g], memory_order_relaxed);
}
