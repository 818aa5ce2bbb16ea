#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# HTTP/1.1 from the pod, HTTP/2 to the provider: many requests on one connection, streams, failover and cuts, and what
# HTTP/2 can say that HTTP/1.1 can't: "I did nothing with it". One worker, so that there is one pool.
set -u
cd "$(dirname "$0")" || exit 1
. ../lib/check.sh
. ../lib/topology.sh
. ../lib/egret.sh
egret_require

E_HTTP2=1
topology_up eh2u podA
MISTRAL=$(world_key mistral api.mistral.ai)
world_key groq api.groq.com >/dev/null
world_key openai-us us.api.openai.com >/dev/null
world_key openai api.openai.com >/dev/null
ANTHROPIC=$(world_key anthropic api.anthropic.com)
world_up
egret_prepare policies/h2_upstream
pod_register "$E_DIR/pods" podA shop '{}'
egret_up --workers 1

# ask HOST [STREAM] [PATH]: sets STATUS, REASON, BODY, CODE (curl's).
ask() {
	STATUS=$(pod_curl podA -D "$T_RUN/head" -o "$T_RUN/body" -w '%{http_code}' -H 'authorization: Bearer placeholder' \
		-H 'content-type: application/json' \
		-d "{\"model\":\"gpt-4o\",\"stream\":${2:-false},\"messages\":[{\"role\":\"user\",\"content\":\"ping\"}]}" \
		"https://$1${3:-/v1/chat/completions}" 2>"$T_RUN/curl.err"); CODE=$?
	REASON=$(tr -d '\r' < "$T_RUN/head" | sed -n 's/^x-egret-reason: //Ip')
	BODY=$(cat "$T_RUN/body" 2>/dev/null)
}
GROQ=/openai/v1/chat/completions
fresh() { mock_clear; mock_forget; sleep 2.2; } # past a default cooldown
tls_connections() { mock_log "[.[] | select(.event == \"tls\" and .sni == \"$1\")] | length"; }

echo "# a request"
mock_forget
body='{"model": "gpt-4o",  "messages":[{"role":"user","content":"gr\u00fc\u00dfe"}] , "seed":1e0}'
is "it is answered" "$(pod_curl podA -o /dev/null -w '%{http_code}' -H 'authorization: Bearer placeholder' -H 'X-Odd: 1' \
	-H 'content-type: application/json' -d "$body" https://api.mistral.ai/v1/chat/completions)" 200
is "over HTTP/2" "$(mock_last .http)" 2.0
is "with the real key, and no other credential" "$(mock_last '.credentials | tojson')" "{\"authorization\":\"Bearer $MISTRAL\"}"
is "for the provider's name" "$(mock_last .authority)" api.mistral.ai
is "byte for byte" "$(mock_last .body_sha256)" "$(printf '%s' "$body" | sha256sum | cut -d' ' -f1)"
is "nothing of HTTP/1.1's framing is in it" \
	"$(mock_last '[.headers[][0] | select(. == "connection" or . == "transfer-encoding" or . == "host")] | length')" 0
is "the record says so" "$(egret_last '.upstream_protocol + " " + (.upstream_reused | tostring)')" "HTTP/2 null"
ask api.mistral.ai
is "the next one takes the same connection" "$(tls_connections api.mistral.ai) $(egret_last .upstream_reused)" "1 true"
ask api.anthropic.com false /v1/messages
is "another credential has a connection of its own" "$(mock_last .http) $(mock_last '.credentials["x-api-key"]') $(tls_connections api.anthropic.com)" \
	"2.0 $ANTHROPIC 1"
ask api.openai.com
is "\"http2\": false is HTTP/1.1" "$STATUS $(mock_last .http) $(egret_last .upstream_protocol)" "200 1.1 HTTP/1.1"

echo "# many at once"
fresh
mock_mode us.api.openai.com slow-first-byte-1500
many=()
for i in $(seq 40); do
	pod_curl podA -o /dev/null -w '%{http_code}\n' -H 'content-type: application/json' -H 'authorization: Bearer placeholder' \
		-d '{"model":"gpt-4o","messages":[{"role":"user","content":"'"$i"'"}]}' https://us.api.openai.com/v1/chat/completions >> "$T_RUN/many" 2>&1 &
	many+=($!)
done
wait "${many[@]}"
is "forty requests at once are answered" "$(sort "$T_RUN/many" | uniq -c | tr -s ' ')" " 40 200"
is "on one connection: those that came while it was dialled waited for it" "$(tls_connections us.api.openai.com)" 1

echo "# streams"
fresh
ask api.mistral.ai true
is "a stream comes whole" "$CODE $(tail -n 1 <<<"$BODY")" "0 data: [DONE]"
is "and counts as one" "$(egret_last '.reason + " " + (.streamed | tostring)')" "ok true"
big=$(pod_curl podA -o /dev/null -w '%{http_code} %{size_download}' -H 'content-type: application/json' -H 'authorization: Bearer placeholder' \
	-d '{"model":"mock-big-body-20","messages":[]}' https://api.mistral.ai/v1/chat/completions)
at_least "20 MiB pass a window of 64 KiB" "${big#* }" 20000000
head -c 8000000 /dev/zero | tr '\0' 'a' | sed 's/^/{"model":"gpt-4o","messages":[{"role":"user","content":"/; s/$/"}]}/' > "$T_RUN/large.json"
is "8 MB are taken" "$(pod_curl podA -o /dev/null -w '%{http_code}' -H 'content-type: application/json' -H 'authorization: Bearer placeholder' \
	--data-binary @"$T_RUN/large.json" https://api.mistral.ai/v1/chat/completions)" 200
is "byte for byte" "$(mock_last .body_sha256)" "$(sha256sum < "$T_RUN/large.json" | cut -d' ' -f1)"

echo "# failover"
for mode in 503 502-html reset close garbage cut-head connect-h2-flood; do
	fresh
	# The flood is a connection's: none may be in the pool.
	[ "$mode" != connect-h2-flood ] || { egret_down; egret_up --workers 1; }
	mock_mode api.mistral.ai $mode
	ask api.mistral.ai
	is "$mode at the first target: the second answers, over HTTP/2" "$STATUS $(mock_last .host) $(egret_last .upstream_protocol)" "200 api.groq.com HTTP/2"
	is "$mode: the record has both" "$(egret_last '.attempts | length')" 2
done
fresh
mock_mode api.mistral.ai error-first-event 1
ask api.mistral.ai true
is "an error as a stream's first event: the next target answers" "$STATUS $CODE $(mock_last .host)" "200 0 api.groq.com"

echo "# after the first byte: no failover, no clean end"
for mode in h2-rst-body cut-stream; do
	fresh
	mock_mode api.mistral.ai $mode 1
	ask api.mistral.ai "$([ $mode = h2-rst-body ] && echo false || echo true)"
	isnt "$mode: curl sees that it is not whole" "$CODE" 0
	is "$mode: the second target was not asked" "$(mock_requests '.host == "api.groq.com"')" 0
	isnt "$mode: it is no success in the record" "$(egret_last .reason)" ok
done
fresh
mock_mode api.mistral.ai error-mid-stream 1
ask api.mistral.ai true
is "the provider's own error inside a stream ends as it ended there" "$CODE $(mock_requests '.host == "api.groq.com"') $(egret_last .reason)" "0 0 upstream_error"

echo "# what the provider did nothing with is asked again at once, also where replay is never"
for mode in h2-refused h2-goaway h2-http1; do
	fresh
	# Not the first of its connection, which this route takes again only for a second: a slow machine may need another try.
	for try in 1 2 3 4 5 6 7 8 9 10; do
		ask api.groq.com false $GROQ
		mock_forget
		mock_mode api.groq.com $mode 1
		ask api.groq.com false $GROQ
		[ "$(mock_requests)" = 1 ] || break
	done
	is "$mode: answered" "$STATUS" 200
	is "$mode: by the same provider, on the second try" "$(mock_requests '.host == "api.groq.com"')" 2
	is "$mode: and nothing may have been billed twice" "$(egret_last '.possibly_billed_twice')" null
	is "$mode: it is no failed attempt" "$(egret_last '.attempts | length')" 1
done
is "after HTTP_1_1_REQUIRED it is HTTP/1.1" "$(mock_last .http)" 1.1
fresh
mock_mode api.mistral.ai h2-refused
ask api.mistral.ai
is "always refused: the next target answers" "$STATUS $(mock_last .host)" "200 api.groq.com"
at_least "after a few tries" "$(mock_requests '.host == "api.mistral.ai"')" 2
fresh
mock_mode api.groq.com reset 1
ask api.groq.com false $GROQ
is "a reset that says nothing is not asked again where replay is never" "$STATUS $REASON $(mock_requests '.host == "api.groq.com"')" \
	"502 upstream_reset 1"

echo "# a pod that goes away costs its own stream only"
fresh
mock_mode api.mistral.ai slow-first-byte-5000 1
pod_curl podA --max-time 1 -o /dev/null -H 'content-type: application/json' -H 'authorization: Bearer placeholder' \
	-d '{"model":"gpt-4o","messages":[]}' https://api.mistral.ai/v1/chat/completions 2>/dev/null
before=$(tls_connections api.mistral.ai)
ask api.mistral.ai
is "the connection goes on" "$STATUS $(tls_connections api.mistral.ai)" "200 $before"
is "metrics count the connections" "$(node curl -s http://127.0.0.1:9909/metrics | awk '/^egret_upstream_http2_connects_total/ { n += $2 } END { print (n > 0) }')" 1
checks_done
