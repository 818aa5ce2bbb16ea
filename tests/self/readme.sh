#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# README's "Run it", every command as it is written there, on a node whose /etc, /run and bpffs are its own.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/check.sh
. tests/lib/topology.sh
. tests/lib/egret.sh
egret_require

block() { # LANGUAGE: the first one of README's "Run it"
	awk -v fence="\`\`\`$1" '/^## /{ here = /^## Run it/ } here && $0 == fence { on = 1; next } on && /^```/ { exit } on' README.md
}
topology_up egreadme pod
mkdir "$T_RUN/own" "$T_RUN/home"
block json > "$T_RUN/home/policy"
check "README shows a policy" jq -e '.policies[0].name' "$T_RUN/home/policy"
echo sk-test > "$T_RUN/home/openai-eu.key"

# An editor is a person's: here it saves that policy. A person also sees when egretd is up. Else the commands are README's alone.
cat > "$T_RUN/script" <<EOT
set -eu
mount -t tmpfs none $T_RUN/own
mkdir $T_RUN/own/upper $T_RUN/own/work
mount -t overlay -o lowerdir=/etc,upperdir=$T_RUN/own/upper,workdir=$T_RUN/own/work none /etc
rm -rf /etc/egret
mount -t tmpfs none /run
mount -t bpf none /sys/fs/bpf
PATH=$EGRET_BUILD:\$PATH
cd $T_RUN/home
nano() { cp policy "\$1"; }
ready() { for i in \$(seq 400); do command egretctl status > /dev/null 2>&1 && return; sleep 0.05; done; }
egretctl() { [ "\$1" != status ] || ready; command egretctl "\$@"; echo "done: egretctl \$1"; }
egretd() { case \$1 in --uninstall) command egretd "\$@" ;; *) exec egretd "\$@" > $T_RUN/egretd.log 2>&1 ;; esac; }
$(block sh)
echo "done: all"
echo "left: \$(ls /run/netns) \$(find /sys/fs/bpf -name '*egret*')"
EOT
OUT=$(node unshare -m bash "$T_RUN/script" 2>&1)
for what in "egretctl ca" "egretctl check" "egretctl status" "egretctl explain" all; do has "done: $what" "$OUT" "done: $what"; done
has "the policy and its key are found good" "$OUT" "valid: 0 errors, 0 warnings"
has "the agent serves" "$OUT" "agent     serving"
has "the policy selects the pod that is asked about" "$OUT" "Allowed by route chat: goes to https://eu.api.openai.com:443"
is "nothing is left in the kernel" "$(tail -n 1 <<<"$OUT")" "left:  "
checks_done
