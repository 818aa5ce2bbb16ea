#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tools/check-layers sees an #include that goes against the layers, however it is spelled. In a copy of the tree.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/check.sh
dir=$(mktemp -d "/tmp/egself-$$.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/tools" && cp tools/check-layers "$dir/tools/" && cp -r userspace bpf include "$dir/" || exit 1

verdict() { OUT=$("$dir/tools/check-layers" "$@" 2>&1); }
refused() { # FILE LINE [WHY]: the line, planted at the end of the file, is found; then the file is as it was
	cp -p "$dir/$1" "$dir/kept" || { fail "$1: $2"; return; }
	printf '%b\n' "$2" >> "$dir/$1"
	if verdict; then fail "$1: $2"; else has "$1: $2" "$OUT" "$1:"; fi
	[ -z "${3:-}" ] || has "  and says: $3" "$OUT" "$3"
	mv "$dir/kept" "$dir/$1"
}
taken() { # FILE LINE: it is none, or a good one
	cp -p "$dir/$1" "$dir/kept" || { fail "$1: $2"; return; }
	printf '%b\n' "$2" >> "$dir/$1"
	verdict
	is "$1: $2" "$OUT" ""
	mv "$dir/kept" "$dir/$1"
}

verdict; is "the tree as it is" "$? $OUT" "0 "

refused userspace/proto/h1.c '#include "agent/options.h"' "proto (layer 1) may not include agent (layer 8)"
refused userspace/proto/h1.c '  #  include "net/tls.h"'
refused userspace/policy/decide.c '#include "loop/loop.h"' "does no I/O"
refused userspace/telemetry/series.h '#include "policy/policy.h"' "layer 4"
refused userspace/proto/h1.c '#include <agent/options.h>' "in quotes"
refused userspace/policy/decide.c '#include <net/tls.h>'
refused userspace/proto/h1.c '#include "proto/../agent/options.h"' "roundabout"
refused userspace/proto/h1.c '#include "egret/../../userspace/agent/options.h"' "roundabout"
refused userspace/proto/h1.c '#include <egret/../../userspace/agent/options.h>'
refused userspace/proto/h1.c '#include "./agent/options.h"'
refused userspace/proto/h1.c '#include "agent//options.h"'
refused userspace/proto/h1.c '#include "/usr/include/stdio.h"'
refused userspace/proto/h1.c '/**/ #include "agent/options.h"'
refused userspace/proto/h1.c '/* a\n b */ #include "agent/options.h"' "plainly"
refused userspace/proto/h1.c '#include/**/"agent/options.h"' "plainly"
refused userspace/proto/h1.c '#/**/include "agent/options.h"' "plainly"
refused userspace/proto/h1.c '#inc\\\nlude "agent/options.h"' "plainly"
refused userspace/proto/h1.c '%:include "agent/options.h"' "plainly"
refused userspace/proto/h1.c '#include_next <agent/options.h>' "plainly"
refused userspace/proto/h1.c '#import "agent/options.h"' "plainly"
refused userspace/proto/h1.c '#define H "agent/options.h"\n#include H' "plainly"
refused userspace/proto/h1.c '#include "h1.h"' "write the room"
refused userspace/proto/h1.c '#include "proto/uri.c"' "no header"
refused userspace/agent/options.c '#include "egress_tc.skel.h"' "skeletons"
refused userspace/agent/options.c '#include <egress_tc.skel.h>'
refused userspace/agent/options.c '#include "lib/pkt.h"'
refused bpf/lib/pkt.h '#include "base/base.h"' "bpf/ may not"
refused bpf/lib/pkt.h '#include "lib/../../userspace/base/base.h"' "roundabout"
refused bpf/lib/pkt.h '#include <../userspace/base/base.h>'
refused bpf/egress_tc.bpf.c '#include <lib/pkt.h>' "in quotes"
refused include/egret/abi/maps.h '#include "base/base.h"'
refused include/egret/abi/maps.h '#include "lib/pkt.h"'
refused include/egret/abi/reasons.def '#include "base/base.h"'

taken userspace/proto/h1.c '#include "base/base.h" /* why */'
taken userspace/proto/h1.c '#include <net/if.h>'
taken userspace/proto/h1.c '/* #include "agent/options.h"\n#include "agent/options.h"\n*/'
taken userspace/proto/h1.c '// #include "agent/options.h"'
taken userspace/proto/h1.c 'static const char *text = "\\\n#include \\"agent/options.h\\"";'
taken bpf/lib/pkt.h '#include "egret/abi/maps.h"'

mkdir "$dir/userspace/attic" && echo '#include "base/base.h"' > "$dir/userspace/attic/a.c"
verdict; has "a room without a layer" "$OUT" "room 'attic' has no layer"
rm -r "$dir/userspace/attic"
ln -s ../agent/options.h "$dir/userspace/proto/options.h"
verdict; has "a link into another room" "$OUT" "userspace/proto/options.h: a link"
rm "$dir/userspace/proto/options.h"

# What the compiler read, whatever the source seems to say.
read_by() { # SOURCE HEADER: a .d file as gcc writes it
	mkdir -p "$dir/build/obj/x"
	printf 'build/obj/x/x.o: %s userspace/base/base.h \\\n %s\n%s:\n' "$1" "$2" "$2" > "$dir/build/obj/x/x.d"
	verdict --built "$dir/build"
}
read_by userspace/proto/h1.c userspace/proto/../agent/options.h
has "the compiler's list is judged" "$OUT" "userspace/proto/h1.c: the compiler read userspace/agent/options.h: proto (layer 1)"
read_by bpf/egress_tc.bpf.c userspace/base/base.h
has "of the kernel's half too" "$OUT" "bpf may not include base"
read_by userspace/agent/options.c build/skel/egress_tc.skel.h
has "and of skeletons" "$OUT" "skeletons"
read_by userspace/agent/options.c userspace/proto/h1.h; is "a good list" "$OUT" ""
read_by userspace/gone/gone.c userspace/agent/options.h; is "of a source that is gone" "$OUT" ""
checks_done
