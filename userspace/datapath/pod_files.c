/* SPDX-License-Identifier: Apache-2.0 */
#include "datapath/pod_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/files.h"

static int watch(struct eg_pod_files *f, const char *path)
{
	const uint32_t mask = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE |
			      IN_DELETE_SELF | IN_MOVE_SELF | IN_ATTRIB | IN_ONLYDIR;
	int former = f->watched, r;

	f->watched = inotify_add_watch(f->notify, path, mask);
	r = f->watched < 0 ? -errno : 0;
	if (former >= 0 && former != f->watched) /* another directory; the former may be gone */
		(void)inotify_rm_watch(f->notify, former);
	return r;
}

/* Of a directory that is not there the nearest one above it: what is made in that is told. */
static int watch_above(struct eg_pod_files *f)
{
	EG_CLEANUP_FREE char *path = strdup(f->path);

	/* Looked for first: a watch that is taken away is an event, too. */
	while (path && access(path, F_OK)) {
		char *slash = strrchr(path, '/');

		if (!slash)
			return watch(f, ".");
		if (slash == path)
			return watch(f, "/");
		*slash = '\0';
	}
	return path ? watch(f, path) : -ENOMEM;
}

static int open_dir(const struct eg_pod_files *f)
{
	return open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int eg_pod_files_open(struct eg_pod_files *f, const char *what, const char *path,
		      bool may_be_absent, struct eg_error *error)
{
	int r;

	*f = (struct eg_pod_files){.what = what, .dir = -1, .notify = -1, .watched = -1};
	f->path = strdup(path);
	if (!f->path)
		return eg_error_set(error, -ENOMEM, "out of memory");
	f->dir = open_dir(f);
	f->absent = f->dir < 0 && errno == ENOENT && may_be_absent;
	if (f->dir < 0 && !f->absent) {
		r = eg_error_set(error, -errno, "cannot open %s %s: %s", what, path,
				 strerror(errno));
	} else {
		f->notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
		r = f->notify < 0 ? -errno : f->absent ? watch_above(f) : watch(f, f->path);
		if (r)
			eg_error_set(error, r, "cannot watch %s %s: %s", what, path,
				     eg_watch_failure(-r));
	}
	if (r)
		eg_pod_files_close(f);
	return r;
}

void eg_pod_files_close(struct eg_pod_files *f)
{
	eg_fd_close(&f->dir);
	eg_fd_close(&f->notify);
	free(f->path);
	f->path = NULL;
}

bool eg_pod_files_changed(struct eg_pod_files *f)
{
	char events[4096];
	bool any = false;

	while (read(f->notify, events, sizeof(events)) > 0)
		any = true;
	return any;
}

/* Another directory may have been put in its place, by a rename or by a link: names and files have
 * to be of one. What can't be watched is still read every 10 s. */
static int follow(struct eg_pod_files *f, struct eg_error *error)
{
	int fd = open_dir(f);

	if (fd < 0 && errno == ENOENT && f->absent) {
		(void)watch_above(f);
		fd = open_dir(f); /* made before that watch was there */
		if (fd < 0 && errno == ENOENT)
			return 0;
	}
	if (fd < 0)
		return errno == ENOENT
			       ? eg_error_set(error, -ENOENT, "%s %s was removed", f->what, f->path)
			       : eg_error_set(error, -errno, "cannot read %s %s: %s", f->what,
					      f->path, strerror(errno));
	eg_fd_close(&f->dir);
	f->dir = fd;
	f->absent = false;
	(void)watch(f, f->path);
	return 0;
}

int eg_pod_files_names(struct eg_pod_files *f, int (*wanted)(const struct dirent *),
		       struct dirent ***names, size_t *count, struct eg_error *error)
{
	struct dirent **found = NULL;
	int n = 0, r = follow(f, error);

	if (r)
		return r;
	if (!f->absent)
		n = scandirat(f->dir, ".", &found, wanted, alphasort);
	if (n < 0)
		return eg_error_set(error, -errno, "cannot read %s %s: %s", f->what, f->path,
				    strerror(errno));
	if (n > EG_POD_FILES_MAX) {
		eg_pod_files_free(found, (size_t)n);
		return eg_error_set(error, -E2BIG, "%s %s has %d files, at most %d are possible",
				    f->what, f->path, n, EG_POD_FILES_MAX);
	}
	*names = found;
	*count = (size_t)n;
	return 0;
}

void eg_pod_files_free(struct dirent **names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(names[i]);
	free(names);
}
