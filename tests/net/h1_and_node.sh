#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# proto/ and Node's own parser frame the same HTTP/1.1 messages, 100,000 inputs of them; every difference is explained in
# docs/internals/h1_and_node.md, or fails.
#   tests/net/h1_and_node.sh [SEED [INPUTS]]
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/check.sh
program=${EGRET_BUILD:-build}/tests/net/h1_and_node
[ -x "$program" ] || skip_all "$program is not built (make net-helpers)"
node=$(tools/deps --node) || skip_all "no Node.js that is new enough (tools/deps)"
# Methods come as numbers, whose names are no public interface.
exec "$node" --expose-internals --no-warnings tests/net/h1_and_node.mjs "$program" "${1:-424242}" "${2:-100000}"
