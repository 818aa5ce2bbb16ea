/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot in pieces, made whole at COMMIT or not at all. */
#include <stdio.h>
#include <stdlib.h>

#include "agent/channel.h"
#include "agent/gateway_impl.h"
#include "base/log.h"

static void fail(struct eg_staged *s, const char *what, int code)
{
	if (!*s->failure)
		snprintf(s->failure, sizeof(s->failure), "%s: %s", what, strerror(-code));
}

void eg_stage_fini(struct eg_staged *s)
{
	free(s->policy);
	free(s->pods);
	for (size_t i = 0; i < s->credential_count; i++)
		eg_credential_set_unref(s->credentials[i].read);
	free(s->credentials);
	for (size_t i = 0; i < s->trust_count; i++)
		eg_trust_unref(s->trust[i].roots);
	free(s->trust);
	*s = (struct eg_staged){.policy = NULL};
}

static void stage_memory(struct eg_staged *s, const char *what, const struct eg_message *m, int fd,
			 char **to, size_t *n)
{
	char *bytes = NULL;
	int r = m->value < 0 || m->value > (int64_t)EG_BUNDLE_BYTES
			? -EFBIG
			: eg_memory_read(fd, (size_t)m->value, &bytes);

	if (r) {
		fail(s, what, r);
		return;
	}
	free(*to);
	*to = bytes;
	*n = (size_t)m->value;
}

/* Read at once and closed by the caller: a generation may have more of them than this process may
 * have descriptors. memory -1: what is in force stays. */
static void stage_credential(struct eg_staged *s, uint32_t index, int memory)
{
	struct eg_staged_credential *place;

	if (index >= EG_STAGED_MAX) {
		fail(s, "credentials", -E2BIG);
		return;
	}
	if (index >= s->credential_count) {
		struct eg_staged_credential *grown =
			realloc(s->credentials, (index + 1) * sizeof(*grown));

		if (!grown) {
			fail(s, "credentials", -ENOMEM);
			return;
		}
		for (size_t i = s->credential_count; i <= index; i++)
			grown[i] = (struct eg_staged_credential){NULL, false};
		s->credentials = grown;
		s->credential_count = index + 1;
	}
	place = &s->credentials[index];
	eg_credential_set_unref(place->read);
	*place = (struct eg_staged_credential){NULL, memory < 0};
	if (memory >= 0 && eg_credential_set_create(&memory, 1, &place->read))
		fail(s, "credentials", -ENOMEM);
}

/* The place of a provider's roots; NULL: there is none, and the snapshot has failed. */
static struct eg_staged_trust *place_trust(struct eg_staged *s, uint32_t index)
{
	struct eg_staged_trust *grown;

	if (index >= EG_STAGED_MAX) {
		fail(s, "ca_file", -E2BIG);
		return NULL;
	}
	if (index < s->trust_count)
		return &s->trust[index];
	grown = realloc(s->trust, (index + 1) * sizeof(*grown));
	if (!grown) {
		fail(s, "ca_file", -ENOMEM);
		return NULL;
	}
	for (size_t i = s->trust_count; i <= index; i++)
		grown[i] = (struct eg_staged_trust){NULL, false};
	s->trust = grown;
	s->trust_count = index + 1;
	return &s->trust[index];
}

/* No bytes, or none that are roots, make a provider that is never trusted, not one that the
 * system's roots vouch for. The supervisor has said which, and why. */
static void stage_trust(struct eg_gateway *g, const struct eg_message *m, int fd)
{
	struct eg_staged_trust *place = place_trust(&g->staged, m->number);
	struct eg_trust *trust = NULL;
	struct eg_error e = {""};
	char *pem = NULL;
	size_t n = 0;

	if (!place)
		return;
	stage_memory(&g->staged, "ca_file", m, fd, &pem, &n);
	if (n)
		trust = eg_trust_create((struct eg_str){pem, n}, &e);
	if (n && !trust)
		eg_error("provider %u of the policy will not be trusted: %s", m->number, e.text);
	free(pem);
	eg_trust_unref(place->roots);
	*place = (struct eg_staged_trust){trust ? trust : eg_trust_ref(g->nobody), false};
}

static void stage_kept_trust(struct eg_staged *s, uint32_t index)
{
	struct eg_staged_trust *place = place_trust(s, index);

	if (place)
		place->keep = true;
}

void eg_stage_message(struct eg_gateway *g, const struct eg_message *m, int fds[EG_WIRE_FDS])
{
	struct eg_staged *s = &g->staged;

	if (m->type == EG_WIRE_POLICY)
		stage_memory(s, "policy", m, fds[0], &s->policy, &s->policy_bytes);
	else if (m->type == EG_WIRE_PODS)
		stage_memory(s, "pods", m, fds[0], &s->pods, &s->pods_bytes);
	else if (m->type == EG_WIRE_CREDENTIAL)
		stage_credential(s, m->number, fds[0]);
	else if (m->type == EG_WIRE_KEEP)
		stage_credential(s, m->number, -1);
	else if (m->type == EG_WIRE_PROVIDER_TRUST)
		stage_trust(g, m, fds[0]);
	else if (m->type == EG_WIRE_KEEP_TRUST)
		stage_kept_trust(s, m->number);
}

bool eg_stage_cut(struct eg_gateway *g, const struct eg_message *m)
{
	static const char *const what[EG_WIRE_TYPES] = {
		[EG_WIRE_POLICY] = "policy",
		[EG_WIRE_PODS] = "pods",
		[EG_WIRE_CREDENTIAL] = "credentials",
		[EG_WIRE_PROVIDER_TRUST] = "ca_file",
	};

	if (m->type >= EG_WIRE_TYPES || !what[m->type])
		return false;
	fail(&g->staged, what[m->type], -EMFILE);
	return true;
}

/* ---- commit ---- */

static int load_policy(struct eg_staged *s, struct eg_arena *a, struct eg_policy_set **set)
{
	struct eg_policy_errors errors = {.item = NULL};
	struct eg_policy_file *files;
	size_t count;
	int r = eg_bundle_get_policy(a, (struct eg_str){s->policy, s->policy_bytes}, &files,
				     &count);

	if (r) {
		fail(s, "policy", r);
		return r;
	}
	r = eg_policy_load(files, count, set, &errors);
	if (r)
		/* The supervisor compiled the same bytes: this is a defect, and is said as one. */
		snprintf(s->failure, sizeof(s->failure),
			 "the gateway does not compile the policy: %.200s",
			 errors.count ? errors.item[0].text : strerror(-r));
	eg_policy_errors_fini(&errors);
	return r;
}

static struct eg_pod_view *load_pods(struct eg_staged *s, struct eg_arena *a, size_t *count)
{
	struct eg_bundle_pod *pods;
	struct eg_pod_view *views;
	int r = eg_bundle_get_pods(a, (struct eg_str){s->pods, s->pods_bytes}, &pods, count);

	if (r) {
		fail(s, "pods", r);
		return NULL;
	}
	views = eg_arena_zalloc(a, (*count + 1) * sizeof(*views));
	if (!views) {
		fail(s, "pods", -ENOMEM);
		return NULL;
	}
	for (size_t i = 0; i < *count; i++) {
		views[i].identity = pods[i].identity;
		views[i].pod_id = pods[i].pod_id;
		views[i].address_count = pods[i].address_count;
		memcpy(views[i].address, pods[i].address, sizeof(pods[i].address));
	}
	return views;
}

/* The roots that are in force of this very file; the policy may have other indexes now. */
static struct eg_trust *kept_trust(const struct eg_snapshot *now, const struct eg_provider *p)
{
	const struct eg_provider *former;
	size_t count = 0;

	if (!now || !p->ca_file)
		return NULL;
	former = eg_providers(eg_snapshot_policies(now), &count);
	for (size_t i = 0; i < count; i++)
		if (former[i].ca_file && !strcmp(former[i].ca_file, p->ca_file))
			return eg_snapshot_trust(now, &former[i]);
	return NULL;
}

/* What came anew and is the same is the same roots: connections to providers are kept by them. */
static struct eg_trust *shared_trust(const struct eg_snapshot *now, const struct eg_provider *p,
				     struct eg_trust *roots)
{
	struct eg_trust *former = roots ? kept_trust(now, p) : NULL;

	return former && eg_trust_same(former, roots) ? former : roots;
}

/* By index of eg_providers(), as long as that is. */
static struct eg_trust **load_trust(struct eg_gateway *g, struct eg_arena *a,
				    struct eg_policy_set *set)
{
	struct eg_staged *s = &g->staged;
	const struct eg_provider *p;
	struct eg_trust **trust;
	size_t count;

	p = eg_providers(set, &count);
	trust = eg_arena_zalloc(a, (count + 1) * sizeof(struct eg_trust *));
	for (size_t i = 0; trust && i < EG_MIN(count, s->trust_count); i++) {
		trust[i] = s->trust[i].keep ? kept_trust(g->snapshot, &p[i])
					    : shared_trust(g->snapshot, &p[i], s->trust[i].roots);
		if (!s->trust[i].keep || trust[i])
			continue;
		eg_error("provider '%s': there are no roots to keep; it will not be trusted",
			 p[i].name);
		trust[i] = g->nobody;
	}
	return trust;
}

typedef bool (*take_fn)(struct eg_credential_set *s, size_t index,
			const struct eg_credential_set *former, size_t former_index);

/* The secret that is in force of this very file, taken over by keep or share; the policy may have
 * other indexes now. */
static bool take_former(const struct eg_snapshot *now, const struct eg_credential_spec *spec,
			struct eg_credential_set *into, take_fn take)
{
	const struct eg_credential_spec *former;
	size_t count = 0;

	if (!now || !spec->file)
		return false;
	former = eg_credentials(eg_snapshot_policies(now), &count);
	for (size_t i = 0; i < count; i++)
		if (former[i].file && !strcmp(former[i].file, spec->file) &&
		    take(into, spec->index, eg_snapshot_credentials(now), former[i].index))
			return true;
	return false;
}

/* Secrets by index of eg_credentials(): what did not come is empty, with a reason at the request.
 */
static int load_credentials(struct eg_gateway *g, struct eg_arena *a, struct eg_policy_set *set,
			    struct eg_credential_set **out)
{
	const struct eg_credential_spec *specs;
	struct eg_staged *s = &g->staged;
	size_t count;
	int *none, r;

	specs = eg_credentials(set, &count);
	none = eg_arena_alloc(a, (count + 1) * sizeof(*none));
	if (!none)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		none[i] = -1;
	r = eg_credential_set_create(none, count, out);
	for (size_t i = 0; !r && i < EG_MIN(count, s->credential_count); i++) {
		const struct eg_staged_credential *c = &s->credentials[i];

		if (c->read)
			eg_credential_set_put(*out, i, c->read);
		/* One that came anew and is the same is the same secret, with what is known of it
		 * (a spent quota). */
		if (!take_former(g->snapshot, &specs[i], *out,
				 c->keep ? eg_credential_set_keep : eg_credential_set_share) &&
		    c->keep)
			eg_error("credential '%s': there is no key to keep; requests that need it "
				 "will be refused (no_credential)",
				 specs[i].name);
	}
	return r;
}

static struct eg_snapshot *build(struct eg_gateway *g, uint32_t generation)
{
	struct eg_staged *s = &g->staged;
	struct eg_policy_set *set = NULL;
	struct eg_credential_set *credentials = NULL;
	struct eg_snapshot *snapshot = NULL;
	struct eg_trust **trust = NULL;
	struct eg_pod_view *pods;
	struct eg_arena a;
	size_t pod_count = 0;

	eg_arena_init(&a, 0);
	pods = load_pods(s, &a, &pod_count);
	if (pods && !load_policy(s, &a, &set)) {
		trust = load_trust(g, &a, set);
		if (!trust || load_credentials(g, &a, set, &credentials))
			fail(s, "snapshot", -ENOMEM);
	}
	if (credentials) {
		snapshot = eg_snapshot_create(generation, set, credentials, trust, pods, pod_count);
		if (!snapshot)
			fail(s, "snapshot", -ENOMEM);
	}
	if (!snapshot) {
		if (credentials)
			eg_credential_set_unref(credentials);
		if (set)
			eg_policy_set_unref(set);
	}
	eg_arena_fini(&a);
	return snapshot;
}

void eg_stage_commit(struct eg_gateway *g, uint32_t generation)
{
	struct eg_message answer = {.type = EG_WIRE_ACK, .number = generation};
	struct eg_snapshot *made = NULL;

	if (!*g->staged.failure && (!g->staged.policy || !g->staged.pods))
		fail(&g->staged, "snapshot", -EPROTO);
	if (!*g->staged.failure)
		made = build(g, generation);
	if (!made) {
		answer.type = EG_WIRE_NACK;
		memcpy(answer.u.text, g->staged.failure, sizeof(answer.u.text));
		eg_stage_fini(&g->staged);
		eg_gateway_say(&answer);
		return;
	}
	eg_stage_fini(&g->staged);
	for (uint32_t i = 0; i < g->config.worker_count; i++)
		eg_worker_publish(g->workers[i].worker, made);
	if (g->snapshot)
		eg_snapshot_unref(g->snapshot);
	g->snapshot = made;
	/* First the answer: addresses are only taken for names that are in force. */
	eg_gateway_say(&answer);
	eg_names_follow(g->names, eg_snapshot_policies(made));
}
