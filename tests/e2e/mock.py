# SPDX-License-Identifier: Apache-2.0
"""An OpenAI-like provider that tells which kind of key came with a request, never the key. Python alone, no packages.

  KEY=... mock.py PORT     serves; GET /e2e/counts (to this pod itself only) has how many came with which kind of key
  mock.py counts PORT      prints these counts
"""
import http.server
import json
import os
import sys
import threading
import urllib.request

COUNTS = {"real": 0, "placeholder": 0, "other": 0}
LOCK = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, body):
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if self.path == "/e2e/counts" and self.client_address[0] == "127.0.0.1":
            with LOCK:
                self.answer(COUNTS)
        else:
            self.answer({})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        key = self.headers.get("Authorization", "")
        seen = "real" if key == "Bearer " + os.environ["KEY"] else "placeholder" if key == "Bearer placeholder" else "other"
        with LOCK:
            COUNTS[seen] += 1
        self.answer({"id": "e2e", "object": "chat.completion", "created": 1, "model": asked.get("model", ""), "system_fingerprint": seen,
                     "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "ok"}}],
                     "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}})

    def log_message(self, *what):
        pass


if sys.argv[1] == "counts":
    print(urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[2]}/e2e/counts", timeout=10).read().decode())
else:
    http.server.ThreadingHTTPServer(("", int(sys.argv[1])), Handler).serve_forever()
