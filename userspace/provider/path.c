/* SPDX-License-Identifier: Apache-2.0 */
/* An operation's path towards an endpoint, and the model that some paths name. */
#include "proto/uri.h"
#include "provider/provider.h"

struct eg_str eg_path_model(struct eg_str path)
{
	size_t n = path.n;

	while (n && path.p[n - 1] != '/')
		n--;
	return (struct eg_str){path.p + n, path.n - n};
}

/* pchar of RFC 3986 section 3.3. */
static bool segment_byte(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("-._~!$&'()*+,;=:@", c));
}

static bool path_byte(unsigned char c)
{
	return c == '/' || segment_byte(c);
}

/* Nothing but what operations are named with: nearly all of them. */
static bool is_plain(struct eg_str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!((s.p[i] >= 'a' && s.p[i] <= 'z') || s.p[i] == '/' || s.p[i] == '_'))
			return false;
	return true;
}

int eg_operation_write_path(struct eg_buf *out, const struct eg_operation *op, struct eg_str rest,
			    const char *model)
{
	int r;

	if (!model || !op->model_in_path)
		return is_plain(rest) ? eg_buf_append_str(out, rest)
				      : eg_percent_encode(out, rest, path_byte);
	rest.n -= eg_path_model(rest).n;
	r = eg_percent_encode(out, rest, path_byte);
	return r ? r : eg_percent_encode(out, eg_str_from(model), segment_byte);
}
