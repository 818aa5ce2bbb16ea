/* SPDX-License-Identifier: Apache-2.0 */
/* egretd's command line, checked: what is in here is usable as it stands. docs/egretd.md. */
#ifndef EGRET_AGENT_OPTIONS_H
#define EGRET_AGENT_OPTIONS_H

#include <sys/socket.h>

#include "base/base.h"
#include "base/error.h"
#include "base/log.h"
#include "datapath/datapath.h"

#define EG_OPTION_LINKS	  EG_UPLINKS_MAX
#define EG_OPTION_FORBID  64
#define EG_OPTION_SERVERS 8

struct eg_options {
	const char *policy_dir, *pods_dir, *credentials_dir, *ca_dir, *run_dir;
	/* In place of pods_dir. */
	bool kubernetes;
	const char *node_name, *cni_dir, *kube_host, *kube_token, *kube_ca;
	unsigned int kube_port;
	bool kube_events;	     /* with kubernetes: what happens becomes Kubernetes Events */
	const char *pin_dir;	     /* never NULL */
	const char *upstream_ca;     /* NULL: the system's bundle */
	const char *access_log;	     /* NULL: none; "-": standard output */
	const char *handover_socket; /* NULL: in run_dir; "none" */
	const char *resolver;	     /* all of them, as net/resolver.h takes them; NULL: none */
	char resolver_text[256];     /* where that lies */
	struct eg_address resolvers[EG_OPTION_SERVERS];
	size_t resolver_count;
	const char *uplinks[EG_OPTION_LINKS];
	size_t uplink_count;
	bool uplink_auto;
	struct eg_xdp_link xdp[EG_OPTION_LINKS];
	size_t xdp_count;
	struct eg_cidr forbid[EG_OPTION_FORBID];
	size_t forbid_count;
	enum eg_redirect_mode mode; /* with observe: EG_MODE_OBSERVE */
	bool observe;		    /* look, and govern nothing: observe.h */
	bool policy_dir_given;
	enum eg_fail_policy fail;
	unsigned int unknown_pods;
	unsigned int workers;
	const char *link_prefix;
	bool guard_host_deny;
	bool host_pods_deny;		 /* --host-network-pods deny; with kubernetes alone */
	const char *cgroup_root;	 /* NULL: where cgroup v2 is mounted */
	struct sockaddr_storage metrics; /* ss_family 0: none */
	socklen_t metrics_length;
	unsigned int metrics_port;
	const char *metrics_token; /* file; NULL: the page is the loopback's, and asks for none */
	bool gateway4_set, gateway6_set;
	struct eg_address gateway4, gateway6;
	uid_t gateway_uid, signer_uid;
	enum eg_log_level log_level;
	unsigned int drain_ms;
	char agent_namespace[128]; /* path */
	bool uninstall, help, version;
	char *memory; /* what the strings above were cut from */
	size_t memory_used;
};

/* 0; -EINVAL with a sentence. Never prints. */
int eg_options_parse(struct eg_options *o, int argc, char **argv, struct eg_error *e) EG_MUST;
void eg_options_fini(struct eg_options *o);
/* The text of --help. */
const char *eg_options_usage(void);

#endif
