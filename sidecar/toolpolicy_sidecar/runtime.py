"""A snapshot made ready to serve, and the one that is in force."""

from typing import Literal

import msgspec

from toolpolicy_api import snapshot
from toolpolicy_api.channel import ToolKey, ToolReport
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.record import Recorder
from toolpolicy_sidecar.redact.redactor import InvalidPattern, Redactor
from toolpolicy_sidecar.tool import Circuit, HttpTools, McpTools, ServerState, ToolState
from toolpolicy_sidecar.upstream.origin import Place, parse


class InvalidSnapshot(ValueError):  # noqa: N818 -- a verdict on input, not a failure of the program
    """The message names the field, such as `policies[0].redaction.patterns[1]: …`."""


class UnknownTool(LookupError):  # noqa: N818 -- a verdict on input, not a failure of the program
    """No tool of the policies in force has this name. The message lists those that are."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the sidecar takes from the agent and from the tools, whatever the policy says."""

    body_bytes: int = 10 * 1024 * 1024
    """Of a request, and of an answer or event that must be read whole."""
    header_bytes: int = 64 * 1024
    """Of one header line."""
    request_s: float = 30.0
    """For the agent to send its whole request."""


class Runtime:
    """Built whole, swapped whole. Circuits whose key stays go on as they are."""

    def __init__(
        self, digest: str, source: str, policies: tuple[snapshot.Policy, ...], applied_ms: int
    ) -> None:
        self.hash = digest
        self.source = source
        self.policies = policies
        self.applied_ms = applied_ms
        self.servers: dict[str, ServerState] = {}
        self.circuits: dict[ToolKey, Circuit] = {}

    @classmethod
    def build(
        cls,
        value: snapshot.Snapshot,
        *,
        digest: str,
        source: str,
        previous: "Runtime | None",
        recorder: Recorder,
        clock: Clock,
    ) -> "Runtime":
        """Raises InvalidSnapshot, before anything of `previous` is touched."""
        redactors = [_redactor(policy, f"policies[{i}]") for i, policy in enumerate(value.policies)]
        runtime = cls(digest, source, value.policies, clock.unix_ms())
        kept = previous.circuits if previous else {}
        places = {
            (p, s): _place(server.url, f"policies[{p}].servers[{s}].url")
            for p, policy in enumerate(value.policies)
            for s, server in enumerate(policy.servers)
        }

        def circuit(policy: snapshot.Policy, server: str, tool: str, rules: snapshot.Rules) -> Circuit:
            key = ToolKey(policy.key, server, tool)
            if key in runtime.circuits:
                raise InvalidSnapshot(f"tool {tool!r} of {policy.key} appears twice")
            found = kept.get(key)
            if found:
                found.reload(rules)
            else:
                found = Circuit(key, rules, clock, recorder.transition)
            runtime.circuits[key] = found
            return found

        for p, policy in enumerate(value.policies):
            for s, server in enumerate(policy.servers):
                if server.name in runtime.servers:
                    raise InvalidSnapshot(f"policies[{p}].servers[{s}]: {server.name!r} appears twice")
                states = [
                    (
                        tool.match,
                        ToolState(
                            tool.name,
                            tool.rules,
                            circuit(policy, server.name, tool.name, tool.rules),
                            redactors[p],
                            policy.mode,
                        ),
                    )
                    for tool in policy.tools
                    if tool.server == server.name
                ]
                rest = circuit(policy, server.name, snapshot.UNLISTED, server.unlisted)
                unlisted = ToolState(snapshot.UNLISTED, server.unlisted, rest, redactors[p], policy.mode)
                tools: McpTools | HttpTools
                if server.protocol == "MCP":
                    tools = McpTools([(m.tool, t) for m, t in states if isinstance(m, snapshot.McpMatch)])
                else:
                    tools = HttpTools([(m, t) for m, t in states if isinstance(m, snapshot.HttpMatch)])
                runtime.servers[server.name] = ServerState(server, places[p, s], unlisted, tools, policy.key)
        return runtime

    def reports(self) -> tuple[ToolReport, ...]:
        """Every circuit as it is now, in the order of the policies."""
        return tuple(circuit.report() for circuit in self.circuits.values())

    def circuit(self, tool: str) -> Circuit:
        """By the tool's name; unlisted ones as `<server>/*`. Raises UnknownTool."""
        for key, circuit in self.circuits.items():
            if tool in {key.tool, f"{key.server}/{key.tool}"} and (
                key.tool != snapshot.UNLISTED or "/" in tool
            ):
                return circuit
        known = ", ".join(
            f"{key.server}/{key.tool}" if key.tool == snapshot.UNLISTED else key.tool for key in self.circuits
        )
        raise UnknownTool(f"no tool {tool[:128]!r}; known: {known or 'none'}")


class Current:
    """The one Runtime in force; none at a cold start."""

    def __init__(
        self, *, recorder: Recorder, clock: Clock, cold_start: Literal["Deny", "Passthrough"] = "Deny"
    ) -> None:
        self.runtime: Runtime | None = None
        self.cold_start = cold_start
        self.in_flight = 0
        self._recorder, self._clock = recorder, clock

    def install(self, data: bytes, source: str) -> Runtime:
        """Puts this snapshot in force at once. Raises InvalidSnapshot, and then keeps the one in force."""
        try:
            value = snapshot.decode_snapshot(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidSnapshot(str(error)) from None
        self.runtime = Runtime.build(
            value,
            digest=snapshot.sha256(data),
            source=source,
            previous=self.runtime,
            recorder=self._recorder,
            clock=self._clock,
        )
        return self.runtime


def _redactor(policy: snapshot.Policy, where: str) -> Redactor | None:
    if policy.redaction is None or policy.mode == "Off":
        return None
    try:
        return Redactor.compile(policy.redaction)
    except InvalidPattern as invalid:
        raise InvalidSnapshot(f"{where}.redaction: {invalid}") from None


def _place(url: str, where: str) -> Place:
    try:
        return parse(url)
    except ValueError as error:
        raise InvalidSnapshot(f"{where}: {error}") from None
