#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# docs/internals/h2_conformance.md names cases and functions that exist, each case where its section is, and leaves none out.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/check.sh

# compare DOC: prints what is wrong, one thing a line.
compare() {
	python3 - "$1" <<'EOP'
import re, sys

FILES = ["tests/unit/front/test_h2_conformance.c", "tests/unit/upstream/test_h2_provider_conformance.c"]
SIDES = ["pods", "providers"]
source = [open(f).read() for f in FILES]
cases = [re.findall(r'^\t\{"([\d.]+)", "([^"]+)", \{', s, re.M) for s in source]
quoted = [set(), set()]
rows = 0
for number, line in enumerate(open(sys.argv[1]), 1):
    cells = [c.strip() for c in line.strip().strip("|").split("|")]
    if not line.startswith("| ") or not re.match(r"\d", cells[0]):
        continue
    rows += 1
    if len(cells) != 5:
        print(f"line {number}: {len(cells)} cells")
        continue
    for side in (0, 1):
        cell = cells[3 + side]
        for what in re.findall(r'"([^"]+)"', cell):
            quoted[side].add(what)
            if what not in [w for _, w in cases[side]]:
                print(f"line {number}: {SIDES[side]} have no case \"{what}\"")
        for names, file in re.findall(r"((?:`\w+`(?:, )?)+)(?: in `([\w/.]+)`)?", cell):
            text = open(file).read() if file else source[side] + open("tests/lib/h2_frames.h").read()
            for name in re.findall(r"`(\w+)`", names):
                if not re.search(r"\b%s\(" % name, text):
                    print(f"line {number}: {file or FILES[side]} has no {name}")
for side in (0, 1):
    for section, what in cases[side]:
        if what not in quoted[side]:
            print(f"{SIDES[side]}, section {section}: \"{what}\" is in no row")
print(f"{rows} rows, {len(cases[0])} and {len(cases[1])} cases", file=sys.stderr)
EOP
}

doc=docs/internals/h2_conformance.md
is "the list and the tests are the same" "$(compare $doc)" ""
broken=$(mktemp) || exit 1
trap 'rm -f "$broken"' EXIT
sed 's/"index 0"; //; s/test_ping/test_pong/; s/"skipped numbers"/"missed numbers"/' $doc > "$broken"
R=$(compare "$broken" 2>/dev/null)
has "a case that is left out is seen" "$R" 'section 4.3: "index 0" is in no row'
has "a function that is not there" "$R" "has no test_pong"
has "a case that is not there" "$R" 'have no case "missed numbers"'
checks_done
