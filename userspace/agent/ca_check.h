/* SPDX-License-Identifier: Apache-2.0 */
/* A CA's files, and whether it can be used, asked before anything is attached to the kernel. */
#ifndef EGRET_AGENT_CA_CHECK_H
#define EGRET_AGENT_CA_CHECK_H

#include "base/error.h"
#include "base/secret.h"

#define EG_CA_FILE_BYTES ((size_t)256 << 10)

/* One of a CA's files, "intermediate.key", into locked memory; *out is the caller's. 0, or -errno
 * with a sentence that names the file. */
int eg_ca_read(const char *dir, const char *file, struct eg_secret **out,
	       struct eg_error *e) EG_MUST;

/*
 * Reads intermediate.crt and intermediate.key below `dir` as the signer will, in a process of its
 * own, so that nothing of the key was ever in this one's memory. 0, also for an intermediate that
 * has ended; or -errno with a sentence that names `dir` and quotes neither file. To be called
 * before there are threads.
 */
int eg_ca_check(const char *dir, struct eg_error *e) EG_MUST;

#endif
