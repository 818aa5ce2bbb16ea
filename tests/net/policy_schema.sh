#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# policies/schema.json refuses what the parser refuses, and takes what it takes: some 6,000 changed policies, judged by both.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/check.sh
judge=${EGRET_BUILD:-build}/tests/policy_judge
[ -x "$judge" ] || skip_all "$judge is not built (make net-helpers)"
[ -d tests/sdk/node_modules/ajv ] || skip_all "the JSON Schema validator is not installed (tools/deps)"
node=$(tools/deps --node) || skip_all "no Node.js that is new enough (tools/deps)"
out=$("$node" tests/sdk/schema.mjs "$judge" 2>&1)
is "the comparison ran to its end" $? 0
counts=${out##*$'\n'}
check_not "something differs" grep -v '^{' <<<"$out"
of() { jq ".$1" <<<"$counts"; }
at_least "changes judged" "$(of changes)" 5000
at_least "of which both take" "$(of accepted)" 500
at_least "and both refuse" "$(of refused)" 4000
is "what the schema alone refuses" "$(of schema_only)" 0
is "what the parser alone refuses, though JSON Schema could say it" "$(of parser_only)" 0
is "exceptions that never happen" "$(of stale)" 0
is "exceptions that docs/policy.md does not name" "$(of undocumented)" 0
checks_done
