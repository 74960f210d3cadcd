"""Everything of a snapshot that can be wrong, looked at before anything is made of it."""

import re
from hashlib import blake2b
from urllib.parse import quote

import msgspec

from toolpolicy_api import snapshot
from toolpolicy_api.pem import fault_of_bundle
from toolpolicy_sidecar.redact.preview import Preview
from toolpolicy_sidecar.redact.redactor import InvalidPattern, Redactor
from toolpolicy_sidecar.tool import path_segments
from toolpolicy_sidecar.upstream.origin import Place, over_pipes, parse

_HEADER_NAME = re.compile(r"[A-Za-z0-9-]+")
_URL_PATH = "/%:@!$&'()*+,;=-._~[]"
"""What stays as it is in a url's path; anything else is percent-encoded."""


class InvalidSnapshot(ValueError):  # noqa: N818 -- a verdict on input, not a failure of the program
    """The message names the field, such as `policies[0].redaction.patterns[1]: …`."""


class Plan:
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
                _refuse_no_name(server.timeout_header, f"{where}.servers[{s}].timeout_header")
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


def _refuse_no_name(header: str, where: str) -> None:
    """Raises InvalidSnapshot: each request has a line that begins with it, and nobody looks at that line again."""
    if not _HEADER_NAME.fullmatch(header):
        raise InvalidSnapshot(f"{where}: {header!r} is no name of a header")


def _breaker(rules: snapshot.Rules, where: str) -> None:
    rates = rules.breaker.rates if rules.breaker else None
    if rates and (rates.calls is None) == (rates.window_ms is None):
        raise InvalidSnapshot(f"{where}.breaker.rates: needs one of calls and window_ms")


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
