"""A real webhook process with the chart's rights, and the API server that calls it by the chart's rules."""

import base64
import contextlib
import copy
import datetime as dt
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client

from localcluster import binaries
from localcluster.ports import free_port
from tests.corpus.policies import BAD
from toolpolicy_operator.tls.certificates import Pair, make_ca, make_leaf

ROOT = Path(__file__).parents[3]
SYSTEM, INJECTED, LOCKED, PLAIN = "toolpolicy-system", "injected", "injected-restricted", "plain"


def until(probe: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    ends = time.monotonic() + seconds
    while not (found := probe()):
        assert time.monotonic() < ends, f"not within {seconds} s: {what}"
        time.sleep(0.1)
    return found


def pod(name: str = "agent", **spec: Any) -> dict[str, Any]:
    """One that restricted Pod Security admits."""
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {"name": "agent", "image": "agent:1", "securityContext": security}
    return {
        "metadata": {"name": name, "labels": {"app": "agent"}},
        "spec": {"containers": [container], **spec},
    }


def _bad_policy() -> dict[str, Any]:
    """Nobody but the webhook refuses it."""
    made = copy.deepcopy(next(bad for bad in BAD if bad.server_says is None).policy())
    made["metadata"] = {"name": "in-force", "namespace": INJECTED}
    return made


class Webhook:
    """The process and its certificates."""

    def __init__(self, folder: Path, kubeconfig: Path) -> None:
        self._log, self._kubeconfig = folder / "webhook.log", kubeconfig
        self.port, self.health_port = free_port(), free_port()
        self.certificates = folder / "tls"
        self.certificates.mkdir()
        self.ca = self.renew()
        self._process: subprocess.Popen[bytes] | None = None

    def renew(self) -> Pair:
        """A new authority, and a new leaf of it in the folder; returns the authority."""
        now = dt.datetime.now(dt.UTC)
        ca = make_ca("test", now)
        leaf = make_leaf(ca, ["localhost"], now)
        (self.certificates / "tls.key").write_text(leaf.key)
        (self.certificates / "tls.crt").write_text(leaf.certificate)
        return ca

    def start(self) -> None:
        flags = ["--image=toolpolicy:1", "--operator=wss://toolpolicy-operator.toolpolicy-system.svc:443"]
        flags += [f"--certificates={self.certificates}", f"--port={self.port}"]
        flags += [f"--health-port={self.health_port}", '--sidecar-resources={"limits":{"memory":"256Mi"}}']
        command = [sys.executable, "-m", "toolpolicy_api.command", "webhook", *flags]
        environment = {**os.environ, "KUBECONFIG": str(self._kubeconfig)}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        until(self._listens, "the webhook listens")

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.health_port)) == 0

    def stop(self) -> int:
        """The exit code; 0 when it does not run."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(timeout=20)
        self._process = None
        return code

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def post(self, path: str, body: bytes, ca: Pair) -> tuple[int, bytes]:
        """One raw request; status and body of the answer."""
        tls = ssl.create_default_context(cadata=ca.certificate)
        with (
            socket.create_connection(("127.0.0.1", self.port), 10) as raw,
            tls.wrap_socket(raw, server_hostname="localhost") as wrapped,
        ):
            lines = [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json; charset=x"]
            lines += [f"Content-Length: {len(body)}", "Connection: close", "", ""]
            with contextlib.suppress(OSError):  # it may answer, and close, before it has read all
                wrapped.sendall("\r\n".join(lines).encode() + body)
            answer = b""
            with contextlib.suppress(ConnectionResetError, ssl.SSLEOFError):
                while chunk := wrapped.recv(65536):
                    answer += chunk
        head, _, rest = answer.partition(b"\r\n\r\n")
        return int(head.split(b" ", 2)[1]), rest


class World:
    """What the tests ask of the API server."""

    def __init__(self, api: client.ApiClient, webhook: Webhook) -> None:
        self._api, self.webhook = api, webhook
        # Any: the generated types take no plain dictionaries, which is what charts and tests have.
        self.core: Any = client.CoreV1Api(api)
        self._objects: Any = client.CustomObjectsApi(api)
        self.hooks: Any = client.AdmissionregistrationV1Api(api)
        self.rbac: Any = client.RbacAuthorizationV1Api(api)

    def create(
        self, body: dict[str, Any], namespace: str = INJECTED, **how: str
    ) -> tuple[dict[str, Any], str]:
        """The pod as the API server has it, and its warnings. Raises ApiException."""
        made, _, headers = self.core.create_namespaced_pod_with_http_info(namespace, body, **how)
        found: dict[str, Any] = self._api.sanitize_for_serialization(made)
        return found, (headers or {}).get("Warning", "")

    def put(self, policy: dict[str, Any], **how: str) -> str:
        """The warnings of creating it. Raises ApiException."""
        _, _, headers = self._objects.create_namespaced_custom_object_with_http_info(
            "toolpolicy.dev", "v1alpha1", INJECTED, "toolpolicies", policy, **how
        )
        return str((headers or {}).get("Warning", ""))

    def patch(self, name: str, body: dict[str, Any]) -> None:
        self._objects.patch_namespaced_custom_object(
            "toolpolicy.dev", "v1alpha1", INJECTED, "toolpolicies", name, body
        )

    def clear(self) -> None:
        """Pods and policies of the tests are gone."""
        for namespace in (SYSTEM, INJECTED, LOCKED, PLAIN):
            self.core.delete_collection_namespaced_pod(namespace, grace_period_seconds=0)
        self._objects.delete_collection_namespaced_custom_object(
            "toolpolicy.dev", "v1alpha1", INJECTED, "toolpolicies"
        )

    def point(self, ca: Pair) -> None:
        """Both of the chart's webhook configurations, with the process's address in place of the Service's, are in
        force: the API server asks by them a moment after it has taken them."""
        for document in chart():
            if document["kind"] == "MutatingWebhookConfiguration":
                made = self._reachable(document, ca)
                try:
                    self.hooks.create_mutating_webhook_configuration(made)
                except client.ApiException:
                    self.hooks.patch_mutating_webhook_configuration("toolpolicy-injector", made)
            if document["kind"] == "ValidatingWebhookConfiguration":
                made = self._reachable(document, ca)
                try:
                    self.hooks.create_validating_webhook_configuration(made)
                except client.ApiException:
                    self.hooks.patch_validating_webhook_configuration("toolpolicy-validator", made)
        until(self._in_force, "the API server asks the webhook")

    def _in_force(self) -> bool:
        made, _ = self.create(pod("in-force"), dry_run="All")
        try:
            self.put(_bad_policy(), dry_run="All")
        except client.ApiException as refused:
            return refused.status == 422 and "initContainers" in made["spec"]
        return False

    def unpoint(self) -> None:
        with contextlib.suppress(client.ApiException):
            self.hooks.delete_mutating_webhook_configuration("toolpolicy-injector")
        with contextlib.suppress(client.ApiException):
            self.hooks.delete_validating_webhook_configuration("toolpolicy-validator")

    def _reachable(self, configuration: dict[str, Any], ca: Pair) -> dict[str, Any]:
        found = copy.deepcopy(configuration)
        (hook,) = found["webhooks"]
        path = hook["clientConfig"]["service"]["path"]
        bundle = base64.b64encode(ca.certificate.encode()).decode()
        hook["clientConfig"] = {"url": f"https://localhost:{self.webhook.port}{path}", "caBundle": bundle}
        return found


def chart(*values: str) -> list[dict[str, Any]]:
    """As helm renders it."""
    where = [str(ROOT / "charts" / "toolpolicy"), "--namespace", SYSTEM]
    command = [str(binaries.find("helm")), "template", "toolpolicy", *where]
    sets = [part for value in values for part in ("--set", value)]
    done = subprocess.run([*command, *sets], capture_output=True, text=True, check=True)
    return [document for document in yaml.safe_load_all(done.stdout) if document]
