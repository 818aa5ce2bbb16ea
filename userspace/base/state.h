/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Helps state machines keep their promise: a const table gives for each state the set of states
 * that may follow (bits), one function writes the state and asks the table first. A transition
 * that is not in the table is a bug of ours: it is logged as one, and under sanitizers it aborts.
 */
#ifndef EGRET_BASE_STATE_H
#define EGRET_BASE_STATE_H

#include "base/base.h"
#include "base/log.h"

#define EG_TO(state) (1u << (state))

static inline void eg_state_check(const char *machine, const uint32_t *successors,
				  unsigned int from, unsigned int to)
{
	if (successors[from] & EG_TO(to))
		return;
	eg_error("bug: %s may not go from state %u to %u", machine, from, to);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	__builtin_trap();
#endif
}

#endif
