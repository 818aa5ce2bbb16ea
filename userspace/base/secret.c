/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret.h"

#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

struct eg_secret {
	size_t map_bytes;
	size_t n;
	uint64_t serial;
	atomic_uint refs;
	unsigned char skip[256]; /* make_table() */
	char bytes[];
};

#define SOUGHT_MAX 250u /* of its bytes, by the table */

void eg_wipe(void *p, size_t n)
{
	explicit_bzero(p, n);
}

static struct eg_secret *map_secret(size_t n)
{
	static atomic_uint_fast64_t serials;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t bytes = (sizeof(struct eg_secret) + n + page - 1) / page * page;
	struct eg_secret *s =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (s == MAP_FAILED)
		return NULL;
	/* Best effort: an unprivileged process may lock little memory; swap is off on most nodes.
	 */
	(void)mlock(s, bytes);
	(void)madvise(s, bytes, MADV_DONTDUMP);
	(void)madvise(s, bytes, MADV_WIPEONFORK);
	s->map_bytes = bytes;
	s->n = n;
	s->serial = atomic_fetch_add_explicit(&serials, 1, memory_order_relaxed) + 1;
	atomic_init(&s->refs, 1);
	return s;
}

/* Of the two bytes that end at `p`. */
static unsigned char pair(const unsigned char *p)
{
	return (unsigned char)(p[0] - (p[-1] << 3));
}

/* For each pair the place of its last occurrence, by which a search moves on (Horspool); 0: none.
 */
static void make_table(struct eg_secret *s)
{
	const unsigned char *bytes = (const unsigned char *)s->bytes;

	for (size_t i = 1; i < EG_MIN(s->n, (size_t)SOUGHT_MAX); i++)
		s->skip[pair(bytes + i)] = (unsigned char)i;
}

bool eg_secret_in(const struct eg_secret *s, struct eg_str text)
{
	const unsigned char *at = (const unsigned char *)text.p, *end = at + text.n;
	size_t last = EG_MIN(s->n, (size_t)SOUGHT_MAX) - 1;

	if (s->n < 2)
		return text.n && memchr(text.p, s->bytes[0], text.n);
	while ((size_t)(end - at) >= s->n) {
		size_t place = s->skip[pair(at + last)];

		/* Mostly; a way of its own, by which the CPU goes on before it knows. */
		if (!place) {
			at += last;
			continue;
		}
		if (place != last) {
			at += last - place;
			continue;
		}
		if (!memcmp(at, s->bytes, s->n))
			return true;
		at++;
	}
	return false;
}

struct eg_secret *eg_secret_create(const void *bytes, size_t n)
{
	struct eg_secret *s = n ? map_secret(n) : NULL;

	if (s) {
		memcpy(s->bytes, bytes, n);
		make_table(s);
	}
	return s;
}

int eg_secret_read_fd(int fd, size_t max_bytes, struct eg_secret **out)
{
	size_t room = max_bytes + EG_SECRET_TAIL, n = 0;
	struct eg_secret *s = map_secret(room);
	int r = 0;

	if (!s)
		return -ENOMEM;
	while (n < room) {
		ssize_t got = pread(fd, s->bytes + n, room - n, (off_t)n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			r = -errno;
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	if (!r && n == room)
		r = -EFBIG;
	while (n && (s->bytes[n - 1] == '\n' || s->bytes[n - 1] == '\r' || s->bytes[n - 1] == ' ' ||
		     s->bytes[n - 1] == '\t'))
		n--;
	if (!r && n > max_bytes)
		r = -EFBIG;
	if (!r && !n)
		r = -ENODATA;
	s->n = n;
	if (!r)
		make_table(s);
	if (r)
		eg_secret_unref(s);
	else
		*out = s;
	return r;
}

struct eg_secret *eg_secret_ref(struct eg_secret *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

void eg_secret_unref(struct eg_secret *s)
{
	size_t bytes;

	if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return;
	bytes = s->map_bytes;
	eg_wipe(s, bytes);
	munmap(s, bytes);
}

uint64_t eg_secret_serial(const struct eg_secret *s)
{
	return s->serial;
}

struct eg_str eg_secret_bytes(const struct eg_secret *s)
{
	return (struct eg_str){s->bytes, s->n};
}

bool eg_secret_equal(const struct eg_secret *a, const void *bytes, size_t n)
{
	const unsigned char *x = (const unsigned char *)a->bytes, *y = bytes;
	unsigned char d = 0;

	if (n != a->n)
		return false;
	for (size_t i = 0; i < n; i++)
		d |= (unsigned char)(x[i] ^ y[i]);
	return !d;
}
