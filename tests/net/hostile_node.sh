#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Nodes that others have set up: each sysctl that breaks a redirection elsewhere, netfilter at policy drop, hook by hook, others' marks,
# others' programs on the pod's link. Bridge and routed pods, IPv4 and IPv6, netns and mark mode: what is governed arrives at the
# agent, and what is not fares as it did on that node without Egret.
set -u
cd "$(dirname "$0")" || exit 1
. ../lib/check.sh
. ../lib/topology.sh
. ./datapath_lib.sh

GOVERNED4=203.0.113.10 OTHER4=203.0.113.99
GOVERNED6=2001:db8:53::10 OTHER6=2001:db8:53::99
topology_up eghn podA podB:routed
for a in $GOVERNED4 $OTHER4; do inet ip addr replace $a/32 dev lo; done
for a in $GOVERNED6 $OTHER6; do inet ip addr replace $a/128 dev lo nodad; done
spawn provider inet python3 datapath_provider.py "$T_RUN/provider.bytes" 80 443
await 20 grep -q ready "$T_RUN/provider.log"
LINKS="all default eth0 cni0 $(pod_link podA) $(pod_link podB)"
DP_TIMEOUT=3

# --- what makes a node hostile: knob on NAME, knob off NAME
links_sysctl() { # KEY VALUE: of IPv4, on each link that there is
	local l
	for l in $LINKS; do node sysctl -qw "net.ipv4.conf.$l.$1=$2"; done
}
drop_at() { # HOOK...: but for neighbour discovery of the pods themselves
	local hook
	node nft add table inet hostile
	for hook in "$@"; do
		node nft "add chain inet hostile $hook { type filter hook $hook priority -150; policy drop; }"
		[ "$hook" = forward ] || node nft "add rule inet hostile $hook icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept"
	done
}
mark_at() { # MARK: as another agent does, of all packets, first of all and last of all
	node nft add table inet marks
	node nft "add chain inet marks pre { type filter hook prerouting priority -300; policy accept; }"
	node nft "add chain inet marks out { type route hook output priority -300; policy accept; }"
	node nft "add chain inet marks post { type filter hook postrouting priority 300; policy accept; }"
	for chain in pre out post; do node nft "add rule inet marks $chain meta mark set meta mark | $1"; done
}
others_programs() { # add|del: on the pods' links, ahead of ours and behind
	local l
	for l in "$(pod_link podA)" "$(pod_link podB)"; do
		if [ "$1" = add ]; then
			node tc qdisc add dev "$l" clsact 2> /dev/null
			node tc filter add dev "$l" ingress prio 1 handle 0x77 matchall action skbedit mark 0x0200/0x0f00 pipe action continue
			node tc filter add dev "$l" egress prio 1 handle 0x77 matchall action continue
		else
			node tc filter del dev "$l" ingress prio 1; node tc filter del dev "$l" egress prio 1
		fi
	done
}
knob() {
	case $1:$2 in
	on:rp_filter_*) links_sysctl rp_filter "${2##*_}" ;;
	off:rp_filter_*) links_sysctl rp_filter 0 ;;
	on:src_valid_mark) links_sysctl src_valid_mark 1; links_sysctl rp_filter 1 ;;
	off:src_valid_mark) links_sysctl src_valid_mark 0; links_sysctl rp_filter 0 ;;
	on:tcp_fwmark_accept) node sysctl -qw net.ipv4.tcp_fwmark_accept=1 net.ipv4.fwmark_reflect=1 ;;
	off:tcp_fwmark_accept) node sysctl -qw net.ipv4.tcp_fwmark_accept=0 net.ipv4.fwmark_reflect=0 ;;
	on:no_early_demux) node sysctl -qw net.ipv4.ip_early_demux=0 ;;
	off:no_early_demux) node sysctl -qw net.ipv4.ip_early_demux=1 ;;
	on:no_bridge_nf) node sysctl -qw net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0 ;;
	off:no_bridge_nf) node sysctl -qw net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1 ;;
	on:no_forwarding) node sysctl -qw net.ipv4.ip_forward=0 ;;
	off:no_forwarding) node sysctl -qw net.ipv4.ip_forward=1 ;;
	on:drop_all) drop_at prerouting input forward output postrouting ;;
	on:drop_*) drop_at "${2#drop_}" ;;
	off:drop_*) node nft delete table inet hostile ;;
	on:marks_*) mark_at "${2#marks_}" ;;
	off:marks_*) node nft delete table inet marks ;;
	on:programs) others_programs add ;;
	off:programs) others_programs del ;;
	*) t_die "no knob $*" ;;
	esac
}
KNOBS="rp_filter_0 rp_filter_1 rp_filter_2 src_valid_mark tcp_fwmark_accept no_early_demux no_bridge_nf no_forwarding
	drop_prerouting drop_input drop_forward drop_output drop_postrouting drop_all marks_0x0f00 marks_0xffff0000 programs"

# ask_all ADDRESS4 ADDRESS6: what each pod is answered there, all at once, in $T_RUN/POD.4 and .6
ask_all() {
	local pod pids=()
	for pod in podA podB; do
		ask $pod "$1" 443 hello > "$T_RUN/$pod.4" & pids+=($!)
		ask $pod "$2" 443 hello > "$T_RUN/$pod.6" & pids+=($!)
	done
	wait "${pids[@]}"
}
# What a pod reaches elsewhere, a word for each pod and family.
elsewhere() {
	local answer
	ask_all $OTHER4 $OTHER6
	for answer in podA.4 podA.6 podB.4 podB.6; do
		case $(cat "$T_RUN/$answer") in "provider "*) echo -n "reached " ;; *) echo -n "not " ;; esac
	done
}
declare -A WITHOUT
for knob in $KNOBS; do
	knob on "$knob"
	WITHOUT[$knob]=$(elsewhere)
	knob off "$knob"
done
is "without Egret, and with every knob off, all is reached" "$(elsewhere)" "reached reached reached reached "
is "where netfilter drops what is forwarded, nothing is" "${WITHOUT[drop_forward]}" "not not not not "

# The connections of mark mode are the node's own: it needs what these hooks let in and out, and the upper half of the mark.
needs() { case $1:$2 in mark:drop_prerouting | mark:drop_input | mark:drop_output | mark:drop_postrouting | mark:drop_all | mark:marks_0xffff0000) return 0 ;; esac; return 1; }
captured() { # MODE KNOB
	local pod
	ask_all $GOVERNED4 $GOVERNED6
	for pod in podA podB; do
		is "$1, $2: $pod IPv4" "$(cat "$T_RUN/$pod.4")" "agent ::ffff:$(pod_ip $pod) ::ffff:$GOVERNED4 443 hello"
		is "$1, $2: $pod IPv6" "$(cat "$T_RUN/$pod.6")" "agent $(pod_ip6 $pod) $GOVERNED6 443 hello"
	done
}
stopped() { # MODE KNOB: nothing gets past
	local answer
	ask_all $GOVERNED4 $GOVERNED6
	for answer in podA.4 podA.6 podB.4 podB.6; do
		hasnt "$1, $2: $answer, past the agent" "$(cat "$T_RUN/$answer")" provider
	done
}
for mode in netns mark; do
	dp_names $mode
	dp_start -m $mode -u eth0
	dp open > /dev/null && dp_policy > /dev/null && dp resolved api.openai.com 6000000 $GOVERNED4 $GOVERNED6 > /dev/null &&
		dp_pod podA governed > /dev/null && dp_pod podB governed > /dev/null && dp attach > /dev/null && dp listen > /dev/null &&
		dp beat on > /dev/null || fail "$mode: start" "$DP_ANSWER"
	captured $mode "as it was"
	for knob in $KNOBS; do
		knob on "$knob"
		if needs $mode "$knob"; then stopped $mode "$knob"; else captured $mode "$knob"; fi
		is "$mode, $knob: elsewhere as without Egret" "$(elsewhere)" "${WITHOUT[$knob]}"
		knob off "$knob"
	done
	captured $mode "as it was again"
	dp stop > /dev/null; dp_quit; dp_clean
done
checks_done
