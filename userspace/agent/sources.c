/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/sources.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int eg_file_read(int dir_fd, const char *path, size_t max_bytes, char **bytes, size_t *n,
		 struct eg_error *e)
{
	struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
			       .resolve = dir_fd == AT_FDCWD ? 0 : RESOLVE_BENEATH};
	EG_CLEANUP_FD int fd = (int)syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
	struct stat st;
	size_t done = 0;
	char *p;

	if (fd < 0)
		return eg_error_set(e, -errno, "%s: %s", path, strerror(errno));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return eg_error_set(e, -EINVAL, "%s: not a regular file", path);
	if ((uint64_t)st.st_size > max_bytes)
		return eg_error_set(e, -EFBIG, "%s: larger than %zu bytes", path, max_bytes);
	p = malloc((size_t)st.st_size + 1);
	if (!p)
		return eg_error_set(e, -ENOMEM, "%s: out of memory", path);
	while (done < (size_t)st.st_size) {
		ssize_t got = read(fd, p + done, (size_t)st.st_size - done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			int code = -errno;

			free(p);
			return eg_error_set(e, code, "%s: %s", path, strerror(-code));
		}
		if (!got)
			break; /* it became shorter meanwhile; another event will follow */
		done += (size_t)got;
	}
	p[done] = '\0';
	*bytes = p;
	*n = done;
	return 0;
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

static int read_one(struct eg_source *s, int dir, const char *name, size_t *total,
		    struct eg_error *e)
{
	struct eg_policy_file *f = &s->files[s->count];
	EG_CLEANUP_FREE char *bytes = NULL;
	char *copy, *text;
	size_t n = 0;
	int r = eg_file_read(dir, name, EG_SOURCE_FILE_BYTES, &bytes, &n, e);

	if (r == -ENOENT)
		return 0; /* removed since the directory was listed */
	if (r)
		return r;
	*total += n;
	if (*total > EG_SOURCE_BYTES)
		return eg_error_set(e, -EFBIG, "%s: the files together are larger than %zu bytes",
				    name, EG_SOURCE_BYTES);
	copy = eg_arena_dup(&s->arena, eg_str_from(name));
	text = eg_arena_dup(&s->arena, (struct eg_str){bytes, n});
	if (!copy || !text)
		return eg_error_set(e, -ENOMEM, "%s: out of memory", name);
	f->name = eg_str_from(copy);
	f->text = (struct eg_str){text, n};
	s->count++;
	return 0;
}

int eg_source_read(const char *dir, struct eg_source *out, struct eg_error *e)
{
	EG_CLEANUP_FD int top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	EG_CLEANUP_FD int data = -1;
	struct eg_source s = {.count = 0};
	struct dirent **names = NULL;
	size_t total = 0;
	int n, from, r = 0;

	if (top < 0)
		return eg_error_set(e, -errno, "%s: %s", dir, strerror(errno));
	/* One generation: the symlink may be swapped while we read. */
	data = openat(top, "..data", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	from = data >= 0 ? data : top;
	n = scandirat(from, ".", &names, is_json, by_name);
	if (n < 0)
		return eg_error_set(e, -errno, "%s: %s", dir, strerror(errno));
	eg_arena_init(&s.arena, 0);
	if ((size_t)n > EG_SOURCE_FILES)
		r = eg_error_set(e, -EFBIG, "%d files; at most %u are read", n, EG_SOURCE_FILES);
	if (!r) {
		s.files = eg_arena_zalloc(&s.arena, ((size_t)n + 1) * sizeof(*s.files));
		if (!s.files)
			r = eg_error_set(e, -ENOMEM, "out of memory");
	}
	for (int i = 0; i < n; i++) {
		if (!r)
			r = read_one(&s, from, names[i]->d_name, &total, e);
		free(names[i]);
	}
	free(names);
	if (r) {
		eg_arena_fini(&s.arena);
		return eg_error_prefix(e, r, "%s", dir);
	}
	*out = s;
	return 0;
}

bool eg_source_equal(const struct eg_source *a, const struct eg_source *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (!eg_str_eq(a->files[i].name, b->files[i].name) ||
		    !eg_str_eq(a->files[i].text, b->files[i].text))
			return false;
	return true;
}

void eg_source_fini(struct eg_source *s)
{
	eg_arena_fini(&s->arena);
	s->files = NULL;
	s->count = 0;
}

void eg_file_mark(int dir_fd, const char *path, struct eg_file_mark *out)
{
	struct stat st;

	*out = (struct eg_file_mark){.inode = 0};
	if (fstatat(dir_fd, path, &st, 0) < 0)
		return;
	out->device = st.st_dev;
	out->inode = st.st_ino;
	out->size = (uint64_t)st.st_size;
	out->modified = st.st_mtim;
	out->changed = st.st_ctim;
	out->mode = st.st_mode;
}

bool eg_file_mark_equal(const struct eg_file_mark *a, const struct eg_file_mark *b)
{
	return a->device == b->device && a->inode == b->inode && a->size == b->size &&
	       a->modified.tv_sec == b->modified.tv_sec &&
	       a->modified.tv_nsec == b->modified.tv_nsec &&
	       a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec &&
	       a->mode == b->mode;
}
