/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor: loads the kernel's side, owns pins, listeners and the pod table, reads policy and
 * credentials, and keeps gateway and signer running. It never parses a byte that a pod or a
 * provider sent. One thread, one loop. docs/internals/agent.md.
 */
#ifndef EGRET_AGENT_SUPERVISOR_H
#define EGRET_AGENT_SUPERVISOR_H

#include "agent/options.h"

/* Runs until SIGTERM, SIGINT or a drain by the control socket. Returns an exit code: 0 after an
 * orderly end, 1 when it could not start (a sentence is logged). */
int eg_supervisor_main(const struct eg_options *o);
/* --uninstall. */
int eg_uninstall(const struct eg_options *o);

#endif
