/* SPDX-License-Identifier: Apache-2.0 */
#include <net/if.h>
#include <stdlib.h>

#include "egretctl/doctor.h"

struct seen {
	uint32_t link[4096]; /* that carries the program */
	size_t links, dead, bare;
	char first_bare[EG_POD_NAME + 1];
};

static bool see_link(void *context, const struct eg_pin_link *l)
{
	struct seen *s = context;

	if (strcmp(l->program, "observe_up_tc") != 0)
		return true;
	if (!l->attached)
		s->dead++;
	else if (s->links < EG_ARRAY_SIZE(s->link))
		s->link[s->links++] = l->ifindex;
	return true;
}

static bool see_pod(void *context, uint32_t ifindex, const struct eg_pod *pod)
{
	struct seen *s = context;
	char name[IF_NAMESIZE];

	for (size_t i = 0; i < s->links; i++)
		if (s->link[i] == ifindex)
			return true;
	if (!if_indextoname(ifindex, name) || s->links == EG_ARRAY_SIZE(s->link))
		return true;
	if (!s->bare++)
		eg_str_copy(s->first_bare, sizeof(s->first_bare),
			    (struct eg_str){pod->name, strnlen(pod->name, EG_POD_NAME)});
	return true;
}

static void check_links(struct findings *f, struct eg_pins *pins)
{
	struct seen *s = calloc(1, sizeof(*s));
	struct eg_error e = {""};

	if (!s)
		return;
	if (eg_pins_links(pins, see_link, s, &e) || eg_pins_pods(pins, see_pod, s, &e))
		doctor_say(f, DOCTOR_WARNING, "links", "%s", e.text);
	else if (s->bare)
		doctor_say(f, DOCTOR_BROKEN, "links",
			   "%zu links of pods have no program (first: %s): what they talk to is "
			   "not seen; egretd's log says why",
			   s->bare, s->first_bare);
	else
		doctor_say(f, s->dead ? DOCTOR_WARNING : DOCTOR_OK, "links",
			   "%zu links of pods are watched; %zu dead pins", s->links, s->dead);
	free(s);
}

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static void check_pods(struct findings *f, const json_t *pods)
{
	const json_t *pod, *first = NULL;
	size_t i, n = 0;

	json_array_foreach(json_object_get(pods, "pods"), i, pod)
	{
		if (strcmp(text(pod, "state"), "no_link") != 0)
			continue;
		first = first ? first : pod;
		n++;
	}
	if (n)
		doctor_say(f, DOCTOR_WARNING, "pod links",
			   "%zu pods are known whose link is not there (first: %s/%s): what they "
			   "talk to is not seen",
			   n, text(first, "namespace"), text(first, "name"));
	else if (pods)
		doctor_say(f, DOCTOR_OK, "pod links", "all are there");
}

void doctor_observe(struct findings *f, struct eg_pins *pins, const json_t *agent,
		    const json_t *pods)
{
	const char *error = text(agent, "policy_error");

	doctor_say(f, DOCTOR_OK, "mode",
		   "observe only: nothing is enforced, every packet of every pod passes");
	if (!agent)
		doctor_say(f, DOCTOR_BROKEN, "agent",
			   "none runs: the kernel goes on counting for the pods that are there, "
			   "and new ones are not seen; start egretd --observe");
	else if (json_is_true(json_object_get(agent, "ready")))
		doctor_say(f, DOCTOR_OK, "agent", "observing, version %s", text(agent, "version"));
	else
		doctor_say(f, DOCTOR_BROKEN, "agent", "it does not know the pods yet: %s",
			   text(agent, "state"));
	if (*error)
		doctor_say(f, DOCTOR_WARNING, "policy", "%s", error);
	check_links(f, pins);
	check_pods(f, pods);
}
