"""Attempts, and keys by which a server knows them."""

from collections.abc import Iterator

from toolpolicy_api import policy as written
from toolpolicy_api.check.finding import Finding
from toolpolicy_api.check.reserved_headers import has_a_meaning
from toolpolicy_api.compile import effective_retry
from toolpolicy_api.duration import milliseconds, render


def check_keys_over_pipes(spec: written.Spec) -> Iterator[Finding]:
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


def check_retry(own: written.Retry, default: written.Retry | None, field: str) -> Iterator[Finding]:
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
    if has_a_meaning(own.idempotency_key_header):
        yield Finding(
            f"{field}.idempotencyKeyHeader",
            f"{own.idempotency_key_header} has a meaning of its own; name a header such as Idempotency-Key",
        )
