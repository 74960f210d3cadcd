"""JSON lines on standard output: one for each call and transition, and what the process itself has to say."""

import asyncio
import logging
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

from toolpolicy_api.channel import Transition
from toolpolicy_api.json_lines import JsonLines
from toolpolicy_sidecar.call_line import CallLines
from toolpolicy_sidecar.pod import Pod
from toolpolicy_sidecar.reasons import FAILED
from toolpolicy_sidecar.record import CallRecord, EgressRecord, RedactedMessage, RefusedRequest

_calls = logging.getLogger("toolpolicy.call")

WAIT_S = 0.01
"""Lines that follow others closely wait so long for more of them. docs/decisions/2026-11-22-lines-together.md"""
CLOSELY_S = 0.002
TOGETHER = 64
"""No more lines wait than these."""


class Lines:
    """Where calls are written to: those of one turn of the event loop, or of a few of them, in one write."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """To `stream`, or to standard output."""
        self._stream = stream
        self._waiting: list[Callable[[], bytes]] = []
        self._close_until = 0.0
        self._hurried = False

    @property
    def stream(self) -> TextIO:
        return self._stream or sys.stdout

    def soon(self, text: Callable[[], bytes]) -> None:
        """To be called on the event loop. `text` is asked for at the end of this turn, a little later where lines
        follow each other closely, or before anything else is written."""
        self._waiting.append(text)
        if len(self._waiting) == 1:
            loop = asyncio.get_running_loop()
            now = loop.time()
            wait_s = WAIT_S if now < self._close_until else 0.0
            self._close_until = now + wait_s + CLOSELY_S
            if wait_s:
                loop.call_later(wait_s, self.flush)
            else:
                self.hurry()

    def hurry(self) -> None:
        """What waits leaves at the end of this turn."""
        if not self._hurried:
            self._hurried = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        self._hurried = False
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        written = b"".join([text() for text in waiting])
        with suppress(OSError, ValueError):  # nobody reads any longer: calls go on
            self.stream.buffer.write(written)
            self.stream.buffer.flush()


class _InOrder(logging.StreamHandler[TextIO]):
    """Whatever was written before stands before; but what the event loop collects is not another thread's to take."""

    def __init__(self, lines: Lines) -> None:
        super().__init__(lines.stream)
        self.lines, self._thread = lines, threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if threading.get_ident() == self._thread:
            self.lines.flush()
        super().emit(record)

    def close(self) -> None:
        """At the end of the process, too."""
        self.lines.flush()
        super().close()


def configure(level: str, stream: TextIO | None = None) -> None:
    """Lines go to `stream`, or to standard output. To be called in the thread of the event loop."""
    handler = _InOrder(Lines(stream))
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("aiohttp").setLevel(logging.ERROR)


def _lines() -> Lines:
    """Those of the process, if its log is configured."""
    configured = (each.lines for each in logging.getLogger().handlers if isinstance(each, _InOrder))
    return next(configured, Lines())


class LogRecorder:
    """Names, sizes, counts and reasons; never a value of an argument, a header or a result."""

    def __init__(self, pod: Pod | None = None) -> None:
        """Writes what the log is configured for at this moment."""
        self._written, self._lines = CallLines(pod or Pod()), _lines()
        self._good, self._bad = map(_calls.isEnabledFor, (logging.INFO, logging.WARNING))
        self._records: list[CallRecord] = []

    def call(self, record: CallRecord) -> None:
        bad = record.outcome in FAILED
        if self._bad if bad else self._good:
            records = self._records
            if not records:
                self._lines.soon(self._text)
            records.append(record)
            if bad or len(records) == TOGETHER:
                self._lines.hurry()

    def flush(self) -> None:
        """Writes what waits."""
        self._lines.flush()

    def _text(self) -> bytes:
        records, self._records = self._records, []
        return self._written.lines(records, time.time())

    def refused(self, record: RefusedRequest) -> None:
        fields: dict[str, Any] = {"reason": record.reason, "status": record.status}
        if record.destination:
            fields |= {"destination": record.destination, "error": record.error}
        _calls.warning("request refused", extra=fields)

    def redacted(self, record: RedactedMessage) -> None:
        """Counted; what a server says of itself is too much for a log."""

    def egress(self, record: EgressRecord) -> None:
        fields = {
            "via": record.via,
            "destination": record.destination,
            "status": record.status,
            "duration_ms": round(record.duration_ms, 2),
            "sent_bytes": record.sent_bytes,
            "received_bytes": record.received_bytes,
        }
        more = {"server": record.server, "error": record.error}
        _calls.info("egress", extra=fields | {name: value for name, value in more.items() if value})

    def transition(self, transition: Transition) -> None:
        level = logging.WARNING if transition.after in {"Open", "Disabled"} else logging.INFO
        fields = {
            "policy": transition.key.policy,
            "server": transition.key.server,
            "tool": transition.key.tool,
            "before": transition.before,
            "after": transition.after,
            "reason": transition.reason,
            "last_error": transition.last_error,
        }
        _calls.log(level, "circuit", extra=fields)
