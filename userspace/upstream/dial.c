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
#include "upstream/pool.h"

enum dial_state { DIAL_RESOLVE, DIAL_CONNECT, DIAL_HANDSHAKE, DIAL_DONE };

static const uint32_t successors[] = {
	[DIAL_RESOLVE] = EG_TO(DIAL_CONNECT) | EG_TO(DIAL_DONE),
	[DIAL_CONNECT] = EG_TO(DIAL_CONNECT) | EG_TO(DIAL_HANDSHAKE) | EG_TO(DIAL_DONE),
	[DIAL_HANDSHAKE] = EG_TO(DIAL_CONNECT) | EG_TO(DIAL_DONE),
	[DIAL_DONE] = 0,
};

struct dial {
	struct eg_upstream *u;
	struct eg_upstream_origin *origin; /* a user count is held until it is given on */
	struct eg_upstream_wait *wait;	   /* NULL: cancelled */
	enum dial_state state;
	struct eg_resolve resolve;
	bool resolving;
	struct eg_addresses addresses;
	size_t at; /* next address */
	struct eg_stream *stream;
	struct eg_timer timer;
	struct eg_defer step; /* never call back from inside acquire */
	struct eg_defer bury;
	uint64_t began_ms, deadline_ms;
	enum eg_reason reason; /* of the last failure */
	char text[200];
};

static void set_state(struct dial *d, enum dial_state to)
{
	eg_state_check("dial", successors, d->state, to);
	d->state = to;
}

static void bury(struct eg_defer *defer)
{
	free(eg_container_of(defer, struct dial, bury));
}

/* Lets go of everything but the memory, which goes at the end of the tick. */
static void end(struct dial *d)
{
	set_state(d, DIAL_DONE);
	eg_timer_cancel(d->u->o.loop, &d->timer);
	if (d->resolving)
		eg_resolver_cancel(d->u->o.resolver, &d->resolve);
	d->resolving = false;
	if (d->stream)
		eg_stream_destroy(d->stream);
	d->stream = NULL;
	if (d->origin)
		upstream_origin_release(d->u, d->origin);
	d->origin = NULL;
	if (d->wait)
		d->wait->dial = NULL;
	/* `step` may be queued before it: the queue is in order, and step looks at the state. */
	eg_loop_defer(d->u->o.loop, &d->bury);
}

static void fail(struct dial *d, enum eg_reason reason, const char *text)
{
	struct eg_upstream_wait *w = d->wait;
	char kept[sizeof(d->text)];

	snprintf(kept, sizeof(kept), "%s", text);
	end(d);
	if (w)
		w->done(w, NULL, reason, kept);
}

static void succeed(struct dial *d)
{
	struct eg_upstream_conn *c = upstream_conn_create(d->u, d->origin, d->stream);
	struct eg_upstream_wait *w = d->wait;

	if (!c) {
		fail(d, EG_REASON_INTERNAL, "out of memory");
		return;
	}
	d->stream = NULL;
	d->origin = NULL;
	c->connect_ms = (uint32_t)(eg_loop_now_ms(d->u->o.loop) - d->began_ms);
	upstream_count(d->u, EG_COUNT_UPSTREAM_CONNECTS);
	if (c->tls_resumed)
		upstream_count(d->u, EG_COUNT_UPSTREAM_HANDSHAKES_RESUMED);
	end(d);
	w->done(w, c, EG_REASON_OK, "");
}

static void next_address(struct dial *d);

/* The timer was armed before, so that re-arming needs no memory. */
static void limit(struct dial *d, size_t shares)
{
	uint64_t now = eg_loop_now_ms(d->u->o.loop);
	uint64_t left = d->deadline_ms > now ? d->deadline_ms - now : 0;

	if (eg_timer_set(d->u->o.loop, &d->timer, left / shares))
		eg_warn("a dial to %s has no time limit: out of memory", d->origin->host);
}

static void on_connected(struct dial *d)
{
	struct upstream_tls *tls = d->origin->tls;

	if (d->state == DIAL_CONNECT && tls) {
		set_state(d, DIAL_HANDSHAKE);
		limit(d, 1);
		if (eg_stream_tls_connect(d->stream, tls->client, d->origin->host, d->origin->port))
			fail(d, EG_REASON_UPSTREAM_TLS, "TLS could not be begun");
		return;
	}
	succeed(d);
}

static void on_failed(struct dial *d)
{
	const struct eg_stream_failure *f = eg_stream_failure(d->stream);
	bool handshake = d->state == DIAL_HANDSHAKE;

	d->reason = handshake ? EG_REASON_UPSTREAM_TLS : EG_REASON_UPSTREAM_CONNECT;
	snprintf(d->text, sizeof(d->text), "%s", f->text[0] ? f->text : "the connection failed");
	if (handshake && f->certificate) {
		fail(d, d->reason, d->text);
		return;
	}
	eg_stream_destroy(d->stream);
	d->stream = NULL;
	next_address(d);
}

static void on_event(struct eg_stream *s, unsigned int events, void *ctx)
{
	struct dial *d = ctx;

	(void)s;
	if (events & EG_STREAM_FAILED)
		on_failed(d);
	else if (events & EG_STREAM_CONNECTED)
		on_connected(d);
}

static const struct eg_stream_handler handler = {on_event};

static bool may_dial(struct dial *d, const struct eg_address *a)
{
	if (d->origin->has_fixed)
		return eg_may_dial_original(&d->u->o.rules, a);
	return eg_may_dial_provider(&d->u->o.rules, a, d->origin->allow_private);
}

static void next_address(struct dial *d)
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
			set_state(d, DIAL_CONNECT);
			limit(d, d->addresses.count - d->at + 1);
			return;
		}
		d->reason = EG_REASON_UPSTREAM_CONNECT;
		snprintf(d->text, sizeof(d->text), "%s: %s", eg_address_text(&to.address, address),
			 strerror(errno));
	}
	fail(d, d->reason, d->text);
}

static void take_step(struct eg_defer *defer)
{
	struct dial *d = eg_container_of(defer, struct dial, step);

	if (d->state == DIAL_RESOLVE)
		next_address(d);
}

static void on_resolved(struct eg_resolve *r, const struct eg_addresses *a, const char *why)
{
	struct dial *d = eg_container_of(r, struct dial, resolve);

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
	struct dial *d = eg_container_of(t, struct dial, timer);
	enum eg_reason reason = EG_REASON_UPSTREAM_CONNECT;

	if (d->state == DIAL_CONNECT && d->at < d->addresses.count) {
		d->reason = reason;
		snprintf(d->text, sizeof(d->text), "timed out");
		eg_stream_destroy(d->stream);
		d->stream = NULL;
		next_address(d);
		return;
	}
	if (d->state == DIAL_RESOLVE)
		reason = EG_REASON_UPSTREAM_DNS;
	else if (d->state == DIAL_HANDSHAKE)
		reason = EG_REASON_UPSTREAM_TLS;
	fail(d, reason, "timed out");
}

static void find_addresses(struct dial *d)
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

int upstream_dial(struct eg_upstream *u, struct eg_upstream_origin *origin, uint64_t connect_ms,
		  struct eg_upstream_wait *w)
{
	struct dial *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->u = u;
	d->origin = origin;
	d->wait = w;
	d->state = DIAL_RESOLVE;
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
	find_addresses(d);
	return 0;
}

void eg_upstream_cancel(struct eg_upstream_wait *w)
{
	struct dial *d = w->dial;

	if (!d)
		return;
	d->wait = NULL;
	w->dial = NULL;
	end(d);
}
