"""A real operator process: totals that a sidecar tells → status, and the ConfigMap that survives the operator."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_operator import AGENTS, Cluster, Operator, Sidecar, policy, sidecar, until
from toolpolicy_api import channel
from toolpolicy_operator.slo.store import NAME

pytestmark = pytest.mark.integration
KEY = channel.ToolKey(f"{AGENTS}/budgeted", "kb", "search")


@pytest.fixture(scope="module")
def cluster(control_plane: Path) -> Iterator[Cluster]:
    made = Cluster(control_plane)
    made.prepare()
    yield made
    made.close()


def budgeted() -> dict[str, Any]:
    made = policy()
    made["metadata"]["name"] = "budgeted"
    made["spec"]["selector"] = {"matchLabels": {"app": "budgeted"}}
    made["spec"]["tools"][0]["slo"] = {"availability": 99.5, "latency": {"p95": "5s"}}
    return made


@contextlib.asynccontextmanager
async def answering(mine: Sidecar) -> AsyncIterator[None]:
    """Pings are answered while someone reads."""

    async def read() -> None:
        async for _ in mine.socket:
            pass

    reading = asyncio.create_task(read())
    yield
    reading.cancel()


async def tell(mine: Sidecar, digest: str, calls: int, errors: int, slow: int) -> None:
    latency = (calls - slow, *(0,) * (len(channel.LATENCY_BOUNDS_MS) - 1), slow)
    totals = channel.Totals(since_ms=7, calls=calls, errors=errors, latency=latency)
    report = channel.ToolReport(key=KEY, state="Closed", totals=totals)
    await mine.send(channel.Heartbeat(hash=digest, tools=(report,)))


async def test_budgets_are_shown_and_survive_a_crash_without_a_call_lost_or_counted_twice(
    cluster: Cluster, control_plane: Path, tmp_path: Path
) -> None:
    cluster.pod("budgeted", labels={"app": "budgeted", "toolpolicy.dev/injected": "true"})
    cluster.apply(budgeted())
    # What someone has written there by hand harms nothing.
    garbage = {"metadata": {"name": NAME}, "data": {"budgeted": "{", "gone": '{"uid": 3}'}}
    cluster.core.create_namespaced_config_map(AGENTS, garbage)
    token = cluster.token("budgeted")

    def shown() -> dict[str, Any]:
        tools = cluster.status("budgeted").get("tools") or [{}]
        found: dict[str, Any] = tools[0].get("slo", {})
        return found

    def saved() -> bool:
        data = cluster.core.read_namespaced_config_map(NAME, AGENTS).data or {}
        return '"kb/search"' in data.get("budgeted", "") and "1000" in data["budgeted"]

    first = Operator(control_plane, "op-a", tmp_path / "op-a.log")
    try:
        async with sidecar(cluster, first, token) as mine:
            digest = (await mine.accept()).hash
            async with answering(mine):
                await tell(mine, digest, 0, 0, 0)
                await tell(mine, digest, 1000, 4, 10)
                await until(
                    lambda: shown().get("availability", {}).get("calls") == 1000, "the calls are counted"
                )
                assert shown()["availability"] == {
                    "calls": 1000,
                    "bad": 4,
                    "remainingPercent": "20",
                    "burnRate": "0.8",
                }
                assert shown()["latency"]["remainingPercent"] == "80"
                assert cluster.status("budgeted")["budget"] == "search 20% 0.8x"
                await until(saved, "the counts are saved")
                # Told after the last save, and never told to this operator: the next one counts both.
                await tell(mine, digest, 1200, 4, 10)
                await until(
                    lambda: shown().get("availability", {}).get("calls") == 1200, "the calls are counted"
                )
    finally:
        first.end(signal.SIGKILL)
    second = Operator(control_plane, "op-b", tmp_path / "op-b.log")
    try:
        log = tmp_path / "op-b.log"
        await until(lambda: '"leading"' in log.read_text("utf-8"), "the crashed leader's Lease runs out", 90)
        async with sidecar(cluster, second, token) as mine, answering(mine):
            await tell(mine, digest, 1300, 5, 10)
            await until(lambda: shown().get("availability", {}).get("calls") == 1300, "nothing is lost", 40)
            assert shown()["availability"]["bad"] == 5
    finally:
        second.end()
    cluster.core.delete_namespaced_pod("budgeted", AGENTS, grace_period_seconds=0)
    cluster.objects.delete_namespaced_custom_object(
        "toolpolicy.dev", "v1alpha1", AGENTS, "toolpolicies", "budgeted"
    )
