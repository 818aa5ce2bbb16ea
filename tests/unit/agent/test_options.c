/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: what is taken, and the sentence for what is not. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/option_values.h"
#include "loop/loop.h"
#include "net/resolver.h"

#define NEEDED		 "--resolver", "10.0.0.10", "--uplink", "eth0"
#define PARSE(o, e, ...) parse(o, e, (const char *[]){"egretd", __VA_ARGS__, NULL})

static int parse(struct eg_options *o, struct eg_error *e, const char **argv)
{
	int argc = 0;

	while (argv[argc])
		argc++;
	*e = (struct eg_error){""};
	return eg_options_parse(o, argc, (char **)(uintptr_t)argv, e);
}

static void test_defaults(void **state)
{
	struct eg_options o;
	struct eg_error e;

	assert_int_equal(PARSE(&o, &e, NEEDED), 0);
	assert_string_equal(o.policy_dir, "/etc/egret/policies");
	assert_string_equal(o.run_dir, "/run/egret");
	assert_string_equal(o.pin_dir, EG_PIN_DIR);
	assert_string_equal(o.agent_namespace, "/run/netns/egret");
	assert_int_equal(o.fail, EG_FAIL_CLOSED);
	assert_int_equal(o.unknown_pods, 0);
	assert_true(o.kube_events);
	assert_int_equal(o.mode, EG_MODE_NETNS);
	assert_int_equal(o.metrics_port, 9909);
	assert_true(o.gateway4_set && o.gateway6_set);
	assert_true(o.workers >= 1 && o.workers <= EG_MAX_WORKERS);
	assert_int_not_equal(o.gateway_uid, o.signer_uid);
	assert_null(o.link_prefix);
	eg_options_fini(&o);
}

static void test_no_metrics(void **state)
{
	struct eg_options o;
	struct eg_error e;

	assert_int_equal(PARSE(&o, &e, NEEDED, "--metrics", "none"), 0);
	assert_int_equal(o.metrics_length, 0);
	assert_int_equal(o.metrics_port, 0);
	eg_options_fini(&o);
	assert_int_equal(PARSE(&o, &e, NEEDED, "--metrics", "none", "--metrics", "127.0.0.1:80"),
			 0);
	assert_int_equal(o.metrics_length, sizeof(struct sockaddr_in));
	eg_options_fini(&o);
	assert_int_equal(PARSE(&o, &e, NEEDED, "--metrics", "[::1]:80", "--metrics", "none"), 0);
	assert_int_equal(o.metrics_length, 0);
	eg_options_fini(&o);
	/* Another address only for who has a token. */
	assert_int_equal(PARSE(&o, &e, NEEDED, "--metrics", "[::]:9909", "--metrics-token", "/t"),
			 0);
	assert_int_equal(o.metrics.ss_family, AF_INET6);
	assert_string_equal(o.metrics_token, "/t");
	eg_options_fini(&o);
}

static void test_lists(void **state)
{
	struct eg_options o;
	struct eg_error e;

	assert_int_equal(PARSE(&o, &e, "--uplink", "eth0,eth1", "--uplink=wlan0", "--resolver",
			       "10.0.0.10,[fd00::a]:53", "--forbid", "10.0.0.0/8,fd00::/64",
			       "--forbid", "192.168.0.1", "--xdp", "eth0=native+uplink,eth1=off",
			       "--gateway6", "none", "--metrics", "[::1]:9000", "--pin-dir",
			       "/sys/fs/bpf/other"),
			 0);
	assert_int_equal(o.uplink_count, 3);
	assert_string_equal(o.uplinks[1], "eth1");
	assert_string_equal(o.uplinks[2], "wlan0");
	assert_int_equal(o.resolver_count, 2);
	assert_string_equal(o.resolver, "10.0.0.10,[fd00::a]:53");
	assert_int_equal(o.forbid_count, 3);
	assert_int_equal(o.forbid[2].prefix_bits, 32);
	assert_true(o.forbid[0].excluded);
	assert_int_equal(o.xdp_count, 2);
	assert_string_equal(o.xdp[0].name, "eth0");
	assert_true(o.xdp[0].uplink && o.xdp[0].mode == EG_XDP_NATIVE);
	assert_true(!o.xdp[1].uplink && o.xdp[1].mode == EG_XDP_OFF);
	assert_false(o.gateway6_set);
	assert_int_equal(o.metrics.ss_family, AF_INET6);
	/* another pin directory: another namespace, always the same */
	assert_string_not_equal(o.agent_namespace, "/run/netns/egret");
	eg_options_fini(&o);
}

/* All --resolver options together are who is believed, and who is asked. */
static void test_resolvers(void **state)
{
	struct eg_options o;
	struct eg_error e;

	assert_int_equal(PARSE(&o, &e, "--resolver", "10.0.0.10", "--uplink", "auto,eth0",
			       "--resolver", "10.0.0.11:53,fd00::a"),
			 0);
	assert_int_equal(o.resolver_count, 3);
	assert_string_equal(o.resolver, "10.0.0.10,10.0.0.11:53,fd00::a");
	assert_true(o.uplink_auto);
	assert_int_equal(o.uplink_count, 1);
	eg_options_fini(&o);
}

/* What egretd takes, the gateway's resolver takes, too: else no gateway would start. */
static void test_resolver_forms(void **state)
{
	static const char *const rows[][2] = {
		{"10.0.0.10", "10.0.0.10"},
		{"10.0.0.10,", "10.0.0.10"},
		{",10.0.0.10,,10.0.0.11", "10.0.0.10,10.0.0.11"},
		{"[fd00::a]", "fd00::a"},
		{"[fd00::a]:53,fd00::b", "[fd00::a]:53,fd00::b"},
		{"[10.0.0.10]:53,10.0.0.11:5353", "10.0.0.10:53,10.0.0.11:5353"},
		{"::ffff:10.0.0.10", "::ffff:10.0.0.10"},
	};
	struct eg_loop *loop = eg_loop_create();

	assert_non_null(loop);
	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		struct eg_resolver *r;
		struct eg_options o;
		struct eg_error e;

		assert_int_equal(PARSE(&o, &e, "--uplink", "eth0", "--resolver", rows[i][0]), 0);
		assert_string_equal(o.resolver, rows[i][1]);
		r = eg_resolver_create(loop, o.resolver, &e);
		if (!r)
			fail_msg("%s: %s", rows[i][0], e.text);
		eg_resolver_destroy(r);
		eg_options_fini(&o);
	}
	eg_loop_destroy(loop);
}

static int resolv_conf(const char *text, struct eg_options *o, struct eg_error *e)
{
	char path[] = "/tmp/egret-resolv-XXXXXX";
	int fd = mkstemp(path), r;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	*o = (struct eg_options){.resolver_count = 0};
	*e = (struct eg_error){""};
	r = eg_option_resolv_conf(o, path, e);
	unlink(path);
	return r;
}

static void test_resolv_conf(void **state)
{
	struct eg_options o;
	struct eg_error e;

	assert_int_equal(resolv_conf("# nameserver 10.0.0.1\nsearch a b\nnameserver 10.96.0.10\n"
				     " nameserver\tfd00::a \nnameserver fe80::1%eth0\noptions x\n",
				     &o, &e),
			 0);
	assert_string_equal(o.resolver, "10.96.0.10,fd00::a");
	assert_int_equal(o.resolver_count, 2);
	assert_int_equal(resolv_conf("nameserver 127.0.0.53\n", &o, &e), -EINVAL);
	assert_non_null(strstr(e.text, "names 127.0.0.53, a resolver of this machine alone"));
	assert_int_equal(resolv_conf("nameserver dns.example\n", &o, &e), -EINVAL);
	assert_int_equal(resolv_conf("search a\n", &o, &e), -ENOENT);
	assert_non_null(strstr(e.text, "has no nameserver line"));
	assert_int_equal(eg_option_resolv_conf(&o, "/nonexistent/resolv.conf", &e), -ENOENT);
}

static void test_refused(void **state)
{
	static const char *const rows[][3] = {
		{"--mode", "tproxy", "--mode: 'tproxy'; expected netns or mark"},
		{"--fail", "maybe", "--fail: 'maybe'"},
		{"--unknown-pods", "drop", "hold, allow or deny"},
		{"--workers", "0", "a number from 1 to 16"},
		{"--workers", "17", "a number from 1 to 16"},
		{"--workers", "2x", "a number from 1 to 16"},
		{"--metrics", "0.0.0.0:9909", "a loopback address: 127.0.0.1:PORT"},
		{"--metrics", "127.0.0.1", "ADDRESS:PORT"},
		{"--metrics", "127.0.0.1:0", "a number from 1"},
		{"--metrics", "192.0.2.1:80", "a loopback address"},
		{"--gateway4", "fd00::1", "an IPv4 address"},
		{"--gateway4", "0.0.0.0", "an address that pods can reach"},
		{"--gateway4", "127.0.0.1", "an address that pods can reach"},
		{"--gateway4", "224.0.0.1", "an address that pods can reach"},
		{"--gateway6", "::", "an address that pods can reach"},
		{"--gateway6", "::1", "an address that pods can reach"},
		{"--gateway6", "ff02::1", "an address that pods can reach"},
		{"--gateway6", "10.0.0.1", "an IPv6 address"},
		{"--resolver", "dns.example", "an IP address"},
		{"--resolver", "10.0.0.10:", "'10.0.0.10:'; expected an IP address"},
		{"--resolver", "10.0.0.10:0", "an IP address"},
		{"--resolver", "10.0.0.10:65536", "an IP address"},
		{"--resolver", "10.0.0.10:53x", "an IP address"},
		{"--resolver", "10.0.0.10,[fd00::a]x", "'[fd00::a]x'; expected an IP address"},
		{"--resolver", "[fd00::a]:", "an IP address"},
		{"--resolver", "[10.0.0.10", "an IP address"},
		{"--forbid", "10.0.0.0/40", "a range"},
		{"--forbid", "10.0.0.0/0", "a range of the node's or the cluster's"},
		{"--forbid", "fd00::/64,::/0", "a range of the node's or the cluster's"},
		{"--xdp", "eth0", "IF=auto"},
		{"--xdp", "eth0=fast", "auto, native, generic or off"},
		{"--uplink", "a-very-long-interface-name", "the name of an interface"},
		{"--user-gateway", "0", "a number from 1"},
		{"--user-gateway", "64778", "the same uid"},
		{"--agent-namespace", "../x", "a name without a slash"},
		{"--kube-events", "yes", "--kube-events: 'yes'; expected on or off"},
		{"--log-level", "loud", "debug, info, warn or error"},
		{"--no-such", "x", "'--no-such' is not an option"},
		{"--drain", "-1", "a number from 0"},
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(rows); i++) {
		struct eg_options o;
		struct eg_error e;

		assert_int_equal(PARSE(&o, &e, NEEDED, rows[i][0], rows[i][1]), -EINVAL);
		if (!strstr(e.text, rows[i][2]))
			fail_msg("%s %s: \"%s\" does not say \"%s\"", rows[i][0], rows[i][1],
				 e.text, rows[i][2]);
		eg_options_fini(&o);
	}
}

static void test_missing(void **state)
{
	struct eg_options o;
	struct eg_error e;

	assert_int_equal(PARSE(&o, &e, "--uplink", "eth0"), -EINVAL);
	assert_non_null(strstr(e.text, "--resolver is missing"));
	eg_options_fini(&o);
	assert_int_equal(PARSE(&o, &e, "--resolver", "10.0.0.10"), -EINVAL);
	assert_non_null(strstr(e.text, "--uplink is missing"));
	eg_options_fini(&o);
	assert_int_equal(PARSE(&o, &e, NEEDED, "extra"), -EINVAL);
	assert_non_null(strstr(e.text, "'extra'"));
	eg_options_fini(&o);
	assert_int_equal(PARSE(&o, &e, NEEDED, "--fail"), -EINVAL);
	eg_options_fini(&o);
	/* an uninstall needs neither */
	assert_int_equal(PARSE(&o, &e, "--uninstall"), 0);
	assert_true(o.uninstall);
	eg_options_fini(&o);
}

static void test_host_network_pods(void **state)
{
	struct eg_options o;
	struct eg_error e;

	assert_int_equal(PARSE(&o, &e, NEEDED), 0);
	assert_false(o.host_pods_deny || o.cgroup_root);
	eg_options_fini(&o);
	assert_int_equal(PARSE(&o, &e, NEEDED, "--host-network-pods", "deny"), -EINVAL);
	assert_non_null(strstr(e.text, "add --kubernetes"));
	eg_options_fini(&o);
	assert_int_equal(PARSE(&o, &e, NEEDED, "--host-network-pods", "pass"), 0);
	eg_options_fini(&o);
	assert_int_equal(PARSE(&o, &e, NEEDED, "--host-network-pods", "no"), -EINVAL);
	eg_options_fini(&o);
	assert_int_equal(PARSE(&o, &e, NEEDED, "--kubernetes", "--node-name", "n1", "--kube-api",
			       "10.96.0.1:443", "--host-network-pods", "deny", "--cgroup-root",
			       "/host/cgroup"),
			 0);
	assert_true(o.host_pods_deny);
	assert_string_equal(o.cgroup_root, "/host/cgroup");
	eg_options_fini(&o);
	assert_int_equal(PARSE(&o, &e, NEEDED, "--cgroup-root", "here"), -EINVAL);
	eg_options_fini(&o);
	(void)state;
}

static void test_observe(void **state)
{
	static const char *const refused[][2] = {
		{"--ca-dir", "/x"},	    {"--credentials-dir", "/x"},
		{"--mode", "netns"},	    {"--fail", "open"},
		{"--guard-host", "deny"},   {"--xdp", "eth0=auto"},
		{"--gateway4", "none"},	    {"--gateway6", "none"},
		{"--unknown-pods", "deny"}, {"--workers", "1"},
		{"--drain", "1"},	    {"--access-log", "-"},
		{"--upstream-ca", "/x"},    {"--handover-socket", "none"},
		{"--user-gateway", "77"},   {"--user-signer", "78"},
		{"--agent-namespace", "x"}, {"--host-network-pods", "deny"},
		{"--cgroup-root", "/x"},
	};
	struct eg_options o;
	struct eg_error e;

	/* neither resolver nor uplink are needed */
	assert_int_equal(PARSE(&o, &e, "--observe"), 0);
	assert_true(o.observe && o.uplink_auto && !o.resolver && !o.policy_dir_given);
	assert_int_equal(o.mode, EG_MODE_OBSERVE);
	eg_options_fini(&o);
	assert_int_equal(PARSE(&o, &e, "--policy-dir", "/p", "--observe", "--uplink", "eth0",
			       "--resolver", "10.0.0.10", "--forbid", "10.0.0.0/8", "--metrics",
			       "127.0.0.1:1", "--link-prefix", "veth"),
			 0);
	assert_true(o.policy_dir_given && !o.uplink_auto && o.resolver_count == 1);
	eg_options_fini(&o);
	for (size_t i = 0; i < EG_ARRAY_SIZE(refused); i++) {
		assert_int_equal(PARSE(&o, &e, refused[i][0], refused[i][1], "--observe"), -EINVAL);
		assert_int_equal(strncmp(e.text, refused[i][0], strlen(refused[i][0])), 0);
		assert_non_null(strstr(e.text, "with --observe nothing is redirected"));
		eg_options_fini(&o);
	}
	/* what is needed with --kubernetes still is */
	assert_int_equal(PARSE(&o, &e, "--observe", "--kubernetes"), -EINVAL);
	assert_non_null(strstr(e.text, "--node-name is missing"));
	eg_options_fini(&o);
	assert_int_equal(PARSE(&o, &e, "--observe", "--metrics", "0.0.0.0:1"), -EINVAL);
	assert_non_null(strstr(e.text, "--metrics-token"));
	eg_options_fini(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),       cmocka_unit_test(test_no_metrics),
		cmocka_unit_test(test_lists),	       cmocka_unit_test(test_refused),
		cmocka_unit_test(test_missing),	       cmocka_unit_test(test_observe),
		cmocka_unit_test(test_resolvers),      cmocka_unit_test(test_resolv_conf),
		cmocka_unit_test(test_resolver_forms), cmocka_unit_test(test_host_network_pods),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
