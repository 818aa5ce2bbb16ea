/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a CA can be used, asked before anything is attached to the kernel. */
#ifndef EGRET_AGENT_CA_CHECK_H
#define EGRET_AGENT_CA_CHECK_H

#include "base/error.h"

/*
 * Reads intermediate.crt and intermediate.key below `dir` as the signer will, in a process of its
 * own, so that nothing of the key was ever in this one's memory. 0, also for an intermediate that
 * has ended; or -errno with a sentence that names `dir` and quotes neither file. To be called
 * before there are threads.
 */
int eg_ca_check(const char *dir, struct eg_error *e) EG_MUST;

#endif
