/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Large pieces of memory, kept for whoever needs one next. To the kernel each 4 KiB that malloc()
 * maps anew is a fault and a page to clear: for a body of 10 MB a third of what TLS costs it. Any
 * thread, no lock. Under ASan nothing is kept, so that use of what is gone is seen.
 */
#ifndef EGRET_BASE_BLOCKS_H
#define EGRET_BASE_BLOCKS_H

#include "base/base.h"

/* What is worth it. Smaller ones are malloc()'s business. */
#define EG_BLOCK_SMALLEST (256u * 1024u)
/* At most this is kept, by the whole process. */
#define EG_BLOCKS_KEPT	  (64u << 20)
#define EG_BLOCKS_REST_MS 2000u

/* `bytes` or more (eg_block_room() tells); what stood in it may be another's. NULL: out of memory.
 * Of malloc(): realloc() and free() may be called. */
void *eg_block_take(size_t bytes) EG_MUST;
void eg_block_give(void *p);
/* How much may be written there. */
size_t eg_block_room(void *p);
/* Called now and then by one thread: frees what is kept when nobody asked for a block for
 * EG_BLOCKS_REST_MS. */
void eg_blocks_trim(uint64_t now_ms);
/* Bytes kept now. */
size_t eg_blocks_kept(void);

#endif
