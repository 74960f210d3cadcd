"""Watches, lists that are older than they, policies that become invalid: what the index makes of it."""

import copy
from typing import Any

from tests.corpus.policies import GOOD
from toolpolicy_operator.index import Index

TOOLS_OF_GOOD = 2


def policy(version: int = 1, generation: int = 1, uid: str = "u1", **spec: Any) -> dict[str, Any]:
    made = copy.deepcopy(GOOD)
    made["metadata"] |= {"uid": uid, "generation": generation, "resourceVersion": str(version)}
    made["spec"] |= spec
    return made


def pod(version: int = 1, uid: str = "p1", phase: str = "Running", app: str = "agent") -> dict[str, Any]:
    labels = {"app": app, "toolpolicy.dev/injected": "true"}
    return {
        "metadata": {
            "namespace": "default",
            "name": "a",
            "uid": uid,
            "labels": labels,
            "resourceVersion": str(version),
        },
        "status": {"phase": phase},
    }


def invalid(generation: int = 2, version: int = 2) -> dict[str, Any]:
    return policy(version=version, generation=generation, mode="Shadow", servers=[])


def timeouts(index: Index) -> int | None:
    compiled = index.policies["default/agent"].compiled
    return compiled.tools[0].rules.timeouts.total_ms if compiled else None


def test_a_status_write_is_no_change() -> None:
    index = Index()
    assert index.put_policy(policy())
    assert not index.put_policy(policy(version=5) | {"status": {"calls": 1}})


def test_a_list_that_is_older_than_the_watch_changes_nothing() -> None:
    index = Index()
    index.put_policy(policy(version=7, generation=2, defaults={"timeout": {"total": "7s"}}))
    assert not index.put_policy(policy(version=6, generation=1), listed=True)
    assert timeouts(index) == 7_000
    assert index.put_policy(policy(version=8, generation=3), listed=True)
    assert timeouts(index) == 10_000


def test_a_list_brings_back_nothing_that_is_gone() -> None:
    index = Index()
    index.put_policy(policy())
    index.put_pod(pod())
    index.drop_policy("default", "agent")
    index.drop_pod("p1")
    assert not index.put_policy(policy(version=9), listed=True)
    assert not index.put_pod(pod(version=9), listed=True)
    assert not index.policies
    assert not index.pods
    assert index.put_policy(policy(version=10, uid="u2"), listed=True), "a successor is another one"


def test_an_invalid_change_keeps_the_last_good_version() -> None:
    index = Index()
    index.put_policy(policy())
    index.put_pod(pod())
    before = index.assignment(index.pods["p1"]).hash
    assert index.put_policy(invalid())
    entry = index.policies["default/agent"]
    assert entry.findings
    assert entry.generation == 2
    assert entry.compiled is not None
    assert entry.compiled.generation == 1
    assert index.assignment(index.pods["p1"]).hash == before


def test_after_a_restart_the_last_good_version_is_recalled() -> None:
    earlier = Index()
    earlier.put_policy(policy())
    remembered = earlier.bootstrap("default").policies
    index = Index()
    index.put_policy(invalid())
    assert index.policies["default/agent"].compiled is None
    index.recall(remembered)
    assert timeouts(index) == 10_000


def test_of_a_successor_nothing_is_recalled() -> None:
    earlier = Index()
    earlier.put_policy(policy(uid="another"))
    index = Index()
    index.put_policy(invalid())
    index.recall(earlier.bootstrap("default").policies)
    assert index.policies["default/agent"].compiled is None


def test_a_valid_version_is_not_undone_by_what_was_remembered() -> None:
    earlier = Index()
    earlier.put_policy(policy(defaults={"timeout": {"total": "3s"}}))
    index = Index()
    index.put_policy(policy(version=4, generation=4))
    index.recall(earlier.bootstrap("default").policies)
    assert timeouts(index) == 10_000


def test_pods_of_the_same_policies_share_one_assignment() -> None:
    index = Index()
    index.put_policy(policy())
    for number in range(3):
        index.put_pod(pod(uid=f"p{number}"))
    index.put_pod(pod(uid="other", app="something-else"))
    first, second, third = (index.assignment(index.pods[f"p{n}"]) for n in range(3))
    assert first is second is third
    assert len(first.keys) == TOOLS_OF_GOOD + len(GOOD["spec"]["servers"])
    assert index.assignment(index.pods["other"]).policies == {}


def test_a_pod_whose_labels_change_gets_another_assignment() -> None:
    index = Index()
    index.put_policy(policy())
    index.put_pod(pod())
    before = index.assignment(index.pods["p1"])
    assert before.policies
    assert index.put_pod(pod(version=2, app="retired"))
    assert not index.assignment(index.pods["p1"]).policies


def test_pods_that_have_ended_are_not_kept() -> None:
    index = Index()
    index.put_pod(pod())
    assert index.put_pod(pod(version=2, phase="Succeeded"))
    assert not index.pods


def test_namespaces_ask_and_ask_no_longer() -> None:
    index = Index()
    asking = {"metadata": {"name": "a", "uid": "n", "labels": {"toolpolicy.dev/inject": "enabled"}}}
    assert index.put_namespace(asking)
    assert not index.put_namespace(asking)
    assert index.put_namespace({"metadata": {"name": "a", "uid": "n", "labels": {}}})
    assert not index.namespaces
