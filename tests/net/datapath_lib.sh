# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034
# What the datapath_*.sh tests share: the driver (datapath_driver.c) in the node's namespace, and a
# provider that records every byte. Sourced after check.sh and topology.sh.

DP_BUILD=${EGRET_BUILD:-build}
case $DP_BUILD in /*) ;; *) DP_BUILD=$T_ROOT/$DP_BUILD ;; esac
DP_DRIVER=$DP_BUILD/tests/net/datapath_driver
[ -x "$DP_DRIVER" ] || { echo "datapath: $DP_DRIVER is not built; run: make net-helpers" >&2; exit 1; }

# dp_names: everything that one run makes is called after the test's process.
dp_names() {
	DP_PINS=/sys/fs/bpf/$T-$1 # bpffs allows no dot
	DP_NETNS=/run/netns/$T-agent$1
	DP_OPTIONS=(-p "$DP_PINS" -n "$DP_NETNS")
}

# dp_start [OPTION...]: starts the driver; commands go by `dp`.
dp_start() {
	rm -f "$T_RUN/dp.in" "$T_RUN/dp.out"
	mkfifo "$T_RUN/dp.in" "$T_RUN/dp.out"
	nsenter --net="/run/netns/$T_NODE" "$DP_DRIVER" "${DP_OPTIONS[@]}" "$@" \
		< "$T_RUN/dp.in" > "$T_RUN/dp.out" 2>> "$T_RUN/dp.log" &
	DP_PID=$!
	T_PIDS+=("$DP_PID")
	exec 7> "$T_RUN/dp.in" 8< "$T_RUN/dp.out"
}
# dp COMMAND...: the answer is printed and in DP_ANSWER; fails when it is an error.
dp() {
	printf '%s\n' "$*" >&7 || return 1
	IFS= read -r -t 20 DP_ANSWER <&8 || DP_ANSWER="error: no answer"
	printf '%s\n' "$DP_ANSWER"
	case $DP_ANSWER in ok*) return 0 ;; *) return 1 ;; esac
}
dp_quit() {
	dp quit >/dev/null
	exec 7>&- 8<&-
	wait "$DP_PID" 2>/dev/null
}
dp_kill() {
	kill -KILL "$DP_PID"
	wait "$DP_PID" 2>/dev/null
	exec 7>&- 8<&-
}
# Nothing stays behind, however the test ends.
dp_clean() {
	[ -n "${DP_PINS:-}" ] || return 0
	nsenter --net="/run/netns/$T_NODE" "$DP_DRIVER" "${DP_OPTIONS[@]}" <<< uninstall >/dev/null 2>&1
	rm -rf "$DP_PINS" 2>/dev/null
	umount "$DP_NETNS" 2>/dev/null; rm -f "$DP_NETNS"
}
T_BEFORE_DOWN+=(dp_clean)

# Namespaces, links, rules and routes of both families, filters, qdiscs and pins. Numbers of links are left out.
dp_state() {
	find /run/netns -name "$T-*" | sort
	node ip -o link | sed 's/^[0-9]*: //; s/@[^:]*//' | cut -d' ' -f1 | sort
	for family in -4 -6; do
		node ip $family rule | sed 's/[[:space:]]\+/ /g'
		node ip $family route show table all | grep -v '^fe80\|^ff00\|^multicast\|fe80::' | sort
	done
	node bpftool -j net show 2>/dev/null | jq -r '.[] | (.xdp + .tc)[] | "\(.devname) \(.kind) \(.name)"' | sed 's|:.*||' | sort
	for l in cni0 eth0 veth-podA cali-podB egret0; do node tc qdisc show dev $l 2>/dev/null; done
	(cd "$DP_PINS" 2>/dev/null && find . -type f | sed 's/-[0-9]*//' | sort)
}

# The policy of these tests: OpenAI's name and addresses are captured for policy 1.
dp_policy() {
	dp name api.openai.com && dp name '*.anthropic.com' && dp cidr 203.0.113.200 32 excluded &&
		dp verdict 1 0 6 443 redirect && dp verdict 1 0 6 80 redirect && dp policy
}
dp_pod() { # POD STATE [FLAGS]
	dp pod "$(pod_link "$1")" "test/$1" "$2" 1 "${3:-0}" "$(pod_ip "$1")" "$(pod_ip6 "$1")"
}

# ask POD ADDRESS PORT [BYTES]: what a connection answers with, or nothing. IPv6 addresses bare.
ask() {
	pod_user "$1" timeout "${DP_TIMEOUT:-12}" python3 "$T_ROOT/tests/net/datapath_ask.py" "$2" "$3" "${4:-}" 2>&1
}

# A connection held open: `hold` starts it, `held TEXT [SECONDS]` sends over it and prints whether it was answered, `release` ends it.
hold() { # POD ADDRESS
	rm -f "$T_RUN/hold.in"; mkfifo "$T_RUN/hold.in"; : > "$T_RUN/hold.out"
	pod "$1" socat -t 2 - "TCP:$2:443" < "$T_RUN/hold.in" > "$T_RUN/hold.out" 2> "$T_RUN/hold.err" &
	HOLD_PID=$!
	T_PIDS+=("$HOLD_PID")
	exec 9> "$T_RUN/hold.in"
	await 5 grep -q . "$T_RUN/hold.out"
}
held() { echo "$1" >&9; await "${2:-3}" grep -q "^$1\$" "$T_RUN/hold.out" && echo answered; }
release() { exec 9>&-; kill "$HOLD_PID" 2>/dev/null; wait "$HOLD_PID" 2>/dev/null; }
