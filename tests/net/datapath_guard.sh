#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The guard on the uplink: what reaches it towards a governed address without having been judged is
# dropped and counted; what was judged, what is not governed, and the node's own processes pass.
set -u
cd "$(dirname "$0")" || exit 1
. ../lib/check.sh
. ../lib/topology.sh
. ./datapath_lib.sh

GOVERNED4=203.0.113.10 OTHER4=203.0.113.99
GOVERNED6=2001:db8:53::10

topology_up egdg podA podC
for a in $GOVERNED4 $OTHER4; do inet ip addr replace $a/32 dev lo; done
inet ip addr replace $GOVERNED6/128 dev lo nodad
spawn provider inet python3 datapath_provider.py "$T_RUN/provider.bytes" 80 443 8443
await 20 grep -q ready "$T_RUN/provider.log"

from_node() { node timeout 12 python3 "$PWD/datapath_ask.py" "$@" 2>&1; }
quic() { # POD ADDRESS: whether a datagram to port 443 arrives
	: > "$T_RUN/provider.bytes"
	pod "$1" python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.sendto(b"q", (sys.argv[1], 443))' "$2"
	await 1 grep -q '^udp .* 443 71' "$T_RUN/provider.bytes" && echo arrived || echo nothing
}
counted() { bpftool -j map dump pinned "$DP_PINS/counters" | jq "[.[] | select(.formatted.key.reason == $1) | .formatted.values[].value.packets] | add // 0"; }

SERVICE4=10.96.0.50 SERVICE_OTHER4=10.96.0.51 SERVICE6=fd00:10:96::50 LATER4=203.0.113.12
inet ip addr replace $LATER4/32 dev lo
translate() { # on|off
	if [ "$1" = off ]; then node nft delete table inet services; return; fi
	node nft -f - <<-EOR
		table inet services {
		chain prerouting { type nat hook prerouting priority dstnat;
			ip daddr $SERVICE4 dnat ip to $GOVERNED4
			ip daddr $SERVICE_OTHER4 dnat ip to $OTHER4
			ip6 daddr $SERVICE6 dnat ip6 to $GOVERNED6
		}
		}
	EOR
}
for how in tcx clsact; do
	options=(-u eth0); [ $how = tcx ] || options+=(-c)
	dp_names "$how"
	dp_start "${options[@]}"
	dp open >/dev/null || fail "$how: open" "$DP_ANSWER"
	dp_policy >/dev/null
	dp resolved api.openai.com 600000 $GOVERNED4 $GOVERNED6 >/dev/null
	dp_pod podA ungoverned >/dev/null # podC: a pod whose link nobody has attached to yet
	dp attach >/dev/null; dp listen >/dev/null; dp beat on >/dev/null
	isnt "$how: an unjudged pod does not pass" "$(ask podC $GOVERNED4 443 x | cut -d' ' -f1)" provider
	isnt "$how: nor by IPv6" "$(ask podC $GOVERNED6 443 x | cut -d' ' -f1)" provider
	isnt "$how: nor to port 80" "$(ask podC $GOVERNED4 80 x | cut -d' ' -f1)" provider
	is "$how: nor by QUIC" "$(quic podC $GOVERNED4)" nothing
	at_least "$how: it was counted" "$(counted 14)" 3
	is "$how: other addresses pass" "$(ask podC $OTHER4 443 x)" "provider 192.0.2.10 $OTHER4 443 x"
	is "$how: a judged, ungoverned pod passes" "$(ask podA $GOVERNED4 443 x)" "provider 192.0.2.10 $GOVERNED4 443 x"
	is "$how: by IPv6 too" "$(ask podA $GOVERNED6 443 x | cut -d' ' -f1,3)" "provider $GOVERNED6"
	is "$how: and by QUIC" "$(quic podA $GOVERNED4)" arrived
	is "$how: the node's own processes pass" "$(from_node $GOVERNED4 443 x)" "provider 192.0.2.10 $GOVERNED4 443 x"
	dp_pod podC governed >/dev/null
	is "$how: attached and governed: captured" "$(ask podC $GOVERNED4 443 x)" "agent ::ffff:$(pod_ip podC) ::ffff:$GOVERNED4 443 x"
	is "$how: QUIC of a governed pod is refused" "$(quic podC $GOVERNED4)" nothing
	at_least "$how: and counted" "$(counted 9)" 1
	is "$how: QUIC to elsewhere is not" "$(quic podC $OTHER4)" arrived
	# Destinations that the node translates, as a Service's are whose endpoints are a provider's addresses.
	translate on
	held=$(counted 14)
	isnt "$how: a governed pod does not pass by a translated address" "$(ask podC $SERVICE4 443 x | cut -d' ' -f1)" provider
	isnt "$how: nor by IPv6" "$(ask podC $SERVICE6 443 x | cut -d' ' -f1)" provider
	at_least "$how: both are counted" "$(($(counted 14) - held))" 2
	is "$how: nor by QUIC" "$(quic podC $SERVICE4)" nothing
	is "$how: to elsewhere it may" "$(ask podC $SERVICE_OTHER4 443 x)" "provider 192.0.2.10 $OTHER4 443 x"
	is "$how: and a pod that is not governed may" "$(ask podA $SERVICE4 443 x)" "provider 192.0.2.10 $GOVERNED4 443 x"
	dp_pod podC governed $((1 << 6)) >/dev/null
	is "$how: under mode: shadow nothing is lost" "$(ask podC $SERVICE4 443 x)" "provider 192.0.2.10 $GOVERNED4 443 x"
	dp_pod podC governed >/dev/null
	translate off
	# One that was open before its address was governed has no SYN to lose.
	hold podC $LATER4
	is "$how: a connection to elsewhere is open" "$(held one)" answered
	dp resolved api.openai.com 600000 $LATER4 >/dev/null
	is "$how: it goes on when its address is governed" "$(held two)" answered
	release
	is "$how: a new one is captured" "$(ask podC $LATER4 443 x)" "agent ::ffff:$(pod_ip podC) ::ffff:$LATER4 443 x"
	dp stop >/dev/null; dp_quit; dp_clean
done

echo "# an uplink without MAC headers: where a frame has its type, its packets have a part of their source address"
cat > "$T_RUN/tun.py" <<'EOP'
# Holds a tun device; prints each packet's source and destination once.
import fcntl, ipaddress, os, struct, sys
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, 0x400454ca, struct.pack("16sH", sys.argv[1].encode(), 0x1001)) # TUNSETIFF: IFF_TUN | IFF_NO_PI
print("ready", flush=True)
seen = set()
while True:
    p = os.read(tun, 4096)
    at, size = (12, 4) if p[0] >> 4 == 4 else (8, 16)
    said = "%s to %s" % tuple(ipaddress.ip_address(p[at + i * size:at + (i + 1) * size]) for i in range(2))
    if said not in seen:
        seen.add(said)
        print(said, flush=True)
EOP
for addresses in "10.9.0.10 2001:db8:9::10" "8.0.0.10 2001:db8:86dd::10"; do
	read -r own4 own6 <<< "$addresses"
	spawn tun node python3 "$T_RUN/tun.py" tun9
	await 5 grep -q ready "$T_RUN/tun.log"
	node ip -batch - <<-EOB
		link set tun9 up
		address add $own4/24 dev tun9
		address add $own6/64 dev tun9 nodad
		route add $GOVERNED4/32 dev tun9
		route add $OTHER4/32 dev tun9
		route add $GOVERNED6/128 dev tun9
	EOB
	dp_names tun
	dp_start -u tun9
	dp open >/dev/null || fail "open" "$DP_ANSWER"
	dp_policy >/dev/null
	dp resolved api.openai.com 600000 $GOVERNED4 $GOVERNED6 >/dev/null
	dp attach >/dev/null; dp listen >/dev/null; dp beat on >/dev/null
	for to in $GOVERNED4 $GOVERNED6 $OTHER4; do DP_TIMEOUT=2 ask podC $to 443 x >/dev/null; done
	left() { await 1 grep -qxF "$1 to $2" "$T_RUN/tun.log" && echo left || echo stopped; }
	is "$own4: an unjudged pod does not pass" "$(left $own4 $GOVERNED4)" stopped
	is "$own6: nor by IPv6" "$(left $own6 $GOVERNED6)" stopped
	is "$own4: elsewhere it may" "$(left $own4 $OTHER4)" left
	dp stop >/dev/null; dp_quit; dp_clean
	kill "$SPAWNED"; t_await_exit "$SPAWNED"
done

echo "# guard_host: deny"
dp_names host
dp_start -u eth0 -D
has "without a cgroup of its own it is refused" "$(dp open)" "error: guard_host: deny needs to tell the agent from other processes"
dp_quit
unified=$(awk '$3 == "cgroup2" {print $2; exit}' /proc/mounts)
if [ -z "$unified" ] || ! mkdir "$unified/$T"; then
	skip "guard_host: deny" "no cgroup v2 is mounted where a cgroup can be made"
	checks_done
fi
T_BEFORE_DOWN+=(cgroup_clean)
cgroup_clean() { local p; for p in $(cat "$unified/$T/cgroup.procs" 2>/dev/null); do kill -KILL "$p"; done; sleep 0.2; rmdir "$unified/$T" 2>/dev/null; }
in_cgroup() { sh -c 'echo $$ > "$0/cgroup.procs"; exec "$@"' "$unified/$T" "$@"; }
real=$DP_DRIVER
printf '#!/bin/sh\necho $$ > "%s/cgroup.procs"\nexec "%s" "$@"\n' "$unified/$T" "$real" > "$T_RUN/driver"
chmod +x "$T_RUN/driver"
DP_DRIVER=$T_RUN/driver
dp_start -u eth0 -D -C
DP_DRIVER=$real
check "with one it opens" dp open
dp_policy >/dev/null; dp resolved api.openai.com 600000 $GOVERNED4 $GOVERNED6 >/dev/null
dp attach >/dev/null; dp listen >/dev/null; dp beat on >/dev/null
isnt "a node process is refused" "$(from_node $GOVERNED4 443 x | cut -d' ' -f1)" provider
at_least "and counted" "$(counted 15)" 1
is "elsewhere it may" "$(from_node $OTHER4 443 x)" "provider 192.0.2.10 $OTHER4 443 x"
is "the agent's own cgroup passes" "$(in_cgroup nsenter --net="/run/netns/$T_NODE" timeout 12 python3 "$PWD/datapath_ask.py" $GOVERNED4 443 x)" "provider 192.0.2.10 $GOVERNED4 443 x"
dp stop >/dev/null; dp_quit
checks_done
