/* SPDX-License-Identifier: Apache-2.0 */
/* What doctor sees inside pods' network namespaces. Private to doctor_path*.c. */
#ifndef EGRET_EGRETCTL_DOCTOR_PATH_H
#define EGRET_EGRETCTL_DOCTOR_PATH_H

#include "datapath/visit.h"
#include "egretctl/doctor.h"
#include "egretctl/doctor_dial.h"

#define DOCTOR_FAMILIES 2 /* IPv4, IPv6 */

struct doctor_seat {
	bool used; /* the pod has an address of this family, and so has the gateway */
	struct eg_address own;
	struct eg_visit_route route;
	struct doctor_dial dial;
};

struct doctor_pod {
	char name[600];	  /* "namespace/name" */
	uint32_t ifindex; /* the link that led into it; 0: it was not entered */
	struct doctor_seat seat[DOCTOR_FAMILIES];
	struct eg_error why; /* it was not entered */
};

struct doctor_path {
	struct eg_address gateway[DOCTOR_FAMILIES];
	bool has[DOCTOR_FAMILIES]; /* the agent has a gateway's address of this family */
	bool mark;		   /* mark mode */
	const char *wanted;	   /* --pod; NULL: any */
	struct doctor_pod chosen;  /* name "": none */
	size_t governed;
	size_t shut; /* could not be entered */
	size_t late; /* were not looked at: it took too long */
	struct doctor_pod first_shut;
	size_t looked[DOCTOR_FAMILIES], bad[DOCTOR_FAMILIES]; /* ways to the gateway's address */
	struct doctor_pod first_bad[DOCTOR_FAMILIES];
};

/* A router takes what goes there. */
bool doctor_has_way(const struct eg_visit_route *r);
void doctor_say_routes(struct findings *f, const struct doctor_path *p);
/* What came of the chosen pod's connections. The pins tell what the program did with each. */
void doctor_say_connections(struct findings *f, const struct doctor_path *p, struct eg_pins *pins);

#endif
