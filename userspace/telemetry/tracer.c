/* SPDX-License-Identifier: Apache-2.0 */
#include "telemetry/tracer.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/redact.h"

#define STEP_TEXT 400u

void eg_tracer_init(struct eg_tracer *t, void (*wake)(void *ctx), void *ctx)
{
	*t = (struct eg_tracer){.wake = wake, .ctx = ctx};
	pthread_mutex_init(&t->lock, NULL);
	eg_buf_init(&t->waiting, EG_TRACE_WAIT);
}

void eg_tracer_fini(struct eg_tracer *t)
{
	eg_buf_fini(&t->waiting);
	pthread_mutex_destroy(&t->lock);
}

void eg_tracer_watch(struct eg_tracer *t, uint32_t place, uint32_t epoch,
		     const struct eg_trace_filter *filter)
{
	unsigned int bit = 1u << place, watched;

	if (place >= EG_TRACERS)
		return;
	pthread_mutex_lock(&t->lock);
	watched = atomic_load_explicit(&t->watched, memory_order_relaxed);
	t->epoch = epoch;
	t->lost[place] = 0;
	if (filter)
		t->filter[place] = *filter;
	watched = filter ? watched | bit : watched & ~bit;
	if (!watched) { /* what waits is nobody's */
		eg_buf_clear(&t->waiting);
		eg_buf_release(&t->waiting);
	}
	atomic_store_explicit(&t->watched, watched, memory_order_relaxed);
	pthread_mutex_unlock(&t->lock);
}

bool eg_tracer_take(struct eg_tracer *t, struct eg_trace_head *head, struct eg_buf *out)
{
	bool found, kept = false;

	pthread_mutex_lock(&t->lock);
	found = t->waiting.length >= sizeof(*head);
	if (found) {
		memcpy(head, eg_buf_data(&t->waiting), sizeof(*head));
		eg_buf_consume(&t->waiting, sizeof(*head));
		kept = !eg_buf_append(out, eg_buf_data(&t->waiting), head->bytes);
		eg_buf_consume(&t->waiting, head->bytes);
	}
	for (uint32_t i = 0; found && !kept && i < EG_TRACERS; i++)
		t->lost[i] += head->places >> i & 1;
	if (!t->waiting.length)
		eg_buf_release(&t->waiting);
	pthread_mutex_unlock(&t->lock);
	return kept;
}

uint64_t eg_tracer_lost(struct eg_tracer *t, uint32_t place)
{
	uint64_t n;

	pthread_mutex_lock(&t->lock);
	n = t->lost[place];
	t->lost[place] = 0;
	pthread_mutex_unlock(&t->lock);
	return n;
}

/* ---- one request ---- */

static bool is_pod(const char *filter, const char *pod_namespace, const char *pod_name)
{
	size_t n = pod_namespace ? strlen(pod_namespace) : 0;

	if (!*filter)
		return true;
	return n && pod_name && !strncmp(filter, pod_namespace, n) && filter[n] == '/' &&
	       !strcmp(filter + n + 1, pod_name);
}

static uint32_t who_watches(struct eg_tracer *t, const char *pod_namespace, const char *pod_name,
			    uint32_t *epoch)
{
	unsigned int watched;
	uint32_t places = 0;

	pthread_mutex_lock(&t->lock);
	watched = atomic_load_explicit(&t->watched, memory_order_relaxed);
	for (uint32_t i = 0; i < EG_TRACERS; i++)
		if (watched & 1u << i && is_pod(t->filter[i].pod, pod_namespace, pod_name))
			places |= 1u << i;
	*epoch = t->epoch;
	pthread_mutex_unlock(&t->lock);
	return places;
}

struct eg_traced *eg_traced_begin(struct eg_tracer *t, const char *pod_namespace,
				  const char *pod_name)
{
	uint32_t epoch, places = who_watches(t, pod_namespace, pod_name, &epoch);
	struct eg_traced *d = places ? malloc(sizeof(*d)) : NULL;

	if (!d)
		return NULL;
	*d = (struct eg_traced){.places = places, .epoch = epoch};
	eg_buf_init(&d->steps, EG_TRACE_STEPS);
	return d;
}

void eg_traced_end(struct eg_traced *d)
{
	if (!d)
		return;
	eg_buf_fini(&d->steps);
	free(d);
}

void eg_traced_again(struct eg_traced *d)
{
	eg_buf_clear(&d->steps);
	d->cut = false;
}

void eg_traced_step(struct eg_traced *d, uint64_t ms, const char *what, enum eg_reason reason,
		    const char *format, va_list ap)
{
	size_t before = d->steps.length;
	char text[STEP_TEXT];
	int r;

	vsnprintf(text, sizeof(text), format, ap);
	eg_redact_text(text, false);
	r = eg_buf_printf(&d->steps, "%s{\"ms\":%llu,\"what\":\"%s\",\"reason\":\"%s\",\"text\":",
			  before ? "," : "", (unsigned long long)ms, what, eg_reason_label(reason));
	if (!r)
		r = eg_json_quote(&d->steps, eg_str_from(text), STEP_TEXT);
	if (!r)
		r = eg_buf_append(&d->steps, "}", 1);
	if (r) {
		d->steps.length = before;
		d->cut = true;
	}
}

bool eg_traced_wanted(struct eg_tracer *t, struct eg_traced *d, struct eg_str host)
{
	unsigned int watched;

	pthread_mutex_lock(&t->lock);
	watched = atomic_load_explicit(&t->watched, memory_order_relaxed);
	for (uint32_t i = 0; i < EG_TRACERS; i++)
		if (!(watched & 1u << i) ||
		    (*t->filter[i].host && !eg_str_ieq(eg_str_from(t->filter[i].host), host)))
			d->places &= ~(1u << i);
	pthread_mutex_unlock(&t->lock);
	return d->places != 0;
}

static int put(struct eg_tracer *t, const struct eg_traced *d, struct eg_str record)
{
	struct eg_trace_head head = {.places = d->places, .epoch = d->epoch};
	size_t before = t->waiting.length, at;
	int r = eg_buf_append(&t->waiting, &head, sizeof(head));

	at = t->waiting.length;
	if (!r)
		r = eg_buf_append(&t->waiting, record.p, record.n - 1); /* all but its "}" */
	if (!r)
		r = eg_buf_append_str(&t->waiting, EG_STR(",\"steps\":["));
	if (!r && d->steps.length)
		r = eg_buf_append(&t->waiting, eg_buf_data(&d->steps), d->steps.length);
	if (!r)
		r = eg_buf_append_str(&t->waiting,
				      d->cut ? EG_STR("],\"steps_cut\":true}") : EG_STR("]}"));
	if (!r && t->waiting.length - at > EG_TRACE_RECORD)
		r = -ENOBUFS;
	if (r) {
		t->waiting.length = before;
		return r;
	}
	head.bytes = (uint32_t)(t->waiting.length - at);
	memcpy(eg_buf_data(&t->waiting) + before, &head, sizeof(head));
	return 0;
}

void eg_traced_give(struct eg_tracer *t, struct eg_traced *d, struct eg_str record)
{
	while (record.n && record.p[record.n - 1] == '\n')
		record.n--;
	pthread_mutex_lock(&t->lock);
	if (record.n < 2 || put(t, d, record))
		for (uint32_t i = 0; i < EG_TRACERS; i++)
			t->lost[i] += d->places >> i & 1;
	pthread_mutex_unlock(&t->lock);
	t->wake(t->ctx);
}
