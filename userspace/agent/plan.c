/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/plan.h"

#include <netinet/in.h>
#include <stdio.h>

unsigned int eg_plan_kind(const struct eg_policy *p)
{
	return p->mode == EG_MODE_ENFORCE ? 0 : 1;
}

size_t eg_plan_verdicts(const struct eg_policy *p, uint32_t policy_id,
			struct eg_verdict_rule out[EG_PLAN_RULES])
{
	bool enforce = eg_plan_kind(p) == 0;
	const struct {
		uint8_t protocol;
		uint16_t port;
		uint8_t action, reason;
	} rows[EG_PLAN_RULES] = {
		{IPPROTO_TCP, 443, EG_ACTION_REDIRECT, EG_REASON_REDIRECT},
		{IPPROTO_TCP, 80, EG_ACTION_REDIRECT, EG_REASON_REDIRECT},
		{IPPROTO_TCP, 0, EG_ACTION_DROP, EG_REASON_PORT_DENIED},
		{IPPROTO_UDP, 443, EG_ACTION_DROP, EG_REASON_QUIC_REFUSED},
		{0, 0, EG_ACTION_DROP, EG_REASON_PROTOCOL_DENIED},
	};

	for (size_t i = 0; i < EG_PLAN_RULES; i++) {
		struct eg_verdict_rule *r = &out[i];

		*r = (struct eg_verdict_rule){
			.key = {.policy_id = policy_id,
				.protocol = rows[i].protocol,
				.port_be = htons(rows[i].port)},
			.verdict = {.action = rows[i].action, .reason = rows[i].reason}};
		if (!enforce && r->verdict.action == EG_ACTION_DROP)
			r->verdict = (struct eg_verdict){.action = EG_ACTION_PASS,
							 .reason = EG_REASON_SHADOW};
	}
	return EG_PLAN_RULES;
}

enum eg_pod_state eg_plan_state(const struct eg_selected *s)
{
	switch (s->what) {
	case EG_SELECTION_NONE:
		return EG_POD_UNGOVERNED;
	case EG_SELECTION_POLICY:
		return EG_POD_GOVERNED;
	case EG_SELECTION_PERHAPS:
		break;
	}
	return EG_POD_HELD;
}

uint8_t eg_plan_flags(const struct eg_selected *s, enum eg_fail_policy otherwise)
{
	const struct eg_policy *p = s->policy;
	unsigned int flags = 0;

	if (s->what == EG_SELECTION_PERHAPS) /* nothing is lost to what may only watch */
		return s->may_enforce ? 0 : EG_POD_UNKNOWN_ALLOW | EG_POD_SHADOW;
	if (s->what == EG_SELECTION_NONE)
		return 0;
	if (p->mode != EG_MODE_ENFORCE) /* what only watches closes nothing, whoever says so */
		flags |= EG_POD_SHADOW | EG_POD_FAIL_OPEN;
	else if (p->fail_stated ? p->fail_open : otherwise == EG_FAIL_OPEN)
		flags |= EG_POD_FAIL_OPEN;
	if (p->capture_all_tls)
		flags |= EG_POD_CAPTURE_ALL_TLS;
	if (p->strict && p->mode == EG_MODE_ENFORCE)
		flags |= EG_POD_STRICT;
	return (uint8_t)flags;
}

static void clear_host_bits(struct eg_address *a, unsigned int bits)
{
	unsigned char *p = (unsigned char *)a->word_be;

	for (unsigned int i = 0; i < sizeof(*a); i++) {
		unsigned int kept = bits > i * 8 ? EG_MIN(bits - i * 8, 8u) : 0;

		p[i] = (unsigned char)(p[i] & (0xff00u >> kept));
	}
}

void eg_plan_pod_name(const struct eg_identity *id, char out[EG_POD_NAME])
{
	static const char gap[] = "...";
	const size_t part = (EG_POD_NAME - sizeof(gap)) / 2, n = strlen(id->name);
	int whole = snprintf(out, EG_POD_NAME, "%s/%s", id->namespace_name, id->name);

	if (whole < EG_POD_NAME)
		return;
	snprintf(out + part, EG_POD_NAME - part, "%s%s", gap,
		 n > part ? id->name + n - part : id->name);
}

int eg_plan_cidr(struct eg_str text, bool excluded, struct eg_cidr *out)
{
	ssize_t slash = eg_str_find(text, '/');
	char address[64];
	uint64_t bits;
	unsigned int most;

	if (text.n >= sizeof(address))
		return -EINVAL;
	eg_str_copy(address, sizeof(address),
		    (struct eg_str){text.p, slash < 0 ? text.n : (size_t)slash});
	if (eg_address_from_text(address, &out->address))
		return -EINVAL;
	most = eg_address_is4(&out->address) ? 32 : 128;
	bits = most;
	if (slash >= 0 &&
	    (eg_str_u64((struct eg_str){text.p + slash + 1, text.n - (size_t)slash - 1}, &bits) ||
	     bits > most))
		return -EINVAL;
	out->prefix_bits = (uint8_t)bits;
	out->excluded = excluded;
	out->name_id = 0;
	clear_host_bits(&out->address, (unsigned int)bits + 128 - most);
	return 0;
}

bool eg_plan_covers(const struct eg_cidr *c, const struct eg_address *a)
{
	bool four = eg_address_is4(&c->address);
	struct eg_address network = *a;

	clear_host_bits(&network, c->prefix_bits + (four ? 96u : 0));
	return four == eg_address_is4(a) && !memcmp(&network, &c->address, sizeof(network));
}
