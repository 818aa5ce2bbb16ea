# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the suite puts into a cluster and asks of it. Sourced by run.sh, which sets SYSTEM, MOCK, PODS (namespaces), HOST (the mock's
# name), IMAGE, MOCK_IMAGE, SCRATCH.

k() { timeout "${K_LIMIT:-60}" "$KUBECTL" "$@"; }

# await SECONDS WANTED CMD...: until CMD prints a text that begins with WANTED; OUT is what it printed last.
await() {
	local until=$((SECONDS + ${EGRET_E2E_LIMIT:-$1})) wanted=$2; shift 2
	while :; do
		OUT=$("$@" 2>&1)
		case $OUT in "$wanted"*) return 0 ;; esac
		[ $SECONDS -lt "$until" ] || return 1
		sleep "${EGRET_E2E_POLL:-2}"
	done
}

# policy MODELS: the set, with a route for these models.
policy() {
	cat <<-EOT
	{
		"version": "egret/v1",
		"providers": { "mock": { "kind": "openai", "endpoint": "http://$HOST/v1", "region": "cluster", "credential": "mock" } },
		"credentials": { "mock": { "type": "bearer", "file": "mock" } },
		"policies": [{
			"name": "e2e",
			"pods": { "namespaceLabels": { "egret-e2e": "governed" } },
			"routes": [{ "name": "chat", "match": { "hosts": ["$HOST"], "models": ["$1"] }, "targets": [{ "provider": "mock" }] }],
			"otherwise": "deny"
		}]
	}
	EOT
}

# The overlay of manifests/ that is applied, in SCRATCH/agent.
write_overlay() {
	cp -r manifests "$SCRATCH/manifests"
	mkdir -p "$SCRATCH/agent"
	policy 'e2e-*' > "$SCRATCH/agent/governed-namespaces.json"
	cat > "$SCRATCH/agent/kustomization.yaml" <<-EOT
	apiVersion: kustomize.config.k8s.io/v1beta1
	kind: Kustomization
	namespace: $SYSTEM
	resources: [../manifests/${OVERLAY:-base}]
	patches: # kustomize does not follow a subject whose namespace is written out
	  - target: { kind: ClusterRoleBinding, name: egret }
	    patch: '[{ "op": "replace", "path": "/subjects/0/namespace", "value": "$SYSTEM" }]'
	images: [{ name: egret, newName: "${IMAGE%:*}", newTag: "${IMAGE##*:}" }]
	configMapGenerator:
	  - { name: egret-policies, behavior: replace, files: [governed-namespaces.json] }
	generatorOptions: { disableNameSuffixHash: true }
	EOT
}

# set_policy MODELS: by the ConfigMap, as a person would.
set_policy() {
	policy "$1" > "$SCRATCH/agent/governed-namespaces.json"
	k -n "$SYSTEM" create configmap egret-policies --from-file="$SCRATCH/agent/governed-namespaces.json" --dry-run=client -o json | k apply -f -
}

namespace() { # NAME [LABEL]
	printf '{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"%s","labels":{"egret-e2e-run":"1"%s}}}' "$1" "${2:+,$2}" | k apply -f -
}

# The programs of the mock's image, which any image with python3 can run.
programs() { k -n "$1" create configmap e2e --from-file=tests/e2e/mock.py --from-file=tests/e2e/client.py --from-file=tests/e2e/traces.py; }

# pod NAME NAMESPACE ROLE JQ ARG...: one that runs a program of tests/e2e; JQ changes it.
pod() {
	local name=$1 namespace=$2 role=$3 change=$4; shift 4
	jq -nc --arg n "$name" --arg ns "$namespace" --arg role "$role" --arg image "$MOCK_IMAGE" '{apiVersion: "v1", kind: "Pod",
		metadata: {name: $n, namespace: $ns, labels: {e2e: $role}},
		spec: {restartPolicy: "Never", terminationGracePeriodSeconds: 1, automountServiceAccountToken: false,
			containers: [{name: "e2e", image: $image, imagePullPolicy: "IfNotPresent", command: (["python3", "-u"] + $ARGS.positional),
				volumeMounts: [{name: "e2e", mountPath: "/e2e", readOnly: true}]}],
			volumes: [{name: "e2e", configMap: {name: "e2e"}}]}} | '"$change" --args -- "$@"
}

put_mock() {
	namespace "$MOCK" && programs "$MOCK" || return
	k -n "$MOCK" create secret generic key --from-file=key="$SCRATCH/key" || return
	# Headless: the name is the pod's address, whatever does the cluster's services.
	jq -nc --arg ns "$MOCK" '{apiVersion: "v1", kind: "Service", metadata: {name: "mock", namespace: $ns},
		spec: {clusterIP: "None", selector: {e2e: "mock"}, ports: [{port: 80}]}}' | k apply -f - || return
	pod mock "$MOCK" mock '.spec.restartPolicy = "Always"
		| .spec.containers[0].readinessProbe = {tcpSocket: {port: 80}, periodSeconds: 1}
		| .spec.containers[0].env = [{name: "KEY", valueFrom: {secretKeyRef: {name: "key", key: "key"}}}]' /e2e/mock.py 80 | k apply -f -
}
counts() { k -n "$MOCK" exec mock -- python3 /e2e/mock.py counts 80; }

client() { k -n "$PODS" exec client -- python3 /e2e/client.py "$@"; }
agents() { k -n "$SYSTEM" get pods -l app.kubernetes.io/name=egret -o jsonpath='{range .items[*]}{.metadata.uid}{"\n"}{end}' | sort; }
agents_left() { local all; all=$(agents) && echo "${all:-none}"; }
ready() { K_LIMIT=320 k -n "$SYSTEM" rollout status daemonset/egret --timeout=300s; }

# uninstall_pod NODE: the DaemonSet's own container with --uninstall, of SCRATCH/daemonset.json.
uninstall_pod() {
	jq -c --arg node "$1" --arg ns "$SYSTEM" '.spec.template.spec as $s | {apiVersion: "v1", kind: "Pod",
		metadata: {name: "uninstall-\($node)", namespace: $ns, labels: {e2e: "uninstall"}},
		spec: {nodeName: $node, hostNetwork: true, restartPolicy: "Never", automountServiceAccountToken: false, tolerations: $s.tolerations,
			volumes: [$s.volumes[] | select(.hostPath or .emptyDir)],
			containers: [($s.volumes | map(select(.hostPath or .emptyDir).name)) as $kept | $s.containers[0]
				| del(.livenessProbe, .readinessProbe, .startupProbe, .env) | .args = ["--uninstall"]
				| .volumeMounts |= map(select(.name as $n | $kept | index($n)))]}}' "$SCRATCH/daemonset.json"
}

# traces NODE WHEN: what is of Egret there.
traces() {
	local name=traces-$2-$1
	pod "$name" "$SYSTEM" traces '.' /e2e/traces.py | jq -c --arg node "$1" '.spec += {nodeName: $node, hostNetwork: true, tolerations: [{operator: "Exists"}]}
		| .spec.volumes += [{name: "bpf", hostPath: {path: "/sys/fs/bpf"}}, {name: "netns", hostPath: {path: "/run/netns", type: "DirectoryOrCreate"}}]
		| .spec.containers[0].securityContext = {runAsUser: 0}
		| .spec.containers[0].volumeMounts += [{name: "bpf", mountPath: "/sys/fs/bpf", readOnly: true}, {name: "netns", mountPath: "/run/netns", readOnly: true}]' \
		| k apply -f - > /dev/null || { echo "no pod on $1"; return 1; }
	await 120 Succeeded k -n "$SYSTEM" get pod "$name" -o jsonpath='{.status.phase}' || { echo "$name: $OUT"; return 1; }
	k -n "$SYSTEM" logs "$name"
}
