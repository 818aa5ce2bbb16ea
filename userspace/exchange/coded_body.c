/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A held body in a content coding, decoded as it comes, so that what is too large is seen at the
 * limit, whatever the ratio. What comes out is charged like what is held; the codec's memory is
 * given back when the body has ended.
 */
#include "exchange/exchange_impl.h"

static enum eg_reason charge(struct eg_exchange *x, size_t plain_bytes)
{
	size_t bytes = x->decoder_bytes + EG_MAX(plain_bytes, x->plain.size);

	bytes = (bytes + HOLD_STEP - 1) / HOLD_STEP * HOLD_STEP;
	if (bytes <= x->plain_charged)
		return EG_REASON_OK;
	return eg_account_hold(x->engine, x->peer->account, &x->plain_charged, bytes);
}

static bool charge_decoder(void *ctx, size_t bytes)
{
	struct eg_exchange *x = ctx;
	size_t before = x->decoder_bytes;

	x->decoder_bytes = bytes;
	x->decoder_refused = charge(x, x->plain.length);
	if (x->decoder_refused == EG_REASON_OK)
		return true;
	x->decoder_bytes = before;
	return false;
}

/* Of memory: what the budgets said, or malloc, which they had granted it to. */
static enum eg_reason starved(const struct eg_exchange *x)
{
	return x->decoder_refused == EG_REASON_OK ? EG_REASON_OVERLOADED : x->decoder_refused;
}

static enum eg_reason begin(struct eg_exchange *x)
{
	struct eg_decoder_limits limits = {
		.output_bytes = x->body_limit,
		.memory_bytes = EG_DECODER_MEMORY,
		.charge = charge_decoder,
		.ctx = x,
	};

	if (x->decoder)
		return EG_REASON_OK;
	eg_buf_init(&x->plain, x->body_limit);
	x->decoder_refused = EG_REASON_OK;
	x->decoder = eg_decoder_create(x->coding, &limits);
	return x->decoder ? EG_REASON_OK : starved(x);
}

/* Why it can't be read, to the client. */
static enum eg_reason refuse(struct eg_exchange *x, const char **detail)
{
	enum eg_decode_fault fault = eg_decoder_fault(x->decoder);

	if (fault == EG_DECODE_MEMORY)
		return starved(x);
	*detail = eg_arena_printf(&x->arena, "The body can't be decoded: %s.",
				  eg_decode_fault_text(fault));
	return fault == EG_DECODE_TOO_LARGE ? EG_REASON_BODY_TOO_LARGE : EG_REASON_BAD_BODY;
}

enum eg_reason exchange_decode(struct eg_exchange *x, struct eg_str data, const char **detail)
{
	enum eg_reason r = begin(x);
	enum eg_decode state = EG_DECODE_ROOM;

	while (r == EG_REASON_OK && state == EG_DECODE_ROOM) {
		bool full = x->plain.length == x->plain.cap;
		size_t room = 1, n = 0;
		char past,
			*to = &past; /* nothing is written there: the decoder has the limit too */

		r = charge(x, x->plain.length + (full ? 0 : HOLD_STEP));
		if (r != EG_REASON_OK)
			break;
		if (!full)
			to = eg_buf_reserve(&x->plain, HOLD_STEP, &room);
		if (!to)
			return EG_REASON_OVERLOADED;
		state = eg_decoder_run(x->decoder, &data, to, room, &n);
		if (n)
			eg_buf_commit(&x->plain, n);
		if (state == EG_DECODE_FAIL)
			r = refuse(x, detail);
		else
			r = charge(x, x->plain.length);
	}
	return r;
}

void exchange_decode_refuse(struct eg_exchange *x, enum eg_reason reason, const char *detail)
{
	x->coded_refused = true;
	x->coded_reason = reason;
	x->coded_detail = detail;
	exchange_body_free(x);
}

enum eg_reason exchange_decode_end(struct eg_exchange *x, const char **detail)
{
	enum eg_reason r;

	if (x->coding == EG_CODING_IDENTITY)
		return EG_REASON_OK;
	if (x->coded_refused) {
		*detail = x->coded_detail;
		return x->coded_reason;
	}
	r = begin(x);
	if (r != EG_REASON_OK)
		return r;
	if (!eg_decoder_end(x->decoder))
		return refuse(x, detail);
	eg_decoder_destroy(x->decoder);
	x->decoder = NULL;
	x->decoder_bytes = 0;
	return eg_account_hold(x->engine, x->peer->account, &x->plain_charged, x->plain.size);
}

/*
 * Servers that don't know of codings read the coded bytes. A brotli stream can be JSON at the same
 * time, and a gzip header has room for a form, so what policy read would not be what is done.
 */
bool exchange_coded_ambiguous(const struct eg_exchange *x)
{
	struct eg_str held = eg_buf_str(&x->held), boundary = x->body.form_boundary;

	if (x->coding == EG_CODING_IDENTITY)
		return false;
	if (boundary.p)
		return memmem(held.p, held.n, boundary.p, boundary.n) != NULL;
	if (eg_str_starts(held, EG_STR("\xef\xbb\xbf"))) /* some readers skip it */
		return true;
	while (held.n && memchr(" \t\r\n", held.p[0], 4)) {
		held.p++;
		held.n--;
	}
	return held.n && (held.p[0] == '{' || held.p[0] == '[');
}

void exchange_decode_free(struct eg_exchange *x)
{
	eg_decoder_destroy(x->decoder);
	x->decoder = NULL;
	x->decoder_bytes = 0;
	eg_buf_fini(&x->plain);
	(void)eg_account_hold(x->engine, x->peer->account, &x->plain_charged, 0);
}
