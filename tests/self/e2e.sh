#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tests/e2e/run.sh without a cluster: its whole way with a kubectl of the project that plays one, each trouble that it has to see, what it
# leaves, and what it would give to an API server, by the types of Kubernetes' API. Nothing of this shows that a cluster does the same.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/check.sh
. tests/lib/kubectl.sh
BUILD=${EGRET_BUILD:-build}
PACKAGES=tests/manifests/node_modules
[ -d $PACKAGES/kubernetes-models ] || skip_all "the types of Kubernetes' API are not installed (tools/deps)"
[ -x "$BUILD/egretctl" ] || skip_all "$BUILD/egretctl is not built: run make"
node=$(tools/deps --node) || skip_all "no Node.js that is new enough (tools/deps)"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
REAL_KUBECTL=$(kubectl_unpack "$scratch")
export REAL_KUBECTL
"$REAL_KUBECTL" kustomize manifests/base > "$scratch/base.yaml"
"$node" --input-type=module -e '
	const { parseAllDocuments } = await import(process.argv[1]);
	const fs = await import("node:fs");
	for (const d of parseAllDocuments(fs.readFileSync(process.argv[2], "utf8"))) if (d.get("kind") === "DaemonSet") console.log(JSON.stringify(d.toJS()));
' "$PWD/$PACKAGES/yaml/dist/index.js" "$scratch/base.yaml" > "$scratch/daemonset.json"

# e2e FAULT: a run; OUT, CODE, and what the cluster has afterwards in STATE.
e2e() {
	STATE=$scratch/state
	rm -rf "$STATE"; mkdir "$STATE"
	cp "$scratch/daemonset.json" "$STATE/"
	OUT=$(STATE=$STATE FAULT=$1 KUBECTL=$PWD/tests/e2e/fake-kubectl KUBECONFIG=/dev/null EGRET_BUILD=$BUILD EGRET_E2E_IMAGE=registry.example:5000/egret:1 \
		EGRET_E2E_MOCK_IMAGE=python:3 EGRET_E2E_CHURN=11 EGRET_E2E_LIMIT=1 EGRET_E2E_POLL=0.1 EGRET_E2E_AFTER=0 timeout 120 tests/e2e/run.sh 2>&1)
	CODE=$?
}
world() { jq -c "$1" "$STATE/world"; }
applied() { jq -c "select(.kind == \"$1\")" "$STATE/applied.jsonl"; }

echo "# nothing to run against is said, and is no success"
OUT=$(env -u KUBECONFIG tests/e2e/run.sh 2>&1); is "no KUBECONFIG" "$? $(tail -1 <<< "$OUT")" "0 0 passed, 0 failed, 1 skipped"
has "and why" "$OUT" "NOTHING WAS TESTED: KUBECONFIG is not given"
OUT=$(KUBECONFIG=/dev/null KUBECTL=no-such-kubectl tests/e2e/run.sh 2>&1); has "no kubectl" "$?$OUT" "0SKIP - NOTHING WAS TESTED: there is no no-such-kubectl"
OUT=$(KUBECONFIG=/dev/null KUBECTL=true tests/e2e/run.sh 2>&1); has "no image" "$?$OUT" "2tests/e2e/run.sh: EGRET_E2E_IMAGE is not given"

OUT=$(KUBECONFIG=/dev/null KUBECTL=true EGRET_E2E_IMAGE=a/b@sha256:12 tests/e2e/run.sh 2>&1); has "a digest is not taken for a tag" "$?$OUT" "2tests/e2e/run.sh: EGRET_E2E_IMAGE=a/b@sha256:12: expected NAME:TAG, no digest"

echo "# all goes well"
e2e ""
is "it succeeds" "$CODE $(grep -c '^FAIL' <<< "$OUT")" "0 0"
[ "$CODE" = 0 ] || echo "$OUT"
at_least "its checks" "$(grep -c '^ok' <<< "$OUT")" 20
is "nothing is left in the cluster" "$(world '[.namespaces, .agents]')" "[[],0]"
is "each node was cleaned" "$(applied Pod | jq -r 'select(.metadata.labels.e2e == "uninstall") | .spec.nodeName' | tr '\n' ' ')" "n1 n2 "
is "by the DaemonSet's own container" "$(applied Pod | jq -c 'select(.metadata.name == "uninstall-n1") | .spec.containers[0] | [.args, .securityContext.capabilities.add, [.volumeMounts[].name]]')" \
	'[["--uninstall"],["BPF","NET_ADMIN","SETUID","SETGID","KILL","SYS_ADMIN"],["run","node-run","bpffs","netns","cni"]]'
is "eleven pods of churn" "$(applied Pod | jq -c 'select(.metadata.labels.e2e == "churn")' | grep -c .)" 11

echo "# what it gives is what an API server takes"
sed 's/^/---\n/' "$STATE/applied.jsonl" > "$scratch/applied.yaml"
check "its objects, by the types of the API" "$node" tests/manifests/check.mjs "$scratch/applied.yaml"
check "its overlay" "$node" tests/manifests/check.mjs "$STATE/rendered.yaml"
is "all in its namespace" "$(grep -E '^ *namespace: ' "$STATE/rendered.yaml" | sort -u | tr -d ' ')" "namespace:egret-e2e"
has "the namespace itself" "$(cat "$STATE/rendered.yaml")" "name: egret-e2e"
has "the image, with the registry's port" "$(cat "$STATE/rendered.yaml")" "image: registry.example:5000/egret:1"
mkdir -p "$scratch/policy" "$scratch/credentials"
echo key > "$scratch/credentials/mock"; chmod 600 "$scratch/credentials/mock"
applied ConfigMap | tail -1 | jq -r '.data["governed-namespaces.json"]' > "$scratch/policy/governed-namespaces.json"
check "its policy is one" "$BUILD/egretctl" check "$scratch/policy" --credentials-dir "$scratch/credentials"
has "and is the overlay's" "$(cat "$STATE/rendered.yaml")" "http://mock.egret-e2e-mock.svc.cluster.local/v1"

echo "# each trouble is seen, and what was made is taken away all the same"
while read -r fault line; do
	e2e "$fault"
	is "$fault: a failure" "$CODE" 1
	has "$fault: named" "$OUT" "FAIL - $line"
	is "$fault: nothing is left" "$(world '[.namespaces, .agents]')" "[[],0]"
done <<-'EOT'
	free not one was free
	churn all were answered with the real key
	failed no request failed
	same every agent is a new one
	stale what it no longer allows is refused
	left n2: no pin, namespace, link, rule or filter is left
	notready an agent is ready on every node
	roles nothing of it in the cluster
EOT
e2e notready
is "notready: the nodes are cleaned, too" "$(applied Pod | jq -c 'select(.metadata.labels.e2e == "uninstall")' | grep -c .)" 2
e2e stuck
has "an uninstall that fails" "$CODE $OUT" "FAIL - egretd --uninstall on every node"
e2e away
has "no API server" "$CODE $OUT" "1 FAIL - the API server answers"

echo "# what is there already is left alone"
for fault in installed exists; do
	e2e $fault
	is "$fault: refused" "$CODE" 2
	has "$fault: said" "$OUT" "nothing was done"
	is "$fault: and so it is" "$(grep -c -v '^get ' "$STATE/calls")" 0
done

echo "# its programs, without a cluster"
python3 - "$scratch" <<'EOP'
import os, subprocess, sys, time
port = "18765"
mock = subprocess.Popen([sys.executable, "tests/e2e/mock.py", port], env=dict(os.environ, KEY="the-real-one"))
try:
    client = lambda *what: subprocess.run([sys.executable, "tests/e2e/client.py", *what], capture_output=True, text=True, timeout=70)
    for _ in range(100):
        once = client("once", "127.0.0.1:" + port).stdout.strip()
        if once.startswith("200"):
            break
        time.sleep(0.1)
    first = client("first", "127.0.0.1:" + port)
    counts = subprocess.run([sys.executable, "tests/e2e/mock.py", "counts", port], capture_output=True, text=True, timeout=20).stdout.strip()
    open(sys.argv[1] + "/said", "w").write(f"{once}\n{first.returncode}\n{counts}\n")
finally:
    mock.kill()
    mock.wait()
EOP
is "a request past Egret is told from one by it" "$(cat "$scratch/said")" "200 - placeholder"$'\n'3$'\n''{"real": 0, "placeholder": 2, "other": 0}'
OUT=$(unshare -n sh -c 'ip link add egret0 type veth peer name egret1; ip rule add pref 100 fwmark 1 lookup 100; python3 tests/e2e/traces.py' 2>&1 | grep -v ^/)
is "links and rules of a node are seen" "$OUT" "link egret1"$'\n'"link egret0"$'\n'"rule v4 100"
checks_done
