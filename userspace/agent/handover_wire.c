/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/handover_wire.h"

#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/channel.h"

void eg_handover_message_init(struct eg_handover_message *m, enum eg_handover_type type)
{
	*m = (struct eg_handover_message){
		.magic = EG_HANDOVER_MAGIC, .version = EG_HANDOVER_VERSION, .type = (uint32_t)type};
}

/* How many descriptors a message must have; UINT_MAX: there is no such message. */
static unsigned int descriptors(const struct eg_handover_message *m)
{
	const uint32_t all = EG_HANDOVER_NAMESPACE | EG_HANDOVER_METRICS;

	switch ((enum eg_handover_type)m->type) {
	case EG_HANDOVER_HELLO:
	case EG_HANDOVER_REFUSE:
	case EG_HANDOVER_READY:
	case EG_HANDOVER_GO:
		return 0;
	case EG_HANDOVER_LISTENER:
		return 1;
	case EG_HANDOVER_BASE:
		if (m->flags & ~all)
			break;
		return 1u + !!(m->flags & EG_HANDOVER_NAMESPACE) +
		       !!(m->flags & EG_HANDOVER_METRICS);
	case EG_HANDOVER_TYPES:
		break;
	}
	return ~0u;
}

int eg_handover_send(int fd, const struct eg_handover_message *m, const int *fds,
		     unsigned int count)
{
	return descriptors(m) == count ? eg_channel_send_bytes(fd, m, sizeof(*m), fds, count)
				       : -EINVAL;
}

static bool strings_end(const struct eg_handover_message *m)
{
	return memchr(m->release, 0, sizeof(m->release)) &&
	       memchr(m->pin_dir, 0, sizeof(m->pin_dir)) &&
	       memchr(m->namespace_path, 0, sizeof(m->namespace_path)) &&
	       memchr(m->text, 0, sizeof(m->text));
}

int eg_handover_receive(int fd, struct eg_handover_message *m, int fds[EG_WIRE_FDS])
{
	/* Room for a longer message of a later version, of which only the version is looked at. */
	union {
		struct eg_handover_message m;
		char bytes[4096];
	} in;
	unsigned int count = 0;
	size_t n = 0;
	int r = eg_channel_receive_bytes(fd, &in, sizeof(in), &n, fds, &count);

	if (r != 1)
		return r;
	if (n < offsetof(struct eg_handover_message, number) || in.m.magic != EG_HANDOVER_MAGIC)
		r = -EPROTO;
	else if (in.m.version != EG_HANDOVER_VERSION)
		r = -EPROTONOSUPPORT;
	else if (n != sizeof(in.m) || descriptors(&in.m) != count || !strings_end(&in.m))
		r = -EPROTO;
	if (r == 1) {
		*m = in.m;
		return 1;
	}
	eg_channel_close_fds(fds);
	if (r == -EPROTONOSUPPORT)
		m->version = in.m.version;
	return r;
}

bool eg_handover_peer_is_root(int fd, pid_t *pid, uid_t *uid)
{
	struct ucred peer = {.pid = 0, .uid = (uid_t)-1};
	socklen_t n = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0)
		peer.uid = (uid_t)-1;
	*pid = peer.pid;
	*uid = peer.uid;
	return peer.uid == 0;
}

/* 0 and an address; 1: nothing is there; an error and a sentence: not a path for a socket of ours.
 */
static int look(const char *path, struct sockaddr_un *address, struct eg_error *e)
{
	struct stat st;

	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(address->sun_path))
		return eg_error_set(e, -ENAMETOOLONG,
				    "--handover-socket %s: too long for a socket's path (at most "
				    "%zu bytes)",
				    path, sizeof(address->sun_path) - 1);
	memcpy(address->sun_path, path, strlen(path) + 1);
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 1
				       : eg_error_set(e, -errno, "--handover-socket %s: %s", path,
						      strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return eg_error_set(e, -ENOTSOCK,
				    "--handover-socket %s is there and is not a socket; remove it, "
				    "or name another path",
				    path);
	return 0;
}

int eg_handover_connect(const char *path, int *fd, struct eg_error *e)
{
	EG_CLEANUP_FD int s = -1;
	struct sockaddr_un address;
	pid_t pid;
	uid_t uid;
	int r = look(path, &address, e);

	if (r)
		return r > 0 ? -ENOENT : r;
	s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s < 0)
		return eg_error_set(e, -errno, "hand-over socket: %s", strerror(errno));
	if (connect(s, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		if (errno == ECONNREFUSED || errno == ENOENT)
			return -ENOENT; /* left by one that died */
		return eg_error_set(e, -errno, "--handover-socket %s: %s", path,
				    errno == EPROTOTYPE ? "a socket of something else listens there"
				    : errno == EAGAIN	? "who listens there does not answer"
							: strerror(errno));
	}
	/* Of a listening socket these are the rights of the one who called listen(). */
	if (!eg_handover_peer_is_root(s, &pid, &uid))
		return eg_error_set(e, -EPERM,
				    "--handover-socket %s: uid %u (pid %d) listens there, not "
				    "root; nothing is taken from it",
				    path, uid, pid);
	*fd = eg_fd_take(&s);
	return 0;
}

int eg_handover_listen(const char *path, int *fd, struct eg_error *e)
{
	EG_CLEANUP_FD int s = -1;
	struct sockaddr_un address;
	mode_t before;
	int r = look(path, &address, e);

	if (r < 0)
		return r;
	if (!r && unlink(path) < 0)
		return eg_error_set(e, -errno, "--handover-socket %s: %s", path, strerror(errno));
	s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s < 0)
		return eg_error_set(e, -errno, "hand-over socket: %s", strerror(errno));
	before = umask(0177);
	r = bind(s, (const struct sockaddr *)&address, sizeof(address));
	umask(before);
	if (r < 0 || listen(s, 4) < 0)
		return eg_error_set(e, -errno, "--handover-socket %s: %s", path, strerror(errno));
	*fd = eg_fd_take(&s);
	return 0;
}
