/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pods in the node's own network that policy selects, with --host-network-pods deny: the kernel is
 * told which they are and by what they are judged. Found by uid alone. A static pod's cgroup has
 * the kubelet's uid, which its mirror claims (kube.h): of several that claim one, one that policy
 * governs counts, so that a false claim frees nobody. A uid that has a link is no such pod's.
 */
#include <stdio.h>
#include <stdlib.h>

#include "agent/plan.h"
#include "agent/supervisor_impl.h"
#include "base/log.h"

static const char *uid_of(const struct eg_kube_pod *p)
{
	return p->mirror_of ? p->mirror_of : p->identity.uid;
}

static struct eg_host_guarded *known(const struct eg_supervisor *s, const char *uid)
{
	for (size_t i = 0; i < s->host.count; i++)
		if (!strcmp(s->host.pods[i].uid, uid))
			return &s->host.pods[i];
	return NULL;
}

enum eg_host_guard eg_host_pod_guard(const struct eg_supervisor *s, const struct eg_kube_pod *p)
{
	const struct eg_host_guarded *k = known(s, uid_of(p));

	return k ? k->guard : EG_HOST_NO_CGROUP;
}

/* ---- who they are ---- */

struct list {
	struct eg_host_guarded *pods;
	struct eg_host_pod *set;
	enum eg_host_guard *guards;
	size_t count;
	bool full; /* there were more */
};

static bool has(const struct list *l, const char *uid)
{
	for (size_t i = 0; i < l->count; i++)
		if (!strcmp(l->pods[i].uid, uid))
			return true;
	return false;
}

/*
 * During an update there are two agents on the node, and each looks like any pod to the other. What
 * they have in common is their namespace and service account, whose rights nobody else has.
 */
static bool is_agents(const struct eg_supervisor *s, const struct eg_identity *id)
{
	for (size_t i = 0; *id->service_account && i < s->host.count; i++)
		if (s->host.pods[i].guard == EG_HOST_AGENT &&
		    !strcmp(s->host.pods[i].namespace_name, id->namespace_name) &&
		    !strcmp(s->host.pods[i].service_account, id->service_account))
			return true;
	return false;
}

static void add(struct eg_supervisor *s, const struct eg_generation *g, struct list *l,
		const struct eg_kube_pod *p, const struct eg_identity *id,
		const struct eg_selected *selected)
{
	const struct eg_host_guarded *before = known(s, uid_of(p));
	struct eg_host_guarded *to = &l->pods[l->count];
	struct eg_host_pod *set = &l->set[l->count];
	size_t policies;

	if (has(l, uid_of(p)))
		return;
	l->full = l->count == EG_HOST_PODS_MAX;
	if (l->full)
		return;
	if (before)
		*to = *before;
	else
		*to = (struct eg_host_guarded){.pod_id = eg_datapath_new_pod_id(s->datapath)};
	eg_str_copy(to->uid, sizeof(to->uid), eg_str_from(uid_of(p)));
	eg_str_copy(to->namespace_name, sizeof(to->namespace_name),
		    eg_str_from(id->namespace_name));
	eg_str_copy(to->name, sizeof(to->name), eg_str_from(id->name));
	eg_str_copy(to->service_account, sizeof(to->service_account),
		    eg_str_from(id->service_account));
	set->uid = to->uid;
	set->is_agents = is_agents(s, id);
	set->pod = (struct eg_pod){.pod_id = to->pod_id,
				   .state = (uint8_t)eg_plan_state(selected),
				   .flags = eg_plan_flags(selected, s->o->fail)};
	if (selected->what == EG_SELECTION_POLICY)
		set->pod.policy_id =
			g->policy_ids[selected->policy - eg_policies(g->policies, &policies)];
	eg_plan_pod_name(id, set->pod.name);
	l->count++;
}

static void collect(struct eg_supervisor *s, const struct eg_generation *g, struct list *l,
		    enum eg_selection what)
{
	const struct eg_kube *kube = eg_pod_source_kube(s->pods);
	const struct eg_kube_pod *const *pods;
	size_t n;

	pods = eg_kube_pods(kube, &n);
	for (size_t i = 0; i < n; i++) {
		struct eg_identity id = pods[i]->identity;
		struct eg_selected selected;

		if (!pods[i]->host_network || pods[i]->finished ||
		    eg_table_by_uid(g->table, uid_of(pods[i])))
			continue;
		id.namespace_labels_unknown = !eg_kube_namespace_labels(
			kube, id.namespace_name, &id.namespace_labels, &id.namespace_label_count);
		selected = eg_policy_select(g->policies, &id);
		if (selected.what == what)
			add(s, g, l, pods[i], &id, &selected);
	}
}

/* ---- what became of it ---- */

static void say(const struct eg_host_guarded *p, enum eg_host_guard now)
{
	switch (now) {
	case EG_HOST_GUARDED:
		eg_info("pod %s/%s is in the node's own network: what it sends to governed "
			"destinations is refused from now on (--host-network-pods deny)",
			p->namespace_name, p->name);
		break;
	case EG_HOST_AGENT:
	case EG_HOST_OTHER_AGENT:
		eg_warn("pod %s/%s, which policy selects, is an agent's own: it is not guarded",
			p->namespace_name, p->name);
		break;
	case EG_HOST_NO_CGROUP:
		if (p->guard == EG_HOST_GUARDED)
			eg_info("the cgroup of pod %s/%s, which was guarded, is gone",
				p->namespace_name, p->name);
		break;
	case EG_HOST_FAILED:
		break; /* the error is said */
	}
}

static void say_error(struct eg_supervisor *s, const char *text)
{
	if (strcmp(s->host.error, text) != 0 && *text)
		eg_error("--host-network-pods deny: %s", text);
	else if (*s->host.error && !*text)
		eg_info("--host-network-pods deny: pods in the node's own network are guarded");
	eg_str_copy(s->host.error, sizeof(s->host.error), eg_str_from(text));
}

static void keep(struct eg_supervisor *s, struct list *l)
{
	for (size_t i = 0; i < l->count; i++) {
		if (l->pods[i].guard != l->guards[i] || !known(s, l->pods[i].uid))
			say(&l->pods[i], l->guards[i]);
		l->pods[i].guard = l->guards[i];
	}
	free(s->host.pods);
	s->host.pods = l->pods;
	s->host.count = l->count;
	l->pods = NULL;
}

void eg_host_pods_set(struct eg_supervisor *s, const struct eg_generation *g)
{
	const struct eg_kube *kube = eg_pod_source_kube(s->pods);
	struct list l = {.pods = NULL};
	struct eg_kube_status status;
	struct eg_error e = {""};
	size_t n;

	if (!s->o->host_pods_deny || !kube)
		return;
	eg_kube_status(kube, &status);
	if (!status.synced && !status.kept) /* what an earlier one guarded stays so */
		return;
	(void)eg_kube_pods(kube, &n);
	l.pods = calloc(n + 1, sizeof(*l.pods));
	l.set = calloc(n + 1, sizeof(*l.set));
	l.guards = calloc(n + 1, sizeof(*l.guards));
	if (l.pods && l.set && l.guards) {
		collect(s, g, &l, EG_SELECTION_POLICY);
		collect(s, g, &l, EG_SELECTION_PERHAPS);
		if (!eg_datapath_set_host_pods(s->datapath, l.set, l.count, l.guards, &e))
			e.text[0] = '\0';
		if (l.full && !*e.text)
			snprintf(e.text, sizeof(e.text),
				 "policy selects more than %d pods in the node's own network; the "
				 "others are not guarded",
				 EG_HOST_PODS_MAX);
		keep(s, &l);
	} else {
		snprintf(e.text, sizeof(e.text), "out of memory");
	}
	say_error(s, e.text);
	free(l.pods);
	free(l.set);
	free(l.guards);
}

void eg_host_pods_follow(struct eg_supervisor *s)
{
	if (s->o->host_pods_deny && eg_tables_are_ours(s) && s->applied.number)
		eg_host_pods_set(s, &s->applied);
}

void eg_host_pods_denied(struct eg_supervisor *s, const struct eg_event *event)
{
	const struct eg_watched_name *names;
	char to[EG_ADDRESS_TEXT] = "";
	const char *where = to;
	size_t count;

	if (!s->applied.number)
		return;
	names = eg_watched_names(s->applied.policies, &count);
	(void)eg_address_format(&event->destination, to);
	for (size_t i = 0; event->name_id && i < count; i++)
		if (s->applied.name_ids[i] == event->name_id)
			where = names[i].text;
	for (size_t i = 0; i < s->host.count; i++)
		if (s->host.pods[i].pod_id == event->pod_id)
			eg_report_host_denial(s, &s->host.pods[i], where,
					      (enum eg_reason)event->reason);
}

void eg_host_pods_forget(struct eg_supervisor *s)
{
	free(s->host.pods);
	s->host.pods = NULL;
	s->host.count = 0;
}
