/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base.h"

struct reason {
	const char *label;
	const char *text;
	unsigned int status;
};

static const struct reason reasons[EG_REASON_MAX] = {
#define EG_REASON(number, name, l, s, t) [number] = {.label = l, .text = t, .status = s},
#include "egret/abi/reasons.def"
#undef EG_REASON
};

static const struct reason *find(enum eg_reason r)
{
	static const struct reason unknown = {"unknown", "No text for this reason.", 500};

	return (unsigned int)r < EG_REASON_MAX && reasons[r].label ? &reasons[r] : &unknown;
}

const char *eg_reason_label(enum eg_reason r)
{
	return find(r)->label;
}

const char *eg_reason_text(enum eg_reason r)
{
	return find(r)->text;
}

unsigned int eg_reason_status(enum eg_reason r)
{
	return find(r)->status;
}
