/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reports become Events of the API: one request at a time, from the loop, with a gap between two
 * and a back-off when the API does not take them. The correlator is the queue.
 */
#ifndef EGRET_KUBE_EVENTS_H
#define EGRET_KUBE_EVENTS_H

#include "kube/correlate.h"
#include "kube/event_text.h"
#include "kube/get.h"

struct kube_events;
/* A sentence for the log, once for each state. */
typedef void kube_events_said(struct kube_events *e, bool bad, const char *sentence);

struct kube_events {
	struct kube_api *api;
	kube_events_said *said;
	bool on;
	struct kube_reporter who;
	char instance[KUBE_INSTANCE_BYTES + 1];
	struct kube_correlator queue;
	struct kube_get get;
	struct kube_series *writing; /* NULL: none is */
	struct eg_timer next;
	uint64_t not_before_ms; /* of loop time: a gap, or a back-off */
	unsigned int tries;	/* since one was taken */
	bool told, told_not_taken;
	uint64_t random;
	struct eg_kube_events_status status; /* what is counted here */
};

/* A DNS subdomain (RFC 1123 as Kubernetes takes it), which stands in a query or path as it is. */
bool kube_is_subdomain(const char *s);

/* node is borrowed; `on` false: nothing that is reported is kept. */
void kube_events_open(struct kube_events *e, struct kube_api *api, bool on, const char *node,
		      kube_events_said *said);
/* What waits is lost. */
void kube_events_close(struct kube_events *e);
void kube_events_report(struct kube_events *e, const struct eg_kube_report *r);
void kube_events_status(const struct kube_events *e, struct eg_kube_events_status *out);

#endif
