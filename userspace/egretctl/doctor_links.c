/* SPDX-License-Identifier: Apache-2.0 */
/* Are the programs where they must be: the guard on the uplinks, the program on each governed pod's
 * link? The kernel is asked; the agent only for names. */
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>

#include "egretctl/doctor.h"

struct links {
	uint32_t attached[4096];
	size_t count, dead;
	struct {
		char name[IFNAMSIZ];
	} guarded[64];
	size_t guards;
	size_t bare; /* pods whose link has no program */
	char first_bare[EG_POD_NAME + 1];
};

static bool see_link(void *context, const struct eg_pin_link *l)
{
	struct links *all = context;

	if (!l->attached)
		all->dead++;
	else if (!strcmp(l->program, "egress_tc") && all->count < EG_ARRAY_SIZE(all->attached))
		all->attached[all->count++] = l->ifindex;
	else if (!strcmp(l->program, "guard_tc") && all->guards < EG_ARRAY_SIZE(all->guarded))
		eg_str_copy(all->guarded[all->guards++].name, IFNAMSIZ, eg_str_from(l->link));
	return true;
}

static bool see_pod(void *context, uint32_t ifindex, const struct eg_pod *pod)
{
	struct links *all = context;

	if (pod->state != EG_POD_GOVERNED && pod->state != EG_POD_HELD)
		return true;
	for (size_t i = 0; i < all->count; i++)
		if (all->attached[i] == ifindex)
			return true;
	if (!all->bare++)
		memcpy(all->first_bare, pod->name, EG_POD_NAME);
	return true;
}

static bool is_guarded(const struct links *all, const char *name)
{
	for (size_t i = 0; i < all->guards; i++)
		if (!strcmp(all->guarded[i].name, name))
			return true;
	return false;
}

/* True: at least one guard, and none is missing where one should be. */
static bool check_guard(struct findings *f, const struct links *all, const json_t *uplinks)
{
	bool whole = all->guards > 0;
	const json_t *one;
	size_t i;

	json_array_foreach(uplinks, i, one)
	{
		const char *name = json_string_value(json_object_get(one, "name"));

		if (!name || is_guarded(all, name) || !if_nametoindex(name))
			continue;
		doctor_say(
			f, DOCTOR_BROKEN, "guard",
			"%s has none: what a pod that is not governed or not known yet sends to a "
			"provider leaves there unseen; egretd's log says why it could not be "
			"attached",
			name);
		whole = false;
	}
	if (!all->guards && !json_array_size(uplinks))
		doctor_say(
			f, DOCTOR_BROKEN, "guard",
			"on no uplink: what a pod that is not governed or not known yet sends to "
			"a provider leaves the node unseen; start egretd with --uplink");
	json_array_foreach(uplinks, i, one)
	{
		const char *name = json_string_value(json_object_get(one, "name"));

		if (name && !if_nametoindex(name))
			doctor_say(f, all->guards ? DOCTOR_WARNING : DOCTOR_BROKEN, "guard",
				   "--uplink names %s, and there is no such interface%s: correct "
				   "--uplink, or bring it up, and the guard is attached",
				   name,
				   all->guards ? ""
					       : ", so that no guard stands anywhere: what an "
						 "unknown pod sends to a provider leaves the node "
						 "unseen");
	}
	for (i = 0; i < all->guards; i++)
		doctor_say(f, DOCTOR_OK, "guard", "attached to %s", all->guarded[i].name);
	return whole;
}

void doctor_links(struct findings *f, struct eg_pins *pins, const json_t *agent)
{
	struct links *all = calloc(1, sizeof(*all));
	struct eg_error e = {""};
	bool guard;

	if (!all)
		return;
	if (eg_pins_links(pins, see_link, all, &e) || eg_pins_pods(pins, see_pod, all, &e)) {
		doctor_say(f, DOCTOR_WARNING, "links", "%s", e.text);
		free(all);
		return;
	}
	guard = check_guard(f, all, json_object_get(agent, "uplinks"));
	if (all->bare)
		doctor_say(
			f, DOCTOR_BROKEN, "links",
			"%zu governed pods have no program on their link (first: %s): their "
			"traffic %s; restart egretd",
			all->bare, all->first_bare,
			guard ? "is only stopped by the guard on the uplink"
			      : "is stopped by nothing, since the guard is missing, too, and goes "
				"to the provider past every policy");
	else
		doctor_say(f, all->dead ? DOCTOR_WARNING : DOCTOR_OK, "links",
			   "%zu links of pods carry the program; %zu dead pins", all->count,
			   all->dead);
	free(all);
}
