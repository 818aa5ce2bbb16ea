/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A secret: a credential or key. There is no function that prints one. The bytes lie in locked
 * memory that is left out of core dumps (madvise MADV_DONTDUMP) and of children
 * (MADV_WIPEONFORK), and are wiped before they are given back.
 */
#ifndef EGRET_BASE_SECRET_H
#define EGRET_BASE_SECRET_H

#include "base/base.h"

struct eg_secret;

/* Overwrites; never optimised away. */
void eg_wipe(void *p, size_t n);
/* A copy of the bytes, reference count 1. NULL: out of memory, or n is 0. */
struct eg_secret *eg_secret_create(const void *bytes, size_t n) EG_MUST;
/* White space that may follow a secret of max_bytes: editors and `echo` add some. */
#define EG_SECRET_TAIL 64u
/* Reads a whole file or memfd, white space at the end removed. 0, -errno, -ENODATA when empty,
 * -EFBIG. */
int eg_secret_read_fd(int fd, size_t max_bytes, struct eg_secret **out) EG_MUST;
/* Atomic counts: a secret may be shared between threads; its bytes never change. */
struct eg_secret *eg_secret_ref(struct eg_secret *s);
void eg_secret_unref(struct eg_secret *s);
/* Of no other secret that this process ever had, and never 0. For telling one from the next. */
uint64_t eg_secret_serial(const struct eg_secret *s);
/* Borrowed; valid while a reference is held. Only for writing into an upstream head. */
struct eg_str eg_secret_bytes(const struct eg_secret *s);
/* Does it stand in the text? What a search would compute of the secret each time is kept with it.
 */
bool eg_secret_in(const struct eg_secret *s, struct eg_str text);
/* Constant time in the content. */
bool eg_secret_equal(const struct eg_secret *a, const void *bytes, size_t n);

#endif
