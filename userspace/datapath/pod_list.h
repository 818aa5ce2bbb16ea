/* SPDX-License-Identifier: Apache-2.0 */
/* The pods that a directory of files describes, whichever form the files have (pods_dir.h,
 * cni_dir.h). */
#ifndef EGRET_DATAPATH_POD_LIST_H
#define EGRET_DATAPATH_POD_LIST_H

#include "base/base.h"
#include "base/error.h"
#include "egret/abi/maps.h"
#include "policy/identity.h"

struct eg_arena;

struct eg_pod_entry {
	struct eg_identity identity; /* strings owned by the list */
	struct eg_address addresses[EG_POD_ADDRESSES];
	size_t address_count;  /* 0: ask eg_datapath_pod_addresses() */
	size_t addresses_more; /* that the files have and found no room */
	const char *netns;     /* exactly one of netns and interface is not NULL */
	const char *interface;
	const char *file; /* name within the directory */
};

struct eg_pod_list {
	struct eg_pod_entry *pods;
	size_t count;
	struct eg_error *errors; /* one for each file that was refused: it keeps its former pod */
	size_t error_count;
	/* What was passed over: files that describe no pod of this node, and what newer ones say
	 * otherwise. A file that may describe one all the same is `doubtful`: a link may be its. */
	size_t passed_over, doubtful;
	struct eg_error passed; /* about one of them, a doubtful one if there is any */
	bool absent;		/* the directory is not there yet: nothing was read */
	bool complete; /* it has every pod of the node: a link that is none of theirs is no pod's */
	struct eg_arena *memory; /* of all strings */
};

void eg_pod_list_fini(struct eg_pod_list *list);
/* Room for so many pods and errors. -ENOMEM; the list is then empty. */
int eg_pod_list_init(struct eg_pod_list *list, size_t room) EG_MUST;
/* -EEXIST when both claim one uid, link, namespace or address. */
int eg_pods_check_twin(const struct eg_pod_entry *p, const struct eg_pod_entry *other,
		       struct eg_error *error) EG_MUST;

#endif
