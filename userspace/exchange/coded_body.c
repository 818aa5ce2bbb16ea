/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A held body in a content coding, decoded as it comes, so that what is too large is seen at the
 * limit, whatever the ratio. What comes out is charged like what is held; the codec's memory is
 * given back when the body has ended. It is done in turns (turns.c).
 */
#include "exchange/exchange_impl.h"

#define INPUT_STEP 4096u /* in one call of the codec: its bytes may be dear (turns.c) */

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

/* Is there something that was not decoded yet? */
static bool behind(const struct eg_exchange *x)
{
	return x->decode_room || x->decoded < x->held.length;
}

/*
 * In the last n coded bytes that were decoded, and what is before them. In pieces, since the search
 * can be made as slow as decoding by who chose the bytes and the boundary.
 */
static void look_for_boundary(struct eg_exchange *x, size_t n)
{
	struct eg_str boundary = x->form ? eg_form_boundary(x->form) : (struct eg_str){NULL, 0};
	size_t from = x->decoded - n;

	if (!boundary.n || x->boundary_in_coded)
		return;
	from -= EG_MIN(from, boundary.n - 1);
	x->boundary_in_coded = memmem(eg_buf_data(&x->held) + from, x->decoded - from, boundary.p,
				      boundary.n) != NULL;
}

/* One call of the codec: of *budget goes what it read and wrote. */
static enum eg_reason run_codec(struct eg_exchange *x, size_t *budget, const char **detail)
{
	bool full = x->plain.length == x->plain.cap;
	struct eg_str held = eg_buf_str(&x->held);
	struct eg_str in = {held.p + x->decoded, EG_MIN(held.n - x->decoded, (size_t)INPUT_STEP)};
	size_t given = in.n, room = 1, n = 0;
	char past, *to = &past; /* nothing is written there: the decoder has the limit too */
	enum eg_reason r = charge(x, x->plain.length + (full ? 0 : HOLD_STEP));
	enum eg_decode state;

	if (r != EG_REASON_OK)
		return r;
	if (!full)
		to = eg_buf_reserve(&x->plain, HOLD_STEP, &room);
	if (!to)
		return EG_REASON_OVERLOADED;
	state = eg_decoder_run(x->decoder, &in, to, EG_MIN(room, *budget), &n);
	if (n)
		eg_buf_commit(&x->plain, n);
	x->decoded += given - in.n;
	look_for_boundary(x, given - in.n);
	x->decode_room = state == EG_DECODE_ROOM;
	*budget -= EG_MIN(*budget, given - in.n + n + 1);
	return state == EG_DECODE_FAIL ? refuse(x, detail) : charge(x, x->plain.length);
}

/* As much as *budget allows. */
static enum eg_reason decode(struct eg_exchange *x, size_t *budget, const char **detail)
{
	enum eg_reason r = begin(x);

	while (r == EG_REASON_OK && behind(x) && *budget)
		r = run_codec(x, budget, detail);
	return r;
}

bool exchange_decode_some(struct eg_exchange *x, size_t *budget)
{
	const char *detail = NULL;
	enum eg_reason r = decode(x, budget, &detail);

	if (r == EG_REASON_OK && behind(x)) {
		/* Its fields may be dear, too: not all of them at its end. */
		if (x->form)
			eg_form_feed(x->form, exchange_body_said(x));
		return true;
	}
	exchange_decoded(x, r, detail);
	return false;
}

void exchange_decode_refuse(struct eg_exchange *x, enum eg_reason reason, const char *detail)
{
	x->coded_refused = true;
	x->coded_reason = reason;
	x->coded_detail = detail;
	if (x->pass_on) /* as it came */
		exchange_decode_free(x);
	else
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

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool opens_json(char c)
{
	return c == '{' || c == '[';
}

/* UTF-16 and 32, which some readers of bytes tell by their zeros (Python's json.loads) or a mark.
 */
static bool wide_json(struct eg_str s)
{
	size_t zeros = 0;

	if (eg_str_starts(s, EG_STR("\xff\xfe")) || eg_str_starts(s, EG_STR("\xfe\xff")))
		return true;
	if (s.n < 4)
		return false;
	while (zeros < 3 && !s.p[zeros])
		zeros++;
	return (zeros || !s.p[1]) && (is_space(s.p[zeros]) || opens_json(s.p[zeros]));
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
	if (boundary.p) /* without memory for the form it was not looked for */
		return x->boundary_in_coded || !x->form;
	if (eg_str_starts(held, EG_STR("\xef\xbb\xbf"))) /* some readers skip it */
		return true;
	if (wide_json(held))
		return true;
	while (held.n && is_space(held.p[0])) {
		held.p++;
		held.n--;
	}
	return held.n && opens_json(held.p[0]);
}

void exchange_decode_free(struct eg_exchange *x)
{
	exchange_turn_leave(x);
	x->decoded = 0;
	x->decode_room = false;
	eg_decoder_destroy(x->decoder);
	x->decoder = NULL;
	x->decoder_bytes = 0;
	eg_buf_fini(&x->plain);
	(void)eg_account_hold(x->engine, x->peer->account, &x->plain_charged, 0);
}
