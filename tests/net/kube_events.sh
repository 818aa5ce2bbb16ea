#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Reports of the room kube as Kubernetes Events, against the fake API server, which judges them as a real one does (tests/mock/kube-events.mjs):
# few requests whatever comes, none lost that can be had, and none to a server that refuses them. On loopback only.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/check.sh
. tests/net/kube_driver_lib.sh
mkdir -p "$dir/objects/namespaces"
for name in shop closing; do echo "{\"metadata\":{\"name\":\"$name\"}}" > "$dir/objects/namespaces/$name.json"; done

report() { # UID NOTE [COUNT [REASON [NAMESPACE]]]
	jq -cn --arg uid "$1" --arg note "$2" --argjson count "${3:-1}" --arg reason "${4:-A}" --arg namespace "${5:-shop}" \
		'{$namespace, name: "web-\($uid | ascii_downcase)", $uid, $reason, $note, $count}' >&9
}
events() { curl -sf "http://127.0.0.1:$control/_test/state" | jq -r "$1"; }
# has_event FILTER VALUE: of `.events`
has_event() { [ "$(events ".events | $1")" = "$2" ]; }
# calls FILTER: how many requests for Events so far
calls() { requests | jq "[.[] | select((.url | test(\"/events\")) and ($1))] | length"; }

echo "# the server takes no rubbish"
start_api
good=$(jq -cn '{apiVersion: "events.k8s.io/v1", kind: "Event", metadata: {name: "web.1", namespace: "shop"}, eventTime: "2026-01-02T03:04:05.000000Z",
	type: "Normal", reason: "A", action: "Try", reportingController: "egretd", reportingInstance: "egretd-n1", note: "n",
	regarding: {kind: "Pod", namespace: "shop", name: "web", uid: "u"}}')
# sent METHOD PATH TYPE BODY: the status
sent() {
	curl -s -o /dev/null -w '%{http_code}' --cacert "$dir/ca.crt" -H "Authorization: Bearer $(cat "$dir/token")" -H "Content-Type: $3" -X "$1" -d "$4" \
		"https://127.0.0.1:$port/apis/events.k8s.io/v1/namespaces/$2"
}
posted() { sent POST shop/events application/json "$(jq -c "$1" <<< "$good")"; }
is "a good one" "$(posted .)" 201
is "twice" "$(posted .)" 409
for wrong in '.metadata.name = "Web"' '.metadata.name = ("a" * 254)' '.note = ("x" * 1025)' 'del(.eventTime)' 'del(.action)' 'del(.reason)' 'del(.reportingController)' \
	'del(.reportingInstance)' '.reportingInstance = ("x" * 129)' '.type = "Error"' '.series = {count: 1, lastObservedTime: "2026-01-02T03:04:05.000000Z"}' '.series = {count: 2}' \
	'.reportingController = "a b"' '.deprecatedCount = 1' 'del(.regarding)'; do
	is "refused: $wrong" "$(posted ".metadata.name = \"bad.1\" | $wrong")" 422
done
is "an eventTime that is no MicroTime" "$(posted '.metadata.name = "bad.1" | .eventTime = "2026-01-02T03:04:05Z"')" 400
is "an update of its note" "$(sent PATCH shop/events/web.1 application/merge-patch+json '{"note":"other"}')" 422
is "a patch as what it is not" "$(sent PATCH shop/events/web.1 application/json '{"series":{"count":2}}')" 415
is "an update of its series" "$(sent PATCH shop/events/web.1 application/merge-patch+json '{"series":{"count":2,"lastObservedTime":"2026-01-02T03:04:05.000000Z"}}')" 200
is "of what is not there" "$(sent PATCH shop/events/web.2 application/merge-patch+json '{}')" 404
is "a namespace that there is not" "$(sent POST nowhere/events application/json "$(jq -c '.metadata.namespace = "nowhere"' <<< "$good")")" 404
api forget-events
api forget-requests

echo "# one, and its repetition"
start_driver
wait_for "both watches run" now_current
report u1 'no model "x"' 3
wait_for "it is there" has_event 'length' 1
is "about that pod" "$(events '.events[0] | [.type, .reason, .action, .note, .regarding.kind, .regarding.namespace, .regarding.name, .regarding.uid, .reportingInstance, .series.count] | join("|")')" \
	'Warning|A|Try|no model "x" (3 times so far)|Pod|shop|web-u1|u1|egretd-n1|3'
for ((i = 0; i < 10000; i++)); do echo '{"namespace":"shop","name":"web-u1","uid":"u1","reason":"A","note":"no model \"x\"","count":1}'; done >&9
wait_for "10,000 more: its count" has_event '.[0].series.count' 10003
is "one Event" "$(events '.events | length')" 1
is "a handful of requests" "$(calls true)" 2
is "an update is one" "$(calls '.method == "PATCH" and .status == 200')" 1
for ((i = 0; i < 500; i++)); do echo "{\"namespace\":\"shop\",\"name\":\"web-u2\",\"uid\":\"u2\",\"reason\":\"A\",\"note\":\"host $i\",\"count\":1}"; done >&9
wait_for "500 notes of one pod: nine, and one for the others" has_event '[.[] | select(.regarding.uid == "u2")] | length' 10
is "which says so" "$(events '[.events[] | select(.note | startswith("(combined from similar events)"))] | length')" 1
jq -cn '{reason: "B", note: "the set is refused", count: 1}' >&9
wait_for "of the node" has_event '[.[] | select(.regarding.kind == "Node")] | map("\(.metadata.namespace)/\(.regarding.name)/\(.regarding.uid)") | join(" ")' "default/n1/n1"
report 'u1/../../x' evil
wait_for "what can't be a pod's is dropped" so .events.dropped 1
is "and nothing is said of all that" "$(cat "$dir/log")" ""

echo "# the server has too much to do"
api forget-requests
api fail '{"resource":"events","status":429,"retry_after":2,"count":2}'
began=$(date +%s%N)
report u3 throttled
wait_for "429: it is there in the end" has_event '[.[] | select(.regarding.uid == "u3")] | length' 1
check "Retry-After was kept to" test "$((($(date +%s%N) - began) / 1000000))" -ge 4000
is "and no more was asked" "$(calls true)" 3
api fail '{"resource":"events","status":500,"count":4}'
report u4 broken
wait_for "500: it is there in the end" has_event '[.[] | select(.regarding.uid == "u4")] | length' 1
is "it was said once" "$(count_logged "Kubernetes Events have to wait")" 1
is "and that it is over" "$(count_logged "takes Events again")" 1
api fail '{"resource":"events","lost":true,"count":1}'
report u5 lost
wait_for "the answer is lost: it is there" has_event '[.[] | select(.regarding.uid == "u5")] | length' 1
wait_for "and known to be" so .events.waiting 0
is "once" "$(events '[.events[] | select(.regarding.uid == "u5")] | length')" 1

echo "# what is gone, what is not taken"
report u6 old
wait_for "an Event" has_event '[.[] | select(.regarding.uid == "u6")] | length' 1
api forget-events
report u6 old 4
wait_for "its hour is over: another one, with all of the count" has_event '.[] | select(.regarding.uid == "u6") | .series.count' 5
api terminate '{"namespace":"closing"}'
report u7 late 1 A closing
wait_for "a namespace that goes" so .events.not_taken 1
check_not "is no missing right" logged "ClusterRole"
report u8 next
wait_for "others go on" has_event '[.[] | select(.regarding.uid == "u8")] | length' 1
report u9 nowhere 1 A absent
wait_for "a namespace that is gone" so .events.not_taken 2
is "is said once" "$(count_logged "a Kubernetes Event was not taken")" 1

echo "# no right to"
api forget-requests
api forbid '{"resource":"events"}'
for i in 1 2 3 4 5; do report "f$i" refused; done
wait_for "403 is known" so .events.forbidden true
is "one request" "$(calls true)" 1
is "the log names the right, once" "$(count_logged "the verbs create and patch for events of the group events.k8s.io")" 1
has "so does the status" "$(state .events.error)" "the verbs create and patch for events of the group events.k8s.io"
check "the watches know nothing of it" now_current
sleep 2
is "it is asked again now and then" "$(test "$(calls true)" -le 3 && echo so)" so
is "nothing more is said" "$(count_logged "no Kubernetes Events are written")" 1
api mend
wait_for "it may: all that waited" has_event '[.[] | select(.regarding.uid | startswith("f"))] | length' 5
wait_for "that is known" so .events.forbidden false

echo "# away, and back"
stop "$api_pid"
report g1 away 2
sleep 1
report g1 away 3
wait_for "it waits" so .events.waiting 1
start_api
wait_for "back: with all of the count" has_event '.[] | select(.regarding.uid == "g1") | .series.count' 5
wait_for "the watches, too" now_current
api fail '{"resource":"events","hang":true,"count":1}'
report h1 slow
api pods '{"metadata":{"name":"late","namespace":"shop","uid":"u-late","labels":{"app":"late"}}}'
late() { [ "$(state '.pods["u-late"].labels.app')" = late ]; }
wait_for "an answer that does not come holds up no watch" late
hasnt "no token was ever said" "$(cat "$dir/log")" "token-"
is "none that the server could not read" "$(requests | jq '[.[] | select(.status == 400 or .status == 415 or .status == 422)] | length')" 0
checks_done
