#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# egretd --kubernetes tells people by Kubernetes Events what it refuses: requests of a pod, a CA that a pod does not trust, a policy set. However
# much is refused, the API hears little of it, and of what a pod sent nothing but a host's name.
set -u
cd "$(dirname "$0")" || exit 1
. ./agent_lib.sh
topology_up egkev podA podB
OPENAI=$(world_key openai api.openai.com)
world_up
E_NAMES=openai.com egret_prepare policies/kubernetes
jq '.policies[0].routes += [.policies[0].routes[0] | .name = "any" | .match.hosts = ["*.openai.com"]]' policies/kubernetes/10-labels.json > "$E_DIR/policy/10-labels.json"
. ./kubernetes_lib.sh
KEY=sk-ant-api03-planted0planted1planted2planted3planted4planted5

t_state() { node curl -sS --max-time 5 "http://127.0.0.1:$API_CONTROL/_test/state" | jq -r "$1"; }
# event_of REASON FILTER: of the Events with that reason
event_of() { t_state "[.events[] | select(.reason == \"$1\")] | $2"; }
is_event() { [ "$(event_of "$1" "$2")" = "$3" ]; }
at_most() { check "$1 ($2)" test "$2" -le "$3"; } # TEXT VALUE MOST
calls() { node curl -sS --max-time 5 "http://127.0.0.1:$API_CONTROL/_test/requests" | jq '[.[] | select(.url | test("/events"))] | length'; }
discreet() {
	hasnt "no planted key in what the API had" "$(all_of_it)" planted
	hasnt "no prompt" "$(cat "$T_RUN/all-of-it")" "a prompt"
}
all_of_it() { { t_state .; node curl -sS "http://127.0.0.1:$API_CONTROL/_test/requests"; } > "$T_RUN/all-of-it"; cat "$T_RUN/all-of-it"; }
# refused POD [CURL ARGS]: a model that no route has
refused() {
	local pod=$1; shift
	pod_curl "$pod" -o "$T_RUN/answer" -w '%{http_code}' -H "authorization: Bearer $KEY" -H 'content-type: application/json' \
		-d "{\"model\":\"o1\",\"messages\":[{\"role\":\"user\",\"content\":\"a prompt $KEY\"}]}" "$@" "https://api.openai.com/v1/chat/completions${QUERY:-}" 2>/dev/null
}

API_OBJECTS=$T_RUN/objects
mkdir -p "$API_OBJECTS"/{pods,namespaces}
echo '{"metadata":{"name":"shop","labels":{"egret":"governed"}}}' > "$API_OBJECTS/namespaces/shop.json"
for name in a b; do
	echo "{\"metadata\":{\"name\":\"pod-$name\",\"namespace\":\"shop\",\"uid\":\"u-$name\",\"labels\":{\"app\":\"assistant\"}}}" > "$API_OBJECTS/pods/pod-$name.json"
done
api_up
cni_pod podA shop u-a pod-a
cni_pod podB shop u-b pod-b
kube_up
becomes "podA is governed" shop/pod-a governed
becomes "podB is governed" shop/pod-b governed
is "what is allowed is no news" "$(ask podA) $(sleep 2; t_state '.events | length')" "200 0"

echo "# a denial"
is "a model that no route has" "$(refused podA)" 403
check "an Event of that pod" await 15 is_event PolicyDenied length 1
is "what it says" "$(event_of PolicyDenied '.[0] | [.type, .action, .regarding.kind, .regarding.namespace, .regarding.name, .regarding.uid, .reportingController, .reportingInstance] | join(" ")')" \
	"Warning Deny Pod shop pod-a u-a egretd egretd-node-1"
is "in words" "$(event_of PolicyDenied '.[0].note')" "Requests to api.openai.com are refused: model_denied. No route of the pod's policy allows this model."
is "it is what the pod was answered" "$(pod_curl podA -o /dev/null -D - -H 'content-type: application/json' -d '{"model":"o1"}' https://api.openai.com/v1/chat/completions | tr -d '\r' | sed -n 's/^x-egret-reason: //p')" model_denied
is "another reason" "$(QUERY="/nonsense?key=$KEY" refused podA)" 403
check "is another Event" await 15 is_event PolicyDenied 'map(.note) | unique | length' 2

echo "# a flood of them"
api forget-requests '{}'
is "10,000 denials" "$(pod podA curl -sS --cacert "$T_RUN/pod-roots.crt" -o /dev/null -w '%{http_code}\n' -H 'content-type: application/json' -d '{"model":"o1"}' 'https://api.openai.com/v1/chat/completions#[1-10000]' 2> /dev/null | sort | uniq -c | tr -s ' ')" " 10000 403"
check "are counted" await 60 is_event PolicyDenied 'map(select(.note | test("model_denied")) | .series.count // 1) | add >= 10000' true
at_most "by a handful of calls" "$(calls)" 6
is "in one Event" "$(event_of PolicyDenied 'map(select(.note | test("model_denied"))) | length')" 1
before=$(calls)
at=$(pod podA getent ahostsv4 api.openai.com | awk '{print $1; exit}')
for host in $KEY $(seq -f h%.0f 40); do
	pod_curl podA -o /dev/null -w '%{http_code}\n' --max-time 5 --resolve "$host.openai.com:443:$at" -H 'content-type: application/json' -d '{"model":"o1"}' "https://$host.openai.com/v1/chat/completions" 2> /dev/null
done > "$T_RUN/hosts.out"
is "41 hosts" "$(sort "$T_RUN/hosts.out" | uniq -c | tr -s ' ')" " 41 403"
check "are nine Events at most, and one for the others" await 15 is_event PolicyDenied 'map(select(.note | startswith("(combined from similar events)"))) | length' 1
at_most "few calls" "$(($(calls) - before))" 14

echo "# who does not trust the CA"
pod_curl podB -o /dev/null --cacert "$T_RUN/certs/root.crt" https://api.openai.com/v1/models 2> /dev/null
is "curl refuses" $? 60
check "an Event of that pod" await 15 is_event CARejected 'map(.regarding.name) | join(" ")' pod-b
has "names the host" "$(event_of CARejected '.[0].note')" "they end the handshake for api.openai.com with an alert"
has "and where it is explained" "$(event_of CARejected '.[0].note')" "docs/ca.md, Bring the root into pods"

echo "# a policy set that is refused"
good=$(cat "$E_DIR/policy/10-labels.json")
jq '.policies[0].otherwise = "maybe"' <<< "$good" > "$E_DIR/policy/10-labels.json"
check "an Event of the node" await 20 is_event PolicyRefused 'map("\(.type) \(.metadata.namespace) \(.regarding.kind) \(.regarding.name) \(.regarding.uid)") | join(",")' "Warning default Node node-1 node-1"
has "names the file" "$(event_of PolicyRefused '.[0].note')" "10-labels.json"
has "and the place in it" "$(event_of PolicyRefused '.[0].note')" "policies[0].otherwise"
has "and what holds" "$(event_of PolicyRefused '.[0].note')" "the last good one stays in force"
is "not that it is mended" "$(event_of PolicyApplied length)" 0
echo "$good" > "$E_DIR/policy/10-labels.json"
check "mended: said, too" await 20 is_event PolicyApplied 'map("\(.type) \(.regarding.name)") | join(",")' "Normal node-1"
jq '.policies[0].name = "others"' <<< "$good" > "$E_DIR/policy/10-labels.json"
sleep 3
is "a good one after a good one is no news" "$(event_of PolicyApplied length)" 1

discreet

echo "# the API is away, and back"
at_least "of what there was to see" "$(t_state ".events | length")" 5
kill "$API_PID"; t_await_exit "$API_PID"
is "a denial meanwhile" "$(refused podB)" 403
waits() { [ "$(status .kubernetes.events.waiting)" -ge 1 ]; }
check "it waits" await 15 waits
is "what is allowed is served" "$(ask podB)" 200
api_up
check "it is there in the end" await 90 is_event PolicyDenied 'map(select(.regarding.name == "pod-b")) | length' 1
is "metrics" "$(metric egret_kubernetes_events_forbidden) $(metric egret_kubernetes_events_not_taken_total)" "0 0"
at_least "written" "$(metric egret_kubernetes_events_written_total)" 5
has "for a person" "$(ctl status)" "events    "
has "doctor" "$(doctor events)" "ok "

echo "# no right to"
api forbid '{"resource":"events"}'
api forget-requests '{}'
refused podA --max-time 5 -X PUT > /dev/null
for i in 1 2 3 4 5; do refused podB -X DELETE > /dev/null; done
is_forbidden() { [ "$(status .kubernetes.events.forbidden)" = true ]; }
check "403 is known" await 60 is_forbidden
sleep 3
is "one call" "$(calls)" 1
is "one line of the log names the right" "$(jq -r .message "$T_RUN/egretd.log" | grep -c "create and patch for events of the group events.k8s.io")" 1
has "status shows it" "$(ctl status)" "REFUSED: the Kubernetes API refuses to take events (403"
has "so does doctor" "$(doctor events)" "warning none are written: the Kubernetes API refuses to take events"
is "metric" "$(metric egret_kubernetes_events_forbidden)" 1
is "pods are served" "$(ask podA) $(ask podB) $(status .ready)" "200 200 true"
stop

echo "# off"
api mend '{}'
api forget-requests '{}'
kube_up --kube-events off
becomes "governed" shop/pod-a governed
is "a denial" "$(refused podA)" 403
sleep 3
is "no call" "$(calls)" 0
is "which the status knows" "$(status .kubernetes.events.on)" false
hasnt "nothing of it on the page" "$(metrics)" egret_kubernetes_events
discreet
hasnt "no report of a sanitizer" "$(log)" "Sanitizer"
checks_done
