/* SPDX-License-Identifier: Apache-2.0 */
#include "base/blocks.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>

#define SLOTS 16u

static struct {
	_Atomic(void *) block[SLOTS];
	atomic_size_t room[SLOTS]; /* of the block there; a hint, it may be gone meanwhile */
	atomic_size_t kept;	   /* bytes */
	atomic_uint asked;
} blocks;

#if defined(__SANITIZE_ADDRESS__)
#define KEPT_MAX 0u
#else
#define KEPT_MAX EG_BLOCKS_KEPT
#endif

size_t eg_block_room(void *p)
{
	return malloc_usable_size(p);
}

static void *out_of(size_t slot)
{
	void *p = atomic_exchange(&blocks.block[slot], NULL);

	if (p)
		atomic_fetch_sub(&blocks.kept, eg_block_room(p));
	return p;
}

void *eg_block_take(size_t bytes)
{
	atomic_fetch_add_explicit(&blocks.asked, 1, memory_order_relaxed);
	for (size_t i = 0; i < SLOTS; i++) {
		void *p;

		if (atomic_load_explicit(&blocks.room[i], memory_order_relaxed) < bytes)
			continue;
		p = out_of(i);
		if (p && eg_block_room(p) >= bytes)
			return p;
		if (p) /* another was put there meanwhile */
			eg_block_give(p);
	}
	return malloc(bytes);
}

void eg_block_give(void *p)
{
	size_t room = eg_block_room(p);

	if (atomic_fetch_add(&blocks.kept, room) + room <= KEPT_MAX)
		for (size_t i = 0; i < SLOTS; i++) {
			void *none = NULL;

			if (atomic_compare_exchange_strong(&blocks.block[i], &none, p)) {
				atomic_store_explicit(&blocks.room[i], room, memory_order_relaxed);
				return;
			}
		}
	atomic_fetch_sub(&blocks.kept, room);
	free(p);
}

void eg_blocks_trim(uint64_t now_ms)
{
	static unsigned int before; /* both of the one thread that calls */
	static uint64_t asked_ms;
	unsigned int asked = atomic_load_explicit(&blocks.asked, memory_order_relaxed);

	if (asked != before) {
		before = asked;
		asked_ms = now_ms;
	}
	for (size_t i = 0; i < SLOTS && now_ms - asked_ms >= EG_BLOCKS_REST_MS; i++)
		free(out_of(i));
}

size_t eg_blocks_kept(void)
{
	return atomic_load(&blocks.kept);
}
