#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The agent is no pod's deputy: DNS that is poisoned for the agent itself, and destinations that a pod chose, never make
# it call what only the node may reach. Services stand at all those places and write down who called.
set -u
cd "$(dirname "$0")" || exit 1
. ../lib/check.sh
. ../lib/topology.sh
. ../lib/egret.sh
egret_require

# `cave` is where addresses lie that the node has a route to and does not own itself, so that what refuses them is a rule
# about them and not one about the node's own.
topology_up egdep podA podT podC cave:routed
OPENAI=$(world_key openai api.openai.com)
world_up
API_SERVER=10.96.0.1 METADATA=169.254.169.254 METADATA6=fd00:ec2::254 NAT64=64:ff9b::a60:1 NAT64_METADATA=64:ff9b::a9fe:a9fe
LOCAL_NAT64=64:ff9b:1::a60:1
PUBLIC_RANGE=192.0.2.130 PUBLIC_RANGE6=2001:db8:77::1 # a cluster whose services have public addresses
CAVE=("$API_SERVER" "$METADATA" "$METADATA6" "$NAT64" "$NAT64_METADATA" "$LOCAL_NAT64" "$PUBLIC_RANGE" "$PUBLIC_RANGE6")
OWN=("$T_NODE_IP" "$T_NODE_IP6" "$T_POD_NET4.1" "${T_POD_NET6}:1" 127.0.0.1 ::1)
POD=("$(pod_ip podC)" "$(pod_ip6 podC)")
for address in "${CAVE[@]}"; do
	case $address in *:*) via=$(pod_ip6 cave) bits=128 ;; *) via=$(pod_ip cave) bits=32 ;; esac
	ip -n "$T-cave" address add "$address/$bits" dev lo
	node ip route add "$address/$bits" via "$via" dev "$(pod_link cave)" onlink
done
# The lists of who called tell pods and agent apart, so a pod's address must arrive as it is.
node nft "insert rule inet cni postrouting ip daddr { $API_SERVER, $METADATA } accept"
export CALLERS=$T_RUN/callers
: > "$CALLERS"
spawn call-cave nsenter --net="/run/netns/$T-cave" python3 "$T_ROOT/tests/lib/callers.py" "$CALLERS" 443 "${CAVE[@]}"
spawn call-podC nsenter --net="/run/netns/$T-podC" python3 "$T_ROOT/tests/lib/callers.py" "$CALLERS" 443 "${POD[@]}"
spawn call-node node python3 "$T_ROOT/tests/lib/callers.py" "$CALLERS" 443 "${OWN[@]}"
for who in cave podC node; do await 10 grep -q ready "$T_RUN/call-$who.log" || fail "$who listens" "$(cat "$T_RUN/call-$who.log")"; done

echo "# the node itself reaches every one of them, and is written down (or else the silence below would mean nothing)"
for address in "${CAVE[@]}" "${POD[@]}" "${OWN[@]}"; do
	node python3 -c 'import socket, sys; socket.create_connection((sys.argv[1], 443), timeout=3)' "$address" 2>/dev/null
	check "$address can be called from the node" await 3 grep -qF "$address " "$CALLERS"
done
: > "$CALLERS"

# One provider a target, each behind a name that DNS had poisoned before the agent began. A model leads to each.
egret_prepare policies/attacks
TARGETS=("${CAVE[@]}" "${POD[@]}" "${OWN[@]}" "::ffff:$API_SERVER" ::ffff:127.0.0.1 ::10.96.0.1 ::ffff:0:10.96.0.1 2002:a60:1::1)
i=0
for address in "${TARGETS[@]}"; do
	i=$((i + 1))
	case $address in
	*:*) dns_set "t$i.poisoned.example" "{\"a\":[],\"aaaa\":[\"$address\"],\"ttl\":60}" ;;
	*) dns_set "t$i.poisoned.example" "{\"a\":[\"$address\"],\"aaaa\":[],\"ttl\":60}" ;;
	esac
done
# And one whose first address only is poisoned: the next one is dialled, the first never.
dns_set half.poisoned.example "{\"a\":[\"$API_SERVER\",\"198.51.100.10\"],\"aaaa\":[\"$METADATA6\"],\"ttl\":60}"
# The name that pods use is poisoned, too, for a start.
dns_set api.openai.com "{\"a\":[\"$API_SERVER\"],\"aaaa\":[\"$NAT64\"],\"ttl\":5}"
cidr_of() { case $1 in *:*) echo "$1/128" ;; *) echo "$1/32" ;; esac; }
# What a pod may choose as a destination. A policy's CIDR brings it to the agent, which then must not pass it on. No policy may name
# link-local ones, and none are captured.
mapfile -t CHOSEN < <(printf '%s\n' "${CAVE[@]}" "${POD[@]}" "${OWN[@]:0:4}" | grep -vxF "$METADATA")
for address in "${CHOSEN[@]}"; do [ "$address" = "$T_POD_NET4.1" ] || cidr_of "$address"; done | jq -R . | jq -s . > "$T_RUN/cidrs"
jq --argjson n ${#TARGETS[@]} --slurpfile cidrs "$T_RUN/cidrs" '
	([range(1; $n + 1) | "t\(.)"] + ["half", "late"]) as $all
	| reduce $all[] as $t (.; .providers[$t] = {kind: "openai", endpoint: "https://\($t).poisoned.example/v1", credential: "openai"})
	| .policies[0].routes |= ([$all[] as $t | {name: $t, match: {hosts: ["api.openai.com"], models: [$t]}, targets: [{provider: $t}]}] + .)
	| .destinations = [$cidrs[0][] | {cidr: .}]' "$E_DIR/policy/policy.json" > "$T_RUN/next.json" && mv "$T_RUN/next.json" "$E_DIR/policy/policy.json"
pod_register "$E_DIR/pods" podA shop '{}'
pod_register "$E_DIR/pods" podT all '{}'
# The node's own addresses are not named here: the agent must know them.
E_FORBID=10.96.0.0/12,$T_POD_NET4.0/24,${T_POD_NET6}:/64,192.0.2.128/25,2001:db8:77::/64
# Nor need they be few: kube-ipvs0 has an address for each service, and they come before those of IPv6.
ip -n "$T_NODE" link add many type bridge
for i in $(seq 300); do echo "address add 10.200.$((i / 250)).$((i % 250 + 1))/32 dev many"; done | ip -n "$T_NODE" -batch - || t_die "cannot add addresses"
egret_up

attack() { # POD COMMAND...
	local pod=$1; shift
	pod "$pod" env ROOTS="$T_RUN/pod-roots.crt" /usr/bin/python3 "$T_ROOT/tests/lib/attacker.py" "$@" | tail -n 1
}
of() { jq -r "$2 // \"\"" <<<"$1"; }
ask() { # MODEL [ADDRESS]: podA asks api.openai.com, at its governed address, for a model
	pod_curl podA -o "$T_RUN/answer" -D "$T_RUN/head" -w '%{http_code}' --resolve "api.openai.com:443:${2:-198.51.100.10}" \
		-H 'authorization: Bearer placeholder' -H 'content-type: application/json' \
		-d "{\"model\":\"$1\",\"messages\":[]}" https://api.openai.com/v1/chat/completions
}
reason() { sed -n 's/^x-egret-reason: *\([a-z_]*\).*/\1/ip' "$T_RUN/head"; }
quiet() { is "$1: nobody was called" "$(sort -u "$CALLERS" | tr '\n' ';')" ""; : > "$CALLERS"; }

echo "# the name of the provider is poisoned before the agent starts: the agent resolves it, and does not dial"
for address in 198.51.100.10 '[2001:db8:100::10]'; do # not known as governed: the first ClientHello teaches it and is reset
	ask gpt-4o "$address" >/dev/null 2>&1
done
is "api.openai.com at $API_SERVER and $NAT64: status" "$(ask gpt-4o)" 403
is "api.openai.com at $API_SERVER and $NAT64: reason" "$(reason)" forbidden_destination
is "over IPv6 as well" "$(ask gpt-4o '[2001:db8:100::10]') $(reason)" "403 forbidden_destination"
quiet "api.openai.com"

i=0
for address in "${TARGETS[@]}"; do
	i=$((i + 1))
	is "a provider whose name is poisoned with $address" "$(ask t$i) $(reason)" "403 forbidden_destination"
	quiet "$address"
done
is "nothing of it reached a provider" "$(mock_requests)" 0
is "half poisoned: no address but the honest one is dialled" "$(ask half)" 502
quiet "half poisoned"

echo "# through the gateway address, without TLS"
for address in 169.254.77.1 '[fd00:77::1]'; do
	code=$(pod_curl podA -o /dev/null -D "$T_RUN/head" -w '%{http_code}' -H 'authorization: Bearer placeholder' -H 'content-type: application/json' \
		-d '{"model":"t1","messages":[]}' "http://$address/v1/chat/completions")
	is "$address: a poisoned provider" "$code $(reason)" "403 forbidden_destination"
done
quiet "the gateway address"

echo "# destinations that a pod chose, under a name that nobody governs"
mock_forget
for pod in podA podT; do
	for address in "${CHOSEN[@]}"; do
		[ "$address" = "$T_POD_NET4.1" ] && continue
		before=$(wc -l < "$E_DIR/access.jsonl")
		r=$(attack $pod tls-request other.example other.example GET / "$address")
		isnt "$pod at $address: no answer" "$(of "$r" .status)" 200
		await 5 test "$(wc -l < "$E_DIR/access.jsonl")" -gt "$before"
		is "$pod at $address: reason" "$(tail -n +$((before + 1)) "$E_DIR/access.jsonl" | jq -r .reason | tail -n 1)" forbidden_destination
		quiet "$pod at $address"
	done
done
is "nothing of it reached a provider" "$(mock_requests)" 0

echo "# the honest way, afterwards"
dns_clear
sleep 6 # what was poisoned has a TTL of 5 s, and each worker looked it up at a time of its own
served() { for _ in 1 2 3 4; do [ "$(ask gpt-4o)" = 200 ] || return 1; done; }
await 20 served
is "with honest DNS it is served again" "$(ask gpt-4o)" 200
is "with the real key" "$(mock_last .credentials.authorization)" "Bearer $OPENAI"

echo "# an address that the node has since a moment ago"
LATE=198.51.100.99
node ip address add "$LATE/32" dev lo
spawn call-late node python3 "$T_ROOT/tests/lib/callers.py" "$CALLERS" 443 "$LATE"
await 10 grep -q ready "$T_RUN/call-late.log" || fail "late listens" "$(cat "$T_RUN/call-late.log")"
dns_set late.poisoned.example "{\"a\":[\"$LATE\"],\"aaaa\":[],\"ttl\":5}"
GATEWAY=$(ctl status --json | jq .gateway.pid) SEEN=$(egret_generation)
kill -HUP "$E_PID" # or within 10 s
check "it is seen" await 20 egret_newer "$SEEN"
: > "$CALLERS"
is "a provider whose name is poisoned with it" "$(ask late) $(reason)" "403 forbidden_destination"
quiet "$LATE"
is "by the gateway that was there before" "$(ctl status --json | jq .gateway.pid)" "$GATEWAY"
node ip address del "$LATE/32" dev lo
SEEN=$(egret_generation)
kill -HUP "$E_PID"
check "that it is gone is seen, too" await 20 egret_newer "$SEEN"
isnt "then it is an address like others" "$(ask late) $(reason)" "403 forbidden_destination"
checks_done
