/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Generations: policy, pods and credentials go to the gateway as one, and only when it has taken
 * them are the kernel's tables changed, so that nothing is redirected to a gateway that would not
 * know what to do with it. One offer at a time; what changes meanwhile is in the next one.
 */
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/bundle.h"
#include "agent/channel.h"
#include "agent/plan.h"
#include "agent/supervisor_impl.h"
#include "base/log.h"
#include "datapath/read.h"

/* How long a link may have no record before it counts as no pod's: a runtime writes the record
 * within a second of the link, but on a node that has too much to do. */
#define FOREIGN_GRACE_MS 30000

void eg_generation_fini(struct eg_generation *g)
{
	eg_loaded_unref(g->loaded);
	eg_table_unref(g->table);
	free(g->policy_ids);
	free(g->name_ids);
	*g = (struct eg_generation){.number = 0};
}

/* ---- to the gateway ---- */

int eg_offer_memory(struct eg_supervisor *s, enum eg_wire_type type, uint32_t number,
		    struct eg_str bytes)
{
	struct eg_message m = {.type = type, .number = number, .value = (int64_t)bytes.n};
	EG_CLEANUP_FD int memory = -1;
	int r = eg_memory_seal("egret", bytes, &memory);

	if (r) {
		eg_error("sealed memory: %s", strerror(-r));
		return r;
	}
	return eg_gateway_send(s, &m, &memory, 1) ? 0 : -EPIPE;
}

static int put_pods(const struct eg_supervisor *s, struct eg_buf *out)
{
	struct eg_bundle_pod *pods = calloc(s->table->count + 1, sizeof(*pods));
	int r = pods ? 0 : -ENOMEM;

	for (size_t i = 0; !r && i < s->table->count; i++)
		pods[i] = s->table->pods[i].pod;
	if (!r)
		r = eg_bundle_put_pods(out, pods, s->table->count);
	free(pods);
	return r;
}

/* The gateway gets all of it, or hears nothing of it and goes on with what it has. */
static bool make(struct eg_supervisor *s, struct eg_buf *policy, struct eg_buf *pods)
{
	int r = eg_bundle_put_policy(policy, s->loaded->source.files, s->loaded->source.count);

	if (!r)
		r = put_pods(s, pods);
	if (r)
		eg_error("generation %u, of %zu pods, can't be made: %s; the one in force stays",
			 s->generation, s->table->count,
			 r == -ENOBUFS ? "it is too large" : strerror(-r));
	return !r;
}

static int hand_over(struct eg_supervisor *s, struct eg_str policy, struct eg_str pods)
{
	struct eg_message commit = {.type = EG_WIRE_COMMIT, .number = s->generation};
	int r = eg_offer_memory(s, EG_WIRE_POLICY, 0, policy);

	if (!r)
		r = eg_offer_memory(s, EG_WIRE_PODS, 0, pods);
	if (!r)
		r = eg_offer_secrets(s);
	return r || eg_gateway_send(s, &commit, NULL, 0) ? r : -EPIPE;
}

void eg_offer(struct eg_supervisor *s)
{
	struct eg_buf policy, pods;
	int r;

	s->dirty = true;
	if (!s->ready || s->stopping || s->offered.number || !s->loaded || !s->table)
		return;
	s->dirty = false;
	s->offered = (struct eg_generation){.number = ++s->generation,
					    .offered_ms = eg_now_ms(),
					    .loaded = eg_loaded_ref(s->loaded),
					    .policies = s->loaded->set,
					    .table = eg_table_ref(s->table),
					    .credentials = s->credentials.version};
	eg_buf_init(&policy, EG_BUNDLE_BYTES);
	eg_buf_init(&pods, EG_BUNDLE_BYTES);
	if (make(s, &policy, &pods)) {
		eg_signer_names(s);
		r = hand_over(s, eg_buf_str(&policy), eg_buf_str(&pods));
		if (r && r != -EPIPE) {
			eg_error("generation %u could not be handed to the gateway: %s",
				 s->generation, strerror(-r));
			eg_child_kill(s->gateway, "it holds half a generation");
		}
	} else {
		eg_generation_fini(&s->offered);
	}
	eg_buf_fini(&policy);
	eg_buf_fini(&pods);
}

void eg_offer_lost(struct eg_supervisor *s)
{
	eg_generation_fini(&s->offered);
	eg_keys_forget(&s->keys);
	eg_keys_forget(&s->roots);
	s->dirty = true;
}

/* ---- to the kernel ---- */

/* One of the node's own addresses. False: it is none of an IP. */
static bool node_address(const struct ifaddrs *i, struct eg_cidr *out)
{
	*out = (struct eg_cidr){.excluded = true};
	if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET) {
		const struct sockaddr_in *a = (const void *)i->ifa_addr;

		out->address = eg_address_from4(a->sin_addr.s_addr);
		out->prefix_bits = 32;
		return true;
	}
	if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET6) {
		const struct sockaddr_in6 *a = (const void *)i->ifa_addr;

		memcpy(&out->address, &a->sin6_addr, sizeof(out->address));
		out->prefix_bits = 128;
		return true;
	}
	return false;
}

/* All of them behind the `n` that `list` has room for and holds already: there may be thousands
 * (kube-ipvs0 has one for each service). The caller frees; NULL: out of memory, and said. */
static struct eg_cidr *with_node_addresses(struct eg_cidr *list, size_t *n)
{
	struct ifaddrs *all = NULL;
	struct eg_cidr *grown;
	size_t more = 0;

	if (getifaddrs(&all) < 0)
		eg_warn("the node's own addresses can't be listed: %s", strerror(errno));
	for (struct ifaddrs *i = all; i; i = i->ifa_next)
		more++;
	grown = reallocarray(list, *n + more + 1, sizeof(*list));
	for (struct ifaddrs *i = all; grown && i; i = i->ifa_next)
		*n += *n < EG_FORBIDDEN_MAX && node_address(i, &grown[*n]);
	if (*n == EG_FORBIDDEN_MAX)
		eg_warn("the node has too many addresses: of these and what --forbid names only "
			"the first %u are kept from pods",
			EG_FORBIDDEN_MAX);
	freeifaddrs(all);
	if (!grown)
		free(list);
	return grown;
}

uint64_t eg_node_addresses_hash(void)
{
	size_t n = 0;
	EG_CLEANUP_FREE struct eg_cidr *all = with_node_addresses(NULL, &n);
	uint64_t h = 14695981039346656037u;

	for (size_t i = 0; all && i < n; i++)
		for (size_t k = 0; k < sizeof(all[i].address); k++)
			h = (h ^ ((const unsigned char *)&all[i].address)[k]) * 1099511628211u;
	return h;
}

size_t eg_forbidden(const struct eg_options *o, struct eg_cidr **out)
{
	struct eg_cidr *c = calloc(o->forbid_count + 1, sizeof(*c));
	size_t n = o->forbid_count;

	if (c)
		memcpy(c, o->forbid, n * sizeof(*c));
	*out = c ? with_node_addresses(c, &n) : NULL;
	return *out ? n : 0;
}

/* What policy governs by address, and what is never governed by a name or a wider range. */
static size_t all_cidrs(struct eg_supervisor *s, struct eg_policy_set *set, struct eg_cidr **out)
{
	size_t governed, n, forbidden;
	const char *const *texts = eg_policy_cidrs(set, &governed);
	struct eg_cidr *c;

	n = forbidden = eg_forbidden(s->o, out);
	if (!*out)
		return 0;
	c = reallocarray(*out, forbidden + governed + 1, sizeof(*c));
	if (!c) {
		free(*out);
		*out = NULL;
		return 0;
	}
	*out = c;
	for (size_t i = 0; i < governed; i++)
		if (eg_plan_cidr(eg_str_from(texts[i]), false, &c[n++])) {
			eg_error("policy: destination '%s' is not a range; left out", texts[i]);
			n--;
		}
	return n;
}

static int number_all(struct eg_supervisor *s, struct eg_generation *g)
{
	uint32_t of_kind[EG_PLAN_KINDS] = {0};
	size_t policies, names;
	const struct eg_watched_name *watched = eg_watched_names(g->policies, &names);
	const struct eg_policy *p = eg_policies(g->policies, &policies);

	g->policy_ids = calloc(policies + 1, sizeof(*g->policy_ids));
	g->name_ids = calloc(names + 1, sizeof(*g->name_ids));
	if (!g->policy_ids || !g->name_ids)
		return -ENOMEM;
	for (size_t i = 0; i < policies; i++) {
		uint32_t *id = &of_kind[eg_plan_kind(&p[i])];

		if (!*id)
			*id = eg_datapath_new_policy_id(s->datapath);
		g->policy_ids[i] = *id;
	}
	for (size_t i = 0; i < names; i++) {
		g->name_ids[i] = eg_datapath_name_id(s->datapath, watched[i].text);
		if (!g->name_ids[i])
			return -EINVAL;
	}
	return 0;
}

static int set_policy(struct eg_supervisor *s, struct eg_generation *g, struct eg_error *e)
{
	size_t policies, names, rules = 0;
	const struct eg_policy *p = eg_policies(g->policies, &policies);
	struct eg_datapath_policy plan = {.generation = g->number};
	struct eg_verdict_rule verdicts[EG_PLAN_KINDS * EG_PLAN_RULES];
	bool planned[EG_PLAN_KINDS] = {false};
	struct eg_cidr *cidrs = NULL;
	int r = number_all(s, g);

	eg_watched_names(g->policies, &names);
	plan.cidr_count = all_cidrs(s, g->policies, &cidrs);
	if (r || !cidrs) {
		r = eg_error_set(e, r ? r : -ENOMEM, "%s",
				 r == -EINVAL ? "a watched name is not a DNS name"
					      : "out of memory");
	} else {
		for (size_t i = 0; i < policies; i++) {
			bool *done = &planned[eg_plan_kind(&p[i])];

			if (!*done)
				rules +=
					eg_plan_verdicts(&p[i], g->policy_ids[i], verdicts + rules);
			*done = true;
		}
		plan.names = g->name_ids;
		plan.name_count = names;
		plan.cidrs = cidrs;
		plan.verdicts = verdicts;
		plan.verdict_count = rules;
		r = eg_datapath_set_policy(s->datapath, &plan, e);
	}
	free(cidrs);
	return r;
}

static void fill_pod(const struct eg_bundle_pod *from, struct eg_pod *to)
{
	*to = (struct eg_pod){.pod_id = from->pod_id,
			      .address_count = (__u8)from->address_count,
			      .state = EG_POD_HELD};
	memcpy(to->address, from->address, from->address_count * sizeof(to->address[0]));
	eg_plan_pod_name(&from->identity, to->name);
}

static void set_pods(struct eg_supervisor *s, const struct eg_generation *g)
{
	size_t policies;
	const struct eg_policy *first = eg_policies(g->policies, &policies);

	for (size_t i = 0; i < g->table->count; i++) {
		const struct eg_table_pod *p = &g->table->pods[i];
		struct eg_selected selected = eg_policy_select(g->policies, &p->pod.identity);
		struct eg_pod pod;

		fill_pod(&p->pod, &pod);
		pod.state = eg_plan_state(&selected);
		pod.flags = eg_plan_flags(&selected, s->o->fail);
		if (selected.what == EG_SELECTION_POLICY)
			pod.policy_id = g->policy_ids[selected.policy - first];
		for (size_t k = 0; k < p->link_count; k++) {
			struct eg_error e = {""};

			if (eg_datapath_set_pod(s->datapath, p->ifindex[k], &pod, &e))
				eg_error("pod %s (link %u): %s", pod.name, p->ifindex[k], e.text);
		}
	}
}

bool eg_link_is_prefixed(const struct eg_supervisor *s, uint32_t link)
{
	char name[IF_NAMESIZE];

	return s->o->link_prefix && if_indextoname(link, name) &&
	       !strncmp(name, s->o->link_prefix, strlen(s->o->link_prefix));
}

/* A link that no pod has any more. With --link-prefix it is unknown again, not free; `named`: it
 * was a pod's, so that it does not become foreign for want of a record. */
static void drop_link(struct eg_supervisor *s, uint32_t link, bool named)
{
	struct eg_pod unknown = {.state = EG_POD_UNKNOWN, .flags = named ? EG_POD_NAMED : 0};
	struct eg_error e = {""};

	if (eg_datapath_remove_pod(s->datapath, link, &e))
		eg_warn("link %u: %s", link, e.text);
	if (eg_link_is_prefixed(s, link) && eg_datapath_set_pod(s->datapath, link, &unknown, &e))
		eg_warn("link %u: %s", link, e.text);
}

static void drop_pods(struct eg_supervisor *s, const struct eg_table *before,
		      const struct eg_table *now)
{
	for (size_t i = 0; before && i < before->count; i++)
		for (size_t k = 0; k < before->pods[i].link_count; k++)
			if (!eg_table_by_link(now, before->pods[i].ifindex[k]))
				drop_link(s, before->pods[i].ifindex[k], true);
}

/* Whether a record has a place whose links could not be looked for, or have just come. */
static bool has_unseen(struct eg_supervisor *s, const struct eg_table *t)
{
	for (size_t i = 0; i < t->count; i++) {
		const struct eg_table_pod *p = &t->pods[i];
		uint32_t ifindex[EG_TABLE_LINKS];
		size_t count;

		if (!p->link_count && !p->taken && p->netns &&
		    eg_datapath_find_links(s->datapath, p->netns, ifindex, EG_TABLE_LINKS, &count,
					   NULL) != -ENOENT)
			return true;
	}
	return false;
}

void eg_offer_foreign(struct eg_supervisor *s)
{
	struct eg_error e = {""};

	if (eg_tables_are_ours(s) && s->o->link_prefix && s->applied.number && s->table &&
	    s->table->complete && !has_unseen(s, s->table) &&
	    eg_datapath_set_foreign(s->datapath, FOREIGN_GRACE_MS, &e))
		eg_warn("%s", e.text);
}

void eg_offer_hold_new(struct eg_supervisor *s)
{
	/* What an earlier egretd governed stays so until the first generation is applied. */
	if (!eg_tables_are_ours(s) || (!s->applied.number && eg_datapath_adopted(s->datapath)))
		return;
	for (size_t i = 0; s->table && i < s->table->count; i++) {
		const struct eg_table_pod *p = &s->table->pods[i];
		struct eg_pod pod;

		fill_pod(&p->pod, &pod);
		for (size_t k = 0; k < p->link_count; k++) {
			struct eg_error e = {""};

			if (!eg_table_by_link(s->applied.table, p->ifindex[k]) &&
			    eg_datapath_set_pod(s->datapath, p->ifindex[k], &pod, &e))
				eg_error("pod %s (link %u): %s", pod.name, p->ifindex[k], e.text);
		}
	}
}

struct former {
	uint32_t ifindex[4096];
	struct eg_pod pod[4096];
	size_t count;
	const struct eg_table *now;
};

static bool collect_former(void *context, uint32_t ifindex, const struct eg_pod *pod)
{
	struct former *f = context;

	if (f->count < EG_ARRAY_SIZE(f->ifindex) && !eg_table_by_link(f->now, ifindex)) {
		f->pod[f->count] = *pod;
		f->ifindex[f->count++] = ifindex;
	}
	return true;
}

/*
 * A link of an earlier egretd's pod that no file names, while some can't be used: its own may be
 * among them. A typing error must not let it go; its policy is not known. False: there is no link.
 */
static bool hold_former(struct eg_supervisor *s, uint32_t link, struct eg_pod *pod, size_t refused)
{
	char name[IF_NAMESIZE];
	struct eg_error e = {""};

	if (!if_indextoname(link, name))
		return false;
	if (pod->state != EG_POD_GOVERNED)
		return true; /* stays as it was */
	pod->state = EG_POD_HELD;
	pod->flags = 0;
	pod->policy_id = 0;
	pod->since_ns = 0;
	if (eg_datapath_set_pod(s->datapath, link, pod, &e)) {
		eg_error("pod %s (link %s): %s", pod->name, name, e.text);
		return true;
	}
	eg_warn("pod %s (link %s) is held, as no file names it and %zu can't be used", pod->name,
		name, refused);
	return true;
}

/* Pods that went while no egretd ran: an earlier one left them in the kernel's table. */
static void drop_former(struct eg_supervisor *s, const struct eg_table *now)
{
	struct former *f = calloc(1, sizeof(*f));
	struct eg_pins *pins = NULL;
	struct eg_error e = {""};
	int r = f ? eg_pins_open(s->o->pin_dir, &pins, &e) : -ENOMEM;

	if (!r) {
		f->now = now;
		r = eg_pins_pods(pins, collect_former, f, &e);
		eg_pins_close(pins);
	}
	if (r)
		eg_warn("pods of an earlier egretd may still be in the kernel's table: %s", e.text);
	s->former_left = false;
	for (size_t i = 0; !r && i < f->count; i++) {
		struct eg_pod *pod = &f->pod[i];

		if (now->refused && hold_former(s, f->ifindex[i], pod, now->refused))
			s->former_left = true;
		else if (now->complete && pod->state == EG_POD_FOREIGN &&
			 eg_link_is_prefixed(s, f->ifindex[i]))
			continue; /* it was no pod's before, and is none's now */
		else
			drop_link(s, f->ifindex[i], pod->pod_id || pod->flags & EG_POD_NAMED);
	}
	free(f);
}

/* The numbers that the kernel's tables have of this set already. */
static void keep_numbers(struct eg_supervisor *s, struct eg_generation *g)
{
	free(g->policy_ids);
	free(g->name_ids);
	g->policy_ids = s->applied.policy_ids;
	g->name_ids = s->applied.name_ids;
	s->applied.policy_ids = s->applied.name_ids = NULL;
}

/*
 * A set that could not be written leaves a part of itself in the tables: then the last good one,
 * which is offered again, is written again, too (datapath.h). When that fails as well, pods stay
 * where they are, since all of it that they need is still there, and it is tried again later.
 */
static int apply(struct eg_supervisor *s, struct eg_generation *g, struct eg_error *e)
{
	uint64_t node = eg_node_addresses_hash();
	bool in_force = g->policies == s->applied.policies;
	bool same = in_force && node == s->node_hash && !s->resync && !s->half_written;
	int r = same ? 0 : set_policy(s, g, e);

	s->half_written = r;
	if (r && (!in_force || s->resync))
		return r;
	if (r)
		eg_error("the policy in force could not be written again: %s; it is tried again "
			 "within 10 s",
			 e->text);
	else
		s->node_hash = node;
	if (same || r)
		keep_numbers(s, g);
	set_pods(s, g);
	eg_host_pods_set(s, g);
	if (s->applied.number)
		drop_pods(s, s->applied.table, g->table);
	if (s->resync || s->former_left || (!s->applied.number && eg_datapath_adopted(s->datapath)))
		drop_former(s, g->table);
	s->resync = false;
	if (!same && !r && eg_datapath_prune(s->datapath, e))
		eg_warn("what the policy no longer has could not be removed: %s", e->text);
	eg_generation_fini(&s->applied);
	s->applied = *g;
	*g = (struct eg_generation){.number = 0};
	return 0;
}

/* Back to what is applied: the directory's content stays refused until it changes. */
static void refuse(struct eg_supervisor *s, struct eg_policy_set *set, const char *why)
{
	eg_error("policy %s is refused, the last good one stays: %s", eg_policy_version(set), why);
	eg_str_copy(s->last_error, sizeof(s->last_error), eg_str_from(why));
	s->rejected++;
	s->policy_valid = false;
	eg_report_policy_refused(s, "the last good one stays in force", why);
	eg_handover_give_up(s, why);
}

void eg_offer_acknowledged(struct eg_supervisor *s, uint32_t number)
{
	struct eg_error e = {""};
	bool swapped;

	if (!s->offered.number || number != s->offered.number)
		return;
	if (s->charge == EG_CHARGE_GIVEN)
		return;
	if (s->charge == EG_CHARGE_GIVING) {
		/* It serves; the tables are another's. When they come back all is offered anew. */
		s->serving = true;
		s->lost_ms = 0;
		s->dirty = true;
		eg_generation_fini(&s->offered);
		eg_heartbeat_serves(s);
		return;
	}
	swapped = s->offered.policies != s->applied.policies;
	if (apply(s, &s->offered, &e)) {
		if (s->offered.loaded == s->applied.loaded) {
			eg_error("the policy in force could not be written: %s; it is tried again "
				 "within 10 s",
				 e.text);
			eg_generation_fini(&s->offered);
			return;
		}
		refuse(s, s->offered.policies, e.text);
		eg_reload_back(s);
		eg_generation_fini(&s->offered);
		eg_offer(s);
		return;
	}
	s->serving = true;
	s->lost_ms = 0;
	eg_renewal_acknowledged(s);
	eg_heartbeat_serves(s);
	if (swapped) {
		s->loaded_wall_ms = eg_wall_ms();
		eg_info("generation %u: policy %s is in force", number,
			eg_policy_version(s->applied.policies));
	}
	eg_report_policy_mended(s);
	eg_signer_names(s);
	if (s->dirty)
		eg_offer(s);
}

void eg_offer_refused(struct eg_supervisor *s, uint32_t number, const char *why)
{
	if (!s->offered.number || number != s->offered.number)
		return;
	if (s->offered.loaded == s->applied.loaded) {
		eg_generation_fini(&s->offered);
		eg_error("gateway refused generation %u: %s", number, why);
		eg_child_kill(s->gateway, "it refused a policy that is in force");
		return;
	}
	refuse(s, s->offered.policies, why);
	eg_reload_back(s);
	eg_generation_fini(&s->offered);
	eg_offer(s);
}

void eg_offer_addresses(struct eg_supervisor *s, const struct eg_wire_addresses *a,
			uint32_t ifindex)
{
	const struct eg_watched_name *names;
	struct eg_error e = {""};
	size_t count, refused = 0;
	int r = 0;

	if (!eg_tables_are_ours(s) || !s->applied.number || a->count > EG_WIRE_ADDRESSES ||
	    !memchr(a->name, '\0', sizeof(a->name)))
		return;
	names = eg_watched_names(s->applied.policies, &count);
	for (size_t i = 0; i < count; i++) {
		if (strcmp(names[i].text, a->name) != 0)
			continue;
		if (ifindex)
			r = eg_datapath_learn(s->datapath, ifindex, s->applied.name_ids[i],
					      a->address, a->count, (uint64_t)a->ttl_s * 1000, &e);
		else
			r = eg_datapath_set_resolved(s->datapath, s->applied.name_ids[i],
						     a->address, a->count,
						     (uint64_t)a->ttl_s * 1000, &refused, &e);
		if (r)
			eg_warn("addresses of %s: %s", a->name, e.text);
		if (refused)
			eg_debug("%zu addresses of %s are never governed (loopback, node, pod...)",
				 refused, a->name);
		s->addresses_refused += refused;
		return;
	}
}
