# SPDX-License-Identifier: Apache-2.0
"""Raw requests whose end is looked at as the kernel tells it: a FIN and a reset are not the same here, as they are to many HTTP clients.

agent_cut.py READY ROOTS KIND...   KIND: 1.0, 1.1 (a stream by the gateway address, plain), tls (a stream to the provider's name),
                                   wait (no byte of the answer yet), idle (answered, keep-alive)
READY is made once all are under way. Prints a line each: KIND, how it ended (reset, fin, timeout, an error), whether the answer was whole.
"""
import os
import socket
import ssl
import sys
import threading

HOST = "api.openai.com"
ready, roots, kinds = sys.argv[1], sys.argv[2], sys.argv[3:]
context = ssl.create_default_context(cafile=roots)
under_way = threading.Barrier(len(kinds) + 1)


def request(kind):
    model = {"wait": "mock-slow-first-byte-9000", "idle": "gpt-4o"}.get(kind, "mock-slow-stream-300")
    stream = b"" if kind in ("wait", "idle") else b'"stream":true,'
    body = b'{"model":"%s",%s"messages":[{"role":"user","content":"x"}]}' % (model.encode(), stream)
    host = HOST if kind == "tls" else "169.254.77.1"
    version = "1.0" if kind == "1.0" else "1.1"
    head = (f"POST /v1/chat/completions HTTP/{version}\r\nHost: {host}\r\nAuthorization: Bearer placeholder\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n")
    return head.encode() + body


def one(kind, results, index):
    got = b""
    try:
        s = socket.create_connection((HOST, 443) if kind == "tls" else ("169.254.77.1", 80), timeout=20)
        if kind == "tls":
            s = context.wrap_socket(s, server_hostname=HOST)
        s.sendall(request(kind))
        if kind != "wait":
            got = s.recv(65536)
        while kind == "idle" and not got.endswith(b"}"):
            got += s.recv(65536)
        if kind == "tls":  # from here on ciphertext: Python's TLS makes one error of a FIN and a reset
            s = socket.socket(fileno=os.dup(s.fileno()))
            s.settimeout(20)
        under_way.wait()
        while more := s.recv(65536):
            got += more
        end = "fin"
    except ConnectionResetError:
        end = "reset"
    except socket.timeout:
        end = "timeout"
    except (OSError, threading.BrokenBarrierError) as e:
        end = type(e).__name__
        under_way.abort()
    whole = b"[DONE]" in got or kind == "idle" and got.startswith(b"HTTP/1.1 200")
    results[index] = f"{kind} {end} {'whole' if whole else 'cut'}"


results = [""] * len(kinds)
threads = [threading.Thread(target=one, args=(k, results, i)) for i, k in enumerate(kinds)]
for t in threads:
    t.start()
try:
    under_way.wait(20)
    open(ready, "w").close()
except threading.BrokenBarrierError:
    pass
for t in threads:
    t.join()
print("\n".join(results))
