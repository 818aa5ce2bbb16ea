/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/table.h"

#include <net/if.h>
#include <stdlib.h>

#include "base/log.h"

#define FOUND_MAX 64 /* addresses of one link that are looked at */

static const char *copy(struct eg_arena *a, const char *s)
{
	return s ? eg_arena_dup(a, eg_str_from(s)) : NULL;
}

static int copy_identity(struct eg_arena *a, const struct eg_identity *from, struct eg_identity *to)
{
	*to = *from; /* what is no pointer */
	to->namespace_name = copy(a, from->namespace_name);
	to->name = copy(a, from->name);
	to->uid = copy(a, from->uid);
	to->service_account = copy(a, from->service_account ? from->service_account : "");
	to->labels = eg_labels_copy(a, from->labels, from->label_count);
	to->namespace_labels =
		eg_labels_copy(a, from->namespace_labels, from->namespace_label_count);
	return to->namespace_name && to->name && to->uid && to->service_account && to->labels &&
			       to->namespace_labels
		       ? 0
		       : -ENOMEM;
}

static uint32_t number(struct eg_datapath *d, const struct eg_table *former, const char *uid)
{
	const struct eg_table_pod *before = eg_table_by_uid(former, uid);

	return before ? before->pod.pod_id : eg_datapath_new_pod_id(d);
}

/* Two files may name one link in two ways; of them the first by name has it. */
static void leave_taken(const struct eg_table *t, struct eg_table_pod *p,
			const struct eg_table_pod *before)
{
	size_t kept = 0;

	for (size_t i = 0; i < p->link_count; i++) {
		const struct eg_table_pod *other = eg_table_by_link(t, p->ifindex[i]);
		char name[IF_NAMESIZE] = "?";

		if (!other) {
			p->ifindex[kept++] = p->ifindex[i];
			continue;
		}
		(void)if_indextoname(p->ifindex[i], name);
		if (!p->taken++ && !(before && before->taken))
			eg_warn("%s: the link %s is pod %s/%s's already, by %s; nothing of pod "
				"%s/%s "
				"is captured on it",
				p->file, name, other->pod.identity.namespace_name,
				other->pod.identity.name, other->file,
				p->pod.identity.namespace_name, p->pod.identity.name);
	}
	p->link_count = kept;
}

static void find_links(const struct eg_table *t, struct eg_datapath *d, struct eg_table_pod *p,
		       const struct eg_table *former)
{
	const struct eg_table_pod *before = eg_table_by_uid(former, p->pod.identity.uid);
	struct eg_error e = {""};
	size_t count = 0;

	p->link_count = p->links_found = p->taken = 0;
	if (p->interface) {
		p->ifindex[0] = if_nametoindex(p->interface);
		p->link_count = p->ifindex[0] && !eg_datapath_can_be_pods(d, p->ifindex[0], &e);
	} else if (p->netns &&
		   !eg_datapath_find_links(d, p->netns, p->ifindex, EG_TABLE_LINKS, &count, &e)) {
		/* They are looked for every 10 s; it is said once. */
		if (count > EG_TABLE_LINKS && (!before || before->links_found != count))
			eg_warn("pod %s/%s has %zu links; only %d are governed",
				p->pod.identity.namespace_name, p->pod.identity.name, count,
				EG_TABLE_LINKS);
		p->links_found = count;
		p->link_count = EG_MIN(count, (size_t)EG_TABLE_LINKS);
	}
	leave_taken(t, p, before);
}

static bool same_text(const char *a, const char *b)
{
	return a && b && !strcmp(a, b);
}

/* Whether both files name the same link or namespace. */
static bool same_place(const struct eg_table_pod *a, const struct eg_table_pod *b)
{
	return (same_text(a->interface, b->interface) || (!a->interface && !b->interface)) &&
	       (same_text(a->netns, b->netns) || (!a->netns && !b->netns));
}

static bool was_linkless(const struct eg_table *former, const struct eg_table_pod *p)
{
	const struct eg_table_pod *before = eg_table_by_uid(former, p->pod.identity.uid);

	return before && !before->link_count && same_place(before, p);
}

void eg_table_say_linkless(const struct eg_table *t, struct eg_datapath *d,
			   const struct eg_table *former)
{
	for (size_t i = 0; i < t->count; i++) {
		const struct eg_table_pod *p = &t->pods[i];
		uint32_t ifindex[EG_TABLE_LINKS];
		struct eg_error e = {""};
		size_t count;

		if (p->link_count || p->taken || was_linkless(former, p))
			continue;
		if (p->interface && (ifindex[0] = if_nametoindex(p->interface))) {
			if (eg_datapath_can_be_pods(d, ifindex[0], &e))
				eg_warn("pod %s/%s: nothing of it is captured on what %s names: %s",
					p->pod.identity.namespace_name, p->pod.identity.name,
					p->file, e.text);
			continue;
		}
		if (p->interface)
			eg_error_set(&e, -ENODEV, "there is no link %s", p->interface);
		else if (!eg_datapath_find_links(d, p->netns, ifindex, EG_TABLE_LINKS, &count, &e))
			continue; /* it has just come */
		eg_warn("pod %s/%s: %s, which %s names: nothing of the pod is captured until there "
			"is",
			p->pod.identity.namespace_name, p->pod.identity.name, e.text, p->file);
	}
}

static bool has_address(const struct eg_address *addresses, size_t count,
			const struct eg_address *a)
{
	for (size_t i = 0; i < count; i++)
		if (!memcmp(&addresses[i], a, sizeof(*a)))
			return true;
	return false;
}

/* The sentence about a refused file begins with its name. */
static bool is_refused(const struct eg_pod_list *list, const char *file)
{
	size_t n = strlen(file);

	for (size_t i = 0; i < list->error_count; i++)
		if (!strncmp(list->errors[i].text, file, n) && list->errors[i].text[n] == ':')
			return true;
	return false;
}

/* Whether the pod is still there: by its file, or by a file that is refused now. */
static bool is_listed(const struct eg_pod_list *list, const struct eg_table_pod *former)
{
	for (size_t i = 0; i < list->count; i++)
		if (!strcmp(list->pods[i].identity.uid, former->pod.identity.uid))
			return true;
	return is_refused(list, former->file);
}

/*
 * Whether an address that was found on a pod's link is another pod's: by that pod's file, or
 * because that pod had it first (`before`: this pod in `former`, or NULL). Whoever may add
 * addresses in its own namespace would else be believed to be the other, and get its answers.
 */
static bool is_anothers(const struct eg_table *t, const struct eg_pod_list *list,
			const struct eg_table *former, const char *uid,
			const struct eg_table_pod *before, const struct eg_address *a)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->pods[i].identity.uid, uid) != 0 &&
		    has_address(list->pods[i].addresses, list->pods[i].address_count, a))
			return true;
	for (size_t i = 0; i < t->count; i++)
		if (has_address(t->pods[i].pod.address, t->pods[i].pod.address_count, a))
			return true;
	if (before && has_address(before->pod.address, before->pod.address_count, a))
		return false;
	for (size_t i = 0; former && i < former->count; i++)
		if (strcmp(former->pods[i].pod.identity.uid, uid) != 0 &&
		    has_address(former->pods[i].pod.address, former->pods[i].pod.address_count,
				a) &&
		    is_listed(list, &former->pods[i]))
			return true;
	return false;
}

/*
 * Whether an address that was found may be a pod's of this node. What is a pod's is taught to no
 * pod as a provider's: one that gives itself such an address would open a way past Egret for all.
 */
static bool is_possible(struct eg_datapath *d, const struct eg_address *a)
{
	return !eg_address_never_pod(a) && !eg_datapath_is_outside(d, a);
}

static void say_addresses(const struct eg_table_pod *p, const struct eg_table_pod *before,
			  size_t count)
{
	if (!before || before->pod.address_count < EG_POD_ADDRESSES)
		eg_warn("pod %s/%s has %zu addresses; what it sends to governed destinations from "
			"others than the first %d is dropped",
			p->pod.identity.namespace_name, p->pod.identity.name, count,
			EG_POD_ADDRESSES);
}

/* Those of all links: on each the pod may send from any of them. */
static void find_addresses(const struct eg_table *t, struct eg_datapath *d, struct eg_table_pod *p,
			   size_t no_room, const struct eg_pod_list *list,
			   const struct eg_table *former)
{
	const struct eg_table_pod *before = eg_table_by_uid(former, p->pod.identity.uid);
	struct eg_address found[FOUND_MAX];
	size_t count = p->pod.address_count;

	if (count) { /* its file has them */
		if (no_room)
			say_addresses(p, before, count + no_room);
		return;
	}
	for (size_t i = 0; i < p->link_count; i++) {
		struct eg_error e = {""};
		size_t more = 0;

		if (eg_datapath_pod_addresses(d, p->ifindex[i], found, FOUND_MAX, &more, &e))
			eg_warn("pod %s/%s: its file has no ips, and they can't be found: %s",
				p->pod.identity.namespace_name, p->pod.identity.name, e.text);
		for (size_t k = 0; k < more; k++) {
			if (k < FOUND_MAX && (!is_possible(d, &found[k]) ||
					      is_anothers(t, list, former, p->pod.identity.uid,
							  before, &found[k]))) {
				p->anothers++;
				continue;
			}
			if (k < FOUND_MAX && count < EG_POD_ADDRESSES)
				p->pod.address[count] = found[k];
			count++;
		}
	}
	/* They are read every 10 s; it is said once. */
	if (p->anothers && (!before || before->anothers != p->anothers))
		eg_warn("pod %s/%s has %zu addresses that are another's; what it sends to "
			"governed destinations from them is dropped",
			p->pod.identity.namespace_name, p->pod.identity.name, p->anothers);
	if (count > EG_POD_ADDRESSES)
		say_addresses(p, before, count);
	p->pod.address_count = (uint32_t)EG_MIN(count, (size_t)EG_POD_ADDRESSES);
}

static int add_entry(struct eg_table *t, struct eg_datapath *d, const struct eg_pod_entry *entry,
		     const struct eg_pod_list *list, const struct eg_table *former)
{
	struct eg_table_pod *p = &t->pods[t->count];
	int r = copy_identity(&t->arena, &entry->identity, &p->pod.identity);

	if (r)
		return r;
	p->file = copy(&t->arena, entry->file);
	p->netns = copy(&t->arena, entry->netns);
	p->interface = copy(&t->arena, entry->interface);
	if (!p->file || (entry->netns && !p->netns) || (entry->interface && !p->interface))
		return -ENOMEM;
	p->pod.pod_id = number(d, former, p->pod.identity.uid);
	p->pod.address_count = (uint32_t)EG_MIN(entry->address_count, (size_t)EG_POD_ADDRESSES);
	memcpy(p->pod.address, entry->addresses, p->pod.address_count * sizeof(p->pod.address[0]));
	find_links(t, d, p, former);
	find_addresses(t, d, p, entry->addresses_more, list, former);
	t->count++;
	return 0;
}

static bool share_address(const struct eg_bundle_pod *a, const struct eg_bundle_pod *b)
{
	for (uint32_t i = 0; i < a->address_count; i++)
		if (has_address(b->address, b->address_count, &a->address[i]))
			return true;
	return false;
}

/* A file that can be used says who has this uid, link or address now. */
static bool superseded(const struct eg_table *t, const struct eg_table_pod *old)
{
	for (size_t i = 0; i < t->count; i++) {
		const struct eg_table_pod *p = &t->pods[i];

		if (!strcmp(p->pod.identity.uid, old->pod.identity.uid) ||
		    same_text(p->interface, old->interface) || same_text(p->netns, old->netns) ||
		    share_address(&p->pod, &old->pod))
			return true;
	}
	return false;
}

/* A typing error in its file must not take a running pod out of its policy. */
static int keep_former(struct eg_table *t, struct eg_datapath *d, const struct eg_pod_list *list,
		       const struct eg_table *former)
{
	for (size_t i = 0; former && i < former->count; i++) {
		const struct eg_table_pod *old = &former->pods[i];
		struct eg_pod_entry entry = {.identity = old->pod.identity,
					     .address_count = old->pod.address_count,
					     .netns = old->netns,
					     .interface = old->interface,
					     .file = old->file};
		int r;

		if (!is_refused(list, old->file) || superseded(t, old))
			continue;
		memcpy(entry.addresses, old->pod.address, sizeof(entry.addresses));
		r = add_entry(t, d, &entry, list, former);
		if (r)
			return r;
	}
	return 0;
}

struct eg_table *eg_table_create(struct eg_datapath *d, const struct eg_pod_list *list,
				 const struct eg_table *former)
{
	struct eg_table *t = calloc(1, sizeof(*t));
	int r = 0;

	if (!t)
		return NULL;
	t->references = 1;
	t->refused = list->error_count;
	t->complete = list->complete;
	eg_arena_init(&t->arena, 0);
	t->pods = eg_arena_zalloc(&t->arena, (list->count + (former ? former->count : 0) + 1) *
						     sizeof(*t->pods));
	if (!t->pods)
		r = -ENOMEM;
	for (size_t i = 0; !r && i < list->count; i++)
		r = add_entry(t, d, &list->pods[i], list, former);
	if (!r)
		r = keep_former(t, d, list, former);
	if (r) {
		eg_table_unref(t);
		return NULL;
	}
	return t;
}

struct eg_table *eg_table_ref(struct eg_table *t)
{
	t->references++;
	return t;
}

void eg_table_unref(struct eg_table *t)
{
	if (!t || --t->references)
		return;
	eg_arena_fini(&t->arena);
	free(t);
}

static bool same_labels(const struct eg_label *a, size_t an, const struct eg_label *b, size_t bn)
{
	if (an != bn)
		return false;
	for (size_t i = 0; i < an; i++)
		if (strcmp(a[i].key, b[i].key) != 0 || strcmp(a[i].value, b[i].value) != 0)
			return false;
	return true;
}

static bool same_identity(const struct eg_identity *a, const struct eg_identity *b)
{
	return !strcmp(a->namespace_name, b->namespace_name) && !strcmp(a->name, b->name) &&
	       !strcmp(a->uid, b->uid) && !strcmp(a->service_account, b->service_account) &&
	       same_labels(a->labels, a->label_count, b->labels, b->label_count) &&
	       same_labels(a->namespace_labels, a->namespace_label_count, b->namespace_labels,
			   b->namespace_label_count) &&
	       a->labels_unknown == b->labels_unknown &&
	       a->service_account_unknown == b->service_account_unknown &&
	       a->namespace_labels_unknown == b->namespace_labels_unknown;
}

static bool same_pod(const struct eg_table_pod *a, const struct eg_table_pod *b)
{
	return a->pod.pod_id == b->pod.pod_id && a->link_count == b->link_count &&
	       a->links_found == b->links_found && a->anothers == b->anothers && same_place(a, b) &&
	       a->pod.address_count == b->pod.address_count &&
	       !memcmp(a->ifindex, b->ifindex, a->link_count * sizeof(a->ifindex[0])) &&
	       !memcmp(a->pod.address, b->pod.address,
		       a->pod.address_count * sizeof(a->pod.address[0])) &&
	       same_identity(&a->pod.identity, &b->pod.identity);
}

bool eg_table_equal(const struct eg_table *a, const struct eg_table *b)
{
	if (!a || !b || a->count != b->count)
		return a == b;
	for (size_t i = 0; i < a->count; i++)
		if (!same_pod(&a->pods[i], &b->pods[i]))
			return false;
	return true;
}

const struct eg_table_pod *eg_table_by_uid(const struct eg_table *t, const char *uid)
{
	for (size_t i = 0; t && i < t->count; i++)
		if (!strcmp(t->pods[i].pod.identity.uid, uid))
			return &t->pods[i];
	return NULL;
}

const struct eg_table_pod *eg_table_by_link(const struct eg_table *t, uint32_t ifindex)
{
	for (size_t i = 0; t && i < t->count; i++)
		for (size_t k = 0; k < t->pods[i].link_count; k++)
			if (t->pods[i].ifindex[k] == ifindex)
				return &t->pods[i];
	return NULL;
}
