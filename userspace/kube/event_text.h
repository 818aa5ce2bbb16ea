/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A series as the API wants it (events.k8s.io/v1; what a server checks is in
 * pkg/apis/core/validation/events.go of Kubernetes). Pure.
 */
#ifndef EGRET_KUBE_EVENT_TEXT_H
#define EGRET_KUBE_EVENT_TEXT_H

#include "base/buf.h"
#include "kube/correlate.h"

#define KUBE_CONTROLLER	    "egretd" /* reportingController: a qualified name */
#define KUBE_INSTANCE_BYTES 128u     /* reportingInstance (ReportingInstanceLengthLimit) */

/* Who reports, and whose Node it is. Borrowed. */
struct kube_reporter {
	const char *node, *instance;
};

/* Where it is created, or where it is. 0 or as eg_buf_append(). */
int kube_event_target(struct eg_buf *out, const struct kube_series *s, bool update) EG_MUST;
/* The whole object, for POST. Of the note only ASCII stays, without control characters, so that its
 * characters are its bytes. 0 or as eg_buf_append(). */
int kube_event_create(struct eg_buf *out, const struct kube_series *s,
		      const struct kube_reporter *r) EG_MUST;
/* A merge patch: nothing but `series` may change. 0 or as eg_buf_append(). */
int kube_event_update(struct eg_buf *out, const struct kube_series *s) EG_MUST;

#endif
