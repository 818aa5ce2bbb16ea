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
# podA asks all the time, by two, each connection a new one; from asking_begins to asking_ends all have to be answered.
asking_begins() {
	local n
	askers=()
	for n in 1 2; do
		until [ -e "$T_RUN/enough" ]; do ask podA --max-time 10; echo; done > "$T_RUN/asked.$n" &
		askers+=($!)
	done
}
asking_ends() {
	touch "$T_RUN/enough"
	wait "${askers[@]}"
	at_least "there were connections all the time" "$(cat "$T_RUN"/asked.? | wc -l)" 8
	is "and none of them went past the agent, or failed" "$(sort "$T_RUN"/asked.? | uniq)" 200
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
kill_supervisor() { disown "$E_PID" 2>/dev/null; kill -KILL "$E_PID"; t_await_exit "$E_PID"; }

# A flow that is open while something happens: two requests on one connection, the second when told. FAMILY=4 or 6.
declare -A TWO_OF=()
two() { # NAME: starts it; its first answer is awaited
	[ -e "$T_RUN/two.py" ] || two_program > "$T_RUN/two.py"
	rm -f "$T_RUN/$1.out" "$T_RUN/$1.go"
	pod podA env FAMILY="${FAMILY:-}" python3 "$T_RUN/two.py" "$T_RUN/$1.out" "$T_RUN/$1.go" "$T_RUN/pod-roots.crt" 2> "$T_RUN/$1.err" &
	TWO_OF[$1]=$!
	await 15 test -s "$T_RUN/$1.out"
}
two_end() { touch "$T_RUN/$1.go"; await 20 gone "${TWO_OF[$1]}"; cat "$T_RUN/$1.err" >&2; tr '\n' ' ' < "$T_RUN/$1.out"; }
two_program() {
	cat <<'EOP'
import os, socket, ssl, sys, time
out, go, roots = sys.argv[1:4]
context = ssl.create_default_context(cafile=roots)
context.set_alpn_protocols(["http/1.1"])
body = b'{"model":"gpt-4o","messages":[{"role":"user","content":"hello"}]}'
request = (b"POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nAuthorization: Bearer placeholder\r\n"
           b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)) + body
def once(s):
    s.sendall(request)
    head = b""
    while b"\r\n\r\n" not in head:
        got = s.recv(4096)
        if not got:
            return "eof"
        head += got
    length = [int(l.split(b":")[1]) for l in head.split(b"\r\n") if l.lower().startswith(b"content-length:")][0]
    rest = head.split(b"\r\n\r\n", 1)[1]
    while len(rest) < length:
        rest += s.recv(4096)
    return head.split()[1].decode()
def say(x):
    with open(out, "a") as f:
        f.write(x + "\n")
family = {"4": socket.AF_INET, "6": socket.AF_INET6}.get(os.environ.get("FAMILY"), 0)
at = socket.getaddrinfo("api.openai.com", 443, family, socket.SOCK_STREAM)[0][4][0]
raw = socket.create_connection((at, 443), timeout=10)
s = context.wrap_socket(raw, server_hostname="api.openai.com")
say(once(s))
while not os.path.exists(go):
    time.sleep(0.02)
try:
    say(once(s))
except OSError as e:
    say(type(e).__name__)
EOP
}
