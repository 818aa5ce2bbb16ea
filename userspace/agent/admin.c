/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: RUN_DIR/egretd.sock, mode 0600, and the peer's uid is asked of the kernel.
 * One line of JSON {"command": "status"} in, one line of JSON out, and it is closed. But for
 * {"command": "trace"}, whose answer goes on (trace.c).
 */
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/observe.h"
#include "agent/supervisor_impl.h"
#include "base/log.h"

#define CLIENTS	      8u
#define REQUEST_BYTES 4096u
#define ANSWER_BYTES  ((size_t)16 << 20)
#define CLIENT_MS     5000u

struct client {
	struct eg_admin *admin;
	int fd; /* -1: free */
	struct eg_watch watch;
	struct eg_timer limit;
	struct eg_buf in, out;
};

struct eg_admin {
	struct eg_supervisor *supervisor;
	int listener;
	struct eg_watch watch;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char later[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* until the place is free; "" */
	bool yielded;
	struct client clients[CLIENTS];
};

/* Forgets a client whose socket has been closed or taken. */
static void forget(struct client *c)
{
	eg_timer_cancel(c->admin->supervisor->loop, &c->limit);
	c->fd = -1;
	eg_buf_fini(&c->in);
	eg_buf_fini(&c->out);
}

static void leave(struct client *c)
{
	if (c->fd < 0)
		return;
	eg_watch_remove(c->admin->supervisor->loop, &c->watch);
	eg_fd_close(&c->fd);
	forget(c);
}

static void write_on(struct client *c)
{
	while (c->out.length) {
		ssize_t n = send(c->fd, eg_buf_data(&c->out), c->out.length, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN &&
		    !eg_watch_set(c->admin->supervisor->loop, &c->watch, EPOLLOUT))
			return;
		if (n <= 0)
			break;
		eg_buf_consume(&c->out, (size_t)n);
	}
	leave(c);
}

static int answer_error(struct client *c, const char *text)
{
	int r = eg_buf_append(&c->out, "{\"error\":", 9);

	if (!r)
		r = eg_json_quote(&c->out, eg_str_from(text), 512);
	return r ? r : eg_buf_append(&c->out, "}", 1);
}

static int obey(struct client *c, const char *command)
{
	struct eg_supervisor *s = c->admin->supervisor;

	if (s->o->observe && !eg_observe_takes(command))
		return answer_error(c, "this egretd only observes: there are status, pods, reload "
				       "and drain");
	if (s->o->observe)
		return eg_observe_obey(s, command, &c->out);
	if (!strcmp(command, "status"))
		return eg_status_json(s, &c->out);
	if (!strcmp(command, "pods"))
		return eg_pods_json(s, &c->out);
	if (!strcmp(command, "policy"))
		return eg_policy_json(s, &c->out);
	if (!strcmp(command, "reload")) {
		eg_info("reload, asked for by the control socket");
		eg_reload_all(s);
		return eg_policy_json(s, &c->out);
	}
	if (!strcmp(command, "drain")) {
		eg_info("drain, asked for by the control socket");
		eg_supervisor_stop(s);
		return eg_buf_append(&c->out, "{\"draining\":true}", 17);
	}
	if (!strcmp(command, "gateway_restart")) {
		struct eg_error e = {""};

		eg_info("another gateway, asked for by the control socket");
		if (eg_renewal_begin(s, &e))
			return answer_error(c, e.text);
		return eg_buf_append(&c->out, "{\"preparing\":true}", 18);
	}
	return answer_error(c,
			    "unknown command; there are status, pods, policy, reload, drain, trace "
			    "and gateway_restart");
}

/* {"command": "trace", "pod": "namespace/name", "host": "api.openai.com"}: the client's socket is
 * the trace's from then on. */
static void begin_trace(struct client *c, const json_t *request)
{
	const char *pod = json_string_value(json_object_get(request, "pod"));
	const char *host = json_string_value(json_object_get(request, "host"));
	struct eg_supervisor *s = c->admin->supervisor;
	const char *why = "this egretd only observes: no request passes through it, so there is "
			  "nothing to trace; egretctl inventory and egretctl flows --follow show "
			  "what pods talk to";

	eg_watch_remove(s->loop, &c->watch); /* one watch a descriptor */
	if (!s->o->observe && eg_trace_begin(s, &c->fd, pod ? pod : "", host ? host : "", &why)) {
		forget(c);
		return;
	}
	if (eg_watch_add(s->loop, &c->watch, c->fd, EPOLLIN) || answer_error(c, why) ||
	    eg_buf_append(&c->out, "\n", 1))
		leave(c);
	else
		write_on(c);
}

static void answer(struct client *c, size_t line_bytes)
{
	json_error_t why;
	json_t *request = json_loadb(eg_buf_data(&c->in), line_bytes, JSON_REJECT_DUPLICATES, &why);
	const char *command = json_string_value(json_object_get(request, "command"));
	int r;

	if (command && !strcmp(command, "trace")) {
		begin_trace(c, request);
		json_decref(request);
		return;
	}
	if (!command)
		r = answer_error(c, "expected one line such as {\"command\": \"status\"}");
	else
		r = obey(c, command);
	json_decref(request);
	if (!r)
		r = eg_buf_append(&c->out, "\n", 1);
	if (r)
		leave(c);
	else
		write_on(c);
}

static void read_on(struct client *c)
{
	const char *end;
	size_t room;
	char *to = eg_buf_reserve(&c->in, REQUEST_BYTES, &room);
	ssize_t n = to ? recv(c->fd, to, room, 0) : 0;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		leave(c);
		return;
	}
	eg_buf_commit(&c->in, (size_t)n);
	end = memchr(eg_buf_data(&c->in), '\n', c->in.length);
	if (end)
		answer(c, (size_t)(end - eg_buf_data(&c->in)));
}

static void client_ready(struct eg_watch *w, uint32_t events)
{
	struct client *c = eg_container_of(w, struct client, watch);

	if (c->out.length)
		write_on(c);
	else if (events & EPOLLIN)
		read_on(c);
	else
		leave(c);
}

static void client_slow(struct eg_timer *t)
{
	leave(eg_container_of(t, struct client, limit));
}

/* The mode of the socket says it already; this holds where somebody changed it. */
static bool allowed(int fd)
{
	struct ucred peer;
	socklen_t n = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0)
		return false;
	if (peer.uid == 0 || peer.uid == geteuid())
		return true;
	eg_warn("control socket: uid %u (pid %d) is refused", peer.uid, peer.pid);
	return false;
}

static void welcome(struct eg_watch *w, uint32_t events)
{
	struct eg_admin *a = eg_container_of(w, struct eg_admin, watch);
	struct eg_loop *loop = a->supervisor->loop;
	int fd = accept4(a->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0)
		return;
	for (size_t i = 0; allowed(fd) && i < CLIENTS; i++) {
		struct client *c = &a->clients[i];

		if (c->fd >= 0)
			continue;
		c->fd = fd;
		eg_buf_init(&c->in, REQUEST_BYTES);
		eg_buf_init(&c->out, ANSWER_BYTES);
		if (eg_watch_add(loop, &c->watch, fd, EPOLLIN) ||
		    eg_timer_set(loop, &c->limit, CLIENT_MS))
			leave(c);
		return;
	}
	close(fd);
}

static int listen_at(struct eg_admin *a, struct eg_error *e)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	mode_t before;
	int r;

	a->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (a->listener < 0)
		return eg_error_set(e, -errno, "control socket: %s", strerror(errno));
	strcpy(address.sun_path, *a->later ? a->later : a->path);
	if (connect(a->listener, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return eg_error_set(
			e, -EADDRINUSE,
			"another egretd answers at %s; give this one a --run-dir of its own",
			a->path);
	(void)unlink(address.sun_path); /* left by one that died */
	before = umask(0177);
	r = bind(a->listener, (const struct sockaddr *)&address, sizeof(address));
	umask(before);
	if (r < 0 || listen(a->listener, 16) < 0)
		return eg_error_set(e, -errno, "control socket %s: %s", a->path, strerror(errno));
	return 0;
}

/* Where egretctl looks when there is no agent to ask. */
static void leave_note(const struct eg_supervisor *s)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/pin-dir", s->o->run_dir);
	f = fopen(path, "we");
	if (!f || fprintf(f, "%s\n", s->o->pin_dir) < 0)
		eg_warn("%s: %s; egretctl will need --pin-dir when no agent runs", path,
			strerror(errno));
	if (f)
		fclose(f);
}

int eg_admin_open(struct eg_supervisor *s, struct eg_admin **out, struct eg_error *e)
{
	struct eg_admin *a = calloc(1, sizeof(*a));
	int n, r;

	if (!a)
		return eg_error_set(e, -ENOMEM, "control socket: out of memory");
	a->supervisor = s;
	a->listener = -1;
	a->watch.fd = -1;
	a->watch.ready = welcome;
	for (size_t i = 0; i < CLIENTS; i++) {
		a->clients[i].admin = a;
		a->clients[i].fd = -1;
		a->clients[i].watch.fd = -1;
		a->clients[i].watch.ready = client_ready;
		eg_timer_init(&a->clients[i].limit, client_slow);
	}
	if (mkdir(s->o->run_dir, 0755) < 0 && errno != EEXIST) {
		r = eg_error_set(e, -errno, "--run-dir %s: %s", s->o->run_dir, strerror(errno));
		free(a);
		return r;
	}
	n = snprintf(a->path, sizeof(a->path), "%s/egretd.sock", s->o->run_dir);
	if (n < 0 || (size_t)n >= sizeof(a->path))
		r = eg_error_set(e, -ENAMETOOLONG,
				 "--run-dir %s: too long for a socket's path (at most %zu bytes)",
				 s->o->run_dir, sizeof(a->path) - sizeof("/egretd.sock"));
	else
		r = 0;
	if (!r && s->charge == EG_CHARGE_TAKING) {
		n = snprintf(a->later, sizeof(a->later), "%s.new", a->path);
		if (n < 0 || (size_t)n >= sizeof(a->later))
			r = eg_error_set(e, -ENAMETOOLONG, "--run-dir %s: too long", s->o->run_dir);
	}
	if (!r)
		r = listen_at(a, e);
	if (!r)
		r = eg_watch_add(s->loop, &a->watch, a->listener, EPOLLIN);
	if (r) {
		eg_fd_close(&a->listener);
		free(a);
		return r;
	}
	leave_note(s);
	*out = a;
	return 0;
}

void eg_admin_close(struct eg_admin *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < CLIENTS; i++)
		leave(&a->clients[i]);
	eg_watch_remove(a->supervisor->loop, &a->watch);
	eg_fd_close(&a->listener);
	if (!a->yielded)
		(void)unlink(*a->later ? a->later : a->path);
	free(a);
}

void eg_admin_take_place(struct eg_admin *a)
{
	if (!a || !*a->later)
		return;
	if (rename(a->later, a->path) < 0)
		eg_error("control socket %s: %s", a->path, strerror(errno));
	a->later[0] = '\0';
}

void eg_admin_yield(struct eg_admin *a)
{
	a->yielded = true;
	eg_watch_remove(a->supervisor->loop, &a->watch);
	eg_fd_close(&a->listener);
}
