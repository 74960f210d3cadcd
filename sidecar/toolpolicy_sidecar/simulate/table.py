"""A report as text, one table a tool."""

from collections.abc import Mapping

from toolpolicy_api.duration import render
from toolpolicy_sidecar.simulate.report import Opened, Report, Row

_HEAD = (
    "phase", "from", "to", "calls", "admitted", "failed", "refused", "retries", "load", "p95", "opened", "back after",
    "why failed or refused",
)  # fmt: skip
_LEFT = frozenset({0, 10, 11, 12})


def text(report: Report) -> str:
    """Without a line end at its end."""
    parts = []
    for tool in report.tools:
        lines = [_HEAD, *(_cells(row, report.pods) for row in tool.rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
        parts.append(tool.name)
        parts.extend(
            "  ".join(
                cell.ljust(width) if column in _LEFT else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )
        parts.append("")
    return "\n".join(parts[:-1])


def _cells(row: Row, pods: int) -> tuple[str, ...]:
    return (
        row.phase,
        render(round(row.from_s * 1000)) if row.from_s else "0s",
        render(round(row.to_s * 1000)),
        f"{row.calls:,}",
        f"{row.admitted:,}",
        f"{sum(row.failed.values()):,}",
        f"{sum(row.refused.values()):,}",
        f"{row.retries:,}",
        "-" if row.load is None else f"x{row.load:.2f}",
        "-" if row.p95_ms is None else _seconds(row.p95_ms / 1000),
        _opened(row.opened, pods),
        _recovery(row),
        _why(row),
    )


def _opened(opened: Opened | None, pods: int) -> str:
    if opened is None:
        return "-"
    first, last = _seconds(opened.first_s), _seconds(opened.last_s)
    when = first if first == last else f"{first} to {last}"
    return f"{opened.pods}/{pods} after {when}: {opened.reason}"


def _recovery(row: Row) -> str:
    if row.recovery is None or not row.calls:
        return "-"
    return "not back" if row.recovery.traffic_s is None else f"{row.recovery.traffic_s} s"


def _why(row: Row) -> str:
    words = [_reasons(row.failed), _reasons(row.refused)]
    if row.fallbacks:
        words.append(f"instead {_reasons(row.fallbacks)}")
    if row.unfinished:
        words.append(f"never ended {row.unfinished:,}")
    return ", ".join(word for word in words if word) or "-"


def _reasons(counted: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in counted.items())


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"{seconds:.1f} s"
