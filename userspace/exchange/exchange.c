/* SPDX-License-Identifier: Apache-2.0 */
/* An exchange's life and states; what the front calls. */
#include "exchange/exchange.h"

#include <stdlib.h>

#include "base/secret.h"
#include "exchange/exchange_impl.h"
#include "telemetry/tracer.h"

static const uint32_t request_successors[] = {
	[REQUEST_HEAD] = EG_TO(REQUEST_HOLD) | EG_TO(REQUEST_STREAM) | EG_TO(REQUEST_COMPLETE) |
			 EG_TO(REQUEST_IGNORED),
	[REQUEST_HOLD] = EG_TO(REQUEST_STREAM) | EG_TO(REQUEST_COMPLETE) | EG_TO(REQUEST_IGNORED),
	[REQUEST_STREAM] = EG_TO(REQUEST_COMPLETE) | EG_TO(REQUEST_IGNORED),
	[REQUEST_COMPLETE] = 0,
	[REQUEST_IGNORED] = 0,
};

static const uint32_t answer_successors[] = {
	[ANSWER_NONE] = EG_TO(ANSWER_CONNECT) | EG_TO(ANSWER_PASS) | EG_TO(ANSWER_CUT),
	[ANSWER_CONNECT] =
		EG_TO(ANSWER_CONNECT) | EG_TO(ANSWER_WAIT) | EG_TO(ANSWER_PASS) | EG_TO(ANSWER_CUT),
	[ANSWER_WAIT] = EG_TO(ANSWER_CONNECT) | EG_TO(ANSWER_COLLECT) | EG_TO(ANSWER_PREAMBLE) |
			EG_TO(ANSWER_PASS) | EG_TO(ANSWER_CUT),
	[ANSWER_COLLECT] = EG_TO(ANSWER_CONNECT) | EG_TO(ANSWER_PASS) | EG_TO(ANSWER_CUT),
	[ANSWER_PREAMBLE] = EG_TO(ANSWER_CONNECT) | EG_TO(ANSWER_PASS) | EG_TO(ANSWER_CUT),
	[ANSWER_PASS] = EG_TO(ANSWER_DONE) | EG_TO(ANSWER_CUT),
	[ANSWER_DONE] = 0,
	[ANSWER_CUT] = 0,
};

void exchange_set_request(struct eg_exchange *x, enum request_state to)
{
	eg_state_check("exchange request", request_successors, x->request, to);
	x->request = to;
}

void exchange_set_answer(struct eg_exchange *x, enum answer_state to)
{
	eg_state_check("exchange answer", answer_successors, x->answer, to);
	x->answer = to;
}

/* ---- memory ---- */

/*
 * An exchange and the first block of its arena are too large for the lists from which malloc() is
 * quick, and nearly all requests need no more: an engine keeps as many as it may soon need. Under
 * ASan it keeps none, so that a use of what is gone is seen.
 */
#define SPARE_MAX 64u

static bool may_keep(const struct eg_engine *e)
{
#if defined(__SANITIZE_ADDRESS__)
	(void)e;
	return false;
#else
	return e->spare_count < SPARE_MAX;
#endif
}

static struct eg_exchange *take(struct eg_engine *e)
{
	struct eg_exchange *x = e->spare;

	if (x) {
		e->spare = x->spare;
		e->spare_count--;
	} else {
		x = malloc(sizeof(*x));
		if (!x)
			return NULL;
		eg_arena_init(&x->arena, ARENA_BUDGET);
	}
	memset(x, 0, offsetof(struct eg_exchange, attempts));
	return x;
}

static void give_back(struct eg_engine *e, struct eg_exchange *x)
{
	if (x->head_bytes.p)
		eg_wipe((void *)(uintptr_t)x->head_bytes.p, x->head_bytes.n);
	if (!may_keep(e)) {
		eg_arena_fini(&x->arena);
		free(x);
		return;
	}
	eg_arena_reset(&x->arena);
	x->spare = e->spare;
	e->spare = x;
	e->spare_count++;
}

void eg_exchange_spare_free(struct eg_engine *e)
{
	while (e->spare) {
		struct eg_exchange *x = e->spare;

		e->spare = x->spare;
		eg_arena_fini(&x->arena);
		free(x);
	}
	e->spare_count = 0;
}

static void bury(struct eg_defer *d)
{
	struct eg_exchange *x = eg_container_of(d, struct eg_exchange, bury);

	eg_usage_watch_destroy(x->watch);
	eg_buf_fini(&x->collected);
	eg_buf_fini(&x->unsure);
	eg_snapshot_unref(x->snapshot);
	give_back(x->engine, x);
}

/* The silence of a provider. */
static void on_timer(struct eg_timer *t)
{
	struct eg_exchange *x = eg_container_of(t, struct eg_exchange, timer);
	bool begun = x->answer == ANSWER_PASS || x->answer == ANSWER_PREAMBLE;
	uint64_t left = exchange_attempt_patience(x);

	if (x->answer == ANSWER_COLLECT) {
		exchange_judge_error(x);
		return;
	}
	if (left) {
		exchange_attempt_timer(x, left);
		return;
	}
	exchange_attempt_failed(
		x, EG_REASON_UPSTREAM_TIMEOUT,
		begun ? "the provider fell silent inside its answer, or took longer "
			"than total_ms"
		      : "the provider did not answer in time");
}

static void unpause(struct eg_defer *d)
{
	eg_exchange_resume(eg_container_of(d, struct eg_exchange, unpause));
}

struct eg_exchange *eg_exchange_create(struct eg_engine *e, const struct eg_peer *peer,
				       const struct eg_h1_head *head, struct eg_str bytes,
				       const struct eg_sink_ops *sink, void *sink_ctx)
{
	struct eg_exchange *x = take(e);

	if (!x)
		return NULL;
	x->engine = e;
	x->peer = peer;
	x->sink = sink;
	x->sink_ctx = sink_ctx;
	x->reused = peer->reused;
	x->bury.run = bury;
	x->unpause.run = unpause;
	x->go_on.run = exchange_body_go_on;
	x->reason = x->shadow_reason = EG_REASON_OK;
	x->began_ms = eg_loop_now_ms(e->loop);
	x->wall_ms = eg_wall_ms();
	eg_timer_init(&x->timer, on_timer);
	eg_buf_init(&x->held, 0);
	eg_engine_request_id(e, x->id);
	if (peer->server_name)
		x->dialect = eg_dialect_from_host(eg_str_from(peer->server_name));
	if (!head && x->dialect == EG_DIALECT_NONE)
		x->dialect = exchange_spoken_unread(bytes);
	if (head && exchange_copy_head(x, head, bytes)) {
		give_back(e, x);
		return NULL;
	}
	exchange_count(x);
	if (e->telemetry)
		eg_telemetry_gauge(e->telemetry, EG_GAUGE_REQUESTS_ACTIVE, 1);
	return x;
}

void eg_exchange_began(struct eg_exchange *x, uint64_t ms)
{
	x->wall_ms -= x->began_ms - ms;
	x->began_ms = ms;
}

void eg_exchange_start(struct eg_exchange *x)
{
	const char *detail = NULL;
	enum eg_reason r = exchange_intake(x, &detail);

	if (r == EG_REASON_OK)
		r = exchange_shed(x, &detail);
	if (r == EG_REASON_OK) {
		exchange_body_begin(x);
		return;
	}
	exchange_deny(x, r, detail, r == EG_REASON_POLICY_CHANGED || r == EG_REASON_BAD_REQUEST);
}

void eg_exchange_refuse(struct eg_exchange *x, enum eg_reason reason, const char *detail,
			bool close)
{
	const char *ignored = NULL;

	if (exchange_over(x))
		return;
	if (!x->snapshot)
		(void)exchange_identify(x, &ignored); /* so that the record names the pod */
	exchange_deny(x, reason, detail, close);
}

void eg_exchange_reject(struct eg_exchange *x, enum eg_reason reason, const char *detail)
{
	const char *ignored = NULL;

	if (exchange_over(x))
		return;
	if (!x->snapshot)
		(void)exchange_identify(x, &ignored);
	x->detail = detail;
	eg_exchange_abandon(x, reason);
}

void exchange_finish(struct eg_exchange *x)
{
	bool saw_end, saw_error;

	if (x->request != REQUEST_COMPLETE && x->request != REQUEST_IGNORED)
		exchange_set_request(x, REQUEST_IGNORED);
	exchange_attempt_stop(x);
	(void)eg_account_descriptors(x->engine, x->peer->account, &x->descriptors, 0);
	if (x->recorded)
		return;
	/* Whoever ended it, also inside the answer: a target that was tried is on record. */
	exchange_attempt_note(x, x->reason, x->upstream_status);
	if (x->watch) /* what a cut answer said of itself counts as that of a whole one */
		eg_usage_watch_end(x->watch, &x->usage, &saw_end, &saw_error);
	exchange_record(x); /* the model's name may lie in the body */
	eg_traced_end(x->traced);
	x->traced = NULL;
	exchange_reading_free(x);
	exchange_body_free(x);
	exchange_uncount(x);
	if (x->engine->telemetry)
		eg_telemetry_gauge(x->engine->telemetry, EG_GAUGE_REQUESTS_ACTIVE, -1);
}

bool eg_exchange_patient(const struct eg_exchange *x)
{
	return x->pass_on && exchange_streams_both_ways(x);
}

void eg_exchange_resume(struct eg_exchange *x)
{
	if (exchange_over(x) || !x->answer_paused)
		return;
	x->answer_paused = false;
	x->last_data_ms = eg_loop_now_ms(x->engine->loop);
	eg_call_resume(&x->call.base);
}

void eg_exchange_abandon(struct eg_exchange *x, enum eg_reason reason)
{
	if (exchange_over(x))
		return;
	x->reason = reason;
	if (!x->status)
		x->status = eg_reason_status(reason);
	exchange_set_answer(x, ANSWER_CUT);
	exchange_finish(x);
}

void eg_exchange_destroy(struct eg_exchange *x)
{
	if (!x || x->destroyed)
		return;
	eg_exchange_abandon(x, EG_REASON_CLIENT_CLOSED);
	x->destroyed = true;
	eg_loop_defer(x->engine->loop, &x->bury);
}
