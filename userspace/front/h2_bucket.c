/* SPDX-License-Identifier: Apache-2.0 */
#include "front/h2_bucket.h"

void h2_bucket_init(struct h2_bucket *b, uint32_t burst, uint32_t per_second, uint64_t now_ms)
{
	*b = (struct h2_bucket){burst, per_second, burst, now_ms};
}

void h2_bucket_earn(struct h2_bucket *b, uint32_t gain)
{
	b->left = gain > b->burst - b->left ? b->burst : b->left + gain;
}

bool h2_bucket_spend(struct h2_bucket *b, uint32_t cost, uint64_t now_ms)
{
	uint64_t gain = (now_ms - b->at_ms) * b->per_second / 1000;

	/* What is less than one stays to be counted with the next. */
	if (gain) {
		b->at_ms = now_ms;
		h2_bucket_earn(b, (uint32_t)EG_MIN(gain, (uint64_t)b->burst));
	}
	if (b->left < cost)
		return false;
	b->left -= cost;
	return true;
}
