/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Where the running kernel's struct sk_buff has what bpf/lib/offload.h looks at, in bytes. */
#ifndef EGRET_ABI_SKB_LAYOUT_H
#define EGRET_ABI_SKB_LAYOUT_H

#include <linux/types.h>

struct eg_skb_layout {
	__u16 csum_start_at; /* csum_offset follows it; 0: nothing is known */
	__u16 head_at;
	__u16 data_at;
	__u16 ip_summed_at;    /* the byte that holds its two bits */
	__u16 ip_summed_shift; /* and where in that byte */
	__u16 pad[3];
};

#endif
