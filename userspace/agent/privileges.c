/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/privileges.h"

#include <ctype.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define FILES_MAX 1048576u
#define FILES_MIN 512u

int eg_harden(struct eg_error *e)
{
	struct rlimit none = {0, 0};

	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return eg_error_set(e, -errno, "PR_SET_DUMPABLE: %s", strerror(errno));
	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return eg_error_set(e, -errno, "RLIMIT_CORE: %s", strerror(errno));
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return eg_error_set(e, -errno, "PR_SET_NO_NEW_PRIVS: %s", strerror(errno));
	return 0;
}

static bool listed(const cap_value_t *keep, size_t count, cap_value_t c)
{
	for (size_t i = 0; i < count; i++)
		if (keep[i] == c)
			return true;
	return false;
}

int eg_capabilities_keep(const cap_value_t *keep, size_t count, struct eg_error *e)
{
	cap_t caps;
	int r = 0;

	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	/* Without SETPCAP this is refused; then no-new-privileges alone holds the line. */
	for (cap_value_t c = 0; prctl(PR_CAPBSET_READ, c, 0, 0, 0) >= 0; c++)
		if (!listed(keep, count, c))
			(void)prctl(PR_CAPBSET_DROP, c, 0, 0, 0);
	caps = cap_init();
	if (!caps)
		return eg_error_set(e, -ENOMEM, "capabilities: out of memory");
	if (count && (cap_set_flag(caps, CAP_PERMITTED, (int)count, keep, CAP_SET) < 0 ||
		      cap_set_flag(caps, CAP_EFFECTIVE, (int)count, keep, CAP_SET) < 0))
		r = eg_error_set(e, -errno, "capabilities: %s", strerror(errno));
	if (!r && cap_set_proc(caps) < 0)
		r = eg_error_set(e, -errno, "capabilities: %s", strerror(errno));
	cap_free(caps);
	return r;
}

int eg_capabilities_check(const cap_value_t *need, size_t count, const char *what_for,
			  struct eg_error *e)
{
	cap_t caps = cap_get_proc();
	int r = caps ? 0 : eg_error_set(e, -errno, "capabilities: %s", strerror(errno));

	for (size_t i = 0; !r && i < count; i++) {
		cap_flag_value_t has = CAP_CLEAR;
		char *name;

		if (!cap_get_flag(caps, need[i], CAP_PERMITTED, &has) && has == CAP_SET)
			continue;
		name = cap_to_name(need[i]);
		for (char *c = name; c && *c; c++)
			*c = (char)toupper((unsigned char)*c);
		r = eg_error_set(e, -EPERM,
				 "%s is missing: %s; run egretd as root with all capabilities, or "
				 "add this one where they are limited (in a container: "
				 "securityContext.capabilities.add)",
				 name ? name : "a capability", what_for);
		cap_free(name);
	}
	if (caps)
		cap_free(caps);
	return r;
}

int eg_raise_file_limit(struct eg_error *e)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0)
		return eg_error_set(e, -errno, "RLIMIT_NOFILE: %s", strerror(errno));
	if (l.rlim_max < FILES_MIN) /* RLIM_INFINITY is the largest */
		return eg_error_set(
			e, -EMFILE,
			"RLIMIT_NOFILE allows %llu descriptors; at least %u are needed, two for "
			"each connection that is served (raise it: `ulimit -Hn`, systemd's "
			"LimitNOFILE=, or the container runtime's limit)",
			(unsigned long long)l.rlim_max, FILES_MIN);
	l.rlim_cur = EG_MIN(l.rlim_max, (rlim_t)FILES_MAX);
	(void)setrlimit(RLIMIT_NOFILE, &l);
	return 0;
}

int eg_die_with_parent(pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return -errno;
	/* It may have died before the request was made. */
	return getppid() == parent ? 0 : -ESRCH;
}
