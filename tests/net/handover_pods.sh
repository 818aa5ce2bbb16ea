#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Pods that come and go while one egretd hands over to the next, as in each rollout: the one that came is served, of the one that
# went nothing is left, and of those that stayed no request fails.
set -u
cd "$(dirname "$0")" || exit 1
. ./handover_lib.sh
agent_prepare eghandp
pod_register "$E_DIR/pods" podB shop '{"app":"assistant"}'
pins_of() { find "$E_PIN/links" -name "*-$1" | wc -l; }
known() { [ "$(ctl pods --json | jq -r '[.pods[] | .name] | sort | join(" ")')" = "$1" ]; }

first --link-prefix veth-
is "both are served" "$(ask podA) $(ask podB)" "200 200"
GONE=$(node ip -j link show dev "$(pod_link podB)" | jq '.[0].ifindex')
at_least "podB's link has pins" "$(pins_of "$GONE")" 2
RATE=50 LANES=2 load_begin
next_held --link-prefix veth-
pod_add podN
pod_register "$E_DIR/pods" podN shop '{"app":"assistant"}'
rm "$E_DIR/pods/shop-podB.json"
ip -n "$T_NODE" link del "$(pod_link podB)"
release
check "it takes over" await 30 in_charge "$E_PID"
check "it knows who came and who went" await 10 known "podA podN"
is "the one that came is served in both families" "$(ask podN -4) $(ask podN -6)" "200 200"
load_end "the one that stayed"
is "of the one that went no pin is left" "$(pins_of "$GONE")" 0
is "nor a place in the kernel's tables" "$(ctl pods --kernel --json | jq "[.pods[] | select(.name | endswith(\"podB\"))] | length")" 0
has "egretctl doctor has nothing to say of it" "$(ctl doctor)" "links of pods carry the program; 0 dead pins"
check "the old one ends" await 40 gone "$OLD_PID"

echo "# a pod that the policy no longer selects, before a hand-over and in one"
governed() { [ "$(bpftool -j map dump pinned "$E_PIN/pods" | jq "[.[].formatted.value | select(.name == \"shop/podA\") | .state][0] == 2")" = "$1" ]; }
POLICY=$(echo "$E_DIR"/policy/*.json)
cp "$POLICY" "$T_RUN/selecting.json"
jq '.policies[0].pods.namespaces = ["elsewhere"]' "$POLICY" > "$T_RUN/selecting-none.json"
stream_begin 700
cp "$T_RUN/selecting-none.json" "$POLICY"
check "it is not governed any more" await 10 governed false
next
check "another takes over" await 30 in_charge "$E_PID"
stream_end "what was with the agent before"
cp "$T_RUN/selecting.json" "$POLICY"
check "it is governed again" await 10 governed true
check "the old one ends" await 40 gone "$OLD_PID"
stream_begin 700
next_held
cp "$T_RUN/selecting-none.json" "$POLICY"
release
check "another takes over, with the policy that does not select it" await 30 in_charge "$E_PID"
check "it is not governed any more" await 10 governed false
stream_end "what was with the agent before"
check "the old one ends" await 40 gone "$OLD_PID"
stop
E_PID=
checks_done
