/* SPDX-License-Identifier: Apache-2.0 */
/* Where the running kernel's struct sk_buff has its fields, by the kernel's own BTF. */
#ifndef EGRET_DATAPATH_SKB_LAYOUT_H
#define EGRET_DATAPATH_SKB_LAYOUT_H

#include "egret/abi/skb_layout.h"

/* 0, or -errno and all zero: no BTF of the kernel (CONFIG_DEBUG_INFO_BTF), or not as expected. */
int eg_skb_layout_find(struct eg_skb_layout *out);

#endif
