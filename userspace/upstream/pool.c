/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream/pool.h"

#include <stdlib.h>

#include "upstream/h2_conn.h"

#define SWEEP_MS	1000u
#define BUFFERS_KEPT_MS 1000u
#define HTTP1_KEPT_MS	(10u * 60u * 1000u) /* after HTTP_1_1_REQUIRED */

/* ---- TLS by trust ---- */

static struct upstream_tls *tls_acquire(struct eg_upstream *u, struct eg_trust *trust)
{
	struct upstream_tls *t;
	struct eg_error e;
	struct eg_list *it;

	eg_list_for_each (it, &u->tls) {
		t = eg_container_of(it, struct upstream_tls, link);
		if (t->trust == trust) {
			t->origins++;
			return t;
		}
	}
	t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->client = eg_tls_client_create(trust, &e);
	if (!t->client) {
		free(t);
		errno = ENOMEM;
		return NULL;
	}
	t->trust = eg_trust_ref(trust);
	t->origins = 1;
	eg_list_append(&u->tls, &t->link);
	return t;
}

static void tls_free(struct upstream_tls *t)
{
	eg_list_remove(&t->link);
	eg_tls_client_destroy(t->client);
	eg_trust_unref(t->trust);
	free(t);
}

static void tls_release(struct eg_upstream *u, struct upstream_tls *t)
{
	/* The default's sessions outlive its origins: a provider is called again. */
	if (t && --t->origins == 0 && t->trust != u->o.default_trust)
		tls_free(t);
}

/* ---- origins ---- */

static uint64_t mix(uint64_t h, const void *bytes, size_t n)
{
	const unsigned char *p = bytes;

	for (size_t i = 0; i < n; i++)
		h = (h ^ p[i]) * 0x100000001b3u;
	return h;
}

static uint64_t spec_hash(const struct eg_origin_spec *s)
{
	uint64_t h = mix(0xcbf29ce484222325u, s->host, strlen(s->host) + 1);

	h = mix(h, s->binding, strlen(s->binding) + 1);
	h = mix(h, &s->port, sizeof(s->port));
	if (s->fixed)
		h = mix(h, &s->fixed->address, sizeof(s->fixed->address));
	return h;
}

static bool same_endpoint(const struct eg_endpoint *a, const struct eg_endpoint *b)
{
	return a->port == b->port && memcmp(&a->address, &b->address, sizeof(a->address)) == 0;
}

static bool matches(const struct eg_upstream_origin *g, const struct eg_origin_spec *s,
		    uint64_t hash, const struct eg_trust *trust)
{
	return g->hash == hash && g->port == s->port && (g->tls != NULL) == s->tls &&
	       (!s->tls || g->tls->trust == trust) && g->allow_private == s->allow_private &&
	       g->http2 == s->http2 && g->prior_knowledge == s->prior_knowledge &&
	       g->has_fixed == (s->fixed != NULL) &&
	       (!s->fixed || same_endpoint(&g->fixed, s->fixed)) && !strcmp(g->host, s->host) &&
	       !strcmp(g->binding, s->binding);
}

static void origin_free(struct eg_upstream *u, struct eg_upstream_origin *g)
{
	upstream_turns_fini(&g->turns);
	tls_release(u, g->tls);
	free(g->host);
	free(g->binding);
	free(g);
}

struct eg_upstream_origin *upstream_origin_acquire(struct eg_upstream *u,
						   const struct eg_origin_spec *spec)
{
	struct eg_trust *trust = spec->trust ? spec->trust : u->o.default_trust;
	uint64_t hash = spec_hash(spec);
	struct eg_list *bucket = &u->buckets[hash % UPSTREAM_BUCKETS], *it;
	struct eg_upstream_origin *g;

	eg_list_for_each (it, bucket) {
		g = eg_container_of(it, struct eg_upstream_origin, link);
		if (matches(g, spec, hash, trust)) {
			g->users++;
			return g;
		}
	}
	if (spec->tls && !trust) {
		errno = EINVAL;
		return NULL;
	}
	g = calloc(1, sizeof(*g));
	if (!g)
		return NULL;
	upstream_turns_init(&g->turns, u->o.loop);
	g->hash = hash;
	g->port = spec->port;
	g->allow_private = spec->allow_private;
	g->http2 = spec->http2;
	g->prior_knowledge = spec->prior_knowledge;
	g->has_fixed = spec->fixed != NULL;
	if (spec->fixed)
		g->fixed = *spec->fixed;
	g->host = strdup(spec->host);
	g->binding = strdup(spec->binding);
	if (spec->tls)
		g->tls = tls_acquire(u, trust);
	if (!g->host || !g->binding || (spec->tls && !g->tls)) {
		origin_free(u, g);
		errno = ENOMEM;
		return NULL;
	}
	eg_list_init(&g->idle);
	eg_list_init(&g->shared);
	g->users = 1;
	eg_list_append(bucket, &g->link);
	return g;
}

void upstream_origin_release(struct eg_upstream *u, struct eg_upstream_origin *g)
{
	if (--g->users)
		return;
	eg_list_remove(&g->link);
	origin_free(u, g);
}

/* ---- connections ---- */

static void unpool(struct eg_upstream_conn *c)
{
	eg_list_remove(&c->link);
	c->origin->idle_count--;
	c->owner->idle_count--;
}

void upstream_conn_forget(struct eg_upstream_conn *c)
{
	struct eg_upstream *u = c->owner;

	if (!eg_list_empty(&c->link))
		unpool(c);
	eg_list_remove(&c->shared);
	eg_stream_destroy(c->stream);
	upstream_origin_release(u, c->origin);
	if (u->o.telemetry)
		eg_telemetry_gauge(u->o.telemetry, EG_GAUGE_UPSTREAM_CONNECTIONS, -1);
}

static void conn_destroy(struct eg_upstream_conn *c)
{
	if (c->h2) {
		h2_conn_close(c->h2);
		return;
	}
	upstream_conn_forget(c);
	eg_buf_fini(&c->in);
	free(c);
}

struct eg_upstream_conn *upstream_conn_create(struct eg_upstream *u,
					      struct eg_upstream_origin *origin,
					      struct eg_stream *stream)
{
	struct eg_upstream_conn *c = calloc(1, sizeof(*c));
	size_t head = u->o.response_head_bytes ? u->o.response_head_bytes : 64u * 1024u;

	if (!c)
		return NULL;
	c->owner = u;
	c->origin = origin;
	c->stream = stream;
	c->tls_resumed = eg_stream_resumed(stream);
	eg_list_init(&c->link);
	eg_list_init(&c->shared);
	/* One byte more than a head may have, so that one over the limit is seen as such. */
	eg_buf_init(&c->in, EG_MAX(head + 1, (size_t)EG_UPSTREAM_READ_BYTES));
	if (u->o.telemetry)
		eg_telemetry_gauge(u->o.telemetry, EG_GAUGE_UPSTREAM_CONNECTIONS, 1);
	return c;
}

/* Anything that happens on an idle connection ends it: a close, or bytes nobody asked for. */
static void idle_event(struct eg_stream *s, unsigned int events, void *ctx)
{
	struct eg_upstream_conn *c = ctx;

	(void)events;
	/* It may be news of before: epoll told of this one and of the pod's in one turn, and what
	 * came here was read for the pod. And tickets of TLS are read, and no reason to end it. */
	if (eg_stream_reusable(s))
		return;
	unpool(c);
	conn_destroy(c);
}

static const struct eg_stream_handler idle_handler = {idle_event};

static void arm_sweep(struct eg_upstream *u)
{
	/* Out of memory for a timer: connections then end when the provider closes them. */
	if ((u->idle_count || u->kept_count) && !eg_timer_armed(&u->sweep) &&
	    eg_timer_set(u->o.loop, &u->sweep, SWEEP_MS))
		eg_upstream_close_idle(u);
}

static bool pool_is_full(const struct eg_upstream *u, const struct eg_upstream_origin *g)
{
	return g->idle_count >= EG_UPSTREAM_IDLE_PER_ORIGIN ||
	       (u->o.idle_max && u->idle_count >= u->o.idle_max);
}

static void make_idle(struct eg_upstream_conn *c)
{
	struct eg_upstream *u = c->owner;
	struct eg_upstream_origin *g = c->origin;

	if (pool_is_full(u, g)) {
		struct eg_upstream_conn *oldest;

		if (eg_list_empty(&g->idle)) { /* all are others': theirs are no worse than this */
			conn_destroy(c);
			return;
		}
		oldest = eg_container_of(g->idle.prev, struct eg_upstream_conn, link);
		unpool(oldest);
		conn_destroy(oldest);
	}
	c->reused = true;
	c->connect_ms = 0;
	c->idle_since_ms = eg_loop_now_ms(u->o.loop);
	eg_list_prepend(&g->idle, &c->link);
	g->idle_count++;
	u->idle_count++;
	upstream_tell_waiting(u, g);
	arm_sweep(u);
}

/* A lease of many ends: what it was for has ended its stream by itself. */
static void release_shared(struct eg_upstream_conn *c)
{
	if (--c->h2->leases) {
		upstream_tell_waiting(c->owner, c->origin);
		return;
	}
	if (c->h2->state == H2_OPEN)
		make_idle(c);
	else if (c->h2->state == H2_DRAINING)
		conn_destroy(c);
}

void eg_upstream_release(struct eg_upstream_conn *c, bool clean)
{
	if (c->h2) {
		release_shared(c);
		return;
	}
	/* The socket itself is asked when it is taken out again; meanwhile idle_event() hears of
	 * it. */
	if (!clean || c->in.length || !eg_stream_rests(c->stream)) {
		conn_destroy(c);
		return;
	}
	eg_stream_set_handler(c->stream, &idle_handler, c);
	eg_stream_want(c->stream, true, false);
	make_idle(c);
}

int upstream_conn_share(struct eg_upstream_conn *c)
{
	if (h2_conn_create(c))
		return -ENOMEM;
	eg_list_append(&c->origin->shared, &c->shared);
	upstream_count(c->owner, EG_COUNT_UPSTREAM_HTTP2_CONNECTS);
	return 0;
}

void upstream_lease(struct eg_upstream_conn *c)
{
	c->h2->leases++;
	h2_conn_leased(c->h2);
}

static struct eg_upstream_conn *find_shared(struct eg_upstream *u, struct eg_upstream_origin *g,
					    uint64_t max_idle_ms)
{
	uint64_t now = eg_loop_now_ms(u->o.loop);
	struct eg_list *it;

	eg_list_for_each (it, &g->shared) {
		struct eg_upstream_conn *c = eg_container_of(it, struct eg_upstream_conn, shared);

		if (now - c->h2->heard_ms <= max_idle_ms && h2_conn_room(c->h2))
			return c;
	}
	return NULL;
}

struct eg_upstream_conn *upstream_take_shared(struct eg_upstream *u, struct eg_upstream_origin *g,
					      uint64_t max_idle_ms)
{
	struct eg_upstream_conn *c;

	while ((c = find_shared(u, g, max_idle_ms))) {
		struct eg_h2_conn *h = c->h2;

		/* Nobody looks at an idle one: was it closed in the meantime? */
		if (!eg_list_empty(&c->link)) {
			h2_conn_poll(h);
			if (h->state == H2_DRAINING)
				conn_destroy(c);
			if (h->state != H2_OPEN)
				continue;
			unpool(c);
		}
		upstream_lease(c);
		return c;
	}
	return NULL;
}

static struct eg_upstream_conn *take_idle(struct eg_upstream *u, struct eg_upstream_origin *g,
					  uint64_t max_idle_ms)
{
	uint64_t now = eg_loop_now_ms(u->o.loop);
	struct eg_list *it, *next;

	eg_list_for_each_safe (it, next, &g->idle) {
		struct eg_upstream_conn *c = eg_container_of(it, struct eg_upstream_conn, link);

		if (now - c->idle_since_ms > max_idle_ms)
			return NULL;
		if (c->h2)
			continue;
		unpool(c);
		if (eg_stream_reusable(c->stream))
			return c;
		conn_destroy(c); /* the origin stays: our caller counts as a user */
	}
	return NULL;
}

struct eg_upstream_conn *upstream_take_pooled(struct eg_upstream *u, struct eg_upstream_origin *g,
					      uint64_t max_idle_ms)
{
	struct eg_upstream_conn *c;

	if (!max_idle_ms)
		return NULL;
	c = upstream_take_shared(u, g, max_idle_ms);
	if (c) {
		c->reused = true;
		c->connect_ms = 0;
	} else {
		c = take_idle(u, g, max_idle_ms);
	}
	if (c)
		upstream_count(u, EG_COUNT_UPSTREAM_REUSES);
	return c;
}

struct eg_upstream_conn *eg_upstream_acquire(struct eg_upstream *u, const struct eg_origin_spec *o,
					     uint64_t max_idle_ms, uint64_t connect_ms,
					     struct eg_upstream_wait *w)
{
	struct eg_upstream_origin *g = upstream_origin_acquire(u, o);
	struct eg_upstream_conn *c;

	w->dial = NULL;
	if (!g)
		return NULL;
	/* Whoever came before has been told of what is idle now. */
	c = upstream_waited_for(g) ? NULL : upstream_take_pooled(u, g, max_idle_ms);
	if (c) {
		upstream_origin_release(u, g);
		return c;
	}
	if (upstream_dial(u, g, max_idle_ms, connect_ms, w))
		upstream_origin_release(u, g);
	return NULL;
}

/* ---- the pool ---- */

void upstream_keep_http1(struct eg_upstream *u, struct eg_upstream_origin *g)
{
	if (!g->http1_until_ms) {
		g->users++;
		u->kept_count++;
	}
	g->http1_until_ms = eg_loop_now_ms(u->o.loop) + HTTP1_KEPT_MS;
	arm_sweep(u);
}

static void forget_http1(struct eg_upstream *u, struct eg_upstream_origin *g)
{
	g->http1_until_ms = 0;
	u->kept_count--;
	upstream_origin_release(u, g);
}

/* Within two seconds, as pods' connections do: the process hands memory back after that.
 * Not when it becomes idle: under load the next request takes it, and its buffers, in no time. */
static void give_buffers_back(struct eg_list *idle, uint64_t now)
{
	struct eg_list *it;

	eg_list_for_each (it, idle) {
		struct eg_upstream_conn *c = eg_container_of(it, struct eg_upstream_conn, link);

		if (now - c->idle_since_ms < BUFFERS_KEPT_MS)
			continue;
		eg_buf_release(&c->in);
		eg_stream_idle(c->stream);
	}
}

static void sweep_bucket(struct eg_upstream *u, struct eg_list *bucket, uint64_t older_than_ms)
{
	uint64_t now = eg_loop_now_ms(u->o.loop);
	struct eg_list *it, *next, *oldest;

	eg_list_for_each_safe (it, next, bucket) {
		struct eg_upstream_origin *g = eg_container_of(it, struct eg_upstream_origin, link);

		g->users++; /* the last connection must not free it under the loop */
		while ((oldest = g->idle.prev) != &g->idle) {
			struct eg_upstream_conn *c =
				eg_container_of(oldest, struct eg_upstream_conn, link);

			if (now - c->idle_since_ms < older_than_ms)
				break;
			unpool(c);
			conn_destroy(c);
		}
		give_buffers_back(&g->idle, now);
		if (g->http1_until_ms && (!older_than_ms || now >= g->http1_until_ms))
			forget_http1(u, g);
		upstream_origin_release(u, g);
	}
}

static void sweep(struct eg_timer *t)
{
	struct eg_upstream *u = eg_container_of(t, struct eg_upstream, sweep);

	for (size_t i = 0; i < UPSTREAM_BUCKETS; i++)
		sweep_bucket(u, &u->buckets[i], EG_UPSTREAM_IDLE_MS);
	arm_sweep(u);
}

void eg_upstream_close_idle(struct eg_upstream *u)
{
	for (size_t i = 0; i < UPSTREAM_BUCKETS; i++)
		sweep_bucket(u, &u->buckets[i], 0);
}

size_t eg_upstream_idle(const struct eg_upstream *u)
{
	return u->idle_count;
}

struct eg_upstream *eg_upstream_create(const struct eg_upstream_options *o)
{
	struct eg_upstream *u = calloc(1, sizeof(*u));

	if (!u)
		return NULL;
	u->o = *o;
	if (o->default_trust)
		(void)eg_trust_ref(o->default_trust);
	for (size_t i = 0; i < UPSTREAM_BUCKETS; i++)
		eg_list_init(&u->buckets[i]);
	eg_list_init(&u->tls);
	eg_timer_init(&u->sweep, sweep);
	return u;
}

void eg_upstream_set_rules(struct eg_upstream *u, const struct eg_dial_rules *rules)
{
	u->o.rules = *rules;
}

void eg_upstream_destroy(struct eg_upstream *u)
{
	if (!u)
		return;
	eg_timer_cancel(u->o.loop, &u->sweep);
	eg_upstream_close_idle(u);
	while (!eg_list_empty(&u->tls))
		tls_free(eg_container_of(u->tls.next, struct upstream_tls, link));
	eg_trust_unref(u->o.default_trust);
	free(u);
}
