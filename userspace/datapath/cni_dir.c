/* SPDX-License-Identifier: Apache-2.0 */
#include "datapath/cni_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/files.h"
#include "datapath/cni_file.h"
#include "datapath/netlink.h"
#include "datapath/pod_files.h"

#define FILE_BYTES                                                                                \
	(2u << 20)	       /* a pod's annotations are in it, escaped: 256 KiB of them at most \
				*/
#define ALL_BYTES  (64u << 20) /* of all files */
#define SETTLED_NS 2000000000  /* a file that was written later may be written again unseen */

/* One file as it was read last. */
struct known {
	char *name;
	struct stat mark;
	bool settled; /* as long as the mark is the same it holds the same */
	int r;	      /* of eg_cni_parse(); or -EINVAL: it can't be read */
	struct eg_cni_file file;
	struct eg_error error;
	struct eg_arena memory;
};

struct eg_cni_dir {
	struct eg_pod_files files;
	struct nl_sock *netlink; /* opened when a link is looked for */
	struct known **known;	 /* by name */
	size_t count;
};

static void forget(struct known *k)
{
	if (!k)
		return;
	eg_arena_fini(&k->memory);
	free(k->name);
	free(k);
}

static void forget_all(struct known **known, size_t count)
{
	for (size_t i = 0; i < count; i++)
		forget(known[i]);
	free(known);
}

int eg_cni_dir_open(const char *path, struct eg_cni_dir **out, struct eg_error *error)
{
	struct eg_cni_dir *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return eg_error_set(error, -ENOMEM, "out of memory");
	r = eg_pod_files_open(&d->files, "the CNI results", path, true, error);
	if (r) {
		free(d);
		return r;
	}
	*out = d;
	return 0;
}

void eg_cni_dir_close(struct eg_cni_dir *d)
{
	if (!d)
		return;
	eg_pod_files_close(&d->files);
	eg_netlink_close(d->netlink);
	forget_all(d->known, d->count);
	free(d);
}

int eg_cni_dir_fd(const struct eg_cni_dir *d)
{
	return d->files.notify;
}

bool eg_cni_dir_changed(struct eg_cni_dir *d)
{
	return eg_pod_files_changed(&d->files);
}

/* ---- files, those that changed ---- */

static int is_shown(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

static bool same_mark(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static bool is_settled(const struct stat *mark)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (now.tv_sec - mark->st_ctim.tv_sec) * 1000000000 +
		       (now.tv_nsec - mark->st_ctim.tv_nsec) >
	       SETTLED_NS;
}

/* Of a file that is none, or that is too large, it is known what it is: nothing. */
static bool is_final(int r)
{
	return r == -EINVAL || r == -EFBIG || r == -EXDEV || r == -ELOOP;
}

static int read_file(struct eg_cni_dir *d, struct known *k, struct eg_error *error)
{
	EG_CLEANUP_FREE char *text = NULL;
	size_t n = 0;
	int r;

	k->settled = is_settled(&k->mark);
	r = eg_file_read(d->files.dir, k->name, FILE_BYTES, &text, &n, &k->error);
	if (!r)
		k->r = eg_cni_parse(k->name, text, n, &k->memory, &k->file, &k->error);
	else if (is_final(r))
		k->r = -EINVAL;
	else
		return eg_error_set(error, r, "%s", k->error.text);
	return k->r == -ENOMEM ? eg_error_set(error, -ENOMEM, "%s", k->error.text) : 0;
}

/* 0 and *out; -ENOENT: gone since it was listed. */
static int take_file(struct eg_cni_dir *d, const char *name, struct known **former,
		     struct known **out, struct eg_error *error)
{
	struct stat mark;
	struct known *k;
	int r;

	if (fstatat(d->files.dir, name, &mark, AT_SYMLINK_NOFOLLOW))
		return eg_error_set(error, -errno, "%s: %s", name, strerror(errno));
	if (former && (*former)->settled && same_mark(&(*former)->mark, &mark)) {
		*out = *former;
		*former = NULL;
		return 0;
	}
	k = calloc(1, sizeof(*k));
	if (k) {
		eg_arena_init(&k->memory, 0);
		k->mark = mark;
		k->name = strdup(name);
	}
	r = k && k->name ? read_file(d, k, error)
			 : eg_error_set(error, -ENOMEM, "%s: out of memory", name);
	if (r)
		forget(k);
	else
		*out = k;
	return r;
}

/* The former one of that name; both are in order, so it lies behind the last that was found. */
static struct known **former_of(struct eg_cni_dir *d, size_t *at, const char *name)
{
	while (*at < d->count && (!d->known[*at] || strcmp(d->known[*at]->name, name) < 0))
		++*at;
	return *at < d->count && !strcmp(d->known[*at]->name, name) ? &d->known[*at] : NULL;
}

static int read_files(struct eg_cni_dir *d, struct dirent **names, size_t count,
		      struct eg_error *error)
{
	struct known **now = calloc(count + 1, sizeof(struct known *));
	size_t n = 0, at = 0;
	uint64_t bytes = 0;
	int r = now ? 0 : eg_error_set(error, -ENOMEM, "out of memory");

	for (size_t i = 0; !r && i < count; i++) {
		struct known **former = former_of(d, &at, names[i]->d_name);

		r = take_file(d, names[i]->d_name, former, &now[n], error);
		if (r == -ENOENT) {
			r = 0;
			continue;
		}
		if (r)
			break;
		bytes += S_ISREG(now[n]->mark.st_mode) ? (uint64_t)now[n]->mark.st_size : 0;
		n++;
		if (bytes > ALL_BYTES)
			r = eg_error_set(error, -E2BIG,
					 "the files of %s %s have more than %u bytes "
					 "together",
					 d->files.what, d->files.path, ALL_BYTES);
	}
	/* Whatever happened: what was read is known, and what was not is read next time. */
	forget_all(d->known, d->count);
	d->known = now;
	d->count = n;
	return r;
}

/* ---- where the pod is ---- */

enum place {
	PLACE_HERE,
	PLACE_GONE,   /* of a pod that is no more */
	PLACE_UNSEEN, /* it can't be looked at from here */
	PLACE_OTHER,  /* something else is there */
};

static bool is_own(const struct stat *st)
{
	struct stat own;

	return !stat("/proc/self/ns/net", &own) && own.st_dev == st->st_dev &&
	       own.st_ino == st->st_ino;
}

static enum place look_at(const char *path)
{
	EG_CLEANUP_FREE char *above = NULL;
	EG_CLEANUP_FD int fd = -1;
	struct statfs fs;
	struct stat st;

	if (statfs(path, &fs)) {
		if (errno != ENOENT)
			return PLACE_UNSEEN;
		above = strdup(path);
		if (!above)
			return PLACE_UNSEEN;
		*strrchr(above, '/') = '\0';
		return access(above, F_OK) ? PLACE_UNSEEN : PLACE_GONE;
	}
	if (fs.f_type != NSFS_MAGIC)
		return PLACE_OTHER;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return PLACE_UNSEEN;
	return ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNET && !is_own(&st) ? PLACE_HERE : PLACE_OTHER;
}

/* /var/run is a link to /run where there is one; in a container it may be nothing. */
static enum place find_sandbox(const char **path)
{
	enum place place = look_at(*path);

	if ((place == PLACE_GONE || place == PLACE_UNSEEN) && !strncmp(*path, "/var/run/", 9)) {
		enum place there = look_at(*path + 4);

		if (there == PLACE_HERE || place == PLACE_UNSEEN) {
			*path += 4;
			return there;
		}
	}
	return place;
}

/* The last of those outside of a sandbox that leads to another namespace: a bridge does not. */
static const char *find_link(struct eg_cni_dir *d, const struct eg_cni_file *f)
{
	struct eg_netlink_link l;

	if (!d->netlink)
		d->netlink = eg_netlink_open();
	for (size_t i = f->link_count; d->netlink && i > 0; i--)
		if (!eg_netlink_link_by_name(d->netlink, f->links[i - 1], &l) && l.peer_nsid >= 0 &&
		    l.peer_ifindex)
			return f->links[i - 1];
	return NULL;
}

/* ---- the list ---- */

struct listing {
	struct eg_cni_dir *d;
	struct eg_pod_list *list;
	int r;
};

static void pass_over(struct listing *l, bool doubtful, const char *file, const char *why)
{
	if (!l->list->passed_over++ || (doubtful && !l->list->doubtful))
		eg_error_set(&l->list->passed, 0, "%s%s%s", file, *file ? ": " : "", why);
	l->list->doubtful += doubtful;
}

static const char *keep(struct listing *l, const char *s)
{
	const char *copy = eg_arena_dup(l->list->memory, eg_str_from(s));

	if (!copy)
		l->r = -ENOMEM;
	return copy;
}

/* Where the pod of the file is; false when nowhere. PLACE_UNSEEN is not counted: another file of
 * the pod may know it. */
static bool find_place(struct listing *l, const struct known *k, struct eg_pod_entry *out,
		       enum place *found)
{
	const char *sandbox = k->file.sandbox, *link;
	enum place place = PLACE_UNSEEN;

	/* The number of a process may be another one's by now, and here it is perhaps no one's. */
	if (sandbox && strncmp(sandbox, "/proc/", 6) != 0)
		place = find_sandbox(&sandbox);
	*found = place;
	switch (place) {
	case PLACE_HERE:
		out->netns = keep(l, sandbox);
		return true;
	case PLACE_GONE:
		pass_over(l, false, k->name, "its network namespace is gone");
		return false;
	case PLACE_OTHER:
		pass_over(l, true, k->name,
			  "its sandbox is no network namespace of a pod's: in a container, is "
			  "/run/netns mounted with mountPropagation: HostToContainer?");
		return false;
	case PLACE_UNSEEN:
		break;
	}
	link = find_link(l->d, &k->file);
	if (link)
		out->interface = keep(l, link);
	return link != NULL;
}

/* The pod of that uid which a newer file described. */
static struct eg_pod_entry *find_pod(struct listing *l, const char *uid)
{
	for (size_t i = 0; i < l->list->count; i++)
		if (!strcmp(l->list->pods[i].identity.uid, uid))
			return &l->list->pods[i];
	return NULL;
}

static bool same(const char *a, const char *b)
{
	return a && b && !strcmp(a, b);
}

/* Another network of one pod. */
static void join(struct listing *l, const struct known *k, const struct eg_pod_entry *place,
		 struct eg_pod_entry *pod)
{
	if (strcmp(pod->identity.namespace_name, k->file.identity.namespace_name) != 0 ||
	    strcmp(pod->identity.name, k->file.identity.name) != 0) {
		pass_over(l, false, k->name, "a newer file has another pod's name for its uid");
		return;
	}
	if (place->netns && pod->netns && !same(place->netns, pod->netns)) {
		pass_over(l, false, k->name, "a newer file has another sandbox of its pod");
		return;
	}
	if (place->netns && !pod->netns) {
		pod->netns = place->netns;
		pod->interface = NULL;
	}
	for (size_t i = 0; i < k->file.address_count; i++)
		eg_cni_add_address(pod->addresses, &pod->address_count, &pod->addresses_more,
				   &k->file.addresses[i]);
	pod->addresses_more += k->file.addresses_more;
}

/* False: where its pod is can't be seen by it alone. */
static bool add_file(struct listing *l, const struct known *k)
{
	struct eg_pod_entry place = {.file = k->name}, *pod;
	enum place found;

	if (k->r) {
		pass_over(l, k->r != -ENODATA, "", k->error.text);
		return true;
	}
	if (!find_place(l, k, &place, &found) || l->r)
		return found != PLACE_UNSEEN;
	pod = find_pod(l, k->file.identity.uid);
	if (pod) {
		join(l, k, &place, pod);
		return true;
	}
	pod = &l->list->pods[l->list->count];
	*pod = place;
	pod->identity = k->file.identity;
	pod->identity.namespace_name = keep(l, k->file.identity.namespace_name);
	pod->identity.name = keep(l, k->file.identity.name);
	pod->identity.uid = keep(l, k->file.identity.uid);
	pod->file = keep(l, k->name);
	memcpy(pod->addresses, k->file.addresses, sizeof(pod->addresses));
	pod->address_count = k->file.address_count;
	pod->addresses_more = k->file.addresses_more;
	l->list->count += !l->r;
	return true;
}

static void add_unseen(struct listing *l, const struct known *k)
{
	const struct eg_pod_entry nowhere = {.file = k->name};
	struct eg_pod_entry *pod = find_pod(l, k->file.identity.uid);

	if (pod)
		join(l, k, &nowhere, pod);
	else
		pass_over(l, true, k->name,
			  "neither its network namespace nor its link can be seen from here");
}

/* An address that a newer pod has is not this one's any more, or of a network of its own. */
static void leave_address(struct listing *l, struct eg_pod_entry *p,
			  const struct eg_pod_entry *newer)
{
	size_t kept = 0;

	for (size_t i = 0; i < p->address_count; i++) {
		bool taken = false;

		for (size_t k = 0; k < newer->address_count && !taken; k++)
			taken = !memcmp(&p->addresses[i], &newer->addresses[k],
					sizeof(p->addresses[i]));
		if (!taken)
			p->addresses[kept++] = p->addresses[i];
	}
	if (kept != p->address_count)
		pass_over(l, false, p->file, "a newer file gives an address of it to another pod");
	p->address_count = kept;
}

static void part_twins(struct listing *l)
{
	size_t kept = 0;

	for (size_t i = 0; i < l->list->count; i++) {
		struct eg_pod_entry *p = &l->list->pods[i];
		bool taken = false;

		for (size_t k = 0; k < kept && !taken; k++) {
			taken = same(p->netns, l->list->pods[k].netns) ||
				same(p->interface, l->list->pods[k].interface);
			if (!taken)
				leave_address(l, p, &l->list->pods[k]);
		}
		if (taken)
			pass_over(l, false, p->file, "a newer file gives its link to another pod");
		else
			l->list->pods[kept++] = *p;
	}
	l->list->count = kept;
}

static int newest_first(const void *pa, const void *pb)
{
	const struct known *a = *(struct known *const *)pa, *b = *(struct known *const *)pb;
	const struct timespec *x = &a->mark.st_mtim, *y = &b->mark.st_mtim;

	if (x->tv_sec != y->tv_sec)
		return x->tv_sec < y->tv_sec ? 1 : -1;
	if (x->tv_nsec != y->tv_nsec)
		return x->tv_nsec < y->tv_nsec ? 1 : -1;
	return strcmp(a->name, b->name);
}

static int make_list(struct eg_cni_dir *d, struct eg_pod_list *list)
{
	struct listing l = {.d = d, .list = list};
	struct known **order = calloc(d->count + 1, sizeof(struct known *));
	size_t unseen = 0;

	if (!order)
		return -ENOMEM;
	if (d->count) {
		memcpy(order, d->known, d->count * sizeof(struct known *));
		qsort(order, d->count, sizeof(struct known *), newest_first);
	}
	for (size_t i = 0; !l.r && i < d->count; i++)
		if (!add_file(&l, order[i]))
			order[unseen++] = order[i];
	for (size_t i = 0; !l.r && i < unseen; i++)
		add_unseen(&l, order[i]);
	if (!l.r)
		part_twins(&l);
	free(order);
	return l.r;
}

int eg_cni_dir_read(struct eg_cni_dir *d, struct eg_pod_list *out, struct eg_error *error)
{
	struct eg_pod_list list;
	struct dirent **names;
	size_t count;
	int r = eg_pod_files_names(&d->files, is_shown, &names, &count, error);

	if (r)
		return r;
	r = read_files(d, names, count, error);
	eg_pod_files_free(names, count);
	if (r)
		return r;
	r = eg_pod_list_init(&list, d->count);
	if (!r)
		r = make_list(d, &list);
	if (r) {
		eg_pod_list_fini(&list);
		return eg_error_set(error, r, "out of memory");
	}
	list.absent = d->files.absent;
	list.complete = !list.absent && !list.doubtful;
	*out = list;
	return 0;
}
