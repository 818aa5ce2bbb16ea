/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/join.h"

#include "base/arena.h"

/* The API's strings are the client's until it returns to the loop: the list gets its own. */
static int fill_pod(struct eg_arena *a, const struct eg_identity *known, struct eg_identity *id)
{
	id->service_account = eg_arena_dup(a, eg_str_from(known->service_account));
	id->labels = eg_labels_copy(a, known->labels, known->label_count);
	id->label_count = known->label_count;
	id->labels_unknown = id->service_account_unknown = false;
	return id->service_account && id->labels ? 0 : -ENOMEM;
}

static int fill_namespace(struct eg_arena *a, const struct eg_join_api *api, struct eg_identity *id)
{
	const struct eg_label *labels;

	if (!api->namespace_labels(api->context, id->namespace_name, &labels,
				   &id->namespace_label_count))
		return 0;
	id->namespace_labels = eg_labels_copy(a, labels, id->namespace_label_count);
	id->namespace_labels_unknown = false;
	return id->namespace_labels ? 0 : -ENOMEM;
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
