/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs on the cgroups of pods in the node's own network, by links that are pinned in
 * PIN_DIR/cgroups: "host_connect4-1234" is that program on the cgroup 1234. What is pinned there
 * is what is attached, whoever did it; the kernel lets go of a link when its cgroup is removed.
 */
#include <bpf/bpf.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "datapath/cgroup_pods.h"
#include "datapath/internal.h"

#define DIRECTORY "cgroups"

static const enum bpf_attach_type hooks[] = {BPF_CGROUP_INET4_CONNECT, BPF_CGROUP_INET6_CONNECT,
					     BPF_CGROUP_UDP4_SENDMSG, BPF_CGROUP_UDP6_SENDMSG};

_Static_assert(EG_PROGRAM_HOST_SENDMSG6 - EG_PROGRAM_HOST_CONNECT4 + 1 ==
		       sizeof(hooks) / sizeof(*hooks),
	       "a hook for each");

struct pin {
	enum eg_program_id program;
	uint64_t cgroup;
};

static bool parse_pin(const char *name, struct pin *out)
{
	const char *dash = strchr(name, '-');

	if (!dash || eg_str_u64(eg_str_from(dash + 1), &out->cgroup))
		return false;
	for (size_t i = 0; i < EG_ARRAY_SIZE(hooks); i++) {
		const char *program = eg_program_table[EG_PROGRAM_HOST_CONNECT4 + i].name;

		out->program = EG_PROGRAM_HOST_CONNECT4 + (enum eg_program_id)i;
		if (strlen(program) == (size_t)(dash - name) &&
		    !strncmp(program, name, (size_t)(dash - name)))
			return true;
	}
	return false;
}

static char *pin_path(char *path, size_t n, const char *pin_dir, enum eg_program_id program,
		      uint64_t cgroup)
{
	snprintf(path, n, "%s/" DIRECTORY "/%s-%llu", pin_dir, eg_program_table[program].name,
		 (unsigned long long)cgroup);
	return path;
}

/* Nobody holds a link but its pin; but the kernel lets go of an unpinned one later. */
static void detach(const char *path)
{
	EG_CLEANUP_FD int fd = bpf_obj_get(path);

	if (fd >= 0)
		bpf_link_detach(fd);
	unlink(path);
}

/* The cgroup of a link; 0: it is gone. */
static uint64_t link_cgroup(int fd)
{
	struct bpf_link_info info = {0};
	uint32_t n = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &n) ? 0 : info.cgroup.cgroup_id;
}

/* ---- what is attached ---- */

static struct eg_host_cgroup *find(struct eg_datapath *d, uint64_t id)
{
	for (size_t i = 0; i < d->host_count; i++)
		if (d->host[i].id == id)
			return &d->host[i];
	return NULL;
}

static struct eg_host_cgroup *get(struct eg_datapath *d, uint64_t id)
{
	struct eg_host_cgroup *c = find(d, id);

	if (c || d->host_count == EG_HOST_PODS_MAX)
		return c;
	if (!d->host)
		d->host = calloc(EG_HOST_PODS_MAX, sizeof(*d->host));
	if (!d->host)
		return NULL;
	c = &d->host[d->host_count++];
	*c = (struct eg_host_cgroup){.id = id};
	return c;
}

static void drop(struct eg_datapath *d, struct eg_host_cgroup *c)
{
	char path[300];

	for (size_t i = 0; i < EG_ARRAY_SIZE(hooks); i++)
		detach(pin_path(path, sizeof(path), d->pin_dir,
				EG_PROGRAM_HOST_CONNECT4 + (enum eg_program_id)i, c->id));
	if (d->map[EG_MAP_HOST_PODS] >= 0)
		bpf_map_delete_elem(d->map[EG_MAP_HOST_PODS], &c->id);
	*c = d->host[--d->host_count];
	d->counters_swept = false;
}

/* A pin of an earlier start: gets this one's program, or goes. */
static void adopt(struct eg_datapath *d, const char *name)
{
	struct pin pin;
	struct eg_host_cgroup *c;
	char path[600];
	EG_CLEANUP_FD int fd = -1;

	if (!parse_pin(name, &pin))
		return;
	snprintf(path, sizeof(path), "%s/" DIRECTORY "/%s", d->pin_dir, name);
	fd = bpf_obj_get(path);
	c = fd >= 0 && link_cgroup(fd) == pin.cgroup && d->program[pin.program] >= 0 &&
			    !bpf_link_update(fd, d->program[pin.program], NULL)
		    ? get(d, pin.cgroup)
		    : NULL;
	if (c)
		c->attached |= 1u << (pin.program - EG_PROGRAM_HOST_CONNECT4);
	else
		detach(path);
}

/* Entries of cgroups on which nothing stands. */
static void forget_others(struct eg_datapath *d)
{
	EG_CLEANUP_WALK struct eg_walk w = {0};
	const uint64_t *id;

	if (d->map[EG_MAP_HOST_PODS] < 0 ||
	    eg_walk_keys(d->map[EG_MAP_HOST_PODS], sizeof(uint64_t), &w))
		return;
	id = w.keys;
	for (size_t i = 0; i < w.count; i++)
		if (!find(d, id[i]))
			bpf_map_delete_elem(d->map[EG_MAP_HOST_PODS], &id[i]);
}

static void adopt_all(struct eg_datapath *d)
{
	struct dirent *e;
	char path[300];
	DIR *dir;

	d->host_count = 0;
	snprintf(path, sizeof(path), "%s/" DIRECTORY, d->pin_dir);
	dir = opendir(path);
	while (dir && (e = readdir(dir)))
		adopt(d, e->d_name);
	if (dir)
		closedir(dir);
	forget_others(d);
}

/* ---- open, close ---- */

int eg_host_pods_open(struct eg_datapath *d, struct eg_error *error)
{
	struct epoll_event e = {.events = EPOLLIN};
	char path[300];

	adopt_all(d);
	snprintf(path, sizeof(path), "%s/" DIRECTORY, d->pin_dir);
	if (!d->o.host_pods_deny) {
		rmdir(path); /* of an earlier start that wanted it */
		return 0;
	}
	if (mkdir(path, 0700) && errno != EEXIST)
		return eg_error_set(error, -errno, "cannot make the directory %s: %s", path,
				    strerror(errno));
	d->host_watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (d->host_watch < 0 || epoll_ctl(d->epoll, EPOLL_CTL_ADD, d->host_watch, &e))
		eg_datapath_note(d,
				 "cgroups of pods can't be watched (%s): a pod in the node's own "
				 "network is looked for once a second",
				 strerror(errno));
	return 0;
}

void eg_host_pods_again(struct eg_datapath *d)
{
	if (d->o.host_pods_deny)
		adopt_all(d);
}

void eg_host_pods_close(struct eg_datapath *d)
{
	eg_fd_close(&d->host_watch);
	free(d->host);
	d->host = NULL;
	d->host_count = 0;
}

void eg_host_pods_events(struct eg_datapath *d)
{
	char bytes[4096] __attribute__((aligned(8)));
	bool any = false;

	while (d->host_watch >= 0 && read(d->host_watch, bytes, sizeof(bytes)) > 0)
		any = true;
	if (any && d->o.calls.cgroups)
		d->o.calls.cgroups(d->o.calls.context);
}

int eg_host_pods_uninstall(const char *pin_dir, struct eg_error *error)
{
	char path[300], file[600];
	struct dirent *e;
	struct pin pin;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/" DIRECTORY, pin_dir);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? 0
				       : eg_error_set(error, -errno, "cannot read %s: %s", path,
						      strerror(errno));
	while ((e = readdir(dir))) {
		if (!parse_pin(e->d_name, &pin))
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
		detach(file);
	}
	closedir(dir);
	return rmdir(path) && errno != ENOENT
		       ? eg_error_set(error, -errno, "cannot remove the directory %s: %s", path,
				      strerror(errno))
		       : 0;
}

/* ---- set ---- */

struct set {
	struct eg_datapath *d;
	const struct eg_host_pod *pods;
	size_t count;
	enum eg_host_guard *out;
	struct eg_error *error;
	int result; /* the first failure of one pod; the others are set all the same */
};

static int attach_one(struct eg_datapath *d, struct eg_host_cgroup *c, size_t hook, int cgroup,
		      struct eg_error *error)
{
	enum eg_program_id id = EG_PROGRAM_HOST_CONNECT4 + (enum eg_program_id)hook;
	EG_CLEANUP_FD int fd = -1;
	char path[300];

	if (c->attached & 1u << hook)
		return 0;
	fd = bpf_link_create(d->program[id], cgroup, hooks[hook], NULL);
	if (fd < 0)
		return eg_error_set(error, -errno, "cannot attach %s to the cgroup %llu: %s",
				    eg_program_table[id].name, (unsigned long long)c->id,
				    strerror(errno));
	pin_path(path, sizeof(path), d->pin_dir, id, c->id);
	unlink(path);
	if (bpf_obj_pin(fd, path))
		return eg_error_set(error, -errno, "cannot pin the link %s: %s", path,
				    strerror(errno));
	c->attached |= 1u << hook;
	return 0;
}

static int guard(struct eg_datapath *d, const struct eg_pod *pod, int cgroup,
		 enum eg_host_guard *out, struct eg_error *error)
{
	struct eg_host_cgroup *c;
	uint64_t id = 0;
	int r = eg_cgroup_fd_id(cgroup, &id);

	*out = EG_HOST_FAILED;
	if (r)
		return eg_error_set(error, r, "a pod's cgroup: %s", strerror(-r));
	c = find(d, id);
	/* Also of what was adopted: to the former agent this one was a pod like others. */
	if ((!c || !c->is_others) && eg_cgroup_has_self(cgroup)) {
		*out = EG_HOST_AGENT;
		return 0;
	}
	c = c ? c : get(d, id);
	if (!c)
		return eg_error_set(error, -ENOSPC,
				    "more than %d pods are in the node's own network",
				    EG_HOST_PODS_MAX);
	c->wanted = c->is_others = true;
	/* First what it is judged by. */
	if (bpf_map_update_elem(d->map[EG_MAP_HOST_PODS], &id, pod, BPF_ANY))
		return eg_error_set(error, -errno, "cannot write the map host_pods: %s",
				    strerror(errno));
	for (size_t i = 0; !r && i < EG_ARRAY_SIZE(hooks); i++)
		r = attach_one(d, c, i, cgroup, error);
	if (!r)
		*out = EG_HOST_GUARDED;
	return r;
}

static int see_pod(void *context, const char *uid, int fd)
{
	struct set *s = context;

	for (size_t i = 0; i < s->count; i++) {
		struct eg_error e = {""};
		int r;

		if (strcmp(s->pods[i].uid, uid) != 0)
			continue;
		if (s->out[i] != EG_HOST_NO_CGROUP)
			continue;
		if (s->pods[i].is_agents) {
			s->out[i] = eg_cgroup_has_self(fd) ? EG_HOST_AGENT : EG_HOST_OTHER_AGENT;
			break;
		}
		r = guard(s->d, &s->pods[i].pod, fd, &s->out[i], &e);
		if (r && !s->result) {
			s->result = r;
			*s->error = e;
		}
		break; /* of two that claim it, the first one's policy */
	}
	return 0;
}

static int see_parent(void *context, const char *path)
{
	const struct set *s = context;
	char self[64], whole[4200];

	if (s->d->host_watch < 0)
		return 0;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", s->d->host_root);
	snprintf(whole, sizeof(whole), "%s/%s", self, path);
	/* The same watch again where there is one; the sweep is there where it can't be had. */
	(void)inotify_add_watch(s->d->host_watch, whole, IN_CREATE | IN_ONLYDIR);
	return 0;
}

int eg_datapath_set_host_pods(struct eg_datapath *d, const struct eg_host_pod *pods, size_t count,
			      enum eg_host_guard *out, struct eg_error *error)
{
	EG_CLEANUP_FD int root = -1;
	struct eg_error ignored;
	struct set s = {d, pods, count, out, error ? error : &ignored, 0};
	int r;

	for (size_t i = 0; i < count; i++)
		out[i] = EG_HOST_NO_CGROUP;
	if (!d->o.host_pods_deny)
		return eg_error_set(error, -EINVAL, "the guard of such pods is not asked for");
	for (size_t i = 0; i < d->host_count; i++)
		d->host[i].wanted = false;
	r = eg_cgroup_root(d->o.cgroup_root, &root, error);
	if (r)
		return r;
	d->host_root = root;
	r = eg_cgroup_pods(root, see_pod, see_parent, &s);
	if (r) /* not all were seen: nothing is let go */
		return eg_error_set(error, r, "the cgroups of pods can't be read: %s",
				    strerror(-r));
	for (size_t i = d->host_count; i-- > 0;)
		if (!d->host[i].wanted)
			drop(d, &d->host[i]);
	return s.result;
}
