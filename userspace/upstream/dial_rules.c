/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream/dial_rules.h"

#include <arpa/inet.h>

#include "net/stream.h"

bool eg_cidr_holds(const struct eg_cidr *c, const struct eg_address *a)
{
	unsigned int bits = EG_MIN(c->prefix_bits, 128u);

	for (unsigned int i = 0; i < 4 && bits; i++) {
		unsigned int n = EG_MIN(bits, 32u);
		uint32_t mask = n == 32 ? UINT32_MAX : ~(UINT32_MAX >> n);

		if ((ntohl(c->address.word_be[i]) ^ ntohl(a->word_be[i])) & mask)
			return false;
		bits -= n;
	}
	return true;
}

bool eg_address_private(const struct eg_address *a)
{
	uint32_t first = ntohl(a->word_be[0]), v4 = ntohl(a->word_be[3]);

	if (!eg_address_is_v4(a))
		return first >> 25 == 0xfc >> 1;
	return v4 >> 24 == 10 || v4 >> 20 == 0xac1 || v4 >> 16 == 0xc0a8 ||
	       v4 >> 22 == (100u << 2 | 64 >> 6) || v4 >> 17 == (198u << 7 | 18 >> 1);
}

static bool forbidden(const struct eg_dial_rules *r, const struct eg_address *a)
{
	for (size_t i = 0; i < r->forbidden_count; i++)
		if (eg_cidr_holds(&r->forbidden[i], a))
			return true;
	return false;
}

static bool no_host(const struct eg_address *a)
{
	uint32_t v4 = ntohl(a->word_be[3]);

	if (eg_address_is_v4(a))
		return v4 == 0 || v4 >> 28 == 0xe || v4 == UINT32_MAX;
	return ntohl(a->word_be[0]) >> 24 == 0xff ||
	       !(a->word_be[0] | a->word_be[1] | a->word_be[2] | a->word_be[3]);
}

bool eg_may_dial_provider(const struct eg_dial_rules *r, const struct eg_address *a,
			  bool allow_private)
{
	if (allow_private)
		return !no_host(a);
	return !eg_address_never_dialled(a) && !eg_address_private(a) && !forbidden(r, a);
}

bool eg_may_dial_original(const struct eg_dial_rules *r, const struct eg_address *a)
{
	return !eg_address_never_dialled(a) && !forbidden(r, a);
}
