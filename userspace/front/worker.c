/* SPDX-License-Identifier: Apache-2.0 */
#include "front/worker.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/secret.h"
#include "front/connection_impl.h"

#define ACCEPT_TURN	64   /* connections at one event: those that are open have their turn */
#define ACCEPT_AGAIN_MS 100u /* out of descriptors or memory: the backlog waits */
#define TICKET_KEY	80u
#define UNSENT_BYTES	(128 * 1024) /* of a connection, in the kernel */
/* Who is idle for so long in a drain is ended. Longer than a busy client pauses between two
 * requests, of which the first would be told; much shorter than drains are. */
#define DRAIN_QUIET_MS 1000u

/* ---- accepting ---- */

static void listen_again(struct eg_timer *t)
{
	struct eg_worker *w = eg_container_of(t, struct eg_worker, accept_again);

	if (w->listening && eg_watch_set(w->loop, &w->listener, EPOLLIN))
		eg_error("worker %d can't listen again", w->index);
}

static void pause_listening(struct eg_worker *w, int error)
{
	eg_warn("worker %d accepts nothing for %u ms: %s", w->index, ACCEPT_AGAIN_MS,
		strerror(error));
	if (eg_timer_set(w->loop, &w->accept_again, ACCEPT_AGAIN_MS) ||
	    eg_watch_set(w->loop, &w->listener, 0))
		eg_error("worker %d can't pause its listener", w->index);
}

static void listener_ready(struct eg_watch *watch, uint32_t events)
{
	struct eg_worker *w = eg_container_of(watch, struct eg_worker, listener);

	(void)events;
	for (int i = 0; i < ACCEPT_TURN; i++) {
		int fd = accept4(w->listener_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd >= 0) {
			connection_open(w, fd);
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		if (errno != EAGAIN)
			pause_listening(w, errno);
		return;
	}
}

static void stop_listening(struct eg_worker *w)
{
	eg_timer_cancel(w->loop, &w->accept_again);
	eg_watch_remove(w->loop, &w->listener);
	w->listening = false;
	eg_fd_close(&w->listener_fd);
}

/* Nothing is accepted before there is something to decide by: it waits in the backlog. */
static void start_listening(struct eg_worker *w)
{
	if (w->hold || w->listening || w->engine.draining || w->listener_fd < 0)
		return;
	if (eg_watch_add(w->loop, &w->listener, w->listener_fd, EPOLLIN)) {
		eg_error("worker %d can't watch its listener: %s", w->index, strerror(errno));
		return;
	}
	w->listening = true;
}

/* ---- messages ---- */

static void end_drain(struct eg_worker *w)
{
	connections_drain(w, 0, false);
	connections_end(w, EG_REASON_DRAINING);
}

static void drain_step(struct eg_worker *w)
{
	uint64_t now = eg_loop_now_ms(w->loop);

	if (now >= w->drain_end_ms ||
	    eg_timer_set(w->loop, &w->drain_timer,
			 EG_MIN(w->drain_quiet_ms / 2 + 1, w->drain_end_ms - now)))
		end_drain(w);
}

/* Who said nothing for a while ends now, and not at the limit: what it asks next is asked of who
 * serves then, with all the time that it needs. */
static void drain_look(struct eg_timer *t)
{
	struct eg_worker *w = eg_container_of(t, struct eg_worker, drain_timer);
	uint64_t now = eg_loop_now_ms(w->loop);

	if (now - w->drain_began_ms >= w->drain_quiet_ms)
		connections_drain(w, w->drain_quiet_ms, w->engine.drains_gently);
	drain_step(w);
}

static void begin_drain(struct eg_worker *w, uint64_t limit_ms, bool gently)
{
	w->engine.draining = true;
	w->engine.drains_gently = gently;
	w->drain_began_ms = eg_loop_now_ms(w->loop);
	w->drain_end_ms = w->drain_began_ms + limit_ms;
	w->drain_quiet_ms = EG_MIN((uint64_t)DRAIN_QUIET_MS, limit_ms / 4);
	if (w->listener_fd >= 0)
		stop_listening(w);
	if (!gently)
		connections_drain(w, 0, false);
	drain_step(w);
}

static struct worker_forbidden *copy_forbidden(const struct eg_cidr *list, size_t count)
{
	struct worker_forbidden *f = malloc(sizeof(*f) + count * sizeof(*list));

	if (!f)
		return NULL;
	f->count = count;
	if (count)
		memcpy(f->list, list, count * sizeof(*list));
	return f;
}

static void set_forbidden(struct eg_worker *w, struct worker_forbidden *f)
{
	w->rules = (struct eg_dial_rules){f->list, f->count};
	if (w->upstream)
		eg_upstream_set_rules(w->upstream, &w->rules);
	free(w->forbidden);
	w->forbidden = f;
}

static void on_wake(void *ctx)
{
	struct eg_worker *w = ctx;
	struct worker_forbidden *f = atomic_exchange(&w->new_forbidden, NULL);
	struct eg_snapshot *s = atomic_exchange(&w->published, NULL);
	unsigned char *key = atomic_exchange(&w->new_ticket_key, NULL);
	uint64_t drain = atomic_exchange(&w->drain, 0);

	if (f)
		set_forbidden(w, f);
	if (atomic_exchange(&w->accept, false)) {
		w->hold = false;
		if (w->engine.snapshot)
			start_listening(w);
	}
	if (s) {
		eg_engine_publish(&w->engine, s);
		eg_snapshot_unref(s);
		start_listening(w);
	}
	if (key) {
		if (eg_tls_server_ticket_key(w->tls, key))
			eg_warn("worker %d keeps its old ticket key", w->index);
		eg_wipe(key, TICKET_KEY);
		free(key);
	}
	if (drain)
		begin_drain(w, drain / 2 - 1, drain & 1);
}

void eg_worker_publish(struct eg_worker *w, struct eg_snapshot *s)
{
	eg_snapshot_unref(atomic_exchange(&w->published, eg_snapshot_ref(s)));
	eg_loop_wake(w->loop);
}

void eg_worker_accept(struct eg_worker *w)
{
	atomic_store(&w->accept, true);
	eg_loop_wake(w->loop);
}

void eg_worker_poke(struct eg_worker *w)
{
	eg_loop_wake(w->loop);
}

uint64_t eg_worker_turns(const struct eg_worker *w)
{
	return atomic_load_explicit(&w->turns, memory_order_relaxed);
}

void eg_worker_drain(struct eg_worker *w, uint64_t milliseconds, bool gently)
{
	atomic_store(&w->drain, (milliseconds + 1) * 2 + gently);
	eg_loop_wake(w->loop);
}

int eg_worker_forbid(struct eg_worker *w, const struct eg_cidr *list, size_t count)
{
	struct worker_forbidden *f = copy_forbidden(list, count);

	if (!f)
		return -ENOMEM;
	free(atomic_exchange(&w->new_forbidden, f));
	eg_loop_wake(w->loop);
	return 0;
}

void eg_worker_ticket_key(struct eg_worker *w, const unsigned char key[TICKET_KEY])
{
	unsigned char *copy = malloc(TICKET_KEY), *old;

	if (!copy) {
		eg_warn("worker %d keeps its old ticket key: out of memory", w->index);
		return;
	}
	memcpy(copy, key, TICKET_KEY);
	old = atomic_exchange(&w->new_ticket_key, copy);
	if (old) {
		eg_wipe(old, TICKET_KEY);
		free(old);
	}
	eg_loop_wake(w->loop);
}

/* ---- life ---- */

static void tell_lateness(struct eg_worker *w)
{
	const struct eg_lateness *l = eg_loop_lateness(w->loop);
	int64_t now = (int64_t)eg_lateness_ms(l);

	if (now != w->late_ms)
		eg_telemetry_gauge(w->telemetry, EG_GAUGE_LOOP_LATE_MS, now - w->late_ms);
	w->late_ms = now;
	if (l->overloaded == w->late_said)
		return;
	w->late_said = l->overloaded;
	if (l->overloaded)
		eg_warn("worker %d is overloaded: events wait for %lld ms; pods with more than "
			"their share of running requests are refused new ones",
			w->index, (long long)now);
	else
		eg_info("worker %d is not overloaded any more", w->index);
}

int eg_worker_run(struct eg_worker *w)
{
	int r = 0;

	while (!r && !(w->engine.draining && !w->connection_count)) {
		r = eg_loop_turn(w->loop, -1);
		atomic_fetch_add_explicit(&w->turns, 1, memory_order_relaxed);
		tell_lateness(w);
		eg_telemetry_flush(w->telemetry);
	}
	return r;
}

static int copy_options(struct eg_worker *w, const struct eg_worker_options *o)
{
	struct worker_forbidden *f;

	if (o->gateway4)
		w->gateway[w->gateway_count++] = *o->gateway4;
	if (o->gateway6)
		w->gateway[w->gateway_count++] = *o->gateway6;
	f = copy_forbidden(o->forbidden, o->forbidden_count);
	if (!f)
		return -ENOMEM;
	set_forbidden(w, f);
	return 0;
}

static int create_rooms(struct eg_worker *w, const struct eg_worker_options *o, int *signer_fd,
			struct eg_error *e)
{
	struct eg_upstream_options up = {
		.loop = w->loop,
		.default_trust = o->default_trust,
		.telemetry = o->telemetry,
		.rules = w->rules,
		.idle_max = o->limits.idle_upstream,
	};
	int r;

	w->resolver = eg_resolver_create(w->loop, o->resolvers, e);
	if (!w->resolver)
		return eg_error_prefix(e, -EINVAL, "resolver");
	up.resolver = w->resolver;
	w->upstream = eg_upstream_create(&up);
	if (!w->upstream)
		return eg_error_set(e, -ENOMEM, "out of memory for the pool");
	w->tls = eg_tls_server_create(e);
	if (!w->tls)
		return -EINVAL;
	r = eg_tls_server_ticket_key(w->tls, o->ticket_key);
	if (r)
		return eg_error_set(e, r, "the ticket key could not be set");
	w->mint = eg_mint_create(w->loop, eg_fd_take(signer_fd), o->chain_pem, e);
	if (!w->mint)
		return -EINVAL;
	if (o->limits.leaves)
		eg_mint_set_room(w->mint, o->limits.leaves);
	r = eg_engine_init(&w->engine, w->loop, w->upstream, o->telemetry, &o->limits, o->cooldowns,
			   o->budgets, o->tag);
	return r ? eg_error_set(e, r, "no random numbers") : 0;
}

/* The kernel gives a connection whose peer does not read as much as tcp_wmem allows, 4 MiB by
 * default, and counts it to nobody. What is accepted inherits this from its listener (tcp(7)). */
static void bound_unsent(int listener)
{
	int bytes = UNSENT_BYTES;

	(void)setsockopt(listener, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof(bytes));
}

struct eg_worker *eg_worker_create(const struct eg_worker_options *o, struct eg_error *e)
{
	int listener_fd EG_CLEANUP_FD = o->listener_fd;
	int signer_fd EG_CLEANUP_FD = o->signer_fd;
	struct eg_worker *w = calloc(1, sizeof(*w));

	if (!w) {
		eg_error_set(e, -ENOMEM, "out of memory for a worker");
		return NULL;
	}
	w->index = o->index;
	w->hold = o->hold;
	w->listener_fd = -1;
	w->listener = (struct eg_watch){.fd = -1, .ready = listener_ready};
	w->telemetry = o->telemetry;
	eg_list_init(&w->connections);
	handshakes_init(w);
	eg_timer_init(&w->accept_again, listen_again);
	eg_timer_init(&w->drain_timer, drain_look);
	w->loop = eg_loop_create();
	if (!w->loop || copy_options(w, o)) {
		eg_error_set(e, -ENOMEM, "no event loop: %s", strerror(errno));
		eg_worker_destroy(w);
		return NULL;
	}
	if (create_rooms(w, o, &signer_fd, e)) {
		eg_worker_destroy(w);
		return NULL;
	}
	w->listener_fd = eg_fd_take(&listener_fd);
	bound_unsent(w->listener_fd);
	eg_loop_on_wake(w->loop, on_wake, w);
	return w;
}

/* What was closed is freed at the end of a turn, or of several. */
static void last_turn(struct eg_worker *w)
{
	do {
		if (eg_loop_turn(w->loop, 0)) {
			eg_warn("worker %d: its last turn failed", w->index);
			return;
		}
	} while (eg_loop_behind(w->loop));
}

void eg_worker_destroy(struct eg_worker *w)
{
	unsigned char *key;

	if (!w)
		return;
	if (w->loop) {
		connections_end(w, EG_REASON_DRAINING);
		eg_timer_cancel(w->loop, &w->drain_timer);
		eg_timer_cancel(w->loop, &w->accept_again);
		eg_watch_remove(w->loop, &w->listener);
		eg_fd_close(&w->listener_fd);
		last_turn(w);
	}
	eg_upstream_destroy(w->upstream);
	if (w->loop)
		last_turn(w);
	eg_mint_destroy(w->mint);
	eg_tls_server_destroy(w->tls);
	eg_resolver_destroy(w->resolver);
	eg_engine_fini(&w->engine);
	eg_snapshot_unref(atomic_exchange(&w->published, NULL));
	key = atomic_exchange(&w->new_ticket_key, NULL);
	if (key) {
		eg_wipe(key, TICKET_KEY);
		free(key);
	}
	eg_loop_destroy(w->loop);
	free(atomic_exchange(&w->new_forbidden, NULL));
	free(w->forbidden);
	free(w);
}
