/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keys.h"

#include <stdlib.h>

struct eg_key {
	struct eg_key *next;
	uint64_t unfit_ms; /* since when its file is not fit */
	int why;	   /* -errno; 0: it is fit */
	bool asked;
	char file[];
};

static struct eg_key *find(const struct eg_keys *k, const char *file)
{
	struct eg_key *i = k->first;

	while (i && strcmp(i->file, file) != 0)
		i = i->next;
	return i;
}

static struct eg_key *add(struct eg_keys *k, const char *file)
{
	size_t n = strlen(file) + 1;
	struct eg_key *i = calloc(1, sizeof(*i) + n);

	if (!i)
		return NULL;
	memcpy(i->file, file, n);
	i->next = k->first;
	k->first = i;
	return i;
}

/* Removes those that were not asked for (all: every one). */
static void sweep(struct eg_keys *k, bool all)
{
	struct eg_key **at = &k->first;

	while (*at) {
		struct eg_key *i = *at;

		if (!all && i->asked) {
			at = &i->next;
			continue;
		}
		*at = i->next;
		free(i);
	}
}

void eg_keys_begin(struct eg_keys *k)
{
	for (struct eg_key *i = k->first; i; i = i->next)
		i->asked = false;
}

enum eg_key_word eg_keys_judge(struct eg_keys *k, const char *file, int why, uint64_t now_ms)
{
	struct eg_key *i = find(k, file);
	int former = i ? i->why : 0;

	if (!why) {
		if (!i)
			i = add(k, file);
		if (i) {
			i->asked = true;
			i->why = 0;
		}
		return former ? EG_KEY_SEND_BACK : EG_KEY_SEND;
	}
	if (!i)
		return EG_KEY_GONE;
	i->why = why;
	if (!former)
		i->unfit_ms = now_ms;
	/* Gone is gone: it is swept at the end of this round, and the next one has nothing to keep.
	 */
	if (now_ms - i->unfit_ms >= EG_KEY_GRACE_MS)
		return EG_KEY_GONE;
	i->asked = true;
	return !former ? EG_KEY_KEEP_NEW : former != why ? EG_KEY_KEEP_OTHER : EG_KEY_KEEP;
}

void eg_keys_end(struct eg_keys *k)
{
	sweep(k, false);
}

uint64_t eg_keys_due(const struct eg_keys *k, uint64_t now_ms)
{
	uint64_t due = UINT64_MAX;

	for (const struct eg_key *i = k->first; i; i = i->next) {
		uint64_t end = i->unfit_ms + EG_KEY_GRACE_MS;

		if (i->why)
			due = EG_MIN(due, end > now_ms ? end - now_ms : 0);
	}
	return due;
}

bool eg_keys_have(const struct eg_keys *k, const char *file)
{
	return find(k, file);
}

void eg_keys_forget(struct eg_keys *k)
{
	sweep(k, true);
}
