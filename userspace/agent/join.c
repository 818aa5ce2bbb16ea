/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/join.h"

#include "base/arena.h"

/* The API's strings are the client's until it returns to the loop: the list gets its own. */
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

static int fill_pod(struct eg_arena *a, const struct eg_identity *known, struct eg_identity *id)
{
	const char *account = eg_arena_dup(a, eg_str_from(known->service_account));

	if (!account ||
	    copy_labels(a, known->labels, known->label_count, &id->labels, &id->label_count))
		return -ENOMEM;
	id->service_account = account;
	id->labels_unknown = id->service_account_unknown = false;
	return 0;
}

static int fill_namespace(struct eg_arena *a, const struct eg_join_api *api, struct eg_identity *id)
{
	const struct eg_label *labels;
	size_t count;

	if (!api->namespace_labels(api->context, id->namespace_name, &labels, &count))
		return 0;
	if (copy_labels(a, labels, count, &id->namespace_labels, &id->namespace_label_count))
		return -ENOMEM;
	id->namespace_labels_unknown = false;
	return 0;
}

int eg_join_pods(struct eg_pod_list *list, const struct eg_join_api *api)
{
	int r = 0;

	for (size_t i = 0; !r && i < list->count; i++) {
		struct eg_identity *id = &list->pods[i].identity;
		const struct eg_kube_pod *pod = api->pod(api->context, id->uid);

		if (pod)
			r = fill_pod(list->memory, &pod->identity, id);
		if (!r)
			r = fill_namespace(list->memory, api, id);
	}
	return r;
}
