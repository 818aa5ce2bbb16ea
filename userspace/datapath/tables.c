/* SPDX-License-Identifier: Apache-2.0 */
/* Names and layouts of the maps, and the programs that this build holds (as skeletons). */
#include <linux/bpf.h>

#include "datapath/internal.h"

#include "classify_xdp.skel.h"
#include "dns_tc.skel.h"
#include "egress_tc.skel.h"
#include "guard_tc.skel.h"
#include "host.skel.h"
#include "listener_lookup.skel.h"
#include "observe_down_tc.skel.h"
#include "observe_up_tc.skel.h"
#include "reply_tc.skel.h"

const struct eg_map_shape eg_map_table[EG_MAP_COUNT] = {
	[EG_MAP_PODS] = {"pods", BPF_MAP_TYPE_HASH, 4, sizeof(struct eg_pod)},
	[EG_MAP_POD_LINKS] = {"pod_links", BPF_MAP_TYPE_HASH, sizeof(struct eg_address), 4},
	[EG_MAP_DESTINATIONS4] = {"destinations4", BPF_MAP_TYPE_LPM_TRIE, sizeof(struct eg_lpm4),
				  sizeof(struct eg_destination)},
	[EG_MAP_DESTINATIONS6] = {"destinations6", BPF_MAP_TYPE_LPM_TRIE, sizeof(struct eg_lpm6),
				  sizeof(struct eg_destination)},
	[EG_MAP_LEARNED] = {"learned", BPF_MAP_TYPE_HASH, sizeof(struct eg_learned_key),
			    sizeof(struct eg_learned)},
	[EG_MAP_LEARNED_COUNT] = {"learned_count", BPF_MAP_TYPE_HASH, 4, 4},
	[EG_MAP_VERDICTS] = {"verdicts", BPF_MAP_TYPE_HASH, sizeof(struct eg_verdict_key),
			     sizeof(struct eg_verdict)},
	[EG_MAP_FLOWS] = {"flows", BPF_MAP_TYPE_LRU_HASH, sizeof(struct eg_flow_key),
			  sizeof(struct eg_flow)},
	[EG_MAP_QUERIES] = {"queries", BPF_MAP_TYPE_LRU_HASH, sizeof(struct eg_query_key),
			    sizeof(struct eg_queries)},
	[EG_MAP_WATCHED_NAMES] = {"watched_names", BPF_MAP_TYPE_HASH, sizeof(struct eg_name_key),
				  sizeof(struct eg_name)},
	[EG_MAP_RESOLVERS] = {"resolvers", BPF_MAP_TYPE_HASH, sizeof(struct eg_address), 4},
	[EG_MAP_LISTENERS] = {"listeners", BPF_MAP_TYPE_SOCKMAP, 4, 8},
	[EG_MAP_COUNTERS] = {"counters", BPF_MAP_TYPE_PERCPU_HASH, sizeof(struct eg_counter_key),
			     sizeof(struct eg_counter)},
	[EG_MAP_CONFIG] = {"config", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct eg_config)},
	[EG_MAP_EVENTS] = {"events", BPF_MAP_TYPE_RINGBUF, 0, 0},
	[EG_MAP_EVENT_RATE] = {"event_rate", BPF_MAP_TYPE_LRU_HASH, 4, 16},
	[EG_MAP_INVENTORY] = {"inventory", BPF_MAP_TYPE_LRU_HASH, sizeof(struct eg_talk_key),
			      sizeof(struct eg_talk)},
	[EG_MAP_OBSERVED] = {"observed", BPF_MAP_TYPE_LRU_HASH, sizeof(struct eg_flow_key),
			     sizeof(struct eg_observed)},
	[EG_MAP_HOST_PODS] = {"host_pods", BPF_MAP_TYPE_HASH, 8, sizeof(struct eg_pod)},
};

static void without_names(void *rodata)
{
	((struct dns_tc__rodata *)rodata)->in_kernel_names = 0;
}

static void without_sni(void *rodata)
{
	((struct egress_tc__rodata *)rodata)->sni_backstop = 0;
}

static void with_layout(void *rodata, const struct eg_skb_layout *layout)
{
	((struct egress_tc__rodata *)rodata)->skb_layout = *layout;
}

const struct eg_program_shape eg_program_table[EG_PROGRAM_COUNT] = {
	[EG_PROGRAM_EGRESS_TC] =
		{
			.name = "egress_tc",
			.kind = EG_KIND_INGRESS,
			.required = true,
			.without = "nothing can be captured",
			.elf = egress_tc__elf_bytes,
			.lessen = without_sni,
			.lessened =
				"a watched name on an address that nobody resolved is not noticed",
			.furnish = with_layout,
			.unfurnished = "a pod with raw sockets can let a link write its checksum "
				       "over an IPv6 destination, past every program",
		},
	[EG_PROGRAM_REPLY_TC] =
		{
			.name = "reply_tc",
			.kind = EG_KIND_INGRESS,
			.required = true,
			.without = "the agent's answers cannot reach the pods",
			.elf = reply_tc__elf_bytes,
		},
	[EG_PROGRAM_DNS_TC] =
		{
			.name = "dns_tc",
			.kind = EG_KIND_EGRESS,
			.without = "names are known only as the agent resolves them itself",
			.elf = dns_tc__elf_bytes,
			.lessen = without_names,
			.lessened = "DNS answers are read by the agent, so a pod may connect "
				    "before the address "
				    "is known; the guard on the uplinks covers that",
		},
	[EG_PROGRAM_GUARD_TC] =
		{
			.name = "guard_tc",
			.kind = EG_KIND_EGRESS,
			.required = true,
			.without = "the uplinks cannot be guarded",
			.elf = guard_tc__elf_bytes,
		},
	[EG_PROGRAM_CLASSIFY_XDP] =
		{
			.name = "classify_xdp",
			.kind = EG_KIND_XDP,
			.without = "nothing is classified at XDP",
			.elf = classify_xdp__elf_bytes,
		},
	[EG_PROGRAM_GUARD_XDP] =
		{
			.name = "guard_xdp",
			.kind = EG_KIND_XDP,
			.without = "claims of the gateway's address from outside are not dropped "
				   "at XDP",
			.elf = classify_xdp__elf_bytes,
		},
	[EG_PROGRAM_LISTENER_LOOKUP] =
		{
			.name = "listener_lookup",
			.kind = EG_KIND_NETNS,
			.required = true,
			.without = "connections cannot be given to the workers",
			.elf = listener_lookup__elf_bytes,
		},
	[EG_PROGRAM_OBSERVE_UP_TC] =
		{
			.name = "observe_up_tc",
			.kind = EG_KIND_INGRESS,
			.required = true,
			.without = "nothing of what pods send is seen",
			.elf = observe_up_tc__elf_bytes,
		},
	[EG_PROGRAM_OBSERVE_DOWN_TC] =
		{
			.name = "observe_down_tc",
			.kind = EG_KIND_EGRESS,
			.without = "names are known by ClientHellos alone, and what comes back is "
				   "not counted",
			.elf = observe_down_tc__elf_bytes,
		},
	[EG_PROGRAM_HOST_CONNECT4] =
		{
			.name = "host_connect4",
			.kind = EG_KIND_CGROUP,
			.required = true,
			.without = "pods in the node's own network cannot be guarded",
			.elf = host__elf_bytes,
		},
	[EG_PROGRAM_HOST_CONNECT6] =
		{
			.name = "host_connect6",
			.kind = EG_KIND_CGROUP,
			.required = true,
			.without = "pods in the node's own network cannot be guarded",
			.elf = host__elf_bytes,
		},
	[EG_PROGRAM_HOST_SENDMSG4] =
		{
			.name = "host_sendmsg4",
			.kind = EG_KIND_CGROUP,
			.required = true,
			.without = "pods in the node's own network cannot be guarded",
			.elf = host__elf_bytes,
		},
	[EG_PROGRAM_HOST_SENDMSG6] =
		{
			.name = "host_sendmsg6",
			.kind = EG_KIND_CGROUP,
			.required = true,
			.without = "pods in the node's own network cannot be guarded",
			.elf = host__elf_bytes,
		},
};
