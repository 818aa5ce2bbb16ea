/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor's side of the signer's control socket. */
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/mint_wire.h"

static int send_control(int fd, uint32_t type, uint32_t sequence, const int *fds, size_t count)
{
	struct eg_mint_control message = {.type = type, .sequence = sequence};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} control = {.bytes = {0}};
	struct iovec v = {&message, sizeof(message)};
	struct msghdr m = {
		.msg_iov = &v,
		.msg_iovlen = 1,
	};
	ssize_t n;

	if (count) {
		struct cmsghdr *c;

		m.msg_control = control.bytes;
		m.msg_controllen = CMSG_SPACE(count * sizeof(int));
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, count * sizeof(int));
	}
	do
		n = sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return 0;
	return errno == ECONNRESET || errno == ENOTCONN ? -EPIPE : -errno;
}

int eg_mint_control_ca(int control_fd, uint32_t sequence, int cert_fd, int key_fd)
{
	int fds[2] = {cert_fd, key_fd};

	return send_control(control_fd, EG_MINT_CA, sequence, fds, 2);
}

int eg_mint_control_client(int control_fd, uint32_t sequence, int client_fd)
{
	return send_control(control_fd, EG_MINT_CLIENT, sequence, &client_fd, 1);
}

int eg_mint_control_ping(int control_fd, uint32_t sequence)
{
	return send_control(control_fd, EG_MINT_PING, sequence, NULL, 0);
}

int eg_mint_control_names(int control_fd, uint32_t sequence, const char *const *names, size_t count)
{
	EG_CLEANUP_FD int fd = memfd_create("egret-names", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	for (size_t i = 0; i < count; i++)
		if (dprintf(fd, "%s\n", names[i]) < 0)
			return -EIO;
	return send_control(control_fd, EG_MINT_NAMES, sequence, &fd, 1);
}

int eg_mint_control_receive(int control_fd, struct eg_mint_control_reply *out)
{
	ssize_t n;

	do
		n = recv(control_fd, out, sizeof(*out), MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	if (n == 0)
		return -EPIPE;
	if (n != sizeof(*out))
		return -EPROTO;
	out->text[sizeof(out->text) - 1] = '\0';
	return 0;
}

int eg_mint_control_wait(int control_fd, uint32_t sequence, int timeout_ms, struct eg_error *e)
{
	uint64_t until = eg_now_ms() + (uint64_t)timeout_ms;
	struct eg_mint_control_reply reply;

	for (;;) {
		struct pollfd p = {.fd = control_fd, .events = POLLIN};
		uint64_t now = eg_now_ms();
		int r = eg_mint_control_receive(control_fd, &reply);

		if (!r && reply.sequence == sequence) {
			if (reply.error)
				return eg_error_set(e, reply.error, "signer: %s", reply.text);
			return 0;
		}
		if (!r)
			continue;
		if (r != -EAGAIN)
			return eg_error_set(e, r, "signer: %s", strerror(-r));
		if (now >= until)
			return eg_error_set(e, -ETIMEDOUT, "signer: no answer in %d ms",
					    timeout_ms);
		(void)poll(&p, 1, (int)(until - now));
	}
}
