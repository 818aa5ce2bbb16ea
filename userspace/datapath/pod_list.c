/* SPDX-License-Identifier: Apache-2.0 */
#include "datapath/pod_list.h"

#include <stdlib.h>

#include "base/arena.h"

int eg_pod_list_init(struct eg_pod_list *list, size_t room)
{
	*list = (struct eg_pod_list){.count = 0};
	list->memory = malloc(sizeof(*list->memory));
	list->pods = calloc(room + 1, sizeof(*list->pods));
	list->errors = calloc(room + 1, sizeof(*list->errors));
	if (list->memory)
		eg_arena_init(list->memory, 0);
	if (list->memory && list->pods && list->errors)
		return 0;
	eg_pod_list_fini(list);
	return -ENOMEM;
}

void eg_pod_list_fini(struct eg_pod_list *list)
{
	if (list->memory)
		eg_arena_fini(list->memory);
	free(list->memory);
	free(list->pods);
	free(list->errors);
	*list = (struct eg_pod_list){0};
}

static bool shares_address(const struct eg_pod_entry *a, const struct eg_pod_entry *b,
			   size_t *index)
{
	for (size_t i = 0; i < a->address_count; i++)
		for (size_t k = 0; k < b->address_count; k++)
			if (!memcmp(&a->addresses[i], &b->addresses[k], sizeof(a->addresses[i]))) {
				*index = i;
				return true;
			}
	return false;
}

static bool same(const char *a, const char *b)
{
	return a && b && !strcmp(a, b);
}

int eg_pods_check_twin(const struct eg_pod_entry *p, const struct eg_pod_entry *other,
		       struct eg_error *error)
{
	size_t i;

	if (same(p->identity.uid, other->identity.uid))
		return eg_error_set(error, -EEXIST, "%s: $.uid: %s has the same uid %s", p->file,
				    other->file, p->identity.uid);
	if (same(p->interface, other->interface))
		return eg_error_set(error, -EEXIST, "%s: $.interface: %s has the same link %s",
				    p->file, other->file, p->interface);
	if (same(p->netns, other->netns))
		return eg_error_set(error, -EEXIST, "%s: $.netns: %s has the same namespace %s",
				    p->file, other->file, p->netns);
	if (shares_address(p, other, &i))
		return eg_error_set(error, -EEXIST, "%s: $.ips[%zu]: %s has the same address",
				    p->file, i, other->file);
	return 0;
}
