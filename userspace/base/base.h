/* SPDX-License-Identifier: Apache-2.0 */
/* What every room uses: attributes, containers, progress of I/O, strings with a length. */
#ifndef EGRET_BASE_BASE_H
#define EGRET_BASE_BASE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include "egret/abi/reasons.h"

#define EG_MUST		 __attribute__((warn_unused_result))
#define EG_PRINTF(f, a)	 __attribute__((format(printf, f, a)))
#define EG_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define EG_MIN(a, b)	 ((a) < (b) ? (a) : (b))
#define EG_MAX(a, b)	 ((a) > (b) ? (a) : (b))
#define eg_container_of(pointer, type, member) \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* Progress of one step of I/O or of an incremental parser. */
enum eg_io {
	EG_IO_DONE,  /* the step is complete */
	EG_IO_AGAIN, /* needs more input, or room for output: come back */
	EG_IO_EOF,   /* the other side ended in order */
	EG_IO_FAIL,  /* broken for good */
};

/* Borrowed bytes, not NUL-terminated. A NULL pointer with length 0 is the empty string. */
struct eg_str {
	const char *p;
	size_t n;
};

#define EG_STR(literal) ((struct eg_str){(literal), sizeof(literal) - 1})
/* printf("%.*s", EG_STR_ARG(s)) */
#define EG_STR_ARG(s) (int)(s).n, (s).p

static inline struct eg_str eg_str_from(const char *c)
{
	return (struct eg_str){c, c ? strlen(c) : 0};
}

/* In place, since one side is mostly a literal: then it is a comparison of lengths, and of words.
 */
static inline bool eg_str_eq(struct eg_str a, struct eg_str b)
{
	return a.n == b.n && (!b.n || !memcmp(a.p, b.p, b.n));
}
static inline bool eg_str_starts(struct eg_str s, struct eg_str prefix)
{
	return s.n >= prefix.n && (!prefix.n || !memcmp(s.p, prefix.p, prefix.n));
}
/* Eight bytes at once in lower case: 0x20 is added to what is a capital letter of ASCII. */
static inline uint64_t eg_lower_word(const char *p)
{
	const uint64_t ones = 0x0101010101010101u;
	uint64_t w, low, capital;

	memcpy(&w, p, sizeof(w));
	low = w & ones * 0x7f;
	capital = (low + ones * (0x80 - 'A')) & ~(low + ones * (0x7f - 'Z')) & ~w & ones * 0x80;
	return w | capital >> 2;
}
/* The rest of eg_str_istarts(), for prefixes with something in them that s is long enough for. */
bool eg_str_istarts_letters(struct eg_str s, struct eg_str prefix);
/* ASCII case-insensitive. In place as far as the first letter: each header field's name is compared
 * with many, and nearly all differ there. */
static inline bool eg_str_istarts(struct eg_str s, struct eg_str prefix)
{
	if (!prefix.n || s.n < prefix.n)
		return !prefix.n;
	/* The same letter in either case has the same other bits. */
	return !((s.p[0] ^ prefix.p[0]) & ~0x20) && eg_str_istarts_letters(s, prefix);
}
static inline bool eg_str_ieq(struct eg_str a, struct eg_str b)
{
	return a.n == b.n && eg_str_istarts(a, b);
}
bool eg_str_ends(struct eg_str s, struct eg_str suffix);
/* Index of c, or -1. */
ssize_t eg_str_find(struct eg_str s, char c);
/* Removes SP and HTAB at both ends. */
static inline struct eg_str eg_str_trim(struct eg_str s)
{
	for (; s.n && (s.p[0] == ' ' || s.p[0] == '\t'); s.n--)
		s.p++;
	while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}
/* Decimal digits only, no sign, no white space. 0 or -EINVAL (empty, other characters) or -ERANGE.
 */
int eg_str_u64(struct eg_str s, uint64_t *out) EG_MUST;
/* Glob with `*` (any run, also empty) and `?` (one byte); all else literal. At most
 * pattern.n * s.n steps. */
bool eg_glob(struct eg_str pattern, struct eg_str s);
/* Copies with NUL, cut to cap - 1; returns the length copied. */
size_t eg_str_copy(char *out, size_t cap, struct eg_str s);
#define EG_DECIMAL_MAX 20 /* digits of UINT64_MAX */
/* The digits of v, without NUL, EG_DECIMAL_MAX at most; how many. For who writes numbers often. */
size_t eg_decimal(char *out, uint64_t v);

/* Text of a reason for labels and people; never NULL ("unknown" for a hole in the table). */
const char *eg_reason_label(enum eg_reason r);
const char *eg_reason_text(enum eg_reason r);
/* HTTP status a denial is answered with; 0 where it never answers HTTP. */
unsigned int eg_reason_status(enum eg_reason r);

/* CLOCK_MONOTONIC and CLOCK_REALTIME, in the unit of the name. */
uint64_t eg_now_ns(void);
uint64_t eg_now_ms(void);
uint64_t eg_wall_ms(void);
/* What this thread has worked since it began. A system call, as the others are not. */
uint64_t eg_cpu_ns(void);

/* Closes *fd unless it is -1, keeps errno, and sets it to -1. */
void eg_fd_close(int *fd);
#define EG_CLEANUP_FD __attribute__((cleanup(eg_fd_close)))
/* Hands the descriptor over: returns it and sets *fd to -1. */
static inline int eg_fd_take(int *fd)
{
	int f = *fd;

	*fd = -1;
	return f;
}
void eg_free_cleanup(void *pointer_to_pointer);
#define EG_CLEANUP_FREE __attribute__((cleanup(eg_free_cleanup)))

/* ---- intrusive doubly linked list ---- */
struct eg_list {
	struct eg_list *prev, *next;
};

static inline void eg_list_init(struct eg_list *l)
{
	l->prev = l->next = l;
}
static inline bool eg_list_empty(const struct eg_list *l)
{
	return l->next == l;
}
static inline void eg_list_append(struct eg_list *head, struct eg_list *e)
{
	e->prev = head->prev;
	e->next = head;
	head->prev->next = e;
	head->prev = e;
}
static inline void eg_list_prepend(struct eg_list *head, struct eg_list *e)
{
	eg_list_append(head->next, e);
}
/* Safe on an element that was initialised and is in no list. */
static inline void eg_list_remove(struct eg_list *e)
{
	e->prev->next = e->next;
	e->next->prev = e->prev;
	eg_list_init(e);
}
#define eg_list_for_each(it, head) for ((it) = (head)->next; (it) != (head); (it) = (it)->next)
#define eg_list_for_each_safe(it, tmp, head)                          \
	for ((it) = (head)->next, (tmp) = (it)->next; (it) != (head); \
	     (it) = (tmp), (tmp) = (it)->next)

#endif
