#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Few descriptors (RLIMIT_NOFILE of 512, the least that egretd starts with) and more credentials than that.
set -u
cd "$(dirname "$0")" || exit 1
. ./agent_lib.sh
agent_prepare egfiles
crowd() { # N: a policy file whose N credentials are all used
	jq -n --argjson n "$1" '[range($n)] | {version: "egret/v1",
		credentials: (map({key: "many-\(.)", value: {type: "bearer", file: "many/\(.)"}}) | from_entries),
		providers: (map({key: "many-\(.)", value: {kind: "openai", endpoint: "https://api.openai.com/v1", credential: "many-\(.)"}}) | from_entries),
		policies: [{name: "many", pods: {namespaces: ["elsewhere"]}, otherwise: "deny",
			routes: map({name: "many-\(.)", match: {hosts: ["api.openai.com"], models: ["model-\(.)"]}, targets: [{provider: "many-\(.)"}]})}]}' > "$T_RUN/crowd.json"
	mv "$T_RUN/crowd.json" "$E_DIR/policy/20-crowd.json"
}
mkdir "$T_RUN/credentials/many"
for i in $(seq 0 619); do echo "sk-many-$i-0123456789abcdef" > "$T_RUN/credentials/many/$i"; done
crowd 600
LIMITED=$T_RUN/egretd-512
printf '#!/bin/bash\nexec prlimit --nofile=512:512 "%s" "$@"\n' "$EGRETD" > "$LIMITED"
chmod 755 "$LIMITED"
UNLIMITED=$EGRETD EGRETD=$LIMITED
egret_up --workers 1
EGRETD=$UNLIMITED
is "600 credentials, 512 descriptors: egretd serves" "$(ask podA)" 200
is "with all of them" "$(ctl status --json | jq -c "[.state, .credentials_missing]")" '["serving",0]'
is "by a gateway that has no more descriptors" "$(awk '/^Max open files/ { print $4, $5 }' "/proc/$(pid_of gateway)/limits")" "512 512"
GATEWAY=$(pid_of gateway) SEEN=$(egret_generation)
crowd 620
check "20 more are taken" await 20 egret_newer "$SEEN"
is "by the same gateway, which serves" "$(ask podA) $(pid_of gateway)" "200 $GATEWAY"
is "it has not been replaced" "$(metric egret_gateway_restarts_total)" 0
is "and holds few of them open" "$(($(find "/proc/$GATEWAY/fd" -mindepth 1 | wc -l) < 100))" 1

# More descriptors than 512 can't be on their way, either: who is slow to take them is waited for, a moment.
SEEN=$(egret_generation)
kill -STOP "$GATEWAY"
crowd 619
sleep 0.3
kill -CONT "$GATEWAY"
check "the gateway had no CPU meanwhile: it has all of them after that" await 20 egret_newer "$SEEN"
is "and serves" "$(ask podA) $(pid_of gateway)" "200 $GATEWAY"
checks_done
