"""What happened to all calls of a run, tool by tool."""

from array import array
from bisect import bisect_left
from collections import Counter

from rich.table import Table
from rich.text import Text

from toolpolicy_api.channel import LATENCY_BOUNDS_MS, Transition
from toolpolicy_api.snapshot import UNLISTED
from toolpolicy_sidecar.reasons import Reason
from toolpolicy_sidecar.record import CallRecord, EgressRecord, RedactedMessage, RefusedRequest
from toolpolicy_sidecar.top import words


class Row:
    """Of one tool."""

    def __init__(self) -> None:
        self.calls = self.failed = self.refused = self.retries = self.fallbacks = self.redactions = 0
        self.opened = 0
        self.latency = array("I", bytes(4 * (len(LATENCY_BOUNDS_MS) + 1)))
        self.why: Counter[Reason] = Counter()


class Totals:
    """A recorder. Its rows are the policies' tools, so there are no more of them than those."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Row] = {}
        self.refused_requests: Counter[Reason] = Counter()
        self.elsewhere = 0
        """Requests and tunnels to hosts that no policy names."""

    def call(self, record: CallRecord) -> None:
        row = self._row(record.server, record.tool)
        row.calls += 1
        row.failed += record.outcome == "failure"
        row.refused += record.outcome == "refused"
        row.retries += len(record.retries)
        row.fallbacks += record.fallback is not None and record.fallback_missed is None
        row.redactions += sum(record.redacted_request.values()) + sum(record.redacted_response.values())
        if record.attempts:
            row.latency[bisect_left(LATENCY_BOUNDS_MS, record.duration_ms)] += 1
        if record.reason is not None:
            row.why[record.reason] += 1

    def refused(self, record: RefusedRequest) -> None:
        self.refused_requests[record.reason] += 1

    def redacted(self, record: RedactedMessage) -> None:
        """Not summed up: it belonged to no call."""

    def egress(self, record: EgressRecord) -> None:
        del record
        self.elsewhere += 1

    def transition(self, transition: Transition) -> None:
        if transition.after == "Open":
            self._row(transition.key.server, transition.key.tool).opened += 1

    def _row(self, server: str, tool: str) -> Row:
        return self.rows.setdefault((server, tool), Row())


def sentence(totals: Totals) -> str:
    """One line, first of all."""
    rows = totals.rows.values()
    calls, failed, refused = (sum(getattr(r, name) for r in rows) for name in ("calls", "failed", "refused"))
    if not calls:
        text = "no call of a tool came through; does the command honour HTTP_PROXY, or use TOOLPOLICY_URL?"
    else:
        text = f"{calls:,} call{'s' if calls > 1 else ''}, {failed:,} failed, {refused:,} refused"
    if totals.refused_requests:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in totals.refused_requests.most_common())
        text += f"; refused before they were calls: {reasons}"
    if totals.elsewhere:
        text += f"; {totals.elsewhere:,} to hosts that no policy names"
    return f"toolpolicy: {text}"


def table(totals: Totals) -> Table | None:
    """None: there is nothing in it."""
    if not totals.rows:
        return None
    made = Table(box=None, pad_edge=False, header_style="bold")
    made.add_column("TOOL", no_wrap=True, min_width=12, max_width=40)
    for name in ("CALLS", "FAILED", "REFUSED", "P95"):
        made.add_column(name, no_wrap=True, justify="right", min_width=len(name))
    made.add_column("WHY", min_width=16)
    for (server, tool), row in sorted(totals.rows.items(), key=lambda item: -item[1].calls):
        made.add_row(
            Text(words.plain(f"{server}/{UNLISTED}" if tool == UNLISTED else tool)),
            Text(f"{row.calls:,}"),
            Text(f"{row.failed:,}", style="red" if row.failed else ""),
            Text(f"{row.refused:,}", style="red" if row.refused else ""),
            Text(words.p95(row.latency)),
            Text(_why(row)),
        )
    return made


def _why(row: Row) -> str:
    said = [f"{reason} {count:,}" for reason, count in row.why.most_common()]
    others = {
        "circuit opened": row.opened,
        "retries": row.retries,
        "fallbacks": row.fallbacks,
        "redactions": row.redactions,
    }
    return ", ".join([*said, *(f"{name} {count:,}" for name, count in others.items() if count)])
