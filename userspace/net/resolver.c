/* SPDX-License-Identifier: Apache-2.0 */
#include "net/resolver.h"

#include <ares.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/log.h"
#include "net/stream.h"
#include "proto/uri.h"

#define BUCKETS	    256u
#define MAX_ENTRIES 4096u /* as many names as a policy may have, or providers */
#define TTL_MIN_S   5u
#define TTL_MAX_S   300u
#define FAILED_MS   2000u
#define STALE_MS    (10u * 60u * 1000u)
#define TRY_MS	    1500
#define TRIES	    2

/* What is known of one name. Lives while a query or a wait is on it, else until evicted. */
struct entry {
	struct entry *next; /* of its bucket */
	struct eg_resolver *owner;
	struct eg_addresses found; /* count 0: never answered */
	uint64_t fresh_until_ms, stale_until_ms, failed_until_ms;
	char why[64]; /* of the last failure */
	struct eg_list waits;
	bool querying;
	char host[256];
};

/* One descriptor of c-ares. */
struct channel_socket {
	struct eg_watch watch;
	struct eg_list link;
	struct eg_defer free;
	struct eg_resolver *owner;
};

struct eg_resolver {
	struct eg_loop *loop;
	ares_channel channel;
	struct eg_timer timer;
	struct eg_list sockets;
	struct entry *buckets[BUCKETS];
	size_t entries;
	bool closing;
};

/* ---- c-ares on the loop ---- */

static void arm(struct eg_resolver *r)
{
	struct timeval tv, *left = ares_timeout(r->channel, NULL, &tv);

	if (!left)
		eg_timer_cancel(r->loop, &r->timer);
	else if (eg_timer_set(r->loop, &r->timer,
			      (uint64_t)left->tv_sec * 1000u + (uint64_t)left->tv_usec / 1000u + 1))
		eg_warn("resolver: no memory for a timer; a look-up may take longer");
}

/*
 * Queries have begun, or have been answered: thousands of them may at once, and c-ares finds the
 * first that is due by a look at each. It is none that is due before TRY_MS, or the timer is armed
 * for it; one that is answered lets the timer come for nothing.
 */
static void arm_for_new(struct eg_resolver *r)
{
	if (eg_timer_armed(&r->timer) && r->timer.due_ms <= eg_loop_now_ms(r->loop) + TRY_MS + 1)
		return;
	if (eg_timer_set(r->loop, &r->timer, TRY_MS + 1))
		eg_warn("resolver: no memory for a timer; a look-up may take longer");
}

static void timer_fired(struct eg_timer *t)
{
	struct eg_resolver *r = eg_container_of(t, struct eg_resolver, timer);

	ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	arm(r);
}

static void socket_ready(struct eg_watch *w, uint32_t events)
{
	struct channel_socket *s = eg_container_of(w, struct channel_socket, watch);
	struct eg_resolver *r = s->owner;
	int fd = w->fd;
	bool in = events & (EPOLLIN | EPOLLERR | EPOLLHUP);

	ares_process_fd(r->channel, in ? fd : ARES_SOCKET_BAD,
			events & EPOLLOUT ? fd : ARES_SOCKET_BAD);
	arm_for_new(r);
}

static void socket_free(struct eg_defer *d)
{
	free(eg_container_of(d, struct channel_socket, free));
}

static void socket_close(struct channel_socket *s)
{
	eg_watch_remove(s->owner->loop, &s->watch);
	eg_list_remove(&s->link);
	if (s->owner->closing)
		free(s);
	else
		eg_loop_defer(s->owner->loop, &s->free);
}

/* c-ares says which of its descriptors it wants to hear of; neither: it is about to close it. */
static void socket_state(void *ctx, ares_socket_t fd, int readable, int writable)
{
	struct eg_resolver *r = ctx;
	uint32_t events = (readable ? EPOLLIN : 0u) | (writable ? EPOLLOUT : 0u);
	struct channel_socket *s = NULL;
	struct eg_list *it;

	eg_list_for_each (it, &r->sockets) {
		struct channel_socket *c = eg_container_of(it, struct channel_socket, link);

		if (c->watch.fd == fd)
			s = c;
	}
	if (!events) {
		if (s)
			socket_close(s);
		return;
	}
	if (s) {
		if (eg_watch_set(r->loop, &s->watch, events))
			eg_warn("resolver: cannot change interest in a socket; a look-up will time "
				"out");
		return;
	}
	s = calloc(1, sizeof(*s));
	if (s) {
		s->owner = r;
		s->watch = (struct eg_watch){.fd = -1, .ready = socket_ready};
		s->free.run = socket_free;
		eg_list_append(&r->sockets, &s->link);
	}
	/* Unheard, the query runs into its time-out and fails like any other. */
	if (!s || eg_watch_add(r->loop, &s->watch, fd, events)) {
		eg_warn("resolver: cannot watch a socket; a look-up will time out");
		if (s)
			socket_close(s);
	}
}

struct eg_resolver *eg_resolver_create(struct eg_loop *l, const char *servers, struct eg_error *e)
{
	char lookups[] = "b"; /* DNS only: no file is opened later, under seccomp */
	struct ares_options o = {.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES,
				 .timeout = TRY_MS,
				 .tries = TRIES,
				 .lookups = lookups,
				 .sock_state_cb = socket_state};
	struct eg_resolver *r = calloc(1, sizeof(*r));
	int a;

	if (!r) {
		(void)eg_error_set(e, -ENOMEM, "resolver: out of memory");
		return NULL;
	}
	r->loop = l;
	eg_list_init(&r->sockets);
	eg_timer_init(&r->timer, timer_fired);
	o.sock_state_cb_data = r;
	a = ares_init_options(&r->channel, &o,
			      ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
				      ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB);
	if (a != ARES_SUCCESS) {
		(void)eg_error_set(e, -EIO, "resolver: c-ares: %s", ares_strerror(a));
		free(r);
		return NULL;
	}
	a = ares_set_servers_ports_csv(r->channel, servers);
	if (a != ARES_SUCCESS || !*servers) {
		(void)eg_error_set(
			e, -EINVAL,
			"resolver: \"%s\": expected addresses of DNS servers separated by commas, "
			"each with an optional port (10.0.0.10,[2001:db8::1]:53)",
			servers);
		ares_destroy(r->channel);
		free(r);
		return NULL;
	}
	return r;
}

void eg_resolver_destroy(struct eg_resolver *r)
{
	if (!r)
		return;
	r->closing = true; /* waits are not called: their owners are going as well */
	eg_timer_cancel(r->loop, &r->timer);
	ares_destroy(r->channel);
	for (size_t i = 0; i < BUCKETS; i++) {
		while (r->buckets[i]) {
			struct entry *n = r->buckets[i];

			r->buckets[i] = n->next;
			free(n);
		}
	}
	free(r);
}

/* ---- the cache ---- */

static struct entry **bucket(struct eg_resolver *r, const char *host)
{
	uint32_t h = 2166136261u; /* FNV-1a; names come from policy, not from pods */

	for (const char *c = host; *c; c++)
		h = (h ^ (unsigned char)(*c | 0x20)) * 16777619u;
	return &r->buckets[h % BUCKETS];
}

/* What nobody waits for; `fresh`: also what would be an answer still. */
static void evict(struct eg_resolver *r, uint64_t now, bool fresh)
{
	for (size_t i = 0; i < BUCKETS; i++) {
		struct entry **at = &r->buckets[i];

		while (*at) {
			struct entry *n = *at;

			if (n->querying || !eg_list_empty(&n->waits) ||
			    (!fresh && n->fresh_until_ms > now)) {
				at = &n->next;
				continue;
			}
			*at = n->next;
			r->entries--;
			free(n);
		}
	}
}

static struct entry *find_or_add(struct eg_resolver *r, const char *host)
{
	struct entry **head = bucket(r, host);
	struct entry *n;

	for (n = *head; n; n = n->next)
		if (!strcasecmp(n->host, host))
			return n;
	if (r->entries >= MAX_ENTRIES)
		evict(r, eg_loop_now_ms(r->loop), false);
	/* After a reload they may all be names of before. */
	if (r->entries >= MAX_ENTRIES)
		evict(r, eg_loop_now_ms(r->loop), true);
	if (r->entries >= MAX_ENTRIES || strlen(host) >= sizeof(n->host))
		return NULL;
	n = calloc(1, sizeof(*n));
	if (!n)
		return NULL;
	n->owner = r;
	eg_list_init(&n->waits);
	eg_str_copy(n->host, sizeof(n->host), eg_str_from(host));
	n->next = *head;
	*head = n;
	r->entries++;
	return n;
}

static void answer(struct entry *n)
{
	uint64_t now = eg_loop_now_ms(n->owner->loop);
	bool good = n->found.count && n->stale_until_ms > now;
	/* Copies: a callback may look other names up, and that may evict this entry. */
	struct eg_addresses found = n->found;
	char why[sizeof(n->why)];
	struct eg_list mine;

	memcpy(why, n->why, sizeof(why));
	/* A callback may look the same name up again: only those who wait now are answered. */
	eg_list_init(&mine);
	while (!eg_list_empty(&n->waits)) {
		struct eg_list *first = n->waits.next;

		eg_list_remove(first);
		eg_list_append(&mine, first);
	}
	while (!eg_list_empty(&mine)) {
		struct eg_resolve *q = eg_container_of(mine.next, struct eg_resolve, link);

		eg_list_remove(&q->link);
		q->query = NULL;
		q->done(q, good ? &found : NULL, good ? NULL : why);
	}
}

static void add_node(struct eg_addresses *to, const struct ares_addrinfo_node *node)
{
	struct eg_address *a = &to->item[to->count];

	if (to->count == EG_RESOLVER_ADDRESSES)
		return;
	if (node->ai_family == AF_INET) {
		const struct sockaddr_in *v4 = (const void *)node->ai_addr;

		*a = (struct eg_address){{0, 0, htonl(0xffff), v4->sin_addr.s_addr}};
	} else if (node->ai_family == AF_INET6) {
		memcpy(a, &((const struct sockaddr_in6 *)(const void *)node->ai_addr)->sin6_addr,
		       sizeof(*a));
	} else {
		return;
	}
	to->count++;
	if (node->ai_ttl >= 0)
		to->ttl_s = EG_MIN(to->ttl_s, (uint32_t)node->ai_ttl);
}

static void answered(void *ctx, int status, int timeouts, struct ares_addrinfo *result)
{
	struct entry *n = ctx;
	uint64_t now;

	(void)timeouts;
	if (n->owner->closing || status == ARES_EDESTRUCTION) {
		ares_freeaddrinfo(result);
		return;
	}
	now = eg_loop_now_ms(n->owner->loop);
	n->querying = false;
	if (status == ARES_SUCCESS && result) {
		struct eg_addresses found = {.ttl_s = TTL_MAX_S};

		/* IPv4 first: a node without a working IPv6 path is common, and it fails fast. */
		for (struct ares_addrinfo_node *i = result->nodes; i; i = i->ai_next)
			if (i->ai_family == AF_INET)
				add_node(&found, i);
		for (struct ares_addrinfo_node *i = result->nodes; i; i = i->ai_next)
			if (i->ai_family == AF_INET6)
				add_node(&found, i);
		if (found.count) {
			found.ttl_s = EG_MAX(found.ttl_s, TTL_MIN_S);
			n->found = found;
			n->fresh_until_ms = now + found.ttl_s * 1000u;
			n->stale_until_ms = n->fresh_until_ms + STALE_MS;
			n->failed_until_ms = 0;
		} else {
			status = ARES_ENODATA;
		}
	}
	if (status != ARES_SUCCESS) {
		eg_str_copy(n->why, sizeof(n->why), eg_str_from(ares_strerror(status)));
		n->failed_until_ms = now + FAILED_MS;
		/* The name is gone for good, so a former answer is no longer true. */
		if (status == ARES_ENOTFOUND || status == ARES_ENODATA)
			n->found.count = 0;
	}
	ares_freeaddrinfo(result);
	answer(n);
}

void eg_resolver_lookup(struct eg_resolver *r, const char *host, struct eg_resolve *q)
{
	struct ares_addrinfo_hints hints = {.ai_flags = ARES_AI_NOSORT, .ai_family = AF_UNSPEC};
	uint64_t now = eg_loop_now_ms(r->loop);
	struct eg_addresses literal = {.count = 1, .ttl_s = TTL_MAX_S};
	struct entry *n;

	eg_list_init(&q->link);
	q->query = NULL;
	if (!eg_address_parse(eg_str_from(host), &literal.item[0])) {
		q->done(q, &literal, NULL);
		return;
	}
	n = eg_host_valid(eg_str_from(host)) ? find_or_add(r, host) : NULL;
	if (!n) {
		q->done(q, NULL, "not a host name, or too many names at once");
		return;
	}
	if (n->found.count && n->fresh_until_ms > now) {
		q->done(q, &n->found, NULL);
		return;
	}
	if (n->failed_until_ms > now && !n->querying) {
		bool stale = n->found.count && n->stale_until_ms > now;

		q->done(q, stale ? &n->found : NULL, stale ? NULL : n->why);
		return;
	}
	q->query = n;
	eg_list_append(&n->waits, &q->link);
	if (n->querying)
		return;
	n->querying = true;
	ares_getaddrinfo(r->channel, n->host, NULL, &hints, answered, n);
	arm_for_new(r);
}

void eg_resolver_cancel(struct eg_resolver *r, struct eg_resolve *q)
{
	(void)r;
	if (q->query)
		eg_list_remove(&q->link);
	q->query = NULL;
}
