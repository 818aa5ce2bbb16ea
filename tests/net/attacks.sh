#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a hostile pod tries, through the real capture: each attack ends in a refusal with its reason, and the provider
# sees nothing that the agent didn't send.
set -u
cd "$(dirname "$0")" || exit 1
. ../lib/check.sh
. ../lib/topology.sh
. ../lib/egret.sh
egret_require

topology_up egatk podA podB podC podT podS
OPENAI=$(world_key openai api.openai.com)
EU=$(world_key openai-eu eu.api.openai.com)
world_key anthropic api.anthropic.com >/dev/null
world_up
egret_prepare policies/attacks
pod_register "$E_DIR/pods" podA shop '{"app":"assistant"}'
pod_register "$E_DIR/pods" podB shop '{"app":"assistant"}'
pod_register "$E_DIR/pods" podC other '{}' # no policy selects it
pod_register "$E_DIR/pods" podT all '{}'   # capture: all_tls
pod_register "$E_DIR/pods" podS strict '{}'
# The node's own secrets: an API server and a metadata service that must never be called for a pod.
API_SERVER=10.96.0.1 METADATA=169.254.169.254 API_SERVER6=fd00:10:96::1 METADATA6=fd00:ec2::254
SECRETS=("$API_SERVER" "$METADATA" "$API_SERVER6" "$METADATA6")
for address in "${SECRETS[@]}"; do ip -n "$T_NODE" address add "$address" dev lo; done
# Who calls them is written down: the pod itself may try (nothing governs that), the agent must never (deputy.sh has
# every way to make it).
CALLERS=$T_RUN/callers
: > "$CALLERS"
spawn callers node python3 "$T_ROOT/tests/lib/callers.py" "$CALLERS" 443 "${SECRETS[@]}"
await 10 grep -q ready "$T_RUN/callers.log"
egret_up --forbid 10.96.0.0/12,10.244.0.0/16,fd00:10:96::/112

attack() { # POD COMMAND...
	local pod=$1; shift
	egret_mark
	pod "$pod" env ROOTS="$T_RUN/pod-roots.crt" /usr/bin/python3 "$T_ROOT/tests/lib/attacker.py" "$@" | tail -n 1
}
of() { jq -r "$2 // \"\"" <<<"$1"; }
last_reason() { egret_last .reason; }
HOSTS=api.openai.com
at_provider() { mock_requests "${1:-true}"; }

echo "# the honest request works, and only the agent reaches the provider"
r=$(attack podA tls-request $HOSTS $HOSTS)
is "an honest request is answered" "$(of "$r" .status)" 200
is "the provider saw the real key" "$(mock_last .credentials.authorization)" "Bearer $OPENAI"
is "it came from the node, not from the pod" "$(mock_last .conn >/dev/null; jq -rs '[.[]|select(.event=="connection")]|last|.src' "$T_RUN/provider.jsonl")" "$T_NODE_IP"

echo "# DNS that is poisoned while Egret runs: the pod calls for itself, the agent calls nobody"
by_others() { grep -v -c -F -e " $(pod_ip podA)" -e " $(pod_ip6 podA)" "$CALLERS"; }
for target in "${SECRETS[@]}"; do
	case $target in
	*:*) dns_set api.openai.com "{\"a\":[],\"aaaa\":[\"$target\"],\"ttl\":0}" ;;
	*) dns_set api.openai.com "{\"a\":[\"$target\"],\"aaaa\":[],\"ttl\":0}" ;;
	esac
	mock_forget
	attack podA tls-request $HOSTS $HOSTS "" >/dev/null
	is "names poisoned with $target: the provider gets nothing from it" "$(at_provider)" 0
	at_least "the pod itself did call $target (so the count below means something)" "$(grep -c -F "$target " "$CALLERS")" 1
	dns_clear
done
is "nobody but the pod itself called the API server or the metadata service" "$(by_others)" 0
sleep 6 # what the agent had cached of the poisoned name is forgotten
r=$(attack podB tls-request $HOSTS $HOSTS)
is "another pod is served as before" "$(of "$r" .status)" 200

echo "# SNI as a way to somewhere else"
mock_forget
for address in 198.51.100.10 2001:db8:100::10; do
	attack podA tls-request kubernetes.default.svc kubernetes.default.svc GET / $address >/dev/null
done
for address in "${SECRETS[@]}"; do
	attack podA tls-request api.openai.com api.openai.com GET / "$address" >/dev/null
	has "a watched name at $address gives the pod no answer of a provider" \
		"$(attack podA tls-request api.openai.com api.openai.com POST /v1/chat/completions "$address")" error
done
is "the agent called nobody for it: not a provider" "$(at_provider)" 0
is "and not the node's own services" "$(by_others)" 0
r=$(attack podA tls-request api.openai.com eu.api.openai.com)
is "SNI and Host that disagree: 421" "$(of "$r" .status)" 421
is "SNI and Host that disagree: reason" "$(of "$r" .reason)" host_mismatch
r=$(attack podA raw api.openai.com 'GET https://eu.api.openai.com/v1/models HTTP/1.1\r\nHost: api.openai.com\r\n\r\n')
is "absolute-form that disagrees with Host: 400 or 421" "$(of "$r" '.status | tostring | test("^(400|421)$")')" true
r=$(attack podA raw api.openai.com 'GET /v1/models HTTP/1.1\r\nHost: api.openai.com\r\nHost: eu.api.openai.com\r\n\r\n')
is "two Hosts: 400" "$(of "$r" .status)" 400

echo "# ClientHellos"
for address in 198.51.100.10 2001:db8:100::10; do
	r=$(attack podA no-sni $address)
	isnt "$address: no SNI: no handshake" "$(of "$r" .handshake)" true
	is "$address: no SNI: reason" "$(last_reason)" no_sni
	r=$(attack podA ech $address cover.example)
	isnt "$address: encrypted SNI: no handshake" "$(of "$r" .handshake)" true
	is "$address: encrypted SNI: reason" "$(last_reason)" encrypted_sni
	r=$(attack podA tls-request front.example.net api.openai.com POST /v1/chat/completions $address)
	is "$address: a listed front instead of the provider's name: no answer" "$(of "$r" .status)" ""
	is "$address: a listed front: reason" "$(last_reason) $(egret_last .server_name)" "domain_fronting front.example.net"
	r=$(attack podA garbage $address)
	is "$address: garbage instead of TLS: no byte back but an alert at most" "$(of "$r" '(.error != null) or (.bytes <= 7)')" true
	is "$address: garbage instead of TLS: reason" "$(last_reason)" bad_client_hello
done
for at in 1 5 6 40 100 200; do
	for FAMILY in 4 6; do
		r=$(FAMILY=$FAMILY attack podA split-hello api.openai.com $at)
		is "IPv$FAMILY: a ClientHello cut at byte $at is captured like any other" "$(of "$r" .status)" 200
	done
done
is "none of these reached the provider as a pod's own connection" \
	"$(jq -s "[.[]|select(.event==\"connection\" and .src != \"$T_NODE_IP\" and .src != \"$T_NODE_IP6\")]|length" "$T_RUN/provider.jsonl")" 0
for version in 1.2 1.3; do
	r=$(attack podA resume-other api.openai.com eu.api.openai.com $version)
	is "TLS $version: a session resumes under its own name" "$(of "$r" .same_resumed)" true
	isnt "TLS $version: it does not under another" "$(of "$r" .other_resumed)" true
	is "TLS $version: the other name got its own certificate" "$(of "$r" '.names[0]')" eu.api.openai.com
	is "TLS $version: and its own credential" "$(mock_last .credentials.authorization)" "Bearer $EU"
done

echo "# other ports and protocols of a governed address"
mock_forget
for address in 198.51.100.10 2001:db8:100::10; do
	for port in 22 853 8080 8443 9443; do
		r=$(TIMEOUT=2 attack podA tcp $address $port) # one SYN and its repetition
		isnt "TCP $port of $address, which is governed, is closed to the pod" "$(of "$r" .connected)" true
	done
done
sunk() { mock_log "[.[] | select(.event == \"sink\" and .protocol == \"$1\") | .bytes] | add // 0"; }
is "no byte arrived there" "$(sunk tcp)" 0

echo "# operations that would leave a key or another pod's data in the pod"
mock_forget
while read -r method path reason; do
	r=$(attack podA tls-request api.openai.com api.openai.com "$method" "$path")
	is "$method $path: status" "$(of "$r" '.status | tostring | test("^4")')" true
	is "$method $path: reason" "$(of "$r" .reason)" "$reason"
	is "$method $path: in OpenAI's own form" "$(of "$r" '.body | fromjson | .error.message | length > 0')" true
done <<-EOT
	POST /v1/realtime/client_secrets credential_minting
	POST /v1/realtime/sessions credential_minting
	GET /v1/organization/admin_api_keys credential_minting
	POST /v1/organization/projects/proj_1/service_accounts credential_minting
	GET /v1/organization/users operation_denied
	GET /v1/files stateful_denied
	GET /v1/files/file-abc/content stateful_denied
	DELETE /v1/files/file-abc stateful_denied
	POST /v1/batches stateful_denied
	GET /v1/responses/resp_123 stateful_denied
	GET /v1/threads/thread_1/messages stateful_denied
	POST /v1/no/such/thing unknown_operation
	POST /v1/chat/../files path_unsafe
	POST /v1/chat%2fcompletions path_unsafe
	POST //v1/chat/completions path_unsafe
EOT
is "none of them reached the provider" "$(at_provider)" 0

echo "# the gateway address"
gateway() { attack podA plain "$1" 80 "$2"; }
body='{"model":"gpt-4o","messages":[]}'
post="POST /v1/chat/completions HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: ${#body}\r\n"
while read -r address host provider; do
	mock_forget
	r=$(gateway $address "${post}Host: $host\r\nAuthorization: Bearer placeholder\r\n\r\n$body")
	is "the gateway address $address answers a pod" "$(of "$r" .status)" 200
	is "with the real key" "$(mock_last .credentials.authorization)" "Bearer $OPENAI"
	r=$(gateway $address "${post}Host: $host\r\nAuthorization: Bearer placeholder\r\nOrigin: https://evil.example\r\n\r\n$body")
	is "$address: a web page's request (Origin) is refused" "$(of "$r" .reason)" origin_refused
	r=$(gateway $address "${post}Host: $host\r\n\r\n$body")
	is "$address: without a placeholder key it is refused" "$(of "$r" .reason)" no_placeholder
	r=$(gateway $address "${post}Host: rebound.example\r\nAuthorization: Bearer placeholder\r\n\r\n$body")
	is "$address: under another Host (DNS rebinding) it is refused" "$(of "$r" .reason)" host_mismatch
	r=$(attack podA plain "$provider" 80 "${post}Host: api.openai.com\r\nAuthorization: Bearer placeholder\r\n\r\n$body")
	is "plain HTTP to a provider's own name at $provider works" "$(of "$r" .status)" 200
	is "and left as TLS" "$(mock_last .tls)" true
done <<-EOT
	169.254.77.1 169.254.77.1 198.51.100.10
	fd00:77::1 [fd00:77::1] 2001:db8:100::10
EOT

echo "# smuggling"
mock_forget
while IFS='|' read -r what bytes; do
	r=$(attack podA raw api.openai.com "$bytes")
	is "$what: 400" "$(of "$r" .status)" 400
	is "$what: nothing after it is read" "$(of "$r" .closed)" true
done <<-'EOT'
	CL and TE|POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/files HTTP/1.1\r\nHost: api.openai.com\r\n\r\n
	two CLs|POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}
	TE xchunked|POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n
	TE identity, chunked|POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n
	a bare LF|POST /v1/chat/completions HTTP/1.1\nHost: api.openai.com\r\n\r\n
	a folded header|POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nX-A: b\r\n c\r\n\r\n
	white space before a colon|POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length : 5\r\n\r\nhello
	a negative length|POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: -1\r\n\r\n
	a hex length|POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: 0x10\r\n\r\n
EOT
is "no smuggled request reached the provider" "$(at_provider '.path != "/v1/chat/completions"')" 0

echo "# headers that carry credentials or overrides never leave"
mock_forget
attack podA tls-request api.openai.com api.openai.com POST '/v1/chat/completions?key=AIza-leak&api%2Dkey=leak2&x-goog-user-project=leak11&openai-organization=org-leak12&sig=leak13&limit=1' "" \
	'Authorization: Bearer sk-pod-own' 'Authorization: Bearer sk-pod-second' 'x-api-key: leak3' 'API-KEY: leak4' 'x-goog-api-key: leak5' \
	'Cookie: session=leak6' 'OpenAI-Organization: org-leak7' 'OpenAI-Project: proj-leak8' 'x-amz-security-token: leak9' \
	'Proxy-Authorization: Basic leak10' 'X-Forwarded-For: 10.0.0.1' 'X-HTTP-Method-Override: DELETE' \
	'Connection: authorization, x-api-key, close' >/dev/null
seen=$(mock_last '{headers, path}')
for word in leak sk-pod x-forwarded method-override org- proj-; do hasnt "the provider never sees '$word'" "${seen,,}" "$word"; done
is "Connection can't remove our credential" "$(mock_last .credentials.authorization)" "Bearer $OPENAI"

mock_forget
r=$(attack podA tls-request api.openai.com api.openai.com POST '/v1/chat/completions?x-new-carrier=1')
is "a query key that the API does not define is refused" "$(of "$r" .reason)" unknown_query
is "and goes nowhere" "$(at_provider)" 0

echo "# capture: all_tls and strict, towards addresses that nobody knows"
untouched() { local pod=$1; shift; pod "$pod" curl -sS --max-time 8 --cacert "$T_RUN/certs/root.crt" -o /dev/null -w '%{http_code}' "$@" 2>/dev/null; }
for unknown in 203.0.113.91 2001:db8:113::91; do # of a host of the world that no policy names
	mock_forget
	r=$(attack podA split-hello api.openai.com 100 $unknown)
	is "learned, $unknown: a split ClientHello is not seen (a limit that is documented), and goes there with the placeholder" \
		"$(of "$r" .status) $(mock_last .credentials.authorization)" "401 Bearer placeholder"
	r=$(attack podT split-hello api.openai.com 100 $unknown)
	is "all_tls, $unknown: the agent answers it" "$(of "$r" .status)" 200
	is "all_tls, $unknown: with the real key, at the provider's own address" "$(mock_last '[.credentials.authorization, .host] | @json')" "[\"Bearer $OPENAI\",\"api.openai.com\"]"
	r=$(attack podT no-sni $unknown)
	isnt "all_tls, $unknown: no SNI, no handshake" "$(of "$r" .handshake)" true
	is "all_tls, $unknown: no SNI: reason" "$(last_reason)" no_sni
	mock_forget
	r=$(attack podS split-hello api.openai.com 100 $unknown)
	is "strict, $unknown: refused at the first packet" "$(of "$r" .error)" refused
	for pod in podT podS; do
		pod $pod bash -c 'for i in 1 2 3; do echo quic > /dev/udp/'$unknown'/443; done' 2>/dev/null
	done
	is "neither lets QUIC out to $unknown" "$(sunk udp)" 0
	is "strict, $unknown: nothing reached anybody" "$(mock_log '[.[] | select(.event == "connection" or .event == "request")] | length')" 0
done
for family in 4 6; do
	is "all_tls, IPv$family: an ordinary site passes, with its own certificate" "$(untouched podT -$family https://www.example.org/)" 200
	is "all_tls, IPv$family: and is recorded as passed" "$(last_reason) $(egret_last .server_name)" "pass_through www.example.org"
	is "strict, IPv$family: an ordinary site is refused" "$(untouched podS -$family https://www.example.org/)" 000
	is "strict, IPv$family: another port of it passes" "$(untouched podS -$family http://www.example.org/)" 200
	for pod in podT podS; do
		r=$(FAMILY=$family attack $pod tls-request api.openai.com api.openai.com)
		is "$pod, IPv$family: what the policy allows is served" "$(of "$r" .status)" 200
	done
done

echo "# memory of one pod's 1,000 slow uploads while another pod is served"
rss() { awk '/VmRSS/ {print $2}' "/proc/$(ctl status --json | jq -r '.gateway.pid // .gateway_pid // empty')/status" 2>/dev/null || echo 0; }
before=$(rss)
spawn slow pod podA env ROOTS="$T_RUN/pod-roots.crt" /usr/bin/python3 "$T_ROOT/tests/lib/attacker.py" slow-uploads api.openai.com 1000 262144 12
await 60 grep -q '"open"' "$T_RUN/slow.log"
is "1,000 of them are under way" "$(head -n 1 "$T_RUN/slow.log" | jq .open)" 1000
served=0
for _ in 1 2 3 4 5 6 7 8 9 10; do
	r=$(attack podB tls-request api.openai.com api.openai.com)
	[ "$(of "$r" .status)" = 200 ] && served=$((served + 1))
done
is "the other pod's requests are all served meanwhile" $served 10
after=$(rss)
# A sanitizer keeps freed memory back, so its build gets a wider bound.
BOUND=200; ldd "$EGRETD" | grep -q asan && BOUND=800
check "the gateway's memory stays under its budget (was $before KiB, is $after KiB)" test "$after" -gt 0 -a "$after" -lt $((before + BOUND * 1024))
await 40 grep -q still_open "$T_RUN/slow.log"

echo "# it is all in the access log, and no key is"
hasnt "no key in the access log" "$(cat "$E_DIR/access.jsonl")" sk-real
hasnt "no key in egretd's log" "$(cat "$T_RUN/egretd.log")" sk-real
checks_done
