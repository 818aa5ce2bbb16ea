/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A supervisor and a gateway in one, driven by lines on standard input, so that the datapath is
 * tested with nothing else of Egret. Captured connections are answered with "agent PEER LOCAL\n"
 * (not with -q) and then echoed. Each command is answered by "ok ..." or "error: SENTENCE".
 * Commands: see table.
 */
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "datapath/datapath.h"
#include "datapath/features.h"

static struct eg_datapath_options options;
static struct eg_datapath *datapath;
static struct eg_error err;
static int epoll = -1;
static bool beating, stopped, quiet;
static uint32_t names[256];
static struct eg_cidr cidrs[256];
static struct eg_verdict_rule rules[1024];
static struct eg_datapath_policy policy = {.names = names, .cidrs = cidrs, .verdicts = rules};
static char *uplinks[8];
static struct eg_xdp_link xdp[8];
static struct eg_address resolvers[8];
static uint64_t events[8];

static void on_event(void *context, const struct eg_event *e)
{
	(void)context;
	if (e->type < 8)
		events[e->type]++;
}

static void on_link(void *context, uint32_t ifindex, const char *name, bool present)
{
	(void)context;
	fprintf(stderr, "link %u %s %s\n", ifindex, name, present ? "there" : "gone");
}

static void on_notice(void *context, const char *sentence)
{
	(void)context;
	fprintf(stderr, "notice: %s\n", sentence);
}

static int answer(int r)
{
	if (r)
		printf("error: %s (%d)\n", err.text, r);
	else
		printf("ok\n");
	return 0;
}

static struct eg_address address(const char *text)
{
	struct eg_address a;

	if (eg_address_from_text(text, &a)) {
		fprintf(stderr, "not an address: %s\n", text);
		exit(2);
	}
	return a;
}

static uint32_t name_id(const char *text)
{
	uint32_t id = strcmp(text, "0") ? eg_datapath_name_id(datapath, text) : 0;

	if (!id && strcmp(text, "0")) {
		fprintf(stderr, "not a name: %s\n", text);
		exit(2);
	}
	return id;
}

static int do_open(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return answer(eg_datapath_open(&options, &datapath, &err));
}

static int do_name(int argc, char **argv)
{
	(void)argc;
	names[policy.name_count++] = name_id(argv[1]);
	printf("ok %u\n", names[policy.name_count - 1]);
	return 0;
}

/* cidr ADDRESS BITS [excluded] */
static int do_cidr(int argc, char **argv)
{
	cidrs[policy.cidr_count++] = (struct eg_cidr){
		.address = address(argv[1]),
		.prefix_bits = (uint8_t)atoi(argv[2]),
		.excluded = argc > 3,
	};
	printf("ok\n");
	return 0;
}

/* verdict POLICY NAME PROTOCOL PORT redirect|pass|drop|reset */
static int do_verdict(int argc, char **argv)
{
	static const char *const actions[] = {"drop", "redirect", "pass", "reset"};
	struct eg_verdict_rule *r = &rules[policy.verdict_count++];

	(void)argc;
	*r = (struct eg_verdict_rule){
		.key = {.policy_id = (uint32_t)atoi(argv[1]),
			.name_id = name_id(argv[2]),
			.protocol = (uint8_t)atoi(argv[3]),
			.port_be = htons((uint16_t)atoi(argv[4]))},
	};
	for (uint8_t i = 0; i < 4; i++)
		if (!strcmp(actions[i], argv[5]))
			r->verdict.action = i;
	r->verdict.reason =
		r->verdict.action == EG_ACTION_REDIRECT ? EG_REASON_REDIRECT : EG_REASON_DENY;
	printf("ok\n");
	return 0;
}

static int do_policy(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	policy.generation++;
	return answer(eg_datapath_set_policy(datapath, &policy, &err));
}

static int do_new_policy(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	policy.name_count = policy.cidr_count = policy.verdict_count = 0;
	printf("ok\n");
	return 0;
}

static int do_prune(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return answer(eg_datapath_prune(datapath, &err));
}

/* pod IFNAME NAME STATE POLICY FLAGS ADDRESS...; NAME "-": of no pod */
static int do_pod(int argc, char **argv)
{
	static const char *const states[] = {"unknown", "held", "governed", "ungoverned",
					     "foreign"};
	uint32_t ifindex = if_nametoindex(argv[1]);
	struct eg_pod pod = {.policy_id = (uint32_t)atoi(argv[4]), .flags = (uint8_t)atoi(argv[5])};

	for (uint8_t i = 0; i < EG_ARRAY_SIZE(states); i++)
		if (!strcmp(states[i], argv[3]))
			pod.state = i;
	if (strcmp(argv[2], "-") != 0) {
		pod.pod_id = ifindex; /* one that stays the same over restarts */
		eg_str_copy(pod.name, sizeof(pod.name), eg_str_from(argv[2]));
	}
	for (int i = 6; i < argc; i++)
		pod.address[pod.address_count++] = address(argv[i]);
	return answer(eg_datapath_set_pod(datapath, ifindex, &pod, &err));
}

/* foreign GRACE_MS */
static int do_foreign(int argc, char **argv)
{
	(void)argc;
	return answer(eg_datapath_set_foreign(datapath, strtoull(argv[1], NULL, 10), &err));
}

static int do_remove(int argc, char **argv)
{
	(void)argc;
	return answer(eg_datapath_remove_pod(datapath, if_nametoindex(argv[1]), &err));
}

/* find NETNS: names and addresses of the links that lead there */
static int do_find(int argc, char **argv)
{
	uint32_t ifindex[8];
	size_t n;
	int r;

	(void)argc;
	r = eg_datapath_find_links(datapath, argv[1], ifindex, 8, &n, &err);
	if (r)
		return answer(r);
	printf("ok");
	for (size_t i = 0; i < n && i < 8; i++) {
		char name[IF_NAMESIZE] = "?", text[EG_ADDRESS_TEXT];
		struct eg_address a[8];
		size_t count = 0;

		if_indextoname(ifindex[i], name);
		printf(" %s", name);
		if (eg_datapath_pod_addresses(datapath, ifindex[i], a, 8, &count, &err))
			printf(" (%s)", err.text);
		for (size_t k = 0; k < count && k < 8; k++)
			printf(" %s", eg_address_format(&a[k], text));
	}
	printf("\n");
	return 0;
}

/* resolved NAME TTL_MS ADDRESS... */
static int do_resolved(int argc, char **argv)
{
	struct eg_address a[64];
	size_t n = 0, refused;
	int r;

	for (int i = 3; i < argc && n < 64; i++)
		a[n++] = address(argv[i]);
	r = eg_datapath_set_resolved(datapath, name_id(argv[1]), a, n, strtoull(argv[2], NULL, 10),
				     &refused, &err);
	if (r)
		return answer(r);
	printf("ok refused=%zu\n", refused);
	return 0;
}

/* learn IFNAME NAME TTL_MS ADDRESS... */
static int do_learn(int argc, char **argv)
{
	struct eg_address a[512];
	size_t n = 0;

	for (int i = 4; i < argc && n < 512; i++)
		a[n++] = address(argv[i]);
	return answer(eg_datapath_learn(datapath, if_nametoindex(argv[1]), name_id(argv[2]), a, n,
					strtoull(argv[3], NULL, 10), &err));
}

static int do_attach(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return answer(eg_datapath_attach(datapath, &err));
}

static int do_listen(int argc, char **argv)
{
	const int *fds;
	size_t n;
	int r = eg_datapath_listeners(datapath, &fds, &n, &err);

	(void)argc;
	(void)argv;
	for (size_t i = 0; !r && i < n; i++) {
		struct epoll_event e = {.events = EPOLLIN,
					.data.u64 = 1ULL << 32 | (uint32_t)fds[i]};

		epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &e);
	}
	return answer(r);
}

/* plain PORT: the same answers on an ordinary socket in the driver's own namespace, to compare with
 */
static int do_plain(int argc, char **argv)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6,
				 .sin6_port = htons((uint16_t)atoi(argv[1]))};
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = 1ULL << 32 | (uint32_t)fd};

	(void)argc;
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 4096) ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e))
		printf("error: port %s: %s\n", argv[1], strerror(errno));
	else
		printf("ok\n");
	return 0;
}

static int do_beat(int argc, char **argv)
{
	(void)argc;
	beating = !strcmp(argv[1], "on");
	if (beating)
		eg_datapath_heartbeat(datapath);
	printf("ok\n");
	return 0;
}

static int do_sweep(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return answer(eg_datapath_sweep(datapath, &err));
}

static int do_stop(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	beating = false;
	eg_datapath_stop(datapath);
	printf("ok\n");
	return 0;
}

static int do_close(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	beating = false;
	eg_datapath_close(datapath);
	datapath = NULL;
	printf("ok\n");
	return 0;
}

static int do_notes(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("ok adopted=%d notes=%s\n", eg_datapath_adopted(datapath),
	       eg_datapath_notes(datapath));
	return 0;
}

static int do_events(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("ok verdict=%llu learned=%llu dns_raw=%llu name_seen=%llu\n",
	       (unsigned long long)events[1], (unsigned long long)events[2],
	       (unsigned long long)events[3], (unsigned long long)events[4]);
	return 0;
}

static int do_uninstall(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return answer(eg_datapath_uninstall(&options, &err));
}

static int do_features(int argc, char **argv)
{
	struct eg_features f;

	(void)argc;
	(void)argv;
	eg_features_probe(&f, options.pin_dir, options.mode != EG_MODE_MARK);
	printf("ok usable=%d", f.usable);
	for (int i = 0; i < EG_FEATURE_COUNT; i++)
		printf(" %s=%d", f.feature[i].label, f.feature[i].present);
	printf("\n");
	return 0;
}

static const struct {
	const char *name;
	int arguments; /* at least */
	int (*run)(int argc, char **argv);
} commands[] = {
	{"open", 0, do_open},	      {"name", 1, do_name},
	{"cidr", 2, do_cidr},	      {"verdict", 5, do_verdict},
	{"policy", 0, do_policy},     {"new-policy", 0, do_new_policy},
	{"prune", 0, do_prune},	      {"pod", 5, do_pod},
	{"foreign", 1, do_foreign},   {"remove", 1, do_remove},
	{"find", 1, do_find},	      {"resolved", 3, do_resolved},
	{"learn", 4, do_learn},	      {"attach", 0, do_attach},
	{"listen", 0, do_listen},     {"beat", 1, do_beat},
	{"sweep", 0, do_sweep},	      {"stop", 0, do_stop},
	{"close", 0, do_close},	      {"notes", 0, do_notes},
	{"events", 0, do_events},     {"uninstall", 0, do_uninstall},
	{"features", 0, do_features}, {"plain", 1, do_plain},
};

static void run_line(char *line)
{
	char *argv[600], *rest;
	int argc = 0;

	for (char *t = strtok_r(line, " \n", &rest); t && argc < 600;
	     t = strtok_r(NULL, " \n", &rest))
		argv[argc++] = t;
	if (!argc)
		return;
	if (!strcmp(argv[0], "quit")) {
		printf("ok\n");
		fflush(stdout);
		stopped = true;
		return;
	}
	for (size_t i = 0; i < EG_ARRAY_SIZE(commands); i++)
		if (!strcmp(commands[i].name, argv[0]) && argc > commands[i].arguments) {
			if (!datapath && strcmp(argv[0], "open") && strcmp(argv[0], "uninstall") &&
			    strcmp(argv[0], "features") && strcmp(argv[0], "plain"))
				break;
			commands[i].run(argc, argv);
			fflush(stdout);
			return;
		}
	printf("error: no such command, too few arguments, or not open: %s\n", argv[0]);
	fflush(stdout);
}

static void read_commands(void)
{
	static char line[65536];
	static size_t used;
	ssize_t n = read(0, line + used, sizeof(line) - 1 - used);
	char *end;

	if (n <= 0) {
		stopped = true;
		return;
	}
	used += (size_t)n;
	line[used] = 0;
	while ((end = strchr(line, '\n'))) {
		char one[65536];

		*end = 0;
		memcpy(one, line, (size_t)(end - line) + 1);
		used -= (size_t)(end + 1 - line);
		memmove(line, end + 1, used + 1);
		run_line(one);
	}
}

static void accept_one(int listener)
{
	struct sockaddr_in6 peer, local;
	char p[INET6_ADDRSTRLEN], l[INET6_ADDRSTRLEN], text[200];
	socklen_t n = sizeof(peer);
	int fd = accept4(listener, (struct sockaddr *)&peer, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct epoll_event e = {.events = EPOLLIN, .data.u64 = 2ULL << 32 | (uint32_t)fd};
	int length;

	if (fd < 0)
		return;
	n = sizeof(local);
	getsockname(fd, (struct sockaddr *)&local, &n);
	inet_ntop(AF_INET6, &peer.sin6_addr, p, sizeof(p));
	inet_ntop(AF_INET6, &local.sin6_addr, l, sizeof(l));
	length = snprintf(text, sizeof(text), "agent %s %s %u\n", p, l, ntohs(local.sin6_port));
	if ((!quiet && write(fd, text, (size_t)length) != length) ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e))
		close(fd);
}

/* Blocking for as long as the other side is slow: there is nothing else worth doing here. */
static void echo(int fd)
{
	char bytes[65536];
	ssize_t n = read(fd, bytes, sizeof(bytes));

	for (ssize_t sent = 0; n > 0 && sent < n;) {
		struct pollfd p = {.fd = fd, .events = POLLOUT};
		ssize_t w = write(fd, bytes + sent, (size_t)(n - sent));

		if (w > 0)
			sent += w;
		else if (errno != EAGAIN || poll(&p, 1, 5000) <= 0)
			n = -1;
	}
	if (n <= 0)
		close(fd);
}

static void parse_options(int argc, char **argv)
{
	int c;

	options.calls =
		(struct eg_datapath_calls){.event = on_event, .link = on_link, .notice = on_notice};
	options.uplinks = (const char *const *)uplinks;
	options.xdp = xdp;
	options.resolvers = resolvers;
	while ((c = getopt(argc, argv, "p:m:w:n:h:a:g:G:f:l:u:d:H:x:X:r:cU:L:DCNq")) != -1) {
		switch (c) {
		case 'p':
			options.pin_dir = optarg;
			break;
		case 'm':
			options.mode = strcmp(optarg, "mark") ? EG_MODE_NETNS : EG_MODE_MARK;
			break;
		case 'w':
			options.worker_count = (unsigned int)atoi(optarg);
			break;
		case 'n':
			options.namespace_path = optarg;
			break;
		case 'h':
			options.host_link = optarg;
			break;
		case 'a':
			options.agent_link = optarg;
			break;
		case 'g':
			options.gateway4_be = address(optarg).word_be[3];
			break;
		case 'G': {
			struct eg_address a = address(optarg);

			memcpy(options.gateway6_be, &a, sizeof(a));
			break;
		}
		case 'f':
			options.fail_policy =
				strcmp(optarg, "open") ? EG_FAIL_CLOSED : EG_FAIL_OPEN;
			break;
		case 'l':
			options.link_prefix = optarg;
			break;
		case 'u':
			uplinks[options.uplink_count++] = optarg;
			break;
		case 'd':
			options.down_grace_ms = (unsigned int)atoi(optarg);
			break;
		case 'H':
			options.hold_grace_ms = (unsigned int)atoi(optarg);
			break;
		case 'L':
			options.learned_grace_ms = (unsigned int)atoi(optarg);
			break;
		case 'r':
			resolvers[options.resolver_count++] = address(optarg);
			break;
		case 'c':
			options.force_clsact = true;
			break;
		case 'U':
			options.unknown_pods = (unsigned int)atoi(optarg);
			break;
		case 'C':
			if (eg_cgroup_id(0, &options.agent_cgroup, &err))
				fprintf(stderr, "cgroup: %s\n", err.text);
			break;
		case 'D':
			options.guard_host_deny = true;
			break;
		case 'q':
			quiet = true;
			break;
		case 'N':
			options.no_kernel_names = true;
			break;
		case 'X':
			xdp[options.xdp_count++] = (struct eg_xdp_link){
				.name = optarg,
				.mode = EG_XDP_NATIVE,
				.uplink = true,
			};
			break;
		case 'x': {
			char *colon = strchr(optarg, ':');

			*colon = 0;
			xdp[options.xdp_count++] = (struct eg_xdp_link){
				.name = optarg,
				.mode = strcmp(colon + 1, "generic") ? EG_XDP_NATIVE
								     : EG_XDP_GENERIC,
			};
			break;
		}
		default:
			exit(2);
		}
	}
}

int main(int argc, char **argv)
{
	struct epoll_event e = {.events = EPOLLIN};
	int watched = -1;

	signal(SIGPIPE, SIG_IGN);
	parse_options(argc, argv);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &e);
	while (!stopped) {
		struct epoll_event got[64];
		int n;

		if (datapath && watched != eg_datapath_fd(datapath)) {
			watched = eg_datapath_fd(datapath);
			e.data.u64 = 3ULL << 32;
			epoll_ctl(epoll, EPOLL_CTL_ADD, watched, &e);
		}
		n = epoll_wait(epoll, got, 64, 200);
		if (beating)
			eg_datapath_heartbeat(datapath);
		for (int i = 0; i < n; i++) {
			int fd = (int)(uint32_t)got[i].data.u64;

			switch (got[i].data.u64 >> 32) {
			case 0:
				read_commands();
				break;
			case 1:
				accept_one(fd);
				break;
			case 2:
				echo(fd);
				break;
			default:
				if (datapath && eg_datapath_events(datapath, &err))
					fprintf(stderr, "events: %s\n", err.text);
			}
		}
	}
	eg_datapath_close(datapath);
	return 0;
}
