"""ToolPolicies at the real API server: what schema and CEL rules let pass, and the webhook does not."""

import contextlib
import copy
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from localcluster import binaries
from localcluster.kube import CommandFailed, Kube
from tests.corpus.policies import BAD, GOOD, Bad
from tests.integration.webhook.world import INJECTED, World, until

pytestmark = pytest.mark.integration
NOT_BY_SCHEMA = [bad for bad in BAD if bad.server_says is None]


def named(document: dict[str, Any], name: str = "agent") -> dict[str, Any]:
    return {**copy.deepcopy(document), "metadata": {"name": name, "namespace": INJECTED}}


@pytest.mark.parametrize("bad", NOT_BY_SCHEMA, ids=lambda bad: bad.name)
def test_a_bad_policy_is_refused_with_field_and_remedy(world: World, bad: Bad) -> None:
    with pytest.raises(client.ApiException) as refused:
        world.put(named(bad.policy()))
    assert refused.value.status == 422
    said = json.loads(refused.value.body or "{}")
    assert said["reason"] == "Invalid"
    assert said["details"]["kind"] == "ToolPolicy"
    assert [cause["field"] for cause in said["details"]["causes"]] == [bad.field]
    assert bad.field in said["message"]


def test_kubectl_shows_one_line_for_each_finding(world: World, control_plane: Path) -> None:
    document = named(GOOD)
    document["spec"]["redaction"]["patterns"] = [{"name": "a", "regex": "("}, {"name": "b", "regex": "x*"}]
    kube = Kube(control_plane, "toolpolicy-control-plane", str(binaries.find("kubectl")))
    with pytest.raises(CommandFailed) as refused:
        kube.apply(document)
    said = str(refused.value)
    print(said)
    assert 'The ToolPolicy "agent" is invalid' in said
    assert "* spec.redaction.patterns[0].regex: does not compile as RE2" in said
    assert "* spec.redaction.patterns[1].regex: matches the empty text" in said


def test_a_good_policy_is_taken_without_a_word(world: World) -> None:
    assert world.put(named(GOOD)) == ""


def test_metadata_can_always_be_changed_even_with_the_webhook_down(world: World) -> None:
    """A policy that an earlier release took must not keep anyone from labelling, finalizing or deleting it."""
    world.unpoint()

    def taken() -> bool:
        """The API server asks for a moment after it was told not to."""
        with contextlib.suppress(client.ApiException):
            world.put(named(NOT_BY_SCHEMA[0].policy()))
            return True
        return False

    until(taken, "the API server asks nobody")
    world.point(world.webhook.ca)
    world.patch("agent", {"metadata": {"labels": {"team": "a"}, "finalizers": ["example.com/hold"]}})
    with pytest.raises(client.ApiException) as refused:
        world.patch("agent", {"spec": {"mode": "Off"}})
    assert refused.value.status == 422
    world.webhook.stop()
    try:
        with pytest.raises(client.ApiException):
            world.put(named(GOOD, "another"))
        world.patch("agent", {"metadata": {"labels": {"team": "b"}}})
        world.clear()
        world.patch("agent", {"metadata": {"finalizers": None}})
    finally:
        world.webhook.start()


def test_a_claim_of_an_older_policy_is_warned_of(world: World) -> None:
    numbers = itertools.count()
    world.put(named(GOOD, "older"))
    disjoint = named(GOOD, "disjoint")
    disjoint["spec"]["selector"] = {"matchLabels": {"app": "other"}}
    assert world.put(disjoint) == ""
    # The webhook hears of a policy a moment after the API server has it.
    warning = until(lambda: world.put(named(GOOD, f"younger-{next(numbers)}")), "a warning")
    assert (
        "the older policy 'older' wins on pods of both: server 'kb', server 'tickets', tool 'create'"
        in warning
    )
    assert "disjoint" not in warning
