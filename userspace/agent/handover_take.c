/* SPDX-License-Identifier: Apache-2.0 */
/* The new supervisor's side of a hand-over: handover.h. */
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/channel.h"
#include "agent/supervisor_impl.h"
#include "base/log.h"

#define ANSWER_MS 10000u /* for BASE and all listeners, and for GO */
#define TAKE_MS	  25000u /* from the start of the loop to READY; less than the former one waits */

/* In words, for the log: "pid 17" or "the egretd of another pod". */
static const char *former_name(const struct eg_take *t, char text[64])
{
	if (t->pid)
		snprintf(text, 64, "pid %d", t->pid);
	else
		snprintf(text, 64, "an egretd of another pid namespace");
	return text;
}

/* ---- what is handed over ---- */

static int await_message(int fd, uint64_t end_ms, struct eg_handover_message *m,
			 int fds[EG_WIRE_FDS])
{
	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		uint64_t now = eg_now_ms();
		int r = eg_handover_receive(fd, m, fds);

		if (r != -EAGAIN)
			return r;
		if (now >= end_ms)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)(end_ms - now)) < 0 && errno != EINTR)
			return -errno;
	}
}

static int no_answer(int r, const struct eg_handover_message *m, const char *who,
		     struct eg_error *e)
{
	if (r == -EPROTONOSUPPORT)
		return eg_error_set(e, r,
				    "%s hands over by version %u of the protocol, this one knows "
				    "version %u: end it first, then start this one",
				    who, m->version, EG_HANDOVER_VERSION);
	if (r == -ETIMEDOUT)
		return eg_error_set(e, r,
				    "%s does not answer at the hand-over socket within %u s; end "
				    "it first, then start this one",
				    who, ANSWER_MS / 1000);
	if (r == -EPROTO)
		return eg_error_set(e, r, "%s answers something else than a hand-over", who);
	return eg_error_set(e, r, "hand-over from %s: %s", who, strerror(-r));
}

static int take_base(struct eg_supervisor *s, const struct eg_handover_message *m,
		     int fds[EG_WIRE_FDS], struct eg_error *e)
{
	struct eg_take *t = &s->handover.take;
	unsigned int next = 1;

	if (!m->count || m->count > EG_MAX_WORKERS)
		return eg_error_set(e, -EPROTO, "hand-over of %u listeners", m->count);
	t->lock = eg_fd_take(&fds[0]);
	if (m->flags & EG_HANDOVER_NAMESPACE)
		t->agent_netns = eg_fd_take(&fds[next++]);
	if (m->flags & EG_HANDOVER_METRICS)
		t->metrics = eg_fd_take(&fds[next]);
	if (s->o->mode == EG_MODE_NETNS && t->agent_netns < 0)
		return eg_error_set(e, -EPROTO, "hand-over without the agent's namespace");
	memcpy(t->release, m->release, sizeof(t->release));
	t->handed = (struct eg_datapath_handed){.lock = t->lock,
						.agent_netns = t->agent_netns,
						.listeners = t->listeners,
						.listener_count = m->count,
						.cgroup = m->cgroup};
	return 0;
}

static bool is_listener(int fd)
{
	int listens = 0;
	socklen_t n = sizeof(listens);

	return !getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &n) && listens;
}

static int take_listener(struct eg_take *t, const struct eg_handover_message *m,
			 int fds[EG_WIRE_FDS], struct eg_error *e)
{
	if (m->number != t->listener_count || !is_listener(fds[0]))
		return eg_error_set(e, -EPROTO, "hand-over of what is no listener");
	t->listeners[t->listener_count++] = eg_fd_take(&fds[0]);
	return 0;
}

static int receive_all(struct eg_supervisor *s, const char *who, struct eg_error *e)
{
	struct eg_take *t = &s->handover.take;
	uint64_t end = eg_now_ms() + ANSWER_MS;
	struct eg_handover_message m;
	int fds[EG_WIRE_FDS];
	int r;

	do {
		r = await_message(t->former, end, &m, fds);
		if (r != 1)
			return r ? no_answer(r, &m, who, e) : -EPIPE;
		if (m.type == EG_HANDOVER_BASE && t->lock < 0)
			r = take_base(s, &m, fds, e);
		else if (m.type == EG_HANDOVER_LISTENER && t->lock >= 0)
			r = take_listener(t, &m, fds, e);
		else if (m.type == EG_HANDOVER_REFUSE)
			r = eg_error_set(e, -EBUSY, "%s hands nothing over: %s", who, m.text);
		else
			r = no_answer(-EPROTO, &m, who, e);
		eg_channel_close_fds(fds);
	} while (!r && t->listener_count < t->handed.listener_count);
	return r;
}

static int say_hello(struct eg_supervisor *s)
{
	struct eg_handover_message m;
	struct eg_error ignored;

	eg_handover_message_init(&m, EG_HANDOVER_HELLO);
	m.mode = (uint32_t)s->o->mode;
	if (eg_cgroup_id(0, &m.cgroup, &ignored))
		m.cgroup = 0;
	eg_str_copy(m.release, sizeof(m.release), eg_str_from(EG_VERSION));
	eg_str_copy(m.pin_dir, sizeof(m.pin_dir), eg_str_from(s->o->pin_dir));
	eg_str_copy(m.namespace_path, sizeof(m.namespace_path), eg_str_from(s->o->agent_namespace));
	return eg_handover_send(s->handover.take.former, &m, NULL, 0);
}

/* "" where none is wanted. */
static int find_path(const struct eg_options *o, char *path, size_t size)
{
	const char *given = o->handover_socket;
	int n;

	path[0] = '\0';
	if (given && !strcmp(given, "none"))
		return 0;
	n = given ? snprintf(path, size, "%s", given)
		  : snprintf(path, size, "%s/handover.sock", o->run_dir);
	/* Room for ".new", the name of ours until the place is free. */
	return n < 0 || (size_t)n + sizeof(".new") > size ? -ENAMETOOLONG : 0;
}

void eg_handover_remove(const struct eg_options *o)
{
	char path[sizeof(((struct eg_handover *)0)->path)];
	struct stat st;

	if (!find_path(o, path, sizeof(path)) && *path && !lstat(path, &st) && S_ISSOCK(st.st_mode))
		(void)unlink(path);
}

int eg_handover_take(struct eg_supervisor *s, struct eg_error *e)
{
	struct eg_take *t = &s->handover.take;
	char who[64];
	uid_t uid;
	int r;

	r = find_path(s->o, s->handover.path, sizeof(s->handover.path));
	if (r)
		return eg_error_set(e, r,
				    "the hand-over socket's path is too long (at most %zu bytes); "
				    "name another with --handover-socket",
				    sizeof(s->handover.path) - sizeof(".new"));
	if (!*s->handover.path)
		return 0;
	r = eg_handover_connect(s->handover.path, &t->former, e);
	if (r)
		return r == -ENOENT ? 0 : r;
	(void)eg_handover_peer_is_root(t->former, &t->pid, &uid);
	eg_info("taking over from %s", former_name(t, who));
	r = say_hello(s);
	if (!r || r == -EPIPE) /* it may have said why before it hung up */
		r = receive_all(s, who, e);
	if (r == -EPIPE && t->lock < 0) {
		/* It ended in this very moment, or is about to: the lock will tell. */
		eg_warn("%s was ending; this is a start of its own", who);
		eg_take_close(s);
		return 0;
	}
	if (r)
		return *e->text ? r
				: eg_error_set(e, r, "hand-over from %s: %s", who, strerror(-r));
	t->happened = true;
	eg_charge_set(s, EG_CHARGE_TAKING);
	return 0;
}

static bool same_address(int fd, const struct sockaddr_storage *want, socklen_t length)
{
	struct sockaddr_storage at;
	socklen_t n = sizeof(at);

	memset(&at, 0, sizeof(at));
	return is_listener(fd) && !getsockname(fd, (struct sockaddr *)&at, &n) && n == length &&
	       !memcmp(&at, want, length);
}

int eg_handover_metrics(struct eg_supervisor *s)
{
	struct eg_take *t = &s->handover.take;

	if (t->metrics >= 0 && s->o->metrics_length &&
	    same_address(t->metrics, &s->o->metrics, s->o->metrics_length))
		return eg_fd_take(&t->metrics);
	eg_fd_close(&t->metrics);
	return -1;
}

/* ---- taking charge ---- */

static void take_charge(struct eg_supervisor *s)
{
	struct eg_message accept_now = {.type = EG_WIRE_ACCEPT};

	eg_timer_cancel(s->loop, &s->handover.take.limit);
	eg_charge_set(s, EG_CHARGE_MINE);
	/* Not earlier: what it accepted would end with us if we did not come so far. */
	eg_gateway_send(s, &accept_now, NULL, 0);
	eg_admin_take_place(s->admin);
	eg_handover_take_place(s);
}

static void former_gone(struct eg_supervisor *s)
{
	struct eg_take *t = &s->handover.take;
	char who[64];

	former_name(t, who);
	eg_watch_remove(s->loop, &t->watch);
	eg_fd_close(&t->former);
	eg_datapath_former_gone(s->datapath);
	if (s->charge != EG_CHARGE_TAKING) {
		eg_info("%s, from which this one took over, has ended", who);
		return;
	}
	eg_warn("%s is gone before this one was ready; this one goes on alone", who);
	/* As when a gateway is replaced: for two seconds the kernel holds nothing against it. */
	if (!s->serving)
		s->lost_ms = eg_now_ms();
	take_charge(s);
}

void eg_handover_give_up(struct eg_supervisor *s, const char *why)
{
	char who[64];

	if (s->charge != EG_CHARGE_TAKING)
		return;
	eg_error("this one does not take over, %s goes on: %s", former_name(&s->handover.take, who),
		 why);
	s->exit_code = 1;
	eg_loop_stop(s->loop);
}

static void former_says(struct eg_watch *w, uint32_t events)
{
	struct eg_supervisor *s = eg_container_of(w, struct eg_supervisor, handover.take.watch);
	struct eg_take *t = &s->handover.take;
	struct eg_handover_message m;
	int fds[EG_WIRE_FDS];
	char who[64];
	int r;

	(void)events;
	r = eg_handover_receive(t->former, &m, fds);
	if (r == -EAGAIN)
		return;
	if (r == 1)
		eg_channel_close_fds(fds);
	if (r == 1 && m.type == EG_HANDOVER_GO && t->asked) {
		/* After our own limit we did not wait for it any more. */
		if (s->charge == EG_CHARGE_TAKING) {
			eg_info("taken over from %s", former_name(t, who));
			take_charge(s);
		}
	} else if (r == 1 && m.type == EG_HANDOVER_REFUSE) {
		eg_handover_give_up(s, m.text);
	} else {
		former_gone(s);
	}
}

static void too_late(struct eg_timer *timer)
{
	struct eg_supervisor *s = eg_container_of(timer, struct eg_supervisor, handover.take.limit);
	char who[64];

	if (!s->handover.take.asked) {
		eg_handover_give_up(s, "the gateway was not ready in time");
		return;
	}
	eg_warn("%s does not answer; this one is in charge, and that one drains once it is awake",
		former_name(&s->handover.take, who));
	take_charge(s);
}

static void release(struct eg_take *t)
{
	eg_fd_close(&t->lock);
	eg_fd_close(&t->agent_netns);
	eg_fd_close(&t->metrics);
	for (size_t i = 0; i < t->listener_count; i++)
		eg_fd_close(&t->listeners[i]);
	t->listener_count = 0;
	t->handed = (struct eg_datapath_handed){.lock = -1, .agent_netns = -1};
}

int eg_handover_watch(struct eg_supervisor *s, struct eg_error *e)
{
	struct eg_take *t = &s->handover.take;
	int r;

	if (s->charge != EG_CHARGE_TAKING)
		return 0;
	release(t); /* the datapath has its own by now */
	if (!s->loaded)
		return eg_error_set(e, -EINVAL,
				    "there is no good policy in %s; the running egretd "
				    "goes on with its own",
				    s->o->policy_dir);
	t->watch.ready = former_says;
	r = eg_watch_add(s->loop, &t->watch, t->former, EPOLLIN);
	return r ? r : eg_timer_set(s->loop, &t->limit, TAKE_MS);
}

void eg_handover_ready(struct eg_supervisor *s)
{
	struct eg_take *t = &s->handover.take;
	struct eg_handover_message m;
	int r;

	if (s->charge != EG_CHARGE_TAKING || t->asked)
		return;
	eg_handover_message_init(&m, EG_HANDOVER_READY);
	r = eg_handover_send(t->former, &m, NULL, 0);
	t->asked = true;
	if (r == -EPIPE)
		return; /* the watch tells */
	if (r || eg_timer_set(s->loop, &t->limit, ANSWER_MS))
		eg_handover_give_up(s, r ? strerror(-r) : "out of memory");
}

void eg_take_close(struct eg_supervisor *s)
{
	struct eg_take *t = &s->handover.take;

	if (s->loop) {
		eg_timer_cancel(s->loop, &t->limit);
		eg_watch_remove(s->loop, &t->watch);
	}
	eg_fd_close(&t->former);
	release(t);
}

void eg_handover_init(struct eg_supervisor *s)
{
	struct eg_take *t = &s->handover.take;
	struct eg_give *g = &s->handover.give;

	t->former = t->lock = t->agent_netns = t->metrics = t->watch.fd = -1;
	for (size_t i = 0; i < EG_MAX_WORKERS; i++)
		t->listeners[i] = -1;
	eg_timer_init(&t->limit, too_late);
	eg_give_init(g);
}
