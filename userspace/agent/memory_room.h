/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much memory there is for this process, and how many connections and bytes of pods go into it.
 * A container's limit on descriptors says nothing of that (it is a million at most runtimes), and a
 * process that takes more than its cgroup allows is killed, with what it did for all pods.
 */
#ifndef EGRET_AGENT_MEMORY_ROOM_H
#define EGRET_AGENT_MEMORY_ROOM_H

#include "exchange/limits.h"

/* What a descriptor of a pod is reckoned at: an idle HTTP/2 connection over TLS, the dearest. */
#define EG_ROOM_DESCRIPTOR ((uint64_t)48 << 10)

/*
 * Bytes: the least of what the machine has and of what the process's memory cgroup, of version 1 or
 * 2, and those around it allow. `proc` is "/proc/self", whose `cgroup` and `mountinfo` are read.
 * Never fails: what can't be read limits nothing.
 */
uint64_t eg_memory_room(const char *proc);

/* Lowers what does not go into so many bytes; 0: unknown, nothing is. Half of them is for
 * descriptors, a quarter for what is held. Pure. */
void eg_memory_room_limit(struct eg_limits *limits, uint64_t bytes);

#endif
