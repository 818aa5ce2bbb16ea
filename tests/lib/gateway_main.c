/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gateway's data plane without BPF, supervisor or namespaces: N workers on an ordinary port,
 * with policy, pods and credentials from files and the signer as a thread. A tool of the tests,
 * never installed: for trying clients and sanitizers on the data plane alone.
 *
 * Where a pod "wanted to go" can't come from the socket here, so eg_stream_local() is wrapped at
 * link time (-Wl,--wrap) and says what --destination says.
 */
#include <dirent.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/secret.h"
#include "front/worker.h"
#include "net/ca.h"
#include "net/mint.h"
#include "net/mint_wire.h"
#include "net/stream.h"
#include "telemetry/tracer.h"

#define WORKERS_MAX 16
#define FILES_MAX   64
#define PODS_MAX    256

static struct {
	const char *policy_dir, *pods_file, *credentials_dir, *ca_out, *trust, *resolvers,
		*access_log;
	uint16_t port;
	int workers;
	struct eg_endpoint destination;
	bool destination_set, gateway_set;
	struct eg_address gateway;
	uint64_t drain_ms;
} opt = {.resolvers = "127.0.0.1", .workers = 1, .port = 8443, .drain_ms = 5000};

int __real_eg_stream_local(const struct eg_stream *s, struct eg_endpoint *out);
int __wrap_eg_stream_local(const struct eg_stream *s, struct eg_endpoint *out);
int __wrap_eg_stream_local(const struct eg_stream *s, struct eg_endpoint *out)
{
	if (!opt.destination_set)
		return __real_eg_stream_local(s, out);
	*out = opt.destination;
	return 0;
}

static void die(const char *what, const char *why)
{
	fprintf(stderr, "gateway_main: %s: %s\n", what, why);
	exit(2);
}

static struct eg_str read_file(const char *path)
{
	FILE *f = fopen(path, "re");
	struct eg_str s = {NULL, 0};
	size_t size = 1 << 20, n;
	char *p = malloc(size + 1);

	if (!f || !p)
		die(path, strerror(errno));
	n = fread(p, 1, size, f);
	p[n] = '\0';
	fclose(f);
	s.p = p;
	s.n = n;
	return s;
}

static void parse_endpoint(const char *text, struct eg_endpoint *out)
{
	const char *colon = strrchr(text, ':');
	struct eg_str host = {text, colon ? (size_t)(colon - text) : 0};

	if (host.n > 2 && host.p[0] == '[')
		host = (struct eg_str){host.p + 1, host.n - 2};
	if (!colon || eg_address_parse(host, &out->address))
		die(text, "expected ADDRESS:PORT");
	out->port = (uint16_t)atoi(colon + 1);
}

/* ---- policy, credentials, pods ---- */

static struct eg_policy_set *load_policies(void)
{
	static struct eg_policy_file files[FILES_MAX];
	struct eg_policy_errors errors = {NULL, 0};
	struct eg_policy_set *set = NULL;
	DIR *d = opendir(opt.policy_dir);
	struct dirent *e;
	size_t n = 0;
	char path[1024];
	int r;

	if (!d)
		die(opt.policy_dir, strerror(errno));
	while ((e = readdir(d)) && n < FILES_MAX) {
		if (!eg_str_ends(eg_str_from(e->d_name), EG_STR(".json")) || e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", opt.policy_dir, e->d_name);
		files[n].name = eg_str_from(strdup(e->d_name));
		files[n++].text = read_file(path);
	}
	closedir(d);
	r = eg_policy_load(files, n, &set, &errors);
	for (size_t i = 0; i < errors.count; i++)
		fprintf(stderr, "gateway_main: %s: %s: %s\n", errors.item[i].file,
			errors.item[i].path, errors.item[i].text);
	eg_policy_errors_fini(&errors);
	if (r)
		die(opt.policy_dir, strerror(-r));
	for (size_t i = 0; i < n; i++) {
		free((void *)(uintptr_t)files[i].name.p);
		free((void *)(uintptr_t)files[i].text.p);
	}
	return set;
}

static struct eg_credential_set *load_credentials(const struct eg_policy_set *set)
{
	struct eg_credential_set *out = NULL;
	size_t count = 0;
	const struct eg_credential_spec *specs = eg_credentials(set, &count);
	int fds[FILES_MAX], dir = open(opt.credentials_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct eg_error e;

	if (dir < 0)
		die(opt.credentials_dir, strerror(errno));
	for (size_t i = 0; i < count && i < FILES_MAX; i++) {
		fds[i] = -1;
		if (eg_credential_seal(dir, &specs[i], &fds[i], &e))
			fprintf(stderr, "gateway_main: %s\n", e.text);
	}
	if (eg_credential_set_create(fds, EG_MIN(count, (size_t)FILES_MAX), &out))
		die("credentials", "out of memory");
	for (size_t i = 0; i < count && i < FILES_MAX; i++)
		eg_fd_close(&fds[i]);
	eg_fd_close(&dir);
	return out;
}

static size_t load_pods(struct eg_pod_view *pods, json_t **keep)
{
	static struct eg_label labels[PODS_MAX][16];
	json_error_t e;
	json_t *all = json_load_file(opt.pods_file, 0, &e), *v, *member;
	size_t n = 0, i, j;
	const char *key;

	if (!json_is_array(all))
		die(opt.pods_file, "expected an array of pods");
	json_array_foreach(all, i, v)
	{
		struct eg_pod_view *p = &pods[n];

		if (n == PODS_MAX)
			break;
		p->identity.namespace_name = json_string_value(json_object_get(v, "namespace"));
		p->identity.name = json_string_value(json_object_get(v, "name"));
		p->identity.uid = json_string_value(json_object_get(v, "uid"));
		p->identity.service_account =
			json_string_value(json_object_get(v, "serviceAccount"));
		p->identity.labels = labels[n];
		p->identity.label_count = 0;
		json_object_foreach(json_object_get(v, "labels"), key,
				    member) if (p->identity.label_count < 16)
			labels[n][p->identity.label_count++] =
				(struct eg_label){key, json_string_value(member)};
		if (!p->identity.namespace_name || !p->identity.name || !p->identity.uid)
			die(opt.pods_file, "a pod needs namespace, name, uid and addresses");
		p->pod_id = (uint32_t)n + 1;
		json_array_foreach(
			json_object_get(v, "addresses"), j,
			member) if (p->address_count < EG_POD_VIEW_ADDRESSES &&
				    eg_address_parse(eg_str_from(json_string_value(member)),
						     &p->address[p->address_count++]))
			die(opt.pods_file, "a malformed address");
		n++;
	}
	*keep = all;
	return n;
}

static struct eg_snapshot *load_snapshot(uint32_t generation)
{
	static struct eg_pod_view pods[PODS_MAX];
	struct eg_policy_set *set = load_policies();
	size_t count = 0, pod_count;
	const struct eg_provider *providers = eg_providers(set, &count);
	struct eg_trust **trust = calloc(count + 1, sizeof(*trust));
	struct eg_snapshot *s;
	json_t *keep;
	struct eg_error e;
	char path[1024];

	memset(pods, 0, sizeof(pods));
	for (size_t i = 0; i < count; i++) {
		struct eg_str pem;

		if (!providers[i].ca_file)
			continue;
		snprintf(path, sizeof(path), "%s/%s", opt.credentials_dir, providers[i].ca_file);
		pem = read_file(path);
		trust[i] = eg_trust_create(pem, &e);
		if (!trust[i])
			die(path, e.text);
		free((void *)(uintptr_t)pem.p);
	}
	pod_count = load_pods(pods, &keep);
	s = eg_snapshot_create(generation, set, load_credentials(set), trust, pods, pod_count);
	if (!s)
		die("snapshot", "out of memory");
	for (size_t i = 0; i < count; i++)
		eg_trust_unref(trust[i]);
	free(trust);
	json_decref(keep);
	return s;
}

/* ---- the signer ---- */

static void *signer_thread(void *arg)
{
	int fd = *(int *)arg;

	return eg_mint_serve(fd) ? arg : NULL;
}

static int memory_file(struct eg_str s)
{
	int fd = memfd_create("gateway_main", MFD_CLOEXEC);

	if (fd < 0 || write(fd, s.p, s.n) != (ssize_t)s.n || lseek(fd, 0, SEEK_SET) < 0)
		die("memfd", strerror(errno));
	return fd;
}

/* Makes both tiers, writes the root to --ca-out, starts the thread. Returns the control socket. */
static int start_signer(const struct eg_policy_set *set, struct eg_buf *chain, pthread_t *thread)
{
	static int ends[2];
	const char *names[1024];
	size_t count = 0, n = 0;
	const struct eg_watched_name *watched = eg_watched_names(set, &count);
	struct eg_buf root, root_key, key;
	struct eg_error e = {""};
	int cert_fd, key_fd;
	FILE *f;

	for (; n < count && n < EG_ARRAY_SIZE(names); n++)
		names[n] = watched[n].text;
	eg_buf_init(&root, 1 << 16);
	eg_buf_init_secret(&root_key, 1 << 16);
	eg_buf_init_secret(&key, 1 << 16);
	eg_buf_init(chain, 1 << 16);
	if (eg_ca_create_root("Egret test root", 2, &root, &root_key, &e) ||
	    eg_ca_create_intermediate(eg_buf_str(&root), eg_buf_str(&root_key), names, n, 1, chain,
				      &key, &e))
		die("CA", e.text);
	f = fopen(opt.ca_out, "we");
	if (!f || fwrite(eg_buf_data(&root), 1, root.length, f) != root.length || fclose(f))
		die(opt.ca_out, strerror(errno));
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) ||
	    pthread_create(thread, NULL, signer_thread, &ends[1]))
		die("signer", strerror(errno));
	cert_fd = memory_file(eg_buf_str(chain));
	key_fd = memory_file(eg_buf_str(&key));
	if (eg_mint_control_ca(ends[0], 1, cert_fd, key_fd) ||
	    eg_mint_control_wait(ends[0], 1, 5000, &e) ||
	    eg_mint_control_names(ends[0], 2, names, n) ||
	    eg_mint_control_wait(ends[0], 2, 5000, &e))
		die("signer", e.text);
	eg_fd_close(&cert_fd);
	eg_fd_close(&key_fd);
	eg_buf_fini(&root);
	eg_buf_fini(&root_key);
	eg_buf_fini(&key);
	return ends[0];
}

/* ---- workers ---- */

static int listen_on(uint16_t port)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, off = 0;

	if (fd < 0 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) ||
	    bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 4096))
		die("listen", strerror(errno));
	return fd;
}

static void *worker_thread(void *arg)
{
	struct eg_worker *w = arg;
	int r = eg_worker_run(w);

	if (r)
		fprintf(stderr, "gateway_main: worker: %s\n", strerror(-r));
	return NULL;
}

static struct eg_worker *make_worker(int i, int control, struct eg_str chain,
				     struct eg_trust *trust, struct eg_telemetry *t)
{
	static struct eg_cooldowns cooldowns;
	static struct eg_budgets budgets;
	struct eg_worker_options o = {
		.index = i,
		.cooldowns = &cooldowns,
		.budgets = &budgets,
		.chain_pem = chain,
		.default_trust = trust,
		.resolvers = opt.resolvers,
		.tag = "gateway-main",
		.gateway4 = opt.gateway_set ? &opt.gateway : NULL,
		.limits = eg_default_limits,
		.telemetry = t,
	};
	struct eg_error e = {""};
	struct eg_worker *w;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) ||
	    eg_mint_control_client(control, 3 + (uint32_t)i, ends[0]) ||
	    eg_mint_control_wait(control, 3 + (uint32_t)i, 5000, &e))
		die("signer", e.text);
	eg_fd_close(&ends[0]);
	o.signer_fd = ends[1];
	o.listener_fd = listen_on(opt.port);
	if (getrandom(o.ticket_key, sizeof(o.ticket_key), 0) != sizeof(o.ticket_key))
		die("random", strerror(errno));
	w = eg_worker_create(&o, &e);
	if (!w)
		die("worker", e.text);
	return w;
}

static void usage(void)
{
	fputs("gateway_main --policy-dir DIR --pods FILE --credentials DIR --ca-out FILE --trust "
	      "PEM\n"
	      "  [--port N] [--workers N] [--destination ADDR:PORT] [--gateway ADDR] [--resolvers "
	      "LIST]\n"
	      "  [--access-log FILE] [--drain-ms N]\n"
	      "SIGHUP loads policy, pods and credentials anew; SIGTERM drains; SIGUSR1 prints "
	      "metrics.\n",
	      stderr);
	exit(2);
}

static void parse_options(int argc, char **argv)
{
	static const struct option options[] = {
		{"policy-dir", 1, NULL, 'p'},
		{"pods", 1, NULL, 'o'},
		{"credentials", 1, NULL, 'c'},
		{"ca-out", 1, NULL, 'a'},
		{"trust", 1, NULL, 't'},
		{"port", 1, NULL, 'n'},
		{"workers", 1, NULL, 'w'},
		{"destination", 1, NULL, 'd'},
		{"gateway", 1, NULL, 'g'},
		{"resolvers", 1, NULL, 'r'},
		{"access-log", 1, NULL, 'l'},
		{"drain-ms", 1, NULL, 'm'},
		{NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'p':
			opt.policy_dir = optarg;
			break;
		case 'o':
			opt.pods_file = optarg;
			break;
		case 'c':
			opt.credentials_dir = optarg;
			break;
		case 'a':
			opt.ca_out = optarg;
			break;
		case 't':
			opt.trust = optarg;
			break;
		case 'n':
			opt.port = (uint16_t)atoi(optarg);
			break;
		case 'w':
			opt.workers = EG_MIN(atoi(optarg), WORKERS_MAX);
			break;
		case 'd':
			parse_endpoint(optarg, &opt.destination);
			opt.destination_set = true;
			break;
		case 'g':
			if (eg_address_parse(eg_str_from(optarg), &opt.gateway))
				die(optarg, "expected an address");
			opt.gateway_set = true;
			break;
		case 'r':
			opt.resolvers = optarg;
			break;
		case 'l':
			opt.access_log = optarg;
			break;
		case 'm':
			opt.drain_ms = (uint64_t)atoll(optarg);
			break;
		default:
			usage();
		}
	}
	if (!opt.policy_dir || !opt.pods_file || !opt.credentials_dir || !opt.ca_out || !opt.trust)
		usage();
}

/* Nobody watches; but somebody could, so that a request costs what it does in egretd. */
static struct eg_tracer tracer;

static void nobody_wakes(void *ctx)
{
	(void)ctx;
}

static void print_metrics(struct eg_telemetry *const *t, size_t count)
{
	struct eg_buf out;

	eg_buf_init(&out, 1 << 24);
	if (!eg_telemetry_render(t, count, &out))
		fwrite(eg_buf_data(&out), 1, out.length, stdout);
	fflush(stdout);
	eg_buf_fini(&out);
}

int main(int argc, char **argv)
{
	struct eg_worker *workers[WORKERS_MAX];
	struct eg_telemetry *telemetry[WORKERS_MAX];
	pthread_t threads[WORKERS_MAX], signer;
	struct eg_snapshot *s;
	struct eg_trust *trust;
	struct eg_buf chain;
	struct eg_error e = {""};
	struct eg_str pem;
	struct eg_lines *log = NULL;
	int control, sig = 0;
	uint32_t generation = 1;
	sigset_t set;

	(void)eg_tls_memory_keep();
	parse_options(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	eg_log_init("gateway", EG_LOG_INFO);
	if (opt.access_log) {
		log = eg_lines_create(
			open(opt.access_log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
		if (!log || eg_lines_start(log))
			die(opt.access_log, "no log");
	}
	pem = read_file(opt.trust);
	trust = eg_trust_create(pem, &e);
	if (!trust)
		die(opt.trust, e.text);
	s = load_snapshot(generation);
	control = start_signer(eg_snapshot_policies(s), &chain, &signer);
	eg_tracer_init(&tracer, nobody_wakes, NULL);
	for (int i = 0; i < opt.workers; i++) {
		telemetry[i] = eg_telemetry_create("test", log);
		eg_telemetry_trace(telemetry[i], &tracer);
		workers[i] = make_worker(i, control, eg_buf_str(&chain), trust, telemetry[i]);
		eg_worker_publish(workers[i], s);
		if (pthread_create(&threads[i], NULL, worker_thread, workers[i]))
			die("thread", strerror(errno));
	}
	eg_snapshot_unref(s);
	printf("ready\n");
	fflush(stdout);
	while (!sigwait(&set, &sig) && sig != SIGTERM && sig != SIGINT) {
		if (sig == SIGUSR1) {
			print_metrics(telemetry, (size_t)opt.workers);
			continue;
		}
		s = load_snapshot(++generation);
		for (int i = 0; i < opt.workers; i++)
			eg_worker_publish(workers[i], s);
		eg_snapshot_unref(s);
	}
	for (int i = 0; i < opt.workers; i++)
		eg_worker_drain(workers[i], opt.drain_ms, false);
	for (int i = 0; i < opt.workers; i++) {
		pthread_join(threads[i], NULL);
		eg_worker_destroy(workers[i]);
		eg_telemetry_destroy(telemetry[i]);
	}
	eg_fd_close(&control); /* the signer ends with its last socket */
	pthread_join(signer, NULL);
	eg_trust_unref(trust);
	free((void *)(uintptr_t)pem.p);
	eg_buf_fini(&chain);
	(void)eg_lines_destroy(log, 1000);
	return 0;
}
