/* SPDX-License-Identifier: Apache-2.0 */
#include "provider/vendor.h"

#include <stdio.h>

#include "base/log.h"

const char *eg_dialect_label(enum eg_dialect d)
{
	switch (d) {
	case EG_DIALECT_OPENAI:
		return "openai";
	case EG_DIALECT_ANTHROPIC:
		return "anthropic";
	case EG_DIALECT_NONE:
		break;
	}
	return "none";
}

enum eg_dialect eg_dialect_from_kind(struct eg_str kind)
{
	if (eg_str_eq(kind, EG_STR("openai")))
		return EG_DIALECT_OPENAI;
	if (eg_str_eq(kind, EG_STR("anthropic")))
		return EG_DIALECT_ANTHROPIC;
	return EG_DIALECT_NONE;
}

struct known_host {
	struct eg_str host; /* ".x" is any one label before it */
	enum eg_dialect dialect;
	struct eg_str base_path;
};

#define OPENAI(host, path)                                    \
	{                                                     \
		EG_STR(host), EG_DIALECT_OPENAI, EG_STR(path) \
	}
#define ANTHROPIC(host, path)                                    \
	{                                                        \
		EG_STR(host), EG_DIALECT_ANTHROPIC, EG_STR(path) \
	}

/* Base URLs of the providers' own SDKs or documentation. */
static const struct known_host known_hosts[] = {
	OPENAI("api.openai.com", "/v1"),
	OPENAI(".api.openai.com", "/v1"),
	ANTHROPIC("api.anthropic.com", "/v1"),
	OPENAI("api.groq.com", "/openai/v1"),
	OPENAI("api.mistral.ai", "/v1"),
	OPENAI("api.eu.mistral.ai", "/v1"),
	OPENAI("api.us.mistral.ai", "/v1"),
	OPENAI("api.x.ai", "/v1"),
	OPENAI(".api.x.ai", "/v1"),
	OPENAI("api.deepseek.com", ""),
	OPENAI("api.perplexity.ai", ""),
	OPENAI("api.together.xyz", "/v1"),
	OPENAI("api.together.ai", "/v1"),
	OPENAI("api.fireworks.ai", "/inference/v1"),
	OPENAI("api.cerebras.ai", "/v1"),
	OPENAI("openrouter.ai", "/api/v1"),
	OPENAI("eu.openrouter.ai", "/api/v1"),
	OPENAI("router.huggingface.co", "/v1"),
	OPENAI("api.z.ai", "/api/paas/v4"),
};

static const struct known_host *find_host(struct eg_str host)
{
	ssize_t dot = eg_str_find(host, '.');

	for (size_t i = 0; i < EG_ARRAY_SIZE(known_hosts); i++) {
		const struct known_host *k = &known_hosts[i];

		if (k->host.p[0] != '.'
			    ? eg_str_ieq(host, k->host)
			    : dot > 0 && eg_str_ieq((struct eg_str){host.p + dot,
								    host.n - (size_t)dot},
						    k->host))
			return k;
	}
	return NULL;
}

bool eg_dialect_host(size_t index, char out[EG_KNOWN_NAME])
{
	const struct known_host *k;

	if (index >= EG_ARRAY_SIZE(known_hosts))
		return false;
	k = &known_hosts[index];
	snprintf(out, EG_KNOWN_NAME, "%s%.*s", k->host.p[0] == '.' ? "*" : "", EG_STR_ARG(k->host));
	return true;
}

enum eg_dialect eg_dialect_from_host(struct eg_str host)
{
	const struct known_host *k = find_host(host);

	return k ? k->dialect : EG_DIALECT_NONE;
}

struct eg_str eg_client_base_path(struct eg_str host)
{
	const struct known_host *k = find_host(host);

	return k ? k->base_path : EG_STR("/v1");
}

int eg_dialect_error(struct eg_buf *out, enum eg_dialect d, enum eg_reason reason,
		     struct eg_str detail, struct eg_str request_id)
{
	const struct eg_vendor *v = eg_vendor_of(d);
	struct eg_str text = detail.n ? detail : eg_str_from(eg_reason_text(reason));

	/* No dialect: OpenAI's form is what most clients can read. */
	return (v ? v : &eg_vendor_openai)->error(out, reason, text, request_id);
}

/* Both vendors' SDKs raise on an event named "error", and OpenAI's also on any data with an "error"
 * member, whatever the event is called. */
int eg_dialect_error_event(struct eg_buf *out, enum eg_dialect d, enum eg_reason reason,
			   struct eg_str request_id)
{
	int r = eg_buf_append_str(out, EG_STR("event: error\ndata: "));

	if (!r)
		r = eg_dialect_error(out, d, reason, (struct eg_str){0}, request_id);
	return r ? r : eg_buf_append_str(out, EG_STR("\n\n"));
}

/*
 * Only what passes by itself: a full agent, a start, a cooldown. What every target was tried for is
 * not on the list, or the SDKs' own retries would triple each exhausted failover; nor is a denial.
 */
bool eg_reason_retryable(enum eg_reason reason)
{
	static const bool retryable[EG_REASON_MAX] = {
		[EG_REASON_UNKNOWN_POD] = true,	      [EG_REASON_REQUEST_TIMEOUT] = true,
		[EG_REASON_UPSTREAM_COOLDOWN] = true, [EG_REASON_OVERLOADED] = true,
		[EG_REASON_POD_BUDGET] = true,	      [EG_REASON_NOT_READY] = true,
		[EG_REASON_DRAINING] = true,	      [EG_REASON_POLICY_CHANGED] = true,
	};

	return (unsigned int)reason < EG_REASON_MAX && retryable[reason];
}
