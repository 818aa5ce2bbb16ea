#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A pod's connection to a governed address arrives at the agent, with the destination that the pod
# wanted and the pod's own address; everything else is untouched. Bridge and routed pods, IPv4 and IPv6,
# netns and mark mode, TCX and clsact.
set -u
cd "$(dirname "$0")" || exit 1
. ../lib/check.sh
. ../lib/topology.sh
. ./datapath_lib.sh

GOVERNED4=203.0.113.10 OTHER4=203.0.113.99
GOVERNED6=2001:db8:53::10 OTHER6=2001:db8:53::99

topology_up egdp podA podB:routed podC podD
for a in $GOVERNED4 $OTHER4; do inet ip addr replace $a/32 dev lo; done
for a in $GOVERNED6 $OTHER6; do inet ip addr replace $a/128 dev lo nodad; done
spawn provider inet python3 datapath_provider.py "$T_RUN/provider.log" 80 443 8443
await 20 grep -q ready "$T_RUN/provider.log" || sleep 1

spawn neighbour pod podD python3 datapath_provider.py "$T_RUN/neighbour.log" 443
await 20 grep -q ready "$T_RUN/neighbour.log"
gone() { ! kill -0 "$1" 2>/dev/null; }
own() { case $2 in *:*) pod_ip6 "$1" ;; *) pod_ip "$1" ;; esac; }
bits() { case $1 in *:*) echo 128 ;; *) echo 32 ;; esac; }

one_mode() { # NAME OPTION...
	local name=$1 pod a; shift
	dp_names "$name"
	dp_start "$@"
	check "$name: open" dp open
	dp notes
	check "$name: policy" dp_policy
	check "$name: resolved" dp resolved api.openai.com 60000 $GOVERNED4 $GOVERNED6
	for pod in podA podB; do check "$name: $pod is governed" dp_pod $pod governed; done
	check "$name: podC is not governed" dp_pod podC ungoverned
	check "$name: attach" dp attach
	check "$name: prune" dp prune
	check "$name: listeners" dp listen
	dp beat on >/dev/null
	for pod in podA podB; do
		is "$name: $pod IPv4" "$(ask $pod $GOVERNED4 443 hello)" "agent ::ffff:$(pod_ip $pod) ::ffff:$GOVERNED4 443 hello"
		is "$name: $pod IPv6" "$(ask $pod $GOVERNED6 443 hello)" "agent $(pod_ip6 $pod) $GOVERNED6 443 hello"
		is "$name: $pod port 80" "$(ask $pod $GOVERNED4 80)" "agent ::ffff:$(pod_ip $pod) ::ffff:$GOVERNED4 80"
		is "$name: $pod other IPv4 untouched" "$(ask $pod $OTHER4 443 x)" "provider 192.0.2.10 $OTHER4 443 x"
		is "$name: $pod large transfer" "$(ask $pod $GOVERNED4 443 "$(head -c 60000 /dev/zero | tr '\0' y)" | wc -c)" \
			"$((60000 + $(printf 'agent ::ffff:%s ::ffff:%s 443 \n' "$(pod_ip $pod)" $GOVERNED4 | wc -c)))"
	done
	is "$name: other IPv6 untouched" "$(ask podA $OTHER6 443 x | cut -d' ' -f1,3-)" "provider $OTHER6 443 x"
	is "$name: ungoverned pod untouched" "$(ask podC $GOVERNED4 443 x)" "provider 192.0.2.10 $GOVERNED4 443 x"
	# What it has open to a provider is a connection that the agent does not know.
	for a in $GOVERNED4 "[$GOVERNED6]"; do
		hold podC "$a"
		is "$name: podC has a connection to $a" "$(held one)" answered
		dp_pod podC governed >/dev/null
		echo two >&9
		check "$name: once podC is governed, it is reset" await 10 gone "$HOLD_PID"
		release
		dp_pod podC ungoverned >/dev/null
	done
	# One that it knows goes on, also where its flow is forgotten.
	for a in $GOVERNED4 "[$GOVERNED6]"; do
		hold podA "$a"
		node bpftool -j map dump pinned "$DP_PINS/flows" | jq -r '.[].key | join(" ")' | while read -r key; do
			# shellcheck disable=SC2086 # bytes, one a word
			node bpftool map delete pinned "$DP_PINS/flows" key $key
		done
		is "$name: podA's connection to $a goes on without its flow" "$(held one)" answered
		release
	done
	isnt "$name: another port of a governed address is closed" "$(ask podA $GOVERNED4 8443 | cut -d' ' -f1)" provider
	# A neighbour on the pod's own bridge, which no route leads to: what is governed is not taken to it.
	for a in $(pod_ip podD) $(pod_ip6 podD); do
		has "$name: podD before it is governed" "$(ask podA $a 443 x)" "provider $(own podA $a) $a 443 x"
		check "$name: $a is governed" dp cidr $a "$(bits $a)"
		check "$name: as policy" dp policy
	done
	for a in $(pod_ip podD) $(pod_ip6 podD); do
		hasnt "$name: podA to its neighbour $a" "$(ask podA $a 443 x)" provider
		hasnt "$name: podB, which is routed, to $a" "$(ask podB $a 443 x)" provider
		has "$name: podC, which is not governed, to its neighbour $a" "$(ask podC $a 443 x)" "provider"
	done
	# EG_POD_SHADOW and EG_POD_FAIL_OPEN: it loses no connection.
	check "$name: podA is only watched" dp_pod podA governed 65
	for a in $(pod_ip podD) $(pod_ip6 podD); do
		has "$name: and answered at $a, by the agent or by its neighbour" "$(ask podA $a 443 x)" "$a 443 x"
	done
	dp events
	dp stop >/dev/null
	dp_quit
	check "$name: uninstall" sh -c "echo uninstall | nsenter --net=/run/netns/$T_NODE $DP_DRIVER ${DP_OPTIONS[*]} $* | grep -q ^ok"
	check_not "$name: the pins are gone" test -e "$DP_PINS"
	check_not "$name: the namespace is gone" test -e "$DP_NETNS"
	is "$name: afterwards direct" "$(ask podA $GOVERNED4 443 x)" "provider 192.0.2.10 $GOVERNED4 443 x"
}

# A node that is as hostile as nodes get: the sysctls that break redirection by mark elsewhere, and for
# netns mode every hook of netfilter at policy drop (nothing of the node may be needed).
hostile() { # NAME MODE
	local pod
	dp_names "$1"
	dp_start -m "$2"
	dp open >/dev/null || fail "$1: open" "$DP_ANSWER"
	dp_policy >/dev/null
	dp resolved api.openai.com 60000 $GOVERNED4 $GOVERNED6 >/dev/null
	for pod in podA podB; do dp_pod $pod governed >/dev/null; done
	dp attach >/dev/null; dp listen >/dev/null; dp beat on >/dev/null
	for pod in podA podB; do
		is "$1: $pod IPv4" "$(ask $pod $GOVERNED4 443 hello)" "agent ::ffff:$(pod_ip $pod) ::ffff:$GOVERNED4 443 hello"
		is "$1: $pod IPv6" "$(ask $pod $GOVERNED6 443 hello)" "agent $(pod_ip6 $pod) $GOVERNED6 443 hello"
	done
	dp stop >/dev/null; dp_quit; dp_clean
}

one_mode netns
one_mode clsact -c
one_mode mark -m mark
for l in all default eth0 cni0 cali-podB; do
	node sysctl -qw net.ipv4.conf.$l.rp_filter=1 net.ipv4.conf.$l.src_valid_mark=1
done
node sysctl -qw net.ipv4.tcp_fwmark_accept=1 net.ipv4.ip_early_demux=0
hostile hostile-mark mark
node sysctl -qw net.ipv4.ip_forward=0
for hook in prerouting input forward output postrouting; do
	node nft "add table inet hostile; add chain inet hostile $hook { type filter hook $hook priority -150; policy drop; }"
	# Neighbour discovery of the pods themselves is not the agent's affair.
	[ $hook = forward ] || node nft "add rule inet hostile $hook icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept"
done
is "every hook of netfilter is at policy drop" "$(node nft list table inet hostile | grep -c 'policy drop')" 5
hostile hostile-netns netns
checks_done
