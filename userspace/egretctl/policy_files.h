/* SPDX-License-Identifier: Apache-2.0 */
/* Policy files as check and explain read them: one file, or a directory's *.json. */
#ifndef EGRET_EGRETCTL_POLICY_FILES_H
#define EGRET_EGRETCTL_POLICY_FILES_H

#include "egretctl/command.h"
#include "policy/policy.h"

struct policy_files {
	struct eg_arena arena; /* of the files, and of a directory's texts */
	char *text;	       /* heap: of one file */
	struct eg_policy_file *files;
	size_t count;
};

/* A directory as the agent reads it (eg_dir_read), or one file, wherever it lies; "-": stdin. 0 or
 * -errno with *e; policy_files_fini() in both cases. */
int policy_files_read(const char *path, struct policy_files *out, struct eg_error *e) EG_MUST;
void policy_files_fini(struct policy_files *f);

#endif
