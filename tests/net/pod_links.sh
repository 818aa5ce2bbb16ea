#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A pod with two links (as a second network of the pod makes): each address is served over its own link, also where the
# pod has a strict rp_filter, whether its file tells the addresses or not. A pod with more addresses than are believed.
set -u
cd "$(dirname "$0")" || exit 1
. ./agent_lib.sh
agent_prepare eg2link
ip -n "$T_NODE" address add fe80::1/64 dev cni0 nodad
SECOND=$T_POD_NET4.200 SECOND6=${T_POD_NET6}:200

# second_link: net1 in podA, with a table of its own, as the plugins of second networks make it.
second_link() {
	ip -n "$T_NODE" link add veth-net1 type veth peer name net1 netns "$T-podA"
	ip -n "$T_NODE" link set veth-net1 master cni0 up
	pod podA sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.eth0.rp_filter=1 net.ipv4.conf.net1.rp_filter=1 \
		net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
	ip -n "$T-podA" -batch - <<-EOB
		link set net1 up
		address add $SECOND/24 dev net1 noprefixroute
		address add $SECOND6/64 dev net1 nodad noprefixroute
		route replace default via $T_POD_NET4.1 dev net1 onlink table 200
		route replace default via fe80::1 dev net1 table 200
	EOB
}
by_netns() { # POD IPS_JSON
	jq -n --arg n "$1" --arg netns "/run/netns/$T-$1" --argjson ips "$2" \
		'{namespace: "shop", name: $n, uid: $n, netns: $netns} + if $ips then {ips: $ips} else {} end' > "$T_RUN/next.json"
	mv "$T_RUN/next.json" "$E_DIR/pods/shop-$1.json"
}
addresses() { ctl pods --json | jq -r --arg n "$1" '[.pods[] | select(.name == $n) | .addresses[]] | join(" ")'; }
has_addresses() { [ "$(addresses "$1" | wc -w)" = "$2" ]; }
# each: eth0 in both families, then net1 in both.
each() {
	echo "$(ask podA -4 --max-time 5) $(ask podA -6 --max-time 5) $(ask podA --interface "$SECOND" --max-time 5)" \
		"$(ask podA --interface "$SECOND6" --max-time 5)"
}
logged() { log | grep -qF "$1"; }
spoofed() { metrics | awk '/^egret_datapath_packets_total/ && /spoofed_source/ {n += $NF} END {print n + 0}'; }

for E_MODE in netns mark; do
	echo "# $E_MODE"
	if [ "$E_MODE" = netns ]; then
		second_link
		ip -n "$T-podA" rule add from $SECOND lookup 200
		ip -n "$T-podA" -6 rule add from $SECOND6 lookup 200
	fi
	by_netns podA "[\"$(pod_ip podA)\", \"$(pod_ip6 podA)\", \"$SECOND\", \"$SECOND6\"]"
	egret_up --workers 1
	is "both links carry the program" "$(ctl pods --json | jq '[.pods[].links[]] | length')" 2
	is "addresses in the file: each is served over its link" "$(each)" "200 200 200 200"
	by_netns podA null
	sleep 0.1
	check "addresses read from the pod: those of both links" await 10 has_addresses podA 4
	is "each is served" "$(each)" "200 200 200 200"
	is "none was taken for another's" "$(spoofed)" 0
	stop
done

echo "# the second link goes, and comes back"
E_MODE=netns
egret_up --workers 1 --link-prefix veth-
has "a link that no file names is known by its own name" "$(ctl pods --kernel)" "(link $(pod_link podB)) "
ip -n "$T_NODE" link del veth-net1
check "its addresses go with it" await 10 has_addresses podA 2
is "the first link is served" "$(ask podA -4) $(ask podA -6)" "200 200"
second_link
check "it is back" await 25 has_addresses podA 4
is "all are served" "$(each)" "200 200 200 200"

echo "# more addresses than are believed, more links than are looked after"
for i in 1 2 3 4; do
	ip -n "$T_NODE" link add "veth-more$i" type veth peer name "more$i" netns "$T-podB"
	ip -n "$T_NODE" link set "veth-more$i" master cni0 up
	ip -n "$T-podB" link set "more$i" up
done
for i in 1 2 3 4 5 6 7 8 9; do ip -n "$T-podB" address add "$T_POD_NET4.21$i/24" dev eth0; done
by_netns podB null
check "the first eight are" await 10 has_addresses podB 8
has "the rest is said, with what it costs" "$(log)" \
	"pod shop/podB has 11 addresses; what it sends to governed destinations from others than the first 8 is dropped"
is "the first is served" "$(ask podB -4)" 200
is "the last is not" "$(ask podB --interface "$T_POD_NET4.219" --max-time 3)" 000
at_least "which is counted" "$(spoofed)" 1
sleep 11 # they are read once more
is "it is said once" "$(log | grep -c "pod shop/podB has 11 addresses")" 1
is "and that not all links are governed" "$(log | grep -c "pod shop/podB has 5 links; only 4 are governed")" 1

echo "# a pod that gives itself another's address"
egret_down # which of several has been there first is known while one runs
for i in 1 2 3 4 5 6 7 8 9; do ip -n "$T-podB" address del "$T_POD_NET4.21$i/24" dev eth0; done
VICTIM=$(pod_ip podA) VICTIM6=$(pod_ip6 podA) AT=(--resolve "api.openai.com:443:198.51.100.10,[2001:db8:100::10]" --max-time 4)
# stolen: podA's requests in both families, then podB's from podA's addresses.
stolen() { echo "$(ask podA -4 "${AT[@]}") $(ask podA -6 "${AT[@]}") $(ask podB "${AT[@]}" --interface "$VICTIM") $(ask podB "${AT[@]}" --interface "$VICTIM6")"; }
thief() { ip -n "$T-podB" address "$1" "$VICTIM/32" dev eth0; ip -n "$T-podB" address "$1" "$VICTIM6/128" dev eth0 nodad; }
for victims in "[\"$VICTIM\", \"$VICTIM6\"]" null; do
	by_netns podA "$victims"; by_netns podB null
	egret_up --workers 1
	check "ips of the victim's file: $victims: its addresses are known" await 10 eval '[[ " $(addresses podA) " = *" $VICTIM "* ]]'
	thief add
	sleep 11 # they are read once more
	hasnt "the thief does not have the address" " $(addresses podB) " " $VICTIM "
	hasnt "nor the IPv6 one" " $(addresses podB) " " $VICTIM6 "
	before=$(spoofed)
	is "the victim is served, the thief is not by these addresses" "$(stolen)" "200 200 000 000"
	at_least "which is counted" "$(spoofed)" $((before + 2))
	is "it is said, once" "$(log | grep -c "pod shop/podB has 2 addresses that are another's")" 1
	thief del
	ip -n "$T-podA" address del "$VICTIM/24" dev eth0 # it moves, as it may
	if [ "$victims" = null ]; then
		ip -n "$T-podB" address add "$VICTIM/24" dev eth0
		has_it() { [[ " $(addresses podB) " = *" $VICTIM "* ]]; }
		check "an address that its pod gave up is another's then" await 25 has_it
		ip -n "$T-podB" address del "$VICTIM/24" dev eth0
	fi
	ip -n "$T-podA" address add "$VICTIM/24" dev eth0
	ip -n "$T-podA" route replace default via "$T_POD_NET4.1"
	egret_down
done

echo "# a pod that gives itself an address of the internet: another's answer that names it is learned all the same"
ELSEWHERE=203.0.113.91 ELSEWHERE6=2001:db8:113::91 # a host's that no policy names
ip -n "$T-podB" address add $ELSEWHERE/32 dev eth0
ip -n "$T-podB" address add $ELSEWHERE6/128 dev eth0 nodad
egret_up --workers 1
dns_set api.openai.com "{\"a\":[\"$ELSEWHERE\"],\"aaaa\":[\"$ELSEWHERE6\"],\"ttl\":1}"
is "podA is captured on the way there" "$(ask podA -4 --max-time 5) $(ask podA -6 --max-time 5)" "200 200"
is "by what its answers taught" "$(egret_last .destination)" "[$ELSEWHERE6]:443"
hasnt "it is not podB's" " $(addresses podB) " " $ELSEWHERE "
hasnt "nor the IPv6 one" " $(addresses podB) " " $ELSEWHERE6 "
is "podB is served by its own" "$(ask podB -4 "${AT[@]}" --interface "$(pod_ip podB)")" 200

echo "# one link, which two files name in two ways: the first by name has it"
jq -n '{namespace: "shop", name: "podZ", uid: "podZ", interface: "veth-podA"}' > "$T_RUN/next.json"
mv "$T_RUN/next.json" "$E_DIR/pods/shop-podZ.json"
check "the other is said to have nothing of it" await 10 logged \
	"shop-podZ.json: the link veth-podA is pod shop/podA's already, by shop-podA.json; nothing of pod shop/podZ is captured on it"
is "the link's pod is served as itself" "$(ask podA -4 --max-time 5) $(egret_last .pod.name)" "200 podA"
is "the other has no address by it" "$(addresses podZ)" ""
rm "$E_DIR/pods/shop-podA.json"
has_link() { [ "$(addresses podZ | wc -w)" != 0 ]; }
check "once the first is gone, the other has the link" await 10 has_link
checks_done
