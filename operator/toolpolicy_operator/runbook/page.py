"""One page of Markdown for a tool: what it needs, what breaks with it, what to do. Pure: the policy is all it knows.

Each command stands in a block of its kind, `sh` or `promql`, and is run as it is written by a test.
"""

import json
import shlex
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from toolpolicy_api import policy as written
from toolpolicy_api import snapshot as compiled
from toolpolicy_api.compile import compile_policy
from toolpolicy_api.duration import render

PORTS = {"http": 80, "https": 443}


def pages(policy: written.ToolPolicy) -> Iterator[str]:
    """One for each tool, in the policy's order. Expects a policy that passed `check.check`."""
    snapshot = compile_policy(policy)
    for index, tool in enumerate(snapshot.tools):
        yield _Page(policy.spec.tools[index], snapshot, tool, index).text()


class _Page:
    """`own`: the tool as it was written; `tool`: with every default."""

    def __init__(self, own: written.Tool, policy: compiled.Policy, tool: compiled.Tool, index: int) -> None:
        self._own, self._policy, self._tool, self._index = own, policy, tool, index
        self._rules = tool.rules
        (self._server,) = (each for each in policy.servers if each.name == tool.server)
        self._where = f"{policy.name} -n {policy.namespace}"
        self._labels = f'policy="{policy.key}", tool="{tool.name}"'
        self._exec = f'kubectl exec -n {policy.namespace} "$POD" -c toolpolicy --'

    def text(self) -> str:
        parts = [
            f"# {self._tool.name} ({self._policy.key})",
            self._mode(),
            "## What it needs",
            _table(("", ""), self._needs()),
            "## When it breaks",
            self._breaks(),
            "## Checks",
            self._checks(),
            "## Symptom, likely cause, action",
            _table(("symptom", "likely", "then"), self._symptoms()),
            "## Take it out of use",
            self._disable(),
            "## Force the circuit",
            self._force(),
            "## Roll back",
            self._roll_back(),
        ]
        return "\n\n".join(filter(None, parts)) + "\n"

    def _mode(self) -> str:
        if self._policy.mode == "Enforce":
            return ""
        what = "every call passes untouched" + (
            ", and what Enforce would do is counted" if self._policy.mode == "Shadow" else ""
        )
        return f"**The policy is in mode {self._policy.mode}: {what}.**"

    def _needs(self) -> Iterator[tuple[str, str]]:
        server, rules = self._server, self._rules
        yield "server", f"`{server.name}` ({server.protocol}), `{server.url}`"
        yield "calls", _calls(self._tool.match)
        yield "agents", f"pods of namespace `{self._policy.namespace}` with `{self._selector()}`"
        yield "criticality", rules.criticality
        times = rules.timeouts
        idle = f", {render(times.idle_ms)} between two pieces of an answer" if times.idle_ms else ""
        attempt = f"{render(times.attempt_ms)} for an attempt, {render(times.connect_ms)} to connect"
        yield "timeouts", f"{render(times.total_ms)} in all, {attempt}{idle}"
        yield "attempts", str(rules.retry.max_attempts) if rules.retry else "1"
        yield "circuit", _circuit(rules.breaker)
        limit = rules.concurrency
        yield (
            "calls at once",
            f"{limit.max} in each pod, {limit.queue} more wait" if limit else "no limit",
        )
        yield "fallback", _fallback(rules.fallback)
        if self._own.slo:
            latency = self._own.slo.latency
            goals = [f"{self._own.slo.availability:g} % succeed"] if self._own.slo.availability else []
            goals += [f"95 % within {latency.p95}"] if latency else []
            yield "objective", f"{', '.join(goals)}, over {self._own.slo.window}"

    def _breaks(self) -> str:
        match self._rules.fallback:
            case compiled.MessageFallback(text=text):
                agent = f"The model reads, as an error: {_quoted(text)}"
            case compiled.StaticFallback():
                agent = "The agent gets the policy's static answer, as a success: it does not notice."
            case compiled.CachedFallback(max_age_ms=age_ms):
                agent = (
                    f"The agent gets the last good answer to the same call, up to {render(age_ms)} old; "
                    "for other calls the model reads what went wrong."
                )
            case compiled.ToolFallback(name=name):
                agent = (
                    f"`{name}` is called in its place. If that fails too, the model reads what went wrong."
                )
            case _:
                agent = "The model reads what went wrong, and when to try again."
        if self._rules.criticality == "Optional":
            return f"{agent} It is told to go on without this tool."
        return f"{agent} The tool is critical: without it the agent cannot do its task."

    def _checks(self) -> str:
        address, duration = _address(self._server.url), "toolpolicy_upstream_duration_seconds_bucket"
        parts = [
            "Which pods, since when, why (`lastError`):",
            _sh(
                f"kubectl get toolpolicy {self._where} -o wide", f"kubectl describe toolpolicy {self._where}"
            ),
            "In one pod, its circuits and the last calls that failed. `POD` is for the commands below, too:",
            _sh(
                f"POD=$(kubectl get pods -n {self._policy.namespace} -l "
                f"{shlex.quote(f'toolpolicy.dev/injected=true,{self._selector()}'.rstrip(','))} -o name | head -n 1)",
                f"{self._exec} toolpolicy top --once",
                f'kubectl logs -n {self._policy.namespace} "$POD" -c toolpolicy --since=15m '
                f"| grep {shlex.quote(json.dumps(self._tool.name))}",
            ),
        ]
        if address:
            parts += [
                "Can that pod reach the server at all?",
                _sh(
                    f"{self._exec} python3 -c "
                    + shlex.quote(
                        f"import socket; print(socket.create_connection({address}, 3).getpeername())"
                    )
                ),
            ]
        parts += [
            "In Prometheus: what its calls come to, how long the tool itself takes, where its circuit is open:",
            _block(
                "promql",
                f"sum by (outcome, reason) (rate(toolpolicy_tool_calls_total{{{self._labels}}}[5m]))",
                f"histogram_quantile(0.95, sum by (le) (rate({duration}{{{self._labels}}}[5m])))",
                f"max by (pod) (toolpolicy_circuit_state{{{self._labels}}}) > 0",
            ),
        ]
        return "\n\n".join(parts)

    def _symptoms(self) -> Iterator[tuple[str, str, str]]:
        times, host = self._rules.timeouts, self._server.url
        if self._server.url == compiled.STDIO:
            yield "`ConnectionReset`, `IncompleteAnswer`", "the server process died", "the agent's own log"
        else:
            yield (
                "`NameNotResolved`, `ConnectRefused`, `TlsFailed`",
                f"`{host}` is gone, has moved, or has a bad certificate",
                "look at its pods, Service and certificate",
            )
            yield (
                "`ConnectTimeout`",
                f"no connection within {render(times.connect_ms)}: overloaded, or a NetworkPolicy",
                "the check above, from two pods",
            )
        yield (
            "`AttemptTimeout`, `TotalTimeout`, `IdleTimeout`",
            f"it answers later than {render(times.attempt_ms)}, or hangs",
            "its own metrics; what was deployed last?",
        )
        yield "`ServerError`, `MalformedAnswer`", "it is broken", "roll its last deployment back"
        if self._server.protocol == "MCP":
            yield "`ToolError`", "it says no: wrong arguments, or its own back end", "the server's log"
        yield "`Throttled`", "more calls than it allows", "find who calls too often; lower `concurrency.max`"
        if self._rules.concurrency:
            yield (
                "`ConcurrencyLimit`, `QueueTimeout`",
                f"over {self._rules.concurrency.max} calls at once in a pod",
                "the tool is slow, or the limit is low",
            )
        if self._rules.breaker:
            yield "`CircuitOpen`", "follows from one of the others", "see those"
        if self._policy.redaction or self._tool.redaction:
            yield (
                "`RequestBlocked`, `AnswerBlocked`",
                "redaction",
                "what has changed in `redaction`, or in the tool",
            )
        yield "`ToolDisabled`", "somebody switched it off", "`kubectl describe` names them"

    def _disable(self) -> str:
        switch = f"{self._exec} toolpolicy switch"
        name = shlex.quote(self._tool.name)
        before = None if self._own.enabled is None else json.dumps(self._own.enabled)
        parts = []
        if not self._rules.enabled:
            parts += [
                "**The policy has it out of use.** In every pod, at once, and back into use:",
                self._patch(("add", "enabled", False)),
                self._patch(("add", "enabled", True)),
            ]
        else:
            undo = ("remove", "enabled", None) if before is None else ("add", "enabled", True)
            parts += [
                "In every pod, at once; the model reads that it was switched off. No pod restarts:",
                self._patch(("add", "enabled", False)),
                "Back:",
                self._patch(undo),
            ]
        if self._policy.mode == "Enforce":
            parts += [
                "In one pod, for half an hour, and back:",
                _sh(
                    f'{switch} disable {name} --for 30m --by "$USER" --reason incident',
                    f"{switch} enable {name}",
                ),
            ]
        return "\n\n".join(parts)

    def _force(self) -> str:
        switch, name = f"{self._exec} toolpolicy switch", shlex.quote(self._tool.name)
        mode = "circuitBreaker/mode" if self._own.circuit_breaker else "circuitBreaker"

        def value(forced: str) -> Any:
            return forced if self._own.circuit_breaker else {"mode": forced}

        breaker = self._own.circuit_breaker
        undo = ("add", mode, breaker.mode) if breaker and breaker.mode else ("remove", mode, None)
        parts = [
            "Open in every pod: calls are refused, or get the fallback, and nothing reaches the tool.",
            self._patch(("add", mode, value("ForcedOpen"))),
            "Closed in every pod: calls pass, however many fail.",
            self._patch(("add", mode, value("ForcedClosed"))),
            "Back:",
            self._patch(undo),
        ]
        if self._rules.breaker and self._policy.mode == "Enforce":
            parts += [
                "In one pod: let calls pass for ten minutes; close it without waiting for the next probe.",
                _sh(
                    f'{switch} force-closed {name} --for 10m --by "$USER" --reason incident',
                    f"{switch} reset {name}",
                ),
            ]
        return "\n\n".join(parts)

    def _roll_back(self) -> str:
        return (
            "Did it begin with a change of the policy? Who changed it last, and when; then the version before, from"
            " where you keep it. It is in force in every pod a moment later, and PROGRAMMED says so.\n\n"
        ) + _sh(
            f"kubectl get toolpolicy {self._where} -o yaml --show-managed-fields",
            f"kubectl apply -n {self._policy.namespace} -f POLICY.yaml",
            f"kubectl get toolpolicy {self._where} -o wide",
        )

    def _patch(self, step: tuple[str, str, Any]) -> str:
        """Of this tool or of none: its place in the list may have changed since."""
        operation, field, value = step
        base = f"/spec/tools/{self._index}"
        steps: list[dict[str, Any]] = [
            {"op": "test", "path": f"{base}/name", "value": self._tool.name},
            {"op": operation, "path": f"{base}/{field}"},
        ]
        if operation != "remove":
            steps[1]["value"] = value
        return _sh(f"kubectl patch toolpolicy {self._where} --type=json -p {shlex.quote(json.dumps(steps))}")

    def _selector(self) -> str:
        """As kubectl reads it."""
        selector = self._policy.selector
        parts = [f"{key}={value}" for key, value in sorted(selector.match_labels.items())]
        for each in selector.match_expressions:
            values = f"({', '.join(each.values)})"
            parts.append(
                {
                    "In": f"{each.key} in {values}",
                    "NotIn": f"{each.key} notin {values}",
                    "Exists": each.key,
                    "DoesNotExist": f"!{each.key}",
                }[each.operator]
            )
        return ",".join(parts)


def _calls(match: compiled.McpMatch | compiled.HttpMatch) -> str:
    if isinstance(match, compiled.McpMatch):
        return f"MCP tool `{match.tool}`"
    return f"`{', '.join(match.methods) or 'any method'} {match.path}`"


def _circuit(breaker: compiled.Breaker | None) -> str:
    if breaker is None:
        return "none: calls are never refused for failing"
    opens = [f"{breaker.consecutive_failures} failures in a row"] if breaker.consecutive_failures else []
    if breaker.rates:
        rates = breaker.rates
        over = f"in {render(rates.window_ms)}" if rates.window_ms else f"of {rates.calls} calls"
        opens += [f"{rates.failure_percent} % failures {over}"] if rates.failure_percent else []
        slow = rates.slow_call
        opens += [f"{slow.percent} % of calls over {render(slow.over_ms)}"] if slow else []
    mode = "" if breaker.mode == "Auto" else f"; mode {breaker.mode}"
    return f"opens for {render(breaker.open_for_ms)} after {', or '.join(opens)}{mode}"


def _fallback(fallback: compiled.Fallback | None) -> str:
    match fallback:
        case None:
            return "none"
        case compiled.ToolFallback(name=name):
            return f"the tool `{name}`"
        case compiled.CachedFallback(max_age_ms=age_ms):
            return f"the last good answer, up to {render(age_ms)} old"
        case compiled.StaticFallback():
            return "a static answer"
        case compiled.MessageFallback():
            return "a message"


def _address(url: str) -> str | None:
    """As Python writes it. None: the server has none."""
    parts = urlsplit(url)
    if not parts.hostname:
        return None
    return f"({json.dumps(parts.hostname)}, {parts.port or PORTS[parts.scheme]})"


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _quoted(text: str) -> str:
    """What an author wrote stays a quotation, whatever Markdown is in it."""
    fence = "`" * (1 + max(map(len, "".join(c if c == "`" else " " for c in text).split()), default=0))
    return f"{fence} {' '.join(text.split())} {fence}."


def _sh(*commands: str) -> str:
    return _block("sh", *commands)


def _block(language: str, *lines: str) -> str:
    return "\n".join((f"```{language}", *lines, "```"))
