/* SPDX-License-Identifier: Apache-2.0 */
#include "datapath/features.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/btf.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/capability.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "datapath/internal.h"

#define FUNC_PROBE_READ_KERNEL 113 /* linux/bpf.h enum bpf_func_id */
#define FUNC_RINGBUF_OUTPUT    130
#define FUNC_REDIRECT_PEER     155
#define FUNC_LOOP	       181

static const char read_only[] =
	"the bpffs where the pins go is mounted read-only, and nothing can be pinned: mount it "
	"writable (in a container: without `readOnly`)";

static const struct {
	const char *label;
	const char *cost; /* what is missing, what that costs, what to do */
} table[EG_FEATURE_COUNT] = {
	[EG_FEATURE_BPFFS] =
		{"bpffs", "no bpffs where the pins go: run `mount -t bpf bpf /sys/fs/bpf` on the "
			  "node, or mount the node's /sys/fs/bpf into the container"},
	[EG_FEATURE_CAP_BPF] = {"cap_bpf",
				"CAP_BPF is missing: no program can be loaded (where "
				"SYS_ADMIN stands in for it: not after the start, which drops "
				"SYS_ADMIN); run as root, or add BPF to the container's "
				"capabilities"},
	[EG_FEATURE_CAP_NET_ADMIN] =
		{"cap_net_admin",
		 "CAP_NET_ADMIN is missing: nothing can be attached to a link; run "
		 "as root, or add NET_ADMIN to the container's capabilities"},
	[EG_FEATURE_CAP_PERFMON] =
		{"cap_perfmon",
		 "CAP_PERFMON is missing, and no CAP_SYS_ADMIN stands in for it: the kernel "
		 "refuses Egret's programs, which compute with packet pointers; add PERFMON to "
		 "the container's capabilities (it is dropped after the start)"},
	[EG_FEATURE_CAP_SYS_ADMIN] =
		{"cap_sys_admin",
		 "CAP_SYS_ADMIN is missing at start: the agent's network namespace "
		 "cannot be made; add SYS_ADMIN (it is dropped after the start), or "
		 "use mark mode"},
	[EG_FEATURE_PROGRAMS] = {"tc_programs",
				 "the kernel loads no TC program: it needs CONFIG_BPF_SYSCALL "
				 "and CONFIG_NET_CLS_BPF"},
	[EG_FEATURE_BTF] =
		{"btf", "the kernel takes no BTF (4.18, CONFIG_BPF_SYSCALL): the maps cannot be "
			"made with names"},
	[EG_FEATURE_RINGBUF] = {"ringbuf",
				"no BPF ring buffer (Linux 5.8): the programs do not load"},
	[EG_FEATURE_SK_LOOKUP] = {"sk_lookup",
				  "no sk_lookup programs (Linux 5.9): captured connections cannot "
				  "be given to the agent"},
	[EG_FEATURE_REDIRECT_PEER] =
		{"redirect_peer",
		 "no bpf_redirect_peer (Linux 5.10): netns mode is not possible; use "
		 "mark mode, which costs the node's other traffic more"},
	[EG_FEATURE_BPF_LOOP] =
		{"bpf_loop",
		 "no bpf_loop (Linux 5.17): DNS answers are read by the agent and not in "
		 "the kernel, so a pod may connect before the address is known; the guard "
		 "on the uplinks covers that"},
	[EG_FEATURE_TCX] =
		{"tcx",
		 "no TCX (Linux 6.6): clsact filters are used, which anybody can delete with "
		 "their qdisc or overtake; they are checked every second and put back first"},
	[EG_FEATURE_SKB_LAYOUT] =
		{"skb_layout",
		 "no BTF of the kernel (CONFIG_DEBUG_INFO_BTF), or kernel lockdown: a pod with raw "
		 "sockets can have its checksum written over an IPv6 destination, past every "
		 "program"},
	[EG_FEATURE_CGROUP2] =
		{"cgroup2", "this process is in no cgroup v2 of its own: guard_host: deny is not "
			    "possible"},
};

static int quiet(enum libbpf_print_level level, const char *format, va_list ap)
{
	(void)level;
	(void)format;
	(void)ap;
	return 0;
}

static int has_capability(cap_value_t value)
{
	cap_t caps = cap_get_proc();
	cap_flag_value_t set = CAP_CLEAR;

	if (!caps)
		return -errno;
	if (cap_get_flag(caps, value, CAP_EFFECTIVE, &set))
		set = CAP_CLEAR;
	cap_free(caps);
	return set == CAP_SET ? 0 : -EPERM;
}

/* Where the pins will go: the first directory of the path that is there. */
static int probe_bpffs(const char *pin_dir)
{
	char path[300];
	struct statfs fs;

	snprintf(path, sizeof(path), "%s", pin_dir ? pin_dir : EG_PIN_DIR);
	while (statfs(path, &fs)) {
		char *slash = strrchr(path, '/');

		if (errno != ENOENT || !slash || slash == path)
			return -errno;
		*slash = 0;
	}
	if (fs.f_type != BPF_FS_MAGIC)
		return -ENOTSUP;
	return fs.f_flags & ST_RDONLY ? -EROFS : 0;
}

/* return 0 */
static int load_trivial(enum bpf_prog_type type, enum bpf_attach_type attach)
{
	static const struct bpf_insn code[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, o, .expected_attach_type = attach);
	int fd = bpf_prog_load(type, "egret_probe", "GPL", code, EG_ARRAY_SIZE(code), &o);

	return fd < 0 ? -errno : fd;
}

/*
 * A call of the helper with arguments the verifier refuses: it says "invalid func" or "unknown
 * func" when it does not have the helper, and something else when it has.
 */
static int probe_helper(int function)
{
	const struct bpf_insn code[] = {
		{.code = BPF_JMP | BPF_CALL, .imm = function},
		{.code = BPF_JMP | BPF_EXIT},
	};
	char log[4096] = "";
	LIBBPF_OPTS(bpf_prog_load_opts, o, .log_buf = log, .log_size = sizeof(log), .log_level = 1);
	int fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "egret_probe", "GPL", code,
			       EG_ARRAY_SIZE(code), &o);

	if (fd >= 0) {
		close(fd);
		return 0;
	}
	if (errno == EPERM && !log[0])
		return -EPERM;
	return strstr(log, "invalid func") || strstr(log, "unknown func") ? -ENOSYS : 0;
}

static int probe_tcx(void)
{
	int fd = load_trivial(BPF_PROG_TYPE_SCHED_CLS, 0);
	bool supported;

	if (fd < 0)
		return fd;
	supported = eg_tcx_supported(fd);
	close(fd);
	return supported ? 0 : -ENOSYS;
}

/* 0 for a descriptor, which is closed; -errno stays. */
static int closed(int fd)
{
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

/* BTF of one int, the smallest there is. */
static int probe_btf(void)
{
	struct {
		struct btf_header h;
		struct btf_type t;
		uint32_t integer;
		char strings[5];
	} raw = {
		.h = {.magic = BTF_MAGIC,
		      .version = BTF_VERSION,
		      .hdr_len = sizeof(raw.h),
		      .type_len = sizeof(raw.t) + 4,
		      .str_off = sizeof(raw.t) + 4,
		      .str_len = 5},
		.t = {.name_off = 1, .info = BTF_KIND_INT << 24, .size = 4},
		.integer = 32,
		.strings = "\0int",
	};

	int fd = bpf_btf_load(&raw, offsetof(__typeof__(raw), strings) + 5, NULL);

	return closed(fd < 0 ? -errno : fd);
}

static int probe_skb_layout(void)
{
	struct eg_skb_layout layout;
	int r = eg_skb_layout_find(&layout);

	return r ? r : probe_helper(FUNC_PROBE_READ_KERNEL);
}

static int probe_cgroup(void)
{
	uint64_t id;

	return eg_cgroup_id(0, &id, NULL);
}

static int probe(enum eg_feature_id id, const char *pin_dir)
{
	switch (id) {
	case EG_FEATURE_BPFFS:
		return probe_bpffs(pin_dir);
	case EG_FEATURE_CAP_BPF:
		/* SYS_ADMIN implies it (linux/capability.h), but only until it is dropped. */
		return has_capability(CAP_BPF);
	case EG_FEATURE_CAP_NET_ADMIN:
		return has_capability(CAP_NET_ADMIN);
	case EG_FEATURE_CAP_PERFMON:
		/* perfmon_capable(), linux/capability.h: the verifier asks for it
		 * (allow_ptr_leaks).
		 */
		return has_capability(CAP_SYS_ADMIN) ? has_capability(CAP_PERFMON) : 0;
	case EG_FEATURE_CAP_SYS_ADMIN:
		return has_capability(CAP_SYS_ADMIN);
	case EG_FEATURE_PROGRAMS:
		return closed(load_trivial(BPF_PROG_TYPE_SCHED_CLS, 0));
	case EG_FEATURE_BTF:
		return probe_btf();
	case EG_FEATURE_RINGBUF:
		return probe_helper(FUNC_RINGBUF_OUTPUT);
	case EG_FEATURE_SK_LOOKUP:
		return closed(load_trivial(BPF_PROG_TYPE_SK_LOOKUP, BPF_SK_LOOKUP));
	case EG_FEATURE_REDIRECT_PEER:
		return probe_helper(FUNC_REDIRECT_PEER);
	case EG_FEATURE_BPF_LOOP:
		return probe_helper(FUNC_LOOP);
	case EG_FEATURE_TCX:
		return probe_tcx();
	case EG_FEATURE_SKB_LAYOUT:
		return probe_skb_layout();
	case EG_FEATURE_CGROUP2:
		return probe_cgroup();
	case EG_FEATURE_COUNT:
		break;
	}
	return -EINVAL;
}

static bool is_required(enum eg_feature_id id, bool netns)
{
	switch (id) {
	case EG_FEATURE_BPFFS:
	case EG_FEATURE_CAP_BPF:
	case EG_FEATURE_CAP_NET_ADMIN:
	case EG_FEATURE_CAP_PERFMON:
	case EG_FEATURE_PROGRAMS:
	case EG_FEATURE_BTF:
	case EG_FEATURE_RINGBUF:
	case EG_FEATURE_SK_LOOKUP:
		return true;
	case EG_FEATURE_CAP_SYS_ADMIN:
	case EG_FEATURE_REDIRECT_PEER:
		return netns;
	case EG_FEATURE_BPF_LOOP:
	case EG_FEATURE_TCX:
	case EG_FEATURE_SKB_LAYOUT:
	case EG_FEATURE_CGROUP2:
	case EG_FEATURE_COUNT:
		break;
	}
	return false;
}

/* Found by bpf(2), so that without the rights for it nothing is found. */
static bool needs_bpf(enum eg_feature_id id)
{
	switch (id) {
	case EG_FEATURE_PROGRAMS:
	case EG_FEATURE_BTF:
	case EG_FEATURE_RINGBUF:
	case EG_FEATURE_SK_LOOKUP:
	case EG_FEATURE_REDIRECT_PEER:
	case EG_FEATURE_BPF_LOOP:
	case EG_FEATURE_TCX:
	case EG_FEATURE_SKB_LAYOUT:
		return true;
	case EG_FEATURE_BPFFS:
	case EG_FEATURE_CAP_BPF:
	case EG_FEATURE_CAP_NET_ADMIN:
	case EG_FEATURE_CAP_PERFMON:
	case EG_FEATURE_CAP_SYS_ADMIN:
	case EG_FEATURE_CGROUP2:
	case EG_FEATURE_COUNT:
		break;
	}
	return false;
}

/* EPERM is an answer about this process, never one about the kernel. */
static void explain(struct eg_features *all, enum eg_feature_id id)
{
	struct eg_feature *f = &all->feature[id];
	bool bpf = all->feature[EG_FEATURE_CAP_BPF].present;
	bool net_admin = all->feature[EG_FEATURE_CAP_NET_ADMIN].present;

	if (id == EG_FEATURE_BPFFS && f->error == -EROFS) {
		eg_str_copy(f->sentence, sizeof(f->sentence), eg_str_from(read_only));
		return;
	}
	if (!needs_bpf(id) || f->error != -EPERM) {
		eg_str_copy(f->sentence, sizeof(f->sentence), eg_str_from(table[id].cost));
		return;
	}
	f->unjudged = !bpf || !net_admin;
	if (f->unjudged)
		snprintf(f->sentence, sizeof(f->sentence),
			 "%s could not be judged: trying it needs %s, which is missing", f->label,
			 bpf ? "CAP_NET_ADMIN" : "CAP_BPF");
	else
		snprintf(f->sentence, sizeof(f->sentence),
			 "%s could not be judged: the rights are there, and bpf(2) is refused all "
			 "the same (EPERM); look for a seccomp profile or a security module that "
			 "forbids it",
			 f->label);
}

void eg_features_probe(struct eg_features *out, const char *pin_dir, bool netns)
{
	libbpf_print_fn_t before = libbpf_set_print(quiet);

	memset(out, 0, sizeof(*out));
	out->usable = true;
	for (enum eg_feature_id i = 0; i < EG_FEATURE_COUNT; i++) {
		struct eg_feature *f = &out->feature[i];

		f->label = table[i].label;
		f->required = is_required(i, netns);
		f->error = probe(i, pin_dir);
		f->present = !f->error;
		if (f->present)
			continue;
		explain(out, i);
		out->usable &= !f->required;
	}
	libbpf_set_print(before);
}
