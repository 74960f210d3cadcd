"""JSON lines on standard output: one for each call and transition, and what the process itself has to say."""

import asyncio
import logging
import sys
import time
from contextlib import suppress
from functools import lru_cache
from typing import Any, TextIO

import msgspec

from toolpolicy_api.channel import Transition
from toolpolicy_api.clean import clean
from toolpolicy_sidecar.call_line import CallLines
from toolpolicy_sidecar.pod import Pod
from toolpolicy_sidecar.record import CallRecord, EgressRecord, RedactedMessage, RefusedRequest

_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_calls = logging.getLogger("toolpolicy.call")


class JsonLines(logging.Formatter):
    """`time`, `level`, `event`, and whatever was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _written(record.created),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return clean(msgspec.json.encode(line, enc_hook=str).decode())


class Lines:
    """Where calls are written to: those of one turn of the event loop together, in one write."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """To `stream`, or to standard output."""
        self._stream = stream
        self._lines: list[bytes] = []

    @property
    def stream(self) -> TextIO:
        return self._stream or sys.stdout

    def add(self, line: bytes) -> None:
        """To be called on the event loop."""
        if not self._lines:
            asyncio.get_running_loop().call_soon(self.flush)
        self._lines.append(line)

    def flush(self) -> None:
        if not self._lines:
            return
        written, self._lines = b"".join(self._lines), []
        with suppress(OSError, ValueError):  # nobody reads any longer: calls go on
            self.stream.buffer.write(written)
            self.stream.buffer.flush()


class _InOrder(logging.StreamHandler[TextIO]):
    """Whatever was written before stands before."""

    def __init__(self, lines: Lines) -> None:
        super().__init__(lines.stream)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.flush()
        super().emit(record)


_lines = Lines()


def configure(level: str, stream: TextIO | None = None) -> None:
    """Lines go to `stream`, or to standard output."""
    global _lines  # noqa: PLW0603 -- a process has one log
    _lines = Lines(stream)
    handler = _InOrder(_lines)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("aiohttp").setLevel(logging.ERROR)


class LogRecorder:
    """Names, sizes, counts and reasons; never a value of an argument, a header or a result."""

    def __init__(self, pod: Pod | None = None) -> None:
        self._written = CallLines(pod or Pod())

    def call(self, record: CallRecord) -> None:
        good = record.outcome in {"success", "neutral"}
        if not _calls.isEnabledFor(logging.INFO if good else logging.WARNING):
            return
        line = b'{"time":"%b","level":"%b","event":"call",%b\n' % (
            _written(time.time()).encode(),
            b"info" if good else b"warning",
            self._written.members(record),
        )
        _lines.add(line)

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


def _written(at_s: float) -> str:
    """Unix seconds as ISO 8601, to the millisecond, in UTC."""
    whole = int(at_s)
    return f"{_second(whole)}.{int((at_s - whole) * 1000):03d}+00:00"


@lru_cache(maxsize=2)
def _second(at_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_s))
