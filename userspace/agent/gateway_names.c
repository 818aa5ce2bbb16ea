/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watched names to addresses: what the agent resolves itself (for every pod and the guard), and what
 * an answer holds that the kernel could not read (for that pod alone). Both go to the supervisor,
 * which writes them into the kernel's tables.
 */
#include <ares.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <stdlib.h>

#include "agent/gateway_impl.h"
#include "base/log.h"

#define AGAIN_MIN_S   5u
#define AGAIN_MAX_S   60u
#define AGAIN_FAILED_S 5u
#define ANSWER_ADDRESSES EG_WIRE_ADDRESSES

struct watched {
	struct eg_names *names;
	struct watched *next;
	char text[EG_WIRE_NAME];
	struct eg_resolve query;
	struct eg_timer again;
	bool asking, kept, failed;
};

struct eg_names {
	struct eg_loop *loop;
	struct eg_resolver *resolver;
	struct watched *first;
};

struct eg_names *eg_names_create(struct eg_loop *l, const char *resolvers, struct eg_error *e)
{
	struct eg_names *n = calloc(1, sizeof(*n));

	if (!n) {
		eg_error_set(e, -ENOMEM, "names: out of memory");
		return NULL;
	}
	n->loop = l;
	n->resolver = eg_resolver_create(l, resolvers, e);
	if (!n->resolver) {
		free(n);
		return NULL;
	}
	return n;
}

static void tell(enum eg_wire_type type, uint32_t ifindex, const char *name,
		 const struct eg_address *addresses, size_t count, uint32_t ttl_s)
{
	struct eg_message m = {.type = type, .number = ifindex};

	eg_str_copy(m.u.addresses.name, sizeof(m.u.addresses.name), eg_str_from(name));
	m.u.addresses.count = (uint32_t)EG_MIN(count, (size_t)EG_WIRE_ADDRESSES);
	m.u.addresses.ttl_s = ttl_s;
	memcpy(m.u.addresses.address, addresses, m.u.addresses.count * sizeof(*addresses));
	eg_gateway_say(&m);
}

static void again(struct watched *w, uint32_t seconds)
{
	if (eg_timer_set(w->names->loop, &w->again, (uint64_t)seconds * 1000))
		eg_error("out of memory: %s is not resolved any more", w->text);
}

static void resolved(struct eg_resolve *q, const struct eg_addresses *a, const char *why)
{
	struct watched *w = eg_container_of(q, struct watched, query);

	w->asking = false;
	if (!a || !a->count) {
		if (!w->failed)
			eg_warn("watched name %s can't be resolved: %s", w->text, why ? why : "no address");
		w->failed = true;
		again(w, AGAIN_FAILED_S);
		return;
	}
	w->failed = false;
	tell(EG_WIRE_RESOLVED, 0, w->text, a->item, a->count, a->ttl_s);
	again(w, EG_MIN(EG_MAX(a->ttl_s, AGAIN_MIN_S), AGAIN_MAX_S));
}

static void ask(struct watched *w)
{
	if (w->asking)
		return;
	w->asking = true;
	w->query.done = resolved;
	eg_resolver_lookup(w->names->resolver, w->text, &w->query);
}

static void due(struct eg_timer *t)
{
	ask(eg_container_of(t, struct watched, again));
}

static struct watched *find(struct eg_names *n, const char *text)
{
	for (struct watched *w = n->first; w; w = w->next)
		if (!strcmp(w->text, text))
			return w;
	return NULL;
}

static void add(struct eg_names *n, const char *text)
{
	struct watched *w = calloc(1, sizeof(*w));

	if (!w) {
		eg_error("out of memory: %s is not resolved", text);
		return;
	}
	w->names = n;
	w->kept = true;
	eg_str_copy(w->text, sizeof(w->text), eg_str_from(text));
	eg_timer_init(&w->again, due);
	w->next = n->first;
	n->first = w;
	ask(w);
}

static void drop(struct eg_names *n, struct watched **at)
{
	struct watched *w = *at;

	*at = w->next;
	if (w->asking)
		eg_resolver_cancel(n->resolver, &w->query);
	eg_timer_cancel(n->loop, &w->again);
	free(w);
}

void eg_names_follow(struct eg_names *n, struct eg_policy_set *set)
{
	size_t count;
	const struct eg_watched_name *names = eg_watched_names(set, &count);

	for (struct watched *w = n->first; w; w = w->next)
		w->kept = false;
	for (size_t i = 0; i < count; i++) {
		struct watched *w;

		if (names[i].text[0] == '*' || strlen(names[i].text) >= EG_WIRE_NAME)
			continue; /* only pods' own answers tell what lies below a suffix */
		w = find(n, names[i].text);
		if (!w) {
			add(n, names[i].text);
			continue;
		}
		w->kept = true;
		/* The kernel's table may be another one: tell it again. */
		eg_timer_cancel(n->loop, &w->again);
		ask(w);
	}
	for (struct watched **at = &n->first; *at;)
		if ((*at)->kept)
			at = &(*at)->next;
		else
			drop(n, at);
}

/* ---- answers that the kernel could not read ---- */

/* The watched name that `host` is or lies below, or NULL. */
static const char *watched_by(struct eg_policy_set *set, const char *host)
{
	size_t count;
	const struct eg_watched_name *names = eg_watched_names(set, &count);
	struct eg_str h = eg_str_from(host);

	if (h.n && h.p[h.n - 1] == '.')
		h.n--;
	for (size_t i = 0; i < count; i++) {
		struct eg_str w = eg_str_from(names[i].text);

		if (w.p[0] != '*' && eg_str_ieq(w, h))
			return names[i].text;
		if (w.p[0] == '*' && h.n > w.n - 1 &&
		    eg_str_ieq((struct eg_str){h.p + h.n - (w.n - 1), w.n - 1},
			       (struct eg_str){w.p + 1, w.n - 1}))
			return names[i].text;
	}
	return NULL;
}

/* The canonical name and every alias on the way to it. */
static const char *watched_host(struct eg_policy_set *set, const struct hostent *h)
{
	const char *name = h && h->h_name ? watched_by(set, h->h_name) : NULL;

	for (char **a = h ? h->h_aliases : NULL; !name && a && *a; a++)
		name = watched_by(set, *a);
	return name;
}

void eg_names_answer(struct eg_names *n, struct eg_policy_set *set, uint32_t ifindex,
		     const unsigned char *message, size_t length)
{
	struct ares_addrttl four[ANSWER_ADDRESSES];
	struct ares_addr6ttl six[ANSWER_ADDRESSES];
	struct eg_address addresses[ANSWER_ADDRESSES];
	int four_count = ANSWER_ADDRESSES, six_count = ANSWER_ADDRESSES;
	struct hostent *host = NULL;
	const char *name;
	uint32_t ttl_s = UINT32_MAX;

	(void)n;
	if (length > EG_EVENT_DATA)
		return;
	if (ares_parse_a_reply(message, (int)length, &host, four, &four_count) == ARES_SUCCESS) {
		for (int i = 0; i < four_count; i++) {
			addresses[i] = (struct eg_address){.word_be = {0, 0, htonl(0xffff),
								      four[i].ipaddr.s_addr}};
			ttl_s = EG_MIN(ttl_s, (uint32_t)EG_MAX(four[i].ttl, 0));
		}
		name = watched_host(set, host);
		if (name && four_count > 0)
			tell(EG_WIRE_LEARNED, ifindex, name, addresses, (size_t)four_count, ttl_s);
		ares_free_hostent(host);
		return;
	}
	if (ares_parse_aaaa_reply(message, (int)length, &host, six, &six_count) == ARES_SUCCESS) {
		for (int i = 0; i < six_count; i++) {
			memcpy(&addresses[i], &six[i].ip6addr, sizeof(addresses[i]));
			ttl_s = EG_MIN(ttl_s, (uint32_t)EG_MAX(six[i].ttl, 0));
		}
		name = watched_host(set, host);
		if (name && six_count > 0)
			tell(EG_WIRE_LEARNED, ifindex, name, addresses, (size_t)six_count, ttl_s);
		ares_free_hostent(host);
	}
}
