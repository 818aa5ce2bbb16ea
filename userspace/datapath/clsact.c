/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs on links by clsact, for kernels without TCX. The program is pinned beside the links as
 * the record that the filter is ours. Of filters with one preference the newest runs first, so that
 * whoever adds one later stands before us: a place is taken back by a second filter under another
 * handle, after which the first one goes, and no packet sees none.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "datapath/internal.h"

#define FILTER_PRIORITY 1
#define FILTER_HANDLE	0x45670000u
#define FILTER_OTHER	0x100u /* the second handle of a program */
#define FILTER_OURS	0xfffff000u
#define LOOKS		3

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

static struct bpf_tc_opts tc_filter(uint32_t handle)
{
	struct bpf_tc_opts o = {
		.sz = offsetof(struct bpf_tc_opts, priority) + sizeof(o.priority),
		.handle = handle,
		.priority = FILTER_PRIORITY,
	};

	return o;
}

static uint32_t handle_of(enum eg_program_id id)
{
	return FILTER_HANDLE | ((uint32_t)id + 1);
}

/* ---- what is on a link ---- */

struct filters {
	uint32_t handle; /* of the program that is looked for */
	struct eg_clsact_place *place;
	size_t count; /* of anybody's, at any preference */
};

static void note_other(struct nlattr *options, const char *kind, struct eg_clsact_place *out)
{
	struct nlattr *a[TCA_BPF_MAX + 1] = {NULL};

	eg_str_copy(out->by, sizeof(out->by), eg_str_from(kind));
	if (!options || nla_parse_nested(a, TCA_BPF_MAX, options, NULL))
		return;
	if (a[TCA_BPF_NAME])
		eg_str_copy(out->by, sizeof(out->by), eg_str_from(nla_get_string(a[TCA_BPF_NAME])));
	if (a[TCA_BPF_ID])
		out->by_program = nla_get_u32(a[TCA_BPF_ID]);
}

/* The kernel lists filters in the order in which they run. */
static int see_filter(struct nl_msg *m, void *context)
{
	struct nlmsghdr *h = nlmsg_hdr(m);
	struct filters *f = context;
	struct nlattr *a[TCA_MAX + 1] = {NULL};
	const struct tcmsg *t;
	bool ours;

	if (h->nlmsg_type != RTM_NEWTFILTER || nlmsg_parse(h, sizeof(*t), a, TCA_MAX, NULL))
		return NL_OK;
	f->count++;
	t = nlmsg_data(h);
	/* Handle 0 is the head of a list of filters, not one of them. */
	if (!f->place || !t->tcm_handle || t->tcm_info >> 16 != FILTER_PRIORITY ||
	    (a[TCA_CHAIN] && nla_get_u32(a[TCA_CHAIN])))
		return NL_OK;
	ours = (t->tcm_handle & FILTER_OURS) == FILTER_HANDLE;
	if ((t->tcm_handle | FILTER_OTHER) == (f->handle | FILTER_OTHER)) {
		if (f->place->handle)
			f->place->spare = t->tcm_handle;
		else
			f->place->handle = t->tcm_handle;
	} else if (!ours && !f->place->handle && !f->place->overtaken) {
		f->place->overtaken = true;
		note_other(a[TCA_OPTIONS], a[TCA_KIND] ? nla_get_string(a[TCA_KIND]) : "?",
			   f->place);
	}
	return NL_OK;
}

static int list_filters(uint32_t ifindex, enum eg_hook_kind kind, struct filters *f)
{
	struct tcmsg head = {
		.tcm_family = AF_UNSPEC,
		.tcm_ifindex = (int)ifindex,
		.tcm_parent = TC_H_MAKE(TC_H_CLSACT, kind == EG_KIND_EGRESS ? TC_H_MIN_EGRESS
									    : TC_H_MIN_INGRESS),
	};
	struct nl_sock *s = eg_netlink_open();
	int r = 0;

	if (!s)
		return -ENOMEM;
	nl_socket_modify_cb(s, NL_CB_VALID, NL_CB_CUSTOM, see_filter, f);
	if (nl_send_simple(s, RTM_GETTFILTER, NLM_F_DUMP, &head, sizeof(head)) < 0 ||
	    nl_recvmsgs_default(s) < 0)
		r = -EAGAIN;
	eg_netlink_close(s);
	return r;
}

void eg_clsact_look(enum eg_program_id id, uint32_t ifindex, struct eg_clsact_place *out)
{
	/* Again when somebody changed the list meanwhile; no qdisc at all fails each time. */
	for (int i = 0; i < LOOKS; i++) {
		struct filters f = {.handle = handle_of(id), .place = out};

		*out = (struct eg_clsact_place){0};
		if (!list_filters(ifindex, eg_program_table[id].kind, &f))
			break;
	}
	if (!out->handle)
		out->overtaken = false;
}

/* True when another's filter, or ours of the other direction, still needs the qdisc. */
static bool hook_has_filters(uint32_t ifindex, enum eg_hook_kind kind)
{
	struct filters f = {0};

	return list_filters(ifindex, kind, &f) || f.count; /* can't tell: leave it */
}

/* ---- attach, detach ---- */

static int pin_record(struct eg_datapath *d, enum eg_program_id id, const char *path,
		      struct eg_error *error)
{
	unlink(path);
	if (bpf_obj_pin(d->program[id], path))
		return eg_error_set(error, -errno, "cannot pin %s: %s", path, strerror(errno));
	return 0;
}

static int put_filter(struct eg_datapath *d, enum eg_program_id id, uint32_t ifindex,
		      uint32_t handle)
{
	struct bpf_tc_hook hook = tc_hook(ifindex, eg_program_table[id].kind);
	struct bpf_tc_opts filter = tc_filter(handle);

	filter.prog_fd = d->program[id];
	filter.flags = BPF_TC_F_REPLACE;
	return bpf_tc_attach(&hook, &filter);
}

static void remove_filter(enum eg_program_id id, uint32_t ifindex, uint32_t handle)
{
	struct bpf_tc_hook hook = tc_hook(ifindex, eg_program_table[id].kind);
	struct bpf_tc_opts filter = tc_filter(handle);

	bpf_tc_detach(&hook, &filter);
}

/* Replaces the program in place, or puts it before all others. */
static int put_first(struct eg_datapath *d, enum eg_program_id id, uint32_t ifindex)
{
	struct eg_clsact_place p;
	int r;

	eg_clsact_look(id, ifindex, &p);
	if (p.spare)
		remove_filter(id, ifindex, p.spare);
	if (!p.overtaken)
		return put_filter(d, id, ifindex, p.handle ? p.handle : handle_of(id));
	r = put_filter(d, id, ifindex, p.handle ^ FILTER_OTHER);
	if (r)
		return r;
	remove_filter(id, ifindex, p.handle);
	eg_attach_overtaken(d, id, ifindex, p.by, p.by_program);
	return 0;
}

int eg_clsact_attach(struct eg_datapath *d, enum eg_program_id id, uint32_t ifindex,
		     struct eg_error *error)
{
	const struct eg_program_shape *p = &eg_program_table[id];
	struct bpf_tc_hook hook = tc_hook(ifindex, p->kind);
	char path[300];
	int r;

	r = bpf_tc_hook_create(&hook);
	if (r && r != -EEXIST)
		return eg_error_set(error, r, "cannot make a clsact qdisc on link %u: %s", ifindex,
				    strerror(-r));
	if (!r) {
		snprintf(path, sizeof(path), "%s/links/qdisc-%u", d->pin_dir, ifindex);
		r = pin_record(d, id, path, error);
		if (r)
			return r;
	}
	/* The record comes before the deed, so that whatever is attached can be found. */
	eg_pin_path(path, sizeof(path), d->pin_dir, id, ifindex, true);
	r = pin_record(d, id, path, error);
	if (r)
		return r;
	r = put_first(d, id, ifindex);
	if (r) {
		unlink(path);
		return eg_error_set(error, r, "cannot attach %s to link %u by clsact: %s", p->name,
				    ifindex, strerror(-r));
	}
	return 0;
}

void eg_clsact_detach(const char *pin_dir, enum eg_program_id id, uint32_t ifindex)
{
	struct bpf_tc_hook hook = tc_hook(ifindex, eg_program_table[id].kind);
	char path[300];

	eg_pin_path(path, sizeof(path), pin_dir, id, ifindex, true);
	if (access(path, F_OK))
		return;
	remove_filter(id, ifindex, handle_of(id));
	remove_filter(id, ifindex, handle_of(id) ^ FILTER_OTHER);
	unlink(path);
	snprintf(path, sizeof(path), "%s/links/qdisc-%u", pin_dir, ifindex);
	if (access(path, F_OK) || hook_has_filters(ifindex, EG_KIND_INGRESS) ||
	    hook_has_filters(ifindex, EG_KIND_EGRESS))
		return;
	hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
	bpf_tc_hook_destroy(&hook);
	unlink(path);
}
