"""Scenarios that cannot be meant are refused, with the field's name and what to do."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.simulate.incidents import policy, scenario
from toolpolicy_sidecar.simulate.scenario import BadScenario, parse, read
from toolpolicy_sidecar.simulate.simulation import simulate

TOOL = {"name": "look", "callsPerSecond": 1, "latency": {"constant": "50ms"}}
OUTAGE = {"name": "outage", "at": "1m", "for": "1m", "outage": "Refused"}


def whole(*phases: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"duration": "10m", "tools": [TOOL], "phases": list(phases)} | changes


@pytest.mark.parametrize(
    ("document", "line"),
    [
        (None, "(document): "),
        (whole(speed=2), "speed: unknown field; remove it or correct its name"),
        (whole(duration="1 hour"), "duration: '1 hour' is no duration; write it like 500ms, 8s or 1h30m"),
        (whole(duration="0s"), "duration: must be longer than zero"),
        (whole(duration="9000h"), "duration: makes 32,400,000 calls, and 5,000,000 are the most"),
        (whole(pods=0), "pods: input should be greater than or equal to 1"),
        (whole(tools=[]), "tools: list should have at least 1 item"),
        (whole(tools=[TOOL, TOOL]), "tools[1].name: 'look' appears twice; remove one"),
        (whole(tools=[TOOL | {"latency": {"p50": "1s"}}]), "tools[0].latency: set constant, or both"),
        (whole(tools=[TOOL | {"latency": {}}]), "tools[0].latency: set constant, or both"),
        (
            whole(tools=[TOOL | {"latency": {"p50": "2s", "p99": "1s"}}]),
            "tools[0].latency: p50 must be longer than zero, and no longer than p99",
        ),
        (whole(tools=[TOOL | {"callsPerSecond": 0}]), "tools[0].callsPerSecond: input should be greater"),
        (whole(OUTAGE | {"outage": "Total"}), "phases[0].outage: input should be 'Refused', 'Unreachable'"),
        (whole({"name": "x", "at": "1m"}), "phases[0].for: required; add it"),
        (whole({"name": "x", "at": "1m", "for": "1m"}), "phases[0]: nothing goes wrong in it; set outage"),
        (whole(OUTAGE | {"for": "0s"}), "phases[0].for: must be longer than zero"),
        (whole(OUTAGE | {"for": "1h"}), "phases[0].for: it ends after the whole scenario does (10m)"),
        (whole(OUTAGE | {"tools": ["loop"]}), "phases[0].tools: 'loop' is none of tools: look"),
        (whole(OUTAGE, OUTAGE | {"at": "5m"}), "phases[1].name: 'outage' appears twice; rename one"),
        (whole(OUTAGE, OUTAGE | {"name": "b", "at": "90s"}), "phases[1]: overlaps with 'outage' for look"),
        (whole(OUTAGE | {"errors": {"percent": 101}}), "phases[0].errors.percent: input should be less"),
        (
            whole(OUTAGE | {"throttle": {"percent": 5, "retryAfter": "1500ms"}}),
            "phases[0].throttle.retryAfter: '1500ms' is no number of whole seconds",
        ),
    ],
)
def test_a_bad_scenario_is_refused(document: Any, line: str) -> None:
    with pytest.raises(BadScenario) as bad:
        parse(document)
    assert any(found.startswith(line) for found in bad.value.lines), bad.value.lines


def test_phases_of_different_tools_may_overlap_and_follow_each_other() -> None:
    two = [TOOL, TOOL | {"name": "other"}]
    mine, others = OUTAGE | {"tools": ["look"]}, OUTAGE | {"name": "b", "tools": ["other"]}
    parse(whole(mine, others, OUTAGE | {"name": "c", "at": "2m"}, tools=two))


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadScenario, match=r"gone\.yaml: No such file"):
        read(tmp_path / "gone.yaml")
    for data in (b"a: [", b"\xff\xfe", b"!!python/object:os.system {}"):
        (tmp_path / "bad.yaml").write_bytes(data)
        with pytest.raises(BadScenario, match=r"bad\.yaml: no YAML: "):
            read(tmp_path / "bad.yaml")


def test_a_tool_that_no_policy_has_is_refused_with_those_that_there_are() -> None:
    incident = scenario().model_copy(
        update={"tools": [scenario().tools[0].model_copy(update={"name": "lok"})]}
    )
    with pytest.raises(BadScenario, match=r"'lok' is no tool of the policy; its tools are look, kb/\*"):
        simulate(policy(), incident)


def test_a_tool_whose_calls_another_one_takes_is_refused() -> None:
    tools: list[dict[str, Any]] = [
        {"name": "other", "server": "kb", "match": {"tool": "lx*"}},
        {"name": "look", "server": "kb", "match": {"tool": "l*"}},
    ]
    with pytest.raises(BadScenario, match=r"'look': a call .* \(lx\) is taken by 'other'"):
        simulate(policy(protocol="MCP", tools=tools), scenario(duration="1s"))


@pytest.mark.parametrize("protocol", ["HTTP", "MCP"])
def test_unlisted_tools_and_globs_can_be_simulated(protocol: str) -> None:
    match = {"tool": "l*k"} if protocol == "MCP" else {"path": "/v1/{id}"}
    rules = policy(protocol=protocol, tools=[{"name": "look", "server": "kb", "match": match}])
    first = scenario(duration="2s").tools[0]
    both = [first, first.model_copy(update={"name": "kb/*"})]
    found = simulate(rules, scenario(duration="2s").model_copy(update={"tools": both}))
    assert [tool.name for tool in found] == ["look", "kb/*"]
    assert all(sum(tool.answered) == sum(tool.calls) > 0 for tool in found)
