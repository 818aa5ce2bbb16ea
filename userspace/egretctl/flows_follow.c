/* SPDX-License-Identifier: Apache-2.0 */
#include "egretctl/flows_follow.h"

#include <poll.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "egretctl/command.h"

#define LOOK_MS 1000

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static long long number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

/* What makes it that flow, and not another one. */
static void key_of(const json_t *row, char *out, size_t size)
{
	snprintf(out, size, "%s %s %s %lld %s %lld", text(row, "pod"), text(row, "protocol"),
		 text(row, "source"), number(row, "source_port"), text(row, "destination"),
		 number(row, "destination_port"));
}

static const char *now(char out[16])
{
	time_t t = time(NULL);
	struct tm tm;

	localtime_r(&t, &tm);
	strftime(out, 16, "%H:%M:%S", &tm);
	return out;
}

static void print_line(const json_t *row, bool is_new, long long packets, long long bytes)
{
	bool v6 = strchr(text(row, "source"), ':');
	char time[16];

	eg_line("%s %s %s %s %s%s%s:%lld > %s%s%s:%lld %s %s %s +%lld packets +%lld bytes",
		now(time), *text(row, "pod") ? text(row, "pod") : "-", is_new ? "new" : "on",
		text(row, "protocol"), v6 ? "[" : "", text(row, "source"), v6 ? "]" : "",
		number(row, "source_port"), v6 ? "[" : "", text(row, "destination"), v6 ? "]" : "",
		number(row, "destination_port"), *text(row, "name") ? text(row, "name") : "-",
		text(row, "action"), text(row, "reason"), packets, bytes);
}

static void print_object(json_t *row, bool is_new, long long packets, long long bytes)
{
	json_object_set_new(row, "new", json_boolean(is_new));
	json_object_set_new(row, "new_packets", json_integer(packets));
	json_object_set_new(row, "new_bytes", json_integer(bytes));
	json_dumpf(row, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
	putchar('\n');
}

/* A flow whose count is smaller than it was is another one with the same ports. */
static void compare(json_t *row, const json_t *former, bool json)
{
	bool is_new = !former || number(row, "packets") < number(former, "packets");
	long long packets = number(row, "packets"), bytes = number(row, "bytes");

	if (!is_new) {
		packets -= number(former, "packets");
		bytes -= number(former, "bytes");
	}
	if (!is_new && !packets && !strcmp(text(row, "action"), text(former, "action")) &&
	    !strcmp(text(row, "reason"), text(former, "reason")))
		return;
	if (json)
		print_object(row, is_new, packets, bytes);
	else
		print_line(row, is_new, packets, bytes);
}

/* By key, for the next look; `former` NULL: nothing is shown. */
static json_t *index_rows(json_t *rows, const json_t *former, bool json)
{
	json_t *found = json_object(), *row;
	char key[256];
	size_t i;

	json_array_foreach(rows, i, row)
	{
		key_of(row, key, sizeof(key));
		if (former)
			compare(row, json_object_get(former, key), json);
		json_object_set(found, key, row);
	}
	return found;
}

/* A second, or less when the reader of a pipe goes. False: it has gone. */
static bool wait_a_second(void)
{
	struct pollfd out = {.fd = STDOUT_FILENO};

	return poll(&out, 1, LOOK_MS) <= 0 || !(out.revents & (POLLERR | POLLHUP | POLLNVAL));
}

int flows_follow(json_t *(*look)(void *context, struct eg_error *e), void *context, bool json)
{
	json_t *former = NULL, *rows;
	struct eg_error e = {""};

	while ((rows = look(context, &e))) {
		json_t *found = index_rows(rows, former, json);

		json_decref(rows);
		json_decref(former);
		former = found;
		if (fflush(stdout) || !wait_a_second()) {
			json_decref(former);
			return EG_EXIT_OK;
		}
	}
	json_decref(former);
	eg_complain("flows", "%s", e.text);
	return EG_EXIT_NO;
}
