/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pinned maps read from outside, for egretctl: needs only the pin directory and CAP_BPF.
 * Objects are found by pin, never by id. What changes while it is read may be seen or not, once or
 * twice.
 */
#ifndef EGRET_DATAPATH_READ_H
#define EGRET_DATAPATH_READ_H

#include "base/base.h"
#include "base/error.h"
#include "egret/abi/maps.h"

struct eg_pins;

/* "unknown", "held"...; "?" for what is no enum eg_pod_state. */
const char *eg_pod_state_name(uint8_t state);

/* pin_dir NULL: EG_PIN_DIR. -ENOENT: Egret is not installed there. -EPERM: CAP_BPF is missing. */
int eg_pins_open(const char *pin_dir, struct eg_pins **out, struct eg_error *error) EG_MUST;
void eg_pins_close(struct eg_pins *p);

/* Each calls `each` until it returns false; key and value are borrowed. 0 or -errno. */
int eg_pins_pods(struct eg_pins *p,
		 bool (*each)(void *context, uint32_t ifindex, const struct eg_pod *pod),
		 void *context, struct eg_error *error) EG_MUST;
/* Pods in the node's own network that are guarded; none: nobody asked for that. */
int eg_pins_host_pods(struct eg_pins *p, bool (*each)(void *context, const struct eg_pod *pod),
		      void *context, struct eg_error *error) EG_MUST;
int eg_pins_flows(struct eg_pins *p,
		  bool (*each)(void *context, const struct eg_flow_key *k, const struct eg_flow *f),
		  void *context, struct eg_error *error) EG_MUST;
int eg_pins_learned(struct eg_pins *p,
		    bool (*each)(void *context, const struct eg_learned_key *k,
				 const struct eg_learned *l),
		    void *context, struct eg_error *error) EG_MUST;
/* Summed over CPUs. */
int eg_pins_counters(struct eg_pins *p,
		     bool (*each)(void *context, const struct eg_counter_key *k,
				  const struct eg_counter *sum),
		     void *context, struct eg_error *error) EG_MUST;
int eg_pins_names(struct eg_pins *p, bool (*each)(void *context, const struct eg_name *n),
		  void *context, struct eg_error *error) EG_MUST;
/* Observe mode only. -ENOENT: nobody observes, or did with these pins. */
int eg_pins_inventory(struct eg_pins *p,
		      bool (*each)(void *context, const struct eg_talk_key *k,
				   const struct eg_talk *t),
		      void *context, struct eg_error *error) EG_MUST;
/* IPv4 ones as mapped addresses with the bits of IPv4 (0..32). */
int eg_pins_destinations(struct eg_pins *p,
			 bool (*each)(void *context, const struct eg_address *a, unsigned int bits,
				      const struct eg_destination *v),
			 void *context, struct eg_error *error) EG_MUST;
int eg_pins_verdicts(struct eg_pins *p,
		     bool (*each)(void *context, const struct eg_verdict_key *k,
				  const struct eg_verdict *v),
		     void *context, struct eg_error *error) EG_MUST;
int eg_pins_config(struct eg_pins *p, struct eg_config *out, struct eg_error *error) EG_MUST;
/* How many listener slots are filled. */
int eg_pins_listeners(struct eg_pins *p, unsigned int *filled, struct eg_error *error) EG_MUST;

struct eg_pin_link {
	char program[32]; /* "egress_tc" */
	char link[64];	  /* name of the interface, or "" when it is gone */
	uint32_t ifindex; /* 0: a namespace's (listener_lookup) */
	bool attached;	  /* false: a dead pin */
	char how[16];	  /* "tcx", "clsact", "xdp", "netns" */
};
int eg_pins_links(struct eg_pins *p, bool (*each)(void *context, const struct eg_pin_link *l),
		  void *context, struct eg_error *error) EG_MUST;

#endif
