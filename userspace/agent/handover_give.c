/* SPDX-License-Identifier: Apache-2.0 */
/* The running supervisor's side of a hand-over: handover.h. */
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/channel.h"
#include "agent/supervisor_impl.h"
#include "base/log.h"
#include "base/state.h"

#define HELLO_MS    5000u  /* from connect to HELLO */
#define GIVE_MS	    30000u /* from BASE to READY */
#define WITHDRAW_MS 2000u  /* from REFUSE to its end; then SIGKILL */

bool eg_tables_are_ours(const struct eg_supervisor *s)
{
	return s->charge == EG_CHARGE_MINE || s->charge == EG_CHARGE_TAKING;
}

void eg_charge_set(struct eg_supervisor *s, enum eg_charge to)
{
	static const uint32_t successors[EG_CHARGES] = {
		/* A start is MINE until it finds another one. */
		[EG_CHARGE_MINE] = EG_TO(EG_CHARGE_GIVING) | EG_TO(EG_CHARGE_TAKING),
		[EG_CHARGE_TAKING] = EG_TO(EG_CHARGE_MINE),
		[EG_CHARGE_GIVING] = EG_TO(EG_CHARGE_MINE) | EG_TO(EG_CHARGE_GIVEN),
		[EG_CHARGE_GIVEN] = 0,
	};

	eg_state_check("hand-over", successors, s->charge, to);
	s->charge = to;
}

static const char *caller_name(const struct eg_give *g, char text[64])
{
	if (g->pid)
		snprintf(text, 64, "pid %d", g->pid);
	else
		snprintf(text, 64, "an egretd of another pid namespace");
	return text;
}

static void arm(struct eg_supervisor *s, uint64_t ms)
{
	if (eg_timer_set(s->loop, &s->handover.give.limit, ms))
		eg_error("out of memory: a hand-over has no limit");
}

static void refuse(int fd, const char *why)
{
	struct eg_handover_message m;

	eg_handover_message_init(&m, EG_HANDOVER_REFUSE);
	eg_str_copy(m.text, sizeof(m.text), eg_str_from(why));
	/* Who does not read it finds the connection closed. */
	if (eg_handover_send(fd, &m, NULL, 0))
		eg_debug("hand-over: the refusal was not sent");
}

/* ---- the end of a hand-over that came to nothing ---- */

/* What the other one wrote into the tables is written over with what is in force here. */
static void take_back(struct eg_supervisor *s)
{
	struct eg_error e = {""};

	eg_charge_set(s, EG_CHARGE_MINE);
	s->resync = true;
	if (eg_datapath_take_back(s->datapath, &e)) {
		eg_error("the kernel's side can't be taken back: %s; egretd ends, and the fail "
			 "policy holds",
			 e.text);
		s->exit_code = 1;
		eg_supervisor_stop(s);
		return;
	}
	if (eg_watch_add(s->loop, &s->datapath_watch, eg_datapath_fd(s->datapath), EPOLLIN))
		eg_error("events of the kernel's side are lost: epoll failed");
	eg_reload_all(s);
	eg_offer(s);
}

static void hang_up(struct eg_supervisor *s)
{
	struct eg_give *g = &s->handover.give;

	eg_timer_cancel(s->loop, &g->limit);
	eg_watch_remove(s->loop, &g->caller_watch);
	eg_fd_close(&g->caller);
	eg_fd_close(&g->pidfd);
	g->withdrawn = false;
}

static void caller_gone(struct eg_supervisor *s)
{
	struct eg_give *g = &s->handover.give;
	char who[64];

	caller_name(g, who);
	hang_up(s);
	if (s->charge == EG_CHARGE_GIVEN)
		eg_error("%s, which took over, is gone", who);
	if (s->charge != EG_CHARGE_GIVING)
		return;
	eg_warn("%s was to take over and is gone; this one goes on", who);
	take_back(s);
	if (g->stop_wanted && !s->stopping)
		eg_supervisor_stop(s);
}

/* Told to end, and waited for: only when it is gone is it sure that it writes no more. */
static void withdraw(struct eg_supervisor *s, const char *why)
{
	struct eg_give *g = &s->handover.give;
	char who[64];

	eg_error("%s does not take over (%s); this one goes on", caller_name(g, who), why);
	refuse(g->caller, why);
	g->withdrawn = true;
	arm(s, WITHDRAW_MS);
}

/* ---- the hand-over ---- */

static const char *why_not(struct eg_supervisor *s, const struct eg_handover_message *m)
{
	static char text[256];
	const char *mode = s->o->mode == EG_MODE_MARK ? "mark" : "netns";

	if (s->stopping)
		return "it is ending; start again when it has ended";
	if (m->mode != (uint32_t)s->o->mode) {
		snprintf(text, sizeof(text),
			 "it runs with --mode %s; end it first, then start in the other mode",
			 mode);
		return text;
	}
	if (strcmp(m->pin_dir, s->o->pin_dir) != 0) {
		snprintf(text, sizeof(text), "it runs with --pin-dir %.180s; end it first",
			 s->o->pin_dir);
		return text;
	}
	if (strcmp(m->namespace_path, s->o->agent_namespace) != 0) {
		snprintf(text, sizeof(text), "its namespace is %.180s; end it first",
			 s->o->agent_namespace);
		return text;
	}
	if (s->former)
		return "its gateway is being replaced, and the former one still finishes what it "
		       "has; start again in a moment";
	if (s->o->guard_host_deny && s->handover.take.former >= 0)
		return "the one before it is still draining, and the guard of the node knows two "
		       "cgroups at most; start again when that one has ended";
	return NULL;
}

static int send_all(struct eg_supervisor *s)
{
	struct eg_give *g = &s->handover.give;
	struct eg_handover_message m;
	struct eg_datapath_handed h;
	int fds[EG_WIRE_FDS];
	unsigned int n = 0;
	int r;

	eg_datapath_give(s->datapath, &h);
	eg_handover_message_init(&m, EG_HANDOVER_BASE);
	m.count = (uint32_t)h.listener_count;
	m.cgroup = h.cgroup;
	eg_str_copy(m.release, sizeof(m.release), eg_str_from(EG_VERSION));
	fds[n++] = h.lock;
	if (h.agent_netns >= 0) {
		m.flags |= EG_HANDOVER_NAMESPACE;
		fds[n++] = h.agent_netns;
	}
	if (s->metrics_fd >= 0) {
		m.flags |= EG_HANDOVER_METRICS;
		fds[n++] = s->metrics_fd;
	}
	r = eg_handover_send(g->caller, &m, fds, n);
	for (uint32_t i = 0; !r && i < h.listener_count; i++) {
		eg_handover_message_init(&m, EG_HANDOVER_LISTENER);
		m.number = i;
		r = eg_handover_send(g->caller, &m, &h.listeners[i], 1);
	}
	return r;
}

static void give(struct eg_supervisor *s, const struct eg_handover_message *m)
{
	struct eg_give *g = &s->handover.give;
	const char *why = why_not(s, m);
	char who[64];
	int r;

	caller_name(g, who);
	if (why) {
		eg_warn("%s asks to take over and is refused: %s", who, why);
		refuse(g->caller, why);
		hang_up(s);
		return;
	}
	eg_info("handing over to %s (version %s)", who, m->release);
	/* Before the first descriptor goes: from here on the tables are the other one's. */
	eg_charge_set(s, EG_CHARGE_GIVING);
	eg_watch_remove(s->loop, &s->datapath_watch);
	arm(s, GIVE_MS);
	r = send_all(s);
	if (r)
		withdraw(s, strerror(-r));
}

static void given(struct eg_supervisor *s)
{
	struct eg_give *g = &s->handover.give;
	struct eg_handover_message m;
	char who[64];

	eg_handover_message_init(&m, EG_HANDOVER_GO);
	if (eg_handover_send(g->caller, &m, NULL, 0)) {
		caller_gone(s); /* its last word, and then it died */
		return;
	}
	eg_timer_cancel(s->loop, &g->limit);
	eg_charge_set(s, EG_CHARGE_GIVEN);
	eg_info("handed over to %s; requests in flight here have %u s", caller_name(g, who),
		s->o->drain_ms / 1000);
	eg_watch_remove(s->loop, &g->listener_watch);
	eg_fd_close(&g->listener);
	eg_supervisor_yield(s);
}

static void follow(struct eg_supervisor *s, const struct eg_handover_message *m)
{
	struct eg_give *g = &s->handover.give;

	if (m->type == EG_HANDOVER_HELLO && s->charge == EG_CHARGE_MINE)
		give(s, m);
	else if (m->type == EG_HANDOVER_READY && s->charge == EG_CHARGE_GIVING && !g->withdrawn)
		given(s);
	else if (s->charge != EG_CHARGE_GIVING)
		hang_up(s);
	else if (!g->withdrawn)
		withdraw(s, "it says what has no place here");
}

/* What it has sent so far. */
static void listen_to_caller(struct eg_supervisor *s)
{
	struct eg_give *g = &s->handover.give;

	while (g->caller >= 0) {
		struct eg_handover_message m;
		int fds[EG_WIRE_FDS];
		char text[200];
		int r = eg_handover_receive(g->caller, &m, fds);

		if (r == -EAGAIN)
			return;
		if (r == 1) {
			eg_channel_close_fds(fds);
			follow(s, &m);
			continue;
		}
		if (r == 0 || s->charge == EG_CHARGE_GIVEN) {
			caller_gone(s);
			return;
		}
		if (r == -EPROTONOSUPPORT)
			snprintf(text, sizeof(text),
				 "it speaks version %u of the hand-over, this one version %u",
				 m.version, EG_HANDOVER_VERSION);
		else
			snprintf(text, sizeof(text), "it says what is no hand-over");
		if (s->charge != EG_CHARGE_GIVING) {
			eg_warn("a caller at the hand-over socket (pid %d) is refused: %s", g->pid,
				text);
			refuse(g->caller, text);
			hang_up(s);
		} else if (!g->withdrawn) {
			withdraw(s, text);
		}
	}
}

static void caller_ready(struct eg_watch *w, uint32_t events)
{
	(void)events;
	listen_to_caller(eg_container_of(w, struct eg_supervisor, handover.give.caller_watch));
}

static void too_late(struct eg_timer *t)
{
	struct eg_supervisor *s = eg_container_of(t, struct eg_supervisor, handover.give.limit);
	struct eg_give *g = &s->handover.give;
	char who[64];

	/* After a sleep of our own its word may lie unread: that counts. */
	listen_to_caller(s);
	if (g->caller < 0 || s->charge == EG_CHARGE_GIVEN)
		return;
	if (s->charge != EG_CHARGE_GIVING) {
		hang_up(s); /* it never said hello */
	} else if (!g->withdrawn) {
		withdraw(s, "it was not ready in time");
	} else {
		if (g->pidfd < 0 || pidfd_send_signal(g->pidfd, SIGKILL, NULL, 0))
			eg_error("%s does not end; until it does, policy and pods stay as they are",
				 caller_name(g, who));
		arm(s, GIVE_MS);
	}
}

static void called(struct eg_watch *w, uint32_t events)
{
	struct eg_supervisor *s =
		eg_container_of(w, struct eg_supervisor, handover.give.listener_watch);
	struct eg_give *g = &s->handover.give;
	EG_CLEANUP_FD int fd = accept4(g->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	pid_t pid;
	uid_t uid;

	(void)events;
	if (fd < 0)
		return;
	if (!eg_handover_peer_is_root(fd, &pid, &uid)) {
		eg_warn("hand-over socket: uid %u (pid %d) is refused", uid, pid);
		return;
	}
	if (g->caller >= 0) {
		refuse(fd, "it hands over to another one already");
		return;
	}
	g->pid = pid;
	g->pidfd = pid ? pidfd_open(pid, 0) : -1;
	g->caller = eg_fd_take(&fd);
	g->caller_watch.ready = caller_ready;
	if (eg_watch_add(s->loop, &g->caller_watch, g->caller, EPOLLIN)) {
		hang_up(s);
		return;
	}
	arm(s, HELLO_MS);
}

void eg_give_init(struct eg_give *g)
{
	g->listener = g->caller = g->pidfd = -1;
	g->listener_watch.fd = g->caller_watch.fd = -1;
	eg_timer_init(&g->limit, too_late);
}

bool eg_handover_postpones_stop(struct eg_supervisor *s)
{
	struct eg_give *g = &s->handover.give;

	if (s->charge != EG_CHARGE_GIVING || g->stop_wanted)
		return false;
	g->stop_wanted = true;
	return true;
}

int eg_handover_listen_open(struct eg_supervisor *s, struct eg_error *e)
{
	struct eg_handover *h = &s->handover;
	struct eg_give *g = &h->give;
	int n, r;

	if (!*h->path)
		return 0;
	if (s->charge == EG_CHARGE_TAKING) {
		n = snprintf(h->later, sizeof(h->later), "%s.new", h->path);
		if (n < 0 || (size_t)n >= sizeof(h->later))
			return eg_error_set(e, -ENAMETOOLONG, "--handover-socket: too long");
	}
	r = eg_handover_listen(*h->later ? h->later : h->path, &g->listener, e);
	if (r)
		return r;
	g->listener_watch.ready = called;
	/* A second start finds nobody there until we are in charge: it asks the former one. */
	r = eg_watch_add(s->loop, &g->listener_watch, g->listener, EPOLLIN);
	return r ? eg_error_set(e, r, "epoll: %s", strerror(-r)) : 0;
}

void eg_handover_take_place(struct eg_supervisor *s)
{
	struct eg_handover *h = &s->handover;

	if (!*h->later)
		return;
	if (rename(h->later, h->path) < 0)
		eg_error("%s: %s; the next egretd finds nobody to take over from", h->path,
			 strerror(errno));
	h->later[0] = '\0';
}

void eg_give_close(struct eg_supervisor *s)
{
	struct eg_handover *h = &s->handover;
	struct eg_give *g = &h->give;

	if (g->listener >= 0)
		(void)unlink(*h->later ? h->later : h->path);
	if (s->loop) {
		hang_up(s);
		eg_watch_remove(s->loop, &g->listener_watch);
	}
	eg_fd_close(&g->listener);
}
