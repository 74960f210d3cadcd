"""The chart as helm renders it: lint, strict schemas of the real API server, and the promises of its parts."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config

from localcluster import binaries
from tests.integration.foreign_kinds import of_prometheus

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "toolpolicy"
VARIANTS = {
    "defaults": [],
    "everything": [
        "requireSidecar=true",
        "sidecar.forward.noProxy={metadata.google.internal,10.0.0.0/8}",
        "sidecar.forward.interceptDomains={svc,corp.example}",
        "sidecar.extraRoots=corp-roots",
        "sidecar.forward.transparent=true",
        "crds.keep=true",
        "certManager.enabled=true",
        "certManager.issuerRef.name=mine",
        "podMonitor.enabled=true",
        "podMonitor.labels.release=prometheus",
        "dashboards.enabled=true",
        "prometheusRule.enabled=true",
        "prometheusRule.labels.release=prometheus",
        "podAnnotations.a=b",
        "priorityClassName=x",
        "imagePullSecrets[0].name=s",
        "nodeSelector.disk=ssd",
        "tolerations[0].operator=Exists",
        "fullnameOverride=acme",
        f"image.digest=sha256:{'a' * 64}",
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
    """kubeconform's schemas, made from the API server's own OpenAPI document, and the Prometheus operator's kinds."""
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
    for plural in ("podmonitors", "prometheusrules"):
        definition = of_prometheus(plural)["spec"]
        (version,) = definition["versions"]
        path = folder / f"{definition['names']['singular']}-monitoring-{version['name']}.json"
        path.write_text(json.dumps(closed(version["schema"]["openAPIV3Schema"])), encoding="utf-8")
    return str(folder / "{{ .ResourceKind }}{{ .KindSuffix }}.json")


def closed(schema: Any) -> Any:
    """Nothing but what it names."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    more = {"additionalProperties": False} if isinstance(schema.get("properties"), dict) else {}
    return {name: closed(value) for name, value in schema.items()} | more


def test_lint() -> None:
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout


def kubeconform(documents: list[dict[str, Any]], schemas: str) -> "subprocess.CompletedProcess[str]":
    # Nobody here knows a schema of cert-manager's.
    skipped = "Issuer,Certificate"
    flags = ["-strict", "-summary", "-schema-location", schemas, "-skip", skipped]
    return subprocess.run(
        [str(binaries.find("kubeconform")), *flags],
        input=yaml.safe_dump_all(documents),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_object_is_valid_by_the_api_servers_own_schema(variant: str, schemas: str) -> None:
    done = kubeconform(render(*VARIANTS[variant]), schemas)
    print(done.stdout.strip())
    assert done.returncode == 0, done.stdout


def test_the_schemas_find_a_misspelt_field(schemas: str) -> None:
    (deployment, *_) = of_kind(render(), "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    assert "readynessProbe" in kubeconform([deployment], schemas).stdout
    (rule,) = of_kind(render("prometheusRule.enabled=true"), "PrometheusRule")
    rule["spec"]["groups"][0]["rules"][0] |= {"fro": "5m", "for": "soon"}
    said = kubeconform([rule], schemas).stdout
    assert "fro" in said
    assert "'/spec/groups/0/rules/0/for'" in said


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


@pytest.mark.parametrize("component", ["operator", "webhook"])
def test_pods_are_restricted(component: str) -> None:
    (found,) = [
        deployment
        for deployment in of_kind(render(), "Deployment")
        if deployment["metadata"]["name"] == f"toolpolicy-{component}"
    ]
    pod = found["spec"]["template"]["spec"]
    assert pod["securityContext"] == {
        "fsGroup": 65532,
        "runAsGroup": 65532,
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod["enableServiceLinks"] is False, "a Service named toolpolicy would set TOOLPOLICY_PORT"
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
    }
    assert container["resources"]["limits"]["memory"]
    assert container["resources"]["requests"]
    assert container["livenessProbe"]
    assert container["readinessProbe"]


def test_two_of_each_and_one_always_stays() -> None:
    documents = render()
    for deployment in of_kind(documents, "Deployment"):
        assert deployment["spec"]["replicas"] == 2
        name = deployment["metadata"]["name"]
        (budget,) = [b for b in of_kind(documents, "PodDisruptionBudget") if b["metadata"]["name"] == name]
        assert budget["spec"] == {
            "minAvailable": 1,
            "selector": {"matchLabels": deployment["spec"]["selector"]["matchLabels"]},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        }
    assert of_kind(render(*VARIANTS["alone"]), "PodDisruptionBudget") == [], (
        "it would keep nodes from draining"
    )


def test_every_component_reads_its_own_account_and_is_reached_on_its_ports_only() -> None:
    documents = render()
    for component in ("operator", "webhook"):
        name = f"toolpolicy-{component}"
        by_kind = {
            kind: next(d for d in of_kind(documents, kind) if d["metadata"]["name"] == name)
            for kind in ("Deployment", "Service", "NetworkPolicy", "ServiceAccount")
        }
        template = by_kind["Deployment"]["spec"]["template"]
        selector = by_kind["Deployment"]["spec"]["selector"]["matchLabels"]
        assert selector.items() <= template["metadata"]["labels"].items()
        assert selector.items() <= by_kind["Service"]["spec"]["selector"].items()
        assert template["spec"]["serviceAccountName"] == name
        assert by_kind["ServiceAccount"]["automountServiceAccountToken"] is False
        assert by_kind["NetworkPolicy"]["spec"] == {
            "podSelector": {"matchLabels": selector},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"port": 8443, "protocol": "TCP"}, {"port": 9090, "protocol": "TCP"}]}],
        }
        ports = {port["containerPort"] for port in template["spec"]["containers"][0]["ports"]}
        assert ports == {8443, 9090}
    leader = next(s for s in of_kind(documents, "Service") if s["metadata"]["name"] == "toolpolicy-operator")
    assert leader["spec"]["selector"]["toolpolicy.dev/leader"] == "true"


def rules(*values: str) -> dict[str, list[tuple[str, str, tuple[str, ...], str]]]:
    """`Kind/name` → (group, resource, names, verbs) of each rule."""
    documents = render(*values)
    return {
        f"{role['kind']}/{role['metadata']['name']}": [
            (group, resource, tuple(rule.get("resourceNames", ())), " ".join(rule["verbs"]))
            for rule in role["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
        ]
        for role in of_kind(documents, "ClusterRole") + of_kind(documents, "Role")
    }


# That these suffice is shown by test_chart_rights.py, and on a real node.
CLUSTER_RIGHTS = [
    ("toolpolicy.dev", "toolpolicies", (), "list watch"),
    ("toolpolicy.dev", "toolpolicies/status", (), "patch"),
    ("", "pods", (), "get list watch"),
    ("", "namespaces", (), "list watch"),
    ("", "configmaps", (), "create"),
    ("", "configmaps", ("toolpolicy-bootstrap", "toolpolicy-budgets"), "get list patch delete"),
    ("", "events", (), "get create patch"),
    ("authentication.k8s.io", "tokenreviews", (), "create"),
    ("apiextensions.k8s.io", "customresourcedefinitions", ("toolpolicies.toolpolicy.dev",), "get"),
    ("rbac.authorization.k8s.io", "clusterroles", ("toolpolicy-operator",), "get"),
]
BUNDLE_RIGHTS = [
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations", ("toolpolicy-injector",), "get patch"),
    (
        "admissionregistration.k8s.io",
        "validatingwebhookconfigurations",
        ("toolpolicy-validator",),
        "get patch",
    ),
]
OWN_NAMESPACE_RIGHTS = [
    ("coordination.k8s.io", "leases", (), "create"),
    ("coordination.k8s.io", "leases", ("toolpolicy-operator",), "get update"),
    ("", "pods", (), "patch"),
]
SECRETS = ("toolpolicy-ca", "toolpolicy-operator-tls", "toolpolicy-webhook-tls")


def test_rights_are_the_least() -> None:
    webhook = [("toolpolicy.dev", "toolpolicies", (), "list")]
    assert rules() == {
        "ClusterRole/toolpolicy-operator": CLUSTER_RIGHTS + BUNDLE_RIGHTS,
        "Role/toolpolicy-operator": [
            *OWN_NAMESPACE_RIGHTS,
            ("", "secrets", (), "create"),
            ("", "secrets", SECRETS, "get patch"),
        ],
        "ClusterRole/toolpolicy-webhook": webhook,
    }
    assert rules("prometheusRule.enabled=true", "prometheusRule.perPolicy=false") == rules()
    rule_right = ("monitoring.coreos.com", "prometheusrules", (), "get list create patch delete")
    with_rules = [*CLUSTER_RIGHTS, rule_right, *BUNDLE_RIGHTS]
    assert rules("prometheusRule.enabled=true")["ClusterRole/toolpolicy-operator"] == with_rules
    assert rules("certManager.enabled=true") == {
        "ClusterRole/toolpolicy-operator": CLUSTER_RIGHTS,
        "Role/toolpolicy-operator": [
            *OWN_NAMESPACE_RIGHTS,
            ("", "secrets", ("toolpolicy-operator-tls",), "get"),
        ],
        "ClusterRole/toolpolicy-webhook": webhook,
    }


INJECTED = {
    "namespaceSelector": {
        "matchLabels": {"toolpolicy.dev/inject": "enabled"},
        "matchExpressions": [
            {
                "key": "kubernetes.io/metadata.name",
                "operator": "NotIn",
                "values": ["kube-system", "toolpolicy-system"],
            }
        ],
    },
    "objectSelector": {
        "matchExpressions": [{"key": "toolpolicy.dev/inject", "operator": "NotIn", "values": ["disabled"]}]
    },
}


def test_admission_stays_out_of_the_way_of_others() -> None:
    """Whole: with a caBundle in it, each upgrade would undo what the operator has put in."""
    documents = render("requireSidecar=true")
    (mutating,) = of_kind(documents, "MutatingWebhookConfiguration")
    service = {"name": "toolpolicy-webhook", "namespace": "toolpolicy-system", "port": 443}
    assert mutating["webhooks"] == [
        {
            "name": "inject.toolpolicy.dev",
            "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {**service, "path": "/inject"}},
            "failurePolicy": "Ignore",
            "reinvocationPolicy": "IfNeeded",
            "sideEffects": "None",
            "timeoutSeconds": 3,
            "rules": [
                {
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE"],
                    "resources": ["pods"],
                    "scope": "Namespaced",
                }
            ],
            **INJECTED,
        }
    ]
    (validating,) = of_kind(documents, "ValidatingWebhookConfiguration")
    (hook,) = validating["webhooks"]
    assert hook["clientConfig"] == {"service": {**service, "path": "/validate"}}
    assert (hook["failurePolicy"], hook["timeoutSeconds"], hook["sideEffects"]) == ("Fail", 5, "None")
    (required,) = of_kind(documents, "ValidatingAdmissionPolicy")
    constraints = required["spec"]["matchConstraints"]
    assert {key: constraints[key] for key in INJECTED} == INJECTED, "asks for what the injector gives"
    assert of_kind(render(), "ValidatingAdmissionPolicy") == []


@pytest.mark.parametrize(
    "value",
    [
        "nonsense=1",
        "image.tga=x",
        "image.digest=latest",
        "operator.replicas=0",
        "operator.logLevel=loud",
        "webhook.injector.failurePolicy=Maybe",
        "sidecar.coldStart=Maybe",
        "sidecar.resources.request=1",
        "podMonitor.interval=often",
        "prometheusRule.runbooks=here",
        "crds.kept=true",
    ],
)
def test_a_wrong_value_is_refused(value: str) -> None:
    done = helm("template", "toolpolicy", str(CHART), "--set", value)
    assert done.returncode != 0
    assert value.split("=", maxsplit=1)[0].rsplit(".", maxsplit=1)[-1] in done.stderr


def test_every_value_is_in_the_schema_and_told_of() -> None:
    """What values.yaml lists and what the schema knows are the same names, at every level."""
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))

    def compare(value: dict[str, Any], known: dict[str, Any], path: str) -> None:
        if "$ref" in known:
            known = schema["definitions"][known["$ref"].rpartition("/")[2]]
        if "properties" not in known:
            return
        assert known["additionalProperties"] is False, path
        if value:  # what is empty by default lists nothing
            assert set(value) == set(known["properties"]) - {"global"}, path
        for key, inner in value.items():
            if isinstance(inner, dict):
                compare(inner, known["properties"][key], f"{path}.{key}")

    compare(values, schema, "values")


@pytest.mark.parametrize(
    ("release", "values", "prefix"),
    [
        ("acme", [], "acme-toolpolicy"),
        ("my-toolpolicy", [], "my-toolpolicy"),
        ("x", ["fullnameOverride=y"], "y"),
    ],
)
def test_another_name_reaches_every_object(release: str, values: list[str], prefix: str) -> None:
    documents = render(*values, "requireSidecar=true", "certManager.enabled=true", release=release)
    for document in documents:
        if document["kind"] != "CustomResourceDefinition":
            assert document["metadata"]["name"].startswith(f"{prefix}-")
    text = yaml.safe_dump_all(d for d in documents if d["kind"] != "CustomResourceDefinition")
    strangers = set(
        re.findall(r"\btoolpolicy-(?!bootstrap|budgets|system)[a-z-]+", text.replace(prefix, "OURS"))
    )
    assert strangers == set()


def test_cert_manager_gives_what_the_pods_mount() -> None:
    documents = render("certManager.enabled=true")
    certificates = {c["spec"]["secretName"]: c["spec"] for c in of_kind(documents, "Certificate")}
    tls = {"toolpolicy-operator-tls", "toolpolicy-webhook-tls"}
    assert set(certificates) == {"toolpolicy-issuer-ca", *tls}
    assert tls < set(SECRETS), "the same that the operator makes without cert-manager"
    for component in ("operator", "webhook"):
        assert (
            f"toolpolicy-{component}.toolpolicy-system.svc"
            in certificates[f"toolpolicy-{component}-tls"]["dnsNames"]
        )
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        (found,) = of_kind(documents, kind)
        assert found["metadata"]["annotations"] == {
            "cert-manager.io/inject-ca-from": "toolpolicy-system/toolpolicy-webhook"
        }
        assert "annotations" not in of_kind(render(), kind)[0]["metadata"]
    (operator,) = [
        d for d in of_kind(documents, "Deployment") if d["metadata"]["name"] == "toolpolicy-operator"
    ]
    assert "--certificates=given" in operator["spec"]["template"]["spec"]["containers"][0]["args"]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("crds.keep=false", "will delete the CRD and with it EVERY ToolPolicy"),
        ("crds.keep=true", "will leave the CRD and every ToolPolicy behind"),
        ("crds.enabled=false", "toolpolicy crd | kubectl apply"),
    ],
)
def test_notes_say_what_an_uninstall_does(control_plane: Path, value: str, says: str) -> None:
    flags = ["--kubeconfig", str(control_plane), "--dry-run=client", "--set", value]
    done = helm("install", "notes", str(CHART), "--namespace", "toolpolicy-system", *flags)
    assert says in done.stdout, done.stderr
    assert "kubectl label namespace NAMESPACE toolpolicy.dev/inject=enabled" in done.stdout


def test_the_alerts_are_those_of_the_file_and_lead_to_the_runbooks_that_are_named() -> None:
    assert of_kind(render(), "PrometheusRule") == []
    text = (CHART / "files" / "alerts.yaml").read_text(encoding="utf-8")
    (rule,) = of_kind(render("prometheusRule.enabled=true"), "PrometheusRule")
    assert rule["spec"] == yaml.safe_load(text)
    moved = ["prometheusRule.enabled=true", "prometheusRule.runbooks=https://wiki.example/tp/"]
    (rule,) = of_kind(render(*moved), "PrometheusRule")
    assert rule["spec"] == yaml.safe_load(
        text.replace("https://toolpolicy.dev/runbooks", "https://wiki.example/tp")
    )


def test_the_operator_is_told_how_its_own_rules_look() -> None:
    def told(*values: str) -> list[str]:
        (operator,) = [
            d for d in of_kind(render(*values), "Deployment") if d["metadata"]["name"].endswith("-operator")
        ]
        arguments = operator["spec"]["template"]["spec"]["containers"][0]["args"]
        return [each for each in arguments if re.match("--(rule|runbook)", each)]

    assert told() == told("prometheusRule.enabled=true", "prometheusRule.perPolicy=false") == []
    assert told("prometheusRule.enabled=true") == ["--rules=on", "--runbooks=https://toolpolicy.dev/runbooks"]
    labels = ["prometheusRule.labels.team=agents", "prometheusRule.labels.release=prometheus"]
    found = told("prometheusRule.enabled=true", *labels)
    assert found[-1] == "--rule-labels=release=prometheus,team=agents"


def test_the_dashboards_are_shipped_as_they_were_built() -> None:
    """Grafana's own {{legend}} must survive helm."""
    assert of_kind(render(), "ConfigMap") == []
    shipped = of_kind(render("dashboards.enabled=true"), "ConfigMap")
    assert {each["metadata"]["labels"]["grafana_dashboard"] for each in shipped} == {"1"}
    built = {
        f"toolpolicy-{path.name}": path.read_text(encoding="utf-8")
        for path in (CHART / "files" / "dashboards").glob("*.json")
    }
    assert len(built) == 3
    assert {name: text for each in shipped for name, text in each["data"].items()} == built
