/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/bundle.h"

#define MAGIC_POLICY 0x45675046u
#define MAGIC_PODS   0x45675044u

/* What of an identity is not known. */
#define LABELS_UNKNOWN		 (1u << 0)
#define SERVICE_ACCOUNT_UNKNOWN	 (1u << 1)
#define NAMESPACE_LABELS_UNKNOWN (1u << 2)

static int put_u32(struct eg_buf *out, size_t v)
{
	uint32_t n = (uint32_t)v;

	return v > UINT32_MAX ? -EFBIG : eg_buf_append(out, &n, sizeof(n));
}

/* With a NUL after it, so that a reader may use it as a C string. */
static int put_string(struct eg_buf *out, struct eg_str s)
{
	int r = put_u32(out, s.n);

	if (!r && s.n)
		r = eg_buf_append(out, s.p, s.n);
	return r ? r : eg_buf_append(out, "", 1);
}

int eg_bundle_put_policy(struct eg_buf *out, const struct eg_policy_file *files, size_t count)
{
	int r = put_u32(out, MAGIC_POLICY);

	if (!r)
		r = put_u32(out, count);
	for (size_t i = 0; !r && i < count; i++) {
		r = put_string(out, files[i].name);
		if (!r)
			r = put_string(out, files[i].text);
	}
	return r;
}

static int put_labels(struct eg_buf *out, const struct eg_label *labels, size_t count)
{
	int r = put_u32(out, count);

	for (size_t i = 0; !r && i < count; i++) {
		r = put_string(out, eg_str_from(labels[i].key));
		if (!r)
			r = put_string(out, eg_str_from(labels[i].value));
	}
	return r;
}

static int put_pod(struct eg_buf *out, const struct eg_bundle_pod *pod)
{
	const struct eg_identity *id = &pod->identity;
	const char *const strings[] = {id->namespace_name, id->name, id->uid, id->service_account};
	int r = put_u32(out, pod->pod_id);

	if (!r)
		r = put_u32(out, pod->address_count);
	if (!r)
		r = eg_buf_append(out, pod->address, sizeof(pod->address));
	for (size_t i = 0; !r && i < EG_ARRAY_SIZE(strings); i++)
		r = put_string(out, eg_str_from(strings[i]));
	if (!r)
		r = put_u32(out,
			    (id->labels_unknown ? LABELS_UNKNOWN : 0u) |
				    (id->service_account_unknown ? SERVICE_ACCOUNT_UNKNOWN : 0u) |
				    (id->namespace_labels_unknown ? NAMESPACE_LABELS_UNKNOWN : 0u));
	if (!r)
		r = put_labels(out, id->labels, id->label_count);
	return r ? r : put_labels(out, id->namespace_labels, id->namespace_label_count);
}

int eg_bundle_put_pods(struct eg_buf *out, const struct eg_bundle_pod *pods, size_t count)
{
	int r = put_u32(out, MAGIC_PODS);

	if (!r)
		r = put_u32(out, count);
	for (size_t i = 0; !r && i < count; i++)
		r = put_pod(out, &pods[i]);
	return r;
}

/* ---- reading: every take checks what is left ---- */

static bool take(struct eg_str *in, void *to, size_t n)
{
	if (in->n < n)
		return false;
	memcpy(to, in->p, n);
	in->p += n;
	in->n -= n;
	return true;
}

static bool take_string(struct eg_str *in, struct eg_str *out)
{
	uint32_t n;

	if (!take(in, &n, sizeof(n)) || in->n <= n || in->p[n] != '\0')
		return false;
	*out = (struct eg_str){in->p, n};
	in->p += (size_t)n + 1;
	in->n -= (size_t)n + 1;
	return true;
}

static bool take_c_string(struct eg_str *in, const char **out)
{
	struct eg_str s;

	if (!take_string(in, &s) || memchr(s.p, '\0', s.n))
		return false;
	*out = s.p;
	return true;
}

/* A count of elements that take at least `least` bytes each: bounded by what is left. */
static bool take_count(struct eg_str *in, size_t least, uint32_t *n)
{
	return take(in, n, sizeof(*n)) && *n <= in->n / least;
}

static bool take_magic(struct eg_str *in, uint32_t want)
{
	uint32_t magic;

	return take(in, &magic, sizeof(magic)) && magic == want;
}

int eg_bundle_get_policy(struct eg_arena *a, struct eg_str in, struct eg_policy_file **files,
			 size_t *count)
{
	struct eg_policy_file *f;
	uint32_t n;

	if (!take_magic(&in, MAGIC_POLICY) || !take_count(&in, 10, &n))
		return -EPROTO;
	f = eg_arena_zalloc(a, (n + 1) * sizeof(*f));
	if (!f)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		if (!take_string(&in, &f[i].name) || !take_string(&in, &f[i].text))
			return -EPROTO;
	if (in.n)
		return -EPROTO;
	*files = f;
	*count = n;
	return 0;
}

static int take_labels(struct eg_arena *a, struct eg_str *in, const struct eg_label **out,
		       size_t *count)
{
	struct eg_label *labels;
	uint32_t n;

	if (!take_count(in, 10, &n))
		return -EPROTO;
	labels = eg_arena_zalloc(a, (n + 1) * sizeof(*labels));
	if (!labels)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		if (!take_c_string(in, &labels[i].key) || !take_c_string(in, &labels[i].value))
			return -EPROTO;
	*out = labels;
	*count = n;
	return 0;
}

static int take_pod(struct eg_arena *a, struct eg_str *in, struct eg_bundle_pod *pod)
{
	struct eg_identity *id = &pod->identity;
	uint32_t unknown;
	int r;

	if (!take(in, &pod->pod_id, sizeof(pod->pod_id)) ||
	    !take(in, &pod->address_count, sizeof(pod->address_count)) ||
	    pod->address_count > EG_POD_ADDRESSES || !take(in, pod->address, sizeof(pod->address)))
		return -EPROTO;
	if (!take_c_string(in, &id->namespace_name) || !take_c_string(in, &id->name) ||
	    !take_c_string(in, &id->uid) || !take_c_string(in, &id->service_account) ||
	    !take(in, &unknown, sizeof(unknown)))
		return -EPROTO;
	id->labels_unknown = unknown & LABELS_UNKNOWN;
	id->service_account_unknown = unknown & SERVICE_ACCOUNT_UNKNOWN;
	id->namespace_labels_unknown = unknown & NAMESPACE_LABELS_UNKNOWN;
	r = take_labels(a, in, &id->labels, &id->label_count);
	return r ? r : take_labels(a, in, &id->namespace_labels, &id->namespace_label_count);
}

int eg_bundle_get_pods(struct eg_arena *a, struct eg_str in, struct eg_bundle_pod **pods,
		       size_t *count)
{
	struct eg_bundle_pod *p;
	uint32_t n;

	if (!take_magic(&in, MAGIC_PODS) || !take_count(&in, 40 + sizeof(p->address), &n))
		return -EPROTO;
	p = eg_arena_zalloc(a, (n + 1) * sizeof(*p));
	if (!p)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		int r = take_pod(a, &in, &p[i]);

		if (r)
			return r;
	}
	if (in.n)
		return -EPROTO;
	*pods = p;
	*count = n;
	return 0;
}
