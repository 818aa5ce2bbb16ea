/* SPDX-License-Identifier: Apache-2.0 */
/* Pin directory, maps and programs: loads what is new, takes over what an earlier start pinned. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "datapath/internal.h"

/* What libbpf said last, for the sentence of a failure. One thread uses libbpf. */
static char last_words[256];

static int keep_words(enum libbpf_print_level level, const char *format, va_list ap)
{
	char line[sizeof(last_words)];

	if (level != LIBBPF_WARN)
		return 0;
	vsnprintf(line, sizeof(line), format, ap);
	line[strcspn(line, "\n")] = 0;
	/* The verifier's log comes in one piece and is of no use to an operator. */
	if (strncmp(line, "libbpf: prog", 12) || !last_words[0])
		memcpy(last_words, line, sizeof(line));
	return 0;
}

static int make_dir(const char *path, struct eg_error *error)
{
	if (mkdir(path, 0700) && errno != EEXIST)
		return eg_error_set(error, -errno, "cannot make the directory %s: %s", path,
				    strerror(errno));
	return 0;
}

/* Makes every missing directory of the path that lies on the bpffs. */
static int make_path(const char *path, struct eg_error *error)
{
	char part[256];
	size_t n = strlen(path);

	if (n >= sizeof(part))
		return eg_error_set(error, -ENAMETOOLONG,
				    "the pin directory %s has a name longer "
				    "than %zu bytes",
				    path, sizeof(part) - 1);
	for (size_t i = 1; i <= n; i++) {
		if (path[i] != '/' && path[i] != 0)
			continue;
		memcpy(part, path, i);
		part[i] = 0;
		if (access(part, F_OK) && make_dir(part, error))
			return -EACCES;
	}
	return 0;
}

/* Another version beside ours would mean two sets of programs on each link. */
static int refuse_other_versions(const char *pin_dir, struct eg_error *error)
{
	char parent[256];
	const char *slash = strrchr(pin_dir, '/');
	struct dirent *e;
	int r = 0;
	DIR *dir;

	if (!slash || slash[1] != 'v' || slash == pin_dir)
		return 0;
	snprintf(parent, sizeof(parent), "%.*s", (int)(slash - pin_dir), pin_dir);
	dir = opendir(parent);
	if (!dir)
		return 0;
	while (!r && (e = readdir(dir))) {
		if (e->d_name[0] != 'v' || !e->d_name[1] ||
		    strspn(e->d_name + 1, "0123456789") != strlen(e->d_name + 1) ||
		    !strcmp(e->d_name, slash + 1))
			continue;
		r = eg_error_set(
			error, -EEXIST,
			"%s/%s holds the pins of another version of Egret; remove them with "
			"that version's `egretd --uninstall`, then start this one",
			parent, e->d_name);
	}
	closedir(dir);
	return r;
}

static bool same_directory(int fd, const char *path)
{
	struct stat a, b;

	return !fstat(fd, &a) && !stat(path, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

int eg_load_pin_dir(struct eg_datapath *d, struct eg_error *error)
{
	static const char *const below[] = {"", "/programs", "/links"};
	struct statfs fs;
	char path[300];
	int r;

	libbpf_set_print(keep_words);
	r = refuse_other_versions(d->pin_dir, error);
	if (!r)
		r = make_path(d->pin_dir, error);
	if (r)
		return r;
	if (statfs(d->pin_dir, &fs) || fs.f_type != BPF_FS_MAGIC)
		return eg_error_set(
			error, -ENOTSUP,
			"the pin directory %s is not on a bpffs; run `mount -t bpf bpf "
			"/sys/fs/bpf` on the node, or mount the node's /sys/fs/bpf into the "
			"container with HostToContainer propagation",
			d->pin_dir);
	for (size_t i = 0; i < EG_ARRAY_SIZE(below); i++) {
		snprintf(path, sizeof(path), "%s%s", d->pin_dir, below[i]);
		r = make_dir(path, error);
		if (r)
			return r;
	}
	if (d->lock >= 0 && !same_directory(d->lock, d->pin_dir)) {
		eg_fd_close(&d->lock);
		return eg_error_set(error, -EINVAL,
				    "the lock that was handed over is not of the pin directory %s",
				    d->pin_dir);
	}
	if (d->lock < 0)
		d->lock = open(d->pin_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->lock < 0)
		return eg_error_set(error, -errno, "cannot open %s: %s", d->pin_dir,
				    strerror(errno));
	if (flock(d->lock, LOCK_EX | LOCK_NB)) {
		eg_fd_close(&d->lock); /* not ours: nothing below it may be undone */
		return eg_error_set(
			error, -EBUSY,
			"another egretd uses the pin directory %s and hands nothing over: end it "
			"first, or let both have one --handover-socket",
			d->pin_dir);
	}
	return 0;
}

int eg_load_check_shape(int fd, const struct eg_map_shape *shape, const char *path,
			struct eg_error *error)
{
	struct bpf_map_info info = {0};
	uint32_t n = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &n))
		return eg_error_set(error, -EEXIST, "%s is pinned and is not a map", path);
	if (info.type != shape->type || info.key_size != shape->key_bytes ||
	    info.value_size != shape->value_bytes)
		return eg_error_set(
			error, -EEXIST,
			"the pinned map %s has another layout (type %u, key %u, value %u "
			"bytes; expected type %u, key %u, value %u): it is of another build "
			"of Egret; run `egretd --uninstall` and start again",
			path, info.type, info.key_size, info.value_size, shape->type,
			shape->key_bytes, shape->value_bytes);
	return 0;
}

static bool is_map_wanted(const struct eg_datapath *d, enum eg_map_id id)
{
	if (id == EG_MAP_HOST_PODS)
		return d->o.host_pods_deny && !eg_observes(d);
	return eg_observes(d) || (id != EG_MAP_INVENTORY && id != EG_MAP_OBSERVED);
}

/* What governs is not let go by a start that only looks: pods would pass by that alone. */
static int refuse_governing(const struct eg_datapath *d, struct eg_error *error)
{
	struct eg_config c;
	uint32_t zero = 0;

	/* The mode is written last: where it still says "observe", a start that was to govern came
	 * to nothing before it had a single link. */
	if (!eg_observes(d) || bpf_map_lookup_elem(d->map[EG_MAP_CONFIG], &zero, &c) ||
	    !c.enabled || c.mode == EG_MODE_OBSERVE)
		return 0;
	return eg_error_set(error, -EEXIST,
			    "%s holds the programs of an egretd that governs, and observing would "
			    "let its pods go free: run `egretd --uninstall` first if that is what "
			    "you want, or start without --observe",
			    d->pin_dir);
}

/* Opens the pinned maps that are there. A hole in a set is of an interrupted start: filled. */
static int adopt_maps(struct eg_datapath *d, struct eg_error *error)
{
	for (int i = 0; i < EG_MAP_COUNT; i++) {
		char path[300];
		int r;

		if (!is_map_wanted(d, (enum eg_map_id)i))
			continue;
		snprintf(path, sizeof(path), "%s/%s", d->pin_dir, eg_map_table[i].name);
		d->map[i] = bpf_obj_get(path);
		if (d->map[i] < 0 && errno != ENOENT)
			return eg_error_set(error, -errno, "cannot open the pinned map %s: %s",
					    path, strerror(errno));
		if (d->map[i] < 0)
			continue;
		r = eg_load_check_shape(d->map[i], &eg_map_table[i], path, error);
		if (r)
			return r;
	}
	for (int i = 0; i < EG_MAP_COUNT; i++)
		d->made[i] = d->map[i] < 0;
	d->adopted = d->map[EG_MAP_CONFIG] >= 0;
	return d->adopted ? refuse_governing(d, error) : 0;
}

/* The maps of one object become the shared ones, or make them. */
static int share_maps(struct eg_datapath *d, struct bpf_object *object, const char *program,
		      struct eg_error *error)
{
	struct bpf_map *m;

	bpf_object__for_each_map(m, object)
	{
		char path[300];
		int i, r;

		for (i = 0; i < EG_MAP_COUNT; i++)
			if (!strcmp(bpf_map__name(m), eg_map_table[i].name))
				break;
		if (i == EG_MAP_COUNT)
			continue; /* its own: rodata, scratch */
		if (bpf_map__type(m) != eg_map_table[i].type ||
		    bpf_map__key_size(m) != eg_map_table[i].key_bytes ||
		    bpf_map__value_size(m) != eg_map_table[i].value_bytes)
			return eg_error_set(
				error, -EINVAL,
				"this build is inconsistent: the map %s of the program %s "
				"has another layout than user space expects",
				bpf_map__name(m), program);
		snprintf(path, sizeof(path), "%s/%s", d->pin_dir, eg_map_table[i].name);
		r = bpf_map__set_pin_path(m, path);
		if (!r && d->map[i] >= 0)
			r = bpf_map__reuse_fd(m, d->map[i]);
		if (r)
			return eg_error_set(error, r, "cannot share the map %s: %s", path,
					    strerror(-r));
	}
	return 0;
}

static void keep_map_fds(struct eg_datapath *d, struct bpf_object *object)
{
	struct bpf_map *m;

	bpf_object__for_each_map(
		m, object) for (int i = 0; i < EG_MAP_COUNT;
				i++) if (d->map[i] < 0 &&
					 !strcmp(bpf_map__name(m), eg_map_table[i].name))
		d->map[i] = fcntl(bpf_map__fd(m), F_DUPFD_CLOEXEC, 3);
}

/* How much of a program is asked of the kernel: less and less, until it takes it. */
enum extent { EXTENT_ALL, EXTENT_UNFURNISHED, EXTENT_LESSENED };

/* Lets the program's constants be changed: libbpf hands out a view and takes a copy. */
static int set_constants(const struct eg_datapath *d, const struct eg_program_shape *p,
			 struct bpf_object *object, enum extent extent)
{
	struct bpf_map *m;

	bpf_object__for_each_map(m, object)
	{
		EG_CLEANUP_FREE void *copy = NULL;
		const void *now;
		size_t bytes;

		if (!eg_str_ends(eg_str_from(bpf_map__name(m)), EG_STR(".rodata")))
			continue;
		now = bpf_map__initial_value(m, &bytes);
		copy = now ? malloc(bytes) : NULL;
		if (!copy)
			return -ENOMEM;
		memcpy(copy, now, bytes);
		if (extent == EXTENT_LESSENED)
			p->lessen(copy);
		else
			p->furnish(copy, &d->skb_layout);
		return bpf_map__set_initial_value(m, copy, bytes);
	}
	return -ENOENT;
}

/* The program's text in this binary: its pages stay the file's, and are not this process's. */
static void forget(const void *elf, size_t bytes)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t from = ((uintptr_t)elf + page - 1) & ~(page - 1);
	uintptr_t to = ((uintptr_t)elf + bytes) & ~(page - 1);

	if (from < to)
		(void)madvise((void *)from, to - from, MADV_DONTNEED);
}

/* Opens and loads; -errno of the kernel without a sentence, or with one when it is not the
 * kernel's. */
static int try_load(struct eg_datapath *d, enum eg_program_id id, enum extent extent,
		    struct eg_error *error)
{
	const struct eg_program_shape *p = &eg_program_table[id];
	LIBBPF_OPTS(bpf_object_open_opts, o, .object_name = p->name);
	struct bpf_program *program, *other;
	struct bpf_object *object;
	size_t bytes;
	const void *elf = p->elf(&bytes);
	int r;

	last_words[0] = 0;
	object = bpf_object__open_mem(elf, bytes, &o);
	if (!object)
		return eg_error_set(error, -errno, "cannot read the program %s of this build: %s",
				    p->name, strerror(errno));
	r = share_maps(d, object, p->name, error);
	program = bpf_object__find_program_by_name(object, p->name);
	if (!r && !program)
		r = eg_error_set(error, -ENOENT, "this build has no program %s", p->name);
	bpf_object__for_each_program(other, object) if (other != program)
		bpf_program__set_autoload(other, false);
	if (!r && (extent == EXTENT_LESSENED || (extent == EXTENT_ALL && p->furnish))) {
		r = set_constants(d, p, object, extent);
		if (r)
			eg_error_set(error, r, "cannot change the constants of %s: %s", p->name,
				     strerror(-r));
	}
	if (!r) {
		r = bpf_object__load(object);
		if (r)
			eg_error_set(error, r, "the kernel refuses the program %s: %s%s%s", p->name,
				     strerror(-r), last_words[0] ? "; " : "", last_words);
	}
	if (!r) {
		keep_map_fds(d, object);
		d->program[id] = fcntl(bpf_program__fd(program), F_DUPFD_CLOEXEC, 3);
		if (d->program[id] < 0)
			r = eg_error_set(error, -errno, "cannot keep the program %s: %s", p->name,
					 strerror(errno));
	}
	/* What libbpf made of it, a megabyte in all, nobody needs any more. */
	bpf_object__close(object);
	forget(elf, bytes);
	return r;
}

/* 0 also for an optional one that does not load, which is noted. */
static int load_one(struct eg_datapath *d, enum eg_program_id id, struct eg_error *error)
{
	const struct eg_program_shape *p = &eg_program_table[id];
	bool lesser = id == EG_PROGRAM_DNS_TC && d->o.no_kernel_names;
	int r = try_load(d, id, lesser ? EXTENT_LESSENED : EXTENT_ALL, error);

	if (r == -EPERM)
		return eg_error_set(error, r,
				    "this process may not load programs: it needs CAP_BPF and "
				    "CAP_NET_ADMIN; run as root, or add BPF and NET_ADMIN to the "
				    "container's capabilities");
	if (p->furnish && (r || !d->skb_layout.csum_start_at)) {
		int without = r ? try_load(d, id, EXTENT_UNFURNISHED, error) : 0;

		if (!without) {
			eg_datapath_note(d,
					 "the program %s does not see where checksums are to be "
					 "written here (%s): %s",
					 p->name, r ? strerror(-r) : "no BTF of the kernel",
					 p->unfurnished);
			return 0;
		}
	}
	if (r && p->lessen && !lesser) {
		int lesser_result = try_load(d, id, EXTENT_LESSENED, error);

		if (!lesser_result) {
			eg_datapath_note(d, "the program %s loads only in part here (%s): %s",
					 p->name, strerror(-r), p->lessened);
			return 0;
		}
	}
	if (r && !p->required) {
		eg_datapath_note(d, "the program %s does not load here (%s): %s", p->name,
				 strerror(-r), p->without);
		return 0;
	}
	return r;
}

static bool is_wanted(const struct eg_datapath *d, enum eg_program_id id)
{
	if (eg_observes(d) != (id == EG_PROGRAM_OBSERVE_UP_TC || id == EG_PROGRAM_OBSERVE_DOWN_TC))
		return false;
	switch (id) {
	case EG_PROGRAM_REPLY_TC:
		return d->o.mode == EG_MODE_NETNS;
	case EG_PROGRAM_CLASSIFY_XDP:
	case EG_PROGRAM_GUARD_XDP:
		return d->o.xdp_count > 0;
	case EG_PROGRAM_GUARD_TC:
		return d->o.uplink_count > 0 || d->o.uplink_auto;
	case EG_PROGRAM_HOST_CONNECT4:
	case EG_PROGRAM_HOST_CONNECT6:
	case EG_PROGRAM_HOST_SENDMSG4:
	case EG_PROGRAM_HOST_SENDMSG6:
		return d->o.host_pods_deny;
	case EG_PROGRAM_EGRESS_TC:
	case EG_PROGRAM_DNS_TC:
	case EG_PROGRAM_LISTENER_LOOKUP:
	case EG_PROGRAM_OBSERVE_UP_TC:
	case EG_PROGRAM_OBSERVE_DOWN_TC:
	case EG_PROGRAM_COUNT:
		break;
	}
	return true;
}

int eg_load_all(struct eg_datapath *d, struct eg_error *error)
{
	void *config;
	int r;

	r = adopt_maps(d, error);
	if (r)
		return r;
	(void)eg_skb_layout_find(&d->skb_layout); /* without: said where it is missed */
	for (enum eg_program_id i = 0; i < EG_PROGRAM_COUNT; i++) {
		if (!is_wanted(d, i))
			continue;
		r = load_one(d, i, error);
		if (r)
			return r;
	}
	for (int i = 0; i < EG_MAP_COUNT; i++)
		if (d->map[i] < 0 && is_map_wanted(d, (enum eg_map_id)i))
			return eg_error_set(error, -ENOENT,
					    "no program of this build has the map %s",
					    eg_map_table[i].name);
	config = mmap(NULL, sizeof(struct eg_config), PROT_READ | PROT_WRITE, MAP_SHARED,
		      d->map[EG_MAP_CONFIG], 0);
	if (config == MAP_FAILED)
		return eg_error_set(error, -errno, "cannot map %s/config: %s", d->pin_dir,
				    strerror(errno));
	d->config = config;
	if (d->adopted && d->config->abi_version && d->config->abi_version != EG_ABI_VERSION)
		return eg_error_set(
			error, -EEXIST,
			"%s holds version %u of the map layout, this is version %u; run "
			"`egretd --uninstall` and start again",
			d->pin_dir, d->config->abi_version, EG_ABI_VERSION);
	d->tcx = !d->o.force_clsact &&
		 eg_tcx_supported(d->program[eg_observes(d) ? EG_PROGRAM_OBSERVE_UP_TC
							    : EG_PROGRAM_EGRESS_TC]);
	return 0;
}

/* Or takes away the pin of an earlier start that wanted it. */
static int pin_program(struct eg_datapath *d, enum eg_program_id id, struct eg_error *error)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/programs/%s", d->pin_dir, eg_program_table[id].name);
	unlink(path);
	if (d->program[id] >= 0 && bpf_obj_pin(d->program[id], path))
		return eg_error_set(error, -errno, "cannot pin the program %s: %s", path,
				    strerror(errno));
	return 0;
}

/* A dead link (its device is gone) loses its pin. */
static int replace_one(struct eg_datapath *d, const char *path, const struct eg_pin_name *pin,
		       struct eg_error *error)
{
	EG_CLEANUP_FD int fd = bpf_obj_get(path);
	uint32_t type, ifindex = 0;
	int r;

	if (fd < 0)
		return eg_error_set(error, -errno, "cannot open the pinned link %s: %s", path,
				    strerror(errno));
	r = eg_link_info(fd, &type, &ifindex, NULL);
	if (r || (pin->ifindex && !ifindex) || d->program[pin->program] < 0) {
		bpf_link_detach(fd); /* the pin's end would come later, from a work queue */
		unlink(path);
		return 0;
	}
	if (bpf_link_update(fd, d->program[pin->program], NULL)) {
		if (errno == ENOLINK) {
			unlink(path);
			return 0;
		}
		return eg_error_set(error, -errno, "cannot replace the program of %s: %s", path,
				    strerror(errno));
	}
	return 0;
}

int eg_load_replace(struct eg_datapath *d, struct eg_error *error)
{
	char path[600];
	struct dirent *e;
	int r = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/links", d->pin_dir);
	dir = opendir(path);
	if (!dir)
		return eg_error_set(error, -errno, "cannot read %s: %s", path, strerror(errno));
	while (!r && (e = readdir(dir))) {
		struct eg_pin_name pin;

		if (!eg_pin_name_parse(e->d_name, &pin) || pin.program == EG_PROGRAM_COUNT ||
		    pin.clsact)
			continue; /* clsact filters are replaced when their link is attached */
		snprintf(path, sizeof(path), "%s/links/%s", d->pin_dir, e->d_name);
		r = replace_one(d, path, &pin, error);
	}
	closedir(dir);
	for (enum eg_program_id i = 0; !r && i < EG_PROGRAM_COUNT; i++)
		r = pin_program(d, i, error);
	for (int i = 0; !r && i < EG_MAP_COUNT; i++)
		if (!is_map_wanted(d, (enum eg_map_id)i)) {
			snprintf(path, sizeof(path), "%s/%s", d->pin_dir, eg_map_table[i].name);
			unlink(path);
		}
	return r;
}

void eg_load_close(struct eg_datapath *d)
{
	if (d->config)
		munmap(d->config, sizeof(*d->config));
	d->config = NULL;
	for (int i = 0; i < EG_PROGRAM_COUNT; i++)
		eg_fd_close(&d->program[i]);
	for (int i = 0; i < EG_MAP_COUNT; i++)
		eg_fd_close(&d->map[i]);
	eg_fd_close(&d->lock);
}

void eg_load_undo(struct eg_datapath *d)
{
	char path[300];

	if (d->adopted)
		return;
	for (int i = 0; i < EG_MAP_COUNT; i++) {
		if (!d->made[i])
			continue;
		snprintf(path, sizeof(path), "%s/%s", d->pin_dir, eg_map_table[i].name);
		unlink(path);
	}
	for (int i = 0; i < EG_PROGRAM_COUNT; i++) {
		snprintf(path, sizeof(path), "%s/programs/%s", d->pin_dir,
			 eg_program_table[i].name);
		unlink(path);
	}
}
