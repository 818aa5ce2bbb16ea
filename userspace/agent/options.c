/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/options.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/option_values.h"
#include "datapath/cni_dir.h"

#define KUBE_SECRETS  "/var/run/secrets/kubernetes.io/serviceaccount"
#define KUBE_TOKEN    KUBE_SECRETS "/token"
#define KUBE_CA	      KUBE_SECRETS "/ca.crt"
#define SYSTEM_BUNDLE "/etc/ssl/certs/ca-certificates.crt"

enum option_id {
	O_POLICY_DIR = 256,
	O_PODS_DIR,
	O_KUBERNETES,
	O_NODE_NAME,
	O_CNI_DIR,
	O_KUBE_API,
	O_KUBE_TOKEN,
	O_KUBE_CA,
	O_KUBE_EVENTS,
	O_CREDENTIALS_DIR,
	O_CA_DIR,
	O_RUN_DIR,
	O_HANDOVER_SOCKET,
	O_PIN_DIR,
	O_UPLINK,
	O_RESOLVER,
	O_MODE,
	O_UPSTREAM_CA,
	O_FAIL,
	O_METRICS,
	O_METRICS_TOKEN,
	O_ACCESS_LOG,
	O_GATEWAY4,
	O_GATEWAY6,
	O_LINK_PREFIX,
	O_WORKERS,
	O_USER_GATEWAY,
	O_USER_SIGNER,
	O_UNKNOWN_PODS,
	O_FORBID,
	O_XDP,
	O_LOG_LEVEL,
	O_GUARD_HOST,
	O_HOST_NETWORK_PODS,
	O_CGROUP_ROOT,
	O_AGENT_NAMESPACE,
	O_DRAIN,
	O_OBSERVE,
	O_UNINSTALL,
	O_VERSION,
	O_HELP,
};

static const struct option known[] = {
	{"policy-dir", required_argument, NULL, O_POLICY_DIR},
	{"pods-dir", required_argument, NULL, O_PODS_DIR},
	{"kubernetes", no_argument, NULL, O_KUBERNETES},
	{"node-name", required_argument, NULL, O_NODE_NAME},
	{"cni-dir", required_argument, NULL, O_CNI_DIR},
	{"kube-api", required_argument, NULL, O_KUBE_API},
	{"kube-token", required_argument, NULL, O_KUBE_TOKEN},
	{"kube-ca", required_argument, NULL, O_KUBE_CA},
	{"kube-events", required_argument, NULL, O_KUBE_EVENTS},
	{"credentials-dir", required_argument, NULL, O_CREDENTIALS_DIR},
	{"ca-dir", required_argument, NULL, O_CA_DIR},
	{"run-dir", required_argument, NULL, O_RUN_DIR},
	{"handover-socket", required_argument, NULL, O_HANDOVER_SOCKET},
	{"pin-dir", required_argument, NULL, O_PIN_DIR},
	{"uplink", required_argument, NULL, O_UPLINK},
	{"resolver", required_argument, NULL, O_RESOLVER},
	{"mode", required_argument, NULL, O_MODE},
	{"upstream-ca", required_argument, NULL, O_UPSTREAM_CA},
	{"fail", required_argument, NULL, O_FAIL},
	{"metrics", required_argument, NULL, O_METRICS},
	{"metrics-token", required_argument, NULL, O_METRICS_TOKEN},
	{"access-log", required_argument, NULL, O_ACCESS_LOG},
	{"gateway4", required_argument, NULL, O_GATEWAY4},
	{"gateway6", required_argument, NULL, O_GATEWAY6},
	{"link-prefix", required_argument, NULL, O_LINK_PREFIX},
	{"workers", required_argument, NULL, O_WORKERS},
	{"user-gateway", required_argument, NULL, O_USER_GATEWAY},
	{"user-signer", required_argument, NULL, O_USER_SIGNER},
	{"unknown-pods", required_argument, NULL, O_UNKNOWN_PODS},
	{"forbid", required_argument, NULL, O_FORBID},
	{"xdp", required_argument, NULL, O_XDP},
	{"log-level", required_argument, NULL, O_LOG_LEVEL},
	{"guard-host", required_argument, NULL, O_GUARD_HOST},
	{"host-network-pods", required_argument, NULL, O_HOST_NETWORK_PODS},
	{"cgroup-root", required_argument, NULL, O_CGROUP_ROOT},
	{"agent-namespace", required_argument, NULL, O_AGENT_NAMESPACE},
	{"drain", required_argument, NULL, O_DRAIN},
	{"observe", no_argument, NULL, O_OBSERVE},
	{"uninstall", no_argument, NULL, O_UNINSTALL},
	{"version", no_argument, NULL, O_VERSION},
	{"help", no_argument, NULL, O_HELP},
	{NULL, 0, NULL, 0},
};

const char *eg_options_usage(void)
{
	return "Usage: egretd [OPTION...]\n"
	       "       egretd --uninstall [--pin-dir DIR] [--agent-namespace NAME]\n"
	       "\n"
	       "The agent of one node. Needs root; gives nearly all of it up once the kernel's "
	       "side stands.\n"
	       "\n"
	       "What it reads\n"
	       "  --policy-dir DIR       *.json, watched                     /etc/egret/policies\n"
	       "  --pods-dir DIR         one pod a file, watched             /etc/egret/pods\n"
	       "  --credentials-dir DIR  secrets that policy names, watched  "
	       "/etc/egret/credentials\n"
	       "  --ca-dir DIR           the node's intermediate             /etc/egret/ca\n"
	       "  --upstream-ca FILE     roots that providers must chain to  the system's bundle\n"
	       "\n"
	       "In place of --pods-dir\n"
	       "  --kubernetes           pods by the CNI cache and the Kubernetes API\n"
	       "  --node-name NAME       this node's, as the API has it\n"
	       "  --cni-dir DIR          of libcni's results, watched        /var/lib/cni/results\n"
	       "  --kube-api ADDR:PORT   of the API server                   the environment's\n"
	       "                                                   KUBERNETES_SERVICE_HOST and "
	       "_PORT\n"
	       "  --kube-token FILE      bearer token, read for each request " KUBE_TOKEN "\n"
	       "  --kube-ca FILE         roots of the API server             " KUBE_CA "\n"
	       "  --kube-events WORD     Kubernetes Events: on, off          on\n"
	       "\n"
	       "The node\n"
	       "  --uplink IF[,IF]       where traffic leaves the node (guarded); auto: each link\n"
	       "                         that a default route leads over\n"
	       "  --resolver IP[,IP]     the cluster's DNS servers; only their answers are "
	       "believed;\n"
	       "                         auto: those of /etc/resolv.conf\n"
	       "  --mode netns|mark      how connections are redirected      netns\n"
	       "  --link-prefix P        attach to new links that begin so   only links of known "
	       "pods\n"
	       "  --unknown-pods HOW     hold, allow or deny                 hold\n"
	       "  --fail closed|open     when no agent answers               closed\n"
	       "  --forbid CIDR[,CIDR]   node, pod and service ranges: never governed or dialled\n"
	       "                         unless policy names them\n"
	       "  --guard-host pass|deny the node's own processes            pass\n"
	       "  --host-network-pods pass|deny  pods in the node's own network  pass\n"
	       "  --cgroup-root DIR      of cgroup v2, with the pods' in it  where it is mounted\n"
	       "  --xdp IF=HOW           auto, native, generic or off; +uplink for the uplink's "
	       "guard\n"
	       "  --gateway4 A           the gateway address, or none        169.254.77.1\n"
	       "  --gateway6 A           likewise                            fd00:77::1\n"
	       "  --agent-namespace N    name of the agent's network namespace  egret\n"
	       "\n"
	       "The agent\n"
	       "  --run-dir DIR          control socket                      /run/egret\n"
	       "  --handover-socket PATH where the next egretd takes over from this one, or none\n"
	       "                                                             "
	       "RUN_DIR/handover.sock\n"
	       "  --pin-dir DIR          on a bpffs                          " EG_PIN_DIR "\n"
	       "  --metrics ADDR:PORT    loopback address, or none           127.0.0.1:9909\n"
	       "  --metrics-token FILE   any address: for who has this bearer token alone\n"
	       "  --access-log FILE      one JSON line a request; - for standard output\n"
	       "  --workers N            event loops, 1 to 16                one a CPU\n"
	       "  --user-gateway UID     of the gateway process              64777\n"
	       "  --user-signer UID      of the signer process               64778\n"
	       "  --drain SECONDS        for requests in flight at the end   10\n"
	       "  --log-level LEVEL      debug, info, warn or error          info\n"
	       "\n"
	       "  --observe              govern nothing: see what pods talk to (egretctl "
	       "inventory)\n"
	       "  --uninstall            remove every trace from the kernel, and exit\n"
	       "  --version  --help\n";
}

static bool metrics_are_loopback(const struct eg_options *o)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)&o->metrics;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&o->metrics;

	if (o->metrics.ss_family == AF_INET)
		return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
	return o->metrics.ss_family != AF_INET6 || IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
}

/* What is not on the command line stands in the environment of a pod. */
static int settle_kubernetes(struct eg_options *o, struct eg_error *e)
{
	const char *port = getenv("KUBERNETES_SERVICE_PORT");

	if (!o->kubernetes || o->help || o->version || o->uninstall)
		return 0;
	if (!o->node_name)
		return eg_error_set(e, -EINVAL,
				    "--node-name is missing: this node's name as the Kubernetes "
				    "API has it (in a DaemonSet: spec.nodeName by fieldRef)");
	if (!eg_option_is_node_name(o->node_name))
		return eg_option_bad(e, "node-name", o->node_name,
				     "a node's name: lower case letters, digits, '.' and '-'");
	if (!o->kube_host) {
		o->kube_host = getenv("KUBERNETES_SERVICE_HOST");
		if (!o->kube_host || !port)
			return eg_error_set(
				e, -EINVAL,
				"--kube-api is missing, and the environment has no "
				"KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT, as in a pod");
		if (eg_option_number(e, "kube-api (KUBERNETES_SERVICE_PORT)", port, 1, 65535,
				     &o->kube_port))
			return -EINVAL;
	}
	/* A link is governed from its first packet only if it is attached to when it appears. */
	if (!o->link_prefix)
		o->link_prefix = "";
	return 0;
}

/* Several agents on one machine (tests) have several pin directories: each its own namespace. */
static void default_namespace(struct eg_options *o)
{
	uint32_t h = 2166136261u;

	if (*o->agent_namespace)
		return;
	if (!strcmp(o->pin_dir, EG_PIN_DIR)) {
		strcpy(o->agent_namespace, "/run/netns/egret");
		return;
	}
	for (const char *c = o->pin_dir; *c; c++)
		h = (h ^ (unsigned char)*c) * 16777619u;
	snprintf(o->agent_namespace, sizeof(o->agent_namespace), "/run/netns/egret-%08x", h);
}

static unsigned int cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 1;
	return EG_MIN(EG_MAX((unsigned int)CPU_COUNT(&set), 1u), (unsigned int)EG_MAX_WORKERS);
}

static int one(struct eg_options *o, int id, const char *value, struct eg_error *e)
{
	unsigned int n = 0;
	int i = 0, r = 0;

	switch ((enum option_id)id) {
	case O_POLICY_DIR:
		o->policy_dir = value;
		o->policy_dir_given = true;
		break;
	case O_PODS_DIR:
		o->pods_dir = value;
		break;
	case O_KUBERNETES:
		o->kubernetes = true;
		break;
	case O_NODE_NAME:
		o->node_name = value;
		break;
	case O_CNI_DIR:
		o->cni_dir = value;
		break;
	case O_KUBE_API:
		return eg_option_kube_api(o, value, e);
	case O_KUBE_TOKEN:
		o->kube_token = value;
		break;
	case O_KUBE_CA:
		o->kube_ca = value;
		break;
	case O_KUBE_EVENTS:
		r = eg_option_choose(e, "kube-events", value, EG_OPTION_WORD(value, "off", "on"),
				     "on or off", &i);
		o->kube_events = i == 1;
		return r;
	case O_CREDENTIALS_DIR:
		o->credentials_dir = value;
		break;
	case O_CA_DIR:
		o->ca_dir = value;
		break;
	case O_RUN_DIR:
		o->run_dir = value;
		break;
	case O_HANDOVER_SOCKET:
		if (*value != '/' && strcmp(value, "none") != 0)
			return eg_option_bad(e, "handover-socket", value,
					     "an absolute path, or none");
		o->handover_socket = value;
		break;
	case O_PIN_DIR:
		o->pin_dir = value;
		break;
	case O_UPSTREAM_CA:
		o->upstream_ca = value;
		break;
	case O_ACCESS_LOG:
		o->access_log = value;
		break;
	case O_LINK_PREFIX:
		o->link_prefix = value;
		break;
	case O_UPLINK:
		return eg_option_links(o, value, e);
	case O_RESOLVER:
		return eg_option_resolvers(o, value, e);
	case O_FORBID:
		return eg_option_forbid(o, value, e);
	case O_XDP:
		return eg_option_xdp(o, value, e);
	case O_METRICS_TOKEN:
		o->metrics_token = value;
		break;
	case O_METRICS:
		return eg_option_metrics(o, value, e);
	case O_AGENT_NAMESPACE:
		return eg_option_namespace(o, value, e);
	case O_GATEWAY4:
		return eg_option_gateway("gateway4", value, true, &o->gateway4_set, &o->gateway4,
					 e);
	case O_GATEWAY6:
		return eg_option_gateway("gateway6", value, false, &o->gateway6_set, &o->gateway6,
					 e);
	case O_MODE:
		r = eg_option_choose(e, "mode", value, EG_OPTION_WORD(value, "netns", "mark"),
				     "netns or mark", &i);
		o->mode = i ? EG_MODE_MARK : EG_MODE_NETNS;
		return r;
	case O_FAIL:
		r = eg_option_choose(e, "fail", value, EG_OPTION_WORD(value, "closed", "open"),
				     "closed or open", &i);
		o->fail = i ? EG_FAIL_OPEN : EG_FAIL_CLOSED;
		return r;
	case O_GUARD_HOST:
		r = eg_option_choose(e, "guard-host", value, EG_OPTION_WORD(value, "pass", "deny"),
				     "pass or deny", &i);
		o->guard_host_deny = i == 1;
		return r;
	case O_HOST_NETWORK_PODS:
		r = eg_option_choose(e, "host-network-pods", value,
				     EG_OPTION_WORD(value, "pass", "deny"), "pass or deny", &i);
		o->host_pods_deny = i == 1;
		return r;
	case O_CGROUP_ROOT:
		if (*value != '/')
			return eg_option_bad(e, "cgroup-root", value, "an absolute path");
		o->cgroup_root = value;
		break;
	case O_UNKNOWN_PODS:
		r = eg_option_choose(e, "unknown-pods", value,
				     EG_OPTION_WORD(value, "hold", "allow", "deny"),
				     "hold, allow or deny", &i);
		o->unknown_pods = (unsigned int)i;
		return r;
	case O_LOG_LEVEL:
		r = eg_option_choose(e, "log-level", value,
				     EG_OPTION_WORD(value, "debug", "info", "warn", "error"),
				     "debug, info, warn or error", &i);
		o->log_level = (enum eg_log_level)i;
		return r;
	case O_WORKERS:
		return eg_option_number(e, "workers", value, 1, EG_MAX_WORKERS, &o->workers);
	case O_USER_GATEWAY:
		r = eg_option_number(e, "user-gateway", value, 1, UINT32_MAX - 1, &n);
		o->gateway_uid = n;
		return r;
	case O_USER_SIGNER:
		r = eg_option_number(e, "user-signer", value, 1, UINT32_MAX - 1, &n);
		o->signer_uid = n;
		return r;
	case O_DRAIN:
		r = eg_option_number(e, "drain", value, 0, 3600, &n);
		o->drain_ms = n * 1000;
		return r;
	case O_OBSERVE:
		o->observe = true;
		o->mode = EG_MODE_OBSERVE;
		break;
	case O_UNINSTALL:
		o->uninstall = true;
		break;
	case O_VERSION:
		o->version = true;
		break;
	case O_HELP:
		o->help = true;
		break;
	}
	return 0;
}

/* Whether the option means anything to one who only looks. Of the rest each would promise what
 * does not happen, or name what is not read. */
static bool is_for_observe(enum option_id id)
{
	static const enum option_id ids[] = {
		O_POLICY_DIR, O_PODS_DIR,   O_KUBERNETES,    O_NODE_NAME, O_CNI_DIR,
		O_KUBE_API,   O_KUBE_TOKEN, O_KUBE_CA,	     O_RUN_DIR,	  O_PIN_DIR,
		O_UPLINK,     O_RESOLVER,   O_METRICS,	     O_FORBID,	  O_LINK_PREFIX,
		O_LOG_LEVEL,  O_OBSERVE,    O_METRICS_TOKEN, O_VERSION,	  O_HELP,
	};

	for (size_t i = 0; i < EG_ARRAY_SIZE(ids); i++)
		if (ids[i] == id)
			return true;
	return false;
}

/* `given`: by enum option_id. */
static int settle_observe(struct eg_options *o, const bool *given, struct eg_error *e)
{
	if (!o->observe)
		return 0;
	for (const struct option *k = known; k->name; k++)
		if (given[k->val - O_POLICY_DIR] && !is_for_observe((enum option_id)k->val))
			return eg_error_set(
				e, -EINVAL,
				"--%s: with --observe nothing is redirected, held, "
				"refused or served, so this has no meaning; leave it out",
				k->name);
	o->mode = EG_MODE_OBSERVE;
	/* A veth that a default route leads over (the node is a container) is no pod's link. */
	o->uplink_auto |= !o->uplink_count;
	return 0;
}

static int check(const struct eg_options *o, struct eg_error *e)
{
	if (o->help || o->version || o->uninstall)
		return 0;
	if (!o->observe && !o->resolver)
		return eg_error_set(
			e, -EINVAL,
			"--resolver is missing: the DNS servers of the pods, whose answers "
			"are believed and which the agent itself asks (see /etc/resolv.conf "
			"of a pod), or auto, where egretd's own /etc/resolv.conf is the pods'");
	if (!o->observe && !o->uplink_count && !o->uplink_auto)
		return eg_error_set(
			e, -EINVAL,
			"--uplink is missing: the interface by which the node reaches the "
			"internet (see `ip route get 1.1.1.1`), or auto");
	if (!metrics_are_loopback(o) && !o->metrics_token)
		return eg_error_set(e, -EINVAL,
				    "--metrics: the page has no authentication, so it needs a "
				    "loopback address: 127.0.0.1:PORT or [::1]:PORT, or "
				    "--metrics-token FILE");
	if (o->host_pods_deny && !o->kubernetes)
		return eg_error_set(e, -EINVAL,
				    "--host-network-pods deny: which pods are in the node's own "
				    "network the Kubernetes API says; add --kubernetes");
	if (o->gateway_uid == o->signer_uid)
		return eg_error_set(
			e, -EINVAL,
			"--user-gateway and --user-signer are the same uid: the gateway "
			"could then read the signer's memory");
	return 0;
}

int eg_options_parse(struct eg_options *o, int argc, char **argv, struct eg_error *e)
{
	bool given[O_HELP - O_POLICY_DIR + 1] = {false};
	size_t bytes = 1;
	int id, r, at;

	*o = (struct eg_options){
		.policy_dir = "/etc/egret/policies",
		.pods_dir = "/etc/egret/pods",
		.cni_dir = EG_CNI_DIR,
		.kube_token = KUBE_TOKEN,
		.kube_ca = KUBE_CA,
		.kube_events = true,
		.credentials_dir = "/etc/egret/credentials",
		.ca_dir = "/etc/egret/ca",
		.run_dir = "/run/egret",
		.pin_dir = EG_PIN_DIR,
		.upstream_ca = SYSTEM_BUNDLE,
		.mode = EG_MODE_NETNS,
		.gateway_uid = 64777,
		.signer_uid = 64778,
		.log_level = EG_LOG_INFO,
		.drain_ms = 10000,
		.workers = cpus(),
	};
	for (int i = 1; i < argc; i++)
		bytes += strlen(argv[i]) + 1;
	o->memory = calloc(1, bytes);
	if (!o->memory)
		return eg_error_set(e, -ENOMEM, "out of memory");
	r = eg_option_metrics(o, "127.0.0.1:9909", e);
	if (!r)
		r = eg_option_gateway("gateway4", "169.254.77.1", true, &o->gateway4_set,
				      &o->gateway4, e);
	if (!r)
		r = eg_option_gateway("gateway6", "fd00:77::1", false, &o->gateway6_set,
				      &o->gateway6, e);
	optind = 0;
	opterr = 0;
	at = 1;
	while (!r && (id = getopt_long(argc, argv, "+", known, NULL)) != -1) {
		if (id == '?')
			return eg_error_set(
				e, -EINVAL,
				"'%.100s' is not an option, or its value is missing; try "
				"egretd --help",
				at < argc ? argv[at] : "");
		given[id - O_POLICY_DIR] = true;
		r = one(o, id, optarg, e);
		at = optind;
	}
	if (!r && optind < argc)
		return eg_error_set(e, -EINVAL, "'%.100s' is not an option; try egretd --help",
				    argv[optind]);
	if (!r)
		r = settle_observe(o, given, e);
	if (!r)
		r = check(o, e);
	if (!r)
		r = settle_kubernetes(o, e);
	default_namespace(o);
	return r;
}

void eg_options_fini(struct eg_options *o)
{
	free(o->memory);
	o->memory = NULL;
}
