"""What the platform team does to a pool at work: ends one session, changes the keys, and is told what is missing.

    platform.py DIRECTORY      the directory has our programs; prints a JSON object about what was seen
"""

import base64
import http.client
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "bench"))
from client import say  # noqa: E402
from cluster import NAMESPACE, get, metric, until  # noqa: E402
from pool import GATEWAYS, HOST, PASSWORD, Pool, Stream, own_network, programs  # noqa: E402
from truth import DEADLINE_S, SYSTEM, Reader, expect, opens  # noqa: E402

BINDING = "validatingadmissionpolicybinding/approval.vpnusers.tidegate.dev"
COOKIE = "__Host-tidegate"


def kid(sealed):
    """The number of the key that sealed a value: it follows the version."""
    return int.from_bytes(sealed[1:5], "big")


def kid_of_cookie(person):
    value = person.cookies[HOST][COOKIE]
    return kid(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)))


class Admin:
    """The admin API, asked by an account that may list and end sessions."""

    def __init__(self, pool):
        subject = {"kind": "ServiceAccount", "name": "platform", "namespace": NAMESPACE}
        rules = [{"apiGroups": ["tidegate.dev"], "resources": ["sessions"], "verbs": ["list", "delete"]}]
        group, name = "rbac.authorization.k8s.io", {"name": "platform"}
        pool.kubectl("create", "serviceaccount", "platform", "-n", NAMESPACE)
        pool.apply(json.dumps({"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": name, "rules": rules}))
        pool.apply(json.dumps({
            "apiVersion": f"{group}/v1", "kind": "ClusterRoleBinding", "metadata": name, "subjects": [subject],
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "platform"}}))
        self.port = pool.controller_metrics
        self.token = pool.kubectl("create", "token", "platform", "-n", NAMESPACE).strip()

    def ask(self, method, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, path, headers={"Authorization": f"Bearer {self.token}"})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text) if text else None


def ends_a_session(pool, person, admin):
    """DELETE of a session that is in use: the next request is refused at every gateway, what was open is cut."""
    def session():
        status, answer = admin.ask("GET", "/v1/sessions?department=sbj")
        return status == 200 and next((s for s in answer["sessions"] if s["account"] == "sbj/wangfang"), None)

    found = until("the session is reported", DEADLINE_S, session)
    reader = Reader("the download", Stream(person, SYSTEM, "/download"))
    expect("it flows", reader.flows.wait(DEADLINE_S), True)
    status, answer = admin.ask("DELETE", f"/v1/sessions/{found['id']}")
    expect(f"DELETE ({answer})", status in (200, 202, 204), True)
    reader.join(DEADLINE_S)
    expect("the download is cut", reader.ended is not None, True)
    for at in GATEWAYS:
        elsewhere = pool.person(at, person.cookies)
        gone = lambda: opens(elsewhere)[1] in ("login", "gateway")
        until(f"the session is over at {at}", DEADLINE_S, gone)
    page = pool.person(GATEWAYS[1], person.cookies).go("GET", f"https://{HOST}/")[2]
    expect("the reason is shown", "TG-2015" in page, True)
    say("trio: a session ended through the admin API is over at every gateway")
    return status


def changes_keys(pool, before):
    """A new key is added, seals once every gateway has it, and nobody logs in again."""
    expect("sealed with the first key", kid_of_cookie(before), 1)
    pool.kubectl("annotate", "vgw", "main", "-n", NAMESPACE, "tidegate.dev/rotate-keys=2026-11")

    def ring():
        data = json.loads(pool.kubectl("get", "secret", "tidegate-pool-main", "-n", NAMESPACE, "-o", "json"))["data"]
        return sorted(name for name in data if name != "current"), base64.b64decode(data.get("current", "")).decode()

    until("a key is added, and does not seal", DEADLINE_S, lambda: ring() == (["1", "2"], "1"))
    # The kubelet's part. The second time it brings the word that all have it.
    deliver = lambda: pool.secret("tidegate-pool-main", pool.folder / "gateway-keys")
    deliver()
    until("it seals once every gateway has it", DEADLINE_S, lambda: ring() == (["1", "2"], "2"))
    deliver()

    expect("who was logged in goes on", opens(before), (200, SYSTEM))

    def sealed_anew():
        person = pool.person(GATEWAYS[2])
        status, _, _ = person.login(f"https://{HOST}/", "xqrsj", "chenjing", PASSWORD)
        return status == 200 and kid_of_cookie(person) == 2 and person

    person = until("a login is sealed with the new key", DEADLINE_S, sealed_anew)
    for at in GATEWAYS:
        expect(f"and opens at {at}", opens(pool.person(at, person.cookies)), (200, SYSTEM))

    at = pool.secret("tidegate-etcd-client-controller", pool.folder / "etcd-client")
    etcdctl = [pool.programs / "etcdctl", f"--endpoints={','.join(pool.endpoints)}", f"--cacert={at / 'ca.crt'}",
               f"--cert={at / 'tls.crt'}", f"--key={at / 'tls.key'}", "get", "--print-value-only",
               "/tidegate/v1/pools/main/head"]
    head = lambda: kid(subprocess.run(etcdctl, capture_output=True, check=True).stdout)
    until("what is published is sealed with it", DEADLINE_S, lambda: head() == 2)
    pool.shell("""kubectl patch vu zhangwei -n dept-sbj --type=merge --patch='{"spec": {"state": "Suspended"}}' &&
                  kubectl wait vu zhangwei -n dept-sbj --for=condition=Propagated --timeout=30s""")
    say("trio: the pool has another key, and nobody had to log in again")
    return ring()[0]


def is_told_of_gaps(pool):
    """Without the binding of one policy nobody holds four eyes, and the controller says so."""
    gaps = lambda: metric(pool.controller_metrics, "tidegate_controller_admission_gaps")
    until("all policies are in force", DEADLINE_S, lambda: gaps() == 0)
    binding = json.loads(pool.kubectl("get", BINDING, "-o", "json"))
    pool.kubectl("delete", BINDING)
    until("the controller misses one", DEADLINE_S, lambda: gaps() == 1)
    log = (pool.folder / "controller.log").read_text()
    expect("its log names it", "approval.vpnusers.tidegate.dev" in log, True)
    binding["metadata"] = {"name": binding["metadata"]["name"]}
    pool.apply(json.dumps(binding))
    until("and finds it again", DEADLINE_S, lambda: gaps() == 0)
    say("trio: an admission policy that holds no more is told")


def opens_networks(pool):
    """Gateways may reach what departments published, and from a change on that."""
    def networks():
        policy = json.loads(pool.kubectl("get", "networkpolicy", "tidegate-gateway-main", "-n", NAMESPACE, "-o", "json"))
        blocks = [to.get("ipBlock", {}).get("cidr") for rule in policy["spec"]["egress"] for to in rule.get("to", [])]
        return [cidr for cidr in blocks if cidr]

    until("the networks of departments", DEADLINE_S, lambda: "10.20.1.0/24" in networks())
    pool.shell("""kubectl patch dept sbj --type=json \
                  --patch='[{"op": "add", "path": "/spec/networks/-", "value": "10.77.0.0/16"}]'""")
    until("a network that was added", DEADLINE_S, lambda: "10.77.0.0/16" in networks())
    say("trio: the network policy follows the departments")


def main():
    binaries = programs("dev")
    own_network()
    with Pool(binaries) as pool:
        pool.begin()
        pool.example()
        wangfang = pool.activated("sbj", "wangfang", GATEWAYS[0])
        chenjing = pool.activated("xqrsj", "chenjing", GATEWAYS[1])
        for person in (wangfang, chenjing):
            expect("it opens", opens(person), (200, SYSTEM))
        status = ends_a_session(pool, wangfang, Admin(pool))
        opens_networks(pool)
        kids = changes_keys(pool, chenjing)
        is_told_of_gaps(pool)
        for at in GATEWAYS:
            skew = metric(9090, "tidegate_clock_skew_seconds", at)
            expect(f"{at} has the controller's time", skew is not None and abs(skew) <= 5, True)
        expositions = [get(pool.controller_metrics, "/metrics"), get(9090, "/metrics", GATEWAYS[0])]
        print(json.dumps({"deleted": status, "kids": kids, "expositions": expositions}))


if __name__ == "__main__":
    main()
