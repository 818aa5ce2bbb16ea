/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/sources.h"

#include <sys/stat.h>

int eg_source_read(const char *dir, struct eg_source *out, struct eg_error *e)
{
	static const struct eg_dir_limits limits = {EG_POLICY_MAX_FILES, EG_POLICY_MAX_FILE_BYTES,
						    EG_POLICY_MAX_TOTAL_BYTES};
	struct eg_source s = {.count = 0};
	struct eg_dir_file *files;
	size_t count;
	int r;

	eg_arena_init(&s.arena, 0);
	r = eg_dir_read(dir, &limits, &s.arena, &files, &count, e);
	if (!r) {
		s.files = eg_arena_zalloc(&s.arena, (count + 1) * sizeof(*s.files));
		if (!s.files)
			r = eg_error_set(e, -ENOMEM, "%s: out of memory", dir);
	}
	if (r) {
		eg_arena_fini(&s.arena);
		return r;
	}
	for (; s.count < count; s.count++)
		s.files[s.count] =
			(struct eg_policy_file){files[s.count].name, files[s.count].text};
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
