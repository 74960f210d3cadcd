"""What is left of what may go wrong, in the words of status. Pure."""

import datetime as dt
from collections.abc import Iterable

from toolpolicy_api import status
from toolpolicy_api.slo import P95_MAY_MISS, Slo
from toolpolicy_operator.slo.ledger import Ledger


def budget(calls: int, bad: int, may_miss: float, hour_calls: int, hour_bad: int) -> status.Budget:
    """`may_miss`: share of calls. The budget is that share of the calls there were: without calls nothing is used.

    Remaining and burn rate as in the SRE workbook, chapter 5: 1 - bad / (may_miss * calls), and the last hour's share
    of bad calls / may_miss.
    """
    used = bad / (may_miss * calls) if calls else 0.0
    return status.Budget(
        calls=calls,
        bad=bad,
        remaining_percent=_short(100 * (1 - used)),
        burn_rate=_short(hour_bad / (may_miss * hour_calls)) if hour_calls else None,
    )


def tool_slo(slo: Slo, ledger: Ledger, now: float) -> status.ToolSlo:
    every, hour = ledger.all(), ledger.last_hour(now)
    may_fail = slo.may_fail
    return status.ToolSlo(
        since=dt.datetime.fromtimestamp(ledger.since, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        availability=None
        if may_fail is None
        else budget(every.calls, every.errors, may_fail, hour.calls, hour.errors),
        latency=None
        if slo.p95_ms is None
        else budget(every.timed, every.slow, P95_MAY_MISS, hour.timed, hour.slow),
    )


def column(tools: Iterable[status.Tool]) -> str | None:
    """Such as `search 12% 14.4x`: of all objectives the one with the least budget. None: there is no objective."""
    found = [
        (float(each.remaining_percent), tool.name, each)
        for tool in tools
        if tool.slo
        for each in (tool.slo.availability, tool.slo.latency)
        if each
    ]
    if not found:
        return None
    _, name, least = min(found, key=lambda item: item[0])
    rate = f" {least.burn_rate}x" if least.burn_rate is not None else ""
    return f"{name} {least.remaining_percent}%{rate}"


def _short(value: float) -> str:
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text
