/* SPDX-License-Identifier: Apache-2.0 */
/* The world of live.c, for the tests beside it: a pod, a node, an agent and an internet. */
#ifndef EGRET_TESTS_BPF_LIVE_H
#define EGRET_TESTS_BPF_LIVE_H

#include "harness.h"

#define TCX_INGRESS ((enum bpf_attach_type)46) /* linux/bpf.h of 6.6 and later */
#define TCX_EGRESS  ((enum bpf_attach_type)47)
#define AGENT_LINK  POD_OTHER
#define WAIT_MS	    10000 /* an upper bound for what must happen; nothing is measured */

struct live {
	int node_ns, pod_ns, agent_ns, internet_ns;
	int egress;		/* link of egress_tc on the pod's link */
	int listener, provider; /* the agent's; the internet's on port 443 */
};
extern struct live live;

void must(bool ok, const char *what);
void enter(int ns);
int attach(int prog, int target, enum bpf_attach_type type);
int dial(int ns, const char *to, uint16_t port, int type);
bool ready(int fd, short events);
int outcome(int fd);					/* of a connect: 0 or an errno */
bool counted(enum eg_reason reason, enum eg_hook hook); /* waits for it */
void set_agent(int listener);				/* a world with this one as the agent's */
/* One frame out of a device, as an skb of `linear` contiguous bytes and the rest in fragments. */
void send_frame(int ns, const char *device, const struct frame *f, uint16_t linear);

/* The same, its checksum left to the link: two bytes at start + offset, of all from start on. */
struct checksum_place {
	uint16_t start, offset;
};
void send_offloaded(int ns, const char *device, const struct frame *f, uint16_t linear,
		    const struct checksum_place *place);

void set_mtu(int link, int far_ns, int mtu); /* of both ends */

void test_forged(void);		 /* live_forge.c */
void test_guard_frames(void);	 /* live_forge.c */
void test_checksum_places(void); /* live_forge.c */

#endif
