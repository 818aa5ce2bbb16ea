/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this kernel and these rights allow, found by trying (programs are loaded and thrown away),
 * never by version number. For the refusal at start and for `egretctl doctor`.
 */
#ifndef EGRET_DATAPATH_FEATURES_H
#define EGRET_DATAPATH_FEATURES_H

#include "base/base.h"

enum eg_feature_id {
	EG_FEATURE_BPFFS,	  /* required */
	EG_FEATURE_CAP_BPF,	  /* required */
	EG_FEATURE_CAP_NET_ADMIN, /* required */
	EG_FEATURE_CAP_PERFMON,	  /* required, or SYS_ADMIN: while programs are loaded, at start */
	EG_FEATURE_CAP_SYS_ADMIN, /* netns mode, until the namespace is made */
	EG_FEATURE_PROGRAMS,	  /* required: a TC program loads at all */
	EG_FEATURE_BTF,		  /* required: maps with names */
	EG_FEATURE_RINGBUF,	  /* required, 5.8 */
	EG_FEATURE_SK_LOOKUP,	  /* required, 5.9 */
	EG_FEATURE_REDIRECT_PEER, /* netns mode, 5.10 */
	EG_FEATURE_BPF_LOOP,	  /* names in the kernel, 5.17 */
	EG_FEATURE_TCX,		  /* 6.6; else clsact */
	EG_FEATURE_SKB_LAYOUT,	  /* where checksums are to be written (bpf/lib/offload.h) */
	EG_FEATURE_CGROUP2,	  /* guard_host: deny */
	EG_FEATURE_COUNT,
};

struct eg_feature {
	const char *label; /* "tcx" */
	bool present;
	bool required;	    /* egretd refuses to start without it (in the mode asked for) */
	bool unjudged;	    /* nothing is known: the right to try is missing, which is a
			       feature of its own in this table */
	int error;	    /* -errno of the probe; 0 when present */
	char sentence[256]; /* what is missing, what that costs, what to do; "" when present */
};

struct eg_features {
	struct eg_feature feature[EG_FEATURE_COUNT];
	bool usable; /* every required one is present */
};

/* pin_dir NULL: EG_PIN_DIR. netns: the mode asked for needs what netns mode needs. */
void eg_features_probe(struct eg_features *out, const char *pin_dir, bool netns);

#endif
