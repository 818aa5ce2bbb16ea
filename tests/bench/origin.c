/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The provider of `make bench`: HTTP/1.1 over TLS 1.3, one thread. What it does follows from path
 *and model:
 *
 *	model gpt-4o              an answer of 1 KiB of JSON, by length
 *	model gpt-4o-10mb         one of 10 MB of JSON
 *	model gpt-4o-burst        EVENTS events, each a TLS record and a send of its own, as fast as
 *they are taken model gpt-4o-paced        one event each 10 ms, EVENTS / 10 of them path
 * /v1/audio/speech     10 MB of bytes that are no JSON
 *
 * A request without the key of --key-file is answered 401 and counted, so that a proxy that does
 *not put it in is not measured. Plain TCP on --stats-port answers with the counts as JSON.
 */
#include "conn.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "h1.h"

#define NS	   1000000000ULL
#define EVENTS	   2000
#define PACE_NS	   (NS / 100)
#define LARGE	   (10 * 1000 * 1000)
#define HEAD_BYTES 16384
#define TURN	   16 /* events of one stream before another has its turn */

enum kind { SMALL, LARGE_JSON, BURST, PACED, LARGE_BYTES };

struct client {
	struct bench_conn c;
	char *head;
	size_t used, body_seen;
	struct bench_head request;
	bool in_body, authorized, dead;
	enum kind kind;
	size_t events_left, bytes_left;
	uint64_t due_ns;
	struct client *next; /* of those that stream */
	bool streaming;
};

static struct {
	uint64_t connections, resumed, requests, authorized, unauthorized, bytes_in, events, failed;
} stats;

static int epoll = -1;
static SSL_CTX *ctx;
static char authorization[4096];
static char small[2048], filler[65536];
static size_t small_length;
static struct client *streams;
static struct client *dead[4096];
static size_t dead_count;
static char listener_mark, stats_mark;

static void make_small(void)
{
	static const char begin[] =
		"{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1700000000,"
		"\"model\":\"gpt-4o-2024-08-06\",\"choices\":[{\"index\":0,\"message\":{\"role\":"
		"\"assistant\",\"content\":\"";
	static const char end[] =
		"\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":19,"
		"\"completion_tokens\":180,\"total_tokens\":199}}";
	size_t pad = 1024 - (sizeof(begin) - 1) - (sizeof(end) - 1);

	memset(filler, 'a', sizeof(filler));
	small_length = (size_t)snprintf(
		small, sizeof(small),
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Request-Id: req_bench\r\n"
		"Content-Length: 1024\r\n\r\n%s%.*s%s",
		begin, (int)pad, filler, end);
}

static void stream_begin(struct client *k)
{
	if (k->streaming)
		return;
	k->streaming = true;
	k->next = streams;
	streams = k;
}

static void answer(struct client *k)
{
	static const char large_begin[] =
		"{\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion\",\"created\":1700000000,"
		"\"model\":\"gpt-4o-2024-08-06\",\"usage\":{\"prompt_tokens\":19,"
		"\"completion_tokens\":180,\"total_tokens\":199},\"choices\":[{\"index\":0,"
		"\"message\":{\"role\":\"assistant\",\"content\":\"";
	char head[1024];

	stats.requests++;
	if (!k->authorized) {
		static const char no[] = "HTTP/1.1 401 Unauthorized\r\nContent-Type: "
					 "application/json\r\nContent-Length: 2\r\n\r\n{}";

		stats.unauthorized++;
		bench_write(&k->c, no, sizeof(no) - 1);
		return;
	}
	stats.authorized++;
	switch (k->kind) {
	case SMALL:
		bench_write(&k->c, small, small_length);
		return;
	case BURST:
	case PACED:
		k->events_left = k->kind == BURST ? EVENTS : EVENTS / 10;
		k->due_ns = bench_now_ns();
		snprintf(head, sizeof(head),
			 "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Request-Id: "
			 "req_bench\r\nTransfer-Encoding: chunked\r\n\r\n");
		break;
	case LARGE_JSON:
		k->bytes_left = LARGE - (sizeof(large_begin) - 1);
		snprintf(head, sizeof(head),
			 "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
			 "Content-Length: %d\r\n\r\n%s",
			 LARGE, large_begin);
		break;
	case LARGE_BYTES:
		k->bytes_left = LARGE;
		snprintf(head, sizeof(head),
			 "HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: "
			 "%d\r\n\r\n",
			 LARGE);
		break;
	}
	bench_write(&k->c, head, strlen(head));
	stream_begin(k);
}

/* ---- streams ---- */

static void write_event(struct client *k)
{
	static uint64_t number;
	char event[512], chunk[640];
	int n = snprintf(
		event, sizeof(event),
		"data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\","
		"\"created\":1700000000,\"model\":\"gpt-4o-2024-08-06\",\"choices\":[{"
		"\"index\":0,\"delta\":{\"content\":\"t%llu %llu\"},\"finish_reason\":null}]}"
		"\n\n",
		(unsigned long long)bench_now_ns(), (unsigned long long)++number);

	n = snprintf(chunk, sizeof(chunk), "%x\r\n%s\r\n", (unsigned int)n, event);
	stats.events++;
	bench_write(&k->c, chunk, (size_t)n);
}

static void write_last(struct client *k)
{
	static const char end[] = "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";

	bench_write(&k->c, end, sizeof(end) - 1);
}

/* False: the connection is over. */
static bool stream_events(struct client *k, uint64_t now)
{
	for (int i = 0; i < TURN && k->events_left && !bench_unsent(&k->c); i++) {
		if (k->kind == PACED) {
			if (k->due_ns > now)
				break;
			k->due_ns += PACE_NS;
		}
		write_event(k);
		if (!--k->events_left)
			write_last(k);
		if (bench_flush(&k->c, k) < 0)
			return false;
	}
	return true;
}

static bool stream_bytes(struct client *k)
{
	static const char end[] = "\"},\"finish_reason\":\"stop\"}]}";
	size_t tail = k->kind == LARGE_JSON ? sizeof(end) - 1 : 0;

	while (k->bytes_left && bench_unsent(&k->c) < 131072) {
		size_t n = k->bytes_left - tail;

		if (n > 16384)
			n = 16384;
		bench_write(&k->c, n ? filler : end, n ? n : tail);
		k->bytes_left -= n ? n : tail;
	}
	return bench_flush(&k->c, k) == 0;
}

static void drop(struct client *k)
{
	if (k->dead)
		return;
	k->dead = true;
	bench_close(&k->c);
	if (dead_count == sizeof(dead) / sizeof(dead[0]))
		bench_die("origin", "too many ends in one turn");
	dead[dead_count++] = k;
}

/* What has something to send sends it. Nanoseconds until the next is due. */
static uint64_t run_streams(void)
{
	uint64_t now = bench_now_ns(), wait = NS;

	for (struct client **at = &streams; *at;) {
		struct client *k = *at;
		bool alive = !k->dead && (k->events_left ? stream_events(k, now) : stream_bytes(k));

		if (alive && (k->events_left || k->bytes_left)) {
			if (bench_unsent(&k->c))
				; /* EPOLLOUT wakes us */
			else if (k->kind == PACED)
				wait = k->due_ns <= now		? 0
				       : k->due_ns - now < wait ? k->due_ns - now
								: wait;
			else
				wait = 0;
			at = &k->next;
			continue;
		}
		*at = k->next;
		k->streaming = false;
		if (!alive)
			drop(k);
	}
	return wait;
}

/* ---- requests ---- */

static enum kind kind_of(const char *p, size_t n)
{
	if (memmem(p, n, "gpt-4o-burst", 12))
		return BURST;
	if (memmem(p, n, "gpt-4o-paced", 12))
		return PACED;
	if (memmem(p, n, "gpt-4o-10mb", 11))
		return LARGE_JSON;
	return SMALL;
}

static void body_data(void *context, const char *p, size_t n)
{
	struct client *k = context;

	if (!k->body_seen && k->kind != LARGE_BYTES)
		k->kind = kind_of(p, n < 512 ? n : 512);
	k->body_seen += n;
	stats.bytes_in += n;
}

/* Bytes of the head, or -1 when malformed; 0: all were kept until more comes. */
static long read_head(struct client *k, const char *p, size_t n)
{
	size_t before = k->used;
	int r;

	if (!k->head)
		k->head = bench_alloc(HEAD_BYTES);
	if (n > HEAD_BYTES - k->used)
		n = HEAD_BYTES - k->used;
	memcpy(k->head + k->used, p, n);
	k->used += n;
	r = bench_head_parse(k->head, k->used, false, &k->request);
	if (r < 0 || (!r && k->used == HEAD_BYTES))
		return -1;
	if (!r)
		return 0;
	k->authorized = k->request.authorization &&
			memmem(k->request.authorization, k->request.authorization_length,
			       authorization, strlen(authorization));
	k->kind = strncmp(k->head, "POST /v1/audio/speech ", 22) ? SMALL : LARGE_BYTES;
	k->in_body = true;
	k->body_seen = 0;
	free(k->head);
	k->head = NULL;
	k->used = 0;
	return (long)(k->request.length - before);
}

static bool take(struct client *k, const char *p, size_t n)
{
	while (n) {
		bool done = false;
		long took;

		if (!k->in_body) {
			took = read_head(k, p, n);
			if (took < 0)
				return false;
			if (!took)
				return true;
			done = k->request.body.kind == BENCH_BODY_NONE;
		} else {
			took = bench_body_take(&k->request.body, p, n, &done, body_data, k);
			if (took < 0)
				return false;
		}
		p += took;
		n -= (size_t)took;
		if (done) {
			k->in_body = false;
			answer(k);
		}
	}
	return true;
}

static void on_event(struct client *k, uint32_t events)
{
	static char bytes[65536];
	bool before = k->c.established, ok = true;
	ssize_t n = BENCH_FAIL;

	if (k->dead)
		return;
	if (!bench_wake(&k->c, events, k) && bench_handshake(&k->c) >= 0) {
		if (!before && k->c.established)
			stats.resumed += (uint64_t)SSL_session_reused(k->c.ssl);
		n = BENCH_AGAIN;
		while (k->c.established && ok && (n = bench_read(&k->c, bytes, sizeof(bytes))) > 0)
			ok = take(k, bytes, (size_t)n);
	}
	if (!ok)
		stats.failed++;
	if (!ok || n < 0 || bench_flush(&k->c, k) < 0)
		drop(k);
}

static void accept_all(int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct client *k = bench_alloc(sizeof(*k));

		stats.connections++;
		bench_accept(&k->c, epoll, fd, ctx, k);
	}
}

static void tell(int listener)
{
	char text[600];
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), n;

	if (fd < 0)
		return;
	n = snprintf(text, sizeof(text),
		     "{\"connections\":%lu,\"resumed\":%lu,\"requests\":%lu,\"authorized\":%lu,"
		     "\"unauthorized\":%lu,\"bytes_in\":%lu,\"events\":%lu,\"failed\":%lu}\n",
		     stats.connections, stats.resumed, stats.requests, stats.authorized,
		     stats.unauthorized, stats.bytes_in, stats.events, stats.failed);
	(void)!write(fd, text, (size_t)n);
	close(fd);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"port", 1, NULL, 'p'},	    {"stats-port", 1, NULL, 's'}, {"cert", 1, NULL, 'c'},
		{"key-file", 1, NULL, 'k'}, {NULL, 0, NULL, 0},
	};
	const char *pem = NULL;
	uint16_t port = 443, stats_port = 8099;
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = &listener_mark}, got[256];
	int c, listener, stats_listener;
	uint64_t wait = NS;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'p')
			port = (uint16_t)atoi(optarg);
		else if (c == 's')
			stats_port = (uint16_t)atoi(optarg);
		else if (c == 'c')
			pem = optarg;
		else if (c == 'k')
			snprintf(authorization, sizeof(authorization), "Bearer %s\r\n",
				 bench_read_word(optarg));
	}
	if (!pem || !authorization[0])
		bench_die("usage", "origin --cert PEM --key-file FILE [--port N] [--stats-port N]");
	signal(SIGPIPE, SIG_IGN);
	make_small();
	ctx = bench_server_context(pem);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	listener = bench_listen(port);
	stats_listener = bench_listen(stats_port);
	epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &e);
	e.data.ptr = &stats_mark;
	epoll_ctl(epoll, EPOLL_CTL_ADD, stats_listener, &e);
	for (;;) {
		struct timespec t = {.tv_sec = (time_t)(wait / NS), .tv_nsec = (long)(wait % NS)};
		int n = epoll_pwait2(epoll, got, 256, &t, NULL);

		for (int i = 0; i < n; i++) {
			if (got[i].data.ptr == &listener_mark)
				accept_all(listener);
			else if (got[i].data.ptr == &stats_mark)
				tell(stats_listener);
			else
				on_event(got[i].data.ptr, got[i].events);
		}
		wait = run_streams();
		for (size_t i = 0; i < dead_count; i++) {
			free(dead[i]->head);
			free(dead[i]);
		}
		dead_count = 0;
	}
}
