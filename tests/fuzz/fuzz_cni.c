/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One file of the CNI result cache. What is taken is a pod's and can be used as it is; what is not
 * looked for changes nothing; and no part of a file is taken for the whole.
 */
#include "datapath/cni_file.h"
#include "datapath/datapath.h"
#include "fuzz.h"

static int parse(struct eg_str text, struct eg_arena *m, struct eg_cni_file *out)
{
	char *copy = fuzz_copy(text.p, text.n);
	struct eg_error e = {""};
	int r;

	eg_arena_init(m, 0);
	r = eg_cni_parse("f", copy, text.n, m, out, &e);
	free(copy);
	FUZZ_CHECK(r == 0 || r == -EINVAL || r == -ENODATA);
	FUZZ_CHECK(!r || !strncmp(e.text, "f: ", 3));
	return r;
}

static void usable_text(const char *s, size_t most)
{
	FUZZ_CHECK(s && *s && strlen(s) <= most);
}

static void usable(const struct eg_cni_file *f)
{
	usable_text(f->identity.namespace_name, 253);
	usable_text(f->identity.name, 253);
	usable_text(f->identity.uid, 253);
	FUZZ_CHECK(f->identity.labels_unknown && f->identity.service_account_unknown &&
		   f->identity.namespace_labels_unknown && !*f->identity.service_account);
	FUZZ_CHECK(!f->sandbox || (*f->sandbox == '/' && strlen(f->sandbox) < 4096));
	FUZZ_CHECK(f->address_count <= EG_POD_ADDRESSES && f->link_count <= EG_CNI_LINKS);
	FUZZ_CHECK(!f->addresses_more || f->address_count == EG_POD_ADDRESSES);
	for (size_t i = 0; i < f->address_count; i++) {
		FUZZ_CHECK(!eg_address_never_pod(&f->addresses[i]));
		for (size_t k = 0; k < i; k++)
			FUZZ_CHECK(memcmp(&f->addresses[i], &f->addresses[k],
					  sizeof(f->addresses[0])));
	}
	for (size_t i = 0; i < f->link_count; i++) {
		usable_text(f->links[i], 15);
		FUZZ_CHECK(!strpbrk(f->links[i], "/: \n"));
	}
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

static void same(const struct eg_cni_file *a, const struct eg_cni_file *b)
{
	FUZZ_CHECK(same_text(a->identity.namespace_name, b->identity.namespace_name) &&
		   same_text(a->identity.name, b->identity.name) &&
		   same_text(a->identity.uid, b->identity.uid) &&
		   same_text(a->sandbox, b->sandbox));
	FUZZ_CHECK(a->address_count == b->address_count && a->link_count == b->link_count &&
		   a->addresses_more == b->addresses_more);
	FUZZ_CHECK(!memcmp(a->addresses, b->addresses, sizeof(a->addresses)));
	for (size_t i = 0; i < a->link_count; i++)
		FUZZ_CHECK(same_text(a->links[i], b->links[i]));
}

/* The same with something more in it, that an author of pods could have put there. */
static void with_more(struct eg_str text, int r, const struct eg_cni_file *f)
{
	static const char more[] =
		"{\"capabilityArgs\":{\"a\":\"\\u0000{\\\"kind\\\":\",\"ips\":[{}]},\"\":[[]],";
	size_t at = 0;
	struct eg_cni_file again;
	struct eg_arena m;
	char *longer;

	while (at < text.n && strchr(" \t\r\n", text.p[at]) && text.p[at])
		at++;
	if (at == text.n || text.p[at] != '{')
		return;
	longer = malloc(sizeof(more) + text.n);
	if (!longer)
		abort();
	memcpy(longer, more, sizeof(more) - 1);
	memcpy(longer + sizeof(more) - 1, text.p + at + 1, text.n - at - 1);
	FUZZ_CHECK(parse((struct eg_str){longer, sizeof(more) - 1 + text.n - at - 1}, &m, &again) ==
		   r);
	if (!r)
		same(f, &again);
	eg_arena_fini(&m);
	free(longer);
}

/* Cut at one place: but for blanks at its end it is not whole. */
static void cut(struct eg_str text, uint64_t seed)
{
	struct eg_cni_file f;
	struct eg_arena m;
	size_t n = fuzz_step(&seed, text.n);

	while (text.n && strchr(" \t\r\n", text.p[text.n - 1]) && text.p[text.n - 1])
		text.n--;
	if (n < text.n)
		FUZZ_CHECK(parse((struct eg_str){text.p, n}, &m, &f) == -EINVAL);
	else
		eg_arena_init(&m, 0);
	eg_arena_fini(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct eg_str text = {(const char *)data, size};
	struct eg_cni_file f;
	struct eg_arena m;
	int r = parse(text, &m, &f);

	if (!r) {
		usable(&f);
		cut(text, fuzz_seed(data, size));
	}
	if (r != -EINVAL)
		with_more(text, r, &f);
	eg_arena_fini(&m);
	return 0;
}
