/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/option_values.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/plan.h"

#define RESOLV_CONF "/etc/resolv.conf"

int eg_option_bad(struct eg_error *e, const char *option, const char *value, const char *expected)
{
	return eg_error_set(e, -EINVAL, "--%s: '%.100s'; expected %s", option, value, expected);
}

int eg_option_number(struct eg_error *e, const char *option, const char *value, uint64_t least,
		     uint64_t most, unsigned int *out)
{
	uint64_t n;

	if (eg_str_u64(eg_str_from(value), &n) || n < least || n > most)
		return eg_error_set(e, -EINVAL,
				    "--%s: '%.100s'; expected a number from %llu to %llu", option,
				    value, (unsigned long long)least, (unsigned long long)most);
	*out = (unsigned int)n;
	return 0;
}

int eg_option_word(const char *value, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(value, words[i]))
			return (int)i;
	return -1;
}

/* A copy that a list may be cut from. o->memory has room for every argument once. */
static char *keep(struct eg_options *o, const char *value)
{
	char *p = o->memory + o->memory_used;
	size_t n = strlen(value) + 1;

	memcpy(p, value, n);
	o->memory_used += n;
	return p;
}

int eg_option_links(struct eg_options *o, const char *value, struct eg_error *e)
{
	char *at = keep(o, value), *save = NULL;

	for (char *name = strtok_r(at, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
		if (!strcmp(name, "auto")) {
			o->uplink_auto = true;
			continue;
		}
		if (o->uplink_count == EG_OPTION_LINKS)
			return eg_option_bad(e, "uplink", value, "at most 16 interfaces");
		if (strlen(name) >= IFNAMSIZ || strchr(name, '/'))
			return eg_option_bad(e, "uplink", name, "the name of an interface");
		o->uplinks[o->uplink_count++] = name;
	}
	return o->uplink_count || o->uplink_auto
		       ? 0
		       : eg_option_bad(e, "uplink", value, "the name of an interface, or auto");
}

/* Nothing, or ":53". */
static bool is_port(const char *s)
{
	unsigned long n = 0;

	if (!*s)
		return true;
	if (*s++ != ':' || !*s)
		return false;
	for (; *s >= '0' && *s <= '9' && n <= UINT16_MAX; s++)
		n = n * 10 + (unsigned long)(*s - '0');
	return !*s && n && n <= UINT16_MAX;
}

/* "10.0.0.10", "10.0.0.10:53", "[fd00::a]:53": *host is the address part; the rest, or NULL. */
static const char *split_server(const char *server, char host[64])
{
	const char *end, *first = server;

	if (*server == '[') {
		first = server + 1;
		end = strchr(first, ']');
		if (!end)
			return NULL;
	} else {
		end = strchr(server, ':');
		if (!end || strchr(end + 1, ':'))
			end = server + strlen(server);
	}
	if (end - first >= 64 || !is_port(end + (*end == ']')))
		return NULL;
	memcpy(host, first, (size_t)(end - first));
	host[end - first] = '\0';
	return end + (*end == ']');
}

/* At the end of the list, as the gateway's resolver reads it: no empty places, and brackets only
 * round an IPv6 address that has a port. */
static int add_resolver(struct eg_options *o, const char *server, struct eg_error *e)
{
	size_t used = strlen(o->resolver_text), room = sizeof(o->resolver_text) - used;
	char host[64];
	const char *port = split_server(server, host);
	bool brackets;

	if (o->resolver_count == EG_OPTION_SERVERS)
		return eg_option_bad(e, "resolver", server, "at most 8 addresses");
	if (!port || eg_address_from_text(host, &o->resolvers[o->resolver_count]))
		return eg_option_bad(e, "resolver", server,
				     "an IP address, with or without :port, or auto");
	brackets = *port && strchr(host, ':');
	if ((size_t)snprintf(o->resolver_text + used, room, "%s%s%s%s%s", used ? "," : "",
			     brackets ? "[" : "", host, brackets ? "]" : "", port) >= room)
		return eg_option_bad(e, "resolver", server,
				     "at most 255 characters of all servers");
	o->resolver_count++;
	o->resolver = o->resolver_text;
	return 0;
}

int eg_option_resolv_conf(struct eg_options *o, const char *path, struct eg_error *e)
{
	FILE *f = fopen(path, "re");
	char line[512], server[64];
	size_t before = o->resolver_count;
	int r = 0;

	if (!f)
		return eg_error_set(e, -errno, "--resolver auto: cannot read %s: %s", path,
				    strerror(errno));
	while (!r && fgets(line, sizeof(line), f)) {
		struct eg_address a;

		/* resolv.conf(5). An address with a scope (fe80::1%eth0) is of the node alone. */
		if (sscanf(line, " nameserver %63s", server) != 1 || strchr(server, '%'))
			continue;
		if (!eg_address_from_text(server, &a) && eg_address_never_pod(&a))
			r = eg_error_set(e, -EINVAL,
					 "--resolver auto: %s names %s, a resolver of this machine "
					 "alone, which no pod asks; name the pods' servers",
					 path, server);
		else
			r = add_resolver(o, server, e);
	}
	fclose(f);
	if (!r && o->resolver_count == before)
		r = eg_error_set(e, -ENOENT,
				 "--resolver auto: %s has no nameserver line that "
				 "could be used",
				 path);
	return r;
}

int eg_option_resolvers(struct eg_options *o, const char *value, struct eg_error *e)
{
	char *save = NULL;
	int r = 0;

	for (char *s = strtok_r(keep(o, value), ",", &save); !r && s;
	     s = strtok_r(NULL, ",", &save))
		r = strcmp(s, "auto") != 0 ? add_resolver(o, s, e)
					   : eg_option_resolv_conf(o, RESOLV_CONF, e);
	return r || o->resolver_count
		       ? r
		       : eg_option_bad(e, "resolver", value, "an IP address, or auto");
}

int eg_option_forbid(struct eg_options *o, const char *value, struct eg_error *e)
{
	char *at = keep(o, value), *save = NULL;

	for (char *c = strtok_r(at, ",", &save); c; c = strtok_r(NULL, ",", &save)) {
		if (o->forbid_count == EG_OPTION_FORBID)
			return eg_option_bad(e, "forbid", c, "at most 64 ranges");
		if (eg_plan_cidr(eg_str_from(c), true, &o->forbid[o->forbid_count++]))
			return eg_option_bad(e, "forbid", c,
					     "a range such as 10.244.0.0/16 or fd00::/64");
		/* Every provider's address is in it: nothing would be captured, and nobody told. */
		if (!o->forbid[o->forbid_count - 1].prefix_bits)
			return eg_option_bad(
				e, "forbid", c,
				"a range of the node's or the cluster's, not every address");
	}
	return 0;
}

/* IF=auto|native|generic|off, with "+uplink" for a link where traffic comes from outside. */
int eg_option_xdp(struct eg_options *o, const char *value, struct eg_error *e)
{
	static const enum eg_xdp_mode modes[] = {EG_XDP_AUTO, EG_XDP_NATIVE, EG_XDP_GENERIC,
						 EG_XDP_OFF};
	char *at = keep(o, value), *save = NULL;

	for (char *one = strtok_r(at, ",", &save); one; one = strtok_r(NULL, ",", &save)) {
		char *mode = strchr(one, '='), *plus;
		struct eg_xdp_link *x = &o->xdp[o->xdp_count];
		int i;

		if (o->xdp_count == EG_OPTION_LINKS)
			return eg_option_bad(e, "xdp", value, "at most 16 interfaces");
		if (!mode || mode == one)
			return eg_option_bad(e, "xdp", one,
					     "IF=auto, IF=native, IF=generic or IF=off");
		*mode++ = '\0';
		plus = strchr(mode, '+');
		if (plus) {
			if (strcmp(plus, "+uplink") != 0)
				return eg_option_bad(e, "xdp", plus, "+uplink");
			x->uplink = true;
			*plus = '\0';
		}
		i = EG_OPTION_WORD(mode, "auto", "native", "generic", "off");
		if (i < 0)
			return eg_option_bad(e, "xdp", mode, "auto, native, generic or off");
		x->name = one;
		x->mode = modes[i];
		o->xdp_count++;
	}
	return 0;
}

static bool pods_can_reach(const struct eg_address *a)
{
	struct in6_addr six;

	memcpy(&six, a, sizeof(six));
	if (eg_address_is4(a))
		return six.s6_addr[12] && six.s6_addr[12] != 127 && six.s6_addr[12] < 224;
	return !IN6_IS_ADDR_UNSPECIFIED(&six) && !IN6_IS_ADDR_LOOPBACK(&six) &&
	       !IN6_IS_ADDR_MULTICAST(&six);
}

int eg_option_gateway(const char *option, const char *value, bool four, bool *set,
		      struct eg_address *out, struct eg_error *e)
{
	*set = strcmp(value, "none") != 0;
	if (!*set)
		return 0;
	if (eg_address_from_text(value, out) || eg_address_is4(out) != four)
		return eg_option_bad(e, option, value,
				     four ? "an IPv4 address or none" : "an IPv6 address or none");
	if (!pods_can_reach(out))
		return eg_option_bad(
			e, option, value,
			"an address that pods can reach, not unspecified, loopback or multicast");
	return 0;
}

int eg_option_metrics(struct eg_options *o, const char *value, struct eg_error *e)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&o->metrics;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&o->metrics;
	const char *colon = strrchr(value, ':');
	char host[64];
	size_t n;

	memset(&o->metrics, 0, sizeof(o->metrics));
	o->metrics_length = 0;
	o->metrics_port = 0;
	if (!strcmp(value, "none"))
		return 0;
	n = colon ? (size_t)(colon - value) : 0;
	if (!n || n >= sizeof(host))
		return eg_option_bad(e, "metrics", value, "ADDRESS:PORT, or none");
	memcpy(host, value, n);
	host[n] = '\0';
	if (eg_option_number(e, "metrics", colon + 1, 1, 65535, &o->metrics_port))
		return -EINVAL;
	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)o->metrics_port);
		o->metrics_length = sizeof(*v4);
		return 0;
	}
	if (host[0] == '[' && host[n - 1] == ']') {
		host[n - 1] = '\0';
		if (inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1) {
			v6->sin6_family = AF_INET6;
			v6->sin6_port = htons((uint16_t)o->metrics_port);
			o->metrics_length = sizeof(*v6);
			return 0;
		}
	}
	return eg_option_bad(e, "metrics", value,
			     "an IP address with a port, 127.0.0.1:PORT or [::1]:PORT");
}

/* "10.96.0.1:443", "[fd00::1]:443" */
int eg_option_kube_api(struct eg_options *o, const char *value, struct eg_error *e)
{
	char *at = keep(o, value), *colon = strrchr(at, ':');
	struct eg_address a;

	if (!colon || eg_option_number(e, "kube-api", colon + 1, 1, 65535, &o->kube_port))
		return eg_option_bad(e, "kube-api", value, "ADDRESS:PORT");
	*colon = '\0';
	if (*at == '[' && colon[-1] == ']') {
		colon[-1] = '\0';
		at++;
	}
	if (eg_address_from_text(at, &a))
		return eg_option_bad(e, "kube-api", value,
				     "an IP address with a port, 10.96.0.1:443 or [fd00::1]:443");
	o->kube_host = at;
	return 0;
}

/* A DNS subdomain (RFC 1123), as Kubernetes has it: it goes into a query. */
bool eg_option_is_node_name(const char *s)
{
	size_t n = strlen(s);

	return n && n <= 253 && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789.-") == n &&
	       s[0] != '.' && s[0] != '-' && s[n - 1] != '.' && s[n - 1] != '-';
}

int eg_option_namespace(struct eg_options *o, const char *value, struct eg_error *e)
{
	if (!*value || strlen(value) > 64 || strchr(value, '/') || *value == '.')
		return eg_option_bad(e, "agent-namespace", value, "a name without a slash");
	snprintf(o->agent_namespace, sizeof(o->agent_namespace), "/run/netns/%s", value);
	return 0;
}

int eg_option_choose(struct eg_error *e, const char *option, const char *value, int found,
		     const char *expected, int *out)
{
	if (found < 0)
		return eg_option_bad(e, option, value, expected);
	*out = found;
	return 0;
}
