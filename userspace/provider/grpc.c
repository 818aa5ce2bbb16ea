/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/grpc.h"

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

int eg_grpc_message(struct eg_buf *out, struct eg_str text)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t from = 0;
	int r = 0;

	for (size_t i = 0; i < text.n && !r; i++) {
		unsigned char c = (unsigned char)text.p[i];
		char escape[3] = {'%', hex[c >> 4], hex[c & 15]};

		if (c >= 0x20 && c <= 0x7e && c != '%')
			continue;
		r = eg_buf_append(out, text.p + from, i - from);
		if (!r)
			r = eg_buf_append(out, escape, sizeof(escape));
		from = i + 1;
	}
	return r ? r : eg_buf_append(out, text.p + from, text.n - from);
}
