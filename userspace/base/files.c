/* SPDX-License-Identifier: Apache-2.0 */
#include "base/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define GENERATIONS 8 /* of a volume that are swapped while they are read; then it is an error */

static const char *kind_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "a directory";
	case S_IFIFO:
		return "a named pipe";
	case S_IFSOCK:
		return "a socket";
	default:
		return "a device";
	}
}

static int open_failed(int dir_fd, const char *path, int code, struct eg_error *e)
{
	struct stat st;

	switch (code) {
	case -EXDEV: /* what openat2 says of a path that leaves dir_fd */
		return eg_error_set(e, code,
				    "%s: leads out of the directory; expected a file in it", path);
	case -ENXIO:
		return eg_error_set(e, -EINVAL, "%s: a socket or a device; expected a regular file",
				    path);
	case -ENOENT:
		if (!fstatat(dir_fd, path, &st, AT_SYMLINK_NOFOLLOW))
			return eg_error_set(e, -EINVAL,
					    "%s: a link to nothing; expected a regular file", path);
		break;
	}
	return eg_error_set(e, code, "%s: %s", path, strerror(-code));
}

static int read_whole(int fd, const char *path, size_t size, char *p, size_t *n, struct eg_error *e)
{
	size_t done = 0;

	while (done < size) {
		ssize_t got = read(fd, p + done, size - done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return eg_error_set(e, -errno, "%s: %s", path, strerror(errno));
		if (!got)
			break; /* it became shorter meanwhile; another event will follow */
		done += (size_t)got;
	}
	p[done] = '\0';
	*n = done;
	return 0;
}

int eg_file_read(int dir_fd, const char *path, size_t max_bytes, char **bytes, size_t *n,
		 struct eg_error *e)
{
	struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
			       .resolve = dir_fd == AT_FDCWD ? 0 : RESOLVE_BENEATH};
	EG_CLEANUP_FD int fd = (int)syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
	struct stat st;
	char *p;
	int r;

	if (fd < 0)
		return open_failed(dir_fd, path, -errno, e);
	if (fstat(fd, &st) < 0)
		return eg_error_set(e, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return eg_error_set(e, -EINVAL, "%s: %s; expected a regular file", path,
				    kind_of(st.st_mode));
	if ((uint64_t)st.st_size > max_bytes)
		return eg_error_set(e, -EFBIG, "%s: has %jd bytes; expected at most %zu", path,
				    (intmax_t)st.st_size, max_bytes);
	p = malloc((size_t)st.st_size + 1);
	if (!p)
		return eg_error_set(e, -ENOMEM, "%s: out of memory", path);
	r = read_whole(fd, path, (size_t)st.st_size, p, n, e);
	if (r)
		free(p);
	else
		*bytes = p;
	return r;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_json(const struct dirent *d)
{
	struct eg_str name = eg_str_from(d->d_name);

	return d->d_name[0] != '.' && name.n > 5 && eg_str_ends(name, EG_STR(".json"));
}

struct reading {
	int dir;
	const struct eg_dir_limits *limits;
	struct eg_arena *arena;
	struct eg_dir_file *files;
	size_t count, bytes;
	bool vanished; /* a file, between the listing and its turn */
	struct eg_error *error;
};

static int read_one(struct reading *r, const char *name)
{
	EG_CLEANUP_FREE char *bytes = NULL;
	char *copy, *text;
	size_t n = 0;
	int code = eg_file_read(r->dir, name, r->limits->file_bytes, &bytes, &n, r->error);

	if (code == -ENOENT) { /* removed since the directory was listed */
		r->vanished = true;
		return 0;
	}
	if (code)
		return code;
	r->bytes += n;
	if (r->bytes > r->limits->bytes)
		return eg_error_set(r->error, -EFBIG,
				    "%s: with it the files have more than %zu bytes together; "
				    "expected fewer",
				    name, r->limits->bytes);
	copy = eg_arena_dup(r->arena, eg_str_from(name));
	text = eg_arena_dup(r->arena, (struct eg_str){bytes, n});
	if (!copy || !text)
		return eg_error_set(r->error, -ENOMEM, "%s: out of memory", name);
	r->files[r->count++] = (struct eg_dir_file){eg_str_from(copy), {text, n}};
	return 0;
}

static int read_all(struct reading *r, struct dirent **names, size_t count)
{
	int code = 0;

	if (count > r->limits->files)
		return eg_error_set(r->error, -EFBIG, "has %zu files *.json; expected at most %zu",
				    count, r->limits->files);
	r->files = eg_arena_zalloc(r->arena, (count + 1) * sizeof(*r->files));
	if (!r->files)
		return eg_error_set(r->error, -ENOMEM, "out of memory");
	for (size_t i = 0; i < count && !code; i++)
		code = read_one(r, names[i]->d_name);
	return code;
}

static int read_listed(struct reading *r)
{
	struct dirent **names = NULL;
	int n = scandirat(r->dir, ".", &names, is_json, by_name), code;

	if (n < 0)
		return eg_error_set(r->error, -errno, "%s", strerror(errno));
	code = read_all(r, names, (size_t)n);
	for (int i = 0; i < n; i++)
		free(names[i]);
	free(names);
	return code;
}

static bool is_current(int top, int data)
{
	struct stat now, then;

	return !fstatat(top, "..data", &now, 0) && !fstat(data, &then) &&
	       now.st_dev == then.st_dev && now.st_ino == then.st_ino;
}

/* 1: what was read of a volume may be a part of a generation, which is removed file by file when
 * the next one has taken its place. */
static int read_once(int top, struct reading *r)
{
	EG_CLEANUP_FD int data = openat(top, "..data", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat link;
	int code;

	/* The generation that the link names went between the two steps of following it. */
	if (data < 0 && !fstatat(top, "..data", &link, AT_SYMLINK_NOFOLLOW))
		return 1;
	r->dir = data >= 0 ? data : top;
	code = read_listed(r);
	if (data >= 0 && (r->vanished || !is_current(top, data)))
		return 1;
	return code;
}

int eg_dir_read(const char *dir, const struct eg_dir_limits *limits, struct eg_arena *a,
		struct eg_dir_file **files, size_t *count, struct eg_error *e)
{
	EG_CLEANUP_FD int top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct reading r;
	int code = 1;

	if (top < 0)
		return eg_error_set(e, -errno, "%s: %s", dir, strerror(errno));
	for (int i = 0; i < GENERATIONS && code > 0; i++) {
		r = (struct reading){.limits = limits, .arena = a, .error = e};
		code = read_once(top, &r);
	}
	if (code > 0)
		return eg_error_set(
			e, -EAGAIN,
			"%s: ..data was swapped, emptied or led nowhere each of the %d times "
			"that it was read; expected a directory that stays for a moment",
			dir, GENERATIONS);
	if (code)
		return eg_error_prefix(e, code, "%s", dir);
	*files = r.files;
	*count = r.count;
	return 0;
}

const char *eg_watch_failure(int error)
{
	switch (error) {
	case EMFILE:
		return "there are too many inotify instances; raise the sysctl "
		       "fs.inotify.max_user_instances, which all processes of root share";
	case ENOSPC:
		return "there are too many inotify watches; raise the sysctl "
		       "fs.inotify.max_user_watches, which all processes of root share";
	default:
		return strerror(error);
	}
}
