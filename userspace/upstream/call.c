/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream/any_call.h"

void eg_call_init(union eg_any_call *any, const struct eg_upstream_conn *conn,
		  const struct eg_call_ops *ops, void *ctx, struct eg_h1_head *scratch)
{
	memset(any, 0, sizeof(*any));
	any->base.kind = conn->h2 ? &h2_call_kind : &h1_call_kind;
	any->base.ops = ops;
	any->base.ctx = ctx;
	any->base.scratch = scratch;
	eg_buf_init_secret(&any->base.head, EG_CALL_HEAD_CAP);
}
