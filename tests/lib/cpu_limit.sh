# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A process that gets less CPU than it wants, as a container with a CPU limit does: a cgroup of its own, version 1 or 2. Needs topology.sh.
# cpu_limit_require: whether this machine's cgroups can do it; else the test says so and ends.
# cpu_limit PID PERCENT: of one CPU, from 1 (the kernel gives no less than 1 ms of each 100); again for another share.   cpu_limit_end: no limit from now on.
CPU_CGROUP=

cpu_limit_require() {
	[ -e /sys/fs/cgroup/cpu/cpu.cfs_quota_us ] && return
	grep -qw cpu /sys/fs/cgroup/cgroup.subtree_control 2>/dev/null && return
	skip_all "there is no cgroup with a CPU limit: neither /sys/fs/cgroup/cpu (version 1) nor cpu in /sys/fs/cgroup/cgroup.subtree_control"
}
cpu_limit() {
	local quota=$(($2 * 1000))
	if [ -e /sys/fs/cgroup/cpu/cpu.cfs_quota_us ]; then
		CPU_CGROUP=/sys/fs/cgroup/cpu/$T
		mkdir -p "$CPU_CGROUP"
		echo 100000 > "$CPU_CGROUP/cpu.cfs_period_us"
		echo "$quota" > "$CPU_CGROUP/cpu.cfs_quota_us"
	else
		CPU_CGROUP=/sys/fs/cgroup/$T
		mkdir -p "$CPU_CGROUP"
		echo "$quota 100000" > "$CPU_CGROUP/cpu.max"
	fi
	echo "$1" > "$CPU_CGROUP/cgroup.procs"
}
cpu_limit_end() {
	local pid
	[ -n "$CPU_CGROUP" ] || return 0
	while read -r pid; do echo "$pid" > "${CPU_CGROUP%/*}/cgroup.procs"; done < "$CPU_CGROUP/cgroup.procs"
	rmdir "$CPU_CGROUP" && CPU_CGROUP=
}
T_BEFORE_DOWN+=(cpu_limit_end)
