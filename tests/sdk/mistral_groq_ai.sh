#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# groq-sdk, @mistralai/mistralai and the AI SDK: straight to the mock with real keys, then through Egret with placeholders. What each
# call gives, and what the provider sees of it, is the same but for what compatible/differs.json lists. Then where policy refuses all.
set -u
cd "$(dirname "$0")" || exit 1
. ../lib/check.sh
. ../lib/topology.sh
. ../lib/egret.sh
. seen.sh
egret_require

# What the provider saw, in no order: what a connection needs is each side's own. mock-close: Egret asks again over a new connection.
arrived() {
	jq -cS 'select(.event == "request" and .model != "mock-close") | {path, model, stream, body_sha256, headers: [.headers[] | .[0] |= ascii_downcase |
		select(.[0] | IN("host", "connection", "accept-encoding", "sec-fetch-mode", "cookie", "x-egret-via") | not)] | sort}' "$T_RUN/provider.jsonl" | sort
}
# The requests whose client went away, by model.
left() { jq -rs '(map(select(.event == "request")) | map({key: "\(.n)", value: .model}) | from_entries) as $of |
	map(select(.event == "cut") | $of["\(.n)"] | select(test("hang|slow"))) | sort | .[]' "$T_RUN/provider.jsonl"; }
left_at_least() { [ "$(left | wc -l)" -ge "$1" ]; }

topology_up escomp podA podB
mistral=$(world_key mistral api.mistral.ai api.eu.mistral.ai)
groq=$(world_key groq api.groq.com)
openai=$(world_key openai api.openai.com us.api.openai.com)
anthropic=$(world_key anthropic api.anthropic.com)
world_up

echo "# straight to the provider"
seen_all direct podA "$T_RUN/certs/root.crt" GROQ_API_KEY="$groq" MISTRAL_API_KEY="$mistral" OPENAI_API_KEY="$openai" \
	ANTHROPIC_API_KEY="$anthropic" -- groq mistral ai
for sdk in groq mistral ai; do seen_count "$T_RUN/direct-$sdk"; done
arrived > "$T_RUN/arrived.direct"
left > "$T_RUN/left.direct"

echo "# through Egret"
keys=(GROQ_API_KEY=placeholder MISTRAL_API_KEY=placeholder OPENAI_API_KEY=placeholder ANTHROPIC_API_KEY=placeholder)
egret_prepare compatible/policy.json
pod_register "$E_DIR/pods" podA sdk '{}'
pod_register "$E_DIR/pods" podB swiss '{}'
egret_up
mock_forget
mock_clear
seen_all egret podA "$T_RUN/pod-roots.crt" "${keys[@]}" -- groq mistral ai
cat "$T_RUN"/direct-{groq,mistral,ai} > "$T_RUN/direct"
cat "$T_RUN"/egret-{groq,mistral,ai} > "$T_RUN/egret.seen"
seen_same direct egret.seen compatible/differs.json api.eu.mistral.ai=api.mistral.ai us.api.openai.com=api.openai.com

await 10 left_at_least "$(wc -l < "$T_RUN/left.direct")"
at_least "clients that went away: of the provider itself" "$(wc -l < "$T_RUN/left.direct")" 10
is "the provider heard of each through Egret" "$(left)" "$(cat "$T_RUN/left.direct")"
arrived > "$T_RUN/arrived.egret"
at_least "requests arrived" "$(wc -l < "$T_RUN/arrived.egret")" 100
is "the same ones: body, real key, retries and all" "$(diff "$T_RUN/arrived.direct" "$T_RUN/arrived.egret")" ""
is "no placeholder left the node" "$(grep -c placeholder "$T_RUN/provider.jsonl")" 0

echo "# regions, and what is on record"
is "Mistral was asked where policy allows" "$(mock_requests '.host == "api.mistral.ai"') $(mock_requests '.host == "api.eu.mistral.ai" and .tls')" \
	"0 $(mock_requests '.host | test("mistral")')"
is "so was OpenAI" "$(mock_requests '.host == "api.openai.com"')" 0
recorded() { [ "$(egret_records '.type == "request"' | jq length)" -ge "$(mock_requests '.model != "mock-close"')" ]; }
await 10 recorded
is "each request has its region on record" "$(egret_records '.type == "request"' | jq -c '[.[] | [.route, .provider, .region]] | unique')" \
	'[["anthropic","anthropic","US"],["groq","groq","US"],["mistral","mistral-eu","EU"],["openai","openai-us","US"]]'
at_least "and where the provider said that it was" "$(egret_records '.region_evidence == "us-east-1"' | jq length)" 20
is "which agrees" "$(egret_records '.region_violation' | jq length)" 0
is "tokens are the ones that the SDKs saw" "$(egret_records '.reason == "ok" and .status == 200 and .operation == "chat.completions" and (.path | startswith("/openai"))' |
	jq '[.[] | .tokens.input + .tokens.output] | unique | contains([18])')" true
# Its SDK closes the connection at a stream's [DONE]: whether that or the end came first is chance.
is "of a stream without usage asked for, too" "$(egret_records '.provider == "mistral-eu" and .streamed and (.reason | IN("ok", "client_closed")) and .tokens' |
	jq -c '[.[] | .tokens.input + .tokens.output] | unique')" '[11,18]'
is "operations" "$(egret_records '.type == "request"' | jq -c '[.[].operation] | unique')" '["chat.completions","embeddings","fim.completions","messages","responses"]'

echo "# where no target is allowed"
mock_forget
: > "$E_DIR/access.jsonl"
seen_all denied podB "$T_RUN/pod-roots.crt" "${keys[@]}" -- groq mistral ai '/(completion|streaming|embeddings|fill in the middle)$'
for sdk in groq mistral ai; do
	seen_refused "denied-$sdk" '.status == 403 and (.body.error.code == "egret_region_denied")'
done
is "groq-sdk: by its class for that" "$(jq -rs '[.[].seen | (.ended // .).error] | unique | join(" ")' < <(sed -n 's/^saw - .* = \(.*\)$/{"seen": \1}/p' "$T_RUN/denied-groq"))" \
	PermissionDeniedError
is "once each: none is retried" "$(egret_records '.type == "request" and .reason == "region_denied"' | jq length)" "$(cat "$T_RUN"/denied-{groq,mistral,ai} | grep -c '^saw')"
is "and nothing arrived" "$(mock_requests)" 0
egret_down
checks_done
