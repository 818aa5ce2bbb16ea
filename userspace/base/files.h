/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that an operator writes, read whole: one below a directory, or all *.json of one. Never
 * waits for a pipe, and never leaves the directory by a link or "..". The agent and egretctl read
 * policy by this, so that the one sees what the other checked.
 */
#ifndef EGRET_BASE_FILES_H
#define EGRET_BASE_FILES_H

#include "base/arena.h"
#include "base/base.h"
#include "base/error.h"

/* Reads <dir_fd>/<path> without leaving dir_fd (AT_FDCWD: anywhere). The caller frees *bytes, which
 * ends with a NUL that is not counted. -EINVAL: not a regular file; -EXDEV: it lies elsewhere;
 * -EFBIG; -errno. */
int eg_file_read(int dir_fd, const char *path, size_t max_bytes, char **bytes, size_t *n,
		 struct eg_error *e) EG_MUST;

struct eg_dir_file {
	struct eg_str name, text; /* in the arena; the name within the directory */
};
struct eg_dir_limits {
	size_t files, file_bytes, bytes; /* bytes: of all together */
};

/*
 * Every *.json of the directory that does not begin with a dot, in order of name; of one
 * generation, and all of it, where the directory is a Kubernetes volume (read through ..data, and
 * again when it was swapped meanwhile; -EAGAIN when that does not end). No such file is not an
 * error; one that can't be read is, with the directory and its name. The outputs are only written
 * on success; the arena is the caller's in both cases.
 */
int eg_dir_read(const char *dir, const struct eg_dir_limits *limits, struct eg_arena *a,
		struct eg_dir_file **files, size_t *count, struct eg_error *e) EG_MUST;

/* Why inotify refused: its limits are the user's, and errno's own text speaks of open files and of
 * the disk. */
const char *eg_watch_failure(int error);

#endif
