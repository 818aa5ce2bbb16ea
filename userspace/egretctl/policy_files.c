/* SPDX-License-Identifier: Apache-2.0 */
#include "egretctl/policy_files.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define FILE_MAX_BYTES (8u << 20)
#define FILES_MAX      256u

static int add_file(struct policy_files *f, const char *path, const char *name, struct eg_error *e)
{
	struct eg_policy_file *grown;
	struct eg_str text;
	char *copy;
	int r;

	if (f->count >= FILES_MAX)
		return eg_error_set(e, -E2BIG, "%s: more than %u files", path, FILES_MAX);
	r = eg_read_file(path, FILE_MAX_BYTES, &text, e);
	if (r)
		return r;
	grown = realloc(f->files, (f->count + 1) * sizeof(*grown));
	if (grown)
		f->files = grown;
	copy = strdup(name);
	if (!grown || !copy) {
		free(copy);
		free((char *)(uintptr_t)text.p);
		return eg_error_set(e, -ENOMEM, "%s: out of memory", path);
	}
	f->files[f->count++] = (struct eg_policy_file){eg_str_from(copy), text};
	return 0;
}

static int add_directory(struct policy_files *f, const char *path, struct eg_error *e)
{
	DIR *d = opendir(path);
	struct dirent *entry;
	char full[4096];
	int r = 0;

	if (!d)
		return eg_error_set(e, -errno, "%s: %s", path, strerror(errno));
	while (!r && (entry = readdir(d))) {
		if (entry->d_name[0] == '.' ||
		    !eg_str_ends(eg_str_from(entry->d_name), EG_STR(".json")))
			continue;
		if ((size_t)snprintf(full, sizeof(full), "%s/%s", path, entry->d_name) >=
		    sizeof(full))
			r = eg_error_set(e, -ENAMETOOLONG, "%s/%s: path too long", path,
					 entry->d_name);
		else
			r = add_file(f, full, entry->d_name, e);
	}
	closedir(d);
	return r;
}

int policy_files_read(const char *path, struct policy_files *out, struct eg_error *e)
{
	struct stat st;

	*out = (struct policy_files){0};
	if (strcmp(path, "-") && stat(path, &st) < 0)
		return eg_error_set(e, -errno, "%s: %s", path, strerror(errno));
	if (strcmp(path, "-") && S_ISDIR(st.st_mode))
		return add_directory(out, path, e);
	return add_file(out, path, path, e);
}

void policy_files_fini(struct policy_files *f)
{
	for (size_t i = 0; i < f->count; i++) {
		free((char *)(uintptr_t)f->files[i].name.p);
		free((char *)(uintptr_t)f->files[i].text.p);
	}
	free(f->files);
	*f = (struct policy_files){0};
}
