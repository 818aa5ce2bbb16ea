/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One file of libcni's result cache (containernetworking/cni, libcni/api.go, `cachedInfo`): what a
 * CNI plugin answered of one pod and network, and for whom it was asked. The form is no stable
 * interface, so it is read leniently: what is not looked for may be anything. Pure; private to this
 * room.
 */
#ifndef EGRET_DATAPATH_CNI_FILE_H
#define EGRET_DATAPATH_CNI_FILE_H

#include "base/arena.h"
#include "base/base.h"
#include "base/error.h"
#include "egret/abi/maps.h"
#include "policy/identity.h"

#define EG_CNI_LINKS 8

struct eg_cni_file {
	struct eg_identity identity; /* labels and accounts unknown */
	const char *sandbox;	     /* path of its network namespace; NULL: none is named */
	/* Of interfaces in a sandbox, and those that are of no interface. */
	struct eg_address addresses[EG_POD_ADDRESSES];
	size_t address_count, addresses_more;
	/* Names of interfaces outside of any sandbox, as they stand there: the bridge, then the
	 * pod's. Of more than fit the first are left out. */
	const char *links[EG_CNI_LINKS];
	size_t link_count;
};

/* Strings go into memory. 0; -ENODATA: it is of no pod of Kubernetes; -EINVAL: what it is can't be
 * said; -ENOMEM. With a sentence that begins with `file`. */
int eg_cni_parse(const char *file, const char *text, size_t bytes, struct eg_arena *memory,
		 struct eg_cni_file *out, struct eg_error *error) EG_MUST;
/* Puts the address in unless it is there. */
void eg_cni_add_address(struct eg_address *list, size_t *count, size_t *more,
			const struct eg_address *a);

#endif
