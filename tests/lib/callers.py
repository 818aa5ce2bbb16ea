#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Services that nobody may be made to call: writes down who called which of them.

Usage: callers.py FILE PORT ADDRESS...   each connection appends "ADDRESS PEER" to FILE and is closed; prints `ready`.
"""
import selectors
import socket
import sys

path, port, addresses = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
selector = selectors.DefaultSelector()
for address in addresses:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    s = socket.socket(family, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    s.bind((address, port))
    s.listen(64)
    selector.register(s, selectors.EVENT_READ, address)
print("ready", flush=True)
while True:
    for key, _ in selector.select():
        connection, peer = key.fileobj.accept()
        with open(path, "a", encoding="ascii") as f:
            f.write(f"{key.data} {peer[0]}\n")
        connection.close()
