/* SPDX-License-Identifier: Apache-2.0 */
/* egretctl gateway restart: another gateway process beside the one that serves, which then drains.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "egretctl/ask.h"

#define LOOKS	   300 /* of 100 ms: longer than a gateway may take to be ready */
#define BETWEEN_NS 100000000L

static const char usage[] =
	"Usage: egretctl gateway restart [OPTION...]\n"
	"\n"
	"Starts another gateway process beside the one that serves. When it has policy, pods and\n"
	"keys it accepts new connections, and the former one finishes what it has (--drain of\n"
	"egretd). No request fails. If the new one can't be had, the former one goes on.\n"
	"\n"
	"  --no-wait       return when it has begun, not when the new one serves\n"
	"  --run-dir DIR   where the agent's control socket is (" ASK_RUN_DIR ")\n"
	"  --pin-dir DIR   not used here\n"
	"  --json          one JSON document: the agent's \"gateway\" of egretctl status\n"
	"  -h, --help      this text\n"
	"\n"
	"Exit codes: 0 the new one serves (--no-wait: is being prepared); 1 not, with the reason;\n"
	"2 wrong arguments.\n";

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static int number(const json_t *o, const char *key)
{
	return (int)json_integer_value(json_object_get(o, key));
}

static int fail(const char *why)
{
	fprintf(stderr, "egretctl gateway restart: %s\n", why);
	return EG_EXIT_NO;
}

/* The answer to one command, whose own error is an error. NULL, and it has been said. */
static json_t *asked(const struct ask_options *o, const char *command)
{
	struct eg_error e = {""};
	int code = 0;
	json_t *answer = ask_agent(o->run_dir, command, &code, &e);

	if (!answer) {
		(void)fail(e.text);
		return NULL;
	}
	if (*text(answer, "error")) {
		(void)fail(text(answer, "error"));
		json_decref(answer);
		return NULL;
	}
	return answer;
}

static int show(const struct ask_options *o, const json_t *gateway)
{
	if (o->json) {
		json_dumpf(gateway, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
		putchar('\n');
	} else if (number(gateway, "former_pid")) {
		printf("gateway (pid %d) serves; pid %d finishes what it has\n",
		       number(gateway, "pid"), number(gateway, "former_pid"));
	} else {
		printf("gateway (pid %d) serves; the former one has ended\n",
		       number(gateway, "pid"));
	}
	return EG_EXIT_OK;
}

/* Until the new one serves, or can't be had. */
static int await(const struct ask_options *o)
{
	const struct timespec between = {.tv_nsec = BETWEEN_NS};

	for (int i = 0; i < LOOKS; i++) {
		json_t *status = asked(o, "status"), *gateway;
		int code = -1;

		if (!status)
			return EG_EXIT_NO;
		gateway = json_object_get(status, "gateway");
		if (*text(gateway, "renewal_error"))
			code = fail(text(gateway, "renewal_error"));
		else if (strcmp(text(gateway, "renewal"), "preparing") != 0)
			code = show(o, gateway);
		json_decref(status);
		if (code >= 0)
			return code;
		(void)nanosleep(&between, NULL);
	}
	return fail(
		"the new gateway is not ready after 30 s; egretctl status and the log say more");
}

int eg_cmd_gateway(int argc, char **argv)
{
	static const char *const own[] = {"no-wait", NULL};
	struct ask_options o;
	bool no_wait = false;
	json_t *begun;
	int r;

	if (argc < 2 || (strcmp(argv[1], "restart") != 0 && argv[1][0] != '-')) {
		fprintf(stderr, "egretctl gateway: expected \"restart\"\n%s", usage);
		return EG_EXIT_USAGE;
	}
	if (argv[1][0] != '-') {
		argv[1] = argv[0]; /* getopt's, and of the errors' */
		argc--;
		argv++;
	}
	r = ask_parse(argc, argv, usage, own, &no_wait, &o);
	if (r >= 0)
		return r;
	begun = asked(&o, "gateway_restart");
	if (!begun)
		return EG_EXIT_NO;
	if (no_wait && o.json)
		puts("{\"preparing\": true}");
	else if (no_wait)
		puts("another gateway is being prepared");
	json_decref(begun);
	return no_wait ? EG_EXIT_OK : await(&o);
}
