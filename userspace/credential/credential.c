/* SPDX-License-Identifier: Apache-2.0 */
#include "credential/credential.h"

#include <stdatomic.h>
#include <stdlib.h>

struct entry {
	struct eg_secret *secret; /* NULL: none, and `why` says so */
	const char *why;
};

struct eg_credential_set {
	atomic_uint refs;
	size_t count;
	struct entry entries[];
};

bool eg_credential_valid(struct eg_str secret)
{
	const uint64_t ones = 0x0101010101010101u;
	uint64_t w;
	size_t i = 0;

	if (!secret.n || secret.n > EG_CREDENTIAL_MAX_BYTES)
		return false;
	/* Visible ASCII only: a CR or LF would end the header line, a space would end a token.
	 * Asked again of each request's: eight bytes at once. */
	for (; i + 8 <= secret.n; i += 8) {
		memcpy(&w, secret.p + i, sizeof(w));
		if (((w - ones * 0x21) | (w + ones) | w) & ones * 0x80)
			return false;
	}
	for (; i < secret.n; i++)
		if (secret.p[i] < 0x21 || secret.p[i] > 0x7e)
			return false;
	return true;
}

static void load(struct entry *e, int memfd)
{
	struct eg_secret *secret = NULL;
	int r;

	if (memfd < 0) {
		e->why = "its file is missing or could not be read";
		return;
	}
	r = eg_secret_read_fd(memfd, EG_CREDENTIAL_MAX_BYTES, &secret);
	if (r == -ENODATA)
		e->why = "its file is empty";
	else if (r == -EFBIG)
		e->why = "its file is larger than 8 KiB";
	else if (r)
		e->why = "its memory could not be read";
	else if (!eg_credential_valid(eg_secret_bytes(secret)))
		e->why = "its file has a space, line break or another byte that no header may have";
	if (e->why && !r)
		eg_secret_unref(secret);
	else if (!r)
		e->secret = secret;
}

int eg_credential_set_create(const int *memfds, size_t count, struct eg_credential_set **out)
{
	struct eg_credential_set *s = calloc(1, sizeof(*s) + count * sizeof(s->entries[0]));

	if (!s)
		return -ENOMEM;
	atomic_init(&s->refs, 1);
	s->count = count;
	for (size_t i = 0; i < count; i++)
		load(&s->entries[i], memfds[i]);
	*out = s;
	return 0;
}

static struct eg_secret *secret_at(const struct eg_credential_set *s, size_t index)
{
	return index < s->count ? s->entries[index].secret : NULL;
}

bool eg_credential_set_keep(struct eg_credential_set *s, size_t index,
			    const struct eg_credential_set *former, size_t former_index)
{
	struct eg_secret *old = secret_at(former, former_index);

	if (index >= s->count)
		return false;
	if (!s->entries[index].secret && old)
		s->entries[index] = (struct entry){.secret = eg_secret_ref(old)};
	return s->entries[index].secret != NULL;
}

bool eg_credential_set_share(struct eg_credential_set *s, size_t index,
			     const struct eg_credential_set *former, size_t former_index)
{
	struct eg_secret *old = secret_at(former, former_index), *now = secret_at(s, index);
	struct eg_str bytes;

	if (!old || !now)
		return false;
	bytes = eg_secret_bytes(now);
	if (!eg_secret_equal(old, bytes.p, bytes.n))
		return false;
	s->entries[index].secret = eg_secret_ref(old);
	eg_secret_unref(now);
	return true;
}

void eg_credential_set_put(struct eg_credential_set *s, size_t index,
			   const struct eg_credential_set *one)
{
	struct eg_secret *secret = secret_at(one, 0);

	if (index >= s->count || !one->count)
		return;
	eg_secret_unref(s->entries[index].secret);
	s->entries[index] = (struct entry){.secret = secret ? eg_secret_ref(secret) : NULL,
					   .why = one->entries[0].why};
}

struct eg_credential_set *eg_credential_set_ref(struct eg_credential_set *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

void eg_credential_set_unref(struct eg_credential_set *s)
{
	if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < s->count; i++)
		eg_secret_unref(s->entries[i].secret);
	free(s);
}

const struct eg_secret *eg_credential_set_get(const struct eg_credential_set *s, size_t index,
					      const char **why)
{
	const char *text = index < s->count ? s->entries[index].why : "it is not in this set";

	if (why)
		*why = text;
	return index < s->count ? s->entries[index].secret : NULL;
}

static int append_all(struct eg_buf *b, const struct eg_str *parts, size_t count)
{
	size_t total = 0, room;

	for (size_t i = 0; i < count; i++)
		total += parts[i].n;
	/* Room for all of it first, so that a failure leaves no half of a header. */
	if (!eg_buf_reserve(b, total, &room))
		return -errno;
	if (room < total)
		return -ENOBUFS;
	for (size_t i = 0; i < count; i++) {
		int r = eg_buf_append_str(b, parts[i]);

		if (r)
			return r;
	}
	return 0;
}

int eg_credential_write(struct eg_buf *secret_buf, const struct eg_credential_spec *spec,
			const struct eg_secret *secret)
{
	struct eg_str parts[4], name = EG_STR("Authorization: "), scheme = EG_STR("Bearer ");

	if (spec->type == EG_CREDENTIAL_NONE)
		return 0;
	if (!secret_buf->secret)
		return -EINVAL;
	if (!secret)
		return -ENOKEY;
	parts[2] = eg_secret_bytes(secret);
	if (!eg_credential_valid(parts[2]))
		return -EINVAL;
	parts[3] = EG_STR("\r\n");
	if (spec->type == EG_CREDENTIAL_HEADER) {
		name = eg_str_from(spec->header);
		scheme = EG_STR(": ");
	}
	parts[0] = name;
	parts[1] = scheme;
	return append_all(secret_buf, parts, EG_ARRAY_SIZE(parts));
}

bool eg_secret_found_in(const struct eg_secret *secret, struct eg_str bytes)
{
	return eg_secret_bytes(secret).n >= EG_CREDENTIAL_SEARCH_MIN && eg_secret_in(secret, bytes);
}

size_t eg_secret_at(const struct eg_secret *secret, struct eg_str bytes)
{
	struct eg_str s = eg_secret_bytes(secret);
	const char *at =
		eg_secret_found_in(secret, bytes) ? memmem(bytes.p, bytes.n, s.p, s.n) : NULL;

	return at ? (size_t)(at - bytes.p) : bytes.n;
}

size_t eg_secret_begun_in(const struct eg_secret *secret, struct eg_str bytes)
{
	struct eg_str s = eg_secret_bytes(secret);
	size_t n = s.n < EG_CREDENTIAL_SEARCH_MIN ? 0 : EG_MIN(s.n - 1, bytes.n);
	const char *end = bytes.p + bytes.n, *at = n ? end - n : NULL;

	for (; n && (at = memchr(at, *s.p, n)); at++, n = (size_t)(end - at)) {
		n = (size_t)(end - at);
		if (!memcmp(at, s.p, n))
			return n;
	}
	return 0;
}
