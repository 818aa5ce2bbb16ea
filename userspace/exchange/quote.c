/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A provider, or what stands before it, may quote the credential in an answer (an echo of the
 * request, a debug header): a key never enters a pod. The secret's own bytes are looked for, in a
 * coded answer in what comes out of it (coded_answer.c); what encodes them otherwise (base64, a
 * JSON escape inside) is not found.
 */
#include <stdio.h>

#include "exchange/exchange_impl.h"

/* Of a coded answer, until what may be the credential's beginning turns out to be something else:
 * a block of zstd, the largest that says nothing before its end, and what came with it. */
#define CODED_UNSURE_MAX (192u * 1024u)

/* What was injected for the target in use; NULL: nothing was. */
static const struct eg_secret *injected(const struct eg_exchange *x)
{
	const struct eg_credential_spec *spec = x->provider ? x->provider->credential : NULL;

	if (!spec || spec->type == EG_CREDENTIAL_NONE)
		return NULL;
	return eg_credential_set_get(eg_snapshot_credentials(x->snapshot), spec->index, NULL);
}

bool exchange_quotes_key(const struct eg_exchange *x, struct eg_str bytes)
{
	const struct eg_secret *secret = injected(x);

	return secret && eg_secret_found_in(secret, bytes);
}

void exchange_note_quote(struct eg_exchange *x)
{
	uint64_t now = eg_loop_now_ms(x->engine->loop);

	if (x->key_quoted)
		return;
	x->key_quoted = true;
	if (x->engine->telemetry)
		eg_telemetry_count(x->engine->telemetry, EG_COUNT_CREDENTIAL_QUOTED, 1);
	if (x->engine->quote_said_ms && now - x->engine->quote_said_ms < 1000)
		return;
	x->engine->quote_said_ms = now;
	eg_warn("request %s: provider %s quotes the credential in its answer (status %u); what "
		"quotes it was withheld from the pod",
		x->id, x->provider->name, x->upstream_status);
}

/* Splits off what could be the beginning of the credential: it waits for what follows. In a tunnel
 * nothing waits, for the other side may be waiting for it. 0 or -errno. */
static int hold_back(struct eg_exchange *x, const struct eg_secret *secret, struct eg_str *data)
{
	size_t n = x->tunnel ? 0 : eg_secret_begun_in(secret, *data);
	int r;

	if (!n)
		return 0;
	eg_buf_init_secret(&x->unsure, EG_CREDENTIAL_MAX_BYTES + EG_UPSTREAM_READ_BYTES);
	r = eg_buf_append(&x->unsure, data->p + data->n - n, n);
	data->n -= n;
	return r;
}

/* What waited, and what came now. 0 or -errno. */
static int join(struct eg_buf *before, struct eg_str *data)
{
	struct eg_str waited = eg_buf_str(before);
	struct eg_buf all;
	int r;

	if (!waited.n)
		return 0;
	eg_buf_init_secret(&all, waited.n + data->n);
	r = eg_buf_append_str(&all, waited);
	if (!r)
		r = eg_buf_append_str(&all, *data);
	eg_buf_fini(before);
	*before = all;
	*data = eg_buf_str(before);
	return r;
}

int exchange_look_for_key(struct eg_exchange *x, struct eg_str said)
{
	const struct eg_secret *secret = injected(x);
	struct eg_buf before = x->key_begun;
	size_t n;
	int r;

	eg_buf_init(&x->key_begun, 0);
	if (!secret)
		return 0;
	r = join(&before, &said);
	if (!r) {
		x->coded_quote |= eg_secret_found_in(secret, said);
		n = eg_secret_begun_in(secret, said);
		eg_buf_init_secret(&x->key_begun, EG_CREDENTIAL_MAX_BYTES);
		if (n)
			r = eg_buf_append(&x->key_begun, said.p + said.n - n, n);
	}
	eg_buf_fini(&before);
	return r;
}

bool exchange_collected_quotes_key(const struct eg_exchange *x)
{
	return x->coded_quote || exchange_quotes_key(x, eg_buf_str(&x->collected));
}

/*
 * Which bytes of a coding are the beginning of the key nobody can say, nor what a block says that
 * has not ended: all of the last piece waits, and of the `waited` bytes before it whatever is still
 * in doubt. Something that came out of the piece ends the block that was open before it.
 */
static int hold_back_coded(struct eg_exchange *x, size_t waited, struct eg_str *data)
{
	size_t sure = x->reader_said && x->key_begun.length <= x->reader_said ? waited : 0;
	int r;

	if (!x->key_begun.length && !(x->reader && eg_decoder_owes(x->reader)))
		return 0;
	eg_buf_init_secret(&x->unsure, CODED_UNSURE_MAX);
	r = eg_buf_append(&x->unsure, data->p + sure, data->n - sure);
	data->n = sure;
	return r;
}

/* What stands before the key. Of a coded answer nobody can say which bytes that is. */
static void cut_before(const struct eg_exchange *x, const struct eg_secret *secret,
		       struct eg_str *data)
{
	data->n = x->answer_coding == EG_CODING_IDENTITY ? eg_secret_at(secret, *data) : 0;
}

size_t exchange_quote_ends(const struct eg_exchange *x, struct eg_str said)
{
	const struct eg_secret *secret = injected(x);
	size_t at = eg_secret_at(secret, said);

	return at < said.n ? at + eg_secret_bytes(secret).n : SIZE_MAX;
}

bool exchange_withhold(struct eg_exchange *x, struct eg_buf *before, struct eg_str *data,
		       enum eg_reason *reason)
{
	const struct eg_secret *secret = injected(x);
	size_t waited = x->unsure.length;

	*before = x->unsure;
	eg_buf_init(&x->unsure, 0);
	if (!secret)
		return true;
	*reason = EG_REASON_OVERLOADED;
	if (join(before, data)) {
		data->n = 0;
		return false;
	}
	if (x->coded_quote || eg_secret_found_in(secret, *data)) {
		exchange_note_quote(x);
		snprintf(x->fail_text, sizeof(x->fail_text), "%s", EXCHANGE_WITHHELD);
		cut_before(x, secret, data);
		*reason = EG_REASON_UPSTREAM_AUTH;
		return false;
	}
	return x->answer_coding == EG_CODING_IDENTITY ? !hold_back(x, secret, data)
						      : !hold_back_coded(x, waited, data);
}
