/* SPDX-License-Identifier: Apache-2.0 */
/* Looks for a network namespace among all that can be opened here: those that are mounted, then
 * those that processes live in. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "datapath/internal.h"

/* The namespace at `path` if it is wanted, else -1. */
static int open_wanted(const char *path, eg_netns_wanted is, void *context)
{
	EG_CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	return fd >= 0 && is(context, fd) ? eg_fd_take(&fd) : -1;
}

/* proc(5): a blank in a path is written \040, and so on. */
static void unescape(char *s)
{
	char *to = s;

	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] && s[3]) {
			*to++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = 0;
}

/* Namespaces that are mounted somewhere: /run/netns, and wherever container runtimes keep them. */
static int find_mounted(eg_netns_wanted is, void *context)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t size = 0;
	int found = -1;

	while (f && found < 0 && getline(&line, &size, f) > 0) {
		char *root = strstr(line, " net:["), *path, *end;

		path = root ? strchr(root + 1, ' ') : NULL;
		end = path ? strchr(path + 1, ' ') : NULL;
		if (!end)
			continue;
		*end = 0;
		unescape(path + 1);
		found = open_wanted(path + 1, is, context);
	}
	free(line);
	if (f)
		fclose(f);
	return found;
}

/* Namespaces of processes. */
static int find_lived_in(eg_netns_wanted is, void *context)
{
	DIR *dir = opendir("/proc");
	struct dirent *e;
	int found = -1;

	while (dir && found < 0 && (e = readdir(dir))) {
		char path[300];

		if (e->d_name[0] < '1' || e->d_name[0] > '9')
			continue;
		snprintf(path, sizeof(path), "/proc/%s/ns/net", e->d_name);
		found = open_wanted(path, is, context);
	}
	if (dir)
		closedir(dir);
	return found;
}

int eg_namespace_find(eg_netns_wanted is, void *context)
{
	int fd = find_mounted(is, context);

	return fd >= 0 ? fd : find_lived_in(is, context);
}

struct numbered {
	struct nl_sock *netlink;
	int32_t nsid;
};

static bool has_number(void *context, int netns_fd)
{
	struct numbered *n = context;
	int32_t nsid = -1;

	return !eg_netlink_nsid(n->netlink, netns_fd, &nsid) && nsid == n->nsid;
}

int eg_namespace_find_number(struct nl_sock *netlink, int32_t nsid)
{
	struct numbered n = {netlink, nsid};

	return eg_namespace_find(has_number, &n);
}
