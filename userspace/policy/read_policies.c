/* SPDX-License-Identifier: Apache-2.0 */
/* Policies, their routes, and what they are filled up with from the defaults. */
#include "policy/source.h"

#include <stdio.h>
#include <stdlib.h>

static const struct eg_timeouts built_in_timeouts = {
	.connect_ms = 5000,
	.first_byte_ms = 60000,
	.total_ms = 600000,
	.idle_ms = 120000,
};
#define DEFAULT_BODY_BYTES (32u << 20)

struct defaults {
	struct eg_timeouts timeouts;
	bool fail_open, fail_stated;
};

static struct eg_timeouts read_timeouts(json_t *v, struct eg_timeouts from)
{
	return (struct eg_timeouts){
		.connect_ms = source_uint(v, "connect_ms", from.connect_ms),
		.first_byte_ms = source_uint(v, "first_byte_ms", from.first_byte_ms),
		.total_ms = source_uint(v, "total_ms", from.total_ms),
		.idle_ms = source_uint(v, "idle_ms", from.idle_ms),
	};
}

static bool is(json_t *object, const char *key, const char *value)
{
	const char *s = source_string(object, key);

	return s && !strcmp(s, value);
}

static struct defaults read_defaults(struct loading *l)
{
	struct defaults d = {.timeouts = built_in_timeouts};
	const struct document *first = NULL;

	for (size_t i = 0; i < l->document_count; i++) {
		json_t *v = source_object(l->documents[i].root, "defaults");
		struct place root = {.l = l, .document = &l->documents[i]};
		struct place at = place_key(&root, "defaults");

		if (!v)
			continue;
		if (first) {
			source_key_error(&at, "%.*s has defaults too; expected them in one file",
					 EG_STR_ARG(first->name));
			continue;
		}
		first = &l->documents[i];
		d.timeouts = read_timeouts(source_object(v, "timeouts"), d.timeouts);
		d.fail_open = is(v, "fail", "open");
		d.fail_stated = source_string(v, "fail") != NULL;
	}
	return d;
}

static bool model_glob(const struct place *at, const char *text)
{
	size_t wildcards = 0;

	if (strstr(text, "**")) {
		source_error(at, "\"%.80s\" has \"**\"; expected a glob with single '*' and '?'",
			     text);
		return false;
	}
	for (const char *c = text; *c; c++) {
		wildcards += *c == '*';
		if ((unsigned char)*c <= ' ' || *c == 0x7f || strchr("[]{}\\\"", *c)) {
			source_error(at,
				     "\"%.80s\" is not a model glob; expected a name with '*' "
				     "and '?', no spaces, brackets, quotes or backslashes",
				     text);
			return false;
		}
	}
	if (wildcards > 8) {
		source_error(at, "\"%.80s\" has %zu wildcards; expected at most 8", text,
			     wildcards);
		return false;
	}
	return true;
}

/* ---- pods ---- */
/* Label keys and values: Kubernetes' documentation, "Syntax and character set". */
static bool label_part(const char *s, size_t n, bool dns)
{
	for (size_t i = 0; i < n; i++) {
		char c = s[i];
		bool edge = i == 0 || i + 1 == n;
		bool letter = (c >= 'a' && c <= 'z') || (!dns && c >= 'A' && c <= 'Z') ||
			      (c >= '0' && c <= '9');

		if (!letter && (edge || !strchr(dns ? "-." : "-._", c)))
			return false;
	}
	return true;
}

static bool label_valid(const char *key, const char *value)
{
	const char *slash = strchr(key, '/');
	const char *name = slash ? slash + 1 : key;

	if (slash &&
	    (slash == key || slash - key > 253 || !label_part(key, (size_t)(slash - key), true)))
		return false;
	return *name && strlen(name) <= 63 && label_part(name, strlen(name), false) &&
	       strlen(value) <= 63 && label_part(value, strlen(value), false);
}

static const struct eg_label *read_labels(const struct place *at, json_t *pods, const char *name,
					  size_t *count)
{
	struct place labels = place_key(at, name);
	json_t *map = source_object(pods, name), *value;
	struct eg_label *list = source_alloc(at->l, json_object_size(map), sizeof(*list));
	const char *key;

	json_object_foreach(map, key, value)
	{
		struct place p = place_key(&labels, key);

		if (!list || !json_is_string(value))
			continue;
		if (!label_valid(key, json_string_value(value)))
			source_error(&p, "is not a label; expected [prefix/]name and a value of at "
					 "most 63 letters, digits, '-', '_', '.'");
		list[*count].key = source_dup(at->l, key);
		list[*count].value = source_dup(at->l, json_string_value(value));
		++*count;
	}
	return list;
}

static void read_pods(const struct place *at, json_t *v, struct selector *s)
{
	struct place namespaces = place_key(at, "namespaces");
	struct place accounts = place_key(at, "serviceAccounts");

	s->namespaces = source_strings(&namespaces, source_array(v, "namespaces"),
				       &s->namespace_count, source_namespace);
	s->service_accounts = source_strings(&accounts, source_array(v, "serviceAccounts"),
					     &s->service_account_count, source_service_account);
	s->namespace_labels = read_labels(at, v, "namespaceLabels", &s->namespace_label_count);
	s->labels = read_labels(at, v, "labels", &s->label_count);
}

/* ---- routes ---- */
static bool lists_operation(const struct eg_route *r, const struct eg_operation *const *list,
			    const struct eg_operation *op)
{
	for (size_t i = 0; i < r->operation_count; i++)
		if (list[i]->id == op->id)
			return true;
	return false;
}

static void read_operations(const struct place *at, json_t *array, struct eg_route *r)
{
	size_t n = json_array_size(array);
	const struct eg_operation **out = n ? source_alloc(at->l, n, sizeof(*out)) : NULL;

	for (size_t i = 0; i < n && out; i++) {
		struct place p = place_index(at, i);
		const char *name = json_string_value(json_array_get(array, i));
		const struct eg_operation *op;

		if (!name || !*name)
			continue;
		op = eg_operation_by_name(eg_str_from(name));
		if (!op) {
			source_error(&p,
				     "operation \"%.60s\" is not known; expected one that "
				     "docs/policy.md lists, such as models, files, batches, "
				     "responses.stored",
				     name);
			continue;
		}
		if (op->class == EG_CLASS_CREDENTIAL || op->class == EG_CLASS_ADMIN) {
			source_error(&p,
				     "operation \"%s\" %s and is refused always; expected it "
				     "to be left out",
				     name,
				     op->class == EG_CLASS_CREDENTIAL
					     ? "handles credentials: it would put a key into a pod"
					     : "administers the provider's account");
			continue;
		}
		if (op->class == EG_CLASS_INFERENCE)
			source_warning(&p,
				       "operation \"%s\" is inference, which a route always "
				       "allows: listing it neither adds nor restricts anything",
				       name);
		if (lists_operation(r, out, op)) {
			source_error(&p,
				     "operation \"%s\" is in the list twice; expected each once",
				     name);
			continue;
		}
		out[r->operation_count++] = op;
	}
	r->operations = out;
}

static void read_targets(const struct place *at, json_t *array, struct eg_route *r)
{
	size_t n = EG_MIN(json_array_size(array), (size_t)EG_MAX_TARGETS);
	struct eg_target_spec *out = source_alloc(at->l, n, sizeof(*out));

	for (size_t i = 0; i < n && out; i++) {
		struct place element = place_index(at, i), p = place_key(&element, "provider");
		const char *name = source_string(json_array_get(array, i), "provider");
		const struct eg_provider *found = NULL;

		if (!name)
			continue;
		found = find_provider(at->l, name);
		if (!found && source_map_read(at->l, "providers"))
			source_error(&p,
				     "provider \"%.63s\" is not defined; expected a name under "
				     "\"providers\" of some file",
				     name);
		for (size_t k = 0; k < r->target_count && found; k++)
			if (out[k].provider == found) {
				source_error(&p,
					     "provider \"%s\" is a target of this route already; "
					     "expected each once",
					     name);
				found = NULL;
			}
		if (found)
			out[r->target_count++].provider = found;
	}
	r->targets = out;
}

static void read_route(const struct place *at, json_t *v, const struct eg_timeouts *timeouts,
		       struct eg_route *r)
{
	json_t *match = source_object(v, "match");
	struct place match_at = place_key(at, "match"), targets_at = place_key(at, "targets");
	struct place hosts_at = place_key(&match_at, "hosts");
	struct place models_at = place_key(&match_at, "models");
	struct place operations_at = place_key(&match_at, "operations");
	struct place name_at = place_key(at, "name");
	const char *name = source_string(v, "name");

	if (name && source_name(&name_at, name))
		r->name = source_dup(at->l, name);
	r->hosts = (const char *const *)source_strings(&hosts_at, source_array(match, "hosts"),
						       &r->host_count, source_pattern);
	r->models = (const char *const *)source_strings(&models_at, source_array(match, "models"),
							&r->model_count, model_glob);
	read_operations(&operations_at, source_array(match, "operations"), r);
	read_targets(&targets_at, source_array(v, "targets"), r);
	r->timeouts = read_timeouts(source_object(v, "timeouts"), *timeouts);
	r->replay_once = is(v, "replay", "never");
	r->max_body_bytes = source_uint(v, "max_body_bytes", DEFAULT_BODY_BYTES);
	if (r->timeouts.connect_ms > r->timeouts.total_ms)
		source_error(at,
			     "connect_ms %llu is more than total_ms %llu; expected at most that",
			     (unsigned long long)r->timeouts.connect_ms,
			     (unsigned long long)r->timeouts.total_ms);
}

static int by_route_name(const void *a, const void *b)
{
	const struct eg_route *x = *(const struct eg_route *const *)a;
	const struct eg_route *y = *(const struct eg_route *const *)b;
	int r = strcmp(x->name ? x->name : "", y->name ? y->name : "");

	return r ? r : (x > y) - (x < y);
}

/* `at` is the array; broken elements were left out, so that an index may be too small by as many.
 */
static void check_route_names(const struct place *at, const struct eg_route *routes, size_t count)
{
	const struct eg_route **sorted = calloc(count + 1, sizeof(const struct eg_route *));

	if (!sorted)
		at->l->out_of_memory = true;
	for (size_t i = 0; sorted && i < count; i++)
		sorted[i] = &routes[i];
	if (sorted && count)
		qsort(sorted, count, sizeof(const struct eg_route *), by_route_name);
	for (size_t i = 1; sorted && i < count; i++) {
		struct place element = place_index(at, (size_t)(sorted[i] - routes));
		struct place name_at = place_key(&element, "name");

		if (sorted[i]->name && sorted[i - 1]->name &&
		    !strcmp(sorted[i]->name, sorted[i - 1]->name))
			source_error(&name_at,
				     "another route of this policy is named \"%s\"; expected "
				     "different names",
				     sorted[i]->name);
	}
	free(sorted);
}

static void read_routes(const struct place *at, json_t *array, struct eg_policy *p,
			const struct eg_timeouts *timeouts)
{
	size_t n = json_array_size(array);
	struct eg_route *out = source_alloc(at->l, n, sizeof(*out));

	if (at->l->set->route_count + n > EG_POLICY_MAX_ROUTES) {
		source_error(at, "makes more than %u routes in all files; expected fewer",
			     EG_POLICY_MAX_ROUTES);
		return;
	}
	for (size_t i = 0; i < n && out; i++) {
		struct place element = place_index(at, i);
		json_t *v = json_array_get(array, i);

		if (!json_is_object(v))
			continue;
		out[p->route_count].index = at->l->set->route_count++;
		read_route(&element, v, timeouts, &out[p->route_count]);
		p->largest_body_bytes =
			EG_MAX(p->largest_body_bytes, out[p->route_count].max_body_bytes);
		p->route_count++;
	}
	p->routes = out;
	if (out)
		check_route_names(at, out, p->route_count);
}

/* ---- policies ---- */
static bool lists_region(const struct eg_policy *p, const struct eg_region *list, const char *code)
{
	for (size_t i = 0; i < p->region_count; i++)
		if (!strcmp(list[i].code, code))
			return true;
	return false;
}

static void read_regions(const struct place *at, json_t *v, struct eg_policy *p)
{
	struct place allow_at = place_key(at, "allow");
	json_t *array = source_array(v, "allow");
	size_t n = json_array_size(array);
	struct eg_region *out = n ? source_alloc(at->l, n, sizeof(*out)) : NULL;

	for (size_t i = 0; i < n && out; i++) {
		struct place element = place_index(&allow_at, i);
		const char *text = json_string_value(json_array_get(array, i));

		if (!text)
			continue;
		if (eg_region_parse(eg_str_from(text), &out[p->region_count]))
			source_error(&element,
				     "region \"%.40s\" is not known; expected a code such "
				     "as EU, DE, US, UK, CH, JP, \"cluster\", or a "
				     "provider's own region name",
				     text);
		else if (!strcmp(out[p->region_count].code, "GLOBAL"))
			source_error(&element, "GLOBAL is no place; expected a region, or no "
					       "\"regions\" at all to allow any");
		else if (lists_region(p, out, out[p->region_count].code))
			source_error(&element,
				     "region \"%.40s\" is in the list twice; expected each once",
				     text);
		else
			p->region_count++;
	}
	p->regions = out;
}

static void read_policy(const struct place *at, json_t *v, const struct defaults *d)
{
	struct eg_policy_set *s = at->l->set;
	struct eg_policy *p = &s->policies[s->policy_count];
	struct selector *selector = &s->selectors[s->policy_count];
	struct place name_at = place_key(at, "name"), pods_at = place_key(at, "pods");
	struct place routes_at = place_key(at, "routes"), regions_at = place_key(at, "regions");
	struct place shadow_at = place_key(at, "shadow"), fail_at = place_key(at, "fail");
	struct eg_timeouts timeouts = read_timeouts(source_object(v, "timeouts"), d->timeouts);
	const char *name = source_string(v, "name");

	*p = (struct eg_policy){.id = (uint32_t)++s->policy_count};
	p->name = name && source_name(&name_at, name) ? source_dup(at->l, name) : "";
	if (is(v, "mode", "shadow"))
		p->mode = is(v, "shadow", "full") ? EG_MODE_SHADOW_FULL : EG_MODE_SHADOW_SNI;
	else if (source_string(v, "shadow"))
		source_error(
			&shadow_at,
			"is only for \"mode\": \"shadow\"; expected that mode, or no \"shadow\"");
	if (p->mode != EG_MODE_ENFORCE && is(v, "fail", "closed"))
		source_warning(&fail_at,
			       "\"closed\" closes nothing: \"mode\": \"shadow\" only watches, "
			       "and its pods pass while no agent listens");
	p->otherwise_pass = is(v, "otherwise", "pass");
	p->fail_open = source_string(v, "fail") ? is(v, "fail", "open") : d->fail_open;
	p->fail_stated = source_string(v, "fail") || d->fail_stated;
	p->capture_all_tls = is(v, "capture", "all_tls");
	p->strict = is(v, "capture", "strict");
	read_pods(&pods_at, source_object(v, "pods"), selector);
	read_regions(&regions_at, source_object(v, "regions"), p);
	read_routes(&routes_at, source_array(v, "routes"), p, &timeouts);
}

/* Names must differ over all files: sorted, equal ones are neighbours. */
struct named {
	const char *name;
	size_t document, index;
};

static int by_name(const void *a, const void *b)
{
	const struct named *x = a, *y = b;
	int r = strcmp(x->name, y->name);

	if (r)
		return r;
	if (x->document != y->document)
		return x->document < y->document ? -1 : 1;
	return (x->index > y->index) - (x->index < y->index);
}

static void check_names(struct loading *l, struct named *names, size_t count)
{
	if (count)
		qsort(names, count, sizeof(*names), by_name);
	for (size_t i = 1; i < count; i++) {
		struct place root = {.l = l, .document = &l->documents[names[i].document]};
		struct place list = place_key(&root, "policies");
		struct place at = place_index(&list, names[i].index);
		struct place name_at = place_key(&at, "name");

		if (*names[i].name && !strcmp(names[i].name, names[i - 1].name))
			source_error(&name_at,
				     "policy \"%s\" is defined in %.*s too; expected different "
				     "names",
				     names[i].name,
				     EG_STR_ARG(l->documents[names[i - 1].document].name));
	}
}

void read_policies(struct loading *l)
{
	struct defaults d = read_defaults(l);
	struct named *names;
	size_t count = 0;

	for (size_t i = 0; i < l->document_count; i++)
		count += json_array_size(source_array(l->documents[i].root, "policies"));
	if (count > EG_POLICY_MAX_POLICIES) {
		source_file_error(l, NULL, "%zu policies; expected at most %u", count,
				  EG_POLICY_MAX_POLICIES);
		return;
	}
	l->set->policies = source_alloc(l, count, sizeof(*l->set->policies));
	l->set->selectors = source_alloc(l, count, sizeof(*l->set->selectors));
	names = calloc(count + 1, sizeof(*names));
	if (!names)
		l->out_of_memory = true;
	for (size_t i = 0; i < l->document_count && !l->out_of_memory; i++) {
		struct place root = {.l = l, .document = &l->documents[i]};
		struct place list = place_key(&root, "policies");
		json_t *v;
		size_t k;

		json_array_foreach(source_array(l->documents[i].root, "policies"), k, v)
		{
			struct place at = place_index(&list, k);

			set_busy(l->set);
			if (!json_is_object(v))
				continue;
			read_policy(&at, v, &d);
			names[l->set->policy_count - 1] = (struct named){
				l->set->policies[l->set->policy_count - 1].name, i, k};
		}
	}
	if (!l->out_of_memory)
		check_names(l, names, l->set->policy_count);
	free(names);
}
