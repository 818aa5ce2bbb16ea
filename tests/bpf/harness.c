/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "datapath/skb_layout.h"
#include "egret/abi/name_hash.h"

#include "classify_xdp.skel.h"
#include "dns_tc.skel.h"
#include "egress_tc.skel.h"
#include "guard_tc.skel.h"
#include "listener_lookup.skel.h"
#include "observe_down_tc.skel.h"
#include "observe_up_tc.skel.h"
#include "peer_type.skel.h"
#include "reply_tc.skel.h"

#define MAPS_MAX 64

struct progs progs;

static int passed, failed;
static struct {
	char name[32];
	int fd;
} maps[MAPS_MAX];
static int map_count;
static struct eg_config *config;
static int listener_fd[EG_MAX_WORKERS];
static struct ring_buffer *ring;
static struct {
	uint32_t type;
	int count;
	struct eg_event last;
} seen;

static void fatal(const char *what)
{
	fprintf(stderr, "bpf tests: %s: %s\n", what, strerror(errno));
	exit(2);
}

void check(bool ok, const char *name, const char *format, ...)
{
	va_list args;

	if (ok) {
		passed++;
		return;
	}
	failed++;
	printf("FAIL %s: ", name);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

int summary(void)
{
	printf("%d passed, %d failed\n", passed, failed);
	return failed ? 1 : 0;
}

const char *verdict_text(enum verdict v)
{
	static const char *const text[] = {"next", "redirect", "drop", "reset", "other"};

	return text[v];
}

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

int map_fd(const char *name)
{
	int i;

	for (i = 0; i < map_count; i++)
		if (!strcmp(maps[i].name, name))
			return maps[i].fd;
	fprintf(stderr, "no map %s\n", name);
	exit(2);
}

void map_set(const char *name, const void *key, const void *value)
{
	if (bpf_map_update_elem(map_fd(name), key, value, BPF_ANY))
		fatal(name);
}

/* Maps of the objects loaded before are taken over by name, as the loader does by pin. */
static void share_maps(struct bpf_object *object)
{
	struct bpf_map *map;
	int i;

	bpf_object__for_each_map(
		map, object) for (i = 0; i < map_count;
				  i++) if (!bpf_map__is_internal(map) &&
					   !strcmp(maps[i].name, bpf_map__name(map)) &&
					   bpf_map__reuse_fd(map, maps[i].fd)) fatal(maps[i].name);
}

static void keep_maps(struct bpf_object *object)
{
	struct bpf_map *map;
	int i;

	bpf_object__for_each_map(map, object)
	{
		if (bpf_map__is_internal(map))
			continue;
		for (i = 0; i < map_count; i++)
			if (!strcmp(maps[i].name, bpf_map__name(map)))
				break;
		if (i < map_count)
			continue;
		snprintf(maps[i].name, sizeof(maps[i].name), "%s", bpf_map__name(map));
		maps[i].fd = bpf_map__fd(map);
		map_count++;
	}
}

static struct egress_tc *egress_tc;
static struct reply_tc *reply_tc;
static struct dns_tc *dns_tc;
static struct guard_tc *guard_tc;
static struct listener_lookup *listener_lookup;
static struct classify_xdp *classify_xdp;
static struct observe_up_tc *observe_up_tc;
static struct observe_down_tc *observe_down_tc;
static struct peer_type *peer_type;
static struct dns_tc *dns_raw;
static struct egress_tc *egress_plain;

#define LOAD(skel)                      \
	do {                            \
		skel = skel##__open();  \
		if (!skel)              \
			fatal(#skel);   \
		share_maps(skel->obj);  \
		if (skel##__load(skel)) \
			fatal(#skel);   \
		keep_maps(skel->obj);   \
	} while (0)

static int on_event(void *context, void *data, size_t size)
{
	const struct eg_event *e = data;

	(void)context;
	if (size >= sizeof(*e) && e->type == seen.type) {
		seen.count++;
		memcpy(&seen.last, e, sizeof(*e));
	}
	return 0;
}

int events_drain(uint32_t type, struct eg_event *last)
{
	seen.type = type;
	seen.count = 0;
	ring_buffer__consume(ring);
	if (last && seen.count)
		memcpy(last, &seen.last, sizeof(*last));
	return seen.count;
}

static void make_links(void)
{
	char command[256];
	int i;

	if (unshare(CLONE_NEWNET))
		fatal("unshare(CLONE_NEWNET)");
	if (system("ip link set lo up"))
		fatal("ip link set lo up");
	for (i = POD; i <= UPLINK; i++) {
		snprintf(command, sizeof(command),
			 "ip link add egb%d index %d type veth peer name egbp%d index %d", i, i, i,
			 i + 100);
		if (system(command))
			fatal(command);
	}
}

void world_load(void)
{
	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	make_links();
	egress_tc = egress_tc__open();
	/* As the loader does; the test of it fails where the kernel has no BTF. */
	if (!egress_tc ||
	    eg_skb_layout_find((struct eg_skb_layout *)&egress_tc->rodata->skb_layout))
		fatal("the layout of struct sk_buff");
	if (egress_tc__load(egress_tc))
		fatal("egress_tc");
	keep_maps(egress_tc->obj);
	LOAD(reply_tc);
	LOAD(dns_tc);
	LOAD(guard_tc);
	LOAD(listener_lookup);
	LOAD(classify_xdp);
	LOAD(observe_up_tc);
	LOAD(observe_down_tc);
	LOAD(peer_type);
	/* The same programs with their features off, as on a node that turned them off. */
	dns_raw = dns_tc__open();
	egress_plain = egress_tc__open();
	if (!dns_raw || !egress_plain)
		fatal("open");
	dns_raw->rodata->in_kernel_names = 0;
	egress_plain->rodata->sni_backstop = 0;
	share_maps(dns_raw->obj);
	share_maps(egress_plain->obj);
	if (dns_tc__load(dns_raw) || egress_tc__load(egress_plain))
		fatal("load with features off");
	progs.dns_raw = bpf_program__fd(dns_raw->progs.dns_tc);
	progs.egress_plain = bpf_program__fd(egress_plain->progs.egress_tc);
	progs.egress = bpf_program__fd(egress_tc->progs.egress_tc);
	progs.reply = bpf_program__fd(reply_tc->progs.reply_tc);
	progs.dns = bpf_program__fd(dns_tc->progs.dns_tc);
	progs.guard = bpf_program__fd(guard_tc->progs.guard_tc);
	progs.lookup = bpf_program__fd(listener_lookup->progs.listener_lookup);
	progs.xdp = bpf_program__fd(classify_xdp->progs.classify_xdp);
	progs.observe_up = bpf_program__fd(observe_up_tc->progs.observe_up_tc);
	progs.observe_down = bpf_program__fd(observe_down_tc->progs.observe_down_tc);
	progs.peer_type = bpf_program__fd(peer_type->progs.peer_type);
	progs.type = bpf_program__fd(peer_type->progs.type);
	progs.guard_xdp = bpf_program__fd(classify_xdp->progs.guard_xdp);
	ring = ring_buffer__new(map_fd("events"), on_event, NULL, NULL);
	if (!ring)
		fatal("ring_buffer__new");
	config = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED,
		      map_fd("config"), 0);
	if (config == MAP_FAILED)
		fatal("mmap of config");
}

void world_unload(void)
{
	listener_clear();
	ring_buffer__free(ring);
	egress_tc__destroy(egress_tc);
	reply_tc__destroy(reply_tc);
	dns_tc__destroy(dns_tc);
	guard_tc__destroy(guard_tc);
	listener_lookup__destroy(listener_lookup);
	classify_xdp__destroy(classify_xdp);
	observe_up_tc__destroy(observe_up_tc);
	observe_down_tc__destroy(observe_down_tc);
	peer_type__destroy(peer_type);
	dns_tc__destroy(dns_raw);
	egress_tc__destroy(egress_plain);
}

const struct bpf_insn *observe_insns(int which, size_t *count)
{
	const struct bpf_program *p =
		which ? observe_down_tc->progs.observe_down_tc : observe_up_tc->progs.observe_up_tc;

	*count = bpf_program__insn_cnt(p);
	return bpf_program__insns(p);
}

struct eg_config *world_config(void)
{
	return config;
}

void map_clear(const char *name)
{
	uint8_t key[64], next[64];
	int fd = map_fd(name), more = !bpf_map_get_next_key(fd, NULL, next);

	while (more) { /* the next one first: after a key that is gone the walk begins anew */
		memcpy(key, next, sizeof(key));
		more = !bpf_map_get_next_key(fd, key, next);
		if (bpf_map_delete_elem(fd, key))
			fatal(name);
	}
}

void set_destination(const char *cidr, uint32_t name_id, uint8_t origin)
{
	struct eg_destination value = {.name_id = name_id, .origin = origin};
	char text[64], *slash;
	struct eg_address a;

	snprintf(text, sizeof(text), "%s", cidr);
	slash = strchr(text, '/');
	if (!slash)
		fatal(cidr);
	*slash = 0;
	a = address_of(text);
	if (strchr(text, ':')) {
		struct eg_lpm6 key = {.prefix_bits = (uint32_t)atoi(slash + 1)};

		memcpy(key.address_be, &a, 16);
		map_set("destinations6", &key, &value);
	} else {
		struct eg_lpm4 key = {.prefix_bits = (uint32_t)atoi(slash + 1),
				      .address_be = a.word_be[3]};

		map_set("destinations4", &key, &value);
	}
}

void set_verdict(uint32_t policy, uint32_t name_id, uint8_t protocol, uint16_t port,
		 enum eg_action action, enum eg_reason reason)
{
	struct eg_verdict_key key = {.policy_id = policy,
				     .name_id = name_id,
				     .protocol = protocol,
				     .port_be = htons(port)};
	struct eg_verdict value = {.action = (uint8_t)action, .reason = (uint8_t)reason};

	map_set("verdicts", &key, &value);
}

struct eg_pod pod_of(uint32_t id, enum eg_pod_state state, uint8_t flags, const char *a4,
		     const char *a6)
{
	struct eg_pod pod = {.pod_id = id,
			     .policy_id = 3,
			     .state = (uint8_t)state,
			     .flags = flags,
			     .since_ns = now_ns()};

	if (a4)
		pod.address[pod.address_count++] = address_of(a4);
	if (a6)
		pod.address[pod.address_count++] = address_of(a6);
	snprintf(pod.name, sizeof(pod.name), "shop/pod-%u", id);
	return pod;
}

void set_pod(uint32_t ifindex, const struct eg_pod *pod)
{
	int i;

	map_set("pods", &ifindex, pod);
	for (i = 0; i < pod->address_count; i++)
		map_set("pod_links", &pod->address[i], &ifindex);
}

void set_watched(const char *text, uint32_t name_id)
{
	struct eg_name value = {.name_id = name_id};
	struct eg_name_key key;

	if (eg_name_hash(text, config->name_hash_base, &key.hash, &value.suffix))
		fatal(text);
	snprintf(value.text, sizeof(value.text), "%s", text);
	map_set("watched_names", &key, &value);
}

void set_learned(uint32_t ifindex, const char *address, uint32_t name_id, uint64_t expires_ns)
{
	struct eg_learned_key key = {.ifindex = ifindex, .address = address_of(address)};
	struct eg_learned value = {
		.name_id = name_id, .from = EG_LEARNED_DNS, .expires_ns = expires_ns};

	map_set("learned", &key, &value);
}

bool is_learned(uint32_t ifindex, const char *address, struct eg_learned *out)
{
	struct eg_learned_key key = {.ifindex = ifindex, .address = address_of(address)};
	struct eg_learned value;

	return !bpf_map_lookup_elem(map_fd("learned"), &key, out ? out : &value);
}

bool find_flow(uint32_t ifindex, const struct frame *f, struct eg_flow *out)
{
	struct eg_flow_key key = {.source = address_of(f->source),
				  .destination = address_of(f->destination),
				  .source_port_be = htons(f->sport ? f->sport : 40000),
				  .destination_port_be = htons(f->dport ? f->dport : 443),
				  .ifindex = ifindex,
				  .protocol = f->protocol ? f->protocol : IPPROTO_TCP};
	struct eg_flow value;

	return !bpf_map_lookup_elem(map_fd("flows"), &key, out ? out : &value);
}

void listener_clear(void)
{
	int i;

	for (i = 0; i < EG_MAX_WORKERS; i++) {
		if (listener_fd[i] > 0)
			close(listener_fd[i]); /* the kernel empties the slot */
		listener_fd[i] = 0;
	}
	config->listener_count = 0;
}

void listener_add(uint32_t slot)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6};
	uint64_t fd;

	listener_fd[slot] = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener_fd[slot] < 0 ||
	    bind(listener_fd[slot], (struct sockaddr *)&any, sizeof(any)) ||
	    listen(listener_fd[slot], 16))
		fatal("listener");
	fd = (uint64_t)listener_fd[slot];
	map_set("listeners", &slot, &fd);
	if (config->listener_count <= slot)
		config->listener_count = slot + 1;
}

static void world_pods(void)
{
	struct eg_pod pod;

	pod = pod_of(1, EG_POD_GOVERNED, 0, POD4, POD6);
	set_pod(POD, &pod);
	pod = pod_of(0, EG_POD_UNKNOWN, 0, NULL, NULL);
	set_pod(POD_UNKNOWN, &pod);
	pod = pod_of(2, EG_POD_UNGOVERNED, 0, "10.0.0.3", NULL);
	set_pod(POD_UNGOVERNED, &pod);
	pod = pod_of(0, EG_POD_FOREIGN, 0, NULL, NULL);
	set_pod(POD_FOREIGN, &pod);
	pod = pod_of(4, EG_POD_HELD, 0, "10.0.0.4", NULL);
	set_pod(POD_HELD, &pod);
	pod = pod_of(5, EG_POD_GOVERNED, EG_POD_CAPTURE_ALL_TLS, "10.0.0.5", "fd00:1::5");
	set_pod(POD_ALL_TLS, &pod);
	pod = pod_of(6, EG_POD_GOVERNED, EG_POD_STRICT, "10.0.0.6", NULL);
	set_pod(POD_STRICT, &pod);
	pod = pod_of(8, EG_POD_GOVERNED, EG_POD_FAIL_OPEN, "10.0.0.8", NULL);
	set_pod(POD_OPEN, &pod);
	pod = pod_of(9, EG_POD_GOVERNED, 0, "10.0.0.9", NULL);
	set_pod(POD_OTHER, &pod);
	pod = pod_of(10, EG_POD_GOVERNED, EG_POD_SHADOW | EG_POD_FAIL_OPEN | EG_POD_CAPTURE_ALL_TLS,
		     "10.0.0.10", "fd00:1::10");
	set_pod(POD_SHADOW, &pod);
}

void world_reset(void)
{
	static const char *const names[] = {
		"pods",		 "pod_links",  "destinations4", "destinations6", "learned",
		"learned_count", "verdicts",   "flows",		"watched_names", "resolvers",
		"counters",	 "event_rate", "queries"};
	struct eg_address resolver;
	uint32_t one = 1;
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(*names); i++)
		map_clear(names[i]);
	events_drain(0, NULL);
	listener_clear();
	memset(config, 0, sizeof(*config));
	config->heartbeat_ns = now_ns();
	config->heartbeat_max_ns = 60 * SECOND; /* the test's machine may be slow */
	config->down_grace_ns = 60 * SECOND;
	config->hold_grace_ns = 60 * SECOND;
	config->learned_grace_ns = 3600 * SECOND;
	config->name_hash_base = 0x1234567890abcdefull;
	config->generation = 11;
	config->agent_ifindex = 99;
	config->mark = 0x1ee70000;
	config->mark_mask = 0xffff0000;
	config->stamp = STAMP;
	config->mode = EG_MODE_NETNS;
	config->enabled = 1;
	config->gateway4_be = address_of(GATEWAY4).word_be[3];
	resolver = address_of(GATEWAY6);
	memcpy(config->gateway6_be, &resolver, 16);
	config->abi_version = EG_ABI_VERSION;
	listener_add(0);
	world_pods();
	set_destination("203.0.113.0/24", 0, EG_DESTINATION_CIDR);
	set_destination("203.0.113.128/25", 0, EG_DESTINATION_EXCLUDED);
	set_destination("2001:db8:1::/48", 0, EG_DESTINATION_CIDR);
	set_destination(PROVIDER4 "/32", 5, EG_DESTINATION_RESOLVED);
	set_destination(PROVIDER6 "/128", 5, EG_DESTINATION_RESOLVED);
	set_destination(SHADOW4 "/32", 6, EG_DESTINATION_RESOLVED);
	set_destination(DENIED4 "/32", 7, EG_DESTINATION_RESOLVED);
	set_destination("10.96.0.0/12", 0, EG_DESTINATION_EXCLUDED);
	set_verdict(3, 0, IPPROTO_TCP, 443, EG_ACTION_REDIRECT, EG_REASON_REDIRECT);
	set_verdict(3, 0, IPPROTO_TCP, 80, EG_ACTION_REDIRECT, EG_REASON_REDIRECT);
	set_verdict(3, 6, 0, 0, EG_ACTION_PASS, EG_REASON_SHADOW);
	set_verdict(3, 7, IPPROTO_TCP, 0, EG_ACTION_RESET, EG_REASON_DENY);
	resolver = address_of(RESOLVER4);
	map_set("resolvers", &resolver, &one);
	resolver = address_of(RESOLVER6);
	map_set("resolvers", &resolver, &one);
}

static uint64_t count_if(int reason, int hook)
{
	struct eg_counter_key key;
	int cpus = libbpf_num_possible_cpus(), fd = map_fd("counters"), i;
	struct eg_counter *values = calloc((size_t)cpus, sizeof(*values));
	void *previous = NULL;
	uint64_t sum = 0;

	if (!values)
		fatal("calloc");
	while (!bpf_map_get_next_key(fd, previous, &key)) {
		previous = &key;
		if ((reason >= 0 && key.reason != (uint32_t)reason) ||
		    (hook >= 0 && key.hook != (uint32_t)hook) ||
		    bpf_map_lookup_elem(fd, &key, values))
			continue;
		for (i = 0; i < cpus; i++)
			sum += values[i].packets;
	}
	free(values);
	return sum;
}

uint64_t count_of(enum eg_reason reason, enum eg_hook hook)
{
	return count_if((int)reason, (int)hook);
}

uint64_t count_all(void)
{
	return count_if(-1, -1);
}

enum verdict run_tc(int prog, const uint8_t *frame, size_t length, struct run *r)
{
	struct __sk_buff in = {.ifindex = r->ifindex,
			       .ingress_ifindex = r->ingress_ifindex,
			       .mark = r->mark,
			       .gso_size = r->gso_size,
			       .gso_segs = r->gso_segs},
			 out = {};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (uint32_t)length,
		    .data_out = r->out, .data_size_out = sizeof(r->out), .ctx_in = &in,
		    .ctx_size_in = sizeof(in), .ctx_out = &out, .ctx_size_out = sizeof(out),
		    .repeat = 1);

	if (bpf_prog_test_run_opts(prog, &opts)) {
		fprintf(stderr, "%zu bytes: ", length);
		fatal("bpf_prog_test_run_opts");
	}
	r->retval = (int)opts.retval;
	r->out_length = opts.data_size_out;
	r->mark_out = out.mark;
	switch (r->retval) {
	case -1:
		return NEXT;
	case 2:
		return DROP;
	case 7: /* TC_ACT_REDIRECT: the frame itself, or a reset made of it */
		if (!memcmp(frame, r->out, 12))
			return REDIRECT;
		return !memcmp(frame, r->out + 6, 6) && !memcmp(frame + 6, r->out, 6) ? RESET
										      : OTHER;
	default:
		return OTHER;
	}
}

enum verdict run_frame(int prog, uint32_t ifindex, const struct frame *f)
{
	struct run r = {.ifindex = ifindex};
	uint8_t frame[PACKET_MAX];

	return run_tc(prog, frame, frame_build(f, frame), &r);
}
