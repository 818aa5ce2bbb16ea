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

static void doubt(const struct eg_join_api *api, const struct eg_identity *pod, const char *why)
{
	if (api->doubted)
		api->doubted(api->context, pod, why);
}

/* Of a pod whose uid no object has: its mirror, if it is a static one. */
static const struct eg_kube_pod *find_mirror(const struct eg_join_api *api,
					     const struct eg_identity *id)
{
	const struct eg_kube_pod *found;
	size_t claims = 0;

	if (!api->mirror)
		return NULL;
	found = api->mirror(api->context, id->uid, &claims);
	if (claims > 1) {
		doubt(api, id, "more than one object says that it is its mirror");
	} else if (found && (strcmp(found->identity.namespace_name, id->namespace_name) != 0 ||
			     strcmp(found->identity.name, id->name) != 0)) {
		doubt(api, id, "an object of another name says that it is its mirror");
		found = NULL;
	}
	return found;
}

int eg_join_pods(struct eg_pod_list *list, const struct eg_join_api *api)
{
	int r = 0;

	for (size_t i = 0; !r && i < list->count; i++) {
		struct eg_identity *id = &list->pods[i].identity;
		const struct eg_kube_pod *pod = api->pod(api->context, id->uid);

		if (!pod)
			pod = find_mirror(api, id);
		if (pod)
			r = fill_pod(list->memory, &pod->identity, id);
		if (!r)
			r = fill_namespace(list->memory, api, id);
	}
	return r;
}
