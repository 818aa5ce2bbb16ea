/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The signer process: one thread, poll(2), no file is opened. It holds the intermediate's key and
 * does one thing with it. See mint_wire.h for what is said on its sockets.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/secret.h"
#include "net/ca.h"
#include "net/mint.h"
#include "net/mint_wire.h"

#define PEM_MAX (256u << 10)

struct serve {
	int control; /* -1 once the supervisor is gone */
	int client[EG_MINT_CLIENTS_MAX];
	size_t clients;
	struct eg_signer *signer;
	struct eg_error ca_wrong; /* as long as there is no signer: why the last CA was refused */
	char **names;		  /* kept for the next CA */
	size_t name_count;
	char *names_text;
	uint64_t warned_ms;
	union {
		struct eg_mint_request request;
		struct eg_mint_reply reply;
		unsigned char bytes[EG_MINT_MESSAGE_MAX];
	} buffer;
};

/* ---- control ---- */

/* To a worker that did not ask: by which intermediate leaves are signed from now on. One that can't
 * take it now hears it with its next leaf. */
static void say_chain(const struct serve *s, int fd)
{
	struct eg_str chain = eg_signer_chain(s->signer);
	struct eg_mint_reply r = {.chain_bytes = (uint16_t)chain.n};
	struct iovec v[2] = {{&r, sizeof(r)}, {(void *)(uintptr_t)chain.p, chain.n}};
	struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};

	(void)!sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* One that can't sign now takes the place of none that can. 0 or -EKEYEXPIRED. */
static int no_worse(const struct serve *s, const struct eg_signer *next, struct eg_error *e)
{
	int r = eg_signer_usable(next, e);

	return r && s->signer && !eg_signer_usable(s->signer, NULL) ? r : 0;
}

static int set_ca(struct serve *s, int cert_fd, int key_fd, struct eg_error *e)
{
	struct eg_secret *cert = NULL, *key = NULL;
	struct eg_signer *signer = NULL;
	int r;

	r = eg_secret_read_fd(cert_fd, PEM_MAX, &cert);
	if (r)
		return eg_error_set(e, r, "intermediate certificate: %s", strerror(-r));
	r = eg_secret_read_fd(key_fd, PEM_MAX, &key);
	if (r) {
		eg_secret_unref(cert);
		return eg_error_set(e, r, "intermediate key: %s", strerror(-r));
	}
	signer = eg_signer_create(eg_secret_bytes(cert), eg_secret_bytes(key), e);
	eg_secret_unref(cert);
	eg_secret_unref(key);
	if (!signer)
		return -EINVAL;
	r = no_worse(s, signer, e);
	if (r) {
		eg_signer_destroy(signer);
		return r;
	}
	r = eg_signer_set_names(signer, (const char *const *)s->names, s->name_count);
	if (r) {
		eg_signer_destroy(signer);
		return eg_error_set(e, r, "governed names: %s", strerror(-r));
	}
	eg_signer_destroy(s->signer);
	s->signer = signer;
	for (size_t i = 0; i < s->clients; i++)
		say_chain(s, s->client[i]);
	*e = (struct eg_error){""};
	return 0;
}

/* Text of a memfd, NUL-terminated; the caller frees. */
static int read_text(int fd, size_t max, char **out)
{
	struct stat st;
	size_t n = 0;
	char *p;

	if (fstat(fd, &st))
		return -errno;
	if (st.st_size < 0 || (size_t)st.st_size > max)
		return -EFBIG;
	p = malloc((size_t)st.st_size + 1);
	if (!p)
		return -ENOMEM;
	while (n < (size_t)st.st_size) {
		ssize_t got = pread(fd, p + n, (size_t)st.st_size - n, (off_t)n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	p[n] = '\0';
	*out = p;
	return strlen(p) == n ? 0 : -EINVAL;
}

static int set_names(struct serve *s, int fd, struct eg_error *e)
{
	char **list, *text = NULL, *at, *line;
	size_t count = 0, lines = 1;
	int r = read_text(fd, EG_MINT_NAMES_BYTES, &text);

	for (const char *p = text; !r && *p; p++)
		lines += *p == '\n';
	list = r ? NULL : calloc(lines, sizeof(*list));
	if (!list) {
		free(text);
		r = r ? r : -ENOMEM;
		return eg_error_set(e, r, "governed names: %s", strerror(-r));
	}
	for (line = strtok_r(text, "\n", &at); line && !r; line = strtok_r(NULL, "\n", &at)) {
		if (!eg_ca_name_valid(eg_str_from(line), true))
			r = eg_error_set(e, -EINVAL, "governed names: \"%.100s\" is no DNS name",
					 line);
		list[count++] = line;
	}
	if (!r && s->signer)
		r = eg_signer_set_names(s->signer, (const char *const *)list, count);
	if (r) {
		free(list);
		free(text);
		return r;
	}
	free(s->names);
	free(s->names_text);
	s->names = list;
	s->names_text = text;
	s->name_count = count;
	return 0;
}

static int add_client(struct serve *s, int *fd, struct eg_error *e)
{
	int flags = fcntl(*fd, F_GETFL);

	if (s->clients == EG_MINT_CLIENTS_MAX)
		return eg_error_set(e, -EMFILE, "%u sockets of workers are open already",
				    EG_MINT_CLIENTS_MAX);
	if (flags < 0 || fcntl(*fd, F_SETFL, flags | O_NONBLOCK))
		return eg_error_set(e, -errno, "a worker's socket: %s", strerror(errno));
	if (s->signer)
		say_chain(s, *fd);
	s->client[s->clients++] = eg_fd_take(fd);
	return 0;
}

/* The descriptors of a message; any more than two are closed. */
static void take_fds(struct msghdr *m, int fds[2])
{
	struct cmsghdr *c;
	size_t taken = 0;

	for (c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (taken < 2)
				fds[taken++] = fd;
			else
				close(fd);
		}
	}
}

/* Asked several times a second, so nothing is logged. */
static int usable(const struct serve *s, struct eg_error *e)
{
	if (s->signer)
		return eg_signer_usable(s->signer, e);
	return eg_error_set(e, -ENOKEY, "%s",
			    *s->ca_wrong.text ? s->ca_wrong.text : "there is no CA yet");
}

static void answer_control(struct serve *s, const struct eg_mint_control *c, int fds[2])
{
	struct eg_mint_control_reply reply = {.type = c->type, .sequence = c->sequence};
	struct eg_error e = {""};

	if (c->type == EG_MINT_PING)
		reply.error = usable(s, &e);
	else if (c->type == EG_MINT_CA && fds[1] >= 0)
		reply.error = set_ca(s, fds[0], fds[1], &e);
	else if (c->type == EG_MINT_NAMES && fds[0] >= 0)
		reply.error = set_names(s, fds[0], &e);
	else if (c->type == EG_MINT_CLIENT && fds[0] >= 0)
		reply.error = add_client(s, &fds[0], &e);
	else
		reply.error = eg_error_set(&e, -EPROTO,
					   "control message %u with too few descriptors", c->type);
	if (c->type == EG_MINT_CA)
		s->ca_wrong = e;
	/* One that is not valid yet is sent again until it is. */
	if (reply.error && c->type != EG_MINT_PING && reply.error != -EKEYEXPIRED)
		eg_warn("signer: %s", e.text);
	eg_str_copy(reply.text, sizeof(reply.text), eg_str_from(e.text));
	if (send(s->control, &reply, sizeof(reply), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		eg_warn("signer: the supervisor did not take an answer: %s", strerror(errno));
}

/* False: there is nothing more to read now. */
static bool on_control(struct serve *s)
{
	struct eg_mint_control c;
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(8 * sizeof(int))];
	} control;
	struct iovec v = {&c, sizeof(c)};
	struct msghdr m = {
		.msg_iov = &v,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	int fds[2] = {-1, -1};
	ssize_t n = recvmsg(s->control, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0 && errno == EINTR)
		return true;
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0) {
		eg_fd_close(&s->control);
		return false;
	}
	take_fds(&m, fds);
	if (n == sizeof(c))
		answer_control(s, &c, fds);
	else
		eg_warn("signer: a control message of %zd bytes; expected %zu", n, sizeof(c));
	eg_fd_close(&fds[0]); /* -1 when it was kept */
	eg_fd_close(&fds[1]);
	return true;
}

/* ---- requests ---- */

/* Reads the request in the buffer and appends the leaf: 0 or what eg_signer_sign() said. */
static int sign(struct serve *s, size_t got, uint32_t *id, struct eg_buf *leaf, struct eg_error *e)
{
	struct eg_mint_request q;
	struct eg_str name, key;

	*id = 0;
	if (got < sizeof(q))
		return eg_error_set(e, -EPROTO, "a request of %zu bytes", got);
	memcpy(&q, s->buffer.bytes, sizeof(q));
	*id = q.id;
	if (q.name_bytes > 255 || q.key_bytes > EG_MINT_KEY_MAX ||
	    got != sizeof(q) + q.name_bytes + q.key_bytes)
		return eg_error_set(e, -EPROTO, "a request whose lengths disagree");
	if (!s->signer)
		return eg_error_set(e, -ENOKEY, "there is no intermediate CA yet");
	name = (struct eg_str){(const char *)s->buffer.bytes + sizeof(q), q.name_bytes};
	key = (struct eg_str){name.p + name.n, q.key_bytes};
	return eg_signer_sign(s->signer, name, key, leaf, e);
}

/* False: the worker is gone. */
static bool on_client(struct serve *s, int fd)
{
	struct eg_error e = {""};
	struct eg_mint_reply reply = {0};
	struct eg_str chain = {NULL, 0};
	struct eg_buf leaf;
	struct iovec v[3];
	struct msghdr m = {.msg_iov = v, .msg_iovlen = 3};
	ssize_t n = recv(fd, s->buffer.bytes, sizeof(s->buffer.bytes), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n <= 0)
		return false;
	eg_buf_init(&leaf, EG_MINT_MESSAGE_MAX / 2);
	reply.error = sign(s, (size_t)n, &reply.id, &leaf, &e);
	if (!reply.error)
		chain = eg_signer_chain(s->signer);
	else if (eg_now_ms() - s->warned_ms >= 1000) {
		s->warned_ms = eg_now_ms(); /* once a second is enough to be seen */
		eg_warn("signer: refused: %s", e.text);
	}
	reply.leaf_bytes = (uint16_t)leaf.length;
	reply.chain_bytes = (uint16_t)chain.n;
	v[0] = (struct iovec){&reply, sizeof(reply)};
	v[1] = (struct iovec){leaf.p ? eg_buf_data(&leaf) : NULL, leaf.length};
	v[2] = (struct iovec){(void *)(uintptr_t)chain.p, chain.n};
	/* A worker that doesn't read loses the answer and asks again. */
	n = sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	eg_buf_fini(&leaf);
	return n >= 0 || errno == EAGAIN || errno == EINTR || errno == ENOBUFS;
}

/*
 * One round. False: nothing is open any more.
 *
 * All that the supervisor has said comes before any request: a worker asks for a name once it is
 * governed, and the supervisor has said so here before it told the worker. In the order in which
 * poll() gives them, the first request after a start was refused for a name that lay unread.
 */
static bool serve_round(struct serve *s)
{
	struct pollfd p[EG_MINT_CLIENTS_MAX + 1];
	size_t n = s->clients;

	for (size_t i = 0; i < n; i++)
		p[i] = (struct pollfd){.fd = s->client[i], .events = POLLIN};
	p[n] = (struct pollfd){.fd = s->control, .events = POLLIN};
	if (!n && s->control < 0)
		return false;
	if (poll(p, n + 1, -1) < 0) {
		if (errno == EINTR)
			return true;
		eg_error("signer: poll: %s", strerror(errno));
		return false;
	}
	while (s->control >= 0 && on_control(s))
		;
	/* Backwards: a worker that is gone is replaced by the last one, which was served. */
	for (size_t i = n; i-- > 0;) {
		if (!p[i].revents || on_client(s, s->client[i]))
			continue;
		close(s->client[i]);
		s->client[i] = s->client[--s->clients];
	}
	return true;
}

int eg_mint_serve(int control_fd)
{
	struct serve *s = calloc(1, sizeof(*s));

	if (!s) {
		eg_error("signer: out of memory");
		return 1;
	}
	s->control = control_fd;
	while (serve_round(s))
		;
	eg_info("signer: every socket is closed; ending");
	eg_signer_destroy(s->signer);
	free(s->names);
	free(s->names_text);
	eg_wipe(s, sizeof(*s));
	free(s);
	return 0;
}
