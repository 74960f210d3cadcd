"""The state of tools and servers while a snapshot is in force: circuits, tallies, overrides."""

import re
from collections.abc import Callable
from fnmatch import translate
from typing import Literal

import msgspec

from toolpolicy_api import channel, snapshot
from toolpolicy_sidecar.clock import Clock
from toolpolicy_sidecar.reasons import CallOutcome
from toolpolicy_sidecar.redact.redactor import Redactor
from toolpolicy_sidecar.resilience.breaker import CircuitBreaker, Outcome, Permit, Rejected, StateChange
from toolpolicy_sidecar.tally import Tally
from toolpolicy_sidecar.upstream.origin import Place

LAST_ERROR_CHARACTERS = 200


class Disabled(msgspec.Struct, frozen=True):
    """Switched off by hand. `until` is monotonic seconds, None: until enabled."""

    reason: str
    until: float | None
    until_ms: int | None


class Circuit:
    """What outlives a reload: the breaker, the tally and the override of one key."""

    def __init__(
        self,
        key: channel.ToolKey,
        rules: snapshot.Rules,
        clock: Clock,
        emit: Callable[[channel.Transition], None],
    ) -> None:
        self.key = key
        self.tally = Tally()
        self.override: Disabled | None = None
        self.last_error: str | None = None
        self._rules = rules
        self._clock, self._emit = clock, emit
        self._breaker = CircuitBreaker(rules.breaker) if rules.breaker else None
        self._transitioned_ms: int | None = None
        self._reason: str | None = None

    @property
    def reloadable(self) -> bool:
        return self._breaker is not None

    def reload(self, rules: snapshot.Rules) -> None:
        """Same key, new limits: state, samples and the reopen deadline stay."""
        now = self._clock.monotonic()
        if rules.breaker is None:
            self._breaker = None
        elif self._breaker is None:
            self._breaker = CircuitBreaker(rules.breaker)
        else:
            self._tell(self._breaker.reconfigure(rules.breaker, now))
        self._rules = rules

    # calls
    def acquire(self, now: float, deadline: float) -> Permit | Rejected | None:
        """None: there is no breaker, nothing to settle."""
        if self._breaker is None:
            return None
        answer = self._breaker.acquire(now, deadline=deadline)
        self._tell(answer.changes)
        return answer

    def settle(self, permit: Permit | None, outcome: Outcome, error: str | None) -> None:
        if error and outcome is Outcome.FAILURE:
            self.last_error = error[:LAST_ERROR_CHARACTERS]
        if permit is not None and self._breaker is not None:
            change = self._breaker.record(permit, outcome, self._clock.monotonic(), cause=error or "")
            self._tell((change,) if change else ())

    def count(self, outcome: CallOutcome, latency_ms: float) -> None:
        if outcome != "neutral" or latency_ms >= 0:
            self.tally.add(
                self._clock.monotonic(), error=outcome in {"failure", "refused"}, latency_ms=latency_ms
            )

    # switches
    def disabled(self, now: float) -> Disabled | None:
        """The override in force now; one that has run out is gone."""
        if self.override and self.override.until is not None and now >= self.override.until:
            self.enable("override ran out")
        return self.override

    def disable(self, reason: str, for_s: float | None) -> None:
        now = self._clock.monotonic()
        until_ms = None if for_s is None else self._clock.unix_ms() + int(for_s * 1000)
        before = self.state(now)
        self.override = Disabled(reason, None if for_s is None else now + for_s, until_ms)
        if before != "Disabled":
            self._say(
                before, "Disabled", f"disabled by hand: {reason}" if reason else "disabled by hand", until_ms
            )

    def enable(self, why: str = "enabled by hand") -> None:
        if self.override is None:
            return
        self.override = None
        after = self.state(self._clock.monotonic())
        if after != "Disabled":
            self._say("Disabled", after, why, None)

    def reset(self) -> None:
        self.enable()
        if self._breaker:
            self._tell(self._breaker.reset(self._clock.monotonic()))

    # words
    def state(self, now: float) -> channel.CircuitState:
        if not self._rules.enabled or self.override:
            return "Disabled"
        return self._breaker.state_at(now).state if self._breaker else "Closed"

    def report(self) -> channel.ToolReport:
        now = self._clock.monotonic()
        self.disabled(now)
        calls, errors, latency = self.tally.sums(now)
        standing = self._breaker.state_at(now) if self._breaker else None
        until = standing.open_until if standing else None
        override = None
        if self.override:
            override = channel.Override("disable", self.override.reason, self.override.until_ms)
        return channel.ToolReport(
            key=self.key,
            state=self.state(now),
            calls=calls,
            errors=errors,
            latency=latency if calls else (),
            last_transition_ms=self._transitioned_ms,
            reason=self._reason,
            last_error=self.last_error,
            open_until_ms=None if until is None else self._clock.unix_ms() + int((until - now) * 1000),
            override=override,
        )

    def _tell(self, changes: tuple[StateChange, ...]) -> None:
        for change in changes:
            until_ms = None
            if change.open_until is not None:
                left_s = change.open_until - self._clock.monotonic()
                until_ms = self._clock.unix_ms() + int(left_s * 1000)
            self._say(change.before, change.after, change.reason, until_ms)

    def _say(
        self,
        before: channel.CircuitState,
        after: channel.CircuitState,
        reason: str,
        open_until_ms: int | None,
    ) -> None:
        self._transitioned_ms = self._clock.unix_ms()
        self._reason = reason
        self._emit(
            channel.Transition(
                key=self.key,
                before=before,
                after=after,
                reason=reason,
                at_ms=self._transitioned_ms,
                open_until_ms=open_until_ms if after == "Open" else None,
                last_error=self.last_error if after == "Open" else None,
            )
        )


class ToolState:
    """A tool under the snapshot in force. `redactor` is its policy's."""

    def __init__(
        self,
        name: str,
        rules: snapshot.Rules,
        circuit: Circuit,
        redactor: Redactor | None,
        mode: Literal["Enforce", "Off"],
    ) -> None:
        self.name, self.rules, self.circuit, self.redactor, self.mode = name, rules, circuit, redactor, mode


class McpTools:
    """The tools of an MCP server: the first whose name or glob matches."""

    def __init__(self, tools: list[tuple[str, ToolState]]) -> None:
        self._tools = [(re.compile(translate(glob)), tool) for glob, tool in tools]

    def find(self, name: str) -> ToolState | None:
        return next((tool for pattern, tool in self._tools if pattern.match(name)), None)


class HttpTools:
    """The tools of an HTTP server: the first whose path and method match."""

    def __init__(self, tools: list[tuple[snapshot.HttpMatch, ToolState]]) -> None:
        self._tools = [(_path_pattern(match.path), frozenset(match.methods), tool) for match, tool in tools]

    def find(self, method: str, path: str) -> ToolState | frozenset[str] | None:
        """The tool; or the methods that the path is listed with, when none is this one; or None: unlisted."""
        allowed: set[str] = set()
        for pattern, methods, tool in self._tools:
            if pattern.fullmatch(path):
                if not methods or method in methods:
                    return tool
                allowed |= methods
        return frozenset(allowed) or None


class ServerState:
    """A server under the snapshot in force. `unlisted` takes the calls that no tool matches."""

    def __init__(
        self,
        server: snapshot.Server,
        place: Place,
        unlisted: ToolState,
        tools: McpTools | HttpTools,
        policy: str,
    ) -> None:
        self.name, self.protocol, self.place = server.name, server.protocol, place
        self.unlisted, self.tools, self.policy = unlisted, tools, policy


def _path_pattern(template: str) -> re.Pattern[str]:
    parts = ["[^/]+" if part.startswith("{") else re.escape(part) for part in template.split("/")]
    return re.compile("/".join(parts))
