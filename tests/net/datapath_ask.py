#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One TCP connection: prints the first line that comes back, or the error's name.

usage: datapath_ask.py ADDRESS PORT [TEXT]
With TEXT, it is sent and what the other side echoes is printed behind the line.
"""
import errno
import socket
import sys

address, port, text = sys.argv[1], int(sys.argv[2]), (sys.argv + [""])[3]
try:
    with socket.create_connection((address, port), timeout=3) as s:
        line = b""
        while not line.endswith(b"\n"):
            got = s.recv(1)
            if not got:
                break
            line += got
        out = line.decode().strip()
        if text:
            s.sendall(text.encode())
            got = b""
            while len(got) < len(text):
                part = s.recv(65536)
                if not part:
                    break
                got += part
            out += " " + got.decode()
        print(out)
except socket.timeout:
    print("timeout")
    sys.exit(1)
except OSError as e:
    print(errno.errorcode.get(e.errno, str(e)))
    sys.exit(1)
