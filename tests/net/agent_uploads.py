# SPDX-License-Identifier: Apache-2.0
"""agent_uploads.py COUNT BYTES ROOTS HELD: COUNT uploads over TLS that stop half way. Makes HELD once all stand, and abandons them when it is removed."""
import os
import resource
import socket
import ssl
import sys
import time

count, size, roots, held = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
context = ssl.create_default_context(cafile=roots)
body = b'{"model":"gpt-4o","messages":[' + b" " * (size - 30)
head = (b"POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nAuthorization: Bearer placeholder\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (2 * size))
sockets = []
for _ in range(count):
    s = context.wrap_socket(socket.create_connection(("api.openai.com", 443), timeout=20), server_hostname="api.openai.com")
    s.sendall(head + body)
    sockets.append(s)
open(held, "w").close()
end = time.monotonic() + 60
while os.path.exists(held) and time.monotonic() < end:
    time.sleep(0.05)
