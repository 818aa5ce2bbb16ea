# SPDX-License-Identifier: Apache-2.0
"""agent_idle.py URL COUNT BYTES ROOTS OUT: COUNT connections, a request of BYTES on each, all at once; each answer is read. Writes
how many were a 200 to OUT, and leaves the connections open until OUT is removed."""
import os
import resource
import socket
import ssl
import sys
import time
from urllib.parse import urlsplit

url, count, size, roots, out = urlsplit(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
context = ssl.create_default_context(cafile=roots)
body = b'{"model":"gpt-4o","messages":[{"role":"user","content":"%s"}]}' % (b"x" * size)
head = (b"POST /v1/chat/completions HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer placeholder\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (url.hostname.encode(), len(body)))


def connect():
    s = socket.create_connection((url.hostname, url.port or {"http": 80, "https": 443}[url.scheme]), timeout=60)
    return context.wrap_socket(s, server_hostname=url.hostname) if url.scheme == "https" else s


def answer(s):
    got = b""
    while b"\r\n\r\n" not in got:
        more = s.recv(65536)
        if not more:
            return b"nothing"
        got += more
    top, rest = got.split(b"\r\n\r\n", 1)
    length = next(int(line.split(b":")[1]) for line in top.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    while len(rest) < length:
        rest += s.recv(65536)
    return top.split()[1]


sockets = [connect() for _ in range(count)]
for s in sockets:  # all but its end, so that all are at work before the first is done
    s.sendall(head + body[:-1])
for s in sockets:
    s.sendall(body[-1:])
good = sum(answer(s) == b"200" for s in sockets)
with open(out + ".new", "w") as f:
    f.write(f"{good}\n")
os.rename(out + ".new", out)
while os.path.exists(out):
    time.sleep(0.05)
