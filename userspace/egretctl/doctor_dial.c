/* SPDX-License-Identifier: Apache-2.0 */
#include "egretctl/doctor_dial.h"

#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "datapath/datapath.h"
#include "proto/h1.h"

#define HTTP_PORT 80

struct endpoint {
	union {
		struct sockaddr any;
		struct sockaddr_in in4;
		struct sockaddr_in6 in6;
	} u;
	socklen_t size;
};

static struct endpoint endpoint(const struct eg_address *a, uint16_t port)
{
	struct endpoint e = {.size = sizeof(e.u.in6)};

	if (eg_address_is4(a)) {
		e.u.in4 = (struct sockaddr_in){.sin_family = AF_INET,
					       .sin_port = htons(port),
					       .sin_addr.s_addr = a->word_be[3]};
		e.size = sizeof(e.u.in4);
		return e;
	}
	e.u.in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
	memcpy(&e.u.in6.sin6_addr, a->word_be, sizeof(a->word_be));
	return e;
}

/* False: the time is over. */
static bool wait_for(int fd, short events, uint64_t end_ms)
{
	struct pollfd p = {.fd = fd, .events = events};
	uint64_t now;

	while ((now = eg_now_ms()) < end_ms) {
		int n = poll(&p, 1, (int)(end_ms - now));

		if (n > 0)
			return true;
		if (n < 0 && errno != EINTR)
			return false;
	}
	return false;
}

static enum doctor_dial_end end_of_connect(int e, int *error)
{
	*error = e;
	if (e == ECONNREFUSED || e == ECONNRESET)
		return DOCTOR_DIAL_REFUSED;
	return e == ETIMEDOUT ? DOCTOR_DIAL_LOST : DOCTOR_DIAL_NO_WAY;
}

/* True: connected. */
static bool reach(int fd, const struct eg_address *from, const struct eg_address *to,
		  uint64_t end_ms, struct doctor_dial *out)
{
	struct endpoint own = endpoint(from, 0), other = endpoint(to, HTTP_PORT);
	int e = 0;
	socklen_t size = sizeof(e);

	/* The pod's own address, else the programs take it for spoofed; and a number of a link that
	 * means another pod's here is found out. */
	if (bind(fd, &own.u.any, own.size)) {
		out->error = errno;
		out->end = DOCTOR_DIAL_ELSEWHERE;
		return false;
	}
	if (connect(fd, &other.u.any, other.size) && errno != EINPROGRESS) {
		out->end = end_of_connect(errno, &out->error);
		return false;
	}
	if (!getsockname(fd, &own.u.any, &own.size))
		out->port_be =
			own.u.any.sa_family == AF_INET ? own.u.in4.sin_port : own.u.in6.sin6_port;
	out->end = DOCTOR_DIAL_LOST;
	if (!wait_for(fd, POLLOUT, end_ms))
		return false;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &size))
		e = errno;
	if (e)
		out->end = end_of_connect(e, &out->error);
	return !e;
}

/* No credential, not even a placeholder: Egret refuses it whatever the policy is, so that no
 * provider is ever asked. */
static bool ask(int fd, const struct eg_address *to)
{
	char address[EG_ADDRESS_TEXT], request[256];
	bool is4 = eg_address_is4(to);
	int n = snprintf(request, sizeof(request),
			 "GET / HTTP/1.1\r\nHost: %s%s%s\r\nUser-Agent: egretctl-doctor/%s\r\n"
			 "Connection: close\r\n\r\n",
			 is4 ? "" : "[", eg_address_format(to, address), is4 ? "" : "]",
			 EG_VERSION);

	return send(fd, request, (size_t)n, MSG_NOSIGNAL) == n;
}

/* Of an answer nothing is taken over as text: what stands in it may be anybody's. */
static bool reason_of(const struct eg_h1_head *head, enum eg_reason *reason)
{
	const struct eg_header *h = eg_h1_find(head, EG_STR("x-egret-reason"));

	for (unsigned int i = 0; h && i < EG_REASON_MAX; i++) {
		const char *label = eg_reason_label((enum eg_reason)i);

		*reason = (enum eg_reason)i;
		if (strcmp(label, "unknown") != 0 && eg_str_eq(h->value, eg_str_from(label)))
			return true;
	}
	return false;
}

static enum doctor_dial_end judge(struct eg_str bytes, struct doctor_dial *out, bool *complete)
{
	struct eg_h1_head head;
	struct eg_h1_scan scan = {0};
	enum eg_reason why;
	enum eg_io r = eg_h1_parse_response(&scan, bytes, &eg_h1_default_limits, EG_STR("GET"),
					    &head, &why);

	*complete = r != EG_IO_AGAIN;
	if (r != EG_IO_DONE)
		return DOCTOR_DIAL_NO_HTTP;
	out->status = head.status;
	return reason_of(&head, &out->reason) ? DOCTOR_DIAL_EGRET : DOCTOR_DIAL_OTHER;
}

static void read_answer(int fd, uint64_t end_ms, struct doctor_dial *out)
{
	char in[8192];
	size_t have = 0;
	bool complete = false;

	out->end = DOCTOR_DIAL_SILENT;
	while (have < sizeof(in) && wait_for(fd, POLLIN, end_ms)) {
		ssize_t n = recv(fd, in + have, sizeof(in) - have, 0);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0) {
			if (!complete && !have)
				out->end = n ? DOCTOR_DIAL_RESET : DOCTOR_DIAL_CLOSED;
			return;
		}
		have += (size_t)n;
		/* Read on to the end afterwards, so that the other side closes first. */
		if (!complete)
			out->end = judge((struct eg_str){in, have}, out, &complete);
	}
}

void doctor_dial(const struct eg_address *from, const struct eg_address *to,
		 struct doctor_dial *out)
{
	/* Whoever closes first has the connection in TIME_WAIT for a minute: not the pod, whatever
	 * the other side did not do in time. */
	const struct linger reset = {.l_onoff = 1};
	uint64_t began = eg_now_ms();
	EG_CLEANUP_FD int fd = socket(eg_address_is4(to) ? AF_INET : AF_INET6,
				      SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	*out = (struct doctor_dial){.end = DOCTOR_DIAL_NO_WAY};
	if (fd < 0) {
		out->error = errno;
		return;
	}
	if (reach(fd, from, to, began + DOCTOR_DIAL_MS, out)) {
		if (ask(fd, to))
			read_answer(fd, began + DOCTOR_DIAL_MS, out);
		else
			out->end = DOCTOR_DIAL_RESET;
	}
	out->ms = (unsigned int)(eg_now_ms() - began);
	/* Where the other side has closed, nothing is left to be reset. */
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
}
