/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parameters of the fields that make up a form: Content-Type (RFC 9110 section 8.3.1) and a part's
 * Content-Disposition (RFC 2183, RFC 7578 section 4.2). For multipart.c.
 */
#ifndef EGRET_PROTO_FORM_PARAMS_H
#define EGRET_PROTO_FORM_PARAMS_H

#include "base/base.h"

/* Length of the token (RFC 9110 section 5.6.2) that s begins with. */
size_t eg_form_token_length(struct eg_str s);

struct eg_form_param {
	struct eg_str name;
	struct eg_str value; /* of a quoted string: what is between the quotes, as written */
	bool quoted;
	bool escaped; /* a backslash stands before a quote in it: readers differ on its end */
};
/* Takes the next `; name=value` off *rest. 1, 0 at the end, -EINVAL: malformed (an empty parameter
 * counts as that). */
int eg_form_param_next(struct eg_str *rest, struct eg_form_param *out) EG_MUST;

/*
 * A part's Content-Disposition: `form-data; name=...`, then perhaps filename, then perhaps
 * filename* beside it. NULL with *name and *file, or what is wrong.
 */
const char *eg_form_disposition(struct eg_str value, struct eg_str *name, bool *file) EG_MUST;

#endif
