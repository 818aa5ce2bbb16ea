/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * cgroup/connect and cgroup/sendmsg of pods in the node's own network, which have no link where
 * they could be captured (--host-network-pods deny): what of a governed pod would be captured or
 * refused is refused, with EPERM. Judges by what the whole node knows (policy's ranges, names that
 * the agent resolved): nobody sees the DNS answers of such a pod.
 *
 * The kernel runs these for sockets that were made in the cgroup; whose they are is told by the
 * calling task's. A socket that another process uses is judged by the strictest there is.
 */
#include "lib/note.h"

#define EG_HOST_LEVELS 16

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, struct eg_pod);
} host_pods SEC(".maps");

#define REFUSE 0
#define PASS   1

static __always_inline int is_agents_cgroup(const struct eg_config *cfg, __u64 id)
{
	return id && (id == cfg->agent_cgroup[0] || id == cfg->agent_cgroup[1]);
}

/* The pod of the task, NULL if it is none of ours; *agents: the agent itself, or one before it. */
static __always_inline struct eg_pod *find_pod(const struct eg_config *cfg, int *agents)
{
	struct eg_pod *found = 0, *p;
	int level;

	*agents = 0;
	for (level = 1; level < EG_HOST_LEVELS; level++) {
		__u64 id = bpf_get_current_ancestor_cgroup_id(level);

		if (!id)
			break;
		if (is_agents_cgroup(cfg, id))
			*agents = 1;
		p = bpf_map_lookup_elem(&host_pods, &id);
		if (p)
			found = p;
	}
	return found;
}

/* Attempts, as flows of no source: for egretctl. */
static __always_inline void record(const struct eg_scene *s)
{
	struct eg_flow_key key;
	struct eg_flow fresh = {}, *flow;

	flow_key(&key, &s->packet, s->ifindex);
	flow = bpf_map_lookup_elem(&flows, &key);
	fresh.last_seen_ns = s->now_ns;
	fresh.packets = flow ? flow->packets + 1 : 1;
	fresh.pod_id = s->decision.pod_id;
	fresh.name_id = s->decision.name_id;
	fresh.generation = s->config->generation;
	fresh.action = s->decision.action;
	fresh.reason = s->decision.reason;
	bpf_map_update_elem(&flows, &key, &fresh, BPF_ANY);
}

static __always_inline void judge(struct eg_scene *s)
{
	struct eg_packet *p = &s->packet;
	__u8 target, odd;

	decide(s, EG_ACTION_PASS, EG_REASON_PASS_UNGOVERNED);
	target = eg_target_of(s->config, p->family, &p->destination, &s->decision.name_id,
			      &s->decision.origin, &odd);
	if (!s->pod) { /* a socket of such a pod in another's hands */
		if (target == EG_TARGET_GOVERNED)
			decide(s, EG_ACTION_DROP, EG_REASON_HOST_NETWORK);
		return;
	}
	if (target == EG_TARGET_GOVERNED) {
		if (odd)
			p->defect = EG_REASON_UNPARSEABLE;
		if (s->state == EG_POD_GOVERNED)
			judge_governed(s);
		else
			judge_unknown(s);
	} else if (target == EG_TARGET_NONE && s->state == EG_POD_GOVERNED && !is_local_scope(p) &&
		   (s->pod_flags & (EG_POD_CAPTURE_ALL_TLS | EG_POD_STRICT))) {
		judge_all_tls(s);
	}
	if (s->decision.action != EG_ACTION_REDIRECT)
		return;
	/* What only watches loses nothing. */
	if (s->pod_flags & EG_POD_SHADOW)
		decide(s, EG_ACTION_PASS, EG_REASON_SHADOW);
	else
		decide(s, EG_ACTION_DROP, EG_REASON_HOST_NETWORK);
}

static __always_inline int guard(struct bpf_sock_addr *ctx, __u8 family,
				 const struct eg_address *to)
{
	struct eg_scene s = {};
	struct eg_packet *p = &s.packet;
	int agents;

	s.config = eg_config();
	if (!s.config || !s.config->enabled)
		return PASS;
	if (ctx->protocol != IPPROTO_TCP && ctx->protocol != IPPROTO_UDP &&
	    ctx->protocol != IPPROTO_MPTCP)
		return PASS;
	p->status = EG_PACKET_IP;
	p->family = family;
	p->protocol = ctx->protocol == IPPROTO_UDP ? IPPROTO_UDP : IPPROTO_TCP;
	p->flags = EG_PACKET_PORTS;
	p->destination = *to;
	p->destination_port_be = (__be16)ctx->user_port;
	if (family == 4)
		eg_address_from4(&p->source, 0);
	s.pod = find_pod(s.config, &agents);
	if (agents)
		return PASS;
	if (s.pod) {
		s.state = s.pod->state;
		s.pod_flags = s.pod->flags;
		s.decision.pod_id = s.pod->pod_id;
	}
	s.ifindex = EG_HOST_POD_LINK | s.decision.pod_id;
	s.now_ns = bpf_ktime_get_coarse_ns();
	judge(&s);
	if (s.decision.action == EG_ACTION_PASS)
		return PASS;
	s.decision.action = EG_ACTION_DROP;
	s.decision.flags = EG_DECISION_NEW;
	record(&s);
	eg_note(EG_HOOK_HOST, &s);
	return REFUSE;
}

static __always_inline int guard4(struct bpf_sock_addr *ctx)
{
	struct eg_address to;

	eg_address_from4(&to, ctx->user_ip4);
	return guard(ctx, 4, &to);
}

/* An IPv6 socket reaches IPv4 by mapped addresses, honestly. */
static __always_inline int guard6(struct bpf_sock_addr *ctx)
{
	struct eg_address to;

	to.word_be[0] = ctx->user_ip6[0];
	to.word_be[1] = ctx->user_ip6[1];
	to.word_be[2] = ctx->user_ip6[2];
	to.word_be[3] = ctx->user_ip6[3];
	return guard(ctx, address_is4(&to) ? 4 : 6, &to);
}

SEC("cgroup/connect4")
int host_connect4(struct bpf_sock_addr *ctx)
{
	return guard4(ctx);
}

SEC("cgroup/connect6")
int host_connect6(struct bpf_sock_addr *ctx)
{
	return guard6(ctx);
}

SEC("cgroup/sendmsg4")
int host_sendmsg4(struct bpf_sock_addr *ctx)
{
	return guard4(ctx);
}

SEC("cgroup/sendmsg6")
int host_sendmsg6(struct bpf_sock_addr *ctx)
{
	return guard6(ctx);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
