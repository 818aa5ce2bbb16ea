/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is reported, as few Kubernetes Events as will do, after client-go's EventCorrelator
 * (tools/record/events_cache.go) and its broadcaster of events.k8s.io (tools/events):
 *
 * - Reports that are equal (object, reason, note) are one series: one Event, whose count is brought
 *   up to date now and then, at intervals that double.
 * - Of one object and reason the tenth note begins the combined series, which has all that follow.
 * - An object has so many writes at once, and then one in five minutes. What comes meanwhile is
 *   counted, and written later.
 * - Series and objects are bounded; what finds no place is counted as dropped.
 * - What is of the node goes first and has places of its own: however many pods are denied
 *   something, why that is gets through.
 *
 * Pure: no I/O, no clock. Times are in ms, of any clock that does not go back.
 */
#ifndef EGRET_KUBE_CORRELATE_H
#define EGRET_KUBE_CORRELATE_H

#include "kube/kube.h"

#define KUBE_SERIES_MOST   1024u
#define KUBE_SUBJECTS_MOST 512u
#define KUBE_NODE_PLACES   16u	   /* of the series, that pods can't fill; and one object */
#define KUBE_OWN_NOTES	   9u	   /* of an object and a reason; the next one is combined */
#define KUBE_BURST	   25u	   /* writes of an object at once */
#define KUBE_REFILL_MS	   300000u /* and then one in so long */
#define KUBE_FORGET_MS	   600000u /* a series that nothing came to for so long is over */
#define KUBE_UPDATE_MS	   10000u  /* between the first write and the second; doubles... */
#define KUBE_UPDATE_MOST   300000u /* ...up to this */
#define KUBE_NOTE_BYTES	   1024u   /* what the API takes (NoteLengthLimit) */
#define KUBE_SERIES_NAME   254u	   /* with NUL: a DNS subdomain of 253 */

struct kube_subject {
	struct eg_list link;
	char *namespace_name; /* NULL: the node */
	char *name, *uid;
	uint64_t spent_ms; /* when all writes of it are paid for; may be in the past */
	size_t series_count;
};

struct kube_series {
	struct eg_list link; /* by age */
	struct kube_subject *subject;
	const char *reason, *action; /* static */
	bool warning, combined;
	char *note;
	uint64_t count, written; /* reports; of these, those that the API has */
	bool posted;		 /* the Event is there, as far as is known */
	uint64_t began_wall_ms, seen_wall_ms;
	uint64_t seen_ms, next_ms, interval_ms;
	uint64_t taken; /* `count` as it is being written; 0: it is not */
	char name[KUBE_SERIES_NAME];
};

struct kube_correlator {
	struct eg_list subjects, series;
	size_t subject_count, series_count;
	uint64_t serial;
	uint64_t dropped; /* reports that found no place */
};

enum kube_written {
	KUBE_WRITTEN,	/* the API has it */
	KUBE_AGAIN,	/* it was not to be had: as before */
	KUBE_NOT_TAKEN, /* the API will not take it: for long it is not tried */
	KUBE_NOT_THERE, /* what was to be updated is gone: it is written anew, by another name */
	KUBE_THERE_ALREADY, /* an earlier write whose answer was lost came through */
};

/* serial: any number, so that two processes make different names. */
void kube_correlator_init(struct kube_correlator *c, uint64_t serial);
void kube_correlator_fini(struct kube_correlator *c);
/* What is in *r is copied but for reason and action. 0; -ENOMEM or -ENOSPC: dropped, and counted.
 */
int kube_correlate(struct kube_correlator *c, const struct eg_kube_report *r, uint64_t now_ms,
		   uint64_t wall_ms) EG_MUST;
/* What is to be written now, one at a time: kube_correlator_done() follows. NULL: nothing, and
 * *wait_ms is how long not (UINT64_MAX: until something is reported). */
struct kube_series *kube_correlator_take(struct kube_correlator *c, uint64_t now_ms,
					 uint64_t *wait_ms) EG_MUST;
void kube_correlator_done(struct kube_correlator *c, struct kube_series *s, enum kube_written how,
			  uint64_t now_ms);
/* Series with something that the API has not. */
size_t kube_correlator_waiting(const struct kube_correlator *c);

#endif
