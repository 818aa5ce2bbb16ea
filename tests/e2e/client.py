# SPDX-License-Identifier: Apache-2.0
"""What a pod's application does: requests with the key `placeholder`. Python alone, no packages.

  client.py once HOST      one request, no retry; prints STATUS REASON KEY (what the provider saw; `-`: nothing came from it)
  client.py first HOST     from the pod's first moment on, until one is answered, 60 s at most. Exit 0: with the real key; 3: the
                           placeholder came to the provider, so the pod was free
  client.py load HOST      until `stop`, without retries: each second request on a new connection
  client.py stop           ends it;  client.py result: what it counted so far
"""
import http.client
import json
import os
import sys
import time

RESULT, STOP = "/tmp/result.json", "/tmp/stop"
BODY = json.dumps({"model": "e2e-model", "messages": [{"role": "user", "content": "hello"}]})
HEADERS = {"Authorization": "Bearer placeholder", "Content-Type": "application/json"}


def ask(connection):
    connection.request("POST", "/v1/chat/completions", BODY, HEADERS)
    answer = connection.getresponse()
    data = answer.read()
    try:
        seen = json.loads(data).get("system_fingerprint") or "-"
    except (ValueError, AttributeError):
        seen = "-"
    return answer.status, answer.getheader("x-egret-reason") or "-", seen


def once(host):
    return ask(http.client.HTTPConnection(host, timeout=30))


def first(host):
    until = time.monotonic() + 60
    said = "nothing"
    while time.monotonic() < until:
        try:
            said = once(host)
        except OSError as e:
            said = e
        except http.client.HTTPException as e:
            said = repr(e)
        else:
            if said[2] == "placeholder":
                print("free:", *said)
                return 3
            if said[0] == 200 and said[2] == "real":
                print(*said)
                return 0
        time.sleep(0.05)
    print("not answered within 60 s:", said)
    return 1


def load(host):
    total = {"ok": 0, "failed": 0, "first": ""}
    kept = None
    turn = 0
    while True:
        turn += 1
        if kept is None or turn % 2:
            kept = http.client.HTTPConnection(host, timeout=30)
        try:
            said = ask(kept)
            good = said[0] == 200 and said[2] == "real"
        except (OSError, http.client.HTTPException) as e:
            said, good, kept = repr(e), False, None
        total["ok" if good else "failed"] += 1
        if not good and not total["first"]:
            total["first"] = f"{said} at {time.strftime('%H:%M:%S')}"
        stop = os.path.exists(STOP)
        with open(RESULT + ".new", "w") as f:
            json.dump(dict(total, ended=stop), f)
        os.replace(RESULT + ".new", RESULT)
        if stop:
            return 0
        time.sleep(0.01)


what = sys.argv[1]
if what == "once":
    try:
        print(*once(sys.argv[2]))
    except (OSError, http.client.HTTPException) as e:
        print("0", "-", "-", repr(e))
elif what == "first":
    sys.exit(first(sys.argv[2]))
elif what == "load":
    load(sys.argv[2])
    time.sleep(3600)  # its result is read by exec
elif what == "stop":
    open(STOP, "w").close()
elif what == "result":
    print(open(RESULT).read())
