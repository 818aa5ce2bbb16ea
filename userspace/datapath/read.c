/* SPDX-License-Identifier: Apache-2.0 */
#include "datapath/read.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "datapath/internal.h"

struct eg_pins {
	char *pin_dir;
	int map[EG_MAP_COUNT]; /* opened when they are read; -1 */
};

const char *eg_pod_state_name(uint8_t state)
{
	static const char *const names[] = {"unknown", "held", "governed", "ungoverned", "foreign"};

	return state < EG_ARRAY_SIZE(names) ? names[state] : "?";
}

int eg_pins_open(const char *pin_dir, struct eg_pins **out, struct eg_error *error)
{
	struct eg_pins *p = calloc(1, sizeof(*p));

	if (!p)
		return eg_error_set(error, -ENOMEM, "out of memory");
	for (int i = 0; i < EG_MAP_COUNT; i++)
		p->map[i] = -1;
	p->pin_dir = strdup(pin_dir ? pin_dir : EG_PIN_DIR);
	if (!p->pin_dir) {
		free(p);
		return eg_error_set(error, -ENOMEM, "out of memory");
	}
	if (access(p->pin_dir, X_OK | R_OK)) {
		int r = eg_error_set(
			error, -errno,
			errno == ENOENT
				? "there is no %s: egretd was not started on this node, or its "
				  "bpffs is not mounted here"
				: "cannot read %s: it is root's",
			p->pin_dir);

		eg_pins_close(p);
		return r;
	}
	*out = p;
	return 0;
}

void eg_pins_close(struct eg_pins *p)
{
	if (!p)
		return;
	for (int i = 0; i < EG_MAP_COUNT; i++)
		eg_fd_close(&p->map[i]);
	free(p->pin_dir);
	free(p);
}

/* The descriptor, or -errno. */
static int map_of(struct eg_pins *p, enum eg_map_id id, struct eg_error *error)
{
	char path[300];
	int r;

	if (p->map[id] >= 0)
		return p->map[id];
	snprintf(path, sizeof(path), "%s/%s", p->pin_dir, eg_map_table[id].name);
	p->map[id] = bpf_obj_get(path);
	if (p->map[id] < 0)
		return eg_error_set(error, -errno, "cannot open the map %s: %s%s", path,
				    strerror(errno), errno == EPERM ? " (CAP_BPF is needed)" : "");
	r = eg_load_check_shape(p->map[id], &eg_map_table[id], path, error);
	if (r) {
		eg_fd_close(&p->map[id]);
		return r;
	}
	return p->map[id];
}

/*
 * Every entry. A key that is deleted under us makes the kernel begin again with the first one, so
 * a walk ends after as many steps as the map can hold.
 */
static int each_entry(struct eg_pins *p, enum eg_map_id id, void *key, void *next, void *value,
		      bool (*each)(void *context, const void *key, const void *value),
		      void *context, struct eg_error *error)
{
	struct bpf_map_info info = {0};
	uint32_t n = sizeof(info);
	const void *previous = NULL;
	int map = map_of(p, id, error);

	if (map < 0)
		return map;
	if (bpf_obj_get_info_by_fd(map, &info, &n))
		return eg_error_set(error, -errno, "cannot look at the map %s: %s",
				    eg_map_table[id].name, strerror(errno));
	for (uint32_t i = 0; i < info.max_entries; i++) {
		if (bpf_map_get_next_key(map, previous, next)) {
			if (errno == ENOENT)
				return 0;
			return eg_error_set(error, -errno, "cannot walk the map %s: %s",
					    eg_map_table[id].name, strerror(errno));
		}
		memcpy(key, next, eg_map_table[id].key_bytes);
		previous = key;
		if (!bpf_map_lookup_elem(map, key, value) && !each(context, key, value))
			return 0;
	}
	return 0;
}

struct host_pods_call {
	bool (*each)(void *context, const struct eg_pod *pod);
	void *context;
};

static bool one_host_pod(void *context, const void *k, const void *v)
{
	struct host_pods_call *c = context;

	(void)k;
	return c->each(c->context, v);
}

int eg_pins_host_pods(struct eg_pins *p, bool (*each)(void *context, const struct eg_pod *pod),
		      void *context, struct eg_error *error)
{
	struct host_pods_call c = {each, context};
	struct eg_pod v;
	uint64_t k, next;
	int r = each_entry(p, EG_MAP_HOST_PODS, &k, &next, &v, one_host_pod, &c, error);

	return r == -ENOENT ? 0 : r;
}

struct flows_call {
	bool (*each)(void *context, const struct eg_flow_key *k, const struct eg_flow *f);
	void *context;
};

static bool one_flow(void *context, const void *k, const void *v)
{
	struct flows_call *c = context;

	return c->each(c->context, k, v);
}

int eg_pins_flows(struct eg_pins *p,
		  bool (*each)(void *context, const struct eg_flow_key *k, const struct eg_flow *f),
		  void *context, struct eg_error *error)
{
	struct flows_call c = {each, context};
	struct eg_flow_key k, next;
	struct eg_flow v;

	return each_entry(p, EG_MAP_FLOWS, &k, &next, &v, one_flow, &c, error);
}

struct learned_call {
	bool (*each)(void *context, const struct eg_learned_key *k, const struct eg_learned *l);
	void *context;
};

static bool one_learned(void *context, const void *k, const void *v)
{
	struct learned_call *c = context;

	return c->each(c->context, k, v);
}

int eg_pins_learned(struct eg_pins *p,
		    bool (*each)(void *context, const struct eg_learned_key *k,
				 const struct eg_learned *l),
		    void *context, struct eg_error *error)
{
	struct learned_call c = {each, context};
	struct eg_learned_key k, next;
	struct eg_learned v;

	return each_entry(p, EG_MAP_LEARNED, &k, &next, &v, one_learned, &c, error);
}

struct inventory_call {
	bool (*each)(void *context, const struct eg_talk_key *k, const struct eg_talk *t);
	void *context;
};

static bool one_talk(void *context, const void *k, const void *v)
{
	struct inventory_call *c = context;

	return c->each(c->context, k, v);
}

int eg_pins_inventory(struct eg_pins *p,
		      bool (*each)(void *context, const struct eg_talk_key *k,
				   const struct eg_talk *t),
		      void *context, struct eg_error *error)
{
	struct inventory_call c = {each, context};
	struct eg_talk_key k, next;
	struct eg_talk v;

	return each_entry(p, EG_MAP_INVENTORY, &k, &next, &v, one_talk, &c, error);
}

struct verdicts_call {
	bool (*each)(void *context, const struct eg_verdict_key *k, const struct eg_verdict *v);
	void *context;
};

static bool one_verdict(void *context, const void *k, const void *v)
{
	struct verdicts_call *c = context;

	return c->each(c->context, k, v);
}

int eg_pins_verdicts(struct eg_pins *p,
		     bool (*each)(void *context, const struct eg_verdict_key *k,
				  const struct eg_verdict *v),
		     void *context, struct eg_error *error)
{
	struct verdicts_call c = {each, context};
	struct eg_verdict_key k, next;
	struct eg_verdict v;

	return each_entry(p, EG_MAP_VERDICTS, &k, &next, &v, one_verdict, &c, error);
}

struct pods_call {
	bool (*each)(void *context, uint32_t ifindex, const struct eg_pod *pod);
	void *context;
};

static bool one_pod(void *context, const void *k, const void *v)
{
	struct pods_call *c = context;

	return c->each(c->context, *(const uint32_t *)k, v);
}

int eg_pins_pods(struct eg_pins *p,
		 bool (*each)(void *context, uint32_t ifindex, const struct eg_pod *pod),
		 void *context, struct eg_error *error)
{
	struct pods_call c = {each, context};
	uint32_t k, next;
	struct eg_pod v;

	return each_entry(p, EG_MAP_PODS, &k, &next, &v, one_pod, &c, error);
}

struct names_call {
	bool (*each)(void *context, const struct eg_name *n);
	void *context;
};

static bool one_name(void *context, const void *k, const void *v)
{
	struct names_call *c = context;

	(void)k;
	return c->each(c->context, v);
}

int eg_pins_names(struct eg_pins *p, bool (*each)(void *context, const struct eg_name *n),
		  void *context, struct eg_error *error)
{
	struct names_call c = {each, context};
	struct eg_name_key k, next;
	struct eg_name v;

	return each_entry(p, EG_MAP_WATCHED_NAMES, &k, &next, &v, one_name, &c, error);
}

struct counters_call {
	bool (*each)(void *context, const struct eg_counter_key *k, const struct eg_counter *sum);
	void *context;
	int cpus;
};

static bool one_counter(void *context, const void *k, const void *v)
{
	struct counters_call *c = context;
	const struct eg_counter *of = v;
	struct eg_counter sum = {0};

	for (int i = 0; i < c->cpus; i++) {
		sum.packets += of[i].packets;
		sum.bytes += of[i].bytes;
	}
	/* What is kept for a full map has counted nothing yet. */
	return sum.packets ? c->each(c->context, k, &sum) : true;
}

int eg_pins_counters(struct eg_pins *p,
		     bool (*each)(void *context, const struct eg_counter_key *k,
				  const struct eg_counter *sum),
		     void *context, struct eg_error *error)
{
	struct counters_call c = {each, context, libbpf_num_possible_cpus()};
	EG_CLEANUP_FREE struct eg_counter *values = NULL;
	struct eg_counter_key k, next;

	if (c.cpus < 1)
		return eg_error_set(error, -EIO, "cannot tell how many CPUs the kernel counts on");
	values = calloc((size_t)c.cpus, sizeof(*values));
	if (!values)
		return eg_error_set(error, -ENOMEM, "out of memory");
	return each_entry(p, EG_MAP_COUNTERS, &k, &next, values, one_counter, &c, error);
}

struct places_call {
	bool (*each)(void *context, const struct eg_address *a, unsigned int bits,
		     const struct eg_destination *v);
	void *context;
	bool stopped;
};

static bool one_place4(void *context, const void *k, const void *v)
{
	struct places_call *c = context;
	const struct eg_lpm4 *key = k;
	struct eg_address a = eg_address_from4(key->address_be);

	c->stopped = !c->each(c->context, &a, key->prefix_bits, v);
	return !c->stopped;
}

static bool one_place6(void *context, const void *k, const void *v)
{
	struct places_call *c = context;
	const struct eg_lpm6 *key = k;
	struct eg_address a;

	memcpy(&a, key->address_be, sizeof(a));
	return c->each(c->context, &a, key->prefix_bits, v);
}

int eg_pins_destinations(struct eg_pins *p,
			 bool (*each)(void *context, const struct eg_address *a, unsigned int bits,
				      const struct eg_destination *v),
			 void *context, struct eg_error *error)
{
	struct places_call c = {.each = each, .context = context};
	struct eg_lpm4 k4, next4;
	struct eg_lpm6 k6, next6;
	struct eg_destination v;
	int r;

	r = each_entry(p, EG_MAP_DESTINATIONS4, &k4, &next4, &v, one_place4, &c, error);
	if (r || c.stopped)
		return r;
	return each_entry(p, EG_MAP_DESTINATIONS6, &k6, &next6, &v, one_place6, &c, error);
}

int eg_pins_config(struct eg_pins *p, struct eg_config *out, struct eg_error *error)
{
	uint32_t zero = 0;
	int map = map_of(p, EG_MAP_CONFIG, error);

	if (map < 0)
		return map;
	if (bpf_map_lookup_elem(map, &zero, out))
		return eg_error_set(error, -errno, "cannot read the map config: %s",
				    strerror(errno));
	if (out->abi_version != EG_ABI_VERSION)
		return eg_error_set(error, -EEXIST,
				    "%s holds version %u of the map layout, this is "
				    "version %u",
				    p->pin_dir, out->abi_version, EG_ABI_VERSION);
	return 0;
}

int eg_pins_listeners(struct eg_pins *p, unsigned int *filled, struct eg_error *error)
{
	int map = map_of(p, EG_MAP_LISTENERS, error);
	unsigned int n = 0;

	if (map < 0)
		return map;
	for (uint32_t i = 0; i < EG_MAX_WORKERS; i++) {
		uint64_t cookie;

		n += !bpf_map_lookup_elem(map, &i, &cookie);
	}
	*filled = n;
	return 0;
}

static void describe(struct eg_pins *p, const char *name, const struct eg_pin_name *pin,
		     struct eg_pin_link *out)
{
	struct eg_clsact_place place;
	EG_CLEANUP_FD int fd = -1;
	uint32_t type = 0, at = 0;
	char path[600];

	memset(out, 0, sizeof(*out));
	out->ifindex = pin->ifindex;
	eg_str_copy(out->program, sizeof(out->program),
		    eg_str_from(eg_program_table[pin->program].name));
	if (pin->ifindex && !if_indextoname(pin->ifindex, out->link))
		out->link[0] = 0;
	if (pin->clsact) {
		eg_str_copy(out->how, sizeof(out->how), EG_STR("clsact"));
		eg_clsact_look(pin->program, pin->ifindex, &place);
		out->attached = place.handle != 0;
		return;
	}
	snprintf(path, sizeof(path), "%s/links/%s", p->pin_dir, name);
	fd = bpf_obj_get(path);
	if (fd >= 0 && !eg_link_info(fd, &type, &at, NULL))
		out->attached = pin->ifindex ? at == pin->ifindex : at != 0;
	switch (eg_program_table[pin->program].kind) {
	case EG_KIND_XDP:
		eg_str_copy(out->how, sizeof(out->how), EG_STR("xdp"));
		break;
	case EG_KIND_NETNS:
		eg_str_copy(out->how, sizeof(out->how), EG_STR("netns"));
		break;
	case EG_KIND_INGRESS:
	case EG_KIND_EGRESS:
		eg_str_copy(out->how, sizeof(out->how), EG_STR("tcx"));
		break;
	case EG_KIND_CGROUP: /* pinned elsewhere: host_pods.c */
		break;
	}
}

int eg_pins_links(struct eg_pins *p, bool (*each)(void *context, const struct eg_pin_link *l),
		  void *context, struct eg_error *error)
{
	struct eg_pin_name pin;
	struct eg_pin_link l;
	struct dirent *e;
	char path[300];
	DIR *dir;

	snprintf(path, sizeof(path), "%s/links", p->pin_dir);
	dir = opendir(path);
	if (!dir)
		return eg_error_set(error, -errno, "cannot read %s: %s", path, strerror(errno));
	while ((e = readdir(dir))) {
		if (!eg_pin_name_parse(e->d_name, &pin) || pin.program == EG_PROGRAM_COUNT)
			continue;
		describe(p, e->d_name, &pin, &l);
		if (!each(context, &l))
			break;
	}
	closedir(dir);
	return 0;
}
