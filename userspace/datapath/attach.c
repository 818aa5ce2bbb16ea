/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One program on one link: TCX by a pinned link where the kernel has it, else a clsact filter whose
 * program is pinned beside the links as the record that it is ours; XDP and sk_lookup by pinned
 * links. libbpf 1.1 knows no TCX, so those are made by bpf(2) itself.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "datapath/internal.h"

/* linux/bpf.h since 6.6; Debian 12's is of 6.1. */
#define TCX_INGRESS 46
#define TCX_EGRESS  47
#define FLAG_BEFORE (1U << 3)

#define FILTER_PRIORITY 1
#define FILTER_HANDLE	0x45670000u

/* The part of union bpf_attr that BPF_LINK_CREATE of TCX reads. */
struct tcx_create {
	uint32_t program_fd;
	uint32_t target_ifindex;
	uint32_t attach_type;
	uint32_t flags;
	uint32_t relative_fd;
	uint32_t pad;
	uint64_t expected_revision;
	uint64_t rest[4];
};

static int tcx_create(int program_fd, uint32_t ifindex, uint32_t type)
{
	struct tcx_create a = {
		.program_fd = (uint32_t)program_fd,
		.target_ifindex = ifindex,
		.attach_type = type,
		.flags = FLAG_BEFORE,
	};
	long fd = syscall(__NR_bpf, BPF_LINK_CREATE, &a, sizeof(a));

	return fd < 0 ? -errno : (int)fd;
}

bool eg_tcx_supported(int program_fd)
{
	/* No such device: a kernel that knows TCX says so, an older one does not know the type. */
	int fd = tcx_create(program_fd, 0x7ffffff0, TCX_INGRESS);

	if (fd >= 0)
		close(fd);
	return fd == -ENODEV;
}

int eg_link_info(int fd, uint32_t *type, uint32_t *ifindex)
{
	/* As struct bpf_link_info: type, id, prog_id, then a union aligned to 8, whose first word
	 * is the ifindex for XDP and TCX, and the inode of the namespace for sk_lookup. */
	struct {
		uint32_t type, id, program_id, pad;
		uint32_t first;
		uint32_t rest[27];
	} info = {0};
	uint32_t n = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &n))
		return -errno;
	*type = info.type;
	*ifindex = info.first;
	return 0;
}

bool eg_pin_name_parse(const char *name, struct eg_pin_name *out)
{
	const char *dash = strchr(name, '-');
	struct eg_pin_name pin = {.program = EG_PROGRAM_COUNT};
	unsigned long index;
	char *end;

	if (!dash)
		return false;
	for (enum eg_program_id i = 0; i < EG_PROGRAM_COUNT; i++)
		if (strlen(eg_program_table[i].name) == (size_t)(dash - name) &&
		    !strncmp(name, eg_program_table[i].name, (size_t)(dash - name)))
			pin.program = i;
	if (pin.program == EG_PROGRAM_COUNT && strncmp(name, "qdisc-", 6))
		return false;
	if (dash[1] < '0' || dash[1] > '9')
		return false;
	index = strtoul(dash + 1, &end, 10);
	pin.ifindex = (uint32_t)index;
	pin.clsact = !strcmp(end, "-tc");
	if (index > INT32_MAX || (*end && !pin.clsact))
		return false;
	*out = pin;
	return true;
}

static char *pin_path(char *path, size_t n, const char *pin_dir, enum eg_program_id id,
		      uint32_t ifindex, bool clsact)
{
	snprintf(path, n, "%s/links/%s-%u%s", pin_dir, eg_program_table[id].name, ifindex,
		 clsact ? "-tc" : "");
	return path;
}

/* ---- clsact ---- */

/* sz without the padding behind the last field: libbpf wants zeroes there, and a copy by value need
 * not keep them. */
static struct bpf_tc_hook tc_hook(uint32_t ifindex, enum eg_hook_kind kind)
{
	struct bpf_tc_hook h = {
		.sz = offsetof(struct bpf_tc_hook, parent) + sizeof(h.parent),
		.ifindex = (int)ifindex,
		.attach_point = kind == EG_KIND_EGRESS ? BPF_TC_EGRESS : BPF_TC_INGRESS,
	};

	return h;
}

static struct bpf_tc_opts tc_filter(enum eg_program_id id)
{
	struct bpf_tc_opts o = {
		.sz = offsetof(struct bpf_tc_opts, priority) + sizeof(o.priority),
		.handle = FILTER_HANDLE | ((uint32_t)id + 1),
		.priority = FILTER_PRIORITY,
	};

	return o;
}

static int attach_clsact(struct eg_datapath *d, enum eg_program_id id, uint32_t ifindex,
			 struct eg_error *error)
{
	const struct eg_program_shape *p = &eg_program_table[id];
	struct bpf_tc_hook hook = tc_hook(ifindex, p->kind);
	struct bpf_tc_opts filter = tc_filter(id);
	char path[300];
	int r;

	r = bpf_tc_hook_create(&hook);
	if (r && r != -EEXIST)
		return eg_error_set(error, r, "cannot make a clsact qdisc on link %u: %s", ifindex,
				    strerror(-r));
	if (!r) {
		snprintf(path, sizeof(path), "%s/links/qdisc-%u", d->pin_dir, ifindex);
		unlink(path);
		if (bpf_obj_pin(d->program[id], path))
			return eg_error_set(error, -errno, "cannot pin %s: %s", path,
					    strerror(errno));
	}
	/* The record comes before the deed, so that whatever is attached can be found. */
	pin_path(path, sizeof(path), d->pin_dir, id, ifindex, true);
	unlink(path);
	if (bpf_obj_pin(d->program[id], path))
		return eg_error_set(error, -errno, "cannot pin %s: %s", path, strerror(errno));
	filter.prog_fd = d->program[id];
	filter.flags = BPF_TC_F_REPLACE;
	r = bpf_tc_attach(&hook, &filter);
	if (r) {
		unlink(path);
		return eg_error_set(error, r, "cannot attach %s to link %u by clsact: %s", p->name,
				    ifindex, strerror(-r));
	}
	return 0;
}

static int count_filter(struct nl_msg *m, void *context)
{
	if (nlmsg_hdr(m)->nlmsg_type == RTM_NEWTFILTER)
		*(bool *)context = true;
	return NL_OK;
}

/* True when another's filter, or ours of the other direction, still needs the qdisc. */
static bool hook_has_filters(uint32_t ifindex, enum eg_hook_kind kind)
{
	struct tcmsg head = {
		.tcm_family = AF_UNSPEC,
		.tcm_ifindex = (int)ifindex,
		.tcm_parent = TC_H_MAKE(TC_H_CLSACT, kind == EG_KIND_EGRESS ? TC_H_MIN_EGRESS
									    : TC_H_MIN_INGRESS),
	};
	struct nl_sock *s = eg_netlink_open();
	bool found = false;

	if (!s)
		return true; /* can't tell: leave it */
	nl_socket_modify_cb(s, NL_CB_VALID, NL_CB_CUSTOM, count_filter, &found);
	if (nl_send_simple(s, RTM_GETTFILTER, NLM_F_DUMP, &head, sizeof(head)) < 0 ||
	    nl_recvmsgs_default(s) < 0)
		found = true;
	eg_netlink_close(s);
	return found;
}

static void detach_clsact(const char *pin_dir, enum eg_program_id id, uint32_t ifindex)
{
	struct bpf_tc_hook hook = tc_hook(ifindex, eg_program_table[id].kind);
	struct bpf_tc_opts filter = tc_filter(id);
	char path[300];

	pin_path(path, sizeof(path), pin_dir, id, ifindex, true);
	if (access(path, F_OK))
		return;
	bpf_tc_detach(&hook, &filter);
	unlink(path);
	snprintf(path, sizeof(path), "%s/links/qdisc-%u", pin_dir, ifindex);
	if (access(path, F_OK) || hook_has_filters(ifindex, EG_KIND_INGRESS) ||
	    hook_has_filters(ifindex, EG_KIND_EGRESS))
		return;
	hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
	bpf_tc_hook_destroy(&hook);
	unlink(path);
}

/* ---- all kinds ---- */

static void detach_link(const char *path)
{
	EG_CLEANUP_FD int fd = bpf_obj_get(path);

	if (fd >= 0)
		bpf_link_detach(fd);
	unlink(path);
}

static int pin_link(int fd, const char *path, struct eg_error *error)
{
	if (bpf_obj_pin(fd, path))
		return eg_error_set(error, -errno, "cannot pin the link %s: %s", path,
				    strerror(errno));
	return 0;
}

static int attach_tcx(struct eg_datapath *d, enum eg_program_id id, uint32_t ifindex,
		      struct eg_error *error)
{
	const struct eg_program_shape *p = &eg_program_table[id];
	uint32_t type = p->kind == EG_KIND_EGRESS ? TCX_EGRESS : TCX_INGRESS;
	EG_CLEANUP_FD int fd = -1;
	char path[300];

	/* Before everybody: who comes first may end the chain. */
	fd = tcx_create(d->program[id], ifindex, type);
	if (fd < 0)
		return eg_error_set(error, fd, "cannot attach %s to link %u by TCX: %s", p->name,
				    ifindex, strerror(-fd));
	return pin_link(fd, pin_path(path, sizeof(path), d->pin_dir, id, ifindex, false), error);
}

static int attach_xdp(struct eg_datapath *d, enum eg_program_id id, uint32_t ifindex,
		      enum eg_xdp_mode mode, struct eg_error *error)
{
	LIBBPF_OPTS(bpf_link_create_opts, o);
	EG_CLEANUP_FD int fd = -1;
	char path[300];

	if (mode != EG_XDP_GENERIC) {
		o.flags = XDP_FLAGS_DRV_MODE;
		fd = bpf_link_create(d->program[id], (int)ifindex, BPF_XDP, &o);
	}
	if (fd < 0 && mode != EG_XDP_AUTO) {
		if (mode == EG_XDP_NATIVE)
			eg_datapath_note(
				d,
				"XDP: link %u takes no native program (%s): generic instead, "
				"which saves less",
				ifindex, strerror(errno));
		o.flags = XDP_FLAGS_SKB_MODE;
		fd = bpf_link_create(d->program[id], (int)ifindex, BPF_XDP, &o);
	}
	if (fd < 0)
		return eg_error_set(error, -errno, "cannot attach %s to link %u: %s",
				    eg_program_table[id].name, ifindex, strerror(errno));
	return pin_link(fd, pin_path(path, sizeof(path), d->pin_dir, id, ifindex, false), error);
}

int eg_attach(struct eg_datapath *d, enum eg_program_id id, uint32_t ifindex, enum eg_xdp_mode xdp,
	      struct eg_error *error)
{
	char path[300];

	/* A pin that is alive got the new program when it was adopted. */
	pin_path(path, sizeof(path), d->pin_dir, id, ifindex, false);
	if (!access(path, F_OK)) {
		if (eg_attach_holds(d, id, ifindex))
			return 0;
		unlink(path);
	}
	if (eg_program_table[id].kind == EG_KIND_XDP)
		return attach_xdp(d, id, ifindex, xdp, error);
	return d->tcx ? attach_tcx(d, id, ifindex, error) : attach_clsact(d, id, ifindex, error);
}

int eg_attach_netns(struct eg_datapath *d, int netns_fd, struct eg_error *error)
{
	const enum eg_program_id id = EG_PROGRAM_LISTENER_LOOKUP;
	EG_CLEANUP_FD int old = -1;
	EG_CLEANUP_FD int fd = -1;
	uint32_t type, inode = 0;
	char path[300];
	struct stat st;

	if (fstat(netns_fd, &st))
		return eg_error_set(error, -errno, "fstat of a network namespace: %s",
				    strerror(errno));
	pin_path(path, sizeof(path), d->pin_dir, id, 0, false);
	old = bpf_obj_get(path);
	if (old >= 0) {
		if (!eg_link_info(old, &type, &inode) && inode == (uint32_t)st.st_ino)
			return 0;
		detach_link(path);
		eg_fd_close(&old);
	}
	fd = bpf_link_create(d->program[id], netns_fd, BPF_SK_LOOKUP, NULL);
	if (fd < 0)
		return eg_error_set(error, -errno,
				    "cannot attach listener_lookup to the agent's namespace: %s",
				    strerror(errno));
	return pin_link(fd, path, error);
}

void eg_detach(const char *pin_dir, enum eg_program_id id, uint32_t ifindex)
{
	char path[300];

	/* Nobody holds a link but its pin; but the kernel lets go of an unpinned one later, from a
	 * work queue, and whoever asked for this expects it done. */
	pin_path(path, sizeof(path), pin_dir, id, ifindex, false);
	detach_link(path);
	if (eg_program_table[id].kind == EG_KIND_INGRESS ||
	    eg_program_table[id].kind == EG_KIND_EGRESS)
		detach_clsact(pin_dir, id, ifindex);
}

bool eg_clsact_holds(enum eg_program_id id, uint32_t ifindex)
{
	struct bpf_tc_hook hook = tc_hook(ifindex, eg_program_table[id].kind);
	struct bpf_tc_opts filter = tc_filter(id);

	return !bpf_tc_query(&hook, &filter);
}

bool eg_attach_holds(struct eg_datapath *d, enum eg_program_id id, uint32_t ifindex)
{
	EG_CLEANUP_FD int fd = -1;
	uint32_t type, at = 0;
	char path[300];

	fd = bpf_obj_get(pin_path(path, sizeof(path), d->pin_dir, id, ifindex, false));
	if (fd >= 0)
		return !eg_link_info(fd, &type, &at) && at == ifindex;
	if (access(pin_path(path, sizeof(path), d->pin_dir, id, ifindex, true), F_OK))
		return false;
	return eg_clsact_holds(id, ifindex);
}
