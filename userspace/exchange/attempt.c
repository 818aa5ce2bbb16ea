/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Targets and failover. Order: as policy gave them, those in cooldown left out; when none else is
 * left, those in cooldown, the one whose cooldown ends first: a cooldown never makes a request fail
 * by itself. What a provider said itself (Retry-After) is only overridden for a request that
 * nobody else was asked for. docs/internals/exchange.md has the table of what leads to the next
 * target.
 */
#include <stdio.h>

#include "exchange/exchange_impl.h"

static int choose(const struct eg_exchange *x)
{
	uint64_t best_until = UINT64_MAX;
	int best = -1;

	for (size_t i = 0; i < x->decision.target_count; i++) {
		bool stated;
		uint64_t until = eg_cooldown_until(x->engine, x->snapshot,
						   x->decision.targets[i].provider, &stated);

		if (x->tried & 1u << i)
			continue;
		if (!until)
			return (int)i;
		exchange_step(x, "cooldown", EG_REASON_OK,
			      "%s has failed lately: %sothers first, for %lld ms more",
			      x->decision.targets[i].provider->name,
			      stated ? "it said when to come back; " : "",
			      (long long)(until - EG_MIN(until, eg_loop_now_ms(x->engine->loop))));
		if (until < best_until && !(stated && x->tried)) {
			best_until = until;
			best = (int)i;
		}
	}
	if (best >= 0)
		exchange_step(x, "cooldown", EG_REASON_OK, "%s all the same: no other is left",
			      x->decision.targets[best].provider->name);
	return best;
}

static void set_model(struct eg_exchange *x, const char *model)
{
	struct eg_buf quoted;
	char *copy = NULL;

	x->model_now = (struct eg_str){0};
	if (!model || !x->body.model_raw.p)
		return;
	if (x->body.form_boundary.p) { /* in a form it stands as it is; policy's own text */
		x->model_now = eg_str_from(model);
		return;
	}
	eg_buf_init(&quoted, 8192);
	if (!eg_json_quote(&quoted, eg_str_from(model), 1024))
		copy = eg_arena_dup(&x->arena, eg_buf_str(&quoted));
	if (copy)
		x->model_now = (struct eg_str){copy, quoted.length};
	eg_buf_fini(&quoted);
	if (!copy)
		x->fail_reason = EG_REASON_OVERLOADED;
}

/* One that is due before that looks at what is left, and goes on (on_timer() in exchange.c); but
 * what an error's body has is its own. */
void exchange_attempt_timer(struct eg_exchange *x, uint64_t ms)
{
	if (eg_timer_armed(&x->timer) && x->answer != ANSWER_COLLECT &&
	    x->timer.due_ms - eg_loop_now_ms(x->engine->loop) <= ms)
		return;
	/* Without memory for a timer the attempt is still bounded by the client's patience. */
	if (eg_timer_set(x->engine->loop, &x->timer, ms))
		eg_warn("out of memory for a timer of request %s", x->id);
}

/* NULL: none of policy hold. A route that is only watched does not end what is passed on. */
static const struct eg_timeouts *timeouts(const struct eg_exchange *x)
{
	return x->decision.route && !x->pass_on ? &x->decision.route->timeouts : NULL;
}

/* Before the answer: first_byte_ms since the last of the request left, total_ms in all. */
static uint64_t answer_due_ms(const struct eg_exchange *x)
{
	const struct eg_timeouts *t = timeouts(x);
	uint64_t due;

	if (!t)
		return x->last_sent_ms + x->engine->limits.passed_idle_ms;
	due = x->attempt_began_ms + t->total_ms;
	return x->body.stream || x->websocket ? EG_MIN(due, x->last_sent_ms + t->first_byte_ms)
					      : due;
}

uint64_t exchange_attempt_patience(const struct eg_exchange *x)
{
	const struct eg_timeouts *t = timeouts(x);
	uint64_t now = eg_loop_now_ms(x->engine->loop);
	uint64_t idle = t ? t->idle_ms : x->engine->limits.passed_idle_ms;
	/* Paused: it is the client who is slow, and the front has a limit for that. */
	uint64_t due = (x->answer_paused ? now : x->last_data_ms) + idle;

	if (x->answer == ANSWER_WAIT)
		due = answer_due_ms(x);
	if (x->tunnel && x->request == REQUEST_COMPLETE)
		due = EG_MIN(due, x->last_data_ms + x->engine->limits.tunnel_end_ms);
	if (t && !x->tunnel) /* a session lasts as long as it is used */
		due = EG_MIN(due, x->attempt_began_ms + t->total_ms);
	return due > now ? due - now : 0;
}

const char *exchange_attempt_region(const struct eg_exchange *x)
{
	return x->provider ? x->decision.targets[x->target_at].region.code : "";
}

/* RFC 9110 section 9.2.2: a proxy sends no other a second time, unless it knows better. */
static bool idempotent(struct eg_str method)
{
	static const char *const all[] = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"};

	for (size_t i = 0; i < EG_ARRAY_SIZE(all); i++)
		if (eg_str_eq(method, eg_str_from(all[i])))
			return true;
	return false;
}

static bool safe(struct eg_str method)
{
	return eg_str_eq(method, EG_STR("GET")) || eg_str_eq(method, EG_STR("HEAD"));
}

bool exchange_attempt_may_replay(const struct eg_exchange *x)
{
	if (x->pass_on) /* no policy's rule about it holds */
		return idempotent(x->method);
	/* Done twice there would be two of it, or none for the second; no route wants that. */
	if (x->decision.stateful && !safe(x->method))
		return false;
	return !x->decision.route || !x->decision.route->replay_once;
}

/* ---- one attempt ---- */

static void on_connection(struct eg_exchange *x, struct eg_upstream_conn *conn)
{
	const char *why = NULL;
	int r;

	eg_call_init(&x->call, conn, &exchange_call_ops, x, &x->engine->scratch);
	r = exchange_write_head(x, &x->call.base.head, &why);
	if (r) {
		eg_upstream_release(conn, true); /* not begun: the call does not have it */
		eg_call_end(&x->call.base);	 /* wipes the head */
		exchange_attempt_failed(
			x, r == -ENOKEY ? EG_REASON_NO_CREDENTIAL : EG_REASON_OVERLOADED,
			why ? why : "the request's head could not be written");
		return;
	}
	x->upstream_reused = conn->reused;
	x->upstream_protocol = x->call.base.kind->protocol;
	x->connect_ms = conn->connect_ms;
	x->request_sent = false;
	x->call.base.upgrade = x->websocket;
	x->call.base.trailers = exchange_trailers_wanted(x);
	exchange_step_connected(x, conn);
	x->last_sent_ms = eg_loop_now_ms(x->engine->loop);
	exchange_set_answer(x, ANSWER_WAIT);
	exchange_attempt_timer(x, exchange_attempt_patience(x));
	eg_call_begin(&x->call.base, conn, exchange_body_chunked(x),
		      eg_str_eq(x->method, EG_STR("HEAD")));
}

static void on_wait_done(struct eg_upstream_wait *w, struct eg_upstream_conn *conn,
			 enum eg_reason reason, const char *text)
{
	struct eg_exchange *x = eg_container_of(w, struct eg_exchange, wait);

	if (conn)
		on_connection(x, conn);
	else
		exchange_attempt_failed(x, reason, text);
}

static void describe_origin(struct eg_exchange *x, struct eg_origin_spec *spec)
{
	const struct eg_provider *p = x->provider;

	if (!p) {
		*spec = (struct eg_origin_spec){
			/* In shadow mode Host may say something else. */
			.host = x->peer->server_name ? x->peer->server_name : x->host,
			.port = x->peer->destination.port,
			.tls = x->peer->server_name != NULL,
			.binding = x->pod->identity.uid,
			/* What the pod chose, where it has that choice. */
			.http2 = x->peer->http2,
			.prior_knowledge = x->peer->http2 && !x->peer->server_name,
			.fixed = &x->peer->destination,
		};
		return;
	}
	*spec = (struct eg_origin_spec){
		.host = p->host,
		.port = p->port,
		.tls = p->tls,
		.trust = eg_snapshot_trust(x->snapshot, p),
		.binding = p->credential ? p->credential->name : "",
		.allow_private = p->allow_private,
		.http2 = p->http2 && !x->websocket, /* opened by Upgrade, which is HTTP/1.1's */
	};
}

static void connect_target(struct eg_exchange *x)
{
	const struct eg_timeouts *t = timeouts(x);
	uint64_t max_idle = exchange_attempt_may_replay(x) ? EG_UPSTREAM_IDLE_MS : FRESH_IDLE_MS;
	const struct eg_credential_spec *c = x->provider ? x->provider->credential : NULL;
	struct eg_origin_spec spec;
	struct eg_upstream_conn *conn;
	const char *why = NULL;

	if (c && c->type != EG_CREDENTIAL_NONE &&
	    !eg_credential_set_get(eg_snapshot_credentials(x->snapshot), c->index, &why)) {
		exchange_attempt_failed(x, EG_REASON_NO_CREDENTIAL, why);
		return;
	}
	describe_origin(x, &spec);
	x->wait.done = on_wait_done;
	x->wait.of = x->peer->account;
	conn = eg_upstream_acquire(x->engine->upstream, &spec, x->fresh ? 0 : max_idle,
				   t ? t->connect_ms : x->engine->limits.passed_connect_ms,
				   &x->wait);
	if (conn)
		on_connection(x, conn);
	else if (!x->wait.dial)
		exchange_attempt_failed(x, EG_REASON_INTERNAL, "no connection could be begun");
}

/* The target in use; not with a body that could not be made what it should get. */
static void go(struct eg_exchange *x)
{
	if (x->fail_reason == EG_REASON_OVERLOADED)
		exchange_deny(x, EG_REASON_OVERLOADED, NULL, false);
	else
		connect_target(x);
}

static void take_step(struct eg_defer *d)
{
	struct eg_exchange *x = eg_container_of(d, struct eg_exchange, step);

	if (x->answer == ANSWER_CONNECT && !x->wait.dial)
		go(x);
}

static void begin(struct eg_exchange *x, int target)
{
	exchange_set_answer(x, ANSWER_CONNECT);
	x->attempt_began_ms = eg_loop_now_ms(x->engine->loop);
	x->sent = 0;
	x->fresh = false;
	x->refusals = x->over_limits = 0;
	x->noted = false;
	x->fail_text[0] = '\0'; /* of the target before */
	x->trailer_count = 0;
	x->upstream_status = 0;
	x->sse = x->json = false;
	x->error_complete = false;
	x->region_evidence = (struct eg_str){NULL, 0};
	eg_buf_fini(&x->collected);
	exchange_reading_reset(x);
	eg_usage_watch_destroy(x->watch);
	x->watch = NULL;
	x->step.run = take_step;
	if (target < 0) {
		x->provider = NULL;
		return;
	}
	x->target_at = (size_t)target;
	x->tried |= 1u << target;
	x->provider = x->decision.targets[target].provider;
	set_model(x, x->decision.targets[target].model);
}

void exchange_attempt_first(struct eg_exchange *x)
{
	int target = x->pass_on ? -1 : choose(x);
	/* Charged by request: one connection of a pod may carry many of them. */
	enum eg_reason full =
		eg_account_descriptors(x->engine, x->peer->account, &x->descriptors, 1);

	if (full != EG_REASON_OK) {
		exchange_deny(x, full, NULL, false);
		return;
	}
	if (target < 0 && !x->pass_on) {
		/* Policy never decides OK without a target. */
		exchange_deny(x, EG_REASON_INTERNAL, "the decision has no target", false);
		return;
	}
	begin(x, target);
	go(x);
}

bool exchange_attempt_next(struct eg_exchange *x)
{
	int target;

	if (x->pass_on || !exchange_body_replayable(x) || x->attempt_count >= EG_ATTEMPTS)
		return false;
	target = choose(x);
	if (target < 0)
		return false;
	eg_call_end(&x->call.base);
	eg_timer_cancel(x->engine->loop, &x->timer);
	x->replayed |= x->answer != ANSWER_CONNECT;
	exchange_step(x, "failover", EG_REASON_OK, "the next target is %s",
		      x->decision.targets[target].provider->name);
	begin(x, target);
	eg_loop_defer(x->engine->loop, &x->step);
	return true;
}

void exchange_attempt_stop(struct eg_exchange *x)
{
	eg_upstream_cancel(&x->wait);
	eg_call_end(&x->call.base);
	eg_timer_cancel(x->engine->loop, &x->timer);
}

/* ---- how it ends ---- */

void exchange_attempt_note(struct eg_exchange *x, enum eg_reason reason, unsigned int status)
{
	if (x->noted || x->attempt_count == EG_ATTEMPTS || !x->provider)
		return;
	exchange_step(x, "attempt", reason, "%s%s%s: status %u, after %llu ms%s%s",
		      x->provider->name, *exchange_attempt_region(x) ? ", region " : "",
		      exchange_attempt_region(x), status,
		      (unsigned long long)(eg_loop_now_ms(x->engine->loop) - x->attempt_began_ms),
		      reason != EG_REASON_OK && x->fail_text[0] ? ": " : "",
		      reason != EG_REASON_OK ? x->fail_text : "");
	x->noted = true;
	x->attempts[x->attempt_count++] = (struct eg_attempt){
		.provider = x->provider->name,
		.region = exchange_attempt_region(x),
		.reason = reason,
		.status = status,
		.duration_ms = (uint32_t)(eg_loop_now_ms(x->engine->loop) - x->attempt_began_ms),
	};
}

/* The same target again; `fresh`: over a new connection. */
static void again(struct eg_exchange *x, bool fresh)
{
	x->replayed = true;
	exchange_step(x, "again", EG_REASON_OK,
		      "the connection was lost, and nothing was done with the request: the same "
		      "target again%s",
		      fresh ? ", over a new connection" : "");
	eg_call_end(&x->call.base);
	eg_timer_cancel(x->engine->loop, &x->timer);
	exchange_set_answer(x, ANSWER_CONNECT);
	x->sent = 0;
	x->fresh = fresh;
	eg_loop_defer(x->engine->loop, &x->step);
}

/* HTTP/2 says so: nothing was done with it (RFC 9113 section 8.7). No rule about replay speaks of
 * that, and it says nothing about how the provider does. */
static bool retry_unprocessed(struct eg_exchange *x)
{
	bool over = x->call.base.over_limit;

	if (x->answer != ANSWER_WAIT || x->call.base.loss != EG_CALL_LOSS_UNPROCESSED ||
	    !exchange_body_replayable(x) ||
	    (over ? x->over_limits >= OVER_LIMIT_MAX : x->refusals >= REFUSALS_MAX))
		return false;
	/* It came too early: a stream that gets free does as well as a new connection. */
	if (over)
		x->over_limits++;
	else
		x->refusals++;
	again(x, !over);
	return true;
}

/* A connection that was idle in the pool and died before a byte came back: most likely the provider
 * had closed it. Once, to the same target, over a new connection. */
static bool retry_stale(struct eg_exchange *x, enum eg_reason reason)
{
	if (x->answer != ANSWER_WAIT || reason != EG_REASON_UPSTREAM_RESET || x->fresh ||
	    x->call.base.loss != EG_CALL_LOSS_CONNECTION || !x->upstream_reused ||
	    x->call.base.first_byte_seen || !exchange_body_replayable(x) ||
	    !exchange_attempt_may_replay(x))
		return false;
	x->billed_twice |= x->request_sent;
	again(x, true);
	return true;
}

/* Out of time, and it was the client that was waited for, or nobody, or what came could not be read
 * yet: nothing that the next request to this provider would find too. */
static bool provider_not_at_fault(const struct eg_exchange *x, enum eg_reason reason)
{
	if (reason == EG_REASON_NO_CREDENTIAL || reason == EG_REASON_OVERLOADED)
		return true;
	return reason == EG_REASON_UPSTREAM_TIMEOUT &&
	       (x->tunnel || x->answer_paused ||
		(x->request == REQUEST_STREAM && !x->held.length) ||
		eg_loop_lateness(x->engine->loop)->overloaded);
}

void exchange_attempt_failed(void *ctx, enum eg_reason reason, const char *text)
{
	struct eg_exchange *x = ctx;
	bool ambiguous = (x->answer == ANSWER_WAIT || x->answer == ANSWER_PREAMBLE) &&
			 x->call.base.loss != EG_CALL_LOSS_UNPROCESSED;

	if (retry_unprocessed(x) || retry_stale(x, reason))
		return;
	if (x->answer == ANSWER_COLLECT) {
		exchange_judge_error(x);
		return;
	}
	snprintf(x->fail_text, sizeof(x->fail_text), "%s", text ? text : "");
	exchange_attempt_note(x, reason, x->upstream_status);
	if (x->provider && !provider_not_at_fault(x, reason))
		eg_cooldown_set(x->engine, x->snapshot, x->provider, EG_RESPONSE_FAILOVER, 0);
	if (x->answer == ANSWER_PASS) {
		exchange_cut_answer(x, reason);
		return;
	}
	/* Another target would wait for the same worker. */
	if (reason != EG_REASON_OVERLOADED && (!ambiguous || exchange_attempt_may_replay(x)) &&
	    exchange_attempt_next(x)) {
		x->billed_twice |= ambiguous && x->request_sent;
		return;
	}
	exchange_deny(x, reason, NULL, false);
}

void exchange_attempt_request_sent(void *ctx)
{
	struct eg_exchange *x = ctx;

	x->request_sent = true;
	x->last_sent_ms = eg_loop_now_ms(x->engine->loop);
	if (x->answer == ANSWER_WAIT)
		exchange_attempt_timer(x, exchange_attempt_patience(x));
}
