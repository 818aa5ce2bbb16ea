/* SPDX-License-Identifier: Apache-2.0 */
/* The running agent, asked over its control socket; and where its pins are when none runs. */
#ifndef EGRET_EGRETCTL_ASK_H
#define EGRET_EGRETCTL_ASK_H

#include <jansson.h>

#include "egretctl/command.h"

#define ASK_RUN_DIR "/run/egret"

/* A connection to it, whose calls wait for 5 s at most; the caller closes it. -errno with *e: no
 * agent there (-ENOENT, -ECONNREFUSED), or not allowed. */
int ask_connect(const char *run_dir, struct eg_error *e) EG_MUST;
/* One command ("status"), one answer, within 5 s. NULL with *e: no agent there (-ENOENT,
 * -ECONNREFUSED in *code), not allowed, or not an answer. The caller releases it. */
json_t *ask_agent(const char *run_dir, const char *command, int *code, struct eg_error *e) EG_MUST;
/* What the user said, else what the agent of run_dir left there, else the default. Into out. */
const char *ask_pin_dir(const char *given, const char *run_dir, char *out, size_t size);

/* Options that all of these commands have. */
struct ask_options {
	const char *run_dir, *pin_dir; /* pin_dir: NULL when not given */
	bool json;
	const char *value; /* of the command's own option that takes one; NULL when not given */
};
/* Parses --run-dir, --pin-dir, --json, --help, and flags of the command's own: `own` (may be NULL)
 * is a list of names without "--" that ends with NULL; own_set[i] becomes true. One name may end
 * with "=": it takes a value, which goes to out->value. -1: go on; else the exit code. */
int ask_parse(int argc, char **argv, const char *usage, const char *const *own, bool *own_set,
	      struct ask_options *out) EG_MUST;

#endif
