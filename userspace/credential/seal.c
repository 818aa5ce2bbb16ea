/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor's half: from a file to a sealed memfd. */
#include "credential/credential.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int open_beneath(int dir_fd, const char *path)
{
	struct open_how how = {
		/* NONBLOCK: a FIFO put there must not hold the supervisor. */
		.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	long fd = syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

static int write_all(int fd, struct eg_str bytes)
{
	while (bytes.n) {
		ssize_t n = write(fd, bytes.p, bytes.n);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		bytes.p += n;
		bytes.n -= (size_t)n;
	}
	return 0;
}

static int to_memfd(const struct eg_secret *secret, int *out)
{
	EG_CLEANUP_FD int fd = memfd_create("egret-credential", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r;

	if (fd < 0)
		return -errno;
	r = write_all(fd, eg_secret_bytes(secret));
	if (r)
		return r;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return -errno;
	*out = eg_fd_take(&fd);
	return 0;
}

int eg_credential_seal(int dir_fd, const struct eg_credential_spec *spec, int *memfd,
		       struct eg_error *e)
{
	EG_CLEANUP_FD int fd = -1;
	struct eg_secret *secret = NULL;
	struct stat st = {0};
	int r;

	if (spec->type == EG_CREDENTIAL_NONE) {
		*memfd = -1;
		return 0;
	}
	fd = open_beneath(dir_fd, spec->file);
	if (fd < 0)
		return eg_error_set(e, fd, "credential \"%s\": %s: %s", spec->name, spec->file,
				    fd == -EXDEV ? "it leads out of the credentials directory"
						 : strerror(-fd));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return eg_error_set(e, S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL,
				    "credential \"%s\": %s: %s; expected a regular file",
				    spec->name, spec->file,
				    S_ISDIR(st.st_mode) ? "a directory" : "a pipe or a device");
	r = eg_secret_read_fd(fd, EG_CREDENTIAL_MAX_BYTES, &secret);
	if (r)
		return eg_error_set(e, r, "credential \"%s\": %s: %s", spec->name, spec->file,
				    r == -ENODATA ? "the file is empty"
				    : r == -EFBIG ? "larger than 8 KiB"
						  : strerror(-r));
	if (!eg_credential_valid(eg_secret_bytes(secret)))
		r = eg_error_set(e, -EINVAL,
				 "credential \"%s\": %s: has a space, a line break or another byte "
				 "that no header may have",
				 spec->name, spec->file);
	else
		r = to_memfd(secret, memfd);
	if (r && r != -EINVAL)
		eg_error_set(e, r, "credential \"%s\": memfd: %s", spec->name, strerror(-r));
	eg_secret_unref(secret);
	return r;
}
