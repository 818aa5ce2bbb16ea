/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a refusal says to a client of Google's Gemini API or of Vertex AI: google.rpc.Status in JSON
 * (AIP-193, "HTTP/1.1+JSON representation"). Pure.
 */
#ifndef EGRET_PROVIDER_GEMINI_ERROR_H
#define EGRET_PROVIDER_GEMINI_ERROR_H

#include "provider/provider.h"

/* Is this a request to either, but for their endpoints that speak OpenAI? By Google's hosts, or,
 * under any other name, by a path that ends with a method such as ":generateContent". As
 * eg_error_form_of(). */
bool eg_gemini_asked(struct eg_str host, struct eg_str path);
/* Appends the body. 0 or as eg_buf_append(). */
int eg_gemini_error(struct eg_buf *out, enum eg_reason reason, struct eg_str text,
		    struct eg_str request_id) EG_MUST;

#endif
