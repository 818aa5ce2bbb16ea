/* SPDX-License-Identifier: Apache-2.0 */
/* The access record as one JSON line. docs/access-log.md documents each field. */
#include <stdlib.h>

#include "base/log.h"
#include "telemetry/telemetry_private.h"

#define TEXT_MAX       256u
#define PATH_MAX_BYTES 512u

#define LINE_USUAL 2048u

/* `at` to `end` is the room that there is; what lies before `at` is the buffer's when it is
 * settled. What can't be appended shows in `failed`, so that a line is all or nothing. */
struct line {
	struct eg_buf *out;
	char *at, *end;
	bool failed, comma;
};

/* The buffer has what was written so far. */
static void settle(struct line *l)
{
	if (l->at)
		eg_buf_commit(l->out, (size_t)(l->at - (eg_buf_data(l->out) + l->out->length)));
}

/* After settle(), and after whatever else appends. */
static bool find_room(struct line *l, size_t n)
{
	size_t room = 0;

	l->at = l->failed ? NULL : eg_buf_reserve(l->out, n, &room);
	l->failed = !l->at || room < n;
	if (l->failed)
		l->at = NULL;
	l->end = l->at ? l->at + room : NULL;
	return !l->failed;
}

/* Where `n` bytes may be written, which count at once; NULL: failed. */
static inline char *take(struct line *l, size_t n)
{
	char *at;

	if ((size_t)(l->end - l->at) < n) {
		settle(l);
		if (!find_room(l, n))
			return NULL;
	}
	at = l->at;
	l->at += n;
	return at;
}

static void put(struct line *l, const char *bytes, size_t n)
{
	char *at = take(l, n);

	if (at)
		memcpy(at, bytes, n);
}

static void put_str(struct line *l, struct eg_str s)
{
	put(l, s.p, s.n);
}

/* A field's name as it is written: one copy, and no strlen. */
#define K(name) EG_STR(",\"" name "\":")

static void key(struct line *l, struct eg_str name)
{
	size_t skip = !l->comma;

	l->comma = true;
	put(l, name.p + skip, name.n - skip);
}

/* Bytes that stand for themselves in a JSON string. */
static void plain(struct line *l, struct eg_str name, struct eg_str value)
{
	size_t skip = !l->comma, n = name.n - skip;
	char *at = take(l, n + value.n + 2);

	l->comma = true;
	if (!at)
		return;
	memcpy(at, name.p + skip, n);
	at[n] = '"';
	memcpy(at + n + 1, value.p, value.n);
	at[n + 1 + value.n] = '"';
}

/* A word of ours: of a table, or digits. Nobody can put a key or a quote into it. */
static void word(struct line *l, struct eg_str name, const char *value)
{
	if (value && *value)
		plain(l, name, eg_str_from(value));
}

static void text(struct line *l, struct eg_str name, struct eg_str value, size_t cap)
{
	char room[EG_REDACT_ROOM];

	if (!value.n)
		return;
	value = eg_redact(value, cap, room);
	value.n = EG_MIN(value.n, cap);
	if (eg_json_plain(value)) {
		plain(l, name, value);
		return;
	}
	key(l, name);
	settle(l);
	if (!l->failed && eg_json_quote(l->out, value, cap))
		l->failed = true;
	(void)find_room(l, 1);
}

static void chars(struct line *l, struct eg_str name, const char *value)
{
	text(l, name, eg_str_from(value), TEXT_MAX);
}

/* The same where a field stands before it, which is nearly everywhere: in place, so that the name
 * is stored and not copied. */
static inline __attribute__((always_inline)) void next_word(struct line *l, struct eg_str name,
							    const char *value)
{
	size_t n = value ? strlen(value) : 0;
	char *at;

	if (!n || !(at = take(l, name.n + n + 2)))
		return;
	memcpy(at, name.p, name.n);
	at[name.n] = '"';
	/* No string: its end is the quotation mark.
	 * NOLINTNEXTLINE(bugprone-not-null-terminated-result) */
	memcpy(at + name.n + 1, value, n);
	at[name.n + 1 + n] = '"';
}

static inline __attribute__((always_inline)) void next_number(struct line *l, struct eg_str name,
							      uint64_t value)
{
	char *at = take(l, name.n + EG_DECIMAL_MAX);

	if (!at)
		return;
	memcpy(at, name.p, name.n);
	l->at = at + name.n + eg_decimal(at + name.n, value);
}

static void number(struct line *l, struct eg_str name, uint64_t value)
{
	size_t skip = !l->comma, n = name.n - skip;
	char *at = take(l, n + EG_DECIMAL_MAX);

	l->comma = true;
	if (!at)
		return;
	memcpy(at, name.p + skip, n);
	l->at = at + n + eg_decimal(at + n, value);
}

static void flag(struct line *l, struct eg_str name, bool value)
{
	if (!value)
		return;
	key(l, name);
	put(l, "true", 4);
}

static void open_object(struct line *l, struct eg_str name)
{
	key(l, name);
	put(l, "{", 1);
	l->comma = false;
}

static void close_object(struct line *l)
{
	put(l, "}", 1);
	l->comma = true;
}

static void two_digits(char *out, unsigned int v)
{
	out[0] = (char)('0' + v / 10 % 10);
	out[1] = (char)('0' + v % 10);
}

/* "2023-11-14T22:13:20.123Z", by the civil calendar: gmtime_r() and strftime() read locale and time
 * zone for each. Days are counted from 1 March of a year 0, so that a leap day ends its year. */
static void when(struct line *l, uint64_t wall_ms)
{
	char out[] = "0000-00-00T00:00:00.000Z";
	unsigned int ms = (unsigned int)(wall_ms % 86400000);
	unsigned int days = (unsigned int)(wall_ms / 86400000) + 719468;
	unsigned int era = days / 146097, day = days % 146097; /* of 400 years */
	unsigned int year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
	unsigned int month;

	day -= 365 * year + year / 4 - year / 100;
	month = (5 * day + 2) / 153; /* 0 is March */
	day -= (153 * month + 2) / 5;
	year += era * 400 + (month > 9);
	two_digits(out, year / 100);
	two_digits(out + 2, year);
	two_digits(out + 5, month < 10 ? month + 3 : month - 9);
	two_digits(out + 8, day + 1);
	two_digits(out + 11, ms / 3600000);
	two_digits(out + 14, ms / 60000 % 60);
	two_digits(out + 17, ms / 1000 % 60);
	out[20] = (char)('0' + ms / 100 % 10);
	two_digits(out + 21, ms);
	word(l, K("time"), out);
}

/* Where an attempt went; first in its object. */
static void attempt_target(struct line *l, const char *provider, const char *region)
{
	put(l, "{", 1);
	l->comma = false;
	chars(l, K("provider"), provider);
	chars(l, K("region"), region);
}

static void attempts(struct line *l, const struct eg_record *r)
{
	const struct eg_record_base *b = r->base;

	if (!r->attempt_count)
		return;
	key(l, K("attempts"));
	put(l, "[", 1);
	for (size_t i = 0; i < r->attempt_count; i++) {
		const struct eg_attempt *a = &r->attempts[i];

		if (i)
			put(l, ",", 1);
		if (b && b->target_named && eg_record_same_target(r, a)) {
			put_str(l, b->attempt);
			l->comma = true;
		} else {
			attempt_target(l, a->provider, a->region);
		}
		word(l, K("reason"), eg_reason_label(a->reason));
		if (a->status)
			next_number(l, K("status"), a->status);
		next_number(l, K("duration_ms"), a->duration_ms);
		put(l, "}", 1);
	}
	put(l, "]", 1);
	l->comma = true;
}

static void tokens(struct line *l, const struct eg_record *r)
{
	if (!r->usage_known)
		return;
	open_object(l, K("tokens"));
	number(l, K("input"), r->input_tokens);
	next_number(l, K("output"), r->output_tokens);
	if (r->cache_read_tokens)
		number(l, K("cache_read"), r->cache_read_tokens);
	if (r->cache_write_tokens)
		number(l, K("cache_write"), r->cache_write_tokens);
	if (r->reasoning_tokens)
		number(l, K("reasoning"), r->reasoning_tokens);
	close_object(l);
}

static void who(struct line *l, const struct eg_record *r)
{
	if (!r->pod_namespace && !r->pod_name)
		return;
	open_object(l, K("pod"));
	chars(l, K("namespace"), r->pod_namespace);
	chars(l, K("name"), r->pod_name);
	chars(l, K("uid"), r->pod_uid);
	chars(l, K("service_account"), r->service_account);
	close_object(l);
}

/* A query may carry a key (`?key=`): it is never recorded. */
static struct eg_str without_query(struct eg_str path)
{
	ssize_t q = eg_str_find(path, '?');

	return q < 0 ? path : (struct eg_str){path.p, (size_t)q};
}

static void target(struct line *l, const struct eg_record *r)
{
	chars(l, K("policy"), r->policy);
	chars(l, K("policy_version"), r->policy_version);
	chars(l, K("route"), r->route);
	chars(l, K("provider"), r->provider);
	chars(l, K("provider_kind"), r->provider_kind);
	chars(l, K("region"), r->region);
}

static void decision(struct line *l, const struct eg_record *r)
{
	if (r->base)
		put_str(l, r->base->target);
	else
		target(l, r);
	text(l, K("region_evidence"), r->region_evidence, 64);
	flag(l, K("region_violation"), r->region_violation);
	next_word(l, K("operation"), r->operation);
	next_word(l, K("dialect"), r->dialect);
	text(l, K("model"), r->model, TEXT_MAX);
	text(l, K("response_model"), r->response_model, TEXT_MAX);
	next_word(l, K("reason"), eg_reason_label(r->reason));
	chars(l, K("detail"), r->detail);
	flag(l, K("shadow"), r->shadow);
	attempts(l, r);
}

/* ---- what many records have in common ---- */

/* What the line has more than `*from`, which then has all of it. Where that lies is not known yet.
 */
static struct eg_str piece(struct line *l, size_t *from)
{
	size_t before = *from;

	settle(l);
	*from = l->out->length;
	return (struct eg_str){NULL, *from - before};
}

struct eg_record_base *eg_record_base_create(const struct eg_record *r)
{
	struct eg_record_base *b = calloc(1, sizeof(*b));
	struct eg_buf out;
	struct line l = {.out = &out, .comma = true};
	size_t at = 0;

	eg_buf_init(&out, 4 * LINE_USUAL);
	if (b && find_room(&l, LINE_USUAL / 4)) {
		who(&l, r);
		b->pod = piece(&l, &at);
		target(&l, r);
		b->target = piece(&l, &at);
		b->target_named = r->provider && *r->provider;
		attempt_target(&l, r->provider, r->region);
		b->attempt = piece(&l, &at);
		b->text = malloc(at);
	}
	if (!b || l.failed || !b->text) {
		eg_buf_fini(&out);
		free(b ? b->text : NULL);
		free(b);
		return NULL;
	}
	memcpy(b->text, eg_buf_data(&out), at);
	b->pod.p = b->text;
	b->target.p = b->pod.p + b->pod.n;
	b->attempt.p = b->target.p + b->target.n;
	eg_buf_fini(&out);
	return b;
}

void eg_record_base_destroy(struct eg_record_base *b)
{
	if (!b)
		return;
	free(b->text);
	free(b);
}

/* ---- the record ---- */

int eg_record_write(struct eg_buf *out, const char *gateway, const struct eg_record *r,
		    bool connection)
{
	struct line l = {.out = out};
	size_t before = out->length;

	/* At once for nearly all lines; a longer one grows as it is written. */
	if (!find_room(&l, EG_MIN(LINE_USUAL, out->cap - out->length)))
		return -errno;
	put(&l, "{", 1);
	when(&l, r->wall_ms);
	next_word(&l, K("type"), connection ? "connection" : "request");
	chars(&l, K("gateway"), gateway);
	next_word(&l, K("request_id"), r->request_id);
	if (r->base)
		put_str(&l, r->base->pod);
	else
		who(&l, r);
	next_word(&l, K("source"), r->source);
	next_word(&l, K("destination"), r->destination);
	text(&l, K("server_name"), r->server_name, TEXT_MAX);
	next_word(&l, K("protocol"), r->protocol);
	text(&l, K("method"), r->method, 32);
	text(&l, K("path"), without_query(r->path), PATH_MAX_BYTES);
	text(&l, K("user_agent"), r->user_agent, 128);
	decision(&l, r);
	if (r->status)
		next_number(&l, K("status"), r->status);
	if (r->upstream_status)
		next_number(&l, K("upstream_status"), r->upstream_status);
	next_word(&l, K("upstream_protocol"), r->upstream_protocol);
	text(&l, K("response_encoding"), r->response_encoding, 32);
	chars(&l, K("response_unread"), r->response_unread);
	flag(&l, K("streamed"), r->streamed);
	flag(&l, K("replayed"), r->replayed);
	flag(&l, K("possibly_billed_twice"), r->possibly_billed_twice);
	flag(&l, K("connection_reused"), r->connection_reused);
	flag(&l, K("upstream_reused"), r->upstream_reused);
	flag(&l, K("client_credential_real"), r->client_credential_real);
	next_number(&l, K("bytes_in"), r->bytes_in);
	next_number(&l, K("bytes_out"), r->bytes_out);
	if (r->upstream_connect_ms)
		next_number(&l, K("upstream_connect_ms"), r->upstream_connect_ms);
	if (r->first_byte_seen)
		next_number(&l, K("first_byte_ms"), r->first_byte_ms);
	next_number(&l, K("duration_ms"), r->duration_ms);
	tokens(&l, r);
	put(&l, "}\n", 2);
	settle(&l);
	if (l.failed) {
		out->length = before;
		return -ENOBUFS;
	}
	return 0;
}
