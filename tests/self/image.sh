#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# make image: a layout that another's reader takes, whose programs run in it, with nothing in it that its SBOM does not name; and the
# same bytes from another directory.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib/check.sh
build=${EGRET_BUILD:-build}
[ -x "$build/egretd" ] && [ -x "$build/egretctl" ] || skip_all "$build/egretd or egretctl is not built: run make"
! readelf -d "$build/egretd" | grep -qE 'lib(asan|tsan|ubsan)\.so' || skip_all "$build is built with a sanitizer, of which no image is made"
dir=$(mktemp -d "/tmp/egself-$$.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
root=$PWD version=$("$build/egretd" --version | awk '{print $2}') arch=$(dpkg --print-architecture)

# The programs as they are built (-o all), in a directory of the test's own. A commit's time and name are given: a copy has none.
run() { env -u MAKEFLAGS -u MAKELEVEL make --no-print-directory SOURCE_DATE_EPOCH=1700000000 REVISION=test "$@"; }
mkdir "$dir/build" && cp "$build/egretd" "$build/egretctl" "$dir/build/"
image() { run -o all O="$dir/build" image "$@"; }
check "make image" image
tar=$dir/build/egret-$version-$arch.oci.tar
cp "$tar" "$dir/first.tar"

# --- another's reader: digests, sizes and media types are umoci's to judge
umoci unpack --image "$dir/build/image:docker.io/library/egret:$version" "$dir/bundle" > "$dir/umoci.log" 2>&1
is "umoci unpacks it" "$? $(grep -i error "$dir/umoci.log")" "0 "
fs=$dir/bundle/rootfs
cat > "$dir/judge.py" <<'EOP'
"""What is wrong with a layout, by the words of the image specification; nothing when all is well."""
import hashlib, io, json, os, sys, tarfile
layout, archive = sys.argv[1:]
def blob(d, kind):
    path = os.path.join(layout, "blobs", *d["digest"].split(":"))
    data = open(path, "rb").read()
    used.add(os.path.relpath(path, layout))
    if d["mediaType"] != f"application/vnd.oci.image.{kind}": print("media type", d["mediaType"])
    if len(data) != d["size"] or hashlib.sha256(data).hexdigest() != d["digest"][7:]: print("digest or size of", d["digest"])
    return data
used = {"oci-layout", "index.json"}
if json.load(open(f"{layout}/oci-layout")) != {"imageLayoutVersion": "1.0.0"}: print("oci-layout")
index = json.load(open(f"{layout}/index.json"))
for entry in index["manifests"]:
    manifest = json.loads(blob(entry, "manifest.v1+json"))
    config = json.loads(blob(manifest["config"], "config.v1+json"))
    layers = [blob(layer, "layer.v1.tar") for layer in manifest["layers"]]
    if ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers] != config["rootfs"]["diff_ids"]: print("diff_ids")
    if entry["platform"] != {"architecture": config["architecture"], "os": "linux"}: print("platform")
    if config["config"]["Entrypoint"] != ["/usr/local/bin/egretd"] or config["config"]["User"] != "0": print("config", config["config"])
    for layer in layers:
        names = []
        for i in tarfile.open(fileobj=io.BytesIO(layer)):
            names.append(i.name)
            if (i.uid, i.gid, i.uname, i.gname, i.mtime) != (0, 0, "", "", 1700000000): print("owner or time of", i.name)
            if not (i.isdir() or i.isreg() or i.issym()): print("kind of", i.name)
            if i.mode & 0o6000 or (i.mode & 0o022 and not i.issym() and i.name != "tmp"): print("mode of", i.name, oct(i.mode))
        if names != sorted(names): print("not sorted")
packed = {m.name: m for m in tarfile.open(archive) if m.isreg()}
there = {os.path.relpath(os.path.join(d, f), layout) for d, _, fs in os.walk(layout) for f in fs}
if there != used or set(packed) != used: print("files", there ^ used, set(packed) ^ used)
EOP
is "layout and archive, by the specification" "$(python3 "$dir/judge.py" "$dir/build/image" "$tar" 2>&1)" ""

# --- what is in it runs, and only there
inside() { chroot "$fs" "$@"; }
is "egretd runs in it" "$(inside /usr/local/bin/egretd --version)" "$("$build/egretd" --version)"
is "egretctl too" "$(inside /usr/local/bin/egretctl --help)" "$("$build/egretctl" --help)"
check "which makes a CA: OpenSSL has what it needs" inside /usr/local/bin/egretctl ca create --dir /tmp/ca --names api.openai.com
missing=$(find "$fs/usr" -type f \( -name '*.so*' -o -path '*/bin/*' \) -exec readelf -d {} + 2>/dev/null | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort -u |
	while read -r name; do [ -e "$fs/usr/lib/$(gcc -print-multiarch)/$name" ] || echo "$name"; done)
is "every library that something needs is there" "$missing" ""
is "no program but its own" "$(find "$fs" -type f -perm /111 ! -name 'ld-linux-*' -printf '%P\n' | sort)" "usr/local/bin/egretctl"$'\n'"usr/local/bin/egretd"
is "no shell, whatever its mode" "$(find "$fs" \( -name '*sh' -o -name busybox -o -name perl -o -name 'python*' \) -printf '%P ')" ""
is "no symbol of a debugger in it" "$(readelf -SW "$fs"/usr/local/bin/* | grep -c '\.debug_')" 0
for name in egretd egretctl; do
	is "$name: what strip took away has its build id" "$(readelf -n "$dir/build/$name.debug" 2>/dev/null | grep 'Build ID')" "$(readelf -n "$fs/usr/local/bin/$name" | grep 'Build ID')"
done
is "links lead to what is in it" "$(cd "$fs" && find . -type l -printf '%P\n' | while read -r link; do
	to=$(readlink "$link"); case $to in /*) to=.$to ;; *) to=$(dirname "$link")/$to ;; esac; [ -e "$to" ] || echo "$link"; done)" ""
# shellcheck disable=SC2013 # paths without blanks
for path in $(sed -n 's/^ *mountPath: //p' manifests/base/daemonset.yaml); do
	case $path in /sys/*) ;; *) check "the DaemonSet's $path is there" test -d "$fs/$(realpath -m --relative-to=/ "${path/#\/var\/run//run}")" ;; esac
done
check "and its command" test -x "$fs/$(sed -n 's/^ *command: \[\/\(.*egretd\)\]/\1/p' manifests/base/daemonset.yaml)"

# --- the SBOM
bill=$fs/usr/share/egret/sbom.spdx.json
rm -rf "$fs/tmp/ca"
is "no file that is not in the SBOM, none in it that is not there" "$(diff <(cd "$fs" && find . -type f ! -path './usr/share/egret/sbom.spdx.json' -exec sha256sum {} + | sort -k2) \
	<(jq -r '.files[] | "\(.checksums[] | select(.algorithm == "SHA256").checksumValue)  \(.fileName)"' "$bill" | sort -k2))" ""
check "it lies beside the image, too" cmp "$bill" "$dir/build/egret-$version-$arch.spdx.json"
is "every file is of one package" "$(jq '[.relationships[] | select(.relationshipType == "CONTAINS").relatedSpdxElement] | sort == ([$f[].SPDXID] | sort)' \
	--argjson f "$(jq .files "$bill")" "$bill")" true
is "every id that is named is there, once" "$(jq '[.files[].SPDXID, .packages[].SPDXID, .SPDXID] as $ids | ($ids | length == (unique | length)) and
	(([.relationships[] | .spdxElementId, .relatedSpdxElement] - $ids) == [])' "$bill")" true
is "versions are dpkg's" "$(jq -r '.packages[] | select(.name != "egret") | "\(.name) \(.versionInfo)"' "$bill")" \
	"$(jq -r '.packages[].name | select(. != "egret")' "$bill" | while read -r p; do dpkg-query -W -f '${Package} ${Version}\n' "$p"; done | sort -u)"
is "so are those that scanners read" "$(sed -n 's/^Version: //p' "$fs"/var/lib/dpkg/status.d/* | sort)" "$(jq -r '.packages[] | select(.name != "egret").versionInfo' "$bill" | sort)"
is "every package has its copyright file" "$(jq -r '.packages[].name | select(. != "egret")' "$bill" | while read -r p; do [ -s "$fs/usr/share/doc/$p/copyright" ] || echo "$p"; done)" ""
for name in $(grep -rhoE '/usr/share/common-licenses/[A-Za-z0-9.-]*[A-Za-z0-9]' "$fs/usr/share/doc" | sort -u); do
	[ ! -e "$name" ] || check "the licence that one refers to: ${name##*/}" test -s "$fs$name"
done

# --- nothing of this machine's
is "the roots are the package's, and nobody else's" "$(grep -c BEGIN "$fs/etc/ssl/certs/ca-certificates.crt")" \
	"$(dpkg -L ca-certificates | grep -c '/usr/share/ca-certificates/.*\.crt$')"
is "no key in it" "$(grep -rlE 'BEGIN [A-Z ]*PRIVATE KEY-+$' "$fs/etc" "$fs/usr/share" "$fs/var")" ""
is "no path of where it was built" "$(grep -rlF -e "$root" -e "$dir" "$fs")" ""

# --- refused
out=$(image ARCH=sparc64 2>&1); code=$?
is "an architecture that it was not built for: refused" "$((code != 0))" 1
has "with the reason" "$out" "was built for $arch, not for sparc64"
out=$(image SOURCE_DATE_EPOCH= 2>&1)
has "no time: refused" "$out" "SOURCE_DATE_EPOCH must be a number"
printf '#!/bin/sh\necho "a library of somebody'"'"'s own, of no package"\n' > "$dir/build/egretctl"
out=$(image 2>&1)
has "what is no program: refused" "$out" "egretctl"

# --- the same bytes from another directory, compiled anew
mkdir "$dir/elsewhere"
git -c safe.directory='*' ls-files -z --cached --others --exclude-standard Makefile mk bpf include userspace tools docs LICENSE |
	xargs -0 cp --parents -t "$dir/elsewhere"
out=$(cd "$dir/elsewhere" && run -j2 O=made image 2>&1) || fail "make image in another directory" "$out"
check "two builds are equal to the byte" cmp "$dir/first.tar" "$dir/elsewhere/made/egret-$version-$arch.oci.tar"
checks_done
