/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause */
/* The outcome of a packet or a request: generated from reasons.def, shared with bpf/. */
#ifndef EGRET_ABI_REASONS_H
#define EGRET_ABI_REASONS_H

enum eg_reason {
#define EG_REASON(number, name, label, status, text) EG_REASON_##name = number,
#include "egret/abi/reasons.def"
#undef EG_REASON
};

/* One more than the largest number a reason may have. */
#define EG_REASON_MAX 128

#endif
