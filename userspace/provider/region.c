/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a request is processed. "eu-" and "europe-" in a region's name do not mean the European
 * Union: eu-west-2, europe-west2 and uksouth are in the United Kingdom, eu-central-2, europe-west6
 * and switzerlandnorth in Switzerland, norwayeast in Norway. Sources: docs/internals/provider.md.
 */
#include "provider/provider.h"

#include <stdio.h>

struct region_name {
	const char *name, *code;
};

/* AWS: public list of regions of each partition. */
static const struct region_name aws_regions[] = {
	{"us-east-1", "US"},	  {"us-east-2", "US"},	       {"us-west-1", "US"},
	{"us-west-2", "US"},	  {"us-gov-east-1", "US-GOV"}, {"us-gov-west-1", "US-GOV"},
	{"ca-central-1", "CA"},	  {"ca-west-1", "CA"},	       {"mx-central-1", "MX"},
	{"sa-east-1", "BR"},	  {"sa-west-1", "CL"},	       {"eu-central-1", "EU:DE"},
	{"eu-west-1", "EU:IE"},	  {"eu-west-3", "EU:FR"},      {"eu-north-1", "EU:SE"},
	{"eu-south-1", "EU:IT"},  {"eu-south-2", "EU:ES"},     {"eusc-de-east-1", "EU:DE"},
	{"eu-west-2", "UK"},	  {"eu-central-2", "CH"},      {"ap-northeast-1", "JP"},
	{"ap-northeast-3", "JP"}, {"ap-northeast-2", "KR"},    {"ap-southeast-1", "SG"},
	{"ap-southeast-2", "AU"}, {"ap-southeast-4", "AU"},    {"ap-southeast-3", "ID"},
	{"ap-southeast-5", "MY"}, {"ap-southeast-6", "NZ"},    {"ap-southeast-7", "TH"},
	{"ap-south-1", "IN"},	  {"ap-south-2", "IN"},	       {"ap-east-1", "HK"},
	{"ap-east-2", "TW"},	  {"me-central-1", "AE"},      {"me-south-1", "BH"},
	{"me-west-1", "SA"},	  {"il-central-1", "IL"},      {"af-south-1", "ZA"},
	{"cn-north-1", "CN"},	  {"cn-northwest-1", "CN"},
};

/* Google Cloud: Vertex AI locations. */
static const struct region_name gcp_locations[] = {
	{"global", "GLOBAL"},
	{"us", "US"},
	{"eu", "EU"},
	{"us-central1", "US"},
	{"us-east1", "US"},
	{"us-east4", "US"},
	{"us-east5", "US"},
	{"us-south1", "US"},
	{"us-west1", "US"},
	{"us-west2", "US"},
	{"us-west3", "US"},
	{"us-west4", "US"},
	{"northamerica-northeast1", "CA"},
	{"northamerica-northeast2", "CA"},
	{"northamerica-south1", "MX"},
	{"southamerica-east1", "BR"},
	{"southamerica-west1", "CL"},
	{"europe-west1", "EU:BE"},
	{"europe-west3", "EU:DE"},
	{"europe-west4", "EU:NL"},
	{"europe-west8", "EU:IT"},
	{"europe-west9", "EU:FR"},
	{"europe-west10", "EU:DE"},
	{"europe-west12", "EU:IT"},
	{"europe-north1", "EU:FI"},
	{"europe-north2", "EU:SE"},
	{"europe-southwest1", "EU:ES"},
	{"europe-central2", "EU:PL"},
	{"europe-west2", "UK"},
	{"europe-west6", "CH"},
	{"asia-northeast1", "JP"},
	{"asia-northeast2", "JP"},
	{"asia-northeast3", "KR"},
	{"asia-southeast1", "SG"},
	{"asia-southeast2", "ID"},
	{"asia-south1", "IN"},
	{"asia-south2", "IN"},
	{"asia-east1", "TW"},
	{"asia-east2", "HK"},
	{"australia-southeast1", "AU"},
	{"australia-southeast2", "AU"},
	{"me-west1", "IL"},
	{"me-central1", "QA"},
	{"me-central2", "SA"},
	{"africa-south1", "ZA"},
};

/* Azure: public list of regions and their geographies. */
static const struct region_name azure_regions[] = {
	{"eastus", "US"},
	{"eastus2", "US"},
	{"centralus", "US"},
	{"northcentralus", "US"},
	{"southcentralus", "US"},
	{"westcentralus", "US"},
	{"westus", "US"},
	{"westus2", "US"},
	{"westus3", "US"},
	{"usgovvirginia", "US-GOV"},
	{"usgovarizona", "US-GOV"},
	{"canadacentral", "CA"},
	{"canadaeast", "CA"},
	{"brazilsouth", "BR"},
	{"mexicocentral", "MX"},
	{"westeurope", "EU:NL"},
	{"northeurope", "EU:IE"},
	{"francecentral", "EU:FR"},
	{"germanywestcentral", "EU:DE"},
	{"swedencentral", "EU:SE"},
	{"italynorth", "EU:IT"},
	{"spaincentral", "EU:ES"},
	{"polandcentral", "EU:PL"},
	{"austriaeast", "EU:AT"},
	{"belgiumcentral", "EU:BE"},
	{"uksouth", "UK"},
	{"ukwest", "UK"},
	{"switzerlandnorth", "CH"},
	{"switzerlandwest", "CH"},
	{"norwayeast", "NO"},
	{"norwaywest", "NO"},
	{"japaneast", "JP"},
	{"japanwest", "JP"},
	{"koreacentral", "KR"},
	{"southeastasia", "SG"},
	{"eastasia", "HK"},
	{"australiaeast", "AU"},
	{"southindia", "IN"},
	{"centralindia", "IN"},
	{"uaenorth", "AE"},
	{"qatarcentral", "QA"},
	{"israelcentral", "IL"},
	{"southafricanorth", "ZA"},
};

static const char *const eu_members[] = {
	"AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU",
	"IE", "IT", "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
};

/* Codes that are no EU member. */
static const char *const other_codes[] = {
	"EU", "US", "US-GOV", "UK", "CH", "NO", "CA", "MX", "BR",     "CL",
	"JP", "KR", "SG",     "AU", "ID", "MY", "NZ", "TH", "IN",     "HK",
	"TW", "AE", "BH",     "SA", "IL", "QA", "ZA", "CN", "GLOBAL", "cluster",
};

enum host_rule {
	HOST_FIXED,   /* the whole host has this code */
	HOST_AWS,     /* the label between prefix and suffix is an AWS region */
	HOST_MANTLE,  /* likewise; what a geographic model id means there is not documented */
	HOST_GCP,     /* likewise a Google location; the path has to agree */
	HOST_GCP_ANY, /* Google's host without a location */
};

struct host_region {
	const char *prefix, *suffix; /* FIXED: prefix is the host, suffix is "" */
	enum host_rule rule;
	const char *code; /* FIXED */
};

/*
 * GLOBAL: the provider chooses. OpenAI's us, eu and ae hosts promise storage and processing; its
 * au, ca, jp, in, sg, kr and gb hosts only storage (enum PublicProjectResidency of its OpenAPI), so
 * that processing is GLOBAL. Its "eu" is the EEA and Switzerland; it counts as EU here, and
 * docs/policy.md says so.
 */
static const struct host_region host_regions[] = {
	{"api.openai.com", "", HOST_FIXED, "GLOBAL"},
	{"us.api.openai.com", "", HOST_FIXED, "US"},
	{"eu.api.openai.com", "", HOST_FIXED, "EU"},
	{"ae.api.openai.com", "", HOST_FIXED, "AE"},
	{"au.api.openai.com", "", HOST_FIXED, "GLOBAL"},
	{"ca.api.openai.com", "", HOST_FIXED, "GLOBAL"},
	{"jp.api.openai.com", "", HOST_FIXED, "GLOBAL"},
	{"in.api.openai.com", "", HOST_FIXED, "GLOBAL"},
	{"sg.api.openai.com", "", HOST_FIXED, "GLOBAL"},
	{"kr.api.openai.com", "", HOST_FIXED, "GLOBAL"},
	{"gb.api.openai.com", "", HOST_FIXED, "GLOBAL"},
	{"api.anthropic.com", "", HOST_FIXED, "GLOBAL"},
	{"api.mistral.ai", "", HOST_FIXED, "GLOBAL"},
	{"api.eu.mistral.ai", "", HOST_FIXED, "EU"},
	{"api.us.mistral.ai", "", HOST_FIXED, "US"},
	{"api.x.ai", "", HOST_FIXED, "GLOBAL"},
	{"us.api.x.ai", "", HOST_FIXED, "US"},
	{"us-east-1.api.x.ai", "", HOST_FIXED, "US"},
	{"eu-west-1.api.x.ai", "", HOST_FIXED, "EU:IE"},
	{"api.groq.com", "", HOST_FIXED, "GLOBAL"},
	{"api.deepseek.com", "", HOST_FIXED, "CN"},
	{"api.cohere.com", "", HOST_FIXED, "GLOBAL"},
	{"api.cohere.ai", "", HOST_FIXED, "GLOBAL"},
	{"openrouter.ai", "", HOST_FIXED, "GLOBAL"},
	{"api.perplexity.ai", "", HOST_FIXED, "GLOBAL"},
	{"api.together.xyz", "", HOST_FIXED, "GLOBAL"},
	{"api.together.ai", "", HOST_FIXED, "GLOBAL"},
	{"api.fireworks.ai", "", HOST_FIXED, "GLOBAL"},
	{"router.huggingface.co", "", HOST_FIXED, "GLOBAL"},
	{"api.cerebras.ai", "", HOST_FIXED, "GLOBAL"},
	{"generativelanguage.googleapis.com", "", HOST_FIXED, "GLOBAL"},
	{"bedrock-mantle.", ".api.aws", HOST_MANTLE, NULL},
	{"bedrock-runtime.", ".amazonaws.com", HOST_AWS, NULL},
	{"bedrock-runtime-fips.", ".amazonaws.com", HOST_AWS, NULL},
	{"bedrock-runtime.", ".api.aws", HOST_AWS, NULL},
	{"bedrock-runtime-fips.", ".api.aws", HOST_AWS, NULL},
	{"bedrock-runtime.", ".amazonaws.com.cn", HOST_AWS, NULL},
	{"bedrock-runtime.", ".amazonaws.eu", HOST_AWS, NULL},
	{"aiplatform.googleapis.com", "", HOST_GCP_ANY, NULL},
	{"aiplatform.", ".rep.googleapis.com", HOST_GCP, NULL},
	{"", "-aiplatform.googleapis.com", HOST_GCP, NULL},
};

static bool set_code(struct eg_region *out, const char *code)
{
	snprintf(out->code, sizeof(out->code), "%s", code);
	return true;
}

static bool find_name(const struct region_name *table, size_t count, struct eg_str name,
		      struct eg_region *out)
{
	for (size_t i = 0; i < count; i++)
		if (eg_str_eq(eg_str_from(table[i].name), name))
			return set_code(out, table[i].code);
	return false;
}

static bool find_member(struct eg_str code, struct eg_region *out)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(eu_members); i++)
		if (eg_str_eq(eg_str_from(eu_members[i]), code)) {
			snprintf(out->code, sizeof(out->code), "EU:%s", eu_members[i]);
			return true;
		}
	return false;
}

int eg_region_parse(struct eg_str text, struct eg_region *out)
{
	struct eg_region r;

	for (size_t i = 0; i < EG_ARRAY_SIZE(other_codes); i++)
		if (eg_str_eq(eg_str_from(other_codes[i]), text)) {
			set_code(out, other_codes[i]);
			return 0;
		}
	if ((eg_str_eq(text, EG_STR("GB")) && set_code(&r, "UK")) ||
	    find_member(eg_str_starts(text, EG_STR("EU:")) ? (struct eg_str){text.p + 3, text.n - 3}
							   : text,
			&r) ||
	    find_name(aws_regions, EG_ARRAY_SIZE(aws_regions), text, &r) ||
	    find_name(gcp_locations, EG_ARRAY_SIZE(gcp_locations), text, &r) ||
	    find_name(azure_regions, EG_ARRAY_SIZE(azure_regions), text, &r)) {
		*out = r;
		return 0;
	}
	return -ENOENT;
}

bool eg_region_text(size_t index, char out[32])
{
	static const struct {
		const struct region_name *names;
		size_t count;
	} tables[] = {
		{aws_regions, EG_ARRAY_SIZE(aws_regions)},
		{gcp_locations, EG_ARRAY_SIZE(gcp_locations)},
		{azure_regions, EG_ARRAY_SIZE(azure_regions)},
	};

	if (index < EG_ARRAY_SIZE(other_codes))
		return snprintf(out, 32, "%s", other_codes[index]) > 0;
	index -= EG_ARRAY_SIZE(other_codes);
	if (!index)
		return snprintf(out, 32, "GB") > 0;
	index--;
	if (index < 2 * EG_ARRAY_SIZE(eu_members))
		return snprintf(out, 32, "%s%s", index % 2 ? "EU:" : "", eu_members[index / 2]) > 0;
	index -= 2 * EG_ARRAY_SIZE(eu_members);
	for (size_t t = 0; t < EG_ARRAY_SIZE(tables); t++) {
		if (index < tables[t].count)
			return snprintf(out, 32, "%s", tables[t].names[index].name) > 0;
		index -= tables[t].count;
	}
	return false;
}

/* The label of `host` between prefix and suffix, .n 0 when it is not of that form. */
static struct eg_str label_between(struct eg_str host, const struct host_region *h)
{
	struct eg_str prefix = eg_str_from(h->prefix), suffix = eg_str_from(h->suffix), label;

	if (host.n <= prefix.n + suffix.n || !eg_str_starts(host, prefix) ||
	    !eg_str_ends(host, suffix))
		return (struct eg_str){0};
	label = (struct eg_str){host.p + prefix.n, host.n - prefix.n - suffix.n};
	return eg_str_find(label, '.') < 0 ? label : (struct eg_str){0};
}

/* Every name of one row: the regions that may stand in it. *count: how many there are. */
static const struct region_name *names_of(const struct host_region *h, size_t *count)
{
	switch (h->rule) {
	case HOST_AWS:
	case HOST_MANTLE:
		*count = EG_ARRAY_SIZE(aws_regions);
		return aws_regions;
	case HOST_GCP:
		*count = EG_ARRAY_SIZE(gcp_locations);
		return gcp_locations;
	case HOST_FIXED:
	case HOST_GCP_ANY:
		break;
	}
	*count = 1;
	return NULL;
}

bool eg_region_host(size_t index, char out[EG_KNOWN_NAME])
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(host_regions); i++) {
		const struct host_region *h = &host_regions[i];
		size_t count;
		const struct region_name *names = names_of(h, &count);

		if (index < count) {
			snprintf(out, EG_KNOWN_NAME, "%s%s%s", h->prefix,
				 names ? names[index].name : "", h->suffix);
			return true;
		}
		index -= count;
	}
	return false;
}

/* The path segment after "/locations/", .n 0 when there is none or more than one. */
static struct eg_str location_of_path(struct eg_str path)
{
	static const struct eg_str word = EG_STR("/locations/");
	struct eg_str found = {0};

	for (size_t i = 0; i + word.n <= path.n; i++) {
		struct eg_str after = {path.p + i + word.n, path.n - i - word.n};
		ssize_t slash = eg_str_find(after, '/');

		if (!eg_str_starts((struct eg_str){path.p + i, path.n - i}, word))
			continue;
		if (found.n)
			return (struct eg_str){0};
		found = (struct eg_str){after.p, slash < 0 ? after.n : (size_t)slash};
	}
	return found;
}

static const struct host_region *find_host(struct eg_str host, struct eg_str *label)
{
	for (size_t i = 0; i < EG_ARRAY_SIZE(host_regions); i++) {
		const struct host_region *h = &host_regions[i];

		*label = (struct eg_str){0};
		if (!*h->suffix) {
			if (eg_str_eq(host, eg_str_from(h->prefix)))
				return h;
			continue;
		}
		*label = label_between(host, h);
		if (label->n)
			return h;
	}
	return NULL;
}

void eg_region_of_endpoint(struct eg_str host, struct eg_str base_path, struct eg_region *out)
{
	const struct host_region *h;
	struct eg_str label;

	*out = (struct eg_region){0};
	h = find_host(host, &label);
	if (!h)
		return;
	switch (h->rule) {
	case HOST_FIXED:
		set_code(out, h->code);
		break;
	case HOST_AWS:
	case HOST_MANTLE:
		(void)find_name(aws_regions, EG_ARRAY_SIZE(aws_regions), label, out);
		break;
	case HOST_GCP:
		/* Host and path must name the same place, else nobody can say which one counts. */
		if (eg_str_eq(location_of_path(base_path), label))
			(void)find_name(gcp_locations, EG_ARRAY_SIZE(gcp_locations), label, out);
		break;
	case HOST_GCP_ANY:
		set_code(out, "GLOBAL");
		break;
	}
}

void eg_region_of_host(struct eg_str host, struct eg_region *out)
{
	struct eg_str label;
	const struct host_region *h = find_host(host, &label);

	eg_region_of_endpoint(host, (struct eg_str){0}, out);
	if (h && h->rule == HOST_GCP)
		(void)find_name(gcp_locations, EG_ARRAY_SIZE(gcp_locations), label, out);
}

/* "anthropic.claude-...": does it begin with a vendor of Bedrock's? Their list, since a prefix that
 * is none may be a geography made later. */
static bool begins_with_vendor(struct eg_str model)
{
	static const struct eg_str vendors[] = {
		EG_STR("ai21."),      EG_STR("amazon."),     EG_STR("anthropic."),
		EG_STR("cohere."),    EG_STR("deepseek."),   EG_STR("google."),
		EG_STR("luma."),      EG_STR("meta."),	     EG_STR("minimax."),
		EG_STR("mistral."),   EG_STR("moonshot."),   EG_STR("moonshotai."),
		EG_STR("nvidia."),    EG_STR("openai."),     EG_STR("qwen."),
		EG_STR("stability."), EG_STR("twelvelabs."), EG_STR("writer."),
		EG_STR("xai."),	      EG_STR("zai."),
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(vendors); i++)
		if (eg_str_starts(model, vendors[i]))
			return true;
	return false;
}

/* Bedrock's geographic inference profiles: a model id with such a prefix runs anywhere in that
 * geography, wherever the host is. True when the model id said something of it; what is neither a
 * vendor's model nor a geography and a vendor's model may run anywhere. */
static bool region_of_profile(struct eg_str model, struct eg_region *io)
{
	static const struct region_name prefixes[] = {
		{"us.", "US"}, {"eu.", "EU"},	      {"jp.", "JP"},	     {"au.", "AU"},
		{"ca.", "CA"}, {"us-gov.", "US-GOV"}, {"global.", "GLOBAL"},
	};
	const char *code = "";

	if (eg_str_find(model, '/') < 0 && eg_str_find(model, '.') < 0 &&
	    eg_str_find(model, ':') < 0)
		return false; /* a name without a vendor */
	if (eg_str_find(model, '/') < 0 && begins_with_vendor(model))
		return false;
	for (size_t i = 0; i < EG_ARRAY_SIZE(prefixes); i++) {
		size_t n = strlen(prefixes[i].name);

		/* An ARN or a path may wrap any of them. */
		if (eg_str_starts(model, eg_str_from(prefixes[i].name)) &&
		    eg_str_find(model, '/') < 0 &&
		    begins_with_vendor((struct eg_str){model.p + n, model.n - n}))
			code = prefixes[i].code;
	}
	return set_code(io, code);
}

/* Of Bedrock's OpenAI-compatible hosts only recorded traffic is known: a model id that names a
 * geography is nowhere, unless policy states the endpoint's region and the geography lies in it. */
static void region_at_mantle(const struct eg_region *endpoint, bool stated, struct eg_str model,
			     struct eg_region *out)
{
	if (!region_of_profile(model, out) || !strcmp(out->code, "GLOBAL"))
		return;
	if (!stated || !eg_region_satisfies(out, endpoint))
		set_code(out, "");
}

void eg_region_of_request(enum eg_dialect d, struct eg_str host, const struct eg_region *endpoint,
			  bool stated, struct eg_str model, const struct eg_body_facts *body,
			  struct eg_region *out)
{
	struct eg_str label;
	/* Asked for each request: hosts whose models say where they run all begin so. */
	const struct host_region *h =
		eg_str_starts(host, EG_STR("bedrock-")) ? find_host(host, &label) : NULL;

	*out = *endpoint;
	if (h && h->rule == HOST_AWS && model.n)
		(void)region_of_profile(model, out);
	if (h && h->rule == HOST_MANTLE && model.n)
		region_at_mantle(endpoint, stated, model, out);
	/* inference_geo: "us" or "global" (Anthropic's data residency documentation). */
	if (d == EG_DIALECT_ANTHROPIC && body->has_inference_geo) {
		if (eg_str_eq(body->inference_geo, EG_STR("us"))) {
			/* Elsewhere it proves nothing, and asks for another place. */
			if (eg_str_eq(host, EG_STR("api.anthropic.com")))
				set_code(out, "US");
			else if (strcmp(endpoint->code, "US") != 0)
				set_code(out, "");
		} else {
			set_code(out,
				 eg_str_eq(body->inference_geo, EG_STR("global")) ? "GLOBAL" : "");
		}
	}
}

bool eg_region_satisfies(const struct eg_region *r, const struct eg_region *allowed)
{
	if (!*r->code || !*allowed->code || !strcmp(r->code, "GLOBAL"))
		return false;
	if (!strcmp(r->code, allowed->code))
		return true;
	return !strcmp(allowed->code, "EU") && !strncmp(r->code, "EU:", 3);
}
