#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The mock internet does what its manual says: each mode seen by curl, straight from a pod. Other tests rest on it.
set -u
cd "$(dirname "$0")" || exit 1
. ../lib/check.sh
. ../lib/topology.sh

topology_up emt podA podB:routed
key=$(world_key openai api.openai.com)
world_key deepseek api.deepseek.com >/dev/null
world_up

# ask MODEL [CURL_OPTION...]: curl's exit status, then the HTTP status and the body, in $out. By one family: of two connections that
# curl races on a slow machine, the one it drops would use up a mode that counts connections.
ask() {
	local model=$1; shift
	out=$(pod podA curl -s -4 --http1.1 --max-time 5 --cacert "$T_RUN/certs/root.crt" -H "authorization: Bearer $key" \
		-d "{\"model\":\"$model\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]${stream:+,\"stream\":true}}" -w '\n%{http_code}' "$@" \
		https://api.openai.com/v1/chat/completions 2>&1)
	code=$?
	http=${out##*$'\n'}
}
# mode MODEL CURL_EXIT HTTP_STATUS [BODY_PART]
mode() {
	ask "$1"
	if [ "$code" = "$2" ] && [ "$http" = "$3" ]; then has "$1: curl $2, HTTP $3" "$out" "${4:-}"; else fail "$1" "curl $code HTTP $http, want $2 and $3: ${out:0:300}"; fi
}
mode gpt-4o 0 200 'said: hi'
mode mock-503 0 503 server_error
mode mock-529 0 529
mode mock-404 0 404 model_not_found
mode mock-first-503 0 503 server_error
mode mock-first-503 0 200 'said: hi'
mode mock-502-html 0 502 '<html>'
mode mock-429-quota 0 429 insufficient_quota
mode mock-429-toolarge 0 429 'Request too large'
mode mock-hang 28 000
mode mock-reset 56 000
mode mock-close 52 000
mode mock-cut-head 0 200
mode mock-cut-body 18 200 '"cut'
mode mock-cut-chunked 18 200 '"cut'
mode mock-reset-body 56 200 '"cut'
mode mock-hang-body 28 200 '"hung'
mode mock-odd-chunks 0 200 chat.completion
mode mock-bad-chunk 56 200
mode mock-close-delimited 0 200 'by close'
mode mock-early-hints 0 200 'said: hi'
mode mock-trailers 0 200 'said: hi'
mode mock-slow-first-byte-200 0 200 'said: hi'
mode mock-named-something-else 0 200 'said: hi'
ask mock-429-retry-after-2 -D -; has "429-retry-after-2 says so" "${out,,}" 'retry-after: 2'
ask mock-leaky-headers -D -; has "leaky-headers sets a cookie" "${out,,}" 'set-cookie:'
ask mock-big-body-3 -o /dev/null -w '\n%{size_download}'; is "big-body-3 is 3 MiB" "$http" $((3 << 20))
ask mock-garbage; isnt "garbage is no HTTP" "$code" 0
ask mock-huge-head; isnt "huge-head is refused by curl" "$code" 0
stream=1
mode mock-error-first-event 0 200 'server_error'
mode mock-error-mid-stream 0 200 'server_error'
mode mock-cut-stream 18 200 'data: '
ask mock-clean-cut-stream; hasnt "clean-cut-stream has no [DONE]" "$out" '[DONE]'
mode gpt-4o 0 200 'data: [DONE]'
stream=

mock_mode api.openai.com 503 2
ask gpt-4o; is "a mode by command, counted: first" "$http" 503
ask gpt-4o; is "second" "$http" 503
ask gpt-4o; is "and over" "$http" 200
for pair in connect-reset:35 connect-close:35 connect-garbage:35 connect-cut-hello:35 connect-hang:28; do
	mock_mode api.openai.com "${pair%:*}" 1
	ask gpt-4o
	# A reset that comes before curl has looked is one of connect() to it (7), and not of the handshake.
	[ "$pair:$code" = connect-reset:35:7 ] && code=35
	is "${pair%:*}: curl ${pair#*:}" "$code" "${pair#*:}"
done
mock_mode api.openai.com early-413 1
ask gpt-4o; is "early-413 answers without the body" "$http" 413
check_not "an unknown mode is refused" t_admin provider POST /mode '{"host":"api.openai.com","mode":"nonsense"}'

for pair in expired:expired selfsigned:self-signed wrongname:'no alternative' otherca:'issuer'; do
	has "${pair%%:*}.example.org is refused for its certificate" \
		"$(pod podA curl -sS --cacert "$T_RUN/certs/root.crt" "https://${pair%%:*}.example.org/" 2>&1)" "${pair#*:}"
done
for pod in podA podB; do
	for family in -4 -6; do
		has "$pod reaches a site by $family" "$(pod $pod curl -sS $family --cacert "$T_RUN/certs/root.crt" https://www.example.org/x 2>&1)" 'GET /x'
	done
	has "$pod without any capability too" "$(pod_user $pod curl -sS --cacert "$T_RUN/certs/root.crt" https://www.example.org/y 2>&1)" 'GET /y'
done
has "the node reaches it" "$(node curl -sS --resolve www.example.org:443:203.0.113.80 --cacert "$T_RUN/certs/root.crt" https://www.example.org/z 2>&1)" 'GET /z'
has "a CNAME is followed, to an address that two names share" "$(pod podA getent ahostsv4 api.deepseek.com)" 203.0.113.99

pod podA bash -c 'printf 12345 > /dev/udp/198.51.100.10/443; printf 123 > /dev/tcp/198.51.100.10/8443'
await 5 eval '[ "$(mock_log "[.[] | select(.event == \"sink\") | .bytes] | add")" = 8 ]'
is "the sinks count bytes" "$(mock_log '[.[] | select(.event == "sink") | .bytes] | add')" 8
is "the log has the body's hash" "$(mock_log '[.[] | select(.event == "request" and .body_sha256 == null and .mode != "early-413")] | length')" 0

dns_set api.openai.com '{"a":["10.96.0.1"],"aaaa":[]}'
is "DNS can be poisoned" "$(pod podA getent ahostsv4 api.openai.com | awk '{print $1; exit}')" 10.96.0.1
dns_set api.openai.com '{"a":["198.51.100.10"],"truncate":true}'
is "DNS answers by TCP when it truncates" "$(pod podA getent ahostsv4 api.openai.com | awk '{print $1; exit}')" 198.51.100.10
at_least "and was asked by TCP" "$(jq -s '[.[] | select(.transport == "tcp")] | length' "$T_RUN/dns.jsonl")" 1
dns_set api.openai.com '{"rcode":2}'
check_not "DNS can fail" pod podA getent ahostsv4 api.openai.com
dns_clear
is "and be well again" "$(pod podA getent ahostsv4 api.openai.com | awk '{print $1; exit}')" 198.51.100.10
check_not "a name nobody has does not exist" pod podA getent ahostsv4 nobody.example.com
checks_done
