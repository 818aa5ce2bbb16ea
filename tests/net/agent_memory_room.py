# SPDX-License-Identifier: Apache-2.0
# Connections over HTTP/2 that ask for nothing, as many as there can be. Usage: agent_memory_room.py COUNT ROOTS OUT
# Writes how many stand to OUT once they do, then holds them until OUT is removed.
import os
import socket
import ssl
import sys
import time

count, roots, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = ssl.create_default_context(cafile=roots)
context.set_alpn_protocols(["h2"])
at = socket.getaddrinfo("api.openai.com", 443, socket.AF_INET, socket.SOCK_STREAM)[0][4]
held, refused = [], 0
while len(held) < count and refused < 10:
    try:
        s = context.wrap_socket(socket.create_connection(at, timeout=20), server_hostname="api.openai.com")
        s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"))
        if not s.recv(100):
            raise ConnectionResetError
        held.append(s)
    except OSError:
        refused += 1
with open(out + ".new", "w") as f:
    f.write(f"{len(held)}\n")
os.rename(out + ".new", out)
while os.path.exists(out):
    time.sleep(0.05)
