/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The result cache of libcni (/var/lib/cni/results), which container runtimes keep: who a pod is,
 * its network namespace and its addresses, before the pod sends its first packet. Its labels are
 * not there (eg_identity.labels_unknown and the like are set).
 *
 * Lenient: a file that describes no pod is passed over, and counted in the list. So is one whose
 * sandbox is gone: the directory outlives a reboot, and addresses are given to others. Files of one
 * uid are joined (a pod may be in several networks). Of two pods with one address the newer file's
 * has it. One thread.
 */
#ifndef EGRET_DATAPATH_CNI_DIR_H
#define EGRET_DATAPATH_CNI_DIR_H

#include "datapath/pod_list.h"

#define EG_CNI_DIR "/var/lib/cni/results"

struct eg_cni_dir;

/* Opens and begins to watch, also where the directory is not there yet: list.absent says so then.
 */
int eg_cni_dir_open(const char *path, struct eg_cni_dir **out, struct eg_error *error) EG_MUST;
void eg_cni_dir_close(struct eg_cni_dir *d);
/* Readable when the directory changed: call changed(), and read() when it says so. */
int eg_cni_dir_fd(const struct eg_cni_dir *d);
/* Empties the watch; true when something was in it. */
bool eg_cni_dir_changed(struct eg_cni_dir *d);
/*
 * The whole directory as it is now, newest file first; what has not changed is not read again. An
 * error: of a file it can't be said what it holds now (no memory, no descriptor, a bad disk); what
 * was known before had better stay. The caller frees *out.
 */
int eg_cni_dir_read(struct eg_cni_dir *d, struct eg_pod_list *out, struct eg_error *error) EG_MUST;

#endif
