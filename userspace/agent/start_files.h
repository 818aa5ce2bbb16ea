/* SPDX-License-Identifier: Apache-2.0 */
/* The files without which a gateway can't be, looked at before anything is attached to the kernel.
 */
#ifndef EGRET_AGENT_START_FILES_H
#define EGRET_AGENT_START_FILES_H

#include "agent/options.h"
#include "base/error.h"

#define EG_ROOTS_BYTES ((size_t)8 << 20) /* of --upstream-ca */

/*
 * The CA (ca_check.h), the roots that providers must chain to, and the token of the metrics page.
 * 0, or -errno with a sentence that names the file and what to do. To be called before there are
 * threads.
 */
int eg_start_files_check(const struct eg_options *o, struct eg_error *e) EG_MUST;

#endif
