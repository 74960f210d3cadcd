"""The admin API over a real socket, on a real data path."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import msgspec
import pytest

from tests.unit.datapath.loopback import World, breaker, rules, until, world
from tests.unit.datapath.test_retries import TICKET, says
from toolpolicy_api import snapshot
from toolpolicy_sidecar import reported
from toolpolicy_sidecar.admin import Admin
from toolpolicy_sidecar.clock import SystemClock
from toolpolicy_sidecar.override import asked
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.record import RefusedRequest
from toolpolicy_sidecar.view import FailedCalls


class Desk:
    def __init__(self, w: World, http: aiohttp.ClientSession, failed: FailedCalls) -> None:
        self.w, self.http, self.failed = w, http, failed

    async def shown(self, what: str) -> Any:
        async with self.http.get(f"/admin/{what}") as response:
            return (await response.json())[what]

    async def say(self, verb: str, tool: str = "ticket", **query: str) -> tuple[int, dict[str, Any]]:
        async with self.http.post(f"/admin/tools/{tool}/{verb}", params=query) as response:
            return response.status, await response.json()

    async def calls(self, times: int = 1) -> list[int]:
        agent = await self.w.agent()
        return [(await agent.request("GET", TICKET)).status for _ in range(times)]


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with world() as w:
        w.install(tool_rules=rules(breaker=breaker(1)))
        failed = FailedCalls(3)
        pages = Admin(w.current, SystemClock(), failed, w.recorded).pages()
        host, port = "127.0.0.1", await pages.start("127.0.0.1", 0)
        async with aiohttp.ClientSession(f"http://{host}:{port}") as http:
            yield Desk(w, http, failed)
        await pages.close()


async def test_disabled_by_whom_and_why_and_until_when(desk: Desk) -> None:
    status, report = await desk.say("disable", **{"for": "30m", "reason": "incident 7", "by": "alice"})
    assert (status, report["state"]) == (200, "Disabled")
    until_ms = report["override"].pop("untilMs")
    assert report["override"] == {"action": "Disable", "reason": "incident 7", "by": "alice"}
    assert 0 <= SystemClock().unix_ms() + 1_800_000 - until_ms < 60_000
    assert await desk.calls() == [503]
    assert (await desk.say("enable"))[1]["state"] == "Closed"
    assert await desk.calls() == [200]


async def test_it_ends_by_itself_when_nobody_looks(desk: Desk) -> None:
    await desk.say("disable", **{"for": "100ms", "by": "alice"})
    await until(lambda: len(desk.w.recorded.transitions) == 2)
    assert [(t.before, t.after, t.reason) for t in desk.w.recorded.transitions] == [
        ("Closed", "Disabled", "disabled by hand (alice)"),
        ("Disabled", "Closed", "no longer disabled by hand (alice); its time was over"),
    ]


async def test_forced_closed_lets_calls_pass_that_the_circuit_would_refuse(desk: Desk) -> None:
    desk.w.tool.script = says(500)
    assert await desk.calls(2) == [500, 503]
    status, report = await desk.say("force-closed", reason="false alarm")
    assert (status, report["state"], report["override"]["action"]) == (200, "Closed", "ForceClosed")
    assert await desk.calls(2) == [500, 500]
    await until(lambda: len(desk.w.recorded.calls) == 4)
    assert [call.shadow for call in desk.w.recorded.calls] == [(), (), ("CircuitOpen",), ("CircuitOpen",)]
    assert (await desk.say("enable"))[1]["state"] == "Open"
    assert await desk.calls() == [503]
    assert (await desk.say("reset"))[1]["state"] == "Closed"
    assert await desk.calls() == [500]


async def test_without_a_time_it_is_for_an_hour(desk: Desk) -> None:
    _, report = await desk.say("disable")
    assert 0 <= SystemClock().unix_ms() + 3_600_000 - report["override"]["untilMs"] < 60_000


@pytest.mark.parametrize(
    ("verb", "query", "words"),
    [
        ("disable", {"for": "soon"}, "for: "),
        ("disable", {"for": "0s"}, "for: not within the next 7 days"),
        (
            "disable",
            {"for": "169h"},
            "for: not within the next 7 days; what is to last belongs in the policy",
        ),
        ("disable", {"until": "2020-01-01T00:00:00Z"}, "until: not within the next 7 days"),
        ("force-closed", {"until": "2026-01-01T00:00:00"}, "until: write it like 2026-11-21T04:30:00Z"),
        ("force-closed", {"until": "dawn"}, "until: write it like"),
        ("disable", {"until": "2026-11-21T04:30:00Z", "for": "1m"}, "for, until: say one of them"),
    ],
)
async def test_a_wrong_time_changes_nothing(desk: Desk, verb: str, query: dict[str, str], words: str) -> None:
    status, said = await desk.say(verb, **query)
    assert (status, said["error"].startswith(words)) == (400, True), said
    assert await desk.calls() == [200]


@pytest.mark.parametrize("mode", ["Shadow", "Off"])
async def test_a_switch_that_would_do_nothing_is_not_accepted(desk: Desk, mode: str) -> None:
    desk.w.install(mode=mode, tool_rules=rules(breaker=breaker(1)))
    status, said = await desk.say("disable")
    assert (status, said["error"]) == (409, f"its policy is in mode {mode}: calls pass whatever is switched")
    desk.w.install(tool_rules=rules())
    status, said = await desk.say("force-closed")
    assert (status, said["error"]) == (409, "it has no circuit breaker: nothing of it is ever open")


@pytest.mark.parametrize(
    ("query", "reason", "by"),
    [
        ({"reason": "r" * 500, "by": "b" * 500}, "r" * 200, "b" * 80),
        ({"reason": "line\nbreak\x1b[31m", "by": "\u202eevil"}, "linebreak[31m", "evil"),
    ],
)
def test_what_a_caller_says_is_bounded_and_one_line(query: Mapping[str, str], reason: str, by: str) -> None:
    override = asked("Disable", query, 100.0, 1_000_000)
    assert (override.reason, override.by) == (reason, by)
    assert (override.until, override.until_ms) == (3700.0, 4_600_000)


def test_until_is_a_moment_of_any_zone() -> None:
    override = asked("Disable", {"until": "1970-01-01T01:20:00+01:00"}, 100.0, 600_000)
    assert (override.until, override.until_ms) == (700.0, 1_200_000)


async def test_the_window_of_a_circuit(desk: Desk) -> None:
    rates = snapshot.CallRates(minimum_calls=10, window_ms=3_600_000, failure_percent=50)
    desk.w.install(tool_rules=rules(breaker=breaker(3, rates=rates), concurrency=snapshot.Concurrency(max=7)))
    desk.w.tool.script = says(500)
    assert await desk.calls(2) == [500, 500]
    circuit = next(c for c in await desk.shown("circuits") if c["key"]["tool"] == "ticket")
    assert circuit["window"] == {
        "failuresInRow": 2,
        "consecutiveFailures": 3,
        "calls": 2,
        "failures": 2,
        "minimumCalls": 10,
        "lengthMs": 3_600_000,
        "failurePercent": 50,
    }
    assert (circuit["state"], circuit["slots"], circuit["calls"]) == ("Closed", 7, 2)
    assert await desk.calls(2) == [500, 503]
    circuit = next(c for c in await desk.shown("circuits") if c["key"]["tool"] == "ticket")
    assert (circuit["state"], circuit["window"].get("failuresInRow", 0)) == ("Open", 0)
    assert [c.get("window") for c in await desk.shown("circuits") if c["key"]["tool"] == "*"] == [None, None]


async def test_the_last_failing_calls_without_a_value(desk: Desk) -> None:
    canary = "sk-canary12345678"
    trace = "0af7651916cd43dd8448eb211c80319c"
    desk.w.install(tool_rules=rules(breaker=breaker(3)))
    agent = await desk.w.agent()
    for status in (200, 500, 500, 500):
        desk.w.tool.script = says(status)
        headers = [("traceparent", f"00-{trace}-b7ad6b7169203331-01"), ("X-Secret", canary)]
        await agent.request("GET", f"{TICKET}?q={canary}&{canary}=1", headers=headers)
    await agent.request("GET", TICKET)
    await until(lambda: len(desk.w.recorded.calls) == 5)
    for record in desk.w.recorded.calls:
        desk.failed.call(record)
    shown = await desk.shown("calls")
    assert [call["reason"] for call in shown] == ["CircuitOpen", "ServerError", "ServerError"]
    assert (shown[0].get("attempts", 0), shown[1]["attempts"]) == (0, 1)
    assert (shown[1]["policy"], shown[1]["server"], shown[1]["tool"]) == ("support/agent", "api", "ticket")
    assert (shown[1]["traceId"], shown[1]["error"], shown[1]["status"]) == (trace, "HTTP 500", 500)
    assert shown[1]["durationMs"] >= shown[1]["upstreamMs"] > 0
    assert canary not in str(shown)


async def test_calls_that_another_process_reports(desk: Desk) -> None:
    agent = await desk.w.agent()
    desk.w.install(mode="Shadow", tool_rules=rules(enabled=False))
    await agent.request("GET", TICKET)
    (made,) = [await desk.w.recorded_call()]
    assert made.shadow == ("ToolDisabled",)
    strange = msgspec.structs.replace(made, tool="made-up")
    body = reported.encode([made, strange, RefusedRequest(reason=Reason.BatchRefused, status=400)])
    async with desk.http.post("/admin/records", data=body) as response:
        assert await response.json() == {"taken": 1}
    assert desk.w.recorded.calls == [made, made]
    assert [refusal.reason for refusal in desk.w.recorded.refusals] == ["BatchRefused"]
    runtime = desk.w.current.runtime
    assert runtime
    assert runtime.circuit("ticket").report().calls == 2


@pytest.mark.parametrize("body", [b"{", b'{"calls":[{}]}', b'{"calls":3}'])
async def test_what_is_no_report_is_refused(desk: Desk, body: bytes) -> None:
    async with desk.http.post("/admin/records", data=body) as response:
        assert (response.status, "error" in await response.json()) == (400, True)
    assert desk.w.recorded.calls == []
