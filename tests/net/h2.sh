#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# HTTP/2 from a pod through the capture: curl and Node.js, many streams, denials, cuts, the gateway address with prior
# knowledge, and a drain while streams are in flight.
set -u
cd "$(dirname "$0")" || exit 1
. ./agent_lib.sh
agent_prepare egh2
egret_up

CHAT='{"model":"gpt-4o","messages":[{"role":"user","content":"ping"}]}'
# curl2 ARG...: one request over HTTP/2; prints "status version".
curl2() {
	pod_curl podA --http2 -D "$T_RUN/head" -o "$T_RUN/body" -w '%{http_code} %{http_version}' -H 'authorization: Bearer placeholder' \
		-H 'content-type: application/json' "$@" 2>"$T_RUN/curl.err"
}
reason() { tr -d '\r' < "$T_RUN/head" | sed -n 's/^x-egret-reason: //Ip'; }
h2() { pod_sdk podA OPENAI_API_KEY=placeholder "$T_ROOT/tests/net/clients/h2.mjs" "$@"; }

echo "# curl"
is "answered over HTTP/2" "$(curl2 -d "$CHAT" https://api.openai.com/v1/chat/completions)" "200 2"
is "the record says so" "$(egret_last '[.protocol, .reason] | @json')" '["HTTP/2","ok"]'
is "the provider got the real key and the exact bytes" "$(mock_last '.credentials.authorization + " " + .body_sha256')" \
	"Bearer $OPENAI $(printf '%s' "$CHAT" | sha256sum | cut -d' ' -f1)"
hasnt "no field of an HTTP/1.1 connection in the answer" "$(tr A-Z a-z < "$T_RUN/head")" "connection:"
has "the id of the request in it" "$(cat "$T_RUN/head")" "x-egret-request-id: "
is "who asks for HTTP/1.1 gets it" "$(curl2 --http1.1 -d "$CHAT" https://api.openai.com/v1/chat/completions)" "200 1.1"
is "a stream, to its end" "$(curl2 -d "${CHAT/\{/\{\"stream\":true,}" https://api.openai.com/v1/chat/completions; grep -c 'DONE' "$T_RUN/body")" "200 21"
head -c 3000000 /dev/zero | tr '\0' ' ' > "$T_RUN/spaces"
{ printf '%s' "$CHAT"; cat "$T_RUN/spaces"; } > "$T_RUN/big"
is "3 MB of body, through every window" "$(curl2 --data-binary @"$T_RUN/big" https://api.openai.com/v1/chat/completions)" "200 2"
is "they arrived byte for byte" "$(mock_last .body_sha256)" "$(sha256sum < "$T_RUN/big" | cut -d' ' -f1)"
mock_mode api.openai.com big-body-20 1
is "20 MB of answer" "$(curl2 -d "$CHAT" https://api.openai.com/v1/chat/completions; stat -c %s "$T_RUN/body")" "200 2$((20 << 20))"
is "denied in dialect" "$(curl2 https://api.openai.com/v1/files) $(reason)" "403 2 stateful_denied"
is "another host on the connection" "$(curl2 -H 'host: api.anthropic.com' https://api.openai.com/v1/models) $(reason)" "421 2 host_mismatch"
is "denied before 3 MB are read: the answer arrives" "$(curl2 --data-binary @"$T_RUN/big" https://api.openai.com/v1/nothing) $(reason)" "403 2 unknown_operation"
is "HEAD" "$(curl2 -I https://api.openai.com/v1/nothing)" "403 2"

echo "# after the first byte: no clean end"
for mode in clean-cut-stream cut-stream; do
	mock_clear; sleep 2.2 # past a cooldown
	mock_mode api.openai.com $mode 1
	curl2 -d "${CHAT/\{/\{\"stream\":true,}" https://api.openai.com/v1/chat/completions >/dev/null; CODE=$?
	is "$mode: RST_STREAM ($(cat "$T_RUN/curl.err"))" "$CODE" 92
	has "$mode: after the dialect's error event" "$(cat "$T_RUN/body")" '"error"'
	isnt "$mode: it is no success in the record" "$(egret_last .reason)" ok
done
mock_clear; sleep 2.2
mock_mode api.openai.com error-mid-stream 1
curl2 -d "${CHAT/\{/\{\"stream\":true,}" https://api.openai.com/v1/chat/completions >/dev/null; CODE=$?
is "the provider's own error inside a stream ends as it ended there" "$CODE $(grep -c '"error"' "$T_RUN/body") $(egret_last .reason)" "0 1 upstream_error"
mock_clear; sleep 2.2

echo "# Node.js, many streams on one connection"
mock_forget
R=$(h2 https://api.openai.com 100 gpt-4o true)
is "100 streams at once, each to its end" "$(jq -c '[.alpn, .statuses, .ended, .done, .errors]' <<<"$R")" '["h2",{"200":100},100,100,{}]'
is "the limit is announced" "$(jq .streams <<<"$R")" 100
is "they came on one connection of the pod" "$(egret_records '.protocol == "HTTP/2" and .streamed and .connection_reused' | jq 'length >= 99')" true
is "all reached the provider" "$(mock_requests)" 100
R=$(h2 https://api.openai.com 101)
is "101: the client keeps one back until there is room" "$(jq -c '[.statuses, .done, .errors]' <<<"$R")" '[{"200":101},101,{}]'
R=$(h2 https://api.openai.com 20 o99)
is "denials, each in dialect" "$(jq -c '[.statuses, .reason]' <<<"$R")" '[{"403":20},"model_denied"]'

echo "# the gateway address, with prior knowledge"
is "curl" "$(curl2 --http2-prior-knowledge -d "$CHAT" http://169.254.77.1/v1/chat/completions)" "200 2"
is "is recorded as HTTP/2" "$(egret_last .protocol)" "HTTP/2"
is "HTTP/1.1 there as before" "$(curl2 --http1.1 -d "$CHAT" http://169.254.77.1/v1/chat/completions)" "200 1.1"
is "an offer of h2c is no prior knowledge, and is ignored" "$(curl2 -d "$CHAT" http://169.254.77.1/v1/chat/completions)" "200 1.1"
R=$(h2 http://169.254.77.1 50)
is "Node.js, 50 streams" "$(jq -c '[.statuses, .done]' <<<"$R")" '[{"200":50},50]'

echo "# an orderly end: streams in flight are finished"
rm -f "$T_RUN/heads"
mock_mode api.openai.com slow-stream-150
h2 https://api.openai.com 30 gpt-4o true "$T_RUN/heads" > "$T_RUN/drained" &
CLIENT=$!
await 20 test -e "$T_RUN/heads"
kill -TERM "$E_PID"
wait $CLIENT
R=$(cat "$T_RUN/drained"); echo "     $R"
is "all 30 to their end" "$(jq -c '[.statuses, .done]' <<<"$R")" '[{"200":30},30]'
is "the client was told by GOAWAY without an error" "$(jq .goaway <<<"$R")" 0
await 20 sh -c "! kill -0 $E_PID 2>/dev/null"
check_not "then egretd ends" kill -0 "$E_PID"
E_PID=
hasnt "no report of a sanitizer" "$(cat "$T_RUN/egretd.log")" "Sanitizer"
hasnt "nothing was a bug" "$(cat "$T_RUN/egretd.log")" "bug:"
checks_done
