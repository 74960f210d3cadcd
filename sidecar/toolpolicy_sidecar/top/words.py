"""The cells of the tables: from what a sidecar shows of itself to words. Pure."""

import datetime as dt
import math
from collections.abc import Iterable, Sequence

from toolpolicy_api.channel import LATENCY_BOUNDS_MS
from toolpolicy_api.duration import render
from toolpolicy_api.snapshot import UNLISTED
from toolpolicy_sidecar.view import CircuitView, FailedCall, Window

UNBROKEN = 160
"""Columns where there is no terminal that would break lines."""
_RANK = {"Open": 0, "HalfOpen": 1, "Disabled": 2, "Closed": 3}


def by_trouble(circuits: Iterable[CircuitView]) -> list[CircuitView]:
    """What needs a look first; what nobody has called last."""
    return sorted(circuits, key=lambda c: (_RANK[c.state], -c.errors, -c.calls))


def tool(circuit: CircuitView | FailedCall) -> str:
    """As the admin API is asked for it."""
    key = circuit.key if isinstance(circuit, CircuitView) else circuit
    return plain(f"{key.server}/{UNLISTED}" if key.tool == UNLISTED else key.tool)


def state(circuit: CircuitView) -> str:
    return circuit.state if circuit.mode == "Enforce" else f"{circuit.state} ({circuit.mode})"


def error_percent(circuit: CircuitView) -> str:
    return f"{circuit.errors * 100 / circuit.calls:.1f}" if circuit.calls else "-"


def p95(latency: Sequence[int]) -> str:
    """Upper bound of the bucket in which it lies."""
    wanted = sum(latency) * 0.95
    seen = 0
    for bound, amount in zip(LATENCY_BOUNDS_MS, latency, strict=False):
        seen += amount
        if wanted and seen >= wanted:
            return took(bound)
    return f">{took(LATENCY_BOUNDS_MS[-1])}" if wanted else "-"


def busy(circuit: CircuitView) -> str:
    """Calls in flight, of how many that may be, and how many more wait."""
    text = f"{circuit.in_flight}" if circuit.slots is None else f"{circuit.in_flight}/{circuit.slots}"
    return f"{text}+{circuit.waiting}" if circuit.waiting else text


def why(circuit: CircuitView, now_ms: int) -> str:
    """Why it is as it is, and what comes next."""
    reason = plain(circuit.reason or "")
    if circuit.override is not None:
        reason += f", until {clock(circuit.override.until_ms)}"
    if circuit.state == "Open" and circuit.open_until_ms is not None:
        return f"{max(0, math.ceil((circuit.open_until_ms - now_ms) / 1000))} s more: {reason}"
    if circuit.state != "Closed" or circuit.override is not None:
        return reason
    counted = _counted(circuit.window) if circuit.window else ""
    return counted or (plain(circuit.last_error or "") if circuit.errors else "")


def _counted(window: Window) -> str:
    """How near it is to opening."""
    words = []
    if window.failures_in_row and window.consecutive_failures is not None:
        words.append(f"{window.failures_in_row} of {window.consecutive_failures} failures in a row")
    if window.calls and (window.failures or window.slow):
        bad = [
            f"{count * 100 // window.calls}% of {limit}% {what}"
            for count, limit, what in (
                (window.failures, window.failure_percent, "failed"),
                (window.slow, window.slow_percent, "slow"),
            )
            if count and limit is not None
        ]
        few = window.minimum_calls is not None and window.calls < window.minimum_calls
        of = f"{window.calls} of {window.minimum_calls} calls" if few else f"{window.calls} calls"
        if bad:
            words.append(f"{', '.join(bad)} ({of})")
    return "; ".join(words)


def took(milliseconds: float) -> str:
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    return (
        f"{milliseconds / 1000:.1f} s"
        if milliseconds < 100_000
        else render(round(milliseconds / 1000) * 1000)
    )


def clock(unix_ms: int) -> str:
    """Of this machine's time zone."""
    return dt.datetime.fromtimestamp(unix_ms / 1000).astimezone().strftime("%H:%M:%S")


def what(call: FailedCall) -> str:
    text = plain(call.error or "")
    if call.retries:
        text += f" (after {', '.join(call.retries)})"
    if call.fallback is not None and call.fallback_missed is None:
        text += f"; fallback {call.fallback}"
    return text


def plain(text: str) -> str:
    """Nothing that moves a cursor or changes a colour: some of it came from a server."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )
