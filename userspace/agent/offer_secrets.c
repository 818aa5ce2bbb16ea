/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets and roots of a generation: from their files into sealed memory, and on; nothing of a key
 * stays here. Where a file is not fit for a moment, the gateway is told to keep what it has.
 */
#include <fcntl.h>

#include "agent/channel.h"
#include "agent/supervisor_impl.h"
#include "base/log.h"
#include "credential/credential.h"
#include "net/tls.h"

/* 1: its key is missing; 0; or -EPIPE: who was offered it is lost, or given up. */
static int send_credential(struct eg_supervisor *s, int dir, const struct eg_credential_spec *spec)
{
	struct eg_message m = {.type = EG_WIRE_CREDENTIAL, .number = (uint32_t)spec->index};
	EG_CLEANUP_FD int memory = -1;
	struct eg_error e = {""};
	int why = eg_credential_seal(dir, spec, &memory, &e);

	switch (eg_keys_judge(&s->keys, spec->file, why, eg_now_ms())) {
	case EG_KEY_SEND_BACK:
		eg_info("credential '%s': its file is fit again", spec->name);
		break;
	case EG_KEY_SEND:
		break;
	case EG_KEY_KEEP_NEW:
		eg_warn("%s; the last good key stays in force for %u s, then requests that need it "
			"will be refused",
			e.text, EG_KEY_GRACE_MS / 1000);
		m.type = EG_WIRE_KEEP;
		break;
	case EG_KEY_KEEP_OTHER:
		eg_warn("%s; the last good key still stays in force", e.text);
		m.type = EG_WIRE_KEEP;
		break;
	case EG_KEY_KEEP:
		m.type = EG_WIRE_KEEP;
		break;
	case EG_KEY_GONE:
		if (eg_renewal_would_lose(s, spec->file, NULL))
			return -EPIPE;
		eg_error("requests that need credential '%s' will be refused (no_credential): %s",
			 spec->name, e.text);
		return 1;
	}
	return eg_gateway_send(s, &m, &memory, why ? 0 : 1) ? 0 : -EPIPE;
}

/* A secret that can't be read is left out: requests that need it are refused with a reason, all
 * others go on. */
static int send_credentials(struct eg_supervisor *s, int dir)
{
	size_t count, missing = 0;
	const struct eg_credential_spec *specs = eg_credentials(s->loaded->set, &count);
	int r = 0;

	eg_keys_begin(&s->keys);
	for (size_t i = 0; r >= 0 && i < count; i++) {
		if (!specs[i].file)
			continue;
		r = send_credential(s, dir, &specs[i]);
		missing += r == 1;
	}
	if (r < 0)
		return r; /* the gateway is lost, and what it held is forgotten with it */
	eg_keys_end(&s->keys);
	s->credentials.missing = missing;
	return 0;
}

/*
 * Roots of a provider's own. When there are none, it must not fall back to the system's: an empty
 * message makes the gateway trust nobody for it. 1: they are missing; 0; or -errno.
 */
static int send_roots(struct eg_supervisor *s, int dir, const struct eg_provider *p)
{
	struct eg_message keep = {.type = EG_WIRE_KEEP_TRUST, .number = (uint32_t)p->index};
	EG_CLEANUP_FREE char *pem = NULL;
	struct eg_error e = {""};
	size_t n = 0;
	int r, why = eg_trust_read(dir, p->ca_file, &pem, &n, &e);

	switch (eg_keys_judge(&s->roots, p->ca_file, why, eg_now_ms())) {
	case EG_KEY_SEND_BACK:
		eg_info("provider '%s': its ca_file is fit again", p->name);
		break;
	case EG_KEY_SEND:
		break;
	case EG_KEY_KEEP_NEW:
		eg_warn("provider '%s': ca_file: %s; the last good roots stay in force for %u s, "
			"then it will not be trusted",
			p->name, e.text, EG_KEY_GRACE_MS / 1000);
		return eg_gateway_send(s, &keep, NULL, 0) ? 0 : -EPIPE;
	case EG_KEY_KEEP_OTHER:
		eg_warn("provider '%s': ca_file: %s; the last good roots still stay in force",
			p->name, e.text);
		return eg_gateway_send(s, &keep, NULL, 0) ? 0 : -EPIPE;
	case EG_KEY_KEEP:
		return eg_gateway_send(s, &keep, NULL, 0) ? 0 : -EPIPE;
	case EG_KEY_GONE:
		if (eg_renewal_would_lose(s, NULL, p->ca_file))
			return -EPIPE;
		eg_error("provider '%s' will not be trusted: its ca_file is not fit: %s", p->name,
			 e.text);
		n = 0;
		break;
	}
	r = eg_offer_memory(s, EG_WIRE_PROVIDER_TRUST, keep.number, (struct eg_str){pem, n});
	return r ? r : why ? 1 : 0;
}

static int send_trust(struct eg_supervisor *s, int dir)
{
	size_t count, missing = 0;
	const struct eg_provider *providers = eg_providers(s->loaded->set, &count);
	int r = 0;

	eg_keys_begin(&s->roots);
	for (size_t i = 0; r >= 0 && i < count; i++) {
		if (!providers[i].ca_file)
			continue;
		r = send_roots(s, dir, &providers[i]);
		missing += r == 1;
	}
	if (r < 0)
		return r;
	eg_keys_end(&s->roots);
	s->credentials.roots_missing = missing;
	return 0;
}

/* When the grace of the first that is kept is over, all is offered anew. */
static void await_grace(struct eg_supervisor *s)
{
	uint64_t now = eg_now_ms();
	uint64_t due = EG_MIN(eg_keys_due(&s->keys, now), eg_keys_due(&s->roots, now));

	if (due == UINT64_MAX)
		eg_timer_cancel(s->loop, &s->keys_timer);
	else if (eg_timer_set(s->loop, &s->keys_timer, due))
		eg_supervisor_fail(s, "out of memory");
}

int eg_offer_secrets(struct eg_supervisor *s)
{
	EG_CLEANUP_FD int dir = open(s->o->credentials_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (dir < 0)
		eg_error("--credentials-dir %s: %s", s->o->credentials_dir, strerror(errno));
	r = send_credentials(s, dir);
	if (!r)
		r = send_trust(s, dir);
	if (!r)
		await_grace(s);
	return r;
}

static void grace_over(struct eg_timer *t)
{
	eg_offer(eg_container_of(t, struct eg_supervisor, keys_timer));
}

void eg_offer_open(struct eg_supervisor *s)
{
	eg_timer_init(&s->keys_timer, grace_over);
}

void eg_offer_close(struct eg_supervisor *s)
{
	eg_timer_cancel(s->loop, &s->keys_timer);
	eg_keys_forget(&s->keys);
	eg_keys_forget(&s->roots);
}
