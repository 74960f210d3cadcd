"""`toolpolicy top` beside a real data path, in a real terminal."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.datapath.loopback import World, breaker, rules, until, world
from tests.unit.datapath.test_retries import TICKET, says
from tests.unit.top.terminal import Terminal
from toolpolicy_sidecar.admin import Admin
from toolpolicy_sidecar.clock import SystemClock
from toolpolicy_sidecar.top.command import run
from toolpolicy_sidecar.view import FailedCalls

TOOLPOLICY = str(Path(sys.executable).parent / "toolpolicy")


@pytest.fixture
async def admin() -> AsyncIterator[tuple[World, str]]:
    """With an open circuit."""
    async with world() as w:
        failed = FailedCalls()
        w.install(tool_rules=rules(breaker=breaker(2)))
        w.tool.script = says(500)
        agent = await w.agent()
        for _ in range(3):
            await agent.request("GET", TICKET)
        await until(lambda: len(w.recorded.calls) == 3)
        for record in w.recorded.calls:
            failed.call(record)
        pages = Admin(w.current, SystemClock(), failed, w.recorded).pages()
        host, port = "127.0.0.1", await pages.start("127.0.0.1", 0)
        yield w, f"{host}:{port}"
        await pages.close()


async def test_once(
    admin: tuple[World, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert await asyncio.to_thread(run, ["--once", "--admin", f"http://{admin[1]}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("support/agent (from test, ")
    assert lines[2].split() == ["TOOL", "STATE", "CALLS", "ERR%", "P95", "BUSY", "WHY"]
    assert lines[3].split()[:4] == ["ticket", "Open", "3", "100.0"]
    assert "s more: 2 consecutive" in lines[3]
    assert [line.split()[0] for line in lines[4:7]] == ["search", "kb/*", "api/*"]
    assert [line.split()[1:4] for line in lines[9:12]] == [
        ["ticket", "CircuitOpen", "0"],
        ["ticket", "ServerError", "1"],
        ["ticket", "ServerError", "1"],
    ]
    assert all(len(line) <= 80 for line in lines)


async def test_live_until_interrupted(admin: tuple[World, str]) -> None:
    w, address = admin

    def watched() -> int:
        terminal = Terminal([TOOLPOLICY, "top", "--admin", address], 80, 12)
        terminal.until(lambda lines: any(line.startswith("ticket") and "Open" in line for line in lines))
        w.current.runtime.circuit("ticket").reset()  # type: ignore[union-attr] # it is there
        lines = terminal.until(
            lambda lines: any("reset by hand" in line or "Closed" in line for line in lines)
        )
        assert not any(len(line) > 80 for line in lines)
        terminal.type(b"\x03")
        return terminal.ended()

    assert await asyncio.to_thread(watched) == 0


async def test_nobody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert await asyncio.to_thread(run, ["--once", "--admin", "127.0.0.1:1"]) == 1
    said = capsys.readouterr().err
    assert said == "toolpolicy top: no sidecar answers at 127.0.0.1:1: Connection refused\n"
