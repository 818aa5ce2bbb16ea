#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# How the SDKs of OpenAI and Anthropic fail, ask again and are left: straight to the mock with real keys, then through Egret with placeholders,
# to providers over HTTP/1.1 and over HTTP/2. What each call gives is the same but for what openai_anthropic/differs.json lists, and the
# provider sees the same requests. direct.sh, capture.sh and h2_upstream.sh have what succeeds.
set -u
cd "$(dirname "$0")" || exit 1
. ../lib/check.sh
. ../lib/topology.sh
. ../lib/egret.sh
. seen.sh
egret_require

# What the provider saw, in no order. mock-close: Egret asks again over a new connection. A form's boundary is another each time.
arrived() {
	jq -cS 'select(.event == "request" and .model != "mock-close") | {method, path, model, stream, body_sha256} |
		if .path | test("audio") then del(.body_sha256) else . end' "$T_RUN/provider.jsonl" | sort
}
# through NAME [/STEPS]
through() {
	local name=$1; shift
	mock_forget
	mock_clear
	seen_all "$name" podA "$T_RUN/pod-roots.crt" OPENAI_API_KEY=placeholder ANTHROPIC_API_KEY=placeholder -- openai_fails anthropic_fails "$@"
	cat "$T_RUN/$name"-{openai,anthropic}_fails > "$T_RUN/$name.seen"
	is "$name: no placeholder left the node" "$(grep -c placeholder "$T_RUN/provider.jsonl")" 0
}

topology_up esfail podA
openai=$(world_key openai api.openai.com)
anthropic=$(world_key anthropic api.anthropic.com)
world_up

echo "# straight to the provider"
seen_all direct podA "$T_RUN/certs/root.crt" OPENAI_API_KEY="$openai" ANTHROPIC_API_KEY="$anthropic" -- openai_fails anthropic_fails
for sdk in openai_fails anthropic_fails; do seen_count "$T_RUN/direct-$sdk"; done
cat "$T_RUN"/direct-{openai,anthropic}_fails > "$T_RUN/direct"
arrived > "$T_RUN/arrived.direct"
at_least "requests arrived" "$(wc -l < "$T_RUN/arrived.direct")" 60

echo "# through Egret"
egret_prepare openai_anthropic/policy.json
pod_register "$E_DIR/pods" podA sdk '{}'
egret_up
through http1
seen_same direct http1.seen openai_anthropic/differs.json
arrived > "$T_RUN/arrived.http1"
is "the same requests, retries and all" "$(diff "$T_RUN/arrived.direct" "$T_RUN/arrived.http1")" ""
egret_down

echo "# over HTTP/2; what the mock does inside a body it does to HTTP/1.1 alone"
E_HTTP2=1
mock_http2 on
egret_up
through http2 '/^(?!.*(body|inside an answer))'
grep -vE '^saw - [^=]*(body|inside an answer)' "$T_RUN/direct" > "$T_RUN/direct.http2"
seen_same direct.http2 http2.seen openai_anthropic/differs.json
is "all of it over HTTP/2" "$(mock_requests '.http != "2.0"')" 0
egret_down
checks_done
