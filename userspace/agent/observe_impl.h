/* SPDX-License-Identifier: Apache-2.0 */
/* The observer's state and its parts. Private to observe*.c. One thread. */
#ifndef EGRET_AGENT_OBSERVE_IMPL_H
#define EGRET_AGENT_OBSERVE_IMPL_H

#include "agent/observe.h"
#include "agent/supervisor_impl.h"
#include "datapath/read.h"

#define EG_OBSERVE_SERIES 512 /* of one metric; what is more is added up under "other" */

/* One (namespace, provider). Never shrinks, though the kernel's map forgets the oldest rows. */
struct eg_observe_series {
	char namespace_name[64];
	const char *provider;	    /* eg_known_provider() */
	struct eg_talk total, seen; /* seen: the sum of the map's rows when it was read last */
};

struct eg_page_server;

struct eg_observer {
	struct eg_supervisor s; /* loop, datapath, table of pods, control socket; no children */
	struct eg_page_server *page;
	struct eg_timer look; /* at the inventory */
	bool synced;	      /* pods were read once */

	/* observe_names.c */
	struct eg_source source;
	bool source_known;
	size_t names, own_names; /* watched; of these from policy files alone */
	char names_error[EG_WIRE_TEXT];

	/* observe_inventory.c */
	uint64_t *told; /* hashes of pods and providers that were logged: a set, 0 is no member */
	size_t told_count;
	bool told_full; /* and that was said */
	bool looked;	/* once */
	size_t rows;
	struct eg_observe_series *series;
	size_t series_count;
};

/* observe_names.c: what the kernel watches, of the built-in table and of policy files. A set that
 * can't be used leaves what was, and is said once. */
int eg_observe_names(struct eg_observer *ob, struct eg_error *e) EG_MUST;

/* observe_inventory.c: a line in the log for each pod and name that are new; the metrics' sums. */
void eg_observe_look(struct eg_observer *ob);
void eg_observe_inventory_fini(struct eg_observer *ob);

/* observe_status.c */
int eg_observe_status_json(struct eg_observer *ob, struct eg_buf *out) EG_MUST;
int eg_observe_metrics(struct eg_observer *ob, struct eg_buf *out) EG_MUST;

/* observe_page.c: /metrics, /healthz and /readyz. Takes the listener. */
int eg_observe_page_open(struct eg_observer *ob, struct eg_error *e) EG_MUST;
void eg_observe_page_close(struct eg_observer *ob);

#endif
