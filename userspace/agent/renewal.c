/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gateway that is well is replaced by another, and no request fails: the new one is prepared
 * beside the one that serves (EG_CONFIG_SHARED: it does not accept), gets a whole generation, and
 * when it has acknowledged that it accepts and the former one drains, as between two supervisors.
 */
#include <stdio.h>

#include "agent/channel.h"
#include "agent/supervisor_impl.h"
#include "base/log.h"

#define DRAIN_GRACE_MS 2000u /* after the drain's own time */

#define KEY_LOST                                                                                   \
	"a credential's file is not fit now, so that a new gateway would be without its key; the " \
	"log names it"
#define ROOTS_LOST                                                                                \
	"a provider's ca_file is not fit now, so that a new gateway would be without its roots; " \
	"the log names it"

static void over(struct eg_supervisor *s)
{
	eg_timer_cancel(s->loop, &s->renewal_limit);
	s->renewal = EG_RENEWAL_NONE;
	s->former = NULL;
}

static void too_long(struct eg_timer *t)
{
	struct eg_supervisor *s = eg_container_of(t, struct eg_supervisor, renewal_limit);

	if (s->former)
		eg_child_kill(s->former, "its time to finish what it has is over");
}

void eg_renewal_open(struct eg_supervisor *s)
{
	eg_timer_init(&s->renewal_limit, too_long);
}

static int may_begin(struct eg_supervisor *s, struct eg_error *e)
{
	if (s->stopping)
		return eg_error_set(e, -ESHUTDOWN, "egretd ends");
	if (s->charge != EG_CHARGE_MINE)
		return eg_error_set(e, -EBUSY, "a hand-over between two egretd goes on");
	if (s->renewal == EG_RENEWAL_PREPARING)
		return eg_error_set(e, -EBUSY, "a gateway is being prepared already");
	if (s->renewal != EG_RENEWAL_NONE)
		return eg_error_set(e, -EBUSY, "the last restart is not over: pid %d has not ended",
				    s->former->pid);
	if (s->spawner_hung)
		return eg_error_set(e, -EIO, "the spawner, which would start it, does not answer");
	if (!s->serving)
		return eg_error_set(
			e, -EAGAIN,
			"no gateway serves now; one is started by itself (egretctl status)");
	if (s->offered.number)
		return eg_error_set(
			e, -EAGAIN,
			"a change of policy, pods or keys is on its way to the gateway; try "
			"again in a moment");
	/* What a gateway keeps of a file that is not fit any more, its successor could not have. */
	if (eg_keys_due(&s->keys, eg_now_ms()) != UINT64_MAX)
		return eg_error_set(e, -ENOKEY, "%s", KEY_LOST);
	if (eg_keys_due(&s->roots, eg_now_ms()) != UINT64_MAX)
		return eg_error_set(e, -ENOKEY, "%s", ROOTS_LOST);
	return 0;
}

static void forget_former(struct eg_supervisor *s)
{
	eg_keys_forget(&s->former_keys);
	eg_keys_forget(&s->former_roots);
}

bool eg_renewal_would_lose(struct eg_supervisor *s, const char *key_file, const char *ca_file)
{
	const char *why = key_file && eg_keys_have(&s->former_keys, key_file)  ? KEY_LOST
			  : ca_file && eg_keys_have(&s->former_roots, ca_file) ? ROOTS_LOST
									       : NULL;

	if (s->renewal != EG_RENEWAL_PREPARING || !why)
		return false;
	eg_renewal_failed(s, why);
	return true;
}

int eg_renewal_begin(struct eg_supervisor *s, struct eg_error *e)
{
	int r = may_begin(s, e);

	if (r)
		return r;
	eg_info("another gateway is prepared beside pid %d", s->gateway->pid);
	s->former = s->gateway;
	s->gateway = &s->gateways[s->former == &s->gateways[0]];
	s->gateway->failures = 0;
	s->renewal = EG_RENEWAL_PREPARING;
	s->renewal_error[0] = '\0';
	s->ready = false;
	s->former_keys = s->keys;
	s->former_roots = s->roots;
	s->keys = s->roots = (struct eg_keys){NULL};
	eg_offer_lost(s); /* the new one has nothing yet */
	eg_child_start(s->gateway);
	return s->renewal == EG_RENEWAL_PREPARING
		       ? 0
		       : eg_error_set(e, -EIO, "%s; the log says more", s->renewal_error);
}

void eg_renewal_acknowledged(struct eg_supervisor *s)
{
	struct eg_message accept_now = {.type = EG_WIRE_ACCEPT};
	struct eg_message drain = {.type = EG_WIRE_DRAIN, .number = 1, .value = s->o->drain_ms};

	if (s->renewal != EG_RENEWAL_PREPARING)
		return;
	s->renewal = EG_RENEWAL_DRAINING;
	s->renewals++;
	forget_former(s);
	/* In this order there is always one that accepts. */
	eg_gateway_send(s, &accept_now, NULL, 0);
	eg_info("gateway (pid %d) serves; pid %d finishes what it has, for %u s at most",
		s->gateway->pid, s->former->pid, s->o->drain_ms / 1000);
	if (s->former->control >= 0 && eg_channel_send(s->former->control, &drain, NULL, 0))
		eg_child_kill(s->former, "it does not read that it is to finish");
	if (eg_timer_set(s->loop, &s->renewal_limit, s->o->drain_ms + DRAIN_GRACE_MS))
		eg_supervisor_fail(s, "out of memory");
}

/* The one that serves has its place again. All is offered to it once more, since what changed
 * meanwhile went to the other one. */
static void put_back(struct eg_supervisor *s, const char *why)
{
	struct eg_child *failed = s->gateway;

	eg_error("no other gateway could be prepared, pid %d goes on: %s", s->former->pid, why);
	eg_str_copy(s->renewal_error, sizeof(s->renewal_error), eg_str_from(why));
	s->gateway = s->former;
	s->former = failed;
	s->renewal = EG_RENEWAL_DROPPING;
	s->ready = s->serving;
	eg_offer_lost(s);
	s->keys = s->former_keys;
	s->roots = s->former_roots;
	s->former_keys = s->former_roots = (struct eg_keys){NULL};
}

void eg_renewal_failed(struct eg_supervisor *s, const char *why)
{
	if (s->renewal != EG_RENEWAL_PREPARING)
		return;
	put_back(s, why);
	if (s->former->pid) {
		eg_child_kill(s->former, why);
	} else { /* what may still be spawned finds its socket closed, and ends */
		s->former->serial = 0;
		s->former->awaited_ms = 0;
		eg_watch_remove(s->loop, &s->former->watch);
		eg_fd_close(&s->former->control);
		over(s);
	}
	eg_offer(s);
}

bool eg_renewal_ended(struct eg_supervisor *s, struct eg_child *c)
{
	struct eg_message accept_now = {.type = EG_WIRE_ACCEPT};
	bool half_there;

	if (s->renewal == EG_RENEWAL_NONE)
		return false;
	if (s->renewal == EG_RENEWAL_PREPARING && c == s->gateway) {
		put_back(s, "it ended before it was ready");
		over(s);
		eg_offer(s);
		return true;
	}
	if (c != s->former)
		return false;
	/* Who served died first: as when any gateway dies, and its successor is half there. */
	half_there = s->renewal == EG_RENEWAL_PREPARING;
	over(s);
	if (half_there) {
		forget_former(s);
		eg_gateway_send(s, &accept_now, NULL, 0);
	}
	return true;
}

void eg_renewal_close(struct eg_supervisor *s)
{
	forget_former(s);
	eg_timer_cancel(s->loop, &s->renewal_limit);
}
