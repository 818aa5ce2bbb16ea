/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, adopting and closing: the order in which the other files of this room act. */
#include "datapath/datapath.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "datapath/internal.h"

#define TCX_SWEEP_NS 10000000000u

void eg_datapath_note(struct eg_datapath *d, const char *format, ...)
{
	size_t n = strlen(d->notes);
	va_list ap;

	if (n + 2 >= sizeof(d->notes))
		return;
	if (n)
		d->notes[n++] = '\n';
	va_start(ap, format);
	vsnprintf(d->notes + n, sizeof(d->notes) - n, format, ap);
	va_end(ap);
}

void eg_datapath_notice(struct eg_datapath *d, const char *format, ...)
{
	char line[600];
	va_list ap;

	if (!d->o.calls.notice)
		return;
	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	d->o.calls.notice(d->o.calls.context, line);
}

const char *eg_datapath_notes(const struct eg_datapath *d)
{
	return d->notes;
}

bool eg_datapath_adopted(const struct eg_datapath *d)
{
	return d->adopted;
}

void eg_options_defaults(struct eg_datapath_options *o)
{
	if (!o->pin_dir)
		o->pin_dir = EG_PIN_DIR;
	if (!o->mode)
		o->mode = EG_MODE_NETNS;
	if (!o->worker_count)
		o->worker_count = 1;
	if (!o->heartbeat_max_ms)
		o->heartbeat_max_ms = 1000;
	if (!o->down_grace_ms)
		o->down_grace_ms = 10000;
	if (!o->hold_grace_ms)
		o->hold_grace_ms = 10000;
	if (!o->learned_grace_ms)
		o->learned_grace_ms = 3600000;
	if (!o->namespace_path)
		o->namespace_path = "/run/netns/egret";
	if (!o->host_link)
		o->host_link = "egret0";
	if (!o->agent_link)
		o->agent_link = "egret1";
	if (!o->mark && !o->mark_mask) {
		o->mark = 0x45670000;
		o->mark_mask = 0xffff0000;
	}
	if (!o->mark_table)
		o->mark_table = 17767;
}

static int check_options(const struct eg_datapath_options *o, struct eg_error *error)
{
	const char *const names[] = {o->host_link, o->agent_link};

	if (o->mode != EG_MODE_NETNS && o->mode != EG_MODE_MARK && o->mode != EG_MODE_OBSERVE)
		return eg_error_set(error, -EINVAL, "mode %d: expected netns, mark or observe",
				    (int)o->mode);
	if (o->worker_count > EG_MAX_WORKERS)
		return eg_error_set(error, -EINVAL, "%u workers: at most %d are possible",
				    o->worker_count, EG_MAX_WORKERS);
	if (o->unknown_pods > 2)
		return eg_error_set(error, -EINVAL, "unknown pods: expected hold, allow or deny");
	if (o->mode == EG_MODE_MARK && (!o->mark || (o->mark & ~o->mark_mask)))
		return eg_error_set(error, -EINVAL,
				    "mark 0x%x: expected one that is not 0 and within "
				    "its mask 0x%x",
				    o->mark, o->mark_mask);
	if (o->guard_host_deny && !o->agent_cgroup)
		return eg_error_set(
			error, -EINVAL,
			"guard_host: deny needs to tell the agent from other processes of the "
			"node by its cgroup v2, and this process is in none of its own: run "
			"it in a cgroup v2 (systemd and Kubernetes do), or use guard_host: "
			"allow");
	for (size_t i = 0; i < EG_ARRAY_SIZE(names); i++)
		if (!names[i][0] || strlen(names[i]) > 15 || strchr(names[i], '/'))
			return eg_error_set(error, -EINVAL,
					    "link name \"%s\": expected 1 to 15 "
					    "characters without /",
					    names[i]);
	return 0;
}

/* Copies what the caller's options point to. -ENOMEM. */
static int copy_options(struct eg_datapath *d, const struct eg_datapath_options *options)
{
	struct eg_address *resolvers;

	d->o = *options;
	d->o.handed = NULL; /* borrowed: take_handed() makes copies */
	eg_options_defaults(&d->o);
	d->pin_dir = strdup(d->o.pin_dir);
	d->namespace_path = strdup(d->o.namespace_path);
	d->host_link = strdup(d->o.host_link);
	d->agent_link = strdup(d->o.agent_link);
	d->link_prefix = d->o.link_prefix ? strdup(d->o.link_prefix) : NULL;
	d->cgroup_root = d->o.cgroup_root ? strdup(d->o.cgroup_root) : NULL;
	d->uplinks = calloc(EG_UPLINKS_MAX, sizeof(*d->uplinks));
	d->xdp = calloc(d->o.xdp_count + 1, sizeof(*d->xdp));
	resolvers = calloc(d->o.resolver_count + 1, sizeof(*resolvers));
	d->o.resolvers = resolvers;
	if (!d->pin_dir || !d->namespace_path || !d->host_link || !d->agent_link || !d->uplinks ||
	    !d->xdp || !resolvers || (d->o.link_prefix && !d->link_prefix) ||
	    (d->o.cgroup_root && !d->cgroup_root))
		return -ENOMEM;
	d->o.cgroup_root = d->cgroup_root;
	d->o.uplink_count = EG_MIN(d->o.uplink_count, (size_t)EG_UPLINKS_MAX);
	for (size_t i = 0; i < d->o.uplink_count; i++)
		if (!(d->uplinks[i] = strdup(options->uplinks[i])))
			return -ENOMEM;
	for (size_t i = 0; i < d->o.xdp_count; i++) {
		d->xdp[i] = options->xdp[i];
		d->xdp[i].name = strdup(options->xdp[i].name);
		if (!d->xdp[i].name)
			return -ENOMEM;
	}
	if (d->o.resolver_count)
		memcpy(resolvers, options->resolvers, d->o.resolver_count * sizeof(*resolvers));
	return 0;
}

/* Before anything is opened. As many workers as there are listeners at least: none may lose what
 * waits in its backlog. */
static int take_handed(struct eg_datapath *d, const struct eg_datapath_handed *h)
{
	if (!h)
		return 0;
	d->lock = fcntl(h->lock, F_DUPFD_CLOEXEC, 3);
	if (d->lock < 0)
		return -errno;
	if (d->o.mode == EG_MODE_NETNS && h->agent_netns >= 0) {
		d->agent_netns = fcntl(h->agent_netns, F_DUPFD_CLOEXEC, 3);
		if (d->agent_netns < 0)
			return -errno;
	}
	while (d->listener_count < h->listener_count && d->listener_count < EG_MAX_WORKERS) {
		int fd = fcntl(h->listeners[d->listener_count], F_DUPFD_CLOEXEC, 3);

		if (fd < 0)
			return -errno;
		d->listener[d->listener_count++] = fd;
	}
	if (d->o.worker_count < d->listener_count)
		d->o.worker_count = (unsigned int)d->listener_count;
	d->former_cgroup = h->cgroup != d->o.agent_cgroup ? h->cgroup : 0;
	return 0;
}

static void free_options(struct eg_datapath *d)
{
	for (size_t i = 0; d->uplinks && i < d->o.uplink_count; i++)
		free(d->uplinks[i]);
	for (size_t i = 0; d->xdp && i < d->o.xdp_count; i++)
		free((void *)(uintptr_t)d->xdp[i].name);
	free(d->uplinks);
	free(d->xdp);
	free((void *)(uintptr_t)d->o.resolvers);
	free(d->pin_dir);
	free(d->namespace_path);
	free(d->host_link);
	free(d->agent_link);
	free(d->link_prefix);
	free(d->cgroup_root);
}

static struct eg_datapath *create(void)
{
	struct eg_datapath *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->lock = d->epoll = d->agent_netns = d->host_watch = -1;
	for (int i = 0; i < EG_PROGRAM_COUNT; i++)
		d->program[i] = -1;
	for (int i = 0; i < EG_MAP_COUNT; i++)
		d->map[i] = -1;
	for (int i = 0; i < EG_MAX_WORKERS; i++)
		d->listener[i] = -1;
	return d;
}

int eg_attach_agent(struct eg_datapath *d, struct eg_error *error)
{
	struct eg_link *l;

	if (d->o.mode == EG_MODE_MARK) {
		EG_CLEANUP_FD int self = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

		if (self < 0)
			return eg_error_set(error, -errno, "cannot open /proc/self/ns/net: %s",
					    strerror(errno));
		return eg_attach_netns(d, self, error);
	}
	l = eg_links_get(d, d->agent_ifindex);
	if (!l)
		return eg_error_set(error, -ENOMEM, "out of memory");
	l->roles |= EG_ROLE_AGENT;
	return eg_links_attach(d, l, error);
}

/*
 * What only the mode of an earlier start needed: its namespace and links, or its rules, which cost
 * every packet that the node routes. config says which mode that was until this one's way in is
 * made, so that an interrupted start leaves it to the next one.
 */
static void leave_other_mode(struct eg_datapath *d)
{
	struct eg_config *c = d->config;
	struct eg_datapath_options before = d->o;
	struct eg_error error;

	if (d->adopted && c->mode == EG_MODE_NETNS && d->o.mode == EG_MODE_MARK) {
		__atomic_store_n(&c->agent_ifindex, 0, __ATOMIC_RELEASE);
		eg_namespace_leave(d);
	}
	before.mark = c->mark;
	before.mark_mask = c->mark_mask;
	if (d->adopted && c->mode == EG_MODE_MARK &&
	    (d->o.mode != EG_MODE_MARK || c->mark != d->o.mark || c->mark_mask != d->o.mark_mask) &&
	    eg_mark_remove(&before, &error))
		eg_datapath_note(
			d,
			"the rules of mark mode stay (%s): each packet that the node routes "
			"pays for them; look at `ip rule` and `ip -6 rule`",
			error.text);
	c->mark = d->o.mark;
	c->mark_mask = d->o.mark_mask;
	c->mode = (uint8_t)d->o.mode;
}

/* The agent's way in, which a start that only looks has none of. */
static int open_way_in(struct eg_datapath *d, struct eg_error *error)
{
	int r;

	if (eg_observes(d))
		return 0;
	r = d->o.mode == EG_MODE_NETNS ? eg_namespace_open(d, error) : eg_mark_open(d, error);
	return r ? r : eg_attach_agent(d, error);
}

static int open_all(struct eg_datapath *d, const struct eg_datapath_options *options,
		    struct eg_error *error)
{
	int r = copy_options(d, options);

	if (r)
		return eg_error_set(error, r, "out of memory");
	r = check_options(&d->o, error);
	if (r)
		return r;
	r = take_handed(d, options->handed);
	if (r)
		return eg_error_set(error, r, "what was handed over can't be taken: %s",
				    strerror(-r));
	d->netlink = eg_netlink_open();
	d->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!d->netlink || d->epoll < 0)
		return eg_error_set(error, -errno, "cannot open netlink or epoll: %s",
				    strerror(errno));
	r = eg_load_pin_dir(d, error);
	if (!r)
		r = eg_load_all(d, error);
	if (!r)
		r = eg_mapsync_open(d, error);
	if (!r)
		r = eg_load_replace(d, error);
	if (!r)
		r = eg_host_pods_open(d, error);
	if (!r)
		r = open_way_in(d, error);
	if (!r)
		r = eg_links_open(d, error);
	if (!r)
		r = eg_events_open(d, error);
	if (!r)
		leave_other_mode(d);
	return r;
}

int eg_datapath_open(const struct eg_datapath_options *options, struct eg_datapath **out,
		     struct eg_error *error)
{
	struct eg_datapath *d = create();
	int r;

	if (!d)
		return eg_error_set(error, -ENOMEM, "out of memory");
	r = open_all(d, options, error);
	if (r) {
		if (d->lock >= 0 && !d->adopted)
			eg_load_undo(d);
		eg_datapath_close(d);
		return r;
	}
	*out = d;
	return 0;
}

void eg_datapath_close(struct eg_datapath *d)
{
	if (!d)
		return;
	eg_events_close(d);
	eg_host_pods_close(d);
	eg_links_close(d);
	eg_mapsync_close(d);
	for (size_t i = 0; i < d->listener_count; i++)
		eg_fd_close(&d->listener[i]);
	eg_netlink_close(d->agent_netlink);
	eg_netlink_close(d->netlink);
	eg_fd_close(&d->agent_netns);
	eg_load_close(d);
	eg_fd_close(&d->epoll);
	free_options(d);
	free(d);
}

void eg_datapath_give(const struct eg_datapath *d, struct eg_datapath_handed *out)
{
	*out = (struct eg_datapath_handed){
		.lock = d->lock,
		.agent_netns = d->agent_netns,
		.listeners = d->listener,
		.listener_count = d->listener_count,
		.cgroup = d->o.agent_cgroup,
	};
}

void eg_datapath_former_gone(struct eg_datapath *d)
{
	d->former_cgroup = 0;
	__atomic_store_n(&d->config->agent_cgroup[1], 0, __ATOMIC_RELEASE);
}

/* The maps may hold anything that the other process wrote, the links its programs. */
int eg_datapath_take_back(struct eg_datapath *d, struct eg_error *error)
{
	struct eg_error why;
	int r;

	eg_mapsync_close(d);
	r = eg_mapsync_open(d, error);
	if (!r)
		r = eg_load_replace(d, error);
	if (!r)
		r = eg_listeners_fill(d, error);
	if (r)
		return r;
	eg_host_pods_again(d);
	/* Each link as if it were seen for the first time: what the other one's options wanted and
	 * ours do not goes. Pods keep their role. */
	for (size_t i = 0; i < d->link_count; i++) {
		d->links[i].attached = 0;
		d->links[i].name[0] = 0;
	}
	if (eg_datapath_attach(d, &why))
		eg_datapath_notice(d, "%s", why.text);
	return 0;
}

/*
 * Filters of clsact that somebody deleted with their qdisc are put back (TCX survives that), and
 * programs that another's were put before come first again.
 */
static void check_filters(struct eg_datapath *d)
{
	for (size_t i = 0; i < d->link_count; i++) {
		struct eg_link *l = &d->links[i];
		uint32_t lost = 0, overtaken = 0;
		struct eg_error error;

		for (unsigned int p = 0; p < EG_PROGRAM_COUNT; p++) {
			if (!(l->attached & 1U << p))
				continue;
			switch (eg_attach_holds(d, (enum eg_program_id)p, l->ifindex)) {
			case EG_HOLD_LOST:
				lost |= 1U << p;
				break;
			case EG_HOLD_OVERTAKEN:
				overtaken |= 1U << p;
				break;
			case EG_HOLD_FIRST:
				break;
			}
		}
		l->attached &= ~(lost | overtaken);
		if (!eg_links_lack(d, l))
			continue;
		if (eg_links_attach(d, l, &error)) {
			if (!l->bare)
				eg_datapath_notice(d, "link %s lacks Egret's programs: %s", l->name,
						   error.text);
			l->bare = true;
			continue;
		}
		if (lost || l->bare)
			eg_datapath_notice(
				d, "link %s had lost Egret's programs; they are attached again",
				l->name);
		l->bare = false;
	}
}

int eg_datapath_sweep(struct eg_datapath *d, struct eg_error *error)
{
	int r = eg_mapsync_sweep(d, error);
	uint64_t now = eg_now_ns();

	/* Anyone can delete a clsact filter or overtake it; a TCX link only goes by its pin. */
	if (!d->tcx || now >= d->filter_sweep_ns) {
		d->filter_sweep_ns = now + TCX_SWEEP_NS;
		check_filters(d);
	}
	eg_way_check(d);
	return r;
}
