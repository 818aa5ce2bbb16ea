/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cgroups v2 of this node's pods, found by the names that the kubelet gives them
 * (pkg/kubelet/cm: cgroup_manager_linux.go, pod_container_manager_linux.go). With the systemd
 * driver they are kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID.slice, the
 * dashes of the uid being underscores; with cgroupfs kubepods/burstable/podUID; without the middle
 * part those of the class Guaranteed. Both also below kubelet.slice or kubelet (kind).
 */
#ifndef EGRET_DATAPATH_CGROUP_PODS_H
#define EGRET_DATAPATH_CGROUP_PODS_H

#include "base/base.h"
#include "base/error.h"

#define EG_CGROUP_UID 129 /* bytes of a pod's uid, with NUL */

/*
 * The uid in the name of a pod's cgroup, as the API has it. False: it is no pod's.
 */
bool eg_cgroup_pod_uid(const char *name, char uid[EG_CGROUP_UID]);
/* True: pods' cgroups may be below one of this name. */
bool eg_cgroup_has_pods(const char *name);

/*
 * A directory of cgroup v2, open for reading: `root`, or, if that is NULL, where cgroup v2 is
 * mounted. -ENOENT: nowhere; -ENOTSUP: root is of another file system (cgroup v1). The caller's.
 */
int eg_cgroup_root(const char *root, int *fd, struct eg_error *error) EG_MUST;
/*
 * Calls `pod` for each pod's cgroup with a descriptor of it, borrowed, and `parent` for each
 * directory in which one may appear with its path relative to the root ("." itself); each may be
 * NULL. Ends early with what one of them returns other than 0. What vanishes meanwhile is left out.
 */
int eg_cgroup_pods(int root, int (*pod)(void *context, const char *uid, int fd),
		   int (*parent)(void *context, const char *path), void *context) EG_MUST;
/* The number by which BPF programs know the cgroup. 0 or -errno. */
int eg_cgroup_fd_id(int fd, uint64_t *id) EG_MUST;
/* Whether this very process is in the cgroup or below it, whatever cgroup namespace it has. */
bool eg_cgroup_has_self(int fd);

#endif
