#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# egretctl trace --from: records as they are shown, and what is no record. Needs neither root nor an agent.
set -u
cd "$(dirname "$0")" || exit 1
. ../lib/check.sh
EGRETCTL=${EGRET_BUILD:-../../build}/egretctl
[ -x "$EGRETCTL" ] || { echo "SKIP - $EGRETCTL is not built: run make"; echo "0 passed, 0 failed, 1 skipped"; exit 0; }
DIR=$(mktemp -d /tmp/egret-records.XXXXXX)
trap 'rm -rf "$DIR"' EXIT
trace() { "$EGRETCTL" trace --from "$@" > "$DIR/out" 2> "$DIR/err"; CODE=$?; OUT=$(cat "$DIR/out"); ERR=$(cat "$DIR/err"); }
ONE='{"time":"2026-01-02T03:04:05.678Z","type":"request","gateway":"egret","request_id":"0123456789abcdef0123456789abcdef","pod":{"namespace":"shop","name":"a","uid":"u-1","service_account":"sa"},"source":"10.0.0.1:1000","destination":"10.0.0.2:443","server_name":"api.openai.com","protocol":"HTTP/1.1","method":"POST","path":"/v1/chat/completions","policy":"prod","policy_version":"0011","route":"main","provider":"eu","provider_kind":"openai","region":"EU","operation":"chat.completions","dialect":"openai","model":"gpt-4o","reason":"ok","attempts":[{"provider":"us","region":"US","reason":"upstream_timeout","duration_ms":2000},{"provider":"eu","region":"EU","reason":"ok","status":200,"duration_ms":40}],"status":200,"upstream_status":200,"upstream_protocol":"HTTP/2","streamed":true,"replayed":true,"possibly_billed_twice":true,"connection_reused":true,"bytes_in":10,"bytes_out":20,"first_byte_ms":2030,"duration_ms":2041,"tokens":{"input":3,"output":4}}'

echo "# a record of an access log"
printf '%s\n' "$ONE" > "$DIR/log"
trace "$DIR/log"
is "exit code" "$CODE" 0
is "all of it" "$OUT" "$(cat << 'END'
2026-01-02T03:04:05.678Z  shop/a  POST api.openai.com/v1/chat/completions  ok 200  request 0123456789abcdef0123456789abcdef
  connection  from 10.0.0.1:1000, to 10.0.0.2:443, server name api.openai.com, HTTP/1.1, not its first request
  pod         service account sa, uid u-1
  policy      prod, version 0011, route main
  operation   chat.completions, API of openai, model gpt-4o
  attempt 1   us, region US, upstream_timeout, after 2000 ms
  attempt 2   eu, region EU, ok, status 200, after 40 ms
  provider    eu, kind openai, region EU, HTTP/2, status 200, sent more than once, possibly billed twice
  answer      status 200, ok, first byte after 2030 ms, over after 2041 ms, bytes in 10, bytes out 20, streamed
  tokens      3 input, 4 output
END
)"
is "nothing else is said" "$ERR" ""
trace "$DIR/log" --json
is "--json" "$(jq -c . <<< "$OUT")" "$(jq -c . <<< "$ONE")"
trace - < "$DIR/log"
has "stdin" "$OUT" "shop/a"

echo "# which"
jq -c '.request_id = "ffff" | .pod.name = "b" | .server_name = "other"' "$DIR/log" >> "$DIR/log.2"; cat "$DIR/log" >> "$DIR/log.2"
shows() { trace "$DIR/log.2" --json "${@:2}"; is "${*:2}" "$(jq -r .request_id <<< "$OUT" | cut -c 1-4 | tr '\n' ' ')" "$1"; }
shows "ffff 0123 "
shows "ffff " ffff
shows "0123 " --pod shop/a
shows "ffff " --host OTHER
shows "ffff " --count 1
trace "$DIR/log.2" nobody
is "none" "$CODE $OUT" "1 "
has "said" "$ERR" "no record of request nobody is there"
trace "$DIR/log.2" --count 3
is "fewer than asked for" "$CODE" 1

echo "# what is no record"
{
	echo 'a line'; echo '{"time":"x","level":"info","message":"egretd ends"}'; echo '{"type":"request"'; echo '[]'; echo '{"type":"request","request_id":7}'
	printf '[pod/egret-x/egretd] %s\n' "$ONE"; printf '\0\1\2{\n'; echo
	printf '{"type":"request","request_id":"long","path":"%s"}\n' "$(head -c 1100000 /dev/zero | tr '\0' x)"; printf '%s' "$ONE"
} > "$DIR/bad"
trace "$DIR/bad" --json
is "records between are shown, with a prefix, and without an end of line" "$(jq -r .request_id <<< "$OUT" | sort | uniq -c | awk '{ print $1 }')" 2
has "the others are counted" "$ERR" "7 lines are no record, and were passed over"
trace "$DIR/nothing"
is "no file" "$CODE" 2
has "said" "$ERR" "No such file"
trace "$DIR"
is "a directory" "$CODE" 2
: > "$DIR/empty"; trace "$DIR/empty"
is "an empty one" "$CODE" 1
head -c 3000000 /dev/urandom > "$DIR/noise"; trace "$DIR/noise"
is "noise" "$CODE $OUT" "1 "

python3 - "$DIR/log" "$DIR/cuts" "$DIR/flips" << 'END'
import random, sys
line = open(sys.argv[1], "rb").read().rstrip(b"\n")
open(sys.argv[2], "wb").writelines(line[:i] + b"\n" for i in range(1, len(line)))
dice = random.Random(1)
with open(sys.argv[3], "wb") as f:
    for _ in range(20000):
        b = bytearray(line)
        for _ in range(dice.randrange(1, 4)):
            b[dice.randrange(len(b))] = dice.choice(b'"{}[],:0e-\\\x00\x1b\xc2\x9bx')
        f.write(b + b"\n")
END
trace "$DIR/cuts"
is "cut at every byte" "$CODE $OUT" "1 "
has "each is counted" "$ERR" "$(wc -l < "$DIR/cuts") lines are no record"
trace "$DIR/flips"
is "bytes changed at random" "$CODE" 0
is "no control byte" "$(LC_ALL=C tr -d '\n' < "$DIR/out" | LC_ALL=C grep -c $'[[:cntrl:]]\|\xc2\x9b')" 0

echo "# values of other kinds, and what a terminal would act on"
for type in 7 '[]' '{}' null true '"x"'; do
	jq -c --argjson v "$type" 'with_entries(if .key == "type" or .key == "request_id" then . else .value = $v end)' "$DIR/log" > "$DIR/odd"
	jq -c --argjson v "$type" '.steps = $v | .attempts = [$v, {"provider": $v}] | .tokens = {"input": $v}' "$DIR/log" >> "$DIR/odd"
	jq -c --argjson v "$type" '.steps = [$v, {"ms": $v, "what": $v, "text": $v, "reason": $v}]' "$DIR/log" >> "$DIR/odd"
	trace "$DIR/odd"
	is "$type" "$CODE $(grep -c 'request 0123' <<< "$OUT")" "0 3"
done
jq -c '(.. | strings) |= (if . == "request" then . else . + "\u001b[31m\u0007\u009b\u202e\r\nforged" end) | .steps = [{"ms": 1, "what": "w\u001b]0;", "reason": "r\n", "text": "t\u009b"}]' "$DIR/log" > "$DIR/odd"
trace "$DIR/odd"
is "no control byte" "$(LC_ALL=C tr -d '\n' < "$DIR/out" | LC_ALL=C grep -c $'[[:cntrl:]]\|\xc2\x9b\|\xe2\x80\xae')" 0
is "no line of a pod's own" "$(grep -c '^forged' "$DIR/out")" 0
has "they are written out" "$OUT" '\u001b[31m'
trace "$DIR/odd" --json
is "--json is ASCII" "$(LC_ALL=C tr -d '\n -~' < "$DIR/out" | wc -c)" 0
is "steps and what was decided" "$("$EGRETCTL" trace --from <(jq -c '.steps = [{"ms": 3, "what": "target", "reason": "region_denied", "text": "us"}] | .steps_cut = true' "$DIR/log") | grep -A 1 ' ms   ' | head -n 2)" \
	"$(printf '       3 ms   target    us => region_denied\n              there were more steps than are kept')"

echo "# arguments"
wrong() { "$EGRETCTL" trace "${@:2}" > "$DIR/out" 2> "$DIR/err"; is "trace ${*:2}" $? 2; has "said" "$(cat "$DIR/err")" "$1"; }
wrong "expected NAMESPACE/NAME" --pod a
wrong "expected a number from 1" --count 0
wrong "expected a number from 1" --timeout -1
wrong "expected a number from 1" --count 99999999999999999999
wrong "expected --from FILE" 0123
wrong "one request at a time" --from x a b
wrong "of live requests" --from x --timeout 1
wrong "is not an option" --nothing
check "--help" "$EGRETCTL" trace --help
checks_done
