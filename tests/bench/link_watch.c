/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a new link of a pod is without a program. link_watch NAME COUNT: makes a veth pair COUNT
 * times, takes the time from the kernel's announcement of NAME, which the agent gets as well, until
 * a program stands at its TCX ingress, and prints nanoseconds, one a line. Runs in the node's
 * namespace; looks without a pause, so it has a CPU of its own.
 */
#include <bpf/bpf.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TCX_INGRESS                                                                  \
	((enum bpf_attach_type)46) /* BPF_TCX_INGRESS; libbpf 1.1 has no name for it \
				    */
#define GIVE_UP_NS 5000000000ULL

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static pid_t start_ip(const char *const argv[])
{
	pid_t pid;

	if (posix_spawnp(&pid, "ip", NULL, NULL, (char *const *)(uintptr_t)argv, environ))
		die("ip");
	return pid;
}

static void run_ip(const char *const argv[])
{
	int status;

	if (waitpid(start_ip(argv), &status, 0) < 0 || status)
		die("ip failed");
}

/* The index of the link when this is its announcement, else 0. */
static unsigned int announced(const char *bytes, ssize_t n, const char *name)
{
	for (const struct nlmsghdr *h = (const void *)bytes; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
		const struct ifinfomsg *i = NLMSG_DATA(h);
		const struct rtattr *a = IFLA_RTA(i);
		int left = (int)IFLA_PAYLOAD(h);

		if (h->nlmsg_type != RTM_NEWLINK)
			continue;
		for (; RTA_OK(a, left); a = RTA_NEXT(a, left))
			if (a->rta_type == IFLA_IFNAME && !strcmp(RTA_DATA(a), name))
				return (unsigned int)i->ifi_index;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
	char peer[IF_NAMESIZE], bytes[65536];
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (argc != 3 || strlen(argv[1]) + 2 > sizeof(peer)) {
		fprintf(stderr, "usage: link_watch NAME COUNT\n");
		return 2;
	}
	snprintf(peer, sizeof(peer), "p%.14s", argv[1]);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)))
		die("netlink");
	for (int i = atoi(argv[2]); i > 0; i--) {
		const char *add[] = {"ip",   "link", "add",  argv[1], "type",
				     "veth", "peer", "name", peer,    NULL};
		const char *del[] = {"ip", "link", "del", argv[1], NULL};
		unsigned int index = 0;
		uint32_t count = 0;
		uint64_t begin, took = 0;
		pid_t pid = start_ip(add);
		int status;

		while (!index) {
			ssize_t n = recv(fd, bytes, sizeof(bytes), 0);

			if (n <= 0)
				die("netlink");
			index = announced(bytes, n, argv[1]);
		}
		begin = now_ns();
		while (!count && took < GIVE_UP_NS) {
			uint32_t flags, ids[8], room = 8;

			if (!bpf_prog_query((int)index, TCX_INGRESS, 0, &flags, ids, &room))
				count = room;
			took = now_ns() - begin;
		}
		if (waitpid(pid, &status, 0) < 0 || status || !count) {
			fprintf(stderr, "link_watch: no program came to %s within 5 s\n", argv[1]);
			return 1;
		}
		printf("%lu\n", took);
		run_ip(del);
		while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
			;
		usleep(200000);
		while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
			;
	}
	return 0;
}
