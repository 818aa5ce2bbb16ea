/* SPDX-License-Identifier: Apache-2.0 */
/* Streams: which protocol ALPN gave (RFC 7301). */
#include "net/stream_impl.h"

void eg_stream_offer_http2(struct eg_stream *s)
{
	s->offer_http2 = true;
}

bool eg_stream_http2(const struct eg_stream *s)
{
	const unsigned char *name = NULL;
	unsigned int n = 0;

	if (!s->ssl)
		return false;
	SSL_get0_alpn_selected(s->ssl, &name, &n);
	return n == 2 && !memcmp(name, "h2", 2);
}
