/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory of files that describe pods: watched, and followed when another one takes its place.
 * What the files hold is its owner's affair (pods_dir.c, cni_dir.c). Private to this room. One
 * thread.
 */
#ifndef EGRET_DATAPATH_POD_FILES_H
#define EGRET_DATAPATH_POD_FILES_H

#include "base/base.h"
#include "base/error.h"

#define EG_POD_FILES_MAX 4096

struct dirent;

struct eg_pod_files {
	const char *what; /* "the pods directory": for sentences; static */
	char *path;
	int dir;     /* what lies at `path` now; -1: nothing */
	int notify;  /* inotify */
	int watched; /* the watch in it; -1: none */
	bool absent; /* it has never been there, which is no error */
};

/* may_be_absent: a directory that others make later; until then what is above it is watched.
 * 0; -ENOENT, -ENOTDIR... On an error *f is closed. */
int eg_pod_files_open(struct eg_pod_files *f, const char *what, const char *path,
		      bool may_be_absent, struct eg_error *error) EG_MUST;
void eg_pod_files_close(struct eg_pod_files *f);
/* Empties the watch; true when something was in it. */
bool eg_pod_files_changed(struct eg_pod_files *f);
/* The names that are in it now, in order, of those that `wanted` takes (scandir(3)); f->dir is
 * where they are. None, and f->absent: it is not there yet. The caller frees by
 * eg_pod_files_free(). */
int eg_pod_files_names(struct eg_pod_files *f, int (*wanted)(const struct dirent *),
		       struct dirent ***names, size_t *count, struct eg_error *error) EG_MUST;
void eg_pod_files_free(struct dirent **names, size_t count);

#endif
