/* SPDX-License-Identifier: Apache-2.0 */
/* The number by which the kernel's bpf_skb_cgroup_id() knows a process: its cgroup v2's. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "datapath/internal.h"

/* Where cgroup v2 is mounted: alone, or beside v1 ("unified", systemd's hybrid layout). */
int eg_cgroup_mount(char *out, size_t n)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[4096];
	int r = -ENOENT;

	if (!f)
		return -errno;
	while (r && fgets(line, sizeof(line), f)) {
		char *dash = strstr(line, " - cgroup2 ");
		char *at = line;

		if (!dash)
			continue;
		for (int i = 0; at && i < 4; i++)
			at = strchr(at + 1, ' ');
		if (!at)
			continue;
		at[1 + strcspn(at + 1, " ")] = 0;
		snprintf(out, n, "%s", at + 1);
		r = 0;
	}
	fclose(f);
	return r;
}

static int find_path(pid_t pid, char *out, size_t n)
{
	char name[64], line[4096];
	int r = -ENOENT;
	FILE *f;

	snprintf(name, sizeof(name), pid ? "/proc/%d/cgroup" : "/proc/self/cgroup", (int)pid);
	f = fopen(name, "re");
	if (!f)
		return -errno;
	while (r && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		if (strncmp(line, "0::", 3))
			continue;
		snprintf(out, n, "%s", line + 3);
		r = 0;
	}
	fclose(f);
	return r;
}

int eg_cgroup_id(pid_t pid, uint64_t *id, struct eg_error *error)
{
	char mount[4096], path[4096], whole[8200];
	union {
		struct file_handle handle;
		char bytes[sizeof(struct file_handle) + 8];
	} h = {.handle.handle_bytes = 8};
	int mount_id;
	int r;

	r = eg_cgroup_mount(mount, sizeof(mount));
	if (!r)
		r = find_path(pid, path, sizeof(path));
	if (r)
		return eg_error_set(error, r, "there is no cgroup v2 on this node");
	if (!strcmp(path, "/"))
		return eg_error_set(
			error, -ENOENT,
			"the process is in the root of cgroup v2, as every other one may be");
	snprintf(whole, sizeof(whole), "%s%s", mount, path);
	if (name_to_handle_at(AT_FDCWD, whole, &h.handle, &mount_id, 0))
		return eg_error_set(error, -errno, "cannot look at the cgroup %s: %s", whole,
				    strerror(errno));
	memcpy(id, h.handle.f_handle, sizeof(*id));
	return 0;
}
