/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Egret's own answer to who speaks gRPC: a status instead of an error object, in a head that is all
 * there is ("trailers-only"), with HTTP status 200 as gRPC has it.
 */
#include "exchange/exchange_impl.h"
#include "provider/grpc.h"

#define MESSAGE_MAX 2048u

bool exchange_speaks_grpc(const struct eg_exchange *x)
{
	return x->peer->http2 && eg_grpc_content(x->content_type);
}

int exchange_grpc_denial(struct eg_exchange *x, enum eg_reason reason, struct eg_str text)
{
	unsigned int status = eg_reason_status(reason);
	struct eg_buf message;
	char *copy = NULL;
	size_t n;

	eg_buf_init(&message, MESSAGE_MAX);
	if (!eg_grpc_message(&message, text))
		copy = eg_arena_dup(&x->arena, eg_buf_str(&message));
	n = message.length;
	eg_buf_fini(&message);
	if (!copy)
		return -ENOMEM;
	x->answer_headers[x->answer_header_count++] =
		(struct eg_header){EG_STR("content-type"), EG_STR("application/grpc")};
	x->answer_headers[x->answer_header_count++] = (struct eg_header){
		EG_STR("grpc-status"), eg_str_from(eg_grpc_status(status ? status : 403))};
	x->answer_headers[x->answer_header_count++] =
		(struct eg_header){EG_STR("grpc-message"), {copy, n}};
	x->out = (struct eg_answer){.status = 200, .whole = true};
	return 0;
}
