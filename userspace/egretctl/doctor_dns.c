/* SPDX-License-Identifier: Apache-2.0 */
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "egretctl/doctor.h"

#define WAIT_MS 2000

/* RFC 1035 section 4.1: one question, ". NS IN", recursion desired. */
static const unsigned char question[] = {0x45, 0x67, 0x01, 0x00, 0, 1, 0, 0, 0,
					 0,    0,    0,	   0,	 0, 2, 0, 1};

/* "10.0.0.10", "10.0.0.10:53", "[::1]:53", "::1" */
static int split(const char *server, char *host, size_t size, const char **port)
{
	const char *first = server, *end;

	*port = "53";
	if (*server == '[') {
		first = server + 1;
		end = strchr(first, ']');
		if (!end)
			return -EINVAL;
		if (end[1] == ':')
			*port = end + 2;
	} else {
		end = strchr(server, ':');
		if (end && !strchr(end + 1, ':'))
			*port = end + 1;
		else
			end = server + strlen(server);
	}
	if ((size_t)(end - first) >= size)
		return -EINVAL;
	memcpy(host, first, (size_t)(end - first));
	host[end - first] = '\0';
	return 0;
}

int doctor_dns_answers(const char *server, struct eg_error *e)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
				 .ai_socktype = SOCK_DGRAM};
	struct addrinfo *a = NULL;
	EG_CLEANUP_FD int fd = -1;
	struct pollfd p = {.events = POLLIN};
	unsigned char answer[512];
	char host[64];
	const char *port;
	ssize_t n;

	if (split(server, host, sizeof(host), &port) || getaddrinfo(host, port, &hints, &a))
		return eg_error_set(e, -EINVAL, "not an address");
	fd = socket(a->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, a->ai_addr, a->ai_addrlen) < 0 ||
	    send(fd, question, sizeof(question), 0) < 0) {
		n = -errno;
		freeaddrinfo(a);
		return eg_error_set(e, (int)n, "%s", strerror((int)-n));
	}
	freeaddrinfo(a);
	p.fd = fd;
	if (poll(&p, 1, WAIT_MS) <= 0)
		return eg_error_set(e, -ETIMEDOUT, "no answer in %d ms", WAIT_MS);
	n = recv(fd, answer, sizeof(answer), 0);
	if (n < 12 || answer[0] != question[0] || answer[1] != question[1])
		return eg_error_set(e, -EPROTO, "%s", n < 0 ? strerror(errno) : "not a DNS answer");
	return 0;
}
