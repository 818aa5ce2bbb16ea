/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trailers of an answer: what may stand there at all is proto's to say (proto/trailers.h); of that
 * the client gets what it would get of a head, and nothing that quotes the credential. They are
 * kept until the body is out: bytes of that may wait for them (quote.c, preamble.c).
 */
#include "exchange/exchange_impl.h"

enum eg_call_trailers exchange_trailers_wanted(const struct eg_exchange *x)
{
	if (x->te_trailers)
		return EG_CALL_TRAILERS_AWAITED;
	/* Over HTTP/1.1 only who said so reads them (RFC 9110 section 6.5.1). */
	return x->peer->http2 ? EG_CALL_TRAILERS_TAKEN : EG_CALL_TRAILERS_DROPPED;
}

static bool passes(struct eg_exchange *x, const struct eg_header *h)
{
	if (x->provider && !eg_response_header_allowed(x->provider->dialect, h->name))
		return false;
	if (!exchange_quotes_key(x, h->value) && !exchange_quotes_key(x, h->name))
		return true;
	exchange_note_quote(x);
	return false;
}

static int copy(struct eg_exchange *x, const struct eg_header *fields, size_t count)
{
	x->trailers = eg_arena_alloc(&x->arena, count * sizeof(*x->trailers));
	if (!x->trailers)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct eg_header *to = &x->trailers[x->trailer_count];

		if (!passes(x, &fields[i]))
			continue;
		*to = fields[i];
		to->name.p = eg_arena_dup(&x->arena, fields[i].name);
		to->value.p = eg_arena_dup(&x->arena, fields[i].value);
		if (!to->name.p || !to->value.p)
			return -ENOMEM;
		x->trailer_count++;
	}
	return 0;
}

void exchange_on_trailers(void *ctx, const struct eg_header *fields, size_t count)
{
	struct eg_exchange *x = ctx;

	/* An answer without the status that they are would look whole. */
	if (copy(x, fields, count)) {
		x->trailer_count = 0;
		exchange_deny(x, EG_REASON_OVERLOADED, NULL, false);
	}
}

void exchange_give_trailers(struct eg_exchange *x)
{
	if (x->trailer_count && !x->out.no_body)
		x->sink->trailers(x->sink_ctx, x->trailers, x->trailer_count);
}
