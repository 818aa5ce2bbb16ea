/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/error_form.h"

#include "provider/bedrock_error.h"
#include "provider/gemini_error.h"

enum eg_error_form eg_error_form_of(struct eg_str host, struct eg_str path)
{
	if (eg_dialect_from_host(host) != EG_DIALECT_NONE)
		return EG_ERROR_OF_DIALECT;
	if (eg_bedrock_asked(host, path))
		return EG_ERROR_BEDROCK;
	return eg_gemini_asked(host, path) ? EG_ERROR_GEMINI : EG_ERROR_OF_DIALECT;
}

int eg_error_write(struct eg_buf *out, enum eg_error_form form, enum eg_dialect d,
		   enum eg_reason reason, struct eg_str detail, struct eg_str request_id)
{
	struct eg_str text = detail.n ? detail : eg_str_from(eg_reason_text(reason));

	switch (form) {
	case EG_ERROR_BEDROCK:
		return eg_bedrock_error(out, reason, text);
	case EG_ERROR_GEMINI:
		return eg_gemini_error(out, reason, text, request_id);
	case EG_ERROR_OF_DIALECT:
		break;
	}
	return eg_dialect_error(out, d, reason, detail, request_id);
}
