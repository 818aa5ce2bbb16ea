#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A provider's bad day, seen from a pod through the capture: failover before the first byte or not at all, regions kept,
# broken certificates and broken framing refused, each with its reason.
set -u
cd "$(dirname "$0")" || exit 1
. ../lib/check.sh
. ../lib/topology.sh
. ../lib/egret.sh
egret_require

topology_up egfail podA podEU podOne
world_key mistral api.mistral.ai >/dev/null
GROQ=$(world_key groq api.groq.com)
EU=$(world_key openai-eu eu.api.openai.com)
world_key openai-us us.api.openai.com >/dev/null
world_up
egret_prepare policies/failover
pod_register "$E_DIR/pods" podA shop '{}'
pod_register "$E_DIR/pods" podEU europe '{}'
pod_register "$E_DIR/pods" podOne single '{}'
egret_up

# ask POD HOST [MODEL] [STREAM] [PATH]: one request; sets STATUS, REASON, BODY, CODE (curl's).
ask() {
	local out
	out=$(pod_curl "$1" -D "$T_RUN/head" -o "$T_RUN/body" -w '%{http_code}' -H 'authorization: Bearer placeholder' \
		-H 'content-type: application/json' \
		-d "{\"model\":\"${3:-gpt-4o}\",\"stream\":${4:-false},\"messages\":[{\"role\":\"user\",\"content\":\"ping\"}]}" \
		"https://$2${5:-/v1/chat/completions}" 2>"$T_RUN/curl.err"); CODE=$?
	STATUS=$out
	REASON=$(tr -d '\r' < "$T_RUN/head" | sed -n 's/^x-egret-reason: //Ip')
	BODY=$(cat "$T_RUN/body" 2>/dev/null)
}
# Past a default cooldown, and no connection to the first target is left: one that was raced and not needed stays in the pool.
fresh() { mock_clear; mock_hangup api.mistral.ai; mock_forget; sleep 2.2; }

echo "# no TLS at all, before any connection to that provider is in the pool"
for mode in connect-garbage connect-cut-hello connect-reset; do
	fresh
	mock_mode api.groq.com $mode
	ask podOne api.groq.com gpt-4o false /openai/v1/chat/completions
	has "$mode instead of TLS: refused" "upstream_tls upstream_connect" "$REASON"
	is "$mode: with an error object of the dialect" "$STATUS $(jq -r '.error.message | length > 0' <<<"$BODY")" "502 true"
	is "$mode: no credential went out" "$(mock_requests)" 0
done

echo "# one after the other"
for mode in 503 500 502-html 504 529 408 429-retry-after-2 reset close hang garbage cut-head connect-reset connect-close two-lengths length-and-chunked; do
	fresh
	mock_mode api.mistral.ai $mode # all of them: a pooled connection that dies is tried again at the same target
	ask podA api.mistral.ai
	is "$mode at the first target: the second answers" "$STATUS" 200
	is "$mode: the body arrived byte for byte at both or was never taken" \
		"$(mock_log '[.[] | select(.event == "request" and .body_bytes > 0) | .body_sha256] | unique | length')" 1
	is "$mode: the record names the provider that answered" "$(egret_last .provider)" groq
	is "$mode: and the attempt that failed" "$(egret_last '.attempts | length')" 2
done

echo "# what is the request's own fault is passed on, not tried elsewhere"
for mode in 400 404 413 429-toolarge; do
	fresh
	mock_mode api.mistral.ai $mode 1
	ask podA api.mistral.ai
	is "$mode: passed on" "$STATUS" "${mode%%-*}"
	is "$mode: the second target was not asked" "$(mock_requests '.host == "api.groq.com"')" 0
done

fresh
mock_mode api.mistral.ai 401 1
ask podA api.mistral.ai
is "401 is about Egret's own credential, of which the pod knows nothing: 502" "$STATUS $REASON" "502 upstream_auth"
is "and it is not tried elsewhere" "$(mock_requests '.host == "api.groq.com"')" 0

echo "# cooldown"
fresh
mock_mode api.mistral.ai 429-retry-after-6 1 # long enough for two requests on a machine that stands still for a moment
ask podA api.mistral.ai
ask podA api.mistral.ai
is "while it cools down the first target is not asked" "$(mock_requests '.host == "api.mistral.ai"')" 1
sleep 6.5
ask podA api.mistral.ai
is "after Retry-After it is" "$(mock_requests '.host == "api.mistral.ai"')" 2
fresh
mock_mode api.mistral.ai 429-retry-after-600-quota 1
ask podA api.mistral.ai
BEFORE=$(egret_generation)
touch "$T_RUN/credentials/mistral/key" "$E_DIR/policy/"*.json
pod_register "$E_DIR/pods" podOne single '{"again":"yes"}'
check "pods changed, and the key is as it was" await 20 egret_newer "$BEFORE"
ask podA api.mistral.ai
is "the key whose quota is spent is not used again" "$STATUS $(mock_requests '.host == "api.mistral.ai"')" "200 1"
egret_settled
BEFORE=$(egret_generation)
world_key mistral api.mistral.ai > /dev/null
check "the file has another key" await 20 egret_newer "$BEFORE"
egret_settled
ask podA api.mistral.ai
is "with which the provider is asked at once" "$STATUS $(mock_requests '.host == "api.mistral.ai"')" "200 2"

echo "# every target fails"
fresh
mock_mode api.mistral.ai 503 1
mock_mode api.groq.com 503 1
ask podA api.mistral.ai
is "the last error is passed on" "$STATUS" 503
isnt "in the client's own form" "$(jq -r '.error.message // ""' <<<"$BODY")" ""

echo "# after the first byte: no failover, no clean end"
for mode in cut-body cut-chunked reset-body; do
	fresh
	mock_mode api.mistral.ai $mode 1
	ask podA api.mistral.ai
	isnt "$mode: curl sees that the answer is not whole" "$CODE" 0
	is "$mode: the second target was not asked" "$(mock_requests '.host == "api.groq.com"')" 0
	is "$mode: the reason is recorded" "$(egret_last .reason)" upstream_reset
done
fresh
mock_mode api.mistral.ai error-first-event 1
ask podA api.mistral.ai gpt-4o true
is "an error as the stream's first event: the next target answers" "$STATUS $CODE $(mock_last .host)" "200 0 api.groq.com"
hasnt "and the pod sees nothing of it" "$BODY" '"error"'
is "the record has both attempts" "$(egret_last '[.attempts[].reason] | join(" ")')" "upstream_error ok"
fresh
mock_mode api.mistral.ai error-mid-stream 1
ask podA api.mistral.ai gpt-4o true
is "the provider's own error inside a stream, and its end, come as they are" "$CODE $(grep -c '"error"' <<<"$BODY")" "0 1"
is "it is no success in the record" "$(egret_last .reason)" upstream_error
is "the second target was not asked" "$(mock_requests '.host == "api.groq.com"')" 0
for mode in clean-cut-stream cut-stream; do
	fresh
	mock_mode api.mistral.ai $mode 1
	ask podA api.mistral.ai gpt-4o true
	isnt "$mode: no clean end" "$CODE" 0
	has "$mode: it says so in the dialect" "$BODY" '"error"'
	is "$mode: it is no success in the record" "$(egret_last .reason)" upstream_reset
	is "$mode: the second target was not asked" "$(mock_requests '.host == "api.groq.com"')" 0
done

echo "# regions"
fresh
ask podEU api.openai.com
is "an EU pod is served" "$STATUS" 200
is "by the one target in the EU" "$(mock_last .host)" eu.api.openai.com
is "with that provider's credential" "$(mock_last .credentials.authorization)" "Bearer $EU"
mock_forget
ask podEU us.api.openai.com
is "a route that leads to the US only is refused" "$STATUS $REASON" "403 region_denied"
ask podEU api.groq.com
is "a provider that chooses the region itself is refused" "$STATUS $REASON" "403 region_denied"
ask podEU expired.example.org
is "a provider whose region nobody knows is refused" "$STATUS $REASON" "403 region_unknown"
is "none of them was called" "$(mock_requests)" 0
mock_mode eu.api.openai.com 503 5
ask podEU api.openai.com
is "when the EU target is down nothing leaves the EU" "$(mock_requests '.host != "eu.api.openai.com"')" 0

echo "# providers with a broken certificate, address or credential"
while read -r host reason word; do
	fresh
	ask podOne "$host"
	is "$host: reason" "$REASON" "$reason"
	is "$host: an error object of the dialect" "$(jq -r '.error.message | length > 0' <<<"$BODY")" true
	has "$host: the record says why" "$(egret_last '[.detail, (.attempts[]?.reason)] | join(" ")')" "$word"
	is "$host: no credential went out" "$(mock_requests)" 0
done <<-EOT
	expired.example.org upstream_tls expired
	selfsigned.example.org upstream_tls self
	wrongname.example.org upstream_tls name
	otherca.example.org upstream_tls issuer
	api.deepseek.com upstream_dns upstream_dns
	api.mistral.ai upstream_connect upstream_connect
	eu.api.openai.com no_credential no_credential
EOT

echo "# broken framing from a provider"
for mode in huge-head bad-chunk; do
	fresh
	mock_mode api.groq.com $mode 1
	ask podOne api.groq.com gpt-4o false /openai/v1/chat/completions
	is "$mode: no part of it is taken for a whole answer" "$([ "$CODE" != 0 ] || [ "$STATUS" -ge 500 ] && echo refused)" refused
done
fresh
mock_mode api.groq.com response-splitting 1
ask podOne api.groq.com gpt-4o false /openai/v1/chat/completions
is "a second answer smuggled behind the first: the first is passed on" "$STATUS $BODY" "200 {}"
ask podOne api.groq.com gpt-4o false /openai/v1/chat/completions
hasnt "and the second is nobody's" "$BODY" stolen
fresh
mock_mode api.groq.com leaky-headers 1
ask podOne api.groq.com gpt-4o false /openai/v1/chat/completions
is "a provider's answer passes" "$STATUS" 200
hasnt "without its cookies" "$(tr 'A-Z' 'a-z' < "$T_RUN/head")" set-cookie
hasnt "without its Alt-Svc" "$(tr 'A-Z' 'a-z' < "$T_RUN/head")" alt-svc
is "the credential was the right one" "$(mock_last .credentials.authorization)" "Bearer $GROQ"
checks_done
