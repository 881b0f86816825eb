"""One person's browser, in front of the gateways' Service. What the browser remembers lies in a file between two calls.

    person.py FILE CA ADDRESS activate DEPARTMENT NAME CODE PASSWORD
    person.py FILE CA ADDRESS login DEPARTMENT NAME PASSWORD
    person.py FILE CA ADDRESS open METHOD SYSTEM        prints the status and what answered
    person.py FILE CA ADDRESS work SYSTEM               opens it again and again until standard input ends, and
                                                        prints a JSON object about it
"""

import json
import os
import select
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bench"))
from client import Browser  # noqa: E402

HOST = "vpn.haikou.example"
# Between two requests of somebody at work. There is no people this quick, but it is quick that finds gaps.
PAUSE_S = 0.02


class Person(Browser):
    """A browser for which every name lies at one address."""

    def __init__(self, ca, address, file):
        super().__init__(ca)
        self.address, self.file = address, file
        if os.path.exists(file):
            with open(file) as jar:
                self.cookies = json.load(jar)

    def connect(self, host, port, timeout=15):
        raw = socket.create_connection((self.address, port), timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.context.wrap_socket(raw, server_hostname=host)

    def save(self):
        with open(self.file, "w") as jar:
            json.dump(self.cookies, jar)


def what(status, url, text):
    """What answered: a system by its name, or the gateway."""
    try:
        return status, json.loads(text)["system"]
    except (ValueError, KeyError, TypeError):
        return status, "login" if 'name="pass"' in text else "gateway"


def work(person, url):
    """How often it was let in, had to log in again, or met nobody; and the longest time without an answer."""
    counts = {"opened": 0, "logins": 0, "refused": 0, "unreachable": 0}
    last, gap, said = time.monotonic(), 0.0, None
    while not select.select([sys.stdin], [], [], PAUSE_S)[0]:
        try:
            status, answered = what(*person.go("GET", url))
        except OSError as error:
            counts["unreachable"] += 1
            said = repr(error)
            continue
        now = time.monotonic()
        if status == 200 and answered not in ("login", "gateway"):
            counts["opened"] += 1
            gap, last = max(gap, now - last), now
        elif answered == "login" or status == 401:
            counts["logins"] += 1
        else:
            counts["refused"] += 1
            said = f"{status} {answered}"
    return counts | {"gap_ms": round(gap * 1000), "last_trouble": said}


def main(file, ca, address, verb, *rest):
    person = Person(ca, address, file)
    portal = f"https://{HOST}/"
    if verb == "activate":
        person.activate(portal, *rest)
    elif verb == "login":
        status, url, text = person.login(portal, *rest)
        print(*what(status, url, text))
    elif verb == "open":
        method, system = rest
        url = f"https://{system}.{HOST}/"
        # The first visit to a system goes by the portal, which only a visit with GET does.
        first = what(*person.go("GET", url))
        print(*(first if method == "GET" else what(*person.go(method, url))))
    elif verb == "work":
        print(json.dumps(work(person, f"https://{rest[0]}.{HOST}/")))
    person.save()


if __name__ == "__main__":
    main(*sys.argv[1:])
