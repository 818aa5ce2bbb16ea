#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What egretctl doctor sees in pods' own namespaces: the way to the gateway's address, and a real connection to it.
set -u
cd "$(dirname "$0")" || exit 1
. ./agent_lib.sh
agent_prepare egdoc
pod_register "$E_DIR/pods" podB shop '{"app":"assistant"}'
doctor() { ctl doctor --json "$@" > "$T_RUN/doctor.json"; }
said() { jq -r --arg c "$1" '.checks[] | select(.check == $c) | "\(.result) \(.text)"' "$T_RUN/doctor.json"; }
connections() { jq -r '.checks[] | select(.check | startswith("connection")) | "\(.check) \(.result)"' "$T_RUN/doctor.json" | paste -sd,; }
routes() { jq -r '.checks[] | select(.check | startswith("gateway route")) | "\(.check) \(.result)"' "$T_RUN/doctor.json" | paste -sd,; }
BOTH_OK="connection IPv4 ok,connection IPv6 ok" ROUTES_OK="gateway route IPv4 ok,gateway route IPv6 ok"
doctors() { egret_records '.user_agent != null and (.user_agent | startswith("egretctl-doctor/"))' | jq -r "$1"; }
sockets() { pod podA ss -Htan | wc -l; }

for mode in netns mark; do
	echo "# $mode mode: all is well"
	E_MODE=$mode egret_up --workers 1
	mock_forget; : > "$E_DIR/access.jsonl"
	FLOWS=$(ctl flows --json | jq '.flows | length')
	check "doctor finds nothing broken" ctl doctor
	doctor
	is "both families reach Egret, and all pods have the routes" "$(connections) $(routes)" "$BOTH_OK $ROUTES_OK"
	like='ok from shop/pod[AB] to 169\.254\.77\.1, port 80: redirected to Egret, which answered in [0-9]+ ms'
	check "the sentence (IPv4)" grep -qxE "$like" <<< "$(said "connection IPv4")"
	check "the sentence (IPv6)" grep -qxE "${like/169*1,/fd00:77::1,}" <<< "$(said "connection IPv6")"
	is "routes: how many pods were asked" "$(said "gateway route IPv4")" "ok of 2 governed pods, all have a route to 169.254.77.1 by a router"
	await 10 sh -c "[ \"\$(wc -l < '$E_DIR/access.jsonl')\" -ge 4 ]"
	is "on record as what it was: twice two requests" "$(doctors '[.[] | "\(.reason) \(.status) \(.user_agent)"] | group_by(.) | map("\(length) \(.[0])") | join(",")')" \
		"4 no_placeholder 401 egretctl-doctor/$("$EGRETCTL" --version | cut -d' ' -f2)"
	is "no provider was asked" "$(mock_requests)" 0
	at_least "the programs had them" "$(ctl flows --json | jq '.flows | length')" $((FLOWS + 4))
	doctor --pod shop/podB
	has "--pod chooses" "$(said "connection IPv4")" "ok from shop/podB to"
	is "no socket is left in the pods" "$(sockets) $(pod podB ss -Htan | wc -l)" "0 0"
	stop
	[ "$mode" = mark ] || egret_down
done

link_of() { node ip -j link show dev "$(pod_link "$1")" | jq '.[0].ifindex'; }
E_MODE=netns egret_up --workers 1

echo "# routes"
pod podB ip route del default
doctor
has "no default route: a warning with the cost" "$(said "gateway route IPv4")" "warning 1 of 2 governed pods can't reach the gateway's address 169.254.77.1 (first: shop/podB: no route leads there: Network is unreachable): base URLs with that address fail there; give the pod a default route"
is "the other family, and the pod that has one, are fine" "$(said "gateway route IPv6" | cut -d' ' -f1) $(connections) $(jq .broken "$T_RUN/doctor.json")" "ok $BOTH_OK 0"
has "a pod with a way is chosen" "$(said "connection IPv4")" "from shop/podA"
doctor --pod shop/podB
has "no blame on the redirect where there is no route" "$(said "connection IPv4")" "warning not tested: shop/podB can't reach 169.254.77.1 (Network is unreachable); see \`gateway route IPv4\`"
has "IPv6 goes" "$(said "connection IPv6")" "ok from shop/podB to fd00:77::1"
pod podB ip route add 169.254.77.1 via 10.244.7.1
doctor --pod shop/podB
is "a route for that address alone will do" "$(connections) $(routes)" "$BOTH_OK $ROUTES_OK"
pod podB ip route del 169.254.77.1; pod podB ip route add default via 10.244.7.1
pod podB ip route add unreachable 169.254.0.0/16
doctor; has "a route that refuses" "$(said "gateway route IPv4")" "warning 1 of 2 governed pods can't reach the gateway's address 169.254.77.1 (first: shop/podB: no route leads there: No route to host)"
pod podB ip route del unreachable 169.254.0.0/16
pod podB ip address add 169.254.9.9/16 dev eth0
doctor --pod shop/podB
has "on-link 169.254.0.0/16" "$(said "gateway route IPv4")" "warning 1 of 2 governed pods can't reach the gateway's address 169.254.77.1 (first: shop/podB: it is on-link on eth0, by a route of /16: no router is asked): base URLs with that address fail there; take that route or address out of the pod, or give the agent another address (--gateway4)"
has "and it can't be reached" "$(said "connection IPv4")" "warning not tested: shop/podB can't reach 169.254.77.1 (No route to host)"
pod podB ip address del 169.254.9.9/16 dev eth0
pod podB ip link add $'x\e[1m\xff' type veth peer name other; pod podB ip link set other up; pod podB ip link set $'x\e[1m\xff' up
pod podB ip route add 169.254.0.0/16 dev $'x\e[1m\xff'
doctor; has "a link with a name that acts on terminals, and is no UTF-8" "$(said "gateway route IPv4")" "it is on-link on x?[1m?, by a route of /16"
pod podB ip link del $'x\e[1m\xff'
pod podB ip route add 169.254.0.0/16 via 10.244.7.1
doctor; is "169.254.0.0/16 by a router is fine" "$(connections) $(routes)" "$BOTH_OK $ROUTES_OK"
pod podB ip route del 169.254.0.0/16
pod podB ip -6 route add fd00:77::/64 dev eth0
doctor; has "IPv6, on-link" "$(said "gateway route IPv6")" "warning 1 of 2 governed pods can't reach the gateway's address fd00:77::1 (first: shop/podB: it is on-link on eth0, by a route of /64"
is "IPv4 is fine" "$(said "gateway route IPv4" | cut -d' ' -f1)" ok
pod podB ip -6 route del fd00:77::/64
pod podB ip -6 route del default
doctor; has "IPv6, no default route" "$(said "gateway route IPv6")" "shop/podB: no route leads there"
pod podB ip -6 route add default via fd00:10:244:7::1
pod podB ip address add 169.254.77.1/32 dev lo
doctor; has "the pod has the address itself" "$(said "gateway route IPv4")" "shop/podB: it is an address of the pod itself"
pod podB ip address del 169.254.77.1/32 dev lo
doctor --pod shop/podB; is "(all is as it was)" "$(connections) $(routes)" "$BOTH_OK $ROUTES_OK"

echo "# answers of somebody else, inside the pod"
cat > "$T_RUN/other.py" <<'EOP'
import socket, struct, sys, threading, time
how = sys.argv[1]
def serve(c):
    if how != "silent":
        c.recv(4096)
    if how == "http":
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
    elif how == "pretender":
        c.sendall(b"HTTP/1.1 401 no\r\nx-egret-reason: \x1b[31mmine\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    elif how == "bytes":
        c.sendall(b"SSH-2.0-x\r\n\r\n" * 2000)
    elif how in ("silent", "drip"):
        while True:
            time.sleep(0.2)
            if how == "drip":
                c.sendall(b"H")
    elif how == "reset":
        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    c.close()
def quiet(c):
    try:
        serve(c)
    except OSError:
        pass
l = socket.create_server(("::", 8080), family=socket.AF_INET6, dualstack_ipv6=True)
while True:
    threading.Thread(target=quiet, args=(l.accept()[0],), daemon=True).start()
EOP
pod podB nft -f - <<'EOF'
table inet other {
	chain output {
		type nat hook output priority -100
		ip daddr 169.254.77.1 tcp dport 80 redirect to :8080
		ip6 daddr fd00:77::1 tcp dport 80 redirect to :8080
	}
}
EOF
listens() { pod podB ss -Hltn 'sport = :8080' | grep -q .; }
for how in http pretender bytes closes reset silent drip nobody; do
	if [ "$how" != nobody ]; then
		spawn other nsenter --net="/run/netns/$T-podB" python3 "$T_RUN/other.py" "$how"; OTHER=$SPAWNED
		await 10 listens
	fi
	node timeout 60 "$EGRETCTL" doctor --json --run-dir "$E_DIR/run" --pod shop/podB > "$T_RUN/doctor.json"
	is "$how: doctor ends by itself, and says that something is broken" "$?" 1
	case $how in
	http) seen="somebody else answered, with HTTP and without x-egret-reason" ;;
	pretender | bytes | drip) seen="somebody else answered, and not with HTTP" ;;
	closes) seen="it was taken and closed without an answer" ;;
	reset) seen="it was taken and then reset" ;;
	silent) seen="it was taken, and no answer came" ;;
	nobody) seen="it was reset at once" ;;
	esac
	has "$how: IPv4" "$(said "connection IPv4")" "broken from shop/podB to 169.254.77.1, port 80: $seen (after "
	has "$how: IPv6" "$(said "connection IPv6")" "broken from shop/podB to fd00:77::1, port 80: $seen (after "
	has "$how: what to look at" "$(said "connection IPv4")" "the program on the pod's link did not redirect it: see"
	is "$how: the routes are not to blame" "$(routes)" "$ROUTES_OK"
	[ "$how" = nobody ] || { kill "$OTHER"; t_await_exit "$OTHER"; }
done
pod podB nft delete table inet other

echo "# the redirect is broken"
PIN=$E_PIN/links/egress_tc-$(link_of podB)
rm "$PIN" && mkdir "$PIN"
doctor --pod shop/podB
has "no program on the link" "$(said "connection IPv4")" "broken from shop/podB to 169.254.77.1, port 80: no answer came to its SYN: the packets are dropped on the way (after "
has "what it costs, and what to look at" "$(said "connection IPv6")" "what the pod sends to providers fares alike; the program on the pod's link did not redirect it: see \`heartbeat\`, \`listeners\` and \`links\`"
doctor; is "the other pod's is whole" "$(connections)" "$BOTH_OK"
rmdir "$PIN"
redirected() { doctor --pod shop/podB; [ "$(connections)" = "$BOTH_OK" ]; }
check "put back: fine" await 30 redirected
agent_ns() { nsenter --net="/run/netns/$T-agent" "$@"; }
agent_ns nft -f - <<'EOF'
table inet cut {
	chain input {
		type filter hook input priority 0; policy drop
	}
}
EOF
doctor
has "redirected, and lost behind it" "$(said "connection IPv4")" "the program redirected it, and it did not come to the agent and back: see \`agent\`, \`agent link\` and \`listeners\`"
is "both families" "$(connections)" "connection IPv4 broken,connection IPv6 broken"
agent_ns nft delete table inet cut
check "fine again" await 10 redirected
check "(the listener's slot is emptied)" bpftool map delete pinned "$E_PIN/listeners" key 0 0 0 0
doctor
is "no listener: broken" "$(said listeners | cut -d';' -f1), $(connections)" "broken 0 are open, connection IPv4 broken,connection IPv6 broken"
has "with what to look at" "$(said "connection IPv4")" "did not redirect it: see \`heartbeat\`, \`listeners\`"
stop

echo "# what can't be tested is said"
egret_up --workers 1
not_tested() { has "$1" "$(said connection)" "$2"; is "$1: nothing else is claimed" "$(connections)" "connection ${2%% *}"; }
doctor --pod shop/none; not_tested "a pod that nobody knows" "broken not tested: the agent knows no pod shop/none; \`egretctl pods\` lists them"
pod_register "$E_DIR/pods" podA other '{}'
other_known() { ctl pods --json | jq -e '[.pods[] | select(.namespace == "other" and .state == "ungoverned")] | length == 1'; }
rm "$E_DIR/pods/shop-podA.json"
await 10 other_known
doctor --pod other/podA; not_tested "a pod that no policy selects" "broken not tested: other/podA is ungoverned, and only what governed pods send is redirected"
doctor; is "it is not asked for its routes, and not chosen" "$(said "gateway route IPv4") $(said "connection IPv4" | cut -d' ' -f1-3)" "ok of 1 governed pods, all have a route to 169.254.77.1 by a router ok from shop/podB"
for wrong in podB shop/podB/x ""; do
	ctl doctor --pod "$wrong" > "$T_RUN/out" 2>&1; is "--pod '$wrong' is refused" "$? $(grep -c "expected NAMESPACE/NAME" "$T_RUN/out")" "2 1"
done
without() { node capsh "--drop=$1" -- -c 'exec "$0" "$@"' "$EGRETCTL" doctor --json --run-dir "$E_DIR/run" "${@:2}" > "$T_RUN/doctor.json"; }
without cap_sys_admin; not_tested "without CAP_SYS_ADMIN" "warning not tested: shop/podB could not be entered: its namespace can't be entered: CAP_SYS_ADMIN is missing"
has "nor were routes" "$(said "gateway route")" "warning not tested in 1 of 1 governed pods (first: shop/podB: its namespace"
# Nobody's mount and nobody's process; then a process alone.
hidden() { node unshare -m sh -c 'mount --make-rprivate / && umount "$0" && exec "$@"' "/run/netns/$T-podB" "$EGRETCTL" doctor --json --run-dir "$E_DIR/run" > "$T_RUN/doctor.json"; }
is "(nothing lives in the pod)" "$(ip netns pids "$T-podB")" ""
hidden; has "a namespace that can't be seen" "$(said connection)" "warning not tested: shop/podB could not be entered: no process and no mount that is seen here has the namespace behind its link veth-podB"
spawn sleeper nsenter --net="/run/netns/$T-podB" sleep 300; SLEEPER=$SPAWNED
await 10 sh -c "[ -n \"\$(ip netns pids $T-podB)\" ]"
hidden; is "found by a process that lives there" "$(connections)" "$BOTH_OK"
kill "$SLEEPER"; t_await_exit "$SLEEPER"
jq '.ips = ["10.244.7.99"]' "$E_DIR/pods/shop-podB.json" > "$T_RUN/next.json"; mv "$T_RUN/next.json" "$E_DIR/pods/shop-podB.json"
elsewhere() { doctor; [ "$(said "connection IPv4" | cut -c1-34)" = "warning not tested: what is behind" ]; }
check "a namespace without the pod's address is not taken for the pod's" await 10 elsewhere
pod_register "$E_DIR/pods" podB shop '{"app":"assistant"}'
check "(as it was)" await 10 redirected
stop
doctor; is "no agent" "$(said connection)" "warning not tested: no agent says which pods are governed; start egretd"
egret_up --workers 1 --gateway6 none
doctor; is "one family alone has a gateway address: the other is not spoken of" "$(connections) $(routes)" "connection IPv4 ok gateway route IPv4 ok"
stop
egret_up --workers 1 --gateway4 none --gateway6 none
doctor; not_tested "no gateway address" "warning not tested: the agent has no gateway address (--gateway4, --gateway6)"
stop
egret_up --workers 1 --gateway4 169.254.78.9
doctor; has "another address" "$(said "connection IPv4")" "ok from shop/podB to 169.254.78.9, port 80"
rm "$E_DIR/pods/shop-podB.json"
ungoverned() { doctor; [ "$(said connection)" = "warning not tested: no pod of this node is governed" ]; }
check "no governed pod" await 10 ungoverned
stop

echo "# policies that only watch: the gateway's address is captured all the same, and what is sent there refused"
pod_register "$E_DIR/pods" podB shop '{"app":"assistant"}'
for shadow in sni full; do
	jq --arg s $shadow '.policies[0] += {"mode": "shadow", "shadow": $s}' policies/agent/10-all.json > "$E_DIR/policy/10-all.json"
	egret_up --workers 1
	mock_forget
	doctor; is "shadow: $shadow" "$(connections) $(mock_requests)" "$BOTH_OK 0"
	stop
done
cp policies/agent/10-all.json "$E_DIR/policy/"

echo "# mark mode: the node's own filter is in the way"
E_MODE=mark egret_up --workers 1
node nft -f - <<'EOF'
table inet cut {
	chain input {
		type filter hook input priority 0; policy accept
		iifname "cni0" tcp dport 80 drop
	}
}
EOF
doctor
is "both families" "$(connections)" "connection IPv4 broken,connection IPv6 broken"
has "what to look at" "$(said "connection IPv4")" "and whether an INPUT chain of the node that drops accepts the mark"
node nft delete table inet cut
check "fine again" await 10 redirected
hasnt "no report of a sanitizer" "$(log)" "Sanitizer"
checks_done
