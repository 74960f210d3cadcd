"""Is this ToolPolicy one that every part of toolpolicy will enforce as written?

`check` says everything that the CRD's schema and CEL rules say, and what they cannot: patterns that do
not compile, timeouts that contradict the defaults, tools that can never match. The validating webhook,
the operator, `toolpolicy validate` and the sidecar's standalone mode all ask here.
"""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import re2
from pydantic import BaseModel, ValidationError

from toolpolicy_api import jsonpath
from toolpolicy_api import policy as written
from toolpolicy_api import snapshot as compiled
from toolpolicy_api.compile import (
    effective_concurrency,
    effective_open_times,
    effective_redaction,
    effective_retry,
    effective_timeouts,
)
from toolpolicy_api.duration import PATTERN as DURATION_PATTERN
from toolpolicy_api.duration import milliseconds, render
from toolpolicy_api.headers import never_redacted
from toolpolicy_api.pem import fault_of_bundle

_AMBIGUOUS = ("//", ";", "\\", "%2f", "%5c", "%00", "%2e")
"""In a path these can be read in two ways: the sidecar refuses such requests, so no tool may wait for them."""


_NO_KEY_HEADERS = frozenset(
    {
        "accept",
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-request-timeout-ms",
    }
)
"""A key in one of these would change the request, or not arrive."""


class Finding(NamedTuple):
    """One thing that is wrong: the field as `spec.tools[0].timeout.total`, and what to do about it."""

    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class Invalid(ValueError):  # noqa: N818 -- a verdict on a policy, not a failure of the program
    """A ToolPolicy that will not be enforced. `findings` is never empty."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("; ".join(map(str, findings)))
        self.findings = findings


def check(document: Any) -> list[Finding]:
    """Every finding of a whole object (parsed JSON or YAML), empty when there is none."""
    try:
        parse(document)
    except Invalid as invalid:
        return invalid.findings
    return []


def parse(document: Any) -> written.ToolPolicy:
    """The typed policy. Raises Invalid."""
    try:
        policy = written.ToolPolicy.model_validate(document)
    except ValidationError as error:
        raise Invalid([schema_finding(detail) for detail in error.errors()]) from None
    findings = [*_not_yet(policy.spec, "spec"), *_semantic(policy.spec)]
    if findings:
        raise Invalid(findings)
    return policy


def schema_finding(detail: Mapping[str, Any]) -> Finding:
    """One of pydantic's errors in our words."""
    field = _path(detail["loc"])
    match detail["type"]:
        case "extra_forbidden":
            return Finding(field, "unknown field; remove it or correct its name")
        case "missing":
            return Finding(field, "required; add it")
        case "string_pattern_mismatch" if detail["ctx"]["pattern"] == DURATION_PATTERN:
            return Finding(field, f"{detail['input']!r} is no duration; write it like 500ms, 8s or 1h30m")
        case _:
            return Finding(field, detail["msg"][0].lower() + detail["msg"][1:])


def _path(loc: tuple[int | str, ...]) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".") or "(document)"


def _not_yet(model: BaseModel, path: str) -> Iterator[Finding]:
    """Fields and values that are part of the API and not enforced by this release."""
    for name, info in type(model).model_fields.items():
        if name not in model.model_fields_set:
            continue
        value = getattr(model, name)
        field = f"{path}.{info.alias or name}"
        extra = info.json_schema_extra
        marker = extra.get(written.NOT_YET) if isinstance(extra, dict) else None
        if marker is True and value is not None:
            yield Finding(field, "not supported yet; remove it")
        elif isinstance(marker, list):
            chosen = value if isinstance(value, list) else [value]
            for item in chosen:
                if item in marker:
                    yield Finding(field, f"{item} is not supported yet; choose another value")
        elif isinstance(value, BaseModel):
            yield from _not_yet(value, field)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, BaseModel):
                    yield from _not_yet(item, f"{field}[{index}]")


def _semantic(spec: written.Spec) -> Iterator[Finding]:
    yield from _selector(spec.selector)
    yield from _servers(spec.servers)
    if spec.defaults:
        yield from _rules(spec.defaults, None, "spec.defaults")
        if spec.defaults.fallback and spec.defaults.fallback.tool:
            text = "set it tool by tool: this tool would fall back on itself"
            yield Finding("spec.defaults.fallback.tool", text)
    yield from _tools(spec)
    yield from _redaction(spec)


def _selector(selector: written.Selector) -> Iterator[Finding]:
    for index, item in enumerate(selector.match_expressions):
        field = f"spec.selector.matchExpressions[{index}].values"
        if item.operator in {"In", "NotIn"} and not item.values:
            yield Finding(field, f"{item.operator} needs at least one value")
        if item.operator in {"Exists", "DoesNotExist"} and item.values:
            yield Finding(field, f"{item.operator} takes no values; remove them")


def _servers(servers: list[written.Server]) -> Iterator[Finding]:
    names: dict[str, int] = {}
    for index, server in enumerate(servers):
        if names.setdefault(server.name, index) != index:
            yield Finding(
                f"spec.servers[{index}].name",
                f"{server.name!r} is already spec.servers[{names[server.name]}]; give it a name of its own",
            )
        yield from _address(server, f"spec.servers[{index}]")
        if _has_a_meaning(server.timeout_header):
            yield Finding(
                f"spec.servers[{index}].timeoutHeader",
                f"{server.timeout_header} has a meaning of its own; name a header such as X-Request-Timeout-Ms",
            )
        if server.tls:
            yield from _tls(server, server.tls, f"spec.servers[{index}].tls")
        if server.concurrency:
            limit = effective_concurrency(server.concurrency, None)
            yield from _concurrency(server.concurrency, limit, None, f"spec.servers[{index}].concurrency")


def _tls(server: written.Server, tls: written.ServerTls, field: str) -> Iterator[Finding]:
    if server.url is None or not server.url.startswith("https://"):
        yield Finding(field, "tls is for https; write the url with https:// or remove tls")
    fault = fault_of_bundle(tls.ca_bundle) if tls.ca_bundle is not None else None
    if fault is not None:
        yield Finding(f"{field}.caBundle", fault)


def _address(server: written.Server, field: str) -> Iterator[Finding]:
    if (server.url is None) == (server.stdio is None):
        yield Finding(field, "set one of url and stdio")
    elif server.url is not None:
        try:
            parts = urlsplit(server.url)
            valid = bool(parts.hostname) and parts.port != 0
        except ValueError:
            valid = False
        if not valid:
            yield Finding(f"{field}.url", "no valid host and port; write it like https://kb.internal/mcp")
    else:
        if server.protocol != "MCP":
            yield Finding(
                f"{field}.protocol", f"{server.protocol} needs a url; over pipes only MCP is spoken"
            )
        if server.timeout_header is not None:
            yield Finding(f"{field}.timeoutHeader", "over pipes there are no headers; remove it")


def _keys_over_pipes(spec: written.Spec) -> Iterator[Finding]:
    """A key that no header can carry would be accepted and not sent."""
    pipes = {server.name for server in spec.servers if server.stdio is not None}
    for index, tool in enumerate(spec.tools):
        whole = effective_retry(tool.retry, spec.defaults.retry if spec.defaults else None)
        if tool.server in pipes and whole is not None and whole.key_header is not None:
            own = tool.retry is not None and tool.retry.idempotency_key_header is not None
            text = f"{tool.server} speaks over pipes, where there are no headers"
            if own:
                yield Finding(f"spec.tools[{index}].retry.idempotencyKeyHeader", f"{text}; remove it")
            else:
                text += "; set it tool by tool, where it can be sent"
                yield Finding("spec.defaults.retry.idempotencyKeyHeader", text)


def _tools(spec: written.Spec) -> Iterator[Finding]:
    protocols = {server.name: server.protocol for server in spec.servers}
    names: dict[str, int] = {}
    for index, tool in enumerate(spec.tools):
        field = f"spec.tools[{index}]"
        if names.setdefault(tool.name, index) != index:
            yield Finding(
                f"{field}.name",
                f"{tool.name!r} is already spec.tools[{names[tool.name]}]; give it a name of its own",
            )
        protocol = protocols.get(tool.server)
        if protocol is None:
            known = ", ".join(sorted(protocols))
            yield Finding(f"{field}.server", f"no server {tool.server!r} in spec.servers; known: {known}")
        else:
            yield from _match(tool.match, protocol, field)
        yield from _rules(tool, spec.defaults, field)
        if tool.slo:
            yield from _slo(tool.slo, f"{field}.slo")
    if sum(tool.slo is not None for tool in spec.tools) > written.SLO_TOOLS:
        yield Finding("spec.tools", f"at most {written.SLO_TOOLS} tools of a policy can have an slo")
    yield from _unreachable(spec)
    yield from _other_tools(spec)
    yield from _keys_over_pipes(spec)


def _slo(slo: written.Slo, field: str) -> Iterator[Finding]:
    if slo.availability is None and slo.latency is None:
        yield Finding(field, "set availability, latency or both")
    if slo.latency and render(milliseconds(slo.latency.p95)) not in written.LATENCY_TARGETS:
        yield Finding(f"{field}.latency.p95", f"must be one of {', '.join(written.LATENCY_TARGETS)}")


def _match(match: written.Match | None, protocol: str, field: str) -> Iterator[Finding]:
    if match is None:
        if protocol == "HTTP":
            yield Finding(
                f"{field}.match", "an HTTP tool needs a path, such as {methods: [POST], path: /v1/tickets}"
            )
        return
    if (match.tool is None) == (match.path is None):
        yield Finding(f"{field}.match", "set one of tool (MCP) and path (HTTP)")
    elif protocol == "HTTP" and match.tool is not None:
        yield Finding(f"{field}.match.tool", "its server speaks HTTP; use path and methods")
    elif protocol == "MCP" and match.path is not None:
        yield Finding(f"{field}.match.path", "its server speaks MCP; use tool")
    if match.methods and match.path is None:
        yield Finding(f"{field}.match.methods", "needs a path")
    ambiguous = next((part for part in _AMBIGUOUS if part in (match.path or "").lower()), None)
    if ambiguous:
        yield Finding(
            f"{field}.match.path", f"no request with {ambiguous!r} in its path is let through; remove it"
        )
    for segment in (match.path or "").split("/"):
        inner = segment[1:-1]
        whole = segment.startswith("{") and segment.endswith("}") and inner.isidentifier()
        if ("{" in segment or "}" in segment) and not whole:
            yield Finding(
                f"{field}.match.path", f"{segment!r}: a placeholder is one whole segment, such as {{id}}"
            )
        if segment in {".", ".."}:
            yield Finding(
                f"{field}.match.path", "has a dot segment, which no request keeps; write the path without"
            )


def _rules(own: written.Rules, defaults: written.Rules | None, field: str) -> Iterator[Finding]:
    default_timeout = defaults.timeout if defaults else None
    for owner, timeout in ((f"{field}.timeout", own.timeout),):
        for name in ("total", "attempt", "connect", "idle"):
            text = getattr(timeout, name, None)
            if text is not None and milliseconds(text) == 0:
                yield Finding(f"{owner}.{name}", "must be longer than zero")
    if own.timeout:
        times = effective_timeouts(own.timeout, default_timeout)
        total, attempt, connect = (render(ms) for ms in (times.total_ms, times.attempt_ms, times.connect_ms))
        if times.attempt_ms > times.total_ms:
            yield Finding(
                f"{field}.timeout.attempt",
                f"{attempt} is longer than the total of {total}; shorten attempt or lengthen total",
            )
        elif times.connect_ms > times.attempt_ms:
            yield Finding(
                f"{field}.timeout.connect",
                f"{connect} is longer than the attempt of {attempt}; shorten connect or lengthen attempt",
            )
    if own.retry:
        yield from _retry(own.retry, defaults.retry if defaults else None, f"{field}.retry")
    if own.circuit_breaker:
        default_breaker = defaults.circuit_breaker if defaults else None
        yield from _breaker(own.circuit_breaker, default_breaker, f"{field}.circuitBreaker")
    yield from _slow_call(own, defaults, field)
    if own.concurrency:
        limit = effective_concurrency(own.concurrency, defaults.concurrency if defaults else None)
        total_ms = effective_timeouts(own.timeout, default_timeout).total_ms
        yield from _concurrency(own.concurrency, limit, total_ms, f"{field}.concurrency")
    if own.fallback:
        yield from _fallback(own.fallback, f"{field}.fallback")


def _concurrency(
    own: written.Concurrency, limit: compiled.Concurrency | None, total_ms: int | None, field: str
) -> Iterator[Finding]:
    """A queue timeout that can never be reached would be accepted and not enforced."""
    if limit is not None and limit.adaptive_min is not None and limit.adaptive_min > limit.max:
        yield Finding(
            f"{field}.adaptive.min",
            f"{limit.adaptive_min} is larger than the max of {limit.max}; lower it or raise max",
        )
    if own.queue_timeout is None:
        return
    timeout_ms = milliseconds(own.queue_timeout)
    if timeout_ms == 0:
        yield Finding(f"{field}.queueTimeout", "must be longer than zero")
    elif limit is not None and limit.queue == 0:
        yield Finding(f"{field}.queueTimeout", "there is no queue to wait in; set queue, or remove it")
    elif total_ms is not None and timeout_ms > total_ms:
        yield Finding(
            f"{field}.queueTimeout",
            f"{render(timeout_ms)} is longer than the total of {render(total_ms)}; shorten it or lengthen"
            " timeout.total",
        )


def _retry(own: written.Retry, default: written.Retry | None, field: str) -> Iterator[Finding]:
    for name in ("base", "max"):
        text = getattr(own.backoff, name, None)
        if text is not None and milliseconds(text) == 0:
            yield Finding(f"{field}.backoff.{name}", "must be longer than zero")
    for index, item in enumerate(own.on or ()):
        if item in (own.on or ())[:index]:
            yield Finding(f"{field}.on[{index}]", f"{item} is there already; remove it")
    whole = effective_retry(own, default)
    if whole is None:
        return
    if whole.backoff_base_ms > whole.backoff_max_ms:
        base, longest = render(whole.backoff_base_ms), render(whole.backoff_max_ms)
        yield Finding(
            f"{field}.backoff.base",
            f"{base} is longer than the max of {longest}; shorten base or lengthen max",
        )
    if whole.hedge is not None and not whole.idempotent:
        text = "makes calls twice; set idempotent: true if they may be, or remove hedge"
        yield Finding(f"{field}.hedge", text)
    elif whole.hedge is not None and whole.max_attempts == 1:
        yield Finding(f"{field}.hedge", "needs a second attempt; raise maxAttempts or remove hedge")
    if own.hedge and own.hedge.not_before and milliseconds(own.hedge.not_before) == 0:
        yield Finding(f"{field}.hedge.notBefore", "must be longer than zero")
    if _has_a_meaning(own.idempotency_key_header):
        yield Finding(
            f"{field}.idempotencyKeyHeader",
            f"{own.idempotency_key_header} has a meaning of its own; name a header such as Idempotency-Key",
        )


def _has_a_meaning(header: str | None) -> bool:
    name = (header or "").lower()
    return name in _NO_KEY_HEADERS or name.startswith("mcp-")


def _breaker(
    breaker: written.CircuitBreaker, default: written.CircuitBreaker | None, field: str
) -> Iterator[Finding]:
    if breaker.open_for is not None and milliseconds(breaker.open_for) == 0:
        yield Finding(f"{field}.openFor", "must be longer than zero")
    open_for_ms, max_open_for_ms = effective_open_times(breaker, default)
    if max_open_for_ms is not None and max_open_for_ms < open_for_ms:
        shortest, longest = render(open_for_ms), render(max_open_for_ms)
        yield Finding(
            f"{field}.maxOpenFor",
            f"{longest} is shorter than the openFor of {shortest}; lengthen maxOpenFor or shorten openFor",
        )
    if breaker.slow_call is not None and milliseconds(breaker.slow_call.over) == 0:
        yield Finding(f"{field}.slowCall.over", "must be longer than zero")
    rate = breaker.failure_rate
    if rate is None:
        return
    if (rate.window is None) == (rate.calls is None):
        yield Finding(f"{field}.failureRate", "set window (time) or calls (count), one of the two")
    if rate.window is not None and milliseconds(rate.window) == 0:
        yield Finding(f"{field}.failureRate.window", "must be longer than zero")
    if rate.calls is not None and rate.minimum_calls is not None and rate.minimum_calls > rate.calls:
        yield Finding(
            f"{field}.failureRate.minimumCalls",
            f"{rate.minimum_calls} is larger than calls ({rate.calls}), so the rate would never be evaluated",
        )


def _slow_call(own: written.Rules, defaults: written.Rules | None, field: str) -> Iterator[Finding]:
    """Said of a tool only if it is the tool's own doing: the defaults have their own finding."""
    breaker, timeout = own.circuit_breaker, own.timeout
    default_breaker = defaults.circuit_breaker if defaults else None
    slow = (breaker and breaker.slow_call) or (default_breaker and default_breaker.slow_call)
    if not slow or not (timeout or (breaker and breaker.slow_call)):
        return
    attempt_ms = effective_timeouts(timeout, defaults.timeout if defaults else None).attempt_ms
    if milliseconds(slow.over) >= attempt_ms:
        yield Finding(
            f"{field}.circuitBreaker.slowCall.over",
            f"{slow.over} is not below the attempt of {render(attempt_ms)}, so every such call is a timeout; "
            "shorten over or lengthen timeout.attempt",
        )


def _fallback(fallback: written.Fallback, field: str) -> Iterator[Finding]:
    kinds = (fallback.message, fallback.static, fallback.cached, fallback.tool)
    if sum(kind is not None for kind in kinds) != 1:
        yield Finding(field, "set one of message, static, cached and tool")
    if fallback.cached and milliseconds(fallback.cached.max_age) == 0:
        yield Finding(f"{field}.cached.maxAge", "must be longer than zero")


def _other_tools(spec: written.Spec) -> Iterator[Finding]:
    """A fallback that is another tool needs one that can be called in the place of this one."""
    tools = {tool.name: tool for tool in spec.tools}
    protocols = {server.name: server.protocol for server in spec.servers}
    next_of = {
        tool.name: tool.fallback.tool.name for tool in spec.tools if tool.fallback and tool.fallback.tool
    }
    for index, tool in enumerate(spec.tools):
        fallback = tool.fallback.tool if tool.fallback else None
        if fallback is None:
            continue
        field = f"spec.tools[{index}].fallback.tool"
        other = tools.get(fallback.name)
        if other is None:
            known = ", ".join(sorted(tools.keys() - {tool.name})) or "none"
            yield Finding(f"{field}.name", f"no tool {fallback.name!r} in spec.tools; known: {known}")
            continue
        way = [tool.name]
        while (following := next_of.get(way[-1])) is not None and following not in way:
            way.append(following)
        if following == tool.name:
            text = " → ".join([*way, tool.name])
            yield Finding(f"{field}.name", f"it falls back on itself: {text}; break the circle")
        elif protocols.get(other.server) != protocols.get(tool.server):
            yield Finding(
                f"{field}.name", f"{other.name!r} speaks another protocol; choose one that does not"
            )
        elif protocols.get(tool.server) == "MCP":
            yield from _other_mcp_tool(tool, other, f"{field}.name")
        else:
            yield from _other_http_tool(tool, other, fallback.arguments, f"{field}.arguments")


def _other_mcp_tool(tool: written.Tool, other: written.Tool, field: str) -> Iterator[Finding]:
    if other.server != tool.server:
        text = "is of another server, which does not know the agent's session; choose one of"
        yield Finding(field, f"{other.name!r} {text} {tool.server!r}")
    elif set((other.match and other.match.tool) or other.name) & set("*?["):
        yield Finding(field, f"{other.name!r} stands for many tools; choose one without a glob")


def _other_http_tool(
    tool: written.Tool, other: written.Tool, arguments: dict[str, str] | None, field: str
) -> Iterator[Finding]:
    filled = _placeholders(tool) | (arguments or {}).keys()
    for name in sorted(_placeholders(other) - filled):
        yield Finding(field, f"gives no value for {{{name}}} in the path of {other.name!r}; map it")


def _placeholders(tool: written.Tool) -> set[str]:
    path = (tool.match and tool.match.path) or ""
    return {segment[1:-1] for segment in path.split("/") if segment.startswith("{")}


def _unreachable(spec: written.Spec) -> Iterator[Finding]:
    """A tool that an earlier one covers gets no call: its rules would be accepted and not enforced."""
    for index, tool in enumerate(spec.tools):
        for earlier in spec.tools[:index]:
            if earlier.server == tool.server and earlier.name != tool.name and _covers(earlier, tool):
                yield Finding(
                    f"spec.tools[{index}].match",
                    f"every call of {tool.name!r} matches {earlier.name!r} first; move it above",
                )
                break


def _covers(earlier: written.Tool, later: written.Tool) -> bool:
    first, second = earlier.match or written.Match(), later.match or written.Match()
    if first.path is not None or second.path is not None:
        methods, wanted = set(first.methods or ()), set(second.methods or ())
        covers_methods = not methods or (bool(wanted) and wanted <= methods)
        return first.path == second.path and covers_methods
    ours = second.tool or later.name
    theirs = first.tool or earlier.name
    return ours == theirs or (not set(ours) & set("*?[") and fnmatchcase(ours, theirs))


def _redaction(spec: written.Spec) -> Iterator[Finding]:
    if spec.redaction:
        yield from _patterns(spec.redaction.patterns, "spec.redaction.patterns")
        yield from _fields(spec.redaction.fields, "spec.redaction.fields")
        yield from _allowed(spec.redaction.allow, "spec.redaction.allow")
        yield from _headers(spec.redaction.headers, "spec.redaction.headers")
        listed = {tool.name for tool in spec.tools}
        for index, name in enumerate(spec.redaction.exempt):
            if name not in listed:
                known = ", ".join(sorted(listed)) or "none"
                field = f"spec.redaction.exempt[{index}]"
                yield Finding(field, f"no tool {name!r} in spec.tools; known: {known}")
        yield from _tokens(spec, spec.redaction)
    for index, tool in enumerate(spec.tools):
        field, own = f"spec.tools[{index}].redaction", tool.redaction
        if own is None:
            continue
        yield from _patterns(own.patterns or [], f"{field}.patterns")
        yield from _fields(own.fields or [], f"{field}.fields")
        yield from _allowed(own.allow or [], f"{field}.allow")
        yield from _headers(own.headers or [], f"{field}.headers")
        if spec.redaction and tool.name in spec.redaction.exempt:
            yield Finding(field, "the tool is one of spec.redaction.exempt; remove one of both")
        found = effective_redaction(own, spec.redaction)
        chosen = (own.detectors, own.patterns, own.fields)
        if not (found.detectors or found.patterns or found.fields) and chosen == (None, None, None):
            yield Finding(field, "there is nothing to look for; set detectors, patterns or fields")


def _tokens(spec: written.Spec, redaction: written.Redaction) -> Iterator[Finding]:
    own = {tool.redaction.action for tool in spec.tools if tool.redaction}
    if redaction.tokens is None:
        return
    if "Tokenize" not in own | {redaction.action}:
        yield Finding("spec.redaction.tokens", "no action is Tokenize; set spec.redaction.action")
    listed = {tool.name for tool in spec.tools}
    for index, name in enumerate(redaction.tokens.trusted_tools):
        if name not in listed:
            known = ", ".join(sorted(listed)) or "none"
            field = f"spec.redaction.tokens.trustedTools[{index}]"
            yield Finding(field, f"no tool {name!r} in spec.tools; known: {known}")


def _fields(fields: list[written.FieldRule], path: str) -> Iterator[Finding]:
    for index, field in enumerate(fields):
        try:
            jsonpath.parse(field.path)
        except ValueError as error:
            yield Finding(f"{path}[{index}].path", str(error))


def _allowed(allowed: list[written.Allowed], path: str) -> Iterator[Finding]:
    for index, item in enumerate(allowed):
        if (item.text is None) == (item.regex is None):
            yield Finding(f"{path}[{index}]", "set one of text and regex")
        if item.regex is not None and isinstance(found := _compiled(item.regex), str):
            yield Finding(f"{path}[{index}].regex", found)


def _headers(headers: list[str], path: str) -> Iterator[Finding]:
    for index, name in enumerate(headers):
        if never_redacted(name.lower()):
            yield Finding(f"{path}[{index}]", "the message or the protocol is read by this header; remove it")


def _compiled(expression: str) -> re2._Regexp | str:
    """Or why not."""
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(expression, options)
    except re2.error as error:
        detail = error.args[0]
        reason = detail.decode(errors="replace") if isinstance(detail, bytes) else str(detail)
        return f"does not compile as RE2 ({reason}); RE2 has no lookaround or backreference"


def _patterns(patterns: list[written.Pattern], path: str) -> Iterator[Finding]:
    names: dict[str, int] = {}
    for index, pattern in enumerate(patterns):
        field = f"{path}[{index}]"
        if names.setdefault(pattern.name, index) != index:
            yield Finding(
                f"{field}.name", f"{pattern.name!r} is taken by patterns[{names[pattern.name]}]; rename it"
            )
        compiled = _compiled(pattern.regex)
        if isinstance(compiled, str):
            yield Finding(f"{field}.regex", compiled)
            continue
        if compiled.search(""):
            yield Finding(
                f"{field}.regex",
                "matches the empty text, so it would hit everywhere; make it match something",
            )
