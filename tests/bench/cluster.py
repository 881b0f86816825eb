"""A real control plane, an etcd of several members and our programs, on loopback, until the block is left.

Certificates are made with openssl; everything is in one temporary folder.
"""

import base64
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

from client import say

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAMESPACE = "tidegate-system"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:tidegate-controller"


def free_port():
    """A port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(what, deadline_s, ask, pause_s=0.1):
    """Asks until there is an answer that is not false; errors count as none."""
    end, last = time.monotonic() + deadline_s, ""
    while time.monotonic() < end:
        try:
            if answer := ask():
                return answer
        except (OSError, RuntimeError, ValueError, KeyError, http.client.HTTPException) as error:
            last = str(error)
        time.sleep(pause_s)
    raise SystemExit(f"bench: {what}: not within {deadline_s} s; {last[-2000:]}")


class Cluster:
    """The parts, started one by one by whoever needs them."""

    def __init__(self):
        # Whoever ends the bench ends everything it started.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: ended"))
        found = subprocess.run([ROOT / "tests/tools/binaries", "all"], capture_output=True, text=True, check=True)
        self.programs = pathlib.Path(found.stdout.strip().splitlines()[-1])
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="tidegate-bench-"))
        self.processes = []
        self.api_port, self.api_etcd = free_port(), free_port()
        self._authority()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in reversed(self.processes):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if os.environ.get("KEEP"):
            say(f"bench: the folder is kept: {self.folder}")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, name, command, **more):
        """Starts a program whose output goes to <name>.log."""
        with open(self.folder / f"{name}.log", "ab") as log:
            streams = {"stdout": log, "stderr": log, "stdin": subprocess.DEVNULL} | more
            process = subprocess.Popen([str(part) for part in command], **streams)
        self.processes.append(process)
        return process

    # --- Certificates ---

    def _openssl(self, *arguments):
        subprocess.run(["openssl", *[str(part) for part in arguments]], check=True, capture_output=True)

    def _authority(self):
        at = self.folder
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 30,
                      "-subj", "/CN=bench", "-keyout", at / "ca.key", "-out", at / "ca.crt")
        self._openssl("genpkey", "-algorithm", "RSA", "-out", at / "accounts.key")
        self._openssl("pkey", "-in", at / "accounts.key", "-pubout", "-out", at / "accounts.pub")
        self.sign("server", "/CN=kube-apiserver", "IP:127.0.0.1,DNS:localhost")
        self.sign("admin", "/O=system:masters/CN=admin")
        self.sign("controller", f"/O=system:serviceaccounts/CN={ACCOUNT}")

    def sign(self, name, subject, names=None):
        """A certificate, its key, and for clients a kubeconfig."""
        at, extensions = self.folder, self.folder / f"{name}.ext"
        extensions.write_text("extendedKeyUsage=serverAuth,clientAuth\n" + (f"subjectAltName={names}\n" if names else ""))
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject,
                      "-keyout", at / f"{name}.key", "-out", at / f"{name}.csr")
        self._openssl("x509", "-req", "-in", at / f"{name}.csr", "-CA", at / "ca.crt", "-CAkey", at / "ca.key",
                      "-CAcreateserial", "-days", 30, "-extfile", extensions, "-out", at / f"{name}.crt")
        (at / f"{name}.kubeconfig").write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": f"https://127.0.0.1:{self.api_port}",
                                                   "certificate-authority": str(at / "ca.crt")}}],
            "users": [{"name": "c", "user": {"client-certificate": str(at / f"{name}.crt"),
                                             "client-key": str(at / f"{name}.key")}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        }))

    # --- Kubernetes ---

    def start_api_etcd(self):
        """The API server's own etcd."""
        url = f"http://127.0.0.1:{self.api_etcd}"
        self.start("api-etcd", [
            self.programs / "etcd", f"--data-dir={self.folder / 'api-etcd'}", f"--listen-client-urls={url}",
            f"--advertise-client-urls={url}", "--listen-peer-urls=http://127.0.0.1:0", "--unsafe-no-fsync",
            "--log-level=warn", f"--quota-backend-bytes={8 << 30}", "--max-txn-ops=1024", "--max-request-bytes=8388608",
        ])

    def start_api(self):
        """The API server, once its etcd runs."""
        at = self.folder
        self.start("kube-apiserver", [
            self.programs / "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{self.api_etcd}",
            f"--secure-port={self.api_port}", "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none", "--authorization-mode=RBAC", "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={at / 'accounts.pub'}",
            f"--service-account-signing-key-file={at / 'accounts.key'}", f"--client-ca-file={at / 'ca.crt'}",
            f"--tls-cert-file={at / 'server.crt'}", f"--tls-private-key-file={at / 'server.key'}",
            f"--cert-dir={at / 'generated'}",
        ])
        until("the API server is ready", 180, lambda: self.kubectl("get", "--raw", "/readyz"))

    def kubectl(self, *arguments, text=None):
        """kubectl as the administrator."""
        done = subprocess.run(
            [self.programs / "kubectl", *arguments], input=text, text=True, capture_output=True,
            env=os.environ | {"KUBECONFIG": str(self.folder / "admin.kubeconfig"), "HOME": str(self.folder),
                              "PATH": f"{self.programs}:{os.environ['PATH']}"},
        )
        if done.returncode:
            raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def install(self):
        """The chart's objects; nothing runs them, so the programs are started by hand."""
        chart = subprocess.run(
            [self.programs / "helm", "template", "tidegate", ROOT / "charts/tidegate", "--namespace", NAMESPACE,
             "--kube-version", "1.33.0"], capture_output=True, text=True, check=True,
        ).stdout
        self.kubectl("create", "namespace", NAMESPACE)
        self.apply(chart)
        self.kubectl("wait", "--for=condition=Established", "--all", "--timeout=60s", "crd")

    def apply(self, text):
        """Applies objects; new kinds and policies take a moment."""
        flags = ("apply", "--server-side", "--validate=false", "--filename=-")
        until("objects are applied", 60, lambda: self.kubectl(*flags, text=text) or True)

    def secret(self, name, into):
        """The files of a Secret, once it is there."""
        ask = lambda: json.loads(self.kubectl("get", "secret", name, "-n", NAMESPACE, "-o", "json"))
        found = until(f"Secret {name}", 60, ask)
        into.mkdir(parents=True, exist_ok=True)
        for key, value in found["data"].items():
            (into / key).write_bytes(base64.b64decode(value))
        return into

    # --- Our programs, and their etcd ---

    def start_controller(self, binary, members=3, host="localhost"):
        """The controller, which makes what etcd needs."""
        self.etcd_ports = [free_port() for _ in range(members)]
        self.endpoints = [f"https://127.0.0.1:{port}" for port in self.etcd_ports]
        settings = {
            "listen": f"127.0.0.1:{(port := free_port())}", "namespace": NAMESPACE,
            "etcd": {"endpoints": self.endpoints}, "gateway": {"image": "tidegate/gateway:bench"},
            "main": {"hosts": [host], "replicas": 0},
        }
        (self.folder / "controller.yaml").write_text(json.dumps(settings))
        self.controller_metrics = port
        self.controller = self.start("controller", [
            binary, "--config", self.folder / "controller.yaml", "--kubeconfig", self.folder / "controller.kubeconfig",
            "--id", "bench",
        ])
        return self.controller

    def start_etcd(self):
        """Tidegate's etcd: members that take nobody without a certificate, and that wait for the disk."""
        at = self.secret("tidegate-etcd-server", self.folder / "etcd-server")
        peers = [free_port() for _ in self.etcd_ports]
        cluster = ",".join(f"m{n}=http://127.0.0.1:{port}" for n, port in enumerate(peers))
        self.etcds = [self.start(f"etcd-{n}", [
            self.programs / "etcd", f"--name=m{n}", f"--data-dir={self.folder / f'etcd-{n}'}",
            f"--listen-client-urls={endpoint}", f"--advertise-client-urls={endpoint}",
            f"--listen-peer-urls=http://127.0.0.1:{peers[n]}", f"--initial-advertise-peer-urls=http://127.0.0.1:{peers[n]}",
            f"--initial-cluster={cluster}", "--log-level=warn", "--client-cert-auth",
            f"--trusted-ca-file={at / 'ca.crt'}", f"--cert-file={at / 'tls.crt'}", f"--key-file={at / 'tls.key'}",
        ]) for n, endpoint in enumerate(self.endpoints)]

    def start_gateway(self, binary, number, **more):
        """A gateway process, perhaps again; its log says when each generation is in force."""
        at = self.folder / f"gateway-{number}"
        at.mkdir(exist_ok=True)
        etcd = self.secret("tidegate-gateway-main-etcd", self.folder / "gateway-etcd")
        keys = self.secret("tidegate-pool-main", self.folder / "gateway-keys")
        tls = self.secret("tidegate-gateway-main-tls", self.folder / "gateway-tls")
        config = {
            "pool": "main", "id": f"gw-{number}", "host": "localhost", "listen": f"127.0.0.1:{free_port()}",
            "metricsListen": f"127.0.0.1:{free_port()}",
            "etcd": {"endpoints": self.endpoints, "caFile": str(etcd / "ca.crt"),
                     "certificateFile": str(etcd / "tls.crt"), "keyFile": str(etcd / "tls.key")},
            "keysDirectory": str(keys),
            "tls": {"certificateFile": str(tls / "tls.crt"), "keyFile": str(tls / "tls.key")},
            "audit": {"directory": str(at / "audit"), "stdout": False},
        } | more
        (at / "config.json").write_text(json.dumps(config))
        process = self.start(f"gateway-{number}", [binary, "--config", at / "config.json"],
                             env=os.environ | {"RUST_LOG": "warn,tidegate_gateway=debug"})
        address, port = config["metricsListen"].rsplit(":", 1)
        until(f"gateway {number} is ready", 60, lambda: get(int(port), "/readyz", address))
        return process

    def api(self):
        """A connection of the administrator that stays open."""
        return Api(self)


class Api:
    """Requests to the API server on one connection."""

    def __init__(self, cluster):
        context = ssl.create_default_context(cafile=cluster.folder / "ca.crt")
        context.load_cert_chain(cluster.folder / "admin.crt", cluster.folder / "admin.key")
        self.connection = http.client.HTTPSConnection("127.0.0.1", cluster.api_port, context=context, timeout=30)

    def request(self, method, path, body=None, kind="application/json"):
        """One exchange; the object, and the instant the whole answer was there."""
        headers = {"Content-Type": kind, "Accept": "application/json"}
        self.connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self.connection.getresponse()
        text = answer.read()
        at = time.monotonic_ns()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:500]}")
        return json.loads(text), at

    def patch(self, path, body):
        """A merge patch."""
        return self.request("PATCH", path, body, "application/merge-patch+json")


def get(port, path, address="127.0.0.1"):
    """A page of a program's own endpoint; nothing unless it is 200."""
    connection = http.client.HTTPConnection(address, port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode()
        return text if answer.status == 200 else None
    finally:
        connection.close()


def metric(port, name, address="127.0.0.1"):
    """The value of a metric without labels."""
    for line in (get(port, "/metrics", address) or "").splitlines():
        if line.startswith(name + " "):
            return float(line.split()[1])
    return None
