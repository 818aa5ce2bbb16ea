/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In which form a refusal is written: the caller's dialect where policy knows that, else that of an
 * API whose kind this version does not serve, and whose SDK has to understand a refusal all the
 * same. Pure.
 */
#ifndef EGRET_PROVIDER_ERROR_FORM_H
#define EGRET_PROVIDER_ERROR_FORM_H

#include "provider/provider.h"

enum eg_error_form {
	EG_ERROR_OF_DIALECT,
	EG_ERROR_BEDROCK, /* bedrock_error.h */
	EG_ERROR_GEMINI,  /* gemini_error.h */
};
/* Of a request: `host` in lower case (or "": the gateway's address), `path` percent-decoded, or ""
 * where the head could not be read. */
enum eg_error_form eg_error_form_of(struct eg_str host, struct eg_str path);
/* Appends the JSON body; as eg_dialect_error(), whose `d` counts for EG_ERROR_OF_DIALECT. */
int eg_error_write(struct eg_buf *out, enum eg_error_form form, enum eg_dialect d,
		   enum eg_reason reason, struct eg_str detail, struct eg_str request_id) EG_MUST;

#endif
