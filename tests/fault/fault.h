/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults on demand, for one thread. The linker sends our code's calls here (mk/fault.mk, --wrap).
 *
 *   fault_arm(i)     the i-th allocation from now fails, and so do all after it
 *   fault_arm_one(i) only the i-th fails
 *   fault_disarm()   none does; true when one had
 *   fault_trickle(n) reads and writes move at most n bytes, every third is EINTR; 0: as usual
 *   fault_each(run)  runs it with the 1st, 2nd, ... allocation failing until none did
 *
 * Include it in the one source file of a fault test, after cmocka's headers.
 */
#ifndef EGRET_TESTS_FAULT_FAULT_H
#define EGRET_TESTS_FAULT_FAULT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base.h"

static unsigned long fault_count, fault_at;
static bool fault_only_one, fault_tripped;
static size_t fault_step;
static unsigned long fault_calls;

static inline void fault_arm(unsigned long i)
{
	fault_count = 0;
	fault_at = i;
	fault_only_one = fault_tripped = false;
}

static inline void fault_arm_one(unsigned long i)
{
	fault_arm(i);
	fault_only_one = true;
}

static inline bool fault_disarm(void)
{
	fault_at = 0;
	return fault_tripped;
}

static inline void fault_trickle(size_t n)
{
	fault_step = n;
	fault_calls = 0;
}

static bool fault_now(void)
{
	bool now;

	if (!fault_at)
		return false;
	fault_count++;
	now = fault_only_one ? fault_count == fault_at : fault_count >= fault_at;
	if (now) {
		fault_tripped = true;
		errno = ENOMEM;
	}
	return now;
}

/*
 * `run` must leave nothing behind, whatever fails in it, and return 0 when nothing did; it asserts
 * itself that a failure was told as its contract says. Both ways of failing are tried.
 */
static inline void fault_each(int (*run)(void))
{
	for (int only_one = 0; only_one < 2; only_one++) {
		unsigned long i = 0;
		bool tripped;
		int r;

		do {
			assert_true(++i < 100000);
			fault_arm(i);
			fault_only_one = only_one;
			r = run();
			tripped = fault_disarm();
			if (!tripped)
				assert_int_equal(r, 0);
		} while (tripped);
		assert_true(i > 1); /* or there was nothing to fail */
	}
}

#define FAULT_REAL(type, name, ...)      \
	type __real_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__)

FAULT_REAL(void *, malloc, size_t n)
{
	return fault_now() ? NULL : __real_malloc(n);
}

FAULT_REAL(void *, calloc, size_t n, size_t size)
{
	return fault_now() ? NULL : __real_calloc(n, size);
}

FAULT_REAL(void *, realloc, void *p, size_t n)
{
	return fault_now() ? NULL : __real_realloc(p, n);
}

FAULT_REAL(char *, strdup, const char *s)
{
	return fault_now() ? NULL : __real_strdup(s);
}

FAULT_REAL(char *, strndup, const char *s, size_t n)
{
	return fault_now() ? NULL : __real_strndup(s, n);
}

FAULT_REAL(void *, mmap, void *at, size_t n, int protection, int flags, int fd, off_t offset)
{
	return fault_now() ? MAP_FAILED : __real_mmap(at, n, protection, flags, fd, offset);
}

/* How much of n may move now; 0: EINTR instead. */
static size_t fault_cut(size_t n)
{
	if (!fault_step || !n)
		return n;
	if (++fault_calls % 3 == 0) {
		errno = EINTR;
		return 0;
	}
	return EG_MIN(n, fault_step);
}

#define FAULT_CUT(n, call)                         \
	do {                                       \
		size_t cut_ = fault_cut(n);        \
		return (n) && !cut_ ? -1 : (call); \
	} while (0)

FAULT_REAL(ssize_t, read, int fd, void *p, size_t n)
{
	FAULT_CUT(n, __real_read(fd, p, cut_));
}

FAULT_REAL(ssize_t, write, int fd, const void *p, size_t n)
{
	FAULT_CUT(n, __real_write(fd, p, cut_));
}

FAULT_REAL(ssize_t, pread, int fd, void *p, size_t n, off_t offset)
{
	FAULT_CUT(n, __real_pread(fd, p, cut_, offset));
}

FAULT_REAL(ssize_t, recv, int fd, void *p, size_t n, int flags)
{
	FAULT_CUT(n, __real_recv(fd, p, cut_, flags));
}

FAULT_REAL(ssize_t, send, int fd, const void *p, size_t n, int flags)
{
	FAULT_CUT(n, __real_send(fd, p, cut_, flags));
}

#endif
