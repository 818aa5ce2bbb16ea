/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/join.h"

#include "base/arena.h"

/* The sources' strings are theirs: the list gets its own. */
static int copy_labels(struct eg_arena *a, const struct eg_label *from, size_t count,
		       const struct eg_label **to, size_t *to_count)
{
	struct eg_label *copy = eg_arena_zalloc(a, (count + 1) * sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		copy[i].key = eg_arena_dup(a, eg_str_from(from[i].key));
		copy[i].value = eg_arena_dup(a, eg_str_from(from[i].value));
		if (!copy[i].key || !copy[i].value)
			return -ENOMEM;
	}
	*to = copy;
	*to_count = count;
	return 0;
}

static int fill_labels(struct eg_arena *a, const struct eg_identity *known, struct eg_identity *id)
{
	int r;

	if (known->labels_unknown)
		return 0;
	r = copy_labels(a, known->labels, known->label_count, &id->labels, &id->label_count);
	if (!r)
		id->labels_unknown = false;
	return r;
}

static int fill_account(struct eg_arena *a, const struct eg_identity *known, struct eg_identity *id)
{
	const char *copy;

	if (known->service_account_unknown)
		return 0;
	copy = eg_arena_dup(a, eg_str_from(known->service_account));
	if (!copy)
		return -ENOMEM;
	id->service_account = copy;
	id->service_account_unknown = false;
	return 0;
}

static int fill_namespace(struct eg_arena *a, const struct eg_join_sources *s,
			  const struct eg_identity *former, struct eg_identity *id)
{
	const struct eg_label *labels;
	size_t count;
	int r;

	if (!s->namespace_labels(s->context, id->namespace_name, &labels, &count)) {
		if (!former || former->namespace_labels_unknown)
			return 0;
		labels = former->namespace_labels;
		count = former->namespace_label_count;
	}
	r = copy_labels(a, labels, count, &id->namespace_labels, &id->namespace_label_count);
	if (!r)
		id->namespace_labels_unknown = false;
	return r;
}

int eg_join_pods(struct eg_pod_list *list, const struct eg_join_sources *s)
{
	int r = 0;

	for (size_t i = 0; !r && i < list->count; i++) {
		struct eg_identity *id = &list->pods[i].identity;
		const struct eg_kube_pod *pod = s->pod(s->context, id->uid);
		const struct eg_identity *former = s->former(s->context, id->uid);
		const struct eg_identity *known = pod ? &pod->identity : former;

		if (known)
			r = fill_labels(list->memory, known, id);
		if (!r && known)
			r = fill_account(list->memory, known, id);
		if (!r)
			r = fill_namespace(list->memory, s, former, id);
	}
	return r;
}
