#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Policy sets as large as docs/policy.md allows: taken at a start and again at each reload, with no request lost to the time that takes;
# and more pods than a gateway can be handed.
set -u
cd "$(dirname "$0")" || exit 1
. ./agent_lib.sh
agent_prepare eglarge

# set_of COUNT MARK: that many policies, of which one is podA's; MARK makes it another text.
set_of() {
	python3 - "$1" "$2" "$T_RUN/next" <<-'EOP'
	import json, os, sys
	count, mark, to = int(sys.argv[1]), sys.argv[2], sys.argv[3]
	def policy(name, namespace, host):
	    return {"name": name, "pods": {"namespaces": [namespace]}, "routes": [
	        {"name": "chat", "match": {"hosts": [host], "models": ["gpt-4o*", "mock-*"]}, "targets": [{"provider": "openai"}]}]}
	all = [policy("shop-" + mark, "shop", "api.openai.com")]
	all += [policy("p%d" % i, "ns%d" % i, "h%d.example.com" % (i % 4000)) for i in range(count - 1)]
	all[-1]["mode"] = "shadow"
	os.makedirs(to, exist_ok=True)
	half = count // 2
	for name, part in (("10-all.json", all[:half]), ("20-more.json", all[half:])):
	    whole = {"version": "egret/v1", "policies": part}
	    if name.startswith("10"):
	        whole["providers"] = {"openai": {"kind": "openai", "endpoint": "https://api.openai.com/v1", "credential": "openai"}}
	        whole["credentials"] = {"openai": {"type": "bearer", "file": "openai/key"}}
	    with open(os.path.join(to, name), "w") as f:
	        json.dump(whole, f)
	EOP
}
# As a volume is swapped: both files at once.
place() {
	mv "$T_RUN/next" "$E_DIR/policy/..$1"
	ln -s "..$1" "$E_DIR/policy/..data_tmp"
	mv -T "$E_DIR/policy/..data_tmp" "$E_DIR/policy/..data"
}
decides() { ask podA > /dev/null && [ "$(jq -rs 'last | .policy' "$E_DIR/access.jsonl")" = "$1" ]; }
loaded() { [ "$(grep -c 'read from' "$T_RUN/egretd.log")" -gt "$1" ]; }

rm "$E_DIR"/policy/*.json
set_of 20000 one
check "egretctl check finds 20,000 policies valid" "$EGRETCTL" check "$T_RUN/next"
place one
egret_up
is "egretd takes them" "$(ask podA) $(egret_last .policy)" "200 shop-one"
is "with as few verdicts in the kernel as one of each kind has" "$(bpftool -j map dump pinned "$E_PIN/verdicts" | jq length)" 10
for n in two three; do
	set_of 20000 $n
	place $n
	check "as many others: $n" await 30 decides "shop-$n"
	is "they are in force, and nothing was refused" "$(metric egret_policy_valid) $(metric egret_policy_rejected_total)" "1 0"
	is "the kernel has one set's verdicts" "$(bpftool -j map dump pinned "$E_PIN/verdicts" | jq length)" 10
done

# A gateway that compiles for long (here it gets no CPU while it does) is not one that hangs.
GATEWAY=$(pid_of gateway) BEFORE=$(grep -c 'read from' "$T_RUN/egretd.log")
set_of 20000 four
place four
until loaded "$BEFORE"; do :; done
kill -STOP "$GATEWAY"
sleep 1.2
kill -CONT "$GATEWAY"
check "a gateway that takes its time for a set gets it" await 30 decides shop-four
is "and is not taken for one that hangs" "$(pid_of gateway) $(metric egret_gateway_hangs_total)" "$GATEWAY 0"
# One that hangs already is, whatever it is offered meanwhile.
kill -STOP "$GATEWAY"
sleep 0.6
set_of 20000 five
place five
check "one that hung before it was offered anything is replaced" await 5 gone "$GATEWAY"
check "and its successor takes that" await 30 decides shop-five
# As many hosts as may be, each as long as may be, and at each reload others: what is resolved changes whole.
hosts_of() { # MARK
	python3 - "$1" "$T_RUN/next" <<-'EOP'
	import json, os, sys
	mark, to = sys.argv[1:]
	host = ".".join(["l" * 60] * 3) + ".h%s-%d.example"
	routes = [{"name": "chat", "match": {"hosts": ["api.openai.com"]}, "targets": [{"provider": "openai"}]}]
	routes += [{"name": "r%d" % i, "match": {"hosts": [host % (mark, k) for k in range(i, i + 250)]}, "targets": [{"provider": "openai"}]}
	           for i in range(0, 4000, 250)]
	os.makedirs(to, exist_ok=True)
	with open(os.path.join(to, "10-all.json"), "w") as f:
	    json.dump({"version": "egret/v1", "policies": [{"name": "shop-" + mark, "pods": {"namespaces": ["shop"]}, "routes": routes}],
	               "providers": {"openai": {"kind": "openai", "endpoint": "https://api.openai.com/v1", "credential": "openai"}},
	               "credentials": {"openai": {"type": "bearer", "file": "openai/key"}}}, f)
	EOP
}
GATEWAY=$(pid_of gateway) HANGS=$(metric egret_gateway_hangs_total)
for n in a b c; do
	hosts_of $n
	place "hosts-$n"
	check "4,000 other hosts: $n" await 30 decides "shop-$n"
	sleep 2
done
is "by the same gateway, which has not been taken for one that hangs" "$(pid_of gateway) $(metric egret_gateway_hangs_total)" "$GATEWAY $HANGS"

# More pods than can be handed to a gateway: those whose files are damaged later stay as they were, and count for nothing in the
# directory. Each round has labels of 8 MiB.
pods_of() {
	python3 - "$E_DIR/pods" "$1" <<-'EOP'
	import json, os, sys
	for i in range(130):
	    to = "%s/big-%s-%d.json" % (sys.argv[1], sys.argv[2], i)
	    with open(to + ".tmp", "w") as f:
	        json.dump({"namespace": "big", "name": "b", "uid": "%s-%d" % (sys.argv[2], i), "interface": "none%s%d" % (sys.argv[2], i),
	                   "labels": {"l%d" % k: "v" * 250 for k in range(127)} | {"k" * 29000: "v"}}, f)
	    os.rename(to + ".tmp", to)
	EOP
}
known() { [ "$(ctl status --json | jq .pods.known)" -ge "$1" ]; }
too_large() { grep -q "generation .* can't be made: it is too large" "$T_RUN/egretd.log"; }
GATEWAY=$(pid_of gateway)
for round in 1 2 3 4 5; do
	for file in "$E_DIR"/pods/big-*.json; do [ ! -e "$file" ] || echo '{' > "$file"; done
	pods_of $round
	check "round $round of large pods is known" await 30 known $((round * 130 + 1))
done
check "what can't be handed to a gateway is said" await 10 too_large
is "and the one there is goes on" "$(ask podA) $(pid_of gateway)" "200 $GATEWAY"
rm "$E_DIR"/pods/big-*
set_of 20000 six
place six
check "without them all is well" await 30 decides shop-six
hasnt "no report of a sanitizer" "$(log)" "Sanitizer"
checks_done
