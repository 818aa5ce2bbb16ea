#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A DNS server that says what it is told, and a lookup followed at once by a connection.

usage: datapath_dns.py serve ADDRESS NAME=ANSWER[,ANSWER...]...    ANSWER: address, cname:NAME, pad:BYTES,
           hold:FILE (answers when FILE is there)
       datapath_dns.py ask SERVER NAME [A|AAAA [SECONDS]]   looks up, connects to port 443 of the first answer, prints
           the line
       datapath_dns.py query SERVER NAME [A|AAAA]    looks up only, prints how many answers
       datapath_dns.py asktcp SERVER NAME...    asks for all over one TCP connection at once, connects to the last answer's
           first address

Over TCP, queries that come in one piece are answered in one; but before the answer for a name that begins with "split."
its length goes out in a segment of its own, and that for one that begins with "parts." goes out in segments of 300 bytes.
"""
import os
import socket
import struct
import sys
import threading
import time


def encode(name):
    return b"".join(bytes([len(x)]) + x.encode() for x in name.split(".")) + b"\0"


def read_name(data, at):
    labels = []
    while data[at]:
        labels.append(data[at + 1:at + 1 + data[at]].decode())
        at += 1 + data[at]
    return ".".join(labels), at + 1


def answer(query, table, ttl):
    name, at = read_name(query, 12)
    kind, = struct.unpack("!H", query[at:at + 2])
    records, count, owner = b"", 0, name
    for value in table.get(name.lower(), []):
        if value.startswith("hold:"):
            while not os.path.exists(value[5:]):
                time.sleep(0.02)
            continue
        if value.startswith("cname:"):
            data = encode(value[6:])
            records += encode(owner) + struct.pack("!HHIH", 5, 1, ttl, len(data)) + data
            owner = value[6:]
        elif value.startswith("pad:"):
            for _ in range(int(value[4:]) // 200):
                records += encode(owner) + struct.pack("!HHIH", 16, 1, ttl, 201) + b"\xc8" + b"x" * 200
                count += 1
            continue
        else:
            want = 28 if ":" in value else 1
            if kind != want:
                continue
            data = socket.inet_pton(socket.AF_INET6 if want == 28 else socket.AF_INET, value)
            records += encode(owner) + struct.pack("!HHIH", want, 1, ttl, len(data)) + data
        count += 1
    return query[:2] + struct.pack("!HHHHH", 0x8180, 1, count, 0, 0) + query[12:at + 4] + records


def reply(s, query, peer, table, ttl):
    try:
        s.sendto(answer(query, table, ttl), peer)
    except (IndexError, ValueError, OSError) as e:
        print("not answered:", e, flush=True)


def serve_tcp(listener, table, ttl):
    while True:
        s, _ = listener.accept()
        threading.Thread(target=connection, args=(s, table, ttl), daemon=True).start()


def connection(s, table, ttl):
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    data, out = b"", b""
    while True:
        piece = s.recv(65536)
        if not piece:
            return
        data += piece
        while len(data) >= 2 and len(data) >= 2 + int.from_bytes(data[:2], "big"):
            n = int.from_bytes(data[:2], "big")
            query, data = data[2:2 + n], data[2 + n:]
            message = answer(query, table, ttl)
            out += struct.pack("!H", len(message))
            if read_name(query, 12)[0].startswith("split."):
                s.sendall(out)
                out = b""
            out += message
            while read_name(query, 12)[0].startswith("parts.") and out:
                s.sendall(out[:300])
                out = out[300:]
                time.sleep(0.01)
        s.sendall(out)
        out = b""


def serve(address, entries):
    table, ttl = {}, 60
    for e in entries:
        name, values = e.split("=")
        if name == "ttl":
            ttl = int(values)
        elif ".." in values:  # FIRST..COUNT: that many addresses from FIRST, 30 an answer by name-N
            first, total = values.split("..")
            base = struct.unpack("!I", socket.inet_aton(first))[0]
            for i in range(int(total) // 30):
                table[f"{i}.{name}"] = [socket.inet_ntoa(struct.pack("!I", base + i * 30 + k)) for k in range(30)]
        else:
            table[name] = values.split(",")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.bind((address, 53))
    listener = socket.create_server((address, 53), family=family)
    threading.Thread(target=serve_tcp, args=(listener, table, ttl), daemon=True).start()
    print("ready", flush=True)
    while True:
        query, peer = s.recvfrom(4096)
        threading.Thread(target=reply, args=(s, query, peer, table, ttl), daemon=True).start()


def question(name, kind):
    return struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + encode(name) + struct.pack("!HH", kind, 1)


def lookup_tcp(server, names):
    with socket.create_connection((server, 53), timeout=3) as s, s.makefile("rb") as f:
        queries = [question(n, 1) for n in names]
        s.sendall(b"".join(struct.pack("!H", len(q)) + q for q in queries))
        for _ in names:
            data = f.read(int.from_bytes(f.read(2), "big"))
    return addresses(data, 1)


def lookup(server, name, kind, seconds):
    s = socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(seconds)
    s.sendto(question(name, kind), (server, 53))
    return addresses(s.recv(65536), kind)


def padded(query, size):
    """The same with an EDNS padding option (RFC 7830), of this size."""
    n = size - len(query) - 15
    return query[:10] + b"\0\1" + query[12:] + b"\0" + struct.pack("!HHIHHH", 41, 4096, 0, 4 + n, 12, n) + b"\0" * n


def lookup_odd(how, server, name):
    """A query that can't be told from its packet: the second of one number, the second of a packet that the
    kernel cuts, one in fragments."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(3)
    s.connect((server, 53))
    first, second = question("cdn.example.net", 1), question(name, 1)
    if how == "fragments":
        s.setsockopt(socket.IPPROTO_IP, 10, 0)  # IP_MTU_DISCOVER, IP_PMTUDISC_DONT
        s.send(padded(second, 2000))
        return addresses(s.recv(65536), 1)
    if how == "cut":
        s.setsockopt(socket.IPPROTO_UDP, 103, 100)  # UDP_SEGMENT
        s.send(padded(first, 100) + b"\0\x08" + padded(second, 100)[2:])
    else:
        s.send(first)
        s.send(second)
    answers = [s.recv(65536) for _ in range(2)]  # in any order
    return next(addresses(a, 1) for a in answers if second[12:12 + len(name)].lower() == a[12:12 + len(name)].lower())


def addresses(data, kind):
    count, = struct.unpack("!H", data[6:8])
    _, at = read_name(data, 12)
    at += 4
    found = []
    for _ in range(count):
        _, at = read_name(data, at)
        rtype, _, _, n = struct.unpack("!HHIH", data[at:at + 10])
        at += 10
        if rtype == kind:
            found.append(socket.inet_ntop(socket.AF_INET6 if kind == 28 else socket.AF_INET, data[at:at + n]))
        at += n
    return found


def main():
    what, server, rest = sys.argv[1], sys.argv[2], sys.argv[3:]
    if what == "serve":
        return serve(server, rest)
    if what == "asktcp":
        found = lookup_tcp(server, rest)
    elif what == "askodd":
        found = lookup_odd(rest[0], server, rest[1])
    else:
        found = lookup(server, rest[0], 28 if rest[1:2] == ["AAAA"] else 1, float((rest[2:3] or [3])[0]))
    if what == "query":
        print(len(found))
        return 0
    with socket.create_connection((found[0], 443), timeout=3) as s:
        print(s.recv(200).decode().strip())
    return 0


try:
    sys.exit(main())
except (OSError, IndexError) as e:
    print("failed:", e)
    sys.exit(1)
