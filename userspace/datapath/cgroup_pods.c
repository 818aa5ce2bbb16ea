/* SPDX-License-Identifier: Apache-2.0 */
#include "datapath/cgroup_pods.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "datapath/internal.h"

#define DEPTH_MOST 8 /* of directories below the root, and of those in a pod */

static bool begins(const char *s, const char *with)
{
	return !strncmp(s, with, strlen(with));
}

bool eg_cgroup_pod_uid(const char *name, char uid[EG_CGROUP_UID])
{
	size_t n = strlen(name), slice = strlen(".slice");
	const char *at = name;

	if (n > slice && !strcmp(name + n - slice, ".slice")) {
		n -= slice;
		at = begins(name, "kube") ? strstr(name, "-pod") : NULL;
		if (!at)
			return false;
		at++;
	}
	if (!begins(at, "pod"))
		return false;
	at += 3;
	n -= (size_t)(at - name);
	if (!n || n >= EG_CGROUP_UID)
		return false;
	for (size_t i = 0; i < n; i++) {
		char c = at[i];

		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
		    c != '-' && c != '_')
			return false;
		uid[i] = c == '_' ? '-' : c;
	}
	uid[n] = '\0';
	return true;
}

bool eg_cgroup_has_pods(const char *name)
{
	return begins(name, "kubepods") || begins(name, "kubelet") || !strcmp(name, "burstable") ||
	       !strcmp(name, "besteffort");
}

int eg_cgroup_root(const char *root, int *fd, struct eg_error *error)
{
	char mount[4096];
	struct statfs fs;
	int r = 0;

	if (!root) {
		r = eg_cgroup_mount(mount, sizeof(mount));
		root = mount;
	}
	if (r)
		return eg_error_set(error, r,
				    "no cgroup v2 is mounted here (a node of cgroup v1 alone has "
				    "none; in a container it has to be mounted into it)");
	*fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*fd < 0)
		return eg_error_set(error, -errno, "the cgroup directory %s: %s", root,
				    strerror(errno));
	if (fstatfs(*fd, &fs) || fs.f_type != CGROUP2_SUPER_MAGIC) {
		eg_fd_close(fd);
		return eg_error_set(error, -ENOTSUP,
				    "%s is not of cgroup v2 (is this a node of cgroup v1?)", root);
	}
	return 0;
}

struct walk {
	int (*pod)(void *context, const char *uid, int fd);
	int (*parent)(void *context, const char *path);
	void *context;
};

/* Takes `fd`. */
static int walk(const struct walk *w, int fd, const char *path, int depth)
{
	DIR *dir = fdopendir(fd);
	struct dirent *e;
	int r;

	if (!dir) {
		r = -errno;
		close(fd);
		return r;
	}
	r = w->parent ? w->parent(w->context, path) : 0;
	while (!r && (e = readdir(dir))) {
		char uid[EG_CGROUP_UID], below[4096];
		bool pod = depth && eg_cgroup_pod_uid(e->d_name, uid);
		int n;

		if (e->d_type != DT_DIR || (!pod && !eg_cgroup_has_pods(e->d_name)))
			continue;
		n = snprintf(below, sizeof(below), "%s/%s", path, e->d_name);
		if (n < 0 || (size_t)n >= sizeof(below) || depth == DEPTH_MOST)
			continue;
		fd = openat(dirfd(dir), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0) {
			r = errno == ENOENT ? 0 : -errno;
		} else if (!pod) {
			r = walk(w, fd, below, depth + 1);
		} else {
			r = w->pod ? w->pod(w->context, uid, fd) : 0;
			close(fd);
		}
	}
	closedir(dir);
	return r;
}

int eg_cgroup_pods(int root, int (*pod)(void *context, const char *uid, int fd),
		   int (*parent)(void *context, const char *path), void *context)
{
	const struct walk w = {pod, parent, context};
	int fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : walk(&w, fd, ".", 0);
}

int eg_cgroup_fd_id(int fd, uint64_t *id)
{
	union {
		struct file_handle handle;
		char bytes[sizeof(struct file_handle) + 8];
	} h = {.handle.handle_bytes = 8};
	int mount_id;

	if (name_to_handle_at(fd, "", &h.handle, &mount_id, AT_EMPTY_PATH))
		return -errno;
	memcpy(id, h.handle.f_handle, sizeof(*id));
	return 0;
}

/* cgroup.procs has numbers of the reader's pid namespace; what is in none of it is 0. */
static bool lists_self(int fd)
{
	int procs = openat(fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	FILE *f = procs < 0 ? NULL : fdopen(procs, "re");
	long pid, self = (long)getpid();
	bool found = false;
	char line[32];

	if (!f) {
		if (procs >= 0)
			close(procs);
		return false;
	}
	while (!found && fgets(line, sizeof(line), f)) {
		pid = strtol(line, NULL, 10);
		found = pid == self;
	}
	fclose(f);
	return found;
}

/* Takes `fd`. */
static bool has_self(int fd, int depth)
{
	bool found = lists_self(fd);
	DIR *dir = fdopendir(fd);
	struct dirent *e;

	if (!dir) {
		close(fd);
		return found;
	}
	while (!found && depth < DEPTH_MOST && (e = readdir(dir))) {
		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		fd = openat(dirfd(dir), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		found = fd >= 0 && has_self(fd, depth + 1);
	}
	closedir(dir);
	return found;
}

bool eg_cgroup_has_self(int fd)
{
	int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return again >= 0 && has_self(again, 0);
}
