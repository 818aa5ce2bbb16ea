#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The chain that Egret shows to pods, judged by the TLS stacks that pods use: accepted for governed names, refused for
# every other name and for addresses, even when somebody holds the intermediate's key. Each refusal has its control:
# the same leaf from an intermediate without constraints is accepted, so it is the constraints that refuse.
#   EGRET_BUILD  the build directory (default build)
#   EGRET_CI=1   a missing client is a failure; without it, a skip that is said
set -u
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
. "$top/tests/lib/check.sh"
build=${EGRET_BUILD:-$top/build}
work=$(mktemp -d "${TMPDIR:-/tmp}/eg-ca-clients.XXXXXX")
pids=()
cleanup() {
	for p in "${pids[@]}"; do kill "$p" 2>/dev/null; done
	rm -rf "$work"
}
# A signal ends it, with the status that says which; the clean-up then runs once, and to its end (as in ../lib/topology.sh).
trap 'STATUS=$?; trap "" INT TERM HUP; trap - EXIT; cleanup; exit $STATUS' EXIT
trap 'trap "" INT TERM HUP; exit 130' INT
trap 'trap "" INT TERM HUP; exit 143' TERM HUP

missing() { # CLIENT PACKAGE
	if [ -n "${EGRET_CI:-}${CI:-}" ]; then
		fail "$1 is not installed: its verdict is not known (package $2)"
	else
		skip "$1" "it is not installed (package $2); its verdict is not known"
	fi
}

# ---- the authority, the servers ----
for lib in net proto loop base; do
	[ -f "$build/lib$lib.a" ] || { fail "$build/lib$lib.a is not built (make O=$build)"; checks_done; }
done
san=
nm "$build/libnet.a" 2>/dev/null | grep -q __asan_ && san="-fsanitize=address,undefined"
# shellcheck disable=SC2086
if ! out=$(gcc -std=gnu11 -D_GNU_SOURCE -O1 -g $san -I"$top/include" -I"$top/userspace" "$here/ca_server.c" -o "$work/ca_server" \
	-Wl,--start-group "$build/libnet.a" "$build/libproto.a" "$build/libloop.a" "$build/libbase.a" -Wl,--end-group \
	-lssl -lcrypto -lcares -lpthread 2>&1); then
	fail "ca_server builds" "$out"
	checks_done
fi
[ -x "$build/egretctl" ] || { fail "$build/egretctl is not built (make O=$build)"; checks_done; }

ca=$work/ca
governed='api.openai.com,*.openai.azure.com'
check "egretctl ca create" "$build/egretctl" ca create --dir "$ca" --names "$governed"

# ---- the command itself ----
is "keys are for their owner alone" "$(stat -c %a "$ca/root.key" "$ca/intermediate.key" | sort -u)" 600
before=$(sha256sum "$ca"/*)
check_not "create does not overwrite what is there" "$build/egretctl" ca create --dir "$ca" --names "$governed"
is "and leaves it as it was" "$(sha256sum "$ca"/*)" "$before"
check "create --force overwrites" "$build/egretctl" ca create --dir "$ca" --names "$governed" --force
root=$(sha256sum "$ca/root.crt" "$ca/root.key")
old=$(sha256sum "$ca/intermediate.crt")
check "intermediate makes only the intermediate anew" "$build/egretctl" ca intermediate --dir "$ca" --names "$governed"
is "the root stays" "$(sha256sum "$ca/root.crt" "$ca/root.key")" "$root"
isnt "the intermediate is another" "$(sha256sum "$ca/intermediate.crt")" "$old"
check "show finds nothing wrong" "$build/egretctl" ca show "$ca"
hasnt "show prints no key" "$("$build/egretctl" ca show "$ca" --json)" "PRIVATE"
chmod 644 "$ca/intermediate.key"
check_not "show says that a key can be read by others" "$build/egretctl" ca show "$ca"
chmod 600 "$ca/intermediate.key"
cp -r "$ca" "$work/odd"
openssl ecparam -name prime256v1 -genkey -noout -out "$work/odd/intermediate.key" 2>/dev/null
r=$("$build/egretctl" ca show "$work/odd" 2>&1)
is "a key of another pair: show ends with 1" $? 1
has "and says what the signer would" "$r" "the signer refuses it: intermediate key: does not belong to the certificate"
openssl req -new -newkey rsa:2048 -nodes -keyout "$work/odd/intermediate.key" -subj /CN=rsa -out "$work/rsa.csr" 2>/dev/null
printf 'basicConstraints=critical,CA:TRUE,pathlen:0\nsubjectKeyIdentifier=hash\nnameConstraints=critical,permitted;DNS:api.openai.com,excluded;IP:0.0.0.0/0.0.0.0,excluded;IP:0:0:0:0:0:0:0:0/0:0:0:0:0:0:0:0\n' > "$work/rsa.ext"
openssl x509 -req -in "$work/rsa.csr" -CA "$ca/root.crt" -CAkey "$ca/root.key" -days 30 -extfile "$work/rsa.ext" -out "$work/odd/intermediate.crt" 2>/dev/null
r=$("$build/egretctl" ca show "$work/odd" 2>&1)
is "RSA: show ends with 1" $? 1
has "and says so" "$r" "the signer refuses it: intermediate key: expected ECDSA with P-256"
openssl ec -in "$ca/intermediate.key" -aes128 -passout pass:word -out "$work/odd/intermediate.key" 2>/dev/null
cp "$ca/intermediate.crt" "$work/odd/"
r=$(setsid -w "$build/egretctl" ca show "$work/odd" 2>&1 </dev/null)
has "a key with a passphrase is refused" "$r" "the signer refuses it: intermediate key: expected PEM without a passphrase"
hasnt "and nobody is asked for it" "$r" "Enter PEM"
# Of an authority between it and the root.
mkdir "$work/tiers" && cp "$ca/root.crt" "$work/tiers/"
new_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1" 2>/dev/null; chmod 600 "$1"; }
sign() { # KEY SUBJECT ISSUER EXTENSIONS CERTIFICATE
	openssl req -new -key "$1" -subj "/CN=$2" -out "$work/tier.csr" 2>/dev/null
	openssl x509 -req -in "$work/tier.csr" -CA "$3.crt" -CAkey "$3.key" -days 30 -extfile "$4" -out "$5" 2>/dev/null
}
printf 'basicConstraints=critical,CA:TRUE,pathlen:1\nsubjectKeyIdentifier=hash\n' > "$work/issuing.ext"
new_key "$work/issuing.key"; sign "$work/issuing.key" issuing "$ca/root" "$work/issuing.ext" "$work/issuing.crt"
new_key "$work/tiers/intermediate.key"; sign "$work/tiers/intermediate.key" node "$work/issuing" "$work/rsa.ext" "$work/node.crt"
cat "$work/node.crt" "$work/issuing.crt" > "$work/tiers/intermediate.crt"
is "three tiers: show finds nothing wrong" "$("$build/egretctl" ca show "$work/tiers" > /dev/null 2>&1; echo $?)" 0
cat "$work/node.crt" "$work/issuing.crt" "$ca/root.crt" > "$work/tiers/intermediate.crt"
is "nor with the root at the end" "$("$build/egretctl" ca show "$work/tiers" > /dev/null 2>&1; echo $?)" 0
cp "$work/node.crt" "$work/tiers/intermediate.crt"
has "without the one between: it says so" "$("$build/egretctl" ca show "$work/tiers" 2>&1)" "was not signed by this root, nor by what stands behind it"
check_not "an address is no name" "$build/egretctl" ca create --dir "$work/none" --names 10.0.0.1
check_not "no name is no intermediate" "$build/egretctl" ca create --dir "$work/none" --names ''
check_not "a whole top level is no name" "$build/egretctl" ca create --dir "$work/none" --names '*.com'
check_not "nor without the star" "$build/egretctl" ca create --dir "$work/none" --names com
is "what was refused left no file" "$(find "$work/none" -type f 2>/dev/null)" ""
printf 'one root\n' >"$work/system.pem"
is "bundle is the system's roots and ours" "$("$build/egretctl" ca bundle "$ca" --system "$work/system.pem")" \
	"$(cat "$work/system.pem" "$ca/root.crt")"
r=$("$build/egretctl" ca bundle "$ca" --system "$work/system.pem" --json)
is "bundle --json is one document with the same text" "$(jq -r .bundle <<<"$r")" "$(cat "$work/system.pem" "$ca/root.crt")"
is "with the number of certificates" "$(jq -c '[.certificates, .out]' <<<"$r")" '[1,null]'
r=$("$build/egretctl" ca bundle "$ca" --system "$ca/root.crt" --out "$work/bundle.pem" --json)
is "bundle --out --json says where it went" "$(jq -c '[.certificates, .out, .bundle]' <<<"$r")" "[2,\"$work/bundle.pem\",null]"
is "and wrote it" "$(cat "$work/bundle.pem")" "$(cat "$ca/root.crt" "$ca/root.crt")"

serve() { # VARIABLE ARGS...: starts a server, puts its port into VARIABLE
	local name=$1 port; shift
	mkfifo "$work/$name.fifo"
	"$work/ca_server" "$@" >"$work/$name.fifo" 2>>"$work/$name.log" &
	pids+=($!)
	read -r port <"$work/$name.fifo"
	if [ -z "$port" ]; then fail "the server '$name' starts" "$(cat "$work/$name.log")"; port=1; fi
	printf -v "$name" %s "$port"
}

# The same root's intermediate that refuses subjects, too: what is in no SAN names nobody then.
strict=$work/strict
mkdir "$strict"
cp "$ca"/root.* "$strict/"
check_not "subjects are any or none" "$build/egretctl" ca intermediate --dir "$strict" --names "$governed" --subjects some
check "egretctl ca intermediate --subjects none" "$build/egretctl" ca intermediate --dir "$strict" --names "$governed" --subjects none
is "show says which" "$("$build/egretctl" ca show "$strict" --json | jq -r .intermediate.subjects) $("$build/egretctl" ca show "$ca" --json | jq -r .intermediate.subjects)" "none any"

# leaf NAME SAN CERT KEY: a leaf of that SAN by somebody who holds that CA's key, without asking the signer
leaf() {
	local name=$1 altname=$2 cert=$3 key=$4
	printf '[x]\nsubjectAltName=critical,%s\nextendedKeyUsage=serverAuth\nkeyUsage=critical,digitalSignature\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n' \
		"$altname" >"$work/$name.ext"
	{ openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/$name.key" -subj / -out "$work/$name.csr" &&
		openssl x509 -req -in "$work/$name.csr" -CA "$cert" -CAkey "$key" -days 1 -extfile "$work/$name.ext" -extensions x \
			-out "$work/$name.crt"; } >"$work/$name.out" 2>&1 || fail "the leaf '$name' is made" "$(cat "$work/$name.out")"
	cat "$work/$name.crt" "$cert" >"$work/$name.chain"
}

# The control: an intermediate of the same root, without constraints.
printf '[x]\nbasicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n' >"$work/free.ext"
{ openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/free.key" -subj '/CN=Without constraints' -out "$work/free.csr" &&
	openssl x509 -req -in "$work/free.csr" -CA "$ca/root.crt" -CAkey "$ca/root.key" -days 1 -extfile "$work/free.ext" -extensions x -out "$work/free.crt"; } \
	>"$work/free.out" 2>&1 || fail "the control's intermediate is made" "$(cat "$work/free.out")"

# subject NAME SUBJECT CERT KEY: one that is named by its subject alone
subject() {
	local name=$1 subject=$2 cert=$3 key=$4
	printf '[x]\nextendedKeyUsage=serverAuth\nkeyUsage=critical,digitalSignature\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n' >"$work/$name.ext"
	{ openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$work/$name.key" -subj "$subject" -out "$work/$name.csr" &&
		openssl x509 -req -in "$work/$name.csr" -CA "$cert" -CAkey "$key" -days 1 -extfile "$work/$name.ext" -extensions x \
			-out "$work/$name.crt"; } >"$work/$name.out" 2>&1 || fail "the leaf '$name' is made" "$(cat "$work/$name.out")"
	cat "$work/$name.crt" "$cert" >"$work/$name.chain"
}

serve minted mint "$ca/intermediate.crt" "$ca/intermediate.key" "$governed"
leaf rogue_name 'DNS:api.anthropic.com' "$ca/intermediate.crt" "$ca/intermediate.key"
leaf rogue_ip 'IP:127.0.0.1' "$ca/intermediate.crt" "$ca/intermediate.key"
leaf rogue_both 'DNS:api.openai.com,IP:127.0.0.1' "$ca/intermediate.crt" "$ca/intermediate.key"
leaf rogue_wild 'DNS:*.anthropic.com' "$ca/intermediate.crt" "$ca/intermediate.key"
leaf free_name 'DNS:api.anthropic.com' "$work/free.crt" "$work/free.key"
leaf free_wild 'DNS:*.anthropic.com' "$work/free.crt" "$work/free.key"
leaf free_ip 'IP:127.0.0.1' "$work/free.crt" "$work/free.key"
serve strict_minted mint "$strict/intermediate.crt" "$strict/intermediate.key" "$governed"
leaf strict_name 'DNS:api.anthropic.com' "$strict/intermediate.crt" "$strict/intermediate.key"
leaf strict_ip 'IP:127.0.0.1' "$strict/intermediate.crt" "$strict/intermediate.key"
subject strict_wild '/CN=*.anthropic.com' "$strict/intermediate.crt" "$strict/intermediate.key"
subject strict_label '/CN=kubernetes' "$strict/intermediate.crt" "$strict/intermediate.key"
subject strict_governed '/CN=api.openai.com' "$strict/intermediate.crt" "$strict/intermediate.key"
subject free_subject '/CN=*.anthropic.com' "$work/free.crt" "$work/free.key"
subject free_label '/CN=kubernetes' "$work/free.crt" "$work/free.key"
for l in strict_name strict_ip strict_wild strict_label strict_governed free_subject free_label; do serve $l pem "$work/$l.chain" "$work/$l.key"; done
for l in rogue_name rogue_ip rogue_both rogue_wild free_name free_wild free_ip; do serve $l pem "$work/$l.chain" "$work/$l.key"; done
export NO_PROXY='*' no_proxy='*'

# host port want what
cases=(
	"api.openai.com $minted accepted a-governed-name"
	"acme-se.openai.azure.com $minted accepted a-name-below-a-governed-wildcard"
	"api.anthropic.com $rogue_name refused another-name,-the-intermediate's-key-in-the-wrong-hands"
	"127.0.0.1 $rogue_ip refused an-address,-the-intermediate's-key-in-the-wrong-hands"
	"api.openai.com $rogue_both refused a-governed-name-and-an-address-in-one-leaf"
	"127.0.0.1 $rogue_both refused the-address-beside-a-governed-name"
	"api.anthropic.com $rogue_wild refused a-wildcard-over-what-is-not-governed"
	"api.anthropic.com $free_name accepted control:-the-other-name-without-constraints"
	"api.anthropic.com $free_wild accepted control:-the-wildcard-without-constraints"
	"127.0.0.1 $free_ip accepted control:-the-address-without-constraints"
	"api.openai.com $strict_minted accepted no-subjects:-a-governed-name"
	"acme-se.openai.azure.com $strict_minted accepted no-subjects:-a-name-below-a-governed-wildcard"
	"api.anthropic.com $strict_name refused no-subjects:-another-name"
	"127.0.0.1 $strict_ip refused no-subjects:-an-address"
	"api.anthropic.com $strict_wild refused no-subjects:-another-name-by-a-wildcard-in-the-subject"
	"kubernetes $strict_label refused no-subjects:-one-label-in-the-subject"
	"api.openai.com $strict_governed refused no-subjects:-even-a-governed-name-in-the-subject"
	"api.anthropic.com $free_subject accepted control:-the-wildcard-in-the-subject-without-constraints"
	"kubernetes $free_label accepted control:-the-label-in-the-subject-without-constraints"
	"api.anthropic.com $minted refused a-name-that-the-signer-does-not-sign"
)
pairs=()
for c in "${cases[@]}"; do
	read -r host port _ <<<"$c"
	pairs+=("$host" "$port")
done

# judge CLIENT FILE: one line of FILE a case, in order
judge() {
	local client=$1 i=0 line host port want what
	mapfile -t lines <"$2"
	for c in "${cases[@]}"; do
		read -r host port want what <<<"$c"
		line=${lines[$i]:-no answer: $(tail -n 3 "$2.err" 2>/dev/null)}
		i=$((i + 1))
		case $line in
		"$host $want"*) pass "$client: ${what//-/ } ($host): $want${line#"$host $want"}" ;;
		*) fail "$client: ${what//-/ } ($host): expected $want" "$line" ;;
		esac
	done
}

openssl_all() {
	local host port r sni verify
	while [ $# -ge 2 ]; do
		host=$1 port=$2
		shift 2
		if [[ $host =~ ^[0-9.]+$ ]]; then sni=-noservername verify="-verify_ip $host"; else sni="-servername $host" verify="-verify_hostname $host"; fi
		# shellcheck disable=SC2086
		r=$(printf 'GET / HTTP/1.1\r\nHost: %s\r\n\r\n' "$host" | timeout 20 openssl s_client -connect "127.0.0.1:$port" $sni $verify \
			-verify_return_error -x509_strict -CAfile "$ca/root.crt" -no-CApath -no-CAstore -quiet -ign_eof 2>&1)
		case $r in
		*"HTTP/1.1 200"*) echo "$host accepted" ;;
		*) echo "$host refused: $(grep -m1 -E 'verify error|alert|error' <<<"$r")" ;;
		esac
	done
}
curl_all() {
	local host port r
	while [ $# -ge 2 ]; do
		host=$1 port=$2
		shift 2
		if r=$(curl -sS --max-time 20 --http1.1 --cacert "$ca/root.crt" --resolve "$host:$port:127.0.0.1" "https://$host:$port/" 2>&1); then
			[ "$r" = ok ] && echo "$host accepted" || echo "$host broken: $r"
		else
			echo "$host refused: $r" | head -n 1
		fi
	done
}

if command -v openssl >/dev/null; then
	openssl_all "${pairs[@]}" >"$work/openssl.txt" 2>"$work/openssl.txt.err"
	judge "openssl" "$work/openssl.txt"
else missing openssl openssl; fi

if command -v curl >/dev/null; then
	curl_all "${pairs[@]}" >"$work/curl.txt" 2>"$work/curl.txt.err"
	judge "curl" "$work/curl.txt"
else missing curl curl; fi

if command -v node >/dev/null; then
	NODE_EXTRA_CA_CERTS=$ca/root.crt timeout 120 node "$here/clients/ca_client.mjs" "${pairs[@]}" >"$work/node.txt" 2>"$work/node.txt.err"
	judge "node $(node --version)" "$work/node.txt"
else missing node nodejs; fi

python=$(for p in /usr/bin/python3 python3; do command -v "$p" && break; done)
if [ -n "$python" ]; then
	timeout 120 "$python" "$here/clients/ca_client.py" "$ca/root.crt" "${pairs[@]}" >"$work/python.txt" 2>"$work/python.txt.err"
	judge "$("$python" --version)" "$work/python.txt"
else missing python3 python3; fi

if command -v javac >/dev/null && command -v java >/dev/null; then
	if javac -d "$work/java" "$here/clients/CaClient.java" >"$work/java.txt.err" 2>&1; then
		timeout 240 java -cp "$work/java" CaClient "$ca/root.crt" "${pairs[@]}" >"$work/java.txt" 2>>"$work/java.txt.err"
		judge "java $(javac -version 2>&1 | sed 's/javac //')" "$work/java.txt"
	else
		fail "the Java client compiles" "$(cat "$work/java.txt.err")"
	fi
else missing java openjdk-17-jdk-headless; fi

# The server says which clients rejected its CA: what Egret counts by pod.
if command -v curl >/dev/null; then
	: >"$work/minted.log"
	curl -sS --max-time 20 --cacert "$work/free.crt" --resolve "api.openai.com:$minted:127.0.0.1" "https://api.openai.com:$minted/" >/dev/null 2>&1
	for _ in $(seq 50); do grep -q 'rejects the CA' "$work/minted.log" && break; sleep 0.1; done
	has "a client that trusts another CA is recognised as one" "$(cat "$work/minted.log")" "the client rejects the CA"
fi
if [ -n "$san" ]; then hasnt "no sanitizer report of the server" "$(cat "$work"/*.log)" "Sanitizer"; fi

checks_done
