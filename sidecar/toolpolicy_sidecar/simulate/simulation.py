"""Runs a fleet of sidecars, agents and tools in virtual time: the pipelines are the sidecar's own."""

import asyncio
import random
from typing import NamedTuple

from toolpolicy_api import snapshot
from toolpolicy_sidecar.call import ToolCall
from toolpolicy_sidecar.current import Current
from toolpolicy_sidecar.limits import Limits
from toolpolicy_sidecar.pipeline import Pipeline
from toolpolicy_sidecar.runtime import Runtime
from toolpolicy_sidecar.simulate.agent import Ask, UnreadReply, arrivals, ask_for, recognised
from toolpolicy_sidecar.simulate.observed import PodRecorder, ToolObserved, spans
from toolpolicy_sidecar.simulate.scenario import BadScenario, Load, Scenario
from toolpolicy_sidecar.simulate.script import Script
from toolpolicy_sidecar.simulate.upstream import Place, ScriptedUpstream
from toolpolicy_sidecar.simulate.virtual_time import VirtualLoop

PATIENCE_S = 600.0
"""For calls under way at the end of the scenario. Then the agents hang up, if no policy sets them a deadline."""
_LIMITS = Limits()


class _Pod(NamedTuple):
    runtime: Runtime
    pipeline: Pipeline


def simulate(policies: bytes, scenario: Scenario) -> list[ToolObserved]:
    """`policies` is a snapshot, as `config.files.compile_files` gives it. Equal arguments give equal results. Raises
    BadScenario where it does not fit the policies."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_run(policies, scenario))


async def _run(policies: bytes, scenario: Scenario) -> list[ToolObserved]:
    clock = asyncio.get_running_loop()
    if not isinstance(clock, VirtualLoop):
        raise TypeError("a simulation runs in virtual time only")
    known = snapshot.decode_snapshot(policies).policies
    asks = {load.name: ask_for(load.name, known) for load in scenario.tools}
    fleet = _Fleet(policies, scenario, asks, clock)
    await fleet.refuse_mistaken()
    await fleet.run()
    return list(fleet.observed.values())


class _Fleet:
    def __init__(self, policies: bytes, scenario: Scenario, asks: dict[str, Ask], clock: VirtualLoop) -> None:
        self._scenario, self._asks, self._clock = scenario, asks, clock
        self.observed = {
            name: ToolObserved(name, spans(scenario, name), scenario.duration_s) for name in asks
        }
        self._pods = [self._pod(index, policies) for index in range(scenario.pods)]
        self._calls: set[asyncio.Task[None]] = set()

    async def refuse_mistaken(self) -> None:
        """Raises BadScenario where a call for the tool would be taken for a call of another one."""
        for name, ask in self._asks.items():
            call = await recognised(ask, self._pods[0].runtime, ask.incoming(0.0, 0), _LIMITS)
            if not isinstance(call, ToolCall) or call.tool.name != ask.key[1]:
                taken_by = f" is taken by {call.tool.name!r}" if isinstance(call, ToolCall) else " is none"
                asked = ask.mcp_name or f"{ask.method} {ask.path}"
                text = f"tools: {name!r}: a call that its match should take ({asked}){taken_by}"
                raise BadScenario([f"{text}; is another tool before it in the policy?"])

    async def run(self) -> None:
        await asyncio.gather(*(self._agents(load) for load in self._scenario.tools))
        calls = self._calls
        if calls:
            await asyncio.wait(calls, timeout=PATIENCE_S)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, *(pod.pipeline.close() for pod in self._pods), return_exceptions=True)

    def _pod(self, index: int, policies: bytes) -> _Pod:
        scenario, observed, clock = self._scenario, self.observed, self._clock
        recorder = PodRecorder(index, {ask.key: observed[name] for name, ask in self._asks.items()})
        runtime = Current(recorder=recorder, clock=clock).install(policies, "a simulation")
        scripts = {}
        for load in scenario.tools:
            dice = self._dice(f"tool {load.name} for pod {index}")
            scripts[_place(self._asks[load.name], runtime)] = Script(load, scenario.phases, dice)
        upstream = ScriptedUpstream(
            scripts,
            [server.place.origin for server in runtime.servers.values() if server.protocol == "MCP"],
            clock,
            lambda tool, at: observed[tool].attempted(at),
        )
        dice = self._dice(f"sidecar of pod {index}")
        return _Pod(runtime, Pipeline(upstream, _LIMITS, clock, recorder, dice))

    async def _agents(self, load: Load) -> None:
        """They call whatever they hear: a refusal makes no agent call less or more."""
        scenario, ask = self._scenario, self._asks[load.name]
        dice = self._dice(f"arrivals of {load.name}")
        for at, pod in arrivals(load, scenario.pods, scenario.duration_s, dice):
            await asyncio.sleep(at - self._clock.time())
            task = self._clock.create_task(self._call(ask, self._pods[pod]))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)

    async def _call(self, ask: Ask, pod: _Pod) -> None:
        incoming = ask.incoming(self._clock.monotonic(), self._clock.unix_ms())
        call = await recognised(ask, pod.runtime, incoming, _LIMITS)
        if isinstance(call, ToolCall):
            await pod.pipeline.call(call, UnreadReply())

    def _dice(self, whose: str) -> random.Random:
        """Each has its own, so that agents call at the same times whatever the policy is."""
        return random.Random(f"{self._scenario.seed} {whose}")  # noqa: S311 -- to be repeatable


def _place(ask: Ask, runtime: Runtime) -> Place:
    server = runtime.servers[ask.key[0]]
    return Place(server.place.origin, ask.method, server.target(ask.path, None), ask.mcp_name)
