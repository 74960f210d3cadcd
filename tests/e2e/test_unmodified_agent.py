"""An agent that knows nothing of toolpolicy: urllib, httpx2, and an https tool with a private CA by its own address."""

import contextlib
import datetime as dt
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from localcluster import product
from localcluster.kube import CommandFailed, wait_until
from tests.e2e.world import AGENTS, TOOLS, World
from tests.measured import measured
from toolpolicy_operator.tls.certificates import make_ca, make_leaf

pytestmark = pytest.mark.e2e
HTTPS = "https://billing.demo-tools/v1"
HTTP = "http://kb.demo-tools:8080/api/v1/tickets"

_SERVER = """
import http.server, ssl, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/v1/slow":
            time.sleep(30)
        body = b'{"mail": "jane@example.com"}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer(("", 8443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/tls/tls.crt", "/tls/tls.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""

# The agent's own code: one client, made once, as long-running agents do.
_AGENT = f"""
import httpx2, time
client = httpx2.Client()
while True:
    try:
        print(client.get("{HTTPS}/customers/1").text, flush=True)
    except httpx2.HTTPError as error:
        print("failed:", type(error).__name__, error, flush=True)
    time.sleep(0.5)
"""

_URLLIB = """
import json, sys, time, urllib.error, urllib.request as u
started = time.monotonic()
body = sys.argv[2].encode() if len(sys.argv) > 2 else None
try:
    answer = u.urlopen(u.Request(sys.argv[1], data=body, headers={"Content-Type": "application/json"}), timeout=20)
except urllib.error.HTTPError as error:
    answer = error
print(json.dumps([answer.status, json.loads(answer.read()), time.monotonic() - started]))
"""

# An agent that looks at no environment, and still trusts what that says.
_DIRECT = f"""
import json, os, socket, urllib.request as u
opener = u.build_opener(u.ProxyHandler({{}}))
post = u.Request("{HTTP}", data=b'{{"mail": "bob@example.com"}}', headers={{"Content-Type": "application/json"}})
answers = [opener.open(asked, timeout=20).read().decode() for asked in ("{HTTPS}/customers/1", post)]
api = os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"])
socket.create_connection(api, 10).close()
print(json.dumps(answers))
"""

_POLICY: dict[str, Any] = {
    "apiVersion": "toolpolicy.dev/v1alpha1",
    "kind": "ToolPolicy",
    "metadata": {"name": "unmodified", "namespace": AGENTS},
    "spec": {
        "selector": {"matchLabels": {"app": "unmodified"}},
        "servers": [
            {"name": "billing", "protocol": "HTTP", "url": "https://billing.demo-tools"},
            {"name": "tickets", "protocol": "HTTP", "url": "http://kb.demo-tools:8080/api"},
        ],
        "tools": [
            {"name": "customer", "server": "billing", "match": {"path": "/v1/customers/{id}"}},
            {
                "name": "slow",
                "server": "billing",
                "match": {"path": "/v1/slow"},
                "timeout": {"total": "1s"},
            },
            {"name": "ticket", "server": "tickets", "match": {"path": "/v1/tickets"}},
        ],
        "redaction": {"detectors": ["Email"]},
    },
}


class Got(NamedTuple):
    status: int
    body: Any
    seconds: float


def pod(name: str, namespace: str, code: str, volumes: list[Any], mounts: list[Any]) -> dict[str, Any]:
    container = {
        "name": name,
        "image": "toolpolicy-demo:dev",
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", code],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": mounts,
    }
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "securityContext": security,
            "containers": [container],
            "volumes": volumes,
        },
    }


def objects() -> list[dict[str, Any]]:
    """The policy first, since the agent's pod is to start with it."""
    now = dt.datetime.now(dt.UTC)
    ca = make_ca("a private authority", now)
    leaf = make_leaf(ca, ["billing.demo-tools"], now)
    roots = {"name": "corp-roots", "namespace": AGENTS}
    billing = pod(
        "billing",
        TOOLS,
        _SERVER,
        [{"name": "tls", "secret": {"secretName": "billing-tls"}}],
        [{"name": "tls", "mountPath": "/tls"}],
    )
    agent = pod("unmodified", AGENTS, _AGENT, [], [])
    agent["metadata"]["annotations"] = {"toolpolicy.dev/extra-roots": "corp-roots"}
    return [
        _POLICY,
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": roots,
            "data": {"ca.crt": ca.certificate},
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "billing-tls", "namespace": TOOLS},
            "type": "kubernetes.io/tls",
            "stringData": {"tls.crt": leaf.certificate, "tls.key": leaf.key},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "billing", "namespace": TOOLS},
            "spec": {"selector": {"app": "billing"}, "ports": [{"port": 443, "targetPort": 8443}]},
        },
        billing,
        agent,
    ]


@pytest.fixture(scope="module")
def agent(world: World) -> Iterator[str]:
    made = objects()
    for document in made:
        world.kube.apply(document)
    for name, namespace in (("billing", TOOLS), ("unmodified", AGENTS)):
        world.kube.kubectl(
            "wait", "--for=condition=Ready", f"pod/{name}", "-n", namespace, "--timeout=120s", timeout_s=130
        )
    world.until_programmed("unmodified")
    yield "unmodified"
    for document in reversed(made):
        name, namespace = document["metadata"]["name"], document["metadata"]["namespace"]
        world.kube.kubectl("delete", document["kind"], name, "-n", namespace, "--ignore-not-found")


def fetch(world: World, agent: str, *arguments: str) -> Got:
    return Got(*json.loads(world.execute(agent, "python", "-c", _URLLIB, *arguments, container=agent)))


def test_its_code_has_no_word_of_toolpolicy_and_its_results_are_redacted(world: World, agent: str) -> None:
    def printed() -> str:
        lines = world.kube.kubectl("logs", "-n", AGENTS, agent, "-c", agent, "--tail=1").strip()
        return lines if lines.startswith("{") else ""

    assert json.loads(wait_until(printed, seconds=30, what="the agent's own call was answered")) == {
        "mail": "[redacted:Email]"
    }


def test_an_https_tool_by_its_own_address(world: World, agent: str) -> None:
    got = fetch(world, agent, f"{HTTPS}/customers/1")
    assert (got.status, got.body) == (200, {"mail": "[redacted:Email]"})


def test_a_hanging_https_tool_is_answered_at_its_timeout(world: World, agent: str) -> None:
    got = fetch(world, agent, f"{HTTPS}/slow")
    measured(f"https tool that hangs, timeout 1 s, agent unmodified: answered after {got.seconds:.2f} s")
    assert (got.status, got.body["reason"]) == (504, "TotalTimeout")
    assert got.seconds < 10


def test_an_http_tool_by_its_own_address(world: World, agent: str) -> None:
    world.forget_calls()
    got = fetch(world, agent, HTTP, '{"mail": "bob@example.com"}')
    assert got.status == 201
    assert world.reached("create_ticket") == [{"mail": "[redacted:Email]"}]


def test_kubectl_shows_the_calls(world: World, agent: str) -> None:
    fetch(world, agent, f"{HTTPS}/customers/2")

    def counted() -> bool:
        tool = world.tool("customer", "unmodified")
        return bool(tool and tool.get("calls", 0) >= 1 and tool["state"] == "Closed")

    wait_until(counted, seconds=40, what="the call of the https tool is in the status")


def test_the_api_server_is_not_asked_through_the_proxy(world: World, agent: str) -> None:
    code = "import os; print(os.environ['NO_PROXY'], os.environ['KUBERNETES_SERVICE_HOST'])"
    past, host = world.execute(agent, "python", "-c", code, container=agent).split()
    assert host in past.split(",")


def test_an_agent_that_runs_trusts_a_sidecar_that_was_restarted(world: World, agent: str) -> None:
    def restarts() -> int:
        (status,) = world.kube.get("pods", agent, AGENTS)["status"]["initContainerStatuses"]
        return int(status["restartCount"])

    before = restarts()
    with contextlib.suppress(CommandFailed):  # the container may end first
        world.execute(agent, "python3", "-c", "import os; os.kill(1, 15)", container="toolpolicy")
    wait_until(lambda: restarts() > before, seconds=60, what="the sidecar was restarted")

    def answers() -> bool:
        return "redacted:Email" in world.kube.kubectl("logs", "-n", AGENTS, agent, "-c", agent, "--tail=1")

    wait_until(answers, seconds=60, what="the agent's one client gets answers again")


@pytest.fixture
def led_by_the_kernel(world: World, agent: str) -> Iterator[str]:
    """A second pod, in transparent mode, which Pod Security must let have an init container with NET_ADMIN."""
    enforced = "pod-security.kubernetes.io/enforce"
    world.kube.kubectl("label", "namespace", AGENTS, f"{enforced}=privileged", "--overwrite")
    product.install(world.kube, world.tag, "sidecar.forward.transparent=true")
    made = pod("transparent", AGENTS, "import time; time.sleep(3600)", [], [])
    made["metadata"] |= {
        "labels": {"app": agent},
        "annotations": {"toolpolicy.dev/extra-roots": "corp-roots"},
    }

    def transparent() -> bool:
        """Webhooks of before may still answer for a moment."""
        world.kube.apply(made)
        found = world.kube.get("pods", "transparent", AGENTS)["spec"]["initContainers"]
        if found[0]["name"] == "toolpolicy-redirect":
            return True
        world.kube.kubectl("delete", "pod", "transparent", "-n", AGENTS, "--now")
        return False

    wait_until(transparent, seconds=60, what="new pods are in transparent mode")
    world.kube.kubectl(
        "wait",
        "--for=condition=Ready",
        "pod/transparent",
        "-n",
        AGENTS,
        "--timeout=120s",
        timeout_s=130,
    )
    yield "transparent"
    world.kube.kubectl("delete", "pod", "transparent", "-n", AGENTS, "--now")
    world.kube.kubectl("label", "namespace", AGENTS, f"{enforced}=restricted", "--overwrite")
    product.install(world.kube, world.tag, "sidecar.forward.transparent=false")


def test_an_agent_that_looks_at_no_environment_is_led_by_the_kernel(
    world: World, led_by_the_kernel: str
) -> None:
    world.forget_calls()
    printed = world.execute(led_by_the_kernel, "python", "-c", _DIRECT, container="transparent")
    assert all("[redacted:Email]" in answer for answer in json.loads(printed))
    assert world.reached("create_ticket") == [{"mail": "[redacted:Email]"}]
