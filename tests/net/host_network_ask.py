#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One attempt to reach an address in one of the ways that a process has: prints "through", or the error's name.

usage: host_network_ask.py tcp|fastopen|mptcp|udp|sendto|sendmsg ADDRESS PORT
"through" is all that this tells: of TCP that the connection stands, of UDP that the kernel took the datagram. An address of the form
::ffff:a.b.c.d is reached from an IPv6 socket.
"""
import errno
import socket
import sys

MPTCP = 262
MSG_FASTOPEN = 0x20000000


def attempt(how, to, family):
    stream = how in ("tcp", "fastopen", "mptcp")
    kind = socket.SOCK_STREAM if stream else socket.SOCK_DGRAM
    with socket.socket(family, kind, MPTCP if how == "mptcp" else 0) as s:
        s.settimeout(3)
        if how in ("tcp", "mptcp"):
            s.connect(to)
        elif how == "fastopen":
            s.sendto(b"x", MSG_FASTOPEN, to)
        elif how == "udp":
            s.connect(to)
            s.send(b"x")
        elif how == "sendto":
            s.sendto(b"x", to)
        else:
            s.sendmsg([b"x"], [], 0, to)


how, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
try:
    attempt(how, (address, port), socket.AF_INET6 if ":" in address else socket.AF_INET)
    print("through")
except socket.timeout:
    print("timeout")
    sys.exit(1)
except OSError as e:
    print(errno.errorcode.get(e.errno, str(e)))
    sys.exit(1)
