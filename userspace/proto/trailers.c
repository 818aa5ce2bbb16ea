/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/trailers.h"

/* Whoever joins trailers and head would act on these, after it was decided without them. */
static bool forbidden(struct eg_str name)
{
	static const struct eg_str names[] = {
		/* framing, and what belongs to a connection */
		EG_STR("connection"),
		EG_STR("content-length"),
		EG_STR("http2-settings"),
		EG_STR("keep-alive"),
		EG_STR("proxy-connection"),
		EG_STR("te"),
		EG_STR("trailer"),
		EG_STR("transfer-encoding"),
		EG_STR("upgrade"),
		/* routing */
		EG_STR("host"),
		/* authentication */
		EG_STR("authorization"),
		EG_STR("cookie"),
		EG_STR("proxy-authenticate"),
		EG_STR("proxy-authorization"),
		EG_STR("set-cookie"),
		EG_STR("set-cookie2"),
		EG_STR("www-authenticate"),
		/* what the request asks */
		EG_STR("cache-control"),
		EG_STR("expect"),
		EG_STR("if-match"),
		EG_STR("if-modified-since"),
		EG_STR("if-none-match"),
		EG_STR("if-range"),
		EG_STR("if-unmodified-since"),
		EG_STR("max-forwards"),
		EG_STR("pragma"),
		EG_STR("range"),
		/* what the answer is */
		EG_STR("age"),
		EG_STR("date"),
		EG_STR("expires"),
		EG_STR("location"),
		EG_STR("retry-after"),
		EG_STR("vary"),
		EG_STR("warning"),
		/* how its content is to be read */
		EG_STR("content-encoding"),
		EG_STR("content-range"),
		EG_STR("content-type"),
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(names); i++)
		if (eg_str_ieq(name, names[i]))
			return true;
	return false;
}

static bool read_line(struct eg_str line, struct eg_header *out)
{
	size_t n = 0;

	while (n < line.n && eg_h1_token_byte((unsigned char)line.p[n]))
		n++;
	if (!n || n == line.n || line.p[n] != ':')
		return false;
	out->name = (struct eg_str){line.p, n};
	out->value = eg_str_trim((struct eg_str){line.p + n + 1, line.n - n - 1});
	return eg_h1_value_bytes(out->value.p, out->value.n);
}

int eg_trailers_read(struct eg_str lines, struct eg_header *out, size_t room, size_t *count)
{
	size_t seen = 0;

	*count = 0;
	while (lines.n) {
		const char *lf = memchr(lines.p, '\n', lines.n);
		size_t n = lf ? (size_t)(lf - lines.p) : 0;
		struct eg_header field;

		if (!n || lf[-1] != '\r' || !read_line((struct eg_str){lines.p, n - 1}, &field))
			return -EINVAL;
		if (seen++ == room)
			return -ENOBUFS;
		if (!forbidden(field.name))
			out[(*count)++] = field;
		lines.p += n + 1;
		lines.n -= n + 1;
	}
	return 0;
}
