"""A real operator process keeps a PrometheusRule beside each policy with an slo, once the cluster knows that kind, as
the Prometheus operator defines it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from tests.integration.foreign_kinds import MONITORING, of_prometheus
from tests.integration.test_operator import AGENTS, Cluster, Operator, policy, until
from toolpolicy_operator.slo.store import NAME as BOOKS

pytestmark = pytest.mark.integration
GROUP, PLURAL = MONITORING, "prometheusrules"
WHERE = (GROUP, "v1", AGENTS, PLURAL)
NAME = "toolpolicy-objective"


@pytest.fixture(scope="module")
def cluster(control_plane: Path) -> Iterator[Cluster]:
    made = Cluster(control_plane)
    made.prepare()
    yield made
    with contextlib.suppress(client.ApiException):
        made.extensions.delete_custom_resource_definition(f"{PLURAL}.{GROUP}")
    with contextlib.suppress(client.ApiException):  # the operator's books: other modules begin without
        made.core.delete_namespaced_config_map(BOOKS, AGENTS)
    made.close()


def with_slo(name: str, *slos: dict[str, Any] | None) -> dict[str, Any]:
    made = policy()
    made["metadata"]["name"] = name
    made["spec"]["selector"] = {"matchLabels": {"app": name}}
    made["spec"]["tools"] = [{"name": f"t{number}", "server": "kb"} for number in range(len(slos))]
    for tool, slo in zip(made["spec"]["tools"], slos, strict=True):
        if slo:
            tool["slo"] = slo
    return made


async def test_it_follows_the_policy(cluster: Cluster, control_plane: Path, tmp_path: Path) -> None:
    def rule(name: str = NAME) -> dict[str, Any] | None:
        try:
            found: Any = cluster.objects.get_namespaced_custom_object(*WHERE, name)
        except client.ApiException as error:
            if error.status == 404:
                return None
            raise
        made: dict[str, Any] = found
        return made

    def tools() -> set[str]:
        found = rule()
        groups = found["spec"]["groups"] if found else []
        return {
            each["annotations"]["summary"].split()[0]
            for group in groups
            for each in group["rules"]
            if "alert" in each
        }

    def delete_policy(name: str) -> None:
        cluster.objects.delete_namespaced_custom_object(
            "toolpolicy.dev", "v1alpha1", AGENTS, "toolpolicies", name
        )

    slo = {"availability": 99.5}
    cluster.apply(with_slo("objective", slo, None))
    log = tmp_path / "op-a.log"
    flags = ("--rules=on", "--rule-labels=release=prometheus", "--runbooks=https://wiki.example/tp")
    started = Operator(control_plane, "op-a", log, *flags)
    try:
        await until(lambda: '"leading"' in log.read_text("utf-8"), "it leads", 90)
        # The kind comes later than the operator.
        cluster.extensions.create_custom_resource_definition(of_prometheus(PLURAL))
        found = await until(rule, "the rule is written", 40)
        owner = cluster.rbac.read_cluster_role("toolpolicy-operator")
        assert [each["uid"] for each in found["metadata"]["ownerReferences"]] == [owner.metadata.uid]
        assert found["metadata"]["labels"]["release"] == "prometheus"
        assert "https://wiki.example/tp/ToolpolicyBudgetBurnsFast.md" in str(found)
        assert tools() == {"t0"}
        # A change of the policy, and of an objective, is a change of the rule.
        cluster.apply(with_slo("objective", slo, slo))
        await until(lambda: tools() == {"t0", "t1"}, "the second tool has alerts")
        # What somebody has edited or deleted is made good with the next full list.
        cluster.objects.patch_namespaced_custom_object(*WHERE, NAME, {"spec": {"groups": []}})
        await until(lambda: tools() == {"t0", "t1"}, "the edited rule is made good", 30)
        cluster.objects.delete_namespaced_custom_object(*WHERE, NAME)
        await until(lambda: tools() == {"t0", "t1"}, "the deleted rule is back", 30)
        # Somebody's own rule with the name of one of ours is left alone.
        theirs = {
            "apiVersion": f"{GROUP}/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": "toolpolicy-taken"},
            "spec": {"groups": [{"name": "theirs"}]},
        }
        cluster.objects.create_namespaced_custom_object(*WHERE, theirs)
        cluster.apply(with_slo("taken", slo))
        await until(lambda: "somebody else's PrometheusRule" in log.read_text("utf-8"), "it says so")
        delete_policy("taken")
        # The last slo goes, and the rule with it.
        cluster.apply(with_slo("objective", None))
        await until(lambda: rule() is None, "the rule is gone")
        taken = rule("toolpolicy-taken")
        assert taken
        assert taken["spec"] == theirs["spec"]
        assert '"level": "error"' not in log.read_text("utf-8")
    finally:
        started.end()
        delete_policy("objective")
