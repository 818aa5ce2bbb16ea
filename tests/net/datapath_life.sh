#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What survives what: the fail policy of old and new flows, a second start that adopts, another
# program on the same link, links that come and go, and an uninstall that leaves nothing.
set -u
cd "$(dirname "$0")" || exit 1
. ../lib/check.sh
. ../lib/topology.sh
. ./datapath_lib.sh

GOVERNED4=203.0.113.10 NAMED4=203.0.113.11 MOMENT4=203.0.113.14 OTHER4=203.0.113.99

topology_up egdl podA podB:routed
for a in $GOVERNED4 $NAMED4 $MOMENT4 $OTHER4; do inet ip addr replace $a/32 dev lo; done
spawn provider inet python3 datapath_provider.py "$T_RUN/provider.bytes" 80 443
await 20 grep -q ready "$T_RUN/provider.log"

AGENT_A="agent ::ffff:$(pod_ip podA) ::ffff:$GOVERNED4 443"
PROVIDER="provider 192.0.2.10 $GOVERNED4 443"

# What is on the node that Egret could have left there.
node_state() {
	node ip -o rule; node ip -6 -o rule; node ip route show table all; node ip -6 route show table all
	node ip -o -br link; node tc qdisc show; node tc filter show dev veth-podA ingress
	node bpftool net show 2>/dev/null
	find /sys/fs/bpf /run/netns -maxdepth 1 -name "$T-*" | grep -v -e -node -e -inet -e -podA -e -podB -e neighbour
}
PODS=(podA podB)
for_pods() { local p; for p in "${PODS[@]}"; do dp_pod "$p" governed >/dev/null || return 1; done; }
start() { # OPTION...
	dp_start -d 3000 "$@"
	dp open >/dev/null && dp_policy >/dev/null && dp resolved api.openai.com 60000 $GOVERNED4 >/dev/null &&
		for_pods && dp attach >/dev/null &&
		dp prune >/dev/null && dp listen >/dev/null && dp beat on >/dev/null
}
link_ids() { for l in "$DP_PINS"/links/*; do node bpftool -j link show pinned "$l" | jq -c '[.id]'; done; }
gone() { ! kill -0 "$1" 2>/dev/null; }
ifindex_of() { node ip -j link show dev "$1" | jq '.[0].ifindex'; } # /sys would be the host's
prog_of() { node bpftool -j link show pinned "$DP_PINS/links/$1" | jq .prog_id; }

dp_names a
node_state > "$T_RUN/before"

echo "# fail closed, and adoption"
start && pass "start" || fail "start" "$DP_ANSWER"
dp notes
is "captured" "$(ask podA $GOVERNED4 443 hi)" "$AGENT_A hi"
hold podA $OTHER4
is "a connection to elsewhere is open" "$(held one)" answered
pods_id=$(node bpftool -j map show pinned "$DP_PINS/flows" | jq .id)
links_before=$(link_ids | sort)
egress_before=$(prog_of "egress_tc-$(ifindex_of veth-podA)")
dp_kill
isnt "agent killed: a new connection is refused, not passed" "$(ask podA $GOVERNED4 443 hi | cut -d' ' -f1)" provider
is "agent killed: ungoverned goes on" "$(ask podA $OTHER4 443 hi)" "provider 192.0.2.10 $OTHER4 443 hi"
is "agent killed: what was open elsewhere goes on" "$(held two)" answered
release
sleep 4
is "past the grace the refusal is a reset" "$(ask podA $GOVERNED4 443 hi)" ECONNREFUSED
start && pass "a second start" || fail "a second start" "$DP_ANSWER"
has "it adopted" "$(dp notes)" "adopted=1"
is "the map is the same" "$(node bpftool -j map show pinned "$DP_PINS/flows" | jq .id)" "$pods_id"
is "the links are the same" "$(link_ids | sort)" "$links_before"
isnt "the program is another" "$(prog_of "egress_tc-$(ifindex_of veth-podA)")" "$egress_before"
is "captured again" "$(ask podA $GOVERNED4 443 hi)" "$AGENT_A hi"
has "one process on a pin directory" "$(printf 'open\n' | nsenter --net=/run/netns/$T_NODE $DP_DRIVER "${DP_OPTIONS[@]}")" "another egretd uses"
has "an uninstall under a running agent is refused" "$(echo uninstall | nsenter --net=/run/netns/$T_NODE $DP_DRIVER "${DP_OPTIONS[@]}")" "error: another egretd uses"

echo "# addresses run out while no agent is there to renew them"
NAMED_A="agent ::ffff:$(pod_ip podA) ::ffff:$NAMED4 443"
dp stop >/dev/null; dp_quit
start -L 1 && pass "a start with a grace of a millisecond" || fail "a start with a grace of a millisecond" "$DP_ANSWER"
dp resolved '*.anthropic.com' 1500 $NAMED4 >/dev/null
is "an address of a name is captured" "$(ask podA $NAMED4 443 hi)" "$NAMED_A hi"
dp_kill
sleep 3
isnt "killed, and its time is over: it is not passed" "$(DP_TIMEOUT=2 ask podA $NAMED4 443 hi | cut -d' ' -f1)" provider
dp_start -d 3000
dp open >/dev/null && dp_policy >/dev/null && for_pods && dp attach >/dev/null && dp prune >/dev/null
dp sweep >/dev/null
isnt "nor by the next start before it serves" "$(DP_TIMEOUT=2 ask podA $NAMED4 443 hi | cut -d' ' -f1)" provider
dp listen >/dev/null; dp beat on >/dev/null; dp sweep >/dev/null
is "which captures it before it has resolved anything" "$(ask podA $NAMED4 443 hi)" "$NAMED_A hi"
dp stop >/dev/null; dp_quit
start -L 1 && dp resolved '*.anthropic.com' 2500 $MOMENT4 >/dev/null
dp_kill
dp_start -d 3000
dp open >/dev/null && dp_policy >/dev/null && for_pods && dp attach >/dev/null && dp prune >/dev/null
dp listen >/dev/null; dp beat on >/dev/null
sleep 3
dp sweep >/dev/null
is "one that had a moment left has time to be resolved again" "$(ask podA $MOMENT4 443 hi)" "${NAMED_A/$NAMED4/$MOMENT4} hi"

echo "# what a pod that is gone was counted"
counted() { node bpftool -j map dump pinned "$DP_PINS/counters" | jq "[.[].formatted | select($1) | .values[].value.packets] | add // 0"; }
A_IS=".key.pod_id == $(ifindex_of veth-podA)" GONE_IS=".key.pod_id == 4294967295"
all=$(counted true)
at_least "podA was counted" "$(counted "$A_IS")" 1
dp remove veth-podA >/dev/null; dp sweep >/dev/null
is "it leaves no entry behind" "$(node bpftool -j map dump pinned "$DP_PINS/counters" | jq "[.[].formatted | select($A_IS)] | length")" 0
at_least "but its share in the sum of those that are gone" "$(counted "$GONE_IS")" 1
is "and nothing is missing in the whole" "$(counted true)" "$all"
dp_pod podA governed >/dev/null
is "it comes again: captured" "$(ask podA $GOVERNED4 443 hi)" "$AGENT_A hi"
at_least "and counted" "$(counted "$A_IS")" 1

echo "# heartbeat lost while the listeners are there (a hung agent)"
hold podA $GOVERNED4
is "a captured connection is open" "$(held one)" answered
dp beat off >/dev/null
sleep 1.5
is "no heartbeat: the captured connection goes on with the agent" "$(held two)" answered
isnt "no heartbeat: new connections are not passed" "$(DP_TIMEOUT=1 ask podA $GOVERNED4 443 hi | cut -d' ' -f1)" provider
dp beat on >/dev/null
is "heartbeat back: captured" "$(ask podA $GOVERNED4 443 hi)" "$AGENT_A hi"
is "heartbeat back: the same connection still" "$(held three)" answered
release
dp stop >/dev/null
dp_quit

echo "# fail open"
start -f open && pass "start with fail: open" || fail "start with fail: open" "$DP_ANSWER"
dp beat off >/dev/null
sleep 1.5
hold podA $GOVERNED4
has "agent away: a new connection passes" "$(cat "$T_RUN/hold.out")" provider
is "and works" "$(held one)" answered
dp beat on >/dev/null
is "agent back: new connections are captured" "$(ask podA $GOVERNED4 443 hi)" "$AGENT_A hi"
is "agent back: the passed one goes on to its end" "$(held two)" answered
release
dp_kill
is "agent killed: passes" "$(ask podA $GOVERNED4 443 hi)" "$PROVIDER hi"
start && pass "start again, closed" || fail "start again, closed" "$DP_ANSWER"

echo "# links"
has "a pod is found by its namespace" "$(dp find "/run/netns/$T-podA")" "ok veth-podA $(pod_ip podA) $(pod_ip6 podA)"
has "no namespace: said so" "$(dp find /nonexistent)" "cannot open the network namespace /nonexistent"
has "a file that is none: said so" "$(dp find /etc/passwd)" "is not a network namespace"
ifindex=$(ifindex_of cali-podB)
check "podB's link is pinned" test -e "$DP_PINS/links/egress_tc-$ifindex"
node ip link del cali-podB
check "its pins go with it" await 3 test ! -e "$DP_PINS/links/egress_tc-$ifindex"
is "its pod goes" "$(node bpftool -j map dump pinned "$DP_PINS/pods" | jq length)" 1
is "its ways back go" "$(node bpftool -j map dump pinned "$DP_PINS/pod_links" | jq length)" 2
PODS=(podA)
has "a namespace without link: said so" "$(dp find "/run/netns/$T-podB")" "no link of this namespace leads"
check "a pod that is removed by hand" dp remove veth-podA
is "is untouched" "$(ask podA $GOVERNED4 443 hi)" "$PROVIDER hi"
hold podA $GOVERNED4
is "what it opens meanwhile is the provider's" "$(held one)" answered
check "and comes back" dp_pod podA governed
echo two >&9
check "what it had open to a provider is reset" await 5 gone "$HOLD_PID"
release
dp_pod podA ungoverned >/dev/null
hold podA $OTHER4
dp_pod podA governed >/dev/null
is "what it had open elsewhere goes on" "$(held three)" answered
release
is "captured" "$(ask podA $GOVERNED4 443 hi)" "$AGENT_A hi"
dp stop >/dev/null; dp_quit

echo "# uninstall"
check "uninstall" sh -c "echo uninstall | nsenter --net=/run/netns/$T_NODE $DP_DRIVER ${DP_OPTIONS[*]} | grep -q ^ok"
check "once more" sh -c "echo uninstall | nsenter --net=/run/netns/$T_NODE $DP_DRIVER ${DP_OPTIONS[*]} | grep -q ^ok"
node_state > "$T_RUN/after"
is "nothing is left" "$(grep -v cali-podB "$T_RUN/before" | grep -v "$(pod_ip podB)" | diff - "$T_RUN/after" | grep '^>')" ""
is "direct again" "$(ask podA $GOVERNED4 443 hi)" "$PROVIDER hi"

echo "# an uninstall that finds what is somebody else's among the pins"
dp_names strange
start && pass "a start" || fail "a start" "$DP_ANSWER"
dp stop >/dev/null; dp_quit
# An empty map, pinned by hand where only Egret's links belong.
bpftool map create "$DP_PINS/links/somebodys" type array key 4 value 4 entries 1 name somebodys
has "what stays, and why, is said" "$(echo uninstall | nsenter --net=/run/netns/$T_NODE $DP_DRIVER "${DP_OPTIONS[@]}")" \
	"cannot remove the directory $DP_PINS/links: somebodys in it is not Egret's"
is "nothing else stays" "$(cd "$DP_PINS" && find . -mindepth 1 | sort | tr '\n' ' ')" "./links ./links/somebodys "
is "direct again" "$(ask podA $GOVERNED4 443 hi)" "$PROVIDER hi"
rm "$DP_PINS/links/somebodys"
check "and with it gone, an uninstall" sh -c "echo uninstall | nsenter --net=/run/netns/$T_NODE $DP_DRIVER ${DP_OPTIONS[*]} | grep -q ^ok"

echo "# a neighbour on the same link"
# Loaded and pinned once; attached by clsact, which several may share.
mkdir -p "$DP_PINS-neighbour"
bpftool prog load "$DP_BUILD/tests/net/datapath_neighbour.bpf.o" "$DP_PINS-neighbour/program" type classifier \
	pinmaps "$DP_PINS-neighbour" || fail "the neighbour loads"
T_BEFORE_DOWN+=(neighbour_clean)
neighbour_clean() { rm -rf "/sys/fs/bpf/$T-"*-neighbour 2>/dev/null; }
neighbour() {
	node tc qdisc add dev veth-podA clsact 2>/dev/null
	node tc filter add dev veth-podA ingress prio 7 bpf da pinned "$DP_PINS_NEIGHBOUR/program"
}
neighbour_saw() { bpftool -j map dump pinned "$DP_PINS_NEIGHBOUR/neighbour_saw" | jq '.[0].formatted.value'; }
# ahead HOW: the same program once more, newer than Egret's and before it.
ahead() {
	if [ "$1" = clsact ]; then
		node tc filter del dev veth-podA ingress prio 1 handle 0x99 bpf 2>/dev/null
		node tc filter add dev veth-podA ingress prio 1 handle 0x99 bpf da pinned "$DP_PINS_NEIGHBOUR/program"
	else
		spawn ahead node python3 datapath_tcx.py "$(ifindex_of veth-podA)" "$DP_PINS_NEIGHBOUR/program"
		AHEAD=$SPAWNED
		await 20 grep -q ready "$T_RUN/ahead.log"
	fi
}
# Filters at our preference, in the order in which they run.
handles() { node tc -j filter show dev veth-podA ingress | jq -r '[.[] | select(.pref == 1) | .options.handle // empty] | join(" ")'; }
DP_PINS_NEIGHBOUR=$DP_PINS-neighbour
for how in tcx clsact; do
	options=(); [ $how = tcx ] || options=(-c)
	dp_names "$how"
	neighbour
	start "${options[@]}" && pass "$how: start beside a neighbour" || fail "$how: start beside a neighbour" "$DP_ANSWER"
	is "$how: captured" "$(ask podA $GOVERNED4 443 hi)" "$AGENT_A hi"
	is "$how: elsewhere untouched" "$(ask podA $OTHER4 443 hi)" "provider 192.0.2.10 $OTHER4 443 hi"
	at_least "$how: the neighbour saw what was not ours" "$(neighbour_saw)" 4
	seen=$(neighbour_saw)
	ask podA $GOVERNED4 443 hi > /dev/null
	is "$how: and not what was" "$(neighbour_saw)" "$seen"
	ahead $how
	isnt "$how: a newer program stands before Egret's and hides what is Egret's (or else the next checks mean nothing)" \
		"$(ask podA $GOVERNED4 443 hi)" "$AGENT_A hi"
	dp sweep >/dev/null
	is "$how: Egret's is first again: captured" "$(ask podA $GOVERNED4 443 hi)" "$AGENT_A hi"
	is "$how: elsewhere untouched" "$(ask podA $OTHER4 443 hi)" "provider 192.0.2.10 $OTHER4 443 hi"
	has "$how: it is said, with the other's name" "$(cat "$T_RUN/dp.log")" \
		"link veth-podA: the TC program \"neighbour\" (\`bpftool prog show id $(bpftool -j prog show pinned "$DP_PINS_NEIGHBOUR/program" | jq .id)\`) was put before Egret's egress_tc and could hide packets from it"
	if [ $how = clsact ]; then
		is "$how: the other one is still there, behind the only one of ours" "$(handles)" "0x45670101 0x99"
		ahead $how
		dp sweep >/dev/null
		is "$how: and once more" "$(ask podA $GOVERNED4 443 hi)" "$AGENT_A hi"
		is "$how: what was said is not said again" "$(grep -c "was put before Egret's" "$T_RUN/dp.log")" 1
		is "$how: still one of ours, first" "$(handles)" "0x45670001 0x99"
		# The same before a start: it adopts, and is first.
		ahead $how
		dp_kill
		start "${options[@]}" || fail "$how: start" "$DP_ANSWER"
		is "$how: a start that adopts is first, too" "$(ask podA $GOVERNED4 443 hi) $(handles)" "$AGENT_A hi 0x45670101 0x99"
	else
		kill "$AHEAD"; wait "$AHEAD" 2>/dev/null
	fi
	: > "$T_RUN/dp.log"
	if [ $how = clsact ]; then
		node tc qdisc del dev veth-podA clsact
		dp sweep >/dev/null
		is "$how: a deleted qdisc is put back" "$(ask podA $GOVERNED4 443 hi)" "$AGENT_A hi"
		has "$how: and said" "$(cat "$T_RUN/dp.log")" "had lost Egret's programs; they are attached again"
	else
		node tc qdisc del dev veth-podA clsact
		is "$how: a deleted qdisc does not matter" "$(ask podA $GOVERNED4 443 hi)" "$AGENT_A hi"
	fi
	dp stop >/dev/null; dp_quit
	neighbour
	check "$how: uninstall" sh -c "echo uninstall | nsenter --net=/run/netns/$T_NODE $DP_DRIVER ${DP_OPTIONS[*]} ${options[*]} | grep -q ^ok"
	has "$how: the neighbour stays" "$(node tc filter show dev veth-podA ingress)" neighbour
	hasnt "$how: ours is gone" "$(node tc filter show dev veth-podA ingress)" egress_tc
	node tc qdisc del dev veth-podA clsact
done
checks_done
