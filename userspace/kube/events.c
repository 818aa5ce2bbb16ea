/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/events.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/random.h>

#include "kube/objects.h"

#define LIMIT_MS     30000u
#define TARGET_BYTES 1024u
#define BODY_BYTES   8192u
#define SAID_AT	     3u /* tries: once is life */

/* ---- when ---- */

/* xorshift64; for spreading only. */
static uint64_t random_below(struct kube_events *e, uint64_t n)
{
	e->random ^= e->random << 13;
	e->random ^= e->random >> 7;
	e->random ^= e->random << 17;
	return n ? e->random % n : 0;
}

/* Between half and all of what doubles with each try. */
static uint64_t back_off_ms(struct kube_events *e)
{
	uint64_t ms = e->api->times.first_ms;

	for (unsigned int i = 1; i < e->tries && ms < e->api->times.most_ms; i++)
		ms *= 2;
	ms = EG_MIN(ms, e->api->times.most_ms);
	return ms / 2 + random_below(e, ms / 2 + 1);
}

static void arm(struct kube_events *e, uint64_t wait_ms)
{
	uint64_t now = eg_loop_now_ms(e->api->loop);

	if (e->not_before_ms > now)
		wait_ms = EG_MAX(wait_ms, e->not_before_ms - now);
	/* Without memory for a timer the next report tries again. */
	(void)!eg_timer_set(e->api->loop, &e->next, wait_ms);
}

/* ---- what the API says ---- */

static void EG_PRINTF(3, 4) say(struct kube_events *e, bool bad, const char *format, ...)
{
	char text[600];
	va_list v;

	va_start(v, format);
	vsnprintf(text, sizeof(text), format, v);
	va_end(v);
	e->said(e, bad, text);
}

static enum kube_written taken(struct kube_events *e)
{
	e->status.written++;
	e->status.error[0] = '\0';
	e->tries = 0;
	e->not_before_ms = eg_loop_now_ms(e->api->loop) + e->api->times.gap_ms;
	if (e->told || e->status.forbidden)
		say(e, false, "the Kubernetes API takes Events again");
	e->told = e->status.forbidden = false;
	return KUBE_WRITTEN;
}

static enum kube_written try_again(struct kube_events *e, const struct kube_outcome *o)
{
	uint64_t wait_ms;

	e->tries++;
	wait_ms = EG_MAX(back_off_ms(e), o->retry_after_ms);
	e->not_before_ms = eg_loop_now_ms(e->api->loop) + wait_ms;
	/* That it can't be reached at all, the watches say. */
	if (e->tries == SAID_AT && o->status && !e->told) {
		e->told = true;
		say(e, true, "Kubernetes Events have to wait: %s", o->text);
	}
	return KUBE_AGAIN;
}

static enum kube_written forbidden(struct kube_events *e, const struct kube_outcome *o)
{
	e->not_before_ms = eg_loop_now_ms(e->api->loop) + e->api->times.forbidden_ms;
	if (!e->status.forbidden)
		say(e, true, "no Kubernetes Events are written: %s; it is asked again every %llu s",
		    o->text, (unsigned long long)e->api->times.forbidden_ms / 1000);
	e->status.forbidden = true;
	return KUBE_AGAIN;
}

static enum kube_written not_taken(struct kube_events *e, const struct kube_outcome *o)
{
	e->status.not_taken++;
	e->not_before_ms = eg_loop_now_ms(e->api->loop) + e->api->times.gap_ms;
	/* A namespace that goes is no news. */
	if (!e->told_not_taken && o->trouble != KUBE_TERMINATING) {
		e->told_not_taken = true;
		say(e, true, "a Kubernetes Event was not taken: %s; others are counted only",
		    o->text);
	}
	return KUBE_NOT_TAKEN;
}

static enum kube_written judge(struct kube_events *e, const struct kube_outcome *o)
{
	switch (o->trouble) {
	case KUBE_WELL:
		return taken(e);
	case KUBE_FORBIDDEN:
		return forbidden(e, o);
	case KUBE_STATUS:
		if (o->status == 409 && e->writing->posted)
			return try_again(e, o);
		if (o->status != 409 && !(o->status == 404 && e->writing->posted))
			return not_taken(e, o);
		e->not_before_ms = eg_loop_now_ms(e->api->loop) + e->api->times.gap_ms;
		/* Events live for an hour, by default. */
		return o->status == 409 ? KUBE_THERE_ALREADY : KUBE_NOT_THERE;
	case KUBE_TERMINATING:
	case KUBE_EXPIRED:
		return not_taken(e, o);
	case KUBE_CONNECT:
	case KUBE_TLS:
	case KUBE_TOKEN:
	case KUBE_CA:
	case KUBE_UNAUTHORIZED:
	case KUBE_THROTTLED:
	case KUBE_SERVER:
	case KUBE_PROTOCOL:
	case KUBE_BROKEN:
	case KUBE_SILENT:
	case KUBE_ENDED:
	case KUBE_MEMORY:
	case KUBE_STOPPED:
		break;
	}
	return try_again(e, o);
}

static void ended(struct kube_events *e, const struct kube_outcome *o)
{
	enum kube_written how = judge(e, o);

	if (how == KUBE_AGAIN || how == KUBE_NOT_TAKEN) {
		e->status.failures++;
		eg_str_copy(e->status.error, sizeof(e->status.error), eg_str_from(o->text));
	}
	kube_correlator_done(&e->queue, e->writing, how, eg_loop_now_ms(e->api->loop));
	e->writing = NULL;
	eg_buf_release(&e->get.in); /* seldom needed */
	arm(e, 0);
}

/* ---- one request ---- */

static void on_begun(void *ctx)
{
	(void)ctx;
}

/* The object as it is there now; nothing of it is of use. */
static int on_data(void *ctx, struct eg_str bytes)
{
	(void)ctx;
	(void)bytes;
	return 0;
}

static void on_done(void *ctx, const struct kube_outcome *o)
{
	ended(ctx, o);
}

static const struct kube_get_calls get_calls = {on_begun, on_data, on_done};

static void send_series(struct kube_events *e)
{
	const struct kube_series *s = e->writing;
	struct kube_outcome o = {.trouble = KUBE_MEMORY,
				 .text = "the Kubernetes API: out of memory"};
	struct kube_content content = {.method = s->posted ? "PATCH" : "POST",
				       .type = s->posted ? "application/merge-patch+json"
							 : "application/json"};
	struct eg_buf target, body;
	bool begun = false;
	int r;

	eg_buf_init(&target, TARGET_BYTES);
	eg_buf_init(&body, BODY_BYTES);
	r = kube_event_target(&target, s, s->posted);
	if (!r)
		r = s->posted ? kube_event_update(&body, s) : kube_event_create(&body, s, &e->who);
	if (!r) {
		content.bytes = eg_buf_str(&body);
		begun = kube_send_begin(&e->get, eg_buf_str(&target), &content, LIMIT_MS, &o);
	}
	eg_buf_fini(&target);
	eg_buf_fini(&body);
	if (!begun)
		ended(e, &o);
}

static void next(struct eg_timer *t)
{
	struct kube_events *e = eg_container_of(t, struct kube_events, next);
	uint64_t now = eg_loop_now_ms(e->api->loop), wait_ms = 0;

	if (e->writing)
		return; /* its end arms the timer */
	if (now >= e->not_before_ms)
		e->writing = kube_correlator_take(&e->queue, now, &wait_ms);
	if (e->writing)
		send_series(e);
	else if (wait_ms != UINT64_MAX)
		arm(e, wait_ms);
}

/* ---- what is reported ---- */

static bool alphanumeric(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool kube_is_subdomain(const char *s)
{
	size_t n = strlen(s);

	if (!n || n > KUBE_NAME_BYTES)
		return false;
	for (size_t i = 0; i < n; i++) {
		bool edge = !i || i + 1 == n || s[i - 1] == '.' || s[i + 1] == '.';

		if (!alphanumeric(s[i]) && (edge || (s[i] != '-' && s[i] != '.')))
			return false;
	}
	return true;
}

/* They are UUIDs, but for those of static pods, which are 32 digits. */
static bool is_uid(const char *s)
{
	size_t n = strlen(s);

	return n && n <= 128 &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == n;
}

void kube_events_report(struct kube_events *e, const struct eg_kube_report *report)
{
	struct eg_kube_report r = *report;

	if (!e->on || !r.count)
		return;
	if (!r.namespace_name)
		r.name = r.uid = e->who.node;
	else if (!kube_is_subdomain(r.namespace_name) || !kube_is_subdomain(r.name) ||
		 !is_uid(r.uid)) {
		e->queue.dropped += r.count; /* it could not be one of the API's */
		return;
	}
	if (kube_correlate(&e->queue, &r, eg_loop_now_ms(e->api->loop), eg_wall_ms()))
		return; /* counted */
	if (!e->writing)
		arm(e, 0);
}

void kube_events_open(struct kube_events *e, struct kube_api *api, bool on, const char *node,
		      kube_events_said *said)
{
	*e = (struct kube_events){.api = api, .on = on, .said = said, .status.on = on};
	if (getrandom(&e->random, sizeof(e->random), GRND_NONBLOCK) != sizeof(e->random))
		e->random = eg_now_ns();
	e->random |= 1;
	snprintf(e->instance, sizeof(e->instance), "egretd-%s", node);
	e->who = (struct kube_reporter){node, e->instance};
	kube_correlator_init(&e->queue, e->random);
	kube_get_init(&e->get, api, "events", &get_calls, e);
	eg_timer_init(&e->next, next);
}

void kube_events_close(struct kube_events *e)
{
	eg_timer_cancel(e->api->loop, &e->next);
	kube_get_fini(&e->get);
	kube_correlator_fini(&e->queue);
	e->writing = NULL;
}

void kube_events_status(const struct kube_events *e, struct eg_kube_events_status *out)
{
	*out = e->status;
	out->dropped = e->queue.dropped;
	out->waiting = kube_correlator_waiting(&e->queue);
}
