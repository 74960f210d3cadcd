"""JSON lines on standard output: one for each call and transition, and what the process itself has to say."""

import asyncio
import hashlib
import logging
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, TextIO

import msgspec

from toolpolicy_api.channel import Transition
from toolpolicy_sidecar.record import CallRecord, EgressRecord, RefusedRequest

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
        return msgspec.json.encode(line, enc_hook=str).decode()


class Lines:
    """Where calls are written to: those of one turn of the event loop together, in one write."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []

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
            sys.stdout.buffer.write(written)
            sys.stdout.buffer.flush()


class _InOrder(logging.StreamHandler[TextIO]):
    """Whatever was written before stands before."""

    def __init__(self, lines: Lines) -> None:
        super().__init__(sys.stdout)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.flush()
        super().emit(record)


_lines = Lines()


def configure(level: str) -> None:
    handler = _InOrder(_lines)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("aiohttp").setLevel(logging.ERROR)


class _CallLine(msgspec.Struct, omit_defaults=True):
    """A line about a call; what is None or empty is left out."""

    time: str
    level: str
    event: str
    policy: str
    server: str
    tool: str
    protocol: str
    outcome: str
    status: int
    duration_ms: float
    attempts: int
    request_bytes: int
    response_bytes: int
    reason: str | None = None
    fallback: str | None = None
    fallback_missed: str | None = None
    stands_for: str | None = None
    queued_ms: float | None = None
    upstream_ms: float | None = None
    retries: tuple[str, ...] | None = None
    retry_ended: str | None = None
    hedge: str | None = None
    argument_keys: tuple[str, ...] | None = None
    redacted_request: Mapping[str, int] | None = None
    redacted_response: Mapping[str, int] | None = None
    shadow: tuple[str, ...] | None = None
    shadow_redacted_request: Mapping[str, int] | None = None
    shadow_redacted_response: Mapping[str, int] | None = None
    session: str | None = None
    trace_id: str | None = None
    error: str | None = None


_encoder = msgspec.json.Encoder()


class LogRecorder:
    """Names, sizes, counts and reasons; never a value of an argument, a header or a result."""

    def call(self, record: CallRecord) -> None:
        good = record.outcome in {"success", "neutral"}
        if not _calls.isEnabledFor(logging.INFO if good else logging.WARNING):
            return
        line = _CallLine(
            time=_written(time.time()),
            level="info" if good else "warning",
            event="call",
            policy=record.policy,
            server=record.server,
            tool=record.tool,
            protocol=record.protocol,
            outcome=record.outcome,
            status=record.status,
            duration_ms=round(record.duration_ms, 2),
            attempts=record.attempts,
            request_bytes=record.request_bytes,
            response_bytes=record.response_bytes,
            reason=record.reason,
            fallback=record.fallback,
            fallback_missed=record.fallback_missed,
            stands_for=record.stands_for,
            queued_ms=round(record.queued_ms, 2) or None,
            upstream_ms=None if record.upstream_ms is None else round(record.upstream_ms, 2),
            retries=record.retries or None,
            retry_ended=record.retry_ended,
            hedge=record.hedge,
            argument_keys=record.argument_keys or None,
            redacted_request=record.redacted_request or None,
            redacted_response=record.redacted_response or None,
            shadow=record.shadow or None,
            shadow_redacted_request=record.shadow_redacted_request or None,
            shadow_redacted_response=record.shadow_redacted_response or None,
            session=_shortened(record.session) if record.session else None,
            trace_id=record.trace_id,
            error=record.error,
        )
        _lines.add(_encoder.encode(line) + b"\n")

    def refused(self, record: RefusedRequest) -> None:
        fields: dict[str, Any] = {"reason": record.reason, "status": record.status}
        if record.destination:
            fields |= {"destination": record.destination, "error": record.error}
        _calls.warning("request refused", extra=fields)

    def egress(self, record: EgressRecord) -> None:
        fields = {
            "via": record.via,
            "destination": record.destination,
            "status": record.status,
            "duration_ms": round(record.duration_ms, 2),
            "sent_bytes": record.sent_bytes,
            "received_bytes": record.received_bytes,
        }
        _calls.info("egress", extra=fields | ({"error": record.error} if record.error else {}))

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


@lru_cache(maxsize=256)
def _shortened(session: str) -> str:
    """A session id lets its holder speak for the session: a hash tells sessions apart as well."""
    return hashlib.sha256(session.encode()).hexdigest()[:12]


def _written(at_s: float) -> str:
    """Unix seconds as ISO 8601, to the millisecond, in UTC."""
    whole = int(at_s)
    return f"{_second(whole)}.{int((at_s - whole) * 1000):03d}+00:00"


@lru_cache(maxsize=2)
def _second(at_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_s))
