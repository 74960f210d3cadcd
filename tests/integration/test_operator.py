"""A real operator process against a real API server; the sidecar's part is played by a real WebSocket client."""

import asyncio
import base64
import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from kubernetes import client, config

from localcluster.ports import free_port
from tests.corpus.policies import GOOD
from tests.integration.kinds import serve_policies
from tests.measured import measured
from toolpolicy_api import channel, snapshot

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
SYSTEM, AGENTS = "toolpolicy-system", "agents"


class Operator:
    """One replica."""

    def __init__(self, kubeconfig: Path, name: str, log: Path, *more: str) -> None:
        self.name, self.channel, self._log = name, free_port(), log.open("wb")
        command = [sys.executable, "-m", "toolpolicy_api.command", "operator"]
        flags = [f"--namespace={SYSTEM}", f"--pod={name}", f"--channel-port={self.channel}"]
        self.health = free_port()
        flags += [f"--health-port={self.health}", "--resync=10", "--owner=toolpolicy-operator", *more]
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        self.process = subprocess.Popen(
            [*command, *flags], env=environment, stdout=self._log, stderr=self._log
        )

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.health}/metrics", timeout=5) as answer:
            return str(answer.read(), "utf-8")

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(timeout=20)
        self._log.close()
        return code


class Cluster:
    """What a test asks of the API server."""

    def __init__(self, kubeconfig: Path) -> None:
        self._client = config.new_client_from_config(str(kubeconfig))
        # The client takes mappings for its models, which its annotations do not say.
        self.core: Any = client.CoreV1Api(self._client)
        self.rbac: Any = client.RbacAuthorizationV1Api(self._client)
        self.objects = client.CustomObjectsApi(self._client)
        self.leases = client.CoordinationV1Api(self._client)
        self.extensions: Any = client.ApiextensionsV1Api(self._client)

    def close(self) -> None:
        self._client.close()

    def prepare(self) -> None:
        serve_policies(self._client)
        for name, labels in ((SYSTEM, {}), (AGENTS, {"toolpolicy.dev/inject": "enabled"})):
            with contextlib.suppress(client.ApiException):
                self.core.create_namespace({"metadata": {"name": name, "labels": labels}})
        with contextlib.suppress(client.ApiException):
            self.rbac.create_cluster_role({"metadata": {"name": "toolpolicy-operator"}, "rules": []})
        for name in ("op-a", "op-b"):
            with contextlib.suppress(client.ApiException):  # another module's tests have made it
                self.pod(name, SYSTEM, {})

    def pod(self, name: str, namespace: str = AGENTS, labels: dict[str, str] | None = None) -> None:
        if labels is None:
            labels = {"app": "agent", "toolpolicy.dev/injected": "true"}
        body = {
            "metadata": {"name": name, "labels": labels},
            "spec": {"containers": [{"name": "c", "image": "x"}], "serviceAccountName": "default"},
        }
        with contextlib.suppress(client.ApiException):
            self.core.create_namespaced_service_account(namespace, {"metadata": {"name": "default"}})
        self.core.create_namespaced_pod(namespace, body)

    def token(self, pod: str, audience: str = channel.AUDIENCE, *, bound: bool = True) -> str:
        found = self.core.read_namespaced_pod(pod, AGENTS)
        assert found.metadata
        spec: dict[str, Any] = {"audiences": [audience], "expirationSeconds": 3600}
        if bound:
            spec["boundObjectRef"] = {
                "kind": "Pod",
                "apiVersion": "v1",
                "name": pod,
                "uid": found.metadata.uid,
            }
        made = self.core.create_namespaced_service_account_token("default", AGENTS, {"spec": spec})
        assert made.status
        return str(made.status.token)

    def apply(self, document: dict[str, Any]) -> None:
        arguments = ("toolpolicy.dev", "v1alpha1", AGENTS, "toolpolicies")
        try:
            self.objects.create_namespaced_custom_object(*arguments, document)
        except client.ApiException as error:
            if error.status != 409:
                raise
            self.objects.patch_namespaced_custom_object(*arguments, document["metadata"]["name"], document)

    def status(self, name: str = "agent") -> dict[str, Any]:
        found: Any = self.objects.get_namespaced_custom_object(
            "toolpolicy.dev", "v1alpha1", AGENTS, "toolpolicies", name
        )
        status: dict[str, Any] = found.get("status", {})
        return status

    def condition(self, kind: str, name: str = "agent") -> dict[str, Any]:
        return next((c for c in self.status(name).get("conditions", []) if c["type"] == kind), {})

    def ca(self) -> str:
        data = self.core.read_namespaced_config_map("toolpolicy-bootstrap", AGENTS).data or {}
        return str(data["ca.crt"])


@pytest.fixture(scope="module")
def cluster(control_plane: Path) -> Iterator[Cluster]:
    made = Cluster(control_plane)
    made.prepare()
    yield made
    made.close()


@pytest.fixture
def operator(cluster: Cluster, control_plane: Path, tmp_path: Path) -> Iterator[Operator]:
    started = Operator(control_plane, "op-a", tmp_path / "op-a.log")
    yield started
    started.end()


def policy(**spec: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(GOOD))
    document["metadata"] = {"name": "agent", "namespace": AGENTS}
    document["spec"] |= spec
    return document


async def until(probe: Callable[[], Any], what: str, seconds: float = 20) -> Any:
    ends = time.monotonic() + seconds
    while True:
        try:
            found = await asyncio.to_thread(probe)
        except client.ApiException:
            found = None
        if found:
            return found
        assert time.monotonic() < ends, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.1)


class Sidecar:
    """Speaks the control channel by hand."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.tools: tuple[channel.ToolReport, ...] = ()

    async def send(self, message: channel.FromSidecar) -> None:
        await self.socket.send_str(channel.encode(message).decode())

    async def config(self) -> channel.Config:
        message = await asyncio.wait_for(self.socket.receive(), 10)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        found = channel.decode_from_operator(message.data)
        assert snapshot.sha256(bytes(found.snapshot)) == found.hash
        return found

    async def enforce(self, *policies: str) -> snapshot.Snapshot:
        """These: the operator may not have heard of all of them when it was asked first."""
        while True:
            got = await self.accept()
            found = snapshot.decode_snapshot(bytes(got.snapshot))
            if [each.key for each in found.policies] == list(policies):
                return found

    async def accept(self) -> channel.Config:
        found = await self.config()
        await self.send(channel.Ack(version=found.version, hash=found.hash))
        await self.send(channel.Heartbeat(hash=found.hash, tools=self.tools))
        return found


@contextlib.asynccontextmanager
async def sidecar(cluster: Cluster, operator: Operator, token: str) -> AsyncIterator[Sidecar]:
    ca = await until(cluster.ca, "the bootstrap ConfigMap with the channel's CA")
    tls = ssl.create_default_context(cadata=ca)
    url = f"wss://127.0.0.1:{operator.channel}{channel.PATH}"
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as http:
        ends = time.monotonic() + 20
        while True:
            try:
                socket = await http.ws_connect(
                    url, ssl=tls, server_hostname=f"toolpolicy-operator.{SYSTEM}.svc"
                )
                break
            except aiohttp.ClientConnectorError:
                assert time.monotonic() < ends
                await asyncio.sleep(0.2)
        made = Sidecar(socket)
        await made.send(channel.Hello(version="test"))
        yield made
        await socket.close()


async def test_the_whole_chain(cluster: Cluster, operator: Operator) -> None:
    cluster.apply(policy())
    cluster.pod("one")
    async with sidecar(cluster, operator, cluster.token("one")) as mine:
        enforced = await mine.enforce(f"{AGENTS}/agent")
        programmed = await until(
            lambda: (c := cluster.condition("Programmed")).get("status") == "True" and c, "programmed"
        )
        assert programmed["message"].startswith("1/1 pods enforce ")
        assert cluster.status()["hash"] == snapshot.sha256(snapshot.encode(enforced.policies[0]))

        # A change reaches the sidecar as soon as it is applied.
        started = time.monotonic()
        cluster.apply(policy(defaults={"timeout": {"total": "7s"}}))
        got = await mine.accept()
        measured(f"a change was pushed {time.monotonic() - started:.3f} s after it was applied")
        changed = snapshot.decode_snapshot(bytes(got.snapshot)).policies[0]
        assert changed.servers[0].unlisted.timeouts.total_ms == 7000

        # A transition shows in status and as an Event.
        key = channel.ToolKey(f"{AGENTS}/agent", "kb", "search")
        opened = channel.ToolReport(key=key, state="Open", calls=4, errors=3, reason="3 consecutive failures")
        moved = channel.Transition(
            key=key, before="Closed", after="Open", reason="3 consecutive failures", at_ms=1
        )
        await mine.send(channel.Report(transitions=(moved,), tools=(opened,)))
        await until(lambda: cluster.status().get("open") == "search(1/1)", "the open circuit shows")

        def events() -> list[str]:
            return [event.reason for event in cluster.core.list_namespaced_event(AGENTS).items]

        await until(lambda: "CircuitOpened" in events(), "an Event tells of it")

        # A refused snapshot is visible in Programmed.
        cluster.apply(policy(defaults={"timeout": {"total": "8s"}}))
        got = await mine.config()
        await mine.send(
            channel.Nack(version=got.version, hash=got.hash, error="policies[0]: cannot be enforced here")
        )
        nacked = await until(
            lambda: (c := cluster.condition("Programmed")).get("reason") == "Nacked" and c, "the NACK shows"
        )
        assert "refused by one: policies[0]: cannot be enforced here" in nacked["message"]
        labels = f'policy="{AGENTS}/agent",reason="Nacked",status="False",type="Programmed"'
        wanted = f"toolpolicy_operator_policy_condition{{{labels}}} 1.0"
        await until(lambda: wanted in operator.metrics(), "the operator's metrics tell of it")
    await until(
        lambda: {tool["state"] for tool in cluster.status()["tools"]} == {"Unknown"}, "gone means Unknown"
    )
    cluster.core.delete_namespaced_pod("one", AGENTS, grace_period_seconds=0)


async def test_who_is_no_sidecar_of_this_cluster(cluster: Cluster, operator: Operator) -> None:
    cluster.pod("two")
    good = cluster.token("two")
    async with sidecar(cluster, operator, good) as mine:
        await mine.accept()
    refused = {
        "wrong audience": cluster.token("two", "https://kubernetes.default.svc"),
        "bound to no pod": cluster.token("two", bound=False),
        "forged": good[:-4] + "AAAA",
    }
    tls = ssl.create_default_context(cadata=cluster.ca())
    url = f"https://127.0.0.1:{operator.channel}{channel.PATH}"
    async with aiohttp.ClientSession() as http:
        for name, token in {**refused, "none": ""}.items():
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            async with http.get(
                url, ssl=tls, server_hostname=f"toolpolicy-operator.{SYSTEM}.svc", headers=headers
            ) as response:
                assert response.status == 401, name
                assert token not in await response.text() or not token
    cluster.core.delete_namespaced_pod("two", AGENTS, grace_period_seconds=0)


async def test_a_hostile_frame_costs_only_its_own_connection(cluster: Cluster, operator: Operator) -> None:
    cluster.pod("three")
    token = cluster.token("three")
    async with sidecar(cluster, operator, token) as mine:
        await mine.accept()
        await mine.socket.send_str('{"type":"heartbeat","hash":3}')
        message = await asyncio.wait_for(mine.socket.receive(), 10)
        assert message.type is aiohttp.WSMsgType.CLOSE
    async with sidecar(cluster, operator, token) as mine:
        await mine.accept()
    cluster.core.delete_namespaced_pod("three", AGENTS, grace_period_seconds=0)


async def test_bootstrap_and_secrets_belong_to_the_release(cluster: Cluster, operator: Operator) -> None:
    cluster.apply(policy())
    await until(cluster.ca, "the bootstrap ConfigMap")

    def holds_policy() -> bool:
        data = cluster.core.read_namespaced_config_map("toolpolicy-bootstrap", AGENTS).data or {}
        found = snapshot.decode_bootstrap(data["policies.json"].encode())
        return [each.name for each in found.policies] == ["agent"]

    await until(holds_policy, "the ConfigMap holds the policy")
    role = cluster.rbac.read_cluster_role("toolpolicy-operator")
    assert role.metadata
    owned = [cluster.core.read_namespaced_config_map("toolpolicy-bootstrap", AGENTS).metadata]
    names = ("toolpolicy-ca", "toolpolicy-operator-tls", "toolpolicy-webhook-tls")
    owned += [cluster.core.read_namespaced_secret(name, SYSTEM).metadata for name in names]
    for metadata in owned:
        assert metadata
        assert [owner.uid for owner in metadata.owner_references or []] == [role.metadata.uid]
    # Deleted by hand, it is back with the next full list.
    cluster.core.delete_namespaced_config_map("toolpolicy-bootstrap", AGENTS)
    await until(cluster.ca, "the ConfigMap is back", seconds=30)


async def test_certificates_are_made_once(
    cluster: Cluster, operator: Operator, control_plane: Path, tmp_path: Path
) -> None:
    await until(lambda: holder(cluster) == "op-a", "op-a leads")
    await until(cluster.ca, "the first CA")
    secret = cluster.core.read_namespaced_secret("toolpolicy-ca", SYSTEM).data or {}
    before = base64.b64decode(secret["tls.crt"]).decode()
    assert operator.end() == 0
    again = Operator(control_plane, "op-b", tmp_path / "op-b.log")
    try:
        await until(lambda: holder(cluster) == "op-b", "the other replica leads")
        assert before in cluster.ca()
    finally:
        again.end()


def holder(cluster: Cluster) -> str:
    lease = cluster.leases.read_namespaced_lease("toolpolicy-operator", SYSTEM)
    assert lease.spec
    return lease.spec.holder_identity or ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["TERM", "KILL"])
async def test_the_standby_takes_over(
    cluster: Cluster, operator: Operator, control_plane: Path, tmp_path: Path, number: int
) -> None:
    await until(lambda: holder(cluster) == "op-a", "op-a leads")
    standby = Operator(control_plane, "op-b", tmp_path / "op-b.log")
    try:
        await asyncio.sleep(3)
        assert holder(cluster) == "op-a"
        operator.end(number)
        ended = time.monotonic()
        await until(lambda: holder(cluster) == "op-b", "op-b leads", seconds=30)
        measured(
            f"after {signal.Signals(number).name} the standby led {time.monotonic() - ended:.1f} s later"
        )

        def labels() -> list[str]:
            pods = cluster.core.list_namespaced_pod(SYSTEM, label_selector="toolpolicy.dev/leader=true").items
            return [pod.metadata.name or "" for pod in pods if pod.metadata]

        await until(lambda: labels() == ["op-b"], "the Service's label has moved")
    finally:
        standby.end()


async def test_nobody_waits_for_a_leader_whose_pod_is_gone(
    cluster: Cluster, operator: Operator, control_plane: Path, tmp_path: Path
) -> None:
    await until(lambda: holder(cluster) == "op-a", "op-a leads")
    operator.end(signal.SIGKILL)
    cluster.core.delete_namespaced_pod("op-a", SYSTEM, grace_period_seconds=0)
    gone = time.monotonic()
    successor = Operator(control_plane, "op-b", tmp_path / "op-b.log")
    try:
        await until(lambda: holder(cluster) == "op-b", "op-b leads", seconds=30)
        measured(f"after its pod was deleted a new leader was there {time.monotonic() - gone:.1f} s later")
        log = (tmp_path / "op-b.log").read_text(encoding="utf-8")
        assert "not renewed" not in log
    finally:
        successor.end()
        cluster.pod("op-a", SYSTEM, {})
