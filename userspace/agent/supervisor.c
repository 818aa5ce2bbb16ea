/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/supervisor.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "agent/channel.h"
#include "agent/privileges.h"
#include "agent/start_files.h"
#include "agent/supervisor_impl.h"
#include "base/log.h"
#include "base/standard.h"
#include "datapath/features.h"
#include "datapath/read.h"

#define STOP_GRACE_MS 2000u /* after the drain's own time */

/* ---- the end ---- */

static void end_now(struct eg_timer *t)
{
	eg_loop_stop(eg_container_of(t, struct eg_supervisor, stop_timer)->loop);
}

/*
 * Requests in flight are finished first, while the kernel still redirects their packets; then the
 * fail policy takes over. The pins stay.
 */
void eg_supervisor_stop(struct eg_supervisor *s)
{
	struct eg_message m = {.type = EG_WIRE_DRAIN, .value = s->o->drain_ms};

	if (s->stopping || s->charge == EG_CHARGE_TAKING) {
		eg_info("%s: egretd ends now",
			s->stopping ? "asked again" : "it is not in charge yet");
		eg_loop_stop(s->loop);
		return;
	}
	if (eg_handover_postpones_stop(s)) {
		eg_info("egretd ends when the hand-over is through");
		return;
	}
	if (s->renewal == EG_RENEWAL_PREPARING)
		eg_renewal_failed(s, "egretd ends");
	s->stopping = true;
	s->end_ms = eg_now_ms() + s->o->drain_ms;
	eg_info("egretd ends; requests in flight have %u s", s->o->drain_ms / 1000);
	if (!s->ready || !eg_gateway_send(s, &m, NULL, 0) ||
	    eg_timer_set(s->loop, &s->stop_timer, s->o->drain_ms + STOP_GRACE_MS))
		eg_loop_stop(s->loop);
}

void eg_supervisor_fail(struct eg_supervisor *s, const char *why)
{
	eg_error("%s; egretd ends, and the fail policy holds", why);
	s->exit_code = 1;
	if (!s->stopping)
		eg_supervisor_stop(s);
}

/*
 * Opens what --access-log names: *fd is it, or -1 when there is none. Non-blocking: a pipe or a
 * terminal that nobody reads must not stop the supervisor, nor a worker.
 */
static int open_access_log(const struct eg_options *o, int *fd, struct eg_error *e)
{
	const char *path = o->access_log;

	*fd = -1;
	if (!path)
		return 0;
	if (!strcmp(path, "-")) {
		*fd = eg_standard_unblocked(STDOUT_FILENO);
		if (*fd < 0)
			*fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	} else {
		/* One that is there first as it is: to be able to create one, kernels before 6.12
		 * wait for a disk that stalls. */
		*fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NONBLOCK);
		if (*fd < 0 && errno == ENOENT)
			*fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK,
				   0640);
	}
	if (*fd < 0 && errno == ENXIO)
		return eg_error_set(e, -ENXIO, "--access-log %s is a pipe that nobody reads", path);
	return *fd < 0 ? eg_error_set(e, -errno, "--access-log %s: %s", path, strerror(errno)) : 0;
}

void eg_supervisor_yield(struct eg_supervisor *s)
{
	struct eg_message m = {.type = EG_WIRE_DRAIN, .number = 1, .value = s->o->drain_ms};

	s->stopping = true;
	s->end_ms = eg_now_ms() + s->o->drain_ms;
	eg_admin_yield(s->admin);
	eg_trace_end(s);
	if (!s->ready || !eg_gateway_send(s, &m, NULL, 0) ||
	    eg_timer_set(s->loop, &s->stop_timer, s->o->drain_ms + STOP_GRACE_MS))
		eg_loop_stop(s->loop);
}

/* What can't be opened leaves the former one in use. */
static void reopen_access_log(struct eg_supervisor *s)
{
	struct eg_message m = {.type = EG_WIRE_ACCESS_LOG};
	struct eg_error e = {""};
	int fd;

	if (open_access_log(s->o, &fd, &e)) {
		eg_error("%s; records go on to where they went", e.text);
		return;
	}
	if (fd < 0)
		return;
	eg_fd_close(&s->access_fd);
	s->access_fd = fd;
	eg_gateway_send(s, &m, &fd, 1);
	if (s->former && s->former->control >= 0 && eg_channel_send(s->former->control, &m, &fd, 1))
		eg_warn("records of the gateway that drains go on to where they went");
}

static void signalled(struct eg_watch *w, uint32_t events)
{
	struct eg_supervisor *s = eg_container_of(w, struct eg_supervisor, signals);
	struct signalfd_siginfo info;

	(void)events;
	while (read(s->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGHUP) {
			eg_info("SIGHUP: everything is read anew");
			reopen_access_log(s);
			eg_reload_all(s);
		} else if (info.ssi_signo != SIGCHLD) {
			eg_supervisor_stop(s);
		}
	}
}

/* ---- what the kernel's side tells ---- */

static void datapath_event(void *context, const struct eg_event *event)
{
	struct eg_supervisor *s = context;
	struct eg_message m = {.type = EG_WIRE_DNS, .number = event->ifindex};

	if (event->type == EG_EVENT_VERDICT && event->hook == EG_HOOK_HOST)
		eg_host_pods_denied(s, event);
	if (event->type != EG_EVENT_DNS_RAW)
		return;
	s->dns_events++;
	m.u.dns.length = EG_MIN(event->data_length, EG_EVENT_DATA);
	memcpy(m.u.dns.message, event->data, m.u.dns.length);
	/* Never parsed here. When the gateway is busy or away, the guard and the SNI cover it. */
	if (!s->serving || eg_channel_send(eg_gateway_serving(s)->control, &m, NULL, 0))
		s->dns_lost++;
}

static void datapath_link(void *context, uint32_t ifindex, const char *name, bool present)
{
	eg_debug("link %s (%u) %s", name, ifindex, present ? "appeared" : "is gone");
	eg_reload_links(context);
}

static void datapath_cgroups(void *context)
{
	eg_host_pods_follow(context);
}

static void datapath_notice(void *context, const char *sentence)
{
	(void)context;
	eg_warn("%s", sentence);
}

/* Nothing reaches the gateway any more, so there is nothing to wait for. */
static void datapath_lost(void *context, const char *sentence)
{
	struct eg_supervisor *s = context;

	eg_error("%s; egretd ends, and the fail policy holds", sentence);
	s->exit_code = 1;
	s->stopping = true;
	eg_loop_stop(s->loop);
}

static void datapath_ready(struct eg_watch *w, uint32_t events)
{
	struct eg_supervisor *s = eg_container_of(w, struct eg_supervisor, datapath_watch);
	struct eg_error e = {""};

	(void)events;
	if (eg_datapath_events(s->datapath, &e))
		eg_warn("events of the kernel's side: %s", e.text);
}

void eg_datapath_options_fill(const struct eg_options *o, struct eg_datapath_options *out)
{
	*out = (struct eg_datapath_options){
		.pin_dir = o->pin_dir,
		.mode = o->mode,
		.worker_count = o->workers,
		.gateway4_be = o->gateway4_set ? o->gateway4.word_be[3] : 0,
		/* Each governed pod has a flag of its own, so that a policy may close what --fail
		 * opens. */
		.fail_policy = EG_FAIL_CLOSED,
		.unknown_pods = o->unknown_pods,
		.guard_host_deny = o->guard_host_deny,
		.host_pods_deny = o->host_pods_deny,
		.cgroup_root = o->cgroup_root,
		.down_grace_ms = EG_DOWN_GRACE_MS,
		.uplinks = o->uplinks,
		.uplink_count = o->uplink_count,
		.uplink_auto = o->uplink_auto,
		.xdp = o->xdp,
		.xdp_count = o->xdp_count,
		.link_prefix = o->link_prefix,
		.resolvers = o->resolvers,
		.resolver_count = o->resolver_count,
		.namespace_path = o->agent_namespace,
	};
	if (o->gateway6_set)
		memcpy(out->gateway6_be, o->gateway6.word_be, sizeof(out->gateway6_be));
}

/* ---- the start ---- */

static int check_features(const struct eg_options *o)
{
	struct eg_features *f = calloc(1, sizeof(*f));
	bool usable;

	if (!f)
		return -ENOMEM;
	eg_features_probe(f, o->pin_dir, o->mode == EG_MODE_NETNS);
	for (size_t i = 0; i < EG_FEATURE_COUNT; i++) {
		const struct eg_feature *x = &f->feature[i];

		if (!x->present && *x->sentence)
			eg_log(x->required && !x->unjudged ? EG_LOG_ERROR : EG_LOG_WARN, "%s",
			       x->sentence);
	}
	usable = f->usable;
	free(f);
	return usable ? 0 : -EOPNOTSUPP;
}

/* What stands at `notes`, a line each; returns where the next ones will be. */
static const char *say_notes(const char *notes)
{
	while (*notes) {
		size_t n = strcspn(notes, "\n");

		if (n)
			eg_warn("%.*s", (int)n, notes);
		notes += n + (notes[n] == '\n');
	}
	return notes;
}

static void datapath_busy(void *context)
{
	eg_heartbeat_keep(context);
}

static int open_datapath(struct eg_supervisor *s, struct eg_error *e)
{
	struct eg_datapath_options d;
	const char *notes;
	int r;

	eg_datapath_options_fill(s->o, &d);
	d.calls = (struct eg_datapath_calls){.event = datapath_event,
					     .link = datapath_link,
					     .notice = datapath_notice,
					     .lost = datapath_lost,
					     .busy = datapath_busy,
					     .cgroups = datapath_cgroups,
					     .context = s};
	if (eg_cgroup_id(0, &d.agent_cgroup, e))
		eg_debug("the node's own processes are not told apart by cgroup: %s", e->text);
	if (s->charge == EG_CHARGE_TAKING)
		d.handed = &s->handover.take.handed;
	r = eg_datapath_open(&d, &s->datapath, e);
	if (r)
		return r;
	notes = say_notes(eg_datapath_notes(s->datapath));
	eg_info("the kernel's side is %s under %s",
		eg_datapath_adopted(s->datapath) ? "adopted" : "loaded", s->o->pin_dir);
	r = eg_datapath_attach(s->datapath, e);
	if (!r)
		r = eg_datapath_listeners(s->datapath, &s->listeners, &s->listener_count, e);
	(void)say_notes(notes);
	return r;
}

static int open_metrics(struct eg_supervisor *s, struct eg_error *e)
{
	int one = 1;

	if (s->o->metrics_token && eg_page_token_read(s->o->metrics_token, s->page_token, e))
		return -EINVAL;
	s->metrics_fd = eg_handover_metrics(s);
	if (!s->o->metrics_length || s->metrics_fd >= 0)
		return 0;
	s->metrics_fd =
		socket(s->o->metrics.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->metrics_fd < 0)
		return eg_error_set(e, -errno, "--metrics: %s", strerror(errno));
	(void)setsockopt(s->metrics_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(s->metrics_fd, (const struct sockaddr *)&s->o->metrics, s->o->metrics_length) <
		    0 ||
	    listen(s->metrics_fd, 64) < 0)
		return eg_error_set(e, -errno,
				    "--metrics: port %u of the loopback: %s; choose another with "
				    "--metrics ADDR:PORT, or --metrics none",
				    s->o->metrics_port, strerror(errno));
	return 0;
}

static int watch_signals(struct eg_supervisor *s, struct eg_error *e)
{
	sigset_t mask;
	int r;

	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigaddset(&mask, SIGHUP);
	sigaddset(&mask, SIGCHLD);
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

/* Everything that needs more than BPF and NET_ADMIN, and then the loss of all but those. */
static int open_privileged(struct eg_supervisor *s, struct eg_error *e)
{
	static const cap_value_t keeps[] = {CAP_BPF, CAP_NET_ADMIN};
	int r = eg_start_files_check(s->o, e);

	if (!r && check_features(s->o))
		r = eg_error_set(e, -EOPNOTSUPP, "this node can't run Egret as it is; see above");
	if (!r)
		r = eg_handover_take(s, e);
	/* Early: its memory is small and it has seen nothing. */
	if (!r)
		r = eg_spawner_start(&s->spawner, s->o->gateway_uid, s->o->signer_uid,
				     s->o->log_level, e);
	if (!r)
		r = open_datapath(s, e);
	if (!r)
		r = open_metrics(s, e);
	if (!r)
		r = open_access_log(s->o, &s->access_fd, e);
	if (!r)
		r = eg_admin_open(s, &s->admin, e);
	if (!r)
		r = eg_handover_listen_open(s, e);
	/* What was there before holds a fail policy; what is new holds nothing yet. */
	s->undo = r && s->datapath && !eg_datapath_adopted(s->datapath);
	return r ? r : eg_capabilities_keep(keeps, EG_ARRAY_SIZE(keeps), e);
}

static int start(struct eg_supervisor *s, struct eg_error *e)
{
	int r;

	s->loop = eg_loop_create();
	if (!s->loop)
		return eg_error_set(e, -errno, "epoll: %s", strerror(errno));
	eg_timer_init(&s->stop_timer, end_now);
	r = watch_signals(s, e);
	if (!r)
		r = open_privileged(s, e);
	if (!r) {
		s->datapath_watch.fd = -1;
		s->datapath_watch.ready = datapath_ready;
		r = eg_watch_add(s->loop, &s->datapath_watch, eg_datapath_fd(s->datapath), EPOLLIN);
	}
	if (!r)
		r = eg_reload_open(s, e);
	if (!r)
		r = eg_children_start(s, e);
	if (!r)
		r = eg_heartbeat_start(s);
	return r ? r : eg_handover_watch(s, e);
}

static void finish(struct eg_supervisor *s)
{
	s->stopping = true;
	/* Where another one serves, slots and heartbeat are its. */
	if (s->datapath && s->charge == EG_CHARGE_MINE)
		eg_datapath_stop(s->datapath);
	eg_trace_close(s);
	eg_children_close(s); /* the spawner ends with its socket, and takes its children along */
	eg_fd_close(&s->spawner.fd);
	eg_give_close(s);
	eg_take_close(s);
	eg_admin_close(s->admin);
	eg_reload_close(s);
	eg_host_pods_forget(s);
	eg_pins_close(s->pins);
	eg_datapath_close(s->datapath);
	eg_fd_close(&s->metrics_fd);
	eg_fd_close(&s->access_fd);
	eg_fd_close(&s->signal_fd);
	eg_loop_finish(s->loop); /* what was closed gives its memory back */
	eg_loop_destroy(s->loop);
}

void eg_undo_start(const struct eg_options *o)
{
	struct eg_datapath_options d;
	struct eg_error e = {""};

	eg_datapath_options_fill(o, &d);
	if (eg_datapath_uninstall(&d, &e))
		eg_warn("what this start made in the kernel stays (%s); egretd --uninstall removes "
			"it",
			e.text);
}

int eg_supervisor_main(const struct eg_options *o)
{
	struct eg_supervisor *s = calloc(1, sizeof(*s));
	struct eg_error e = {""};
	int r, code;

	if (!s) {
		eg_error("out of memory");
		return 1;
	}
	s->o = o;
	eg_handover_init(s);
	s->signal_fd = s->spawner.fd = s->metrics_fd = s->access_fd = -1;

	r = eg_raise_file_limit(&e);
	if (!r)
		r = eg_harden(&e);
	if (!r && geteuid() != 0)
		r = eg_error_set(
			&e, -EPERM,
			"egretd must be started as root (it attaches programs to the pods' "
			"links, and drops nearly all rights afterwards)");
	if (!r)
		r = start(s, &e);
	if (r) {
		eg_error("egretd does not start: %s", *e.text ? e.text : strerror(-r));
		s->exit_code = 1;
	} else {
		r = eg_loop_run(s->loop);
		if (r)
			eg_error("event loop: %s", strerror(-r));
		eg_info(s->charge == EG_CHARGE_MINE
				? "egretd has ended; what it pinned stays and holds the fail "
				  "policy (egretd --uninstall removes it)"
				: "egretd has ended; another one serves");
	}
	finish(s);
	if (s->undo)
		eg_undo_start(o);
	code = r ? 1 : s->exit_code;
	free(s);
	return code;
}

int eg_uninstall(const struct eg_options *o)
{
	struct eg_datapath_options d;
	struct eg_error e = {""};
	bool pinned = !access(o->pin_dir, F_OK);
	char path[4096];

	eg_datapath_options_fill(o, &d);
	if (eg_datapath_uninstall(&d, &e)) {
		eg_error("uninstall: %s", e.text);
		return 1;
	}
	snprintf(path, sizeof(path), "%s/egretd.sock", o->run_dir);
	(void)unlink(path);
	snprintf(path, sizeof(path), "%s/pin-dir", o->run_dir);
	(void)unlink(path);
	snprintf(path, sizeof(path), "%s/" EG_KEEP_FILE, o->run_dir);
	(void)unlink(path);
	eg_handover_remove(o);
	if (pinned)
		eg_info("nothing of Egret is left in the kernel (%s, %s)", o->pin_dir,
			o->agent_namespace);
	else
		eg_info("nothing of Egret is left in this network namespace; there is no %s to "
			"tell whether it ran in another",
			o->pin_dir);
	return 0;
}
