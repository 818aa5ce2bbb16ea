/* SPDX-License-Identifier: Apache-2.0 */
/* The sockets that captured connections arrive at, and their slots. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "datapath/internal.h"

#ifndef IPV6_TRANSPARENT
#define IPV6_TRANSPARENT 75
#endif
#define BACKLOG 4096 /* the kernel cuts it to net.core.somaxconn */

static int one_listener(struct eg_datapath *d, int *out, struct eg_error *error)
{
	/*
	 * Bound to ::ffff:127.0.0.1, so that nothing reaches it but what listener_lookup gives it,
	 * which does not look at the address: in mark mode this socket is in the node's own
	 * namespace.
	 */
	struct sockaddr_in6 at = {
		.sin6_family = AF_INET6,
		.sin6_addr = {.s6_addr = {[10] = 0xff, 0xff, 127, 0, 0, 1}},
	};
	EG_CLEANUP_FD int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* What is accepted has it, too: when the process that holds it dies, its clients get a
	 * reset. A FIN would pass a cut answer for a whole one. */
	struct linger reset = {.l_onoff = 1};
	int zero = 0, one = 1;

	if (fd < 0)
		return eg_error_set(
			error, -errno,
			"cannot make an IPv6 socket: %s (the kernel needs IPv6 compiled in, "
			"also for pods that have IPv4 alone)",
			strerror(errno));
	if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero)) ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &one, sizeof(one)) ||
	    setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &one, sizeof(one)))
		return eg_error_set(
			error, -errno,
			"cannot make a listener transparent: %s (CAP_NET_ADMIN is needed)",
			strerror(errno));
	if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)))
		return eg_error_set(error, -errno, "cannot set SO_LINGER: %s", strerror(errno));
	/* A default of bbr gave 0.6 of cubic's throughput over a veth. */
	if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5))
		eg_datapath_note(
			d, "the kernel has no cubic (%s): connections of pods use its default",
			strerror(errno));
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, BACKLOG))
		return eg_error_set(error, -errno, "cannot listen: %s", strerror(errno));
	*out = eg_fd_take(&fd);
	return 0;
}

static int make_all(void *context, struct eg_error *error)
{
	struct eg_datapath *d = context;
	int r = 0;

	while (!r && d->listener_count < d->o.worker_count) {
		r = one_listener(d, &d->listener[d->listener_count], error);
		if (!r)
			d->listener_count++;
	}
	return r;
}

static int fill_slots(struct eg_datapath *d, struct eg_error *error)
{
	for (uint32_t i = 0; i < EG_MAX_WORKERS; i++) {
		uint64_t fd = i < d->listener_count ? (uint64_t)d->listener[i] : 0;

		if (i >= d->listener_count) {
			bpf_map_delete_elem(d->map[EG_MAP_LISTENERS], &i);
			continue;
		}
		if (bpf_map_update_elem(d->map[EG_MAP_LISTENERS], &i, &fd, BPF_ANY))
			return eg_error_set(error, -errno,
					    "cannot put a listener into its slot: %s",
					    strerror(errno));
	}
	return 0;
}

int eg_listeners_fill(struct eg_datapath *d, struct eg_error *error)
{
	int r;

	/* maps.h: agent_ifindex, listeners, heartbeat. */
	__atomic_store_n(&d->config->agent_ifindex, d->agent_ifindex, __ATOMIC_RELEASE);
	r = fill_slots(d, error);
	if (r)
		return r;
	__atomic_store_n(&d->config->listener_count, (uint32_t)d->listener_count, __ATOMIC_RELEASE);
	return 0;
}

int eg_datapath_listeners(struct eg_datapath *d, const int **fds, size_t *count,
			  struct eg_error *error)
{
	bool fresh = !d->listener_count; /* nobody handed any over, so nobody serves */
	int r;

	if (d->listening)
		return eg_error_set(error, -EALREADY, "the listeners are made already");
	r = d->listener_count >= d->o.worker_count ? 0
	    : d->o.mode == EG_MODE_NETNS ? eg_namespace_call(d->agent_netns, make_all, d, error)
					 : make_all(d, error);
	if (r)
		return r;
	/*
	 * One that was killed a moment ago still counts as alive; with our slots it would be so,
	 * and what came now would wait in a backlog for a gateway that may never be.
	 */
	if (fresh)
		__atomic_store_n(&d->config->heartbeat_ns, 0, __ATOMIC_RELEASE);
	r = eg_listeners_fill(d, error);
	if (r)
		return r;
	d->listening = true;
	*fds = d->listener;
	*count = d->listener_count;
	return 0;
}

void eg_datapath_heartbeat(struct eg_datapath *d)
{
	__atomic_store_n(&d->config->heartbeat_ns, eg_now_ns(), __ATOMIC_RELEASE);
}

void eg_datapath_stop(struct eg_datapath *d)
{
	__atomic_store_n(&d->config->heartbeat_ns, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&d->config->listener_count, 0, __ATOMIC_RELEASE);
	for (uint32_t i = 0; i < EG_MAX_WORKERS; i++)
		bpf_map_delete_elem(d->map[EG_MAP_LISTENERS], &i);
	for (size_t i = 0; i < d->listener_count; i++)
		eg_fd_close(&d->listener[i]);
	d->listener_count = 0;
	__atomic_store_n(&d->config->agent_ifindex, 0, __ATOMIC_RELEASE);
}
