/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the API said last, as text in a file, for a start while the API is away: one line of JSON
 * that says whose it is, then a line for each pod and each namespace, as a watch has them.
 */
#ifndef EGRET_KUBE_KEEP_H
#define EGRET_KUBE_KEEP_H

#include "base/buf.h"
#include "base/error.h"
#include "kube/store.h"

#define KUBE_KEEP_BYTES (64u << 20)

/* 0 or as eg_buf_append(). */
int kube_keep_write(const struct kube_store *pods, const struct kube_store *namespaces,
		    const char *node, struct eg_buf *out) EG_MUST;
/*
 * Into stores that are empty. All of it or nothing: -EINVAL, with a reason, when it is another
 * node's, another version's, or damaged; -ENOMEM.
 */
int kube_keep_read(struct eg_str text, const char *node, struct kube_store *pods,
		   struct kube_store *namespaces, struct eg_error *e) EG_MUST;

/* The same from and to a file, 0600, which is there whole or not at all. load(): -ENOENT when there
 * is none. */
int kube_keep_load(const char *path, const char *node, struct kube_store *pods,
		   struct kube_store *namespaces, struct eg_error *e) EG_MUST;
int kube_keep_save(const char *path, const char *node, const struct kube_store *pods,
		   const struct kube_store *namespaces, struct eg_error *e) EG_MUST;

#endif
