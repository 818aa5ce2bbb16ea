#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# egretctl check and explain, as a person calls them. Needs no root and no agent.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/check.sh
ctl=${EGRET_BUILD:-build}/egretctl
[ -x "$ctl" ] || skip_all "$ctl is not built (make)"
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT

run() { out=$("$ctl" "$@" 2>"$dir/stderr"); code=$?; err=$(cat "$dir/stderr"); }

# ---- the command itself ----
run --help
is "egretctl --help succeeds" $code 0
has "it lists check" "$out" "check "
has "it lists explain" "$out" "explain "
run
is "no command is a usage error" $code 2
run nonsense
is "an unknown command is a usage error" $code 2
has "it is named" "$err" "'nonsense' is not a command"
for c in check explain "ca create"; do
	run $c --help
	is "$c --help succeeds" $code 0
	has "$c --help says its exit codes" "$out" "Exit codes"
	run $c --nonsense
	is "$c --nonsense is a usage error" $code 2
	has "$c --nonsense is named" "$err" "egretctl ${c%% *}: '--nonsense' is not an option, or lacks its value"
done

for option in "--namespace=" "--pods-dir=x --pod="; do
	# shellcheck disable=SC2086 # two words
	run explain --policy-dir policies/demo $option --host api.openai.com --path /v1/models
	is "explain $option, of a variable that is not set" $code 2
	has "is said" "$err" "expected a name behind --namespace and --pod"
done
run gateway restart extra
has "the command that is named is one" "$err" "egretctl gateway: 'extra': no argument was expected"
for c in "check policies/demo" "--help" "check --help" "--version" \
	"explain --policy-dir policies/demo --namespace shop --host api.openai.com --path /v1/models --method GET"; do
	# shellcheck disable=SC2086
	"$ctl" $c >/dev/full 2>"$dir/stderr"
	is "$c, with nowhere to write it: not a success" $? 2
	has "$c, with nowhere to write it: said" "$(cat "$dir/stderr")" "stdout: No space left on device"
done
run flows --learned --counters
is "two tables at once is a usage error" $code 2
has "and says so" "$err" "expected one of --learned, --destinations, --counters and --follow"

# ---- check ----
for f in policies/examples/*.json; do
	run check "$f"
	is "$f is valid" $code 0
	has "and without a warning" "$out" "valid: 0 errors, 0 warnings"
done
mkdir "$dir/p"
cat >"$dir/p/10-broken.json" <<'EOF'
{
  "version": "egret/v1",
  "providers": { "a": { "kind": "bedrock", "endpoint": "https://x.example.org" } },
  "policies": [ { "name": "p", "pods": {}, "limits": [], "routes": [] } ]
}
EOF
echo '{"version": "egret/v1", "providers": {"a": {"kind": "openai", "endpoint": "https://y.example.org"}}' >"$dir/p/20-cut.json"
echo 'not json' >"$dir/p/.hidden.json"
echo 'not json' >"$dir/p/notes.txt"
run check "$dir/p"
is "a broken set: exit 1" $code 1
has "kind, with file, line, column and path" "$out" \
	'10-broken.json:3:33: $.providers.a.kind: kind "bedrock" is not supported by this version; expected one of: openai, anthropic'
has "what is for later, likewise" "$out" '10-broken.json:4:44: $.policies[0].limits: "limits" is not supported'
has "JSON that is cut, in the other file" "$out" "20-cut.json:2:1: \$: not valid JSON: the file ends here; expected a comma or '}'"
has "and the sum" "$out" "not valid: 3 errors, 0 warnings"
hasnt "hidden files and others are not read" "$out" "hidden"
run check --json "$dir/p"
is "--json: the same exit" $code 1
is "--json: parses, and has the three" "$(printf %s "$out" | python3 -c 'import json,sys; d = json.load(sys.stdin)
print(d["valid"], d["errors"], d["version"], sorted(f["line"] for f in d["findings"] if f["severity"] == "error")[1:])')" \
	"False 3 None [3, 4]"
run check "$dir/none"
is "a directory that is not there: exit 2" $code 2
has "it is named" "$err" "$dir/none: No such file"
mkdir "$dir/empty"
run check "$dir/empty"
is "an empty directory is no policy" $code 1
has "and that is said" "$out" "there is no policy file"
run check - <policies/examples/eu-only.json
is "standard input" $code 0

# ---- credentials and CA ----
mkdir -p "$dir/c/openai-eu" "$dir/c/mistral-eu"
secret=sk-planted-4f9a8b7c6d5e
echo $secret >"$dir/c/openai-eu/key"
printf '%s\r\nX: y' $secret >"$dir/c/mistral-eu/key"
run check policies/examples/eu-only.json --credentials-dir "$dir/c"
is "a credential that no header may have: exit 1" $code 1
has "it is named" "$out" 'credential "mistral-eu": mistral-eu/key: has a space, a line break'
hasnt "no secret is printed" "$out$err" "planted"
rm "$dir/c/mistral-eu/key"
run check policies/examples/eu-only.json --credentials-dir "$dir/c"
has "a missing file, with its place" "$out" 'eu-only.json:16:45: $.credentials.mistral-eu.file: credential "mistral-eu": mistral-eu/key: No such file'
echo $secret >"$dir/c/mistral-eu/key"
run check policies/examples/eu-only.json --credentials-dir "$dir/c"
is "all there: exit 0" $code 0
hasnt "and nothing is said of who may read it" "$out" "the supervisor"
if [ "$(id -u)" = 0 ]; then
	chmod 000 "$dir/c/mistral-eu/key"
	run check policies/examples/eu-only.json --credentials-dir "$dir/c"
	has "a key that only root's rights open, not the supervisor's" "$out" '$.credentials.mistral-eu.file: warning: mistral-eu/key: mode 000 of 0:0: the supervisor'
	chmod 600 "$dir/c/mistral-eu/key"
	chown 65534:65534 "$dir/c/mistral-eu/key"
	run check policies/examples/eu-only.json --credentials-dir "$dir/c"
	has "likewise one that is another user's" "$out" 'mistral-eu/key: mode 600 of 65534:65534: the supervisor'
	is "a warning" $code 0
	chown 0:0 "$dir/c/mistral-eu/key"
fi
jq '.providers["mistral-eu"].ca_file = "roots.pem"' policies/examples/eu-only.json >"$dir/own-roots.json"
run check "$dir/own-roots.json" --credentials-dir "$dir/c"
has "roots that are missing, with their place" "$out" '.ca_file: roots.pem: No such file or directory; expected roots in PEM below'
: >"$dir/c/roots.pem"
run check "$dir/own-roots.json" --credentials-dir "$dir/c"
has "an empty file has none" "$out" '.ca_file: roots.pem: '
is "which is an error" $code 1
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=roots -days 1 -keyout /dev/null \
	-out "$dir/c/roots.pem" 2>/dev/null
run check "$dir/own-roots.json" --credentials-dir "$dir/c"
is "with one in it: exit 0" $code 0
run check policies/examples/eu-only.json --credentials-dir "$dir/nowhere"
is "no such directory: exit 2" $code 2
if "$ctl" ca --help >/dev/null 2>&1 && command -v openssl >/dev/null; then
	mkdir "$dir/ca"
	cat >"$dir/openssl.cnf" <<'EOF'
[req]
distinguished_name = dn
x509_extensions = v3
prompt = no
[dn]
CN = test
[v3]
basicConstraints = critical, CA:true
nameConstraints = critical, permitted;DNS:api.anthropic.com, permitted;DNS:example.org
EOF
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$dir/key" \
		-out "$dir/ca/intermediate.crt" -days 1 -config "$dir/openssl.cnf" 2>/dev/null
	run check policies/examples/failover.json --ca-dir "$dir/ca"
	is "names outside the CA are warnings" $code 0
	has "and named" "$out" "does not permit host api.openai.com"
	hasnt "what it permits is not" "$out" "does not permit host api.anthropic.com"
else
	skip "names outside the CA" "egretctl ca or openssl is missing"
fi

# ---- files: as the agent reads them ----
run_soon() { out=$(timeout 20 "$ctl" "$@" 2>"$dir/stderr"); code=$?; err=$(cat "$dir/stderr"); }
mkdir "$dir/f"
cp policies/examples/eu-only.json "$dir/f/10-good.json"
asks() { # WHAT SAYS: check and explain refuse the directory with that sentence, in time
	run_soon check "$dir/f"
	is "check, $1: exit 2" $code 2
	has "check, $1: said" "$err" "$2"
	run_soon explain --policy-dir "$dir/f" --namespace shop --host api.openai.com --path /
	is "explain, $1: exit 2" $code 2
	has "explain, $1: said" "$err" "$2"
}
mkfifo "$dir/f/20-x.json"
asks "a pipe among the files" "20-x.json: a named pipe; expected a regular file"
rm "$dir/f/20-x.json"
echo 'root:TOPSECRET:19000:0:99999:7:::' >"$dir/shadow"
ln -s ../shadow "$dir/f/20-x.json"
asks "a link that leads out" "20-x.json: leads out of the directory; expected a file in it"
hasnt "what lies there is not shown" "$out$err" TOPSECRET
rm "$dir/f/20-x.json"
ln -s nowhere "$dir/f/20-x.json"
asks "a link to nothing" "20-x.json: a link to nothing; expected a regular file"
rm "$dir/f/20-x.json"
ln -s 10-good.json "$dir/f/20-x.json"
run check "$dir/f"
has "a link inside is read" "$out" "20-x.json:"
rm "$dir/f/20-x.json"
truncate -s $(((8 << 20) + 1)) "$dir/f/20-x.json"
asks "a file too large" "20-x.json: has 8388609 bytes; expected at most 8388608"
rm "$dir/f/20-x.json"
# A ConfigMap volume: what ..data names is read, once.
mkdir "$dir/v" "$dir/v/..1"
cp policies/examples/eu-only.json "$dir/v/..1/p.json"
ln -s ..1 "$dir/v/..data"
ln -s ..data/p.json "$dir/v/p.json"
run check "$dir/v"
is "a mounted volume is valid" $code 0
mkfifo "$dir/alone.json"
run_soon check "$dir/alone.json"
is "a pipe by its name: exit 2" $code 2
has "said" "$err" "alone.json: a named pipe"
run check "$dir/shadow"
hasnt "what is no JSON is not repeated" "$out$err" root
run_soon check <(cat policies/examples/eu-only.json)
is "a shell's <(command) is read" $code 0
out=$("$ctl" check - <policies/examples/eu-only.json)
has "and so is standard input" "$out" "valid: 0 errors"

# ---- nothing in a file or an answer acts on the terminal ----
export LC_ALL=C.UTF-8
controls() { printf %s "$1" | tr -d '\n' | LC_ALL=C grep -c -P '[\x00-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]'; }
quiet() { # WHAT: the last run printed no control character, and no line "valid: 0 errors"
	is "$1: nothing that a terminal acts upon" "$(controls "$out$err")" 0
	is "$1: no line of the file's own making" "$(printf '%s\n%s\n' "$out" "$err" | grep -c '^valid: 0 errors')" 0
}
EVIL='\u001b[2K\rvalid: 0 errors, 0 warnings (policy 0)\nvalid: 0 errors\u009b31m\u202e'
mkdir "$dir/e"
cat >"$dir/e/10.json" <<EOF
{"version": "egret/v1", "$EVIL": 1, "providers": {"$EVIL": {"kind": "$EVIL", "endpoint": "$EVIL"}},
 "policies": [{"name": "$EVIL", "mode": "$EVIL", "pods": {"labels": {"$EVIL": "$EVIL"}, "namespaces": ["$EVIL"]},
  "routes": [{"name": "r", "match": {"hosts": ["$EVIL"], "models": ["$EVIL"], "operations": ["$EVIL"]}, "targets": [{"provider": "$EVIL"}]}]}]}
EOF
run check "$dir/e"
is "a hostile policy is not valid" $code 1
has "what it says is shown" "$out" '\u001b[2K\u000dvalid: 0 errors'
quiet check
run check --json "$dir/e"
quiet "check --json"
printf '{"version": "egret/v1"}' >"$dir/e/10.json"
touch "$dir/e/$(printf 'a\033[2K\rvalid: 0 errors\nvalid: 0 errors.json')"
run check "$dir/e"
quiet "check, a file's name"
run check "$dir/$(printf 'none\033[2K\r')"
quiet "check, an argument"
X=(explain --policy-dir policies/examples/eu-only.json)
printf -v RAW '%b' "$EVIL"
run "${X[@]}" --namespace shop --labels "app=assistant,x=${RAW//,/}" --host api.openai.com --path /v1/chat/completions --model "$RAW"
quiet "explain, labels and model"
has "explain, what was asked is shown" "$out" '\u001b[2K\u000dvalid'
run "${X[@]}" --namespace "$RAW" --host "api.openai.com" --path "/$RAW"
quiet "explain, namespace and path"
mkdir "$dir/ep"
echo "{\"namespace\": \"shop\", \"name\": \"$EVIL\", \"uid\": \"u1\", \"labels\": {\"app\": \"assistant\", \"a\": \"$EVIL\"}, \"ips\": [\"10.1.0.2\"], \"netns\": \"/run/netns/a\"}" >"$dir/ep/a.json"
run "${X[@]}" --pods-dir "$dir/ep" --pod "shop/$RAW" --host api.openai.com --path /v1/chat/completions --model gpt-4o-mini
quiet "explain, a pod's file"
# An agent that answers whatever a policy or a pod made it say.
cat >"$dir/agent.py" <<'EOF'
import json, os, socket, sys
evil = json.loads('"%s"' % sys.argv[2])
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1] + "/egretd.sock")
s.listen(8)
open(sys.argv[1] + "/up", "w").close()
while True:
    c, _ = s.accept()
    command = json.loads(c.recv(4096))["command"]
    c.sendall(json.dumps({"ready": False, "state": evil, "version": evil, "notes": evil, "trouble": evil, "mode": evil, "fail": evil, "pin_dir": evil,
        "policy": {"valid": False, "directory": evil, "last_error": evil, "version": evil}} if command == "status" else
        {"pods": [{"namespace": evil, "name": evil, "state": evil, "policy": evil, "addresses": [evil]}]}).encode())
    c.close()
EOF
mkdir "$dir/run"
python3 "$dir/agent.py" "$dir/run" "$EVIL" &
agent=$!
trap 'kill $agent; rm -rf "$dir"' EXIT
for _ in $(seq 100); do [ -e "$dir/run/up" ] && break; sleep 0.1; done
for c in status pods; do
	run $c --run-dir "$dir/run"
	has "$c, a hostile agent's answer is shown" "$out" '\u001b[2K\u000dvalid'
	quiet "$c"
	run $c --run-dir "$dir/run" --json
	quiet "$c --json"
done

# ---- explain ----
E=(explain --policy-dir policies/examples/eu-only.json)
S=(--namespace shop --labels app=assistant)
run "${E[@]}" "${S[@]}" --host api.openai.com --path /v1/chat/completions --model gpt-4o-mini
is "an allowed request: exit 0" $code 0
has "with its route" "$out" "Allowed by route small"
has "first target" "$out" "https://eu.api.openai.com:443/v1/chat/completions (openai-eu)"
has "the next one" "$out" "then https://api.eu.mistral.ai:443/v1/chat/completions (mistral-eu)"
run "${E[@]}" "${S[@]}" --host api.openai.com --path /v1/chat/completions --model gpt-5
is "another model: exit 1" $code 1
has "with its reason" "$out" "reason: model_denied"
has "and why each route was not it" "$out" "small: it names other models"
run "${E[@]}" "${S[@]}" --host api.openai.com --path /v1/realtime/client_secrets
has "minting" "$out" "reason: credential_minting"
run "${E[@]}" "${S[@]}" --host api.openai.com --path /v1/chat/../files
has "a path that moves" "$out" "reason: path_unsafe"
run "${E[@]}" "${S[@]}" --host api.openai.com --path '/v1/chat/completions?limit=1&trace=1'
has "a query key that the API does not define" "$out" "reason: unknown_query"
has "is named" "$out" 'API defines no key "trace"'
run "${E[@]}" "${S[@]}" --host www.example.org --path /
is "a host that nothing governs: untouched" $code 0
has "said" "$out" "Untouched: www.example.org is not governed"
run "${E[@]}" --namespace other --host api.openai.com --path /v1/chat/completions --model gpt-4o-mini
is "a pod that no policy selects: untouched" $code 0
has "said" "$out" "no policy selects this pod"
run "${E[@]}" "${S[@]}" --gateway --path /v1/chat/completions --model qwen3
has "the gateway address" "$out" "Allowed by route open-weights"
run "${E[@]}" "${S[@]}" --host api.openai.com --path /v1/chat/completions
is "undecided without a body: exit 1" $code 1
has "and what is needed" "$out" "give --model or --body"
echo '{"model": "gpt-4o-mini", "model": "gpt-5"}' >"$dir/body"
run "${E[@]}" "${S[@]}" --host api.openai.com --path /v1/chat/completions --body "$dir/body"
has "a duplicate key" "$out" "reason: bad_body"
run "${E[@]}" "${S[@]}" --host api.openai.com --path '/v1/chat/completions?trace=1' --body "$dir/body"
has "head and body are bad: the head's reason, as at the gateway" "$out" "reason: unknown_query"
echo '{"model": "gpt-4o-mini", "messages": []}' >"$dir/body"
run "${E[@]}" "${S[@]}" --host api.openai.com --path /v1/chat/completions --body "$dir/body" --json
is "--json parses and says the same" "$(printf %s "$out" | python3 -c 'import json,sys; d = json.load(sys.stdin)
print(d["allowed"], d["reason"], d["status"], [s["step"] for s in d["steps"]])')" \
	"True ok 200 ['pod', 'policy', 'operation', 'model', 'route', 'route', 'target', 'target']"
# What the gateway asks of a body whose route is known.
mkdir "$dir/limited"
cat >"$dir/limited/p.json" <<'EOF'
{"version": "egret/v1",
 "providers": {"p": {"kind": "openai", "endpoint": "https://api.mistral.ai/v1", "credential": "k", "models": {"a": "other/b"}}},
 "credentials": {"k": {"type": "none", "namespace": "shop"}},
 "policies": [{"name": "p", "pods": {}, "routes": [
  {"name": "small", "match": {"hosts": ["api.openai.com"], "models": ["a"], "operations": ["models", "assistants"]}, "max_body_bytes": 100, "targets": [{"provider": "p"}]},
  {"name": "large", "match": {"hosts": ["api.openai.com"], "operations": ["assistants"]}, "max_body_bytes": 200, "targets": [{"provider": "p"}]}]}]}
EOF
L=(explain --policy-dir "$dir/limited" "${S[@]}" --host api.openai.com)
for n in 100:ok 101:body_too_large; do
	printf "%-${n%:*}s" '{"model": "a", "messages": []}' >"$dir/body"
	run "${L[@]}" --path /v1/chat/completions --body "$dir/body" --json
	has "${n%:*} bytes at a route that allows 100" "$out" "\"reason\": \"${n#*:}\""
done
printf '%-101s' '{"model": "b", "messages": []}' >"$dir/body"
run "${L[@]}" --path /v1/chat/completions --body "$dir/body"
is "the next route allows them" $code 0
printf '%-201s' '{"model": 7}' >"$dir/body"
run "${L[@]}" --path /v1/chat/completions --body "$dir/body"
has "more than any route allows is not read" "$out" "reason: body_too_large"
printf -- '--b\r\nContent-Disposition: form-data; name="model"\r\nContent-Length: 1\r\n\r\na\r\n--b--\r\n' >"$dir/form"
run "${L[@]}" --path /v1/images/edits --body "$dir/form" --content-type "multipart/form-data; boundary=b"
has "a form that can't hold the provider's name for the model" "$out" "part has a Content-Length, or the boundary occurs in the name.  [bad_body]"
run "${L[@]}" --path /v1/assistants --model a
has "a model in a body that is not read is none: the route without models" "$out" "Allowed by route large"
run "${L[@]}" --path /v1/models/a --method GET
has "a model that the path names, as the provider calls it" "$out" "/v1/models/other%2Fb (k)"
mkdir "$dir/pods"
echo '{"namespace": "shop", "name": "a", "uid": "u1", "labels": {"app": "assistant"}, "ips": ["10.1.0.2"], "netns": "/run/netns/a"}' >"$dir/pods/a.json"
run "${E[@]}" --pods-dir "$dir/pods" --pod shop/a --host api.openai.com --path /v1/chat/completions --model gpt-4o-mini
is "a pod of --pods-dir" $code 0
run "${E[@]}" --pods-dir "$dir/pods" --pod shop/b --host api.openai.com --path /v1/chat/completions --model gpt-4o-mini
is "a pod that is not there: exit 2" $code 2
for h in api.openai.com:443 API.OpenAI.com api.openai.com. api.openai.com:80; do
	run "${E[@]}" "${S[@]}" --host $h --path /v1/chat/completions --model gpt-5
	is "--host $h is that host: exit 1" $code 1
	has "--host $h: the real reason" "$out" "reason: model_denied"
done
run "${E[@]}" "${S[@]}" --host api.openai.com:8443 --path /v1/chat/completions --model gpt-4o-mini
is "another port of a governed host: exit 1" $code 1
has "said" "$out" "reason: port_denied"
run "${E[@]}" "${S[@]}" --host www.example.org:8443 --path /
has "another port of another host: untouched" "$out" "Untouched: www.example.org is not governed"
for h in https://api.openai.com api.openai.com/v1 api.openai.com:0 api.openai.com:x :443 "" "a b" user@api.openai.com 10.0.0.1 '[::1]:443' "$(printf 'a%.0s' {1..300}).example"; do
	run "${E[@]}" "${S[@]}" --host "$h" --path /v1/chat/completions --model gpt-5
	is "--host '${h:0:40}' is refused: exit 2" $code 2
	has "--host '${h:0:40}': what was expected" "$err" "expected a server's name"
done
echo '{"model": "gpt-4o-mini", "images": [{"file_id": "file-1"}]}' >"$dir/body"
run "${E[@]}" "${S[@]}" --host api.openai.com --path /v1/images/edits --body "$dir/body"
has "JSON where a form could be is read" "$out" "reason: stateful_denied"
part() { printf -- '--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' "$1" "$2"; }
form() { run "${E[@]}" "${S[@]}" --host api.openai.com --path /v1/images/edits --body "$dir/form" --content-type "multipart/form-data${1-; boundary=b}"; }
{ part prompt "a cat"; part model gpt-4o-mini; printf -- '--b--\r\n'; } >"$dir/form"
form
is "a form: exit 0" $code 0
has "its model chooses the route" "$out" "route      small matches"
form ""
is "a form without a boundary: exit 1" $code 1
has "and why" "$out" "Content-Type: no boundary  [bad_body]"
{ part model gpt-4o-mini; part 'image[file_id]' file-1; printf -- '--b--\r\n'; } >"$dir/form"
form
has "what a form refers to is seen" "$out" "reason: stateful_denied"
{ part model gpt-4o-mini; part model gpt-4o; printf -- '--b--\r\n'; } >"$dir/form"
form
has "a form that two could read differently" "$out" 'a second "model"; expected one  [bad_body]'
run "${E[@]}" "${S[@]}" --host api.openai.com --path /v1/chat/completions --body "$dir/form" --content-type "multipart/form-data; boundary=b"
has "a form where none belongs" "$out" "reason: bad_body"
run "${E[@]}" "${S[@]}" --host api.openai.com --path /v1/images/edits --model gpt-4o-mini --content-type application/json
is "--content-type without --body: exit 2" $code 2
for mode in sni full; do
	sed "s/\"name\": \"eu-chat\",/&\"mode\": \"shadow\", \"shadow\": \"$mode\",/" policies/examples/eu-only.json >"$dir/shadow-$mode.json"
	run check "$dir/shadow-$mode.json"
	is "the policy in shadow: $mode is valid" $code 0
done
X=(explain --policy-dir "$dir/shadow-sni.json" "${S[@]}")
run "${X[@]}" --host api.openai.com --path /v1/chat/completions --model gpt-5
is "shadow: sni passes what it would refuse" $code 0
has "the record it leaves" "$out" "Recorded: type connection, reason ok"
has "and that requests are not seen" "$out" "operations and models are never seen"
has "what enforcement would say" "$out" "No route of the pod's policy allows this model.  [model_denied]"
hasnt "the reason is not what nobody saw" "$out" "reason: model_denied"
is "--json has the record's reason" "$("$ctl" "${X[@]}" --json --host api.openai.com --path /v1/chat/completions --model gpt-5 | jq -c '[.allowed, .reason]')" '[true,"ok"]'
run "${X[@]}" --host api.openai.com --path /v1/chat/completions
is "it needs no body" $code 0
run "${X[@]}" --host api.openai.com:80 --path /v1/chat/completions
has "plain HTTP under shadow: sni" "$out" "Recorded: type connection, reason shadow"
sed 's/"otherwise": *"deny"/"otherwise": "pass"/' "$dir/shadow-sni.json" >"$dir/shadow-pass.json"
run explain --policy-dir "$dir/shadow-pass.json" "${S[@]}" --host eu.api.openai.com --path /v1/chat/completions
has "a host that otherwise: pass would pass" "$out" "Recorded: type connection, reason pass_through"
run "${X[@]}" --host eu.api.openai.com --path /v1/chat/completions
has "one that otherwise: deny would refuse" "$out" "Recorded: type connection, reason no_route"
run "${X[@]}" --gateway --path /v1/chat/completions --model qwen3
is "the gateway address in shadow mode: exit 1" $code 1
has "said" "$out" "served by enforced policies only"
run "${X[@]}" --gateway --path /v1/chat/completions --body policies/examples/eu-only.json --content-type text/plain
has "whatever the body is: it is not read" "$out" "reason: no_route"
run explain --policy-dir "$dir/shadow-full.json" "${S[@]}" --host api.openai.com --path /v1/chat/completions --model gpt-5
is "shadow: full passes, too" $code 0
has "and records what would have been" "$out" "reason: model_denied"
run explain --policy-dir "$dir/shadow-full.json" "${S[@]}" --host api.openai.com --path /v1//chat/completions
is "an unsafe path passes under shadow: full, as at the gateway" $code 0
has "and is what would have been" "$out" "reason: path_unsafe"
run "${X[@]}" --host api.openai.com --path /v1//chat/completions
is "shadow: sni sees no path" $code 0
has "so the record has none of it" "$out" "Recorded: type connection, reason ok"
jq '.policies[].routes[].match.operations = ["realtime"]' policies/examples/eu-only.json >"$dir/live.json"
for body in "" "--body policies/examples/eu-only.json"; do
	# shellcheck disable=SC2086 # words
	run explain --policy-dir "$dir/live.json" "${S[@]}" --host api.openai.com --method GET --path "/v1/realtime?model=gpt-4o-mini" $body
	has "a model of the query is the model${body:+, whatever an unread body says}" "$out" "Allowed by route small"
done
# Namespaces by label: what is not said is not known, and where that makes a difference it is asked for.
jq '.policies |= map(.pods = {namespaceLabels: {team: "retail"}})' policies/examples/eu-only.json >"$dir/team.json"
T=(explain --policy-dir "$dir/team.json" --namespace shop --host api.openai.com --path /v1/chat/completions --model gpt-4o-mini)
run check "$dir/team.json"
is "a namespace's labels select: valid" $code 0
run "${T[@]}"
is "not said: not decided" $code 1
has "and why" "$out" "eu-chat perhaps (enforce)"
has "with what is missing" "$out" "give --namespace-labels"
has "and the reason that the agent has of such a pod" "$out" "reason: unknown_pod"
run "${T[@]}" --namespace-labels team=retail,x=y
is "those that it asks for: selected" $code 0
has "they are shown" "$out" "pod        shop/(any), labels of its namespace team=retail,x=y"
has "and lead to the route" "$out" "Allowed by route small"
for labels in "" team=other; do
	run "${T[@]}" --namespace-labels "$labels"
	has "'$labels': untouched" "$out" "Untouched: no policy selects this pod"
done
run "${T[@]}" --namespace-labels team
is "no label: a usage error" $code 2
has "which is named" "$err" '--namespace-labels: "team" is not KEY=VALUE'
mkdir "$dir/team"
echo '{"namespace": "shop", "name": "a", "uid": "u1", "namespaceLabels": {"team": "retail"}, "netns": "/run/netns/a"}' >"$dir/team/a.json"
run explain --policy-dir "$dir/team.json" --pods-dir "$dir/team" --pod shop/a --host api.openai.com --path /v1/chat/completions --model gpt-4o-mini
has "a pod's file has them" "$out" "Allowed by route small"
run explain --policy-dir policies/examples/eu-only.json --namespace shop --labels app=assistant --host api.openai.com --path /v1/models
hasnt "no policy asks for them: nothing is missing" "$out" "namespace-labels"
# By its name alone: neither path nor query is seen, so nothing of them decides.
for mode in enforce sni full; do
	from=$dir/shadow-$mode.json; [ $mode = enforce ] && from=policies/examples/eu-only.json
	jq '.policies[].otherwise = "pass"' "$from" >"$dir/pass.json"
	for path in /v1//chat/completions /v1/%zz "/v1/realtime?model=a&model=b"; do
		run explain --policy-dir "$dir/pass.json" "${S[@]}" --host eu.api.openai.com --method GET --path "$path" --json
		is "$mode, otherwise: pass, $path: passed through by its name" "$(jq -c '[.allowed, .reason]' <<<"$out")" '[true,"pass_through"]'
	done
done
for mode in enforce shadow-full; do
	from=$dir/$mode.json; [ $mode = enforce ] && from=policies/examples/eu-only.json
	jq '.providers |= map_values(.fronts = ["*.front.example"])' "$from" >"$dir/fronts.json"
	run explain --policy-dir "$dir/fronts.json" "${S[@]}" --host cdn.front.example --path /
	has "$mode: a front is explained as the gateway judges it" "$out" "reason: domain_fronting"
	has "$mode: and where" "$out" "at an address that is captured"
	is "$mode: exit code" $code "$([ $mode = enforce ] && echo 1 || echo 0)"
done
run explain --policy-dir "$dir/p" "${S[@]}" --host api.openai.com --path /
is "a broken policy: exit 2" $code 2
has "and where" "$err" "is not valid"
run "${E[@]}" "${S[@]}" --path /
is "neither host nor gateway: exit 2" $code 2

checks_done
