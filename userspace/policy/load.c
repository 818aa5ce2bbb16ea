/* SPDX-License-Identifier: Apache-2.0 */
/* eg_policy_load(): from files to a compiled, immutable set. */
#include "policy/policy.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "policy/lint.h"
#include "policy/source.h"

/* Memory of one compiled set: far over what the file limits allow, so that it only stops a mistake.
 */
#define SET_BUDGET_BYTES (1024u << 20)

void eg_policy_errors_fini(struct eg_policy_errors *e)
{
	free(e->item);
	*e = (struct eg_policy_errors){0};
}

/* ---- names ---- */
struct names {
	struct loading *l;
	uint32_t *table; /* heap; hash -> id */
	size_t mask;
	bool too_many;
};

static size_t hash_text(const char *text)
{
	size_t h = 5381;

	for (; *text; text++)
		h = h * 33 + (unsigned char)*text;
	return h;
}

static void add_name(struct names *n, const char *text)
{
	struct eg_policy_set *s = n->l->set;
	size_t i = hash_text(text) & n->mask;

	while (n->table[i] && strcmp(s->names[n->table[i] - 1].text, text))
		i = (i + 1) & n->mask;
	if (n->table[i])
		return;
	if (s->name_count >= EG_POLICY_MAX_NAMES) {
		n->too_many = true;
		return;
	}
	s->names[s->name_count].text = source_dup(n->l, text);
	s->names[s->name_count].id = (uint32_t)s->name_count + 1;
	if (s->names[s->name_count].text)
		n->table[i] = (uint32_t)++s->name_count;
}

static void add_destination_hosts(struct names *n)
{
	for (size_t i = 0; i < n->l->document_count; i++) {
		json_t *v, *host;
		size_t k, h;

		json_array_foreach(source_array(n->l->documents[i].root, "destinations"), k, v)
			json_array_foreach(source_array(v, "hosts"), h,
					   host) if (json_string_length(host))
				add_name(n, json_string_value(host));
	}
}

/*
 * The endpoints themselves: a pod with a policy that calls one by its own name must not get round
 * the routes, with or without a key of its own. Not those inside the cluster, which may be an
 * ordinary service to others, nor addresses.
 */
static void add_endpoint_hosts(struct names *n)
{
	for (size_t i = 0; i < n->l->set->provider_count; i++) {
		const struct eg_provider *p = &n->l->set->providers[i];
		const char *dot = strrchr(p->host, '.');

		if (!p->allow_private && dot && !strchr(p->host, ':') &&
		    (dot[1] < '0' || dot[1] > '9'))
			add_name(n, p->host);
	}
}

/* Watched names: the hosts of all routes, in order, then those of destinations and providers. */
static void collect_names(struct loading *l)
{
	struct names n = {.l = l};
	size_t size = EG_POLICY_MAX_NAMES * 4;

	n.table = calloc(size, sizeof(*n.table));
	n.mask = size - 1;
	l->set->names = source_alloc(l, EG_POLICY_MAX_NAMES, sizeof(*l->set->names));
	if (!n.table)
		l->out_of_memory = true;
	for (size_t i = 0; i < l->set->policy_count && !l->out_of_memory; i++, set_busy(l->set))
		for (size_t k = 0; k < l->set->policies[i].route_count; k++)
			for (size_t h = 0; h < l->set->policies[i].routes[k].host_count; h++)
				add_name(&n, l->set->policies[i].routes[k].hosts[h]);
	if (!l->out_of_memory) {
		add_destination_hosts(&n);
		add_endpoint_hosts(&n);
	}
	if (n.too_many)
		source_file_error(l, NULL,
				  "more than %u different hosts in all files; expected fewer",
				  EG_POLICY_MAX_NAMES);
	free(n.table);
}

/* ---- version ---- */
static int hash_files(const struct loading *l, char out[17])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	bool good = c && EVP_DigestInit_ex(c, EVP_sha256(), NULL) == 1;

	for (size_t i = 0; good && i < l->document_count; i++) {
		const struct document *d = &l->documents[i];
		uint64_t sizes[2] = {d->name.n, d->text.n};

		set_busy(l->set);
		good = EVP_DigestUpdate(c, sizes, sizeof(sizes)) == 1 &&
		       EVP_DigestUpdate(c, d->name.p, d->name.n) == 1 &&
		       EVP_DigestUpdate(c, d->text.p, d->text.n) == 1;
	}
	good = good && EVP_DigestFinal_ex(c, digest, NULL) == 1;
	EVP_MD_CTX_free(c);
	for (size_t i = 0; good && i < 8; i++)
		snprintf(out + 2 * i, 3, "%02x", digest[i]);
	return good ? 0 : -ENOMEM;
}

/* ---- the set ---- */
static void destroy(struct eg_policy_set *s)
{
	if (!s)
		return;
	eg_arena_fini(&s->memory);
	free(s);
}

static int read_all(struct loading *l)
{
	int r;

	read_credentials(l);
	if (!l->out_of_memory)
		read_providers(l);
	if (!l->out_of_memory)
		read_policies(l);
	if (!l->out_of_memory)
		read_destinations(l);
	if (!l->out_of_memory && !l->errors_seen)
		collect_names(l);
	if (l->out_of_memory)
		return -ENOMEM;
	if (l->errors_seen)
		return -EINVAL;
	r = eg_fronts_build(l->set);
	if (r == -E2BIG) {
		source_file_error(l, NULL, "more than %u fronts of all providers; expected fewer",
				  EG_POLICY_MAX_NAMES);
		return -EINVAL;
	}
	if (!r)
		r = eg_index_build(l->set);
	if (r == -E2BIG) {
		source_file_error(l, NULL,
				  "hosts x models x operations of all routes make more than %u "
				  "rules; expected fewer",
				  EG_POLICY_MAX_RULES);
		return -EINVAL;
	}
	if (r == -EMLINK) {
		source_file_error(
			l, NULL,
			"more than %u model globs of one policy and host differ only after "
			"their first wildcard; expected fewer",
			EG_POLICY_MAX_GLOBS);
		return -EINVAL;
	}
	if (!r)
		r = eg_select_build(l->set);
	if (!r)
		r = hash_files(l, l->set->version);
	if (!r)
		policy_lint(l);
	return r ? r : l->out_of_memory ? -ENOMEM : 0;
}

/* In the order of the files, which is the order in which somebody will mend them. */
static int by_place(const void *a, const void *b)
{
	const struct eg_policy_error *x = a, *y = b;
	int r = strcmp(x->file, y->file);

	if (r)
		return r;
	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	return (x->column > y->column) - (x->column < y->column);
}

int eg_policy_load(const struct eg_policy_file *files, size_t count, struct eg_policy_set **out,
		   struct eg_policy_errors *errors)
{
	return eg_policy_load_busy(files, count, NULL, out, errors);
}

int eg_policy_load_busy(const struct eg_policy_file *files, size_t count,
			const struct eg_policy_busy *busy, struct eg_policy_set **out,
			struct eg_policy_errors *errors)
{
	struct loading l = {.errors = errors};
	int r;

	*errors = (struct eg_policy_errors){0};
	l.set = calloc(1, sizeof(*l.set));
	if (!l.set)
		return -ENOMEM;
	atomic_init(&l.set->refs, 1);
	l.set->busy = busy;
	eg_arena_init(&l.set->memory, SET_BUDGET_BYTES);
	r = source_open(&l, files, count);
	if (!r && !l.document_count && !l.errors_seen)
		source_file_error(&l, NULL,
				  "there is no policy file; expected at least one *.json");
	if (!r)
		r = read_all(&l);
	if (errors->count)
		qsort(errors->item, errors->count, sizeof(*errors->item), by_place);
	if (l.reports_left_out && errors->count) {
		struct eg_policy_error *last = &errors->item[errors->count - 1];

		snprintf(last->text, sizeof(last->text), "%zu more errors and warnings follow",
			 l.reports_left_out + 1);
		last->warning = l.errors_seen == 0;
	}
	source_close(&l);
	l.set->busy = NULL;
	if (r) {
		destroy(l.set);
		return r;
	}
	*out = l.set;
	return 0;
}

struct eg_policy_set *eg_policy_set_ref(struct eg_policy_set *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

void eg_policy_set_unref(struct eg_policy_set *s)
{
	if (s && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1)
		destroy(s);
}

const char *eg_policy_version(const struct eg_policy_set *s)
{
	return s->version;
}

const struct eg_policy *eg_policies(const struct eg_policy_set *s, size_t *count)
{
	*count = s->policy_count;
	return s->policies;
}

const struct eg_provider *eg_providers(const struct eg_policy_set *s, size_t *count)
{
	*count = s->provider_count;
	return s->providers;
}

const struct eg_credential_spec *eg_credentials(const struct eg_policy_set *s, size_t *count)
{
	*count = s->credential_count;
	return s->credentials;
}

const struct eg_watched_name *eg_watched_names(const struct eg_policy_set *s, size_t *count)
{
	*count = s->name_count;
	return s->names;
}

const char *const *eg_policy_cidrs(const struct eg_policy_set *s, size_t *count)
{
	*count = s->cidr_count;
	return (const char *const *)s->cidrs;
}
