/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pods of this node as of one moment: who they are, which links they have, which number the
 * kernel knows them by. Never changes; a new table is made and takes over numbers by uid. One
 * thread, counted references.
 */
#ifndef EGRET_AGENT_TABLE_H
#define EGRET_AGENT_TABLE_H

#include "agent/bundle.h"
#include "base/arena.h"
#include "base/error.h"
#include "datapath/datapath.h"
#include "datapath/pod_list.h"

#define EG_TABLE_LINKS 4 /* links of one pod that are looked after */

struct eg_table_pod {
	struct eg_bundle_pod pod; /* what the gateway is told */
	const char *file;	  /* that says so */
	const char *netns, *interface;
	uint32_t ifindex[EG_TABLE_LINKS];
	size_t link_count;  /* 0: its link is not there yet */
	size_t links_found; /* more than EG_TABLE_LINKS: the rest is not governed */
	size_t taken;	    /* of its links that an earlier file's pod has */
	size_t anothers;    /* addresses on its links that are another's, and not believed */
};

struct eg_table {
	unsigned int references;
	struct eg_arena arena;
	struct eg_table_pod *pods;
	size_t count, refused; /* refused: files that could not be used */
	bool complete;	       /* as eg_pod_list.complete */
};

/*
 * Out of what the directory holds now. A file that is refused keeps the pod it described before:
 * `former` (may be NULL). Links and addresses are asked of the datapath. NULL: out of memory.
 */
struct eg_table *eg_table_create(struct eg_datapath *d, const struct eg_pod_list *list,
				 const struct eg_table *former) EG_MUST;
struct eg_table *eg_table_ref(struct eg_table *t);
void eg_table_unref(struct eg_table *t);
/* Says of each pod without a link what could not be found, unless it was so in `former` already. */
void eg_table_say_linkless(const struct eg_table *t, struct eg_datapath *d,
			   const struct eg_table *former);
bool eg_table_equal(const struct eg_table *a, const struct eg_table *b);
/* The pod of that uid, or NULL. */
const struct eg_table_pod *eg_table_by_uid(const struct eg_table *t, const char *uid);
/* The pod behind a link, or NULL. */
const struct eg_table_pod *eg_table_by_link(const struct eg_table *t, uint32_t ifindex);

#endif
