#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The same SDK programs as in direct.sh, through Egret: placeholder keys, nothing else changed. Both ways of redirecting,
# both shapes of pods. The provider sees the real key and the client's exact bytes; the placeholder goes nowhere.
# Each provider that is made to fail is a provider of its own in policy/sdk.json, so that its cooldown hurts no other step.
set -u
cd "$(dirname "$0")" || exit 1
. ../lib/check.sh
. ../lib/topology.sh
. ../lib/egret.sh
egret_require

# sdk_run POD VARIABLE=KEY FILE [STEPS]: adds the program's own counts to ours.
sdk_run() {
	local out=$T_RUN/sdk.out
	pod_sdk "$@" > "$out" 2>&1
	cat "$out"
	C_PASSED=$((C_PASSED + $(grep -c '^ok ' "$out")))
	C_FAILED=$((C_FAILED + $(grep -c '^FAIL ' "$out")))
	tail -n1 "$out" | grep -qE '^[0-9]+ passed, [0-9]+ failed$' || fail "$3 ended without its count" "$(tail -n 5 "$out")"
}

# Ended in order, or left by the client: the access log goes on from one mode to the next.
websocket_records() {
	egret_records '.operation == "realtime" and .status == 101 and (.reason == "ok" or .reason == "client_closed")' 2>/dev/null | jq length
}

topology_up esc podA podB:routed
key=$(world_key openai api.openai.com)
akey=$(world_key anthropic api.anthropic.com)
world_up
egret_prepare policy
pod_register "$E_DIR/pods" podA sdk '{}'
pod_register "$E_DIR/pods" podB sdk '{}'

for E_MODE in netns mark; do
	echo "# mode $E_MODE"
	egret_up
	mock_forget
	before=$(websocket_records)
	if [ "$E_MODE" = netns ]; then
		sdk_run podA OPENAI_API_KEY=placeholder openai.test.mjs
		sdk_run podA ANTHROPIC_API_KEY=placeholder anthropic.test.mjs
	else
		sdk_run podA OPENAI_API_KEY=placeholder openai.test.mjs 'completion|streaming|tool call|2 MB|form'
	fi
	sdk_run podB OPENAI_API_KEY=placeholder openai.test.mjs 'completion|streaming|2 MB|form'
	sdk_run podB OPENAI_API_KEY=placeholder realtime.test.mjs
	sdk_run podB ANTHROPIC_API_KEY=placeholder anthropic.test.mjs 'message|streaming'

	# The gateway's own address: plain HTTP, no certificate, the base URL by the SDKs' own variables.
	export OPENAI_BASE_URL=http://169.254.77.1/v1 ANTHROPIC_BASE_URL=http://169.254.77.1
	sdk_run podA OPENAI_API_KEY=placeholder openai.test.mjs 'completion|streaming|tool call|2 MB|embeddings|bad request|form'
	sdk_run podB ANTHROPIC_API_KEY=placeholder anthropic.test.mjs 'message|streaming|tool use|bad request'
	sdk_run podA OPENAI_API_KEY=placeholder realtime.test.mjs 'ping and pong|browser' # the SDK itself insists on TLS
	unset OPENAI_BASE_URL ANTHROPIC_BASE_URL

	at_least "$E_MODE: requests arrived" "$(mock_requests)" 10
	is "$E_MODE: each OpenAI request carried the real key" \
		"$(mock_requests ".host == \"api.openai.com\" and .credentials.authorization != \"Bearer $key\"")" 0
	is "$E_MODE: each Anthropic request carried the real key, and once" \
		"$(mock_requests ".host == \"api.anthropic.com\" and .credentials != {\"x-api-key\": \"$akey\"}")" 0
	at_least "$E_MODE: WebSockets were opened" "$(mock_requests '.path == "/v1/realtime?model=gpt-realtime"')" 26
	is "$E_MODE: no organisation of the pod's went along" "$(grep -c org-of-the-pod "$T_RUN/provider.jsonl")" 0
	is "$E_MODE: each WebSocket has its record" "$(($(websocket_records) - before))" \
		"$(mock_requests '.path == "/v1/realtime?model=gpt-realtime"')"
	is "$E_MODE: no placeholder left the node" "$(grep -c placeholder "$T_RUN/provider.jsonl")" 0

	# Forms: a route by model took them, its target's own name went out, and nothing else of them was changed.
	at_least "$E_MODE: transcriptions arrived by the provider's name for the model" \
		"$(mock_requests '.path == "/v1/audio/transcriptions" and .model == "whisper-large-v3"')" 4
	is "$E_MODE: none by the client's name for it" "$(mock_requests '.model == "whisper-1"')" 0
	at_least "$E_MODE: by the route for them" "$(grep -c '"route":"openai-sound"' "$E_DIR/access.jsonl")" 4
	form=$'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nRIFF\r\n--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nMODEL\r\n'
	pod_form() { pod_curl podA -H 'authorization: Bearer placeholder' -H 'content-type: multipart/form-data; boundary=b' \
		--data-binary "$1" -o "$T_RUN/answer" -w '%{http_code}' https://api.openai.com/v1/audio/transcriptions; }
	is "$E_MODE: a form by hand" "$(pod_form "${form/MODEL/whisper-1}--b--")" 200
	is "$E_MODE: it arrived with the model's name replaced, else byte for byte" "$(mock_last .body_sha256)" \
		"$(printf '%s' "${form/MODEL/whisper-large-v3}--b--" | sha256sum | cut -d' ' -f1)"
	is "$E_MODE: a form with two models" "$(pod_form "${form/MODEL/a}${form/MODEL/b}--b--")" 400
	has "$E_MODE: and why" "$(cat "$T_RUN/answer")" 'a second \"model\"; expected one'
	is "$E_MODE: a form that refers to a stored file" "$(pod_form "${form/MODEL/a}${form/name=?model?/name=file_id}--b--")" 403
	has "$E_MODE: and why" "$(cat "$T_RUN/answer")" egret_stateful_denied

	body='{"model": "gpt-4o",  "messages":[{"role":"user","content":"gr\u00fc\u00dfe, \u4e16"}] , "seed":1e0}'
	pod_curl podA -o /dev/null -H 'authorization: Bearer placeholder' -H 'content-type: application/json' \
		-d "$body" https://api.openai.com/v1/chat/completions
	is "$E_MODE: the body arrived byte for byte" "$(mock_last .body_sha256)" "$(printf '%s' "$body" | sha256sum | cut -d' ' -f1)"
	is "$E_MODE: over IPv6" "$(pod_curl podA -6 -o /dev/null -w '%{http_code}' -H 'authorization: Bearer placeholder' \
		-H 'content-type: application/json' -d "$body" https://api.openai.com/v1/chat/completions)" 200
	# A client that does not trust the CA is counted, so that a roll-out can be watched.
	rejected() { node curl -s http://127.0.0.1:9909/metrics | awk '/^egret_ca_rejected_total/ {n += $2} END {print n + 0}'; }
	before=$(rejected)
	pod podA curl -s -o /dev/null --max-time 10 https://api.openai.com/v1/models
	is "$E_MODE: one that rejects the CA is counted" "$(($(rejected) - before))" 1
	egret_down
done
checks_done
