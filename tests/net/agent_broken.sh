#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A large policy set that is wrong everywhere, on a node that gives the supervisor little CPU: refusing it takes seconds, and nobody's
# connections may be judged meanwhile as if no agent ran.
set -u
cd "$(dirname "$0")" || exit 1
. ./agent_lib.sh
. ../lib/cpu_limit.sh
cpu_limit_require
agent_prepare egbroken
python3 - "$T_RUN/next" <<'EOP'
import json, os, sys
os.makedirs(sys.argv[1])
for n in range(5):
    policies = [{"name": f"p{n}-{i}", "pods": {"namespaces": [f"ns{i}"]}, "otherwise": "nothing", "routes": [
        {"name": "r", "match": {"hosts": ["api.openai.com"], "models": [f"m{i}-*"]}, "targets": [{"provider": "nobody"}]}]} for i in range(5000)]
    with open(f"{sys.argv[1]}/{n}0-broken.json", "w") as f:
        json.dump({"version": "egret/v1", "policies": policies}, f)
EOP
egret_up --fail open
is "at first all is well" "$(ask podA)" 200
asking_begins
refused() { [ "$(grep -c 'is refused whole' "$T_RUN/egretd.log")" -ge "$1" ]; }
cpu_limit "$E_PID" 10
for n in 1 2; do
	touch "$T_RUN/next"/*.json
	sed -i "s/nothing/nothing$n/" "$T_RUN/next/00-broken.json" # another text
	cp -r "$T_RUN/next" "$T_RUN/now"
	mv "$T_RUN/now"/*.json "$E_DIR/policy/"
	rmdir "$T_RUN/now"
	check "a set of 5 MiB that is wrong everywhere is refused ($n)" await 60 refused "$n"
	sleep 1
done
asking_ends
cpu_limit_end
checks_done
