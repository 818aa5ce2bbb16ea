/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who watches requests (egretctl trace): a socket each, on which records go out as they come from a
 * gateway, and which ends it when it is closed. What a gateway says is not read here, only framed:
 * each record becomes the one member of an object in one line, without bytes that could end that
 * line. A reader that is slow loses records, and is told how many; nobody waits for it.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/supervisor_impl.h"
#include "base/log.h"
#include "telemetry/tracer.h"

#define OUT_BYTES ((size_t)512 << 10) /* of one reader, not written yet */
#define SAID_ROOM ((size_t)256)	      /* of that, for what we say ourselves */

struct session {
	struct eg_supervisor *supervisor;
	int fd;		/* -1: free */
	uint32_t epoch; /* since which it is this one's place */
	struct eg_watch watch;
	struct eg_wire_trace filter;
	struct eg_buf out;
	uint64_t slow, lost; /* records that it did not take; that a gateway had no room for */
};

struct eg_trace_sessions {
	uint32_t epoch;
	struct session place[EG_TRACERS];
};

/* To all gateways: one that drains has requests, too. */
static void tell_all(struct eg_supervisor *s, const struct eg_message *m)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(s->gateways); i++)
		if (s->gateways[i].control >= 0 && !s->gateways[i].killed)
			(void)eg_child_send(&s->gateways[i], m, NULL, 0);
}

static void leave(struct session *w)
{
	struct eg_supervisor *s = w->supervisor;
	struct eg_message m = {.type = EG_WIRE_TRACE_END};

	if (w->fd < 0)
		return;
	eg_watch_remove(s->loop, &w->watch);
	eg_fd_close(&w->fd);
	eg_buf_fini(&w->out);
	m.number = ++s->traces->epoch;
	m.value = w - s->traces->place;
	tell_all(s, &m);
	eg_info("a trace has ended (%s%s%s)", *w->filter.pod ? w->filter.pod : "all pods",
		*w->filter.host ? ", " : "", w->filter.host);
}

/* What it missed, as soon as there is room. */
static void say_missed(struct session *w)
{
	if (!w->slow && !w->lost)
		return;
	if (eg_buf_printf(&w->out, "{\"not_shown\":{\"slow\":%llu,\"lost\":%llu}}\n",
			  (unsigned long long)w->slow, (unsigned long long)w->lost))
		return;
	w->slow = w->lost = 0;
}

/* False: it has ended. */
static bool write_on(struct session *w)
{
	for (;;) {
		ssize_t n;

		if (w->out.length < OUT_BYTES / 2)
			say_missed(w);
		if (!w->out.length)
			break;
		n = send(w->fd, eg_buf_data(&w->out), w->out.length, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0) {
			leave(w);
			return false;
		}
		eg_buf_consume(&w->out, (size_t)n);
	}
	if (!w->out.length)
		eg_buf_release(&w->out);
	if (eg_watch_set(w->supervisor->loop, &w->watch,
			 EPOLLIN | (w->out.length ? EPOLLOUT : 0u))) {
		leave(w);
		return false;
	}
	return true;
}

/* It says no more: what comes is the end. */
static void session_ready(struct eg_watch *watch, uint32_t events)
{
	struct session *w = eg_container_of(watch, struct session, watch);
	char ignored[256];
	ssize_t n;

	if (events & EPOLLOUT && !write_on(w))
		return;
	if (!(events & ~(uint32_t)EPOLLOUT))
		return;
	n = recv(w->fd, ignored, sizeof(ignored), 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		leave(w);
}

static struct eg_trace_sessions *sessions_of(struct eg_supervisor *s)
{
	if (s->traces)
		return s->traces;
	s->traces = calloc(1, sizeof(*s->traces));
	for (size_t i = 0; s->traces && i < EG_TRACERS; i++) {
		s->traces->place[i].supervisor = s;
		s->traces->place[i].fd = -1;
		s->traces->place[i].watch.fd = -1;
		s->traces->place[i].watch.ready = session_ready;
	}
	return s->traces;
}

static void tell(const struct session *w, struct eg_message *m)
{
	*m = (struct eg_message){.type = EG_WIRE_TRACE, .number = w->epoch};
	m->value = w - w->supervisor->traces->place;
	m->u.trace = w->filter;
}

static struct session *free_place(struct eg_trace_sessions *t)
{
	for (size_t i = 0; i < EG_TRACERS; i++)
		if (t->place[i].fd < 0)
			return &t->place[i];
	return NULL;
}

bool eg_trace_begin(struct eg_supervisor *s, int *fd, const char *pod, const char *host,
		    const char **why)
{
	struct eg_trace_sessions *t = sessions_of(s);
	struct session *w = t ? free_place(t) : NULL;
	struct eg_message m;

	*why = !t   ? "out of memory"
	       : !w ? "four traces are going on, and there are no more"
	       : strlen(pod) >= sizeof(w->filter.pod) || strlen(host) >= sizeof(w->filter.host)
		       ? "a pod's or a host's name is too long"
		       : NULL;
	if (*why)
		return false;
	w->filter = (struct eg_wire_trace){.pod = ""};
	eg_str_copy(w->filter.pod, sizeof(w->filter.pod), eg_str_from(pod));
	eg_str_copy(w->filter.host, sizeof(w->filter.host), eg_str_from(host));
	w->slow = w->lost = 0;
	eg_buf_init(&w->out, OUT_BYTES);
	if (eg_buf_printf(&w->out, "{\"tracing\":true}\n") ||
	    eg_watch_add(s->loop, &w->watch, *fd, EPOLLIN | EPOLLOUT)) {
		eg_buf_fini(&w->out);
		*why = "out of memory";
		return false;
	}
	w->fd = eg_fd_take(fd);
	w->epoch = ++t->epoch;
	tell(w, &m);
	tell_all(s, &m);
	eg_info("a trace begins (%s%s%s)", *pod ? pod : "all pods", *host ? ", " : "", host);
	return true;
}

void eg_trace_tell(struct eg_child *gateway)
{
	struct eg_trace_sessions *t = gateway->supervisor->traces;
	struct eg_message m;

	gateway->traced_unsaid = 0;
	gateway->traced_cut = false;
	eg_buf_fini(&gateway->traced);
	eg_buf_init(&gateway->traced, EG_TRACE_RECORD);
	for (size_t i = 0; t && i < EG_TRACERS; i++) {
		if (t->place[i].fd < 0)
			continue;
		tell(&t->place[i], &m);
		(void)eg_child_send(gateway, &m, NULL, 0);
	}
}

/* What we say ourselves. */
static void say(struct session *w, const char *line)
{
	if (!eg_buf_append(&w->out, line, strlen(line)))
		(void)write_on(w);
}

void eg_trace_gateway_ended(struct eg_child *gateway)
{
	struct eg_supervisor *s = gateway->supervisor;

	eg_buf_fini(&gateway->traced);
	if (s->stopping || gateway != eg_gateway_serving(s))
		return;
	for (size_t i = 0; s->traces && i < EG_TRACERS; i++)
		if (s->traces->place[i].fd >= 0)
			say(&s->traces->place[i], "{\"gateway_ended\":true}\n");
}

static void give(struct session *w, struct eg_str record)
{
	size_t before = w->out.length;

	if (before + record.n + SAID_ROOM > OUT_BYTES ||
	    eg_buf_append_str(&w->out, EG_STR("{\"record\":")) ||
	    eg_buf_append_str(&w->out, record) || eg_buf_append_str(&w->out, EG_STR("}\n"))) {
		w->out.length = before;
		w->slow++;
		return;
	}
	(void)write_on(w);
}

/* Whose it is: those that were there already when the request was looked at. */
static bool is_for(const struct session *w, uint32_t place, const struct eg_wire_traced *t)
{
	return w->fd >= 0 && t->places & 1u << place && (int32_t)(t->epoch - w->epoch) >= 0;
}

static void take_piece(struct eg_child *c, const struct eg_wire_traced *t)
{
	size_t n = EG_MIN(t->length, EG_TRACE_PIECE);
	size_t at = c->traced.length;

	c->traced_cut |= eg_buf_append(&c->traced, t->text, n) != 0;
	for (; !c->traced_cut && at < c->traced.length; at++) {
		char *p = eg_buf_data(&c->traced) + at;

		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = ' ';
	}
}

static void acknowledge(struct eg_child *c)
{
	struct eg_message m = {.type = EG_WIRE_TRACE_TAKEN};

	if (++c->traced_unsaid < EG_TRACE_ACK)
		return;
	m.number = c->traced_unsaid;
	c->traced_unsaid = 0;
	(void)eg_child_send(c, &m, NULL, 0);
}

void eg_traced(struct eg_child *gateway, const struct eg_wire_traced *t)
{
	struct eg_trace_sessions *all = gateway->supervisor->traces;

	acknowledge(gateway);
	if (!all)
		return;
	if (t->lost) {
		for (uint32_t i = 0; i < EG_TRACERS; i++)
			if (all->place[i].fd >= 0 && t->places & 1u << i) {
				all->place[i].lost += EG_MIN(t->lost, (uint64_t)UINT32_MAX);
				(void)write_on(&all->place[i]);
			}
		return;
	}
	take_piece(gateway, t);
	if (t->more)
		return;
	for (uint32_t i = 0; i < EG_TRACERS; i++) {
		if (!is_for(&all->place[i], i, t))
			continue;
		if (gateway->traced_cut)
			all->place[i].lost++;
		else
			give(&all->place[i], eg_buf_str(&gateway->traced));
	}
	gateway->traced_cut = false;
	eg_buf_clear(&gateway->traced);
	eg_buf_release(&gateway->traced);
}

void eg_trace_end(struct eg_supervisor *s)
{
	for (size_t i = 0; s->traces && i < EG_TRACERS; i++)
		leave(&s->traces->place[i]);
}

void eg_trace_close(struct eg_supervisor *s)
{
	eg_trace_end(s);
	free(s->traces);
	s->traces = NULL;
}
