/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Has a process that does not answer been given a CPU at all? On a node with more to run than CPUs,
 * or in a container at its CPU limit, ending it makes nothing better: what it served is lost, and
 * its successor waits in the same queue.
 */
#ifndef EGRET_AGENT_CPU_WAIT_H
#define EGRET_AGENT_CPU_WAIT_H

#include <sys/types.h>

#include "base/base.h"

/* How long a process that waited for a CPU may be silent. */
#define EG_STARVED_MS 5000u

/* Nanoseconds that the threads of `pid` were ready to run and did not (Documentation/scheduler/
 * sched-stats.rst, /proc/PID/task/TID/schedstat, second field), in all. 0: not to be had. */
uint64_t eg_cpu_waited_ns(pid_t pid);

/* Is a silence of `silent_ms`, in which it waited for that long, for want of a CPU: at least half
 * of it, and no longer than is borne. */
bool eg_cpu_starved(uint64_t silent_ms, uint64_t waited_ns);

#endif
