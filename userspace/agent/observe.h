/* SPDX-License-Identifier: Apache-2.0 */
/*
 * egretd --observe: which pods talk to which AI providers, and nothing else. One process: no
 * gateway, no signer, no CA, no key, no way in. What is attached to pods' links only looks
 * (bpf/lib/observe.h); the kernel counts, so that it goes on when this process ends.
 */
#ifndef EGRET_AGENT_OBSERVE_H
#define EGRET_AGENT_OBSERVE_H

#include "agent/options.h"
#include "base/buf.h"

struct eg_supervisor;

/* The exit code of the process. */
int eg_observe_main(const struct eg_options *o);

/* The control socket's commands, for admin.c: whether there is one of that name, and its answer. */
bool eg_observe_takes(const char *command);
int eg_observe_obey(struct eg_supervisor *s, const char *command, struct eg_buf *out) EG_MUST;

#endif
