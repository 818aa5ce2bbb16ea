#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A policy set of which the kernel takes only a part (a map is full, by somebody else's entries here): the last good one is written again.
set -u
cd "$(dirname "$0")" || exit 1
. ./agent_lib.sh
agent_prepare eghalf
cp "$E_DIR/policy/10-all.json" "$T_RUN/good.json"
NAMES=$E_PIN/watched_names
verdicts() { bpftool -j map dump pinned "$E_PIN/verdicts" | jq length; }
entries() { # a batch for bpftool: as many entries as the map of names may have
	python3 - "$NAMES" "$(bpftool -j map show pinned "$NAMES")" <<-'EOP'
	import json, sys
	pin, shape = sys.argv[1], json.loads(sys.argv[2])
	key, value, most = shape["bytes_key"], shape["bytes_value"], shape["max_entries"]
	for i in range(most):
	    print(f"map update pinned {pin} key hex " + " ".join(f"{b:02x}" for b in (i + 1).to_bytes(key, "little")) + " value hex" + " 00" * value)
	EOP
}
new_set() { # WORD: the good one, and a policy of another kind with a name of its own
	jq --arg name "$1.example.com" '.policies += [{name: "more", mode: "shadow", pods: {namespaces: ["more"]}, otherwise: "pass",
		routes: [{name: "more", match: {hosts: [$name], models: ["gpt-4o*"]}, targets: [{provider: "openai"}]}]}]' "$T_RUN/good.json" > "$T_RUN/next.json"
	mv "$T_RUN/next.json" "$E_DIR/policy/10-all.json"
}
refused() { [ "$(metric egret_policy_rejected_total)" -ge "$1" ]; }
egret_up
is "at first all is well" "$(ask podA)" 200
BEFORE=$(verdicts) VERSION=$(ctl status --json | jq -r .policy.version)
entries > "$T_RUN/fill"
bpftool batch file "$T_RUN/fill" > /dev/null 2> "$T_RUN/fill.err" # until the map is full, which ends it
has "the map of names is full" "$(cat "$T_RUN/fill.err")" "Argument list too long"
new_set one
check "a set with another name is refused" await 20 refused 1
has "with the reason" "$(log)" "cannot watch the name one.example.com: the map is full"
written_again() { [ "$(verdicts)" = "$BEFORE" ]; }
check "nothing of it is left in the kernel: the last good set is written again" await 20 written_again
is "which is in force" "$(ctl status --json | jq -r .policy.version) $(ask podA)" "$VERSION 200"
is "it is refused once" "$(metric egret_policy_rejected_total)" 1

# No set at all can be written: what is in force stays, and is tried again from time to time, not all the time.
bpftool map freeze pinned "$E_PIN/verdicts" || fail "the map of verdicts can't be frozen" ""
new_set two
check "nor can another one be" await 20 refused 2
sleep 2
is "what is in force serves" "$(ask podA) $(ctl status --json | jq -r .policy.version)" "200 $VERSION"
has "that it is tried again is said" "$(log)" "the policy in force could not be written again"
is "and not all the time" "$(($(grep -c 'could not be written again' "$T_RUN/egretd.log") <= 3))" 1
# Nor with one more address of the node, which is a reason to write the set that is in force.
node ip address add 198.51.100.77/32 dev lo
kill -HUP "$E_PID"
sleep 2
is "which is no reason to refuse it" "$(metric egret_policy_rejected_total) $(ask podA)" "2 200"
is "and not offered without end" "$(($(egret_generation) < 20))" 1
checks_done
