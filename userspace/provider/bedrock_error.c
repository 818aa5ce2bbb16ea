/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/bedrock_error.h"

#include "base/log.h"

static bool aws_host(struct eg_str host)
{
	static const struct eg_str suffixes[] = {
		EG_STR(".amazonaws.com"),
		EG_STR(".amazonaws.com.cn"),
		EG_STR(".amazonaws.eu"),
		EG_STR(".api.aws"),
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(suffixes); i++)
		if (eg_str_ends(host, suffixes[i]))
			return true;
	return false;
}

/* "/model/ID/converse" and its like. An ARN in the place of ID may have slashes of its own. */
static bool runtime_path(struct eg_str path)
{
	static const struct eg_str before = EG_STR("/model/");
	static const struct eg_str after[] = {
		EG_STR("/converse"),
		EG_STR("/converse-stream"),
		EG_STR("/invoke"),
		EG_STR("/invoke-with-response-stream"),
		EG_STR("/invoke-with-bidirectional-stream"),
		EG_STR("/count-tokens"),
	};

	if (!eg_str_starts(path, before))
		return false;
	for (size_t i = 0; i < EG_ARRAY_SIZE(after); i++)
		if (path.n > before.n + after[i].n && eg_str_ends(path, after[i]))
			return true;
	return false;
}

bool eg_bedrock_asked(struct eg_str host, struct eg_str path)
{
	if (aws_host(host) && eg_str_starts(host, EG_STR("bedrock")))
		return !eg_str_starts(host, EG_STR("bedrock-mantle."));
	return runtime_path(path);
}

const char *eg_bedrock_error_type(enum eg_reason reason)
{
	unsigned int status = eg_reason_status(reason);

	switch (status) {
	case 0: /* sent as 403 */
	case 401:
	case 403:
		return "AccessDeniedException";
	case 404:
		return "ResourceNotFoundException";
	case 408:
	case 504:
		return "ModelTimeoutException";
	case 429:
		return "ThrottlingException";
	case 503:
		return "ServiceUnavailableException";
	default:
		return status >= 500 ? "InternalServerException" : "ValidationException";
	}
}

/* The member "code" is ours: the SDKs read the message alone. */
int eg_bedrock_error(struct eg_buf *out, enum eg_reason reason, struct eg_str text)
{
	int r = eg_buf_append_str(out, EG_STR("{\"message\":"));

	if (!r)
		r = eg_json_quote(out, text, 1024);
	return r ? r : eg_buf_printf(out, ",\"code\":\"egret_%s\"}", eg_reason_label(reason));
}
