/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/cpu_wait.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* "RAN WAITED SLICES", in nanoseconds. */
static uint64_t thread_waited_ns(int tasks, const char *tid)
{
	char path[64], text[96], *waited;
	ssize_t n;
	int fd;

	if (snprintf(path, sizeof(path), "%.20s/schedstat", tid) < 0)
		return 0;
	fd = openat(tasks, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	waited = strchr(text, ' ');
	return waited ? strtoull(waited + 1, NULL, 10) : 0;
}

uint64_t eg_cpu_waited_ns(pid_t pid)
{
	uint64_t sum = 0;
	char path[64];
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	tasks = opendir(path);
	if (!tasks)
		return 0;
	for (const struct dirent *d = readdir(tasks); d; d = readdir(tasks))
		if (d->d_name[0] != '.')
			sum += thread_waited_ns(dirfd(tasks), d->d_name);
	closedir(tasks);
	return sum;
}

bool eg_cpu_starved(uint64_t silent_ms, uint64_t waited_ns)
{
	return silent_ms < EG_STARVED_MS && waited_ns / 1000000 * 2 >= silent_ms;
}
