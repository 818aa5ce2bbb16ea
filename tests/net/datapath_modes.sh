#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A start in another mode than the one before it takes over the pods and takes away what only the other mode needs:
# the agent's namespace and its links, or the rules and tables, which cost every packet that the node routes. An uninstall takes away
# all of it, wherever it is run.
set -u
cd "$(dirname "$0")" || exit 1
. ../lib/check.sh
. ../lib/topology.sh
. ./datapath_lib.sh

GOVERNED4=203.0.113.10 OTHER4=203.0.113.99
GOVERNED6=2001:db8:53::10 OTHER6=2001:db8:53::99
topology_up egdm podA podB:routed
for a in $GOVERNED4 $OTHER4; do inet ip addr replace $a/32 dev lo; done
for a in $GOVERNED6 $OTHER6; do inet ip addr replace $a/128 dev lo nodad; done
spawn provider inet python3 datapath_provider.py "$T_RUN/provider.bytes" 80 443
await 20 grep -q ready "$T_RUN/provider.log"

T_ELSE=$T-else
ip netns add "$T_ELSE" || t_die "cannot add namespace $T_ELSE"
T_BEFORE_DOWN+=(else_down)
else_down() { ip netns del "$T_ELSE"; }

start() { # OPTION...
	dp_start -d 3000 "$@"
	dp open >/dev/null && dp_policy >/dev/null && dp resolved api.openai.com 60000 $GOVERNED4 $GOVERNED6 >/dev/null &&
		dp_pod podA governed >/dev/null && dp_pod podB governed >/dev/null && dp attach >/dev/null &&
		dp prune >/dev/null && dp listen >/dev/null && dp beat on >/dev/null || fail "start $*" "$DP_ANSWER"
}
pods_work() { # TEXT
	local pod
	for pod in podA podB; do
		is "$1: $pod IPv4 is captured" "$(ask $pod $GOVERNED4 443 hi)" "agent ::ffff:$(pod_ip $pod) ::ffff:$GOVERNED4 443 hi"
		is "$1: $pod IPv6 is captured" "$(ask $pod $GOVERNED6 443 hi)" "agent $(pod_ip6 $pod) $GOVERNED6 443 hi"
		is "$1: $pod elsewhere, IPv4" "$(ask $pod $OTHER4 443 hi)" "provider 192.0.2.10 $OTHER4 443 hi"
		is "$1: $pod elsewhere, IPv6" "$(ask $pod $OTHER6 443 hi | cut -d' ' -f1,3-)" "provider $OTHER6 443 hi"
	done
}
from_elsewhere() { # COMMAND [-- PREFIX...]: to the driver, in a network namespace that has nothing of the node's
	local command=$1
	shift; [ $# -eq 0 ] || shift
	nsenter --net="/run/netns/$T_ELSE" "$@" "$DP_DRIVER" "${DP_OPTIONS[@]}" <<< "$command"
}
same() { # TEXT FILE: what is there now is what was there then
	dp_state > "$T_RUN/now"
	is "$1" "$(diff "$T_RUN/$2" "$T_RUN/now")" ""
}
stop() { dp stop >/dev/null; dp_quit; }

for how in tcx clsact; do
	options=(); [ $how = tcx ] || options=(-c)
	dp_names $how
	dp_state > "$T_RUN/none"
	# What each mode makes, alone.
	for mode in netns mark; do
		start -m $mode "${options[@]}"
		dp_state > "$T_RUN/$mode"
		isnt "$how, $mode: it makes something" "$(cmp "$T_RUN/none" "$T_RUN/$mode" 2>&1)" ""
		stop
		dp_clean
		same "$how, $mode: and an uninstall leaves nothing" none
	done
	# Where an uninstall is run does not matter: what is in another network namespace is removed there.
	for mode in netns mark; do
		start -m $mode "${options[@]}"
		dp_kill
		check "$how, $mode: an uninstall from another network namespace" grep -q ^ok <(from_elsewhere uninstall)
		same "$how, $mode: leaves nothing either" none
		dp_clean
		start -m $mode "${options[@]}"
		dp_kill
		has "$how, $mode: without the right to enter it" "$(from_elsewhere uninstall -- setpriv --bounding-set=-sys_admin --inh-caps=-all)" \
			"error: egretd ran in another network namespace"
		same "$how, $mode: it says so, and removes nothing" $mode
		dp_clean
	done
	start -m netns "${options[@]}"
	stop
	# A connection that nobody governs, open all the time.
	rm -f "$T_RUN/open.in"; mkfifo "$T_RUN/open.in"; : > "$T_RUN/open.out"
	pod podA socat -t 2 - "TCP:$OTHER4:443" < "$T_RUN/open.in" > "$T_RUN/open.out" 2>/dev/null &
	T_PIDS+=($!)
	exec 9> "$T_RUN/open.in"
	for mode in mark netns mark mark netns netns; do
		start -m $mode "${options[@]}"
		has "$how, $mode: it adopted" "$(dp notes)" "adopted=1 notes="
		hasnt "$how, $mode: nothing to complain of" "$(dp notes)" "notes=t"
		same "$how, $mode: exactly what this mode makes is there, and nothing of the other" $mode
		pods_work "$how, $mode"
		echo "$mode" >&9
		check "$how, $mode: a connection to elsewhere goes on" await 3 grep -qx "$mode" "$T_RUN/open.out"
		: > "$T_RUN/open.out"
		if [ $mode = mark ]; then dp_kill; else stop; fi
	done
	exec 9>&-
	# A start that fails changes nothing of the other mode's.
	is "$how: a start that fails" "$(printf 'open\n' | nsenter --net="/run/netns/$T_NODE" setpriv --bounding-set=-bpf,-sys_admin --inh-caps=-all \
		"$DP_DRIVER" "${DP_OPTIONS[@]}" -m mark | cut -d: -f1)" error
	same "$how: leaves the other mode's way in" netns
	# Without the right to unmount, what stays is said.
	out=$(printf 'open\nnotes\n' | nsenter --net="/run/netns/$T_NODE" setpriv --bounding-set=-sys_admin --inh-caps=-all "$DP_DRIVER" "${DP_OPTIONS[@]}" -m mark)
	has "$how: mark mode without SYS_ADMIN says what it could not take away" "$out" "the agent's namespace of netns mode stays"
	check_not "$how: its link is gone all the same" node ip link show dev egret0
	dp_clean
	same "$how: an uninstall leaves nothing" none
done
checks_done
