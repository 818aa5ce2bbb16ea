#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Links that appear while Egret runs, pods that are not known yet, XDP on a link that asks for it, and
# everything that open() refuses, each in a sentence.
set -u
cd "$(dirname "$0")" || exit 1
. ../lib/check.sh
. ../lib/topology.sh
. ./datapath_lib.sh

GOVERNED4=203.0.113.10 OTHER4=203.0.113.99 GATEWAY=169.254.77.1 GATEWAY6=fd00:77::1

topology_up egdx podA
for a in $GOVERNED4 $OTHER4; do inet ip addr replace $a/32 dev lo; done
spawn provider inet python3 datapath_provider.py "$T_RUN/provider.bytes" 80 443
await 20 grep -q ready "$T_RUN/provider.log"
ifindex_of() { node ip -j link show dev "$1" | jq '.[0].ifindex'; }
pin_there() { test -e "$DP_PINS/links/$1-$(ifindex_of "$2")"; }
state_of() { bpftool -j map dump pinned "$DP_PINS/pods" | jq "[.[] | select(.key == $(ifindex_of "$1") or .formatted.key == $(ifindex_of "$1")) | .formatted.value.state][0]"; }
since_of() { bpftool -j map dump pinned "$DP_PINS/pods" | jq "[.[] | select(.key == $(ifindex_of "$1") or .formatted.key == $(ifindex_of "$1")) | .formatted.value.since_ns][0]"; }
begin() { # OPTION...
	dp_start "$@"
	dp open >/dev/null && dp_policy >/dev/null && dp resolved api.openai.com 600000 $GOVERNED4 >/dev/null &&
		dp attach >/dev/null && dp listen >/dev/null && dp beat on >/dev/null
}
finish() { dp stop >/dev/null; dp_quit; dp_clean; }

echo "# links by prefix: unknown pods are held"
dp_names hold
begin -l veth- -H 60000 || fail "start" "$DP_ANSWER"
check "a link that was there is attached" pin_there egress_tc veth-podA
is "its pod is unknown" "$(state_of veth-podA)" 0
check_not "the uplink is not" pin_there egress_tc eth0
check_not "the bridge is not" pin_there egress_tc cni0
pod_add podN
check "a link that appears is attached" await 3 pin_there egress_tc veth-podN
check "towards the pod as well" pin_there dns_tc veth-podN
is "its pod is unknown" "$(state_of veth-podN)" 0
is "elsewhere is not held" "$(ask podN $OTHER4 443 x)" "provider 192.0.2.10 $OTHER4 443 x"
ask podN $GOVERNED4 443 x > "$T_RUN/held" &
asked=$!
sleep 0.5
check "a connection is held, neither passed nor reset" kill -0 $asked
dp_pod podN governed >/dev/null
wait $asked
is "until the pod is known: then captured" "$(cat "$T_RUN/held")" "agent ::ffff:$(pod_ip podN) ::ffff:$GOVERNED4 443 x"
dp pod veth-podA test/podA foreign 0 0 >/dev/null
is "a foreign link passes" "$(ask podA $GOVERNED4 443 x | cut -d' ' -f1)" provider
finish

dp_names grace
begin -l veth- -H 1 || fail "start" "$DP_ANSWER"
sleep 0.1
is "past the grace an unknown pod is reset" "$(ask podA $GOVERNED4 443 x)" ECONNREFUSED
finish
# The grace is the link's: what is learned of a pod bit by bit does not begin it anew.
dp_names wait
begin -l veth- -H 60000 || fail "start" "$DP_ANSWER"
since=$(since_of veth-podA)
dp_pod podA held >/dev/null
is "an unknown pod that is known in part has waited as long" "$(since_of veth-podA)" "$since"
check "(forgotten)" dp pod veth-podA - unknown 0 0
is "likewise one that is forgotten again" "$(since_of veth-podA)" "$since"
dp_pod podA governed >/dev/null
dp_pod podA held >/dev/null
check "one that was known waits anew" test "$(since_of veth-podA)" -gt "$since"
finish
echo "# links that are no pod's"
dp_names foreign
begin -l veth- -H 60000 || fail "start" "$DP_ANSWER"
# Of podA is known that there is one, of its second link nothing; veth-pair leads nowhere else.
dp_pod podA held >/dev/null
ip -n "$T_NODE" link add veth-net1 type veth peer name net1 netns "$T-podA"
ip -n "$T_NODE" link add veth-pair type veth peer name other-pair
pod_add podW
for l in veth-net1 veth-pair veth-podW; do check "$l is attached, and unknown" await 3 pin_there egress_tc $l; done
check "(veth-podW was a pod's)" dp pod veth-podW - unknown 0 128
is "too early for any" "$(dp foreign 60000; for l in veth-podN veth-pair; do state_of $l; done)" $'ok\n0\n0'
sleep 1
is "after the grace" "$(dp foreign 500)" ok
is "a link that nothing names is foreign" "$(state_of veth-podN)" 4
is "so is one that leads to no other namespace" "$(state_of veth-pair)" 4
is "the second link of a known pod is not" "$(state_of veth-net1)" 0
is "nor is one that was a pod's" "$(state_of veth-podW)" 0
is "nor a pod that is held" "$(state_of veth-podA)" 1
has "it is said" "$(cat "$T_RUN/dp.log")" "the link veth-podN is no pod's"
is "what a foreign one sends passes" "$(ask podN $GOVERNED4 443 x | cut -d' ' -f1)" provider
dp_pod podN governed >/dev/null
is "until it is named: then captured at once" "$(ask podN $GOVERNED4 443 x)" "agent ::ffff:$(pod_ip podN) ::ffff:$GOVERNED4 443 x"
is "a known one stays so" "$(dp foreign 0; state_of veth-podN)" $'ok\n2'
for l in veth-net1 veth-pair; do ip -n "$T_NODE" link del $l; done
finish
dp_names allow
begin -l veth- -U 1 || fail "start" "$DP_ANSWER"
is "unknown pods: allow" "$(ask podA $GOVERNED4 443 x | cut -d' ' -f1)" provider
finish
dp_names deny
begin -l veth- -U 2 || fail "start" "$DP_ANSWER"
is "unknown pods: deny" "$(ask podA $GOVERNED4 443 x)" ECONNREFUSED
finish

echo "# an uplink that is a veth (a node that is a container), where every veth may be a pod's"
dp_names veths
begin -l '' -u eth0 -H 60000 || fail "start" "$DP_ANSWER"
check "a pod's link is attached" pin_there egress_tc veth-podA
check_not "no pod is behind the uplink" pin_there egress_tc eth0
is "nor in the table" "$(state_of eth0)" null
dp_quit
# A link that was not an uplink then.
begin -l '' -H 60000 || fail "start" "$DP_ANSWER"
is "where it is none, an unknown pod may be behind it" "$(state_of eth0)" 0
dp_quit
begin -l '' -u eth0 -H 60000 || fail "start" "$DP_ANSWER"
check_not "it is one again: no pod is behind it" pin_there egress_tc eth0
is "nor in the table" "$(state_of eth0)" null
is "a link that nothing names is foreign, whichever cannot be" "$(dp foreign 0; state_of veth-podN)" $'ok\n4'
finish

echo "# the gateway's own address"
dp_names gw
begin -g $GATEWAY -G $GATEWAY6 || fail "start" "$DP_ANSWER"
dp_pod podA governed >/dev/null
is "IPv4" "$(ask podA $GATEWAY 80 x)" "agent ::ffff:$(pod_ip podA) ::ffff:$GATEWAY 80 x"
is "IPv6" "$(ask podA $GATEWAY6 80 x)" "agent $(pod_ip6 podA) $GATEWAY6 80 x"
finish

echo "# XDP on a pod's link that asks for it"
for mode in generic native; do
	dp_names "x$mode"
	begin -x "veth-podA:$mode" || fail "start" "$DP_ANSWER"
	dp_pod podA governed >/dev/null
	check "$mode: attached" pin_there classify_xdp veth-podA
	has "$mode: on the link" "$(node ip link show dev veth-podA)" "xdp$([ $mode = generic ] && echo generic)"
	is "$mode: captured" "$(ask podA $GOVERNED4 443 hello)" "agent ::ffff:$(pod_ip podA) ::ffff:$GOVERNED4 443 hello"
	is "$mode: elsewhere untouched" "$(ask podA $OTHER4 443 hello)" "provider 192.0.2.10 $OTHER4 443 hello"
	at_least "$mode: it dropped what is denied" "$(ask podA $GOVERNED4 8443 x >/dev/null; bpftool -j map dump pinned "$DP_PINS/counters" | jq '[.[] | select(.formatted.key.hook == 5 and .formatted.key.reason == 11) | .formatted.values[].value.packets] | add // 0')" 1
	finish
	hasnt "$mode: gone afterwards" "$(node ip link show dev veth-podA)" xdp
done

echo "# XDP on the uplink"
dp_names xup
begin -X eth0 -g $GATEWAY || fail "start" "$DP_ANSWER"
check "attached" pin_there guard_xdp eth0
inet ip addr add $GATEWAY/32 dev lo
inet python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 0))
s.sendto(b"x", (sys.argv[2], 9))' $GATEWAY $T_NODE_IP
sleep 0.2
at_least "who claims to be the gateway from outside is dropped" "$(bpftool -j map dump pinned "$DP_PINS/counters" | jq '[.[] | select(.formatted.key.reason == 20) | .formatted.values[].value.packets] | add // 0')" 1
inet ip addr del $GATEWAY/32 dev lo
dp_pod podA governed >/dev/null
is "the rest passes" "$(ask podA $OTHER4 443 x)" "provider 192.0.2.10 $OTHER4 443 x"
finish

echo "# what is refused"
dp_names refuse
one() { printf '%s\n' "$@" | nsenter --net="/run/netns/$T_NODE" "$DP_DRIVER" "${DP_OPTIONS[@]}"; }
mkdir -p "$DP_PINS"
bpftool map create "$DP_PINS/pods" type hash key 4 value 8 entries 8 name pods
has "a map of another layout" "$(one open)" "has another layout (type 1, key 4, value 8 bytes; expected type 1, key 4, value "
is "it is left alone" "$(find "$DP_PINS" -type f | wc -l)" 1
rm -rf "$DP_PINS"
DP_OPTIONS=(-p "$DP_PINS/v1" -n "$DP_NETNS")
mkdir -p "$DP_PINS/v2"
has "another version beside ours" "$(one open)" "$DP_PINS/v2 holds the pins of another version of Egret; remove them with"
rmdir "$DP_PINS/v2" "$DP_PINS" 2>/dev/null
DP_OPTIONS=(-p "$T_RUN/pins" -n "$DP_NETNS")
has "pins that are not on a bpffs" "$(one open)" "is not on a bpffs; run \`mount -t bpf bpf /sys/fs/bpf\`"
has "and nothing is removed there" "$(one uninstall)" "is not on a bpffs: nothing is removed there"
rmdir "$T_RUN/pins/links" "$T_RUN/pins/programs" "$T_RUN/pins" 2>/dev/null
DP_OPTIONS=(-p "$DP_PINS" -n "/run/netns/$T_NODE")
has "the node's own namespace for the agent" "$(one open)" "is the node's own network namespace, the agent needs another"
is "it left no pin" "$(find "$DP_PINS" -type f 2>/dev/null | wc -l)" 0
DP_OPTIONS=(-p "$DP_PINS" -n "$DP_NETNS" -h podlink)
node ip link add podlink type bridge
has "a link of that name that is another's" "$(one open)" "there is a link named podlink that does not lead to $DP_NETNS"
node ip link del podlink
DP_OPTIONS=(-p "$DP_PINS" -n "$DP_NETNS")
has "too many workers" "$(printf 'open\n' | nsenter --net="/run/netns/$T_NODE" "$DP_DRIVER" "${DP_OPTIONS[@]}" -w 17)" "17 workers: at most 16"
dp_clean

echo "# features"
features() { printf 'features\n' | nsenter --net="/run/netns/$T_NODE" "$@" "$DP_DRIVER" "${DP_OPTIONS[@]}"; }
has "here all that is required is there" "$(features)" "ok usable=1"
for f in bpffs cap_bpf cap_net_admin cap_perfmon tc_programs btf ringbuf sk_lookup redirect_peer bpf_loop; do
	has "$f" "$(features)" " $f=1"
done
has "without CAP_BPF and SYS_ADMIN not usable" "$(features setpriv --bounding-set=-bpf,-sys_admin --inh-caps=-all)" "usable=0"
has "without NET_ADMIN" "$(features setpriv --bounding-set=-net_admin --inh-caps=-all)" "cap_net_admin=0"
has "without SYS_ADMIN" "$(features setpriv --bounding-set=-sys_admin --inh-caps=-all)" "cap_sys_admin=0"
has "without PERFMON, for which SYS_ADMIN stands in" "$(features setpriv --bounding-set=-perfmon --inh-caps=-all)" "cap_perfmon=1"
has "without both not usable" "$(features setpriv --bounding-set=-perfmon,-sys_admin --inh-caps=-all)" "usable=0"
has "without a bpffs" "$(features unshare -m sh -c 'umount /sys/fs/bpf; exec "$0" "$@"')" "bpffs=0"
has "open without CAP_BPF says so" "$(printf 'open\n' | nsenter --net="/run/netns/$T_NODE" setpriv --bounding-set=-bpf,-sys_admin --inh-caps=-all "$DP_DRIVER" "${DP_OPTIONS[@]}")" "error: this process may not load programs: it needs CAP_BPF and CAP_NET_ADMIN"
has "netns mode without SYS_ADMIN says so" "$(printf 'open\n' | nsenter --net="/run/netns/$T_NODE" setpriv --bounding-set=-sys_admin --inh-caps=-all "$DP_DRIVER" "${DP_OPTIONS[@]}")" "netns mode needs CAP_SYS_ADMIN at start; mark mode does not"
is "mark mode without SYS_ADMIN works" "$(printf 'open\n' | nsenter --net="/run/netns/$T_NODE" setpriv --bounding-set=-sys_admin --inh-caps=-all "$DP_DRIVER" "${DP_OPTIONS[@]}" -m mark)" ok
dp_clean
checks_done
