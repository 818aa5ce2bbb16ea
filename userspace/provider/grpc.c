/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/grpc.h"

#include "proto/uri.h"

bool eg_grpc_content(struct eg_str type)
{
	static const struct eg_str grpc = EG_STR("application/grpc");

	if (!eg_str_istarts(type, grpc))
		return false;
	return type.n == grpc.n || strchr("+; \t", type.p[grpc.n]);
}

const char *eg_grpc_status(unsigned int http_status)
{
	switch (http_status) {
	case 400:
		return "13"; /* INTERNAL */
	case 401:
		return "16"; /* UNAUTHENTICATED */
	case 403:
		return "7"; /* PERMISSION_DENIED */
	case 404:
		return "12"; /* UNIMPLEMENTED */
	case 429:
	case 502:
	case 503:
	case 504:
		return "14"; /* UNAVAILABLE */
	default:
		return "2"; /* UNKNOWN */
	}
}

static bool message_byte(unsigned char c)
{
	return c >= 0x20 && c <= 0x7e && c != '%';
}

int eg_grpc_message(struct eg_buf *out, struct eg_str text)
{
	return eg_percent_encode(out, text, message_byte);
}
