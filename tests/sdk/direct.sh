#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The baseline: the SDKs straight to the mock providers, real key, no Egret. What fails here is the mock's fault.
set -u
cd "$(dirname "$0")" || exit 1
. ../lib/check.sh
. ../lib/topology.sh

topology_up esd podA
key=$(world_key openai api.openai.com)
akey=$(world_key anthropic api.anthropic.com)
world_up

sdk() { # VARIABLE=KEY FILE
	pod podA env "$1" NODE_EXTRA_CA_CERTS="$T_RUN/certs/root.crt" "$T_NODEJS" "$2"
}
sdk OPENAI_API_KEY="$key" openai.test.mjs | tee "$T_RUN/openai.out"
sdk ANTHROPIC_API_KEY="$akey" anthropic.test.mjs | tee "$T_RUN/anthropic.out"
sdk OPENAI_API_KEY="$key" realtime.test.mjs | tee "$T_RUN/realtime.out"
outputs=("$T_RUN/openai.out" "$T_RUN/anthropic.out" "$T_RUN/realtime.out")
C_PASSED=$(cat "${outputs[@]}" | grep -c '^ok ')
C_FAILED=$(cat "${outputs[@]}" | grep -c '^FAIL ')
[ "$(for o in "${outputs[@]}"; do tail -n1 "$o"; done | grep -cE '^[0-9]+ passed, [0-9]+ failed$')" = 3 ] ||
	fail "an SDK test ended without its count"

check_not "a client that does not trust the root is refused" pod podA env OPENAI_API_KEY="$key" "$T_NODEJS" hello.mjs
check "a wrong key is refused by the mock" \
	bash -c '[ "$1" = 401 ]' - "$(pod podA curl -s -o /dev/null -w '%{http_code}' --cacert "$T_RUN/certs/root.crt" \
	-H 'authorization: Bearer placeholder' -d '{}' https://api.openai.com/v1/chat/completions)"
at_least "the mock saw the requests with the real key" "$(mock_requests ".credentials.authorization == \"Bearer $key\"")" 20
checks_done
