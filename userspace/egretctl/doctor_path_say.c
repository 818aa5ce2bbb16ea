/* SPDX-License-Identifier: Apache-2.0 */
/* The sentences of doctor_path.c: what was seen, what it costs, what to look at. */
#include <netinet/in.h>
#include <stdio.h>

#include "datapath/datapath.h"
#include "egretctl/doctor_path.h"

static const char *const route_check[] = {"gateway route IPv4", "gateway route IPv6"};
static const char *const connection_check[] = {"connection IPv4", "connection IPv6"};

/* ---- routes ---- */

static void say_bad_route(struct findings *f, const struct doctor_path *p, int k)
{
	const struct doctor_pod *pod = &p->first_bad[k];
	const struct eg_visit_route *r = &pod->seat[k].route;
	const char *cure = k ? "take that route or address out of the pod, or give the agent "
			       "another address (--gateway6)"
			     : "take that route or address out of the pod, or give the agent "
			       "another address (--gateway4)";
	char address[EG_ADDRESS_TEXT], seen[128], prefix[32] = "";

	if (r->bits >= 0)
		snprintf(prefix, sizeof(prefix), ", by a route of /%d", r->bits);
	if (r->error) {
		snprintf(seen, sizeof(seen), "no route leads there: %s", strerror(-r->error));
		cure = "give the pod a default route by a router";
	} else if (r->local) {
		snprintf(seen, sizeof(seen), "it is an address of the pod itself");
	} else {
		snprintf(seen, sizeof(seen), "it is on-link on %s%s: no router is asked", r->link,
			 prefix);
	}
	doctor_say(f, DOCTOR_WARNING, route_check[k],
		   "%zu of %zu governed pods can't reach the gateway's address %s (first: %s: %s): "
		   "base URLs with that address fail there; %s",
		   p->bad[k], p->looked[k], eg_address_format(&p->gateway[k], address), pod->name,
		   seen, cure);
}

void doctor_say_routes(struct findings *f, const struct doctor_path *p)
{
	for (int k = 0; k < DOCTOR_FAMILIES; k++) {
		char address[EG_ADDRESS_TEXT];

		if (p->bad[k])
			say_bad_route(f, p, k);
		else if (p->looked[k])
			doctor_say(f, DOCTOR_OK, route_check[k],
				   "of %zu governed pods, all have a route to %s by a router",
				   p->looked[k], eg_address_format(&p->gateway[k], address));
	}
	if (p->shut)
		doctor_say(f, DOCTOR_WARNING, "gateway route",
			   "not tested in %zu of %zu governed pods (first: %s: %s)", p->shut,
			   p->governed, p->first_shut.name, p->first_shut.why.text);
	if (p->late)
		doctor_say(f, DOCTOR_WARNING, "gateway route",
			   "not tested in %zu of %zu governed pods: the others took too long; "
			   "--pod has one looked at in any case",
			   p->late, p->governed);
}

/* ---- connections ---- */

struct search {
	struct eg_flow_key key;
	bool redirected;
};

static bool see_flow(void *context, const struct eg_flow_key *k, const struct eg_flow *flow)
{
	struct search *s = context;

	if (memcmp(k, &s->key, sizeof(*k)) != 0)
		return true;
	s->redirected = flow->action == EG_ACTION_REDIRECT;
	return false;
}

static bool was_redirected(const struct doctor_path *p, int k, struct eg_pins *pins)
{
	const struct doctor_seat *seat = &p->chosen.seat[k];
	struct search s = {.key = {.source = seat->own,
				   .destination = p->gateway[k],
				   .source_port_be = seat->dial.port_be,
				   .destination_port_be = htons(80),
				   .ifindex = p->chosen.ifindex,
				   .protocol = IPPROTO_TCP}};
	struct eg_error e;

	return !eg_pins_flows(pins, see_flow, &s, &e) && s.redirected;
}

static const char *what_was_seen(const struct doctor_dial *d)
{
	switch (d->end) {
	case DOCTOR_DIAL_OTHER:
		return "somebody else answered, with HTTP and without x-egret-reason";
	case DOCTOR_DIAL_NO_HTTP:
		return "somebody else answered, and not with HTTP";
	case DOCTOR_DIAL_CLOSED:
		return "it was taken and closed without an answer";
	case DOCTOR_DIAL_SILENT:
		return "it was taken, and no answer came";
	case DOCTOR_DIAL_RESET:
		return "it was taken and then reset";
	case DOCTOR_DIAL_REFUSED:
		return "it was reset at once";
	case DOCTOR_DIAL_NO_WAY:
		return strerror(d->error);
	case DOCTOR_DIAL_EGRET:
	case DOCTOR_DIAL_ELSEWHERE:
	case DOCTOR_DIAL_LOST:
	default:
		return "no answer came to its SYN: the packets are dropped on the way";
	}
}

static const char *where_to_look(const struct doctor_path *p, const struct doctor_dial *d,
				 bool redirected)
{
	bool somebody_else = d->end == DOCTOR_DIAL_OTHER || d->end == DOCTOR_DIAL_NO_HTTP;

	if (somebody_else && !redirected)
		return "the program on the pod's link did not redirect it: see `links` above, and "
		       "NAT rules inside the pod";
	if (!redirected)
		return "the program on the pod's link did not redirect it: see `heartbeat`, "
		       "`listeners` and `links` above, NAT and filter rules inside the pod, and "
		       "`egretctl flows --counters`";
	return p->mark ? "the program redirected it, and it did not come to the agent and back: "
			 "see `ip rule` and `listeners`, and whether an INPUT chain of the node "
			 "that drops accepts the mark"
		       : "the program redirected it, and it did not come to the agent and back: "
			 "see `agent`, `agent link` and `listeners` above";
}

static void say_failure(struct findings *f, const struct doctor_path *p, int k,
			struct eg_pins *pins)
{
	const struct doctor_seat *seat = &p->chosen.seat[k];
	char address[EG_ADDRESS_TEXT];

	eg_address_format(&p->gateway[k], address);
	if (seat->dial.end == DOCTOR_DIAL_ELSEWHERE)
		doctor_say(f, DOCTOR_WARNING, connection_check[k],
			   "not tested: what is behind the link of %s does not have the pod's "
			   "address; run it in the node's own network namespace, or correct `ips` "
			   "of the pod's file",
			   p->chosen.name);
	else if (!doctor_has_way(&seat->route))
		doctor_say(f, DOCTOR_WARNING, connection_check[k],
			   "not tested: %s can't reach %s (%s); see `%s`", p->chosen.name, address,
			   what_was_seen(&seat->dial), route_check[k]);
	else
		doctor_say(f, DOCTOR_BROKEN, connection_check[k],
			   "from %s to %s, port 80: %s (after %u ms), where Egret would have "
			   "refused the request with a reason: what the pod sends to providers "
			   "fares alike; %s",
			   p->chosen.name, address, what_was_seen(&seat->dial), seat->dial.ms,
			   where_to_look(p, &seat->dial, was_redirected(p, k, pins)));
}

static void say_connection(struct findings *f, const struct doctor_path *p, int k,
			   struct eg_pins *pins)
{
	const struct doctor_dial *d = &p->chosen.seat[k].dial;
	char address[EG_ADDRESS_TEXT];

	eg_address_format(&p->gateway[k], address);
	if (d->end != DOCTOR_DIAL_EGRET)
		say_failure(f, p, k, pins);
	else if (d->reason == EG_REASON_NO_PLACEHOLDER)
		doctor_say(f, DOCTOR_OK, connection_check[k],
			   "from %s to %s, port 80: redirected to Egret, which answered in %u ms",
			   p->chosen.name, address, d->ms);
	else
		doctor_say(f, DOCTOR_WARNING, connection_check[k],
			   "from %s to %s, port 80: redirected to Egret, which answered %u `%s` "
			   "instead of `no_placeholder`: %s",
			   p->chosen.name, address, d->status, eg_reason_label(d->reason),
			   eg_reason_text(d->reason));
}

void doctor_say_connections(struct findings *f, const struct doctor_path *p, struct eg_pins *pins)
{
	bool any = false;

	if (!p->chosen.ifindex) {
		const struct doctor_pod *pod = *p->chosen.name ? &p->chosen : &p->first_shut;

		if (!p->governed)
			doctor_say(f, DOCTOR_WARNING, "connection",
				   "not tested: no pod of this node is governed");
		else
			doctor_say(f, p->wanted ? DOCTOR_BROKEN : DOCTOR_WARNING, "connection",
				   "not tested: %s could not be entered: %s", pod->name,
				   pod->why.text);
		return;
	}
	for (int k = 0; k < DOCTOR_FAMILIES; k++) {
		if (!p->chosen.seat[k].used)
			continue;
		any = true;
		say_connection(f, p, k, pins);
	}
	if (!any)
		doctor_say(f, DOCTOR_WARNING, "connection",
			   "not tested: %s has no address of a family that the gateway has one of",
			   p->chosen.name);
}
