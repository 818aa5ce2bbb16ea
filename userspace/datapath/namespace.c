/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netns mode: the agent's own network namespace, in which every address is local to what comes in
 * over its veth, and everything that leaves goes back over it. Recipe and reasons:
 * docs/internals/datapath.md. SYS_ADMIN is needed here and nowhere else.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/rtnetlink.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "datapath/internal.h"

#define NSFS_MAGIC_NUMBER 0x6e736673

/* Local addresses, of no meaning outside the pair: the way back needs a neighbour's. */
static const uint8_t host_mac[EG_MAC_BYTES] = {0x02, 0x45, 0x67, 0x00, 0x00, 0x01};
static const uint8_t agent_mac[EG_MAC_BYTES] = {0x02, 0x45, 0x67, 0x00, 0x00, 0x02};
static const uint8_t back4[4] = {169, 254, 77, 2};
static const uint8_t back6[16] = {0xfe, 0x80, [14] = 0x00, [15] = 0x77};

#define RULE_PREFERENCE 1

struct call {
	int netns_fd; /* -1: a new namespace */
	int (*f)(void *context, struct eg_error *error);
	void *context;
	struct eg_error error;
	int result;
};

static void *call_thread(void *argument)
{
	struct call *c = argument;

	if (c->netns_fd < 0 ? unshare(CLONE_NEWNET) : setns(c->netns_fd, CLONE_NEWNET))
		c->result =
			eg_error_set(&c->error, -errno, "cannot %s a network namespace: %s%s",
				     c->netns_fd < 0 ? "make" : "enter", strerror(errno),
				     errno == EPERM ? " (netns mode needs CAP_SYS_ADMIN at start; "
						      "mark mode does not)"
						    : "");
	else
		c->result = c->f(c->context, &c->error);
	return NULL;
}

int eg_namespace_call(int netns_fd, int (*f)(void *context, struct eg_error *error), void *context,
		      struct eg_error *error)
{
	struct call c = {.netns_fd = netns_fd, .f = f, .context = context};
	pthread_t thread;
	int r = pthread_create(&thread, NULL, call_thread, &c);

	if (r)
		return eg_error_set(error, -r, "cannot start a thread: %s", strerror(r));
	pthread_join(thread, NULL);
	if (c.result && error)
		*error = c.error;
	return c.result;
}

/* ---- the namespace itself ---- */

struct make {
	const char *path;
	int fd;
	int mount_error;
};

/* On a thread that is in the new namespace. */
static int keep_namespace(void *context, struct eg_error *error)
{
	struct make *m = context;

	m->fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (m->fd < 0)
		return eg_error_set(error, -errno, "cannot open the new namespace: %s",
				    strerror(errno));
	if (mount("/proc/thread-self/ns/net", m->path, NULL, MS_BIND, NULL))
		m->mount_error = -errno;
	return 0;
}

static bool is_namespace(int fd)
{
	struct statfs fs;

	return !fstatfs(fd, &fs) && fs.f_type == NSFS_MAGIC_NUMBER;
}

static int make_namespace(struct eg_datapath *d, struct eg_error *error)
{
	struct make m = {.path = d->namespace_path, .fd = -1};
	char *slash = strrchr(d->namespace_path, '/');
	EG_CLEANUP_FD int file = -1;
	int r;

	if (slash && slash != d->namespace_path) {
		*slash = 0;
		if (mkdir(d->namespace_path, 0755) && errno != EEXIST) {
			r = eg_error_set(error, -errno, "cannot make the directory %s: %s",
					 d->namespace_path, strerror(errno));
			*slash = '/';
			return r;
		}
		*slash = '/';
	}
	file = open(d->namespace_path, O_RDONLY | O_CREAT | O_CLOEXEC, 0444);
	if (file < 0)
		return eg_error_set(error, -errno, "cannot make the file %s: %s", d->namespace_path,
				    strerror(errno));
	r = eg_namespace_call(-1, keep_namespace, &m, error);
	if (r)
		return r;
	if (m.mount_error)
		eg_datapath_note(
			d,
			"the agent's namespace could not be mounted at %s (%s): it ends with "
			"this process, and the next start makes another",
			d->namespace_path, strerror(-m.mount_error));
	d->agent_netns = m.fd;
	d->namespace_mounted = !m.mount_error;
	return 0;
}

static int open_namespace(struct eg_datapath *d, struct eg_error *error)
{
	EG_CLEANUP_FD int fd = -1;
	struct stat theirs, ours;

	if (d->agent_netns >= 0)
		return is_namespace(d->agent_netns)
			       ? 0
			       : eg_error_set(error, -EINVAL,
					      "what was handed over is not a network namespace");
	fd = open(d->namespace_path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno != ENOENT)
		return eg_error_set(error, -errno, "cannot open %s: %s", d->namespace_path,
				    strerror(errno));
	if (fd < 0 || !is_namespace(fd)) {
		if (fd >= 0 && (fstat(fd, &theirs) || theirs.st_size))
			return eg_error_set(error, -EEXIST,
					    "%s is not a network namespace; remove it, "
					    "or name another",
					    d->namespace_path);
		return make_namespace(d, error);
	}
	if (fstat(fd, &theirs) || stat("/proc/self/ns/net", &ours))
		return eg_error_set(error, -errno, "stat of a namespace: %s", strerror(errno));
	if (theirs.st_ino == ours.st_ino)
		return eg_error_set(
			error, -EINVAL,
			"%s is the node's own network namespace, the agent needs another",
			d->namespace_path);
	d->agent_netns = eg_fd_take(&fd);
	d->namespace_mounted = true;
	return 0;
}

/* ---- what is inside ---- */

/*
 * A container's /proc/sys is read-only: a /proc that only this thread sees is not, and shows the
 * values of the network namespace that the thread is in. It is gone with the thread.
 */
static int own_proc(void)
{
	return unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) ||
			       mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC,
				     NULL)
		       ? -errno
		       : 0;
}

/* As the calling thread's namespace sees it. -errno. */
static int write_sysctl(const char *name, const char *value)
{
	char path[128], now[32];
	EG_CLEANUP_FD int fd = -1;
	ssize_t n;
	int r;

	snprintf(path, sizeof(path), "/proc/sys/net/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, now, sizeof(now) - 1);
	if (n > 0) {
		now[n] = 0;
		now[strcspn(now, "\n")] = 0;
		if (!strcmp(now, value))
			return 0;
	}
	eg_fd_close(&fd);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 && errno == EROFS) {
		r = own_proc();
		if (r)
			return r;
		fd = open(path, O_WRONLY | O_CLOEXEC);
	}
	if (fd < 0)
		return -errno;
	return write(fd, value, strlen(value)) < 0 ? -errno : 0;
}

struct inside {
	struct eg_datapath *d;
	struct nl_sock *netlink;
};

static int enter(void *context, struct eg_error *error)
{
	/* The namespace is new: its values are the kernel's defaults or copies of the node's. */
	static const struct {
		const char *name, *value, *cost;
	} sysctl[] = {
		{"ipv4/conf/all/rp_filter", "0", "connections of IPv4 pods may not arrive"},
		{"ipv4/conf/default/rp_filter", "0", "connections of IPv4 pods may not arrive"},
		{"ipv4/ip_forward", "0", NULL},
		{"ipv4/ip_early_demux", "1", "redirected connections cost more"},
		{"ipv4/tcp_fwmark_accept", "0", NULL},
		{"ipv4/tcp_congestion_control", "cubic", NULL},
		{"ipv4/icmp_echo_ignore_all", "1", NULL},
		{"ipv6/conf/all/disable_ipv6", "0", "IPv6 connections of pods are not captured"},
		{"ipv6/conf/default/disable_ipv6", "0",
		 "IPv6 connections of pods are not captured"},
		{"ipv6/conf/all/forwarding", "0", NULL},
		{"ipv6/conf/default/accept_ra", "0", NULL},
		{"ipv6/conf/default/accept_dad", "0", NULL},
		{"ipv6/conf/default/router_solicitations", "0", NULL},
	};
	struct inside *in = context;
	int r;

	in->netlink = eg_netlink_open();
	if (!in->netlink)
		return eg_error_set(error, -errno,
				    "cannot open netlink in the agent's namespace: %s",
				    strerror(errno));
	r = eg_namespace_whose(in->netlink, in->d->namespace_path, in->d->agent_link, error);
	if (r)
		return r;
	for (size_t i = 0; i < EG_ARRAY_SIZE(sysctl); i++) {
		r = write_sysctl(sysctl[i].name, sysctl[i].value);
		if (r && sysctl[i].cost)
			eg_datapath_note(
				in->d, "cannot set net/%s to %s in the agent's namespace (%s): %s",
				sysctl[i].name, sysctl[i].value, strerror(-r), sysctl[i].cost);
	}
	return 0;
}

/*
 * Routes of one family. Order matters: once every address is local, the kernel refuses 169.254.77.2
 * as a gateway (it would be a local one).
 */
static int set_routes(struct nl_sock *s, int family, uint32_t ifindex, uint32_t lo,
		      const char *name)
{
	struct eg_netlink_route back = {
		.family = family,
		.type = RTN_UNICAST,
		.table = RT_TABLE_MAIN,
		.ifindex = ifindex,
		.gateway = family == AF_INET ? (const void *)back4 : back6,
	};
	/*
	 * In the table "local", and not in one of our own: IPv4 answers a connection that nobody
	 * has with a reset only from an address that it finds in that table (__ip_dev_find()).
	 */
	struct eg_netlink_route here = {
		.family = family,
		.type = RTN_LOCAL,
		.table = RT_TABLE_LOCAL,
		.ifindex = lo,
	};
	struct eg_netlink_rule in = {
		.family = family,
		.preference = RULE_PREFERENCE,
		.table = RT_TABLE_LOCAL,
		.iif = name,
	};
	/* Without this one only what comes in over the veth looks into "local": what we send does
	 * not, or else every answer would come back to us. */
	struct eg_netlink_rule everybody = {.family = family, .table = RT_TABLE_LOCAL};
	int r;

	r = eg_netlink_delete_default(s, &here);
	if (r && r != -ESRCH && r != -ENOENT)
		return r;
	r = eg_netlink_set_neighbour(s, family, ifindex, back.gateway, host_mac);
	if (!r)
		r = eg_netlink_set_default(s, &back);
	if (!r)
		r = eg_netlink_add_rule(s, &in);
	if (r == -EEXIST)
		r = 0;
	if (!r)
		r = eg_netlink_delete_rule(s, &everybody);
	if (r == -ENOENT)
		r = 0;
	if (!r)
		r = eg_netlink_set_default(s, &here);
	return r;
}

static int set_up_inside(struct eg_datapath *d, struct eg_error *error)
{
	struct eg_netlink_link lo, end;
	struct nl_sock *s = d->agent_netlink;
	int r;

	r = eg_netlink_link_by_name(s, "lo", &lo);
	if (!r)
		r = eg_netlink_link_up(s, lo.ifindex);
	if (!r)
		r = eg_netlink_link_by_name(s, d->agent_link, &end);
	if (!r)
		r = eg_netlink_link_up(s, end.ifindex);
	if (!r)
		r = set_routes(s, AF_INET, end.ifindex, lo.ifindex, d->agent_link);
	if (r)
		return eg_error_set(error, r, "cannot set up the agent's namespace: %s",
				    strerror(-r));
	r = set_routes(s, AF_INET6, end.ifindex, lo.ifindex, d->agent_link);
	if (r)
		eg_datapath_note(d,
				 "IPv6 connections of pods are not captured: the agent's namespace "
				 "takes no IPv6 routes (%s)",
				 strerror(-r));
	return 0;
}

static int remove_link(struct eg_datapath *d, uint32_t ifindex, struct eg_error *error)
{
	int r = eg_netlink_delete_link(d->netlink, ifindex);

	return r && r != -ENODEV ? eg_error_set(error, r, "cannot remove the link %s: %s",
						d->host_link, strerror(-r))
				 : 0;
}

/* 1: the pair is there and complete; 0: it is not; -errno. */
static int find_pair(struct eg_datapath *d, struct eg_error *error)
{
	struct eg_netlink_link l;
	int32_t nsid = -1;
	int r = eg_netlink_link_by_name(d->netlink, d->host_link, &l);

	if (r == -ENODEV)
		return 0;
	if (r)
		return eg_error_set(error, r, "cannot look at the link %s: %s", d->host_link,
				    strerror(-r));
	r = eg_netlink_nsid(d->netlink, d->agent_netns, &nsid);
	if (strcmp(l.kind, "veth") || r || nsid < 0 || l.peer_nsid != nsid) {
		/* An earlier start's, whose namespace was unmounted and is not quite gone yet. */
		if (eg_attach_holds(d, EG_PROGRAM_REPLY_TC, l.ifindex) != EG_HOLD_LOST)
			return remove_link(d, l.ifindex, error);
		return eg_error_set(
			error, -EEXIST,
			"there is a link named %s that does not lead to %s; remove it, or give "
			"Egret's another name",
			d->host_link, d->namespace_path);
	}
	/* The host end goes up last: what is down was left half made. */
	if (l.flags & IFF_UP) {
		d->agent_ifindex = l.ifindex;
		return 1;
	}
	return remove_link(d, l.ifindex, error);
}

static int make_pair(struct eg_datapath *d, struct eg_error *error)
{
	struct eg_netlink_link l;
	int r;

	r = eg_netlink_add_veth(d->netlink, d->host_link, host_mac, d->agent_link, agent_mac,
				d->agent_netns);
	if (!r)
		r = eg_netlink_link_by_name(d->netlink, d->host_link, &l);
	if (r)
		return eg_error_set(error, r, "cannot make the links %s and %s: %s", d->host_link,
				    d->agent_link, strerror(-r));
	d->agent_ifindex = l.ifindex;
	r = set_up_inside(d, error);
	if (r)
		return r;
	r = eg_netlink_link_up(d->netlink, l.ifindex);
	return r ? eg_error_set(error, r, "cannot set the link %s up: %s", d->host_link,
				strerror(-r))
		 : 0;
}

int eg_namespace_mend(struct eg_datapath *d, struct eg_error *error)
{
	struct eg_netlink_link l;
	int r = 0;

	if (d->agent_ifindex && !eg_netlink_link_by_index(d->netlink, d->agent_ifindex, &l))
		r = eg_netlink_delete_link(d->netlink, l.ifindex);
	/* Its other end was moved to elsewhere. */
	if (!r && !eg_netlink_link_by_name(d->agent_netlink, d->agent_link, &l))
		r = eg_netlink_delete_link(d->agent_netlink, l.ifindex);
	if (r && r != -ENODEV)
		return eg_error_set(error, r, "cannot remove what is left of it: %s", strerror(-r));
	d->agent_ifindex = 0;
	r = find_pair(d, error);
	if (!r)
		r = make_pair(d, error);
	return r < 0 ? r : 0;
}

int eg_namespace_open(struct eg_datapath *d, struct eg_error *error)
{
	struct inside in = {.d = d};
	int r;

	r = open_namespace(d, error);
	if (!r)
		r = eg_namespace_call(d->agent_netns, enter, &in, error);
	d->agent_netlink = in.netlink;
	if (r)
		return r;
	r = find_pair(d, error);
	if (!r)
		r = make_pair(d, error);
	return r < 0 ? r : eg_attach_netns(d, d->agent_netns, error);
}

int eg_namespace_remove(const char *path, const struct eg_namespace_pair *pair,
			struct eg_error *error)
{
	struct nl_sock *s = eg_netlink_open();
	struct eg_netlink_link l;
	int32_t nsid = -1;
	int r = 0;

	if (!s)
		return eg_error_set(error, -errno, "cannot open netlink: %s", strerror(errno));
	EG_CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && is_namespace(fd) && !eg_netlink_link_by_name(s, pair->host_link, &l) &&
	    !strcmp(l.kind, "veth") && !eg_netlink_nsid(s, fd, &nsid) && nsid >= 0 &&
	    l.peer_nsid == nsid)
		r = eg_netlink_delete_link(s, l.ifindex);
	eg_netlink_close(s);
	if (r)
		return eg_error_set(error, r, "cannot remove the link %s: %s", pair->host_link,
				    strerror(-r));
	if (fd >= 0 && is_namespace(fd))
		r = eg_namespace_whose_fd(fd, path, pair->agent_link, error);
	if (r)
		return r;
	if (fd >= 0 && is_namespace(fd) && umount2(path, MNT_DETACH) && errno != EINVAL)
		return eg_error_set(error, -errno, "cannot unmount %s: %s", path, strerror(errno));
	if (fd >= 0 && unlink(path) && errno != ENOENT)
		return eg_error_set(error, -errno, "cannot remove %s: %s", path, strerror(errno));
	return 0;
}

/* Where, beside `path`, the namespace of this inode is mounted; false: nowhere there. */
static bool find_mount(const char *path, uint32_t inode, char *out, size_t size)
{
	const char *slash = strrchr(path, '/');
	char directory[256];
	struct dirent *e;
	bool found = false;
	DIR *dir;

	snprintf(directory, sizeof(directory), "%.*s", slash ? (int)(slash - path) : 0, path);
	dir = opendir(directory);
	while (dir && !found && (e = readdir(dir))) {
		EG_CLEANUP_FD int fd = -1;
		struct stat st;

		if (e->d_name[0] == '.')
			continue;
		snprintf(out, size, "%s/%s", directory, e->d_name);
		fd = open(out, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		found = fd >= 0 && is_namespace(fd) && !fstat(fd, &st) &&
			(uint32_t)st.st_ino == inode;
	}
	if (dir)
		closedir(dir);
	return found;
}

int eg_namespace_remove_pinned(uint32_t inode, const char *path,
			       const struct eg_namespace_pair *pair, struct eg_error *error)
{
	char mount[600];

	return inode && find_mount(path, inode, mount, sizeof(mount))
		       ? eg_namespace_remove(mount, pair, error)
		       : 0;
}

void eg_namespace_leave(struct eg_datapath *d)
{
	const struct eg_namespace_pair pair = {d->host_link, d->agent_link};
	struct eg_netlink_link l;
	struct eg_error error;

	if (!eg_netlink_link_by_name(d->netlink, d->host_link, &l))
		eg_detach(d->pin_dir, EG_PROGRAM_REPLY_TC, l.ifindex);
	if (eg_namespace_remove(d->namespace_path, &pair, &error))
		eg_datapath_note(d,
				 "the agent's namespace of netns mode stays (%s): it does no harm; "
				 "`umount %s && rm %s` removes it",
				 error.text, d->namespace_path, d->namespace_path);
}
