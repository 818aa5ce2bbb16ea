/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/observe.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "agent/observe_impl.h"
#include "agent/plan.h"
#include "agent/privileges.h"
#include "base/log.h"
#include "datapath/features.h"

#define SETTLE_MS 100u
#define PODS_MS	  20u	 /* a burst of changes is one */
#define SWEEP_MS  1000u	 /* also the heartbeat, by which what was learned grows old */
#define LOOK_MS	  2000u	 /* at the inventory */
#define POLL_MS	  10000u /* what inotify can miss */

static struct eg_observer *observer_of(struct eg_supervisor *s)
{
	return eg_container_of(s, struct eg_observer, s);
}

/* ---- pods ---- */

/* With --link-prefix it is still looked at, as a link of a pod that is not known. */
static void drop_link(struct eg_supervisor *s, uint32_t link)
{
	const struct eg_pod unknown = {.state = EG_POD_UNKNOWN};
	struct eg_error e = {""};

	if (eg_datapath_remove_pod(s->datapath, link, &e) ||
	    (eg_link_is_prefixed(s, link) && eg_datapath_set_pod(s->datapath, link, &unknown, &e)))
		eg_warn("link %u: %s", link, e.text);
}

static void set_pods(struct eg_supervisor *s, const struct eg_table *t)
{
	for (size_t i = 0; i < t->count; i++) {
		const struct eg_table_pod *p = &t->pods[i];
		struct eg_pod pod = {.pod_id = p->pod.pod_id,
				     .address_count = (__u8)p->pod.address_count,
				     .state = EG_POD_UNGOVERNED};

		memcpy(pod.address, p->pod.address, pod.address_count * sizeof(pod.address[0]));
		eg_plan_pod_name(&p->pod.identity, pod.name);
		for (size_t k = 0; k < p->link_count; k++) {
			struct eg_error e = {""};

			if (eg_datapath_set_pod(s->datapath, p->ifindex[k], &pod, &e))
				eg_warn("pod %s (link %u): %s", pod.name, p->ifindex[k], e.text);
		}
	}
}

struct former {
	const struct eg_table *now;
	uint32_t links[4096];
	size_t count;
};

static bool collect_former(void *context, uint32_t ifindex, const struct eg_pod *pod)
{
	struct former *f = context;

	if (pod->pod_id && f->count < EG_ARRAY_SIZE(f->links) && !eg_table_by_link(f->now, ifindex))
		f->links[f->count++] = ifindex;
	return true;
}

/* Links that are no pod's any more, also such of an earlier start. */
static void drop_former(struct eg_observer *ob, const struct eg_table *now)
{
	EG_CLEANUP_FREE struct former *f = calloc(1, sizeof(*f));
	struct eg_supervisor *s = &ob->s;
	struct eg_error e = {""};

	if (!f)
		return;
	f->now = now;
	if ((!s->pins && eg_pins_open(s->o->pin_dir, &s->pins, &e)) ||
	    eg_pins_pods(s->pins, collect_former, f, &e)) {
		eg_warn("pods that went are still in the kernel's table: %s", e.text);
		return;
	}
	for (size_t i = 0; i < f->count; i++)
		if (!ob->synced || eg_table_by_link(s->table, f->links[i]))
			drop_link(s, f->links[i]);
}

static void read_pods(struct eg_observer *ob, bool log)
{
	struct eg_supervisor *s = &ob->s;
	struct eg_table *table = NULL;

	if (!s->table && !eg_pod_source_is_told(s->pods))
		return;
	if (eg_read_pods(s, log, &table) <= 0)
		return;
	set_pods(s, table);
	drop_former(ob, table);
	eg_table_unref(s->table);
	s->table = table;
	ob->synced = true;
	eg_info("%zu pods known", table->count);
}

static void pods_again(struct eg_timer *t)
{
	read_pods(observer_of(eg_container_of(t, struct eg_supervisor, pods_again)), false);
}

static void pods_changed(void *context)
{
	struct eg_observer *ob = context;

	if (!eg_timer_armed(&ob->s.pods_again) &&
	    eg_timer_set(ob->s.loop, &ob->s.pods_again, PODS_MS))
		read_pods(ob, false);
}

/* ---- the kernel's side ---- */

static void link_changed(void *context, uint32_t ifindex, const char *name, bool present)
{
	struct eg_observer *ob = context;

	eg_debug("link %s (%u) %s", name, ifindex, present ? "appeared" : "is gone");
	if (ob->s.pods)
		pods_changed(ob);
}

static void noticed(void *context, const char *sentence)
{
	(void)context;
	eg_warn("%s", sentence);
}

static void datapath_ready(struct eg_watch *w, uint32_t events)
{
	struct eg_supervisor *s = eg_container_of(w, struct eg_supervisor, datapath_watch);
	struct eg_error e = {""};

	(void)events;
	if (eg_datapath_events(s->datapath, &e))
		eg_warn("events of the kernel's side: %s", e.text);
}

/* What only a way in needs is not asked for. */
static int check_features(const struct eg_options *o)
{
	EG_CLEANUP_FREE struct eg_features *f = calloc(1, sizeof(*f));
	bool usable = true;

	if (!f)
		return -ENOMEM;
	eg_features_probe(f, o->pin_dir, false);
	for (size_t i = 0; i < EG_FEATURE_COUNT; i++) {
		const struct eg_feature *x = &f->feature[i];

		if (x->present || !x->required || i == EG_FEATURE_SK_LOOKUP)
			continue;
		usable = false;
		eg_error("%s", *x->sentence ? x->sentence : x->label);
	}
	return usable ? 0 : -EOPNOTSUPP;
}

static int open_datapath(struct eg_observer *ob, struct eg_error *e)
{
	struct eg_supervisor *s = &ob->s;
	struct eg_datapath_options d;
	const char *notes;
	int r;

	eg_datapath_options_fill(s->o, &d);
	d.gateway4_be = 0;
	memset(d.gateway6_be, 0, sizeof(d.gateway6_be));
	d.calls =
		(struct eg_datapath_calls){.link = link_changed, .notice = noticed, .context = ob};
	r = eg_datapath_open(&d, &s->datapath, e);
	if (r)
		return r;
	for (notes = eg_datapath_notes(s->datapath); *notes; notes += *notes == '\n') {
		size_t n = strcspn(notes, "\n");

		if (n)
			eg_warn("%.*s", (int)n, notes);
		notes += n;
	}
	eg_info("observing only: the programs are %s under %s; nothing is redirected, held or "
		"refused",
		eg_datapath_adopted(s->datapath) ? "adopted" : "loaded", s->o->pin_dir);
	eg_datapath_heartbeat(s->datapath);
	r = eg_observe_names(ob, e);
	return r ? r : eg_datapath_attach(s->datapath, e);
}

/* ---- the clock ---- */

static void arm(struct eg_observer *ob, struct eg_timer *t, uint64_t delay_ms)
{
	if (!eg_timer_set(ob->s.loop, t, delay_ms))
		return;
	eg_error("out of memory; egretd ends");
	ob->s.exit_code = 1;
	eg_loop_stop(ob->s.loop);
}

static void sweep(struct eg_timer *t)
{
	struct eg_supervisor *s = eg_container_of(t, struct eg_supervisor, sweep);
	struct eg_error e = {""};

	eg_datapath_heartbeat(s->datapath);
	if (eg_datapath_sweep(s->datapath, &e))
		eg_warn("sweep of the kernel's tables: %s", e.text);
	arm(observer_of(s), t, SWEEP_MS);
}

static void look(struct eg_timer *t)
{
	struct eg_observer *ob = eg_container_of(t, struct eg_observer, look);

	eg_observe_look(ob);
	arm(ob, t, LOOK_MS);
}

static void read_all(struct eg_observer *ob)
{
	struct eg_error e = {""};

	if (eg_observe_names(ob, &e))
		eg_warn("watched names: %s", e.text);
	if (eg_dir_watch_add(&ob->s.policy_watch, ob->s.o->policy_dir))
		eg_debug("%s is not watched; it is read every 10 s", ob->s.o->policy_dir);
	read_pods(ob, false);
}

static void poll_sources(struct eg_timer *t)
{
	struct eg_supervisor *s = eg_container_of(t, struct eg_supervisor, poll);

	read_all(observer_of(s));
	arm(observer_of(s), t, POLL_MS);
}

static void policy_changed(struct eg_dir_watch *w)
{
	struct eg_error e = {""};

	if (eg_observe_names(observer_of(eg_container_of(w, struct eg_supervisor, policy_watch)),
			     &e))
		eg_warn("watched names: %s", e.text);
}

/* ---- commands ---- */

bool eg_observe_takes(const char *command)
{
	return !strcmp(command, "status") || !strcmp(command, "pods") ||
	       !strcmp(command, "reload") || !strcmp(command, "drain");
}

int eg_observe_obey(struct eg_supervisor *s, const char *command, struct eg_buf *out)
{
	struct eg_observer *ob = observer_of(s);

	if (!strcmp(command, "pods"))
		return eg_pods_json(s, out);
	if (!strcmp(command, "reload"))
		read_all(ob);
	if (!strcmp(command, "drain")) {
		eg_loop_stop(s->loop);
		return eg_buf_append(out, "{\"draining\":true}", 17);
	}
	eg_observe_look(ob);
	return eg_observe_status_json(ob, out);
}

static void signalled(struct eg_watch *w, uint32_t events)
{
	struct eg_supervisor *s = eg_container_of(w, struct eg_supervisor, signals);
	struct signalfd_siginfo info;

	(void)events;
	while (read(s->signal_fd, &info, sizeof(info)) == sizeof(info))
		if (info.ssi_signo == SIGHUP)
			read_all(observer_of(s));
		else
			eg_loop_stop(s->loop);
}

/* ---- start and end ---- */

static int watch_signals(struct eg_supervisor *s, struct eg_error *e)
{
	sigset_t mask;
	int r;

	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGHUP);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	signal(SIGPIPE, SIG_IGN);
	s->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	s->signals.fd = -1;
	s->signals.ready = signalled;
	if (s->signal_fd < 0)
		return eg_error_set(e, -errno, "signalfd: %s", strerror(errno));
	r = eg_watch_add(s->loop, &s->signals, s->signal_fd, EPOLLIN);
	return r ? eg_error_set(e, r, "epoll: %s", strerror(-r)) : 0;
}

static int open_privileged(struct eg_observer *ob, struct eg_error *e)
{
	static const cap_value_t keeps[] = {CAP_BPF, CAP_NET_ADMIN};
	struct eg_supervisor *s = &ob->s;
	int r = 0;

	if (check_features(s->o))
		r = eg_error_set(e, -EOPNOTSUPP, "this node can't run Egret as it is; see above");
	if (!r)
		r = open_datapath(ob, e);
	if (!r)
		r = eg_observe_page_open(ob, e);
	if (!r)
		r = eg_admin_open(s, &s->admin, e);
	s->undo = r && s->datapath && !eg_datapath_adopted(s->datapath);
	return r ? r : eg_capabilities_keep(keeps, EG_ARRAY_SIZE(keeps), e);
}

static int start(struct eg_observer *ob, struct eg_error *e)
{
	struct eg_supervisor *s = &ob->s;
	int r;

	s->loop = eg_loop_create();
	if (!s->loop)
		return eg_error_set(e, -errno, "epoll: %s", strerror(errno));
	eg_timer_init(&s->pods_again, pods_again);
	eg_timer_init(&s->sweep, sweep);
	eg_timer_init(&s->poll, poll_sources);
	eg_timer_init(&ob->look, look);
	r = watch_signals(s, e);
	if (!r)
		r = open_privileged(ob, e);
	if (!r) {
		s->datapath_watch.fd = -1;
		s->datapath_watch.ready = datapath_ready;
		r = eg_watch_add(s->loop, &s->datapath_watch, eg_datapath_fd(s->datapath), EPOLLIN);
	}
	if (!r)
		r = eg_dir_watch_open(&s->policy_watch, s->loop, SETTLE_MS, policy_changed, e);
	if (!r)
		r = eg_pod_source_open(s->loop, s->o, pods_changed, ob, &s->pods, e);
	if (r)
		return r;
	eg_observe_look(ob);
	read_pods(ob, true);
	read_all(ob);
	arm(ob, &s->sweep, SWEEP_MS);
	arm(ob, &s->poll, POLL_MS);
	arm(ob, &ob->look, LOOK_MS);
	return 0;
}

static void finish(struct eg_observer *ob)
{
	struct eg_supervisor *s = &ob->s;

	eg_observe_page_close(ob);
	eg_admin_close(s->admin);
	eg_dir_watch_close(&s->policy_watch);
	eg_pod_source_close(s->pods);
	eg_table_unref(s->table);
	eg_pins_close(s->pins);
	eg_datapath_close(s->datapath);
	if (ob->source_known)
		eg_source_fini(&ob->source);
	eg_observe_inventory_fini(ob);
	eg_fd_close(&s->signal_fd);
	eg_loop_finish(s->loop); /* what was closed gives its memory back */
	eg_loop_destroy(s->loop);
}

int eg_observe_main(const struct eg_options *o)
{
	struct eg_observer *ob = calloc(1, sizeof(*ob));
	struct eg_error e = {""};
	int r, code;

	if (!ob) {
		eg_error("out of memory");
		return 1;
	}
	ob->s.o = o;
	ob->s.charge = EG_CHARGE_MINE;
	ob->s.signal_fd = ob->s.metrics_fd = ob->s.access_fd = -1;
	ob->s.policy_watch.fd = -1;
	r = eg_harden(&e);
	if (!r && geteuid() != 0)
		r = eg_error_set(&e, -EPERM,
				 "egretd must be started as root (it attaches programs to the "
				 "pods' links, and drops nearly all rights afterwards)");
	if (!r)
		r = start(ob, &e);
	if (r) {
		eg_error("egretd does not start: %s", *e.text ? e.text : strerror(-r));
		ob->s.exit_code = 1;
	} else {
		r = eg_loop_run(ob->s.loop);
		if (r)
			eg_error("event loop: %s", strerror(-r));
		eg_info("egretd has ended; its programs go on counting, and govern nothing "
			"(egretd --uninstall removes them)");
	}
	code = r ? 1 : ob->s.exit_code;
	finish(ob);
	if (ob->s.undo)
		eg_undo_start(o);
	free(ob);
	return code;
}
