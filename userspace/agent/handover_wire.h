/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What two supervisors say to each other when one takes over from the other: SOCK_SEQPACKET at a
 * path of the node, messages of one fixed size, descriptors beside them (SCM_RIGHTS). The two may
 *be of different builds, so nothing here depends on one: fixed-width fields, each at a fixed place.
 * magic, version and type stay where they are in every version; a receiver reads nothing else of a
 * message whose version is not its own.
 *
 *	new -> old  HELLO      who it is and how it is set up
 *	old -> new  BASE       lock of the pin directory, the agent's namespace, the metrics
 *listener old -> new  LISTENER   x BASE.count new -> old  READY      its gateway answers and the
 *kernel's tables are its own old -> new  GO         it is in charge; the old one drains old -> new
 *REFUSE     in place of BASE, or to take back what was given: the new one ends
 *
 * From BASE on only the new one writes the kernel's tables (but the heartbeat, which both may). The
 * old one writes them again only when the connection is closed, that is when the new one is gone.
 */
#ifndef EGRET_AGENT_HANDOVER_WIRE_H
#define EGRET_AGENT_HANDOVER_WIRE_H

#include <sys/types.h>

#include "agent/wire.h"
#include "base/error.h"

#define EG_HANDOVER_MAGIC   0x45677248u
#define EG_HANDOVER_VERSION 1u

enum eg_handover_type {
	EG_HANDOVER_HELLO = 1,
	EG_HANDOVER_REFUSE,
	EG_HANDOVER_BASE,
	EG_HANDOVER_LISTENER,
	EG_HANDOVER_READY,
	EG_HANDOVER_GO,
	EG_HANDOVER_TYPES
};

enum eg_handover_flags {
	EG_HANDOVER_NAMESPACE = 1 << 0, /* BASE: the second descriptor is the agent's namespace */
	EG_HANDOVER_METRICS = 1 << 1,	/* BASE: the last one is the metrics listener */
};

struct eg_handover_message {
	uint32_t magic, version;
	uint32_t type;	 /* enum eg_handover_type */
	uint32_t number; /* LISTENER: its slot */
	uint32_t count;	 /* BASE: how many listeners follow */
	uint32_t flags;	 /* enum eg_handover_flags */
	uint32_t mode;	 /* HELLO: enum eg_redirect_mode */
	uint32_t reserved;
	uint64_t cgroup;	  /* HELLO, BASE: the sender's cgroup v2 id; 0: none */
	char release[32];	  /* HELLO, BASE: EG_VERSION */
	char pin_dir[256];	  /* HELLO */
	char namespace_path[128]; /* HELLO */
	char text[256];		  /* REFUSE: why */
};
_Static_assert(sizeof(struct eg_handover_message) == 712, "the layout is a promise");

/* Fills magic, version and the type. */
void eg_handover_message_init(struct eg_handover_message *m, enum eg_handover_type type);
/* 0; -EINVAL: not as many descriptors as its type and flags say; -EAGAIN; -EPIPE. */
int eg_handover_send(int fd, const struct eg_handover_message *m, const int *fds,
		     unsigned int count) EG_MUST;
/*
 * 1 and a message whose strings end and whose descriptors are those of its type; 0: the other side
 * is gone; -EAGAIN; -EPROTONOSUPPORT: of another version, which is in m->version; -EPROTO:
 * something else. Descriptors are the caller's; unused places of fds are -1.
 */
int eg_handover_receive(int fd, struct eg_handover_message *m, int fds[EG_WIRE_FDS]) EG_MUST;

/*
 * 0 and a connection to the one that listens at `path`; -ENOENT: nobody does; another error and a
 * sentence: what is there must not be believed, or does not answer.
 */
int eg_handover_connect(const char *path, int *fd, struct eg_error *e) EG_MUST;
/*
 * A socket that listens at `path`, mode 0600. A socket that nobody listens at is replaced; a file
 * that is no socket is refused.
 */
int eg_handover_listen(const char *path, int *fd, struct eg_error *e) EG_MUST;
/* Root at the other end of a connection? *pid is 0 where its process is not of our pid namespace.
 */
bool eg_handover_peer_is_root(int fd, pid_t *pid, uid_t *uid);

#endif
