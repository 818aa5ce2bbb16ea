/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the supervisor has the pods from: files of --pods-dir, or with --kubernetes the CNI cache
 * joined with the Kubernetes API (join.h); never both. One loop, one thread.
 */
#ifndef EGRET_AGENT_POD_SOURCE_H
#define EGRET_AGENT_POD_SOURCE_H

#include "agent/options.h"
#include "datapath/pod_list.h"
#include "kube/kube.h"
#include "loop/loop.h"

/* In --run-dir: what the Kubernetes API said last, for a start that it does not answer. */
#define EG_KEEP_FILE "kubernetes.jsonl"

struct eg_pod_source;

/* Something changed (or may have): read() a moment later. Never from inside a call. */
typedef void eg_pod_source_changed(void *context);

/* Options are borrowed. 0, or -errno and a sentence that names the option. */
int eg_pod_source_open(struct eg_loop *l, const struct eg_options *o,
		       eg_pod_source_changed *changed, void *context, struct eg_pod_source **out,
		       struct eg_error *e) EG_MUST;
/* NULL is allowed. */
void eg_pod_source_close(struct eg_pod_source *s);
/*
 * All pods as they are now; the caller frees *out. Logs
 * what is wrong with single files when they have changed since it was read last, or `log` is set.
 */
int eg_pod_source_read(struct eg_pod_source *s, bool log, struct eg_pod_list *out,
		       struct eg_error *e) EG_MUST;
/*
 * False: of what is needed to judge pods nothing was said yet, and it is not so long ago that one
 * should go on without. Who takes over from another egretd would else hold what that one governs.
 */
bool eg_pod_source_is_told(const struct eg_pod_source *s);

/* With --kubernetes; else NULL. */
const struct eg_kube *eg_pod_source_kube(const struct eg_pod_source *s);
/* As eg_kube_report(); without --kubernetes nothing happens. */
void eg_pod_source_report(struct eg_pod_source *s, const struct eg_kube_report *r);

#endif
