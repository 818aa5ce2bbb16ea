/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routes by (policy, name, operation, model): each route is spread over hash table entries when the
 * set is compiled, so that a decision costs a few look-ups however many policies and routes there
 * are. A wildcard host is looked up once for each label of the host; a glob once for each length of
 * literal text that the bucket's globs begin with.
 */
#include "policy/keys.h"
#include "policy/set.h"

#define FNV_BASE  14695981039346656037u
#define FNV_PRIME 1099511628211u

static uint64_t fnv(uint64_t h, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)p[i]) * FNV_PRIME;
	return h;
}

static uint64_t mix(uint64_t h)
{
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdu;
	h ^= h >> 33;
	h *= 0xc4ceb9fe1a85ec53u;
	return h ^ (h >> 33);
}

static uint64_t rule_hash(uint32_t policy, uint32_t name, uint32_t operation, enum rule_kind kind,
			  uint64_t text_hash)
{
	uint64_t key = ((uint64_t)policy << 32) | name;

	return mix(mix(key) ^ text_hash ^ ((uint64_t)operation << 8) ^ (uint64_t)kind);
}

static size_t table_size(size_t count)
{
	size_t size = 16;

	while (size < count * 2)
		size *= 2;
	return size;
}

enum rule_kind eg_index_model_kind(struct eg_str glob, struct eg_str *text)
{
	size_t n = 0;

	while (n < glob.n && glob.p[n] != '*' && glob.p[n] != '?')
		n++;
	*text = (struct eg_str){glob.p, n};
	if (n == glob.n)
		return RULE_EXACT;
	return n + 1 == glob.n && glob.p[n] == '*' ? RULE_PREFIX : RULE_GLOB;
}

/* ---- names ---- */
struct eg_str eg_normal_host(struct eg_str host, char out[256])
{
	size_t n = host.n;

	if (n && host.p[n - 1] == '.')
		n--;
	if (n > 253)
		return (struct eg_str){0};
	for (size_t i = 0; i < n; i++)
		out[i] = host.p[i] >= 'A' && host.p[i] <= 'Z' ? (char)(host.p[i] + 32) : host.p[i];
	return (struct eg_str){out, n};
}

uint32_t eg_index_name(const struct eg_policy_set *s, struct eg_str text)
{
	const struct index *x = &s->index;

	for (size_t i = fnv(FNV_BASE, text.p, text.n) & x->name_mask;; i = (i + 1) & x->name_mask) {
		uint32_t id = x->names[i];

		if (!id || eg_str_eq(eg_str_from(s->names[id - 1].text), text))
			return id;
	}
}

size_t eg_index_cover(const struct eg_policy_set *s, struct eg_str host, uint32_t ids[COVER_MAX])
{
	char pattern[260];
	size_t count = 0;
	uint32_t id;

	if (!host.n || host.n > 253)
		return 0;
	id = eg_index_name(s, host);
	if (id)
		ids[count++] = id;
	for (size_t i = 1; i < host.n && count < COVER_MAX; i++) {
		if (host.p[i] != '.')
			continue;
		pattern[0] = '*';
		memcpy(pattern + 1, host.p + i, host.n - i);
		id = eg_index_name(s, (struct eg_str){pattern, host.n - i + 1});
		if (id)
			ids[count++] = id;
	}
	return count;
}

/* ---- look-ups ---- */
static uint64_t bucket_hash(uint32_t policy, uint32_t name)
{
	return mix(((uint64_t)policy << 32) | name);
}

const struct bucket *eg_index_bucket(const struct eg_policy_set *s, uint32_t policy, uint32_t name)
{
	const struct index *x = &s->index;

	for (size_t i = bucket_hash(policy, name) & x->bucket_mask;; i = (i + 1) & x->bucket_mask) {
		const struct bucket *b = &x->buckets[i];

		if (!b->used)
			return NULL;
		if (b->policy == policy && b->name == name)
			return b;
	}
}

static const struct rule *find_rule(const struct eg_policy_set *s, const struct bucket *b,
				    uint32_t operation, enum rule_kind kind, struct eg_str text,
				    uint64_t text_hash)
{
	const struct index *x = &s->index;
	uint64_t hash = rule_hash(b->policy, b->name, operation, kind, text_hash);

	for (size_t i = hash & x->rule_mask; x->rules[i]; i = (i + 1) & x->rule_mask) {
		const struct rule *r = x->rules[i];

		if (r->hash == hash && r->policy == b->policy && r->name == b->name &&
		    r->operation == operation && r->kind == kind && eg_str_eq(r->text, text))
			return r;
	}
	return NULL;
}

bool eg_index_operation(const struct eg_policy_set *s, const struct bucket *b, uint32_t operation)
{
	return find_rule(s, b, operation, RULE_OP, (struct eg_str){0}, FNV_BASE) != NULL;
}

/* The best of `best`, the PREFIX rule and the GLOB rules whose text is the first n bytes. */
static uint32_t try_length(const struct eg_policy_set *s, const struct bucket *b,
			   uint32_t operation, struct eg_str model, size_t n, uint64_t text_hash,
			   uint32_t best)
{
	struct eg_str text = {model.p, n};
	const struct rule *r = find_rule(s, b, operation, RULE_PREFIX, text, text_hash);

	if (r)
		best = EG_MIN(best, r->route);
	for (r = find_rule(s, b, operation, RULE_GLOB, text, text_hash); r && r->route < best;
	     r = r->next)
		if (eg_glob(r->glob, model))
			return r->route;
	return best;
}

uint32_t eg_index_route(const struct eg_policy_set *s, const struct bucket *b, uint32_t operation,
			struct eg_str model)
{
	const struct rule *r =
		find_rule(s, b, operation, RULE_ANY_MODEL, (struct eg_str){0}, FNV_BASE);
	uint32_t best = r ? r->route : NO_ROUTE;
	uint64_t h = FNV_BASE;
	size_t done = 0;

	if (!model.p || model.n > MODEL_MAX)
		return best;
	for (size_t word = 0; word < EG_ARRAY_SIZE(b->lengths); word++) {
		for (uint64_t bits = b->lengths[word]; bits; bits &= bits - 1) {
			size_t n = word * 64 + (size_t)__builtin_ctzll(bits);

			if (n > model.n)
				break;
			h = fnv(h, model.p + done, n - done);
			done = n;
			best = try_length(s, b, operation, model, n, h, best);
		}
	}
	h = fnv(h, model.p + done, model.n - done);
	r = find_rule(s, b, operation, RULE_EXACT, model, h);
	return r ? EG_MIN(best, r->route) : best;
}

/* ---- building ---- */
struct build {
	struct eg_policy_set *set;
	size_t rules;
	bool counting; /* first pass: count; second: insert */
};

static struct bucket *add_bucket(struct index *x, uint32_t policy, uint32_t name)
{
	size_t i = bucket_hash(policy, name) & x->bucket_mask;

	while (x->buckets[i].used && (x->buckets[i].policy != policy || x->buckets[i].name != name))
		i = (i + 1) & x->bucket_mask;
	x->buckets[i].used = true;
	x->buckets[i].policy = policy;
	x->buckets[i].name = name;
	return &x->buckets[i];
}

static int add_rule(struct build *b, const struct rule *key, struct eg_str text)
{
	struct index *x = &b->set->index;
	uint64_t hash = rule_hash(key->policy, key->name, key->operation, key->kind,
				  fnv(FNV_BASE, text.p, text.n));
	size_t i = hash & x->rule_mask;
	struct rule *r, *first;

	if (b->counting) {
		b->rules++;
		return 0;
	}
	for (; x->rules[i]; i = (i + 1) & x->rule_mask) {
		r = x->rules[i];
		if (r->hash == hash && r->policy == key->policy && r->name == key->name &&
		    r->operation == key->operation && r->kind == key->kind &&
		    eg_str_eq(r->text, text))
			break;
	}
	first = x->rules[i];
	if (first && key->kind != RULE_GLOB)
		return 0; /* routes come in order: the first one is there */
	if (first && ++first->count > EG_POLICY_MAX_GLOBS)
		return -EMLINK;
	r = eg_arena_alloc(&b->set->memory, sizeof(*r));
	if (!r)
		return -ENOMEM;
	*r = *key;
	r->hash = hash;
	r->text = text;
	r->next = NULL;
	r->last = r;
	r->count = 1;
	if (first) {
		first->last->next = r;
		first->last = r;
	} else {
		x->rules[i] = r;
	}
	return 0;
}

/* One (policy, name) and one operation of a route. */
static int add_operation(struct build *b, const struct eg_route *route, struct rule key)
{
	struct bucket *bucket =
		b->counting ? NULL : add_bucket(&b->set->index, key.policy, key.name);
	int r;

	key.kind = RULE_OP;
	r = add_rule(b, &key, (struct eg_str){0});
	if (r)
		return r;
	if (!route->model_count) {
		key.kind = RULE_ANY_MODEL;
		return add_rule(b, &key, (struct eg_str){0});
	}
	for (size_t i = 0; i < route->model_count && !r; i++) {
		struct eg_str text;

		key.glob = eg_str_from(route->models[i]);
		key.kind = eg_index_model_kind(key.glob, &text);
		if (bucket && key.kind != RULE_EXACT)
			bucket->lengths[text.n / 64] |= 1ull << (text.n % 64);
		r = add_rule(b, &key, text);
	}
	return r;
}

static int add_name(struct build *b, const struct eg_route *route, struct rule key)
{
	int r;

	key.operation = OP_INFERENCE;
	r = add_operation(b, route, key);
	key.operation = OP_ALL;
	if (!r)
		r = add_operation(b, route, key);
	for (size_t i = 0; i < route->operation_count && !r; i++) {
		key.operation = route->operations[i]->id;
		r = add_operation(b, route, key);
	}
	return r;
}

static int add_route(struct build *b, const struct eg_policy *p, size_t index)
{
	const struct eg_route *route = &p->routes[index];
	struct rule key = {.policy = p->id, .route = (uint32_t)index};
	bool dialects[8] = {false};
	int r = 0;

	for (size_t i = 0; i < route->host_count && !r; i++) {
		key.name = b->counting ? 1 : eg_index_name(b->set, eg_str_from(route->hosts[i]));
		r = add_name(b, route, key);
	}
	for (size_t i = 0; i < route->target_count && !r; i++) {
		enum eg_dialect d = route->targets[i].provider->dialect;

		if (dialects[d])
			continue;
		dialects[d] = true;
		key.name = GATEWAY_NAME(d);
		r = add_name(b, route, key);
	}
	return r;
}

static int add_all(struct build *b, size_t *buckets)
{
	for (size_t i = 0; i < b->set->policy_count; i++) {
		const struct eg_policy *p = &b->set->policies[i];

		set_busy(b->set);
		for (size_t k = 0; k < p->route_count; k++) {
			int r = add_route(b, p, k);

			if (r)
				return r;
			*buckets += p->routes[k].host_count + 2;
			if (b->rules > EG_POLICY_MAX_RULES)
				return -E2BIG;
		}
	}
	return 0;
}

static int build_names(struct eg_policy_set *set)
{
	struct index *x = &set->index;
	size_t size = table_size(set->name_count);

	x->names = eg_arena_zalloc(&set->memory, size * sizeof(*x->names));
	x->name_mask = size - 1;
	if (!x->names)
		return -ENOMEM;
	for (size_t n = 0; n < set->name_count; n++) {
		struct eg_str text = eg_str_from(set->names[n].text);
		size_t i = fnv(FNV_BASE, text.p, text.n) & x->name_mask;

		while (x->names[i])
			i = (i + 1) & x->name_mask;
		x->names[i] = set->names[n].id;
	}
	return 0;
}

int eg_index_build(struct eg_policy_set *set)
{
	struct build b = {.set = set, .counting = true};
	struct index *x = &set->index;
	size_t buckets = 0, again = 0, size;
	int r = build_names(set);

	if (!r)
		r = add_all(&b, &buckets);
	if (r)
		return r;
	size = table_size(b.rules);
	x->rules = eg_arena_zalloc(&set->memory, size * sizeof(*x->rules));
	x->rule_mask = size - 1;
	size = table_size(buckets);
	x->buckets = eg_arena_zalloc(&set->memory, size * sizeof(*x->buckets));
	x->bucket_mask = size - 1;
	if (!x->rules || !x->buckets)
		return -ENOMEM;
	b.counting = false;
	return add_all(&b, &again);
}
