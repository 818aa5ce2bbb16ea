/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <malloc.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "agent/channel.h"
#include "agent/gateway.h"
#include "agent/gateway_impl.h"
#include "agent/memory_room.h"
#include "agent/privileges.h"
#include "agent/seccomp.h"
#include "agent/spawner.h"
#include "base/blocks.h"
#include "base/log.h"
#include "base/secret.h"
#include "net/mint.h"

#define PING_LOOK_MS 10u
#define TICKET_MS    (3600u * 1000u)
#define PEM_BYTES    ((size_t)16 << 20)
#define GATEWAY_NAME "egret"
#define LOG_END_MS \
	1000u /* for records that are not written; less than what a drain is given more */

void eg_gateway_say(const struct eg_message *m)
{
	int r = eg_channel_send(EG_CONTROL_FD, m, NULL, 0);

	if (r && r != -EAGAIN) {
		eg_error("the supervisor is gone: %s", strerror(-r));
		_exit(1);
	}
	/* EAGAIN: it is busy; an answer that is lost is asked for again, or we are replaced. */
}

static void give_up(const char *why)
{
	struct eg_message m = {.type = EG_WIRE_FAILED};

	eg_str_copy(m.u.text, sizeof(m.u.text), eg_str_from(why));
	eg_gateway_say(&m);
	_exit(1);
}

/* ---- workers ---- */

static void *run_worker(void *argument)
{
	struct eg_gateway_worker *w = argument;
	char name[16];
	int r;

	snprintf(name, sizeof(name), "worker-%u", (unsigned int)(w - w->gateway->workers) & 31);
	prctl(PR_SET_NAME, name, 0, 0, 0);
	r = eg_worker_run(w->worker);
	pthread_mutex_lock(&w->gateway->lock);
	w->result = r;
	w->ended = true;
	pthread_mutex_unlock(&w->gateway->lock);
	eg_loop_wake(w->gateway->loop);
	return NULL;
}

/* A worker ended: expected when draining, else the process is of no use. */
static void look_at_workers(void *context)
{
	struct eg_gateway *g = context;
	uint32_t ended = 0;
	int result = 0;

	pthread_mutex_lock(&g->lock);
	for (uint32_t i = 0; i < g->config.worker_count; i++)
		if (g->workers[i].ended) {
			ended++;
			result = g->workers[i].result ? g->workers[i].result : result;
		}
	pthread_mutex_unlock(&g->lock);
	eg_gateway_traced(g);
	if (ended && !g->draining) {
		eg_error("a worker ended: %s", result ? strerror(-result) : "unasked");
		_exit(1);
	}
	if (ended == g->config.worker_count && ended)
		eg_loop_stop(g->loop);
}

static void new_ticket_keys(struct eg_timer *t)
{
	struct eg_gateway *g = eg_container_of(t, struct eg_gateway, ticket_timer);
	unsigned char key[80];

	if (RAND_bytes(key, sizeof(key)) == 1)
		for (uint32_t i = 0; i < g->config.worker_count; i++)
			eg_worker_ticket_key(g->workers[i].worker, key);
	eg_wipe(key, sizeof(key));
	if (eg_timer_set(g->loop, t, TICKET_MS))
		eg_error("out of memory: ticket keys are not renewed");
}

/*
 * Of the descriptors that this process may have an eighth is kept for what is not a pod's
 * connection (pooled connections to providers, resolvers, the metrics page), and one pod gets a
 * quarter of the rest at most: so no pod can take what the others need. Half of that eighth is the
 * pools'.
 */
static void limit_descriptors(struct eg_limits *limits, uint32_t workers)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) || l.rlim_cur == RLIM_INFINITY)
		return;
	limits->descriptors = (size_t)l.rlim_cur - (size_t)l.rlim_cur / 8;
	limits->pod_descriptors = limits->descriptors / 4;
	limits->idle_upstream = EG_MAX((size_t)l.rlim_cur / 16 / workers, (size_t)1);
}

/* What names a pod makes up must not fill the memory of a node with many CPUs: so many certificates
 * are kept in all, some 100 MiB. */
#define LEAVES_MOST 16384u

static void create_worker(struct eg_gateway *g, uint32_t index, const unsigned char key[80])
{
	struct eg_gateway_worker *w = &g->workers[index];
	struct eg_error e = {""};
	struct eg_worker_options o = {
		.index = (int)index,
		.cooldowns = &g->cooldowns,
		.budgets = &g->budgets,
		.listener_fd = eg_fd_take(&w->listener),
		.signer_fd = eg_fd_take(&w->signer),
		.chain_pem = {g->chain, g->chain_bytes},
		.default_trust = g->default_trust,
		.resolvers = g->config.resolvers,
		.tag = g->config.tag,
		.gateway4 = g->config.flags & EG_CONFIG_GATEWAY4 ? &g->config.gateway4 : NULL,
		.gateway6 = g->config.flags & EG_CONFIG_GATEWAY6 ? &g->config.gateway6 : NULL,
		.hold = g->config.flags & EG_CONFIG_SHARED,
		.forbidden = g->forbidden,
		.forbidden_count = g->forbidden_count,
		.limits = eg_default_limits,
	};

	w->gateway = g;
	w->telemetry = eg_telemetry_create(GATEWAY_NAME, g->access_log);
	if (!w->telemetry)
		give_up("out of memory");
	if (g->config.flags & EG_CONFIG_DENIALS &&
	    !(w->denials = eg_telemetry_keep_denials(w->telemetry)))
		give_up("out of memory");
	eg_telemetry_trace(w->telemetry, &g->tracer);
	eg_telemetry_mirror(w->telemetry, EG_GAUGE_REQUESTS_ACTIVE,
			    &g->flight->worker[index].requests);
	eg_telemetry_mirror(w->telemetry, EG_GAUGE_CLIENT_CONNECTIONS,
			    &g->flight->worker[index].connections);
	o.telemetry = w->telemetry;
	limit_descriptors(&o.limits, g->config.worker_count);
	eg_memory_room_limit(&o.limits, g->config.memory_bytes);
	o.limits.leaves = EG_MIN(LEAVES_MOST / g->config.worker_count, EG_MINT_LEAVES);
	memcpy(o.ticket_key, key, sizeof(o.ticket_key));
	w->worker = eg_worker_create(&o, &e);
	eg_wipe(o.ticket_key, sizeof(o.ticket_key));
	if (!w->worker)
		give_up(e.text);
}

static void start(struct eg_gateway *g)
{
	struct eg_message ready = {.type = EG_WIRE_READY};
	unsigned char key[80];
	struct eg_error e = {""};

	if (!g->configured || !g->forbidden || !g->flight || !g->chain || !g->default_trust ||
	    g->names)
		give_up("START came before all that it needs");
	if (RAND_bytes(key, sizeof(key)) != 1)
		give_up("no random numbers");
	for (uint32_t i = 0; i < g->config.worker_count; i++) {
		if (g->workers[i].listener < 0 || g->workers[i].signer < 0)
			give_up("a worker has no listener or no signer");
		create_worker(g, i, key);
	}
	eg_wipe(key, sizeof(key));
	g->names = eg_names_create(g->loop, g->config.resolvers, &e);
	if (!g->names)
		give_up(e.text);
	if (g->metrics >= 0) {
		g->page = eg_page_create(g, eg_fd_take(&g->metrics), &e);
		if (!g->page)
			give_up(e.text);
	}
	/* From here on nothing is opened, and no byte of a pod has been read yet. */
	if (eg_seccomp_confine(EG_ROLE_GATEWAY, &e))
		give_up(e.text);
	if (g->access_log && eg_lines_start(g->access_log))
		give_up("a thread can't be made");
	for (uint32_t i = 0; i < g->config.worker_count; i++) {
		if (pthread_create(&g->workers[i].thread, NULL, run_worker, &g->workers[i]))
			give_up("a thread can't be made");
		g->workers[i].running = true;
	}
	if (eg_seccomp_no_threads(&e))
		give_up(e.text);
	if (eg_timer_set(g->loop, &g->ticket_timer, TICKET_MS))
		give_up("out of memory");
	eg_gateway_say(&ready);
}

/* ---- memory ---- */

#define CONNECTION_BYTES (32u * 1024u) /* of a pod's connection: TLS, and its buffers in use */

/* On this thread, whose time nobody waits for; workers wait for an arena's lock at most. */
static void give_back(struct eg_gateway *g)
{
	int64_t used = 0;
	uint64_t requests = 0, now = eg_now_ms();

	for (uint32_t i = 0; i < g->config.worker_count; i++) {
		const struct eg_telemetry *t = g->workers[i].telemetry;

		used += eg_telemetry_gauge_now(t, EG_GAUGE_HELD_BYTES);
		used += eg_telemetry_gauge_now(t, EG_GAUGE_CLIENT_CONNECTIONS) * CONNECTION_BYTES;
		/* An end counts like a beginning: a long answer's buffers come free with it. */
		requests += 2 * eg_telemetry_gauge_rises(t, EG_GAUGE_REQUESTS_ACTIVE) -
			    (uint64_t)eg_telemetry_gauge_now(t, EG_GAUGE_REQUESTS_ACTIVE);
	}
	eg_blocks_trim(now);
	if (eg_give_back_due(&g->give_back, (uint64_t)EG_MAX(used, (int64_t)0), requests, now))
		(void)malloc_trim(0);
}

/* ---- heartbeat: a pong is a turn of every worker's loop since the ping ---- */

static bool all_turned(struct eg_gateway *g)
{
	for (uint32_t i = 0; i < g->config.worker_count; i++)
		if (eg_worker_turns(g->workers[i].worker) == g->workers[i].turns)
			return false;
	return true;
}

static void look_at_turns(struct eg_timer *t)
{
	struct eg_gateway *g = eg_container_of(t, struct eg_gateway, ping_timer);
	struct eg_message m = {.type = EG_WIRE_PONG, .number = g->ping};

	if (!g->ping)
		return;
	if (!all_turned(g)) {
		if (eg_timer_set(g->loop, t, PING_LOOK_MS))
			eg_error("out of memory: the heartbeat is not answered");
		return;
	}
	g->ping = 0;
	eg_gateway_say(&m);
}

static void ping(struct eg_gateway *g, uint32_t serial)
{
	give_back(g);
	eg_gateway_denials(g);
	eg_gateway_traced(g);
	g->ping = serial;
	for (uint32_t i = 0; i < g->config.worker_count; i++) {
		g->workers[i].turns = eg_worker_turns(g->workers[i].worker);
		eg_worker_poke(g->workers[i].worker);
	}
	if (eg_timer_set(g->loop, &g->ping_timer, 1))
		eg_error("out of memory: the heartbeat is not answered");
}

/* ---- what the supervisor says ---- */

static void configure(struct eg_gateway *g, const struct eg_message *m, int fds[EG_WIRE_FDS])
{
	unsigned int next = 0;

	g->config = m->u.config;
	g->config.resolvers[sizeof(g->config.resolvers) - 1] = '\0';
	g->config.tag[sizeof(g->config.tag) - 1] = '\0';
	if (!g->config.worker_count || g->config.worker_count > EG_MAX_WORKERS)
		give_up("the configuration is not one");
	if (g->config.flags & EG_CONFIG_ACCESS_LOG) {
		g->access_log = eg_lines_create(eg_fd_take(&fds[next++]));
		if (!g->access_log)
			give_up("out of memory");
	}
	if (g->config.flags & EG_CONFIG_METRICS)
		g->metrics = eg_fd_take(&fds[next++]);
	g->configured = true;
}

/* Before START, and again when the node's addresses have changed. */
static void take_forbidden(struct eg_gateway *g, const struct eg_message *m, int fd)
{
	struct eg_wire_cidr c;
	struct eg_cidr *list;
	char *bytes = NULL;
	size_t n;

	if (m->value < 0 || m->value > (int64_t)(EG_FORBIDDEN_MAX * sizeof(c)) ||
	    eg_memory_read(fd, (size_t)m->value, &bytes))
		give_up("what is never to be dialled did not arrive whole");
	n = (size_t)m->value / sizeof(c);
	list = calloc(n + 1, sizeof(*list));
	if (!list)
		give_up("out of memory");
	for (size_t i = 0; i < n; i++) {
		memcpy(&c, bytes + i * sizeof(c), sizeof(c));
		list[i] = (struct eg_cidr){.address = c.address,
					   .prefix_bits = (uint8_t)c.prefix_bits};
	}
	free(bytes);
	free(g->forbidden);
	g->forbidden = list;
	g->forbidden_count = n;
	for (uint32_t i = 0; g->names && i < g->config.worker_count; i++)
		if (eg_worker_forbid(g->workers[i].worker, list, n))
			give_up("out of memory");
}

static void take_pem(struct eg_gateway *g, const struct eg_message *m, int fd)
{
	struct eg_error e = {""};
	char *pem = NULL;

	if (m->value <= 0 || m->value > (int64_t)PEM_BYTES ||
	    eg_memory_read(fd, (size_t)m->value, &pem))
		give_up("a certificate file did not arrive whole");
	if (m->type == EG_WIRE_CHAIN) {
		g->chain = pem;
		g->chain_bytes = (size_t)m->value;
		/* Our own intermediate vouches for no provider. */
		g->nobody = eg_trust_create((struct eg_str){pem, g->chain_bytes}, &e);
		if (!g->nobody)
			give_up(e.text);
		return;
	}
	g->default_trust = eg_trust_create((struct eg_str){pem, (size_t)m->value}, &e);
	if (!g->default_trust)
		give_up(e.text);
	free(pem);
}

static void drain(struct eg_gateway *g, int64_t milliseconds, bool gently)
{
	g->draining = true;
	if (gently && g->page)
		eg_page_leave(g->page);
	if (!g->names)
		_exit(0);
	for (uint32_t i = 0; i < g->config.worker_count; i++)
		eg_worker_drain(g->workers[i].worker, milliseconds > 0 ? (uint64_t)milliseconds : 0,
				gently);
}

static void accept_now(struct eg_gateway *g)
{
	if (!g->names)
		give_up("ACCEPT came before START");
	for (uint32_t i = 0; i < g->config.worker_count; i++)
		eg_worker_accept(g->workers[i].worker);
	if (g->page)
		eg_page_begin(g->page);
}

static void follow(struct eg_gateway *g, struct eg_message *m, int fds[EG_WIRE_FDS])
{
	switch ((enum eg_wire_type)m->type) {
	case EG_WIRE_CONFIG:
		configure(g, m, fds);
		break;
	case EG_WIRE_FORBIDDEN:
		take_forbidden(g, m, fds[0]);
		break;
	case EG_WIRE_FLIGHT:
		if (g->flight || eg_flight_map(fds[0], &g->flight))
			give_up("the memory for what is in flight is not that");
		break;
	case EG_WIRE_WORKER:
		if (m->number >= EG_MAX_WORKERS)
			give_up("a worker that there is not");
		g->workers[m->number].listener = eg_fd_take(&fds[0]);
		g->workers[m->number].signer = eg_fd_take(&fds[1]);
		break;
	case EG_WIRE_CHAIN:
	case EG_WIRE_DEFAULT_TRUST:
		take_pem(g, m, fds[0]);
		break;
	case EG_WIRE_START:
		start(g);
		break;
	case EG_WIRE_POLICY:
	case EG_WIRE_PODS:
	case EG_WIRE_CREDENTIAL:
	case EG_WIRE_KEEP:
	case EG_WIRE_PROVIDER_TRUST:
	case EG_WIRE_KEEP_TRUST:
		eg_stage_message(g, m, fds);
		break;
	case EG_WIRE_COMMIT:
		eg_stage_commit(g, m->number);
		break;
	case EG_WIRE_PING:
		ping(g, m->number);
		break;
	case EG_WIRE_DNS:
		if (g->snapshot && m->u.dns.length <= sizeof(m->u.dns.message))
			eg_names_answer(eg_snapshot_policies(g->snapshot), m->number,
					m->u.dns.message, m->u.dns.length);
		break;
	case EG_WIRE_STATS:
		if (g->page)
			eg_page_stats(g->page, &m->u.stats);
		break;
	case EG_WIRE_DRAIN:
		drain(g, m->value, m->number);
		break;
	case EG_WIRE_ACCESS_LOG:
		if (g->access_log)
			eg_lines_reopen(g->access_log, eg_fd_take(&fds[0]));
		break;
	case EG_WIRE_ACCEPT:
		accept_now(g);
		break;
	case EG_WIRE_PAGE_TOKEN:
		memcpy(g->page_token, m->u.page_token, sizeof(g->page_token));
		g->page_token_known = true;
		break;
	case EG_WIRE_TRACE:
	case EG_WIRE_TRACE_END:
	case EG_WIRE_TRACE_TAKEN:
		eg_gateway_trace(g, m);
		break;
	case EG_WIRE_SPAWN:
	case EG_WIRE_SIGNAL:
	case EG_WIRE_SPAWNED:
	case EG_WIRE_EXITED:
	case EG_WIRE_READY:
	case EG_WIRE_ACK:
	case EG_WIRE_NACK:
	case EG_WIRE_PONG:
	case EG_WIRE_RESOLVED:
	case EG_WIRE_LEARNED:
	case EG_WIRE_WANT_STATS:
	case EG_WIRE_FAILED:
	case EG_WIRE_DENIALS:
	case EG_WIRE_TRACED:
	case EG_WIRE_TYPES:
		give_up("the supervisor sent what only others send");
	}
}

static void control_ready(struct eg_watch *w, uint32_t events)
{
	static struct eg_message m; /* large; one thread */
	struct eg_gateway *g = eg_container_of(w, struct eg_gateway, control);
	int fds[EG_WIRE_FDS];
	int r;

	(void)events;
	while ((r = eg_channel_receive(EG_CONTROL_FD, &m, fds)) == 1 || r == -EMFILE) {
		if (r == 1)
			follow(g, &m, fds);
		else if (m.type == EG_WIRE_ACCESS_LOG)
			eg_error("the access log can't be opened anew: %s; records go on to where "
				 "they went",
				 strerror(EMFILE));
		else if (!eg_stage_cut(g, &m))
			give_up("a descriptor did not arrive: this process may have no more of "
				"them (RLIMIT_NOFILE)");
		eg_channel_close_fds(fds);
	}
	if (r != -EAGAIN) {
		/* Without the supervisor nobody feeds the heartbeat: the kernel has taken over. */
		eg_error("the supervisor is gone");
		_exit(1);
	}
}

/* What opens files, before files can no longer be opened. */
static void preload(void)
{
	struct tm tm;
	time_t now = time(NULL);
	unsigned char byte;

	OPENSSL_init_ssl(OPENSSL_INIT_LOAD_SSL_STRINGS | OPENSSL_INIT_LOAD_CRYPTO_STRINGS |
				 OPENSSL_INIT_LOAD_CONFIG,
			 NULL);
	(void)RAND_bytes(&byte, 1);
	tzset();
	localtime_r(&now, &tm);
}

int eg_gateway_main(int argc, char **argv)
{
	static struct eg_gateway g;
	struct eg_error e = {""};

	(void)eg_tls_memory_keep(); /* before anything of OpenSSL's */
	eg_log_init("gateway", argc > 2 ? (enum eg_log_level)atoi(argv[2]) : EG_LOG_INFO);
	prctl(PR_SET_NAME, "egret-gateway", 0, 0, 0);
	if (eg_harden(&e) || eg_capabilities_keep(NULL, 0, &e)) {
		eg_error("gateway: %s", e.text);
		return 1;
	}
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN); /* the supervisor decides when it is over */
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	preload();
	g.metrics = -1;
	for (size_t i = 0; i < EG_MAX_WORKERS; i++)
		g.workers[i].listener = g.workers[i].signer = -1;
	pthread_mutex_init(&g.lock, NULL);
	eg_gateway_trace_init(&g);
	eg_timer_init(&g.ping_timer, look_at_turns);
	eg_timer_init(&g.ticket_timer, new_ticket_keys);
	g.loop = eg_loop_create();
	g.control.fd = -1;
	g.control.ready = control_ready;
	if (!g.loop || eg_watch_add(g.loop, &g.control, EG_CONTROL_FD, EPOLLIN)) {
		eg_error("gateway: epoll: %s", strerror(errno));
		return 1;
	}
	eg_loop_on_wake(g.loop, look_at_workers, &g);
	if (eg_loop_run(g.loop))
		return 1;
	for (uint32_t i = 0; i < g.config.worker_count; i++) {
		if (!g.workers[i].running)
			continue;
		pthread_join(g.workers[i].thread, NULL);
		eg_telemetry_flush(g.workers[i].telemetry);
	}
	eg_gateway_traced(&g);
	(void)eg_lines_destroy(g.access_log, LOG_END_MS);
	/* Not exit(): nothing is left that is worth the risk of running handlers under the filter.
	 */
	_exit(0);
}
