/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/observe_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/plan.h"
#include "base/log.h"
#include "provider/provider.h"

#define NAMES_MAX 16384 /* places of the kernel's table */

static bool add(struct eg_observer *ob, uint32_t *ids, size_t *count, const char *text)
{
	uint32_t id = *count < NAMES_MAX ? eg_datapath_name_id(ob->s.datapath, text) : 0;

	for (size_t i = 0; id && i < *count; i++)
		if (ids[i] == id)
			return false;
	if (id)
		ids[(*count)++] = id;
	return id;
}

/* What policy's own ranges are, behind those that --forbid names. */
static size_t all_cidrs(const struct eg_observer *ob, const struct eg_policy_set *set,
			struct eg_cidr **out)
{
	size_t governed = 0, n = ob->s.o->forbid_count;
	const char *const *texts = set ? eg_policy_cidrs(set, &governed) : NULL;

	*out = calloc(n + governed + 1, sizeof(**out));
	if (!*out)
		return 0;
	memcpy(*out, ob->s.o->forbid, n * sizeof(**out));
	for (size_t i = 0; i < governed; i++)
		n += !eg_plan_cidr(eg_str_from(texts[i]), false, &(*out)[n]);
	return n;
}

static int apply(struct eg_observer *ob, const struct eg_policy_set *set, struct eg_error *e)
{
	struct eg_datapath_policy plan = {.generation = ++ob->s.generation};
	EG_CLEANUP_FREE uint32_t *ids = calloc(NAMES_MAX, sizeof(*ids));
	EG_CLEANUP_FREE struct eg_cidr *cidrs = NULL;
	const struct eg_watched_name *own = NULL;
	char text[EG_KNOWN_NAME];
	size_t own_count = 0;
	int r;

	plan.cidr_count = all_cidrs(ob, set, &cidrs);
	if (!ids || !cidrs)
		return eg_error_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; eg_known_name(i, text); i++)
		(void)add(ob, ids, &plan.name_count, text);
	ob->own_names = 0;
	if (set)
		own = eg_watched_names(set, &own_count);
	for (size_t i = 0; i < own_count; i++)
		ob->own_names += add(ob, ids, &plan.name_count, own[i].text);
	plan.names = ids;
	plan.cidrs = cidrs;
	ob->names = plan.name_count;
	r = eg_datapath_set_policy(ob->s.datapath, &plan, e);
	return r ? r : eg_datapath_prune(ob->s.datapath, e);
}

static void refuse(struct eg_observer *ob, const char *why)
{
	if (strcmp(ob->names_error, why) != 0)
		eg_warn("%s; its names are not watched beside those that Egret knows by itself",
			why);
	eg_str_copy(ob->names_error, sizeof(ob->names_error), eg_str_from(why));
}

/* NULL: there is none, or none that can be used. */
static struct eg_policy_set *compile(struct eg_observer *ob, const struct eg_source *source)
{
	struct eg_policy_errors errors = {.item = NULL};
	struct eg_policy_set *set = NULL;
	char why[EG_WIRE_TEXT];

	ob->names_error[0] = '\0';
	if (eg_policy_load(source->files, source->count, &set, &errors)) {
		const struct eg_policy_error *first = NULL;

		for (size_t i = 0; i < errors.count && !first; i++)
			if (!errors.item[i].warning)
				first = &errors.item[i];
		set = NULL;
		snprintf(why, sizeof(why), "the policy in %.100s is refused: %.60s %.60s: %.120s",
			 ob->s.o->policy_dir, first ? first->file : "", first ? first->path : "",
			 first ? first->text : "out of memory");
		refuse(ob, why);
	}
	eg_policy_errors_fini(&errors);
	return set;
}

int eg_observe_names(struct eg_observer *ob, struct eg_error *e)
{
	const struct eg_options *o = ob->s.o;
	struct eg_policy_set *set;
	struct eg_source source;
	struct eg_error why = {""};
	int r;

	if (!o->policy_dir_given && access(o->policy_dir, F_OK)) {
		if (ob->names)
			return 0;
		return apply(ob, NULL, e);
	}
	if (eg_source_read(o->policy_dir, &source, &why)) {
		refuse(ob, why.text);
		return ob->names ? 0 : apply(ob, NULL, e);
	}
	if (ob->source_known && eg_source_equal(&ob->source, &source)) {
		eg_source_fini(&source);
		return 0;
	}
	if (ob->source_known)
		eg_source_fini(&ob->source);
	ob->source = source;
	ob->source_known = true;
	set = compile(ob, &ob->source);
	if (!set && ob->names)
		return 0; /* the names of the last good one go on */
	r = apply(ob, set, e);
	eg_policy_set_unref(set);
	return r;
}
