"""A snapshot made ready to serve."""

from toolpolicy_api import snapshot
from toolpolicy_api.channel import ToolKey, ToolReport
from toolpolicy_sidecar.circuit import Circuit
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.egress import Egress
from toolpolicy_sidecar.fallback.schemas import OutputSchemas
from toolpolicy_sidecar.plan import Plan
from toolpolicy_sidecar.record import Recorder
from toolpolicy_sidecar.redact.tokens import Vault
from toolpolicy_sidecar.resilience.budget import RetryBudget
from toolpolicy_sidecar.slots import Slots, SlotsKey
from toolpolicy_sidecar.tool import HttpTools, McpTools, Other, ServerState, ToolState
from toolpolicy_sidecar.upstream.origin import Origin, Place


class UnknownTool(LookupError):  # noqa: N818 -- a verdict on input, not a failure of the program
    """No tool of the policies in force has this name. The message lists those that are."""


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
        plan = Plan(value, secret)
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
