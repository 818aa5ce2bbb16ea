/* SPDX-License-Identifier: Apache-2.0 */
#include "telemetry/series.h"

#include <stdlib.h>

const double eg_duration_bounds[EG_DURATION_BUCKETS] = {
	0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92};

#define LABEL_MAX 96u

static uint64_t hash_labels(bool attempt, const char *const label[EG_LABELS])
{
	uint64_t h = 1469598103934665603u + attempt;

	for (size_t i = 0; i < EG_LABELS; i++) {
		for (const char *c = label[i]; *c && c < label[i] + LABEL_MAX; c++)
			h = (h ^ (unsigned char)*c) * 1099511628211u;
		h = (h ^ 0xffu) * 1099511628211u;
	}
	return h;
}

static bool same(const struct eg_series *s, bool attempt, const char *const label[EG_LABELS])
{
	if (s->attempt != attempt)
		return false;
	for (size_t i = 0; i < EG_LABELS; i++)
		if (strncmp(s->label[i], label[i], LABEL_MAX))
			return false;
	return true;
}

static struct eg_series *create(bool attempt, const char *const label[EG_LABELS], uint64_t hash)
{
	size_t bytes = sizeof(struct eg_series);
	struct eg_series *s;
	char *at;

	for (size_t i = 0; i < EG_LABELS; i++)
		bytes += strnlen(label[i], LABEL_MAX) + 1;
	s = calloc(1, bytes);
	if (!s)
		return NULL;
	s->hash = hash;
	s->attempt = attempt;
	at = (char *)(s + 1);
	for (size_t i = 0; i < EG_LABELS; i++) {
		size_t n = strnlen(label[i], LABEL_MAX);

		memcpy(at, label[i], n);
		s->label[i] = at;
		at += n + 1;
	}
	return s;
}

struct eg_series *eg_series_get(struct eg_series_table *t, bool attempt,
				const char *const label[EG_LABELS])
{
	static const char *const overflow[EG_LABELS] = {"overflow", "overflow", "overflow",
							"overflow", "overflow", "overflow",
							"overflow", "overflow", "overflow"};
	const size_t size = EG_ARRAY_SIZE(t->slot);
	uint64_t hash;

	/* Mostly the same pod, or one like it, asks the same again. */
	if (t->last[attempt] && same(t->last[attempt], attempt, label))
		return t->last[attempt];
	hash = hash_labels(attempt, label);

	for (size_t i = (size_t)hash % size;; i = (i + 1) % size) {
		struct eg_series *s = atomic_load_explicit(&t->slot[i], memory_order_relaxed);

		if (s && s->hash == hash && same(s, attempt, label))
			return t->last[attempt] = s;
		if (s)
			continue;
		/* The last two places are kept for the overflow series themselves. */
		if (t->count >= EG_SERIES_MAX && label != overflow) {
			eg_series_add(&t->overflowed, 1);
			return eg_series_get(t, attempt, overflow);
		}
		s = create(attempt, label, hash);
		if (!s)
			return NULL;
		t->count++;
		atomic_store_explicit(&t->slot[i], s, memory_order_release);
		return s;
	}
}

void eg_series_table_fini(struct eg_series_table *t)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(t->slot); i++)
		free(atomic_load(&t->slot[i]));
}
