"""Three gateways, three members of etcd, one truth: what is applied is in force everywhere, what is taken away is gone.

    truth.py DIRECTORY      the directory has our programs; prints a JSON object about what was seen
"""

import json
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "bench"))
from client import say  # noqa: E402
from pool import GATEWAYS, HOST, Pool, Stream, own_network, programs, url  # noqa: E402

SYSTEM = "records-sbj"
# No wait of ours is longer. What it took is told, not judged.
DEADLINE_S = 60

NEWCOMER = """
apiVersion: tidegate.dev/v1alpha1
kind: VpnUser
metadata: {name: wumin, namespace: dept-sbj}
spec:
  request: {person: 吴敏, unit: 参保登记科, groups: [sbj/clerks]}
  requestedBy: chen.xia
  state: Active
"""

# What the platform team types, in one breath: the application, the approval by somebody else, and the word that it is in
# force. Rights come from the chart and from the Department.
ONE_BREATH = """
kubectl apply --server-side --filename={newcomer} &&
kubectl patch vu wumin -n dept-sbj --type=merge --as=li.qiang --as-group=sbj-approvers \
    --patch='{{"spec": {{"approval": {{"by": "li.qiang", "reference": "2026-044"}}}}}}' &&
kubectl wait vu wumin -n dept-sbj --for=condition=Propagated --timeout=10s
"""
SUSPEND = """kubectl patch vu wumin -n dept-sbj --type=merge --patch='{"spec": {"state": "Suspended"}}'"""
IN_FORCE = "kubectl wait vu wumin -n dept-sbj --for=condition=Propagated --timeout=10s"


def expect(what, seen, wanted):
    """Ends the test when something else is seen."""
    if seen != wanted:
        raise SystemExit(f"{what}: seen {seen}, wanted {wanted}")


def opens(person):
    """What somebody gets who goes to the system: a status, and who answered."""
    status, _, text = person.go("GET", url(SYSTEM))
    try:
        return status, json.loads(text)["system"]
    except ValueError:
        return status, "login" if 'name="pass"' in text else "gateway"


class Reader(threading.Thread):
    """Reads a stream to its end, and notes when that was."""

    def __init__(self, name, stream):
        super().__init__(daemon=True)
        self.what, self.stream, self.ended = name, stream, None
        self.flows = threading.Event()
        self.start()

    def run(self):
        try:
            while self.stream.read():
                self.flows.set()
        except OSError:
            pass
        self.ended = time.monotonic()


def main():
    binaries = programs("dev")
    own_network()
    with Pool(binaries) as pool:
        pool.begin()
        pool.example()

        newcomer = pool.folder / "newcomer.yaml"
        newcomer.write_text(NEWCOMER)
        began = time.monotonic()
        pool.shell(ONE_BREATH.format(newcomer=newcomer))
        in_force_s = time.monotonic() - began
        say(f"trio: applied, approved and in force on three gateways in {in_force_s:.1f} s")

        first = pool.activated("sbj", "wumin", GATEWAYS[0])
        expect("at the gateway of the login", opens(first), (200, SYSTEM))
        people = [first] + [pool.person(at, first.cookies) for at in GATEWAYS[1:]]
        for person in people[1:]:
            expect(f"the cookie at {person.address}", opens(person), (200, SYSTEM))
            status, at, _ = person.go("GET", f"https://{HOST}/")
            expect(f"the portal at {person.address}", (status, at), (200, f"https://{HOST}/"))
        say("trio: the cookie of one gateway is good at the others")

        readers = []
        for person in people:
            for what, stream in (("download", Stream(person, SYSTEM, "/download")),
                                 ("WebSocket", Stream.websocket(person, SYSTEM))):
                expect(f"{what} at {person.address}", stream.status, 101 if what == "WebSocket" else 200)
                readers.append(Reader(f"{what} at {person.address}", stream))
        for reader in readers:
            expect(f"{reader.what} flows", reader.flows.wait(DEADLINE_S), True)
            expect(f"{reader.what} goes on", reader.ended, None)

        pool.shell(SUSPEND)
        patched = time.monotonic()
        pool.shell(IN_FORCE)
        for person in people:
            status, answered = opens(person)
            expect(f"after the suspension at {person.address}", answered in ("login", "gateway"), True)
        for reader in readers:
            reader.join(DEADLINE_S)
            expect(f"{reader.what} is cut", reader.ended is not None, True)
        cut = sorted((reader.ended - patched) * 1000 for reader in readers)
        say(f"trio: all cut; from the return of kubectl to the last byte {cut[0]:.0f} to {cut[-1]:.0f} ms")
        print(json.dumps({"inForceSeconds": round(in_force_s, 1), "cut": len(cut), "lastCutMs": round(cut[-1])}))


if __name__ == "__main__":
    main()
