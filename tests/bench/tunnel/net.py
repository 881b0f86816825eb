"""Three network namespaces in a line, client - gateway - server, and the programs that run in them."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

CLIENT, GATEWAY, SERVER = "10.91.0.2", "10.91.0.1", "10.20.9.10"

SCRIPT = """#!/bin/sh
# What a client does with the addresses it is given; names are not asked for here.
case "$reason" in
connect)
    ip link set dev "$TUNDEV" up mtu "$INTERNAL_IP4_MTU"
    ip addr add "$INTERNAL_IP4_ADDRESS/32" dev "$TUNDEV"
    ip route add 10.20.0.0/16 dev "$TUNDEV"
    ip route add 198.18.0.0/16 dev "$TUNDEV"
    ;;
esac
"""


def ip(*words):
    subprocess.run(["ip", *words], check=True)


HERE = pathlib.Path(__file__).resolve().parent


class Net:
    """The namespaces, until the block is left; with a long line between client and gateway if `line` says how long."""

    def __init__(self, folder, line=None):
        self.names = {role: f"tg-{os.getpid()}-{role}" for role in ("client", "path", "gateway", "server")}
        self.line = line
        self.script = folder / "script"
        self.script.write_text(SCRIPT)
        self.script.chmod(0o755)
        self.started = []

    def __enter__(self):
        for name in self.names.values():
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        if self.line:
            self._link("client", CLIENT, "path", None)
            self._link("path", None, "gateway", GATEWAY)
            # Frames as long as the line takes them: segments are cut at the ends, not on the way.
            for role, device in (("client", "to-path"), ("path", "to-client"), ("path", "to-gateway"), ("gateway", "to-path")):
                self.run(role, "ethtool", "-K", device, "tx", "off", "tso", "off", "gso", "off", "gro", "off", stdout=subprocess.DEVNULL)
            self.start("path", sys.executable, HERE / "relay.py", "to-client", "to-gateway", *self.line)
        else:
            self._link("client", CLIENT, "gateway", GATEWAY)
        self._link("gateway", "10.20.9.1", "server", SERVER)
        ip("-n", self.names["server"], "route", "add", "default", "via", "10.20.9.1")
        for setting in ("net.ipv4.ip_forward=1", "net.ipv4.ping_group_range=0 2147483647"):
            self.run("gateway", "sysctl", "-q", "-w", setting)
        return self

    def __exit__(self, *_):
        for process in reversed(self.started):
            stop(process)
        for name in self.names.values():
            subprocess.run(["ip", "netns", "del", name], check=False)

    def _link(self, one, one_address, other, other_address):
        a, b = f"to-{other}", f"to-{one}"
        ip("link", "add", a, "netns", self.names[one], "type", "veth", "peer", "name", b, "netns", self.names[other])
        for role, device, address in ((one, a, one_address), (other, b, other_address)):
            if address:
                ip("-n", self.names[role], "addr", "add", f"{address}/24", "dev", device)
            ip("-n", self.names[role], "link", "set", device, "up")

    def command(self, role, *words):
        return ["ip", "netns", "exec", self.names[role], *map(str, words)]

    def run(self, role, *words, **options):
        return subprocess.run(self.command(role, *words), check=True, **options)

    def start(self, role, *words, **options):
        process = subprocess.Popen(self.command(role, *words), **options)
        self.started.append(process)
        return process


def stop(process, how=signal.SIGTERM):
    if process.poll() is None:
        process.send_signal(how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
    if process.poll() is None:
        process.kill()
        process.wait()


def until(what, probe, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if probe():
            return
        time.sleep(0.1)
    raise SystemExit(f"bench: {what} did not happen in {seconds} s")


def tree(pid):
    """A process and everything below it."""
    children = {}
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError):
            with open(f"/proc/{int(entry)}/stat") as stat:
                parent = int(stat.read().rsplit(")", 1)[1].split()[1])
            children.setdefault(parent, []).append(int(entry))
    found, left = [], [pid]
    while left:
        one = left.pop()
        found.append(one)
        left += children.get(one, [])
    return found
