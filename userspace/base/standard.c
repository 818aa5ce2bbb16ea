/* SPDX-License-Identifier: Apache-2.0 */
#include "base/standard.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

void eg_standard_complete(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		int null;

		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		/* The lowest number that is free, which is this one. */
		null = open("/dev/null", fd ? O_RDONLY : O_WRONLY);
		if (null != fd)
			eg_fd_close(&null);
	}
}

int eg_standard_unblocked(int fd)
{
	char path[32];
	struct stat st;

	if (fstat(fd, &st))
		return -1;
	errno = 0;
	if (!S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode))
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}
