"""Pods at the real API server: who gets a sidecar, who does not, and that nobody is kept from starting."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client

from tests.corpus.policies import GOOD
from tests.integration.webhook.world import INJECTED, LOCKED, PLAIN, SYSTEM, World, chart, pod, until

pytestmark = pytest.mark.integration
API_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"


def policy(name: str = "agent", **selector: Any) -> dict[str, Any]:
    document = copy.deepcopy(GOOD)
    document["metadata"] = {"name": name, "namespace": INJECTED}
    document["spec"]["selector"] = selector or {"matchLabels": {"app": "agent"}}
    return document


def init_names(made: dict[str, Any]) -> list[str]:
    return [one["name"] for one in made["spec"].get("initContainers", [])]


def environment(container: dict[str, Any]) -> dict[str, str]:
    return {item["name"]: item["value"] for item in container.get("env", []) if "value" in item}


@pytest.fixture
def no_webhook(world: World) -> Iterator[None]:
    world.webhook.stop()
    yield
    world.webhook.start()


def test_a_pod_gets_its_sidecar_and_the_addresses_of_its_policies(world: World) -> None:
    world.put(policy())
    world.put(policy("of-others", matchLabels={"app": "other"}))
    made, warnings = world.create(pod())
    assert warnings == ""
    assert init_names(made) == ["toolpolicy"]
    (sidecar,), (agent,) = made["spec"]["initContainers"], made["spec"]["containers"]
    told = environment(agent)
    assert {name: value for name, value in told.items() if name.startswith("TOOLPOLICY_")} == {
        "TOOLPOLICY_URL": "http://127.0.0.1:19001",
        "TOOLPOLICY_KB_URL": "http://127.0.0.1:19001/kb",
        "TOOLPOLICY_TICKETS_URL": "http://127.0.0.1:19001/tickets",
    }
    assert told["HTTPS_PROXY"] == "http://127.0.0.1:19002"
    assert "toolpolicy-trust" in {mount["name"] for mount in agent["volumeMounts"]}
    assert made["metadata"]["labels"]["toolpolicy.dev/injected"] == "true"
    assert made["metadata"]["annotations"]["toolpolicy.dev/version"]
    # The agent has its API token; the sidecar, which never calls the API server, does not.
    token = next(mount["name"] for mount in agent["volumeMounts"] if mount["mountPath"] == API_TOKEN)
    assert token.startswith("kube-api-access")
    assert {mount["name"] for mount in sidecar["volumeMounts"]} == {
        "toolpolicy",
        "toolpolicy-state",
        "toolpolicy-trust",
        "toolpolicy-authority",
    }


def test_a_pod_made_from_a_template_and_a_dry_run(world: World) -> None:
    body = pod()
    body["metadata"]["generateName"] = body["metadata"].pop("name") + "-"
    made, _ = world.create(body)
    assert init_names(made) == ["toolpolicy"]
    made, _ = world.create(pod(), dry_run="All")
    assert init_names(made) == ["toolpolicy"]
    assert len(world.core.list_namespaced_pod(INJECTED).items) == 1


def test_restricted_pod_security_admits_it(world: World) -> None:
    made, warnings = world.create(pod(), LOCKED)
    assert init_names(made) == ["toolpolicy"]
    assert warnings == ""


def test_an_injected_pod_made_again_is_left_as_it_is(world: World) -> None:
    made, _ = world.create(pod())
    kept = {key: made["metadata"][key] for key in ("labels", "annotations")}
    again, _ = world.create({"metadata": {"name": "again", **kept}, "spec": made["spec"]})
    assert again["spec"]["initContainers"] == made["spec"]["initContainers"]
    assert again["spec"]["volumes"] == made["spec"]["volumes"]


def test_who_is_left_alone(world: World) -> None:
    opted_out = pod("opted-out")
    opted_out["metadata"]["labels"]["toolpolicy.dev/inject"] = "disabled"
    for body, namespace in ((pod(), PLAIN), (pod(), SYSTEM), (opted_out, INJECTED)):
        made, warnings = world.create(body, namespace)
        assert (init_names(made), warnings) == ([], ""), namespace
        assert "toolpolicy.dev/injected" not in made["metadata"]["labels"]


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"hostNetwork": True}, "hostNetwork"),
        ({"nodeSelector": {"kubernetes.io/os": "windows"}}, "Linux"),
        ({"volumes": [{"name": "toolpolicy", "emptyDir": {}}]}, "volume 'toolpolicy'"),
    ],
    ids=["host network", "windows", "name taken"],
)
def test_who_cannot_have_one_starts_without_and_says_so(world: World, spec: dict[str, Any], why: str) -> None:
    made, warnings = world.create(pod(**spec))
    assert init_names(made) == []
    assert why in warnings
    assert why in made["metadata"]["annotations"]["toolpolicy.dev/not-injected"]


def test_wrong_annotations_cost_a_warning_and_no_pod(world: World) -> None:
    body = pod()
    body["metadata"]["annotations"] = {
        "toolpolicy.dev/log-level": "loud",
        "toolpolicy.dev/memory-request": "128",
        "toolpolicy.dev/cpu-request": "100m",
    }
    made, warnings = world.create(body)
    (sidecar,) = made["spec"]["initContainers"]
    assert sidecar["resources"] == {
        "limits": {"memory": "256Mi"},
        "requests": {"cpu": "100m", "memory": "256Mi"},
    }
    assert environment(sidecar)["TOOLPOLICY_LOG_LEVEL"] == "info"
    assert "log-level: 'loud' is none of" in warnings
    assert "memory-request: '128' is less than 1Mi" in warnings


def test_without_a_webhook_everybody_starts(world: World, no_webhook: None) -> None:
    for namespace in (INJECTED, PLAIN):
        made, _ = world.create(pod(), namespace)
        assert init_names(made) == []


def test_policies_that_cannot_be_listed_cost_the_addresses_only(world: World) -> None:
    world.put(policy())
    binding: Any = world.rbac.read_cluster_role_binding("toolpolicy-webhook")
    world.rbac.delete_cluster_role_binding("toolpolicy-webhook")
    try:

        def without_rights() -> bool:
            made, warnings = world.create(pod(), dry_run="All")
            assert init_names(made) == ["toolpolicy"]
            known = environment(made["spec"]["containers"][0])
            ours = {name for name in known if name.startswith("TOOLPOLICY_")}
            return ours == {"TOOLPOLICY_URL"} and "policies could not be listed" in warnings

        until(without_rights, "the rights are gone")
    finally:
        binding.metadata = client.V1ObjectMeta(name="toolpolicy-webhook")
        world.rbac.create_cluster_role_binding(binding)
    until(
        lambda: (
            "TOOLPOLICY_KB_URL" in environment(world.create(pod(), dry_run="All")[0]["spec"]["containers"][0])
        ),
        "the rights are back",
    )


def test_require_sidecar_refuses_who_would_start_without(world: World, no_webhook: None) -> None:
    documents = [
        each for each in chart("requireSidecar=true") if each["kind"].startswith("ValidatingAdmission")
    ]
    policy_of_admission, binding = documents
    name = policy_of_admission["metadata"]["name"]
    world.hooks.create_validating_admission_policy(policy_of_admission)
    world.hooks.create_validating_admission_policy_binding(binding)
    try:

        def refused() -> str:
            try:
                world.create(pod(), dry_run="All")
            except client.ApiException as error:
                return str(error.body)
            return ""

        assert "requires the toolpolicy sidecar" in until(refused, "the policy is in force")
        opted_out = pod()
        opted_out["metadata"]["labels"]["toolpolicy.dev/inject"] = "disabled"
        world.create(opted_out)
        world.create(pod(), PLAIN)
        world.create(pod(), SYSTEM)
        world.webhook.start()
        made, _ = world.create(pod("with-one"))
        assert init_names(made) == ["toolpolicy"]
        world.webhook.stop()
    finally:
        world.hooks.delete_validating_admission_policy_binding(name)
        world.hooks.delete_validating_admission_policy(name)
