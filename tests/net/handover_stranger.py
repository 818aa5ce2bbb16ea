#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# What may come to the hand-over socket besides a new egretd. Usage: handover_stranger.py SOCKET WHAT [ARG...]
# Prints what it was answered: "refused: SENTENCE", "closed", "got N descriptors", or what the system said.
import os, socket, struct, sys, time

path, what = sys.argv[1:3]
args = sys.argv[3:]
MAGIC = 0x45677248
HELLO, REFUSE, BASE, LISTENER, READY = 1, 2, 3, 4, 5
LAYOUT = "=IIIIIIII Q 32s 256s 128s 256s"


def message(kind, version=1, mode=1, pin="", namespace=""):
    return struct.pack(LAYOUT, MAGIC, version, kind, 0, 0, 0, mode, 0, 0, b"test", pin.encode(), namespace.encode(), b"")


def answer(s):
    try:
        data, control, _, _ = s.recvmsg(4096, socket.CMSG_SPACE(64))
    except OSError as e:
        return str(e), None
    if not data:
        return "closed", None
    for _, kind, raw in control:
        for fd in struct.unpack("%di" % (len(raw) // 4), raw):
            HELD.append(fd)
    fields = struct.unpack(LAYOUT, data)
    if fields[2] == REFUSE:
        return "refused: " + fields[12].split(b"\0")[0].decode(), REFUSE
    return "kind %d" % fields[2], fields[2]


HELD = []
if what == "uid":
    os.setresuid(65534, 65534, 65534)
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.settimeout(90)
try:
    s.connect(path)
    if what == "garbage":
        s.send(os.urandom(700))
    elif what == "short":
        s.send(b"x")
    elif what == "version":
        s.send(message(HELLO, version=7))
    elif what == "ready":
        s.send(message(READY))
    elif what == "uid":
        s.send(message(HELLO))
    else:  # take PIN NAMESPACE THEN: as a new egretd would, and what then
        s.send(message(HELLO, mode=int(args[0]), pin=args[1], namespace=args[2]))
    text, kind = answer(s)
    if kind == BASE:
        count = 0
        while kind in (BASE, LISTENER) and len(HELD) < 2 + int(args[4]):
            text, kind = answer(s)
        print("got %d descriptors" % len(HELD), flush=True)
        if args[3] == "garbage":
            s.send(os.urandom(700))
            print(answer(s)[0])
        elif args[3] == "wait":
            print(answer(s)[0], flush=True)
            time.sleep(90)
    else:
        print(text)
except OSError as e:
    print(e)
