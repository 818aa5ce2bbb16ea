#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Compressed bodies through Egret, by Node's fetch and by curl: what arrives, what comes back, what the records say.
set -u
cd "$(dirname "$0")" || exit 1
. ../lib/check.sh
. ../lib/topology.sh
. ../lib/egret.sh
egret_require

topology_up ecd podA podB:routed
world_key openai api.openai.com >/dev/null
world_up
egret_prepare policy
pod_register "$E_DIR/pods" podA sdk '{}'
pod_register "$E_DIR/pods" podB sdk '{}'
egret_up
mock_forget

out=$T_RUN/sdk.out
pod_sdk podA OPENAI_API_KEY=placeholder codings.test.mjs > "$out" 2>&1
cat "$out"
C_PASSED=$((C_PASSED + $(grep -c '^ok ' "$out")))
C_FAILED=$((C_FAILED + $(grep -c '^FAIL ' "$out")))
tail -n1 "$out" | grep -qE '^[0-9]+ passed, [0-9]+ failed$' || fail "codings.test.mjs ended without its count" "$(tail -n 5 "$out")"

coded='.response_encoding == "gzip" or .response_encoding == "br"'
recorded() { [ "$(egret_records "$coded" 2>/dev/null | jq length)" -ge 5 ]; }
await 10 recorded || fail "five coded answers are on record" "$(egret_records "$coded")"
is "each was read: its tokens are known" "$(egret_records "($coded) and (.tokens.output // 0) == 0" | jq length)" 0
is "to its end" "$(egret_records '.response_unread != null' | jq length)" 0
is "the streams, too" "$(egret_records "($coded) and .streamed" | jq length)" 2

# curl sends bytes that were made elsewhere; they arrive as they are, by the route that the model inside chooses.
printf '%s' '{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}' | gzip -9 > "$T_RUN/body.gz"
post() {
	pod_curl podA -o "$T_RUN/answer" -w '%{http_code}' -H 'authorization: Bearer placeholder' -H 'content-type: application/json' \
		--data-binary "@$T_RUN/body.gz" "$@" https://api.openai.com/v1/chat/completions
}
is "a body of gzip's own" "$(post -H 'content-encoding: gzip')" 200
is "arrived byte for byte" "$(mock_last .body_sha256)" "$(sha256sum < "$T_RUN/body.gz" | cut -d' ' -f1)"
is "with its header" "$(mock_last '[.headers[] | select(.[0] | ascii_downcase == "content-encoding")][0][1]')" gzip
is "and its model was read" "$(mock_last .model)" gpt-4o
is "without one, it is no JSON" "$(post)" 400
gzip -dc "$T_RUN/body.gz" | zstd -q -19 > "$T_RUN/body.zst" && mv "$T_RUN/body.zst" "$T_RUN/body.gz"
post -H 'content-encoding: zstd' >/dev/null # the mock can't read it, which is no matter of Egret's
is "a body of zstd's own arrived byte for byte, too" "$(mock_last .body_sha256)" "$(sha256sum < "$T_RUN/body.gz" | cut -d' ' -f1)"
is "and its model was read, too" "$(egret_last '.model + " " + .provider')" "gpt-4o openai"
is "what curl does not accept is not asked for" \
	"$(post -H 'content-encoding: gzip' > /dev/null; mock_last '[.headers[] | select(.[0] | ascii_downcase == "accept-encoding")][0][1]')" identity
# A body that says 100 MiB in 100 KB is decoded to the limit in pieces: ten at once hold up nobody, and the gateway stays the same.
head -c $((100 << 20)) /dev/zero | gzip -9 > "$T_RUN/bomb.gz"
bomb() {
	pod podA curl -sS --max-time 60 --cacert "$T_RUN/pod-roots.crt" -o /dev/null -w '%{http_code}\n' -H 'authorization: Bearer placeholder' \
		-H 'content-type: application/json' -H 'content-encoding: gzip' --data-binary "@$T_RUN/bomb.gz" https://api.openai.com/v1/chat/completions
}
bombs=
for _ in $(seq 10); do bomb >> "$T_RUN/bombs" 2>&1 & bombs="$bombs $!"; done
served=0 asked=0
while [ "$(wc -l < "$T_RUN/bombs")" -lt 10 ] && [ $asked -lt 200 ]; do
	asked=$((asked + 1))
	[ "$(pod podB curl -sS --max-time 20 --cacert "$T_RUN/pod-roots.crt" -o /dev/null -w '%{http_code}' -H 'authorization: Bearer placeholder' \
		-H 'content-type: application/json' -d '{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}' https://api.openai.com/v1/chat/completions)" = 200 ] &&
		served=$((served + 1))
done
# shellcheck disable=SC2086 # words
wait $bombs
is "ten bombs at once: each refused, by its size or by what one pod may hold" "$(sort "$T_RUN/bombs" | grep -cxE '413|503')" 10
at_least "another pod asked meanwhile" "$asked" 1
is "and was served each time" "$served" "$asked"
is "by the same gateway" "$(ctl status --json | jq .gateway.restarts)" 0
egret_down
checks_done
