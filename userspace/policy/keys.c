/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/keys.h"

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
#define OBJECT(k, title, l)                                                               \
	{                                                                                 \
		.name = (title), .keys = (k), .key_count = EG_ARRAY_SIZE(k), .later = (l) \
	}

#define DAY_MS 86400000u

static const struct eg_key timeouts_keys[] = {
	{.name = "connect_ms", .type = EG_KEY_UINT, .min = 1, .max = DAY_MS},
	{.name = "first_byte_ms", .type = EG_KEY_UINT, .min = 1, .max = DAY_MS},
	{.name = "total_ms", .type = EG_KEY_UINT, .min = 1, .max = DAY_MS},
	{.name = "idle_ms", .type = EG_KEY_UINT, .min = 1, .max = DAY_MS},
};
const struct eg_key_object eg_key_timeouts = OBJECT(timeouts_keys, "timeouts", NULL);

static const struct eg_key provider_keys[] = {
	{.name = "kind",
	 .type = EG_KEY_STRING,
	 .required = true,
	 .values = LIST("openai", "anthropic")},
	{.name = "endpoint", .type = EG_KEY_STRING, .required = true, .max_length = 512},
	{.name = "region", .type = EG_KEY_STRING},
	{.name = "credential", .type = EG_KEY_STRING},
	{.name = "models", .type = EG_KEY_MAP, .max = 1024},
	{.name = "ca_file", .type = EG_KEY_STRING},
	{.name = "allow_private", .type = EG_KEY_BOOL},
	{.name = "http2", .type = EG_KEY_BOOL},
	{.name = "fronts", .type = EG_KEY_ARRAY, .min = 1, .max = 256, .max_length = 255},
};
const struct eg_key_object eg_key_provider =
	OBJECT(provider_keys, "provider",
	       LIST("sku", "deployment", "deployments", "api_version", "project", "location",
		    "timeouts", "headers", "resource"));

static const struct eg_key credential_keys[] = {
	{.name = "type",
	 .type = EG_KEY_STRING,
	 .required = true,
	 .values = LIST("bearer", "header", "none")},
	{.name = "file", .type = EG_KEY_STRING},
	{.name = "header", .type = EG_KEY_STRING, .max_length = 64},
	{.name = "namespace", .type = EG_KEY_STRING, .max_length = 63},
};
const struct eg_key_object eg_key_credential =
	OBJECT(credential_keys, "credential",
	       LIST("web_identity", "role_arn", "pod_identity", "tenant", "client_id", "scope",
		    "service_account", "metadata", "profile"));

static const struct eg_key pods_keys[] = {
	{.name = "namespaces", .type = EG_KEY_ARRAY, .min = 1, .max = 256, .max_length = 63},
	{.name = "namespaceLabels", .type = EG_KEY_MAP, .min = 1, .max = 32, .max_length = 63},
	{.name = "labels", .type = EG_KEY_MAP, .min = 1, .max = 32, .max_length = 63},
	{.name = "serviceAccounts", .type = EG_KEY_ARRAY, .min = 1, .max = 256, .max_length = 253},
};
const struct eg_key_object eg_key_pods =
	OBJECT(pods_keys, "pods", LIST("matchExpressions", "names"));

static const struct eg_key regions_keys[] = {
	{.name = "allow",
	 .type = EG_KEY_ARRAY,
	 .required = true,
	 .min = 1,
	 .max = 64,
	 .max_length = 64},
};
const struct eg_key_object eg_key_regions =
	OBJECT(regions_keys, "regions", LIST("deny", "evidence"));

static const struct eg_key match_keys[] = {
	{.name = "hosts", .type = EG_KEY_ARRAY, .min = 1, .max = 256, .max_length = 255},
	{.name = "models", .type = EG_KEY_ARRAY, .min = 1, .max = 256, .max_length = 256},
	{.name = "operations", .type = EG_KEY_ARRAY, .min = 1, .max = 64, .max_length = 64},
};
const struct eg_key_object eg_key_match =
	OBJECT(match_keys, "match", LIST("paths", "headers", "methods", "tools"));

static const struct eg_key target_keys[] = {
	{.name = "provider", .type = EG_KEY_STRING, .required = true, .max_length = 63},
};
const struct eg_key_object eg_key_target =
	OBJECT(target_keys, "target", LIST("may_drop", "weight", "model", "priority"));

static const struct eg_key route_keys[] = {
	{.name = "name", .type = EG_KEY_STRING, .required = true, .max_length = 63},
	{.name = "match", .type = EG_KEY_OBJECT, .required = true, .object = &eg_key_match},
	{.name = "targets",
	 .type = EG_KEY_ARRAY,
	 .required = true,
	 .object = &eg_key_target,
	 .min = 1,
	 .max = 8},
	{.name = "timeouts", .type = EG_KEY_OBJECT, .object = &eg_key_timeouts},
	{.name = "replay", .type = EG_KEY_STRING, .values = LIST("at_least_once", "never")},
	{.name = "max_body_bytes", .type = EG_KEY_UINT, .min = 1, .max = 256u << 20},
};
const struct eg_key_object eg_key_route =
	OBJECT(route_keys, "route", LIST("limits", "processors", "retry", "may_drop", "strategy"));

static const struct eg_key policy_keys[] = {
	{.name = "name", .type = EG_KEY_STRING, .required = true, .max_length = 63},
	{.name = "mode", .type = EG_KEY_STRING, .values = LIST("enforce", "shadow")},
	{.name = "shadow", .type = EG_KEY_STRING, .values = LIST("sni", "full")},
	{.name = "pods", .type = EG_KEY_OBJECT, .required = true, .object = &eg_key_pods},
	{.name = "regions", .type = EG_KEY_OBJECT, .object = &eg_key_regions},
	{.name = "routes",
	 .type = EG_KEY_ARRAY,
	 .required = true,
	 .object = &eg_key_route,
	 .max = EG_POLICY_MAX_ROUTES},
	{.name = "otherwise", .type = EG_KEY_STRING, .values = LIST("deny", "pass")},
	{.name = "fail", .type = EG_KEY_STRING, .values = LIST("open", "closed")},
	{.name = "capture", .type = EG_KEY_STRING, .values = LIST("learned", "all_tls", "strict")},
	{.name = "timeouts", .type = EG_KEY_OBJECT, .object = &eg_key_timeouts},
};
const struct eg_key_object eg_key_policy =
	OBJECT(policy_keys, "policy", LIST("limits", "processors", "mcp", "priority", "audit"));

static const struct eg_key defaults_keys[] = {
	{.name = "timeouts", .type = EG_KEY_OBJECT, .object = &eg_key_timeouts},
	{.name = "fail", .type = EG_KEY_STRING, .values = LIST("open", "closed")},
};
const struct eg_key_object eg_key_defaults =
	OBJECT(defaults_keys, "defaults", LIST("limits", "processors", "unknown_pods"));

static const struct eg_key destination_keys[] = {
	{.name = "cidr", .type = EG_KEY_STRING, .required = true, .max_length = 64},
	{.name = "why", .type = EG_KEY_STRING, .max_length = 1024},
	{.name = "hosts", .type = EG_KEY_ARRAY, .min = 1, .max = 256, .max_length = 255},
};
const struct eg_key_object eg_key_destination =
	OBJECT(destination_keys, "destination", LIST("ports"));

static const struct eg_key top_keys[] = {
	{.name = "$schema", .type = EG_KEY_STRING, .max_length = 1024},
	{.name = "version", .type = EG_KEY_STRING, .required = true, .values = LIST("egret/v1")},
	{.name = "providers",
	 .type = EG_KEY_MAP,
	 .object = &eg_key_provider,
	 .max = EG_POLICY_MAX_PROVIDERS},
	{.name = "credentials",
	 .type = EG_KEY_MAP,
	 .object = &eg_key_credential,
	 .max = EG_POLICY_MAX_PROVIDERS},
	{.name = "policies",
	 .type = EG_KEY_ARRAY,
	 .object = &eg_key_policy,
	 .max = EG_POLICY_MAX_POLICIES},
	{.name = "destinations",
	 .type = EG_KEY_ARRAY,
	 .object = &eg_key_destination,
	 .max = EG_POLICY_MAX_CIDRS},
	{.name = "defaults", .type = EG_KEY_OBJECT, .object = &eg_key_defaults},
};
const struct eg_key_object eg_key_top =
	OBJECT(top_keys, "", LIST("limits", "processors", "mcp", "pricing"));
