"""How long a call may take: the policy's time, or the agent's own if that is shorter; and what the tool hears of it."""

from collections.abc import AsyncIterator

import pytest
from msgspec import structs

from tests.unit.datapath.loopback import World, rules, world
from tests.unit.datapath.test_reasons_end_to_end import hang, problem
from tests.unit.datapath.test_retries import TICKET
from toolpolicy_sidecar.deadline import Deadline, of_attempt
from toolpolicy_sidecar.reasons import Reason

HEADER = "X-Request-Timeout-Ms"


@pytest.fixture
async def w() -> AsyncIterator[World]:
    async with world() as made:
        yield made


def test_case_10_of_three_seconds_2_7_used_leave_0_3() -> None:
    total = Deadline(1003.0, Reason.TotalTimeout, 3.0)
    assert of_attempt(total, 1.0, 1002.7) is total
    assert of_attempt(total, 0.25, 1002.5) == Deadline(1002.75, Reason.AttemptTimeout, 0.25)


async def test_the_tool_is_told_the_time_that_is_left(w: World) -> None:
    w.install(tool_rules=rules(total_ms=8_000, attempt_ms=3_000))
    agent = await w.agent()
    await agent.request("GET", TICKET)
    await agent.call()
    await agent.request("GET", "/api/unlisted")
    told = [int(seen.header(HEADER) or 0) for seen in w.tool.seen]
    assert all(0 < left <= most for left, most in zip(told, (3_000, 3_000, 10_000), strict=True))


@pytest.mark.parametrize(
    ("header", "value", "most"),
    [
        (HEADER, "5000", 5_000),
        (HEADER, " 5000 ", 5_000),
        ("grpc-timeout", "5S", 5_000),
        ("grpc-timeout", "5000m", 5_000),
        ("Grpc-Timeout", "5000000u", 5_000),
        ("grpc-timeout", "1M", 10_000),
        (HEADER, "600000", 10_000),
        (HEADER, "0", 10_000),
        (HEADER, "-5", 10_000),
        (HEADER, "soon", 10_000),
        (HEADER, "9" * 400, 10_000),
        ("grpc-timeout", "5", 10_000),
        ("grpc-timeout", "123456789S", 10_000),
    ],
)
async def test_the_shorter_of_the_agents_time_and_the_policys(
    w: World, header: str, value: str, most: int
) -> None:
    await (await w.agent()).request("GET", TICKET, headers=[(header, value)])
    told = [text for name, text in w.tool.seen[0].headers if name.lower() == HEADER.lower()]
    assert len(told) == 1  # ours stands in the place of the agent's
    assert most - 5_000 < int(told[0]) <= most


async def test_the_agents_time_is_enforced_and_named(w: World) -> None:
    w.tool.script = hang
    answer = await (await w.agent()).request("GET", TICKET, headers=[(HEADER, "150")])
    assert "the 150 ms that the agent gave it are over" in problem(answer, Reason.TotalTimeout)


async def test_a_server_may_want_another_header(w: World) -> None:
    """The agent's own word in it does not get through beside ours."""
    policy = w.policy(tool_rules=rules(total_ms=8_000, attempt_ms=3_000))
    servers = tuple(structs.replace(server, timeout_header="X-Deadline-Ms") for server in policy.servers)
    w.install_policy(structs.replace(policy, servers=servers))
    await (await w.agent()).request("GET", TICKET, headers=[("x-deadline-ms", "99999999")])
    (told,) = [text for name, text in w.tool.seen[0].headers if name.lower() == "x-deadline-ms"]
    assert 0 < int(told) <= 3_000
    assert w.tool.seen[0].header(HEADER) is None
