/* SPDX-License-Identifier: Apache-2.0 */
/* Memory for a call of either kind: which one it is, is known with the connection. */
#ifndef EGRET_UPSTREAM_ANY_CALL_H
#define EGRET_UPSTREAM_ANY_CALL_H

#include "upstream/h1_call.h"
#include "upstream/h2_call.h"

union eg_any_call {
	struct eg_call base; /* first in both */
	struct eg_h1_call h1;
	struct eg_h2_call h2;
};

#endif
