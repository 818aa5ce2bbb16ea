/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a refusal says to a client of Amazon Bedrock (AWS restJson1, "Error serialization"): the
 * header x-amzn-errortype names the exception, the body has its `message`. Pure.
 */
#ifndef EGRET_PROVIDER_BEDROCK_ERROR_H
#define EGRET_PROVIDER_BEDROCK_ERROR_H

#include "provider/provider.h"

/* Is this a request to Bedrock (but for bedrock-mantle, which speaks OpenAI)? By a host of AWS's,
 * or, under any other name, by a path of the runtime's. As eg_error_form_of(). */
bool eg_bedrock_asked(struct eg_str host, struct eg_str path);
/* The exception, of those in the runtime's API reference ("Common errors" of InvokeModel and
 * Converse), whose class the SDKs raise. */
const char *eg_bedrock_error_type(enum eg_reason reason);
/* Appends the body. 0 or as eg_buf_append(). */
int eg_bedrock_error(struct eg_buf *out, enum eg_reason reason, struct eg_str text) EG_MUST;

#endif
