/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way to a new connection: resolve, connect to one address after the other, TLS. The whole way
 * has one time limit; each address gets an even share of what is left of it, so that one that
 * answers nothing (IPv6 that leads nowhere) does not use it up. A refused certificate ends it at
 * once: another address of the same name would not make it better, and hiding it would.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/state.h"
#include "upstream/dial.h"
#include "upstream/h2_conn.h"

#define ACCIDENTS_MAX 2u /* dials that were joined and failed; then on its own */

static const uint32_t successors[] = {
	[DIAL_JOINED] = EG_TO(DIAL_QUEUED) | EG_TO(DIAL_RESOLVE) | EG_TO(DIAL_DONE),
	[DIAL_QUEUED] = EG_TO(DIAL_JOINED) | EG_TO(DIAL_DONE),
	[DIAL_RESOLVE] = EG_TO(DIAL_CONNECT) | EG_TO(DIAL_DONE),
	[DIAL_CONNECT] = EG_TO(DIAL_CONNECT) | EG_TO(DIAL_HANDSHAKE) | EG_TO(DIAL_SETTINGS) |
			 EG_TO(DIAL_DONE),
	[DIAL_HANDSHAKE] = EG_TO(DIAL_CONNECT) | EG_TO(DIAL_SETTINGS) | EG_TO(DIAL_DONE),
	[DIAL_SETTINGS] = EG_TO(DIAL_DONE),
	[DIAL_DONE] = 0,
};

void dial_set_state(struct upstream_dial *d, enum dial_state to)
{
	eg_state_check("dial", successors, d->state, to);
	d->state = to;
}

static void bury(struct eg_defer *defer)
{
	free(eg_container_of(defer, struct upstream_dial, bury));
}

/* Lets go of everything but the memory, which goes at the end of the tick. */
void dial_end(struct upstream_dial *d)
{
	dial_set_state(d, DIAL_DONE);
	dial_part(d);
	if (d->origin && d->origin->dial == d)
		d->origin->dial = NULL;
	eg_timer_cancel(d->u->o.loop, &d->timer);
	if (d->resolving)
		eg_resolver_cancel(d->u->o.resolver, &d->resolve);
	d->resolving = false;
	if (d->stream)
		eg_stream_destroy(d->stream);
	d->stream = NULL;
	if (d->conn)
		d->conn->dial = NULL;
	d->conn = NULL;
	if (d->origin) {
		upstream_turn_end(&d->origin->turns, &d->turn);
		upstream_origin_release(d->u, d->origin);
	}
	d->origin = NULL;
	if (d->wait)
		d->wait->dial = NULL;
	/* `step` may be queued before it: the queue is in order, and step looks at the state. */
	eg_loop_defer(d->u->o.loop, &d->bury);
}

static bool may_be_http2(const struct eg_upstream_origin *g)
{
	return !g->http1_until_ms && (g->tls ? g->http2 : g->prior_knowledge);
}

static struct eg_upstream_conn *make_connection(struct upstream_dial *d)
{
	struct eg_upstream_conn *c = upstream_conn_create(d->u, d->origin, d->stream);
	bool http2 = eg_stream_http2(d->stream) || (!d->origin->tls && may_be_http2(d->origin));

	if (!c)
		return NULL;
	d->origin->users++; /* the connection's; ours goes with dial_end() */
	d->stream = NULL;
	d->origin->speaks_http1 = !http2;
	if (http2 && upstream_conn_share(c)) {
		eg_upstream_release(c, false);
		return NULL;
	}
	return c;
}

/* The timer was armed before, so that re-arming needs no memory. */
void dial_limit(struct upstream_dial *d, size_t shares)
{
	uint64_t now = eg_loop_now_ms(d->u->o.loop);
	uint64_t left = d->deadline_ms > now ? d->deadline_ms - now : 0;

	if (eg_timer_set(d->u->o.loop, &d->timer, left / shares))
		eg_warn("a dial to %s has no time limit: out of memory", d->origin->host);
}

static void succeed(struct upstream_dial *d)
{
	struct eg_upstream_conn *c = make_connection(d);
	struct eg_upstream *u = d->u;

	if (!c) {
		dial_fail(d, EG_REASON_INTERNAL, "out of memory");
		return;
	}
	c->connect_ms = (uint32_t)(eg_loop_now_ms(u->o.loop) - d->began_ms);
	upstream_count(u, EG_COUNT_UPSTREAM_CONNECTS);
	if (c->tls_resumed)
		upstream_count(u, EG_COUNT_UPSTREAM_HANDSHAKES_RESUMED);
	if (c->h2)
		upstream_lease(c);
	if (c->h2 && h2_conn_untold(c->h2))
		dial_await_settings(d, c);
	else
		dial_finish(d, c);
}

static void next_address(struct upstream_dial *d);

static void on_connected(struct upstream_dial *d)
{
	struct upstream_tls *tls = d->origin->tls;

	if (d->state == DIAL_CONNECT && tls) {
		dial_set_state(d, DIAL_HANDSHAKE);
		dial_limit(d, 1);
		if (may_be_http2(d->origin))
			eg_stream_offer_http2(d->stream);
		if (eg_stream_tls_connect(d->stream, tls->client, d->origin->host, d->origin->port))
			dial_fail(d, EG_REASON_UPSTREAM_TLS, "TLS could not be begun");
		return;
	}
	succeed(d);
}

static void on_failed(struct upstream_dial *d)
{
	const struct eg_stream_failure *f = eg_stream_failure(d->stream);
	bool handshake = d->state == DIAL_HANDSHAKE;

	d->reason = handshake ? EG_REASON_UPSTREAM_TLS : EG_REASON_UPSTREAM_CONNECT;
	snprintf(d->text, sizeof(d->text), "%s", f->text[0] ? f->text : "the connection failed");
	d->certificate = handshake && f->certificate;
	if (d->certificate) {
		dial_fail(d, d->reason, d->text);
		return;
	}
	eg_stream_destroy(d->stream);
	d->stream = NULL;
	next_address(d);
}

static void on_event(struct eg_stream *s, unsigned int events, void *ctx)
{
	struct upstream_dial *d = ctx;

	(void)s;
	if (events & EG_STREAM_FAILED)
		on_failed(d);
	else if (events & EG_STREAM_CONNECTED)
		on_connected(d);
}

static const struct eg_stream_handler handler = {on_event};

static bool may_dial(struct upstream_dial *d, const struct eg_address *a)
{
	if (d->origin->has_fixed)
		return eg_may_dial_original(&d->u->o.rules, a);
	return eg_may_dial_provider(&d->u->o.rules, a, d->origin->allow_private);
}

static void next_address(struct upstream_dial *d)
{
	char address[EG_ADDRESS_TEXT];

	while (d->at < d->addresses.count) {
		struct eg_endpoint to = {d->addresses.item[d->at++], d->origin->port};

		if (!may_dial(d, &to.address)) {
			d->reason = EG_REASON_FORBIDDEN_DESTINATION;
			snprintf(d->text, sizeof(d->text),
				 "%s has the address %s, which is never dialled", d->origin->host,
				 eg_address_text(&to.address, address));
			continue;
		}
		if (d->origin->has_fixed)
			to.port = d->origin->fixed.port;
		d->stream = eg_stream_connect(d->u->o.loop, &to, &handler, d);
		if (d->stream) {
			dial_set_state(d, DIAL_CONNECT);
			dial_limit(d, d->addresses.count - d->at + 1);
			return;
		}
		d->reason = EG_REASON_UPSTREAM_CONNECT;
		snprintf(d->text, sizeof(d->text), "%s: %s", eg_address_text(&to.address, address),
			 strerror(errno));
	}
	dial_fail(d, d->reason, d->text);
}

/* A connection that became idle while it waited for its turn, or before it made a socket. False: it
 * is gone already. */
static bool take_pooled(struct upstream_dial *d)
{
	struct eg_upstream_conn *c = upstream_take_pooled(d->u, d->origin, d->max_idle_ms);
	struct eg_upstream_wait *w = d->wait;

	if (!c)
		return false;
	dial_end(d);
	w->done(w, c, EG_REASON_OK, "");
	return true;
}

static struct upstream_dial *of_turn(struct eg_list *link)
{
	return eg_container_of(eg_container_of(link, struct upstream_turn, fair.link),
			       struct upstream_dial, turn);
}

void upstream_tell_waiting(struct eg_upstream *u, struct eg_upstream_origin *g)
{
	struct eg_list *it;

	eg_list_for_each (it, &g->turns.waiting) {
		struct upstream_dial *d = of_turn(it);

		if (!d->max_idle_ms || d->step.queued)
			continue;
		eg_loop_defer(u->o.loop, &d->step);
		if (eg_list_empty(&g->shared))
			return; /* one connection, one request */
	}
}

bool upstream_waited_for(const struct eg_upstream_origin *g)
{
	struct eg_list *it;

	for (it = g->turns.waiting.next; it != &g->turns.waiting; it = it->next)
		if (of_turn(it)->max_idle_ms)
			return true;
	return false;
}

static void take_step(struct eg_defer *defer)
{
	struct upstream_dial *d = eg_container_of(defer, struct upstream_dial, step);

	/* It may have been queued while the turn had not come. Those that joined it want one that
	 * is shared. */
	if (d->state == DIAL_RESOLVE && !d->resolving) {
		if (!eg_list_empty(&d->joined) || !d->wait || !take_pooled(d))
			next_address(d);
	} else if (d->state == DIAL_QUEUED) {
		(void)take_pooled(d); /* else the turn will come */
	} else if (d->state == DIAL_SETTINGS) {
		dial_settle(d);
	}
}

static void on_resolved(struct eg_resolve *r, const struct eg_addresses *a, const char *why)
{
	struct upstream_dial *d = eg_container_of(r, struct upstream_dial, resolve);

	d->resolving = false;
	if (a)
		d->addresses = *a;
	if (!a || !a->count) {
		d->reason = EG_REASON_UPSTREAM_DNS;
		snprintf(d->text, sizeof(d->text), "%s: %s", d->origin->host,
			 why ? why : "it has no address");
	}
	/* May have been called from inside acquire. */
	eg_loop_defer(d->u->o.loop, &d->step);
}

static void on_timeout(struct eg_timer *t)
{
	struct upstream_dial *d = eg_container_of(t, struct upstream_dial, timer);
	enum eg_reason reason = EG_REASON_UPSTREAM_CONNECT;

	if (d->state == DIAL_SETTINGS) {
		/* Whoever says nothing allows what others do. */
		if (d->conn)
			h2_conn_settle(d->conn->h2);
		return;
	}
	/* What the provider sent may lie in the socket: its time was this worker's. */
	if (eg_loop_lateness(d->u->o.loop)->overloaded) {
		dial_fail(d, EG_REASON_OVERLOADED, "timed out, and this worker is late");
		return;
	}
	if (d->state == DIAL_CONNECT && d->at < d->addresses.count) {
		d->reason = reason;
		snprintf(d->text, sizeof(d->text), "timed out");
		eg_stream_destroy(d->stream);
		d->stream = NULL;
		next_address(d);
		return;
	}
	if (d->state == DIAL_QUEUED) {
		dial_fail(d, reason, "timed out while others were connecting");
		return;
	}
	if (d->state == DIAL_RESOLVE)
		reason = EG_REASON_UPSTREAM_DNS;
	else if (d->state == DIAL_HANDSHAKE)
		reason = EG_REASON_UPSTREAM_TLS;
	dial_fail(d, reason, "timed out");
}

static void find_addresses(struct upstream_dial *d)
{
	struct eg_address literal;

	if (d->origin->has_fixed) {
		d->addresses.item[0] = d->origin->fixed.address;
		d->addresses.count = 1;
	} else if (!eg_address_parse(eg_str_from(d->origin->host), &literal)) {
		d->addresses.item[0] = literal;
		d->addresses.count = 1;
	} else if (d->u->o.resolver) {
		d->resolving = true;
		eg_resolver_lookup(d->u->o.resolver, d->origin->host, &d->resolve);
		return;
	} else {
		d->reason = EG_REASON_UPSTREAM_DNS;
		snprintf(d->text, sizeof(d->text), "%s: there is no resolver", d->origin->host);
	}
	eg_loop_defer(d->u->o.loop, &d->step);
}

/* What ALPN gave last is the best guess: one connection may do for all. */
void dial_start(struct upstream_dial *d)
{
	struct upstream_dial *to = d->origin->dial;
	bool may = may_be_http2(d->origin);

	if (may && !d->origin->speaks_http1 && to && !dial_is_full(to) &&
	    d->accidents < ACCIDENTS_MAX) {
		dial_join(d, to);
		return;
	}
	if (!d->turn.running && !upstream_turn_take(&d->origin->turns, &d->turn)) {
		dial_set_state(d, DIAL_QUEUED);
		return;
	}
	dial_set_state(d, DIAL_RESOLVE);
	if (may && (!to || dial_is_full(to)))
		d->origin->dial = d; /* who comes now may join this one */
	find_addresses(d);
}

static void on_turn(struct upstream_turn *t)
{
	struct upstream_dial *d = eg_container_of(t, struct upstream_dial, turn);

	dial_set_state(d, DIAL_JOINED);
	dial_start(d);
	if (d->joined_to) /* meanwhile one connection may do for all */
		upstream_turn_end(&d->origin->turns, t);
}

int upstream_dial(struct eg_upstream *u, struct eg_upstream_origin *origin, uint64_t max_idle_ms,
		  uint64_t connect_ms, struct eg_upstream_wait *w)
{
	struct upstream_dial *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->u = u;
	d->origin = origin;
	d->wait = w;
	d->state = DIAL_JOINED;
	d->max_idle_ms = max_idle_ms;
	d->turn.go = on_turn;
	d->turn.fair.of = w->of;
	d->began_ms = eg_loop_now_ms(u->o.loop);
	d->deadline_ms = d->began_ms + connect_ms;
	d->reason = EG_REASON_UPSTREAM_CONNECT;
	d->resolve.done = on_resolved;
	d->step.run = take_step;
	d->bury.run = bury;
	eg_timer_init(&d->timer, on_timeout);
	if (eg_timer_set(u->o.loop, &d->timer, connect_ms)) {
		free(d);
		return -ENOMEM;
	}
	w->dial = d;
	eg_list_init(&d->link);
	eg_list_init(&d->joined);
	eg_list_init(&d->turn.fair.link);
	dial_start(d);
	return 0;
}

void eg_upstream_cancel(struct eg_upstream_wait *w)
{
	struct upstream_dial *d = w->dial, *to;

	if (!d)
		return;
	to = d->joined_to;
	d->wait = NULL;
	w->dial = NULL;
	if (!eg_list_empty(&d->joined)) {
		dial_hand_on(d);
		return;
	}
	dial_end(d);
	/* Lost, and nobody waits for it any more. */
	if (to && to->state == DIAL_SETTINGS && !to->conn && eg_list_empty(&to->joined))
		dial_end(to);
}
