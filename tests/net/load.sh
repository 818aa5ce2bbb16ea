#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# 10,000 requests over 64 connections through capture, TLS, policy and credential: none fails.
set -u
cd "$(dirname "$0")" || exit 1
. ../lib/check.sh
. ../lib/topology.sh
. ../lib/egret.sh
egret_require

REQUESTS=${REQUESTS:-10000} CONNECTIONS=${CONNECTIONS:-64}
topology_up egload podA
OPENAI=$(world_key openai api.openai.com)
world_key openai-eu eu.api.openai.com >/dev/null
world_key anthropic api.anthropic.com >/dev/null
world_up
egret_prepare policies/attacks
pod_register "$E_DIR/pods" podA shop '{}'
# ThreadSanitizer makes 64 handshakes at once take longer than the default allows; which of them is late is not what is looked at.
if ldd "$EGRETD" | grep -q libtsan; then egret_patient; fi
egret_up

r=$(pod_sdk podA OPENAI_API_KEY=placeholder "$T_ROOT/tests/lib/load.mjs" --url https://api.openai.com/v1/chat/completions \
	--requests "$REQUESTS" --connections "$CONNECTIONS" --header 'authorization: Bearer placeholder' \
	--body '{"model":"gpt-4o","messages":[{"role":"user","content":"request {n}."}]}' --expect 'request {n}.' | tail -n 1)
echo "$r"
is "all were answered, each with its own answer" "$(jq .ok <<<"$r")" "$REQUESTS"
is "none failed" "$(jq .failed <<<"$r")" 0
is "the provider saw each once" "$(mock_requests)" "$REQUESTS"
is "always the real key" "$(mock_requests ".credentials.authorization == \"Bearer $OPENAI\"")" "$REQUESTS"
is "one access record a request" "$(egret_records '.type == "request" and .reason == "ok"' | jq length)" "$REQUESTS"
at_least "nearly all went out on pooled connections" "$(egret_records '.upstream_reused == true' | jq length)" $((REQUESTS * 95 / 100))
is "request ids are unique" "$(jq -r .request_id "$E_DIR/access.jsonl" | sort | uniq -d | wc -l)" 0
checks_done
