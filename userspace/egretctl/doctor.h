/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of `egretctl doctor`. */
#ifndef EGRET_EGRETCTL_DOCTOR_H
#define EGRET_EGRETCTL_DOCTOR_H

#include "datapath/read.h"
#include "egretctl/command.h"

enum doctor_level { DOCTOR_OK, DOCTOR_WARNING, DOCTOR_BROKEN };

struct findings;
/* One finding: what was checked, and a sentence with cost and cure. */
void doctor_say(struct findings *f, enum doctor_level level, const char *what, const char *format,
		...) EG_PRINTF(4, 5);

/* Guards, and programs on pods' links. `agent` is the agent's status, NULL: none answers. */
void doctor_links(struct findings *f, struct eg_pins *pins, const json_t *agent);
/* Likewise the link into the agent's namespace, and its mount. */
void doctor_way_in(struct findings *f, const struct eg_config *c, const json_t *agent);

/*
 * The way of every governed pod to the gateway's address, and a real connection to it from one:
 * `wanted` ("namespace/name"), or NULL for the first that can be entered and has such a way. `pods`
 * is the agent's list; NULL: none answers. What could not be tried is said. 20 s at most.
 */
void doctor_path(struct findings *f, struct eg_pins *pins, const struct eg_config *c,
		 const json_t *pods, const char *wanted);

/*
 * A node of `egretd --observe` instead of all that needs a gateway: says that nothing is enforced,
 * and looks at the agent and at the programs on pods' links. `agent` and `pods` as above.
 */
void doctor_observe(struct findings *f, struct eg_pins *pins, const json_t *agent,
		    const json_t *pods);

/* Dates of DIR/root.crt and DIR/intermediate.crt, and that the one issued the other. */
void doctor_ca_dates(struct findings *f, const char *ca_dir);
/* Whether the kernel says that the clock is kept in step (NTP). */
void doctor_clock(struct findings *f);
/* Asks "10.0.0.10" or "[::1]:5353" for the root's name servers; any answer within 2 s is good. */
int doctor_dns_answers(const char *server, struct eg_error *e) EG_MUST;

#endif
