/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the agent that left these pins ran: the node's network namespace, which an uninstall must
 * find when it is started in another one. The pinned link of listener_lookup tells of the agent's
 * namespace: in mark mode that is the node's, in netns mode the node's is behind its veth.
 */
#include <bpf/bpf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "datapath/internal.h"

static bool has_inode(void *context, int netns_fd)
{
	struct stat st;

	return !fstat(netns_fd, &st) && (uint32_t)st.st_ino == *(uint32_t *)context;
}

struct behind {
	const char *agent_link;
	int found;
};

/* In the agent's namespace: 0 also when it has no veth, and then *found is -1. */
static int look_behind(void *context, struct eg_error *error)
{
	struct behind *b = context;
	struct nl_sock *s = eg_netlink_open();
	struct eg_netlink_link l;
	int r = 0;

	if (!s)
		return eg_error_set(error, -errno, "cannot open netlink: %s", strerror(errno));
	if (!eg_netlink_link_by_name(s, b->agent_link, &l) && !strcmp(l.kind, "veth") &&
	    l.peer_nsid >= 0) {
		b->found = eg_namespace_find_number(s, l.peer_nsid);
		r = b->found < 0 ? -ENOENT : 0;
	}
	eg_netlink_close(s);
	return r;
}

uint32_t eg_home_pinned_inode(const char *pin_dir)
{
	uint32_t type, inode;
	EG_CLEANUP_FD int fd = -1;
	char path[300];

	fd = bpf_obj_get(
		eg_pin_path(path, sizeof(path), pin_dir, EG_PROGRAM_LISTENER_LOOKUP, 0, false));
	return fd >= 0 && !eg_link_info(fd, &type, &inode, NULL) ? inode : 0;
}

static int unreachable(struct eg_error *error, const char *why)
{
	return eg_error_set(error, -ENOENT,
			    "egretd ran in another network namespace, and %s: nothing is removed; "
			    "run this where egretd ran (nsenter --net=...)",
			    why);
}

static int nothing(void *context, struct eg_error *error)
{
	(void)context;
	(void)error;
	return 0;
}

/* netns mode: is this process where the host's end of the veth into that namespace is? */
static bool is_before(int agent_netns, const char *host_link)
{
	struct nl_sock *s = eg_netlink_open();
	struct eg_netlink_link l;
	int32_t nsid = -1;
	bool yes;

	yes = s && !eg_netlink_link_by_name(s, host_link, &l) && !strcmp(l.kind, "veth") &&
	      l.peer_nsid >= 0 && !eg_netlink_nsid(s, agent_netns, &nsid) && nsid == l.peer_nsid;
	eg_netlink_close(s);
	return yes;
}

int eg_home_find(const struct eg_datapath_options *o, enum eg_redirect_mode mode, int *out,
		 struct eg_error *error)
{
	static const char nobody[] = "no process and no mount that is seen here has it";
	uint32_t inode = eg_home_pinned_inode(o->pin_dir);
	struct behind b = {.agent_link = o->agent_link, .found = -1};
	EG_CLEANUP_FD int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	EG_CLEANUP_FD int fd = -1;
	int r;

	*out = -1;
	if (!inode || own < 0 || (mode == EG_MODE_MARK && has_inode(&inode, own)))
		return 0;
	fd = eg_namespace_find(has_inode, &inode);
	if (fd < 0 && mode == EG_MODE_MARK)
		return unreachable(error, nobody);
	/* Not there: it ended, or is about to, with all that is in it. */
	if (fd < 0 || (mode == EG_MODE_NETNS && is_before(fd, o->host_link)))
		return 0;
	r = eg_namespace_call(fd, nothing, NULL, error);
	if (r)
		return unreachable(error, "it can't be entered (that needs CAP_SYS_ADMIN)");
	if (mode == EG_MODE_MARK) {
		*out = eg_fd_take(&fd);
		return 0;
	}
	r = eg_namespace_call(fd, look_behind, &b, error);
	*out = b.found;
	return r == -ENOENT ? unreachable(error, nobody) : r;
}
