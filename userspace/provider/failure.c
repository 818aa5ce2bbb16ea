/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a provider's answer means for failover. Signals and their sources:
 * docs/internals/provider.md.
 */
#include "provider/vendor.h"

#include <stdlib.h>

/* ---- how long to wait ---- */
/* Days since 1970-01-01 of a date of the Gregorian calendar. */
static int64_t days_of(int64_t y, int64_t m, int64_t d)
{
	int64_t era, year_of_era, day_of_year;

	y -= m <= 2;
	era = y / 400;
	year_of_era = y - era * 400;
	day_of_year = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 +
	       day_of_year - 719468;
}

static bool number_at(struct eg_str s, size_t at, size_t n, int64_t *out)
{
	uint64_t v;

	if (s.n < at + n || eg_str_u64((struct eg_str){s.p + at, n}, &v))
		return false;
	*out = (int64_t)v;
	return true;
}

/* 1 to 12; 0: no month begins there. */
static int64_t month_at(struct eg_str s, size_t at)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

	for (int64_t i = 0; i < 12; i++)
		if (s.n >= at + 3 && !memcmp(s.p + at, months + 3 * i, 3))
			return i + 1;
	return 0;
}

struct date {
	int64_t year, month, day;
	size_t clock; /* where "08:49:37" begins */
};

/* "Sun, 06 Nov 1994 08:49:37 GMT" */
static bool imf_fixdate(struct eg_str s, struct date *d)
{
	d->month = month_at(s, 8);
	d->clock = 17;
	return s.n == 29 && s.p[3] == ',' && eg_str_ends(s, EG_STR(" GMT")) &&
	       number_at(s, 5, 2, &d->day) && number_at(s, 12, 4, &d->year);
}

/* "Sunday, 06-Nov-94 08:49:37 GMT". A year that would be more than 50 in the future is past. */
static bool rfc850_date(struct eg_str s, int64_t this_year, struct date *d)
{
	ssize_t comma = eg_str_find(s, ',');
	size_t at = comma < 0 ? 0 : (size_t)comma + 2;

	if (comma < 0 || s.n != at + 22 || s.p[at + 2] != '-' || !eg_str_ends(s, EG_STR(" GMT")) ||
	    !number_at(s, at, 2, &d->day) || !number_at(s, at + 7, 2, &d->year))
		return false;
	d->month = month_at(s, at + 3);
	d->clock = at + 10;
	d->year += this_year - this_year % 100;
	if (d->year > this_year + 50)
		d->year -= 100;
	return true;
}

/* "Sun Nov  6 08:49:37 1994" */
static bool asctime_date(struct eg_str s, struct date *d)
{
	d->month = month_at(s, 4);
	d->clock = 11;
	return s.n == 24 && s.p[3] == ' ' && s.p[7] == ' ' && s.p[19] == ' ' &&
	       (s.p[8] == ' ' ? number_at(s, 9, 1, &d->day) : number_at(s, 8, 2, &d->day)) &&
	       number_at(s, 20, 4, &d->year);
}

/* The three forms of RFC 9110 section 5.6.7. Milliseconds since 1970, 0 when it is none of them. */
static uint64_t http_date_ms(struct eg_str s, uint64_t wall_ms)
{
	int64_t this_year = 1970 + (int64_t)(wall_ms / 31556952000u); /* mean year: near enough */
	int64_t hour, minute, second;
	struct date d = {0};

	if (!imf_fixdate(s, &d) && !rfc850_date(s, this_year, &d) && !asctime_date(s, &d))
		return 0;
	if (!number_at(s, d.clock, 2, &hour) || !number_at(s, d.clock + 3, 2, &minute) ||
	    !number_at(s, d.clock + 6, 2, &second) || s.p[d.clock + 2] != ':' ||
	    s.p[d.clock + 5] != ':')
		return 0;
	if (!d.month || d.day < 1 || d.day > 31 || hour > 23 || minute > 59 || second > 60 ||
	    d.year < 1970)
		return 0;
	return (uint64_t)((((days_of(d.year, d.month, d.day) * 24 + hour) * 60 + minute) * 60 +
			   second) *
			  1000);
}

/* A decimal number with an optional fraction, times `scale`; false when it is anything else. */
static bool decimal_ms(struct eg_str s, uint64_t scale, uint64_t *out)
{
	ssize_t dot = eg_str_find(s, '.');
	struct eg_str whole = {s.p, dot < 0 ? s.n : (size_t)dot};
	uint64_t v, fraction = 0, unit = scale;

	if (eg_str_u64(whole, &v))
		return false;
	for (size_t i = whole.n + 1; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		unit /= 10;
		fraction += (uint64_t)(s.p[i] - '0') * unit;
	}
	if (__builtin_mul_overflow(v, scale, &v) || __builtin_add_overflow(v, fraction, &v))
		v = UINT64_MAX;
	*out = v;
	return true;
}

static struct eg_str header(const struct eg_h1_head *head, struct eg_str name)
{
	const struct eg_header *h = eg_h1_find(head, name);

	return h ? eg_str_trim(h->value) : (struct eg_str){0};
}

/* The larger of Retry-After and retry-after-ms: Azure sends 1 second beside 0 ms. */
static uint64_t retry_after_ms(const struct eg_h1_head *head, uint64_t wall_ms)
{
	struct eg_str seconds = header(head, EG_STR("retry-after"));
	struct eg_str exact = header(head, EG_STR("retry-after-ms"));
	uint64_t a = 0, b = 0;

	if (!decimal_ms(seconds, 1000, &a)) {
		uint64_t date = http_date_ms(seconds, wall_ms);

		a = date > wall_ms ? date - wall_ms : 0;
	}
	if (!decimal_ms(exact, 1, &b))
		b = 0;
	return EG_MIN(EG_MAX(a, b), (uint64_t)EG_RETRY_AFTER_MAX_MS);
}

/* ---- classes ---- */
/* The three meanings of OpenAI's 429; other providers have only the first and the last. */
static enum eg_response_class classify_429(struct eg_str body)
{
	struct eg_str code = eg_json_member_of2(body, "error", "code");
	struct eg_str type = eg_json_member_of2(body, "error", "type");
	struct eg_str message = eg_json_member_of2(body, "error", "message");

	if (eg_json_is(code, "insufficient_quota") || eg_json_is(type, "insufficient_quota") ||
	    eg_json_is(code, "billing_hard_limit_reached"))
		return EG_RESPONSE_QUOTA;
	/* The request is over the limit by itself: waiting never helps. */
	if (eg_str_starts(message, EG_STR("\"Request too large")))
		return EG_RESPONSE_CLIENT_ERROR;
	if (!message.p) { /* cut, or of another form: look for the words */
		if (eg_bytes_have(body, "\"insufficient_quota\""))
			return EG_RESPONSE_QUOTA;
		if (eg_bytes_have(body, "Request too large for"))
			return EG_RESPONSE_CLIENT_ERROR;
	}
	return EG_RESPONSE_FAILOVER;
}

/* A refused key that comes as 400: xAI, and Gemini's OpenAI-compatible endpoint. */
static bool bad_key(struct eg_str body)
{
	return eg_bytes_have(body, "Incorrect API key provided") ||
	       eg_bytes_have(body, "API_KEY_INVALID") || eg_bytes_have(body, "API key not valid");
}

enum eg_event_class eg_body_begins(struct eg_str body)
{
	static const char *const tokens[] = {"{", "\"error\"", ":", "{"};

	for (size_t i = 0; i < EG_ARRAY_SIZE(tokens); i++) {
		struct eg_str token = eg_str_from(tokens[i]);

		body = eg_json_skip_space(body);
		if (body.n < token.n && (!body.n || !memcmp(body.p, token.p, body.n)))
			return EG_EVENT_PREAMBLE;
		if (!eg_str_starts(body, token))
			return EG_EVENT_CONTENT;
		body = (struct eg_str){body.p + token.n, body.n - token.n};
	}
	return EG_EVENT_ERROR;
}

static enum eg_response_class classify(unsigned int status, struct eg_str body)
{
	switch (status) {
	case 400:
		return bad_key(body) ? EG_RESPONSE_AUTH : EG_RESPONSE_CLIENT_ERROR;
	case 401:
	case 403:
		return EG_RESPONSE_AUTH;
	case 402:
		return EG_RESPONSE_QUOTA;
	case 408:
	case 498: /* Groq: flex tier capacity exceeded */
		return EG_RESPONSE_FAILOVER;
	case 429:
		return classify_429(body);
	default:
		break;
	}
	if (status >= 500)
		return EG_RESPONSE_FAILOVER;
	return status >= 400 ? EG_RESPONSE_CLIENT_ERROR : EG_RESPONSE_OK;
}

void eg_response_classify(enum eg_dialect d, const struct eg_h1_head *head,
			  struct eg_str body_prefix, uint64_t wall_ms,
			  struct eg_response_signal *out)
{
	(void)d; /* the statuses mean the same in both dialects */
	*out = (struct eg_response_signal){.class = classify(head->status, body_prefix)};
	if (out->class == EG_RESPONSE_FAILOVER || out->class == EG_RESPONSE_QUOTA)
		out->retry_after_ms = retry_after_ms(head, wall_ms);
}
