/* SPDX-License-Identifier: Apache-2.0 */
/* Names and layouts of the maps, and the programs that this build holds (as skeletons). */
#include <linux/bpf.h>

#include "datapath/internal.h"

#include "dns_tc.skel.h"
#include "egress_tc.skel.h"
#include "listener_lookup.skel.h"
#include "reply_tc.skel.h"
#if __has_include("sni_tc.skel.h")
#include "sni_tc.skel.h"
#else
#define sni_tc__elf_bytes NULL
#endif
#if __has_include("guard_tc.skel.h")
#include "guard_tc.skel.h"
#else
#define guard_tc__elf_bytes NULL
#endif
#if __has_include("classify_xdp.skel.h")
#include "classify_xdp.skel.h"
#else
#define classify_xdp__elf_bytes NULL
#endif
#if __has_include("guard_xdp.skel.h")
#include "guard_xdp.skel.h"
#else
#define guard_xdp__elf_bytes NULL
#endif

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
	[EG_MAP_WATCHED_NAMES] = {"watched_names", BPF_MAP_TYPE_HASH, sizeof(struct eg_name_key),
				  sizeof(struct eg_name)},
	[EG_MAP_RESOLVERS] = {"resolvers", BPF_MAP_TYPE_HASH, sizeof(struct eg_address), 4},
	[EG_MAP_LISTENERS] = {"listeners", BPF_MAP_TYPE_SOCKMAP, 4, 8},
	[EG_MAP_COUNTERS] = {"counters", BPF_MAP_TYPE_PERCPU_HASH, sizeof(struct eg_counter_key),
			     sizeof(struct eg_counter)},
	[EG_MAP_CONFIG] = {"config", BPF_MAP_TYPE_ARRAY, 4, sizeof(struct eg_config)},
	[EG_MAP_EVENTS] = {"events", BPF_MAP_TYPE_RINGBUF, 0, 0},
	[EG_MAP_EVENT_RATE] = {"event_rate", BPF_MAP_TYPE_LRU_HASH, 4, 16},
};

/* order: egress_tc must judge before sni_tc sees a packet, and both before anyone else. */
const struct eg_program_shape eg_program_table[EG_PROGRAM_COUNT] = {
	[EG_PROGRAM_EGRESS_TC] = {"egress_tc", EG_KIND_INGRESS, true, 1, "nothing can be captured",
				  egress_tc__elf_bytes},
	[EG_PROGRAM_REPLY_TC] = {"reply_tc", EG_KIND_INGRESS, true, 1,
				 "the agent's answers cannot reach the pods", reply_tc__elf_bytes},
	[EG_PROGRAM_DNS_TC] = {"dns_tc", EG_KIND_EGRESS, false, 1,
			       "names are known only as the agent resolves them itself",
			       dns_tc__elf_bytes},
	[EG_PROGRAM_SNI_TC] = {"sni_tc", EG_KIND_INGRESS, false, 2,
			       "a watched name on an address that nobody resolved is not noticed",
			       sni_tc__elf_bytes},
	[EG_PROGRAM_GUARD_TC] = {"guard_tc", EG_KIND_EGRESS, true, 1,
				 "the uplinks cannot be guarded", guard_tc__elf_bytes},
	[EG_PROGRAM_CLASSIFY_XDP] = {"classify_xdp", EG_KIND_XDP, false, 1,
				     "nothing is classified at XDP", classify_xdp__elf_bytes},
	[EG_PROGRAM_GUARD_XDP] =
		{"guard_xdp", EG_KIND_XDP, false, 1,
		 "claims of the gateway's address from outside are not dropped at XDP",
		 guard_xdp__elf_bytes},
	[EG_PROGRAM_LISTENER_LOOKUP] = {"listener_lookup", EG_KIND_NETNS, true, 1,
					"connections cannot be given to the workers",
					listener_lookup__elf_bytes},
};
