/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel half of Egret, as the supervisor sees it: loads and pins the BPF programs, makes the
 * way into the agent, keeps the maps equal to pods and policy, and hands events up.
 *
 * The order at start:
 *	eg_features_probe()            features.h: refuse, or say what is missing
 *	eg_datapath_open()             maps, programs, namespace; nothing is attached to a pod's
 *link yet eg_datapath_set_policy() eg_datapath_set_pod() ...      each attaches to its link
 *	eg_datapath_attach()           uplinks, and links that match link_prefix
 *	eg_datapath_prune()            removes what the policy no longer has
 *	eg_datapath_listeners()        agent_ifindex, then the slots
 *	eg_datapath_heartbeat() ...    every 250 ms or so, while the gateway answers
 * and at the end eg_datapath_stop() (heartbeat, slots) and eg_datapath_close(). Pins, links and the
 * namespace stay: the kernel applies the fail policy, and the next eg_datapath_open() adopts them.
 * eg_datapath_uninstall() removes every trace.
 *
 * Capabilities: CAP_BPF and CAP_NET_ADMIN throughout; CAP_SYS_ADMIN only within eg_datapath_open()
 * in netns mode; CAP_DAC_OVERRIDE where the pin directory is another user's. Everything that needs
 * SYS_ADMIN is over when eg_datapath_open() and eg_datapath_listeners() have returned.
 *
 * One thread. Each function that fails returns -errno and writes a sentence into *error (which may
 * be NULL). No function logs.
 */
#ifndef EGRET_DATAPATH_DATAPATH_H
#define EGRET_DATAPATH_DATAPATH_H

#include "base/base.h"
#include "base/error.h"
#include "egret/abi/maps.h"

#define EG_UPLINKS_MAX 16

struct eg_datapath;

enum eg_xdp_mode {
	EG_XDP_OFF,
	EG_XDP_AUTO,	/* native on physical links that take it, else off; never on a pod's veth */
	EG_XDP_NATIVE,	/* native, else generic, with a notice */
	EG_XDP_GENERIC, /* generic */
};

struct eg_xdp_link {
	const char *name; /* of the interface */
	enum eg_xdp_mode mode;
	bool uplink; /* guard_xdp instead of classify_xdp */
};

/*
 * What eg_datapath_events() tells. Called only from within it. May call every function of this
 * header but eg_datapath_close() and eg_datapath_events().
 */
struct eg_datapath_calls {
	/*
	 * One event of the ring buffer, borrowed until the call returns. e->data_length bytes of
	 * e->data are valid (checked). They are a pod's bytes: hand them on to the unprivileged
	 * gateway, never parse them here.
	 */
	void (*event)(void *context, const struct eg_event *e);
	/*
	 * A link appeared (present) or went. Everything of a link that went is removed already. A
	 * link that matched link_prefix is attached, in state EG_POD_UNKNOWN, before this is
	 * called.
	 */
	void (*link)(void *context, uint32_t ifindex, const char *name, bool present);
	/* Something an operator should know that is not an error of a call (lost position,
	 * re-attached). */
	void (*notice)(void *context, const char *sentence);
	/*
	 * The agent's way in was taken away and could not be put back. Called once; the kernel
	 * applies the fail policy from then on, as after eg_datapath_stop(). Also from within
	 * eg_datapath_sweep().
	 */
	void (*lost)(void *context, const char *sentence);
	/*
	 * In the middle of work that grows with the number of links, before each step that may take
	 * the kernel tens of milliseconds (an attach waits for a grace period of RCU): whoever has
	 * something to do at short intervals does it here. It must not call the datapath, but for
	 * eg_datapath_heartbeat().
	 */
	void (*busy)(void *context);
	/* With host_pods_deny: a cgroup appeared where pods' are; eg_datapath_set_host_pods() is
	 * due. */
	void (*cgroups)(void *context);
	void *context;
};

/*
 * What one process gives another that takes the datapath over from it while it runs. Descriptors
 * are borrowed; open() makes copies.
 */
struct eg_datapath_handed {
	int lock;	      /* the pin directory; the lock goes with the descriptor */
	int agent_netns;      /* -1 in mark mode */
	const int *listeners; /* the very sockets, with what waits in their backlog */
	size_t listener_count;
	uint64_t cgroup; /* of who gives, who has connections still; 0: none */
};

/* All strings are copied. Zero means the default that is named. */
struct eg_datapath_options {
	const char *pin_dir; /* EG_PIN_DIR; must lie on a bpffs */
	/* EG_MODE_NETNS. EG_MODE_OBSERVE: programs that only look are attached to pods' links, and
	 * nothing else is made; no listeners() then. Pins of a start that governs are refused
	 * (-EEXIST), and a start that governs takes away what observed. */
	enum eg_redirect_mode mode;
	unsigned int worker_count; /* 1; at most EG_MAX_WORKERS */
	__be32 gateway4_be;	   /* 0: no gateway address (DESIGN default 169.254.77.1) */
	__be32 gateway6_be[4];	   /* all 0: none */
	enum eg_fail_policy fail_policy;
	unsigned int unknown_pods; /* as eg_config.unknown_pods: 0 hold, 1 allow, 2 deny */
	bool guard_host_deny;	   /* refused with a sentence when agent_cgroup is 0 */
	bool host_pods_deny;	   /* eg_datapath_set_host_pods() is to be called */
	const char *cgroup_root; /* of cgroup v2, with the kubelet's kubepods in it; NULL: its mount
				  */
	uint64_t agent_cgroup;	 /* cgroup v2 id, eg_cgroup_id(); 0: none */
	unsigned int heartbeat_max_ms; /* 1000 */
	unsigned int down_grace_ms;    /* 10000: then a reset instead of a drop */
	unsigned int hold_grace_ms;    /* 10000 */
	unsigned int learned_grace_ms; /* 3600000 */
	const char *const *uplinks;    /* guard_tc on their egress */
	size_t uplink_count;	       /* at most EG_UPLINKS_MAX */
	bool uplink_auto; /* beside them each link that a default route leads over, now or later */
	const struct eg_xdp_link *xdp;
	size_t xdp_count;
	const char *link_prefix; /* NULL: only links that set_pod names; "": every veth */
	const struct eg_address *resolvers; /* whose DNS answers are believed; none: every one's */
	size_t resolver_count;
	/* netns mode: made when missing. Defaults "/run/netns/egret", "egret0" (host), "egret1". */
	const char *namespace_path;
	const char *host_link;
	const char *agent_link;
	/* mark mode. Defaults 0x45670000, 0xffff0000, table 17767, rules 99 and 100. */
	uint32_t mark, mark_mask;
	uint32_t mark_table;
	bool no_kernel_names; /* DNS answers go up as EG_EVENT_DNS_RAW, as on kernels before 5.17 */
	bool force_clsact;    /* do not use TCX even where the kernel has it */
	struct eg_datapath_calls calls;
	const struct eg_datapath_handed *handed; /* NULL: nobody hands over */
};

/*
 * Loads, or adopts what an earlier start pinned: maps keep their content, programs are replaced in
 * place. Another layout under pin_dir is refused (-EEXIST), as is a second process on the same
 * pin_dir (-EBUSY) to which nothing was handed over. After a failure nothing new stays attached.
 */
int eg_datapath_open(const struct eg_datapath_options *options, struct eg_datapath **out,
		     struct eg_error *error) EG_MUST;
/* Releases descriptors only; the kernel's side stays. NULL is allowed. */
void eg_datapath_close(struct eg_datapath *d);
/* True when open() found an earlier start's maps. */
bool eg_datapath_adopted(const struct eg_datapath *d);
/* Sentences of what is missing or was done in the second-best way; separated by newlines; "" none.
 * open(), attach() and listeners() add to the end. */
const char *eg_datapath_notes(const struct eg_datapath *d);

/*
 * worker_count listening sockets, one for each worker: dual-stack, transparent, cubic,
 * non-blocking, close-on-exec, made in the agent's namespace. accept() gives connections whose
 * getsockname() is the destination that the pod wanted and getpeername() the pod (IPv4 as
 * ::ffff:a.b.c.d). Owned by d; pass copies to the gateway (SCM_RIGHTS). They survive the gateway:
 * connections wait in their backlog. Fills the slots of `listeners`, and where nobody handed any
 * over takes back the heartbeat of an earlier start, which may be young. Callable once.
 */
int eg_datapath_listeners(struct eg_datapath *d, const int **fds, size_t *count,
			  struct eg_error *error) EG_MUST;
/* Proof of life: the agent answers, or is being replaced. One store, no system call. */
void eg_datapath_heartbeat(struct eg_datapath *d);
/*
 * What another process needs to take over; borrowed, good until close(). From then on this one may
 * write nothing but the heartbeat, and calls neither events() nor sweep(), until the other is gone:
 * then either take_back(), after which names, verdicts and pods are to be set anew, or close().
 */
void eg_datapath_give(const struct eg_datapath *d, struct eg_datapath_handed *out);
int eg_datapath_take_back(struct eg_datapath *d, struct eg_error *error) EG_MUST;
/* Who handed over to us is gone: its cgroup is nobody's any more. */
void eg_datapath_former_gone(struct eg_datapath *d);
/* Heartbeat to 0, slots emptied, agent_ifindex 0: the fail policy holds from here. */
void eg_datapath_stop(struct eg_datapath *d);

/*
 * The number of a watched name: `text` is "api.openai.com" or "*.openai.azure.com", any case. The
 * same text keeps its number for as long as the pins live, also over restarts. 0: not a name.
 */
uint32_t eg_datapath_name_id(struct eg_datapath *d, const char *text);
/* A number no pod has had while the pins live. */
uint32_t eg_datapath_new_pod_id(struct eg_datapath *d);
/* Likewise for policies. Use a new one in each generation, for all that have the same verdicts: see
 * set_policy. */
uint32_t eg_datapath_new_policy_id(struct eg_datapath *d);

struct eg_cidr {
	struct eg_address address; /* IPv4 mapped */
	uint8_t prefix_bits;	   /* of the family: 0..32 for a mapped address, else 0..128 */
	bool excluded;	  /* node, service, pod...: not governed by a shorter prefix or a name */
	uint32_t name_id; /* 0: any */
};

struct eg_verdict_rule {
	struct eg_verdict_key key;
	struct eg_verdict verdict;
};

struct eg_datapath_policy {
	uint32_t generation;
	const uint32_t *names; /* watched: numbers from eg_datapath_name_id() */
	size_t name_count;
	const struct eg_cidr *cidrs;
	size_t cidr_count;
	/*
	 * A governed destination without a verdict for (policy, its name) falls back to (policy,
	 * 0); without that too it is dropped. Providers share addresses, so one address stands
	 * under one of several names: give every policy a rule with name_id 0.
	 */
	const struct eg_verdict_rule *verdicts;
	size_t verdict_count;
};

/*
 * Adds and replaces names, CIDRs and verdicts; removes nothing, so that at no moment something
 * governed is not. Then eg_datapath_set_pod() moves each pod to its new policy_id, and
 * eg_datapath_prune() removes what this policy does not have. Flows keep their decision. On an
 * error
 * (-E2BIG: a map is full) the maps hold the old policy and part of the new; call it again with the
 * last good one.
 */
int eg_datapath_set_policy(struct eg_datapath *d, const struct eg_datapath_policy *policy,
			   struct eg_error *error) EG_MUST;
int eg_datapath_prune(struct eg_datapath *d, struct eg_error *error) EG_MUST;

/*
 * Whether what a pod sends can be read on the link, and answered over it: 0, or -EINVAL with the
 * reason.
 */
int eg_datapath_can_be_pods(struct eg_datapath *d, uint32_t ifindex,
			    struct eg_error *error) EG_MUST;
/*
 * Sets what is known of the pod behind the link `ifindex`, the way back to each of its addresses,
 * and attaches to the link (nothing when attached). since_ns 0 is filled: now for a new state, the
 * old one while the state stays or goes between unknown and held. Attach comes after the maps.
 */
int eg_datapath_set_pod(struct eg_datapath *d, uint32_t ifindex, const struct eg_pod *pod,
			struct eg_error *error) EG_MUST;
/* What the kernel's table has of that link. 0 or -ENOENT. */
int eg_datapath_get_pod(const struct eg_datapath *d, uint32_t ifindex, struct eg_pod *out) EG_MUST;
#define EG_HOST_PODS_MAX 1024

/* A pod in the node's own network: it has no link. */
struct eg_host_pod {
	const char *uid; /* as in the name of its cgroup */
	bool is_agents;	 /* of an agent, this or another one: never guarded */
	struct eg_pod pod;
};
enum eg_host_guard {
	EG_HOST_NO_CGROUP,   /* it is not there (yet), or not where it was looked for */
	EG_HOST_GUARDED,     /* its connections to governed destinations are refused */
	EG_HOST_AGENT,	     /* this process is in it: never guarded */
	EG_HOST_OTHER_AGENT, /* it is_agents: likewise */
	EG_HOST_FAILED,
};
/*
 * With host_pods_deny: all such pods that are to be guarded; what became of each is in out[], of
 * the same order. The programs stand on the pod's cgroup and judge all below it by what `pod` says
 * (state, flags, policy); they stay when this process goes. Of pods that are not named any more
 * they go. Cheap when nothing changes: to be called after each change of policy and pods, when
 * calls.cgroups says so, and once a second. -errno: *error is about the first that failed; when the
 * cgroups can't be read at all everything stays as it was.
 */
int eg_datapath_set_host_pods(struct eg_datapath *d, const struct eg_host_pod *pods, size_t count,
			      enum eg_host_guard *out, struct eg_error *error) EG_MUST;

/*
 * Links that have been unknown for longer than grace_ms and are no pod's become EG_POD_FOREIGN,
 * with a notice: a container of another tool, say. Not one that leads where a known pod's link
 * does, nor one with EG_POD_NAMED; one that cannot be set is passed over, and the first such error
 * is returned. For a caller who has told of every pod that there is; set_pod() makes a foreign link
 * a pod's at once.
 */
int eg_datapath_set_foreign(struct eg_datapath *d, uint64_t grace_ms,
			    struct eg_error *error) EG_MUST;
/* Detaches, and removes the pod, its way back and what it taught. Unknown ifindex: 0. */
int eg_datapath_remove_pod(struct eg_datapath *d, uint32_t ifindex, struct eg_error *error) EG_MUST;
/*
 * Host-side links of the network namespace `netns_path`, found by netlink alone (no setns). *count
 * is how many, at most `room` are written. -ENOENT: no such file, or no link of ours leads there.
 */
int eg_datapath_find_links(struct eg_datapath *d, const char *netns_path, uint32_t *ifindexes,
			   size_t room, size_t *count, struct eg_error *error) EG_MUST;
/*
 * Addresses inside the pod behind `ifindex` (global scope), by netlink alone. -EOPNOTSUPP where the
 * link's peer is in no other namespace.
 */
int eg_datapath_pod_addresses(struct eg_datapath *d, uint32_t ifindex, struct eg_address *addresses,
			      size_t room, size_t *count, struct eg_error *error) EG_MUST;

/*
 * What the agent resolved itself for a watched name: governed for every pod, and by the guard.
 * Loopback, link-local, multicast and excluded addresses are left out, *refused (may be NULL)
 * counts them. Addresses not renewed go when ttl_ms and learned_grace_ms are over.
 */
int eg_datapath_set_resolved(struct eg_datapath *d, uint32_t name_id,
			     const struct eg_address *addresses, size_t count, uint64_t ttl_ms,
			     size_t *refused, struct eg_error *error) EG_MUST;
/* Likewise for one pod: from an answer that the kernel could not parse and the gateway did. */
int eg_datapath_learn(struct eg_datapath *d, uint32_t ifindex, uint32_t name_id,
		      const struct eg_address *addresses, size_t count, uint64_t ttl_ms,
		      struct eg_error *error) EG_MUST;

/* Attaches to uplinks, XDP links and what matches link_prefix. Links that are not there yet are
 * attached when they appear; until then each is a notice. */
int eg_datapath_attach(struct eg_datapath *d, struct eg_error *error) EG_MUST;

struct eg_datapath_uplink {
	const char *name; /* as in the options, or as a route led there; borrowed from d */
	bool present;	  /* there is an interface of that name */
	bool guarded;	  /* and guard_tc is attached to it */
};
/* The uplinks as the kernel has them now, each name once, at most `room`. Returns how many. */
size_t eg_datapath_uplinks(struct eg_datapath *d, struct eg_datapath_uplink *out, size_t room);
/* Whether the node reaches the address by a router behind an uplink: then it is no pod's of here.
 */
bool eg_datapath_is_outside(struct eg_datapath *d, const struct eg_address *a);

/* Readable (epoll, level) when eg_datapath_events() has something to do. */
int eg_datapath_fd(const struct eg_datapath *d);
/* Link changes and events of the ring buffer, by calls. 0, or -errno. Bounded work. */
int eg_datapath_events(struct eg_datapath *d, struct eg_error *error) EG_MUST;
/*
 * Once a second or so: removes what expired from destinations and learned, sweeps dead pins, puts
 * back clsact filters that somebody removed, and takes the first place on a link back from programs
 * that were put before ours (with a notice). Puts back the agent's way in: veth pair, rules,
 * routes.
 */
int eg_datapath_sweep(struct eg_datapath *d, struct eg_error *error) EG_MUST;

/* Removes every trace under pin_dir and what was made for it: programs, links, filters and qdiscs
 * of ours, namespace, veth pair, rules, routes. Idempotent. Options as given to open (names
 * matter). */
int eg_datapath_uninstall(const struct eg_datapath_options *options,
			  struct eg_error *error) EG_MUST;

/* ---- addresses ---- */
/* "10.1.2.3" or "fd00::1" to the mapped form. 0 or -EINVAL. */
int eg_address_from_text(const char *text, struct eg_address *out) EG_MUST;
#define EG_ADDRESS_TEXT 46
/* Writes the shortest form; an IPv4-mapped one as IPv4. Returns text. */
char *eg_address_format(const struct eg_address *a, char text[EG_ADDRESS_TEXT]);
struct eg_address eg_address_from4(__be32 address_be);
bool eg_address_is4(const struct eg_address *a);
/* Unspecified, loopback, link-local, multicast: never a pod's address. */
bool eg_address_never_pod(const struct eg_address *a);
/* The cgroup v2 id of a process (0: this one) for agent_cgroup. -ENOENT: no cgroup v2 that tells.
 */
int eg_cgroup_id(pid_t pid, uint64_t *id, struct eg_error *error) EG_MUST;

#endif
