"""Which pods count as left without a sidecar."""

import copy
from typing import Any

from tests.corpus.policies import GOOD
from toolpolicy_operator.index import policy_entry
from toolpolicy_operator.uncovered import counted


def entry(**spec: Any) -> Any:
    document = copy.deepcopy(GOOD)
    document["metadata"] |= {"uid": "u", "generation": 1}
    document["spec"] |= spec
    return policy_entry(document)


def pod(app: str = "agent", **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a", "labels": {"app": app}, **metadata}}


def test_only_pods_that_the_policy_selects_count() -> None:
    assert counted([entry()], [pod(), pod(), pod("shop"), {"metadata": {"name": "bare"}}]) == {
        "default/agent": 2
    }


def test_a_policy_without_such_pods_says_so() -> None:
    """A 0, so that an alert resolves by a value and not by silence."""
    assert counted([entry()], []) == {"default/agent": 0}


def test_pods_that_are_going_and_static_ones_count_for_none() -> None:
    going = pod(deletionTimestamp="2026-11-21T00:00:00Z")
    static = pod(annotations={"kubernetes.io/config.mirror": "x"})
    assert counted([entry()], [going, static]) == {"default/agent": 0}


def test_a_policy_that_was_never_valid_selects_nobody() -> None:
    assert counted([entry(servers=[])], [pod()]) == {}
