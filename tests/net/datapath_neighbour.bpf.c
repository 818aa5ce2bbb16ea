/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Somebody else's TC program on a pod's link: counts the packets it sees, and accepts them. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} neighbour_saw SEC(".maps");

SEC("tc")
int neighbour(struct __sk_buff *skb)
{
	__u32 zero = 0;
	__u64 *n = bpf_map_lookup_elem(&neighbour_saw, &zero);

	if (n)
		__sync_fetch_and_add(n, 1);
	return skb ? 0 : -1; /* TC_ACT_OK */
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
