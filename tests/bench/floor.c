/* SPDX-License-Identifier: Apache-2.0 */
#include "floor.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

struct floor_options floor_opt = {.port = 8443, .upstream_port = 443};
int floor_epoll = -1;
static SSL_CTX *client_ctx;
static SSL_SESSION *session;

static int on_session(SSL *ssl, SSL_SESSION *s)
{
	(void)ssl;
	SSL_SESSION_free(session);
	session = s;
	return 1;
}

int floor_dial(struct bench_conn *c, void *event_data)
{
	return bench_connect(c, floor_epoll, floor_opt.upstream, floor_opt.upstream_port,
			     client_ctx, floor_opt.name, session, event_data);
}

void floor_main(int argc, char **argv, void (*accepted)(int fd, SSL_CTX *ctx),
		void (*event)(void *data, uint32_t events), void (*turn_end)(void))
{
	static const struct option options[] = {
		{"port", 1, NULL, 'p'}, {"cert", 1, NULL, 'c'}, {"upstream", 1, NULL, 'u'},
		{"name", 1, NULL, 'n'}, {"ca", 1, NULL, 'a'},	{"key-file", 1, NULL, 'k'},
		{NULL, 0, NULL, 0},
	};
	const char *pem = NULL, *ca = NULL;
	char listener_mark;
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = &listener_mark}, got[256];
	SSL_CTX *server_ctx;
	int c, listener;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'p')
			floor_opt.port = (uint16_t)atoi(optarg);
		else if (c == 'c')
			pem = optarg;
		else if (c == 'u')
			floor_opt.upstream = optarg;
		else if (c == 'n')
			floor_opt.name = optarg;
		else if (c == 'a')
			ca = optarg;
		else if (c == 'k')
			floor_opt.key = bench_read_word(optarg);
	}
	if (!pem || !ca || !floor_opt.upstream || !floor_opt.name)
		bench_die("usage", "--port N --cert PEM --upstream ADDRESS --name NAME --ca PEM "
				   "[--key-file FILE]");
	signal(SIGPIPE, SIG_IGN);
	server_ctx = bench_server_context(pem);
	client_ctx = bench_client_context(ca);
	SSL_CTX_sess_set_new_cb(client_ctx, on_session);
	floor_epoll = epoll_create1(EPOLL_CLOEXEC);
	listener = bench_listen(floor_opt.port);
	epoll_ctl(floor_epoll, EPOLL_CTL_ADD, listener, &e);
	for (;;) {
		int n = epoll_wait(floor_epoll, got, 256, -1);

		for (int i = 0; i < n; i++) {
			int fd;

			if (got[i].data.ptr != &listener_mark) {
				event(got[i].data.ptr, got[i].events);
				continue;
			}
			while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >=
			       0)
				accepted(fd, server_ctx);
		}
		turn_end();
	}
}
