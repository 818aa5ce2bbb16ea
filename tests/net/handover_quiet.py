# SPDX-License-Identifier: Apache-2.0
"""handover_quiet.py ROOTS GO MODEL DELAY...: kept HTTP/1.1 connections, each with one request behind it, that say nothing until
DELAY seconds after the file GO is there; then each asks MODEL. A connection that has ended meanwhile is replaced, as clients' pools
do; what was sent is not sent again. A line for each: DELAY STATUS kept|anew, or why there was no answer."""
import os
import select
import socket
import ssl
import sys
import threading
import time

HOST = "api.openai.com"
ROOTS, GO, MODEL = sys.argv[1:4]
TLS = ssl.create_default_context(cafile=ROOTS)
TLS.set_alpn_protocols(["http/1.1"])


def dial():
    return TLS.wrap_socket(socket.create_connection((HOST, 443), timeout=30), server_hostname=HOST)


def more(s):
    got = s.recv(65536)
    if not got:
        raise EOFError("the connection ended without an answer")
    return got


def ask(s, model):
    body = b'{"model":"%s","messages":[{"role":"user","content":"hello"}]}' % model.encode()
    s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nAuthorization: Bearer placeholder\r\n"
              b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    got = b""
    while b"\r\n\r\n" not in got:
        got += more(s)
    head, rest = got.split(b"\r\n\r\n", 1)
    length = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    while len(rest) < length[0]:
        rest += more(s)
    return head.split()[1].decode()


def ended(s):
    return bool(select.select([s], [], [], 0)[0]) and s.recv(1) == b""


def run(delay):
    s = dial()
    assert ask(s, "gpt-4o") == "200"
    open(GO + ".first", "a").write("x")
    while not os.path.exists(GO):
        time.sleep(0.005)
    time.sleep(float(delay))
    how = "kept"
    try:
        if ended(s):
            s, how = dial(), "anew"
        said = ask(s, MODEL)
    except (OSError, EOFError) as e:
        said = str(e) or type(e).__name__
    print(delay, said, how, flush=True)


THREADS = [threading.Thread(target=run, args=(d,)) for d in sys.argv[4:]]
for t in THREADS:
    t.start()
for t in THREADS:
    t.join()
