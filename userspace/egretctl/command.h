/* SPDX-License-Identifier: Apache-2.0 */
/*
 * egretctl: one command a file, `int eg_cmd_<name>(int argc, char **argv)`; argv[0] is the
 * command's name. A command prints its answer on stdout (one JSON document with --json), what went
 * wrong on stderr, and returns one of the codes below. `--help` prints its own usage on stdout and
 * returns EG_EXIT_OK. None ever prints a secret. main.c lists them; a command is listed there once.
 */
#ifndef EGRET_EGRETCTL_COMMAND_H
#define EGRET_EGRETCTL_COMMAND_H

#include <jansson.h>

#include "base/base.h"
#include "base/buf.h"
#include "base/error.h"

enum eg_exit {
	EG_EXIT_OK = 0,	   /* the answer is yes: valid, allowed, healthy */
	EG_EXIT_NO = 1,	   /* the answer is no: errors found, denied, not healthy */
	EG_EXIT_USAGE = 2, /* wrong arguments, or what was named could not be read */
};

int eg_cmd_check(int argc, char **argv);     /* check.c */
int eg_cmd_explain(int argc, char **argv);   /* explain.c */
int eg_cmd_ca(int argc, char **argv);	     /* ca.c */
int eg_cmd_status(int argc, char **argv);    /* status.c */
int eg_cmd_pods(int argc, char **argv);	     /* pods.c */
int eg_cmd_flows(int argc, char **argv);     /* flows.c */
int eg_cmd_inventory(int argc, char **argv); /* inventory.c */
int eg_cmd_doctor(int argc, char **argv);    /* doctor.c */
int eg_cmd_gateway(int argc, char **argv);
int eg_cmd_trace(int argc, char **argv); /* trace.c */

/* say.c: all that a person reads goes through these. Each is one line; what would act on a
 * terminal (also a new line inside) is written as \u00XX, so no argument needs care. */
void eg_line(const char *format, ...) EG_PRINTF(1, 2); /* on stdout */
/* "egretctl <command>: " and the sentence on stderr. */
void eg_complain(const char *command, const char *format, ...) EG_PRINTF(2, 3);
/* Likewise, with a hint at --help; returns EG_EXIT_USAGE. */
int eg_usage_error(const char *command, const char *format, ...) EG_PRINTF(2, 3);
/* After getopt_long() (with opterr 0) gave '?': names what it did not take. */
int eg_bad_option(const char *command, char *const *argv);
/* The document on stdout, in ASCII; NULL is out of memory. EG_EXIT_OK, or EG_EXIT_USAGE when it
 * could not be written, which was said. */

int eg_print_json(const json_t *document);
/* A string value; of bytes that are no UTF-8 (a name that the kernel's map cut) as eg_line() has
 * them. */
json_t *eg_json_text(struct eg_str s);
/* Reads a whole regular file (or "-": stdin) of at most max_bytes into *out, NUL-terminated; the
 * caller frees out->p. 0 or -errno with *e naming the file. */
int eg_read_file(const char *path, size_t max_bytes, struct eg_str *out,
		 struct eg_error *e) EG_MUST;
/* Writes all of b to stdout. EG_EXIT_OK, or EG_EXIT_USAGE when it could not be written. */
int eg_print(const struct eg_buf *b);

#endif
