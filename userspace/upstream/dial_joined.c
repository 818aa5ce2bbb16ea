/* SPDX-License-Identifier: Apache-2.0 */
/* Dials that wait for another's connection, and what becomes of them when that one ends. */
#include <stdio.h>

#include "upstream/dial.h"
#include "upstream/h2_conn.h"

#define JOINED_MAX  256u  /* that wait for one dial; more dial on their own */
#define SETTINGS_MS 1000u /* what a provider has to say first is waited for */

void dial_part(struct upstream_dial *d)
{
	eg_list_remove(&d->link);
	if (d->joined_to)
		d->joined_to->joined_count--;
	d->joined_to = NULL;
}

void dial_join(struct upstream_dial *d, struct upstream_dial *to)
{
	d->joined_to = to;
	to->joined_count++;
	eg_list_append(&to->joined, &d->link);
}

/* Is the connection that is being dialled given away already? */
bool dial_is_full(const struct upstream_dial *to)
{
	uint32_t limit = stream_limit_get(&to->u->stream_limits, to->origin->hash);

	if (limit == STREAM_LIMIT_UNKNOWN)
		return to->joined_count >= JOINED_MAX;
	return to->joined_count + 1 >= EG_MIN(limit, (uint32_t)H2_STREAMS_MAX);
}

static void take_joined(struct upstream_dial *d, struct eg_list *out)
{
	eg_list_init(out);
	while (!eg_list_empty(&d->joined)) {
		struct upstream_dial *j =
			eg_container_of(d->joined.next, struct upstream_dial, link);

		dial_part(j);
		eg_list_append(out, &j->link);
	}
}

/* Would another dial end otherwise? Not where the name, the policy or the certificate is wrong. */
static bool for_all(const struct upstream_dial *d, enum eg_reason reason)
{
	if (eg_loop_now_ms(d->u->o.loop) >= d->deadline_ms)
		return false; /* out of its own time, which says nothing about theirs */
	return reason == EG_REASON_UPSTREAM_DNS || reason == EG_REASON_FORBIDDEN_DESTINATION ||
	       d->certificate;
}

/*
 * This dial has failed: what of those that joined it? They get the same answer if it would be the
 * same, else one accident would be a hundred: the first of them dials, the others join that one,
 * and after a second accident each goes its own way.
 */
void dial_fail(struct upstream_dial *d, enum eg_reason reason, const char *text)
{
	struct eg_upstream_wait *w = d->wait;
	struct eg_list joined;
	char kept[sizeof(d->text)];
	bool all = for_all(d, reason);

	snprintf(kept, sizeof(kept), "%s", text);
	take_joined(d, &joined);
	dial_end(d);
	if (w)
		w->done(w, NULL, reason, kept);
	while (!eg_list_empty(&joined)) {
		struct upstream_dial *j = eg_container_of(joined.next, struct upstream_dial, link);

		dial_part(j);
		if (!all) {
			j->accidents++;
			dial_start(j);
			continue;
		}
		w = j->wait;
		dial_end(j);
		w->done(w, NULL, reason, kept);
	}
}

/* The connection is there: one for all that there is room for, or, over HTTP/1.1, for one. */
static void serve_joined(struct eg_upstream *u, struct eg_upstream_origin *g,
			 struct eg_list *joined)
{
	uint64_t now = eg_loop_now_ms(u->o.loop);

	while (!eg_list_empty(joined)) {
		struct upstream_dial *j = eg_container_of(joined->next, struct upstream_dial, link);
		struct eg_upstream_conn *c = upstream_take_shared(u, g, UINT64_MAX);
		struct eg_upstream_wait *w = j->wait;

		dial_part(j);
		if (!c) {
			dial_start(j);
			continue;
		}
		c->reused = false;
		c->connect_ms = (uint32_t)(now - j->began_ms);
		dial_end(j);
		w->done(w, c, EG_REASON_OK, "");
	}
}

/* It is over: its own request has `c`, if it still waits, and those that joined what room there is.
 */
void dial_finish(struct upstream_dial *d, struct eg_upstream_conn *c)
{
	struct eg_upstream_origin *g = d->origin;
	struct eg_upstream_wait *w = d->wait;
	struct eg_upstream *u = d->u;
	struct eg_list joined;

	take_joined(d, &joined);
	g->users++; /* those that joined may need it after its connection went */
	dial_end(d);
	if (!eg_list_empty(&g->shared))
		upstream_tell_waiting(u, g);
	if (w)
		w->done(w, c, EG_REASON_OK, "");
	serve_joined(u, g, &joined);
	upstream_origin_release(u, g);
}

/* SETTINGS have come, or the time for them is over; or the connection is lost, which is an accident
 * like any other. */
void dial_settle(struct upstream_dial *d)
{
	struct eg_list *it;

	if (!d->conn)
		eg_list_for_each (it, &d->joined)
			eg_container_of(it, struct upstream_dial, link)->accidents++;
	dial_finish(d, NULL);
}

void upstream_dial_settled(struct eg_upstream_conn *c)
{
	if (c->dial)
		eg_loop_defer(c->owner->o.loop, &c->dial->step);
}

void upstream_dial_lost(struct eg_upstream_conn *c)
{
	struct upstream_dial *d = c->dial;

	c->dial = NULL;
	if (!d)
		return;
	d->conn = NULL;
	if (eg_list_empty(&d->joined))
		dial_end(d);
	else
		eg_loop_defer(d->u->o.loop, &d->step);
}

/* A hundred requests at once may be ninety more than are allowed: until the provider has said how
 * many, one goes, and the others wait for its word. */
void dial_await_settings(struct upstream_dial *d, struct eg_upstream_conn *c)
{
	struct eg_upstream_wait *w = d->wait;

	dial_set_state(d, DIAL_SETTINGS);
	d->conn = c;
	c->dial = d;
	d->wait = NULL;
	w->dial = NULL;
	d->deadline_ms = eg_loop_now_ms(d->u->o.loop) + SETTINGS_MS;
	dial_limit(d, 1);
	upstream_turn_end(&d->origin->turns, &d->turn);
	w->done(w, c, EG_REASON_OK, "");
}

/* Whoever joined it goes on with what has been reached; the timer is armed, so no memory is needed.
 */
void dial_hand_on(struct upstream_dial *d)
{
	struct upstream_dial *j = eg_container_of(d->joined.next, struct upstream_dial, link);
	struct eg_upstream_wait *w = j->wait;

	dial_part(j);
	d->began_ms = j->began_ms;
	d->deadline_ms = j->deadline_ms;
	j->wait = NULL;
	dial_end(j);
	d->wait = w;
	w->dial = d;
	dial_limit(d, d->state == DIAL_CONNECT ? d->addresses.count - d->at + 1 : 1);
}
