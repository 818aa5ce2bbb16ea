/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/identity.h"

#include "base/arena.h"

const struct eg_label *eg_labels_copy(struct eg_arena *a, const struct eg_label *from, size_t count)
{
	struct eg_label *labels = eg_arena_zalloc(a, (count + 1) * sizeof(*labels));

	for (size_t i = 0; labels && i < count; i++) {
		labels[i].key = eg_arena_dup(a, eg_str_from(from[i].key));
		labels[i].value = eg_arena_dup(a, eg_str_from(from[i].value));
		if (!labels[i].key || !labels[i].value)
			return NULL;
	}
	return labels;
}
