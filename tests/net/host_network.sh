#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# egretd --host-network-pods deny: pods in the node's own network, by real cgroups that are named as the kubelet names them, with real processes
# in them. Those that policy selects are refused what is governed, by every way that a socket has, and by nobody but the kernel; the others are not.
set -u
cd "$(dirname "$0")" || exit 1
. ./handover_lib.sh
unified=$(awk '$3 == "cgroup2" {print $2; exit}' /proc/mounts)
topology_up eghost podA
OPENAI=$(world_key openai api.openai.com)
world_up
egret_prepare policies/kubernetes
. ./kubernetes_lib.sh

ROOT=$unified/$T
if [ -z "$unified" ] || ! mkdir "$ROOT" 2> /dev/null; then
	skip_all "no cgroup v2 is mounted where a cgroup can be made"
fi
cgroups_clean() {
	local dir pid
	find "$ROOT" -name cgroup.procs 2> /dev/null | while read -r dir; do while read -r pid; do [ "$pid" = 0 ] || kill -KILL "$pid"; done < "$dir"; done
	sleep 0.2
	find "$ROOT" -depth -type d -exec rmdir {} \; 2> /dev/null
}
T_BEFORE_DOWN+=(cgroups_clean)

GOVERNED4=$(jq -r '.hosts["api.openai.com"].addresses[0]' "$T_WORLD") GOVERNED6=$(jq -r '.hosts["api.openai.com"].addresses[1]' "$T_WORLD")
OTHER4=$(jq -r '[.hosts | to_entries[] | select(.value.dialect == "site")][0].value.addresses[0]' "$T_WORLD")
# The uid as the API has it, and the three classes by both drivers, and kind's.
U1=11111111-aaaa-4bbb-8ccc-000000000001 U2=11111111-aaaa-4bbb-8ccc-000000000002 U3=11111111-aaaa-4bbb-8ccc-000000000003
U4=11111111-aaaa-4bbb-8ccc-000000000004 U5=11111111-aaaa-4bbb-8ccc-000000000005 U6=11111111-aaaa-4bbb-8ccc-000000000006
HASH=0123456789abcdef0123456789abcdef
C1=kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${U1//-/_}.slice
C2=kubepods.slice/kubepods-pod${U2//-/_}.slice
C3=kubepods/besteffort/pod$U3
C4=kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod${U4//-/_}.slice
C5=kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${U5//-/_}.slice
C6=kubepods/pod$U6
CS=kubepods/burstable/pod$HASH
# from CGROUP HOW ADDRESS PORT: of a container in that pod
from() {
	local cgroup=$ROOT/$1/container; shift
	sh -c 'echo $$ > "$0/cgroup.procs" || exit 1; exec "$@"' "$cgroup" nsenter --net="/run/netns/$T_NODE" timeout 12 python3 "$PWD/host_network_ask.py" "$@"
}
make_cgroup() { mkdir -p "$ROOT/$1/container"; }
host_pod() { api_pod "$1" "$2" "${4:-shop}" "${3:-{\"app\":\"assistant\"\}}" '{"hostNetwork":true}'; }
guard_of() { ctl pods --json | jq -r --arg n "$1" '.out_of_reach[] | select(.name == $n) | .guard'; }
is_guard() { [ "$(guard_of "$1")" = "$2" ]; }
guarded() { check "$1" await 15 is_guard "$2" guarded; }
is_from() { [ "$(from "${@:2}")" = "$1" ]; }
comes() { check "$1" await 15 is_from "$2" "${@:3}"; }
pins() { find "$E_PIN/cgroups" -type f 2> /dev/null | wc -l; }

api_up
api_namespace shop '{"egret":"governed"}'
api_namespace other '{}'
for n in 1 2 3 4; do c=C$n; make_cgroup "${!c}"; done
is "before: reached" "$(from "$C1" tcp "$GOVERNED4" 443)" through
for n in 1 2 3; do u=U$n; host_pod "host-$n" "${!u}"; done
host_pod host-4 $U4 '{"app":"batch"}'

echo "# pass, which is the default"
kube_up
check "listed as out of reach" await 10 is_guard host-1 off
is "and reached" "$(from "$C1" tcp "$GOVERNED4" 443)" through
is "nothing is made for it" "$(find "$E_PIN" -name cgroups -o -name 'host_*')" ""
stop

echo "# deny"
kube_up --host-network-pods deny --cgroup-root "$ROOT"
guarded "a Burstable pod of the systemd driver" host-1
guarded "a Guaranteed one" host-2
guarded "a BestEffort one of cgroupfs" host-3
comes "the name is resolved: TCP is refused" EPERM "$C1" tcp "$GOVERNED4" 443
is "the second" "$(from "$C2" tcp "$GOVERNED4" 443)" EPERM
is "the third" "$(from "$C3" tcp "$GOVERNED4" 443)" EPERM
for to in "$GOVERNED4" "$GOVERNED6" "::ffff:$GOVERNED4"; do
	is "TCP 443 to $to" "$(from "$C1" tcp "$to" 443)" EPERM
	is "TCP 80 to $to" "$(from "$C1" tcp "$to" 80)" EPERM
	is "another TCP port to $to" "$(from "$C1" tcp "$to" 8443)" EPERM
	is "TCP fast open to $to" "$(from "$C1" fastopen "$to" 443)" EPERM
	is "QUIC, connected, to $to" "$(from "$C1" udp "$to" 443)" EPERM
	is "QUIC, sendto, to $to" "$(from "$C1" sendto "$to" 443)" EPERM
	is "QUIC, sendmsg, to $to" "$(from "$C1" sendmsg "$to" 443)" EPERM
done
is "another UDP port" "$(from "$C1" sendto "$GOVERNED4" 53)" EPERM
mptcp=$(node python3 host_network_ask.py mptcp "$GOVERNED4" 443)
if [ "$mptcp" = through ]; then
	is "MPTCP" "$(from "$C1" mptcp "$GOVERNED4" 443)" EPERM
else
	skip "MPTCP" "this kernel has none ($mptcp)"
fi
is "what is not governed: TCP" "$(from "$C1" tcp "$OTHER4" 443)" through
is "UDP" "$(from "$C1" sendto "$OTHER4" 443)" through
is "who is not selected by policy: TCP" "$(from "$C4" tcp "$GOVERNED4" 443)" through
is "UDP" "$(from "$C4" sendto "$GOVERNED6" 443)" through
is "a process of the node" "$(node python3 host_network_ask.py tcp "$GOVERNED4" 443)" through

echo "# who is told"
has "egretctl pods" "$(ctl pods | grep shop/host-1)" "REFUSED"
has "status" "$(ctl status)" "3 pods in the node's own network are refused governed destinations"
is "metric" "$(metric egret_host_pods_guarded) $(metric egret_pods_out_of_reach)" "3 0"
has "doctor" "$(doctor "host network guard")" "ok 3 pods"
at_least "packets by hook and reason" "$(metric 'egret_datapath_packets_total{hook="host",reason="host_network"}')" 3
at_least "QUIC has its own" "$(metric 'egret_datapath_packets_total{hook="host",reason="quic_refused"}')" 3
flow() { node "$EGRETCTL" flows --pin-dir "$E_PIN" "$@"; }
has "egretctl flows" "$(flow --json | jq -c '[.. | objects | select(.pod? == "shop/host-1" and .destination? == "'"$GOVERNED4"'" and .destination_port? == 443 and .protocol? == "tcp") | [.action, .reason]]')" '["drop","host_network"]'
has "its counters" "$(flow --counters --pod shop/host-1)" "host_network"
event_seen() { [ "$(node curl -sS --max-time 5 "http://127.0.0.1:$API_CONTROL/_test/state" | jq '[.events[] | select(.reason == "PolicyDenied" and .regarding.uid == "'$U1'" and (.note | test("api.openai.com are refused: host_network")))] | length')" -ge 1 ]; }
check "a Kubernetes Event at the pod" await 20 event_seen

echo "# pods and cgroups come and go"
host_pod host-5 $U5
check "known before it has a cgroup" await 10 is_guard host-5 no_cgroup
has "and said" "$(ctl pods | grep host-5)" "it has no cgroup here"
make_cgroup "$C5"
guarded "its cgroup comes" host-5
is "refused" "$(from "$C5" tcp "$GOVERNED6" 443)" EPERM
# How long a pod that is known is without its guard, when its cgroup comes: the sweep alone would take up to a second.
python3 - "$ROOT/$C5" "$E_PIN/cgroups" > "$T_RUN/gaps" <<'EOP'
import os, sys, time
cgroup, pins = sys.argv[1:3]
gaps = []
for n in range(7):
    for d in ("/container", ""):
        if os.path.isdir(cgroup + d):
            os.rmdir(cgroup + d)
    end = time.monotonic() + 10
    while len(os.listdir(pins)) > 12 and time.monotonic() < end:
        time.sleep(0.01)
    begin = time.monotonic()
    os.mkdir(cgroup)
    while len(os.listdir(pins)) < 16 and time.monotonic() < begin + 10:
        time.sleep(0.0005)
    gaps.append(round((time.monotonic() - begin) * 1000))
print(*sorted(gaps))
EOP
echo "# attached so many ms after the cgroup, seven times: $(cat "$T_RUN/gaps")"
check "attached as soon as the cgroup is there, mostly" test "$(cut -d' ' -f4 "$T_RUN/gaps")" -lt 200
make_cgroup "$C5"
make_cgroup "$C6"
host_pod host-6 $U6
guarded "a cgroup that was there before, without a class" host-6
is "refused" "$(from "$C6" tcp "$GOVERNED4" 443)" EPERM
before=$(pins)
rmdir "$ROOT/$C5/container" "$ROOT/$C5"
check "a cgroup goes" await 10 is_guard host-5 no_cgroup
less() { [ "$(pins)" = $((before - 4)) ]; }
check "with its pins" await 10 less
make_cgroup "$C5"
guarded "it comes again: a restart" host-5
is "refused" "$(from "$C5" tcp "$GOVERNED4" 443)" EPERM
api delete "{\"resource\":\"pods\",\"key\":\"$U6\"}"
comes "the API deletes a pod: its processes are nobody's" through "$C6" tcp "$GOVERNED4" 443
host_pod host-3 $U3 '{"app":"batch"}'
comes "another label, which policy does not select" through "$C3" tcp "$GOVERNED4" 443
host_pod host-4 $U4
comes "and one that it does, below kubelet.slice" EPERM "$C4" tcp "$GOVERNED4" 443
host_pod host-4 $U4 '{"app":"assistant"}' unheard-of
# It was refused before, too: only the reason tells that the API's word has come.
held_now() {
	[ "$(from "$C4" tcp "$GOVERNED4" 443)" = EPERM ] &&
		flow --counters --json --pod unheard-of/host-4 | jq -e '[.. | objects | select(.hook? == "host") | .reason] | index("unknown_pod")' > /dev/null
}
check "of a namespace that the API has not told of, so that policy may select it: as one that is held, and for that reason" await 15 held_now
is "refused" "$(from "$C4" tcp "$GOVERNED4" 443)" EPERM
make_cgroup "$CS"
api pods "$(jq -n --arg of $HASH '{metadata: {name: "etcd-node-1", uid: "u-mirror", namespace: "shop", labels: {app: "assistant"}, annotations: {"kubernetes.io/config.mirror": $of}}, spec: {hostNetwork: true}}')"
guarded "a static pod, by the uid that its mirror has of it" etcd-node-1
is "refused" "$(from "$CS" tcp "$GOVERNED4" 443)" EPERM
api pods "$(jq -n --arg of $HASH '{metadata: {name: "a-lie", uid: "u-a", namespace: "other", labels: {}, annotations: {"kubernetes.io/config.mirror": $of}}, spec: {hostNetwork: true}}')"
is "a false mirror does not free it" "$(sleep 2; from "$CS" tcp "$GOVERNED4" 443)" EPERM

echo "# what policy says"
policy_is() { jq "$1" policies/kubernetes/10-labels.json > "$T_RUN/policy.new" && mv "$T_RUN/policy.new" "$E_DIR/policy/10-labels.json"; }
policy_is '.policies[0].mode = "shadow"'
comes "shadow: nothing is lost" through "$C1" tcp "$GOVERNED4" 443
is "nor by UDP" "$(from "$C1" sendto "$GOVERNED4" 443)" through
policy_is '.policies[0].capture = "all_tls"'
comes "all_tls: TLS to anywhere would be captured, so it is refused" EPERM "$C1" tcp "$OTHER4" 443
is "QUIC" "$(from "$C1" sendto "$OTHER4" 443)" EPERM
is "what is not TLS is not" "$(from "$C1" tcp "$OTHER4" 80)" through
is "governed ones are, as before" "$(from "$C1" tcp "$GOVERNED4" 443)" EPERM
policy_is '.policies[0].capture = "strict"'
strict_denied() { [ "$(from "$C1" tcp "$OTHER4" 443)" = EPERM ] && flow --counters --json --pod shop/host-1 | jq -e '[.. | objects | select(.hook? == "host" and .reason? == "denied")] | length > 0' > /dev/null; }
check "strict: TLS to what is not known is denied" await 15 strict_denied
is "QUIC" "$(from "$C1" sendto "$OTHER4" 443)" EPERM
policy_is .
comes "as it was" through "$C1" tcp "$OTHER4" 443
is "and governed ones are refused" "$(from "$C1" tcp "$GOVERNED4" 443)" EPERM

echo "# without an agent"
disown "$E_PID"; kill -KILL "$E_PID"; t_await_exit "$E_PID"
sleep 2
is "killed: refused" "$(from "$C1" tcp "$GOVERNED4" 443) $(from "$C1" sendto "$GOVERNED6" 443)" "EPERM EPERM"
is "who is not selected is not" "$(from "$C3" tcp "$GOVERNED4" 443)" through
mkdir -p "$ROOT/$C1/later/container"
is "in a container that comes now, too" "$(from "$C1/later" tcp "$GOVERNED4" 443)" EPERM
kube_up --host-network-pods deny --cgroup-root "$ROOT"
guarded "another one takes over" host-1
is "refused" "$(from "$C1" tcp "$GOVERNED4" 443)" EPERM
is "what is not governed is not" "$(from "$C1" tcp "$OTHER4" 443)" through

echo "# an update"
deny=(--kubernetes --node-name node-1 --cni-dir "$CNI" --kube-api "127.0.0.1:$API_PORT" --kube-token "$API_TOKEN" --kube-ca "$KUBE/ca.crt" --host-network-pods deny --cgroup-root "$ROOT")
until [ -e "$T_RUN/enough" ]; do from "$C1" tcp "$GOVERNED4" 443; from "$C1" sendto "$GOVERNED6" 443; done > "$T_RUN/tries" &
tries=$!
next "${deny[@]}"
check "another one takes over" await 20 in_charge "$E_PID"
check "the former one ends" await 30 gone "$OLD_PID"
guarded "it has them" host-1
host_pod host-6 $U6
guarded "and what comes" host-6
next_held "${deny[@]}"
disown "$E_PID"; kill -KILL "$E_PID"; t_await_exit "$E_PID"
back
release
check "one that comes to nothing: the former one goes on" await 20 in_charge "$E_PID"
api delete "{\"resource\":\"pods\",\"key\":\"$U6\"}"
comes "with what goes" through "$C6" tcp "$GOVERNED4" 443
host_pod host-6 $U6
comes "and what comes" EPERM "$C6" tcp "$GOVERNED4" 443
api delete "{\"resource\":\"pods\",\"key\":\"$U6\"}"
touch "$T_RUN/enough"
wait "$tries"
at_least "there were tries all the time" "$(wc -l < "$T_RUN/tries")" 20
is "and each was refused" "$(sort -u "$T_RUN/tries")" EPERM
stop
kube_up
is "one that is to let them pass: nothing is left" "$(pins) $(from "$C1" tcp "$GOVERNED4" 443)" "0 through"
stop

echo "# where it can't be had"
kube_up --host-network-pods deny --cgroup-root "$T_RUN"
has_logged "no cgroup v2: an error" "is not of cgroup v2"
has "doctor names it" "$(doctor "host network guard")" "broken --host-network-pods deny can't be had"
has "status, too" "$(ctl status)" "is not of cgroup v2"
is "and they are out of reach" "$(guard_of host-1) $(metric egret_pods_out_of_reach | grep -c '[1-9]')" "no_cgroup 1"
stop
has "without --kubernetes it is no start" "$(node "$EGRETD" --uplink eth0 --resolver 203.0.113.53 --host-network-pods deny 2>&1)" "add --kubernetes"

echo "# more than there is room for"
API_OBJECTS=$T_RUN/many
mkdir -p "$API_OBJECTS"/{pods,namespaces}
echo '{"metadata":{"name":"shop","labels":{"egret":"governed"}}}' > "$API_OBJECTS/namespaces/shop.json"
for n in $(seq 1030); do
	echo "{\"metadata\":{\"name\":\"many-$n\",\"namespace\":\"shop\",\"uid\":\"many-$n\",\"labels\":{\"app\":\"assistant\"}},\"spec\":{\"hostNetwork\":true}}" > "$API_OBJECTS/pods/$n.json"
done
kill "$API_PID"; t_await_exit "$API_PID"
api_up
kube_up --host-network-pods deny --cgroup-root "$ROOT"
is "all are out of reach" "$(ctl pods --json | jq '.out_of_reach | length')" 1030
has "which is an error" "$(doctor "host network guard")" "more than 1024 pods in the node's own network"
stop
kill "$API_PID"; t_await_exit "$API_PID"
rm -rf "$API_OBJECTS"
unset API_OBJECTS
api_up
api_namespace shop '{"egret":"governed"}'
host_pod host-1 $U1

echo "# the agent itself"
sh -c 'echo $$ > "$0/cgroup.procs"; exec sleep 1000' "$ROOT/$C2/container" &
own=$!
kube_up --host-network-pods deny --cgroup-root "$ROOT"
guarded "a pod" host-1
mkdir -p "$ROOT/$C3/container/inner"
echo "$E_PID" > "$ROOT/$C3/container/inner/cgroup.procs"
agents() { api pods "$(jq -n --arg n "$1" --arg u "$2" '{metadata: {name: $n, uid: $u, namespace: "shop", labels: {app: "assistant"}}, spec: {hostNetwork: true, serviceAccountName: "egret"}}')"; }
agents host-3 $U3
check "that the agent is in is not guarded" await 10 is_guard host-3 agent
has_logged "and said" "is an agent's own: it is not guarded"
agents host-6 $U6
check "nor is another one of its namespace and service account, which took over or is to" await 10 is_guard host-6 agent
is "it reaches what is governed" "$(from "$C6" tcp "$GOVERNED4" 443)" through
is "the others don't" "$(from "$C1" tcp "$GOVERNED4" 443)" EPERM
host_pod host-6 $U6
guarded "with another service account: a pod as others" host-6
echo "$E_PID" > "$ROOT/$C6/container/cgroup.procs"
disown "$E_PID"; kill -KILL "$E_PID"; t_await_exit "$E_PID"
# What a former agent guarded, and an agent is in that takes over.
sh -c 'echo $$ > "$0/cgroup.procs"; exec sleep 1000' "$ROOT/$C6/container" &
moved=$!
printf '#!/bin/sh\necho $$ > "%s/container/cgroup.procs"\nexec "%s" "$@"\n' "$ROOT/$C6" "$EGRETD" > "$T_RUN/egretd-within"
chmod +x "$T_RUN/egretd-within"
real=$EGRETD EGRETD=$T_RUN/egretd-within
kube_up --host-network-pods deny --cgroup-root "$ROOT"
EGRETD=$real
check "one that was guarded until an agent began in it is let go" await 10 is_guard host-6 agent
is "and reaches what is governed" "$(from "$C6" tcp "$GOVERNED4" 443)" through
kill $own $moved

echo "# uninstalled"
stop
node "$EGRETD" --uninstall --pin-dir "$E_PIN" --agent-namespace "$T-agent" --run-dir "$E_DIR/run" > "$T_RUN/uninstall.log" 2>&1
is "reached again" "$(from "$C1" tcp "$GOVERNED4" 443) $(from "$C1" sendto "$GOVERNED6" 443)" "through through"
is "nothing is pinned" "$(find "$E_PIN" 2> /dev/null)" ""
is "nothing is attached" "$(bpftool cgroup tree "$ROOT" 2> /dev/null | grep -c host_)" 0
hasnt "no report of a sanitizer" "$(log)" "Sanitizer"
checks_done
