#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# make install, and that make uninstall takes away all of it and nothing else.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/check.sh
build=${EGRET_BUILD:-build}
[ -x "$build/egretd" ] && [ -x "$build/egretctl" ] || skip_all "$build/egretd or egretctl is not built: run make"
dir=$(mktemp -d "/tmp/egself-$$.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
root=$PWD

# What is built is installed, whatever flags it was built with (-o all: as it is).
run() { env -u MAKEFLAGS -u MAKELEVEL make --no-print-directory -o all O="$build" "$@"; }

image=$dir/image doc=$dir/image/usr/share/doc/egret
check "make install" run install DESTDIR="$image" PREFIX=/usr
check "egretd runs from there" "$image/usr/sbin/egretd" --version
check "egretctl too" "$image/usr/bin/egretctl" check "$image/usr/share/egret/policies/demo"
for f in LICENSE bpf/LICENSE.GPL-2.0 bpf/LICENSE.BSD-2-Clause; do check "$f is there" cmp "$f" "$doc/$f"; done
# shellcheck disable=SC2046 # names without blanks
OUT=$(cd "$doc" && "$root/tools/check-text" $(find . -name '*.md' | sort) 2>&1)
is "links in the installed documents lead somewhere" "$? $OUT" "0 "
at_least "of which there are" "$(find "$doc" -name '*.md' | wc -l)" 15
is "nothing but programs can be run" "$(find "$image" -type f -perm /111 | sort | sed "s|$image||" | tr '\n' ' ')" "/usr/bin/egretctl /usr/sbin/egretd "

unit=$image/usr/lib/systemd/system/egretd.service
is "the unit names what is installed" "$(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$unit")" /usr/sbin/egretd
check "which is there" test -x "$image$(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$unit")"
check "so is the document that it names" test -s "$image$(sed -n 's|^Documentation=file://||p' "$unit")"
check "and the example of its options" test -s "$image$(sed -n 's|^# EGRETD_OPTIONS.*: \(/.*\) is an example.|\1|p' "$unit")"
check "the unit of the next instance is the same" cmp "$unit" "${unit%.service}@.service"
hasnt "no path of another prefix in it" "$(cat "$unit")" /usr/local

touch "$image/usr/bin/other"
check "make uninstall" run uninstall DESTDIR="$image" PREFIX=/usr
is "only what is not its own is left" "$(cd "$image" && find . ! -type d -o -type d -empty)" "./usr/bin/other"
rm "$image/usr/bin/other"
check "make uninstall of nothing" run uninstall DESTDIR="$image" PREFIX=/usr

run install DESTDIR="$image" PREFIX=/usr >/dev/null && run uninstall DESTDIR="$image" PREFIX=/usr >/dev/null
is "nothing is left of an image" "$(find "$image" -mindepth 1)" ""
run install PREFIX="$dir/opt/egret" >/dev/null
check "under a prefix of its own" test -x "$dir/opt/egret/sbin/egretd"
run uninstall PREFIX="$dir/opt/egret" >/dev/null
is "nothing is left of that" "$(find "$dir/opt" -mindepth 1)" ""
checks_done
