/* SPDX-License-Identifier: Apache-2.0 */
/* Are the programs where they must be: the guard on the uplinks, the program on each governed pod's
 * link, and the agent's link and namespace. The kernel is asked; the agent only for names. */
#include <linux/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "egretctl/doctor.h"

#define NSFS_MAGIC_NUMBER 0x6e736673

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

/* Flags of an interface; -1: there is none. */
static int flags_of(const char *name, uint32_t ifindex)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), flags = -1;
	struct ifreq r = {.ifr_ifindex = (int)ifindex};

	if (fd < 0)
		return -1;
	if (name)
		eg_str_copy(r.ifr_name, sizeof(r.ifr_name), eg_str_from(name));
	if ((name || !ioctl(fd, SIOCGIFNAME, &r)) && !ioctl(fd, SIOCGIFFLAGS, &r))
		flags = (uint16_t)r.ifr_flags;
	close(fd);
	return flags;
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

		if (!name || is_guarded(all, name) || flags_of(name, 0) < 0)
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
			"a provider leaves the node unseen; start egretd with --uplink, which "
			"names one (`auto` found no default route)");
	json_array_foreach(uplinks, i, one)
	{
		const char *name = json_string_value(json_object_get(one, "name"));

		if (name && flags_of(name, 0) < 0)
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

static bool is_namespace(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && fs.f_type == NSFS_MAGIC_NUMBER;
}

void doctor_way_in(struct findings *f, const struct eg_config *c, const json_t *agent)
{
	const char *path = json_string_value(json_object_get(agent, "agent_namespace"));
	int flags;

	/* Without an agent there is no way in, and "heartbeat" says so. */
	if (c->mode != EG_MODE_NETNS || !agent)
		return;
	flags = c->agent_ifindex ? flags_of(NULL, c->agent_ifindex) : -1;
	if (flags < 0 || !(flags & IFF_UP))
		doctor_say(f, DOCTOR_BROKEN, "agent link",
			   "the link into the agent's namespace is %s: nothing of the pods reaches "
			   "the agent; restart egretd",
			   flags < 0 ? "gone" : "down");
	else
		doctor_say(f, DOCTOR_OK, "agent link", "up");
	if (path && *path && !is_namespace(path))
		doctor_say(
			f, DOCTOR_WARNING, "agent namespace",
			"it is not mounted at %s any more: all goes on, but it ends with egretd, "
			"and open connections of pods with it; the next start makes another",
			path);
}
