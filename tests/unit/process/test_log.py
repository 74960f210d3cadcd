"""Lines on standard output, in the order of what happened."""

import asyncio
import json
import logging
import threading
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from tests.unit.telemetry.made import PLAIN, record
from toolpolicy_sidecar.log import TOGETHER, WAIT_S, LogRecorder, configure
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.record import CallRecord, EgressRecord
from toolpolicy_sidecar.simulate.virtual_time import VirtualLoop

WHAT_IS_THERE = {"duration_ms": 12.345, "attempts": 1}
SUCCESS = record(**WHAT_IS_THERE)
FAILURE = replace(SUCCESS, outcome="failure", reason=Reason.ServerError, status=502)


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.level, root.handlers[:])
    yield
    root.level, root.handlers[:] = before


def lines(captured: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in captured.readouterr().out.splitlines()]


async def test_a_call_is_a_line_without_what_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info")
    LogRecorder().call(SUCCESS)
    await asyncio.sleep(0)
    (line,) = lines(capsys)
    assert str(line.pop("time")).endswith("+00:00")
    assert line == {"level": "info", "event": "call", "schema": "call/v1"} | PLAIN | WHAT_IS_THERE


async def test_what_is_said_between_calls_stands_between_them(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info")
    LogRecorder().call(SUCCESS)
    logging.getLogger("toolpolicy").info("between")
    LogRecorder().call(FAILURE)
    await asyncio.sleep(0)
    found = lines(capsys)
    assert [line["event"] for line in found] == ["call", "between", "call"]
    assert [line["level"] for line in found] == ["info", "info", "warning"]
    assert found[2]["reason"] == "ServerError"


async def test_what_another_thread_says_takes_no_calls_along(capsys: pytest.CaptureFixture[str]) -> None:
    """It would empty lists that the event loop is about to fill."""
    configure("info")
    LogRecorder().call(SUCCESS)
    thread = threading.Thread(target=logging.getLogger("toolpolicy").info, args=("beside",))
    thread.start()
    thread.join()
    assert [line["event"] for line in lines(capsys)] == ["beside"]
    await asyncio.sleep(0)
    assert [line["event"] for line in lines(capsys)] == ["call"]


def closely(captured: pytest.CaptureFixture[str], records: list[CallRecord]) -> tuple[int, int]:
    """A call, and these in the next turn: how many lines leave with that turn, how many after a while. The clock stands
    still until nothing is left to do."""

    async def main() -> tuple[int, int]:
        log = LogRecorder()
        log.call(SUCCESS)
        await asyncio.sleep(0)
        assert len(lines(captured)) == 1
        for each in records:
            log.call(each)
        await asyncio.sleep(0)
        at_once = len(lines(captured))
        await asyncio.sleep(WAIT_S)
        return at_once, len(lines(captured))

    configure("info")
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


def test_lines_that_follow_others_closely_wait_for_more(capsys: pytest.CaptureFixture[str]) -> None:
    assert closely(capsys, [SUCCESS] * 3) == (0, 3)


def test_a_failed_call_waits_for_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert closely(capsys, [SUCCESS, FAILURE]) == (2, 0)


def test_so_many_lines_wait_and_no_more(capsys: pytest.CaptureFixture[str]) -> None:
    assert closely(capsys, [SUCCESS] * TOGETHER) == (TOGETHER, 0)


async def test_what_waits_at_the_end_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info")
    LogRecorder().call(SUCCESS)
    for handler in logging.getLogger().handlers:  # as logging itself does when a process ends
        handler.close()
    assert [line["event"] for line in lines(capsys)] == ["call"]


async def test_the_level_is_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    configure("warning")
    LogRecorder().call(SUCCESS)
    await asyncio.sleep(0)
    assert lines(capsys) == []


async def test_what_passed_unread_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info")
    tunnel = EgressRecord(
        via="Tunnel", destination="other:443", status=200, duration_ms=1, sent_bytes=2, received_bytes=3
    )
    LogRecorder().egress(tunnel)
    LogRecorder().egress(
        replace(tunnel, via="WebSocket", destination="kb:80", status=101, server="kb", error="cut")
    )
    about = {"level": "info", "event": "egress", "duration_ms": 1, "sent_bytes": 2, "received_bytes": 3}
    said = [{key: value for key, value in line.items() if key != "time"} for line in lines(capsys)]
    assert said == [
        about | {"via": "Tunnel", "destination": "other:443", "status": 200},
        about | {"via": "WebSocket", "destination": "kb:80", "status": 101, "server": "kb", "error": "cut"},
    ]
