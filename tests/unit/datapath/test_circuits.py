"""Breakers, reloads and switches under real calls."""

import asyncio
import json
import statistics
import time
from functools import partial

from tests.unit.datapath.conftest import Sent, Sidecar, Tools, answer, policy, servers, tool_call
from tests.unit.datapath.loopback import HANG_S, by_hand, until
from toolpolicy_api import snapshot

BREAKER = {"consecutiveFailures": 3, "openFor": "1m"}
OPEN_S = 60


async def broken(_: Sent, writer: asyncio.StreamWriter) -> None:
    writer.write(answer(b"oops", "text/plain", "503 Unavailable"))


async def call(sidecar: Sidecar) -> str:
    async with sidecar.http.post(f"{sidecar.url}/kb", json=tool_call()) as response:
        body = json.loads(await response.read())
    result = body["result"]
    return str(result["_meta"]["toolpolicy.dev/reason"]) if result.get("isError") else "ok"


def install(sidecar: Sidecar, tools: Tools, **breaker: object) -> None:
    tool = {"name": "search", "server": "kb", "circuitBreaker": {**BREAKER, **breaker}}
    sidecar.install(servers=servers(tools.port), tools=[tool])


async def test_opens_refuses_probes_and_closes(sidecar: Sidecar, tools: Tools) -> None:
    install(sidecar, tools)
    tools.script = broken
    assert [await call(sidecar) for _ in range(4)] == ["ServerError"] * 3 + ["CircuitOpen"]
    assert len(tools.got) == 3
    sidecar.turn(OPEN_S)
    assert await call(sidecar) == "ServerError"
    assert await call(sidecar) == "CircuitOpen"
    tools.script = tools._ok
    sidecar.turn(OPEN_S)
    assert await call(sidecar) == "ok"
    assert [(t.before, t.after) for t in sidecar.kept.transitions] == [
        ("Closed", "Open"),
        ("Open", "HalfOpen"),
        ("HalfOpen", "Open"),
        ("Open", "HalfOpen"),
        ("HalfOpen", "Closed"),
    ]
    assert sidecar.kept.transitions[0].last_error == "ServerError: HTTP 503"


async def test_one_of_many_is_let_through_as_the_probe(sidecar: Sidecar, tools: Tools) -> None:
    install(sidecar, tools)
    tools.script = broken
    for _ in range(3):
        await call(sidecar)
    sidecar.turn(OPEN_S)
    reached, refused = len(tools.got), 0
    all_refused = asyncio.Event()

    async def probe(sent: Sent, writer: asyncio.StreamWriter) -> None:
        await all_refused.wait()
        await tools._ok(sent, writer)

    tools.script = probe
    calls = [asyncio.ensure_future(call(sidecar)) for _ in range(20)]
    for said in asyncio.as_completed(calls, timeout=HANG_S):
        last = await said
        refused += last == "CircuitOpen"
        if refused == 19:
            all_refused.set()
    assert len(tools.got) == reached + 1
    assert (refused, last) == (19, "ok")


async def test_an_open_circuit_refuses_without_the_network(sidecar: Sidecar, tools: Tools) -> None:
    install(sidecar, tools)
    tools.script = broken
    for _ in range(3):
        await call(sidecar)
    times = []
    for _ in range(50):
        started = time.perf_counter()
        assert await call(sidecar) == "CircuitOpen"
        times.append((time.perf_counter() - started) * 1000)
    print(f"\nrefused in {statistics.median(times):.2f} ms (median), {max(times):.2f} ms (max)")
    assert len(tools.got) == 3
    record = sidecar.kept.calls[-1]
    assert (record.outcome, record.attempts, record.upstream_ms) == ("refused", 0, None)


async def test_a_reload_keeps_an_open_circuit_open(sidecar: Sidecar, tools: Tools) -> None:
    install(sidecar, tools)
    tools.script = broken
    for _ in range(3):
        await call(sidecar)
    install(sidecar, tools, openFor="2m")
    assert await call(sidecar) == "CircuitOpen"
    install(sidecar, tools, mode="ForcedClosed")
    tools.script = tools._ok
    assert await call(sidecar) == "ok"


async def test_a_bad_snapshot_keeps_the_last_good_one(sidecar: Sidecar, tools: Tools) -> None:
    install(sidecar, tools)
    before = sidecar.current.runtime
    good = policy(servers=servers(tools.port), redaction={"patterns": [{"name": "x", "regex": "a"}]})
    bad = snapshot.encode(snapshot.Snapshot(policies=(good,))).replace(b'"regex":"a"', b'"regex":"("')
    for data in (bad, b"{", b"[]", b'{"policies":[{}]}'):
        try:
            sidecar.current.install(data, "test")
        except ValueError as error:
            assert str(error)  # noqa: PT017 -- both the message and the state after it are looked at
        else:
            raise AssertionError(data)
    assert sidecar.current.runtime is before
    assert await call(sidecar) == "ok"


async def test_swapping_under_load_loses_no_call(sidecar: Sidecar, tools: Tools) -> None:
    install(sidecar, tools)
    stop = asyncio.Event()
    said: list[str] = []

    async def agent() -> None:
        while not stop.is_set():
            said.append(await call(sidecar))

    agents = [asyncio.ensure_future(agent()) for _ in range(8)]
    for turn in range(50):
        install(sidecar, tools, openFor=f"{turn + 1}s")
        await until(partial(lambda enough: len(said) > enough, turn))
    stop.set()
    await asyncio.gather(*agents)
    assert set(said) == {"ok"}
    assert len(sidecar.kept.calls) == len(said)


async def test_switched_off_by_hand_and_back(sidecar: Sidecar, tools: Tools) -> None:
    install(sidecar, tools)
    assert sidecar.current.runtime
    circuit = sidecar.current.runtime.circuit("search")
    circuit.impose(by_hand("incident 7", 60))
    assert circuit.report().state == "Disabled"
    assert await call(sidecar) == "ToolDisabled"
    sidecar.turn(60)
    assert await call(sidecar) == "ok"
    assert [(t.before, t.after) for t in sidecar.kept.transitions] == [
        ("Closed", "Disabled"),
        ("Disabled", "Closed"),
    ]
    assert circuit.report().override is None


async def test_mode_off_lets_everything_pass_and_counts(sidecar: Sidecar, tools: Tools) -> None:
    tool = {"name": "search", "server": "kb", "enabled": False, "circuitBreaker": {"consecutiveFailures": 1}}
    sidecar.install(servers=servers(tools.port), tools=[tool], mode="Off")
    tools.script = broken
    async with sidecar.http.post(f"{sidecar.url}/kb", json=tool_call()) as response:
        assert (response.status, await response.read()) == (503, b"oops")
    tools.script = tools._ok
    assert await call(sidecar) == "ok"
    assert [record.outcome for record in sidecar.kept.calls] == ["failure", "success"]


async def test_tool_errors_and_throttles_count_only_by_choice(sidecar: Sidecar, tools: Tools) -> None:
    async def error(sent: Sent, writer: asyncio.StreamWriter) -> None:
        writer.write(
            answer(
                b'{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":true,"_meta":{"toolpolicy.dev/reason":"t"}}}'
            )
        )

    tools.script = error
    install(sidecar, tools, consecutiveFailures=1)
    assert [await call(sidecar) for _ in range(3)] == ["t"] * 3
    install(sidecar, tools, consecutiveFailures=1, countToolErrors=True)
    assert [await call(sidecar) for _ in range(2)] == ["t", "CircuitOpen"]


async def test_a_tool_that_is_slow_is_not_called_for_a_while(sidecar: Sidecar, tools: Tools) -> None:
    rate = {"percent": 100, "calls": 4, "minimumCalls": 2}
    install(sidecar, tools, failureRate=rate, slowCall={"over": "50ms", "percent": 100})

    async def slow(sent: Sent, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.06)
        await tools._ok(sent, writer)

    tools.script = slow
    assert [await call(sidecar) for _ in range(3)] == ["ok", "ok", "CircuitOpen"]
    assert [t.reason for t in sidecar.kept.transitions] == ["100% of 2 calls took over 50ms"]


async def test_draining_ends_what_is_in_flight_and_refuses_the_rest(sidecar: Sidecar, tools: Tools) -> None:
    install(sidecar, tools)
    go = asyncio.Event()

    async def slow(sent: Sent, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        await tools._ok(sent, writer)

    tools.script = slow
    running = asyncio.ensure_future(call(sidecar))
    await until(lambda: tools.got)
    draining = asyncio.ensure_future(sidecar.listener.drain(HANG_S))
    await asyncio.sleep(0)
    go.set()
    assert await running == "ok"
    await draining
