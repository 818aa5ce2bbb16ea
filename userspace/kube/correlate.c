/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/correlate.h"

#include <stdio.h>
#include <stdlib.h>

void kube_correlator_init(struct kube_correlator *c, uint64_t serial)
{
	*c = (struct kube_correlator){.serial = serial};
	eg_list_init(&c->subjects);
	eg_list_init(&c->series);
}

/* ---- their ends ---- */

static void drop_subject(struct kube_correlator *c, struct kube_subject *o)
{
	eg_list_remove(&o->link);
	c->subject_count--;
	free(o->namespace_name);
	free(o->name);
	free(o->uid);
	free(o);
}

static void drop_series(struct kube_correlator *c, struct kube_series *s)
{
	s->subject->series_count--;
	eg_list_remove(&s->link);
	c->series_count--;
	free(s->note);
	free(s);
}

void kube_correlator_fini(struct kube_correlator *c)
{
	while (!eg_list_empty(&c->series))
		drop_series(c, eg_container_of(c->series.next, struct kube_series, link));
	while (!eg_list_empty(&c->subjects))
		drop_subject(c, eg_container_of(c->subjects.next, struct kube_subject, link));
}

static bool is_over(const struct kube_series *s, uint64_t now_ms)
{
	return s->written == s->count && !s->taken && now_ms - s->seen_ms >= KUBE_FORGET_MS;
}

/* An object without a series is remembered for as long as it has spent more than it would have
 * anew. */
static void forget_old(struct kube_correlator *c, uint64_t now_ms)
{
	struct eg_list *it, *next;

	eg_list_for_each_safe (it, next, &c->series) {
		struct kube_series *s = eg_container_of(it, struct kube_series, link);

		if (is_over(s, now_ms))
			drop_series(c, s);
	}
	eg_list_for_each_safe (it, next, &c->subjects) {
		struct kube_subject *o = eg_container_of(it, struct kube_subject, link);

		if (!o->series_count && o->spent_ms <= now_ms)
			drop_subject(c, o);
	}
}

/* ---- what is reported ---- */

static bool same(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

static struct kube_subject *find_subject(struct kube_correlator *c, const struct eg_kube_report *r)
{
	struct eg_list *it;

	eg_list_for_each (it, &c->subjects) {
		struct kube_subject *o = eg_container_of(it, struct kube_subject, link);

		if (!strcmp(o->uid, r->uid) && !strcmp(o->name, r->name) &&
		    same(o->namespace_name, r->namespace_name))
			return o;
	}
	return NULL;
}

static struct kube_subject *add_subject(struct kube_correlator *c, const struct eg_kube_report *r)
{
	struct kube_subject *o;

	o = calloc(1, sizeof(*o));
	if (!o)
		return NULL;
	o->namespace_name = r->namespace_name ? strdup(r->namespace_name) : NULL;
	o->name = strdup(r->name);
	o->uid = strdup(r->uid);
	eg_list_append(&c->subjects, &o->link);
	c->subject_count++;
	if (!o->name || !o->uid || (r->namespace_name && !o->namespace_name)) {
		drop_subject(c, o);
		return NULL;
	}
	return o;
}

/* The one with that note; or the combined one, if there is no room for notes. *own: how many notes
 * have a series of their own. */
static struct kube_series *find_series(struct kube_correlator *c, const struct kube_subject *o,
				       const struct eg_kube_report *r, size_t *own)
{
	struct kube_series *combined = NULL;
	struct eg_list *it;

	*own = 0;
	eg_list_for_each (it, &c->series) {
		struct kube_series *s = eg_container_of(it, struct kube_series, link);

		if (s->subject != o || strcmp(s->reason, r->reason) != 0)
			continue;
		if (s->combined)
			combined = s;
		else if (!strcmp(s->note, r->note))
			return s;
		else
			++*own;
	}
	return *own < KUBE_OWN_NOTES ? NULL : combined;
}

/*
 * NAME.HEX, as client-go makes them. The object's name is cut so that it fits, and then ends in
 * what a part of a DNS name may end in.
 */
static void name_series(struct kube_correlator *c, struct kube_series *s, uint64_t wall_ms)
{
	const char *name = s->subject->name;
	size_t n = EG_MIN(strlen(name), (size_t)KUBE_SERIES_NAME - 1 - 17);

	while (n && (name[n - 1] == '.' || name[n - 1] == '-'))
		n--;
	snprintf(s->name, sizeof(s->name), "%.*s.%016llx", (int)n, name,
		 (unsigned long long)(wall_ms << 20 | (++c->serial & 0xfffff)));
}

static struct kube_series *add_series(struct kube_correlator *c, struct kube_subject *o,
				      const struct eg_kube_report *r, bool combined,
				      uint64_t now_ms, uint64_t wall_ms)
{
	struct kube_series *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->note = strdup(r->note);
	if (!s->note) {
		free(s);
		return NULL;
	}
	s->subject = o;
	s->reason = r->reason;
	s->action = r->action;
	s->warning = r->warning;
	s->combined = combined;
	s->began_wall_ms = wall_ms;
	s->next_ms = now_ms;
	s->interval_ms = KUBE_UPDATE_MS;
	name_series(c, s, wall_ms);
	o->series_count++;
	eg_list_append(&c->series, &s->link);
	c->series_count++;
	return s;
}

static struct kube_series *place(struct kube_correlator *c, const struct eg_kube_report *r,
				 uint64_t now_ms, uint64_t wall_ms, int *error)
{
	struct kube_subject *o = find_subject(c, r);
	struct kube_series *s = NULL;
	size_t own = 0;

	if (o)
		s = find_series(c, o, r, &own);
	if (s && !is_over(s, now_ms))
		return s;
	forget_old(c, now_ms);
	o = find_subject(c, r); /* it may have gone just now */
	*error = -ENOSPC;
	if (c->series_count >= KUBE_SERIES_MOST - (r->namespace_name ? KUBE_NODE_PLACES : 0) ||
	    (!o && c->subject_count >= KUBE_SUBJECTS_MOST - (r->namespace_name ? 1 : 0)))
		return NULL;
	*error = -ENOMEM;
	o = o ? o : add_subject(c, r);
	if (!o)
		return NULL;
	s = find_series(c, o, r, &own);
	return s ? s : add_series(c, o, r, own >= KUBE_OWN_NOTES, now_ms, wall_ms);
}

int kube_correlate(struct kube_correlator *c, const struct eg_kube_report *r, uint64_t now_ms,
		   uint64_t wall_ms)
{
	int error = 0;
	struct kube_series *s = place(c, r, now_ms, wall_ms, &error);

	if (!s) {
		c->dropped += r->count;
		return error;
	}
	if (s->count == s->written && s->next_ms < now_ms)
		s->next_ms = now_ms; /* who waits longest is written first */
	s->count += r->count;
	s->seen_ms = now_ms;
	s->seen_wall_ms = wall_ms;
	return 0;
}

/* ---- what is written ---- */

/* From when on an object has a write left: as if each were paid for in turn, KUBE_BURST ahead. */
static uint64_t may_write_ms(const struct kube_subject *o)
{
	uint64_t ahead = (uint64_t)(KUBE_BURST - 1) * KUBE_REFILL_MS;

	return o->spent_ms > ahead ? o->spent_ms - ahead : 0;
}

struct kube_series *kube_correlator_take(struct kube_correlator *c, uint64_t now_ms,
					 uint64_t *wait_ms)
{
	struct kube_series *first = NULL, *of_node = NULL;
	uint64_t first_ms = UINT64_MAX;
	struct eg_list *it;

	eg_list_for_each (it, &c->series) {
		struct kube_series *s = eg_container_of(it, struct kube_series, link);
		uint64_t due = EG_MAX(s->next_ms, may_write_ms(s->subject));

		if (s->written < s->count && due < first_ms) {
			first = s;
			first_ms = due;
		}
		if (s->written < s->count && due <= now_ms && !s->subject->namespace_name)
			of_node = s;
	}
	first = of_node ? of_node : first;
	if (!first || first_ms > now_ms) {
		*wait_ms = first ? first_ms - now_ms : UINT64_MAX;
		return NULL;
	}
	first->taken = first->count;
	*wait_ms = 0;
	return first;
}

static void spend(struct kube_subject *o, uint64_t now_ms)
{
	o->spent_ms = EG_MAX(o->spent_ms, now_ms) + KUBE_REFILL_MS;
}

void kube_correlator_done(struct kube_correlator *c, struct kube_series *s, enum kube_written how,
			  uint64_t now_ms)
{
	switch (how) {
	case KUBE_WRITTEN:
		spend(s->subject, now_ms);
		s->written = s->taken;
		s->posted = true;
		s->next_ms = now_ms + s->interval_ms;
		s->interval_ms = EG_MIN(s->interval_ms * 2, (uint64_t)KUBE_UPDATE_MOST);
		break;
	case KUBE_AGAIN: /* behind the others that are due, in case it is this one's fault */
		s->next_ms = now_ms;
		break;
	case KUBE_NOT_TAKEN:
		spend(s->subject, now_ms);
		s->written = s->taken;
		s->posted = false;
		s->next_ms = now_ms + KUBE_UPDATE_MOST;
		break;
	case KUBE_NOT_THERE:
		spend(s->subject, now_ms);
		s->posted = false;
		s->next_ms = now_ms;
		name_series(c, s, s->seen_wall_ms);
		break;
	case KUBE_THERE_ALREADY: /* with what the count was then, which was 1 at least */
		s->written = EG_MAX(s->written, (uint64_t)1);
		s->posted = true;
		s->next_ms = now_ms;
		break;
	}
	s->taken = 0;
}

size_t kube_correlator_waiting(const struct kube_correlator *c)
{
	struct eg_list *it;
	size_t n = 0;

	eg_list_for_each (it, &c->series) {
		const struct kube_series *s = eg_container_of(it, struct kube_series, link);

		n += s->written < s->count;
	}
	return n;
}
