/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An arena: memory of one exchange (or one parse), freed at one place. Has a byte budget; NULL
 * when it is spent or malloc fails, which fails that exchange and never the process.
 * Secrets never go into an arena (base/secret.h). One thread.
 */
#ifndef EGRET_BASE_ARENA_H
#define EGRET_BASE_ARENA_H

#include "base/base.h"

struct eg_arena_block;

struct eg_arena {
	struct eg_arena_block *blocks;
	char *at, *end;	     /* free part of the newest block */
	size_t budget_bytes; /* 0: no limit */
	size_t used_bytes;   /* what malloc gave */
	size_t block_bytes;  /* size of the next ordinary block */
};

/* No allocation happens before the first eg_arena_alloc(). */
void eg_arena_init(struct eg_arena *a, size_t budget_bytes);
/* Frees everything; the arena can be used again. */
void eg_arena_fini(struct eg_arena *a);
/* Likewise, but what it takes first is kept for the next use; what was in it is not overwritten. */
void eg_arena_reset(struct eg_arena *a);
/* 16-byte aligned, not zeroed. NULL on -ENOMEM or a spent budget. */
void *eg_arena_alloc(struct eg_arena *a, size_t bytes) EG_MUST;
void *eg_arena_zalloc(struct eg_arena *a, size_t bytes) EG_MUST;
/* A NUL-terminated copy; NULL as above. */
char *eg_arena_dup(struct eg_arena *a, struct eg_str s) EG_MUST;
char *eg_arena_printf(struct eg_arena *a, const char *format, ...) EG_PRINTF(2, 3) EG_MUST;

#endif
