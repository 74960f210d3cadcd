"""JSON lines on standard output: one for each call and transition, and what the process itself has to say."""

import datetime as dt
import logging
import sys
from typing import Any

import msgspec

from toolpolicy_api.channel import Transition
from toolpolicy_sidecar.call_line import Pod, line
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

    def __init__(self, pod: Pod | None = None) -> None:
        self._pod = pod or Pod()

    def call(self, record: CallRecord) -> None:
        level = logging.INFO if record.outcome in {"success", "neutral"} else logging.WARNING
        if not _calls.isEnabledFor(level):
            return
        _calls.log(level, "call", extra=msgspec.to_builtins(line(record, self._pod)))

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
