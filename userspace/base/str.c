/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

#include <stdlib.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

bool eg_str_istarts_letters(struct eg_str s, struct eg_str prefix)
{
	size_t i = 0;

	if (prefix.n >= 8) {
		for (; i + 8 < prefix.n; i += 8)
			if (eg_lower_word(s.p + i) != eg_lower_word(prefix.p + i))
				return false;
		/* The last eight, some of which may have been seen. */
		return eg_lower_word(s.p + prefix.n - 8) == eg_lower_word(prefix.p + prefix.n - 8);
	}
	for (; i < prefix.n; i++)
		if (s.p[i] != prefix.p[i] && lower(s.p[i]) != lower(prefix.p[i]))
			return false;
	return true;
}

bool eg_str_ends(struct eg_str s, struct eg_str suffix)
{
	return s.n >= suffix.n && (!suffix.n || !memcmp(s.p + s.n - suffix.n, suffix.p, suffix.n));
}

ssize_t eg_str_find(struct eg_str s, char c)
{
	const char *at = s.n ? memchr(s.p, c, s.n) : NULL;

	return at ? at - s.p : -1;
}

int eg_str_u64(struct eg_str s, uint64_t *out)
{
	uint64_t v = 0;

	if (!s.n)
		return -EINVAL;
	for (size_t i = 0; i < s.n; i++) {
		unsigned int d = (unsigned int)(s.p[i] - '0');

		if (d > 9)
			return -EINVAL;
		if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, d, &v))
			return -ERANGE;
	}
	*out = v;
	return 0;
}

bool eg_glob(struct eg_str pattern, struct eg_str s)
{
	size_t p = 0, i = 0, star = SIZE_MAX, from = 0;

	while (i < s.n) {
		if (p < pattern.n && pattern.p[p] == '*') {
			star = p++;
			from = i;
		} else if (p < pattern.n && (pattern.p[p] == '?' || pattern.p[p] == s.p[i])) {
			p++;
			i++;
		} else if (star != SIZE_MAX) {
			p = star + 1;
			i = ++from;
		} else {
			return false;
		}
	}
	while (p < pattern.n && pattern.p[p] == '*')
		p++;
	return p == pattern.n;
}

size_t eg_str_copy(char *out, size_t cap, struct eg_str s)
{
	size_t n = EG_MIN(s.n, cap - 1);

	if (n)
		memcpy(out, s.p, n);
	out[n] = '\0';
	return n;
}

size_t eg_decimal(char *out, uint64_t v)
{
	size_t n = 1;

	/* Multiplied, and not divided: the last product may be too large, and is not looked at. */
	for (uint64_t power = 10; n < EG_DECIMAL_MAX && v >= power; power *= 10)
		n++;
	for (size_t at = n; at--; v /= 10)
		out[at] = (char)('0' + v % 10);
	return n;
}

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t eg_now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t eg_now_ms(void)
{
	return clock_ns(CLOCK_MONOTONIC) / 1000000u;
}

uint64_t eg_cpu_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t eg_wall_ms(void)
{
	return clock_ns(CLOCK_REALTIME) / 1000000u;
}

void eg_fd_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

void eg_free_cleanup(void *pointer_to_pointer)
{
	void *p;

	memcpy(&p, pointer_to_pointer, sizeof(p));
	free(p);
}
