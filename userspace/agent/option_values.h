/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the values of egretd's options mean, one function for each kind of value. Each puts what it
 * read into the options, and returns 0, or -EINVAL (or what the file gave) with a sentence that
 * names the option, the value and what was expected. Lists are cut from a copy in the options'
 * memory, which has room for every argument once.
 */
#ifndef EGRET_AGENT_OPTION_VALUES_H
#define EGRET_AGENT_OPTION_VALUES_H

#include "agent/options.h"

/* -EINVAL, with the sentence. */
int eg_option_bad(struct eg_error *e, const char *option, const char *value,
		  const char *expected) EG_MUST;
/* In decimal, from `least` to `most`. */
int eg_option_number(struct eg_error *e, const char *option, const char *value, uint64_t least,
		     uint64_t most, unsigned int *out) EG_MUST;

/* Index of value among the words, or -1. */
int eg_option_word(const char *value, const char *const *words, size_t count);
#define EG_OPTION_WORD(value, ...)                                \
	eg_option_word(value, (const char *const[]){__VA_ARGS__}, \
		       sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))
/* `found` as *out, if it is one. */
int eg_option_choose(struct eg_error *e, const char *option, const char *value, int found,
		     const char *expected, int *out) EG_MUST;

/* --uplink IF[,IF], or auto. */
int eg_option_links(struct eg_options *o, const char *value, struct eg_error *e) EG_MUST;
/* --resolver IP[:PORT][,...], or auto. */
int eg_option_resolvers(struct eg_options *o, const char *value, struct eg_error *e) EG_MUST;
/* Adds the servers of a resolv.conf(5) to o->resolvers, as `--resolver auto` does. A server of this
 * machine alone is refused: pods ask others. */
int eg_option_resolv_conf(struct eg_options *o, const char *path, struct eg_error *e) EG_MUST;
/* --forbid CIDR[,CIDR] */
int eg_option_forbid(struct eg_options *o, const char *value, struct eg_error *e) EG_MUST;
/* --xdp IF=auto|native|generic|off, with "+uplink" for a link where traffic comes from outside. */
int eg_option_xdp(struct eg_options *o, const char *value, struct eg_error *e) EG_MUST;
/* --gateway4 and --gateway6: an address that pods can reach, or none. */
int eg_option_gateway(const char *option, const char *value, bool four, bool *set,
		      struct eg_address *out, struct eg_error *e) EG_MUST;
/* --metrics ADDRESS:PORT, or none. */
int eg_option_metrics(struct eg_options *o, const char *value, struct eg_error *e) EG_MUST;
/* --kube-api ADDRESS:PORT */
int eg_option_kube_api(struct eg_options *o, const char *value, struct eg_error *e) EG_MUST;
/* --agent-namespace: a name, without a slash. */
int eg_option_namespace(struct eg_options *o, const char *value, struct eg_error *e) EG_MUST;
/* A DNS subdomain (RFC 1123), as Kubernetes has it: it goes into a query. */
bool eg_option_is_node_name(const char *s);

#endif
