#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# No byte of a governed pod reaches a governed address but through the agent: ordinary sockets, raw
# sockets, spoofed sources, options, fragments, tags, tunnels, truncated and fuzzed packets; with the
# agent there and away, on bridge and routed pods. What arrives is read off the provider's own wire.
set -u
cd "$(dirname "$0")" || exit 1
. ../lib/check.sh
. ../lib/topology.sh
. ./datapath_lib.sh

GOVERNED4=203.0.113.10 OTHER4=203.0.113.99
GOVERNED6=2001:db8:53::10 OTHER6=2001:db8:53::99
COUNT=${DP_FUZZ_COUNT:-4000}
SEED=${DP_FUZZ_SEED:-$RANDOM}

topology_up egdb podA podB:routed podC
for a in $GOVERNED4 $OTHER4; do inet ip addr replace $a/32 dev lo; done
for a in $GOVERNED6 $OTHER6; do inet ip addr replace $a/128 dev lo nodad; done
spawn provider inet python3 datapath_provider.py "$T_RUN/provider.bytes" 80 443 8443
spawn sniff inet python3 datapath_bypass.py sniff up0 "$T_RUN/wire"
# A SYN-ACK that is sent again much later makes the pod's kernel answer it, in another run.
inet sysctl -qw net.ipv4.tcp_synack_retries=0
await 20 grep -q ready "$T_RUN/provider.log"; await 20 grep -q ready "$T_RUN/sniff.log"
: > "$T_RUN/wire"; : > "$T_RUN/provider.bytes"

# Of the wire: packets for the governed addresses, whatever they hold; and marked packets for anywhere
# (source routes, translated and embedded forms of the address, tunnels).
arrived() { awk -v a="$1" -v b="$2" '$3 == a || $3 == b' "$T_RUN/wire" | wc -l; }
marked() { awk '$6 == 1' "$T_RUN/wire" | wc -l; }
attack() { # POD TARGET4 TARGET6 OTHERPOD SEED COUNT
	pod "$1" python3 datapath_bypass.py send "$2" "$3" "$(pod_ip "$1")" "$(pod_ip6 "$1")" "$(pod_ip "$4")" "$(pod_ip6 "$4")" "$5" "$6"
}
settle() { sleep 1; }
# A veth leaves checksums for the next to write; as a card does it, the uplink writes them.
node ethtool -K eth0 tx off > /dev/null || fail "the uplink writes checksums"
offload() { # POD
	pod "$1" python3 datapath_bypass.py offload $GOVERNED4 $GOVERNED6 "$(pod_ip "$1")" "$(pod_ip6 "$1")" $T_NODE_IP6
}
reset_wire() { : > "$T_RUN/wire"; : > "$T_RUN/provider.bytes"; }
show() { sort "$T_RUN/wire" | awk -v a=$GOVERNED4 -v b=$GOVERNED6 '$3==a||$3==b' | head -5; }

# How the kernel came to know the governed addresses: the agent resolved their name (for every pod
# and the guard), or each pod's own answers taught them (for that pod alone, and no guard behind it).
know() { # resolved|learned
	local p
	if [ "$1" = resolved ]; then
		dp resolved api.openai.com 600000 $GOVERNED4 $GOVERNED6 >/dev/null
		return
	fi
	for p in podA podB; do
		dp learn "$(pod_link $p)" api.openai.com 600000 $GOVERNED4 $GOVERNED6 >/dev/null
	done
}
run_mode() { # NAME resolved|learned OPTION...
	local name=$1-$2 how=$2 p; shift 2
	dp_names "$name"
	dp_start -d 1000 "$@"
	dp open >/dev/null || fail "$name: open" "$DP_ANSWER"
	dp_policy >/dev/null
	dp_pod podA governed >/dev/null; dp_pod podB governed >/dev/null; dp_pod podC ungoverned >/dev/null
	check "$name: known" know "$how"
	dp attach >/dev/null; dp prune >/dev/null; dp listen >/dev/null; dp beat on >/dev/null
	is "$name: what is known" "$(known_origins)" "$([ "$how" = resolved ] && echo "2 0" || echo "0 4")"
	is "$name: captured" "$(ask podA $GOVERNED4 443)" "agent ::ffff:$(pod_ip podA) ::ffff:$GOVERNED4 443"

	for p in podA podB; do
		reset_wire
		sent=$(attack $p $GOVERNED4 $GOVERNED6 podC "$SEED" "$COUNT")
		at_least "$name: $p sent (seed $SEED)" "$sent" 2000
		settle
		is "$name: $p: packets at the provider" "$(arrived $GOVERNED4 $GOVERNED6)" 0
		[ "$(arrived $GOVERNED4 $GOVERNED6)" = 0 ] || show
		is "$name: $p: marked packets to anywhere" "$(marked)" 0
		[ "$(marked)" = 0 ] || awk '$6 == 1' "$T_RUN/wire" | sort | uniq | head -8
		is "$name: $p: application bytes at the provider" "$(wc -l < "$T_RUN/provider.bytes")" 0
	done
	for p in podA podB; do
		reset_wire
		is "$name: $p: checksums to be written over the destination" "$(offload $p)" 10
		settle
		is "$name: $p: none was" "$(arrived $GOVERNED4 $GOVERNED6) $(marked)" "0 0"
	done
	if [ "${DP_SHORT:-}" != 1 ]; then
		dp beat off >/dev/null
		sleep 2.5
		reset_wire
		attack podA $GOVERNED4 $GOVERNED6 podC "$SEED" "$COUNT" >/dev/null
		settle
		is "$name: agent away: packets at the provider" "$(arrived $GOVERNED4 $GOVERNED6)" 0
		[ "$(arrived $GOVERNED4 $GOVERNED6)" = 0 ] || show
		dp beat on >/dev/null
	fi

	# The same from the ungoverned pod and to an ungoverned address: that the wire would have shown it.
	reset_wire
	attack podC $GOVERNED4 $GOVERNED6 podA 1 0 >/dev/null; settle
	at_least "$name: an ungoverned pod's do arrive" "$(arrived $GOVERNED4 $GOVERNED6)" 100
	reset_wire
	offload podC >/dev/null; settle
	is "$name: its checksums are written over the destination" "$(awk -v a=$GOVERNED6 '$3 == a && $6 == 1' "$T_RUN/wire" | wc -l)" 10
	reset_wire
	attack podA $OTHER4 $OTHER6 podC 1 0 >/dev/null; settle
	at_least "$name: and those to an ungoverned address" "$(arrived $OTHER4 $OTHER6)" 100
	is "$name: the counters say why" "$(pins_reasons)" "yes"
	dp stop >/dev/null; dp_quit
	dp_clean
}
# Resolved and learned addresses: that each run stands on what its name says.
known_origins() {
	local resolved
	resolved=$(for m in 4 6; do bpftool -j map dump pinned "$DP_PINS/destinations$m"; done | jq -s '[.[][] | select(.formatted.value.origin == 2)] | length')
	echo "$resolved $(bpftool -j map dump pinned "$DP_PINS/learned" | jq length)"
}
# At least these reasons were counted: spoofed 8, quic 9, protocol 10, port 11, unparseable 12, fragment 13.
pins_reasons() {
	local seen
	seen=$(bpftool -j map dump pinned "$DP_PINS/counters" | jq -r '[.[].formatted.key.reason] | unique | join(" ")')
	for r in 8 9 10 11 12 13; do case " $seen " in *" $r "*) ;; *) echo "reason $r is missing of: $seen"; return ;; esac; done
	echo yes
}

run_mode netns resolved
run_mode netns learned
DP_SHORT=1 run_mode clsact resolved -c
DP_SHORT=1 run_mode mark resolved -m mark
DP_SHORT=1 run_mode mark learned -m mark
cat "$T_RUN/dp.log" | grep -v ' there$' | head
checks_done
