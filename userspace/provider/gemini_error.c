/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/gemini_error.h"

#include "base/log.h"
#include "provider/vendor.h"

static bool google_host(struct eg_str host)
{
	return eg_str_eq(host, EG_STR("generativelanguage.googleapis.com")) ||
	       eg_str_eq(host, EG_STR("aiplatform.googleapis.com")) ||
	       eg_str_ends(host, EG_STR("-aiplatform.googleapis.com")) ||
	       (eg_str_starts(host, EG_STR("aiplatform.")) &&
		eg_str_ends(host, EG_STR(".rep.googleapis.com")));
}

/* "/v1beta/openai/..." and ".../endpoints/openapi/...". */
static bool compatible_path(struct eg_str path)
{
	return eg_bytes_have(path, "/openai/") || eg_bytes_have(path, "/endpoints/openapi/");
}

static bool method_path(struct eg_str path)
{
	static const struct eg_str methods[] = {
		EG_STR(":generateContent"),    EG_STR(":streamGenerateContent"),
		EG_STR(":countTokens"),	       EG_STR(":embedContent"),
		EG_STR(":batchEmbedContents"),
	};

	if (!eg_str_starts(path, EG_STR("/v1")))
		return false;
	for (size_t i = 0; i < EG_ARRAY_SIZE(methods); i++)
		if (eg_str_ends(path, methods[i]))
			return true;
	return false;
}

bool eg_gemini_asked(struct eg_str host, struct eg_str path)
{
	return google_host(host) ? !compatible_path(path) : method_path(path);
}

/* google/rpc/code.proto: each code's "HTTP Mapping", read backwards. */
static const char *code_of(unsigned int status)
{
	switch (status) {
	case 401:
		return "UNAUTHENTICATED";
	case 403:
		return "PERMISSION_DENIED";
	case 404:
		return "NOT_FOUND";
	case 408:
	case 504:
		return "DEADLINE_EXCEEDED";
	case 429:
		return "RESOURCE_EXHAUSTED";
	case 499:
		return "CANCELLED";
	case 501:
		return "UNIMPLEMENTED";
	case 502:
	case 503:
		return "UNAVAILABLE";
	default:
		return status >= 500 ? "INTERNAL" : "INVALID_ARGUMENT";
	}
}

/* ErrorInfo's reason is in capitals: /[A-Z][A-Z0-9_]+[A-Z0-9]/. */
static int append_reason(struct eg_buf *out, enum eg_reason reason)
{
	int r = eg_buf_append_str(out, EG_STR("EGRET_"));

	for (const char *c = eg_reason_label(reason); !r && *c; c++) {
		char upper = *c >= 'a' && *c <= 'z' ? (char)(*c - 32) : *c;

		r = eg_buf_append(out, &upper, 1);
	}
	return r;
}

int eg_gemini_error(struct eg_buf *out, enum eg_reason reason, struct eg_str text,
		    struct eg_str request_id)
{
	unsigned int status = eg_reason_status(reason);
	int r;

	status = status ? status : 403; /* as it is sent */
	r = eg_buf_printf(out, "{\"error\":{\"code\":%u,\"message\":", status);
	if (!r)
		r = eg_json_quote(out, text, 1024);
	if (!r)
		r = eg_buf_printf(out,
				  ",\"status\":\"%s\",\"details\":[{\"@type\":\"type.googleapis."
				  "com/google.rpc.ErrorInfo\",\"reason\":\"",
				  code_of(status));
	if (!r)
		r = append_reason(out, reason);
	if (!r)
		r = eg_buf_append_str(out, EG_STR("\",\"domain\":\"egret\",\"metadata\":{"));
	if (!r && request_id.n)
		r = eg_buf_append_str(out, EG_STR("\"request_id\":"));
	if (!r && request_id.n)
		r = eg_json_quote(out, request_id, 128);
	return r ? r : eg_buf_append_str(out, EG_STR("}}]}}"));
}
