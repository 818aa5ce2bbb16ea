/* SPDX-License-Identifier: Apache-2.0 */
/* Warnings about a set that is valid: what its author most likely did not mean. Within the room. */
#ifndef EGRET_POLICY_LINT_H
#define EGRET_POLICY_LINT_H

#include "policy/source.h"

/* After everything is compiled without an error. */
void policy_lint(struct loading *l);

#endif
