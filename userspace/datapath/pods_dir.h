/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --pods-dir: a directory of *.json, one pod a file, for laptops, tests and plain VMs:
 *	{"namespace": "shop", "name": "a", "uid": "u1", "labels": {"app": "x"},
 *	 "namespaceLabels": {"team": "y"}, "serviceAccount": "sa", "ips": ["10.1.0.2"],
 *	 "netns": "/run/netns/a"}	or "interface": "veth0"
 * Strict: an unknown or duplicate key, a wrong type, a uid or address or link that another file
 * has, is an error that names file, JSON path and what was expected. A bad file never hides the
 * others. One thread.
 */
#ifndef EGRET_DATAPATH_PODS_DIR_H
#define EGRET_DATAPATH_PODS_DIR_H

#include "datapath/pod_list.h"

struct eg_pods_dir;

/* Opens and begins to watch. -ENOENT, -ENOTDIR... */
int eg_pods_dir_open(const char *path, struct eg_pods_dir **out, struct eg_error *error) EG_MUST;
void eg_pods_dir_close(struct eg_pods_dir *d);
/* Readable when the directory changed: call changed(), and read() when it says so. */
int eg_pods_dir_fd(const struct eg_pods_dir *d);
/* Empties the watch; true when something was in it. */
bool eg_pods_dir_changed(struct eg_pods_dir *d);
/* The whole directory as it is now. A file that is refused is in errors; sorted by
 * file name. The caller frees *out. */
int eg_pods_dir_read(struct eg_pods_dir *d, struct eg_pod_list *out,
		     struct eg_error *error) EG_MUST;
/* One file's text; strings go into memory. 0, or -EINVAL and a sentence that begins with `file`. */
int eg_pods_parse(const char *file, const char *text, size_t bytes, struct eg_arena *memory,
		  struct eg_pod_entry *out, struct eg_error *error) EG_MUST;

#endif
