#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The SDK programs of direct.sh, through Egret, with providers that speak HTTP/2: what an application sees is the same, and each
# request carried the real key. capture.sh has the rest, over HTTP/1.1.
set -u
cd "$(dirname "$0")" || exit 1
. ../lib/check.sh
. ../lib/topology.sh
. ../lib/egret.sh
egret_require

sdk_run() { # POD VARIABLE=KEY FILE: adds the program's own counts to ours.
	local out=$T_RUN/sdk.out
	pod_sdk "$@" > "$out" 2>&1
	cat "$out"
	C_PASSED=$((C_PASSED + $(grep -c '^ok ' "$out")))
	C_FAILED=$((C_FAILED + $(grep -c '^FAIL ' "$out")))
	tail -n1 "$out" | grep -qE '^[0-9]+ passed, [0-9]+ failed$' || fail "$3 ended without its count" "$(tail -n 5 "$out")"
}

E_HTTP2=1
topology_up esh podA
key=$(world_key openai api.openai.com)
akey=$(world_key anthropic api.anthropic.com)
world_up
egret_prepare policy
pod_register "$E_DIR/pods" podA sdk '{}'
egret_up
mock_forget
sdk_run podA OPENAI_API_KEY=placeholder openai.test.mjs
sdk_run podA ANTHROPIC_API_KEY=placeholder anthropic.test.mjs
at_least "requests arrived" "$(mock_requests)" 10
is "all of them over HTTP/2" "$(mock_requests '.http != "2.0"')" 0
is "each OpenAI request carried the real key" \
	"$(mock_requests ".host == \"api.openai.com\" and .credentials.authorization != \"Bearer $key\"")" 0
is "each Anthropic request carried the real key, and once" \
	"$(mock_requests ".host == \"api.anthropic.com\" and .credentials != {\"x-api-key\": \"$akey\"}")" 0
is "no placeholder left the node" "$(grep -c placeholder "$T_RUN/provider.jsonl")" 0

# A WebSocket is opened by Upgrade, which HTTP/2 has not: over a connection for which it is not offered.
mock_forget
sdk_run podA OPENAI_API_KEY=placeholder realtime.test.mjs
is "WebSockets were opened over HTTP/1.1" "$(mock_log '[.[] | select(.event == "request" and (.path | startswith("/v1/realtime?"))) | .http] | unique' | jq -c .)" '["1.1"]'
checks_done
