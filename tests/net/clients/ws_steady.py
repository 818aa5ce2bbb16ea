#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A WebSocket of the Realtime API that is never silent: a ping every 50 ms, and now and then a message in three fragments with a ping
between them. Until a file is there; then it closes as RFC 6455 has it. Prints one JSON object.

Usage: ws_steady.py UNTIL_FILE [FRAGMENTS_EVERY]   ROOTS in the environment
"""
import base64
import json
import os
import socket
import ssl
import struct
import sys
import time

HOST = "api.openai.com"
TEXT, CONTINUED, CLOSE, PING, PONG = 1, 0, 8, 9, 10
until, every = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
out = {"pings": 0, "messages": 0, "close": None}


def frame(opcode, data, fin=True):
    mask = os.urandom(4)
    length = struct.pack("!B", 0x80 | len(data)) if len(data) < 126 else struct.pack("!BH", 0xfe, len(data))
    return bytes([(0x80 if fin else 0) | opcode]) + length + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(data))


class Reader:
    def __init__(self, s):
        self.s, self.data = s, b""

    def take(self, n):
        while len(self.data) < n:
            got = self.s.recv(65536)
            if not got:
                raise ConnectionError("the end came without a close")
            self.data += got
        head, self.data = self.data[:n], self.data[n:]
        return head

    def head(self):
        text = b""
        while b"\r\n\r\n" not in text:
            text += self.take(1)
        return text

    def frame(self):
        first, length = self.take(2)
        if length == 126:
            length = struct.unpack("!H", self.take(2))[0]
        elif length == 127:
            length = struct.unpack("!Q", self.take(8))[0]
        return first & 15, self.take(length)

    def await_(self, opcode, text):
        while True:
            got, data = self.frame()
            if got == opcode and text in data:
                return data


try:
    context = ssl.create_default_context(cafile=os.environ["ROOTS"])
    s = context.wrap_socket(socket.create_connection((HOST, 443), timeout=20), server_hostname=HOST)
    s.sendall((f"GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\nSec-WebSocket-Version: 13\r\n"
               "Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.placeholder\r\n\r\n").encode())
    r = Reader(s)
    head = r.head()
    if b" 101 " not in head.split(b"\r\n")[0]:
        raise ConnectionError(head.split(b"\r\n")[0].decode())
    r.await_(TEXT, b"session.created")
    print(json.dumps({"open": True}), flush=True)
    while not os.path.exists(until):
        number = str(out["pings"]).encode()
        if every and out["pings"] % every == 0:
            message = json.dumps({"type": "session.update", "session": {"n": out["pings"]}}).encode()
            s.sendall(frame(TEXT, message[:7], False))
            s.sendall(frame(PING, number))
            s.sendall(frame(CONTINUED, message[7:20], False))
            s.sendall(frame(CONTINUED, message[20:]))
            r.await_(PONG, number)
            r.await_(TEXT, b"session.updated")
            out["messages"] += 1
        else:
            s.sendall(frame(PING, number))
            r.await_(PONG, number)
        out["pings"] += 1
        time.sleep(0.05)
    s.sendall(frame(CLOSE, struct.pack("!H", 1000)))
    out["close"] = struct.unpack("!H", r.await_(CLOSE, b"")[:2])[0]
except OSError as e:
    out["error"] = f"{type(e).__name__}: {e}"
print(json.dumps(out))
