"""The chart as helm renders it: lint, strict schemas of the real API server, and the promises of its parts."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config

from localcluster import binaries

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "toolpolicy"
VARIANTS = {
    "defaults": [],
    "everything": [
        "requireSidecar=true",
        "crds.keep=true",
        "priorityClassName=x",
        "imagePullSecrets[0].name=s",
    ],
    "alone": ["operator.replicas=1", "webhook.replicas=1", "networkPolicy.enabled=false"],
    "cert-manager": ["certManager.enabled=true"],
}


def helm(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(binaries.find("helm")), *arguments], capture_output=True, text=True, check=False
    )


def render(*values: str, release: str = "toolpolicy") -> list[dict[str, Any]]:
    sets = [part for value in values for part in ("--set", value)]
    done = helm("template", release, str(CHART), "--namespace", "toolpolicy-system", *sets)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def of_kind(documents: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [document for document in documents if document["kind"] == kind]


@pytest.fixture(scope="module")
def schemas(control_plane: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """kubeconform's schemas, made from the API server's own OpenAPI document: nothing is downloaded."""
    folder = tmp_path_factory.mktemp("schemas")
    with config.new_client_from_config(str(control_plane)) as api:
        raw = client.CoreV1Api(api).api_client.call_api("GET", api.configuration.host + "/openapi/v2")
        definitions = json.loads(raw.read())["definitions"]
    for definition in definitions.values():
        if "properties" in definition:
            definition.setdefault("additionalProperties", False)
        for field in definition.get("properties", {}).values():
            if field.get("format") == "int-or-string":
                field.pop("type", None)
        if definition.get("format") == "int-or-string":
            definition.pop("type", None)
    (folder / "definitions.json").write_text(json.dumps({"definitions": definitions}), encoding="utf-8")
    for name, definition in definitions.items():
        for kind in definition.get("x-kubernetes-group-version-kind", []):
            group = f"-{kind['group'].split('.')[0]}" if kind["group"] else ""
            path = folder / f"{kind['kind'].lower()}{group}-{kind['version']}.json"
            path.write_text(json.dumps({"$ref": f"definitions.json#/definitions/{name}"}), encoding="utf-8")
    return str(folder / "{{ .ResourceKind }}{{ .KindSuffix }}.json")


def test_lint() -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_object_is_valid_by_the_api_servers_own_schema(variant: str, schemas: str) -> None:
    documents = yaml.safe_dump_all(render(*VARIANTS[variant]))
    command = [str(binaries.find("kubeconform")), "-strict", "-summary", "-schema-location", schemas]
    if variant == "cert-manager":
        command += ["-skip", "Issuer,Certificate"]
    done = subprocess.run(command, input=documents, capture_output=True, text=True, check=False)
    print(done.stdout.strip())
    assert done.returncode == 0, done.stdout


def test_the_crd_in_the_chart_is_the_generated_one() -> None:
    generated = (ROOT / "crds" / "toolpolicies.yaml").read_text(encoding="utf-8")
    assert (CHART / "files" / "toolpolicies.yaml").read_text(encoding="utf-8") == generated, (
        "run: make generate"
    )
    (crd,) = of_kind(render(), "CustomResourceDefinition")
    assert crd["spec"] == yaml.safe_load(generated)["spec"]
    (kept,) = of_kind(render("crds.keep=true"), "CustomResourceDefinition")
    assert kept["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert of_kind(render("crds.enabled=false"), "CustomResourceDefinition") == []


@pytest.mark.parametrize("deployment", ["toolpolicy-operator", "toolpolicy-webhook"])
def test_pods_are_restricted(deployment: str) -> None:
    (found,) = [d for d in of_kind(render(), "Deployment") if d["metadata"]["name"] == deployment]
    pod = found["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
    }
    assert container["resources"]["limits"]["memory"]
    assert container["livenessProbe"]
    assert container["readinessProbe"]


def test_rights_are_the_least() -> None:
    roles = of_kind(render(), "ClusterRole") + of_kind(render(), "Role")
    assert {role["metadata"]["name"] for role in roles} == {"toolpolicy-operator", "toolpolicy-webhook"}
    for role in roles:
        for rule in role["rules"]:
            assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
            if "secrets" in rule["resources"]:
                assert role["kind"] == "Role"
                assert rule["verbs"] == ["create"] or rule["resourceNames"]
    (webhook,) = [role for role in roles if role["metadata"]["name"] == "toolpolicy-webhook"]
    assert webhook["rules"] == [
        {"apiGroups": ["toolpolicy.dev"], "resources": ["toolpolicies"], "verbs": ["list"]}
    ]


def test_admission_stays_out_of_the_way_of_others() -> None:
    documents = render()
    (mutating,) = of_kind(documents, "MutatingWebhookConfiguration")
    (hook,) = mutating["webhooks"]
    assert (hook["failurePolicy"], hook["timeoutSeconds"], hook["reinvocationPolicy"]) == (
        "Ignore",
        3,
        "IfNeeded",
    )
    assert hook["namespaceSelector"]["matchLabels"] == {"toolpolicy.dev/inject": "enabled"}
    (validating,) = of_kind(documents, "ValidatingWebhookConfiguration")
    assert validating["webhooks"][0]["failurePolicy"] == "Fail"
    for configuration in (mutating, validating):
        assert "caBundle" not in configuration["webhooks"][0]["clientConfig"], "the operator puts it in"


@pytest.mark.parametrize(
    "value",
    ["nonsense=1", "image.tga=x", "operator.replicas=0", "sidecar.coldStart=Maybe", "operator.logLevel=loud"],
)
def test_a_wrong_value_is_refused(value: str) -> None:
    done = helm("template", "toolpolicy", str(CHART), "--set", value)
    assert done.returncode != 0
    assert value.split("=", maxsplit=1)[0].rsplit(".", maxsplit=1)[-1] in done.stderr


def test_another_release_name_reaches_every_object() -> None:
    for document in render(release="acme"):
        if document["kind"] != "CustomResourceDefinition":
            assert document["metadata"]["name"].startswith("acme-toolpolicy")


def test_notes_name_the_commands(control_plane: Path) -> None:
    flags = ["--kubeconfig", str(control_plane), "--dry-run=client"]
    done = helm("install", "toolpolicy", str(CHART), "--namespace", "toolpolicy-system", *flags)
    assert "kubectl label namespace NAMESPACE toolpolicy.dev/inject=enabled" in done.stdout, done.stderr
    assert "crds.keep=true" in done.stdout
