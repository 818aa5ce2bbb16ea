/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proof of life. The kernel is told "alive" only while the gateway answers (each worker's loop has
 * turned), or for a moment while it is being replaced; with nobody to tell it, the kernel applies
 * the fail policy by itself.
 */
#include "agent/supervisor_impl.h"
#include "base/log.h"

#define SWEEP_MS 1000u
#define POLL_MS	 10000u

static void arm(struct eg_supervisor *s, struct eg_timer *t, uint64_t delay_ms)
{
	if (eg_timer_set(s->loop, t, delay_ms)) {
		eg_error("out of memory; egretd ends, and the fail policy holds");
		eg_supervisor_stop(s);
	}
}

void eg_heartbeat_pong(struct eg_supervisor *s, uint32_t serial)
{
	if (serial != s->ping || !s->ping_ms)
		return;
	s->ping_ms = 0;
	if (s->serving && !s->stopping)
		eg_datapath_heartbeat(s->datapath);
}

void eg_heartbeat_lost(struct eg_supervisor *s)
{
	if (s->serving)
		s->lost_ms = eg_now_ms();
	s->ready = s->serving = false;
	s->ping_ms = 0;
}

static void ask(struct eg_supervisor *s, uint64_t now, bool late)
{
	struct eg_message m = {.type = EG_WIRE_PING};

	if (!s->ready) {
		if (s->gateway.pid && now - s->gateway.started_ms > EG_START_MS)
			eg_child_kill(&s->gateway, "it did not become ready");
		return;
	}
	if (!s->ping_ms) {
		m.number = ++s->ping;
		s->ping_ms = now;
		eg_gateway_send(s, &m, NULL, 0);
		return;
	}
	/* When we were late ourselves, its answer may lie unread: look again at the next tick. */
	if (now - s->ping_ms >= EG_HANG_MS && !late && !s->gateway.killed) {
		s->hangs++;
		eg_child_kill(&s->gateway, "it does not answer");
	}
}

/*
 * New connections are for the fail policy to judge once the end is near; those that are open live
 * on without a heartbeat for EG_DOWN_GRACE_MS (bpf/lib/steer.h).
 */
static bool near_end(const struct eg_supervisor *s, uint64_t now)
{
	return s->stopping && now + EG_DOWN_GRACE_MS >= s->end_ms;
}

static void tick(struct eg_timer *t)
{
	struct eg_supervisor *s = eg_container_of(t, struct eg_supervisor, tick);
	uint64_t now = eg_now_ms();
	bool late = s->ticked_ms && now - s->ticked_ms > 2 * EG_TICK_MS;
	bool answers = s->serving && (!s->ping_ms || now - s->ping_ms < EG_HANG_MS);
	bool replaced = !s->serving && s->lost_ms && now - s->lost_ms < EG_REPLACE_MS;

	s->ticked_ms = now;
	if (!s->stopping)
		ask(s, now, late);
	if ((answers || replaced) && !near_end(s, now))
		eg_datapath_heartbeat(s->datapath);
	arm(s, t, EG_TICK_MS);
}

static void sweep(struct eg_timer *t)
{
	struct eg_supervisor *s = eg_container_of(t, struct eg_supervisor, sweep);
	struct eg_error e = {""};

	if (eg_datapath_sweep(s->datapath, &e))
		eg_warn("sweep of the kernel's tables: %s", e.text);
	arm(s, t, SWEEP_MS);
}

/* What inotify can miss is found here. Nothing happens when nothing changed. */
static void poll_sources(struct eg_timer *t)
{
	struct eg_supervisor *s = eg_container_of(t, struct eg_supervisor, poll);

	eg_reload_all(s);
	arm(s, t, POLL_MS);
}

int eg_heartbeat_start(struct eg_supervisor *s)
{
	int r;

	eg_timer_init(&s->tick, tick);
	eg_timer_init(&s->sweep, sweep);
	eg_timer_init(&s->poll, poll_sources);
	r = eg_timer_set(s->loop, &s->tick, EG_TICK_MS);
	if (!r)
		r = eg_timer_set(s->loop, &s->sweep, SWEEP_MS);
	return r ? r : eg_timer_set(s->loop, &s->poll, POLL_MS);
}
