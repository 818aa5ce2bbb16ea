/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one program of the tests' container image; static, so that nothing lies between the start of
 * a container and its first packet.
 *
 * `container_pod pause`: waits, as a pod's first container does, until it is told to end.
 *
 * `container_pod send RESOLVER NAME PORT`: asks for NAME's addresses, of both families, and sends
 * at once to what it learns, from the source port PORT: the first segment of a TCP connection to
 * port 443, and datagrams to UDP 443. Then waits for both connections, ten seconds at most, and
 * prints one line: after how many milliseconds since its start each was there (-1: not at all).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define GIVE_UP_MS 10000
#define TYPE_A	   1
#define TYPE_AAAA  28

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int die(const char *what)
{
	perror(what);
	exit(2);
}

static int pause_until_told(void)
{
	sigset_t ends;
	int which;

	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	sigwait(&ends, &which);
	return 0;
}

static size_t write_query(uint8_t *out, const char *name, uint8_t type)
{
	static const uint8_t head[12] = {
		[1] = 7, [2] = 1, [5] = 1}; /* number 7, RD, one question */
	uint8_t *p = out + sizeof(head);

	memcpy(out, head, sizeof(head));
	while (*name) {
		size_t n = strcspn(name, ".");

		*p++ = (uint8_t)n;
		memcpy(p, name, n);
		p += n;
		name += n + (name[n] == '.');
	}
	*p++ = 0;
	memcpy(p, (const uint8_t[]){0, type, 0, 1}, 4);
	return (size_t)(p + 4 - out);
}

static const uint8_t *skip_name(const uint8_t *p, const uint8_t *end)
{
	while (p < end && *p && *p < 0xc0)
		p += *p + 1;
	return p < end && *p ? p + 2 : p + 1;
}

/* The first address of that type in an answer. */
static int find_address(const uint8_t *answer, size_t n, size_t query, uint8_t type, void *out)
{
	const uint8_t *p = answer + query, *end = answer + n;

	for (p = skip_name(p, end); p + 10 <= end; p = skip_name(p, end)) {
		size_t length = (size_t)p[8] << 8 | p[9];

		if (p + 10 + length > end)
			return -1;
		if (p[1] == type) {
			memcpy(out, p + 10, type == TYPE_A ? 4 : 16);
			return 0;
		}
		p += 10 + length;
	}
	return -1;
}

/* Asked again each second: the resolver is reached as soon as the pod's network is. */
static void resolve(const char *resolver, const char *name, uint8_t type, void *out)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(53)};
	struct timeval second = {.tv_sec = 1};
	uint8_t query[300], answer[1500];
	size_t length = write_query(query, name, type);
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	ssize_t n;

	inet_pton(AF_INET, resolver, &to.sin_addr);
	if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof(second)))
		die("resolver");
	for (int i = 0; i < 10; i++) {
		if (send(fd, query, length, 0) < 0)
			die("resolver: send");
		n = recv(fd, answer, sizeof(answer), 0);
		if (n > (ssize_t)length && !find_address(answer, (size_t)n, length, type, out)) {
			close(fd);
			return;
		}
	}
	fprintf(stderr, "no address of %s from %s\n", name, resolver);
	exit(2);
}

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static int bound(const union address *to, socklen_t size, int type, uint16_t port)
{
	union address from = {.any.sa_family = to->any.sa_family};
	int fd = socket(to->any.sa_family, type | SOCK_NONBLOCK, 0);
	int only = 1;

	if (to->any.sa_family == AF_INET)
		from.v4.sin_port = htons(port);
	else
		from.v6.sin6_port = htons(port);
	if (to->any.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
	if (fd < 0 || bind(fd, &from.any, size))
		die("socket");
	if (connect(fd, &to->any, size) && errno != EINPROGRESS)
		die("connect");
	return fd;
}

static int send_at_once(const char *resolver, const char *name, uint16_t port)
{
	union address to[2] = {{.v4 = {.sin_family = AF_INET, .sin_port = htons(443)}},
			       {.v6 = {.sin6_family = AF_INET6, .sin6_port = htons(443)}}};
	static const socklen_t size[2] = {sizeof(struct sockaddr_in), sizeof(struct sockaddr_in6)};
	struct pollfd wait[2];
	long after[2] = {-1, -1};
	int64_t begin = now_ms();

	for (int i = 0; i < 2; i++) {
		int datagrams;

		resolve(resolver, name, i ? TYPE_AAAA : TYPE_A,
			i ? (void *)&to[i].v6.sin6_addr : &to[i].v4.sin_addr);
		wait[i] = (struct pollfd){.fd = bound(&to[i], size[i], SOCK_STREAM, port),
					  .events = POLLOUT};
		datagrams = bound(&to[i], size[i], SOCK_DGRAM, port);
		for (int k = 0; k < 3; k++)
			(void)!send(datagrams, "initial", 7, 0);
	}
	while ((wait[0].fd >= 0 || wait[1].fd >= 0) && now_ms() - begin < GIVE_UP_MS) {
		if (poll(wait, 2, 100) < 0)
			die("poll");
		for (int i = 0; i < 2; i++) {
			int error = 0;

			if (wait[i].fd < 0 || !wait[i].revents)
				continue;
			if (getsockopt(wait[i].fd, SOL_SOCKET, SO_ERROR, &error,
				       &(socklen_t){sizeof(error)}))
				die("getsockopt");
			if (!error)
				after[i] = (long)(now_ms() - begin);
			else
				fprintf(stderr, "IPv%d, after %ld ms: %s\n", i ? 6 : 4,
					(long)(now_ms() - begin), strerror(error));
			wait[i].fd = -1; /* it stays open */
		}
	}
	printf("%ld %ld\n", after[0], after[1]);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "pause"))
		return pause_until_told();
	if (argc == 5 && !strcmp(argv[1], "send"))
		return send_at_once(argv[2], argv[3], (uint16_t)atoi(argv[4]));
	fprintf(stderr, "usage: container_pod pause | send RESOLVER NAME PORT\n");
	return 2;
}
