"""A simulated client with many sessions that do nothing: logs people in, connects each, and holds them.

Prints a line when all are logged in and, after a line on standard input, one when all are connected; ends at the next.
"""

import re
import socket
import ssl
import sys

HEAD = (
    "Host: {host}\r\nUser-Agent: Open AnyConnect VPN Agent v9.01-3\r\nX-Aggregate-Auth: 1\r\n"
    "X-Transcend-Version: 1\r\nContent-Type: application/xml; charset=utf-8\r\n"
)


def body(kind, opaque="", **fields):
    texts = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    auth = f"<auth>{texts}</auth>" if texts else ""
    return (f'<?xml version="1.0" encoding="UTF-8"?><config-auth client="vpn" type="{kind}" aggregate-auth-version="2">'
            f'<version who="vpn">v9.01</version>{opaque}{auth}</config-auth>')


class Client:
    def __init__(self, context, host, address, port):
        raw = socket.create_connection((address, port), 30)
        self.tls = context.wrap_socket(raw, server_hostname=host)
        self.host = host

    def post(self, path, text):
        head = f"POST {path} HTTP/1.1\r\n{HEAD.format(host=self.host)}Content-Length: {len(text)}\r\n\r\n"
        self.tls.sendall((head + text).encode())
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.tls.recv(65536)
        head, _, rest = data.partition(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head, re.I)[1])
        while len(rest) < length:
            rest += self.tls.recv(65536)
        return head.decode() + rest.decode()

    def login(self, department, name, code, password):
        """The session of somebody who sets the first password."""
        self.post(f"/{department}", body("init"))
        asked = self.post(f"/{department}", body("auth-reply", username=name, password=code))
        opaque = re.search(r"<opaque.*?</opaque>", asked, re.S)
        opened = self.post(f"/{department}", body("auth-reply", opaque[0] if opaque else "", newpw1=password, newpw2=password))
        found = re.search(r"<session-token>([^<]+)", opened)
        if not found:
            raise SystemExit(f"bench: {name} is not logged in: {opened[-500:]}")
        self.tls.close()
        return found[1]

    def connect(self, cookie):
        """Begins the tunnel."""
        head = (f"CONNECT /CSCOSSLC/tunnel HTTP/1.1\r\nHost: {self.host}\r\nUser-Agent: Open AnyConnect VPN Agent v9.01\r\n"
                f"Cookie: webvpn={cookie}\r\nX-CSTP-Version: 1\r\nX-CSTP-Base-MTU: 1500\r\n"
                "X-CSTP-Address-Type: IPv6,IPv4\r\nX-CSTP-Full-IPv6-Capability: true\r\n\r\n")
        self.tls.sendall(head.encode())
        answer = self.tls.recv(16384)
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise SystemExit(f"bench: no tunnel: {answer[:200]!r}")


def main():
    host, address, port, ca, codes, count = sys.argv[1:]
    context = ssl.create_default_context(cafile=ca)
    new = lambda: Client(context, host, address, int(port))  # noqa: E731
    cookies = []
    for number in range(int(count)):
        name = f"idle{number}"
        with open(f"{codes}/{name}") as code:
            cookies.append(new().login("bench", name, code.read().strip(), "Vf8-kelp-Brine-31"))
    print("logged in", flush=True)
    sys.stdin.readline()
    held = []
    for cookie in cookies:
        client = new()
        client.connect(cookie)
        held.append(client)
    print("connected", flush=True)
    sys.stdin.readline()


main()
