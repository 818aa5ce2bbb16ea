/* SPDX-License-Identifier: Apache-2.0 */
#include "front/h1_answer.h"

/* RFC 9110 section 15; a status that is not here has an empty phrase, which is allowed. */
static const char *phrase(unsigned int status)
{
	static const struct {
		unsigned int status;
		const char *text;
	} table[] = {
		{101, "Switching Protocols"},
		{200, "OK"},
		{201, "Created"},
		{202, "Accepted"},
		{204, "No Content"},
		{206, "Partial Content"},
		{301, "Moved Permanently"},
		{302, "Found"},
		{303, "See Other"},
		{304, "Not Modified"},
		{307, "Temporary Redirect"},
		{308, "Permanent Redirect"},
		{400, "Bad Request"},
		{401, "Unauthorized"},
		{402, "Payment Required"},
		{403, "Forbidden"},
		{404, "Not Found"},
		{405, "Method Not Allowed"},
		{408, "Request Timeout"},
		{409, "Conflict"},
		{413, "Content Too Large"},
		{414, "URI Too Long"},
		{415, "Unsupported Media Type"},
		{417, "Expectation Failed"},
		{421, "Misdirected Request"},
		{422, "Unprocessable Content"},
		{429, "Too Many Requests"},
		{431, "Request Header Fields Too Large"},
		{500, "Internal Server Error"},
		{501, "Not Implemented"},
		{502, "Bad Gateway"},
		{503, "Service Unavailable"},
		{504, "Gateway Timeout"},
		{505, "HTTP Version Not Supported"},
		{508, "Loop Detected"},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(table); i++)
		if (table[i].status == status)
			return table[i].text;
	return "";
}

static int write_fields(struct eg_buf *out, const struct eg_header *h, size_t count)
{
	int r = 0;

	for (size_t i = 0; i < count && !r; i++) {
		r = eg_buf_append_str(out, h[i].name);
		if (!r)
			r = eg_buf_append(out, ": ", 2);
		if (!r)
			r = eg_buf_append_str(out, h[i].value);
		if (!r)
			r = eg_buf_append(out, "\r\n", 2);
	}
	return r;
}

int h1_write_trailers(struct eg_buf *out, const struct eg_header *fields, size_t count)
{
	int r = eg_buf_append(out, "0\r\n", 3);

	return r ? r : write_fields(out, fields, count);
}

static int write_status_line(struct eg_buf *out, unsigned int status)
{
	int r = eg_buf_append_str(out, EG_STR("HTTP/1.1 "));

	if (!r)
		r = eg_buf_append_u64(out, status);
	if (!r)
		r = eg_buf_append(out, " ", 1);
	if (!r)
		r = eg_buf_append_str(out, eg_str_from(phrase(status)));
	return r ? r : eg_buf_append(out, "\r\n", 2);
}

static int write_length(struct eg_buf *out, uint64_t length)
{
	int r = eg_buf_append_str(out, EG_STR("content-length: "));

	if (!r)
		r = eg_buf_append_u64(out, length);
	return r ? r : eg_buf_append(out, "\r\n", 2);
}

int h1_write_answer_head(struct eg_buf *out, const struct eg_answer *a, bool chunked, bool close,
			 bool http10)
{
	int r = write_status_line(out, a->status);

	if (!r)
		r = write_fields(out, a->headers, a->header_count);
	if (!r && chunked)
		r = eg_buf_append_str(out, EG_STR("transfer-encoding: chunked\r\n"));
	else if (!r && a->length_known)
		r = write_length(out, a->length);
	if (!r && a->status == 101)
		r = eg_buf_append_str(out, EG_STR("connection: upgrade\r\nupgrade: websocket\r\n"));
	else if (!r && close)
		r = eg_buf_append_str(out, EG_STR("connection: close\r\n"));
	else if (!r && http10)
		r = eg_buf_append_str(out, EG_STR("connection: keep-alive\r\n"));
	return r ? r : eg_buf_append(out, "\r\n", 2);
}
