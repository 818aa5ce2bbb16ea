/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can pods reach the gateway's address, and does a connection to it come to Egret? Tried where the
 * answer is: in the pod's network namespace, with its address and its routes. What a packet meets
 * is known by no other means: every map and link may be as it should, and something else on the
 * node, a route or a filter, be in the way.
 */
#include "egretctl/doctor_path.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "datapath/datapath.h"

#define LOOK_MS 5000 /* for the routes of all pods together */

bool doctor_has_way(const struct eg_visit_route *r)
{
	return !r->error && !r->on_link && !r->local;
}

/* ---- inside ---- */

struct visitor {
	const struct doctor_path *path;
	struct doctor_pod *pod;
	bool dial;
};

static int look(void *context, struct eg_error *error)
{
	struct visitor *v = context;

	for (int k = 0; k < DOCTOR_FAMILIES; k++) {
		struct doctor_seat *s = &v->pod->seat[k];
		int r = s->used ? eg_visit_route(&v->path->gateway[k], &s->route, error) : 0;

		if (r)
			return r;
		if (s->used && v->dial)
			doctor_dial(&s->own, &v->path->gateway[k], &s->dial);
	}
	return 0;
}

static bool enter(const struct doctor_path *p, struct doctor_pod *pod, uint32_t ifindex, bool dial)
{
	struct visitor v = {.path = p, .pod = pod, .dial = dial};
	EG_CLEANUP_FD int fd = -1;

	if (eg_visit_find(ifindex, &fd, &pod->why) || eg_visit(fd, look, &v, &pod->why))
		return false;
	pod->ifindex = ifindex;
	return true;
}

/* ---- the pods ---- */

static void name_of(const json_t *from, char *out, size_t size)
{
	const char *space = json_string_value(json_object_get(from, "namespace"));
	const char *name = json_string_value(json_object_get(from, "name"));

	snprintf(out, size, "%s/%s", space ? space : "", name ? name : "");
}

static void read_pod(const struct doctor_path *p, const json_t *from, struct doctor_pod *out)
{
	const json_t *address;
	size_t i;

	*out = (struct doctor_pod){.why = {"the agent knows no link of it"}};
	name_of(from, out->name, sizeof(out->name));
	json_array_foreach(json_object_get(from, "addresses"), i, address)
	{
		const char *written = json_string_value(address);
		struct eg_address a;
		int k;

		if (!written || eg_address_from_text(written, &a))
			continue;
		k = eg_address_is4(&a) ? 0 : 1;
		if (out->seat[k].used || !p->has[k])
			continue;
		out->seat[k].used = true;
		out->seat[k].own = a;
	}
}

static bool fits(const struct doctor_pod *pod)
{
	for (int k = 0; k < DOCTOR_FAMILIES; k++)
		if (pod->ifindex && pod->seat[k].used && doctor_has_way(&pod->seat[k].route))
			return true;
	return false;
}

static void count(struct doctor_path *p, const struct doctor_pod *pod)
{
	if (!pod->ifindex && !p->shut++)
		p->first_shut = *pod;
	for (int k = 0; pod->ifindex && k < DOCTOR_FAMILIES; k++) {
		if (!pod->seat[k].used)
			continue;
		p->looked[k]++;
		if (!doctor_has_way(&pod->seat[k].route) && !p->bad[k]++)
			p->first_bad[k] = *pod;
	}
}

static void look_at(struct doctor_path *p, const json_t *from, uint64_t end_ms)
{
	struct doctor_pod pod;
	const json_t *link;
	bool is_wanted;
	size_t i;

	read_pod(p, from, &pod);
	is_wanted = p->wanted && !strcmp(pod.name, p->wanted);
	if (!is_wanted && eg_now_ms() > end_ms) {
		p->late++;
		return;
	}
	json_array_foreach(json_object_get(from, "links"), i, link)
	{
		if (enter(p, &pod, (uint32_t)json_integer_value(link), false))
			break;
	}
	count(p, &pod);
	if (p->wanted ? is_wanted
		      : pod.ifindex && (!*p->chosen.name || (!fits(&p->chosen) && fits(&pod))))
		p->chosen = pod;
}

/* The state of the wanted pod as the agent has it; NULL: it knows none of that name. */
static const char *wanted_state(const struct doctor_path *p, const json_t *pods)
{
	const json_t *pod;
	char name[600];
	size_t i;

	json_array_foreach(pods, i, pod)
	{
		name_of(pod, name, sizeof(name));
		if (!strcmp(name, p->wanted))
			return json_string_value(json_object_get(pod, "state"));
	}
	return NULL;
}

/* ---- all together ---- */

static void look_at_all(struct doctor_path *p, const json_t *pods)
{
	uint64_t end_ms = eg_now_ms() + LOOK_MS;
	const json_t *pod;
	size_t i;

	json_array_foreach(pods, i, pod)
	{
		const char *state = json_string_value(json_object_get(pod, "state"));

		if (!state || strcmp(state, "governed") != 0)
			continue;
		p->governed++;
		look_at(p, pod, end_ms);
	}
}

/* False: there is nothing to try, which was said. */
static bool may_try(struct findings *f, const struct doctor_path *p, const json_t *pods)
{
	const char *state = p->wanted ? wanted_state(p, pods) : "governed";

	if (!pods)
		doctor_say(f, DOCTOR_WARNING, "connection",
			   "not tested: no agent says which pods "
			   "are governed; start egretd");
	else if (!state)
		doctor_say(f, DOCTOR_BROKEN, "connection",
			   "not tested: the agent knows no pod %s; `egretctl pods` lists them",
			   p->wanted);
	else if (strcmp(state, "governed") != 0)
		doctor_say(f, DOCTOR_BROKEN, "connection",
			   "not tested: %s is %s, and only what governed pods send is redirected; "
			   "see `egretctl pods`",
			   p->wanted, state);
	else if (!p->has[0] && !p->has[1])
		doctor_say(f, DOCTOR_WARNING, "connection",
			   "not tested: the agent has no gateway address (--gateway4, --gateway6), "
			   "and doctor connects to nothing else; a pod's `curl` and `egretctl "
			   "flows` show it");
	else
		return true;
	return false;
}

void doctor_path(struct findings *f, struct eg_pins *pins, const struct eg_config *c,
		 const json_t *pods, const char *wanted)
{
	struct doctor_path *p = calloc(1, sizeof(*p));

	if (!p)
		return;
	p->wanted = wanted;
	p->mark = c->mode == EG_MODE_MARK;
	p->has[0] = c->gateway4_be != 0;
	p->gateway[0] = eg_address_from4(c->gateway4_be);
	p->has[1] = c->gateway6_be[0] || c->gateway6_be[3];
	memcpy(p->gateway[1].word_be, c->gateway6_be, sizeof(c->gateway6_be));
	if (may_try(f, p, pods)) {
		look_at_all(p, pods);
		if (p->chosen.ifindex && !enter(p, &p->chosen, p->chosen.ifindex, true))
			p->chosen.ifindex = 0; /* it went meanwhile */
		doctor_say_routes(f, p);
		doctor_say_connections(f, p, pins);
	}
	free(p);
}
