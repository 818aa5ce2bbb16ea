/* SPDX-License-Identifier: Apache-2.0 */
/* Loopback pairs and a recording handler for the tests of net/. */
#ifndef EGRET_TESTS_NET_LIB_H
#define EGRET_TESTS_NET_LIB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/stream.h"
#include "net/tls.h"

struct side {
	struct eg_stream *stream;
	unsigned int events; /* all that came since it was last cleared */
	int calls;
};

__attribute__((unused)) static void side_event(struct eg_stream *s, unsigned int events, void *ctx)
{
	struct side *side = ctx;

	assert_ptr_equal(s, side->stream);
	assert_int_not_equal(events, 0);
	side->events |= events;
	side->calls++;
}

__attribute__((unused)) static const struct eg_stream_handler side_handler = {side_event};

/* A TCP connection over loopback: fd[0] is accepted, fd[1] is the client's, both non-blocking only
 * where streams use them. */
struct pair {
	struct eg_loop *loop;
	int fd[2];
	struct side a, b;
};

/* What is done to a listener before it listens; NULL: nothing. */
__attribute__((unused)) static void (*listener_prepare)(int fd);

__attribute__((unused)) static int listen_on_loopback(struct eg_endpoint *at)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	if (listener_prepare)
		listener_prepare(fd);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &n), 0);
	memset(at, 0, sizeof(*at));
	at->address.word_be[2] = htonl(0xffff);
	at->address.word_be[3] = in.sin_addr.s_addr;
	at->port = ntohs(in.sin_port);
	return fd;
}

__attribute__((unused)) static void pair_open(struct pair *p)
{
	struct eg_endpoint at;
	struct sockaddr_in in = {.sin_family = AF_INET};
	int listener = listen_on_loopback(&at);

	memset(p, 0, sizeof(*p));
	p->loop = eg_loop_create();
	assert_non_null(p->loop);
	in.sin_port = htons(at.port);
	in.sin_addr.s_addr = at.address.word_be[3];
	p->fd[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(p->fd[1], (struct sockaddr *)&in, sizeof(in)), 0);
	p->fd[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	assert_true(p->fd[0] >= 0);
	close(listener);
}

/* The stream takes the descriptor. */
__attribute__((unused)) static void side_watch(struct side *s, struct eg_loop *l, int fd)
{
	s->stream = eg_stream_accept(l, fd, &side_handler, s);
	assert_non_null(s->stream);
}

__attribute__((unused)) static void pair_close(struct pair *p)
{
	eg_stream_destroy(p->a.stream);
	eg_stream_destroy(p->b.stream);
	assert_int_equal(eg_loop_turn(p->loop, 0), 0);
	assert_int_equal(eg_loop_turn(p->loop, 0), 0);
	eg_loop_destroy(p->loop);
	if (!p->b.stream)
		eg_fd_close(&p->fd[1]);
	memset(p, 0, sizeof(*p));
}

#define turn_until(p, condition)                                               \
	do {                                                                   \
		for (int turns_ = 0; !(condition); turns_++) {                 \
			if (turns_ > 2000)                                     \
				fail_msg("never became true: %s", #condition); \
			assert_int_equal(eg_loop_turn((p)->loop, 5), 0);       \
		}                                                              \
	} while (0)

#endif
