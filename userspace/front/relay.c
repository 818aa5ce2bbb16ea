/* SPDX-License-Identifier: Apache-2.0 */
#include "front/relay.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define COPY_BYTES (16u * 1024u)
#define SPLICE_FROM \
	(64u * 1024u) /* bytes of a direction before a pipe is made (DESIGN section 2) */
#define PIPE_BYTES (64u * 1024u)
#define TURN_BYTES (1024u * 1024u)
#define CROWD_BYTES                                                                               \
	(4u * 1024u) /* of a direction, where there is little memory: thousands may stall at once \
		      */

static size_t pending(const struct relay_way *w)
{
	return w->buf.length + w->in_pipe;
}

/* Where there is little memory, a piece is read when the one before is gone: a buffer with a rest
 * in it may grow before it moves that rest down. */
static size_t room_of(const struct relay *r, const struct relay_way *w)
{
	if (w->eof || w->full)
		return 0;
	if (w->pipe[0] < 0 && r->owner->crowded && r->owner->crowded(r->ctx))
		return pending(w) ? 0 : CROWD_BYTES;
	return PIPE_BYTES - EG_MIN((size_t)PIPE_BYTES, pending(w));
}

static void make_pipe(struct relay *r, struct relay_way *w)
{
	if (w->pipe[0] >= 0 || w->no_pipe || w->bytes < SPLICE_FROM || w->buf.length)
		return;
	/* A user who has a thousand gets small ones (pipe(7), pipe-user-pages-soft). */
	if (pipe2(w->pipe, O_CLOEXEC | O_NONBLOCK)) {
		w->pipe[0] = w->pipe[1] = -1;
		w->no_pipe = true;
	} else if (fcntl(w->pipe[0], F_GETPIPE_SZ) < (int)PIPE_BYTES ||
		   (r->owner->may_have && !r->owner->may_have(r->ctx, 2))) {
		eg_fd_close(&w->pipe[0]);
		eg_fd_close(&w->pipe[1]);
		w->no_pipe = true;
	}
	if (w->no_pipe) /* copying works too */
		return;
	eg_buf_release(&w->buf);
}

/* The listener made a death of this process a reset for the pod; an end in order is none. */
static void end_in_order(int fd)
{
	struct linger off = {.l_onoff = 0};

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &off, sizeof(off));
}

/* ---- one step: bytes moved, 0 nothing to be done now, -1 broken ---- */

static ssize_t fill(struct relay *r, int i)
{
	struct relay_way *w = &r->way[i];
	size_t most = room_of(r, w);
	ssize_t n;

	if (!most)
		return 0;
	make_pipe(r, w);
	if (w->pipe[0] >= 0) {
		n = splice(r->fd[i], NULL, w->pipe[1], NULL, PIPE_BYTES - w->in_pipe,
			   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		if (n > 0)
			w->in_pipe += (size_t)n;
		/* It holds so many pieces, however small: nobody says whether it is full, or
		 * nothing came. */
		w->full = n < 0 && errno == EAGAIN && w->in_pipe;
	} else {
		size_t room;
		char *p = eg_buf_reserve(&w->buf, EG_MIN(most, (size_t)COPY_BYTES), &room);

		if (!p)
			return errno == ENOBUFS ? 0 : -1;
		n = recv(r->fd[i], p, EG_MIN(room, most), MSG_DONTWAIT);
		if (n > 0)
			eg_buf_commit(&w->buf, (size_t)n);
	}
	if (n > 0) {
		w->bytes += (uint64_t)n;
	} else if (n == 0) {
		w->eof = true;
		r->activity_ms = eg_loop_now_ms(r->loop);
	} else if (errno != EAGAIN && errno != EINTR)
		return -1;
	return n > 0 ? n : 0;
}

static ssize_t drain(struct relay *r, int i)
{
	struct relay_way *w = &r->way[i];
	int to = r->fd[1 - i];
	ssize_t n = 0;

	if (w->buf.length) {
		n = send(to, eg_buf_data(&w->buf), w->buf.length, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0)
			eg_buf_consume(&w->buf, (size_t)n);
	} else if (w->in_pipe) {
		n = splice(w->pipe[0], NULL, to, NULL, w->in_pipe,
			   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
		if (n > 0) {
			w->in_pipe -= (size_t)n;
			w->full = false;
		}
	} else if (w->eof && !w->shut) {
		w->shut = true;
		end_in_order(to);
		(void)shutdown(to, SHUT_WR); /* ENOTCONN: its read side tells */
	}
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		return -1;
	return n > 0 ? n : 0;
}

static bool move(struct relay *r, int i)
{
	size_t moved = 0;
	ssize_t in, out;

	do {
		in = fill(r, i);
		if (in < 0)
			return false;
		out = drain(r, i);
		if (out < 0)
			return false;
		moved += (size_t)out;
		if (in || out)
			r->activity_ms = eg_loop_now_ms(r->loop);
	} while ((in || out) && moved < TURN_BYTES);
	if (r->way[i].eof && !pending(&r->way[i]))
		(void)drain(r, i);
	return true;
}

/* ---- events ---- */

static void end(struct relay *r, bool failed)
{
	if (r->ended)
		return;
	r->ended = true;
	r->owner->over(r->ctx, failed);
}

/* Its end was read, and it was told of the other's: it hangs up for good, which no mask of events
 * silences, and says nothing of the other side, which may be reading still. */
static bool done_with(const struct relay *r, int i)
{
	return r->way[i].eof && r->way[1 - i].shut;
}

static bool interest(struct relay *r)
{
	for (int i = 0; i < 2; i++) {
		const struct relay_way *out = &r->way[i], *in = &r->way[1 - i];
		uint32_t events = 0;

		if (room_of(r, out))
			events |= EPOLLIN;
		if (pending(in))
			events |= EPOLLOUT;
		/* No mask silences one that hung up: left alone until it is wanted again. */
		if (done_with(r, i) || (r->hung_up[i] && !events))
			eg_watch_remove(r->loop, &r->watch[i]);
		else if (r->watch[i].fd < 0 ? eg_watch_add(r->loop, &r->watch[i], r->fd[i], events)
					    : eg_watch_set(r->loop, &r->watch[i], events))
			return false;
	}
	return true;
}

/* A connection may rest for an hour: without a buffer, then. */
static void count(struct relay *r)
{
	size_t held = 0;

	for (int i = 0; i < 2; i++) {
		eg_buf_release(&r->way[i].buf);
		held += r->way[i].buf.size;
	}
	if (held != r->held && r->owner->holds)
		r->owner->holds(r->ctx, held);
	r->held = held;
}

static bool move_both(struct relay *r)
{
	bool whole = move(r, 0) && move(r, 1);

	count(r);
	return whole;
}

static void turn(struct relay *r, int i, bool hung_up)
{
	r->hung_up[i] |= hung_up;
	if (!move_both(r) || !interest(r))
		end(r, true);
	else if (r->way[0].shut && r->way[1].shut)
		end(r, false);
	else if (hung_up && r->way[i].eof && pending(&r->way[1 - i]))
		end(r, true); /* what is pending has no taker */
}

static void ready(struct relay *r, int i, uint32_t events)
{
	int error = 0;
	socklen_t n = sizeof(error);

	if (r->ended)
		return;
	/* A reset after all was read shows nowhere else. */
	if ((events & EPOLLERR) &&
	    (!getsockopt(r->fd[i], SOL_SOCKET, SO_ERROR, &error, &n) && error)) {
		/* Linux tcp_reset(): EPIPE says that a FIN had come before the reset. */
		r->way[i].eof |= error == EPIPE;
		end(r, true);
		return;
	}
	turn(r, i, events & EPOLLHUP);
}

static void ready0(struct eg_watch *w, uint32_t events)
{
	ready(eg_container_of(w, struct relay, watch[0]), 0, events);
}

static void ready1(struct eg_watch *w, uint32_t events)
{
	ready(eg_container_of(w, struct relay, watch[1]), 1, events);
}

static uint64_t idle_limit(const struct relay *r)
{
	return r->way[0].eof || r->way[1].eof ? EG_RELAY_HALF_IDLE_MS : EG_RELAY_IDLE_MS;
}

static void on_timer(struct eg_timer *t)
{
	struct relay *r = eg_container_of(t, struct relay, timer);
	uint64_t idle = eg_loop_now_ms(r->loop) - r->activity_ms;

	if (idle >= idle_limit(r) ||
	    eg_timer_set(r->loop, &r->timer,
			 EG_MIN(idle_limit(r) - idle, (uint64_t)EG_RELAY_HALF_IDLE_MS)))
		end(r, true);
}

int relay_begin(struct relay *r, struct eg_loop *loop, int pod_fd, int destination_fd,
		struct eg_buf *first, const struct relay_owner *owner, void *ctx)
{
	int on = 1, e;

	*r = (struct relay){
		.loop = loop, .fd = {pod_fd, destination_fd}, .owner = owner, .ctx = ctx};
	for (int i = 0; i < 2; i++) {
		r->way[i].pipe[0] = r->way[i].pipe[1] = -1;
		r->watch[i].fd = -1;
		eg_buf_init(&r->way[i].buf, EG_MAX((size_t)PIPE_BYTES, first->length));
		/* An hour of silence is allowed, a peer that is gone is not. */
		(void)setsockopt(r->fd[i], SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	}
	r->watch[0].ready = ready0;
	r->watch[1].ready = ready1;
	r->way[0].bytes = first->length;
	e = eg_buf_append_str(&r->way[0].buf, eg_buf_str(first));
	eg_buf_fini(first);
	eg_timer_init(&r->timer, on_timer);
	r->activity_ms = eg_loop_now_ms(loop);
	if (!e)
		e = eg_timer_set(loop, &r->timer, EG_RELAY_HALF_IDLE_MS);
	for (int i = 0; i < 2 && !e; i++)
		e = eg_watch_add(loop, &r->watch[i], r->fd[i], EPOLLIN | EPOLLOUT);
	if (e)
		relay_fini(r, true);
	return e;
}

static void close_reset(int *fd)
{
	struct linger now = {.l_onoff = 1, .l_linger = 0};

	(void)setsockopt(*fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	eg_fd_close(fd);
}

void relay_fini(struct relay *r, bool reset)
{
	if (!r->loop)
		return;
	r->ended = true;
	eg_timer_cancel(r->loop, &r->timer);
	for (int i = 0; i < 2; i++) {
		eg_watch_remove(r->loop, &r->watch[i]);
		if (reset && r->fd[i] >= 0)
			close_reset(&r->fd[i]);
		else if (r->fd[i] >= 0)
			end_in_order(r->fd[i]);
		eg_fd_close(&r->fd[i]);
		eg_fd_close(&r->way[i].pipe[0]);
		eg_fd_close(&r->way[i].pipe[1]);
		eg_buf_fini(&r->way[i].buf);
	}
	r->loop = NULL;
}
