/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watched names to addresses: what the agent resolves itself (for every pod and the guard), and
 * what an answer holds that the kernel could not read (for that pod alone). Both go to the
 * supervisor, which writes them into the kernel's tables.
 */
#include <ares.h>
#include <arpa/nameser.h>
#include <stdlib.h>

#include "agent/gateway_impl.h"
#include "base/log.h"

#define AGAIN_MIN_S	 5u
#define AGAIN_MAX_S	 60u
#define AGAIN_FAILED_S	 5u
#define ANSWER_ADDRESSES 128u /* more than EG_EVENT_DATA bytes can hold */
#define BUCKETS		 1024u

struct watched {
	struct eg_names *names;
	struct watched *next; /* of its bucket */
	char text[EG_WIRE_NAME];
	struct eg_resolve query;
	struct eg_timer again;
	bool asking, kept, failed;
};

struct eg_names {
	struct eg_loop *loop;
	struct eg_resolver *resolver;
	struct watched *buckets[BUCKETS]; /* by text: a reload may change thousands */
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
			eg_warn("watched name %s can't be resolved: %s", w->text,
				why ? why : "no address");
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

static struct watched **bucket(struct eg_names *n, const char *text)
{
	uint32_t h = 2166136261u; /* FNV-1a; names come from policy, not from pods */

	for (const char *c = text; *c; c++)
		h = (h ^ (unsigned char)*c) * 16777619u;
	return &n->buckets[h % BUCKETS];
}

static struct watched *find(struct eg_names *n, const char *text)
{
	for (struct watched *w = *bucket(n, text); w; w = w->next)
		if (!strcmp(w->text, text))
			return w;
	return NULL;
}

static void add(struct eg_names *n, const char *text)
{
	struct watched *w = calloc(1, sizeof(*w)), **head = bucket(n, text);

	if (!w) {
		eg_error("out of memory: %s is not resolved", text);
		return;
	}
	w->names = n;
	w->kept = true;
	eg_str_copy(w->text, sizeof(w->text), eg_str_from(text));
	eg_timer_init(&w->again, due);
	w->next = *head;
	*head = w;
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

static void drop_others(struct eg_names *n, struct watched **at)
{
	while (*at)
		if ((*at)->kept)
			at = &(*at)->next;
		else
			drop(n, at);
}

void eg_names_follow(struct eg_names *n, struct eg_policy_set *set)
{
	size_t count;
	const struct eg_watched_name *names = eg_watched_names(set, &count);

	for (size_t i = 0; i < BUCKETS; i++)
		for (struct watched *w = n->buckets[i]; w; w = w->next)
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
	for (size_t i = 0; i < BUCKETS; i++)
		drop_others(n, &n->buckets[i]);
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

/*
 * The records of an answer, as far as they were handed up (RFC 1035 section 4.1). Unlike c-ares'
 * readers this one keeps what came before the cut: an answer that is too long for the kernel is
 * often too long for an event as well.
 */
struct reading {
	struct eg_policy_set *set;
	const unsigned char *message;
	size_t length, at;
	const char *watched; /* of the question, or the last alias that is watched */
	struct eg_address address[ANSWER_ADDRESSES];
	size_t count;
	uint32_t ttl_s;
};

static unsigned int get16(const unsigned char *p)
{
	return (unsigned int)p[0] << 8 | p[1];
}

/* The name at r->at, moved past; *watched becomes the rule it falls under. */
static bool read_name(struct reading *r, const char **watched)
{
	char *name = NULL;
	long used = 0;

	if (r->at >= r->length || ares_expand_name(r->message + r->at, r->message, (int)r->length,
						   &name, &used) != ARES_SUCCESS)
		return false;
	*watched = watched_by(r->set, name);
	ares_free_string(name);
	r->at += (size_t)used;
	return true;
}

static void read_address(struct reading *r, unsigned int type, unsigned int size)
{
	const unsigned char *data = r->message + r->at;
	struct eg_address *a = &r->address[r->count];

	if (r->count == ANSWER_ADDRESSES)
		return;
	if (type == ns_t_a && size == 4) {
		*a = (struct eg_address){.word_be = {0, 0, htonl(0xffff), 0}};
		memcpy(&a->word_be[3], data, 4);
		r->count++;
	} else if (type == ns_t_aaaa && size == 16) {
		memcpy(a, data, 16);
		r->count++;
	}
}

/* False: the end, or what can't be read. */
static bool read_record(struct reading *r)
{
	const char *owner = NULL, *target = NULL;
	unsigned int type, size;
	uint32_t ttl;
	size_t after;

	if (!read_name(r, &owner) || r->at + 10 > r->length)
		return false;
	type = get16(r->message + r->at);
	ttl = get16(r->message + r->at + 4) << 16 | get16(r->message + r->at + 6);
	size = get16(r->message + r->at + 8);
	r->at += 10;
	after = r->at + size;
	if (after > r->length)
		return false;
	if (type == ns_t_cname) {
		if (!read_name(r, &target))
			return false;
		r->watched = r->watched ? r->watched : target;
	} else {
		read_address(r, type, size);
	}
	/* RFC 2181 section 8: a TTL with its top bit set is 0. */
	r->ttl_s = EG_MIN(r->ttl_s, ttl & 0x80000000u ? 0 : ttl);
	r->at = after;
	return true;
}

void eg_names_answer(struct eg_policy_set *set, uint32_t ifindex, const unsigned char *message,
		     size_t length)
{
	struct reading r = {.set = set, .message = message, .length = length, .ttl_s = UINT32_MAX};
	unsigned int questions, answers;

	if (length < 12 || length > EG_EVENT_DATA || !(message[2] & 0x80))
		return;
	questions = get16(message + 4);
	answers = get16(message + 6);
	r.at = 12;
	if (questions != 1 || !read_name(&r, &r.watched))
		return;
	r.at += 4; /* type and class */
	for (unsigned int i = 0; i < answers && read_record(&r); i++)
		;
	for (size_t i = 0; r.watched && i < r.count; i += EG_WIRE_ADDRESSES)
		tell(EG_WIRE_LEARNED, ifindex, r.watched, r.address + i, r.count - i, r.ttl_s);
}
