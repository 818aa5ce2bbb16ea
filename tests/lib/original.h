/* SPDX-License-Identifier: Apache-2.0 */
/* For one test program: what the plane dials as a pod's original destination comes to its fake
 * providers. */
#ifndef TESTS_ORIGINAL_H
#define TESTS_ORIGINAL_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* An original destination can't be a loopback address, so what is dialled there ends here. */
int connect(int fd, const struct sockaddr *address, socklen_t n)
{
	struct sockaddr_in to;

	if (address->sa_family != AF_INET || n < sizeof(to))
		return (int)syscall(SYS_connect, fd, address, n);
	memcpy(&to, address, sizeof(to));
	if (to.sin_addr.s_addr == inet_addr("198.51.100.10"))
		to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return (int)syscall(SYS_connect, fd, &to, sizeof(to));
}

#endif
