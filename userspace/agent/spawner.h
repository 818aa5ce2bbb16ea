/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spawner: a process of its own with SETUID, SETGID and KILL and nothing else, which starts,
 * signals and reaps the unprivileged processes. It exists so that the supervisor can give these
 * three up. It reads nothing but messages of a fixed size from the supervisor, and dies with it.
 */
#ifndef EGRET_AGENT_SPAWNER_H
#define EGRET_AGENT_SPAWNER_H

#include "agent/wire.h"
#include "base/error.h"
#include "base/log.h"

#define EG_CONTROL_FD 3 /* where each child process finds its control socket */

struct eg_spawner {
	int fd; /* the supervisor's end; non-blocking */
	pid_t pid;
	uint32_t serial; /* of the last request */
};

/* Supervisor: forks and executes it. While the supervisor still has SETPCAP, if at all. */
int eg_spawner_start(struct eg_spawner *s, uid_t gateway_uid, uid_t signer_uid,
		     enum eg_log_level level, struct eg_error *e) EG_MUST;
/* Asks for a process of this role with `control` (borrowed) as its EG_CONTROL_FD. *serial comes
 * back in EG_WIRE_SPAWNED. */
int eg_spawner_spawn(struct eg_spawner *s, enum eg_role role, int control,
		     uint32_t *serial) EG_MUST;
int eg_spawner_signal(struct eg_spawner *s, pid_t pid, int signal) EG_MUST;
/* EG_WIRE_PONG with `number` comes back once it has done what it was asked for before. */
int eg_spawner_ping(struct eg_spawner *s, uint32_t number) EG_MUST;

/* The spawner's own main: argv is {"egretd", "role:spawner", gateway uid, signer uid, log level}.
 */
int eg_spawner_main(int argc, char **argv);

/* exec of this very binary in a role; only returns on failure, with -errno. */
int eg_exec_role(const char *const *argv);

#endif
