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

/* IMF-fixdate "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 section 5.6.7); the obsolete forms are not
 * read: no provider sends them. Returns milliseconds since 1970, 0 when it is not one. */
static uint64_t http_date_ms(struct eg_str s)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	int64_t day, year, hour, minute, second, month = 0, ms;

	if (s.n != 29 || s.p[3] != ',' || !eg_str_ends(s, EG_STR(" GMT")) ||
	    !number_at(s, 5, 2, &day) || !number_at(s, 12, 4, &year) ||
	    !number_at(s, 17, 2, &hour) || !number_at(s, 20, 2, &minute) ||
	    !number_at(s, 23, 2, &second))
		return 0;
	for (int64_t i = 0; i < 12; i++)
		if (!memcmp(s.p + 8, months + 3 * i, 3))
			month = i + 1;
	if (!month || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60 || year < 1970)
		return 0;
	ms = (((days_of(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1000;
	return (uint64_t)ms;
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
		uint64_t date = http_date_ms(seconds);

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
		if (body.n < token.n && !memcmp(body.p, token.p, body.n))
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
