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

#define CA_FILE_BYTES ((size_t)1 << 20)

/* 1: its key is missing; 0; or -EPIPE. */
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
	uint64_t due;
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
	due = eg_keys_due(&s->keys, eg_now_ms());
	if (due == UINT64_MAX)
		eg_timer_cancel(s->loop, &s->keys_timer);
	else if (eg_timer_set(s->loop, &s->keys_timer, due))
		eg_supervisor_fail(s, "out of memory");
	return 0;
}

/*
 * Roots of a provider's own. When its file can't be read, it must not fall back to the system's:
 * an empty message makes the gateway trust nobody for it.
 */
static int send_trust(struct eg_supervisor *s, int dir)
{
	size_t count;
	const struct eg_provider *providers = eg_providers(s->loaded->set, &count);
	int r = 0;

	for (size_t i = 0; !r && i < count; i++) {
		EG_CLEANUP_FREE char *pem = NULL;
		struct eg_error e = {""};
		size_t n = 0;

		if (!providers[i].ca_file)
			continue;
		if (eg_file_read(dir, providers[i].ca_file, CA_FILE_BYTES, &pem, &n, &e)) {
			eg_error("provider '%s' will not be trusted: its ca_file can't be read: %s",
				 providers[i].name, e.text);
			n = 0;
		}
		r = eg_offer_memory(s, EG_WIRE_PROVIDER_TRUST, (uint32_t)i,
				    (struct eg_str){pem, n});
	}
	return r;
}

int eg_offer_secrets(struct eg_supervisor *s)
{
	EG_CLEANUP_FD int dir = open(s->o->credentials_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (dir < 0)
		eg_error("--credentials-dir %s: %s", s->o->credentials_dir, strerror(errno));
	r = send_credentials(s, dir);
	return r ? r : send_trust(s, dir);
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
}
