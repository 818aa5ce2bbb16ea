/* SPDX-License-Identifier: Apache-2.0 */
/* Gateway and signer as processes: started by the spawner, watched, replaced. */
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include "agent/channel.h"
#include "agent/supervisor_impl.h"
#include "base/log.h"

#define STEADY_MS   10000u /* lived so long: a later failure is a new one */
#define BACKOFF_MS  100u
#define BACKOFF_MAX 5000u
#define TAKEN_MS    500u

static const char *role_name(enum eg_role role)
{
	return role == EG_ROLE_GATEWAY ? "gateway" : "signer";
}

/* It is gone, or must go: the spawner owes its end. */
static void away(struct eg_child *c)
{
	if (!c->awaited_ms)
		c->awaited_ms = eg_now_ms();
	if (c->role == EG_ROLE_GATEWAY)
		eg_heartbeat_lost(c);
	else
		eg_heartbeat_signer_lost(c->supervisor);
}

static void drop_control(struct eg_child *c)
{
	eg_watch_remove(c->supervisor->loop, &c->watch);
	eg_fd_close(&c->control);
}

static void start_again(struct eg_timer *t)
{
	eg_child_start(eg_container_of(t, struct eg_child, again));
}

/* It is gone, or could not be made: the next one at once, then later and later. */
static void schedule(struct eg_child *c)
{
	uint64_t now = eg_now_ms(), delay = 0;

	if (c->supervisor->stopping)
		return;
	if (now - c->started_ms > STEADY_MS)
		c->failures = 0;
	if (c->failures)
		delay = EG_MIN((uint64_t)BACKOFF_MS << EG_MIN(c->failures - 1, 10u),
			       (uint64_t)BACKOFF_MAX);
	if (c->supervisor->renewal == EG_RENEWAL_PREPARING && c == c->supervisor->gateway) {
		eg_renewal_failed(c->supervisor, "it could not be started");
		return;
	}
	c->failures++;
	c->restarts++;
	if (eg_timer_set(c->supervisor->loop, &c->again, delay))
		eg_supervisor_fail(c->supervisor, "out of memory");
}

/* Its clients have a reset each; there is no record of theirs, so the numbers are said here. What
 * lay unread in a socket nobody has counted as a request: the connection stands for it. */
static void count_lost(struct eg_child *c)
{
	struct eg_supervisor *s = c->supervisor;
	uint64_t requests = eg_flight_requests(c->flight);
	uint64_t connections = eg_flight_connections(c->flight);

	eg_flight_close(c->flight);
	c->flight = NULL;
	s->requests_lost += requests;
	s->connections_lost += connections;
	if (requests || connections)
		eg_error("%llu requests were in flight on that gateway, and %llu connections of "
			 "pods were open: their clients got a reset, and such requests are not in "
			 "the access log (egret_requests_lost_total, egret_connections_lost_total)",
			 (unsigned long long)requests, (unsigned long long)connections);
}

static void lost(struct eg_child *c)
{
	if (c->role == EG_ROLE_GATEWAY) {
		count_lost(c);
		eg_trace_gateway_ended(c);
	}
	drop_control(c);
	away(c);
	c->pid = 0;
	c->serial = 0;
	c->awaited_ms = 0;
	if (c->role == EG_ROLE_GATEWAY && eg_renewal_ended(c->supervisor, c))
		return;
	if (c->role == EG_ROLE_GATEWAY)
		eg_offer_lost(c->supervisor);
	schedule(c);
}

void eg_child_start(struct eg_child *c)
{
	struct eg_supervisor *s = c->supervisor;
	struct eg_error e = {""};
	int ends[2], r;

	c->started_ms = eg_now_ms();
	c->killed = false;
	r = eg_channel_pair(ends);
	if (r) {
		eg_error("%s: socketpair: %s", role_name(c->role), strerror(-r));
		schedule(c);
		return;
	}
	r = eg_spawner_spawn(&s->spawner, c->role, ends[1], &c->serial);
	eg_fd_close(&ends[1]);
	c->awaited_ms = c->started_ms;
	c->control = ends[0];
	if (!r)
		r = eg_watch_add(s->loop, &c->watch, c->control, EPOLLIN);
	/* The socket holds these until the process is there to read them. */
	if (!r)
		r = c->role == EG_ROLE_GATEWAY ? eg_gateway_configure(s, &e)
					       : eg_signer_configure(s, &e);
	if (!r && c->role == EG_ROLE_GATEWAY)
		eg_trace_tell(c);
	if (r) {
		eg_error("%s can't be started: %s", role_name(c->role),
			 *e.text       ? e.text
			 : r == -EPIPE ? "the process at the other end has ended; see above"
				       : strerror(-r));
		c->serial = 0; /* whatever was spawned finds its socket closed and ends */
		c->awaited_ms = 0;
		drop_control(c);
		schedule(c);
	}
}

void eg_child_kill(struct eg_child *c, const char *why)
{
	if (!c->pid || c->killed)
		return;
	c->killed = true;
	eg_warn("%s (pid %d) is ended: %s", role_name(c->role), c->pid, why);
	/* What it still says counts no more. */
	eg_watch_remove(c->supervisor->loop, &c->watch);
	away(c);
	if (eg_spawner_signal(&c->supervisor->spawner, c->pid, SIGKILL))
		eg_supervisor_fail(c->supervisor, "the spawner does not take what it is asked for");
}

/* It has not taken the descriptors that were sent before, of which the kernel lets a limited number
 * (RLIMIT_NOFILE) be on their way. A moment for it; one that hangs is not waited for. */
static int send_when_taken(struct eg_child *c, const struct eg_message *m, const int *fds,
			   unsigned int count)
{
	uint64_t end_ms = eg_now_ms() + TAKEN_MS;
	int r;

	while ((r = eg_channel_send(c->control, m, fds, count)) == -ETOOMANYREFS &&
	       eg_now_ms() < end_ms) {
		(void)poll(NULL, 0, 1);
		eg_heartbeat_keep(c->supervisor);
	}
	return r;
}

bool eg_child_send(struct eg_child *c, const struct eg_message *m, const int *fds,
		   unsigned int count)
{
	int r;

	if (c->control < 0)
		return false;
	r = send_when_taken(c, m, fds, count);
	if (r == -EAGAIN || r == -ETOOMANYREFS)
		eg_child_kill(c, "it does not read what it is sent");
	else if (r && r != -EPIPE)
		eg_child_kill(c, strerror(-r));
	return !r;
}

bool eg_gateway_send(struct eg_supervisor *s, const struct eg_message *m, const int *fds,
		     unsigned int count)
{
	return eg_child_send(s->gateway, m, fds, count);
}

struct eg_child *eg_gateway_serving(struct eg_supervisor *s)
{
	return s->renewal == EG_RENEWAL_PREPARING ? s->former : s->gateway;
}

/* ---- what the gateway says ---- */

static void gateway_says(struct eg_child *c, struct eg_message *m)
{
	struct eg_supervisor *s = c->supervisor;
	struct eg_message reply = {.type = EG_WIRE_STATS};

	/* Its offers are over; what it says of an earlier one counts no more. */
	if (c == s->former &&
	    (m->type == EG_WIRE_READY || m->type == EG_WIRE_ACK || m->type == EG_WIRE_NACK))
		return;
	switch ((enum eg_wire_type)m->type) {
	case EG_WIRE_READY:
		s->ready = true;
		eg_info("gateway (pid %d) is ready", s->gateway->pid);
		eg_offer(s);
		break;
	case EG_WIRE_ACK:
		eg_heartbeat_compiled(c);
		eg_offer_acknowledged(s, m->number);
		break;
	case EG_WIRE_NACK:
		m->u.text[EG_WIRE_TEXT - 1] = '\0';
		eg_heartbeat_compiled(c);
		eg_offer_refused(s, m->number, m->u.text);
		break;
	case EG_WIRE_PONG:
		eg_heartbeat_pong(c, m->number);
		break;
	case EG_WIRE_RESOLVED:
		eg_offer_addresses(s, &m->u.addresses, 0);
		break;
	case EG_WIRE_LEARNED:
		if (m->number)
			eg_offer_addresses(s, &m->u.addresses, m->number);
		break;
	case EG_WIRE_WANT_STATS:
		eg_stats_fill(s, &reply.u.stats);
		(void)eg_child_send(c, &reply, NULL, 0);
		break;
	case EG_WIRE_FAILED:
		m->u.text[EG_WIRE_TEXT - 1] = '\0';
		eg_error("gateway could not start: %s", m->u.text);
		break;
	case EG_WIRE_DENIALS:
		eg_report_denials(s, &m->u.denials);
		break;
	case EG_WIRE_TRACED:
		eg_traced(c, &m->u.traced);
		break;
	case EG_WIRE_SPAWN:
	case EG_WIRE_SIGNAL:
	case EG_WIRE_SPAWNED:
	case EG_WIRE_EXITED:
	case EG_WIRE_CONFIG:
	case EG_WIRE_FORBIDDEN:
	case EG_WIRE_FLIGHT:
	case EG_WIRE_WORKER:
	case EG_WIRE_CHAIN:
	case EG_WIRE_DEFAULT_TRUST:
	case EG_WIRE_START:
	case EG_WIRE_POLICY:
	case EG_WIRE_PODS:
	case EG_WIRE_CREDENTIAL:
	case EG_WIRE_KEEP:
	case EG_WIRE_PROVIDER_TRUST:
	case EG_WIRE_KEEP_TRUST:
	case EG_WIRE_COMMIT:
	case EG_WIRE_PING:
	case EG_WIRE_DNS:
	case EG_WIRE_STATS:
	case EG_WIRE_DRAIN:
	case EG_WIRE_ACCESS_LOG:
	case EG_WIRE_ACCEPT:
	case EG_WIRE_PAGE_TOKEN:
	case EG_WIRE_TRACE:
	case EG_WIRE_TRACE_END:
	case EG_WIRE_TRACE_TAKEN:
	case EG_WIRE_TYPES:
		eg_child_kill(c, "it sent what only others send");
		break;
	}
}

/* It is as good as dead; the spawner tells the rest, unless it can't. */
static void closed(struct eg_child *c)
{
	eg_watch_remove(c->supervisor->loop, &c->watch);
	away(c);
	if (c->supervisor->stopping && c->supervisor->spawner_hung && c->role == EG_ROLE_GATEWAY)
		eg_loop_stop(c->supervisor->loop);
}

static void gateway_ready(struct eg_watch *w, uint32_t events)
{
	struct eg_child *c = eg_container_of(w, struct eg_child, watch);
	struct eg_message m;
	int fds[EG_WIRE_FDS];
	int r = 1;

	(void)events;
	/* Bounded: a gateway that never stops talking must not stop the heartbeat. */
	for (int i = 0; i < 64 && c->control >= 0 && !c->killed; i++) {
		r = eg_channel_receive(c->control, &m, fds);
		if (r != 1)
			break;
		eg_channel_close_fds(fds);
		gateway_says(c, &m);
	}
	if (r == -EPROTO || r == -EMFILE)
		eg_child_kill(c, "it sent what is not a message");
	if (r != 1 && r != -EAGAIN)
		closed(c);
}

static void signer_ready(struct eg_watch *w, uint32_t events)
{
	struct eg_child *c = eg_container_of(w, struct eg_child, watch);

	(void)events;
	if (!eg_signer_replies(c->supervisor))
		closed(c);
}

/* ---- what the spawner says ---- */

static void spawned(struct eg_child *c, const struct eg_message *m)
{
	if (m->value) {
		eg_error("%s can't be executed: %s", role_name(c->role), strerror((int)-m->value));
		lost(c);
		return;
	}
	c->pid = m->pid;
	c->awaited_ms = 0;
	eg_info("%s runs as pid %d", role_name(c->role), c->pid);
}

static void exited(struct eg_child *c, int status)
{
	if (c->killed || c->supervisor->stopping || (c == c->supervisor->former && !status))
		eg_info("%s (pid %d) has ended", role_name(c->role), c->pid);
	else if (WIFSIGNALED(status))
		eg_error("%s (pid %d) was killed by signal %d (%s)", role_name(c->role), c->pid,
			 WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		eg_error("%s (pid %d) ended with status %d", role_name(c->role), c->pid,
			 WEXITSTATUS(status));
	lost(c);
	if (c->supervisor->stopping && c->role == EG_ROLE_GATEWAY &&
	    !c->supervisor->gateways[0].pid && !c->supervisor->gateways[1].pid)
		eg_loop_stop(c->supervisor->loop); /* all has drained */
}

static void spawner_says(struct eg_watch *w, uint32_t events)
{
	struct eg_supervisor *s = eg_container_of(w, struct eg_supervisor, spawner_watch);
	struct eg_child *const children[] = {&s->gateways[0], &s->gateways[1], &s->signer};
	struct eg_message m;
	int fds[EG_WIRE_FDS];
	int r;

	(void)events;
	while ((r = eg_channel_receive(s->spawner.fd, &m, fds)) == 1) {
		eg_channel_close_fds(fds);
		if (m.type == EG_WIRE_PONG)
			eg_heartbeat_spawner_pong(s, m.number);
		for (size_t i = 0; i < EG_ARRAY_SIZE(children); i++) {
			struct eg_child *c = children[i];

			if (m.type == EG_WIRE_SPAWNED && c->serial && m.number == c->serial)
				spawned(c, &m);
			else if (m.type == EG_WIRE_EXITED && c->pid && m.pid == c->pid)
				exited(c, (int)m.value);
		}
	}
	if (r == -EAGAIN)
		return;
	eg_watch_remove(s->loop, w);
	if (!s->stopping)
		eg_error("the spawner is gone; egretd ends, and the fail policy holds");
	s->exit_code = 1;
	eg_loop_stop(s->loop);
}

static void init_child(struct eg_supervisor *s, struct eg_child *c, enum eg_role role,
		       void (*ready)(struct eg_watch *w, uint32_t events))
{
	c->supervisor = s;
	c->role = role;
	c->control = -1;
	c->watch.fd = -1;
	c->watch.ready = ready;
	eg_timer_init(&c->again, start_again);
	for (size_t i = 0; i < EG_MAX_WORKERS; i++)
		c->signer_ends[i] = -1;
}

int eg_children_start(struct eg_supervisor *s, struct eg_error *e)
{
	int r;

	for (size_t i = 0; i < EG_ARRAY_SIZE(s->gateways); i++)
		init_child(s, &s->gateways[i], EG_ROLE_GATEWAY, gateway_ready);
	s->gateway = &s->gateways[0];
	eg_renewal_open(s);
	init_child(s, &s->signer, EG_ROLE_SIGNER, signer_ready);
	s->signer_lost_ms = eg_now_ms();
	s->spawner_watch.ready = spawner_says;
	s->spawner_watch.fd = -1;
	r = eg_watch_add(s->loop, &s->spawner_watch, s->spawner.fd, EPOLLIN);
	if (r)
		return eg_error_set(e, r, "epoll: %s", strerror(-r));
	/* The gateway's configuration makes the sockets that the signer's needs. */
	eg_child_start(s->gateway);
	eg_child_start(&s->signer);
	return 0;
}

static void close_child(struct eg_child *c)
{
	eg_timer_cancel(c->supervisor->loop, &c->again);
	drop_control(c);
	eg_flight_close(c->flight);
	c->flight = NULL;
	eg_buf_fini(&c->traced);
	for (size_t i = 0; i < EG_MAX_WORKERS; i++)
		eg_fd_close(&c->signer_ends[i]);
}

void eg_children_close(struct eg_supervisor *s)
{
	if (!s->gateway)
		return;
	eg_renewal_close(s);
	for (size_t i = 0; i < EG_ARRAY_SIZE(s->gateways); i++)
		close_child(&s->gateways[i]);
	close_child(&s->signer);
	eg_watch_remove(s->loop, &s->spawner_watch);
	eg_fd_close(&s->spawner.fd);
}
