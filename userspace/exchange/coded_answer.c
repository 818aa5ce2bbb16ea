/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an answer says, for who reads it here: the watch that counts its tokens, failover, the
 * search for the credential. Of one in a content coding a copy is decoded, piece by piece as it
 * comes; the client gets the bytes as they are. What can't be decoded is passed on unread, and the
 * record says so.
 */
#include "exchange/exchange_impl.h"

#define SCRATCH_BYTES 16384u
/* Of one answer. Nothing of it is held: it bounds the work that a bomb makes. */
#define ANSWER_DECODED_MAX (64u << 20)
/* Of what came at once (64 KiB at most): no text is packed so tightly, and the work can't wait as
 * that for a body does, since the answer goes on meanwhile. */
#define PIECE_DECODED_MAX (1u << 20)
/* Of work, before it is no text's: ten times what a coded byte costs that was made by an encoder,
 * and something for its beginning. Bytes made for that cost a hundred times as much. */
#define CPU_BASE_NS 50000000u
#define CPU_BYTE_NS 100u

static bool charge_reader(void *ctx, size_t bytes)
{
	struct eg_exchange *x = ctx;

	return eg_account_hold(x->engine, x->peer->account, &x->reader_charged, bytes) ==
	       EG_REASON_OK;
}

static void drop_reader(struct eg_exchange *x)
{
	eg_decoder_destroy(x->reader);
	x->reader = NULL;
	(void)eg_account_hold(x->engine, x->peer->account, &x->reader_charged, 0);
}

void exchange_reading_free(struct eg_exchange *x)
{
	drop_reader(x);
	eg_buf_fini(&x->readable);
	eg_buf_fini(&x->key_begun);
}

void exchange_reading_reset(struct eg_exchange *x)
{
	exchange_reading_free(x);
	x->answer_coding = EG_CODING_IDENTITY;
	x->answer_encoding = (struct eg_str){NULL, 0};
	x->unread = NULL;
	x->coded_quote = false;
	x->reader_bytes = x->reader_cpu_ns = 0;
}

/* No more of it is read: nothing is known of its tokens, nor of its end. */
static void give_up(struct eg_exchange *x, const char *why)
{
	drop_reader(x);
	eg_buf_fini(&x->key_begun); /* what waited for it goes out with what comes next */
	eg_usage_watch_destroy(x->watch);
	x->watch = NULL;
	x->unread = why;
	if (x->engine->telemetry)
		eg_telemetry_count(x->engine->telemetry, EG_COUNT_ANSWERS_UNREAD, 1);
}

static const char *why(enum eg_decode_fault fault)
{
	switch (fault) {
	case EG_DECODE_TOO_LARGE:
	case EG_DECODE_WINDOW:
		return "limit";
	case EG_DECODE_MEMORY:
		return "memory";
	case EG_DECODE_TRUNCATED:
		return "truncated";
	case EG_DECODE_SOUND:
	case EG_DECODE_CORRUPT:
	case EG_DECODE_TRAILING:
		break;
	}
	return "corrupt";
}

int exchange_reading_begin(struct eg_exchange *x, const struct eg_h1_head *head)
{
	struct eg_decoder_limits limits = {
		.output_bytes = ANSWER_DECODED_MAX,
		.memory_bytes = EG_DECODER_MEMORY,
		.charge = charge_reader,
		.ctx = x,
	};
	struct eg_str value = {NULL, 0};

	exchange_reading_reset(x);
	if (!x->provider || x->tunnel || head->body == EG_H1_BODY_NONE)
		return 0;
	for (size_t i = 0; i < head->header_count; i++) {
		if (!eg_str_ieq(head->headers[i].name, EG_STR("content-encoding")))
			continue;
		value = head->headers[i].value;
		x->answer_coding = eg_coding_join(x->answer_coding, eg_coding_parse(value));
	}
	if (x->answer_coding == EG_CODING_IDENTITY)
		return 0;
	x->answer_encoding = (struct eg_str){eg_arena_dup(&x->arena, value), value.n};
	if (!x->answer_encoding.p)
		return -ENOMEM;
	if (x->answer_coding == EG_CODING_OTHER) {
		give_up(x, "encoding");
		return 0;
	}
	eg_buf_init(&x->readable, PREAMBLE_MAX);
	x->reader = eg_decoder_create(x->answer_coding, &limits);
	if (!x->reader)
		give_up(x, "memory");
	return 0;
}

/* Its beginning is also wanted as it is said, to judge it. */
static void keep(struct eg_exchange *x, struct eg_str said)
{
	said.n = EG_MIN(said.n, x->readable.cap - x->readable.length);
	if (x->answer == ANSWER_PASS || !said.n)
		return;
	if (eg_buf_append_str(&x->readable, said))
		give_up(x, "memory");
}

static void decode(struct eg_exchange *x, struct eg_str data)
{
	enum eg_decode state = EG_DECODE_ROOM;
	char scratch[SCRATCH_BYTES];
	size_t decoded = 0;

	while (x->reader && state == EG_DECODE_ROOM) {
		struct eg_str said = {scratch, 0};

		state = eg_decoder_run(x->reader, &data, scratch, sizeof(scratch), &said.n);
		if (said.n) {
			if (exchange_look_for_key(x, said)) {
				give_up(x, "memory");
				return;
			}
			keep(x, said);
			if (x->watch)
				eg_usage_watch_feed(x->watch, said);
		}
		x->reader_said = decoded += said.n;
		if (x->reader && state == EG_DECODE_FAIL)
			give_up(x, why(eg_decoder_fault(x->reader)));
		else if (x->reader && decoded > PIECE_DECODED_MAX)
			give_up(x, "limit");
	}
}

void exchange_read_answer(struct eg_exchange *x, struct eg_str data)
{
	uint64_t before_ns;

	x->reader_said = 0;
	if (x->answer_coding == EG_CODING_IDENTITY) {
		if (x->watch)
			eg_usage_watch_feed(x->watch, data);
		return;
	}
	if (!x->reader)
		return;
	before_ns = eg_cpu_ns();
	decode(x, data);
	x->reader_bytes += data.n;
	x->reader_cpu_ns += eg_cpu_ns() - before_ns;
	if (x->reader && x->reader_cpu_ns > CPU_BASE_NS + CPU_BYTE_NS * x->reader_bytes)
		give_up(x, "limit");
}

void exchange_read_answer_end(struct eg_exchange *x)
{
	/* What its watch saw holds: a stream that was cut lacks its end mark, whatever its coding.
	 */
	if (x->reader && !eg_decoder_end(x->reader))
		x->unread = why(eg_decoder_fault(x->reader));
}
