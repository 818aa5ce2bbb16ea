# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the agent_*.sh tests share: the library of ../lib, one pod, two providers.
. ../lib/check.sh
. ../lib/topology.sh
. ../lib/egret.sh
egret_require

agent_prepare() { # PREFIX
	topology_up "$1" podA podB
	OPENAI=$(world_key openai api.openai.com)
	ANTHROPIC=$(world_key anthropic api.anthropic.com)
	world_up
	egret_prepare policies/agent
	pod_register "$E_DIR/pods" podA shop '{"app":"assistant"}' assistant-sa
}
# ask POD [CURL ARGS]: one chat completion; prints the status (000: no answer at all).
ask() {
	local pod=$1; shift
	pod_curl "$pod" -o "$T_RUN/answer" -w '%{http_code}' -H 'authorization: Bearer placeholder' -H 'content-type: application/json' \
		-d '{"model":"gpt-4o","messages":[{"role":"user","content":"hello"}]}' "$@" https://api.openai.com/v1/chat/completions 2>/dev/null
}
load() { # REQUESTS CONNECTIONS [OPTION...]: the result line of load.mjs
	local requests=$1 connections=$2; shift 2
	pod_sdk podA OPENAI_API_KEY=placeholder "$T_ROOT/tests/lib/load.mjs" --url https://api.openai.com/v1/chat/completions \
		--requests "$requests" --connections "$connections" --header 'authorization: Bearer placeholder' \
		--body '{"model":"gpt-4o","messages":[{"role":"user","content":"request {n}."}]}' --expect 'request {n}.' "$@" | tail -n 1
}
pid_of() { ctl status --json | jq ".$1.pid"; }
metrics() { node curl -sS http://127.0.0.1:9909/metrics; }
metric() { metrics | awk -v name="$1" '$1 == name { print $2 }'; }
proc() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"; }
gone() { ! kill -0 "$1" 2>/dev/null || [ "$(t_process_state "$1")" = Z ]; }
log() { cat "$T_RUN/egretd.log"; }
# stop: an orderly end with time for what is in flight; pins stay.
stop() { kill -TERM "$E_PID"; await 20 gone "$E_PID"; }
