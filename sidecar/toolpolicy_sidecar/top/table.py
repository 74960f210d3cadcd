"""The tables, drawn by rich; nothing in them is read as markup."""

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from toolpolicy_sidecar.top import words
from toolpolicy_sidecar.view import CircuitView, FailedCall

_STYLES = {"Open": "bold red", "HalfOpen": "yellow", "Disabled": "magenta", "Closed": "green"}
_LAST = 16
"""Columns at least, for the last column."""


def of_circuits(circuits: Iterable[CircuitView], now_ms: int, rows: int | None = None) -> Table:
    """`rows`: at most so many, the last of which says how many more there are."""
    table = _table()
    table.add_column("TOOL", no_wrap=True, min_width=12, max_width=40)
    table.add_column("STATE", no_wrap=True, min_width=8)
    for name in ("CALLS", "ERR%", "P95", "BUSY"):
        table.add_column(name, no_wrap=True, justify="right", min_width=len(name))
    table.add_column("WHY", min_width=_LAST)
    ordered = words.by_trouble(circuits)
    shown = ordered if rows is None or len(ordered) <= rows else ordered[: max(0, rows - 1)]
    for circuit in shown:
        failing = "red" if circuit.errors else ""
        table.add_row(
            Text(words.tool(circuit)),
            Text(words.state(circuit), style=_STYLES[circuit.state]),
            Text(f"{circuit.calls:,}"),
            Text(words.error_percent(circuit), style=failing),
            Text(words.p95(circuit.latency)),
            Text(words.busy(circuit)),
            _cut(words.why(circuit, now_ms)),
        )
    if len(shown) < len(ordered):
        table.add_row(Text(f"... {len(ordered) - len(shown)} more", style="dim"))
    return table


def of_calls(calls: Sequence[FailedCall], rows: int) -> Table:
    """The newest ones."""
    table = _table()
    table.add_column("FAILED", no_wrap=True, min_width=8)
    table.add_column("TOOL", no_wrap=True, min_width=12, max_width=40)
    table.add_column("REASON", no_wrap=True, min_width=8)
    table.add_column("TRIED", no_wrap=True, justify="right", min_width=5)
    table.add_column("TOOK", no_wrap=True, justify="right", min_width=6)
    table.add_column("WHAT", min_width=_LAST)
    for call in calls[: max(0, rows)]:
        table.add_row(
            Text(words.clock(round(call.started_at_ms + call.duration_ms))),
            Text(words.tool(call)),
            Text(call.reason or call.outcome),
            Text(f"{call.attempts}"),
            Text(words.took(call.duration_ms)),
            _cut(words.what(call)),
        )
    return table


def _table() -> Table:
    return Table(box=None, pad_edge=False, header_style="bold")


def _cut(text: str) -> Text:
    """One line, in the column that gives way first."""
    return Text(text, no_wrap=True, overflow="ellipsis")
