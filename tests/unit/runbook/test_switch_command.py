"""`toolpolicy switch` against a real admin API."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.unit.datapath.loopback import World, breaker, rules, world
from tests.unit.datapath.test_retries import TICKET
from toolpolicy_sidecar.admin import Admin
from toolpolicy_sidecar.clock import SystemClock
from toolpolicy_sidecar.switch import run
from toolpolicy_sidecar.view import FailedCalls


@pytest.fixture
async def desk() -> AsyncIterator[tuple[World, list[str]]]:
    """With the flags that lead there."""
    async with world() as w:
        w.install(tool_rules=rules(breaker=breaker(1)))
        pages = Admin(w.current, SystemClock(), FailedCalls(), w.recorded).pages()
        host, port = "127.0.0.1", await pages.start("127.0.0.1", 0)
        yield w, [f"--admin={host}:{port}"]
        await pages.close()


async def test_out_of_use_and_back(desk: tuple[World, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    w, admin = desk
    agent = await w.agent()
    who = ["--for=30m", "--by=alice", "--reason=incident 7"]
    assert await asyncio.to_thread(run, [*admin, "disable", "ticket", *who]) == 0
    assert capsys.readouterr().out.startswith("ticket: Disabled until 20")
    assert (await agent.request("GET", TICKET)).status == 503
    assert w.recorded.transitions[-1].reason == "disabled by hand (alice): incident 7"
    assert await asyncio.to_thread(run, [*admin, "enable", "ticket"]) == 0
    assert capsys.readouterr().out == "ticket: Closed\n"
    assert (await agent.request("GET", TICKET)).status == 200
    assert await asyncio.to_thread(run, [*admin, "force-closed", "ticket"]) == 0
    assert capsys.readouterr().out.startswith("ticket: Closed, forced until 20")
    assert await asyncio.to_thread(run, [*admin, "reset", "api/*"]) == 0


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (["disable", "nobody"], "nobody: "),
        (["disable", "ticket", "--for=soon"], "ticket: for: "),
        (["force-closed", "api/*"], "api/*: it has no circuit breaker"),
    ],
)
async def test_what_the_sidecar_refuses_is_said(
    desk: tuple[World, list[str]], capsys: pytest.CaptureFixture[str], asked: list[str], says: str
) -> None:
    assert await asyncio.to_thread(run, [*desk[1], *asked]) == 1
    assert capsys.readouterr().err.startswith(says)


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--admin=127.0.0.1:1", "enable", "ticket"]) == 1
    assert capsys.readouterr().err.startswith("no sidecar answers at 127.0.0.1:1: ")


@pytest.mark.parametrize("argv", [[], ["open", "ticket"], ["enable"], ["--admin=x", "enable", "ticket"]])
def test_a_wrong_command_line(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as wrong:
        run(argv)
    assert wrong.value.code == 2
