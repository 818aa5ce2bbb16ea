/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters of pods that are gone. The map has a place for each pod, name, reason and hook, and when
 * it is full a new pod is counted nowhere; so what a pod leaves is added up under one number. No
 * program writes under that, and sums over all pods never shrink.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdlib.h>

#include "datapath/internal.h"

#define AT_ONCE 1024 /* entries a sweep: the caller's heartbeat is due */

int eg_counters_open(struct eg_datapath *d)
{
	int cpus = libbpf_num_possible_cpus();
	EG_CLEANUP_FREE struct eg_counter *zero =
		cpus > 0 ? calloc((size_t)cpus, sizeof(*zero)) : NULL;

	if (!zero)
		return -ENOMEM;
	for (uint32_t hook = 1; hook < EG_HOOK_COUNT; hook++) {
		struct eg_counter_key key = {.reason = EG_REASON_UNCOUNTED, .hook = hook};

		/* One that an earlier build's pods have filled has no room for them: as it was. */
		if (bpf_map_update_elem(d->map[EG_MAP_COUNTERS], &key, zero, BPF_NOEXIST) &&
		    errno != EEXIST && errno != E2BIG)
			return -errno;
	}
	return 0;
}

static int compare_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* The numbers of pods that have a link or a guarded cgroup, sorted. */
static int live_pods(struct eg_datapath *d, uint32_t **out, size_t *count)
{
	EG_CLEANUP_WALK struct eg_walk w = {0};
	int r = eg_walk_keys(d->map[EG_MAP_PODS], sizeof(uint32_t), &w);
	struct eg_pod pod;

	*count = 0;
	*out = r ? NULL : calloc(w.count + d->host_count + 1, sizeof(**out));
	if (!*out)
		return r ? r : -ENOMEM;
	for (size_t i = 0; i < w.count; i++)
		if (!bpf_map_lookup_elem(d->map[EG_MAP_PODS], (const uint32_t *)w.keys + i, &pod))
			(*out)[(*count)++] = pod.pod_id;
	for (size_t i = 0; i < d->host_count; i++)
		if (!bpf_map_lookup_elem(d->map[EG_MAP_HOST_PODS], &d->host[i].id, &pod))
			(*out)[(*count)++] = pod.pod_id;
	qsort(*out, *count, sizeof(**out), compare_number);
	return 0;
}

/* values: room for two, of each CPU. */
static int fold(struct eg_datapath *d, const struct eg_counter_key *key, struct eg_counter *values,
		size_t cpus)
{
	struct eg_counter_key to = *key;
	struct eg_counter *sum = values + cpus;
	int map = d->map[EG_MAP_COUNTERS];

	to.pod_id = EG_POD_GONE;
	if (!eg_name_by_id(d, to.name_id))
		to.name_id = 0;
	if (bpf_map_lookup_elem(map, key, values))
		return errno == ENOENT ? 0 : -errno;
	if (bpf_map_lookup_elem(map, &to, sum))
		memset(sum, 0, cpus * sizeof(*sum));
	for (size_t i = 0; i < cpus; i++) {
		sum[i].packets += values[i].packets;
		sum[i].bytes += values[i].bytes;
	}
	/* First the room, which the map may not have otherwise. */
	if (bpf_map_delete_elem(map, key))
		return errno == ENOENT ? 0 : -errno;
	return bpf_map_update_elem(map, &to, sum, BPF_ANY) ? -errno : 0;
}

int eg_counters_sweep(struct eg_datapath *d)
{
	int cpus = libbpf_num_possible_cpus(), r;
	EG_CLEANUP_FREE struct eg_counter *values = NULL;
	EG_CLEANUP_FREE uint32_t *live = NULL;
	EG_CLEANUP_WALK struct eg_walk w = {0};
	const struct eg_counter_key *key;
	size_t live_count, done = 0;

	if (d->counters_swept)
		return 0;
	values = cpus > 0 ? calloc((size_t)cpus * 2, sizeof(*values)) : NULL;
	if (!values)
		return -ENOMEM;
	r = live_pods(d, &live, &live_count);
	if (!r)
		r = eg_walk_keys(d->map[EG_MAP_COUNTERS], sizeof(*key), &w);
	key = w.keys;
	for (size_t i = 0; !r && i < w.count; i++) {
		if (!key[i].pod_id || key[i].pod_id == EG_POD_GONE ||
		    bsearch(&key[i].pod_id, live, live_count, sizeof(*live), compare_number))
			continue;
		if (++done > AT_ONCE)
			return 0; /* the next sweep goes on */
		r = fold(d, &key[i], values, (size_t)cpus);
	}
	d->counters_swept = !r;
	return r;
}
