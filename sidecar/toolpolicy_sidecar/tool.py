"""Tools and servers under the snapshot in force, and which call is a call of which tool."""

import re
from collections.abc import Mapping
from copy import copy
from fnmatch import translate
from functools import lru_cache
from typing import NamedTuple

from toolpolicy_api import snapshot
from toolpolicy_sidecar.circuit import Circuit
from toolpolicy_sidecar.fallback.schemas import OutputSchemas
from toolpolicy_sidecar.redact.preview import Preview
from toolpolicy_sidecar.redact.redactor import Redactor
from toolpolicy_sidecar.redact.tokens import Vault
from toolpolicy_sidecar.remembered import CHARACTERS, TEXTS, remembered
from toolpolicy_sidecar.resilience.budget import RetryBudget
from toolpolicy_sidecar.slots import Slots
from toolpolicy_sidecar.target import canonical
from toolpolicy_sidecar.upstream.origin import Place

_GLOB = frozenset("*?[")


class ToolState:
    """A tool under the snapshot in force. `on_request`, `on_response` and `fallback` are what is done to calls: None
    unless `enforced`. `vault` is the policy's, where values become tokens; a tool that is `trusted` gets them back.
    What the policy says is in `mode`, `redactor` and `rules`. Times in seconds."""

    __slots__ = (
        "attempt_s",
        "circuit",
        "connect_s",
        "enforced",
        "fallback",
        "idle_s",
        "keeps_answers",
        "mode",
        "name",
        "on_request",
        "on_response",
        "other",
        "redactor",
        "rules",
        "slots",
        "total_s",
        "trusted",
        "vault",
    )

    def __init__(
        self,
        name: str,
        rules: snapshot.Rules,
        circuit: Circuit,
        slots: Slots,
        *,
        redactor: Redactor | None,
        mode: snapshot.Mode,
        vault: Vault | None = None,
        trusted: bool = False,
    ) -> None:
        self.name, self.rules, self.circuit, self.slots = name, rules, circuit, slots
        self.mode, self.redactor = mode, redactor
        self.enforced = mode == "Enforce"
        self.vault, self.trusted = vault, trusted
        self.on_request = redactor if redactor and redactor.on_request and self.enforced else None
        self.on_response = redactor if redactor and redactor.on_response and self.enforced else None
        self.fallback = rules.fallback if self.enforced else None
        self.keeps_answers = isinstance(self.fallback, snapshot.CachedFallback)
        self.other: Other | None = None
        """The tool to fall back on, once all tools are known."""
        timeouts = rules.timeouts
        self.total_s, self.attempt_s = timeouts.total_ms / 1000, timeouts.attempt_ms / 1000
        self.connect_s = timeouts.connect_ms / 1000
        self.idle_s = None if timeouts.idle_ms is None else timeouts.idle_ms / 1000

    def without_fallback(self) -> "ToolState":
        """The same tool, for calls in whose place no answer can stand."""
        tool = copy(self)
        tool.fallback, tool.keeps_answers = None, False
        return tool

    def within(self, total_s: float) -> "ToolState":
        """The same tool, with no more time than this for a call."""
        tool = copy(self)
        tool.total_s = min(self.total_s, total_s)
        return tool


class McpTools:
    """The tools of an MCP server: the first whose name or glob (fnmatch, case kept) matches."""

    def __init__(self, tools: list[tuple[str, ToolState]]) -> None:
        self._tools = [
            (None if _GLOB.isdisjoint(glob) else re.compile(translate(glob)), glob, tool)
            for glob, tool in tools
        ]
        self.find = remembered(self._search)

    def _search(self, name: str) -> ToolState | None:
        for pattern, exact, tool in self._tools:
            if pattern.match(name) if pattern else name == exact:
                return tool
        return None


class _Template(NamedTuple):
    """`segments`: None stands for any one segment. `methods` empty: all."""

    segments: tuple[str | None, ...]
    methods: tuple[str, ...]
    tool: ToolState


class HttpTools:
    """The tools of an HTTP server: the first whose path and method match. A slash at the end changes nothing,
    since many servers take both for one."""

    def __init__(self, tools: list[tuple[snapshot.HttpMatch, ToolState]]) -> None:
        self._by_length: dict[int, list[_Template]] = {}
        for match, tool in tools:
            segments = path_segments(match.path)
            self._by_length.setdefault(len(segments), []).append(_Template(segments, match.methods, tool))
        self._known = lru_cache(TEXTS)(self._search)

    def find(self, method: str, path: str) -> ToolState | tuple[str, ...] | None:
        """The tool; or the methods that the path is listed with, when none is this one; or None: unlisted."""
        find = self._known if len(path) <= CHARACTERS else self._search
        return find(method, path)

    def _search(self, method: str, path: str) -> ToolState | tuple[str, ...] | None:
        given = path.removesuffix("/").split("/")
        allowed: set[str] = set()
        for segments, methods, tool in self._by_length.get(len(given), ()):
            for wanted, segment in zip(segments, given, strict=True):
                if wanted is not None and wanted != segment:
                    break
            else:
                if not methods or method in methods:
                    return tool
                allowed.update(methods)
        return tuple(sorted(allowed)) or None


def path_segments(template: str) -> tuple[str | None, ...]:
    """None stands for any one segment. Raises ValueError for a path that no request can have."""
    segments: list[str | None] = []
    for segment in template.removesuffix("/").split("/"):
        if segment.startswith("{") and segment.endswith("}"):
            segments.append(None)
            continue
        path = canonical(f"/{segment}") if segment else "/"
        if not isinstance(path, str):
            raise ValueError(f"{path.detail}, so no request would match")  # noqa: TRY004 -- a wrong value
        segments.append(path[1:])
    return tuple(segments)


class ServerState:
    """A server under the snapshot in force. `unlisted` takes the calls that no tool matches; `retry_budget` is shared
    by all servers of one origin. `schemas` None: no fallback needs to know what its tools answer."""

    __slots__ = (
        "_bare",
        "name",
        "place",
        "policy",
        "preview",
        "protocol",
        "retry_budget",
        "schemas",
        "slots",
        "timeout_header",
        "tools",
        "tunnels_upgrades",
        "unlisted",
    )

    def __init__(
        self,
        server: snapshot.Server,
        place: Place,
        slots: Slots,
        *,
        unlisted: ToolState,
        tools: McpTools | HttpTools,
        policy: str,
        retry_budget: RetryBudget,
        schemas: OutputSchemas | None = None,
        preview: Preview | None = None,
    ) -> None:
        self.retry_budget, self.preview = retry_budget, preview
        self.timeout_header = server.timeout_header.encode()
        self.tunnels_upgrades = server.upgrade == "Tunnel"
        self.name, self.protocol, self.place, self.slots = server.name, server.protocol, place, slots
        self.schemas = schemas
        self.unlisted, self.tools, self.policy = unlisted, tools, policy
        slash = "/" if server.url.endswith("/") or not place.prefix else ""
        self._bare = f"{place.prefix}{slash}"

    def target(self, path: str, query: str | None) -> str:
        """The origin-form target at the server. No path: its url as it is written in the policy."""
        whole = f"{self.place.prefix}{path}" if path else self._bare
        return whole if query is None else f"{whole}?{query}"


class Other(NamedTuple):
    """A tool that is called in the place of another, and how the arguments get there. `own`: the first one's match."""

    server: ServerState
    tool: ToolState
    match: snapshot.McpMatch | snapshot.HttpMatch
    own: snapshot.McpMatch | snapshot.HttpMatch
    arguments: Mapping[str, str] | None
