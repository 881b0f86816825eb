"""A pool of three gateways with everything around it: people, a balancer, the systems they work with.

All of it is in a network of its own, with the addresses below on its loopback: nobody outside can reach it, and every
port is the one used in earnest.
"""

import base64
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys

from client import say
from cluster import NAMESPACE, ROOT, Cluster, metric, until

sys.path.insert(0, str(ROOT / "tests/cluster"))
from person import HOST, Person  # noqa: E402

BALANCER = "127.0.0.10"
GATEWAYS = ["127.0.0.11", "127.0.0.12", "127.0.0.13"]
# Where the systems of the example are.
SYSTEMS = {"records-sbj": "10.20.1.10", "archive-sbj": "10.20.1.11", "exchange-rsj": "10.20.2.10"}
PASSWORD = "Salt-on-the-shutters-26"
# Seconds a gateway still accepts after it said that it goes: ten looks of the balancer.
SETTLE_S = 2
LOOK_MS = 200
# How much of a log is worth showing.
TAIL = 2000
# Set in the network that `own_network` made.
INSIDE = "TIDEGATE_OWN_NETWORK"

BALANCER_CONFIG = """
defaults
    mode tcp
    retries 3
    option redispatch 1
    timeout connect 2s
    timeout client 1h
    timeout server 1h
frontend people
    bind {balancer}:443
    default_backend gateways
backend gateways
    balance roundrobin
    source {balancer}
    option httpchk GET /readyz
    http-check expect status 200
    default-server check port 9090 inter {look}ms fall 1 rise 1 send-proxy-v2
{servers}
"""

WEBSOCKET = ("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")


def own_network():
    """Starts this program again, in a network whose loopback has all addresses."""
    if os.environ.get(INSIDE):
        return
    addresses = " ".join([BALANCER, *GATEWAYS, *SYSTEMS.values()])
    enter = f'ip link set lo up && for a in {addresses}; do ip address add $a/32 dev lo; done && exec "$@"'
    rights = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = ["unshare", "--net", *rights, "sh", "-c", enter, "sh", sys.executable, *sys.argv]
    os.execvpe("unshare", command, os.environ | {INSIDE: "1"})


def programs(profile):
    """Where our programs are: where the command line says, else where they are built now."""
    if len(sys.argv) > 1:
        return pathlib.Path(sys.argv[1])
    if not os.environ.get("BUILT") and not os.environ.get(INSIDE):
        say(f"building ({profile})")
        subprocess.run(["cargo", "build", "--quiet", "--profile", profile, "-p", "tidegate-controller", "-p",
                        "tidegate-gateway"], cwd=ROOT, check=True, stdout=sys.stderr)
    return ROOT / "target" / profile.replace("dev", "debug")


class Pool(Cluster):
    """Control plane, three members of etcd, the controller, three gateways, systems; the example is in force."""

    def __init__(self, binaries):
        super().__init__()
        self.binaries, self.gateways = binaries, [None] * len(GATEWAYS)

    def __exit__(self, kind, *more):
        if kind is not None:
            for log in ("controller", *[f"gateway-{n}" for n in range(len(GATEWAYS))]):
                path = self.folder / f"{log}.log"
                say(f"--- the end of {path.name}:\n{path.read_text()[-TAIL:] if path.exists() else 'none'}")
        super().__exit__(kind, *more)

    def begin(self):
        """Starts everything but the balancer."""
        systems = [f"{name}={address}:8080" for name, address in SYSTEMS.items()]
        self.start("systems", [sys.executable, ROOT / "tests/cluster/systems.py", *systems])
        self.start_api_etcd()
        self.start_api()
        self.install()
        self.start_controller(self.binaries / "tidegate-controller", host=HOST)
        self.start_etcd()
        until("a publication", 120, lambda: metric(self.controller_metrics, "tidegate_controller_term"))
        for number in range(len(GATEWAYS)):
            self.start_member(number)
        authority = json.loads(self.kubectl("get", "configmap", "tidegate-gateway-ca", "-n", NAMESPACE, "-o", "json"))
        self.authority = self.folder / "people-ca.crt"
        self.authority.write_text(authority["data"]["ca.crt"])

    def start_member(self, number):
        """Starts a gateway, or starts it again under its name and address."""
        at = GATEWAYS[number]
        self.gateways[number] = self.start_gateway(
            self.binaries / "tidegate-gateway", number, host=HOST, listen=f"{at}:443", metricsListen=f"{at}:9090",
            drain={"settleSeconds": SETTLE_S, "tunnelsSeconds": 2, "requestsSeconds": 5},
            proxyProtocol={"trusted": [f"{BALANCER}/32"]},
        )

    def example(self):
        """The example and its approvals; the rights of approvers follow their departments."""
        until("the example", 90, lambda: self.shell("kubectl apply --server-side -f examples/haikou"))
        until("approvals", 90, lambda: self.shell("examples/haikou/approve.sh"))

    def shell(self, command):
        """A line of the platform team's shell, in the root of the repository; what it prints."""
        environment = {"KUBECONFIG": str(self.folder / "admin.kubeconfig"), "HOME": str(self.folder),
                       "PATH": f"{self.programs}:{os.environ['PATH']}"}
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=ROOT, capture_output=True, text=True,
                              env=os.environ | environment)
        if done.returncode:
            raise RuntimeError(f"{command}: {done.stderr}{done.stdout}")
        return done.stdout

    def start_balancer(self):
        """HAProxy, which asks each gateway whether it is ready and says whose connections it passes on."""
        servers = "\n".join(f"    server gw-{n} {at}:443" for n, at in enumerate(GATEWAYS))
        config = self.folder / "haproxy.cfg"
        config.write_text(BALANCER_CONFIG.format(balancer=BALANCER, look=LOOK_MS, servers=servers))
        self.start("haproxy", [shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin"), "-db", "-f", config])
        until("the balancer", 30, lambda: socket.create_connection((BALANCER, 443), 1).close() or True)

    def person(self, at, cookies=None):
        """A browser that finds everything at an address, with another one's cookies perhaps."""
        person = Person(str(self.authority), at, "")
        person.cookies = json.loads(json.dumps(cookies or {}))
        return person

    def activated(self, department, name, at):
        """A browser in which somebody has just chosen the first password."""
        where = ("get", "secret", f"tidegate-activation-{name}", "-n", f"dept-{department}", "-o", "json")
        secret = until(f"the code of {name}", 60, lambda: json.loads(self.kubectl(*where)))
        code = base64.b64decode(secret["data"]["code"]).decode()
        person = self.person(at)
        person.activate(f"https://{HOST}/", department, name, code, PASSWORD)
        return person


def url(system, path="/"):
    """Where people find a system."""
    return f"https://{system}.{HOST}{path}"


class Stream:
    """An answer that does not end by itself: a download, or a WebSocket."""

    def __init__(self, person, system, path, headers=""):
        host = f"{system}.{HOST}"
        self.socket = person.connect(host, 443, timeout=30)
        request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {person.cookie_header(host)}\r\n{headers}\r\n"
        self.socket.sendall(request.encode())
        self.file = self.socket.makefile("rb")
        line = self.file.readline().split()
        self.status = int(line[1]) if len(line) > 1 else None
        while self.file.readline().strip():
            pass

    @classmethod
    def websocket(cls, person, system):
        """One whose system says something every few moments."""
        return cls(person, system, "/ws", WEBSOCKET)

    def read(self):
        """Bytes, or nothing at the end; a farewell of the WebSocket's other side is followed by that."""
        return self.file.read1(65536)

    def close(self):
        self.file.close()
        self.socket.close()
