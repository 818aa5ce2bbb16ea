/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What should be served: policy, pods and credentials as the operator's files say now. A bad policy
 * set is refused whole and the last good one stays; a bad pod file leaves that pod as it was; a
 * credential that can't be read leaves only its own requests without one.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/plan.h"
#include "agent/supervisor_impl.h"
#include "base/log.h"
#include "datapath/pods_dir.h"

#define SETTLE_MS      100u
#define PODS_SETTLE_MS 20u

struct eg_loaded *eg_loaded_ref(struct eg_loaded *l)
{
	l->references++;
	return l;
}

void eg_loaded_unref(struct eg_loaded *l)
{
	if (!l || --l->references)
		return;
	eg_policy_set_unref(l->set);
	eg_source_fini(&l->source);
	free(l);
}

/* ---- policy ---- */

static void log_errors(struct eg_supervisor *s, const struct eg_policy_errors *errors)
{
	for (size_t i = 0; i < errors->count; i++, eg_heartbeat_keep(s)) {
		const struct eg_policy_error *e = &errors->item[i];
		char place[48] = "";

		if (e->line)
			snprintf(place, sizeof(place), ":%d:%d", e->line, e->column);
		eg_log(e->warning ? EG_LOG_WARN : EG_LOG_ERROR, "policy %s%s %s: %s", e->file,
		       place, e->path, e->text);
	}
}

static void forget_bad(struct eg_supervisor *s)
{
	eg_source_fini(&s->bad_source);
	s->bad_known = false;
}

static const char *what_holds(const struct eg_supervisor *s)
{
	if (s->loaded)
		return "the last good one stays in force";
	return eg_datapath_adopted(s->datapath)
		       ? "what an earlier egretd governed meets the fail policy, and nothing else "
			 "is stopped"
		       : "there is no earlier one, so no destination is known that could be "
			 "governed: NOTHING IS STOPPED until a set is good";
}

static void reject(struct eg_supervisor *s, struct eg_source *source, const char *why,
		   const char *first)
{
	forget_bad(s);
	if (source) {
		s->bad_source = *source;
		s->bad_known = true;
	}
	s->rejected++;
	s->policy_valid = false;
	eg_str_copy(s->last_error, sizeof(s->last_error), eg_str_from(why));
	eg_error("the policy in %s is refused whole; %s", s->o->policy_dir, what_holds(s));
	eg_report_policy_refused(s, what_holds(s), first);
}

/* What goes to a governed range and is no TCP is dropped: a resolver there gets no question. */
static void say_resolvers(const struct eg_supervisor *s, struct eg_policy_set *set)
{
	size_t count;
	const char *const *texts = eg_policy_cidrs(set, &count);

	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < s->o->resolver_count; k++) {
			char text[EG_ADDRESS_TEXT];
			struct eg_cidr c;

			if (eg_plan_cidr(eg_str_from(texts[i]), false, &c) ||
			    !eg_plan_covers(&c, &s->o->resolvers[k]))
				continue;
			(void)eg_address_format(&s->o->resolvers[k], text);
			eg_warn("policy: the destination %s holds the resolver %s, so that pods "
				"with an enforced policy can ask it no name; expected ranges "
				"without it",
				texts[i], text);
		}
}

static void compile_goes_on(void *context)
{
	eg_heartbeat_keep(context);
}

/* For who reads it elsewhere than here: in full, with its place in the file. */
static void describe(const struct eg_policy_error *e, char *out, size_t cap)
{
	char place[48] = "";

	if (e->line)
		snprintf(place, sizeof(place), ":%d:%d", e->line, e->column);
	snprintf(out, cap, "%.255s%s %.300s: %.400s", e->file, place, e->path, e->text);
}

static void compile(struct eg_supervisor *s, struct eg_source *source)
{
	const struct eg_policy_busy busy = {compile_goes_on, s};
	struct eg_policy_errors errors = {.item = NULL};
	struct eg_policy_set *set = NULL;
	struct eg_loaded *l = calloc(1, sizeof(*l));
	int r = l ? eg_policy_load_busy(source->files, source->count, &busy, &set, &errors)
		  : -ENOMEM;

	log_errors(s, &errors);
	if (r) {
		char why[EG_WIRE_TEXT], place[1024];
		const struct eg_policy_error *first = NULL;

		for (size_t i = 0; i < errors.count && !first; i++)
			if (!errors.item[i].warning)
				first = &errors.item[i];
		snprintf(why, sizeof(why), "%.100s %.120s: %.160s", first ? first->file : "",
			 first ? first->path : "", first ? first->text : strerror(-r));
		if (first)
			describe(first, place, sizeof(place));
		reject(s, source, why, first ? place : why);
		free(l);
	} else {
		l->references = 1;
		l->source = *source;
		l->set = set;
		eg_loaded_unref(s->loaded);
		s->loaded = l;
		forget_bad(s);
		s->policy_valid = true;
		s->last_error[0] = '\0';
		eg_info("policy %s read from %s", eg_policy_version(set), s->o->policy_dir);
		say_resolvers(s, set);
		eg_reload_credentials(s);
		eg_offer(s);
	}
	eg_policy_errors_fini(&errors);
}

void eg_reload_policy(struct eg_supervisor *s)
{
	struct eg_source source;
	struct eg_error e = {""};
	int watched = eg_dir_watch_add(&s->policy_watch, s->o->policy_dir);

	/* While another one has the tables nothing new can be put in force; it is read anew later.
	 */
	if (!eg_tables_are_ours(s))
		return;
	if (eg_source_read(s->o->policy_dir, &source, &e)) {
		if (strcmp(s->last_error, e.text) != 0) {
			eg_error("%s", e.text);
			reject(s, NULL, e.text, e.text);
		}
		return;
	}
	if (watched)
		eg_debug("%s is not watched (%s); it is read every 10 s", s->o->policy_dir,
			 strerror(-watched));
	if (s->loaded && eg_source_equal(&s->loaded->source, &source)) {
		if (!s->policy_valid)
			eg_info("the policy in %s is the one in force again", s->o->policy_dir);
		s->policy_valid = true;
		s->last_error[0] = '\0';
		forget_bad(s);
		eg_source_fini(&source);
		eg_report_policy_mended(s);
	} else if (s->bad_known && eg_source_equal(&s->bad_source, &source)) {
		eg_source_fini(&source); /* said once */
	} else {
		compile(s, &source);
	}
}

void eg_reload_back(struct eg_supervisor *s)
{
	struct eg_loaded *bad = s->loaded;

	if (bad != s->offered.loaded)
		return; /* a newer one has been read meanwhile */
	/* Remember its text, so that the next poll does not offer it again. */
	forget_bad(s);
	s->bad_known = !eg_source_read(s->o->policy_dir, &s->bad_source, NULL);
	if (s->bad_known && !eg_source_equal(&s->bad_source, &bad->source))
		forget_bad(s);
	s->loaded = s->applied.loaded ? eg_loaded_ref(s->applied.loaded) : NULL;
	eg_loaded_unref(bad);
}

static void policy_changed(struct eg_dir_watch *w)
{
	eg_reload_policy(eg_container_of(w, struct eg_supervisor, policy_watch));
}

/* ---- credentials: whether they changed; what they hold is read at the hand-over ---- */

static void warn_readable(const char *what, const char *file, const struct eg_file_mark *m)
{
	if (S_ISREG(m->mode) && (m->mode & S_IROTH))
		eg_warn("credential '%s': every user of the node can read %s (mode %04o); expected "
			"0600 or 0640",
			what, file, m->mode & 07777);
}

static void watch_parent(struct eg_supervisor *s, const char *file)
{
	char path[4096];
	const char *slash = strrchr(file, '/');
	int n = snprintf(path, sizeof(path), "%s/%.*s", s->o->credentials_dir,
			 slash ? (int)(slash - file) : 0, file);

	if (n > 0 && (size_t)n < sizeof(path) && eg_dir_watch_add(&s->credential_watch, path))
		eg_debug("%s is not watched", path); /* the poll finds it */
}

static void mark_all(struct eg_supervisor *s, struct eg_policy_set *set, int dir,
		     struct eg_file_mark *marks)
{
	size_t specs, providers;
	const struct eg_credential_spec *c = eg_credentials(set, &specs);
	const struct eg_provider *p = eg_providers(set, &providers);

	for (size_t i = 0; i < specs; i++) {
		if (!c[i].file)
			continue;
		eg_file_mark(dir, c[i].file, &marks[i]);
		watch_parent(s, c[i].file);
	}
	for (size_t i = 0; i < providers; i++) {
		if (!p[i].ca_file)
			continue;
		eg_file_mark(dir, p[i].ca_file, &marks[specs + i]);
		watch_parent(s, p[i].ca_file);
	}
}

void eg_reload_credentials(struct eg_supervisor *s)
{
	EG_CLEANUP_FD int dir = open(s->o->credentials_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct eg_credential_state *state = &s->credentials;
	const struct eg_credential_spec *c;
	struct eg_file_mark *marks;
	size_t specs, providers;
	bool same;

	if (!s->loaded || !eg_tables_are_ours(s))
		return;
	c = eg_credentials(s->loaded->set, &specs);
	eg_providers(s->loaded->set, &providers);
	marks = calloc(specs + providers + 1, sizeof(*marks));
	if (!marks)
		return;
	if (eg_dir_watch_add(&s->credential_watch, s->o->credentials_dir))
		eg_debug("%s is not watched", s->o->credentials_dir);
	if (dir >= 0)
		mark_all(s, s->loaded->set, dir, marks);
	same = state->marks && state->count == specs + providers;
	for (size_t i = 0; same && i < state->count; i++)
		same = eg_file_mark_equal(&marks[i], &state->marks[i]);
	if (same) {
		free(marks);
		return;
	}
	for (size_t i = 0; i < specs; i++)
		if (c[i].file)
			warn_readable(c[i].name, c[i].file, &marks[i]);
	free(state->marks);
	state->marks = marks;
	state->count = specs + providers;
	if (state->version++)
		eg_info("credential files have changed; the gateway gets them anew");
	eg_offer(s);
}

static void credentials_changed(struct eg_dir_watch *w)
{
	eg_reload_credentials(eg_container_of(w, struct eg_supervisor, credential_watch));
}

/* ---- pods ---- */

int eg_read_pods(struct eg_supervisor *s, bool log, struct eg_table **changed)
{
	struct eg_pod_list list = {.count = 0};
	struct eg_table *table;
	struct eg_error e = {""};
	int r = eg_pod_source_read(s->pods, log, &list, &e);

	if (r) {
		eg_error("pods: %s; those known stay as they are", e.text);
		return r;
	}
	table = eg_table_create(s->datapath, &list, s->table);
	eg_pod_list_fini(&list);
	if (!table) {
		eg_error("pods: out of memory; those known stay as they are");
		return -ENOMEM;
	}
	if (s->table && eg_table_equal(table, s->table)) {
		s->table->refused = table->refused;
		s->table->complete = table->complete;
		eg_table_unref(table);
		return 0;
	}
	eg_table_say_linkless(table, s->datapath, s->table);
	*changed = table;
	return 1;
}

static void read_pods(struct eg_supervisor *s, bool log)
{
	struct eg_table *table = NULL;
	int r;

	if (!s->pods || !eg_tables_are_ours(s) || (!s->table && !eg_pod_source_is_told(s->pods)))
		return;
	r = eg_read_pods(s, log, &table);
	if (!r && s->former_left && !s->table->refused)
		eg_offer(s);
	if (r <= 0)
		return;
	eg_table_unref(s->table);
	s->table = table;
	eg_info("%zu pods known", table->count);
	eg_offer_hold_new(s);
	eg_offer(s);
}

void eg_reload_pods(struct eg_supervisor *s)
{
	read_pods(s, true);
}

static void pods_again(struct eg_timer *t)
{
	struct eg_supervisor *s = eg_container_of(t, struct eg_supervisor, pods_again);

	read_pods(s, false);
	eg_host_pods_follow(s);
}

/* A burst is one change. */
static void pods_changed(void *context)
{
	eg_reload_links(context);
}

void eg_reload_links(struct eg_supervisor *s)
{
	if (s->pods && !eg_timer_armed(&s->pods_again) &&
	    eg_timer_set(s->loop, &s->pods_again, PODS_SETTLE_MS))
		read_pods(s, false);
}

/* ---- all ---- */

void eg_reload_all(struct eg_supervisor *s)
{
	eg_reload_policy(s);
	eg_reload_credentials(s);
	eg_signer_ca_changed(s);
	read_pods(s, false);
	eg_offer_foreign(s);
	eg_gateways_forbid(s);
	eg_gateways_page_token(s);
	if (!eg_tables_are_ours(s) || !s->applied.number)
		return;
	if (eg_node_addresses_hash() != s->node_hash) {
		eg_info("the node's addresses have changed");
		eg_offer(s);
	} else if (s->half_written) {
		eg_offer(s);
	}
}

int eg_reload_open(struct eg_supervisor *s, struct eg_error *e)
{
	int r;

	eg_timer_init(&s->pods_again, pods_again);
	eg_offer_open(s);
	r = eg_dir_watch_open(&s->policy_watch, s->loop, SETTLE_MS, policy_changed, e);
	if (!r)
		r = eg_dir_watch_open(&s->credential_watch, s->loop, SETTLE_MS, credentials_changed,
				      e);
	if (!r)
		r = eg_pod_source_open(s->loop, s->o, pods_changed, s, &s->pods, e);
	if (r)
		return r;
	read_pods(s, true);
	eg_reload_policy(s);
	return 0;
}

void eg_reload_close(struct eg_supervisor *s)
{
	eg_dir_watch_close(&s->policy_watch);
	eg_dir_watch_close(&s->credential_watch);
	if (s->pods) {
		eg_offer_close(s);
		eg_timer_cancel(s->loop, &s->pods_again);
		eg_pod_source_close(s->pods);
	}
	eg_generation_fini(&s->offered);
	eg_generation_fini(&s->applied);
	eg_loaded_unref(s->loaded);
	eg_table_unref(s->table);
	forget_bad(s);
	free(s->credentials.marks);
}
