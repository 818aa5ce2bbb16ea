# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The API server of tests/mock/kube-api.mjs in the node's namespace. Source it after topology.sh, and egret.sh.
#
#   api_up                              starts it; K_API is its address with the port, $K_DIR/ca.crt and $K_DIR/token what a client needs
#   api COMMAND JSON                    its control interface (tests/mock/README.md)
#   api_namespace NAME LABELS
#   api_pod NAME UID NAMESPACE LABELS [SPEC]
K_API='' K_CONTROL='' K_DIR=''

# Its certificate is for its address, as a cluster's is.
t_api_certificate() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=kube-ca" -keyout "$K_DIR/ca.key" -out "$K_DIR/ca.crt" &&
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=kube-apiserver" -keyout "$K_DIR/server.key" -out "$K_DIR/server.csr" &&
	openssl x509 -req -in "$K_DIR/server.csr" -CA "$K_DIR/ca.crt" -CAkey "$K_DIR/ca.key" -CAcreateserial -days 2 -out "$K_DIR/server.crt" \
		-extfile <(echo "subjectAltName=IP:127.0.0.1")
}
api_up() {
	K_DIR=$T_RUN/kube
	mkdir -p "$K_DIR"
	echo "$T-token" > "$K_DIR/token"
	t_api_certificate 2> "$K_DIR/certificate.log" || { cat "$K_DIR/certificate.log" >&2; t_die "no certificate for the API server"; }
	cat "$K_DIR/server.key" "$K_DIR/server.crt" "$K_DIR/ca.crt" > "$K_DIR/server.pem"
	spawn kube-api node "$T_NODEJS" "$T_ROOT/tests/mock/kube-api.mjs" --cert "$K_DIR/server.pem" --token-file "$K_DIR/token" --ready "$K_DIR/ready" --node node-1
	await 20 test -s "$K_DIR/ready" || { cat "$T_RUN/kube-api.log" >&2; t_die "the API server did not start"; }
	K_API=127.0.0.1:$(jq .port "$K_DIR/ready") K_CONTROL=127.0.0.1:$(jq .control "$K_DIR/ready")
}
api() { node curl -sS --fail-with-body --max-time 10 -X POST -d "$2" "http://$K_CONTROL/_test/$1" > "$K_DIR/answer"; }
api_namespace() { api namespaces "$(jq -n --arg name "$1" --argjson labels "$2" '{metadata: {$name, $labels}}')"; }
api_pod() {
	api pods "$(jq -n --arg name "$1" --arg uid "$2" --arg namespace "$3" --argjson labels "$4" --argjson spec "${5:-{\}}" \
		'{metadata: {$name, $uid, $namespace, $labels}, $spec}')"
}
