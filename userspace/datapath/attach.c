/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One program on one link: TCX by a pinned link where the kernel has it, else a clsact filter
 * (clsact.c); XDP and sk_lookup by pinned links. libbpf 1.1 knows no TCX, so those are made by
 * bpf(2) itself.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "datapath/internal.h"

/* linux/bpf.h since 6.6; Debian 12's is of 6.1. */
#define TCX_INGRESS 46
#define TCX_EGRESS  47
#define FLAG_BEFORE (1U << 3)

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

/* The part of union bpf_attr that BPF_PROG_QUERY of TCX reads and writes. */
struct tcx_query {
	uint32_t target_ifindex;
	uint32_t attach_type;
	uint32_t query_flags;
	uint32_t attach_flags;
	uint64_t ids; /* pointer */
	uint32_t count;
	uint32_t pad;
	uint64_t rest[4];
};

static uint32_t tcx_type(enum eg_program_id id)
{
	return eg_program_table[id].kind == EG_KIND_EGRESS ? TCX_EGRESS : TCX_INGRESS;
}

static uint32_t program_number(int fd)
{
	struct bpf_prog_info info = {0};
	uint32_t n = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &n) ? 0 : info.id;
}

static bool is_ours(const struct eg_datapath *d, uint32_t number)
{
	for (int i = 0; i < EG_PROGRAM_COUNT; i++)
		if (d->program[i] >= 0 && program_number(d->program[i]) == number)
			return true;
	return false;
}

#define TCX_LOOK 64 /* programs of one hook that are looked at, the first ones */

/* Their numbers in the order in which they run, then 0; none where it can't be told. */
static void tcx_numbers(uint32_t ifindex, uint32_t type, uint32_t ids[TCX_LOOK + 1])
{
	struct tcx_query q = {
		.target_ifindex = ifindex,
		.attach_type = type,
		.ids = (uint64_t)(uintptr_t)ids,
		.count = TCX_LOOK,
	};

	memset(ids, 0, (TCX_LOOK + 1) * sizeof(ids[0]));
	/* ENOSPC: there are more, and these are the first ones. */
	if (syscall(__NR_bpf, BPF_PROG_QUERY, &q, sizeof(q)) < 0 && errno != ENOSPC)
		ids[0] = 0;
}

/* The number of another's program that runs before `ours` there; 0: none, or it can't be told. */
static uint32_t tcx_before(const struct eg_datapath *d, uint32_t ifindex, uint32_t type,
			   uint32_t ours)
{
	uint32_t ids[TCX_LOOK + 1];

	tcx_numbers(ifindex, type, ids);
	for (size_t i = 0; ids[i] && ids[i] != ours; i++)
		if (!is_ours(d, ids[i]))
			return ids[i];
	return 0;
}

static bool is_named(uint32_t number, const char *name)
{
	EG_CLEANUP_FD int fd = bpf_prog_get_fd_by_id(number);
	struct bpf_prog_info info = {0};
	uint32_t n = sizeof(info);

	return fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &n) && !strcmp(info.name, name);
}

uint32_t eg_attach_namesake(const struct eg_datapath *d, enum eg_program_id id, uint32_t ifindex)
{
	uint32_t type, at, pinned = 0, ids[TCX_LOOK + 1];
	char path[300];
	EG_CLEANUP_FD int fd =
		bpf_obj_get(eg_pin_path(path, sizeof(path), d->pin_dir, id, ifindex, false));

	if (fd >= 0 && eg_link_info(fd, &type, &at, &pinned))
		pinned = 0;
	tcx_numbers(ifindex, tcx_type(id), ids);
	for (size_t i = 0; ids[i]; i++)
		if (ids[i] != pinned && !is_ours(d, ids[i]) &&
		    is_named(ids[i], eg_program_table[id].name))
			return ids[i];
	return 0;
}

bool eg_tcx_supported(int program_fd)
{
	/* No such device: a kernel that knows TCX says so, an older one does not know the type. */
	int fd = tcx_create(program_fd, 0x7ffffff0, TCX_INGRESS);

	if (fd >= 0)
		close(fd);
	return fd == -ENODEV;
}

int eg_link_info(int fd, uint32_t *type, uint32_t *ifindex, uint32_t *program_id)
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
	if (program_id)
		*program_id = info.program_id;
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

char *eg_pin_path(char *path, size_t n, const char *pin_dir, enum eg_program_id id,
		  uint32_t ifindex, bool clsact)
{
	snprintf(path, n, "%s/links/%s-%u%s", pin_dir, eg_program_table[id].name, ifindex,
		 clsact ? "-tc" : "");
	return path;
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
	EG_CLEANUP_FD int old = -1;
	EG_CLEANUP_FD int fd = -1;
	uint32_t type, at, before = 0, program = 0;
	char path[300];
	int r;

	old = bpf_obj_get(eg_pin_path(path, sizeof(path), d->pin_dir, id, ifindex, false));
	if (old >= 0 && !eg_link_info(old, &type, &at, &program))
		before = tcx_before(d, ifindex, tcx_type(id), program);
	/* One program can't stand at one hook twice. What passes meanwhile has no stamp: the guard
	 * on the uplinks stops it. */
	if (old >= 0)
		bpf_link_detach(old);
	unlink(path);
	/* Before everybody: who comes first may end the chain. */
	fd = tcx_create(d->program[id], ifindex, tcx_type(id));
	if (fd < 0)
		return eg_error_set(error, fd, "cannot attach %s to link %u by TCX: %s",
				    eg_program_table[id].name, ifindex, strerror(-fd));
	r = pin_link(fd, path, error);
	if (!r && before)
		eg_attach_overtaken(d, id, ifindex, "", before);
	return r;
}

void eg_attach_overtaken(struct eg_datapath *d, enum eg_program_id id, uint32_t ifindex,
			 const char *by, uint32_t by_program)
{
	struct eg_link *l = eg_links_find(d, ifindex);
	EG_CLEANUP_FD int fd = bpf_prog_get_fd_by_id(by_program); /* SYS_ADMIN is gone later */
	struct bpf_prog_info info = {0};
	uint32_t n = sizeof(info);
	char name[sizeof(l->overtaken_by)];

	if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &n) && info.name[0])
		by = info.name;
	eg_str_copy(name, sizeof(name), eg_str_from(by));
	if (!l || (l->overtaken && !strcmp(l->overtaken_by, name)))
		return;
	l->overtaken = true;
	memcpy(l->overtaken_by, name, sizeof(name));
	eg_datapath_notice(
		d,
		"link %s: the TC program \"%s\" (`bpftool prog show id %u`) was put before "
		"Egret's %s and could hide packets from it; Egret's is first again. Whoever "
		"attaches it should put it after the others",
		l->name, name[0] ? name : "?", by_program, eg_program_table[id].name);
}

/* ---- XDP ---- */

static const char *link_name(struct eg_datapath *d, uint32_t ifindex)
{
	const struct eg_link *l = eg_links_find(d, ifindex);

	return l && l->name[0] ? l->name : "?";
}

static int create_xdp(struct eg_datapath *d, enum eg_program_id id, uint32_t ifindex,
		      uint32_t flags)
{
	LIBBPF_OPTS(bpf_link_create_opts, o, .flags = flags);
	int fd = bpf_link_create(d->program[id], (int)ifindex, BPF_XDP, &o);

	return fd < 0 ? -errno : fd;
}

static int attach_xdp(struct eg_datapath *d, enum eg_program_id id, uint32_t ifindex,
		      enum eg_xdp_mode mode, struct eg_error *error)
{
	EG_CLEANUP_FD int fd = -EOPNOTSUPP;
	char path[300];

	if (mode != EG_XDP_GENERIC)
		fd = create_xdp(d, id, ifindex, XDP_FLAGS_DRV_MODE);
	if (fd < 0 && mode == EG_XDP_AUTO) {
		eg_datapath_notice(
			d,
			"XDP on link %s: auto was asked for, and the link takes no "
			"native program (%s): off; what is denied there is dropped later, "
			"by TC, at about four times the cost",
			link_name(d, ifindex), strerror(-fd));
		return -EOPNOTSUPP;
	}
	if (fd < 0 && mode == EG_XDP_NATIVE)
		eg_datapath_notice(
			d,
			"XDP on link %s: native was asked for, and the link takes no "
			"native program (%s): generic instead, which drops only after the "
			"kernel has made its own packet, and so costs as much as TC",
			link_name(d, ifindex), strerror(-fd));
	if (fd < 0)
		fd = create_xdp(d, id, ifindex, XDP_FLAGS_SKB_MODE);
	if (fd < 0)
		return eg_error_set(error, fd, "cannot attach %s to link %s: %s",
				    eg_program_table[id].name, link_name(d, ifindex),
				    strerror(-fd));
	return pin_link(fd, eg_pin_path(path, sizeof(path), d->pin_dir, id, ifindex, false), error);
}

/* An earlier start may have been asked for another way. */
static bool xdp_is_as_asked(uint32_t ifindex, enum eg_xdp_mode mode)
{
	LIBBPF_OPTS(bpf_xdp_query_opts, o);

	if (bpf_xdp_query((int)ifindex, 0, &o))
		return false;
	return o.attach_mode == (mode == EG_XDP_GENERIC ? XDP_ATTACHED_SKB : XDP_ATTACHED_DRV);
}

int eg_attach(struct eg_datapath *d, enum eg_program_id id, uint32_t ifindex, enum eg_xdp_mode xdp,
	      struct eg_error *error)
{
	char path[300];

	eg_datapath_busy(d);
	/* A pin that is alive got the new program when it was adopted. */
	eg_pin_path(path, sizeof(path), d->pin_dir, id, ifindex, false);
	if (!access(path, F_OK)) {
		switch (eg_attach_holds(d, id, ifindex)) {
		case EG_HOLD_FIRST:
			if (eg_program_table[id].kind != EG_KIND_XDP ||
			    xdp_is_as_asked(ifindex, xdp))
				return 0;
			detach_link(path);
			break;
		case EG_HOLD_OVERTAKEN:
			return attach_tcx(d, id, ifindex, error);
		case EG_HOLD_LOST:
			unlink(path);
		}
	}
	if (eg_program_table[id].kind == EG_KIND_XDP)
		return attach_xdp(d, id, ifindex, xdp, error);
	return d->tcx ? attach_tcx(d, id, ifindex, error) : eg_clsact_attach(d, id, ifindex, error);
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
	eg_pin_path(path, sizeof(path), d->pin_dir, id, 0, false);
	old = bpf_obj_get(path);
	if (old >= 0) {
		if (!eg_link_info(old, &type, &inode, NULL) && inode == (uint32_t)st.st_ino)
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
	eg_pin_path(path, sizeof(path), pin_dir, id, ifindex, false);
	detach_link(path);
	if (eg_program_table[id].kind == EG_KIND_INGRESS ||
	    eg_program_table[id].kind == EG_KIND_EGRESS)
		eg_clsact_detach(pin_dir, id, ifindex);
}

enum eg_hold eg_attach_holds(struct eg_datapath *d, enum eg_program_id id, uint32_t ifindex)
{
	struct eg_clsact_place place;
	EG_CLEANUP_FD int fd = -1;
	uint32_t type, program = 0, at = 0;
	char path[300];

	fd = bpf_obj_get(eg_pin_path(path, sizeof(path), d->pin_dir, id, ifindex, false));
	if (fd >= 0) {
		if (eg_link_info(fd, &type, &at, &program) || at != ifindex)
			return EG_HOLD_LOST;
		if (eg_program_table[id].kind == EG_KIND_XDP)
			return EG_HOLD_FIRST;
		return tcx_before(d, ifindex, tcx_type(id), program) ? EG_HOLD_OVERTAKEN
								     : EG_HOLD_FIRST;
	}
	if (access(eg_pin_path(path, sizeof(path), d->pin_dir, id, ifindex, true), F_OK))
		return EG_HOLD_LOST;
	eg_clsact_look(id, ifindex, &place);
	if (!place.handle)
		return EG_HOLD_LOST;
	return place.overtaken || place.spare ? EG_HOLD_OVERTAKEN : EG_HOLD_FIRST;
}
