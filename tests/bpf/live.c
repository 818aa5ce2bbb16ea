/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a test run can't show, with real sockets in namespaces of the test's own: redirect_peer
 * there and back, sk_lookup, the stamp between egress_tc and guard_tc, the guard's cgroup and
 * time-wait rule, metadata from XDP to TC, resets that a real TCP accepts.
 *
 *   pod --- egb10 [node: this process] egb20 --- internet
 *                        egb19 --- agent
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <linux/if_link.h>
#include <netinet/in.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "live.h"

#include "classify_xdp.skel.h"

#define EG_ARRAY(a) (sizeof(a) / sizeof((a)[0]))

struct live live;

void must(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "live: %s: %s\n", what, strerror(errno));
		exit(2);
	}
}

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *format, ...)
{
	char command[512];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	must(system(command) == 0, command);
}

void enter(int ns)
{
	must(setns(ns, CLONE_NEWNET) == 0, "setns");
}

/* A namespace without a name: it goes when its last descriptor does, that is with this process. */
static int new_namespace(void)
{
	int fd;

	must(unshare(CLONE_NEWNET) == 0, "unshare");
	shell("ip link set lo up");
	fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	must(fd >= 0, "/proc/self/ns/net");
	enter(live.node_ns);
	return fd;
}

/* Moves the far end of egbN into a namespace and calls it eth0. */
static void move_link(int ns, int link)
{
	pid_t pid = fork();
	int status;

	must(pid >= 0, "fork");
	if (!pid) { /* a process inside, for `ip link set netns PID` */
		enter(ns);
		pause();
		_exit(0);
	}
	/* Until it is inside, its namespace is this one. */
	for (;;) {
		struct stat there, here;
		char path[64];

		snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
		if (!stat(path, &there) && !fstat(ns, &here) && there.st_ino == here.st_ino)
			break;
		usleep(1000);
	}
	shell("ip link set egbp%d netns %d name eth0", link, (int)pid);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	shell("ip link set egb%d up", link);
	enter(ns);
	shell("ip link set eth0 up");
	enter(live.node_ns);
}

static void build(void)
{
	char mac[32] = "";
	FILE *f;

	live.node_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	must(live.node_ns >= 0, "/proc/self/ns/net");
	live.pod_ns = new_namespace();
	live.agent_ns = new_namespace();
	live.internet_ns = new_namespace();
	move_link(live.pod_ns, POD);
	move_link(live.agent_ns, AGENT_LINK);
	move_link(live.internet_ns, UPLINK);
	shell("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 "
	      "net.ipv4.conf.all.rp_filter=1");
	shell("ip addr add 10.0.0.1/24 dev egb%d && ip addr add fd00:1::1/64 dev egb%d nodad", POD,
	      POD);
	shell("ip addr add 192.0.9.1/24 dev egb%d && ip addr add 2001:db8:9::1/64 dev egb%d nodad",
	      UPLINK, UPLINK);
	shell("ip route add default via 192.0.9.2 && ip -6 route add default via 2001:db8:9::2");
	f = popen("ip -o link show egb19 | sed 's/.*ether \\([^ ]*\\).*/\\1/'", "r");
	must(f && fscanf(f, "%31s", mac) == 1, "MAC of the agent's link");
	pclose(f);
	enter(live.pod_ns);
	shell("ip addr add " POD4 "/24 dev eth0 && ip addr add " POD6 "/64 dev eth0 nodad");
	shell("ip route add default via 10.0.0.1 && ip -6 route add default via fd00:1::1");
	enter(live.internet_ns);
	shell("ip addr add 192.0.9.2/24 dev eth0 && ip addr add 2001:db8:9::2/64 dev eth0 nodad");
	shell("ip route add default via 192.0.9.1 && ip -6 route add default via 2001:db8:9::1");
	shell("ip addr add " PROVIDER4 "/32 dev lo && ip addr add " ELSEWHERE4 "/32 dev lo");
	shell("ip addr add " PROVIDER6 "/128 dev lo nodad && ip addr add " DENIED4 "/32 dev lo");
	enter(live.agent_ns);
	shell("ip rule add iif eth0 lookup 100 && ip -6 rule add iif eth0 lookup 100");
	shell("ip route add local default dev lo table 100");
	shell("ip -6 route add local default dev lo table 100");
	shell("ip addr add 169.254.77.9/24 dev eth0");
	shell("ip route add 10.0.0.0/24 via 169.254.77.2 dev eth0");
	shell("ip neigh add 169.254.77.2 lladdr %s dev eth0 nud permanent", mac);
	shell("ip -6 route add fd00:1::/64 via fe80::77 dev eth0");
	shell("ip -6 neigh add fe80::77 lladdr %s dev eth0 nud permanent", mac);
	enter(live.node_ns);
}

int attach(int prog, int target, enum bpf_attach_type type)
{
	int link = bpf_link_create(prog, target, type, NULL);

	must(link >= 0, "attach");
	return link;
}

static int listen_in(int ns, uint16_t port)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int fd, one = 1;

	enter(ns);
	fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	must(fd >= 0 && !setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), "socket");
	must(!setsockopt(fd, SOL_IPV6, 75 /* IPV6_TRANSPARENT */, &one, sizeof(one)),
	     "transparent");
	must(!bind(fd, (struct sockaddr *)&any, sizeof(any)) && !listen(fd, 64), "listen");
	enter(live.node_ns);
	return fd;
}

static void fill(struct sockaddr_storage *out, socklen_t *length, const char *text, uint16_t port)
{
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)out;
	struct sockaddr_in *four = (struct sockaddr_in *)out;

	memset(out, 0, sizeof(*out));
	if (strchr(text, ':')) {
		six->sin6_family = AF_INET6;
		six->sin6_port = htons(port);
		inet_pton(AF_INET6, text, &six->sin6_addr);
		*length = sizeof(*six);
	} else {
		four->sin_family = AF_INET;
		four->sin_port = htons(port);
		inet_pton(AF_INET, text, &four->sin_addr);
		*length = sizeof(*four);
	}
}

int dial(int ns, const char *to, uint16_t port, int type)
{
	struct sockaddr_storage address;
	socklen_t length;
	int fd;

	fill(&address, &length, to, port);
	enter(ns);
	fd = socket(address.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	must(fd >= 0, "socket");
	if (connect(fd, (struct sockaddr *)&address, length) && errno != EINPROGRESS) {
		close(fd);
		fd = -errno;
	}
	enter(live.node_ns);
	return fd;
}

bool ready(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	return poll(&p, 1, WAIT_MS) == 1;
}

/* The outcome of a connect: 0, or the error the application sees; ETIMEDOUT when none came. */
int outcome(int fd)
{
	socklen_t length = sizeof(int);
	int error = 0;

	if (fd < 0)
		return -fd;
	if (!ready(fd, POLLOUT))
		return ETIMEDOUT;
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
	return error;
}

/* Waits until a counter has moved; what drops a SYN shows in no socket. */
bool counted(enum eg_reason reason, enum eg_hook hook)
{
	int i;

	for (i = 0; i < WAIT_MS / 10; i++) {
		if (count_of(reason, hook))
			return true;
		usleep(10000);
	}
	return false;
}

static void address_text(const struct sockaddr_in6 *a, char *out, size_t size)
{
	char text[INET6_ADDRSTRLEN];

	inet_ntop(AF_INET6, &a->sin6_addr, text, sizeof(text));
	snprintf(out, size, "%s", strncmp(text, "::ffff:", 7) ? text : text + 7);
}

static bool exchange(int a, int b)
{
	char big[70000] = "x", seen[sizeof(big)];
	size_t sent = 0, got = 0;

	while (got < sizeof(big)) {
		ssize_t n;

		if (sent < sizeof(big) && (n = send(a, big + sent, sizeof(big) - sent, 0)) > 0)
			sent += (size_t)n;
		if (!ready(b, POLLIN))
			return false;
		n = recv(b, seen, sizeof(seen), 0);
		if (n <= 0)
			return false;
		got += (size_t)n;
	}
	return true;
}

/* From the pod to `to`, accepted by `listener`; both ends must know both addresses. */
static void captured(const char *name, int listener, const char *from, const char *to,
		     uint16_t port)
{
	struct sockaddr_in6 local, peer;
	socklen_t length = sizeof(local);
	char text[64] = "";
	int fd = dial(live.pod_ns, to, port, SOCK_STREAM), in = -1, error = outcome(fd);

	check(error == 0, name, "connect: %s", strerror(error));
	if (!error && ready(listener, POLLIN))
		in = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	check(in >= 0, name, "not accepted by the agent");
	if (in >= 0) {
		getsockname(in, (struct sockaddr *)&local, &length);
		length = sizeof(peer);
		getpeername(in, (struct sockaddr *)&peer, &length);
		address_text(&local, text, sizeof(text));
		check(!strcmp(text, to) && ntohs(local.sin6_port) == port, name,
		      "destination %s:%u", text, ntohs(local.sin6_port));
		address_text(&peer, text, sizeof(text));
		check(!strcmp(text, from), name, "pod %s", text);
		check(exchange(fd, in) && exchange(in, fd), name, "70 kB each way");
		close(in);
	}
	if (fd >= 0)
		close(fd);
}

void set_agent(int listener)
{
	uint64_t fd = (uint64_t)listener;
	uint32_t slot = 0;

	world_reset();
	listener_clear();
	map_set("listeners", &slot, &fd);
	world_config()->listener_count = 1;
	world_config()->agent_ifindex = AGENT_LINK;
}

static void test_redirect(int listener, int provider)
{
	int fd, error;

	set_agent(listener);
	captured("live v4", listener, POD4, PROVIDER4, 443);
	captured("live v6", listener, POD6, PROVIDER6, 443);
	captured("live port 80", listener, POD4, PROVIDER4, 80);
	captured("live gateway", listener, POD4, GATEWAY4, 80);
	/* what is not governed arrives where it was sent */
	fd = dial(live.pod_ns, ELSEWHERE4, 443, SOCK_STREAM);
	error = outcome(fd);
	check(error == 0 && ready(provider, POLLIN), "live elsewhere", "%s", strerror(error));
	close(accept(provider, NULL, NULL));
	close(fd);
	/* resets that the pod's TCP accepts */
	set_agent(listener);
	fd = dial(live.pod_ns, DENIED4, 443, SOCK_STREAM);
	error = outcome(fd);
	check(error == ECONNREFUSED, "live reset", "%s", strerror(error));
	close(fd);
	world_config()->heartbeat_ns = now_ns() - 121 * SECOND;
	fd = dial(live.pod_ns, PROVIDER6, 443, SOCK_STREAM);
	error = outcome(fd);
	check(error == ECONNREFUSED, "live reset v6", "%s", strerror(error));
	close(fd);
	/* a connection the agent doesn't know: its namespace answers with a reset */
	set_agent(listener);
	fd = dial(live.pod_ns, ELSEWHERE4, 443, SOCK_STREAM);
	error = outcome(fd);
	check(error == 0, "live unknown connection", "%s", strerror(error));
	close(accept(provider, NULL, NULL));
	set_agent(listener);					       /* flows is empty now, */
	set_destination(ELSEWHERE4 "/32", 5, EG_DESTINATION_RESOLVED); /* and it is governed */
	check(send(fd, "x", 1, MSG_NOSIGNAL) == 1 && ready(fd, POLLERR), "live unknown connection",
	      "is not reset");
	close(fd);
}

/* What egress_tc lets pass carries the stamp to the uplink; what it never saw does not. */
static void test_stamp(int listener, int provider)
{
	struct eg_pod pod = pod_of(1, EG_POD_UNGOVERNED, 0, POD4, POD6);
	int fd, error;

	set_agent(listener);
	set_pod(POD, &pod);
	fd = dial(live.pod_ns, PROVIDER4, 443, SOCK_STREAM);
	error = outcome(fd);
	check(error == 0 && ready(provider, POLLIN), "stamp", "ungoverned pod: %s",
	      strerror(error));
	close(accept(provider, NULL, NULL));
	close(fd);
	check(count_of(EG_REASON_GUARD_NO_STAMP, EG_HOOK_GUARD) == 0, "stamp", "guard dropped it");
	set_agent(listener);
	set_verdict(3, 5, 0, 0, EG_ACTION_PASS, EG_REASON_SHADOW);
	fd = dial(live.pod_ns, PROVIDER6, 443, SOCK_STREAM);
	error = outcome(fd);
	check(error == 0 && ready(provider, POLLIN), "stamp", "shadow mode: %s", strerror(error));
	close(accept(provider, NULL, NULL));
	close(fd);
	/* not attached: the window before a new pod's link is */
	close(live.egress);
	set_agent(listener);
	fd = dial(live.pod_ns, PROVIDER4, 443, SOCK_STREAM);
	check(counted(EG_REASON_GUARD_NO_STAMP, EG_HOOK_GUARD), "guard",
	      "an unclassified pod came out");
	close(fd);
	fd = dial(live.pod_ns, PROVIDER6, 443, SOCK_DGRAM);
	check(send(fd, "x", 1, 0) == 1 && counted(EG_REASON_QUIC_REFUSED, EG_HOOK_GUARD), "guard",
	      "QUIC");
	close(fd);
	live.egress = attach(progs.egress, POD, TCX_INGRESS);
}

static char cgroup_root[64], cgroup_path[128], cgroup_below[160];

static void write_pid(const char *folder)
{
	char path[160];
	FILE *f;

	snprintf(path, sizeof(path), "%s/cgroup.procs", folder);
	f = fopen(path, "we");
	if (f) {
		fprintf(f, "%d", (int)getpid());
		fclose(f);
	}
}

static void leave_cgroup(void)
{
	write_pid(cgroup_root);
	rmdir(cgroup_below);
	rmdir(cgroup_path);
}

/* Puts this process into a cgroup v2 of its own; its id is its directory's inode. */
static uint64_t own_cgroup(void)
{
	struct stat st;

	snprintf(cgroup_root, sizeof(cgroup_root), "%s",
		 access("/sys/fs/cgroup/unified/cgroup.procs", F_OK) ? "/sys/fs/cgroup"
								     : "/sys/fs/cgroup/unified");
	snprintf(cgroup_path, sizeof(cgroup_path), "%s/egb-%d", cgroup_root, (int)getpid());
	must(!mkdir(cgroup_path, 0755) && !stat(cgroup_path, &st), cgroup_path);
	atexit(leave_cgroup);
	write_pid(cgroup_path);
	return st.st_ino;
}

/* As an agent in a container of its own below the pod's cgroup, or a unit's below its slice. */
static void move_below(void)
{
	snprintf(cgroup_below, sizeof(cgroup_below), "%s/below", cgroup_path);
	must(!mkdir(cgroup_below, 0755), cgroup_below);
	write_pid(cgroup_below);
}

/* An uplink without a MAC header. */
static void test_bare_uplink(int listener)
{
	struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
	int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC), link, fd;

	must(tun >= 0, "/dev/net/tun");
	snprintf(request.ifr_name, sizeof(request.ifr_name), "egbtun");
	must(!ioctl(tun, TUNSETIFF, &request), "TUNSETIFF");
	shell("ip addr add 192.0.8.1/24 dev egbtun && ip link set egbtun up");
	shell("ip addr add 2001:db8:8::1/64 dev egbtun nodad");
	shell("ip route add " PROVIDER4 "/32 dev egbtun && ip -6 route add " PROVIDER6
	      "/128 dev egbtun");
	link = attach(progs.guard, (int)if_nametoindex("egbtun"), TCX_EGRESS);
	set_agent(listener);
	world_config()->guard_host_deny = 1;
	fd = dial(live.node_ns, PROVIDER4, 443, SOCK_STREAM);
	check(counted(EG_REASON_GUARD_HOST, EG_HOOK_GUARD), "guard",
	      "on a device without MAC header");
	close(fd);
	set_agent(listener);
	world_config()->guard_host_deny = 1;
	fd = dial(live.node_ns, PROVIDER6, 443, SOCK_STREAM);
	check(counted(EG_REASON_GUARD_HOST, EG_HOOK_GUARD), "guard",
	      "on a device without MAC header, v6");
	close(fd);
	close(link);
	close(tun); /* and the device is gone */
}

/* The cgroup above, or some above that, is the agent's; one beside it is not. */
static void test_host_below(int listener, int provider, uint64_t cgroup)
{
	struct stat below;
	int fd, error;

	move_below();
	set_agent(listener);
	world_config()->guard_host_deny = 1;
	world_config()->agent_cgroup[0] = cgroup;
	fd = dial(live.node_ns, PROVIDER4, 443, SOCK_STREAM);
	error = outcome(fd);
	check(error == 0 && ready(provider, POLLIN), "guard host", "agent in a sub-cgroup: %s",
	      strerror(error));
	close(accept(provider, NULL, NULL));
	close(fd);
	/* the other way round it is not: what is above the agent is not the agent */
	must(!stat(cgroup_below, &below), cgroup_below);
	write_pid(cgroup_path);
	set_agent(listener);
	world_config()->guard_host_deny = 1;
	world_config()->agent_cgroup[0] = below.st_ino;
	fd = dial(live.node_ns, PROVIDER4, 443, SOCK_STREAM);
	check(counted(EG_REASON_GUARD_HOST, EG_HOOK_GUARD), "guard host",
	      "in the cgroup above the agent's");
	close(fd);
}

static void test_host(int listener, int provider)
{
	struct tcp_info info = {0};
	socklen_t length = sizeof(info);
	uint64_t cgroup;
	int fd, in, error, i;

	set_agent(listener);
	fd = dial(live.node_ns, PROVIDER4, 443, SOCK_STREAM);
	error = outcome(fd);
	check(error == 0, "guard host", "allowed by default: %s", strerror(error));
	close(accept(provider, NULL, NULL));
	close(fd);
	world_config()->guard_host_deny = 1;
	world_config()->agent_cgroup[0] = 1ull << 60; /* somebody else's */
	fd = dial(live.node_ns, PROVIDER4, 443, SOCK_STREAM);
	check(counted(EG_REASON_GUARD_HOST, EG_HOOK_GUARD), "guard host", "not denied");
	close(fd);
	/* the agent itself, and the ACK of its time-wait socket */
	set_agent(listener);
	world_config()->guard_host_deny = 1;
	cgroup = own_cgroup();
	world_config()->agent_cgroup[1] = cgroup;
	fd = dial(live.node_ns, PROVIDER4, 443, SOCK_STREAM);
	error = outcome(fd);
	check(error == 0 && ready(provider, POLLIN), "guard host", "agent: %s", strerror(error));
	in = accept(provider, NULL, NULL);
	close(fd); /* FIN; what answers the other side's FIN is a time-wait socket */
	check(ready(in, POLLIN), "guard host", "FIN arrives");
	world_config()->agent_cgroup[1] = 0; /* whatever cgroup that is said to have */
	shutdown(in, SHUT_WR);
	for (i = 0; i < WAIT_MS / 10; i++) {
		if (!getsockopt(in, IPPROTO_TCP, TCP_INFO, &info, &length) &&
		    info.tcpi_state == TCP_CLOSE)
			break;
		usleep(10000);
	}
	check(info.tcpi_state == TCP_CLOSE, "guard host",
	      "the last ACK of time-wait did not arrive");
	check(count_of(EG_REASON_GUARD_HOST, EG_HOOK_GUARD) == 0, "guard host", "dropped");
	close(in);
	test_host_below(listener, provider, cgroup);
}

static int private_map(struct classify_xdp *x, const char *name)
{
	return bpf_object__find_map_fd_by_name(x->obj, name);
}

static bool any_flow_named(uint32_t name_id)
{
	struct eg_flow_key key, *previous = NULL;
	struct eg_flow value;

	while (!bpf_map_get_next_key(map_fd("flows"), previous, &key)) {
		previous = &key;
		if (!bpf_map_lookup_elem(map_fd("flows"), &key, &value) && value.name_id == name_id)
			return true;
	}
	return false;
}

/*
 * A classify_xdp with maps of its own, in which ELSEWHERE4 is governed as name 77; egress_tc's
 * maps know nothing of it. So what is captured was handed over in metadata.
 */
static void test_metadata(int listener, uint32_t flags, const char *name)
{
	struct eg_pod pod = pod_of(1, EG_POD_GOVERNED, 0, POD4, POD6);
	struct eg_lpm4 lpm = {.prefix_bits = 32, .address_be = address_of(ELSEWHERE4).word_be[3]};
	struct eg_destination destination = {.name_id = 77, .origin = EG_DESTINATION_CIDR};
	struct eg_verdict_key key = {.policy_id = 3, .name_id = 77, .protocol = IPPROTO_TCP};
	struct eg_verdict verdict = {.action = EG_ACTION_REDIRECT, .reason = EG_REASON_REDIRECT};
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = flags);
	struct classify_xdp *x = classify_xdp__open_and_load();
	uint32_t zero = 0, ifindex = POD;
	int link, udp;

	must(x != NULL, "classify_xdp");
	set_agent(listener);
	bpf_map_update_elem(private_map(x, "config"), &zero, world_config(), BPF_ANY);
	bpf_map_update_elem(private_map(x, "pods"), &ifindex, &pod, BPF_ANY);
	bpf_map_update_elem(private_map(x, "destinations4"), &lpm, &destination, BPF_ANY);
	bpf_map_update_elem(private_map(x, "verdicts"), &key, &verdict, BPF_ANY);
	link = bpf_link_create(bpf_program__fd(x->progs.classify_xdp), POD, BPF_XDP, &opts);
	check(link >= 0, name, "attach: %s", strerror(errno));
	captured(name, listener, POD4, ELSEWHERE4, 443);
	check(any_flow_named(77), name, "the name is XDP's");
	udp = dial(live.pod_ns, ELSEWHERE4, 443, SOCK_DGRAM);
	check(send(udp, "x", 1, 0) == 1, name, "QUIC sent");
	close(udp);
	close(link);
	classify_xdp__destroy(x);
}

static void test_xdp_live(int listener)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = XDP_FLAGS_DRV_MODE);
	int link, fd;

	test_metadata(listener, XDP_FLAGS_DRV_MODE, "live XDP native");
	test_metadata(listener, XDP_FLAGS_SKB_MODE, "live XDP generic");
	set_agent(listener);
	link = bpf_link_create(progs.xdp, POD, BPF_XDP, &opts);
	check(link >= 0, "live XDP", "attach: %s", strerror(errno));
	captured("live XDP and TC", listener, POD6, PROVIDER6, 443);
	fd = dial(live.pod_ns, PROVIDER4, 443, SOCK_DGRAM);
	check(send(fd, "x", 1, 0) == 1 && counted(EG_REASON_QUIC_REFUSED, EG_HOOK_XDP), "live XDP",
	      "QUIC is dropped there");
	close(fd);
	close(link);
}

void send_offloaded(int ns, const char *device, const struct frame *f, uint16_t linear,
		    const struct checksum_place *place)
{
	static uint8_t packet[sizeof(struct virtio_net_hdr) + PACKET_MAX];
	struct virtio_net_hdr *h = (struct virtio_net_hdr *)packet;
	struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_halen = 6};
	size_t length = frame_build(f, packet + sizeof(*h));
	int one = 1, fd;

	memset(h, 0, sizeof(*h));
	h->hdr_len = linear < length ? linear : (uint16_t)length;
	if (place) {
		h->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		h->csum_start = place->start;
		h->csum_offset = place->offset;
	}
	enter(ns);
	to.sll_ifindex = (int)if_nametoindex(device);
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(0x0800));
	must(fd >= 0 && !setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)),
	     "AF_PACKET");
	/* ENOBUFS: dropped at this device's own egress. */
	must(sendto(fd, packet, sizeof(*h) + length, 0, (struct sockaddr *)&to, sizeof(to)) > 0 ||
		     errno == ENOBUFS,
	     "sendto");
	close(fd);
	enter(live.node_ns);
}

void send_frame(int ns, const char *device, const struct frame *f, uint16_t linear)
{
	send_offloaded(ns, device, f, linear, NULL);
}

static void send_raw(const struct frame *f, uint16_t linear)
{
	send_frame(live.pod_ns, "eth0", f, linear);
}

void set_mtu(int link, int far_ns, int mtu)
{
	shell("ip link set egb%d mtu %d", link, mtu);
	enter(far_ns);
	shell("ip link set eth0 mtu %d", mtu);
	enter(live.node_ns);
}

/*
 * Headers in page fragments: on a link with jumbo frames a raw socket decides how much of an skb is
 * contiguous. They must be pulled in and read, not guessed at.
 */
static void test_fragmented_skb(int listener)
{
	static uint8_t payload[6000];
	static const uint16_t linear[] = {14, 20, 33, 34, 40, 53, 54, 60, 74};
	struct frame four = {.source = POD4,
			     .destination = PROVIDER4,
			     .tcp_flags = ACK,
			     .payload = payload,
			     .payload_length = sizeof(payload),
			     .partial = true};
	struct frame six = four;
	size_t i;

	set_mtu(POD, live.pod_ns, 9000);
	six.source = POD6;
	six.destination = PROVIDER6;
	for (i = 0; i < EG_ARRAY(linear); i++) {
		set_agent(listener);
		send_raw(&four, linear[i]);
		check(counted(EG_REASON_REDIRECT, EG_HOOK_EGRESS), "headers in fragments",
		      "v4, %u linear", linear[i]);
		set_agent(listener);
		send_raw(&six, linear[i]);
		check(counted(EG_REASON_REDIRECT, EG_HOOK_EGRESS), "headers in fragments",
		      "v6, %u linear", linear[i]);
		set_agent(listener);
		four.dport = 22;
		send_raw(&four, linear[i]);
		check(counted(EG_REASON_PORT_DENIED, EG_HOOK_EGRESS), "headers in fragments",
		      "port 22, %u linear", linear[i]);
		four.dport = 443;
	}
	set_mtu(POD, live.pod_ns, 1500);
}

/*
 * More headers than are pulled in may hide a routing header, as more than six may: the destination
 * that is read is then not the true one. Without one they cost the packet as much.
 */
static void test_long_headers(int listener)
{
	static uint8_t payload[6000];
	struct frame f = {.source = POD6,
			  .destination = ELSEWHERE6,
			  .payload = payload,
			  .payload_length = sizeof(payload),
			  .extension = {{.type = 60, .length = 199},
					{.type = 43, .routing_type = 4, .segments_left = 1}},
			  .extensions = 2,
			  .partial = true};
	static const uint16_t linear[] = {14, 60, 1000, PACKET_MAX};
	size_t i;

	set_mtu(POD, live.pod_ns, 9000);
	for (i = 0; i < EG_ARRAY(linear); i++) {
		set_agent(listener);
		send_raw(&f, linear[i]);
		check(counted(EG_REASON_UNPARSEABLE, EG_HOOK_EGRESS), "long headers",
		      "a routing header behind 1600 bytes, %u linear", linear[i]);
	}
	f.extensions = 1;
	f.extension[0].length = 5;
	for (i = 0; i < EG_ARRAY(linear); i++) {
		set_agent(listener);
		send_raw(&f, linear[i]);
		check(counted(EG_REASON_PASS_UNGOVERNED, EG_HOOK_EGRESS), "long headers",
		      "48 bytes of options, %u linear", linear[i]);
	}
	set_mtu(POD, live.pod_ns, 1500);
}

/* TCP segments that arrived in the agent's namespace. */
static long agent_segments(void)
{
	char line[1024];
	long n = -1;
	FILE *f;

	enter(live.agent_ns);
	f = fopen("/proc/thread-self/net/snmp", "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Tcp: %*d %*d %*d %*d %*d %*d %*d %*d %*d %ld", &n) == 1)
			break;
	if (f)
		fclose(f);
	enter(live.node_ns);
	return n;
}

/* Real tags: the stack takes the outermost out of the bytes before TC sees the packet. */
static void test_tags(int listener)
{
	struct frame f = {.source = POD4, .destination = PROVIDER4, .vlans = 1};
	struct frame six = {.source = POD6, .destination = PROVIDER6, .vlans = 1};
	struct frame *each[] = {&f, &six};
	long before;
	size_t i;
	int tries;

	for (i = 0; i < EG_ARRAY(each); i++) {
		set_agent(listener);
		each[i]->vlan[0] = 0xa000; /* priority only */
		before = agent_segments();
		send_raw(each[i], PACKET_MAX);
		check(counted(EG_REASON_REDIRECT, EG_HOOK_EGRESS), "live tag", "priority");
		for (tries = 0; tries < WAIT_MS / 10 && agent_segments() <= before; tries++)
			usleep(10000);
		check(before >= 0 && agent_segments() > before, "live tag",
		      "priority: did not arrive at the agent");
		set_agent(listener);
		each[i]->vlan[0] = 5;
		send_raw(each[i], PACKET_MAX);
		check(counted(EG_REASON_UNPARSEABLE, EG_HOOK_EGRESS), "live tag", "VLAN 5");
		set_agent(listener);
		each[i]->vlan[0] = 0;
		each[i]->vlans = 2;
		send_raw(each[i], PACKET_MAX);
		check(counted(EG_REASON_UNPARSEABLE, EG_HOOK_EGRESS), "live tag", "two tags");
		set_agent(listener);
		each[i]->vlans = 3;
		each[i]->vlan[1] = 0;
		each[i]->destination = i ? ELSEWHERE6 : ELSEWHERE4;
		send_raw(each[i], PACKET_MAX);
		check(counted(EG_REASON_PASS_UNGOVERNED, EG_HOOK_EGRESS), "live tag",
		      "three tags elsewhere: one is out of the bytes, two are read");
		set_agent(listener);
		each[i]->vlans = 4;
		send_raw(each[i], PACKET_MAX);
		check(counted(EG_REASON_UNPARSEABLE, EG_HOOK_EGRESS), "live tag",
		      "four tags elsewhere");
	}
}

void test_live(void)
{
	int listener, provider;

	build();
	world_reset();
	listener = live.listener = listen_in(live.agent_ns, 15001);
	provider = live.provider = listen_in(live.internet_ns, 443);
	attach(progs.dns, POD, TCX_EGRESS);
	attach(progs.reply, AGENT_LINK, TCX_INGRESS);
	attach(progs.guard, UPLINK, TCX_EGRESS);
	attach(progs.lookup, live.agent_ns, BPF_SK_LOOKUP);
	live.egress = attach(progs.egress, POD, TCX_INGRESS);
	test_redirect(listener, provider);
	test_fragmented_skb(listener);
	test_long_headers(listener);
	test_tags(listener);
	test_stamp(listener, provider);
	test_host(listener, provider);
	test_guard_frames();
	test_bare_uplink(listener);
	test_xdp_live(listener);
	test_forged();
	test_checksum_places();
}
