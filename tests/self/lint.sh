#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The quick checks of `make lint` on this tree, and that they see what they are for. The slow ones (cppcheck, tidy) are left out.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/check.sh
dir=$(mktemp -d "/tmp/egself-$$.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT

# lint TARGET: under a make of its own, not as a part of the one that runs the tests.
lint() { env -u MAKEFLAGS -u MAKELEVEL make --no-print-directory ${EGRET_BUILD:+"O=$EGRET_BUILD"} "$1"; }

if git -c safe.directory='*' rev-parse --is-inside-work-tree >/dev/null 2>&1; then
	for target in lint-layers lint-format lint-text lint-shell; do check "make $target" lint "$target"; done
else
	skip "make lint" "this tree is no git clone, and git says which files to look at"
fi
for target in lint-format lint-text lint-shell; do
	OUT=$(GIT_DIR=$dir/none lint "$target" 2>&1)
	is "make $target without git is a failure" "$?" 2
	has "and says why" "$OUT" "git names no source file"
done

root=$PWD
cd "$dir" || exit 1
text() { OUT=$("$root/tools/check-text" "$@" 2>&1); }
mkdir docs
printf '# One page\n\n## What `it` is, and why\n\n[a](#what-it-is-and-why) [b](docs/b.md#deep) [c](https://example.org/x) [d](docs/)\n' > a.md
printf '```sh\n# no heading\n[x](nowhere.md)\n```\n# Deep\n`[y](nowhere.md)` [up](../a.md#one-page)\n' > docs/b.md
printf '// SPDX-License-Identifier: Apache-2.0\nint a;\n' > good.c
text a.md docs/b.md good.c; is "good files" "$? $OUT" "0 "
printf '[x](nowhere.md)\n' > bad.md; text bad.md; is "a dead link" "$? $OUT" "1 bad.md:1: nowhere.md: there is no nowhere.md"
printf '\n[x]: docs/gone.md\n' > bad.md; text bad.md; has "a dead reference" "$OUT" "bad.md:2: docs/gone.md"
printf '[x](a.md#nothing)\n' > bad.md; text bad.md; has "a dead anchor" "$OUT" "a.md has no such heading"
printf '[x](docs/b.md#no-heading)\n' > bad.md; text bad.md; has "an anchor to a comment in code" "$OUT" "has no such heading"
printf '[x](/etc/passwd)\n' > bad.md; text bad.md; has "an absolute link" "$OUT" "not relative"
printf '[x](../a.md)\n' > bad.md; text bad.md; has "a link out of the tree" "$OUT" "leads out"
printf 'int a;\n' > bad.c; text bad.c; is "no SPDX line" "$? $OUT" "1 bad.c: no SPDX line"
printf '#!/bin/sh\necho\n' > bad; text bad; has "in a script" "$OUT" "bad: no SPDX line"
printf '// SPDX-License-Identifier: Apache-2.0\nint a; \n' > bad.c; text bad.c; has "a trailing blank" "$OUT" "bad.c:2: blank"
cd "$root" || exit 1
checks_done
