/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proof of life. The kernel is told "alive" only while the gateway answers (each worker's loop has
 * turned), or for a moment while it is being replaced; with nobody to tell it, the kernel applies
 * the fail policy by itself. Gateway and signer are replaced when they don't answer. The spawner,
 * which replaces them, can't be: once it is needed and does not do it, egretd ends.
 */
#include <poll.h>
#include <stdio.h>

#include "agent/cpu_wait.h"
#include "agent/supervisor_impl.h"
#include "base/log.h"
#include "net/mint_wire.h"

#define SWEEP_MS 1000u
#define POLL_MS	 10000u

static void arm(struct eg_supervisor *s, struct eg_timer *t, uint64_t delay_ms)
{
	if (eg_timer_set(s->loop, t, delay_ms))
		eg_supervisor_fail(s, "out of memory");
}

static bool answers(struct eg_beat *b, uint32_t serial)
{
	if (serial != b->serial || !b->asked_ms)
		return false;
	b->asked_ms = 0;
	b->starved = false;
	return true;
}

static bool unanswered(const struct eg_beat *b, uint64_t now, uint64_t limit_ms)
{
	return b->asked_ms && now - b->asked_ms >= limit_ms;
}

/* The silence of a process that got no CPU is borne for longer: it is said once. */
static bool starved(struct eg_child *c, uint64_t now)
{
	struct eg_beat *b = &c->beat;
	uint64_t silent_ms = now - b->asked_ms, waited = eg_cpu_waited_ns(c->pid);

	/* Less than before: a thread has ended, or all of it. */
	waited = waited > b->waited_ns ? waited - b->waited_ns : 0;
	if (!eg_cpu_starved(silent_ms, waited)) {
		b->starved = false;
		return false;
	}
	if (!b->starved)
		eg_warn("%s (pid %d) has not answered for %llu ms, and waited for a CPU for %llu "
			"ms "
			"of them: this node, or the CPU limit of this container, gives it too "
			"little; it is ended after %u s",
			c->role == EG_ROLE_GATEWAY ? "gateway" : "signer", c->pid,
			(unsigned long long)silent_ms, (unsigned long long)(waited / 1000000),
			EG_STARVED_MS / 1000);
	b->starved = true;
	return true;
}

/*
 * The thread that answers compiles what it is given, which of thousands of policies takes its time;
 * its workers go on meanwhile. A ping from before that may be behind it; an older one is not.
 */
static bool compiles(const struct eg_child *c, uint64_t now)
{
	const struct eg_supervisor *s = c->supervisor;

	return c == s->gateway && s->offered.number &&
	       c->beat.asked_ms + EG_TICK_MS >= s->offered.offered_ms &&
	       now - s->offered.offered_ms < EG_COMPILE_MS;
}

static void beat(struct eg_supervisor *s, uint64_t now)
{
	s->beating = true;
	s->kept_ms = now;
	eg_datapath_heartbeat(s->datapath);
}

/* ---- the gateway ---- */

void eg_heartbeat_serves(struct eg_supervisor *s)
{
	s->served_ms = eg_now_ms();
	beat(s, s->served_ms);
}

void eg_heartbeat_pong(struct eg_child *c, uint32_t serial)
{
	struct eg_supervisor *s = c->supervisor;

	if (answers(&c->beat, serial) && s->serving && !s->stopping && c == eg_gateway_serving(s))
		eg_heartbeat_serves(s);
	if (c == s->gateway && s->serving && s->signer_answers && !*s->signer_unfit)
		eg_handover_ready(s);
}

void eg_heartbeat_compiled(struct eg_child *c)
{
	if (c->beat.asked_ms)
		c->beat.asked_ms = eg_now_ms();
}

void eg_heartbeat_lost(struct eg_child *c)
{
	struct eg_supervisor *s = c->supervisor;

	c->beat = (struct eg_beat){.serial = c->beat.serial};
	if (c == s->gateway)
		s->ready = false;
	/* Of two, only the one that accepts makes a difference. */
	if (c != eg_gateway_serving(s))
		return;
	if (s->serving)
		s->lost_ms = eg_now_ms();
	s->serving = false;
}

/*
 * When we were late ourselves, an answer may lie unread: we look again at the next tick. The same
 * holds for signer and spawner.
 */
static void ask_gateway(struct eg_child *c, uint64_t now, bool late)
{
	struct eg_message m = {.type = EG_WIRE_PING};
	struct eg_beat *b = &c->beat;

	if (!b->asked_ms) {
		m.number = ++b->serial;
		b->asked_ms = now;
		b->waited_ns = eg_cpu_waited_ns(c->pid);
		(void)eg_child_send(c, &m, NULL, 0);
	} else if (unanswered(b, now, EG_HANG_MS) && !late && !compiles(c, now) &&
		   !starved(c, now)) {
		c->hangs++;
		eg_child_kill(c, "it does not answer");
	}
}

static void ask_gateways(struct eg_supervisor *s, uint64_t now, bool late)
{
	struct eg_child *serving = eg_gateway_serving(s);

	if (serving != s->gateway && serving->pid && !serving->killed)
		ask_gateway(serving, now, late);
	if (s->ready)
		ask_gateway(s->gateway, now, late);
	else if (s->gateway->pid && now - s->gateway->started_ms > EG_START_MS)
		eg_child_kill(s->gateway, "it did not become ready");
}

/* ---- the signer ---- */

/*
 * A start with a CA that can't be used is as wrong as one without: it ends. So does a hand-over,
 * whose former one may have a good one. Later the rest goes on, and this is said.
 */
static void judge_fitness(struct eg_supervisor *s, int error, const char *text)
{
	char why[EG_WIRE_TEXT];

	if (!error) {
		if (*s->signer_unfit)
			eg_info("the signer has a CA to sign with again");
		s->signer_was_fit = true;
		s->signer_unfit[0] = '\0';
		return;
	}
	if (!strncmp(s->signer_unfit, text, sizeof(s->signer_unfit) - 1))
		return;
	eg_str_copy(s->signer_unfit, sizeof(s->signer_unfit), eg_str_from(text));
	snprintf(why, sizeof(why), "the CA in %s can't be used: %s", s->o->ca_dir, text);
	if (s->charge == EG_CHARGE_TAKING)
		eg_handover_give_up(s, why);
	else if (!s->signer_was_fit && error == -ENOKEY)
		eg_supervisor_fail(s, why);
	else
		eg_error("%s; names that have no certificate yet get none (no_leaf)", why);
}

void eg_heartbeat_signer_pong(struct eg_supervisor *s, const struct eg_mint_control_reply *reply)
{
	if (!answers(&s->signer.beat, reply->sequence))
		return;
	s->signer_answers = s->signer_answered = true;
	s->signer_lost_ms = 0;
	judge_fitness(s, reply->error, reply->text);
}

void eg_heartbeat_signer_lost(struct eg_supervisor *s)
{
	if (!s->signer_lost_ms)
		s->signer_lost_ms = eg_now_ms();
	s->signer_answers = false;
	s->signer.beat = (struct eg_beat){.serial = s->signer.beat.serial};
}

void eg_heartbeat_ask_signer(struct eg_supervisor *s)
{
	struct eg_child *c = &s->signer;
	int r;

	/* Its control socket counts all that is sent there. */
	c->beat.serial = ++s->signer_sequence;
	c->beat.asked_ms = eg_now_ms();
	c->beat.waited_ns = eg_cpu_waited_ns(c->pid);
	r = eg_mint_control_ping(c->control, c->beat.serial);
	if (r && r != -EPIPE)
		eg_child_kill(c, "it does not read what it is sent");
}

static void ask_signer(struct eg_supervisor *s, uint64_t now, bool late)
{
	struct eg_child *c = &s->signer;
	uint64_t limit_ms = s->signer_answers ? EG_HANG_MS : EG_START_MS;

	if (!c->pid || c->awaited_ms)
		return;
	if (!c->beat.asked_ms) {
		eg_heartbeat_ask_signer(s);
	} else if (unanswered(&c->beat, now, limit_ms) && !late && !starved(c, now)) {
		c->hangs++;
		eg_child_kill(c,
			      s->signer_answers ? "it does not answer" : "it did not become ready");
	}
}

/* ---- the spawner ---- */

void eg_heartbeat_spawner_pong(struct eg_supervisor *s, uint32_t serial)
{
	if (!answers(&s->spawner_beat, serial) || !s->spawner_hung)
		return;
	s->spawner_hung = false;
	eg_info("the spawner (pid %d) answers again", s->spawner.pid);
}

static void ask_spawner(struct eg_supervisor *s, uint64_t now, bool late)
{
	struct eg_beat *b = &s->spawner_beat;
	char text[EG_WIRE_TEXT];

	if (!b->asked_ms) {
		b->asked_ms = now;
		if (eg_spawner_ping(&s->spawner, ++b->serial))
			eg_debug("the spawner takes no ping"); /* gone, or it hangs: both show */
	} else if (unanswered(b, now, EG_REPLACE_MS) && !late && !s->spawner_hung) {
		s->spawner_hung = true;
		eg_trouble(s, text);
		eg_error("%s", text);
	}
}

/* A child whose start or end the spawner owes for too long: nobody else can give it. */
static void judge_spawner(struct eg_supervisor *s, uint64_t now)
{
	const struct eg_child *const children[] = {&s->gateways[0], &s->gateways[1], &s->signer};

	for (size_t i = 0; i < EG_ARRAY_SIZE(children) && !s->stopping; i++) {
		const struct eg_child *c = children[i];
		char why[EG_WIRE_TEXT];

		if (!c->awaited_ms || now - c->awaited_ms < EG_SPAWNER_MS)
			continue;
		snprintf(why, sizeof(why),
			 "the %s must be replaced, and for %u s the spawner (pid %d) %s",
			 c->role == EG_ROLE_GATEWAY ? "gateway" : "signer", EG_SPAWNER_MS / 1000,
			 s->spawner.pid,
			 s->spawner_hung ? "has not answered: it hangs or is stopped"
					 : "has answered, but has not seen it start or end");
		eg_supervisor_fail(s, why);
	}
}

/* ---- the clock ---- */

void eg_heartbeat_keep(struct eg_supervisor *s)
{
	uint64_t now = eg_now_ms();
	struct pollfd gateway = {.events = 0};

	if (!s->beating || s->stopping || now - s->kept_ms < EG_TICK_MS ||
	    now - s->served_ms > EG_BUSY_MS)
		return;
	if (!s->serving && now - s->lost_ms >= EG_REPLACE_MS)
		return;
	gateway.fd = eg_gateway_serving(s)->control; /* none: it is not looked at */
	if (poll(&gateway, 1, 0) > 0 && gateway.revents & (POLLHUP | POLLERR | POLLNVAL))
		return;
	beat(s, now);
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
	const struct eg_child *serving;
	bool serves, replaced;

	s->ticked_ms = now;
	if (!s->stopping) {
		if (!late)
			judge_spawner(s, now);
		ask_gateways(s, now, late);
		ask_signer(s, now, late);
		ask_spawner(s, now, late);
	}
	now = eg_now_ms(); /* what was lost just now was lost after this turn began */
	serving = eg_gateway_serving(s);
	serves = s->serving && (serving->beat.starved || compiles(serving, now) ||
				!unanswered(&serving->beat, now, EG_HANG_MS));
	if (serves)
		s->served_ms = now;
	else if (s->serving) /* late: the answer may lie unread */
		serves = late && s->beating && now - s->served_ms < EG_BUSY_MS;
	replaced = !s->serving && s->lost_ms && now - s->lost_ms < EG_REPLACE_MS;
	s->beating = false;
	if ((serves || replaced) && !near_end(s, now) && s->charge != EG_CHARGE_GIVEN)
		beat(s, now);
	arm(s, t, EG_TICK_MS);
}

static void sweep(struct eg_timer *t)
{
	struct eg_supervisor *s = eg_container_of(t, struct eg_supervisor, sweep);
	struct eg_error e = {""};

	if (eg_tables_are_ours(s) && eg_datapath_sweep(s->datapath, &e))
		eg_warn("sweep of the kernel's tables: %s", e.text);
	eg_host_pods_follow(s);
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
