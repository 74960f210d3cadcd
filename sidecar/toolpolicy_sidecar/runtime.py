"""A snapshot made ready to serve, and the one that is in force."""

from collections import Counter
from collections.abc import Callable
from hashlib import blake2b
from secrets import token_bytes
from typing import Literal
from urllib.parse import quote

import msgspec

from toolpolicy_api import snapshot
from toolpolicy_api.channel import ToolKey, ToolReport
from toolpolicy_api.pem import fault_of_bundle
from toolpolicy_sidecar.circuit import Circuit
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.egress import Egress
from toolpolicy_sidecar.fallback.schemas import OutputSchemas
from toolpolicy_sidecar.in_flight import InFlight
from toolpolicy_sidecar.record import Recorder
from toolpolicy_sidecar.redact.preview import Preview
from toolpolicy_sidecar.redact.redactor import InvalidPattern, Redactor
from toolpolicy_sidecar.redact.tokens import Vault
from toolpolicy_sidecar.resilience.budget import RetryBudget
from toolpolicy_sidecar.slots import Slots, SlotsKey
from toolpolicy_sidecar.tool import HttpTools, McpTools, Other, ServerState, ToolState, path_segments
from toolpolicy_sidecar.upstream.origin import Origin, Place, over_pipes, parse

_URL_PATH = "/%:@!$&'()*+,;=-._~[]"
"""What stays as it is in a url's path; anything else is percent-encoded."""


class InvalidSnapshot(ValueError):  # noqa: N818 -- a verdict on input, not a failure of the program
    """The message names the field, such as `policies[0].redaction.patterns[1]: …`."""


class UnknownTool(LookupError):  # noqa: N818 -- a verdict on input, not a failure of the program
    """No tool of the policies in force has this name. The message lists those that are."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the sidecar takes from the agent and from the tools, whatever the policy says."""

    body_bytes: int = 10 * 1024 * 1024
    """Of a request, and of an answer or event that must be read whole."""
    header_bytes: int = 64 * 1024
    """Of the request line and all headers together."""
    header_count: int = 128
    head_s: float = 10.0
    """From the first byte of a request's line to the end of its headers."""
    request_s: float = 30.0
    """For the agent to send its whole request."""
    tunnels: int = 1024
    """Open at once, to hosts that no policy names; and as many WebSockets to its servers, on each listener."""
    tunnel_idle_s: float = 3600.0
    """A tunnel or WebSocket in which nothing moves either way for so long is cut."""
    handshake_s: float = 10.0
    """For the agent's TLS handshake, where it is intercepted."""
    keep_alive_s: float = 75.0
    """For the next request of an agent to begin, or the first one."""


class Runtime:
    """Built whole, swapped whole. Circuits whose key and upstream stay go on as they are, and so do the retry budgets
    of upstreams."""

    def __init__(
        self, digest: str, source: str, policies: tuple[snapshot.Policy, ...], applied_ms: int
    ) -> None:
        self.hash = digest
        self.source = source
        self.policies = policies
        self.applied_ms = applied_ms
        self.servers: dict[str, ServerState] = {}
        self.circuits: dict[ToolKey, Circuit] = {}
        self.retry_budgets: dict[tuple[Origin, snapshot.Mode], RetryBudget] = {}
        """By mode: retries that nobody makes take nothing from those that are made."""
        self.slots: dict[SlotsKey, Slots] = {}
        self.vaults: dict[str, Vault] = {}
        """By policy."""
        self.egress = Egress((), {})

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
        secret: bytes,
    ) -> "Runtime":
        """`secret`: behind the placeholders of redaction. Raises InvalidSnapshot, before anything of `previous` is
        touched."""
        plan = _Plan(value, secret)
        runtime = cls(digest, source, value.policies, clock.unix_ms())
        kept = previous.circuits if previous else {}
        budgets = previous.retry_budgets if previous else {}

        def circuit(key: ToolKey, place: Place, rules: snapshot.Rules) -> Circuit:
            """The one that is, if it stands for the same tool at the same place."""
            found = kept.get(key)
            if found is not None and found.place == place:
                found.reload(rules)
            else:
                by_hand = found.override(clock.monotonic()) if found is not None else None
                found = Circuit(key, place, rules, clock, recorder.transition, override=by_hand)
            runtime.circuits[key] = found
            return found

        def slots(key: SlotsKey, policy: snapshot.Policy, limit: snapshot.Concurrency | None) -> Slots:
            """The same: calls that hold a slot, or wait for one, go on."""
            if policy.mode == "Off":
                limit = None
            found = previous.slots.get(key) if previous else None
            if found is not None:
                found.reload(limit)
            else:
                owner = "the tool" if key.tool is not None else f"its server {key.server}"
                found = Slots(owner, limit, clock)
            runtime.slots[key] = found
            return found

        states: dict[str, ToolState] = {}
        for p, policy in enumerate(value.policies):
            tokens = _tokens(policy)
            vault = _vault(tokens, previous.vaults.get(policy.key) if previous else None, clock)
            if vault is not None:
                runtime.vaults[policy.key] = vault
            for server in policy.servers:
                place = plan.places[server.name]
                tools = {}
                for name, rules in _rules(policy, server):
                    key = ToolKey(policy.key, server.name, name)
                    tools[name] = ToolState(
                        name,
                        rules,
                        circuit(key, place, rules),
                        slots(SlotsKey(policy.key, server.name, name, place), policy, rules.concurrency),
                        redactor=plan.redactor(p, name),
                        mode=policy.mode,
                        vault=vault,
                        trusted=tokens is not None and name in tokens.trusted,
                    )
                states |= tools
                found = _matching(policy, server, tools)
                before = previous.servers.get(server.name) if previous else None
                whose = (place.origin, policy.mode)
                budget = runtime.retry_budgets.setdefault(whose, budgets.get(whose) or RetryBudget())
                runtime.servers[server.name] = ServerState(
                    server,
                    place,
                    slots(SlotsKey(policy.key, server.name, None, place), policy, server.concurrency),
                    unlisted=tools[snapshot.UNLISTED],
                    tools=found,
                    policy=policy.key,
                    retry_budget=budget,
                    schemas=_schemas(server, place, tools, before),
                    preview=plan.previews[p],
                )
        runtime.egress = Egress(value.policies, runtime.servers)
        _link(value, runtime.servers, states)
        for key, old in kept.items():
            if runtime.circuits.get(key) is not old:
                old.retire()
        return runtime

    def reports(self) -> tuple[ToolReport, ...]:
        """Every circuit as it is now, in the order of the policies."""
        return tuple(circuit.report() for circuit in self.circuits.values())

    def mode(self, circuit: Circuit) -> snapshot.Mode:
        """Of the policy that has it."""
        return next(policy.mode for policy in self.policies if policy.key == circuit.key.policy)

    def circuit(self, tool: str) -> Circuit:
        """By the tool's name; unlisted ones as `<server>/*`. Raises UnknownTool."""
        for key, circuit in self.circuits.items():
            if tool == _address(key):
                return circuit
        known = ", ".join(_address(key) for key in self.circuits)
        raise UnknownTool(f"no tool {tool[:128]!r}; known: {known or 'none'}")


class Current:
    """The one Runtime in force; none at a cold start."""

    def __init__(
        self,
        *,
        recorder: Recorder,
        clock: Clock,
        cold_start: Literal["Deny", "Passthrough"] = "Deny",
        secret: bytes | None = None,
    ) -> None:
        """`secret`: 32 random bytes by default; new with every process, so no placeholder outlives it."""
        self.runtime: Runtime | None = None
        self.cold_start = cold_start
        self.in_flight = InFlight()
        self.websockets: Counter[tuple[str, str]] = Counter()
        """Those that are open, by policy and server. What had one once has a 0."""
        self.on_install: list[Callable[[Runtime], None]] = []
        """Asked after each change of what is in force."""
        self._recorder, self._clock = recorder, clock
        self._secret = secret or token_bytes(32)

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
            secret=self._secret,
        )
        for installed in self.on_install:
            installed(self.runtime)
        return self.runtime


class _Plan:
    """Everything of a snapshot that can be wrong, looked at before anything is made of it."""

    def __init__(self, value: snapshot.Snapshot, secret: bytes) -> None:
        """Raises InvalidSnapshot."""
        self._redactors: list[Redactor | None] = []
        self._own_redactors: dict[str, Redactor | None] = {}
        self.previews: list[Preview | None] = []
        self.places: dict[str, Place] = {}
        tools: set[str] = set()
        for p, policy in enumerate(value.policies):
            where = f"policies[{p}]"
            self._redactors.append(_redactor(policy, policy.redaction, where, secret))
            self.previews.append(_preview(policy, where))
            protocols = {server.name: server.protocol for server in policy.servers}
            for s, server in enumerate(policy.servers):
                if server.name in self.places:
                    raise InvalidSnapshot(f"{where}.servers[{s}].name: {server.name!r} appears twice")
                self.places[server.name] = _place(server, f"{where}.servers[{s}]")
                _breaker(server.unlisted, f"{where}.servers[{s}].unlisted")
            for t, tool in enumerate(policy.tools):
                if tool.name in tools or tool.name == snapshot.UNLISTED:
                    raise InvalidSnapshot(f"{where}.tools[{t}].name: {tool.name!r} appears twice")
                tools.add(tool.name)
                at = f"{where}.tools[{t}]"
                _tool(tool, protocols.get(tool.server), at)
                if tool.redaction is not None:
                    self._own_redactors[tool.name] = _redactor(policy, tool.redaction, at, secret)
            _refuse_circles(policy, where)

    def redactor(self, policy: int, tool: str) -> Redactor | None:
        """The tool's own, else its policy's."""
        return self._own_redactors.get(tool, self._redactors[policy])


def _tool(tool: snapshot.Tool, protocol: str | None, where: str) -> None:
    if protocol is None:
        raise InvalidSnapshot(f"{where}.server: no server {tool.server!r} in this policy")
    if isinstance(tool.match, snapshot.McpMatch) != (protocol == "MCP"):
        raise InvalidSnapshot(f"{where}.match: does not fit its server, which speaks {protocol}")
    if isinstance(tool.match, snapshot.HttpMatch):
        try:
            path_segments(tool.match.path)
        except ValueError as error:
            raise InvalidSnapshot(f"{where}.match.path: {error}") from None
    _breaker(tool.rules, f"{where}.rules")


def _breaker(rules: snapshot.Rules, where: str) -> None:
    rates = rules.breaker.rates if rules.breaker else None
    if rates and (rates.calls is None) == (rates.window_ms is None):
        raise InvalidSnapshot(f"{where}.breaker.rates: needs one of calls and window_ms")


def _rules(policy: snapshot.Policy, server: snapshot.Server) -> list[tuple[str, snapshot.Rules]]:
    listed = [(tool.name, tool.rules) for tool in policy.tools if tool.server == server.name]
    return [*listed, (snapshot.UNLISTED, server.unlisted)]


def _matching(
    policy: snapshot.Policy, server: snapshot.Server, tools: dict[str, ToolState]
) -> McpTools | HttpTools:
    matches = [(tool.match, tools[tool.name]) for tool in policy.tools if tool.server == server.name]
    if server.protocol == "MCP":
        return McpTools([(m.tool, tool) for m, tool in matches if isinstance(m, snapshot.McpMatch)])
    return HttpTools([(m, tool) for m, tool in matches if isinstance(m, snapshot.HttpMatch)])


def _link(value: snapshot.Snapshot, servers: dict[str, ServerState], states: dict[str, ToolState]) -> None:
    """Each tool to the one that it falls back on. One that an older policy has claimed is not there."""
    for policy in value.policies:
        listed = {tool.name: tool for tool in policy.tools}
        for tool in policy.tools:
            state = states[tool.name]
            fallback = state.fallback
            if isinstance(fallback, snapshot.ToolFallback) and (other := listed.get(fallback.name)):
                state.other = Other(
                    servers[other.server], states[other.name], other.match, tool.match, fallback.arguments
                )


def _refuse_circles(policy: snapshot.Policy, where: str) -> None:
    """Raises InvalidSnapshot: a call would go round them until its time is over."""
    next_of = {
        tool.name: tool.rules.fallback.name
        for tool in policy.tools
        if isinstance(tool.rules.fallback, snapshot.ToolFallback)
    }
    for name in next_of:
        way = [name]
        while (following := next_of.get(way[-1])) is not None:
            if following in way:
                raise InvalidSnapshot(f"{where}.tools: {following!r} falls back on itself")
            way.append(following)


def _schemas(
    server: snapshot.Server, place: Place, tools: dict[str, ToolState], before: ServerState | None
) -> OutputSchemas | None:
    """What is known stays known while the server stays where it is."""
    successes = any(
        tool.fallback is not None and not isinstance(tool.fallback, snapshot.MessageFallback)
        for tool in tools.values()
    )
    if server.protocol != "MCP" or not successes:
        return None
    kept = before.schemas if before is not None and before.place == place else None
    return OutputSchemas() if kept is None else kept


def _address(key: ToolKey) -> str:
    return f"{key.server}/{key.tool}" if key.tool == snapshot.UNLISTED else key.tool


def _tokens(policy: snapshot.Policy) -> snapshot.Tokens | None:
    """None: nothing becomes a token."""
    if policy.mode != "Enforce":
        return None
    redactions = (policy.redaction, *(tool.redaction for tool in policy.tools))
    return next((each.tokens for each in redactions if each is not None and each.action == "Tokenize"), None)


def _vault(tokens: snapshot.Tokens | None, before: Vault | None, clock: Clock) -> Vault | None:
    """The one that is: conversations go on."""
    if tokens is None:
        return None
    if before is None:
        return Vault(tokens, clock)
    before.reload(tokens)
    return before


def _redactor(
    policy: snapshot.Policy, redaction: snapshot.Redaction | None, where: str, secret: bytes
) -> Redactor | None:
    """None: there is nothing to look for."""
    if redaction is None or policy.mode == "Off" or redaction.idle:
        return None
    try:
        return Redactor.compile(redaction, _key(secret, policy.key))
    except InvalidPattern as invalid:
        names = [pattern.name for pattern in redaction.patterns]
        if invalid.name in names:
            field = f"patterns[{names.index(invalid.name)}]"
        else:
            field = invalid.name if invalid.name.endswith("]") else "detectors"
        raise InvalidSnapshot(f"{where}.redaction.{field}: {invalid}") from None


def _preview(policy: snapshot.Policy, where: str) -> Preview | None:
    """None: no call is looked at."""
    if policy.preview is None or policy.mode == "Off":
        return None
    try:
        return Preview(policy.preview)
    except InvalidPattern as invalid:
        raise InvalidSnapshot(f"{where}.preview.detectors: {invalid}") from None


def _key(secret: bytes, policy: str) -> bytes:
    """One for each policy: what two policies hide cannot be compared."""
    return blake2b(policy.encode(), key=secret, digest_size=32).digest()


def _place(server: snapshot.Server, where: str) -> Place:
    if server.url == snapshot.STDIO and server.protocol == "MCP":
        return over_pipes(server.name)
    try:
        place = parse(server.url)
    except ValueError as error:
        raise InvalidSnapshot(f"{where}.url: {error}") from None
    if server.tls is not None and server.tls.ca_bundle is not None:
        fault = fault_of_bundle(server.tls.ca_bundle)
        if fault is not None:
            raise InvalidSnapshot(f"{where}.tls.ca_bundle: {fault}")
    origin = msgspec.structs.replace(place.origin, tls=server.tls)
    return Place(origin, quote(place.prefix, safe=_URL_PATH))
