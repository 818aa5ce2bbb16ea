/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses as text, and those that are never dialled. */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "net/stream.h"

bool eg_address_is_v4(const struct eg_address *a)
{
	return !a->word_be[0] && !a->word_be[1] && a->word_be[2] == htonl(0xffff);
}

char *eg_address_text(const struct eg_address *a, char out[EG_ADDRESS_TEXT])
{
	/* Each record has two of them, and inet_ntop() formats with printf. */
	if (eg_address_is_v4(a)) {
		const unsigned char *octet = (const unsigned char *)&a->word_be[3];
		char *at = out;

		for (size_t i = 0; i < 4; i++) {
			unsigned int v = octet[i];

			if (v >= 100)
				*at++ = (char)('0' + v / 100);
			if (v >= 10)
				*at++ = (char)('0' + v / 10 % 10);
			*at++ = (char)('0' + v % 10);
			*at++ = i < 3 ? '.' : '\0';
		}
	} else if (!inet_ntop(AF_INET6, a->word_be, out, EG_ADDRESS_TEXT)) {
		out[0] = '\0';
	}
	return out;
}

int eg_address_parse(struct eg_str text, struct eg_address *out)
{
	char buffer[EG_ADDRESS_TEXT];
	struct eg_address a = {{0}};

	if (!text.n || text.n >= sizeof(buffer) || memchr(text.p, '\0', text.n))
		return -EINVAL;
	memcpy(buffer, text.p, text.n);
	buffer[text.n] = '\0';
	if (inet_pton(AF_INET, buffer, &a.word_be[3]) == 1)
		a.word_be[2] = htonl(0xffff);
	else if (inet_pton(AF_INET6, buffer, a.word_be) != 1)
		return -EINVAL;
	*out = a;
	return 0;
}

/* RFC 6890's registry, as far as nothing on the Internet can be there. */
static bool v4_never_dialled(uint32_t ip)
{
	return ip >> 24 == 0 || ip >> 24 == 127 ||     /* this network, loopback */
	       ip >> 16 == 0xa9fe ||		       /* 169.254/16: link-local, cloud metadata */
	       ip >> 28 == 0xe || ip == 0xffffffffu || /* multicast, broadcast */
	       ip >> 28 == 0xf;			       /* 240/4: reserved */
}

bool eg_address_never_dialled(const struct eg_address *a)
{
	uint32_t w0 = ntohl(a->word_be[0]), w1 = ntohl(a->word_be[1]);
	uint32_t w2 = ntohl(a->word_be[2]), w3 = ntohl(a->word_be[3]);

	if (!w0 && !w1 && (w2 == 0xffff || w2 == 0)) {
		/* ::ffff:a.b.c.d, and ::a.b.c.d (RFC 4291 2.5.5.1, with :: and ::1 in it) */
		return v4_never_dialled(w3);
	}
	if (!w0 && !w1 && w2 == 0xffff0000u) /* ::ffff:0:a.b.c.d: RFC 2765 */
		return v4_never_dialled(w3);
	if (w0 == 0x0064ff9bu && !w1 && !w2) /* NAT64: RFC 6052 */
		return v4_never_dialled(w3);
	if (w0 >> 16 == 0x2002) /* 6to4: RFC 3056 */
		return v4_never_dialled(w0 << 16 | w1 >> 16);
	return w0 >> 22 == 0xfe80u >> 6 || /* fe80::/10 link-local */
	       w0 >> 22 == 0xfec0u >> 6 || /* fec0::/10 site-local, withdrawn: RFC 3879 */
	       w0 >> 24 == 0xff ||	   /* multicast */
	       (w0 == 0xfd000ec2u && !w1 && !w2 && w3 == 0x254); /* EC2 metadata */
}
