/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/watch.h"

#include <stdio.h>
#include <sys/random.h>

#include "base/state.h"
#include "proto/uri.h"

#define PAGE_ITEMS   "500"
#define PAGES_MOST   1000u
#define TARGET_BYTES (16u * 1024u)
#define IDLE_MS	     3600000u
/* A version that the server refuses so often is given up: etcd may have been set back. */
#define REFUSED_MOST 3u
/* Of 410 in a row: once is life. */
#define EXPIRED_MOST 3u

static const uint32_t successors[] = {
	[KUBE_INITIAL] = EG_TO(KUBE_INITIAL) | EG_TO(KUBE_STREAM) | EG_TO(KUBE_PAGES),
	[KUBE_PAGES] = EG_TO(KUBE_PAGES) | EG_TO(KUBE_STREAM),
	[KUBE_STREAM] = EG_TO(KUBE_INITIAL) | EG_TO(KUBE_PAGES),
};

static void set_phase(struct kube_watch *w, enum kube_phase to)
{
	eg_state_check("Kubernetes watch", successors, w->phase, to);
	w->phase = to;
}

const char *kube_watch_what(const struct kube_watch *w)
{
	return w->kind == KUBE_PODS ? "pods" : "namespaces";
}

/* ---- when to try again ---- */

/* xorshift64; for spreading only. */
static uint64_t random_below(struct kube_watch *w, uint64_t n)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return n ? w->random % n : 0;
}

static void wait_for(struct kube_watch *w, uint64_t ms)
{
	(void)!eg_timer_set(w->api->loop, &w->wait, ms); /* needs no memory: see waited() */
}

/* Between half and all of what doubles with each try. */
static uint64_t back_off_ms(struct kube_watch *w)
{
	uint64_t ms = w->api->times.first_ms;

	for (unsigned int i = 0; i < w->tries && ms < w->api->times.most_ms; i++)
		ms *= 2;
	ms = EG_MIN(ms, w->api->times.most_ms);
	w->tries++;
	return ms / 2 + random_below(w, ms / 2 + 1);
}

static void begin_list(struct kube_watch *w)
{
	set_phase(w, *w->pages ? KUBE_PAGES : KUBE_INITIAL);
	w->go_on[0] = '\0';
	w->page = 0;
	w->refused = 0;
	kube_store_begin(&w->store);
}

static void read_pages(struct kube_watch *w)
{
	if (!*w->pages)
		w->calls->lists(w);
	*w->pages = true;
	begin_list(w);
	wait_for(w, 0);
}

/* May the same be asked for once more? Else all is read anew. */
static bool may_resume(struct kube_watch *w, const struct kube_outcome *o)
{
	if (w->phase != KUBE_STREAM || o->trouble == KUBE_EXPIRED)
		return false;
	if (o->trouble == KUBE_STATUS || o->status == 504) /* "Too large resource version" */
		return ++w->refused < REFUSED_MOST;
	return true;
}

static void try_again(struct kube_watch *w, const struct kube_outcome *o)
{
	bool was_well = !w->tries && w->running && !eg_timer_armed(&w->settle);
	uint64_t wait_ms;
	bool quiet;

	/* Both are how a watch ends that was all right. */
	quiet = was_well && (o->trouble == KUBE_ENDED || o->trouble == KUBE_SILENT);
	quiet = quiet || (o->trouble == KUBE_EXPIRED && w->tries < EXPIRED_MOST);
	w->running = false;
	eg_timer_cancel(w->api->loop, &w->settle);
	eg_str_copy(w->error, sizeof(w->error), eg_str_from(o->text));
	if (!may_resume(w, o))
		begin_list(w);
	wait_ms = was_well && o->trouble == KUBE_ENDED ? random_below(w, w->api->times.first_ms)
						       : back_off_ms(w);
	wait_for(w, EG_MAX(wait_ms, o->retry_after_ms));
	if (!quiet)
		w->calls->trouble(w, o);
}

/* ---- what is asked for ---- */

static bool unreserved(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_' || c == '~';
}

static int with_value(struct eg_buf *b, const char *key, const char *value)
{
	int r = eg_buf_append_str(b, eg_str_from(key));

	return r ? r : eg_percent_encode(b, eg_str_from(value), unreserved);
}

static int write_target(struct kube_watch *w, struct eg_buf *b, uint64_t seconds)
{
	int r = eg_buf_printf(b, "/api/v1/%s?", kube_watch_what(w));

	if (!r && w->kind == KUBE_PODS)
		r = eg_buf_printf(b, "fieldSelector=spec.nodeName%%3D%s&", w->node);
	if (r)
		return r;
	if (w->phase == KUBE_PAGES) {
		r = eg_buf_append_str(b, EG_STR("limit=" PAGE_ITEMS));
		return r || !w->go_on[0] ? r : with_value(b, "&continue=", w->go_on);
	}
	r = eg_buf_printf(b, "watch=1&allowWatchBookmarks=true&timeoutSeconds=%llu",
			  (unsigned long long)seconds);
	if (r)
		return r;
	if (w->phase == KUBE_INITIAL)
		return eg_buf_append_str(
			b, EG_STR("&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"));
	return with_value(b, "&resourceVersion=", w->version);
}

static int on_piece(void *ctx, struct eg_str text, bool cut);

static void begin(struct kube_watch *w)
{
	uint64_t seconds = w->api->times.watch_s + random_below(w, w->api->times.watch_s + 1);
	struct kube_outcome o = {.trouble = KUBE_MEMORY};
	struct eg_buf target;

	kube_split_fini(&w->split);
	kube_split_init(&w->split, w->phase == KUBE_PAGES, on_piece, w);
	eg_buf_init(&target, TARGET_BYTES);
	snprintf(o.text, sizeof(o.text), "the Kubernetes API: out of memory");
	if (write_target(w, &target, seconds) ||
	    !kube_get_begin(&w->get, eg_buf_str(&target),
			    w->phase == KUBE_PAGES ? w->api->times.list_ms : (seconds + 60) * 1000,
			    &o))
		try_again(w, &o);
	eg_buf_fini(&target);
}

/* Never disarmed: what is armed, or has just fired, is armed again without memory, and a watch that
 * could not wait would be none any more. */
static void waited(struct eg_timer *t)
{
	struct kube_watch *w = eg_container_of(t, struct kube_watch, wait);

	wait_for(w, IDLE_MS);
	if (!w->get.stream)
		begin(w);
}

/* ---- what comes ---- */

static void runs(struct kube_watch *w)
{
	w->running = true;
	w->error[0] = '\0';
	if (eg_timer_set(w->api->loop, &w->settle, w->api->times.well_ms))
		w->tries = 0; /* without a timer nobody can tell: so it is */
}

static void synced(struct kube_watch *w, const char *version)
{
	bool gone = kube_store_end(&w->store, version), first = !w->synced;

	eg_str_copy(w->version, sizeof(w->version), eg_str_from(version));
	w->synced = true;
	set_phase(w, KUBE_STREAM);
	if (gone || first)
		w->calls->changed(w);
}

static int stop(struct kube_watch *w, enum kube_trouble trouble, const char *text)
{
	w->stopped = (struct kube_outcome){.trouble = trouble};
	snprintf(w->stopped.text, sizeof(w->stopped.text), "the Kubernetes API's %s: %s",
		 kube_watch_what(w), text);
	return -ECANCELED;
}

static int on_error(struct kube_watch *w, const struct kube_event *e)
{
	char message[160], text[220];
	int r;

	kube_printable(eg_str_from(e->message), message, sizeof(message));
	snprintf(text, sizeof(text), "the watch was ended by the server with %u: %s", e->code,
		 message);
	r = stop(w,
		 e->code == 410	  ? KUBE_EXPIRED
		 : e->code == 429 ? KUBE_THROTTLED
				  : KUBE_SERVER,
		 text);
	w->stopped.status = e->code;
	return r;
}

/* The stream is at that place now. Never back: what came since would come again, older. */
static void move_to(struct kube_watch *w, const char *version)
{
	uint64_t now = kube_version_number(w->version), to = kube_version_number(version);

	if (w->phase == KUBE_STREAM && *version && (!now || !to || to > now))
		eg_str_copy(w->version, sizeof(w->version), eg_str_from(version));
}

/*
 * What was known of it is not so any more, and what is so can't be read: better unknown (and held)
 * than what it was.
 */
static void pass_over(struct kube_watch *w, const struct kube_event *e, const char *why)
{
	if (e->whose && kube_store_remove(&w->store, e->whose, ""))
		w->calls->changed(w);
	w->calls->passed_over(w, why);
}

static int on_object(struct kube_watch *w, const struct kube_event *e)
{
	bool changed = false;
	int r = 0;

	if (e->type == KUBE_DELETED)
		changed = kube_store_remove(&w->store, e->whose, e->object.identity.uid);
	else if (!e->elsewhere)
		r = kube_store_put(&w->store, e, &changed);
	if (r == -ENOSPC)
		pass_over(w, e, "there are more than 65536");
	else if (r)
		return stop(w, KUBE_MEMORY, "out of memory");
	if (changed)
		w->calls->changed(w);
	return 0;
}

static int on_event(struct kube_watch *w, const struct kube_event *e)
{
	int r = 0;

	switch (e->type) {
	case KUBE_CHANGED:
	case KUBE_DELETED:
		r = on_object(w, e);
		break;
	case KUBE_BOOKMARK:
		if (w->phase != KUBE_INITIAL || !e->initial_end)
			break;
		synced(w, e->version);
		runs(w);
		return 0;
	case KUBE_ERROR:
		return on_error(w, e);
	}
	if (!r)
		move_to(w, e->version);
	return r;
}

static int on_piece(void *ctx, struct eg_str text, bool cut)
{
	struct kube_watch *w = ctx;
	struct kube_event e;
	int r;

	w->heard_ms = eg_loop_now_ms(w->api->loop);
	if (cut)
		r = kube_cut_read(w->kind, text, &e);
	else if (w->phase == KUBE_PAGES)
		r = kube_item_read(w->kind, w->node, text, &e);
	else
		r = kube_event_read(w->kind, w->node, text, &e);
	if (r == -ENOMEM) {
		r = stop(w, KUBE_MEMORY, "out of memory");
	} else if (r || cut) {
		pass_over(w, &e, e.wrong);
		move_to(w, e.version);
		r = 0;
	} else {
		r = on_event(w, &e);
	}
	kube_event_fini(&e);
	return r;
}

/* ---- the answer ---- */

static void get_begun(void *ctx)
{
	struct kube_watch *w = ctx;

	if (w->phase == KUBE_STREAM)
		runs(w);
	else if (w->phase == KUBE_INITIAL)
		(void)!eg_timer_set(w->api->loop, &w->settle, w->api->times.list_ms);
}

static int not_a_list(struct kube_watch *w)
{
	return stop(w, KUBE_PROTOCOL, "what came is not a list");
}

static int get_data(void *ctx, struct eg_str bytes)
{
	struct kube_watch *w = ctx;
	int r = kube_split_feed(&w->split, bytes);

	if (r == -EINVAL)
		return not_a_list(w);
	if (r && r != -ECANCELED)
		return stop(w, KUBE_MEMORY, "out of memory");
	return r;
}

static int page_read(struct kube_watch *w)
{
	struct kube_list l;
	int r = kube_list_read(eg_buf_str(&w->split.rest), &l);

	if (r == -ENOMEM)
		return stop(w, KUBE_MEMORY, "out of memory");
	if (r || ++w->page > PAGES_MOST)
		return not_a_list(w);
	if (w->page == 1) /* what changed since is told again */
		eg_str_copy(w->version, sizeof(w->version), eg_str_from(l.version));
	eg_str_copy(w->go_on, sizeof(w->go_on), eg_str_from(l.go_on));
	if (!l.go_on[0])
		synced(w, w->version);
	wait_for(w, 0);
	return 0;
}

static void get_done(void *ctx, const struct kube_outcome *o)
{
	struct kube_watch *w = ctx;
	int r = 0;

	if (o->trouble == KUBE_WELL) {
		r = kube_split_end(&w->split);
		if (r == -EINVAL)
			r = not_a_list(w);
		else if (r && r != -ECANCELED)
			r = stop(w, KUBE_MEMORY, "out of memory");
		if (!r && w->phase == KUBE_PAGES) {
			r = page_read(w);
			if (!r)
				return;
		}
		if (!r)
			(void)stop(w, KUBE_ENDED, "the server ended the watch");
	}
	if (w->phase == KUBE_INITIAL && (o->status == 400 || o->status == 422))
		read_pages(w);
	else
		try_again(w,
			  o->trouble == KUBE_WELL || o->trouble == KUBE_STOPPED ? &w->stopped : o);
}

static const struct kube_get_calls get_calls = {get_begun, get_data, get_done};

static void settled(struct eg_timer *t)
{
	struct kube_watch *w = eg_container_of(t, struct kube_watch, settle);

	if (w->phase == KUBE_INITIAL) {
		/* A server that ignores what it does not know watches, and says nothing of an end.
		 */
		kube_get_stop(&w->get);
		read_pages(w);
		return;
	}
	w->tries = w->refused = 0;
	w->calls->well(w);
}

int kube_watch_open(struct kube_watch *w, struct kube_api *api, enum kube_kind kind,
		    const char *node, bool *pages, const struct kube_watch_calls *calls)
{
	memset(w, 0, sizeof(*w));
	w->calls = calls;
	w->api = api;
	w->kind = kind;
	w->node = node;
	w->pages = pages;
	if (getrandom(&w->random, sizeof(w->random), GRND_NONBLOCK) != sizeof(w->random))
		w->random = eg_now_ns();
	w->random |= 1;
	eg_timer_init(&w->wait, waited);
	eg_timer_init(&w->settle, settled);
	kube_store_init(&w->store, kind);
	kube_split_init(&w->split, false, on_piece, w);
	kube_get_init(&w->get, api, kube_watch_what(w), &get_calls, w);
	begin_list(w);
	return eg_timer_set(api->loop, &w->wait, 0);
}

void kube_watch_close(struct kube_watch *w)
{
	kube_get_fini(&w->get);
	eg_timer_cancel(w->api->loop, &w->wait);
	eg_timer_cancel(w->api->loop, &w->settle);
	kube_split_fini(&w->split);
	kube_store_fini(&w->store);
}
