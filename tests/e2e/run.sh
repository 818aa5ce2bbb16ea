#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Egret in a real cluster, the one that KUBECONFIG names: install, capture, churn, a policy change, a rolling update under load, uninstall.
# It makes namespaces of its own, and cluster roles named `egret`; where an Egret is installed already it refuses. README.md has the options.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/check.sh
. tests/e2e/cluster.sh
KUBECTL=${KUBECTL:-kubectl}
[ -n "${KUBECONFIG:-}" ] || skip_all "NOTHING WAS TESTED: KUBECONFIG is not given, so there is no cluster to run against"
command -v "$KUBECTL" > /dev/null || skip_all "NOTHING WAS TESTED: there is no $KUBECTL"
usage() { echo "tests/e2e/run.sh: $1" >&2; exit 2; }
IMAGE=${EGRET_E2E_IMAGE:-} MOCK_IMAGE=${EGRET_E2E_MOCK_IMAGE:-} OVERLAY=${EGRET_E2E_OVERLAY:-base}
EGRETCTL=${EGRET_BUILD:-build}/egretctl
[ -n "$IMAGE" ] || usage "EGRET_E2E_IMAGE is not given: the agent's image (make image), as the cluster's nodes can have it"
case ${IMAGE##*/} in *@*) usage "EGRET_E2E_IMAGE=$IMAGE: expected NAME:TAG, no digest" ;; *:*) ;; *) usage "EGRET_E2E_IMAGE=$IMAGE: expected NAME:TAG" ;; esac
[ -n "$MOCK_IMAGE" ] || usage "EGRET_E2E_MOCK_IMAGE is not given: any image with python3 that the nodes can have"
[ -d "manifests/$OVERLAY" ] || usage "EGRET_E2E_OVERLAY=$OVERLAY: there is no manifests/$OVERLAY"
[ -x "$EGRETCTL" ] || usage "$EGRETCTL is not built: run make"
command -v jq > /dev/null || usage "there is no jq"
SYSTEM=${EGRET_E2E_NAMESPACE:-egret-e2e} MOCK=$SYSTEM-mock PODS=$SYSTEM-pods
HOST=mock.$MOCK.svc.${EGRET_E2E_CLUSTER_DOMAIN:-cluster.local}
CHURN=${EGRET_E2E_CHURN:-40} ROUND=10
SCRATCH=$(mktemp -d) installed=

# Every trace of this run, also when it was cut: without the agent, governed pods would fail closed until their node is cleaned.
uninstall() {
	local node
	[ -n "$installed" ] || return 0
	[ -s "$SCRATCH/daemonset.json" ] || k -n "$SYSTEM" get daemonset egret -o json > "$SCRATCH/daemonset.json" || return
	K_LIMIT=120 k -n "$SYSTEM" delete daemonset egret --ignore-not-found --timeout=100s || return
	await 120 none agents_left || { echo "agents are left: $OUT"; return 1; }
	for node in $NODES; do uninstall_pod "$node" | k apply -f - || return; done
	for node in $NODES; do
		await 120 Succeeded k -n "$SYSTEM" get pod "uninstall-$node" -o jsonpath='{.status.phase}' ||
			{ echo "uninstall-$node: $OUT"; k -n "$SYSTEM" logs "uninstall-$node"; return 1; }
	done
	installed=
}
remove() {
	K_LIMIT=200 k delete -k "$SCRATCH/agent" --ignore-not-found --timeout=180s &&
		K_LIMIT=200 k delete namespace "$MOCK" "$PODS" --ignore-not-found --timeout=180s
}
leave() {
	trap - EXIT
	if [ -z "${NODES:-}" ]; then :
	elif [ -n "${EGRET_E2E_KEEP:-}" ]; then echo "# kept, as EGRET_E2E_KEEP asks: namespaces $SYSTEM, $MOCK, $PODS"
	else { uninstall; remove; } > "$SCRATCH/left" 2>&1 || { echo "# not all could be taken away:"; cat "$SCRATCH/left"; }
	fi
	rm -rf "$SCRATCH"
}
trap leave EXIT
trap 'exit 130' INT TERM
stop() { fail "$1" "$OUT"; echo "# the rest needs that"; checks_done; }

OUT=$(k get --raw /readyz 2>&1) || stop "the API server answers"
OUT=$(k get daemonsets --all-namespaces -l app.kubernetes.io/name=egret -o name 2>&1) || stop "the DaemonSets can be listed"
[ -z "$OUT" ] || usage "an Egret is installed in this cluster ($OUT); a second one would take its nodes over: nothing was done"
OUT=$(k get namespace "$SYSTEM" "$MOCK" "$PODS" --ignore-not-found -o name 2>&1)
[ -z "$OUT" ] || usage "$OUT exists already: take it away, or name another by EGRET_E2E_NAMESPACE; nothing was done"
NODES=$(k get nodes -l kubernetes.io/os=linux -o jsonpath='{range .items[*]}{.metadata.name}{"\n"}{end}') || NODES=
OUT="no node with Linux was listed"
[ -n "$NODES" ] || stop "nodes"
echo "# against $(echo "$NODES" | wc -l) nodes, $IMAGE"

echo "# install"
od -An -N16 -tx1 /dev/urandom | tr -d ' \n' > "$SCRATCH/key"
write_overlay
OUT=$("$EGRETCTL" ca create --dir "$SCRATCH/ca" --names "$HOST" 2>&1) || stop "a CA"
put_system() {
	namespace "$SYSTEM" '"pod-security.kubernetes.io/enforce":"privileged"' && programs "$SYSTEM" &&
		k -n "$SYSTEM" create secret generic egret-ca --from-file="$SCRATCH/ca/intermediate.crt" --from-file="$SCRATCH/ca/intermediate.key" &&
		k -n "$SYSTEM" create secret generic egret-credentials --from-file=mock="$SCRATCH/key"
}
OUT=$(put_system 2>&1) || stop "namespace and Secrets"
check "a mock provider" put_mock
OUT=$(K_LIMIT=130 k -n "$MOCK" wait --for=condition=Ready pod/mock --timeout=120s 2>&1) || stop "the mock provider is ready"
installed=yes
OUT=$(k apply -k "$SCRATCH/agent" 2>&1) || stop "kubectl apply -k"
pass "kubectl apply -k"
OUT=$(ready 2>&1) || stop "an agent is ready on every node"
pass "an agent is ready on every node"
for node in $NODES; do # what is looked for at the end is there now
	OUT=$(traces "$node" before); has "$node: pins are seen" "$OUT" "/sys/fs/bpf/egret"
done

echo "# capture"
namespace "$PODS" '"egret-e2e":"governed"' > /dev/null && programs "$PODS" > /dev/null
pod client "$PODS" client . /e2e/client.py load "$HOST" | k apply -f - > /dev/null
OUT=$(K_LIMIT=130 k -n "$PODS" wait --for=condition=Ready pod/client --timeout=120s 2>&1) || stop "a governed pod"
await 60 "200 - real" client once "$HOST"; is "the provider's name: a placeholder goes in, the real key comes out" "$OUT" "200 - real"
await 60 "200 - real" client once 169.254.77.1; is "the gateway's address, likewise" "$OUT" "200 - real"

echo "# churn: $CHURN pods, each with a request from its first moment on"
answered=0 n=0
while [ $n -lt "$CHURN" ]; do
	end=$((n + ROUND < CHURN ? n + ROUND : CHURN))
	for ((i = n; i < end; i++)); do pod "churn-$i" "$PODS" churn . /e2e/client.py first "$HOST"; done | k apply -f - > /dev/null
	done_pods() { k -n "$PODS" get pods -l e2e=churn -o jsonpath='{range .items[*]}{.status.phase}{"\n"}{end}' | grep -c -E 'Succeeded|Failed'; }
	await 180 $((end - n)) done_pods || echo "# of $((end - n)) pods only $OUT ended in 180 s"
	OUT=$(k -n "$PODS" get pods -l e2e=churn -o jsonpath='{range .items[*]}{.status.phase} {.metadata.name}{"\n"}{end}')
	answered=$((answered + $(grep -c '^Succeeded' <<< "$OUT")))
	for name in $(awk '$1 != "Succeeded" { print $2 }' <<< "$OUT"); do echo "# $name: $(k -n "$PODS" logs "$name" 2>&1 | tail -1)"; done
	K_LIMIT=130 k -n "$PODS" delete pods -l e2e=churn --timeout=120s > /dev/null
	n=$end
done
is "all were answered with the real key" "$answered" "$CHURN"
OUT=$(counts)
is "not one was free: no placeholder at the provider" "$(jq -c '[.placeholder, .other]' <<< "$OUT")" "[0,0]"
at_least "and the provider saw them" "$(jq .real <<< "$OUT")" "$CHURN"

echo "# a rolling update under load"
result() { client result | jq -r "$1"; }
before=$(agents)
at_least "the load runs" "$(result .ok)" 10
is "without a failed request so far" "$(result '[.failed, .first] | map(tostring) | join(" ")')" "0 "
k -n "$SYSTEM" rollout restart daemonset/egret > /dev/null
check "the update is through" ready
at_ok=$(result .ok)
is "every agent is a new one" "$(comm -12 <(echo "$before") <(agents | grep .) | grep -c .)" 0
sleep "${EGRET_E2E_AFTER:-35}" # the old agents' --drain
client stop
ended() { result .ended; }
await 60 true ended; is "the load ended" "$OUT" true
is "no request failed" "$(result '[.failed, .first] | map(tostring) | join(" ")')" "0 "
at_least "and it went on after the update" "$(result .ok)" $((at_ok + 1))

echo "# a policy change by the ConfigMap (the kubelet takes up to two minutes)"
OUT=$(set_policy 'another-*' 2>&1) || stop "the ConfigMap"
await 180 "403 " client once "$HOST"; has "what it no longer allows is refused" "$OUT" "403 "
hasnt "by Egret, not by the provider" "$OUT" " real"
OUT=$(set_policy 'e2e-*' 2>&1) || stop "the ConfigMap"
await 180 "200 - real" client once "$HOST"; is "and allowed again" "$OUT" "200 - real"
is "no placeholder at the provider to the end" "$(counts | jq -c '[.placeholder, .other]')" "[0,0]"

echo "# uninstall"
if uninstall > "$SCRATCH/out" 2>&1; then pass "egretd --uninstall on every node"; else fail "egretd --uninstall on every node" "$(cat "$SCRATCH/out")"; fi
for node in $NODES; do OUT=$(traces "$node" after); is "$node: no pin, namespace, link, rule or filter is left" "$? $OUT" "0 "; done
check "kubectl delete" remove
is "nothing of it in the cluster" "$(k get clusterroles,clusterrolebindings,namespaces -l app.kubernetes.io/name=egret -o name)" ""
checks_done
