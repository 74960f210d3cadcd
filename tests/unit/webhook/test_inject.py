"""A pod in, the whole injected pod out."""

import copy
from typing import Any

import pytest

from tests.corpus.policies import BAD, GOOD
from toolpolicy_operator.webhook.inject import Injection, inject, variable
from toolpolicy_operator.webhook.sidecar import CONTAINER, Sidecar
from toolpolicy_operator.webhook.validate import validate

SIDECAR = Sidecar(image="toolpolicy:1", operator="wss://toolpolicy-operator.ns.svc:443", version="1")
POD: dict[str, Any] = {
    "metadata": {"name": "agent", "labels": {"app": "agent"}},
    "spec": {
        "containers": [{"name": "agent", "image": "agent"}],
        "volumes": [{"name": "data", "emptyDir": {}}],
    },
}


def pod(**spec: Any) -> dict[str, Any]:
    made = copy.deepcopy(POD)
    made["spec"] |= spec
    return made


def apply(document: dict[str, Any], patch: list[dict[str, Any]]) -> dict[str, Any]:
    """Just enough of RFC 6902: `add`."""
    document = copy.deepcopy(document)
    for step in patch:
        assert step["op"] == "add"
        *parents, last = [part.replace("~1", "/") for part in step["path"].split("/")[1:]]
        node: Any = document
        for part in parents:
            node = node[int(part)] if isinstance(node, list) else node[part]
        if isinstance(node, list):
            node.insert(len(node) if last == "-" else int(last), step["value"])
        else:
            node[last] = step["value"]
    return document


def injected(document: dict[str, Any], *servers: str) -> dict[str, Any]:
    return apply(document, inject(document, SIDECAR, servers).patch)


def test_the_sidecar_is_the_first_init_container_and_restricted() -> None:
    document = pod(initContainers=[{"name": "setup", "image": "x"}])
    result = injected(document, "kb-eu")
    sidecar, setup = result["spec"]["initContainers"]
    assert (sidecar["name"], sidecar["restartPolicy"], setup["name"]) == (CONTAINER, "Always", "setup")
    assert sidecar["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsGroup": 65532,
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert sidecar["startupProbe"]["httpGet"] == {"path": "/startupz", "port": 19090}
    sources = result["spec"]["volumes"][1]["projected"]["sources"]
    assert sources[0] == {
        "serviceAccountToken": {"audience": "toolpolicy", "expirationSeconds": 3600, "path": "token"}
    }
    assert sources[1] == {"configMap": {"name": "toolpolicy-bootstrap", "optional": True}}
    assert [volume["name"] for volume in result["spec"]["volumes"]] == [
        "data",
        "toolpolicy",
        "toolpolicy-state",
    ]
    assert result["metadata"]["labels"] == {"app": "agent", "toolpolicy.dev/injected": "true"}


def test_every_container_learns_the_addresses_and_keeps_its_own() -> None:
    document = pod(
        containers=[
            {"name": "a", "env": [{"name": "TOOLPOLICY_URL", "value": "mine"}, {"name": "X", "value": "1"}]},
            {"name": "b"},
        ],
        initContainers=[{"name": "setup"}],
    )
    result = injected(document, "kb-eu", "tickets")
    first = {item["name"]: item["value"] for item in result["spec"]["containers"][0]["env"]}
    assert first == {
        "TOOLPOLICY_URL": "mine",
        "X": "1",
        "TOOLPOLICY_KB_EU_URL": "http://127.0.0.1:19001/kb-eu",
        "TOOLPOLICY_TICKETS_URL": "http://127.0.0.1:19001/tickets",
    }
    second = {item["name"]: item["value"] for item in result["spec"]["containers"][1]["env"]}
    assert second["TOOLPOLICY_URL"] == "http://127.0.0.1:19001"
    assert result["spec"]["initContainers"][1]["env"]


def test_injecting_twice_is_injecting_once() -> None:
    once = injected(POD, "kb")
    again = inject(once, SIDECAR, ["kb"])
    assert (again.patch, again.why) == ([], "already injected")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"metadata": {"labels": {"toolpolicy.dev/inject": "disabled"}}}, "the pod opts out"),
        ({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}, "a static pod"),
    ],
)
def test_pods_that_nobody_expects_a_sidecar_in(change: dict[str, Any], why: str) -> None:
    assert inject({**POD, **change}, SIDECAR, []) == Injection(injected=False, why=why, patch=[])


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"hostNetwork": True}, "with hostNetwork the sidecar's ports would be open on the node"),
        ({"os": {"name": "windows"}}, "the sidecar's image is for Linux"),
        ({"nodeSelector": {"kubernetes.io/os": "windows"}}, "the sidecar's image is for Linux"),
        (
            {"containers": [{"name": "toolpolicy"}]},
            "the pod has container 'toolpolicy' of its own; rename it",
        ),
        (
            {"volumes": [{"name": "toolpolicy-state"}]},
            "the pod has volume 'toolpolicy-state' of its own; rename it",
        ),
    ],
)
def test_pods_that_cannot_have_one_say_why(spec: dict[str, Any], why: str) -> None:
    result = inject(pod(**spec), SIDECAR, [])
    assert result == Injection(
        injected=False,
        why=why,
        patch=[{"op": "add", "path": "/metadata/annotations", "value": {"toolpolicy.dev/not-injected": why}}],
        warnings=(f"toolpolicy: no sidecar is injected: {why}",),
    )


def test_the_users_own_variables_may_refer_to_ours() -> None:
    """`$(NAME)` is replaced only when NAME stands before it."""
    document = pod(containers=[{"name": "a", "env": [{"name": "MCP", "value": "$(TOOLPOLICY_KB_URL)"}]}])
    env = injected(document, "kb")["spec"]["containers"][0]["env"]
    assert [item["name"] for item in env] == ["TOOLPOLICY_URL", "TOOLPOLICY_KB_URL", "MCP"]


def test_ports_that_the_sidecar_needs_are_warned_of() -> None:
    document = pod(containers=[{"name": "a", "ports": [{"containerPort": 19001}, {"containerPort": 80}]}])
    result = inject(document, SIDECAR, [])
    assert result.injected
    assert result.warnings == (
        "toolpolicy: container a uses port 19001, which the sidecar needs: one of the two will not start",
    )


def test_the_pod_itself_is_not_touched() -> None:
    document = pod(
        containers=[{"name": "a", "env": []}],
        initContainers=[{"name": "b"}],
        ephemeralContainers=[{"name": "debug"}],
        volumes=[],
    )
    before = copy.deepcopy(document)
    result = injected(document, "kb")
    assert document == before
    assert result["spec"]["ephemeralContainers"] == [{"name": "debug"}]


def test_names_of_variables() -> None:
    assert variable("kb-eu") == "TOOLPOLICY_KB_EU_URL"


def review(operation: str, new: Any, old: Any = None) -> dict[str, Any]:
    return {"operation": operation, "object": new, "oldObject": old}


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_every_bad_policy_is_denied_with_its_field(bad: Any) -> None:
    verdict = validate(review("CREATE", bad.policy()))
    assert not verdict.allowed
    assert bad.field in verdict.message


def test_metadata_and_deletion_are_never_in_the_way() -> None:
    bad = BAD[0].policy()
    assert validate(review("UPDATE", {**bad, "metadata": {"labels": {"a": "b"}}}, bad)).allowed
    leaving = {**bad, "metadata": {**bad["metadata"], "deletionTimestamp": "now"}}
    assert validate(review("UPDATE", leaving, GOOD)).allowed
    assert not validate(review("UPDATE", bad, GOOD)).allowed
