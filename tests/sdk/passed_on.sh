#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The SDKs of providers whose kind this version does not serve, Bedrock's over HTTP/2 with signed requests and Gemini's: straight to the mock,
# relayed, and with TLS opened and passed on (shadow: full), all with the pod's own credential. Then refused, each in its own dialect.
set -u
cd "$(dirname "$0")" || exit 1
. ../lib/check.sh
. ../lib/topology.sh
. ../lib/egret.sh
. seen.sh
egret_require

E_HTTP2=1
topology_up espass podA podPass podFull podEnf
aws=$(world_key aws bedrock-runtime.eu-central-1.amazonaws.com bedrock-runtime.us-east-1.amazonaws.com)
gemini=$(world_key gemini generativelanguage.googleapis.com)
world_up
# AWS's SDK would look for more under HOME.
keys=(AWS_ACCESS_KEY_ID=AKIAMOCK AWS_SECRET_ACCESS_KEY="$aws" BEDROCK_API_KEY="$aws" AWS_REGION=eu-central-1 HOME="$T_RUN" GEMINI_API_KEY="$gemini")

# What the provider saw, in no order: what a connection needs is each side's own, and AWS's SDK dates and numbers its requests, which the
# signature covers. mock-close ends the connection, and what AWS's SDK then asks again is chance.
arrived() {
	jq -cS 'select(.event == "request" and .model != "mock-close") | {host, sni, http, method, path, authority, body_sha256, headers: [.headers[] | .[0] |= ascii_downcase |
		select(.[0] | IN("connection", "x-egret-via", "x-amz-date", "amz-sdk-invocation-id", "authorization") | not)] | sort}' "$T_RUN/provider.jsonl" | sort
}

echo "# straight to the provider"
seen_all direct podA "$T_RUN/certs/root.crt" "${keys[@]}" -- bedrock genai
for sdk in bedrock genai; do seen_count "$T_RUN/direct-$sdk"; done
cat "$T_RUN"/direct-{bedrock,genai} > "$T_RUN/direct.seen"
arrived > "$T_RUN/arrived.direct"
is "Bedrock's SDK spoke HTTP/2, but where it was told not to" "$(mock_log '[.[] | select(.event == "request" and (.host | startswith("bedrock")) and .http != "2.0") | .model]' | jq -c .)" \
	'["anthropic.claude-instant-v1"]'
at_least "and signed its requests" "$(mock_requests '(.credentials.authorization // "") | startswith("AWS4-HMAC-SHA256")')" 40

egret_prepare passed_on/policy.json
pod_register "$E_DIR/pods" podPass lenient '{}'
pod_register "$E_DIR/pods" podFull full '{}'
pod_register "$E_DIR/pods" podEnf enforced '{}'
egret_up

# through POD DIFFERS: all that was seen straight is seen again, on both sides.
through() {
	mock_forget
	mock_clear
	seen_all "$1" "$1" "$T_RUN/pod-roots.crt" "${keys[@]}" -- bedrock genai
	cat "$T_RUN"/"$1"-{bedrock,genai} > "$T_RUN/$1.seen"
	seen_same direct.seen "$1.seen" ${2:+"$2"}
	is "$1: each event of a stream both ways came with its signature intact" "$(mock_log '[.[] | select(.event == "message") | .type]' | jq -c .)" \
		'["signed","signed","signed","signed","signed","signed"]'
	arrived > "$T_RUN/arrived.$1"
	is "$1: the provider saw the same requests" "$(diff "$T_RUN/arrived.direct" "$T_RUN/arrived.$1")" ""
}

requests() { egret_records '.type == "request"' | jq length; }
echo "# relayed"
through podPass
is "nothing of it was opened" "$(requests)" 0
at_least "and it is on record" "$(egret_records '.type == "connection" and .reason == "pass_through"' | jq length)" 2

echo "# with TLS opened, and passed on"
through podFull passed_on/differs.json
recorded() { [ "$(requests)" -ge "$(cat "$T_RUN"/podFull-{bedrock,genai} | grep -c '^saw')" ]; }
check "each request is on record" await 10 recorded
is "Bedrock's as HTTP/2 on both sides, and the one as HTTP/1.1" "$(egret_records '.type == "request" and (.server_name | startswith("bedrock"))' |
	jq -c 'group_by(.protocol) | map([.[0].protocol, length > 40, (map(.upstream_protocol) | unique)])')" '[["HTTP/1.1",false,["HTTP/1.1"]],["HTTP/2",true,["HTTP/2"]]]'
is "with what an enforced policy would have said" "$(egret_records '.type == "request" and .reason == "no_route" and .shadow and (.status | IN(200, 400))' | jq 'length > 40')" true

echo "# refused"
mock_forget
some='/: (converse|a request of 2 MB|by a bearer token|over HTTP/1.1|stream|streamed tool use|invoke|invoke, streamed|completion|streams both ways|streaming|count of tokens|embeddings)$'
# refused NAME REASON GENAI_STATUS VARIABLE=VALUE...
refused() {
	local name=$1 reason=$2 status=$3; shift 3
	: > "$E_DIR/access.jsonl"
	seen_all "$name" podEnf "$T_RUN/pod-roots.crt" "${keys[@]}" "$@" -- bedrock genai "$some"
	seen_refused "$name-bedrock" ".error == \"AccessDeniedException\" and .status == 403 and (.attempts // 1) == 1 and (.message | length > 20) and (.id | test(\"^[0-9a-f]{32}$\"))"
	seen_refused "$name-genai" ".error == \"ApiError\" and \"\(.status) \(.body.error.status)\" == \"$status\" and (.body.error.details[0].reason | startswith(\"EGRET_\"))"
	is "$name: why is on record, once for each" "$(egret_records '.type == "request"' | jq -c 'group_by(.reason) | map([.[0].reason, length])')" "$reason"
	is "$name: nothing arrived" "$(mock_requests)" 0
}
refused no-route '[["no_route",13]]' '403 PERMISSION_DENIED'
refused named-by-a-route '[["no_route",4],["unknown_operation",9]]' '403 PERMISSION_DENIED' AWS_REGION=us-east-1
# By its path, since there is no host that would tell; over plain HTTP/2 by prior knowledge, as AWS's SDK has it.
refused gateway-address '[["no_placeholder",4],["no_route",9]]' '401 UNAUTHENTICATED' AWS_ENDPOINT_URL_BEDROCK_RUNTIME=http://169.254.77.1 GOOGLE_GEMINI_BASE_URL=http://169.254.77.1
pod_curl podEnf --http2 -D "$T_RUN/head" -o "$T_RUN/body" -d '{}' https://bedrock-runtime.eu-central-1.amazonaws.com/model/a%2Fb/converse
has "a path that can't be judged: by the host" "$(tr -d '\r' < "$T_RUN/head")" 'x-amzn-errortype: ValidationException'
is "and why" "$(jq -r .code "$T_RUN/body")" egret_path_unsafe
egret_down
checks_done
