#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What clients make of Egret's CA: a leaf for a governed name is accepted, a leaf that the node's intermediate signed for
# another name or for an address is refused. By OpenSSL, curl, Node.js, Python and Java, each trusting only root.crt.
# The stolen-intermediate case: whoever has the node's key still can't pass for anyone else.
set -u
cd "$(dirname "$0")" || exit 1
. ../lib/check.sh
. ../lib/topology.sh
. ../lib/egret.sh
[ -x "$EGRETCTL" ] || skip_all "$EGRETCTL is not built: run make"

topology_up est podA
t_find_node
ca=$T_RUN/ca
"$EGRETCTL" ca create --dir "$ca" --names api.openai.com,api.anthropic.com > "$T_RUN/ca.log" 2>&1 ||
	{ fail "egretctl ca create" "$(cat "$T_RUN/ca.log")"; checks_done; }

# leaf NAME SAN: signed by the node's intermediate, as a thief would.
leaf() {
	openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$T_RUN/$1.key" -out "$T_RUN/$1.csr" 2>/dev/null
	printf 'basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\nsubjectAltName=%s\n' "$2" > "$T_RUN/$1.ext"
	openssl x509 -req -in "$T_RUN/$1.csr" -CA "$ca/intermediate.crt" -CAkey "$ca/intermediate.key" -CAcreateserial \
		-days 1 -extfile "$T_RUN/$1.ext" -out "$T_RUN/$1.crt" 2>/dev/null || t_die "cannot sign a leaf for $1"
}
# offer NAME ADDRESS:PORT
offer() {
	leaf "$1" "$3"
	spawn "server-$1" inet openssl s_server -quiet -accept "$2" -www -cert "$T_RUN/$1.crt" -key "$T_RUN/$1.key" -cert_chain "$ca/intermediate.crt"
	await 10 pod podA bash -c "exec 3<>/dev/tcp/${2%:*}/${2#*:}" || t_die "openssl s_server for $1 did not start"
}
spawn dns inet "$T_NODEJS" ../mock/dns.mjs --world "$T_WORLD" --log "$T_RUN/dns.jsonl" --admin "$T_RUN/dns.sock"
await 20 t_admin dns GET /ready || t_die "the mock DNS server did not start"
offer api.openai.com 198.51.100.10:10443 DNS:api.openai.com
offer www.example.org 203.0.113.80:10443 DNS:www.example.org
offer 198.51.100.20 198.51.100.20:10443 IP:198.51.100.20

client_openssl() {
	local verify=(-verify_hostname "$1" -servername "$1")
	case $1 in [0-9]*) verify=(-verify_ip "$1") ;; esac
	pod podA openssl s_client -connect "$1:10443" "${verify[@]}" -verify_return_error -CAfile "$ca/root.crt" < /dev/null
}
client_curl() { pod podA curl -sS --max-time 10 -o /dev/null --cacert "$ca/root.crt" "https://$1:10443/"; }
client_node() {
	pod podA env NODE_EXTRA_CA_CERTS="$ca/root.crt" "$T_NODEJS" -e \
		'require("https").get(process.argv[1], (r) => process.exit(r.statusCode === 200 ? 0 : 3)).on("error", (e) => { console.error(e.message); process.exit(1); })' \
		"https://$1:10443/"
}
client_python() {
	pod podA python3 -c 'import ssl, sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], context=ssl.create_default_context(cafile=sys.argv[2]), timeout=10).status)' "https://$1:10443/" "$ca/root.crt"
}
client_java() {
	pod podA java -Djavax.net.ssl.trustStore="$T_RUN/trust.p12" -Djavax.net.ssl.trustStorePassword=changeit Client.java "https://$1:10443/"
}
clients="openssl curl node python java"
command -v java >/dev/null && command -v keytool >/dev/null || { skip java "no JDK on this machine: run tools/deps"; clients=${clients% java}; }
! command -v keytool >/dev/null || keytool -importcert -noprompt -alias egret -file "$ca/root.crt" -keystore "$T_RUN/trust.p12" \
	-storetype PKCS12 -storepass changeit > /dev/null 2>&1

# refused TEXT CLIENT NAME: it must fail, and for the certificate's sake: a client that cannot connect proves nothing.
refused() {
	local out
	if out=$("client_$2" "$3" 2>&1); then fail "$1" "accepted"; return; fi
	if grep -qiE 'certif|constraint|subtree|verify|PKIX' <<<"$out"; then pass "$1"; else fail "$1" "failed for another reason: $out"; fi
}
for client in $clients; do
	check "$client accepts the leaf of a governed name" "client_$client" api.openai.com
	refused "$client refuses a leaf for another name" "$client" www.example.org
	refused "$client refuses a leaf for an address" "$client" 198.51.100.20
done
checks_done
