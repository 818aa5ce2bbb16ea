/* SPDX-License-Identifier: Apache-2.0 */
/* egretctl check: every error of a policy set at once, with its place. */
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "credential/credential.h"
#include "egretctl/ca_names.h"
#include "egretctl/policy_files.h"
#include "net/tls.h"

static const char usage[] =
	"Usage: egretctl check FILE|DIR [OPTION...]\n"
	"\n"
	"Reads policy files as the agent does (a directory: all its *.json together) and\n"
	"prints every error and warning as FILE:LINE:COLUMN: JSON-PATH: text.\n"
	"\n"
	"  --credentials-dir DIR  also check that each credential's file is there and usable,\n"
	"                         and each ca_file\n"
	"  --ca-dir DIR           also check that the node's intermediate CA permits each host\n"
	"  --json                 one JSON document instead of lines\n"
	"  -h, --help             this text\n"
	"\n"
	"Exit codes: 0 valid (there may be warnings), 1 errors, 2 wrong arguments or\n"
	"something could not be read.\n";

struct options {
	const char *path, *credentials, *ca;
	bool json;
};

struct findings {
	struct eg_policy_errors list;
	size_t errors, warnings;
};

static int add_finding(struct findings *f, const struct eg_policy_error *e)
{
	struct eg_policy_error *grown = realloc(f->list.item, (f->list.count + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	f->list.item = grown;
	f->list.item[f->list.count++] = *e;
	return 0;
}

/* ---- credentials ---- */
/* Root without CAP_DAC_OVERRIDE, as the supervisor is once it has started: by mode alone. */
static bool root_may_read(const struct stat *st)
{
	unsigned int class = !st->st_uid ? 0400u : !st->st_gid ? 0040u : 0004u;

	return st->st_mode & class;
}

/* Root reads anything here; said of a file that the supervisor will not be able to read. */
static int warn_of_mode(const struct policy_files *files, int dir_fd,
			const struct eg_credential_spec *spec, struct findings *f)
{
	struct eg_policy_error at = {0};
	struct stat st;

	if (geteuid() || fstatat(dir_fd, spec->file, &st, 0) || root_may_read(&st))
		return 0;
	(void)eg_policy_locate(files->files, files->count, "credentials", spec->name, "file", &at);
	at.warning = true;
	snprintf(at.text, sizeof(at.text),
		 "%.160s: mode %03o of %u:%u: the supervisor, which is root without "
		 "CAP_DAC_OVERRIDE, can't read it; expected mode 0600 or 0640 of root",
		 spec->file, st.st_mode & 0777u, st.st_uid, st.st_gid);
	return add_finding(f, &at);
}

static int check_credentials(const struct eg_policy_set *s, const struct policy_files *files,
			     const char *dir, struct findings *f)
{
	EG_CLEANUP_FD int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const struct eg_credential_spec *specs;
	const struct eg_provider *providers;
	size_t count;

	if (dir_fd < 0)
		return eg_usage_error("check", "--credentials-dir %s: %s", dir, strerror(errno));
	specs = eg_credentials(s, &count);
	for (size_t i = 0; i < count; i++) {
		struct eg_policy_error at = {0};
		struct eg_error e = {0};
		int fd = -1;

		if (!eg_credential_seal(dir_fd, &specs[i], &fd, &e)) {
			bool file = fd >= 0; /* "none" has no file */

			eg_fd_close(&fd);
			if (file && warn_of_mode(files, dir_fd, &specs[i], f))
				return EG_EXIT_USAGE;
			continue;
		}
		(void)eg_policy_locate(files->files, files->count, "credentials", specs[i].name,
				       "file", &at);
		snprintf(at.text, sizeof(at.text),
			 "%.260s; expected a secret as docs/policy.md says", e.text);
		if (add_finding(f, &at))
			return EG_EXIT_USAGE;
	}
	providers = eg_providers(s, &count);
	for (size_t i = 0; i < count; i++) {
		EG_CLEANUP_FREE char *pem = NULL;
		struct eg_policy_error at = {0};
		struct eg_error e = {0};
		size_t n;

		if (!providers[i].ca_file ||
		    !eg_trust_read(dir_fd, providers[i].ca_file, &pem, &n, &e))
			continue;
		snprintf(at.text, sizeof(at.text), "%.200s; expected roots in PEM below %.80s",
			 e.text, dir);
		(void)eg_policy_locate(files->files, files->count, "providers", providers[i].name,
				       "ca_file", &at);
		if (add_finding(f, &at))
			return EG_EXIT_USAGE;
	}
	return EG_EXIT_OK;
}

/* ---- the CA's names ---- */
static int check_ca(const struct eg_policy_set *s, const char *dir, struct findings *f)
{
	const struct eg_watched_name *names;
	struct ca_names permitted;
	struct eg_error e = {0};
	size_t count;

	if (ca_names_read(dir, &permitted, &e))
		return eg_usage_error("check", "--ca-dir %s", e.text);
	names = eg_watched_names(s, &count);
	for (size_t i = 0; i < count; i++) {
		struct eg_policy_error at = {.warning = true};

		if (ca_names_permit(&permitted, names[i].text))
			continue;
		snprintf(at.path, sizeof(at.path), "$");
		snprintf(
			at.text, sizeof(at.text),
			"the intermediate CA does not permit host %s: pods will get no certificate "
			"for it until a new intermediate is issued (egretctl ca)",
			names[i].text);
		if (add_finding(f, &at))
			break;
	}
	ca_names_fini(&permitted);
	return EG_EXIT_OK;
}

/* ---- output ---- */
static void print_lines(const struct findings *f, const struct eg_policy_set *s)
{
	for (size_t i = 0; i < f->list.count; i++) {
		const struct eg_policy_error *e = &f->list.item[i];

		char at[32] = "";

		if (e->line)
			snprintf(at, sizeof(at), "%d:%d:", e->line, e->column);
		eg_line("%s%s%s%s%s: %s%s", e->file, *e->file ? ":" : "", at,
			*e->file || e->line ? " " : "", e->path, e->warning ? "warning: " : "",
			e->text);
	}
	if (s)
		eg_line("%s: %zu errors, %zu warnings (policy %s)",
			f->errors ? "not valid" : "valid", f->errors, f->warnings,
			eg_policy_version(s));
	else
		eg_line("not valid: %zu errors, %zu warnings", f->errors, f->warnings);
}

static int print_json(const struct findings *f, const struct eg_policy_set *s)
{
	json_t *list = json_array(), *top;
	int code;

	for (size_t i = 0; i < f->list.count; i++) {
		const struct eg_policy_error *e = &f->list.item[i];

		json_array_append_new(list, json_pack("{s:s, s:o, s:o, s:i, s:i, s:o}", "severity",
						      e->warning ? "warning" : "error", "file",
						      eg_json_text(eg_str_from(e->file)), "path",
						      eg_json_text(eg_str_from(e->path)), "line",
						      e->line, "column", e->column, "text",
						      eg_json_text(eg_str_from(e->text))));
	}
	top = json_pack("{s:b, s:s?, s:I, s:I, s:o}", "valid", f->errors == 0, "version",
			s ? eg_policy_version(s) : NULL, "errors", (json_int_t)f->errors,
			"warnings", (json_int_t)f->warnings, "findings", list);
	code = eg_print_json(top);
	json_decref(top);
	return code;
}

static int check(const struct options *o, const struct policy_files *files)
{
	struct eg_policy_set *s = NULL;
	struct findings f = {0};
	int code = EG_EXIT_OK;

	if (eg_policy_load(files->files, files->count, &s, &f.list) == -ENOMEM)
		code = eg_usage_error("check", "out of memory");
	if (s && o->credentials && !code)
		code = check_credentials(s, files, o->credentials, &f);
	if (s && o->ca && !code)
		code = check_ca(s, o->ca, &f);
	for (size_t i = 0; i < f.list.count; i++) {
		f.errors += !f.list.item[i].warning;
		f.warnings += f.list.item[i].warning;
	}
	if (!code && o->json)
		code = print_json(&f, s);
	else if (!code)
		print_lines(&f, s);
	if (!code && f.errors)
		code = EG_EXIT_NO;
	eg_policy_errors_fini(&f.list);
	eg_policy_set_unref(s);
	return code;
}

int eg_cmd_check(int argc, char **argv)
{
	static const struct option table[] = {
		{"credentials-dir", required_argument, NULL, 'c'},
		{"ca-dir", required_argument, NULL, 'a'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct options o = {0};
	struct policy_files files;
	struct eg_error e = {0};
	int c, code;

	opterr = 0;
	while ((c = getopt_long(argc, argv, "h", table, NULL)) != -1) {
		switch (c) {
		case 'c':
			o.credentials = optarg;
			break;
		case 'a':
			o.ca = optarg;
			break;
		case 'j':
			o.json = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return EG_EXIT_OK;
		default:
			return eg_bad_option("check", argv);
		}
	}
	if (optind + 1 != argc)
		return eg_usage_error("check", "expected one FILE or DIR");
	o.path = argv[optind];
	code = policy_files_read(o.path, &files, &e) ? eg_usage_error("check", "%s", e.text)
						     : check(&o, &files);
	policy_files_fini(&files);
	return code;
}
