/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/memory_room.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

/* One of the two hierarchies that may have the memory controller (proc(5), cgroups(7)). */
static const struct hierarchy {
	const char *type, *controller, *file; /* controller NULL: version 2, where none is named */
} hierarchies[] = {
	{"cgroup2", NULL, "memory.max"},
	{"cgroup", "memory", "memory.limit_in_bytes"},
};

static bool has_word(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = list; (p = strstr(p, word)); p += n)
		if ((p == list || p[-1] == ',') && (!p[n] || p[n] == ','))
			return true;
	return false;
}

/* A line of mountinfo: which part of the hierarchy (`root`) is mounted where (`at`). */
static bool read_mount(const struct hierarchy *h, const char *line, char *root, char *at)
{
	char type[64], options[1024];
	const char *dash = strstr(line, " - ");

	return dash && sscanf(dash + 3, "%63s %*s %1023s", type, options) == 2 &&
	       !strcmp(type, h->type) && (!h->controller || has_word(options, h->controller)) &&
	       sscanf(line, "%*s %*s %*s %4095s %4095s", root, at) == 2;
}

/* A line of cgroup, "ID:CONTROLLERS:PATH": the path, or NULL. */
static const char *read_own(const struct hierarchy *h, char *line)
{
	char *controllers = strchr(line, ':'), *path;

	path = controllers ? strchr(controllers + 1, ':') : NULL;
	if (!path)
		return NULL;
	*path = '\0';
	if (h->controller ? !has_word(controllers + 1, h->controller) : controllers[1] != '\0')
		return NULL;
	return path + 1;
}

static bool find_mount(const struct hierarchy *h, const char *proc, char *root, char *at)
{
	char name[PATH_MAX], line[3 * PATH_MAX];
	bool found = false;
	FILE *f;

	snprintf(name, sizeof(name), "%s/mountinfo", proc);
	f = fopen(name, "re");
	while (f && !found && fgets(line, sizeof(line), f))
		found = read_mount(h, line, root, at);
	if (f)
		fclose(f);
	return found;
}

/* The process's own cgroup, as a path below the mount; "": the mount itself, which is what a
 * container sees of its own. */
static void find_own(const struct hierarchy *h, const char *proc, const char *root, char *own)
{
	char name[PATH_MAX], line[PATH_MAX + 256];
	size_t skip = strcmp(root, "/") ? strlen(root) : 0;
	const char *path = NULL;
	FILE *f;

	own[0] = '\0';
	snprintf(name, sizeof(name), "%s/cgroup", proc);
	f = fopen(name, "re");
	while (f && !path && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		path = read_own(h, line);
	}
	if (path && !strncmp(path, root, skip) && path[skip] == '/' && path[skip + 1] &&
	    !strstr(path, "/.."))
		snprintf(own, PATH_MAX, "%s", path + skip);
	if (f)
		fclose(f);
}

/* UINT64_MAX: no limit there. */
static uint64_t limit_at(const char *directory, const char *file)
{
	char name[2 * PATH_MAX + 64], text[32] = "", *end;
	FILE *f;
	uint64_t n;

	snprintf(name, sizeof(name), "%s/%s", directory, file);
	f = fopen(name, "re");
	if (!f)
		return UINT64_MAX;
	if (!fgets(text, sizeof(text), f))
		text[0] = '\0';
	fclose(f);
	n = strtoull(text, &end, 10);
	return end == text ? UINT64_MAX : n; /* "max" */
}

static uint64_t limit_of(const struct hierarchy *h, const char *proc)
{
	char root[PATH_MAX], at[PATH_MAX], own[PATH_MAX], directory[2 * PATH_MAX];
	uint64_t least;

	if (!find_mount(h, proc, root, at))
		return UINT64_MAX;
	find_own(h, proc, root, own);
	snprintf(directory, sizeof(directory), "%s%s", at, own);
	least = limit_at(directory, h->file);
	while (strlen(directory) > strlen(at)) {
		*strrchr(directory, '/') = '\0';
		least = EG_MIN(least, limit_at(directory, h->file));
	}
	return least;
}

uint64_t eg_memory_room(const char *proc)
{
	uint64_t least = UINT64_MAX;
	struct sysinfo machine;

	if (!sysinfo(&machine))
		least = (uint64_t)machine.totalram * machine.mem_unit;
	for (size_t i = 0; i < EG_ARRAY_SIZE(hierarchies); i++)
		least = EG_MIN(least, limit_of(&hierarchies[i], proc));
	return least == UINT64_MAX ? 0 : least;
}

void eg_memory_room_limit(struct eg_limits *l, uint64_t bytes)
{
	if (!bytes)
		return;
	l->descriptors = EG_MIN(l->descriptors, (size_t)(bytes / 2 / EG_ROOM_DESCRIPTOR));
	l->pod_descriptors = EG_MIN(l->pod_descriptors, l->descriptors / 4);
	l->node_bytes = EG_MIN(l->node_bytes, (size_t)(bytes / 4));
	l->pod_bytes = EG_MIN(l->pod_bytes, l->node_bytes / 2);
}
