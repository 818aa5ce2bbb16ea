#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# egretd --kubernetes: pods by the CNI cache and a Kubernetes API (tests/mock/kube-api.mjs), over what these can do wrong. A pod is governed by
# its labels and its namespace's, held until they are known, and never taken for another.
set -u
cd "$(dirname "$0")" || exit 1
. ./agent_lib.sh
topology_up egkube podA podB
OPENAI=$(world_key openai api.openai.com)
world_up
egret_prepare policies/kubernetes
. ./kubernetes_lib.sh

api_up
api_namespace shop '{"egret":"governed"}'
api_namespace other '{}'

node ip link add stranger0 type veth peer name stranger1 && node ip link set stranger0 up
echo "# a pod's life"
kube_up
is "serving, and the API is current" "$(status '"\(.state) \(.kubernetes.synced) \(.kubernetes.current)"')" "serving true true"
has "for a person" "$(ctl status)" "api       127.0.0.1:$API_PORT, current"
is "the node's uplink, a veth as pods' links are, is no pod's" "$(ctl pods --kernel --json | jq -c '[.pods[].link] | [index("eth0"), index("stranger0") != null]')" "[null,true]"
is "a link that nobody has named is held" "$(ask podA --max-time 3)" 000
cni_pod podA shop u-a
becomes "its name is known, its labels are not: held" shop/podA held
is "it is held" "$(ask podA --max-time 3)" 000
api_pod podA u-a shop '{"app":"assistant"}'
becomes "they are: governed" shop/podA governed
is "and served" "$(ask podA)" 200
cni_pod podB other u-b
api_pod podB u-b other '{"app":"assistant"}'
becomes "another namespace, without the label: untouched" other/podB ungoverned
is "it reaches the provider itself" "$(ask podB)" 401
api_namespace other '{"egret":"governed"}'
becomes "the namespace gets the label: governed" other/podB governed
is "and served" "$(ask podB)" 200
api_pod podB u-b other '{"app":"batch"}'
becomes "its own label changes: untouched" other/podB ungoverned
is "the access log has who it was" "$(jq -r 'select(.status == 200) | "\(.pod // .pod_name // "") \(.namespace // "")"' "$E_DIR/access.jsonl" 2> /dev/null | sort -u | grep -c .)" 2

echo "# an address that is another pod's now"
cni_gone u-b
api delete '{"resource":"pods","key":"u-b"}'
cni_pod podB shop u-b2 podB2
becomes "the new pod's labels are not known: held, whatever the old one was" shop/podB2 held
is "the old one is gone" "$(state other/podB)" ""
is "it is held" "$(ask podB --max-time 3)" 000
api_pod podB2 u-b2 shop '{"app":"assistant"}'
becomes "known: governed" shop/podB2 governed
is "and served" "$(ask podB)" 200

echo "# a name that is another pod's now (a StatefulSet)"
api_pod podA u-a2 shop '{"app":"batch"}'
is "the old one stays what it is" "$(sleep 0.5; state shop/podA)" governed
api delete '{"resource":"pods","key":"u-a"}'
becomes "deleted by force, and its network is still there: held" shop/podA held
is "and what it sends, too" "$(ask podA --max-time 3)" 000
cni_gone u-a
cni_pod podA shop u-a2
becomes "its network is gone: the new one is another" shop/podA ungoverned
is "untouched" "$(ask podA)" 401
api_pod podA u-a2 shop '{"app":"assistant"}'
becomes "governed, by its label" shop/podA governed

echo "# a static pod: the kubelet's uid in the cache, its mirror in the API with another"
HASH=0123456789abcdef0123456789abcdef
# mirror NAME UID NAMESPACE LABELS: what the kubelet makes, or someone who may create pods
mirror() { api pods "$(jq -n --arg n "$1" --arg u "$2" --arg s "$3" --arg of "$HASH" --argjson l "$4" '{metadata: {name: $n, uid: $u, namespace: $s, labels: $l, annotations: {"kubernetes.io/config.hash": $of, "kubernetes.io/config.mirror": $of}}}')"; }
cni_gone u-b2
cni_pod podB shop $HASH etcd-node-1
becomes "without its mirror: held" shop/etcd-node-1 held
mirror other-name u-evil shop '{"app":"batch"}'
said_other() { grep -q "an object of another name says that it is its mirror" "$T_RUN/egretd.log"; }
check "one of another name is not believed, and said" await 10 said_other
is "held" "$(state shop/etcd-node-1) $(ask podB --max-time 3)" "held 000"
mirror etcd-node-1 u-mirror shop '{"app":"assistant"}'
said_two() { grep -q "more than one object says that it is its mirror" "$T_RUN/egretd.log"; }
check "two that say it: neither is believed" await 10 said_two
is "held" "$(state shop/etcd-node-1)" held
api delete '{"resource":"pods","key":"u-evil"}'
becomes "its mirror alone: governed by its labels" shop/etcd-node-1 governed
is "and served" "$(ask podB)" 200
mirror etcd-node-1 u-mirror shop '{"app":"batch"}'
becomes "another label: untouched" shop/etcd-node-1 ungoverned
mirror podA u-evil shop '{"app":"batch"}'
is "no other pod is touched" "$(sleep 0.5; state shop/podA) $(ask podA)" "governed 200"
api delete '{"resource":"pods","key":"u-evil"}'
api delete '{"resource":"pods","key":"u-mirror"}'
becomes "its mirror is gone: held" shop/etcd-node-1 held
cni_gone $HASH
cni_pod podB shop u-b2 podB2
becomes "the former one, again" shop/podB2 governed

echo "# in the node's own network"
api_pod agent-on-host u-h shop '{"app":"assistant"}' '{"hostNetwork":true}'
reach() { [ "$(status .kubernetes.pods_out_of_reach)" = 1 ]; }
check "is listed as out of reach" await 10 reach
has "by name" "$(ctl pods)" "shop/agent-on-host"
has "and that it is" "$(ctl pods)" "OUT OF REACH"
is "metric" "$(metric egret_pods_out_of_reach)" 1
has "doctor warns of it" "$(doctor "host network")" "warning 1 pods that policy selects"
has "and says that the API is current" "$(doctor kubernetes)" "ok the API at 127.0.0.1:$API_PORT is current"

echo "# the API misbehaves: nothing changes for who is known"
api cut '{"how":"mid-line"}'
check "cut in the middle of a line: current again" await 20 synced
is "served all along" "$(ask podA)" 200
api expire '{}'
check "410: current again" await 20 synced
api raw '{"text":"{\"type\":\"MODIFIED\",\"object\":42}\nnot json at all\n"}'
check "what is no object: current again" await 20 synced
is "governed, still" "$(state shop/podA) $(state shop/podB2) $(ask podA)" "governed governed 200"
echo "$T-token-two" > "$API_TOKEN"
api cut '{"how":"end"}'
check "another token: it is read anew" await 40 synced
api forbid '{"resource":"pods"}'; api cut '{"how":"end"}'
away() { [ "$(status .kubernetes.current)" = false ]; }
check "403: it is said" await 10 away
has "for a person" "$(ctl status)" "AWAY: what it said last holds"
has_logged "and what is missing" "pods"
is "what it said last holds; the agent is ready" "$(state shop/podA) $(ask podA) $(status .ready)" "governed 200 true"
is "metric" "$(metric egret_kubernetes_current)" 0
has "doctor warns" "$(doctor kubernetes)" "warning the API at 127.0.0.1:$API_PORT is away"
api mend '{}'
check "it may again: current" await 60 synced

echo "# a flood"
api flood '{"pods":300,"updates":20000}'
is "served meanwhile" "$(ask podA) $(ask podA)" "200 200"
is "no hang was seen" "$(metric egret_gateway_hangs_total)" 0
check "and the agent follows" await 20 synced
is "heartbeats were never late: nothing was replaced" "$(metric egret_gateway_restarts_total)" 0

echo "# a link that is no pod's"
stranger() { ctl pods --kernel --json 2> /dev/null | jq -r '.pods[] | select(.link == "stranger0") | .state'; }
foreign() { [ "$(stranger)" = foreign ]; }
check "is foreign after a while, and passes" await 60 foreign
has_logged "the log says so" "the link stranger0 is no pod's, as nothing names it or where it leads: what it sends passes"

echo "# the agent is started anew"
two flow
stop
kube_up
is "what was governed is, at once" "$(state shop/podA) $(ask podA)" "governed 200"
KEPT=$E_DIR/run/kubernetes.jsonl
kept() { grep -q '"uid":"u-a2"' "$KEPT"; }
check "what the API says is kept" await 10 kept
is "for root alone" "$(stat -c %a "$KEPT")" 600

echo "# and again, while the API is away"
stop
kill "$API_PID"; t_await_exit "$API_PID"
without_api() { : > "$T_RUN/egretd.log"; egret_start --kubernetes --node-name "${1:-node-1}" --cni-dir "$CNI" --kube-api "127.0.0.1:$API_PORT" --kube-token "$API_TOKEN" --kube-ca "$KUBE/ca.crt"; }
said() { grep -q "the Kubernetes API has not said what pods there are within" "$T_RUN/egretd.log"; }
cni_gone u-b2
cni_pod podB shop u-b3 podB2
without_api
check "it begins all the same, after a while" await 25 said
has_logged "and says by what" "what it said before this start holds"
check "who was governed is" await 10 is_state shop/podA governed
is "and served" "$(ask podA)" 200
is "one of the same name that it never spoke of is held" "$(state shop/podB2) $(ask podB --max-time 3)" "held 000"
has "status says so" "$(ctl status)" "what it said before the start holds"
stop
without_api node-2
check "of another node: it begins" await 25 said
has_logged "and is not believed" "it is of the node node-1; expected node-2"
stop

rm "$KEPT"
without_api
check "without what it said: it begins all the same" await 25 said
held() { [ "$(state shop/podA)" = held ]; }
check "who may be governed is held" await 10 held
is "and is not ready" "$(status '"\(.ready) \(.state)"')" "false degraded"
has "which says why" "$(ctl status)" "TROUBLE   the Kubernetes API has not said yet what pods there are: "
is "nothing passes" "$(ask podA --max-time 3)" 000
has "doctor: broken" "$(doctor kubernetes)" "broken the API at 127.0.0.1:$API_PORT has not been read yet"
has "and says that pods are held" "$(doctor "held pods")" "pods are held until more is known of them"
api_up
api_namespace shop '{"egret":"governed"}'
api_pod podA u-a2 shop '{"app":"assistant"}'
check "it comes: governed, and ready" await 60 is_state shop/podA governed
is "served" "$(ask podA) $(status .ready)" "200 true"

echo "# uninstalled"
stop
node "$EGRETD" --uninstall --pin-dir "$E_PIN" --agent-namespace "$T-agent" --run-dir "$E_DIR/run" > "$T_RUN/uninstall.log" 2>&1
is "nothing is left in --run-dir" "$(ls -A "$E_DIR/run")" ""

echo "# what is no start"
refused() { has "$1" "$(node "$EGRETD" --uplink eth0 --resolver 203.0.113.53 --kubernetes "${@:3}" 2>&1)" "$2"; }
refused "no node name" "--node-name is missing"
refused "no API" "--kube-api is missing" --node-name node-1
refused "a name of the API" "expected an IP address with a port" --node-name node-1 --kube-api kubernetes:443
refused "a node name that is none" "--node-name: 'a&b'" --node-name 'a&b'
hasnt "no token is in a log" "$(cat "$T_RUN"/egretd*.log)" "$T-token"
hasnt "no report of a sanitizer" "$(log)" "Sanitizer"
hasnt "no undefined behaviour" "$(log)" "runtime error"
checks_done
