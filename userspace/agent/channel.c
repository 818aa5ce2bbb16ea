/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/channel.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define SEALS	     (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#define SEND_BYTES   (4 << 20)
#define PAYLOAD(f)   (offsetof(struct eg_message, u) + sizeof(((struct eg_message *)0)->u.f))
#define BARE	     offsetof(struct eg_message, u)
#define MEMORY_LIMIT ((size_t)64 << 20)

/* size and descriptors of each message; a hole has size 0 */
static const struct {
	size_t bytes;
	unsigned int least, most;
} shapes[EG_WIRE_TYPES] = {
	[EG_WIRE_SPAWN] = {BARE, 1, 1},
	[EG_WIRE_SIGNAL] = {BARE, 0, 0},
	[EG_WIRE_SPAWNED] = {BARE, 0, 0},
	[EG_WIRE_EXITED] = {BARE, 0, 0},
	[EG_WIRE_CONFIG] = {PAYLOAD(config), 0, 2},
	[EG_WIRE_FORBIDDEN] = {BARE, 1, 1},
	[EG_WIRE_FLIGHT] = {BARE, 1, 1},
	[EG_WIRE_WORKER] = {BARE, 2, 2},
	[EG_WIRE_CHAIN] = {BARE, 1, 1},
	[EG_WIRE_DEFAULT_TRUST] = {BARE, 1, 1},
	[EG_WIRE_START] = {BARE, 0, 0},
	[EG_WIRE_POLICY] = {BARE, 1, 1},
	[EG_WIRE_PODS] = {BARE, 1, 1},
	[EG_WIRE_CREDENTIAL] = {BARE, 1, 1},
	[EG_WIRE_KEEP] = {BARE, 0, 0},
	[EG_WIRE_PROVIDER_TRUST] = {BARE, 1, 1},
	[EG_WIRE_KEEP_TRUST] = {BARE, 0, 0},
	[EG_WIRE_COMMIT] = {BARE, 0, 0},
	[EG_WIRE_PING] = {BARE, 0, 0},
	[EG_WIRE_DNS] = {PAYLOAD(dns), 0, 0},
	[EG_WIRE_STATS] = {PAYLOAD(stats), 0, 0},
	[EG_WIRE_DRAIN] = {BARE, 0, 0},
	[EG_WIRE_ACCESS_LOG] = {BARE, 1, 1},
	[EG_WIRE_ACCEPT] = {BARE, 0, 0},
	[EG_WIRE_PAGE_TOKEN] = {PAYLOAD(page_token), 0, 0},
	[EG_WIRE_TRACE] = {PAYLOAD(trace), 0, 0},
	[EG_WIRE_TRACE_END] = {BARE, 0, 0},
	[EG_WIRE_TRACE_TAKEN] = {BARE, 0, 0},
	[EG_WIRE_READY] = {BARE, 0, 0},
	[EG_WIRE_ACK] = {BARE, 0, 0},
	[EG_WIRE_NACK] = {PAYLOAD(text), 0, 0},
	[EG_WIRE_PONG] = {BARE, 0, 0},
	[EG_WIRE_RESOLVED] = {PAYLOAD(addresses), 0, 0},
	[EG_WIRE_LEARNED] = {PAYLOAD(addresses), 0, 0},
	[EG_WIRE_WANT_STATS] = {BARE, 0, 0},
	[EG_WIRE_FAILED] = {PAYLOAD(text), 0, 0},
	[EG_WIRE_DENIALS] = {PAYLOAD(denials), 0, 0},
	[EG_WIRE_TRACED] = {PAYLOAD(traced), 0, 0},
};

size_t eg_wire_size(uint32_t type)
{
	return type < EG_WIRE_TYPES ? shapes[type].bytes : 0;
}

void eg_wire_fds(uint32_t type, unsigned int *least, unsigned int *most)
{
	*least = type < EG_WIRE_TYPES ? shapes[type].least : 0;
	*most = type < EG_WIRE_TYPES ? shapes[type].most : 0;
}

int eg_channel_pair(int ends[2])
{
	int bytes = SEND_BYTES;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
		return -errno;
	for (int i = 0; i < 2; i++)
		/* Best effort: without NET_ADMIN the limit of the system holds. */
		if (setsockopt(ends[i], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)) < 0)
			(void)setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	return 0;
}

int eg_channel_send_bytes(int channel, const void *bytes, size_t size, const int *fds,
			  unsigned int count)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * EG_WIRE_FDS)];
		struct cmsghdr align;
	} control = {0};
	struct iovec v = {(void *)(uintptr_t)bytes, size};
	struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1};
	ssize_t n;

	if (count > EG_WIRE_FDS)
		return -EINVAL;
	if (count) {
		struct cmsghdr *c;

		h.msg_control = control.bytes;
		h.msg_controllen = CMSG_SPACE(sizeof(int) * count);
		c = CMSG_FIRSTHDR(&h);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * count);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * count);
	}
	do
		n = sendmsg(channel, &h, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET || errno == ENOTCONN ? -EPIPE : -errno;
	return (size_t)n == v.iov_len ? 0 : -EPROTO;
}

int eg_channel_send(int channel, const struct eg_message *m, const int *fds, unsigned int count)
{
	size_t size = eg_wire_size(m->type);

	if (!size || count < shapes[m->type].least || count > shapes[m->type].most)
		return -EINVAL;
	return eg_channel_send_bytes(channel, m, size, fds, count);
}

void eg_channel_close_fds(int fds[EG_WIRE_FDS])
{
	for (unsigned int i = 0; i < EG_WIRE_FDS; i++)
		eg_fd_close(&fds[i]);
}

static unsigned int take_fds(struct msghdr *h, int fds[EG_WIRE_FDS])
{
	unsigned int count = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (count < EG_WIRE_FDS)
				fds[count++] = fd;
			else
				close(fd);
		}
	}
	return count;
}

int eg_channel_receive_bytes(int channel, void *bytes, size_t size, size_t *n, int fds[EG_WIRE_FDS],
			     unsigned int *count)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * EG_WIRE_FDS)];
		struct cmsghdr align;
	} control;
	struct iovec v = {bytes, size};
	struct msghdr h = {.msg_iov = &v,
			   .msg_iovlen = 1,
			   .msg_control = control.bytes,
			   .msg_controllen = sizeof(control.bytes)};
	ssize_t got;
	int reset = 0;

	for (unsigned int i = 0; i < EG_WIRE_FDS; i++)
		fds[i] = -1;
	/* Gone with something of ours unread: told once, then what it had said can still be read.
	 */
	do
		got = recvmsg(channel, &h, MSG_CMSG_CLOEXEC);
	while (got < 0 && (errno == EINTR || (errno == ECONNRESET && !reset++)));
	if (got < 0)
		return errno == ECONNRESET ? 0 : -errno;
	if (got == 0)
		return 0;
	*n = (size_t)got;
	*count = take_fds(&h, fds);
	if (!(h.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return 1;
	eg_channel_close_fds(fds);
	/* Room there was for all that a message may have: it is this process that may have no more.
	 */
	return h.msg_flags & MSG_TRUNC || *count >= EG_WIRE_FDS ? -EPROTO : -EMFILE;
}

int eg_channel_receive(int channel, struct eg_message *m, int fds[EG_WIRE_FDS])
{
	unsigned int count;
	size_t n;
	int r = eg_channel_receive_bytes(channel, m, sizeof(*m), &n, fds, &count);

	if (r == -EMFILE && (n < sizeof(m->type) || n != eg_wire_size(m->type)))
		return -EPROTO;
	if (r != 1)
		return r;
	if (n < sizeof(m->type) || n != eg_wire_size(m->type) || count < shapes[m->type].least ||
	    count > shapes[m->type].most) {
		eg_channel_close_fds(fds);
		return -EPROTO;
	}
	return 1;
}

int eg_memory_seal(const char *name, struct eg_str bytes, int *memfd)
{
	EG_CLEANUP_FD int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	size_t done = 0;

	if (fd < 0)
		return -errno;
	while (done < bytes.n) {
		ssize_t n = write(fd, bytes.p + done, bytes.n - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	if (fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		return -errno;
	*memfd = eg_fd_take(&fd);
	return 0;
}

int eg_memory_read(int memfd, size_t n, char **bytes)
{
	int seals = fcntl(memfd, F_GET_SEALS);
	size_t done = 0;
	char *p;

	if (seals < 0 || (seals & SEALS) != SEALS || n > MEMORY_LIMIT)
		return -EPROTO;
	p = malloc(n + 1);
	if (!p)
		return -ENOMEM;
	while (done < n) {
		ssize_t got = pread(memfd, p + done, n - done, (off_t)done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) {
			free(p);
			return got < 0 ? -errno : -EPROTO;
		}
		done += (size_t)got;
	}
	p[n] = '\0';
	*bytes = p;
	return 0;
}
