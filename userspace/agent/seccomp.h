/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system calls that gateway and signer may make: an allow list. What only an attacker would
 * call (execve, ptrace, mount, bpf...) ends the process; what a library may try (openat) fails with
 * EPERM. docs/internals/agent.md lists them.
 */
#ifndef EGRET_AGENT_SECCOMP_H
#define EGRET_AGENT_SECCOMP_H

#include "agent/wire.h"
#include "base/error.h"

/* For this thread and all that it makes from now on. Needs no-new-privileges. */
int eg_seccomp_confine(enum eg_role role, struct eg_error *e) EG_MUST;
/* For all threads: no more threads are made. */
int eg_seccomp_no_threads(struct eg_error *e) EG_MUST;

#endif
