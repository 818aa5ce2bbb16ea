#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every way a pod could try to get bytes to an address past the agent, and what arrived.

usage: datapath_bypass.py send TARGET4 TARGET6 SOURCE4 SOURCE6 OTHER4 OTHER6 [SEED COUNT]
       datapath_bypass.py offload TARGET4 TARGET6 SOURCE4 SOURCE6 NODE6
       datapath_bypass.py sniff LINK LOG
send runs in a pod as root (CAP_NET_RAW, as containers have by default), from the pod's addresses
SOURCE and from those of another pod OTHER. offload sends QUIC's port a packet to a neighbour of TARGET6 and has
its checksum written over the destination, by the link out of the node, whose address NODE6 the packet leaves with:
TARGET6 then has it, with a right checksum. sniff writes one line for each IP packet that arrives:
"4|6 SOURCE DESTINATION PROTOCOL LENGTH MARK", MARK being 1 when it holds the marker of send.
"""
import errno
import random
import socket
import struct
import sys

MARKER = b"EGRET-BYPASS"
ETH_P_ALL = 3


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    s = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while s >> 16:
        s = (s & 0xFFFF) + (s >> 16)
    return ~s & 0xFFFF


def tcp(src, dst, sport, dport, flags, payload=b"", options=b"", seq=1, ack=1):
    options += b"\1" * (-len(options) % 4)
    offset = (20 + len(options)) // 4
    head = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, offset << 4, flags, 65535, 0, 0) + options
    family = socket.AF_INET6 if ":" in src else socket.AF_INET
    pseudo = socket.inet_pton(family, src) + socket.inet_pton(family, dst)
    pseudo += struct.pack("!BBH", 0, 6, len(head) + len(payload)) if family == socket.AF_INET else struct.pack(
        "!I3xB", len(head) + len(payload), 6)
    c = checksum(pseudo + head + payload)
    return head[:16] + struct.pack("!H", c) + head[18:] + payload


def udp(sport, dport, payload):
    return struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload


def ip4(src, dst, proto, body, options=b"", frag=0, ident=7, ttl=64, ihl=None, total=None, tos=0):
    options += b"\0" * (-len(options) % 4)
    words = 5 + len(options) // 4 if ihl is None else ihl
    length = 20 + len(options) + len(body) if total is None else total
    head = struct.pack("!BBHHHBBH", 0x40 | words, tos, length & 0xFFFF, ident, frag, ttl, proto, 0)
    head += socket.inet_aton(src) + socket.inet_aton(dst) + options
    c = checksum(head)
    return head[:10] + struct.pack("!H", c) + head[12:] + body


def ip6(src, dst, proto, body, length=None):
    return (struct.pack("!IHBB", 6 << 28, len(body) if length is None else length, proto, 64)
            + socket.inet_pton(socket.AF_INET6, src) + socket.inet_pton(socket.AF_INET6, dst) + body)


def options6(following, length=0):
    """Hop-by-hop or destination options: PadN only."""
    return bytes([following, length, 1, 4 + 8 * length]) + b"\0" * (4 + 8 * length)


def fragment6(following, offset, more, ident=9):
    return struct.pack("!BBHI", following, 0, offset << 3 | more, ident)


class Pod:
    def __init__(self, arguments):
        self.t4, self.t6, self.s4, self.s6, self.o4, self.o6 = arguments
        self.raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.raw.bind(("eth0", 0))
        self.mac = self.raw.getsockname()[4]
        self.sent = 0
        self.gateway4 = self.resolve(self.t4)
        self.gateway6 = self.gateway4

    def resolve(self, target):
        """The gateway's MAC: out of the neighbour table, after something was sent there."""
        for family, a in ((socket.AF_INET, target), (socket.AF_INET6, self.t6)):
            with socket.socket(family, socket.SOCK_DGRAM) as s:
                for _ in range(3):
                    try:
                        s.sendto(b"x", (a, 9))
                    except OSError:
                        pass
        import subprocess
        import time
        for _ in range(50):
            out = subprocess.run(["ip", "neigh", "show", "dev", "eth0"], capture_output=True, text=True).stdout
            for line in out.splitlines():
                words = line.split()
                if "lladdr" in words and "." in words[0]:
                    return bytes.fromhex(words[words.index("lladdr") + 1].replace(":", ""))
            time.sleep(0.05)
        sys.exit("no gateway in the neighbour table: " + out)

    def frame(self, packet, tags=b"", kind=None):
        kind = kind or (0x0800 if packet[:1] and packet[0] >> 4 == 4 else 0x86DD)
        try:
            self.raw.send(self.gateway4 + self.mac + tags + struct.pack("!H", kind) + packet)
            self.sent += 1
        except OSError as e:
            if e.errno not in (errno.EMSGSIZE, errno.ENOBUFS, errno.EINVAL):
                raise

    def shapes4(self, src, sport, dport, flags, target):
        p = MARKER
        t = lambda **k: tcp(src, target, sport, dport, flags, p, **k)  # noqa: E731
        yield ip4(src, target, 6, t())
        yield ip4(src, target, 6, t(options=b"\2\4\5\xb4\4\2\1\3\3\7"))
        yield ip4(src, target, 6, t(), options=b"\1\1\1\0")
        yield ip4(src, target, 6, t(), options=b"\x44\x04\x05\x00")
        yield ip4(src, target, 6, t(), options=b"\1" * 40)
        yield ip4(src, "203.0.113.77", 6, t(), options=b"\x83\x07\x04" + socket.inet_aton(target))  # LSRR
        yield ip4(src, target, 6, t(), options=b"\x89\x07\x04" + socket.inet_aton(target))  # SSRR
        body = t(options=b"\1" * 12)
        for cut in (8, 16, 24):
            yield ip4(src, target, 6, body[:cut], frag=0x2000)
            yield ip4(src, target, 6, body[cut:], frag=cut // 8)
        yield ip4(src, target, 6, body, frag=0x2000)
        yield ip4(src, target, 6, p * 4, frag=0x2001)
        yield ip4(src, target, 6, p * 4, frag=1)
        yield ip4(src, target, 6, t(), frag=0x8000)
        for n in (1, 4, 8, 12, 13, 14, 19):
            yield ip4(src, target, 6, t()[:n])
        yield ip4(src, target, 6, t(), ihl=4)
        yield ip4(src, target, 6, t(), ihl=15)
        yield ip4(src, target, 6, t(), total=20)
        yield ip4(src, target, 6, t(), total=65535)
        yield ip4(src, target, 6, t(), tos=0xFF)

    def transports4(self, src, target):
        p = MARKER
        for port in (443, 80, 53, 8443, 1, 65535):
            yield ip4(src, target, 17, udp(40000, port, p))
            yield ip4(src, target, 17, udp(443, port, p))
        yield ip4(src, target, 17, udp(40000, 443, p)[:6])
        yield ip4(src, target, 1, struct.pack("!BBHHH", 8, 0, checksum(struct.pack("!BBHHH", 8, 0, 0, 1, 1) + p), 1, 1) + p)
        for proto in (2, 4, 33, 41, 47, 50, 51, 94, 108, 115, 132, 136, 253, 255, 0):
            yield ip4(src, target, proto, p * 3)
        inner = ip4(src, target, 6, tcp(src, target, 40000, 443, 2, p))
        yield ip4(src, target, 4, inner)
        yield ip4(src, target, 47, b"\0\0\x08\0" + inner)
        yield ip4(src, target, 41, ip6(self.s6, self.t6, 6, tcp(self.s6, self.t6, 40000, 443, 2, p)))

    def shapes6(self, src, sport, dport, flags, target):
        p = MARKER
        t = tcp(src, target, sport, dport, flags, p)
        yield ip6(src, target, 6, t)
        for kind in (0, 60):
            yield ip6(src, target, kind, options6(6) + t)
            yield ip6(src, target, kind, options6(6, 3) + t)
        yield ip6(src, target, 0, options6(60) + options6(6) + t)
        chain = b""
        for _ in range(12):
            chain += options6(60)
        yield ip6(src, target, 60, chain + options6(6) + t)
        routing = bytes([6, 2, 0, 0, 0, 0, 0, 0]) + socket.inet_pton(socket.AF_INET6, target)
        yield ip6(src, target, 43, routing + t)
        yield ip6(src, "2001:db8:53::77", 43, bytes([6, 2, 0, 1, 0, 0, 0, 0])
                  + socket.inet_pton(socket.AF_INET6, target) + t)
        yield ip6(src, "2001:db8:53::77", 43, bytes([6, 2, 4, 1, 0, 0, 0, 0])
                  + socket.inet_pton(socket.AF_INET6, target) + t)  # segment routing
        yield ip6(src, target, 44, fragment6(6, 0, 0) + t)
        for cut in (8, 16, 24):
            yield ip6(src, target, 44, fragment6(6, 0, 1) + t[:cut])
            yield ip6(src, target, 44, fragment6(6, cut // 8, 0) + t[cut:])
        yield ip6(src, target, 60, options6(44) + fragment6(6, 0, 1) + t)
        yield ip6(src, target, 51, bytes([6, 4]) + b"\0" * 22 + t)
        yield ip6(src, target, 139, bytes([6, 0]) + b"\0" * 6 + t)
        yield ip6(src, target, 140, bytes([6, 0]) + b"\0" * 6 + t)
        for n in (1, 4, 12, 14, 19):
            yield ip6(src, target, 6, t[:n])
        yield ip6(src, target, 6, t, length=0)
        yield ip6(src, target, 6, t, length=65535)
        yield ip6(src, target, 60, b"\6")

    def transports6(self, src, target):
        p = MARKER
        for port in (443, 80, 53, 8443):
            yield ip6(src, target, 17, udp(40000, port, p))
        yield ip6(src, target, 58, struct.pack("!BBHHH", 128, 0, 0, 1, 1) + p)
        for proto in (4, 41, 47, 50, 58, 59, 115, 132, 135, 253):
            yield ip6(src, target, proto, p * 3)
        yield ip6(src, target, 41, ip6(src, target, 6, tcp(src, target, 40000, 443, 2, p)))

    def known(self):
        ports = (443, 80, 22, 8443)
        for src in (self.s4, self.o4, "198.51.100.1", "127.0.0.1", self.t4):
            for flags in (2, 16, 24, 18, 1, 4, 0, 63, 0x42):
                for dport in ports if flags == 2 else (443,):
                    for packet in self.shapes4(src, 41000 + flags, dport, flags, self.t4):
                        self.frame(packet)
            for packet in self.transports4(src, self.t4):
                self.frame(packet)
        mapped = "::ffff:" + self.t4
        targets6 = (self.t6, mapped, "64:ff9b::" + self.t4, "::" + self.t4, "2002:cb00:710a::1")
        for src in (self.s6, self.o6, "2001:db8:77::1", "::ffff:" + self.s4, "::1"):
            for target in targets6:
                for flags in (2, 16, 24):
                    for packet in self.shapes6(src, 42000 + flags, 443, flags, target):
                        self.frame(packet)
                for packet in self.transports6(src, target):
                    self.frame(packet)
        for kind in (0x8100, 0x88A8, 0x9100):
            for tci in (0, 1, 100, 4095, 0xE000):
                tag = struct.pack("!HH", kind, tci)
                for tags in (tag, tag + tag, tag * 3):
                    self.frame(ip4(self.s4, self.t4, 6, tcp(self.s4, self.t4, 43000, 443, 2, MARKER)), tags)
                    self.frame(ip6(self.s6, self.t6, 6, tcp(self.s6, self.t6, 43000, 443, 2, MARKER)), tags)
        whole = ip4(self.s4, self.t4, 6, tcp(self.s4, self.t4, 44000, 443, 2, MARKER))
        for kind in (0x86DD, 0x8847, 0x8864, 0x0806, 0x88E7, 0x0000, 0x05DC):
            self.frame(whole, kind=kind)
            self.frame(b"\x11\0\0\1\0\x40\0\x21" + whole, kind=kind)

    def sockets(self):
        """What an unprivileged process can do with ordinary sockets."""
        for options in (b"\1\1\1\0", b"\x44\x04\x05\x00", b"\x83\x07\x04" + socket.inet_aton(self.t4) + b"\0"):
            with socket.socket() as s:
                s.settimeout(0.3)
                try:
                    s.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, options)
                    s.connect((self.t4, 443))
                    s.sendall(MARKER)
                except OSError:
                    pass
            self.sent += 1
        for family, target in ((socket.AF_INET, self.t4), (socket.AF_INET6, self.t6), (socket.AF_INET6, "::ffff:" + self.t4)):
            for port in (443, 80, 8443):
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                    with socket.socket(family, kind) as s:
                        s.settimeout(0.3)
                        try:
                            s.connect((target, port))
                            s.send(MARKER)
                        except OSError:
                            pass
                    self.sent += 1
            with socket.socket(family, socket.SOCK_DGRAM) as s:
                try:
                    s.sendto(MARKER * 400, (target, 443))  # fragments
                except OSError:
                    pass
            # Fast open: data in the SYN.
            with socket.socket(family, socket.SOCK_STREAM) as s:
                s.settimeout(0.3)
                try:
                    s.sendto(MARKER, 0x20000000, (target, 443))
                except OSError:
                    pass
            self.sent += 2

    def fuzz(self, seed, count):
        rng = random.Random(seed)
        for _ in range(count):
            src4, src6 = rng.choice((self.s4, self.s4, self.o4)), rng.choice((self.s6, self.s6, self.o6))
            make = rng.choice((self.shapes4, self.shapes6, self.transports4, self.transports6))
            four = make in (self.shapes4, self.transports4)
            src, target = (src4, self.t4) if four else (src6, self.t6)
            if make in (self.shapes4, self.shapes6):
                packets = list(make(src, rng.randrange(65536), rng.choice((443, 80, rng.randrange(65536))),
                                    rng.randrange(256), target))
            else:
                packets = list(make(src, target))
            # The destination is the target and stays: bytes to elsewhere prove nothing.
            keep = range(16, 20) if four else range(24, 40)
            where = socket.inet_pton(socket.AF_INET if four else socket.AF_INET6, target)
            packet = bytearray(rng.choice([p for p in packets if p[keep.start:keep.stop] == where]))
            for _ in range(rng.choice((0, 1, 1, 2, 4, 8))):
                at = rng.randrange(len(packet))
                if at not in keep and at != 0:
                    packet[at] = rng.randrange(256)
            if rng.random() < 0.2:
                packet = packet[:rng.randrange(max(20 if four else 40, 1), len(packet) + 1)]
            if four and len(packet) >= 20:
                n = (packet[0] & 15) * 4
                packet[10:12] = b"\0\0"
                packet[10:12] = struct.pack("!H", checksum(bytes(packet[:n])))
            tags = b""
            if rng.random() < 0.1:
                tags = struct.pack("!HH", rng.choice((0x8100, 0x88A8)), rng.randrange(65536))
            self.frame(bytes(packet), tags)


def send(arguments):
    pod = Pod(arguments[:6])
    pod.known()
    pod.sockets()
    if len(arguments) > 6:
        pod.fuzz(int(arguments[6]), int(arguments[7]))
    print(pod.sent)


def words(data):
    return sum(struct.unpack(f"!{len(data) // 2}H", data + b"\0" * (len(data) % 2)))


def fold(s):
    while s >> 16:
        s = (s & 0xFFFF) + (s >> 16)
    return s


def offload(target4, target6, source4, source6, node6):
    pod = Pod([target4, target6, source4, source6, source4, source6])
    target, source, node = (socket.inet_pton(socket.AF_INET6, a) for a in (target6, source6, node6))
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    raw.setsockopt(263, 15, 1)  # SOL_PACKET, PACKET_VNET_HDR
    raw.bind(("eth0", 0))
    for port in range(40000, 40010):
        payload = MARKER + b" offload"
        length = 8 + len(payload)
        right = 0xFFFF - fold(words(node) + words(target) + length + 17 +
                              words(struct.pack("!HHHH", port, 443, length, 0) + payload))
        # What the masquerade adds to the field: it takes it for the sum of the addresses.
        field = fold(right + 16 * 0xFFFF + words(source) - words(node))
        rest = words(struct.pack("!HHHH", port, 443, length, right) + payload)
        low, = struct.unpack("!H", target[14:])
        neighbour = target[:14] + struct.pack("!H", fold(0xFFFF - low + 0xFFFF * 64 - rest))
        packet = struct.pack("!IHBB", 6 << 28, length, 17, 64) + source + neighbour
        packet += struct.pack("!HHHH", port, 443, length, field) + payload
        head = struct.pack("<BBHHHH", 1, 0, 0, 0, 14 + 38, 0)  # NEEDS_CSUM, from the end of the destination on
        raw.send(head + pod.gateway6 + pod.mac + b"\x86\xdd" + packet)
        pod.sent += 1
    print(pod.sent)


def flood(target4, source4, count):
    """SYNs of as many connections, to addresses in 198.51.100.0/24, by way of the gateway towards target4."""
    pod = Pod([target4, target4, source4, source4, source4, source4])
    for i in range(count):
        target = f"198.51.100.{i // 60000 + 1}"
        pod.frame(ip4(source4, target, 6, tcp(source4, target, i % 60000 + 1024, 443, 2)))
    print(pod.sent)


def sniff(link, path):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
    s.bind((link, ETH_P_ALL))
    with open(path, "a", buffering=1) as log:
        print("ready", flush=True)
        while True:
            data, where = s.recvfrom(65536)
            if where[2] == socket.PACKET_OUTGOING:
                continue
            kind, = struct.unpack("!H", data[12:14])
            packet = data[14:]
            while kind in (0x8100, 0x88A8) and len(packet) >= 4:
                kind, = struct.unpack("!H", packet[2:4])
                packet = packet[4:]
            mark = int(MARKER[:8] in data)
            if kind == 0x0800 and len(packet) >= 20:
                log.write(f"4 {socket.inet_ntoa(packet[12:16])} {socket.inet_ntoa(packet[16:20])} "
                          f"{packet[9]} {len(packet)} {mark} {packet[:60].hex()}\n")
            elif kind == 0x86DD and len(packet) >= 40:
                log.write(f"6 {socket.inet_ntop(10, packet[8:24])} {socket.inet_ntop(10, packet[24:40])} "
                          f"{packet[6]} {len(packet)} {mark} {packet[:60].hex()}\n")
            elif mark:
                log.write(f"{kind:x} - - - {len(packet)} {mark} {data[:60].hex()}\n")


if __name__ == "__main__":
    if sys.argv[1] == "send":
        send(sys.argv[2:])
    elif sys.argv[1] == "offload":
        offload(*sys.argv[2:])
    elif sys.argv[1] == "flood":
        flood(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        sniff(sys.argv[2], sys.argv[3])
