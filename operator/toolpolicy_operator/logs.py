"""JSON log lines on standard output, for people and machines."""

import datetime as dt
import json
import logging
import sys
from typing import Any

from toolpolicy_api.clean import clean

_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """`time`, `level`, `event`, and whatever was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        moment = dt.datetime.fromtimestamp(record.created, dt.UTC)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return clean(json.dumps(line, default=str))


def configure(level: str) -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in ("kopf", "urllib3", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # It warns that it takes no signals in a thread, which is what we want of it.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
