/* SPDX-License-Identifier: Apache-2.0 */
#include "loop/lateness.h"

/* How long the samples must say otherwise before they are believed. */
static uint64_t patience(const struct eg_lateness *l, uint64_t now_ms)
{
	if (l->overloaded)
		return EG_LATENESS_LEAVE_MS;
	/* What made it late is often still there: the second time takes less to be sure of. */
	if (l->left_ms && now_ms - l->left_ms < EG_LATENESS_SOON_MS)
		return EG_LATENESS_AGAIN_MS;
	return EG_LATENESS_INTERVAL_MS;
}

void eg_lateness_note(struct eg_lateness *l, uint64_t now_ms, uint64_t late_ms)
{
	bool late = late_ms > EG_LATENESS_TARGET_MS;

	l->eighths_ms += late_ms;
	l->eighths_ms -= EG_MIN(l->eighths_ms, (l->eighths_ms - late_ms + 7) / 8);
	if (late == l->overloaded) {
		l->turning = false;
		return;
	}
	if (!l->turning) { /* one sample, however long it took, is only a beginning */
		l->turning = true;
		l->since_ms = now_ms;
		return;
	}
	if (now_ms - l->since_ms < patience(l, now_ms))
		return;
	l->turning = false;
	l->overloaded = late;
	if (late)
		l->entered++;
	else
		l->left_ms = now_ms;
}

void eg_lateness_idle(struct eg_lateness *l, uint64_t since_ms, uint64_t now_ms)
{
	eg_lateness_note(l, since_ms, 0);
	eg_lateness_note(l, now_ms, 0);
	if (now_ms - since_ms >= EG_LATENESS_LEAVE_MS)
		l->eighths_ms = 0;
}
