/* SPDX-License-Identifier: Apache-2.0 */
/* Streams: sockets, buffers, events. TLS is in stream_tls.c. See docs/internals/tls.md. */
#include "net/stream.h"

#include <linux/tcp.h>
#include <netinet/in.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/stream_impl.h"

/* ---- raw bytes ---- */

enum eg_io stream_fill(struct eg_stream *s)
{
	size_t room;
	ssize_t n;
	char *p;

	if (s->raw_end != EG_IO_AGAIN)
		return s->raw_end;
	if (s->drained || s->connecting)
		return EG_IO_AGAIN;
	p = eg_buf_reserve(&s->in, s->read_size, &room);
	if (!p) {
		if (errno == ENOBUFS)
			return EG_IO_AGAIN;
		stream_fail(s, ENOMEM, "out of memory");
		return s->raw_end = EG_IO_FAIL;
	}
	do
		n = recv(s->fd, p, room, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN) {
		s->drained = !s->hung_up;
		return EG_IO_AGAIN;
	}
	if (n < 0 || (n == 0 && s->broken)) {
		stream_fail(s, n < 0 ? errno : s->broken, "%s",
			    strerror(n < 0 ? errno : s->broken));
		return s->raw_end = EG_IO_FAIL;
	}
	if (n == 0)
		return s->raw_end = EG_IO_EOF;
	eg_buf_commit(&s->in, (size_t)n);
	if ((size_t)n == room) {
		s->read_size = EG_MIN(s->read_size * 2, (size_t)STREAM_READ_MAX);
	} else {
		/* A short read means an empty socket: the call that says EAGAIN is saved. */
		s->drained = !s->hung_up;
		if ((size_t)n < s->read_size / 4)
			s->read_size = EG_MAX(s->read_size / 2, (size_t)STREAM_READ_MIN);
	}
	return EG_IO_DONE;
}

enum eg_io stream_broken(struct eg_stream *s, int error)
{
	/* send() takes the socket's error away: kept, so that the read side doesn't see an EOF. */
	s->broken = error;
	stream_fail(s, error, "%s", strerror(error));
	eg_buf_clear(&s->out);
	return EG_IO_FAIL;
}

/* From here on a close sends what the kernel still has, and a FIN after it. */
static void end_in_order(struct eg_stream *s)
{
	struct linger off = {.l_onoff = 0};

	if (!s->accepted || s->orderly)
		return;
	s->orderly = true;
	(void)setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &off, sizeof(off)); /* not TCP: in tests */
}

static void send_fin(struct eg_stream *s)
{
	if (!s->fin_wanted || s->fin_sent || s->out.length)
		return;
	s->fin_sent = true;
	end_in_order(s);
	(void)shutdown(s->fd, SHUT_WR); /* ENOTCONN: the peer is gone, the read side tells */
}

/* What the kernel holds for a peer that does not read (tcp(7), struct tcp_info). */
static size_t unsent(int fd)
{
	struct tcp_info info = {0};
	socklen_t n = sizeof(info);

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) ? 0 : info.tcpi_notsent_bytes;
}

enum eg_io stream_send(struct eg_stream *s)
{
	if (s->broken)
		return EG_IO_FAIL;
	if (s->connecting)
		return EG_IO_AGAIN;
	while (s->out.length) {
		ssize_t n = send(s->fd, eg_buf_data(&s->out), s->out.length,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return stream_broken(s, errno);
		if (n > 0)
			eg_buf_consume(&s->out, (size_t)n);
		if (s->out.length) {
			if (!s->blocked && s->held)
				s->kernel_bytes = unsent(s->fd);
			s->blocked = true;
			return EG_IO_AGAIN;
		}
	}
	s->blocked = false;
	send_fin(s);
	return EG_IO_DONE;
}

void stream_send_later(struct eg_stream *s)
{
	if (!s->out.length || s->blocked)
		return;
	if (s->out.length >= STREAM_OUT_LOW)
		eg_loop_defer_little(s->loop, &s->end_of_tick);
	else
		eg_loop_defer(s->loop, &s->end_of_tick);
}

void stream_fail(struct eg_stream *s, int error, const char *format, ...)
{
	va_list ap;

	if (*s->failure.text)
		return;
	s->failure.stage = s->stage;
	s->failure.error = error;
	va_start(ap, format);
	if (vasprintf(&s->failure_text, format, ap) < 0)
		s->failure_text = NULL;
	va_end(ap);
	s->failure.text = s->failure_text ? s->failure_text : "out of memory";
}

/* ---- events ---- */

static bool readable_now(const struct eg_stream *s)
{
	if (!s->want_read || s->reported || s->stage != EG_STAGE_OPEN)
		return false;
	if (s->in.length > s->shown || s->raw_end != EG_IO_AGAIN || s->plain_end != EG_IO_AGAIN)
		return true;
	return s->hung_up || s->unread;
}

static bool writable_now(const struct eg_stream *s)
{
	if (!(s->want_write || s->owes_write) || s->stage != EG_STAGE_OPEN)
		return false;
	return s->broken || s->out.length < (s->flushing ? 1 : STREAM_OUT_LOW);
}

static void tell_held(struct eg_stream *s)
{
	size_t bytes = s->blocked && s->out.length ? s->out.size + s->kernel_bytes : 0;

	if (bytes == s->held_bytes || !s->held)
		return;
	s->held_bytes = bytes;
	s->held(s->held_ctx, bytes);
}

/* Makes epoll's interest, and what must be announced without it, follow the state. */
void stream_settle(struct eg_stream *s)
{
	uint32_t events = 0;

	if (s->closed)
		return;
	if (s->connecting) {
		events = EPOLLOUT;
	} else {
		bool in =
			s->stage == EG_STAGE_HANDSHAKE ? !s->failed : s->want_read && !s->reported;

		if (in)
			s->muted = false;
		/* Interest goes off and on with each request, and from stage to stage: epoll is
		 * told when it matters, which is when it would say again what nobody reads. */
		if (in || ((!s->muted || s->drained) && s->watch.events & EPOLLIN))
			events |= EPOLLIN;
		if (s->blocked && s->out.length && !s->broken)
			events |= EPOLLOUT;
	}
	if (!s->hung_up && s->watch.fd >= 0 && eg_watch_set(s->loop, &s->watch, events)) {
		/* Deaf: nothing would ever come again. Read and write tell the owner. */
		(void)stream_broken(s, ENOMEM);
		s->raw_end = EG_IO_FAIL;
		s->hung_up = true;
	}
	tell_held(s);
	if (s->pending || readable_now(s) || writable_now(s))
		eg_loop_soon(s->loop, &s->soon);
}

static void dispatch(struct eg_stream *s, unsigned int events)
{
	if (events & EG_STREAM_WRITE)
		s->owes_write = s->flushing = false;
	if (events && !s->closed)
		s->handler->event(s, events, s->ctx);
	stream_settle(s);
}

void stream_announce(struct eg_stream *s, unsigned int event)
{
	s->failed |= event == EG_STREAM_FAILED;
	s->pending |= event;
	eg_loop_soon(s->loop, &s->soon);
}

static void free_stream(struct eg_stream *s)
{
	if (s->soon.queued || s->end_of_tick.queued)
		return; /* the one that is queued frees it */
	stream_tls_fini(s);
	eg_buf_fini(&s->in);
	eg_buf_fini(&s->out);
	free(s->failure_text);
	free(s);
}

static void run_soon(struct eg_defer *d)
{
	struct eg_stream *s = eg_container_of(d, struct eg_stream, soon);
	unsigned int events = s->pending;

	if (s->closed) {
		free_stream(s);
		return;
	}
	s->pending = 0;
	if (!(events & EG_STREAM_FAILED)) {
		events |= readable_now(s) ? EG_STREAM_READ : 0;
		events |= writable_now(s) ? EG_STREAM_WRITE : 0;
	}
	dispatch(s, events);
}

static void run_end_of_tick(struct eg_defer *d)
{
	struct eg_stream *s = eg_container_of(d, struct eg_stream, end_of_tick);

	if (s->closed) {
		free_stream(s);
		return;
	}
	(void)stream_send(s); /* a failure is latched and told by read and write */
	stream_settle(s);
}

static void connect_done(struct eg_stream *s)
{
	socklen_t n = sizeof(int);
	int error = 0;

	s->connecting = false;
	if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &n))
		error = errno;
	if (error) {
		stream_fail(s, error, "%s", strerror(error));
		stream_announce(s, EG_STREAM_FAILED);
		return;
	}
	if (s->ssl) {
		s->stage = EG_STAGE_HANDSHAKE;
		stream_tls_handshake(s);
	} else {
		s->stage = EG_STAGE_OPEN;
		stream_announce(s, EG_STREAM_CONNECTED);
		stream_send_later(s);
	}
}

static void ready(struct eg_watch *w, uint32_t got)
{
	struct eg_stream *s = eg_container_of(w, struct eg_stream, watch);
	unsigned int events = 0;
	bool ended = got & (EPOLLERR | EPOLLHUP);

	if (s->connecting) {
		connect_done(s);
		if (!ended) {
			stream_settle(s);
			return;
		}
	} else if (got & EPOLLOUT) {
		s->blocked = false;
		(void)stream_send(s);
	}
	if (ended) {
		s->hung_up = true;
		eg_watch_remove(s->loop, &s->watch);
	}
	if (got & EPOLLIN || ended)
		s->drained = false;
	s->muted = got & EPOLLIN; /* unless it is wanted: see stream_settle() */
	if (s->stage == EG_STAGE_HANDSHAKE && !s->failed) {
		stream_tls_handshake(s);
		stream_settle(s);
		return;
	}
	if (s->stage == EG_STAGE_OPEN && !s->pending) {
		if (s->want_read && !s->reported && (got & EPOLLIN || ended))
			events |= EG_STREAM_READ;
		if (writable_now(s))
			events |= EG_STREAM_WRITE;
		/* Without interest only a failure is told, and once; both ends closed is none. */
		if (!events && (got & EPOLLERR || s->broken) && !s->told && !s->reported) {
			events |= EG_STREAM_READ;
			s->told = true;
		}
	}
	dispatch(s, events);
}

/* ---- making and ending ---- */

static struct eg_stream *create(struct eg_loop *l, int fd, uint32_t events,
				const struct eg_stream_handler *h, void *ctx)
{
	struct eg_stream *s = calloc(1, sizeof(*s));
	int one = 1, r;

	if (!s)
		return NULL;
	s->loop = l;
	s->fd = fd;
	s->handler = h;
	s->ctx = ctx;
	s->read_size = STREAM_READ_MIN;
	s->raw_end = s->plain_end = EG_IO_AGAIN;
	s->stage = EG_STAGE_OPEN;
	s->failure.text = "";
	s->watch.fd = -1;
	s->watch.ready = ready;
	s->end_of_tick.run = run_end_of_tick;
	s->soon.run = run_soon;
	/* Plain: a key of the client's on its way in, a credential on its way out. Under TLS they
	 * hold ciphertext only. */
	eg_buf_init_secret(&s->in, STREAM_IN_CAP);
	eg_buf_init_secret(&s->out, STREAM_OUT_CAP);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* not TCP: in tests */
	r = eg_watch_add(l, &s->watch, fd, events);
	if (r) {
		free(s);
		errno = -r;
		return NULL;
	}
	return s;
}

struct eg_stream *eg_stream_accept(struct eg_loop *l, int fd, const struct eg_stream_handler *h,
				   void *ctx)
{
	/* Nearly everyone wants to read at once; for who does not see stream_settle(). */
	struct eg_stream *s = create(l, fd, EPOLLIN, h, ctx);

	if (s)
		s->accepted = true;
	return s;
}

struct eg_stream *eg_stream_connect(struct eg_loop *l, const struct eg_endpoint *to,
				    const struct eg_stream_handler *h, void *ctx)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(to->port)};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(to->port)};
	bool v4 = eg_address_is_v4(&to->address);
	EG_CLEANUP_FD int fd = -1;
	struct eg_stream *s;
	int r;

	fd = socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return NULL;
	s = create(l, fd, EPOLLOUT, h, ctx);
	if (!s)
		return NULL;
	(void)eg_fd_take(&fd);
	s->stage = EG_STAGE_CONNECT;
	s->connecting = true;
	memcpy(&six.sin6_addr, &to->address, sizeof(six.sin6_addr));
	four.sin_addr.s_addr = to->address.word_be[3];
	do
		r = v4 ? connect(s->fd, (struct sockaddr *)&four, sizeof(four))
		       : connect(s->fd, (struct sockaddr *)&six, sizeof(six));
	while (r && errno == EINTR);
	if (r && errno != EINPROGRESS) {
		/* Told like a later failure, so that callers have one path for both. */
		stream_fail(s, errno, "%s", strerror(errno));
		s->connecting = false;
		eg_watch_remove(l, &s->watch);
		stream_announce(s, EG_STREAM_FAILED);
	}
	return s;
}

void eg_stream_set_handler(struct eg_stream *s, const struct eg_stream_handler *h, void *ctx)
{
	s->handler = h;
	s->ctx = ctx;
	s->shown = 0;
	s->told = false;
	stream_settle(s);
}

static void close_stream(struct eg_stream *s, bool reset)
{
	struct linger now = {.l_onoff = 1};

	s->closed = true;
	eg_watch_remove(s->loop, &s->watch);
	if (reset)
		(void)setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	else if (s->fd >= 0)
		end_in_order(s);
	eg_fd_close(&s->fd);
	eg_loop_defer(s->loop, &s->end_of_tick);
}

void eg_stream_destroy(struct eg_stream *s)
{
	if (!s || s->closed)
		return;
	if (s->ssl && s->stage == EG_STAGE_OPEN)
		stream_tls_close_notify(s);
	/* Bytes that can't be delivered: a FIN after them would pass a cut message for a whole. */
	close_stream(s, s->out.length && stream_send(s) != EG_IO_DONE);
}

void eg_stream_reset(struct eg_stream *s)
{
	if (s && !s->closed)
		close_stream(s, true);
}

int eg_stream_detach(struct eg_stream *s, struct eg_buf *peeked)
{
	int fd;

	if (s->ssl || s->stage != EG_STAGE_OPEN || s->closed) {
		errno = EINVAL;
		return -1;
	}
	if (stream_send(s) != EG_IO_DONE) {
		errno = s->broken ? s->broken : EAGAIN;
		return -1;
	}
	if (eg_buf_append_str(peeked, eg_buf_str(&s->in))) {
		errno = ENOBUFS;
		return -1;
	}
	eg_watch_remove(s->loop, &s->watch);
	fd = eg_fd_take(&s->fd);
	close_stream(s, false);
	return fd;
}
