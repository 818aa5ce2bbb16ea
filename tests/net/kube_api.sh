#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The room kube against the fake API server (tests/mock/kube-api.mjs), which is another program with another TLS and another
# HTTP: no pod is lost and none has labels that are not its own, whatever the server does. On loopback only.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/check.sh
. tests/net/kube_driver_lib.sh
mkdir -p "$dir/objects/pods" "$dir/objects/namespaces"
echo '{"metadata":{"name":"shop","labels":{"team":"blue"}}}' > "$dir/objects/namespaces/shop.json"
echo '{"metadata":{"name":"web","namespace":"shop","uid":"u-web","labels":{"app":"web"}}}' > "$dir/objects/pods/web.json"
echo '{"metadata":{"name":"far","namespace":"shop","uid":"u-far"},"spec":{"nodeName":"n2"}}' > "$dir/objects/pods/far.json"

label() { [ "$(state ".pods[\"$1\"].labels.app")" = "$2" ]; }
gone() { [ "$(state ".pods | has(\"$1\")")" = false ]; }

# ---- as it should be ----
start_api
start_driver
wait_for "both watches run" now_current
is "the pod of this node" "$(state '.pods | keys | join(" ")')" "u-web"
is "all of it" "$(state '.pods["u-web"] | [.namespace, .name, .serviceAccount, .labels.app] | join(" ")')" "shop web default web"
is "the namespace's labels" "$(state .shop.team)" blue
is "nothing was said" "$(cat "$dir/log")" ""
check "no server name is sent for an address" seen '.sni == null'
check_not "and nothing else" seen '.sni != null'
api pods '{"metadata":{"name":"db","namespace":"shop","uid":"u-db","labels":{"app":"db"}},"spec":{"hostNetwork":true}}'
wait_for "a new pod" label u-db db
is "with the node's network" "$(state '.pods["u-db"].hostNetwork')" true
api pods '{"metadata":{"name":"db","namespace":"shop","uid":"u-db","labels":{"app":"other"}},"status":{"phase":"Succeeded"}}'
wait_for "other labels" label u-db other
is "and finished" "$(state '.pods["u-db"].finished')" true
api pods '{"metadata":{"name":"db","namespace":"shop","uid":"u-db2","labels":{"app":"second"}}}'
wait_for "the same name, another uid" label u-db2 second
api delete '{"resource":"pods","key":"u-db"}'
wait_for "the former goes" gone u-db
check "and the new one stays" label u-db2 second
api namespaces '{"metadata":{"name":"shop","labels":{"team":"red"}}}'
wait_for "a namespace's labels change" so .shop.team red

# ---- breaks: each is resumed, and what came meanwhile is there ----
for how in end reset destroy mid-line; do
	api forget-requests
	api cut "{\"how\":\"$how\"}"
	api pods "{\"metadata\":{\"name\":\"web\",\"namespace\":\"shop\",\"uid\":\"u-web\",\"labels\":{\"app\":\"$how\"}}}"
	wait_for "cut ($how): what came meanwhile" label u-web "$how"
	wait_for "cut ($how): both run again" now_current
	check "cut ($how): resumed" seen '.url | test("&resourceVersion=[0-9]+$")'
	check_not "cut ($how): not listed anew" seen '.url | test("sendInitialEvents")'
done

# ---- 410 ----
api forget-requests
api expire
wait_for "410 as an event: listed anew" seen '(.url | test("sendInitialEvents")) and (.url | test("pods"))'
wait_for "410 as an event: both run again" now_current
api forbid '{"resource":"pods"}'
api cut '{"how":"destroy"}'
wait_for "403: says so" logged "a ClusterRole has to allow the service account the verbs list and watch for pods"
api delete '{"resource":"pods","key":"u-db2"}'
api pods '{"metadata":{"name":"late","namespace":"shop","uid":"u-late","labels":{"app":"late"}}}'
api compact
check "while it is refused, what was known holds" label u-db2 second
api mend
wait_for "a version that is too old: what was deleted meanwhile goes" gone u-db2
wait_for "and what is new comes" label u-late late
wait_for "both run again" now_current
wait_for "and that is said" logged "pods and namespaces are current"
is "403 was said once" "$(count_logged 'refuses to show pods')" 1

# ---- refusals, silence, garbage ----
for status in 429 500 503 302; do
	before=$(state .failures)
	api fail "{\"status\":$status,\"count\":3}"
	api cut '{"how":"destroy"}'
	wait_for "$status: tried again" test "$(($(state .failures) - before))" -ge 0
	wait_for "$status: both run again" now_current
done
wait_for "a redirect is not followed" logged "redirects are not followed"
api fail '{"garbage":true,"count":2}'
api cut '{"how":"destroy"}'
wait_for "what is not HTTP is said" logged "is not HTTP/1.1"
wait_for "both run again" now_current
check "the pods are as they were" so '.pods | keys | join(" ")' "u-late u-web"
echo "token-two" > "$dir/token"
api forget-requests
api cut '{"how":"end"}'
wait_for "a token that was rotated is read" seen '.authorized and (.url | test("pods"))'
wait_for "both run again" now_current
check_not "none was sent that is over" seen '.authorized | not'
api raw '{"text":"{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"x\",\"uid\":\"u-x\"}}}\nno JSON\n"}'
wait_for "what can't be understood is counted" so '.passed_over' 3
is "and said once" "$(count_logged 'was passed over')" 1
api stall
api pods '{"metadata":{"name":"web","namespace":"shop","uid":"u-web","labels":{"app":"stalled"}}}'
sleep 0.3
check "a server that stalls: what was known holds" label u-web mid-line
api stall '{"on":false}'
wait_for "and goes on" label u-web stalled

# ---- etcd set back ----
api set-back '{"to":5}'
api cut '{"how":"destroy"}'
wait_for "a version that is too new is given up" seen '.status == 504'
api pods '{"metadata":{"name":"web","namespace":"shop","uid":"u-web","labels":{"app":"back"}}}'
wait_for "and what is so now is taken" label u-web back
wait_for "both run again" now_current

# ---- a lot ----
api flood '{"pods":5000,"updates":50000}'
all_flooded() {
	[ "$(state '[.pods | to_entries[] | select(.key | startswith("flood-")) | select((.value.labels.round | tonumber) >= 45000)] | length')" = 5000 ]
}
wait_for "50,000 updates of 5,000 pods: all have their last labels" all_flooded
wait_for "both run" now_current
echo "       the longest turn of the loop took $(state .largest_turn_us) us of CPU"
check "no turn worked as long as the supervisor's heart can wait" test "$(state .largest_turn_us)" -lt 250000
is "none was passed over" "$(state .passed_over)" 3

# ---- a server that is another one now ----
kill "$api_pid"; wait "$api_pid" 2>/dev/null
wait_for "an API server that is away is said" logged "can't be reached"
is "what was known holds" "$(state '.pods["u-web"].labels.app')" back
tests/mock/make-kube-certs "$dir"
start_api
wait_for "another CA and another etcd: what it knows" so '.pods | keys | join(" ")' "u-web"
wait_for "with the labels of there" label u-web web
wait_for "both run" now_current
hasnt "no token was ever said" "$(cat "$dir/log")" "token-"
stop "$driver_pid"
driver_pid=''

# ---- one that does not stream lists ----
api flood '{"pods":1200,"updates":0}'
for as in off ignored; do
	api streams "{\"as\":\"$as\"}"
	api forget-requests
	start_driver
	wait_for "no streams ($as): both run" now_current
	is "all pods are there" "$(state '.pods | length')" "$(curl -sf "http://127.0.0.1:$control/_test/state" | jq '[.pods[] | select(.spec.nodeName == "n1")] | length')"
	check "by pages" seen '.url | test("&continue=")'
	is "which is said once" "$(count_logged 'does not stream lists')" 1
	api delete '{"resource":"pods","key":"flood-'${#as}'"}'
	wait_for "and then watched" gone "flood-${#as}"
	stop "$driver_pid"
	driver_pid=''
done

# ---- whom it is ----
tests/mock/make-kube-certs "$dir" IP:127.0.0.2 DNS:kubernetes.default.svc
stop "$api_pid"
start_api
start_driver
wait_for "a certificate for another address is refused" logged "is not for 127.0.0.1 by the CA in"
is "before a token was sent" "$(requests)" "[]"
stop "$driver_pid"
start_driver kubernetes.default.svc
wait_for "a name of its own, if that is asked for" now_current
check "which is sent" seen '.sni == "kubernetes.default.svc"'
checks_done
