"""A release's life at a real API server, and the operator with the chart's flags, names and rights alone."""

import base64
import contextlib
import copy
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import localcluster
from localcluster.kube import CommandFailed, Kube
from localcluster.ports import free_port
from tests.corpus.policies import GOOD
from tests.integration.foreign_kinds import of_prometheus

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
RELEASE, SYSTEM, AGENTS = "acme", "acme-system", "acme-agents"
NAME = "acme-toolpolicy"
HOOKS = (
    f"mutatingwebhookconfigurations/{NAME}-injector",
    f"validatingwebhookconfigurations/{NAME}-validator",
)


@pytest.fixture(scope="module")
def kube() -> Iterator[Kube]:
    """A control plane of its own: the release brings the CRD and takes it along."""
    with localcluster.control_plane() as made:
        for name, labels in ((SYSTEM, {}), (AGENTS, {"toolpolicy.dev/inject": "enabled"})):
            made.apply(
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
            )
        yield made


def until(probe: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    ends = time.monotonic() + seconds
    while True:
        with contextlib.suppress(CommandFailed):
            if found := probe():
                return found
        assert time.monotonic() < ends, f"not within {seconds} s: {what}"
        time.sleep(0.2)


def helm(kube: Kube, verb: str, *arguments: str) -> str:
    return kube.helm(verb, RELEASE, *arguments, "--namespace", SYSTEM)


def bundles(kube: Kube) -> list[str]:
    return [
        hook["clientConfig"].get("caBundle", "")
        for name in HOOKS
        for hook in kube.get(*name.split("/"))["webhooks"]
    ]


@contextlib.contextmanager
def operator(kube: Kube, folder: Path) -> Iterator[Path]:
    """The process that a node would start; yields its log."""
    deployment = kube.get("deployment", f"{NAME}-operator", SYSTEM)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    pods = until(
        lambda: kube.get("pods", namespace=SYSTEM, selector="app.kubernetes.io/component=operator"), "pods"
    )
    account = deployment["spec"]["template"]["spec"]["serviceAccountName"]
    token = kube.kubectl("create", "token", account, "-n", SYSTEM).strip()
    found = yaml.safe_load(kube.kubeconfig.read_text(encoding="utf-8"))
    found["users"] = [{"name": found["users"][0]["name"], "user": {"token": token}}]
    kubeconfig, log = folder / "operator.conf", folder / "operator.log"
    kubeconfig.write_text(yaml.safe_dump(found), encoding="utf-8")
    environment = {
        **os.environ,
        "KUBECONFIG": str(kubeconfig),
        "TOOLPOLICY_NAMESPACE": SYSTEM,
        "TOOLPOLICY_POD": pods[0]["metadata"]["name"],
    }
    ports = [f"--channel-port={free_port()}", f"--health-port={free_port()}"]
    command = [sys.executable, "-m", "toolpolicy_api.command", *container["args"], *ports]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        yield log
        assert process.poll() is None, log.read_text(encoding="utf-8")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)


def left(kube: Kube) -> list[str]:
    """All that the release or its operator has made, and is still there."""
    kinds = (
        "mutatingwebhookconfigurations,validatingwebhookconfigurations,clusterroles,clusterrolebindings,"
        "customresourcedefinitions,configmaps,secrets,leases,roles,rolebindings,services,deployments,"
        "serviceaccounts,networkpolicies,poddisruptionbudgets,pods,prometheusrules"
    )
    found = json.loads(kube.kubectl("get", kinds, "-A", "-o", "json"))["items"]
    names = [f"{each['kind']}/{each['metadata']['name']}" for each in found]
    return [name for name in names if "toolpolic" in name]


CHART = str(ROOT / "charts" / "toolpolicy")
# The webhook that would say yes has no node to run on here.
NO_VALIDATOR = ("--set", "webhook.validator.failurePolicy=Ignore")


def put_policy(kube: Kube) -> dict[str, Any]:
    policy = copy.deepcopy(GOOD)
    policy["metadata"] = {"name": "agent", "namespace": AGENTS}
    policy["spec"]["tools"][0]["slo"] = {"availability": 99.5, "window": "30d"}
    until(lambda: kube.apply(policy), "the policy is taken")
    return policy


@pytest.mark.timeout(300)
def test_the_operator_needs_no_other_rights_and_nothing_of_it_stays(kube: Kube, tmp_path: Path) -> None:
    kube.apply(of_prometheus("prometheusrules"))
    helm(
        kube,
        "install",
        CHART,
        *NO_VALIDATOR,
        "--set",
        "prometheusRule.enabled=true,prometheusRule.labels.a=b",
    )
    put_policy(kube)
    with operator(kube, tmp_path) as log:
        until(lambda: all(bundles(kube)), "the CA is in both webhook configurations")
        until(lambda: kube.get("configmap", "toolpolicy-bootstrap", AGENTS), "the bootstrap ConfigMap")
        until(lambda: kube.get("toolpolicy", "agent", AGENTS)["status"]["conditions"], "the status")
        until(lambda: kube.get("pods", namespace=SYSTEM, selector="toolpolicy.dev/leader=true"), "the label")
        until(lambda: kube.get("prometheusrules", "toolpolicy-agent", AGENTS), "the policy's alerts")
        made = {name.rpartition("/")[2] for name in left(kube)}
        secrets = {f"{NAME}-{what}" for what in ("ca", "operator-tls", "webhook-tls")}
        assert {f"{NAME}-operator", "toolpolicy-bootstrap"} | secrets <= made
    said = log.read_text(encoding="utf-8")
    assert "forbidden" not in said.lower(), said
    assert '"level": "error"' not in said, said
    helm(kube, "uninstall", "--wait")
    # The garbage collector looks for new kinds, such as this test's PrometheusRule, twice a minute.
    until(lambda: not left(kube), "nothing is left", seconds=150)


@pytest.mark.parametrize("server_side", ["true", "false"], ids=["server-side apply", "three-way merge"])
def test_upgrade_and_rollback_keep_the_ca_bundle(kube: Kube, server_side: str) -> None:
    """Helm 4 applies at the server; helm 3, and helm 4 when told, merges three ways."""
    helm(kube, "install", CHART, f"--server-side={server_side}")
    assert bundles(kube) == ["", ""]
    for name in HOOKS:  # as the operator does
        step = {"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": kube_ca(kube)}
        kube.kubectl("patch", name, "--type=json", "-p", json.dumps([step]))
    patched = bundles(kube)
    assert all(patched)
    helm(kube, "upgrade", CHART, "--set", "webhook.injector.timeoutSeconds=5")
    assert kube.get(*HOOKS[0].split("/"))["webhooks"][0]["timeoutSeconds"] == 5
    assert bundles(kube) == patched, "after an upgrade"
    helm(kube, "rollback", "1")
    assert kube.get(*HOOKS[0].split("/"))["webhooks"][0]["timeoutSeconds"] == 3
    assert bundles(kube) == patched, "after a rollback"
    helm(kube, "uninstall", "--wait")


def kube_ca(kube: Kube) -> str:
    """Some certificate; base64."""
    found = yaml.safe_load(kube.kubeconfig.read_text(encoding="utf-8"))["clusters"][0]["cluster"]
    data: str = (
        found.get("certificate-authority-data")
        or base64.b64encode(Path(found["certificate-authority"]).read_bytes()).decode()
    )
    return data


def test_crds_keep_lets_policies_outlive_the_release(kube: Kube) -> None:
    values = (*NO_VALIDATOR, "--set", "crds.keep=true")
    helm(kube, "install", CHART, *values)
    policy = put_policy(kube)
    helm(kube, "uninstall", "--wait")
    assert kube.get("toolpolicy", "agent", AGENTS)["spec"]["tools"] == policy["spec"]["tools"]
    helm(kube, "install", CHART, *values)
    helm(kube, "uninstall", "--wait")
    kube.kubectl("delete", "crd", "toolpolicies.toolpolicy.dev")
