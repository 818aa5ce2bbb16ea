/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * TC egress on the host side of each pod's link: DNS answers on their way to the pod. The
 * addresses of a watched name are in `learned` before the pod has the answer.
 */
#include "lib/dns.h"
#include "lib/learn.h"
#include "lib/queries.h"
#include "lib/skb.h"
#include "lib/steer.h"

/* 0: the kernel reads no names; every answer goes to user space by ring buffer. */
const volatile __u8 in_kernel_names = 1;

struct eg_dns_scratch {
	struct eg_dns dns;
	struct eg_lesson lesson;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct eg_dns_scratch);
} dns_scratch SEC(".maps");

/*
 * Believed is only a configured resolver, answering what the pod asked: egress_tc recorded the
 * query. So a neighbour can't teach a pod by sending it answers with the resolver's address. A
 * datagram's query is answered once; over TCP one record stands for the connection.
 */
static __always_inline int is_believed(struct eg_scene *s, const struct eg_dns *d)
{
	struct eg_query *query;
	__be16 id_be = 0;

	if (s->packet.protocol == IPPROTO_UDP)
		id_be = bpf_htons((__u16)dns_word(d, 0));
	query = eg_asked(s, id_be);
	if (!query)
		return 0;
	if (s->packet.protocol == IPPROTO_UDP)
		query->asked_ns = 0;
	return 1;
}

/*
 * Copies the message into *d. Over TCP (RFC 1035 4.2.2) one that begins with this segment.
 * Returns 0, or -1 if there is none; *cut is set when there is more of it elsewhere.
 */
static __always_inline int load_message(struct __sk_buff *skb, struct eg_scene *s, struct eg_dns *d,
					int *cut)
{
	struct eg_packet *p = &s->packet;
	__u32 at = p->payload_offset, here, want;
	__u8 prefix[2];

	*cut = p->defect == EG_REASON_FRAGMENT;
	if (at >= skb->len)
		return -1;
	here = skb->len - at;
	if (p->payload_length && p->payload_length < here)
		here = p->payload_length; /* what follows is padding */
	if (p->protocol == IPPROTO_TCP) {
		if (here <= 2 || bpf_skb_load_bytes(skb, at, prefix, 2))
			return -1;
		want = (__u32)prefix[0] << 8 | prefix[1];
		at += 2;
		here -= 2;
		if (want > here)
			*cut = 1;
		else
			here = want;
	}
	if (here > EG_DNS_MESSAGE) {
		here = EG_DNS_MESSAGE;
		*cut = 1;
	}
	d->length = here;
	if (here < EG_DNS_HEADER || here > EG_DNS_MESSAGE)
		return -1;
	return bpf_skb_load_bytes(skb, at, d->message, here) ? -1 : 0;
}

static __always_inline void send_raw(struct eg_scene *s, struct eg_dns *d)
{
	__u32 size = d->length;

	if (in_kernel_names && !eg_event_allowed(s->ifindex, s->now_ns))
		return;
	if (size > EG_EVENT_DATA)
		size = EG_EVENT_DATA;
	eg_event_fill(eg_dns_event(d), EG_EVENT_DNS_RAW, EG_HOOK_DNS, s);
	eg_dns_event(d)->data_length = size;
	bpf_ringbuf_output(&events, eg_dns_event(d), sizeof(struct eg_event) + size, 0);
}

static __always_inline void learn_all(struct eg_scene *s, struct eg_dns *d, struct eg_lesson *l)
{
	__u32 i;

	s->decision.name_id = d->name_id;
	s->decision.reason = EG_REASON_OK;
	eg_count(s->decision.pod_id, d->name_id, EG_REASON_OK, EG_HOOK_DNS, s->length);
	eg_event_send(EG_EVENT_NAME_SEEN, EG_HOOK_DNS, s);
	l->source = s->packet.source;
	l->now_ns = s->now_ns;
	l->ifindex = s->ifindex;
	l->name_id = d->name_id;
	l->bytes = s->length;
	l->hook = EG_HOOK_DNS;
	l->from = EG_LEARNED_DNS;
	l->protocol = s->packet.protocol;
	for (i = 0; i < EG_DNS_ADDRESSES; i++) {
		if (i >= d->count)
			break;
		l->address = d->answer[i].address;
		l->ttl = d->answer[i].ttl;
		eg_learn(l);
	}
}

SEC("tc")
int dns_tc(struct __sk_buff *skb)
{
	struct eg_scene s = {};
	__u32 zero = 0, ifindex = skb->ifindex;
	struct eg_dns_scratch *scratch;
	struct eg_dns *d;
	int cut = 0;

	eg_skb_parse(skb, &s.packet);
	if (!(s.packet.flags & EG_PACKET_PORTS) || s.packet.source_port_be != bpf_htons(53) ||
	    s.packet.defect == EG_REASON_UNPARSEABLE)
		return EG_TC_NEXT;
	s.config = eg_config();
	if (!s.config || !s.config->enabled)
		return EG_TC_NEXT;
	s.pod = bpf_map_lookup_elem(&pods, &ifindex);
	if (!s.pod || s.pod->state == EG_POD_UNGOVERNED || s.pod->state == EG_POD_FOREIGN)
		return EG_TC_NEXT;
	s.ifindex = ifindex;
	s.length = skb->len;
	s.now_ns = bpf_ktime_get_coarse_ns();
	s.decision.pod_id = s.pod->pod_id;
	scratch = bpf_map_lookup_elem(&dns_scratch, &zero);
	if (!scratch)
		return EG_TC_NEXT;
	d = &scratch->dns;
	if (!is_resolver(s.config, &s.packet.source) || load_message(skb, &s, d, &cut) ||
	    !is_believed(&s, d))
		return EG_TC_NEXT;
	if (eg_dns_begin(d, s.config->name_hash_base))
		return EG_TC_NEXT;
	if (!in_kernel_names) {
		send_raw(&s, d);
		return EG_TC_NEXT;
	}
	eg_dns_read(d);
	if (d->name_id && d->count &&
	    (d->phase == EG_DNS_DONE || (d->phase == EG_DNS_SHORT && cut)))
		learn_all(&s, d, &scratch->lesson);
	if (d->phase != EG_DNS_DONE) {
		s.decision.reason = EG_REASON_UNPARSEABLE;
		eg_count(s.decision.pod_id, d->name_id, EG_REASON_UNPARSEABLE, EG_HOOK_DNS,
			 s.length);
		send_raw(&s, d);
	}
	return EG_TC_NEXT;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
