/* SPDX-License-Identifier: Apache-2.0 */
#include "egretctl/policy_files.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "base/files.h"

/* What somebody named is read whatever it is: also the pipe of `check <(kubectl get ...)`. */
static int read_file(struct policy_files *f, const char *path, struct eg_error *e)
{
	struct eg_str text;
	int r = eg_read_file(path, EG_POLICY_MAX_FILE_BYTES, &text, e);

	if (r)
		return r;
	f->text = (char *)(uintptr_t)text.p;
	f->files = eg_arena_zalloc(&f->arena, sizeof(*f->files));
	if (!f->files)
		return eg_error_set(e, -ENOMEM, "%s: out of memory", path);
	f->files[0] = (struct eg_policy_file){eg_str_from(path), text};
	f->count = 1;
	return 0;
}

static int read_directory(struct policy_files *f, const char *path, struct eg_error *e)
{
	static const struct eg_dir_limits limits = {EG_POLICY_MAX_FILES, EG_POLICY_MAX_FILE_BYTES,
						    EG_POLICY_MAX_TOTAL_BYTES};
	struct eg_dir_file *files;
	size_t count;
	int r = eg_dir_read(path, &limits, &f->arena, &files, &count, e);

	if (r)
		return r;
	f->files = eg_arena_zalloc(&f->arena, (count + 1) * sizeof(*f->files));
	if (!f->files)
		return eg_error_set(e, -ENOMEM, "%s: out of memory", path);
	for (; f->count < count; f->count++)
		f->files[f->count] =
			(struct eg_policy_file){files[f->count].name, files[f->count].text};
	return 0;
}

int policy_files_read(const char *path, struct policy_files *out, struct eg_error *e)
{
	struct stat st;

	*out = (struct policy_files){0};
	eg_arena_init(&out->arena, 0);
	if (strcmp(path, "-") && stat(path, &st) < 0)
		return eg_error_set(e, -errno, "%s: %s", path, strerror(errno));
	if (strcmp(path, "-") && S_ISDIR(st.st_mode))
		return read_directory(out, path, e);
	return read_file(out, path, e);
}

void policy_files_fini(struct policy_files *f)
{
	free(f->text);
	eg_arena_fini(&f->arena);
	*f = (struct policy_files){0};
}
