/* SPDX-License-Identifier: Apache-2.0 */
/* egretctl ca: makes the two tiers of the certificate authority, shows them, bundles the root. */
#include "net/ca.h"

#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "egretctl/ca_show.h"
#include "egretctl/policy_files.h"

static const char usage[] =
	"Usage: egretctl ca create --dir DIR NAMES [OPTION...]\n"
	"       egretctl ca intermediate --dir DIR NAMES [OPTION...]\n"
	"       egretctl ca show DIR [--json]\n"
	"       egretctl ca bundle DIR [--system FILE] [--out FILE] [--json]\n"
	"\n"
	"create        makes a root (root.crt, root.key) and an intermediate\n"
	"              (intermediate.crt, intermediate.key) in DIR\n"
	"intermediate  makes the intermediate anew from the root that is in DIR: for new\n"
	"              names or before it expires; pods that trust the root notice nothing\n"
	"show          what is in DIR, and what is wrong with it\n"
	"bundle        the system's roots and ours in one file, for what replaces its trust\n"
	"              instead of adding to it (SSL_CERT_FILE, REQUESTS_CA_BUNDLE)\n"
	"\n"
	"NAMES, one of:\n"
	"  --names A,B,C      DNS names the intermediate may sign: api.example.com\n"
	"                     (and below), *.example.com\n"
	"  --policy-dir DIR   the hosts of every route of this policy\n"
	"\n"
	"Options:\n"
	"  --days N           the intermediate's life (90); never past the root's\n"
	"  --root-days N      the root's life (3650)\n"
	"  --subjects WHAT    what a leaf's subject may hold: any, or none, so that no name\n"
	"                     can stand there. rustls refuses a chain with none (any)\n"
	"  --common-name CN   the root's name (Egret root)\n"
	"  --force            create: overwrite what is there, the root's key too\n"
	"  --system FILE      roots to begin with (/etc/ssl/certs/ca-certificates.crt)\n"
	"  --out FILE         where to (standard output)\n"
	"  --json             one JSON document\n"
	"  -h, --help         this text\n"
	"\n"
	"Keys are written with mode 0600. The root's key is needed for `ca intermediate`\n"
	"alone: keep it off the node.\n"
	"\n"
	"Exit codes: 0 done or healthy, 1 something is wrong with the certificates,\n"
	"2 wrong arguments, or something could not be read or written.\n";

struct options {
	const char *dir, *names, *policy, *system, *out, *common_name;
	unsigned int days, root_days;
	bool force, json, no_subjects;
};

struct names {
	char **item;
	size_t count;
};

static int fail(const char *text)
{
	eg_complain("ca", "%s", text);
	return EG_EXIT_USAGE;
}

/* ---- names ---- */

static void names_fini(struct names *n)
{
	for (size_t i = 0; i < n->count; i++)
		free(n->item[i]);
	free(n->item);
}

static int names_add(struct names *n, const char *text, size_t length)
{
	char **grown = realloc(n->item, (n->count + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	n->item = grown;
	n->item[n->count] = strndup(text, length);
	return n->item[n->count] ? (int)(n->count++, 0) : -ENOMEM;
}

static int names_from_list(const char *list, struct names *out)
{
	int r = 0;

	while (!r && *list) {
		size_t n = strcspn(list, ",");

		if (n)
			r = names_add(out, list, n);
		list += n + (list[n] == ',');
	}
	return r;
}

static int names_from_policy(const char *dir, struct names *out)
{
	struct policy_files files = {0};
	struct eg_policy_errors errors = {0};
	struct eg_policy_set *set = NULL;
	const struct eg_watched_name *watched;
	struct eg_error e = {""};
	size_t count = 0;
	int r = policy_files_read(dir, &files, &e);

	if (!r) {
		r = eg_policy_load(files.files, files.count, &set, &errors);
		if (r)
			snprintf(e.text, sizeof(e.text),
				 "%.200s: not a valid policy; `egretctl check` says why", dir);
	}
	watched = r ? NULL : eg_watched_names(set, &count);
	for (size_t i = 0; !r && i < count; i++)
		r = names_add(out, watched[i].text, strlen(watched[i].text));
	if (!r && !count)
		r = eg_error_set(&e, -ENODATA, "%.200s: no route names a host", dir);
	if (r)
		(void)fail(e.text[0] ? e.text : strerror(-r));
	eg_policy_errors_fini(&errors);
	eg_policy_set_unref(set);
	policy_files_fini(&files);
	return r;
}

/* ---- files ---- */

static int write_all(int fd, struct eg_str s)
{
	for (size_t at = 0; at < s.n;) {
		ssize_t n = write(fd, s.p + at, s.n - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += (size_t)n;
	}
	return fsync(fd) ? -errno : 0;
}

/* Whole or not at all: another name first, then a rename. */
static int write_file(const char *path, struct eg_str s, mode_t mode, struct eg_error *e)
{
	EG_CLEANUP_FD int fd = -1;
	char temporary[PATH_MAX];
	int r;

	if ((size_t)snprintf(temporary, sizeof(temporary), "%s.new", path) >= sizeof(temporary))
		return eg_error_set(e, -ENAMETOOLONG, "%.200s: the path is too long", path);
	(void)unlink(temporary); /* left by one that was interrupted; O_EXCL follows no link */
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	r = fd < 0 ? -errno : write_all(fd, s);
	if (!r && (fchmod(fd, mode) || rename(temporary, path)))
		r = -errno;
	if (!r)
		return 0;
	(void)unlink(temporary);
	return eg_error_set(e, r, "%.300s: %s", path, strerror(-r));
}

static int write_pair(const char *dir, const char *what, const struct eg_buf *cert,
		      const struct eg_buf *key, struct eg_error *e)
{
	char path[PATH_MAX];
	int r;

	/* The key first: who sees the new certificate finds the key that belongs to it. */
	snprintf(path, sizeof(path), "%s/%s.key", dir, what);
	r = write_file(path, eg_buf_str(key), 0600, e);
	if (r)
		return r;
	snprintf(path, sizeof(path), "%s/%s.crt", dir, what);
	return write_file(path, eg_buf_str(cert), 0644, e);
}

static int refuse_existing(const char *dir, struct eg_error *e)
{
	static const char *const files[] = {"root.key", "root.crt", "intermediate.key",
					    "intermediate.crt"};
	char path[PATH_MAX];

	for (size_t i = 0; i < EG_ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
		if (!faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW))
			return eg_error_set(e, -EEXIST,
					    "%.300s: is there already; --force overwrites it "
					    "(`ca intermediate` keeps the root)",
					    path);
	}
	return 0;
}

/* A file into a buffer that is wiped; the copy that eg_read_file() made is wiped too. */
static int read_into(const char *dir, const char *name, struct eg_buf *out, struct eg_error *e)
{
	struct eg_str text;
	char path[PATH_MAX];
	int r;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	r = eg_read_file(path, CA_FILE_MAX, &text, e);
	if (r)
		return r;
	r = eg_buf_append_str(out, text);
	explicit_bzero((char *)(uintptr_t)text.p, text.n);
	free((char *)(uintptr_t)text.p);
	return r ? eg_error_set(e, r, "%.300s: %s", path, strerror(-r)) : 0;
}

/* ---- commands ---- */

struct tiers {
	struct eg_buf root_cert, root_key, cert, key;
};

static int make_root(const struct options *o, struct tiers *t, struct eg_error *e)
{
	int r = o->force ? 0 : refuse_existing(o->dir, e);

	if (!r)
		r = eg_ca_create_root(o->common_name, o->root_days, &t->root_cert, &t->root_key, e);
	return r;
}

static int take_root(const struct options *o, struct tiers *t, struct eg_error *e)
{
	int r = read_into(o->dir, "root.crt", &t->root_cert, e);

	return r ? r : read_into(o->dir, "root.key", &t->root_key, e);
}

static int make(const struct options *o, bool root, const struct names *n)
{
	struct eg_error e = {""};
	struct tiers t;
	int r;

	eg_buf_init(&t.root_cert, CA_FILE_MAX);
	eg_buf_init_secret(&t.root_key, CA_FILE_MAX);
	eg_buf_init(&t.cert, CA_FILE_MAX);
	eg_buf_init_secret(&t.key, CA_FILE_MAX);
	if (root && mkdir(o->dir, 0700) && errno != EEXIST)
		r = eg_error_set(&e, -errno, "%.300s: %s", o->dir, strerror(errno));
	else
		r = root ? make_root(o, &t, &e) : take_root(o, &t, &e);
	if (!r)
		r = eg_ca_create_intermediate(eg_buf_str(&t.root_cert), eg_buf_str(&t.root_key),
					      (const char *const *)n->item, n->count, o->days,
					      &t.cert, &t.key, &e);
	if (!r && o->no_subjects)
		r = eg_ca_refuse_subjects(eg_buf_str(&t.root_key), &t.cert, &e);
	if (!r && root)
		r = write_pair(o->dir, "root", &t.root_cert, &t.root_key, &e);
	if (!r)
		r = write_pair(o->dir, "intermediate", &t.cert, &t.key, &e);
	eg_buf_fini(&t.root_cert);
	eg_buf_fini(&t.root_key);
	eg_buf_fini(&t.cert);
	eg_buf_fini(&t.key);
	if (r)
		return fail(e.text);
	/* It was made, whatever there is to say of it (a short life, say). */
	return ca_show(o->dir, o->json) == EG_EXIT_USAGE ? EG_EXIT_USAGE : EG_EXIT_OK;
}

static int make_with_names(const struct options *o, bool root)
{
	struct names n = {NULL, 0};
	int r;

	if (!o->dir)
		return eg_usage_error("ca", "--dir is missing");
	if (!o->names == !o->policy)
		return eg_usage_error("ca", "expected one of --names and --policy-dir");
	if (o->names) {
		r = names_from_list(o->names, &n);
		if (r)
			(void)fail(strerror(-r));
	} else {
		r = names_from_policy(o->policy, &n);
	}
	r = r ? EG_EXIT_USAGE : make(o, root, &n);
	names_fini(&n);
	return r;
}

/* {"system", "certificates", "out" or null, "bundle" when it went into no file} */
static int print_bundle(const struct options *o, const char *system, const struct eg_buf *all)
{
	static const struct eg_str begin = EG_STR("-----BEGIN CERTIFICATE-----");
	struct eg_str rest = eg_buf_str(all);
	json_int_t count = 0;
	json_t *document;
	const char *at;
	int code;

	while ((at = memmem(rest.p, rest.n, begin.p, begin.n))) {
		count++;
		rest = (struct eg_str){at + begin.n, rest.n - (size_t)(at - rest.p) - begin.n};
	}
	document = json_pack("{s:o, s:I, s:o}", "system", eg_json_text(eg_str_from(system)),
			     "certificates", count, "out",
			     o->out ? eg_json_text(eg_str_from(o->out)) : json_null());
	if (document && !o->out)
		(void)json_object_set_new(document, "bundle", eg_json_text(eg_buf_str(all)));
	code = eg_print_json(document);
	json_decref(document);
	return code;
}

static int bundle(const struct options *o)
{
	const char *system = o->system ? o->system : "/etc/ssl/certs/ca-certificates.crt";
	struct eg_error e = {""};
	struct eg_str text;
	struct eg_buf all;
	int r;

	if (!o->dir)
		return eg_usage_error("ca", "which directory? `egretctl ca bundle DIR`");
	eg_buf_init(&all, 32u << 20);
	r = eg_read_file(system, 16u << 20, &text, &e);
	if (!r) {
		r = eg_buf_append_str(&all, text);
		if (!r && text.n && text.p[text.n - 1] != '\n')
			r = eg_buf_append(&all, "\n", 1);
		free((char *)(uintptr_t)text.p);
		if (!r)
			r = read_into(o->dir, "root.crt", &all, &e);
	}
	if (r) {
		eg_buf_fini(&all);
		return fail(e.text[0] ? e.text : strerror(-r));
	}
	r = o->out && write_file(o->out, eg_buf_str(&all), 0644, &e) ? fail(e.text) : EG_EXIT_OK;
	if (!r && o->json)
		r = print_bundle(o, system, &all);
	else if (!r && !o->out)
		r = eg_print(&all);
	eg_buf_fini(&all);
	return r;
}

static int read_days(const char *text, const char *option, unsigned int *out)
{
	uint64_t n;

	if (eg_str_u64(eg_str_from(text), &n) || !n || n > 36500)
		return eg_usage_error("ca", "--%s: \"%s\" is not a number of days (1 to 36500)",
				      option, text);
	*out = (unsigned int)n;
	return 0;
}

static int read_subjects(const char *text, bool *none)
{
	*none = !strcmp(text, "none");
	if (*none || !strcmp(text, "any"))
		return 0;
	return fail("--subjects: expected any or none");
}

/* 0, or an exit code; *help: it was asked for. */
static int read_options(int argc, char **argv, struct options *o, bool *help)
{
	static const struct option known[] = {
		{"dir", required_argument, NULL, 'd'},
		{"names", required_argument, NULL, 'n'},
		{"policy-dir", required_argument, NULL, 'p'},
		{"days", required_argument, NULL, 'D'},
		{"root-days", required_argument, NULL, 'R'},
		{"subjects", required_argument, NULL, 'S'},
		{"force", no_argument, NULL, 'f'},
		{"common-name", required_argument, NULL, 'c'},
		{"json", no_argument, NULL, 'j'},
		{"system", required_argument, NULL, 's'},
		{"out", required_argument, NULL, 'o'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int c, r = 0;

	opterr = 0;
	while (!r && (c = getopt_long(argc, argv, "h", known, NULL)) != -1) {
		switch (c) {
		case 'd':
			o->dir = optarg;
			break;
		case 'n':
			o->names = optarg;
			break;
		case 'p':
			o->policy = optarg;
			break;
		case 'D':
			r = read_days(optarg, "days", &o->days);
			break;
		case 'R':
			r = read_days(optarg, "root-days", &o->root_days);
			break;
		case 'S':
			r = read_subjects(optarg, &o->no_subjects);
			break;
		case 'f':
			o->force = true;
			break;
		case 'c':
			o->common_name = optarg;
			break;
		case 'j':
			o->json = true;
			break;
		case 's':
			o->system = optarg;
			break;
		case 'o':
			o->out = optarg;
			break;
		case 'h':
			*help = true;
			break;
		default:
			r = eg_bad_option("ca", argv);
			break;
		}
	}
	return r;
}

int eg_cmd_ca(int argc, char **argv)
{
	struct options o = {.days = 90, .root_days = 3650, .common_name = "Egret root"};
	bool help = false;
	const char *verb;
	int r = read_options(argc, argv, &o, &help);

	if (r)
		return r;
	if (help) {
		fputs(usage, stdout);
		return EG_EXIT_OK;
	}
	verb = optind < argc ? argv[optind++] : "";
	if (optind < argc && !o.dir)
		o.dir = argv[optind++];
	if (optind < argc)
		return eg_usage_error("ca", "'%s' is one argument too many", argv[optind]);
	if (!strcmp(verb, "create"))
		return make_with_names(&o, true);
	if (!strcmp(verb, "intermediate"))
		return make_with_names(&o, false);
	if (!strcmp(verb, "bundle"))
		return bundle(&o);
	if (!strcmp(verb, "show"))
		return o.dir ? ca_show(o.dir, o.json)
			     : eg_usage_error("ca", "which directory? `egretctl ca show DIR`");
	return eg_usage_error("ca", "'%s': expected create, intermediate, show or bundle", verb);
}
