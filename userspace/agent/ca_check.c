/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ca_check.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/ca.h"

int eg_ca_read(const char *dir, const char *file, struct eg_secret **out, struct eg_error *e)
{
	char path[4096];
	EG_CLEANUP_FD int fd = -1;
	int r;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO would be waited for */
	r = fd < 0 ? -errno : eg_secret_read_fd(fd, EG_CA_FILE_BYTES, out);
	return r ? eg_error_set(e, r, "%s: %s", path, strerror(-r)) : 0;
}

static int look(const char *dir, struct eg_error *e)
{
	struct eg_secret *cert = NULL, *key = NULL;
	struct eg_signer *signer = NULL;
	int r = eg_ca_read(dir, "intermediate.crt", &cert, e);

	if (!r)
		r = eg_ca_read(dir, "intermediate.key", &key, e);
	if (!r) {
		signer = eg_signer_create(eg_secret_bytes(cert), eg_secret_bytes(key), e);
		r = signer ? 0 : -EINVAL;
	}
	eg_signer_destroy(signer);
	eg_secret_unref(cert);
	eg_secret_unref(key);
	return r;
}

/* The child's whole life. What it says is the text that follows its errno. */
static void look_and_say(const char *dir, int to)
{
	struct eg_error e = {""};
	int r = look(dir, &e);

	if (write(to, &r, sizeof(r)) != sizeof(r) ||
	    write(to, e.text, sizeof(e.text)) != sizeof(e.text))
		_exit(1);
	_exit(0);
}

static bool read_all(int fd, void *to, size_t n)
{
	char *p = to;

	while (n) {
		ssize_t got = read(fd, p, n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		p += got;
		n -= (size_t)got;
	}
	return true;
}

int eg_ca_check(const char *dir, struct eg_error *e)
{
	struct eg_error said = {""};
	EG_CLEANUP_FD int from = -1;
	int ends[2], r = 0;
	bool answered;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return eg_error_set(e, -errno, "pipe: %s", strerror(errno));
	from = ends[0];
	pid = fork();
	if (!pid)
		look_and_say(dir, ends[1]);
	close(ends[1]);
	if (pid < 0)
		return eg_error_set(e, -EAGAIN, "fork: %s", strerror(errno));
	answered = read_all(from, &r, sizeof(r)) && read_all(from, said.text, sizeof(said.text));
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (!answered)
		return eg_error_set(e, -EIO, "the CA in %s could not be looked at", dir);
	said.text[sizeof(said.text) - 1] = '\0';
	return r ? eg_error_set(e, r, "the CA in %s can't be used: %s", dir, said.text) : 0;
}
