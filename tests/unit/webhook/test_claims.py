"""Which policies are warned of, because an older one has the same server or tool."""

from typing import Any

from tests.corpus.policies import GOOD
from toolpolicy_api import snapshot
from toolpolicy_api.check import parse
from toolpolicy_api.compile import compile_policy
from toolpolicy_operator.webhook.validate import claimed_by_others


def policy(name: str, created: str, **spec: Any) -> snapshot.Policy:
    metadata = {"name": name, "namespace": "default", "creationTimestamp": created}
    return compile_policy(parse({**GOOD, "metadata": metadata, "spec": {**GOOD["spec"], **spec}}))


OLD, NEW = policy("old", "2026-01-01T00:00:00Z"), policy("new", "2026-01-02T00:00:00Z")


def test_the_older_one_is_named_with_all_that_is_shared() -> None:
    (warning,) = claimed_by_others(NEW, [NEW, OLD], new=False)
    shared = "server 'kb', server 'tickets', tool 'create', tool 'search'"
    assert warning == f"toolpolicy: the older policy 'old' wins on pods of both: {shared}"


def test_who_is_older_has_nothing_to_fear() -> None:
    assert claimed_by_others(OLD, [OLD, NEW], new=False) == []


def test_a_policy_being_created_is_the_youngest_whatever_the_clocks_say() -> None:
    assert claimed_by_others(OLD, [NEW], new=True) != []


def test_no_pod_has_two_values_of_one_label() -> None:
    other = policy("old", "2026-01-01T00:00:00Z", selector={"matchLabels": {"app": "other"}})
    assert claimed_by_others(NEW, [other], new=False) == []
    everybody = policy("old", "2026-01-01T00:00:00Z", selector={})
    assert len(claimed_by_others(NEW, [everybody], new=False)) == 1


def test_nothing_shared_nothing_said() -> None:
    servers = [{"name": "x", "protocol": "MCP", "url": "http://x/mcp"}]
    assert (
        claimed_by_others(NEW, [policy("old", "2026-01-01T00:00:00Z", servers=servers, tools=[])], new=False)
        == []
    )


def test_a_warning_fits_in_a_header() -> None:
    servers = [{"name": f"server-{n}", "protocol": "MCP", "url": "http://x/mcp"} for n in range(60)]
    mine, other = (policy(name, name, servers=servers, tools=[]) for name in ("a", "b"))
    (warning,) = claimed_by_others(mine, [other], new=True)
    assert len(warning) == 240
