"""A browser's worth of client for the benches: cookies by host, forms, redirects, nothing else.

Names below localhost are dialled on the loopback address, as browsers do.
"""

import html
import http.client
import json
import os
import re
import select
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.parse


def say(*words):
    """Progress, on standard error."""
    print(*words, file=sys.stderr, flush=True)


def row(name, value, unit, runs, peer=None, peer_value=None, **more):
    """One figure, as a JSON line on standard output."""
    line = {"name": name, "value": round(value, 4), "unit": unit, "runs": runs}
    if peer is not None:
        line |= {"peer": peer, "peerValue": round(peer_value, 4), "ratio": round(value / peer_value, 3)}
    print(json.dumps(line | more), flush=True)


class Demo:
    """A running `tidegate demo`, or `up` on a folder, until the block is left."""

    def __init__(self, binary, arguments, deadline_s=60):
        self.process = subprocess.Popen([binary, *arguments, "-o", "json"], stdout=subprocess.PIPE, text=True)
        end = time.monotonic() + deadline_s
        line = ""
        while time.monotonic() < end and self.process.poll() is None and not line:
            if select.select([self.process.stdout], [], [], 0.2)[0]:
                line = self.process.stdout.readline()
        if not line:
            self.__exit__()
            raise SystemExit("bench: the program did not become ready")
        self.ready = json.loads(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    @property
    def pid(self):
        return self.process.pid


class Up(Demo):
    """A running `tidegate up` on a folder; its events go to a file."""

    def __init__(self, binary, arguments, events, deadline_s=60):
        with open(events, "w") as sink:
            self.process = subprocess.Popen([binary, "up", *arguments, "-o", "json"], stdout=sink, text=True)
        end = time.monotonic() + deadline_s
        while time.monotonic() < end and self.process.poll() is None:
            with open(events) as lines:
                for line in lines:
                    if line.endswith("\n") and json.loads(line).get("event") == "serving":
                        self.ready = json.loads(line)
                        return
            time.sleep(0.05)
        self.__exit__()
        raise SystemExit("bench: the gateway did not become ready")


class Browser:
    """One person's browser."""

    def __init__(self, ca):
        self.context = ssl.create_default_context(cafile=ca)
        self.cookies = {}

    def connect(self, host, port, timeout=15):
        """A TLS connection to a name that may lie below localhost."""
        address = "127.0.0.1" if host.endswith("localhost") else host
        raw = socket.create_connection((address, port), timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.context.wrap_socket(raw, server_hostname=host)

    def cookie_header(self, host):
        """The cookies this browser sends to a host."""
        return "; ".join(f"{k}={v}" for k, v in self.cookies.get(host, {}).items())

    def request(self, method, url, form=None):
        """One exchange; returns status, headers and body."""
        at = urllib.parse.urlsplit(url)
        connection = http.client.HTTPConnection(at.hostname, at.port or 443)
        connection.sock = self.connect(at.hostname, at.port or 443)
        headers = {"Host": at.netloc, "Accept": "text/html", "Accept-Language": "en", "Sec-Fetch-Mode": "navigate",
                   "Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "same-origin"}
        if cookies := self.cookie_header(at.hostname):
            headers["Cookie"] = cookies
        body = None
        if form is not None:
            body = urllib.parse.urlencode(form)
            headers |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"https://{at.netloc}"}
        target = (at.path or "/") + (f"?{at.query}" if at.query else "")
        connection.request(method, target, body, headers)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        jar = self.cookies.setdefault(at.hostname, {})
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, value = cookie.split(";")[0].split("=", 1)
            if re.search(r"max-age=0\b", cookie, re.I):
                jar.pop(name, None)
            else:
                jar[name] = value
        connection.close()
        return answer.status, answer.headers, text

    def go(self, method, url, form=None, hops=12):
        """Follows redirects, continue pages and waiting pages; returns the last status, address and body."""
        for _ in range(hops):
            status, headers, text = self.request(method, url, form)
            refresh = headers.get("Refresh") or _meta_refresh(text)
            if status in (301, 302, 303, 307, 308):
                url, method, form = urllib.parse.urljoin(url, headers["Location"]), "GET", None
            elif refresh and (target := re.search(r"url=(\S+)", refresh, re.I)):
                url, method, form = urllib.parse.urljoin(url, target[1].strip("\"'")), "GET", None
                time.sleep(0.1)
            else:
                return status, url, text
        raise RuntimeError(f"too many redirects, last {url}")

    def submit(self, url, page, fields):
        """Fills in and sends the page's main form."""
        form = re.search(r'<form class="card.*?</form>', page, re.S)
        if not form:
            raise RuntimeError(f"no form at {url}: {_plain(page)[:300]}")
        values = dict(fields)
        for tag in re.findall(r"<input[^>]*>", form[0]):
            attribute = dict(re.findall(r'(\w+)="([^"]*)"', tag))
            if "name" in attribute and attribute["name"] not in values:
                values[attribute["name"]] = html.unescape(attribute.get("value", ""))
        action = re.search(r'action="([^"]*)"', form[0].split(">")[0] + ">")
        target = urllib.parse.urljoin(url, html.unescape(action[1])) if action else url
        return self.go("POST", target, values)

    def activate(self, address, department, name, code, password):
        """First password by activation code; leaves the person logged in."""
        url = f"{address.rstrip('/')}/{department}/activate"
        status, url, page = self.go("GET", url)
        result = self.submit(url, page, {"user": name, "code": code, "new": password, "again": password})
        if result[0] != 200:
            raise RuntimeError(f"activation answered {result[0]} {_plain(result[2])[:300]}")
        return result

    def login(self, address, department, name, password):
        """A login by password."""
        status, url, page = self.go("GET", f"{address.rstrip('/')}/{department}")
        return self.submit(url, page, {"user": name, "pass": password})


def _meta_refresh(text):
    found = re.search(r'<meta http-equiv="refresh" content="([^"]*)"', text, re.I)
    return html.unescape(found[1]) if found else None


def _plain(page):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page))


def cpu_seconds(pids):
    """User and system time of processes so far, all threads."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def pss_kib(pids):
    """Proportional memory of processes now."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            total += sum(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
    return total
