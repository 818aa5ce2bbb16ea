/* SPDX-License-Identifier: Apache-2.0 */
/* Networks that are governed by address, whatever name led to them. */
#include "policy/source.h"

#include <arpa/inet.h>
#include <stdio.h>

static bool cidr_text(const struct place *at, const char *text, char *out, size_t cap)
{
	unsigned char address[16] = {0}, check;
	const char *slash = strchr(text, '/');
	bool v6 = strchr(text, ':') != NULL;
	unsigned int width = v6 ? 128 : 32, least = v6 ? 16 : 8;
	char host[64], canonical[64];
	uint64_t bits = width;

	/* inet_ntop() writes no zero before a number, and what is read here is shown again. */
	if (!slash || (size_t)(slash - text) >= sizeof(host) || (slash[1] == '0' && slash[2]) ||
	    eg_str_u64(eg_str_from(slash + 1), &bits) || bits > width)
		goto bad;
	memcpy(host, text, (size_t)(slash - text));
	host[slash - text] = '\0';
	if (inet_pton(v6 ? AF_INET6 : AF_INET, host, address) != 1)
		goto bad;
	if (v6 && !memcmp(address, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12)) {
		source_error(at,
			     "%.60s is IPv4 written as IPv6, which no packet has; expected "
			     "%u.%u.%u.%u and a prefix of at most /32",
			     text, address[12], address[13], address[14], address[15]);
		return false;
	}
	if (bits < least) {
		source_error(at,
			     "%.60s governs too much; expected at least /%u (for every TLS "
			     "connection of a pod use \"capture\": \"all_tls\")",
			     text, least);
		return false;
	}
	for (size_t i = 0; i < width / 8; i++) {
		check = (unsigned char)(bits >= (i + 1) * 8 ? 0
					: bits <= i * 8	    ? 0xff
							    : 0xff >> (bits - i * 8));
		if (address[i] & check) {
			source_error(at,
				     "%.60s has bits set after its prefix; expected the "
				     "network's own address",
				     text);
			return false;
		}
	}
	if ((!v6 && (address[0] == 127 || address[0] == 0 || address[0] >= 224 ||
		     (address[0] == 169 && address[1] == 254))) ||
	    (v6 && (address[0] == 0xff || (address[0] == 0xfe && (address[1] & 0xc0) == 0x80) ||
		    !memcmp(address, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 15)))) {
		source_error(at,
			     "%.60s is loopback, link-local or multicast; expected a network "
			     "that pods reach over their link",
			     text);
		return false;
	}
	inet_ntop(v6 ? AF_INET6 : AF_INET, address, canonical, sizeof(canonical));
	snprintf(out, cap, "%s/%u", canonical, (unsigned int)bits);
	return true;
bad:
	source_error(at,
		     "\"%.60s\" is not a network; expected address/bits such as 203.0.113.0/24 or "
		     "2001:db8::/32",
		     text);
	return false;
}

static void read_destination(const struct place *at, json_t *v)
{
	struct eg_policy_set *s = at->l->set;
	const char *text = source_string(v, "cidr");
	struct place cidr_at = place_key(at, "cidr");
	char canonical[80];

	if (!text || !cidr_text(&cidr_at, text, canonical, sizeof(canonical)))
		return;
	for (size_t i = 0; i < s->cidr_count; i++)
		if (!strcmp(s->cidrs[i], canonical)) {
			source_error(&cidr_at, "%s is a destination already; expected each once",
				     canonical);
			return;
		}
	s->cidrs[s->cidr_count] = source_dup(at->l, canonical);
	s->cidr_count += s->cidrs[s->cidr_count] != NULL;
}

void read_destinations(struct loading *l)
{
	size_t count = 0, at_index;

	for (size_t i = 0; i < l->document_count; i++)
		count += json_array_size(source_array(l->documents[i].root, "destinations"));
	if (count > EG_POLICY_MAX_CIDRS) {
		source_file_error(l, NULL, "%zu destinations; expected at most %u", count,
				  EG_POLICY_MAX_CIDRS);
		return;
	}
	l->set->cidrs = source_alloc(l, count, sizeof(*l->set->cidrs));
	for (size_t i = 0; i < l->document_count && l->set->cidrs; i++) {
		struct place root = {.l = l, .document = &l->documents[i]};
		struct place list = place_key(&root, "destinations");
		json_t *v;

		json_array_foreach(source_array(l->documents[i].root, "destinations"), at_index, v)
		{
			struct place at = place_index(&list, at_index),
				     hosts = place_key(&at, "hosts");
			size_t hosts_count;

			read_destination(&at, v);
			(void)source_strings(&hosts, source_array(v, "hosts"), &hosts_count,
					     source_pattern);
		}
	}
}
