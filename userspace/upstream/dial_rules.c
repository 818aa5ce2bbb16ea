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

#define EMBEDDED 4

/*
 * The IPv4 addresses that an IPv6 one stands for: whoever translates it arrives there. RFC 6052 2.2
 * has several places for them; of 64:ff9b:1::/48 (RFC 8215) each network chooses its own.
 */
static size_t embedded(const struct eg_address *a, struct eg_address out[EMBEDDED])
{
	uint32_t w0 = ntohl(a->word_be[0]), w1 = ntohl(a->word_be[1]);
	uint32_t w2 = ntohl(a->word_be[2]), w3 = ntohl(a->word_be[3]);
	uint32_t v4[EMBEDDED];
	size_t n = 0;

	if (w0 == 0x0064ff9bu && w1 >> 16 == 1) {
		if (!(w2 >> 24) && !(w2 & 0xff) && !w3) /* a prefix of 48 bits */
			v4[n++] = w1 << 16 | w2 >> 8;
		if (!(w2 >> 24) && !w3) /* of 56 */
			v4[n++] = w1 << 24 | (w2 & 0xffffff);
		if (!(w2 >> 24) && !(w3 & 0xffffff)) /* of 64 */
			v4[n++] = w2 << 8 | w3 >> 24;
		if (w3) /* of 96 */
			v4[n++] = w3;
	} else if (w0 == 0x0064ff9bu && !w1 && !w2) { /* RFC 6052 */
		v4[n++] = w3;
	} else if (!w0 && !w1 && (!w2 || w2 == 0xffff0000u)) { /* RFC 4291 2.5.5.1, RFC 2765 */
		v4[n++] = w3;
	} else if (w0 >> 16 == 0x2002) { /* 6to4, RFC 3056 */
		v4[n++] = w0 << 16 | w1 >> 16;
	}
	for (size_t i = 0; i < n; i++)
		out[i] = (struct eg_address){{0, 0, htonl(0xffff), htonl(v4[i])}};
	return n;
}

static bool forbidden(const struct eg_dial_rules *r, const struct eg_address *a)
{
	for (size_t i = 0; i < r->forbidden_count; i++)
		if (eg_cidr_holds(&r->forbidden[i], a))
			return true;
	return eg_address_never_dialled(a);
}

static bool no_host(const struct eg_address *a)
{
	uint32_t v4 = ntohl(a->word_be[3]);

	if (eg_address_is_v4(a))
		return v4 == 0 || v4 >> 28 == 0xe || v4 == UINT32_MAX;
	return ntohl(a->word_be[0]) >> 24 == 0xff ||
	       !(a->word_be[0] | a->word_be[1] | a->word_be[2] | a->word_be[3]);
}

/* Of this link only: nothing that serves models is there, but what clouds give their machines'
 * credentials out at. The last one is Amazon's by IPv6, in a private range. */
static bool link_local(const struct eg_address *a)
{
	uint32_t first = ntohl(a->word_be[0]);

	if (eg_address_is_v4(a))
		return ntohl(a->word_be[3]) >> 16 == 0xa9fe;
	return first >> 22 == 0xfe80u >> 6 || first >> 22 == 0xfec0u >> 6 ||
	       (first == 0xfd000ec2u && !a->word_be[1] && !a->word_be[2] &&
		ntohl(a->word_be[3]) == 0x254);
}

bool eg_may_dial_provider(const struct eg_dial_rules *r, const struct eg_address *a,
			  bool allow_private)
{
	struct eg_address v4[EMBEDDED];
	size_t n = embedded(a, v4);

	if (allow_private) {
		for (size_t i = 0; i < n; i++)
			if (link_local(&v4[i]))
				return false;
		return !no_host(a) && !link_local(a);
	}
	if (forbidden(r, a) || eg_address_private(a))
		return false;
	for (size_t i = 0; i < n; i++)
		if (forbidden(r, &v4[i]) || eg_address_private(&v4[i]))
			return false;
	return true;
}

bool eg_may_dial_original(const struct eg_dial_rules *r, const struct eg_address *a)
{
	struct eg_address v4[EMBEDDED];
	size_t n = embedded(a, v4);

	if (forbidden(r, a))
		return false;
	for (size_t i = 0; i < n; i++)
		if (forbidden(r, &v4[i]))
			return false;
	return true;
}
