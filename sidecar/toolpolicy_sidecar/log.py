"""JSON lines on standard output: one for each call and transition, and what the process itself has to say."""

import datetime as dt
import hashlib
import logging
import sys
from typing import Any

import msgspec

from toolpolicy_api.channel import Transition
from toolpolicy_sidecar.record import CallRecord, EgressRecord, RefusedRequest

_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_calls = logging.getLogger("toolpolicy.call")


class JsonLines(logging.Formatter):
    """`time`, `level`, `event`, and whatever was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        moment = dt.datetime.fromtimestamp(record.created, dt.UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


def configure(level: str) -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("aiohttp").setLevel(logging.ERROR)


class LogRecorder:
    """Names, sizes, counts and reasons; never a value of an argument, a header or a result."""

    def call(self, record: CallRecord) -> None:
        level = logging.INFO if record.outcome in {"success", "neutral"} else logging.WARNING
        if not _calls.isEnabledFor(level):
            return
        fields = {
            "policy": record.policy,
            "server": record.server,
            "tool": record.tool,
            "protocol": record.protocol,
            "outcome": record.outcome,
            "reason": record.reason,
            "fallback": record.fallback,
            "fallback_missed": record.fallback_missed,
            "stands_for": record.stands_for,
            "status": record.status,
            "duration_ms": round(record.duration_ms, 2),
            "queued_ms": round(record.queued_ms, 2) or None,
            "upstream_ms": None if record.upstream_ms is None else round(record.upstream_ms, 2),
            "attempts": record.attempts,
            "retries": list(record.retries),
            "retry_ended": record.retry_ended,
            "hedge": record.hedge,
            "argument_keys": list(record.argument_keys),
            "request_bytes": record.request_bytes,
            "response_bytes": record.response_bytes,
            "redacted_request": dict(record.redacted_request),
            "redacted_response": dict(record.redacted_response),
            "shadow": list(record.shadow),
            "shadow_redacted_request": dict(record.shadow_redacted_request),
            "shadow_redacted_response": dict(record.shadow_redacted_response),
            "session": _shortened(record.session),
            "trace_id": record.trace_id,
            "error": record.error,
        }
        _calls.log(
            level, "call", extra={key: value for key, value in fields.items() if value not in (None, {}, [])}
        )

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


def _shortened(session: str | None) -> str | None:
    """A session id lets its holder speak for the session: a hash tells sessions apart as well."""
    return hashlib.sha256(session.encode()).hexdigest()[:12] if session else None
