/* SPDX-License-Identifier: Apache-2.0 */
/* Removing every trace: what is attached, what is pinned, what was made. */
#include <bpf/bpf.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "datapath/internal.h"

#define BPF_FS_MAGIC_NUMBER 0xcafe4a11

/* Nothing comes to these once the pods' links are free; and of a namespace their pins tell. */
static bool is_way_in(enum eg_program_id id)
{
	return id == EG_PROGRAM_LISTENER_LOOKUP || id == EG_PROGRAM_REPLY_TC;
}

/* Detaches what the pins in links/ tell of: the way into the agent, or all else. */
static int detach_all(const char *pin_dir, bool way_in, struct eg_error *error)
{
	struct eg_pin_name pin;
	char path[600];
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/links", pin_dir);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? 0
				       : eg_error_set(error, -errno, "cannot read %s: %s", path,
						      strerror(errno));
	while ((e = readdir(dir))) {
		if (!eg_pin_name_parse(e->d_name, &pin) || pin.program == EG_PROGRAM_COUNT ||
		    is_way_in(pin.program) != way_in)
			continue;
		eg_detach(pin_dir, pin.program, pin.ifindex);
	}
	closedir(dir);
	return 0;
}

/* Files of one directory of the bpffs, then the directory. Only names that this program makes. */
static int remove_dir(const char *path, bool (*is_ours)(const char *name), struct eg_error *error)
{
	DIR *dir = opendir(path);
	char file[600], other[256] = "";
	struct dirent *e;
	int r = 0;

	if (!dir)
		return errno == ENOENT ? 0
				       : eg_error_set(error, -errno, "cannot read %s: %s", path,
						      strerror(errno));
	while ((e = readdir(dir))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (!is_ours(e->d_name)) {
			snprintf(other, sizeof(other), "%s", e->d_name);
			continue;
		}
		snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
		if (unlink(file) && errno != ENOENT && !r)
			r = eg_error_set(error, -errno, "cannot remove %s: %s", file,
					 strerror(errno));
	}
	closedir(dir);
	if (r || !rmdir(path) || errno == ENOENT)
		return r;
	if (*other)
		return eg_error_set(error, -errno,
				    "cannot remove the directory %s: %s in it is not Egret's", path,
				    other);
	return eg_error_set(error, -errno, "cannot remove the directory %s: %s", path,
			    strerror(errno));
}

static bool is_link(const char *name)
{
	struct eg_pin_name pin;

	return eg_pin_name_parse(name, &pin);
}

static bool is_program(const char *name)
{
	for (int i = 0; i < EG_PROGRAM_COUNT; i++)
		if (!strcmp(name, eg_program_table[i].name))
			return true;
	return false;
}

static bool is_map(const char *name)
{
	for (int i = 0; i < EG_MAP_COUNT; i++)
		if (!strcmp(name, eg_map_table[i].name))
			return true;
	return false;
}

/* Of several errors the first is told: that in `*result` and `error`; `next` comes after it. */
static void keep_first(int *result, struct eg_error *error, int r, const struct eg_error *next)
{
	if (r && !*result) {
		*result = r;
		*error = *next;
	}
}

/* 1: there are pins; 0: there are none; -errno with a sentence: the directory is not ours. */
static int has_pins(const char *pin_dir, struct eg_error *error)
{
	struct statfs fs;

	if (statfs(pin_dir, &fs))
		return errno == ENOENT ? 0
				       : eg_error_set(error, -errno, "cannot look at %s: %s",
						      pin_dir, strerror(errno));
	if (fs.f_type != BPF_FS_MAGIC_NUMBER)
		return eg_error_set(error, -EINVAL,
				    "%s is not on a bpffs: nothing is removed there", pin_dir);
	return 1;
}

/* Each part is tried: what is strange in one place keeps nothing of ours in another. */
static int remove_pins(const char *pin_dir, struct eg_error *error)
{
	struct eg_error next;
	char path[300];
	int result;

	result = detach_all(pin_dir, true, error);
	keep_first(&result, error, eg_host_pods_uninstall(pin_dir, &next), &next);
	snprintf(path, sizeof(path), "%s/links", pin_dir);
	keep_first(&result, error, remove_dir(path, is_link, &next), &next);
	snprintf(path, sizeof(path), "%s/programs", pin_dir);
	keep_first(&result, error, remove_dir(path, is_program, &next), &next);
	keep_first(&result, error, remove_dir(pin_dir, is_map, &next), &next);
	/* /sys/fs/bpf/egret itself, when nothing else is in it. */
	if (!result && !strcmp(pin_dir, EG_PIN_DIR) && rmdir(EG_PIN_ROOT) && errno != ENOENT &&
	    errno != ENOTEMPTY)
		result = eg_error_set(error, -errno, "cannot remove %s: %s", EG_PIN_ROOT,
				      strerror(errno));
	return result;
}

/* What the pinned config tells. false: there is none, or it is of another build. */
static bool pinned_config(const char *pin_dir, struct eg_config *c)
{
	struct bpf_map_info info = {0};
	uint32_t n = sizeof(info), zero = 0;
	EG_CLEANUP_FD int fd = -1;
	char path[300];

	snprintf(path, sizeof(path), "%s/config", pin_dir);
	fd = bpf_obj_get(path);
	return fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &n) && info.value_size == sizeof(*c) &&
	       !bpf_map_lookup_elem(fd, &zero, c);
}

struct uninstall {
	const struct eg_datapath_options *o;
	uint32_t agents_inode; /* of the namespace that the agent was in; 0: none is known */
};

/*
 * In the namespace that egretd ran in. Each part is tried, and the first error is told. Programs
 * first, then where they lead to, and last the pins, which alone tell an uninstall that comes after
 * an interrupted one where it has to look.
 */
static int remove_all(void *context, struct eg_error *error)
{
	const struct uninstall *u = context;
	const struct eg_datapath_options *o = u->o;
	const struct eg_namespace_pair pair = {o->host_link, o->agent_link};
	int pins = has_pins(o->pin_dir, error), result = EG_MIN(pins, 0);
	struct eg_error next;

	if (pins > 0)
		result = detach_all(o->pin_dir, false, error);
	/* Both modes: an earlier start may have had the other. */
	keep_first(&result, error, eg_namespace_remove(o->namespace_path, &pair, &next), &next);
	/* That of a start with another --agent-namespace. */
	keep_first(&result, error,
		   eg_namespace_remove_pinned(u->agents_inode, o->namespace_path, &pair, &next),
		   &next);
	keep_first(&result, error, eg_mark_remove(o, &next), &next);
	if (pins > 0)
		keep_first(&result, error, remove_pins(o->pin_dir, &next), &next);
	return result;
}

int eg_datapath_uninstall(const struct eg_datapath_options *options, struct eg_error *error)
{
	struct eg_datapath_options o = *options;
	struct uninstall u = {.o = &o};
	EG_CLEANUP_FD int lock = -1;
	EG_CLEANUP_FD int home = -1;
	struct eg_config config;
	struct eg_error ignored;
	int r;

	if (!error)
		error = &ignored;
	eg_options_defaults(&o);
	lock = open(o.pin_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB))
		return eg_error_set(error, -EBUSY,
				    "another egretd uses the pin directory %s; stop it first",
				    o.pin_dir);
	if (pinned_config(o.pin_dir, &config)) {
		if (config.mode == EG_MODE_NETNS)
			u.agents_inode = eg_home_pinned_inode(o.pin_dir);
		r = eg_home_find(&o, config.mode, &home, error);
		if (r)
			return r;
	}
	return home < 0 ? remove_all(&u, error) : eg_namespace_call(home, remove_all, &u, error);
}
