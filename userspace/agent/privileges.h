/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each process gives up, and how it is closed to others. See docs/internals/agent.md for who
 * keeps which capability and why.
 */
#ifndef EGRET_AGENT_PRIVILEGES_H
#define EGRET_AGENT_PRIVILEGES_H

#include <sys/capability.h>

#include "base/base.h"
#include "base/error.h"

/* Not dumpable (no ptrace, no /proc/PID/{mem,environ,fd} for others), no core, no gain by exec. */
int eg_harden(struct eg_error *e) EG_MUST;
/* Effective and permitted become `keep`; inheritable, ambient and (where allowed) the bounding set
 * lose all else. For good: together with no-new-privileges nothing brings them back. */
int eg_capabilities_keep(const cap_value_t *keep, size_t count, struct eg_error *e) EG_MUST;
/* -EPERM: this process lacks one of `need`; *e names it, and `what_for`. */
int eg_capabilities_check(const cap_value_t *need, size_t count, const char *what_for,
			  struct eg_error *e) EG_MUST;
/* As many descriptors as the hard limit allows, up to 1,048,576. -EMFILE: fewer than a start needs,
 * 512; *e says how to have more. */
int eg_raise_file_limit(struct eg_error *e) EG_MUST;
/* Dies with its parent, which must still be `parent` (checked after the request). After the last
 * change of credentials, which would undo it. */
int eg_die_with_parent(pid_t parent) EG_MUST;

#endif
