/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>

#include "datapath/datapath.h"

_Static_assert(EG_ADDRESS_TEXT == INET6_ADDRSTRLEN, "EG_ADDRESS_TEXT");

struct eg_address eg_address_from4(__be32 address_be)
{
	return (struct eg_address){{0, 0, htonl(0xffff), address_be}};
}

bool eg_address_is4(const struct eg_address *a)
{
	return !a->word_be[0] && !a->word_be[1] && a->word_be[2] == htonl(0xffff);
}

int eg_address_from_text(const char *text, struct eg_address *out)
{
	struct eg_address a;
	__be32 v4;

	if (inet_pton(AF_INET, text, &v4) == 1)
		a = eg_address_from4(v4);
	else if (inet_pton(AF_INET6, text, &a) != 1)
		return -EINVAL;
	*out = a;
	return 0;
}

char *eg_address_format(const struct eg_address *a, char text[EG_ADDRESS_TEXT])
{
	if (eg_address_is4(a))
		inet_ntop(AF_INET, &a->word_be[3], text, EG_ADDRESS_TEXT);
	else
		inet_ntop(AF_INET6, a, text, EG_ADDRESS_TEXT);
	return text;
}

bool eg_address_never_pod(const struct eg_address *a)
{
	uint32_t first = ntohl(a->word_be[0]), last = ntohl(a->word_be[3]);

	if (eg_address_is4(a))
		return !(last >> 24) || last >> 24 == 127 || last >> 16 == 0xa9fe ||
		       last >> 28 >= 14;
	return (!first && !a->word_be[1] && !a->word_be[2]) || first >> 24 == 0xff ||
	       (first & 0xffc00000) == 0xfe800000;
}
