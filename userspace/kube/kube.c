/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/kube.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/state.h"
#include "kube/keep.h"
#include "kube/kube_impl.h"
#include "proto/uri.h"

/* Troubles that have nothing to do with what was asked for: they are told once for both watches. */
#define SHARED                                                                        \
	(EG_TO(KUBE_CONNECT) | EG_TO(KUBE_TLS) | EG_TO(KUBE_TOKEN) | EG_TO(KUBE_CA) | \
	 EG_TO(KUBE_UNAUTHORIZED) | EG_TO(KUBE_THROTTLED) | EG_TO(KUBE_SERVER) |      \
	 EG_TO(KUBE_BROKEN) | EG_TO(KUBE_SILENT) | EG_TO(KUBE_MEMORY))

/* ---- what is told ---- */

static struct eg_kube *kube_of(struct kube_watch *w)
{
	return eg_container_of(w - w->kind, struct eg_kube, watches[0]);
}

/* At the end of the turn, where the owner may do as it likes, also close. */
static void tell(struct eg_defer *d)
{
	struct eg_kube *k = eg_container_of(d, struct eg_kube, tell);
	size_t n = k->sentence_count;
	bool changed = k->changed;

	k->sentence_count = 0;
	k->changed = false;
	for (size_t i = 0; i < n && !k->closed; i++)
		k->calls.said(k->calls.context, k->sentences[i].bad, k->sentences[i].text);
	if (changed && !k->closed)
		k->calls.changed(k->calls.context);
}

static void EG_PRINTF(3, 4) say(struct eg_kube *k, bool bad, const char *format, ...)
{
	va_list v;

	if (k->sentence_count == KUBE_SENTENCES)
		return;
	k->sentences[k->sentence_count].bad = bad;
	va_start(v, format);
	vsnprintf(k->sentences[k->sentence_count].text, sizeof(k->sentences->text), format, v);
	va_end(v);
	k->sentence_count++;
	eg_loop_defer(k->api.loop, &k->tell);
}

/* ---- what is kept for a start without the API ---- */

static void save(struct eg_kube *k)
{
	struct eg_error e = {""};

	if (!kube_keep_save(k->keep_file, k->node, &k->watches[KUBE_PODS].store,
			    &k->watches[KUBE_NAMESPACES].store, &e))
		k->told_keep = false;
	else if (!k->told_keep) {
		k->told_keep = true;
		say(k, true,
		    "what the Kubernetes API says can't be kept for a start without it: %s",
		    e.text);
	}
}

static void keep(struct eg_timer *t)
{
	save(eg_container_of(t, struct eg_kube, keep));
}

/* A list that is not whole says less than the last one that was. */
static bool is_whole(const struct eg_kube *k)
{
	for (int i = 0; i < 2; i++)
		if (!k->watches[i].synced || k->watches[i].store.listing)
			return false;
	return true;
}

static void keep_later(struct eg_kube *k)
{
	if (k->keep_file && is_whole(k) && !eg_timer_armed(&k->keep))
		(void)!eg_timer_set(k->api.loop, &k->keep, k->api.times.keep_ms);
}

static void load(struct eg_kube *k)
{
	struct eg_error e = {""};
	int r = kube_keep_load(k->keep_file, k->node, &k->watches[KUBE_PODS].store,
			       &k->watches[KUBE_NAMESPACES].store, &e);

	/* What was read is not of the list that comes: what that has not goes with its end. */
	for (int i = 0; i < 2; i++)
		kube_store_begin(&k->watches[i].store);
	k->kept = !r;
	if (r && r != -ENOENT)
		say(k, true, "what the Kubernetes API said last can't be read: %s", e.text);
}

static void changed(struct kube_watch *w)
{
	struct eg_kube *k = kube_of(w);

	k->changed = true;
	eg_loop_defer(k->api.loop, &k->tell);
	keep_later(k);
}

static void trouble(struct kube_watch *w, const struct kube_outcome *o)
{
	struct eg_kube *k = kube_of(w);
	uint32_t bit = EG_TO(o->trouble);

	k->failures++;
	if (k->told[w->kind] & bit)
		return;
	k->told[w->kind] |= bit;
	if (bit & SHARED)
		k->told[!w->kind] |= bit;
	say(k, true, "%s", o->text);
}

static void passed_over(struct kube_watch *w, const char *why)
{
	struct eg_kube *k = kube_of(w);

	k->passed_over++;
	if (k->told_passed_over)
		return;
	k->told_passed_over = true;
	say(k, true,
	    "the Kubernetes API's %s: an object was passed over, and is not known now: %s; others "
	    "are counted only",
	    kube_watch_what(w), why);
}

static bool is_well(const struct kube_watch *w)
{
	return w->running && !w->tries;
}

static void well(struct kube_watch *w)
{
	struct eg_kube *k = kube_of(w);

	if (!is_well(&k->watches[KUBE_PODS]) || !is_well(&k->watches[KUBE_NAMESPACES]))
		return;
	if (k->told[0] | k->told[1])
		say(k, false, "the Kubernetes API at %s answers: pods and namespaces are current",
		    k->api.where);
	k->told[0] = k->told[1] = 0;
}

static void lists(struct kube_watch *w)
{
	say(kube_of(w), false,
	    "the Kubernetes API at %s does not stream lists (sendInitialEvents): pods and "
	    "namespaces are listed, then watched",
	    w->api->where);
}

static void events_said(struct kube_events *e, bool bad, const char *sentence)
{
	say(eg_container_of(e, struct eg_kube, events), bad, "%s", sentence);
}

static const struct kube_watch_calls watch_calls = {changed, trouble, passed_over, well, lists};

/* ---- open and close ---- */

static int judge(const struct eg_kube_options *o, struct eg_endpoint *to, struct eg_error *e)
{
	struct eg_address ignored;

	if (!o->host || eg_address_parse(eg_str_from(o->host), &to->address))
		return eg_error_set(e, -EINVAL,
				    "the Kubernetes API's address: expected an IP address, found "
				    "\"%.64s\"; a name is not resolved here",
				    o->host ? o->host : "");
	if (!o->port)
		return eg_error_set(e, -EINVAL, "the Kubernetes API's port: expected 1 to 65535");
	to->port = o->port;
	if (o->server_name && !eg_host_valid(eg_str_from(o->server_name)) &&
	    eg_address_parse(eg_str_from(o->server_name), &ignored))
		return eg_error_set(e, -EINVAL,
				    "the Kubernetes API's server name: expected a DNS name or an "
				    "IP address, found \"%.64s\"",
				    o->server_name);
	if (!o->node_name || !kube_is_subdomain(o->node_name))
		return eg_error_set(e, -EINVAL,
				    "the node's name: expected a DNS name of lower-case letters, "
				    "digits, '-' and '.', found \"%.64s\"",
				    o->node_name ? o->node_name : "");
	if (!o->token_file || !*o->token_file || !o->ca_file || !*o->ca_file)
		return eg_error_set(e, -EINVAL,
				    "the Kubernetes API: expected a file with a token and one with "
				    "a CA");
	return 0;
}

static void free_all(struct eg_kube *k)
{
	eg_tls_client_destroy(k->api.tls);
	free(k->api.tls_name);
	free(k->api.token_file);
	free(k->api.ca_file);
	free(k->api.ca);
	free(k->node);
	free(k->keep_file);
	free(k);
}

static void bury(struct eg_defer *d)
{
	free_all(eg_container_of(d, struct eg_kube, bury));
}

static void name_place(struct kube_api *api)
{
	char text[EG_ADDRESS_TEXT];
	bool v4 = eg_address_is_v4(&api->to.address);

	snprintf(api->where, sizeof(api->where), "%s%s%s:%u", v4 ? "" : "[",
		 eg_address_text(&api->to.address, text), v4 ? "" : "]", api->to.port);
}

int kube_open(struct eg_loop *l, const struct eg_kube_options *options,
	      const struct eg_kube_calls *calls, const struct kube_times *times,
	      struct eg_kube **out, struct eg_error *error)
{
	const char *name = options->server_name ? options->server_name : options->host;
	struct eg_endpoint to;
	struct eg_kube *k;
	int r = judge(options, &to, error);

	if (r)
		return r;
	k = calloc(1, sizeof(*k));
	if (!k)
		return eg_error_set(error, -ENOMEM, "the Kubernetes API: out of memory");
	k->calls = *calls;
	k->tell.run = tell;
	k->bury.run = bury;
	eg_timer_init(&k->keep, keep);
	k->node = strdup(options->node_name);
	k->api = (struct kube_api){
		.loop = l,
		.times = *times,
		.to = to,
		.tls_name = strdup(name),
		.token_file = strdup(options->token_file),
		.ca_file = strdup(options->ca_file),
	};
	name_place(&k->api);
	if (options->keep_file)
		k->keep_file = strdup(options->keep_file);
	if (!k->node || (options->keep_file && !k->keep_file) || !k->api.tls_name ||
	    !k->api.token_file || !k->api.ca_file) {
		free_all(k);
		return eg_error_set(error, -ENOMEM, "the Kubernetes API: out of memory");
	}
	for (int i = 0; i < 2; i++)
		r = kube_watch_open(&k->watches[i], &k->api, (enum kube_kind)i, k->node, &k->pages,
				    &watch_calls) ||
		    r;
	if (r) {
		for (int i = 0; i < 2; i++)
			kube_watch_close(&k->watches[i]);
		free_all(k);
		return eg_error_set(error, -ENOMEM, "the Kubernetes API: out of memory");
	}
	kube_events_open(&k->events, &k->api, options->events, k->node, events_said);
	if (k->keep_file)
		load(k);
	*out = k;
	return 0;
}

int eg_kube_open(struct eg_loop *l, const struct eg_kube_options *options,
		 const struct eg_kube_calls *calls, struct eg_kube **out, struct eg_error *error)
{
	return kube_open(l, options, calls, &kube_times, out, error);
}

void eg_kube_close(struct eg_kube *k)
{
	if (!k || k->closed)
		return;
	if (eg_timer_armed(&k->keep) && is_whole(k))
		save(k);
	eg_timer_cancel(k->api.loop, &k->keep);
	k->closed = true;
	for (int i = 0; i < 2; i++)
		kube_watch_close(&k->watches[i]);
	kube_events_close(&k->events);
	eg_loop_defer(k->api.loop, &k->bury);
}

/* ---- what is known ---- */

const struct eg_kube_pod *const *eg_kube_pods(const struct eg_kube *k, size_t *count)
{
	const struct kube_store *s = &k->watches[KUBE_PODS].store;

	*count = s->count;
	return (const struct eg_kube_pod *const *)s->items;
}

const struct eg_kube_pod *eg_kube_pod(const struct eg_kube *k, const char *uid)
{
	return kube_store_find(&k->watches[KUBE_PODS].store, uid);
}

const struct eg_kube_pod *eg_kube_mirror(const struct eg_kube *k, const char *uid, size_t *claims)
{
	return kube_store_mirror(&k->watches[KUBE_PODS].store, uid, claims);
}

bool eg_kube_namespace_labels(const struct eg_kube *k, const char *name,
			      const struct eg_label **labels, size_t *count)
{
	const struct eg_kube_pod *p = kube_store_find(&k->watches[KUBE_NAMESPACES].store, name);

	if (!p)
		return false;
	*labels = p->identity.labels;
	*count = p->identity.label_count;
	return true;
}

void eg_kube_status(const struct eg_kube *k, struct eg_kube_status *out)
{
	const struct kube_watch *pods = &k->watches[KUBE_PODS];
	const struct kube_watch *namespaces = &k->watches[KUBE_NAMESPACES];
	const char *error = pods->running ? namespaces->error : pods->error;

	*out = (struct eg_kube_status){
		.synced = pods->synced && namespaces->synced,
		.current = pods->running && namespaces->running,
		.kept = k->kept && !(pods->synced && namespaces->synced),
		.heard_ms = EG_MIN(pods->heard_ms, namespaces->heard_ms),
		.failures = k->failures,
		.passed_over = k->passed_over,
	};
	if (!out->current)
		eg_str_copy(out->error, sizeof(out->error),
			    eg_str_from(*error ? error : "the first answer has not come yet"));
}

void eg_kube_report(struct eg_kube *k, const struct eg_kube_report *r)
{
	if (!k->closed)
		kube_events_report(&k->events, r);
}

void eg_kube_events_status(const struct eg_kube *k, struct eg_kube_events_status *out)
{
	kube_events_status(&k->events, out);
}
