/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Targets, authorities and queries. Oracles: an accepted path, decoded by a plain decoder, has
 * nothing another reader could move; the parts put together read the same; no dropped key is left.
 */
#include "fuzz.h"
#include "proto/uri.h"

static size_t plain_decode(const char *p, size_t n, char *out)
{
	size_t m = 0;

	for (size_t i = 0; i < n; i++) {
		unsigned int byte;
		char two[3] = {0};

		if (p[i] == '%' && i + 2 < n) {
			memcpy(two, p + i + 1, 2);
			if (strspn(two, "0123456789abcdefABCDEF") == 2 &&
			    sscanf(two, "%2x", &byte) == 1) {
				out[m++] = (char)byte;
				i += 2;
				continue;
			}
		}
		out[m++] = p[i];
	}
	out[m] = '\0';
	return m;
}

static void check_path(const struct eg_target *t)
{
	char *plain = malloc(t->path.n + 1);
	size_t n;

	if (!plain)
		abort();
	n = plain_decode(t->path.p, t->path.n, plain);
	FUZZ_CHECK(t->path.n && t->path.p[0] == '/');
	FUZZ_CHECK(n == t->decoded.n && !memcmp(plain, t->decoded.p, n));
	FUZZ_CHECK(strlen(plain) == n); /* no NUL */
	FUZZ_CHECK(!strstr(plain, "/../") && !strstr(plain, "/./") && !strstr(plain, "//"));
	FUZZ_CHECK(!strstr(plain, "/..;") && !strstr(plain, "/.;") && !strchr(plain, '\\'));
	FUZZ_CHECK(n < 2 || strcmp(plain + n - 2, "/.") != 0);
	FUZZ_CHECK(n < 3 || strcmp(plain + n - 3, "/..") != 0);
	for (size_t i = 0; i < n; i++)
		FUZZ_CHECK((unsigned char)plain[i] >= 32 && plain[i] != 127);
	/* as many slashes as were sent: none was hidden */
	size_t sent = 0, found = 0;

	for (size_t i = 0; i < t->path.n; i++)
		sent += t->path.p[i] == '/';
	for (size_t i = 0; i < n; i++)
		found += plain[i] == '/';
	FUZZ_CHECK(sent == found);
	free(plain);
}

static void check_again(struct eg_arena *a, const struct eg_target *t)
{
	struct eg_target again;
	char port[8] = "";
	char *text;

	if (t->port)
		snprintf(port, sizeof(port), ":%u", t->port);
	text = eg_arena_printf(a, "%.*s%s%.*s%s%.*s%s%.*s", EG_STR_ARG(t->scheme),
			       t->absolute ? "://" : "", EG_STR_ARG(t->host), port,
			       EG_STR_ARG(t->path), t->query.p ? "?" : "", EG_STR_ARG(t->query));
	FUZZ_CHECK(text && !eg_target_parse(a, eg_str_from(text), &again));
	FUZZ_CHECK(again.absolute == t->absolute && again.port == t->port);
	FUZZ_CHECK(fuzz_same(again.host, t->host) && fuzz_same(again.path, t->path));
	FUZZ_CHECK(fuzz_same(again.query, t->query) && fuzz_same(again.decoded, t->decoded));
}

static bool names_key(const char *p, size_t n)
{
	char *plain = malloc(n + 1);
	bool is;
	size_t m;

	if (!plain)
		abort();
	m = plain_decode(p, n, plain);
	for (size_t i = 0; i < m; i++)
		if (plain[i] >= 'A' && plain[i] <= 'Z')
			plain[i] = (char)(plain[i] + 32);
	is = m == 3 && !memcmp(plain, "key", 3);
	free(plain);
	return is;
}

/* Number of pairs, and of those named "key". */
static void count_pairs(struct eg_str q, size_t *pairs, size_t *keys)
{
	size_t from = 0;

	*pairs = *keys = 0;
	if (!q.n)
		q = EG_STR("");
	for (size_t i = 0; i <= q.n; i++) {
		size_t n = 0;

		if (i < q.n && q.p[i] != '&' && q.p[i] != ';')
			continue;
		while (from + n < i && q.p[from + n] != '=')
			n++;
		*keys += names_key(q.p + from, n);
		++*pairs;
		from = i + 1;
	}
}

static void check_query(struct eg_arena *a, struct eg_str query)
{
	struct eg_str drop = EG_STR("key"), out, twice;
	size_t before, keys, after, left;

	out = eg_query_without(a, query, &drop, 1);
	FUZZ_CHECK(out.p && out.n <= query.n);
	count_pairs(query, &before, &keys);
	count_pairs(out, &after, &left);
	FUZZ_CHECK(!left);
	FUZZ_CHECK(after <= before - keys || (after == 1 && !out.n));
	if (!keys && (!query.n || (query.p[0] != '&' && query.p[0] != ';')))
		FUZZ_CHECK(fuzz_same(out, query));
	twice = eg_query_without(a, out, &drop, 1);
	FUZZ_CHECK(twice.p && twice.n <= out.n);
}

static void check_authority(struct eg_str s)
{
	struct eg_str host, again;
	uint16_t port, port_again;
	char text[600];

	FUZZ_CHECK(!(eg_host_valid(s) && eg_host_is_ip(s)));
	if (eg_authority_parse(s, &host, &port))
		return;
	FUZZ_CHECK(host.n && host.n < 300);
	FUZZ_CHECK(eg_host_valid(host) != eg_host_is_ip(host));
	FUZZ_CHECK(!memchr(host.p, '@', host.n) && !memchr(host.p, '/', host.n));
	snprintf(text, sizeof(text), port ? "%.*s:%u" : "%.*s", EG_STR_ARG(host), port);
	FUZZ_CHECK(!eg_authority_parse(eg_str_from(text), &again, &port_again));
	FUZZ_CHECK(fuzz_same(host, again) && port == port_again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *bytes = fuzz_copy(data, size);
	struct eg_str text = {bytes, size};
	struct eg_target t;
	struct eg_arena a;
	int r;

	eg_arena_init(&a, 0);
	r = eg_target_parse(&a, text, &t);
	FUZZ_CHECK(!r || r == -EINVAL || r == -EPERM);
	if (!r) {
		check_path(&t);
		check_again(&a, &t);
		check_query(&a, t.query);
	}
	check_query(&a, text);
	check_authority(text);
	eg_arena_fini(&a);
	free(bytes);
	return 0;
}
