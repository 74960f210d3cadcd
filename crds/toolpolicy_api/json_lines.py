"""What a process says, as lines of JSON: for people and machines, without what looks like a secret."""

import logging
import time
from functools import lru_cache
from typing import Any

import msgspec

from toolpolicy_api.clean import clean

_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """`time`, `level`, `event`, and whatever was given as `extra`."""

    def __init__(self, *, logger: bool = False) -> None:
        """`logger`: its name too, where libraries have much to say."""
        super().__init__()
        self._logger = logger

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": written(record.created).decode(),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        if self._logger:
            line["logger"] = record.name
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return clean(msgspec.json.encode(line, enc_hook=str).decode())


def written(at_s: float) -> bytes:
    """Unix seconds as ISO 8601, to the millisecond, in UTC."""
    whole = int(at_s)
    return b"%b.%03d+00:00" % (_second(whole), (at_s - whole) * 1000)


@lru_cache(maxsize=2)
def _second(at_s: int) -> bytes:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_s)).encode()
