/* SPDX-License-Identifier: Apache-2.0 */
#include "front/h2_answer.h"

#include <stdlib.h>

#define FIELDS_MAX (EG_H1_MAX_HEADERS + 16u)

/* Another value in each answer: in HPACK's table it would only drive out what comes again. */
static bool is_of_one_answer(struct eg_str name)
{
	static const struct eg_str ends[] = {EG_STR("-id"), EG_STR("-ms"), EG_STR("-ray")};

	for (size_t i = 0; i < EG_ARRAY_SIZE(ends); i++)
		if (name.n > ends[i].n &&
		    eg_str_ieq((struct eg_str){name.p + name.n - ends[i].n, ends[i].n}, ends[i]))
			return true;
	return false;
}

/* nghttp2 copies the bytes, and writes names in lower case. */
static nghttp2_nv field(struct eg_str name, struct eg_str value)
{
	return (nghttp2_nv){
		.name = (uint8_t *)(uintptr_t)name.p,
		.value = (uint8_t *)(uintptr_t)value.p,
		.namelen = name.n,
		.valuelen = value.n,
		.flags = is_of_one_answer(name) ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE,
	};
}

/* RFC 9113 section 8.2.2; the exchange passes none of them on. */
static bool connection_specific(struct eg_str name)
{
	return eg_str_ieq(name, EG_STR("connection")) ||
	       eg_str_ieq(name, EG_STR("proxy-connection")) ||
	       eg_str_ieq(name, EG_STR("keep-alive")) ||
	       eg_str_ieq(name, EG_STR("transfer-encoding")) || eg_str_ieq(name, EG_STR("upgrade"));
}

int h2_submit_answer(nghttp2_session *session, int32_t stream, const struct eg_answer *a,
		     bool no_body)
{
	nghttp2_nv nv[FIELDS_MAX];
	char status[EG_DECIMAL_MAX], length[EG_DECIMAL_MAX];
	size_t n = 0;

	/* Three digits, whoever made it: from 100 to 999. */
	nv[n++] = field(EG_STR(":status"), (struct eg_str){status, eg_decimal(status, a->status)});
	for (size_t i = 0; i < a->header_count && n < FIELDS_MAX - 1; i++)
		if (!connection_specific(a->headers[i].name))
			nv[n++] = field(a->headers[i].name, a->headers[i].value);
	if (a->length_known) {
		struct eg_str digits = {length, eg_decimal(length, a->length)};

		nv[n++] = field(EG_STR("content-length"), digits);
	}
	return nghttp2_submit_response(session, stream, nv, n, no_body ? NULL : &h2_data_provider);
}

static char *put(char *at, struct eg_str s)
{
	if (s.n)
		memcpy(at, s.p, s.n);
	return at + s.n;
}

struct h2_trailers *h2_trailers_copy(const struct eg_header *fields, size_t count)
{
	size_t bytes = sizeof(struct h2_trailers) + count * sizeof(nghttp2_nv);
	struct h2_trailers *t;
	char *at;

	for (size_t i = 0; i < count; i++)
		bytes += fields[i].name.n + fields[i].value.n;
	t = malloc(bytes);
	if (!t)
		return NULL;
	t->bytes = bytes;
	t->count = count;
	at = (char *)(t->nv + count);
	for (size_t i = 0; i < count; i++) {
		char *name = at, *value = put(name, fields[i].name);

		at = put(value, fields[i].value);
		t->nv[i] = field((struct eg_str){name, fields[i].name.n},
				 (struct eg_str){value, fields[i].value.n});
	}
	return t;
}

int h2_submit_trailers(nghttp2_session *session, int32_t stream, const struct h2_trailers *t)
{
	return nghttp2_submit_trailer(session, stream, t->nv, t->count);
}

int h2_submit_continue(nghttp2_session *session, int32_t stream)
{
	nghttp2_nv nv = field(EG_STR(":status"), EG_STR("100"));

	return nghttp2_submit_headers(session, NGHTTP2_FLAG_NONE, stream, NULL, &nv, 1, NULL);
}
