# SPDX-License-Identifier: Apache-2.0
"""Arguments: root, then HOST PORT pairs. One line each: "HOST accepted" or "HOST refused: why"."""
import socket
import ssl
import sys


def attempt(context, host, port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
            with context.wrap_socket(plain, server_hostname=host) as tls:
                tls.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
                answer = tls.recv(4096)
                return "accepted" if answer.startswith(b"HTTP/1.1 200") else f"broken: {answer!r}"
    except ssl.SSLError as error:
        return f"refused: {error}"


def main():
    context = ssl.create_default_context(cafile=sys.argv[1])
    for host, port in zip(sys.argv[2::2], sys.argv[3::2]):
        print(host, attempt(context, host, int(port)))


main()
