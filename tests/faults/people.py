"""One person's browser at gateways that come and go: a command per line of standard input, an answer per line of
standard output, both in JSON.

    people.py CA HOST
    {"do": "activate", "at": [ADDRESS, PORT], "department": CODE, "user": NAME, "code": CODE, "password": PASSWORD}
    {"do": "login", "at": ..., "department": ..., "user": ..., "password": ...}
    {"do": "open", "at": ..., "system": NAME}
    {"do": "change", "at": ..., "old": PASSWORD, "new": PASSWORD}
    {"do": "wait", "at": ...}           looks again at what was pending
    {"status": 200, "by": "records-sbj", "code": "", "text": "..."}

`by` is the system that answered; `gateway`, `login` or `pending` for pages of the gateway; `nobody` when there was no
answer.
"""

import json
import os
import re
import socket
import sys
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bench"))
from client import Browser, _meta_refresh, _plain  # noqa: E402

PENDING = "Almost done"
# Longer than a gateway waits for etcd before it goes on alone.
PATIENCE_S = 15


class Person(Browser):
    """A browser for which every name lies at the gateway it was told."""

    def __init__(self, ca, host):
        super().__init__(ca)
        self.portal, self.at = f"https://{host}", None

    def connect(self, host, port, timeout=PATIENCE_S):
        raw = socket.create_connection(tuple(self.at), timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.context.wrap_socket(raw, server_hostname=host)

    def go(self, method, url, form=None, hops=20):
        """As a browser goes, but it does not stay on a page that says that something is pending."""
        for _ in range(hops):
            status, headers, text = self.request(method, url, form)
            refresh = headers.get("Refresh") or _meta_refresh(text)
            if status in (301, 302, 303, 307, 308):
                url, method, form = urllib.parse.urljoin(url, headers["Location"]), "GET", None
            elif refresh and PENDING not in text and (target := re.search(r"url=(\S+)", refresh, re.I)):
                url, method, form = urllib.parse.urljoin(url, target[1].strip("\"'")), "GET", None
                time.sleep(0.1)
            else:
                break
        return status, url, text

    def change(self, old, new):
        """Another password, typed on the page for it."""
        status, url, page = self.go("GET", f"{self.portal}/password")
        # The page has other forms, with tokens of their own.
        form = next((form for form in re.findall(r"<form.*?</form>", page, re.S) if 'name="old"' in form), "")
        token = re.search(r'name="token" value="([^"]*)"', form)
        if not token:
            return status, url, page
        fields = {"old": old, "new": new, "again": new, "token": token[1], "next": ""}
        return self.go("POST", f"{self.portal}/password", fields)

    def activate_with(self, department, user, code, password):
        """The first password."""
        url = f"{self.portal}/{department}/activate"
        status, url, page = self.go("GET", url)
        if status != 200:
            return status, url, page
        return self.submit(url, page, {"user": user, "code": code, "new": password, "again": password})

    def do(self, command):
        """What a command leads to."""
        self.at = command["at"]
        verb = command["do"]
        if verb == "activate":
            return self.activate_with(*[command[key] for key in ("department", "user", "code", "password")])
        if verb == "login":
            return self.login(self.portal, *[command[key] for key in ("department", "user", "password")])
        if verb == "open":
            host = urllib.parse.urlsplit(self.portal).hostname
            return self.go("GET", f"https://{command['system']}.{host}/")
        if verb == "change":
            return self.change(command["old"], command["new"])
        return self.go("GET", f"{self.portal}/wait")


def answer(status, text):
    """What answered."""
    try:
        by = json.loads(text)["system"]
    except (ValueError, KeyError, TypeError):
        by = "pending" if PENDING in text else "login" if 'name="pass"' in text else "gateway"
    code = re.search(r"TG-\d{4}", text)
    return {"status": status, "by": by, "code": code[0] if code else "", "text": _plain(text)[:600]}


person = Person(*sys.argv[1:])
for line in sys.stdin:
    try:
        status, _, text = person.do(json.loads(line))
        said = answer(status, text)
    except (OSError, RuntimeError, ValueError) as error:
        said = {"status": 0, "by": "nobody", "code": "", "text": repr(error)}
    print(json.dumps(said), flush=True)
