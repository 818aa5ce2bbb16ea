/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share. Private to it; one thread. */
#ifndef EGRET_DATAPATH_INTERNAL_H
#define EGRET_DATAPATH_INTERNAL_H

#include "datapath/datapath.h"
#include "datapath/netlink.h"
#include "datapath/skb_layout.h"

struct ring_buffer;

/* Shared maps: the index of eg_map_table, which has name, type and sizes of each. */
enum eg_map_id {
	EG_MAP_PODS,
	EG_MAP_POD_LINKS,
	EG_MAP_DESTINATIONS4,
	EG_MAP_DESTINATIONS6,
	EG_MAP_LEARNED,
	EG_MAP_LEARNED_COUNT,
	EG_MAP_VERDICTS,
	EG_MAP_FLOWS,
	EG_MAP_QUERIES,
	EG_MAP_WATCHED_NAMES,
	EG_MAP_RESOLVERS,
	EG_MAP_LISTENERS,
	EG_MAP_COUNTERS,
	EG_MAP_CONFIG,
	EG_MAP_EVENTS,
	EG_MAP_EVENT_RATE,
	EG_MAP_INVENTORY, /* this and the next in observe mode only */
	EG_MAP_OBSERVED,
	EG_MAP_HOST_PODS, /* with host_pods_deny only */
	EG_MAP_COUNT,
};

struct eg_map_shape {
	const char *name;
	uint32_t type; /* enum bpf_map_type */
	uint32_t key_bytes, value_bytes;
};
extern const struct eg_map_shape eg_map_table[EG_MAP_COUNT];

/* Programs: the index of eg_program_table. */
enum eg_program_id {
	EG_PROGRAM_EGRESS_TC,
	EG_PROGRAM_REPLY_TC,
	EG_PROGRAM_DNS_TC,
	EG_PROGRAM_GUARD_TC,
	EG_PROGRAM_CLASSIFY_XDP,
	EG_PROGRAM_GUARD_XDP,
	EG_PROGRAM_LISTENER_LOOKUP,
	EG_PROGRAM_OBSERVE_UP_TC,
	EG_PROGRAM_OBSERVE_DOWN_TC,
	EG_PROGRAM_HOST_CONNECT4, /* these four in this order: host_pods.c */
	EG_PROGRAM_HOST_CONNECT6,
	EG_PROGRAM_HOST_SENDMSG4,
	EG_PROGRAM_HOST_SENDMSG6,
	EG_PROGRAM_COUNT,
};

enum eg_hook_kind { EG_KIND_INGRESS, EG_KIND_EGRESS, EG_KIND_XDP, EG_KIND_NETNS, EG_KIND_CGROUP };

struct eg_program_shape {
	const char *name; /* of the program, its file and its pin */
	enum eg_hook_kind kind;
	bool required;
	const char *without;		   /* what is lost when it does not load */
	const void *(*elf)(size_t *bytes); /* object that holds it, perhaps with others */
	/* Takes out of the object's constants what older kernels refuse; NULL: nothing to take out.
	 */
	void (*lessen)(void *rodata);
	const char *lessened; /* what that costs */
	/* Puts what was found about this kernel among the object's constants; NULL: it wants none.
	 */
	void (*furnish)(void *rodata, const struct eg_skb_layout *layout);
	const char *unfurnished; /* what is lost without it */
};
extern const struct eg_program_shape eg_program_table[EG_PROGRAM_COUNT];

/* Why this datapath is attached to a link. */
enum eg_link_role {
	EG_ROLE_POD = 1 << 0,
	EG_ROLE_UPLINK = 1 << 1,
	EG_ROLE_XDP = 1 << 2,
	EG_ROLE_AGENT = 1 << 3, /* the host end of the agent's veth */
};

struct eg_link {
	uint32_t ifindex;
	uint8_t roles;	   /* enum eg_link_role: wanted */
	uint32_t attached; /* bit per enum eg_program_id: attached by this process */
	enum eg_xdp_mode xdp;
	bool xdp_uplink;
	bool xdp_refused; /* EG_XDP_AUTO found that it is virtual, or takes no native program */
	bool bare;	  /* a program of ours can't be attached, which was said */
	bool overtaken;	  /* another's program was put before ours once */
	char overtaken_by[32]; /* its name, of the last time */
	char name[16];
};

/* One destination that user space keeps: the whole of destinations4/6 is made from these. */
struct eg_place {
	struct eg_address address;
	uint8_t bits; /* 0..128, of the mapped form */
	struct eg_destination value;
	bool stale; /* the last policy does not have it */
};

/* A cgroup on which programs of ours stand. */
struct eg_host_cgroup {
	uint64_t id;
	uint32_t attached; /* bit per program, from EG_PROGRAM_HOST_CONNECT4 up */
	bool wanted;
	bool is_others; /* this process is not in it, as was seen since it was attached or adopted
			 */
};

/* A watched name, or one that only has its number yet. */
struct eg_known_name {
	uint64_t hash;
	struct eg_name name;
	bool watched; /* in watched_names */
	bool stale;   /* the last policy does not have it */
};

struct eg_datapath {
	struct eg_datapath_options o; /* strings owned, below */
	char *pin_dir, *namespace_path, *host_link, *agent_link, *link_prefix;
	char **uplinks;	      /* room for EG_UPLINKS_MAX */
	bool uplinks_full;    /* there were more, and it was said */
	bool uplinks_suspect; /* a default route came: eg_uplinks_follow() */
	struct eg_xdp_link *xdp;
	int lock;			 /* the pin directory, flocked */
	bool adopted;			 /* pins of an earlier start were there */
	struct eg_skb_layout skb_layout; /* of this kernel; all zero: not known */
	bool tcx;
	char notes[8192];

	int program[EG_PROGRAM_COUNT]; /* owned; -1 */
	int map[EG_MAP_COUNT];	       /* owned; -1 */
	bool made[EG_MAP_COUNT];       /* not there before this open() */
	struct eg_config *config;      /* mapped */

	struct nl_sock *netlink;       /* node's namespace */
	struct nl_sock *agent_netlink; /* agent's namespace; NULL in mark mode */
	int agent_netns;	       /* -1 in mark mode */
	uint32_t agent_ifindex;	       /* host end; 0: lost, or mark mode */
	bool namespace_mounted;	       /* at namespace_path, when last looked at */
	bool mark_has6;		       /* mark mode: the node took the IPv6 rules */
	bool way_suspect;	       /* something happened to the way in: eg_way_check() is due */
	uint64_t way_failed_ns;	       /* since when it can't be put back; 0: it could */
	bool way_lost;		       /* that has been told */
	int listener[EG_MAX_WORKERS];
	size_t listener_count;
	bool listening;		/* they are in their slots */
	uint64_t former_cgroup; /* of who handed over to us and is not gone yet; 0: nobody */

	struct nl_sock *link_watch;
	struct eg_link *links;
	size_t link_count, link_room;
	bool attached; /* eg_datapath_attach() was called */
	int epoll;     /* link_watch and ring */
	struct ring_buffer *ring;
	unsigned int ring_count; /* events of this call */

	struct eg_host_cgroup *host; /* room for EG_HOST_PODS_MAX; NULL: none yet */
	size_t host_count;
	int host_watch; /* inotify; -1: none */
	int host_root;	/* valid within eg_datapath_set_host_pods() */
	char *cgroup_root;

	struct eg_place *places;
	size_t place_count, place_room;
	uint64_t learned_sweep_ns, filter_sweep_ns; /* when the next one is due */
	bool counters_swept;			    /* since a pod went */
	uint32_t next_name_id, next_pod_id, next_policy_id;
	struct eg_known_name *names;
	size_t name_count, name_room;
	struct eg_verdict_key *stale_verdicts;
	size_t stale_verdict_count;
};

/* No way in, nothing judged: what is attached only looks. */
static inline bool eg_observes(const struct eg_datapath *d)
{
	return d->o.mode == EG_MODE_OBSERVE;
}

/* Calls calls.busy if there is one. */
static inline void eg_datapath_busy(const struct eg_datapath *d)
{
	if (d->o.calls.busy)
		d->o.calls.busy(d->o.calls.context);
}

void eg_datapath_note(struct eg_datapath *d, const char *format, ...) EG_PRINTF(2, 3);
/* Calls calls.notice if there is one. */
void eg_datapath_notice(struct eg_datapath *d, const char *format, ...) EG_PRINTF(2, 3);

/* load.c: pins, maps, programs. */
int eg_load_pin_dir(struct eg_datapath *d, struct eg_error *error) EG_MUST;
int eg_load_all(struct eg_datapath *d, struct eg_error *error) EG_MUST;
/* Puts the new programs into the links that are pinned; pins the programs. */
int eg_load_replace(struct eg_datapath *d, struct eg_error *error) EG_MUST;
void eg_load_close(struct eg_datapath *d);
/* Removes what this open() pinned, when it was the first. */
void eg_load_undo(struct eg_datapath *d);
/* 0 when the pinned map fd has the shape of the table; else -EEXIST and a sentence. */
int eg_load_check_shape(int fd, const struct eg_map_shape *shape, const char *path,
			struct eg_error *error) EG_MUST;

/* attach.c: one program on one link. Bits of an attached link are the caller's to keep.
 * -EOPNOTSUPP without a sentence: EG_XDP_AUTO, and the link takes no native program (noticed). */
int eg_attach(struct eg_datapath *d, enum eg_program_id program, uint32_t ifindex,
	      enum eg_xdp_mode xdp, struct eg_error *error) EG_MUST;
int eg_attach_netns(struct eg_datapath *d, int netns_fd, struct eg_error *error) EG_MUST;
/* Only what this pin directory attached. Harmless when it is not. */
void eg_detach(const char *pin_dir, enum eg_program_id program, uint32_t ifindex);
/* Where the link's program of ours is. OVERTAKEN: another's program, which may hide packets from
 * ours, runs before it. */
enum eg_hold { EG_HOLD_LOST, EG_HOLD_OVERTAKEN, EG_HOLD_FIRST };
enum eg_hold eg_attach_holds(struct eg_datapath *d, enum eg_program_id program, uint32_t ifindex);
/* The number of a TCX program there that has our program's name, but is neither ours nor pinned in
 * our directory: another installation's. 0: none, or it can't be told (without SYS_ADMIN). */
uint32_t eg_attach_namesake(const struct eg_datapath *d, enum eg_program_id program,
			    uint32_t ifindex);
/* Says once for each link and name that a program was put before ours and is not any more. */
void eg_attach_overtaken(struct eg_datapath *d, enum eg_program_id program, uint32_t ifindex,
			 const char *by, uint32_t by_program);
bool eg_tcx_supported(int program_fd);
char *eg_pin_path(char *path, size_t n, const char *pin_dir, enum eg_program_id program,
		  uint32_t ifindex, bool clsact);

/* clsact.c: where our filter is among those of a link. */
struct eg_clsact_place {
	uint32_t handle;     /* of ours; 0: it is not there */
	uint32_t spare;	     /* of a second one of ours that an interrupted change left */
	bool overtaken;	     /* another's filter runs before ours */
	char by[32];	     /* its name */
	uint32_t by_program; /* its program's number; 0: not known */
};
void eg_clsact_look(enum eg_program_id program, uint32_t ifindex, struct eg_clsact_place *out);
/* Ours comes first afterwards, whatever was there. */
int eg_clsact_attach(struct eg_datapath *d, enum eg_program_id program, uint32_t ifindex,
		     struct eg_error *error) EG_MUST;
/* Nothing where this pin directory has no record of it. */
void eg_clsact_detach(const char *pin_dir, enum eg_program_id program, uint32_t ifindex);

/* A pin in links/: "egress_tc-17" (a link), "egress_tc-17-tc" (a clsact filter: its program),
 * "qdisc-17" (a clsact qdisc that is ours). bpffs allows no dot in a name. */
struct eg_pin_name {
	enum eg_program_id program; /* EG_PROGRAM_COUNT for a qdisc */
	uint32_t ifindex;
	bool clsact;
};
bool eg_pin_name_parse(const char *name, struct eg_pin_name *out);
/* The fields of bpf_link_info that matter; -errno. *ifindex is 0 when the device is gone.
 * program_id may be NULL. */
int eg_link_info(int fd, uint32_t *type, uint32_t *ifindex, uint32_t *program_id) EG_MUST;

/* namespace.c, mark.c, listeners.c */
int eg_namespace_open(struct eg_datapath *d, struct eg_error *error) EG_MUST;
/* Takes away what netns mode made, for another mode; what can't be is a note. */
void eg_namespace_leave(struct eg_datapath *d);
/* The names of the pair's ends, the node's and the agent's. -EEXIST: what is at `path` is another's
 * namespace, and stays. */
struct eg_namespace_pair {
	const char *host_link, *agent_link;
};
int eg_namespace_remove(const char *path, const struct eg_namespace_pair *pair,
			struct eg_error *error) EG_MUST;
/* The same for the namespace of this inode, whatever its mount beside `path` is called. 0 also when
 * there is no such mount. */
int eg_namespace_remove_pinned(uint32_t inode, const char *path,
			       const struct eg_namespace_pair *pair,
			       struct eg_error *error) EG_MUST;
/*
 * namespace_whose.c: 0, or -EEXIST with *error when a link is up in it that is neither loopback nor
 * agent_link: a pod's namespace, say. By a netlink socket inside, or by a descriptor.
 */
int eg_namespace_whose(struct nl_sock *inside, const char *path, const char *agent_link,
		       struct eg_error *error) EG_MUST;
int eg_namespace_whose_fd(int netns_fd, const char *path, const char *agent_link,
			  struct eg_error *error) EG_MUST;
/* home.c: the inode of the namespace that listener_lookup is pinned in: in netns mode the agent's,
 * in mark mode the node's. 0: it is gone, or there is no such pin. */
uint32_t eg_home_pinned_inode(const char *pin_dir);
/*
 * The node's network namespace as the pins of o->pin_dir tell, whose mode was `mode`. *out:
 * a descriptor of it, the caller's; -1: it is this process's own, or nothing tells of another.
 * -ENOENT: it is another and can't be reached. Needs SYS_ADMIN when it is another.
 */
int eg_home_find(const struct eg_datapath_options *o, enum eg_redirect_mode mode, int *out,
		 struct eg_error *error) EG_MUST;
/* find.c: the first namespace that `is` wants, of those that are mounted or lived in. A descriptor,
 * the caller's; -1: none that is seen here. */
typedef bool (*eg_netns_wanted)(void *context, int netns_fd);
int eg_namespace_find(eg_netns_wanted is, void *context) EG_MUST;
/* Likewise the one that `netlink`'s own namespace knows by this number. */
int eg_namespace_find_number(struct nl_sock *netlink, int32_t nsid) EG_MUST;
/* Runs f in the network namespace netns_fd, on a thread of its own. */
int eg_namespace_call(int netns_fd, int (*f)(void *context, struct eg_error *error), void *context,
		      struct eg_error *error) EG_MUST;
/* agent_ifindex, then the slots. */
int eg_listeners_fill(struct eg_datapath *d, struct eg_error *error) EG_MUST;
/* Makes the veth pair again, what is left of it goes first. Needs NET_ADMIN alone. */
int eg_namespace_mend(struct eg_datapath *d, struct eg_error *error) EG_MUST;
int eg_mark_open(struct eg_datapath *d, struct eg_error *error) EG_MUST;
/* Adds the rules and routes that are not there. *was_gone: one was not. */
int eg_mark_mend(struct eg_datapath *d, bool *was_gone, struct eg_error *error) EG_MUST;
int eg_mark_remove(const struct eg_datapath_options *o, struct eg_error *error) EG_MUST;

/* mend.c: is the agent's way in whole? Puts it back, or tells calls.lost. */
void eg_way_check(struct eg_datapath *d);

/* host_pods.c: takes over what an earlier start pinned, or takes it away. */
int eg_host_pods_open(struct eg_datapath *d, struct eg_error *error) EG_MUST;
/* The same, after another process had the tables. */
void eg_host_pods_again(struct eg_datapath *d);
void eg_host_pods_close(struct eg_datapath *d);
void eg_host_pods_events(struct eg_datapath *d);
int eg_host_pods_uninstall(const char *pin_dir, struct eg_error *error) EG_MUST;
/* cgroup.c: where cgroup v2 is mounted. -ENOENT: nowhere. */
int eg_cgroup_mount(char *out, size_t n) EG_MUST;

/* uplinks.c: with uplink_auto, names the links that default routes lead over; those it did not have
 * get the guard, if they are known to links.c. */
void eg_uplinks_follow(struct eg_datapath *d);
/* uplinks.c: is the link of this name one of them? */
bool eg_uplinks_have(const struct eg_datapath *d, const char *name);
/* uplinks.c: a notice for each uplink and XDP link of the options that does not exist. */
void eg_uplinks_say_missing(struct eg_datapath *d);
/* A notice for each uplink on which the guard of another installation stands as well. */
void eg_uplinks_say_namesakes(struct eg_datapath *d);

/* links.c */
int eg_links_open(struct eg_datapath *d, struct eg_error *error) EG_MUST;
int eg_links_events(struct eg_datapath *d, struct eg_error *error) EG_MUST;
void eg_links_close(struct eg_datapath *d);
struct eg_link *eg_links_find(struct eg_datapath *d, uint32_t ifindex);
/* Finds or makes. NULL: out of memory. */
struct eg_link *eg_links_get(struct eg_datapath *d, uint32_t ifindex);
/* True: not all that the roles want, and the kernel can have, is attached. */
bool eg_links_lack(const struct eg_datapath *d, const struct eg_link *l);
/* Attaches what the roles want and is not attached. */
int eg_links_attach(struct eg_datapath *d, struct eg_link *l, struct eg_error *error) EG_MUST;
void eg_links_drop(struct eg_datapath *d, struct eg_link *l);

/* events.c */
int eg_events_open(struct eg_datapath *d, struct eg_error *error) EG_MUST;
void eg_events_close(struct eg_datapath *d);

/* adopt.c */
int eg_mapsync_open(struct eg_datapath *d, struct eg_error *error) EG_MUST;
void eg_mapsync_close(struct eg_datapath *d);
/* The keys of a map, one after the other. Owned: eg_walk_fini(), also after an error, or taken. */
struct eg_walk {
	void *keys;
	size_t count, room;
};
void eg_walk_fini(struct eg_walk *w);
#define EG_CLEANUP_WALK __attribute__((cleanup(eg_walk_fini)))
int eg_walk_keys(int map, size_t key_bytes, struct eg_walk *w) EG_MUST;

/* mapsync.c */
struct eg_known_name *eg_name_by_id(struct eg_datapath *d, uint32_t id);
/* Appended and zero; NULL: out of memory. */
struct eg_known_name *eg_name_new(struct eg_datapath *d);

/* learned.c */
int eg_learned_remove_if(struct eg_datapath *d,
			 bool (*f)(void *context, const struct eg_learned_key *k,
				   const struct eg_learned *l),
			 void *context) EG_MUST;
int eg_mapsync_sweep(struct eg_datapath *d, struct eg_error *error) EG_MUST;
void eg_mapsync_forget_link(struct eg_datapath *d, uint32_t ifindex);

/* counters.c: those of pods that are gone, some at a time. -errno: tried again by the next call. */
int eg_counters_sweep(struct eg_datapath *d) EG_MUST;
/* Makes the places where is counted what finds the map full. */
int eg_counters_open(struct eg_datapath *d) EG_MUST;

/* places.c: destinations. */
/* Adds or renews. 0, -ENOMEM, -ENOSPC: the map is full. */
int eg_places_add(struct eg_datapath *d, const struct eg_place *p) EG_MUST;
/* The first error, after trying all. */
int eg_places_remove_if(struct eg_datapath *d, bool (*f)(void *context, const struct eg_place *p),
			void *context) EG_MUST;
/* True when the longest prefix of the policy or the node that holds it says "excluded". */
bool eg_places_excluded(const struct eg_datapath *d, const struct eg_address *a);
/* Addresses of names that eg_places_excluded() would not let in now are stale: in the map theirs is
 * the longer prefix, and would win. */
void eg_places_mark_excluded(struct eg_datapath *d);
/* Loopback, link-local, multicast, unspecified and embedded forms: never governed by a name. */
bool eg_address_never_governed(const struct eg_address *a);
/* True when the first `bits` bits are equal. */
bool eg_address_in(const struct eg_address *a, const struct eg_address *prefix, unsigned int bits);
/* Clears all but the first `bits` bits. */
void eg_address_mask(struct eg_address *a, unsigned int bits);

/* datapath.c */
void eg_options_defaults(struct eg_datapath_options *o);
/* What stands at the agent's end: reply_tc on its veth, in mark mode listener_lookup. */
int eg_attach_agent(struct eg_datapath *d, struct eg_error *error) EG_MUST;

/* pods.c */
int eg_pods_unknown(struct eg_datapath *d, uint32_t ifindex, struct eg_error *error) EG_MUST;
void eg_pods_forget(struct eg_datapath *d, uint32_t ifindex);
/* A link that turned out to be an uplink is not watched as if an unknown pod were behind it. */
void eg_pods_release(struct eg_datapath *d, uint32_t ifindex);

#endif
