/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files an operator writes, as they are now: policy, and what tells whether a credential's file
 * changed. Secrets are not read here (credential.h does, into sealed memory, at each hand-over):
 * the supervisor holds no key for longer than that takes. One thread.
 */
#ifndef EGRET_AGENT_SOURCES_H
#define EGRET_AGENT_SOURCES_H

#include <time.h>

#include "base/arena.h"
#include "base/base.h"
#include "base/error.h"
#include "base/files.h"
#include "policy/policy.h"

struct eg_source {
	struct eg_arena arena; /* of all that follows */
	struct eg_policy_file *files;
	size_t count;
};

/* The directory's files (eg_dir_read) within policy's own limits. *out is only written on success;
 * eg_source_fini() it. */
int eg_source_read(const char *dir, struct eg_source *out, struct eg_error *e) EG_MUST;
bool eg_source_equal(const struct eg_source *a, const struct eg_source *b);
void eg_source_fini(struct eg_source *s);

/* What makes a file another one. All 0: it is not there. */
struct eg_file_mark {
	uint64_t device, inode, size;
	struct timespec modified, changed;
	uint32_t mode;
};
void eg_file_mark(int dir_fd, const char *path, struct eg_file_mark *out);
bool eg_file_mark_equal(const struct eg_file_mark *a, const struct eg_file_mark *b);

#endif
