#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Pods of a real container runtime, made and removed again and again while others talk: what a new pod sends first, at once, is governed, or held
# until it is known whether it is to be, and never free. CONTAINERS_ROUNDS says how many pods (40; 200 for the whole).
set -u
cd "$(dirname "$0")" || exit 1
. ./agent_lib.sh
. ../lib/containerd.sh
. ../lib/kube_api.sh
runtime_require
ROUNDS=${CONTAINERS_ROUNDS:-40}
topology_up egpods
world_key openai api.openai.com > /dev/null
world_up
egret_prepare policies/agent
jq '.policies[0].pods = {namespaces: ["shop"], labels: {app: "assistant"}}' policies/agent/*.json > "$E_DIR/policy/policy.json"
find "$E_DIR/policy" -name '*.json' ! -name policy.json -delete
runtime_up
api_up
# What arrives from source ports of container_pod, by the kind of its pod: what the agent sends has another one.
inet nft -f - <<-EON || t_die "nft refused the counters"
	table inet sent {
		counter governed {}
		counter held {}
		counter untouched {}
		chain input {
			type filter hook input priority filter;
			meta l4proto { tcp, udp } th dport 443 th sport 20000-21999 counter name governed
			meta l4proto { tcp, udp } th dport 443 th sport 22000-23999 counter name held
			meta l4proto { tcp, udp } th dport 443 th sport 25000-26999 counter name untouched
		}
	}
EON
arrived() { inet nft -j list counter inet sent "$1" | jq '[.nftables[].counter.packets // empty] | add'; }
state() { ctl pods --json | jq -r --arg uid "$1" '.pods[] | select(.uid == $uid) | .state'; }
is_state() { [ "$(state "$1")" = "$2" ]; }
no_churn() { [ "$(ctl pods --json | jq '[.pods[] | select(.uid | startswith("u-churn-"))] | length')" = 0 ]; }

api_namespace shop '{}'
api_pod podA u-a shop '{"app":"assistant"}'
cri_pod podA shop u-a
egret_up --kubernetes --node-name node-1 --kube-api "$K_API" --kube-token "$K_DIR/token" --kube-ca "$K_DIR/ca.crt"
check "a pod of the runtime's, that was there before, is governed" await 20 is_state u-a governed
is "and served, over IPv4 and IPv6" "$(ask podA) $(ask podA -6)" "200 200"
cri_pod podB shop u-b
check "one whose labels nobody knows is held" await 20 is_state u-b held
is "also what it sends" "$(ask podB --max-time 3)" 000

echo "# $ROUNDS pods, while another one talks"
pins=$(find "$E_PIN" | wc -l)
asking_begins
node "$T_NODEJS" "$PWD/containers.mjs" --runtime "$R_SOCKET" --control "$K_CONTROL" --agent "$E_DIR/run/egretd.sock" --dir "$R_DIR/churn" \
	--parent "$R_CGROUP" --image "$R_IMAGE" --resolver "$(t_dns_address)" --rounds "$ROUNDS" > "$T_RUN/churn.jsonl" 2> "$T_RUN/churn.err" || fail "the pods' lives" "$(cat "$T_RUN/churn.err")"
asking_ends
jq -c 'select(.link_up_to_governed_ms)' "$T_RUN/churn.jsonl" | sed 's/^/       /'
churn() { jq -cs "[.[] | select(.kind)] | $1" "$T_RUN/churn.jsonl"; }
is "every pod lived" "$(churn 'length')" "$ROUNDS"
is "each sent, and said what became of it" "$(churn '[.[] | select(.exit != 0 or .after4 == null)]')" "[]"
is "whose labels were known is connected, by the agent" "$(churn '[.[] | select(.kind == "governed" and (.after4 < 0 or .after6 < 0))]')" "[]"
is "whose labels came late waited for them, or was reset when the hold's grace was over" \
	"$(churn '[.[] | select(.kind == "held" and (.after4 < 0 or .after6 < 0) and ((.log // "") | contains("refused") | not))]')" "[]"
at_least "and is connected then" "$(churn '[.[] | select(.kind == "held" and .after4 >= 0)] | length')" 1
is "whom no policy selects is connected" "$(churn '[.[] | select(.kind == "untouched" and (.after4 < 0 or .after6 < 0))]')" "[]"
at_least "by itself: what it sent arrived, and so would have the others'" "$(arrived untouched)" "$((ROUNDS / 3 * 4))"
is "of those that are to be governed nothing arrived" "$(arrived governed)" 0
is "of those that were held neither" "$(arrived held)" 0
is "nor does the provider know of a connection of theirs" "$(mock_log '[.[] | select(.event == "connection" and .src_port >= 20000 and .src_port < 24000)] | length')" 0
at_least "while it does of those that nobody selects" "$(mock_log '[.[] | select(.event == "connection" and .src_port >= 25000 and .src_port < 27000)] | length')" "$((ROUNDS / 3))"
is "every request that it saw had the real key" "$(mock_requests 'true')" "$(mock_requests ".credentials.authorization == \"Bearer $(cat "$T_RUN/credentials/openai/key")\"")"
check "none of them is known any more" await 20 no_churn
is "nor is a pin of theirs left" "$(find "$E_PIN" | wc -l)" "$pins"
is "the others are what they were" "$(state u-a) $(state u-b)" "governed held"
is "and served" "$(ask podA)" 200
is "no gateway was replaced" "$(metric egret_gateway_restarts_total)" 0
hasnt "no report of a sanitizer" "$(log)" "Sanitizer"
checks_done
