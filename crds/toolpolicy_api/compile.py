"""One ToolPolicy as the user wrote it → one compiled policy with every default applied."""

from typing import TypeVar

from toolpolicy_api import policy as written
from toolpolicy_api import snapshot as compiled
from toolpolicy_api.duration import milliseconds

T = TypeVar("T")

TOTAL_MS = 30_000
CONNECT_MS = 2_000
CONSECUTIVE_FAILURES = 5
MINIMUM_CALLS = 10
SLOW_CALL_WINDOW = 20
"""Calls, for a slowCall without a failureRate. Not a time: a slow tool answers few calls in any."""
OPEN_FOR_MS = 30_000
KEEP_TOKENS_MS = 3_600_000
HALF_OPEN_CALLS = 1
ATTEMPTS = 3
BACKOFF_BASE_MS = 100
BACKOFF_MAX_MS = 2_000
RETRY_ON: tuple[compiled.RetryOn, ...] = ("Connect", "Timeout", "ServerError", "Throttled")


def compile_policy(policy: written.ToolPolicy) -> compiled.Policy:
    """Expects a policy that passed `check.check`: nothing is validated again here."""
    spec = policy.spec
    defaults = spec.defaults or written.Rules()
    protocols = {server.name: server.protocol for server in spec.servers}
    return compiled.Policy(
        namespace=policy.metadata.namespace,
        name=policy.metadata.name,
        uid=policy.metadata.uid,
        generation=policy.metadata.generation,
        created=policy.metadata.creation_timestamp,
        selector=_selector(spec.selector),
        mode=spec.mode,
        servers=tuple(
            compiled.Server(
                name=server.name,
                protocol=server.protocol,
                url=server.url or compiled.STDIO,
                unlisted=_rules(written.Rules(), defaults),
                concurrency=effective_concurrency(server.concurrency, None),
                timeout_header=server.timeout_header or compiled.TIMEOUT_HEADER,
                tls=_tls(server.tls),
                upgrade=server.upgrade,
            )
            for server in spec.servers
        ),
        tools=tuple(
            compiled.Tool(
                name=tool.name,
                server=tool.server,
                match=_match(tool, protocols[tool.server]),
                rules=_rules(tool, defaults),
                redaction=_tool_redaction(tool, spec.redaction),
            )
            for tool in spec.tools
        ),
        redaction=_redaction(spec.redaction),
        preview=_preview(spec.redaction),
        egress_default=spec.egress.default if spec.egress else "Allow",
    )


def effective_timeouts(own: written.Timeout | None, default: written.Timeout | None) -> compiled.Timeouts:
    """Field by field: the tool's own, else the policy's defaults, else the built-in ones."""
    own, default = own or written.Timeout(), default or written.Timeout()
    total_ms = _ms(own.total or default.total, TOTAL_MS)
    attempt_ms = _ms(own.attempt or default.attempt, total_ms)
    return compiled.Timeouts(
        total_ms=total_ms,
        attempt_ms=attempt_ms,
        connect_ms=_ms(own.connect or default.connect, min(CONNECT_MS, attempt_ms)),
        idle_ms=_ms_or_none(own.idle or default.idle),
    )


def effective_open_times(
    own: written.CircuitBreaker, default: written.CircuitBreaker | None
) -> tuple[int, int | None]:
    """openFor and maxOpenFor in milliseconds: the tool's own, else the policy's defaults, else the built-in ones."""
    default = default or written.CircuitBreaker()
    open_for_ms = _ms(own.open_for or default.open_for, OPEN_FOR_MS)
    return open_for_ms, _ms_or_none(own.max_open_for or default.max_open_for)


def effective_concurrency(
    own: written.Concurrency | None, default: written.Concurrency | None
) -> compiled.Concurrency | None:
    """Field by field, as timeouts. None: no limit."""
    first = own or default
    if first is None:
        return None
    default = default or first
    adaptive = first.adaptive or default.adaptive
    return compiled.Concurrency(
        max=first.max,
        queue=_first(first.queue, default.queue, built_in=0),
        queue_timeout_ms=_ms_or_none(first.queue_timeout or default.queue_timeout),
        adaptive_min=adaptive.min if adaptive else None,
    )


def _rules(own: written.Rules, default: written.Rules) -> compiled.Rules:
    return compiled.Rules(
        timeouts=effective_timeouts(own.timeout, default.timeout),
        breaker=_breaker(own.circuit_breaker, default.circuit_breaker),
        retry=effective_retry(own.retry, default.retry),
        concurrency=effective_concurrency(own.concurrency, default.concurrency),
        enabled=_first(own.enabled, default.enabled, built_in=True),
        criticality=own.criticality or default.criticality or "Critical",
        fallback=_fallback(own.fallback or default.fallback),
    )


def _breaker(
    own: written.CircuitBreaker | None, default: written.CircuitBreaker | None
) -> compiled.Breaker | None:
    if own is None and default is None:
        return None
    own, default = own or written.CircuitBreaker(), default or written.CircuitBreaker()
    rate = own.failure_rate or default.failure_rate
    consecutive = _first(own.consecutive_failures, default.consecutive_failures, built_in=None)
    if consecutive is None and rate is None:
        consecutive = CONSECUTIVE_FAILURES
    open_for_ms, max_open_for_ms = effective_open_times(own, default)
    return compiled.Breaker(
        mode=own.mode or default.mode or "Auto",
        consecutive_failures=consecutive,
        rates=_call_rates(rate, own.slow_call or default.slow_call),
        open_for_ms=open_for_ms,
        max_open_for_ms=max_open_for_ms,
        half_open_calls=_first(own.half_open_calls, default.half_open_calls, built_in=HALF_OPEN_CALLS),
        count_tool_errors=_first(own.count_tool_errors, default.count_tool_errors, built_in=False),
        throttle_counts_as_failure=_first(
            own.throttle_counts_as_failure, default.throttle_counts_as_failure, built_in=False
        ),
    )


def effective_retry(own: written.Retry | None, default: written.Retry | None) -> compiled.Retry | None:
    """Field by field, as for timeouts. None: neither has any."""
    if own is None and default is None:
        return None
    own, default = own or written.Retry(), default or written.Retry()
    wait, default_wait = own.backoff or written.Backoff(), default.backoff or written.Backoff()
    base_ms = _ms(wait.base or default_wait.base, BACKOFF_BASE_MS)
    return compiled.Retry(
        max_attempts=_first(own.max_attempts, default.max_attempts, built_in=ATTEMPTS),
        backoff_base_ms=base_ms,
        backoff_max_ms=_ms(wait.max or default_wait.max, max(BACKOFF_MAX_MS, base_ms)),
        on=tuple(own.on or default.on or RETRY_ON),
        idempotent=_first(own.idempotent, default.idempotent, built_in=False),
        key_header=own.idempotency_key_header or default.idempotency_key_header,
        hedge=_hedge(own.hedge or default.hedge),
    )


def _tls(tls: written.ServerTls | None) -> compiled.ServerTls | None:
    """None: nothing that differs from any https server."""
    if tls is None:
        return None
    secret = tls.client_certificate.secret_name if tls.client_certificate else None
    found = compiled.ServerTls(
        ca_bundle=tls.ca_bundle, server_name=tls.server_name, client_certificate=secret
    )
    return None if found == compiled.ServerTls() else found


def _hedge(hedge: written.Hedge | None) -> compiled.Hedge | None:
    return None if hedge is None else compiled.Hedge(not_before_ms=_ms(hedge.not_before, 0))


def _call_rates(rate: written.FailureRate | None, slow: written.SlowCall | None) -> compiled.CallRates | None:
    if rate is None and slow is None:
        return None
    slow_call = compiled.SlowCall(milliseconds(slow.over), slow.percent) if slow else None
    if rate is None:
        return compiled.CallRates(minimum_calls=MINIMUM_CALLS, calls=SLOW_CALL_WINDOW, slow_call=slow_call)
    return compiled.CallRates(
        minimum_calls=rate.minimum_calls or min(MINIMUM_CALLS, rate.calls or MINIMUM_CALLS),
        window_ms=_ms_or_none(rate.window),
        calls=rate.calls,
        failure_percent=rate.percent,
        slow_call=slow_call,
    )


def _fallback(fallback: written.Fallback | None) -> compiled.Fallback | None:
    """The tool's own is taken whole: two kinds of fallback cannot be merged."""
    if fallback is None:
        return None
    if fallback.message is not None:
        return compiled.MessageFallback(fallback.message)
    if fallback.cached is not None:
        return compiled.CachedFallback(milliseconds(fallback.cached.max_age))
    if fallback.tool is not None:
        return compiled.ToolFallback(fallback.tool.name, fallback.tool.arguments)
    return compiled.StaticFallback(fallback.static or "")


def _match(tool: written.Tool, protocol: str) -> compiled.McpMatch | compiled.HttpMatch:
    match = tool.match or written.Match()
    if protocol == "MCP":
        return compiled.McpMatch(tool=match.tool or tool.name)
    return compiled.HttpMatch(path=match.path or "/", methods=tuple(match.methods or ()))


def _redaction(redaction: written.Redaction | None) -> compiled.Redaction | None:
    if redaction is None or not (redaction.detectors or redaction.patterns or redaction.fields):
        return None
    return compiled.Redaction(
        detectors=tuple(redaction.detectors),
        min_confidence=redaction.min_confidence,
        patterns=tuple(
            compiled.Pattern(
                name=pattern.name,
                regex=pattern.regex,
                replace=_replacement(pattern, redaction.action),
            )
            for pattern in redaction.patterns
        ),
        apply=redaction.apply,
        action=redaction.action,
        on_unscannable=redaction.on_unscannable,
        allow=tuple(compiled.Allowed(item.text, item.regex) for item in redaction.allow),
        fields=tuple(compiled.FieldRule(field.path, field.action) for field in redaction.fields),
        tokens=_tokens(redaction.tokens or written.Tokens()),
        headers=tuple(redaction.headers),
    )


def _preview(redaction: written.Redaction | None) -> compiled.Preview | None:
    preview = redaction.preview if redaction else None
    if preview is None:
        return None
    return compiled.Preview(preview.percent, tuple(preview.detectors), preview.min_confidence)


def _tokens(tokens: written.Tokens) -> compiled.Tokens:
    return compiled.Tokens(
        tuple(tokens.trusted_tools), tokens.session_header, _ms(tokens.keep_for, KEEP_TOKENS_MS)
    )


def effective_redaction(own: written.ToolRedaction, default: written.Redaction | None) -> written.Redaction:
    """Field by field: the tool's own, else the policy's."""
    update = {name: value for name in type(own).model_fields if (value := getattr(own, name)) is not None}
    return (default or written.Redaction()).model_copy(update=update)


def _tool_redaction(tool: written.Tool, default: written.Redaction | None) -> compiled.Redaction | None:
    if default and tool.name in default.exempt:
        return compiled.Redaction()
    if tool.redaction is None:
        return None
    return _redaction(effective_redaction(tool.redaction, default)) or compiled.Redaction()


def _replacement(pattern: written.Pattern, action: compiled.Action) -> str | None:
    if pattern.replace is not None:
        return pattern.replace
    return {"Hash": None, "Tokenize": None, "Drop": ""}.get(action, f"[redacted:{pattern.name}]")


def _selector(selector: written.Selector) -> compiled.Selector:
    return compiled.Selector(
        match_labels=dict(selector.match_labels),
        match_expressions=tuple(
            compiled.Requirement(key=item.key, operator=item.operator, values=tuple(item.values))
            for item in selector.match_expressions
        ),
    )


def _first(own: T | None, default: T | None, *, built_in: T) -> T:
    if own is not None:
        return own
    return built_in if default is None else default


def _ms(text: str | None, fallback_ms: int) -> int:
    return fallback_ms if text is None else milliseconds(text)


def _ms_or_none(text: str | None) -> int | None:
    return None if text is None else milliseconds(text)
