# SPDX-License-Identifier: Apache-2.0
"""Prints what of Egret is on this node, a line each: pins, its namespace, links, ip rules, TC filters. Python alone, in the node's network
namespace. A program attached by TCX is not asked for: it is held by a pin, and goes with it."""
import os
import socket
import struct

PROGRAMS = (b"egress_tc", b"guard_tc", b"dns_tc", b"sni_tc", b"reply_tc", b"observe")
RTM_GETRULE, RTM_GETTFILTER, DUMP = 34, 46, 0x301
CLSACT = (0xFFFFFFF2, 0xFFFFFFF3)  # ingress, egress


def dump(kind, body):
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as s:
        s.send(struct.pack("=IHHII", 16 + len(body), kind, DUMP, 1, 0) + body)
        while True:
            data = s.recv(1 << 18)
            while len(data) >= 16:
                size, what = struct.unpack_from("=IH", data)
                if what in (2, 3) or size < 16:  # an error, the end
                    return
                yield data[16:size]
                data = data[(size + 3) & ~3:]


for place in ("/sys/fs/bpf", "/run/netns"):
    for name in os.listdir(place) if os.path.isdir(place) else ():
        if "egret" in name:
            print(f"{place}/{name}")
links = socket.if_nameindex()
for _, name in links:
    if name.startswith("egret"):
        print("link", name)
for family in (socket.AF_INET, socket.AF_INET6):
    for rule in dump(RTM_GETRULE, struct.pack("=BBBBBBBBI", family, 0, 0, 0, 0, 0, 0, 0, 0)):
        at, priority, mark = 12, None, False
        while at + 4 <= len(rule):
            size, kind = struct.unpack_from("=HH", rule, at)
            if size < 4:
                break
            if kind == 6:
                priority = struct.unpack_from("=I", rule, at + 4)[0]
            mark |= kind == 10
            at += (size + 3) & ~3
        if mark and priority in (99, 100):
            print("rule", "v4" if family == socket.AF_INET else "v6", priority)
for index, name in links:
    for parent in CLSACT:
        found = set()
        for one in dump(RTM_GETTFILTER, struct.pack("=BxxxiIII", 0, index, 0, parent, 0)):
            found |= {p.decode() for p in PROGRAMS if p in one}
        for program in sorted(found):
            print("filter", name, program)
